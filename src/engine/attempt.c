/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/attempt.h"

void worker_attempt_drop_output(WorkerAttempt *a) {
        if (a->attempt.output_owned)
                free(a->attempt.output);
        if (a->shared)
                output_release(a->writer->stock, a->shared, 1);
        a->attempt.output = a->shared = NULL;
        a->attempt.output_owned = false;
        a->attempt.output_size = 0;
}

/* Small outputs of bulk calls share chunks; the others are kept or large, and have their own
 * memory. */
void *worker_attempt_output_alloc(Attempt *attempt, size_t size) {
        static char nothing;
        WorkerAttempt *a = container_of(attempt, WorkerAttempt, attempt);
        void *output;

        worker_attempt_drop_output(a);
        if (size == 0)
                return &nothing;
        if (size > UINT32_MAX)
                return NULL;
        if (a->writer && size <= OUTPUT_SHARED_MAX)
                return a->shared = output_writer_alloc(a->writer, size);
        output = malloc(size);
        attempt->output_owned = output;
        return output;
}

void worker_fail_turn(Worker *worker, const char *why) {
        for (unsigned i = 0; i < worker->n_jobs; i++) {
                WorkerAttempt a;

                worker_attempt_init(&a, worker, i);
                attempt_fail(&a.attempt, OUTCOME_RETRY, "%s", why);
                worker_attempt_take(worker, i, &a);
        }
}

int worker_reserve_attempts(Worker *worker) {
        WorkerAttempt *attempts;
        Attempt **list;

        if (likely(worker->attempts_room >= worker->n_jobs))
                return 0;
        attempts = reallocarray(worker->attempts, worker->n_jobs, sizeof(*attempts));
        if (!attempts)
                return -ENOMEM;
        worker->attempts = attempts;
        list = reallocarray(worker->attempt_list, worker->n_jobs, sizeof(*list));
        if (!list)
                return -ENOMEM;
        worker->attempt_list = list;
        worker->attempts_room = worker->n_jobs;
        return 0;
}
