/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <string.h>

#include "core/group.h"
#include "core/random.h"
#include "util/macro.h"

#define MS USEC_PER_MSEC

static void each_end_means_what_the_table_says(void **state) {
        static const struct {
                GroupPolicy policy;
                JobResult result;
                GroupVerdict verdict;
        } rows[] = {
                { GROUP_ALL, JOB_SUCCEEDED, GROUP_GOES_ON },
                { GROUP_ALL, JOB_FAILED, GROUP_GOES_ON },
                { GROUP_ALL, JOB_CANCELLED, GROUP_GOES_ON },
                { GROUP_ALL, JOB_TIMED_OUT, GROUP_GOES_ON },
                { GROUP_ALL, JOB_EXPIRED, GROUP_GOES_ON },
                { GROUP_ALL, JOB_DROPPED, GROUP_GOES_ON },
                { GROUP_ALL, JOB_REFUSED, GROUP_GOES_ON },
                { GROUP_ALL, JOB_LOST, GROUP_GOES_ON },
                { GROUP_FIRST_ERROR, JOB_SUCCEEDED, GROUP_GOES_ON },
                { GROUP_FIRST_ERROR, JOB_FAILED, GROUP_CANCEL_REST },
                { GROUP_FIRST_ERROR, JOB_CANCELLED, GROUP_GOES_ON },
                { GROUP_FIRST_ERROR, JOB_TIMED_OUT, GROUP_CANCEL_REST },
                { GROUP_FIRST_ERROR, JOB_EXPIRED, GROUP_CANCEL_REST },
                { GROUP_FIRST_ERROR, JOB_DROPPED, GROUP_CANCEL_REST },
                { GROUP_FIRST_ERROR, JOB_REFUSED, GROUP_CANCEL_REST },
                { GROUP_FIRST_ERROR, JOB_LOST, GROUP_CANCEL_REST },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Group group;

                group_init(&group, rows[i].policy, 2, 0);
                assert_int_equal(group_report(&group, rows[i].result), rows[i].verdict);
                assert_int_equal(group.n_succeeded, rows[i].result == JOB_SUCCEEDED);
                assert_int_equal(group.n_failed, rows[i].result != JOB_SUCCEEDED);
                assert_false(group_is_finished(&group));
                assert_true(group_progress(&group) == 0.5);
                /* The last one has nobody left to cancel. */
                assert_int_equal(group_report(&group, rows[i].result), GROUP_ENDS);
                assert_true(group_is_finished(&group));
                assert_true(group_progress(&group) == 1);
        }
}

static void rest_is_cancelled_once(void **state) {
        Group group;

        group_init(&group, GROUP_FIRST_ERROR, 5, 0);
        assert_int_equal(group_report(&group, JOB_FAILED), GROUP_CANCEL_REST);
        /* It could not be done, as there was no memory: the next one asks again. */
        assert_int_equal(group_report(&group, JOB_FAILED), GROUP_CANCEL_REST);
        group_cancelled(&group);
        assert_int_equal(group_report(&group, JOB_FAILED), GROUP_GOES_ON);
        assert_int_equal(group_report(&group, JOB_CANCELLED), GROUP_GOES_ON);
        assert_int_equal(group_report(&group, JOB_FAILED), GROUP_ENDS);
}

static void empty_group_is_finished_and_has_that_to_tell(void **state) {
        Group group;

        group_init(&group, GROUP_FIRST_ERROR, 0, 100 * MS);
        assert_true(group_is_finished(&group));
        assert_true(group_progress(&group) == 1);
        assert_int_equal(group_tell_at(&group), 0);
        group_told(&group, 100 * MS);
        assert_true(group_tell_at(&group) == USEC_INFINITY);
}

/* Members end and changes are told as soon as they may be. */
static void changes_are_told_when_the_table_says(void **state) {
        static const struct {
                usec_t at;
                unsigned n_ends;
                bool tell;
                usec_t expect; /* when the next may be told, after that */
        } rows[] = {
                { 1000, 0, false, USEC_INFINITY },
                { 1001, 1, false, 1334 },
                { 1002, 4, false, 1334 },
                { 1334, 0, true, USEC_INFINITY },
                { 1334, 1, false, 1668 },
                { 1700, 1, true, USEC_INFINITY }, /* late */
                { 9000, 0, false, USEC_INFINITY },
                { 9000, 1, false, 2034 }, /* long over: at once */
                { 9000, 0, true, USEC_INFINITY },
                { 9001, 1, false, 9334 },
                { 9002, 1, false, 0 }, /* the last one waits for nothing */
                { 9002, 0, true, USEC_INFINITY },
        };
        Group group;

        group_init(&group, GROUP_ALL, 10, 1000 * MS);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                usec_t expect = rows[i].expect;

                for (unsigned k = 0; k < rows[i].n_ends; k++)
                        (void) group_report(&group, JOB_SUCCEEDED);
                if (rows[i].tell)
                        group_told(&group, rows[i].at * MS);
                assert_true(
                        group_tell_at(&group) == (expect == USEC_INFINITY ? expect : expect * MS));
        }
        assert_true(group_is_finished(&group));
}

/* ---- histories ---- */

/* A group of up to 200 members that end in any order and way, at any moments, while somebody
 * cancels the rest now and then; told by a caller who looks at once or late. */
typedef struct History {
        uint64_t random;
        Group group;
        uint64_t n_succeeded, n_failed;
        bool wants_cancel; /* a member has failed that the policy minds, and nobody has cancelled */
        usec_t now;
        usec_t told[4]; /* when the last ones were told */
        unsigned n_told;
} History;

static void history_tell(History *h, bool late) {
        usec_t at = group_tell_at(&h->group);

        if (at > h->now || (late && at > 0))
                return;
        if (h->n_told >= 4)
                assert_true(h->now - h->told[h->n_told % 4] >= USEC_PER_SEC);
        h->told[h->n_told++ % 4] = h->now;
        group_told(&h->group, h->now);
        assert_true(group_tell_at(&h->group) == USEC_INFINITY);
}

static void history_end_one(History *h) {
        JobResult result = random_below(&h->random, 2)
                                   ? JOB_SUCCEEDED
                                   : (JobResult) random_below(&h->random, _JOB_RESULT_MAX);
        GroupVerdict verdict = group_report(&h->group, result);

        h->n_succeeded += result == JOB_SUCCEEDED;
        h->n_failed += result != JOB_SUCCEEDED;
        assert_int_equal(verdict == GROUP_ENDS, h->n_succeeded + h->n_failed == h->group.n_total);
        if (verdict == GROUP_ENDS)
                return;
        h->wants_cancel = h->group.policy == GROUP_FIRST_ERROR && !h->group.cancelled &&
                          result != JOB_SUCCEEDED && result != JOB_CANCELLED;
        assert_int_equal(verdict == GROUP_CANCEL_REST, h->wants_cancel);
        /* Memory may be short. */
        if (verdict == GROUP_CANCEL_REST && random_below(&h->random, 3))
                group_cancelled(&h->group);
}

static void history_run(uint64_t seed) {
        History h = { .random = seed, .now = seed * MS };
        double progress = 0;

        group_init(&h.group, (GroupPolicy) random_below(&h.random, _GROUP_POLICY_MAX),
                random_below(&h.random, 200), h.now);
        while (!group_is_finished(&h.group)) {
                h.now += random_below(&h.random, random_below(&h.random, 10) ? 50 * MS : 900 * MS);
                history_end_one(&h);
                if (random_below(&h.random, 50) == 0)
                        group_cancelled(&h.group);
                assert_int_equal(h.group.n_succeeded, h.n_succeeded);
                assert_int_equal(h.group.n_failed, h.n_failed);
                assert_int_equal(group_n_done(&h.group), h.n_succeeded + h.n_failed);
                assert_true(group_progress(&h.group) > progress);
                progress = group_progress(&h.group);
                history_tell(&h, random_below(&h.random, 4) == 0);
        }
        history_tell(&h, true);
        assert_true(group_tell_at(&h.group) == USEC_INFINITY);
        assert_true(group_progress(&h.group) == 1);
        assert_true(h.n_told >= 1);
}

static void no_history_breaks_a_group(void **state) {
        for (uint64_t seed = 1; seed <= 20000; seed++)
                history_run(seed);
}

static void names_are_read_as_they_are_written(void **state) {
        for (int i = 0; i < _GROUP_POLICY_MAX; i++)
                assert_int_equal(
                        group_policy_from_string(group_policy_to_string((GroupPolicy) i)), i);
        assert_int_equal(group_policy_from_string("first"), _GROUP_POLICY_INVALID);
        assert_int_equal(group_policy_from_string(""), _GROUP_POLICY_INVALID);
        assert_null(group_policy_to_string(_GROUP_POLICY_MAX));
        assert_null(group_policy_to_string(_GROUP_POLICY_INVALID));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_end_means_what_the_table_says),
                cmocka_unit_test(rest_is_cancelled_once),
                cmocka_unit_test(empty_group_is_finished_and_has_that_to_tell),
                cmocka_unit_test(changes_are_told_when_the_table_says),
                cmocka_unit_test(no_history_breaks_a_group),
                cmocka_unit_test(names_are_read_as_they_are_written),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
