/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ConcurrencyKeys: which job of which key may be taken, as the scheduler does it. */

#include "core/scheduler-walk.h"
#include "test.h"

static void walk(uint32_t key_concurrency, bool fair, const Step *steps, size_t n_steps) {
        const SchedulerConfig config = {
                .fair = fair,
                .key_concurrency = key_concurrency,
                .batch_timeout = 100,
        };

        scheduler_walk(&config, steps, n_steps);
}

#define WALK(key_concurrency, steps) walk(key_concurrency, false, steps, ELEMENTSOF(steps))
#define WALK_FAIR(steps) walk(1, true, steps, ELEMENTSOF(steps))

/* ---- the bound ---- */

static void of_a_key_one_job_runs_and_others_go_on(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .n = 2 },
                { 0, SUBMIT, 3, "b" },
                { 0, SUBMIT, 4 },
                { 1, TAKE, .jobs = "1 3 4 " },
                { 1, PARKED, .n = 1 },
                { 2, NOTHING, .until = NEVER },
                { 3, FINISH, 3 },
                { 3, NOTHING, .until = NEVER },
                { 4, FINISH, 1 },
                { 4, TAKE, .jobs = "2 " },
        };

        WALK(1, steps);
}

static void of_a_key_as_many_run_as_may(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .n = 4 },
                { 1, TAKE, .jobs = "1 2 " },
                { 1, NOTHING, .until = NEVER },
                { 2, FINISH, 2 },
                { 2, TAKE, .jobs = "3 " },
                { 3, FINISH, 3 },
                { 3, FINISH, 1 },
                { 3, TAKE, .jobs = "4 " },
        };

        WALK(2, steps);
}

static void a_claimed_job_has_its_key(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2, "a", .n = 2 },
                { 1, TAKE, .jobs = "1 2 " },
                { 1, STATE, 2, .n = JOB_QUEUED },
                { 1, NOTHING, .until = NEVER },
                { 1, UNCLAIM, 2 },
                { 1, PARKED, .n = 1 },
                { 2, TAKE, .jobs = "2 " },
                { 2, FINISH, 2 },
                { 2, TAKE, .jobs = "3 " },
        };

        WALK(1, steps);
}

static void what_is_taken_back_is_in_order_again(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .n = 4 },
                { 1, TAKE, .jobs = "1 2 3 " },
                { 1, UNCLAIM, 3 },
                { 1, UNCLAIM, 2 },
                { 1, PARKED, .n = 2 },
                { 2, TAKE, .jobs = "2 ", .n = 1 },
                { 2, TAKE, .jobs = "3 " },
        };

        WALK(3, steps);
}

static void a_batch_has_no_more_of_a_key_than_may_run(void **state) {
        static const Step one[] = {
                { 0, SIZE, .n = 3 },
                { 0, SUBMIT, 1, "a", .n = 3 },
                { 0, ELIGIBLE, .n = 1 },
                /* Three are queued, but they are no batch. */
                { 0, GATHERS, .n = 1 },
                { 1, NOTHING, .until = 100 },
                { 2, SUBMIT, 4, "b" },
                { 3, SUBMIT, 5 },
                { 3, GATHERS, .n = 0 },
                { 3, TAKE, .jobs = "1 4 5 " },
                { 3, GATHERS, .n = 0 },
                { 9, FINISH, 1 },
                { 9, GATHERS, .n = 1 },
        };
        static const Step two[] = {
                { 0, SIZE, .n = 3 },
                { 0, SUBMIT, 1, "a", .n = 3 },
                { 0, ELIGIBLE, .n = 2 },
                { 0, GATHERS, .n = 1 },
                { 1, SUBMIT, 4 },
                { 1, ELIGIBLE, .n = 3 },
                { 1, TAKE, .jobs = "1 2 4 " },
        };

        WALK(1, one);
        WALK(2, two);
}

/* ---- the order ---- */

static void within_a_key_the_order_of_submission_counts(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .priority = -5 },
                { 0, SUBMIT, 2, "a", .priority = 5 },
                { 0, SUBMIT, 3, "b", .priority = 1 },
                { 0, SUBMIT, 4 },
                /* Between keys it is the priority of the next one of each. */
                { 1, TAKE, .jobs = "3 4 1 " },
                { 1, FINISH, 1 },
                { 1, TAKE, .jobs = "2 " },
        };
        static const Step two[] = {
                { 0, SUBMIT, 1, "a", .priority = -5 },
                { 0, SUBMIT, 2, "a", .priority = 5 },
                { 0, SUBMIT, 3 },
                { 1, TAKE, .jobs = "3 ", .n = 1 },
                { 1, TAKE, .jobs = "1 2 " },
        };

        WALK(1, steps);
        WALK(2, two);
}

static void what_was_parked_has_its_old_place_among_others(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 1, SUBMIT, 2, "a" },
                { 2, SUBMIT, 3 },
                { 3, TAKE, .jobs = "1 ", .n = 1 },
                { 4, FINISH, 1 },
                { 4, TAKE, .jobs = "2 3 " },
        };

        WALK(1, steps);
}

static void alone_with_its_key_a_job_keeps_it_over_a_back_off(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .n = 2 },
                { 0, SUBMIT, 3, "b" },
                { 1, TAKE, .jobs = "1 ", .n = 1 },
                { 2, RETRY, 1, .until = 12 },
                { 3, TAKE, .jobs = "3 " },
                { 3, NOTHING, .until = 12 },
                { 12, TAKE, .jobs = "1 " },
                { 13, RETRY, 1, .until = 23 },
                { 13, NOTHING, .until = 23 },
                { 23, TAKE, .jobs = "1 " },
                { 24, FAIL, 1 },
                { 24, TAKE, .jobs = "2 " },
        };

        WALK(1, steps);
}

static void among_others_it_gives_its_place_to_the_next(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .n = 4 },
                { 1, TAKE, .jobs = "1 2 " },
                { 2, RETRY, 1, .until = 12 },
                { 2, TAKE, .jobs = "3 " },
                { 3, FINISH, 2 },
                /* Job 4 is the next now; but nobody takes it before job 1 is due again. */
                { 12, TAKE, .jobs = "1 " },
                { 13, FINISH, 3 },
                { 13, TAKE, .jobs = "4 " },
        };

        WALK(2, steps);
}

static void a_delayed_job_joins_its_key_when_it_is_due(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .delay = 10, .n = 2 },
                { 1, SUBMIT, 3, "a", .n = 2 },
                { 2, SUBMIT, 5, "a", .delay = 1 },
                { 3, SUBMIT, 6, "a" },
                /* What is not due is in nobody's way, … */
                { 4, TAKE, .jobs = "3 " },
                { 4, PARKED, .n = 3 },
                { 10, ADVANCE, .jobs = "" },
                /* … and passes those that wait, not the one at work. */
                { 10, PARKED, .n = 5 },
                { 11, FINISH, 3 },
                { 11, TAKE, .jobs = "1 " },
                { 12, FINISH, 1 },
                { 12, TAKE, .jobs = "2 " },
                { 13, FINISH, 2 },
                { 13, TAKE, .jobs = "4 " },
                { 14, FINISH, 4 },
                { 14, TAKE, .jobs = "5 " },
                { 15, FINISH, 5 },
                { 15, TAKE, .jobs = "6 " },
        };

        WALK(1, steps);
}

static void a_delayed_job_overtakes_the_next_of_its_key(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .delay = 10 },
                { 0, SUBMIT, 2, "a" },
                { 5, PARKED, .n = 0 },
                { 10, TAKE, .jobs = "1 " },
                { 10, PARKED, .n = 1 },
        };

        WALK(1, steps);
}

static void a_job_that_keeps_its_key_is_not_passed_by_an_earlier_one(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .delay = 5 },
                { 0, SUBMIT, 2, "a" },
                { 1, TAKE, .jobs = "2 " },
                { 2, RETRY, 2, .until = 12 },
                { 6, NOTHING, .until = 12 },
                { 12, TAKE, .jobs = "2 " },
                { 13, FINISH, 2 },
                { 13, TAKE, .jobs = "1 " },
        };

        WALK(1, steps);
}

static void a_kicked_job_is_before_those_that_came_later(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .n = 3 },
                { 1, TAKE, .jobs = "1 " },
                { 2, FAIL, 1 },
                { 3, TAKE, .jobs = "2 " },
                { 4, KICK, 1 },
                { 5, FINISH, 2 },
                { 5, TAKE, .jobs = "1 " },
        };

        WALK(1, steps);
}

static void owners_have_turns_and_a_key_has_its_order(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .owner = 1 },
                { 0, SUBMIT, 2, "a", .owner = 2 },
                { 0, SUBMIT, 3, "a", .owner = 1 },
                { 0, SUBMIT, 4, .owner = 2, .n = 2 },
                { 0, SUBMIT, 6, .owner = 1 },
                { 1, TAKE, .jobs = "1 4 6 5 " },
                { 2, FINISH, 1 },
                { 2, TAKE, .jobs = "2 " },
                { 3, FINISH, 2 },
                { 3, TAKE, .jobs = "3 " },
        };

        WALK_FAIR(steps);
}

/* ---- what waits for its key waits ---- */

static void parked_jobs_are_queued_and_take_room(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .n = 3 },
                { 0, SUBMIT, 1, "a" },
                { 0, TAKE, .jobs = "1 " },
                { 0, SUBMIT, 2, "a", .n = 3 },
                { 0, STATE, 4, .n = JOB_QUEUED },
                { 0, FULL },
                { 0, ELIGIBLE, .n = 0 },
                { 9, WAITED, .until = 0 },
        };

        WALK(1, steps);
}

static void parked_jobs_expire(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .queue_timeout = 20, .n = 2 },
                { 0, SUBMIT, 3, "a", .queue_timeout = 10 },
                { 0, SUBMIT, 4, "a" },
                { 1, TAKE, .jobs = "1 " },
                { 1, NOTHING, .until = 10 },
                { 10, ADVANCE, .jobs = "3 " },
                { 20, ADVANCE, .jobs = "2 " },
                { 21, FINISH, 1 },
                { 21, TAKE, .jobs = "4 " },
        };

        WALK(1, steps);
}

static void when_the_next_one_expires_another_is_the_next(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .queue_timeout = 10 },
                { 0, SUBMIT, 2, "a", .queue_timeout = 5 },
                { 0, SUBMIT, 3, "a" },
                { 10, ADVANCE, .jobs = "2 1 " },
                { 10, TAKE, .jobs = "3 " },
        };

        WALK(1, steps);
}

static void parked_jobs_can_be_cancelled_and_refused(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .n = 5 },
                { 1, CANCEL, 2, .n = CANCEL_FINISHED },
                { 1, REFUSE, 4, .n = true },
                { 1, CANCEL, 1, .n = CANCEL_FINISHED },
                { 2, TAKE, .jobs = "3 " },
                { 2, CANCEL, 3, .n = CANCEL_ASKED },
                { 2, NOTHING, .until = NEVER },
                { 3, FAIL, 3 },
                { 3, TAKE, .jobs = "5 " },
        };

        WALK(1, steps);
}

static void a_job_cancelled_in_its_back_off_leaves_its_key(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .n = 2 },
                { 1, TAKE, .jobs = "1 " },
                { 2, RETRY, 1, .until = 12 },
                { 3, CANCEL, 1, .n = CANCEL_FINISHED },
                { 3, TAKE, .jobs = "2 " },
                { 4, FINISH, 2 },
                /* The same of one that is due again, and has not been taken. */
                { 5, SUBMIT, 3, "a", .n = 2 },
                { 5, TAKE, .jobs = "3 " },
                { 6, RETRY, 3, .until = 16 },
                { 16, ADVANCE, .jobs = "" },
                { 16, CANCEL, 3, .n = CANCEL_FINISHED },
                { 16, TAKE, .jobs = "4 " },
        };

        WALK(1, steps);
}

static void a_parked_job_can_have_another_priority(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .n = 2 },
                { 0, SUBMIT, 3 },
                { 0, PRIORITY, 2, .priority = 3 },
                { 1, TAKE, .jobs = "1 ", .n = 1 },
                { 1, FINISH, 1 },
                { 1, TAKE, .jobs = "2 3 " },
        };

        WALK(1, steps);
}

static void parked_jobs_can_be_dropped(void **state) {
        static const Step oldest[] = {
                { 0, QUEUE_MAX, .n = 3 },
                { 0, OVERFLOW, .n = OVERFLOW_DROP_OLDEST },
                { 0, SUBMIT, 1, "a" },
                { 0, TAKE, .jobs = "1 " },
                { 1, SUBMIT, 2, "a" },
                { 2, SUBMIT, 3, "a" },
                { 3, SUBMIT, 4 },
                { 4, DROPS, .jobs = "2 " },
                { 4, FINISH, 1 },
                { 4, TAKE, .jobs = "3 4 " },
        };
        static const Step lowest[] = {
                { 0, QUEUE_MAX, .n = 3 },
                { 0, OVERFLOW, .n = OVERFLOW_DROP_LOWEST },
                { 0, SUBMIT, 1, "a" },
                { 0, TAKE, .jobs = "1 " },
                { 1, SUBMIT, 2, "a", .priority = 2 },
                { 2, SUBMIT, 3, "a", .priority = -2 },
                { 3, SUBMIT, 4 },
                { 4, FULL, .priority = -3 },
                { 4, DROPS, .jobs = "3 " },
                { 4, FINISH, 1 },
                { 4, TAKE, .jobs = "2 4 " },
        };
        static const Step next[] = {
                { 0, QUEUE_MAX, .n = 2 },
                { 0, OVERFLOW, .n = OVERFLOW_DROP_OLDEST },
                { 0, SUBMIT, 1, "a", .n = 2 },
                { 1, DROPS, .jobs = "1 " },
                { 1, TAKE, .jobs = "2 " },
        };

        WALK(1, oldest);
        WALK(1, lowest);
        WALK(1, next);
}

static void a_parked_job_has_those_of_its_key_ahead(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a", .delay = 5 },
                { 0, SUBMIT, 3, "a", .n = 2 },
                { 0, SUBMIT, 5, "b" },
                { 0, SUBMIT, 6 },
                { 0, POSITION, 1, .n = 1 },
                { 0, POSITION, 3, .n = 2 },
                { 0, POSITION, 4, .n = 3 },
                /* What is parked is ahead of nobody else. */
                { 0, POSITION, 5, .n = 2 },
                { 0, POSITION, 6, .n = 3 },
                { 1, TAKE, .jobs = "1 ", .n = 1 },
                { 1, POSITION, 3, .n = 2 },
                { 1, POSITION, 5, .n = 1 },
                { 5, ADVANCE, .jobs = "" },
                { 5, POSITION, 2, .n = 2 },
                { 5, POSITION, 4, .n = 4 },
                { 6, FINISH, 1 },
                { 6, POSITION, 4, .n = 3 },
        };

        WALK(1, steps);
}

/* ---- settings ---- */

static void more_places_count_at_once(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .n = 4 },
                { 1, TAKE, .jobs = "1 " },
                { 1, ELIGIBLE, .n = 0 },
                { 2, PLACES, .n = 3 },
                { 2, ELIGIBLE, .n = 2 },
                { 2, TAKE, .jobs = "2 3 " },
        };

        WALK(1, steps);
}

static void fewer_places_count_for_what_waits(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .n = 4 },
                { 1, TAKE, .jobs = "1 2 ", .n = 2 },
                { 1, ELIGIBLE, .n = 1 },
                { 2, PLACES, .n = 1 },
                { 2, ELIGIBLE, .n = 0 },
                { 2, PARKED, .n = 2 },
                { 3, FINISH, 1 },
                { 3, NOTHING, .until = NEVER },
                { 3, FINISH, 2 },
                { 3, TAKE, .jobs = "3 " },
        };

        WALK(3, steps);
}

static void with_more_places_nobody_keeps_one(void **state) {
        static const Step in_back_off[] = {
                { 0, SUBMIT, 1, "a", .n = 3 },
                { 1, TAKE, .jobs = "1 " },
                { 2, RETRY, 1, .until = 12 },
                { 3, PLACES, .n = 2 },
                { 3, TAKE, .jobs = "2 3 " },
                { 4, PLACES, .n = 1 },
                /* Its attempt waits like any other job of the key, or two would be at work. */
                { 12, NOTHING, .until = NEVER },
                { 13, FINISH, 2 },
                { 13, NOTHING, .until = NEVER },
                { 13, FINISH, 3 },
                { 13, TAKE, .jobs = "1 " },
        };
        static const Step due[] = {
                { 0, SUBMIT, 1, "a", .n = 3 },
                { 1, TAKE, .jobs = "1 " },
                { 2, RETRY, 1, .until = 12 },
                { 12, ADVANCE, .jobs = "" },
                { 13, PLACES, .n = 2 },
                { 13, ELIGIBLE, .n = 2 },
                { 13, TAKE, .jobs = "1 2 " },
        };

        WALK(1, in_back_off);
        WALK(1, due);
}

static void one_of_several_at_work_keeps_nothing(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .n = 2 },
                { 1, TAKE, .jobs = "1 2 " },
                { 2, PLACES, .n = 1 },
                { 3, RETRY, 1, .until = 13 },
                { 4, RETRY, 2, .until = 14 },
                /* Job 2 was alone then, and keeps the key; job 1 is behind it. */
                { 13, NOTHING, .until = 14 },
                { 14, TAKE, .jobs = "2 " },
                { 15, FINISH, 2 },
                { 15, TAKE, .jobs = "1 " },
        };

        WALK(2, steps);
}

/* ---- memory ---- */

static void a_key_without_a_job_is_forgotten(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "b", .n = 2 },
                { 0, KNOWN, .n = 2 },
                { 1, TAKE, .jobs = "1 2 " },
                { 2, FINISH, 1 },
                { 2, KNOWN, .n = 1 },
                { 3, FINISH, 2 },
                { 3, CANCEL, 3, .n = CANCEL_FINISHED },
                /* The last one that was admitted is kept, its job may be on the way. */
                { 3, KNOWN, .n = 1 },
                { 4, SUBMIT, 4, "c" },
                { 4, KNOWN, .n = 1 },
        };

        WALK(1, steps);
}

static void a_key_that_was_reserved_stays_until_the_next_one(void **state) {
        SchedulerConfig config = { .queue_max = 10, .aging_interval = 10, .key_concurrency = 1 };
        char a[] = "a", b[] = "b";
        Submission one = { .concurrency_key = a, .queue_timeout = NEVER },
                   other = { .concurrency_key = b, .queue_timeout = NEVER };
        JobDetails details[2] = {};
        Job jobs[2], *taken;
        Scheduler s;
        usec_t until;
        size_t n;

        assert_int_equal(scheduler_init(&s, &config), 0);
        for (size_t i = 0; i < 2; i++) {
                details[i].job = &jobs[i];
                jobs[i] = (Job){ .id = i + 1, .submission = &one, .details = &details[i] };
        }
        /* Two jobs of one call, of which the first ends before the second comes. */
        assert_int_equal(scheduler_admit(&s, 2, &one, 0, 0), ADMIT_YES);
        scheduler_submit(&s, &jobs[0], 0);
        assert_int_equal(scheduler_take(&s, 0, NULL, 1, &taken, &n, &until), TAKE_JOBS);
        assert_true(scheduler_finish(&s, &jobs[0], OUTCOME_SUCCESS, 0, 0));
        scheduler_submit(&s, &jobs[1], 0);
        assert_ptr_equal(scheduler_next(&s), &jobs[1]);

        assert_int_equal(scheduler_admit(&s, 1, &other, 0, 0), ADMIT_YES);
        assert_int_equal(HASH_COUNT(s.keys.by_text), 2);
        assert_int_equal(scheduler_admit(&s, 1, &one, 0, 0), ADMIT_YES);
        assert_int_equal(HASH_COUNT(s.keys.by_text), 1);
        scheduler_done(&s);
}

/* An item of a pipeline goes from pool to pool. */
static void a_job_can_go_on_to_another_scheduler(void **state) {
        SchedulerConfig config = { .queue_max = 10, .aging_interval = 10, .key_concurrency = 1 };
        char a[] = "a";
        Submission submission = { .concurrency_key = a, .queue_timeout = NEVER };
        JobDetails details = {};
        Job job = { .id = 1, .submission = &submission, .details = &details }, *taken;
        Scheduler stages[2];
        usec_t until;
        size_t n;

        details.job = &job;
        for (size_t i = 0; i < ELEMENTSOF(stages); i++) {
                Scheduler *s = &stages[i];

                job.state = JOB_NEW;
                assert_int_equal(scheduler_init(s, &config), 0);
                assert_int_equal(scheduler_admit(s, 1, &submission, 0, 0), ADMIT_YES);
                scheduler_submit(s, &job, i);
                assert_ptr_equal(details.key, s->keys.by_text);
                assert_int_equal(scheduler_take(s, i, NULL, 1, &taken, &n, &until), TAKE_JOBS);
                assert_true(scheduler_finish(s, &job, OUTCOME_SUCCESS, i, 0));
                assert_null(details.key);
        }
        for (size_t i = 0; i < ELEMENTSOF(stages); i++)
                scheduler_done(&stages[i]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(of_a_key_one_job_runs_and_others_go_on),
                cmocka_unit_test(of_a_key_as_many_run_as_may),
                cmocka_unit_test(a_claimed_job_has_its_key),
                cmocka_unit_test(what_is_taken_back_is_in_order_again),
                cmocka_unit_test(a_batch_has_no_more_of_a_key_than_may_run),
                cmocka_unit_test(within_a_key_the_order_of_submission_counts),
                cmocka_unit_test(what_was_parked_has_its_old_place_among_others),
                cmocka_unit_test(alone_with_its_key_a_job_keeps_it_over_a_back_off),
                cmocka_unit_test(among_others_it_gives_its_place_to_the_next),
                cmocka_unit_test(a_delayed_job_joins_its_key_when_it_is_due),
                cmocka_unit_test(a_delayed_job_overtakes_the_next_of_its_key),
                cmocka_unit_test(a_job_that_keeps_its_key_is_not_passed_by_an_earlier_one),
                cmocka_unit_test(a_kicked_job_is_before_those_that_came_later),
                cmocka_unit_test(owners_have_turns_and_a_key_has_its_order),
                cmocka_unit_test(parked_jobs_are_queued_and_take_room),
                cmocka_unit_test(parked_jobs_expire),
                cmocka_unit_test(when_the_next_one_expires_another_is_the_next),
                cmocka_unit_test(parked_jobs_can_be_cancelled_and_refused),
                cmocka_unit_test(a_job_cancelled_in_its_back_off_leaves_its_key),
                cmocka_unit_test(a_parked_job_can_have_another_priority),
                cmocka_unit_test(parked_jobs_can_be_dropped),
                cmocka_unit_test(a_parked_job_has_those_of_its_key_ahead),
                cmocka_unit_test(more_places_count_at_once),
                cmocka_unit_test(fewer_places_count_for_what_waits),
                cmocka_unit_test(with_more_places_nobody_keeps_one),
                cmocka_unit_test(one_of_several_at_work_keeps_nothing),
                cmocka_unit_test(a_key_without_a_job_is_forgotten),
                cmocka_unit_test(a_key_that_was_reserved_stays_until_the_next_one),
                cmocka_unit_test(a_job_can_go_on_to_another_scheduler),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
