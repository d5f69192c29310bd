/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Model of the scheduler: what it is to do, in its simplest form. One array of jobs in the order of
 * submission, searched from end to end for each question; nothing is shared with what it checks but
 * the names of verdicts, results and settings. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/job.h"
#include "core/scheduler.h"
#include "util/time.h"

typedef struct Model Model;
typedef struct ModelJob ModelJob;

#define MODEL_JOBS_MAX 64
#define MODEL_OWNERS_MAX 4
#define MODEL_LINE_MAX 6
#define MODEL_KEYS_MAX 3

typedef enum ModelPlace {
        MODEL_SCHEDULED,
        MODEL_QUEUED,
        MODEL_CLAIMED,
        MODEL_RUNNING,
        MODEL_STOPPING,
        MODEL_FINISHED,
} ModelPlace;

struct ModelJob {
        uint64_t id;
        int16_t priority;
        uint32_t owner;
        unsigned key;          /* 1 to MODEL_KEYS_MAX; 0 = none */
        bool keeps_key;        /* also while it waits for another attempt */
        uint32_t max_attempts; /* 0 = as the pool says */
        bool once;
        usec_t due_at, ready_at, expires_at;
        ModelPlace place;
        unsigned n_attempts, n_asked;
        bool timed_out, cancelled; /* in this attempt */
        JobResult result;
};

/* A submit that waits for room. */
typedef struct ModelWaiter {
        ModelJob wanted;
        uint64_t n;
} ModelWaiter;

struct Model {
        bool fair, paused, draining;
        bool ending; /* no job has another attempt */
        uint64_t queue_max;
        usec_t aging_interval;
        Overflow overflow;
        RetryConfig retry;
        uint32_t key_concurrency;
        uint32_t batch_size; /* 1 = each job is one call */
        usec_t batch_timeout;
        usec_t latest;
        ModelJob jobs[MODEL_JOBS_MAX];
        size_t n_jobs;
        ModelWaiter line[MODEL_LINE_MAX];
        size_t n_line;
        uint64_t n_submitted, n_rejected, n_retried, n_results[_JOB_RESULT_MAX];
        uint32_t turns[MODEL_OWNERS_MAX]; /* owners of what could be taken; the first one's turn is
                                             next */
        size_t n_turns;
};

/* Counts what it refuses for good, and ends what it drops. `flags` are AdmitFlag. */
AdmitVerdict model_admit(Model *m, uint64_t n, int16_t priority, unsigned flags);

void model_line_join(Model *m, const ModelJob *wanted, uint64_t n);
void model_line_leave(Model *m, size_t i);
bool model_line_is_due(const Model *m);
ModelWaiter model_line_serve(Model *m); /* of one that is due: the first one, which is out then */

/* The job's id, priority and owner are given; the rest follows. */
ModelJob *model_submit(
        Model *m, const ModelJob *job, usec_t now, usec_t delay, usec_t queue_timeout);

void model_advance(Model *m, usec_t now);
ModelJob *model_next(Model *m); /* NULL = nothing that could be taken */

/* When what is queued becomes a batch by time alone; USEC_INFINITY: it is one, or there is nothing.
 */
usec_t model_batch_at(const Model *m);
void model_claim(Model *m, ModelJob *job);
void model_unclaim(Model *m, ModelJob *job);

/* True if it is finished. False if it is to have another attempt: job->ready_at is the earliest
 * moment of that, *ret_latest the latest. */
bool model_finish(
        Model *m, ModelJob *job, Outcome outcome, bool has_details, usec_t now, usec_t *ret_latest);
void model_kick(Model *m, ModelJob *job, usec_t now); /* one that was admitted */
bool model_cancel(Model *m, ModelJob *job);           /* true if it is finished by that */
bool model_stop_timed_out(ModelJob *job);

/* Is it queued, and nobody with its key before it? */
bool model_could_take(const Model *m, const ModelJob *job);
uint64_t model_n_eligible(const Model *m); /* how many could be taken, one after the other */

/* A setting that changes what is there. */
void model_set_key_concurrency(Model *m, uint32_t key_concurrency);

/* After new settings several owners may have joined the round, in any order: it is to be this one.
 * Could that be? */
bool model_agree_on_turns(Model *m, const uint32_t *turns, size_t n);

size_t model_count(const Model *m, ModelPlace place);
uint64_t model_position(const Model *m, const ModelJob *job);
usec_t model_waits_since(
        const Model *m); /* of what could be taken the earliest; USEC_INFINITY = none */
usec_t model_next_event(const Model *m); /* a delay or a queue time-out; USEC_INFINITY = none */
