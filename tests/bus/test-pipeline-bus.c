/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* org.sluice1.Pipeline and the manager's methods for it. */

#include "test.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bus-test.h"
#include "util/macro.h"

#define E "org.freedesktop.DBus.Error."
#define X "org.sluice1.Error."

#define FOREVER "18446744073709551615"

#define M MANAGER_PATH, MANAGER
#define PIPELINE_PATH "/org/sluice1/pipeline/"
#define PIPELINE "org.sluice1.Pipeline"
#define P PIPELINE_PATH "p", PIPELINE
#define SECOND POOL_PATH "second", POOL

/* Echo, twice, and what the settings say; root may do everything. */
static Peer *make(BusTest *test, const char *settings) {
        Peer *root = peer_new(test, 0);

        (void) bus_test_pool(test, "first", "Handler", "module", "ModulePath", "echo.so", "Workers",
                "2", "AllowUsers", "1000", NULL);
        (void) bus_test_pool(
                test, "second", "Handler", "module", "ModulePath", "echo.so", "Workers", "2", NULL);
        (void) bus_test_pool(test, "broken", "Handler", "command", "ExecStart",
                "/bin/sh -c 'echo no number >&2; exit 3'", "PayloadMax", "1K", NULL);
        call_done(root, M, "CreatePipeline", "sasa{sv}", settings);
        return root;
}

static const Pipeline *policy(BusTest *test) {
        return &engine_find_pipeline(test->engine, "p")->pipeline;
}

static uint64_t get_number(Peer *peer, const char *property) {
        sd_bus_message *m;
        char text[128];
        uint64_t n;

        (void) snprintf(text, sizeof(text), PIPELINE " %s", property);
        m = call_ok(peer, PIPELINE_PATH "p", PROPERTIES, "Get", "ss", text);
        assert_true(sd_bus_message_read(m, "v", "t", &n) > 0);
        sd_bus_message_unref(m);
        return n;
}

static void assert_state(Peer *peer, const char *state) {
        sd_bus_message *m =
                call_ok(peer, PIPELINE_PATH "p", PROPERTIES, "Get", "ss", PIPELINE " State");
        const char *s;

        assert_true(sd_bus_message_read(m, "v", "s", &s) > 0);
        assert_string_equal(s, state);
        sd_bus_message_unref(m);
}

static bool all_have_ended(void *userdata) {
        return policy(userdata)->n_in_flight == 0;
}

static bool line_is_not_empty(void *userdata) {
        return !list_is_empty(&policy(userdata)->line);
}

static void expect_answer(Peer *peer, Reply *reply, const char *error) {
        const sd_bus_error *e;

        reply_wait(peer, reply);
        e = sd_bus_message_get_error(reply->message);
        if (error)
                assert_string_equal(e ? e->name : "none", error);
        else
                assert_null(e);
        reply_done(reply);
}

static uint64_t submit_item(Peer *peer) {
        sd_bus_message *m = call_ok(peer, P, "Submit", "aya{sv}", "1 7 0");
        const char *path;
        uint64_t id;

        assert_true(sd_bus_message_read(m, "to", &id, &path) > 0);
        sd_bus_message_unref(m);
        return id;
}

static void a_pipeline_can_be_made_used_and_removed(void **state) {
        Peer *root = make(*state, "p 2 first second 1 MaxInFlight t 5");
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const void *output;
        const char *s;
        size_t size;

        m = call_ok(root, M, "GetPipeline", "s", "p");
        assert_true(sd_bus_message_read(m, "o", &s) > 0);
        assert_string_equal(s, PIPELINE_PATH "p");
        sd_bus_message_unref(m);
        m = call_ok(root, PIPELINE_PATH "p", PROPERTIES, "Get", "ss", PIPELINE " Stages");
        assert_true(sd_bus_message_enter_container(m, 'v', "as") > 0);
        assert_true(sd_bus_message_enter_container(m, 'a', "s") > 0);
        assert_true(sd_bus_message_read(m, "s", &s) > 0);
        assert_string_equal(s, "first");
        assert_true(sd_bus_message_read(m, "s", &s) > 0);
        assert_string_equal(s, "second");
        sd_bus_message_unref(m);

        m = call_ok(root, P, "Run", "aya{sv}", "2 7 8 0");
        assert_true(sd_bus_message_read_array(m, 'y', &output, &size) > 0);
        assert_int_equal(size, 2);
        assert_memory_equal(output, "\7\10", 2);
        assert_int_equal(get_number(root, "MaxInFlight"), 5);
        assert_int_equal(get_number(root, "InFlight"), 0);
        assert_int_equal(get_number(root, "Submitted"), 1);
        assert_int_equal(get_number(root, "Succeeded"), 1);
        assert_int_equal(get_number(root, "Failed"), 0);
        assert_int_equal(get_number(root, "PayloadMax"), 1 << 20);
        assert_state(root, "running");

        call_fails(root, M, "CreatePipeline", "sasa{sv}", "p 1 first 0", X "AlreadyExists", "p");
        call_done(root, M, "RemovePipeline", "sb", "p false");
        call_fails(root, M, "GetPipeline", "s", "p", X "NotFound", "pipeline");
        call_fails(root, P, "Submit", "aya{sv}", "0 0", E "UnknownObject", "");
        peer_free(root);
}

static void a_pool_that_is_a_stage_stays(void **state) {
        Peer *root = make(*state, "p 2 first first 0");

        call_fails(root, M, "RemovePool", "sb", "first true", X "InvalidState",
                "The pool first is used by the pipeline p");
        call_done(root, M, "CreatePipeline", "sasa{sv}", "q 1 first 0");
        call_fails(root, M, "RemovePool", "sb", "first false", X "InvalidState", "pipelines p, q");
        call_done(root, M, "RemovePool", "sb", "second false");
        call_done(root, M, "RemovePipeline", "sb", "p false");
        call_done(root, M, "RemovePipeline", "sb", "q true");
        call_done(root, M, "RemovePool", "sb", "first false");
        peer_free(root);
}

static void every_way_of_submitting_leads_through_it(void **state) {
        static const struct {
                const char *member, *types, *text, *answer;
                unsigned n;
        } rows[] = {
                { "Submit", "aya{sv}", "1 7 0", "to", 1 },
                { "Run", "aya{sv}", "1 7 0", "ay", 1 },
                { "SubmitMany", "aaya{sv}", "2 1 7 0 0", "tu", 2 },
                { "RunMany", "aaya{sv}", "2 1 7 0 0", "a(tsay)", 2 },
                { "SubmitPacked", "auaya{sv}", "2 1 0 1 7 0", "tu", 2 },
                { "RunPacked", "auaya{sv}", "2 1 0 1 7 0", "tayauay", 2 },
                { "RunMany", "aaya{sv}", "0 0", "a(tsay)", 0 },
        };
        Peer *root = make(*state, "p 3 first second first 0");
        unsigned n = 0;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                sd_bus_message *m = call_ok(root, P, rows[i].member, rows[i].types, rows[i].text);

                assert_string_equal(sd_bus_message_get_signature(m, true), rows[i].answer);
                sd_bus_message_unref(m);
                n += rows[i].n;
        }
        bus_test_until(*state, all_have_ended, *state);
        assert_int_equal(get_number(root, "Succeeded"), n);
        peer_free(root);
}

static void an_error_says_at_which_stage_it_was(void **state) {
        Peer *root = make(*state, "p 2 second broken 0");
        sd_bus_message *m;
        const void *text;
        const char *result;
        uint64_t id;
        size_t size;

        call_fails(root, P, "Run", "aya{sv}", "1 7 0", X "JobFailed", "broken: ");
        m = call_ok(root, P, "RunMany", "aaya{sv}", "1 1 7 0");
        assert_true(sd_bus_message_enter_container(m, 'a', "(tsay)") > 0);
        assert_true(sd_bus_message_enter_container(m, 'r', "tsay") > 0);
        assert_true(sd_bus_message_read(m, "ts", &id, &result) > 0);
        assert_string_equal(result, "failed");
        assert_true(sd_bus_message_read_array(m, 'y', &text, &size) > 0);
        assert_true(size > strlen("broken: "));
        assert_memory_equal(text, "broken: ", strlen("broken: "));
        sd_bus_message_unref(m);
        assert_int_equal(get_number(root, "Failed"), 2);
        peer_free(root);
}

static void room_is_what_max_in_flight_leaves(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "p 2 first second 1 MaxInFlight t 3");
        Reply waits, gone;
        sd_bus_message *m;
        uint64_t first;
        uint32_t n;

        call_done(root, SECOND, "Pause", "", "");
        call_done(root, P, "SubmitMany", "aaya{sv}", "2 0 0 0");
        call_fails(root, P, "SubmitMany", "aaya{sv}", "2 0 0 0", X "QueueFull", "MaxInFlight is 3");
        call_fails(root, P, "RunMany", "aaya{sv}", "4 0 0 0 0 0", E "InvalidArgs",
                "MaxInFlight of pipeline p is 3");
        call_fails(root, P, "Run", "aya{sv}", "0 1 Partial b true", E "InvalidArgs", "Partial");
        m = call_ok(root, P, "SubmitMany", "aaya{sv}", "4 0 0 0 0 1 Partial b true");
        assert_true(sd_bus_message_read(m, "tu", &first, &n) > 0);
        assert_int_equal(n, 1);
        sd_bus_message_unref(m);
        call_fails(root, P, "Submit", "aya{sv}", "0 1 WaitUSec t 2000", X "QueueFull", "p");
        assert_true(list_is_empty(&policy(test)->line));

        call_start(root, &gone, P, "RunMany", "aaya{sv}", "3 0 0 0 1 WaitUSec t " FOREVER);
        bus_test_until(test, line_is_not_empty, test);
        call_start(root, &waits, P, "Submit", "aya{sv}", "0 1 WaitUSec t " FOREVER);
        call_done(root, P, "Set", "a{sv}", "1 MaxInFlight t 2");
        expect_answer(root, &gone, X "QueueFull");
        call_done(root, SECOND, "Resume", "", "");
        expect_answer(root, &waits, NULL);
        bus_test_until(test, all_have_ended, test);
        assert_int_equal(get_number(root, "Submitted"), 4);
        peer_free(root);
}

#define GROUP_PATH "/org/sluice1/group/"
#define GROUP "org.sluice1.Group"

static void expect_text(Peer *peer, const char *path, const char *property, const char *expected) {
        sd_bus_message *m = call_ok(peer, path, PROPERTIES, "Get", "ss", property);
        const char *s;

        assert_true(sd_bus_message_read(m, "v", "s", &s) > 0);
        assert_string_equal(s, expected);
        sd_bus_message_unref(m);
}

/* Id, result, and output or error text of a member, which are those of the next result. */
static void expect_member(
        sd_bus_message *m, uint64_t id, const char *result, const char *contains) {
        const char *real_result;
        const void *output;
        uint64_t real_id;
        size_t size;

        assert_true(sd_bus_message_enter_container(m, 'r', "tsay") > 0);
        assert_true(sd_bus_message_read(m, "ts", &real_id, &real_result) > 0);
        assert_true(sd_bus_message_read_array(m, 'y', &output, &size) >= 0);
        assert_true(sd_bus_message_exit_container(m) >= 0);
        assert_int_equal(real_id, id);
        assert_string_equal(real_result, result);
        assert_non_null(memmem(output, size, contains, strlen(contains)));
}

static unsigned n_listed(Peer *peer, const char *filter) {
        sd_bus_message *m = call_ok(peer, M, "ListJobs", "a{sv}ut", filter);
        unsigned n = 0;

        assert_true(sd_bus_message_enter_container(m, 'a', "(tssis)") > 0);
        while (sd_bus_message_read(m, "(tssis)", NULL, NULL, NULL, NULL, NULL) > 0)
                n++;
        sd_bus_message_unref(m);
        return n;
}

static void a_group_of_items_is_one_thing(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "p 2 first broken 1 MaxInFlight t 3"), *bob = peer_new(test, 1001);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        uint64_t id = 0;
        const char *s;

        call_fails(root, P, "SubmitGroup", "aaya{sv}", "4 0 0 0 0 0", E "InvalidArgs",
                "MaxInFlight of pipeline p is 3");
        call_fails(root, P, "SubmitGroup", "aaya{sv}", "0 1 Partial b true", E "InvalidArgs",
                "Partial");
        call_done(root, POOL_PATH "first", POOL, "Pause", "", "");
        m = call_ok(root, P, "SubmitGroup", "aaya{sv}",
                "3 0 0 0 3 GroupPolicy s first-error ConcurrencyKey s k Tag s x");
        assert_true(sd_bus_message_read(m, "o", &s) > 0);
        assert_string_equal(s, GROUP_PATH "1");
        sd_bus_message_unref(m);
        expect_text(root, GROUP_PATH "1", GROUP " Pipeline", "p");
        expect_text(root, GROUP_PATH "1", GROUP " Pool", "");
        expect_text(root, GROUP_PATH "1", GROUP " State", "running");
        expect_text(root, JOB_PATH "3", JOB " PendingReason", "paused");
        expect_text(root, JOB_PATH "3", JOB " ConcurrencyKey", "k");
        m = call_ok(root, JOB_PATH "3", PROPERTIES, "Get", "ss", JOB " Group");
        assert_true(sd_bus_message_read(m, "v", "t", &id) > 0);
        assert_int_equal(id, 1);
        sd_bus_message_unref(m);
        assert_int_equal(n_listed(root, "1 Group t 1 1000 0"), 3);
        assert_int_equal(n_listed(root, "2 Group t 1 Pipeline s p 1000 0"), 3);
        assert_int_equal(n_listed(root, "2 Group t 1 Pool s broken 1000 0"), 0);
        assert_int_equal(n_listed(bob, "1 Group t 1 1000 0"), 0);
        call_fails(bob, GROUP_PATH "1", GROUP, "Cancel", "", "", E "UnknownObject", "");

        /* Full: now, later, and for one that needs no room. */
        call_fails(root, P, "SubmitGroup", "aaya{sv}", "1 0 0", X "QueueFull", "");
        call_fails(root, P, "SubmitGroup", "aaya{sv}", "1 0 1 WaitUSec t 1", X "QueueFull", "");
        m = call_ok(root, P, "SubmitGroup", "aaya{sv}", "0 1 Tag s y");
        assert_true(sd_bus_message_read(m, "o", &s) > 0);
        assert_string_equal(s, GROUP_PATH "5");
        sd_bus_message_unref(m);
        expect_text(root, GROUP_PATH "5", GROUP " Pipeline", "p");
        expect_text(root, GROUP_PATH "5", GROUP " State", "finished");

        call_done(root, POOL_PATH "first", POOL, "Resume", "", "");
        call_done(root, GROUP_PATH "1", GROUP, "Wait", "t", FOREVER);
        call_fails(root, JOB_PATH "2", JOB, "Retry", "", "", X "InvalidState", "one of a group");
        call_done(root, M, "RemovePipeline", "sb", "p false");
        expect_text(root, GROUP_PATH "1", GROUP " Pipeline", "p");
        m = call_ok(root, GROUP_PATH "1", GROUP, "GetResults", "tu", "0 1");
        assert_true(sd_bus_message_enter_container(m, 'a', "(tsay)") > 0);
        expect_member(m, 2, "failed", "broken: exit status 3");
        call_done(root, M, "RemovePool", "sb", "first false");
        call_fails(root, GROUP_PATH "1", GROUP, "Forget", "", "", E "UnknownObject", "");
        call_fails(root, GROUP_PATH "5", GROUP, "Forget", "", "", E "UnknownObject", "");
        peer_free(bob);
        peer_free(root);
}

static void a_group_waits_for_room_in_a_pipeline(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "p 2 first second 1 MaxInFlight t 2");
        _cleanup_reply_ Reply reply = {}, gone = {};
        const char *s;

        call_done(root, POOL_PATH "first", POOL, "Pause", "", "");
        (void) submit_item(root);
        call_start(root, &reply, PIPELINE_PATH "p", PIPELINE, "SubmitGroup", "aaya{sv}",
                "2 1 7 1 8 1 WaitUSec t " FOREVER);
        bus_test_until(test, line_is_not_empty, test);
        call_done(root, POOL_PATH "first", POOL, "Resume", "", "");
        reply_wait(root, &reply);
        assert_true(sd_bus_message_read(reply.message, "o", &s) > 0);
        assert_string_equal(s, GROUP_PATH "2");
        call_done(root, GROUP_PATH "2", GROUP, "Wait", "t", FOREVER);

        /* One that waits when the pipeline goes is refused. */
        call_done(root, POOL_PATH "second", POOL, "Pause", "", "");
        (void) submit_item(root);
        call_start(root, &gone, PIPELINE_PATH "p", PIPELINE, "SubmitGroup", "aaya{sv}",
                "2 1 7 1 8 1 WaitUSec t " FOREVER);
        bus_test_until(test, line_is_not_empty, test);
        call_done(root, M, "RemovePipeline", "sb", "p true");
        expect_answer(root, &gone, X "Draining");
        peer_free(root);
}

static void options_of_one_command_are_refused(void **state) {
        Peer *root = make(*state, "p 2 broken broken 0");

        call_fails(root, P, "Submit", "aya{sv}", "0 1 Arguments as 1 x", E "InvalidArgs",
                "\"Arguments\"");
        call_fails(root, P, "Run", "aya{sv}", "0 1 OutputFd h 1", E "InvalidArgs", "\"OutputFd\"");
        call_fails(root, P, "Run", "aya{sv}", "0 1 Colour s red", E "InvalidArgs", "\"Colour\"");
        assert_int_equal(get_number(root, "Submitted"), 0);
        peer_free(root);
}

static void only_who_may_submit_to_all_stages_may_submit(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "p 2 first second 0"), *user = peer_new(test, 1000);

        call_fails(user, P, "Run", "aya{sv}", "0 0", E "AccessDenied", "second");
        call_fails(user, P, "Drain", "t", "0", E "AccessDenied", "");
        call_fails(user, P, "Resume", "", "", E "AccessDenied", "");
        call_fails(user, P, "Set", "a{sv}", "1 MaxInFlight t 2", E "AccessDenied", "");
        call_fails(user, M, "CreatePipeline", "sasa{sv}", "q 1 first 0", E "AccessDenied", "");
        call_fails(user, M, "RemovePipeline", "sb", "p true", E "AccessDenied", "");
        call_done(root, M, "CreatePipeline", "sasa{sv}", "q 2 first first 0");
        call_done(user, PIPELINE_PATH "q", PIPELINE, "Run", "aya{sv}", "0 0");
        peer_free(user);
        peer_free(root);
}

static void settings_change_as_far_as_they_can(void **state) {
        Peer *root = make(*state, "p 1 first 0");

        assert_int_equal(get_number(root, "MaxInFlight"), 1000);
        call_done(root, P, "Set", "a{sv}", "1 MaxInFlight s 7");
        assert_int_equal(get_number(root, "MaxInFlight"), 7);
        call_done(root, PIPELINE_PATH "p", PROPERTIES, "Set", "ssv", PIPELINE " MaxInFlight t 8");
        assert_int_equal(get_number(root, "MaxInFlight"), 8);
        call_fails(root, P, "Set", "a{sv}", "1 MaxInFlight t 0", E "InvalidArgs", "MaxInFlight");
        call_fails(root, P, "Set", "a{sv}", "1 Stages as 1 second", E "InvalidArgs",
                "Stages: cannot be changed on a living pipeline");
        assert_int_equal(get_number(root, "MaxInFlight"), 8);
        peer_free(root);
}

static void draining_waits_for_what_is_inside(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "p 2 first second 0");
        sd_bus_message *m;
        Reply drains;
        int empty;

        call_done(root, SECOND, "Pause", "", "");
        (void) submit_item(root);
        m = call_ok(root, P, "Drain", "t", "1000");
        assert_true(sd_bus_message_read(m, "b", &empty) > 0);
        assert_false(empty);
        sd_bus_message_unref(m);
        assert_state(root, "draining");
        call_fails(root, P, "Run", "aya{sv}", "0 0", X "Draining", "Pipeline p is draining");
        call_start(root, &drains, P, "Drain", "t", FOREVER);
        bus_test_turn(test);
        assert_null(drains.message);
        call_done(root, SECOND, "Resume", "", "");
        expect_answer(root, &drains, NULL);
        call_done(root, P, "Resume", "", "");
        assert_state(root, "running");
        call_done(root, P, "Run", "aya{sv}", "0 0");

        /* A first stage that drains lets nobody in, though what is inside goes through it. */
        call_done(root, POOL_PATH "first", POOL, "Drain", "t", "0");
        call_fails(root, P, "Run", "aya{sv}", "0 0", X "Draining",
                "first stage of pipeline p, is draining");
        peer_free(root);
}

static void removing_waits_unless_it_cancels(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "p 2 first second 0");
        Reply patient, other;
        uint64_t id;

        call_done(root, SECOND, "Pause", "", "");
        id = submit_item(root);
        call_start(root, &patient, M, "RemovePipeline", "sb", "p false");
        bus_test_turn(test);
        assert_null(patient.message);
        call_fails(root, P, "Resume", "", "", X "InvalidState", "being removed");
        call_start(root, &other, M, "RemovePipeline", "sb", "p true");
        expect_answer(root, &patient, NULL);
        expect_answer(root, &other, NULL);
        wait_state(test, id, JOB_FINISHED);
        assert_int_equal(engine_find_job(test->engine, id)->result, JOB_CANCELLED);
        peer_free(root);
}

static void a_job_tells_where_it_is(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "p 2 first second 0");
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        uint64_t id, cancelled;
        char path[64];
        const char *s;
        uint32_t n;

        call_done(root, SECOND, "Pause", "", "");
        id = submit_item(root);
        (void) submit(root, "first", "", "0");
        wait_state(test, id + 1, JOB_FINISHED);
        (void) snprintf(path, sizeof(path), JOB_PATH "%" PRIu64, id);
        while (job_stage(engine_find_job(test->engine, id)) == 0)
                bus_test_turn(test);
        m = call_ok(root, path, PROPERTIES, "Get", "ss", JOB " Pipeline");
        assert_true(sd_bus_message_read(m, "v", "s", &s) > 0);
        assert_string_equal(s, "p");
        sd_bus_message_unref(m);
        m = call_ok(root, path, PROPERTIES, "Get", "ss", JOB " Stage");
        assert_true(sd_bus_message_read(m, "v", "(us)", &n, &s) > 0);
        assert_int_equal(n, 1);
        assert_string_equal(s, "second");
        sd_bus_message_unref(m);
        m = call_ok(root, path, PROPERTIES, "Get", "ss", JOB " Pool");
        assert_true(sd_bus_message_read(m, "v", "s", &s) > 0);
        assert_string_equal(s, "second");
        sd_bus_message_unref(m);

        (void) snprintf(path, sizeof(path), JOB_PATH "%" PRIu64, id + 1);
        m = call_ok(root, path, PROPERTIES, "Get", "ss", JOB " Stage");
        assert_true(sd_bus_message_read(m, "v", "(us)", &n, &s) > 0);
        assert_int_equal(n, 0);
        assert_string_equal(s, "");
        sd_bus_message_unref(m);

        call_fails(root, M, "CancelJobs", "a{sv}", "1 Pipeline u 1", E "InvalidArgs", "Pipeline");
        m = call_ok(root, M, "CancelJobs", "a{sv}", "1 Pipeline s q");
        assert_true(sd_bus_message_read(m, "u", &n) > 0);
        assert_int_equal(n, 0);
        sd_bus_message_unref(m);
        m = call_ok(root, M, "CancelJobs", "a{sv}", "1 Pipeline s p");
        assert_true(sd_bus_message_read(m, "u", &n) > 0);
        assert_int_equal(n, 1);
        cancelled = id;
        wait_state(test, cancelled, JOB_FINISHED);
        call_done(root, M, "RemovePipeline", "sb", "p false");
        (void) snprintf(path, sizeof(path), JOB_PATH "%" PRIu64, id);
        call_fails(root, path, JOB, "Retry", "", "", X "InvalidState", "was removed");
        peer_free(root);
}

/* What was told to all, and of jobs. */
typedef struct Told {
        unsigned n_added, n_removed, n_changed, n_started, n_finished;
} Told;

static int on_told(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *member = sd_bus_message_get_member(m) ?: "";
        Told *told = userdata;

        told->n_added += strcmp(member, "InterfacesAdded") == 0;
        told->n_removed += strcmp(member, "InterfacesRemoved") == 0;
        told->n_changed += strcmp(member, "PropertiesChanged") == 0;
        told->n_started += strcmp(member, "JobStarted") == 0;
        told->n_finished += strcmp(member, "JobFinished") == 0;
        return 0;
}

static bool q_has_gone(void *userdata) {
        return ((const Told *) userdata)->n_removed == 1;
}

static void everybody_hears_of_pipelines(void **state) {
        BusTest *test = *state;
        Peer *root = make(test, "p 2 first second 0");
        Told told = {};

        assert_return_code(sd_bus_add_filter(root->bus, NULL, on_told, &told), 0);
        call_done(root, M, "Subscribe", "", "");
        call_done(root, M, "CreatePipeline", "sasa{sv}", "q 1 first 0");
        call_done(root, P, "Run", "aya{sv}", "0 0");
        call_done(root, P, "Drain", "t", "0");
        call_done(root, P, "Set", "a{sv}", "1 MaxInFlight t 2");
        call_done(root, P, "Resume", "", "");
        call_done(root, M, "RemovePipeline", "sb", "q false");
        bus_test_until(test, q_has_gone, &told);
        assert_int_equal(told.n_added, 1);
        assert_int_equal(told.n_started, 1);
        assert_int_equal(told.n_finished, 1);
        assert_true(told.n_changed >= 3);
        peer_free(root);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, bus_test_setup, bus_test_teardown)
                TEST(a_pipeline_can_be_made_used_and_removed),
                TEST(a_pool_that_is_a_stage_stays),
                TEST(every_way_of_submitting_leads_through_it),
                TEST(an_error_says_at_which_stage_it_was),
                TEST(room_is_what_max_in_flight_leaves),
                TEST(a_group_of_items_is_one_thing),
                TEST(a_group_waits_for_room_in_a_pipeline),
                TEST(options_of_one_command_are_refused),
                TEST(only_who_may_submit_to_all_stages_may_submit),
                TEST(settings_change_as_far_as_they_can),
                TEST(draining_waits_for_what_is_inside),
                TEST(removing_waits_unless_it_cancels),
                TEST(a_job_tells_where_it_is),
                TEST(everybody_hears_of_pipelines),
#undef TEST
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
