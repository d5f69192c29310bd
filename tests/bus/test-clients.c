/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Several clients at one server: what each gets, what each may see, and what becomes of it all when
 * one goes away. */

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus-test.h"
#include "bus/call.h"
#include "util/macro.h"

#define ALICE 1000
#define BOB 1001
#define E "org.freedesktop.DBus.Error."
#define X "org.sluice1.Error."

#define FOREVER "18446744073709551615"

#define M MANAGER_PATH, MANAGER
#define ECHO POOL_PATH "echo", POOL
#define SLEEP POOL_PATH "sleep", POOL
#define CAT POOL_PATH "cat", POOL

/* The pools that most tests want; Alice and Bob may submit. */
static Pool *make_pool(BusTest *test, const char *name) {
        if (strcmp(name, "cat") == 0)
                return bus_test_pool(test, name, "Handler", "command", "ExecStart", "/bin/cat",
                        "Workers", "1", NULL);
        return bus_test_pool(test, name, "Handler", "module", "ModulePath",
                strcmp(name, "sleep") == 0 ? "sleep.so" : "echo.so", "Workers", "1", "QueueMax",
                "100000", "PayloadMax", "16M", "AllowUsers", "1000 1001", NULL);
}

static uint32_t read_u(sd_bus_message *m) {
        uint32_t u = 0;

        assert_return_code(sd_bus_message_read(m, "u", &u), 0);
        sd_bus_message_unref(m);
        return u;
}

static bool read_b(sd_bus_message *m) {
        int b = 0;

        assert_return_code(sd_bus_message_read(m, "b", &b), 0);
        sd_bus_message_unref(m);
        return b;
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

/* Submits so many empty payloads to "echo". */
static void submit_packed(Peer *peer, unsigned n) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_reply_ Reply reply = {};
        _cleanup_free_ uint32_t *lengths = calloc(n, sizeof(*lengths));

        assert_non_null(lengths);
        assert_return_code(sd_bus_message_new_method_call(
                                   peer->bus, &m, SLUICE_BUS_NAME, ECHO, "SubmitPacked"),
                0);
        assert_return_code(sd_bus_message_append_array(m, 'u', lengths, n * sizeof(*lengths)), 0);
        append_text(m, "aya{sv}", "0 0");
        call_message(peer, &reply, m);
        reply_wait(peer, &reply);
        assert_null(sd_bus_message_get_error(reply.message));
}

/* ---- lists ---- */

/* One page: how many jobs, and the next `after`. */
static unsigned list_page(
        Peer *peer, const char *filter, unsigned limit, uint64_t after, uint64_t *ret_next) {
        sd_bus_message *m;
        char text[256];
        uint64_t id, last = after;
        unsigned n = 0;

        (void) snprintf(
                text, sizeof(text), "%s %u %llu", filter, limit, (unsigned long long) after);
        m = call_ok(peer, M, "ListJobs", "a{sv}ut", text);
        assert_return_code(sd_bus_message_enter_container(m, 'a', "(tssis)"), 0);
        while (sd_bus_message_read(m, "(tssis)", &id, NULL, NULL, NULL, NULL) > 0) {
                assert_true(id > last);
                last = id;
                n++;
        }
        assert_return_code(sd_bus_message_exit_container(m), 0);
        assert_return_code(sd_bus_message_read(m, "t", ret_next), 0);
        sd_bus_message_unref(m);
        return n;
}

/* All pages together. */
static unsigned list_all(Peer *peer, const char *filter) {
        uint64_t after = 0;
        unsigned n = 0;

        do
                n += list_page(peer, filter, 1000, after, &after);
        while (after > 0);
        return n;
}

static void lists_come_in_pages(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        uint64_t next;

        (void) make_pool(test, "echo");
        call_done(root, ECHO, "Pause", "", "");
        for (int i = 0; i < 25; i++)
                (void) submit(root, "echo", "", i % 5 == 0 ? "1 Tag s fifth" : "0");

        assert_int_equal(list_page(root, "0", 10, 0, &next), 10);
        assert_int_equal(next, 10);
        assert_int_equal(list_page(root, "0", 10, next, &next), 10);
        assert_int_equal(list_page(root, "0", 10, next, &next), 5);
        assert_int_equal(next, 0);
        assert_int_equal(list_page(root, "1 Tag s fifth", 4, 0, &next), 4);
        assert_int_equal(list_page(root, "1 Tag s fifth", 4, next, &next), 1);
        assert_int_equal(list_page(root, "0", 10, UINT64_MAX, &next), 0);
        assert_int_equal(next, 0);
        assert_int_equal(list_all(root, "2 Pool s echo State s queued"), 25);
        assert_int_equal(list_all(root, "1 State s finished"), 0);
        assert_int_equal(list_all(root, "1 Pool s none"), 0);
        peer_free(root);
}

static void one_call_looks_at_ten_thousand_jobs(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        uint64_t next;

        (void) make_pool(test, "echo");
        call_done(root, ECHO, "Pause", "", "");
        submit_packed(root, 12000);

        assert_int_equal(list_page(root, "1 Tag s none", 10, 0, &next), 0);
        assert_int_equal(next, 10000);
        assert_int_equal(list_page(root, "1 Tag s none", 10, next, &next), 0);
        assert_int_equal(next, 0);
        assert_int_equal(read_u(call_ok(root, ECHO, "Clear", "", "")), 12000);
        peer_free(root);
}

static void everybody_sees_and_cancels_own_jobs_only(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0), *alice = peer_new(test, ALICE), *bob = peer_new(test, BOB);

        (void) make_pool(test, "echo");
        call_done(root, ECHO, "Pause", "", "");
        (void) submit(alice, "echo", "", "0");
        (void) submit(alice, "echo", "", "0");
        (void) submit(bob, "echo", "", "0");
        (void) submit(root, "echo", "", "0");

        assert_int_equal(list_all(alice, "0"), 2);
        assert_int_equal(list_all(bob, "0"), 1);
        assert_int_equal(list_all(root, "0"), 4);
        assert_int_equal(list_all(root, "1 Owner u 1000"), 2);
        assert_int_equal(list_all(bob, "1 Owner u 1000"), 0);
        call_done(alice, M, "GetJob", "t", "1");
        call_done(root, M, "GetJob", "t", "1");
        call_fails(bob, M, "GetJob", "t", "1", X "NotFound", "No job 1");

        assert_int_equal(read_u(call_ok(bob, M, "CancelJobs", "a{sv}", "1 Owner u 1000")), 0);
        assert_int_equal(read_u(call_ok(bob, M, "CancelJobs", "a{sv}", "0")), 1);
        assert_int_equal(read_u(call_ok(root, M, "CancelJobs", "a{sv}", "1 Owner u 1000")), 2);
        assert_int_equal(list_all(root, "1 State s queued"), 1);
        peer_free(root);
        peer_free(alice);
        peer_free(bob);
}

/* ---- results ---- */

static void run_tells_how_a_job_ended(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        Reply reply;

        (void) make_pool(test, "sleep");
        (void) make_pool(test, "echo");
        call_fails(peer, SLEEP, "Run", "aya{sv}", "1 x 0", X "JobFailed", "number of seconds");
        /* "60" */
        call_fails(peer, SLEEP, "Run", "aya{sv}", "2 54 48 1 RunTimeoutUSec t 1000",
                X "JobTimedOut", "");

        call_start(peer, &reply, SLEEP, "Run", "aya{sv}", "2 54 48 0");
        wait_state(test, 3, JOB_RUNNING);
        call_done(peer, M, "CancelJob", "t", "3");
        expect_error(peer, &reply, X "JobCancelled", "");

        call_done(peer, ECHO, "Pause", "", "");
        call_fails(peer, ECHO, "Run", "aya{sv}", "0 1 QueueTimeoutUSec t 1000", X "JobExpired",
                "queue time-out");
        call_start(peer, &reply, ECHO, "Run", "aya{sv}", "0 0");
        bus_test_turn(test);
        assert_int_equal(read_u(call_ok(peer, ECHO, "Clear", "", "")), 1);
        expect_error(peer, &reply, X "JobCancelled", "cleared");
        /* Nothing is kept of what was answered. */
        assert_int_equal(list_all(peer, "0"), 0);
        peer_free(peer);
}

static void wait_answers_with_the_state_when_its_time_is_over(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        const char *job, *result, *error;
        sd_bus_message *m;
        Reply reply;
        uint64_t id;

        (void) make_pool(test, "sleep");
        id = submit(peer, "sleep", "60", "0");
        wait_state(test, id, JOB_RUNNING);
        for (int i = 0; i < 2; i++) {
                m = call_ok(peer, M, "WaitJob", "tt", i == 0 ? "1 0" : "1 1000");
                assert_return_code(sd_bus_message_read(m, "ss", &job, &result), 0);
                assert_return_code(sd_bus_message_skip(m, "ay"), 0);
                assert_return_code(sd_bus_message_read(m, "s", &error), 0);
                assert_string_equal(job, "running");
                assert_string_equal(result, "");
                assert_string_equal(error, "");
                sd_bus_message_unref(m);
        }

        call_start(peer, &reply, JOB_PATH "1", JOB, "Wait", "t", FOREVER);
        bus_test_turn(test);
        call_done(peer, JOB_PATH "1", JOB, "Cancel", "", "");
        reply_wait(peer, &reply);
        assert_return_code(sd_bus_message_read(reply.message, "ss", &job, &result), 0);
        assert_string_equal(job, "finished");
        assert_string_equal(result, "cancelled");
        reply_done(&reply);
        peer_free(peer);
}

static void outputs_that_have_no_room_can_be_had_one_by_one(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_reply_ Reply reply = {};
        _cleanup_free_ char *payload = malloc(7 << 20);
        const char *result;
        const void *output;
        size_t size;
        uint64_t id;
        char path[64];

        assert_non_null(payload);
        memset(payload, 'x', 7 << 20);
        (void) make_pool(test, "echo");
        assert_return_code(
                sd_bus_message_new_method_call(peer->bus, &m, SLUICE_BUS_NAME, ECHO, "RunMany"), 0);
        assert_return_code(sd_bus_message_open_container(m, 'a', "ay"), 0);
        for (int i = 0; i < 3; i++)
                assert_return_code(sd_bus_message_append_array(m, 'y', payload, 7 << 20), 0);
        assert_return_code(sd_bus_message_close_container(m), 0);
        append_text(m, "a{sv}", "0");
        call_message(peer, &reply, m);
        reply_wait(peer, &reply);
        assert_null(sd_bus_message_get_error(reply.message));

        assert_return_code(sd_bus_message_enter_container(reply.message, 'a', "(tsay)"), 0);
        for (int i = 0; i < 3; i++) {
                assert_return_code(sd_bus_message_enter_container(reply.message, 'r', "tsay"), 0);
                assert_return_code(sd_bus_message_read(reply.message, "ts", &id, &result), 0);
                assert_string_equal(result, "succeeded");
                assert_return_code(
                        sd_bus_message_read_array(reply.message, 'y', &output, &size), 0);
                if (i < 2)
                        assert_int_equal(size, 7 << 20);
                else
                        assert_memory_equal(output, "too large: use GetResult", size);
                assert_return_code(sd_bus_message_exit_container(reply.message), 0);
        }
        (void) snprintf(path, sizeof(path), JOB_PATH "%llu", (unsigned long long) id);
        sd_bus_message_unref(m);
        m = call_ok(peer, path, JOB, "GetResult", "", "");
        assert_return_code(sd_bus_message_read(m, "s", &result), 0);
        assert_return_code(sd_bus_message_read_array(m, 'y', &output, &size), 0);
        assert_int_equal(size, 7 << 20);
        assert_int_equal(list_all(peer, "0"), 1);
        peer_free(peer);
}

/* Makes a call of "echo" with payloads of so many bytes, one of them or an array. */
static sd_bus_message *new_call(Peer *peer, const char *member, size_t size, unsigned n) {
        _cleanup_free_ char *payload = calloc(1, size);
        sd_bus_message *m;

        assert_non_null(payload);
        assert_return_code(
                sd_bus_message_new_method_call(peer->bus, &m, SLUICE_BUS_NAME, ECHO, member), 0);
        if (n > 0)
                assert_return_code(sd_bus_message_open_container(m, 'a', "ay"), 0);
        for (unsigned i = 0; i < MAX(n, 1U); i++)
                assert_return_code(sd_bus_message_append_array(m, 'y', payload, size), 0);
        if (n > 0)
                assert_return_code(sd_bus_message_close_container(m), 0);
        return m;
}

static void an_output_that_has_no_room_in_the_answer_to_run_is_kept(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_reply_ Reply reply = {};

        (void) make_pool(test, "echo");
        m = new_call(peer, "Run", (16 << 20) - 1, 0);
        append_text(m, "a{sv}", "0");
        call_message(peer, &reply, m);
        expect_error(peer, &reply, X "TooLarge", "use GetResult");
        wait_state(test, 1, JOB_FINISHED);
        assert_int_equal(engine_find_job(test->engine, 1)->size, (16 << 20) - 1);
        call_done(peer, JOB_PATH "1", JOB, "GetResult", "", "");
        peer_free(peer);
}

/* Otherwise one job that waits would keep the payloads of all others of its call. */
static void only_small_payloads_stay_in_the_message_of_their_call(void **state) {
        static const struct {
                size_t size;
                bool stay;
        } rows[] = { { 256, true }, { 257, false } };
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);

        (void) make_pool(test, "echo");
        call_done(peer, ECHO, "Pause", "", "");
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(sd_bus_message_unrefp) sd_bus_message *m =
                        new_call(peer, "SubmitMany", rows[i].size, 2);
                _cleanup_reply_ Reply reply = {};
                const Job *job;

                append_text(m, "a{sv}", "0");
                call_message(peer, &reply, m);
                reply_wait(peer, &reply);
                job = engine_find_job(test->engine, 2 * i + 1);
                assert_non_null(job);
                assert_int_equal(job->submission->backing != NULL, rows[i].stay);
                assert_int_equal((job->flags & JOB_DATA_OWNED) == 0, rows[i].stay);
        }
        peer_free(peer);
}

static void bulk_calls_of_nothing_are_answered_at_once(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);

        (void) make_pool(test, "echo");
        call_done(peer, ECHO, "RunMany", "aaya{sv}", "0 0");
        call_done(peer, ECHO, "RunPacked", "auaya{sv}", "0 0 0");
        call_done(peer, ECHO, "SubmitMany", "aaya{sv}", "0 0");
        call_done(peer, ECHO, "SubmitPacked", "auaya{sv}", "0 0 0");
        assert_int_equal(test->engine->next_id, 1);
        peer_free(peer);
}

static void partial_takes_what_fits(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        sd_bus_message *m;
        uint32_t n;

        (void) make_pool(test, "echo");
        call_done(peer, ECHO, "Pause", "", "");
        call_done(peer, ECHO, "Set", "a{sv}", "1 QueueMax t 2");
        m = call_ok(peer, ECHO, "SubmitMany", "aaya{sv}", "3 1 a 1 b 1 c 1 Partial b true");
        assert_return_code(sd_bus_message_read(m, "tu", NULL, &n), 0);
        sd_bus_message_unref(m);
        assert_int_equal(n, 2);
        call_fails(peer, ECHO, "SubmitMany", "aaya{sv}", "1 1 a 1 Partial b true", X "QueueFull",
                "QueueMax is 2");
        peer_free(peer);
}

static void descriptors_are_payload_and_output(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        _cleanup_close_ int in = memfd_create("in", MFD_CLOEXEC),
                            out = memfd_create("out", MFD_CLOEXEC);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_reply_ Reply reply = {};
        char text[16] = "";

        (void) make_pool(test, "cat");
        assert_int_equal(write(in, "content", 7), 7);
        assert_return_code(
                sd_bus_message_new_method_call(peer->bus, &m, SLUICE_BUS_NAME, CAT, "SubmitFd"), 0);
        assert_return_code(sd_bus_message_append(m, "ha{sv}", in, 1, "OutputFd", "h", out), 0);
        call_message(peer, &reply, m);
        reply_wait(peer, &reply);
        assert_null(sd_bus_message_get_error(reply.message));
        wait_state(test, 1, JOB_FINISHED);
        assert_int_equal(pread(out, text, sizeof(text), 0), 7);
        assert_string_equal(text, "content");
        peer_free(peer);
}

/* A condition: its first result is known to the main thread. */
static bool result_is_kept(void *pool) {
        return ((const Pool *) pool)->n_retained > 0;
}

/* A file that is a payload stays open for a job that may be kicked, and for no other. */
static void descriptors_are_closed_when_they_have_served(void **state) {
        static const struct {
                const char *command;
                bool stays;
        } rows[] = { { "/bin/true", false }, { "/bin/false", true } };
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        _cleanup_close_ int in = memfd_create("in", MFD_CLOEXEC);

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
                _cleanup_reply_ Reply reply = {};
                char name[2] = { (char) ('a' + i), '\0' }, path[64];
                Pool *pool;

                pool = bus_test_pool(test, name, "Handler", "command", "ExecStart", rows[i].command,
                        "Workers", "1", NULL);
                (void) snprintf(path, sizeof(path), POOL_PATH "%s", name);
                assert_return_code(sd_bus_message_new_method_call(
                                           peer->bus, &m, SLUICE_BUS_NAME, path, POOL, "SubmitFd"),
                        0);
                assert_return_code(sd_bus_message_append(m, "ha{sv}", in, 0), 0);
                call_message(peer, &reply, m);
                reply_wait(peer, &reply);
                assert_null(sd_bus_message_get_error(reply.message));
                bus_test_until(test, result_is_kept, pool);
                assert_int_equal(engine_find_job(test->engine, i + 1)->submission->payload_fd >= 0,
                        rows[i].stays);
        }
        peer_free(peer);
}

/* ---- settings ---- */

static void set_changes_all_at_once(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0), *other = peer_new(test, BOB);
        Pool *pool = make_pool(test, "echo");

        call_done(root, ECHO, "Set", "a{sv}", "3 QueueMax t 7 MaxWorkers s 3 RunTimeout s 5s");
        assert_int_equal(pool->config->queue_max, 7);
        assert_int_equal(pool->config->max_workers, 3);
        assert_int_equal(pool->config->run_timeout, 5 * USEC_PER_SEC);
        call_done(root, POOL_PATH "echo", PROPERTIES, "Set", "ssv", POOL " QueueMax t 8");
        assert_int_equal(pool->config->queue_max, 8);
        call_done(root, ECHO, "Set", "a{sv}", "1 Workers u 2");
        assert_int_equal(pool->config->min_workers, 2);
        assert_int_equal(pool->config->max_workers, 2);
        /* Nobody has asked for signals. */
        bus_test_turn(test);
        assert_int_equal(root->n_signals, 0);
        assert_int_equal(other->n_signals, 0);
        peer_free(root);
        peer_free(other);
}

/* ---- signals ---- */

static unsigned count_signals(Peer *peer, const char *member) {
        unsigned n = 0;

        for (unsigned i = 0; i < MIN(peer->n_signals, (unsigned) ELEMENTSOF(peer->signals)); i++)
                n += sd_bus_message_is_signal(peer->signals[i], MANAGER, member);
        return n;
}

static void signals_go_to_subscribers_who_may_see_the_job(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0), *alice = peer_new(test, ALICE), *bob = peer_new(test, BOB),
             *silent = peer_new(test, ALICE);

        (void) make_pool(test, "echo");
        call_done(root, M, "Subscribe", "", "");
        call_done(alice, M, "Subscribe", "", "");
        call_done(alice, M, "Subscribe", "", "");
        call_done(bob, M, "Subscribe", "", "");
        (void) submit(alice, "echo", "", "1 Notify b true");
        wait_state(test, 1, JOB_FINISHED);
        bus_test_turn(test);
        assert_int_equal(count_signals(root, "JobStarted"), 1);
        assert_int_equal(count_signals(root, "JobFinished"), 1);
        assert_int_equal(count_signals(alice, "JobStarted"), 1);
        assert_int_equal(count_signals(alice, "JobFinished"), 1);
        assert_int_equal(bob->n_signals, 0);
        assert_int_equal(silent->n_signals, 0);

        call_done(root, M, "Unsubscribe", "", "");
        call_done(alice, M, "Unsubscribe", "", "");
        call_done(bob, M, "Unsubscribe", "", "");
        assert_false(test->engine->announce);
        (void) submit(alice, "echo", "", "0");
        wait_state(test, 2, JOB_FINISHED);
        bus_test_turn(test);
        assert_int_equal(count_signals(root, "JobFinished"), 1);
        assert_int_equal(count_signals(alice, "JobFinished"), 1);
        peer_free(root);
        peer_free(alice);
        peer_free(bob);
        peer_free(silent);
}

/* As an ordinary client of a bus has it: the match is added with AddMatch. */
static int on_properties_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        uint64_t *queue_max = userdata;
        const char *key;

        assert_return_code(sd_bus_message_skip(m, "s"), 0);
        assert_return_code(sd_bus_message_enter_container(m, 'a', "{sv}"), 0);
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                assert_return_code(sd_bus_message_read(m, "s", &key), 0);
                if (strcmp(key, "QueueMax") == 0)
                        assert_return_code(sd_bus_message_read(m, "v", "t", queue_max), 0);
                else
                        assert_return_code(sd_bus_message_skip(m, "v"), 0);
                assert_return_code(sd_bus_message_exit_container(m), 0);
        }
        return 0;
}

static bool is_seven(void *userdata) {
        return *(const uint64_t *) userdata == 7;
}

static void matches_of_sd_bus_work(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        uint64_t queue_max = 0;

        (void) make_pool(test, "echo");
        assert_return_code(
                sd_bus_match_signal_async(root->bus, NULL, SLUICE_BUS_NAME, POOL_PATH "echo",
                        PROPERTIES, "PropertiesChanged", on_properties_changed, NULL, &queue_max),
                0);
        call_done(root, ECHO, "Set", "a{sv}", "1 QueueMax t 7");
        bus_test_until(test, is_seven, &queue_max);
        peer_free(root);
}

static void notify_tells_the_submitter_alone(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE), *other = peer_new(test, ALICE);
        const char *pool, *result;
        uint64_t id, duration;

        (void) make_pool(test, "echo");
        (void) submit(alice, "echo", "", "1 Notify b true");
        (void) submit(alice, "echo", "", "0");
        wait_state(test, 2, JOB_FINISHED);
        bus_test_turn(test);
        assert_int_equal(count_signals(alice, "JobStarted"), 1);
        assert_int_equal(count_signals(alice, "JobFinished"), 1);
        assert_int_equal(other->n_signals, 0);
        assert_return_code(sd_bus_message_read(alice->signals[alice->n_signals - 1], "tsst", &id,
                                   &pool, &result, &duration),
                0);
        assert_int_equal(id, 1);
        assert_string_equal(pool, "echo");
        assert_string_equal(result, "succeeded");
        peer_free(alice);
        peer_free(other);
}

static void who_does_not_read_gets_no_more_signals(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0), *sleeper = peer_new(test, 0);
        uint64_t n;

        (void) make_pool(test, "echo");
        call_done(sleeper, M, "Subscribe", "", "");
        sd_bus_detach_event(sleeper->bus);
        /* The socket itself holds some thousands of them. */
        submit_packed(root, 30000);
        wait_state(test, 30000, JOB_FINISHED);
        bus_test_turn(test);
        assert_return_code(sd_bus_get_n_queued_write(sleeper->client->link->bus, &n), 0);
        assert_in_range(n, 512, 1024);
        peer_free(root);
        peer_free(sleeper);
}

/* ---- clients that go away ---- */

static void what_is_bound_to_a_client_ends_with_it(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE), *root = peer_new(test, 0);
        Reply reply;

        (void) make_pool(test, "sleep");
        (void) submit(alice, "sleep", "60", "1 BindToClient b true");
        (void) submit(alice, "sleep", "60", "1 BindToClient b true");
        (void) submit(alice, "sleep", "60", "0");
        wait_state(test, 1, JOB_RUNNING);
        call_start(alice, &reply, SLEEP, "RunMany", "aaya{sv}",
                "2 2 54 48 2 54 48 1 BindToClient b true");
        wait_state(test, 5, JOB_QUEUED);
        reply_done(&reply);
        peer_free(alice);

        wait_state(test, 1, JOB_FINISHED);
        wait_state(test, 2, JOB_FINISHED);
        wait_state(test, 4, JOB_FINISHED);
        wait_state(test, 5, JOB_FINISHED);
        wait_state(test, 3, JOB_RUNNING);
        assert_int_equal(list_all(root, "1 Result s cancelled"), 4);
        peer_free(root);
}

typedef struct WaitingCall {
        const char *path, *interface, *member, *types, *text;
} WaitingCall;

static void a_caller_that_goes_is_forgotten_and_its_jobs_keep_their_results(void **state) {
        static const WaitingCall calls[] = {
                { SLEEP, "Run", "aya{sv}", "0 0" }, /* job 2 */
                { SLEEP, "RunMany", "aaya{sv}", "2 0 0 0" },
                { SLEEP, "RunPacked", "auaya{sv}", "2 0 0 0 0" },
                { M, "WaitJob", "tt", "1 " FOREVER },
                { JOB_PATH "1", JOB, "Wait", "t", "60000000" },
                { SLEEP, "Drain", "t", FOREVER },
                { SLEEP, "Drain", "t", "60000000" },
                { M, "CancelJobs", "a{sv}", "1 Tag s none" },
        };
        BusTest *test = *state;
        Peer *alice = peer_new(test, 0), *root = peer_new(test, 0);
        Reply replies[ELEMENTSOF(calls)];

        (void) make_pool(test, "sleep");
        (void) submit(root, "sleep", "60", "0");
        wait_state(test, 1, JOB_RUNNING);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                call_start(alice, &replies[i], calls[i].path, calls[i].interface, calls[i].member,
                        calls[i].types, calls[i].text);
        bus_test_turn(test);
        assert_false(list_is_empty(&alice->client->calls));
        for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
                if (i + 1 < ELEMENTSOF(calls))
                        assert_null(replies[i].message);
                reply_done(&replies[i]);
        }
        peer_free(alice);

        /* The sleeper is woken, and those behind it run. */
        assert_int_equal(list_all(root, "1 State s queued"), 5);
        call_done(root, M, "CancelJob", "t", "1");
        wait_state(test, 6, JOB_FINISHED);
        assert_int_equal(list_all(root, "1 Result s succeeded"), 5);
        peer_free(root);
}

static void a_removal_goes_on_without_its_caller(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, 0), *root = peer_new(test, 0);
        Reply reply;

        (void) make_pool(test, "sleep");
        (void) submit(root, "sleep", "60", "0");
        call_start(alice, &reply, M, "RemovePool", "sb", "sleep false");
        bus_test_turn(test);
        reply_done(&reply);
        peer_free(alice);
        call_done(root, M, "CancelJob", "t", "1");
        bus_test_until(test, no_pool_is_left, test);
        assert_int_equal(test->engine->gone.results[JOB_CANCELLED], 1);
        peer_free(root);
}

static void a_caller_that_goes_while_much_is_cleared_is_forgotten(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, 0), *root = peer_new(test, 0);
        Reply reply;

        (void) make_pool(test, "echo");
        call_done(root, ECHO, "Pause", "", "");
        submit_packed(root, 30000);

        call_start(alice, &reply, ECHO, "Clear", "", "");
        while (list_is_empty(&alice->client->calls))
                assert_return_code(sd_event_run(test->event, USEC_PER_SEC), 0);
        reply_done(&reply);
        peer_free(alice);
        assert_false(list_is_empty(&test->engine->sweeps));
        wait_state(test, 30000, JOB_FINISHED);
        assert_int_equal(list_all(root, "1 State s queued"), 0);
        peer_free(root);
}

static void others_are_answered_while_much_is_cleared(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, 0), *root = peer_new(test, 0);
        _cleanup_reply_ Reply reply = {};

        (void) make_pool(test, "echo");
        call_done(root, ECHO, "Pause", "", "");
        submit_packed(root, 100000);

        call_start(alice, &reply, ECHO, "Clear", "", "");
        while (list_is_empty(&test->engine->sweeps))
                assert_return_code(sd_event_run(test->event, USEC_PER_SEC), 0);
        for (unsigned i = 0; i < 5; i++) {
                call_done(root, M, "ListPools", "", "");
                assert_false(list_is_empty(&test->engine->sweeps));
        }
        reply_wait(alice, &reply);
        peer_free(alice);
        peer_free(root);
}

/* ---- pools that drain and go ---- */

static void a_second_removal_overrides_the_first(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        Reply first, drain;

        (void) make_pool(test, "sleep");
        (void) submit(root, "sleep", "60", "0");
        (void) submit(root, "sleep", "60", "1 DelayUSec t 60000000");
        wait_state(test, 1, JOB_RUNNING);
        call_start(root, &drain, SLEEP, "Drain", "t", FOREVER);
        call_start(root, &first, M, "RemovePool", "sb", "sleep false");
        wait_state(test, 2, JOB_FINISHED);
        assert_null(first.message);
        call_fails(root, SLEEP, "Submit", "aya{sv}", "0 0", X "Draining", "sleep");
        call_fails(root, SLEEP, "Resume", "", "", X "InvalidState", "removed");
        call_done(root, M, "RemovePool", "sb", "sleep true");
        reply_wait(root, &first);
        assert_null(sd_bus_message_get_error(first.message));
        reply_wait(root, &drain);
        assert_null(sd_bus_message_get_error(drain.message));
        call_fails(root, M, "GetPool", "s", "sleep", X "NotFound", "sleep");
        reply_done(&first);
        reply_done(&drain);
        peer_free(root);
}

static void drain_says_whether_the_pool_is_empty(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        Reply reply;

        (void) make_pool(test, "sleep");
        assert_true(read_b(call_ok(root, SLEEP, "Drain", "t", "0")));
        assert_true(read_b(call_ok(root, SLEEP, "Drain", "t", FOREVER)));
        call_done(root, SLEEP, "Resume", "", "");
        (void) submit(root, "sleep", "60", "0");
        (void) submit(root, "sleep", "60", "1 DelayUSec t 60000000");
        assert_false(read_b(call_ok(root, SLEEP, "Drain", "t", "0")));
        assert_false(read_b(call_ok(root, SLEEP, "Drain", "t", "1000")));
        call_start(root, &reply, SLEEP, "Drain", "t", FOREVER);
        bus_test_turn(test);
        call_done(root, M, "CancelJob", "t", "1");
        reply_wait(root, &reply);
        assert_true(read_b(TAKE_PTR(reply.message)));
        reply_done(&reply);
        /* What is not due yet stays. */
        assert_int_equal(list_all(root, "1 State s scheduled"), 1);
        peer_free(root);
}

static void calls_that_wait_are_bounded_per_client(void **state) {
        static Reply replies[CALLS_MAX];
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0), *other = peer_new(test, 0);
        Pool *pool = make_pool(test, "echo");
        Reply foreign = {};
        PoolView view;

        call_done(peer, ECHO, "Pause", "", "");
        call_done(peer, ECHO, "Set", "a{sv}", "1 QueueMax t 1");
        assert_int_equal(submit(peer, "echo", "x", "0"), 1);
        for (size_t i = 0; i < CALLS_MAX; i++)
                call_start(peer, &replies[i], M, "WaitJob", "tt", "1 " FOREVER);
        call_fails(peer, M, "WaitJob", "tt", "1 " FOREVER, E "LimitsExceeded", "4096 calls");
        assert_int_equal(peer->client->n_calls, CALLS_MAX);

        /* One that would wait for room is refused for good, and counted. */
        call_fails(peer, ECHO, "Submit", "aya{sv}", "1 x 1 WaitUSec t " FOREVER, E "LimitsExceeded",
                "4096 calls");
        pool_view(pool, &view);
        assert_int_equal(view.counters.rejected, 1);
        call_fails(peer, ECHO, "Run", "aya{sv}", "1 x 0", E "LimitsExceeded", "4096 calls");
        call_fails(peer, ECHO, "Drain", "t", FOREVER, E "LimitsExceeded", "4096 calls");
        pool_view(pool, &view);
        assert_int_equal(view.state, POOL_PAUSED);

        /* What is answered at once is, and others are not concerned. */
        call_done(peer, M, "WaitJob", "tt", "1 0");
        call_start(other, &foreign, M, "WaitJob", "tt", "1 " FOREVER);
        call_done(other, M, "CancelJob", "t", "1");
        for (size_t i = 0; i < CALLS_MAX; i++) {
                reply_wait(peer, &replies[i]);
                assert_null(sd_bus_message_get_error(replies[i].message));
                reply_done(&replies[i]);
        }
        reply_wait(other, &foreign);
        assert_null(sd_bus_message_get_error(foreign.message));
        reply_done(&foreign);
        assert_int_equal(peer->client->n_calls, 0);
        assert_int_equal(other->client->n_calls, 0);
        peer_free(other);
        peer_free(peer);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, bus_test_setup, bus_test_teardown)
        const struct CMUnitTest tests[] = {
                TEST(lists_come_in_pages),
                TEST(one_call_looks_at_ten_thousand_jobs),
                TEST(everybody_sees_and_cancels_own_jobs_only),
                TEST(run_tells_how_a_job_ended),
                TEST(wait_answers_with_the_state_when_its_time_is_over),
                TEST(outputs_that_have_no_room_can_be_had_one_by_one),
                TEST(an_output_that_has_no_room_in_the_answer_to_run_is_kept),
                TEST(only_small_payloads_stay_in_the_message_of_their_call),
                TEST(bulk_calls_of_nothing_are_answered_at_once),
                TEST(partial_takes_what_fits),
                TEST(descriptors_are_payload_and_output),
                TEST(descriptors_are_closed_when_they_have_served),
                TEST(set_changes_all_at_once),
                TEST(signals_go_to_subscribers_who_may_see_the_job),
                TEST(matches_of_sd_bus_work),
                TEST(notify_tells_the_submitter_alone),
                TEST(who_does_not_read_gets_no_more_signals),
                TEST(what_is_bound_to_a_client_ends_with_it),
                TEST(a_caller_that_goes_is_forgotten_and_its_jobs_keep_their_results),
                TEST(a_removal_goes_on_without_its_caller),
                TEST(a_caller_that_goes_while_much_is_cleared_is_forgotten),
                TEST(others_are_answered_while_much_is_cleared),
                TEST(a_second_removal_overrides_the_first),
                TEST(drain_says_whether_the_pool_is_empty),
                TEST(calls_that_wait_are_bounded_per_client),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
