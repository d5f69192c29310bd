/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/map-pace.h"
#include "test.h"
#include "util/macro.h"

#define AT(msec) ((msec) *USEC_PER_MSEC)

/* Jobs come back for `msec` milliseconds, so many in each. */
static usec_t come_back(Pace *pace, usec_t now, unsigned msec, size_t per_msec, size_t output) {
        for (unsigned i = 0; i < msec; i++) {
                now += USEC_PER_MSEC;
                pace_report(pace, per_msec, per_msec * output, now);
        }
        return now;
}

static void first_call_has_one_job(void **state) {
        Pace pace;

        pace_init(&pace, 1024, 4, AT(0));
        assert_int_equal(pace_block(&pace, AT(0)), 1);
        assert_int_equal(pace_block(&pace, AT(100000)), 1);
}

static void calls_grow_while_jobs_come_back_fast(void **state) {
        Pace pace;
        usec_t now;

        pace_init(&pace, 1024, 4, AT(0));
        now = come_back(&pace, AT(0), 200, 1000, 10);
        assert_int_equal(pace_block(&pace, now), pace.block_max);

        pace_init(&pace, 1024, 4, AT(0));
        now = come_back(&pace, AT(0), 200, 5, 10);
        assert_in_range(pace_block(&pace, now), 8, 10);
}

static void slow_jobs_are_sent_one_by_one_at_once(void **state) {
        Pace pace;
        usec_t now;

        pace_init(&pace, 1024, 4, AT(0));
        now = come_back(&pace, AT(0), 200, 1000, 10);

        /* Nothing comes back: that alone says that they are slow. */
        assert_int_equal(pace_block(&pace, now + AT(5)), pace.block_max);
        assert_int_equal(pace_block(&pace, now + AT(1000)), 1);

        /* So does a single count of few. */
        pace_report(&pace, 1, 10, now + AT(1000));
        assert_int_equal(pace_block(&pace, now + AT(1000)), 1);
}

static void large_outputs_make_small_calls(void **state) {
        Pace pace;
        usec_t now;

        pace_init(&pace, 100000, 4, AT(0));
        now = come_back(&pace, AT(0), 200, 1000, 100000);
        assert_in_range(pace_block(&pace, now), 1, 5);
        assert_true(pace_may_send(&pace, 1, 3, 50));
        assert_false(pace_may_send(&pace, 1, 3, 100));
}

static void half_of_the_queue_is_left_to_others(void **state) {
        static const struct {
                uint64_t queue_max, max_workers;
                size_t jobs_max;
        } rows[] = {
                { 1, 1, 2 },
                { 2, 4, 5 },
                { 1024, 2, 514 },
                { 100000000, 8, 1032 },
                { 1024, 0, 512 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Pace pace;

                pace_init(&pace, rows[i].queue_max, rows[i].max_workers, AT(0));
                assert_int_equal(pace.jobs_max, rows[i].jobs_max);
                assert_true(pace.block_max >= 1 && pace.block_max <= pace.jobs_max);
                assert_true(pace_may_send(&pace, 1, 1, rows[i].jobs_max - 1));
                assert_false(pace_may_send(&pace, 1, 1, rows[i].jobs_max));
                /* Without anything under way there would be nothing to wait for. */
                assert_true(pace_may_send(&pace, 1000000, 0, 0));
        }
}

static void all_workers_get_work_by_the_calls_that_a_bus_allows(void **state) {
        Pace pace;

        pace_init(&pace, 100000, 1000, AT(0));
        assert_true(pace_block(&pace, AT(0)) * PACE_CALLS_MAX >= 1000);
        assert_false(pace_may_send(&pace, 1, PACE_CALLS_MAX, PACE_CALLS_MAX));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(first_call_has_one_job),
                cmocka_unit_test(calls_grow_while_jobs_come_back_fast),
                cmocka_unit_test(slow_jobs_are_sent_one_by_one_at_once),
                cmocka_unit_test(large_outputs_make_small_calls),
                cmocka_unit_test(half_of_the_queue_is_left_to_others),
                cmocka_unit_test(all_workers_get_work_by_the_calls_that_a_bus_allows),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
