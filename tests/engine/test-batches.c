/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Batches on threads and real timers. Bounds on time are those that hold however slow the machine
 * is: never too early, never for ever. */

#include "try.h"

#include <string.h>

#include "engine/breaker-config.h"
#include "engine/limiter-config.h"
#include "engine/worker.h"

/* A test in which it passes would be noticed. */
#define LONG USEC_PER_HOUR

static int setup(void **state) {
        Try *t = malloc(sizeof(*t));

        assert_non_null(t);
        try_init(t);
        *state = t;
        return 0;
}

static int teardown(void **state) {
        Try *t = *state;

        try_done(t);
        free(t);
        return 0;
}

/* ---- helpers ---- */

static Pool *add(Try *t, PoolConfig *config, uint32_t size, usec_t timeout) {
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        config->batch_size = size;
        config->batch_timeout = timeout;
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        return pool;
}

static Pool *batch_pool(Try *t, uint32_t n_workers, uint32_t size, usec_t timeout) {
        return add(t, try_config("p", &try_singly, n_workers), size, timeout);
}

static void set_batches(Try *t, Pool *pool, uint32_t size, usec_t timeout) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;

        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->batch_size = size;
        config->batch_timeout = timeout;
        assert_int_equal(engine_set_pool(t->engine, pool, config), 0);
}

static uint64_t n_batches(Pool *pool) {
        PoolView view;

        pool_view(pool, &view);
        return view.n_batches;
}

static uint32_t n_busy(Pool *pool) {
        PoolView view;

        pool_view(pool, &view);
        return view.n_busy;
}

#define assert_batches(...)                                                     \
        do {                                                                    \
                size_t batches[64], wanted[] = { __VA_ARGS__ };                 \
                                                                                \
                assert_int_equal(try_batches(batches, 64), ELEMENTSOF(wanted)); \
                assert_memory_equal(batches, wanted, sizeof(wanted));           \
        } while (0)

static void assert_reason(Try *t, uint64_t id, const char *reason) {
        Job *job = engine_find_job(t->engine, id);
        JobView view;

        assert_non_null(job);
        pool_job_view(job_pool(job), job, &view);
        assert_string_equal(view.pending_reason, reason);
}

static void cancel(Try *t, Pool *pool, uint64_t id) {
        (void) pool_cancel(pool, engine_find_job(t->engine, id));
}

/* Until nobody looks for work any more but when woken. */
static void wait_idle(Try *t, Pool *pool, uint32_t n) {
        usec_t patience = usec_now(CLOCK_MONOTONIC) + USEC_PER_MINUTE;
        uint32_t n_idle;

        do {
                assert_true(usec_now(CLOCK_MONOTONIC) < patience);
                engine_turn(t->engine);
                assert_true(sd_event_run(t->event, USEC_PER_MSEC) >= 0);
                engine_turn(t->engine);
                pool_lock(pool);
                n_idle = pool->n_idle;
                pool_unlock(pool);
        } while (n_idle < n);
}

/* Until a worker is at the first gate. */
static void wait_begun(Try *t) {
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
}

/* ---- when a batch begins ---- */

static void a_full_batch_is_one_call(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 4, LONG);
        uint64_t id = try_submit(t, pool, TRY_ECHO, 3);

        assert_reason(t, id, "batch");
        assert_reason(t, id + 2, "batch");
        (void) try_submit(t, pool, TRY_ECHO, 1);
        try_until(t, t->n_finished == 4);
        assert_batches(4);
        assert_int_equal(n_batches(pool), 1);
        assert_int_equal(t->n_started, 4);
}

static void the_first_item_waits_for_the_timeout_and_no_less(void **state) {
        Try *t = *state;
        usec_t timeout = 30 * USEC_PER_MSEC;
        Pool *pool = batch_pool(t, 2, 4, timeout);

        /* Wherever in the period of some free-running timer it comes. */
        for (unsigned i = 1; i <= 8; i++) {
                usec_t before = usec_now(CLOCK_MONOTONIC);

                (void) try_submit(t, pool, TRY_ECHO, 1);
                try_until(t, t->n_finished == i);
                assert_true(usec_now(CLOCK_MONOTONIC) >= before + timeout);
                assert_batches(1);
        }
}

static void a_timer_that_was_set_for_others_begins_nothing(void **state) {
        Try *t = *state;
        usec_t timeout = 50 * USEC_PER_MSEC, before;
        Pool *pool = batch_pool(t, 2, 3, timeout);
        unsigned n = 0;

        for (unsigned i = 0; i < 5; i++) {
                (void) try_submit(t, pool, TRY_ECHO, 1);
                (void) try_submit(t, pool, TRY_ECHO, 2);
                n += 3;
                try_until(t, t->n_finished >= n);
                /* The timer of the first one is still to come. */
                before = usec_now(CLOCK_MONOTONIC);
                (void) try_submit(t, pool, TRY_ECHO, 1);
                n++;
                try_until(t, t->n_finished == n);
                assert_true(usec_now(CLOCK_MONOTONIC) >= before + timeout);
                assert_batches(3, 1);
        }
}

static void many_come_in_full_batches_and_a_rest(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 1, 16, 20 * USEC_PER_MSEC);

        (void) try_submit_bulk(t, pool, TRY_ECHO, 100);
        try_until(t, t->n_done == 1);
        assert_batches(16, 16, 16, 16, 16, 16, 4);
        assert_int_equal(n_batches(pool), 7);
}

static void a_batch_can_be_large(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 5000, LONG);

        (void) try_submit_bulk(t, pool, TRY_ECHO, 5000);
        try_until(t, t->n_done == 1);
        assert_batches(5000);
        set_batches(t, pool, 10000, LONG);
        (void) try_submit_bulk(t, pool, TRY_ECHO, 10000);
        try_until(t, t->n_done == 2);
        assert_batches(10000);
}

static void a_full_queue_does_not_wait_for_more(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 1);
        Submission *later = try_submission();
        Pool *pool;

        config->queue_max = 4;
        pool = add(t, config, 4, LONG);
        later->delay = LONG;
        (void) try_submit_with(t, pool, later, TRY_ECHO, 2);
        (void) try_submit(t, pool, TRY_ECHO, 2);
        try_until(t, t->n_finished == 2);
        assert_batches(2);
}

static void on_served(RoomWatch *watch) {
        watch->pool = NULL;
}

static void who_waits_for_room_does_not_wait_for_a_batch(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 1);
        RoomWatch watch = { .served = on_served };
        Pool *pool;

        config->queue_max = 4;
        pool = add(t, config, 4, LONG);
        (void) try_submit(t, pool, TRY_ECHO, 2);
        wait_idle(t, pool, 1);
        engine_watch_room(pool, &watch, 3);
        try_until(t, !watch.pool);
        try_until(t, t->n_finished == 2);
        assert_batches(2);
}

static void a_drain_begins_what_gathers(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 4, LONG);

        (void) try_submit(t, pool, TRY_ECHO, 3);
        wait_idle(t, pool, 2);
        engine_drain_pool(t->engine, pool, true);
        try_until(t, t->n_finished == 3);
        assert_batches(3);
        engine_drain_pool(t->engine, pool, false);
        assert_reason(t, try_submit(t, pool, TRY_ECHO, 1), "batch");
}

static void a_drain_of_much_loses_nothing(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 4, LONG);

        (void) try_submit(t, pool, TRY_GATE(0), 1);
        (void) try_submit(t, pool, TRY_ECHO, 100);
        engine_drain_pool(t->engine, pool, true);
        gate_open(0);
        try_until(t, t->n_finished == 101);
        for (uint64_t id = 1; id <= 101; id++)
                assert_int_equal(t->jobs[id].result, JOB_SUCCEEDED);
}

static void a_pool_that_is_removed_does_its_last_batch(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 4, LONG);
        uint64_t id = try_submit(t, pool, TRY_ECHO, 2);

        assert_int_equal(engine_remove_pool(t->engine, pool, /* cancel= */ false, NULL), 0);
        try_until(t, t->n_pools_removed == 1);
        assert_int_equal(t->jobs[id].result, JOB_SUCCEEDED);
        assert_int_equal(t->jobs[id + 1].result, JOB_SUCCEEDED);
}

static void a_pool_that_is_removed_by_force_begins_nothing(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 4, LONG);
        uint64_t id = try_submit(t, pool, TRY_ECHO, 2);

        assert_int_equal(engine_remove_pool(t->engine, pool, /* cancel= */ true, NULL), 0);
        try_until(t, t->n_pools_removed == 1);
        assert_int_equal(t->jobs[id].result, JOB_CANCELLED);
        assert_int_equal(t->jobs[id + 1].result, JOB_CANCELLED);
}

static void what_gathers_ends_with_the_daemon(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 4, LONG);
        uint64_t id = try_submit(t, pool, TRY_ECHO, 3);

        engine_shut_down(t->engine);
        try_until(t, engine_is_quiet(t->engine));
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(t->jobs[id + i].result, JOB_CANCELLED);
}

static void a_pause_holds_a_batch_and_its_end(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 4, 0);
        uint64_t id;

        engine_pause_pool(t->engine, pool, true);
        id = try_submit(t, pool, TRY_ECHO, 3);
        assert_reason(t, id, "paused");
        engine_pause_pool(t->engine, pool, false);
        try_until(t, t->n_finished == 3);
}

static void a_cancelled_item_leaves_before_the_batch(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 4, LONG);
        uint64_t id = try_submit(t, pool, TRY_ECHO, 3);

        cancel(t, pool, id);
        (void) try_submit(t, pool, TRY_ECHO, 1);
        assert_reason(t, id + 1, "batch");
        (void) try_submit(t, pool, TRY_ECHO, 1);
        try_until(t, t->n_finished == 5);
        assert_batches(4);
        assert_int_equal(t->jobs[id].result, JOB_CANCELLED);
        assert_int_equal(t->jobs[id + 1].result, JOB_SUCCEEDED);
}

/* The batch that is due takes the urgent ones, and what made it due is left. */
static void the_oldest_does_not_wait_for_the_end_of_another_batch(void **state) {
        Try *t = *state;
        Submission *urgent = try_submission();
        Pool *pool = batch_pool(t, 2, 2, /* timeout= */ 1);
        size_t batches[3];

        wait_idle(t, pool, 2);
        engine_pause_pool(t->engine, pool, true);
        (void) try_submit(t, pool, TRY_GATE(1), 1);
        urgent->priority = 10;
        (void) try_submit_with(t, pool, urgent, TRY_GATE(0), 2);
        while (usec_now(CLOCK_MONOTONIC) <= urgent->submitted_at + 1)
                ;
        engine_pause_pool(t->engine, pool, false);
        gate_open(1);
        try_until(t, t->n_finished == 1);
        assert_int_equal(n_busy(pool), 1);
        gate_open(0);
        try_until(t, t->n_finished == 3);
        /* Whichever worker was the first to begin what it had taken. */
        assert_int_equal(try_batches(batches, ELEMENTSOF(batches)), 2);
        assert_int_equal(batches[0] + batches[1], 3);
}

static void other_settings_count_at_once(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 1, LONG);

        (void) try_submit(t, pool, TRY_ECHO, 3);
        try_until(t, t->n_finished == 3);
        assert_int_equal(n_batches(pool), 0);

        set_batches(t, pool, 10, LONG);
        (void) try_submit(t, pool, TRY_ECHO, 4);
        set_batches(t, pool, 4, LONG);
        try_until(t, t->n_finished == 7);
        assert_batches(4);

        (void) try_submit(t, pool, TRY_ECHO, 2);
        set_batches(t, pool, 4, 1);
        try_until(t, t->n_finished == 9);
        assert_batches(2);

        set_batches(t, pool, 4, LONG);
        (void) try_submit(t, pool, TRY_ECHO, 3);
        set_batches(t, pool, 1, LONG);
        try_until(t, t->n_finished == 12);
        assert_int_equal(n_batches(pool), 2);
}

static void a_running_batch_does_not_mind_other_settings(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 3, LONG);
        uint64_t id = try_submit(t, pool, TRY_GATE(0), 3);

        wait_begun(t);
        set_batches(t, pool, 1000, LONG);
        (void) try_submit(t, pool, TRY_ECHO, 1000);
        try_until(t, t->n_finished == 1000);
        set_batches(t, pool, 1, LONG);
        cancel(t, pool, id + 1);
        gate_open(0);
        try_until(t, t->n_finished == 1003);
        assert_int_equal(t->jobs[id].result, JOB_SUCCEEDED);
        assert_int_equal(t->jobs[id + 1].result, JOB_CANCELLED);
}

/* ---- how a batch ends ---- */

static void each_item_has_a_verdict_of_its_own(void **state) {
        static const char *const payloads[] = { TRY_ECHO, TRY_FAIL, TRY_SILENT, TRY_BIG };
        static const JobResult results[] = { JOB_SUCCEEDED, JOB_FAILED, JOB_FAILED, JOB_SUCCEEDED };
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 4, LONG);

        for (size_t i = 0; i < ELEMENTSOF(payloads); i++)
                (void) try_submit(t, pool, payloads[i], 1);
        try_until(t, t->n_finished == 4);
        for (size_t i = 0; i < ELEMENTSOF(payloads); i++)
                assert_int_equal(t->jobs[1 + i].result, results[i]);
        assert_string_equal(job_error(engine_find_job(t->engine, 2)), "job 2 was to fail");
        assert_string_equal(job_error(engine_find_job(t->engine, 3)), "failed without saying why");
}

static void outputs_come_in_any_odd_way(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 2 * TRY_ODD_WAYS, LONG);
        static char payloads[TRY_ODD_WAYS][3]; /* as bulk calls borrow them */

        for (unsigned i = 0; i < TRY_ODD_WAYS; i++) {
                payloads[i][0] = 'x';
                payloads[i][1] = (char) ('0' + i);
                (void) try_submit_bulk(t, pool, payloads[i], 1);
                (void) try_submit(t, pool, payloads[i], 1);
        }
        try_until(t, t->n_done == TRY_ODD_WAYS);
        assert_batches(2 * TRY_ODD_WAYS);
}

static void a_failed_item_is_tried_again_without_the_others(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 1);
        Pool *pool;

        t->several_lives = true;
        config->max_attempts = 3;
        config->backoff = config->backoff_max = 2;
        pool = add(t, config, 3, 20 * USEC_PER_MSEC);
        (void) try_submit(t, pool, TRY_ECHO, 1);
        (void) try_submit(t, pool, TRY_FAIL_TIMES(2), 1);
        (void) try_submit(t, pool, TRY_ECHO, 1);
        try_until(t, t->n_finished == 3);
        assert_batches(3, 1, 1);
        assert_int_equal(t->jobs[2].result, JOB_SUCCEEDED);
        assert_int_equal(engine_find_job(t->engine, 2)->details->attempt, 3);
}

static void a_cancelled_member_is_marked_and_the_rest_goes_on(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 3, LONG);
        uint64_t id = try_submit(t, pool, TRY_GATE(0), 1);

        (void) try_submit(t, pool, TRY_GATE(1), 1);
        (void) try_submit(t, pool, TRY_LATE(1), 1);
        wait_begun(t);
        cancel(t, pool, id + 1);
        cancel(t, pool, id + 2);
        assert_int_equal(try_state(t, id + 1), JOB_STOPPING);
        assert_int_equal(try_state(t, id), JOB_RUNNING);
        gate_open(1);
        gate_open(0);
        try_until(t, t->n_finished == 3);
        assert_int_equal(t->jobs[id].result, JOB_SUCCEEDED);
        assert_int_equal(t->jobs[id + 1].result, JOB_CANCELLED);
        /* A success is one, whatever was asked of it. */
        assert_int_equal(t->jobs[id + 2].result, JOB_SUCCEEDED);
}

static void a_batch_that_nobody_wants_is_stopped(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 3, LONG);
        uint64_t id = try_submit(t, pool, TRY_GATE(0), 3);

        wait_begun(t);
        for (unsigned i = 0; i < 3; i++)
                cancel(t, pool, id + i);
        try_until(t, t->n_finished == 3); /* with the gate closed */
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(t->jobs[id + i].result, JOB_CANCELLED);
        /* Nothing is left of the stop for the next one. */
        (void) try_submit(t, pool, TRY_ECHO, 3);
        try_until(t, t->n_finished == 6);
        assert_int_equal(t->jobs[id + 5].result, JOB_SUCCEEDED);
}

static void the_least_run_timeout_is_that_of_the_batch(void **state) {
        Try *t = *state;
        Submission *hasty = try_submission();
        Pool *pool = batch_pool(t, 2, 3, LONG);
        usec_t before = usec_now(CLOCK_MONOTONIC);
        uint64_t id = try_submit(t, pool, TRY_GATE(0), 2);

        hasty->run_timeout = 30 * USEC_PER_MSEC;
        (void) try_submit_with(t, pool, hasty, TRY_GATE(0), 1);
        try_until(t, t->n_finished == 3); /* with the gate closed */
        assert_true(usec_now(CLOCK_MONOTONIC) >= before + hasty->run_timeout);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(t->jobs[id + i].result, JOB_TIMED_OUT);
}

static void a_cancelled_member_stays_cancelled_when_time_is_over(void **state) {
        Try *t = *state;
        Submission *hasty = try_submission();
        Pool *pool = batch_pool(t, 2, 2, LONG);
        uint64_t id;

        hasty->run_timeout = 200 * USEC_PER_MSEC;
        id = try_submit_with(t, pool, hasty, TRY_GATE(0), 2);
        wait_begun(t);
        cancel(t, pool, id);
        try_until(t, t->n_finished == 2);
        assert_int_equal(t->jobs[id].result, JOB_CANCELLED);
        assert_int_equal(t->jobs[id + 1].result, JOB_TIMED_OUT);
}

static void a_batch_that_ignores_its_stop_is_one_stuck_worker(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 2);
        Pool *pool;
        uint64_t id;

        config->handler_config.stop_timeout = 1;
        pool = add(t, config, 2, LONG);
        id = try_submit(t, pool, TRY_STUBBORN(0), 2);
        wait_begun(t);
        cancel(t, pool, id);
        cancel(t, pool, id + 1);
        try_until(t, pool_state(pool) == POOL_DEGRADED);
        gate_open(0);
        try_until(t, t->n_finished == 2);
        try_until(t, pool_state(pool) == POOL_RUNNING);
        assert_int_equal(t->jobs[id].result, JOB_CANCELLED);
}

/* ---- limiter and breaker ---- */

static void a_batch_costs_one_token(void **state) {
        LimiterConfig limit = { .rate = 1, .period = USEC_PER_HOUR, .burst = 2 };
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 2);
        LimiterView view;
        Pool *pool;
        uint64_t id;

        config->limiter_config = limit;
        pool = add(t, config, 4, LONG);
        id = try_submit(t, pool, TRY_ECHO, 12);
        try_until(t, t->n_finished == 8);
        shared_limiter_view(pool->gates.limiter, &view);
        assert_int_equal(view.granted, 2);
        assert_int_equal(view.tokens, 0);
        assert_int_equal(try_state(t, id + 11), JOB_QUEUED);
}

static BreakerView breaker_of(Pool *pool) {
        BreakerView view;

        shared_breaker_view(pool->gates.breaker, &view);
        return view;
}

static Pool *broken_pool(Try *t, usec_t reset) {
        PoolConfig *config = try_config("p", &try_singly, 2);

        config->breaker_config = (BreakerConfig) BREAKER_CONFIG_DEFAULT;
        config->breaker_config.max_failures = 2;
        config->breaker_config.reset_timeout = config->breaker_config.reset_timeout_max = reset;
        config->own_breaker = config->hold_on_open = true;
        return add(t, config, 3, LONG);
}

static void a_batch_fails_for_the_breaker_if_none_of_it_succeeds(void **state) {
        Try *t = *state;
        Pool *pool = broken_pool(t, LONG);

        (void) try_submit(t, pool, TRY_FAIL, 3);
        try_until(t, t->n_finished == 3);
        assert_int_equal(breaker_of(pool).failures, 1);
        (void) try_submit(t, pool, TRY_FAIL, 2);
        (void) try_submit(t, pool, TRY_ECHO, 1);
        try_until(t, t->n_finished == 6);
        assert_int_equal(breaker_of(pool).failures, 0);
        (void) try_submit(t, pool, TRY_FAIL, 6);
        try_until(t, t->n_finished == 12);
        assert_int_equal(breaker_of(pool).state, BREAKER_OPEN);
        assert_int_equal(breaker_of(pool).in_flight, 0);
}

static void a_cancelled_batch_says_nothing_to_the_breaker(void **state) {
        Try *t = *state;
        Pool *pool = broken_pool(t, LONG);
        uint64_t id = try_submit(t, pool, TRY_GATE(0), 3);

        wait_begun(t);
        for (unsigned i = 0; i < 3; i++)
                cancel(t, pool, id + i);
        try_until(t, t->n_finished == 3);
        assert_int_equal(breaker_of(pool).failures, 0);
        assert_int_equal(breaker_of(pool).in_flight, 0);
}

static void a_batch_out_of_its_time_is_one_failure(void **state) {
        Try *t = *state;
        Submission *hasty = try_submission();
        Pool *pool = broken_pool(t, LONG);

        hasty->run_timeout = 20 * USEC_PER_MSEC;
        (void) try_submit_with(t, pool, hasty, TRY_GATE(0), 3);
        try_until(t, t->n_finished == 3);
        assert_int_equal(breaker_of(pool).failures, 1);
        assert_int_equal(breaker_of(pool).in_flight, 0);
}

static void a_batch_that_ignores_the_end_of_its_time_has_failed_at_once(void **state) {
        Try *t = *state;
        Submission *hasty = try_submission();
        Pool *pool = broken_pool(t, LONG);

        hasty->run_timeout = 20 * USEC_PER_MSEC;
        (void) try_submit_with(t, pool, hasty, TRY_STUBBORN(0), 3);
        try_until(t, breaker_of(pool).failures == 1);
        assert_int_equal(t->n_finished, 0);
        gate_open(0);
        try_until(t, t->n_finished == 3);
        assert_int_equal(breaker_of(pool).failures, 1);
        assert_int_equal(breaker_of(pool).in_flight, 0);
}

static void a_batch_is_one_probe(void **state) {
        Try *t = *state;
        Pool *pool = broken_pool(t, USEC_PER_MSEC);
        uint64_t id;

        (void) try_submit(t, pool, TRY_FAIL, 6);
        try_until(t, t->n_finished == 6);
        id = try_submit(t, pool, TRY_GATE(0), 6);
        try_until(t, t->n_started == 9);
        assert_int_equal(breaker_of(pool).state, BREAKER_HALF_OPEN);
        assert_int_equal(breaker_of(pool).in_flight, 1);
        assert_int_equal(n_busy(pool), 1);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(try_state(t, id + i), JOB_RUNNING);
        assert_int_equal(try_state(t, id + 3), JOB_QUEUED);
        gate_open(0);
        try_until(t, t->n_finished == 12);
        assert_int_equal(breaker_of(pool).state, BREAKER_CLOSED);
}

/* ---- what is told ---- */

static void reasons_are_true_of_batches(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 1, 2, LONG);
        uint64_t id = try_submit(t, pool, TRY_GATE(0), 2);

        wait_begun(t);
        (void) try_submit(t, pool, TRY_ECHO, 1);
        assert_reason(t, id + 2, "batch");
        (void) try_submit(t, pool, TRY_ECHO, 2);
        /* It is a batch, and there is no worker for it. */
        assert_reason(t, id + 2, "workers");
        assert_reason(t, id + 3, "workers");
        assert_reason(t, id + 4, "priority");
        gate_open(0);
        try_until(t, t->n_finished == 4);
        assert_reason(t, id + 4, "batch");
}

static void times_of_a_batch_are_those_of_each_job(void **state) {
        usec_t timeout = 20 * USEC_PER_MSEC;
        Try *t = *state;
        Pool *pool = batch_pool(t, 1, 4, timeout);
        const Job *jobs[3];
        PoolView view;

        for (unsigned i = 0; i < 3; i++)
                (void) try_submit(t, pool, TRY_ECHO, 1);
        try_until(t, t->n_finished == 3);
        for (unsigned i = 0; i < 3; i++) {
                jobs[i] = engine_find_job(t->engine, 1 + i);
                assert_int_equal(jobs[i]->details->started_at, jobs[0]->details->started_at);
                assert_int_equal(jobs[i]->details->duration, jobs[0]->details->duration);
        }
        pool_view(pool, &view);
        assert_int_equal(view.run_time[3], jobs[0]->details->duration);
        assert_int_equal(view.counters.results[JOB_SUCCEEDED], 3);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(a_full_batch_is_one_call),
                TEST(the_first_item_waits_for_the_timeout_and_no_less),
                TEST(a_timer_that_was_set_for_others_begins_nothing),
                TEST(many_come_in_full_batches_and_a_rest),
                TEST(a_batch_can_be_large),
                TEST(a_full_queue_does_not_wait_for_more),
                TEST(who_waits_for_room_does_not_wait_for_a_batch),
                TEST(a_drain_begins_what_gathers),
                TEST(a_drain_of_much_loses_nothing),
                TEST(a_pool_that_is_removed_does_its_last_batch),
                TEST(a_pool_that_is_removed_by_force_begins_nothing),
                TEST(what_gathers_ends_with_the_daemon),
                TEST(a_pause_holds_a_batch_and_its_end),
                TEST(a_cancelled_item_leaves_before_the_batch),
                TEST(the_oldest_does_not_wait_for_the_end_of_another_batch),
                TEST(other_settings_count_at_once),
                TEST(a_running_batch_does_not_mind_other_settings),
                TEST(each_item_has_a_verdict_of_its_own),
                TEST(outputs_come_in_any_odd_way),
                TEST(a_failed_item_is_tried_again_without_the_others),
                TEST(a_cancelled_member_is_marked_and_the_rest_goes_on),
                TEST(a_batch_that_nobody_wants_is_stopped),
                TEST(the_least_run_timeout_is_that_of_the_batch),
                TEST(a_cancelled_member_stays_cancelled_when_time_is_over),
                TEST(a_batch_that_ignores_its_stop_is_one_stuck_worker),
                TEST(a_batch_costs_one_token),
                TEST(a_batch_fails_for_the_breaker_if_none_of_it_succeeds),
                TEST(a_cancelled_batch_says_nothing_to_the_breaker),
                TEST(a_batch_out_of_its_time_is_one_failure),
                TEST(a_batch_that_ignores_the_end_of_its_time_has_failed_at_once),
                TEST(a_batch_is_one_probe),
                TEST(reasons_are_true_of_batches),
                TEST(times_of_a_batch_are_those_of_each_job),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
