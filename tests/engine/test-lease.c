/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Leases. Time is what the tests say: the clock of the engine is replaced, and what its timers
 * would do is done when it has passed. */

#include "try.h"

#include <string.h>
#include <time.h>

#include "engine/breaker-config.h"
#include "engine/lease.h"
#include "engine/limiter-config.h"
#include "engine/worker.h"

#define SEC USEC_PER_SEC
#define RUN_TIMEOUT (10 * SEC)
#define STOP_TIMEOUT (5 * SEC)

/* ---- time ---- */

static usec_t frozen_at; /* 0 = time goes on by itself */

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret) {
        if (clock != CLOCK_MONOTONIC || frozen_at == 0)
                return __real_clock_gettime(clock, ret);
        ret->tv_sec = (time_t) (frozen_at / USEC_PER_SEC);
        ret->tv_nsec = (long) (frozen_at % USEC_PER_SEC) * 1000;
        return 0;
}

static void freeze(void) {
        frozen_at = usec_now(CLOCK_MONOTONIC);
}

/* ---- consumers ---- */

#define HELD_MAX 2000

typedef struct Held {
        uint64_t id, token;
        uint32_t attempt;
        size_t size;
} Held;

typedef struct Consumer {
        LeaseHolder holder;
        LeaseWatch watch;
        Held held[HELD_MAX]; /* what it was given, in that order */
        size_t n_held;
        unsigned n_answers; /* to calls that waited */
        int result;         /* of the last one */
        uint64_t stopping_id, stopping_token;
        const char *stopping_reason;
        unsigned n_stopping;
        void (*given)(struct Consumer *consumer, const Held *held); /* NULL = of no interest */
        void (*told)(struct Consumer *consumer, uint64_t id, uint64_t token);
} Consumer;

static void keep(Consumer *c, Lease *const *leases, size_t n) {
        for (size_t i = 0; i < n; i++) {
                assert_true(c->n_held < HELD_MAX);
                c->held[c->n_held] = (Held){
                        .id = leases[i]->id,
                        .token = leases[i]->token,
                        .attempt = lease_attempt(leases[i]),
                        .size = lease_job(leases[i])->size,
                };
                assert_int_not_equal(leases[i]->token, 0);
                assert_int_equal(lease_job(leases[i])->id, leases[i]->id);
                assert_int_equal(lease_job(leases[i])->state, JOB_RUNNING);
                c->n_held++;
                if (c->given)
                        c->given(c, &c->held[c->n_held - 1]);
        }
}

static void on_stopping(LeaseHolder *holder, Pool *pool, const Lease *lease, const char *reason) {
        Consumer *c = container_of(holder, Consumer, holder);

        c->stopping_id = lease->id;
        c->stopping_token = lease->token;
        c->stopping_reason = reason;
        c->n_stopping++;
        if (c->told)
                c->told(c, lease->id, lease->token);
}

static void on_done(LeaseWatch *watch, int result, Lease *const *leases, size_t n) {
        Consumer *c = container_of(watch, Consumer, watch);

        c->n_answers++;
        c->result = result;
        keep(c, leases, n);
}

static void consumer_init(Consumer *c) {
        *c = (Consumer){ .holder.stopping = on_stopping };
        list_init(&c->holder.leases);
        lease_watch_init(&c->watch);
}

static void consumer_gone(Consumer *c) {
        lease_unwatch(&c->watch);
        lease_holder_gone(&c->holder);
        c->n_held = 0;
}

/* Leases what there is now. */
static size_t take(Consumer *c, Pool *pool, size_t max) {
        size_t n;
        Lease *const *leases;

        c->n_held = 0;
        n = lease_take(pool, &c->holder, max, &leases);
        keep(c, leases, n);
        return n;
}

/* ---- the world ---- */

typedef struct World {
        Try t;
        Consumer a, b, c;
} World;

static int set_up(void **state) {
        World *w = malloc(sizeof(*w));

        assert_non_null(w);
        frozen_at = 0;
        try_init(&w->t);
        consumer_init(&w->a);
        consumer_init(&w->b);
        consumer_init(&w->c);
        *state = w;
        return 0;
}

static int tear_down(void **state) {
        World *w = *state;

        frozen_at = 0;
        engine_shut_down(w->t.engine);
        consumer_gone(&w->a);
        consumer_gone(&w->b);
        consumer_gone(&w->c);
        try_done(&w->t);
        free(w);
        return 0;
}

static PoolConfig *config_of(uint32_t n_slots) {
        PoolConfig *config = try_config("p", handler_find("lease"), n_slots);

        config->min_workers = n_slots;
        config->run_timeout = RUN_TIMEOUT;
        config->handler_config.stop_timeout = STOP_TIMEOUT;
        config->backoff = 0;
        return config;
}

static Pool *add(World *w, PoolConfig *config) {
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        w->t.several_lives = config->max_attempts > 1;
        assert_int_equal(engine_add_pool(w->t.engine, config, &pool, &error), 0);
        engine_turn(w->t.engine);
        return pool;
}

static Pool *pool_of(World *w, uint32_t n_slots) {
        return add(w, config_of(n_slots));
}

static Submission *submission(void) {
        Submission *s = try_submission();

        s->run_timeout = 0;
        return s;
}

static uint64_t submit(World *w, Pool *pool, size_t n) {
        uint64_t id = try_submit_with(&w->t, pool, submission(), TRY_ECHO, n);

        engine_turn(w->t.engine);
        return id;
}

/* What the pool's timer would do. */
static void pass(World *w, Pool *pool, usec_t span) {
        assert_true(frozen_at > 0);
        frozen_at += span;
        pool_timer(pool, frozen_at);
        pool_wake(pool);
        lease_timer(pool, frozen_at);
        pool->is_to_wake = w->t.engine->wake_pools = true;
        engine_turn(w->t.engine);
        engine_turn(w->t.engine);
}

static CancelVerdict cancel(World *w, uint64_t id) {
        Job *job = engine_find_job(w->t.engine, id);
        CancelVerdict verdict;

        assert_non_null(job);
        verdict = pool_cancel(job_pool(job), job);
        engine_turn(w->t.engine);
        return verdict;
}

static void wait_for(Consumer *c, Pool *pool, size_t max, usec_t timeout) {
        c->n_held = 0;
        lease_wait(pool, &c->holder, max, timeout, &c->watch, on_done);
}

static int complete(Consumer *c, Pool *pool, size_t i) {
        return lease_complete(pool, &c->holder, c->held[i].id, c->held[i].token, true, "done", 4);
}

static LeaseAnswer fail_it(Consumer *c, Pool *pool, size_t i, bool fatal) {
        return lease_fail(pool, &c->holder, c->held[i].id, c->held[i].token, fatal, "no luck");
}

static LeaseAnswer release(Consumer *c, Pool *pool, size_t i, usec_t delay) {
        return lease_release(pool, &c->holder, c->held[i].id, c->held[i].token, delay);
}

static LeaseAnswer touch(Consumer *c, Pool *pool, size_t i) {
        return lease_touch(pool, &c->holder, c->held[i].id, c->held[i].token);
}

static PoolView view_of(Pool *pool) {
        PoolView view;

        pool_view(pool, &view);
        return view;
}

static BreakerView breaker_of(Pool *pool) {
        BreakerView view;

        shared_breaker_view(pool->gates.breaker, &view);
        return view;
}

#define assert_result(w, id, expected)                                             \
        do {                                                                       \
                engine_turn((w)->t.engine);                                        \
                assert_int_equal(try_state(&(w)->t, id), JOB_FINISHED);            \
                assert_string_equal(job_result_to_string(try_result(&(w)->t, id)), \
                        job_result_to_string(expected));                           \
        } while (0)

static const char *error_of(World *w, uint64_t id) {
        return job_error(engine_find_job(w->t.engine, id));
}

/* ---- leasing ---- */

static void a_job_is_leased_and_completed(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 10);
        uint64_t id = submit(w, pool, 1);
        const Job *job;
        JobView view;

        assert_int_equal(try_state(&w->t, id), JOB_QUEUED);
        assert_int_equal(take(&w->a, pool, 5), 1);
        assert_int_equal(w->a.held[0].id, id);
        assert_int_equal(w->a.held[0].attempt, 1);
        assert_int_equal(w->a.held[0].size, strlen(TRY_ECHO));
        job = engine_find_job(w->t.engine, id);
        pool_job_view(pool, (Job *) (uintptr_t) job, &view);
        assert_int_equal(view.state, JOB_RUNNING);
        assert_in_range(view.worker, 0, 9);
        assert_int_equal(view_of(pool).n_busy, 1);
        assert_int_equal(complete(&w->a, pool, 0), LEASE_DONE);
        assert_result(w, id, JOB_SUCCEEDED);
        assert_int_equal(job->size, 4);
        assert_memory_equal(job->data, "done", 4);
        assert_int_equal(view_of(pool).n_busy, 0);
        assert_int_equal(w->t.jobs[id].n_started, 1);
}

static void no_more_than_max_and_no_more_than_slots_are_leased(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 5);
        uint64_t id = submit(w, pool, 9);

        assert_int_equal(take(&w->a, pool, 3), 3);
        assert_int_equal(w->a.held[0].id, id);
        assert_int_equal(w->a.held[2].id, id + 2);
        assert_int_equal(take(&w->b, pool, 3), 2);
        assert_int_equal(take(&w->c, pool, 3), 0);
        assert_int_equal(complete(&w->b, pool, 1), LEASE_DONE);
        assert_int_equal(take(&w->c, pool, 3), 1);
        assert_int_equal(view_of(pool).n_busy, 5);
        assert_int_equal(view_of(pool).n_workers, 5);
}

static void the_most_urgent_is_leased_first(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 5);
        Submission *urgent = submission();
        uint64_t low = submit(w, pool, 1), high;

        urgent->priority = 10;
        high = try_submit_with(&w->t, pool, urgent, TRY_ECHO, 1);
        assert_int_equal(take(&w->a, pool, 2), 2);
        assert_int_equal(w->a.held[0].id, high);
        assert_int_equal(w->a.held[1].id, low);
}

static void a_call_gets_no_more_bytes_than_a_reply_may_have(void **state) {
        static char megabytes[5 << 20];
        World *w = *state;
        Pool *pool = pool_of(w, 10);
        struct iovec v[5];

        for (size_t i = 0; i < ELEMENTSOF(v); i++)
                v[i] = (struct iovec){ megabytes, sizeof(megabytes) };
        assert_int_equal(engine_submit(w->t.engine, pool, submission(), v, 5, false, 0), ADMIT_YES);
        assert_int_equal(take(&w->a, pool, 10), 2);
        assert_int_equal(view_of(pool).n_queued, 3);
        /* What was too large to come along comes with the next call. */
        wait_for(&w->b, pool, 10, USEC_INFINITY);
        assert_int_equal(w->b.n_held, 2);
        assert_int_equal(take(&w->c, pool, 10), 1);
}

static void one_job_of_any_size_can_be_leased(void **state) {
        static char megabytes[16 << 20];
        World *w = *state;
        Pool *pool = pool_of(w, 10);
        struct iovec v[] = { { megabytes, sizeof(megabytes) }, { megabytes, 1 } };

        assert_int_equal(engine_submit(w->t.engine, pool, submission(), v, 2, false, 0), ADMIT_YES);
        assert_int_equal(take(&w->a, pool, 10), 1);
        assert_int_equal(w->a.held[0].size, sizeof(megabytes));
        assert_int_equal(take(&w->a, pool, 10), 1);
}

/* ---- waiting ---- */

static void a_call_waits_for_one_job_and_gets_all_that_are_there(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 10);

        wait_for(&w->a, pool, 3, USEC_INFINITY);
        engine_turn(w->t.engine);
        assert_int_equal(w->a.n_answers, 0);
        assert_int_equal(lease_n_waiting(pool), 1);
        (void) submit(w, pool, 5);
        assert_int_equal(w->a.n_answers, 1);
        assert_int_equal(w->a.n_held, 3);
        assert_int_equal(lease_n_waiting(pool), 0);
        assert_int_equal(view_of(pool).n_queued, 2);
}

static void who_came_first_is_answered_first(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 10);

        wait_for(&w->a, pool, 1, USEC_INFINITY);
        wait_for(&w->b, pool, 1, USEC_INFINITY);
        wait_for(&w->c, pool, 1, USEC_INFINITY);
        (void) submit(w, pool, 1);
        assert_int_equal(w->a.n_answers, 1);
        assert_int_equal(w->b.n_answers, 0);
        (void) submit(w, pool, 2);
        assert_int_equal(w->b.n_answers, 1);
        assert_int_equal(w->c.n_answers, 1);
}

static void nobody_passes_those_who_wait(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 10);
        uint64_t id;

        wait_for(&w->a, pool, 1, USEC_INFINITY);
        id = try_submit_with(&w->t, pool, submission(), TRY_ECHO, 2);
        assert_int_equal(take(&w->b, pool, 5), 1);
        assert_int_equal(w->b.held[0].id, id + 1);
        assert_int_equal(w->a.held[0].id, id);
}

static void a_call_that_waits_in_vain_gets_nothing(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 10);

        freeze();
        wait_for(&w->a, pool, 1, 3 * SEC);
        wait_for(&w->b, pool, 1, 2 * SEC);
        wait_for(&w->c, pool, 1, USEC_INFINITY);
        pass(w, pool, 2 * SEC - 1);
        assert_int_equal(w->b.n_answers, 0);
        pass(w, pool, 1);
        assert_int_equal(w->b.n_answers, 1);
        assert_int_equal(w->b.result, 0);
        assert_int_equal(w->b.n_held, 0);
        assert_int_equal(w->a.n_answers, 0);
        pass(w, pool, SEC);
        assert_int_equal(w->a.n_answers, 1);
        pass(w, pool, USEC_PER_YEAR);
        assert_int_equal(w->c.n_answers, 0);
        assert_int_equal(lease_n_waiting(pool), 1);
        (void) submit(w, pool, 1);
        assert_int_equal(w->c.n_held, 1);
}

static void the_timer_ends_a_wait(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 10);

        wait_for(&w->a, pool, 1, USEC_PER_MSEC);
        try_until(&w->t, w->a.n_answers == 1);
        assert_int_equal(w->a.n_held, 0);
        (void) submit(w, pool, 1);
        assert_int_equal(view_of(pool).n_queued, 1);
}

static void who_goes_waits_no_more(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 10);

        wait_for(&w->a, pool, 1, USEC_INFINITY);
        wait_for(&w->b, pool, 1, USEC_INFINITY);
        consumer_gone(&w->a);
        (void) submit(w, pool, 1);
        assert_int_equal(w->a.n_answers, 0);
        assert_int_equal(w->b.n_answers, 1);
        assert_int_equal(lease_n_waiting(pool), 0);
}

static void a_slot_that_becomes_free_serves_who_waits(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 2);

        (void) submit(w, pool, 4);
        assert_int_equal(take(&w->a, pool, 9), 2);
        wait_for(&w->b, pool, 9, USEC_INFINITY);
        assert_int_equal(w->b.n_answers, 0);
        assert_int_equal(complete(&w->a, pool, 0), LEASE_DONE);
        assert_int_equal(w->b.n_answers, 1);
        assert_int_equal(w->b.n_held, 1);
        assert_int_equal(complete(&w->a, pool, 1), LEASE_DONE);
        assert_int_equal(view_of(pool).n_queued, 1);
}

/* Slots are idle for those who wait, and for nobody else. */
static void only_who_waits_keeps_a_slot_idle(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 10);

        assert_int_equal(pool->n_idle, 0);
        wait_for(&w->a, pool, 1, USEC_INFINITY);
        wait_for(&w->b, pool, 1, USEC_INFINITY);
        assert_int_equal(pool->n_idle, 2);
        consumer_gone(&w->a);
        assert_int_equal(pool->n_idle, 1);
        (void) submit(w, pool, 1);
        assert_int_equal(pool->n_idle, 0);
}

/* ---- tokens ---- */

static void a_lease_is_its_holders_alone_and_once(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 10);
        Held held;

        (void) submit(w, pool, 2);
        assert_int_equal(take(&w->a, pool, 2), 2);
        held = w->a.held[0];
        assert_int_not_equal(held.token, w->a.held[1].token);

        /* Somebody else's, another job's, none. */
        assert_int_equal(
                lease_complete(pool, &w->b.holder, held.id, held.token, true, "", 0), LEASE_STALE);
        assert_int_equal(
                lease_fail(pool, &w->b.holder, held.id, held.token, false, "x"), LEASE_STALE);
        assert_int_equal(lease_release(pool, &w->b.holder, held.id, held.token, 0), LEASE_STALE);
        assert_int_equal(lease_touch(pool, &w->b.holder, held.id, held.token), LEASE_STALE);
        assert_int_equal(lease_touch(pool, &w->a.holder, held.id + 1, held.token), LEASE_STALE);
        assert_int_equal(lease_touch(pool, &w->a.holder, held.id, held.token + 1), LEASE_STALE);
        assert_int_equal(lease_touch(pool, &w->a.holder, held.id, 0), LEASE_STALE);
        assert_int_equal(lease_touch(pool, &w->a.holder, 99, held.token), LEASE_STALE);
        assert_int_equal(view_of(pool).n_running, 2);

        assert_int_equal(complete(&w->a, pool, 0), LEASE_DONE);
        assert_int_equal(complete(&w->a, pool, 0), LEASE_STALE);
        assert_int_equal(fail_it(&w->a, pool, 0, false), LEASE_STALE);
        assert_int_equal(release(&w->a, pool, 0, 0), LEASE_STALE);
        assert_int_equal(touch(&w->a, pool, 0), LEASE_STALE);
        assert_result(w, held.id, JOB_SUCCEEDED);
}

static void the_same_job_has_another_token_with_each_lease(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 1);
        Held held;

        w->t.several_lives = true;
        freeze();
        (void) submit(w, pool, 1);
        assert_int_equal(take(&w->a, pool, 1), 1);
        held = w->a.held[0];
        assert_int_equal(release(&w->a, pool, 0, 0), LEASE_DONE);
        assert_int_equal(take(&w->a, pool, 1), 1);
        assert_int_not_equal(w->a.held[0].token, held.token);
        assert_int_equal(lease_touch(pool, &w->a.holder, held.id, held.token), LEASE_STALE);
        assert_int_equal(touch(&w->a, pool, 0), LEASE_DONE);
}

/* ---- how a lease ends ---- */

/* What the holder does with its only attempt, and what becomes of the job. */
static void each_end_has_its_result(void **state) {
        static const struct {
                const char *what;
                JobResult result;
                const char *error;
        } rows[] = {
                { "complete", JOB_SUCCEEDED, "" },
                { "complete-failed", JOB_FAILED, "bad" },
                { "complete-failed-silently", JOB_FAILED, "failed without saying why" },
                { "fail", JOB_FAILED, "no luck" },
                { "fatal", JOB_FAILED, "no luck" },
                { "time", JOB_TIMED_OUT,
                        "its lease has ended: nobody touched it within the run time-out" },
        };
        World *w = *state;
        Pool *pool = pool_of(w, 4);

        freeze();
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                uint64_t id = submit(w, pool, 1);
                LeaseHolder *holder = &w->a.holder;
                uint64_t token;
                int r = LEASE_DONE;

                assert_int_equal(take(&w->a, pool, 1), 1);
                token = w->a.held[0].token;
                if (strcmp(rows[i].what, "complete") == 0)
                        r = lease_complete(pool, holder, id, token, true, "", 0);
                else if (strcmp(rows[i].what, "complete-failed") == 0)
                        r = lease_complete(pool, holder, id, token, false, "bad", 3);
                else if (strcmp(rows[i].what, "complete-failed-silently") == 0)
                        r = lease_complete(pool, holder, id, token, false, "", 0);
                else if (strcmp(rows[i].what, "time") == 0)
                        pass(w, pool, RUN_TIMEOUT);
                else
                        r = (int) fail_it(&w->a, pool, 0, strcmp(rows[i].what, "fatal") == 0);
                assert_int_equal(r, LEASE_DONE);
                assert_result(w, id, rows[i].result);
                assert_string_equal(error_of(w, id), rows[i].error);
                assert_int_equal(touch(&w->a, pool, 0), LEASE_STALE);
        }
}

static void a_failure_is_retried_unless_it_is_fatal(void **state) {
        World *w = *state;
        PoolConfig *config = config_of(4);
        Pool *pool;
        uint64_t id;

        config->max_attempts = 3;
        freeze();
        pool = add(w, config);
        id = submit(w, pool, 1);
        assert_int_equal(take(&w->a, pool, 1), 1);
        assert_int_equal(fail_it(&w->a, pool, 0, false), LEASE_DONE);
        assert_int_equal(take(&w->a, pool, 1), 1);
        assert_int_equal(w->a.held[0].attempt, 2);
        assert_int_equal(fail_it(&w->a, pool, 0, true), LEASE_DONE);
        assert_result(w, id, JOB_FAILED);
}

static void a_released_job_comes_back_after_the_delay_without_an_attempt(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 4);
        uint64_t id;

        freeze();
        w->t.several_lives = true;
        id = submit(w, pool, 1);
        for (unsigned i = 0; i < 10; i++) {
                assert_int_equal(take(&w->a, pool, 1), 1);
                assert_int_equal(w->a.held[0].id, id);
                assert_int_equal(w->a.held[0].attempt, 1);
                assert_int_equal(release(&w->a, pool, 0, 7 * SEC), LEASE_DONE);
                assert_int_equal(try_state(&w->t, id), JOB_SCHEDULED);
                assert_int_equal(take(&w->a, pool, 1), 0);
                pass(w, pool, 7 * SEC - 1);
                assert_int_equal(take(&w->a, pool, 1), 0);
                pass(w, pool, 1);
        }
        assert_int_equal(view_of(pool).counters.retried, 0);
        try_assert_adds_up(pool);
}

static void a_released_job_keeps_its_place(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 4);
        uint64_t id;

        freeze();
        w->t.several_lives = true;
        id = submit(w, pool, 3);
        assert_int_equal(take(&w->a, pool, 1), 1);
        assert_int_equal(release(&w->a, pool, 0, 0), LEASE_DONE);
        assert_int_equal(take(&w->a, pool, 1), 1);
        assert_int_equal(w->a.held[0].id, id);
}

static void a_released_job_is_at_once_for_who_waits(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 1);

        freeze();
        w->t.several_lives = true;
        (void) submit(w, pool, 1);
        assert_int_equal(take(&w->a, pool, 1), 1);
        wait_for(&w->b, pool, 1, USEC_INFINITY);
        assert_int_equal(release(&w->a, pool, 0, 0), LEASE_DONE);
        assert_int_equal(w->b.n_held, 1);
}

static void a_released_job_does_not_expire(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 4);
        Submission *hasty = submission();
        uint64_t id;

        freeze();
        w->t.several_lives = true;
        hasty->queue_timeout = SEC;
        id = try_submit_with(&w->t, pool, hasty, TRY_ECHO, 1);
        assert_int_equal(take(&w->a, pool, 1), 1);
        assert_int_equal(release(&w->a, pool, 0, SEC / 2), LEASE_DONE);
        pass(w, pool, 5 * SEC);
        assert_int_equal(try_state(&w->t, id), JOB_QUEUED);
        assert_int_equal(cancel(w, id), CANCEL_FINISHED);
        assert_result(w, id, JOB_CANCELLED);
}

static void a_touched_lease_lives_on(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 4);
        uint64_t id;

        freeze();
        id = submit(w, pool, 1);
        assert_int_equal(take(&w->a, pool, 1), 1);
        for (unsigned i = 0; i < 5; i++) {
                pass(w, pool, RUN_TIMEOUT - 1);
                assert_int_equal(touch(&w->a, pool, 0), LEASE_DONE);
        }
        pass(w, pool, RUN_TIMEOUT);
        assert_int_equal(touch(&w->a, pool, 0), LEASE_STALE);
        assert_result(w, id, JOB_TIMED_OUT);
}

static void a_lease_out_of_its_time_is_for_others_at_once(void **state) {
        World *w = *state;
        PoolConfig *config = config_of(1);
        Pool *pool;

        config->max_attempts = 2;
        freeze();
        pool = add(w, config);
        (void) submit(w, pool, 1);
        assert_int_equal(take(&w->a, pool, 1), 1);
        wait_for(&w->b, pool, 1, USEC_INFINITY);
        pass(w, pool, RUN_TIMEOUT);
        pass(w, pool, 0);
        assert_int_equal(w->b.n_held, 1);
        assert_int_equal(w->b.held[0].attempt, 2);
        assert_int_equal(complete(&w->a, pool, 0), LEASE_STALE);
        assert_int_equal(complete(&w->b, pool, 0), LEASE_DONE);
}

static void the_timer_ends_a_lease(void **state) {
        World *w = *state;
        PoolConfig *config = config_of(1);
        Pool *pool;

        config->run_timeout = USEC_PER_MSEC;
        pool = add(w, config);
        (void) submit(w, pool, 1);
        assert_int_equal(take(&w->a, pool, 1), 1);
        try_until(&w->t, w->t.n_finished == 1);
        assert_int_equal(pool_state(pool), POOL_RUNNING);
        assert_int_equal(view_of(pool).n_busy, 0);
}

static void a_touch_brings_a_run_time_out_that_is_shorter_by_now(void **state) {
        World *w = *state;
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;
        PoolConfig *unbounded = config_of(1);
        Pool *pool;

        unbounded->run_timeout = USEC_INFINITY;
        pool = add(w, unbounded);
        (void) submit(w, pool, 1);
        assert_int_equal(take(&w->a, pool, 1), 1);
        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->run_timeout = USEC_PER_MSEC;
        assert_int_equal(engine_set_pool(w->t.engine, pool, config), 0);
        engine_turn(w->t.engine);
        assert_int_equal(touch(&w->a, pool, 0), LEASE_DONE);
        try_until(&w->t, w->t.n_finished == 1);
        assert_int_equal(touch(&w->a, pool, 0), LEASE_STALE);
}

static void what_a_gone_holder_had_is_tried_again_three_times_and_is_lost_then(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 4);
        uint64_t id;

        freeze();
        w->t.several_lives = true;
        id = submit(w, pool, 1);
        for (uint32_t i = 1; i <= 4; i++) {
                assert_int_equal(take(&w->b, pool, 1), 1);
                assert_int_equal(w->b.held[0].attempt, i);
                consumer_gone(&w->b);
        }
        assert_result(w, id, JOB_LOST);
        assert_string_equal(error_of(w, id), "the connection that had leased it has gone");
        assert_int_equal(view_of(pool).counters.retried, 3);
}

static void a_gone_holder_leaves_nothing_leased(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 100);

        freeze();
        w->t.several_lives = true;
        (void) submit(w, pool, 150);
        assert_int_equal(take(&w->a, pool, 60), 60);
        assert_int_equal(take(&w->b, pool, 60), 40);
        consumer_gone(&w->a);
        assert_int_equal(view_of(pool).n_busy, 40);
        assert_int_equal(take(&w->c, pool, 100), 60);
        assert_int_equal(complete(&w->b, pool, 0), LEASE_DONE);
}

/* ---- cancel ---- */

static void the_holder_hears_of_a_cancel(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 4);
        uint64_t id;

        freeze();
        id = submit(w, pool, 1);
        assert_int_equal(take(&w->a, pool, 1), 1);
        assert_int_equal(cancel(w, id), CANCEL_ASKED);
        assert_int_equal(w->a.n_stopping, 1);
        assert_int_equal(w->a.stopping_id, id);
        assert_int_equal(w->a.stopping_token, w->a.held[0].token);
        assert_string_equal(w->a.stopping_reason, "cancelled");
        assert_int_equal(try_state(&w->t, id), JOB_STOPPING);
        assert_int_equal(cancel(w, id), CANCEL_NOTHING);
        assert_int_equal(w->a.n_stopping, 1);
}

/* What is done with a lease whose job is cancelled. */
static void each_end_of_a_cancelled_lease_has_its_result(void **state) {
        enum { COMPLETE, FAIL, FATAL, RELEASE, TOUCH, GONE, TIME };
        static const struct {
                int what;
                int answer;
                JobResult result;
                const char *error;
        } rows[] = {
                { COMPLETE, LEASE_DONE, JOB_SUCCEEDED, "" },
                { FAIL, LEASE_DONE, JOB_CANCELLED, "no luck" },
                { FATAL, LEASE_DONE, JOB_CANCELLED, "no luck" },
                { RELEASE, LEASE_DONE, JOB_CANCELLED, "cancelled" },
                { TOUCH, LEASE_CANCELLED, JOB_CANCELLED, "cancelled" },
                { GONE, LEASE_DONE, JOB_CANCELLED, "the connection that had leased it has gone" },
                { TIME, LEASE_DONE, JOB_LOST,
                        "cancelled, and not given back within the stop time-out" },
        };
        World *w = *state;
        PoolConfig *config = config_of(4);
        Pool *pool;

        config->max_attempts = 5;
        freeze();
        pool = add(w, config);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                uint64_t id = submit(w, pool, 1);
                int r = LEASE_DONE;

                assert_int_equal(take(&w->a, pool, 1), 1);
                assert_int_equal(cancel(w, id), CANCEL_ASKED);
                /* Time for its work it has no more, but time to stop. */
                pass(w, pool, STOP_TIMEOUT - 1);
                assert_int_equal(try_state(&w->t, id), JOB_STOPPING);
                switch (rows[i].what) {
                case COMPLETE:
                        r = complete(&w->a, pool, 0);
                        break;
                case FAIL:
                case FATAL:
                        r = (int) fail_it(&w->a, pool, 0, rows[i].what == FATAL);
                        break;
                case RELEASE:
                        r = (int) release(&w->a, pool, 0, SEC);
                        break;
                case TOUCH:
                        r = (int) touch(&w->a, pool, 0);
                        break;
                case GONE:
                        lease_holder_gone(&w->a.holder);
                        break;
                default:
                        pass(w, pool, 1);
                        break;
                }
                assert_int_equal(r, rows[i].answer);
                assert_result(w, id, rows[i].result);
                assert_string_equal(error_of(w, id), rows[i].error);
                assert_int_equal(touch(&w->a, pool, 0), LEASE_STALE);
                assert_int_equal(view_of(pool).n_busy, 0);
        }
        assert_int_equal(pool_state(pool), POOL_RUNNING);
}

/* ---- the pool ---- */

static void a_paused_pool_leases_nothing(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 4);

        engine_pause_pool(w->t.engine, pool, true);
        (void) submit(w, pool, 2);
        assert_int_equal(take(&w->a, pool, 1), 0);
        wait_for(&w->a, pool, 1, USEC_INFINITY);
        engine_turn(w->t.engine);
        assert_int_equal(w->a.n_answers, 0);
        engine_pause_pool(w->t.engine, pool, false);
        engine_turn(w->t.engine);
        assert_int_equal(w->a.n_held, 1);
}

static void resize(World *w, Pool *pool, uint32_t n) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;

        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->min_workers = config->max_workers = n;
        assert_int_equal(engine_set_pool(w->t.engine, pool, config), 0);
        engine_turn(w->t.engine);
}

static void max_workers_changes_what_can_be_leased(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 2);

        (void) submit(w, pool, 10);
        assert_int_equal(take(&w->a, pool, 10), 2);
        wait_for(&w->b, pool, 10, USEC_INFINITY);
        resize(w, pool, 5);
        /* One was enough for an answer. */
        assert_int_equal(w->b.n_answers, 1);
        assert_in_range(w->b.n_held, 1, 3);
        (void) take(&w->c, pool, 10);
        assert_int_equal(view_of(pool).n_busy, 5);
        resize(w, pool, 1);
        assert_int_equal(view_of(pool).n_workers, 5);
        while (view_of(pool).n_busy > 0) {
                List *l = list_first(&w->a.holder.leases) ?: list_first(&w->b.holder.leases)
                                ?: list_first(&w->c.holder.leases);
                Lease *lease = list_entry(l, Lease, links);

                assert_int_equal(
                        lease_complete(pool, lease->holder, lease->id, lease->token, true, "", 0),
                        LEASE_DONE);
                engine_turn(w->t.engine);
        }
        assert_int_equal(view_of(pool).n_workers, 1);
        assert_int_equal(take(&w->a, pool, 10), 1);
}

static void who_waits_at_a_pool_that_goes_is_told_so(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 4);

        (void) submit(w, pool, 1);
        assert_int_equal(take(&w->a, pool, 1), 1);
        wait_for(&w->b, pool, 1, USEC_INFINITY);
        assert_int_equal(engine_remove_pool(w->t.engine, pool, /* cancel= */ false, NULL), 0);
        engine_turn(w->t.engine);
        assert_int_equal(w->b.n_answers, 0);
        assert_int_equal(complete(&w->a, pool, 0), LEASE_DONE);
        try_until(&w->t, w->t.n_pools_removed == 1);
        assert_int_equal(w->b.n_answers, 1);
        assert_int_equal(w->b.result, -ENOENT);
}

static void a_pool_removed_by_force_asks_for_its_jobs(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 4);

        (void) submit(w, pool, 2);
        assert_int_equal(take(&w->a, pool, 1), 1);
        assert_int_equal(engine_remove_pool(w->t.engine, pool, /* cancel= */ true, NULL), 0);
        try_until(&w->t, w->a.n_stopping == 1);
        assert_string_equal(w->a.stopping_reason, "its pool was removed");
        assert_int_equal(touch(&w->a, pool, 0), LEASE_CANCELLED);
        try_until(&w->t, w->t.n_pools_removed == 1);
}

static void who_waits_when_the_daemon_stops_is_told_so(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 4);

        (void) submit(w, pool, 1);
        assert_int_equal(take(&w->a, pool, 1), 1);
        wait_for(&w->b, pool, 1, USEC_INFINITY);
        engine_shut_down(w->t.engine);
        assert_int_equal(w->b.result, -ESHUTDOWN);
        assert_int_equal(lease_refusal(pool), -ESHUTDOWN);
        /* What was leased may still be completed. */
        assert_int_equal(complete(&w->a, pool, 0), LEASE_DONE);
        try_until(&w->t, w->t.n_finished == 1);
        assert_int_equal(w->t.jobs[w->a.held[0].id].result, JOB_SUCCEEDED);
}

static void a_key_is_leased_one_at_a_time(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 4);
        Submission *keyed = submission();

        keyed->concurrency_key = strdup("k");
        (void) try_submit_with(&w->t, pool, keyed, TRY_ECHO, 3);
        assert_int_equal(take(&w->a, pool, 4), 1);
        wait_for(&w->b, pool, 4, USEC_INFINITY);
        assert_int_equal(w->b.n_held, 0);
        assert_int_equal(complete(&w->a, pool, 0), LEASE_DONE);
        try_until(&w->t, w->b.n_held == 1);
}

static void a_limiter_holds_leases_back(void **state) {
        World *w = *state;
        PoolConfig *config = config_of(10);
        Pool *pool;

        config->limiter_config =
                (LimiterConfig){ .rate = 2, .period = 20 * USEC_PER_MSEC, .burst = 2 };
        pool = add(w, config);
        (void) submit(w, pool, 6);
        /* Nobody waits, so no token is set aside for the pool. */
        assert_int_equal(pool_gates_credit(&pool->gates), 0);
        assert_in_range(take(&w->a, pool, 10), 2, 6);
        assert_int_equal(pool_gates_credit(&pool->gates), 0);
        while (w->t.n_finished < 6) {
                List *l;

                while ((l = list_first(&w->a.holder.leases))) {
                        Lease *lease = list_entry(l, Lease, links);

                        assert_int_equal(lease_complete(pool, &w->a.holder, lease->id, lease->token,
                                                 true, "", 0),
                                LEASE_DONE);
                }
                if (!w->a.watch.pool)
                        wait_for(&w->a, pool, 10, USEC_INFINITY);
                if (list_is_empty(&w->a.holder.leases))
                        try_turn(&w->t, w->t.n_finished < 6, "a token comes");
        }
}

static Pool *guarded_pool(World *w) {
        PoolConfig *config = config_of(10);

        config->breaker_config = (BreakerConfig) BREAKER_CONFIG_DEFAULT;
        config->breaker_config.max_failures = 2;
        config->breaker_config.reset_timeout = config->breaker_config.reset_timeout_max =
                USEC_PER_HOUR;
        config->own_breaker = config->hold_on_open = true;
        config->max_attempts = 100;
        return add(w, config);
}

static void a_breaker_learns_how_leases_end(void **state) {
        World *w = *state;
        Pool *pool = guarded_pool(w);

        freeze();
        (void) submit(w, pool, 10);
        assert_int_equal(take(&w->a, pool, 1), 1);
        consumer_gone(&w->a);
        assert_int_equal(breaker_of(pool).failures, 1);
        assert_int_equal(take(&w->a, pool, 1), 1);
        assert_int_equal(release(&w->a, pool, 0, 0), LEASE_DONE);
        assert_int_equal(breaker_of(pool).failures, 1);
        assert_int_equal(breaker_of(pool).in_flight, 0);
        assert_int_equal(take(&w->a, pool, 1), 1);
        assert_int_equal(complete(&w->a, pool, 0), LEASE_DONE);
        assert_int_equal(breaker_of(pool).failures, 0);
        assert_int_equal(take(&w->a, pool, 3), 3);
        pass(w, pool, RUN_TIMEOUT);
        assert_int_equal(breaker_of(pool).state, BREAKER_OPEN);
        assert_int_equal(take(&w->a, pool, 1), 0);
        assert_int_equal(breaker_of(pool).in_flight, 0);
}

static void a_lease_pool_may_be_a_stage(void **state) {
        World *w = *state;
        Pool *first = pool_of(w, 4), *second = try_pool(&w->t, "q", &try_singly, 1);
        Pool *const stages[] = { first, second };
        PoolPipeline *pipeline = try_pipeline(&w->t, "l", stages, 2, 100);
        uint64_t id = try_submit_item(&w->t, pipeline, TRY_ECHO);

        engine_turn(w->t.engine);
        assert_int_equal(take(&w->a, first, 1), 1);
        assert_int_equal(w->a.held[0].id, id);
        assert_int_equal(
                lease_complete(first, &w->a.holder, id, w->a.held[0].token, true, TRY_ECHO "!", 2),
                LEASE_DONE);
        try_until(&w->t, w->t.n_finished == 1);
        assert_result(w, id, JOB_SUCCEEDED);
        assert_int_equal(engine_find_job(w->t.engine, id)->size, 2);
}

static void a_call_for_all_results_gets_what_holders_say(void **state) {
        World *w = *state;
        Pool *pool = pool_of(w, 50);

        (void) try_submit_bulk(&w->t, pool, TRY_ECHO, 100);
        w->t.several_lives = true;
        while (w->t.n_done == 0) {
                size_t n = take(&w->a, pool, 7);

                for (size_t i = 0; i < n; i++)
                        if (i == 3 && w->a.held[i].attempt == 1)
                                assert_int_equal(release(&w->a, pool, i, 0), LEASE_DONE);
                        else if (i == 4)
                                assert_int_equal(fail_it(&w->a, pool, i, false), LEASE_DONE);
                        else
                                assert_int_equal(complete(&w->a, pool, i), LEASE_DONE);
                if (view_of(pool).counters.results[JOB_FAILED] +
                                view_of(pool).counters.results[JOB_SUCCEEDED] ==
                        100)
                        break;
        }
        try_until(&w->t, w->t.n_done == 1);
}

/* ---- a random history ---- */

#define N_CONSUMERS 6
#define N_STEPS 40000
#define MAX_ATTEMPTS 3
#define HISTORY_JOBS 60000

typedef struct ModelJob {
        enum { NOWHERE, WAITS, LEASED, ENDED } state;
        JobResult result; /* of an ended one */
        unsigned holder;
        uint64_t token;
        uint32_t attempts, asked;
        bool stopping;
        usec_t deadline;
} ModelJob;

static struct {
        ModelJob jobs[HISTORY_JOBS];
        Consumer consumers[N_CONSUMERS];
        uint64_t waits[N_CONSUMERS]; /* ticket of the consumer in the line; 0 = not in it */
        usec_t waits_until[N_CONSUMERS];
        uint64_t last_ticket;
        uint64_t seed;
        uint64_t n_leased;
        bool stop_is_expected;
} model;

static uint64_t next(uint64_t bound) {
        model.seed ^= model.seed << 13;
        model.seed ^= model.seed >> 7;
        model.seed ^= model.seed << 17;
        return model.seed % bound;
}

static unsigned number_of(const Consumer *c) {
        return (unsigned) (c - model.consumers);
}

/* The engine hands out a job. */
static void on_given(Consumer *c, const Held *held) {
        ModelJob *job = &model.jobs[held->id];

        assert_int_equal(job->state, WAITS);
        assert_int_equal(held->attempt, job->attempts + 1);
        job->state = LEASED;
        job->holder = number_of(c);
        job->token = held->token;
        job->stopping = false;
        job->deadline = frozen_at + RUN_TIMEOUT;
        model.n_leased++;
}

static void on_told(Consumer *c, uint64_t id, uint64_t token) {
        assert_true(model.stop_is_expected);
        model.stop_is_expected = false;
        assert_int_equal(model.jobs[id].holder, number_of(c));
        assert_int_equal(model.jobs[id].token, token);
        assert_int_equal(model.jobs[id].state, LEASED);
}

static void on_answer(LeaseWatch *watch, int result, Lease *const *leases, size_t n) {
        Consumer *c = container_of(watch, Consumer, watch);
        unsigned i = number_of(c);

        assert_int_equal(result, 0);
        assert_int_not_equal(model.waits[i], 0);
        for (unsigned k = 0; k < N_CONSUMERS && n > 0; k++)
                assert_true(model.waits[k] == 0 || model.waits[k] >= model.waits[i]);
        if (n == 0)
                assert_true(model.waits_until[i] <= frozen_at);
        model.waits[i] = 0;
        c->n_held = 0;
        keep(c, leases, n);
}

static void model_end(ModelJob *job, JobResult result) {
        job->state = ENDED;
        job->result = result;
}

/* An attempt has ended without a success. */
static void model_failed(ModelJob *job, bool fatal, bool asks, JobResult final) {
        job->attempts++;
        job->asked += asks;
        if (job->stopping)
                model_end(job, final == JOB_LOST && !asks ? JOB_LOST : JOB_CANCELLED);
        else if (!fatal && (job->attempts < MAX_ATTEMPTS || (asks && job->asked <= 3)))
                job->state = WAITS;
        else
                model_end(job, final);
}

/* Some job that is leased; 0 = none was found. */
static uint64_t some_leased(uint64_t last) {
        for (unsigned i = 0; i < 200 && last > 0; i++) {
                uint64_t id = last - next(MIN(last, UINT64_C(150)));

                if (model.jobs[id].state == LEASED)
                        return id;
        }
        return 0;
}

static void expire(uint64_t last) {
        for (uint64_t id = 1; id <= last; id++) {
                ModelJob *job = &model.jobs[id];

                if (job->state == LEASED && job->deadline <= frozen_at)
                        model_failed(job, false, false, job->stopping ? JOB_LOST : JOB_TIMED_OUT);
        }
}

static void step(World *w, Pool *pool, uint64_t *last) {
        unsigned i = (unsigned) next(N_CONSUMERS);
        Consumer *c = &model.consumers[i];
        uint64_t id = some_leased(*last);
        ModelJob *job = &model.jobs[id];
        LeaseHolder *holder = &model.consumers[job->holder].holder;

        switch (next(12)) {

        case 0:
        case 1: {
                size_t n = 1 + next(4);

                if (*last + n >= HISTORY_JOBS)
                        break;
                for (size_t k = 1; k <= n; k++)
                        model.jobs[*last + k] = (ModelJob){ .state = WAITS };
                assert_int_equal(
                        try_submit_with(&w->t, pool, submission(), TRY_ECHO, n), *last + 1);
                *last += n;
                break;
        }

        case 2:
        case 3:
                if (model.waits[i] == 0)
                        (void) take(c, pool, 1 + next(5));
                break;

        case 4:
                if (model.waits[i] > 0)
                        break;
                model.waits[i] = ++model.last_ticket;
                model.waits_until[i] = frozen_at + 1 + next(20 * SEC);
                lease_wait(pool, &c->holder, 1 + next(5), model.waits_until[i] - frozen_at,
                        &c->watch, on_answer);
                break;

        case 5:
        case 6:
                if (id == 0)
                        break;
                assert_int_equal(
                        lease_complete(pool, holder, id, job->token + 1, true, "", 0), LEASE_STALE);
                job->attempts++;
                model_end(job, JOB_SUCCEEDED);
                assert_int_equal(
                        lease_complete(pool, holder, id, job->token, true, "ok", 2), LEASE_DONE);
                break;

        case 7: {
                bool fatal = next(4) == 0;

                if (id == 0)
                        break;
                model_failed(job, fatal, false, JOB_FAILED);
                assert_int_equal(lease_fail(pool, holder, id, job->token, fatal, "no"), LEASE_DONE);
                break;
        }

        case 8:
                if (id == 0)
                        break;
                if (job->stopping)
                        model_end(job, JOB_CANCELLED);
                else
                        job->state = WAITS;
                assert_int_equal(
                        lease_release(pool, holder, id, job->token, next(3) * SEC), LEASE_DONE);
                break;

        case 9: {
                bool stopping = job->stopping;

                if (id == 0)
                        break;
                if (stopping)
                        model_failed(job, false, false, JOB_CANCELLED);
                else
                        job->deadline = frozen_at + RUN_TIMEOUT;
                assert_int_equal(lease_touch(pool, holder, id, job->token),
                        stopping ? LEASE_CANCELLED : LEASE_DONE);
                break;
        }

        case 10: {
                uint64_t any = *last > 0 ? 1 + next(*last) : 0;
                ModelJob *victim = &model.jobs[next(2) && id > 0 ? (any = id) : any];
                bool was_leased = victim->state == LEASED;

                /* A holder that has gone takes all of its leases with it. */
                if (next(8) == 0) {
                        model.waits[i] = 0;
                        lease_unwatch(&c->watch);
                        for (uint64_t k = 1; k <= *last; k++)
                                if (model.jobs[k].state == LEASED && model.jobs[k].holder == i)
                                        model_failed(&model.jobs[k], false, true, JOB_LOST);
                        lease_holder_gone(&c->holder);
                        break;
                }
                if (any == 0 || victim->state == ENDED)
                        break;
                if (was_leased && !victim->stopping) {
                        model.stop_is_expected = true;
                        victim->stopping = true;
                        victim->deadline = frozen_at + STOP_TIMEOUT;
                } else if (!was_leased)
                        model_end(victim, JOB_CANCELLED);
                (void) cancel(w, any);
                assert_false(model.stop_is_expected);
                break;
        }

        default: {
                usec_t span = next(3 * SEC);

                frozen_at += span;
                expire(*last);
                pass(w, pool, 0);
                for (unsigned k = 0; k < N_CONSUMERS; k++)
                        if (model.waits[k] > 0)
                                assert_true(model.waits_until[k] > frozen_at);
                break;
        }
        }
}

static void nothing_is_lost_and_nothing_leased_twice(void **state) {
        World *w = *state;
        PoolConfig *config = config_of(20);
        uint64_t last = 0;
        uint32_t n_slots = 20;
        Pool *pool;

        memset(&model, 0, sizeof(model));
        model.seed = 0x9e3779b97f4a7c15;
        config->max_attempts = MAX_ATTEMPTS;
        config->result_retention_max = HISTORY_JOBS;
        config->result_retention = USEC_INFINITY;
        freeze();
        pool = add(w, config);
        w->t.several_lives = true;
        for (unsigned i = 0; i < N_CONSUMERS; i++) {
                consumer_init(&model.consumers[i]);
                model.consumers[i].given = on_given;
                model.consumers[i].told = on_told;
        }

        for (unsigned i = 0; i < N_STEPS; i++) {
                step(w, pool, &last);
                if (next(4) == 0)
                        engine_turn(w->t.engine);
                if (i % 100 == 0) {
                        PoolView view;

                        engine_turn(w->t.engine);
                        try_assert_adds_up(pool);
                        pool_view(pool, &view);
                        assert_true(view.n_busy <= 40);
                        assert_int_equal(view.n_busy, view.n_running);
                }
                if (i % 1000 == 999) {
                        n_slots = 10 + (uint32_t) next(30);
                        resize(w, pool, n_slots);
                }
        }

        /* All that is left comes to its end. */
        for (unsigned i = 0; i < N_CONSUMERS; i++) {
                model.waits[i] = 0;
                lease_unwatch(&model.consumers[i].watch);
        }
        frozen_at += USEC_PER_HOUR;
        expire(last);
        pass(w, pool, 0);
        for (unsigned rounds = 0; take(&model.consumers[0], pool, 10) > 0; rounds++) {
                assert_true(rounds < HISTORY_JOBS);
                for (size_t i = 0; i < model.consumers[0].n_held; i++) {
                        model_end(&model.jobs[model.consumers[0].held[i].id], JOB_SUCCEEDED);
                        assert_int_equal(complete(&model.consumers[0], pool, i), LEASE_DONE);
                }
                engine_turn(w->t.engine);
        }
        engine_turn(w->t.engine);
        assert_int_equal(view_of(pool).counters.submitted, last);
        for (uint64_t id = 1; id <= last; id++) {
                assert_int_equal(model.jobs[id].state, ENDED);
                assert_int_equal(w->t.jobs[id].n_finished, 1);
                assert_int_equal(w->t.jobs[id].result, model.jobs[id].result);
        }
        try_assert_adds_up(pool);
        /* The history is worth something. */
        assert_true(model.n_leased > N_STEPS / 8);
        for (JobResult r = 0; r < _JOB_RESULT_MAX; r++)
                if (r != JOB_EXPIRED && r != JOB_DROPPED && r != JOB_REFUSED)
                        assert_true(view_of(pool).counters.results[r] > 0);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(a_job_is_leased_and_completed),
                TEST(no_more_than_max_and_no_more_than_slots_are_leased),
                TEST(the_most_urgent_is_leased_first),
                TEST(a_call_gets_no_more_bytes_than_a_reply_may_have),
                TEST(one_job_of_any_size_can_be_leased),
                TEST(a_call_waits_for_one_job_and_gets_all_that_are_there),
                TEST(who_came_first_is_answered_first),
                TEST(nobody_passes_those_who_wait),
                TEST(a_call_that_waits_in_vain_gets_nothing),
                TEST(the_timer_ends_a_wait),
                TEST(who_goes_waits_no_more),
                TEST(a_slot_that_becomes_free_serves_who_waits),
                TEST(only_who_waits_keeps_a_slot_idle),
                TEST(a_lease_is_its_holders_alone_and_once),
                TEST(the_same_job_has_another_token_with_each_lease),
                TEST(each_end_has_its_result),
                TEST(a_failure_is_retried_unless_it_is_fatal),
                TEST(a_released_job_comes_back_after_the_delay_without_an_attempt),
                TEST(a_released_job_keeps_its_place),
                TEST(a_released_job_is_at_once_for_who_waits),
                TEST(a_released_job_does_not_expire),
                TEST(a_touched_lease_lives_on),
                TEST(a_lease_out_of_its_time_is_for_others_at_once),
                TEST(the_timer_ends_a_lease),
                TEST(a_touch_brings_a_run_time_out_that_is_shorter_by_now),
                TEST(what_a_gone_holder_had_is_tried_again_three_times_and_is_lost_then),
                TEST(a_gone_holder_leaves_nothing_leased),
                TEST(the_holder_hears_of_a_cancel),
                TEST(each_end_of_a_cancelled_lease_has_its_result),
                TEST(a_paused_pool_leases_nothing),
                TEST(max_workers_changes_what_can_be_leased),
                TEST(who_waits_at_a_pool_that_goes_is_told_so),
                TEST(a_pool_removed_by_force_asks_for_its_jobs),
                TEST(who_waits_when_the_daemon_stops_is_told_so),
                TEST(a_key_is_leased_one_at_a_time),
                TEST(a_limiter_holds_leases_back),
                TEST(a_breaker_learns_how_leases_end),
                TEST(a_lease_pool_may_be_a_stage),
                TEST(a_call_for_all_results_gets_what_holders_say),
                TEST(nothing_is_lost_and_nothing_leased_twice),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
