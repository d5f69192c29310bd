/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Job: one piece of work, from its acceptance to its one result. Three objects share what is known
 * of it, so that a job that just waits costs one 64-byte slab entry.
 *
 * - Job is what every job needs at every moment, guarded by its pool's lock until its finish is
 *   posted.
 * - Submission is what all jobs of one submit call have in common, constant from acceptance on but
 *   for its counters.
 * - JobDetails is what only some jobs have: a place in a heap, waiting callers, and what is told of
 *   a finished one.
 *
 * Whoever allocates a Job aligns it to its 64 bytes: one that lies across two cache lines makes the
 * queue of a million two to three times slower.
 *
 * Pure: memory comes from and goes back to the owner of the job. Not thread-safe. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/list.h"
#include "util/time.h"

typedef struct Job Job;
typedef struct JobDetails JobDetails;
typedef struct Key Key;
typedef struct Pipeline Pipeline;
typedef struct Submission Submission;
typedef struct SubmitKey SubmitKey;

#define JOB_ID_MAX ((UINT64_C(1) << 58) - 1)
#define PRIORITY_MIN (-1000)
#define PRIORITY_MAX 1000

typedef enum JobState {
        JOB_NEW, /* not accepted yet */
        JOB_SCHEDULED,
        JOB_QUEUED,
        JOB_RUNNING,
        JOB_STOPPING,
        JOB_PASSING, /* between two stages of a pipeline; called queued where it is shown */
        JOB_FINISHED,
        _JOB_STATE_MAX,
        _JOB_STATE_INVALID = -EINVAL,
} JobState;

typedef enum JobResult {
        JOB_SUCCEEDED,
        JOB_FAILED,
        JOB_CANCELLED,
        JOB_TIMED_OUT,
        JOB_EXPIRED,
        JOB_DROPPED,
        JOB_REFUSED,
        JOB_LOST,
        _JOB_RESULT_MAX,
        _JOB_RESULT_INVALID = -EINVAL, /* none yet */
} JobResult;

typedef enum JobEvent {
        JOB_EVENT_DELAY, /* accepted, or failed and to be tried again, but not due yet */
        JOB_EVENT_QUEUE, /* accepted, or due, or come to the next stage */
        JOB_EVENT_START,
        JOB_EVENT_STOP, /* asked to stop while it runs */
        JOB_EVENT_PASS, /* has succeeded at a stage that is not the last */
        JOB_EVENT_FINISH,
        _JOB_EVENT_MAX,
} JobEvent;

/* Why a running job was asked to stop. */
typedef enum JobStop {
        JOB_STOP_NONE,
        JOB_STOP_CANCEL,
        JOB_STOP_TIMEOUT,
} JobStop;

/* How an attempt ended, as its handler tells it. */
typedef enum Outcome {
        OUTCOME_SUCCESS,
        OUTCOME_FAILURE,
        OUTCOME_FATAL, /* a failure that another attempt cannot mend */
        OUTCOME_RETRY, /* a failure that asks for another attempt */
        OUTCOME_LOST,  /* nobody knows how it ended */
        OUTCOME_GONE,  /* the same, since whoever did it has gone: asks for another attempt, at once
                        */
        OUTCOME_RELEASED, /* was given back undone, which is no attempt; see scheduler_release() */
} Outcome;

/* Which memory Job.data is, and what else is special about it. */
typedef enum JobFlag {
        JOB_DATA_OWNED = 1 << 0,   /* malloc()ed for this job alone */
        JOB_KEEP = 1 << 1,         /* the reply to its bulk call had no room for its output */
        JOB_DATA_SHARED = 1 << 2,  /* inside an output chunk that other jobs use as well */
        JOB_CLAIMED = 1 << 3,      /* queued, but a worker has set it aside to run it next */
        JOB_OUT_OF_ORDER = 1 << 4, /* waits in the side heap */
        JOB_ANNOUNCE = 1 << 5,     /* somebody waits to hear of its end */
        JOB_STOP_BY_CANCEL = 1 << 6,
        JOB_STOP_BY_TIMEOUT = 1 << 7,
} JobFlag;

struct Job {
        Job *next, *prev;       /* borrowed: links of the one list that it is in, by its state */
        uint64_t id : 58;       /* constant, so that the stage can be seen without a lock, too: */
        uint64_t stage : 6;     /* of its pipeline; main alone changes it, in JOB_PASSING */
        usec_t due_at;          /* when it first became due: the base of its key, kept by retries */
        Submission *submission; /* shared: each job counts in n_jobs */
        void *data;             /* payload until the work has ended, then output; see JobFlag */
        JobDetails *details;
        uint32_t size; /* of data */
        int16_t priority;
        uint8_t state : 3;     /* JobState */
        uint8_t result : 3;    /* JobResult, valid once state is JOB_FINISHED */
        uint8_t unsettled : 1; /* finished, but that is not on the disk yet: nobody is to see it */
        uint8_t interrupted : 1; /* ended by the stop of the daemon: it goes on after the next start
                                  */
        uint8_t flags;           /* JobFlag */
};

_Static_assert(sizeof(Job) == 64, "a waiting job is one cache line");
_Static_assert(_JOB_STATE_MAX <= 8 && _JOB_RESULT_MAX <= 8, "three bits for each");

/* Pairing heap link, see core/heap.h. */
typedef struct HeapLink {
        struct HeapLink *child, *next, *prev;
} HeapLink;

/* Where a job is among those of its ConcurrencyKey, see core/keys.h. */
typedef enum KeyPlace {
        KEY_AWAY,        /* has no key, or is not due yet */
        KEY_PARKED,      /* waits for its key, in the line */
        KEY_PARKED_LATE, /* the same, out of order */
        KEY_NEXT,        /* in the queue: the one of its key that can be taken */
        KEY_HOLDS,       /* has one of the places of its key: claimed or at work */
        KEY_KEEPS,       /* has one until it has ended, also while it waits for another attempt */
} KeyPlace;

struct JobDetails {
        Job *job;         /* borrowed: whose details these are */
        uint32_t attempt; /* attempts that have ended, since it was accepted or kicked */
        uint32_t asked;   /* those of them that asked for another one */
        int32_t worker;   /* -1 = has not run */
        int32_t exit_status;
        KeyPlace key_place;
        Key *key;          /* borrowed from the scheduler that has the job; NULL = none */
        bool kicked;       /* put back after it had failed: its QueueTimeout is over */
        bool released;     /* begun once at least, and given back undone: the same */
        usec_t started_at; /* monotonic, of the last attempt; 0 = not yet */
        usec_t finished_at;
        usec_t duration;  /* of the last attempt */
        char *error;      /* why it did not succeed; owned, NULL = nothing to say */
        double progress;  /* 0 to 1, negative = unknown */
        uint32_t crashes; /* of the daemon, while it was at work */
        bool told;        /* is in the mail, by told_next: it waits for another attempt */
        JobDetails *told_next;
        usec_t ready_at; /* of a scheduled job: when it is queued */
        HeapLink order;  /* place in the side heap (by key) or among the scheduled (by ready_at) */
        HeapLink age;    /* place in the side heap by age */
        HeapLink expiry; /* place among the jobs that expire */
        union {
                List line;     /* KEY_PARKED */
                HeapLink late; /* KEY_PARKED_LATE */
        } key_line;
        List watchers; /* main thread only: callers that wait for this job */
};

struct Submission {
        uint32_t n_jobs;    /* live Job structs that point here */
        uint32_t n_pending; /* jobs not finished yet; guarded by the pool's lock, of a pipeline's by
                               nothing, as only main counts them */
        uint32_t owner;     /* uid of the submitter */
        int16_t priority;
        bool bulk;   /* a caller waits for all results as one: nothing is kept of a job after the
                        reply */
        bool notify; /* the submitter wants JobStarted and JobFinished */
        bool quiet;  /* bulk, and nobody is to hear of the end of one that succeeds before all
                        have ended */
        bool first_error; /* a failure is urgent: it cancels the rest of the group */
        bool durable;     /* what becomes of its jobs is kept on the disk, and known from then on */
        bool storing;     /* main thread only: they are not there yet, so they are not accepted */
        uint64_t first_id;
        uint32_t n_total;
        usec_t submitted_at; /* monotonic */
        usec_t submitted_realtime;
        usec_t delay;
        usec_t queue_timeout; /* USEC_INFINITY = waits for ever */
        usec_t run_timeout;   /* the pool's where the caller gave none; 0 = that of the pool of each
                                 stage */
        uint32_t max_attempts; /* 0 = as the pool says */
        bool once;             /* its fds can be used for one attempt alone, see job_is_once() */
        char *tag;             /* owned, NULL = none */
        char *concurrency_key; /* owned, NULL = none; with one, every job has details */
        char **arguments;      /* owned, NULL = none */
        int payload_fd;        /* owned; -EBADF = the payload is in Job.data */
        int output_fd;         /* owned; -EBADF = the output is kept */
        void *backing;         /* what payloads are borrowed from */
        void (*release_backing)(
                void *backing); /* called by the main thread with the last job gone */
        List links;             /* main thread only: among the submissions of one client */
        void *client;           /* main thread only, borrowed: who submitted; NULL = has gone */
        bool bind;              /* cancelled when the client goes */
        List mail;              /* in the mailbox, once all of them have ended */
        void *userdata;         /* main thread only: the caller that waits */
        void (*finished)(
                Submission *submission); /* main thread: all have ended; NULL = nobody waits */
        void (*stored)(
                Submission *submission, int r); /* main thread: accepted now, or (r < 0) never: then
                                                   it is freed next; NULL = nobody waits */
        void *pool;                             /* borrowed: the pool that it went to; or else */
        Pipeline *pipeline; /* borrowed: the pipeline, in which its jobs are items */
        void *group; /* borrowed: the JobGroup that it is; NULL = none. Workers only ask whether */
        SubmitKey *key; /* owned: see engine/submit-key.h; NULL = none. Workers do not look at it */

        /* Main thread only: what of it counts against the quota of its owner, see engine/quota.h.
         */
        void *account; /* shared: the Account; NULL = it does not count */
        uint32_t n_charged;
        bool group_charged;
        uint64_t bytes_charged;
};

/* The one transition function. Returns the state after `event`, or _JOB_STATE_INVALID if a job in
 * `state` cannot have it. A finished job has no further event. */
JobState job_next_state(JobState state, JobEvent event);

/* Moves the job along; an event that its state cannot have is a bug of the caller. */
void job_transition(Job *job, JobEvent event);

/* Moves it to JOB_FINISHED and sets the result, which is thereby final. */
void job_finish(Job *job, JobResult result);

/* The result of a job whose attempt ended with `outcome`. If it had been asked to stop, its flags
 * say why: a success that beat the stop stays a success, a failure is the stop's doing, as is that
 * somebody has gone, and what was lost stays lost. */
JobResult job_result_of(const Job *job, Outcome outcome);

JobStop job_stop(const Job *job);

const char *job_state_to_string(JobState s); /* NULL for what has no name */
JobState job_state_from_string(const char *s);
const char *job_result_to_string(JobResult r);
JobResult job_result_from_string(const char *s);

/* Was it tried, and to no avail? */
static inline bool job_result_is_failure(JobResult r) {
        return r == JOB_FAILED || r == JOB_TIMED_OUT || r == JOB_LOST;
}

/* Was it at work before, at the stage where it is? Not to be asked of one that is. */
static inline bool job_was_begun(const Job *job) {
        return job->details && (job->details->attempt > 0 || job->details->released);
}

/* Since when a queued job waits for its attempt: the key of a later one is as old as the job, its
 * wait is not. Never before due_at, whatever the clocks of threads say. */
static inline usec_t job_waits_since(const Job *job) {
        if (!job_was_begun(job) || job->details->ready_at < job->due_at)
                return job->due_at;
        return job->details->ready_at;
}

/* Is it at the stage that its submission was made for? What is in no pipeline always is. */
static inline bool job_is_at_first_stage(const Job *job) {
        return job->stage == 0;
}

/* Is what it works on there for one attempt alone? What came out of a stage is kept. */
static inline bool job_is_once(const Job *job) {
        return job->submission->once && job_is_at_first_stage(job);
}

static inline bool job_is_waiting(const Job *job) {
        return job->state == JOB_SCHEDULED || job->state == JOB_QUEUED;
}
