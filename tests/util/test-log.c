/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "test.h"
#include "util/fd.h"
#include "util/log.h"

/* Runs the statement and evaluates to what it left on standard error (malloc()ed). */
#define LOGGED(statement)                     \
        ({                                    \
                int _saved = capture_begin(); \
                statement;                    \
                capture_end(_saved);          \
        })

static int capture_begin(void) {
        int saved = dup(STDERR_FILENO), fd = memfd_create("log", MFD_CLOEXEC);

        assert_true(saved >= 0 && fd >= 0);
        assert_true(dup2(fd, STDERR_FILENO) >= 0);
        (void) fd_close(fd);
        return saved;
}

static char *capture_end(int saved) {
        void *text = NULL;
        size_t size;

        assert_int_equal(fd_pread_all(STDERR_FILENO, SIZE_MAX, &text, &size), 0);
        assert_true(dup2(saved, STDERR_FILENO) >= 0);
        (void) fd_close(saved);
        return text;
}

static void levels_have_names_and_numbers(void **state) {
        assert_int_equal(log_level_from_string("err"), LOG_ERR);
        assert_int_equal(log_level_from_string("warning"), LOG_WARNING);
        assert_int_equal(log_level_from_string("notice"), LOG_NOTICE);
        assert_int_equal(log_level_from_string("info"), LOG_INFO);
        assert_int_equal(log_level_from_string("debug"), LOG_DEBUG);
        assert_int_equal(log_level_from_string("0"), LOG_EMERG);
        assert_int_equal(log_level_from_string("7"), LOG_DEBUG);
        assert_int_equal(log_level_from_string("8"), -EINVAL);
        assert_int_equal(log_level_from_string(""), -EINVAL);
        assert_int_equal(log_level_from_string("loud"), -EINVAL);
}

static void only_what_is_urgent_enough_is_logged(void **state) {
        _cleanup_free_ char *quiet = NULL, *loud = NULL;

        quiet = LOGGED(log_debug("hidden %i", 1));
        assert_string_equal(quiet, "");

        log_set_level(LOG_DEBUG);
        loud = LOGGED(log_debug("shown %i", 1));
        log_set_level(LOG_INFO);
        assert_string_equal(loud, "shown 1\n");
}

static void an_error_is_named_and_handed_on(void **state) {
        _cleanup_free_ char *text = NULL;
        int r = 0;

        errno = EXDEV;
        text = LOGGED(r = log_error_errno(-ENOENT, "Cannot open %s", "x.pool"));
        assert_int_equal(r, -ENOENT);
        assert_int_equal(errno, EXDEV);
        assert_string_equal(text, "Cannot open x.pool: No such file or directory\n");
}

static void a_text_cannot_forge_a_second_line(void **state) {
        _cleanup_free_ char *text = NULL;

        text = LOGGED(log_info("%s", "a\nb\033[2Jc"));
        assert_string_equal(text, "a b [2Jc\n");
}

static void a_long_text_is_cut_and_still_ends_its_line(void **state) {
        static char big[10000];
        _cleanup_free_ char *text = NULL, *with_error = NULL;

        memset(big, 'x', sizeof(big) - 1);
        text = LOGGED(log_info("%s", big));
        assert_int_equal(strlen(text), 4095);
        assert_string_equal(text + 4093, "x\n");

        with_error = LOGGED((void) log_error_errno(-ENOENT, "%s", big));
        assert_int_equal(strlen(with_error), 4095);
        assert_string_equal(with_error + 4093, "x\n");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(levels_have_names_and_numbers),
                cmocka_unit_test(only_what_is_urgent_enough_is_logged),
                cmocka_unit_test(an_error_is_named_and_handed_on),
                cmocka_unit_test(a_text_cannot_forge_a_second_line),
                cmocka_unit_test(a_long_text_is_cut_and_still_ends_its_line),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
