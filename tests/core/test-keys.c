/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ConcurrencyKeys: which job of which key may be taken, as the scheduler does it. */

#include "test.h"

#include <stdio.h>
#include <string.h>

#include "core/scheduler.h"
#include "util/macro.h"

#define N_JOBS 12
#define NEVER USEC_INFINITY

typedef enum Call {
        SUBMIT,    /* job `id`, with the options */
        TAKE,      /* expect these jobs, in this order: all that can be taken, or `n` */
        NOTHING,   /* nothing can be taken: expect the moment to come again */
        START,     /* the claimed job `id` */
        UNCLAIM,   /* it goes back */
        FINISH,    /* the job succeeds */
        FAIL,      /* it fails for good */
        RETRY,     /* it fails, and is to wait up to `until` for another attempt */
        KICK,      /* it is put back */
        CANCEL,    /* expect the CancelVerdict `n` */
        REFUSE,    /* expect whether it could be */
        PRIORITY,  /* is changed */
        PLACES,    /* `n` of each key from now on */
        BATCH,     /* of size `n` and timeout 100 from now on */
        QUEUE_MAX, /* is `n` from now on */
        OVERFLOW,  /* is `n` from now on */
        ADVANCE,   /* time passes, and these jobs end by it */
        DROPS,     /* a submit of one job without a key drops these ones */
        FULL,      /* there is no room for one more */
        STATE,     /* expect the JobState `n` */
        PARKED,    /* so many jobs wait for their keys: `n` */
        ELIGIBLE,  /* so many could be taken: `n` */
        POSITION,  /* expect `n` */
        GATHERS,   /* expect whether it gathers for a batch */
        WAITED,    /* expect the oldest to have waited until `until` */
        KNOWN,     /* so many keys are known: `n` */
} Call;

typedef struct Step {
        usec_t at;
        Call call;
        uint64_t id;
        const char *key;  /* of a submit; NULL = none */
        const char *jobs; /* ids, each followed by a blank */
        usec_t until;
        unsigned n;
        int16_t priority;
        uint32_t owner;
        usec_t delay, queue_timeout; /* 0 = none */
} Step;

typedef struct TestJob {
        Job job;
        JobDetails details;
        Submission submission;
        char key[8];
} TestJob;

typedef struct Fixture {
        Scheduler scheduler;
        TestJob jobs[N_JOBS];
} Fixture;

static void submit(Fixture *f, const Step *step) {
        TestJob *t = &f->jobs[step->id];

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
                .id = step->id,
                .priority = step->priority,
                .submission = &t->submission,
                .details = step->key || step->delay > 0 ? &t->details : NULL,
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
        Job *jobs[N_JOBS] = {};
        TakeVerdict verdict;
        char ids[64] = "";
        usec_t until = NEVER;
        size_t n = 0;

        verdict =
                scheduler_take(&f->scheduler, step->at, NULL, step->n ?: N_JOBS, jobs, &n, &until);
        for (size_t i = 0; i < n; i++)
                note(ids, jobs[i]);
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
                submit(f, step);
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
                assert_int_equal(scheduler_set_priority(s, &t->job, step->priority), 0);
                return;

        case PLACES:
                config.key_concurrency = step->n;
                scheduler_set_config(s, &config);
                return;

        case BATCH:
                config.batch_size = step->n;
                config.batch_timeout = 100;
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

        case ADVANCE:
                scheduler_advance(s, step->at);
                check_ended(f, step, JOB_EXPIRED);
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

        case WAITED:
                assert_int_equal(scheduler_oldest_wait(s, step->at), step->until);
                return;

        case KNOWN:
                assert_int_equal(HASH_COUNT(s->keys.by_text), step->n);
                return;
        }
}

/* A failed attempt waits 10 for the next one. */
static void walk(uint32_t key_concurrency, bool fair, const Step *steps, size_t n_steps) {
        SchedulerConfig config = {
                .queue_max = 10,
                .aging_interval = 10,
                .fair = fair,
                .retry = { .max_attempts = 1, .backoff = 20, .backoff_max = 20 },
                .key_concurrency = key_concurrency,
        };
        Fixture f = {};

        assert_int_equal(scheduler_init(&f.scheduler, &config), 0);
        for (const Step *step = steps; step < steps + n_steps; step++) {
                do_step(&f, step);
                assert_true(scheduler_counters_add_up(&f.scheduler));
        }
        scheduler_done(&f.scheduler);
}

#define WALK(key_concurrency, steps) walk(key_concurrency, false, steps, ELEMENTSOF(steps))
#define WALK_FAIR(steps) walk(1, true, steps, ELEMENTSOF(steps))

/* ---- the bound ---- */

static void of_a_key_one_job_runs_and_others_go_on(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "b" },
                { 0, SUBMIT, 4 },
                { 1, TAKE, .jobs = "1 3 4 " },
                { 1, PARKED, .n = 1 },
                { 2, NOTHING, .until = NEVER },
                { 3, FINISH, 3 },
                { 3, NOTHING, .until = NEVER },
                { 4, FINISH, 1 },
                { 4, TAKE, .jobs = "2 " },
        };

        WALK(1, steps);
}

static void of_a_key_as_many_run_as_may(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 0, SUBMIT, 4, "a" },
                { 1, TAKE, .jobs = "1 2 " },
                { 1, NOTHING, .until = NEVER },
                { 2, FINISH, 2 },
                { 2, TAKE, .jobs = "3 " },
                { 3, FINISH, 3 },
                { 3, FINISH, 1 },
                { 3, TAKE, .jobs = "4 " },
        };

        WALK(2, steps);
}

static void a_claimed_job_has_its_key(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 1, TAKE, .jobs = "1 2 " },
                { 1, STATE, 2, .n = JOB_QUEUED },
                { 1, NOTHING, .until = NEVER },
                { 1, UNCLAIM, 2 },
                { 1, PARKED, .n = 1 },
                { 2, TAKE, .jobs = "2 " },
                { 2, FINISH, 2 },
                { 2, TAKE, .jobs = "3 " },
        };

        WALK(1, steps);
}

static void what_is_taken_back_is_in_order_again(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 0, SUBMIT, 4, "a" },
                { 1, TAKE, .jobs = "1 2 3 " },
                { 1, UNCLAIM, 3 },
                { 1, UNCLAIM, 2 },
                { 1, PARKED, .n = 2 },
                { 2, TAKE, .jobs = "2 ", .n = 1 },
                { 2, TAKE, .jobs = "3 " },
        };

        WALK(3, steps);
}

static void a_batch_has_no_more_of_a_key_than_may_run(void **state) {
        static const Step one[] = {
                { 0, BATCH, .n = 3 },
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 0, ELIGIBLE, .n = 1 },
                /* Three are queued, but they are no batch. */
                { 0, GATHERS, .n = 1 },
                { 1, NOTHING, .until = 100 },
                { 2, SUBMIT, 4, "b" },
                { 3, SUBMIT, 5 },
                { 3, GATHERS, .n = 0 },
                { 3, TAKE, .jobs = "1 4 5 " },
                { 3, GATHERS, .n = 0 },
                { 9, FINISH, 1 },
                { 9, GATHERS, .n = 1 },
        };
        static const Step two[] = {
                { 0, BATCH, .n = 3 },
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 0, ELIGIBLE, .n = 2 },
                { 0, GATHERS, .n = 1 },
                { 1, SUBMIT, 4 },
                { 1, ELIGIBLE, .n = 3 },
                { 1, TAKE, .jobs = "1 2 4 " },
        };

        WALK(1, one);
        WALK(2, two);
}

/* ---- the order ---- */

static void within_a_key_the_order_of_submission_counts(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .priority = -5 },
                { 0, SUBMIT, 2, "a", .priority = 5 },
                { 0, SUBMIT, 3, "b", .priority = 1 },
                { 0, SUBMIT, 4 },
                /* Between keys it is the priority of the next one of each. */
                { 1, TAKE, .jobs = "3 4 1 " },
                { 1, FINISH, 1 },
                { 1, TAKE, .jobs = "2 " },
        };
        static const Step two[] = {
                { 0, SUBMIT, 1, "a", .priority = -5 },
                { 0, SUBMIT, 2, "a", .priority = 5 },
                { 0, SUBMIT, 3 },
                { 1, TAKE, .jobs = "3 ", .n = 1 },
                { 1, TAKE, .jobs = "1 2 " },
        };

        WALK(1, steps);
        WALK(2, two);
}

static void what_was_parked_has_its_old_place_among_others(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 1, SUBMIT, 2, "a" },
                { 2, SUBMIT, 3 },
                { 3, TAKE, .jobs = "1 ", .n = 1 },
                { 4, FINISH, 1 },
                { 4, TAKE, .jobs = "2 3 " },
        };

        WALK(1, steps);
}

static void alone_with_its_key_a_job_keeps_it_over_a_back_off(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "b" },
                { 1, TAKE, .jobs = "1 ", .n = 1 },
                { 2, RETRY, 1, .until = 12 },
                { 3, TAKE, .jobs = "3 " },
                { 3, NOTHING, .until = 12 },
                { 12, TAKE, .jobs = "1 " },
                { 13, RETRY, 1, .until = 23 },
                { 13, NOTHING, .until = 23 },
                { 23, TAKE, .jobs = "1 " },
                { 24, FAIL, 1 },
                { 24, TAKE, .jobs = "2 " },
        };

        WALK(1, steps);
}

static void among_others_it_gives_its_place_to_the_next(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 0, SUBMIT, 4, "a" },
                { 1, TAKE, .jobs = "1 2 " },
                { 2, RETRY, 1, .until = 12 },
                { 2, TAKE, .jobs = "3 " },
                { 3, FINISH, 2 },
                /* Job 4 is the next now; but nobody takes it before job 1 is due again. */
                { 12, TAKE, .jobs = "1 " },
                { 13, FINISH, 3 },
                { 13, TAKE, .jobs = "4 " },
        };

        WALK(2, steps);
}

static void a_delayed_job_joins_its_key_when_it_is_due(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .delay = 10 },
                { 0, SUBMIT, 2, "a", .delay = 10 },
                { 1, SUBMIT, 3, "a" },
                { 1, SUBMIT, 4, "a" },
                { 2, SUBMIT, 5, "a", .delay = 1 },
                { 3, SUBMIT, 6, "a" },
                /* What is not due is in nobody's way, … */
                { 4, TAKE, .jobs = "3 " },
                { 4, PARKED, .n = 3 },
                { 10, ADVANCE, .jobs = "" },
                /* … and passes those that wait, not the one at work. */
                { 10, PARKED, .n = 5 },
                { 11, FINISH, 3 },
                { 11, TAKE, .jobs = "1 " },
                { 12, FINISH, 1 },
                { 12, TAKE, .jobs = "2 " },
                { 13, FINISH, 2 },
                { 13, TAKE, .jobs = "4 " },
                { 14, FINISH, 4 },
                { 14, TAKE, .jobs = "5 " },
                { 15, FINISH, 5 },
                { 15, TAKE, .jobs = "6 " },
        };

        WALK(1, steps);
}

static void a_delayed_job_overtakes_the_next_of_its_key(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .delay = 10 },
                { 0, SUBMIT, 2, "a" },
                { 5, PARKED, .n = 0 },
                { 10, TAKE, .jobs = "1 " },
                { 10, PARKED, .n = 1 },
        };

        WALK(1, steps);
}

static void a_job_that_keeps_its_key_is_not_passed_by_an_earlier_one(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .delay = 5 },
                { 0, SUBMIT, 2, "a" },
                { 1, TAKE, .jobs = "2 " },
                { 2, RETRY, 2, .until = 12 },
                { 6, NOTHING, .until = 12 },
                { 12, TAKE, .jobs = "2 " },
                { 13, FINISH, 2 },
                { 13, TAKE, .jobs = "1 " },
        };

        WALK(1, steps);
}

static void a_kicked_job_is_before_those_that_came_later(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 1, TAKE, .jobs = "1 " },
                { 2, FAIL, 1 },
                { 3, TAKE, .jobs = "2 " },
                { 4, KICK, 1 },
                { 5, FINISH, 2 },
                { 5, TAKE, .jobs = "1 " },
        };

        WALK(1, steps);
}

static void owners_have_turns_and_a_key_has_its_order(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .owner = 1 },
                { 0, SUBMIT, 2, "a", .owner = 2 },
                { 0, SUBMIT, 3, "a", .owner = 1 },
                { 0, SUBMIT, 4, .owner = 2 },
                { 0, SUBMIT, 5, .owner = 2 },
                { 0, SUBMIT, 6, .owner = 1 },
                { 1, TAKE, .jobs = "1 4 6 5 " },
                { 2, FINISH, 1 },
                { 2, TAKE, .jobs = "2 " },
                { 3, FINISH, 2 },
                { 3, TAKE, .jobs = "3 " },
        };

        WALK_FAIR(steps);
}

/* ---- what waits for its key waits ---- */

static void parked_jobs_are_queued_and_take_room(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .n = 3 },
                { 0, SUBMIT, 1, "a" },
                { 0, TAKE, .jobs = "1 " },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 0, SUBMIT, 4, "a" },
                { 0, STATE, 4, .n = JOB_QUEUED },
                { 0, FULL },
                { 0, ELIGIBLE, .n = 0 },
                { 9, WAITED, .until = 0 },
        };

        WALK(1, steps);
}

static void parked_jobs_expire(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .queue_timeout = 20 },
                { 0, SUBMIT, 2, "a", .queue_timeout = 20 },
                { 0, SUBMIT, 3, "a", .queue_timeout = 10 },
                { 0, SUBMIT, 4, "a" },
                { 1, TAKE, .jobs = "1 " },
                { 1, NOTHING, .until = 10 },
                { 10, ADVANCE, .jobs = "3 " },
                { 20, ADVANCE, .jobs = "2 " },
                { 21, FINISH, 1 },
                { 21, TAKE, .jobs = "4 " },
        };

        WALK(1, steps);
}

static void when_the_next_one_expires_another_is_the_next(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a", .queue_timeout = 10 },
                { 0, SUBMIT, 2, "a", .queue_timeout = 5 },
                { 0, SUBMIT, 3, "a" },
                { 10, ADVANCE, .jobs = "2 1 " },
                { 10, TAKE, .jobs = "3 " },
        };

        WALK(1, steps);
}

static void parked_jobs_can_be_cancelled_and_refused(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 0, SUBMIT, 4, "a" },
                { 0, SUBMIT, 5, "a" },
                { 1, CANCEL, 2, .n = CANCEL_FINISHED },
                { 1, REFUSE, 4, .n = true },
                { 1, CANCEL, 1, .n = CANCEL_FINISHED },
                { 2, TAKE, .jobs = "3 " },
                { 2, CANCEL, 3, .n = CANCEL_ASKED },
                { 2, NOTHING, .until = NEVER },
                { 3, FAIL, 3 },
                { 3, TAKE, .jobs = "5 " },
        };

        WALK(1, steps);
}

static void a_job_cancelled_in_its_back_off_leaves_its_key(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 1, TAKE, .jobs = "1 " },
                { 2, RETRY, 1, .until = 12 },
                { 3, CANCEL, 1, .n = CANCEL_FINISHED },
                { 3, TAKE, .jobs = "2 " },
                { 4, FINISH, 2 },
                /* The same of one that is due again, and has not been taken. */
                { 5, SUBMIT, 3, "a" },
                { 5, SUBMIT, 4, "a" },
                { 5, TAKE, .jobs = "3 " },
                { 6, RETRY, 3, .until = 16 },
                { 16, ADVANCE, .jobs = "" },
                { 16, CANCEL, 3, .n = CANCEL_FINISHED },
                { 16, TAKE, .jobs = "4 " },
        };

        WALK(1, steps);
}

static void a_parked_job_can_have_another_priority(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3 },
                { 0, PRIORITY, 2, .priority = 3 },
                { 1, TAKE, .jobs = "1 ", .n = 1 },
                { 1, FINISH, 1 },
                { 1, TAKE, .jobs = "2 3 " },
        };

        WALK(1, steps);
}

static void parked_jobs_can_be_dropped(void **state) {
        static const Step oldest[] = {
                { 0, QUEUE_MAX, .n = 3 },
                { 0, OVERFLOW, .n = OVERFLOW_DROP_OLDEST },
                { 0, SUBMIT, 1, "a" },
                { 0, TAKE, .jobs = "1 " },
                { 1, SUBMIT, 2, "a" },
                { 2, SUBMIT, 3, "a" },
                { 3, SUBMIT, 4 },
                { 4, DROPS, .jobs = "2 " },
                { 4, FINISH, 1 },
                { 4, TAKE, .jobs = "3 4 " },
        };
        static const Step lowest[] = {
                { 0, QUEUE_MAX, .n = 3 },
                { 0, OVERFLOW, .n = OVERFLOW_DROP_LOWEST },
                { 0, SUBMIT, 1, "a" },
                { 0, TAKE, .jobs = "1 " },
                { 1, SUBMIT, 2, "a", .priority = 2 },
                { 2, SUBMIT, 3, "a", .priority = -2 },
                { 3, SUBMIT, 4 },
                { 4, FULL, .priority = -3 },
                { 4, DROPS, .jobs = "3 " },
                { 4, FINISH, 1 },
                { 4, TAKE, .jobs = "2 4 " },
        };
        static const Step next[] = {
                { 0, QUEUE_MAX, .n = 2 },
                { 0, OVERFLOW, .n = OVERFLOW_DROP_OLDEST },
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 1, DROPS, .jobs = "1 " },
                { 1, TAKE, .jobs = "2 " },
        };

        WALK(1, oldest);
        WALK(1, lowest);
        WALK(1, next);
}

static void a_parked_job_has_those_of_its_key_ahead(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a", .delay = 5 },
                { 0, SUBMIT, 3, "a" },
                { 0, SUBMIT, 4, "a" },
                { 0, SUBMIT, 5, "b" },
                { 0, SUBMIT, 6 },
                { 0, POSITION, 1, .n = 1 },
                { 0, POSITION, 3, .n = 2 },
                { 0, POSITION, 4, .n = 3 },
                /* What is parked is ahead of nobody else. */
                { 0, POSITION, 5, .n = 2 },
                { 0, POSITION, 6, .n = 3 },
                { 1, TAKE, .jobs = "1 ", .n = 1 },
                { 1, POSITION, 3, .n = 2 },
                { 1, POSITION, 5, .n = 1 },
                { 5, ADVANCE, .jobs = "" },
                { 5, POSITION, 2, .n = 2 },
                { 5, POSITION, 4, .n = 4 },
                { 6, FINISH, 1 },
                { 6, POSITION, 4, .n = 3 },
        };

        WALK(1, steps);
}

/* ---- settings ---- */

static void more_places_count_at_once(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 0, SUBMIT, 4, "a" },
                { 1, TAKE, .jobs = "1 " },
                { 1, ELIGIBLE, .n = 0 },
                { 2, PLACES, .n = 3 },
                { 2, ELIGIBLE, .n = 2 },
                { 2, TAKE, .jobs = "2 3 " },
        };

        WALK(1, steps);
}

static void fewer_places_count_for_what_waits(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 0, SUBMIT, 4, "a" },
                { 1, TAKE, .jobs = "1 2 ", .n = 2 },
                { 1, ELIGIBLE, .n = 1 },
                { 2, PLACES, .n = 1 },
                { 2, ELIGIBLE, .n = 0 },
                { 2, PARKED, .n = 2 },
                { 3, FINISH, 1 },
                { 3, NOTHING, .until = NEVER },
                { 3, FINISH, 2 },
                { 3, TAKE, .jobs = "3 " },
        };

        WALK(3, steps);
}

static void with_more_places_nobody_keeps_one(void **state) {
        static const Step in_back_off[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 1, TAKE, .jobs = "1 " },
                { 2, RETRY, 1, .until = 12 },
                { 3, PLACES, .n = 2 },
                { 3, TAKE, .jobs = "2 3 " },
                { 4, PLACES, .n = 1 },
                /* Its attempt waits like any other job of the key, or two would be at work. */
                { 12, NOTHING, .until = NEVER },
                { 13, FINISH, 2 },
                { 13, NOTHING, .until = NEVER },
                { 13, FINISH, 3 },
                { 13, TAKE, .jobs = "1 " },
        };
        static const Step due[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 0, SUBMIT, 3, "a" },
                { 1, TAKE, .jobs = "1 " },
                { 2, RETRY, 1, .until = 12 },
                { 12, ADVANCE, .jobs = "" },
                { 13, PLACES, .n = 2 },
                { 13, ELIGIBLE, .n = 2 },
                { 13, TAKE, .jobs = "1 2 " },
        };

        WALK(1, in_back_off);
        WALK(1, due);
}

static void one_of_several_at_work_keeps_nothing(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "a" },
                { 1, TAKE, .jobs = "1 2 " },
                { 2, PLACES, .n = 1 },
                { 3, RETRY, 1, .until = 13 },
                { 4, RETRY, 2, .until = 14 },
                /* Job 2 was alone then, and keeps the key; job 1 is behind it. */
                { 13, NOTHING, .until = 14 },
                { 14, TAKE, .jobs = "2 " },
                { 15, FINISH, 2 },
                { 15, TAKE, .jobs = "1 " },
        };

        WALK(2, steps);
}

/* ---- memory ---- */

static void a_key_without_a_job_is_forgotten(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, "a" },
                { 0, SUBMIT, 2, "b" },
                { 0, SUBMIT, 3, "b" },
                { 0, KNOWN, .n = 2 },
                { 1, TAKE, .jobs = "1 2 " },
                { 2, FINISH, 1 },
                { 2, KNOWN, .n = 1 },
                { 3, FINISH, 2 },
                { 3, CANCEL, 3, .n = CANCEL_FINISHED },
                /* The last one that was admitted is kept, its job may be on the way. */
                { 3, KNOWN, .n = 1 },
                { 4, SUBMIT, 4, "c" },
                { 4, KNOWN, .n = 1 },
        };

        WALK(1, steps);
}

static void a_key_that_was_reserved_stays_until_the_next_one(void **state) {
        SchedulerConfig config = { .queue_max = 10, .aging_interval = 10, .key_concurrency = 1 };
        char a[] = "a", b[] = "b";
        Submission one = { .concurrency_key = a, .queue_timeout = NEVER },
                   other = { .concurrency_key = b, .queue_timeout = NEVER };
        JobDetails details[2] = {};
        Job jobs[2], *taken;
        Scheduler s;
        usec_t until;
        size_t n;

        assert_int_equal(scheduler_init(&s, &config), 0);
        for (size_t i = 0; i < 2; i++) {
                details[i].job = &jobs[i];
                jobs[i] = (Job){ .id = i + 1, .submission = &one, .details = &details[i] };
        }
        /* Two jobs of one call, of which the first ends before the second comes. */
        assert_int_equal(scheduler_admit(&s, 2, &one, 0, 0), ADMIT_YES);
        scheduler_submit(&s, &jobs[0], 0);
        assert_int_equal(scheduler_take(&s, 0, NULL, 1, &taken, &n, &until), TAKE_JOBS);
        assert_true(scheduler_finish(&s, &jobs[0], OUTCOME_SUCCESS, 0, 0));
        scheduler_submit(&s, &jobs[1], 0);
        assert_ptr_equal(scheduler_next(&s), &jobs[1]);

        assert_int_equal(scheduler_admit(&s, 1, &other, 0, 0), ADMIT_YES);
        assert_int_equal(HASH_COUNT(s.keys.by_text), 2);
        assert_int_equal(scheduler_admit(&s, 1, &one, 0, 0), ADMIT_YES);
        assert_int_equal(HASH_COUNT(s.keys.by_text), 1);
        scheduler_done(&s);
}

/* An item of a pipeline goes from pool to pool. */
static void a_job_can_go_on_to_another_scheduler(void **state) {
        SchedulerConfig config = { .queue_max = 10, .aging_interval = 10, .key_concurrency = 1 };
        char a[] = "a";
        Submission submission = { .concurrency_key = a, .queue_timeout = NEVER };
        JobDetails details = {};
        Job job = { .id = 1, .submission = &submission, .details = &details }, *taken;
        Scheduler stages[2];
        usec_t until;
        size_t n;

        details.job = &job;
        for (size_t i = 0; i < ELEMENTSOF(stages); i++) {
                Scheduler *s = &stages[i];

                job.state = JOB_NEW;
                assert_int_equal(scheduler_init(s, &config), 0);
                assert_int_equal(scheduler_admit(s, 1, &submission, 0, 0), ADMIT_YES);
                scheduler_submit(s, &job, i);
                assert_ptr_equal(details.key, s->keys.by_text);
                assert_int_equal(scheduler_take(s, i, NULL, 1, &taken, &n, &until), TAKE_JOBS);
                assert_true(scheduler_finish(s, &job, OUTCOME_SUCCESS, i, 0));
                assert_null(details.key);
        }
        for (size_t i = 0; i < ELEMENTSOF(stages); i++)
                scheduler_done(&stages[i]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(of_a_key_one_job_runs_and_others_go_on),
                cmocka_unit_test(of_a_key_as_many_run_as_may),
                cmocka_unit_test(a_claimed_job_has_its_key),
                cmocka_unit_test(what_is_taken_back_is_in_order_again),
                cmocka_unit_test(a_batch_has_no_more_of_a_key_than_may_run),
                cmocka_unit_test(within_a_key_the_order_of_submission_counts),
                cmocka_unit_test(what_was_parked_has_its_old_place_among_others),
                cmocka_unit_test(alone_with_its_key_a_job_keeps_it_over_a_back_off),
                cmocka_unit_test(among_others_it_gives_its_place_to_the_next),
                cmocka_unit_test(a_delayed_job_joins_its_key_when_it_is_due),
                cmocka_unit_test(a_delayed_job_overtakes_the_next_of_its_key),
                cmocka_unit_test(a_job_that_keeps_its_key_is_not_passed_by_an_earlier_one),
                cmocka_unit_test(a_kicked_job_is_before_those_that_came_later),
                cmocka_unit_test(owners_have_turns_and_a_key_has_its_order),
                cmocka_unit_test(parked_jobs_are_queued_and_take_room),
                cmocka_unit_test(parked_jobs_expire),
                cmocka_unit_test(when_the_next_one_expires_another_is_the_next),
                cmocka_unit_test(parked_jobs_can_be_cancelled_and_refused),
                cmocka_unit_test(a_job_cancelled_in_its_back_off_leaves_its_key),
                cmocka_unit_test(a_parked_job_can_have_another_priority),
                cmocka_unit_test(parked_jobs_can_be_dropped),
                cmocka_unit_test(a_parked_job_has_those_of_its_key_ahead),
                cmocka_unit_test(more_places_count_at_once),
                cmocka_unit_test(fewer_places_count_for_what_waits),
                cmocka_unit_test(with_more_places_nobody_keeps_one),
                cmocka_unit_test(one_of_several_at_work_keeps_nothing),
                cmocka_unit_test(a_key_without_a_job_is_forgotten),
                cmocka_unit_test(a_key_that_was_reserved_stays_until_the_next_one),
                cmocka_unit_test(a_job_can_go_on_to_another_scheduler),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
