/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* org.sluice1.Limiter and the manager's methods for it. */

#include "test.h"

#include <string.h>

#include "bus-test.h"
#include "util/macro.h"

#define E "org.freedesktop.DBus.Error."
#define X "org.sluice1.Error."

#define FOREVER "18446744073709551615"

#define M MANAGER_PATH, MANAGER
#define LIMITER_PATH "/org/sluice1/limiter/"
#define LIMITER "org.sluice1.Limiter"
#define L LIMITER_PATH "l", LIMITER

static Peer *make(BusTest *test, const char *settings) {
        Peer *root = peer_new(test, 0);

        call_done(root, M, "CreateLimiter", "sa{sv}", settings);
        return root;
}

static uint64_t get_number(Peer *peer, const char *path, const char *property) {
        char text[128];
        uint64_t n = 0;
        uint32_t u = 0;
        const char *contents;
        sd_bus_message *m;
        char type;

        (void) snprintf(text, sizeof(text), LIMITER " %s", property);
        m = call_ok(peer, path, PROPERTIES, "Get", "ss", text);
        assert_true(sd_bus_message_peek_type(m, &type, &contents) > 0);
        if (contents[0] == 'u')
                assert_true(sd_bus_message_read(m, "v", "u", &u) > 0);
        else
                assert_true(sd_bus_message_read(m, "v", "t", &n) > 0);
        sd_bus_message_unref(m);
        return n + u;
}

static bool try_acquire(Peer *peer, const char *tokens, uint64_t *ret_wait) {
        sd_bus_message *m = call_ok(peer, L, "TryAcquire", "t", tokens);
        int granted;

        assert_true(sd_bus_message_read(m, "bt", &granted, ret_wait) > 0);
        sd_bus_message_unref(m);
        return granted;
}

static void expect_error(Peer *peer, Reply *reply, const char *name, const char *contains) {
        const sd_bus_error *e;

        reply_wait(peer, reply);
        e = sd_bus_message_get_error(reply->message);
        assert_non_null(e);
        assert_string_equal(e->name, name);
        assert_non_null(strstr(e->message, contains));
        reply_done(reply);
}

static void expect_answer(Peer *peer, Reply *reply) {
        reply_wait(peer, reply);
        assert_null(sd_bus_message_get_error(reply->message));
        reply_done(reply);
}

static bool one_waits(void *userdata) {
        BusTest *test = userdata;
        LimiterView view;

        shared_limiter_view(engine_find_limiter(test->engine, "l"), &view);
        return view.n_waiters == 1;
}

static bool nobody_waits(void *userdata) {
        BusTest *test = userdata;
        LimiterView view;

        shared_limiter_view(engine_find_limiter(test->engine, "l"), &view);
        return view.n_waiters == 0;
}

static void a_limiter_can_be_made_used_and_removed(void **state) {
        Peer *root = make(*state, "l 2 Rate s 3/h Burst t 3");
        uint64_t wait;

        assert_int_equal(get_number(root, LIMITER_PATH "l", "Rate"), 3);
        assert_int_equal(get_number(root, LIMITER_PATH "l", "PeriodUSec"), USEC_PER_HOUR);
        assert_int_equal(get_number(root, LIMITER_PATH "l", "Burst"), 3);
        assert_int_equal(get_number(root, LIMITER_PATH "l", "Tokens"), 3);
        assert_true(try_acquire(root, "2", &wait));
        assert_int_equal(wait, 0);
        assert_false(try_acquire(root, "2", &wait));
        assert_true(wait > 0 && wait <= USEC_PER_HOUR / 3);
        assert_int_equal(get_number(root, LIMITER_PATH "l", "Granted"), 2);
        assert_int_equal(get_number(root, LIMITER_PATH "l", "Denied"), 1);
        call_done(root, L, "Drain", "", "");
        assert_int_equal(get_number(root, LIMITER_PATH "l", "Tokens"), 0);
        call_done(root, M, "RemoveLimiter", "sb", "l false");
        call_fails(root, M, "GetLimiter", "s", "l", X "NotFound", "l");
        peer_free(root);
}

static void an_acquire_waits_for_its_tokens(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "l 2 Rate s 1/h Burst t 2");
        Reply waits = {}, impatient = {}, large = {}, last = {};

        call_done(root, L, "Acquire", "tt", "2 0");
        call_fails(root, L, "Acquire", "tt", "1 0", X "Timeout", "");
        call_start(root, &impatient, L, "Acquire", "tt", "1 1000");
        expect_error(root, &impatient, X "Timeout", "");

        call_start(root, &waits, L, "Acquire", "tt", "1 " FOREVER);
        call_start(root, &large, L, "Acquire", "tt", "2 " FOREVER);
        bus_test_turn(test);
        assert_int_equal(get_number(root, LIMITER_PATH "l", "Waiters"), 2);
        call_done(root, L, "Set", "a{sv}", "1 Burst t 1");
        expect_error(root, &large, X "RateLimited", "retry after");
        call_done(root, L, "Set", "a{sv}", "1 Rate s 1000/s");
        expect_answer(root, &waits);

        call_done(root, L, "Hold", "t", FOREVER);
        call_start(root, &last, L, "Acquire", "tt", "1 " FOREVER);
        bus_test_until(test, one_waits, test);
        call_done(root, M, "RemoveLimiter", "sb", "l true");
        expect_error(root, &last, X "NotFound", "removed");
        peer_free(root);
}

static void who_waits_is_told_of_the_removal_with_cancel_or_without(void **state) {
        static const char *const calls[] = { "l false", "l true" };
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);

        for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
                Reply waits = {};

                call_done(root, M, "CreateLimiter", "sa{sv}", "l 1 Rate s 1/h");
                call_done(root, L, "Drain", "", "");
                call_start(root, &waits, L, "Acquire", "tt", "1 " FOREVER);
                bus_test_until(test, one_waits, test);
                call_done(root, M, "RemoveLimiter", "sb", calls[i]);
                expect_error(root, &waits, X "NotFound", "removed");
        }
        peer_free(root);
}

static void what_is_used_names_its_users(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "l 1 Rate s 1/h");
        char name[] = "p1";

        for (; name[1] < '6'; name[1]++)
                (void) bus_test_pool(test, name, "Handler", "module", "ModulePath", "echo.so",
                        "Limiter", "l", NULL);
        call_fails(root, M, "RemoveLimiter", "sb", "l true", X "InvalidState",
                "The limiter l is used by the pools p1, p2, p3, p4, p5");
        (void) bus_test_pool(
                test, name, "Handler", "module", "ModulePath", "echo.so", "Limiter", "l", NULL);
        call_fails(root, M, "RemoveLimiter", "sb", "l true", X "InvalidState",
                "The limiter l is used by the pools p1, p2, p3, p4, p5, …");
        peer_free(root);
}

static void a_caller_that_goes_leaves_the_line(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "l 2 Rate s 1/h Burst t 1"), *other = peer_new(test, 0);
        Reply waits = {};

        call_done(root, L, "Drain", "", "");
        call_start(other, &waits, L, "Acquire", "tt", "1 " FOREVER);
        bus_test_until(test, one_waits, test);
        reply_done(&waits);
        peer_free(other);
        bus_test_until(test, nobody_waits, test);
        peer_free(root);
}

static void a_pool_tells_its_limiter(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "l 1 Rate s 1/h");
        const char *path;
        sd_bus_message *m;

        (void) bus_test_pool(
                test, "p", "Handler", "module", "ModulePath", "echo.so", "Limiter", "l", NULL);
        (void) bus_test_pool(test, "own", "Handler", "module", "ModulePath", "echo.so",
                "LimiterRate", "10/min", "LimiterBurst", "4", NULL);
        m = call_ok(root, POOL_PATH "p", PROPERTIES, "Get", "ss", POOL " Limiter");
        assert_true(sd_bus_message_read(m, "v", "o", &path) > 0);
        assert_string_equal(path, LIMITER_PATH "l");
        sd_bus_message_unref(m);
        assert_int_equal(get_number(root, LIMITER_PATH "own", "Burst"), 4);
        call_fails(root, M, "RemoveLimiter", "sb", "l true", X "InvalidState",
                "The limiter l is used by the pool p");
        call_fails(root, M, "RemoveLimiter", "sb", "own true", X "InvalidState",
                "The limiter own is used by the pool own");
        call_done(root, M, "RemovePool", "sb", "own true");
        call_fails(root, M, "GetLimiter", "s", "own", X "NotFound", "own");
        call_done(root, M, "RemovePool", "sb", "p true");
        call_done(root, M, "RemoveLimiter", "sb", "l true");
        peer_free(root);
}

static void a_name_and_its_escaped_path_are_the_same_object(void **state) {
        static const char *const names[] = { "l", "a-b", "3.l", "under_score", "9" };
        Peer *root = peer_new(*state, 0);

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                char settings[128], *encoded = NULL;
                const char *path;
                sd_bus_message *m;

                (void) snprintf(settings, sizeof(settings), "%s 1 Rate s 1/h", names[i]);
                call_done(root, M, "CreateLimiter", "sa{sv}", settings);
                assert_true(sd_bus_path_encode("/org/sluice1/limiter", names[i], &encoded) >= 0);
                m = call_ok(root, M, "GetLimiter", "s", names[i]);
                assert_true(sd_bus_message_read(m, "o", &path) > 0);
                assert_string_equal(path, encoded);
                sd_bus_message_unref(m);

                m = call_ok(root, encoded, PROPERTIES, "Get", "ss", LIMITER " Name");
                sd_bus_message_unref(m);
                free(encoded);
        }
        peer_free(root);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, bus_test_setup, bus_test_teardown)
                TEST(a_limiter_can_be_made_used_and_removed),
                TEST(a_name_and_its_escaped_path_are_the_same_object),
                TEST(an_acquire_waits_for_its_tokens),
                TEST(who_waits_is_told_of_the_removal_with_cancel_or_without),
                TEST(what_is_used_names_its_users),
                TEST(a_caller_that_goes_leaves_the_line),
                TEST(a_pool_tells_its_limiter),
#undef TEST
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
