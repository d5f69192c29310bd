/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the store has kept becomes jobs again, before the loop runs; what was submitted to a pool or
 * a pipeline that is not there then, when there is one of that name again. Their places in the
 * queues are as before: CLOCK_REALTIME says how long each has waited. (One that has waited for
 * longer than the machine is up counts as waiting since then.) */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/retry.h"
#include "engine/durable.h"
#include "engine/engine-private.h"
#include "engine/job-group.h"
#include "engine/submit-key.h"
#include "util/log.h"
#include "util/message-ids.h"
#include "util/strv.h"

/* A pool or pipeline that is not there, or not durable, and that the store has jobs of. */
typedef struct Stranger {
        List links;   /* in Engine.strangers */
        char *target; /* owned */
        bool to_pipeline;
        uint64_t n_jobs;
} Stranger;

typedef struct Recovery {
        Engine *engine;
        usec_t now, realtime;
        Submission *submission; /* the one that was read last; NULL = it has no place here */
        uint64_t n_left;        /* its jobs that were not read yet */
        Job **finished;         /* owned; the jobs are not */
        size_t n_finished, room;
        Job *ended; /* jobs that end by having been at work too often, linked by next */
        bool stays; /* the submission has a job that stays in the store, or was not read */
        uint64_t n_jobs;
        Stranger *stranger; /* borrowed: whose submission was read last; NULL = nobody's */
} Recovery;

/* The moment of the clock that does not go back, at least 1 as 0 is none. */
static usec_t to_monotonic(const Recovery *r, usec_t realtime) {
        if (realtime == 0)
                return 0;
        if (realtime > r->realtime)
                return usec_add(r->now, realtime - r->realtime);
        return MAX(usec_sub(r->now, r->realtime - realtime), UINT64_C(1));
}

/* ---- submissions ---- */

static Stranger *find_stranger(Engine *engine, const char *target, bool to_pipeline) {
        list_for_each (l, &engine->strangers) {
                Stranger *stranger = list_entry(l, Stranger, links);

                if (stranger->to_pipeline == to_pipeline && strcmp(stranger->target, target) == 0)
                        return stranger;
        }
        return NULL;
}

static void stranger_free(Stranger *stranger) {
        list_remove(&stranger->links);
        free(stranger->target);
        free(stranger);
}

static int note_stranger(Recovery *r, const char *target, bool to_pipeline) {
        Stranger *stranger = find_stranger(r->engine, target, to_pipeline);

        if (!stranger) {
                stranger = malloc(sizeof(*stranger));
                if (!stranger)
                        return -ENOMEM;
                *stranger = (Stranger){
                        .target = strdup(target),
                        .to_pipeline = to_pipeline,
                };
                list_init(&stranger->links);
                if (!stranger->target) {
                        stranger_free(stranger);
                        return -ENOMEM;
                }
                list_append(&r->engine->strangers, &stranger->links);
        }
        r->stranger = stranger;
        return 0;
}

void engine_forget_strangers(Engine *engine) {
        list_for_each (l, &engine->strangers)
                stranger_free(list_entry(l, Stranger, links));
}

/* All its jobs have been read. */
static void end_submission(Recovery *r) {
        Submission *submission = TAKE_PTR(r->submission);

        if (!submission)
                return;
        /* A group without some of its members would never end. */
        if (submission->group && submission->n_jobs < submission->n_total)
                engine_drop_group(r->engine, submission->group);
        /* Nor is there one call for all results if they have all ended, or some are not there. */
        if (submission->key &&
                (submission->key->n_unfinished == 0 || submission->n_jobs < submission->n_total))
                submission->key->as_one = false;
        if (submission->group && submission->n_total == 0) {
                engine_end_empty_group(r->engine, submission->group, submission->submitted_at);
                return;
        }
        if (submission->n_jobs == 0) {
                if (!r->stays)
                        durable_forget_submission(r->engine, submission);
                submission_free(submission);
        }
}

static int copy_texts(Submission *submission, const StoredSubmission *stored) {
        int r = 0;

        if (stored->tag && !(submission->tag = strdup(stored->tag)))
                return -ENOMEM;
        if (stored->concurrency_key &&
                !(submission->concurrency_key = strdup(stored->concurrency_key)))
                return -ENOMEM;
        STRV_FOREACH (argument, stored->arguments)
                if (r >= 0)
                        r = strv_extend(&submission->arguments, *argument);
        return r;
}

/* Its jobs are counted as they come. Of two with one key, which is no work of ours, the first one
 * has it. */
static int restore_key(Engine *engine, Submission *submission, const StoredSubmission *stored) {
        Submission *known;
        int r;

        if (strlen(stored->key) > SUBMIT_KEY_MAX)
                return 0;
        r = submission_set_key(submission, stored->key);
        if (r < 0)
                return r;
        memcpy(submission->key->digest, stored->key_digest, SUBMIT_DIGEST_SIZE);
        submission->key->as_one = stored->as_one;
        if (engine_ask_key(engine, submission->pool,
                    submission->pipeline
                            ? container_of(submission->pipeline, PoolPipeline, pipeline)
                            : NULL,
                    submission, &known) != KEY_IS_NEW) {
                submission->key = submit_key_free(submission->key);
                return 0;
        }
        return submit_key_enter(submission->key, engine, 0);
}

/* Its owner has it again. Jobs are counted as they come. */
static int charge(Engine *engine, Submission *submission, bool is_group) {
        Account *account = quota_account(&engine->quota, submission->owner);

        if (!account)
                return -ENOMEM;
        submission_charge(submission, account, 0, 0, is_group);
        account_unref(account);
        return 0;
}

static int on_submission(void *userdata, const StoredSubmission *stored) {
        _cleanup_(submission_freep) Submission *submission = NULL;
        Recovery *recovery = userdata;
        Engine *engine = recovery->engine;
        PoolPipeline *pipeline = NULL;
        Pool *pool = NULL;
        int r;

        end_submission(recovery);
        recovery->stays = false;
        if (stored->to_pipeline)
                pipeline = engine_find_pipeline(engine, stored->target);
        else
                pool = engine_find_pool(engine, stored->target);
        if (pipeline ? !pipeline->stages[0]->store : !pool || !pool->store)
                return note_stranger(recovery, stored->target, stored->to_pipeline);

        submission = submission_new();
        if (!submission)
                return -ENOMEM;
        submission->durable = true;
        submission->first_id = stored->first_id;
        submission->n_total = stored->n_total;
        submission->owner = stored->owner;
        submission->priority = stored->priority;
        submission->max_attempts = stored->max_attempts;
        submission->bind = stored->bind;
        submission->submitted_at = to_monotonic(recovery, stored->submitted_realtime);
        submission->submitted_realtime = stored->submitted_realtime;
        submission->delay = stored->delay;
        submission->queue_timeout = stored->queue_timeout;
        submission->run_timeout = stored->run_timeout;
        r = copy_texts(submission, stored);
        if (r < 0)
                return r;
        if (pipeline) {
                submission->pipeline = &pipeline->pipeline;
                pipeline->n_submissions++;
        } else
                submission->pool = pool;
        r = charge(engine, submission, stored->group_id > 0);
        if (r >= 0 && stored->key)
                r = restore_key(engine, submission, stored);
        /* Last, as a group does not go with its submission. */
        if (r >= 0 && stored->group_id > 0)
                r = engine_restore_group(
                        engine, submission, stored->group_policy, stored->group_id);
        if (r < 0)
                return r;
        recovery->submission = TAKE_PTR(submission);
        return 0;
}

/* ---- jobs ---- */

static bool needs_details(const Pool *pool, const StoredJob *stored, const Job *job) {
        const Submission *submission = job->submission;

        return stored->finished || stored->attempt > 0 || stored->kicked || stored->ready > 0 ||
               submission->delay > 0 || submission->queue_timeout != USEC_INFINITY ||
               submission->concurrency_key ||
               scheduler_needs_details(&pool->scheduler, job, job->due_at);
}

static int set_details(const Recovery *r, Job *job, const StoredJob *stored) {
        JobDetails *details;

        if (job_ensure_details(job) < 0)
                return -ENOMEM;
        details = job->details;
        details->attempt = stored->attempt;
        details->asked = stored->asked;
        details->crashes = stored->crashes;
        details->kicked = stored->kicked;
        details->worker = stored->worker;
        details->exit_status = stored->exit_status;
        details->started_at = to_monotonic(r, stored->started);
        details->finished_at = to_monotonic(r, stored->finished_at);
        details->duration = stored->duration;
        details->ready_at = MAX(to_monotonic(r, stored->ready), job->due_at);
        if (stored->error && stored->error[0]) {
                details->error = strdup(stored->error);
                if (!details->error)
                        return -ENOMEM;
        }
        return 0;
}

static int keep_finished(Recovery *r, Job *job) {
        if (r->n_finished == r->room) {
                size_t room = MAX(r->room * 2, (size_t) 1024);
                Job **finished = reallocarray(r->finished, room, sizeof(*finished));

                if (!finished)
                        return -ENOMEM;
                r->finished = finished;
                r->room = room;
        }
        r->finished[r->n_finished++] = job;
        return 0;
}

/* The daemon has ended with the job at work, or what it hangs on has gone with it: is that its end?
 * NULL: it is not. */
static const char *reason_to_end(
        const Pool *pool, Job *job, const StoredJob *stored, JobResult *ret, char text[static 96]) {
        const Submission *submission = job->submission;
        RetryConfig config = pool->scheduler.config.retry;
        RetryStats stats = { .attempts = stored->attempt, .asked = stored->asked + 1 };
        usec_t delay;

        if (submission->bind) {
                *ret = JOB_CANCELLED;
                return "its client has gone";
        }
        if (!stored->was_running)
                return NULL;
        *ret = JOB_LOST;
        /* What somebody else works on crashes nobody but him. */
        if (stored->crashes >= STORE_CRASHES_MAX && !pool->config->handler->in_slots) {
                (void) snprintf(
                        text, 96, "sluiced ended %" PRIu32 " times while it ran", stored->crashes);
                return text;
        }
        job->details->asked++;
        if (submission->max_attempts > 0)
                config.max_attempts = submission->max_attempts;
        if (retry_ask(&config, &stats, OUTCOME_GONE, JOB_STOP_NONE, 0, &delay) == RETRY_NOT) {
                (void) snprintf(text, 96, "sluiced ended while it ran (attempt %" PRIu32 ")",
                        stored->attempt);
                return text;
        }
        return NULL;
}

/* It ends here, which the store is told once it runs. */
static void end_job(Recovery *r, Job *job, JobResult result, const char *error) {
        free(job->details->error);
        job->details->error = strdup(error);
        pool_turn_away(job_pool(job), job, result, r->now);
        job->next = r->ended;
        r->ended = job;
}

static int restore(Recovery *recovery, Pool *pool, Job *job, const StoredJob *stored) {
        char text[96];
        const char *error;
        JobResult result;
        int r;

        r = pool_reserve(pool, job->submission, job->priority);
        if (r < 0)
                return r;
        if (needs_details(pool, stored, job)) {
                r = set_details(recovery, job, stored);
                if (r < 0)
                        return r;
        }
        if (stored->finished) {
                job->state = JOB_FINISHED;
                job->result = stored->result;
                job->due_at = job->details->finished_at;
                return keep_finished(recovery, job);
        }
        error = reason_to_end(pool, job, stored, &result, text);
        if (error && job_ensure_details(job) < 0)
                return -ENOMEM;
        job->submission->n_pending++;
        submission_charge_again(job->submission, job->size);
        if (job->submission->key)
                submit_key_job_back(job->submission->key);
        if (job->submission->pipeline)
                pipeline_enter(job->submission->pipeline, 1);
        if (error) {
                end_job(recovery, job, result, error);
                return 0;
        }
        pool_restore(pool, job, recovery->now);
        if (stored->was_running)
                durable_tell_waits(recovery->engine, job->details);
        return 0;
}

static void discard(Engine *engine, Job *job) {
        job->submission->n_jobs--;
        job_table_remove(&engine->jobs, job);
        free(job->data);
        if (job->details)
                job_details_free(job->details);
        slab_free(&engine->slab, job);
}

static int on_job(void *userdata, const StoredJob *stored) {
        Recovery *recovery = userdata;
        Submission *submission = recovery->submission;
        Engine *engine = recovery->engine;
        void *data = NULL;
        Job *job;
        int r;

        if (!submission) {
                if (recovery->stranger)
                        recovery->stranger->n_jobs++;
                return 0;
        }
        if (submission->pipeline && stored->stage >= submission->pipeline->n_stages) {
                log_error("Job %" PRIu64 " was at a stage that its pipeline does not have any "
                          "more: it stays in the store",
                        stored->id);
                recovery->stays = true;
                return 0;
        }
        r = slab_reserve(&engine->slab, 1);
        if (r >= 0)
                r = job_table_reserve(&engine->jobs, stored->id, 1);
        if (r < 0)
                return r;
        if (stored->size > 0) {
                data = malloc(stored->size);
                if (!data)
                        return -ENOMEM;
                memcpy(data, stored->data, stored->size);
        }
        job = slab_alloc(&engine->slab);
        *job = (Job){
                .id = stored->id,
                .stage = stored->stage,
                .submission = submission,
                .due_at = to_monotonic(recovery, stored->due),
                .data = data,
                .size = stored->size,
                .flags = data ? JOB_DATA_OWNED : 0,
                .priority = stored->priority,
                .state = JOB_NEW,
        };
        submission->n_jobs++;
        job_table_put(&engine->jobs, job);
        recovery->n_jobs++;
        r = restore(recovery, job_pool(job), job, stored);
        if (r < 0)
                discard(engine, job);
        return r;
}

/* ---- all ---- */

static int by_end(const void *a, const void *b) {
        const Job *ja = *(Job *const *) a, *jb = *(Job *const *) b;

        if (ja->due_at != jb->due_at)
                return ja->due_at < jb->due_at ? -1 : 1;
        return ja->id < jb->id ? -1 : ja->id > jb->id;
}

static void tell_strangers(Engine *engine) {
        list_for_each (l, &engine->strangers) {
                const Stranger *stranger = list_entry(l, Stranger, links);

                log_event(LOG_WARNING,
                        LOG_FIELDS(.message_id = MESSAGE_JOBS_STRANDED,
                                .pool = stranger->to_pipeline ? NULL : stranger->target,
                                .pipeline = stranger->to_pipeline ? stranger->target : NULL),
                        "%" PRIu64 " jobs wait in the store for %s \"%s\", which is not there "
                        "or not durable: they are back once it is",
                        stranger->n_jobs, stranger->to_pipeline ? "pipeline" : "pool",
                        stranger->target);
        }
}

/* Among the results, in the order of their ends. */
static void keep_finished_jobs(Recovery *r) {
        if (r->n_finished > 0)
                qsort(r->finished, r->n_finished, sizeof(*r->finished), by_end);
        for (size_t i = 0; i < r->n_finished; i++)
                engine_restore_finished(r->engine, r->finished[i]);
        free(r->finished);
}

/* The daemon does not start, or ends. What has ended here has not, as nobody will write it. */
static void give_up(Recovery *r) {
        for (Job *job = r->ended, *next; job; job = next) {
                next = job->next;
                job->interrupted = true;
                engine_keep_interrupted(job);
        }
}

/* No worker takes one before all are there and the store hears of what becomes of it. */
static void hold_pools(Engine *engine) {
        list_for_each (l, &engine->pools)
                pool_pause(list_entry(l, Pool, links), true);
}

static void let_pools_go(Engine *engine) {
        list_for_each (l, &engine->pools) {
                Pool *pool = list_entry(l, Pool, links);

                engine_settle_pause(pool);
                pool->is_to_wake = engine->wake_pools = engine->check_pools = true;
        }
}

/* Reads all jobs, or those that were submitted to one target. 0 or -errno, and then some may be
 * there. */
static int recover(Engine *engine, const char *target, bool to_pipeline) {
        const StoreReader reader = {
                .target = target,
                .to_pipeline = to_pipeline,
                .submission = on_submission,
                .job = on_job,
        };
        Recovery recovery = {
                .engine = engine,
                .now = usec_now(CLOCK_MONOTONIC),
                .realtime = usec_now(CLOCK_REALTIME),
        };
        int r;

        r = store_read_jobs(engine->store, &reader, &recovery);
        recovery.stays |= r < 0;
        end_submission(&recovery);
        keep_finished_jobs(&recovery);
        if (r < 0) {
                give_up(&recovery);
                return r;
        }
        list_for_each (l, &engine->pools)
                engine_forget_surplus(engine, list_entry(l, Pool, links));
        for (Job *job = recovery.ended, *next; job; job = next) {
                next = job->next;
                durable_job_ended(engine, job);
        }
        if (recovery.n_jobs > 0)
                log_event(LOG_INFO, LOG_FIELDS(.message_id = MESSAGE_JOBS_BACK),
                        "%" PRIu64 " durable jobs are back", recovery.n_jobs);
        return 0;
}

int engine_recover(Engine *engine) {
        int r;

        hold_pools(engine);
        r = recover(engine, NULL, false);
        tell_strangers(engine);
        if (r >= 0)
                r = store_start(engine->store);
        if (r < 0)
                return r;
        let_pools_go(engine);
        engine_turn(engine);
        return 0;
}

static void recover_late(Engine *engine, const char *target, bool to_pipeline) {
        Stranger *stranger = find_stranger(engine, target, to_pipeline);
        int r;

        if (!stranger)
                return;
        stranger_free(stranger);
        hold_pools(engine);
        store_stop(engine->store);
        r = recover(engine, target, to_pipeline);
        /* Half of a submission must not go on, as its rows would go with it. The daemon ends, as it
         * does when the store cannot go on, and the next one begins with what is there. */
        if (r < 0)
                store_fail(engine->store, r, "cannot bring jobs back");
        (void) store_start(engine->store);
        let_pools_go(engine);
}

void engine_recover_pool(Engine *engine, const Pool *pool) {
        if (pool->store)
                recover_late(engine, pool->config->name, /* to_pipeline= */ false);
}

void engine_recover_pipeline(Engine *engine, const PoolPipeline *pipeline) {
        if (pipeline->stages[0]->store)
                recover_late(engine, pipeline->name, /* to_pipeline= */ true);
}
