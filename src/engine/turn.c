/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The worker's turn: under one lock it publishes what was done and takes what comes next. And how
 * what runs is told to stop, at a cancel or out of its time. */

#include <assert.h>
#include <unistd.h>

#include "engine/pool-private.h"

/* How the mean run time follows the last turns: 1/8 of each new one. */
#define MEAN_WEIGHT 8

/* With a mean above this, the end of a job is worth waking main for at once. */
#define SHORT_NSEC (TURN_USEC * 1000 / 2)

/* Nothing more can be done about a worker that ignored its stop; it is looked at again now and
 * then. */
#define STUCK_RECHECK_USEC (60 * USEC_PER_SEC)

/* After stop_timeout a handler kills; so long after that it is called stuck. */
#define STUCK_GRACE_USEC USEC_PER_SEC

/* Mail that is not urgent waits for more of it at most so long, and for the end of a short turn. */
#define MAIL_WAIT_USEC 500

static void end_run(Pool *pool, Worker *worker, usec_t now) {
        uint64_t mean;

        scheduler_remove_run(&pool->scheduler, &worker->run);
        mean = usec_sub(now, worker->turn_started_at) * 1000 / worker_n_calls(worker);
        if (pool->mean_run_nsec > 0)
                mean = (pool->mean_run_nsec * (MEAN_WEIGHT - 1) + mean) / MEAN_WEIGHT;
        pool->mean_run_nsec = MAX(mean, UINT64_C(1));
        if (worker->stuck) {
                worker->stuck = false;
                pool->n_stuck--;
                /* Main shows that, and may have no other reason to look. */
                timer_arm(&pool->timer, now);
        }
        worker->stop_seen = worker->overdue = false;
}

/* All jobs of a batch begin with it, of several others the first one. */
static bool begin_run(Pool *pool, Worker *worker, size_t n, usec_t now, Mail *mail) {
        unsigned n_begun = worker->batch ? (unsigned) n : 1;
        usec_t timeout = USEC_INFINITY;

        worker->n_jobs = (unsigned) n;
        worker->n_started = worker->n_published = 0;
        worker->turn_started_at = worker->published_at = now;
        for (size_t i = 0; i < n; i++) {
                Job *job = worker->jobs[i];

                timeout = MIN(timeout, pool_run_timeout(pool, job));
                worker->results[i].attempt = (job->details ? job->details->attempt : 0) + 1;
                atomic_store_explicit(&worker->stops[i], JOB_STOP_NONE, memory_order_relaxed);
        }
        atomic_store_explicit(
                &worker->claim, claim_make(n_begun, (unsigned) n), memory_order_release);
        if (unlikely(worker->batch))
                pool->n_batches++;
        else if (n > 1) {
                timeout = MIN(timeout, TURN_CUT_USEC);
                worker->several = true;
                pool->n_several++;
        }
        if (unlikely(pool->store))
                for (unsigned i = 0; i < n_begun; i++)
                        worker_mark(worker, i);
        scheduler_add_run(&pool->scheduler, &worker->run, now, timeout);
        return pool_note_started(pool, worker, n_begun, mail);
}

static void go_idle(Pool *pool, Worker *worker) {
        worker->idle = true;
        list_prepend(&pool->idle, &worker->idle_links);
        pool->n_idle++;
}

static void leave(Pool *pool, Worker *worker) {
        if (!worker->leaving)
                pool->n_workers--;
        worker->leaving = true;
        list_remove(&worker->links);
}

/* The worker lets go of what it has, without the lock. That can take a while, so it says that it is
 * gone only then: main joins its thread at that word, and would wait. */
static void worker_say_gone(Pool *pool, Worker *worker) {
        Mailbox *mailbox = pool->mailbox;
        Mail mail;

        output_writer_done(&worker->own_writer);
        if (worker->state)
                pool->config->handler->worker_close(pool->handler, worker->state);

        mail_init(&mail);
        mail_add_sheets(&mail, &worker->sheets);
        list_append(&mail.gone, &worker->links);
        mail.n++;
        if (mailbox_post(mailbox, &mail, /* urgent= */ true))
                mailbox_wake(mailbox);
}

/* A stop was signalled by the eventfd, which handlers leave as it is. It is emptied under the lock:
 * later, it could take with it the wake-up of a worker that goes idle in this turn. */
static void worker_forget_poke(Worker *worker) {
        uint64_t n;

        if (!worker->poked)
                return;
        if (worker_is_slot(worker))
                list_remove(&worker->poke_links);
        else if (read(worker->eventfd, &n, sizeof(n)) < 0)
                assert(!"read() from a worker's eventfd");
        worker->poked = false;
}

/* Mail that is not urgent waits for more while short jobs are worked on, but not for a job that
 * could take long: it may be items on their way to another pool. */
static void signal_mail(Worker *worker, bool is_short, usec_t now) {
        if (is_short && usec_sub(now, worker->signalled_at) < MAIL_WAIT_USEC)
                return;
        mailbox_signal(worker->pool->mailbox);
        worker->signalled_at = now;
}

/* Is the job that is next too large for what there is room for? */
static bool is_next_too_large(Pool *pool, const Worker *worker, usec_t now) {
        const Job *next;

        if (likely(worker->fits == UINT32_MAX))
                return false;
        scheduler_advance(&pool->scheduler, now);
        next = scheduler_next(&pool->scheduler);
        return next && next->size > worker->fits;
}

/* Without a sheet a durable job cannot begin: the store is far behind, and says when it is not. */
static size_t reserve_sheets(Pool *pool, Worker *worker, size_t max) {
        max = worker_reserve_sheets(worker, max);
        if (max == 0)
                pool->starved = true;
        return max;
}

Turn pool_turn(Pool *pool, Worker *worker, usec_t now) {
        bool urgent = false, wake, is_short;
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
                urgent |= pool_publish(pool, worker, n_done, n_done, now, &mail);
                /* Without anybody who waits, many short jobs are told of at once. */
                urgent |= worker_n_calls(worker) == 1 && pool->mean_run_nsec > SHORT_NSEC;
                if (worker->several)
                        pool->n_several--;
                worker->several = false;
                end_run(pool, worker, now);
                worker->batch = false;
                worker->n_jobs = 0;
                mail_add_sheets(&mail, &worker->sheets);
                worker->n_sheets = 0;
        }
        worker_forget_poke(worker);
        if (worker->coming) {
                worker->coming = false;
                pool->n_coming--;
        }

        if (worker->leaving || pool->n_workers > pool->n_target) {
                leave(pool, worker);
                urgent = true;
                turn = TURN_LEAVE;
        } else if (unlikely(worker->aim == SLOT_RESTS))
                turn = TURN_IDLE;
        else {
                usec_t until = USEC_INFINITY;

                do {
                        size_t max;

                        max = pool_turn_size(pool);
                        if (unlikely(max > worker->room))
                                max = MIN(max, worker_reserve(worker, max));
                        if (unlikely(pool->store))
                                max = reserve_sheets(pool, worker, max);
                        gates = gate_turn_init(&gate_turn, &pool->gates, worker->permits);
                        verdict = max == 0 || is_next_too_large(pool, worker, now)
                                          ? TAKE_NEVER
                                          : scheduler_take(&pool->scheduler, now, gates, max,
                                                    worker->jobs, &n, &until);
                        gate_turn_done(&gate_turn);
                } while (verdict != TAKE_JOBS && !pool->scheduler.paused &&
                         gate_turn.refused_by == GATE_OPEN && pool_reclaim_most(pool));
                urgent |= pool_post_ended(pool, &mail, now);
                if (verdict == TAKE_JOBS) {
                        worker->batch = pool_has_batches(pool);
                        worker->taken_at = gate_turn.taken_at;
                        /* Our clock was read before we had the lock, perhaps even before the jobs
                         * came: they do not start then. */
                        urgent |= begin_run(pool, worker, n, pool->scheduler.latest, &mail);
                        turn = TURN_WORK;
                } else {
                        if (gate_turn.refused_by == GATE_BREAKER)
                                pool_shut_by_breaker(pool);
                        if (likely(worker->aim == SLOT_SEEKS))
                                go_idle(pool, worker);
                        turn = TURN_IDLE;
                }
                urgent |= pool_post_room(pool, &mail);
        }
        /* The timer also for a worker that leaves: what it ran may be due for another attempt. */
        pool_settle_gates(pool);
        pool_arm_timer(pool, now);

        /* Main, which drives slots, reads it at the end of the loop's turn without being woken. */
        if (worker_is_slot(worker))
                pool->mailbox->by_main = true;
        wake = mailbox_post(pool->mailbox, &mail, urgent && !worker_is_slot(worker));
        /* Such a turn is cut before it takes long. */
        is_short = turn == TURN_WORK && worker->several;
        pool_unlock(pool);

        if (wake)
                mailbox_wake(pool->mailbox);
        else if (!worker_is_slot(worker))
                signal_mail(worker, is_short, now);
        worker_drop_leftovers(worker, n_done);
        if (turn == TURN_LEAVE)
                worker_say_gone(pool, worker);
        return turn;
}

void worker_set_stop(Worker *worker, unsigned i, JobStop stop) {
        atomic_store_explicit(&worker->stops[i], (int) stop, memory_order_release);
}

void worker_poke(Worker *worker) {
        if (worker->poked)
                return;
        worker->poked = true;
        /* Its handler is to be told without the lock. */
        if (worker_is_slot(worker))
                list_append(&worker->pool->to_stop, &worker->poke_links);
        else
                worker_wake(worker);
}

/* From now on the run is watched for its end after the stop. */
void pool_watch_stop(Pool *pool, Worker *worker, usec_t now) {
        /* Who has leased a job cannot be killed, so nothing comes after stop_timeout. */
        usec_t patience = usec_add(pool->stop_timeout, pool->desk ? 0 : STUCK_GRACE_USEC);
        usec_t started_at = worker->run.started_at;

        worker->stop_seen = true;
        scheduler_remove_run(&pool->scheduler, &worker->run);
        scheduler_add_run(&pool->scheduler, &worker->run, now, patience);
        worker->run.started_at = started_at;
        timer_arm(&pool->timer, worker->run.deadline);
}

/* The run is over its time, or its turn is; the lock is held. */
bool pool_run_is_due(Pool *pool, Worker *worker, usec_t now, Mail *mail) {
        bool urgent = false;
        unsigned i;

        if (worker->stop_seen) {
                usec_t started_at = worker->run.started_at;

                if (pool->desk) {
                        worker->overdue = true;
                        worker_poke(worker);
                } else if (!worker->stuck) {
                        worker->stuck = true;
                        pool->n_stuck++;
                }
                scheduler_remove_run(&pool->scheduler, &worker->run);
                scheduler_add_run(&pool->scheduler, &worker->run, now, STUCK_RECHECK_USEC);
                worker->run.started_at = started_at;
                return false;
        }

        if (worker->batch) {
                pool_stop_batch(pool, worker, now);
                return false;
        }
        if (worker->several) {
                urgent = pool_cut_turn(pool, worker, now, mail);
                if (worker->run.deadline > now)
                        return urgent;
        }

        i = worker->n_jobs - 1;
        if (scheduler_stop_timed_out(&pool->scheduler, worker->jobs[i])) {
                pool_gates_report(
                        &pool->gates, &worker->permits[i], &(GateEnd){ GATE_FAILED }, 1, now);
                worker_set_stop(worker, i, JOB_STOP_TIMEOUT);
                worker_poke(worker);
        }
        pool_watch_stop(pool, worker, now);
        return urgent;
}
