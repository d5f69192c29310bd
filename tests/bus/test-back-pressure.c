/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A full queue and failed jobs as callers meet them: waiting for room, being dropped, being tried
 * again. */

#include "test.h"

#include <stdio.h>
#include <string.h>

#include "bus-test.h"
#include "util/macro.h"

#define X "org.sluice1.Error."
#define FOREVER "18446744073709551615"
#define P POOL_PATH "p", POOL

/* Pool "p", paused, with room for two jobs. */
static Pool *make_pool(BusTest *test, Peer *peer, const char *overflow) {
        Pool *pool = bus_test_pool(test, "p", "Handler", "module", "ModulePath", "echo.so",
                "Workers", "1", "QueueMax", "2", "Overflow", overflow, NULL);

        call_done(peer, P, "Pause", "", "");
        return pool;
}

/* One whose jobs all fail. */
static Pool *make_failing_pool(BusTest *test) {
        return bus_test_pool(test, "p", "Handler", "module", "ModulePath", "fail.so", "Workers",
                "1", "QueueMax", "2", "Backoff", "0", NULL);
}

static PoolView view_of(Pool *pool) {
        PoolView view;

        pool_view(pool, &view);
        return view;
}

static void expect_error(Peer *peer, Reply *reply, const char *name) {
        const sd_bus_error *e;

        reply_wait(peer, reply);
        e = sd_bus_message_get_error(reply->message);
        assert_non_null(e);
        assert_string_equal(e->name, name);
        reply_done(reply);
}

static void expect_success(Peer *peer, Reply *reply) {
        reply_wait(peer, reply);
        assert_null(sd_bus_message_get_error(reply->message));
        reply_done(reply);
}

static void wait_line(BusTest *test, Pool *pool, size_t n) {
        for (;;) {
                size_t length = 0;

                list_for_each (l, &pool->scheduler.line)
                        length++;
                if (length == n)
                        return;
                assert_return_code(sd_event_run(test->event, USEC_PER_MINUTE), 0);
        }
}

static uint32_t call_for_number(Peer *peer, const char *path, const char *interface,
        const char *member, const char *types, const char *text) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m =
                call_ok(peer, path, interface, member, types, text);
        uint32_t n = 0;

        assert_return_code(sd_bus_message_read(m, "u", &n), 0);
        return n;
}

/* ---- waiting for room ---- */

static void whoever_does_not_wait_is_refused(void **state) {
        static const char *const modes[] = { "reject", "wait", "drop-oldest", "drop-lowest" };
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        Pool *pool = make_pool(test, peer, "reject");

        /* What is not due cannot be dropped. */
        (void) submit(peer, "p", "", "1 DelayUSec t 60000000");
        (void) submit(peer, "p", "", "1 DelayUSec t 60000000");
        for (size_t i = 0; i < ELEMENTSOF(modes); i++) {
                char text[64];

                (void) snprintf(text, sizeof(text), "1 Overflow s %s", modes[i]);
                call_done(peer, P, "Set", "a{sv}", text);
                call_fails(peer, P, "Submit", "aya{sv}", "0 1 WaitUSec t 0", X "QueueFull", "2");
                call_fails(peer, P, "Run", "aya{sv}", "0 1 WaitUSec t 0", X "QueueFull", "2");
                call_fails(peer, P, "SubmitMany", "aaya{sv}", "2 0 0 1 WaitUSec t 0", X "QueueFull",
                        "2");
                assert_int_equal(view_of(pool).counters.rejected, 4 * (i + 1));
        }
        assert_int_equal(view_of(pool).counters.submitted, 2);
        peer_free(peer);
}

static void who_waits_in_vain_is_refused_in_time(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        Pool *pool = make_pool(test, peer, "reject");
        usec_t start;

        (void) submit(peer, "p", "", "0");
        (void) submit(peer, "p", "", "0");
        start = usec_now(CLOCK_MONOTONIC);
        call_fails(peer, P, "Submit", "aya{sv}", "0 1 WaitUSec t 2000", X "QueueFull", "2");
        assert_true(usec_now(CLOCK_MONOTONIC) - start >= 2000);
        call_fails(peer, P, "Run", "aya{sv}", "0 1 WaitUSec t 2000", X "QueueFull", "2");
        call_fails(
                peer, P, "SubmitMany", "aaya{sv}", "2 0 0 1 WaitUSec t 2000", X "QueueFull", "2");
        call_fails(
                peer, P, "RunPacked", "auaya{sv}", "2 0 0 0 1 WaitUSec t 2000", X "QueueFull", "2");
        assert_int_equal(view_of(pool).counters.rejected, 6);
        assert_int_equal(view_of(pool).counters.submitted, 2);
        assert_true(list_is_empty(&peer->client->calls));
        peer_free(peer);
}

static void overflow_wait_waits_as_long_as_the_pool_says(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        Pool *pool = make_pool(test, peer, "wait");
        usec_t start;
        Reply reply;

        call_done(peer, P, "Set", "a{sv}", "1 OverflowTimeout s 2ms");
        (void) submit(peer, "p", "", "0");
        (void) submit(peer, "p", "", "0");
        start = usec_now(CLOCK_MONOTONIC);
        call_fails(peer, P, "Submit", "aya{sv}", "0 0", X "QueueFull", "2");
        assert_true(usec_now(CLOCK_MONOTONIC) - start >= 2000);
        assert_int_equal(view_of(pool).counters.rejected, 1);
        /* What the submit says counts more. */
        call_start(peer, &reply, P, "Submit", "aya{sv}", "0 1 WaitUSec t " FOREVER);
        wait_line(test, pool, 1);
        call_done(peer, P, "Resume", "", "");
        expect_success(peer, &reply);
        assert_int_equal(view_of(pool).counters.rejected, 1);
        peer_free(peer);
}

static void all_kinds_of_calls_wait_and_go_on(void **state) {
        static const struct {
                const char *member, *types, *text;
                unsigned n;
        } rows[] = {
                { "Submit", "aya{sv}", "1 7 1 WaitUSec t " FOREVER, 1 },
                { "Run", "aya{sv}", "1 7 1 WaitUSec t 60000000", 1 },
                { "SubmitMany", "aaya{sv}", "2 1 7 0 1 WaitUSec t 60000000", 2 },
                { "RunMany", "aaya{sv}", "2 1 7 0 1 WaitUSec t 60000000", 2 },
                { "SubmitPacked", "auaya{sv}", "2 1 0 1 7 1 WaitUSec t 60000000", 2 },
                { "RunPacked", "auaya{sv}", "2 1 0 1 7 1 WaitUSec t 60000000", 2 },
        };
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        Pool *pool = make_pool(test, peer, "reject");
        Reply replies[ELEMENTSOF(rows)];
        unsigned n = 2;

        (void) submit(peer, "p", "", "0");
        (void) submit(peer, "p", "", "0");
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                call_start(peer, &replies[i], P, rows[i].member, rows[i].types, rows[i].text);
                n += rows[i].n;
        }
        wait_line(test, pool, ELEMENTSOF(rows));
        call_done(peer, P, "Resume", "", "");
        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                expect_success(peer, &replies[i]);
        /* Submit has answered before its job has ended. */
        call_done(peer, P, "Drain", "t", FOREVER);
        assert_int_equal(view_of(pool).counters.submitted, n);
        assert_int_equal(view_of(pool).counters.results[JOB_SUCCEEDED], n);
        assert_int_equal(view_of(pool).counters.rejected, 0);
        peer_free(peer);
}

static void a_caller_that_goes_gives_its_place_back(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0), *going = peer_new(test, 0);
        Pool *pool = make_pool(test, peer, "reject");
        Reply gone[2], reply;

        (void) submit(peer, "p", "", "0");
        call_start(going, &gone[0], P, "SubmitMany", "aaya{sv}", "2 0 0 1 WaitUSec t " FOREVER);
        wait_line(test, pool, 1);
        call_start(going, &gone[1], P, "Run", "aya{sv}", "0 1 WaitUSec t " FOREVER);
        call_start(peer, &reply, P, "Submit", "aya{sv}", "0 1 WaitUSec t " FOREVER);
        wait_line(test, pool, 3);
        reply_done(&gone[0]);
        reply_done(&gone[1]);
        peer_free(going);
        expect_success(peer, &reply);
        assert_int_equal(view_of(pool).counters.rejected, 3);
        assert_int_equal(view_of(pool).counters.submitted, 2);
        peer_free(peer);
}

static void who_waits_hears_of_a_drain(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        Pool *pool = make_pool(test, peer, "reject");
        Reply submits, runs;

        (void) submit(peer, "p", "", "0");
        (void) submit(peer, "p", "", "0");
        call_start(peer, &submits, P, "Submit", "aya{sv}", "0 1 WaitUSec t " FOREVER);
        call_start(peer, &runs, P, "Run", "aya{sv}", "0 1 WaitUSec t " FOREVER);
        wait_line(test, pool, 2);
        call_done(peer, P, "Drain", "t", "0");
        expect_error(peer, &submits, X "Draining");
        expect_error(peer, &runs, X "Draining");
        peer_free(peer);
}

static void who_waits_hears_that_the_pool_goes(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        Pool *pool = make_pool(test, peer, "reject");
        Reply reply;

        (void) submit(peer, "p", "", "0");
        (void) submit(peer, "p", "", "0");
        call_start(peer, &reply, P, "Run", "aya{sv}", "0 1 WaitUSec t " FOREVER);
        wait_line(test, pool, 1);
        call_done(peer, MANAGER_PATH, MANAGER, "RemovePool", "sb", "p true");
        expect_error(peer, &reply, X "Draining");
        peer_free(peer);
}

static void partial_neither_waits_nor_drops(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        Pool *pool = make_pool(test, peer, "drop-oldest");

        (void) submit(peer, "p", "", "0");
        call_done(peer, P, "SubmitMany", "aaya{sv}", "2 0 0 1 Partial b true");
        assert_int_equal(view_of(pool).counters.submitted, 2);
        call_fails(peer, P, "SubmitMany", "aaya{sv}", "2 0 0 2 Partial b true WaitUSec t 60000000",
                X "QueueFull", "2");
        assert_int_equal(view_of(pool).counters.results[JOB_DROPPED], 0);
        peer_free(peer);
}

static void what_partial_leaves_out_counts_as_rejected(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0), *waiting = peer_new(test, 0);
        Pool *pool = make_pool(test, peer, "reject");
        Reply line;

        /* Two fit. */
        call_done(peer, P, "SubmitMany", "aaya{sv}", "5 0 0 0 0 0 1 Partial b true");
        assert_int_equal(view_of(pool).counters.submitted, 2);
        assert_int_equal(view_of(pool).counters.rejected, 3);
        call_fails(peer, P, "SubmitPacked", "auaya{sv}", "4 0 0 0 0 0 1 Partial b true",
                X "QueueFull", "");
        assert_int_equal(view_of(pool).counters.rejected, 7);

        /* Where somebody waits, there is room that is not for others. */
        call_start(waiting, &line, P, "SubmitMany", "aaya{sv}", "2 0 0 1 WaitUSec t " FOREVER);
        wait_line(test, pool, 1);
        call_done(peer, MANAGER_PATH, MANAGER, "CancelJob", "t", "1");
        call_fails(
                peer, P, "SubmitMany", "aaya{sv}", "3 0 0 0 1 Partial b true", X "QueueFull", "");
        assert_int_equal(view_of(pool).counters.rejected, 10);
        assert_int_equal(view_of(pool).counters.submitted, 2);
        reply_done(&line);
        peer_free(waiting);
        peer_free(peer);
}

/* ---- dropping ---- */

static void callers_of_dropped_jobs_are_told(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        Pool *pool = make_pool(test, peer, "drop-lowest");
        Reply low, waits;
        uint64_t high;

        call_start(peer, &low, P, "Run", "aya{sv}", "0 1 Priority i -1");
        high = submit(peer, "p", "", "1 Priority i 5");
        call_start(peer, &waits, JOB_PATH "1", JOB, "Wait", "t", FOREVER);
        call_fails(peer, P, "Submit", "aya{sv}", "0 1 Priority i -1", X "QueueFull", "2");
        (void) submit(peer, "p", "", "0");
        expect_error(peer, &low, X "JobDropped");
        expect_success(peer, &waits);
        (void) submit(peer, "p", "", "1 Priority i 1");
        wait_state(test, high + 1, JOB_FINISHED);
        assert_int_equal(view_of(pool).counters.results[JOB_DROPPED], 2);
        assert_int_equal(view_of(pool).counters.submitted, 4);
        assert_int_equal(view_of(pool).counters.rejected, 1);
        peer_free(peer);
}

/* ---- retries ---- */

static void attempts_are_bounded_by_pool_and_option(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        Pool *pool = make_failing_pool(test);
        uint64_t id;

        id = submit(peer, "p", "", "0");
        wait_state(test, id, JOB_FINISHED);
        assert_int_equal(view_of(pool).counters.retried, 0);
        id = submit(peer, "p", "", "1 MaxAttempts u 4");
        wait_state(test, id, JOB_FINISHED);
        assert_int_equal(view_of(pool).counters.retried, 3);
        call_done(peer, POOL_PATH "p", PROPERTIES, "Set", "ssv", POOL " MaxAttempts u 3");
        call_fails(peer, P, "Run", "aya{sv}", "0 0", X "JobFailed", "");
        assert_int_equal(view_of(pool).counters.retried, 5);
        assert_int_equal(view_of(pool).counters.results[JOB_FAILED], 3);
        peer_free(peer);
}

static void failed_jobs_are_kicked_and_retried(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        Pool *pool = make_failing_pool(test);

        for (unsigned i = 1; i <= 3; i++) {
                (void) submit(peer, "p", "", "0");
                wait_state(test, i, JOB_FINISHED);
        }
        call_done(peer, P, "Pause", "", "");
        assert_int_equal(call_for_number(peer, P, "Kick", "u", "0"), 0);
        assert_int_equal(call_for_number(peer, P, "Kick", "u", "1"), 1);
        wait_state(test, 1, JOB_QUEUED);
        call_fails(peer, JOB_PATH "1", JOB, "Retry", "", "", X "InvalidState", "not finished");
        call_done(peer, JOB_PATH "3", JOB, "Retry", "", "");
        call_fails(peer, JOB_PATH "2", JOB, "Retry", "", "", X "QueueFull", "2");
        assert_int_equal(call_for_number(peer, P, "Kick", "u", "9"), 0);
        assert_int_equal(view_of(pool).counters.rejected, 0);
        call_done(peer, P, "Drain", "t", "0");
        call_fails(peer, JOB_PATH "2", JOB, "Retry", "", "", X "Draining", "2");
        call_done(peer, P, "Resume", "", "");
        wait_state(test, 3, JOB_FINISHED);
        assert_int_equal(view_of(pool).counters.submitted, 5);
        assert_int_equal(view_of(pool).counters.results[JOB_FAILED], 5);
        peer_free(peer);
}

static void what_succeeded_is_not_done_again(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);

        (void) bus_test_pool(
                test, "p", "Handler", "module", "ModulePath", "echo.so", "Workers", "1", NULL);
        (void) submit(peer, "p", "", "0");
        wait_state(test, 1, JOB_FINISHED);
        call_fails(peer, JOB_PATH "1", JOB, "Retry", "", "", X "InvalidState", "succeeded");
        assert_int_equal(call_for_number(peer, P, "Kick", "u", "9"), 0);
        peer_free(peer);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, bus_test_setup, bus_test_teardown)
        const struct CMUnitTest tests[] = {
                TEST(whoever_does_not_wait_is_refused),
                TEST(who_waits_in_vain_is_refused_in_time),
                TEST(overflow_wait_waits_as_long_as_the_pool_says),
                TEST(all_kinds_of_calls_wait_and_go_on),
                TEST(a_caller_that_goes_gives_its_place_back),
                TEST(who_waits_hears_of_a_drain),
                TEST(who_waits_hears_that_the_pool_goes),
                TEST(partial_neither_waits_nor_drops),
                TEST(what_partial_leaves_out_counts_as_rejected),
                TEST(callers_of_dropped_jobs_are_told),
                TEST(attempts_are_bounded_by_pool_and_option),
                TEST(failed_jobs_are_kicked_and_retried),
                TEST(what_succeeded_is_not_done_again),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
