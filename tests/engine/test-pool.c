/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One pool: order, turns of several jobs, stops, time-outs, workers that come and go. */

#include "try.h"

#include <poll.h>
#include <semaphore.h>
#include <string.h>

#include "engine/worker.h"

static int set_up(void **state) {
        Try *t = malloc(sizeof(*t));

        assert_non_null(t);
        try_init(t);
        *state = t;
        return 0;
}

static int tear_down(void **state) {
        try_done(*state);
        free(*state);
        return 0;
}

static void assert_order(const uint64_t *expected, size_t n) {
        uint64_t order[64];

        assert_int_equal(try_order(order, ELEMENTSOF(order)), n);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(order[i], expected[i]);
}

static Job *job_of(Try *t, uint64_t id) {
        Job *job = engine_find_job(t->engine, id);

        assert_non_null(job);
        return job;
}

static CancelVerdict cancel(Try *t, uint64_t id) {
        CancelVerdict verdict = pool_cancel(job_pool(job_of(t, id)), job_of(t, id));

        try_assert_adds_up(job_pool(job_of(t, id)));
        return verdict;
}

static int set_priority(Try *t, uint64_t id, int16_t priority) {
        return pool_set_priority(job_pool(job_of(t, id)), job_of(t, id), priority);
}

static uint64_t submit_urgent(Try *t, Pool *pool, const char *payload, int16_t priority) {
        Submission *submission = try_submission();

        submission->priority = priority;
        return try_submit_with(t, pool, submission, payload, 1);
}

/* From here to go() all that is submitted is taken in as few turns as there can be. */
static Pool *hold(Try *t, uint32_t n_workers) {
        Pool *pool = try_pool(t, "p", &try_several, n_workers);

        engine_pause_pool(t->engine, pool, true);
        return pool;
}

static void go(Try *t, Pool *pool) {
        try_pretend_short(pool);
        engine_pause_pool(t->engine, pool, false);
        engine_turn(t->engine);
}

/* ---- order ---- */

static void jobs_run_by_priority_then_age(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        uint64_t gate = try_submit(t, pool, TRY_GATE(0), 1), a, b, c, d;

        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        a = try_submit(t, pool, TRY_ECHO, 1);
        b = submit_urgent(t, pool, TRY_ECHO, 10);
        c = submit_urgent(t, pool, TRY_ECHO, -10);
        d = submit_urgent(t, pool, TRY_ECHO, 10);
        gate_open(0);
        try_until(t, t->n_finished == 5);
        assert_order((uint64_t[]){ gate, b, d, a, c }, 5);
}

static void a_changed_priority_counts(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        uint64_t gate = try_submit(t, pool, TRY_GATE(0), 1), a;

        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        a = try_submit(t, pool, TRY_ECHO, 4);
        assert_int_equal(set_priority(t, a + 2, 5), 0);
        assert_int_equal(set_priority(t, a, -5), 0);
        assert_int_equal(set_priority(t, gate, 5), 0);
        gate_open(0);
        try_until(t, t->n_finished == 5);
        assert_order((uint64_t[]){ gate, a + 2, a + 1, a + 3, a }, 5);
        assert_int_equal(set_priority(t, a, 7), 1);
        assert_int_equal(job_of(t, a)->priority, -5);
}

/* ---- turns of several jobs ---- */

static void a_more_urgent_job_overtakes_claimed_ones(void **state) {
        Try *t = *state;
        Pool *pool = hold(t, 1);
        uint64_t gate = try_submit(t, pool, TRY_GATE(0), 1);
        uint64_t echo = try_submit(t, pool, TRY_ECHO, 3), urgent;

        go(t, pool);
        gate_wait_begun(0, 1);
        urgent = submit_urgent(t, pool, TRY_ECHO, 1);
        gate_open(0);
        try_until(t, t->n_finished == 5);
        assert_order((uint64_t[]){ gate, urgent, echo, echo + 1, echo + 2 }, 5);
}

static void a_claimed_job_may_become_more_urgent_than_the_rest(void **state) {
        Try *t = *state;
        Pool *pool = hold(t, 1);
        uint64_t gate = try_submit(t, pool, TRY_GATE(0), 1);
        uint64_t echo = try_submit(t, pool, TRY_ECHO, 3);

        go(t, pool);
        gate_wait_begun(0, 1);
        assert_int_equal(set_priority(t, echo + 2, 1), 0);
        gate_open(0);
        try_until(t, t->n_finished == 4);
        assert_order((uint64_t[]){ gate, echo + 2, echo, echo + 1 }, 4);
}

static void a_slow_job_holds_back_neither_what_is_done_nor_what_is_to_come(void **state) {
        Try *t = *state;
        Pool *pool = hold(t, 1);
        uint64_t first = try_submit(t, pool, TRY_ECHO, 10);
        PoolView view;

        (void) try_submit(t, pool, TRY_GATE(0), 1);
        (void) try_submit(t, pool, TRY_ECHO, 5);
        go(t, pool);
        /* While the gate is closed: the turn is cut. */
        try_until(t, t->n_finished == 10);
        gate_wait_begun(0, 1);
        pool_view(pool, &view);
        assert_int_equal(view.n_running, 1);
        assert_int_equal(view.n_queued, 5);
        assert_int_equal(view.n_busy, 1);
        assert_int_equal(view.counters.results[JOB_SUCCEEDED], 10);
        assert_int_equal(try_state(t, first + 10), JOB_RUNNING);
        assert_int_equal(try_state(t, first + 11), JOB_QUEUED);
        try_assert_adds_up(pool);
        gate_open(0);
        try_until(t, t->n_finished == 16);
}

static void an_idle_worker_takes_what_another_has_claimed(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_several, 2);

        (void) try_submit(t, pool, TRY_GATE(1), 1);
        engine_turn(t->engine);
        gate_wait_begun(1, 1);
        engine_pause_pool(t->engine, pool, true);
        (void) try_submit(t, pool, TRY_GATE(0), 1);
        (void) try_submit(t, pool, TRY_ECHO, 40);
        go(t, pool);
        gate_wait_begun(0, 1);
        gate_open(1);
        try_until(t, t->n_finished == 41);
        gate_open(0);
        try_until(t, t->n_finished == 42);
}

static void a_pause_takes_back_what_is_claimed(void **state) {
        Try *t = *state;
        Pool *pool = hold(t, 1);
        uint64_t gate = try_submit(t, pool, TRY_GATE(0), 1);
        PoolView view;

        (void) try_submit(t, pool, TRY_ECHO, 10);
        go(t, pool);
        gate_wait_begun(0, 1);
        engine_pause_pool(t->engine, pool, true);
        gate_open(0);
        try_until(t, t->n_finished == 1);
        pool_view(pool, &view);
        assert_int_equal(view.n_queued, 10);
        assert_int_equal(view.state, POOL_PAUSED);
        assert_order((uint64_t[]){ gate }, 1);
        engine_pause_pool(t->engine, pool, false);
        try_until(t, t->n_finished == 11);
}

/* Claims that go back and forth do not make it two starts or two waits. */
static void every_job_is_started_and_measured_once(void **state) {
        Try *t = *state;
        Pool *pool = hold(t, 1);

        (void) try_submit(t, pool, TRY_GATE(0), 1);
        (void) try_submit(t, pool, TRY_ECHO, 10);
        go(t, pool);
        gate_wait_begun(0, 1);
        engine_turn(t->engine);
        try_until(t, t->n_started == 1);
        engine_pause_pool(t->engine, pool, true);
        engine_pause_pool(t->engine, pool, false);
        gate_open(0);
        try_until(t, t->n_finished == 11);
        assert_int_equal(t->n_started, 11);
        pool_lock(pool);
        assert_int_equal(pool->queue_wait.n, 11);
        assert_int_equal(pool->run_time.n, 11);
        pool_unlock(pool);
}

/* ---- cancel ---- */

static void a_waiting_job_is_cancelled_at_once(void **state) {
        Try *t = *state;
        Pool *pool = hold(t, 1);
        uint64_t id = try_submit(t, pool, TRY_ECHO, 1);
        JobView view;

        assert_int_equal(cancel(t, id), CANCEL_FINISHED);
        assert_int_equal(cancel(t, id), CANCEL_NOTHING);
        try_until(t, t->n_finished == 1);
        pool_job_view(pool, job_of(t, id), &view);
        assert_int_equal(view.state, JOB_FINISHED);
        assert_int_equal(view.result, JOB_CANCELLED);
        assert_true(view.finished_realtime > 0);
        assert_int_equal(view.started_realtime, 0);
        assert_int_equal(view.worker, -1);
        assert_string_equal(job_error(job_of(t, id)), "cancelled");
        /* Its payload is kept, for it could be wanted once more. */
        assert_true(job_of(t, id)->size > 0);
        assert_order(NULL, 0);
}

static void a_claimed_job_is_cancelled_at_once(void **state) {
        Try *t = *state;
        Pool *pool = hold(t, 1);
        uint64_t gate = try_submit(t, pool, TRY_GATE(0), 1);
        uint64_t echo = try_submit(t, pool, TRY_ECHO, 3);

        go(t, pool);
        gate_wait_begun(0, 1);
        assert_int_equal(cancel(t, echo + 1), CANCEL_FINISHED);
        try_until(t, t->n_finished == 1);
        gate_open(0);
        try_until(t, t->n_finished == 4);
        assert_order((uint64_t[]){ gate, echo, echo + 2 }, 3);
}

static void what_a_turn_has_done_cannot_be_cancelled_any_more(void **state) {
        Try *t = *state;
        Pool *pool = hold(t, 1);
        uint64_t fail = try_submit(t, pool, TRY_FAIL, 1);
        uint64_t echo = try_submit(t, pool, TRY_ECHO, 1);
        uint64_t gate = try_submit(t, pool, TRY_GATE(0), 1);

        (void) try_submit(t, pool, TRY_ECHO, 3);
        go(t, pool);
        gate_wait_begun(0, 1);
        assert_int_equal(cancel(t, echo), CANCEL_NOTHING);
        assert_int_equal(cancel(t, fail), CANCEL_NOTHING);
        assert_int_equal(try_result(t, echo), JOB_SUCCEEDED);
        assert_int_equal(try_result(t, fail), JOB_FAILED);
        assert_int_equal(try_state(t, gate), JOB_RUNNING);
        gate_open(0);
        try_until(t, t->n_finished == 6);
}

static void a_running_job_is_told_to_stop(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        uint64_t id = try_submit(t, pool, TRY_GATE(0), 1);

        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(cancel(t, id), CANCEL_ASKED);
        assert_int_equal(cancel(t, id), CANCEL_NOTHING);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_CANCELLED);
        assert_string_equal(job_error(job_of(t, id)), "was stopped");
}

static void a_success_that_beats_the_stop_stays_one(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        uint64_t id = try_submit(t, pool, TRY_LATE(0), 1);

        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(cancel(t, id), CANCEL_ASKED);
        assert_int_equal(try_state(t, id), JOB_STOPPING);
        gate_open(0);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_SUCCEEDED);
}

/* The stop of one job of a turn says nothing of the next, which has a time-out of its own. */
static void a_stop_ends_with_its_job(void **state) {
        Try *t = *state;
        Pool *pool = hold(t, 1);
        Submission *submission = try_submission();
        uint64_t gate, next, last;

        gate = try_submit(t, pool, TRY_GATE(0), 1);
        submission->run_timeout = 20 * USEC_PER_MSEC;
        next = try_submit_with(t, pool, submission, TRY_GATE(1), 1);
        last = try_submit(t, pool, TRY_GATE(2), 1);
        go(t, pool);
        gate_wait_begun(0, 1);
        assert_int_equal(cancel(t, gate), CANCEL_ASKED);
        try_until(t, t->n_finished == 2);
        assert_int_equal(try_result(t, gate), JOB_CANCELLED);
        assert_int_equal(try_result(t, next), JOB_TIMED_OUT);
        /* Nor does the eventfd still tell the next one to look. */
        gate_wait_begun(2, 1);
        assert_int_equal(try_state(t, last), JOB_RUNNING);
        gate_open(2);
        try_until(t, t->n_finished == 3);
        assert_int_equal(try_result(t, last), JOB_SUCCEEDED);
        assert_int_equal(pool_state(pool), POOL_RUNNING);
}

/* Cancels come at every moment of a turn: each job ends once, whatever was asked. */
static void cancels_race_with_the_work(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_several, 2);
        unsigned n_cancelled = 0, n_asked = 0;
        PoolView view;

        for (unsigned round = 0; round < 100; round++) {
                uint64_t first;

                engine_pause_pool(t->engine, pool, true);
                first = try_submit(t, pool, TRY_ECHO, 50);
                go(t, pool);
                for (uint64_t id = first; id < first + 50; id += 3) {
                        CancelVerdict verdict = cancel(t, id);

                        n_cancelled += verdict == CANCEL_FINISHED;
                        n_asked += verdict == CANCEL_ASKED;
                }
                try_until(t, t->n_finished == 50 * (round + 1));
        }
        pool_view(pool, &view);
        assert_true(view.counters.results[JOB_CANCELLED] >= n_cancelled);
        assert_true(view.counters.results[JOB_CANCELLED] <= n_cancelled + n_asked);
        assert_int_equal(
                view.counters.results[JOB_CANCELLED] + view.counters.results[JOB_SUCCEEDED],
                view.counters.submitted);
}

/* ---- time ---- */

static void a_job_that_runs_too_long_times_out(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        Submission *submission = try_submission();
        uint64_t id;

        submission->run_timeout = USEC_PER_MSEC;
        id = try_submit_with(t, pool, submission, TRY_GATE(0), 1);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_TIMED_OUT);
}

static void a_delayed_job_is_scheduled_first(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        Submission *submission = try_submission();
        usec_t now = usec_now(CLOCK_MONOTONIC);
        uint64_t id;

        submission->delay = 5 * USEC_PER_MSEC;
        id = try_submit_with(t, pool, submission, TRY_ECHO, 2);
        if (usec_now(CLOCK_MONOTONIC) < now + 5 * USEC_PER_MSEC)
                assert_int_equal(try_state(t, id), JOB_SCHEDULED);
        assert_int_equal(set_priority(t, id + 1, 3), 0);
        try_until(t, t->n_finished == 2);
        assert_true(usec_now(CLOCK_MONOTONIC) >= now + 5 * USEC_PER_MSEC);
        assert_int_equal(try_result(t, id), JOB_SUCCEEDED);
}

static void what_becomes_due_may_overtake_claimed_jobs(void **state) {
        Try *t = *state;
        Pool *pool = hold(t, 1);
        Submission *submission = try_submission();
        uint64_t gate, echo, urgent;

        submission->delay = USEC_PER_MSEC;
        submission->priority = 10;
        gate = try_submit(t, pool, TRY_GATE(0), 1);
        echo = try_submit(t, pool, TRY_ECHO, 2);
        go(t, pool);
        gate_wait_begun(0, 1);
        urgent = try_submit_with(t, pool, submission, TRY_ECHO, 1);
        try_until(t, try_state(t, urgent) == JOB_QUEUED);
        gate_open(0);
        try_until(t, t->n_finished == 4);
        assert_order((uint64_t[]){ gate, urgent, echo, echo + 1 }, 4);
}

static void a_job_that_waits_too_long_expires(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        Submission *submission = try_submission();
        uint64_t id;

        (void) try_submit(t, pool, TRY_GATE(0), 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        submission->queue_timeout = USEC_PER_MSEC;
        id = try_submit_with(t, pool, submission, TRY_ECHO, 2);
        try_until(t, t->n_finished == 2);
        assert_int_equal(try_result(t, id), JOB_EXPIRED);
        assert_int_equal(try_result(t, id + 1), JOB_EXPIRED);
        gate_open(0);
        try_until(t, t->n_finished == 3);
}

/* ---- workers ---- */

static void resize(Try *t, Pool *pool, uint32_t n_workers) {
        PoolConfig *config;

        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->min_workers = config->max_workers = n_workers;
        assert_int_equal(engine_set_pool(t->engine, pool, config), 0);
        pool_config_free(config);
}

static uint32_t n_workers(Pool *pool) {
        PoolView view;

        pool_view(pool, &view);
        return view.n_workers;
}

static void workers_come_and_go_under_load(void **state) {
        static const uint32_t sizes[] = { 4, 1, 3, 2, 6, 1 };
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_several, 2);
        unsigned n = 0;
        uint32_t made = 2, before = 2;

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                (void) try_submit(t, pool, TRY_ECHO, 300);
                n += 300;
                resize(t, pool, sizes[i]);
                try_until(t, n_workers(pool) == sizes[i] && pool->n_threads == sizes[i]);
                made += sizes[i] > before ? sizes[i] - before : 0;
                before = sizes[i];
                /* As many as were asked for, each with a number of its own. */
                pool_lock(pool);
                assert_int_equal(pool->next_worker_id, made);
                assert_true(list_entry(pool->workers.prev, Worker, links)->id < made);
                pool_unlock(pool);
        }
        try_until(t, t->n_finished == n);
        try_until(t, pool->shown_workers == 1);
}

static void a_busy_worker_leaves_after_its_turn(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 2);

        (void) try_submit(t, pool, TRY_GATE(0), 2);
        engine_turn(t->engine);
        gate_wait_begun(0, 2);
        resize(t, pool, 1);
        assert_int_equal(n_workers(pool), 2);
        (void) try_submit(t, pool, TRY_ECHO, 5);
        gate_open(0);
        try_until(t, pool->n_threads == 1 && t->n_finished == 7);
        assert_int_equal(n_workers(pool), 1);
}

static struct {
        sem_t began, may_end;
        atomic_uint n_idle;
} closing;

static void slow_worker_close(Handler *handler, HandlerWorker *worker) {
        (void) sem_post(&closing.began);
        (void) sem_wait(&closing.may_end);
        try_singly.worker_close(handler, worker);
}

static void main_does_not_wait_for_a_worker_that_takes_its_time_to_leave(void **state) {
        static HandlerVTable slow;
        Try *t = *state;
        Pool *pool;

        (void) sem_init(&closing.began, 0, 0);
        (void) sem_init(&closing.may_end, 0, 0);
        slow = try_singly;
        slow.worker_close = slow_worker_close;
        pool = try_pool(t, "p", &slow, 2);
        resize(t, pool, 1);
        engine_turn(t->engine);
        (void) sem_wait(&closing.began);
        /* It is no worker of the pool any more, and others do the work. */
        assert_int_equal(n_workers(pool), 1);
        (void) try_submit(t, pool, TRY_ECHO, 5);
        try_until(t, t->n_finished == 5);
        assert_int_equal(pool->n_threads, 2);

        (void) sem_post(&closing.may_end);
        try_until(t, pool->n_threads == 1);
        (void) sem_post(&closing.may_end); /* for the one that is left */
}

static void count_idle(Handler *handler, HandlerWorker *worker, int wake_fd) {
        struct pollfd wake = { .fd = wake_fd, .events = POLLIN };

        atomic_fetch_add(&closing.n_idle, 1);
        (void) poll(&wake, 1, -1);
}

static void an_idle_worker_looks_after_what_it_keeps(void **state) {
        static HandlerVTable caring;
        Try *t = *state;
        Pool *pool;

        atomic_store(&closing.n_idle, 0);
        caring = try_singly;
        caring.idle = count_idle;
        pool = try_pool(t, "p", &caring, 1);
        for (unsigned i = 1; i <= 3; i++) {
                (void) try_submit(t, pool, TRY_ECHO, 1);
                try_until(t, t->n_finished == i);
                try_await(t, atomic_load(&closing.n_idle) >= i);
        }
}

static void a_worker_that_ignores_its_stop_degrades_the_pool(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 1);
        Submission *submission;
        char *error = NULL;
        Pool *pool;
        uint64_t id;

        /* Nothing is announced, and no job is posted but the end of the call of both. */
        engine_set_announce(t->engine, false);
        config->handler_config.stop_timeout = 0;
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        submission = try_submit_bulk(t, pool, TRY_STUBBORN(0), 2);
        id = submission->first_id;
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(cancel(t, id), CANCEL_ASKED);
        try_until(t, pool->shown_state == POOL_DEGRADED);
        assert_int_equal(pool_state(pool), POOL_DEGRADED);

        (void) try_submit_bulk(t, pool, TRY_STUBBORN(1), 1);
        gate_open(0);
        gate_wait_begun(1, 1);
        try_until(t, pool->shown_state == POOL_RUNNING);
        assert_int_equal(t->n_state_changes, 2);
        gate_open(1);
        try_until(t, t->n_done == 2);
}

/* So many single jobs, one after the other, hang at the first wake-up that is lost. */
static void no_wake_up_is_lost(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 2);

        for (unsigned i = 1; i <= 3000; i++) {
                (void) try_submit(t, pool, TRY_ECHO, 1);
                try_until(t, t->n_finished == i);
        }
}

/* A stop is signalled by the eventfd that also wakes: neither takes the other away. */
static void stops_do_not_eat_wake_ups(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);

        for (unsigned i = 1; i <= 500; i++) {
                uint64_t id = try_submit(t, pool, i % 2 ? TRY_GATE(0) : TRY_ECHO, 1);

                engine_turn(t->engine);
                if (i % 2)
                        gate_wait_begun(0, (i + 1) / 2);
                (void) cancel(t, id);
                try_until(t, t->n_finished == i);
        }
}

static void results_live_where_they_are_put(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_several, 1);
        uint64_t echo = try_submit(t, pool, "echo this", 1);
        uint64_t big = try_submit(t, pool, TRY_BIG, 1);
        uint64_t fail = try_submit(t, pool, TRY_FAIL, 1);
        uint64_t silent = try_submit(t, pool, TRY_SILENT, 1);

        try_until(t, t->n_finished == 4);
        assert_int_equal(job_of(t, echo)->size, 9);
        assert_memory_equal(job_of(t, echo)->data, "echo this", 9);
        assert_int_equal(job_of(t, big)->size, 100000);
        assert_int_equal(try_result(t, fail), JOB_FAILED);
        assert_non_null(strstr(job_error(job_of(t, fail)), "was to fail"));
        assert_int_equal(try_result(t, silent), JOB_FAILED);
        assert_string_equal(job_error(job_of(t, silent)), "failed without saying why");
}

static atomic_int n_refusals;

static int reluctant_worker_open(
        Handler *handler, const void *cpus, size_t cpus_size, HandlerWorker **ret) {
        if (atomic_fetch_sub(&n_refusals, 1) > 0)
                return -ENOMEM;
        return try_singly.worker_open(handler, cpus, cpus_size, ret);
}

static void a_worker_without_its_own_things_has_jobs_tried_again(void **state) {
        static HandlerVTable reluctant;
        Try *t = *state;
        PoolView view;
        uint64_t id;
        Pool *pool;

        t->several_lives = true;
        /* At its start, and before the first job. */
        atomic_store(&n_refusals, 2);
        reluctant = try_singly;
        reluctant.worker_open = reluctant_worker_open;
        pool = try_pool(t, "p", &reluctant, 1);
        id = try_submit(t, pool, TRY_ECHO, 2);
        try_until(t, t->n_finished == 2);
        /* The first one was tried again. */
        assert_int_equal(try_result(t, id), JOB_SUCCEEDED);
        assert_int_equal(try_result(t, id + 1), JOB_SUCCEEDED);
        pool_view(pool, &view);
        assert_int_equal(view.counters.retried, 1);
}

/* Nothing leaks and nothing is freed twice, which AddressSanitizer watches: of jobs whose outputs
 * share chunks, of those whose outputs are kept, and of those that take the place of a payload. */
static void outputs_may_be_left_in_any_way(void **state) {
        static const char *const ways[TRY_ODD_WAYS] = { TRY_ODD(0), TRY_ODD(1), TRY_ODD(2),
                TRY_ODD(3), TRY_ODD(4), TRY_ODD(5), TRY_ODD(6), TRY_ODD(7) };
        static const uint32_t sizes[TRY_ODD_WAYS] = { 20, 0, 10, 100000, 0, 2, 0,
                2 }; /* a failure still has its payload */
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_several, 1);
        unsigned n_finished = 0, n_kept = 0;

        for (size_t i = 0; i < TRY_ODD_WAYS; i++) {
                JobResult result = i == 5 || i == 7 ? JOB_FAILED : JOB_SUCCEEDED;
                Submission *submission;
                uint64_t id = try_submit(t, pool, ways[i], 1);

                try_until(t, t->n_finished == n_finished + 1);
                assert_int_equal(try_result(t, id), result);
                assert_int_equal(job_of(t, id)->size, sizes[i]);
                submission = try_submit_bulk(t, pool, ways[i], 30);
                id = submission->first_id;
                engine_abandon(submission);
                n_finished += 31;
                try_until(t, t->n_finished == n_finished && pool->n_retained == n_kept + 31);
                for (uint64_t end = id + 30; id < end; id++) {
                        assert_int_equal(try_result(t, id), result);
                        assert_int_equal(job_of(t, id)->size, sizes[i]);
                }
                (void) try_submit_bulk(t, pool, ways[i], 300);
                n_finished += 300;
                n_kept += 31;
                try_until(t, t->n_done == i + 1);
        }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(jobs_run_by_priority_then_age),
                TEST(a_changed_priority_counts),
                TEST(a_more_urgent_job_overtakes_claimed_ones),
                TEST(a_claimed_job_may_become_more_urgent_than_the_rest),
                TEST(a_slow_job_holds_back_neither_what_is_done_nor_what_is_to_come),
                TEST(an_idle_worker_takes_what_another_has_claimed),
                TEST(a_pause_takes_back_what_is_claimed),
                TEST(every_job_is_started_and_measured_once),
                TEST(a_waiting_job_is_cancelled_at_once),
                TEST(a_claimed_job_is_cancelled_at_once),
                TEST(what_a_turn_has_done_cannot_be_cancelled_any_more),
                TEST(a_running_job_is_told_to_stop),
                TEST(a_success_that_beats_the_stop_stays_one),
                TEST(a_stop_ends_with_its_job),
                TEST(cancels_race_with_the_work),
                TEST(a_job_that_runs_too_long_times_out),
                TEST(a_delayed_job_is_scheduled_first),
                TEST(what_becomes_due_may_overtake_claimed_jobs),
                TEST(a_job_that_waits_too_long_expires),
                TEST(workers_come_and_go_under_load),
                TEST(a_busy_worker_leaves_after_its_turn),
                TEST(main_does_not_wait_for_a_worker_that_takes_its_time_to_leave),
                TEST(an_idle_worker_looks_after_what_it_keeps),
                TEST(a_worker_that_ignores_its_stop_degrades_the_pool),
                TEST(no_wake_up_is_lost),
                TEST(stops_do_not_eat_wake_ups),
                TEST(results_live_where_they_are_put),
                TEST(outputs_may_be_left_in_any_way),
                TEST(a_worker_without_its_own_things_has_jobs_tried_again),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
