/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* States that were written by released versions are read, each from its dump in schema-N.sql. */

#include "try.h"

#include <fcntl.h>
#include <stdio.h>

#include "util/fd.h"
#include "util/log.h"

/* In the dumps. */
#define BASE (1700000000 * USEC_PER_SEC)

static char *read_dump(unsigned version) {
        const char *root = getenv("SLUICE_SOURCE_ROOT");
        _cleanup_close_ int fd = -EBADF;
        char path[4096];
        void *text;
        size_t size;

        (void) snprintf(
                path, sizeof(path), "%s/tests/store/schema-%u.sql", root ? root : ".", version);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(fd_pread_all(fd, SIZE_MAX, &text, &size), 0);
        return text;
}

static void make_state(const TryStore *t, unsigned version) {
        _cleanup_free_ char *path = try_path(t, "state.db"), *sql = read_dump(version);
        sqlite3 *db = NULL;
        char *error = NULL;

        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
                fail_msg("schema-%u.sql: %s", version, error);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

#define OF_ALL " owner=1000 max=0 priority=0 target=p"
#define ENDLESS " queue=infinity run=infinity"

static const char *const expected[SQL_VERSION + 1] = {
        [1] = "object pool p settings=Handler=command digest=0 paused=0 draining=0\n"
              "submission 1 n=1" OF_ALL " submitted=+0" ENDLESS "\n"
              "job 1 waits priority=0 attempt=1 due=+1 data=bcde\n"
              "submission 2 n=3" OF_ALL " submitted=+0 delay=5" ENDLESS " tag=tag\n"
              "job 2 succeeded priority=0 attempt=0 due=+0 finished=+2 data=output\n"
              "job 3 failed priority=0 attempt=2 worker=1 status=9 due=+0 started=+1 finished=+2"
              " duration=77 error=bad data=payload\n"
              "job 4 waits priority=0 attempt=0 due=+0 data=ef\n"
              "submission 6 n=2" OF_ALL " group=5 first-error submitted=+0" ENDLESS "\n"
              "job 6 waits priority=0 attempt=0 due=+0 data=g\n"
              "job 7 waits priority=0 attempt=0 due=+0 data=h\n",
};

static void the_state_of_each_release_is_read(void **state) {
        for (unsigned version = 1; version <= SQL_VERSION; version++) {
                _cleanup_free_ char *text = NULL, *again = NULL;
                TryStore t;

                try_init(&t);
                t.base_realtime = BASE;
                make_state(&t, version);
                try_open(&t, false);
                assert_int_equal(store_next_id(t.store), 16777217);
                text = try_dump(&t);
                assert_string_equal(text, expected[version]);
                try_submit(&t, 1, 1);
                try_close(&t, true);
                try_open(&t, false);
                again = try_dump(&t);
                assert_int_equal(strncmp(again, text, strlen(text)), 0);
                assert_true(strlen(again) > strlen(text));
                assert_false(try_has_set_aside(&t));
                try_done(&t);
        }
        (void) state;
}

static int append_row(void *userdata, int n, char **values, char **names) {
        fprintf(userdata, "%s\n", values[0] ? values[0] : "");
        return 0;
}

/* Of what it is made, and how. */
static char *schema_of(TryStore *t) {
        static const char question[] = "SELECT sql FROM sqlite_schema ORDER BY name;"
                                       "PRAGMA user_version; PRAGMA application_id;"
                                       "PRAGMA auto_vacuum; PRAGMA page_size; PRAGMA journal_mode";
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        try_open(t, false);
        assert_int_equal(sqlite3_exec(t->store->sql.db, question, append_row, f, NULL), SQLITE_OK);
        try_close(t, true);
        (void) fclose(f);
        return text;
}

static void a_new_state_is_like_the_last_released_one(void **state) {
        TryStore *t = *state, old;
        _cleanup_free_ char *schema = schema_of(t), *old_schema = NULL;

        try_init(&old);
        make_state(&old, SQL_VERSION);
        old_schema = schema_of(&old);
        assert_string_equal(schema, old_schema);
        try_done(&old);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_state_of_each_release_is_read),
                try_test(a_new_state_is_like_the_last_released_one),
        };

        log_set_level(LOG_WARNING);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
