/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* org.sluice1.Breaker and the manager's methods for it. */

#include "test.h"

#include <string.h>

#include "bus-test.h"
#include "util/macro.h"

#define E "org.freedesktop.DBus.Error."
#define X "org.sluice1.Error."

#define M MANAGER_PATH, MANAGER
#define BREAKER_PATH "/org/sluice1/breaker/"
#define BREAKER "org.sluice1.Breaker"
#define B BREAKER_PATH "b", BREAKER

static Peer *make(BusTest *test, const char *settings) {
        Peer *root = peer_new(test, 0);

        call_done(root, M, "CreateBreaker", "sa{sv}", settings);
        return root;
}

static BreakerView look(BusTest *test) {
        BreakerView view;

        shared_breaker_view(engine_find_breaker(test->engine, "b"), &view);
        return view;
}

static uint64_t allow(Peer *peer) {
        sd_bus_message *m = call_ok(peer, B, "Allow", "", "");
        uint64_t permit;
        int allowed;

        assert_true(sd_bus_message_read(m, "bt", &allowed, &permit) > 0);
        assert_int_equal(allowed, permit > 0);
        sd_bus_message_unref(m);
        return permit;
}

static void report(Peer *peer, uint64_t permit, bool succeeded) {
        char text[64];

        (void) snprintf(text, sizeof(text), "%llu %s", (unsigned long long) permit,
                succeeded ? "true" : "false");
        call_done(peer, B, "Report", "tb", text);
}

static void expect_state(Peer *peer, const char *state) {
        sd_bus_message *m =
                call_ok(peer, BREAKER_PATH "b", PROPERTIES, "Get", "ss", BREAKER " State");
        const char *s;

        assert_true(sd_bus_message_read(m, "v", "s", &s) > 0);
        assert_string_equal(s, state);
        sd_bus_message_unref(m);
}

static bool two_failed(void *test) {
        return look(test).failures == 2;
}

static void permits_are_asked_for_and_reported(void **state) {
        Peer *root = make(*state, "b 2 MaxFailures u 2 ResetTimeout s 1h");
        uint64_t first = allow(root), second = allow(root);

        assert_true(second > first);
        assert_int_equal(look(*state).in_flight, 2);
        report(root, second, false);
        expect_state(root, "closed");
        report(root, first, false);
        expect_state(root, "open");
        assert_int_equal(allow(root), 0);
        call_fails(root, B, "Report", "tb", "1 true", X "NotFound", "permit 1");
        call_done(root, B, "Reset", "", "");
        expect_state(root, "closed");
        call_done(root, B, "Trip", "", "");
        expect_state(root, "open");
        call_done(root, B, "Set", "a{sv}", "1 Mode s disabled");
        expect_state(root, "closed");
        call_fails(root, B, "Trip", "", "", X "InvalidState", "disabled");
        call_done(root, M, "RemoveBreaker", "sb", "b false");
        call_fails(root, M, "GetBreaker", "s", "b", X "NotFound", "b");
        peer_free(root);
}

static void permits_are_bound_to_the_connection(void **state) {
        Peer *root = make(*state, "b 1 MaxFailures u 5"), *other = peer_new(*state, 0);
        uint64_t permit = allow(other);
        char text[64];

        (void) snprintf(text, sizeof(text), "%llu true", (unsigned long long) permit);
        call_fails(root, B, "Report", "tb", text, X "NotFound", "permit");
        (void) allow(other);
        peer_free(other);
        bus_test_until(*state, two_failed, *state);
        assert_int_equal(look(*state).in_flight, 0);
        peer_free(root);
}

static void permits_end_with_the_breaker_with_cancel_or_without(void **state) {
        static const char *const calls[] = { "b false", "b true" };
        Peer *root = peer_new(*state, 0);

        for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
                char text[64];

                call_done(root, M, "CreateBreaker", "sa{sv}", "b 0");
                (void) snprintf(text, sizeof(text), "%llu true", (unsigned long long) allow(root));
                call_done(root, M, "RemoveBreaker", "sb", calls[i]);
                call_fails(root, B, "Report", "tb", text, E "UnknownObject", "");
                call_done(root, M, "CreateBreaker", "sa{sv}", "b 0");
                call_fails(root, B, "Report", "tb", text, X "NotFound", "permit");
                call_done(root, M, "RemoveBreaker", "sb", calls[i]);
        }
        peer_free(root);
}

static void an_open_breaker_refuses_submits(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "b 1 ResetTimeout s 1h"), *stranger = peer_new(test, 1234);
        const char *path;
        sd_bus_message *m;

        (void) bus_test_pool(
                test, "p", "Handler", "module", "ModulePath", "echo.so", "Breaker", "b", NULL);
        (void) bus_test_pool(test, "holds", "Handler", "module", "ModulePath", "echo.so", "Breaker",
                "b", "OnOpen", "hold", NULL);
        (void) bus_test_pool(test, "own", "Handler", "module", "ModulePath", "echo.so",
                "BreakerMaxFailures", "3", NULL);
        m = call_ok(root, POOL_PATH "own", PROPERTIES, "Get", "ss", POOL " Breaker");
        assert_true(sd_bus_message_read(m, "v", "o", &path) > 0);
        assert_string_equal(path, BREAKER_PATH "own");
        sd_bus_message_unref(m);

        call_done(root, B, "Trip", "", "");
        call_fails(root, POOL_PATH "p", POOL, "Submit", "aya{sv}", "0 0", X "CircuitOpen", " us");
        call_fails(root, POOL_PATH "p", POOL, "RunMany", "aaya{sv}", "1 1 65 0", X "CircuitOpen",
                "retry after");
        call_fails(root, POOL_PATH "p", POOL, "SubmitMany", "aaya{sv}", "1 1 65 1 Partial b true",
                X "CircuitOpen", "retry after");
        call_fails(stranger, POOL_PATH "p", POOL, "Submit", "aya{sv}", "0 0", E "AccessDenied", "");
        (void) submit(root, "holds", "x", "0");
        call_fails(root, M, "RemoveBreaker", "sb", "b true", X "InvalidState",
                "The breaker b is used by the pools p, holds");
        call_done(root, B, "Reset", "", "");
        (void) submit(root, "p", "x", "0");
        peer_free(stranger);
        peer_free(root);
}

typedef struct Changes {
        char text[64]; /* of all of them: "old new " */
        usec_t at;     /* of the last one */
} Changes;

static int on_state_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Changes *changes = userdata;
        const char *old, *new;
        size_t n = strlen(changes->text);

        assert_true(sd_bus_message_read(m, "ss", &old, &new) > 0);
        (void) snprintf(changes->text + n, sizeof(changes->text) - n, "%s %s ", old, new);
        changes->at = usec_now(CLOCK_MONOTONIC);
        return 0;
}

static bool is_half_open(void *userdata) {
        return strstr(((const Changes *) userdata)->text, "open half-open ");
}

/* Nobody asks and no job comes: it is the timer that moves it. */
static void changes_of_the_state_are_told_by_the_time_alone(void **state) {
        Peer *root = make(*state, "b 1 ResetTimeout s 20ms");
        usec_t start = usec_now(CLOCK_MONOTONIC);
        Changes changes = {};

        assert_return_code(
                sd_bus_match_signal_async(root->bus, NULL, SLUICE_BUS_NAME, BREAKER_PATH "b",
                        BREAKER, "StateChanged", on_state_changed, NULL, &changes),
                0);
        call_done(root, B, "Trip", "", "");
        bus_test_until(*state, is_half_open, &changes);
        assert_string_equal(changes.text, "closed open open half-open ");
        assert_true(changes.at - start >= 20 * USEC_PER_MSEC);
        peer_free(root);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, bus_test_setup, bus_test_teardown)
                TEST(permits_are_asked_for_and_reported),
                TEST(permits_are_bound_to_the_connection),
                TEST(permits_end_with_the_breaker_with_cancel_or_without),
                TEST(an_open_breaker_refuses_submits),
                TEST(changes_of_the_state_are_told_by_the_time_alone),
#undef TEST
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
