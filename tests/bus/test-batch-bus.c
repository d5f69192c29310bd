/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Batches as they are seen and set on the bus. */

#include "test.h"

#include <string.h>

#include "bus-test.h"
#include "util/macro.h"

#define E "org.freedesktop.DBus.Error."
#define M MANAGER_PATH, MANAGER
#define P POOL_PATH "p", POOL

static uint64_t get(Peer *peer, const char *name) {
        _cleanup_free_ char *text = NULL;
        const char *contents;
        sd_bus_message *m;
        uint64_t t = 0;
        uint32_t u = 0;
        bool is_u;

        assert_true(asprintf(&text, POOL " %s", name) > 0);
        m = call_ok(peer, POOL_PATH "p", PROPERTIES, "Get", "ss", text);
        assert_true(sd_bus_message_peek_type(m, NULL, &contents) > 0);
        is_u = strcmp(contents, "u") == 0;
        assert_true(sd_bus_message_read(m, "v", contents, is_u ? (void *) &u : &t) > 0);
        sd_bus_message_unref(m);
        return is_u ? u : t;
}

static void expect_reason(Peer *peer, uint64_t id, const char *reason) {
        _cleanup_free_ char *path = NULL;
        sd_bus_message *m;
        const char *s;

        assert_true(asprintf(&path, JOB_PATH "%llu", (unsigned long long) id) > 0);
        m = call_ok(peer, path, PROPERTIES, "Get", "ss", JOB " PendingReason");
        assert_true(sd_bus_message_read(m, "v", "s", &s) > 0);
        assert_string_equal(s, reason);
        sd_bus_message_unref(m);
}

static void a_batch_is_made_of_jobs_of_several_calls(void **state) {
        Peer *root = peer_new(*state, 0);
        uint64_t first, second;

        (void) bus_test_pool(*state, "p", "Handler", "module", "ModulePath", "echo.so", "BatchSize",
                "3", "BatchTimeout", "1h", NULL);
        first = submit(root, "p", "a", "0");
        second = submit(root, "p", "b", "0");
        expect_reason(root, first, "batch");
        expect_reason(root, second, "batch");
        assert_int_equal(get(root, "Batches"), 0);
        (void) submit(root, "p", "c", "0");
        wait_state(*state, first, JOB_FINISHED);
        wait_state(*state, second, JOB_FINISHED);
        assert_int_equal(get(root, "Batches"), 1);
        peer_free(root);
}

static void settings_of_batches_can_be_read_and_set(void **state) {
        Peer *root = peer_new(*state, 0);
        uint64_t id;

        (void) bus_test_pool(*state, "p", "Handler", "module", "ModulePath", "echo.so", NULL);
        assert_int_equal(get(root, "BatchSize"), 1);
        assert_int_equal(get(root, "BatchTimeoutUSec"), 250000);
        call_done(root, P, "Set", "a{sv}", "2 BatchSize u 4 BatchTimeoutUSec t 3600000000");
        assert_int_equal(get(root, "BatchSize"), 4);
        assert_int_equal(get(root, "BatchTimeoutUSec"), 3600000000);
        id = submit(root, "p", "a", "0");
        expect_reason(root, id, "batch");
        /* What gathers is enough now. */
        call_done(root, POOL_PATH "p", PROPERTIES, "Set", "ssv", POOL " BatchSize u 1");
        wait_state(*state, id, JOB_FINISHED);
        call_done(root, P, "Set", "a{sv}", "2 BatchSize s 4 BatchTimeout s 1h");
        id = submit(root, "p", "a", "0");
        expect_reason(root, id, "batch");
        call_done(root, POOL_PATH "p", PROPERTIES, "Set", "ssv", POOL " BatchTimeoutUSec t 0");
        wait_state(*state, id, JOB_FINISHED);
        peer_free(root);
}

static void a_timeout_alone_makes_batches_of_sixteen(void **state) {
        Peer *root = peer_new(*state, 0);

        (void) bus_test_pool(*state, "p", "Handler", "module", "ModulePath", "echo.so",
                "BatchTimeout", "1h", NULL);
        assert_int_equal(get(root, "BatchSize"), 16);
        peer_free(root);
}

static void a_drain_answers_when_the_last_batch_has_ended(void **state) {
        Peer *root = peer_new(*state, 0);
        sd_bus_message *m;
        uint64_t id;
        int empty;

        (void) bus_test_pool(*state, "p", "Handler", "module", "ModulePath", "echo.so", "BatchSize",
                "3", "BatchTimeout", "1h", NULL);
        id = submit(root, "p", "a", "0");
        m = call_ok(root, P, "Drain", "t", "60000000");
        assert_true(sd_bus_message_read(m, "b", &empty) > 0);
        assert_true(empty);
        sd_bus_message_unref(m);
        wait_state(*state, id, JOB_FINISHED);
        peer_free(root);
}

static void one_call_has_the_results_of_its_jobs_in_order(void **state) {
        Peer *root = peer_new(*state, 0);
        const char *result;
        sd_bus_message *m;
        const void *output;
        uint64_t id;
        size_t size;

        (void) bus_test_pool(*state, "p", "Handler", "command", "ExecStart", "/bin/cat", "Batch",
                "netstring", "BatchSize", "2", "BatchTimeout", "1ms", NULL);
        m = call_ok(root, P, "RunMany", "aaya{sv}", "3 1 65 2 66 66 0 0");
        assert_true(sd_bus_message_enter_container(m, 'a', "(tsay)") > 0);
        for (size_t i = 0; i < 3; i++) {
                assert_true(sd_bus_message_enter_container(m, 'r', "tsay") > 0);
                assert_true(sd_bus_message_read(m, "ts", &id, &result) > 0);
                assert_true(sd_bus_message_read_array(m, 'y', &output, &size) >= 0);
                assert_string_equal(result, "succeeded");
                assert_int_equal(size, (i + 1) % 3);
                assert_true(sd_bus_message_exit_container(m) >= 0);
        }
        sd_bus_message_unref(m);
        assert_int_equal(get(root, "Batches"), 2);
        peer_free(root);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, bus_test_setup, bus_test_teardown)
                TEST(a_batch_is_made_of_jobs_of_several_calls),
                TEST(settings_of_batches_can_be_read_and_set),
                TEST(a_timeout_alone_makes_batches_of_sixteen),
                TEST(a_drain_answers_when_the_last_batch_has_ended),
                TEST(one_call_has_the_results_of_its_jobs_in_order),
#undef TEST
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
