/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What would be lost if the daemon were started anew: whatever is neither in the settings files,
 * nor what the store has of objects, nor a counter. */

#include "engine/durable.h"
#include "engine/engine-private.h"
#include "util/mutex.h"

/* A pause and a drain come back with what was set. */
static bool pool_comes_back(Engine *engine, Pool *pool) {
        bool is_stored = object_row_is_stored(engine, &pool->row);

        if (pool->removing || !pool_has_no_jobs(pool))
                return false;
        switch (pool_state(pool)) {
        case POOL_RUNNING:
                return is_stored || (pool->origin && !pool->touched);
        case POOL_PAUSED:
        case POOL_DRAINING:
                return is_stored;
        case POOL_DEGRADED:
        case _POOL_STATE_MAX:
        case _POOL_STATE_INVALID:
                break;
        }
        return false;
}

static bool pipeline_comes_back(Engine *engine, const PoolPipeline *pipeline) {
        return !pipeline->removing && pipeline->pipeline.n_in_flight == 0 &&
               (object_row_is_stored(engine, &pipeline->row) ||
                       (pipeline->from_file && !pipeline->touched && !pipeline->pipeline.draining));
}

/* What was set of the limiter or breaker that a pool has for itself is in the pool's row. */
static bool own_gate_is_stored(Engine *engine, const char *name) {
        const Pool *pool = engine_find_pool(engine, name);

        return pool && object_row_is_stored(engine, &pool->row);
}

static bool breaker_comes_back(Engine *engine, SharedBreaker *breaker) {
        bool fresh;

        mutex_lock(&breaker->lock);
        fresh = breaker_is_fresh(&breaker->breaker);
        mutex_unlock(&breaker->lock);
        if (!fresh)
                return false;
        if (breaker->of_pool)
                return !breaker->touched || own_gate_is_stored(engine, breaker->name);
        return (breaker->from_file && !breaker->touched) ||
               object_row_is_stored(engine, &breaker->row);
}

static bool limiter_comes_back(Engine *engine, const SharedLimiter *limiter) {
        if (limiter->of_pool)
                return !limiter->touched || own_gate_is_stored(engine, limiter->name);
        return (limiter->from_file && !limiter->touched) ||
               object_row_is_stored(engine, &limiter->row);
}

/* From when on the limiter is as it comes back. */
static usec_t limiter_comes_back_at(Engine *engine, SharedLimiter *limiter) {
        usec_t at;

        if (!limiter_comes_back(engine, limiter))
                return USEC_INFINITY;
        mutex_lock(&limiter->lock);
        at = limiter_full_at(&limiter->limiter);
        mutex_unlock(&limiter->lock);
        return at;
}

usec_t engine_idle_at(Engine *engine) {
        usec_t at = 0;

        /* Of jobs that have finished, and of groups, the results are kept. */
        if (engine->misses_file || engine->jobs.n_jobs > 0 || engine->groups ||
                !list_is_empty(&engine->sweeps) || !mailbox_is_empty(&engine->mailbox) ||
                !engine_is_stored(engine))
                return USEC_INFINITY;
        list_for_each (l, &engine->pools)
                if (!pool_comes_back(engine, list_entry(l, Pool, links)))
                        return USEC_INFINITY;
        list_for_each (l, &engine->pipelines)
                if (!pipeline_comes_back(engine, list_entry(l, PoolPipeline, links)))
                        return USEC_INFINITY;
        list_for_each (l, &engine->breakers)
                if (!breaker_comes_back(engine, list_entry(l, SharedBreaker, links)))
                        return USEC_INFINITY;
        list_for_each (l, &engine->limiters)
                at = MAX(at, limiter_comes_back_at(engine, list_entry(l, SharedLimiter, links)));
        return at;
}
