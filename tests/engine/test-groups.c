/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Groups with real threads: what ends them, what becomes of their results, and who is told. */

#include "try.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANY 100000

static Pool *add_pool(Try *t, PoolConfig *config) {
        char *error = NULL;
        Pool *pool;

        if (engine_add_pool(t->engine, config, &pool, &error) < 0)
                fail_msg("%s", error);
        return pool;
}

/* What the listener was told, and how far the last one of them was. */
static struct {
        unsigned n_changes, n_ends;
        uint64_t id, n_done;
} told;

static void on_group_changed(Try *t, JobGroup *group) {
        told.n_changes++;
        if (group->id != told.id)
                told.n_done = 0;
        told.id = group->id;
        assert_true(group_n_done(&group->core) >= told.n_done);
        told.n_done = group_n_done(&group->core);
        told.n_ends += group_is_finished(&group->core);
        /* What is told next of it is told later. */
        assert_true(group_tell_at(&group->core) == USEC_INFINITY);
}

static int set_up(void **state) {
        Try *t = malloc(sizeof(*t));

        assert_non_null(t);
        try_init(t);
        told.n_changes = told.n_ends = 0;
        told.id = told.n_done = 0;
        t->group_changed = on_group_changed;
        *state = t;
        return 0;
}

static int tear_down(void **state) {
        Try *t = *state;

        try_done(t);
        free(t);
        return 0;
}

typedef struct Wait {
        GroupWatch watch;
        unsigned n;
} Wait;

static void on_finished(GroupWatch *watch) {
        container_of(watch, Wait, watch)->n++;
}

/* ---- the end ---- */

static void an_empty_group_is_finished_at_once_and_told_later(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        JobGroup *group = try_submit_group(t, pool, GROUP_FIRST_ERROR, NULL, 0);
        Wait wait = { .watch.finished = on_finished };

        assert_int_equal(group->id, 1);
        assert_true(group_is_finished(&group->core));
        assert_int_equal(engine_watch_group(group, &wait.watch), 1);
        assert_int_equal(told.n_changes, 0);
        try_until(t, told.n_ends == 1);
        assert_ptr_equal(engine_find_group(t->engine, 1), group);
        assert_int_equal(pool->n_groups, 1);
        assert_int_equal(engine_cancel_group(t->engine, group, NULL, NULL, NULL), 1);

        assert_int_equal(try_submit(t, pool, TRY_ECHO, 1), 2);
        try_until(t, t->n_finished == 1);
        assert_int_equal(told.n_changes, 1);
}

static void an_empty_group_is_told_of_though_nothing_is_kept(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 1);
        Pool *pool;

        config->result_retention_max = 0;
        pool = add_pool(t, config);
        (void) try_submit_group(t, pool, GROUP_ALL, NULL, 0);
        try_until(t, told.n_ends == 1);
        assert_null(engine_find_group(t->engine, 1));
        assert_int_equal(pool->n_groups, 0);

        /* To tell of one may be to forget the next that is to be told of. */
        for (unsigned i = 0; i < 3; i++)
                (void) try_submit_group(t, pool, GROUP_ALL, NULL, 0);
        try_until(t, told.n_ends == 4);
        assert_null(t->engine->groups);

        /* Nor does it outlive its pool, told or not. */
        (void) try_submit_group(t, pool, GROUP_ALL, NULL, 0);
        assert_int_equal(engine_remove_pool(t->engine, pool, false, NULL), 0);
        try_until(t, t->n_pools_removed == 1);
        assert_null(t->engine->groups);
        assert_int_equal(told.n_ends, 5);
}

static void a_group_ends_with_its_last_member(void **state) {
        static const char *const payloads[] = { "e1", TRY_FAIL, TRY_GATE(0), "e4", TRY_SILENT };
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_several, 2);
        Wait wait = { .watch.finished = on_finished }, left = { .watch.finished = on_finished };
        JobGroup *group;

        (void) try_submit(t, pool, TRY_ECHO, 3);
        group = try_submit_group(t, pool, GROUP_ALL, payloads, ELEMENTSOF(payloads));
        assert_int_equal(group->id, 4);
        assert_int_equal(group->submission->first_id, 5);
        assert_int_equal(engine_watch_group(group, &wait.watch), 0);
        assert_int_equal(engine_watch_group(group, &left.watch), 0);
        group_unwatch(&left.watch);
        try_until(t, group_n_done(&group->core) == 4);
        assert_false(group_is_finished(&group->core));
        assert_int_equal(wait.n, 0);
        assert_int_equal(told.n_ends, 0);

        gate_open(0);
        try_until(t, wait.n == 1);
        assert_int_equal(left.n, 0);
        assert_int_equal(told.n_ends, 1);
        assert_int_equal(group->core.n_succeeded, 3);
        assert_int_equal(group->core.n_failed, 2);
        try_expect_member(t, group, 0, JOB_SUCCEEDED, "e1");
        try_expect_member(t, group, 1, JOB_FAILED, "job 6 was to fail");
        try_expect_member(t, group, 2, JOB_SUCCEEDED, "");
        try_expect_member(t, group, 3, JOB_SUCCEEDED, "e4");
        try_expect_member(t, group, 4, JOB_FAILED, "failed without saying why");
        assert_null(engine_group_job(t->engine, group, 5));
}

static void progress_is_told_before_the_end(void **state) {
        static const char *const payloads[] = { TRY_ECHO, TRY_GATE(0), TRY_GATE(1) };
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 2);
        usec_t began = usec_now(CLOCK_MONOTONIC);

        (void) try_submit_group(t, pool, GROUP_ALL, payloads, ELEMENTSOF(payloads));
        try_until(t, told.n_done == 1);
        assert_true(usec_now(CLOCK_MONOTONIC) - began >= GROUP_TELL_INTERVAL);
        assert_int_equal(told.n_changes, 1);
        /* Nothing is left to tell, so nothing ticks. */
        assert_true(list_is_empty(&t->engine->untold_groups));
        assert_true(t->engine->tell_groups_at == USEC_INFINITY);
        gate_open(1);
        gate_open(0);
        try_until(t, told.n_ends == 1);
        assert_in_range(told.n_changes, 2, 3);
}

/* ---- policy ---- */

static void the_first_error_cancels_the_rest(void **state) {
        static const char *const payloads[] = { TRY_GATE(0), TRY_STUBBORN(1), TRY_FAIL, "e4",
                "e5" };
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 3);
        JobGroup *group;

        /* Nobody else is there to wake the main thread. */
        engine_set_announce(t->engine, false);
        group = try_submit_group(t, pool, GROUP_FIRST_ERROR, payloads, ELEMENTSOF(payloads));
        /* The one that ignores it holds up the end. */
        try_until(t, group_n_done(&group->core) == 4);
        assert_false(group_is_finished(&group->core));
        gate_open(1);
        try_until(t, group_is_finished(&group->core));
        try_expect_member(t, group, 0, JOB_CANCELLED, "another job of its group failed");
        try_expect_member(t, group, 1, JOB_CANCELLED, "another job of its group failed");
        try_expect_member(t, group, 2, JOB_FAILED, "job 4 was to fail");
        assert_int_equal(group->core.n_failed + group->core.n_succeeded, 5);
}

static void the_first_error_is_heard_of_at_once(void **state) {
        const char *payloads[200];
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_several, 1);
        JobGroup *group;

        for (size_t i = 0; i < ELEMENTSOF(payloads); i++)
                payloads[i] = TRY_ECHO;
        payloads[10] = TRY_FAIL;
        payloads[150] = TRY_GATE(0);
        engine_set_announce(t->engine, false);
        try_pretend_short(pool);
        group = try_submit_group(t, pool, GROUP_FIRST_ERROR, payloads, ELEMENTSOF(payloads));
        /* The worker never becomes idle before the rest is cancelled, and nobody opens the gate. */
        try_until(t, group_is_finished(&group->core));
        assert_true(group->core.n_failed >= 2);
        try_expect_member(t, group, 10, JOB_FAILED, "job 12 was to fail");
        assert_int_equal(engine_group_job(t->engine, group, 150)->result, JOB_CANCELLED);
}

static void what_somebody_cancels_is_no_error(void **state) {
        static const char *const payloads[] = { TRY_GATE(0), "e", "e" };
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        JobGroup *group;

        group = try_submit_group(t, pool, GROUP_FIRST_ERROR, payloads, ELEMENTSOF(payloads));
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(pool_cancel(pool, engine_group_job(t->engine, group, 1)), CANCEL_FINISHED);
        assert_int_equal(pool_cancel(pool, engine_group_job(t->engine, group, 0)), CANCEL_ASKED);
        try_until(t, group_is_finished(&group->core));
        assert_int_equal(group->core.n_failed, 2);
        try_expect_member(t, group, 2, JOB_SUCCEEDED, "e");
}

static void on_swept(Sweep *sweep) {
        ((Try *) sweep->userdata)->n_done++;
}

static void a_cancel_is_of_this_group_alone(void **state) {
        static const char *const payloads[] = { TRY_GATE(0), "e", "e" };
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        JobGroup *before, *group, *after;

        before = try_submit_group(t, pool, GROUP_ALL, payloads, ELEMENTSOF(payloads));
        group = try_submit_group(t, pool, GROUP_ALL, payloads, ELEMENTSOF(payloads));
        (void) try_submit(t, pool, TRY_ECHO, 1);
        after = try_submit_group(t, pool, GROUP_ALL, payloads, ELEMENTSOF(payloads));
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(engine_cancel_group(t->engine, group, on_swept, t, NULL), 0);
        assert_int_equal(engine_cancel_group(t->engine, group, on_swept, t, NULL), 0);
        try_until(t, t->n_done == 2);
        try_until(t, group_is_finished(&group->core));
        assert_int_equal(group->core.n_failed, 3);
        try_expect_member(t, group, 1, JOB_CANCELLED, "its group was cancelled");
        assert_int_equal(engine_cancel_group(t->engine, group, on_swept, t, NULL), 1);
        gate_open(0);
        try_until(t, group_is_finished(&before->core) && group_is_finished(&after->core));
        assert_int_equal(before->core.n_succeeded, 3);
        assert_int_equal(after->core.n_succeeded, 3);
}

/* ---- retention ---- */

static void a_large_group_loses_no_result(void **state) {
        static const char *payloads[MANY];
        static char texts[MANY][8];
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_several, 2);
        JobGroup *group, *next;
        uint64_t id;
        Pool *pool;

        config->queue_max = 2 * MANY;
        config->result_retention_max = 10;
        pool = add_pool(t, config);
        engine_set_announce(t->engine, false);
        for (unsigned i = 0; i < MANY; i++) {
                (void) snprintf(texts[i], sizeof(texts[i]), "e%u", i);
                payloads[i] = i % 10 ? texts[i] : TRY_SILENT;
        }
        payloads[0] = TRY_GATE(0);
        group = try_submit_group(t, pool, GROUP_ALL, payloads, MANY);
        /* What others leave behind meanwhile does no harm. */
        (void) try_submit(t, pool, TRY_ECHO, 20000);
        try_until(t, t->engine->jobs.n_jobs == MANY + 10 && group_n_done(&group->core) == MANY - 1);
        gate_open(0);
        try_until(t, group_is_finished(&group->core));
        assert_int_equal(pool->n_retained, 10);
        assert_int_equal(group->core.n_failed, MANY / 10 - 1);
        try_expect_member(t, group, 0, JOB_SUCCEEDED, "");
        for (unsigned i = 1; i < MANY; i++)
                if (i % 10)
                        try_expect_member(t, group, i, JOB_SUCCEEDED, texts[i]);
                else
                        try_expect_member(t, group, i, JOB_FAILED, "failed without saying why");

        /* Nor is it one result too many among those of single jobs, but as the oldest of groups. */
        (void) try_submit(t, pool, TRY_ECHO, 1000);
        for (unsigned i = 0; i < 9; i++)
                next = try_submit_group(t, pool, GROUP_ALL, payloads, 1);
        try_until(t, group_is_finished(&next->core) && t->engine->jobs.n_jobs == MANY + 9 + 10);
        assert_ptr_equal(engine_find_group(t->engine, 1), group);
        next = try_submit_group(t, pool, GROUP_ALL, payloads, 1);
        id = next->id;
        try_until(t, !engine_find_group(t->engine, 1));
        assert_null(engine_find_job(t->engine, 2));
        assert_int_equal(pool->n_groups, 10);
        assert_int_equal(t->engine->jobs.n_jobs, 10 + 10);
        assert_ptr_equal(engine_find_group(t->engine, id), next);
}

static void groups_are_forgotten_with_age(void **state) {
        static const char *const payloads[] = { "e", TRY_BIG, TRY_FAIL };
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 2);
        Pool *pool;

        config->result_retention = USEC_PER_MSEC;
        pool = add_pool(t, config);
        (void) try_submit_group(t, pool, GROUP_ALL, payloads, ELEMENTSOF(payloads));
        (void) try_submit(t, pool, TRY_ECHO, 3);
        (void) try_submit_group(t, pool, GROUP_ALL, payloads, ELEMENTSOF(payloads));
        try_until(t, told.n_ends == 2 && t->n_finished == 9);
        try_until(t, pool->n_retained == 0 && pool->n_groups == 0);
        assert_null(t->engine->groups);
        assert_int_equal(t->engine->jobs.n_jobs, 0);
}

static void the_end_is_told_though_nothing_is_kept(void **state) {
        static const char *const payloads[] = { "e", TRY_FAIL };
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 2);
        Pool *pool;

        config->result_retention_max = 0;
        pool = add_pool(t, config);
        (void) try_submit_group(t, pool, GROUP_ALL, payloads, ELEMENTSOF(payloads));
        try_until(t, told.n_ends == 1);
        assert_null(t->engine->groups);
        assert_int_equal(t->engine->jobs.n_jobs, 0);
}

static void a_group_can_be_forgotten_by_hand(void **state) {
        static const char *const payloads[] = { "e", TRY_FAIL };
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 2);
        JobGroup *group;

        group = try_submit_group(t, pool, GROUP_ALL, payloads, ELEMENTSOF(payloads));
        (void) try_submit(t, pool, TRY_ECHO, 1);
        try_until(t, group_is_finished(&group->core) && t->n_finished == 3);
        assert_int_equal(pool->n_groups, 1);
        engine_forget_group(t->engine, group);
        assert_int_equal(pool->n_groups, 0);
        assert_int_equal(pool->n_retained, 1);
        assert_int_equal(t->engine->jobs.n_jobs, 1);
}

static void no_member_has_another_life(void **state) {
        static const char *const payloads[] = { TRY_FAIL, "e" };
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        JobGroup *group;
        uint64_t id;

        group = try_submit_group(t, pool, GROUP_ALL, payloads, ELEMENTSOF(payloads));
        id = try_submit(t, pool, TRY_FAIL, 1);
        try_until(t, t->n_finished == 3);
        assert_int_equal(engine_retry(t->engine, group->submission->first_id), RETRY_IN_GROUP);
        assert_int_equal(engine_retry(t->engine, group->submission->first_id + 1), RETRY_SUCCEEDED);
        t->several_lives = true;
        assert_int_equal(engine_kick(t->engine, pool, 10), 1);
        try_until(t, t->n_finished == 4);
        assert_int_equal(try_result(t, id), JOB_FAILED);
        try_expect_member(t, group, 0, JOB_FAILED, "job 2 was to fail");
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(an_empty_group_is_finished_at_once_and_told_later),
                TEST(an_empty_group_is_told_of_though_nothing_is_kept),
                TEST(a_group_ends_with_its_last_member),
                TEST(progress_is_told_before_the_end),
                TEST(the_first_error_cancels_the_rest),
                TEST(the_first_error_is_heard_of_at_once),
                TEST(what_somebody_cancels_is_no_error),
                TEST(a_cancel_is_of_this_group_alone),
                TEST(a_large_group_loses_no_result),
                TEST(groups_are_forgotten_with_age),
                TEST(the_end_is_told_though_nothing_is_kept),
                TEST(a_group_can_be_forgotten_by_hand),
                TEST(no_member_has_another_life),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
