/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Three pools behind one limiter and one breaker, on real threads and timers: submits that fail and
 * are tried again, full queues, cancels, pauses, sizes, removals, other rates, holds, and callers
 * without a pool, at random. No token is lost or made, each job ends once, and nobody hangs.
 * SLUICE_SEED repeats the steps of a run (what the threads make of them is theirs), SLUICE_STEPS
 * makes it longer. */

#include "try.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "engine/breaker-config.h"

#define N_POOLS 3
#define N_WISHES 4
#define N_PERMITS 2
#define RATE_MAX 50000
#define BURST_MAX 40

/* Threads are some ten times slower under a sanitizer. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STEPS 1500
#else
#define STEPS 6000
#endif

typedef struct Storm Storm;

typedef struct Wish {
        AcquireWatch watch;
        Storm *storm;
        uint64_t n;
} Wish;

typedef struct Slot {
        PoolWatch removal;
        Storm *storm;
        Pool *pool; /* NULL = it is gone */
        bool removing;
} Slot;

struct Storm {
        Try try;
        uint64_t random;
        SharedLimiter *limiter;
        SharedBreaker *breaker;
        Slot slots[N_POOLS];
        Wish wishes[N_WISHES];
        BreakerPermit permits[N_PERMITS];
        unsigned n_pools, n_accepted;
        uint64_t n_acquired; /* tokens */
};

static uint64_t below(Storm *s, uint64_t n) {
        return random_below(&s->random, n);
}

static LimiterConfig any_limit(Storm *s) {
        return (LimiterConfig){
                .rate = 2000 + below(s, RATE_MAX - 2000),
                .period = USEC_PER_SEC,
                .burst = 5 + below(s, BURST_MAX - 4),
        };
}

static BreakerConfig any_breaker(Storm *s) {
        BreakerConfig config = BREAKER_CONFIG_DEFAULT;

        config.max_failures = 3 + (uint32_t) below(s, 8);
        config.failure_rate_percent = 30 + (uint32_t) below(s, 70);
        config.reset_timeout = USEC_PER_MSEC * (1 + below(s, 5));
        config.reset_timeout_max = 10 * USEC_PER_MSEC;
        config.half_open_probes = 1 + (uint32_t) below(s, 3);
        config.successes_to_close = 1 + (uint32_t) below(s, 3);
        return config;
}

/* ---- steps ---- */

static void add_pool(Storm *s, Slot *slot) {
        _cleanup_free_ char *error = NULL;
        PoolConfig *config;
        char name[32];

        (void) snprintf(name, sizeof(name), "p%u", s->n_pools++);
        config = try_config(
                name, below(s, 3) ? &try_several : &try_singly, (uint32_t) (1 + below(s, 4)));
        config->limiter = strdup("l");
        config->breaker = strdup("b");
        assert_non_null(config->limiter);
        assert_non_null(config->breaker);
        config->hold_on_open = below(s, 3) > 0;
        config->overflow = (Overflow) below(s, _OVERFLOW_MAX);
        config->queue_max = 20 + below(s, 200);
        config->max_attempts = 1 + (uint32_t) below(s, 3);
        config->backoff = below(s, 2000);
        config->backoff_max = 5 * USEC_PER_MSEC;
        config->result_retention_max = 1000;
        assert_int_equal(engine_add_pool(s->try.engine, config, &slot->pool, &error), 0);
        slot->removing = false;
}

static void on_removed(PoolWatch *watch) {
        container_of(watch, Slot, removal)->pool = NULL;
}

static void come_or_go(Storm *s, Slot *slot) {
        if (!slot->pool) {
                add_pool(s, slot);
                return;
        }
        if (slot->removing)
                return;
        slot->removing = true;
        slot->removal = (PoolWatch){ .done = on_removed };
        engine_pause_pool(s->try.engine, slot->pool, false);
        assert_int_equal(
                engine_remove_pool(s->try.engine, slot->pool, below(s, 2), &slot->removal), 0);
}

static void submit(Storm *s, Slot *slot) {
        static const char *const kinds[] = { TRY_ECHO, TRY_ECHO, TRY_ECHO, TRY_ECHO, TRY_FAIL,
                TRY_FAIL_TIMES(1), TRY_ASK, TRY_FATAL };
        const char *kind = kinds[below(s, below(s, 4) ? 4 : ELEMENTSOF(kinds))];
        struct iovec payloads[40];
        Submission *submission;
        size_t n = 1 + below(s, ELEMENTSOF(payloads));
        int r;

        if (!slot->pool)
                return;
        for (size_t i = 0; i < n; i++)
                payloads[i] = (struct iovec){ (void *) (uintptr_t) kind, strlen(kind) };
        submission = try_submission();
        submission->priority = (int16_t) (below(s, 5) - 2);
        if (below(s, 8) == 0)
                submission->delay = below(s, 3000);
        if (below(s, 8) == 0)
                submission->queue_timeout = below(s, 3000);
        r = engine_submit(s->try.engine, slot->pool, submission, payloads, n, false, 0);
        if (r == ADMIT_YES) {
                s->n_accepted += (unsigned) n;
                return;
        }
        assert_true(r == ADMIT_FULL || r == ADMIT_DRAINING || r == ADMIT_SHUT);
        submission_free(submission);
}

static Job *young_job(Storm *s) {
        uint64_t next = s->try.engine->next_id, back = 1 + below(s, 100);

        return engine_find_job(s->try.engine, back < next ? next - back : 1);
}

static void cancel(Storm *s, Slot *slot) {
        Job *job = young_job(s);

        if (job)
                (void) pool_cancel(job_pool(job), job);
}

static void prioritise(Storm *s, Slot *slot) {
        Job *job = young_job(s);

        if (job)
                assert_true(
                        pool_set_priority(job_pool(job), job, (int16_t) (below(s, 9) - 4)) >= 0);
}

static void pause_it(Storm *s, Slot *slot) {
        if (slot->pool && !slot->removing)
                engine_pause_pool(s->try.engine, slot->pool, true);
}

static void resume(Storm *s, Slot *slot) {
        if (slot->pool && !slot->removing)
                engine_pause_pool(s->try.engine, slot->pool, false);
}

static void resize(Storm *s, Slot *slot) {
        PoolConfig *config;

        if (!slot->pool)
                return;
        assert_int_equal(pool_config_copy(slot->pool->config, &config), 0);
        config->min_workers = config->max_workers = (uint32_t) (1 + below(s, 4));
        assert_int_equal(engine_set_pool(s->try.engine, slot->pool, config), 0);
        pool_config_free(config);
}

static void pretend_short(Storm *s, Slot *slot) {
        if (slot->pool)
                try_pretend_short(slot->pool);
}

static void on_wish_done(AcquireWatch *watch, int result) {
        Wish *wish = container_of(watch, Wish, watch);

        assert_true(result == 0 || result == -EMSGSIZE);
        if (result == 0)
                wish->storm->n_acquired += wish->n;
}

/* Waits for tokens, or has waited for long enough. */
static void acquire(Storm *s, Slot *slot) {
        Wish *wish = &s->wishes[below(s, N_WISHES)];
        int r;

        if (wish->watch.limiter) {
                acquire_leave(&wish->watch);
                return;
        }
        *wish = (Wish){ .storm = s, .n = 1 + below(s, 5) };
        acquire_watch_init(&wish->watch, on_wish_done);
        r = shared_limiter_acquire(s->limiter, wish->n, &wish->watch);
        assert_true(r == 0 || r == 1);
        if (r == 0)
                s->n_acquired += wish->n;
}

static void try_tokens(Storm *s, Slot *slot) {
        uint64_t n = 1 + below(s, 3);
        usec_t wait;

        if (shared_limiter_try(s->limiter, n, &wait) == LIMITER_TAKEN)
                s->n_acquired += n;
}

static void limit(Storm *s, Slot *slot) {
        LimiterConfig config = any_limit(s);

        engine_set_limiter(s->try.engine, s->limiter, &config);
}

static void hold(Storm *s, Slot *slot) {
        if (below(s, 4) == 0)
                shared_limiter_drain(s->limiter);
        else
                shared_limiter_hold(s->limiter, below(s, 1000));
}

static void on_permit_gone(BreakerPermit *permit) {
}

static void use_breaker(Storm *s, Slot *slot) {
        BreakerPermit *permit = &s->permits[below(s, N_PERMITS)];

        if (permit->breaker) {
                breaker_permit_report(permit, below(s, 4) > 0);
                return;
        }
        *permit = (BreakerPermit){ .gone = on_permit_gone };
        list_init(&permit->links);
        (void) shared_breaker_allow(s->breaker, permit);
}

static void change_breaker(Storm *s, Slot *slot) {
        BreakerConfig config = any_breaker(s);

        switch (below(s, 3)) {
        case 0:
                (void) shared_breaker_trip(s->breaker);
                break;

        case 1:
                (void) shared_breaker_reset(s->breaker);
                break;

        default:
                /* The cap stays, or more could be at work than are allowed now. */
                config.half_open_probes = s->breaker->breaker.config.half_open_probes;
                assert_int_equal(engine_set_breaker(s->try.engine, s->breaker, &config), 0);
                break;
        }
}

static void turn(Storm *s, Slot *slot) {
        BreakerView view;

        shared_breaker_view(s->breaker, &view);
        if (view.state == BREAKER_HALF_OPEN)
                assert_true(view.in_flight <= view.config.half_open_probes);
        for (unsigned i = 0; i < N_POOLS; i++)
                if (s->slots[i].pool)
                        try_assert_adds_up(s->slots[i].pool);
        engine_turn(s->try.engine);
        assert_true(sd_event_run(s->try.event, below(s, 2) * 200) >= 0);
        engine_turn(s->try.engine);
}

/* How often each comes. */
static const struct {
        unsigned weight;
        void (*step)(Storm *s, Slot *slot);
} steps[] = {
        { 40, submit },
        { 10, cancel },
        { 5, prioritise },
        { 6, pause_it },
        { 14, resume },
        { 6, resize },
        { 3, come_or_go },
        { 20, pretend_short },
        { 16, acquire },
        { 10, try_tokens },
        { 4, limit },
        { 4, hold },
        { 12, use_breaker },
        { 4, change_breaker },
        { 80, turn },
};

static uint64_t number_of(const char *variable, uint64_t otherwise) {
        const char *s = getenv(variable);

        return s ? strtoull(s, NULL, 0) : otherwise;
}

static void live(Storm *s, uint64_t n_steps) {
        uint64_t sum = 0;

        for (size_t i = 0; i < ELEMENTSOF(steps); i++)
                sum += steps[i].weight;
        for (uint64_t i = 0; i < n_steps && s->try.engine->next_id < TRY_JOBS_MAX / 8; i++) {
                uint64_t which = below(s, sum);
                size_t k = 0;

                while (which >= steps[k].weight)
                        which -= steps[k++].weight;
                steps[k].step(s, &s->slots[below(s, N_POOLS)]);
        }
}

/* Nothing is in the way any more. */
static void wind_up(Storm *s) {
        shared_limiter_hold(s->limiter, 0);
        for (unsigned i = 0; i < N_PERMITS; i++)
                if (s->permits[i].breaker)
                        breaker_permit_report(&s->permits[i], true);
        for (unsigned i = 0; i < N_WISHES; i++)
                acquire_leave(&s->wishes[i].watch);
        for (unsigned i = 0; i < N_POOLS; i++)
                resume(s, &s->slots[i]);
}

static void no_token_is_lost_or_made_and_each_job_ends_once(void **state) {
        static uint64_t order[TRY_JOBS_MAX];
        uint64_t seed = number_of("SLUICE_SEED", usec_now(CLOCK_REALTIME)),
                 n_steps = number_of("SLUICE_STEPS", STEPS), n_runs;
        usec_t start = usec_now(CLOCK_MONOTONIC);
        Storm *s = calloc(1, sizeof(*s));
        LimiterConfig limit_config;
        BreakerConfig breaker_config;
        LimiterView view;
        Try *t;

        assert_non_null(s);
        t = &s->try;
        s->random = seed;
        print_message("SLUICE_SEED=%" PRIu64 " SLUICE_STEPS=%" PRIu64 "\n", seed, n_steps);
        try_init(t);
        t->several_lives = true;
        limit_config = any_limit(s);
        breaker_config = any_breaker(s);
        assert_int_equal(engine_add_limiter(t->engine, "l", &limit_config, &s->limiter), 0);
        assert_int_equal(engine_add_breaker(t->engine, "b", &breaker_config, &s->breaker), 0);
        for (unsigned i = 0; i < N_WISHES; i++)
                acquire_watch_init(&s->wishes[i].watch, on_wish_done);
        for (unsigned i = 0; i < N_POOLS; i++)
                add_pool(s, &s->slots[i]);

        live(s, n_steps);
        wind_up(s);
        try_until(t, t->n_finished == s->n_accepted);
        for (unsigned i = 0; i < N_POOLS; i++)
                try_until(t, !s->slots[i].removing || !s->slots[i].pool);

        for (uint64_t id = 1; id < t->engine->next_id; id++)
                assert_true(t->jobs[id].n_finished <= 1);
        n_runs = try_order(order, TRY_JOBS_MAX);
        shared_limiter_view(s->limiter, &view);
        print_message("%u jobs, %" PRIu64 " attempts, %" PRIu64 " tokens for others, %u pools\n",
                s->n_accepted, n_runs, s->n_acquired, s->n_pools);
        assert_int_equal(view.granted, n_runs + s->n_acquired);
        assert_int_equal(view.n_waiters, 0);
        assert_true(view.granted <=
                    BURST_MAX + RATE_MAX / 1000 *
                                        ((usec_now(CLOCK_MONOTONIC) - start) / USEC_PER_MSEC + 1));
        assert_int_equal(s->limiter->limiter.credit, 0);
        assert_int_equal(s->breaker->breaker.probes, 0);
        try_done(t);
        free(s);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(no_token_is_lost_or_made_and_each_job_ends_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
