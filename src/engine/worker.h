/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Worker: a thread of a pool, pinned to one CPU, that takes jobs and runs them. It sleeps on an
 * eventfd of its own. Or a slot: the same without a thread, driven by main (engine/slot.h). */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "core/scheduler.h"
#include "engine/lease.h"
#include "engine/output.h"
#include "engine/pool.h"
#include "handler/handler.h"
#include "util/list.h"

typedef struct WorkerAttempt WorkerAttempt;

/* What the turn of a slot is for, where its jobs are leased. All others seek. */
typedef enum SlotAim {
        SLOT_SEEKS, /* takes a job, or is idle until there is one */
        SLOT_TRIES, /* takes a job, or nothing */
        SLOT_RESTS, /* takes nothing */
} SlotAim;

typedef struct WorkerResult WorkerResult;

/* How one job of a turn ended; written by the worker, published under the pool's lock. */
struct WorkerResult {
        Outcome outcome;
        int32_t exit_status;
        uint32_t size;
        uint8_t flags; /* JobFlag of the output */
        void *output;  /* NULL = none */
        char *error;
        JobDetails *details; /* ready for a job that needs them; NULL = none needed */
        uint32_t attempt;
        usec_t started_at,
                duration; /* duration is USEC_INFINITY where it was not measured singly */
};

/* All jobs of a batch begin at once. Which jobs of another turn have begun is settled by one atomic
 * word, so that the worker needs no lock between short jobs and others can still take back what it
 * has not begun: the low half counts the begun ones, the high half is where the turn ends. Only the
 * worker raises the low half, and only holders of the pool's lock lower the high half. results[i]
 * is complete once begun > i + 1. n_jobs follows the high half, so that it is what was begun once
 * the turn is over. */
struct Worker {
        /* Constant. */
        Pool *pool; /* borrowed */
        uint32_t id;
        int cpu;     /* -1 = a slot */
        int eventfd; /* owned; written by main (and under the lock by those who stop a job); -EBADF
                        = a slot */
        pthread_t thread;

        /* Guarded by the pool's lock. */
        List links, idle_links;
        Run run;
        bool idle, leaving;
        bool coming;       /* off the idle list, and counted in n_coming until its turn */
        usec_t taken_at;   /* when the turn's tokens were taken */
        uint64_t *permits; /* owned: of a breaker, for each job of the turn; 0 = none (any more) */
        bool several;      /* the turn is one of several jobs, and counted in n_several */
        bool batch;        /* the turn is one call of the handler, however many jobs it has */
        bool poked; /* the eventfd was written to stop a job, so it is to be emptied after the turn;
                       or the slot was put on the pool's list of those to stop */
        List poke_links; /* of a slot: in that list */
        bool stuck;      /* counted in n_stuck */
        bool stop_seen;  /* the run's deadline is now that of the stop */
        bool overdue;    /* and that is over: the job is taken from whoever had leased it */
        List sheets;     /* MarkSheet.links, owned: where the jobs of the turn are noted; … */
        size_t n_sheets; /* … of a durable pool */
        unsigned n_jobs;
        unsigned n_started;   /* jobs of the turn that are known to have begun, and told of */
        unsigned n_published; /* jobs of the turn that are finished */
        usec_t published_at;  /* when some were published last; the turn's start before */
        Job **jobs;           /* owned; the jobs are not */
        size_t room;          /* a turn can have so many jobs */

        /* Shared without the lock, as said above. */
        _Atomic uint32_t claim;
        atomic_int *stops;       /* owned: JobStop per job of the turn */
        _Atomic double progress; /* of the job that has begun last */

        /* Goes up when the worker leaves its handler or its sleep, and when it goes back: so it is
         * odd while it is at neither. Written by the worker alone; main only compares it with what
         * it has seen before, which orders nothing. */
        _Atomic uint64_t pulse;
        uint64_t seen_pulse; /* main thread only */

        /* Constant for the time of a turn. */
        usec_t turn_started_at;

        usec_t signalled_at; /* when the worker last saw to it that main reads its mail; its own */

        /* Only the worker's, but for results that are complete. */
        WorkerResult *results; /* owned */
        OutputWriter *writer;  /* its own, or that of all slots of the pool */
        OutputWriter own_writer;
        HandlerWorker *state;
        WorkerAttempt *attempts; /* owned: those of a batch or of a call in a slot, … */
        Attempt **attempt_list;  /* owned: … and where they are */
        unsigned attempts_room;

        /* Of a slot, main thread only. */
        bool in_flight; /* its call has begun and not ended */
        HandlerCall *call;
        SlotAim aim;
        uint32_t fits;        /* a job of up to so many bytes is taken; UINT32_MAX = any */
        bool stands_by;       /* for a call that waits: idle, or woken and not come yet */
        usec_t release_delay; /* of a job that is given back undone */
        Lease lease;          /* of the job that it has */
};

int worker_new(Pool *pool, uint32_t id, Worker **ret); /* without a CPU and a thread; 0 or -errno */
int worker_start(Worker *worker);                      /* makes the thread; 0 or -errno */
Worker *worker_free(Worker *worker); /* after it was joined, if it was started; returns NULL */

static inline bool worker_is_slot(const Worker *worker) {
        return worker->eventfd < 0;
}

void worker_wake(Worker *worker); /* writes the eventfd */

/* Makes room for a turn of n jobs, by the worker itself between two turns and with the pool's lock.
 * Returns for how many there is room, which is as many as before where memory is short. */
size_t worker_reserve(Worker *worker, size_t n);

/* The same for sheets to note the jobs of the turn on. */
size_t worker_reserve_sheets(Worker *worker, size_t n);

/* Notes that job i of the turn begins, before it does. */
void worker_mark(Worker *worker, unsigned i);

/* And that it has ended, as soon as it has. */
void worker_mark_ended(Worker *worker, unsigned i);

/* How many calls of the handler the turn is. */
static inline unsigned worker_n_calls(const Worker *worker) {
        return worker->batch ? 1 : worker->n_jobs;
}

static inline unsigned claim_begun(uint32_t claim) {
        return claim & 0xffff;
}

static inline unsigned claim_end(uint32_t claim) {
        return claim >> 16;
}

static inline uint32_t claim_make(unsigned begun, unsigned end) {
        return (uint32_t) end << 16 | begun;
}

/* One turn, called by the worker's thread, of a slot by main: publishes what was done, takes what
 * comes next. */
typedef enum Turn { TURN_WORK, TURN_IDLE, TURN_LEAVE } Turn;
Turn pool_turn(Pool *pool, Worker *worker, usec_t now);
