/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Everything at random moments: submits of every kind, cancels, priorities, sweeps, sizes, pauses,
 * drains, batches, pools that come and go. Whatever happens, each accepted job ends once and is
 * told of once. SLUICE_SEED repeats the steps of a run (what the threads make of them is theirs),
 * SLUICE_STEPS makes it longer. */

#include "try.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"

#define POOLS_MAX 4

/* Threads are some ten times slower under a sanitizer. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STEPS 15000
#else
#define STEPS 100000
#endif

typedef struct Storm {
        Try try;
        uint64_t random;
        unsigned n_accepted; /* jobs */
        unsigned n_calls, n_answered, n_abandoned;
        unsigned n_watches, n_told;
        unsigned n_sweeps, n_swept;
        unsigned n_removals, n_removed;
        unsigned n_pools;
        unsigned n_groups, n_groups_ended;
        uint64_t groups[64];   /* ids of the last ones */
        Submission *calls[64]; /* that may be abandoned; NULL = over */
} Storm;

typedef struct StormWatch {
        union {
                JobWatch job;
                GroupWatch group;
                PoolWatch pool;
        };
        Storm *storm;
} StormWatch;

static uint64_t below(Storm *s, uint64_t n) {
        return random_below(&s->random, n);
}

static Pool *any_pool(Storm *s) {
        uint64_t n = 0, wanted;

        list_for_each (l, &s->try.engine->pools)
                n++;
        if (n == 0)
                return NULL;
        wanted = below(s, n);
        list_for_each (l, &s->try.engine->pools)
                if (wanted-- == 0)
                        return list_entry(l, Pool, links);
        return NULL;
}

/* Mostly a young one: these are alive more often. */
static Job *any_job(Storm *s) {
        uint64_t next = s->try.engine->next_id, back = 1 + below(s, below(s, 4) ? 50 : 2000);

        return engine_find_job(s->try.engine, back < next ? next - back : 1);
}

/* Half of the pools have batches, as long as nobody changes that. */
static void choose_batches(Storm *s, PoolConfig *config) {
        config->batch_size =
                below(s, 2) ? 1 : (uint32_t) (2 + below(s, MIN(config->queue_max - 1, 100U)));
        config->batch_timeout = below(s, 2000);
}

static void make_elastic(Storm *s, PoolConfig *config) {
        config->scale_config = (ScalerConfig){
                .mode = (ScaleMode) below(s, SCALE_PRESSURE),
                .interval = 500 + below(s, 3000),
                .up_at = 2,
                .down_at = 1,
                .target_wait = below(s, 1000),
        };
}

static void add_pool(Storm *s) {
        PoolConfig *config;
        char name[32], *error = NULL;

        if (list_first(&s->try.engine->pools) && s->n_pools - s->try.n_pools_removed >= POOLS_MAX)
                return;
        (void) snprintf(name, sizeof(name), "p%u", s->n_pools);
        config = try_config(
                name, below(s, 3) ? &try_several : &try_singly, (uint32_t) (1 + below(s, 4)));
        config->fairness = below(s, 2) ? FAIRNESS_USER : FAIRNESS_NONE;
        config->queue_max = 10 + below(s, 3000);
        config->result_retention_max = below(s, 3) ? 1000 : 0;
        choose_batches(s, config);
        make_elastic(s, config);
        assert_int_equal(engine_add_pool(s->try.engine, config, NULL, &error), 0);
        s->n_pools++;
}

static void on_call_finished(Submission *submission) {
        Storm *s = submission->userdata;

        for (size_t i = 0; i < ELEMENTSOF(s->calls); i++)
                if (s->calls[i] == submission)
                        s->calls[i] = NULL;
        for (size_t i = 0; i < submission->n_total; i++) {
                Job *job = engine_submission_job(s->try.engine, submission, i);

                assert_non_null(job);
                assert_int_equal(job->state, JOB_FINISHED);
                if (job->result == JOB_SUCCEEDED && job->size > 0 && job->size < 100)
                        assert_int_equal(((const char *) job->data)[0], 'e');
                if (job->result == JOB_SUCCEEDED && below(s, 50) == 0)
                        job->flags |= JOB_KEEP;
        }
        s->n_answered++;
}

static void submit(Storm *s) {
        static const char *const kinds[] = { TRY_ECHO, TRY_ECHO, "echo of some length", TRY_FAIL,
                TRY_SILENT, TRY_BIG, TRY_GATE(0) };
        struct iovec payloads[400];
        Submission *submission = try_submission();
        Pool *pool = any_pool(s);
        size_t n = below(s, 3) ? 1 : 1 + below(s, below(s, 10) ? 20 : ELEMENTSOF(payloads));
        bool borrow = below(s, 2);
        int r;

        if (!pool) {
                submission_free(submission);
                return;
        }
        for (size_t i = 0; i < n; i++) {
                const char *kind = kinds[below(s, ELEMENTSOF(kinds) - (below(s, 4) > 0))];

                payloads[i] = (struct iovec){ (void *) (uintptr_t) kind, strlen(kind) };
        }
        submission->owner = (uint32_t) below(s, 3);
        submission->priority = (int16_t) (below(s, 5) - 2);
        if (below(s, 8) == 0)
                submission->delay = below(s, 3000);
        if (below(s, 8) == 0)
                submission->queue_timeout = below(s, 3000);
        /* Nobody opens the gates while the storm lasts, so what waits there needs this or a cancel.
         */
        submission->run_timeout = 500 + below(s, 5000);
        submission->notify = below(s, 4) == 0;
        if (below(s, 4) == 0) {
                submission->concurrency_key = strdup((const char *[]){ "a", "b" }[below(s, 2)]);
                assert_non_null(submission->concurrency_key);
        }
        if (below(s, 2)) {
                submission->bulk = true;
                submission->finished = on_call_finished;
                submission->userdata = s;
        }
        r = engine_submit(s->try.engine, pool, submission, payloads, n, borrow, 0);
        if (r != ADMIT_YES) {
                assert_true(r == ADMIT_FULL || r == ADMIT_DRAINING);
                submission_free(submission);
                return;
        }
        assert_true(s->try.engine->next_id < TRY_JOBS_MAX);
        s->n_accepted += (unsigned) n;
        if (submission->bulk) {
                s->calls[s->n_calls % ELEMENTSOF(s->calls)] = submission;
                s->n_calls++;
        }
}

static void on_group_changed(Try *t, JobGroup *group) {
        Storm *s = container_of(t, Storm, try);

        assert_int_equal(
                group_n_done(&group->core), group->core.n_succeeded + group->core.n_failed);
        s->n_groups_ended += group_is_finished(&group->core);
}

static void submit_group(Storm *s) {
        static const char *const kinds[] = { TRY_ECHO, TRY_ECHO, TRY_ECHO, TRY_FAIL, TRY_BIG };
        struct iovec payloads[300];
        Submission *submission = try_submission();
        Pool *pool = any_pool(s);
        size_t n = below(s, below(s, 4) ? 10 : ELEMENTSOF(payloads));
        int r = ADMIT_FULL;

        for (size_t i = 0; i < n; i++) {
                const char *kind = kinds[below(s, ELEMENTSOF(kinds))];

                payloads[i] = (struct iovec){ (void *) (uintptr_t) kind, strlen(kind) };
        }
        submission->owner = (uint32_t) below(s, 3);
        submission->notify = below(s, 8) == 0;
        if (below(s, 8) == 0)
                submission->queue_timeout = below(s, 3000);
        if (pool)
                r = engine_submit_group(s->try.engine, pool, NULL, submission,
                        (GroupPolicy) below(s, _GROUP_POLICY_MAX), payloads, n, below(s, 2), 0);
        if (r != ADMIT_YES) {
                assert_true(r == ADMIT_FULL || r == ADMIT_DRAINING);
                assert_null(submission->group);
                submission_free(submission);
                return;
        }
        s->n_accepted += (unsigned) n;
        s->groups[s->n_groups++ % ELEMENTSOF(s->groups)] = ((JobGroup *) submission->group)->id;
}

static void on_group_finished(GroupWatch *watch) {
        StormWatch *w = container_of(watch, StormWatch, group);

        w->storm->n_told++;
        free(w);
}

static void change_group(Storm *s) {
        JobGroup *group =
                engine_find_group(s->try.engine, s->groups[below(s, ELEMENTSOF(s->groups))]);
        StormWatch *w;

        if (!group)
                return;
        if (group_is_finished(&group->core)) {
                for (uint64_t i = 0; i < group->core.n_total; i++)
                        assert_int_equal(
                                engine_group_job(s->try.engine, group, i)->state, JOB_FINISHED);
                if (below(s, 2))
                        engine_forget_group(s->try.engine, group);
                return;
        }
        if (below(s, 4) == 0)
                assert_int_equal(engine_cancel_group(s->try.engine, group, NULL, NULL, NULL), 0);
        w = calloc(1, sizeof(*w));
        assert_non_null(w);
        w->storm = s;
        w->group.finished = on_group_finished;
        assert_int_equal(engine_watch_group(group, &w->group), 0);
        s->n_watches++;
}

static void cancel(Storm *s) {
        Job *job = any_job(s);

        if (job)
                (void) pool_cancel(job_pool(job), job);
}

static void prioritise(Storm *s) {
        Job *job = any_job(s);

        if (job)
                assert_true(
                        pool_set_priority(job_pool(job), job, (int16_t) (below(s, 9) - 4)) >= 0);
}

static void look(Storm *s) {
        Job *job = any_job(s);
        Pool *pool = any_pool(s);
        PoolView view;
        JobView job_view;

        if (pool) {
                pool_view(pool, &view);
                assert_true(view.n_workers <= 64);
        }
        if (job)
                pool_job_view(job_pool(job), job, &job_view);
}

static void resize(Storm *s) {
        Pool *pool = any_pool(s);
        PoolConfig *config;

        if (!pool)
                return;
        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->min_workers = (uint32_t) (1 + below(s, 3));
        config->max_workers = config->min_workers + (uint32_t) below(s, 3);
        make_elastic(s, config);
        config->aging_interval = below(s, 4) ? 30 * USEC_PER_SEC : USEC_INFINITY;
        config->key_concurrency = (uint32_t) (1 + below(s, 3));
        if (below(s, 4) == 0)
                choose_batches(s, config);
        assert_int_equal(engine_set_pool(s->try.engine, pool, config), 0);
        pool_config_free(config);
}

static void pause_or_drain(Storm *s) {
        Pool *pool = any_pool(s);

        if (!pool)
                return;
        /* More often on than off, so that there is progress. */
        engine_pause_pool(s->try.engine, pool, below(s, 3) == 0);
        engine_drain_pool(s->try.engine, pool, below(s, 8) == 0);
}

static void on_removed(PoolWatch *watch) {
        StormWatch *w = container_of(watch, StormWatch, pool);

        w->storm->n_removed++;
        free(w);
}

static void remove_pool(Storm *s) {
        Pool *pool = any_pool(s);
        StormWatch *w = calloc(1, sizeof(*w));

        assert_non_null(w);
        if (!pool) {
                free(w);
                return;
        }
        w->storm = s;
        w->pool.done = on_removed;
        assert_int_equal(engine_remove_pool(s->try.engine, pool, below(s, 2), &w->pool), 0);
        s->n_removals++;
}

static void on_job_finished(JobWatch *watch, Job *job) {
        StormWatch *w = container_of(watch, StormWatch, job);

        assert_int_equal(job->state, JOB_FINISHED);
        w->storm->n_told++;
        free(w);
}

static void watch_job(Storm *s) {
        Job *job = any_job(s);
        StormWatch *w = calloc(1, sizeof(*w));
        int r = 1;

        assert_non_null(w);
        w->storm = s;
        w->job.finished = on_job_finished;
        if (job)
                r = engine_watch_job(job, &w->job);
        assert_true(r >= 0);
        if (r == 0)
                s->n_watches++;
        else
                free(w);
}

static void on_swept(Sweep *sweep) {
        ((Storm *) sweep->userdata)->n_swept++;
}

static void sweep(Storm *s) {
        JobFilter filter = {
                .pool = any_pool(s),
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .waiting = below(s, 2),
                .by_owner = below(s, 2),
                .owner = (uint32_t) below(s, 3),
        };

        assert_int_equal(engine_sweep(s->try.engine, &filter, below(s, 2) ? "swept" : NULL,
                                 on_swept, s, NULL),
                0);
        s->n_sweeps++;
}

static void abandon(Storm *s) {
        Submission **call = &s->calls[below(s, ELEMENTSOF(s->calls))];

        if (!*call)
                return;
        engine_abandon(*call);
        *call = NULL;
        s->n_abandoned++;
}

static void announce(Storm *s) {
        engine_set_announce(s->try.engine, below(s, 2));
}

/* The gates make the mean run time long; turns of several are what is interesting. */
static void pretend_short(Storm *s) {
        Pool *pool = any_pool(s);

        if (pool)
                try_pretend_short(pool);
}

static void turn(Storm *s) {
        list_for_each (l, &s->try.engine->pools)
                try_assert_adds_up(list_entry(l, Pool, links));
        engine_turn(s->try.engine);
        assert_true(sd_event_run(s->try.event, 0) >= 0);
        engine_turn(s->try.engine);
}

/* How often each comes, in the order of appearance. */
static const struct {
        unsigned weight;
        void (*step)(Storm *s);
} steps[] = {
        { 30, submit },
        { 8, submit_group },
        { 8, change_group },
        { 20, cancel },
        { 10, prioritise },
        { 10, look },
        { 4, resize },
        { 4, pause_or_drain },
        { 1, remove_pool },
        { 2, add_pool },
        { 8, watch_job },
        { 1, sweep },
        { 2, abandon },
        { 1, announce },
        { 20, pretend_short },
        { 40, turn },
};

static uint64_t number_of(const char *variable, uint64_t otherwise) {
        const char *s = getenv(variable);

        return s ? strtoull(s, NULL, 0) : otherwise;
}

static void every_job_ends_once_whatever_happens(void **state) {
        uint64_t seed = number_of("SLUICE_SEED", usec_now(CLOCK_REALTIME)),
                 n_steps = number_of("SLUICE_STEPS", STEPS), sum = 0;
        Storm *s = calloc(1, sizeof(*s));
        EngineTotals totals;
        uint64_t n_ended = 0;

        assert_non_null(s);
        s->random = seed;
        print_message("SLUICE_SEED=%" PRIu64 " SLUICE_STEPS=%" PRIu64 "\n", seed, n_steps);
        try_init(&s->try);
        s->try.group_changed = on_group_changed;
        for (size_t i = 0; i < ELEMENTSOF(steps); i++)
                sum += steps[i].weight;
        for (uint64_t i = 0; i < n_steps && s->try.engine->next_id < TRY_JOBS_MAX - 1000; i++) {
                uint64_t which = below(s, sum);
                size_t k = 0;

                while (which >= steps[k].weight)
                        which -= steps[k++].weight;
                steps[k].step(s);
        }

        for (unsigned i = 0; i < TRY_GATES; i++)
                gate_open(i);
        engine_shut_down(s->try.engine);
        engine_cancel_running(s->try.engine);
        try_until(&s->try, engine_is_quiet(s->try.engine));
        engine_dismiss(s->try.engine);
        try_until(&s->try, list_is_empty(&s->try.engine->pools));
        try_until(&s->try, list_is_empty(&s->try.engine->sweeps));

        engine_totals(s->try.engine, &totals);
        for (int i = 0; i < _JOB_RESULT_MAX; i++)
                n_ended += totals.counters.results[i];
        assert_int_equal(totals.counters.submitted, s->n_accepted);
        assert_int_equal(n_ended, s->n_accepted);
        assert_int_equal(s->n_answered + s->n_abandoned, s->n_calls);
        assert_int_equal(s->n_told, s->n_watches);
        assert_int_equal(s->n_swept, s->n_sweeps);
        assert_int_equal(s->n_removed, s->n_removals);
        assert_int_equal(s->n_groups_ended, s->n_groups);
        assert_null(s->try.engine->groups);
        print_message("%u jobs, %u groups, %u calls, %u watches, %u pools\n", s->n_accepted,
                s->n_groups, s->n_calls, s->n_watches, s->n_pools);
        try_done(&s->try);
        free(s);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_job_ends_once_whatever_happens),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
