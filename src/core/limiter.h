/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Limiter: a token bucket in exact integers, and the one line of those who wait for its tokens.
 * Pure; not thread-safe: the caller holds its lock.
 *
 * In any window of time, tokens used <= burst + rate x window / period, and nobody gets fewer than
 * that bucket would give. `now` is monotonic; one that is older than what the limiter was told
 * before counts as that. */

#include <stdbool.h>
#include <stdint.h>

#include "util/list.h"
#include "util/time.h"

typedef struct Limiter Limiter;
typedef struct LimiterConfig LimiterConfig;
typedef struct LimiterWaiter LimiterWaiter;

/* Nanoseconds x rate: a token costs the period's nanoseconds, whatever the rate, so that no rate
 * is rounded. */
typedef unsigned __int128 LimiterTime;

/* Any product of these and of any moment stays below 2^120. */
#define LIMITER_RATE_MAX UINT64_C(1000000000000)
#define LIMITER_BURST_MAX UINT64_C(1000000000000)
#define LIMITER_PERIOD_MAX USEC_PER_YEAR

typedef enum LimiterVerdict {
        LIMITER_TAKEN,
        LIMITER_WAIT,  /* not now */
        LIMITER_NEVER, /* more than the burst */
} LimiterVerdict;

struct LimiterConfig {
        uint64_t rate;  /* tokens per period, 1 to LIMITER_RATE_MAX */
        usec_t period;  /* 1 to LIMITER_PERIOD_MAX */
        uint64_t burst; /* 1 to LIMITER_BURST_MAX */
};

/* Somebody in line: one Acquire call, or a pool, which is in it once for all of its jobs. All zero
 * but is_pool before its first use. Embedded in what waits, and borrowed while it is in line. */
struct LimiterWaiter {
        List links;
        uint64_t wants;  /* tokens that it still waits for, beyond its credit */
        uint64_t credit; /* of a pool: tokens that are set aside for it; limiter_take_credit() */
        bool is_pool;
        bool failed; /* by limiter_serve(): wants more than the new burst, and got nothing */
};

/* Does not move. Tokens in the bucket + credit <= burst, or there are no tokens: credit stays good
 * when the burst is made smaller. */
struct Limiter {
        LimiterConfig config;
        uint64_t speed;       /* LimiterTime that passes in a microsecond */
        uint64_t cost;        /* LimiterTime of one token */
        LimiterTime capacity; /* of the burst */
        LimiterTime tat;      /* theoretical arrival time: when the bucket is full again; never
                                 below latest x speed + credit x cost */
        LimiterTime forgiven; /* due beyond the burst since that was made smaller */
        usec_t latest;        /* the latest moment that it was told */
        usec_t changed_at;    /* when rate, period or burst were changed last */
        usec_t held_until;
        uint64_t credit; /* of all pools */
        uint64_t wanted; /* of all waiters */
        uint32_t n_waiters;
        List waiters, failed;
        uint64_t granted; /* tokens */
        uint64_t denied;  /* requests that ended without their tokens */
};

/* One second's worth, at least 1. */
uint64_t limiter_default_burst(uint64_t rate, usec_t period);

bool limiter_config_is_valid(const LimiterConfig *config);

/* Starts with a full bucket. Copies `config`, which is valid. */
void limiter_init(Limiter *limiter, const LimiterConfig *config, usec_t now);

/* Changes rate, period and burst. Tokens that were taken and have not come back yet stay due, now
 * at the new rate; what is then due beyond a smaller burst delays nothing unless the burst grows
 * again. Nothing is gained by changing to and fro. An Acquire, at any place of the line, that wants
 * more than the new burst fails: limiter_serve() tells. */
void limiter_set(Limiter *limiter, const LimiterConfig *config, usec_t now);

/* Takes n >= 1 tokens, all or none. While somebody waits in line the answer is WAIT. On WAIT
 * *ret_at is the earliest microsecond at which the n could be had, behind all who are in line now;
 * on NEVER it is USEC_INFINITY, on TAKEN the moment as the limiter sees it. A refusal changes
 * nothing. */
LimiterVerdict limiter_take(Limiter *limiter, usec_t now, uint64_t n, usec_t *ret_at);

/* The same for somebody who will not wait: a refusal counts as denied. */
LimiterVerdict limiter_try(Limiter *limiter, usec_t now, uint64_t n, usec_t *ret_at);

/* Gives back n tokens of a limiter_take() that answered `taken_at` and that were not used after
 * all. What came in since then is not counted twice, so this is exact at once, and later may give
 * back less: at most what would have come in meanwhile is lost. Tokens taken before the last
 * limiter_set() are lost. */
void limiter_give_back(Limiter *limiter, uint64_t n, usec_t taken_at);

/* How many tokens could be taken now if nobody waited. */
uint64_t limiter_tokens(const Limiter *limiter, usec_t now);

/* How many tokens the pool could have now: its credit, and those in the bucket if nobody is in line
 * before it. */
uint64_t limiter_available(const Limiter *limiter, const LimiterWaiter *pool, usec_t now);

/* From when on it is as a new one but for its counters: the bucket is full, nothing is forgiven and
 * nothing held. USEC_INFINITY while somebody waits or has credit, and if it is held for ever. */
usec_t limiter_full_at(const Limiter *limiter);

void limiter_drain(Limiter *limiter, usec_t now); /* leaves no token in the bucket */

/* No grants before `until`: 0 ends it, USEC_INFINITY never does. The bucket fills up meanwhile, and
 * credit that was given before stays good. */
void limiter_hold(Limiter *limiter, usec_t until);

/* Puts the waiter at the end of the line. wants >= 1; an Acquire's is at most the burst. A pool
 * that is in line keeps its place, and wants so many from now on. */
void limiter_wait(Limiter *limiter, LimiterWaiter *waiter, uint64_t wants);

/* Takes the waiter out of the line, if it is in it, and what is left of its credit back. Who is
 * first then may be served at once. */
void limiter_leave(Limiter *limiter, LimiterWaiter *waiter);

/* Gives tokens to the first in line: to an Acquire all that it wants, and it has left the line; to
 * a pool what there is, up to what it wants, as credit, and it has left the line or is at its end
 * if it wants more. Returns whom it served, or an Acquire that failed, or NULL: nobody can be
 * served now. To be called until then, when the clock reaches limiter_wake_at(). */
LimiterWaiter *limiter_serve(Limiter *limiter, usec_t now);

/* Uses one token of the pool's credit; false if it has none. A pool that has no use for its credit
 * leaves at once: its credit counts as tokens that lie in the bucket, and keeps others from coming
 * in. */
bool limiter_take_credit(Limiter *limiter, LimiterWaiter *waiter, usec_t now);

/* When limiter_serve() is to be asked next; in the past = at once. USEC_INFINITY if nobody waits,
 * or it is held for ever. To be asked again after each call that changes the limiter. Where all
 * tokens are a pool's credit this assumes that it is used at once, and is later each time. */
usec_t limiter_wake_at(const Limiter *limiter);
