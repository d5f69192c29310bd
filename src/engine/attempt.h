/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* WorkerAttempt: one attempt of a turn, or one after another, from the job to the facts that its
 * handler is given, and from the verdict to the result. By whoever does the turn, a worker's thread
 * or main for a slot, without any lock. */

#include <stdatomic.h>
#include <stdlib.h>

#include "engine/worker.h"
#include "util/macro.h"

struct WorkerAttempt {
        Attempt attempt;
        const Submission *submission; /* borrowed: what the facts are of; NULL = of none yet */
        OutputWriter *writer;         /* borrowed; NULL where the output is kept singly */
        void *shared;                 /* what was taken from `writer`; NULL = nothing */
};

/* Room for the attempts of all jobs of the turn in worker->attempts, with worker->attempt_list.
 * What was needed once stays for the next turn. 0 or -ENOMEM. */
int worker_reserve_attempts(Worker *worker);

/* The turn could not even be begun: all its jobs ask for another attempt. */
void worker_fail_turn(Worker *worker, const char *why);

void *worker_attempt_output_alloc(Attempt *attempt, size_t size);

/* Of an output that is not what was taken from the writer: what is of no use is let go of, and an
 * empty one is none. Returns the JobFlag of what is left. */
uint8_t worker_attempt_settle_output(WorkerAttempt *a);

/* Facts that all jobs of a turn have in common. */
static inline void worker_attempt_init(WorkerAttempt *a, Worker *worker) {
        *a = (WorkerAttempt){
                .attempt = {
                        .pool = worker->pool->config->name,
                        .worker = worker->id,
                        .in_batch = worker->batch,
                        .run_timeout = USEC_INFINITY,
                        .wake_fd = worker->eventfd,
                        .progress = &worker->progress,
                        .output_alloc = worker_attempt_output_alloc,
                },
        };
}

/* The facts of job i of the turn, whichever job was there before. Many that follow each other are
 * of one call, and what they share is left as it is. */
static inline void worker_attempt_begin(WorkerAttempt *a, Worker *worker, unsigned i) {
        const Job *job = worker->jobs[i];
        const Submission *submission = job->submission;
        Attempt *attempt = &a->attempt;

        if (submission != a->submission) {
                a->submission = submission;
                attempt->payload_fd = submission->payload_fd;
                attempt->output_fd = submission->output_fd;
                attempt->tag = submission->tag ?: "";
                attempt->arguments = submission->arguments;
                attempt->owner = submission->owner;
                attempt->priority = submission->priority;
                a->writer = submission->bulk && submission->n_total > 1 ? worker->writer : NULL;
        }
        attempt->id = job->id;
        attempt->payload = job->data;
        attempt->payload_size = job->size;
        attempt->attempt = worker->results[i].attempt;
        attempt->stop = &worker->stops[i];
        attempt->outcome = OUTCOME_FAILURE;
        attempt->exit_status = 0;
        attempt->error = NULL;
        attempt->output = NULL;
        attempt->output_size = 0;
        attempt->output_owned = false;
        a->shared = NULL;
}

/* From the verdict on job i to its result. */
static inline void worker_attempt_take(Worker *worker, unsigned i, WorkerAttempt *a) {
        WorkerResult *result = &worker->results[i];
        Attempt *attempt = &a->attempt;

        result->flags = JOB_DATA_SHARED;
        if (unlikely(!a->shared || attempt->output != a->shared || attempt->output_size == 0))
                result->flags = worker_attempt_settle_output(a);
        result->outcome = attempt->outcome;
        result->exit_status = attempt->exit_status;
        result->error = attempt->error;
        result->output = attempt->output;
        result->size = (uint32_t) attempt->output_size;
        result->details = NULL;
        if (unlikely(!a->submission->bulk || result->outcome != OUTCOME_SUCCESS || result->error ||
                     result->exit_status != 0))
                result->details = calloc(1, sizeof(*result->details));
}
