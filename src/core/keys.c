/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A key gives out its places one by one: only its next job is in the queue, where it competes with
 * those of other keys and with those that have none, and when that is taken the one after it is put
 * there. So jobs of a key begin in order whatever their priorities, and a pool that has a million
 * jobs of one key has one of them in its queue.
 *
 * Each key's line is a list: nearly all jobs come with a higher id than those before, and what
 * comes back, because it was only claimed or for another attempt, has a lower one than those that
 * wait. A delayed job may belong in between; that is a heap beside the list.
 *
 * All parked jobs are in one Prioq as well. Nothing is ever taken from it by its order; but it
 * knows which of them are the oldest and the last ones, when room has to be made. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Without this uthash ends the process where memory runs out. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "core/keys.h"
#include "util/macro.h"

static Job *job_of_line(const List *l) {
        return container_of(l, JobDetails, key_line.line)->job;
}

static Job *job_of_late(const HeapLink *link) {
        return container_of(link, JobDetails, key_line.late)->job;
}

static bool submitted_before(const HeapLink *a, const HeapLink *b, const void *userdata) {
        return job_of_late(a)->id < job_of_late(b)->id;
}

int keys_init(Keys *keys, uint32_t concurrency, usec_t aging_interval) {
        *keys = (Keys){ .concurrency = concurrency };
        return prioq_init(&keys->parked, aging_interval);
}

static void key_forget(Keys *keys, Key *key) {
        HASH_DELETE(hh, keys->by_text, key);
        free(key);
}

void keys_done(Keys *keys) {
        Key *key, *next;

        HASH_ITER (hh, keys->by_text, key, next)
                key_forget(keys, key);
        prioq_done(&keys->parked);
        *keys = (Keys){};
}

static Key *key_find(Keys *keys, const char *text) {
        Key *key;

        /* All jobs of a submit come with the key that was reserved for them. */
        if (keys->reserved && strcmp(keys->reserved->text, text) == 0)
                return keys->reserved;
        HASH_FIND(hh, keys->by_text, text, strlen(text), key);
        return key;
}

static Key *key_new(Keys *keys, const char *text) {
        size_t size = strlen(text);
        Key *key = calloc(1, sizeof(*key) + size + 1);

        if (!key)
                return NULL;
        list_init(&key->line);
        heap_init(&key->late, submitted_before, NULL);
        memcpy(key->text, text, size);
        HASH_ADD_KEYPTR(hh, keys->by_text, key->text, size, key);
        if (!key->hh.tbl) {
                free(key);
                return NULL;
        }
        return key;
}

int keys_reserve(Keys *keys, const char *text, int16_t priority) {
        Key *key, *before = keys->reserved;
        int r;

        r = prioq_reserve(&keys->parked, priority);
        if (r < 0)
                return r;
        key = key_find(keys, text);
        if (!key)
                key = key_new(keys, text);
        if (!key)
                return -ENOMEM;
        keys->reserved = key;
        if (before && before != key && before->n_jobs == 0)
                key_forget(keys, before);
        return 0;
}

void keys_enter(Keys *keys, Job *job) {
        Key *key = key_find(keys, job->submission->concurrency_key);

        assert(key);
        key->n_jobs++;
        job->details->key = key;
        job->details->key_place = KEY_AWAY;
}

void keys_leave(Keys *keys, Job *job) {
        Key *key = TAKE_PTR(job->details->key);

        assert(job->details->key_place == KEY_AWAY);
        if (--key->n_jobs == 0 && key != keys->reserved)
                key_forget(keys, key);
}

/* Keeps the counts of what could be at work true. */
static void recount(Keys *keys, Key *key) {
        uint64_t n_taken = (uint64_t) key->n_places + (key->next ? 1 : 0);
        uint64_t n_free = keys->concurrency - MIN(n_taken, (uint64_t) keys->concurrency);
        uint64_t n_ready = MIN(n_free, key->n_parked);

        keys->n_ready += n_ready - key->n_ready;
        key->n_ready = n_ready;
}

static Job *first_parked(const Key *key) {
        const List *line = list_first(&key->line);
        const HeapLink *late = heap_first(&key->late);

        if (unlikely(late) && (!line || job_of_late(late)->id < job_of_line(line)->id))
                return job_of_late(late);
        return line ? job_of_line(line) : NULL;
}

bool keys_offer(Keys *keys, Job *job) {
        Key *key = job->details->key;

        if (key->next || key->n_parked > 0 || key->n_places >= keys->concurrency)
                return false;
        key->next = job;
        job->details->key_place = KEY_NEXT;
        recount(keys, key);
        return true;
}

void keys_park(Keys *keys, Job *job) {
        JobDetails *details = job->details;
        Key *key = details->key;

        if (key->next == job)
                key->next = NULL;
        details->key_place = KEY_PARKED;
        if (list_is_empty(&key->line) || job->id > job_of_line(key->line.prev)->id)
                list_append(&key->line, &details->key_line.line);
        else if (job->id < job_of_line(key->line.next)->id)
                list_prepend(&key->line, &details->key_line.line);
        else {
                details->key_place = KEY_PARKED_LATE;
                heap_insert(&key->late, &details->key_line.late);
        }
        prioq_push(&keys->parked, job);
        key->n_parked++;
        recount(keys, key);
}

static void unpark(Keys *keys, Job *job) {
        JobDetails *details = job->details;
        Key *key = details->key;

        if (unlikely(details->key_place == KEY_PARKED_LATE))
                heap_remove(&key->late, &details->key_line.late);
        else
                list_remove(&details->key_line.line);
        prioq_remove(&keys->parked, job);
        key->n_parked--;
}

void keys_take(Keys *keys, Job *job) {
        Key *key = job->details->key;

        if (job_keeps_key(job))
                return;
        assert(key->next == job);
        key->next = NULL;
        key->n_places++;
        job->details->key_place = KEY_HOLDS;
        recount(keys, key);
}

void keys_hold(Keys *keys, Job *job) {
        Key *key = job->details->key;

        assert(job->details->key_place == KEY_AWAY);
        key->n_places++;
        job->details->key_place = KEY_HOLDS;
        recount(keys, key);
}

/* Those behind it are not to pass. Where others of its key may be at work meanwhile, they pass it
 * anyway, so there it would only be in the way. */
bool keys_back_off(Keys *keys, Job *job) {
        Key *key = job->details->key;

        if (keys->concurrency > 1 || key->n_places > 1) {
                keys_release(keys, job);
                return false;
        }
        key->keeper = job;
        job->details->key_place = KEY_KEEPS;
        return true;
}

void keys_release(Keys *keys, Job *job) {
        JobDetails *details = job->details;
        Key *key = details->key;

        switch (details->key_place) {

        case KEY_PARKED:
        case KEY_PARKED_LATE:
                unpark(keys, job);
                break;

        case KEY_NEXT:
                key->next = NULL;
                break;

        case KEY_KEEPS:
                key->keeper = NULL;
                key->n_places--;
                break;

        case KEY_HOLDS:
                key->n_places--;
                break;

        case KEY_AWAY:
                break;
        }
        details->key_place = KEY_AWAY;
        recount(keys, key);
}

Job *keys_overtaken(const Keys *keys, const Key *key) {
        const Job *first;

        if (!key->next)
                return NULL;
        if (key->n_places >= keys->concurrency)
                return key->next;
        first = first_parked(key);
        return first && first->id < key->next->id ? key->next : NULL;
}

Job *keys_promote(Keys *keys, Key *key) {
        Job *job;

        if (key->next || key->n_parked == 0 || key->n_places >= keys->concurrency)
                return NULL;
        job = first_parked(key);
        unpark(keys, job);
        key->next = job;
        job->details->key_place = KEY_NEXT;
        recount(keys, key);
        return job;
}

/* The keeper is one job as any other from now on. It had the only place, so nobody else is next. */
static void let_keeper_go(Key *key) {
        Job *job = TAKE_PTR(key->keeper);
        JobDetails *details = job->details;

        if (job->state == JOB_SCHEDULED) {
                details->key_place = KEY_AWAY;
                key->n_places--;
        } else if (job->state == JOB_QUEUED && !(job->flags & JOB_CLAIMED)) {
                details->key_place = KEY_NEXT;
                key->next = job;
                key->n_places--;
        } else
                details->key_place = KEY_HOLDS;
}

void keys_set_concurrency(Keys *keys, uint32_t concurrency) {
        keys->concurrency = concurrency;
        for (Key *key = keys->by_text; key; key = key->hh.next) {
                if (key->keeper && concurrency > 1)
                        let_keeper_go(key);
                recount(keys, key);
        }
}

static bool is_submitted_before(const HeapLink *link, const void *place) {
        const Job *job = place;

        return job_of_late(link)->id < job->id;
}

uint64_t keys_position(const Job *job, uint64_t max) {
        const Key *key = job->details->key;
        uint64_t n = (uint64_t) key->n_places + (key->next ? 1 : 0) + 1;

        for (const List *l = key->line.next; l != &key->line && n < max; l = l->next) {
                if (job_of_line(l)->id >= job->id)
                        break;
                n++;
        }
        if (n < max)
                n += heap_count_before(
                        &key->late, is_submitted_before, job, max - n, PRIOQ_LOOKS_MAX);
        return MIN(n, max);
}
