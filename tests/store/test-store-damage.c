/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Files that were cut, written over or come from elsewhere: refused, or set aside, or read as far
 * as they go, but never with less in them and no word about it. */

#include "try.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/random.h"
#include "util/fd.h"
#include "util/log.h"

#define N_FLIPS 2000

typedef struct Image {
        uint8_t *data; /* owned */
        size_t size;
} Image;

static Image image_read(const TryStore *t, const char *name) {
        _cleanup_free_ char *path = try_path(t, name);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        void *data;
        Image image;

        assert_true(fd >= 0);
        assert_int_equal(fd_pread_all(fd, SIZE_MAX, &data, &image.size), 0);
        image.data = data;
        return image;
}

static void image_write(const TryStore *t, const char *name, const Image *image) {
        _cleanup_free_ char *path = try_path(t, name);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, image->data, image->size), 0);
}

/* Of all that there can be, a few pages each. */
static size_t fill(TryStore *t) {
        size_t n = 0;

        try_open(t, true);
        try_object(t, "pool", "p", "Handler=command");
        for (unsigned i = 0; i < 30; i++) {
                try_submit(t, 1, 100);
                try_submit(t, 10, 50);
                n += 11;
        }
        try_submit(t, 3, 9000);
        try_end(t, 5, JOB_SUCCEEDED, "output");
        try_end(t, 7, JOB_FAILED, "payload");
        assert_int_equal(try_wait(t), 0);
        return n + 3;
}

static int count_one(size_t *n) {
        (*n)++;
        return 0;
}

static int on_object(void *userdata, const StoredObject *object) {
        return count_one(userdata);
}

static int on_submission(void *userdata, const StoredSubmission *submission) {
        return 0;
}

static int on_job(void *userdata, const StoredJob *job) {
        return count_one(userdata);
}

/* Opens what there is. Says what would be a silent loss. */
static void look(TryStore *t, size_t n_rows, uint64_t next_id, const char *what, size_t where) {
        static const StoreReader reader = {
                .object = on_object,
                .submission = on_submission,
                .job = on_job,
        };
        _cleanup_free_ char *log = NULL;
        size_t n = 0;
        int r;

        try_mute();
        r = try_try_open(t, false);
        if (r >= 0) {
                r = store_read_objects(t->store, &reader, &n);
                if (r >= 0)
                        r = store_read_jobs(t->store, &reader, &n);
                /* What the check at the start has not found. The next one is to begin without. */
                if (r < 0) {
                        try_close(t, true);
                        r = try_try_open(t, false);
                }
        }
        log = try_unmute();
        if (r < 0) {
                if (r != -ENOTSUP)
                        fail_msg("%s at %zu: %s: %s", what, where, strerror(-r), log);
                return;
        }
        if (n < n_rows && !strstr(log, "damaged") && !strstr(log, "GONE") &&
                !strstr(log, "left out") && !strstr(log, "not closed in order"))
                fail_msg(
                        "%s at %zu: %zu of %zu rows, and no word: %s", what, where, n, n_rows, log);
        if (store_next_id(t->store) < next_id)
                fail_msg("%s at %zu: ids may repeat", what, where);
        /* It can be lived in. */
        if (where % 16 == 0) {
                try_submit(t, 1, 10);
                assert_int_equal(try_wait(t), 0);
        }
        try_close(t, where % 2 == 0);
}

/* A sound state, of which copies are damaged. */
typedef struct Sound {
        TryStore *t;
        Image files[2]; /* the database, and its log if it has one */
        size_t n_rows;
        uint64_t next_id;
} Sound;

static const char *const names[2] = { "state.db", "state.db-wal" };

static void sound_init(Sound *sound, TryStore *t, bool with_log) {
        *sound = (Sound){ .t = t, .n_rows = fill(t) + 1, .next_id = store_id_limit(t->store) };
        if (!with_log)
                try_close(t, true);
        for (size_t i = 0; i < (with_log ? 2 : 1); i++)
                sound->files[i] = image_read(t, names[i]);
        /* As if it had been killed. */
        if (with_log)
                try_close(t, false);
}

static void sound_done(Sound *sound) {
        for (size_t i = 0; i < ELEMENTSOF(sound->files); i++)
                free(sound->files[i].data);
}

static void look_at(const Sound *sound, size_t damaged, const Image *image, size_t where) {
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *path = try_path(sound->t, names[i]);

                assert_true(unlink(path) >= 0 || errno == ENOENT);
                if (i == damaged)
                        image_write(sound->t, names[i], image);
                else if (sound->files[i].data)
                        image_write(sound->t, names[i], &sound->files[i]);
        }
        look(sound->t, sound->n_rows, sound->next_id, names[damaged], where);
        try_remove_set_aside(sound->t);
}

static void flip(const Sound *sound, size_t file, size_t at, unsigned bit) {
        const Image *image = &sound->files[file];

        image->data[at] ^= (uint8_t) (1u << bit);
        look_at(sound, file, image, at);
        image->data[at] ^= (uint8_t) (1u << bit);
}

static void any_bit_may_be_wrong(void **state) {
        uint64_t random = 1;
        Sound sound;

        sound_init(&sound, *state, /* with_log= */ false);
        for (size_t i = 0; i < 4096; i++)
                flip(&sound, 0, i, (unsigned) random_below(&random, 8));
        for (size_t i = 0; i < N_FLIPS; i++)
                flip(&sound, 0, random_below(&random, sound.files[0].size),
                        (unsigned) random_below(&random, 8));
        sound_done(&sound);
}

static void any_bit_of_the_log_may_be_wrong(void **state) {
        uint64_t random = 2;
        Sound sound;

        sound_init(&sound, *state, /* with_log= */ true);
        for (size_t i = 0; i < 64; i++)
                flip(&sound, 1, i, (unsigned) random_below(&random, 8));
        /* Where it is written: behind that there are zeros. */
        for (size_t i = 0; i < 300; i++)
                flip(&sound, 1, random_below(&random, 300000), (unsigned) random_below(&random, 8));
        for (size_t i = 0; i < 100; i++)
                flip(&sound, 0, random_below(&random, sound.files[0].size),
                        (unsigned) random_below(&random, 8));
        sound_done(&sound);
}

static void a_file_may_have_been_cut_anywhere(void **state) {
        uint64_t random = 3;
        Sound sound;

        sound_init(&sound, *state, /* with_log= */ false);
        for (size_t size = 0; size < sound.files[0].size; size += 4096)
                look_at(&sound, 0, &(Image){ sound.files[0].data, size }, size);
        for (size_t i = 0; i < 200; i++) {
                size_t size = random_below(&random, sound.files[0].size);

                look_at(&sound, 0, &(Image){ sound.files[0].data, size }, size);
        }
        sound_done(&sound);
}

static void a_log_may_have_been_cut_anywhere(void **state) {
        uint64_t random = 4;
        Sound sound;

        sound_init(&sound, *state, /* with_log= */ true);
        for (size_t i = 0; i < 200; i++) {
                size_t size = i < 50 ? i : random_below(&random, 300000);

                look_at(&sound, 1, &(Image){ sound.files[1].data, size }, size);
        }
        sound_done(&sound);
}

static void a_sector_may_have_been_written_over(void **state) {
        uint64_t random = 5;
        Sound sound;

        sound_init(&sound, *state, /* with_log= */ false);
        for (size_t i = 0; i < 200; i++) {
                uint8_t *sector = sound.files[0].data +
                                  512 * random_below(&random, sound.files[0].size / 512);
                uint8_t saved[512];

                memcpy(saved, sector, sizeof(saved));
                for (size_t k = 0; k < sizeof(saved); k++)
                        sector[k] = i % 2 == 0 ? 0 : (uint8_t) random_next(&random);
                look_at(&sound, 0, &sound.files[0], i);
                memcpy(sector, saved, sizeof(saved));
        }
        sound_done(&sound);
}

/* ---- set aside ---- */

static Image garbage(void) {
        Image image = { .data = malloc(5000), .size = 5000 };

        assert_non_null(image.data);
        memset(image.data, 'x', image.size);
        return image;
}

static void what_is_damaged_is_kept_under_a_name_with_its_date(void **state) {
        TryStore *t = *state;
        _cleanup_free_ char *log = NULL;
        Image image = garbage();

        for (size_t n = 1; n <= 3; n++) {
                image_write(t, "state.db", &image);
                image_write(t, "state.db-wal", &image);
                try_mute();
                try_open(t, true);
                log = try_unmute();
                assert_non_null(strstr(log, "/state.db.corrupt-20"));
                free(TAKE_PTR(log));
                assert_int_equal(try_count_set_aside(t), 2 * n);
                try_submit(t, 1, 1);
                assert_int_equal(try_wait(t), 0);
                try_close(t, true);
                try_open(t, false);
                assert_int_equal(try_count_jobs(t), 1);
                try_close(t, true);
        }
        free(image.data);
}

static void run_sql(TryStore *t, const char *sql) {
        _cleanup_free_ char *path = try_path(t, "state.db");
        sqlite3 *db = NULL;
        char *error = NULL;

        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
                fail_msg("%s: %s", sql, error);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void ids_go_on_after_a_state_was_lost(void **state) {
        static const struct {
                const char *name;
                bool no_marks;   /* the other place where the limit is */
                const char *sql; /* before; NULL = the file is overwritten */
                bool by_clock;
        } rows[] = {
                { "the marks know", false, NULL, false },
                { "the database knows", true, "PRAGMA user_version = 0", false },
                { "the jobs know", true,
                        "PRAGMA user_version = 0; UPDATE meta SET value = 5 WHERE key = 'id limit'",
                        false },
                { "nobody knows", true, NULL, true },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *log = NULL, *marks = NULL;
                Image image = garbage();
                uint64_t last;
                TryStore t;

                try_init(&t);
                marks = try_path(&t, "running");
                try_open(&t, true);
                last = store_id_limit(t.store) - 1;
                t.next_id = last;
                try_submit(&t, 1, 1);
                assert_int_equal(try_wait(&t), 0);
                try_close(&t, true);
                if (rows[i].sql)
                        run_sql(&t, rows[i].sql);
                else
                        image_write(&t, "state.db", &image);
                if (rows[i].no_marks)
                        assert_int_equal(unlink(marks), 0);

                try_mute();
                try_open(&t, false);
                log = try_unmute();
                assert_true(try_has_set_aside(&t));
                if (store_next_id(t.store) <= last ||
                        (store_next_id(t.store) > last + (1 << 30)) != rows[i].by_clock)
                        fail_msg("%s: %llu after %llu", rows[i].name,
                                (unsigned long long) store_next_id(t.store),
                                (unsigned long long) last);
                try_done(&t);
                free(image.data);
        }
        (void) state;
}

static void a_state_that_is_gone_is_told_of(void **state) {
        TryStore *t = *state;
        _cleanup_free_ char *path = try_path(t, "state.db"), *log = NULL;
        uint64_t limit;

        try_open(t, false);
        limit = store_id_limit(t->store);
        try_close(t, true);
        assert_int_equal(unlink(path), 0);
        try_mute();
        try_open(t, false);
        log = try_unmute();
        assert_non_null(strstr(log, "GONE"));
        assert_true(store_next_id(t->store) >= limit);
}

/* ---- refused ---- */

static void what_is_not_ours_is_refused_and_left_alone(void **state) {
        static const struct {
                const char *sql, *error;
        } rows[] = {
                { "PRAGMA user_version = 2", "a newer version of this program" },
                { "PRAGMA user_version = 2147483647", "a newer version of this program" },
                { "PRAGMA application_id = 1", "another program" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *error = NULL;
                Image before, after;
                Store *store = NULL;
                TryStore t;

                try_init(&t);
                try_open(&t, false);
                try_submit(&t, 3, 1);
                try_close(&t, true);
                run_sql(&t, rows[i].sql);
                before = image_read(&t, "state.db");
                assert_int_equal(store_open(t.dir, 0, &store, &error), -ENOTSUP);
                assert_non_null(strstr(error, rows[i].error));
                after = image_read(&t, "state.db");
                assert_int_equal(before.size, after.size);
                assert_memory_equal(before.data, after.data, before.size);
                assert_false(try_has_set_aside(&t));
                free(before.data);
                free(after.data);
                try_done(&t);
        }
        (void) state;
}

static void tables_of_others_are_refused(void **state) {
        TryStore *t = *state;
        _cleanup_free_ char *error = NULL;
        Store *store = NULL;

        run_sql(t, "CREATE TABLE theirs (a)");
        assert_int_equal(store_open(t->dir, 0, &store, &error), -ENOTSUP);
        assert_non_null(strstr(error, "another program"));
}

/* ---- rows ---- */

static void rows_that_cannot_be_are_left_out(void **state) {
        static const char *const rows[] = {
                "UPDATE job SET stage = 64 WHERE id = 2",
                "UPDATE job SET priority = 1001 WHERE id = 2",
                "UPDATE job SET attempt = -1 WHERE id = 2",
                "UPDATE job SET asked = 1 << 32 WHERE id = 2",
                "UPDATE job SET crashes = -1 WHERE id = 2",
                "UPDATE job SET crashed = 2 WHERE id = 2",
                "UPDATE job SET kicked = -1 WHERE id = 2",
                "UPDATE job SET due = -1 WHERE id = 2",
                "UPDATE job SET ready = -1 WHERE id = 2",
                "UPDATE job SET result = 8 WHERE id = 2",
                "UPDATE job SET worker = 1 << 31 WHERE id = 2",
                "UPDATE job SET exit_status = 1 << 31 WHERE id = 2",
                "UPDATE job SET started = -1 WHERE id = 2",
                "UPDATE job SET finished = -1 WHERE id = 2",
                "UPDATE job SET duration = -1 WHERE id = 2",
                "UPDATE job SET error = 'a' || char(0) || 'b' WHERE id = 2",
                "UPDATE job SET id = 0 WHERE id = 2",
                "UPDATE job SET id = -5 WHERE id = 2",
                "UPDATE job SET id = 77 WHERE id = 2",
                "UPDATE submission SET n_total = 1 WHERE id = 1",
                "UPDATE submission SET id = 2 WHERE id = 1",
                "UPDATE job SET owner = -1 WHERE id = 3",
                "UPDATE job SET own_priority = 1001 WHERE id = 3",
                "UPDATE job SET submitted = -1 WHERE id = 3",
                "UPDATE job SET tag = char(0) WHERE id = 3",
                "UPDATE job SET arguments = x'41' WHERE id = 3",
                "UPDATE job SET target = NULL WHERE id = 3",
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *log = NULL;
                TryStore t;
                size_t n;

                try_init(&t);
                try_open(&t, false);
                try_submit(&t, 2, 1);
                try_submit(&t, 1, 1);
                try_close(&t, true);
                run_sql(&t, rows[i]);
                try_open(&t, false);
                try_mute();
                n = try_count_jobs(&t);
                log = try_unmute();
                if (n != 2 || !strstr(log, "1 jobs that cannot be: left out"))
                        fail_msg("%s: %zu jobs, %s", rows[i], n, log);
                try_done(&t);
        }
        (void) state;
}

static void submissions_that_cannot_be_are_left_out_with_their_jobs(void **state) {
        static const char *const rows[] = {
                "is_group = 2",
                "group_policy = 2",
                "n_total = -1",
                "n_total = 1 << 32",
                "owner = 1 << 32",
                "max_attempts = -1",
                "priority = -1001",
                "to_pipeline = 2",
                "bind = 2",
                "submitted = -1",
                "delay = -1",
                "queue_timeout = -1",
                "run_timeout = -1",
                "target = 'a' || char(0)",
                "tag = char(0)",
                "concurrency_key = char(0)",
                "arguments = x'41'",
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *log = NULL, *sql = NULL;
                TryStore t;
                size_t n;

                try_init(&t);
                try_open(&t, false);
                try_submit(&t, 2, 1);
                try_submit(&t, 1, 1);
                try_close(&t, true);
                assert_true(asprintf(&sql, "UPDATE submission SET %s WHERE id = 1", rows[i]) > 0);
                run_sql(&t, sql);
                try_open(&t, false);
                try_mute();
                n = try_count_jobs(&t);
                log = try_unmute();
                if (n != 1 || !strstr(log, "1 submissions that cannot be") ||
                        !strstr(log, "2 jobs that cannot be"))
                        fail_msg("%s: %zu jobs, %s", rows[i], n, log);
                try_close(&t, true);

                /* They are not taken for the rest of a bulk call. */
                try_open(&t, false);
                try_mute();
                assert_int_equal(try_count_jobs(&t), 1);
                free(log);
                log = try_unmute();
                assert_non_null(strstr(log, "1 submissions"));
                try_done(&t);
        }
        (void) state;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                try_test(any_bit_may_be_wrong),
                try_test(any_bit_of_the_log_may_be_wrong),
                try_test(a_file_may_have_been_cut_anywhere),
                try_test(a_log_may_have_been_cut_anywhere),
                try_test(a_sector_may_have_been_written_over),
                try_test(what_is_damaged_is_kept_under_a_name_with_its_date),
                cmocka_unit_test(ids_go_on_after_a_state_was_lost),
                try_test(a_state_that_is_gone_is_told_of),
                cmocka_unit_test(what_is_not_ours_is_refused_and_left_alone),
                try_test(tables_of_others_are_refused),
                cmocka_unit_test(rows_that_cannot_be_are_left_out),
                cmocka_unit_test(submissions_that_cannot_be_are_left_out_with_their_jobs),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
