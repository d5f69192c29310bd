/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "engine/affinity.h"
#include "engine/worker.h"
#include "util/fd.h"

void worker_wake(Worker *worker) {
        uint64_t one = 1;

        /* It is written once per sleep or stop, so it neither overflows nor blocks. */
        if (write(worker->eventfd, &one, sizeof(one)) < 0)
                assert(!"write() to a worker's eventfd");
}

static void worker_sleep(Worker *worker) {
        const HandlerVTable *handler = worker->pool->config->handler;
        uint64_t n;

        if (handler->idle && worker->state)
                handler->idle(worker->pool->handler, worker->state, worker->eventfd);
        while (read(worker->eventfd, &n, sizeof(n)) < 0)
                assert(errno == EINTR);
}

struct WorkerAttempt {
        Attempt attempt;
        OutputWriter *writer; /* borrowed; NULL where the output is kept singly */
        void *shared;         /* what was taken from `writer`; NULL = nothing */
};

static void worker_attempt_drop_output(WorkerAttempt *a) {
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
static void *worker_attempt_output_alloc(Attempt *attempt, size_t size) {
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

/* Makes what the handler keeps per worker, if that is still to be done. */
static bool worker_open(Worker *worker) {
        const PoolConfig *config = worker->pool->config;

        if (!config->handler->worker_open || worker->state)
                return true;
        return config->handler->worker_open(worker->pool->handler, &config->cpus,
                       sizeof(config->cpus), &worker->state) >= 0;
}

/* The facts of job i of the turn. Each member is named, as for one that is not all of them would be
 * cleared first. */
static inline void attempt_init(WorkerAttempt *a, Worker *worker, unsigned i) {
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
                .writer = submission->bulk && submission->n_total > 1 ? &worker->writer : NULL,
                .shared = NULL,
        };
}

/* From the verdict on job i to its result. */
static inline void take_result(Worker *worker, unsigned i, WorkerAttempt *a) {
        WorkerResult *result = &worker->results[i];

        if (a->attempt.output_size > UINT32_MAX) {
                worker_attempt_drop_output(a);
                attempt_fail(&a->attempt, OUTCOME_FAILURE, "output of more than 4 GiB");
        }
        if (a->shared && a->attempt.output != a->shared)
                output_release(worker->writer.stock, TAKE_PTR(a->shared), 1);
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

/* Runs job i of the turn, without any lock, and leaves its result. */
static inline void worker_run(Worker *worker, unsigned i) {
        Pool *pool = worker->pool;
        WorkerAttempt a;

        attempt_init(&a, worker, i);
        atomic_store_explicit(&worker->progress, -1.0, memory_order_relaxed);
        if (likely(worker_open(worker)))
                pool->config->handler->run(pool->handler, worker->state, &a.attempt);
        else
                attempt_fail(&a.attempt, OUTCOME_RETRY, "no memory for a worker's own things");
        take_result(worker, i, &a);
}

/* A batch that could not even be begun. */
static void fail_batch(Worker *worker, const char *why) {
        for (unsigned i = 0; i < worker->n_jobs; i++) {
                WorkerAttempt a;

                attempt_init(&a, worker, i);
                attempt_fail(&a.attempt, OUTCOME_RETRY, "%s", why);
                take_result(worker, i, &a);
        }
}

static int grow(void *array, size_t n, size_t size) {
        void *grown = reallocarray(*(void **) array, n, size);

        if (!grown)
                return -ENOMEM;
        *(void **) array = grown;
        return 0;
}

/* What was needed for a batch stays for the next one. */
static bool reserve_attempts(Worker *worker) {
        if (likely(worker->attempts_room >= worker->n_jobs))
                return true;
        if (grow(&worker->attempts, worker->n_jobs, sizeof(*worker->attempts)) < 0 ||
                grow(&worker->attempt_list, worker->n_jobs, sizeof(Attempt *)) < 0)
                return false;
        worker->attempts_room = worker->n_jobs;
        return true;
}

/* Runs all jobs of the turn as one call. They share the times of that. */
static void worker_run_batch(Worker *worker) {
        Pool *pool = worker->pool;

        for (unsigned i = 0; i < worker->n_jobs; i++) {
                worker->results[i].started_at = worker->turn_started_at;
                worker->results[i].duration = USEC_INFINITY;
        }
        if (!reserve_attempts(worker) || !worker_open(worker)) {
                fail_batch(worker, "no memory for a batch");
                return;
        }
        for (unsigned i = 0; i < worker->n_jobs; i++) {
                attempt_init(&worker->attempts[i], worker, i);
                worker->attempts[i].attempt.progress = NULL;
                worker->attempt_list[i] = &worker->attempts[i].attempt;
        }
        pool->config->handler->run_batch(
                pool->handler, worker->state, worker->attempt_list, worker->n_jobs);
        for (unsigned i = 0; i < worker->n_jobs; i++)
                take_result(worker, i, &worker->attempts[i]);
}

/* Begins the next job of the turn, if nobody has taken it back. */
static bool worker_begin_next(Worker *worker) {
        uint32_t claim = atomic_load_explicit(&worker->claim, memory_order_relaxed);

        do {
                if (claim_begun(claim) >= claim_end(claim))
                        return false;
        } while (!atomic_compare_exchange_weak_explicit(&worker->claim, &claim,
                claim_make(claim_begun(claim) + 1, claim_end(claim)), memory_order_acq_rel,
                memory_order_relaxed));
        return true;
}

/* Runs the turn's jobs. A clock reading per job is spent only on those whose times are kept. */
static void worker_run_turn(Worker *worker) {
        bool several = claim_end(atomic_load_explicit(&worker->claim, memory_order_relaxed)) > 1;
        usec_t t = worker->turn_started_at;
        unsigned i = 0;

        if (unlikely(worker->batch)) {
                worker_run_batch(worker);
                return;
        }
        do {
                WorkerResult *result = &worker->results[i];

                result->started_at = t;
                result->duration = USEC_INFINITY;
                worker_run(worker, i);
                if (result->details && several) {
                        usec_t end = usec_now(CLOCK_MONOTONIC);

                        result->duration = usec_sub(end, t);
                        t = end;
                }
                i++;
        } while (worker_begin_next(worker));
}

static void *worker_main(void *userdata) {
        Worker *worker = userdata;
        Pool *pool = worker->pool;
        char name[16];

        (void) snprintf(name, sizeof(name), "%.10s/%u", pool->config->name, worker->id);
        (void) pthread_setname_np(pthread_self(), name);
        /* A CPU that has gone offline since the settings were read: then the kernel chooses. */
        (void) affinity_pin(worker->cpu);

        /* Before the first job. Where it fails the jobs try again, and say so. */
        (void) worker_open(worker);

        for (;;) {
                switch (pool_turn(pool, worker, usec_now(CLOCK_MONOTONIC))) {

                case TURN_WORK:
                        worker_run_turn(worker);
                        break;

                case TURN_IDLE:
                        worker_sleep(worker);
                        break;

                case TURN_LEAVE:
                        return NULL;
                }
        }
}

size_t worker_reserve(Worker *worker, size_t n) {
        if (n > worker->room && grow(&worker->permits, n, sizeof(*worker->permits)) >= 0 &&
                grow(&worker->jobs, n, sizeof(Job *)) >= 0 &&
                grow(&worker->stops, n, sizeof(*worker->stops)) >= 0 &&
                grow(&worker->results, n, sizeof(*worker->results)) >= 0)
                worker->room = n;
        return worker->room;
}

int worker_new(Pool *pool, uint32_t id, Worker **ret) {
        Worker *worker;

        worker = calloc(1, sizeof(*worker));
        if (!worker)
                return -ENOMEM;
        *worker = (Worker){
                .pool = pool,
                .id = id,
                .eventfd = eventfd(0, EFD_CLOEXEC),
                .writer.stock = pool->stock,
        };
        list_init(&worker->links);
        list_init(&worker->idle_links);
        list_init(&worker->run.links);
        if (worker->eventfd < 0) {
                int r = -errno;

                return worker_free(worker), r;
        }
        if (worker_reserve(worker, TURN_JOBS_MAX) < TURN_JOBS_MAX)
                return worker_free(worker), -ENOMEM;
        *ret = worker;
        return 0;
}

int worker_start(Worker *worker) {
        return -pthread_create(&worker->thread, NULL, worker_main, worker);
}

Worker *worker_free(Worker *worker) {
        if (!worker)
                return NULL;
        fd_close(worker->eventfd);
        free(worker->permits);
        free(worker->jobs);
        free(worker->stops);
        free(worker->results);
        free(worker->attempts);
        free(worker->attempt_list);
        free(worker);
        return NULL;
}
