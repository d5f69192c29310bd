/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Turns that are batches: several jobs that run as one call of the handler. Other than claimed jobs
 * all of them have begun, so nothing is taken back and nothing is cut. To limiter and breaker they
 * are one: the first one's token and permit are those of all. */

#include "engine/pool-private.h"

uint64_t pool_n_calls(const Pool *pool, uint64_t n_jobs) {
        const Scheduler *s = &pool->scheduler;

        uint64_t n_ready = scheduler_n_ready(s);

        return pool_has_batches(pool) ? MAX(n_ready / s->config.batch_size, UINT64_C(1))
                                      : MIN(n_jobs, n_ready);
}

/* To a breaker the call has succeeded if it has done anything: what all of it fails of is more
 * likely the other side than the jobs. A call that nobody wanted any more says nothing. */
void pool_report_batch(Pool *pool, Worker *worker, usec_t now) {
        bool succeeded = false, wanted = false;
        GateEnd end;

        for (unsigned i = 0; i < worker->n_jobs; i++) {
                succeeded |= worker->results[i].outcome == OUTCOME_SUCCESS;
                wanted |= job_stop(worker->jobs[i]) != JOB_STOP_CANCEL;
        }
        end = succeeded ? GATE_SUCCEEDED : wanted ? GATE_FAILED : GATE_CANCELLED;
        pool_gates_report(&pool->gates, worker->permits, &end, 1, now);
}

void pool_stop_batch(Pool *pool, Worker *worker, usec_t now) {
        for (unsigned i = 0; i < worker->n_jobs; i++)
                if (scheduler_stop_timed_out(&pool->scheduler, worker->jobs[i]))
                        worker_set_stop(worker, i, JOB_STOP_TIMEOUT);
        pool_gates_report(&pool->gates, worker->permits, &(GateEnd){ GATE_FAILED }, 1, now);
        worker_poke(worker);
        pool_watch_stop(pool, worker, now);
}

/* The others are still wanted, so it is only marked, until it is the last one. */
void pool_cancel_in_batch(Pool *pool, Worker *worker, unsigned i, usec_t now) {
        worker_set_stop(worker, i, JOB_STOP_CANCEL);
        for (unsigned k = 0; k < worker->n_jobs; k++)
                if (worker->jobs[k]->state != JOB_STOPPING)
                        return;
        worker_poke(worker);
        pool_watch_stop(pool, worker, now);
}
