/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* SubmitKey: what makes a submit call one that can be repeated. Who does not know whether a call
 * was accepted makes it again with the same Key, and is answered with the jobs of the first one.
 * Keys of different owners, pools and pipelines have nothing to do with each other.
 *
 * A key belongs to its submission, and is known from its acceptance on for as long as that has
 * jobs. So what is kept of results is what is kept of keys. Main thread only. */

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "engine/engine.h"
#include "store/store.h"

typedef struct SubmissionWatch SubmissionWatch;

#define SUBMIT_KEY_MAX 255
#define SUBMIT_DIGEST_SIZE STORE_DIGEST_SIZE

struct SubmitKey {
        Submission *submission; /* borrowed: whose it is */
        Engine *engine;         /* borrowed: that knows it; NULL = not accepted yet */
        bool as_one; /* callers were to have all results as one: they are kept until all have ended,
                        and from then on one by one */
        uint32_t n_unfinished;              /* jobs whose end was not read from the mailbox yet */
        List watches;                       /* SubmissionWatch.links: for the end, … */
        List storing_watches;               /* … and for the disk */
        uint8_t digest[SUBMIT_DIGEST_SIZE]; /* of what was submitted */
        UT_hash_handle by_scope;            /* in Engine.submit_keys, by all that follows: */
        const void *target;                 /* borrowed, only compared: its pool or pipeline */
        uint32_t owner;
        char text[];
};

/* Somebody waits for the end of all jobs of a submission. Embedded by its owner, who may leave with
 * submission_unwatch(). */
struct SubmissionWatch {
        List links;
        void (*ended)(SubmissionWatch *watch, Submission *submission); /* it is out of the list */

        /* The same: accepted, or with r < 0 never, and then the submission is freed next. */
        void (*stored)(SubmissionWatch *watch, Submission *submission, int r);
};

typedef enum KeyVerdict {
        KEY_IS_NEW,      /* or there is none */
        KEY_IS_REPEATED, /* the same was submitted before */
        KEY_IS_TAKEN,    /* something else was */
} KeyVerdict;

/* Gives the submission this key, of at most SUBMIT_KEY_MAX bytes; its digest is the caller's to
 * fill in. 0 or -ENOMEM. */
int submission_set_key(Submission *submission, const char *text);

/* Was there a submit with the key of this one, of the same owner and to the same pipeline or, if
 * that is NULL, pool? *ret is that one with KEY_IS_REPEATED. */
KeyVerdict engine_ask_key(Engine *engine, const Pool *pool, const PoolPipeline *pipeline,
        Submission *submission, Submission **ret);

/* Tells the watch when all jobs of the submission, which has a key, have ended. 0, or 1 if they
 * have already (then nobody will be told). */
int engine_watch_submission(Submission *submission, SubmissionWatch *watch);

/* Tells the watch what becomes of a submission, which has a key and is being stored. */
void engine_watch_storing(Submission *submission, SubmissionWatch *watch);
void submission_unwatch(SubmissionWatch *watch); /* fine for one that is in no list */

/* ---- for submission.c and finished.c ---- */

/* The submission is accepted with n jobs, if what else is to be done succeeds; else it is freed. 0
 * or -ENOMEM. */
int submit_key_enter(SubmitKey *key, Engine *engine, uint32_t n);

void submit_key_job_ended(SubmitKey *key);     /* tells the watches, if that was the last one */
void submit_key_stored(SubmitKey *key, int r); /* tells those who wait for that */
void submit_key_job_back(SubmitKey *key);      /* one that had ended has another life */

SubmitKey *submit_key_free(SubmitKey *key); /* returns NULL */

/* Are the results of its ended jobs still kept for callers who are to have all of them? */
static inline bool submission_is_as_one(const Submission *submission) {
        return submission->key && submission->key->as_one;
}
