/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The generic cell rate algorithm (ITU-T I.371): instead of a number of tokens, which would have to
 * be topped up and rounded, the limiter keeps one moment, at which the bucket is full again (the
 * theoretical arrival time, TAT). A token moves it by period / rate into the future, and n tokens
 * are there if it is then at most burst x period / rate ahead of now. Multiplied by the rate, all
 * of this is integers:
 *
 *     due(now) = max(tat - now x rate, 0)        what was taken and has not come back
 *     n can be taken  <=>  due + n x period <= burst x period
 *
 * Two things go beyond the book.
 *
 * Credit. A pool's tokens are set aside some time before a worker uses them. Would the bucket fill
 * up behind them meanwhile, then the burst and the credit could be used in the same moment. So
 * credit counts as tokens that still lie in the bucket: what is due never falls below it, and the
 * bound holds for the moments of use, however late they are.
 *
 * Forgiveness. With a burst made smaller, more than the new burst can be due: at 10 tokens per
 * second a burst that was 1000 would mean 99 seconds of silence. What is beyond the burst is
 * forgiven instead, and the next token comes after one interval. But it is remembered, and goes
 * down only while the bucket is full, so that a burst that is made larger again is not a gift. */

#include <assert.h>

#include "core/limiter.h"
#include "util/macro.h"

#define NSEC_PER_USEC 1000

uint64_t limiter_default_burst(uint64_t rate, usec_t period) {
        LimiterTime second = (LimiterTime) rate * USEC_PER_SEC / period;

        return (uint64_t) CLAMP(second, (LimiterTime) 1, (LimiterTime) LIMITER_BURST_MAX);
}

bool limiter_config_is_valid(const LimiterConfig *config) {
        return config->rate >= 1 && config->rate <= LIMITER_RATE_MAX && config->period >= 1 &&
               config->period <= LIMITER_PERIOD_MAX && config->burst >= 1 &&
               config->burst <= LIMITER_BURST_MAX;
}

static LimiterTime limiter_clock(const Limiter *l, usec_t at) {
        return (LimiterTime) at * l->speed;
}

static LimiterTime limiter_cost(const Limiter *l, uint64_t n) {
        return (LimiterTime) n * l->cost;
}

/* The least that the TAT can be at that moment. */
static LimiterTime limiter_floor(const Limiter *l, usec_t at) {
        return limiter_clock(l, at) + limiter_cost(l, l->credit);
}

static void limiter_configure(Limiter *l, const LimiterConfig *config) {
        assert(limiter_config_is_valid(config));

        l->config = *config;
        l->speed = config->rate * NSEC_PER_USEC;
        l->cost = config->period * NSEC_PER_USEC;
        l->capacity = limiter_cost(l, config->burst);
}

void limiter_init(Limiter *l, const LimiterConfig *config, usec_t now) {
        *l = (Limiter){ .latest = now };
        limiter_configure(l, config);
        l->tat = limiter_clock(l, now);
        list_init(&l->waiters);
        list_init(&l->failed);
}

static void limiter_advance(Limiter *l, usec_t now) {
        LimiterTime least;

        if (now > l->latest)
                l->latest = now;
        least = limiter_floor(l, l->latest);
        if (l->tat < least) {
                l->forgiven -= MIN(l->forgiven, least - l->tat);
                l->tat = least;
        }
}

/* What was worth `due` at the old cost of a token, at the new one. Rounded up: by less than a
 * nanosecond's worth, and never in favour of who takes. Split, as the plain product could be over
 * 2^128. */
static LimiterTime limiter_convert(LimiterTime due, uint64_t old_cost, uint64_t new_cost) {
        return due / old_cost * new_cost + (due % old_cost * new_cost + old_cost - 1) / old_cost;
}

static void limiter_fail(Limiter *l, LimiterWaiter *waiter) {
        waiter->failed = true;
        list_remove(&waiter->links);
        list_append(&l->failed, &waiter->links);
        l->n_waiters--;
        l->wanted -= waiter->wants;
        l->denied++;
}

void limiter_set(Limiter *l, const LimiterConfig *config, usec_t now) {
        uint64_t old_cost = l->cost;
        LimiterTime due, delays;

        limiter_advance(l, now);
        due = l->tat - limiter_clock(l, l->latest) + l->forgiven;
        l->changed_at = l->latest;
        limiter_configure(l, config);
        due = limiter_convert(due, old_cost, l->cost);
        delays = MIN(due, limiter_cost(l, MAX(l->config.burst, l->credit)));
        l->tat = limiter_clock(l, l->latest) + delays;
        l->forgiven = due - delays;

        list_for_each (i, &l->waiters) {
                LimiterWaiter *waiter = list_entry(i, LimiterWaiter, links);

                if (!waiter->is_pool && waiter->wants > l->config.burst)
                        limiter_fail(l, waiter);
        }
}

/* After limiter_advance(). */
static bool limiter_has(const Limiter *l, uint64_t n) {
        return l->latest >= l->held_until &&
               l->tat + limiter_cost(l, n) <= limiter_clock(l, l->latest) + l->capacity;
}

/* When n tokens can be had, if all credit is used at once. */
static usec_t limiter_moment(const Limiter *l, uint64_t n) {
        usec_t start = MAX(l->latest, l->held_until);
        LimiterTime goal, moment;

        if (start == USEC_INFINITY)
                return USEC_INFINITY;
        goal = MAX(l->tat, limiter_floor(l, start)) + limiter_cost(l, n);
        if (goal <= limiter_clock(l, start) + l->capacity)
                return start;
        moment = (goal - l->capacity + l->speed - 1) / l->speed;
        return (usec_t) MIN(moment, (LimiterTime) USEC_INFINITY);
}

LimiterVerdict limiter_take(Limiter *l, usec_t now, uint64_t n, usec_t *ret_at) {
        assert(n > 0);

        if (n > l->config.burst) {
                *ret_at = USEC_INFINITY;
                return LIMITER_NEVER;
        }
        limiter_advance(l, now);
        if (list_is_empty(&l->waiters) && limiter_has(l, n)) {
                l->tat += limiter_cost(l, n);
                l->granted += n;
                *ret_at = l->latest;
                return LIMITER_TAKEN;
        }
        /* Those in line may only wait to be served; even so this is not the moment. */
        *ret_at = MAX(limiter_moment(l, l->wanted + n), usec_add(l->latest, 1));
        return LIMITER_WAIT;
}

LimiterVerdict limiter_try(Limiter *l, usec_t now, uint64_t n, usec_t *ret_at) {
        LimiterVerdict verdict = limiter_take(l, now, n, ret_at);

        if (verdict != LIMITER_TAKEN)
                l->denied++;
        return verdict;
}

/* Had the tokens not been taken, then since `taken_at` up to that much could have been lost in a
 * bucket that was full; it has come in instead. How much that was at another rate is not known any
 * more: then all of it may have come in. What is due beyond the burst was forgiven last. */
void limiter_give_back(Limiter *l, uint64_t n, usec_t taken_at) {
        LimiterTime came_in = limiter_clock(l, usec_sub(l->latest, taken_at));
        LimiterTime back = limiter_cost(l, n), above = l->tat - limiter_floor(l, l->latest);
        LimiterTime forgiven;

        l->granted -= MIN(l->granted, n);
        if (back <= came_in || taken_at < l->changed_at)
                return;
        back -= came_in;
        forgiven = MIN(back, l->forgiven);
        l->forgiven -= forgiven;
        l->tat -= MIN(back - forgiven, above);
}

uint64_t limiter_tokens(const Limiter *l, usec_t now) {
        usec_t at = MAX(now, l->latest);
        LimiterTime due;

        if (at < l->held_until)
                return 0;
        due = MAX(l->tat, limiter_floor(l, at)) - limiter_clock(l, at);
        return due < l->capacity ? (uint64_t) ((l->capacity - due) / l->cost) : 0;
}

uint64_t limiter_available(const Limiter *l, const LimiterWaiter *pool, usec_t now) {
        const List *first = list_first(&l->waiters);

        if (first && first != &pool->links)
                return pool->credit;
        return pool->credit + limiter_tokens(l, now);
}

usec_t limiter_full_at(const Limiter *l) {
        LimiterTime moment;

        if (l->credit > 0 || !list_is_empty(&l->waiters) || !list_is_empty(&l->failed))
                return USEC_INFINITY;
        moment = (l->tat + l->forgiven + l->speed - 1) / l->speed;
        return MAX((usec_t) MIN(moment, (LimiterTime) USEC_INFINITY), l->held_until);
}

void limiter_drain(Limiter *l, usec_t now) {
        limiter_advance(l, now);
        l->tat = MAX(l->tat, limiter_clock(l, l->latest) + l->capacity);
}

void limiter_hold(Limiter *l, usec_t until) {
        l->held_until = until;
}

void limiter_wait(Limiter *l, LimiterWaiter *waiter, uint64_t wants) {
        bool in_line = list_is_linked(&waiter->links);

        assert(wants > 0);
        assert(waiter->is_pool || (!in_line && wants <= l->config.burst));

        if (in_line)
                l->wanted -= waiter->wants;
        else {
                list_append(&l->waiters, &waiter->links);
                l->n_waiters++;
                waiter->failed = false;
        }
        /* A pool that wants more comes again; and the sum of all cannot overflow. */
        waiter->wants = MIN(wants, LIMITER_BURST_MAX);
        l->wanted += waiter->wants;
}

void limiter_leave(Limiter *l, LimiterWaiter *waiter) {
        if (list_is_linked(&waiter->links)) {
                list_remove(&waiter->links);
                if (!waiter->failed) {
                        l->n_waiters--;
                        l->wanted -= waiter->wants;
                        l->denied += !waiter->is_pool;
                }
        }
        waiter->wants = 0;

        /* The TAT is at or above the floor, which comes down by the same. */
        l->tat -= limiter_cost(l, waiter->credit);
        l->credit -= waiter->credit;
        waiter->credit = 0;
}

LimiterWaiter *limiter_serve(Limiter *l, usec_t now) {
        LimiterWaiter *waiter;
        uint64_t n;

        if (!list_is_empty(&l->failed))
                return list_entry(list_pop(&l->failed), LimiterWaiter, links);
        limiter_advance(l, now);
        if (list_is_empty(&l->waiters))
                return NULL;

        waiter = list_entry(list_first(&l->waiters), LimiterWaiter, links);
        n = waiter->wants;
        if (!limiter_has(l, n)) {
                if (!waiter->is_pool)
                        return NULL;
                n = MIN(n, limiter_tokens(l, l->latest));
                if (n == 0)
                        return NULL;
        }

        l->tat += limiter_cost(l, n);
        l->wanted -= n;
        waiter->wants -= n;
        if (waiter->is_pool) {
                waiter->credit += n;
                l->credit += n;
        } else
                l->granted += n;

        list_remove(&waiter->links);
        if (waiter->wants > 0)
                list_append(&l->waiters, &waiter->links);
        else
                l->n_waiters--;
        return waiter;
}

bool limiter_take_credit(Limiter *l, LimiterWaiter *waiter, usec_t now) {
        if (waiter->credit == 0)
                return false;
        limiter_advance(l, now);
        waiter->credit--;
        l->credit--;
        l->granted++;
        return true;
}

usec_t limiter_wake_at(const Limiter *l) {
        const LimiterWaiter *waiter;

        if (!list_is_empty(&l->failed))
                return 0;
        if (list_is_empty(&l->waiters))
                return USEC_INFINITY;
        waiter = list_entry(list_first(&l->waiters), LimiterWaiter, links);
        return limiter_moment(l, waiter->is_pool ? 1 : waiter->wants);
}
