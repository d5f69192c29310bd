/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs live in a slab and are found by id. A job belongs to its pool's lock from pool_submit()
 * until the mailbox brings it back finished; then it is the engine's. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine-private.h"
#include "engine/submit-key.h"
#include "store/store.h"
#include "util/fd.h"
#include "util/strv.h"

/* Jobs handed to a pool under one lock. */
#define CHUNK_JOBS 128

Pool *job_pool(const Job *job) {
        const PoolPipeline *pipeline = job_pipeline(job);

        return unlikely(pipeline) ? pipeline->stages[job->stage] : job->submission->pool;
}

Pool *submission_first_pool(const Submission *submission) {
        return submission->pipeline
                       ? container_of(submission->pipeline, PoolPipeline, pipeline)->stages[0]
                       : submission->pool;
}

/* ---- submissions ---- */

Submission *submission_new(void) {
        Submission *submission = calloc(1, sizeof(*submission));

        if (!submission)
                return NULL;
        submission->payload_fd = submission->output_fd = -EBADF;
        submission->queue_timeout = submission->run_timeout = USEC_INFINITY;
        list_init(&submission->links);
        list_init(&submission->mail);
        return submission;
}

Submission *submission_free(Submission *submission) {
        if (!submission)
                return NULL;
        assert(submission->n_jobs == 0);
        list_remove(&submission->links);
        submission_discharge(submission);
        submission->key = submit_key_free(submission->key);
        if (submission->pipeline)
                pipeline_submission_gone(submission->pipeline);
        if (submission->backing)
                submission->release_backing(submission->backing);
        fd_close(submission->payload_fd);
        fd_close(submission->output_fd);
        strv_free(submission->arguments);
        free(submission->tag);
        free(submission->concurrency_key);
        free(submission);
        return NULL;
}

/* ---- jobs ---- */

void engine_free_job(Engine *engine, Job *job) {
        Submission *submission = job->submission;

        if (unlikely(submission->durable))
                durable_forget_job(engine, job);
        job_table_remove(&engine->jobs, job);
        engine_free_job_alone(engine, job);
        engine_leave_submission(engine, submission, 1);
}

void engine_leave_submission(Engine *engine, Submission *submission, uint32_t n) {
        submission->n_jobs -= n;
        if (submission->n_jobs > 0)
                return;
        if (unlikely(submission->durable))
                durable_forget_submission(engine, submission);
        submission_free(submission);
}

void engine_drop_data(Engine *engine, Job *job) {
        if (job->flags & JOB_DATA_SHARED)
                output_release(&engine->stock, job->data, 1);
        if (job->flags & JOB_DATA_OWNED)
                free(job->data);
        job->flags &= (uint8_t) ~(JOB_DATA_SHARED | JOB_DATA_OWNED);
        job->data = NULL;
        job->size = 0;
}

/* What is on its way to the disk is no job yet. */
Job *engine_find_job(Engine *engine, uint64_t id) {
        Job *job = job_table_get(&engine->jobs, id);

        return job && !job->submission->storing ? job : NULL;
}

Job *engine_next_job(Engine *engine, uint64_t id) {
        Job *job = job_table_after(&engine->jobs, id);

        while (job && job->submission->storing) {
                const Submission *submission = job->submission;

                job = job_table_after(
                        &engine->jobs, submission->first_id + submission->n_total - 1);
        }
        return job;
}

Job *engine_submission_job(Engine *engine, const Submission *submission, size_t i) {
        return job_table_get(&engine->jobs, submission->first_id + i);
}

static bool jobs_need_details(const Submission *submission) {
        return submission->delay > 0 || submission->queue_timeout != USEC_INFINITY ||
               submission->concurrency_key;
}

/* Makes one job of the submission; memory has been reserved for all but details. 0 or -ENOMEM. */
static int job_new(Engine *engine, Submission *submission, uint64_t id, const struct iovec *payload,
        Job **ret) {
        Job *job = slab_alloc(&engine->slab);

        *job = (Job){
                .id = id,
                .submission = submission,
                .data = payload->iov_base,
                .size = (uint32_t) payload->iov_len,
                .priority = submission->priority,
                .state = JOB_NEW,
        };
        if (unlikely(jobs_need_details(submission)) && job_ensure_details(job) < 0) {
                slab_free(&engine->slab, job);
                return -ENOMEM;
        }
        *ret = job;
        return 0;
}

static void *copy_payload(const struct iovec *payload) {
        void *copy = malloc(MAX(payload->iov_len, (size_t) 1));

        return copy ? memcpy(copy, payload->iov_base, payload->iov_len) : NULL;
}

/* Undoes what engine_submit() has made so far. */
static void discard_jobs(Engine *engine, Job *first) {
        while (first) {
                Job *job = first;

                first = job->next;
                if (job->flags & JOB_DATA_OWNED)
                        free(job->data);
                job_details_free(job->details);
                slab_free(&engine->slab, job);
        }
}

void engine_discard_submission(Engine *engine, Submission *submission, Job *first) {
        for (Job *job = first; job; job = job->next)
                job_table_remove(&engine->jobs, job);
        discard_jobs(engine, first);
        submission->n_jobs = 0;
        if (submission->group)
                engine_drop_group(engine, submission->group);
}

/* Makes all jobs of a call, linked by next, before anything is handed over. 0 or -ENOMEM. */
static int make_jobs(Engine *engine, Submission *submission, const struct iovec *payloads, size_t n,
        bool borrow, Job **ret) {
        Job *first = NULL, **end = &first;

        for (size_t i = 0; i < n; i++) {
                Job *job;

                if (job_new(engine, submission, submission->first_id + i, &payloads[i], &job) < 0) {
                        discard_jobs(engine, first);
                        return -ENOMEM;
                }
                *end = job;
                end = &job->next;
                if (borrow || job->size == 0)
                        continue;
                job->data = copy_payload(&payloads[i]);
                if (!job->data) {
                        discard_jobs(engine, first);
                        return -ENOMEM;
                }
                job->flags |= JOB_DATA_OWNED;
        }
        *ret = first;
        return 0;
}

/* Calls whose jobs need memory of their own. */
static int submit_prepared(Engine *engine, Pool *pool, Submission *submission,
        const struct iovec *payloads, size_t n, bool borrow) {
        Job *first;
        int r;

        r = make_jobs(engine, submission, payloads, n, borrow, &first);
        if (r < 0)
                return r;
        while (first) {
                Job *jobs[CHUNK_JOBS];
                size_t k = 0;

                for (; first && k < CHUNK_JOBS; first = first->next) {
                        job_table_put(&engine->jobs, first);
                        jobs[k++] = first;
                }
                pool_submit(pool, jobs, k, submission->submitted_at);
                if (first)
                        pool_wake(pool);
        }
        return 0;
}

/* Calls whose jobs go to the disk before they go to the pool. */
static int submit_durable(Engine *engine, Submission *submission, const struct iovec *payloads,
        size_t n, bool borrow) {
        Job *first;
        int r;

        r = make_jobs(engine, submission, payloads, n, borrow, &first);
        if (r < 0)
                return r;
        r = durable_submit(engine, submission, first);
        if (r < 0) {
                discard_jobs(engine, first);
                return r;
        }
        for (Job *job = first; job; job = job->next)
                job_table_put(&engine->jobs, job);
        return 0;
}

/* Calls whose jobs need no memory but their slab entry: made and handed over chunk by chunk, so
 * that workers begin while the rest is made. */
static void submit_borrowed(Engine *engine, Pool *pool, Submission *submission,
        const struct iovec *payloads, size_t n) {
        for (size_t i = 0; i < n;) {
                Job *jobs[CHUNK_JOBS];
                size_t k = 0;

                for (; i < n && k < CHUNK_JOBS; i++, k++) {
                        (void) job_new(engine, submission, submission->first_id + i, &payloads[i],
                                &jobs[k]);
                        job_table_put(&engine->jobs, jobs[k]);
                }
                pool_submit(pool, jobs, k, submission->submitted_at);
                if (i < n)
                        pool_wake(pool);
        }
}

/* No id is given out that may have been given out before the last start: more are asked for long
 * before these are used up, but the disk may be slow, or full. */
int engine_reserve_ids(Engine *engine, size_t n) {
        uint64_t limit;

        if (!engine->store)
                return 0;
        if (store_has_failed(engine->store))
                return -EIO;
        /* A group may have taken the last one for itself. */
        limit = store_id_limit(engine->store);
        return engine->next_id > limit || n > limit - engine->next_id ? -ENOSPC : 0;
}

int engine_accept_jobs(Engine *engine, Pool *pool, Submission *submission,
        const struct iovec *payloads, size_t n, bool borrow) {
        int r;

        r = engine_reserve_ids(engine, n);
        if (r < 0)
                return r;
        r = slab_reserve(&engine->slab, n);
        if (r < 0)
                return r;
        r = job_table_reserve(&engine->jobs, engine->next_id, n);
        if (r < 0)
                return r;
        r = submission->key ? submit_key_enter(submission->key, engine, (uint32_t) n) : 0;
        if (r < 0)
                return r;

        submission->first_id = engine->next_id;
        submission->n_total = submission->n_jobs = submission->n_pending = (uint32_t) n;
        submission->submitted_at = usec_now(CLOCK_MONOTONIC);
        submission->submitted_realtime = usec_now(CLOCK_REALTIME);
        submission->quiet = submission->bulk && !submission->notify && !submission->pipeline &&
                            !submission->durable && !submission->group && !submission->key;

        if (unlikely(submission->durable))
                r = submit_durable(engine, submission, payloads, n, borrow);
        else if (!borrow || jobs_need_details(submission))
                r = submit_prepared(engine, pool, submission, payloads, n, borrow);
        else
                submit_borrowed(engine, pool, submission, payloads, n);
        if (r < 0) {
                submission->n_jobs = 0;
                return r;
        }
        engine->next_id += n;
        if (engine->store)
                store_use_ids(engine->store, engine->next_id);
        return 0;
}

int engine_cancel_submission(Engine *engine, const Submission *submission, const char *reason) {
        /* A client may leave very many of these behind, so nothing else is looked at. */
        JobFilter filter = {
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .first_id = submission->first_id,
                .last_id = submission->first_id + submission->n_total - 1,
                .unfinished = true,
        };

        return engine_sweep(engine, &filter, reason, NULL, NULL, NULL);
}

int engine_submit(Engine *engine, Pool *pool, Submission *submission, const struct iovec *payloads,
        size_t n, bool borrow, unsigned flags) {
        int r;

        /* Making room can take claimed jobs back, for which idle workers are woken. */
        pool->is_to_wake = engine->wake_pools = true;
        r = pool_admit(
                pool, n, submission, submission->priority, flags | (pool->store ? ADMIT_LATER : 0));
        if (r != ADMIT_YES)
                return r;
        submission->pool = pool;
        submission->durable = pool->store;
        r = engine_accept_jobs(engine, pool, submission, payloads, n, borrow);
        if (r < 0 && pool->store)
                pool_end_promise(pool, n);
        return r < 0 ? r : ADMIT_YES;
}
