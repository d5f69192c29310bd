/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each request for memory fails in turn, SQLite's and ours: then who may be refused is, all others
 * wait, nothing is half done, and nothing that is sound is taken for damaged. */

#include "scenario.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "util/log.h"

#define N_STEPS 8

static sqlite3_mem_methods real;
static atomic_uint n_left, n_more; /* requests until the first that fails, and after it */
static atomic_uint n_failed;

/* The linker puts these in place of the real functions in our own code (meson.build). */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool refuse(void) {
        unsigned n = atomic_load(&n_left);

        while (n > 0 && !atomic_compare_exchange_weak(&n_left, &n, n - 1))
                ;
        if (n != 1)
                return false;
        atomic_fetch_add(&n_failed, 1);
        if (atomic_load(&n_more) > 0) {
                atomic_fetch_sub(&n_more, 1);
                atomic_store(&n_left, 1);
        }
        return true;
}

static void fail_from(unsigned n, unsigned more) {
        atomic_store(&n_failed, 0);
        atomic_store(&n_more, more);
        atomic_store(&n_left, n);
}

static unsigned heal(void) {
        atomic_store(&n_more, 0);
        atomic_store(&n_left, 0);
        return atomic_load(&n_failed);
}

static void *sqlite_malloc(int size) {
        return refuse() ? NULL : real.xMalloc(size);
}

static void *sqlite_realloc(void *p, int size) {
        return refuse() ? NULL : real.xRealloc(p, size);
}

/* What the tests themselves ask for is not to fail. */
static _Thread_local bool is_ours = true;

void *__wrap_malloc(size_t size) {
        return !is_ours && refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
        return !is_ours && refuse() ? NULL : __real_calloc(n, size);
}

static void count(TryStore *t, uint64_t seed, const bool *refused, const char *what) {
        char *texts[N_STEPS + 1];
        _cleanup_free_ char *text = NULL;

        scenario_expect(seed, N_STEPS, texts, refused);
        try_open(t, /* start= */ false);
        text = try_dump(t);
        if (strcmp(text, texts[N_STEPS]) != 0)
                fail_msg("%s:\n%s\ninstead of\n%s", what, text, texts[N_STEPS]);
        for (unsigned i = 0; i <= N_STEPS; i++)
                free(texts[i]);
        try_close(t, true);
        assert_false(try_has_set_aside(t));
}

/* The changes of a step, one after the other: what becomes of each is told. */
static bool live(uint64_t seed, unsigned n, unsigned more) {
        bool refused[N_STEPS + 1] = {};
        Scenario scenario;
        unsigned n_fails;
        char what[64];
        TryStore t;

        (void) snprintf(what, sizeof(what), "seed %u, request %u", (unsigned) seed, n);
        try_init(&t);
        t.is_small = true;
        try_open(&t, /* start= */ true);
        scenario_begin(&scenario, &t, seed);
        fail_from(n, more);
        for (unsigned i = 1; i <= N_STEPS; i++) {
                bool orderly;
                int r;

                if (!scenario_step(&scenario, &orderly)) {
                        unsigned left = atomic_exchange(&n_left, 0);

                        try_close(&t, orderly);
                        try_open(&t, /* start= */ true);
                        atomic_store(&n_left, left);
                        continue;
                }
                r = try_wait(&t);
                assert_true(r == 0 || r == -ENOMEM);
                refused[i] = r < 0;
        }
        assert_false(store_has_failed(t.store));
        n_fails = heal();
        try_close(&t, true);
        count(&t, seed, refused, what);
        try_done(&t);
        return n_fails > 0;
}

static void a_change_without_memory_is_refused_or_waits(void **state) {
        for (uint64_t seed = 1; seed <= 4; seed++) {
                unsigned n = 1;

                for (; live(seed, n, 0); n += 1 + n / 32)
                        ;
                print_message("%u requests\n", n);
                assert_true(n > 10);
        }
        (void) state;
}

static void without_memory_for_a_while_nothing_is_lost(void **state) {
        for (unsigned n = 1; live(1, n, 20); n += 1 + n / 8)
                ;
        (void) state;
}

static void an_open_without_memory_fails_and_changes_nothing(void **state) {
        TryStore *t = *state;
        _cleanup_free_ char *before = NULL;
        unsigned n = 1;
        int r;

        try_open(t, false);
        try_submit(t, 30, 300);
        try_submit(t, 1, 1);
        try_object(t, "pool", "p", "a");
        try_close(t, true);
        try_open(t, false);
        before = try_dump(t);
        try_close(t, true);

        for (;; n += 1 + n / 64) {
                _cleanup_free_ char *text = NULL, *error = NULL;
                unsigned n_fails;

                is_ours = false;
                fail_from(n, 0);
                r = store_open(t->dir, 0, &t->store, &error);
                n_fails = heal();
                is_ours = true;
                if (r < 0) {
                        if (r != -ENOMEM)
                                fail_msg("request %u: %s: %s", n, strerror(-r), error);
                        t->store = NULL;
                        try_open(t, false);
                }
                text = try_dump(t);
                assert_string_equal(text, before);
                assert_false(try_has_set_aside(t));
                try_close(t, n % 2 == 0);
                if (n_fails == 0)
                        break;
        }
        print_message("%u requests\n", n);
        assert_true(n > 100);
}

static void a_reading_without_memory_can_be_repeated(void **state) {
        TryStore *t = *state;
        _cleanup_free_ char *before = NULL;
        TryChange *c;

        try_open(t, false);
        c = try_submission(t, 30, 9000);
        c->submission.tag = strdup("tag");
        c->submission.arguments = calloc(2, sizeof(char *));
        c->submission.arguments[0] = strdup("argument");
        try_post(t, c);
        try_object(t, "pool", "p", "a");
        try_end(t, 2, JOB_FAILED, "payload");
        mark_begun(store_take_sheet(t->store), 0, 1, 0, 1);
        try_close(t, false);
        try_open(t, false);
        before = try_dump(t);
        try_close(t, false);
        for (unsigned n = 1, n_fails = 1; n_fails > 0; n++) {
                _cleanup_free_ char *text = NULL;
                int r;

                try_open(t, false);
                is_ours = false;
                fail_from(n, 0);
                r = try_try_dump(t, &text);
                n_fails = heal();
                is_ours = true;
                assert_true(r == 0 || r == -ENOMEM);
                assert_false(store_has_failed(t->store));
                if (r < 0) {
                        free(text);
                        text = try_dump(t);
                }
                assert_string_equal(text, before);
                try_close(t, false);
        }
}

int main(void) {
        static sqlite3_mem_methods failing;
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_change_without_memory_is_refused_or_waits),
                cmocka_unit_test(without_memory_for_a_while_nothing_is_lost),
                try_test(an_open_without_memory_fails_and_changes_nothing),
                try_test(a_reading_without_memory_can_be_repeated),
        };

        assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real), SQLITE_OK);
        failing = real;
        failing.xMalloc = sqlite_malloc;
        failing.xRealloc = sqlite_realloc;
        assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &failing), SQLITE_OK);
        log_set_level(LOG_EMERG);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
