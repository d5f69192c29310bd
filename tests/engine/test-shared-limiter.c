/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pools and other callers that share a limiter, with real timers. Bounds on time are those that
 * hold however slow the machine is: never too early, never for ever. */

#include "try.h"

#include <string.h>

#include "core/random.h"
#include "engine/limiter-config.h"
#include "engine/shared-breaker.h"

#define RARELY ((LimiterConfig){ .rate = 1, .period = USEC_PER_HOUR, .burst = 1 })

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

static SharedLimiter *add(Try *t, const char *name, LimiterConfig config) {
        SharedLimiter *limiter;

        assert_int_equal(engine_add_limiter(t->engine, name, &config, &limiter), 0);
        return limiter;
}

static SharedLimiter *add_rarely(Try *t, uint64_t burst) {
        LimiterConfig config = RARELY;

        config.burst = burst;
        return add(t, "l", config);
}

static Pool *limited_pool(Try *t, const char *name, const HandlerVTable *handler, uint32_t n) {
        PoolConfig *config = try_config(name, handler, n);
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        config->limiter = strdup("l");
        assert_non_null(config->limiter);
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        return pool;
}

static LimiterView look(SharedLimiter *limiter) {
        LimiterView view;

        shared_limiter_view(limiter, &view);
        return view;
}

static const char *pending_reason(Try *t, uint64_t id) {
        Job *job = engine_find_job(t->engine, id);
        JobView view;

        assert_non_null(job);
        pool_job_view(job_pool(job), job, &view);
        return view.pending_reason;
}

static const char *pool_pending_reason(Pool *pool) {
        PoolView view;

        pool_view(pool, &view);
        return view.pending_reason;
}

static uint32_t n_busy(Pool *pool) {
        PoolView view;

        pool_view(pool, &view);
        return view.n_busy;
}

static bool waits_for_rate(Try *t, uint64_t id) {
        return strcmp(pending_reason(t, id), "rate") == 0;
}

/* For what a worker does without telling main: looks again and again. */
#define await(t, condition)                                                        \
        do {                                                                       \
                usec_t patience = usec_now(CLOCK_MONOTONIC) + USEC_PER_MINUTE;     \
                while (!(condition)) {                                             \
                        assert_true(usec_now(CLOCK_MONOTONIC) < patience);         \
                        engine_turn((t)->engine);                                  \
                        assert_true(sd_event_run((t)->event, USEC_PER_MSEC) >= 0); \
                        engine_turn((t)->engine);                                  \
                }                                                                  \
        } while (0)

/* More than a second's worth of tokens at once. */
static void make_generous(Try *t, SharedLimiter *limiter) {
        engine_set_limiter(t->engine, limiter,
                &(LimiterConfig){ .rate = 1000000, .period = USEC_PER_SEC, .burst = 1000 });
}

/* An Acquire that counts how it ended. */
typedef struct Wish {
        AcquireWatch watch;
        int result;
        unsigned n_done, place;
        unsigned *n_served;
} Wish;

static void on_wish_done(AcquireWatch *watch, int result) {
        Wish *wish = container_of(watch, Wish, watch);

        wish->result = result;
        wish->n_done++;
        if (wish->n_served)
                wish->place = ++*wish->n_served;
}

static int make_wish(Wish *wish, SharedLimiter *limiter, uint64_t n) {
        acquire_watch_init(&wish->watch, on_wish_done);
        return shared_limiter_acquire(limiter, n, &wish->watch);
}

/* ---- pools ---- */

static void jobs_pass_at_the_rate_and_not_before(void **state) {
        Try *t = *state;
        const LimiterConfig config = { .rate = 2000, .period = USEC_PER_SEC, .burst = 10 };
        SharedLimiter *limiter = add(t, "l", config);
        Pool *pool = limited_pool(t, "p", &try_several, 2);
        usec_t start = usec_now(CLOCK_MONOTONIC);

        (void) try_submit(t, pool, TRY_ECHO, 610);
        try_until(t, t->n_finished == 610);
        assert_true(usec_now(CLOCK_MONOTONIC) - start >= 300 * USEC_PER_MSEC);
        assert_int_equal(look(limiter).granted, 610);
        assert_int_equal(look(limiter).n_waiters, 0);
}

/* A worker that waits for its locks may have read the clock long ago. */
static void tokens_are_those_of_the_moment_at_which_the_limiter_is_locked(void **state) {
        const LimiterConfig config = { .rate = 2000, .period = USEC_PER_SEC, .burst = 10 };
        SharedLimiter *limiter = add(*state, "l", config);
        usec_t read_at = limiter->limiter.latest, locked_at;
        uint64_t permits[1];
        PoolGates gates;
        GateTurn turn;

        pool_gates_init(&gates, limiter, NULL);
        do
                locked_at = usec_now(CLOCK_MONOTONIC);
        while (locked_at == read_at);
        assert_int_equal(gate_turn_init(&turn, &gates, permits)->pass(&turn, NULL, read_at), 0);
        gate_turn_done(&turn);
        assert_true(limiter->limiter.latest >= locked_at);
        pool_gates_done(&gates);
}

static void a_job_without_a_token_holds_no_worker(void **state) {
        Try *t = *state;
        SharedLimiter *limiter = add_rarely(t, 1);
        Pool *pool = limited_pool(t, "p", &try_singly, 1);
        uint64_t id = try_submit(t, pool, TRY_ECHO, 4);
        Submission *urgent = try_submission();

        await(t, t->n_finished == 1 && waits_for_rate(t, id + 1));
        assert_string_equal(pending_reason(t, id + 2), "priority");
        await(t, n_busy(pool) == 0);
        assert_int_equal(look(limiter).n_waiters, 1);

        /* So a more urgent one is first when the token comes. */
        urgent->priority = 10;
        id = try_submit_with(t, pool, urgent, TRY_ECHO, 1);
        assert_string_equal(pending_reason(t, id), "rate");
        make_generous(t, limiter);
        try_until(t, t->n_finished == 5);
        {
                uint64_t order[5];

                assert_int_equal(try_order(order, 5), 5);
                assert_int_equal(order[1], id);
        }
        assert_int_equal(look(limiter).granted, 5);
}

static void all_idle_workers_get_work_as_tokens_come(void **state) {
        Try *t = *state;
        SharedLimiter *limiter = add_rarely(t, 1);
        Pool *pool = limited_pool(t, "p", &try_singly, 3);
        uint64_t id = try_submit(t, pool, TRY_GATE(0), 1);

        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        /* The line is joined for one job; the others come while it waits. */
        id = try_submit(t, pool, TRY_GATE(0), 1);
        await(t, waits_for_rate(t, id));
        (void) try_submit(t, pool, TRY_GATE(0), 1);
        make_generous(t, limiter);
        await(t, gate_n_begun(0) == 3);
        gate_open(0);
        try_until(t, t->n_finished == 3);
}

static void a_pause_leaves_the_line_and_a_resume_joins_it(void **state) {
        Try *t = *state;
        SharedLimiter *limiter = add_rarely(t, 1);
        Pool *pool = limited_pool(t, "p", &try_singly, 1);
        uint64_t id = try_submit(t, pool, TRY_ECHO, 2);

        await(t, t->n_finished == 1 && look(limiter).n_waiters == 1);
        assert_string_equal(pool_pending_reason(pool), "rate");
        engine_pause_pool(t->engine, pool, true);
        assert_int_equal(look(limiter).n_waiters, 0);
        assert_string_equal(pending_reason(t, id + 1), "paused");
        assert_string_equal(pool_pending_reason(pool), "paused");
        engine_pause_pool(t->engine, pool, false);
        await(t, look(limiter).n_waiters == 1);
        make_generous(t, limiter);
        try_until(t, t->n_finished == 2);
        assert_string_equal(pool_pending_reason(pool), "");
}

static void a_queue_that_becomes_empty_leaves_the_line(void **state) {
        Try *t = *state;
        SharedLimiter *limiter = add_rarely(t, 1);
        Pool *pool = limited_pool(t, "p", &try_singly, 1);
        Submission *short_lived = try_submission();
        uint64_t id;

        (void) try_submit(t, pool, TRY_ECHO, 1);
        try_until(t, t->n_finished == 1);
        id = try_submit(t, pool, TRY_ECHO, 1);
        await(t, look(limiter).n_waiters == 1);
        assert_int_equal(pool_cancel(pool, engine_find_job(t->engine, id)), CANCEL_FINISHED);
        assert_int_equal(look(limiter).n_waiters, 0);

        short_lived->queue_timeout = 50 * USEC_PER_MSEC;
        id = try_submit_with(t, pool, short_lived, TRY_ECHO, 1);
        await(t, look(limiter).n_waiters == 1);
        try_until(t, t->n_finished == 3);
        assert_int_equal(try_result(t, id), JOB_EXPIRED);
        assert_int_equal(look(limiter).n_waiters, 0);
        assert_int_equal(look(limiter).granted, 1);
}

/* The pool has a token set aside and its worker is not awake yet. */
static void credit_that_has_no_use_goes_to_who_is_next(void **state) {
        Try *t = *state;
        SharedLimiter *limiter = add_rarely(t, 1);
        Pool *pool = limited_pool(t, "p", &try_singly, 1);
        uint64_t credit = 0;
        Wish wish = {};

        shared_limiter_hold(limiter, USEC_INFINITY);
        (void) try_submit(t, pool, TRY_ECHO, 1);
        await(t, look(limiter).n_waiters == 1);
        assert_int_equal(make_wish(&wish, limiter, 1), 1);
        shared_limiter_hold(limiter, 0);
        while (credit == 0) {
                assert_true(sd_event_run(t->event, USEC_PER_MINUTE) > 0);
                pool_lock(pool);
                credit = pool_gates_credit(&pool->gates);
                pool_unlock(pool);
        }
        assert_int_equal(wish.n_done, 0);
        engine_pause_pool(t->engine, pool, true);
        try_until(t, wish.n_done == 1);
        assert_int_equal(wish.result, 0);
        assert_int_equal(look(limiter).granted, 1);
}

static void nobody_waits_behind_a_pool_that_is_removed(void **state) {
        Try *t = *state;
        SharedLimiter *limiter = add_rarely(t, 1);
        Pool *a = limited_pool(t, "a", &try_singly, 1), *b = limited_pool(t, "b", &try_singly, 1);

        (void) try_submit(t, a, TRY_ECHO, 3);
        await(t, t->n_finished == 1 && look(limiter).n_waiters == 1);
        (void) try_submit(t, b, TRY_ECHO, 1);
        await(t, look(limiter).n_waiters == 2);
        assert_int_equal(engine_remove_pool(t->engine, a, /* cancel= */ true, NULL), 0);
        try_until(t, t->n_pools_removed == 1);
        assert_int_equal(look(limiter).n_waiters, 1);
        assert_int_equal(limiter->n_users, 1);
        make_generous(t, limiter);
        try_until(t, t->n_finished == 4);
        assert_int_equal(look(limiter).granted, 2);
}

static void what_is_taken_back_gives_its_tokens_back(void **state) {
        Try *t = *state;
        SharedLimiter *limiter = add_rarely(t, 11);
        Pool *pool = limited_pool(t, "p", &try_several, 1);

        engine_pause_pool(t->engine, pool, true);
        (void) try_submit(t, pool, TRY_GATE(0), 1);
        (void) try_submit(t, pool, TRY_ECHO, 10);
        try_pretend_short(pool);
        engine_pause_pool(t->engine, pool, false);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(look(limiter).tokens, 0);
        engine_pause_pool(t->engine, pool, true);
        assert_int_equal(look(limiter).tokens, 10);
        assert_int_equal(look(limiter).granted, 1);
        engine_pause_pool(t->engine, pool, false);
        gate_open(0);
        try_until(t, t->n_finished == 11);
        assert_int_equal(look(limiter).tokens, 0);
        assert_int_equal(look(limiter).granted, 11);
}

static Pool *doubly_gated_pool(Try *t, const char *name) {
        PoolConfig *config = try_config(name, &try_several, 2);
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        config->limiter = strdup("l");
        config->breaker = strdup("b");
        assert_non_null(config->limiter);
        assert_non_null(config->breaker);
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        return pool;
}

static void turns_of_several_jobs_pass_both_gates_job_by_job(void **state) {
        Try *t = *state;
        const BreakerConfig config = {
                .window_size = 20,
                .half_open_probes = 1,
                .successes_to_close = 1,
        };
        SharedLimiter *limiter = add_rarely(t, 600);
        SharedBreaker *breaker;
        BreakerView view;
        Pool *pools[2];

        assert_int_equal(engine_add_breaker(t->engine, "b", &config, &breaker), 0);
        for (unsigned i = 0; i < ELEMENTSOF(pools); i++) {
                pools[i] = doubly_gated_pool(t, i == 0 ? "p" : "q");
                engine_pause_pool(t->engine, pools[i], true);
                (void) try_submit(t, pools[i], TRY_ECHO, 400);
                try_pretend_short(pools[i]);
        }
        for (unsigned i = 0; i < ELEMENTSOF(pools); i++)
                engine_pause_pool(t->engine, pools[i], false);

        try_until(t, t->n_finished == 600);
        assert_int_equal(look(limiter).granted, 600);
        assert_int_equal(look(limiter).tokens, 0);
        shared_breaker_view(breaker, &view);
        assert_int_equal(view.in_flight, 0);
        assert_int_equal(breaker->breaker.n_succeeded, 600);

        make_generous(t, limiter);
        try_until(t, t->n_finished == 800);
        assert_int_equal(look(limiter).granted, 800);
        shared_breaker_view(breaker, &view);
        assert_int_equal(view.in_flight, 0);
        assert_int_equal(breaker->breaker.n_succeeded, 800);
}

static void a_pools_own_limiter_comes_and_goes_with_it(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 1);
        _cleanup_free_ char *error = NULL;
        SharedLimiter *limiter;
        Pool *pool;

        config->limiter_config = (LimiterConfig){ .rate = 50, .period = USEC_PER_SEC };
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        limiter = engine_find_limiter(t->engine, "p");
        assert_non_null(limiter);
        assert_int_equal(look(limiter).tokens, 50);
        assert_int_equal(engine_remove_limiter(t->engine, limiter), -EBUSY);

        config = try_config("q", &try_singly, 1);
        config->limiter = strdup("p");
        assert_int_equal(engine_add_pool(t->engine, config, NULL, &error), -EINVAL);
        assert_string_equal(error, "Limiter: there is no limiter \"p\" but that of a pool");
        pool_config_free(config);

        assert_int_equal(engine_remove_pool(t->engine, pool, false, NULL), 0);
        try_until(t, t->n_pools_removed == 1);
        assert_null(engine_find_limiter(t->engine, "p"));
}

/* ---- others ---- */

static void acquires_are_served_in_order(void **state) {
        Try *t = *state;
        const LimiterConfig config = { .rate = 1000, .period = USEC_PER_SEC, .burst = 5 };
        SharedLimiter *limiter = add(t, "l", config);
        unsigned n_served = 0;
        Wish wishes[4] = {};
        usec_t wait;

        assert_int_equal(make_wish(&wishes[0], limiter, 5), 0);
        for (unsigned i = 0; i < 4; i++) {
                wishes[i] = (Wish){ .n_served = &n_served };
                assert_int_equal(make_wish(&wishes[i], limiter, 5 - i), 1);
        }
        /* The small one does not pass the large ones, and neither does who does not wait. */
        assert_int_equal(shared_limiter_try(limiter, 1, &wait), LIMITER_WAIT);
        assert_true(wait > 0 && wait <= 20 * USEC_PER_MSEC);
        acquire_leave(&wishes[1].watch);
        try_until(t, n_served == 3);
        assert_int_equal(wishes[0].place, 1);
        assert_int_equal(wishes[2].place, 2);
        assert_int_equal(wishes[3].place, 3);
        assert_int_equal(wishes[1].n_done, 0);
        assert_int_equal(look(limiter).granted, 5 + 5 + 3 + 2);
        assert_int_equal(look(limiter).n_waiters, 0);
        acquire_leave(&wishes[3].watch);
        assert_int_equal(make_wish(&wishes[0], limiter, 6), -EMSGSIZE);
}

static void an_acquire_ends_with_a_smaller_burst_and_with_the_limiter(void **state) {
        Try *t = *state;
        SharedLimiter *limiter = add_rarely(t, 5);
        Wish wishes[3] = {};

        assert_int_equal(make_wish(&wishes[0], limiter, 5), 0);
        assert_int_equal(make_wish(&wishes[1], limiter, 1), 1);
        assert_int_equal(make_wish(&wishes[2], limiter, 4), 1);
        engine_set_limiter(t->engine, limiter, &RARELY);
        try_until(t, wishes[2].n_done == 1);
        assert_int_equal(wishes[2].result, -EMSGSIZE);
        assert_int_equal(wishes[1].n_done, 0);
        assert_int_equal(engine_remove_limiter(t->engine, limiter), 0);
        assert_int_equal(wishes[1].n_done, 1);
        assert_int_equal(wishes[1].result, -ECANCELED);
}

static void a_drain_empties_and_a_hold_stops_it(void **state) {
        Try *t = *state;
        const LimiterConfig config = { .rate = 1000, .period = USEC_PER_SEC };
        SharedLimiter *limiter = add_rarely(t, 5);
        Wish wish = {};
        usec_t start, wait;

        assert_int_equal(look(limiter).tokens, 5);
        shared_limiter_drain(limiter);
        assert_int_equal(look(limiter).tokens, 0);

        limiter = add(t, "quick", config);
        start = usec_now(CLOCK_MONOTONIC);
        shared_limiter_hold(limiter, 30 * USEC_PER_MSEC);
        assert_int_equal(look(limiter).tokens, 0);
        assert_int_equal(shared_limiter_try(limiter, 1, &wait), LIMITER_WAIT);
        assert_int_equal(look(limiter).denied, 1);
        assert_int_equal(make_wish(&wish, limiter, 1), 1);
        try_until(t, wish.n_done == 1);
        assert_true(usec_now(CLOCK_MONOTONIC) - start >= 30 * USEC_PER_MSEC);

        shared_limiter_hold(limiter, USEC_INFINITY);
        assert_int_equal(shared_limiter_try(limiter, 1, &wait), LIMITER_WAIT);
        assert_int_equal(wait, USEC_INFINITY);
        assert_int_equal(make_wish(&wish, limiter, 1), 1);
        shared_limiter_hold(limiter, 0);
        try_until(t, wish.n_done == 2);
}

/* ---- all at once ---- */

#define N_POOLS 3
#define N_STEPS 1500

typedef struct Trouble {
        Try *t;
        uint64_t random;
        SharedLimiter *limiter;
        Pool *pools[N_POOLS];
        uint64_t n_submitted;
        uint64_t n_run; /* jobs that were begun, of those that were counted */
        uint64_t granted_by_wish;
} Trouble;

static uint64_t pick(Trouble *trouble, uint64_t n) {
        return random_below(&trouble->random, n);
}

static void count_runs(Trouble *trouble) {
        static uint64_t order[TRY_JOBS_MAX];

        trouble->n_run += try_order(order, TRY_JOBS_MAX);
}

static void resize(Trouble *trouble, Pool *pool) {
        PoolConfig *config;

        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->min_workers = 1;
        config->max_workers = (uint32_t) (1 + pick(trouble, 4));
        assert_int_equal(engine_set_pool(trouble->t->engine, pool, config), 0);
        pool_config_free(config);
}

/* The pool of that index is removed, with what it has, and made anew. */
static void replace(Trouble *trouble, unsigned i) {
        static const char *const names[N_POOLS] = { "a", "b", "c" };
        Try *t = trouble->t;
        unsigned n_removed = t->n_pools_removed;

        if (trouble->pools[i]) {
                assert_int_equal(
                        engine_remove_pool(t->engine, trouble->pools[i], pick(trouble, 2), NULL),
                        0);
                engine_pause_pool(t->engine, trouble->pools[i], false);
                try_until(t, t->n_pools_removed > n_removed);
        }
        trouble->pools[i] = limited_pool(t, names[i], i == 0 ? &try_singly : &try_several,
                (uint32_t) (1 + pick(trouble, 3)));
}

static void step(Trouble *trouble) {
        Try *t = trouble->t;
        unsigned i = (unsigned) pick(trouble, N_POOLS);
        Pool *pool = trouble->pools[i];
        uint64_t n = 1 + pick(trouble, 40);
        usec_t wait;

        switch (pick(trouble, 12)) {

        case 0:
        case 1:
        case 2:
        case 3:
                (void) try_submit(t, pool, TRY_ECHO, n);
                trouble->n_submitted += n;
                break;

        case 4:
                engine_pause_pool(t->engine, pool, true);
                break;

        case 5:
        case 6:
                engine_pause_pool(t->engine, pool, false);
                break;

        case 7:
                resize(trouble, pool);
                break;

        case 8:
                if (pick(trouble, 8) == 0)
                        replace(trouble, i);
                break;

        case 9:
                if (shared_limiter_try(trouble->limiter, 1 + n % 3, &wait) == LIMITER_TAKEN)
                        trouble->granted_by_wish += 1 + n % 3;
                break;

        case 10:
                shared_limiter_hold(trouble->limiter, n * 10);
                break;

        case 11:
                if (pick(trouble, 4) == 0)
                        shared_limiter_drain(trouble->limiter);
                break;
        }
        engine_turn(t->engine);
        assert_true(sd_event_run(t->event, pick(trouble, 2) * 200) >= 0);
        engine_turn(t->engine);
}

static void no_token_is_lost_or_made_and_nobody_hangs(void **state) {
        const LimiterConfig config = { .rate = 20000, .period = USEC_PER_SEC, .burst = 30 };
        usec_t start = usec_now(CLOCK_MONOTONIC);
        Trouble trouble = { .t = *state, .random = 7 };
        Try *t = trouble.t;
        LimiterView view;

        trouble.limiter = add(t, "l", config);
        for (unsigned i = 0; i < N_POOLS; i++)
                replace(&trouble, i);
        for (unsigned i = 0; i < N_STEPS; i++)
                step(&trouble);
        for (unsigned i = 0; i < N_POOLS; i++)
                engine_pause_pool(t->engine, trouble.pools[i], false);
        try_until(t, t->n_finished == trouble.n_submitted);
        count_runs(&trouble);
        view = look(trouble.limiter);
        assert_int_equal(view.granted, trouble.n_run + trouble.granted_by_wish);
        assert_int_equal(view.n_waiters, 0);
        assert_true(
                (double) view.granted <= 30 + 0.02 * (double) (usec_now(CLOCK_MONOTONIC) - start));

        /* What is not used is there again. */
        engine_set_limiter(t->engine, trouble.limiter, &config);
        pool_lock(trouble.pools[0]);
        assert_false(trouble.pools[0]->gates.engaged);
        pool_unlock(trouble.pools[0]);
        assert_int_equal(trouble.limiter->limiter.credit, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(jobs_pass_at_the_rate_and_not_before),
                TEST(tokens_are_those_of_the_moment_at_which_the_limiter_is_locked),
                TEST(a_job_without_a_token_holds_no_worker),
                TEST(all_idle_workers_get_work_as_tokens_come),
                TEST(a_pause_leaves_the_line_and_a_resume_joins_it),
                TEST(a_queue_that_becomes_empty_leaves_the_line),
                TEST(credit_that_has_no_use_goes_to_who_is_next),
                TEST(nobody_waits_behind_a_pool_that_is_removed),
                TEST(what_is_taken_back_gives_its_tokens_back),
                TEST(turns_of_several_jobs_pass_both_gates_job_by_job),
                TEST(a_pools_own_limiter_comes_and_goes_with_it),
                TEST(acquires_are_served_in_order),
                TEST(an_acquire_ends_with_a_smaller_burst_and_with_the_limiter),
                TEST(a_drain_empties_and_a_hold_stops_it),
                TEST(no_token_is_lost_or_made_and_nobody_hangs),
#undef TEST
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
