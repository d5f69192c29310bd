/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the pool share. All of this is called with the pool's lock held; functions that
 * fill a Mail return true if main should hear of it at once. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/mailbox.h"
#include "engine/pool.h"
#include "engine/worker.h"

/* ---- publish.c ---- */

/* Jobs of the turn up to number `n` have begun, which nobody can take back any more. */
bool pool_note_started(Pool *pool, Worker *worker, unsigned n, Mail *mail);

/* Publishes the results of the turn up to number `n` of the `n_begun` that have begun. */
bool pool_publish(Pool *pool, Worker *worker, unsigned n, unsigned n_begun, usec_t now, Mail *mail);

bool pool_post_finished(Pool *pool, Job *job, usec_t now, Mail *mail);
bool pool_post_ended(Pool *pool, Mail *mail, usec_t now); /* what the scheduler ended by itself */
bool pool_post_room(const Pool *pool, Mail *mail); /* is there room for somebody who waits? */

void job_forget_error(Job *job);

/* Puts the stage before the error text of an item that has ended in the pool. */
void pool_name_stage(Pool *pool, Job *job);

/* Frees what publishing has left over: by the worker's own thread, and without the lock. */
void worker_drop_leftovers(Worker *worker, unsigned n);

/* ---- claims.c ---- */

size_t pool_turn_size(const Pool *pool); /* how many jobs a turn may take */

unsigned pool_reclaim_all(Pool *pool); /* takes back what no worker has begun; how many */
bool pool_reclaim_most(Pool *pool);    /* takes back from the worker that has set aside most */

/* Does the job that is next come before one that a worker has set aside? */
bool pool_overtakes_claims(Pool *pool, const Job *job);

/* The worker that has the job, which runs or is claimed; *ret_index is its place in the turn. */
Worker *pool_find_worker(Pool *pool, const Job *job, unsigned *ret_index);

/* Leaves the turn of several jobs with the one that was begun last. */
bool pool_cut_turn(Pool *pool, Worker *worker, usec_t now, Mail *mail);

/* A job in a turn of several becomes a queued, a running or a finished one, to be changed. */
bool pool_settle(Pool *pool, Job *job, usec_t now, Mail *mail);

/* ---- batch.c ---- */

static inline bool pool_has_batches(const Pool *pool) {
        return pool->scheduler.config.batch_size > 1;
}

/* So many jobs came: how many workers could do something of what is queued now? What waits for its
 * key is for nobody. */
uint64_t pool_n_calls(const Pool *pool, uint64_t n_jobs);

/* Tells the breaker of the batch that has ended, which is one call to it. */
void pool_report_batch(Pool *pool, Worker *worker, usec_t now);

/* The batch is out of its time. */
void pool_stop_batch(Pool *pool, Worker *worker, usec_t now);

/* A job of the batch, number i of the turn, was cancelled. */
void pool_cancel_in_batch(Pool *pool, Worker *worker, unsigned i, usec_t now);

/* ---- turn.c ---- */

static inline usec_t pool_run_timeout(const Pool *pool, const Job *job) {
        return job->submission->run_timeout ?: pool->run_timeout;
}

void worker_set_stop(Worker *worker, unsigned i, JobStop stop); /* job i is to stop */
void worker_poke(Worker *worker);                               /* and it is to look */
void pool_watch_stop(Pool *pool, Worker *worker, usec_t now);
bool pool_run_is_due(Pool *pool, Worker *worker, usec_t now, Mail *mail);

/* ---- pool-scale.c ---- */

/* Tells the scaler what has become of the pool, and arms the timer for it. */
void pool_report_scale(Pool *pool, usec_t now);

/* New bounds, and a new configuration if it is another one. */
void pool_set_scale(Pool *pool, const ScalerConfig *config, uint32_t n_min, uint32_t n_max);

static inline bool pool_is_elastic(const Pool *pool) {
        return pool->scaler.strategy;
}

/* ---- staff.c ---- */

void pool_wake_idle(Pool *pool, uint64_t n);

/* Main thread; takes the lock itself. 0, or -errno with as many workers as there could be, which is
 * the target then. */
int pool_resize(Pool *pool, uint32_t n_target);

/* ---- pool-gates.c ---- */

bool pool_is_worth_asking(const Pool *pool); /* is there work for a worker that asked? */
void pool_settle_gates(Pool *pool);
void pool_shut_by_breaker(Pool *pool);

/* Arms the timer for the least moment at which time alone changes something, and reports to the
 * scaler. */
void pool_arm_timer(Pool *pool, usec_t now);

/* There may be work that nobody looks at, and the timer may be due earlier. */
void pool_after_change(Pool *pool);
