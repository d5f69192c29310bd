/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The power goes at each sync of a random life, and what is left on the disk is a matter of luck.
 * What was acknowledged is there, in a database without a fault, and nothing that was never posted.
 * SLUICE_POWER_LOSSES=N: so many images instead of 500; SLUICE_SEED=N: only that life. */

#include "scenario.h"
#include "vfs.h"

#include <fcntl.h>
#include <stdio.h>

#include "core/random.h"
#include "util/fd.h"
#include "util/log.h"

#define N_STEPS 40
#define N_LIVES 10

typedef enum Note { NOTE_POSTED, NOTE_ACKED } Note;

static unsigned from_environment(const char *name, unsigned otherwise) {
        const char *text = getenv(name);

        return text ? (unsigned) strtoul(text, NULL, 10) : otherwise;
}

/* Records it. The copying of the log is to be a part of it, which else would take thousands of
 * jobs.
 */
static void live(uint64_t seed, TryStore *t) {
        Scenario scenario;

        t->is_small = true;
        vfs_record_begin();
        try_open(t, /* start= */ true);
        scenario_begin(&scenario, t, seed);
        for (unsigned i = 1; i <= N_STEPS; i++) {
                bool orderly;

                if (!scenario_step(&scenario, &orderly)) {
                        vfs_record_note(NOTE_POSTED, i);
                        try_close(t, orderly);
                        try_open(t, /* start= */ true);
                } else {
                        vfs_record_note(NOTE_POSTED, i);
                        assert_int_equal(try_wait(t), 0);
                }
                vfs_record_note(NOTE_ACKED, i);
        }
        try_close(t, true);
        vfs_record_end();
}

/* The marks are in no order with the rest: they may be anything. */
static void write_marks(const TryStore *t, uint64_t *random) {
        _cleanup_free_ char *path = try_path(t, "running");
        uint64_t words[1024];
        size_t n = (size_t) random_below(random, ELEMENTSOF(words) + 1);
        _cleanup_close_ int fd = -EBADF;

        if (random_below(random, 2) == 0)
                return;
        for (size_t i = 0; i < n; i++)
                words[i] = random_next(random);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, words, n * sizeof(*words)), 0);
}

static int check_row(void *userdata, int n, char **values, char **names) {
        if (strcmp(values[0], "ok") != 0)
                fail_msg("%s", values[0]);
        return 0;
}

static void check(const TryStore *lived, const VfsReplay *replay, const unsigned notes[],
        char *texts[], uint64_t *random) {
        uint64_t seed = *random;
        _cleanup_free_ char *text = NULL;
        bool found = false;
        TryStore t;

        try_init(&t);
        t.base_realtime = lived->base_realtime;
        vfs_replay_write(replay, t.dir, random);
        write_marks(&t, random);

        try_open(&t, /* start= */ false);
        assert_false(try_has_set_aside(&t));
        assert_int_equal(
                sqlite3_exec(t.store->sql.db, "PRAGMA integrity_check", check_row, NULL, NULL),
                SQLITE_OK);
        text = try_dump(&t);
        for (unsigned i = notes[NOTE_ACKED]; i <= notes[NOTE_POSTED] && !found; i++)
                found = strcmp(text, texts[i]) == 0;
        if (!found)
                fail_msg("image %llu: of steps %u to %u this is none:\n%s\n%s",
                        (unsigned long long) seed, notes[NOTE_ACKED], notes[NOTE_POSTED], text,
                        texts[notes[NOTE_ACKED]]);
        try_done(&t);
}

static unsigned count_moments(void) {
        VfsReplay *replay = vfs_replay_new();
        unsigned notes[VFS_NOTES], n = 0;

        while (vfs_replay_next(replay, notes))
                n++;
        vfs_replay_free(replay);
        return n;
}

static void lose_power(uint64_t seed, unsigned n_images) {
        unsigned notes[VFS_NOTES], n_moments, n_done = 0, i = 0;
        uint64_t random = seed * 1000003;
        char *texts[N_STEPS + 1];
        VfsReplay *replay;
        TryStore t;

        scenario_expect(seed, N_STEPS, texts, NULL);
        try_init(&t);
        live(seed, &t);
        n_moments = count_moments();
        replay = vfs_replay_new();
        while (vfs_replay_next(replay, notes)) {
                /* As many at each moment, or at each so many. */
                for (i++; n_done < (uint64_t) n_images * i / n_moments; n_done++)
                        check(&t, replay, notes, texts, &random);
        }
        vfs_replay_free(replay);
        vfs_record_clear();
        assert_int_equal(n_done, n_images);
        try_done(&t);
        for (i = 0; i <= N_STEPS; i++)
                free(texts[i]);
}

static void a_loss_of_power_loses_nothing_that_was_acknowledged(void **state) {
        unsigned n = from_environment("SLUICE_POWER_LOSSES", 500);
        unsigned seed = from_environment("SLUICE_SEED", 0);

        if (seed > 0)
                lose_power(seed, n);
        else
                for (seed = 1; seed <= N_LIVES; seed++)
                        lose_power(seed, (n + N_LIVES - 1) / N_LIVES);
        print_message("%u images\n", n);
        (void) state;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_loss_of_power_loses_nothing_that_was_acknowledged),
        };

        log_set_level(LOG_EMERG);
        vfs_install();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
