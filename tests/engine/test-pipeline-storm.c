/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pipelines over shared pools at random moments: calls of every kind, groups, ConcurrencyKeys,
 * cancels, sweeps, priorities, retries, pauses, drains, changed bounds, pipelines that come and go.
 * Whatever happens, each life of an item ends once, each group ends, and in the end nothing is
 * inside. SLUICE_SEED repeats the steps of a run,
 * SLUICE_STEPS makes it longer. */

#include "try.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"

#define N_POOLS 3
#define PIPELINES_MAX 4

/* Threads are some ten times slower under a sanitizer. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STEPS 20000
#else
#define STEPS 60000
#endif

typedef struct Storm {
        Try try;
        uint64_t random;
        Pool *pools[N_POOLS];
        unsigned n_pipelines;
        uint64_t n_lives; /* of items and plain jobs: submits and retries */
        unsigned n_calls, n_answered;
        unsigned n_groups, n_ended; /* that were made, and of which the end was told */
} Storm;

static uint64_t below(Storm *s, uint64_t n) {
        return random_below(&s->random, n);
}

static PoolPipeline *any_pipeline(Storm *s) {
        uint64_t n = 0, wanted;

        list_for_each (l, &s->try.engine->pipelines)
                n++;
        if (n == 0)
                return NULL;
        wanted = below(s, n);
        list_for_each (l, &s->try.engine->pipelines)
                if (wanted-- == 0)
                        return list_entry(l, PoolPipeline, links);
        return NULL;
}

static Job *any_job(Storm *s) {
        uint64_t next = s->try.engine->next_id, back = 1 + below(s, 300);

        return engine_find_job(s->try.engine, back < next ? next - back : 1);
}

static void add_pipeline(Storm *s) {
        Pool *stages[6];
        uint64_t n = 0, n_stages = 1 + below(s, ELEMENTSOF(stages));
        char name[32];

        list_for_each (l, &s->try.engine->pipelines)
                n++;
        if (n == PIPELINES_MAX)
                return;
        for (uint64_t i = 0; i < n_stages; i++)
                stages[i] = s->pools[below(s, N_POOLS)];
        (void) snprintf(name, sizeof(name), "q%u", s->n_pipelines++);
        (void) try_pipeline(&s->try, name, stages, n_stages, 1 + below(s, 500));
}

static void on_call_finished(Submission *submission) {
        Storm *s = submission->userdata;

        for (size_t i = 0; i < submission->n_total; i++)
                assert_int_equal(
                        engine_submission_job(s->try.engine, submission, i)->state, JOB_FINISHED);
        s->n_answered++;
}

static int submit_as(Storm *s, PoolPipeline *pipeline, Submission *submission,
        const struct iovec *v, size_t n, bool group) {
        bool borrow = submission->bulk, in_pipeline = below(s, 4);
        Pool *pool = s->pools[below(s, N_POOLS)];

        /* Each is also made in a pool, where items are among them. */
        submission->run_timeout = in_pipeline ? 0 : USEC_INFINITY;
        if (group)
                return engine_submit_group(s->try.engine, in_pipeline ? pipeline->stages[0] : pool,
                        in_pipeline ? pipeline : NULL, submission,
                        (GroupPolicy) below(s, _GROUP_POLICY_MAX), v, n, false, 0);
        if (in_pipeline)
                return engine_submit_items(s->try.engine, pipeline, submission, v, n, borrow, 0);
        return engine_submit(s->try.engine, pool, submission, v, n, borrow, 0);
}

static void submit(Storm *s, PoolPipeline *pipeline) {
        static const char *const payloads[] = { "end", "tend", "ttttttend", "f", "ttf", "tn1", "",
                "ttd", "tr" };
        static const char *const keys[] = { "a", "b", "c", "d" };
        Submission *submission = try_submission();
        bool group = below(s, 3) == 0, bulk = !group && below(s, 2);
        size_t n = below(s, 3) ? 1 + below(s, 200) : !group || below(s, 5);
        struct iovec *v = calloc(n + 1, sizeof(*v));

        assert_non_null(v);
        for (size_t i = 0; i < n; i++) {
                const char *payload = payloads[below(s, ELEMENTSOF(payloads))];

                v[i] = (struct iovec){ (void *) (uintptr_t) payload, strlen(payload) };
        }
        submission->bulk = bulk;
        submission->finished = bulk ? on_call_finished : NULL;
        submission->userdata = s;
        submission->concurrency_key = below(s, 3) ? NULL : strdup(keys[below(s, ELEMENTSOF(keys))]);
        submission->priority = (int16_t) ((int) below(s, 5) - 2);
        submission->delay = below(s, 10) ? 0 : below(s, 1000);
        submission->queue_timeout = below(s, 10) ? USEC_INFINITY : below(s, 2000);
        if (submit_as(s, pipeline, submission, v, n, group) == ADMIT_YES) {
                s->n_lives += n;
                s->n_calls += bulk;
                s->n_groups += group;
                if (bulk && below(s, 5) == 0) {
                        engine_abandon(submission);
                        s->n_calls--;
                }
        } else
                submission_free(submission);
        free(v);
}

static void on_group_changed(Try *t, JobGroup *group) {
        container_of(t, Storm, try)->n_ended += group_is_finished(&group->core);
}

/* One of those that are there, which begins anywhere among them. */
static void change_group(Storm *s) {
        uint64_t n = HASH_CNT(by_id, s->try.engine->groups), wanted;
        JobGroup *group = s->try.engine->groups;

        if (n == 0)
                return;
        for (wanted = below(s, n); wanted > 0; wanted--)
                group = group->by_id.next;
        if (!group_is_finished(&group->core))
                assert_int_equal(engine_cancel_group(s->try.engine, group, NULL, NULL, NULL), 0);
        else if (below(s, 2))
                engine_forget_group(s->try.engine, group);
}

static void sweep(Storm *s, PoolPipeline *pipeline) {
        JobFilter filter = {
                .pipeline = below(s, 2) ? pipeline : NULL,
                .pool = below(s, 2) ? s->pools[below(s, N_POOLS)] : NULL,
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .waiting = below(s, 2),
                .unfinished = true,
        };

        assert_int_equal(engine_sweep(s->try.engine, &filter, below(s, 2) ? "swept" : NULL, NULL,
                                 NULL, NULL),
                0);
}

static void change(Storm *s, PoolPipeline *pipeline) {
        PipelineConfig config = { .max_in_flight = 1 + below(s, 500) };
        Pool *pool = s->pools[below(s, N_POOLS)];

        switch (below(s, 5)) {

        case 0:
                engine_pause_pool(s->try.engine, pool, below(s, 4) == 0);
                break;

        case 1:
                engine_drain_pool(s->try.engine, pool, below(s, 4) == 0);
                break;

        case 2:
                engine_drain_pipeline(s->try.engine, pipeline, below(s, 4) == 0);
                break;

        case 3:
                assert_int_equal(
                        engine_remove_pipeline(s->try.engine, pipeline, below(s, 2), NULL), 0);
                break;

        default:
                engine_set_pipeline(s->try.engine, pipeline, &config);
                break;
        }
}

static void step(Storm *s) {
        PoolPipeline *pipeline = any_pipeline(s);
        Job *job = any_job(s);

        if (!pipeline || below(s, 40) == 0)
                add_pipeline(s);
        else if (below(s, 3))
                submit(s, pipeline);
        else if (below(s, 10) == 0)
                change_group(s);
        else if (below(s, 6) == 0)
                change(s, pipeline);
        else if (below(s, 30) == 0)
                sweep(s, pipeline);
        else if (job && below(s, 2))
                (void) pool_cancel(job_pool(job), job);
        else if (job && below(s, 2))
                (void) pool_set_priority(job_pool(job), job, (int16_t) ((int) below(s, 5) - 2));
        else if (job && engine_retry(s->try.engine, job->id) == RETRY_DONE)
                s->n_lives++;
        if (below(s, 3) == 0) {
                engine_turn(s->try.engine);
                assert_true(sd_event_run(s->try.event, 0) >= 0);
        }
}

static bool is_over(Storm *s) {
        for (size_t i = 0; i < N_POOLS; i++)
                if (!pool_has_no_jobs(s->pools[i]))
                        return false;
        list_for_each (l, &s->try.engine->pipelines)
                if (list_entry(l, PoolPipeline, links)->pipeline.n_in_flight > 0)
                        return false;
        return true;
}

static void everything_at_random_moments(void **state) {
        const char *seed = getenv("SLUICE_SEED"), *steps = getenv("SLUICE_STEPS");
        Storm s = { .random = seed ? strtoull(seed, NULL, 10) : usec_now(CLOCK_REALTIME) };
        uint64_t n_steps = steps ? strtoull(steps, NULL, 10) : STEPS;

        print_message("SLUICE_SEED=%" PRIu64 "\n", s.random);
        try_init(&s.try);
        s.try.several_lives = true;
        s.try.group_changed = on_group_changed;
        for (size_t i = 0; i < N_POOLS; i++) {
                PoolConfig *config = try_config(
                        (const char *[]){ "a", "b", "c" }[i], i ? &try_several : &try_singly, 2);
                char *error = NULL;

                config->queue_max = i == 1 ? 1 : 500;
                config->batch_size = i == 2 ? 8 : 1;
                config->batch_timeout = 100;
                config->fairness = i == 1 ? FAIRNESS_USER : FAIRNESS_NONE;
                config->result_retention_max = 200;
                config->queue_max = MAX(config->queue_max, (uint64_t) config->batch_size);
                config->backoff = config->backoff_max = 10;
                config->key_concurrency = i == 2 ? 2 : 1;
                assert_int_equal(engine_add_pool(s.try.engine, config, &s.pools[i], &error), 0);
        }

        for (uint64_t i = 0; i < n_steps && s.try.engine->next_id < TRY_JOBS_MAX - 1000; i++)
                step(&s);

        for (size_t i = 0; i < N_POOLS; i++)
                engine_pause_pool(s.try.engine, s.pools[i], false);
        try_until(&s.try, is_over(&s) && mailbox_is_empty(&s.try.engine->mailbox));
        try_until(&s.try, s.n_ended == s.n_groups);
        assert_int_equal(s.try.n_finished, s.n_lives);
        assert_true(s.n_answered >= s.n_calls);
        /* It has seen something. */
        assert_true(s.n_lives > n_steps / 10);
        list_for_each (l, &s.try.engine->pipelines) {
                const Pipeline *p = &list_entry(l, PoolPipeline, links)->pipeline;

                assert_int_equal(p->submitted, p->succeeded + p->failed);
        }
        try_done(&s.try);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(everything_at_random_moments),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
