/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A history that breaks a rule is shortened and told. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "test.h"

#include "core/histories.h"
#include "core/policy-history.h"

static bool breaks(const uint8_t *data, size_t size, const void *rule) {
        Choices choices = { .data = data, .size = size };
        const char *fault = policy_history_run(&choices);

        return fault && strcmp(fault, rule) == 0;
}

/* Tells the shortest history that was found to break the rule as this one does. */
static void tell(uint64_t seed, const char *rule) {
        uint8_t data[CHOICES_MAX];
        Choices choices = { .random = seed, .written = data };
        size_t size;

        (void) policy_history_run(&choices);
        size = choices_shorten(data, choices.n_written, breaks, rule);
        choices = (Choices){ .data = data, .size = size, .story = stderr };
        (void) policy_history_run(&choices);
        (void) fprintf(stderr, "as bytes:");
        for (size_t i = 0; i < size; i++)
                (void) fprintf(stderr, " %02x", data[i]);
        (void) fputc('\n', stderr);
}

static void live_through(uint64_t seed) {
        Choices choices = { .random = seed };
        const char *fault = policy_history_run(&choices);

        if (!fault)
                return;
        tell(seed, fault);
        fail_msg("SLUICE_SEED=%" PRIu64 ": broke the rule: %s", seed, fault);
}

static void no_history_breaks_a_rule(void **state) {
        histories_live_through(live_through);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(no_history_breaks_a_rule),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
