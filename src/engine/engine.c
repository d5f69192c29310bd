/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs live in a slab and are found by id. A job belongs to its pool's lock from pool_submit()
 * until the mailbox brings it back finished; then it is ours, and is either kept for
 * ResultRetention or, if a caller waits for all results of its call, until that call was answered.
 */

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Without this uthash ends the process where memory runs out. */
#define HASH_NONFATAL_OOM 1

#include "engine/breaker-config.h"
#include "engine/engine.h"
#include "engine/limiter-config.h"
#include "engine/worker.h"
#include "util/fd.h"
#include "util/strv.h"

/* Completions come before new work, so that a flood of submits cannot starve them. */
#define MAILBOX_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 10)

/* Jobs handed to a pool under one lock. */
#define CHUNK_JOBS 128

/* What a sweep does in one turn of the loop. */
#define SWEEP_CANCELS 1000
#define SWEEP_LOOKS 10000

/* Results may be kept by this much longer than asked, so that forgetting them wakes us rarely. */
#define RETENTION_SLACK(retention) CLAMP((retention) / 16, USEC_PER_SEC, USEC_PER_MINUTE)

Pool *job_pool(const Job *job) {
        return job->submission->pool;
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
        if (submission->backing)
                submission->release_backing(submission->backing);
        fd_close(submission->payload_fd);
        fd_close(submission->output_fd);
        strv_free(submission->arguments);
        free(submission->tag);
        free(submission);
        return NULL;
}

/* ---- jobs ---- */

/* Frees the job but for its output in a shared chunk, of which the caller lets go. */
static void job_free(Engine *engine, Job *job) {
        Submission *submission = job->submission;

        job_table_remove(&engine->jobs, job);
        if (job->flags & JOB_DATA_OWNED)
                free(job->data);
        if (unlikely(job->details))
                job_details_free(job->details);
        slab_free(&engine->slab, job);
        if (--submission->n_jobs == 0)
                submission_free(submission);
}

static void job_drop_data(Engine *engine, Job *job) {
        if (job->flags & JOB_DATA_SHARED)
                output_release(&engine->stock, job->data, 1);
        if (job->flags & JOB_DATA_OWNED)
                free(job->data);
        job->flags &= (uint8_t) ~(JOB_DATA_SHARED | JOB_DATA_OWNED);
        job->data = NULL;
        job->size = 0;
}

static void job_release(Engine *engine, Job *job) {
        job_drop_data(engine, job);
        job_free(engine, job);
}

Job *engine_find_job(Engine *engine, uint64_t id) {
        return job_table_get(&engine->jobs, id);
}

Job *engine_submission_job(Engine *engine, const Submission *submission, size_t i) {
        return job_table_get(&engine->jobs, submission->first_id + i);
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
        if (unlikely(submission->delay > 0 || submission->queue_timeout != USEC_INFINITY) &&
                job_ensure_details(job) < 0) {
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

/* Calls whose jobs need memory of their own: everything is made before anything is handed over. */
static int submit_prepared(Engine *engine, Pool *pool, Submission *submission,
        const struct iovec *payloads, size_t n, bool borrow) {
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

int engine_submit(Engine *engine, Pool *pool, Submission *submission, const struct iovec *payloads,
        size_t n, bool borrow, unsigned flags) {
        bool needs_memory =
                !borrow || submission->delay > 0 || submission->queue_timeout != USEC_INFINITY;
        int r;

        /* Making room can take claimed jobs back, for which idle workers are woken. */
        pool->is_to_wake = engine->wake_pools = true;
        r = pool_admit(pool, n, submission->owner, submission->priority, flags);
        if (r != ADMIT_YES)
                return r;
        r = slab_reserve(&engine->slab, n);
        if (r < 0)
                return r;
        r = job_table_reserve(&engine->jobs, engine->next_id, n);
        if (r < 0)
                return r;

        submission->pool = pool;
        submission->first_id = engine->next_id;
        submission->n_total = submission->n_jobs = submission->n_pending = (uint32_t) n;
        submission->submitted_at = usec_now(CLOCK_MONOTONIC);
        submission->submitted_realtime = usec_now(CLOCK_REALTIME);

        if (needs_memory) {
                r = submit_prepared(engine, pool, submission, payloads, n, borrow);
                if (r < 0) {
                        submission->n_jobs = 0;
                        return r;
                }
        } else
                submit_borrowed(engine, pool, submission, payloads, n);

        engine->next_id += n;
        return ADMIT_YES;
}

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

static void forget_oldest(Engine *engine, Pool *pool) {
        Job *job = pool->retained_first;

        release_retained(pool, job);
        job_release(engine, job);
}

/* Keeps a finished job for a while; due_at is the moment of its end from now on. */
static void retain(Engine *engine, Job *job, usec_t now) {
        Pool *pool = job_pool(job);
        usec_t retention = pool->config->result_retention;

        job->due_at = now;
        job->next = NULL;
        job->prev = pool->retained_last;
        if (pool->retained_last)
                pool->retained_last->next = job;
        else
                pool->retained_first = job;
        pool->retained_last = job;
        pool->n_retained++;
        while (pool->n_retained > pool->config->result_retention_max)
                forget_oldest(engine, pool);
        if (retention != USEC_INFINITY && pool->retained_first)
                arm_retention(engine, usec_add(now, retention + RETENTION_SLACK(retention)));
}

static int on_retention(sd_event_source *source, uint64_t usec, void *userdata) {
        Engine *engine = userdata;
        usec_t now = usec_now(CLOCK_MONOTONIC);

        engine->retention_at = USEC_INFINITY;
        list_for_each (l, &engine->pools) {
                Pool *pool = list_entry(l, Pool, links);
                usec_t retention = pool->config->result_retention;

                while (pool->retained_first &&
                        usec_add(pool->retained_first->due_at, retention) <= now)
                        forget_oldest(engine, pool);
                if (pool->retained_first && retention != USEC_INFINITY)
                        arm_retention(engine, usec_add(pool->retained_first->due_at,
                                                      retention + RETENTION_SLACK(retention)));
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
        if (job->result == JOB_SUCCEEDED || submission->once)
                submission->payload_fd = fd_close(submission->payload_fd);
}

static void job_ended(Engine *engine, Job *job, usec_t now) {
        List *l;

        if (job->submission->n_total == 1)
                close_fds(job);

        if (job->details)
                while ((l = list_pop(&job->details->watchers))) {
                        JobWatch *watch = list_entry(l, JobWatch, links);

                        watch->finished(watch, job);
                }
        if (engine->listener)
                engine->listener->job_finished(engine->listener_userdata, job);
        if (!job->submission->bulk)
                retain(engine, job, now);
}

/* All jobs of the call go at once; outputs that lie in one chunk are let go of together. */
static void release_bulk(Engine *engine, Submission *submission, usec_t now) {
        uint64_t first = submission->first_id;
        size_t n = submission->n_total;
        void *chunk = NULL;
        uint32_t n_chunk = 0;

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
                job_free(engine, job);
        }
        if (n_chunk > 0)
                output_release(&engine->stock, chunk, n_chunk);
}

static void submission_ended(Engine *engine, Submission *submission, usec_t now) {
        if (submission->finished) {
                submission->finished(submission);
                release_bulk(engine, submission, now);
                return;
        }
        /* Nobody waits any more: from now on they are jobs like others. */
        submission->bulk = false;
        for (size_t i = 0, n = submission->n_total, first = submission->first_id; i < n; i++)
                retain(engine, job_table_get(&engine->jobs, first + i), now);
}

void engine_abandon(Submission *submission) {
        submission->finished = NULL;
        submission->userdata = NULL;
}

/* ---- room ---- */

void engine_watch_room(Pool *pool, RoomWatch *watch, uint64_t n) {
        Engine *engine = pool->engine;

        watch->pool = pool;
        watch->waiter = (AdmitWaiter){ .n = n };
        pool_line_join(pool, &watch->waiter);
        pool->is_to_wake = engine->wake_pools = true;
}

void engine_unwatch_room(RoomWatch *watch) {
        if (!watch->pool)
                return;
        pool_line_leave(watch->pool, &watch->waiter);
        /* Those behind it may fit where it did not. */
        ((Engine *) watch->pool->engine)->check_pools = true;
        watch->pool = NULL;
}

static void serve_line(Pool *pool) {
        AdmitWaiter *waiter;

        while ((waiter = pool_line_serve(pool))) {
                RoomWatch *watch = container_of(waiter, RoomWatch, waiter);

                watch->pool = NULL;
                watch->served(watch);
        }
}

/* ---- watches ---- */

int engine_watch_job(Job *job, JobWatch *watch) {
        Pool *pool = job_pool(job);
        int r;

        pool_lock(pool);
        r = job->state == JOB_FINISHED ? 1 : job_ensure_details(job);
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

void engine_watch_empty(Engine *engine, Pool *pool, PoolWatch *watch) {
        list_append(&pool->drain_watches, &watch->links);
        engine->check_pools = true;
}

void pool_unwatch(PoolWatch *watch) {
        if (list_is_linked(&watch->links))
                list_remove(&watch->links);
}

static void watches_done(List *watches) {
        List *l;

        while ((l = list_pop(watches))) {
                PoolWatch *watch = list_entry(l, PoolWatch, links);

                watch->done(watch);
        }
}

/* ---- sweeps ---- */

bool job_matches(const Job *job, const JobFilter *filter, const JobView *view) {
        const Submission *submission = job->submission;

        if (filter->pool && submission->pool != filter->pool)
                return false;
        if (filter->submission && submission != filter->submission)
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

static void sweep_free(Sweep *sweep) {
        list_remove(&sweep->links);
        free(sweep->tag);
        free(sweep);
}

static CancelVerdict cancel_for(Job *job, const char *reason) {
        Pool *pool = job_pool(job);

        if (reason) {
                pool_lock(pool);
                if (job_is_waiting(job) && job_ensure_details(job) >= 0 && !job->details->error)
                        job->details->error = strdup(reason);
                pool_unlock(pool);
        }
        return pool_cancel(pool, job);
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
                Job *job = job_table_after(&engine->jobs, sweep->cursor);
                JobView view;

                if (!job || job->id > sweep->last)
                        return true;
                sweep->cursor = job->id;
                pool_job_view_state(job_pool(job), job, &view);
                if (view.state == JOB_FINISHED || !job_matches(job, &sweep->filter, &view))
                        continue;
                if (sweep->refuse) {
                        n_cancels += pool_refuse(sweep->filter.pool, job);
                        continue;
                }
                sweep->n_cancelled += cancel_for(job, sweep->reason) != CANCEL_NOTHING;
                n_cancels++;
        }
        return false;
}

static int on_sweep(sd_event_source *source, void *userdata) {
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
                return 0;
        return sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

int engine_sweep(Engine *engine, const JobFilter *filter, const char *reason,
        void (*done)(Sweep *sweep), void *userdata, Sweep **ret) {
        Sweep *sweep = malloc(sizeof(*sweep));
        char *tag = filter->tag ? strdup(filter->tag) : NULL;

        if (!sweep || (filter->tag && !tag)) {
                free(sweep);
                free(tag);
                return -ENOMEM;
        }
        *sweep = (Sweep){
                .filter = *filter,
                .tag = tag,
                .reason = reason,
                .last = engine->next_id - 1,
                .done = done,
                .userdata = userdata,
        };
        sweep->filter.tag = tag;
        list_append(&engine->sweeps, &sweep->links);
        (void) sd_event_source_set_enabled(engine->sweep_source, SD_EVENT_ON);
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

/* ---- pools ---- */

Pool *engine_find_pool(Engine *engine, const char *name) {
        Pool *pool;

        HASH_FIND(by_name, engine->by_name, name, strlen(name), pool);
        return pool;
}

/* ---- scaling ---- */

static void tell_scaling(Engine *engine, Pool *pool, const PoolScaling *scaling) {
        if (engine->listener && engine->listener->pool_scaled)
                engine->listener->pool_scaled(engine->listener_userdata, pool, scaling);
}

static void scale_pool(Engine *engine, Pool *pool, usec_t now) {
        bool stalled = pool->uses_stalls && stall_watch_is_stalled(&engine->stall_watch, now);
        PoolScaling scaling;

        if (pool_scale(pool, now, stalled, &scaling))
                tell_scaling(engine, pool, &scaling);
}

/* Watches the host as long as the pool wants to know. */
static void update_stall_watch(Engine *engine, Pool *pool) {
        bool wants = pool->uses_stalls && pool_wants_stalls(pool);

        if (wants == pool->watches_stalls)
                return;
        pool->watches_stalls = wants;
        if (wants)
                stall_watch_begin(&engine->stall_watch);
        else
                stall_watch_end(&engine->stall_watch);
}

/* The pool may want to know of stalls from now on, or never. 0 or -errno. */
static int use_stalls(Engine *engine, Pool *pool, bool use, char **ret_error) {
        _cleanup_free_ char *error = NULL;
        int r;

        if (use && !pool->uses_stalls) {
                r = stall_watch_open(&engine->stall_watch, engine->event, &error);
                if (r < 0 && error)
                        (void) setting_fault(ret_error, "ScaleMode: %s", error);
                if (r < 0)
                        return r;
                pool->uses_stalls = true;
        }
        if (!use && pool->uses_stalls) {
                pool->uses_stalls = false;
                update_stall_watch(engine, pool);
                stall_watch_close(&engine->stall_watch);
        }
        return 0;
}

static int on_pool_timer(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Pool *pool = userdata;
        Engine *engine = pool->engine;
        usec_t now = usec_now(CLOCK_MONOTONIC);

        scale_pool(engine, pool, now);
        pool_timer(pool, now);
        update_stall_watch(engine, pool);
        engine_refuse_queued(engine, pool);
        pool->is_to_wake = engine->wake_pools = engine->check_pools = true;
        return 0;
}

/* The pool's own limiter, which is made here, or the shared one that it names; NULL if it has none.
 */
static int choose_limiter(
        Engine *engine, const PoolConfig *config, SharedLimiter **ret, char **ret_error) {
        SharedLimiter *limiter = NULL;
        int r;

        if (limiter_config_is_given(&config->limiter_config)) {
                r = engine_add_limiter(engine, config->name, &config->limiter_config, &limiter);
                if (r == -EEXIST)
                        return setting_fault(ret_error,
                                "LimiterRate: there is another limiter \"%s\"", config->name);
                if (r < 0)
                        return r;
                limiter->of_pool = limiter->goes = true;
        } else if (config->limiter) {
                limiter = engine_find_limiter(engine, config->limiter);
                if (!limiter || limiter->of_pool)
                        return setting_fault(ret_error, "Limiter: there is no limiter \"%s\"%s",
                                config->limiter, limiter ? " but that of a pool" : "");
        }
        *ret = limiter;
        return 0;
}

/* The same for breakers. */
static int choose_breaker(
        Engine *engine, const PoolConfig *config, SharedBreaker **ret, char **ret_error) {
        SharedBreaker *breaker = NULL;
        int r;

        if (config->own_breaker) {
                r = engine_add_breaker(engine, config->name, &config->breaker_config, &breaker);
                if (r == -EEXIST)
                        return setting_fault(ret_error, "Breaker: there is another breaker \"%s\"",
                                config->name);
                if (r < 0)
                        return r;
                breaker->of_pool = breaker->goes = true;
        } else if (config->breaker) {
                breaker = engine_find_breaker(engine, config->breaker);
                if (!breaker || breaker->of_pool)
                        return setting_fault(ret_error, "Breaker: there is no breaker \"%s\"%s",
                                config->breaker, breaker ? " but that of a pool" : "");
        }
        *ret = breaker;
        return 0;
}

static void drop_breaker(Engine *engine, SharedBreaker *breaker) {
        if (breaker && breaker->goes)
                (void) engine_remove_breaker(engine, breaker);
}

/* A pool does not use it any more: its own goes with it. */
static void drop_limiter(Engine *engine, SharedLimiter *limiter) {
        if (limiter && limiter->goes)
                (void) engine_remove_limiter(engine, limiter);
}

int engine_add_pool(Engine *engine, PoolConfig *config, Pool **ret, char **ret_error) {
        sd_event_source *source = NULL;
        SharedLimiter *limiter = NULL;
        SharedBreaker *breaker = NULL;
        Pool *pool;
        int r;

        if (engine_find_pool(engine, config->name))
                return -EEXIST;
        r = choose_limiter(engine, config, &limiter, ret_error);
        if (r < 0)
                return r;
        r = choose_breaker(engine, config, &breaker, ret_error);
        if (r >= 0)
                r = pool_new(config, &engine->mailbox, &engine->stock, limiter, breaker, &pool,
                        ret_error);
        if (r < 0) {
                drop_limiter(engine, limiter);
                drop_breaker(engine, breaker);
                return r;
        }
        pool->engine = engine;
        pool_set_announce(pool, engine->announce);
        r = use_stalls(engine, pool, config->scale_config.mode == SCALE_PRESSURE, ret_error);
        if (r >= 0)
                r = sd_event_add_io(
                        engine->event, &source, pool->timer.fd, EPOLLIN, on_pool_timer, pool);
        if (r >= 0)
                r = sd_event_source_set_priority(source, MAILBOX_PRIORITY);
        if (r >= 0) {
                HASH_ADD_KEYPTR(by_name, engine->by_name, config->name, strlen(config->name), pool);
                r = pool->by_name.tbl ? pool_start(pool, ret_error) : -ENOMEM;
        }
        if (r < 0) {
                if (pool->by_name.tbl)
                        HASH_DELETE(by_name, engine->by_name, pool);
                sd_event_source_disable_unref(source);
                (void) use_stalls(engine, pool, false, NULL);
                pool_free(pool);
                drop_limiter(engine, limiter);
                drop_breaker(engine, breaker);
                return r;
        }
        pool->timer_source = source;
        list_append(&engine->pools, &pool->links);
        if (engine->listener)
                engine->listener->pool_added(engine->listener_userdata, pool);
        if (ret)
                *ret = pool;
        return 0;
}

int engine_remove_pool(Engine *engine, Pool *pool, bool cancel, PoolWatch *watch) {
        JobFilter filter = {
                .pool = pool,
                .state = cancel ? _JOB_STATE_INVALID : JOB_SCHEDULED,
                .result = _JOB_RESULT_INVALID,
                .unfinished = true,
        };
        int r;

        r = engine_sweep(engine, &filter, "its pool was removed", NULL, NULL, NULL);
        if (r < 0)
                return r;
        pool->removing = true;
        /* First, as to drain begins what gathers for a batch. */
        if (cancel)
                pool_pause(pool, true);
        pool_drain(pool, true);
        pool->is_to_wake = engine->wake_pools = true;
        if (watch)
                list_append(&pool->remove_watches, &watch->links);
        engine->check_pools = true;
        return 0;
}

/* The last worker has gone and no job is left but finished ones. */
static void pool_gone(Engine *engine, Pool *pool) {
        SharedLimiter *limiter = pool->gates.limiter;
        SharedBreaker *breaker = pool->gates.breaker;
        List watches = LIST_INIT(watches);

        if (engine->listener)
                engine->listener->pool_removed(engine->listener_userdata, pool);
        while (pool->retained_first)
                forget_oldest(engine, pool);
        list_for_each (l, &engine->sweeps) {
                Sweep *sweep = list_entry(l, Sweep, links);

                if (sweep->filter.pool == pool)
                        sweep->cursor = sweep->last;
        }
        engine->gone.submitted += pool->scheduler.counters.submitted;
        engine->gone.rejected += pool->scheduler.counters.rejected;
        for (int i = 0; i < _JOB_RESULT_MAX; i++)
                engine->gone.results[i] += pool->scheduler.counters.results[i];
        list_splice(&watches, &pool->drain_watches);
        list_splice(&watches, &pool->remove_watches);
        (void) use_stalls(engine, pool, false, NULL);
        sd_event_source_disable_unref(pool->timer_source);
        HASH_DELETE(by_name, engine->by_name, pool);
        list_remove(&pool->links);
        pool_free(pool);
        drop_limiter(engine, limiter);
        drop_breaker(engine, breaker);
        watches_done(&watches);
}

int engine_set_pool(Engine *engine, Pool *pool, const PoolConfig *config) {
        PoolScaling scaling = { .from = pool->n_target };
        _cleanup_free_ char *error = NULL;
        int r;

        r = use_stalls(engine, pool, config->scale_config.mode == SCALE_PRESSURE, &error);
        if (r < 0)
                return r;
        r = pool_apply(pool, config);
        scaling.to = pool->n_target;
        scaling.reason = scaling.to > scaling.from ? SCALE_UP_TO_MIN : SCALE_DOWN_TO_MAX;
        if (config->scale_config.mode != SCALE_OFF && scaling.to != scaling.from)
                tell_scaling(engine, pool, &scaling);
        update_stall_watch(engine, pool);

        if (pool->gates.limiter && pool->gates.limiter->of_pool &&
                !limiter_config_equal(&pool->config->limiter_config, &config->limiter_config)) {
                pool->config->limiter_config = config->limiter_config;
                engine_set_limiter(engine, pool->gates.limiter, &config->limiter_config);
        }
        if (r >= 0 && pool->gates.breaker && pool->gates.breaker->of_pool &&
                !breaker_config_equal(&pool->config->breaker_config, &config->breaker_config)) {
                r = engine_set_breaker(engine, pool->gates.breaker, &config->breaker_config);
                if (r >= 0)
                        pool->config->breaker_config = config->breaker_config;
        }

        pool->is_to_wake = engine->wake_pools = engine->check_pools = true;
        if (engine->listener)
                engine->listener->pool_changed(
                        engine->listener_userdata, pool, POOL_CHANGED_SETTINGS);
        return r;
}

void engine_pause_pool(Engine *engine, Pool *pool, bool paused) {
        pool_pause(pool, paused);
        pool->is_to_wake = engine->wake_pools = engine->check_pools = true;
}

void engine_drain_pool(Engine *engine, Pool *pool, bool draining) {
        /* What is to go takes nothing more, whatever it is told. */
        pool_drain(pool, draining || pool->removing || engine->shutting_down);
        pool->is_to_wake = engine->wake_pools = engine->check_pools = true;
}

/* Tells listeners and watches what has become of a pool. */
static void check_pool(Engine *engine, Pool *pool) {
        PoolChange changes = 0;
        PoolState state;
        uint32_t n_workers;

        pool_shape(pool, &state, &n_workers);
        if (state != pool->shown_state) {
                pool->shown_state = state;
                changes |= POOL_CHANGED_STATE;
        }
        if (n_workers != pool->shown_workers) {
                pool->shown_workers = n_workers;
                changes |= POOL_CHANGED_WORKERS;
        }
        if (changes && engine->listener)
                engine->listener->pool_changed(engine->listener_userdata, pool, changes);

        serve_line(pool);
        if (!list_is_empty(&pool->drain_watches) && pool_is_empty(pool))
                watches_done(&pool->drain_watches);
        if (pool->removing && !pool->dismissed && pool_has_no_jobs(pool)) {
                pool->dismissed = true;
                pool_dismiss(pool);
                pool->is_to_wake = engine->wake_pools = true;
        }
        if (pool->dismissed && pool->n_threads == 0)
                pool_gone(engine, pool);
}

/* ---- the loop's turn ---- */

static void read_mail(Engine *engine, bool seen) {
        usec_t now = usec_now(CLOCK_MONOTONIC);
        Mail mail;
        Job *job;
        List *l;

        mailbox_take(&engine->mailbox, &mail, seen);
        if (mail_is_empty(&mail))
                return;

        while ((l = list_pop(&mail.notes))) {
                StartNote *note = list_entry(l, StartNote, links);

                if (engine->listener)
                        engine->listener->job_started(engine->listener_userdata, note);
                free(note);
        }
        for (job = mail.jobs; job;) {
                Job *next = job->next;

                job_ended(engine, job, now);
                job = next;
        }
        while ((l = list_pop(&mail.submissions)))
                submission_ended(engine, list_entry(l, Submission, mail), now);
        while ((l = list_pop(&mail.gone))) {
                Worker *worker = list_entry(l, Worker, links);

                pool_join(worker->pool, worker);
        }
        engine->check_pools = true;
}

/* ---- once more ---- */

/* Puts a retained job back into the queue of its pool. */
static int retry_retained(Engine *engine, Pool *pool, Job *job) {
        const Submission *submission = job->submission;
        int r;

        /* Only main changes it, so it needs no lock to read it. */
        if (pool->scheduler.draining)
                return RETRY_DRAINING;
        /* This is no submit that could be rejected, and takes nobody's place. */
        r = pool_admit(pool, 1, submission->owner, job->priority,
                ADMIT_MAY_WAIT | ADMIT_NO_DROP | ADMIT_AGAIN);
        if (r < 0)
                return r;
        if (r != ADMIT_YES)
                return RETRY_NO_ROOM;
        release_retained(pool, job);
        r = pool_kick(pool, job, usec_now(CLOCK_MONOTONIC));
        if (r < 0) {
                retain(engine, job, job->due_at);
                return r;
        }
        pool->is_to_wake = engine->wake_pools = true;
        return RETRY_DONE;
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
                read_mail(engine, /* seen= */ false);
        job = engine_find_job(engine, id);
        if (!job)
                return RETRY_GONE;
        if (view.result == JOB_SUCCEEDED)
                return RETRY_SUCCEEDED;
        /* The results of a bulk call are on their way to its caller. */
        if (job->submission->once || job->submission->bulk || pool->removing)
                return RETRY_GONE;
        return retry_retained(engine, pool, job);
}

static bool has_failed_for_good(const Job *job) {
        return job->result == JOB_FAILED || job->result == JOB_TIMED_OUT || job->result == JOB_LOST;
}

uint32_t engine_kick(Engine *engine, Pool *pool, uint32_t max) {
        Job *job = pool->retained_first;
        uint32_t n = 0;

        while (job && n < max) {
                Job *next = job->next;

                if (has_failed_for_good(job) && !job->submission->once) {
                        if (retry_retained(engine, pool, job) != RETRY_DONE)
                                break;
                        n++;
                }
                job = next;
        }
        return n;
}

static int on_mailbox(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        read_mail(userdata, /* seen= */ true);
        return 0;
}

static void wake_workers(Engine *engine) {
        engine->wake_pools = false;
        list_for_each (l, &engine->pools) {
                Pool *pool = list_entry(l, Pool, links);

                if (pool->is_to_wake) {
                        pool->is_to_wake = false;
                        pool_wake(pool);
                }
        }
}

void engine_turn(Engine *engine) {
        if (engine->wake_pools)
                wake_workers(engine);
        /* Once: busy workers could fill it for ever, and whatever is urgent wakes us again. */
        if (!mailbox_is_empty(&engine->mailbox))
                read_mail(engine, /* seen= */ false);
        /* What is told to listeners and watches can lead to more of the same. */
        while (engine->wake_pools || engine->check_pools) {
                if (engine->wake_pools)
                        wake_workers(engine);
                if (engine->check_pools) {
                        engine->check_pools = false;
                        list_for_each (l, &engine->pools)
                                check_pool(engine, list_entry(l, Pool, links));
                }
        }
}

void engine_set_listener(Engine *engine, const EngineListener *listener, void *userdata) {
        engine->listener = listener;
        engine->listener_userdata = userdata;
}

void engine_set_announce(Engine *engine, bool announce) {
        engine->announce = announce;
        list_for_each (l, &engine->pools)
                pool_set_announce(list_entry(l, Pool, links), announce);
}

/* ---- all ---- */

void engine_totals(Engine *engine, EngineTotals *ret) {
        *ret = (EngineTotals){ .counters = engine->gone };
        list_for_each (l, &engine->pools) {
                PoolView view;

                pool_view(list_entry(l, Pool, links), &view);
                ret->n_pools++;
                ret->n_queued += view.n_queued;
                ret->n_scheduled += view.n_scheduled;
                ret->n_running += view.n_running;
                ret->counters.submitted += view.counters.submitted;
                ret->counters.rejected += view.counters.rejected;
                for (int i = 0; i < _JOB_RESULT_MAX; i++)
                        ret->counters.results[i] += view.counters.results[i];
        }
}

void engine_shut_down(Engine *engine) {
        static const JobFilter filter = {
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .waiting = true,
        };

        if (engine->shutting_down)
                return;
        engine->shutting_down = true;
        list_for_each (l, &engine->pools)
                pool_shut_down(list_entry(l, Pool, links));
        engine->check_pools = true;
        (void) engine_sweep(engine, &filter, "sluiced is shutting down", NULL, NULL, NULL);
}

void engine_cancel_running(Engine *engine) {
        static const JobFilter filter = {
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .unfinished = true,
        };

        (void) engine_sweep(engine, &filter, "sluiced is shutting down", NULL, NULL, NULL);
}

bool engine_is_quiet(Engine *engine) {
        if (!list_is_empty(&engine->sweeps) || !mailbox_is_empty(&engine->mailbox))
                return false;
        list_for_each (l, &engine->pools)
                if (!pool_has_no_jobs(list_entry(l, Pool, links)))
                        return false;
        return true;
}

void engine_dismiss(Engine *engine) {
        list_for_each (l, &engine->pools)
                (void) engine_remove_pool(
                        engine, list_entry(l, Pool, links), /* cancel= */ true, NULL);
}

int engine_new(sd_event *event, Engine **ret) {
        Engine *engine;
        int r;

        engine = calloc(1, sizeof(*engine));
        if (!engine)
                return -ENOMEM;
        *engine = (Engine){
                .event = sd_event_ref(event),
                .mailbox.fd = -EBADF,
                .next_id = 1,
                .started_realtime = usec_now(CLOCK_REALTIME),
                .retention_at = USEC_INFINITY,
        };
        list_init(&engine->pools);
        list_init(&engine->limiters);
        list_init(&engine->breakers);
        list_init(&engine->sweeps);
        job_table_init(&engine->jobs);
        slab_init(&engine->slab);
        output_stock_init(&engine->stock);

        r = mailbox_init(&engine->mailbox);
        if (r >= 0)
                r = sd_event_add_io(event, &engine->mailbox_source, engine->mailbox.fd, EPOLLIN,
                        on_mailbox, engine);
        if (r >= 0)
                r = sd_event_source_set_priority(engine->mailbox_source, MAILBOX_PRIORITY);
        if (r >= 0)
                r = sd_event_add_time(event, &engine->retention_source, CLOCK_MONOTONIC,
                        USEC_INFINITY, USEC_PER_SEC, on_retention, engine);
        if (r >= 0)
                r = sd_event_source_set_enabled(engine->retention_source, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_defer(event, &engine->sweep_source, on_sweep, engine);
        if (r >= 0)
                r = sd_event_source_set_enabled(engine->sweep_source, SD_EVENT_OFF);
        if (r < 0)
                return engine_free(engine), r;
        *ret = engine;
        return 0;
}

Engine *engine_free(Engine *engine) {
        if (!engine)
                return NULL;
        assert(list_is_empty(&engine->pools));
        list_for_each (l, &engine->limiters)
                (void) engine_remove_limiter(engine, list_entry(l, SharedLimiter, links));
        list_for_each (l, &engine->breakers)
                (void) engine_remove_breaker(engine, list_entry(l, SharedBreaker, links));
        list_for_each (l, &engine->sweeps)
                sweep_free(list_entry(l, Sweep, links));
        sd_event_source_disable_unref(engine->sweep_source);
        sd_event_source_disable_unref(engine->retention_source);
        sd_event_source_disable_unref(engine->mailbox_source);
        mailbox_done(&engine->mailbox);
        output_stock_done(&engine->stock);
        job_table_done(&engine->jobs);
        slab_done(&engine->slab);
        sd_event_unref(engine->event);
        free(engine);
        return NULL;
}
