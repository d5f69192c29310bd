/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "test.h"

#include "core/limiter.h"
#include "core/random.h"
#include "util/macro.h"

#define S USEC_PER_SEC
#define NEVER USEC_INFINITY
#define N_WAITERS 4

/* 1 and 2 are Acquire calls, 3 and 4 are pools. */
typedef enum Call {
        TAKE,  /* n: expect a LimiterVerdict, and `until` where that is not TAKEN */
        TRY,   /* the same for somebody who does not wait */
        BACK,  /* n tokens that were taken at `until` are not used */
        WAIT,  /* `who` waits for n */
        LEAVE, /* `who` */
        SERVE, /* expect who is served, 0 = nobody, negative = failed */
        USE,   /* a token of the credit of `who`: expect whether there is one */
        CREDIT,
        TOKENS,
        WAKE_AT, /* expect `until` */
        FULL_AT, /* the same */
        DRAIN,
        HOLD, /* until `until` */
        SET,  /* n per second, with a burst of `expect` */
        GRANTED,
        DENIED,
        WAITERS, /* expect the figure */
} Call;

typedef struct Row {
        usec_t at;
        Call call;
        uint64_t n;
        int64_t expect;
        usec_t until;
        unsigned who;
} Row;

static LimiterConfig per_second(uint64_t rate, uint64_t burst) {
        return (LimiterConfig){ .rate = rate, .period = S, .burst = burst };
}

typedef struct Fixture {
        Limiter limiter;
        LimiterWaiter waiters[N_WAITERS + 1];
} Fixture;

static int64_t number_of(const Fixture *f, const LimiterWaiter *waiter) {
        int64_t who = waiter ? waiter - f->waiters : 0;

        return waiter && waiter->failed ? -who : who;
}

static void walk_row(Fixture *f, const Row *row) {
        LimiterWaiter *waiter = &f->waiters[row->who];
        Limiter *l = &f->limiter;
        LimiterConfig config;
        int verdict;
        usec_t at;

        switch (row->call) {
        case TAKE:
        case TRY:
                verdict = (row->call == TAKE ? limiter_take : limiter_try)(l, row->at, row->n, &at);
                assert_int_equal(verdict, row->expect);
                if (verdict != LIMITER_TAKEN)
                        assert_int_equal(at, row->until);
                break;
        case BACK:
                limiter_give_back(l, row->n, row->until);
                break;
        case WAIT:
                limiter_wait(l, waiter, row->n);
                break;
        case LEAVE:
                limiter_leave(l, waiter);
                break;
        case SERVE:
                assert_int_equal(number_of(f, limiter_serve(l, row->at)), row->expect);
                break;
        case USE:
                assert_int_equal(limiter_take_credit(l, waiter, row->at), row->expect);
                break;
        case CREDIT:
                assert_int_equal(waiter->credit, row->expect);
                break;
        case TOKENS:
                assert_int_equal(limiter_tokens(l, row->at), row->expect);
                break;
        case WAKE_AT:
                assert_int_equal(limiter_wake_at(l), row->until);
                break;
        case FULL_AT:
                assert_int_equal(limiter_full_at(l), row->until);
                break;
        case DRAIN:
                limiter_drain(l, row->at);
                break;
        case HOLD:
                limiter_hold(l, row->until);
                break;
        case SET:
                config = per_second(row->n, (uint64_t) row->expect);
                limiter_set(l, &config, row->at);
                break;
        case GRANTED:
                assert_int_equal(l->granted, row->expect);
                break;
        case DENIED:
                assert_int_equal(l->denied, row->expect);
                break;
        case WAITERS:
                assert_int_equal(l->n_waiters, row->expect);
                break;
        }
}

/* 10 tokens per second, so one every 100,000 us; the bucket starts full. */
static void walk(uint64_t burst, const Row *rows, size_t n) {
        LimiterConfig config = per_second(10, burst);
        Fixture f = {};

        limiter_init(&f.limiter, &config, 0);
        for (unsigned i = 0; i <= N_WAITERS; i++) {
                f.waiters[i].is_pool = i >= 3;
                list_init(&f.waiters[i].links);
        }
        for (size_t i = 0; i < n; i++)
                walk_row(&f, &rows[i]);
}

/* ---- who takes directly ---- */

static void tokens_come_one_by_one_up_to_the_burst(void **state) {
        static const Row rows[] = {
                { 0, TOKENS, .expect = 3 },
                { 0, TAKE, 2, LIMITER_TAKEN },
                { 0, TAKE, 2, LIMITER_WAIT, .until = 100000 },
                { 0, TAKE, 1, LIMITER_TAKEN },
                { 99999, TAKE, 1, LIMITER_WAIT, .until = 100000 },
                { 100000, TAKE, 1, LIMITER_TAKEN },
                { 100000, TAKE, 3, LIMITER_WAIT, .until = 400000 },
                { 399999, TOKENS, .expect = 2 },
                { 400000, TAKE, 3, LIMITER_TAKEN },
                /* However long it lies idle, no more than the burst. */
                { 3600 * S, TOKENS, .expect = 3 },
                { 3600 * S, TAKE, 3, LIMITER_TAKEN },
                { 3600 * S, TAKE, 1, LIMITER_WAIT, .until = 3600 * S + 100000 },
                { 3600 * S, GRANTED, .expect = 10 },
        };

        walk(3, rows, ELEMENTSOF(rows));
}

static void it_is_full_when_all_has_come_back_and_nobody_wants_any(void **state) {
        static const Row rows[] = {
                { 0, FULL_AT, .until = 0 },
                { 0, TAKE, 3, LIMITER_TAKEN },
                { 0, FULL_AT, .until = 300000 },
                { 100000, FULL_AT, .until = 300000 },
                { 100000, HOLD, .until = 500000 },
                { 100000, FULL_AT, .until = 500000 },
                { 100000, HOLD, .until = NEVER },
                { 100000, FULL_AT, .until = NEVER },
                { 100000, HOLD, .until = 0 },
                { 100000, WAIT, 3, .who = 1 },
                { 100000, FULL_AT, .until = NEVER },
                { 300000, SERVE, .expect = 1 },
                { 300000, FULL_AT, .until = 600000 },
                { 300000, WAIT, 1, .who = 3 },
                { 400000, SERVE, .expect = 3 },
                /* Its credit may still be used, or come back. */
                { 400000, FULL_AT, .until = NEVER },
                { 400000, USE, .expect = 1, .who = 3 },
                { 400000, FULL_AT, .until = 700000 },
                /* What a smaller burst forgives is remembered for as long as it is due. */
                { 400000, SET, 10, 1 },
                { 400000, FULL_AT, .until = 700000 },
        };

        walk(3, rows, ELEMENTSOF(rows));
}

static void a_refusal_changes_nothing(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 1, LIMITER_TAKEN },
                /* A bucket that starts its interval anew when it is asked would never give. */
                { 25000, TAKE, 1, LIMITER_WAIT, .until = 100000 },
                { 50000, TRY, 1, LIMITER_WAIT, .until = 100000 },
                { 75000, TAKE, 1, LIMITER_WAIT, .until = 100000 },
                { 99999, TRY, 1, LIMITER_WAIT, .until = 100000 },
                { 100000, TRY, 1, LIMITER_TAKEN },
                { 100000, DENIED, .expect = 2 },
                { 100000, GRANTED, .expect = 2 },
        };

        walk(1, rows, ELEMENTSOF(rows));
}

static void more_than_the_burst_is_never_waited_for(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 4, LIMITER_NEVER, .until = NEVER },
                { 10 * S, TRY, UINT64_MAX, LIMITER_NEVER, .until = NEVER },
                { 10 * S, TOKENS, .expect = 3 },
                { 10 * S, DENIED, .expect = 1 },
        };

        walk(3, rows, ELEMENTSOF(rows));
}

static void a_clock_that_goes_back_gives_nothing(void **state) {
        static const Row rows[] = {
                { 100000, TAKE, 1, LIMITER_TAKEN },
                { 50000, TAKE, 1, LIMITER_WAIT, .until = 200000 },
                { 50000, TOKENS, .expect = 0 },
                { 200000, TAKE, 1, LIMITER_TAKEN },
        };

        walk(1, rows, ELEMENTSOF(rows));
}

static void what_is_not_used_goes_back_but_what_came_in_counts_once(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 5, LIMITER_TAKEN },
                { 0, BACK, 4, .until = 0 },
                { 0, TOKENS, .expect = 4 },
                { 0, GRANTED, .expect = 1 },
                { 0, TAKE, 4, LIMITER_TAKEN },
                /* Two have come in since, so only two of the four are added to them. */
                { 200000, TOKENS, .expect = 2 },
                { 200000, TAKE, 1, LIMITER_TAKEN },
                { 200000, BACK, 4, .until = 0 },
                { 200000, TOKENS, .expect = 3 },
                { 200000, BACK, 1, .until = 200000 },
                { 200000, TOKENS, .expect = 4 },
                { 200000, GRANTED, .expect = 1 },
        };

        walk(5, rows, ELEMENTSOF(rows));
}

/* Had they not been taken, then less would have been forgiven. */
static void what_goes_back_was_forgiven_first(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 3, LIMITER_TAKEN },
                { 0, SET, 10, 1 },
                { 0, BACK, 2, .until = 0 },
                { 0, TOKENS, .expect = 0 },
                { 0, SET, 10, 5 },
                { 0, TOKENS, .expect = 4 },
        };

        walk(5, rows, ELEMENTSOF(rows));
}

/* Both had come in by then, at a rate that is no more. */
static void what_was_taken_at_another_rate_is_not_made_anew(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 2, LIMITER_TAKEN },
                { 200000, TAKE, 3, LIMITER_TAKEN },
                { 200000, SET, 1, 5 },
                { 200000, BACK, 2, .until = 0 },
                { 200000, TOKENS, .expect = 2 },
                { 200000, GRANTED, .expect = 3 },
                { 200000, BACK, 3, .until = 200000 },
                { 200000, TOKENS, .expect = 5 },
        };

        walk(5, rows, ELEMENTSOF(rows));
}

static void a_drained_bucket_fills_at_the_rate(void **state) {
        static const Row rows[] = {
                { 0, DRAIN },
                { 0, TOKENS, .expect = 0 },
                { 0, TAKE, 1, LIMITER_WAIT, .until = 100000 },
                { 250000, TOKENS, .expect = 2 },
                { 250000, DRAIN },
                { 349999, TAKE, 1, LIMITER_WAIT, .until = 350000 },
                { 350000, TAKE, 1, LIMITER_TAKEN },
        };

        walk(4, rows, ELEMENTSOF(rows));
}

static void nothing_is_granted_while_it_is_held(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 2, LIMITER_TAKEN },
                { 0, HOLD, .until = 500000 },
                { 0, TAKE, 1, LIMITER_WAIT, .until = 500000 },
                { 499999, TAKE, 1, LIMITER_WAIT, .until = 500000 },
                { 499999, TOKENS, .expect = 0 },
                /* It has filled up meanwhile. */
                { 500000, TOKENS, .expect = 2 },
                { 500000, HOLD, .until = NEVER },
                { 500000, WAIT, 1, .who = 1 },
                { 500000, WAKE_AT, .until = NEVER },
                { 500000, SERVE, .expect = 0 },
                { 500000, HOLD, .until = 0 },
                { 500000, SERVE, .expect = 1 },
        };

        walk(2, rows, ELEMENTSOF(rows));
}

/* ---- the line ---- */

static void a_small_wish_never_passes_a_large_one(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 5, LIMITER_TAKEN },
                { 0, WAIT, 5, .who = 1 },
                { 0, WAIT, 1, .who = 2 },
                { 100000, SERVE, .expect = 0 },
                /* Nor does anybody who comes by: that is when those in line will be through. */
                { 100000, TAKE, 1, LIMITER_WAIT, .until = 700000 },
                { 300000, TRY, 2, LIMITER_WAIT, .until = 800000 },
                { 300000, TOKENS, .expect = 3 },
                { 300000, WAKE_AT, .until = 500000 },
                { 499999, SERVE, .expect = 0 },
                { 500000, SERVE, .expect = 1 },
                { 500000, WAKE_AT, .until = 600000 },
                { 500000, SERVE, .expect = 0 },
                { 600000, SERVE, .expect = 2 },
                { 600000, WAKE_AT, .until = NEVER },
                { 700000, TAKE, 1, LIMITER_TAKEN },
                { 700000, GRANTED, .expect = 12 },
                { 700000, WAITERS, .expect = 0 },
        };

        walk(5, rows, ELEMENTSOF(rows));
}

static void who_leaves_lets_those_behind_come_in(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 4, LIMITER_TAKEN },
                { 0, WAIT, 5, .who = 1 },
                { 0, WAIT, 1, .who = 2 },
                { 0, SERVE, .expect = 0 },
                { 0, WAKE_AT, .until = 400000 },
                { 0, LEAVE, .who = 1 },
                { 0, WAKE_AT, .until = 0 },
                { 0, SERVE, .expect = 2 },
                { 0, DENIED, .expect = 1 },
                { 0, WAITERS, .expect = 0 },
        };

        walk(5, rows, ELEMENTSOF(rows));
}

static void pools_take_turns(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 1, LIMITER_TAKEN },
                { 0, WAIT, 3, .who = 3 },
                { 0, WAIT, 2, .who = 4 },
                { 0, WAIT, 1, .who = 1 },
                { 100000, SERVE, .expect = 3 },
                { 100000, USE, .expect = true, .who = 3 },
                { 200000, SERVE, .expect = 4 },
                { 200000, USE, .expect = true, .who = 4 },
                { 300000, SERVE, .expect = 1 },
                { 400000, SERVE, .expect = 3 },
                { 400000, USE, .expect = true, .who = 3 },
                { 500000, SERVE, .expect = 4 },
                { 500000, USE, .expect = true, .who = 4 },
                { 600000, SERVE, .expect = 3 },
                { 600000, USE, .expect = true, .who = 3 },
                { 600000, USE, .expect = false, .who = 3 },
                { 600000, WAITERS, .expect = 0 },
                { 600000, GRANTED, .expect = 7 },
        };

        walk(1, rows, ELEMENTSOF(rows));
}

static void a_pool_keeps_its_place_whatever_it_wants(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 2, LIMITER_TAKEN },
                { 0, WAIT, 9, .who = 3 },
                { 0, WAIT, 1, .who = 1 },
                { 50000, WAIT, 1, .who = 3 },
                { 50000, WAITERS, .expect = 2 },
                { 50000, TAKE, 1, LIMITER_WAIT, .until = 300000 },
                { 100000, SERVE, .expect = 3 },
                { 100000, WAITERS, .expect = 1 },
        };

        walk(2, rows, ELEMENTSOF(rows));
}

static void credit_counts_as_tokens_in_the_bucket(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 1, LIMITER_TAKEN },
                { 0, WAIT, 3, .who = 3 },
                { 0, SERVE, .expect = 3 },
                { 0, CREDIT, .expect = 3, .who = 3 },
                { 0, GRANTED, .expect = 1 },
                /* With three set aside there is only ever one more, or a burst could be 7. */
                { 10 * S, TOKENS, .expect = 1 },
                { 10 * S, USE, .expect = true, .who = 3 },
                { 10 * S, USE, .expect = true, .who = 3 },
                { 10 * S, TAKE, 1, LIMITER_TAKEN },
                { 10 * S, TAKE, 1, LIMITER_WAIT, .until = 10 * S + 100000 },
                { 10 * S, USE, .expect = true, .who = 3 },
                { 10 * S, TAKE, 1, LIMITER_WAIT, .until = 10 * S + 100000 },
                { 10 * S, GRANTED, .expect = 5 },
        };

        walk(4, rows, ELEMENTSOF(rows));
}

static void credit_that_is_not_used_goes_to_the_next(void **state) {
        static const Row rows[] = {
                { 0, WAIT, 3, .who = 3 },
                { 0, SERVE, .expect = 3 },
                { 0, WAIT, 2, .who = 1 },
                { 0, SERVE, .expect = 0 },
                { 0, USE, .expect = true, .who = 3 },
                /* Paused, removed, or without a worker: at once, and not when the bucket fills. */
                { 0, LEAVE, .who = 3 },
                { 0, CREDIT, .expect = 0, .who = 3 },
                { 0, SERVE, .expect = 1 },
                { 0, TOKENS, .expect = 0 },
                { 0, GRANTED, .expect = 3 },
        };

        walk(3, rows, ELEMENTSOF(rows));
}

/* ---- changes ---- */

static void a_new_rate_counts_for_who_waits(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 1, LIMITER_TAKEN },
                { 0, WAIT, 1, .who = 1 },
                { 0, WAKE_AT, .until = 100000 },
                /* Half a token has come; the other half takes 5 ms at 100 per second. */
                { 50000, SET, 100, 1 },
                { 50000, WAKE_AT, .until = 55000 },
                { 50000, SET, 1, 1 },
                { 50000, WAKE_AT, .until = 550000 },
                { 549999, SERVE, .expect = 0 },
                { 550000, SERVE, .expect = 1 },
        };

        walk(1, rows, ELEMENTSOF(rows));
}

static void a_smaller_burst_fails_who_wants_more(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 5, LIMITER_TAKEN },
                { 0, WAIT, 1, .who = 1 },
                { 0, WAIT, 5, .who = 2 },
                { 0, WAIT, 9, .who = 3 },
                { 0, SET, 10, 3 },
                { 0, WAKE_AT, .until = 0 },
                { 0, SERVE, .expect = -2 },
                { 0, SERVE, .expect = 0 },
                { 0, DENIED, .expect = 1 },
                { 0, WAITERS, .expect = 2 },
                /* What was due beyond the new burst is forgiven. */
                { 100000, SERVE, .expect = 1 },
                { 200000, SERVE, .expect = 3 },
        };

        walk(5, rows, ELEMENTSOF(rows));
}

static void changing_to_and_fro_gains_nothing(void **state) {
        static const Row rows[] = {
                { 0, TAKE, 100, LIMITER_TAKEN },
                { 0, SET, 10, 1 },
                { 0, SET, 10, 100 },
                { 0, TOKENS, .expect = 0 },
                { S, TOKENS, .expect = 10 },
                { S, SET, 1000000, 100 },
                { S, SET, 10, 100 },
                { S, TOKENS, .expect = 10 },
        };

        walk(100, rows, ELEMENTSOF(rows));
}

/* ---- rates ---- */

static void the_burst_is_a_seconds_worth_but_never_nothing(void **state) {
        static const struct {
                uint64_t rate;
                usec_t period;
                uint64_t burst;
        } rows[] = {
                { 50, S, 50 },
                { 1, S, 1 },
                { 30, USEC_PER_MINUTE, 1 }, /* not 0 */
                { 1, USEC_PER_HOUR, 1 },
                { 119, USEC_PER_MINUTE, 1 },
                { 120, USEC_PER_MINUTE, 2 },
                { 10000000, S, 10000000 },
                { LIMITER_RATE_MAX, 1, LIMITER_BURST_MAX },
                { 1, LIMITER_PERIOD_MAX, 1 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                LimiterConfig config = { .rate = rows[i].rate, .period = rows[i].period };

                config.burst = limiter_default_burst(config.rate, config.period);
                assert_int_equal(config.burst, rows[i].burst);
                assert_true(limiter_config_is_valid(&config));
        }
}

/* The k-th token after the burst is there at the microsecond at which k x period / rate is over,
 * for any k: nothing is rounded that could add up. */
static void every_rate_is_exact(void **state) {
        static const struct {
                uint64_t rate;
                usec_t period;
                uint64_t n;
        } rows[] = {
                { 1, USEC_PER_HOUR, 2000 },
                { 1, LIMITER_PERIOD_MAX, 100 },
                { 3, S, 100000 },
                { 7, USEC_PER_MINUTE, 100000 },
                { 999983, S, 1000000 }, /* a prime */
                { 1000000, S, 1000000 },
                { 10000000, S, 1000000 },
                { 9999991, S, 1000000 }, /* a prime */
                { LIMITER_RATE_MAX, USEC_PER_HOUR, 1000000 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                LimiterConfig config = {
                        .rate = rows[i].rate,
                        .period = rows[i].period,
                        /* What comes in a microsecond has room. */
                        .burst = 2 + rows[i].rate / rows[i].period,
                };
                usec_t now = 12345, start = now, at;
                Limiter l;

                limiter_init(&l, &config, now);
                assert_int_equal(limiter_take(&l, now, config.burst, &at), LIMITER_TAKEN);
                for (uint64_t k = 1; k <= rows[i].n; k++) {
                        usec_t due = start +
                                     (usec_t) (((LimiterTime) k * config.period + config.rate - 1) /
                                               config.rate);

                        if (limiter_take(&l, now, 1, &at) == LIMITER_WAIT) {
                                assert_int_equal(at, due);
                                now = at;
                                assert_int_equal(limiter_take(&l, now, 1, &at), LIMITER_TAKEN);
                        }
                        assert_true(now >= due);
                }
        }
}

/* ---- any history ---- */

/* The bucket of the textbook, with its tokens as a fraction. */
typedef struct Bucket {
        LimiterConfig config;
        LimiterTime level; /* tokens x period; a microsecond adds `rate` */
        usec_t at;
} Bucket;

static bool bucket_take(Bucket *b, usec_t now, uint64_t n) {
        LimiterTime full = (LimiterTime) b->config.burst * b->config.period,
                    cost = (LimiterTime) n * b->config.period;

        b->level = MIN(full, b->level + (LimiterTime) (now - b->at) * b->config.rate);
        b->at = now;
        if (b->level < cost)
                return false;
        b->level -= cost;
        return true;
}

static void any_history_is_that_of_the_textbook_bucket(void **state) {
        static const uint64_t rates[] = { 1, 3, 10, 997, 1000000, 10000000, LIMITER_RATE_MAX };
        static const usec_t periods[] = { 1, 7, S, USEC_PER_MINUTE, LIMITER_PERIOD_MAX };
        uint64_t random = 3;

        for (unsigned history = 0; history < 3000; history++) {
                LimiterConfig config = {
                        .rate = rates[random_below(&random, ELEMENTSOF(rates))],
                        .period = periods[random_below(&random, ELEMENTSOF(periods))],
                        .burst = 1 + random_below(&random, 50),
                };
                usec_t now = random_below(&random, 2) * USEC_PER_YEAR * 100,
                       token = config.period / config.rate + 1;
                Bucket bucket = { config, (LimiterTime) config.burst * config.period, now };
                Limiter l;

                limiter_init(&l, &config, now);
                for (unsigned i = 0; i < 200; i++) {
                        uint64_t n = 1 + random_below(&random, config.burst);
                        bool taken = bucket_take(&bucket, now, n);
                        usec_t at;

                        assert_int_equal(limiter_take(&l, now, n, &at),
                                taken ? LIMITER_TAKEN : LIMITER_WAIT);
                        assert_int_equal(limiter_tokens(&l, now), bucket.level / config.period);
                        if (taken || random_below(&random, 2))
                                now += random_below(&random, 3 * token);
                        else {
                                /* Not a microsecond before what it says, and then surely. */
                                assert_true(at > now);
                                now = at - 1;
                                assert_false(bucket_take(&bucket, now, n));
                                now = at;
                                assert_int_equal(limiter_take(&l, now, n, &at), LIMITER_TAKEN);
                                assert_true(bucket_take(&bucket, now, n));
                        }
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(tokens_come_one_by_one_up_to_the_burst),
                cmocka_unit_test(it_is_full_when_all_has_come_back_and_nobody_wants_any),
                cmocka_unit_test(a_refusal_changes_nothing),
                cmocka_unit_test(more_than_the_burst_is_never_waited_for),
                cmocka_unit_test(a_clock_that_goes_back_gives_nothing),
                cmocka_unit_test(what_is_not_used_goes_back_but_what_came_in_counts_once),
                cmocka_unit_test(what_goes_back_was_forgiven_first),
                cmocka_unit_test(what_was_taken_at_another_rate_is_not_made_anew),
                cmocka_unit_test(a_drained_bucket_fills_at_the_rate),
                cmocka_unit_test(nothing_is_granted_while_it_is_held),
                cmocka_unit_test(a_small_wish_never_passes_a_large_one),
                cmocka_unit_test(who_leaves_lets_those_behind_come_in),
                cmocka_unit_test(pools_take_turns),
                cmocka_unit_test(a_pool_keeps_its_place_whatever_it_wants),
                cmocka_unit_test(credit_counts_as_tokens_in_the_bucket),
                cmocka_unit_test(credit_that_is_not_used_goes_to_the_next),
                cmocka_unit_test(a_new_rate_counts_for_who_waits),
                cmocka_unit_test(a_smaller_burst_fails_who_wants_more),
                cmocka_unit_test(changing_to_and_fro_gains_nothing),
                cmocka_unit_test(the_burst_is_a_seconds_worth_but_never_nothing),
                cmocka_unit_test(every_rate_is_exact),
                cmocka_unit_test(any_history_is_that_of_the_textbook_bucket),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
