/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* PoolGates: what stands between a pool's queue and its workers because others share it: a limiter
 * and a breaker. Their locks are taken under the pool's; all functions are for those who hold the
 * pool's lock, in any thread, unless they say otherwise. */

#include <stdbool.h>
#include <stdint.h>

#include "core/scheduler.h"
#include "engine/shared-breaker.h"
#include "engine/shared-limiter.h"

typedef struct GateTurn GateTurn;
typedef struct PoolGates PoolGates;

/* How a job that had passed has ended. */
typedef enum GateEnd {
        GATE_SUCCEEDED,
        GATE_FAILED,
        GATE_CANCELLED, /* says nothing of what the breaker watches */
} GateEnd;

typedef enum GateReason {
        GATE_OPEN,
        GATE_RATE,    /* no token */
        GATE_BREAKER, /* open, or no probe more at the moment */
} GateReason;

struct PoolGates {
        SharedLimiter *limiter; /* borrowed, counts us as a user; NULL = none. Constant while there
                                   are workers */
        SharedBreaker *breaker; /* the same */
        LimiterWaiter waiter;   /* guarded by the limiter's lock */
        List served;            /* main thread only: it was just given credit */

        /* Guarded by the pool's lock. */
        bool engaged;       /* it may be in the limiter's line, or have credit */
        GateReason shut_by; /* so nothing passes until the main thread hears otherwise */
};

/* One ask for jobs. */
struct GateTurn {
        Gates table; /* for scheduler_take() */
        PoolGates *gates;
        uint64_t *permits; /* borrowed: where that of each job goes */
        unsigned n_passed;
        bool entered;          /* the limiter's and the breaker's locks are held */
        usec_t now;            /* when that was */
        bool used_credit;      /* and others in the limiter's line may be due earlier for it */
        bool tells;            /* the breaker's state has changed */
        usec_t taken_at;       /* when the first token was taken */
        GateReason refused_by; /* why the job that is next now may not start */
};

/* main thread, no lock */
void pool_gates_init(PoolGates *gates, SharedLimiter *limiter, SharedBreaker *breaker);
void pool_gates_done(PoolGates *gates); /* main thread, no lock */

static inline bool pool_gates_exist(const PoolGates *gates) {
        return gates->limiter || gates->breaker;
}

/* What scheduler_take() is to be given: NULL where there is no gate. `permits` has room for as many
 * jobs as are asked for. The first job that is asked for locks the limiter and the breaker, and
 * gate_turn_done(), which is to follow at once, unlocks them. */
const Gates *gate_turn_init(GateTurn *turn, PoolGates *gates, uint64_t *permits);
void gate_turn_done(GateTurn *turn);

/* n >= 1 jobs that had passed were not begun: gives their tokens and permits back. */
void pool_gates_give_back(PoolGates *gates, const uint64_t *permits, unsigned n, usec_t taken_at);

/* n jobs that had passed have ended, in this order. Their permits are 0 then, and 0 is what was
 * reported already. */
void pool_gates_report(
        PoolGates *gates, uint64_t *permits, const GateEnd *ends, unsigned n, usec_t now);

/* The pool has idle workers and work for them, and nobody asks: waits in line for so many tokens,
 * and keeps its place if it does so already. */
void pool_gates_wait(PoolGates *gates, uint64_t wants);

/* The pool has no use for tokens: out of the line, and credit goes back. */
void pool_gates_leave(PoolGates *gates);

/* How many of n jobs could pass now, one after the other; asks limiter and breaker, and changes
 * nothing. Of those that could not, *ret_reason (may be NULL) is why the next may not. */
uint64_t pool_gates_could_pass(PoolGates *gates, uint64_t n, usec_t now, GateReason *ret_reason);

/* Tokens that are set aside for the pool. */
uint64_t pool_gates_credit(PoolGates *gates);
