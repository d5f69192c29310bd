/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What worker_main() does on a thread in a loop is cut in two here, where the handler works:
 * begin() ends the one half, on_done() begins the other. Both end up in the loop of slot_work(),
 * which neither waits nor calls itself. */

#include <assert.h>

#include "engine/attempt.h"
#include "engine/pool-private.h"
#include "engine/slot.h"

/* After so many calls in a row that could not even be begun others have their turn of the loop. */
#define FAILURES_MAX 64

static void take_results(Worker *slot) {
        for (unsigned i = 0; i < slot->n_jobs; i++)
                worker_attempt_take(slot, i, &slot->attempts[i]);
}

static void on_done(void *userdata) {
        Worker *slot = userdata;

        assert(slot->in_flight);
        slot->in_flight = false;
        slot->call = NULL;
        take_results(slot);
        slot_work(slot);
}

/* True: the call is in flight. False: its verdicts are there already. */
static bool begin(Worker *slot) {
        Pool *pool = slot->pool;

        for (unsigned i = 0; i < slot->n_jobs; i++) {
                slot->results[i].started_at = slot->turn_started_at;
                slot->results[i].duration = USEC_INFINITY;
        }
        if (worker_reserve_attempts(slot) < 0) {
                worker_fail_turn(slot, "no memory for a call");
                return false;
        }
        for (unsigned i = 0; i < slot->n_jobs; i++) {
                Attempt *attempt = &slot->attempts[i].attempt;

                worker_attempt_init(&slot->attempts[i], slot);
                worker_attempt_begin(&slot->attempts[i], slot, i);
                /* Nobody but this thread changes these two. */
                attempt->priority = slot->jobs[i]->priority;
                attempt->run_timeout = usec_sub(slot->run.deadline, slot->run.started_at);
                if (slot->batch)
                        attempt->progress = NULL;
                slot->attempt_list[i] = attempt;
        }
        atomic_store_explicit(&slot->progress, -1.0, memory_order_relaxed);

        if (pool->config->handler->begin(pool->handler, slot->attempt_list, slot->n_jobs, on_done,
                    slot, &slot->call) < 0) {
                slot->call = NULL;
                take_results(slot);
                return false;
        }
        slot->in_flight = true;
        return true;
}

/* Goes on in the next turn of the loop, in which the pool's timer fires. Who has not published what
 * it has done is not idle, so nobody else puts it on a list. */
static void work_later(Worker *slot) {
        Pool *pool = slot->pool;

        pool_lock(pool);
        list_append(&pool->to_wake, &slot->idle_links);
        timer_arm(&pool->timer, 0);
        pool_unlock(pool);
}

void slot_work(Worker *slot) {
        if (slot->pool->desk) {
                lease_slot_woken(slot);
                return;
        }
        for (unsigned n_failed = 0; n_failed < FAILURES_MAX; n_failed++)
                switch (pool_turn(slot->pool, slot, usec_now(CLOCK_MONOTONIC))) {

                case TURN_WORK:
                        if (begin(slot))
                                return;
                        break;

                case TURN_IDLE:
                        return;

                case TURN_LEAVE:
                        /* It is freed when main reads that it has gone. */
                        return;
                }
        work_later(slot);
}

void slot_stop(Worker *slot) {
        Pool *pool = slot->pool;

        if (pool->desk)
                lease_slot_stop(slot);
        else if (slot->in_flight)
                pool->config->handler->stop(pool->handler, slot->call);
}
