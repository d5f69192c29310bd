/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Changes to many jobs. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine-private.h"

/* What a sweep does in one turn of the loop. */
#define SWEEP_CANCELS 1000
#define SWEEP_LOOKS 10000

bool job_matches(const Job *job, const JobFilter *filter, const JobView *view) {
        const Submission *submission = job->submission;

        if (job->id < filter->first_id || (filter->last_id > 0 && job->id > filter->last_id))
                return false;
        if (filter->pool && job_pool(job) != filter->pool)
                return false;
        if (filter->pipeline && job_pipeline(job) != filter->pipeline)
                return false;
        if (filter->no_items && submission->pipeline)
                return false;
        if (filter->only_volatile && submission->durable)
                return false;
        if (filter->by_owner && submission->owner != filter->owner)
                return false;
        if (filter->tag && strcmp(submission->tag ?: "", filter->tag) != 0)
                return false;
        if (filter->waiting && view->state != JOB_SCHEDULED && view->state != JOB_QUEUED)
                return false;
        if (filter->unfinished && view->state == JOB_FINISHED)
                return false;
        if (filter->state != _JOB_STATE_INVALID && view->state != filter->state)
                return false;
        return filter->result == _JOB_RESULT_INVALID || view->result == filter->result;
}

void sweep_free(Sweep *sweep) {
        list_remove(&sweep->links);
        free(sweep->tag);
        free(sweep);
}

static CancelVerdict cancel_for(const Sweep *sweep, Job *job) {
        Pool *pool = job_pool(job);

        pool_lock(pool);
        if (sweep->interrupts && job->submission->durable) {
                /* What somebody has cancelled before stays cancelled. */
                if (job->state != JOB_FINISHED && !(job->flags & JOB_STOP_BY_CANCEL))
                        job->interrupted = true;
        } else if (sweep->reason && job->state != JOB_FINISHED && job_ensure_details(job) >= 0 &&
                   !job->details->error)
                job->details->error = strdup(sweep->reason);
        pool_unlock(pool);
        return pool_cancel(pool, job);
}

void engine_end_sweeps(Engine *engine, const Pool *pool, const PoolPipeline *pipeline) {
        list_for_each (l, &engine->sweeps) {
                Sweep *sweep = list_entry(l, Sweep, links);

                if ((pool && sweep->filter.pool == pool) ||
                        (pipeline && sweep->filter.pipeline == pipeline))
                        sweep->cursor = sweep->last;
        }
}

/* One turn's worth of the sweep. True if it is through. */
static bool sweep_some(Engine *engine, Sweep *sweep) {
        unsigned n_cancels = 0;
        usec_t retry_after;

        /* Nothing is left, and the pool may be gone. */
        if (sweep->cursor >= sweep->last)
                return true;
        if (sweep->refuse && !pool_is_refusing(sweep->filter.pool, &retry_after))
                return true;

        for (unsigned i = 0; i < SWEEP_LOOKS && n_cancels < SWEEP_CANCELS; i++) {
                Job *job = engine_next_job(engine, sweep->cursor);
                JobView view;

                if (!job || job->id > sweep->last)
                        return true;
                sweep->cursor = job->id;
                pool_job_view_state(job_pool(job), job, &view);
                if (view.state == JOB_FINISHED || view.interrupted ||
                        !job_matches(job, &sweep->filter, &view))
                        continue;
                if (sweep->refuse) {
                        n_cancels += pool_refuse(sweep->filter.pool, job);
                        continue;
                }
                sweep->n_cancelled += cancel_for(sweep, job) != CANCEL_NOTHING;
                n_cancels++;
        }
        return false;
}

/* Sweeps go on in the next turn of the loop, behind what was waiting there before. That is why this
 * is a timer: a deferred source comes before all others of its priority in every turn. */
static void arm_sweeps(Engine *engine) {
        (void) sd_event_source_set_enabled(engine->sweep_source, SD_EVENT_ONESHOT);
}

int engine_on_sweep(sd_event_source *source, uint64_t usec, void *userdata) {
        Engine *engine = userdata;

        list_for_each (l, &engine->sweeps) {
                Sweep *sweep = list_entry(l, Sweep, links);

                if (!sweep_some(engine, sweep))
                        continue;
                if (sweep->done)
                        sweep->done(sweep);
                sweep_free(sweep);
        }
        if (!list_is_empty(&engine->sweeps))
                arm_sweeps(engine);
        return 0;
}

int engine_sweep(Engine *engine, const JobFilter *filter, const char *reason,
        void (*done)(Sweep *sweep), void *userdata, Sweep **ret) {
        Sweep *sweep = malloc(sizeof(*sweep));
        char *tag = filter->tag ? strdup(filter->tag) : NULL;
        uint64_t last = engine->next_id - 1;

        if (!sweep || (filter->tag && !tag)) {
                free(sweep);
                free(tag);
                return -ENOMEM;
        }
        *sweep = (Sweep){
                .filter = *filter,
                .tag = tag,
                .reason = reason,
                .cursor = filter->first_id > 0 ? filter->first_id - 1 : 0,
                .last = filter->last_id > 0 ? MIN(last, filter->last_id) : last,
                .done = done,
                .userdata = userdata,
        };
        sweep->filter.tag = tag;
        list_append(&engine->sweeps, &sweep->links);
        arm_sweeps(engine);
        if (ret)
                *ret = sweep;
        return 0;
}

void engine_refuse_queued(Engine *engine, Pool *pool) {
        JobFilter filter = {
                .pool = pool,
                .state = JOB_QUEUED,
                .result = _JOB_RESULT_INVALID,
        };
        usec_t retry_after;
        Sweep *sweep;

        if (!pool_is_refusing(pool, &retry_after))
                return;
        /* One that is under way would see it all, but for what is before its cursor: it begins
         * again. */
        list_for_each (l, &engine->sweeps) {
                sweep = list_entry(l, Sweep, links);
                if (sweep->refuse && sweep->filter.pool == pool) {
                        sweep->cursor = 0;
                        sweep->last = engine->next_id - 1;
                        return;
                }
        }
        /* Without memory they wait until the breaker lets them pass. */
        if (engine_sweep(engine, &filter, NULL, NULL, NULL, &sweep) >= 0)
                sweep->refuse = true;
}
