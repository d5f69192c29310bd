/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A worker that comes for jobs asks directly, credit first, so a pool whose workers are all busy
 * needs nobody else to get its tokens. Only a pool with work and idle workers stands in the
 * limiter's line, once for all of its jobs, and wants no more than these workers could take. In the
 * critical section in which that ends it leaves, so nobody waits behind a pool that has no use for
 * tokens.
 *
 * Of short jobs a worker takes many at a time, and reports many. What is decided for one of them is
 * a few nanoseconds; to lock and unlock is ten times that. So a turn locks the leaves once, for all
 * the jobs that it takes, and once more for all that it reports. Tokens and permits are still asked
 * for job by job and all at one moment, so nobody sees any that are taken and not used. */

#include <assert.h>

#include "engine/gates.h"
#include "util/mutex.h"

/* ---- a turn ---- */

/* A lock per job would cost more than all that is decided under it. The clock is read when it is
 * held: a worker that loses its CPU between its own reading and the lock would take tokens of a
 * moment that is over, and what came in since would come in a second time. */
static void enter(GateTurn *turn) {
        if (turn->entered)
                return;
        turn->entered = true;
        if (turn->gates->limiter)
                mutex_lock(&turn->gates->limiter->lock);
        if (turn->gates->breaker)
                mutex_lock(&turn->gates->breaker->lock);
        turn->now = usec_now(CLOCK_MONOTONIC);
}

void gate_turn_done(GateTurn *turn) {
        SharedLimiter *limiter = turn->gates->limiter;
        SharedBreaker *breaker = turn->gates->breaker;

        if (!turn->entered)
                return;
        turn->entered = false;
        if (breaker) {
                if (turn->tells)
                        shared_breaker_arm(breaker, /* at_once= */ true);
                mutex_unlock(&breaker->lock);
        }
        if (limiter) {
                /* Who is next in line was waiting for the credit to be used. */
                if (turn->used_credit)
                        shared_limiter_arm(limiter);
                mutex_unlock(&limiter->lock);
        }
}

/* A token for one job: from the credit, or directly if nobody is in line. */
static bool take_token(GateTurn *turn) {
        PoolGates *gates = turn->gates;
        Limiter *limiter = &gates->limiter->limiter;
        usec_t at;

        if (gates->engaged && limiter_take_credit(limiter, &gates->waiter, turn->now)) {
                at = limiter->latest;
                turn->used_credit = true;
        } else if (limiter_take(limiter, turn->now, 1, &at) != LIMITER_TAKEN)
                return false;
        if (turn->n_passed == 0)
                turn->taken_at = at;
        return true;
}

static uint64_t take_permit(GateTurn *turn) {
        Breaker *breaker = &turn->gates->breaker->breaker;
        BreakerState old = breaker->state;
        uint64_t permit;

        (void) breaker_ask(breaker, turn->now, &permit);
        turn->tells |= breaker->state != old;
        return permit;
}

static usec_t refuse(GateTurn *turn, GateReason reason) {
        turn->refused_by = reason;
        return USEC_INFINITY;
}

/* The breaker is looked at before a token is taken, and its permit is taken after. */
static usec_t pass(void *userdata, const Job *job, usec_t now) {
        GateTurn *turn = userdata;
        PoolGates *gates = turn->gates;
        uint64_t permit = 0;

        enter(turn);
        if (gates->breaker) {
                BreakerVerdict verdict = breaker_peek(&gates->breaker->breaker, turn->now);

                if (verdict == BREAKER_REJECT)
                        return refuse(turn, GATE_BREAKER);
                /* What probes find out is to be known before the next one. */
                if (verdict == BREAKER_PROBE && turn->n_passed > 0)
                        return refuse(turn, GATE_OPEN);
        }
        if (gates->limiter && !take_token(turn))
                return refuse(turn, GATE_RATE);
        if (gates->breaker)
                permit = take_permit(turn);
        turn->permits[turn->n_passed++] = permit;
        return 0;
}

const Gates *gate_turn_init(GateTurn *turn, PoolGates *gates, uint64_t *permits) {
        *turn = (GateTurn){
                .table = { .pass = pass, .userdata = turn },
                .gates = gates,
                .permits = permits,
        };
        return pool_gates_exist(gates) ? &turn->table : NULL;
}

/* ---- the gates of a pool ---- */

void pool_gates_init(PoolGates *gates, SharedLimiter *limiter, SharedBreaker *breaker) {
        *gates = (PoolGates){ .limiter = limiter, .breaker = breaker, .waiter.is_pool = true };
        list_init(&gates->waiter.links);
        list_init(&gates->served);
        if (limiter)
                limiter->n_users++;
        if (breaker)
                breaker->n_users++;
}

void pool_gates_done(PoolGates *gates) {
        pool_gates_leave(gates);
        if (gates->limiter)
                gates->limiter->n_users--;
        if (gates->breaker)
                gates->breaker->n_users--;
        gates->limiter = NULL;
        gates->breaker = NULL;
}

static void give_tokens_back(SharedLimiter *limiter, unsigned n, usec_t taken_at) {
        mutex_lock(&limiter->lock);
        limiter_give_back(&limiter->limiter, n, taken_at);
        shared_limiter_arm(limiter);
        mutex_unlock(&limiter->lock);
}

static void cancel_permits(SharedBreaker *breaker, const uint64_t *permits, unsigned n) {
        bool tells = false;

        mutex_lock(&breaker->lock);
        for (unsigned i = 0; i < n; i++)
                tells |= breaker_cancel(&breaker->breaker, permits[i]);
        if (tells)
                shared_breaker_arm(breaker, /* at_once= */ true);
        mutex_unlock(&breaker->lock);
}

void pool_gates_give_back(PoolGates *gates, const uint64_t *permits, unsigned n, usec_t taken_at) {
        if (gates->limiter)
                give_tokens_back(gates->limiter, n, taken_at);
        if (gates->breaker)
                cancel_permits(gates->breaker, permits, n);
}

/* Returns whether others would be answered differently now. */
static bool end_permit(Breaker *breaker, uint64_t permit, GateEnd end, usec_t now) {
        switch (end) {

        case GATE_SUCCEEDED:
        case GATE_FAILED:
                return breaker_report(breaker, permit, end == GATE_SUCCEEDED, now);

        case GATE_CANCELLED:
                break;
        }
        return breaker_cancel(breaker, permit);
}

void pool_gates_report(
        PoolGates *gates, uint64_t *permits, const GateEnd *ends, unsigned n, usec_t now) {
        SharedBreaker *breaker = gates->breaker;
        bool tells = false;

        if (!breaker)
                return;
        mutex_lock(&breaker->lock);
        for (unsigned i = 0; i < n; i++) {
                if (permits[i] == 0)
                        continue;
                tells |= end_permit(&breaker->breaker, permits[i], ends[i], now);
                permits[i] = 0;
        }
        if (tells)
                shared_breaker_arm(breaker, /* at_once= */ true);
        mutex_unlock(&breaker->lock);
}

void pool_gates_wait(PoolGates *gates, uint64_t wants) {
        SharedLimiter *limiter = gates->limiter;

        assert(limiter);
        gates->engaged = true;
        gates->shut_by = GATE_RATE;
        mutex_lock(&limiter->lock);
        /* Credit that nobody comes for would be in its own way. */
        if (gates->waiter.credit > 0)
                limiter_leave(&limiter->limiter, &gates->waiter);
        if (!list_is_linked(&gates->waiter.links))
                limiter_wait(&limiter->limiter, &gates->waiter, wants);
        shared_limiter_arm(limiter);
        mutex_unlock(&limiter->lock);
}

void pool_gates_leave(PoolGates *gates) {
        SharedLimiter *limiter = gates->limiter;

        if (gates->shut_by == GATE_RATE)
                gates->shut_by = GATE_OPEN;
        if (!gates->engaged)
                return;
        gates->engaged = false;
        mutex_lock(&limiter->lock);
        limiter_leave(&limiter->limiter, &gates->waiter);
        shared_limiter_arm(limiter);
        mutex_unlock(&limiter->lock);
}

uint64_t pool_gates_could_pass(PoolGates *gates, uint64_t n, usec_t now, GateReason *ret_reason) {
        SharedLimiter *limiter = gates->limiter;
        GateReason reason = GATE_OPEN;
        uint64_t room;

        if (limiter) {
                mutex_lock(&limiter->lock);
                room = limiter_available(&limiter->limiter, &gates->waiter, now);
                mutex_unlock(&limiter->lock);
                if (room < n) {
                        n = room;
                        reason = GATE_RATE;
                }
        }
        if (gates->breaker) {
                room = shared_breaker_room(gates->breaker, now);
                /* It is the first that is asked. */
                if (room < n || room == 0) {
                        n = room;
                        reason = GATE_BREAKER;
                }
        }
        if (ret_reason)
                *ret_reason = reason;
        return n;
}

uint64_t pool_gates_credit(PoolGates *gates) {
        SharedLimiter *limiter = gates->limiter;
        uint64_t credit;

        if (!limiter || !gates->engaged)
                return 0;
        mutex_lock(&limiter->lock);
        credit = gates->waiter.credit;
        mutex_unlock(&limiter->lock);
        return credit;
}
