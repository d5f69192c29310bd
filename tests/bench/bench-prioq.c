/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What one push and one pop of the priority queue cost together, by the number of jobs that wait:
 *
 *     prioq N ns_per_push_pop        steady: pop one, push one that became due just now
 *     prioq-fill N ns_per_push_pop   N pushes, then N pops
 *     prioq-side N ns_per_push_pop   steady, and each job goes through the side heap
 *
 * and at the end `prioq-ratio R`, the cost at 10^6 against that at 10^3. Medians of several rounds.
 * Jobs lie in memory as a slab gives them: an array at first, and then each new job in the entry
 * that was freed last. With an argument, N goes up to that. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/prioq.h"
#include "core/random.h"
#include "util/macro.h"

#define N_PRIORITIES 10
#define N_ROUNDS 5
#define N_OPERATIONS 1000000

typedef struct Bench {
        Prioq queue;
        Job *jobs;
        JobDetails *details; /* NULL = no job has any */
        uint64_t next_id;
        usec_t now;
        uint64_t random;
} Bench;

static uint64_t now_ns(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

static int compare_doubles(const void *a, const void *b) {
        const double *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

static double median(double *values, size_t n) {
        qsort(values, n, sizeof(*values), compare_doubles);
        return values[n / 2];
}

/* A new job in this entry. Priorities are spread so that waiting matters: with half a million jobs
 * a second, an aging interval of 100 ms mixes the levels even where many wait. */
static void bench_push(Bench *b, Job *job) {
        JobDetails *details = job->details;

        b->now += 2;
        *job = (Job){
                .id = b->next_id++,
                .due_at = b->now,
                .priority = (int16_t) random_below(&b->random, N_PRIORITIES),
                .state = JOB_QUEUED,
                .details = details,
        };
        if (details)
                /* As a retry with an older key: behind what its level has had. */
                job->due_at -= MIN(b->now, random_below(&b->random, 100000));
        prioq_push(&b->queue, job);
}

static Job *bench_pop(Bench *b) {
        Job *job = prioq_pop(&b->queue);

        if (!job)
                abort();
        return job;
}

static void bench_begin(Bench *b, size_t n, bool with_details) {
        *b = (Bench){ .next_id = 1, .random = n };
        /* A job that lay across two cache lines would cost two misses. */
        b->jobs = aligned_alloc(sizeof(*b->jobs), n * sizeof(*b->jobs));
        if (with_details)
                b->details = calloc(n, sizeof(*b->details));
        if (!b->jobs || (with_details && !b->details) ||
                prioq_init(&b->queue, 100 * USEC_PER_MSEC) < 0)
                abort();
        for (int16_t p = 0; p < N_PRIORITIES; p++)
                if (prioq_reserve(&b->queue, p) < 0)
                        abort();
        /* The first touch of a page is not the queue's. */
        memset(b->jobs, 0, n * sizeof(*b->jobs));
        if (with_details)
                for (size_t i = 0; i < n; i++) {
                        b->jobs[i].details = &b->details[i];
                        b->details[i].job = &b->jobs[i];
                }
}

static void bench_end(Bench *b) {
        prioq_done(&b->queue);
        free(b->jobs);
        free(b->details);
}

static double measure_steady(size_t n, bool with_details) {
        size_t n_operations = MAX((size_t) N_OPERATIONS, n);
        double rounds[N_ROUNDS];
        Bench b;

        bench_begin(&b, n, with_details);
        for (size_t i = 0; i < n; i++)
                bench_push(&b, &b.jobs[i]);
        /* So many that jobs no longer lie in the order in which they came. */
        for (size_t i = 0; i < n_operations; i++)
                bench_push(&b, bench_pop(&b));

        for (size_t round = 0; round < N_ROUNDS; round++) {
                uint64_t began = now_ns();

                for (size_t i = 0; i < N_OPERATIONS; i++)
                        bench_push(&b, bench_pop(&b));
                rounds[round] = (double) (now_ns() - began) / N_OPERATIONS;
        }
        bench_end(&b);
        return median(rounds, N_ROUNDS);
}

static double measure_fill(size_t n) {
        size_t n_repeats = MAX((size_t) N_OPERATIONS / n, (size_t) 1);
        double rounds[N_ROUNDS];
        Bench b;

        bench_begin(&b, n, false);
        for (size_t round = 0; round < N_ROUNDS; round++) {
                uint64_t began = now_ns();

                for (size_t repeat = 0; repeat < n_repeats; repeat++) {
                        for (size_t i = 0; i < n; i++)
                                bench_push(&b, &b.jobs[i]);
                        for (size_t i = 0; i < n; i++)
                                (void) bench_pop(&b);
                }
                rounds[round] = (double) (now_ns() - began) / (double) (n * n_repeats);
        }
        bench_end(&b);
        return median(rounds, N_ROUNDS);
}

int main(int argc, char *argv[]) {
        size_t max = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
        double at_thousand = 0, at_million = 0;

        for (size_t n = 1000; n <= max; n *= 10) {
                double steady = measure_steady(n, false);

                printf("prioq %zu %.1f\n", n, steady);
                printf("prioq-fill %zu %.1f\n", n, measure_fill(n));
                if (n <= 100000)
                        printf("prioq-side %zu %.1f\n", n, measure_steady(n, true));
                fflush(stdout);
                if (n == 1000)
                        at_thousand = steady;
                if (n == 1000000)
                        at_million = steady;
        }
        if (at_million > 0)
                printf("prioq-ratio %.2f\n", at_million / at_thousand);
        return EXIT_SUCCESS;
}
