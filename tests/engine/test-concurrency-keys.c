/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ConcurrencyKeys with real threads: order, bound, and that nobody is forgotten. */

#include "try.h"

#include <string.h>

static int set_up(void **state) {
        Try *t = malloc(sizeof(*t));

        assert_non_null(t);
        try_init(t);
        t->several_lives = true;
        *state = t;
        return 0;
}

static int tear_down(void **state) {
        try_done(*state);
        free(*state);
        return 0;
}

static Pool *make_pool(Try *t, const HandlerVTable *handler, uint32_t n_workers) {
        PoolConfig *config = try_config("p", handler, n_workers);
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        config->queue_max = 100000;
        config->run_timeout = USEC_INFINITY;
        config->max_attempts = 3;
        config->backoff = 0;
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        return pool;
}

static void configure(Try *t, Pool *pool, uint32_t key_concurrency, uint32_t batch_size) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;

        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->key_concurrency = key_concurrency;
        config->batch_size = batch_size;
        config->batch_timeout = 0;
        assert_int_equal(engine_set_pool(t->engine, pool, config), 0);
}

static uint64_t submit(Try *t, Pool *pool, const char *key, const char *payload, size_t n) {
        Submission *submission = try_submission();

        submission->concurrency_key = strdup(key);
        assert_non_null(submission->concurrency_key);
        return try_submit_with(t, pool, submission, payload, n);
}

static PoolView view_of(Pool *pool) {
        PoolView view;

        pool_view(pool, &view);
        return view;
}

static JobView job_view_of(Try *t, uint64_t id) {
        Job *job = engine_find_job(t->engine, id);
        JobView view;

        assert_non_null(job);
        pool_job_view(job_pool(job), job, &view);
        return view;
}

static uint64_t n_done(Pool *pool) {
        JobCounters counters = view_of(pool).counters;

        return counters.results[JOB_SUCCEEDED] + counters.results[JOB_FAILED];
}

/* The order in which attempts begin is told by the workers themselves. An attempt of another job of
 * the key between two of one job would be both out of order and too many at a time. */
static void begins_in_order(const HandlerVTable *handler, uint32_t batch_size) {
        enum { N_KEYS = 7, N_ROUNDS = 150 };
        static const char *const payloads[] = { TRY_ECHO, TRY_FAIL, TRY_FAIL_TIMES(2), TRY_FATAL };
        static uint64_t order[8 * N_KEYS * N_ROUNDS], last[N_KEYS];
        static uint8_t key_of[TRY_JOBS_MAX];
        uint64_t n_wanted = 0;
        size_t n;
        Try t;
        Pool *pool;

        try_init(&t);
        t.several_lives = true;
        memset(last, 0, sizeof(last));
        pool = make_pool(&t, handler, 4);
        configure(&t, pool, 1, batch_size);
        for (unsigned i = 0; i < N_KEYS * N_ROUNDS; i++) {
                unsigned k = i * i % N_KEYS, n_jobs = 1 + i % 3;
                char key[] = { (char) ('a' + k), '\0' };
                uint64_t id = submit(&t, pool, key, payloads[i % ELEMENTSOF(payloads)], n_jobs);

                memset(key_of + id, (int) k, n_jobs);
                n_wanted += n_jobs;
                engine_turn(t.engine);
        }
        try_until(&t, n_done(pool) == n_wanted);
        assert_true(view_of(pool).counters.retried > 0);

        n = try_order(order, ELEMENTSOF(order));
        assert_int_equal(n, n_wanted + view_of(pool).counters.retried);
        for (size_t i = 0; i < n; i++) {
                assert_true(order[i] >= last[key_of[order[i]]]);
                last[key_of[order[i]]] = order[i];
        }
        try_done(&t);
}

static void jobs_of_a_key_begin_in_order_whatever_fails(void **state) {
        begins_in_order(&try_singly, 1);
        begins_in_order(&try_several, 1);
        begins_in_order(&try_several, 5);
}

static void of_a_key_no_more_run_than_may(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 4);

        (void) submit(t, pool, "a", TRY_GATE(0), 5);
        (void) submit(t, pool, "b", TRY_GATE(1), 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        gate_wait_begun(1, 1);
        /* Two workers have nothing to do, and looking once more changes nothing. */
        assert_int_equal(view_of(pool).n_running, 2);
        assert_int_equal(view_of(pool).n_queued, 4);
        assert_string_equal(view_of(pool).pending_reason, "key");

        /* More is asked for at run time, and is there at once. */
        configure(t, pool, 3, 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 3);
        assert_int_equal(view_of(pool).n_running, 4);
        configure(t, pool, 1, 1);
        gate_open(0);
        gate_open(1);
        try_until(t, n_done(pool) == 6);
}

/* Gate 0 holds what has the key. */
static void a_job_that_waits_for_its_key_says_so(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 2);
        uint64_t id;

        id = submit(t, pool, "a", TRY_GATE(0), 3);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        for (uint64_t i = 1; i < 3; i++) {
                JobView view = job_view_of(t, id + i);

                assert_int_equal(view.state, JOB_QUEUED);
                assert_string_equal(view.pending_reason, "key");
                assert_int_equal(view.position, i + 1);
                assert_string_equal(view.concurrency_key, "a");
        }
        engine_pause_pool(t->engine, pool, true);
        assert_string_equal(job_view_of(t, id + 1).pending_reason, "paused");
        assert_string_equal(view_of(pool).pending_reason, "paused");
        engine_pause_pool(t->engine, pool, false);

        assert_int_equal(pool_cancel(pool, engine_find_job(t->engine, id + 1)), CANCEL_FINISHED);
        assert_int_equal(job_view_of(t, id + 2).position, 2);
        gate_open(0);
        try_until(t, view_of(pool).counters.results[JOB_SUCCEEDED] == 2);
}

/* One worker ends two jobs at a time and goes on with one: somebody has to come for the other. */
static void a_worker_that_frees_two_keys_has_another_one_woken(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 2);

        configure(t, pool, 1, 2);
        engine_pause_pool(t->engine, pool, true);
        (void) submit(t, pool, "a", TRY_GATE(0), 1);
        (void) submit(t, pool, "b", TRY_ECHO, 1);
        engine_pause_pool(t->engine, pool, false);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        (void) submit(t, pool, "a", TRY_GATE(1), 1);
        (void) submit(t, pool, "b", TRY_GATE(1), 1);
        configure(t, pool, 1, 1);
        engine_turn(t->engine);
        try_await(t, view_of(pool).n_busy == 1);

        gate_open(0);
        try_await(t, gate_n_begun(1) == 2);
        gate_open(1);
        try_until(t, n_done(pool) == 4);
}

/* The same where the worker leaves after it. */
static void a_worker_that_leaves_has_another_one_woken(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 2);
        PoolConfig *config;

        (void) try_submit(t, pool, TRY_GATE(0), 1);
        (void) submit(t, pool, "a", TRY_GATE(1), 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        gate_wait_begun(1, 1);
        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->min_workers = config->max_workers = 1;
        assert_int_equal(engine_set_pool(t->engine, pool, config), 0);
        pool_config_free(config);
        (void) submit(t, pool, "a", TRY_GATE(2), 1);
        engine_turn(t->engine);

        /* The first one to end its turn leaves, whichever that is. */
        gate_open(1);
        gate_open(0);
        try_await(t, gate_n_begun(2) == 1);
        gate_open(2);
        try_until(t, n_done(pool) == 3);
}

static void what_is_dropped_leaves_its_key_to_the_next(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 1);
        _cleanup_free_ char *error = NULL;
        Pool *pool;
        uint64_t id;

        config->queue_max = 2;
        config->overflow = OVERFLOW_DROP_OLDEST;
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        engine_pause_pool(t->engine, pool, true);
        id = submit(t, pool, "a", TRY_ECHO, 2);
        (void) submit(t, pool, "b", TRY_ECHO, 1);
        engine_pause_pool(t->engine, pool, false);
        try_until(t, n_done(pool) == 2);
        assert_int_equal(try_result(t, id), JOB_DROPPED);
        assert_int_equal(try_result(t, id + 1), JOB_SUCCEEDED);
}

static void a_kicked_job_has_its_key_again(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, &try_singly, 2);
        uint64_t id;

        id = submit(t, pool, "a", TRY_FATAL, 1);
        try_until(t, pool->n_retained == 1);
        (void) submit(t, pool, "a", TRY_GATE(0), 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(engine_kick(t->engine, pool, 10), 1);
        engine_turn(t->engine);
        assert_string_equal(job_view_of(t, id).pending_reason, "key");
        gate_open(0);
        try_until(t, view_of(pool).counters.results[JOB_FAILED] == 2);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(jobs_of_a_key_begin_in_order_whatever_fails),
                cmocka_unit_test_setup_teardown(of_a_key_no_more_run_than_may, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        a_job_that_waits_for_its_key_says_so, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        a_worker_that_frees_two_keys_has_another_one_woken, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        a_worker_that_leaves_has_another_one_woken, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        what_is_dropped_leaves_its_key_to_the_next, set_up, tear_down),
                cmocka_unit_test_setup_teardown(a_kicked_job_has_its_key_again, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
