/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The log where there is a journal. */

#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake-journal.h"
#include "util/fd.h"
#include "util/log.h"

#define N_THREADS 4
#define N_LINES 50

static int setup(void **state) {
        return fake_journal_open();
}

static int teardown(void **state) {
        return fake_journal_close();
}

static void an_entry_says_who_how_urgent_and_what(void **state) {
        assert_true(log_has_fields());
        log_warning("Something %d", 1);
        assert_string_equal(fake_journal_next(),
                "MESSAGE=Something 1\nPRIORITY=4\nSYSLOG_FACILITY=3\n"
                "SYSLOG_IDENTIFIER=test-log-journal\n");
        log_debug("hidden");
        assert_string_equal(fake_journal_next(), "");
}

static void fields_are_those_that_are_given(void **state) {
        uid_t root = 0;

        log_event(LOG_INFO,
                LOG_FIELDS(.message_id = "0123456789abcdef0123456789abcdef", .pool = "p",
                        .job = UINT64_MAX, .result = "timed-out", .owner = &root),
                "x");
        assert_string_equal(fake_journal_next(),
                "MESSAGE=x\nPRIORITY=6\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=test-log-journal\n"
                "MESSAGE_ID=0123456789abcdef0123456789abcdef\nSLUICE_POOL=p\n"
                "SLUICE_JOB=18446744073709551615\nSLUICE_RESULT=timed-out\nSLUICE_OWNER=0\n");
        log_event(LOG_INFO,
                LOG_FIELDS(.identifier = "gzip", .pid = 7, .pipeline = "l", .breaker = "b"), "x");
        assert_string_equal(fake_journal_next(),
                "MESSAGE=x\nPRIORITY=6\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=gzip\nSYSLOG_PID=7\n"
                "SLUICE_PIPELINE=l\nSLUICE_BREAKER=b\n");
}

static void an_error_has_its_number_and_its_text(void **state) {
        errno = EXDEV;
        assert_int_equal(log_error_errno(-ENOENT, "Cannot open %s", "x"), -ENOENT);
        assert_int_equal(errno, EXDEV);
        assert_string_equal(fake_journal_next(),
                "MESSAGE=Cannot open x: No such file or directory\nPRIORITY=3\nSYSLOG_FACILITY=3\n"
                "SYSLOG_IDENTIFIER=test-log-journal\nERRNO=2\n");
}

static void no_text_can_forge_a_field(void **state) {
        log_event(LOG_INFO, LOG_FIELDS(.identifier = "a\nPRIORITY=0", .pool = "\xff\x01"),
                "a\nMESSAGE_ID=b\xc2\x9b\xc3");
        assert_string_equal(fake_journal_next(),
                "MESSAGE=a MESSAGE_ID=b  ?\nPRIORITY=6\nSYSLOG_FACILITY=3\n"
                "SYSLOG_IDENTIFIER=a PRIORITY=0\nSLUICE_POOL=? \n");
}

static void a_long_text_is_cut_and_a_long_field_left_out(void **state) {
        static char big[10000];
        const char *entry;

        memset(big, 'x', sizeof(big) - 1);
        log_event(LOG_INFO, LOG_FIELDS(.pool = big, .job = 1), "%s", big);
        entry = fake_journal_next();
        assert_int_equal(strcspn(entry, "\n"), strlen("MESSAGE=") + 4094);
        assert_null(strstr(entry, "SLUICE_POOL"));
        assert_non_null(strstr(entry, "\nSLUICE_JOB=1\n"));
}

/* Nobody reads: an entry is sent until there is no room, then none is, and nobody waits. */
static void what_finds_no_room_is_lost_and_counted(void **state) {
        unsigned n_sent = 4096, n_read = 0;
        char expected[100];

        for (unsigned i = 0; i < n_sent; i++)
                log_info("%u", i);
        while (*fake_journal_next())
                n_read++;
        assert_in_range(n_read, 1, n_sent - 1);

        log_info("after");
        (void) snprintf(expected, sizeof(expected),
                "MESSAGE=The journal had no room: %u lines from here are lost\nPRIORITY=4\n",
                n_sent - n_read);
        assert_memory_equal(fake_journal_next(), expected, strlen(expected));
        assert_memory_equal(fake_journal_next(), "MESSAGE=after\n", strlen("MESSAGE=after\n"));
        assert_string_equal(fake_journal_next(), "");
}

static void without_the_journal_it_is_standard_error(void **state) {
        int saved = dup(STDERR_FILENO), file = memfd_create("log", MFD_CLOEXEC);
        _cleanup_free_ char *text = NULL;
        size_t size;

        assert_true(saved >= 0 && file >= 0);
        assert_true(dup2(file, STDERR_FILENO) >= 0);
        log_warning("nobody listens");
        assert_true(dup2(saved, STDERR_FILENO) >= 0);
        assert_int_equal(fd_pread_all(file, SIZE_MAX, (void **) &text, &size), 0);
        assert_string_equal(text, "nobody listens\n");
        (void) fd_close(file);
        (void) fd_close(saved);
}

static void *log_lines(void *userdata) {
        for (unsigned i = 0; i < N_LINES; i++)
                log_event(LOG_INFO, LOG_FIELDS(.pool = userdata), "%s", (const char *) userdata);
        return NULL;
}

/* Each entry is whole, and all of them have come or were told to be lost. */
static void threads_do_not_mix_their_entries(void **state) {
        static const char *const names[N_THREADS] = { "a", "b", "c", "d" };
        unsigned n_lines = 0, n_lost = 0, n;
        pthread_t threads[N_THREADS];
        const char *entry;

        for (size_t i = 0; i < N_THREADS; i++)
                assert_int_equal(
                        pthread_create(&threads[i], NULL, log_lines, (void *) names[i]), 0);
        for (size_t i = 0; i < N_THREADS; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        for (;;) {
                char text, pool;

                entry = fake_journal_next();
                if (!*entry)
                        break;
                if (sscanf(entry, "MESSAGE=The journal had no room: %u", &n) == 1) {
                        n_lost += n;
                        continue;
                }
                assert_int_equal(sscanf(entry,
                                         "MESSAGE=%c\nPRIORITY=6\nSYSLOG_FACILITY=3\n"
                                         "SYSLOG_IDENTIFIER=test-log-journal\nSLUICE_POOL=%c\n",
                                         &text, &pool),
                        2);
                assert_int_equal(text, pool);
                n_lines++;
        }
        log_info("after");
        if (sscanf(fake_journal_next(), "MESSAGE=The journal had no room: %u", &n) == 1)
                n_lost += n;
        assert_int_equal(n_lines + n_lost, N_THREADS * N_LINES);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(an_entry_says_who_how_urgent_and_what),
                TEST(fields_are_those_that_are_given),
                TEST(an_error_has_its_number_and_its_text),
                TEST(no_text_can_forge_a_field),
                TEST(a_long_text_is_cut_and_a_long_field_left_out),
                TEST(what_finds_no_room_is_lost_and_counted),
                cmocka_unit_test(without_the_journal_it_is_standard_error),
                TEST(threads_do_not_mix_their_entries),
        };
        int r;

        if (fake_journal_begin() < 0)
                return EXIT_FAILURE;
        r = cmocka_run_group_tests(tests, NULL, NULL);
        fake_journal_end();
        return r;
}
