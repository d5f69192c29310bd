/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A pool of real coprocesses: children that are killed at any moment, stops, and workers that come
 * and go. Whatever happens, each job has one result, its own, and no child is left. */

#include "try.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "engine/worker.h"

#define N_KILLS 1000
#define N_WORKERS 8

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
        assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
        assert_int_equal(errno, ECHILD);
        return 0;
}

static Pool *coprocess_pool(Try *t, uint32_t n_workers, uint32_t max_attempts) {
        PoolConfig *config = try_config("p", &coprocess_vtable, n_workers);
        _cleanup_free_ char *error = NULL, *program = NULL;
        Pool *pool;

        assert_true(asprintf(&program, "%s/tests/handler/coprocess-child",
                            getenv("SLUICE_BUILD_ROOT")) > 0);
        config->min_workers = n_workers;
        config->max_attempts = max_attempts;
        config->backoff = USEC_PER_MSEC;
        config->backoff_max = 10 * USEC_PER_MSEC;
        config->result_retention_max = 1000000;
        assert_int_equal(
                pool_config_set_in_section(config, "Command", "ExecStart", program, &error), 0);
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        return pool;
}

/* The parent of a process; 0 if it is gone. */
static pid_t parent_of(pid_t pid) {
        char path[64], state;
        int parent = 0;
        FILE *f;

        (void) snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
        f = fopen(path, "re");
        if (!f)
                return 0;
        if (fscanf(f, "%*d (%*[^)]) %c %d", &state, &parent) != 2 || state == 'Z')
                parent = 0;
        (void) fclose(f);
        return parent;
}

/* The children that are alive. */
static size_t list_children(pid_t *ret, size_t max) {
        DIR *proc = opendir("/proc");
        struct dirent *d;
        size_t n = 0;

        assert_non_null(proc);
        while ((d = readdir(proc)) && n < max) {
                pid_t pid = (pid_t) strtol(d->d_name, NULL, 10);

                if (pid > 0 && parent_of(pid) == getpid())
                        ret[n++] = pid;
        }
        (void) closedir(proc);
        return n;
}

static size_t n_children(void) {
        pid_t pids[64];

        return list_children(pids, ELEMENTSOF(pids));
}

/* Submits "job N" for the next n numbers; returns the first id. */
static uint64_t submit_numbered(Try *t, Pool *pool, unsigned n) {
        uint64_t first = t->engine->next_id;

        for (unsigned i = 0; i < n; i++) {
                char payload[32];

                (void) snprintf(payload, sizeof(payload), "job %u", (unsigned) (first + i));
                assert_int_equal(try_submit(t, pool, payload, 1), first + i);
        }
        return first;
}

static void assert_answered(Try *t, uint64_t id) {
        const Job *job = engine_find_job(t->engine, id);
        char expected[32];

        assert_non_null(job);
        assert_int_equal(job->state, JOB_FINISHED);
        assert_int_equal(try_result(t, id), JOB_SUCCEEDED);
        (void) snprintf(expected, sizeof(expected), "JOB %u", (unsigned) id);
        assert_int_equal(job->size, strlen(expected));
        assert_memory_equal(job->data, expected, job->size);
}

static void no_job_is_lost_or_mixed_up_with_children_killed_at_random(void **state) {
        Try *t = *state;
        Pool *pool = coprocess_pool(t, N_WORKERS, 1000);
        unsigned n_jobs = 0, n_kills = 0, seed = 1;

        t->several_lives = true;
        while (n_kills < N_KILLS) {
                pid_t pids[2 * N_WORKERS];
                size_t n;

                (void) submit_numbered(t, pool, 20);
                n_jobs += 20;
                engine_turn(t->engine);
                n = list_children(pids, ELEMENTSOF(pids));
                assert_true(n <= N_WORKERS);
                if (n > 0 && kill(pids[(size_t) rand_r(&seed) % n], SIGKILL) == 0)
                        n_kills++;
                try_until(t, t->n_finished + 200 >= n_jobs);
        }
        try_until(t, t->n_finished == n_jobs);
        for (uint64_t id = 1; id <= n_jobs; id++)
                assert_answered(t, id);
        assert_int_equal(t->n_finished, n_jobs);
        try_assert_adds_up(pool);
}

static void a_running_job_is_cancelled_with_its_child(void **state) {
        Try *t = *state;
        Pool *pool = coprocess_pool(t, 1, 3);

        for (unsigned i = 0; i < 5; i++) {
                uint64_t id = try_submit(t, pool, "nothing", 1);

                try_until(t, try_state(t, id) == JOB_RUNNING);
                try_await(t, n_children() == 1);
                assert_int_equal(pool_cancel(pool, engine_find_job(t->engine, id)), CANCEL_ASKED);
                try_until(t, t->n_finished == 2 * i + 1);
                assert_int_equal(try_result(t, id), JOB_CANCELLED);
                assert_int_equal(n_children(), 0);
                id = submit_numbered(t, pool, 1);
                try_until(t, t->n_finished == 2 * i + 2);
                assert_answered(t, id);
        }
}

static void a_job_without_an_answer_times_out(void **state) {
        Try *t = *state;
        Pool *pool = coprocess_pool(t, 1, 1);
        Submission *submission = try_submission();
        uint64_t id, next;

        submission->run_timeout = 20 * USEC_PER_MSEC;
        id = try_submit_with(t, pool, submission, "half", 1);
        next = submit_numbered(t, pool, 1);
        try_until(t, t->n_finished == 2);
        assert_int_equal(try_result(t, id), JOB_TIMED_OUT);
        assert_answered(t, next);
}

static void what_fails_is_tried_again_as_the_pool_says(void **state) {
        Try *t = *state;
        Pool *pool = coprocess_pool(t, 1, 2);
        uint64_t id;
        PoolView view;

        t->several_lives = true;
        id = try_submit(t, pool, "exit 4", 1);
        (void) try_submit(t, pool, "garbage", 1);
        try_until(t, t->n_finished == 2);
        assert_int_equal(try_result(t, id), JOB_FAILED);
        assert_int_equal(try_result(t, id + 1), JOB_FAILED);
        pool_view(pool, &view);
        assert_int_equal(view.counters.retried, 2);
        id = submit_numbered(t, pool, 1);
        try_until(t, t->n_finished == 3);
        assert_answered(t, id);
}

static void resize(Try *t, Pool *pool, uint32_t n_workers) {
        PoolConfig *config;

        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->min_workers = config->max_workers = n_workers;
        assert_int_equal(engine_set_pool(t->engine, pool, config), 0);
        pool_config_free(config);
}

static void a_worker_that_leaves_takes_its_child_with_it(void **state) {
        static const uint32_t sizes[] = { 8, 2, 5, 1, 3 };
        Try *t = *state;
        Pool *pool = coprocess_pool(t, 1, 1);
        unsigned n_jobs = 0;

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                (void) submit_numbered(t, pool, 500);
                n_jobs += 500;
                resize(t, pool, sizes[i]);
                try_until(t, pool->n_threads == sizes[i] && t->n_finished == n_jobs);
                try_until(t, n_children() <= sizes[i]);
        }
        for (uint64_t id = 1; id <= n_jobs; id++)
                assert_answered(t, id);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(no_job_is_lost_or_mixed_up_with_children_killed_at_random),
                TEST(a_running_job_is_cancelled_with_its_child),
                TEST(a_job_without_an_answer_times_out),
                TEST(what_fails_is_tried_again_as_the_pool_says),
                TEST(a_worker_that_leaves_takes_its_child_with_it),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
