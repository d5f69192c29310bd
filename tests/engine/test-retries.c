/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* More than one attempt: by the pool's rule, because the attempt asked for it, and by Kick. */

#include "try.h"

#include <sched.h>
#include <string.h>

static int set_up(void **state) {
        Try *t = malloc(sizeof(*t));

        assert_non_null(t);
        try_init(t);
        t->several_lives = true;
        *state = t;
        return 0;
}

static int tear_down(void **state) {
        try_done(*state);
        free(*state);
        return 0;
}

/* A pool whose retries come after `backoff`, give or take half of it. */
static Pool *make_pool(Try *t, const HandlerVTable *handler, uint32_t n_workers,
        uint32_t max_attempts, usec_t backoff) {
        PoolConfig *config = try_config("p", handler, n_workers);
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        config->min_workers = n_workers;
        config->max_attempts = max_attempts;
        config->backoff = backoff;
        config->run_timeout = USEC_INFINITY;
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        return pool;
}

static JobCounters counters_of(Pool *pool) {
        PoolView view;

        pool_view(pool, &view);
        return view.counters;
}

static JobView view_of(Try *t, uint64_t id) {
        Job *job = engine_find_job(t->engine, id);
        JobView view;

        assert_non_null(job);
        pool_job_view(job_pool(job), job, &view);
        return view;
}

static const char *error_of(Try *t, uint64_t id) {
        return job_error(engine_find_job(t->engine, id));
}

/* Waits without the loop, so that main has not heard of it. */
static void wait_finished_unheard(Try *t, uint64_t id) {
        while (try_state(t, id) != JOB_FINISHED)
                (void) sched_yield();
}

/* Nothing tells main of a retry, so it does not wait for it in the loop. */
static void wait_retried(Try *t, Pool *pool, uint64_t n) {
        engine_turn(t->engine);
        while (counters_of(pool).retried < n)
                (void) sched_yield();
}

/* ---- attempts ---- */

typedef struct Row {
        const char *payload;
        uint32_t max_attempts;     /* of the pool */
        uint32_t own_max_attempts; /* of the job; 0 = says nothing */
        bool once;
        JobResult result;
        uint32_t n_attempts;
        const char *error;
} Row;

static void attempts_are_as_many_as_the_rules_grant(void **state) {
        static const Row rows[] = {
                { TRY_FAIL_TIMES(2), 3, 0, false, JOB_SUCCEEDED, 3, "" },
                { TRY_FAIL_TIMES(2), 2, 0, false, JOB_FAILED, 2, "attempt 2" },
                { TRY_FAIL_TIMES(2), 1, 0, false, JOB_FAILED, 1, "attempt 1" },
                { TRY_FAIL_TIMES(2), 1, 3, false, JOB_SUCCEEDED, 3, "" },
                { TRY_FAIL_TIMES(2), 3, 1, false, JOB_FAILED, 1, "attempt 1" },
                { TRY_FAIL_TIMES(2), 3, 0, true, JOB_FAILED, 1, "attempt 1" },
                { TRY_ASK, 1, 0, false, JOB_FAILED, 4, "attempt 4" },
                { TRY_ASK, 6, 0, false, JOB_FAILED, 6, "attempt 6" },
                { TRY_ASK, 1, 0, true, JOB_FAILED, 1, "attempt 1" },
                { TRY_FATAL, 5, 0, false, JOB_FAILED, 1, "attempt 1" },
                { TRY_SILENT, 2, 0, false, JOB_FAILED, 2, "failed without saying why" },
                { TRY_ECHO, 5, 0, false, JOB_SUCCEEDED, 1, "" },
        };
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 2, 1, USEC_PER_MSEC);
        uint64_t n_retried = 0;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const Row *row = &rows[i];
                Submission *submission = try_submission();
                PoolConfig config = *pool->config;
                unsigned n_finished = t->n_finished;
                uint64_t id;

                config.max_attempts = row->max_attempts;
                assert_int_equal(engine_set_pool(t->engine, pool, &config), 0);
                submission->max_attempts = row->own_max_attempts;
                submission->once = row->once;
                id = try_submit_with(t, pool, submission, row->payload, 1);
                try_until(t, t->n_finished > n_finished);

                assert_int_equal(try_result(t, id), row->result);
                assert_int_equal(view_of(t, id).attempt, row->n_attempts);
                assert_string_equal(error_of(t, id), row->error);
                assert_int_equal(t->jobs[id].n_finished, 1);
                assert_int_equal(t->jobs[id].n_started, row->n_attempts);
                n_retried += row->n_attempts - 1;
                assert_int_equal(counters_of(pool).retried, n_retried);
        }
}

static void running_out_of_time_is_a_failure_like_others(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 1, 3, USEC_PER_MSEC);
        Submission *submission = try_submission();
        uint64_t id;

        submission->run_timeout = USEC_PER_MSEC;
        id = try_submit_with(t, pool, submission, TRY_GATE(0), 1);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_TIMED_OUT);
        assert_int_equal(gate_n_begun(0), 3);
        assert_int_equal(counters_of(pool).retried, 2);
}

static void a_call_for_many_is_answered_when_the_last_retry_has_ended(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_several, 2, 3, 0);

        try_pretend_short(pool);
        for (unsigned i = 0; i < 20; i++)
                (void) try_submit_bulk(t, pool, i % 2 ? TRY_FAIL_TIMES(2) : TRY_ECHO, 100);
        try_until(t, t->n_done == 20);
        assert_int_equal(counters_of(pool).results[JOB_SUCCEEDED], 2000);
        assert_int_equal(counters_of(pool).retried, 2000);
        assert_int_equal(t->engine->jobs.n_jobs, 0);
}

/* ---- back-off ---- */

static void a_job_in_back_off_waits_for_its_time(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 1, 2, USEC_PER_HOUR);
        uint64_t id = try_submit(t, pool, TRY_FAIL_TIMES(1), 1);
        JobView view;

        wait_retried(t, pool, 1);
        view = view_of(t, id);
        assert_int_equal(view.state, JOB_SCHEDULED);
        assert_int_equal(view.attempt, 1);
        assert_int_equal(view.finished_realtime, 0);
        assert_string_equal(view.pending_reason, "delay");
        assert_false(pool_is_empty(pool));
        assert_int_equal(t->n_finished, 0);
}

/* By the timer alone: each delay is at least half of Backoff, doubled each time. */
static void retries_are_made_when_their_time_has_come_and_not_before(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 1, 3, 20 * USEC_PER_MSEC);
        usec_t start = usec_now(CLOCK_MONOTONIC);
        uint64_t id = try_submit(t, pool, TRY_FAIL_TIMES(2), 1);

        try_until(t, t->n_finished == 1);
        assert_true(usec_now(CLOCK_MONOTONIC) - start >= (10 + 20) * USEC_PER_MSEC);
        assert_int_equal(try_result(t, id), JOB_SUCCEEDED);
        assert_int_equal(counters_of(pool).retried, 2);
}

static void what_is_cancelled_in_back_off_says_so(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 1, 2, USEC_PER_HOUR);
        uint64_t id = try_submit(t, pool, TRY_FAIL_TIMES(1), 1);

        wait_retried(t, pool, 1);
        assert_int_equal(pool_cancel(pool, engine_find_job(t->engine, id)), CANCEL_FINISHED);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_CANCELLED);
        assert_string_equal(error_of(t, id), "cancelled");
        assert_true(pool_is_empty(pool));
}

static void a_cancelled_job_has_no_other_attempt(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 1, 5, 0);
        uint64_t id = try_submit(t, pool, TRY_GATE(0), 1);

        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(pool_cancel(pool, engine_find_job(t->engine, id)), CANCEL_ASKED);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_CANCELLED);
        assert_int_equal(counters_of(pool).retried, 0);
}

static void what_is_out_of_its_time_can_still_be_cancelled(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 1, 5, 0);
        Submission *submission = try_submission();
        uint64_t id;

        submission->run_timeout = USEC_PER_MSEC;
        id = try_submit_with(t, pool, submission, TRY_STUBBORN(0), 1);
        try_until(t, try_state(t, id) == JOB_STOPPING);
        (void) pool_cancel(pool, engine_find_job(t->engine, id));
        gate_open(0);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_TIMED_OUT);
        assert_int_equal(counters_of(pool).retried, 0);
}

static void a_worker_that_leaves_sees_to_the_retry_of_its_last_job(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 2, 2, USEC_PER_MSEC);
        uint64_t id = try_submit(t, pool, TRY_GATE_FAIL(0), 1);
        PoolConfig config = *pool->config;

        (void) try_submit(t, pool, TRY_GATE(1), 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        gate_wait_begun(1, 1);
        config.min_workers = config.max_workers = 1;
        assert_int_equal(engine_set_pool(t->engine, pool, &config), 0);
        gate_open(0);
        /* The other worker is busy: only the timer can make this true. */
        try_until(t, counters_of(pool).retried == 1 && try_state(t, id) == JOB_QUEUED);
        gate_open(1);
        try_until(t, t->n_finished == 2);
        assert_int_equal(try_result(t, id), JOB_FAILED);
}

static void jobs_in_back_off_do_not_hold_up_a_shutdown(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 2, 1000, USEC_PER_HOUR);
        uint64_t id = try_submit(t, pool, TRY_FAIL_TIMES(7), 100), running;

        wait_retried(t, pool, 100);
        running = try_submit(t, pool, TRY_GATE_FAIL(0), 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        engine_shut_down(t->engine);
        gate_open(0);
        try_until(t, engine_is_quiet(t->engine) && t->n_finished == 101);
        assert_int_equal(try_result(t, id), JOB_CANCELLED);
        assert_string_equal(error_of(t, id), "sluiced is shutting down");
        assert_int_equal(try_result(t, running), JOB_FAILED);
        assert_int_equal(counters_of(pool).retried, 100);
}

static void a_pool_is_removed_with_its_jobs_in_back_off(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 2, 1000, USEC_PER_HOUR);

        (void) try_submit(t, pool, TRY_FAIL_TIMES(7), 100);
        wait_retried(t, pool, 100);
        assert_int_equal(engine_remove_pool(t->engine, pool, /* cancel= */ true, NULL), 0);
        try_until(t, t->n_pools_removed == 1);
        assert_int_equal(t->n_finished, 100);
}

/* ---- once more by hand ---- */

static void kick_takes_the_oldest_first_as_long_as_there_is_room(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 1, 1, 0);
        uint64_t id = try_submit(t, pool, TRY_FAIL, 4), order[16];
        PoolConfig config = *pool->config;

        (void) try_submit(t, pool, TRY_ECHO, 1);
        try_until(t, t->n_finished == 5);
        (void) try_order(order, ELEMENTSOF(order));
        engine_pause_pool(t->engine, pool, true);
        config.queue_max = 3;
        /* Nobody is dropped for one that had its chance. */
        config.overflow = OVERFLOW_DROP_OLDEST;
        assert_int_equal(engine_set_pool(t->engine, pool, &config), 0);

        assert_int_equal(engine_kick(t->engine, pool, 0), 0);
        assert_int_equal(engine_kick(t->engine, pool, 2), 2);
        assert_int_equal(try_state(t, id), JOB_QUEUED);
        assert_int_equal(try_state(t, id + 1), JOB_QUEUED);
        assert_int_equal(try_state(t, id + 2), JOB_FINISHED);
        assert_int_equal(engine_kick(t->engine, pool, 10), 1);
        assert_int_equal(engine_kick(t->engine, pool, 10), 0);
        assert_int_equal(counters_of(pool).rejected, 0);
        assert_int_equal(counters_of(pool).results[JOB_DROPPED], 0);
        assert_int_equal(counters_of(pool).submitted, 8);
        try_assert_adds_up(pool);

        engine_pause_pool(t->engine, pool, false);
        try_until(t, t->n_finished == 8);
        assert_int_equal(try_order(order, ELEMENTSOF(order)), 3);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(order[i], id + i);
        assert_string_equal(error_of(t, id), "job 1 was to fail");
}

static void kick_leaves_alone_what_cannot_be_done_again(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 1, 1, 0);
        Submission *submission = try_submission();

        submission->once = true;
        (void) try_submit_with(t, pool, submission, TRY_FAIL, 1);
        (void) try_submit(t, pool, TRY_ECHO, 1);
        try_until(t, t->n_finished == 2);
        assert_int_equal(engine_kick(t->engine, pool, 10), 0);
}

static void one_job_is_tried_again_or_the_answer_says_why_not(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 1, 1, 0);
        Submission *submission = try_submission();
        uint64_t once, good, bad, gate, cancelled;
        PoolConfig config = *pool->config;

        submission->once = true;
        once = try_submit_with(t, pool, submission, TRY_FAIL, 1);
        good = try_submit(t, pool, TRY_ECHO, 1);
        bad = try_submit(t, pool, TRY_FAIL_TIMES(1), 1);
        try_until(t, t->n_finished == 3);
        gate = try_submit(t, pool, TRY_GATE(0), 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        cancelled = try_submit(t, pool, TRY_ECHO, 1);
        (void) pool_cancel(pool, engine_find_job(t->engine, cancelled));

        assert_int_equal(engine_retry(t->engine, once), RETRY_GONE);
        assert_int_equal(engine_retry(t->engine, good), RETRY_SUCCEEDED);
        assert_int_equal(engine_retry(t->engine, gate), RETRY_UNFINISHED);
        assert_int_equal(engine_retry(t->engine, 4711), RETRY_GONE);
        engine_drain_pool(t->engine, pool, true);
        assert_int_equal(engine_retry(t->engine, bad), RETRY_DRAINING);
        assert_int_equal(engine_kick(t->engine, pool, 10), 0);
        engine_drain_pool(t->engine, pool, false);

        config.queue_max = 1;
        assert_int_equal(engine_set_pool(t->engine, pool, &config), 0);
        assert_int_equal(engine_retry(t->engine, cancelled), RETRY_DONE);
        assert_int_equal(engine_retry(t->engine, cancelled), RETRY_UNFINISHED);
        assert_int_equal(engine_retry(t->engine, bad), RETRY_NO_ROOM);
        assert_int_equal(counters_of(pool).rejected, 0);
        gate_open(0);
        try_until(t, try_state(t, cancelled) == JOB_FINISHED);
        assert_int_equal(try_result(t, cancelled), JOB_SUCCEEDED);
}

static void a_job_is_tried_again_before_main_has_heard_of_its_end(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 1, 1, 0);

        for (unsigned i = 1; i <= 50; i++) {
                uint64_t id = try_submit(t, pool, TRY_FAIL, 1);

                engine_turn(t->engine);
                wait_finished_unheard(t, id);
                assert_int_equal(engine_retry(t->engine, id), RETRY_DONE);
                try_until(t, t->n_finished == 2 * i);
                assert_int_equal(t->jobs[id].n_finished, 2);
        }
        assert_int_equal(pool->n_retained, 50);
}

/* ---- all together ---- */

static void many_retries_on_many_threads_end_once_each(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_several, 4, 4, 100);
        unsigned n = 0, n_failed = 0;
        uint64_t first = 0;

        try_pretend_short(pool);
        for (unsigned i = 0; i < 40; i++) {
                first = first ?: try_submit(t, pool, TRY_FAIL_TIMES(1), 1);
                (void) try_submit(t, pool, TRY_FAIL_TIMES(2), 10);
                (void) try_submit(t, pool, TRY_FAIL_TIMES(7), 10);
                (void) try_submit(t, pool, TRY_ASK, 5);
                (void) try_submit(t, pool, TRY_ECHO, 20);
                engine_turn(t->engine);
                n += 45;
                n_failed += 15;
        }
        try_until(t, t->n_finished == n + 1);
        assert_int_equal(counters_of(pool).results[JOB_FAILED], n_failed);
        /* 10 x 2 of those that succeed, 10 x 3 and 5 x 3 of those that do not. */
        assert_int_equal(counters_of(pool).retried, 40 * (20 + 30 + 15) + 1);
        assert_int_equal(engine_kick(t->engine, pool, UINT32_MAX), n_failed);
        try_until(t, t->n_finished == n + 1 + n_failed);
        for (uint64_t id = first; id < t->engine->next_id; id++)
                assert_int_equal(
                        t->jobs[id].n_finished, try_result(t, id) == JOB_SUCCEEDED ? 1 : 2);
}

int main(void) {
#define TRY_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TRY_TEST(attempts_are_as_many_as_the_rules_grant),
                TRY_TEST(running_out_of_time_is_a_failure_like_others),
                TRY_TEST(a_call_for_many_is_answered_when_the_last_retry_has_ended),
                TRY_TEST(a_job_in_back_off_waits_for_its_time),
                TRY_TEST(retries_are_made_when_their_time_has_come_and_not_before),
                TRY_TEST(what_is_cancelled_in_back_off_says_so),
                TRY_TEST(a_cancelled_job_has_no_other_attempt),
                TRY_TEST(what_is_out_of_its_time_can_still_be_cancelled),
                TRY_TEST(a_worker_that_leaves_sees_to_the_retry_of_its_last_job),
                TRY_TEST(jobs_in_back_off_do_not_hold_up_a_shutdown),
                TRY_TEST(a_pool_is_removed_with_its_jobs_in_back_off),
                TRY_TEST(kick_takes_the_oldest_first_as_long_as_there_is_room),
                TRY_TEST(kick_leaves_alone_what_cannot_be_done_again),
                TRY_TEST(one_job_is_tried_again_or_the_answer_says_why_not),
                TRY_TEST(a_job_is_tried_again_before_main_has_heard_of_its_end),
                TRY_TEST(many_retries_on_many_threads_end_once_each),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
