/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A job is in exactly one place by its state: scheduled in the heap by due_at, queued in its
 * owner's queue (or parked for its key, or claimed by a worker), running or stopping at a worker.
 * Those with a QueueTimeout are in a second heap as long as they wait. So each event touches O(1)
 * or O(log n) of them.
 *
 * Each thread reads the clock before it waits for the lock, so what the scheduler is told as `now`
 * can go back a little. For the base of a key the latest moment counts: new jobs are never due
 * before those that are in, which is what lets them be appended.
 *
 * Owners with queued jobs form a ring of turns. An owner joins it at the end, however long it was
 * away, so nobody saves up turns.
 *
 * A batch is no container that jobs are put into, but a condition for a take. So nothing has to be
 * flushed, a job that leaves the queue leaves no hole, and the time-out is that of the oldest job
 * that is queued at the moment, not of a timer that was set for another one. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "core/pipeline.h"
#include "core/scheduler.h"
#include "util/macro.h"

/* An owner without a job is forgotten only beyond so many, so that a user who comes and goes finds
 * its queue ready. */
#define IDLE_OWNERS_MAX 64

static Job *job_of_order(const HeapLink *link) {
        return container_of(link, JobDetails, order)->job;
}

static Job *job_of_expiry(const HeapLink *link) {
        return container_of(link, JobDetails, expiry)->job;
}

/* A job that was started once does not expire any more. */
static bool job_may_expire(const Job *job) {
        return job->submission->queue_timeout != USEC_INFINITY && !job_was_begun(job) &&
               !job->details->kicked && job_is_at_first_stage(job);
}

static usec_t job_expires_at(const Job *job) {
        return usec_add(job->submission->submitted_at, job->submission->queue_timeout);
}

static bool ready_before(const HeapLink *a, const HeapLink *b, const void *userdata) {
        const Job *ja = job_of_order(a), *jb = job_of_order(b);
        usec_t ta = ja->details->ready_at, tb = jb->details->ready_at;

        return ta != tb ? ta < tb : ja->id < jb->id;
}

static bool expires_before(const HeapLink *a, const HeapLink *b, const void *userdata) {
        const Job *ja = job_of_expiry(a), *jb = job_of_expiry(b);
        usec_t ta = job_expires_at(ja), tb = job_expires_at(jb);

        return ta != tb ? ta < tb : ja->id < jb->id;
}

/* ---- owners ---- */

static SchedulerOwner *owner_free(SchedulerOwner *owner) {
        if (!owner)
                return NULL;
        prioq_done(&owner->queue);
        free(owner);
        return NULL;
}

static int owner_new(uint32_t uid, usec_t aging_interval, SchedulerOwner **ret) {
        SchedulerOwner *owner = calloc(1, sizeof(*owner));
        int r;

        if (!owner)
                return -ENOMEM;
        r = prioq_init(&owner->queue, aging_interval);
        if (r < 0) {
                free(owner);
                return r;
        }
        owner->uid = uid;
        list_init(&owner->turn);
        *ret = owner;
        return 0;
}

/* The index of the owner, or the place where it belongs. */
static size_t owner_index(const Scheduler *s, uint32_t uid) {
        size_t low = 0, high = s->n_owners;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (s->owners[middle]->uid < uid)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static void owners_forget_idle(Scheduler *s) {
        size_t kept = 0;

        for (size_t i = 0; i < s->n_owners; i++)
                if (s->owners[i]->n_live == 0)
                        owner_free(s->owners[i]);
                else
                        s->owners[kept++] = s->owners[i];
        s->n_owners = kept;
}

static SchedulerOwner *owner_find(const Scheduler *s, uint32_t uid) {
        size_t i;

        if (!s->config.fair)
                return s->owners[0];
        i = owner_index(s, uid);
        return i < s->n_owners && s->owners[i]->uid == uid ? s->owners[i] : NULL;
}

static int owner_get(Scheduler *s, uint32_t uid, SchedulerOwner **ret) {
        SchedulerOwner *owner = owner_find(s, uid), **owners;
        size_t i;
        int r;

        if (owner) {
                *ret = owner;
                return 0;
        }
        if (s->n_owners >= IDLE_OWNERS_MAX)
                owners_forget_idle(s);
        owners = reallocarray(s->owners, s->n_owners + 1, sizeof(*owners));
        if (!owners)
                return -ENOMEM;
        s->owners = owners;
        r = owner_new(uid, s->config.aging_interval, &owner);
        if (r < 0)
                return r;
        i = owner_index(s, uid);
        memmove(owners + i + 1, owners + i, (s->n_owners - i) * sizeof(*owners));
        owners[i] = owner;
        s->n_owners++;
        *ret = owner;
        return 0;
}

static SchedulerOwner *owner_of(const Scheduler *s, const Job *job) {
        return owner_find(s, job->submission->owner);
}

/* Keeps the ring true after the owner's queue has changed. */
static void owner_update_turn(Scheduler *s, SchedulerOwner *owner) {
        if (owner->queue.n_jobs == 0)
                list_remove(&owner->turn);
        else if (!list_is_linked(&owner->turn))
                list_append(&s->turns, &owner->turn);
}

static SchedulerOwner *owner_in_turn(const Scheduler *s) {
        List *l = list_first(&s->turns);

        return l ? list_entry(l, SchedulerOwner, turn) : NULL;
}

/* ---- life ---- */

int scheduler_init(Scheduler *s, const SchedulerConfig *config) {
        int r;

        *s = (Scheduler){ .config = *config };
        list_init(&s->turns);
        list_init(&s->runs);
        list_init(&s->line);
        heap_init(&s->scheduled, ready_before, NULL);
        heap_init(&s->expiring, expires_before, NULL);

        r = keys_init(&s->keys, config->key_concurrency, config->aging_interval);
        if (r < 0)
                return r;
        if (!config->fair) {
                s->owners = calloc(1, sizeof(*s->owners));
                if (!s->owners || owner_new(0, config->aging_interval, &s->owners[0]) < 0) {
                        scheduler_done(s);
                        return -ENOMEM;
                }
                s->n_owners = 1;
        }
        return 0;
}

void scheduler_done(Scheduler *s) {
        for (size_t i = 0; i < s->n_owners; i++)
                owner_free(s->owners[i]);
        free(s->owners);
        keys_done(&s->keys);
        *s = (Scheduler){};
}

/* ---- the queue ---- */

static void queue_add(Scheduler *s, Job *job) {
        SchedulerOwner *owner = owner_of(s, job);

        if (unlikely(job_was_begun(job)))
                prioq_push_aside(&owner->queue, job);
        else
                prioq_push(&owner->queue, job);
        owner_update_turn(s, owner);
}

/* Sees to it that the right one of the key's jobs is in the queue. An owner of whom another one
 * comes in keeps its turn. */
static void key_settle(Scheduler *s, Key *key) {
        Job *in, *out = keys_overtaken(&s->keys, key);

        if (unlikely(out)) {
                prioq_remove(&owner_of(s, out)->queue, out);
                keys_park(&s->keys, out);
        }
        in = keys_promote(&s->keys, key);
        if (in)
                queue_add(s, in);
        if (unlikely(out))
                owner_update_turn(s, owner_of(s, out));
}

/* The same for a job that has a key and has become queued. */
static void queue_add_keyed(Scheduler *s, Job *job) {
        if (job_keeps_key(job) || keys_offer(&s->keys, job)) {
                queue_add(s, job);
                return;
        }
        keys_park(&s->keys, job);
        key_settle(s, job_key(job));
}

/* The job has no part in its key for now. */
static void key_release(Scheduler *s, Job *job) {
        keys_release(&s->keys, job);
        key_settle(s, job_key(job));
}

void scheduler_set_config(Scheduler *s, const SchedulerConfig *config) {
        bool fair = s->config.fair;

        if (config->aging_interval != s->config.aging_interval) {
                for (size_t i = 0; i < s->n_owners; i++)
                        prioq_set_aging_interval(&s->owners[i]->queue, config->aging_interval);
                prioq_set_aging_interval(&s->keys.parked, config->aging_interval);
        }
        if (config->key_concurrency != s->config.key_concurrency) {
                keys_set_concurrency(&s->keys, config->key_concurrency);
                for (Key *key = s->keys.by_text; key; key = key->hh.next)
                        key_settle(s, key);
        }
        s->config = *config;
        s->config.fair = fair;
}

/* ---- in ---- */

/* The job is queued from now on. */
static void enqueue(Scheduler *s, Job *job) {
        job_transition(job, JOB_EVENT_QUEUE);
        s->n_queued++;
        if (unlikely(job_key(job)))
                queue_add_keyed(s, job);
        else
                queue_add(s, job);
}

/* To the scheduled ones, until details->ready_at. */
static void postpone(Scheduler *s, Job *job) {
        job_transition(job, JOB_EVENT_DELAY);
        heap_insert(&s->scheduled, &job->details->order);
        s->n_scheduled++;
        s->n_backoff += job_was_begun(job);
}

static void leave_scheduled(Scheduler *s, Job *job) {
        heap_remove(&s->scheduled, &job->details->order);
        s->n_scheduled--;
        s->n_backoff -= job_was_begun(job);
}

void scheduler_submit(Scheduler *s, Job *job, usec_t now) {
        usec_t delay = job->submission->delay;

        if (unlikely(delay > 0) && !job_is_at_first_stage(job))
                delay = 0;
        s->counters.submitted++;
        owner_of(s, job)->n_live++;
        s->latest = MAX(s->latest, now);
        job->due_at = usec_add(s->latest, delay);
        if (unlikely(job->submission->concurrency_key))
                keys_enter(&s->keys, job);
        if (unlikely(job_may_expire(job)))
                heap_insert(&s->expiring, &job->details->expiry);
        if (unlikely(delay > 0)) {
                job->details->ready_at = job->due_at;
                postpone(s, job);
        } else
                enqueue(s, job);
}

void scheduler_submit_all(Scheduler *s, Job *const *jobs, size_t n, usec_t now) {
        SchedulerOwner *owner = owner_of(s, jobs[0]);

        /* With a delay, a time-out or a key they have them. */
        if (unlikely(jobs[0]->details)) {
                for (size_t i = 0; i < n; i++)
                        scheduler_submit(s, jobs[i], now);
                return;
        }
        s->counters.submitted += n;
        s->n_queued += n;
        owner->n_live += n;
        s->latest = MAX(s->latest, now);
        for (size_t i = 0; i < n; i++) {
                job_transition(jobs[i], JOB_EVENT_QUEUE);
                jobs[i]->due_at = s->latest;
        }
        prioq_push_all(&owner->queue, jobs, n);
        owner_update_turn(s, owner);
}

/* A job that was at work before has kept the one place of its key. */
static void restore_key_place(Scheduler *s, Job *job) {
        keys_hold(&s->keys, job);
        (void) keys_back_off(&s->keys, job);
        key_settle(s, job_key(job));
}

void scheduler_restore(Scheduler *s, Job *job, usec_t now) {
        s->counters.submitted++;
        owner_of(s, job)->n_live++;
        s->latest = MAX(s->latest, now);
        if (unlikely(job->submission->concurrency_key)) {
                keys_enter(&s->keys, job);
                if (job_was_begun(job))
                        restore_key_place(s, job);
        }
        if (unlikely(job_may_expire(job)))
                heap_insert(&s->expiring, &job->details->expiry);
        if (job->details && job->details->ready_at > s->latest)
                postpone(s, job);
        else
                enqueue(s, job);
}

/* ---- out ---- */

/* The job is nobody's in front of another one with its key any more. */
static void key_leave(Scheduler *s, Job *job) {
        key_release(s, job);
        keys_leave(&s->keys, job);
}

/* Has it done what it was here for, and has more to do elsewhere? */
static bool passes_on(const Job *job, JobResult result) {
        const Pipeline *pipeline = job->submission->pipeline;

        return unlikely(pipeline) && result == JOB_SUCCEEDED &&
               pipeline_goes_on(pipeline, job->stage);
}

/* The last step of every job: counted under its result, and gone from its key and its owner. That
 * somebody wanted it cancelled is kept for the next stage. */
static inline void conclude(Scheduler *s, Job *job, JobResult result) {
        if (passes_on(job, result)) {
                job_transition(job, JOB_EVENT_PASS);
                job->flags &= (uint8_t) ~JOB_STOP_BY_TIMEOUT;
        } else
                job_finish(job, result);
        if (unlikely(job_key(job)))
                key_leave(s, job);
        owner_of(s, job)->n_live--;
        s->counters.results[result]++;
}

void scheduler_turn_away(Scheduler *s, Job *job, JobResult result) {
        assert(job->state == JOB_PASSING || job->state == JOB_NEW);
        job_finish(job, result);
        s->counters.submitted++;
        s->counters.results[result]++;
}

static void forget_expiry(Scheduler *s, Job *job) {
        if (unlikely(job_may_expire(job)))
                heap_remove(&s->expiring, &job->details->expiry);
}

/* Ends a job that waits and is not claimed. */
static void conclude_waiting(Scheduler *s, Job *job, JobResult result) {
        SchedulerOwner *owner = owner_of(s, job);

        forget_expiry(s, job);
        if (job->state == JOB_SCHEDULED)
                leave_scheduled(s, job);
        else {
                if (likely(!job_is_parked(job)))
                        prioq_remove(&owner->queue, job);
                s->n_queued--;
        }
        conclude(s, job, result);
        owner_update_turn(s, owner);
}

/* Ends a job of which nobody has heard yet: those who call ask for it by scheduler_ended(). */
static void end_waiting(Scheduler *s, Job *job, JobResult result) {
        conclude_waiting(s, job, result);
        job->next = s->ended;
        s->ended = job;
}

/* ---- room ---- */

/* Queued, not set aside by a worker, and not waiting for its key. */
static uint64_t n_unclaimed(const Scheduler *s) {
        uint64_t n = s->keys.n_ready;

        for (size_t i = 0; i < s->n_owners; i++)
                n += s->owners[i]->queue.n_jobs;
        return n;
}

static bool has_room(const Scheduler *s, uint64_t n) {
        return n <= s->config.queue_max && scheduler_n_waiting(s) <= s->config.queue_max - n;
}

static int by_age(const void *a, const void *b) {
        const Job *ja = *(Job *const *) a, *jb = *(Job *const *) b;

        if (ja->due_at != jb->due_at)
                return ja->due_at < jb->due_at ? -1 : 1;
        return ja->id < jb->id ? -1 : ja->id > jb->id;
}

/* The last one comes first. All owners have the same interval, so any queue can tell. */
static int by_order_reversed(const void *a, const void *b, void *queue) {
        const Job *ja = *(Job *const *) a, *jb = *(Job *const *) b;

        if (ja == jb)
                return 0;
        return prioq_before(queue, ja, jb) ? 1 : -1;
}

/* Finds n jobs to be dropped, the right ones first. Returns how many there are, at most n, or
 * -ENOMEM; *ret is the caller's to free. */
static ssize_t find_victims(Scheduler *s, uint64_t n, Job ***ret) {
        PrioqEnd end = s->config.overflow == OVERFLOW_DROP_OLDEST ? PRIOQ_OLDEST : PRIOQ_LAST;
        size_t max = prioq_collect_max(&s->keys.parked, n), k;
        Job **jobs;

        for (size_t i = 0; i < s->n_owners; i++)
                max += prioq_collect_max(&s->owners[i]->queue, n);
        jobs = malloc(MAX(max, (size_t) 1) * sizeof(*jobs));
        if (!jobs)
                return -ENOMEM;
        k = prioq_collect(&s->keys.parked, end, n, jobs);
        for (size_t i = 0; i < s->n_owners; i++)
                k += prioq_collect(&s->owners[i]->queue, end, n, jobs + k);
        if (k > 0 && end == PRIOQ_OLDEST)
                qsort(jobs, k, sizeof(*jobs), by_age);
        else if (k > 0)
                qsort_r(jobs, k, sizeof(*jobs), by_order_reversed, &s->owners[0]->queue);
        *ret = jobs;
        return (ssize_t) MIN(k, n);
}

/* Would a job of this priority, submitted now, be taken before this one? */
static bool is_more_urgent(const Scheduler *s, int16_t priority, const Job *than) {
        const Job job = { .id = JOB_ID_MAX, .due_at = s->latest, .priority = priority };

        return prioq_before(&s->owners[0]->queue, &job, than);
}

/* Drops waiting jobs so that n fit, or none. 1 if there is room now, 0 if not, -ENOMEM. */
static int make_room(Scheduler *s, uint64_t n, int16_t priority, unsigned flags) {
        Job **victims;
        uint64_t wanted;
        ssize_t found;

        if (s->config.overflow == OVERFLOW_REJECT || s->config.overflow == OVERFLOW_WAIT ||
                n > s->config.queue_max || (flags & ADMIT_NO_DROP))
                return 0;
        wanted = scheduler_n_waiting(s) - (s->config.queue_max - n);
        found = find_victims(s, wanted, &victims);
        if (found < 0)
                return (int) found;
        if (s->config.overflow == OVERFLOW_DROP_LOWEST)
                for (ssize_t i = 0; i < found; i++)
                        if (!is_more_urgent(s, priority, victims[i]))
                                found = i;
        if ((uint64_t) found == wanted)
                for (ssize_t i = 0; i < found; i++)
                        end_waiting(s, victims[i], JOB_DROPPED);
        free(victims);
        return (uint64_t) found == wanted;
}

int scheduler_reserve(Scheduler *s, const Submission *submission, int16_t priority) {
        SchedulerOwner *owner;
        int r;

        r = owner_get(s, submission->owner, &owner);
        if (r >= 0)
                r = prioq_reserve(&owner->queue, priority);
        if (r >= 0 && unlikely(submission->concurrency_key))
                r = keys_reserve(&s->keys, submission->concurrency_key, priority);
        return r;
}

bool scheduler_needs_details(const Scheduler *s, const Job *job, usec_t due_at) {
        return prioq_is_late(&owner_of(s, job)->queue, job->priority, due_at, job->id);
}

static AdmitVerdict refuse(Scheduler *s, AdmitVerdict verdict, uint64_t n, unsigned flags) {
        if (verdict != ADMIT_FULL || !(flags & ADMIT_MAY_WAIT))
                s->counters.rejected += n;
        return verdict;
}

int scheduler_admit(
        Scheduler *s, uint64_t n, const Submission *submission, int16_t priority, unsigned flags) {
        int r;

        if (s->draining)
                return refuse(s, ADMIT_DRAINING, n, flags);
        if (!list_is_empty(&s->line) && !(flags & ADMIT_SERVED))
                return refuse(s, ADMIT_FULL, n, flags);
        r = scheduler_reserve(s, submission, priority);
        if (r < 0)
                return r;
        if (!has_room(s, n)) {
                r = make_room(s, n, priority, flags);
                if (r < 0)
                        return r;
                if (r == 0)
                        return refuse(s, ADMIT_FULL, n, flags);
        }
        return ADMIT_YES;
}

void scheduler_reject(Scheduler *s, uint64_t n) {
        s->counters.rejected += n;
}

void scheduler_promise(Scheduler *s, uint64_t n) {
        s->n_promised += n;
}

void scheduler_end_promise(Scheduler *s, uint64_t n) {
        assert(n <= s->n_promised);
        s->n_promised -= n;
}

void scheduler_line_join(Scheduler *s, AdmitWaiter *waiter) {
        list_append(&s->line, &waiter->links);
}

void scheduler_line_leave(Scheduler *s, AdmitWaiter *waiter) {
        list_remove(&waiter->links);
        s->counters.rejected += waiter->n;
}

bool scheduler_line_is_due(const Scheduler *s) {
        const List *l = list_first(&s->line);
        const AdmitWaiter *waiter;

        if (!l)
                return false;
        waiter = list_entry(l, AdmitWaiter, links);
        return s->draining || waiter->n > s->config.queue_max || has_room(s, waiter->n);
}

AdmitWaiter *scheduler_line_serve(Scheduler *s) {
        return scheduler_line_is_due(s) ? list_entry(list_pop(&s->line), AdmitWaiter, links) : NULL;
}

/* ---- time ---- */

void scheduler_advance(Scheduler *s, usec_t now) {
        HeapLink *link;

        s->latest = MAX(s->latest, now);
        while ((link = heap_first(&s->expiring)) && job_expires_at(job_of_expiry(link)) <= now) {
                Job *job = job_of_expiry(link);

                end_waiting(s, job, JOB_EXPIRED);
        }
        while ((link = heap_first(&s->scheduled))) {
                Job *job = job_of_order(link);

                if (job->details->ready_at > now)
                        break;
                leave_scheduled(s, job);
                enqueue(s, job);
        }
}

Job *scheduler_ended(Scheduler *s) {
        return TAKE_PTR(s->ended);
}

/* The owner has had its turn: on to the end of the ring, which alone in it is where it is. */
static void owner_pass_turn(Scheduler *s, SchedulerOwner *owner) {
        if (likely(owner->turn.next == owner->turn.prev && owner->queue.n_jobs > 0))
                return;
        list_remove(&owner->turn);
        owner_update_turn(s, owner);
}

/* Takes the first job of the owner, whose turn it is. */
static Job *claim(Scheduler *s, SchedulerOwner *owner) {
        Job *job = prioq_pop(&owner->queue);

        owner_pass_turn(s, owner);
        forget_expiry(s, job);
        job->flags |= JOB_CLAIMED;
        if (unlikely(job_key(job))) {
                keys_take(&s->keys, job);
                key_settle(s, job_key(job));
        }
        return job;
}

/* Takes the first jobs of the owner, up to `max` in his turn. */
static size_t claim_some(Scheduler *s, SchedulerOwner *owner, size_t max, Job **ret) {
        size_t n;

        /* The next one is another owner's, or depends on what becomes of this one's key. */
        if (owner->turn.next != owner->turn.prev || unlikely(keys_are_in_use(&s->keys))) {
                *ret = claim(s, owner);
                return 1;
        }
        n = prioq_pop_some(&owner->queue, max, ret);
        owner_update_turn(s, owner);
        for (size_t i = 0; i < n; i++) {
                forget_expiry(s, ret[i]);
                ret[i]->flags |= JOB_CLAIMED;
        }
        return n;
}

/* Jobs that are taken make room for somebody who waits for it. */
static bool is_full(const Scheduler *s) {
        return scheduler_n_waiting(s) >= s->config.queue_max || !list_is_empty(&s->line);
}

static usec_t oldest_times_out_at(const Scheduler *s) {
        usec_t oldest = USEC_INFINITY;

        list_for_each (l, &s->turns)
                oldest = MIN(oldest, prioq_oldest(&list_entry(l, SchedulerOwner, turn)->queue));
        return usec_add(oldest, s->config.batch_timeout);
}

bool scheduler_gathers(const Scheduler *s) {
        return s->config.batch_size > 1 && !list_is_empty(&s->turns) && !s->draining &&
               !is_full(s) && n_unclaimed(s) < s->config.batch_size &&
               oldest_times_out_at(s) > s->latest;
}

usec_t scheduler_batch_at(const Scheduler *s) {
        return !s->paused && scheduler_gathers(s) ? oldest_times_out_at(s) : USEC_INFINITY;
}

static TakeVerdict take_nothing(const Scheduler *s, usec_t until, usec_t *ret_until) {
        until = MIN(until, scheduler_wake_at(s));
        if (until == USEC_INFINITY)
                return TAKE_NEVER;
        *ret_until = until;
        return TAKE_UNTIL;
}

static TakeVerdict take_batch(Scheduler *s, usec_t now, const Gates *gates, size_t max,
        Job **ret_jobs, size_t *ret_n, usec_t *ret_until) {
        SchedulerOwner *owner = owner_in_turn(s);
        usec_t until;
        size_t n = 0;

        if (!scheduler_has_work(s))
                return take_nothing(s, scheduler_batch_at(s), ret_until);
        if (gates) {
                until = gates->pass(gates->userdata, prioq_first(&owner->queue), now);
                if (until > 0)
                        return take_nothing(s, until, ret_until);
        }

        max = MIN(max, s->config.batch_size);
        do
                n += claim_some(s, owner, max - n, ret_jobs + n);
        while (n < max && (owner = owner_in_turn(s)));
        for (size_t i = 0; i < n; i++)
                scheduler_start(s, ret_jobs[i]);
        *ret_n = n;
        return TAKE_JOBS;
}

TakeVerdict scheduler_take(Scheduler *s, usec_t now, const Gates *gates, size_t max, Job **ret_jobs,
        size_t *ret_n, usec_t *ret_until) {
        usec_t until = USEC_INFINITY;
        size_t n = 0;

        scheduler_advance(s, now);
        if (unlikely(s->config.batch_size > 1))
                return take_batch(s, now, gates, max, ret_jobs, ret_n, ret_until);

        while (n < max && !s->paused) {
                SchedulerOwner *owner = owner_in_turn(s);

                if (!owner)
                        break;
                if (likely(!gates)) {
                        n += claim_some(s, owner, max - n, ret_jobs + n);
                        continue;
                }
                until = gates->pass(gates->userdata, prioq_first(&owner->queue), now);
                if (until > 0)
                        break;
                ret_jobs[n++] = claim(s, owner);
        }

        if (n > 0) {
                scheduler_start(s, ret_jobs[0]);
                *ret_n = n;
                return TAKE_JOBS;
        }
        return take_nothing(s, until, ret_until);
}

void scheduler_start(Scheduler *s, Job *job) {
        assert(job->flags & JOB_CLAIMED);
        job->flags &= (uint8_t) ~JOB_CLAIMED;
        job_transition(job, JOB_EVENT_START);
        s->n_queued--;
        s->n_running++;
}

void scheduler_unclaim(Scheduler *s, Job *job) {
        SchedulerOwner *owner = owner_of(s, job);

        assert(job->flags & JOB_CLAIMED);
        job->flags &= (uint8_t) ~JOB_CLAIMED;
        if (unlikely(job_may_expire(job)))
                heap_insert(&s->expiring, &job->details->expiry);
        if (likely(!job_key(job)))
                prioq_unpop(&owner->queue, job);
        else {
                if (!job_keeps_key(job))
                        keys_release(&s->keys, job);
                queue_add_keyed(s, job);
        }
        list_remove(&owner->turn);
        if (likely(owner->queue.n_jobs > 0))
                list_prepend(&s->turns, &owner->turn);
}

/* Should the job, whose attempt has just ended, have another one? */
static RetryVerdict ask_retry(
        const Scheduler *s, const Job *job, Outcome outcome, uint64_t random, usec_t *ret_delay) {
        const JobDetails *details = job->details;
        RetryConfig config = s->config.retry;
        RetryStats stats = { .attempts = details->attempt, .asked = details->asked };

        if (job->submission->max_attempts > 0)
                config.max_attempts = job->submission->max_attempts;
        return retry_ask(&config, &stats, outcome,
                job->flags & JOB_STOP_BY_CANCEL ? JOB_STOP_CANCEL : job_stop(job), random,
                ret_delay);
}

/* A job that was at work waits from now on, with its old place in the queue after ready_at. */
static void put_back(Scheduler *s, Job *job, usec_t ready_at) {
        JobDetails *details = job->details;

        job->flags &= (uint8_t) ~(JOB_STOP_BY_CANCEL | JOB_STOP_BY_TIMEOUT);
        details->ready_at = ready_at;
        if (unlikely(details->key) && !keys_back_off(&s->keys, job))
                key_settle(s, details->key);
        postpone(s, job);
}

/* Is there no later, since the daemon stops? For durable jobs there is. */
static bool is_last_chance(const Scheduler *s, const Job *job) {
        return s->ending && !job->submission->durable;
}

bool scheduler_finish(Scheduler *s, Job *job, Outcome outcome, usec_t now, uint64_t random) {
        JobDetails *details = job->details;
        usec_t delay;

        if (job->flags & JOB_CLAIMED)
                scheduler_start(s, job);
        s->n_running--;
        if (details) {
                details->attempt++;
                details->asked += outcome == OUTCOME_RETRY || outcome == OUTCOME_GONE;
        }
        if (outcome == OUTCOME_SUCCESS || !details || is_last_chance(s, job) || job_is_once(job) ||
                ask_retry(s, job, outcome, random, &delay) == RETRY_NOT) {
                conclude(s, job, job_result_of(job, outcome));
                return true;
        }

        s->counters.retried++;
        put_back(s, job, usec_add(now, delay));
        return false;
}

bool scheduler_release(Scheduler *s, Job *job, usec_t now, usec_t delay) {
        s->n_running--;
        if (!job->details || is_last_chance(s, job) || job->state == JOB_STOPPING) {
                conclude(s, job, job->details ? JOB_CANCELLED : JOB_LOST);
                return true;
        }
        job->details->released = true;
        put_back(s, job, usec_add(now, delay));
        return false;
}

void scheduler_kick(Scheduler *s, Job *job, usec_t now) {
        assert(job->state == JOB_FINISHED);

        job->state = JOB_NEW;
        job->flags &= (uint8_t) ~(JOB_STOP_BY_CANCEL | JOB_STOP_BY_TIMEOUT);
        job->details->attempt = job->details->asked = 0;
        job->details->kicked = true;
        job->details->released = false;
        s->counters.submitted++;
        s->latest = MAX(s->latest, now);
        owner_of(s, job)->n_live++;
        job->due_at = s->latest;
        if (unlikely(job->submission->concurrency_key))
                keys_enter(&s->keys, job);
        enqueue(s, job);
}

CancelVerdict scheduler_cancel(Scheduler *s, Job *job) {
        assert(!(job->flags & JOB_CLAIMED));

        switch ((JobState) job->state) {

        case JOB_SCHEDULED:
        case JOB_QUEUED:
                conclude_waiting(s, job, JOB_CANCELLED);
                return CANCEL_FINISHED;

        case JOB_RUNNING:
                job_transition(job, JOB_EVENT_STOP);
                job->flags |= JOB_STOP_BY_CANCEL;
                return CANCEL_ASKED;

        case JOB_STOPPING:
                /* It is told already; but out of its time it would have another attempt. */
                job->flags |= JOB_STOP_BY_CANCEL;
                return CANCEL_NOTHING;

        case JOB_PASSING:
                job->flags |= JOB_STOP_BY_CANCEL;
                return CANCEL_NOTED;

        case JOB_NEW:
        case JOB_FINISHED:
        case _JOB_STATE_MAX:
        case _JOB_STATE_INVALID:
                break;
        }
        return CANCEL_NOTHING;
}

bool scheduler_refuse(Scheduler *s, Job *job) {
        if (job->state != JOB_QUEUED || (job->flags & JOB_CLAIMED))
                return false;
        conclude_waiting(s, job, JOB_REFUSED);
        return true;
}

bool scheduler_stop_timed_out(Scheduler *s, Job *job) {
        if (job->state != JOB_RUNNING)
                return false;
        job_transition(job, JOB_EVENT_STOP);
        job->flags |= JOB_STOP_BY_TIMEOUT;
        return true;
}

int scheduler_set_priority(Scheduler *s, Job *job, int16_t priority) {
        Prioq *parked = &s->keys.parked, *queue = &owner_of(s, job)->queue;
        int r;

        /* It is on its way from here, and keeps it. */
        if (job->state == JOB_PASSING) {
                job->priority = priority;
                return 0;
        }
        r = prioq_reserve(queue, priority);
        if (r >= 0 && job_key(job))
                r = prioq_reserve(parked, priority);
        if (r < 0)
                return r;
        if (job->state != JOB_QUEUED) {
                job->priority = priority;
                return 0;
        }
        assert(!(job->flags & JOB_CLAIMED));
        if (job_is_parked(job))
                queue = parked;
        prioq_remove(queue, job);
        job->priority = priority;
        if (job_was_begun(job))
                prioq_push_aside(queue, job);
        else
                prioq_push(queue, job);
        return 0;
}

/* ---- runs ---- */

void scheduler_add_run(Scheduler *s, Run *run, usec_t now, usec_t timeout) {
        List *after = s->runs.prev;

        run->started_at = now;
        run->deadline = usec_add(now, timeout);
        /* Time-outs of one pool are mostly equal, so the place is at or near the end. */
        while (after != &s->runs && list_entry(after, Run, links)->deadline > run->deadline)
                after = after->prev;
        list_insert(after, &run->links, after->next);
}

void scheduler_remove_run(Scheduler *s, Run *run) {
        list_remove(&run->links);
}

Run *scheduler_first_run(const Scheduler *s) {
        List *l = list_first(&s->runs);

        return l ? list_entry(l, Run, links) : NULL;
}

/* ---- questions ---- */

usec_t scheduler_wake_at(const Scheduler *s) {
        const HeapLink *link;
        const Run *run;
        usec_t t = USEC_INFINITY;

        if ((link = heap_first(&s->scheduled)))
                t = MIN(t, job_of_order(link)->details->ready_at);
        if ((link = heap_first(&s->expiring)))
                t = MIN(t, job_expires_at(job_of_expiry(link)));
        if ((run = scheduler_first_run(s)))
                t = MIN(t, run->deadline);
        return t;
}

bool scheduler_has_work(const Scheduler *s) {
        return !s->paused && !list_is_empty(&s->turns) && !scheduler_gathers(s);
}

Job *scheduler_next(const Scheduler *s) {
        SchedulerOwner *owner = owner_in_turn(s);

        return owner ? prioq_first(&owner->queue) : NULL;
}

bool scheduler_is_next(const Scheduler *s, const Job *job) {
        return scheduler_next(s) == job;
}

/* Jobs of other owners that are taken before the one that has n of its own owner before it: in each
 * round each owner gives one. */
static uint64_t n_before_in_turns(const Scheduler *s, const SchedulerOwner *owner, uint64_t n) {
        uint64_t n_before = 0;
        bool passed = false;

        list_for_each (l, &s->turns) {
                const SchedulerOwner *other = list_entry(l, SchedulerOwner, turn);

                if (other == owner)
                        passed = true;
                else
                        n_before += MIN(other->queue.n_jobs, n + !passed);
        }
        return n_before;
}

uint64_t scheduler_position(const Scheduler *s, const Job *job, uint64_t max) {
        const SchedulerOwner *owner = owner_of(s, job);
        uint64_t n = scheduler_n_ready(s) - n_unclaimed(s), n_own;

        if (job->flags & JOB_CLAIMED)
                return 1;
        if (unlikely(job_is_parked(job)))
                return keys_position(job, max);
        if (job->state == JOB_SCHEDULED)
                n = s->n_queued;
        else if (n < max) {
                n_own = prioq_count_before(&owner->queue, job, max - n);
                n += n_own + n_before_in_turns(s, owner, n_own);
        }
        return n + 1 < max ? n + 1 : max;
}

uint64_t scheduler_n_eligible(const Scheduler *s) {
        return s->paused ? 0 : n_unclaimed(s);
}

usec_t scheduler_oldest_wait(const Scheduler *s, usec_t now) {
        usec_t since = USEC_INFINITY;

        for (size_t i = 0; i < s->n_owners && !s->paused; i++)
                since = MIN(since, prioq_oldest(&s->owners[i]->queue));
        return usec_sub(now, since);
}

bool scheduler_counters_add_up(const Scheduler *s) {
        uint64_t sum = s->n_scheduled + s->n_queued + s->n_running;

        for (int i = 0; i < _JOB_RESULT_MAX; i++)
                sum += s->counters.results[i];
        return sum == s->counters.submitted;
}

static const char *const overflow_names[_OVERFLOW_MAX] = {
        [OVERFLOW_REJECT] = "reject",
        [OVERFLOW_WAIT] = "wait",
        [OVERFLOW_DROP_OLDEST] = "drop-oldest",
        [OVERFLOW_DROP_LOWEST] = "drop-lowest",
};

const char *overflow_to_string(Overflow o) {
        return o >= 0 && o < _OVERFLOW_MAX ? overflow_names[o] : NULL;
}
