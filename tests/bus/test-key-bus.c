/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ConcurrencyKeys as they are given and seen on the bus. */

#include "test.h"

#include <string.h>

#include "bus-test.h"
#include "util/macro.h"

#define E "org.freedesktop.DBus.Error."
#define P POOL_PATH "p", POOL

static void expect_text(Peer *peer, uint64_t id, const char *name, const char *expected) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        sd_bus_message *m;
        const char *s;

        assert_true(asprintf(&path, JOB_PATH "%llu", (unsigned long long) id) > 0);
        assert_true(asprintf(&text, JOB " %s", name) > 0);
        m = call_ok(peer, path, PROPERTIES, "Get", "ss", text);
        assert_true(sd_bus_message_read(m, "v", "s", &s) > 0);
        assert_string_equal(s, expected);
        sd_bus_message_unref(m);
}

static uint32_t key_concurrency(Peer *peer) {
        sd_bus_message *m;
        uint32_t n;

        m = call_ok(peer, POOL_PATH "p", PROPERTIES, "Get", "ss", POOL " KeyConcurrency");
        assert_true(sd_bus_message_read(m, "v", "u", &n) > 0);
        sd_bus_message_unref(m);
        return n;
}

/* They run until they are cancelled. */
static Pool *make_pool(BusTest *test) {
        return bus_test_pool(test, "p", "Handler", "command", "ExecStart", "/bin/sleep 600",
                "Workers", "4", NULL);
}

static uint64_t submit_many(Peer *peer, const char *text) {
        sd_bus_message *m = call_ok(peer, P, "SubmitMany", "aaya{sv}", text);
        uint64_t first;
        uint32_t n;

        assert_true(sd_bus_message_read(m, "tu", &first, &n) > 0);
        sd_bus_message_unref(m);
        return first;
}

static void cancel(Peer *peer, uint64_t id) {
        _cleanup_free_ char *text = NULL;

        assert_true(asprintf(&text, "%llu", (unsigned long long) id) > 0);
        call_done(peer, MANAGER_PATH, MANAGER, "CancelJob", "t", text);
}

static void all_jobs_of_a_call_share_its_key(void **state) {
        Peer *root = peer_new(*state, 0);
        uint64_t first, other;

        (void) make_pool(*state);
        first = submit_many(root, "3 0 0 0 1 ConcurrencyKey s disk");
        other = submit(root, "p", "", "1 ConcurrencyKey s tape");
        wait_state(*state, first, JOB_RUNNING);
        wait_state(*state, other, JOB_RUNNING);
        for (uint64_t id = first + 1; id < first + 3; id++) {
                expect_text(root, id, "State", "queued");
                expect_text(root, id, "PendingReason", "key");
                expect_text(root, id, "ConcurrencyKey", "disk");
        }
        cancel(root, first);
        wait_state(*state, first + 1, JOB_RUNNING);
        expect_text(root, first + 2, "PendingReason", "key");
        peer_free(root);
}

/* It stands for something that does not become two with two users. */
static void a_key_is_the_same_for_all_users(void **state) {
        Peer *root = peer_new(*state, 0), *other = peer_new(*state, 1234);
        uint64_t first, second;

        (void) bus_test_pool(*state, "p", "Handler", "command", "ExecStart", "/bin/sleep 600",
                "Workers", "4", "Fairness", "user", "AllowUsers", "1234", NULL);
        first = submit(root, "p", "", "1 ConcurrencyKey s disk");
        second = submit(other, "p", "", "1 ConcurrencyKey s disk");
        wait_state(*state, first, JOB_RUNNING);
        expect_text(other, second, "PendingReason", "key");
        cancel(root, first);
        wait_state(*state, second, JOB_RUNNING);
        peer_free(other);
        peer_free(root);
}

static void more_of_a_key_can_be_allowed_at_run_time(void **state) {
        Peer *root = peer_new(*state, 0);
        uint64_t first;

        (void) make_pool(*state);
        assert_int_equal(key_concurrency(root), 1);
        first = submit_many(root, "3 0 0 0 1 ConcurrencyKey s disk");
        wait_state(*state, first, JOB_RUNNING);
        call_done(root, P, "Set", "a{sv}", "1 KeyConcurrency u 2");
        assert_int_equal(key_concurrency(root), 2);
        wait_state(*state, first + 1, JOB_RUNNING);
        expect_text(root, first + 2, "PendingReason", "key");
        call_done(root, POOL_PATH "p", PROPERTIES, "Set", "ssv", POOL " KeyConcurrency u 3");
        wait_state(*state, first + 2, JOB_RUNNING);
        peer_free(root);
}

static void a_key_has_1_to_255_bytes(void **state) {
        char text[512] = "0 1 ConcurrencyKey s ";
        Peer *root = peer_new(*state, 0);

        (void) bus_test_pool(*state, "p", "Handler", "module", "ModulePath", "echo.so", NULL);
        memset(text + strlen(text), 'k', 255);
        call_done(root, P, "Run", "aya{sv}", text);
        text[strlen(text)] = 'k';
        call_fails(root, P, "Run", "aya{sv}", text, E "InvalidArgs",
                "256 bytes, allowed are 1 to 255");
        peer_free(root);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(
                        all_jobs_of_a_call_share_its_key, bus_test_setup, bus_test_teardown),
                cmocka_unit_test_setup_teardown(
                        a_key_is_the_same_for_all_users, bus_test_setup, bus_test_teardown),
                cmocka_unit_test_setup_teardown(more_of_a_key_can_be_allowed_at_run_time,
                        bus_test_setup, bus_test_teardown),
                cmocka_unit_test_setup_teardown(
                        a_key_has_1_to_255_bytes, bus_test_setup, bus_test_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
