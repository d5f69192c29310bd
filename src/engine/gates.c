/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A worker that comes for jobs asks directly, credit first, so a pool whose workers are all busy
 * needs nobody else to get its tokens. Only a pool with work and idle workers stands in the
 * limiter's line, once for all of its jobs, and wants no more than these workers could take. In the
 * critical section in which that ends it leaves, so nobody waits behind a pool that has no use for
 * tokens. */

#include <assert.h>

#include "engine/gates.h"
#include "util/mutex.h"

/* A token for one job: from the credit, or directly if nobody is in line. */
static bool take_token(GateTurn *turn, usec_t now) {
        PoolGates *gates = turn->gates;
        SharedLimiter *limiter = gates->limiter;
        bool taken;
        usec_t at;

        mutex_lock(&limiter->lock);
        if (gates->engaged && limiter_take_credit(&limiter->limiter, &gates->waiter, now)) {
                at = limiter->limiter.latest;
                taken = true;
                /* Who is next in line was waiting for this. */
                shared_limiter_arm(limiter);
        } else
                taken = limiter_take(&limiter->limiter, now, 1, &at) == LIMITER_TAKEN;
        mutex_unlock(&limiter->lock);

        if (taken && turn->n_passed == 0)
                turn->taken_at = at;
        return taken;
}

static void give_token_back(PoolGates *gates, uint64_t n, usec_t taken_at) {
        SharedLimiter *limiter = gates->limiter;

        if (!limiter)
                return;
        mutex_lock(&limiter->lock);
        limiter_give_back(&limiter->limiter, n, taken_at);
        shared_limiter_arm(limiter);
        mutex_unlock(&limiter->lock);
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
        bool probe;

        if (gates->breaker) {
                if (shared_breaker_rejects(gates->breaker, now, &probe))
                        return refuse(turn, GATE_BREAKER);
                /* What probes find out is to be known before the next one. */
                if (probe && turn->n_passed > 0)
                        return refuse(turn, GATE_OPEN);
        }
        if (gates->limiter && !take_token(turn, now))
                return refuse(turn, GATE_RATE);
        if (gates->breaker) {
                permit = shared_breaker_ask(gates->breaker, now);
                if (permit == 0) {
                        give_token_back(gates, 1, turn->taken_at);
                        return refuse(turn, GATE_BREAKER);
                }
        }
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

void pool_gates_give_back(PoolGates *gates, const uint64_t *permits, unsigned n, usec_t taken_at) {
        if (n > 0)
                give_token_back(gates, n, taken_at);
        for (unsigned i = 0; gates->breaker && i < n; i++)
                shared_breaker_cancel(gates->breaker, permits[i]);
}

void pool_gates_report(PoolGates *gates, uint64_t *permit, bool succeeded, usec_t now) {
        if (!gates->breaker || *permit == 0)
                return;
        shared_breaker_report(gates->breaker, *permit, succeeded, now);
        *permit = 0;
}

void pool_gates_cancel(PoolGates *gates, uint64_t *permit) {
        if (!gates->breaker || *permit == 0)
                return;
        shared_breaker_cancel(gates->breaker, *permit);
        *permit = 0;
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

const char *gate_reason_to_string(GateReason reason) {
        switch (reason) {

        case GATE_OPEN:
                return NULL;

        case GATE_RATE:
                return "rate";

        case GATE_BREAKER:
                return "breaker";
        }
        return NULL;
}
