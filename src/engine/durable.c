/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Between a change and the disk its job is in nobody's hands but main's: one that was submitted is
 * not handed over yet, one that has ended was posted, one that goes to its next stage is in
 * between. So the store reads all of it where it lies.
 *
 * Jobs that end in one turn of the loop are one change. Where memory for it is short they wait for
 * the one that is spare. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/durable.h"
#include "engine/engine-private.h"
#include "engine/job-group.h"
#include "engine/submit-key.h"
#include "util/log.h"

/* Jobs handed to a pool under one lock. */
#define CHUNK_JOBS 128

/* A change and the engine that made it. */
typedef struct Change {
        StoreChange store;
        Engine *engine;
        Job *job;                          /* of a STORE_WAIT that makes an item go on */
        uint64_t *ids;                     /* owned: of STORE_FORGET: jobs from the front, … */
        size_t n_ids, n_submissions, room; /* … submissions from the back */
        List watches; /* StoreWatch.links: those that wait for this and all before */
} Change;

struct Durability {
        Store *store;
        sd_event_source *source;
        Job *ended, **ended_end; /* linked by next: of these the store was not told yet, … */
        List sheets;             /* … nor of what these say (MarkSheet.links) */
        Change spare;            /* for their ends, if there is no memory for another one */
        bool spare_in_use;
        Change *forgetting; /* what was forgotten in this turn; NULL = nothing */
        Change *barrier;    /* for those who wait since this turn; NULL = nobody */
        usec_t realtime;    /* CLOCK_REALTIME - CLOCK_MONOTONIC, as of this turn; 0 = not known */
};

static Change *change_new(
        Engine *engine, StoreKind kind, void (*done)(StoreChange *change, int r)) {
        Change *change = calloc(1, sizeof(*change));

        if (!change)
                return NULL;
        change->store.kind = kind;
        change->store.done = done;
        change->engine = engine;
        list_init(&change->store.links);
        list_init(&change->watches);
        return change;
}

static Change *change_of(StoreChange *store) {
        return container_of(store, Change, store);
}

static void post(Engine *engine, Change *change) {
        store_post(engine->durability->store, &change->store);
}

static void on_written(StoreChange *change, int r) {
        free(change_of(change)->ids);
        free(change_of(change));
}

static usec_t to_realtime(const Engine *engine, usec_t monotonic) {
        Durability *d = engine->durability;

        if (d->realtime == 0)
                d->realtime = usec_now(CLOCK_REALTIME) - usec_now(CLOCK_MONOTONIC);
        return monotonic + d->realtime;
}

/* ---- submits ---- */

/* NULL = none. */
static PoolPipeline *pipeline_of(const Submission *submission) {
        return submission->pipeline ? container_of(submission->pipeline, PoolPipeline, pipeline)
                                    : NULL;
}

/* The jobs have their places from now on, instead of the promise of them. */
static void hand_over(Engine *engine, Pool *pool, Job *first, usec_t now) {
        while (first) {
                Job *jobs[CHUNK_JOBS];
                size_t n = 0, taken;

                for (; first && n < CHUNK_JOBS; first = first->next)
                        jobs[n++] = first;
                taken = pool_receive(pool, jobs, n, now);
                for (; taken < n; taken++)
                        engine_turn_away(engine, jobs[taken], JOB_FAILED,
                                "no memory for its place in line", now);
        }
        pool->is_to_wake = engine->wake_pools = true;
}

static void tell_stored(Submission *submission, int r) {
        if (submission->stored)
                submission->stored(submission, r);
        if (submission->key)
                submit_key_stored(submission->key, r);
}

/* What has happened while the jobs were on their way found none of them. */
static void catch_up(Engine *engine, const Submission *submission, Pool *pool) {
        PoolPipeline *pipeline = pipeline_of(submission);

        engine_refuse_queued(engine, pool);
        if (submission->bind && !submission->client)
                (void) engine_cancel_submission(engine, submission, "its client has gone");
        if (pipeline && pipeline->removing)
                (void) engine_remove_pipeline(engine, pipeline, pipeline->cancelling, NULL);
        if (pool->removing)
                (void) engine_remove_pool(engine, pool, pool->cancelling, NULL);
}

static void on_submitted(StoreChange *store, int r) {
        Submission *submission = store->submit.submission;
        uint32_t n = submission->n_total;
        Engine *engine = change_of(store)->engine;
        Pool *pool = submission_first_pool(submission);
        Job *first = store->submit.first;

        free(change_of(store));
        if (n == 0)
                engine_empty_group_stored(submission->group);
        else if (!submission->pipeline)
                pool_end_promise(pool, n);
        submission->storing = false;
        engine->check_pools = true;
        if (r < 0) {
                engine_discard_submission(engine, submission, first);
                if (submission->pipeline)
                        pipeline_withdraw(submission->pipeline, n);
                else
                        pool_reject(pool, n);
                tell_stored(submission, r);
                submission_free(submission);
                return;
        }
        hand_over(engine, pool, first, usec_now(CLOCK_MONOTONIC));
        tell_stored(submission, 0);
        if (n == 0)
                engine_end_empty_group(engine, submission->group, usec_now(CLOCK_MONOTONIC));
        else
                catch_up(engine, submission, pool);
}

int durable_submit(Engine *engine, Submission *submission, Job *first) {
        const PoolPipeline *pipeline = pipeline_of(submission);
        const JobGroup *group = submission->group;
        Change *change = change_new(engine, STORE_SUBMIT, on_submitted);

        if (!change)
                return -ENOMEM;
        change->store.submit.submission = submission;
        change->store.submit.first = first;
        change->store.submit.to_pipeline = pipeline;
        change->store.submit.target =
                pipeline ? pipeline->name : ((const Pool *) submission->pool)->config->name;
        if (group) {
                change->store.submit.group_id = group->id;
                change->store.submit.group_policy = group->core.policy;
        }
        if (submission->key) {
                change->store.submit.key = submission->key->text;
                change->store.submit.key_digest = submission->key->digest;
                change->store.submit.as_one = submission->key->as_one;
        }
        submission->storing = true;
        post(engine, change);
        return 0;
}

/* ---- ends ---- */

/* It was told to stop since the daemon stops, or its end could not be written: it goes on after the
 * next start, and until then nobody is told anything of it. */
static void interrupt(Engine *engine, Job *job) {
        Submission *submission = job->submission;

        job->interrupted = true;
        if (submission->pipeline)
                engine_item_ended(job);
        if (submission->bulk) {
                /* Its call is answered with all others that wait when the daemon has stopped. */
                submission->finished = NULL;
                if (--submission->n_pending == 0)
                        engine_submission_ended(engine, submission, usec_now(CLOCK_MONOTONIC));
        } else
                engine_keep_interrupted(job);
        engine->check_pools = true;
}

static void on_ended(StoreChange *store, int r) {
        Change *change = change_of(store);
        Engine *engine = change->engine;
        usec_t now = usec_now(CLOCK_MONOTONIC);

        for (Job *job = store->ended, *next; job; job = next) {
                next = job->next;
                job->unsettled = false;
                job_pool(job)->n_unsettled--;
                if (r < 0)
                        interrupt(engine, job);
                else
                        engine_conclude_job(engine, job, now);
        }
        engine->check_pools = true;
        if (change == &engine->durability->spare)
                engine->durability->spare_in_use = false;
        else
                free(change);
}

void durable_job_ended(Engine *engine, Job *job) {
        Durability *d = engine->durability;

        /* A success that beat the stop is one. */
        if (job->interrupted && job->result != JOB_SUCCEEDED) {
                interrupt(engine, job);
                return;
        }
        job->interrupted = false;
        /* Whoever comes to wait for it finds them here: the store looks at the job meanwhile. */
        if (!job->details && job_ensure_details(job) >= 0)
                job->details->finished_at = job->due_at;
        job->unsettled = true;
        job_pool(job)->n_unsettled++;
        job->next = NULL;
        *d->ended_end = job;
        d->ended_end = &job->next;
}

void durable_take_sheets(Engine *engine, List *sheets) {
        list_splice(&engine->durability->sheets, sheets);
}

static void post_ended(Engine *engine) {
        Durability *d = engine->durability;
        Change *change;

        if (d->ended) {
                change = change_new(engine, STORE_END, on_ended);
                if (!change && !d->spare_in_use) {
                        d->spare = (Change){ .store = { .kind = STORE_END, .done = on_ended },
                                .engine = engine };
                        d->spare_in_use = true;
                        change = &d->spare;
                        list_init(&change->store.links);
                }
                if (!change)
                        return;
                change->store.ended = d->ended;
                d->ended = NULL;
                d->ended_end = &d->ended;
                post(engine, change);
        }
        if (!list_is_empty(&d->sheets))
                store_release_sheets(d->store, &d->sheets);
}

/* ---- other changes ---- */

/* What the store is to know of a job that waits; with its pool's lock held. */
static void describe_wait(const Engine *engine, const Job *job, StoreChange *store) {
        const JobDetails *details = job->details;

        store->wait.id = job->id;
        store->wait.stage = job->stage;
        store->wait.due_realtime = to_realtime(engine, job->due_at);
        store->wait.attempt = details->attempt;
        store->wait.asked = details->asked;
        store->wait.kicked = details->kicked || details->released;
        store->wait.ready_realtime =
                job->state == JOB_SCHEDULED ? to_realtime(engine, details->ready_at) : 0;
}

/* Without memory for it, the attempts are on the disk with what becomes of the job next. */
void durable_tell_waits(Engine *engine, JobDetails *first) {
        for (JobDetails *details = first, *next; details; details = next) {
                Change *change = change_new(engine, STORE_WAIT, on_written);
                Job *job = details->job;
                Pool *pool = job_pool(job);
                bool lives;

                pool_lock(pool);
                next = details->told_next;
                details->told = false;
                lives = job->state != JOB_FINISHED && job->state != JOB_PASSING;
                if (lives && change)
                        describe_wait(engine, job, &change->store);
                pool_unlock(pool);
                if (lives && change)
                        post(engine, change);
                else
                        free(change);
        }
}

int durable_kick(Engine *engine, Pool *pool, Job *job, usec_t now) {
        Change *change = NULL;
        int r;

        if (job->submission->durable) {
                change = change_new(engine, STORE_WAIT, on_written);
                if (!change)
                        return -ENOMEM;
        }
        r = pool_kick(pool, job, now);
        if (r < 0 || !change) {
                free(change);
                return r;
        }
        pool_lock(pool);
        /* If it is at work by now it waited a moment ago. */
        describe_wait(engine, job, &change->store);
        change->store.wait.attempt = change->store.wait.asked = 0;
        pool_unlock(pool);
        post(engine, change);
        return 0;
}

int engine_set_priority(Engine *engine, Job *job, int16_t priority) {
        Change *change = NULL;
        int r;

        if (job->submission->durable) {
                change = change_new(engine, STORE_PRIORITY, on_written);
                if (!change)
                        return -ENOMEM;
                change->store.priority.id = job->id;
                change->store.priority.priority = priority;
        }
        r = pool_set_priority(job_pool(job), job, priority);
        if (r == 0 && change)
                post(engine, TAKE_PTR(change));
        free(change);
        return r;
}

/* ---- from stage to stage ---- */

static void on_passed(StoreChange *store, int r) {
        Change *change = change_of(store);
        Engine *engine = change->engine;
        Job *job = change->job;

        free(change);
        if (r < 0)
                interrupt(engine, job);
        else {
                job->next = NULL;
                engine_arrive(engine, job, usec_now(CLOCK_MONOTONIC));
        }
}

int durable_pass(Engine *engine, Job *job, usec_t now) {
        Change *change = change_new(engine, STORE_WAIT, on_passed);

        if (!change)
                return -ENOMEM;
        change->job = job;
        change->store.wait.id = job->id;
        change->store.wait.stage = job->stage;
        change->store.wait.due_realtime = to_realtime(engine, now);
        change->store.wait.has_data = true;
        change->store.wait.data = job->data;
        change->store.wait.size = job->size;
        post(engine, change);
        return 0;
}

/* ---- what is forgotten ---- */

/* Room for one more of either kind; without it the rows are there until they are read and found too
 * old at the next start. */
static Change *forgetting(Engine *engine) {
        Durability *d = engine->durability;
        size_t room;
        uint64_t *ids;

        if (!d->forgetting)
                d->forgetting = change_new(engine, STORE_FORGET, on_written);
        if (!d->forgetting)
                return NULL;
        if (d->forgetting->n_ids + d->forgetting->n_submissions < d->forgetting->room)
                return d->forgetting;
        room = MAX(d->forgetting->room * 2, (size_t) 64);
        ids = malloc(room * sizeof(*ids));
        if (!ids)
                return NULL;
        for (size_t i = 0; i < d->forgetting->n_ids; i++)
                ids[i] = d->forgetting->ids[i];
        for (size_t i = 1; i <= d->forgetting->n_submissions; i++)
                ids[room - i] = d->forgetting->ids[d->forgetting->room - i];
        free(d->forgetting->ids);
        d->forgetting->ids = ids;
        d->forgetting->room = room;
        return d->forgetting;
}

/* Of a daemon that stops everything goes out of memory, and nothing from the disk. */
static bool is_to_forget(const Engine *engine, const Submission *submission) {
        return submission->durable && engine->durability && !engine->shutting_down;
}

void durable_forget_job(Engine *engine, const Job *job) {
        Change *change;

        if (!is_to_forget(engine, job->submission) || job->interrupted)
                return;
        change = forgetting(engine);
        if (change)
                change->ids[change->n_ids++] = job->id;
}

void durable_forget_submission(Engine *engine, const Submission *submission) {
        Change *change;

        if (!is_to_forget(engine, submission))
                return;
        change = forgetting(engine);
        if (change)
                change->ids[change->room - ++change->n_submissions] = submission_key(
                        submission->group ? submission->first_id - 1 : 0, submission->first_id);
}

/* ---- waiting for the disk ---- */

static void on_barrier(StoreChange *store, int r) {
        Change *change = change_of(store);
        List *l;

        while ((l = list_pop(&change->watches))) {
                StoreWatch *watch = list_entry(l, StoreWatch, links);

                watch->stored(watch, r);
        }
        free(change);
}

int engine_watch_store(Engine *engine, StoreWatch *watch) {
        Durability *d = engine->durability;

        /* What was posted by a slot in this turn is told to the store at the end of it. */
        if (!d || (engine_is_stored(engine) && !d->barrier && mailbox_is_empty(&engine->mailbox)))
                return 1;
        if (!d->barrier)
                d->barrier = change_new(engine, STORE_FORGET, on_barrier);
        if (!d->barrier)
                return -ENOMEM;
        list_append(&d->barrier->watches, &watch->links);
        return 0;
}

void engine_unwatch_store(StoreWatch *watch) {
        if (list_is_linked(&watch->links))
                list_remove(&watch->links);
}

/* ---- the loop's turn ---- */

void durable_flush(Engine *engine) {
        Durability *d = engine->durability;
        Change *change;

        post_ended(engine);
        if ((change = TAKE_PTR(d->forgetting))) {
                change->store.forget.ids = change->ids;
                change->store.forget.n_ids = change->n_ids;
                change->store.forget.submissions =
                        change->ids + change->room - change->n_submissions;
                change->store.forget.n_submissions = change->n_submissions;
                post(engine, change);
        }
        /* Who waits for what could not be posted goes on waiting. */
        if (engine_post_rows(engine) && (change = TAKE_PTR(d->barrier)))
                post(engine, change);
        d->realtime = 0;
        store_flush(d->store);
}

static int on_store(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Engine *engine = userdata;

        store_dispatch(engine->durability->store);
        /* There may be blank sheets again. */
        list_for_each (l, &engine->pools)
                if (pool_feed(list_entry(l, Pool, links)))
                        list_entry(l, Pool, links)->is_to_wake = engine->wake_pools = true;
        return 0;
}

bool engine_is_stored(const Engine *engine) {
        const Durability *d = engine->durability;

        return !d ||
               (!d->ended && !d->forgetting && !engine->rows_are_due && store_is_idle(d->store));
}

/* ---- life ---- */

int engine_open_store(Engine *engine, Store *store) {
        Durability *d = calloc(1, sizeof(*d));
        int r;

        if (!d)
                return -ENOMEM;
        *d = (Durability){ .store = store };
        d->ended_end = &d->ended;
        list_init(&d->sheets);
        r = sd_event_add_io(engine->event, &d->source, store_fd(store), EPOLLIN, on_store, engine);
        if (r >= 0)
                r = sd_event_source_set_priority(d->source, ENGINE_PRIORITY);
        if (r < 0) {
                sd_event_source_disable_unref(d->source);
                free(d);
                return r;
        }
        engine->durability = d;
        engine->store = store;
        engine->next_id = MAX(engine->next_id, store_next_id(store));
        return 0;
}

void engine_close_store(Engine *engine) {
        Durability *d = TAKE_PTR(engine->durability);

        if (!d)
                return;
        sd_event_source_disable_unref(d->source);
        if (d->forgetting)
                on_written(&d->forgetting->store, 0);
        if (d->barrier)
                on_barrier(&d->barrier->store, -EIO);
        engine_forget_strangers(engine);
        engine->store = NULL;
        free(d);
}
