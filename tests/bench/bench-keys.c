/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a job costs in the scheduler from its submission to its end, where 100,000 wait: taken 64 at
 * a time by one worker, as short jobs are, or as many as their keys allow.
 *
 *     keys none ns_per_job    without a key
 *     keys N ns_per_job       over N keys, in turn
 *
 * Medians of several rounds. Memory is there before it starts, but for that of the keys. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/scheduler.h"
#include "util/macro.h"

#define N_JOBS 100000
#define N_ROUNDS 7
#define TURN_JOBS 64

typedef struct Bench {
        Job *jobs;
        JobDetails *details;
        Submission *submissions; /* one for each key */
        char (*keys)[32];
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

static void prepare(Bench *b, size_t n_keys) {
        for (size_t i = 0; i < MAX(n_keys, (size_t) 1); i++) {
                (void) snprintf(b->keys[i], sizeof(b->keys[i]), "customer/%zu", i);
                b->submissions[i] = (Submission){
                        .queue_timeout = USEC_INFINITY,
                        .concurrency_key = n_keys > 0 ? b->keys[i] : NULL,
                };
        }
        for (size_t i = 0; i < N_JOBS; i++) {
                b->details[i] = (JobDetails){ .job = &b->jobs[i] };
                b->jobs[i] = (Job){
                        .id = i + 1,
                        .submission = &b->submissions[n_keys > 0 ? i % n_keys : 0],
                        .details = n_keys > 0 ? &b->details[i] : NULL,
                };
        }
}

static double measure(Bench *b, size_t n_keys) {
        SchedulerConfig config = {
                .queue_max = N_JOBS,
                .aging_interval = USEC_PER_SEC,
                .key_concurrency = 1,
        };
        Job *taken[TURN_JOBS];
        size_t n, n_done = 0;
        uint64_t began;
        usec_t until;
        Scheduler s;

        prepare(b, n_keys);
        if (scheduler_init(&s, &config) < 0)
                abort();
        began = now_ns();
        for (size_t i = 0; i < N_JOBS; i++) {
                /* Without a key one call submits them all. */
                if ((i == 0 || n_keys > 0) &&
                        scheduler_admit(&s, 1, b->jobs[i].submission, 0, 0) != ADMIT_YES)
                        abort();
                scheduler_submit(&s, &b->jobs[i], i);
        }
        while (scheduler_take(&s, N_JOBS, NULL, TURN_JOBS, taken, &n, &until) == TAKE_JOBS) {
                for (size_t i = 0; i < n; i++)
                        (void) scheduler_finish(&s, taken[i], OUTCOME_SUCCESS, N_JOBS, 0);
                n_done += n;
        }
        if (n_done != N_JOBS)
                abort();
        began = now_ns() - began;
        scheduler_done(&s);
        return (double) began / N_JOBS;
}

static double median(Bench *b, size_t n_keys) {
        double rounds[N_ROUNDS];

        for (size_t i = 0; i < N_ROUNDS; i++)
                rounds[i] = measure(b, n_keys);
        qsort(rounds, N_ROUNDS, sizeof(*rounds), compare_doubles);
        return rounds[N_ROUNDS / 2];
}

int main(void) {
        Bench b = {
                .jobs = aligned_alloc(sizeof(Job), N_JOBS * sizeof(Job)),
                .details = calloc(N_JOBS, sizeof(*b.details)),
                .submissions = calloc(N_JOBS, sizeof(*b.submissions)),
                .keys = calloc(N_JOBS, sizeof(*b.keys)),
        };

        if (!b.jobs || !b.details || !b.submissions || !b.keys)
                return EXIT_FAILURE;
        printf("keys none %.1f\n", median(&b, 0));
        for (size_t n = 1; n <= N_JOBS; n *= n == 1 ? 100 : 1000)
                printf("keys %zu %.1f\n", n, median(&b, n));
        free(b.jobs);
        free(b.details);
        free(b.submissions);
        free(b.keys);
        return EXIT_SUCCESS;
}
