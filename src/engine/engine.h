/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Engine: owns all pools and all jobs, from acceptance until their results are forgotten.
 * Everything here is for the main thread. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <systemd/sd-event.h>

#include "core/job.h"
#include "engine/job-table.h"
#include "engine/mailbox.h"
#include "engine/object-row.h"
#include "engine/output.h"
#include "engine/pool-pipeline.h"
#include "engine/pool.h"
#include "engine/quota.h"
#include "engine/shared-breaker.h"
#include "engine/shared-limiter.h"
#include "engine/stall-watch.h"
#include "util/slab.h"

typedef struct Durability Durability;
typedef struct Engine Engine;
typedef struct EngineListener EngineListener;
typedef struct EngineTotals EngineTotals;
typedef struct JobGroup JobGroup;
typedef struct JobFilter JobFilter;
typedef struct JobWatch JobWatch;
typedef struct PoolWatch PoolWatch;
typedef struct RoomWatch RoomWatch;
typedef struct Sweep Sweep;

typedef enum PoolChange {
        POOL_CHANGED_STATE = 1 << 0,
        POOL_CHANGED_WORKERS = 1 << 1,
} PoolChange;

/* Who is told of what happens. Called from engine_turn() and the functions that change things. */
struct EngineListener {
        void (*pool_added)(void *userdata, Pool *pool);
        void (*pool_removed)(void *userdata, Pool *pool); /* it is freed, or another from now on */
        void (*pool_changed)(void *userdata, Pool *pool, PoolChange what);
        void (*job_started)(void *userdata, const StartNote *note);
        /* Of one whose caller waits for all as one, if it has failed, or all are to be announced.
         */
        void (*job_finished)(void *userdata, Job *job);

        /* May be NULL. */
        void (*group_changed)(void *userdata, JobGroup *group); /* at most four times a second */
        /* `names` are those of the settings that have changed; NULL: of any. */
        void (*pool_set)(void *userdata, Pool *pool, char **names);
        void (*pool_scaled)(void *userdata, Pool *pool, const PoolScaling *scaling);
        void (*pipeline_added)(void *userdata, PoolPipeline *pipeline);
        void (*pipeline_removed)(void *userdata, PoolPipeline *pipeline); /* it may be freed next */
        void (*pipeline_changed)(void *userdata, PoolPipeline *pipeline, const char *property);
        void (*limiter_added)(void *userdata, SharedLimiter *limiter);
        void (*limiter_removed)(void *userdata, SharedLimiter *limiter); /* it is freed next */
        void (*limiter_changed)(void *userdata, SharedLimiter *limiter, char **names);
        void (*breaker_added)(void *userdata, SharedBreaker *breaker);
        void (*breaker_removed)(void *userdata, SharedBreaker *breaker); /* it is freed next */
        void (*breaker_changed)(void *userdata, SharedBreaker *breaker, char **names);
        void (*breaker_state_changed)(
                void *userdata, SharedBreaker *breaker, BreakerState old, BreakerState new);
};

/* Somebody waits for one job. Embedded by its owner, who may leave with engine_unwatch(). */
struct JobWatch {
        List links;
        void (*finished)(JobWatch *watch, Job *job); /* the watch is out of the list */
};

/* Somebody waits for a pool or a pipeline to be empty, or gone. */
struct PoolWatch {
        List links;
        void (*done)(PoolWatch *watch); /* the watch is out of the list */
};

/* Which jobs are meant. All members together. */
struct JobFilter {
        Pool *pool;             /* borrowed: where they are now; NULL = any */
        PoolPipeline *pipeline; /* borrowed, only compared: in which they are; NULL = any */
        bool no_items;          /* only those that are in no pipeline */
        JobState state;         /* _JOB_STATE_INVALID = any */
        JobResult result;       /* _JOB_RESULT_INVALID = any */
        bool waiting;           /* only those that wait */
        bool unfinished;        /* only those that are not finished */
        bool only_volatile;     /* not those that go on after the next start */
        bool by_owner;
        uint32_t owner;
        uint64_t first_id, last_id; /* 0 = from the first on, up to the last */
        const char *tag;            /* borrowed; NULL = any */
};

/* A change to many jobs, made 1,000 at a time so that the loop stays responsive. */
struct Sweep {
        List links;
        JobFilter filter;
        char *tag;          /* owned: what filter.tag points to */
        const char *reason; /* static: becomes the error text of what is cancelled; NULL = none */
        bool refuse;        /* queued jobs are refused, as long as the pool's breaker is open;
                               nothing is cancelled */
        bool interrupts;    /* durable jobs are not cancelled for good: they go on after the next
                               start */
        uint64_t cursor, last; /* ids above cursor up to last are still to be looked at */
        uint32_t n_cancelled;
        void (*done)(Sweep *sweep); /* n_cancelled is final; the sweep is freed next; NULL = nobody
                                       waits */
        void *userdata;
};

struct EngineTotals {
        uint32_t n_pools;
        uint64_t n_queued, n_scheduled, n_running;
        JobCounters counters;
};

struct Engine {
        sd_event *event; /* shared */
        HandlerBus bus;  /* which one the daemon is on, for handlers */
        void *units;     /* borrowed: for Handler=unit; NULL = it is not to be had */
        List pools;      /* Pool.links, by age; owned */
        Pool *by_name;   /* the same, hashed */
        List pipelines;  /* PoolPipeline.links, by age; owned */
        PoolPipeline *pipelines_by_name;
        List limiters; /* SharedLimiter.links, by age; owned */
        SharedLimiter *limiters_by_name;
        List breakers; /* SharedBreaker.links, by age; owned */
        SharedBreaker *breakers_by_name;
        JobTable jobs;
        JobGroup *groups;   /* owned: hash by id */
        List untold_groups; /* JobGroup.untold */
        Slab slab;          /* Job */
        Mailbox mailbox;
        OutputStock stock;
        StallWatch stall_watch;
        Durability *durability; /* owned; NULL = pools cannot be durable */
        Store *store;           /* borrowed: its; NULL likewise */
        List changed_rows;      /* ObjectRow.links: what the store was not told yet, … */
        bool rows_are_due;      /* … and is to be told at the end of the turn */
        List strangers; /* Stranger.links, owned: what the store has jobs of, and we have not */
        Quota quota;    /* who has how much of all that */
        SubmitKey *submit_keys; /* borrowed from the submissions: hash by scope and text */
        uint64_t next_id;
        usec_t started_realtime;
        JobCounters gone; /* of pools that were removed, so that totals never go back */
        List sweeps;
        const EngineListener *listener; /* borrowed; NULL = none */
        void *listener_userdata;
        sd_event_source *mailbox_source, *retention_source, *sweep_source, *group_source;
        usec_t retention_at;   /* what retention_source is set to; USEC_INFINITY = off */
        usec_t tell_groups_at; /* the same of group_source */
        bool announce;         /* the listener wants all starts and ends */
        bool check_pools;      /* something that listeners or watches look for may have changed */
        bool wake_pools;       /* a pool has workers to wake */
        bool misses_file; /* what a settings file has made was removed; whoever reads files clears
                             it */
        bool shutting_down;
};

int engine_new(sd_event *event, Engine **ret);
Engine *engine_free(
        Engine *engine); /* all pools are gone, limiters and breakers go with it; returns NULL */

/* The end of a turn of the loop: wakes workers, reads what they have posted, tells listeners. To be
 * called after every dispatch. */
void engine_turn(Engine *engine);

void engine_set_listener(Engine *engine, const EngineListener *listener, void *userdata);
void engine_set_announce(Engine *engine, bool announce);

/* ---- pools ---- */

/* Makes a pool; takes config over on success. -EEXIST: there is one of that name. *ret_error says
 * what is wrong with the settings. */
int engine_add_pool(Engine *engine, PoolConfig *config, Pool **ret, char **ret_error);
Pool *engine_find_pool(Engine *engine, const char *name); /* NULL if there is none */

/* Drains the pool and removes it; with `cancel` what it has is cancelled. May be called again. The
 * watch, if any, is told when the pool is gone. 0 or -ENOMEM. */
int engine_remove_pool(Engine *engine, Pool *pool, bool cancel, PoolWatch *watch);

/* Changes the settings of a living pool to those of `config` that may change. 0 or -errno. */
int engine_set_pool(Engine *engine, Pool *pool, const PoolConfig *config);

/* Changes all settings to those of `config`, which it takes over, also those that a living pool
 * cannot take: what is at work ends, nothing is begun meanwhile, and then the pool has another
 * handler and other workers. Its jobs, what is kept of them and who waits for them stay as they
 * are, and it as durable, or not, and as fair as it was. Another one may follow before that is
 * done. */
void engine_refit_pool(Engine *engine, Pool *pool, PoolConfig *config);

/* Is the pool of that name, if there is one, about to become what its file says? Until then nothing
 * can be set of it, nor of the limiter and breaker that it has for itself: it would not last. */
bool engine_is_refitting(Engine *engine, const char *name);
void engine_pause_pool(Engine *engine, Pool *pool, bool paused);
void engine_drain_pool(Engine *engine, Pool *pool, bool draining);

/* Tells the watch when nothing is queued or running; at once, from engine_turn(), if that is so. */
void engine_watch_empty(Engine *engine, Pool *pool, PoolWatch *watch);
void pool_unwatch(PoolWatch *watch); /* fine for one that is in no list */

/* ---- jobs ---- */

Submission *submission_new(void);                    /* with defaults; NULL without memory */
Submission *submission_free(Submission *submission); /* one that was not taken over; returns NULL */

DEFINE_CLEANUP(Submission *, submission_free)

/* Somebody waits for room in a pool or a pipeline, with a submit that was refused for lack of it.
 */
struct RoomWatch {
        AdmitWaiter waiter;
        Pool *pool;                       /* borrowed: where it is in line; or else … */
        PoolPipeline *pipeline;           /* … here; both NULL = waits for nothing */
        void (*served)(RoomWatch *watch); /* submit now, with ADMIT_SERVED; it is out of the line */
};

void engine_watch_room(Pool *pool, RoomWatch *watch, uint64_t n);
void engine_unwatch_room(
        RoomWatch *watch); /* its submit is refused; fine for one that is in no line */

/* Accepts n >= 1 jobs of one submit call. With `borrow` the payloads live in submission->backing,
 * otherwise they are copied. Returns an AdmitVerdict, -ENOMEM, or of a durable pool -ENOSPC or
 * -EIO; takes the submission over with ADMIT_YES only. `flags` are AdmitFlag. Ids are
 * submission->first_id and the n - 1 after it. With submission->storing they are not accepted
 * before submission->stored() says so. */
int engine_submit(Engine *engine, Pool *pool, Submission *submission, const struct iovec *payloads,
        size_t n, bool borrow, unsigned flags);

Job *engine_find_job(Engine *engine, uint64_t id); /* NULL if there is none (any more) */
Pool *job_pool(const Job *job); /* where it is, of an item the pool of its stage */

/* Job number i of a bulk call. */
Job *engine_submission_job(Engine *engine, const Submission *submission, size_t i);

/* The caller of a bulk call has gone: results are kept like those of any other job. Or nobody waits
 * any more for jobs to be stored. */
void engine_abandon(Submission *submission);

/* Cancels all jobs of the submission that are left. 0 or -ENOMEM. */
int engine_cancel_submission(Engine *engine, const Submission *submission, const char *reason);

/* The job with the least id above `id`; NULL if there is none. */
Job *engine_next_job(Engine *engine, uint64_t id);

/* 0, 1 if the job has finished already (then nobody will be told), or -ENOMEM. */
int engine_watch_job(Job *job, JobWatch *watch);
void engine_unwatch(JobWatch *watch); /* fine for one that is in no list */

bool job_matches(const Job *job, const JobFilter *filter, const JobView *view);

/* Cancels all jobs that match now, not those that come later. 0 or -ENOMEM. */
int engine_sweep(Engine *engine, const JobFilter *filter, const char *reason,
        void (*done)(Sweep *sweep), void *userdata, Sweep **ret);

/* Puts up to `max` jobs that failed for good back into the queue, the oldest first, as long as
 * there is room. Returns their number. */
uint32_t engine_kick(Engine *engine, Pool *pool, uint32_t max);

typedef enum RetryAnswer {
        RETRY_DONE,
        RETRY_SUCCEEDED,  /* there is nothing to be done again */
        RETRY_UNFINISHED, /* it has not ended yet */
        RETRY_GONE,       /* what it works on was there for one attempt alone, or is not kept */
        RETRY_NO_ROOM,
        RETRY_NO_QUOTA, /* its owner has as much as each user may */
        RETRY_DRAINING, /* its pool, or its pipeline, takes nothing more */
        RETRY_REMOVED,  /* the pipeline in which it was to go on is there no more */
        RETRY_IN_GROUP, /* its group counts on its result */
} RetryAnswer;

/* The same for one job that did not succeed, whatever the reason. RetryAnswer or -ENOMEM. */
int engine_retry(Engine *engine, uint64_t id);

/* Refuses what is queued, if the pool's breaker is open and the pool does not hold it. */
void engine_refuse_queued(Engine *engine, Pool *pool);

/* ---- all ---- */

void engine_totals(Engine *engine, EngineTotals *ret);

/* Takes nothing more; cancels what waits. */
void engine_shut_down(Engine *engine);
void engine_cancel_running(Engine *engine);
bool engine_is_quiet(Engine *engine); /* no job is live, but for durable ones that wait */

/* Has each worker that was outside of its handler at the last call, and was not asleep, come on
 * since then? Blocks where one keeps a pool locked, which says no as well. */
bool engine_workers_are_in_time(Engine *engine);

/* From when on a new engine with the same settings files and store would be the same but for
 * counters, if nothing happens before; USEC_INFINITY: something has to happen. */
usec_t engine_idle_at(Engine *engine);
void engine_dismiss(Engine *engine); /* removes all pools; to be waited for until none is left */
