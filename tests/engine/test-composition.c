/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pipelines, groups and ConcurrencyKeys together: what each of them promises holds where they
 * meet. */

#include "try.h"

#include <stdio.h>
#include <string.h>

#include "engine/pool-config.h"

static Try try;
static Pool *pools[3];
static unsigned n_told, n_ends;

static void on_group_changed(Try *t, JobGroup *group) {
        n_told++;
        n_ends += group_is_finished(&group->core);
}

static int set_up(void **state) {
        static const char *const names[] = { "one", "two", "three" };

        try_init(&try);
        n_told = n_ends = 0;
        try.group_changed = on_group_changed;
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

/* Changes a setting of the pool: `change` is a statement about `config`. */
#define CONFIGURE(pool, change)                                                   \
        do {                                                                      \
                _cleanup_(pool_config_freep) PoolConfig *config = NULL;           \
                                                                                  \
                assert_int_equal(pool_config_copy((pool)->config, &config), 0);   \
                change;                                                           \
                assert_int_equal(engine_set_pool(try.engine, (pool), config), 0); \
        } while (0)

static uint64_t n_submitted(size_t i) {
        PoolView view;

        pool_view(pools[i], &view);
        return view.counters.submitted;
}

static Job *job_of(uint64_t id) {
        Job *job = engine_find_job(try.engine, id);

        assert_non_null(job);
        return job;
}

static bool is_finished(const JobGroup *group) {
        return group_is_finished(&group->core);
}

/* ---- groups of items ---- */

static void results_of_items_are_in_the_order_of_submission(void **state) {
        static const char *const payloads[] = { "ttone", "f", "tf", "ttf", "ttg0", "t", "",
                "ttevery" };
        PoolPipeline *p = three_stages(10);
        JobGroup *group;

        (void) try_submit_item(&try, p, "te");
        group = try_submit_group_of_items(&try, p, GROUP_ALL, payloads, ELEMENTSOF(payloads));
        assert_int_equal(group->id, 2);
        assert_ptr_equal(group_pipeline(group), p);
        try_until(&try, group_n_done(&group->core) == 7 && p->pipeline.n_in_flight == 1);
        assert_false(is_finished(group));
        assert_int_equal(n_ends, 0);
        gate_open(0);
        try_until(&try, is_finished(group));
        assert_int_equal(n_ends, 1);
        assert_int_equal(group->core.n_succeeded, 5);
        try_expect_member(&try, group, 0, JOB_SUCCEEDED, "one");
        try_expect_member(&try, group, 1, JOB_FAILED, "one: job 4 was to fail");
        try_expect_member(&try, group, 2, JOB_FAILED, "two: job 5 was to fail");
        try_expect_member(&try, group, 3, JOB_FAILED, "three: job 6 was to fail");
        try_expect_member(&try, group, 4, JOB_SUCCEEDED, "");
        try_expect_member(&try, group, 5, JOB_SUCCEEDED, "");
        try_expect_member(&try, group, 6, JOB_SUCCEEDED, "");
        try_expect_member(&try, group, 7, JOB_SUCCEEDED, "every");
        assert_int_equal(p->pipeline.n_in_flight, 0);
        assert_int_equal(p->pipeline.succeeded, 6);
        assert_int_equal(p->pipeline.failed, 3);
}

static void the_first_error_cancels_items_at_every_stage(void **state) {
        /* In line for the third stage, at work in the second, about to fail and about to pass from
         * the first, and in line for that. */
        static const char *const payloads[] = { "ttevery", "tg0", "h1", "l2", "g3", "tte" };
        PoolPipeline *p = three_stages(10);
        JobGroup *group;

        engine_pause_pool(try.engine, pools[2], true);
        engine_set_announce(try.engine, false);
        group = try_submit_group_of_items(
                &try, p, GROUP_FIRST_ERROR, payloads, ELEMENTSOF(payloads));
        try_await(&try, n_submitted(2) == 1 && gate_n_begun(0) == 1 && gate_n_begun(1) == 1 &&
                                gate_n_begun(2) == 1);
        gate_open(2);
        gate_wait_begun(3, 1);
        assert_int_equal(try_real_state(job_of(group->submission->first_id + 3)), JOB_PASSING);
        engine_pause_pool(try.engine, pools[0], true);
        engine_pause_pool(try.engine, pools[1], true);
        gate_open(1);
        try_until(&try, is_finished(group));
        try_expect_member(&try, group, 0, JOB_CANCELLED, "three: another job of its group failed");
        try_expect_member(&try, group, 1, JOB_CANCELLED, "two: another job of its group failed");
        try_expect_member(&try, group, 2, JOB_FAILED, "one: attempt 1");
        try_expect_member(&try, group, 3, JOB_CANCELLED, "two: another job of its group failed");
        try_expect_member(&try, group, 4, JOB_CANCELLED, "one: another job of its group failed");
        try_expect_member(&try, group, 5, JOB_CANCELLED, "one: another job of its group failed");
        assert_int_equal(p->pipeline.n_in_flight, 0);
        assert_int_equal(p->pipeline.failed, 6);
}

/* The one worker goes from one to the other without being idle, and nobody else wakes main. */
static void the_first_error_of_items_is_heard_of_at_once(void **state) {
        static const char *const payloads[] = { TRY_FAIL, TRY_GATE(0) };
        Pool *pool = try_pool(&try, "single", &try_singly, 1);
        PoolPipeline *p = try_pipeline(&try, "p", &pool, 1, 10);
        JobGroup *group;

        engine_set_announce(try.engine, false);
        try_pretend_short(pool);
        group = try_submit_group_of_items(
                &try, p, GROUP_FIRST_ERROR, payloads, ELEMENTSOF(payloads));
        try_until(&try, is_finished(group));
        try_expect_member(&try, group, 0, JOB_FAILED, "single: job 2 was to fail");
        try_expect_member(&try, group, 1, JOB_CANCELLED, "single: another job of its group failed");
}

static void on_served(RoomWatch *watch) {
        try.n_done++;
}

static void a_credit_that_is_free_is_heard_of_at_once(void **state) {
        RoomWatch watch = { .served = on_served };
        Pool *pool = try_pool(&try, "single", &try_singly, 1);
        PoolPipeline *p = try_pipeline(&try, "p", &pool, 1, 1);

        engine_set_announce(try.engine, false);
        try_pretend_short(pool);
        (void) try_submit_item(&try, p, TRY_ECHO);
        (void) try_submit_bulk(&try, pool, TRY_GATE(0), 1);
        pipeline_watch_room(p, &watch, 1);
        try_until(&try, try.n_done == 1);
        gate_open(0);
        try_until(&try, try.n_done == 2);
}

static void a_cancelled_group_leaves_other_items_alone(void **state) {
        static const char *const payloads[] = { "ttevery", "tg0", "ttend" };
        PoolPipeline *p = three_stages(20);
        JobGroup *before, *group;
        uint64_t after;

        engine_pause_pool(try.engine, pools[2], true);
        before = try_submit_group_of_items(&try, p, GROUP_ALL, payloads, 1);
        group = try_submit_group_of_items(&try, p, GROUP_ALL, payloads, ELEMENTSOF(payloads));
        after = try_submit_item(&try, p, "ttend");
        try_await(&try, n_submitted(2) == 4 && gate_n_begun(0) == 1);
        assert_int_equal(engine_cancel_group(try.engine, group, NULL, NULL, NULL), 0);
        try_until(&try, is_finished(group));
        try_expect_member(&try, group, 0, JOB_CANCELLED, "three: its group was cancelled");
        try_expect_member(&try, group, 1, JOB_CANCELLED, "two: its group was cancelled");
        try_expect_member(&try, group, 2, JOB_CANCELLED, "three: its group was cancelled");
        assert_int_equal(engine_cancel_group(try.engine, group, NULL, NULL, NULL), 1);
        engine_pause_pool(try.engine, pools[2], false);
        try_until(&try, is_finished(before) && try_state(&try, after) == JOB_FINISHED);
        try_expect_member(&try, before, 0, JOB_SUCCEEDED, "every");
        assert_int_equal(try_result(&try, after), JOB_SUCCEEDED);
}

static void an_empty_group_of_a_pipeline_outlives_it(void **state) {
        PoolPipeline *p = three_stages(1);
        JobGroup *group = try_submit_group_of_items(&try, p, GROUP_FIRST_ERROR, NULL, 0);

        assert_int_equal(group->id, 1);
        assert_true(is_finished(group));
        assert_ptr_equal(group_pipeline(group), p);
        assert_int_equal(n_told, 0);
        try_until(&try, n_ends == 1);
        assert_int_equal(p->pipeline.submitted, 0);
        assert_int_equal(pools[2]->n_groups, 1);
        assert_int_equal(engine_remove_pipeline(try.engine, p, false, NULL), 0);
        engine_turn(try.engine);
        assert_null(engine_find_pipeline(try.engine, "p"));
        assert_string_equal(group_pipeline(engine_find_group(try.engine, 1))->name, "p");

        /* Told or not, it goes with any of its pools. */
        p = three_stages(1);
        (void) try_submit_group_of_items(&try, p, GROUP_ALL, NULL, 0);
        assert_int_equal(engine_remove_pipeline(try.engine, p, false, NULL), 0);
        assert_int_equal(engine_remove_pool(try.engine, pools[1], false, NULL), 0);
        try_until(&try, try.n_pools_removed == 1);
        assert_null(try.engine->groups);
        assert_int_equal(pools[2]->n_groups, 0);
        assert_int_equal(n_ends, 2);
}

static int submit_group(PoolPipeline *p, size_t n, unsigned flags) {
        const struct iovec v[] = { { (void *) (uintptr_t) "tte", 3 },
                { (void *) (uintptr_t) "tte", 3 } };
        Submission *submission = try_submission();
        uint64_t next = try.engine->next_id;
        int r;

        assert_true(n <= ELEMENTSOF(v));
        submission->run_timeout = 0;
        r = engine_submit_group(
                try.engine, p->stages[0], p, submission, GROUP_ALL, v, n, false, flags);
        if (r == ADMIT_YES)
                return r;
        assert_null(submission->group);
        assert_null(submission->pipeline);
        assert_int_equal(try.engine->next_id, next);
        assert_null(engine_find_group(try.engine, next));
        submission_free(submission);
        return r;
}

static void a_group_that_is_refused_leaves_nothing(void **state) {
        RoomWatch watch = { .served = on_served };
        PoolPipeline *p = three_stages(2);
        JobGroup *group;
        uint64_t id;

        id = try_submit_item(&try, p, "ttg0");
        assert_int_equal(submit_group(p, 2, ADMIT_MAY_WAIT), ADMIT_FULL);
        pipeline_watch_room(p, &watch, 2);
        /* Nobody passes who waits, be it one alone; but who has nothing needs no room. */
        assert_int_equal(submit_group(p, 1, 0), ADMIT_FULL);
        assert_int_equal(submit_group(p, 0, 0), ADMIT_YES);
        assert_int_equal(try.engine->next_id, id + 2);
        engine_turn(try.engine);
        assert_int_equal(try.n_done, 0);
        gate_open(0);
        try_until(&try, try.n_done == 1);
        assert_int_equal(submit_group(p, 2, ADMIT_SERVED), ADMIT_YES);
        group = engine_find_group(try.engine, id + 2);
        assert_non_null(group);
        assert_int_equal(p->pipeline.n_in_flight, 2);
        engine_drain_pipeline(try.engine, p, true);
        assert_int_equal(submit_group(p, 1, 0), ADMIT_DRAINING);
        try_until(&try, is_finished(group));
        try_expect_member(&try, group, 1, JOB_SUCCEEDED, "e");
        assert_int_equal(p->pipeline.submitted, 3);
}

static void a_group_is_kept_after_its_pipeline_has_gone(void **state) {
        static const char *const payloads[] = { "ttone", "f", "ttg0", "tf" };

        /* Whichever of its pools goes, the group goes with it: that is where items have ended. */
        for (size_t first = 0; first < ELEMENTSOF(pools); first++) {
                static const char *const names[] = { "one", "two", "three" };
                PoolPipeline *p = three_stages(4);
                JobGroup *group;
                unsigned n = try.n_pools_removed;
                uint64_t id;

                group = try_submit_group_of_items(
                        &try, p, GROUP_ALL, payloads, ELEMENTSOF(payloads));
                id = group->id;
                /* One that failed in between is kept as it always was. */
                (void) try_submit(&try, pools[1], TRY_FAIL, 1);
                assert_int_equal(engine_remove_pipeline(try.engine, p, true, NULL), 0);
                try_until(&try, !engine_find_pipeline(try.engine, "p"));
                assert_true(is_finished(group));
                assert_int_equal(group->core.n_succeeded + group->core.n_failed, 4);
                assert_string_equal(group_pipeline(group)->name, "p");
                try_expect_member(&try, group, 2, JOB_CANCELLED,
                        job_error(engine_group_job(try.engine, group, 2)));
                try_until(&try, pools[1]->n_retained > 0);

                assert_int_equal(engine_remove_pool(try.engine, pools[first], false, NULL), 0);
                try_until(&try, try.n_pools_removed == n + 1);
                assert_null(engine_find_group(try.engine, id));
                assert_null(engine_find_job(try.engine, id + 1));
                assert_null(try.engine->groups);
                pools[first] = try_pool(&try, names[first], &try_singly, 2);
        }
}

static void a_group_of_items_is_kept_as_its_last_stage_says(void **state) {
        static const char *const payloads[] = { "ttone", "f" };
        PoolConfig *config = try_config("forgetful", &try_singly, 2);
        Pool *stages[2] = { pools[0] };
        char *error = NULL;
        PoolPipeline *p;

        config->result_retention_max = 0;
        assert_int_equal(engine_add_pool(try.engine, config, &stages[1], &error), 0);
        p = try_pipeline(&try, "p", stages, 2, 10);
        (void) try_submit_group_of_items(&try, p, GROUP_ALL, payloads, 2);
        (void) try_submit_group_of_items(&try, p, GROUP_ALL, NULL, 0);
        try_until(&try, n_ends == 2);
        assert_null(try.engine->groups);
        assert_int_equal(try.engine->jobs.n_jobs, 0);
}

static void no_item_of_a_group_has_another_life(void **state) {
        static const char *const payloads[] = { "tf", "tte" };
        PoolPipeline *p = three_stages(10);
        JobGroup *group = try_submit_group_of_items(&try, p, GROUP_ALL, payloads, 2);

        try_until(&try, is_finished(group));
        assert_int_equal(engine_retry(try.engine, group->submission->first_id), RETRY_IN_GROUP);
        assert_int_equal(
                engine_retry(try.engine, group->submission->first_id + 1), RETRY_SUCCEEDED);
        assert_int_equal(engine_kick(try.engine, pools[1], 10), 0);
        engine_forget_group(try.engine, group);
        assert_int_equal(try.engine->jobs.n_jobs, 0);
        assert_int_equal(p->n_submissions, 0);
}

/* Who sees that a job has ended may kick it, though its mail was not read yet. */
static void a_kick_finds_what_has_just_failed(void **state) {
        uint64_t id;

        try.several_lives = true;
        id = try_submit(&try, pools[0], TRY_FAIL, 1);
        try_wait_unread(&try, job_of(id), JOB_FINISHED);
        assert_int_equal(engine_kick(try.engine, pools[0], 10), 1);
        try_until(&try, try.jobs[id].n_finished == 2);
}

/* ---- keys ---- */

static uint64_t submit_item(PoolPipeline *p, const char *key, const char *payload) {
        const struct iovec v = { (void *) (uintptr_t) payload, strlen(payload) };
        Submission *submission = try_submission();

        submission->run_timeout = 0;
        submission->concurrency_key = strdup(key);
        assert_non_null(submission->concurrency_key);
        assert_int_equal(
                engine_submit_items(try.engine, p, submission, &v, 1, false, 0), ADMIT_YES);
        return try.engine->next_id - 1;
}

/* At the last stage they end in order, as at each stage they began in order. */
static void items_of_a_key_stay_in_order_whatever_fails(void **state) {
        enum { N_KEYS = 5, N = 1000 };
        static const char *const payloads[] = { "tte", "n2", "tn1", "ttn2", "ttd", "tr", "f" };
        uint64_t last[N_KEYS] = { 0 }, n = 0;
        uint8_t *key_of = calloc(1, TRY_JOBS_MAX);
        PoolPipeline *p = three_stages(N);

        try.several_lives = true;
        assert_non_null(key_of);
        for (size_t i = 0; i < ELEMENTSOF(pools); i++)
                CONFIGURE(pools[i], {
                        config->max_attempts = 3;
                        config->backoff = config->backoff_max = 1;
                        config->batch_size = i == 2 ? 4 : 1;
                        config->batch_timeout = 0;
                });
        for (unsigned i = 0; i < N; i++) {
                const char key[] = { (char) ('a' + i * i % N_KEYS), '\0' };

                key_of[submit_item(p, key, payloads[i % ELEMENTSOF(payloads)])] =
                        (uint8_t) (key[0] - 'a');
                if (i % 16 == 0) {
                        engine_turn(try.engine);
                        assert_true(sd_event_run(try.event, 0) >= 0);
                }
        }
        try_until(&try, p->pipeline.n_in_flight == 0);
        /* Retained jobs are in the order in which they have ended. */
        for (const Job *job = pools[2]->retained_first; job; job = job->next, n++) {
                assert_true(job->id > last[key_of[job->id]]);
                last[key_of[job->id]] = job->id;
        }
        assert_true(n > N / 4);
        free(key_of);
}

static void a_key_is_held_in_each_pool_alone(void **state) {
        PoolPipeline *p = three_stages(10);
        Pool *twice[] = { pools[1], pools[1] };
        PoolPipeline *q = try_pipeline(&try, "q", twice, 2, 10);
        uint64_t first, second, third;

        first = submit_item(p, "k", "tg0");
        second = submit_item(p, "k", "g1");
        try_await(&try, gate_n_begun(0) == 1 && gate_n_begun(1) == 1);
        /* Where it stands twice the bound is for both stages as one. */
        third = submit_item(q, "k", "te");
        engine_turn(try.engine);
        assert_int_equal(try_state(&try, third), JOB_QUEUED);
        gate_open(0);
        try_until(&try,
                try_state(&try, first) == JOB_FINISHED && try_state(&try, third) == JOB_FINISHED);
        assert_int_equal(try_state(&try, second), JOB_RUNNING);
        gate_open(1);
        try_until(&try, try_state(&try, second) == JOB_FINISHED);
}

static void what_makes_room_is_no_item_that_waits_for_its_key(void **state) {
        for (int overflow = OVERFLOW_DROP_OLDEST; overflow <= OVERFLOW_DROP_LOWEST; overflow++) {
                PoolPipeline *p = three_stages(10);
                uint64_t items[2], plain[2], urgent;
                Submission *submission;

                CONFIGURE(pools[0], {
                        config->queue_max = 4;
                        config->overflow = (Overflow) overflow;
                });
                engine_pause_pool(try.engine, pools[0], true);
                /* The second item and the first plain job are parked, behind the first item. */
                for (unsigned i = 0; i < 2; i++)
                        items[i] = submit_item(p, "k", "tte");
                for (unsigned i = 0; i < 2; i++) {
                        submission = try_submission();
                        submission->concurrency_key = strdup("k");
                        plain[i] = try_submit_with(&try, pools[0], submission, "e", 1);
                }
                submission = try_submission();
                submission->priority = 5;
                submission->concurrency_key = strdup("k");
                urgent = try_submit_with(&try, pools[0], submission, "e", 1);
                try_until(&try,
                        try_state(&try, plain[overflow == OVERFLOW_DROP_LOWEST]) == JOB_FINISHED);
                assert_int_equal(
                        try_result(&try, plain[overflow == OVERFLOW_DROP_LOWEST]), JOB_DROPPED);
                for (unsigned i = 0; i < 2; i++)
                        assert_int_equal(try_state(&try, items[i]), JOB_QUEUED);
                engine_pause_pool(try.engine, pools[0], false);
                try_until(&try, p->pipeline.n_in_flight == 0 && pool_is_empty(pools[0]));
                assert_int_equal(p->pipeline.succeeded, 2);
                assert_int_equal(try_result(&try, urgent), JOB_SUCCEEDED);
                assert_int_equal(engine_remove_pipeline(try.engine, p, false, NULL), 0);
                engine_turn(try.engine);
        }
}

static void the_first_error_cancels_what_waits_for_its_key(void **state) {
        /* The next one may begin before its turn to be cancelled comes. */
        const struct iovec v[] = { { (void *) (uintptr_t) "h0", 2 },
                { (void *) (uintptr_t) "g1", 2 }, { (void *) (uintptr_t) "g1", 2 } };

        for (int as_items = 0; as_items < 2; as_items++) {
                PoolPipeline *p = as_items ? three_stages(3) : NULL;
                Submission *submission = try_submission();
                JobGroup *group;

                submission->run_timeout = 0;
                submission->concurrency_key = strdup("k");
                assert_int_equal(engine_submit_group(try.engine, pools[0], p, submission,
                                         GROUP_FIRST_ERROR, v, ELEMENTSOF(v), true, 0),
                        ADMIT_YES);
                group = submission->group;
                try_await(&try, gate_n_begun(0) == (unsigned) as_items + 1);
                gate_open(0);
                try_until(&try, is_finished(group));
                assert_int_equal(group->core.n_failed, 3);
                assert_int_equal(engine_group_job(try.engine, group, 0)->result, JOB_FAILED);
                for (uint64_t i = 1; i < 3; i++)
                        assert_int_equal(
                                engine_group_job(try.engine, group, i)->result, JOB_CANCELLED);
        }
}

/* ---- what is asked of an item, wherever it is ---- */

typedef enum Place {
        SCHEDULED,
        QUEUED,
        PARKED, /* waits for its key */
        RUNNING,
        PASSING,
        IN_BACKOFF,
        HAS_FAILED,
        HAS_SUCCEEDED,
        N_PLACES,
} Place;

/* Where the item is, and of which stage what it does comes out. */
static const struct {
        const char *payload;
        JobState state;
        usec_t delay;
        uint32_t stage;
        bool pause, keyed;
} places[N_PLACES] = {
        [SCHEDULED] = { "tte", JOB_SCHEDULED, USEC_PER_HOUR },
        [QUEUED] = { "tte", JOB_QUEUED, .pause = true },
        [PARKED] = { "tte", JOB_QUEUED, .pause = true, .keyed = true },
        [RUNNING] = { "tg0", JOB_RUNNING, .stage = 1 },
        [PASSING] = { "tte", JOB_PASSING },
        [IN_BACKOFF] = { "tf", JOB_SCHEDULED, .stage = 1 },
        [HAS_FAILED] = { "td", JOB_FINISHED, .stage = 1 },
        [HAS_SUCCEEDED] = { "tte", JOB_FINISHED, .stage = 2 },
};

static Job *item_at(Place place, bool in_group) {
        PoolPipeline *p = three_stages(10);
        Submission *submission = try_submission();
        const struct iovec v = { (void *) (uintptr_t) places[place].payload,
                strlen(places[place].payload) };
        Job *job;

        CONFIGURE(pools[1], {
                config->max_attempts = 2;
                config->backoff = config->backoff_max = USEC_PER_HOUR;
        });
        engine_pause_pool(try.engine, pools[0], places[place].pause);
        if (places[place].keyed)
                (void) submit_item(p, "k", "tte");
        submission->concurrency_key = places[place].keyed ? strdup("k") : NULL;
        submission->run_timeout = 0;
        submission->delay = places[place].delay;
        if (in_group)
                assert_int_equal(engine_submit_group(try.engine, pools[0], p, submission,
                                         GROUP_FIRST_ERROR, &v, 1, false, 0),
                        ADMIT_YES);
        else
                assert_int_equal(
                        engine_submit_items(try.engine, p, submission, &v, 1, false, 0), ADMIT_YES);
        job = job_of(try.engine->next_id - 1);
        if (place == PASSING)
                try_wait_unread(&try, job, JOB_PASSING);
        else
                try_await(&try, job_stage(job) == places[place].stage &&
                                        try_real_state(job) == places[place].state);
        return job;
}

static void be_cancelled(Job *job, Place place, bool in_group) {
        static const CancelVerdict expected[N_PLACES] = {
                [SCHEDULED] = CANCEL_FINISHED,
                [QUEUED] = CANCEL_FINISHED,
                [PARKED] = CANCEL_FINISHED,
                [RUNNING] = CANCEL_ASKED,
                [PASSING] = CANCEL_NOTED,
                [IN_BACKOFF] = CANCEL_FINISHED,
                [HAS_FAILED] = CANCEL_NOTHING,
                [HAS_SUCCEEDED] = CANCEL_NOTHING,
        };

        assert_int_equal(pool_cancel(job_pool(job), job), expected[place]);
        try_until(&try, try_real_state(job) == JOB_FINISHED);
        assert_int_equal(job->result, place == HAS_FAILED      ? JOB_FAILED
                                      : place == HAS_SUCCEEDED ? JOB_SUCCEEDED
                                                               : JOB_CANCELLED);
}

static void be_given_a_priority(Job *job, Place place, bool in_group) {
        bool is_finished = places[place].state == JOB_FINISHED;

        assert_int_equal(pool_set_priority(job_pool(job), job, 7), is_finished);
        assert_int_equal(job->priority, is_finished ? 0 : 7);
        /* It takes it along. */
        if (place == PASSING) {
                try_until(&try, try_real_state(job) == JOB_FINISHED);
                assert_int_equal(job->priority, 7);
        }
}

static void be_tried_again(Job *job, Place place, bool in_group) {
        RetryAnswer expected = RETRY_UNFINISHED;

        if (place == HAS_FAILED)
                expected = in_group ? RETRY_IN_GROUP : RETRY_DONE;
        else if (place == HAS_SUCCEEDED)
                expected = RETRY_SUCCEEDED;
        assert_int_equal(engine_retry(try.engine, job->id), expected);
}

static void be_kicked(Job *job, Place place, bool in_group) {
        assert_int_equal(engine_kick(try.engine, job_pool(job), 10),
                place == HAS_FAILED && !in_group ? 1 : 0);
}

static void on_swept(Sweep *sweep) {
        *(uint64_t *) sweep->userdata = sweep->n_cancelled;
}

/* Clear() of the pool where it is. One in passage is in line for what comes next. */
static void be_cleared(Job *job, Place place, bool in_group) {
        const JobFilter filter = {
                .pool = job_pool(job),
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .waiting = true,
        };
        bool waits = place != RUNNING && places[place].state != JOB_FINISHED;
        uint64_t n = UINT64_MAX;

        assert_int_equal(engine_sweep(try.engine, &filter, NULL, on_swept, &n, NULL), 0);
        /* What comes first is the mail, by which that one is elsewhere. */
        try_until(&try, n != UINT64_MAX);
        if (place == PASSING) {
                try_until(&try, try_real_state(job) == JOB_FINISHED);
                assert_int_equal(job->result, n ? JOB_CANCELLED : JOB_SUCCEEDED);
                return;
        }
        /* With it goes the one that has its key. */
        assert_int_equal(n, place == PARKED ? 2 : waits);
        if (waits)
                assert_int_equal(job->result, JOB_CANCELLED);
        else
                assert_int_equal(try_real_state(job), places[place].state);
}

static void every_call_knows_every_place(void **state) {
        static void (*const calls[])(Job * job, Place place, bool in_group) = { be_cancelled,
                be_given_a_priority, be_tried_again, be_kicked, be_cleared };

        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                for (unsigned place = 0; place < N_PLACES; place++)
                        for (int in_group = 0; in_group < 2; in_group++) {
                                assert_int_equal(set_up(NULL), 0);
                                try.several_lives = true;
                                calls[i](item_at((Place) place, in_group), (Place) place, in_group);
                                assert_int_equal(tear_down(NULL), 0);
                        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
                TEST(results_of_items_are_in_the_order_of_submission),
                TEST(the_first_error_cancels_items_at_every_stage),
                TEST(the_first_error_of_items_is_heard_of_at_once),
                TEST(a_credit_that_is_free_is_heard_of_at_once),
                TEST(a_cancelled_group_leaves_other_items_alone),
                TEST(an_empty_group_of_a_pipeline_outlives_it),
                TEST(a_group_that_is_refused_leaves_nothing),
                TEST(a_group_is_kept_after_its_pipeline_has_gone),
                TEST(a_group_of_items_is_kept_as_its_last_stage_says),
                TEST(no_item_of_a_group_has_another_life),
                TEST(a_kick_finds_what_has_just_failed),
                TEST(items_of_a_key_stay_in_order_whatever_fails),
                TEST(a_key_is_held_in_each_pool_alone),
                TEST(what_makes_room_is_no_item_that_waits_for_its_key),
                TEST(the_first_error_cancels_what_waits_for_its_key),
#undef TEST
                cmocka_unit_test(every_call_knows_every_place),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
