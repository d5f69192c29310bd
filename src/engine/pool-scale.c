/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How a pool moves between MinWorkers and MaxWorkers. Whoever changes the pool reports to the
 * scaler, in any thread; that starts and stops its clock, which is part of what the pool's timer is
 * armed for. Only the main thread asks it, when the timer has fired, since that is who makes
 * threads. A report takes the gates' word of when they were asked last: if that is not true any
 * more, somebody comes to ask again, and reports. An ask looks at the gates as they are. */

#include "engine/pool-private.h"

static ScalerStats stats_of(const Pool *pool, usec_t now) {
        return (ScalerStats){
                .now = now,
                .workers = pool->n_target,
                .idle = pool->n_idle,
                .queued = pool_is_worth_asking(pool) ? scheduler_n_ready(&pool->scheduler) : 0,
                .min = pool->n_min,
                .max = pool->n_max,
        };
}

void pool_report_scale(Pool *pool, usec_t now) {
        const ScalerStats stats = stats_of(pool, now);

        scaler_report(&pool->scaler, &stats);
        timer_arm(&pool->timer, scaler_wake_at(&pool->scaler));
        /* Its clock has started: the main thread is to watch the host from the start. */
        if (pool->scaler.config.mode == SCALE_PRESSURE && !pool->stalls_watched &&
                scaler_wake_at(&pool->scaler) != USEC_INFINITY)
                timer_arm(&pool->timer, 0);
}

void pool_set_scale(Pool *pool, const ScalerConfig *config, uint32_t n_min, uint32_t n_max) {
        pool->n_min = n_min;
        pool->n_max = n_max;
        if (!scaler_config_equal(config, &pool->scaler.config))
                scaler_init(&pool->scaler, config);
}

bool pool_wants_stalls(Pool *pool) {
        bool wants;

        pool_lock(pool);
        wants = pool->scaler.config.mode == SCALE_PRESSURE &&
                scaler_wake_at(&pool->scaler) != USEC_INFINITY;
        pool->stalls_watched = wants;
        pool_unlock(pool);
        return wants;
}

/* Is it time, and what is wanted then? */
static ScaleReason ask(Pool *pool, usec_t now, bool stalled, uint32_t *ret_workers) {
        Scheduler *s = &pool->scheduler;
        ScalerStats stats;

        if (now < scaler_wake_at(&pool->scaler))
                return SCALE_KEEP;
        stats = stats_of(pool, now);
        /* More workers would not fill a batch any earlier. */
        stats.queued = scheduler_gathers(s) ? 0
                                            : pool_gates_could_pass(&pool->gates,
                                                      scheduler_n_eligible(s), now, NULL);
        if (pool->scaler.config.mode == SCALE_WAIT)
                stats.oldest_wait = scheduler_oldest_wait(s, now);
        stats.stalled = stalled;
        return scaler_ask(&pool->scaler, &stats, ret_workers);
}

bool pool_scale(Pool *pool, usec_t now, bool stalled, PoolScaling *ret) {
        PoolScaling scaling = { .from = pool->n_target };

        pool_lock(pool);
        scaling.reason = ask(pool, now, stalled, &scaling.to);
        pool_unlock(pool);
        if (scaling.reason == SCALE_KEEP)
                return false;
        scaling.error = pool_resize(pool, scaling.to);
        scaling.to = pool->n_target;
        *ret = scaling;
        return true;
}
