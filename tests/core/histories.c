/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdlib.h>

#include "core/histories.h"

void histories_live_through(void (*live_through)(uint64_t seed)) {
        const char *n = getenv("SLUICE_HISTORIES"), *seed = getenv("SLUICE_SEED");

        if (seed) {
                live_through(strtoull(seed, NULL, 10));
                return;
        }
        for (uint64_t i = 0; i < (n ? strtoull(n, NULL, 10) : 100000); i++)
                live_through(i);
}
