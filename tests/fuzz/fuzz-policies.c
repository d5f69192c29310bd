/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each byte is a choice in one history of pools with all policies; see tests/core/policy-history.h.
 * A broken rule ends the program. */

#include <stdio.h>
#include <stdlib.h>

#include "core/policy-history.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Choices choices = { .data = data ? data : (const uint8_t *) "", .size = size };
        const char *fault = policy_history_run(&choices);

        if (fault) {
                fprintf(stderr, "a history broke the rule: %s\n", fault);
                abort();
        }
        return 0;
}
