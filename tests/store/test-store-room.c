/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the state takes on the disk, and what it does when there is no more of that.
 * SLUICE_STORE_JOBS=N: so many jobs go through instead of 100,000. */

#include "try.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "util/fd.h"
#include "util/log.h"

#define PAYLOAD 1000

/* More than the reserve and the log have together. */
#define OUTPUT ((size_t) 16 << 20)

static size_t size_of(const TryStore *t, const char *name) {
        _cleanup_free_ char *path = try_path(t, name);
        struct stat st;

        return stat(path, &st) >= 0 ? (size_t) st.st_size : 0;
}

static size_t size_of_state(const TryStore *t) {
        return size_of(t, "state.db") + size_of(t, "state.db-wal");
}

static void a_job_that_stays_does_not_keep_the_room_of_those_that_go(void **state) {
        enum { BLOCK = 1000, LIVE = 20 * BLOCK };
        const char *text = getenv("SLUICE_STORE_JOBS");
        size_t n = text ? strtoul(text, NULL, 10) : 100000, most = 0;
        TryStore *t = *state;
        uint64_t first;

        try_open(t, /* start= */ false);
        try_submit(t, 1, PAYLOAD);
        try_end(t, 1, JOB_FAILED, "payload");
        first = t->next_id;
        for (size_t i = 0; i < n; i += BLOCK) {
                uint64_t id = try_submit(t, BLOCK, PAYLOAD);

                if (id >= first + LIVE) {
                        try_forget(t, first, BLOCK, first);
                        first += BLOCK;
                }
                assert_int_equal(try_wait(t), 0);
                most = MAX(most, size_of_state(t));
        }
        print_message("%zu bytes for %u jobs of %u\n", most, LIVE, PAYLOAD);
        assert_true(most <= (size_t) 2 * LIVE * PAYLOAD);

        /* When most have gone and there is time, the room goes back. */
        while (first < t->next_id) {
                try_forget(t, first, BLOCK, first);
                first += BLOCK;
        }
        assert_int_equal(try_wait(t), 0);
        while (writer_tidy(t->store))
                ;
        assert_int_equal(writer_copy_log(t->store, /* cut= */ true), 0);
        print_message("%zu bytes for one job\n", size_of_state(t));
        assert_true(size_of_state(t) <= (size_t) 2 << 20);
        try_close(t, true);
        try_open(t, false);
        assert_int_equal(try_count_jobs(t), 1);
}

static void a_great_transaction_does_not_leave_a_great_log(void **state) {
        TryStore *t = *state;

        try_open(t, /* start= */ false);
        try_submit(t, 30, 1 << 20);
        assert_int_equal(try_wait(t), 0);
        assert_true(size_of(t, "state.db") > (size_t) 30 << 20);
        assert_true(size_of(t, "state.db-wal") <= (size_t) 8 << 20);
}

/* ---- a full disk ---- */

/* A disk of this size for us alone. False if we may not make one. */
static bool mount_small_disk(const TryStore *t, const char *options) {
        if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
                return false;
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return false;
        return mount("none", t->dir, "tmpfs", 0, options) >= 0;
}

static void unmount(TryStore *t) {
        if (t->store)
                try_close(t, false);
        assert_int_equal(umount(t->dir), 0);
}

/* Takes all the room there is. */
static void fill_disk(const TryStore *t) {
        _cleanup_free_ char *path = try_path(t, "filler");
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        static const char zeros[4096];

        assert_true(fd >= 0);
        while (write(fd, zeros, sizeof(zeros)) > 0)
                ;
        assert_int_equal(errno, ENOSPC);
}

static void empty_disk(const TryStore *t) {
        _cleanup_free_ char *path = try_path(t, "filler");

        assert_int_equal(unlink(path), 0);
}

static void on_a_full_disk_jobs_end_and_none_are_taken(void **state) {
        enum { N = 100 };
        TryStore *t = *state;
        size_t n_taken = N, n_tries = 0;
        int r;

        if (!mount_small_disk(t, "size=64m"))
                skip();
        t->is_small = true;
        try_open(t, true);
        try_submit(t, N, 20000);
        assert_int_equal(try_wait(t), 0);
        fill_disk(t);

        /* The log has some room yet. */
        do {
                try_submit(t, 1, 500000);
                r = try_wait(t);
                n_taken += r == 0;
        } while (r == 0 && ++n_tries < 100);
        assert_int_equal(r, -ENOSPC);
        for (uint64_t id = 1; id <= N; id++) {
                try_end(t, id, JOB_SUCCEEDED, "done");
                assert_int_equal(try_wait(t), 0);
        }
        try_priority(t, N + 1, 7);
        assert_int_equal(try_wait(t), 0);
        assert_false(store_has_failed(t->store));
        try_close(t, true);

        /* It can also be begun with. */
        try_open(t, false);
        assert_int_equal(try_count_jobs(t), n_taken);
        assert_int_equal(store_start(t->store), 0);
        try_submit(t, 1, 20000000);
        assert_int_equal(try_wait(t), -ENOSPC);

        empty_disk(t);
        try_submit(t, 1, 500000);
        assert_int_equal(try_wait(t), 0);
        try_close(t, false);
        try_open(t, false);
        assert_int_equal(try_count_jobs(t), n_taken + 1);
        unmount(t);
}

static void what_has_no_room_at_all_waits_until_there_is(void **state) {
        TryStore *t = *state;
        char *output = malloc(OUTPUT + 1);
        int ended = 1, refused = 1;
        TryChange *c;

        assert_non_null(output);
        memset(output, 'o', OUTPUT);
        output[OUTPUT] = '\0';
        if (!mount_small_disk(t, "size=64m"))
                skip();
        t->is_small = true;
        try_open(t, true);
        try_submit(t, 1, 10);
        assert_int_equal(try_wait(t), 0);
        fill_disk(t);

        c = try_end_of(t, 1, JOB_SUCCEEDED, output);
        c->ret = &ended;
        try_post(t, c);
        store_flush(t->store);
        /* Others do not wait for it: they are refused. */
        c = try_submission(t, 1, 10);
        c->ret = &refused;
        try_post(t, c);
        while (refused == 1)
                try_wait_some(t);
        assert_int_equal(refused, -ENOSPC);
        assert_int_equal(ended, 1);
        assert_false(store_is_idle(t->store));

        empty_disk(t);
        (void) try_wait(t);
        assert_int_equal(ended, 0);
        try_close(t, true);
        try_open(t, false);
        assert_int_equal(try_count_jobs(t), 1);
        unmount(t);
        free(output);
}

static void what_has_no_room_at_the_close_leaves_its_mark(void **state) {
        TryStore *t = *state;
        char *output = malloc(OUTPUT + 1);
        int ended = 1;
        TryChange *c;

        assert_non_null(output);
        memset(output, 'o', OUTPUT);
        output[OUTPUT] = '\0';
        if (!mount_small_disk(t, "size=64m"))
                skip();
        try_open(t, true);
        try_submit(t, 1, 10);
        assert_int_equal(try_wait(t), 0);
        mark_begun(store_take_sheet(t->store), 0, 1, 0, 1);
        fill_disk(t);
        c = try_end_of(t, 1, JOB_SUCCEEDED, output);
        c->ret = &ended;
        try_post(t, c);
        try_close(t, true);
        assert_int_equal(ended, -ENOSPC);
        try_open(t, false);
        {
                _cleanup_free_ char *text = try_dump(t);

                assert_non_null(strstr(text, "job 1 waits priority=0 attempt=1 crashes=1"));
        }
        unmount(t);
        free(output);
}

/* Submits until there is no room. Returns how many were taken. */
static size_t submit_until_full(TryStore *t, size_t size) {
        size_t n = 0;
        int r;

        do {
                try_submit(t, 1, size);
                r = try_wait(t);
                n += r == 0;
        } while (r == 0);
        assert_int_equal(r, -ENOSPC);
        return n;
}

/* What is given back after a change was told is not waited for by anybody, so it may take some
 * refusals more. */
static bool is_taken_again(TryStore *t, size_t size) {
        for (unsigned n = 0; n < 1000; n++) {
                try_submit(t, 1, size);
                if (try_wait(t) == 0)
                        return true;
        }
        return false;
}

static void what_has_ended_makes_room_for_others(void **state) {
        static const char *const sizes[] = { "size=16m", "size=24m", "size=64m" };
        enum { PAYLOAD_SIZE = 100000 };
        TryStore *t = *state;

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                uint64_t first = 1;
                size_t n_first = 0;

                if (!mount_small_disk(t, sizes[i]))
                        skip();
                try_open(t, true);
                /* Again and again, without less each time. */
                for (unsigned round = 0; round < 4; round++) {
                        size_t n = submit_until_full(t, PAYLOAD_SIZE);

                        if (round == 0)
                                n_first = n;
                        if (n < n_first / 2)
                                fail_msg("%s: %zu first, then %zu", sizes[i], n_first, n);
                        for (; first < t->next_id; first++) {
                                try_end(t, first, JOB_SUCCEEDED, "done");
                                assert_int_equal(try_wait(t), 0);
                        }
                        if (!is_taken_again(t, PAYLOAD_SIZE))
                                fail_msg("%s: %zu, and then never again", sizes[i], n);
                }
                unmount(t);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                try_test(a_job_that_stays_does_not_keep_the_room_of_those_that_go),
                try_test(a_great_transaction_does_not_leave_a_great_log),
                try_test(on_a_full_disk_jobs_end_and_none_are_taken),
                try_test(what_has_no_room_at_all_waits_until_there_is),
                try_test(what_has_no_room_at_the_close_leaves_its_mark),
                try_test(what_has_ended_makes_room_for_others),
        };

        log_set_level(LOG_EMERG);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
