/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pipelines with real pools and threads: what becomes of an item on its way. */

#include "try.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "engine/breaker-config.h"
#include "util/fd.h"

static Try try;
static Pool *pools[3];

static int set_up(void **state) {
        static const char *const names[] = { "one", "two", "three" };

        try_init(&try);
        for (size_t i = 0; i < ELEMENTSOF(pools); i++)
                pools[i] = try_pool(&try, names[i], i % 2 ? &try_several : &try_singly, 2);
        return 0;
}

static int tear_down(void **state) {
        try_done(&try);
        return 0;
}

static PoolPipeline *three_stages(uint64_t max_in_flight) {
        return try_pipeline(&try, "p", pools, ELEMENTSOF(pools), max_in_flight);
}

static Job *job_of(uint64_t id) {
        Job *job = engine_find_job(try.engine, id);

        assert_non_null(job);
        return job;
}

/* Until main has heard of its end as well. */
static void finish(uint64_t id, JobResult result) {
        try_until(&try, try_state(&try, id) == JOB_FINISHED);
        engine_turn(try.engine);
        assert_int_equal(try_result(&try, id), result);
}

static void assert_error(uint64_t id, const char *error) {
        assert_string_equal(job_error(job_of(id)), error);
}

static const JobCounters *counters(size_t i) {
        static PoolView view;

        pool_view(pools[i], &view);
        return &view.counters;
}

static void assert_adds_up(const PoolPipeline *p, uint64_t succeeded, uint64_t failed) {
        assert_int_equal(p->pipeline.succeeded, succeeded);
        assert_int_equal(p->pipeline.failed, failed);
        assert_int_equal(p->pipeline.submitted, succeeded + failed + p->pipeline.n_in_flight);
}

/* ---- on its way ---- */

static void an_item_goes_through_all_stages_as_one_job(void **state) {
        PoolPipeline *p = three_stages(10);
        uint64_t id = try_submit_item(&try, p, TRY_PASS TRY_PASS "end");
        Job *job = job_of(id);

        assert_int_equal(p->pipeline.n_in_flight, 1);
        assert_ptr_equal(job_pipeline(job), p);
        assert_ptr_equal(job_pool(job), pools[0]);
        finish(id, JOB_SUCCEEDED);
        assert_ptr_equal(job_pool(job), pools[2]);
        assert_int_equal(job_stage(job), 2);
        assert_int_equal(job->size, 3);
        assert_memory_equal(job->data, "end", 3);
        assert_adds_up(p, 1, 0);
        assert_int_equal(p->pipeline.n_in_flight, 0);
        for (size_t i = 0; i < ELEMENTSOF(pools); i++) {
                assert_int_equal(counters(i)->submitted, 1);
                assert_int_equal(counters(i)->results[JOB_SUCCEEDED], 1);
        }
        assert_int_equal(try.jobs[id].n_started, 1);
        assert_int_equal(try.jobs[id].n_finished, 1);
}

static void a_pool_may_stand_there_more_than_once(void **state) {
        Pool *stages[PIPELINE_STAGES_MAX];
        char payload[PIPELINE_STAGES_MAX + 1];
        PoolPipeline *p;
        uint64_t id;

        for (size_t i = 0; i < ELEMENTSOF(stages); i++)
                stages[i] = pools[1];
        memset(payload, TRY_PASS[0], sizeof(payload) - 1);
        payload[sizeof(payload) - 1] = '\0';
        p = try_pipeline(&try, "p", stages, ELEMENTSOF(stages), 1);
        id = try_submit_item(&try, p, payload);
        finish(id, JOB_SUCCEEDED);
        assert_int_equal(job_of(id)->size, 0);
        assert_int_equal(counters(1)->submitted, PIPELINE_STAGES_MAX);
        assert_int_equal(p->pipeline.submitted, 1);
}

static void every_item_of_a_call_has_its_own_end_in_its_own_place(void **state) {
        static const char *const payloads[] = { "ttone", "f", "tf", "ttf", "ttalso", "t", "" };
        PoolPipeline *p = three_stages(10);
        Submission *submission = try_submit_items(&try, p, payloads, ELEMENTSOF(payloads));
        uint64_t first = submission->first_id;
        char text[64];

        /* Kept, so that they can be looked at. */
        engine_abandon(submission);
        try_until(&try, p->pipeline.n_in_flight == 0);
        for (size_t i = 0; i < ELEMENTSOF(payloads); i++)
                assert_int_equal(
                        job_of(first + i)->result, i >= 1 && i <= 3 ? JOB_FAILED : JOB_SUCCEEDED);
        assert_memory_equal(job_of(first)->data, "one", 3);
        assert_memory_equal(job_of(first + 4)->data, "also", 4);
        (void) snprintf(text, sizeof(text), "one: job %u was to fail", (unsigned) first + 1);
        assert_error(first + 1, text);
        (void) snprintf(text, sizeof(text), "two: job %u was to fail", (unsigned) first + 2);
        assert_error(first + 2, text);
        (void) snprintf(text, sizeof(text), "three: job %u was to fail", (unsigned) first + 3);
        assert_error(first + 3, text);
        assert_adds_up(p, 4, 3);
        assert_int_equal(counters(0)->submitted, 7);
        assert_int_equal(counters(1)->submitted, 6);
        assert_int_equal(counters(2)->submitted, 5);
}

static void a_call_is_answered_when_its_last_item_has_ended(void **state) {
        static const char *const payloads[] = { "f", "tg0", "ttend" };
        PoolPipeline *p = three_stages(10);

        (void) try_submit_items(&try, p, payloads, ELEMENTSOF(payloads));
        try_until(&try, p->pipeline.n_in_flight == 1);
        assert_int_equal(try.n_done, 0);
        gate_open(0);
        try_until(&try, try.n_done == 1);
        assert_adds_up(p, 2, 1);
}

static void many_items_at_once_are_all_there(void **state) {
        enum { N = 20000 };
        const char **payloads = calloc(N, sizeof(*payloads));
        PoolPipeline *p = three_stages(N);

        for (size_t i = 0; i < N; i++)
                payloads[i] = i % 7 == 0 ? "tf" : "ttend";
        (void) try_submit_items(&try, p, payloads, N);
        free(payloads);
        try_until(&try, try.n_done == 1);
        assert_adds_up(p, N - (N + 6) / 7, (N + 6) / 7);
}

/* ---- the bound ---- */

static void on_served(RoomWatch *watch) {
        try.n_done++;
}

static void a_slow_last_stage_slows_the_intake_and_holds_no_worker(void **state) {
        const struct iovec v = { (void *) (uintptr_t) "ttend", 5 };
        RoomWatch watch = { .served = on_served };
        PoolPipeline *p = three_stages(6);
        Submission *submission;

        for (unsigned i = 0; i < 6; i++)
                (void) try_submit_item(&try, p, "ttg0");
        /* The last stage has two workers, so four wait for it; all others have done their work. */
        try_until(&try, counters(2)->submitted == 6);
        gate_wait_begun(0, 2);
        assert_true(pool_is_empty(pools[0]));
        assert_true(pool_is_empty(pools[1]));
        submission = try_submission();
        assert_int_equal(
                engine_submit_items(try.engine, p, submission, &v, 1, false, 0), ADMIT_FULL);
        submission_free(submission);
        assert_int_equal(pipeline_room(&p->pipeline), 0);
        pipeline_watch_room(p, &watch, 6);
        engine_turn(try.engine);
        assert_int_equal(try.n_done, 0);
        gate_open(0);
        try_until(&try, try.n_done == 1);
        assert_adds_up(p, 6, 0);
}

/* A worker that goes on with something else tells main first: a credit may be waited for. */
static void an_end_is_told_before_its_worker_goes_on(void **state) {
        Pool *narrow = try_pool(&try, "narrow", &try_several, 1);
        PoolPipeline *p = try_pipeline(&try, "n", &narrow, 1, 1);

        engine_set_announce(try.engine, false);
        (void) try_submit_item(&try, p, TRY_GATE(0));
        engine_turn(try.engine);
        gate_wait_begun(0, 1);
        (void) try_submit_bulk(&try, narrow, TRY_GATE(1), 1);
        engine_turn(try.engine);
        try_pretend_short(narrow);
        gate_open(0);
        gate_wait_begun(1, 1);
        /* Only by what wakes the loop. */
        while (sd_event_run(try.event, 0) > 0)
                ;
        assert_int_equal(p->pipeline.n_in_flight, 0);
        gate_open(1);
}

/* Jobs of a bulk call, none of which makes mail before the last one has ended; that one waits. */
static void submit_many_short(Pool *pool, struct iovec *payloads, size_t n) {
        static char echo[] = TRY_ECHO, gate[] = TRY_GATE(1);
        Submission *submission = try_submission();

        submission->bulk = true;
        for (size_t i = 0; i < n; i++)
                payloads[i] = (struct iovec){ echo, strlen(echo) };
        payloads[n - 1] = (struct iovec){ gate, strlen(gate) };
        assert_int_equal(
                engine_submit(try.engine, pool, submission, payloads, n, true, 0), ADMIT_YES);
}

static void short_jobs_without_end_do_not_hold_an_item_up(void **state) {
        enum { N = 100000 };
        Pool *narrow = try_pool(&try, "narrow", &try_several, 1);
        Pool *const stages[] = { narrow, pools[2] };
        PoolPipeline *p = try_pipeline(&try, "n", stages, ELEMENTSOF(stages), 1);
        _cleanup_free_ struct iovec *payloads = calloc(N, sizeof(*payloads));
        struct pollfd mailbox = { .fd = try.engine->mailbox.fd, .events = POLLIN };

        assert_non_null(payloads);
        engine_set_announce(try.engine, false);
        try_pretend_short(narrow);
        /* So that the worker is never out of work. */
        pool_pause(narrow, true);
        (void) try_submit_item(&try, p, TRY_PASS);
        submit_many_short(narrow, payloads, N);
        pool_pause(narrow, false);
        pool_wake(narrow);
        assert_int_equal(poll(&mailbox, 1, 60000), 1);
        gate_open(1);
}

static void who_waits_for_room_is_told_when_there_will_be_none(void **state) {
        RoomWatch watch = { .served = on_served }, other = { .served = on_served };
        PoolPipeline *p = three_stages(1);

        (void) try_submit_item(&try, p, "ttg0");
        pipeline_watch_room(p, &watch, 1);
        pipeline_watch_room(p, &other, 1);
        engine_unwatch_room(&other);
        engine_turn(try.engine);
        assert_int_equal(try.n_done, 0);
        /* As to a stage that drains items only come from within. */
        engine_drain_pool(try.engine, pools[0], true);
        try_until(&try, try.n_done == 1);
        gate_open(0);
}

static void a_stage_takes_items_past_its_queue_and_while_it_drains(void **state) {
        PoolConfig *config;
        PoolPipeline *p;

        assert_int_equal(pool_config_copy(pools[1]->config, &config), 0);
        config->queue_max = 1;
        assert_int_equal(engine_set_pool(try.engine, pools[1], config), 0);
        pool_config_free(config);
        engine_drain_pool(try.engine, pools[2], true);
        engine_pause_pool(try.engine, pools[1], true);

        p = three_stages(10);
        for (unsigned i = 0; i < 10; i++)
                (void) try_submit_item(&try, p, "ttend");
        try_until(&try, counters(1)->submitted == 10);
        assert_true(pool_is_empty(pools[2]));
        engine_pause_pool(try.engine, pools[1], false);
        try_until(&try, p->pipeline.n_in_flight == 0);
        assert_adds_up(p, 10, 0);
}

static void what_makes_room_for_others_is_never_an_item(void **state) {
        for (int overflow = OVERFLOW_DROP_OLDEST; overflow <= OVERFLOW_DROP_LOWEST; overflow++) {
                Submission *submission = try_submission();
                const struct iovec v = { (void *) (uintptr_t) "e", 1 };
                PoolConfig *config;
                uint64_t plain, item;
                PoolPipeline *p;
                char name[8];

                (void) snprintf(name, sizeof(name), "p%d", overflow);
                assert_int_equal(pool_config_copy(pools[0]->config, &config), 0);
                config->queue_max = 2;
                config->overflow = (Overflow) overflow;
                assert_int_equal(engine_set_pool(try.engine, pools[0], config), 0);
                pool_config_free(config);
                engine_pause_pool(try.engine, pools[0], true);

                p = try_pipeline(&try, name, pools, 1, 2);
                item = try_submit_item(&try, p, "e");
                plain = try_submit(&try, pools[0], "e", 1);
                submission->priority = 5;
                (void) try_submit_with(&try, pools[0], submission, "e", 1);
                finish(plain, JOB_DROPPED);
                assert_int_equal(try_state(&try, item), JOB_QUEUED);

                /* With another item there is nobody left to go: the urgent one is the last plain.
                 */
                (void) try_submit_item(&try, p, "e");
                submission = try_submission();
                submission->priority = 3;
                assert_int_equal(engine_submit(try.engine, pools[0], submission, &v, 1, false, 0),
                        ADMIT_FULL);
                submission_free(submission);
                engine_pause_pool(try.engine, pools[0], false);
                finish(item, JOB_SUCCEEDED);
                try_until(&try, pool_is_empty(pools[0]));
        }
}

/* ---- cancelled ---- */

static void an_item_is_cancelled_at_the_stage_where_it_is(void **state) {
        PoolPipeline *p = three_stages(10);
        uint64_t queued, running;

        engine_pause_pool(try.engine, pools[2], true);
        queued = try_submit_item(&try, p, "ttend");
        running = try_submit_item(&try, p, "tg0");
        try_until(&try, counters(2)->submitted == 1);
        try_await(&try, gate_n_begun(0) == 1);
        assert_int_equal(pool_cancel(pools[2], job_of(queued)), CANCEL_FINISHED);
        assert_int_equal(pool_cancel(pools[1], job_of(running)), CANCEL_ASKED);
        finish(queued, JOB_CANCELLED);
        finish(running, JOB_CANCELLED);
        assert_error(queued, "three: cancelled");
        assert_error(running, "two: was stopped");
        assert_int_equal(counters(1)->results[JOB_CANCELLED], 1);
        assert_int_equal(counters(2)->results[JOB_CANCELLED], 1);
        assert_adds_up(p, 0, 2);
}

static void a_cancel_between_two_stages_is_not_lost(void **state) {
        PoolPipeline *p = three_stages(10);
        uint64_t id = try_submit_item(&try, p, "ttend");
        Job *job = job_of(id);
        JobView view;

        try_wait_unread(&try, job, JOB_PASSING);
        pool_job_view(job_pool(job), job, &view);
        assert_int_equal(view.state, JOB_QUEUED);
        assert_int_equal(view.result, _JOB_RESULT_INVALID);
        assert_string_equal(view.pending_reason, "workers");
        assert_int_equal(pool_cancel(job_pool(job), job), CANCEL_NOTED);
        finish(id, JOB_CANCELLED);
        assert_error(id, "two: cancelled");
        assert_int_equal(counters(0)->results[JOB_SUCCEEDED], 1);
        assert_int_equal(counters(1)->submitted, 1);
        assert_int_equal(counters(1)->results[JOB_CANCELLED], 1);
        assert_int_equal(try.jobs[id].n_finished, 1);
        assert_adds_up(p, 0, 1);
}

static void a_success_that_beats_a_cancel_goes_no_further(void **state) {
        PoolPipeline *p = three_stages(10);
        uint64_t inside = try_submit_item(&try, p, TRY_LATE(0)), last;

        try_await(&try, gate_n_begun(0) == 1);
        assert_int_equal(pool_cancel(pools[0], job_of(inside)), CANCEL_ASKED);
        gate_open(0);
        finish(inside, JOB_CANCELLED);
        assert_int_equal(counters(0)->results[JOB_SUCCEEDED], 1);
        assert_int_equal(counters(1)->results[JOB_CANCELLED], 1);

        last = try_submit_item(&try, p, "tt" TRY_LATE(1));
        try_await(&try, gate_n_begun(1) == 1);
        assert_int_equal(pool_cancel(pools[2], job_of(last)), CANCEL_ASKED);
        gate_open(1);
        finish(last, JOB_SUCCEEDED);
        assert_adds_up(p, 1, 1);
}

static void a_sweep_finds_items_wherever_they_are(void **state) {
        PoolPipeline *p = three_stages(10);
        JobFilter filter = {
                .pipeline = p,
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .unfinished = true,
        };
        uint64_t passing, queued, plain;

        engine_pause_pool(try.engine, pools[2], true);
        queued = try_submit_item(&try, p, "ttend");
        try_until(&try, counters(2)->submitted == 1);
        plain = try_submit(&try, pools[2], "e", 1);
        passing = try_submit_item(&try, p, "tg0");
        try_wait_unread(&try, job_of(passing), JOB_PASSING);
        assert_int_equal(engine_sweep(try.engine, &filter, "why not", NULL, NULL, NULL), 0);
        finish(queued, JOB_CANCELLED);
        finish(passing, JOB_CANCELLED);
        assert_error(queued, "three: why not");
        assert_int_equal(try_state(&try, plain), JOB_QUEUED);
        engine_pause_pool(try.engine, pools[2], false);
        finish(plain, JOB_SUCCEEDED);
}

static void on_job_finished(JobWatch *watch, Job *job) {
        assert_int_equal(job->state, JOB_FINISHED);
        assert_int_equal(job_stage(job), 2);
        try.n_done++;
}

/* Who asks for a job does not wait until main has read its mail. */
static void an_error_says_where_from_the_end_on(void **state) {
        PoolPipeline *p = three_stages(10);
        uint64_t id = try_submit_item(&try, p, TRY_PASS TRY_GATE_FAIL(0));

        try_await(&try, gate_n_begun(0) == 1);
        gate_open(0);
        try_wait_unread(&try, job_of(id), JOB_FINISHED);
        assert_error(id, "two: attempt 1");
        finish(id, JOB_FAILED);
        assert_error(id, "two: attempt 1");
        assert_adds_up(p, 0, 1);
}

static void who_watches_an_item_hears_of_its_end_alone(void **state) {
        JobWatch early = { .finished = on_job_finished }, late = { .finished = on_job_finished };
        PoolPipeline *p = three_stages(10);
        Job *job = job_of(try_submit_item(&try, p, "ttg0"));

        assert_int_equal(engine_watch_job(job, &early), 0);
        try_wait_unread(&try, job, JOB_PASSING);
        assert_int_equal(engine_watch_job(job, &late), 0);
        assert_int_equal(pool_set_priority(job_pool(job), job, 7), 0);
        try_await(&try, gate_n_begun(0) == 1);
        assert_int_equal(try.n_done, 0);
        assert_int_equal(job->priority, 7);
        gate_open(0);
        try_until(&try, try.n_done == 2);
}

/* ---- what each stage may do ---- */

static void a_payload_that_is_too_large_fails_where_it_comes(void **state) {
        PoolConfig *config = try_config("small", &try_singly, 1);
        char *error = NULL;
        Pool *stages[2] = { pools[0] };
        PoolPipeline *p;
        uint64_t id;

        config->handler_config.payload_max = 100;
        assert_int_equal(engine_add_pool(try.engine, config, &stages[1], &error), 0);
        p = try_pipeline(&try, "p", stages, 2, 1);
        id = try_submit_item(&try, p, TRY_BIG);
        finish(id, JOB_FAILED);
        assert_error(id, "small: a payload of 100000 bytes; the pool takes up to 100 (PayloadMax)");
        assert_int_equal(stages[1]->scheduler.counters.submitted, 1);
        assert_int_equal(stages[1]->scheduler.counters.results[JOB_FAILED], 1);
        assert_adds_up(p, 0, 1);
}

static void an_open_breaker_refuses_what_comes(void **state) {
        PoolConfig *config = try_config("broken", &try_singly, 1);
        Pool *stages[2] = { pools[0] };
        char *error = NULL;
        PoolPipeline *p;
        uint64_t id;

        config->own_breaker = true;
        config->breaker_config = BREAKER_CONFIG_DEFAULT;
        config->breaker_config.mode = BREAKER_FORCED_OPEN;
        assert_int_equal(engine_add_pool(try.engine, config, &stages[1], &error), 0);
        p = try_pipeline(&try, "p", stages, 2, 1);
        id = try_submit_item(&try, p, "te");
        finish(id, JOB_REFUSED);
        assert_error(id, "broken: refused by an open circuit breaker");
        assert_int_equal(stages[1]->scheduler.counters.results[JOB_REFUSED], 1);

        /* At the door it makes no item. */
        p = try_pipeline(&try, "q", stages + 1, 1, 1);
        {
                Submission *submission = try_submission();
                const struct iovec v = { (void *) (uintptr_t) "e", 1 };

                assert_int_equal(engine_submit_items(try.engine, p, submission, &v, 1, false, 0),
                        ADMIT_SHUT);
                submission_free(submission);
        }
}

static void time_outs_and_attempts_are_those_of_each_stage(void **state) {
        PoolConfig *config;
        PoolPipeline *p = three_stages(10);
        Submission *submission = try_submission();
        const struct iovec v = { (void *) (uintptr_t) "tn2", 3 };
        uint64_t slow, tried;

        assert_int_equal(pool_config_copy(pools[1]->config, &config), 0);
        config->run_timeout = 1000;
        config->max_attempts = 3;
        config->backoff = config->backoff_max = 1;
        assert_int_equal(engine_set_pool(try.engine, pools[1], config), 0);
        pool_config_free(config);

        /* Neither the delay nor the queue time-out is that of another stage than the first. */
        submission->run_timeout = 0;
        submission->delay = 1;
        submission->queue_timeout = USEC_PER_HOUR;
        assert_int_equal(
                engine_submit_items(try.engine, p, submission, &v, 1, false, 0), ADMIT_YES);
        tried = try.engine->next_id - 1;
        finish(tried, JOB_SUCCEEDED);
        assert_int_equal(counters(1)->retried, 2);
        assert_int_equal(job_of(tried)->details->attempt, 1);

        submission = try_submission();
        submission->run_timeout = 0;
        submission->max_attempts = 1;
        assert_int_equal(engine_submit_items(try.engine, p, submission,
                                 &(struct iovec){ (void *) (uintptr_t) "tg0", 3 }, 1, false, 0),
                ADMIT_YES);
        slow = try.engine->next_id - 1;
        finish(slow, JOB_TIMED_OUT);
        assert_error(slow, "two: was stopped");
}

static void what_waits_for_the_first_stage_expires_and_no_other(void **state) {
        PoolPipeline *p = three_stages(10);
        const struct iovec v = { (void *) (uintptr_t) "ttend", 5 };
        uint64_t first = 0;

        engine_pause_pool(try.engine, pools[0], true);
        for (unsigned i = 0; i < 2; i++) {
                Submission *submission = try_submission();

                submission->queue_timeout = i == 0 ? 1 : USEC_PER_HOUR;
                assert_int_equal(
                        engine_submit_items(try.engine, p, submission, &v, 1, false, 0), ADMIT_YES);
                first = first ?: try.engine->next_id - 1;
        }
        finish(first, JOB_EXPIRED);
        engine_pause_pool(try.engine, pools[1], true);
        engine_pause_pool(try.engine, pools[0], false);
        try_until(&try, counters(1)->submitted == 1);
        assert_null(pools[1]->scheduler.expiring.root);
        engine_pause_pool(try.engine, pools[1], false);
        finish(first + 1, JOB_SUCCEEDED);
        assert_adds_up(p, 1, 1);
}

static void the_file_that_came_is_for_the_first_stage(void **state) {
        PoolPipeline *p = three_stages(10);
        Submission *submission = try_submission();
        const struct iovec v = { (void *) (uintptr_t) "tn1", 3 };
        int fds[2];
        uint64_t id;
        char c;

        assert_int_equal(pipe(fds), 0);
        submission->payload_fd = fds[0];
        submission->once = true;
        submission->max_attempts = 2;
        assert_int_equal(
                engine_submit_items(try.engine, p, submission, &v, 1, false, 0), ADMIT_YES);
        id = try.engine->next_id - 1;
        try_until(&try, counters(1)->submitted == 1);
        assert_int_equal(submission->payload_fd, -EBADF);
        fd_close(fds[1]);
        assert_int_equal(read(fds[0], &c, 1), -1);
        /* What came out of the first stage can be tried again. */
        finish(id, JOB_SUCCEEDED);
        assert_int_equal(counters(1)->retried, 1);
}

/* ---- once more ---- */

static void a_failed_item_goes_on_where_it_failed(void **state) {
        PoolPipeline *p = three_stages(1);
        uint64_t id, other;

        try.several_lives = true;
        id = try_submit_item(&try, p, "th0");
        try_await(&try, gate_n_begun(0) == 1);
        gate_open(0);
        finish(id, JOB_FAILED);
        assert_int_equal(p->pipeline.n_in_flight, 0);

        /* It needs a credit. */
        other = try_submit_item(&try, p, "ttg1");
        assert_int_equal(engine_retry(try.engine, id), RETRY_NO_ROOM);
        assert_int_equal(engine_kick(try.engine, pools[1], 1), 0);
        gate_open(1);
        finish(other, JOB_SUCCEEDED);
        assert_int_equal(engine_retry(try.engine, id), RETRY_DONE);
        assert_int_equal(engine_retry(try.engine, id), RETRY_UNFINISHED);
        assert_int_equal(p->pipeline.n_in_flight, 1);
        try_await(&try, gate_n_begun(0) == 2);
        finish(id, JOB_FAILED);
        assert_error(id, "two: attempt 1");
        assert_int_equal(engine_kick(try.engine, pools[1], 5), 1);
        finish(id, JOB_FAILED);
        assert_int_equal(counters(0)->submitted, 2);
        assert_int_equal(counters(1)->submitted, 4);
        assert_adds_up(p, 1, 3);

        engine_drain_pipeline(try.engine, p, true);
        assert_int_equal(engine_retry(try.engine, id), RETRY_DRAINING);
        assert_int_equal(engine_remove_pipeline(try.engine, p, false, NULL), 0);
        try_until(&try, !engine_find_pipeline(try.engine, "p"));
        assert_int_equal(engine_retry(try.engine, id), RETRY_REMOVED);
        assert_int_equal(job_stage(job_of(id)), 1);
        assert_string_equal(job_pipeline(job_of(id))->name, "p");
}

static void one_that_was_cancelled_between_stages_goes_on_at_the_next(void **state) {
        PoolPipeline *p = three_stages(1);
        uint64_t id = try_submit_item(&try, p, "ttend");

        try.several_lives = true;
        try_wait_unread(&try, job_of(id), JOB_PASSING);
        assert_int_equal(pool_cancel(job_pool(job_of(id)), job_of(id)), CANCEL_NOTED);
        finish(id, JOB_CANCELLED);
        assert_int_equal(engine_retry(try.engine, id), RETRY_DONE);
        finish(id, JOB_SUCCEEDED);
        assert_memory_equal(job_of(id)->data, "end", 3);
        assert_int_equal(counters(0)->submitted, 1);
}

/* ---- coming and going ---- */

static void on_done(PoolWatch *watch) {
        try.n_done++;
}

static void draining_ends_when_nothing_is_inside(void **state) {
        PoolWatch watch = { .links = { 0 }, .done = on_done };
        const struct iovec v = { (void *) (uintptr_t) "tte", 3 };
        PoolPipeline *p = three_stages(10);
        Submission *submission = try_submission();
        uint64_t id = try_submit_item(&try, p, "ttg0");

        engine_drain_pipeline(try.engine, p, true);
        engine_watch_pipeline_empty(p, &watch);
        assert_int_equal(
                engine_submit_items(try.engine, p, submission, &v, 1, false, 0), ADMIT_DRAINING);
        try_await(&try, gate_n_begun(0) == 1);
        assert_int_equal(try.n_done, 0);
        assert_string_equal(pipeline_state_to_string(p), "draining");
        gate_open(0);
        try_until(&try, try.n_done == 1);
        finish(id, JOB_SUCCEEDED);
        engine_drain_pipeline(try.engine, p, false);
        assert_string_equal(pipeline_state_to_string(p), "running");
        assert_int_equal(
                engine_submit_items(try.engine, p, submission, &v, 1, false, 0), ADMIT_YES);
        finish(try.engine->next_id - 1, JOB_SUCCEEDED);
}

static void a_removed_one_goes_when_nothing_is_inside(void **state) {
        PoolWatch first = { .done = on_done }, second = { .done = on_done };
        PoolPipeline *p = three_stages(10);
        uint64_t id = try_submit_item(&try, p, "ttg0");

        assert_int_equal(engine_remove_pipeline(try.engine, p, false, &first), 0);
        engine_drain_pipeline(try.engine, p, false);
        assert_true(p->pipeline.draining);
        try_await(&try, gate_n_begun(0) == 1);
        assert_int_equal(try.n_done, 0);
        assert_int_equal(engine_remove_pipeline(try.engine, p, true, &second), 0);
        try_until(&try, try.n_done == 2);
        finish(id, JOB_CANCELLED);
        assert_null(engine_find_pipeline(try.engine, "p"));
        /* Its name is free again, and its pools are as they were. */
        p = three_stages(10);
        finish(try_submit_item(&try, p, "tte"), JOB_SUCCEEDED);
}

static void a_pool_goes_after_the_pipelines_that_it_is_in(void **state) {
        PoolPipeline *p = three_stages(10);
        PoolWatch watch = { .done = on_done };
        uint64_t id;

        engine_pause_pool(try.engine, pools[1], true);
        id = try_submit_item(&try, p, "tte");
        assert_int_equal(engine_remove_pool(try.engine, pools[1], false, &watch), 0);
        try_until(&try, counters(1)->submitted == 1);
        engine_pause_pool(try.engine, pools[1], false);
        finish(id, JOB_SUCCEEDED);
        engine_turn(try.engine);
        assert_ptr_equal(engine_find_pool(try.engine, "two"), pools[1]);
        assert_int_equal(engine_remove_pipeline(try.engine, p, false, NULL), 0);
        try_until(&try, try.n_done == 1);
        assert_null(engine_find_pool(try.engine, "two"));
}

static void stages_that_are_not_there_are_named(void **state) {
        _cleanup_(pipeline_config_freep) PipelineConfig *config = NULL;
        char *const stages[] = { (char *) "one", (char *) "four", NULL };
        _cleanup_free_ char *error = NULL;

        assert_int_equal(pipeline_config_new("p", &config), 0);
        assert_int_equal(pipeline_config_set_stages(config, stages, &error), 1);
        assert_int_equal(engine_add_pipeline(try.engine, config, NULL, &error), -EINVAL);
        assert_string_equal(error, "Stages: there is no pool \"four\"");
        assert_int_equal(pools[0]->n_pipelines, 0);
        assert_null(engine_find_pipeline(try.engine, "p"));
}

static void a_stop_ends_what_is_between_stages(void **state) {
        PoolPipeline *p = three_stages(10);
        uint64_t passing = try_submit_item(&try, p, "ttend");
        uint64_t running = try_submit_item(&try, p, TRY_LATE(0));

        try_wait_unread(&try, job_of(passing), JOB_PASSING);
        try_await(&try, gate_n_begun(0) == 1);
        engine_shut_down(try.engine);
        assert_false(engine_is_quiet(try.engine));
        gate_open(0);
        try_until(&try, engine_is_quiet(try.engine));
        finish(running, JOB_CANCELLED);
        assert_error(running, "two: sluiced is shutting down");
        assert_int_equal(p->pipeline.n_in_flight, 0);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
                TEST(an_item_goes_through_all_stages_as_one_job),
                TEST(a_pool_may_stand_there_more_than_once),
                TEST(every_item_of_a_call_has_its_own_end_in_its_own_place),
                TEST(a_call_is_answered_when_its_last_item_has_ended),
                TEST(many_items_at_once_are_all_there),
                TEST(a_slow_last_stage_slows_the_intake_and_holds_no_worker),
                TEST(an_end_is_told_before_its_worker_goes_on),
                TEST(short_jobs_without_end_do_not_hold_an_item_up),
                TEST(who_waits_for_room_is_told_when_there_will_be_none),
                TEST(a_stage_takes_items_past_its_queue_and_while_it_drains),
                TEST(what_makes_room_for_others_is_never_an_item),
                TEST(an_item_is_cancelled_at_the_stage_where_it_is),
                TEST(a_cancel_between_two_stages_is_not_lost),
                TEST(a_success_that_beats_a_cancel_goes_no_further),
                TEST(a_sweep_finds_items_wherever_they_are),
                TEST(an_error_says_where_from_the_end_on),
                TEST(who_watches_an_item_hears_of_its_end_alone),
                TEST(a_payload_that_is_too_large_fails_where_it_comes),
                TEST(an_open_breaker_refuses_what_comes),
                TEST(time_outs_and_attempts_are_those_of_each_stage),
                TEST(what_waits_for_the_first_stage_expires_and_no_other),
                TEST(the_file_that_came_is_for_the_first_stage),
                TEST(a_failed_item_goes_on_where_it_failed),
                TEST(one_that_was_cancelled_between_stages_goes_on_at_the_next),
                TEST(draining_ends_when_nothing_is_inside),
                TEST(a_removed_one_goes_when_nothing_is_inside),
                TEST(a_pool_goes_after_the_pipelines_that_it_is_in),
                TEST(stages_that_are_not_there_are_named),
                TEST(a_stop_ends_what_is_between_stages),
#undef TEST
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
