/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Scheduler of one pool: decides which job runs when. It borrows jobs from their acceptance to
 * their finish and is told the time. Pure; not thread-safe: the pool's lock guards it. */

#include <stdbool.h>
#include <stdint.h>

#include "core/heap.h"
#include "core/job.h"
#include "core/keys.h"
#include "core/prioq.h"
#include "core/retry.h"
#include "util/list.h"
#include "util/time.h"

typedef struct AdmitWaiter AdmitWaiter;
typedef struct Gates Gates;
typedef struct JobCounters JobCounters;
typedef struct Run Run;
typedef struct Scheduler Scheduler;
typedef struct SchedulerConfig SchedulerConfig;
typedef struct SchedulerOwner SchedulerOwner;

typedef enum AdmitVerdict {
        ADMIT_YES,
        ADMIT_FULL,     /* no room for all of them */
        ADMIT_DRAINING, /* takes nothing more */
        ADMIT_SHUT,     /* said by the pool, not here: its circuit breaker is open */
} AdmitVerdict;

typedef enum AdmitFlag {
        ADMIT_MAY_WAIT = 1 << 0, /* a refusal for lack of room is not final, so it is not counted */
        ADMIT_SERVED = 1 << 1,   /* it was its turn in the line, so those behind it do not matter */
        ADMIT_NO_DROP = 1 << 2,  /* only into room that is free, whatever the overflow rule */
        ADMIT_AGAIN = 1 << 3,    /* was accepted before, so an open breaker only makes it wait */
        ADMIT_LATER = 1 << 4,    /* for the pool: they are promised, see scheduler_promise() */
} AdmitFlag;

/* What happens to a submit that finds the queue full. */
typedef enum Overflow {
        OVERFLOW_REJECT,
        OVERFLOW_WAIT, /* as reject here: how long a caller waits is said with each submit */
        OVERFLOW_DROP_OLDEST,
        OVERFLOW_DROP_LOWEST, /* only for a job that would be taken before */
        _OVERFLOW_MAX,
        _OVERFLOW_INVALID = -EINVAL,
} Overflow;

typedef enum TakeVerdict {
        TAKE_JOBS,  /* here they are */
        TAKE_UNTIL, /* nothing before that moment, unless something happens */
        TAKE_NEVER, /* nothing unless something happens */
} TakeVerdict;

typedef enum CancelVerdict {
        CANCEL_FINISHED, /* it waited, and is finished now */
        CANCEL_ASKED,    /* it runs, and is to be told to stop */
        CANCEL_NOTED,    /* it is between two stages, and ends where it arrives */
        CANCEL_NOTHING,  /* it was finished before, or stopping: then it has no other attempt */
} CancelVerdict;

struct SchedulerConfig {
        uint64_t queue_max;    /* waiting jobs: queued and scheduled */
        usec_t aging_interval; /* USEC_INFINITY = strict priority */
        bool fair;             /* owners take turns */
        Overflow overflow;
        RetryConfig retry;
        uint32_t batch_size;      /* up to so many jobs are one call; 0 or 1 = each is one */
        usec_t batch_timeout;     /* finite: the oldest one waits no longer for the batch to fill */
        uint32_t key_concurrency; /* of the jobs with one key, up to so many are at work */
};

/* A submit that waits for room. */
struct AdmitWaiter {
        List links;
        uint64_t n; /* jobs that are to be admitted together */
};

/* Decisions that need what the scheduler does not own. pass() is asked for the job that is next; it
 * answers 0 (may start) or the moment at which to ask again, USEC_INFINITY = something must happen.
 * A refusal changes nothing. It must not block. */
struct Gates {
        usec_t (*pass)(void *userdata, const Job *job, usec_t now);
        void *userdata;
};

/* A worker or slot that has work: what the scheduler watches for run time-outs. */
struct Run {
        List links; /* among the scheduler's runs, least deadline first */
        usec_t started_at;
        usec_t deadline; /* USEC_INFINITY = none */
};

/* At every moment: submitted = the sum of all results + n_scheduled + n_queued + n_running. */
struct JobCounters {
        uint64_t submitted, rejected, retried;
        uint64_t results[_JOB_RESULT_MAX];
};

/* The jobs of one user, or of all where owners do not matter. */
struct SchedulerOwner {
        uint32_t uid;
        uint64_t n_live; /* accepted and not finished */
        Prioq queue;
        List turn; /* among the owners with queued jobs; the first one's turn is next */
};

struct Scheduler {
        SchedulerConfig config;
        bool paused, draining;
        bool ending;             /* the daemon stops: no volatile job has another attempt */
        SchedulerOwner **owners; /* owned, by uid; exactly one where owners do not matter */
        size_t n_owners;
        List turns;
        Keys keys;      /* has the queued jobs that have to wait for their key */
        Heap scheduled; /* by ready_at */
        Heap expiring;  /* waiting jobs with a QueueTimeout, by the moment of it */
        List runs;
        List line;     /* AdmitWaiter.links: submits that wait for room, first come, first served */
        Job *ended;    /* jobs that the scheduler ended by itself, linked by next */
        usec_t latest; /* the latest moment that it was told */
        uint64_t n_scheduled, n_queued, n_running;
        uint64_t n_promised; /* admitted, and to be submitted later: they have their room */
        uint64_t n_backoff;  /* those of the scheduled ones that wait for another attempt, or were
                                released */
        JobCounters counters;
};

int scheduler_init(Scheduler *s, const SchedulerConfig *config); /* copies; 0 or -ENOMEM */
void scheduler_done(Scheduler *s);

/* May n jobs of this submission, with its owner and its key, be submitted now at this priority? Not
 * while others wait for room. By the overflow rule, waiting jobs may have to end JOB_DROPPED for
 * them (see scheduler_ended()): as many as are needed, or none. What is not due yet is never
 * dropped. A final refusal counts in counters.rejected. Reserves memory: after ADMIT_YES the jobs
 * can be submitted, until the next scheduler_admit(). `flags` are AdmitFlag. Returns an
 * AdmitVerdict or -ENOMEM. */
int scheduler_admit(
        Scheduler *s, uint64_t n, const Submission *submission, int16_t priority, unsigned flags);

void scheduler_reject(Scheduler *s, uint64_t n); /* counts jobs that were refused elsewhere */

/* n jobs that were admitted are submitted later, or never: until then they have room. The memory
 * for them is to be reserved anew by then. */
void scheduler_promise(Scheduler *s, uint64_t n);
void scheduler_end_promise(Scheduler *s, uint64_t n);

/* A submit joins the line for room, at its end. */
void scheduler_line_join(Scheduler *s, AdmitWaiter *waiter);

/* It leaves without having been served: refused, and counted as such. */
void scheduler_line_leave(Scheduler *s, AdmitWaiter *waiter);

/* Takes the first one out if there is room for it, or if there never will be (draining, queue_max
 * below it): then it is to be admitted with ADMIT_SERVED. NULL: nobody, or not yet. */
AdmitWaiter *scheduler_line_serve(Scheduler *s);
bool scheduler_line_is_due(const Scheduler *s); /* would it return somebody? */

/* The memory alone: what follows can be submitted though there is no room for it, or though nothing
 * is let in. So do items of a pipeline, for which that has answered. 0 or -ENOMEM. */
int scheduler_reserve(Scheduler *s, const Submission *submission, int16_t priority);

/* Does a job, for which that memory is there, need details to come in with this due_at, because one
 * with a higher id was before it, or one that became due later? USEC_INFINITY: it is to be
 * submitted, and so becomes due last. */
bool scheduler_needs_details(const Scheduler *s, const Job *job, usec_t due_at);

/* A job that comes from another stage of its pipeline, or was accepted to be submitted later, ends
 * here before it was submitted: it counts as both. */
void scheduler_turn_away(Scheduler *s, Job *job, JobResult result);

/* Takes an admitted job in, due after submission->delay (at its first stage). due_at is set here.
 * Jobs with a delay, a queue_timeout or a key have details, and so has one whose id is not above
 * that of all before it. `now` may be older than what the scheduler was told before (each thread
 * reads the clock before it gets the lock): the later moment counts. */
void scheduler_submit(Scheduler *s, Job *job, usec_t now);

/* The same for n > 0 jobs of one submission and priority, by ascending id. */
void scheduler_submit_all(Scheduler *s, Job *const *jobs, size_t n, usec_t now);

/* Takes in a job that was in another scheduler's life, for which memory is reserved: due_at is set,
 * in the past or (not due yet) in the future, and where that matters details with attempt, asked,
 * kicked and ready_at. One for which scheduler_needs_details() has them. It counts as submitted. */
void scheduler_restore(Scheduler *s, Job *job, usec_t now);

/* Takes up to `max` jobs, in order. Of those with one key it takes no more than fit with what is at
 * work, the least id first: claimed ones count as well. The first one is JOB_RUNNING then. The
 * others are claimed: still JOB_QUEUED, with JOB_CLAIMED, until scheduler_start(),
 * scheduler_finish() or scheduler_unclaim(). *ret_n is their number; *ret_until the moment of
 * TAKE_UNTIL. `gates` may be NULL. Jobs that expired meanwhile are among scheduler_ended().
 *
 * With a batch_size they are one batch: up to that many of them, all JOB_RUNNING, and the gates are
 * asked once. That is only where so many are queued, the oldest of them has waited for
 * batch_timeout, there is no room for more, or no more come since it drains. A batch is nothing but
 * such a take: what is queued belongs to none. */
TakeVerdict scheduler_take(Scheduler *s, usec_t now, const Gates *gates, size_t max, Job **ret_jobs,
        size_t *ret_n, usec_t *ret_until);

void scheduler_start(Scheduler *s, Job *job); /* a claimed job is being run */

/* Gives back a claimed job that was not begun, and the turn of its owner, and its place of its key.
 * Of those of one take the last one comes first. */
void scheduler_unclaim(Scheduler *s, Job *job);

/* The attempt has ended (of a running, stopping or claimed job). True: the job is finished, or it
 * is JOB_PASSING, and this pool has nothing to do with it any more. False: it is scheduled for
 * another attempt, after details->ready_at, with its old place in the queue. Until then it keeps
 * its ConcurrencyKey if that is for one job at a time. Only a job with details can have another
 * attempt. `random` is any 64 bits, and matters for a failure alone. */
bool scheduler_finish(Scheduler *s, Job *job, Outcome outcome, usec_t now, uint64_t random);

/* A running or stopping job, which has details, is given back undone: it is scheduled for after
 * `delay`, with its old place in the queue, and that was no attempt. It does not expire any more.
 * True: it was to stop, or the daemon stops, so it is finished as cancelled; or lost, if there was
 * no memory for details. */
bool scheduler_release(Scheduler *s, Job *job, usec_t now, usec_t delay);

/* Gives a finished job, which has details and for which there is room by scheduler_admit(), another
 * life: it counts as submitted once more. */
void scheduler_kick(Scheduler *s, Job *job, usec_t now);

/* Not for claimed jobs: unclaim or start them first. */
CancelVerdict scheduler_cancel(Scheduler *s, Job *job);

/* A queued job ends as refused, unless it is claimed or not queued any more: then false. */
bool scheduler_refuse(Scheduler *s, Job *job);

/* Running: stopping now. False if it was stopping or finished already. */
bool scheduler_stop_timed_out(Scheduler *s, Job *job);

/* Changes the priority of a job that is neither finished nor claimed; a queued one changes its
 * place and needs details. */
int scheduler_set_priority(Scheduler *s, Job *job, int16_t priority); /* 0 or -ENOMEM */

void scheduler_add_run(Scheduler *s, Run *run, usec_t now, usec_t timeout);
void scheduler_remove_run(Scheduler *s, Run *run);

/* That with the least deadline, NULL if there is none. One that is over its time is to be removed,
 * else scheduler_wake_at() stays in the past. */
Run *scheduler_first_run(const Scheduler *s);

void scheduler_set_config(Scheduler *s, const SchedulerConfig *config); /* `fair` stays as it was */

/* Jobs become due and expire by the time alone: makes it so. */
void scheduler_advance(Scheduler *s, usec_t now);

/* Takes over the jobs that ended without running since the last call, linked by next. */
Job *scheduler_ended(Scheduler *s);

/* When time alone can next change something: a job becomes due or expires, a run is over its time.
 */
usec_t scheduler_wake_at(const Scheduler *s);

/* When what is queued becomes a batch by time alone: to be looked at where somebody could take it.
 * USEC_INFINITY: nothing waits for that. */
usec_t scheduler_batch_at(const Scheduler *s);

/* Is anything queued, but not enough and not for long enough to be a batch? */
bool scheduler_gathers(const Scheduler *s);

/* Is there a job that could be taken now, gates aside? As of the latest moment that it was told. */
bool scheduler_has_work(const Scheduler *s);

/* The job that would be taken next; NULL if what is queued is claimed or waits for its key. It
 * stays in. */
Job *scheduler_next(const Scheduler *s);

/* Would `job`, which is queued, be taken next? */
bool scheduler_is_next(const Scheduler *s, const Job *job);

/* Jobs ahead of this waiting one + 1, `max` = that or more: at which place it would be taken if
 * nothing came and went. Claimed jobs count as ahead of all that are not; a scheduled job has all
 * that are queued ahead. One that waits for its key has those of its key ahead that came before and
 * have not ended, and is itself ahead of nobody else. */
uint64_t scheduler_position(const Scheduler *s, const Job *job, uint64_t max);

/* Jobs that could be taken now, gates aside: queued, not claimed and not waiting for their key, and
 * none while it is paused. */
uint64_t scheduler_n_eligible(const Scheduler *s);

/* Queued jobs that do not wait for their key, the claimed ones among them. */
static inline uint64_t scheduler_n_ready(const Scheduler *s) {
        return s->n_queued - s->keys.parked.n_jobs + s->keys.n_ready;
}

/* Those that take room: queue_max bounds them. */
static inline uint64_t scheduler_n_waiting(const Scheduler *s) {
        return s->n_queued + s->n_scheduled + s->n_promised;
}

/* How long the oldest one in the queue has waited since it was due. 0 if there is none. */
usec_t scheduler_oldest_wait(const Scheduler *s, usec_t now);

/* Nothing queued, running or in back-off; what is not due yet does not count. */
static inline bool scheduler_is_empty(const Scheduler *s) {
        return s->n_queued == 0 && s->n_running == 0 && s->n_backoff == 0 && s->n_promised == 0;
}

bool scheduler_counters_add_up(const Scheduler *s);

const char *overflow_to_string(Overflow o);
