/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* SLUICE_HISTORIES=N lives through N histories instead of 100,000; SLUICE_SEED=N repeats one. */

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/pipeline-history.h"

static void live_through(uint64_t seed) {
        Choices choices = { .random = seed };
        unsigned step = 0;
        const char *fault = pipeline_history_run(&choices, &step);

        if (fault)
                fail_msg("SLUICE_SEED=%" PRIu64 ": call %u broke the rule: %s", seed, step, fault);
}

static void every_item_has_one_end_and_no_graph_blocks(void **state) {
        const char *n = getenv("SLUICE_HISTORIES"), *seed = getenv("SLUICE_SEED");

        if (seed) {
                live_through(strtoull(seed, NULL, 10));
                return;
        }
        for (uint64_t i = 0; i < (n ? strtoull(n, NULL, 10) : 100000); i++)
                live_through(i);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_item_has_one_end_and_no_graph_blocks),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
