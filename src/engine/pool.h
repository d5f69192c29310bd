/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Pool: a monitor around one Scheduler, and the worker threads that take from it. All functions
 * here are for the main thread, unless they say otherwise; they take the pool's lock themselves. */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "core/histogram.h"
#include "core/job.h"
#include "core/log-limit.h"
#include "core/scaler.h"
#include "core/scheduler.h"
#include "engine/gates.h"
#include "engine/mailbox.h"
#include "engine/object-row.h"
#include "engine/output.h"
#include "engine/pool-config.h"
#include "engine/timer.h"
#include "util/list.h"

typedef struct JobView JobView;
typedef struct LeaseDesk LeaseDesk;
typedef struct Pool Pool;
typedef struct PoolScaling PoolScaling;
typedef struct PoolView PoolView;
typedef struct Store Store;
typedef struct Worker Worker;

typedef enum PoolState {
        POOL_RUNNING,
        POOL_PAUSED,
        POOL_DRAINING,
        POOL_DEGRADED, /* a worker does not come back from a job that was to stop */
        _POOL_STATE_MAX,
        _POOL_STATE_INVALID = -EINVAL,
} PoolState;

/* Short jobs of a handler that allows it are claimed several at a time: as many as take this long
 * by the mean of the last ones, … */
#define TURN_USEC 100
/* … but never more than this, … */
#define TURN_JOBS_MAX 64
/* … and a turn that takes this long is cut: what was done is published, what was not begun goes
 * back to the queue. So a more urgent job waits for at most one job that has begun, and a finished
 * one is announced at most so much later. */
#define TURN_CUT_USEC (10 * USEC_PER_MSEC)

struct Pool {
        /* Main thread only. */
        PoolConfig *config; /* owned once started; workers read only what does not change */
        PoolConfig
                *origin; /* owned: as the settings file had it; NULL for a pool made at run time */
        uint64_t digest; /* of that file */
        bool touched;    /* settings were changed since; whoever reads files clears it */
        PoolConfig *refit; /* owned: what it is to be once its workers have gone; NULL = as it is */
        ObjectRow row;
        bool paused, draining; /* as Pause(), Resume() and Drain() have left it */
        Handler *
                handler; /* owned; used by workers without a lock, closed after the last has gone */
        Mailbox *mailbox;   /* borrowed from the engine */
        OutputStock *stock; /* borrowed from the engine */
        Store *store;       /* borrowed from the engine: where its jobs are kept; NULL = nowhere */
        uint64_t n_unsettled;                /* jobs whose end is not on the disk yet */
        List links;                          /* among the pools of the engine, by age */
        Job *retained_first, *retained_last; /* finished jobs whose results are kept, by Job.next */
        uint64_t n_retained;
        List groups; /* JobGroup.retained: finished groups whose results are kept */
        uint64_t n_groups;
        List drain_watches;  /* PoolWatch.links: who waits until it is empty */
        List remove_watches; /* PoolWatch.links: who waits until it is gone */
        bool started;        /* has workers, and owns its config */
        bool removing;       /* goes once it has no job */
        bool cancelling;     /* and what it has is cancelled */
        bool dismissed;      /* its workers were told to leave: it goes, or has others then */
        bool is_to_wake; /* workers may be set aside to be woken at the end of the loop's turn */
        PoolState shown_state; /* what listeners were told last */
        uint32_t shown_workers;
        bool logged_degraded;             /* the log says so */
        LogLimit log_limit;               /* of lines about jobs that have failed */
        OutputWriter slot_writer;         /* of all slots */
        LeaseDesk *desk;                  /* owned: where jobs are leased; NULL = not here */
        uint32_t n_threads;               /* workers that were not joined yet, also slots */
        uint32_t next_worker_id;          /* never given out twice */
        void *engine;                     /* borrowed */
        void *timer_source;               /* owned: sd_event_source of the timer */
        bool uses_stalls, watches_stalls; /* counted by the engine's StallWatch */
        uint32_t n_pipelines;             /* stages of pipelines that it is */
        void *userdata;                   /* of whoever shows the pool to the world */
        UT_hash_handle by_name;           /* in Engine.by_name */

        /* Guards everything below, and the mutable fields of jobs that were submitted and not
         * posted yet. May be held while the mailbox's, the output stock's, a limiter's and a
         * breaker's locks are taken; never while another pool's is, nor across a call that can
         * block. It has a cache line of its own, so that those who wait for it do not take from its
         * holder what he works with. */
        pthread_mutex_t lock __attribute__((aligned(CACHE_LINE)));
        Scheduler scheduler __attribute__((aligned(CACHE_LINE)));
        PoolGates gates;
        List workers; /* Worker.links, by age */
        List idle;    /* Worker.idle_links, the one that became idle last first */
        List resting; /* Worker.idle_links of slots: nobody waits for them, so they are not idle */
        List to_wake; /* Worker.idle_links: taken off the idle list, eventfd not written yet */
        List to_stop; /* Worker.poke_links: slots whose handler was not told to stop yet */
        uint32_t n_workers;    /* live: made and not leaving */
        uint32_t n_target;     /* how many there are to be; written by the main thread only */
        uint32_t n_min, n_max; /* what the scaler may make of that */
        Scaler scaler;
        bool stalls_watched; /* the main thread knows that the scaler wants to know of stalls */
        uint32_t n_idle;
        uint32_t n_coming;  /* those to stay that were taken off the idle list and have not come for
                               work yet */
        uint32_t n_stuck;   /* workers that ignore a stop */
        uint32_t n_several; /* workers in a turn of several jobs */
        bool starved;       /* a worker found no sheet to note its jobs on */
        Timer timer;        /* armed by any thread */
        Histogram queue_wait, run_time;
        bool refuses;           /* an open breaker refuses what is queued; else it waits */
        uint64_t n_batches;     /* so many were begun */
        uint64_t mean_run_nsec; /* moving average of the last turns; 0 = not known yet */
        bool announce;          /* somebody wants to hear of starts and ends of all jobs */
        usec_t stop_timeout, run_timeout;
        uint64_t random; /* state of the jitter of retries */
};

/* The figures of one moment, consistent with each other. */
struct PoolView {
        PoolState state;
        uint32_t n_workers, n_busy;
        uint64_t n_queued, n_scheduled, n_running;
        const char *pending_reason; /* why the first in line waits; "" if nothing waits */
        JobCounters counters;
        uint64_t n_batches;
        usec_t queue_wait[4], run_time[4]; /* p50, p95, p99, max */
};

/* A change of how many workers an elastic pool is to have. */
struct PoolScaling {
        uint32_t from, to; /* without those that are to leave */
        ScaleReason reason;
        int error; /* 0, or -errno where not as many threads as wanted could be made: tried again
                      after the next Interval */
};

/* What is told of one job. Strings are borrowed from the job and live as long as it does. */
struct JobView {
        uint64_t id;
        JobState state;
        JobResult result; /* _JOB_RESULT_INVALID until finished */
        int16_t priority;
        uint32_t owner, attempt;
        int32_t worker, exit_status;
        const char *tag, *concurrency_key; /* "" if it has none */
        usec_t submitted_realtime, started_realtime, finished_realtime, duration; /* 0 = not yet */
        double progress;
        const char *pending_reason; /* "" when it does not wait */
        uint64_t position;          /* 0 when it does not wait */
        bool interrupted; /* by the stop of the daemon, which has nothing more to say to it */
};

/* Makes the pool with its handler, without workers. `config` is borrowed until pool_start(). Its
 * jobs take tokens from `limiter` and permits from `breaker`, unless NULL. On failure -errno and
 * *ret_error, which names the setting. */
int pool_new(PoolConfig *config, Mailbox *mailbox, OutputStock *stock, SharedLimiter *limiter,
        SharedBreaker *breaker, Pool **ret, char **ret_error);

/* Starts the workers, MinWorkers of an elastic pool and MaxWorkers of any other, or as many of them
 * as there can be, and takes the pool's config over. On failure there is not a single one, and
 * pool_free() may be called. */
int pool_start(Pool *pool, char **ret_error);

/* All workers have gone and no job is left. Returns NULL. */
Pool *pool_free(Pool *pool);

/* May n jobs be submitted? AdmitVerdict or -ENOMEM; see scheduler_admit(). Jobs that are dropped
 * for them are posted. */
int pool_admit(
        Pool *pool, uint64_t n, const Submission *submission, int16_t priority, unsigned flags);

/* The line of those who wait for room; see scheduler_line_join() and its like. */
void pool_line_join(Pool *pool, AdmitWaiter *waiter);
void pool_line_leave(Pool *pool, AdmitWaiter *waiter);
AdmitWaiter *pool_line_serve(Pool *pool);

/* Gives a finished job, which was admitted, another life. 0 or -ENOMEM. */
int pool_kick(Pool *pool, Job *job, usec_t now);

/* Counts n jobs of a submit that were not even tried, for there is no room for them. */
void pool_reject(Pool *pool, uint64_t n);

/* How many jobs would be admitted now. */
uint64_t pool_room(Pool *pool);

/* Hands over n admitted jobs of one submission, by ascending id. Workers are set aside to be woken
 * by pool_wake(). */
void pool_submit(Pool *pool, Job *const *jobs, size_t n, usec_t now);

/* n jobs that were admitted with ADMIT_LATER come next, or never. */
void pool_end_promise(Pool *pool, uint64_t n);

/* There are blank sheets again. True if workers waited for that. */
bool pool_feed(Pool *pool);

/* Memory for jobs that come in past pool_admit(). 0 or -ENOMEM. */
int pool_reserve(Pool *pool, const Submission *submission, int16_t priority);

/* Hands over n jobs that come from another stage of their pipeline, whatever room there is. Returns
 * how many of them could be: where memory is short the others cannot. */
size_t pool_receive(Pool *pool, Job *const *jobs, size_t n, usec_t now);

/* A job that is back with its place, after pool_reserve(). See scheduler_restore(). */
void pool_restore(Pool *pool, Job *job, usec_t now);

/* Such a job ends here instead, with this result. */
void pool_turn_away(Pool *pool, Job *job, JobResult result, usec_t now);

/* Writes the eventfds of the workers that were set aside. Of slots that is their turn, and their
 * handler is told of stops. */
void pool_wake(Pool *pool);

/* A waiting job is finished by this, and posted; a running one is told to stop. */
CancelVerdict pool_cancel(Pool *pool, Job *job);

/* 0, 1 if the job has finished (then nothing changes), or -ENOMEM. */
int pool_set_priority(Pool *pool, Job *job, int16_t priority);

void pool_pause(Pool *pool, bool paused);
void pool_drain(Pool *pool, bool draining);
void pool_shut_down(Pool *pool); /* takes nothing, starts nothing, retries nothing any more */
void pool_set_announce(Pool *pool, bool announce);

/* Brings a changed configuration (queue_max, aging, run_timeout, workers, scale) into force. Cannot
 * fail but for threads that cannot be made: then -errno, with as many as there could be. */
int pool_apply(Pool *pool, const PoolConfig *config);

/* Makes all workers leave; each posts itself as gone. */
void pool_dismiss(Pool *pool);

/* Exchanges all but the jobs of a pool without workers, as pool_new() has made it; pool_start() is
 * next. Takes config and handler over. -ENOMEM: nothing was changed. */
int pool_exchange(Pool *pool, PoolConfig *config, Handler *handler, SharedLimiter *limiter,
        SharedBreaker *breaker);

/* The breaker may answer differently now. */
void pool_gates_opened(Pool *pool);

/* Is what is queued to be refused now? If so, *ret_retry_after says when to try again. */
bool pool_is_refusing(Pool *pool, usec_t *ret_retry_after);

/* Ends a queued job as refused; false if it is not queued any more. */
bool pool_refuse(Pool *pool, Job *job);

/* The limiter has served the pool: wakes workers for the credit that it has now. */
void pool_gates_served(Pool *pool);

/* Asks the scaler, if it wants to be, and does what it says; `stalled` says whether the host
 * stalls. True if that is worth telling, in *ret. */
bool pool_scale(Pool *pool, usec_t now, bool stalled, PoolScaling *ret);

/* Does the scaler want to know whether the host stalls? If not, the timer fires when it does. */
bool pool_wants_stalls(Pool *pool);

/* The timer has fired: makes true what time has changed. */
void pool_timer(Pool *pool, usec_t now);

/* A worker's message `gone` was read: joins its thread and frees it. */
void pool_join(Pool *pool, Worker *worker);

bool pool_workers_are_in_time(Pool *pool); /* engine_workers_are_in_time() */
bool pool_is_empty(Pool *pool);            /* nothing queued, running or unsettled */
bool pool_has_no_jobs(Pool *pool);         /* and nothing scheduled */
bool pool_is_quiet(Pool *pool);            /* of durable jobs those that wait do not matter */
PoolState pool_state(Pool *pool);
void pool_shape(Pool *pool, PoolState *ret_state, uint32_t *ret_n_workers); /* what listeners see */
void pool_view(Pool *pool, PoolView *ret);
void pool_job_view(Pool *pool, Job *job, JobView *ret);

/* Fills in state and result only. */
void pool_job_view_state(Pool *pool, Job *job, JobView *ret);

/* What a job that did not succeed has to say; never NULL, never empty. "" for one that did. */
const char *job_error(const Job *job);

/* Locks the job's mutable fields for a look or a change. */
void pool_lock(Pool *pool);
void pool_unlock(Pool *pool);

/* Gives the job details if it has none; with the lock held. 0 or -ENOMEM. */
int job_ensure_details(Job *job);
JobDetails *job_details_init(JobDetails *details, Job *job);
JobDetails *job_details_free(JobDetails *details); /* returns NULL */

const char *pool_state_to_string(PoolState s);
