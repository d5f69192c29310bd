/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pipelines come, change and go, and their items go from stage to stage. A worker that has done
 * one at a stage that is not the last leaves it in the mailbox, JOB_PASSING, with its output as the
 * payload of what comes next. From then on it is main's, until its next pool has it.
 *
 * What an item passes on is not copied: the output of a bulk call stays in the chunk that its
 * worker wrote it to. So one item that waits long keeps 64 KiB; but only as long as a caller waits
 * for it, as only those calls use chunks. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Without this uthash ends the process where memory runs out. */
#define HASH_NONFATAL_OOM 1

#include "engine/assignments.h"
#include "engine/engine-private.h"
#include "util/fd.h"
#include "util/strv.h"

/* Jobs handed to a pool under one lock. */
#define CHUNK_JOBS 128

PoolPipeline *job_pipeline(const Job *job) {
        Pipeline *pipeline = job->submission->pipeline;

        return pipeline ? container_of(pipeline, PoolPipeline, pipeline) : NULL;
}

bool pipeline_uses_pool(const PoolPipeline *pipeline, const Pool *pool) {
        for (uint32_t i = 0; i < pipeline->pipeline.n_stages; i++)
                if (pipeline->stages[i] == pool)
                        return true;
        return false;
}

const char *pipeline_state_to_string(const PoolPipeline *pipeline) {
        return pipeline->pipeline.draining ? "draining" : "running";
}

/* ---- what the store has of them ---- */

static PoolPipeline *pipeline_of_row(const ObjectRow *row) {
        return container_of(row, PoolPipeline, row);
}

static const char *name_of_row(const ObjectRow *row) {
        return pipeline_of_row(row)->name;
}

static bool row_is_kept(const ObjectRow *row) {
        const PoolPipeline *pipeline = pipeline_of_row(row);

        return !pipeline->from_file || pipeline->stages[0]->store;
}

static void describe_row(const ObjectRow *row, StoredObject *ret, FILE *settings) {
        const PoolPipeline *pipeline = pipeline_of_row(row);
        const PipelineConfig origin = { .max_in_flight = pipeline->file_max_in_flight };
        char *names[PIPELINE_STAGES_MAX + 1] = {};
        const PipelineConfig config = {
                .stages = names,
                .max_in_flight = pipeline->pipeline.max_in_flight,
        };

        ret->digest = pipeline->from_file ? pipeline->digest : 0;
        if (!row_is_kept(row))
                return;
        for (uint32_t i = 0; i < pipeline->pipeline.n_stages; i++)
                names[i] = pipeline->stages[i]->config->name;
        for (const Setting *s = pipeline_settings; s < pipeline_settings + n_pipeline_settings; s++)
                if (!pipeline->from_file || (s->settable && !setting_equal(&config, &origin, s)))
                        assignment_print(settings, &config, s);
        ret->draining = pipeline->draining;
}

static const ObjectRowKind row_kind = {
        .noun = "pipeline",
        .name = name_of_row,
        .is_kept = row_is_kept,
        .describe = describe_row,
        .has_jobs = true,
};

/* ---- life ---- */

static PoolPipeline *pipeline_free(PoolPipeline *pipeline) {
        if (!pipeline)
                return NULL;
        free(pipeline->stages);
        free(pipeline->name);
        free(pipeline);
        return NULL;
}

DEFINE_CLEANUP(PoolPipeline *, pipeline_free)

PoolPipeline *engine_find_pipeline(Engine *engine, const char *name) {
        PoolPipeline *pipeline;

        HASH_FIND(by_name, engine->pipelines_by_name, name, strlen(name), pipeline);
        return pipeline;
}

static int find_stages(
        Engine *engine, const PipelineConfig *config, Pool **stages, char **ret_error) {
        STRV_FOREACH (name, config->stages) {
                Pool *pool = engine_find_pool(engine, *name);

                if (!pool)
                        return setting_fault(ret_error, "Stages: there is no pool \"%s\"", *name);
                if (pool->removing)
                        return setting_fault(
                                ret_error, "Stages: the pool \"%s\" is being removed", *name);
                if (!pool->store != !engine_find_pool(engine, config->stages[0])->store)
                        return setting_fault(ret_error,
                                "Stages: of \"%s\" and \"%s\" one is durable and the other is "
                                "not: all stages are, or none",
                                config->stages[0], *name);
                *stages++ = pool;
        }
        return 0;
}

int engine_add_pipeline(
        Engine *engine, const PipelineConfig *config, PoolPipeline **ret, char **ret_error) {
        _cleanup_(pipeline_freep) PoolPipeline *pipeline = NULL;
        size_t n = strv_length(config->stages);
        int r;

        if (engine_find_pipeline(engine, config->name))
                return -EEXIST;
        pipeline = calloc(1, sizeof(*pipeline));
        if (!pipeline)
                return -ENOMEM;
        *pipeline = (PoolPipeline){
                .name = strdup(config->name),
                .stages = calloc(n, sizeof(Pool *)),
                .engine = engine,
        };
        if (!pipeline->name || !pipeline->stages)
                return -ENOMEM;
        r = find_stages(engine, config, pipeline->stages, ret_error);
        if (r < 0)
                return r;
        pipeline_init(&pipeline->pipeline, (uint32_t) n, config->max_in_flight);
        pipeline->pipeline.draining = pipeline->shown_draining = engine->shutting_down;
        object_row_init(&pipeline->row, &row_kind);
        list_init(&pipeline->drain_watches);
        list_init(&pipeline->remove_watches);

        HASH_ADD_KEYPTR(by_name, engine->pipelines_by_name, pipeline->name, strlen(pipeline->name),
                pipeline);
        if (!pipeline->by_name.tbl)
                return -ENOMEM;
        list_append(&engine->pipelines, &pipeline->links);
        for (size_t i = 0; i < n; i++)
                pipeline->stages[i]->n_pipelines++;
        if (engine->listener && engine->listener->pipeline_added)
                engine->listener->pipeline_added(engine->listener_userdata, pipeline);
        if (ret)
                *ret = pipeline;
        (void) TAKE_PTR(pipeline); /* the engine's now */
        return 0;
}

void pipeline_submission_gone(Pipeline *p) {
        PoolPipeline *pipeline = container_of(p, PoolPipeline, pipeline);

        if (--pipeline->n_submissions == 0 && pipeline->gone)
                pipeline_free(pipeline);
}

/* Nothing is inside any more. */
static void pipeline_gone(Engine *engine, PoolPipeline *pipeline) {
        List watches = LIST_INIT(watches);

        if (engine->listener && engine->listener->pipeline_removed)
                engine->listener->pipeline_removed(engine->listener_userdata, pipeline);
        engine_forget(engine, &pipeline->row);
        engine_end_sweeps(engine, NULL, pipeline);
        for (uint32_t i = 0; i < pipeline->pipeline.n_stages; i++)
                pipeline->stages[i]->n_pipelines--;
        list_splice(&watches, &pipeline->drain_watches);
        list_splice(&watches, &pipeline->remove_watches);
        HASH_DELETE(by_name, engine->pipelines_by_name, pipeline);
        list_remove(&pipeline->links);
        pipeline->gone = true;
        if (pipeline->n_submissions == 0)
                pipeline_free(pipeline);
        watches_done(&watches);
}

int engine_remove_pipeline(Engine *engine, PoolPipeline *pipeline, bool cancel, PoolWatch *watch) {
        JobFilter filter = {
                .pipeline = pipeline,
                .state = cancel ? _JOB_STATE_INVALID : JOB_SCHEDULED,
                .result = _JOB_RESULT_INVALID,
                .unfinished = true,
        };
        Sweep *sweep;
        int r;

        r = engine_prepare_removal(engine, &pipeline->row);
        if (r < 0)
                return r;
        r = engine_sweep(engine, &filter, "its pipeline was removed", NULL, NULL, &sweep);
        if (r < 0)
                return r;
        sweep->interrupts = engine->shutting_down;
        pipeline->removing = true;
        pipeline->cancelling |= cancel;
        engine_shut_pipeline(pipeline);
        if (watch)
                list_append(&pipeline->remove_watches, &watch->links);
        return 0;
}

void engine_set_pipeline(Engine *engine, PoolPipeline *pipeline, const PipelineConfig *config) {
        pipeline->pipeline.max_in_flight = config->max_in_flight;
        pipeline->touched = true;
        engine_keep(engine, &pipeline->row);
        engine->check_pools = true;
        if (engine->listener && engine->listener->pipeline_changed)
                engine->listener->pipeline_changed(
                        engine->listener_userdata, pipeline, "MaxInFlight");
}

void engine_shut_pipeline(PoolPipeline *pipeline) {
        pipeline->pipeline.draining = true;
        pipeline->engine->check_pools = true;
}

void engine_drain_pipeline(Engine *engine, PoolPipeline *pipeline, bool draining) {
        pipeline->draining = draining;
        engine_keep(engine, &pipeline->row);
        /* What is to go takes nothing more, whatever it is told. */
        pipeline->pipeline.draining = draining || pipeline->removing || engine->shutting_down;
        engine->check_pools = true;
}

void engine_watch_pipeline_empty(PoolPipeline *pipeline, PoolWatch *watch) {
        list_append(&pipeline->drain_watches, &watch->links);
        pipeline->engine->check_pools = true;
}

/* Only main changes it, so it needs no lock to read it. */
static bool is_shut(const PoolPipeline *pipeline) {
        return pipeline->stages[0]->scheduler.draining;
}

static void check_pipeline(Engine *engine, PoolPipeline *pipeline) {
        AdmitWaiter *waiter;

        if (pipeline->pipeline.draining != pipeline->shown_draining) {
                pipeline->shown_draining = pipeline->pipeline.draining;
                if (engine->listener && engine->listener->pipeline_changed)
                        engine->listener->pipeline_changed(
                                engine->listener_userdata, pipeline, "State");
        }
        while ((waiter = pipeline_line_serve(&pipeline->pipeline, is_shut(pipeline)))) {
                RoomWatch *watch = container_of(waiter, RoomWatch, waiter);

                watch->pipeline = NULL;
                watch->served(watch);
        }
        if (pipeline->pipeline.n_in_flight > 0)
                return;
        watches_done(&pipeline->drain_watches);
        if (pipeline->removing)
                pipeline_gone(engine, pipeline);
}

void engine_check_pipelines(Engine *engine) {
        list_for_each (l, &engine->pipelines)
                check_pipeline(engine, list_entry(l, PoolPipeline, links));
}

/* ---- in ---- */

static AdmitVerdict admit(const PoolPipeline *pipeline, uint64_t n, unsigned flags) {
        usec_t retry_after;

        if (pipeline->pipeline.draining || is_shut(pipeline))
                return ADMIT_DRAINING;
        if (pool_is_refusing(pipeline->stages[0], &retry_after))
                return ADMIT_SHUT;
        return pipeline_ask(&pipeline->pipeline, n, flags);
}

int engine_submit_items(Engine *engine, PoolPipeline *pipeline, Submission *submission,
        const struct iovec *payloads, size_t n, bool borrow, unsigned flags) {
        Pool *first = pipeline->stages[0];
        AdmitVerdict verdict;
        int r;

        verdict = admit(pipeline, n, flags);
        if (verdict != ADMIT_YES)
                return verdict;
        r = pool_reserve(first, submission, submission->priority);
        if (r < 0)
                return r;
        submission->pipeline = &pipeline->pipeline;
        submission->durable = first->store;
        r = engine_accept_jobs(engine, first, submission, payloads, n, borrow);
        if (r < 0) {
                submission->pipeline = NULL;
                return r;
        }
        pipeline->n_submissions++;
        pipeline_enter(&pipeline->pipeline, n);
        first->is_to_wake = engine->wake_pools = true;
        return ADMIT_YES;
}

void pipeline_watch_room(PoolPipeline *pipeline, RoomWatch *watch, uint64_t n) {
        watch->pipeline = pipeline;
        watch->waiter = (AdmitWaiter){ .n = n };
        pipeline_line_join(&pipeline->pipeline, &watch->waiter);
        pipeline->engine->check_pools = true;
}

int engine_readmit_item(Engine *engine, Job *job) {
        const PoolPipeline *pipeline = job_pipeline(job);
        AdmitVerdict verdict;
        int r;

        if (pipeline->gone)
                return RETRY_REMOVED;
        verdict = pipeline_ask(&pipeline->pipeline, 1, 0);
        if (verdict != ADMIT_YES)
                return verdict == ADMIT_DRAINING ? RETRY_DRAINING : RETRY_NO_ROOM;
        r = pool_reserve(job_pool(job), job->submission, job->priority);
        return r < 0 ? r : RETRY_DONE;
}

/* ---- on ---- */

/* Jobs on their way to one pool. */
typedef struct Arrivals {
        Pool *pool;
        size_t n;
        Job *jobs[CHUNK_JOBS];
} Arrivals;

/* What the job is from now on, at its next stage. */
static void enter_next_stage(Job *job) {
        static char nothing[1];
        Submission *submission = job->submission;
        JobDetails *details = job->details;

        /* Only a single job has any, and whoever is at the other end waits for it to be closed. */
        if (job->stage == 0 && submission->n_total == 1)
                submission->payload_fd = fd_close(submission->payload_fd);
        job->stage++;
        if (!job->data)
                job->data = nothing;
        if (likely(!details))
                return;
        details->attempt = details->asked = 0;
        details->finished_at = 0;
        details->kicked = details->released = false;
        details->exit_status = 0;
        details->progress = -1;
}

/* Ends the job where it has arrived. An error text that it has is about this. */
void engine_turn_away(Engine *engine, Job *job, JobResult result, const char *error, usec_t now) {
        /* Without memory for it the result speaks for itself. */
        if (error && job_ensure_details(job) >= 0 && !job->details->error)
                job->details->error = strdup(error);
        pool_turn_away(job_pool(job), job, result, now);
        engine_job_ended(engine, job, now);
}

/* Is there a reason not to let it in? Then it ends here. */
static bool is_turned_away(Engine *engine, Job *job, usec_t now) {
        Pool *pool = job_pool(job);
        uint64_t payload_max = pool->config->handler_config.payload_max;
        usec_t retry_after;
        char text[128];

        if (job->flags & JOB_STOP_BY_CANCEL)
                engine_turn_away(engine, job, JOB_CANCELLED, NULL, now);
        else if (engine->shutting_down) {
                job->interrupted = job->submission->durable;
                engine_turn_away(engine, job, JOB_CANCELLED, "sluiced is shutting down", now);
        } else if (job->size > payload_max) {
                (void) snprintf(text, sizeof(text),
                        "a payload of %" PRIu32 " bytes; the pool takes up to %" PRIu64
                        " (PayloadMax)",
                        job->size, payload_max);
                engine_turn_away(engine, job, JOB_FAILED, text, now);
        } else if (pool_is_refusing(pool, &retry_after))
                engine_turn_away(engine, job, JOB_REFUSED, NULL, now);
        else
                return false;
        return true;
}

static void hand_over(Engine *engine, Arrivals *arrivals, usec_t now) {
        size_t n;

        if (arrivals->n == 0)
                return;
        n = pool_receive(arrivals->pool, arrivals->jobs, arrivals->n, now);
        arrivals->pool->is_to_wake = engine->wake_pools = true;
        for (; n < arrivals->n; n++)
                engine_turn_away(engine, arrivals->jobs[n], JOB_FAILED,
                        "no memory for its place in line", now);
        arrivals->n = 0;
}

void engine_pass_jobs(Engine *engine, Job *first, usec_t now) {
        for (Job *job = first; job; job = job->next)
                enter_next_stage(job);
        if (likely(!engine->durability)) {
                engine_arrive(engine, first, now);
                return;
        }
        for (Job **link = &first, *job; (job = *link);) {
                if (!job->submission->durable) {
                        link = &job->next;
                        continue;
                }
                *link = job->next;
                if (durable_pass(engine, job, now) < 0)
                        engine_turn_away(
                                engine, job, JOB_FAILED, "no memory for its place in line", now);
        }
        engine_arrive(engine, first, now);
}

void engine_arrive(Engine *engine, Job *first, usec_t now) {
        Arrivals arrivals = {};

        for (Job *job = first, *next; job; job = next) {
                Pool *pool;

                next = job->next;
                if (is_turned_away(engine, job, now))
                        continue;
                pool = job_pool(job);
                if (pool != arrivals.pool || arrivals.n == CHUNK_JOBS) {
                        hand_over(engine, &arrivals, now);
                        arrivals.pool = pool;
                }
                arrivals.jobs[arrivals.n++] = job;
        }
        hand_over(engine, &arrivals, now);
}

/* ---- out ---- */

void engine_item_ended(Job *job) {
        pipeline_leave(&job_pipeline(job)->pipeline, (JobResult) job->result);
}
