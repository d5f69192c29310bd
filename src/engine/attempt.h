/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* WorkerAttempt: one attempt of a turn, from the job to the facts that its handler is given, and
 * from the verdict to the result. By whoever does the turn, a worker's thread or main for a slot,
 * without any lock. */

#include <stdatomic.h>
#include <stdlib.h>

#include "engine/worker.h"
#include "util/macro.h"

struct WorkerAttempt {
        Attempt attempt;
        OutputWriter *writer; /* borrowed; NULL where the output is kept singly */
        void *shared;         /* what was taken from `writer`; NULL = nothing */
};

/* Room for the attempts of all jobs of the turn in worker->attempts, with worker->attempt_list.
 * What was needed once stays for the next turn. 0 or -ENOMEM. */
int worker_reserve_attempts(Worker *worker);

/* The turn could not even be begun: all its jobs ask for another attempt. */
void worker_fail_turn(Worker *worker, const char *why);

void *worker_attempt_output_alloc(Attempt *attempt, size_t size);
void worker_attempt_drop_output(WorkerAttempt *a);

/* The facts of job i of the turn. Each member is named, as for one that is not all of them would be
 * cleared first. */
static inline void worker_attempt_init(WorkerAttempt *a, Worker *worker, unsigned i) {
        const Job *job = worker->jobs[i];
        const Submission *submission = job->submission;

        *a = (WorkerAttempt){
                .attempt = {
                        .id = job->id,
                        .payload = job->data,
                        .payload_size = job->size,
                        .payload_fd = submission->payload_fd,
                        .output_fd = submission->output_fd,
                        .pool = worker->pool->config->name,
                        .tag = submission->tag ?: "",
                        .arguments = submission->arguments,
                        .attempt = worker->results[i].attempt,
                        .worker = worker->id,
                        .owner = submission->owner,
                        .priority = submission->priority,
                        .in_batch = worker->batch,
                        .run_timeout = USEC_INFINITY,
                        .stop = &worker->stops[i],
                        .wake_fd = worker->eventfd,
                        .progress = &worker->progress,
                        .output_alloc = worker_attempt_output_alloc,
                        .outcome = OUTCOME_FAILURE,
                        .exit_status = 0,
                        .error = NULL,
                        .output = NULL,
                        .output_size = 0,
                        .output_owned = false,
                },
                .writer = submission->bulk && submission->n_total > 1 ? worker->writer : NULL,
                .shared = NULL,
        };
}

/* From the verdict on job i to its result. */
static inline void worker_attempt_take(Worker *worker, unsigned i, WorkerAttempt *a) {
        WorkerResult *result = &worker->results[i];

        if (a->attempt.output_size > UINT32_MAX) {
                worker_attempt_drop_output(a);
                attempt_fail(&a->attempt, OUTCOME_FAILURE, "output of more than 4 GiB");
        }
        if (a->shared && a->attempt.output != a->shared)
                output_release(worker->writer->stock, TAKE_PTR(a->shared), 1);
        result->outcome = a->attempt.outcome;
        result->exit_status = a->attempt.exit_status;
        result->error = a->attempt.error;
        result->output = a->attempt.output_size > 0 ? a->attempt.output : NULL;
        result->size = (uint32_t) a->attempt.output_size;
        result->flags = !result->output                  ? 0
                        : a->attempt.output == a->shared ? JOB_DATA_SHARED
                        : a->attempt.output_owned        ? JOB_DATA_OWNED
                                                         : 0;
        if (!result->output)
                worker_attempt_drop_output(a);
        result->details = NULL;
        if (!worker->jobs[i]->submission->bulk || result->outcome != OUTCOME_SUCCESS ||
                result->error || result->exit_status != 0)
                result->details = calloc(1, sizeof(*result->details));
}
