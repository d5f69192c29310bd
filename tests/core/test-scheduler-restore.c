/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a scheduler has comes back in another one: from the little that is kept of each job the
 * second one does what the first one would have done. */

#include "test.h"

#include "core/random.h"
#include "core/scheduler.h"

#define JOBS_MAX 60
#define N_HISTORIES 20000

typedef struct Life {
        Scheduler scheduler;
        Job jobs[JOBS_MAX];
        JobDetails details[JOBS_MAX];
        Submission submissions[JOBS_MAX];
        size_t n_jobs;
} Life;

static char *const keys[] = { NULL, NULL, (char *) "a", (char *) "b" };

static void life_init(Life *life, const SchedulerConfig *config) {
        *life = (Life){};
        assert_int_equal(scheduler_init(&life->scheduler, config), 0);
}

static void life_done(Life *life) {
        for (size_t i = 0; i < life->n_jobs; i++)
                if (job_is_waiting(&life->jobs[i]))
                        (void) scheduler_cancel(&life->scheduler, &life->jobs[i]);
        scheduler_done(&life->scheduler);
}

/* All jobs have details, as whether they need them is not the matter here. */
static Job *job_init(Life *life, size_t i, const Submission *submission) {
        Job *job = &life->jobs[i];

        life->submissions[i] = *submission;
        *job = (Job){
                .id = i + 1,
                .submission = &life->submissions[i],
                .priority = submission->priority,
                .details = &life->details[i],
        };
        life->details[i] = (JobDetails){ .job = job, .worker = -1 };
        list_init(&life->details[i].watchers);
        return job;
}

static void submit(Life *life, uint64_t *random, usec_t now) {
        Submission submission = {
                .priority = (int16_t) (random_below(random, 7)) - 3,
                .concurrency_key = keys[random_below(random, ELEMENTSOF(keys))],
                .delay = random_below(random, 4) == 0 ? random_below(random, 50) : 0,
                .queue_timeout = random_below(random, 6) == 0 ? 1 + random_below(random, 200)
                                                              : USEC_INFINITY,
                .max_attempts = 3,
                .submitted_at = now,
        };
        Job *job = job_init(life, life->n_jobs, &submission);

        if (scheduler_admit(&life->scheduler, 1, job->submission, job->priority, 0) != ADMIT_YES)
                return;
        life->n_jobs++;
        scheduler_submit(&life->scheduler, job, now);
}

/* The next job, or 0 if there is none at that moment. */
static uint64_t take_one(Life *life, usec_t now, Job **ret) {
        usec_t until;
        size_t n;

        if (scheduler_take(&life->scheduler, now, NULL, 1, ret, &n, &until) != TAKE_JOBS)
                return 0;
        return (*ret)->id;
}

/* Jobs come, and some of them fail and wait for another attempt, or succeed. */
static usec_t live(Life *life, uint64_t *random) {
        usec_t now = 1000;

        while (life->n_jobs < JOBS_MAX && random_below(random, 80) > 0) {
                Job *job;

                now += random_below(random, 10);
                if (random_below(random, 3) > 0)
                        submit(life, random, now);
                else if (take_one(life, now, &job))
                        (void) scheduler_finish(&life->scheduler, job,
                                random_below(random, 2) ? OUTCOME_FAILURE : OUTCOME_SUCCESS, now,
                                random_next(random));
        }
        scheduler_advance(&life->scheduler, now);
        (void) scheduler_ended(&life->scheduler);
        return now;
}

/* What is kept of each job that waits becomes a job of the other life, the least id first. */
static void restore(Life *to, const Life *from, usec_t now) {
        to->n_jobs = from->n_jobs;
        for (size_t i = 0; i < from->n_jobs; i++) {
                const Job *old = &from->jobs[i];
                Job *job;

                if (!job_is_waiting(old))
                        continue;
                job = job_init(to, i, old->submission);
                job->due_at = old->due_at;
                job->details->attempt = old->details->attempt;
                job->details->asked = old->details->asked;
                job->details->ready_at = old->state == JOB_SCHEDULED ? old->details->ready_at : 0;
                assert_int_equal(
                        scheduler_reserve(&to->scheduler, job->submission, job->priority), 0);
                scheduler_restore(&to->scheduler, job, now);
        }
        assert_true(scheduler_counters_add_up(&to->scheduler));
        assert_int_equal(to->scheduler.n_queued, from->scheduler.n_queued);
        assert_int_equal(to->scheduler.n_scheduled, from->scheduler.n_scheduled);
        assert_int_equal(to->scheduler.n_backoff, from->scheduler.n_backoff);
}

/* Up to the end both do the same at the same moments. */
static void assert_go_on_equally(Life *a, Life *b, usec_t now) {
        for (;;) {
                Job *job_a, *job_b;
                uint64_t id = take_one(a, now, &job_a);

                assert_int_equal(take_one(b, now, &job_b), id);
                (void) scheduler_ended(&a->scheduler);
                (void) scheduler_ended(&b->scheduler);
                if (id > 0) {
                        assert_true(
                                scheduler_finish(&a->scheduler, job_a, OUTCOME_SUCCESS, now, 0));
                        assert_true(
                                scheduler_finish(&b->scheduler, job_b, OUTCOME_SUCCESS, now, 0));
                        continue;
                }
                assert_int_equal(
                        scheduler_wake_at(&a->scheduler), scheduler_wake_at(&b->scheduler));
                if (scheduler_wake_at(&a->scheduler) == USEC_INFINITY)
                        return;
                now = scheduler_wake_at(&a->scheduler);
        }
}

static void what_is_restored_goes_on_as_it_would_have(void **state) {
        uint64_t random = 1;

        for (int i = 0; i < N_HISTORIES; i++) {
                const SchedulerConfig config = {
                        .queue_max = 40,
                        .aging_interval = random_below(&random, 3) ? 20 : USEC_INFINITY,
                        .retry = { .max_attempts = 3, .backoff = 30, .backoff_max = 100 },
                        .key_concurrency = 1 + (uint32_t) random_below(&random, 2),
                };
                static Life a, b;
                usec_t now;

                life_init(&a, &config);
                life_init(&b, &config);
                now = live(&a, &random);
                restore(&b, &a, now);
                assert_go_on_equally(&a, &b, now);
                assert_true(scheduler_counters_add_up(&b.scheduler));
                assert_true(scheduler_is_empty(&b.scheduler));
                life_done(&a);
                life_done(&b);
        }
}

static void what_is_promised_has_its_room(void **state) {
        const SchedulerConfig config = { .queue_max = 3,
                .aging_interval = 1,
                .retry = { .max_attempts = 1 },
                .key_concurrency = 1 };
        const Submission submission = { .queue_timeout = USEC_INFINITY };
        static Life life;

        life_init(&life, &config);
        assert_int_equal(scheduler_admit(&life.scheduler, 2, &submission, 0, 0), ADMIT_YES);
        scheduler_promise(&life.scheduler, 2);
        assert_int_equal(scheduler_admit(&life.scheduler, 2, &submission, 0, 0), ADMIT_FULL);
        assert_int_equal(scheduler_admit(&life.scheduler, 1, &submission, 0, 0), ADMIT_YES);
        assert_false(scheduler_is_empty(&life.scheduler));

        /* One of them comes, the other never does. */
        scheduler_end_promise(&life.scheduler, 2);
        assert_int_equal(scheduler_reserve(&life.scheduler, &submission, 0), 0);
        scheduler_submit(&life.scheduler, job_init(&life, life.n_jobs++, &submission), 1);
        assert_int_equal(scheduler_admit(&life.scheduler, 2, &submission, 0, 0), ADMIT_YES);
        assert_true(scheduler_counters_add_up(&life.scheduler));
        life_done(&life);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_restored_goes_on_as_it_would_have),
                cmocka_unit_test(what_is_promised_has_its_room),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
