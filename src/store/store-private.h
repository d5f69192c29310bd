/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the store share. */

#include <pthread.h>
#include <stdatomic.h>

#include "store/marks.h"
#include "store/sql.h"
#include "store/store.h"

/* Beyond the kinds that others post: a new limit of ids, store_use_ids(). */
#define STORE_ID_LIMIT _STORE_KIND_MAX

/* Ids that are set aside at a time: at a few million per second a commit every few seconds. */
#define STORE_ID_STEP (UINT64_C(1) << 24)

/* 4 MiB: after so many pages the log is copied into the database. */
#define LOG_PAGES 1024

/* Room that is kept inside the database for the next jobs. */
#define SPARE_PAGES 256

/* While something waits for room that somebody else may make. */
#define RETRY_INTERVAL USEC_PER_SEC

#define META_ID_LIMIT "id limit"
#define META_CLEAN "clean"

struct Store {
        /* Constant once it is open. */
        char *dir;           /* owned */
        int dir_fd, lock_fd; /* owned */
        int fd;              /* owned: eventfd; written by the thread, read by main */
        Marks *marks;        /* owned */
        bool is_open;        /* can be written */
        bool was_clean;      /* closed in order the last time */
        bool is_new;         /* there was none before */
        bool is_another;     /* the one before was damaged */
        bool has_counted;    /* what was running in the life before */
        bool has_thread;
        pthread_t thread;

        /* The main thread's. */
        List posted;        /* since the last flush, by StoreChange.links */
        List posted_sheets; /* the same of sheets */
        size_t n_untold;    /* changes whose owner has not been told */
        uint64_t next_id, id_limit;
        StoreChange id_change; /* posted while `raises` */
        uint64_t raised_limit;
        bool raises;

        pthread_mutex_t lock; /* guards these; a leaf: nothing is taken under it */
        pthread_cond_t wake;
        List queue;        /* changes for the thread */
        List queue_sheets; /* blank once all of these are on the disk */
        List done;         /* changes to be told of, with their r */
        bool sleeps, stops;

        /* Written by the thread, read by main, for which nothing else follows from them. */
        atomic_bool has_failed; /* set once */
        atomic_bool is_tight;   /* the reserve is used up */

        /* The thread's; before it runs and after it has ended, main's. */
        Sql sql;
        List pending; /* changes that are being written, or wait for room or memory */
        List pending_sheets;
        int log_limit, spare_pages; /* LOG_PAGES and SPARE_PAGES, but in tests */
        usec_t retry_interval;      /* RETRY_INTERVAL, but in tests */
        int64_t realtime_offset;    /* CLOCK_REALTIME less CLOCK_MONOTONIC, of this transaction */
        uint64_t database, log;     /* inodes */
        bool waits;                 /* what is pending did not fit */
        bool must_forget_crashed;   /* some jobs are marked as having crashed us */
        int log_pages;              /* of the WAL, after the last commit */
        uint64_t n_commits;
        char why[256]; /* the last error */
};

/* ---- writer.c ---- */

/* The first thing that the thread does. */
void writer_begin(Store *store);

/* Commits what is pending as far as that goes, and moves what was decided to `told`. */
void writer_commit(Store *store, List *told);

/* What can wait until all is told: copies the log into the database, makes the reserve anew, gives
 * room back. True: there is more of it to do. */
bool writer_tidy(Store *store);

/* Copies the log into the database, which makes room inside the log; `cut`: and on the disk. 0,
 * also where there was no room or no memory to do so; or -errno. */
int writer_copy_log(Store *store, bool cut);

/* Gives the reserve free, and says that there is no room. */
void writer_use_reserve(Store *store);

void writer_note(Store *store, int r); /* as `why`: what SQLite said, or else the errno */

/* No more is written, for the reason in `why`; says so. */
void writer_fail(Store *store, const char *what);

/* Runs `change` as a transaction of its own, making room if need be. 0 or -errno. */
int writer_run(Store *store, int (*change)(Store *store, void *userdata), void *userdata);

int writer_put_meta(Store *store, const char *key, int64_t value);
int writer_find_files(Store *store); /* notes which they are; 0 or -errno */
