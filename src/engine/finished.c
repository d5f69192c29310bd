/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What becomes of a finished job: it is kept for ResultRetention, which begins when all of its call
 * have ended if callers with a Key wait for these; or, if a caller waits for all results of its
 * call, until that call was answered; or as long as its group; or it is put back into the queue. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine-private.h"
#include "engine/job-group.h"
#include "engine/submit-key.h"
#include "util/fd.h"

/* Results may be kept by this much longer than asked, so that forgetting them wakes us rarely. */
#define RETENTION_SLACK(retention) CLAMP((retention) / 16, USEC_PER_SEC, USEC_PER_MINUTE)

/* ---- finished jobs ---- */

static void arm_retention(Engine *engine, usec_t at) {
        if (at >= engine->retention_at)
                return;
        engine->retention_at = at;
        (void) sd_event_source_set_time(engine->retention_source, at);
        (void) sd_event_source_set_enabled(engine->retention_source, SD_EVENT_ONESHOT);
}

/* Takes the job out of those that are kept. */
static void release_retained(Pool *pool, Job *job) {
        if (job->prev)
                job->prev->next = job->next;
        else
                pool->retained_first = job->next;
        if (job->next)
                job->next->prev = job->prev;
        else
                pool->retained_last = job->prev;
        pool->n_retained--;
}

static JobGroup *oldest_group(const Pool *pool) {
        List *l = list_first(&pool->groups);

        return l ? list_entry(l, JobGroup, retained) : NULL;
}

static void forget_oldest(Engine *engine, Pool *pool) {
        Job *job = pool->retained_first;

        release_retained(pool, job);
        engine_release_job(engine, job);
}

/* One more is kept in the pool from now on. */
static void expect_retention(Engine *engine, Pool *pool, usec_t now) {
        usec_t retention = pool->config->result_retention;

        if (retention != USEC_INFINITY)
                arm_retention(engine, usec_add(now, retention + RETENTION_SLACK(retention)));
}

void engine_forget_surplus(Engine *engine, Pool *pool) {
        while (pool->n_retained > pool->config->result_retention_max)
                forget_oldest(engine, pool);
        while (pool->n_groups > pool->config->result_retention_max)
                engine_forget_group(engine, oldest_group(pool));
}

static void keep_last(Pool *pool, Job *job) {
        job->next = NULL;
        job->prev = pool->retained_last;
        if (pool->retained_last)
                pool->retained_last->next = job;
        else
                pool->retained_first = job;
        pool->retained_last = job;
        pool->n_retained++;
}

/* Keeps a finished job for a while; due_at is the moment of its end from now on. */
static void retain(Engine *engine, Job *job, usec_t now) {
        Pool *pool = job_pool(job);

        job->due_at = now;
        keep_last(pool, job);
        expect_retention(engine, pool, now);
        engine_forget_surplus(engine, pool);
}

void engine_retain_group(Engine *engine, JobGroup *group, usec_t now) {
        list_append(&group->pool->groups, &group->retained);
        group->pool->n_groups++;
        expect_retention(engine, group->pool, now);
}

void engine_forget_results(Engine *engine, Pool *pool) {
        engine_forget_groups_through(engine, pool);
        engine_forget_unfinished_groups(engine, pool);
        engine_forget_unfinished_calls(engine, pool);
        while (pool->n_groups > 0)
                engine_forget_group(engine, oldest_group(pool));
        while (pool->n_retained > 0)
                forget_oldest(engine, pool);
}

/* Forgets what has been kept for long enough. Returns when the oldest of the rest has ended. */
static usec_t forget_old(Engine *engine, Pool *pool, usec_t now) {
        usec_t retention = pool->config->result_retention, oldest = USEC_INFINITY;
        JobGroup *group;

        while (pool->retained_first && usec_add(pool->retained_first->due_at, retention) <= now)
                forget_oldest(engine, pool);
        while ((group = oldest_group(pool)) && usec_add(group->finished_at, retention) <= now)
                engine_forget_group(engine, group);
        if (pool->retained_first)
                oldest = pool->retained_first->due_at;
        return group ? MIN(oldest, group->finished_at) : oldest;
}

int engine_on_retention(sd_event_source *source, uint64_t usec, void *userdata) {
        Engine *engine = userdata;
        usec_t now = usec_now(CLOCK_MONOTONIC);

        engine->retention_at = USEC_INFINITY;
        list_for_each (l, &engine->pools) {
                Pool *pool = list_entry(l, Pool, links);
                usec_t oldest = forget_old(engine, pool, now);

                if (oldest != USEC_INFINITY)
                        expect_retention(engine, pool, oldest);
        }
        return 0;
}

/* Whoever reads from the other end of these waits for them to be closed. Only the file that is the
 * payload of a job that may be kicked stays open. */
static void close_fds(Job *job) {
        Submission *submission = job->submission;

        if (submission->output_fd >= 0)
                submission->once = true;
        submission->output_fd = fd_close(submission->output_fd);
        if (job->result == JOB_SUCCEEDED || job_is_once(job))
                submission->payload_fd = fd_close(submission->payload_fd);
}

/* All of them are kept one by one from now on. With the last one the submission may go. */
static void retain_all(Engine *engine, const Submission *submission, usec_t now) {
        for (size_t i = 0, n = submission->n_total, first = submission->first_id; i < n; i++)
                retain(engine, job_table_get(&engine->jobs, first + i), now);
}

/* One of a submission with a key has ended; who waits for all of them is told before any is
 * forgotten. */
static void keyed_job_ended(Engine *engine, Job *job, usec_t now) {
        Submission *submission = job->submission;
        SubmitKey *key = submission->key;

        submit_key_job_ended(key);
        if (!key->as_one)
                retain(engine, job, now);
        else if (key->n_unfinished == 0) {
                key->as_one = false;
                retain_all(engine, submission, now);
        }
}

void engine_job_ended(Engine *engine, Job *job, usec_t now) {
        if (unlikely(job->submission->durable))
                durable_job_ended(engine, job);
        else
                engine_conclude_job(engine, job, now);
}

void engine_restore_finished(Engine *engine, Job *job) {
        Pool *pool = job_pool(job);

        if (job->submission->group) {
                engine_member_ended(engine, job, job->due_at);
                return;
        }
        /* All of them are kept when the last one has ended. */
        if (submission_is_as_one(job->submission) && job->submission->key->n_unfinished > 0)
                return;
        keep_last(pool, job);
        expect_retention(engine, pool, job->due_at);
}

/* Among the results, of which none is forgotten any more. */
void engine_keep_interrupted(Job *job) {
        /* A group forgets its own, as does a call that was to have all results as one. */
        if (!job->submission->group && !submission_is_as_one(job->submission))
                keep_last(job_pool(job), job);
}

void engine_conclude_job(Engine *engine, Job *job, usec_t now) {
        Submission *submission = job->submission;
        bool is_last = false;
        List *l;

        if (submission->n_total == 1)
                close_fds(job);
        if (!submission->bulk)
                submission_discharge_one(submission);
        if (unlikely(submission->pipeline))
                engine_item_ended(job);
        if (unlikely(submission->pipeline || submission->durable))
                is_last = --submission->n_pending == 0 && submission->bulk;

        if (job->details)
                while ((l = list_pop(&job->details->watchers))) {
                        JobWatch *watch = list_entry(l, JobWatch, links);

                        watch->finished(watch, job);
                }
        if (engine->listener)
                engine->listener->job_finished(engine->listener_userdata, job);
        if (submission->group)
                engine_member_ended(engine, job, now);
        else if (unlikely(submission->key))
                keyed_job_ended(engine, job, now);
        else if (!submission->bulk)
                retain(engine, job, now);
        if (is_last)
                engine_submission_ended(engine, submission, now);
}

/* All jobs of the call go at once; outputs that lie in one chunk are let go of together. */
static void release_bulk(Engine *engine, Submission *submission, usec_t now) {
        uint64_t first = submission->first_id;
        size_t n = submission->n_total;
        uint32_t n_chunk = 0, n_freed = 0;
        void *chunk = NULL;

        for (size_t i = 0; i < n; i++) {
                Job *job = job_table_get(&engine->jobs, first + i);

                if (unlikely(job->flags & JOB_KEEP)) {
                        retain(engine, job, now);
                        continue;
                }
                if (job->flags & JOB_DATA_SHARED) {
                        if (chunk && !output_same_chunk(chunk, job->data)) {
                                output_release(&engine->stock, chunk, n_chunk);
                                n_chunk = 0;
                        }
                        chunk = job->data;
                        n_chunk++;
                }
                if (unlikely(submission->durable))
                        durable_forget_job(engine, job);
                job_table_remove(&engine->jobs, job);
                engine_free_job_alone(engine, job);
                n_freed++;
        }
        if (n_chunk > 0)
                output_release(&engine->stock, chunk, n_chunk);
        /* If all are kept, the last one may be forgotten by now, and the submission with it. */
        if (n_freed > 0)
                engine_leave_submission(engine, submission, n_freed);
}

void engine_submission_ended(Engine *engine, Submission *submission, usec_t now) {
        submission_discharge_jobs(submission);
        if (submission->finished) {
                submission->finished(submission);
                release_bulk(engine, submission, now);
                return;
        }
        /* Nobody waits any more: from now on they are jobs like others. */
        submission->bulk = submission->quiet = false;
        retain_all(engine, submission, now);
}

void engine_abandon(Submission *submission) {
        submission->finished = NULL;
        submission->stored = NULL;
        submission->userdata = NULL;
}

/* ---- watches ---- */

int engine_watch_job(Job *job, JobWatch *watch) {
        Pool *pool = job_pool(job);
        int r;

        pool_lock(pool);
        r = job->state == JOB_FINISHED && !job->unsettled && !job->interrupted
                    ? 1
                    : job_ensure_details(job);
        if (r == 0)
                job->flags |= JOB_ANNOUNCE;
        pool_unlock(pool);
        if (r != 0)
                return r;
        list_append(&job->details->watchers, &watch->links);
        return 0;
}

void engine_unwatch(JobWatch *watch) {
        if (list_is_linked(&watch->links))
                list_remove(&watch->links);
}

/* ---- once more ---- */

/* This is no submit that could be rejected, and takes nobody's place. */
static int readmit(Pool *pool, const Job *job) {
        int r;

        /* Only main changes it, so it needs no lock to read it. */
        if (pool->scheduler.draining)
                return RETRY_DRAINING;
        r = pool_admit(pool, 1, job->submission, job->priority,
                ADMIT_MAY_WAIT | ADMIT_NO_DROP | ADMIT_AGAIN);
        if (r < 0)
                return r;
        return r == ADMIT_YES ? RETRY_DONE : RETRY_NO_ROOM;
}

/* Puts a retained job back into the queue of its pool. */
static int retry_retained(Engine *engine, Pool *pool, Job *job) {
        uint32_t size = job->size;
        int r;

        /* To ask for room can take claimed jobs back, for which idle workers are woken. */
        pool->is_to_wake = engine->wake_pools = true;
        r = job->submission->pipeline ? engine_readmit_item(engine, job) : readmit(pool, job);
        if (r != RETRY_DONE)
                return r;
        release_retained(pool, job);
        r = durable_kick(engine, pool, job, usec_now(CLOCK_MONOTONIC));
        if (r < 0) {
                retain(engine, job, job->due_at);
                return r;
        }
        if (job->submission->pipeline)
                pipeline_enter(job->submission->pipeline, 1);
        submission_charge_again(job->submission, size);
        if (job->submission->key)
                submit_key_job_back(job->submission->key);
        return RETRY_DONE;
}

/* Can it not have another life? Who waits for all jobs of a call is told how they have ended. */
static bool is_over(const Job *job) {
        return job_is_once(job) || job->submission->bulk || job->interrupted ||
               submission_is_as_one(job->submission);
}

int engine_retry(Engine *engine, uint64_t id) {
        Pool *pool;
        JobView view;
        Job *job;

        job = engine_find_job(engine, id);
        if (!job)
                return RETRY_GONE;
        pool = job_pool(job);
        pool_job_view_state(pool, job, &view);
        if (view.state != JOB_FINISHED)
                return RETRY_UNFINISHED;
        /* A finished job is among the retained ones once its mail was read. What was posted before
         * this is in the mailbox; to read it first would leave a gap. */
        if (!mailbox_is_empty(&engine->mailbox))
                engine_read_mail(engine, /* seen= */ false);
        job = engine_find_job(engine, id);
        if (!job)
                return RETRY_GONE;
        if (view.result == JOB_SUCCEEDED)
                return RETRY_SUCCEEDED;
        if (job->submission->group)
                return RETRY_IN_GROUP;
        if (is_over(job) || pool->removing)
                return RETRY_GONE;
        if (account_left(job->submission->account, QUOTA_JOBS) < 1 ||
                account_left(job->submission->account, QUOTA_BYTES) < job->size)
                return RETRY_NO_QUOTA;
        return retry_retained(engine, pool, job);
}

static bool has_failed_for_good(const Job *job) {
        return job_result_is_failure((JobResult) job->result);
}

uint32_t engine_kick(Engine *engine, Pool *pool, uint32_t max) {
        uint32_t n = 0;
        Job *job;
        int r;

        /* As above, for whoever has seen a job fail. */
        if (!mailbox_is_empty(&engine->mailbox))
                engine_read_mail(engine, /* seen= */ false);
        job = pool->retained_first;
        while (job && n < max) {
                Job *next = job->next;

                if (has_failed_for_good(job) && !is_over(job)) {
                        r = retry_retained(engine, pool, job);
                        if (r == RETRY_DONE)
                                n++;
                        /* Those of other pipelines may have room. But what there was no memory
                         * for is the last of the list now, where it would be met for ever. */
                        else if (r < 0 || !job->submission->pipeline)
                                break;
                }
                job = next;
        }
        return n;
}
