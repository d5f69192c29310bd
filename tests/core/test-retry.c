/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include "core/random.h"
#include "core/retry.h"
#include "util/macro.h"

#define S USEC_PER_SEC

/* The least, the middle and the greatest of the spread. */
#define LEAST UINT64_C(0)
#define MIDDLE (UINT64_C(1) << 63)
#define GREATEST UINT64_MAX

static RetryVerdict ask(
        uint32_t max_attempts, uint32_t attempts, uint32_t asked, Outcome outcome, JobStop stop) {
        RetryConfig config = { .max_attempts = max_attempts, .backoff = S, .backoff_max = 300 * S };
        RetryStats stats = { .attempts = attempts, .asked = asked };
        usec_t delay = 4711;
        RetryVerdict verdict = retry_ask(&config, &stats, outcome, stop, MIDDLE, &delay);

        if (verdict == RETRY_NOT)
                assert_int_equal(delay, 4711);
        return verdict;
}

static void each_outcome_is_retried_as_the_table_says(void **state) {
        static const struct {
                Outcome outcome;
                uint32_t max_attempts, attempts, asked;
                RetryVerdict verdict;
        } rows[] = {
                { OUTCOME_SUCCESS, 1, 1, 0, RETRY_NOT },
                { OUTCOME_SUCCESS, 5, 1, 0, RETRY_NOT },
                { OUTCOME_FAILURE, 1, 1, 0, RETRY_NOT },
                { OUTCOME_FAILURE, 2, 1, 0, RETRY_AFTER },
                { OUTCOME_FAILURE, 2, 2, 0, RETRY_NOT },
                { OUTCOME_FAILURE, 3, 2, 1, RETRY_AFTER },
                { OUTCOME_FAILURE, 3, 3, 1, RETRY_NOT },
                { OUTCOME_FAILURE, UINT32_MAX, UINT32_MAX - 1, 0, RETRY_AFTER },
                { OUTCOME_FAILURE, UINT32_MAX, UINT32_MAX, 0, RETRY_NOT },
                { OUTCOME_FATAL, 1, 1, 0, RETRY_NOT },
                { OUTCOME_FATAL, 5, 1, 0, RETRY_NOT },
                { OUTCOME_LOST, 1, 1, 0, RETRY_NOT },
                { OUTCOME_LOST, 2, 1, 0, RETRY_AFTER },
                { OUTCOME_LOST, 2, 2, 0, RETRY_NOT },
                /* Asked for three times, against the pool. */
                { OUTCOME_RETRY, 1, 1, 1, RETRY_AFTER },
                { OUTCOME_RETRY, 1, 2, 2, RETRY_AFTER },
                { OUTCOME_RETRY, 1, 3, 3, RETRY_AFTER },
                { OUTCOME_RETRY, 1, 4, 4, RETRY_NOT },
                /* Failures before it do not use that up. */
                { OUTCOME_RETRY, 3, 3, 1, RETRY_AFTER },
                { OUTCOME_RETRY, 3, 5, 3, RETRY_AFTER },
                { OUTCOME_RETRY, 3, 6, 4, RETRY_NOT },
                /* Who goes in the middle of it asks for the same. */
                { OUTCOME_GONE, 1, 1, 1, RETRY_AFTER },
                { OUTCOME_GONE, 1, 3, 3, RETRY_AFTER },
                { OUTCOME_GONE, 1, 4, 4, RETRY_NOT },
                { OUTCOME_GONE, 9, 8, 8, RETRY_AFTER },
                /* With the pool it is a failure as any other. */
                { OUTCOME_RETRY, 9, 8, 8, RETRY_AFTER },
                { OUTCOME_RETRY, 9, 9, 9, RETRY_NOT },
                /* What was asked for counts as an attempt of the pool's. */
                { OUTCOME_FAILURE, 3, 4, 3, RETRY_NOT },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                for (JobStop stop = JOB_STOP_NONE; stop <= JOB_STOP_TIMEOUT; stop++)
                        assert_int_equal(ask(rows[i].max_attempts, rows[i].attempts, rows[i].asked,
                                                 rows[i].outcome, stop),
                                stop == JOB_STOP_CANCEL ? RETRY_NOT : rows[i].verdict);
}

static void the_delay_doubles_up_to_its_bound(void **state) {
        static const struct {
                usec_t backoff, backoff_max;
                uint32_t attempts;
                usec_t least, greatest;
        } rows[] = {
                { S, 300 * S, 1, S / 2, S * 3 / 2 },
                { S, 300 * S, 2, S, 3 * S },
                { S, 300 * S, 3, 2 * S, 6 * S },
                { S, 300 * S, 8, 64 * S, 192 * S },
                { S, 300 * S, 9, 128 * S, 300 * S },
                { S, 300 * S, 10, 150 * S, 300 * S },
                { S, 300 * S, 64, 150 * S, 300 * S },
                { S, 300 * S, 65, 150 * S, 300 * S },
                { S, 300 * S, UINT32_MAX, 150 * S, 300 * S },
                /* Bounds that are below the first delay, or none. */
                { 10 * S, 4 * S, 1, 2 * S, 4 * S },
                { S, 0, 1, 0, 0 },
                { S, USEC_INFINITY, 21, (S << 20) / 2, (S << 20) / 2 * 3 },
                { S, USEC_INFINITY, UINT32_MAX, USEC_SPAN_MAX / 2, USEC_SPAN_MAX },
                { USEC_INFINITY, USEC_INFINITY, 1, USEC_SPAN_MAX / 2, USEC_SPAN_MAX },
                /* At once is at once, however often. */
                { 0, 300 * S, 1, 0, 0 },
                { 0, USEC_INFINITY, UINT32_MAX, 0, 0 },
                { 1, 300 * S, 1, 0, 1 },
                { 1, USEC_INFINITY, UINT32_MAX, USEC_SPAN_MAX / 2, USEC_SPAN_MAX },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                RetryConfig config = {
                        .max_attempts = UINT32_MAX,
                        .backoff = rows[i].backoff,
                        .backoff_max = rows[i].backoff_max,
                };
                RetryStats stats = { .attempts = rows[i].attempts, .asked = 1 };
                usec_t least, greatest;

                /* OUTCOME_RETRY is granted here with the attempts used up, too. */
                assert_int_equal(
                        retry_ask(&config, &stats, OUTCOME_RETRY, JOB_STOP_NONE, LEAST, &least),
                        RETRY_AFTER);
                assert_int_equal(retry_ask(&config, &stats, OUTCOME_RETRY, JOB_STOP_NONE, GREATEST,
                                         &greatest),
                        RETRY_AFTER);
                assert_int_equal(least, rows[i].least);
                assert_int_equal(greatest, rows[i].greatest);
        }
}

static void what_somebody_left_behind_is_tried_again_at_once(void **state) {
        const RetryConfig config = { .max_attempts = 9, .backoff = S, .backoff_max = 300 * S };
        const RetryStats stats = { .attempts = 5, .asked = 5 };
        usec_t delay = 4711;

        assert_int_equal(retry_ask(&config, &stats, OUTCOME_GONE, JOB_STOP_NONE, GREATEST, &delay),
                RETRY_AFTER);
        assert_int_equal(delay, 0);
}

static void delays_are_spread_evenly(void **state) {
        RetryConfig config = { .max_attempts = 99, .backoff = S, .backoff_max = 8 * S };
        uint64_t random = 1;

        /* In the middle of the way, where the range is whole, and at the bound, where it is half
         * as wide: each tenth of it gets a tenth of the delays. */
        for (uint32_t attempts = 3; attempts <= 9; attempts += 6) {
                usec_t low = attempts == 3 ? 2 * S : 4 * S, width = 4 * S;
                unsigned tenths[10] = {};

                for (int i = 0; i < 100000; i++) {
                        RetryStats stats = { .attempts = attempts };
                        usec_t delay;

                        (void) retry_ask(&config, &stats, OUTCOME_FAILURE, JOB_STOP_NONE,
                                random_next(&random), &delay);
                        assert_in_range(delay, low, low + width);
                        tenths[MIN((delay - low) * 10 / width, 9U)]++;
                }
                for (size_t i = 0; i < ELEMENTSOF(tenths); i++)
                        assert_in_range(tenths[i], 9500, 10500);
        }
}

/* Each attempt ends in any way that can be retried; the job must come to an end all the same. */
static void no_history_has_more_attempts_than_both_allowances_give(void **state) {
        static const Outcome outcomes[] = { OUTCOME_FAILURE, OUTCOME_LOST, OUTCOME_RETRY };

        for (uint64_t seed = 0; seed < 100000; seed++) {
                uint64_t random = seed;
                RetryConfig config = {
                        .max_attempts = 1 + (uint32_t) random_below(&random, 6),
                        .backoff = random_below(&random, 3) * S,
                        .backoff_max = random_below(&random, 20) * S,
                };
                RetryStats stats = {};
                RetryVerdict verdict;

                do {
                        Outcome outcome = outcomes[random_below(&random, ELEMENTSOF(outcomes))];
                        usec_t delay = 0;

                        stats.attempts++;
                        stats.asked += outcome == OUTCOME_RETRY;
                        verdict = retry_ask(&config, &stats, outcome, JOB_STOP_NONE,
                                random_next(&random), &delay);
                        assert_true(delay <= config.backoff_max);
                        assert_true(
                                verdict == RETRY_AFTER || stats.attempts >= config.max_attempts);
                } while (verdict == RETRY_AFTER);
                assert_true(stats.attempts <= config.max_attempts + RETRY_ASKED_MAX);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_outcome_is_retried_as_the_table_says),
                cmocka_unit_test(the_delay_doubles_up_to_its_bound),
                cmocka_unit_test(what_somebody_left_behind_is_tried_again_at_once),
                cmocka_unit_test(delays_are_spread_evenly),
                cmocka_unit_test(no_history_has_more_attempts_than_both_allowances_give),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
