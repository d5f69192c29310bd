/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* org.sluice1.Group and SubmitGroup: what a caller gets, who may see it, and who is told. */

#include "test.h"

#include <stdio.h>
#include <string.h>

#include "bus-test.h"
#include "engine/job-group.h"
#include "util/macro.h"

#define ALICE 1000
#define BOB 1001
#define E "org.freedesktop.DBus.Error."
#define X "org.sluice1.Error."

#define FOREVER "18446744073709551615"

#define M MANAGER_PATH, MANAGER
#define ECHO POOL_PATH "echo", POOL
#define G(id) "/org/sluice1/group/" #id, "org.sluice1.Group"

static Pool *make_pool(BusTest *test, const char *name) {
        return bus_test_pool(test, name, "Handler", "module", "ModulePath",
                strcmp(name, "fail") == 0 ? "fail.so" : "echo.so", "Workers", "1", "QueueMax",
                "1000", "PayloadMax", "16M", "AllowUsers", "1000 1001", NULL);
}

static void submit_group(Peer *peer, const char *pool, const char *text, uint64_t id) {
        sd_bus_message *m;
        char path[64], expected[64];
        const char *group;

        (void) snprintf(path, sizeof(path), POOL_PATH "%s", pool);
        (void) snprintf(
                expected, sizeof(expected), "/org/sluice1/group/%llu", (unsigned long long) id);
        m = call_ok(peer, path, POOL, "SubmitGroup", "aaya{sv}", text);
        assert_return_code(sd_bus_message_read(m, "o", &group), 0);
        assert_string_equal(group, expected);
        sd_bus_message_unref(m);
}

static bool read_b(sd_bus_message *m) {
        int b = 0;

        assert_return_code(sd_bus_message_read(m, "b", &b), 0);
        sd_bus_message_unref(m);
        return b;
}

/* The next result in the reply, as "id result output"; false at the end. */
static bool result_is(sd_bus_message *m, uint64_t id, const char *result, const char *output) {
        uint64_t real_id;
        const char *real_result;
        const void *data;
        size_t size;

        if (sd_bus_message_enter_container(m, 'r', "tsay") <= 0)
                return false;
        assert_return_code(sd_bus_message_read(m, "ts", &real_id, &real_result), 0);
        assert_return_code(sd_bus_message_read_array(m, 'y', &data, &size), 0);
        assert_return_code(sd_bus_message_exit_container(m), 0);
        assert_int_equal(real_id, id);
        assert_string_equal(real_result, result);
        assert_int_equal(size, strlen(output));
        assert_memory_equal(data, output, size);
        return true;
}

static sd_bus_message *get_results(Peer *peer, const char *path, const char *text) {
        sd_bus_message *m = call_ok(peer, path, "org.sluice1.Group", "GetResults", "tu", text);

        assert_return_code(sd_bus_message_enter_container(m, 'a', "(tsay)"), 0);
        return m;
}

#define PATH(id) "/org/sluice1/group/" #id

static void results_come_in_order_and_in_parts(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE);
        sd_bus_message *m;

        (void) make_pool(test, "echo");
        (void) submit(alice, "echo", "x", "0");
        submit_group(alice, "echo", "3 2 a b 0 1 c 0", 2);
        assert_true(read_b(call_ok(alice, G(2), "Wait", "t", FOREVER)));
        assert_true(read_b(call_ok(alice, G(2), "Wait", "t", "0")));

        m = get_results(alice, PATH(2), "0 4294967295");
        assert_true(result_is(m, 3, "succeeded", "ab"));
        assert_true(result_is(m, 4, "succeeded", ""));
        assert_true(result_is(m, 5, "succeeded", "c"));
        assert_false(result_is(m, 0, "", ""));
        sd_bus_message_unref(m);

        m = get_results(alice, PATH(2), "1 1");
        assert_true(result_is(m, 4, "succeeded", ""));
        assert_false(result_is(m, 0, "", ""));
        sd_bus_message_unref(m);

        m = get_results(alice, PATH(2), "0 0");
        assert_false(result_is(m, 0, "", ""));
        sd_bus_message_unref(m);
        m = get_results(alice, PATH(2), "3 10");
        assert_false(result_is(m, 0, "", ""));
        sd_bus_message_unref(m);
        m = get_results(alice, PATH(2), FOREVER " 10");
        assert_false(result_is(m, 0, "", ""));
        sd_bus_message_unref(m);
        alice = peer_free(alice);
}

static void what_has_not_ended_has_no_result_yet(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        sd_bus_message *m;

        (void) make_pool(test, "echo");
        call_done(root, ECHO, "Pause", "", "");
        submit_group(root, "echo", "2 1 a 1 b 1 Tag s t", 1);
        assert_false(read_b(call_ok(root, G(1), "Wait", "t", "0")));
        assert_false(read_b(call_ok(root, G(1), "Wait", "t", "1")));
        call_fails(root, G(1), "Forget", "", "", X "InvalidState", "has not finished");
        call_done(root, M, "CancelJob", "t", "3");
        m = get_results(root, PATH(1), "0 10");
        assert_true(result_is(m, 2, "", ""));
        assert_true(result_is(m, 3, "cancelled", "cancelled"));
        assert_false(result_is(m, 0, "", ""));
        sd_bus_message_unref(m);

        call_done(root, G(1), "Cancel", "", "");
        assert_true(read_b(call_ok(root, G(1), "Wait", "t", FOREVER)));
        m = get_results(root, PATH(1), "0 10");
        assert_true(result_is(m, 2, "cancelled", "its group was cancelled"));
        sd_bus_message_unref(m);
        call_fails(root, G(1), "Cancel", "", "", X "InvalidState", "has finished");
        call_fails(root, JOB_PATH "2", JOB, "Retry", "", "", X "InvalidState", "one of a group");
        call_done(root, G(1), "Forget", "", "");
        call_fails(root, G(1), "Forget", "", "", E "UnknownObject", "");
        call_fails(root, JOB_PATH "2", JOB, "GetResult", "", "", E "UnknownObject", "");
        root = peer_free(root);
}

static void an_output_without_room_is_left_out(void **state) {
        enum { SIZE = 6 * 1024 * 1024 };
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        _cleanup_free_ char *data = calloc(SIZE, 1);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *results = NULL;
        _cleanup_reply_ Reply reply = {};
        const void *output;
        size_t size;

        assert_non_null(data);
        (void) bus_test_pool(test, "echo", "Handler", "module", "ModulePath", "echo.so", "Workers",
                "1", "PayloadMax", "16M", NULL);
        assert_return_code(
                sd_bus_message_new_method_call(root->bus, &m, SLUICE_BUS_NAME, ECHO, "SubmitGroup"),
                0);
        assert_return_code(sd_bus_message_open_container(m, 'a', "ay"), 0);
        for (int i = 0; i < 3; i++)
                assert_return_code(sd_bus_message_append_array(m, 'y', data, SIZE), 0);
        assert_return_code(sd_bus_message_close_container(m), 0);
        append_text(m, "a{sv}", "0");
        call_message(root, &reply, m);
        reply_wait(root, &reply);
        assert_true(read_b(call_ok(root, G(1), "Wait", "t", FOREVER)));

        results = get_results(root, PATH(1), "0 3");
        for (uint64_t i = 0; i < 2; i++) {
                assert_return_code(sd_bus_message_enter_container(results, 'r', "tsay"), 0);
                assert_return_code(sd_bus_message_skip(results, "ts"), 0);
                assert_return_code(sd_bus_message_read_array(results, 'y', &output, &size), 0);
                assert_int_equal(size, SIZE);
                assert_return_code(sd_bus_message_exit_container(results), 0);
        }
        assert_true(result_is(results, 4, "succeeded", "too large: use GetResult"));
        call_done(root, JOB_PATH "4", JOB, "GetResult", "", "");
        root = peer_free(root);
}

enum { LONG_TEXT = 4000, N_LONG_TEXTS = 5000 };

/* Jobs of a pool whose error texts are long, by the method of that name. */
static void submit_long_texts(Peer *peer, Reply *reply, const char *member) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

        assert_return_code(sd_bus_message_new_method_call(
                                   peer->bus, &m, SLUICE_BUS_NAME, POOL_PATH "fail", POOL, member),
                0);
        assert_return_code(sd_bus_message_open_container(m, 'a', "ay"), 0);
        for (int i = 0; i < N_LONG_TEXTS; i++)
                assert_return_code(sd_bus_message_append_array(m, 'y', "", 0), 0);
        assert_return_code(sd_bus_message_close_container(m), 0);
        append_text(m, "a{sv}", "0");
        call_message(peer, reply, m);
        reply_wait(peer, reply);
}

static void assert_long_texts_fit(sd_bus_message *results) {
        size_t size, total = 0, n_cut = 0;
        const void *text;

        for (int i = 0; i < N_LONG_TEXTS; i++) {
                assert_return_code(sd_bus_message_enter_container(results, 'r', "tsay"), 0);
                assert_return_code(sd_bus_message_skip(results, "ts"), 0);
                assert_return_code(sd_bus_message_read_array(results, 'y', &text, &size), 0);
                assert_return_code(sd_bus_message_exit_container(results), 0);
                total += size;
                if (size == LONG_TEXT)
                        continue;
                assert_int_equal(size, strlen("too large: use GetResult"));
                assert_memory_equal(text, "too large: use GetResult", size);
                n_cut++;
        }
        assert_true(n_cut > 0);
        assert_true(total < 16 << 20);
}

static void assert_long_text_is_kept(Peer *peer, const char *path) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const void *text;
        size_t size;

        m = call_ok(peer, path, JOB, "GetResult", "", "");
        assert_return_code(sd_bus_message_skip(m, "s"), 0);
        assert_return_code(sd_bus_message_read_array(m, 'y', &text, &size), 0);
        assert_int_equal(size, LONG_TEXT);
}

static void error_texts_without_room_are_left_out(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        _cleanup_free_ char *options = malloc(sizeof("text=") + LONG_TEXT);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *results = NULL;
        _cleanup_reply_ Reply group = {}, run = {};

        assert_non_null(options);
        (void) sprintf(options, "text=%0*d", LONG_TEXT, 0);
        (void) bus_test_pool(test, "fail", "Handler", "module", "ModulePath", "fail.so",
                "ModuleOptions", options, "Workers", "1", "QueueMax", "5000", NULL);

        submit_long_texts(root, &group, "SubmitGroup");
        assert_true(read_b(call_ok(root, G(1), "Wait", "t", FOREVER)));
        results = get_results(root, PATH(1), "0 5000");
        assert_long_texts_fit(results);
        assert_long_text_is_kept(root, JOB_PATH "5001");

        submit_long_texts(root, &run, "RunMany");
        assert_return_code(sd_bus_message_enter_container(run.message, 'a', "(tsay)"), 0);
        assert_long_texts_fit(run.message);
        assert_long_text_is_kept(root, JOB_PATH "10001");

        /* Their caller has been answered, so they have no other life. */
        call_done(root, POOL_PATH "fail", POOL, "Kick", "u", "10000");
        call_fails(root, JOB_PATH "10001", JOB, "Retry", "", "", X "InvalidState", "one attempt");
        root = peer_free(root);
}

static unsigned n_listed(Peer *peer, const char *filter) {
        sd_bus_message *m = call_ok(peer, M, "ListJobs", "a{sv}ut", filter);
        unsigned n = 0;

        assert_return_code(sd_bus_message_enter_container(m, 'a', "(tssis)"), 0);
        while (sd_bus_message_read(m, "(tssis)", NULL, NULL, NULL, NULL, NULL) > 0)
                n++;
        sd_bus_message_unref(m);
        return n;
}

static void a_group_is_a_filter(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        sd_bus_message *m;
        uint32_t n = 0;
        uint64_t id = 0;

        (void) make_pool(test, "echo");
        call_done(root, ECHO, "Pause", "", "");
        (void) submit(root, "echo", "", "0");
        submit_group(root, "echo", "3 0 0 0 0", 2);
        submit_group(root, "echo", "2 0 0 0", 6);
        submit_group(root, "echo", "0 0", 9);
        assert_int_equal(n_listed(root, "1 Group t 2 1000 0"), 3);
        assert_int_equal(n_listed(root, "1 Group t 2 1000 4"), 1);
        assert_int_equal(n_listed(root, "1 Group t 6 1000 0"), 2);
        assert_int_equal(n_listed(root, "2 Group t 6 State s running 1000 0"), 0);
        assert_int_equal(n_listed(root, "1 Group t 9 1000 0"), 0);
        assert_int_equal(n_listed(root, "1 Group t 3 1000 0"), 0);
        assert_int_equal(n_listed(root, "0 1000 0"), 6);

        m = call_ok(root, JOB_PATH "4", PROPERTIES, "Get", "ss", "org.sluice1.Job Group");
        assert_return_code(sd_bus_message_read(m, "v", "t", &id), 0);
        assert_int_equal(id, 2);
        sd_bus_message_unref(m);

        m = call_ok(root, M, "CancelJobs", "a{sv}", "1 Group t 2");
        assert_return_code(sd_bus_message_read(m, "u", &n), 0);
        assert_int_equal(n, 3);
        sd_bus_message_unref(m);
        assert_true(read_b(call_ok(root, G(2), "Wait", "t", FOREVER)));
        assert_false(read_b(call_ok(root, G(6), "Wait", "t", "0")));
        call_done(root, ECHO, "Resume", "", "");
        assert_true(read_b(call_ok(root, G(6), "Wait", "t", FOREVER)));
        root = peer_free(root);
}

static void somebody_elses_group_does_not_exist(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0), *alice = peer_new(test, ALICE), *bob = peer_new(test, BOB);

        (void) make_pool(test, "echo");
        call_done(root, ECHO, "Pause", "", "");
        submit_group(alice, "echo", "2 0 0 0", 1);
        call_fails(bob, M, "GetGroup", "t", "1", X "NotFound", "No group 1");
        call_fails(bob, G(1), "Wait", "t", "0", E "UnknownObject", "");
        call_fails(bob, G(1), "GetResults", "tu", "0 1", E "UnknownObject", "");
        call_fails(bob, G(1), "Cancel", "", "", E "UnknownObject", "");
        call_fails(bob, G(1), "Forget", "", "", E "UnknownObject", "");
        call_fails(bob, PATH(1), PROPERTIES, "GetAll", "s", "org.sluice1.Group", E "UnknownObject",
                "");
        assert_int_equal(n_listed(bob, "1 Group t 1 1000 0"), 0);
        assert_int_equal(n_listed(alice, "1 Group t 1 1000 0"), 2);
        call_done(alice, M, "GetGroup", "t", "1");
        call_done(root, G(1), "Cancel", "", "");
        assert_true(read_b(call_ok(alice, G(1), "Wait", "t", FOREVER)));
        bob = peer_free(bob);
        alice = peer_free(alice);
        root = peer_free(root);
}

/* ---- signals ---- */

/* PropertiesChanged of a group: how many, and what the last one said. */
typedef struct Changes {
        unsigned n;
        uint64_t done, succeeded, failed;
        double progress;
        bool finished;
} Changes;

static Changes read_changes(Peer *peer, const char *path) {
        Changes changes = {};

        assert_true(peer->n_signals <= ELEMENTSOF(peer->signals));
        for (unsigned i = 0; i < peer->n_signals; i++) {
                sd_bus_message *m = peer->signals[i];
                const char *interface, *key, *s;

                if (!sd_bus_message_is_signal(m, PROPERTIES, "PropertiesChanged") ||
                        strcmp(sd_bus_message_get_path(m), path) != 0)
                        continue;
                assert_false(changes.finished); /* nothing comes after the end */
                changes.n++;
                assert_return_code(sd_bus_message_rewind(m, true), 0);
                assert_return_code(sd_bus_message_read(m, "s", &interface), 0);
                assert_string_equal(interface, "org.sluice1.Group");
                assert_return_code(sd_bus_message_enter_container(m, 'a', "{sv}"), 0);
                while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                        assert_return_code(sd_bus_message_read(m, "s", &key), 0);
                        if (strcmp(key, "Progress") == 0)
                                assert_return_code(
                                        sd_bus_message_read(m, "v", "d", &changes.progress), 0);
                        else if (strcmp(key, "State") == 0) {
                                assert_return_code(sd_bus_message_read(m, "v", "s", &s), 0);
                                assert_string_equal(s, "finished");
                                changes.finished = true;
                        } else
                                assert_return_code(
                                        sd_bus_message_read(m, "v", "t",
                                                strcmp(key, "Done") == 0     ? &changes.done
                                                : strcmp(key, "Failed") == 0 ? &changes.failed
                                                                             : &changes.succeeded),
                                        0);
                        assert_return_code(sd_bus_message_exit_container(m), 0);
                }
                assert_return_code(sd_bus_message_exit_container(m), 0);
                assert_int_equal(changes.done, changes.succeeded + changes.failed);
        }
        return changes;
}

typedef struct Heard {
        Peer *peer;
        const char *path;
        unsigned n;
} Heard;

static bool has_heard(void *userdata) {
        const Heard *heard = userdata;

        return read_changes(heard->peer, heard->path).n >= heard->n;
}

static void wait_changes(Peer *peer, const char *path, unsigned n) {
        Heard heard = { .peer = peer, .path = path, .n = n };

        bus_test_until(peer->test, has_heard, &heard);
}

static void progress_is_told_to_those_whom_it_concerns(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0), *alice = peer_new(test, ALICE), *bob = peer_new(test, BOB),
             *other = peer_new(test, ALICE), *deaf = peer_new(test, ALICE);
        usec_t began = usec_now(CLOCK_MONOTONIC);
        Changes changes;

        (void) make_pool(test, "echo");
        call_done(root, ECHO, "Pause", "", "");
        call_done(root, M, "Subscribe", "", "");
        call_done(other, M, "Subscribe", "", "");
        call_done(bob, M, "Subscribe", "", "");
        submit_group(alice, "echo", "4 0 0 0 0 0", 1);

        /* Two of them end within an interval, which is told once. */
        call_done(alice, M, "CancelJob", "t", "2");
        call_done(alice, M, "CancelJob", "t", "3");
        wait_changes(alice, PATH(1), 1);
        assert_true(usec_now(CLOCK_MONOTONIC) - began >= GROUP_TELL_INTERVAL);
        changes = read_changes(alice, PATH(1));
        assert_int_equal(changes.done, 2);
        assert_int_equal(changes.failed, 2);
        assert_true(changes.progress == 0.5);
        assert_false(changes.finished);

        call_done(root, ECHO, "Resume", "", "");
        assert_true(read_b(call_ok(alice, G(1), "Wait", "t", FOREVER)));
        /* The end is told at once, before the answer. */
        changes = read_changes(alice, PATH(1));
        assert_true(changes.finished);
        assert_int_equal(changes.succeeded, 2);
        assert_true(changes.progress == 1);
        bus_test_turn(test);
        assert_true(read_changes(root, PATH(1)).finished);
        assert_true(read_changes(other, PATH(1)).finished);
        assert_int_equal(read_changes(deaf, PATH(1)).n, 0);
        assert_int_equal(bob->n_signals, 0);
        deaf = peer_free(deaf);
        other = peer_free(other);
        bob = peer_free(bob);
        alice = peer_free(alice);
        root = peer_free(root);
}

static void progress_is_told_at_most_four_times_a_second(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        Changes changes;
        usec_t took;
        char text[2048];
        int n;

        /* A job of it every other millisecond, for a second. */
        (void) bus_test_pool(test, "echo", "Handler", "module", "ModulePath", "echo.so", "Workers",
                "1", "LimiterRate", "600/s", "LimiterBurst", "1", NULL);
        n = snprintf(text, sizeof(text), "600");
        for (int i = 0; i <= 600; i++)
                n += snprintf(text + n, sizeof(text) - (size_t) n, " 0");
        took = usec_now(CLOCK_MONOTONIC);
        submit_group(root, "echo", text, 1);
        assert_true(read_b(call_ok(root, G(1), "Wait", "t", FOREVER)));
        took = usec_now(CLOCK_MONOTONIC) - took;
        changes = read_changes(root, PATH(1));
        assert_true(changes.finished);
        /* One of them is the end. */
        assert_true(changes.n >= 2);
        assert_true((changes.n - 1) * GROUP_TELL_INTERVAL <= took);
        root = peer_free(root);
}

static void the_end_is_told_of_what_is_forgotten_at_once(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);

        (void) bus_test_pool(test, "echo", "Handler", "module", "ModulePath", "echo.so", "Workers",
                "1", "ResultRetentionMax", "0", NULL);
        submit_group(root, "echo", "2 0 0 0", 1);
        wait_changes(root, PATH(1), 1);
        assert_true(read_changes(root, PATH(1)).finished);
        assert_null(test->engine->groups);

        submit_group(root, "echo", "0 0", 4);
        wait_changes(root, PATH(4), 1);
        assert_true(read_changes(root, PATH(4)).finished);
        assert_null(test->engine->groups);
        root = peer_free(root);
}

/* ---- policy, clients ---- */

static void the_first_error_ends_a_group(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE);
        sd_bus_message *m;

        (void) make_pool(test, "fail");
        submit_group(alice, "fail", "3 1 a 1 b 1 c 1 GroupPolicy s first-error", 1);
        assert_true(read_b(call_ok(alice, G(1), "Wait", "t", FOREVER)));
        m = call_ok(alice, PATH(1), PROPERTIES, "GetAll", "s", "org.sluice1.Group");
        sd_bus_message_unref(m);
        alice = peer_free(alice);
}

static bool no_call_is_left(void *userdata) {
        return list_is_empty(userdata);
}

static void a_client_that_goes_is_forgotten(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0), *alice = peer_new(test, ALICE);
        _cleanup_reply_ Reply reply = {}, wait = {};
        JobGroup *bound, *group;

        (void) make_pool(test, "echo");
        call_done(root, ECHO, "Pause", "", "");
        submit_group(alice, "echo", "2 0 0 1 BindToClient b true", 1);
        submit_group(alice, "echo", "2 0 0 0", 4);
        bound = engine_find_group(test->engine, 1);
        group = engine_find_group(test->engine, 4);
        call_start(alice, &reply, G(4), "Wait", "t", FOREVER);
        call_start(root, &wait, G(1), "Wait", "t", FOREVER);
        bus_test_turn(test);
        assert_false(list_is_empty(&group->watches));
        reply_done(&reply);
        alice = peer_free(alice);
        bus_test_until(test, no_call_is_left, &group->watches);
        assert_null(group->submission->client);
        /* What was bound to it is cancelled. */
        reply_wait(root, &wait);
        assert_true(group_is_finished(&bound->core));
        assert_int_equal(bound->core.n_failed, 2);
        assert_false(group_is_finished(&group->core));

        /* The others are its pool's, and are answered when that goes. */
        reply_done(&wait);
        call_start(root, &wait, G(4), "Wait", "t", FOREVER);
        call_done(root, M, "RemovePool", "sb", "echo true");
        reply_wait(root, &wait);
        assert_null(sd_bus_message_get_error(wait.message));
        assert_null(test->engine->groups);
        root = peer_free(root);
}

static void who_waits_is_answered_at_the_end(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        _cleanup_reply_ Reply wait = {};

        (void) make_pool(test, "echo");
        call_done(root, ECHO, "Pause", "", "");
        submit_group(root, "echo", "3 0 0 0 0", 1);
        call_start(root, &wait, G(1), "Wait", "t", FOREVER);
        bus_test_turn(test);
        engine_shut_down(test->engine);
        reply_wait(root, &wait);
        assert_null(sd_bus_message_get_error(wait.message));
        root = peer_free(root);
}

static void a_group_waits_for_room_as_a_whole(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        _cleanup_reply_ Reply reply = {};
        const char *path;

        (void) bus_test_pool(test, "echo", "Handler", "module", "ModulePath", "echo.so", "Workers",
                "1", "QueueMax", "3", NULL);
        call_done(root, ECHO, "Pause", "", "");
        submit_group(root, "echo", "2 0 0 0", 1);
        call_fails(root, ECHO, "SubmitGroup", "aaya{sv}", "2 0 0 0", X "QueueFull", "no room");
        call_start(root, &reply, ECHO, "SubmitGroup", "aaya{sv}", "2 0 0 1 WaitUSec t " FOREVER);
        bus_test_turn(test);
        assert_null(reply.message);
        /* Ids are given when there is room. */
        (void) make_pool(test, "other");
        assert_int_equal(submit(root, "other", "", "0"), 4);
        call_done(root, ECHO, "Resume", "", "");
        reply_wait(root, &reply);
        assert_return_code(sd_bus_message_read(reply.message, "o", &path), 0);
        assert_string_equal(path, PATH(5));
        assert_true(read_b(call_ok(root, G(5), "Wait", "t", FOREVER)));
        root = peer_free(root);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, bus_test_setup, bus_test_teardown)
        const struct CMUnitTest tests[] = {
                TEST(results_come_in_order_and_in_parts),
                TEST(what_has_not_ended_has_no_result_yet),
                TEST(an_output_without_room_is_left_out),
                TEST(error_texts_without_room_are_left_out),
                TEST(a_group_is_a_filter),
                TEST(somebody_elses_group_does_not_exist),
                TEST(progress_is_told_to_those_whom_it_concerns),
                TEST(progress_is_told_at_most_four_times_a_second),
                TEST(the_end_is_told_of_what_is_forgotten_at_once),
                TEST(the_first_error_ends_a_group),
                TEST(a_client_that_goes_is_forgotten),
                TEST(who_waits_is_answered_at_the_end),
                TEST(a_group_waits_for_room_as_a_whole),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
