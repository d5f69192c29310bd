/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The monitor. Workers pull: in one turn, under one lock, a worker publishes what it has done and
 * takes what comes next. Main only puts jobs in, and wakes idle workers.
 *
 * Only the holder of the lock takes a worker off the idle list, and whoever does writes its eventfd
 * once, now or at the end of the loop's turn. So a sleeping worker is either on the idle list or
 * has a wake-up coming, and no wake-up is ever left over. The eventfd says no more than "look".
 *
 * A turn of several short jobs holds jobs that have not begun. They are taken back when a worker
 * has nothing to do, when a more urgent job arrives or becomes due, when the pool is paused, and
 * when the turn is cut: because it takes too long, or because one of its jobs is to be changed.
 * After a cut the worker has the one job that it has begun, so that a stop, a time-out and a stuck
 * worker are always about one job. See struct Worker for how claims are settled. */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/affinity.h"
#include "engine/pool.h"
#include "engine/worker.h"
#include "util/fd.h"
#include "util/mutex.h"

/* How the mean run time follows the last turns: 1/8 of each new one. */
#define MEAN_WEIGHT 8

/* With a mean above this, the end of a job is worth waking main for at once. */
#define SHORT_NSEC (TURN_USEC * 1000 / 2)

/* Nothing more can be done about a worker that ignored its stop; it is looked at again now and
 * then. */
#define STUCK_RECHECK_USEC (60 * USEC_PER_SEC)

/* After stop_timeout a handler kills; so long after that it is called stuck. */
#define STUCK_GRACE_USEC USEC_PER_SEC

void pool_lock(Pool *pool) {
        mutex_lock(&pool->lock);
}

void pool_unlock(Pool *pool) {
        mutex_unlock(&pool->lock);
}

/* ---- details ---- */

static JobDetails *details_init(JobDetails *details, Job *job) {
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
        job->details = details_init(details, job);
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

/* ---- publishing ---- */

/* Notes for those who want to hear of starts. Without memory for a note nobody hears of that one.
 */
static bool post_started(Pool *pool, const Job *job, Mail *mail) {
        StartNote *note;

        if (!pool->announce && !job->submission->notify)
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

/* The key of another attempt is as old as the job, its wait is not. */
static usec_t waits_since(const Job *job) {
        return unlikely(job->details && job->details->attempt > 0) ? job->details->ready_at
                                                                   : job->due_at;
}

/* Jobs of the turn up to number `n` have begun, which nobody can take back any more; the lock is
 * held. True if it is urgent. */
static bool note_started(Pool *pool, Worker *worker, unsigned n, Mail *mail) {
        bool urgent = false;

        for (; worker->n_started < n; worker->n_started++) {
                Job *job = worker->jobs[worker->n_started];

                histogram_add(
                        &pool->queue_wait, usec_sub(worker->turn_started_at, waits_since(job)), 1);
                urgent |= post_started(pool, job, mail);
        }
        return urgent;
}

/* Puts a finished job where main finds it. True if main should hear of it at once. */
static bool post_finished(Pool *pool, Job *job, usec_t now, Mail *mail) {
        Submission *submission = job->submission;
        bool announce = (job->flags & JOB_ANNOUNCE) || pool->announce || submission->notify;
        bool urgent = announce;

        /* A job without details has no other place for the moment of its end. */
        job->due_at = now;
        if (!submission->bulk || announce)
                mail_add_job(mail, job);
        if (--submission->n_pending == 0 && submission->bulk) {
                list_append(&mail->submissions, &submission->mail);
                mail->n++;
                urgent = true;
        }
        return urgent;
}

/* What is told of the attempt. */
static void publish_details(Job *job, Worker *worker, WorkerResult *result, usec_t now) {
        JobDetails *details;

        if (!job->details && result->details)
                job->details = details_init(TAKE_PTR(result->details), job);
        details = job->details;
        if (!details)
                return;
        free(details->error);
        details->error = TAKE_PTR(result->error);
        details->exit_status = result->exit_status;
        details->worker = (int32_t) worker->id;
        details->started_at = result->started_at;
        details->duration = result->duration != USEC_INFINITY ? result->duration
                                                              : usec_sub(now, result->started_at);
        details->finished_at = usec_add(details->started_at, details->duration);
}

/* Why an attempt failed is nothing to say of a job that goes on: if it is cancelled or dropped
 * next, that is what ended it. */
static void forget_error(Job *job) {
        free(job->details->error);
        job->details->error = NULL;
}

/* The output takes the place of the payload, which is left in the result. */
static void publish_output(Job *job, WorkerResult *result) {
        void *old = job->flags & JOB_DATA_OWNED ? job->data : NULL;

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

/* Publishes the results of the turn up to number `n` of the `n_begun` that have begun; the lock is
 * held. True if it is urgent. */
static bool publish(
        Pool *pool, Worker *worker, unsigned n, unsigned n_begun, usec_t now, Mail *mail) {
        usec_t share = usec_sub(now, worker->published_at) / (n_begun - worker->n_published);
        bool urgent = note_started(pool, worker, n_begun, mail);

        for (unsigned i = worker->n_published; i < n; i++) {
                Job *job = worker->jobs[i];
                WorkerResult *result = &worker->results[i];

                histogram_add(&pool->run_time,
                        result->duration != USEC_INFINITY ? result->duration : share, 1);
                publish_details(job, worker, result, now);
                /* A time-out was told when it came. */
                if (result->outcome != OUTCOME_SUCCESS && job_stop(job) == JOB_STOP_CANCEL)
                        pool_gates_cancel(&pool->gates, &worker->permits[i]);
                else
                        pool_gates_report(&pool->gates, &worker->permits[i],
                                result->outcome == OUTCOME_SUCCESS, now);
                if (likely(result->outcome == OUTCOME_SUCCESS))
                        publish_output(job, result);
                else
                        discard_output(pool, result);
                if (scheduler_finish(
                            &pool->scheduler, job, result->outcome, now, next_random(pool)))
                        urgent |= post_finished(pool, job, now, mail);
                else
                        forget_error(job);
        }
        worker->n_published = n;
        worker->published_at = now;
        return urgent;
}

/* Frees what publishing has left over, by the worker's own thread and without the lock. */
static void worker_drop_leftovers(Worker *worker, unsigned n) {
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
static bool post_ended(Pool *pool, Mail *mail, usec_t now) {
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
static bool post_room(const Pool *pool, Mail *mail) {
        if (likely(!scheduler_line_is_due(&pool->scheduler)))
                return false;
        mail->room = true;
        mail->n++;
        return true;
}

/* ---- turns of several jobs ---- */

/* Takes back what the worker has not begun; the lock is held. */
static unsigned reclaim(Pool *pool, Worker *worker) {
        uint32_t claim = atomic_load_explicit(&worker->claim, memory_order_relaxed);
        unsigned begun, end;

        do {
                begun = claim_begun(claim);
                end = claim_end(claim);
                if (begun >= end)
                        return 0;
        } while (!atomic_compare_exchange_weak_explicit(&worker->claim, &claim,
                claim_make(begun, begun), memory_order_acq_rel, memory_order_relaxed));

        for (unsigned i = end; i-- > begun;)
                scheduler_unclaim(&pool->scheduler, worker->jobs[i]);
        pool_gates_give_back(&pool->gates, worker->permits + begun, end - begun, worker->taken_at);
        worker->n_jobs = begun;
        return end - begun;
}

static unsigned reclaim_all(Pool *pool) {
        unsigned n = 0;

        if (pool->n_several == 0)
                return 0;
        list_for_each (l, &pool->workers)
                n += reclaim(pool, list_entry(l, Worker, links));
        return n;
}

/* Takes back from the worker that has set aside most. */
static bool reclaim_most(Pool *pool) {
        while (pool->n_several > 0) {
                Worker *most = NULL;
                unsigned max = 0;

                list_for_each (l, &pool->workers) {
                        Worker *worker = list_entry(l, Worker, links);
                        uint32_t claim = atomic_load_explicit(&worker->claim, memory_order_relaxed);

                        if (claim_end(claim) > claim_begun(claim) + max) {
                                max = claim_end(claim) - claim_begun(claim);
                                most = worker;
                        }
                }
                if (!most)
                        return false;
                /* It may have begun the last one meanwhile: then it is another's turn to give. */
                if (reclaim(pool, most) > 0)
                        return true;
        }
        return false;
}

/* The worker that has the job, which runs or is claimed; *ret_index is its place in the turn. */
static Worker *find_worker(Pool *pool, const Job *job, unsigned *ret_index) {
        list_for_each (l, &pool->workers) {
                Worker *worker = list_entry(l, Worker, links);

                for (unsigned i = worker->n_published; i < worker->n_jobs; i++)
                        if (worker->jobs[i] == job) {
                                *ret_index = i;
                                return worker;
                        }
        }
        return NULL;
}

/* Cuts a turn of several jobs: what was not begun goes back, what is done is published. What is
 * left is a turn of the one job that was begun last, which may be done by now, but that is for the
 * worker to say. The lock is held. True if it is urgent. */
static bool cut_turn(Pool *pool, Worker *worker, usec_t now, Mail *mail) {
        unsigned n_begun;
        bool urgent;
        Job *job;

        (void) reclaim(pool, worker);
        n_begun = claim_begun(atomic_load_explicit(&worker->claim, memory_order_acquire));
        urgent = publish(pool, worker, n_begun - 1, n_begun, now, mail);
        job = worker->jobs[n_begun - 1];
        if (job->flags & JOB_CLAIMED)
                scheduler_start(&pool->scheduler, job);
        worker->several = false;
        pool->n_several--;
        /* When exactly it was begun nobody knows; its time-out is not to come too early. */
        scheduler_remove_run(&pool->scheduler, &worker->run);
        scheduler_add_run(&pool->scheduler, &worker->run,
                n_begun > 1 ? now : worker->turn_started_at, job->submission->run_timeout);
        return urgent;
}

/* A job in a turn of several becomes a queued, a running or a finished one, so that it can be
 * changed; the lock is held. True if it is urgent. */
static bool settle(Pool *pool, Job *job, usec_t now, Mail *mail) {
        Worker *worker;
        unsigned i;

        if (pool->n_several == 0 || (job->state != JOB_RUNNING && !(job->flags & JOB_CLAIMED)))
                return false;
        worker = find_worker(pool, job, &i);
        assert(worker);
        return worker->several && cut_turn(pool, worker, now, mail);
}

/* How many jobs a turn may take. */
static size_t turn_size(const Pool *pool) {
        uint64_t n;

        if (!pool->config->handler->takes_several || pool->mean_run_nsec == 0)
                return 1;
        n = MIN(TURN_USEC * 1000 / pool->mean_run_nsec, (uint64_t) TURN_JOBS_MAX);
        n = MIN(n, pool->scheduler.n_queued / MAX(pool->n_workers, 1U));
        return (size_t) MAX(n, UINT64_C(1));
}

/* ---- idle workers ---- */

static void set_aside_to_wake(Pool *pool, Worker *worker) {
        list_remove(&worker->idle_links);
        list_append(&pool->to_wake, &worker->idle_links);
        worker->idle = false;
        pool->n_idle--;
        if (!worker->leaving) {
                worker->coming = true;
                pool->n_coming++;
        }
}

/* Takes up to n workers off the idle list. A single job goes to the CPU that it was submitted on,
 * where its payload is in the cache and no other CPU has to be woken. */
static void wake_idle(Pool *pool, uint64_t n) {
        if (n == 1 && pool->n_idle > 1) {
                int cpu = sched_getcpu();

                list_for_each (l, &pool->idle)
                        if (list_entry(l, Worker, idle_links)->cpu == cpu) {
                                set_aside_to_wake(pool, list_entry(l, Worker, idle_links));
                                return;
                        }
        }
        for (; n > 0 && pool->n_idle > 0; n--)
                set_aside_to_wake(pool, list_entry(list_first(&pool->idle), Worker, idle_links));
}

void pool_wake(Pool *pool) {
        List *l;

        /* Only main puts workers on this list, and a worker on it sleeps until it is written to. */
        while ((l = list_pop(&pool->to_wake)))
                worker_wake(list_entry(l, Worker, idle_links));
}

/* Is there work that a worker could get if it asked? */
static bool is_worth_asking(const Pool *pool) {
        return scheduler_has_work(&pool->scheduler) && pool->gates.shut_by == GATE_OPEN;
}

/* Work that idle workers could do, and none of them comes for it by itself: then the pool waits in
 * line for tokens. Otherwise it does not. The lock is held. */
static void settle_gates(Pool *pool) {
        if (!pool_gates_exist(&pool->gates))
                return;
        if (!scheduler_has_work(&pool->scheduler) || pool->n_idle + pool->n_coming == 0 ||
                pool->gates.shut_by == GATE_BREAKER)
                pool_gates_leave(&pool->gates);
        else if (pool->gates.limiter && pool->n_coming == 0 && pool->gates.shut_by == GATE_OPEN)
                pool_gates_wait(&pool->gates,
                        MIN(pool->scheduler.n_queued, pool->n_idle * turn_size(pool)));
}

/* Nobody asks again until the breaker says so. The lock is held. */
static void shut_by_breaker(Pool *pool) {
        pool_gates_leave(&pool->gates);
        pool->gates.shut_by = GATE_BREAKER;
        /* Main refuses what is queued. */
        if (pool->refuses)
                timer_arm(&pool->timer, 0);
}

/* There may be work that nobody looks at, and the timer may be due earlier; the lock is held. */
static void after_change(Pool *pool) {
        if (is_worth_asking(pool))
                wake_idle(pool, pool->scheduler.n_queued);
        settle_gates(pool);
        timer_arm(&pool->timer, scheduler_wake_at(&pool->scheduler));
}

/* ---- the worker's turn ---- */

static void end_run(Pool *pool, Worker *worker, usec_t now) {
        uint64_t mean;

        scheduler_remove_run(&pool->scheduler, &worker->run);
        mean = usec_sub(now, worker->turn_started_at) * 1000 / worker->n_jobs;
        if (pool->mean_run_nsec > 0)
                mean = (pool->mean_run_nsec * (MEAN_WEIGHT - 1) + mean) / MEAN_WEIGHT;
        pool->mean_run_nsec = MAX(mean, UINT64_C(1));
        if (worker->stuck) {
                worker->stuck = false;
                pool->n_stuck--;
                /* Main shows that, and may have no other reason to look. */
                timer_arm(&pool->timer, now);
        }
        worker->stop_seen = false;
}

static bool begin_run(Pool *pool, Worker *worker, size_t n, usec_t now, Mail *mail) {
        usec_t timeout = USEC_INFINITY;

        worker->n_jobs = (unsigned) n;
        worker->n_started = worker->n_published = 0;
        worker->turn_started_at = worker->published_at = now;
        for (size_t i = 0; i < n; i++) {
                Job *job = worker->jobs[i];

                timeout = MIN(timeout, job->submission->run_timeout);
                worker->results[i].attempt = (job->details ? job->details->attempt : 0) + 1;
                atomic_store_explicit(&worker->stops[i], JOB_STOP_NONE, memory_order_relaxed);
        }
        atomic_store_explicit(&worker->claim, claim_make(1, (unsigned) n), memory_order_release);
        if (n > 1) {
                timeout = MIN(timeout, TURN_CUT_USEC);
                pool->n_several++;
        }
        scheduler_add_run(&pool->scheduler, &worker->run, now, timeout);
        return note_started(pool, worker, 1, mail);
}

static void go_idle(Pool *pool, Worker *worker) {
        worker->idle = true;
        list_prepend(&pool->idle, &worker->idle_links);
        pool->n_idle++;
}

static void leave(Pool *pool, Worker *worker, Mail *mail) {
        if (!worker->leaving)
                pool->n_workers--;
        worker->leaving = true;
        list_remove(&worker->links);
        list_append(&mail->gone, &worker->links);
        mail->n++;
}

/* A stop was signalled by the eventfd, which handlers leave as it is. It is emptied under the lock:
 * later, it could take with it the wake-up of a worker that goes idle in this turn. */
static void worker_forget_poke(Worker *worker) {
        uint64_t n;

        if (!worker->poked)
                return;
        if (read(worker->eventfd, &n, sizeof(n)) < 0)
                assert(!"read() from a worker's eventfd");
        worker->poked = false;
}

Turn pool_turn(Pool *pool, Worker *worker, usec_t now) {
        bool urgent = false, wake;
        TakeVerdict verdict;
        const Gates *gates;
        GateTurn gate_turn;
        unsigned n_done;
        size_t n = 0;
        Turn turn;
        Mail mail;

        mail_init(&mail);
        pool_lock(pool);

        /* What was taken back is not among them any more, and the rest has begun and ended. */
        n_done = worker->n_jobs;
        if (n_done > 0) {
                urgent |= publish(pool, worker, n_done, n_done, now, &mail);
                /* Without anybody who waits, many short jobs are told of at once. */
                urgent |= worker->n_jobs == 1 && pool->mean_run_nsec > SHORT_NSEC;
                if (worker->several)
                        pool->n_several--;
                worker->several = false;
                end_run(pool, worker, now);
                worker->n_jobs = 0;
        }
        worker_forget_poke(worker);
        if (worker->coming) {
                worker->coming = false;
                pool->n_coming--;
        }

        if (worker->leaving || pool->n_workers > pool->n_target) {
                leave(pool, worker, &mail);
                urgent = true;
                turn = TURN_LEAVE;
        } else {
                usec_t until = USEC_INFINITY;

                do {
                        gates = gate_turn_init(&gate_turn, &pool->gates, worker->permits);
                        verdict = scheduler_take(&pool->scheduler, now, gates, turn_size(pool),
                                worker->jobs, &n, &until);
                } while (verdict != TAKE_JOBS && !pool->scheduler.paused &&
                         gate_turn.refused_by == GATE_OPEN && reclaim_most(pool));
                urgent |= post_ended(pool, &mail, now);
                if (verdict == TAKE_JOBS) {
                        worker->several = n > 1;
                        worker->taken_at = gate_turn.taken_at;
                        urgent |= begin_run(pool, worker, n, now, &mail);
                        turn = TURN_WORK;
                } else {
                        if (gate_turn.refused_by == GATE_BREAKER)
                                shut_by_breaker(pool);
                        go_idle(pool, worker);
                        turn = TURN_IDLE;
                }
                urgent |= post_room(pool, &mail);
        }
        /* Also of a worker that leaves: what it ran may be due for another attempt. */
        timer_arm(&pool->timer, scheduler_wake_at(&pool->scheduler));
        settle_gates(pool);

        wake = mailbox_post(pool->mailbox, &mail, urgent);
        pool_unlock(pool);

        if (wake)
                mailbox_wake(pool->mailbox);
        else if (turn == TURN_IDLE)
                mailbox_signal(pool->mailbox);
        worker_drop_leftovers(worker, n_done);
        if (turn == TURN_LEAVE) {
                output_writer_done(&worker->writer);
                if (worker->state)
                        pool->config->handler->worker_close(pool->handler, worker->state);
        }
        return turn;
}

/* ---- what main does ---- */

/* What was only set aside waits, so it may be what is to be dropped. */
static bool may_have_to_drop(const Pool *pool, uint64_t n) {
        const Scheduler *s = &pool->scheduler;

        switch (s->config.overflow) {

        case OVERFLOW_DROP_OLDEST:
        case OVERFLOW_DROP_LOWEST:
                return n > usec_sub(s->config.queue_max, s->n_queued + s->n_scheduled);

        case OVERFLOW_REJECT:
        case OVERFLOW_WAIT:
        case _OVERFLOW_MAX:
        case _OVERFLOW_INVALID:
                break;
        }
        return false;
}

int pool_admit(Pool *pool, uint64_t n, uint32_t owner, int16_t priority, unsigned flags) {
        usec_t now = usec_now(CLOCK_MONOTONIC);
        usec_t retry_after;
        bool wake, urgent;
        Mail mail;
        int r;

        mail_init(&mail);
        /* What was accepted before may have its turn once more, when the breaker lets it. */
        if (!(flags & ADMIT_NO_DROP) && unlikely(pool_is_refusing(pool, &retry_after))) {
                pool_lock(pool);
                scheduler_reject(&pool->scheduler, n);
                pool_unlock(pool);
                return ADMIT_SHUT;
        }
        pool_lock(pool);
        /* What has expired takes no room, and how urgent the others are is a matter of now. */
        scheduler_advance(&pool->scheduler, now);
        if (may_have_to_drop(pool, n) && reclaim_all(pool) > 0)
                after_change(pool);
        r = scheduler_admit(&pool->scheduler, n, owner, priority, flags);
        urgent = post_ended(pool, &mail, now);
        wake = mailbox_post(pool->mailbox, &mail, urgent);
        pool_unlock(pool);
        if (wake)
                mailbox_wake(pool->mailbox);
        return r;
}

void pool_line_join(Pool *pool, AdmitWaiter *waiter) {
        pool_lock(pool);
        scheduler_line_join(&pool->scheduler, waiter);
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
                forget_error(job);
                scheduler_kick(&pool->scheduler, job, now);
                after_change(pool);
        }
        pool_unlock(pool);
        return r;
}

uint64_t pool_room(Pool *pool) {
        const Scheduler *s = &pool->scheduler;
        uint64_t room;

        pool_lock(pool);
        room = s->draining ? 0 : usec_sub(s->config.queue_max, s->n_queued + s->n_scheduled);
        pool_unlock(pool);
        return room;
}

/* Does the job that is next come before one that a worker has set aside? */
static bool overtakes_claims(Pool *pool, const Job *job) {
        const Scheduler *s = &pool->scheduler;

        if (pool->n_several == 0 || !scheduler_is_next(s, job))
                return false;
        list_for_each (l, &pool->workers) {
                Worker *worker = list_entry(l, Worker, links);
                uint32_t claim = atomic_load_explicit(&worker->claim, memory_order_relaxed);
                const Job *other;

                if (claim_begun(claim) >= claim_end(claim))
                        continue;
                other = worker->jobs[claim_begun(claim)];
                if (s->config.fair && other->submission->owner != job->submission->owner)
                        continue;
                if (prioq_before(&s->owners[0]->queue, job, other))
                        return true;
        }
        return false;
}

void pool_submit(Pool *pool, Job *const *jobs, size_t n, usec_t now) {
        pool_lock(pool);
        for (size_t i = 0; i < n; i++)
                scheduler_submit(&pool->scheduler, jobs[i], now);
        if (unlikely(overtakes_claims(pool, jobs[0])))
                (void) reclaim_all(pool);
        if (is_worth_asking(pool))
                wake_idle(pool, n);
        timer_arm(&pool->timer, scheduler_wake_at(&pool->scheduler));
        pool_unlock(pool);
}

static void poke(Worker *worker, unsigned i, JobStop stop) {
        atomic_store_explicit(&worker->stops[i], (int) stop, memory_order_release);
        if (!worker->poked) {
                worker->poked = true;
                worker_wake(worker);
        }
}

/* From now on the run is watched for its end after the stop. */
static void watch_stop(Pool *pool, Worker *worker, usec_t now) {
        usec_t patience = usec_add(pool->stop_timeout, STUCK_GRACE_USEC);
        usec_t started_at = worker->run.started_at;

        worker->stop_seen = true;
        scheduler_remove_run(&pool->scheduler, &worker->run);
        scheduler_add_run(&pool->scheduler, &worker->run, now, patience);
        worker->run.started_at = started_at;
        timer_arm(&pool->timer, worker->run.deadline);
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
        urgent = settle(pool, job, now, &mail);
        verdict = scheduler_cancel(&pool->scheduler, job);
        switch (verdict) {

        case CANCEL_FINISHED:
                if (job->details)
                        job->details->finished_at = now;
                (void) post_finished(pool, job, now, &mail);
                urgent = true;
                break;

        case CANCEL_ASKED:
                worker = find_worker(pool, job, &i);
                assert(worker);
                poke(worker, i, JOB_STOP_CANCEL);
                watch_stop(pool, worker, now);
                break;

        case CANCEL_NOTHING:
                break;
        }
        after_change(pool);
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
        urgent = settle(pool, job, usec_now(CLOCK_MONOTONIC), &mail);
        r = job->state == JOB_FINISHED ? 1 : job_ensure_details(job);
        if (r == 0)
                r = scheduler_set_priority(&pool->scheduler, job, priority);
        if (r == 0 && overtakes_claims(pool, job))
                (void) reclaim_all(pool);
        after_change(pool);
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
                (void) reclaim_all(pool);
        pool->scheduler.paused = paused;
        after_change(pool);
        pool_unlock(pool);
}

void pool_drain(Pool *pool, bool draining) {
        pool_lock(pool);
        pool->scheduler.draining = draining;
        pool_unlock(pool);
}

void pool_shut_down(Pool *pool) {
        pool_lock(pool);
        (void) reclaim_all(pool);
        pool->scheduler.draining = pool->scheduler.paused = pool->scheduler.ending = true;
        settle_gates(pool);
        pool_unlock(pool);
}

void pool_set_announce(Pool *pool, bool announce) {
        pool_lock(pool);
        pool->announce = announce;
        pool_unlock(pool);
}

/* The CPU of the set with the fewest workers; of equal ones the first. */
static int quietest_cpu(const Pool *pool) {
        const cpu_set_t *cpus = &pool->config->cpus;
        unsigned n_cpus = (unsigned) CPU_COUNT(cpus), least = UINT32_MAX;
        int best = -1;

        for (unsigned i = 0; i < n_cpus; i++) {
                int cpu = affinity_nth(cpus, i);
                unsigned n = 0;

                list_for_each (l, &pool->workers)
                        if (list_entry(l, Worker, links)->cpu == cpu)
                                n++;
                if (n < least) {
                        least = n;
                        best = cpu;
                }
        }
        return best;
}

/* Makes workers until there are as many as there are to be. The threads start with the lock held by
 * us, so the first thing that they do is to wait for the rest of this. */
static int hire(Pool *pool) {
        while (pool->n_workers < pool->n_target) {
                Worker *worker;
                int r;

                r = worker_new(pool, pool->next_worker_id, quietest_cpu(pool), &worker);
                if (r < 0)
                        return r;
                pool->next_worker_id++;
                pool->n_workers++;
                pool->n_threads++;
                list_append(&pool->workers, &worker->links);
        }
        return 0;
}

/* Idle workers leave at once, the others after their turn. */
static void let_go(Pool *pool) {
        while (pool->n_workers > pool->n_target && pool->n_idle > 0) {
                Worker *worker = list_entry(pool->idle.prev, Worker, idle_links);

                worker->leaving = true;
                pool->n_workers--;
                set_aside_to_wake(pool, worker);
        }
}

static int resize(Pool *pool, uint32_t n_target) {
        int r;

        pool_lock(pool);
        pool->n_target = n_target;
        let_go(pool);
        r = hire(pool);
        settle_gates(pool);
        pool_unlock(pool);
        return r;
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

        pool_lock(pool);
        if (own->aging_interval != pool->scheduler.config.aging_interval)
                (void) reclaim_all(pool);
        scheduler_config = scheduler_config_of(own);
        scheduler_set_config(&pool->scheduler, &scheduler_config);
        after_change(pool);
        pool_unlock(pool);

        /* The last ones of a removed pool are not to be replaced. */
        if (pool->dismissed)
                return 0;
        return resize(pool, CLAMP(pool->n_target, config->min_workers, config->max_workers));
}

void pool_dismiss(Pool *pool) {
        (void) resize(pool, 0);
}

void pool_join(Pool *pool, Worker *worker) {
        (void) pthread_join(worker->thread, NULL);
        worker_free(worker);
        pool->n_threads--;
}

/* The run is over its time, or its turn is; the lock is held. */
static bool run_is_due(Pool *pool, Worker *worker, usec_t now, Mail *mail) {
        bool urgent = false;
        unsigned i;

        if (worker->stop_seen) {
                usec_t started_at = worker->run.started_at;

                if (!worker->stuck) {
                        worker->stuck = true;
                        pool->n_stuck++;
                }
                scheduler_remove_run(&pool->scheduler, &worker->run);
                scheduler_add_run(&pool->scheduler, &worker->run, now, STUCK_RECHECK_USEC);
                worker->run.started_at = started_at;
                return false;
        }

        if (worker->several) {
                urgent = cut_turn(pool, worker, now, mail);
                if (worker->run.deadline > now)
                        return urgent;
        }

        i = worker->n_jobs - 1;
        if (scheduler_stop_timed_out(&pool->scheduler, worker->jobs[i])) {
                pool_gates_report(&pool->gates, &worker->permits[i], /* succeeded= */ false, now);
                poke(worker, i, JOB_STOP_TIMEOUT);
        }
        watch_stop(pool, worker, now);
        return urgent;
}

void pool_gates_opened(Pool *pool) {
        pool_lock(pool);
        if (pool->gates.shut_by == GATE_BREAKER)
                pool->gates.shut_by = GATE_OPEN;
        after_change(pool);
        pool_unlock(pool);
}

bool pool_is_refusing(Pool *pool, usec_t *ret_retry_after) {
        BreakerView view;

        if (!pool->refuses || !pool->gates.breaker)
                return false;
        shared_breaker_view(pool->gates.breaker, &view);
        if (view.state != BREAKER_OPEN)
                return false;
        *ret_retry_after = view.retry_after;
        return true;
}

bool pool_refuse(Pool *pool, Job *job) {
        usec_t now = usec_now(CLOCK_MONOTONIC);
        bool refused, wake = false;
        Mail mail;

        mail_init(&mail);
        pool_lock(pool);
        refused = scheduler_refuse(&pool->scheduler, job);
        if (refused) {
                if (job->details)
                        job->details->finished_at = now;
                (void) post_finished(pool, job, now, &mail);
                settle_gates(pool);
                (void) post_room(pool, &mail);
                wake = mailbox_post(pool->mailbox, &mail, /* urgent= */ true);
        }
        pool_unlock(pool);
        if (wake)
                mailbox_wake(pool->mailbox);
        return refused;
}

void pool_gates_served(Pool *pool) {
        pool_lock(pool);
        if (pool->gates.shut_by == GATE_RATE)
                pool->gates.shut_by = GATE_OPEN;
        if (is_worth_asking(pool))
                wake_idle(pool, pool_gates_credit(&pool->gates));
        settle_gates(pool);
        pool_unlock(pool);
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
                urgent |= run_is_due(pool, container_of(run, Worker, run), now, &mail);
        n_scheduled = pool->scheduler.n_scheduled;
        scheduler_advance(&pool->scheduler, now);
        /* What has become due may be more urgent than what was claimed before. */
        if (pool->scheduler.n_scheduled < n_scheduled)
                (void) reclaim_all(pool);
        urgent |= post_ended(pool, &mail, now);
        after_change(pool);
        wake = mailbox_post(pool->mailbox, &mail, urgent);
        pool_unlock(pool);
        if (wake)
                mailbox_wake(pool->mailbox);
}

/* ---- questions ---- */

static PoolState state_locked(const Pool *pool) {
        if (pool->scheduler.draining)
                return POOL_DRAINING;
        if (pool->scheduler.paused)
                return POOL_PAUSED;
        return pool->n_stuck > 0 ? POOL_DEGRADED : POOL_RUNNING;
}

PoolState pool_state(Pool *pool) {
        PoolState state;

        pool_lock(pool);
        state = state_locked(pool);
        pool_unlock(pool);
        return state;
}

void pool_shape(Pool *pool, PoolState *ret_state, uint32_t *ret_n_workers) {
        pool_lock(pool);
        *ret_state = state_locked(pool);
        *ret_n_workers = pool->n_workers;
        pool_unlock(pool);
}

bool pool_is_empty(Pool *pool) {
        bool empty;

        pool_lock(pool);
        empty = scheduler_is_empty(&pool->scheduler);
        pool_unlock(pool);
        return empty;
}

bool pool_has_no_jobs(Pool *pool) {
        bool empty;

        pool_lock(pool);
        empty = scheduler_is_empty(&pool->scheduler) && pool->scheduler.n_scheduled == 0;
        pool_unlock(pool);
        return empty;
}

static void histogram_read(const Histogram *h, usec_t ret[static 4]) {
        ret[0] = histogram_quantile(h, 500);
        ret[1] = histogram_quantile(h, 950);
        ret[2] = histogram_quantile(h, 990);
        ret[3] = h->max;
}

void pool_view(Pool *pool, PoolView *ret) {
        uint64_t n_begun = 0;

        pool_lock(pool);
        /* Claimed jobs that have begun run, though the scheduler hears of it with their end. */
        if (pool->n_several > 0)
                list_for_each (l, &pool->workers) {
                        Worker *worker = list_entry(l, Worker, links);
                        unsigned begun = claim_begun(atomic_load(&worker->claim));

                        for (unsigned i = worker->n_published; worker->several && i < begun; i++)
                                if (worker->jobs[i]->flags & JOB_CLAIMED)
                                        n_begun++;
                }
        *ret = (PoolView){
                .state = state_locked(pool),
                .n_workers = pool->n_workers,
                .n_queued = pool->scheduler.n_queued - n_begun,
                .n_scheduled = pool->scheduler.n_scheduled,
                .n_running = pool->scheduler.n_running + n_begun,
                .counters = pool->scheduler.counters,
        };
        list_for_each (l, &pool->workers)
                ret->n_busy += list_entry(l, Worker, links)->n_jobs > 0;
        histogram_read(&pool->queue_wait, ret->queue_wait);
        histogram_read(&pool->run_time, ret->run_time);
        pool_unlock(pool);
}

static usec_t to_realtime(usec_t monotonic) {
        usec_t now = usec_now(CLOCK_MONOTONIC), realtime = usec_now(CLOCK_REALTIME);

        return monotonic == 0 ? 0 : usec_sub(realtime, usec_sub(now, monotonic));
}

static const char *pending_reason(const Pool *pool, const Job *job) {
        if (job->state == JOB_SCHEDULED)
                return "delay";
        if (pool->scheduler.paused)
                return "paused";
        if (job->flags & JOB_CLAIMED)
                return "workers";
        if (!scheduler_is_next(&pool->scheduler, job))
                return "priority";
        return gate_reason_to_string(pool->gates.shut_by) ?: "workers";
}

/* What a worker knows of a job that it has. */
static void view_running(Pool *pool, Job *job, JobView *ret) {
        unsigned i;
        Worker *worker = find_worker(pool, job, &i);

        if (!worker || i >= claim_begun(atomic_load_explicit(&worker->claim, memory_order_acquire)))
                return;
        if (job->flags & JOB_CLAIMED)
                ret->state = JOB_RUNNING;
        ret->worker = (int32_t) worker->id;
        ret->attempt = worker->results[i].attempt;
        ret->started_realtime = to_realtime(worker->run.started_at);
        ret->duration = usec_sub(usec_now(CLOCK_MONOTONIC), worker->run.started_at);
        ret->progress = atomic_load_explicit(&worker->progress, memory_order_relaxed);
}

void pool_job_view(Pool *pool, Job *job, JobView *ret) {
        const Submission *submission = job->submission;
        const JobDetails *details;

        pool_lock(pool);
        details = job->details;
        *ret = (JobView){
                .id = job->id,
                .state = (JobState) job->state,
                .result =
                        job->state == JOB_FINISHED ? (JobResult) job->result : _JOB_RESULT_INVALID,
                .priority = job->priority,
                .owner = submission->owner,
                .worker = -1,
                .tag = submission->tag ?: "",
                .submitted_realtime = submission->submitted_realtime,
                .progress = -1,
                .pending_reason = "",
        };
        if (details) {
                ret->attempt = details->attempt;
                ret->worker = details->worker;
                ret->exit_status = details->exit_status;
                ret->started_realtime = to_realtime(details->started_at);
                ret->finished_realtime = to_realtime(details->finished_at);
                ret->duration = details->duration;
                ret->progress = details->progress;
        }
        if (job->state == JOB_FINISHED && ret->finished_realtime == 0)
                ret->finished_realtime = to_realtime(job->due_at);
        if (job->state == JOB_RUNNING || job->state == JOB_STOPPING || (job->flags & JOB_CLAIMED))
                view_running(pool, job, ret);
        if (ret->state == JOB_QUEUED || ret->state == JOB_SCHEDULED) {
                ret->pending_reason = pending_reason(pool, job);
                ret->position = scheduler_position(&pool->scheduler, job, 10000);
        }
        pool_unlock(pool);
}

void pool_job_view_state(Pool *pool, Job *job, JobView *ret) {
        unsigned i = 0;
        Worker *worker;

        pool_lock(pool);
        ret->state = (JobState) job->state;
        ret->result = job->state == JOB_FINISHED ? (JobResult) job->result : _JOB_RESULT_INVALID;
        if (job->flags & JOB_CLAIMED) {
                worker = find_worker(pool, job, &i);
                assert(worker);
                if (i < claim_begun(atomic_load_explicit(&worker->claim, memory_order_acquire)))
                        ret->state = JOB_RUNNING;
        }
        pool_unlock(pool);
}

/* ---- life ---- */

int pool_new(PoolConfig *config, Mailbox *mailbox, OutputStock *stock, SharedLimiter *limiter,
        SharedBreaker *breaker, Pool **ret, char **ret_error) {
        SchedulerConfig scheduler_config = scheduler_config_of(config);
        Pool *pool;
        int r;

        pool = calloc(1, sizeof(*pool));
        if (!pool)
                return -ENOMEM;
        *pool = (Pool){
                .config = config,
                .mailbox = mailbox,
                .stock = stock,
                .timer.fd = -EBADF,
                .stop_timeout = config->handler_config.stop_timeout,
                .shown_state = POOL_RUNNING,
                .refuses = !config->hold_on_open,
                /* Any state but 0 will do: it only spreads what would come at one time. */
                .random = usec_now(CLOCK_MONOTONIC) | 1,
        };
        pool_gates_init(&pool->gates, limiter, breaker);
        list_init(&pool->links);
        list_init(&pool->drain_watches);
        list_init(&pool->remove_watches);
        list_init(&pool->workers);
        list_init(&pool->idle);
        list_init(&pool->to_wake);
        (void) pthread_mutex_init(&pool->lock, NULL);

        r = timer_init(&pool->timer);
        if (r >= 0)
                r = scheduler_init(&pool->scheduler, &scheduler_config);
        if (r >= 0)
                r = config->handler->open(&config->handler_config, &pool->handler, ret_error);
        if (r < 0) {
                pool_free(pool);
                return r;
        }
        *ret = pool;
        return 0;
}

int pool_start(Pool *pool, char **ret_error) {
        int r = resize(pool, pool->config->max_workers);

        if (r < 0 && pool->n_threads == 0) {
                if (asprintf(ret_error, "MaxWorkers: cannot start a thread: %s", strerror(-r)) < 0)
                        *ret_error = NULL;
                return r;
        }
        pool->started = true;
        pool->shown_workers = pool->n_threads;
        return 0;
}

Pool *pool_free(Pool *pool) {
        if (!pool)
                return NULL;
        assert(list_is_empty(&pool->workers));
        if (pool->handler)
                pool->config->handler->close(pool->handler);
        pool_gates_done(&pool->gates);
        scheduler_done(&pool->scheduler);
        timer_done(&pool->timer);
        (void) pthread_mutex_destroy(&pool->lock);
        if (pool->started)
                pool_config_free(pool->config);
        pool_config_free(pool->origin);
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
