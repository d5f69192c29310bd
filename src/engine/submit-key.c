/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Without this uthash ends the process where memory runs out. */
#define HASH_NONFATAL_OOM 1

#include "engine/engine-private.h"
#include "engine/submit-key.h"

/* What keys are found by lies in one piece at their end. */
#define SCOPE_OFFSET offsetof(SubmitKey, target)

_Static_assert(offsetof(SubmitKey, text) == SCOPE_OFFSET + sizeof(void *) + sizeof(uint32_t),
        "there is no padding in it");

static const void *key_scope(const SubmitKey *key) {
        return (const char *) key + SCOPE_OFFSET;
}

static size_t key_scope_size(const SubmitKey *key) {
        return offsetof(SubmitKey, text) - SCOPE_OFFSET + strlen(key->text);
}

int submission_set_key(Submission *submission, const char *text) {
        size_t size = strlen(text) + 1;
        SubmitKey *key = malloc(sizeof(*key) + size);

        assert(!submission->key && size <= SUBMIT_KEY_MAX + 1);
        if (!key)
                return -ENOMEM;
        *key = (SubmitKey){ .submission = submission };
        list_init(&key->watches);
        list_init(&key->storing_watches);
        memcpy(key->text, text, size);
        submission->key = key;
        return 0;
}

SubmitKey *submit_key_free(SubmitKey *key) {
        if (!key)
                return NULL;
        assert(list_is_empty(&key->watches) && list_is_empty(&key->storing_watches));
        if (key->engine)
                HASH_DELETE(by_scope, key->engine->submit_keys, key);
        free(key);
        return NULL;
}

static SubmitKey *find_alike(Engine *engine, const SubmitKey *key) {
        SubmitKey *known;

        HASH_FIND(by_scope, engine->submit_keys, key_scope(key), key_scope_size(key), known);
        return known;
}

/* The part of its scope that the submission itself does not say before it is accepted. */
static void set_scope(SubmitKey *key, const void *target) {
        key->target = target;
        key->owner = key->submission->owner;
}

KeyVerdict engine_ask_key(Engine *engine, const Pool *pool, const PoolPipeline *pipeline,
        Submission *submission, Submission **ret) {
        SubmitKey *key = submission->key;
        const SubmitKey *known;

        if (!key)
                return KEY_IS_NEW;
        set_scope(key, pipeline ? (const void *) &pipeline->pipeline : pool);
        known = find_alike(engine, key);
        if (!known)
                return KEY_IS_NEW;
        if (memcmp(known->digest, key->digest, sizeof(key->digest)) != 0)
                return KEY_IS_TAKEN;
        *ret = known->submission;
        return KEY_IS_REPEATED;
}

int submit_key_enter(SubmitKey *key, Engine *engine, uint32_t n) {
        const Submission *submission = key->submission;

        set_scope(
                key, submission->pipeline ? (const void *) submission->pipeline : submission->pool);
        assert(!find_alike(engine, key));
        HASH_ADD_KEYPTR(by_scope, engine->submit_keys, key_scope(key), key_scope_size(key), key);
        if (!key->by_scope.tbl)
                return -ENOMEM;
        key->engine = engine;
        key->n_unfinished = n;
        return 0;
}

/* ---- watches ---- */

int engine_watch_submission(Submission *submission, SubmissionWatch *watch) {
        if (submission->key->n_unfinished == 0)
                return 1;
        list_append(&submission->key->watches, &watch->links);
        return 0;
}

void engine_watch_storing(Submission *submission, SubmissionWatch *watch) {
        list_append(&submission->key->storing_watches, &watch->links);
}

void submission_unwatch(SubmissionWatch *watch) {
        if (list_is_linked(&watch->links))
                list_remove(&watch->links);
}

void submit_key_stored(SubmitKey *key, int r) {
        List *l;

        while ((l = list_pop(&key->storing_watches))) {
                SubmissionWatch *watch = list_entry(l, SubmissionWatch, links);

                watch->stored(watch, key->submission, r);
        }
}

void submit_key_job_ended(SubmitKey *key) {
        List *l;

        if (--key->n_unfinished > 0)
                return;
        while ((l = list_pop(&key->watches))) {
                SubmissionWatch *watch = list_entry(l, SubmissionWatch, links);

                watch->ended(watch, key->submission);
        }
}

void engine_forget_unfinished_calls(Engine *engine, const Pool *pool) {
        SubmitKey *key, *next;

        HASH_ITER (by_scope, engine->submit_keys, key, next) {
                const Submission *submission = key->submission;
                uint64_t first = submission->first_id, n = submission->n_total;

                if (!key->as_one || submission_first_pool(submission) != pool)
                        continue;
                /* With the last one goes the submission. */
                for (uint64_t i = 0; i < n; i++)
                        engine_release_job(engine, engine_find_job(engine, first + i));
        }
}

void submit_key_job_back(SubmitKey *key) {
        key->n_unfinished++;
}
