/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Batches: when what is queued is one, and of whom. */

#include "test.h"

#include <stdio.h>
#include <string.h>

#include "core/scheduler.h"
#include "util/macro.h"

#define N_JOBS 12
#define NEVER USEC_INFINITY

typedef enum Call {
        SUBMIT,  /* job `id`, with the options */
        TAKE,    /* expect these jobs, in this order */
        NOTHING, /* a take has none: expect the moment to come again */
        TICK,    /* a timer has fired: expect whether it finds a batch */
        CANCEL,
        FINISH,
        RETRY, /* it fails, and is to wait up to `until` for another attempt */
        PRIORITY,
        PAUSE,
        RESUME, /* ends pause and drain */
        DRAIN,
        SIZE,    /* is `n` from now on */
        TIMEOUT, /* is `until` from now on */
        QUEUE_MAX,
        GATE,   /* refuses until `until` from now on; 0 = lets pass */
        PASSED, /* so many times the gate was asked in all: `n` */
        JOIN,   /* somebody waits for room */
        LEAVE,
        END_AT, /* expect the end of the time-out at `until`; NEVER = nothing waits for it */
} Call;

typedef struct Step {
        usec_t at;
        Call call;
        uint64_t id;
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

static void submit(Fixture *f, const Step *step) {
        TestJob *t = &f->jobs[step->id];

        t->submission = (Submission){
                .owner = step->owner,
                .submitted_at = step->at,
                .delay = step->delay,
                .queue_timeout = step->queue_timeout > 0 ? step->queue_timeout : NEVER,
        };
        assert_int_equal(
                scheduler_admit(&f->scheduler, 1, &t->submission, step->priority, 0), ADMIT_YES);
        t->details = (JobDetails){ .job = &t->job };
        t->job = (Job){
                .id = step->id,
                .priority = step->priority,
                .submission = &t->submission,
                .details = step->delay > 0 || step->queue_timeout > 0 ? &t->details : NULL,
        };
        scheduler_submit(&f->scheduler, &t->job, step->at);
}

static void take(Fixture *f, const Step *step) {
        Gates gates = { .pass = gate_pass, .userdata = f };
        char ids[8 * N_JOBS] = "";
        Job *jobs[N_JOBS] = {};
        TakeVerdict verdict;
        usec_t until = NEVER;
        size_t n = 0;

        verdict = scheduler_take(&f->scheduler, step->at, &gates, N_JOBS, jobs, &n, &until);
        for (size_t i = 0; i < n; i++) {
                (void) snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), "%u ",
                        (unsigned) jobs[i]->id);
                assert_int_equal(jobs[i]->state, JOB_RUNNING);
                assert_int_equal(jobs[i]->flags & JOB_CLAIMED, 0);
        }
        assert_string_equal(ids, step->call == TAKE ? step->jobs : "");
        if (step->call == NOTHING) {
                assert_int_equal(verdict, step->until == NEVER ? TAKE_NEVER : TAKE_UNTIL);
                assert_int_equal(until, step->until);
        }
}

static void do_step(Fixture *f, const Step *step) {
        Scheduler *s = &f->scheduler;
        SchedulerConfig config = s->config;
        TestJob *t = &f->jobs[step->id];

        switch (step->call) {

        case SUBMIT:
                submit(f, step);
                return;

        case TAKE:
        case NOTHING:
                take(f, step);
                return;

        case TICK:
                scheduler_advance(s, step->at);
                assert_int_equal(scheduler_has_work(s), step->n);
                return;

        case CANCEL:
                (void) scheduler_cancel(s, &t->job);
                return;

        case FINISH:
                assert_true(scheduler_finish(s, &t->job, OUTCOME_SUCCESS, step->at, 0));
                return;

        case RETRY:
                t->job.details = &t->details;
                t->submission.max_attempts = 9;
                assert_false(scheduler_finish(s, &t->job, OUTCOME_FAILURE, step->at, 0));
                assert_int_equal(t->details.ready_at, step->until);
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

        case END_AT:
                assert_int_equal(scheduler_batch_at(s), step->until);
                return;
        }
}

/* A failed attempt waits 10 for the next one. */
static void walk(bool fair, const Step *steps, size_t n_steps) {
        SchedulerConfig config = {
                .queue_max = 10,
                .aging_interval = 10,
                .fair = fair,
                .retry = { .max_attempts = 1, .backoff = 20, .backoff_max = 20 },
                .batch_size = 3,
                .batch_timeout = 100,
        };
        Fixture f = {};

        assert_int_equal(scheduler_init(&f.scheduler, &config), 0);
        for (const Step *step = steps; step < steps + n_steps; step++) {
                do_step(&f, step);
                assert_true(scheduler_counters_add_up(&f.scheduler));
        }
        scheduler_done(&f.scheduler);
}

#define WALK(steps) walk(false, steps, ELEMENTSOF(steps))
#define WALK_FAIR(steps) walk(true, steps, ELEMENTSOF(steps))

static void a_batch_is_taken_when_enough_are_queued(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 1, SUBMIT, 2 },
                { 2, NOTHING, .until = 100 },
                { 3, SUBMIT, 3 },
                { 3, END_AT, .until = NEVER },
                { 4, SUBMIT, 4 },
                { 5, TAKE, .jobs = "1 2 3 " },
                { 5, NOTHING, .until = 104 },
                { 5, END_AT, .until = 104 },
        };

        WALK(steps);
}

static void the_oldest_waits_for_the_timeout_and_not_a_moment_less(void **state) {
        static const Step steps[] = {
                { 7, SUBMIT, 1 },
                { 50, SUBMIT, 2 },
                { 106, NOTHING, .until = 107 },
                { 107, TAKE, .jobs = "1 2 " },
                { 107, NOTHING, .until = NEVER },
        };

        WALK(steps);
}

/* A timer that runs by itself would end at 100, 200, 300, … whatever comes when. */
static void no_item_is_early_because_others_were_before_it(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 100, TAKE, .jobs = "1 " },
                { 190, SUBMIT, 2 },
                { 200, NOTHING, .until = 290 },
                { 289, NOTHING, .until = 290 },
                { 290, TAKE, .jobs = "2 " },
        };

        WALK(steps);
}

/* The timer was set for job 1, which has gone in a full batch. */
static void a_stale_tick_flushes_nothing(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, END_AT, .until = 100 },
                { 98, SUBMIT, 2 },
                { 99, SUBMIT, 3 },
                { 99, SUBMIT, 4 },
                { 99, TAKE, .jobs = "1 2 3 " },
                { 100, TICK, .n = 0 },
                { 100, NOTHING, .until = 199 },
                { 198, TICK, .n = 0 },
                { 199, TICK, .n = 1 },
                { 199, TAKE, .jobs = "4 " },
        };

        WALK(steps);
}

static void a_cancelled_item_leaves_no_hole(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 10, SUBMIT, 2 },
                { 20, SUBMIT, 3 },
                { 20, END_AT, .until = NEVER },
                { 21, CANCEL, 1 },
                /* What was enough is not any more, and the oldest is another one. */
                { 21, NOTHING, .until = 110 },
                { 22, SUBMIT, 4 },
                { 22, TAKE, .jobs = "2 3 4 " },
        };

        WALK(steps);
}

static void nothing_ends_without_an_item(void **state) {
        static const Step steps[] = {
                { 0, END_AT, .until = NEVER },
                { 0, SUBMIT, 1 },
                { 1, CANCEL, 1 },
                { 1, END_AT, .until = NEVER },
                { 200, TICK, .n = 0 },
                { 200, NOTHING, .until = NEVER },
                { 0, DRAIN },
                { 201, NOTHING, .until = NEVER },
        };

        WALK(steps);
}

static void a_worker_that_comes_late_finds_a_batch_and_no_timer(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 150, TICK, .n = 1 },
                { 150, END_AT, .until = NEVER },
                { 170, TAKE, .jobs = "1 " },
        };

        WALK(steps);
}

static void a_full_queue_is_a_batch(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .n = 3 },
                { 0, SUBMIT, 1, .delay = 500 },
                { 1, SUBMIT, 2 },
                { 2, NOTHING, .until = 101 },
                { 3, SUBMIT, 3 },
                { 3, END_AT, .until = NEVER },
                { 3, TAKE, .jobs = "2 3 " },
                { 4, NOTHING, .until = 500 },
        };

        WALK(steps);
}

static void a_batch_makes_room_for_those_who_wait_for_it(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .n = 3 },
                { 0, SUBMIT, 1 },
                { 1, NOTHING, .until = 100 },
                { 1, JOIN, .n = 3 },
                { 1, TICK, .n = 1 },
                { 2, LEAVE },
                { 2, TICK, .n = 0 },
                { 3, JOIN, .n = 3 },
                { 3, TAKE, .jobs = "1 " },
        };

        WALK(steps);
}

static void a_drain_flushes_batch_by_batch(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3 },
                { 0, SUBMIT, 4 },
                { 1, DRAIN },
                { 1, TICK, .n = 1 },
                { 1, TAKE, .jobs = "1 2 3 " },
                { 1, TAKE, .jobs = "4 " },
                { 1, NOTHING, .until = NEVER },
                { 2, RETRY, 4, .until = 12 },
                { 3, NOTHING, .until = 12 },
                { 12, TAKE, .jobs = "4 " },
        };

        WALK(steps);
}

static void what_is_paused_gathers_and_does_not_wake(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, PAUSE },
                { 0, END_AT, .until = NEVER },
                { 150, TICK, .n = 0 },
                { 150, NOTHING, .until = NEVER },
                { 160, SUBMIT, 2 },
                { 170, RESUME },
                { 170, TAKE, .jobs = "1 2 " },
        };

        WALK(steps);
}

static void the_order_is_the_usual_one(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .priority = -1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3, .priority = 1 },
                { 0, SUBMIT, 4 },
                { 1, TAKE, .jobs = "3 2 4 " },
                /* The oldest is not the first. */
                { 50, SUBMIT, 5, .priority = 9 },
                { 50, NOTHING, .until = 100 },
                { 100, TAKE, .jobs = "5 1 " },
        };

        WALK(steps);
}

static void owners_take_turns_within_a_batch(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .owner = 7 },
                { 0, SUBMIT, 2, .owner = 7 },
                { 0, SUBMIT, 3, .owner = 7 },
                { 0, SUBMIT, 4, .owner = 8 },
                { 1, TAKE, .jobs = "1 4 2 " },
                { 2, SUBMIT, 5, .owner = 8 },
                { 3, NOTHING, .until = 100 },
                { 100, TAKE, .jobs = "3 5 " },
        };

        WALK_FAIR(steps);
}

static void the_gates_are_passed_once(void **state) {
        static const Step steps[] = {
                { 0, GATE, .until = 60 },
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 1, NOTHING, .until = 100 },
                { 1, PASSED, .n = 0 },
                { 1, SUBMIT, 3 },
                { 1, SUBMIT, 4 },
                { 1, NOTHING, .until = 60 },
                { 1, PASSED, .n = 1 },
                { 60, GATE, .until = 0 },
                { 60, TAKE, .jobs = "1 2 3 " },
                { 60, PASSED, .n = 2 },
        };

        WALK(steps);
}

static void the_wait_of_a_delayed_item_begins_when_it_is_due(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .delay = 30 },
                { 1, NOTHING, .until = 30 },
                /* Whoever looks is late, which does not count. */
                { 40, NOTHING, .until = 130 },
                { 129, TICK, .n = 0 },
                { 130, TAKE, .jobs = "1 " },
        };

        WALK(steps);
}

static void the_wait_of_a_retry_begins_anew_and_its_place_is_the_old_one(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 100, TAKE, .jobs = "1 " },
                { 150, SUBMIT, 2 },
                { 151, RETRY, 1, .until = 161 },
                { 170, NOTHING, .until = 250 },
                { 200, CANCEL, 2 },
                { 201, NOTHING, .until = 261 },
                { 210, SUBMIT, 3 },
                { 261, TAKE, .jobs = "1 3 " },
        };

        WALK(steps);
}

/* It comes to stand behind a job that waits since later. */
static void an_item_that_changes_its_priority_keeps_its_wait(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .priority = 1 },
                { 100, TAKE, .jobs = "1 " },
                { 100, RETRY, 1, .until = 110 },
                { 105, SUBMIT, 2 },
                { 111, TICK, .n = 0 },
                { 112, PRIORITY, 2, .priority = 1 },
                { 113, NOTHING, .until = 205 },
                { 205, TAKE, .jobs = "1 2 " },
        };

        WALK(steps);
}

static void an_item_that_expires_is_not_there(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .queue_timeout = 50 },
                { 20, SUBMIT, 2 },
                { 30, SUBMIT, 3 },
                { 50, NOTHING, .until = 120 },
                { 51, SUBMIT, 4 },
                { 51, TAKE, .jobs = "2 3 4 " },
        };

        WALK(steps);
}

static void other_settings_count_at_once(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 1, SIZE, .n = 2 },
                { 1, TICK, .n = 1 },
                { 1, SIZE, .n = 4 },
                { 1, TICK, .n = 0 },
                { 2, TIMEOUT, .until = 30 },
                { 2, END_AT, .until = 30 },
                { 2, TIMEOUT, .until = 0 },
                { 2, TICK, .n = 1 },
                { 2, TIMEOUT, .until = 100 },
                { 2, TICK, .n = 0 },
                { 2, SIZE, .n = 1 },
                { 2, TICK, .n = 1 },
                { 2, END_AT, .until = NEVER },
        };

        WALK(steps);
}

static void nothing_is_lost_when_there_are_no_batches_any_more(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3 },
                { 0, SUBMIT, 4 },
                { 1, TAKE, .jobs = "1 2 3 " },
                { 1, SIZE, .n = 0 },
                { 2, FINISH, 1 },
                { 2, FINISH, 3 },
                { 3, TICK, .n = 1 },
                { 3, CANCEL, 2 },
                { 4, FINISH, 2 },
        };

        WALK(steps);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_batch_is_taken_when_enough_are_queued),
                cmocka_unit_test(the_oldest_waits_for_the_timeout_and_not_a_moment_less),
                cmocka_unit_test(no_item_is_early_because_others_were_before_it),
                cmocka_unit_test(a_stale_tick_flushes_nothing),
                cmocka_unit_test(a_cancelled_item_leaves_no_hole),
                cmocka_unit_test(nothing_ends_without_an_item),
                cmocka_unit_test(a_worker_that_comes_late_finds_a_batch_and_no_timer),
                cmocka_unit_test(a_full_queue_is_a_batch),
                cmocka_unit_test(a_batch_makes_room_for_those_who_wait_for_it),
                cmocka_unit_test(a_drain_flushes_batch_by_batch),
                cmocka_unit_test(what_is_paused_gathers_and_does_not_wake),
                cmocka_unit_test(the_order_is_the_usual_one),
                cmocka_unit_test(owners_take_turns_within_a_batch),
                cmocka_unit_test(the_gates_are_passed_once),
                cmocka_unit_test(the_wait_of_a_delayed_item_begins_when_it_is_due),
                cmocka_unit_test(the_wait_of_a_retry_begins_anew_and_its_place_is_the_old_one),
                cmocka_unit_test(an_item_that_changes_its_priority_keeps_its_wait),
                cmocka_unit_test(an_item_that_expires_is_not_there),
                cmocka_unit_test(other_settings_count_at_once),
                cmocka_unit_test(nothing_is_lost_when_there_are_no_batches_any_more),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
