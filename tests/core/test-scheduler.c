/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/scheduler.h"
#include "util/macro.h"

#define N_JOBS 24
#define NEVER USEC_INFINITY

typedef struct TestJob {
        Job job;
        JobDetails details;
        Submission submission;
} TestJob;

/* All of a row's columns but the time, the call and the job are named; what is not said is 0. */
typedef enum Call {
        SUBMIT,       /* job `id`, with the options; expect an AdmitVerdict */
        ADMIT,        /* only asks, for `max` jobs */
        TAKE,         /* up to `max` (0 = 1): expect job `id` first, and `more` with the next ids */
        TAKE_NOTHING, /* expect `until`, NEVER = only an event helps */
        START,        /* the claimed job `id` */
        UNCLAIM,
        FINISH, /* with `outcome`: expect a JobResult */
        CANCEL, /* expect a CancelVerdict */
        STOP_TIMED_OUT,
        SET_PRIORITY,
        ADVANCE,
        ENDED, /* the jobs that ended by themselves are as many as expected */
        PAUSE,
        RESUME, /* ends pause and drain */
        DRAIN,
        GATE, /* refuses until `until` from now on; 0 = lets pass */
        QUEUE_MAX,
        AGING,
        STATE,    /* expect a JobState */
        RESULT,   /* expect a JobResult */
        POSITION, /* up to 100 */
        IS_NEXT,
        HAS_WORK,
        IS_EMPTY,
        WAKE_AT, /* expect `until` */
        REJECTED,
        OVERFLOW, /* `expect` is to be the rule from now on */
        JOIN,     /* submit `id`, of `max` jobs, gets in line */
        LEAVE,
        SERVE,     /* expect the id of the one that may come in, 0 = nobody */
        ADMIT_IT,  /* it does: as ADMIT */
        ADMIT_NEW, /* as ADMIT, of one that would wait */
        ADMIT_FIT, /* as ADMIT, of one that takes nobody's place */
        ATTEMPTS,  /* the pool grants `max` of them; Backoff is 20 */
        RETRY,     /* `outcome`: expect another attempt at `until`, the earliest that may be */
        KICK,
        RELEASE, /* by `delay`: expect whether the job is finished */
        ENDING,  /* the daemon stops */
} Call;

typedef struct Step {
        usec_t at;
        Call call;
        uint64_t id;
        int64_t expect;
        size_t max, more;
        usec_t until;
        Outcome outcome;
        int16_t priority;
        uint32_t owner;
        usec_t delay, queue_timeout; /* 0 = none */
} Step;

typedef struct Fixture {
        Scheduler scheduler;
        TestJob jobs[N_JOBS];
        AdmitWaiter waiters[N_JOBS];
        usec_t gate;
} Fixture;

/* Of a job that has no further attempt. */
static JobResult finish(Scheduler *s, Job *job, Outcome outcome) {
        assert_true(scheduler_finish(s, job, outcome, 0, 0));
        return (JobResult) job->result;
}

static usec_t gate_pass(void *userdata, const Job *job, usec_t now) {
        const Fixture *f = userdata;

        assert_int_equal(job->state, JOB_QUEUED);
        return f->gate;
}

static void submit(Fixture *f, const Step *step) {
        TestJob *t = &f->jobs[step->id];
        const Submission submission = {
                .owner = step->owner,
                .submitted_at = step->at,
                .delay = step->delay,
                .queue_timeout = step->queue_timeout > 0 ? step->queue_timeout : USEC_INFINITY,
        };
        int r;

        r = scheduler_admit(&f->scheduler, 1, &submission, step->priority, 0);
        assert_int_equal(r, step->expect);
        if (r != ADMIT_YES)
                return;

        t->submission = submission;
        t->details = (JobDetails){ .job = &t->job };
        t->job = (Job){
                .id = step->id,
                .priority = step->priority,
                .submission = &t->submission,
        };
        /* As in life: only what needs details has them. */
        if (step->delay > 0 || step->queue_timeout > 0)
                t->job.details = &t->details;
        scheduler_submit(&f->scheduler, &t->job, step->at);
}

static void take(Fixture *f, const Step *step) {
        Gates gates = { .pass = gate_pass, .userdata = f };
        Job *jobs[N_JOBS] = {};
        usec_t until = 0;
        size_t n = 0;
        TakeVerdict verdict;

        verdict = scheduler_take(
                &f->scheduler, step->at, &gates, step->max ? step->max : 1, jobs, &n, &until);

        if (step->call == TAKE_NOTHING) {
                assert_int_equal(verdict, step->until == NEVER ? TAKE_NEVER : TAKE_UNTIL);
                assert_int_equal(n, 0);
                assert_int_equal(until, step->until == NEVER ? 0 : step->until);
                return;
        }

        assert_int_equal(verdict, TAKE_JOBS);
        assert_int_equal(n, step->more + 1);
        for (size_t i = 0; i < n; i++) {
                assert_int_equal(jobs[i]->id, step->id + i);
                assert_int_equal(jobs[i]->state, i == 0 ? JOB_RUNNING : JOB_QUEUED);
                assert_int_equal(!!(jobs[i]->flags & JOB_CLAIMED), i > 0);
        }
}

static void set_priority(Fixture *f, const Step *step) {
        TestJob *t = &f->jobs[step->id];

        t->job.details = &t->details;
        assert_int_equal(scheduler_set_priority(&f->scheduler, &t->job, step->priority), 0);
        assert_int_equal(t->job.priority, step->priority);
}

static void admit(Fixture *f, const Step *step, unsigned flags) {
        const Submission submission = { .owner = step->owner };

        assert_int_equal(
                scheduler_admit(&f->scheduler, step->max, &submission, step->priority, flags),
                step->expect);
}

static void serve(Fixture *f, const Step *step) {
        AdmitWaiter *waiter;

        assert_int_equal(scheduler_line_is_due(&f->scheduler), step->expect > 0);
        waiter = scheduler_line_serve(&f->scheduler);
        assert_ptr_equal(waiter, step->expect > 0 ? &f->waiters[step->expect] : NULL);
}

static void retry(Fixture *f, const Step *step) {
        TestJob *t = &f->jobs[step->id];

        t->job.details = &t->details;
        assert_false(scheduler_finish(&f->scheduler, &t->job, step->outcome, step->at, 0));
        assert_int_equal(t->job.state, JOB_SCHEDULED);
        assert_int_equal(t->details.ready_at, step->until);
}

static void do_step(Fixture *f, const Step *step) {
        Scheduler *s = &f->scheduler;
        SchedulerConfig config = s->config;
        Job *job = &f->jobs[step->id].job;
        int64_t n = 0;

        switch (step->call) {

        case SUBMIT:
                submit(f, step);
                break;

        case ADMIT:
                admit(f, step, 0);
                break;

        case ADMIT_IT:
                admit(f, step, ADMIT_SERVED);
                break;

        case ADMIT_NEW:
                admit(f, step, ADMIT_MAY_WAIT);
                break;

        case ADMIT_FIT:
                admit(f, step, ADMIT_NO_DROP);
                break;

        case OVERFLOW:
                config.overflow = (Overflow) step->expect;
                scheduler_set_config(s, &config);
                break;

        case JOIN:
                f->waiters[step->id].n = step->max;
                scheduler_line_join(s, &f->waiters[step->id]);
                break;

        case LEAVE:
                scheduler_line_leave(s, &f->waiters[step->id]);
                break;

        case SERVE:
                serve(f, step);
                break;

        case ATTEMPTS:
                config.retry = (RetryConfig){
                        .max_attempts = (uint32_t) step->max,
                        .backoff = 20,
                        .backoff_max = 100,
                };
                scheduler_set_config(s, &config);
                break;

        case RETRY:
                retry(f, step);
                break;

        case KICK:
                job->details = &f->jobs[step->id].details;
                scheduler_kick(s, job, step->at);
                break;

        case RELEASE:
                job->details = &f->jobs[step->id].details;
                assert_int_equal(scheduler_release(s, job, step->at, step->delay), step->expect);
                break;

        case ENDING:
                s->ending = true;
                break;

        case TAKE:
        case TAKE_NOTHING:
                take(f, step);
                break;

        case START:
                scheduler_start(s, job);
                break;

        case UNCLAIM:
                scheduler_unclaim(s, job);
                break;

        case FINISH:
                assert_int_equal(finish(s, job, step->outcome), step->expect);
                break;

        case CANCEL:
                assert_int_equal(scheduler_cancel(s, job), step->expect);
                break;

        case STOP_TIMED_OUT:
                assert_int_equal(scheduler_stop_timed_out(s, job), step->expect);
                break;

        case SET_PRIORITY:
                set_priority(f, step);
                break;

        case ADVANCE:
                scheduler_advance(s, step->at);
                break;

        case ENDED:
                for (Job *j = scheduler_ended(s); j; j = j->next, n++)
                        assert_int_equal(j->state, JOB_FINISHED);
                assert_int_equal(n, step->expect);
                assert_null(scheduler_ended(s));
                break;

        case PAUSE:
                s->paused = true;
                break;

        case RESUME:
                s->paused = s->draining = false;
                break;

        case DRAIN:
                s->draining = true;
                break;

        case GATE:
                f->gate = step->until;
                break;

        case QUEUE_MAX:
                config.queue_max = step->max;
                scheduler_set_config(s, &config);
                break;

        case AGING:
                config.aging_interval = step->until;
                scheduler_set_config(s, &config);
                break;

        case STATE:
                assert_int_equal(job->state, step->expect);
                break;

        case RESULT:
                assert_int_equal(job->state, JOB_FINISHED);
                assert_int_equal(job->result, step->expect);
                break;

        case POSITION:
                assert_int_equal(scheduler_position(s, job, 100), step->expect);
                break;

        case IS_NEXT:
                assert_int_equal(scheduler_is_next(s, job), step->expect);
                break;

        case HAS_WORK:
                assert_int_equal(scheduler_has_work(s), step->expect);
                break;

        case IS_EMPTY:
                assert_int_equal(scheduler_is_empty(s), step->expect);
                break;

        case WAKE_AT:
                assert_int_equal(scheduler_wake_at(s), step->until);
                break;

        case REJECTED:
                assert_int_equal(s->counters.rejected, step->expect);
                break;
        }
}

static void walk(const SchedulerConfig *config, const Step *steps, size_t n_steps) {
        Fixture f = {};

        assert_int_equal(scheduler_init(&f.scheduler, config), 0);
        for (const Step *step = steps; step < steps + n_steps; step++) {
                do_step(&f, step);
                assert_true(scheduler_counters_add_up(&f.scheduler));
        }
        scheduler_done(&f.scheduler);
}

static const SchedulerConfig plain = { .queue_max = 10, .aging_interval = 10 };
static const SchedulerConfig strict = { .queue_max = 10, .aging_interval = USEC_INFINITY };
static const SchedulerConfig fair = { .queue_max = 20, .aging_interval = 10, .fair = true };

#define WALK(config, steps) walk(&(config), (steps), ELEMENTSOF(steps))

/* ---- overflow ---- */

static void the_oldest_are_dropped_whatever_their_priority(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .max = 4 },
                { 0, OVERFLOW, .expect = OVERFLOW_DROP_OLDEST },
                { 0, SUBMIT, 1, .priority = 5 },
                { 1, SUBMIT, 2, .priority = -5 },
                { 2, SUBMIT, 3 },
                { 2, SUBMIT, 4, .delay = 100 },
                { 3, ADMIT, .max = 4, .expect = ADMIT_FULL }, /* what is not due stays */
                { 3, ENDED, .expect = 0 },
                { 3, ADMIT, .max = 5, .expect = ADMIT_FULL },
                { 3, ENDED, .expect = 0 },
                { 3, ADMIT_FIT, .max = 1, .expect = ADMIT_FULL },
                { 3, ENDED, .expect = 0 },
                { 3, REJECTED, .expect = 10 },
                { 3, ADMIT, .max = 2, .priority = -9, .expect = ADMIT_YES },
                { 3, ENDED, .expect = 2 },
                { 3, RESULT, 1, .expect = JOB_DROPPED },
                { 3, RESULT, 2, .expect = JOB_DROPPED },
                { 3, STATE, 3, .expect = JOB_QUEUED },
                { 3, STATE, 4, .expect = JOB_SCHEDULED },
                { 3, REJECTED, .expect = 10 },
                { 3, SUBMIT, 5 },
                { 4, SUBMIT, 6 },
                { 5, ADMIT, .max = 1, .expect = ADMIT_YES },
                { 5, ENDED, .expect = 1 },
                { 5, RESULT, 3, .expect = JOB_DROPPED },
        };

        WALK(plain, steps);
}

static void the_lowest_is_dropped_for_one_that_would_be_taken_before(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .max = 3 },
                { 0, OVERFLOW, .expect = OVERFLOW_DROP_LOWEST },
                { 0, SUBMIT, 1, .priority = 1 },
                { 0, SUBMIT, 2 },
                { 5, SUBMIT, 3 },
                { 6, ADMIT, .max = 1, .expect = ADMIT_FULL }, /* as urgent, but later */
                { 6, ADMIT, .max = 3, .priority = 1, .expect = ADMIT_FULL }, /* all or none */
                { 6, ENDED, .expect = 0 },
                { 6, REJECTED, .expect = 4 },
                { 6, ADMIT, .max = 1, .priority = 1, .expect = ADMIT_YES },
                { 6, ENDED, .expect = 1 },
                { 6, RESULT, 3, .expect = JOB_DROPPED },
                { 6, SUBMIT, 4, .priority = 1 },
                /* By now job 2 has waited for more than a level is worth. */
                { 11, ADVANCE },
                { 11, SET_PRIORITY, 1, .priority = 9 },
                { 11, SET_PRIORITY, 4, .priority = 9 },
                { 11, ADMIT, .max = 1, .priority = 1, .expect = ADMIT_FULL },
                { 11, ADMIT, .max = 1, .priority = 2, .expect = ADMIT_YES },
                { 11, RESULT, 2, .expect = JOB_DROPPED },
        };

        WALK(plain, steps);
}

static void what_runs_or_is_claimed_is_not_dropped(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .max = 2 },
                { 0, OVERFLOW, .expect = OVERFLOW_DROP_OLDEST },
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, TAKE, 1, .max = 2, .more = 1 },
                { 0, SUBMIT, 3 },
                { 0, ADMIT, .max = 2, .expect = ADMIT_FULL },
                { 0, ADMIT, .max = 1, .expect = ADMIT_YES },
                { 0, RESULT, 3, .expect = JOB_DROPPED },
                { 0, STATE, 1, .expect = JOB_RUNNING },
        };

        WALK(plain, steps);
}

/* ---- the line ---- */

static void the_line_is_first_come_first_served(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .max = 3 },
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, ADMIT_NEW, .max = 3, .expect = ADMIT_FULL },
                { 0, JOIN, 1, .max = 3 },
                { 0, ADMIT_NEW, .max = 1, .expect = ADMIT_FULL }, /* for which there is room */
                { 0, JOIN, 2, .max = 1 },
                { 0, REJECTED, .expect = 0 },
                { 0, ADMIT, .max = 1, .expect = ADMIT_FULL },
                { 0, REJECTED, .expect = 1 },
                { 0, SERVE, .expect = 0 },
                { 1, TAKE, 1 },
                { 1, SERVE, .expect = 0 },
                { 1, TAKE, 2 },
                { 1, SERVE, .expect = 1 },
                { 1, ADMIT_IT, .max = 3, .expect = ADMIT_YES },
                { 1, SUBMIT, 3, .expect = ADMIT_FULL }, /* as long as anybody waits */
                { 1, REJECTED, .expect = 2 },
                { 1, SERVE, .expect = 2 },
                { 1, ADMIT_IT, .max = 1, .expect = ADMIT_YES },
                { 1, SERVE, .expect = 0 },
                { 1, SUBMIT, 3 },
        };

        WALK(plain, steps);
}

static void who_leaves_the_line_is_refused(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .max = 2 },
                { 0, SUBMIT, 1 },
                { 0, JOIN, 1, .max = 2 },
                { 0, JOIN, 2, .max = 1 },
                { 0, SERVE, .expect = 0 },
                { 0, LEAVE, 1 },
                { 0, REJECTED, .expect = 2 },
                { 0, SERVE, .expect = 2 },
        };

        WALK(plain, steps);
}

static void who_can_never_come_in_does_not_wait(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .max = 2 },
                { 0, SUBMIT, 1 },
                { 0, JOIN, 1, .max = 2 },
                { 0, JOIN, 2, .max = 1 },
                { 0, QUEUE_MAX, .max = 1 },
                { 0, SERVE, .expect = 1 },
                { 0, ADMIT_IT, .max = 2, .expect = ADMIT_FULL },
                { 0, SERVE, .expect = 0 },
                { 0, DRAIN },
                { 0, SERVE, .expect = 2 },
                { 0, ADMIT_IT, .max = 1, .expect = ADMIT_DRAINING },
                { 0, REJECTED, .expect = 3 },
        };

        WALK(plain, steps);
}

/* ---- retries ---- */

static void a_retry_waits_longer_each_time_and_keeps_its_key(void **state) {
        static const Step steps[] = {
                { 0, ATTEMPTS, .max = 4 },
                { 0, SUBMIT, 1 },
                { 0, TAKE, 1 },
                { 3, SUBMIT, 2 },
                { 5, RETRY, 1, .outcome = OUTCOME_FAILURE, .until = 15 },
                { 5, IS_EMPTY, .expect = false },
                { 5, WAKE_AT, .until = 15 },
                { 14, POSITION, 1, .expect = 2 },
                { 15, TAKE, 1 }, /* the older one */
                { 20, RETRY, 1, .outcome = OUTCOME_LOST, .until = 40 },
                { 20, TAKE, 2 },
                { 20, FINISH, 2, .expect = JOB_SUCCEEDED },
                { 40, TAKE, 1 },
                { 40, STOP_TIMED_OUT, 1, .expect = true },
                { 50, RETRY, 1, .outcome = OUTCOME_FAILURE, .until = 90 },
                { 90, TAKE, 1 },
                { 90, FINISH, 1, .outcome = OUTCOME_FAILURE, .expect = JOB_FAILED },
                { 90, IS_EMPTY, .expect = true },
        };

        WALK(plain, steps);
}

static void a_cancel_ends_a_job_with_attempts_left(void **state) {
        static const Step steps[] = {
                { 0, ATTEMPTS, .max = 9 },
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3 },
                { 0, TAKE, 1 },
                { 0, CANCEL, 1, .expect = CANCEL_ASKED },
                { 0, FINISH, 1, .outcome = OUTCOME_RETRY, .expect = JOB_CANCELLED },
                { 0, TAKE, 2 },
                { 0, RETRY, 2, .outcome = OUTCOME_RETRY, .until = 10 },
                { 0, CANCEL, 2, .expect = CANCEL_FINISHED },
                { 0, RESULT, 2, .expect = JOB_CANCELLED },
                { 0, TAKE, 3 },
                { 5, STOP_TIMED_OUT, 3, .expect = true },
                { 6, CANCEL, 3, .expect = CANCEL_NOTHING },
                { 7, FINISH, 3, .outcome = OUTCOME_FAILURE, .expect = JOB_TIMED_OUT },
                { 7, IS_EMPTY, .expect = true },
        };

        WALK(plain, steps);
}

static void a_kicked_job_is_as_new(void **state) {
        static const Step steps[] = {
                { 0, ATTEMPTS, .max = 2 },
                { 0, SUBMIT, 1, .queue_timeout = 10 },
                { 0, TAKE, 1 },
                { 0, RETRY, 1, .outcome = OUTCOME_FAILURE, .until = 10 },
                { 20, TAKE, 1 }, /* what was begun does not expire */
                { 20, FINISH, 1, .outcome = OUTCOME_FAILURE, .expect = JOB_FAILED },
                { 30, SUBMIT, 2 },
                { 30, ADMIT_FIT, .max = 1, .expect = ADMIT_YES },
                { 31, KICK, 1 },
                { 31, POSITION, 1, .expect = 2 },
                { 31, WAKE_AT, .until = NEVER },
                { 31, TAKE, 2 },
                { 31, TAKE, 1 },
                { 31, RETRY, 1, .outcome = OUTCOME_FAILURE, .until = 41 },
                { 50, TAKE, 1 },
                { 50, FINISH, 1, .expect = JOB_SUCCEEDED },
        };

        WALK(plain, steps);
}

static void a_released_job_has_its_old_place_and_no_attempt_behind_it(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3 },
                { 0, TAKE, 1 },
                { 0, TAKE, 2 },
                { 5, RELEASE, 2, .delay = 0, .expect = false },
                { 5, RELEASE, 1, .delay = 10, .expect = false },
                { 5, STATE, 1, .expect = JOB_SCHEDULED },
                { 5, TAKE, 2 },
                { 5, FINISH, 2, .expect = JOB_SUCCEEDED },
                { 14, IS_EMPTY, .expect = false },
                { 15, TAKE, 1 },
                { 16, FINISH, 1, .outcome = OUTCOME_FAILURE, .expect = JOB_FAILED },
                { 16, TAKE, 3 },
                { 16, FINISH, 3, .expect = JOB_SUCCEEDED },
                { 16, IS_EMPTY, .expect = true },
        };

        WALK(plain, steps);
}

static void a_drain_waits_for_what_was_released(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, TAKE, 1 },
                { 0, DRAIN },
                { 0, RELEASE, 1, .delay = 100, .expect = false },
                { 0, IS_EMPTY, .expect = false },
                { 0, CANCEL, 1, .expect = CANCEL_FINISHED },
                { 0, IS_EMPTY, .expect = true },
        };

        WALK(plain, steps);
}

static void a_released_job_does_not_expire(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .queue_timeout = 10 },
                { 0, TAKE, 1 },
                { 1, RELEASE, 1, .delay = 2, .expect = false },
                { 1, WAKE_AT, .until = 3 },
                { 50, TAKE, 1 },
                { 50, RELEASE, 1, .delay = 0, .expect = false },
                { 60, ADVANCE },
                { 60, WAKE_AT, .until = NEVER },
                { 60, SET_PRIORITY, 1, .priority = 5 },
                { 60, TAKE, 1 },
                { 60, FINISH, 1, .expect = JOB_SUCCEEDED },
        };

        WALK(plain, steps);
}

static void what_is_released_when_it_was_to_stop_is_cancelled(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, TAKE, 1 },
                { 0, TAKE, 2 },
                { 0, CANCEL, 1, .expect = CANCEL_ASKED },
                { 0, RELEASE, 1, .expect = true },
                { 0, RESULT, 1, .expect = JOB_CANCELLED },
                { 0, ENDING },
                { 0, RELEASE, 2, .expect = true },
                { 0, RESULT, 2, .expect = JOB_CANCELLED },
                { 0, IS_EMPTY, .expect = true },
        };

        WALK(plain, steps);
}

/* ---- admission ---- */

static void a_queue_takes_queue_max_jobs_and_no_more(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .max = 3 },
                { 0, ADMIT, .max = 4, .expect = ADMIT_FULL },
                { 0, ADMIT, .max = 3, .expect = ADMIT_YES },
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2, .delay = 100 }, /* what waits for its time counts as well */
                { 0, ADMIT, .max = 2, .expect = ADMIT_FULL },
                { 0, SUBMIT, 3 },
                { 0, SUBMIT, 4, .expect = ADMIT_FULL },
                { 0, REJECTED, .expect = 4 + 2 + 1 },
                { 1, TAKE, 1 }, /* what runs does not */
                { 1, SUBMIT, 4 },
                { 1, ADMIT, .max = 1, .expect = ADMIT_FULL },
                { 1, ADMIT, .max = SIZE_MAX, .expect = ADMIT_FULL },
        };

        WALK(plain, steps);
}

static void claimed_jobs_keep_their_place_in_the_queue(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .max = 3 },
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3 },
                { 1, TAKE, 1, .max = 3, .more = 2 },
                { 1, ADMIT, .max = 2, .expect = ADMIT_FULL },
                { 1, ADMIT, .max = 1, .expect = ADMIT_YES },
                { 1, START, 2 },
                { 1, ADMIT, .max = 2, .expect = ADMIT_YES },
        };

        WALK(plain, steps);
}

static void a_smaller_queue_max_drops_nothing(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, QUEUE_MAX, .max = 1 },
                { 0, SUBMIT, 3, .expect = ADMIT_FULL },
                { 1, TAKE, 1 },
                { 1, SUBMIT, 3, .expect = ADMIT_FULL },
                { 1, TAKE, 2 },
                { 1, SUBMIT, 3 },
        };

        WALK(plain, steps);
}

static void a_draining_queue_takes_nothing_and_runs_what_it_has(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2, .delay = 5 },
                { 0, DRAIN },
                { 0, SUBMIT, 3, .expect = ADMIT_DRAINING },
                { 0, REJECTED, .expect = 1 },
                { 0, IS_EMPTY, .expect = false },
                { 1, TAKE, 1 },
                { 1, IS_EMPTY, .expect = false },
                { 1, FINISH, 1, .expect = JOB_SUCCEEDED },
                { 1, IS_EMPTY, .expect = true }, /* what is not due yet does not count */
                { 1, RESUME },
                { 1, SUBMIT, 3 },
        };

        WALK(plain, steps);
}

/* ---- taking ---- */

static void jobs_run_in_order_of_aged_priority(void **state) {
        static const Step steps[] = {
                { 100, SUBMIT, 1 },
                { 109, SUBMIT, 2, .priority = 1 },
                { 111, SUBMIT, 3, .priority = 1 },
                { 111, SUBMIT, 4 },
                { 112, TAKE, 2 },
                { 112, TAKE, 1 },
                { 112, TAKE, 3 },
                { 112, TAKE, 4 },
                { 112, TAKE_NOTHING, .until = NEVER },
        };

        WALK(plain, steps);
}

static void equal_priorities_never_overtake_each_other(void **state) {
        static const Step steps[] = {
                { 5, SUBMIT, 1 },
                { 4, SUBMIT, 2 }, /* its thread read the clock before that of job 1 */
                { 5, SUBMIT, 3, .priority = 1 },
                { 3, SUBMIT, 4, .priority = 1 },
                { 6, TAKE, 3, .max = 2, .more = 1 },
                { 6, UNCLAIM, 4 },
                { 2, SUBMIT, 5, .priority = 1 },
                { 6, TAKE, 4 },
                { 6, TAKE, 5 },
                { 6, TAKE, 1 },
                { 6, TAKE, 2 },
        };

        WALK(plain, steps);
        WALK(strict, steps);
}

static void a_clock_that_was_read_before_a_delay_ended_is_no_trouble(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .delay = 10 },
                { 20, ADVANCE }, /* a worker, while the main thread still has 9 as its time */
                { 9, SUBMIT, 2 },
                { 9, SUBMIT, 3 },
                { 21, TAKE, 1 },
                { 21, TAKE, 2 },
                { 21, TAKE, 3 },
        };

        WALK(plain, steps);
}

static void several_can_be_taken_and_given_back(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3 },
                { 0, SUBMIT, 4 },
                { 1, TAKE, 1, .max = 3, .more = 2 },
                { 1, POSITION, 4, .expect = 3 },
                { 1, POSITION, 2, .expect = 1 },
                { 2, FINISH, 1, .expect = JOB_SUCCEEDED },
                { 2, START, 2 },
                { 2, STATE, 2, .expect = JOB_RUNNING },
                { 2, UNCLAIM, 3 },
                { 2, STATE, 3, .expect = JOB_QUEUED },
                { 2, IS_NEXT, 3, .expect = true },
                { 2, TAKE, 3, .max = 5, .more = 1 },
                /* Run to its end in one go: the claim is the only thing that was told. */
                { 2, FINISH, 4, .outcome = OUTCOME_FAILURE, .expect = JOB_FAILED },
        };

        WALK(plain, steps);
}

static void two_workers_can_give_back_what_they_claimed(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3 },
                { 0, SUBMIT, 4 },
                { 0, SUBMIT, 5 },
                { 0, SUBMIT, 6 },
                { 1, TAKE, 1, .max = 3, .more = 2 },
                { 1, TAKE, 4, .max = 2, .more = 1 },
                { 1, UNCLAIM, 3 },
                { 1, UNCLAIM, 2 },
                { 1, UNCLAIM, 5 },
                { 1, POSITION, 5, .expect = 3 },
                { 2, TAKE, 2 },
                { 2, TAKE, 3 },
                { 2, TAKE, 5 },
                { 2, TAKE, 6 },
        };

        WALK(plain, steps);
}

static void a_paused_queue_accepts_and_lets_nothing_start(void **state) {
        static const Step steps[] = {
                { 0, PAUSE },
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2, .delay = 7 },
                { 0, HAS_WORK, .expect = false },
                { 1, TAKE_NOTHING, .until = 7 },
                { 8, TAKE_NOTHING, .until = NEVER },
                { 8, RESUME },
                { 8, HAS_WORK, .expect = true },
                { 8, TAKE, 1 },
                { 8, TAKE, 2 },
                { 8, HAS_WORK, .expect = false },
        };

        WALK(plain, steps);
}

static void a_gate_that_refuses_changes_nothing(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2, .queue_timeout = 50 },
                { 0, GATE, .until = 30 },
                { 1, TAKE_NOTHING, .until = 30 },
                { 1, STATE, 1, .expect = JOB_QUEUED },
                { 1, POSITION, 2, .expect = 2 },
                { 1, WAKE_AT, .until = 50 },
                { 1, GATE, .until = NEVER },
                { 2, TAKE_NOTHING, .until = 50 }, /* the time-out is sooner than never */
                { 2, GATE, .until = 60 },
                { 2, TAKE_NOTHING, .until = 50 },
                { 50, TAKE_NOTHING, .until = 60 },
                { 50, RESULT, 2, .expect = JOB_EXPIRED },
                { 51, GATE, .until = NEVER },
                { 51, TAKE_NOTHING, .until = NEVER },
                { 60, GATE, .until = 0 },
                { 60, TAKE, 1 },
        };

        WALK(plain, steps);
}

static usec_t pass_two(void *userdata, const Job *job, usec_t now) {
        unsigned *n_left = userdata;

        if (*n_left == 0)
                return USEC_INFINITY;
        (*n_left)--;
        return 0;
}

static void gates_are_asked_for_each_job(void **state) {
        unsigned n_left = 2;
        Gates gates = { .pass = pass_two, .userdata = &n_left };
        Submission submission = { .queue_timeout = USEC_INFINITY };
        Job jobs[4] = {}, *taken[4] = {};
        usec_t until = 0;
        size_t n = 0;
        Scheduler s;

        assert_int_equal(scheduler_init(&s, &plain), 0);
        for (size_t i = 0; i < ELEMENTSOF(jobs); i++) {
                jobs[i] = (Job){ .id = i + 1, .submission = &submission };
                assert_int_equal(scheduler_admit(&s, 1, &submission, 0, 0), ADMIT_YES);
                scheduler_submit(&s, &jobs[i], 0);
        }
        assert_int_equal(scheduler_take(&s, 1, &gates, 4, taken, &n, &until), TAKE_JOBS);
        assert_int_equal(n, 2);
        assert_ptr_equal(taken[0], &jobs[0]);
        assert_ptr_equal(taken[1], &jobs[1]);
        assert_int_equal(scheduler_take(&s, 1, &gates, 4, taken, &n, &until), TAKE_NEVER);
        assert_int_equal(scheduler_take(&s, 1, NULL, 4, taken, &n, &until), TAKE_JOBS);
        assert_int_equal(n, 2);
        scheduler_done(&s);
}

/* ---- time ---- */

static void a_delay_ends_at_its_moment(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .delay = 10 },
                { 0, STATE, 1, .expect = JOB_SCHEDULED },
                { 0, WAKE_AT, .until = 10 },
                { 0, HAS_WORK, .expect = false },
                { 9, TAKE_NOTHING, .until = 10 },
                { 10, ADVANCE },
                { 10, STATE, 1, .expect = JOB_QUEUED },
                { 10, WAKE_AT, .until = NEVER },
                { 10, TAKE, 1 },
        };

        WALK(plain, steps);
}

static void a_delayed_job_ages_from_the_moment_it_is_due(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .delay = 10 },
                { 5, SUBMIT, 2 },
                { 12, SUBMIT, 3 },
                { 12, POSITION, 1, .expect = 3 },
                { 13, TAKE, 2 },
                { 13, TAKE, 1 },
                { 13, TAKE, 3 },
        };

        WALK(plain, steps);
}

static void a_delay_without_an_end_never_ends(void **state) {
        static const Step steps[] = {
                { 5, SUBMIT, 1, .delay = USEC_INFINITY },
                { 6, TAKE_NOTHING, .until = NEVER },
                { 1000 * USEC_PER_YEAR, TAKE_NOTHING, .until = NEVER },
                { 1000 * USEC_PER_YEAR, CANCEL, 1, .expect = CANCEL_FINISHED },
        };

        WALK(plain, steps);
}

static void a_job_expires_exactly_at_its_queue_timeout(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .queue_timeout = 10 },
                { 0, SUBMIT, 2, .queue_timeout = 10, .delay = 20 },
                { 0, SUBMIT, 3, .queue_timeout = 5, .priority = -9 },
                { 0, WAKE_AT, .until = 5 },
                { 4, ADVANCE },
                { 4, ENDED, .expect = 0 },
                { 5, ADVANCE },
                { 5, ENDED, .expect = 1 },
                { 5, RESULT, 3, .expect = JOB_EXPIRED },
                { 9, TAKE, 1 },
                { 10, TAKE_NOTHING, .until = NEVER },
                { 10, ENDED, .expect = 1 },
                { 10, RESULT, 2, .expect = JOB_EXPIRED },
                { 10, STATE, 1, .expect = JOB_RUNNING }, /* it began in time */
                { 99, FINISH, 1, .expect = JOB_SUCCEEDED },
        };

        WALK(plain, steps);
}

static void a_claimed_job_does_not_expire_but_one_given_back_does(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2, .queue_timeout = 10 },
                { 0, SUBMIT, 3, .queue_timeout = 10 },
                { 1, TAKE, 1, .max = 3, .more = 2 },
                { 1, WAKE_AT, .until = NEVER },
                { 20, ADVANCE },
                { 20, ENDED, .expect = 0 },
                { 20, UNCLAIM, 3 },
                { 20, WAKE_AT, .until = 10 },
                { 20, START, 2 },
                { 21, TAKE_NOTHING, .until = NEVER },
                { 21, ENDED, .expect = 1 },
                { 21, RESULT, 3, .expect = JOB_EXPIRED },
        };

        WALK(plain, steps);
}

/* ---- ends ---- */

static void a_cancel_ends_what_waits_and_asks_what_runs(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3, .delay = 9, .queue_timeout = 20 },
                { 1, TAKE, 1 },
                { 1, CANCEL, 3, .expect = CANCEL_FINISHED },
                { 1, RESULT, 3, .expect = JOB_CANCELLED },
                { 1, CANCEL, 2, .expect = CANCEL_FINISHED },
                { 1, RESULT, 2, .expect = JOB_CANCELLED },
                { 1, WAKE_AT, .until = NEVER },
                { 1, CANCEL, 1, .expect = CANCEL_ASKED },
                { 1, STATE, 1, .expect = JOB_STOPPING },
                { 1, CANCEL, 1, .expect = CANCEL_NOTHING },
                { 2, FINISH, 1, .outcome = OUTCOME_FAILURE, .expect = JOB_CANCELLED },
                { 2, CANCEL, 1, .expect = CANCEL_NOTHING },
                { 2, CANCEL, 2, .expect = CANCEL_NOTHING },
                { 2, RESULT, 1, .expect = JOB_CANCELLED },
                { 2, ENDED, .expect = 0 },
        };

        WALK(plain, steps);
}

static void a_claimed_job_is_cancelled_by_giving_it_back(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3 },
                { 1, TAKE, 1, .max = 3, .more = 2 },
                { 1, UNCLAIM, 2 }, /* from the middle: 3 stays with the worker */
                { 1, CANCEL, 2, .expect = CANCEL_FINISHED },
                { 1, FINISH, 1, .expect = JOB_SUCCEEDED },
                { 1, UNCLAIM, 3 },
                { 1, TAKE, 3 },
        };

        WALK(plain, steps);
}

static void the_first_terminal_event_wins(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3 },
                { 0, SUBMIT, 4 },
                { 1, TAKE, 1 },
                { 1, TAKE, 2 },
                { 1, TAKE, 3 },
                { 1, TAKE, 4 },
                /* A success that beat the cancel. */
                { 2, CANCEL, 1, .expect = CANCEL_ASKED },
                { 2, FINISH, 1, .expect = JOB_SUCCEEDED },
                /* A cancel before a time-out, and the other way round. */
                { 2, CANCEL, 2, .expect = CANCEL_ASKED },
                { 3, STOP_TIMED_OUT, 2, .expect = false },
                { 3, FINISH, 2, .outcome = OUTCOME_FAILURE, .expect = JOB_CANCELLED },
                { 3, STOP_TIMED_OUT, 3, .expect = true },
                { 3, STATE, 3, .expect = JOB_STOPPING },
                { 3, CANCEL, 3, .expect = CANCEL_NOTHING },
                { 4, FINISH, 3, .outcome = OUTCOME_FAILURE, .expect = JOB_TIMED_OUT },
                /* A failure before a time-out. */
                { 4, FINISH, 4, .outcome = OUTCOME_FAILURE, .expect = JOB_FAILED },
                { 5, STOP_TIMED_OUT, 4, .expect = false },
                { 5, RESULT, 4, .expect = JOB_FAILED },
        };

        WALK(plain, steps);
}

static void a_cancelled_job_does_not_expire_as_well(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .queue_timeout = 10 },
                { 9, CANCEL, 1, .expect = CANCEL_FINISHED },
                { 10, ADVANCE },
                { 10, ENDED, .expect = 0 },
                { 10, RESULT, 1, .expect = JOB_CANCELLED },
        };

        WALK(plain, steps);
}

/* ---- priorities and aging ---- */

static void a_new_priority_changes_the_place(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 1, SUBMIT, 2 },
                { 2, SUBMIT, 3, .delay = 5 },
                { 3, SET_PRIORITY, 2, .priority = 5 },
                { 3, SET_PRIORITY, 3, .priority = 9 },
                { 3, IS_NEXT, 2, .expect = true },
                { 3, IS_NEXT, 1, .expect = false },
                { 8, TAKE, 3 },
                { 8, TAKE, 2 },
                { 8, SET_PRIORITY, 2, .priority = -5 }, /* of what runs: for show, and a retry */
                { 8, TAKE, 1 },
        };

        WALK(plain, steps);
}

static void a_priority_that_comes_back_finds_its_old_place(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3 },
                { 1, SET_PRIORITY, 2, .priority = -1 },
                { 1, POSITION, 2, .expect = 3 },
                { 2, SET_PRIORITY, 2, .priority = 0 },
                { 2, POSITION, 2, .expect = 2 },
                { 3, TAKE, 1 },
                { 3, TAKE, 2 },
                { 3, TAKE, 3 },
        };

        WALK(plain, steps);
        WALK(strict, steps);
}

static void a_new_aging_interval_counts_for_what_waits(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 50, SUBMIT, 2, .priority = 3 },
                { 50, IS_NEXT, 1, .expect = true }, /* 0 against 50 - 3 * 10 */
                { 50, AGING, .until = 20 },
                { 50, IS_NEXT, 2, .expect = true },
                { 50, AGING, .until = 10 },
                { 50, IS_NEXT, 1, .expect = true },
                { 50, AGING, .until = USEC_INFINITY },
                { 50, TAKE, 2 },
                { 50, TAKE, 1 },
        };

        WALK(plain, steps);
}

static void a_low_priority_is_not_starved(void **state) {
        const usec_t interval = 50;
        SchedulerConfig config = { .queue_max = 10, .aging_interval = interval };
        Submission submission = { .queue_timeout = USEC_INFINITY };

        /* One job of priority -p; every moment a job of priority 0 comes, and one can run. */
        for (int16_t p = 1; p <= 20; p++) {
                Job low = { .id = 1, .priority = (int16_t) -p, .submission = &submission };
                Job high[2] = {}, *taken = NULL;
                usec_t now = 0, until;
                Scheduler s;
                size_t n;

                assert_int_equal(scheduler_init(&s, &config), 0);
                assert_int_equal(scheduler_admit(&s, 1, &submission, low.priority, 0), ADMIT_YES);
                scheduler_submit(&s, &low, now);
                while (taken != &low) {
                        Job *next = &high[now % 2];

                        now++;
                        *next = (Job){ .id = now + 1, .submission = &submission };
                        assert_int_equal(scheduler_admit(&s, 1, &submission, 0, 0), ADMIT_YES);
                        scheduler_submit(&s, next, now);
                        assert_int_equal(
                                scheduler_take(&s, now, NULL, 1, &taken, &n, &until), TAKE_JOBS);
                        (void) finish(&s, taken, OUTCOME_SUCCESS);
                        assert_true(now <= (usec_t) p * interval);
                }
                assert_int_equal(now, (usec_t) p * interval);
                scheduler_done(&s);
        }
}

static void the_position_counts_what_is_ahead(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3, .priority = 1 },
                { 0, SUBMIT, 4, .delay = 50 },
                { 0, POSITION, 3, .expect = 1 },
                { 0, POSITION, 1, .expect = 2 },
                { 0, POSITION, 2, .expect = 3 },
                { 0, POSITION, 4, .expect = 4 },
                { 1, TAKE, 3 },
                { 1, POSITION, 2, .expect = 2 },
        };

        WALK(plain, steps);
}

static void the_position_is_bounded(void **state) {
        Submission submission = { .queue_timeout = USEC_INFINITY };
        Job jobs[10] = {};
        Scheduler s;

        assert_int_equal(scheduler_init(&s, &plain), 0);
        for (size_t i = 0; i < ELEMENTSOF(jobs); i++) {
                jobs[i] = (Job){ .id = i + 1, .submission = &submission };
                assert_int_equal(scheduler_admit(&s, 1, &submission, 0, 0), ADMIT_YES);
                scheduler_submit(&s, &jobs[i], i);
        }
        assert_int_equal(scheduler_position(&s, &jobs[9], 100), 10);
        assert_int_equal(scheduler_position(&s, &jobs[9], 10), 10);
        assert_int_equal(scheduler_position(&s, &jobs[9], 5), 5);
        assert_int_equal(scheduler_position(&s, &jobs[3], 5), 4);
        scheduler_done(&s);
}

/* ---- owners ---- */

static void owners_take_turns(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .owner = 7 },
                { 0, SUBMIT, 2, .owner = 7 },
                { 0, SUBMIT, 3, .owner = 7, .priority = 1 },
                { 0, SUBMIT, 4, .owner = 9 },
                { 0, SUBMIT, 5, .owner = 9 },
                { 0, SUBMIT, 6, .owner = 3, .priority = -5 },
                { 1, POSITION, 3, .expect = 1 },
                { 1, POSITION, 4, .expect = 2 },
                { 1, POSITION, 6, .expect = 3 },
                { 1, POSITION, 1, .expect = 4 },
                { 1, POSITION, 5, .expect = 5 },
                { 1, POSITION, 2, .expect = 6 },
                { 1, TAKE, 3 },
                { 1, TAKE, 4 },
                { 1, TAKE, 6 },
                { 1, TAKE, 1 },
                { 1, TAKE, 5 },
                { 1, TAKE, 2 },
        };

        WALK(fair, steps);
}

static void an_owner_that_comes_back_has_no_credit(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .owner = 7 },
                { 0, TAKE, 1 },
                { 0, FINISH, 1, .expect = JOB_SUCCEEDED },
                { 1, SUBMIT, 2, .owner = 9 },
                { 1, SUBMIT, 3, .owner = 9 },
                { 1, SUBMIT, 4, .owner = 9 },
                { 1, SUBMIT, 5, .owner = 9 },
                { 1, TAKE, 2 },
                { 1, TAKE, 3 },
                /* Away for a long time: it gets one turn in two, not two in a row. */
                { 9, SUBMIT, 6, .owner = 7 },
                { 9, SUBMIT, 7, .owner = 7 },
                { 9, TAKE, 4 },
                { 9, TAKE, 6 },
                { 9, TAKE, 5 },
                { 9, TAKE, 7 },
        };

        WALK(fair, steps);
}

static void a_job_that_comes_back_gives_its_owner_the_turn(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .owner = 7 },
                { 0, SUBMIT, 2, .owner = 9 },
                { 0, SUBMIT, 3, .owner = 7 },
                { 0, SUBMIT, 4, .owner = 9 },
                { 1, TAKE, 1, .max = 3, .more = 2 },
                { 1, UNCLAIM, 3 },
                { 1, TAKE, 3 },
                { 1, UNCLAIM, 2 },
                { 1, TAKE, 2 },
                { 1, TAKE, 4 },
        };

        WALK(fair, steps);
}

static void one_job_of_another_user_runs_next_after_ten_thousand(void **state) {
        SchedulerConfig config = { .queue_max = 20000, .aging_interval = 10, .fair = true };
        Submission many = { .owner = 1000, .queue_timeout = USEC_INFINITY };
        Submission one = { .owner = 1001, .queue_timeout = USEC_INFINITY };
        static Job jobs[10001];
        Job *taken;
        usec_t until;
        Scheduler s;
        size_t n;

        assert_int_equal(scheduler_init(&s, &config), 0);
        for (size_t i = 0; i < ELEMENTSOF(jobs); i++) {
                bool last = i == ELEMENTSOF(jobs) - 1;

                jobs[i] = (Job){ .id = i + 1, .submission = last ? &one : &many };
                assert_int_equal(scheduler_admit(&s, 1, jobs[i].submission, 0, 0), ADMIT_YES);
                scheduler_submit(&s, &jobs[i], i);
                if (i == 0)
                        assert_int_equal(
                                scheduler_take(&s, 0, NULL, 1, &taken, &n, &until), TAKE_JOBS);
        }
        assert_int_equal(scheduler_take(&s, 20000, NULL, 1, &taken, &n, &until), TAKE_JOBS);
        assert_ptr_equal(taken, &jobs[1]); /* whose turn it was before the other user came */
        assert_int_equal(scheduler_take(&s, 20000, NULL, 1, &taken, &n, &until), TAKE_JOBS);
        assert_ptr_equal(taken, &jobs[10000]);
        assert_int_equal(scheduler_take(&s, 20000, NULL, 1, &taken, &n, &until), TAKE_JOBS);
        assert_ptr_equal(taken, &jobs[2]);
        scheduler_done(&s);
}

static void an_owner_is_kept_as_long_as_it_has_a_job(void **state) {
        SchedulerConfig config = { .queue_max = 1000, .aging_interval = 10, .fair = true };
        static Submission submissions[200];
        static Job jobs[200];
        Job *taken;
        usec_t until;
        Scheduler s;
        size_t n;

        assert_int_equal(scheduler_init(&s, &config), 0);
        for (uint32_t i = 0; i < ELEMENTSOF(jobs); i++) {
                submissions[i] = (Submission){ .owner = i, .queue_timeout = USEC_INFINITY };
                jobs[i] = (Job){ .id = i + 1, .submission = &submissions[i] };
                assert_int_equal(scheduler_admit(&s, 1, &submissions[i], 0, 0), ADMIT_YES);
                scheduler_submit(&s, &jobs[i], i);
                assert_int_equal(scheduler_take(&s, i, NULL, 1, &taken, &n, &until), TAKE_JOBS);
                assert_ptr_equal(taken, &jobs[i]);
        }
        assert_int_equal(s.n_owners, ELEMENTSOF(jobs));
        for (size_t i = 0; i < ELEMENTSOF(jobs); i++)
                assert_int_equal(finish(&s, &jobs[i], OUTCOME_SUCCESS), JOB_SUCCEEDED);

        assert_int_equal(scheduler_admit(&s, 1, &(Submission){ .owner = ELEMENTSOF(jobs) }, 0, 0),
                ADMIT_YES);
        assert_int_equal(s.n_owners, 1);
        assert_true(scheduler_counters_add_up(&s));
        scheduler_done(&s);
}

static void owners_without_fairness_are_one(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .owner = 7 },
                { 0, SUBMIT, 2, .owner = 7 },
                { 0, SUBMIT, 3, .owner = 9 },
                { 1, TAKE, 1 },
                { 1, TAKE, 2 },
                { 1, TAKE, 3 },
        };

        WALK(plain, steps);
}

static void owners_come_and_go_without_a_trace(void **state) {
        SchedulerConfig config = { .queue_max = 10, .aging_interval = 10, .fair = true };
        Submission submissions[2] = {};
        Job jobs[2] = {}, *taken;
        usec_t until;
        Scheduler s;
        size_t n;

        assert_int_equal(scheduler_init(&s, &config), 0);
        for (uint32_t i = 0; i < 10000; i++) {
                Job *job = &jobs[i % 2];
                uint32_t uid = i * 7919 % 10007;

                submissions[i % 2] = (Submission){ .owner = uid, .queue_timeout = USEC_INFINITY };
                *job = (Job){ .id = i + 1, .submission = &submissions[i % 2] };
                assert_int_equal(scheduler_admit(&s, 1, job->submission, 0, 0), ADMIT_YES);
                scheduler_submit(&s, job, i);
                if (i == 0)
                        continue;
                /* One of two always waits while the next owner comes. */
                assert_int_equal(scheduler_take(&s, i, NULL, 1, &taken, &n, &until), TAKE_JOBS);
                assert_int_equal(taken->id, i);
                assert_int_equal(finish(&s, taken, OUTCOME_SUCCESS), JOB_SUCCEEDED);
        }
        assert_true(s.n_owners <= 65);
        scheduler_done(&s);
}

/* ---- runs ---- */

static void the_run_with_the_least_deadline_comes_first(void **state) {
        Run runs[4] = {};
        Scheduler s;

        assert_int_equal(scheduler_init(&s, &plain), 0);
        assert_null(scheduler_first_run(&s));
        assert_int_equal(scheduler_wake_at(&s), USEC_INFINITY);

        scheduler_add_run(&s, &runs[0], 10, USEC_INFINITY);
        assert_int_equal(scheduler_wake_at(&s), USEC_INFINITY);
        scheduler_add_run(&s, &runs[1], 20, 100);
        scheduler_add_run(&s, &runs[2], 30, 50);
        scheduler_add_run(&s, &runs[3], 40, 80);
        assert_int_equal(runs[3].started_at, 40);
        assert_int_equal(runs[3].deadline, 120);

        assert_ptr_equal(scheduler_first_run(&s), &runs[2]);
        assert_int_equal(scheduler_wake_at(&s), 80);
        scheduler_remove_run(&s, &runs[2]);
        /* Equal deadlines stay in the order in which they began. */
        assert_ptr_equal(scheduler_first_run(&s), &runs[1]);
        assert_int_equal(scheduler_wake_at(&s), 120);
        scheduler_remove_run(&s, &runs[1]);
        assert_ptr_equal(scheduler_first_run(&s), &runs[3]);
        scheduler_remove_run(&s, &runs[3]);
        assert_ptr_equal(scheduler_first_run(&s), &runs[0]);
        scheduler_remove_run(&s, &runs[0]);
        /* A run whose time was over is gone before its job ends. */
        scheduler_remove_run(&s, &runs[0]);
        assert_null(scheduler_first_run(&s));
        scheduler_done(&s);
}

static void a_run_that_is_over_its_time_wakes(void **state) {
        Job job = {}, *taken;
        Submission submission = { .queue_timeout = USEC_INFINITY };
        Run run = {};
        usec_t until = 0;
        Scheduler s;
        size_t n;

        assert_int_equal(scheduler_init(&s, &plain), 0);
        job = (Job){ .id = 1, .submission = &submission };
        assert_int_equal(scheduler_admit(&s, 1, &submission, 0, 0), ADMIT_YES);
        scheduler_submit(&s, &job, 5);
        assert_int_equal(scheduler_take(&s, 5, NULL, 1, &taken, &n, &until), TAKE_JOBS);
        scheduler_add_run(&s, &run, 5, 30);
        assert_int_equal(scheduler_take(&s, 6, NULL, 1, &taken, &n, &until), TAKE_UNTIL);
        assert_int_equal(until, 35);
        assert_true(scheduler_stop_timed_out(&s, &job));
        scheduler_remove_run(&s, &run);
        assert_int_equal(scheduler_wake_at(&s), USEC_INFINITY);
        assert_int_equal(finish(&s, &job, OUTCOME_FAILURE), JOB_TIMED_OUT);
        scheduler_done(&s);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_oldest_are_dropped_whatever_their_priority),
                cmocka_unit_test(the_lowest_is_dropped_for_one_that_would_be_taken_before),
                cmocka_unit_test(what_runs_or_is_claimed_is_not_dropped),
                cmocka_unit_test(the_line_is_first_come_first_served),
                cmocka_unit_test(who_leaves_the_line_is_refused),
                cmocka_unit_test(who_can_never_come_in_does_not_wait),
                cmocka_unit_test(a_retry_waits_longer_each_time_and_keeps_its_key),
                cmocka_unit_test(a_cancel_ends_a_job_with_attempts_left),
                cmocka_unit_test(a_kicked_job_is_as_new),
                cmocka_unit_test(a_released_job_has_its_old_place_and_no_attempt_behind_it),
                cmocka_unit_test(a_drain_waits_for_what_was_released),
                cmocka_unit_test(a_released_job_does_not_expire),
                cmocka_unit_test(what_is_released_when_it_was_to_stop_is_cancelled),
                cmocka_unit_test(a_queue_takes_queue_max_jobs_and_no_more),
                cmocka_unit_test(claimed_jobs_keep_their_place_in_the_queue),
                cmocka_unit_test(a_smaller_queue_max_drops_nothing),
                cmocka_unit_test(a_draining_queue_takes_nothing_and_runs_what_it_has),
                cmocka_unit_test(jobs_run_in_order_of_aged_priority),
                cmocka_unit_test(equal_priorities_never_overtake_each_other),
                cmocka_unit_test(a_clock_that_was_read_before_a_delay_ended_is_no_trouble),
                cmocka_unit_test(several_can_be_taken_and_given_back),
                cmocka_unit_test(two_workers_can_give_back_what_they_claimed),
                cmocka_unit_test(a_paused_queue_accepts_and_lets_nothing_start),
                cmocka_unit_test(a_gate_that_refuses_changes_nothing),
                cmocka_unit_test(gates_are_asked_for_each_job),
                cmocka_unit_test(a_delay_ends_at_its_moment),
                cmocka_unit_test(a_delayed_job_ages_from_the_moment_it_is_due),
                cmocka_unit_test(a_delay_without_an_end_never_ends),
                cmocka_unit_test(a_job_expires_exactly_at_its_queue_timeout),
                cmocka_unit_test(a_claimed_job_does_not_expire_but_one_given_back_does),
                cmocka_unit_test(a_cancel_ends_what_waits_and_asks_what_runs),
                cmocka_unit_test(a_claimed_job_is_cancelled_by_giving_it_back),
                cmocka_unit_test(the_first_terminal_event_wins),
                cmocka_unit_test(a_cancelled_job_does_not_expire_as_well),
                cmocka_unit_test(a_new_priority_changes_the_place),
                cmocka_unit_test(a_priority_that_comes_back_finds_its_old_place),
                cmocka_unit_test(a_new_aging_interval_counts_for_what_waits),
                cmocka_unit_test(a_low_priority_is_not_starved),
                cmocka_unit_test(the_position_counts_what_is_ahead),
                cmocka_unit_test(the_position_is_bounded),
                cmocka_unit_test(owners_take_turns),
                cmocka_unit_test(an_owner_that_comes_back_has_no_credit),
                cmocka_unit_test(a_job_that_comes_back_gives_its_owner_the_turn),
                cmocka_unit_test(one_job_of_another_user_runs_next_after_ten_thousand),
                cmocka_unit_test(an_owner_is_kept_as_long_as_it_has_a_job),
                cmocka_unit_test(owners_without_fairness_are_one),
                cmocka_unit_test(owners_come_and_go_without_a_trace),
                cmocka_unit_test(the_run_with_the_least_deadline_comes_first),
                cmocka_unit_test(a_run_that_is_over_its_time_wakes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
