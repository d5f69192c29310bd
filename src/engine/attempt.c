/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/attempt.h"

static _noinline_ void drop_output(WorkerAttempt *a) {
        if (a->attempt.output_owned)
                free(a->attempt.output);
        if (a->shared)
                output_release(a->writer->stock, a->shared, 1);
        a->attempt.output = a->shared = NULL;
        a->attempt.output_owned = false;
        a->attempt.output_size = 0;
}

uint8_t worker_attempt_settle_output(WorkerAttempt *a) {
        Attempt *attempt = &a->attempt;

        if (attempt->output_size > UINT32_MAX) {
                drop_output(a);
                attempt_fail(attempt, OUTCOME_FAILURE, "output of more than 4 GiB");
        }
        if (attempt->output_size == 0 || !attempt->output)
                drop_output(a);
        if (a->shared && attempt->output != a->shared)
                output_release(a->writer->stock, TAKE_PTR(a->shared), 1);
        return a->shared ? JOB_DATA_SHARED : attempt->output_owned ? JOB_DATA_OWNED : 0;
}

/* What has memory of its own: it is kept, or large. */
static _noinline_ void *alloc_singly(Attempt *attempt, size_t size) {
        static char nothing;
        void *output;

        if (size == 0)
                return &nothing;
        if (size > UINT32_MAX)
                return NULL;
        output = malloc(size);
        attempt->output_owned = output;
        return output;
}

void *worker_attempt_output_alloc(Attempt *attempt, size_t size) {
        WorkerAttempt *a = container_of(attempt, WorkerAttempt, attempt);

        if (unlikely(attempt->output_owned || a->shared))
                drop_output(a);
        /* Small outputs of bulk calls share chunks. */
        if (likely(a->writer && size > 0 && size <= OUTPUT_SHARED_MAX))
                return a->shared = output_writer_alloc(a->writer, size);
        return alloc_singly(attempt, size);
}

void worker_fail_turn(Worker *worker, const char *why) {
        WorkerAttempt a;

        worker_attempt_init(&a, worker);
        for (unsigned i = 0; i < worker->n_jobs; i++) {
                worker_attempt_begin(&a, worker, i);
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
