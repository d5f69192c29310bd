/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the engine share. Main thread only. */

#include "engine/engine.h"

/* Completions come before new work, so that a flood of submits cannot starve them. */
#define ENGINE_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 10)

/* ---- submission.c ---- */

/* Makes n jobs of one submit call and hands them over to the pool, which has memory for them. Ids
 * are submission->first_id and what follows. 0 or -ENOMEM. */
int engine_accept_jobs(Engine *engine, Pool *pool, Submission *submission,
        const struct iovec *payloads, size_t n, bool borrow);

/* Frees the job but for its output in a shared chunk, of which the caller lets go. */
void engine_free_job(Engine *engine, Job *job);
void engine_drop_data(Engine *engine, Job *job);

static inline void engine_release_job(Engine *engine, Job *job) {
        engine_drop_data(engine, job);
        engine_free_job(engine, job);
}

/* ---- finished.c ---- */

/* The mailbox has brought the job, or the end of all jobs of the submission. */
void engine_job_ended(Engine *engine, Job *job, usec_t now);
void engine_submission_ended(Engine *engine, Submission *submission, usec_t now);

/* The group has finished and is kept as one result, even if that is one too many: what is forgotten
 * next may be this one. */
void engine_retain_group(Engine *engine, JobGroup *group, usec_t now);
void engine_forget_surplus(Engine *engine, Pool *pool); /* more than ResultRetentionMax */

void engine_forget_results(Engine *engine, Pool *pool); /* all that are kept of the pool */
int engine_on_retention(sd_event_source *source, uint64_t usec, void *userdata);

/* ---- job-group.c ---- */

/* A member of a group has ended for good; the group keeps it. */
void engine_member_ended(Engine *engine, Job *job, usec_t now);
int engine_on_untold_groups(sd_event_source *source, uint64_t usec, void *userdata);

/* ---- pool-pipeline.c ---- */

/* The mailbox has brought jobs, linked by next, that go to their next stages. */
void engine_pass_jobs(Engine *engine, Job *first, usec_t now);

/* An item has ended for good: its credit is free. */
void engine_item_ended(Job *job);

/* One that has ended is to come in once more, at the stage where it is. RetryAnswer or -ENOMEM. */
int engine_readmit_item(Engine *engine, Job *job);

void engine_check_pipelines(Engine *engine); /* tells listeners and watches of them */

/* A submission that names the pipeline has gone. */
void pipeline_submission_gone(Pipeline *pipeline);

/* ---- sweep.c ---- */

void sweep_free(Sweep *sweep);

/* Those of the pool or of the pipeline, which goes; NULL = of none. */
void engine_end_sweeps(Engine *engine, const Pool *pool, const PoolPipeline *pipeline);
int engine_on_sweep(sd_event_source *source, uint64_t usec, void *userdata);

/* ---- engine-pools.c ---- */

void engine_check_pool(Engine *engine, Pool *pool); /* tells listeners and watches of it */

/* ---- engine.c ---- */

/* `seen` says that the mailbox's eventfd is readable. */
void engine_read_mail(Engine *engine, bool seen);
void engine_serve_line(Pool *pool); /* of those who wait for room */
void watches_done(List *watches);   /* tells PoolWatches */
