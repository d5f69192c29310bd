/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What was running when the daemon was killed is known from its marks. */

#include "try.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/random.h"
#include "util/fd.h"
#include "util/log.h"

typedef struct Found {
        bool was_running;
        uint32_t attempt, crashes;
} Found;

static int skip_submission(void *userdata, const StoredSubmission *submission) {
        return 0;
}

static int find_job(void *userdata, const StoredJob *job) {
        ((Found *) userdata)[job->id] = (Found){ job->was_running, job->attempt, job->crashes };
        return 0;
}

static const StoreReader finder = { .submission = skip_submission, .job = find_job };

static Found find(TryStore *t, uint64_t id) {
        Found found[64] = {};

        assert_in_range(id, 1, 63);
        assert_int_equal(store_read_jobs(t->store, &finder, found), 0);
        return found[id];
}

static bool found_equal(Found a, Found b) {
        return a.was_running == b.was_running && a.attempt == b.attempt && a.crashes == b.crashes;
}

static void release(TryStore *t, MarkSheet *sheet) {
        List sheets = LIST_INIT(sheets);

        list_append(&sheets, &sheet->links);
        store_release_sheets(t->store, &sheets);
}

static void a_mark_counts_as_the_row_says(void **state) {
        static const struct {
                const char *name;
                uint32_t row_attempt; /* of the job when it is marked, at stage 0 */
                bool ended;
                uint8_t stage; /* of the mark */
                uint32_t attempt;
                bool orderly;
                Found expected;
        } rows[] = {
                { "first attempt", 0, false, 0, 1, false, { true, 1, 1 } },
                { "third attempt", 2, false, 0, 3, false, { true, 3, 1 } },
                { "that attempt has ended", 1, false, 0, 1, false, { false, 1, 0 } },
                { "the job has ended", 0, true, 0, 1, false, { false, 0, 0 } },
                { "of another stage", 0, false, 1, 1, false, { false, 0, 0 } },
                { "stopped in order", 0, false, 0, 1, true, { false, 0, 0 } },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                MarkSheet *sheet;
                Found found;
                TryStore t;

                try_init(&t);
                try_open(&t, true);
                try_submit(&t, 1, 1);
                if (rows[i].row_attempt > 0)
                        try_post(&t, try_wait_of(&t, 1, rows[i].row_attempt));
                if (rows[i].ended)
                        try_end(&t, 1, JOB_SUCCEEDED, "");
                assert_int_equal(try_wait(&t), 0);
                sheet = store_take_sheet(t.store);
                mark_begun(sheet, MARK_SHEET_MAX - 1, 1, rows[i].stage, rows[i].attempt);
                try_close(&t, rows[i].orderly);

                /* However often it is read. */
                for (unsigned n = 0; n < 3; n++) {
                        try_open(&t, false);
                        found = find(&t, 1);
                        if (!found_equal(found, rows[i].expected))
                                fail_msg("%s: running %i attempt %u crashes %u", rows[i].name,
                                        found.was_running, found.attempt, found.crashes);
                        try_close(&t, false);
                }

                /* But if it has been stopped in order since, it was not running then. */
                try_open(&t, false);
                (void) find(&t, 1);
                try_close(&t, true);
                for (unsigned n = 0; n < 2; n++) {
                        try_open(&t, false);
                        found = find(&t, 1);
                        assert_false(found.was_running);
                        assert_int_equal(found.attempt, rows[i].expected.attempt);
                        assert_int_equal(found.crashes, rows[i].expected.crashes);
                        try_close(&t, false);
                }
                try_done(&t);
        }
        (void) state;
}

static void crash_with(TryStore *t, uint64_t id, uint8_t stage, uint32_t attempt) {
        try_open(t, false);
        (void) try_count_jobs(t);
        mark_begun(store_take_sheet(t->store), 0, id, stage, attempt);
        try_close(t, false);
}

static void crashes_are_counted_for_one_life_at_one_stage(void **state) {
        TryStore *t = *state;
        TryChange *c;
        Found found;

        try_open(t, true);
        try_submit(t, 1, 1);
        assert_int_equal(try_wait(t), 0);
        try_close(t, true);
        for (uint32_t n = 1; n <= STORE_CRASHES_MAX; n++) {
                crash_with(t, 1, 0, n);
                try_open(t, false);
                found = find(t, 1);
                assert_true(found.was_running);
                assert_int_equal(found.crashes, n);
                assert_int_equal(found.attempt, n);
                /* That it waits again changes nothing about that. */
                try_post(t, try_wait_of(t, 1, n));
                try_close(t, false);
                try_open(t, false);
                found = find(t, 1);
                assert_false(found.was_running);
                assert_int_equal(found.crashes, n);
                try_close(t, false);
        }

        try_open(t, false);
        try_end(t, 1, JOB_FAILED, "");
        c = try_wait_of(t, 1, 0);
        c->change.wait.kicked = true;
        try_post(t, c);
        try_close(t, false);
        try_open(t, false);
        assert_int_equal(find(t, 1).crashes, 0);
        try_close(t, false);

        crash_with(t, 1, 0, 1);
        try_open(t, false);
        assert_int_equal(find(t, 1).crashes, 1);
        c = try_wait_of(t, 1, 0);
        c->change.wait.stage = 1;
        try_post(t, c);
        try_close(t, false);
        try_open(t, false);
        assert_int_equal(find(t, 1).crashes, 0);
}

/* ---- sheets ---- */

static void a_sheet_is_blank_once_what_was_posted_before_is_on_the_disk(void **state) {
        TryStore *t = *state;
        MarkSheet *sheet;

        try_open(t, true);
        try_submit(t, 2, 1);
        assert_int_equal(try_wait(t), 0);
        sheet = store_take_sheet(t->store);
        mark_begun(sheet, 0, 1, 0, 1);
        /* Given back undone: nothing is posted, so it is blank at once. */
        release(t, sheet);
        sheet = store_take_sheet(t->store);
        mark_begun(sheet, 0, 2, 0, 1);
        try_post(t, try_wait_of(t, 2, 0));
        release(t, sheet);
        try_close(t, false);
        try_open(t, false);
        assert_false(find(t, 1).was_running);
        assert_false(find(t, 2).was_running);
}

static void sheets_alone_are_blanked_as_well(void **state) {
        TryStore *t = *state;
        MarkSheet *sheet;
        Store *killed;

        try_open(t, true);
        try_submit(t, 1, 1);
        sheet = store_take_sheet(t->store);
        mark_begun(sheet, 0, 1, 0, 1);
        store_flush(t->store);
        release(t, sheet); /* while the submit may be on its way */
        assert_int_equal(try_wait(t), 0);
        killed = t->store;
        store_flush(killed);
        try_close(t, false);
        try_open(t, false);
        assert_false(find(t, 1).was_running);
}

static void there_are_many_sheets_but_not_any_number(void **state) {
        TryStore *t = *state;
        _cleanup_free_ char *path = try_path(t, "running");
        List sheets = LIST_INIT(sheets);
        MarkSheet *sheet;
        struct stat st;
        size_t n = 0;

        try_open(t, true);
        while ((sheet = store_take_sheet(t->store))) {
                mark_begun(sheet, n % MARK_SHEET_MAX, n + 1, 0, 1);
                list_append(&sheets, &sheet->links);
                n++;
        }
        assert_int_equal(n, 65536);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, 4096 + 65536 * MARK_SHEET_MAX * 16);
        store_release_sheets(t->store, &sheets);
        assert_true(list_is_empty(&sheets));
        sheet = store_take_sheet(t->store);
        assert_non_null(sheet);
        try_close(t, true);
        assert_int_equal(stat(path, &st), 0);
        assert_in_range(st.st_size, 4096, 1 << 20);
}

/* ---- kill -9 ---- */

#define JOBS 40

typedef struct Progress {
        _Atomic uint32_t begun[JOBS + 1], ended[JOBS + 1]; /* attempts, of which the store knows */
        _Atomic uint32_t may_begin[JOBS + 1];              /* attempts that may have begun */
} Progress;

/* Runs the jobs again and again until it is killed, and notes around each step what is known. */
static _Noreturn void work(TryStore *t, Progress *progress, uint64_t random, int ready_fd) {
        List sheets = LIST_INIT(sheets);

        try_open(t, false);
        (void) try_count_jobs(t);
        assert_int_equal(store_start(t->store), 0);
        if (write(ready_fd, "", 1) != 1)
                _exit(1);
        for (;;) {
                MarkSheet *sheet = store_take_sheet(t->store);
                unsigned n = 1 + (unsigned) random_below(&random, 8);
                uint64_t first = 1 + random_below(&random, JOBS - n + 1);

                for (unsigned i = 0; i < n; i++) {
                        uint64_t id = first + i;
                        uint32_t attempt = atomic_load(&progress->ended[id]) + 1;

                        atomic_store(&progress->may_begin[id], attempt);
                        mark_begun(sheet, i, id, 0, attempt);
                        atomic_store(&progress->begun[id], attempt);
                }
                for (unsigned i = 0; i < n; i++)
                        try_post(t, try_wait_of(t, first + i,
                                            atomic_load(&progress->begun[first + i])));
                list_append(&sheets, &sheet->links);
                store_release_sheets(t->store, &sheets);
                if (try_wait(t) < 0)
                        _exit(1);
                for (unsigned i = 0; i < n; i++)
                        atomic_store(&progress->ended[first + i],
                                atomic_load(&progress->begun[first + i]));
        }
}

/* An attempt that has begun is counted, one that may not have begun is not, and none twice. */
static void a_killed_daemon_leaves_whole_marks(void **state) {
        TryStore *t = *state;
        uint64_t random = 42;
        Progress *progress = mmap(
                NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        assert_ptr_not_equal(progress, MAP_FAILED);
        try_open(t, true);
        try_submit(t, JOBS, 10);
        assert_int_equal(try_wait(t), 0);
        try_close(t, true);

        for (unsigned round = 0; round < 100; round++) {
                struct timespec nap = { .tv_nsec = (long) random_below(&random, 5000000) };
                uint32_t crashes[JOBS + 1];
                Found found[JOBS + 1] = {};
                Pipe ready = PIPE_NONE;
                pid_t child;
                int status;
                char byte;

                assert_int_equal(pipe_open(&ready), 0);
                child = fork();
                assert_true(child >= 0);
                if (child == 0)
                        work(t, progress, random, ready.write_fd);
                assert_int_equal(read(ready.read_fd, &byte, 1), 1);
                pipe_close(&ready);
                (void) clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
                assert_int_equal(kill(child, SIGKILL), 0);
                assert_int_equal(waitpid(child, &status, 0), child);
                assert_true(WIFSIGNALED(status));

                try_open(t, false);
                assert_int_equal(store_read_jobs(t->store, &finder, found), 0);
                for (size_t id = 1; id <= JOBS; id++) {
                        assert_in_range(found[id].attempt, atomic_load(&progress->begun[id]),
                                atomic_load(&progress->may_begin[id]));
                        crashes[id] = found[id].crashes;
                        atomic_store(&progress->begun[id], found[id].attempt);
                        atomic_store(&progress->ended[id], found[id].attempt);
                        atomic_store(&progress->may_begin[id], found[id].attempt);
                }
                try_close(t, false);
                try_open(t, false);
                assert_int_equal(store_read_jobs(t->store, &finder, found), 0);
                for (size_t id = 1; id <= JOBS; id++) {
                        assert_int_equal(found[id].crashes, crashes[id]);
                        assert_int_equal(found[id].attempt, atomic_load(&progress->begun[id]));
                }
                try_close(t, false);
        }
        assert_int_equal(munmap(progress, sizeof(*progress)), 0);
}

/* ---- what is not ours ---- */

static void write_file(const char *path, const void *data, size_t size, off_t at) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, data, size, at), size);
}

static void garbage_in_the_marks_is_ignored(void **state) {
        TryStore *t = *state;
        _cleanup_free_ char *path = try_path(t, "running"), *log = NULL;
        uint64_t random = 1, words[2048], next_id;

        for (unsigned i = 0; i < 50; i++) {
                size_t size = (size_t) random_below(&random, sizeof(words));
                bool header = i % 2 == 0;

                try_open(t, false);
                try_submit(t, 1, 1);
                next_id = t->next_id;
                try_close(t, false);
                for (size_t n = 0; n < ELEMENTSOF(words); n++)
                        words[n] = random_next(&random);
                write_file(path, words, size, header ? 0 : 4096);
                assert_int_equal(truncate(path, (off_t) random_below(&random, 300000)), 0);

                try_mute();
                try_open(t, false);
                assert_int_equal(try_count_jobs(t), i + 1);
                log = try_unmute();
                if (header && size >= 24)
                        assert_non_null(strstr(log, "begun anew"));
                free(TAKE_PTR(log));
                assert_true(store_next_id(t->store) >= next_id);
                try_close(t, i % 3 == 0);
        }
}

static void damaged_marks_are_told_of_and_the_others_count(void **state) {
        TryStore *t = *state;
        _cleanup_free_ char *path = try_path(t, "running"), *log = NULL;
        uint8_t byte = 0xff;
        MarkSheet *sheet;

        try_open(t, true);
        try_submit(t, 3, 1);
        assert_int_equal(try_wait(t), 0);
        sheet = store_take_sheet(t->store);
        for (unsigned i = 0; i < 3; i++)
                mark_begun(sheet, i, i + 1, 0, 1);
        try_close(t, false);
        /* The attempt of the second one. */
        write_file(path, &byte, 1, 4096 + 16 + 8);
        try_open(t, false);
        try_mute();
        (void) try_count_jobs(t);
        log = try_unmute();
        assert_non_null(strstr(log, "1 marks of running jobs are damaged"));
        assert_true(find(t, 1).was_running);
        assert_false(find(t, 2).was_running);
        assert_true(find(t, 3).was_running);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_mark_counts_as_the_row_says),
                try_test(crashes_are_counted_for_one_life_at_one_stage),
                try_test(a_sheet_is_blank_once_what_was_posted_before_is_on_the_disk),
                try_test(sheets_alone_are_blanked_as_well),
                try_test(there_are_many_sheets_but_not_any_number),
                try_test(a_killed_daemon_leaves_whole_marks),
                try_test(garbage_in_the_marks_is_ignored),
                try_test(damaged_marks_are_told_of_and_the_others_count),
        };

        log_set_level(LOG_WARNING);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
