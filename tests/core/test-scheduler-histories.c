/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>

#include "test.h"

#include "core/histories.h"
#include "core/scheduler-history.h"

static void live_through(uint64_t seed) {
        Choices choices = { .random = seed };
        unsigned step = 0;
        const char *fault = history_run(&choices, &step);

        if (fault)
                fail_msg("SLUICE_SEED=%" PRIu64 ": call %u broke the rule: %s", seed, step, fault);
}

static void any_history_is_that_of_the_model(void **state) {
        histories_live_through(live_through);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(any_history_is_that_of_the_model),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
