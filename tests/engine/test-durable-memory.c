/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Durable jobs where memory is short: each request of main for memory in turn is refused, in the
 * life of an engine with a store and at the start of the next. Whatever was accepted is there in
 * the end, and whatever has ended stays so. */

#include "try.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/durable.h"
#include "engine/engine-private.h"

/* Only what the main thread asks for between arm() and disarm() is counted. */
static _Thread_local unsigned n_left; /* requests until the one that fails; 0 = none does */
static _Thread_local bool has_failed;

static bool refuse(void) {
        if (n_left == 0 || --n_left > 0)
                return false;
        has_failed = true;
        errno = ENOMEM;
        return true;
}

static void arm(unsigned n) {
        n_left = n;
        has_failed = false;
}

static bool disarm(void) {
        n_left = 0;
        return has_failed;
}

#define WRAP(type, name, parameters, arguments)                   \
        type __real_##name parameters;                            \
        type __wrap_##name parameters;                            \
        type __wrap_##name parameters {                           \
                return refuse() ? NULL : __real_##name arguments; \
        }

WRAP(void *, malloc, (size_t size), (size))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t size), (p, size))
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAP(char *, strdup, (const char *s), (s))

#define ACCEPTED_MAX 64

typedef struct Life {
        Try t;
        Store *store;
        Pool *pool, *first, *second;
        PoolPipeline *line;
} Life;

typedef struct Accepted {
        uint64_t id;
        JobResult told; /* or _JOB_RESULT_INVALID */
} Accepted;

typedef struct Test {
        char dir[64];
        Accepted accepted[ACCEPTED_MAX];
        size_t n;
} Test;

static int set_up(void **state) {
        Test *test = calloc(1, sizeof(*test));

        assert_non_null(test);
        *state = test;
        return 0;
}

static int tear_down(void **state) {
        free(*state);
        return 0;
}

static void make_dir(Test *test) {
        (void) snprintf(test->dir, sizeof(test->dir), "%s/test-durable.XXXXXX",
                getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        assert_non_null(mkdtemp(test->dir));
        test->n = 0;
}

static void remove_dir(Test *test) {
        DIR *dir = opendir(test->dir);
        struct dirent *entry;

        assert_non_null(dir);
        while ((entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
        (void) closedir(dir);
        assert_int_equal(rmdir(test->dir), 0);
}

/* ---- lives ---- */

static Pool *add_pool(Life *life, const char *name) {
        PoolConfig *config = try_config(name, &try_singly, 1);
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        config->durable = true;
        config->max_attempts = 3;
        config->backoff = 0;
        assert_int_equal(engine_add_pool(life->t.engine, config, &pool, &error), 0);
        return pool;
}

/* What engine_recover() says, of which request number `n` of memory fails. */
static int life_try_begin(Life *life, const Test *test, unsigned n, bool *ret_failed) {
        _cleanup_free_ char *error = NULL;
        int r;

        *life = (Life){};
        try_init(&life->t);
        life->t.several_lives = true;
        assert_int_equal(store_open(test->dir, 0, &life->store, &error), 0);
        assert_int_equal(engine_open_store(life->t.engine, life->store), 0);
        life->pool = add_pool(life, "p");
        life->first = add_pool(life, "a");
        life->second = add_pool(life, "b");
        life->line =
                try_pipeline(&life->t, "line", (Pool *[]){ life->first, life->second }, 2, 100);
        arm(n);
        r = engine_recover(life->t.engine);
        *ret_failed = disarm();
        return r;
}

static void life_begin(Life *life, const Test *test) {
        bool failed;

        assert_int_equal(life_try_begin(life, test, 0, &failed), 0);
}

static bool is_all_over(Life *life) {
        return pool_has_no_jobs(life->pool) && pool_has_no_jobs(life->first) &&
               pool_has_no_jobs(life->second) && life->line->pipeline.n_in_flight == 0 &&
               mailbox_is_empty(&life->t.engine->mailbox) && engine_is_stored(life->t.engine);
}

/* As the daemon ends: nothing goes from the disk. */
static void life_end(Life *life) {
        Try *t = &life->t;

        for (unsigned i = 0; i < TRY_GATES; i++)
                gate_open(i);
        engine_shut_down(t->engine);
        engine_dismiss(t->engine);
        try_until(t, list_is_empty(&t->engine->pools));
        engine_close_store(t->engine);
        life->store = store_close(life->store, /* orderly= */ true);
        try_done(t);
}

/* ---- what is done in one ---- */

static Test *current;

static void on_stored(Submission *submission, int r) {
        if (r < 0)
                return;
        for (uint32_t i = 0; i < submission->n_total; i++) {
                assert_true(current->n < ACCEPTED_MAX);
                current->accepted[current->n++] =
                        (Accepted){ submission->first_id + i, _JOB_RESULT_INVALID };
        }
}

/* Turns of the loop with memory, but for the request that fails. */
static void turn_until_stored(Life *life) {
        try_until(&life->t,
                mailbox_is_empty(&life->t.engine->mailbox) && engine_is_stored(life->t.engine));
}

typedef enum Way { SINGLE, MANY, GROUP, ITEMS, DELAYED, KEYED, N_WAYS } Way;

static void submit(Life *life, Way way, const char *payload) {
        Engine *engine = life->t.engine;
        struct iovec payloads[3] = {};
        size_t n = way == MANY || way == GROUP ? 3 : 1;
        Submission *submission;
        unsigned left = n_left;
        int r;

        /* Those of the caller are not what this is about. */
        n_left = 0;
        submission = try_submission();
        if (way == KEYED)
                submission->concurrency_key = strdup("key");
        n_left = left;
        if (way == DELAYED)
                submission->delay = USEC_PER_MSEC;
        submission->stored = on_stored;
        for (size_t i = 0; i < n; i++)
                payloads[i] = (struct iovec){ (void *) payload, strlen(payload) };
        if (way == GROUP)
                r = engine_submit_group(engine, life->pool, NULL, submission, GROUP_ALL, payloads,
                        n, /* borrow= */ false, 0);
        else if (way == ITEMS)
                r = engine_submit_items(
                        engine, life->line, submission, payloads, n, /* borrow= */ false, 0);
        else
                r = engine_submit(
                        engine, life->pool, submission, payloads, n, /* borrow= */ false, 0);
        if (r == ADMIT_YES)
                return;
        assert_int_equal(r, -ENOMEM);
        submission_free(submission);
}

static void do_things(Life *life) {
        Job *job;

        for (Way way = 0; way < N_WAYS; way++)
                submit(life, way, way == ITEMS ? TRY_PASS "e" : TRY_ECHO);
        submit(life, SINGLE, TRY_FAIL_TIMES(2));
        submit(life, SINGLE, TRY_FATAL);
        turn_until_stored(life);
        engine_pause_pool(life->t.engine, life->pool, true);
        submit(life, MANY, TRY_ECHO);
        turn_until_stored(life);
        for (size_t i = 0; i < current->n; i++) {
                job = engine_find_job(life->t.engine, current->accepted[i].id);
                assert_non_null(job);
                if (i % 3 == 0)
                        (void) engine_set_priority(life->t.engine, job, (int16_t) i);
                if (i % 5 == 4)
                        (void) pool_cancel(job_pool(job), job);
        }
        engine_pause_pool(life->t.engine, life->pool, false);
        try_until(&life->t, is_all_over(life));
        (void) engine_kick(life->t.engine, life->pool, 10);
        turn_until_stored(life);
}

static void note_ends(Life *life) {
        for (size_t i = 0; i < current->n; i++) {
                Job *job = engine_find_job(life->t.engine, current->accepted[i].id);
                JobView view;

                assert_non_null(job);
                pool_job_view(job_pool(job), job, &view);
                if (current->accepted[i].told != _JOB_RESULT_INVALID)
                        assert_int_equal(view.result, current->accepted[i].told);
                if (view.state == JOB_FINISHED)
                        current->accepted[i].told = view.result;
        }
}

static void what_is_accepted_stays_whatever_there_was_no_memory_for(void **state) {
        Test *test = current = *state;
        unsigned n_failures = 0;
        bool failed;

        for (unsigned n = 1;; n++) {
                Life life;

                make_dir(test);
                life_begin(&life, test);
                arm(n);
                do_things(&life);
                failed = disarm();
                n_failures += failed;
                note_ends(&life);
                life_end(&life);

                life_begin(&life, test);
                note_ends(&life);
                try_until(&life.t, is_all_over(&life));
                note_ends(&life);
                for (size_t i = 0; i < test->n; i++)
                        assert_int_not_equal(test->accepted[i].told, _JOB_RESULT_INVALID);
                life_end(&life);
                remove_dir(test);
                if (!failed)
                        break;
        }
        print_message("%u failures\n", n_failures);
        assert_true(n_failures > 20);
}

static void a_start_without_memory_can_be_tried_again(void **state) {
        Test *test = current = *state;
        unsigned n_failures = 0;
        bool failed;
        Life life;

        make_dir(test);
        life_begin(&life, test);
        do_things(&life);
        engine_pause_pool(life.t.engine, life.pool, true);
        for (Way way = 0; way < N_WAYS; way++)
                if (way != ITEMS)
                        submit(&life, way, TRY_ECHO);
        turn_until_stored(&life);
        note_ends(&life);
        life_end(&life);

        for (unsigned n = 1;; n++) {
                int r;

                r = life_try_begin(&life, test, n, &failed);
                assert_true(r == 0 || (r == -ENOMEM && failed));
                n_failures += r < 0;
                if (r == 0) {
                        if (!failed)
                                break;
                        engine_pause_pool(life.t.engine, life.pool, true);
                        note_ends(&life);
                }
                life_end(&life);
        }
        note_ends(&life);
        try_until(&life.t, is_all_over(&life));
        for (size_t i = 0; i < test->n; i++)
                assert_non_null(engine_find_job(life.t.engine, test->accepted[i].id));
        life_end(&life);
        remove_dir(test);
        print_message("%u failures\n", n_failures);
        assert_true(n_failures > 20);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(what_is_accepted_stays_whatever_there_was_no_memory_for),
                TEST(a_start_without_memory_can_be_tried_again),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
