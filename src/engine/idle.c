/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What would be lost if the daemon were started anew: whatever is neither in the settings files nor
 * a counter. */

#include "engine/durable.h"
#include "engine/engine-private.h"
#include "util/mutex.h"

static bool pool_is_as_loaded(Pool *pool) {
        return pool->origin && !pool->touched && !pool->removing &&
               pool_state(pool) == POOL_RUNNING && pool_has_no_jobs(pool);
}

static bool pipeline_is_as_loaded(const PoolPipeline *pipeline) {
        return pipeline->from_file && !pipeline->touched && !pipeline->removing &&
               !pipeline->pipeline.draining && pipeline->pipeline.n_in_flight == 0;
}

static bool breaker_is_as_loaded(SharedBreaker *breaker) {
        bool fresh;

        mutex_lock(&breaker->lock);
        fresh = breaker_is_fresh(&breaker->breaker);
        mutex_unlock(&breaker->lock);
        return fresh && !breaker->touched && (breaker->from_file || breaker->of_pool);
}

/* From when on the limiter is as it was loaded. */
static usec_t limiter_as_loaded_at(SharedLimiter *limiter) {
        usec_t at;

        if (limiter->touched || !(limiter->from_file || limiter->of_pool))
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
                if (!pool_is_as_loaded(list_entry(l, Pool, links)))
                        return USEC_INFINITY;
        list_for_each (l, &engine->pipelines)
                if (!pipeline_is_as_loaded(list_entry(l, PoolPipeline, links)))
                        return USEC_INFINITY;
        list_for_each (l, &engine->breakers)
                if (!breaker_is_as_loaded(list_entry(l, SharedBreaker, links)))
                        return USEC_INFINITY;
        list_for_each (l, &engine->limiters)
                at = MAX(at, limiter_as_loaded_at(list_entry(l, SharedLimiter, links)));
        return at;
}
