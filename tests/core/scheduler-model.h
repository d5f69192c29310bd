/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Model of the scheduler: what it is to do, in its simplest form. One array of jobs in the order of
 * submission, searched from end to end for each question; nothing is shared with what it checks but
 * the names of results. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/job.h"
#include "util/time.h"

typedef struct Model Model;
typedef struct ModelJob ModelJob;

#define MODEL_JOBS_MAX 64
#define MODEL_OWNERS_MAX 4

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
        usec_t due_at, expires_at;
        ModelPlace place;
        JobStop stop;
        JobResult result;
};

struct Model {
        bool fair, paused, draining;
        uint64_t queue_max;
        usec_t aging_interval;
        usec_t latest;
        ModelJob jobs[MODEL_JOBS_MAX];
        size_t n_jobs;
        uint64_t n_rejected;
        uint32_t
                turns[MODEL_OWNERS_MAX]; /* owners with queued jobs; the first one's turn is next */
        size_t n_turns;
};

bool model_admits(Model *m, uint64_t n); /* counts what it refuses */

/* The job's id, priority and owner are given; the rest follows. */
ModelJob *model_submit(
        Model *m, const ModelJob *job, usec_t now, usec_t delay, usec_t queue_timeout);

void model_advance(Model *m, usec_t now);
ModelJob *model_next(Model *m); /* NULL = nothing that could be taken */
void model_claim(Model *m, ModelJob *job);
void model_unclaim(Model *m, ModelJob *job);
JobResult model_finish(ModelJob *job, Outcome outcome);
bool model_cancel(Model *m, ModelJob *job); /* true if it is finished by that */
bool model_stop_timed_out(ModelJob *job);

size_t model_count(const Model *m, ModelPlace place);
uint64_t model_position(const Model *m, const ModelJob *job);
usec_t model_next_event(const Model *m); /* a delay or a queue time-out; USEC_INFINITY = none */
