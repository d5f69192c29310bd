/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whatever the engine asks for can be refused: each request in turn is, and then nothing has
 * changed and nothing is lost. The linker puts these wrappers in place of the real functions
 * (meson.build names them). */

#include "try.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/lease.h"
#include "engine/submit-key.h"

/* Only what the main thread asks for between arm() and disarm() is counted. */
static _Thread_local unsigned n_left; /* requests until the one that fails; 0 = none does */
static _Thread_local bool has_failed;

/* Other threads get nothing at all while this is set. */
static atomic_bool starves_workers;
static _Thread_local bool is_main;

static bool refuse(void) {
        if (!is_main && atomic_load(&starves_workers)) {
                errno = ENOMEM;
                return true;
        }
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

#define WRAP(type, name, parameters, arguments, refusal)               \
        type __real_##name parameters;                                 \
        type __wrap_##name parameters;                                 \
        type __wrap_##name parameters {                                \
                return refuse() ? (refusal) : __real_##name arguments; \
        }

WRAP(void *, malloc, (size_t size), (size), NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL)
WRAP(void *, realloc, (void *p, size_t size), (p, size), NULL)
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size), NULL)
WRAP(void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size), NULL)
WRAP(char *, strdup, (const char *s), (s), NULL)
/* With 64-bit offsets, as Meson asks for, mmap() is called by this name. */
WRAP(void *, mmap64, (void *p, size_t size, int prot, int flags, int fd, off_t offset),
        (p, size, prot, flags, fd, offset), MAP_FAILED)
WRAP(int, eventfd, (unsigned n, int flags), (n, flags), -1)
WRAP(int, timerfd_create, (int clock, int flags), (clock, flags), -1)
WRAP(int, sd_event_add_io,
        (sd_event * event, sd_event_source **ret, int fd, uint32_t events,
                sd_event_io_handler_t callback, void *userdata),
        (event, ret, fd, events, callback, userdata), -ENOMEM)
WRAP(int, pthread_create,
        (pthread_t * thread, const pthread_attr_t *attr, void *(*start)(void *), void *userdata),
        (thread, attr, start, userdata), EAGAIN)

static int set_up(void **state) {
        Try *t = malloc(sizeof(*t));

        is_main = true;
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

static void on_finished(Submission *submission) {
        ((Try *) submission->userdata)->n_done++;
}

typedef struct Way {
        const char *name;
        bool bulk, borrow, group;
        usec_t delay, queue_timeout;
        bool has_key; /* one that the pool does not know yet */
        bool has_submit_key;
} Way;

static Submission *submission_of(Try *t, const Way *way, unsigned round) {
        Submission *submission = try_submission();

        /* Each round has an owner and a priority that the pool does not know yet. */
        submission->owner = round;
        submission->priority = (int16_t) (round % 1000);
        submission->bulk = way->bulk;
        submission->delay = way->delay;
        submission->queue_timeout = way->queue_timeout;
        if (way->has_key) {
                char key[16];

                (void) snprintf(key, sizeof(key), "key %u", round);
                submission->concurrency_key = strdup(key);
                assert_non_null(submission->concurrency_key);
        }
        if (way->has_submit_key) {
                assert_int_equal(submission_set_key(submission, "key"), 0);
                submission->key->as_one = true;
        }
        if (way->bulk) {
                submission->finished = on_finished;
                submission->userdata = t;
        }
        return submission;
}

static void a_submit_without_memory_changes_nothing(void **state) {
        enum { N = 5000 }; /* more than a page of the slab */
        static const Way ways[] = {
                { "borrowed", true, true, false, 0, USEC_INFINITY },
                { "copied", false, false, false, 0, USEC_INFINITY },
                { "delayed", true, true, false, USEC_PER_MSEC, USEC_PER_HOUR },
                { "keyed", true, true, false, 0, USEC_INFINITY, true },
                { "group", false, true, true, 0, USEC_INFINITY },
                { "with a Key", false, true, false, 0, USEC_INFINITY, false, true },
                { "group with a Key", false, true, true, 0, USEC_INFINITY, false, true },
        };
        static struct iovec payloads[N];
        char echo[] = TRY_ECHO;
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_several, 2);
        char *error = NULL;
        Pool *pool;

        config->fairness = FAIRNESS_USER;
        config->result_retention_max = 0;
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        engine_set_announce(t->engine, false);
        for (size_t i = 0; i < N; i++)
                payloads[i] = (struct iovec){ echo, 1 };

        for (size_t w = 0; w < ELEMENTSOF(ways); w++) {
                unsigned n_failures = 0;

                /* Every one of the first few, then in growing steps: most are alike. */
                for (unsigned n = 1;; n += 1 + n / 8) {
                        uint64_t next_id = t->engine->next_id;
                        Submission *submission = submission_of(t, &ways[w], 100 * (unsigned) w + n);
                        PoolView before, after;
                        int r;

                        pool_view(pool, &before);
                        arm(n);
                        r = ways[w].group ? engine_submit_group(t->engine, pool, NULL, submission,
                                                    GROUP_ALL, payloads, N, ways[w].borrow, 0)
                                          : engine_submit(t->engine, pool, submission, payloads, N,
                                                    ways[w].borrow, 0);
                        if (!disarm()) {
                                assert_int_equal(r, ADMIT_YES);
                                try_until(t, t->engine->jobs.n_jobs == 0);
                                break;
                        }
                        n_failures++;
                        assert_int_equal(r, -ENOMEM);
                        assert_int_equal(t->engine->next_id, next_id);
                        assert_int_equal(t->engine->jobs.n_jobs, 0);
                        assert_null(t->engine->groups);
                        assert_int_equal(t->engine->slab.n_objects, 0);
                        pool_view(pool, &after);
                        assert_memory_equal(
                                &before.counters, &after.counters, sizeof(before.counters));
                        assert_int_equal(after.n_queued + after.n_scheduled, 0);
                        submission_free(submission);
                        assert_null(t->engine->submit_keys);

                        /* The ids that it would have had are found when somebody gets them. */
                        (void) try_submit(t, pool, TRY_ECHO, 3);
                        assert_int_equal(job_table_after(&t->engine->jobs, 0)->id, next_id);
                        try_until(t, t->engine->jobs.n_jobs == 0);
                }
                print_message("%s: %u failures\n", ways[w].name, n_failures);
                assert_true(n_failures >= 5);
        }
}

static void a_pool_that_cannot_be_made_leaves_the_callers_config(void **state) {
        Try *t = *state;
        unsigned n = 0;

        for (;;) {
                PoolConfig *config = try_config("p", &try_singly, 2);
                char *error = NULL;
                Pool *pool = NULL;
                bool failed;
                int r;

                arm(++n);
                r = engine_add_pool(t->engine, config, &pool, &error);
                failed = disarm();
                free(error);
                if (r < 0) {
                        assert_true(failed);
                        assert_null(engine_find_pool(t->engine, "p"));
                        assert_int_equal(t->n_pools_added, t->n_pools_removed);
                        pool_config_free(config);
                        continue;
                }
                /* With one worker of two it is a pool that works. */
                (void) try_submit(t, pool, TRY_ECHO, 5);
                try_until(t, pool->n_retained == 5);
                assert_int_equal(engine_remove_pool(t->engine, pool, true, NULL), 0);
                try_until(t, t->n_pools_removed == t->n_pools_added);
                if (!failed)
                        break;
        }
        assert_true(n > 10);
}

static void other_calls_without_memory_can_be_made_again(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_several, 1);
        JobFilter filter = {
                .pool = pool,
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .waiting = true,
                .tag = "none",
        };
        Job *job;
        uint64_t id;
        int r;

        engine_pause_pool(t->engine, pool, true);
        id = try_submit(t, pool, TRY_ECHO, 10);
        job = engine_find_job(t->engine, id);

        for (unsigned n = 1;; n++) {
                arm(n);
                r = pool_set_priority(pool, job, (int16_t) (100 + n));
                if (!disarm())
                        break;
                assert_int_equal(r, -ENOMEM);
                assert_int_equal(job->priority, 0);
        }
        assert_int_equal(r, 0);
        for (unsigned n = 1;; n++) {
                arm(n);
                r = engine_sweep(t->engine, &filter, NULL, NULL, NULL, NULL);
                if (!disarm())
                        break;
                assert_int_equal(r, -ENOMEM);
                assert_true(list_is_empty(&t->engine->sweeps));
        }
        for (unsigned n = 1;; n++) {
                arm(n);
                r = engine_remove_pool(t->engine, pool, true, NULL);
                if (!disarm())
                        break;
                assert_int_equal(r, -ENOMEM);
                assert_false(pool->removing);
        }
        try_until(t, t->n_pools_removed == 1);
        assert_int_equal(t->n_finished, 10);
}

static void a_batch_without_memory_is_smaller_or_fails(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 1);
        char *error = NULL;
        size_t sizes[8];
        Pool *pool;

        config->batch_size = 200;
        config->batch_timeout = USEC_PER_HOUR;
        /* From its first turn on, in which it makes room for a batch. */
        atomic_store(&starves_workers, true);
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        /* Who waits hears of it without a note. */
        (void) try_submit_bulk(t, pool, TRY_ECHO, 200);
        try_until(t, t->n_finished == TURN_JOBS_MAX);
        atomic_store(&starves_workers, false);
        assert_int_equal(try_batches(sizes, ELEMENTSOF(sizes)), 0);
        for (uint64_t id = 1; id <= TURN_JOBS_MAX; id++)
                assert_int_equal(t->jobs[id].result, JOB_FAILED);

        (void) try_submit(t, pool, TRY_ECHO, TURN_JOBS_MAX);
        try_until(t, t->n_finished == 200 + TURN_JOBS_MAX);
        assert_int_equal(try_batches(sizes, ELEMENTSOF(sizes)), 1);
        assert_int_equal(sizes[0], 200);
}

static void a_pool_of_leases_that_cannot_be_made_leaves_nothing(void **state) {
        Try *t = *state;
        unsigned n = 0;
        bool failed;

        do {
                PoolConfig *config = try_config("p", handler_find("lease"), 2);
                char *error = NULL;
                Pool *pool = NULL;
                int r;

                arm(++n);
                r = engine_add_pool(t->engine, config, &pool, &error);
                failed = disarm();
                free(error);
                if (r < 0) {
                        assert_true(failed);
                        pool_config_free(config);
                        continue;
                }
                assert_int_equal(engine_remove_pool(t->engine, pool, true, NULL), 0);
                try_until(t, t->n_pools_removed == t->n_pools_added);
        } while (failed);
        assert_true(n > 10);
}

static void on_stopping(LeaseHolder *holder, Pool *pool, const Lease *lease, const char *reason) {
}

/* Leases what there is, if it is there, and ends it well. */
static void complete_one(Pool *pool, LeaseHolder *holder) {
        Lease *const *leases;

        if (lease_take(pool, holder, 1, &leases) == 1)
                assert_int_equal(
                        lease_complete(pool, holder, leases[0]->id, leases[0]->token, true, "x", 1),
                        LEASE_DONE);
}

static void no_job_is_lost_where_a_lease_ends_without_memory(void **state) {
        enum { COMPLETE, FAIL, RELEASE, GIVE_BACK, GONE, N_ENDS };
        Try *t = *state;
        Pool *pool = try_pool(t, "p", handler_find("lease"), 2);
        LeaseHolder holder = { .stopping = on_stopping };

        t->several_lives = true;
        list_init(&holder.leases);
        engine_turn(t->engine);
        for (int end = 0; end < N_ENDS; end++) {
                bool failed;
                unsigned n = 0;

                do {
                        uint64_t id = try_submit(t, pool, TRY_ECHO, 1), token;
                        Lease *const *leases;
                        int r = LEASE_DONE;

                        assert_int_equal(lease_take(pool, &holder, 1, &leases), 1);
                        token = leases[0]->token;
                        arm(++n);
                        switch (end) {
                        case COMPLETE:
                                r = lease_complete(pool, &holder, id, token, true, "abc", 3);
                                break;
                        case FAIL:
                                r = (int) lease_fail(pool, &holder, id, token, false, "no");
                                break;
                        case RELEASE:
                                r = (int) lease_release(pool, &holder, id, token, 0);
                                break;
                        case GIVE_BACK:
                                lease_give_back(leases[0]);
                                break;
                        default:
                                lease_holder_gone(&holder);
                                break;
                        }
                        failed = disarm();
                        if (r == -ENOMEM) {
                                /* Nothing has changed. */
                                assert_int_equal(end, COMPLETE);
                                assert_true(failed);
                                assert_int_equal(
                                        lease_complete(pool, &holder, id, token, true, "abc", 3),
                                        LEASE_DONE);
                        }
                        assert_true(list_is_empty(&holder.leases));
                        engine_turn(t->engine);
                        while (try_state(t, id) != JOB_FINISHED) {
                                complete_one(pool, &holder);
                                engine_turn(t->engine);
                        }
                        try_assert_adds_up(pool);
                } while (failed);
                assert_true(n > 1);
        }
}

static void an_engine_that_cannot_be_made_leaves_nothing(void **state) {
        sd_event *event;
        Engine *engine;
        int r;

        assert_int_equal(sd_event_new(&event), 0);
        for (unsigned n = 1;; n++) {
                arm(n);
                r = engine_new(event, &engine);
                if (!disarm())
                        break;
                assert_int_equal(r, -ENOMEM);
        }
        assert_int_equal(r, 0);
        engine_free(engine);
        sd_event_unref(event);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(a_submit_without_memory_changes_nothing),
                TEST(a_pool_that_cannot_be_made_leaves_the_callers_config),
                TEST(other_calls_without_memory_can_be_made_again),
                TEST(a_batch_without_memory_is_smaller_or_fails),
                TEST(a_pool_of_leases_that_cannot_be_made_leaves_nothing),
                TEST(no_job_is_lost_where_a_lease_ends_without_memory),
                cmocka_unit_test(an_engine_that_cannot_be_made_leaves_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
