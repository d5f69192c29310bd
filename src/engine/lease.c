/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A leased job is one that runs in a slot, and what its holder says of it is the verdict. All that
 * is decided about jobs is decided in the slot's turns, by pool_turn() as for any worker.
 *
 * Other than a worker a slot has no use for jobs of its own. So it is idle, which is what makes a
 * pool ask its limiter for tokens and take jobs, only while it stands by for a call that waits. As
 * many do as calls wait, if there are so many without a job; all others rest. Every function that
 * changes either number ends with settle(), which makes that so again. A slot that finds a job
 * serves the call that is first in line, whichever it stood by for.
 *
 * A pool of leases has no threads, so nobody but main changes its jobs, and main may look at them
 * without the lock. */

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "engine/attempt.h"
#include "engine/engine.h"
#include "engine/lease.h"
#include "engine/pool-private.h"

/* As many as a pool can have slots. Ids of jobs that are leased at one time lie close together. */
#define BUCKETS 1024

struct LeaseDesk {
        Pool *pool; /* borrowed */
        List line;  /* LeaseWatch.links, first come, first served */
        Heap deadlines;
        uint32_t n_waiting;  /* in the line */
        uint32_t n_standing; /* slots that stand by */
        Lease *by_id[BUCKETS];
        Lease *hand[LEASES_MAX]; /* what one call gets */
        uint64_t random[32];     /* tokens that were not given out */
        unsigned n_random;
};

static Worker *slot_of(const Lease *lease) {
        return container_of(lease, Worker, lease);
}

static bool deadline_before(const HeapLink *a, const HeapLink *b, const void *userdata) {
        return container_of(a, LeaseWatch, by_deadline)->deadline <
               container_of(b, LeaseWatch, by_deadline)->deadline;
}

int lease_desk_new(Pool *pool, LeaseDesk **ret) {
        LeaseDesk *desk = calloc(1, sizeof(*desk));

        if (!desk)
                return -ENOMEM;
        desk->pool = pool;
        list_init(&desk->line);
        heap_init(&desk->deadlines, deadline_before, NULL);
        *ret = desk;
        return 0;
}

LeaseDesk *lease_desk_free(LeaseDesk *desk) {
        assert(!desk || desk->n_waiting == 0);
        free(desk);
        return NULL;
}

/* ---- leases ---- */

/* So few bytes are never cut short, and cannot fail once the system has started (getrandom(2)). */
static uint64_t new_token(LeaseDesk *desk) {
        uint64_t token;

        do {
                if (desk->n_random == 0) {
                        while (getrandom(desk->random, sizeof(desk->random), 0) < 0)
                                assert(errno == EINTR);
                        desk->n_random = ELEMENTSOF(desk->random);
                }
                token = desk->random[--desk->n_random];
        } while (token == 0);
        return token;
}

static Lease **bucket_of(LeaseDesk *desk, uint64_t id) {
        return &desk->by_id[id % BUCKETS];
}

/* The slot has taken a job: the holder's from now on. */
static Lease *hand_out(LeaseDesk *desk, Worker *slot, LeaseHolder *holder) {
        Lease **bucket = bucket_of(desk, slot->jobs[0]->id), *lease = &slot->lease;

        slot->results[0].started_at = slot->turn_started_at;
        slot->results[0].duration = USEC_INFINITY;
        atomic_store_explicit(&slot->progress, -1.0, memory_order_relaxed);
        lease->id = slot->jobs[0]->id;
        lease->token = new_token(desk);
        lease->holder = holder;
        lease->next = *bucket;
        *bucket = lease;
        list_append(&holder->leases, &lease->links);
        return lease;
}

static void take_back(LeaseDesk *desk, Lease *lease) {
        Lease **link = bucket_of(desk, lease->id);

        while (*link != lease)
                link = &(*link)->next;
        *link = lease->next;
        list_remove(&lease->links);
        lease->holder = NULL;
}

static Lease *find(const Pool *pool, const LeaseHolder *holder, uint64_t id, uint64_t token) {
        for (Lease *lease = *bucket_of(pool->desk, id); lease; lease = lease->next)
                if (lease->id == id)
                        return lease->token == token && lease->holder == holder ? lease : NULL;
        return NULL;
}

const Job *lease_job(const Lease *lease) {
        return slot_of(lease)->jobs[0];
}

uint32_t lease_attempt(const Lease *lease) {
        return slot_of(lease)->results[0].attempt;
}

/* ---- slots ---- */

/* A turn of a slot that is in no list; what it is in afterwards follows from the aim. */
static Turn take_turn(LeaseDesk *desk, Worker *slot, SlotAim aim, size_t fits) {
        Turn turn;

        slot->aim = aim;
        slot->fits = (uint32_t) MIN(fits, (size_t) UINT32_MAX);
        turn = pool_turn(desk->pool, slot, usec_now(CLOCK_MONOTONIC));
        if (turn != TURN_IDLE)
                return turn;
        if (aim == SLOT_SEEKS) {
                slot->stands_by = true;
                desk->n_standing++;
        } else
                list_prepend(&desk->pool->resting, &slot->idle_links);
        return turn;
}

/* Fills the hand, which has n leases already, up to `max`. Returns how many there are then. */
static size_t fill_hand(LeaseDesk *desk, LeaseHolder *holder, size_t n, size_t max) {
        size_t used = 0;
        List *l;

        for (size_t i = 0; i < n; i++)
                used += lease_job(desk->hand[i])->size + LEASE_OVERHEAD;
        while (n < max && (l = list_first(&desk->pool->resting))) {
                Worker *slot = list_entry(l, Worker, idle_links);
                Turn turn;

                if (n > 0 && used + LEASE_OVERHEAD > LEASE_BYTES_MAX)
                        break;
                list_remove(l);
                turn = take_turn(desk, slot, SLOT_TRIES,
                        n == 0 ? SIZE_MAX : LEASE_BYTES_MAX - used - LEASE_OVERHEAD);
                if (turn == TURN_IDLE)
                        break;
                if (turn == TURN_LEAVE)
                        continue;
                desk->hand[n] = hand_out(desk, slot, holder);
                used += lease_job(desk->hand[n++])->size + LEASE_OVERHEAD;
        }
        return n;
}

static void leave_line(LeaseDesk *desk, LeaseWatch *watch) {
        list_remove(&watch->links);
        if (watch->deadline != USEC_INFINITY)
                heap_remove(&desk->deadlines, &watch->by_deadline);
        desk->n_waiting--;
        watch->pool = NULL;
}

/* The slot has nothing: it finds a job for a call that waits and has nobody who stands by for it,
 * or stands by itself; or it rests. */
static void employ(LeaseDesk *desk, Worker *slot) {
        SlotAim aim = desk->n_waiting > desk->n_standing ? SLOT_SEEKS : SLOT_RESTS;
        LeaseWatch *first;
        size_t n;

        if (take_turn(desk, slot, aim, SIZE_MAX) != TURN_WORK)
                return;
        first = list_entry(list_first(&desk->line), LeaseWatch, links);
        desk->hand[0] = hand_out(desk, slot, first->holder);
        n = fill_hand(desk, first->holder, 1, first->max);
        leave_line(desk, first);
        first->done(first, 0, desk->hand, n);
}

/* A slot that stands by, and was not woken, does not do so any more. False if there is none. */
static bool rest_one(LeaseDesk *desk) {
        Pool *pool = desk->pool;
        Worker *slot = NULL;
        List *l;

        pool_lock(pool);
        l = list_pop(&pool->idle);
        if (l) {
                slot = list_entry(l, Worker, idle_links);
                slot->idle = slot->stands_by = false;
                pool->n_idle--;
                desk->n_standing--;
                list_prepend(&pool->resting, l);
                pool_settle_gates(pool);
        }
        pool_unlock(pool);
        return slot;
}

static void settle(LeaseDesk *desk) {
        List *l;

        while (desk->n_waiting > desk->n_standing && (l = list_pop(&desk->pool->resting)))
                employ(desk, list_entry(l, Worker, idle_links));
        while (desk->n_standing > desk->n_waiting && rest_one(desk))
                ;
}

void lease_slot_woken(Worker *slot) {
        LeaseDesk *desk = slot->pool->desk;

        if (slot->stands_by) {
                slot->stands_by = false;
                desk->n_standing--;
        }
        employ(desk, slot);
        settle(desk);
}

/* ---- ends ---- */

/* The attempt has ended with this outcome and text; NULL: there is nothing to say. */
static void set_verdict(Worker *slot, Outcome outcome, const char *text) {
        WorkerAttempt a;

        worker_attempt_init(&a, slot);
        worker_attempt_begin(&a, slot, 0);
        a.attempt.outcome = outcome;
        if (text)
                attempt_fail(&a.attempt, outcome, "%s", text);
        worker_attempt_take(slot, 0, &a);
}

/* The verdict is there: it is published, and the slot free for others. */
static void end(LeaseDesk *desk, Lease *lease) {
        take_back(desk, lease);
        employ(desk, slot_of(lease));
        settle(desk);
}

static void end_with(LeaseDesk *desk, Lease *lease, Outcome outcome, const char *text) {
        set_verdict(slot_of(lease), outcome, text);
        end(desk, lease);
}

/* What comes next for the slot is found by the pool's timer, when the job is due: the caller is
 * amidst the answer to a call, and other calls are not to fail for the same reason. */
void lease_give_back(Lease *lease) {
        Worker *slot = slot_of(lease);
        LeaseDesk *desk = slot->pool->desk;

        slot->release_delay = 0;
        set_verdict(slot, OUTCOME_RELEASED, NULL);
        take_back(desk, lease);
        (void) take_turn(desk, slot, SLOT_RESTS, 0);
}

int lease_complete(Pool *pool, LeaseHolder *holder, uint64_t id, uint64_t token, bool ok,
        const void *output, size_t size) {
        Lease *lease = find(pool, holder, id, token);
        WorkerAttempt a;
        Worker *slot;

        if (!lease)
                return LEASE_STALE;
        slot = slot_of(lease);
        worker_attempt_init(&a, slot);
        worker_attempt_begin(&a, slot, 0);
        if (ok && size > 0) {
                void *copy = attempt_output_alloc(&a.attempt, size);

                if (!copy)
                        return -ENOMEM;
                memcpy(copy, output, size);
        }
        if (ok)
                a.attempt.outcome = OUTCOME_SUCCESS;
        else if (size > 0)
                attempt_fail(&a.attempt, OUTCOME_FAILURE, "%.*s",
                        (int) MIN(size, (size_t) ATTEMPT_ERROR_MAX), (const char *) output);
        worker_attempt_take(slot, 0, &a);
        end(pool->desk, lease);
        return LEASE_DONE;
}

LeaseAnswer lease_fail(Pool *pool, LeaseHolder *holder, uint64_t id, uint64_t token, bool fatal,
        const char *text) {
        Lease *lease = find(pool, holder, id, token);

        if (!lease)
                return LEASE_STALE;
        end_with(pool->desk, lease, fatal ? OUTCOME_FATAL : OUTCOME_FAILURE, *text ? text : NULL);
        return LEASE_DONE;
}

LeaseAnswer lease_release(
        Pool *pool, LeaseHolder *holder, uint64_t id, uint64_t token, usec_t delay) {
        Lease *lease = find(pool, holder, id, token);

        if (!lease)
                return LEASE_STALE;
        slot_of(lease)->release_delay = delay;
        end_with(pool->desk, lease, OUTCOME_RELEASED, NULL);
        return LEASE_DONE;
}

LeaseAnswer lease_touch(Pool *pool, LeaseHolder *holder, uint64_t id, uint64_t token) {
        Lease *lease = find(pool, holder, id, token);
        Worker *slot;
        usec_t started_at;

        if (!lease)
                return LEASE_STALE;
        slot = slot_of(lease);
        if (slot->jobs[0]->state == JOB_STOPPING) {
                end_with(pool->desk, lease, OUTCOME_FAILURE, NULL);
                return LEASE_CANCELLED;
        }
        pool_lock(pool);
        started_at = slot->run.started_at;
        scheduler_remove_run(&pool->scheduler, &slot->run);
        scheduler_add_run(&pool->scheduler, &slot->run, usec_now(CLOCK_MONOTONIC),
                pool_run_timeout(pool, slot->jobs[0]));
        slot->run.started_at = started_at;
        /* RunTimeout may be shorter than when the job was leased. */
        timer_arm(&pool->timer, slot->run.deadline);
        pool_unlock(pool);
        return LEASE_DONE;
}

void lease_holder_gone(LeaseHolder *holder) {
        List *l;

        while ((l = list_first(&holder->leases))) {
                Lease *lease = list_entry(l, Lease, links);

                end_with(slot_of(lease)->pool->desk, lease, OUTCOME_GONE,
                        "the connection that had leased it has gone");
        }
}

void lease_slot_stop(Worker *slot) {
        LeaseDesk *desk = slot->pool->desk;
        Lease *lease = &slot->lease;
        const Job *job;

        if (!lease->holder)
                return;
        job = lease_job(lease);
        if (job_stop(job) == JOB_STOP_TIMEOUT)
                end_with(desk, lease, OUTCOME_FAILURE,
                        "its lease has ended: nobody touched it within the run time-out");
        else if (slot->overdue)
                end_with(desk, lease, OUTCOME_LOST,
                        "cancelled, and not given back within the stop time-out");
        else
                lease->holder->stopping(lease->holder, slot->pool, lease,
                        job->details && job->details->error ? job->details->error : "cancelled");
}

/* ---- calls ---- */

int lease_refusal(const Pool *pool) {
        const Engine *engine = pool->engine;

        return engine->shutting_down ? -ESHUTDOWN : pool->dismissed && !pool->refit ? -ENOENT : 0;
}

size_t lease_take(Pool *pool, LeaseHolder *holder, size_t max, Lease *const **ret) {
        LeaseDesk *desk = pool->desk;

        /* Slots that are about to come for what those in line wait for; and new ones. */
        pool_wake(pool);
        *ret = desk->hand;
        return desk->n_waiting > 0 ? 0 : fill_hand(desk, holder, 0, max);
}

void lease_watch_init(LeaseWatch *watch) {
        *watch = (LeaseWatch){ .deadline = USEC_INFINITY };
        list_init(&watch->links);
}

/* The pool's timer fires when the first of those who wait has done so for long enough. */
static void arm(LeaseDesk *desk) {
        const HeapLink *first = heap_first(&desk->deadlines);

        if (!first)
                return;
        pool_lock(desk->pool);
        timer_arm(&desk->pool->timer, container_of(first, LeaseWatch, by_deadline)->deadline);
        pool_unlock(desk->pool);
}

void lease_wait(Pool *pool, LeaseHolder *holder, size_t max, usec_t timeout, LeaseWatch *watch,
        void (*done)(LeaseWatch *watch, int result, Lease *const *leases, size_t n)) {
        LeaseDesk *desk = pool->desk;

        watch->pool = pool;
        watch->holder = holder;
        watch->max = max;
        watch->deadline = usec_add(usec_now(CLOCK_MONOTONIC), timeout);
        watch->done = done;
        list_append(&desk->line, &watch->links);
        desk->n_waiting++;
        if (watch->deadline != USEC_INFINITY) {
                heap_insert(&desk->deadlines, &watch->by_deadline);
                arm(desk);
        }
        settle(desk);
}

void lease_unwatch(LeaseWatch *watch) {
        Pool *pool = watch->pool;

        if (!pool)
                return;
        leave_line(pool->desk, watch);
        settle(pool->desk);
}

uint32_t lease_n_waiting(const Pool *pool) {
        return pool->desk ? pool->desk->n_waiting : 0;
}

void lease_timer(Pool *pool, usec_t now) {
        LeaseDesk *desk = pool->desk;
        HeapLink *link;

        while ((link = heap_first(&desk->deadlines))) {
                LeaseWatch *watch = container_of(link, LeaseWatch, by_deadline);

                if (watch->deadline > now)
                        break;
                leave_line(desk, watch);
                watch->done(watch, 0, NULL, 0);
        }
        arm(desk);
        settle(desk);
}

void lease_refuse_waiting(Pool *pool, int result) {
        LeaseDesk *desk = pool->desk;
        List *l;

        while ((l = list_first(&desk->line))) {
                LeaseWatch *watch = list_entry(l, LeaseWatch, links);

                leave_line(desk, watch);
                watch->done(watch, result, NULL, 0);
        }
        settle(desk);
}
