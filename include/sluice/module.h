/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* sluice/module.h: how to write a plug-in for pools with Handler=module.
 *
 * A plug-in is a shared object that exports one symbol, `sluice_module`:
 *
 *     #include <sluice/module.h>
 *
 *     static int upper(void *state, struct sluice_job *job) {
 *             char *out = sluice_output(job, job->payload_size);
 *             if (!out)
 *                     return SLUICE_FAILED;
 *             for (size_t i = 0; i < job->payload_size; i++)
 *                     out[i] = toupper(((const unsigned char *) job->payload)[i]);
 *             return SLUICE_OK;
 *     }
 *
 *     SLUICE_MODULE(.name = "upper", .process = upper);
 *
 *     cc -shared -fPIC -o upper.so upper.c
 *
 * Trust: a plug-in runs inside sluiced, with all its rights and all its memory. It is loaded only
 * from a file and folders that nobody but root (or the user that sluiced runs as) can write. It is
 * never unloaded.
 *
 * Threads: process() is called by several worker threads at once with the same `state`. A worker
 * thread has all signals blocked and is pinned to one CPU. A plug-in must not change its thread's
 * signal mask, CPU set or credentials, must not fork without exec, and must not keep anything of a
 * job after it returned.
 *
 * Compatibility: SLUICE_MODULE_ABI changes only when old plug-ins would break. Members are only
 * ever added at the end of the structs; `size` tells each side how much the other one knows. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_MODULE_ABI 1

/* What process() returns. Anything else counts as SLUICE_FAILED. */
enum {
        SLUICE_OK = 0,
        SLUICE_FAILED = 1, /* another attempt may be made, as the pool's MaxAttempts says */
        SLUICE_FATAL = 2,  /* another attempt would fail the same way: none is made */
        SLUICE_RETRY = 3,  /* a passing trouble: another attempt is wanted */
};

struct sluice_job;

/* What the daemon offers. All functions may be called only for the job at hand, by the thread that
 * was given it. */
struct sluice_host {
        size_t size; /* of this struct */

        /* Memory for `size` bytes of output, which replaces what the job had as output. Fill it
         * before process() returns; do not free it. NULL if there is no memory. */
        void *(*output)(struct sluice_job *job, size_t size);

        /* Says why the job fails, in one line for people. Copied; cut at 4 KiB. The last one
         * counts. */
        void (*error)(struct sluice_job *job, const char *text);

        /* Non-zero once the job was cancelled or its time is over: then give up and return
         * SLUICE_FAILED soon. A job that still succeeds is a success. Cheap enough for every turn
         * of a loop. */
        int (*stopped)(struct sluice_job *job);

        /* A file descriptor that becomes readable when stopped() may have changed, for poll().
         * Never read or close it. In a batch it is one for all, and says when none of the jobs is
         * wanted any more; of a single one only stopped() tells. */
        int (*stop_fd)(struct sluice_job *job);

        /* How far the job is, 0 to 1; shown as the property Progress. Not kept in a batch. */
        void (*progress)(struct sluice_job *job, double done);
};

/* A job, as process() sees it. Everything is borrowed for the time of the call. */
struct sluice_job {
        const struct sluice_host *host;
        size_t size; /* of this struct */
        uint64_t id;
        const void *payload; /* NULL if payload_size is 0 */
        size_t payload_size;
        const char *pool;
        const char *tag;  /* "" if the submitter gave none */
        unsigned attempt; /* 1 for the first */
        unsigned worker;  /* which worker of the pool this is */
};

struct sluice_module {
        uint32_t abi;  /* SLUICE_MODULE_ABI; set by SLUICE_MODULE() */
        uint32_t size; /* of this struct; set by SLUICE_MODULE() */
        const char *name;

        /* Called once per pool, before any job. `options` are the words of the setting Options=,
         * NULL-terminated. Returns 0, or non-zero with a text for the administrator in `error`,
         * which has `error_size` bytes: then the pool is not made. May be NULL. */
        int (*open)(const char *const *options, void **state, char *error, size_t error_size);

        /* Called once per pool, after its last job. May be NULL. */
        void (*close)(void *state);

        /* Does one job. Required, unless process_batch() is there. */
        int (*process)(void *state, struct sluice_job *job);

        /* Does several jobs as one and writes the verdict of jobs[i] to results[i], for i < n; a
         * job without one has failed (SLUICE_FAILED), and the others do not suffer from that. Used
         * by pools with a [Batch] section, and with n = 1 where process() is missing. May be NULL:
         * then such a pool calls process() for one job of the batch after the other. */
        void (*process_batch)(void *state, struct sluice_job *const *jobs, size_t n, int *results);
};

/* Defines the exported symbol; give the members by name. */
#define SLUICE_MODULE(...)                                                                  \
        __attribute__((visibility("default"))) const struct sluice_module sluice_module = { \
                .abi = SLUICE_MODULE_ABI, .size = sizeof(struct sluice_module), __VA_ARGS__ \
        }

static inline void *sluice_output(struct sluice_job *job, size_t size) {
        return job->host->output(job, size);
}

static inline void sluice_error(struct sluice_job *job, const char *text) {
        job->host->error(job, text);
}

static inline int sluice_stopped(struct sluice_job *job) {
        return job->host->stopped(job);
}

static inline int sluice_stop_fd(struct sluice_job *job) {
        return job->host->stop_fd(job);
}

static inline void sluice_progress(struct sluice_job *job, double done) {
        job->host->progress(job, done);
}

#ifdef __cplusplus
}
#endif
