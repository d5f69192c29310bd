/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* When a pool asks its limiter and its breaker, and when it waits for them. */

#include "engine/pool-private.h"

/* Is there work that a worker could get if it asked? */
bool pool_is_worth_asking(const Pool *pool) {
        return scheduler_has_work(&pool->scheduler) && pool->gates.shut_by == GATE_OPEN;
}

/* How many tokens idle workers could take now: one for each job, or for each batch. */
static uint64_t tokens_of_use(const Pool *pool) {
        uint64_t per_worker = pool_has_batches(pool) ? 1 : pool_turn_size(pool);

        return MIN(pool_n_calls(pool, UINT64_MAX), pool->n_idle * per_worker);
}

/* Work that idle workers could do, and none of them comes for it by itself: then the pool waits in
 * line for tokens. Otherwise it does not. The lock is held. */
void pool_settle_gates(Pool *pool) {
        if (!pool_gates_exist(&pool->gates))
                return;
        if (!scheduler_has_work(&pool->scheduler) || pool->n_idle + pool->n_coming == 0 ||
                pool->gates.shut_by == GATE_BREAKER)
                pool_gates_leave(&pool->gates);
        else if (pool->gates.limiter && pool->n_coming == 0 && pool->gates.shut_by == GATE_OPEN)
                pool_gates_wait(&pool->gates, tokens_of_use(pool));
}

/* Nobody asks again until the breaker says so. The lock is held. */
void pool_shut_by_breaker(Pool *pool) {
        pool_gates_leave(&pool->gates);
        pool->gates.shut_by = GATE_BREAKER;
        /* Main refuses what is queued. */
        if (pool->refuses)
                timer_arm(&pool->timer, 0);
}

/* When an idle worker could have what was not to be had before: a batch, or jobs whose keys are
 * free again. At once, if a worker has left behind more of that and nobody comes for it: main is to
 * wake somebody. */
static usec_t more_at(const Pool *pool) {
        if (pool->n_idle == 0 || pool->gates.shut_by != GATE_OPEN)
                return USEC_INFINITY;
        return pool->n_coming == 0 && scheduler_has_work(&pool->scheduler)
                       ? 0
                       : scheduler_batch_at(&pool->scheduler);
}

void pool_arm_timer(Pool *pool, usec_t now) {
        usec_t t = scheduler_wake_at(&pool->scheduler);

        if (unlikely(pool_has_batches(pool) || keys_are_in_use(&pool->scheduler.keys)))
                t = MIN(t, more_at(pool));
        timer_arm(&pool->timer, t);
        if (unlikely(pool_is_elastic(pool)))
                pool_report_scale(pool, now);
}

/* There may be work that nobody looks at, and the timer may be due earlier; the lock is held. */
void pool_after_change(Pool *pool) {
        if (pool_is_worth_asking(pool))
                pool_wake_idle(pool, pool_n_calls(pool, UINT64_MAX));
        pool_settle_gates(pool);
        pool_arm_timer(pool, pool_is_elastic(pool) ? usec_now(CLOCK_MONOTONIC) : 0);
}

void pool_gates_opened(Pool *pool) {
        pool_lock(pool);
        if (pool->gates.shut_by == GATE_BREAKER)
                pool->gates.shut_by = GATE_OPEN;
        pool_after_change(pool);
        pool_unlock(pool);
}

bool pool_is_refusing(Pool *pool, usec_t *ret_retry_after) {
        BreakerView view;

        if (!pool->refuses || !pool->gates.breaker)
                return false;
        shared_breaker_view(pool->gates.breaker, &view);
        if (view.state != BREAKER_OPEN)
                return false;
        *ret_retry_after = view.retry_after;
        return true;
}

bool pool_refuse(Pool *pool, Job *job) {
        usec_t now = usec_now(CLOCK_MONOTONIC);
        bool refused, wake = false;
        Mail mail;

        mail_init(&mail);
        pool_lock(pool);
        refused = scheduler_refuse(&pool->scheduler, job);
        if (refused) {
                if (job->details)
                        job->details->finished_at = now;
                (void) pool_post_finished(pool, job, now, &mail);
                pool_settle_gates(pool);
                (void) pool_post_room(pool, &mail);
                wake = mailbox_post(pool->mailbox, &mail, /* urgent= */ true);
        }
        pool_unlock(pool);
        if (wake)
                mailbox_wake(pool->mailbox);
        return refused;
}

void pool_gates_served(Pool *pool) {
        pool_lock(pool);
        if (pool->gates.shut_by == GATE_RATE)
                pool->gates.shut_by = GATE_OPEN;
        if (pool_is_worth_asking(pool))
                pool_wake_idle(pool, pool_gates_credit(&pool->gates));
        pool_settle_gates(pool);
        pool_unlock(pool);
}
