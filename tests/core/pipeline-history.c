/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A worker takes up to a few jobs, begins one after the other, and may give back what it has not
 * begun. What it has done at a stage lies in the mailbox until main reads it, in between of which
 * anything may happen. Some have a ConcurrencyKey, of which each pool has no more at work than may
 * be, in the order of their ids. A history ends with nothing paused, everything running to its end:
 * then all has to be empty, or something waits for what never comes. */

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "core/pipeline-history.h"
#include "core/pipeline.h"
#include "util/macro.h"

#define POOLS_MAX 4
#define PIPELINES_MAX 3
#define STAGES_MAX 5
#define WORKERS_MAX 2
#define CLAIMS_MAX 3
#define JOBS_MAX 60
#define WAITERS_MAX 4
#define STEPS_MAX 120
#define N_KEYS 2

/* More than any history can need. */
#define ROUNDS_MAX 2000

typedef struct Worker {
        Job *jobs[CLAIMS_MAX]; /* the first one runs */
        size_t n_jobs;
} Worker;

typedef struct TestPool {
        Scheduler scheduler;
        Worker workers[WORKERS_MAX];
        size_t n_workers;
        uint64_t n_turned_away[_JOB_RESULT_MAX];
        bool refuses; /* its breaker is open */
} TestPool;

/* Not the same objects, but the same texts: so they come with each submission. */
static char *const keys[N_KEYS] = { (char *) "a", (char *) "b" };

typedef struct TestPipeline {
        Pipeline pipeline;
        size_t stages[STAGES_MAX];
        uint64_t greatest; /* credits since it was made: what was ever allowed */
} TestPipeline;

typedef struct TestJob {
        Job job;
        JobDetails details;
        Submission submission;
        TestPipeline *pipeline; /* NULL = it is plain, in … */
        size_t pool;            /* … this pool */
        unsigned n_lives, n_ends;
        unsigned n_passed; /* stages, in this life and those before */
        bool cancelled;    /* in this life, before it ended */
        bool began;        /* at this stage, in this life */
} TestJob;

typedef struct TestWaiter {
        AdmitWaiter waiter;
        TestPipeline *pipeline; /* NULL = is in no line */
} TestWaiter;

typedef struct History {
        Choices *choices;
        const char *fault;
        usec_t now;
        TestPool pools[POOLS_MAX];
        TestPipeline pipelines[PIPELINES_MAX];
        size_t n_pools, n_pipelines;
        TestJob jobs[JOBS_MAX];
        size_t n_jobs;
        TestWaiter waiters[WAITERS_MAX];
        Job *mail[JOBS_MAX]; /* those that pass, in the order of their posting */
        size_t n_mail;
        bool ending;
} History;

#define CHECK(h, condition)                      \
        do {                                     \
                if (!(condition) && !(h)->fault) \
                        (h)->fault = #condition; \
        } while (0)

static unsigned choose(History *h, unsigned n) {
        return choices_below(h->choices, n);
}

static TestJob *test_job(const Job *job) {
        return container_of(job, TestJob, job);
}

static TestPool *pool_of(History *h, const TestJob *t) {
        return &h->pools[t->pipeline ? t->pipeline->stages[t->job.stage] : t->pool];
}

/* ---- ends ---- */

/* For good: what engine_job_ended() does. */
static void job_ended(History *h, TestJob *t) {
        t->n_ends++;
        CHECK(h, t->n_ends == t->n_lives);
        CHECK(h, t->job.state == JOB_FINISHED);
        if (!t->pipeline)
                return;
        /* Only who has passed all stages has succeeded, and who was cancelled on the way has not,
         * but at the last stage, where a success may beat it. */
        CHECK(h, (t->job.result == JOB_SUCCEEDED) ==
                         (t->n_passed == t->pipeline->pipeline.n_stages));
        CHECK(h, t->job.result != JOB_DROPPED);
        CHECK(h, t->job.result != JOB_EXPIRED || t->job.stage == 0);
        pipeline_leave(&t->pipeline->pipeline, (JobResult) t->job.result);
}

static void collect_ended(History *h, TestPool *pool) {
        for (Job *job = scheduler_ended(&pool->scheduler), *next; job; job = next) {
                next = job->next;
                job_ended(h, test_job(job));
        }
}

/* The worker has reported: the job has ended, passes, or is to be tried again. */
static void job_done(History *h, TestPool *pool, Job *job, Outcome outcome) {
        TestJob *t = test_job(job);

        if (!scheduler_finish(&pool->scheduler, job, outcome, h->now, choose(h, 256)))
                return;
        t->n_passed += outcome == OUTCOME_SUCCESS;
        if (job->state == JOB_PASSING) {
                CHECK(h, t->pipeline);
                h->mail[h->n_mail++] = job;
        } else
                job_ended(h, t);
}

/* ---- the main thread ---- */

static void turn_away(History *h, TestJob *t, JobResult result) {
        TestPool *pool = pool_of(h, t);

        scheduler_turn_away(&pool->scheduler, &t->job, result);
        job_ended(h, t);
}

static void read_mail(History *h) {
        for (size_t i = 0; i < h->n_mail; i++) {
                TestJob *t = test_job(h->mail[i]);
                TestPool *pool;

                CHECK(h, t->job.state == JOB_PASSING);
                t->job.stage++;
                t->began = false;
                t->details.attempt = t->details.asked = 0;
                t->details.kicked = false;
                pool = pool_of(h, t);
                if (t->job.flags & JOB_STOP_BY_CANCEL) {
                        CHECK(h, t->cancelled);
                        turn_away(h, t, JOB_CANCELLED);
                } else if (pool->refuses)
                        turn_away(h, t, JOB_REFUSED);
                else if (!h->ending && choose(h, 16) == 0)
                        turn_away(h, t, JOB_FAILED); /* too large */
                else {
                        CHECK(h, scheduler_reserve(
                                         &pool->scheduler, &t->submission, t->job.priority) == 0);
                        scheduler_submit(&pool->scheduler, &t->job, h->now);
                        CHECK(h, t->job.state == JOB_QUEUED);
                }
        }
        h->n_mail = 0;
}

static TestJob *new_job(History *h, TestPipeline *pipeline, size_t pool) {
        static const usec_t spans[] = { 0, 0, 0, 1, 5 };
        TestJob *t = &h->jobs[h->n_jobs];

        *t = (TestJob){
                .submission = {
                        .owner = choose(h, 3),
                        .delay = spans[choose(h, ELEMENTSOF(spans))],
                        .queue_timeout = choose(h, 3) == 0 ? 1 + choose(h, 6) : USEC_INFINITY,
                        .max_attempts = choose(h, 3),
                        .concurrency_key = choose(h, 2) ? keys[choose(h, N_KEYS)] : NULL,
                        .submitted_at = h->now,
                        .pipeline = pipeline ? &pipeline->pipeline : NULL,
                },
                .details = { .job = &t->job },
                .job = {
                        .id = ++h->n_jobs,
                        .submission = &t->submission,
                        .details = &t->details,
                        .priority = (int16_t) ((int) choose(h, 5) - 2),
                },
                .pipeline = pipeline,
                .pool = pool,
                .n_lives = 1,
        };
        return t;
}

/* Takes in what was admitted. */
static void submit_items(History *h, TestPipeline *pipeline, uint64_t n) {
        pipeline_enter(&pipeline->pipeline, n);
        CHECK(h, pipeline->pipeline.n_in_flight <= pipeline->pipeline.max_in_flight);
        while (n-- > 0) {
                TestJob *t = new_job(h, pipeline, 0);
                Scheduler *s = &pool_of(h, t)->scheduler;

                CHECK(h, scheduler_reserve(s, &t->submission, t->job.priority) == 0);
                scheduler_submit(s, &t->job, h->now);
        }
}

static void call_submit_items(History *h) {
        TestPipeline *pipeline = &h->pipelines[choose(h, (unsigned) h->n_pipelines)];
        uint64_t n = 1 + choose(h, 4);
        AdmitVerdict verdict;

        if (h->n_jobs + n > JOBS_MAX)
                return;
        verdict = pipeline_ask(&pipeline->pipeline, n, 0);
        if (verdict == ADMIT_YES)
                submit_items(h, pipeline, n);
        else if (verdict == ADMIT_FULL && choose(h, 2) == 0)
                for (size_t i = 0; i < WAITERS_MAX; i++)
                        if (!h->waiters[i].pipeline) {
                                h->waiters[i] = (TestWaiter){ .waiter.n = n, .pipeline = pipeline };
                                pipeline_line_join(&pipeline->pipeline, &h->waiters[i].waiter);
                                return;
                        }
}

static void call_serve(History *h, TestPipeline *pipeline) {
        AdmitWaiter *waiter;

        while ((waiter = pipeline_line_serve(&pipeline->pipeline, false))) {
                container_of(waiter, TestWaiter, waiter)->pipeline = NULL;
                if (pipeline_ask(&pipeline->pipeline, waiter->n, ADMIT_SERVED) == ADMIT_YES &&
                        h->n_jobs + waiter->n <= JOBS_MAX)
                        submit_items(h, pipeline, waiter->n);
        }
}

static void call_give_up(History *h) {
        TestWaiter *waiter = &h->waiters[choose(h, WAITERS_MAX)];

        if (!waiter->pipeline)
                return;
        pipeline_line_leave(&waiter->pipeline->pipeline, &waiter->waiter);
        waiter->pipeline = NULL;
}

static void call_submit_plain(History *h) {
        size_t i = choose(h, (unsigned) h->n_pools);
        TestPool *pool = &h->pools[i];
        TestJob *t;

        if (h->n_jobs == JOBS_MAX)
                return;
        t = new_job(h, NULL, i);
        if (scheduler_admit(&pool->scheduler, 1, &t->submission, t->job.priority, 0) == ADMIT_YES)
                scheduler_submit(&pool->scheduler, &t->job, h->now);
        else
                h->n_jobs--;
        collect_ended(h, pool);
}

static void unclaim(TestPool *pool) {
        for (size_t i = 0; i < pool->n_workers; i++) {
                Worker *worker = &pool->workers[i];

                while (worker->n_jobs > 1)
                        scheduler_unclaim(&pool->scheduler, worker->jobs[--worker->n_jobs]);
        }
}

static void call_cancel(History *h) {
        TestJob *t;

        if (h->n_jobs == 0)
                return;
        t = &h->jobs[choose(h, (unsigned) h->n_jobs)];
        unclaim(pool_of(h, t));
        t->cancelled |= t->job.state != JOB_FINISHED;
        switch (scheduler_cancel(&pool_of(h, t)->scheduler, &t->job)) {

        case CANCEL_FINISHED:
                job_ended(h, t);
                break;

        case CANCEL_NOTED:
                CHECK(h, t->job.state == JOB_PASSING);
                break;

        case CANCEL_ASKED:
                CHECK(h, t->job.state == JOB_STOPPING);
                break;

        case CANCEL_NOTHING:
                CHECK(h, t->job.state == JOB_FINISHED || t->job.state == JOB_STOPPING);
                break;
        }
}

static void call_priority(History *h) {
        int16_t priority = (int16_t) ((int) choose(h, 5) - 2);
        TestJob *t;

        if (h->n_jobs == 0)
                return;
        t = &h->jobs[choose(h, (unsigned) h->n_jobs)];
        if (t->job.state == JOB_FINISHED)
                return;
        unclaim(pool_of(h, t));
        CHECK(h, scheduler_set_priority(&pool_of(h, t)->scheduler, &t->job, priority) == 0);
        CHECK(h, t->job.priority == priority);
}

/* One that did not succeed goes on where it was. */
static void call_retry(History *h) {
        TestJob *t;

        if (h->n_jobs == 0)
                return;
        t = &h->jobs[choose(h, (unsigned) h->n_jobs)];
        if (!t->pipeline || t->job.state != JOB_FINISHED || t->job.result == JOB_SUCCEEDED ||
                pipeline_ask(&t->pipeline->pipeline, 1, 0) != ADMIT_YES)
                return;
        CHECK(h,
                scheduler_reserve(&pool_of(h, t)->scheduler, &t->submission, t->job.priority) == 0);
        scheduler_kick(&pool_of(h, t)->scheduler, &t->job, h->now);
        pipeline_enter(&t->pipeline->pipeline, 1);
        t->n_lives++;
        t->cancelled = t->began = false;
        CHECK(h, t->n_passed == t->job.stage);
}

static void call_change(History *h) {
        TestPool *pool = &h->pools[choose(h, (unsigned) h->n_pools)];
        TestPipeline *pipeline = &h->pipelines[choose(h, (unsigned) h->n_pipelines)];

        switch (choose(h, 5)) {

        case 0:
                unclaim(pool);
                pool->scheduler.paused = !pool->scheduler.paused;
                break;

        case 1:
                pool->scheduler.draining = !pool->scheduler.draining;
                break;

        case 2:
                pool->refuses = choose(h, 3) == 0;
                break;

        case 3:
                pipeline->pipeline.draining = choose(h, 3) == 0;
                break;

        default:
                pipeline->pipeline.max_in_flight = 1 + choose(h, 6);
                pipeline->greatest = MAX(pipeline->greatest, pipeline->pipeline.max_in_flight);
                break;
        }
}

static bool shares_key(History *h, const TestPool *pool, const TestJob *a, const TestJob *b) {
        return a != b && a->submission.concurrency_key &&
               a->submission.concurrency_key == b->submission.concurrency_key &&
               pool_of(h, b) == pool;
}

/* Of a key the one with the least id is taken first. */
static void check_take(History *h, const TestPool *pool, const Worker *worker) {
        for (size_t i = 0; i < worker->n_jobs; i++)
                for (size_t k = 0; k < h->n_jobs; k++) {
                        const TestJob *t = test_job(worker->jobs[i]), *other = &h->jobs[k];

                        /* One that has it comes back to what it has. */
                        CHECK(h, !shares_key(h, pool, t, other) || other->job.id > t->job.id ||
                                         other->job.state != JOB_QUEUED ||
                                         (other->job.flags & JOB_CLAIMED) || t->began);
                }
}

/* Where one of a key is at work at a time, it has that key until it is done here for good: also
 * between two attempts. */
static void check_begin(History *h, const TestPool *pool, const Worker *worker) {
        TestJob *t = worker->n_jobs > 0 ? test_job(worker->jobs[0]) : NULL;

        if (!t)
                return;
        for (size_t k = 0; k < h->n_jobs; k++) {
                const TestJob *other = &h->jobs[k];

                CHECK(h, !shares_key(h, pool, t, other) || !other->began ||
                                 other->job.state == JOB_FINISHED ||
                                 other->job.state == JOB_PASSING ||
                                 pool->scheduler.config.key_concurrency > 1);
        }
        t->began = true;
}

/* ---- workers ---- */

/* Goes on with what it has, or takes something. False: there is nothing for it to do. */
static bool work(History *h, TestPool *pool, Worker *worker) {
        static const Outcome outcomes[] = { OUTCOME_SUCCESS, OUTCOME_SUCCESS, OUTCOME_SUCCESS,
                OUTCOME_SUCCESS, OUTCOME_FAILURE, OUTCOME_FATAL, OUTCOME_RETRY, OUTCOME_LOST };
        usec_t until;

        if (worker->n_jobs > 0) {
                Job *job = worker->jobs[0];

                worker->n_jobs--;
                memmove(worker->jobs, worker->jobs + 1, worker->n_jobs * sizeof(Job *));
                job_done(h, pool, job, outcomes[choose(h, ELEMENTSOF(outcomes))]);
                if (worker->n_jobs > 0)
                        scheduler_start(&pool->scheduler, worker->jobs[0]);
                check_begin(h, pool, worker);
                return true;
        }
        if (scheduler_take(&pool->scheduler, h->now, NULL, 1 + choose(h, CLAIMS_MAX), worker->jobs,
                    &worker->n_jobs, &until) != TAKE_JOBS)
                worker->n_jobs = 0;
        collect_ended(h, pool);
        check_take(h, pool, worker);
        check_begin(h, pool, worker);
        return worker->n_jobs > 0;
}

static void call_work(History *h) {
        TestPool *pool = &h->pools[choose(h, (unsigned) h->n_pools)];

        (void) work(h, pool, &pool->workers[choose(h, (unsigned) pool->n_workers)]);
}

static void call_wait(History *h) {
        h->now += 1 + choose(h, 8);
        for (size_t i = 0; i < h->n_pools; i++) {
                scheduler_advance(&h->pools[i].scheduler, h->now);
                collect_ended(h, &h->pools[i]);
        }
}

/* ---- rules ---- */

/* How many of a key are at work, or claimed for it, in a pool: never more than may be. */
static void check_keys(History *h, TestPool *pool) {
        for (size_t k = 0; k < N_KEYS; k++) {
                unsigned n = 0;

                for (size_t i = 0; i < h->n_jobs; i++) {
                        const TestJob *t = &h->jobs[i];

                        n += t->submission.concurrency_key == keys[k] && pool_of(h, t) == pool &&
                             (t->job.state == JOB_RUNNING || t->job.state == JOB_STOPPING ||
                                     (t->job.flags & JOB_CLAIMED));
                }
                CHECK(h, n <= pool->scheduler.config.key_concurrency);
        }
}

static void check(History *h) {
        for (size_t i = 0; i < h->n_pools; i++) {
                CHECK(h, scheduler_counters_add_up(&h->pools[i].scheduler));
                check_keys(h, &h->pools[i]);
        }
        for (size_t i = 0; i < h->n_pipelines; i++) {
                const TestPipeline *pipeline = &h->pipelines[i];
                const Pipeline *p = &pipeline->pipeline;
                uint64_t n_live = 0;

                for (size_t k = 0; k < h->n_jobs; k++)
                        n_live += h->jobs[k].pipeline == pipeline &&
                                  h->jobs[k].job.state != JOB_FINISHED;
                CHECK(h, p->n_in_flight == n_live);
                CHECK(h, p->n_in_flight <= pipeline->greatest);
                CHECK(h, p->submitted == p->succeeded + p->failed + p->n_in_flight);
        }
        for (size_t k = 0; k < h->n_jobs; k++) {
                const TestJob *t = &h->jobs[k];

                CHECK(h, t->n_ends + (t->job.state != JOB_FINISHED) == t->n_lives);
        }
}

/* Every result that an item or a plain job had in its last life is counted by one pool, and every
 * passage as a success: what was counted in all is what happened. */
static void check_sums(History *h) {
        uint64_t n_submitted = 0, n_passed = 0, n_lives = 0;

        for (size_t i = 0; i < h->n_pools; i++)
                n_submitted += h->pools[i].scheduler.counters.submitted;
        for (size_t k = 0; k < h->n_jobs; k++) {
                const TestJob *t = &h->jobs[k];

                n_lives += t->n_lives;
                if (t->pipeline)
                        n_passed += t->n_passed - (t->job.result == JOB_SUCCEEDED);
        }
        CHECK(h, n_submitted == n_lives + n_passed);
}

/* Nothing holds anything back any more: all has to come to its end. */
static void run_dry(History *h) {
        bool busy = true;

        h->ending = true;
        for (size_t i = 0; i < h->n_pools; i++)
                h->pools[i].scheduler.paused = false;
        for (unsigned round = 0; busy && round < ROUNDS_MAX && !h->fault; round++) {
                read_mail(h);
                h->now += 1000;
                for (size_t i = 0; i < h->n_pools; i++)
                        for (size_t k = 0; k < h->pools[i].n_workers; k++)
                                (void) work(h, &h->pools[i], &h->pools[i].workers[k]);
                busy = h->n_mail > 0;
                for (size_t i = 0; i < h->n_pipelines; i++)
                        call_serve(h, &h->pipelines[i]);
                for (size_t i = 0; i < h->n_pools; i++)
                        busy |= !scheduler_is_empty(&h->pools[i].scheduler) ||
                                h->pools[i].scheduler.n_scheduled > 0;
                check(h);
        }
        for (size_t i = 0; i < h->n_pools; i++)
                CHECK(h, scheduler_is_empty(&h->pools[i].scheduler));
        for (size_t i = 0; i < h->n_pipelines; i++) {
                CHECK(h, h->pipelines[i].pipeline.n_in_flight == 0);
                CHECK(h, list_is_empty(&h->pipelines[i].pipeline.line));
        }
        check_sums(h);
}

/* ---- the whole ---- */

static bool set_up(History *h) {
        h->n_pools = 1 + choose(h, POOLS_MAX);
        h->n_pipelines = 1 + choose(h, PIPELINES_MAX);
        for (size_t i = 0; i < h->n_pools; i++) {
                const SchedulerConfig config = {
                        .queue_max = choose(h, 2) ? 1 : 1 + choose(h, 5),
                        .aging_interval = choose(h, 4) ? 1 + choose(h, 20) : USEC_INFINITY,
                        .fair = choose(h, 2),
                        .overflow = (Overflow) choose(h, _OVERFLOW_MAX),
                        .retry = { .max_attempts = 1 + choose(h, 3),
                                .backoff = choose(h, 4),
                                .backoff_max = 10 },
                        .key_concurrency = 1 + choose(h, 2),
                };

                h->pools[i].n_workers = 1 + choose(h, WORKERS_MAX);
                if (scheduler_init(&h->pools[i].scheduler, &config) < 0)
                        return false;
        }
        for (size_t i = 0; i < h->n_pipelines; i++) {
                TestPipeline *pipeline = &h->pipelines[i];
                uint32_t n = 1 + choose(h, STAGES_MAX);

                pipeline_init(&pipeline->pipeline, n, 1 + choose(h, 6));
                pipeline->greatest = pipeline->pipeline.max_in_flight;
                for (uint32_t k = 0; k < n; k++)
                        pipeline->stages[k] = choose(h, (unsigned) h->n_pools);
        }
        return true;
}

const char *pipeline_history_run(Choices *choices, unsigned *ret_step) {
        History history = { .choices = choices, .now = 1000 }, *h = &history;
        unsigned n_steps, step = 0;

        if (!set_up(h))
                return "there is memory";
        n_steps = choose(h, STEPS_MAX);
        for (; step < n_steps && !h->fault; step++) {
                switch (choose(h, 16)) {

                case 0:
                case 1:
                        call_submit_items(h);
                        break;

                case 2:
                        call_submit_plain(h);
                        break;

                case 3:
                        call_cancel(h);
                        break;

                case 4:
                        call_priority(h);
                        break;

                case 5:
                        call_retry(h);
                        break;

                case 6:
                        call_change(h);
                        break;

                case 7:
                        call_give_up(h);
                        break;

                case 8:
                        call_wait(h);
                        break;

                case 9:
                case 10:
                        read_mail(h);
                        for (size_t i = 0; i < h->n_pipelines; i++)
                                call_serve(h, &h->pipelines[i]);
                        break;

                default:
                        call_work(h);
                        break;
                }
                check(h);
        }
        if (!h->fault)
                run_dry(h);
        for (size_t i = 0; i < h->n_pools; i++)
                scheduler_done(&h->pools[i].scheduler);
        *ret_step = step;
        return h->fault;
}
