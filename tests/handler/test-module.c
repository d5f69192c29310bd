/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <zlib.h>

#include "handler/handler.h"
#include "try.h"
#include "util/fd.h"

/* A path in the build folder; valid until the next call. */
static const char *built(const char *relative) {
        static char path[4096];

        (void) snprintf(path, sizeof(path), "%s/%s", getenv("SLUICE_BUILD_ROOT"), relative);
        return path;
}

static Handler *open_module(const char *path, const char *options) {
        HandlerConfig config = {
                .pool = "pool",
                .module_path = (char *) path,
                .module_options = (char *) options,
        };
        Handler *handler = NULL;
        char *error = NULL;
        int r;

        r = module_vtable.open(&config, &handler, &error);
        if (r < 0)
                fail_msg("%s", error);
        return handler;
}

/* Opening fails with `r`, and the text has `part` in it. */
static void assert_refused(const char *path, const char *options, int expect, const char *part) {
        HandlerConfig config = {
                .pool = "pool",
                .module_path = (char *) path,
                .module_options = (char *) options,
        };
        _cleanup_free_ char *error = NULL;
        Handler *handler = NULL;

        assert_int_equal(module_vtable.open(&config, &handler, &error), expect);
        assert_null(handler);
        assert_non_null(error);
        if (!strstr(error, part))
                fail_msg("\"%s\" does not say \"%s\"", error, part);
}

static void run(Handler *handler, Try *try) {
        module_vtable.run(handler, NULL, &try->attempt);
}

static void echo_gives_the_payload_back(void **state) {
        static const char *const payloads[] = { "", "x", "sixteen bytes ..", "a longer payload" };
        Handler *handler = open_module(built("src/modules/echo.so"), "");

        for (size_t i = 0; i < ELEMENTSOF(payloads); i++) {
                Try try;

                try_init(&try, payloads[i], strlen(payloads[i]));
                run(handler, &try);
                assert_output(&try, payloads[i], strlen(payloads[i]));
                try_done(&try);
        }
        module_vtable.close(handler);
}

static void *no_memory(Attempt *attempt, size_t size) {
        return NULL;
}

static void module_without_memory_asks_for_another_attempt(void **state) {
        Handler *handler = open_module(built("src/modules/echo.so"), "");
        Try try;

        try_init(&try, "x", 1);
        try.attempt.output_alloc = no_memory;
        run(handler, &try);
        assert_failed(&try, OUTCOME_RETRY, "the module echo gave no reason");
        assert_int_equal(try.attempt.output_size, 0);
        try_done(&try);
        module_vtable.close(handler);
}

static void bare_names_are_found_in_the_module_path(void **state) {
        char folders[5000];
        Handler *handler;

        (void) snprintf(folders, sizeof(folders), "relative::/nowhere:%s", built("src/modules"));
        assert_int_equal(setenv("SLUICE_MODULE_PATH", folders, 1), 0);
        handler = open_module("echo.so", NULL);
        module_vtable.close(handler);

        assert_refused("missing.so", "", -ENOEXEC, "Path=missing.so: there is no missing.so in /");
        assert_int_equal(unsetenv("SLUICE_MODULE_PATH"), 0);
        assert_refused("../echo.so", "", -EINVAL, "neither an absolute path nor");
        assert_refused("", "", -EINVAL, "neither an absolute path nor");
        assert_refused(NULL, "", -EINVAL, "Path= is missing");
        assert_refused("/nowhere/echo.so", "", -ENOEXEC, "No such file");
}

static void what_is_no_plugin_for_this_daemon_is_refused(void **state) {
        static const struct {
                const char *file, *error;
        } rows[] = {
                { "tests/handler/wrong-abi.so", "made for version 2 of the plug-in interface" },
                { "tests/handler/too-small.so", "has a sluice_module of only" },
                { "tests/handler/no-symbol.so", "exports no sluice_module" },
                { "tests/handler/nothing-to-do.so", "neither process() nor process_batch()" },
                { "build-config.h", "invalid ELF header" },
                { "src/modules", "not a regular file" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                assert_refused(built(rows[i].file), "", -ENOEXEC, rows[i].error);
}

static void module_with_batches_only_gets_batches_of_one(void **state) {
        Handler *handler = open_module(built("tests/handler/batch-only.so"), "");
        Try try;

        try_init(&try, "x", 1);
        run(handler, &try);
        assert_output(&try, "1", 1);
        try_done(&try);
        module_vtable.close(handler);
}

/* A batch of what the payloads say. */
typedef struct Batch {
        Try tries[8];
        Attempt *attempts[8];
        size_t n;
} Batch;

static void batch_init(Batch *batch, const char *const *payloads) {
        *batch = (Batch){};
        for (; payloads[batch->n]; batch->n++) {
                Try *try = &batch->tries[batch->n];

                try_init(try, payloads[batch->n], strlen(payloads[batch->n]));
                batch->attempts[batch->n] = &try->attempt;
        }
}

static void batch_done(Batch *batch) {
        for (size_t i = 0; i < batch->n; i++)
                try_done(&batch->tries[i]);
}

#define PAYLOADS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void each_job_of_a_batch_has_a_verdict_of_its_own(void **state) {
        Handler *handler = open_module(built("tests/handler/batch-odd.so"), "");
        Batch batch;

        batch_init(
                &batch, PAYLOADS("0", "-", "1", "1 with a text", "2", "3", "9", "0 with a text"));
        module_vtable.run_batch(handler, NULL, batch.attempts, batch.n);
        assert_output(&batch.tries[0], NULL, 0);
        assert_failed(&batch.tries[1], OUTCOME_FAILURE,
                "the module batch-odd gave no verdict on this job");
        assert_failed(&batch.tries[2], OUTCOME_FAILURE, "the module batch-odd gave no reason");
        assert_failed(&batch.tries[3], OUTCOME_FAILURE, "said why");
        assert_failed(&batch.tries[4], OUTCOME_FATAL, "the module batch-odd gave no reason");
        assert_failed(&batch.tries[5], OUTCOME_RETRY, "the module batch-odd gave no reason");
        assert_failed(&batch.tries[6], OUTCOME_FAILURE, "the module batch-odd gave no reason");
        assert_output(&batch.tries[7], NULL, 0);
        batch_done(&batch);
        module_vtable.close(handler);
}

static void one_stopped_job_of_a_batch_is_seen_as_that(void **state) {
        Handler *handler = open_module(built("tests/handler/batch-odd.so"), "");
        Batch batch;

        batch_init(&batch, PAYLOADS("s", "s", "s"));
        try_stop(&batch.tries[1]);
        module_vtable.run_batch(handler, NULL, batch.attempts, batch.n);
        assert_output(&batch.tries[0], NULL, 0);
        assert_int_equal(batch.tries[1].attempt.outcome, OUTCOME_FATAL);
        assert_output(&batch.tries[2], NULL, 0);
        batch_done(&batch);
        module_vtable.close(handler);
}

static void single_jobs_are_no_batches_for_a_module_that_knows_both(void **state) {
        Handler *handler = open_module(built("tests/handler/batch-odd.so"), "");
        Try try;

        try_init(&try, "1", 1);
        run(handler, &try);
        assert_output(&try, "single", 6);
        try_done(&try);
        module_vtable.close(handler);
}

/* fail.so knows no batches. */
static void a_module_without_batches_does_one_after_the_other(void **state) {
        Handler *handler = open_module(built("src/modules/fail.so"), "");
        Batch batch;

        batch_init(&batch, PAYLOADS("a", "b", "c"));
        try_stop(&batch.tries[1]);
        module_vtable.run_batch(handler, NULL, batch.attempts, batch.n);
        assert_int_equal(batch.tries[0].attempt.outcome, OUTCOME_FAILURE);
        assert_failed(&batch.tries[1], OUTCOME_FAILURE, "stopped before it was begun");
        assert_int_equal(batch.tries[2].attempt.outcome, OUTCOME_FAILURE);
        assert_string_equal(batch.tries[0].attempt.error, batch.tries[2].attempt.error);
        batch_done(&batch);
        module_vtable.close(handler);
}

static void modules_that_ship_give_in_a_batch_what_they_give_singly(void **state) {
        static const char *const modules[] = { "src/modules/echo.so", "src/modules/gzip.so" };

        for (size_t i = 0; i < ELEMENTSOF(modules); i++) {
                Handler *handler = open_module(built(modules[i]), "");
                Batch batch;

                batch_init(&batch, PAYLOADS("", "x", "sixteen bytes ..", "x", "a longer payload"));
                module_vtable.run_batch(handler, NULL, batch.attempts, batch.n);
                for (size_t k = 0; k < batch.n; k++) {
                        const Attempt *attempt = batch.attempts[k];
                        Try try;

                        try_init(&try, attempt->payload, attempt->payload_size);
                        run(handler, &try);
                        assert_output(&batch.tries[k], try.attempt.output, try.attempt.output_size);
                        try_done(&try);
                }
                batch_done(&batch);
                module_vtable.close(handler);
        }
}

/* A folder of ours below /tmp with a copy of the echo plug-in in it. */
typedef struct Place {
        char folder[64], inner[80], file[96];
} Place;

static void place_init(Place *place) {
        _cleanup_free_ void *content = NULL;
        _cleanup_close_ int from = -EBADF, to = -EBADF;
        size_t size;

        strcpy(place->folder, "/tmp/test-module-XXXXXX");
        assert_non_null(mkdtemp(place->folder));
        (void) snprintf(place->inner, sizeof(place->inner), "%s/inner", place->folder);
        (void) snprintf(place->file, sizeof(place->file), "%s/echo.so", place->inner);
        assert_int_equal(mkdir(place->inner, 0700), 0);

        from = open(built("src/modules/echo.so"), O_RDONLY | O_CLOEXEC);
        assert_int_equal(fd_read_all(from, 16 * 1024 * 1024, &content, &size), 0);
        to = open(place->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_int_equal(fd_write_all(to, content, size), 0);
        assert_int_equal(chmod(place->file, 0644), 0);
}

static void place_done(Place *place) {
        (void) unlink(place->file);
        (void) rmdir(place->inner);
        (void) rmdir(place->folder);
}

static void plugins_that_others_could_write_are_refused(void **state) {
        static const struct {
                mode_t folder, inner, file;
                const char *error; /* NULL: fine */
        } rows[] = {
                { 0700, 0700, 0600, NULL },
                { 0755, 0755, 0644, NULL },
                { 01777, 0755, 0644, NULL }, /* as /tmp is */
                { 0755, 0755, 0646, "echo.so can be written by others (mode 0646)" },
                { 0755, 0755, 0664, "echo.so can be written by others (mode 0664)" },
                { 0755, 0777, 0644, "inner can be written by others (mode 0777)" },
                { 0755, 0775, 0644, "inner can be written by others (mode 0775)" },
                { 0755, 01777, 0644, "inner can be written by others (mode 1777)" },
                { 0777, 0755, 0644, "can be written by others (mode 0777)" },
        };
        Place place;

        place_init(&place);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                assert_int_equal(chmod(place.folder, rows[i].folder), 0);
                assert_int_equal(chmod(place.inner, rows[i].inner), 0);
                assert_int_equal(chmod(place.file, rows[i].file), 0);
                if (rows[i].error)
                        assert_refused(place.file, "", -ENOEXEC, rows[i].error);
                else
                        module_vtable.close(open_module(place.file, ""));
        }
        place_done(&place);
}

static void plugins_of_other_users_are_refused(void **state) {
        Place place;

        if (geteuid() != 0)
                skip(); /* only root can give files away */

        place_init(&place);
        assert_int_equal(chown(place.file, 1234, 0), 0);
        assert_refused(place.file, "", -ENOEXEC, "echo.so belongs to user 1234");
        assert_int_equal(chown(place.file, 0, 0), 0);
        assert_int_equal(chown(place.folder, 1234, 0), 0);
        assert_refused(place.file, "", -ENOEXEC, "belongs to user 1234");
        place_done(&place);
}

static void links_are_judged_by_where_they_lead(void **state) {
        char link[128];
        Place place;

        place_init(&place);
        (void) snprintf(link, sizeof(link), "%s/link.so", place.folder);
        assert_int_equal(symlink(place.file, link), 0);
        module_vtable.close(open_module(link, ""));
        assert_int_equal(chmod(place.inner, 0777), 0);
        assert_refused(link, "", -ENOEXEC, "inner can be written by others");
        (void) unlink(link);
        place_done(&place);
}

static void bad_options_are_explained(void **state) {
        static const struct {
                const char *file, *options, *error;
        } rows[] = {
                { "src/modules/gzip.so", "level=10", "Options=level=10: \"level=10\" is not" },
                { "src/modules/gzip.so", "fast", "is not level=0 to level=9" },
                { "src/modules/sleep.so", "seconds=-1", "is not seconds= with a number" },
                { "src/modules/sleep.so", "seconds=", "is not seconds= with a number" },
                { "src/modules/fail.so", "every=0", "every= takes a number from 1 on" },
                { "src/modules/fail.so", "every=1x", "every= takes a number from 1 on" },
                { "src/modules/fail.so", "fatal=maybe", "fatal= takes yes or no" },
                { "src/modules/fail.so", "text='x' how", "the options are" },
                { "src/modules/echo.so", "'", "Options=': unbalanced quotes" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                assert_refused(built(rows[i].file), rows[i].options, -EINVAL, rows[i].error);
}

static void fail_fails_every_nth_job(void **state) {
        Handler *handler =
                open_module(built("src/modules/fail.so"), "every=3 fatal=yes text=\"out of luck\"");

        for (unsigned i = 1; i <= 9; i++) {
                Try try;

                try_init(&try, "payload", 7);
                run(handler, &try);
                if (i % 3 == 0)
                        assert_failed(&try, OUTCOME_FATAL, "out of luck");
                else
                        assert_output(&try, "payload", 7);
                try_done(&try);
        }
        module_vtable.close(handler);
}

static void fail_fails_all_jobs_without_options(void **state) {
        Handler *handler = open_module(built("src/modules/fail.so"), "");
        Try try;

        try_init(&try, NULL, 0);
        run(handler, &try);
        assert_failed(&try, OUTCOME_FAILURE, "failed as asked");
        try_done(&try);
        module_vtable.close(handler);
}

/* Unpacks as gzip -d would. */
static void assert_unpacks_to(const Try *try, const char *expected, size_t size) {
        const unsigned char *packed = try->attempt.output;
        _cleanup_free_ unsigned char *unpacked = malloc(size + 1);
        z_stream z = {
                .next_in = (unsigned char *) packed,
                .avail_in = (unsigned) try->attempt.output_size,
                .next_out = unpacked,
                .avail_out = (unsigned) size + 1,
        };

        assert_int_equal(try->attempt.outcome, OUTCOME_SUCCESS);
        assert_memory_equal(packed, "\x1f\x8b\x08\0\0\0\0\0", 8); /* gzip, no name, no time */
        assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
        assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
        assert_int_equal(z.total_out, size);
        assert_int_equal(z.avail_in, 0);
        assert_memory_equal(unpacked, expected, size);
        (void) inflateEnd(&z);
}

static void gzip_unpacks_to_the_payload(void **state) {
        static const size_t sizes[] = { 0, 1, 1000, 256 * 1024, 256 * 1024 + 1, 6 * 1024 * 1024 };
        static const char *const options[] = { "", "level=0", "level=1", "level=9" };
        static char payload[6 * 1024 * 1024];
        uint32_t random = 1;

        /* Half of it noise, which grows when it is compressed. */
        for (size_t i = 0; i < sizeof(payload); i++) {
                random = random * 1664525 + 1013904223;
                payload[i] = (i / 4096) % 2 ? (char) (random >> 24) : 'x';
        }

        for (size_t o = 0; o < ELEMENTSOF(options); o++) {
                Handler *handler = open_module(built("src/modules/gzip.so"), options[o]);

                for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                        Try try;

                        try_init(&try, payload, sizes[i]);
                        run(handler, &try);
                        assert_unpacks_to(&try, payload, sizes[i]);
                        try_done(&try);
                }
                module_vtable.close(handler);
        }
}

static void gzip_gives_up_when_stopped(void **state) {
        static char payload[1024 * 1024];
        Handler *handler = open_module(built("src/modules/gzip.so"), "");

        for (unsigned i = 0; i < 2; i++) {
                Try try;

                try_init(&try, payload, sizeof(payload));
                if (i == 0)
                        try_stop(&try);
                run(handler, &try);
                if (i == 0)
                        assert_failed(&try, OUTCOME_FAILURE, "stopped");
                else
                        assert_unpacks_to(&try, payload, sizeof(payload));
                try_done(&try);
        }
        module_vtable.close(handler);
}

static void sleep_takes_the_time_of_the_payload_or_of_its_option(void **state) {
        static const struct {
                const char *options, *payload;
                usec_t expect;
        } rows[] = {
                { "", "", 0 },
                { "", "0.02", 20000 },
                { "", ".015\n", 15000 },
                { "seconds=0.01", "", 10000 },
                { "seconds=1000", "0.01", 10000 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Handler *handler = open_module(built("src/modules/sleep.so"), rows[i].options);
                usec_t start = usec_now(CLOCK_MONOTONIC);
                Try try;

                try_init(&try, rows[i].payload, strlen(rows[i].payload));
                run(handler, &try);
                assert_output(&try, NULL, 0);
                assert_true(usec_now(CLOCK_MONOTONIC) - start >= rows[i].expect);
                try_done(&try);
                module_vtable.close(handler);
        }
}

static void sleep_refuses_what_is_no_number(void **state) {
        static const char *const payloads[] = { "x", ".", "1.5s", "-1", "1e3", "12345678901" };
        Handler *handler = open_module(built("src/modules/sleep.so"), "");

        for (size_t i = 0; i < ELEMENTSOF(payloads); i++) {
                Try try;

                try_init(&try, payloads[i], strlen(payloads[i]));
                run(handler, &try);
                assert_failed(
                        &try, OUTCOME_FATAL, "the payload is not a number of seconds like 0.25");
                try_done(&try);
        }
        module_vtable.close(handler);
}

typedef struct Worker {
        Handler *handler;
        Try *tries;
        size_t n;
} Worker;

static void *work(void *userdata) {
        Worker *worker = userdata;

        for (size_t i = 0; i < worker->n; i++)
                run(worker->handler, worker->tries + i);
        return NULL;
}

static void sleep_hears_the_stop_at_once(void **state) {
        Handler *handler = open_module(built("src/modules/sleep.so"), "seconds=1000");
        Try try;
        Worker worker = { .handler = handler, .tries = &try, .n = 1 };
        pthread_t thread;

        try_init(&try, NULL, 0);
        /* It is asleep (or about to be) once it has shown progress. */
        assert_int_equal(pthread_create(&thread, NULL, work, &worker), 0);
        while (atomic_load(&try.progress) < 0)
                (void) sched_yield();
        try_stop(&try);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_failed(&try, OUTCOME_FAILURE, "woken up");
        assert_true(try.progress >= 0 && try.progress < 0.1);
        try_done(&try);
        module_vtable.close(handler);
}

static void wake_without_a_stop_does_not_end_the_sleep(void **state) {
        Handler *handler = open_module(built("src/modules/sleep.so"), "");
        usec_t start = usec_now(CLOCK_MONOTONIC);
        Try try;

        try_init(&try, "0.03", 4);
        try_wake(&try);
        run(handler, &try);
        assert_output(&try, NULL, 0);
        assert_true(usec_now(CLOCK_MONOTONIC) - start >= 30000);
        try_done(&try);
        module_vtable.close(handler);
}

static void workers_share_a_module(void **state) {
        enum { N_WORKERS = 3, N_JOBS = 50 };
        static const char *const files[] = { "src/modules/gzip.so", "src/modules/fail.so" };

        for (size_t f = 0; f < ELEMENTSOF(files); f++) {
                Handler *handler = open_module(built(files[f]), f == 0 ? "" : "every=2");
                static Try tries[N_WORKERS][N_JOBS];
                Worker workers[N_WORKERS];
                pthread_t threads[N_WORKERS];
                unsigned n_succeeded = 0;

                for (size_t i = 0; i < N_WORKERS; i++) {
                        for (size_t j = 0; j < N_JOBS; j++)
                                try_init(&tries[i][j], "the same for all", 16);
                        workers[i] = (Worker){ handler, tries[i], N_JOBS };
                        assert_int_equal(pthread_create(threads + i, NULL, work, workers + i), 0);
                }
                for (size_t i = 0; i < N_WORKERS; i++) {
                        assert_int_equal(pthread_join(threads[i], NULL), 0);
                        for (size_t j = 0; j < N_JOBS; j++) {
                                n_succeeded += tries[i][j].attempt.outcome == OUTCOME_SUCCESS;
                                try_done(&tries[i][j]);
                        }
                }
                assert_int_equal(n_succeeded, N_WORKERS * N_JOBS / (f == 0 ? 1 : 2));
                module_vtable.close(handler);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(echo_gives_the_payload_back),
                cmocka_unit_test(module_without_memory_asks_for_another_attempt),
                cmocka_unit_test(bare_names_are_found_in_the_module_path),
                cmocka_unit_test(what_is_no_plugin_for_this_daemon_is_refused),
                cmocka_unit_test(module_with_batches_only_gets_batches_of_one),
                cmocka_unit_test(each_job_of_a_batch_has_a_verdict_of_its_own),
                cmocka_unit_test(one_stopped_job_of_a_batch_is_seen_as_that),
                cmocka_unit_test(single_jobs_are_no_batches_for_a_module_that_knows_both),
                cmocka_unit_test(a_module_without_batches_does_one_after_the_other),
                cmocka_unit_test(modules_that_ship_give_in_a_batch_what_they_give_singly),
                cmocka_unit_test(plugins_that_others_could_write_are_refused),
                cmocka_unit_test(plugins_of_other_users_are_refused),
                cmocka_unit_test(links_are_judged_by_where_they_lead),
                cmocka_unit_test(bad_options_are_explained),
                cmocka_unit_test(fail_fails_every_nth_job),
                cmocka_unit_test(fail_fails_all_jobs_without_options),
                cmocka_unit_test(gzip_unpacks_to_the_payload),
                cmocka_unit_test(gzip_gives_up_when_stopped),
                cmocka_unit_test(sleep_takes_the_time_of_the_payload_or_of_its_option),
                cmocka_unit_test(sleep_refuses_what_is_no_number),
                cmocka_unit_test(sleep_hears_the_stop_at_once),
                cmocka_unit_test(wake_without_a_stop_does_not_end_the_sleep),
                cmocka_unit_test(workers_share_a_module),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
