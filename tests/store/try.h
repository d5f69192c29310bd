/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* For tests of the store: a directory that goes with the test, changes that are made with a line,
 * and all that a state says as text, so that two of them can be compared. */

#include "test.h"

#include <string.h>

#include "store/store-private.h"

typedef struct TryStore TryStore;

struct TryStore {
        char dir[64];
        usec_t base, base_realtime; /* the moment, to which all that is dumped is relative */
        Store *store;               /* NULL = not open */
        uint64_t next_id;
        bool is_small;   /* limits so low that they are met; and no waiting for room */
        bool each_alone; /* wait after each post */
        bool refuses;    /* what may be refused is not even posted */
        unsigned n_done;
        int worst; /* of what was told since the last try_reset() */
};

/* A change with all that it points to. Frees itself when it is done. */
typedef struct TryChange {
        StoreChange change;
        TryStore *t;
        Submission submission;
        Job *jobs;
        JobDetails *details;
        size_t n;
        int *ret; /* where to put what it is told; NULL = nowhere */
} TryChange;

void try_init(TryStore *t); /* makes the directory */
void try_done(TryStore *t); /* closes, and removes it with all that is in it */

void try_open(TryStore *t, bool start);
int try_try_open(TryStore *t, bool start); /* what store_open() says */
void try_close(TryStore *t, bool orderly);

/* Sends what was posted and waits until all is told. Returns the worst that was. */
int try_wait(TryStore *t);
void try_wait_some(TryStore *t); /* the same, until something is told */

/* One line of each kind. try_submission() is for tests that want to change more. */
TryChange *try_submission(TryStore *t, size_t n, size_t size);
void try_post(TryStore *t, TryChange *change);
TryChange *try_change(TryStore *t, StoreKind kind, size_t n_jobs); /* of any other kind */
uint64_t try_submit(TryStore *t, size_t n, size_t size); /* posts it; returns the first id */
TryChange *try_end_of(TryStore *t, uint64_t id, JobResult result, const char *output);
void try_end(TryStore *t, uint64_t id, JobResult result, const char *output);
TryChange *try_wait_of(TryStore *t, uint64_t id, uint32_t attempt);
void try_priority(TryStore *t, uint64_t id, int16_t priority);
void try_forget(TryStore *t, uint64_t first, size_t n, uint64_t submission);
void try_object(TryStore *t, const char *kind, const char *name, const char *settings);
void try_forget_object(TryStore *t, const char *kind, const char *name);

/* All that is in the state, a line each; moments in seconds after t->base. malloc()ed. Only before
 * the thread runs. */
char *try_dump(TryStore *t);
int try_try_dump(TryStore *t, char **ret); /* what the reading says */
size_t try_count_jobs(TryStore *t);

char *try_path(const TryStore *t, const char *name); /* malloc()ed */
size_t try_count_set_aside(const TryStore *t);       /* files */
void try_remove_set_aside(const TryStore *t);
void try_remove_files(const TryStore *t);

/* From try_mute() to try_unmute() the log goes into a file, of which the latter returns the text.
 * malloc()ed. */
void try_mute(void);
char *try_unmute(void);

int try_set_up(void **state); /* for cmocka: makes a TryStore */
int try_tear_down(void **state);

static inline bool try_has_set_aside(const TryStore *t) {
        return try_count_set_aside(t) > 0;
}

#define try_test(f) cmocka_unit_test_setup_teardown(f, try_set_up, try_tear_down)
