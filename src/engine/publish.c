/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a turn has done, made known: results go into the jobs, and what main has to hear of into a
 * Mail. All of it with the pool's lock held. */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/pipeline.h"
#include "engine/pool-private.h"

JobDetails *job_details_init(JobDetails *details, Job *job) {
        *details = (JobDetails){ .job = job, .worker = -1, .progress = -1 };
        list_init(&details->watchers);
        return details;
}

int job_ensure_details(Job *job) {
        JobDetails *details;

        if (job->details)
                return 0;
        details = malloc(sizeof(*details));
        if (!details)
                return -ENOMEM;
        job->details = job_details_init(details, job);
        return 0;
}

JobDetails *job_details_free(JobDetails *details) {
        if (!details)
                return NULL;
        assert(list_is_empty(&details->watchers));
        free(details->error);
        free(details);
        return NULL;
}

/* Notes for those who want to hear of starts. Without memory for a note nobody hears of that one.
 */
static bool post_started(Pool *pool, const Job *job, Mail *mail) {
        StartNote *note;

        if (!pool->announce && !job->submission->notify)
                return false;
        /* An item of a pipeline starts once. */
        if (!job_is_at_first_stage(job))
                return false;
        note = malloc(sizeof(*note));
        if (!note)
                return false;
        *note = (StartNote){
                .id = job->id,
                .owner = job->submission->owner,
                .notify = job->submission->notify,
                .submission = job->submission,
                .pool = pool,
        };
        list_append(&mail->notes, &note->links);
        mail->n++;
        return true;
}

/* So many jobs of the turn have waited since then. */
static void count_waits(Pool *pool, const Worker *worker, usec_t since, uint32_t n) {
        if (n > 0)
                histogram_add(&pool->queue_wait, usec_sub(worker->turn_started_at, since), n);
}

/* Jobs of the turn up to number `n` have begun, which nobody can take back any more; the lock is
 * held. True if it is urgent. */
bool pool_note_started(Pool *pool, Worker *worker, unsigned n, Mail *mail) {
        bool urgent = false;
        uint32_t n_equal = 0;
        usec_t since = 0;

        for (; worker->n_started < n; worker->n_started++) {
                Job *job = worker->jobs[worker->n_started];

                /* Jobs that were submitted together have waited equally long. */
                if (job_waits_since(job) != since) {
                        count_waits(pool, worker, since, n_equal);
                        since = job_waits_since(job);
                        n_equal = 0;
                }
                n_equal++;
                urgent |= post_started(pool, job, mail);
        }
        count_waits(pool, worker, since, n_equal);
        return urgent;
}

/* The first failure of a group may cancel the rest. */
static bool cancels_group(const Job *job) {
        return job->submission->first_error && job->result != JOB_SUCCEEDED &&
               job->result != JOB_CANCELLED;
}

static const char *const result_errors[_JOB_RESULT_MAX] = {
        [JOB_SUCCEEDED] = "",
        [JOB_FAILED] = "failed without saying why",
        [JOB_CANCELLED] = "cancelled",
        [JOB_TIMED_OUT] = "ran longer than its time-out",
        [JOB_EXPIRED] = "was not started within its queue time-out",
        [JOB_DROPPED] = "dropped from a full queue",
        [JOB_REFUSED] = "refused by an open circuit breaker",
        [JOB_LOST] = "nobody knows how it ended",
};

const char *job_error(const Job *job) {
        if (job->state != JOB_FINISHED)
                return "";
        if (job->result != JOB_SUCCEEDED && job->details && job->details->error)
                return job->details->error;
        return result_errors[job->result];
}

void pool_name_stage(Pool *pool, Job *job) {
        char *text;

        if (job->result == JOB_SUCCEEDED)
                return;
        /* Without memory for it the text says what, but not where. */
        if (job_ensure_details(job) < 0 ||
                asprintf(&text, "%s: %s", pool->config->name, job_error(job)) < 0)
                return;
        free(job->details->error);
        job->details->error = text;
}

/* All jobs of the bulk call have ended, which main should hear of at once. */
static bool post_submission(Submission *submission, Mail *mail) {
        list_append(&mail->submissions, &submission->mail);
        mail->n++;
        return true;
}

/* Of whose end more is to be told than that of its call. */
static _noinline_ bool post_singly(Pool *pool, Job *job, usec_t now, Mail *mail) {
        Submission *submission = job->submission;
        bool announce = (job->flags & JOB_ANNOUNCE) || pool->announce || submission->notify;
        bool urgent = announce;

        if (unlikely(job->state == JOB_PASSING)) {
                mail_add_passing(mail, job);
                return false;
        }
        /* A job without details has no other place for the moment of its end. */
        job->due_at = now;
        /* Others of its submission may end in other pools at this moment: main counts them, and is
         * the only one who knows whether somebody waits for the last one, or for the credit. */
        if (unlikely(submission->pipeline)) {
                pool_name_stage(pool, job);
                if (job->details && job->details->finished_at == 0)
                        job->details->finished_at = now;
        }
        /* The end of a durable job is one only once it is on the disk. */
        if (unlikely(submission->pipeline || submission->durable)) {
                job->unsettled = submission->durable;
                mail_add_job(mail, job);
                return urgent || cancels_group(job);
        }
        /* Who waits for all of them is told by the submission; a failure is for the log as well. */
        if (!submission->bulk || announce || job_result_is_failure((JobResult) job->result))
                mail_add_job(mail, job);
        if (--submission->n_pending == 0 && submission->bulk)
                urgent = post_submission(submission, mail);
        if (unlikely(submission->group || submission->key))
                urgent |= submission->n_pending == 0 || cancels_group(job);
        return urgent;
}

/* Puts a finished job, or one that is to go on elsewhere, where main finds it. True if main should
 * hear of it at once. */
static inline bool post_finished(Pool *pool, Job *job, usec_t now, Mail *mail) {
        Submission *submission = job->submission;

        if (unlikely(!submission->quiet || job->result != JOB_SUCCEEDED || pool->announce ||
                     (job->flags & JOB_ANNOUNCE)))
                return post_singly(pool, job, now, mail);
        job->due_at = now;
        return --submission->n_pending == 0 && post_submission(submission, mail);
}

bool pool_post_finished(Pool *pool, Job *job, usec_t now, Mail *mail) {
        return post_finished(pool, job, now, mail);
}

/* What is told of the attempt. */
static void publish_details(Job *job, Worker *worker, WorkerResult *result, usec_t now) {
        bool plain = !result->details;
        JobDetails *details;

        if (!job->details && result->details)
                job->details = job_details_init(TAKE_PTR(result->details), job);
        details = job->details;
        /* A bulk call's item that goes on is written over by its next stage, and looked at by
         * nobody before that. */
        if (!details || (plain && job->submission->bulk && job->submission->pipeline &&
                                pipeline_goes_on(job->submission->pipeline, job->stage)))
                return;
        /* Why it was cancelled says more than what its handler makes of the stop. */
        if (!details->error || job_stop(job) != JOB_STOP_CANCEL) {
                free(details->error);
                details->error = TAKE_PTR(result->error);
        }
        details->exit_status = result->exit_status;
        details->worker = (int32_t) worker->id;
        details->started_at = result->started_at;
        details->duration = result->duration != USEC_INFINITY ? result->duration
                                                              : usec_sub(now, result->started_at);
        details->finished_at = usec_add(details->started_at, details->duration);
}

/* Why an attempt failed is nothing to say of a job that goes on: if it is cancelled or dropped
 * next, that is what ended it. */
void job_forget_error(Job *job) {
        free(job->details->error);
        job->details->error = NULL;
}

/* The output takes the place of the payload, which is left in the result; one that is the output of
 * another stage may lie in a chunk. */
static void publish_output(Pool *pool, Job *job, WorkerResult *result) {
        void *old = job->flags & JOB_DATA_OWNED ? job->data : NULL;

        if (unlikely(job->flags & JOB_DATA_SHARED))
                output_release(pool->stock, job->data, 1);
        job->data = TAKE_PTR(result->output);
        job->size = result->size;
        job->flags &= (uint8_t) ~(JOB_DATA_OWNED | JOB_DATA_SHARED);
        job->flags |= result->flags;
        result->output = old;
}

/* A job that did not succeed keeps its payload, for another attempt now or by Kick. */
static void discard_output(Pool *pool, WorkerResult *result) {
        if (result->flags & JOB_DATA_SHARED)
                output_release(pool->stock, result->output, 1);
        if (!(result->flags & JOB_DATA_OWNED))
                result->output = NULL;
}

/* Marsaglia's xorshift64*: enough to spread retries. */
static uint64_t next_random(Pool *pool) {
        pool->random ^= pool->random >> 12;
        pool->random ^= pool->random << 25;
        pool->random ^= pool->random >> 27;
        return pool->random * UINT64_C(0x2545f4914f6cdd1d);
}

/* A job that was given back undone says as little as one that nobody wanted any more. */
static GateEnd end_of(const Worker *worker, unsigned i) {
        Outcome outcome = worker->results[i].outcome;

        if (likely(outcome == OUTCOME_SUCCESS))
                return GATE_SUCCEEDED;
        return outcome == OUTCOME_RELEASED || job_stop(worker->jobs[i]) == JOB_STOP_CANCEL
                       ? GATE_CANCELLED
                       : GATE_FAILED;
}

/* The attempt at job i of the turn has ended. As scheduler_finish(). */
static bool finish(Pool *pool, Worker *worker, unsigned i, usec_t now) {
        Outcome outcome = worker->results[i].outcome;
        Job *job = worker->jobs[i];

        if (unlikely(outcome == OUTCOME_RELEASED))
                return scheduler_release(&pool->scheduler, job, now, worker->release_delay);
        return scheduler_finish(&pool->scheduler, job, outcome, now,
                outcome == OUTCOME_SUCCESS ? 0 : next_random(pool));
}

/* Tells the breaker how the jobs of the turn up to number `n` ended. A time-out was told when it
 * came. */
static void report_to_gates(Pool *pool, Worker *worker, unsigned n, usec_t now) {
        unsigned first = worker->n_published;
        GateEnd ends[TURN_JOBS_MAX];

        if (!pool->gates.breaker)
                return;
        for (unsigned i = first; i < n; i++)
                ends[i - first] = end_of(worker, i);
        pool_gates_report(&pool->gates, worker->permits + first, ends, n - first, now);
}

/* The job waits for another attempt. Why the last one failed is nothing to say of one that goes on.
 * Of a durable one main hears, once for what it has not read yet. */
static void tell_wait(Job *job, Mail *mail) {
        job_forget_error(job);
        if (likely(!job->submission->durable) || job->details->told)
                return;
        job->details->told = true;
        mail_add_wait(mail, job->details);
}

/* Publishes the results of the turn up to number `n` of the `n_begun` that have begun; the lock is
 * held. True if it is urgent. */
bool pool_publish(
        Pool *pool, Worker *worker, unsigned n, unsigned n_begun, usec_t now, Mail *mail) {
        unsigned n_calls = worker->batch ? 1 : n_begun - worker->n_published;
        usec_t share = usec_sub(now, worker->published_at) / n_calls;
        bool urgent = pool_note_started(pool, worker, n_begun, mail);
        uint32_t n_sharing = 0;

        if (unlikely(worker->batch))
                pool_report_batch(pool, worker, now);
        else
                report_to_gates(pool, worker, n, now);
        for (unsigned i = worker->n_published; i < n; i++) {
                Job *job = worker->jobs[i];
                WorkerResult *result = &worker->results[i];

                if (likely(result->duration == USEC_INFINITY))
                        n_sharing++;
                else
                        histogram_add(&pool->run_time, result->duration, 1);
                publish_details(job, worker, result, now);
                if (likely(result->outcome == OUTCOME_SUCCESS))
                        publish_output(pool, job, result);
                else
                        discard_output(pool, result);
                if (finish(pool, worker, i, now))
                        urgent |= post_finished(pool, job, now, mail);
                else
                        tell_wait(job, mail);
        }
        if (n_sharing > 0)
                histogram_add(&pool->run_time, share, n_sharing);
        worker->n_published = n;
        worker->published_at = now;
        return urgent;
}

/* Frees what publishing has left over, by the worker's own thread and without the lock. */
void worker_drop_leftovers(Worker *worker, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                WorkerResult *result = &worker->results[i];

                if (likely(!result->output && !result->error && !result->details))
                        continue;
                free(result->output);
                free(result->error);
                free(result->details);
                result->output = result->error = NULL;
                result->details = NULL;
        }
}

/* Posts jobs that the scheduler has ended by itself. */
bool pool_post_ended(Pool *pool, Mail *mail, usec_t now) {
        Job *job = scheduler_ended(&pool->scheduler);
        bool urgent = false;

        while (job) {
                Job *next = job->next;

                if (job->details)
                        job->details->finished_at = now;
                urgent |= post_finished(pool, job, now, mail);
                job = next;
        }
        return urgent;
}

/* Tells main if there is room now for somebody who waits for it. */
bool pool_post_room(const Pool *pool, Mail *mail) {
        if (likely(!scheduler_line_is_due(&pool->scheduler)))
                return false;
        mail->room = true;
        mail->n++;
        return true;
}
