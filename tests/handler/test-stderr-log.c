/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "handler/stderr-log.h"
#include "util/fd.h"

#define PREFIX "Pool p: coprocess 7: "

/* Standard error is a file meanwhile. */
typedef struct Capture {
        int fd, saved;
} Capture;

static void capture_init(Capture *capture) {
        capture->saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        capture->fd = memfd_create("log", MFD_CLOEXEC);
        assert_true(capture->saved >= 0 && capture->fd >= 0);
        assert_true(dup2(capture->fd, STDERR_FILENO) >= 0);
}

static void assert_logged(Capture *capture, const char *expected) {
        _cleanup_free_ void *text = NULL;
        size_t size;

        assert_true(dup2(capture->saved, STDERR_FILENO) >= 0);
        close(capture->saved);
        assert_int_equal(fd_pread_all(capture->fd, 1 << 20, &text, &size), 0);
        close(capture->fd);
        assert_string_equal(text, expected);
}

static void log_init(StderrLog *log) {
        stderr_log_init(log, "p", "coprocess", "/usr/bin/true");
        stderr_log_begin(log, 7);
}

static void add(StderrLog *log, const char *text, usec_t now) {
        stderr_log_add(log, text, strlen(text), now);
}

static void each_line_is_logged_with_pool_and_pid(void **state) {
        Capture capture;
        StderrLog log;

        log_init(&log);
        capture_init(&capture);
        add(&log, "one\ntwo\n\nth", 1);
        add(&log, "ree\n", 1);
        stderr_log_add(&log, "a\0b\n", 4, 1);
        add(&log, "\033[1mbold\rover\n", 1);
        add(&log, "the last", 1);
        stderr_log_end(&log, 1);
        stderr_log_end(&log, 1);
        stderr_log_tell_end(&log, "exit status 1", 1);
        assert_logged(&capture,
                PREFIX "one\n" PREFIX "two\n" PREFIX "three\n" PREFIX "a?b\n" PREFIX
                       " [1mbold over\n" PREFIX "the last\n" PREFIX "exit status 1\n");
}

static void a_long_line_is_cut(void **state) {
        char expected[STDERR_LOG_LINE_MAX + 100], text[3 * STDERR_LOG_LINE_MAX + 1];
        Capture capture;
        StderrLog log;

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        (void) snprintf(expected, sizeof(expected), PREFIX "%.*s…\n" PREFIX "next\n",
                STDERR_LOG_LINE_MAX, text);
        log_init(&log);
        capture_init(&capture);
        add(&log, text, 1);
        add(&log, text, 1);
        add(&log, "\nnext\n", 1);
        assert_logged(&capture, expected);
}

static void a_flood_is_counted(void **state) {
        char expected[STDERR_LOG_LINES * 40 + 200] = "";
        usec_t now = 5 * USEC_PER_SEC, end = now + STDERR_LOG_INTERVAL;
        Capture capture;
        StderrLog log;

        for (unsigned i = 0; i < STDERR_LOG_LINES; i++)
                strcat(expected, PREFIX "line\n");
        strcat(expected, "Pool p: coprocess 7 and those before it: 950 more lines were left out\n");
        strcat(expected, PREFIX "line\n");

        log_init(&log);
        capture_init(&capture);
        assert_true(stderr_log_wake_at(&log) == USEC_INFINITY);
        for (unsigned i = 0; i < 1000; i++)
                add(&log, "line\n", now + i);
        assert_true(stderr_log_wake_at(&log) == end);
        stderr_log_wake(&log, end - 1);
        assert_true(stderr_log_wake_at(&log) == end);
        stderr_log_wake(&log, end);
        assert_true(stderr_log_wake_at(&log) == USEC_INFINITY);
        add(&log, "line\n", end);
        assert_logged(&capture, expected);
}

/* A child that dies again and again has no new measure each time. */
static void the_measure_is_that_of_all_children(void **state) {
        char expected[STDERR_LOG_LINES * 40 + 200] = "";
        Capture capture;
        StderrLog log;

        for (unsigned i = 0; i < STDERR_LOG_LINES; i++)
                strcat(expected, PREFIX "line\n");
        strcat(expected, "Pool p: coprocess 7 and those before it: 2 more lines were left out\n");

        log_init(&log);
        capture_init(&capture);
        for (unsigned i = 0; i < STDERR_LOG_LINES + 2; i++) {
                add(&log, "line\n", 1);
                stderr_log_end(&log, 1);
        }
        stderr_log_done(&log);
        assert_logged(&capture, expected);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_line_is_logged_with_pool_and_pid),
                cmocka_unit_test(a_long_line_is_cut),
                cmocka_unit_test(a_flood_is_counted),
                cmocka_unit_test(the_measure_is_that_of_all_children),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
