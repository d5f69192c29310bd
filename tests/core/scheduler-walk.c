/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/scheduler-walk.h"

#include "test.h"

#include <stdio.h>
#include <string.h>

#define N_JOBS 12

typedef struct TestJob {
        Job job;
        JobDetails details;
        Submission submission;
        char key[8];
} TestJob;

typedef struct Fixture {
        Scheduler scheduler;
        TestJob jobs[N_JOBS];
        AdmitWaiter waiter;
        usec_t gate;
        unsigned n_asked;
} Fixture;

static usec_t gate_pass(void *userdata, const Job *job, usec_t now) {
        Fixture *f = userdata;

        f->n_asked++;
        return f->gate;
}

static void submit(Fixture *f, const Step *step, uint64_t id) {
        TestJob *t = &f->jobs[id];

        (void) snprintf(t->key, sizeof(t->key), "%s", step->key ?: "");
        t->submission = (Submission){
                .owner = step->owner,
                .submitted_at = step->at,
                .delay = step->delay,
                .queue_timeout = step->queue_timeout > 0 ? step->queue_timeout : NEVER,
                .concurrency_key = step->key ? t->key : NULL,
        };
        t->details = (JobDetails){ .job = &t->job };
        t->job = (Job){
                .id = id,
                .priority = step->priority,
                .submission = &t->submission,
                .details = step->key || step->delay > 0 || step->queue_timeout > 0 ? &t->details
                                                                                   : NULL,
        };
        assert_int_equal(
                scheduler_admit(&f->scheduler, 1, &t->submission, step->priority, 0), ADMIT_YES);
        scheduler_submit(&f->scheduler, &t->job, step->at);
}

static void note(char ids[static 64], const Job *job) {
        size_t used = strlen(ids);

        (void) snprintf(ids + used, 64 - used, "%u ", (unsigned) job->id);
}

static void take(Fixture *f, const Step *step) {
        Gates gates = { .pass = gate_pass, .userdata = f };
        bool batch = f->scheduler.config.batch_size > 1;
        Job *jobs[N_JOBS] = {};
        TakeVerdict verdict;
        char ids[64] = "";
        usec_t until = NEVER;
        size_t n = 0;

        verdict = scheduler_take(
                &f->scheduler, step->at, &gates, step->n ?: N_JOBS, jobs, &n, &until);
        for (size_t i = 0; i < n; i++) {
                note(ids, jobs[i]);
                /* All of a batch run, of several others the first one. */
                assert_int_equal(jobs[i]->state, batch || i == 0 ? JOB_RUNNING : JOB_QUEUED);
                assert_int_equal(jobs[i]->flags & JOB_CLAIMED, batch || i == 0 ? 0 : JOB_CLAIMED);
        }
        assert_string_equal(ids, step->call == TAKE ? step->jobs : "");
        if (step->call == NOTHING) {
                assert_int_equal(verdict, step->until == NEVER ? TAKE_NEVER : TAKE_UNTIL);
                assert_int_equal(until, step->until);
        }
}

/* The jobs that the scheduler has ended by itself, in the order in which it did. */
static void check_ended(Fixture *f, const Step *step, JobResult result) {
        char ids[64] = "", reversed[64] = "";

        for (Job *job = scheduler_ended(&f->scheduler); job; job = job->next) {
                assert_int_equal(job->result, result);
                (void) snprintf(reversed, sizeof(reversed), "%s", ids);
                (void) snprintf(ids, sizeof(ids), "%u %.50s", (unsigned) job->id, reversed);
        }
        assert_string_equal(ids, step->jobs);
}

static void do_step(Fixture *f, const Step *step) {
        Scheduler *s = &f->scheduler;
        SchedulerConfig config = s->config;
        const Submission plain = { .queue_timeout = NEVER };
        TestJob *t = &f->jobs[step->id];

        switch (step->call) {

        case SUBMIT:
                for (uint64_t i = 0; i < (step->n ?: 1); i++)
                        submit(f, step, step->id + i);
                return;

        case TAKE:
        case NOTHING:
                take(f, step);
                return;

        case START:
                scheduler_start(s, &t->job);
                return;

        case UNCLAIM:
                scheduler_unclaim(s, &t->job);
                return;

        case FINISH:
                assert_true(scheduler_finish(s, &t->job, OUTCOME_SUCCESS, step->at, 0));
                assert_null(t->job.details ? t->job.details->key : NULL);
                return;

        case FAIL:
                assert_true(scheduler_finish(s, &t->job, OUTCOME_FATAL, step->at, 0));
                return;

        case RETRY:
                t->job.details = &t->details;
                t->submission.max_attempts = 9;
                assert_false(scheduler_finish(s, &t->job, OUTCOME_FAILURE, step->at, 0));
                assert_int_equal(t->details.ready_at, step->until);
                return;

        case KICK:
                assert_int_equal(
                        scheduler_admit(s, 1, &t->submission, t->job.priority, 0), ADMIT_YES);
                scheduler_kick(s, &t->job, step->at);
                return;

        case CANCEL:
                assert_int_equal(scheduler_cancel(s, &t->job), step->n);
                return;

        case REFUSE:
                assert_int_equal(scheduler_refuse(s, &t->job), step->n);
                return;

        case PRIORITY:
                t->job.details = &t->details;
                assert_int_equal(scheduler_set_priority(s, &t->job, step->priority), 0);
                return;

        case PAUSE:
                s->paused = true;
                return;

        case RESUME:
                s->paused = s->draining = false;
                return;

        case DRAIN:
                s->draining = true;
                return;

        case PLACES:
                config.key_concurrency = step->n;
                scheduler_set_config(s, &config);
                return;

        case SIZE:
                config.batch_size = step->n;
                scheduler_set_config(s, &config);
                return;

        case TIMEOUT:
                config.batch_timeout = step->until;
                scheduler_set_config(s, &config);
                return;

        case QUEUE_MAX:
                config.queue_max = step->n;
                scheduler_set_config(s, &config);
                return;

        case OVERFLOW:
                config.overflow = (Overflow) step->n;
                scheduler_set_config(s, &config);
                return;

        case GATE:
                f->gate = step->until;
                return;

        case PASSED:
                assert_int_equal(f->n_asked, step->n);
                return;

        case JOIN:
                f->waiter.n = step->n;
                scheduler_line_join(s, &f->waiter);
                return;

        case LEAVE:
                scheduler_line_leave(s, &f->waiter);
                return;

        case ADVANCE:
                scheduler_advance(s, step->at);
                check_ended(f, step, JOB_EXPIRED);
                return;

        case TICK:
                scheduler_advance(s, step->at);
                assert_int_equal(scheduler_has_work(s), step->n);
                return;

        case DROPS:
                scheduler_advance(s, step->at);
                assert_int_equal(scheduler_admit(s, 1, &plain, step->priority, 0), ADMIT_YES);
                check_ended(f, step, JOB_DROPPED);
                return;

        case FULL:
                assert_int_equal(scheduler_admit(s, 1, &plain, step->priority, 0), ADMIT_FULL);
                return;

        case STATE:
                assert_int_equal(t->job.state, step->n);
                return;

        case PARKED:
                assert_int_equal(s->keys.parked.n_jobs, step->n);
                return;

        case ELIGIBLE:
                assert_int_equal(scheduler_n_eligible(s), step->n);
                return;

        case POSITION:
                assert_int_equal(scheduler_position(s, &t->job, 100), step->n);
                return;

        case GATHERS:
                assert_int_equal(scheduler_gathers(s), step->n);
                return;

        case END_AT:
                assert_int_equal(scheduler_batch_at(s), step->until);
                return;

        case WAITED:
                assert_int_equal(scheduler_oldest_wait(s, step->at), step->until);
                return;

        case KNOWN:
                assert_int_equal(HASH_COUNT(s->keys.by_text), step->n);
                return;
        }
}

void scheduler_walk(const SchedulerConfig *config, const Step *steps, size_t n_steps) {
        SchedulerConfig own = *config;
        Fixture f = {};

        own.queue_max = own.aging_interval = 10;
        own.retry = (RetryConfig){ .max_attempts = 1, .backoff = 20, .backoff_max = 20 };
        assert_int_equal(scheduler_init(&f.scheduler, &own), 0);
        for (const Step *step = steps; step < steps + n_steps; step++) {
                do_step(&f, step);
                assert_true(scheduler_counters_add_up(&f.scheduler));
        }
        scheduler_done(&f.scheduler);
}
