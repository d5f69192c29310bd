/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The monitor, as main sees it. Workers pull (see turn.c); main only puts jobs in, changes them,
 * and wakes idle workers. */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pool-private.h"
#include "util/mutex.h"

void pool_lock(Pool *pool) {
        mutex_lock(&pool->lock);
}

void pool_unlock(Pool *pool) {
        mutex_unlock(&pool->lock);
}

/* ---- what main does ---- */

/* What was only set aside waits, so it may be what is to be dropped. */
static bool may_have_to_drop(const Pool *pool, uint64_t n) {
        const Scheduler *s = &pool->scheduler;

        switch (s->config.overflow) {

        case OVERFLOW_DROP_OLDEST:
        case OVERFLOW_DROP_LOWEST:
                return n > usec_sub(s->config.queue_max, scheduler_n_waiting(s));

        case OVERFLOW_REJECT:
        case OVERFLOW_WAIT:
        case _OVERFLOW_MAX:
        case _OVERFLOW_INVALID:
                break;
        }
        return false;
}

int pool_admit(
        Pool *pool, uint64_t n, const Submission *submission, int16_t priority, unsigned flags) {
        usec_t now = usec_now(CLOCK_MONOTONIC);
        usec_t retry_after;
        bool wake, urgent;
        Mail mail;
        int r;

        mail_init(&mail);
        if (!(flags & ADMIT_AGAIN) && unlikely(pool_is_refusing(pool, &retry_after))) {
                pool_lock(pool);
                scheduler_reject(&pool->scheduler, n);
                pool_unlock(pool);
                return ADMIT_SHUT;
        }
        pool_lock(pool);
        /* What has expired takes no room, and how urgent the others are is a matter of now. */
        scheduler_advance(&pool->scheduler, now);
        if (may_have_to_drop(pool, n) && pool_reclaim_all(pool) > 0)
                pool_after_change(pool);
        r = scheduler_admit(&pool->scheduler, n, submission, priority, flags);
        if (r == ADMIT_YES && (flags & ADMIT_LATER))
                scheduler_promise(&pool->scheduler, n);
        urgent = pool_post_ended(pool, &mail, now);
        /* What has ended needs no token any more, and may have left its key to another one. */
        if (unlikely(keys_are_in_use(&pool->scheduler.keys)))
                pool_after_change(pool);
        else
                pool_settle_gates(pool);
        wake = mailbox_post(pool->mailbox, &mail, urgent);
        pool_unlock(pool);
        if (wake)
                mailbox_wake(pool->mailbox);
        return r;
}

void pool_line_join(Pool *pool, AdmitWaiter *waiter) {
        pool_lock(pool);
        scheduler_line_join(&pool->scheduler, waiter);
        /* It makes a batch of what is queued. */
        pool_after_change(pool);
        pool_unlock(pool);
}

void pool_line_leave(Pool *pool, AdmitWaiter *waiter) {
        pool_lock(pool);
        scheduler_line_leave(&pool->scheduler, waiter);
        pool_unlock(pool);
}

AdmitWaiter *pool_line_serve(Pool *pool) {
        AdmitWaiter *waiter;

        pool_lock(pool);
        waiter = scheduler_line_serve(&pool->scheduler);
        pool_unlock(pool);
        return waiter;
}

int pool_kick(Pool *pool, Job *job, usec_t now) {
        int r;

        pool_lock(pool);
        r = job_ensure_details(job);
        if (r >= 0) {
                job->submission->n_pending++;
                job_forget_error(job);
                scheduler_kick(&pool->scheduler, job, now);
                pool_after_change(pool);
        }
        pool_unlock(pool);
        return r;
}

void pool_reject(Pool *pool, uint64_t n) {
        pool_lock(pool);
        scheduler_reject(&pool->scheduler, n);
        pool_unlock(pool);
}

uint64_t pool_room(Pool *pool) {
        const Scheduler *s = &pool->scheduler;
        uint64_t room;

        pool_lock(pool);
        room = s->draining ? 0 : usec_sub(s->config.queue_max, scheduler_n_waiting(s));
        pool_unlock(pool);
        return room;
}

/* n jobs have come, of which this is the most urgent one; the lock is held. */
static void jobs_came(Pool *pool, const Job *first, size_t n, usec_t now) {
        if (unlikely(pool_overtakes_claims(pool, first)))
                (void) pool_reclaim_all(pool);
        if (pool_is_worth_asking(pool))
                pool_wake_idle(pool, pool_n_calls(pool, n));
        pool_arm_timer(pool, now);
}

void pool_submit(Pool *pool, Job *const *jobs, size_t n, usec_t now) {
        pool_lock(pool);
        scheduler_submit_all(&pool->scheduler, jobs, n, now);
        jobs_came(pool, jobs[0], n, now);
        pool_unlock(pool);
}

void pool_end_promise(Pool *pool, uint64_t n) {
        pool_lock(pool);
        scheduler_end_promise(&pool->scheduler, n);
        pool_unlock(pool);
}

bool pool_feed(Pool *pool) {
        bool starved;

        pool_lock(pool);
        starved = pool->starved;
        pool->starved = false;
        if (starved)
                pool_after_change(pool);
        pool_unlock(pool);
        return starved;
}

int pool_reserve(Pool *pool, const Submission *submission, int16_t priority) {
        int r;

        pool_lock(pool);
        r = scheduler_reserve(&pool->scheduler, submission, priority);
        pool_unlock(pool);
        return r;
}

size_t pool_receive(Pool *pool, Job *const *jobs, size_t n, usec_t now) {
        const Job *reserved = NULL, *next;
        size_t i;

        pool_lock(pool);
        for (i = 0; i < n; i++) {
                Job *job = jobs[i];

                if (!reserved || reserved->priority != job->priority ||
                        reserved->submission != job->submission) {
                        if (scheduler_reserve(&pool->scheduler, job->submission, job->priority) < 0)
                                break;
                        reserved = job;
                }
                if (unlikely(!job->details &&
                             scheduler_needs_details(&pool->scheduler, job, USEC_INFINITY)) &&
                        job_ensure_details(job) < 0)
                        break;
                scheduler_submit(&pool->scheduler, job, now);
        }
        /* They are of any priority. */
        next = scheduler_next(&pool->scheduler);
        if (next)
                jobs_came(pool, next, i, now);
        else
                /* None is due yet, or all wait for their keys. */
                pool_arm_timer(pool, now);
        pool_unlock(pool);
        return i;
}

void pool_restore(Pool *pool, Job *job, usec_t now) {
        pool_lock(pool);
        scheduler_restore(&pool->scheduler, job, now);
        pool_unlock(pool);
}

void pool_turn_away(Pool *pool, Job *job, JobResult result, usec_t now) {
        pool_lock(pool);
        scheduler_turn_away(&pool->scheduler, job, result);
        if (job->submission->pipeline)
                pool_name_stage(pool, job);
        pool_unlock(pool);
        job->due_at = now;
        if (job->details)
                job->details->finished_at = now;
}

CancelVerdict pool_cancel(Pool *pool, Job *job) {
        usec_t now = usec_now(CLOCK_MONOTONIC);
        CancelVerdict verdict;
        bool urgent, wake;
        Worker *worker;
        unsigned i = 0;
        Mail mail;

        mail_init(&mail);
        pool_lock(pool);
        urgent = pool_settle(pool, job, now, &mail);
        verdict = scheduler_cancel(&pool->scheduler, job);
        switch (verdict) {

        case CANCEL_FINISHED:
                if (job->details)
                        job->details->finished_at = now;
                (void) pool_post_finished(pool, job, now, &mail);
                urgent = true;
                break;

        case CANCEL_ASKED:
                worker = pool_find_worker(pool, job, &i);
                assert(worker);
                if (worker->batch)
                        pool_cancel_in_batch(pool, worker, i, now);
                else {
                        worker_set_stop(worker, i, JOB_STOP_CANCEL);
                        worker_poke(worker);
                        pool_watch_stop(pool, worker, now);
                }
                break;

        case CANCEL_NOTED:
        case CANCEL_NOTHING:
                break;
        }
        pool_after_change(pool);
        wake = mailbox_post(pool->mailbox, &mail, urgent);
        pool_unlock(pool);
        pool_wake(pool);
        if (wake)
                mailbox_wake(pool->mailbox);
        return verdict;
}

int pool_set_priority(Pool *pool, Job *job, int16_t priority) {
        bool urgent, wake;
        Mail mail;
        int r;

        mail_init(&mail);
        pool_lock(pool);
        urgent = pool_settle(pool, job, usec_now(CLOCK_MONOTONIC), &mail);
        r = job->state == JOB_FINISHED ? 1 : job_ensure_details(job);
        if (r == 0)
                r = scheduler_set_priority(&pool->scheduler, job, priority);
        if (r == 0 && pool_overtakes_claims(pool, job))
                (void) pool_reclaim_all(pool);
        pool_after_change(pool);
        wake = mailbox_post(pool->mailbox, &mail, urgent);
        pool_unlock(pool);
        pool_wake(pool);
        if (wake)
                mailbox_wake(pool->mailbox);
        return r;
}

void pool_pause(Pool *pool, bool paused) {
        pool_lock(pool);
        if (paused)
                (void) pool_reclaim_all(pool);
        pool->scheduler.paused = paused;
        pool_after_change(pool);
        pool_unlock(pool);
}

void pool_drain(Pool *pool, bool draining) {
        pool_lock(pool);
        pool->scheduler.draining = draining;
        /* What gathers for a batch is one now. */
        pool_after_change(pool);
        pool_unlock(pool);
}

void pool_shut_down(Pool *pool) {
        pool_lock(pool);
        (void) pool_reclaim_all(pool);
        pool->scheduler.draining = pool->scheduler.paused = pool->scheduler.ending = true;
        pool_settle_gates(pool);
        pool_unlock(pool);
}

void pool_set_announce(Pool *pool, bool announce) {
        pool_lock(pool);
        pool->announce = announce;
        pool_unlock(pool);
}

static SchedulerConfig scheduler_config_of(const PoolConfig *config) {
        return (SchedulerConfig){
                .queue_max = config->queue_max,
                .aging_interval = config->aging_interval,
                .fair = config->fairness == FAIRNESS_USER,
                .overflow = config->overflow,
                .retry = {
                        .max_attempts = config->max_attempts,
                        .backoff = config->backoff,
                        .backoff_max = config->backoff_max,
                },
                .batch_size = config->batch_size,
                .batch_timeout = config->batch_timeout,
                .key_concurrency = config->key_concurrency,
        };
}

int pool_apply(Pool *pool, const PoolConfig *config) {
        PoolConfig *own = pool->config;
        SchedulerConfig scheduler_config;

        /* Workers read the name, the handler and the CPUs, which do not change. */
        own->min_workers = config->min_workers;
        own->max_workers = config->max_workers;
        own->queue_max = config->queue_max;
        own->aging_interval = config->aging_interval;
        own->run_timeout = config->run_timeout;
        own->overflow = config->overflow;
        own->overflow_timeout = config->overflow_timeout;
        own->max_attempts = config->max_attempts;
        own->backoff = config->backoff;
        own->backoff_max = config->backoff_max;
        own->key_concurrency = config->key_concurrency;
        own->batch_size = config->batch_size;
        own->batch_timeout = config->batch_timeout;
        own->scale_config = config->scale_config;
        /* What follows from other settings is not to come back with the next change. */
        own->given = config->given;
        own->opened = config->opened;

        pool_lock(pool);
        pool->run_timeout = own->run_timeout;
        if (own->aging_interval != pool->scheduler.config.aging_interval ||
                own->batch_size != pool->scheduler.config.batch_size ||
                own->key_concurrency != pool->scheduler.config.key_concurrency)
                (void) pool_reclaim_all(pool);
        scheduler_config = scheduler_config_of(own);
        scheduler_set_config(&pool->scheduler, &scheduler_config);
        /* The last ones of a removed pool are not to be replaced. */
        if (!pool->dismissed)
                pool_set_scale(pool, &own->scale_config, own->min_workers, own->max_workers);
        pool_after_change(pool);
        pool_unlock(pool);

        if (pool->dismissed)
                return 0;
        return pool_resize(pool, pool_is_elastic(pool)
                                         ? CLAMP(pool->n_target, own->min_workers, own->max_workers)
                                         : own->max_workers);
}

void pool_timer(Pool *pool, usec_t now) {
        bool urgent = false, wake;
        uint64_t n_scheduled;
        Mail mail;
        Run *run;

        mail_init(&mail);
        pool_lock(pool);
        timer_acknowledge(&pool->timer);
        while ((run = scheduler_first_run(&pool->scheduler)) && run->deadline <= now)
                urgent |= pool_run_is_due(pool, container_of(run, Worker, run), now, &mail);
        n_scheduled = pool->scheduler.n_scheduled;
        scheduler_advance(&pool->scheduler, now);
        /* What has become due may be more urgent than what was claimed before. */
        if (pool->scheduler.n_scheduled < n_scheduled)
                (void) pool_reclaim_all(pool);
        urgent |= pool_post_ended(pool, &mail, now);
        pool_after_change(pool);
        wake = mailbox_post(pool->mailbox, &mail, urgent);
        pool_unlock(pool);
        if (wake)
                mailbox_wake(pool->mailbox);
}

/* ---- life ---- */

int pool_new(PoolConfig *config, Mailbox *mailbox, OutputStock *stock, SharedLimiter *limiter,
        SharedBreaker *breaker, Pool **ret, char **ret_error) {
        SchedulerConfig scheduler_config = scheduler_config_of(config);
        Pool *pool;
        int r;

        pool = aligned_alloc(_Alignof(Pool), sizeof(*pool));
        if (!pool)
                return -ENOMEM;
        *pool = (Pool){
                .config = config,
                .mailbox = mailbox,
                .stock = stock,
                .slot_writer.stock = stock,
                .timer.fd = -EBADF,
                .stop_timeout = config->handler_config.stop_timeout,
                .run_timeout = config->run_timeout,
                .shown_state = POOL_RUNNING,
                .refuses = !config->hold_on_open,
                /* Any state but 0 will do: it only spreads what would come at one time. */
                .random = usec_now(CLOCK_MONOTONIC) | 1,
        };
        pool_gates_init(&pool->gates, limiter, breaker);
        log_limit_init(&pool->log_limit, OBJECT_LOG_LINES, OBJECT_LOG_INTERVAL);
        list_init(&pool->links);
        list_init(&pool->groups);
        list_init(&pool->drain_watches);
        list_init(&pool->remove_watches);
        list_init(&pool->workers);
        list_init(&pool->idle);
        list_init(&pool->resting);
        list_init(&pool->to_wake);
        list_init(&pool->to_stop);
        (void) pthread_mutex_init(&pool->lock, NULL);

        r = timer_init(&pool->timer);
        if (r >= 0)
                r = scheduler_init(&pool->scheduler, &scheduler_config);
        if (r >= 0)
                r = config->handler->open(&config->handler_config, &pool->handler, ret_error);
        if (r >= 0 && handler_is_pulled(config->handler))
                r = lease_desk_new(pool, &pool->desk);
        if (r < 0) {
                pool_free(pool);
                return r;
        }
        *ret = pool;
        return 0;
}

int pool_start(Pool *pool, char **ret_error) {
        const PoolConfig *config = pool->config;
        int r;

        pool_set_scale(pool, &config->scale_config, config->min_workers, config->max_workers);
        r = pool_resize(pool, pool_is_elastic(pool) ? config->min_workers : config->max_workers);
        if (r < 0 && pool->n_threads == 0) {
                if (asprintf(ret_error, "MaxWorkers: cannot start a %s: %s",
                            config->handler->in_slots ? "slot" : "thread", strerror(-r)) < 0)
                        *ret_error = NULL;
                return r;
        }
        pool->started = true;
        pool->shown_workers = pool->n_threads;
        return 0;
}

int pool_exchange(Pool *pool, PoolConfig *config, Handler *handler, SharedLimiter *limiter,
        SharedBreaker *breaker) {
        SchedulerConfig scheduler_config = scheduler_config_of(config);
        PoolConfig *old = pool->config;
        int r;

        assert(pool->n_threads == 0 && list_is_empty(&pool->workers));
        /* Who waits to lease something goes on waiting, if that is still what one does here. */
        if (handler_is_pulled(config->handler) && !pool->desk) {
                r = lease_desk_new(pool, &pool->desk);
                if (r < 0)
                        return r;
        } else if (!handler_is_pulled(config->handler) && pool->desk) {
                lease_refuse_waiting(pool, -ENOENT);
                pool->desk = lease_desk_free(pool->desk);
        }
        old->handler->close(pool->handler);
        pool->handler = handler;
        pool_gates_done(&pool->gates);
        pool_gates_init(&pool->gates, limiter, breaker);
        pool->config = config;
        pool_config_free(old);

        pool_lock(pool);
        pool->stop_timeout = config->handler_config.stop_timeout;
        pool->run_timeout = config->run_timeout;
        pool->refuses = !config->hold_on_open;
        pool->mean_run_nsec = 0;
        scheduler_set_config(&pool->scheduler, &scheduler_config);
        pool_unlock(pool);
        return 0;
}

Pool *pool_free(Pool *pool) {
        if (!pool)
                return NULL;
        assert(list_is_empty(&pool->workers));
        if (pool->handler)
                pool->config->handler->close(pool->handler);
        lease_desk_free(pool->desk);
        output_writer_done(&pool->slot_writer);
        pool_gates_done(&pool->gates);
        scheduler_done(&pool->scheduler);
        timer_done(&pool->timer);
        (void) pthread_mutex_destroy(&pool->lock);
        if (pool->started)
                pool_config_free(pool->config);
        pool_config_free(pool->origin);
        pool_config_free(pool->refit);
        free(pool);
        return NULL;
}

static const char *const state_names[_POOL_STATE_MAX] = {
        [POOL_RUNNING] = "running",
        [POOL_PAUSED] = "paused",
        [POOL_DRAINING] = "draining",
        [POOL_DEGRADED] = "degraded",
};

const char *pool_state_to_string(PoolState s) {
        return s >= 0 && s < _POOL_STATE_MAX ? state_names[s] : NULL;
}
