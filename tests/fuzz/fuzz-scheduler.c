/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each byte is a choice in one history of the scheduler, which is compared with its model after
 * every call; see tests/core/scheduler-history.h. A broken rule ends the program. */

#include <stdio.h>
#include <stdlib.h>

#include "core/scheduler-history.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Choices choices = { .data = data ? data : (const uint8_t *) "", .size = size };
        unsigned step = 0;
        const char *fault = history_run(&choices, &step);

        if (fault) {
                fprintf(stderr, "call %u broke the rule: %s\n", step, fault);
                abort();
        }
        return 0;
}
