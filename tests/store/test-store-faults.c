/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each operation on the files fails once, and from then on for a while. Whatever was told is true
 * afterwards: what was committed is there, what was refused is not, and of what failed it is not
 * known. SLUICE_STORE_FAULTS=all: each of them, not a sample of those that come late. */

#include "scenario.h"
#include "vfs.h"

#include <stdio.h>

#include "util/log.h"

#define N_STEPS 14

/* What a disk that was full has, once there is room, or one that has failed, after a restart. */
static void check(TryStore *t, uint64_t seed, unsigned acked, unsigned doubtful,
        const bool *refused, const char *what) {
        char *texts[N_STEPS + 1];
        _cleanup_free_ char *text = NULL;

        scenario_expect(seed, doubtful, texts, refused);
        try_open(t, /* start= */ false);
        text = try_dump(t);
        if (strcmp(text, texts[acked]) != 0 && strcmp(text, texts[doubtful]) != 0)
                fail_msg("%s: after step %u:\n%s\ninstead of\n%s\nor\n%s", what, acked, text,
                        texts[acked], texts[doubtful]);
        for (unsigned i = 0; i <= doubtful; i++)
                free(texts[i]);
        try_close(t, true);
        assert_false(try_has_set_aside(t));
}

/* Lives through the steps until one fails. Returns whether anything was made to fail. */
static bool live(uint64_t seed, VfsOp op, VfsFault fault, unsigned n, unsigned n_more) {
        bool refused[N_STEPS + 1] = {}, failed;
        unsigned acked = 0, doubtful = 0;
        Scenario scenario;
        char what[128];
        TryStore t;
        int r;

        (void) snprintf(what, sizeof(what),
                "seed %u, operation %i, fault %i, number %u and %u more", (unsigned) seed, op,
                fault, n, n_more);
        try_init(&t);
        t.is_small = true;
        vfs_fail(op, fault, n, n_more);
        r = try_try_open(&t, /* start= */ true);
        scenario_begin(&scenario, &t, seed);
        for (unsigned i = 1; i <= N_STEPS && r >= 0; i++) {
                bool orderly;

                doubtful = i;
                if (!scenario_step(&scenario, &orderly)) {
                        try_close(&t, orderly);
                        r = try_try_open(&t, /* start= */ true);
                } else
                        r = try_wait(&t);
                if (r == -ENOSPC && t.store) {
                        refused[i] = true;
                        r = 0;
                }
                if (r >= 0)
                        acked = i;
        }
        if (r < 0)
                assert_true(r == -EIO || (r == -ENOSPC && !t.store));
        if (t.store) {
                /* It may have failed after all was told. */
                assert_true(r >= 0 || store_has_failed(t.store));
                try_close(&t, /* orderly= */ n % 2 == 0);
        }
        /* SQLite undoes the making of a database with a journal; nothing is in it then. */
        if (doubtful > 0 && vfs_n_after_failed_sync() > 0)
                fail_msg("%s: a file was used after a failed sync", what);
        failed = vfs_heal() > 0;
        check(&t, seed, acked, doubtful, refused, what);
        try_done(&t);
        return failed;
}

static void fail_each(VfsOp op, VfsFault fault, unsigned n_more) {
        const char *text = getenv("SLUICE_STORE_FAULTS");
        bool all = text && strcmp(text, "all") == 0;

        for (uint64_t seed = 1; seed <= (n_more == 0 ? 2 : 1); seed++) {
                unsigned n = 1, n_runs = 0;
                bool failed;

                do {
                        failed = live(seed, op, fault, n, n_more);
                        /* Every one of the first, then most are alike. */
                        n += all ? 1 : 1 + n / 16;
                        n_runs++;
                } while (failed);
                print_message("%u runs until there was no operation number %u\n", n_runs, n);
                assert_true(n_runs > 1 || op == VFS_DELETE);
        }
}

static void a_failed_write_is_the_end_but_loses_nothing(void **state) {
        fail_each(VFS_WRITE, VFS_EIO, 0);
        (void) state;
}

static void a_failed_sync_is_not_tried_again(void **state) {
        fail_each(VFS_SYNC, VFS_EIO, 0);
        (void) state;
}

static void a_disk_that_fails_for_good_loses_nothing(void **state) {
        fail_each(VFS_WRITE, VFS_EIO, UINT32_MAX);
        fail_each(VFS_SYNC, VFS_EIO, UINT32_MAX);
        (void) state;
}

static void what_cannot_be_read_is_not_taken_for_damaged(void **state) {
        fail_each(VFS_READ, VFS_EIO, 0);
        fail_each(VFS_READ, VFS_EIO, UINT32_MAX);
        (void) state;
}

static void files_that_cannot_be_opened_cut_or_deleted_lose_nothing(void **state) {
        fail_each(VFS_OPEN, VFS_EIO, 0);
        fail_each(VFS_TRUNCATE, VFS_EIO, 0);
        fail_each(VFS_DELETE, VFS_EIO, 0);
        (void) state;
}

static void a_full_disk_refuses_what_is_new_and_goes_on(void **state) {
        fail_each(VFS_WRITE, VFS_ENOSPC, 0);
        (void) state;
}

static void what_has_no_room_waits_for_it(void **state) {
        fail_each(VFS_WRITE, VFS_ENOSPC, 5);
        fail_each(VFS_WRITE, VFS_ENOSPC, 40);
        (void) state;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_failed_write_is_the_end_but_loses_nothing),
                cmocka_unit_test(a_failed_sync_is_not_tried_again),
                cmocka_unit_test(a_disk_that_fails_for_good_loses_nothing),
                cmocka_unit_test(what_cannot_be_read_is_not_taken_for_damaged),
                cmocka_unit_test(files_that_cannot_be_opened_cut_or_deleted_lose_nothing),
                cmocka_unit_test(a_full_disk_refuses_what_is_new_and_goes_on),
                cmocka_unit_test(what_has_no_room_waits_for_it),
        };

        log_set_level(LOG_EMERG);
        vfs_install();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
