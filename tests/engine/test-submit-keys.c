/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which submits are one, for how long that is known, and who is told of their end. */

#include "try.h"

#include <stdio.h>
#include <string.h>

#include "engine/submit-key.h"

static int set_up(void **state) {
        Try *t = malloc(sizeof(*t));

        assert_non_null(t);
        try_init(t);
        *state = t;
        return 0;
}

static int tear_down(void **state) {
        try_done(*state);
        free(*state);
        return 0;
}

/* Keeps so many results. */
static Pool *make_pool(Try *t, const char *name, uint64_t result_retention_max) {
        PoolConfig *config = try_config(name, &try_singly, 1);
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        config->result_retention_max = result_retention_max;
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        return pool;
}

static Submission *keyed(uint32_t owner, const char *text, char body) {
        Submission *submission = try_submission();

        submission->owner = owner;
        assert_int_equal(submission_set_key(submission, text), 0);
        memset(submission->key->digest, body, SUBMIT_DIGEST_SIZE);
        return submission;
}

static KeyVerdict ask(Try *t, Pool *pool, PoolPipeline *pipeline, uint32_t owner, const char *text,
        char body, Submission **ret) {
        Submission *submission = keyed(owner, text, body), *known = NULL;
        KeyVerdict verdict = engine_ask_key(t->engine, pool, pipeline, submission, &known);

        assert_true(!known == (verdict != KEY_IS_REPEATED));
        submission_free(submission);
        if (ret)
                *ret = known;
        return verdict;
}

/* ---- the table ---- */

static void a_submit_is_known_by_owner_place_and_text(void **state) {
        Try *t = *state;
        Pool *p = make_pool(t, "p", 100), *q = make_pool(t, "q", 100);
        PoolPipeline *line = try_pipeline(t, "line", &p, 1, 100);
        const struct {
                Pool *pool;
                PoolPipeline *pipeline;
                uint32_t owner;
                const char *text;
                char body;
                KeyVerdict verdict;
        } rows[] = {
                { p, NULL, 1, "key", 'a', KEY_IS_REPEATED },
                { p, NULL, 1, "key", 'b', KEY_IS_TAKEN },
                { p, NULL, 2, "key", 'b', KEY_IS_REPEATED },
                { p, NULL, 2, "key", 'a', KEY_IS_TAKEN },
                { p, NULL, 3, "key", 'a', KEY_IS_NEW },
                { p, NULL, 1, "ke", 'a', KEY_IS_NEW },
                { p, NULL, 1, "key2", 'a', KEY_IS_NEW },
                { p, NULL, 1, "KEY", 'a', KEY_IS_NEW },
                { q, NULL, 1, "key", 'a', KEY_IS_NEW },
                { p, line, 1, "key", 'c', KEY_IS_REPEATED },
                { p, line, 1, "key", 'a', KEY_IS_TAKEN },
                { p, line, 2, "key", 'b', KEY_IS_NEW },
        };
        const struct iovec echo = { (void *) (uintptr_t) TRY_ECHO, 1 };
        Submission *none = try_submission(), *known = NULL;

        (void) try_submit_with(t, p, keyed(1, "key", 'a'), TRY_ECHO, 1);
        (void) try_submit_with(t, p, keyed(2, "key", 'b'), TRY_ECHO, 1);
        assert_int_equal(
                engine_submit_items(t->engine, line, keyed(1, "key", 'c'), &echo, 1, false, 0),
                ADMIT_YES);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                assert_int_equal(ask(t, rows[i].pool, rows[i].pipeline, rows[i].owner, rows[i].text,
                                         rows[i].body, NULL),
                        rows[i].verdict);
        assert_int_equal(engine_ask_key(t->engine, p, NULL, none, &known), KEY_IS_NEW);
        submission_free(none);
}

static void thousands_are_found_and_forgotten(void **state) {
        enum { N = 5000 };
        Try *t = *state;
        Pool *pool = make_pool(t, "p", N);
        char text[32];

        for (unsigned i = 0; i < N; i++) {
                (void) snprintf(text, sizeof(text), "key %u", i);
                (void) try_submit_with(t, pool, keyed(1, text, 'a'), TRY_ECHO, 1);
        }
        try_until(t, t->n_finished == N);
        for (unsigned i = 0; i < N; i++) {
                Submission *known;

                (void) snprintf(text, sizeof(text), "key %u", i);
                assert_int_equal(ask(t, pool, NULL, 1, text, 'a', &known), KEY_IS_REPEATED);
                assert_int_equal(known->first_id, i + 1);
        }
        pool->config->result_retention_max = 0;
        (void) try_submit(t, pool, TRY_ECHO, 1);
        try_until(t, t->engine->jobs.n_jobs == 0);
        assert_null(t->engine->submit_keys);
}

static void it_is_known_while_any_of_its_jobs_is(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, "p", 1);
        Submission *known;

        (void) try_submit_with(t, pool, keyed(1, "key", 'a'), TRY_ECHO, 3);
        try_until(t, t->n_finished == 3);
        assert_null(engine_find_job(t->engine, 1));
        assert_int_equal(ask(t, pool, NULL, 1, "key", 'a', &known), KEY_IS_REPEATED);
        assert_int_equal(known->first_id, 1);
        assert_int_equal(known->n_total, 3);
        (void) try_submit(t, pool, TRY_ECHO, 1);
        try_until(t, t->n_finished == 4);
        assert_int_equal(ask(t, pool, NULL, 1, "key", 'a', NULL), KEY_IS_NEW);
}

static void so_is_that_of_a_group(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, "p", 100);
        PoolPipeline *line = try_pipeline(t, "line", &pool, 1, 100);
        Submission *submission = keyed(1, "key", 'a'), *empty = keyed(1, "none", 'a'),
                   *nothing = keyed(1, "none", 'a'), *known;
        const struct iovec echo = { (void *) (uintptr_t) TRY_ECHO, 1 };

        assert_int_equal(engine_submit_group(
                                 t->engine, pool, NULL, submission, GROUP_ALL, &echo, 1, false, 0),
                ADMIT_YES);
        assert_int_equal(
                engine_submit_group(t->engine, pool, NULL, empty, GROUP_ALL, NULL, 0, false, 0),
                ADMIT_YES);
        assert_int_equal(
                engine_submit_group(t->engine, pool, line, nothing, GROUP_ALL, NULL, 0, false, 0),
                ADMIT_YES);
        assert_int_equal(ask(t, pool, NULL, 1, "key", 'a', &known), KEY_IS_REPEATED);
        assert_ptr_equal(known->group, submission->group);
        assert_int_equal(ask(t, pool, NULL, 1, "none", 'a', &known), KEY_IS_REPEATED);
        assert_ptr_equal(known->group, empty->group);
        assert_int_equal(ask(t, pool, line, 1, "none", 'a', &known), KEY_IS_REPEATED);
        assert_ptr_equal(known->group, nothing->group);
        engine_forget_group(t->engine, empty->group);
        assert_int_equal(ask(t, pool, NULL, 1, "none", 'a', NULL), KEY_IS_NEW);
        assert_int_equal(ask(t, pool, line, 1, "none", 'a', NULL), KEY_IS_REPEATED);
        try_until(t, group_is_finished(&((JobGroup *) submission->group)->core));
        engine_forget_group(t->engine, submission->group);
        assert_int_equal(ask(t, pool, NULL, 1, "key", 'a', NULL), KEY_IS_NEW);
}

/* Results of a pipeline outlive it, as does what its keys are compared with. */
static void a_pipeline_of_the_same_name_has_keys_of_its_own(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, "p", 100);
        PoolPipeline *line = try_pipeline(t, "line", &pool, 1, 100);
        const struct iovec echo = { (void *) (uintptr_t) TRY_ECHO, 1 };

        assert_int_equal(
                engine_submit_items(t->engine, line, keyed(1, "key", 'a'), &echo, 1, false, 0),
                ADMIT_YES);
        try_until(t, t->n_finished == 1);
        assert_int_equal(engine_remove_pipeline(t->engine, line, false, NULL), 0);
        try_until(t, !engine_find_pipeline(t->engine, "line"));
        line = try_pipeline(t, "line", &pool, 1, 100);
        assert_int_equal(ask(t, pool, line, 1, "key", 'a', NULL), KEY_IS_NEW);
        assert_non_null(t->engine->submit_keys);
}

/* ---- who waits ---- */

typedef struct Waiter {
        SubmissionWatch watch;
        Try *t;
        unsigned n_told;
        unsigned n_jobs; /* that were there still, when it was told */
} Waiter;

static void on_ended(SubmissionWatch *watch, Submission *submission) {
        Waiter *waiter = container_of(watch, Waiter, watch);

        waiter->n_told++;
        waiter->n_jobs = 0;
        for (size_t i = 0; i < submission->n_total; i++) {
                const Job *job = engine_submission_job(waiter->t->engine, submission, i);

                waiter->n_jobs += !!job;
                assert_true(!job || job->state == JOB_FINISHED);
        }
}

static int watch(Waiter *waiter, Try *t, Submission *submission) {
        *waiter = (Waiter){ .t = t, .watch.ended = on_ended };
        return engine_watch_submission(submission, &waiter->watch);
}

static void all_who_wait_are_told_at_the_end_of_the_last_job(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, "p", 100);
        Submission *submission = keyed(1, "key", 'a');
        Waiter first, second, gone, late;

        (void) try_submit_with(t, pool, submission, TRY_GATE(0), 3);
        assert_int_equal(watch(&first, t, submission), 0);
        assert_int_equal(watch(&gone, t, submission), 0);
        assert_int_equal(watch(&second, t, submission), 0);
        submission_unwatch(&gone.watch);
        submission_unwatch(&gone.watch);
        assert_int_equal(pool_cancel(pool, engine_find_job(t->engine, 2)), CANCEL_FINISHED);
        try_until(t, t->n_finished == 1);
        assert_int_equal(first.n_told, 0);
        gate_open(0);
        try_until(t, t->n_finished == 3);
        assert_int_equal(first.n_told, 1);
        assert_int_equal(second.n_told, 1);
        assert_int_equal(gone.n_told, 0);
        assert_int_equal(watch(&late, t, submission), 1);
        assert_int_equal(late.n_told, 0);
}

/* Main sleeps until somebody says that there is something to be told. */
static void it_is_told_at_once(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, "p", 100);
        Submission *submission = keyed(1, "key", 'a');
        Waiter waiter;

        engine_set_announce(t->engine, false);
        (void) try_submit_with(t, pool, submission, TRY_ECHO, 1);
        assert_int_equal(watch(&waiter, t, submission), 0);
        try_until(t, waiter.n_told == 1);
}

static void what_is_wanted_as_one_is_kept_until_all_have_ended(void **state) {
        static const struct {
                bool as_one;
                uint64_t kept;
                unsigned n_jobs;
        } rows[] = {
                { true, 0, 3 },
                { true, 1, 3 },
                { true, 100, 3 },
                { false, 0, 1 },
                { false, 1, 2 }, /* and the last one, which has just ended */
                { false, 100, 3 },
        };
        Try *t = *state;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Submission *submission = keyed(1, "key", 'a');
                unsigned n_finished = t->n_finished;
                Waiter waiter;
                char name[8];
                Pool *pool;

                (void) snprintf(name, sizeof(name), "p%zu", i);
                pool = make_pool(t, name, rows[i].kept);
                submission->key->as_one = rows[i].as_one;
                (void) try_submit_with(t, pool, submission, TRY_ECHO, 3);
                assert_int_equal(watch(&waiter, t, submission), 0);
                try_until(t, waiter.n_told == 1);
                assert_int_equal(t->n_finished, n_finished + 3);
                assert_int_equal(waiter.n_jobs, rows[i].n_jobs);
                assert_int_equal(pool->n_retained, MIN(rows[i].kept, UINT64_C(3)));
        }
}

static void another_life_is_waited_for(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, "p", 100);
        Submission *submission = keyed(1, "key", 'a'), *known;
        Waiter waiter;

        t->several_lives = true;
        submission->key->as_one = true;
        (void) try_submit_with(t, pool, submission, TRY_GATE_FAIL(0), 2);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(pool_cancel(pool, engine_find_job(t->engine, 2)), CANCEL_FINISHED);
        try_until(t, t->n_finished == 1);
        /* Its call is not complete. */
        assert_int_equal(engine_retry(t->engine, 2), RETRY_GONE);
        assert_int_equal(watch(&waiter, t, submission), 0);
        gate_open(0);
        try_until(t, waiter.n_told == 1);
        assert_int_equal(watch(&waiter, t, submission), 1);

        assert_int_equal(engine_kick(t->engine, pool, 10), 1);
        assert_int_equal(engine_retry(t->engine, 2), RETRY_DONE);
        assert_int_equal(ask(t, pool, NULL, 1, "key", 'a', &known), KEY_IS_REPEATED);
        assert_ptr_equal(known, submission);
        assert_int_equal(watch(&waiter, t, submission), 0);
        try_until(t, waiter.n_told == 1);
        assert_int_equal(t->n_finished, 4);
        assert_int_equal(pool->n_retained, 2);
}

/* They end in different pools, and only main counts them. */
static void items_of_a_pipeline_are_waited_for(void **state) {
        Try *t = *state;
        Pool *stages[] = { make_pool(t, "p", 1), make_pool(t, "q", 1) };
        PoolPipeline *line = try_pipeline(t, "line", stages, 2, 100);
        Submission *submission = keyed(1, "key", 'a');
        const struct iovec payloads[] = {
                { (void *) (uintptr_t) TRY_FAIL, 1 },
                { (void *) (uintptr_t) TRY_PASS TRY_ECHO, 2 },
                { (void *) (uintptr_t) TRY_PASS TRY_FAIL, 2 },
                { (void *) (uintptr_t) TRY_PASS TRY_ECHO, 2 },
        };
        Waiter waiter;

        submission->run_timeout = 0;
        submission->key->as_one = true;
        assert_int_equal(
                engine_submit_items(t->engine, line, submission, payloads, 4, false, 0), ADMIT_YES);
        assert_int_equal(watch(&waiter, t, submission), 0);
        try_until(t, waiter.n_told == 1);
        assert_int_equal(waiter.n_jobs, 4);
        assert_int_equal(t->engine->jobs.n_jobs, 2);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(
                        a_submit_is_known_by_owner_place_and_text, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        thousands_are_found_and_forgotten, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        it_is_known_while_any_of_its_jobs_is, set_up, tear_down),
                cmocka_unit_test_setup_teardown(so_is_that_of_a_group, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        a_pipeline_of_the_same_name_has_keys_of_its_own, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        all_who_wait_are_told_at_the_end_of_the_last_job, set_up, tear_down),
                cmocka_unit_test_setup_teardown(it_is_told_at_once, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        what_is_wanted_as_one_is_kept_until_all_have_ended, set_up, tear_down),
                cmocka_unit_test_setup_teardown(another_life_is_waited_for, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        items_of_a_pipeline_are_waited_for, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
