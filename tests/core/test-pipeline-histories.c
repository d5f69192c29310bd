/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>

#include "test.h"

#include "core/histories.h"
#include "core/pipeline-history.h"

static void live_through(uint64_t seed) {
        Choices choices = { .random = seed };
        unsigned step = 0;
        const char *fault = pipeline_history_run(&choices, &step);

        if (fault)
                fail_msg("SLUICE_SEED=%" PRIu64 ": call %u broke the rule: %s", seed, step, fault);
}

static void every_item_has_one_end_and_no_graph_blocks(void **state) {
        histories_live_through(live_through);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_item_has_one_end_and_no_graph_blocks),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
