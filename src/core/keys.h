/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Concurrency keys of one pool: of the jobs with the same key only so many are at work at a time,
 * and they begin in the order of their ids. Those that have to wait for that are parked here and
 * not in the queue, where only the next one of each key is. Belongs to a Scheduler, which moves
 * jobs in and out of its queues as it is told here. Pure; not thread-safe. */

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "core/heap.h"
#include "core/job.h"
#include "core/prioq.h"
#include "util/list.h"

typedef struct Keys Keys;

/* What the jobs with one key have in common, as long as there are any. At every moment, between two
 * calls of the scheduler: a job is `next` if there are n_places < concurrency and any that waits,
 * and it has a lower id than all that are parked. */
struct Key {
        UT_hash_handle hh;
        Job *next;       /* borrowed: the one in the queue that has no place yet; NULL = none */
        Job *keeper;     /* borrowed: the one that is KEY_KEEPS; then it has the only place */
        List line;       /* JobDetails.key_line.line of parked jobs, least id first */
        Heap late;       /* parked jobs that fit neither of its ends, by id */
        uint64_t n_jobs; /* accepted and not finished */
        uint64_t n_parked;
        uint64_t n_ready;  /* those of them that could be at work as well, were they the next */
        uint32_t n_places; /* taken, by jobs that are KEY_HOLDS or KEY_KEEPS */
        char text[];
};

struct Keys {
        Key *by_text;         /* owned, hashed */
        Key *reserved;        /* borrowed: is kept without a job until another one is reserved */
        uint32_t concurrency; /* how many jobs of a key may be at work */
        uint64_t n_ready;     /* of all keys */
        Prioq parked;         /* the parked jobs of all keys, as if they were in the queue */
};

int keys_init(Keys *keys, uint32_t concurrency, usec_t aging_interval); /* 0 or -ENOMEM */
void keys_done(Keys *keys); /* the jobs still inside are forgotten */

/* Makes sure that jobs with this key and priority find room, until the next call of this. 0, or
 * -ENOMEM with nothing changed. */
int keys_reserve(Keys *keys, const char *text, int16_t priority);

/* The scheduler has accepted a job whose submission has a key, which was reserved. */
void keys_enter(Keys *keys, Job *job);

/* It has left the scheduler, KEY_AWAY. Without another job its key is forgotten. */
void keys_leave(Keys *keys, Job *job);

/* A job that is away is queued. True: it is the next of its key, and belongs into the queue. False:
 * it is to be parked. */
bool keys_offer(Keys *keys, Job *job);

/* A job that is away, or was the next, waits for its key. It must not be in the queue. */
void keys_park(Keys *keys, Job *job);

/* The next of its key leaves the queue, and has one of its places from now on. One that has a place
 * keeps it. */
void keys_take(Keys *keys, Job *job);

/* A job that is away has one of the places of its key, whoever else wants it. */
void keys_hold(Keys *keys, Job *job);

/* A job that has a place is to have another attempt. True: it keeps the place until it has ended,
 * as that is the only one. False: it is away. */
bool keys_back_off(Keys *keys, Job *job);

/* The job is away from now on: it gives up its place, is not the next, or not parked any more. */
void keys_release(Keys *keys, Job *job);

/* What is to change so that the right job of the key is in the queue: the one that is not to be
 * there, NULL if there is none; it is to be parked first. Then the one that is to come into it,
 * which is KEY_NEXT by this call. */
Job *keys_overtaken(const Keys *keys, const Key *key);
Job *keys_promote(Keys *keys, Key *key);

/* A new concurrency. With more than one nobody keeps a place. What this changes in the queue is to
 * be asked for each key. */
void keys_set_concurrency(Keys *keys, uint32_t concurrency);

/* Jobs of its key that are before this parked one and have not ended, those at work among them, +
 * 1; counted up to `max`. */
uint64_t keys_position(const Job *job, uint64_t max);

static inline bool keys_are_in_use(const Keys *keys) {
        return keys->by_text;
}

static inline Key *job_key(const Job *job) {
        return job->details ? job->details->key : NULL;
}

static inline bool job_is_parked(const Job *job) {
        return job_key(job) && (job->details->key_place == KEY_PARKED ||
                                       job->details->key_place == KEY_PARKED_LATE);
}

/* Has it a place of its key, which it keeps while it waits? */
static inline bool job_keeps_key(const Job *job) {
        return job->details->key_place == KEY_KEEPS;
}
