/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the engine share. Main thread only. */

#include "core/group.h"
#include "engine/engine.h"

/* Completions come before new work, so that a flood of submits cannot starve them. */
#define ENGINE_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 10)

/* ---- submission.c ---- */

/* May so many ids be given out? 0, -ENOSPC or -EIO. */
int engine_reserve_ids(Engine *engine, size_t n);

/* Makes n jobs of one submit call and hands them over to the pool, which has memory for them. Ids
 * are submission->first_id and what follows. 0 or -ENOMEM. */
int engine_accept_jobs(Engine *engine, Pool *pool, Submission *submission,
        const struct iovec *payloads, size_t n, bool borrow);

/* Where the jobs of the submission go to first. */
Pool *submission_first_pool(const Submission *submission);

/* Forgets jobs that were made for the submission and are not accepted after all. */
void engine_discard_submission(Engine *engine, Submission *submission, Job *first);

/* Frees the job but for its output in a shared chunk, of which the caller lets go. */
void engine_free_job(Engine *engine, Job *job);

/* What that is made of: the job itself, which is in no table any more, … */
static inline void engine_free_job_alone(Engine *engine, Job *job) {
        if (job->flags & JOB_DATA_OWNED)
                free(job->data);
        if (unlikely(job->details))
                job_details_free(job->details);
        slab_free(&engine->slab, job);
}

/* … and what its call knows of it. The last one takes the submission with it. */
void engine_leave_submission(Engine *engine, Submission *submission, uint32_t n);
void engine_drop_data(Engine *engine, Job *job);

static inline void engine_release_job(Engine *engine, Job *job) {
        engine_drop_data(engine, job);
        engine_free_job(engine, job);
}

/* ---- finished.c ---- */

/* The mailbox has brought the job, or the end of all jobs of the submission. */
void engine_job_ended(Engine *engine, Job *job, usec_t now);

/* The job's end is on the disk, or need not be: those who wait are told. */
void engine_conclude_job(Engine *engine, Job *job, usec_t now);

/* Keeps a job that had ended before the last start: in the order of their ends. */
void engine_restore_finished(Engine *engine, Job *job);

/* Keeps a job that goes on after the next start until its pool goes. */
void engine_keep_interrupted(Job *job);
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

/* Makes the jobs of the submission, whose target is known, a group with that id. 0 or -ENOMEM. */
int engine_restore_group(Engine *engine, Submission *submission, GroupPolicy policy, uint64_t id);

/* A group of no jobs is on the disk, or never will be. */
void engine_empty_group_stored(JobGroup *group);

/* It ends with being accepted; but who submits it is to know its id before its end is told. */
void engine_end_empty_group(Engine *engine, JobGroup *group, usec_t now);

/* Forgets a group of which no job was accepted. */
void engine_drop_group(Engine *engine, JobGroup *group);

/* The same for those of the pool, which goes, that go on after the next start. */
void engine_forget_unfinished_groups(Engine *engine, const Pool *pool);

/* ---- submit-key.c ---- */

/* Forgets the calls to the pool, which goes, that were to have all results as one, and go on after
 * the next start. */
void engine_forget_unfinished_calls(Engine *engine, const Pool *pool);

/* ---- pool-pipeline.c ---- */

/* The mailbox has brought jobs, linked by next, that go to their next stages. */
void engine_pass_jobs(Engine *engine, Job *first, usec_t now);

/* The same for jobs that have come to their next stages. */
void engine_arrive(Engine *engine, Job *first, usec_t now);

/* The job ends where it was to come in, for this reason (NULL = the result says it all). */
void engine_turn_away(Engine *engine, Job *job, JobResult result, const char *error, usec_t now);

/* An item has ended for good: its credit is free. */
void engine_item_ended(Job *job);

/* One that has ended is to come in once more, at the stage where it is. RetryAnswer or -ENOMEM. */
int engine_readmit_item(Engine *engine, Job *job);

void engine_check_pipelines(Engine *engine);       /* tells listeners and watches of them */
void engine_shut_pipeline(PoolPipeline *pipeline); /* it takes nothing more, as the daemon stops */

/* A submission that names the pipeline has gone. */
void pipeline_submission_gone(Pipeline *pipeline);

/* ---- sweep.c ---- */

void sweep_free(Sweep *sweep);

/* Those of the pool or of the pipeline, which goes; NULL = of none. */
void engine_end_sweeps(Engine *engine, const Pool *pool, const PoolPipeline *pipeline);
int engine_on_sweep(sd_event_source *source, uint64_t usec, void *userdata);

/* ---- durable.c ---- */

/* The jobs, linked by next, are accepted when they are on the disk. 0 or -ENOMEM. */
int durable_submit(Engine *engine, Submission *submission, Job *first);

/* A durable job has ended. */
void durable_job_ended(Engine *engine, Job *job);

/* Durable jobs wait for another attempt. */
void durable_tell_waits(Engine *engine, JobDetails *first);

/* Sheets whose jobs have ended or wait, which the store was or is about to be told. */
void durable_take_sheets(Engine *engine, List *sheets);

/* A durable job arrives at its next stage once that is on the disk. 0 or -ENOMEM. */
int durable_pass(Engine *engine, Job *job, usec_t now);

/* As pool_kick(), also for volatile ones. */
int durable_kick(Engine *engine, Pool *pool, Job *job, usec_t now);

/* Nothing is kept of these any more. */
void durable_forget_job(Engine *engine, const Job *job);
void durable_forget_submission(Engine *engine, const Submission *submission);

/* The end of the loop's turn: what has gathered is told to the store. */
void durable_flush(Engine *engine);

/* ---- recovery.c ---- */

void engine_forget_strangers(Engine *engine);

/* ---- engine-pools.c ---- */

void engine_check_pool(Engine *engine, Pool *pool); /* tells listeners and watches of it */

/* It begins nothing if it is to be paused, for whatever reason. */
void engine_settle_pause(Pool *pool);

/* The own limiter or breaker of the pool of that name was changed, and so the pool was. */
void engine_own_gate_changed(Engine *engine, const char *name);

/* ---- engine.c ---- */

/* `seen` says that the mailbox's eventfd is readable. */
void engine_read_mail(Engine *engine, bool seen);
void engine_serve_line(Pool *pool); /* of those who wait for room */
void watches_done(List *watches);   /* tells PoolWatches */
