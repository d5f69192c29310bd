/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Turns of several jobs. Such a turn holds jobs that have not begun. They are taken back when a
 * worker has nothing to do, when a more urgent job arrives or becomes due, when the pool is paused,
 * and when the turn is cut: because it takes too long, or because one of its jobs is to be changed.
 * After a cut the worker has the one job that it has begun, so that a stop, a time-out and a stuck
 * worker are always about one job. See struct Worker for how claims are settled. */

#include <assert.h>

#include "engine/pool-private.h"

/* Takes back what the worker has not begun; the lock is held. */
static unsigned reclaim(Pool *pool, Worker *worker) {
        uint32_t claim = atomic_load_explicit(&worker->claim, memory_order_relaxed);
        unsigned begun, end;

        do {
                begun = claim_begun(claim);
                end = claim_end(claim);
                if (begun >= end)
                        return 0;
        } while (!atomic_compare_exchange_weak_explicit(&worker->claim, &claim,
                claim_make(begun, begun), memory_order_acq_rel, memory_order_relaxed));

        for (unsigned i = end; i-- > begun;)
                scheduler_unclaim(&pool->scheduler, worker->jobs[i]);
        pool_gates_give_back(&pool->gates, worker->permits + begun, end - begun, worker->taken_at);
        worker->n_jobs = begun;
        return end - begun;
}

unsigned pool_reclaim_all(Pool *pool) {
        unsigned n = 0;

        if (pool->n_several == 0)
                return 0;
        list_for_each (l, &pool->workers)
                n += reclaim(pool, list_entry(l, Worker, links));
        return n;
}

/* Takes back from the worker that has set aside most. */
bool pool_reclaim_most(Pool *pool) {
        while (pool->n_several > 0) {
                Worker *most = NULL;
                unsigned max = 0;

                list_for_each (l, &pool->workers) {
                        Worker *worker = list_entry(l, Worker, links);
                        uint32_t claim = atomic_load_explicit(&worker->claim, memory_order_relaxed);

                        if (claim_end(claim) > claim_begun(claim) + max) {
                                max = claim_end(claim) - claim_begun(claim);
                                most = worker;
                        }
                }
                if (!most)
                        return false;
                /* It may have begun the last one meanwhile: then it is another's turn to give. */
                if (reclaim(pool, most) > 0)
                        return true;
        }
        return false;
}

/* The worker that has the job, which runs or is claimed; *ret_index is its place in the turn. */
Worker *pool_find_worker(Pool *pool, const Job *job, unsigned *ret_index) {
        list_for_each (l, &pool->workers) {
                Worker *worker = list_entry(l, Worker, links);

                for (unsigned i = worker->n_published; i < worker->n_jobs; i++)
                        if (worker->jobs[i] == job) {
                                *ret_index = i;
                                return worker;
                        }
        }
        return NULL;
}

/* Cuts a turn of several jobs: what was not begun goes back, what is done is published. What is
 * left is a turn of the one job that was begun last, which may be done by now, but that is for the
 * worker to say. The lock is held. True if it is urgent. */
bool pool_cut_turn(Pool *pool, Worker *worker, usec_t now, Mail *mail) {
        unsigned n_begun;
        bool urgent;
        Job *job;

        (void) reclaim(pool, worker);
        n_begun = claim_begun(atomic_load_explicit(&worker->claim, memory_order_acquire));
        urgent = pool_publish(pool, worker, n_begun - 1, n_begun, now, mail);
        job = worker->jobs[n_begun - 1];
        if (job->flags & JOB_CLAIMED)
                scheduler_start(&pool->scheduler, job);
        worker->several = false;
        pool->n_several--;
        /* When exactly it was begun nobody knows; its time-out is not to come too early. */
        scheduler_remove_run(&pool->scheduler, &worker->run);
        scheduler_add_run(&pool->scheduler, &worker->run,
                n_begun > 1 ? now : worker->turn_started_at, pool_run_timeout(pool, job));
        return urgent;
}

/* A job in a turn of several becomes a queued, a running or a finished one, so that it can be
 * changed; the lock is held. True if it is urgent. */
bool pool_settle(Pool *pool, Job *job, usec_t now, Mail *mail) {
        Worker *worker;
        unsigned i;

        if (pool->n_several == 0 || (job->state != JOB_RUNNING && !(job->flags & JOB_CLAIMED)))
                return false;
        worker = pool_find_worker(pool, job, &i);
        assert(worker);
        return worker->several && pool_cut_turn(pool, worker, now, mail);
}

/* How many jobs a turn may take. */
size_t pool_turn_size(const Pool *pool) {
        uint64_t n;

        if (unlikely(pool_has_batches(pool)))
                return pool->scheduler.config.batch_size;
        if (!pool->config->handler->takes_several || pool->mean_run_nsec == 0)
                return 1;
        n = MIN(TURN_USEC * 1000 / pool->mean_run_nsec, (uint64_t) TURN_JOBS_MAX);
        n = MIN(n, scheduler_n_ready(&pool->scheduler) / MAX(pool->n_workers, 1U));
        return (size_t) MAX(n, UINT64_C(1));
}

/* Does the job that is next come before one that a worker has set aside? */
bool pool_overtakes_claims(Pool *pool, const Job *job) {
        const Scheduler *s = &pool->scheduler;

        if (pool->n_several == 0 || !scheduler_is_next(s, job))
                return false;
        list_for_each (l, &pool->workers) {
                Worker *worker = list_entry(l, Worker, links);
                uint32_t claim = atomic_load_explicit(&worker->claim, memory_order_relaxed);
                const Job *other;

                if (claim_begun(claim) >= claim_end(claim))
                        continue;
                other = worker->jobs[claim_begun(claim)];
                if (s->config.fair && other->submission->owner != job->submission->owner)
                        continue;
                if (prioq_before(&s->owners[0]->queue, job, other))
                        return true;
        }
        return false;
}
