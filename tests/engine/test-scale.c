/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pools that move between MinWorkers and MaxWorkers, on real timers. Bounds on time are those that
 * hold however slow the machine is: never too early, never for ever. */

#include "try.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "core/random.h"
#include "engine/breaker-config.h"
#include "engine/limiter-config.h"
#include "engine/worker.h"

#define INTERVAL (10 * USEC_PER_MSEC)

/* ---- a world in which threads and pressure are at our command ---- */

static _Atomic bool no_threads;

int __real_pthread_create(
        pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *userdata);
int __wrap_pthread_create(
        pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *userdata);

int __wrap_pthread_create(
        pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *userdata) {
        return no_threads ? EAGAIN : __real_pthread_create(thread, attr, start, userdata);
}

/* In the place of the kernel's file, a socket: urgent data is an EPOLLPRI as well. */
static struct {
        bool refused;
        int fds[_PRESSURE_RESOURCE_MAX]; /* our ends; -EBADF = it is not open */
        unsigned n_opened, n_reports;
} kernel = { .fds = { -EBADF, -EBADF } };

int __wrap_pressure_init(
        Pressure *pressure, PressureResource resource, const char *path, char **ret_error);
void __wrap_pressure_report(Pressure *pressure, usec_t now);

int __wrap_pressure_init(
        Pressure *pressure, PressureResource resource, const char *path, char **ret_error) {
        int fds[2];

        if (kernel.refused && resource == PRESSURE_MEMORY) {
                *ret_error = strdup("cannot open /proc/pressure/memory: it is not to be");
                return -ENOENT;
        }
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        if (kernel.fds[resource] >= 0)
                close(kernel.fds[resource]);
        kernel.fds[resource] = fds[1];
        kernel.n_opened++;
        *pressure = (Pressure){ .fd = fds[0], .resource = resource };
        return 0;
}

void __wrap_pressure_report(Pressure *pressure, usec_t now) {
        char byte;

        kernel.n_reports++;
        (void) recv(pressure->fd, &byte, 1, MSG_OOB | MSG_DONTWAIT);
        pressure->stalled_until = now + USEC_PER_HOUR;
}

static bool kernel_can_tell(void) {
        int fds[2];
        bool can;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        can = send(fds[0], "x", 1, MSG_OOB) == 1;
        close(fds[0]);
        close(fds[1]);
        return can;
}

static void kernel_tell(PressureResource resource) {
        assert_int_equal(send(kernel.fds[resource], "x", 1, MSG_OOB), 1);
}

/* ---- helpers ---- */

#define CHANGES_MAX 4096

/* All that was told, of one pool or of many. */
typedef struct Told {
        PoolScaling scalings[CHANGES_MAX];
        usec_t at[CHANGES_MAX];
        unsigned n;
} Told;

static void note_scaling(Try *t, Pool *pool, const PoolScaling *scaling) {
        Told *told = t->userdata;

        assert_true(told->n < CHANGES_MAX);
        told->scalings[told->n] = *scaling;
        told->at[told->n++] = usec_now(CLOCK_MONOTONIC);
        assert_non_null(scale_reason_to_string(scaling->reason));
        assert_true(*scale_reason_to_string(scaling->reason));
        assert_true(scaling->from != scaling->to || scaling->error < 0);
        if (!pool->removing) {
                assert_true(scaling->to <= pool->config->max_workers);
                assert_true(scaling->to >= pool->config->min_workers || scaling->error < 0);
        }
}

static void pool_must_be_in_bounds(Pool *pool) {
        uint32_t n = 0;

        pool_lock(pool);
        list_for_each (l, &pool->workers)
                n += !list_entry(l, Worker, links)->leaving;
        assert_int_equal(pool->n_workers, n);
        if (!pool->dismissed) {
                assert_true(pool->n_target <= pool->config->max_workers);
                assert_true(no_threads || pool->n_target >= pool->config->min_workers);
                assert_true(pool->n_workers >= pool->n_target);
        }
        /* Above what is wanted are only those that are at work, or on their way to it. */
        if (pool->n_workers > pool->n_target)
                assert_int_equal(pool->n_idle, 0);
        pool_unlock(pool);
}

static void check_bounds(Try *t, Pool *pool) {
        pool_must_be_in_bounds(pool);
}

static int setup(void **state) {
        Try *t = malloc(sizeof(*t));

        assert_non_null(t);
        try_init(t);
        t->userdata = calloc(1, sizeof(Told));
        assert_non_null(t->userdata);
        t->pool_scaled = note_scaling;
        t->workers_changed = check_bounds;
        *state = t;
        return 0;
}

static int teardown(void **state) {
        Try *t = *state;

        no_threads = kernel.refused = false;
        try_done(t);
        free(t->userdata);
        free(t);
        return 0;
}

static PoolConfig *elastic_config(const char *name, const HandlerVTable *handler, ScaleMode mode,
        uint32_t min, uint32_t max) {
        PoolConfig *config = try_config(name, handler, max);

        config->min_workers = min;
        config->scale_config = (ScalerConfig){
                .mode = mode,
                .interval = INTERVAL,
                .up_at = 2,
                .down_at = 1,
                .target_wait = USEC_PER_MSEC,
        };
        return config;
}

static Pool *add(Try *t, PoolConfig *config) {
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        if (engine_add_pool(t->engine, config, &pool, &error) < 0)
                fail_msg("%s", error);
        pool_must_be_in_bounds(pool);
        return pool;
}

static Pool *elastic_pool(Try *t, ScaleMode mode, uint32_t min, uint32_t max) {
        return add(t, elastic_config("p", &try_singly, mode, min, max));
}

static void set_bounds(Try *t, Pool *pool, ScaleMode mode, uint32_t min, uint32_t max) {
        PoolConfig *config;

        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->scale_config.mode = mode;
        config->min_workers = min;
        config->max_workers = max;
        assert_int_equal(engine_set_pool(t->engine, pool, config), 0);
        pool_config_free(config);
        if (!pool->removing)
                pool_must_be_in_bounds(pool);
}

static uint32_t n_workers(Pool *pool) {
        PoolView view;

        pool_view(pool, &view);
        return view.n_workers;
}

static usec_t next_ask(Pool *pool) {
        usec_t at;

        pool_lock(pool);
        at = scaler_wake_at(&pool->scaler);
        pool_unlock(pool);
        return at;
}

static uint32_t n_idle(Pool *pool) {
        uint32_t n;

        pool_lock(pool);
        n = pool->n_idle;
        pool_unlock(pool);
        return n;
}

/* Nothing is to happen by the time alone any more. */
static bool is_at_rest(Pool *pool) {
        bool rests;

        pool_lock(pool);
        rests = scaler_wake_at(&pool->scaler) == USEC_INFINITY &&
                pool->timer.armed_at == USEC_INFINITY;
        pool_unlock(pool);
        return rests;
}

/* So many Intervals end. */
static void let_intervals_end(Try *t, Pool *pool, unsigned n) {
        for (; n > 0; n--) {
                usec_t at = next_ask(pool);

                assert_true(at != USEC_INFINITY);
                try_until(t, next_ask(pool) != at);
        }
}

/* ---- by the queue ---- */

static void a_pool_starts_with_min_and_counts_each_once(void **state) {
        Try *t = *state;
        Pool *pool = elastic_pool(t, SCALE_QUEUE, 2, 5);

        assert_int_equal(n_workers(pool), 2);
        assert_int_equal(pool->n_threads, 2);
        assert_int_equal(pool->next_worker_id, 2);
        assert_int_equal(pool->shown_workers, 2);
        try_await(t, n_idle(pool) == 2);
        assert_true(is_at_rest(pool));
}

static void without_a_mode_there_are_max(void **state) {
        Try *t = *state;
        Pool *pool = elastic_pool(t, SCALE_OFF, 1, 3);

        assert_int_equal(n_workers(pool), 3);
        set_bounds(t, pool, SCALE_OFF, 1, 5);
        assert_int_equal(n_workers(pool), 5);
        /* One that has not come to rest yet leaves when it has. */
        set_bounds(t, pool, SCALE_QUEUE, 1, 4);
        try_until(t, n_workers(pool) == 1);
        set_bounds(t, pool, SCALE_OFF, 1, 4);
        assert_int_equal(n_workers(pool), 4);
}

static void a_queue_makes_it_grow_to_max_and_its_end_shrink_to_min(void **state) {
        Try *t = *state;
        Told *told = t->userdata;
        Pool *pool = elastic_pool(t, SCALE_QUEUE, 1, 4);
        uint32_t highest = 0;

        for (unsigned round = 0; round < 2; round++) {
                usec_t start = usec_now(CLOCK_MONOTONIC);
                unsigned first = told->n;

                (void) try_submit(t, pool, TRY_GATE(0), 1);
                (void) try_submit(t, pool, round == 0 ? TRY_GATE(1) : TRY_GATE(3), 100);
                try_until(t, n_workers(pool) == 4);
                let_intervals_end(t, pool, 2);
                assert_int_equal(n_workers(pool), 4);
                assert_int_equal(pool->n_threads, 4);
                gate_open(0);
                gate_open(round == 0 ? 1 : 3);
                try_until(t, pool->n_threads == 1);
                try_until(t, t->n_finished == (round + 1) * 101);

                /* One at a time, an Interval apart, and each is told once. */
                assert_int_equal(told->n - first, 6);
                for (unsigned i = 0; i < 6; i++) {
                        const PoolScaling *s = &told->scalings[first + i];
                        bool up = i < 3;

                        assert_true(told->at[first + i] >= start + (i + 1) * INTERVAL);
                        assert_int_equal(s->from, up ? 1 + i : 7 - i);
                        assert_int_equal(s->to, up ? s->from + 1 : s->from - 1);
                        assert_int_equal(s->reason, up ? SCALE_UP_QUEUED : SCALE_DOWN_QUEUED);
                        assert_int_equal(s->error, 0);
                }
                /* Those that come have new numbers. */
                pool_lock(pool);
                assert_int_equal(pool->next_worker_id, 1 + 3 * (round + 1));
                list_for_each (l, &pool->workers)
                        highest = MAX(highest, list_entry(l, Worker, links)->id);
                pool_unlock(pool);
                assert_true(highest < pool->next_worker_id);
        }
        try_until(t, is_at_rest(pool));
        assert_true(t->n_worker_changes >= 4);
}

/* Between the thresholds a constant queue is no reason to change anything, whatever their values.
 */
static void it_does_not_flap_at_the_thresholds(void **state) {
        Try *t = *state;
        Told *told = t->userdata;
        PoolConfig *config = elastic_config("p", &try_singly, SCALE_QUEUE, 1, 8);
        Pool *pool;

        config->scale_config.up_at = 3;
        config->scale_config.down_at = 2;
        pool = add(t, config);
        /* Each worker has one of them. */
        (void) try_submit(t, pool, TRY_GATE(0), 1);
        (void) try_submit(t, pool, TRY_GATE(0), 5);
        try_until(t, told->n == 1);
        let_intervals_end(t, pool, 10);
        assert_int_equal(told->n, 1);
        assert_int_equal(n_workers(pool), 2);
}

static void short_work_at_min_does_not_make_it_grow(void **state) {
        Try *t = *state;
        Told *told = t->userdata;
        Pool *pool = elastic_pool(t, SCALE_QUEUE, 1, 4);
        usec_t end = usec_now(CLOCK_MONOTONIC) + 5 * INTERVAL;

        for (unsigned n = 1; usec_now(CLOCK_MONOTONIC) < end; n++) {
                (void) try_submit(t, pool, TRY_ECHO, 1);
                try_until(t, t->n_finished == n);
        }
        assert_int_equal(told->n, 0);
        try_until(t, is_at_rest(pool));
}

/* ---- by the wait ---- */

static void a_wait_over_the_target_makes_it_grow_after_two_intervals(void **state) {
        Try *t = *state;
        Told *told = t->userdata;
        Pool *pool = elastic_pool(t, SCALE_WAIT, 4, 7);
        usec_t start = usec_now(CLOCK_MONOTONIC);

        (void) try_submit(t, pool, TRY_GATE(0), 20);
        try_until(t, n_workers(pool) == 7);
        assert_int_equal(told->n, 3);
        for (unsigned i = 0; i < 3; i++) {
                assert_int_equal(told->scalings[i].reason, SCALE_UP_WAITED);
                assert_int_equal(told->scalings[i].to, 5 + i);
                assert_true(told->at[i] >= start + (2 + i) * INTERVAL);
        }
}

/* ---- what is no demand ---- */

typedef enum Hold { HOLD_PAUSE, HOLD_RATE, HOLD_BREAKER, HOLD_DELAY, _HOLD_MAX } Hold;

static Pool *pool_on_hold(Try *t, Hold hold, uint32_t n_jobs) {
        static const LimiterConfig rarely = { .rate = 1, .period = USEC_PER_HOUR, .burst = 1 };
        static const BreakerConfig breaker = BREAKER_CONFIG_DEFAULT;
        PoolConfig *config = elastic_config("p", &try_singly, SCALE_QUEUE, 1, 4);
        Submission *submission = try_submission();
        SharedBreaker *b;
        Pool *pool;

        if (hold == HOLD_RATE) {
                assert_int_equal(engine_add_limiter(t->engine, "x", &rarely, NULL), 0);
                config->limiter = strdup("x");
        }
        if (hold == HOLD_BREAKER) {
                assert_int_equal(engine_add_breaker(t->engine, "x", &breaker, &b), 0);
                config->breaker = strdup("x");
                config->hold_on_open = true;
        }
        pool = add(t, config);
        (void) try_submit(t, pool, TRY_GATE(0), 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        if (hold == HOLD_BREAKER)
                assert_int_equal(shared_breaker_trip(b), 0);
        if (hold == HOLD_PAUSE)
                engine_pause_pool(t->engine, pool, true);
        if (hold == HOLD_DELAY)
                submission->delay = USEC_PER_HOUR;
        (void) try_submit_with(t, pool, submission, TRY_ECHO, n_jobs);
        return pool;
}

static void what_is_held_is_no_demand(void **state) {
        for (Hold hold = 0; hold < _HOLD_MAX; hold++) {
                Told *told;
                Pool *pool;
                Try *t;

                assert_int_equal(setup((void **) &t), 0);
                told = t->userdata;
                pool = pool_on_hold(t, hold, 100);
                /* With its only worker at work it may look whether that would help, … */
                for (unsigned i = 0; i < 5 && next_ask(pool) != USEC_INFINITY; i++) {
                        usec_t at = next_ask(pool);

                        try_until(t, next_ask(pool) != at);
                }
                /* … and with an idle one it does not even look. */
                gate_open(0);
                try_until(t, t->n_finished == 1);
                try_await(t, n_idle(pool) == 1);
                try_await(t, next_ask(pool) == USEC_INFINITY);
                if (hold != HOLD_DELAY)
                        try_await(t, is_at_rest(pool));
                assert_int_equal(told->n, 0);
                assert_int_equal(n_workers(pool), 1);
                teardown((void **) &t);
        }
}

static void what_is_not_held_any_more_is_demand(void **state) {
        Try *t = *state;
        Told *told = t->userdata;
        Pool *pool = elastic_pool(t, SCALE_QUEUE, 1, 2);

        engine_pause_pool(t->engine, pool, true);
        (void) try_submit(t, pool, TRY_GATE(0), 20);
        assert_int_equal(next_ask(pool), USEC_INFINITY);
        engine_pause_pool(t->engine, pool, false);
        try_until(t, n_workers(pool) == 2);
        engine_pause_pool(t->engine, pool, true);
        gate_open(0);
        /* Those that have nothing to do any more go. */
        try_until(t, n_workers(pool) == 1);
        assert_int_equal(told->n, 2);
}

/* Only as many as there are tokens. */
static void demand_is_what_the_gates_would_let_pass(void **state) {
        static const LimiterConfig few = { .rate = 1, .period = USEC_PER_HOUR, .burst = 4 };
        Try *t = *state;
        PoolConfig *config = elastic_config("p", &try_singly, SCALE_QUEUE, 1, 4);
        SharedLimiter *limiter;
        Pool *pool;

        assert_int_equal(engine_add_limiter(t->engine, "l", &few, &limiter), 0);
        config->limiter = strdup("l");
        pool = add(t, config);
        (void) try_submit(t, pool, TRY_GATE(0), 1);
        (void) try_submit(t, pool, TRY_GATE(0), 100);
        /* Three tokens are more than two per worker; of those the new one takes one. */
        try_until(t, n_workers(pool) == 2);
        let_intervals_end(t, pool, 5);
        assert_int_equal(n_workers(pool), 2);
}

/* ---- who leaves ---- */

static void a_job_in_flight_on_a_worker_that_is_to_leave_ends_well(void **state) {
        Try *t = *state;
        Told *told = t->userdata;
        Pool *pool = elastic_pool(t, SCALE_QUEUE, 3, 6);
        uint64_t id = try_submit(t, pool, TRY_GATE(0), 3);

        engine_turn(t->engine);
        gate_wait_begun(0, 3);
        set_bounds(t, pool, SCALE_QUEUE, 1, 2);
        assert_int_equal(n_workers(pool), 3);
        assert_int_equal(told->n, 1);
        assert_int_equal(told->scalings[0].reason, SCALE_DOWN_TO_MAX);
        assert_int_equal(told->scalings[0].to, 2);
        gate_open(0);
        try_until(t, t->n_finished == 3);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(try_result(t, id + i), JOB_SUCCEEDED);
        try_until(t, pool->n_threads == 1);
}

static void who_was_told_to_leave_and_has_not_yet_stays_first(void **state) {
        Try *t = *state;
        Pool *pool = elastic_pool(t, SCALE_OFF, 1, 3);

        try_await(t, n_idle(pool) == 3);
        /* They are told at the end of the loop's turn, and asked to stay before. */
        set_bounds(t, pool, SCALE_OFF, 1, 1);
        assert_int_equal(n_workers(pool), 1);
        set_bounds(t, pool, SCALE_OFF, 1, 3);
        assert_int_equal(n_workers(pool), 3);
        assert_int_equal(pool->next_worker_id, 3);
        (void) try_submit(t, pool, TRY_GATE(0), 3);
        try_await(t, gate_n_begun(0) == 3);
        assert_int_equal(pool->n_threads, 3);
        gate_open(0);
        try_await(t, n_idle(pool) == 3);
        pool_lock(pool);
        assert_int_equal(pool->n_coming, 0);
        pool_unlock(pool);
}

/* ---- threads that cannot be made ---- */

static void a_thread_that_cannot_be_made_is_tried_again_an_interval_later(void **state) {
        Try *t = *state;
        Told *told = t->userdata;
        Pool *pool = elastic_pool(t, SCALE_QUEUE, 1, 3);
        usec_t start = usec_now(CLOCK_MONOTONIC);

        no_threads = true;
        (void) try_submit(t, pool, TRY_GATE(0), 50);
        try_until(t, told->n == 5);
        for (unsigned i = 0; i < 5; i++) {
                assert_int_equal(told->scalings[i].error, -EAGAIN);
                assert_int_equal(told->scalings[i].from, 1);
                assert_int_equal(told->scalings[i].to, 1);
                assert_true(told->at[i] >= start + (i + 1) * INTERVAL);
        }
        assert_int_equal(n_workers(pool), 1);
        assert_int_equal(pool->n_threads, 1);
        no_threads = false;
        try_until(t, n_workers(pool) == 3);
        assert_int_equal(pool->next_worker_id, 3);
}

static void min_is_reached_later_where_threads_are_short(void **state) {
        Try *t = *state;
        Pool *pool = elastic_pool(t, SCALE_QUEUE, 1, 4);
        PoolConfig *config;

        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->min_workers = 3;
        no_threads = true;
        assert_int_equal(engine_set_pool(t->engine, pool, config), -EAGAIN);
        pool_config_free(config);
        assert_int_equal(n_workers(pool), 1);
        let_intervals_end(t, pool, 2);
        no_threads = false;
        try_until(t, n_workers(pool) == 3);
        try_await(t, is_at_rest(pool));
}

/* ---- pressure ---- */

static bool is_polled(Try *t) {
        int enabled = SD_EVENT_OFF;

        assert_true(sd_event_source_get_enabled(t->engine->stall_watch.sources[0], &enabled) >= 0);
        return enabled != SD_EVENT_OFF;
}

static void a_host_that_stalls_makes_it_shrink_and_is_not_polled_in_vain(void **state) {
        Try *t = *state;
        Told *told = t->userdata;
        Pool *pool;

        if (!kernel_can_tell())
                skip();
        pool = elastic_pool(t, SCALE_PRESSURE, 1, 3);
        try_await(t, n_idle(pool) == 1 && is_at_rest(pool));
        assert_false(is_polled(t));
        /* What happens while nobody wants to know wakes nobody. */
        kernel_tell(PRESSURE_CPU);
        assert_int_equal(sd_event_run(t->event, INTERVAL), 0);
        assert_int_equal(kernel.n_reports, 0);
        assert_int_equal(recv(t->engine->stall_watch.pressures[0].fd, &(char){ 0 }, 1, MSG_OOB), 1);

        (void) try_submit(t, pool, TRY_GATE(0), 50);
        try_until(t, is_polled(t));
        try_until(t, n_workers(pool) == 3);
        kernel_tell(PRESSURE_MEMORY);
        try_until(t, told->n == 4);
        for (unsigned i = 2; i < 4; i++) {
                assert_int_equal(told->scalings[i].reason, SCALE_DOWN_STALLED);
                assert_int_equal(told->scalings[i].to, 4 - i);
        }
        let_intervals_end(t, pool, 3);
        assert_int_equal(told->n, 4);
        gate_open(0);
        try_until(t, t->n_finished == 50);
        try_until(t, is_at_rest(pool) && !is_polled(t));
        kernel.n_reports = 0;
}

static void one_pair_of_triggers_serves_all_pools(void **state) {
        Try *t = *state;
        unsigned n_opened = kernel.n_opened;
        Pool *a = add(t, elastic_config("a", &try_singly, SCALE_PRESSURE, 1, 3));
        Pool *b = add(t, elastic_config("b", &try_singly, SCALE_PRESSURE, 1, 3));

        assert_int_equal(kernel.n_opened, n_opened + 2);
        (void) try_submit(t, a, TRY_GATE(0), 50);
        (void) try_submit(t, b, TRY_GATE(0), 50);
        try_until(t, t->engine->stall_watch.n_watching == 2);
        set_bounds(t, a, SCALE_QUEUE, 1, 3);
        assert_int_equal(t->engine->stall_watch.n_users, 1);
        assert_int_equal(t->engine->stall_watch.n_watching, 1);
        assert_true(is_polled(t));
        gate_open(0);
        assert_int_equal(engine_remove_pool(t->engine, b, /* cancel= */ true, NULL), 0);
        try_until(t, t->n_pools_removed == 1);
        assert_int_equal(t->engine->stall_watch.n_users, 0);
        assert_null(t->engine->stall_watch.sources[0]);
        set_bounds(t, a, SCALE_PRESSURE, 1, 3);
        assert_int_equal(kernel.n_opened, n_opened + 4);
}

static void without_triggers_there_is_no_such_pool(void **state) {
        Try *t = *state;
        PoolConfig *config = elastic_config("p", &try_singly, SCALE_PRESSURE, 1, 3);
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        kernel.refused = true;
        assert_int_equal(engine_add_pool(t->engine, config, NULL, &error), -ENOENT);
        assert_string_equal(error, "ScaleMode: cannot open /proc/pressure/memory: it is not to be");
        assert_int_equal(t->engine->stall_watch.n_users, 0);
        config->scale_config.mode = SCALE_QUEUE;
        pool = add(t, config);
        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->scale_config.mode = SCALE_PRESSURE;
        assert_int_equal(engine_set_pool(t->engine, pool, config), -ENOENT);
        assert_int_equal(pool->config->scale_config.mode, SCALE_QUEUE);
        pool_config_free(config);
}

static int see_fault(void *userdata, const char *section, const char *key, const char *text) {
        (void) snprintf(userdata, 256, "[%s] %s: %s", section, key, text);
        return 0;
}

static void settings_ask_whether_there_is_pressure_to_be_told(void **state) {
        _cleanup_free_ char *error = NULL;
        char fault[256] = "";
        PoolConfig *config;

        assert_int_equal(pool_config_new("p", FAIRNESS_NONE, &config), 0);
        config->handler = &try_singly;
        assert_int_equal(
                pool_config_set_in_section(config, "Scale", "Mode", "pressure", &error), 0);
        assert_int_equal(pool_config_complete(config, &error), 0);
        kernel.refused = true;
        assert_int_equal(pool_config_complete(config, &error), -EINVAL);
        assert_string_equal(error, "ScaleMode: cannot open /proc/pressure/memory: it is not to be");
        assert_int_equal(pool_config_complete_all(config, see_fault, fault), -EINVAL);
        assert_string_equal(
                fault, "[Scale] Mode: Mode: cannot open /proc/pressure/memory: it is not to be");
        pool_config_free(config);
}

/* ---- all at once ---- */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STEPS 4000
#else
#define STEPS 15000
#endif

static void whatever_happens_it_is_within_its_bounds(void **state) {
        static const char *const names[] = { "a", "b", "c" };
        static const LimiterConfig limit = { .rate = 50000, .period = USEC_PER_SEC, .burst = 20 };
        Try *t = *state;
        const char *seed = getenv("SLUICE_SEED");
        uint64_t random = seed ? strtoull(seed, NULL, 0) : usec_now(CLOCK_MONOTONIC);
        uint64_t n_submitted = 0;
        unsigned n_removals = 0;

        print_message("SLUICE_SEED=%llu\n", (unsigned long long) random);
        assert_int_equal(engine_add_limiter(t->engine, "l", &limit, NULL), 0);
        for (unsigned i = 0; i < STEPS; i++) {
                unsigned k = (unsigned) random_below(&random, ELEMENTSOF(names));
                Pool *pool = engine_find_pool(t->engine, names[k]);
                ScaleMode mode = (ScaleMode) random_below(&random, _SCALE_MODE_MAX);
                uint32_t min = (uint32_t) (1 + random_below(&random, 3)),
                         max = min + (uint32_t) random_below(&random, 4);
                PoolConfig *config;
                uint64_t n;

                if (!pool) {
                        config = elastic_config(
                                names[k], k ? &try_several : &try_singly, mode, min, max);
                        config->scale_config.interval = 200 + random_below(&random, 2000);
                        config->scale_config.target_wait = random_below(&random, 500);
                        if (k == 2)
                                config->limiter = strdup("l");
                        (void) add(t, config);
                        continue;
                }
                switch (random_below(&random, 12)) {

                case 0 ... 3:
                        n = 1 + random_below(&random, 50);
                        if (pool->removing || ((Told *) t->userdata)->n > CHANGES_MAX - 10)
                                break;
                        (void) try_submit(t, pool, TRY_ECHO, n);
                        n_submitted += n;
                        break;

                case 4:
                        if (((Told *) t->userdata)->n < CHANGES_MAX - 10)
                                set_bounds(t, pool, mode, min, max);
                        break;

                case 5:
                        engine_pause_pool(
                                t->engine, pool, !pool->removing && random_below(&random, 3) == 0);
                        break;

                case 6:
                        if (random_below(&random, 20) > 0 || pool->removing)
                                break;
                        assert_int_equal(
                                engine_remove_pool(t->engine, pool, random_below(&random, 2), NULL),
                                0);
                        n_removals++;
                        break;

                case 7 ... 11:
                        ((Told *) t->userdata)->n = 0;
                        engine_turn(t->engine);
                        assert_true(sd_event_run(t->event, random_below(&random, 2) * 300) >= 0);
                        engine_turn(t->engine);
                        break;
                }
                list_for_each (l, &t->engine->pools)
                        pool_must_be_in_bounds(list_entry(l, Pool, links));
        }
        list_for_each (l, &t->engine->pools)
                engine_pause_pool(t->engine, list_entry(l, Pool, links), false);
        try_until(t, t->n_finished == n_submitted);
        print_message("%llu jobs, %u removals\n", (unsigned long long) n_submitted, n_removals);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(a_pool_starts_with_min_and_counts_each_once),
                TEST(without_a_mode_there_are_max),
                TEST(a_queue_makes_it_grow_to_max_and_its_end_shrink_to_min),
                TEST(it_does_not_flap_at_the_thresholds),
                TEST(short_work_at_min_does_not_make_it_grow),
                TEST(a_wait_over_the_target_makes_it_grow_after_two_intervals),
                cmocka_unit_test(what_is_held_is_no_demand),
                TEST(what_is_not_held_any_more_is_demand),
                TEST(demand_is_what_the_gates_would_let_pass),
                TEST(a_job_in_flight_on_a_worker_that_is_to_leave_ends_well),
                TEST(who_was_told_to_leave_and_has_not_yet_stays_first),
                TEST(a_thread_that_cannot_be_made_is_tried_again_an_interval_later),
                TEST(min_is_reached_later_where_threads_are_short),
                TEST(a_host_that_stalls_makes_it_shrink_and_is_not_polled_in_vain),
                TEST(one_pair_of_triggers_serves_all_pools),
                TEST(without_triggers_there_is_no_such_pool),
                TEST(settings_ask_whether_there_is_pressure_to_be_told),
                TEST(whatever_happens_it_is_within_its_bounds),
#undef TEST
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
