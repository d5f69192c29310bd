/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Store: what is to survive the daemon, in one SQLite database of which one thread is the only
 * user. The main thread posts changes; those of one turn of its loop, and what comes while the
 * thread is busy, are one transaction, and each is told when that is on the disk. All functions are
 * for the main thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/group.h"
#include "core/job.h"
#include "util/list.h"

typedef struct MarkSheet MarkSheet;
typedef struct Store Store;
typedef struct StoreChange StoreChange;
typedef struct StoreReader StoreReader;
typedef struct StoredJob StoredJob;
typedef struct StoredObject StoredObject;
typedef struct StoredSubmission StoredSubmission;

/* Of what was submitted with a key. */
#define STORE_DIGEST_SIZE 16

/* After so many crashes of the daemon while it ran a job is not tried again. */
#define STORE_CRASHES_MAX 3

typedef enum StoreKind {
        STORE_SUBMIT,        /* a submission and its jobs */
        STORE_END,           /* jobs have finished */
        STORE_WAIT,          /* a job waits again: for another attempt, or at another stage */
        STORE_PRIORITY,      /* of a job that has not finished */
        STORE_FORGET,        /* jobs and submissions of which nothing is kept any more */
        STORE_OBJECT,        /* an object that was made or changed at run time */
        STORE_FORGET_OBJECT, /* and that is not to come back; of a pool or pipeline with all jobs
                                that were submitted to it */
        _STORE_KIND_MAX,
} StoreKind;

/* An object that comes back: made at run time, or with settings or a state that differ from its
 * file. */
struct StoredObject {
        const char *kind;     /* "pool", "pipeline", "limiter", "breaker" */
        const char *name;     /* unique within its kind */
        const char *settings; /* what the daemon makes of it; never NULL */
        uint64_t digest;      /* of the file that it differs from; 0 = made at run time */
        bool paused, draining;
};

/* One change. Embedded by its owner; with all that it points to it is the store's until done(). */
struct StoreChange {
        List links;
        StoreKind kind;

        /* What became of it: 0, it is on the disk. -ENOSPC or -ENOMEM, it is not and will not be:
         * of STORE_SUBMIT alone, all others wait for room and for memory, until the close. -EIO,
         * the store has failed and takes nothing more; whether the change is found after a restart
         * is not known. Main thread, from store_dispatch() or store_close(), in the order of the
         * posts, but that who is refused hears of it before those that wait. NULL = nobody waits.
         */
        void (*done)(StoreChange *change, int r);
        int r; /* the store's: what done() is to be told */

        union {
                struct {
                        Submission *submission;
                        Job *first;         /* linked by next; JOB_NEW */
                        const char *target; /* name of the pool or pipeline that it went to */
                        bool to_pipeline;
                        uint64_t group_id; /* 0 = none */
                        GroupPolicy group_policy;
                        const char *key; /* NULL = none */
                        const uint8_t *key_digest;
                        bool as_one;
                } submit;
                Job *ended; /* linked by next */
                struct {
                        uint64_t id;
                        uint8_t stage;
                        bool kicked;
                        uint32_t attempt, asked;
                        usec_t due_realtime, ready_realtime;
                        bool has_data; /* else what it works on is as before */
                        const void *data;
                        uint32_t size;
                } wait;
                struct {
                        uint64_t id;
                        int16_t priority;
                } priority;
                struct {
                        const uint64_t *ids, *submissions; /* the latter by submission_key() */
                        size_t n_ids, n_submissions;
                } forget;
                StoredObject object; /* STORE_FORGET_OBJECT: kind and name alone matter */
        };
};

/* By what a submission is known here: its group if it is one, since one of no jobs has no id that
 * the next submission does not have as well. */
static inline uint64_t submission_key(uint64_t group_id, uint64_t first_id) {
        return group_id > 0 ? group_id : first_id;
}

/* A row as it is read. Times are CLOCK_REALTIME. Pointers are good until the call returns. */
struct StoredSubmission {
        uint64_t first_id;
        uint32_t n_total, owner, max_attempts;
        int16_t priority;
        const char *target;
        bool to_pipeline, bind;
        uint64_t group_id; /* 0 = none */
        GroupPolicy group_policy;
        usec_t submitted_realtime, delay, queue_timeout, run_timeout;
        const char *tag, *concurrency_key; /* NULL = none */
        char **arguments;                  /* NULL = none */
        const char *key;                   /* NULL = none; else of what was submitted, … */
        const uint8_t *key_digest;         /* … STORE_DIGEST_SIZE bytes, … */
        bool as_one;                       /* … and whether all results are for one call */
};

struct StoredJob {
        uint64_t id;
        uint8_t stage;
        bool finished;
        bool kicked;
        bool was_running; /* when the daemon ended without having been stopped: `attempt` and
                             `crashes` count that */
        JobResult result; /* of a finished one */
        int16_t priority;
        uint32_t attempt, asked, crashes;
        int32_t worker, exit_status;
        usec_t due, ready, started, finished_at, duration; /* 0 = not yet, or at once */
        const char *error;                                 /* NULL = none */
        const void *data;
        uint32_t size;
};

/* Who hears of what is read; each returns 0 or -errno, which ends the reading. */
struct StoreReader {
        const char *target; /* NULL = all jobs; else only what was submitted to this … */
        bool to_pipeline;   /* … pipeline, or pool */

        int (*object)(void *userdata, const StoredObject *object);
        int (*submission)(void *userdata, const StoredSubmission *submission);
        /* Of the submission that was read last. */
        int (*job)(void *userdata, const StoredJob *job);
};

/* Opens the state below `dir`, which is made if it is not there (0700). Blocks: waits up to
 * `patience` for another daemon to let go of it (-EBUSY then), checks all of the file, sets a
 * damaged one aside under a name with the date and begins another, brings an older schema up to
 * date. -ENOTSUP: it is not ours, or of a newer version, and was left alone. *ret_error says what
 * is wrong, NULL if there is no memory for that; the caller's to free. */
int store_open(const char *dir, usec_t patience, Store **ret, char **ret_error);

/* While the thread does not run: reads all objects, or submissions with their jobs, ids ascending.
 * Blocks. 0, what the reader has returned, -ENOMEM, or another -errno: then the store has failed,
 * and if it was for damage, the next store_open() sets it aside. Jobs once at least before the
 * thread runs, as it is then that it is written down what was running. */
int store_read_objects(Store *store, const StoreReader *reader, void *userdata);
int store_read_jobs(Store *store, const StoreReader *reader, void *userdata);

/* No id from here on was ever given out. */
uint64_t store_next_id(const Store *store);

/* Ids below this can be given out now. More are asked for in time by store_use_ids(), which is told
 * what is given out next. */
uint64_t store_id_limit(const Store *store);
void store_use_ids(Store *store, uint64_t next_id);

int store_start(Store *store); /* the thread; 0 or -errno, and then it has failed */

/* Says that it cannot go on, for what has happened elsewhere. While it has no thread. */
void store_fail(Store *store, int r, const char *what);

/* Ends the thread, until it is started again. Blocks until what was posted is written, or has no
 * room; it is told of as always. */
void store_stop(Store *store);

/* Commits what was posted, tells of it, ends the thread, and lets go of the state. With `orderly`
 * nothing is running any more. Returns NULL. */
Store *store_close(Store *store, bool orderly);

void store_post(Store *store, StoreChange *change);

/* The end of the loop's turn: what was posted is a transaction, as soon as the thread is free. */
void store_flush(Store *store);

int store_fd(const Store *store); /* readable: store_dispatch() has something to tell, or the store
                                     has failed */
void store_dispatch(Store *store);
bool store_is_idle(const Store *store);    /* nothing posted is not told of yet */
bool store_has_failed(const Store *store); /* an I/O error: nothing is written any more */
bool store_has_room(const Store *store);   /* else nothing new is taken until it has */

/* ---- marks ---- */

/* Which jobs are at work, in a file mapped MAP_SHARED, so that it survives the daemon (but not a
 * loss of power) without a commit per job. A worker writes one sheet per turn. */

#define MARK_SHEET_MAX 64

/* A sheet for up to MARK_SHEET_MAX jobs; NULL if there is none: the store is far behind, or there
 * is no room for more. Any thread; takes a leaf lock. */
MarkSheet *store_take_sheet(Store *store);

/* Job number i of the turn begins now. By the thread that has the sheet. */
void mark_begun(MarkSheet *sheet, unsigned i, uint64_t id, uint8_t stage, uint32_t attempt);

/* It has ended, which nobody was told yet. If the daemon is killed before that is on the disk, the
 * attempt counts, but it is not this job that has killed it. By the same thread. */
void mark_ended(MarkSheet *sheet, unsigned i);

/* The sheets, by their links, are blank once all that was posted before is on the disk. */
struct MarkSheet {
        List links;
        void *entries; /* borrowed from the mapping */
};
void store_release_sheets(Store *store, List *sheets);
