/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is told of a pool and of its jobs. */

#include <assert.h>

#include "engine/pool-private.h"

/* Nobody counts further. */
#define POSITION_MAX 10000

static PoolState state_locked(const Pool *pool) {
        if (pool->scheduler.draining)
                return POOL_DRAINING;
        if (pool->scheduler.paused)
                return POOL_PAUSED;
        return pool->n_stuck > 0 ? POOL_DEGRADED : POOL_RUNNING;
}

PoolState pool_state(Pool *pool) {
        PoolState state;

        pool_lock(pool);
        state = state_locked(pool);
        pool_unlock(pool);
        return state;
}

void pool_shape(Pool *pool, PoolState *ret_state, uint32_t *ret_n_workers) {
        pool_lock(pool);
        *ret_state = state_locked(pool);
        *ret_n_workers = pool->n_workers;
        pool_unlock(pool);
}

bool pool_is_empty(Pool *pool) {
        bool empty;

        pool_lock(pool);
        empty = scheduler_is_empty(&pool->scheduler);
        pool_unlock(pool);
        return empty && pool->n_unsettled == 0;
}

bool pool_has_no_jobs(Pool *pool) {
        bool empty;

        pool_lock(pool);
        empty = scheduler_is_empty(&pool->scheduler) && pool->scheduler.n_scheduled == 0;
        pool_unlock(pool);
        return empty && pool->n_unsettled == 0;
}

bool pool_is_quiet(Pool *pool) {
        bool quiet;

        if (!pool->store)
                return pool_has_no_jobs(pool);
        pool_lock(pool);
        quiet = pool->scheduler.n_running == 0 && pool->scheduler.n_promised == 0;
        pool_unlock(pool);
        return quiet && pool->n_unsettled == 0;
}

static void histogram_read(const Histogram *h, usec_t ret[static 4]) {
        ret[0] = histogram_quantile(h, 500);
        ret[1] = histogram_quantile(h, 950);
        ret[2] = histogram_quantile(h, 990);
        ret[3] = h->max;
}

/* Claimed jobs that have begun run, though the scheduler hears of it with their end. */
static uint64_t n_begun_claims(const Pool *pool) {
        uint64_t n = 0;

        if (pool->n_several == 0)
                return 0;
        list_for_each (l, &pool->workers) {
                const Worker *worker = list_entry(l, Worker, links);
                unsigned begun = claim_begun(atomic_load(&worker->claim));

                for (unsigned i = worker->n_published; worker->several && i < begun; i++)
                        n += (worker->jobs[i]->flags & JOB_CLAIMED) != 0;
        }
        return n;
}

static bool is_in_next_call(const Pool *pool, const Job *job) {
        uint32_t n = pool->scheduler.config.batch_size;

        return pool_has_batches(pool) ? scheduler_position(&pool->scheduler, job, n + 1) <= n
                                      : scheduler_is_next(&pool->scheduler, job);
}

/* Why a waiting job does not run yet: the first of the gates that is shut to it now, whatever the
 * pool was told when it asked last. */
static const char *pending_reason(Pool *pool, const Job *job) {
        const Scheduler *s = &pool->scheduler;
        GateReason shut_by;

        /* On the way out; what waits is ended, and not started. */
        if (s->ending || (pool->removing && (s->paused || job->state == JOB_SCHEDULED)))
                return "draining";
        if (job->state == JOB_SCHEDULED)
                return "delay";
        if (s->paused)
                return "paused";
        /* It has passed all gates. */
        if (job->flags & JOB_CLAIMED)
                return "workers";
        (void) pool_gates_could_pass(&pool->gates, 1, usec_now(CLOCK_MONOTONIC), &shut_by);
        if (shut_by == GATE_BREAKER)
                return "breaker";
        if (job_is_parked(job))
                return "key";
        if (scheduler_gathers(s))
                return "batch";
        if (!is_in_next_call(pool, job))
                return "priority";
        return shut_by == GATE_RATE ? "rate" : "workers";
}

/* Why the first in line waits; "" where nothing does. */
static const char *first_pending_reason(Pool *pool, const PoolView *view) {
        const Scheduler *s = &pool->scheduler;
        const Job *first = scheduler_next(s), *parked = prioq_first(&s->keys.parked);

        if (first)
                return pending_reason(pool, first);
        /* What is queued was claimed by workers that have not come to it, … */
        if (view->n_queued > s->keys.parked.n_jobs)
                return "workers";
        /* … or waits for its key. */
        if (parked)
                return pending_reason(pool, parked);
        return view->n_scheduled > 0 ? "delay" : "";
}

void pool_view(Pool *pool, PoolView *ret) {
        uint64_t n_begun;

        pool_lock(pool);
        n_begun = n_begun_claims(pool);
        *ret = (PoolView){
                .state = state_locked(pool),
                .n_workers = pool->n_workers,
                .n_queued = pool->scheduler.n_queued - n_begun,
                .n_scheduled = pool->scheduler.n_scheduled,
                .n_running = pool->scheduler.n_running + n_begun,
                .counters = pool->scheduler.counters,
                .n_batches = pool->n_batches,
        };
        ret->pending_reason = first_pending_reason(pool, ret);
        list_for_each (l, &pool->workers)
                ret->n_busy += list_entry(l, Worker, links)->n_jobs > 0;
        histogram_read(&pool->queue_wait, ret->queue_wait);
        histogram_read(&pool->run_time, ret->run_time);
        pool_unlock(pool);
}

static usec_t to_realtime(usec_t monotonic) {
        usec_t now = usec_now(CLOCK_MONOTONIC), realtime = usec_now(CLOCK_REALTIME);

        return monotonic == 0 ? 0 : usec_sub(realtime, usec_sub(now, monotonic));
}

/* The place of a waiting job. The scheduler does not know how far the turns of workers have come.
 */
static uint64_t position(Pool *pool, const Job *job) {
        uint64_t n_begun = n_begun_claims(pool);
        Worker *worker;
        unsigned i;

        if (job->flags & JOB_CLAIMED) {
                worker = pool_find_worker(pool, job, &i);
                assert(worker);
                /* It may have begun by now. */
                return i + 1 - MIN(i, claim_begun(atomic_load(&worker->claim)));
        }
        if (job_is_parked(job))
                return scheduler_position(&pool->scheduler, job, POSITION_MAX);
        return scheduler_position(&pool->scheduler, job, POSITION_MAX + n_begun) - n_begun;
}

/* What a worker knows of a job that it has. */
static void view_running(Pool *pool, Job *job, JobView *ret) {
        unsigned i;
        Worker *worker = pool_find_worker(pool, job, &i);

        if (!worker || i >= claim_begun(atomic_load_explicit(&worker->claim, memory_order_acquire)))
                return;
        if (job->flags & JOB_CLAIMED)
                ret->state = JOB_RUNNING;
        ret->worker = (int32_t) worker->id;
        ret->attempt = worker->results[i].attempt;
        ret->started_realtime = to_realtime(worker->run.started_at);
        ret->duration = usec_sub(usec_now(CLOCK_MONOTONIC), worker->run.started_at);
        if (!worker->batch)
                ret->progress = atomic_load_explicit(&worker->progress, memory_order_relaxed);
}

/* What is not on the disk yet has not happened: such a job is on its way out of here. */
static bool is_finished(const Job *job) {
        return job->state == JOB_FINISHED && !job->unsettled && !job->interrupted;
}

static JobState shown_state(const Job *job) {
        if (unlikely(job->state == JOB_FINISHED && job->interrupted))
                return JOB_QUEUED;
        if (unlikely(job->state == JOB_FINISHED && job->unsettled))
                return job->details && job->details->started_at > 0 ? JOB_RUNNING : JOB_QUEUED;
        return job->state == JOB_PASSING ? JOB_QUEUED : (JobState) job->state;
}

void pool_job_view(Pool *pool, Job *job, JobView *ret) {
        const Submission *submission = job->submission;
        const JobDetails *details;

        pool_lock(pool);
        details = job->details;
        *ret = (JobView){
                .id = job->id,
                .state = shown_state(job),
                .result = is_finished(job) ? (JobResult) job->result : _JOB_RESULT_INVALID,
                .priority = job->priority,
                .owner = submission->owner,
                .worker = -1,
                .tag = submission->tag ?: "",
                .concurrency_key = submission->concurrency_key ?: "",
                .submitted_realtime = submission->submitted_realtime,
                .progress = -1,
                .pending_reason = "",
                .interrupted = job->interrupted,
        };
        if (details) {
                ret->attempt = details->attempt;
                ret->worker = details->worker;
                ret->exit_status = details->exit_status;
                ret->started_realtime = to_realtime(details->started_at);
                /* That of its last attempt, of one that waits for another. */
                if (is_finished(job))
                        ret->finished_realtime = to_realtime(details->finished_at);
                ret->duration = details->duration;
                ret->progress = details->progress;
        }
        if (is_finished(job) && ret->finished_realtime == 0)
                ret->finished_realtime = to_realtime(job->due_at);
        if (job->state == JOB_RUNNING || job->state == JOB_STOPPING || (job->flags & JOB_CLAIMED))
                view_running(pool, job, ret);
        if (job->state == JOB_PASSING || (job->state == JOB_FINISHED && ret->state == JOB_QUEUED)) {
                /* No pool knows it at the moment, and it is about to be queued. */
                ret->pending_reason = "workers";
                ret->position = 1;
        } else if (ret->state == JOB_QUEUED || ret->state == JOB_SCHEDULED) {
                ret->pending_reason = pending_reason(pool, job);
                ret->position = position(pool, job);
        }
        pool_unlock(pool);
}

void pool_job_view_state(Pool *pool, Job *job, JobView *ret) {
        unsigned i = 0;
        Worker *worker;

        pool_lock(pool);
        ret->state = shown_state(job);
        ret->result = is_finished(job) ? (JobResult) job->result : _JOB_RESULT_INVALID;
        ret->interrupted = job->interrupted;
        if (job->flags & JOB_CLAIMED) {
                worker = pool_find_worker(pool, job, &i);
                assert(worker);
                if (i < claim_begun(atomic_load_explicit(&worker->claim, memory_order_acquire)))
                        ret->state = JOB_RUNNING;
        }
        pool_unlock(pool);
}
