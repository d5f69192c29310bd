/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Handler: how the jobs of a pool are done. One const vtable per kind; one Handler object per pool.
 * The engine knows handlers only by this file; handlers do not know the engine.
 *
 * A kind on threads has run(), and one HandlerWorker per worker thread. run() is called in a worker
 * thread, without any lock, for one attempt at a time per worker, and may block. While it blocks it
 * polls attempt->wake_fd: when that is readable and attempt_stop() says so, the job has been
 * cancelled or has run out of time, and run() is to end soon (politely first, by force after
 * stop_timeout). It must leave the eventfd unread: the worker empties it.
 *
 * A kind in slots does its work elsewhere, with as many calls in flight as there are slots, and is
 * driven by the main thread alone: begin() and stop() return at once, and done() says when a call
 * has ended. Nothing of it may block. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/job.h"
#include "core/reply.h"
#include "util/macro.h"
#include "util/time.h"

typedef struct Attempt Attempt;
typedef struct Handler Handler;
typedef struct HandlerCall HandlerCall;
typedef struct HandlerConfig HandlerConfig;
typedef struct HandlerWorker HandlerWorker;

/* The longest error text: 4 KiB of a command's standard error, and what is said before them. */
#define ATTEMPT_ERROR_MAX (4096 + 256)

/* Which bus the daemon is on. */
typedef enum HandlerBus {
        HANDLER_BUS_UNKNOWN, /* settings are only looked at, by nobody's daemon */
        HANDLER_BUS_NONE,
        HANDLER_BUS_SYSTEM,
        HANDLER_BUS_USER,
} HandlerBus;

/* One attempt at one job: the facts that the handler is given, and the verdict that it leaves. */
struct Attempt {
        /* Facts, constant until run() returns or the call in a slot is done, all borrowed. */
        uint64_t id;
        const void *payload;
        size_t payload_size;
        int payload_fd;  /* a payload that came as an fd, to be read from offset 0; -EBADF = none */
        int output_fd;   /* where a command's standard output goes; -EBADF = it is kept */
        const char *tag; /* "" if there is none */
        char *const *arguments; /* what the submitter adds to the command line; NULL = nothing */
        const char *pool;
        unsigned attempt; /* 1 for the first */
        uint32_t worker;
        uint32_t owner;         /* uid of the submitter */
        int16_t priority;       /* as submitted; in a slot as it is now */
        bool in_batch;          /* one of a batch, which may be a batch of one */
        usec_t run_timeout;     /* in a slot: how long the call may take before it is to stop */
        const atomic_int *stop; /* JobStop, set at any time */
        int wake_fd; /* eventfd, readable when `stop` may have changed; do not read it. -EBADF in a
                        slot, which has stop() */
        _Atomic double *progress; /* 0 to 1; NULL = nobody could see it */

        /* Where output memory comes from. Set by the engine; use attempt_output_alloc(). */
        void *(*output_alloc)(Attempt *attempt, size_t size);

        /* Verdict. Outcome is OUTCOME_FAILURE and the rest empty when run() or begin() is entered.
         */
        Outcome outcome;
        int exit_status; /* of a command, or a coprocess that has ended with the job: 0 to 255,
                            128 + signal, 127 if it is missing, 126 if it cannot be executed;
                            otherwise 0 */
        char *error;     /* malloc()ed, taken over by the engine; see attempt_fail() */
        void *output;
        size_t output_size;
        bool output_owned; /* malloc()ed and taken over by the engine; otherwise from output_alloc()
                            */
};

/* Memory for an output of `size` bytes, which becomes the attempt's output (contents to be filled
 * in before run() returns, or done() is called). NULL if there is no memory. */
static inline void *attempt_output_alloc(Attempt *attempt, size_t size) {
        attempt->output = attempt->output_alloc(attempt, size);
        attempt->output_size = attempt->output ? size : 0;
        return attempt->output;
}

/* Makes the malloc()ed `output` the attempt's own, in place of what it had. */
void attempt_give_output(Attempt *attempt, void *output, size_t size);

/* Ends the attempt with `outcome` (not OUTCOME_SUCCESS) and a text for people, which is cut at
 * ATTEMPT_ERROR_MAX bytes. What is not UTF-8 in it becomes question marks. The text of an earlier
 * call is replaced; an output that was there stays. */
void attempt_fail(Attempt *attempt, Outcome outcome, const char *format, ...) _printf_(3, 4);

/* For open(): puts the text into *ret_error and returns r, or -ENOMEM. */
int handler_refuse(char **ret_error, int r, const char *format, ...) _printf_(3, 4);

static inline JobStop attempt_stop(const Attempt *attempt) {
        return (JobStop) atomic_load_explicit(attempt->stop, memory_order_acquire);
}

/* The settings that handlers read. Owned by the pool's configuration, which outlives the Handler.
 */
struct HandlerConfig {
        const char *pool;
        uint64_t payload_max;
        usec_t stop_timeout; /* from the polite signal to SIGKILL */
        /* [Command] */
        char **exec_start; /* the words of ExecStart=; [0] is an absolute path */
        bool allow_arguments;
        char *working_directory;
        char **environment;  /* KEY=VALUE */
        uint64_t output_max; /* per job */
        bool pin_commands;
        bool netstring_batches; /* each run reads and writes netstrings, one per job of its batch */
        Framing framing;        /* of a coprocess */
        /* [Module] */
        char *module_path;    /* absolute, or a file name in the module directory */
        char *module_options; /* blank separated KEY=VALUE, may be "" */
        /* [Service] */
        char *bus_name;
        char *object_path;
        /* [Unit] */
        char *unit_template; /* sluice-NAME@.service */

        /* Of the daemon, and no settings. */
        void *event;    /* borrowed: the sd_event of the main thread; NULL = the handler is opened
                           only to see whether it can be */
        HandlerBus bus; /* which one the daemon itself is on */
        void *units;    /* borrowed: the Units of the daemon; NULL = no unit can be started */
};

typedef struct HandlerVTable {
        const char *name;    /* as in Handler= */
        const char *section; /* of the settings that open() finds fault with */

        /* May several short jobs be taken in one turn? Then run() is cheap and worth it. */
        bool takes_several;

        /* Jobs run in slots, by begin() and stop(), and not on threads by what is named worker,
         * idle and run. */
        bool in_slots;
        uint32_t max_slots;   /* there may be so many of them; 0 = any number */
        uint64_t max_payload; /* of all jobs of one call; 0 = any size */

        /* Is a payload fd handed to run() as it is (true), or is it to be read into memory first?
         * See handler_takes_fd(). */
        bool takes_fd;

        /* Makes the pool's handler. On failure -errno, and *ret_error says what is wrong with the
         * settings in words that name the setting (malloc()ed, the caller's; left alone where
         * there is no memory). -ENOEXEC: there is no such program or plug-in, or it cannot be used.
         * Main thread; may touch the disk. */
        int (*open)(const HandlerConfig *config, Handler **ret, char **ret_error);

        /* After the last worker or slot has gone. Main thread. */
        void (*close)(Handler *handler);

        /* What one worker thread keeps between jobs; called in that thread. `cpus` is the set that
         * the pool may use, of which the thread itself is pinned to one. worker_close() may take
         * its time, up to stop_timeout. NULL members: the kind needs none. */
        int (*worker_open)(
                Handler *handler, const void *cpus, size_t cpus_size, HandlerWorker **ret);
        void (*worker_close)(Handler *handler, HandlerWorker *worker);

        /* The worker has nothing to do. Looks after what it keeps until the eventfd is readable,
         * which it leaves unread, or returns before, if there is nothing to look after. NULL: there
         * never is. */
        void (*idle)(Handler *handler, HandlerWorker *worker, int wake_fd);

        /* Does the attempt and leaves the verdict in it. */
        void (*run)(Handler *handler, HandlerWorker *worker, Attempt *attempt);

        /* Does n >= 1 attempts as one and leaves a verdict in each; that of one without a verdict
         * is its own failure alone. They share the worker and the eventfd, which becomes readable
         * when all of them are to stop; of a single one only the flag says so. NULL: the kind
         * knows no batches. */
        void (*run_batch)(
                Handler *handler, HandlerWorker *worker, Attempt *const *attempts, size_t n);

        /* Begins n attempts as one call (n = 1 unless the pool batches) and returns at once. The
         * verdict in each attempt is complete when the handler calls done(userdata), exactly once
         * per call, never from within begin() itself. The attempts stay valid until then. A call
         * that cannot even be begun returns -errno, with the verdict (attempt_fail()) already in
         * each attempt. *ret_call is the handler's own, to be named in stop(). Main thread. */
        int (*begin)(Handler *handler, Attempt *const *attempts, size_t n,
                void (*done)(void *userdata), void *userdata, HandlerCall **ret_call);

        /* The call is to stop: attempt->stop says why (cancelled, out of its time). It must end
         * within the stop time-out of the settings, and may end at once: done() may be called from
         * here. Of a batch all attempts are to stop. At most once per call. Main thread. */
        void (*stop)(Handler *handler, HandlerCall *call);
} HandlerVTable;

/* Nobody begins its jobs: who does them comes for them (see engine/lease.h). */
static inline bool handler_is_pulled(const HandlerVTable *vtable) {
        return vtable->in_slots && !vtable->begin;
}

/* A batch of payloads is one input, so that none of them can be an fd. */
static inline bool handler_takes_fd(const HandlerVTable *vtable, const HandlerConfig *config) {
        return vtable->takes_fd && !config->netstring_batches;
}

/* The kinds that run on threads, … */
extern const HandlerVTable command_vtable;
extern const HandlerVTable coprocess_vtable;
extern const HandlerVTable module_vtable;

/* … and those that run in slots. */
extern const HandlerVTable lease_vtable;
extern const HandlerVTable service_vtable;
extern const HandlerVTable unit_vtable;

/* NULL if there is no kind of that name. */
const HandlerVTable *handler_find(const char *name);
