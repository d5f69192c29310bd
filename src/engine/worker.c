/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "engine/affinity.h"
#include "engine/attempt.h"
#include "store/store.h"
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

/* Makes what the handler keeps per worker, if that is still to be done. */
static bool worker_open(Worker *worker) {
        const PoolConfig *config = worker->pool->config;

        if (!config->handler->worker_open || worker->state)
                return true;
        return config->handler->worker_open(worker->pool->handler, &config->cpus,
                       sizeof(config->cpus), &worker->state) >= 0;
}

/* Runs job i of the turn, without any lock, and leaves its result. */
static inline void worker_run(Worker *worker, unsigned i, WorkerAttempt *a, bool is_open) {
        Pool *pool = worker->pool;

        worker_attempt_begin(a, worker, i);
        atomic_store_explicit(&worker->progress, -1.0, memory_order_relaxed);
        if (likely(is_open))
                pool->config->handler->run(pool->handler, worker->state, &a->attempt);
        else
                attempt_fail(&a->attempt, OUTCOME_RETRY, "no memory for a worker's own things");
        worker_attempt_take(worker, i, a);
}

static int grow(void *array, size_t n, size_t size) {
        void *grown = reallocarray(*(void **) array, n, size);

        if (!grown)
                return -ENOMEM;
        *(void **) array = grown;
        return 0;
}

/* Runs all jobs of the turn as one call. They share the times of that. */
static void worker_run_batch(Worker *worker) {
        Pool *pool = worker->pool;

        for (unsigned i = 0; i < worker->n_jobs; i++) {
                worker->results[i].started_at = worker->turn_started_at;
                worker->results[i].duration = USEC_INFINITY;
        }
        if (worker_reserve_attempts(worker) < 0 || !worker_open(worker)) {
                worker_fail_turn(worker, "no memory for a batch");
                return;
        }
        for (unsigned i = 0; i < worker->n_jobs; i++) {
                worker_attempt_init(&worker->attempts[i], worker);
                worker_attempt_begin(&worker->attempts[i], worker, i);
                worker->attempts[i].attempt.progress = NULL;
                worker->attempt_list[i] = &worker->attempts[i].attempt;
        }
        pool->config->handler->run_batch(
                pool->handler, worker->state, worker->attempt_list, worker->n_jobs);
        for (unsigned i = 0; i < worker->n_jobs; i++) {
                if (pool->store)
                        worker_mark_ended(worker, i);
                worker_attempt_take(worker, i, &worker->attempts[i]);
        }
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
        const Pool *pool = worker->pool;
        usec_t t = worker->turn_started_at;
        WorkerAttempt a;
        unsigned i = 0;
        bool is_open;

        if (unlikely(worker->batch)) {
                worker_run_batch(worker);
                return;
        }
        is_open = worker_open(worker);
        worker_attempt_init(&a, worker);
        do {
                WorkerResult *result = &worker->results[i];

                result->started_at = t;
                result->duration = USEC_INFINITY;
                if (unlikely(pool->store) && i > 0)
                        worker_mark(worker, i);
                worker_run(worker, i, &a, is_open);
                if (unlikely(pool->store))
                        worker_mark_ended(worker, i);
                if (result->details && several) {
                        usec_t end = usec_now(CLOCK_MONOTONIC);

                        result->duration = usec_sub(end, t);
                        t = end;
                }
                i++;
        } while (worker_begin_next(worker));
}

static void worker_beat(Worker *worker) {
        uint64_t pulse = atomic_load_explicit(&worker->pulse, memory_order_relaxed);

        atomic_store_explicit(&worker->pulse, pulse + 1, memory_order_relaxed);
}

static Turn worker_turn(Worker *worker) {
        Turn turn;

        worker_beat(worker);
        turn = pool_turn(worker->pool, worker, usec_now(CLOCK_MONOTONIC));
        worker_beat(worker);
        return turn;
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
                switch (worker_turn(worker)) {

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

size_t worker_reserve_sheets(Worker *worker, size_t n) {
        while (worker->n_sheets * MARK_SHEET_MAX < n) {
                MarkSheet *sheet = store_take_sheet(worker->pool->store);

                if (!sheet)
                        break;
                list_append(&worker->sheets, &sheet->links);
                worker->n_sheets++;
        }
        return MIN(n, worker->n_sheets * MARK_SHEET_MAX);
}

/* The one that job number i of the turn is noted on. */
static MarkSheet *sheet_of(Worker *worker, unsigned i) {
        List *l = list_first(&worker->sheets);

        for (unsigned k = i / MARK_SHEET_MAX; k > 0; k--)
                l = l->next;
        return list_entry(l, MarkSheet, links);
}

void worker_mark(Worker *worker, unsigned i) {
        const Job *job = worker->jobs[i];

        mark_begun(sheet_of(worker, i), i % MARK_SHEET_MAX, job->id, job->stage,
                worker->results[i].attempt);
}

void worker_mark_ended(Worker *worker, unsigned i) {
        mark_ended(sheet_of(worker, i), i % MARK_SHEET_MAX);
}

int worker_new(Pool *pool, uint32_t id, Worker **ret) {
        bool in_slot = pool->config->handler->in_slots;
        size_t room = in_slot ? 1 : TURN_JOBS_MAX;
        Worker *worker;

        worker = calloc(1, sizeof(*worker));
        if (!worker)
                return -ENOMEM;
        *worker = (Worker){
                .pool = pool,
                .id = id,
                .cpu = -1,
                .eventfd = in_slot ? -EBADF : eventfd(0, EFD_CLOEXEC),
                .own_writer.stock = pool->stock,
                .fits = UINT32_MAX,
        };
        worker->writer = in_slot ? &pool->slot_writer : &worker->own_writer;
        list_init(&worker->links);
        list_init(&worker->idle_links);
        list_init(&worker->poke_links);
        list_init(&worker->sheets);
        list_init(&worker->lease.links);
        list_init(&worker->run.links);
        if (!in_slot && worker->eventfd < 0) {
                int r = -errno;

                return worker_free(worker), r;
        }
        if (worker_reserve(worker, room) < room)
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
