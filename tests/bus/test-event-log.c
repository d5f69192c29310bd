/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is told of what happens. */

#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bus-test.h"
#include "bus/event-log.h"
#include "engine/breaker-config.h"
#include "fake-journal.h"
#include "util/message-ids.h"

#define ALICE 1000

static int setup(void **state) {
        int r = fake_journal_open();

        return r < 0 ? r : bus_test_setup(state);
}

static int teardown(void **state) {
        int r = bus_test_teardown(state);

        return fake_journal_close() < 0 ? -1 : r;
}

/* The next entry is of this kind, with this text and then this field; NULL kind: there is none. */
static void assert_entry(const char *kind, const char *text, const char *field) {
        const char *entry = fake_journal_next();
        char line[400];

        if (!kind) {
                assert_string_equal(entry, "");
                return;
        }
        (void) snprintf(line, sizeof(line), "MESSAGE=%s\n", text);
        assert_memory_equal(entry, line, strlen(line));
        (void) snprintf(line, sizeof(line), "\nMESSAGE_ID=%s\n", kind);
        assert_non_null(strstr(entry, line));
        (void) snprintf(line, sizeof(line), "\n%s\n", field);
        assert_non_null(strstr(entry, line));
}

static Pool *make_pool(BusTest *test, const char *module) {
        return bus_test_pool(test, "p", "Handler", "module", "ModulePath", module, "Workers", "1",
                "AllowUsers", "1000", NULL);
}

/* ---- jobs ---- */

/* What a finished job is told as. */
typedef struct Row {
        JobResult result;
        uint32_t attempts, crashes;
        const char *error; /* NULL = none of its own */
        const char *kind, *text, *field;
} Row;

static void failures_are_told_and_nothing_else(void **state) {
        static const Row rows[] = {
                { JOB_SUCCEEDED },
                { JOB_CANCELLED },
                { JOB_EXPIRED },
                { JOB_DROPPED },
                { JOB_REFUSED },
                { JOB_FAILED, 1, 0, "why", MESSAGE_JOB_FAILED, "Pool p: job 7 has failed: why",
                        "SLUICE_RESULT=failed" },
                { JOB_FAILED, 3, 0, "exit status 3: why\nand more", MESSAGE_JOB_FAILED,
                        "Pool p: job 7 has failed after 3 attempts: exit status 3: why",
                        "SLUICE_JOB=7" },
                { JOB_FAILED, 1, 0, NULL, MESSAGE_JOB_FAILED,
                        "Pool p: job 7 has failed: failed without saying why", "SLUICE_POOL=p" },
                { JOB_TIMED_OUT, 1, 0, NULL, MESSAGE_JOB_FAILED,
                        "Pool p: job 7 has run out of time: ran longer than its time-out",
                        "SLUICE_RESULT=timed-out" },
                { JOB_LOST, 1, 2, "gone", MESSAGE_JOB_FAILED, "Pool p: job 7 is lost: gone",
                        "SLUICE_RESULT=lost" },
                { JOB_LOST, 1, 3, "gone", MESSAGE_JOB_CRASHES, "Pool p: job 7 is lost: gone",
                        "PRIORITY=3" },
                { JOB_FAILED, 1, 3, "why", MESSAGE_JOB_FAILED, "Pool p: job 7 has failed: why",
                        "SLUICE_OWNER=1000" },
        };
        BusTest *test = *state;
        Pool *pool = make_pool(test, "echo.so");

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const Row *row = &rows[i];
                JobDetails details = {
                        .attempt = row->attempts,
                        .crashes = row->crashes,
                        .error = (char *) row->error,
                };
                Submission submission = { .pool = pool, .owner = ALICE };
                Job job = {
                        .id = 7,
                        .state = JOB_FINISHED,
                        .result = row->result,
                        .submission = &submission,
                        .details = row->attempts > 0 ? &details : NULL,
                };

                event_log_job_finished(&test->server->event_log, &job);
                assert_entry(row->kind, row->text, row->field);
        }
}

/* How many jobs have been told of as failed. */
static bool all_are_told(void *userdata) {
        unsigned *n = userdata, more;
        const char *entry;

        while (*(entry = fake_journal_next())) {
                if (sscanf(entry, "MESSAGE=Pool p: %u more jobs have failed\n", &more) == 1)
                        *n += more;
                else if (strstr(entry, "\nMESSAGE_ID=" MESSAGE_JOB_FAILED "\n"))
                        ++*n;
        }
        return *n >= 300;
}

static void how_many_more_have_failed_is_told_in_time(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE);
        Pool *pool = make_pool(test, "fail.so");
        unsigned n = 0;

        pool->log_limit.interval = 100 * USEC_PER_MSEC;
        for (unsigned i = 0; i < 300; i++) {
                (void) submit(alice, "p", "x", "0");
                (void) all_are_told(&n);
        }
        bus_test_until(test, all_are_told, &n);
        assert_int_equal(n, 300);
        peer_free(alice);
}

/* ---- pools and breakers ---- */

static void a_pool_is_told_when_it_is_degraded_and_when_it_has_recovered(void **state) {
        static const struct {
                PoolState state;
                const char *kind, *text;
        } rows[] = {
                { POOL_PAUSED, NULL, NULL },
                { POOL_DEGRADED, MESSAGE_POOL_DEGRADED,
                        "Pool p: a worker does not come back from a job that was to stop" },
                { POOL_PAUSED, NULL, NULL },
                { POOL_DEGRADED, NULL, NULL },
                { POOL_RUNNING, MESSAGE_POOL_RECOVERED, "Pool p: all workers are back" },
                { POOL_DRAINING, NULL, NULL },
                { POOL_RUNNING, NULL, NULL },
        };
        BusTest *test = *state;
        Pool *pool = make_pool(test, "echo.so");

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                pool->shown_state = rows[i].state;
                event_log_pool_state(&test->server->event_log, pool);
                assert_entry(rows[i].kind, rows[i].text, "SLUICE_POOL=p");
        }
}

static void a_breaker_is_told_when_it_opens_and_when_it_closes(void **state) {
        static const struct {
                BreakerState old, new;
                const char *kind, *text;
        } rows[] = {
                { BREAKER_CLOSED, BREAKER_OPEN, MESSAGE_BREAKER_OPENED, "Breaker b has opened" },
                { BREAKER_OPEN, BREAKER_HALF_OPEN, NULL, NULL },
                { BREAKER_HALF_OPEN, BREAKER_OPEN, NULL, NULL },
                { BREAKER_OPEN, BREAKER_HALF_OPEN, NULL, NULL },
                { BREAKER_HALF_OPEN, BREAKER_CLOSED, MESSAGE_BREAKER_CLOSED,
                        "Breaker b is closed again" },
                /* What came in between was over before it could be told. */
                { BREAKER_CLOSED, BREAKER_HALF_OPEN, MESSAGE_BREAKER_OPENED,
                        "Breaker b has opened" },
                { BREAKER_OPEN, BREAKER_CLOSED, MESSAGE_BREAKER_CLOSED,
                        "Breaker b is closed again" },
        };
        BreakerConfig config = BREAKER_CONFIG_DEFAULT;
        SharedBreaker *breaker;
        BusTest *test = *state;

        assert_int_equal(engine_add_breaker(test->engine, "b", &config, &breaker), 0);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                event_log_breaker_state(
                        &test->server->event_log, breaker, rows[i].old, rows[i].new);
                assert_entry(rows[i].kind, rows[i].text, "SLUICE_BREAKER=b");
        }
}

/* ---- users ---- */

static void a_user_at_the_quota_is_told_of_once_in_a_while(void **state) {
        BusTest *test = *state;
        Quota *quota = &test->engine->quota;
        Account *account;

        quota->config.max[QUOTA_GROUPS] = 5;
        account = quota_account(quota, ALICE);
        assert_non_null(account);
        account_charge(account, QUOTA_GROUPS, 5);
        event_log_quota(account, QUOTA_GROUPS);
        assert_entry(MESSAGE_QUOTA_EXCEEDED,
                "User 1000 has 5 groups, where GroupsMax is 5, and asks for more",
                "SLUICE_OWNER=1000");
        for (unsigned i = 0; i < 7; i++)
                event_log_quota(account, QUOTA_GROUPS);
        assert_entry(NULL, NULL, NULL);

        /* As if it were long ago. */
        account->log_limit.ends_at = 1;
        event_log_quota(account, QUOTA_GROUPS);
        assert_entry(MESSAGE_QUOTA_EXCEEDED,
                "User 1000 has 5 groups, where GroupsMax is 5, and asks for more; was refused 7 "
                "times before",
                "SLUICE_OWNER=1000");
        account_discharge(account, QUOTA_GROUPS, 5);
        account_unref(account);
}

/* Whose account goes with each refusal has a new one each time. */
static void all_users_together_have_a_measure(void **state) {
        BusTest *test = *state;
        unsigned n = 0;

        for (unsigned i = 0; i < 2 * QUOTA_LOG_LINES; i++) {
                Account *account = quota_account(&test->engine->quota, ALICE);

                assert_non_null(account);
                event_log_quota(account, QUOTA_JOBS);
                account_unref(account);
                n += *fake_journal_next() != '\0';
        }
        assert_int_equal(n, QUOTA_LOG_LINES);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(failures_are_told_and_nothing_else),
                TEST(how_many_more_have_failed_is_told_in_time),
                TEST(a_pool_is_told_when_it_is_degraded_and_when_it_has_recovered),
                TEST(a_breaker_is_told_when_it_opens_and_when_it_closes),
                TEST(a_user_at_the_quota_is_told_of_once_in_a_while),
                TEST(all_users_together_have_a_measure),
        };
        int r;

        if (fake_journal_begin() < 0)
                return EXIT_FAILURE;
        r = cmocka_run_group_tests(tests, NULL, NULL);
        fake_journal_end();
        return r;
}
