/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The submit option Key: a call that is made again has the answer of the first one. */

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus-test.h"
#include "engine/submit-key.h"
#include "util/macro.h"

#define ALICE 1000
#define BOB 1001
#define E "org.freedesktop.DBus.Error."
#define X "org.sluice1.Error."
#define FOREVER "18446744073709551615"

#define M MANAGER_PATH, MANAGER
#define P POOL_PATH "p", POOL
#define LINE "/org/sluice1/pipeline/line", "org.sluice1.Pipeline"

static Pool *make_pool(BusTest *test, const char *name, const char *retention_max) {
        return bus_test_pool(test, name, "Handler", "module", "ModulePath", "echo.so", "Workers",
                "1", "AllowUsers", "1000 1001", "ResultRetentionMax", retention_max, NULL);
}

static uint64_t n_jobs_made(BusTest *test) {
        EngineTotals totals;

        engine_totals(test->engine, &totals);
        return totals.counters.submitted;
}

/* ---- answers as text ---- */

typedef struct Text {
        char s[512];
} Text;

static void add_bytes(Text *text, const void *data, size_t size) {
        size_t n = strlen(text->s);

        assert_true(n + size < sizeof(text->s));
        memcpy(text->s + n, data, size);
        text->s[n + size] = '\0';
}

static void add_number(Text *text, uint64_t number) {
        char digits[32];

        (void) snprintf(digits, sizeof(digits), "%llu ", (unsigned long long) number);
        add_bytes(text, digits, strlen(digits));
}

static void add_array(Text *text, sd_bus_message *m) {
        const void *data;
        size_t size;

        assert_return_code(sd_bus_message_read_array(m, 'y', &data, &size), 0);
        add_bytes(text, data, size);
}

static void add_results(Text *text, sd_bus_message *m) {
        assert_return_code(sd_bus_message_enter_container(m, 'a', "(tsay)"), 0);
        while (sd_bus_message_enter_container(m, 'r', "tsay") > 0) {
                const char *result;
                uint64_t id;

                assert_return_code(sd_bus_message_read(m, "ts", &id, &result), 0);
                add_number(text, id);
                add_bytes(text, result, strlen(result));
                add_bytes(text, " ", 1);
                add_array(text, m);
                add_bytes(text, ";", 1);
                assert_return_code(sd_bus_message_exit_container(m), 0);
        }
}

static void add_packed(Text *text, sd_bus_message *m) {
        const uint8_t *results;
        const uint32_t *lengths;
        size_t n, n_bytes;
        uint64_t id;

        assert_return_code(sd_bus_message_read(m, "t", &id), 0);
        add_number(text, id);
        assert_return_code(sd_bus_message_read_array(m, 'y', (const void **) &results, &n), 0);
        assert_return_code(
                sd_bus_message_read_array(m, 'u', (const void **) &lengths, &n_bytes), 0);
        assert_int_equal(n_bytes, n * sizeof(*lengths));
        for (size_t i = 0; i < n; i++) {
                add_number(text, results[i]);
                add_number(text, lengths[i]);
        }
        add_array(text, m);
}

/* What the answer says, whatever its type is; of an error its name and text. */
static Text text_of(sd_bus_message *m) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        const char *signature = sd_bus_message_get_signature(m, true), *path;
        Text text = {};
        uint32_t count;
        uint64_t id;

        if (e) {
                (void) snprintf(text.s, sizeof(text.s), "%s: %s", e->name, e->message);
        } else if (strcmp(signature, "to") == 0) {
                assert_return_code(sd_bus_message_read(m, "to", &id, &path), 0);
                add_number(&text, id);
                add_bytes(&text, path, strlen(path));
        } else if (strcmp(signature, "tu") == 0) {
                assert_return_code(sd_bus_message_read(m, "tu", &id, &count), 0);
                add_number(&text, id);
                add_number(&text, count);
        } else if (strcmp(signature, "o") == 0) {
                assert_return_code(sd_bus_message_read(m, "o", &path), 0);
                add_bytes(&text, path, strlen(path));
        } else if (strcmp(signature, "ay") == 0)
                add_array(&text, m);
        else if (strcmp(signature, "a(tsay)") == 0)
                add_results(&text, m);
        else {
                assert_string_equal(signature, "tayauay");
                add_packed(&text, m);
        }
        return text;
}

static void expect_reply(Peer *peer, Reply *reply, const char *expected) {
        Text text;

        reply_wait(peer, reply);
        text = text_of(reply->message);
        assert_string_equal(text.s, expected);
        reply_done(reply);
}

static void expect(Peer *peer, const char *path, const char *interface, const char *member,
        const char *types, const char *text, const char *expected) {
        Reply reply;

        call_start(peer, &reply, path, interface, member, types, text);
        expect_reply(peer, &reply, expected);
}

/* ---- the same again ---- */

typedef struct Call {
        const char *member, *types, *text, *expected;
        unsigned n_jobs;
} Call;

/* The ids are those of a new daemon. */
static const Call calls[] = {
        { "Submit", "aya{sv}", "1 a 1 Key s submit", "1 /org/sluice1/job/1", 1 },
        { "SubmitMany", "aaya{sv}", "2 1 a 1 b 1 Key s many", "2 2 ", 2 },
        { "SubmitPacked", "auaya{sv}", "2 1 2 3 a b b 1 Key s packed", "4 2 ", 2 },
        { "SubmitGroup", "aaya{sv}", "2 1 a 1 b 1 Key s group", "/org/sluice1/group/6", 2 },
        { "SubmitGroup", "aaya{sv}", "0 1 Key s nobody", "/org/sluice1/group/9", 0 },
        { "Run", "aya{sv}", "2 a b 1 Key s run", "ab", 1 },
        { "RunMany", "aaya{sv}", "2 1 a 2 b b 1 Key s run-many", "11 succeeded a;12 succeeded bb;",
                2 },
        { "RunPacked", "auaya{sv}", "2 1 2 3 a b b 1 Key s run-packed", "13 0 1 0 2 abb", 2 },
};

static void make_calls_twice(BusTest *test, const char *path, const char *interface) {
        Peer *first = peer_new(test, ALICE), *second = peer_new(test, ALICE);

        for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
                const Call *call = &calls[i];
                uint64_t n = n_jobs_made(test);

                expect(first, path, interface, call->member, call->types, call->text,
                        call->expected);
                expect(first, path, interface, call->member, call->types, call->text,
                        call->expected);
                expect(second, path, interface, call->member, call->types, call->text,
                        call->expected);
                assert_int_equal(n_jobs_made(test) - n, call->n_jobs);
        }
        peer_free(first);
        /* The first one has gone, and all have ended. */
        bus_test_turn(test);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                expect(second, path, interface, calls[i].member, calls[i].types, calls[i].text,
                        calls[i].expected);
        peer_free(second);
}

static void each_method_made_again_has_the_same_answer(void **state) {
        (void) make_pool(*state, "p", "100");
        make_calls_twice(*state, P);
}

static void so_it_is_with_pipelines(void **state) {
        Peer *root = peer_new(*state, 0);

        (void) make_pool(*state, "p", "100");
        call_done(root, M, "CreatePipeline", "sasa{sv}", "line 1 p 0");
        make_calls_twice(*state, LINE);
        peer_free(root);
}

/* They differ in what they answer, not in what they bring. */
static void one_body_is_the_same_by_another_method(void **state) {
        Peer *peer = peer_new(*state, ALICE);

        (void) make_pool(*state, "p", "100");
        expect(peer, P, "Submit", "aya{sv}", "2 a b 1 Key s k", "1 /org/sluice1/job/1");
        expect(peer, P, "Run", "aya{sv}", "2 a b 1 Key s k", "ab");
        expect(peer, P, "RunMany", "aaya{sv}", "1 2 a b 1 Key s k", "1 succeeded ab;");
        expect(peer, P, "RunPacked", "auaya{sv}", "1 2 2 a b 1 Key s k", "1 0 2 ab");
        expect(peer, P, "SubmitMany", "aaya{sv}", "1 2 a b 1 Key s k", "1 1 ");
        expect(peer, P, "SubmitPacked", "auaya{sv}", "1 2 2 a b 1 Key s k", "1 1 ");
        /* The options are those of the first call. */
        expect(peer, P, "Submit", "aya{sv}", "2 a b 2 Key s k Priority i 7",
                "1 /org/sluice1/job/1");
        assert_int_equal(n_jobs_made(*state), 1);
        peer_free(peer);
}

static void without_a_key_there_are_two_calls(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, ALICE);

        (void) make_pool(test, "p", "100");
        expect(peer, P, "Submit", "aya{sv}", "0 0", "1 /org/sluice1/job/1");
        expect(peer, P, "Submit", "aya{sv}", "0 0", "2 /org/sluice1/job/2");
        assert_null(test->engine->submit_keys);
        peer_free(peer);
}

/* ---- not the same ---- */

static const struct {
        const char *member, *types, *first, *second;
} conflicts[] = {
        { "Submit", "aya{sv}", "1 a", "1 b" },
        { "Submit", "aya{sv}", "1 a", "2 a 0" },
        { "Submit", "aya{sv}", "0", "1 0" },
        { "SubmitMany", "aaya{sv}", "2 1 a 1 b", "2 1 b 1 a" },
        { "SubmitMany", "aaya{sv}", "2 2 a b 1 c", "2 1 a 2 b c" },
        { "SubmitMany", "aaya{sv}", "2 1 a 0", "1 1 a" },
        { "SubmitMany", "aaya{sv}", "1 0", "2 0 0" },
        { "SubmitMany", "aaya{sv}", "1 0", "0" },
        { "SubmitPacked", "auaya{sv}", "2 1 2 3 a b c", "2 2 1 3 a b c" },
        { "SubmitGroup", "aaya{sv}", "0", "1 0" },
        { "RunMany", "aaya{sv}", "1 0", "0" },
        { "RunPacked", "auaya{sv}", "1 1 1 a", "0 0" },
        { "Run", "aya{sv}", "1 a", "1 b" },
};

static void another_body_is_a_conflict(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, ALICE);

        (void) make_pool(test, "p", "100");
        for (size_t i = 0; i < ELEMENTSOF(conflicts); i++) {
                char first[64], second[64];
                uint64_t n;

                (void) snprintf(first, sizeof(first), "%s 1 Key s %zu", conflicts[i].first, i);
                (void) snprintf(second, sizeof(second), "%s 1 Key s %zu", conflicts[i].second, i);
                call_done(peer, P, conflicts[i].member, conflicts[i].types, first);
                n = test->engine->next_id;
                call_fails(peer, P, conflicts[i].member, conflicts[i].types, second,
                        X "KeyConflict", "another body");
                assert_int_equal(test->engine->next_id, n);
                /* It is still that of the first one. */
                call_done(peer, P, conflicts[i].member, conflicts[i].types, first);
                assert_int_equal(test->engine->next_id, n);
        }
        peer_free(peer);
}

static void a_group_is_not_the_same_as_its_jobs(void **state) {
        Peer *peer = peer_new(*state, ALICE);

        (void) make_pool(*state, "p", "100");
        call_done(peer, P, "SubmitGroup", "aaya{sv}", "1 0 1 Key s g");
        call_fails(peer, P, "SubmitMany", "aaya{sv}", "1 0 1 Key s g", X "KeyConflict", "\"g\"");
        call_fails(peer, P, "RunMany", "aaya{sv}", "1 0 1 Key s g", X "KeyConflict", "\"g\"");
        call_done(peer, P, "SubmitMany", "aaya{sv}", "1 0 1 Key s m");
        call_fails(peer, P, "SubmitGroup", "aaya{sv}", "1 0 1 Key s m", X "KeyConflict", "\"m\"");
        peer_free(peer);
}

static void arguments_are_of_the_body(void **state) {
        Peer *root = peer_new(*state, 0);

        (void) bus_test_pool(*state, "p", "Handler", "command", "ExecStart", "/bin/echo", "Workers",
                "1", "AllowArguments", "yes", NULL);
        expect(root, P, "Run", "aya{sv}", "0 2 Key s k Arguments as 2 a b", "a b\n");
        expect(root, P, "Run", "aya{sv}", "0 2 Arguments as 2 a b Key s k", "a b\n");
        call_fails(root, P, "Run", "aya{sv}", "0 2 Key s k Arguments as 2 b a", X "KeyConflict",
                "\"k\"");
        call_fails(root, P, "Run", "aya{sv}", "0 2 Key s k Arguments as 1 'a b'", X "KeyConflict",
                "\"k\"");
        call_fails(root, P, "Run", "aya{sv}", "0 1 Key s k", X "KeyConflict", "\"k\"");
        peer_free(root);
}

static void others_have_keys_of_their_own(void **state) {
        Peer *root = peer_new(*state, 0), *alice = peer_new(*state, ALICE),
             *bob = peer_new(*state, BOB);
        const char *again = "1 a 1 Key s k", *other = "1 b 1 Key s k";

        (void) make_pool(*state, "p", "100");
        (void) make_pool(*state, "q", "100");
        call_done(root, M, "CreatePipeline", "sasa{sv}", "line 1 p 0");
        expect(alice, P, "Submit", "aya{sv}", again, "1 /org/sluice1/job/1");
        expect(bob, P, "Submit", "aya{sv}", other, "2 /org/sluice1/job/2");
        expect(root, P, "Submit", "aya{sv}", again, "3 /org/sluice1/job/3");
        expect(alice, POOL_PATH "q", POOL, "Submit", "aya{sv}", other, "4 /org/sluice1/job/4");
        expect(alice, LINE, "Submit", "aya{sv}", other, "5 /org/sluice1/job/5");
        expect(alice, P, "Submit", "aya{sv}", again, "1 /org/sluice1/job/1");
        expect(bob, P, "Submit", "aya{sv}", other, "2 /org/sluice1/job/2");
        peer_free(bob);
        peer_free(alice);
        peer_free(root);
}

static void a_key_has_a_form(void **state) {
        static const char *const wrong[] = { "''", "'a\nb'", "'a\tb'", "'\x1b[1m'", "'\x7f'" };
        char text[512] = "0 1 Key s ";
        Peer *peer = peer_new(*state, ALICE);

        (void) make_pool(*state, "p", "100");
        memset(text + strlen(text), 'k', SUBMIT_KEY_MAX);
        call_done(peer, P, "Submit", "aya{sv}", text);
        text[strlen(text)] = 'k';
        call_fails(peer, P, "Submit", "aya{sv}", text, E "InvalidArgs", "1 to 255 bytes");
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                (void) snprintf(text, sizeof(text), "0 1 Key s %s", wrong[i]);
                call_fails(peer, P, "Run", "aya{sv}", text, E "InvalidArgs", "control characters");
        }
        call_done(peer, P, "Submit", "aya{sv}", "0 1 Key s 'Größe 5 / ü'");
        peer_free(peer);
}

/* ---- how long ---- */

static void a_key_is_known_as_long_as_its_job(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, ALICE);

        (void) make_pool(test, "p", "1");
        expect(peer, P, "Run", "aya{sv}", "1 a 1 Key s k", "a");
        expect(peer, P, "Submit", "aya{sv}", "1 a 1 Key s k", "1 /org/sluice1/job/1");
        /* The result of another one takes its place. */
        (void) submit(peer, "p", "", "0");
        wait_state(test, 1, _JOB_STATE_INVALID);
        assert_null(test->engine->submit_keys);
        expect(peer, P, "Submit", "aya{sv}", "1 b 1 Key s k", "3 /org/sluice1/job/3");
        peer_free(peer);
}

static void a_group_that_is_forgotten_takes_its_key_along(void **state) {
        Peer *peer = peer_new(*state, ALICE);

        (void) make_pool(*state, "p", "100");
        expect(peer, P, "SubmitGroup", "aaya{sv}", "0 1 Key s k", "/org/sluice1/group/1");
        call_done(peer, "/org/sluice1/group/1", "org.sluice1.Group", "Forget", "", "");
        expect(peer, P, "SubmitGroup", "aaya{sv}", "0 1 Key s k", "/org/sluice1/group/2");
        peer_free(peer);
}

static bool one_pool_is_left(void *userdata) {
        BusTest *test = userdata;

        return list_first(&test->engine->pools) == test->engine->pools.prev;
}

static void a_pool_takes_its_keys_along(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);

        (void) make_pool(test, "q", "100");
        (void) make_pool(test, "p", "100");
        expect(root, P, "Run", "aya{sv}", "1 a 1 Key s k", "a");
        call_done(root, M, "RemovePool", "sb", "p false");
        bus_test_until(test, one_pool_is_left, test);
        assert_null(test->engine->submit_keys);
        (void) make_pool(test, "p", "100");
        expect(root, P, "Submit", "aya{sv}", "1 b 1 Key s k", "2 /org/sluice1/job/2");
        peer_free(root);
}

/* What is full, paused or draining has nothing to do for it. */
static void the_state_of_the_pool_does_not_matter(void **state) {
        static const char *const again = "2 1 a 1 b 1 Key s k";
        Peer *root = peer_new(*state, 0);

        (void) make_pool(*state, "p", "100");
        call_done(root, P, "Pause", "", "");
        call_done(root, P, "Set", "a{sv}", "1 QueueMax t 2");
        expect(root, P, "SubmitMany", "aaya{sv}", again, "1 2 ");
        call_fails(root, P, "Submit", "aya{sv}", "0 0", X "QueueFull", "2");
        expect(root, P, "SubmitMany", "aaya{sv}", again, "1 2 ");
        call_done(root, P, "Set", "a{sv}", "1 QueueMax t 1");
        expect(root, P, "SubmitMany", "aaya{sv}", again, "1 2 ");
        call_done(root, P, "Drain", "t", "0");
        call_fails(root, P, "Submit", "aya{sv}", "0 0", X "Draining", "p");
        call_fails(root, P, "Submit", "aya{sv}", "0 1 Key s k", X "KeyConflict", "k");
        expect(root, P, "SubmitMany", "aaya{sv}", again, "1 2 ");
        engine_shut_down(((BusTest *) *state)->engine);
        expect(root, P, "SubmitMany", "aaya{sv}", again, "1 2 ");
        peer_free(root);
}

/* ---- waiting ---- */

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

static void who_waits_in_line_is_not_accepted_yet(void **state) {
        static const char *const again = "1 a 2 WaitUSec t " FOREVER " Key s k";
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        Pool *pool = make_pool(test, "p", "100");
        Reply first, second, run, other;

        call_done(root, P, "Pause", "", "");
        call_done(root, P, "Set", "a{sv}", "1 QueueMax t 1");
        (void) submit(root, "p", "", "0");
        call_start(root, &first, P, "Submit", "aya{sv}", again);
        call_start(root, &second, P, "Submit", "aya{sv}", again);
        call_start(root, &run, P, "Run", "aya{sv}", again);
        call_start(root, &other, P, "Submit", "aya{sv}", "1 b 2 WaitUSec t " FOREVER " Key s k");
        wait_line(test, pool, 4);
        assert_null(test->engine->submit_keys);
        assert_int_equal(n_jobs_made(test), 1);
        call_done(root, P, "Resume", "", "");
        expect_reply(root, &first, "2 /org/sluice1/job/2");
        expect_reply(root, &second, "2 /org/sluice1/job/2");
        expect_reply(root, &run, "a");
        expect_reply(root, &other, X "KeyConflict: Key \"k\" was given with another body before");
        assert_int_equal(n_jobs_made(test), 2);
        assert_int_equal(pool->scheduler.counters.rejected, 0);
        peer_free(root);
}

static void who_leaves_the_line_leaves_no_key(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0), *other = peer_new(test, 0);
        Pool *pool = make_pool(test, "p", "100");
        Reply reply;

        call_done(root, P, "Pause", "", "");
        call_done(root, P, "Set", "a{sv}", "1 QueueMax t 1");
        (void) submit(root, "p", "", "0");
        call_start(other, &reply, P, "Run", "aya{sv}", "1 a 2 WaitUSec t " FOREVER " Key s k");
        wait_line(test, pool, 1);
        reply_done(&reply);
        peer_free(other);
        call_done(root, P, "Resume", "", "");
        expect(root, P, "Run", "aya{sv}", "1 b 2 WaitUSec t " FOREVER " Key s k", "b");
        peer_free(root);
}

/* The first caller is killed before its answer. */
static void who_is_gone_leaves_its_jobs_to_the_next(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0), *killed = peer_new(test, ALICE),
             *alice = peer_new(test, ALICE);
        Reply one, many, lost;

        (void) make_pool(test, "p", "100");
        call_done(root, P, "Pause", "", "");
        call_start(killed, &lost, P, "Run", "aya{sv}", "1 a 1 Key s run");
        bus_test_turn(test);
        reply_done(&lost);
        call_start(killed, &lost, P, "RunMany", "aaya{sv}", "2 1 a 1 b 1 Key s many");
        bus_test_turn(test);
        reply_done(&lost);
        call_start(alice, &many, P, "RunMany", "aaya{sv}", "2 1 a 1 b 1 Key s many");
        bus_test_turn(test);
        assert_int_equal(n_jobs_made(test), 3);
        peer_free(killed);
        call_start(alice, &one, P, "Run", "aya{sv}", "1 a 1 Key s run");
        bus_test_turn(test);
        call_done(root, P, "Resume", "", "");
        expect_reply(alice, &one, "a");
        expect_reply(alice, &many, "2 succeeded a;3 succeeded b;");
        assert_int_equal(n_jobs_made(test), 3);
        assert_true(list_is_empty(&alice->client->calls));
        peer_free(alice);
        peer_free(root);
}

/* The second one is. */
static void who_waits_along_may_go(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0), *killed = peer_new(test, 0);
        Reply first, lost;

        (void) make_pool(test, "p", "100");
        call_done(root, P, "Pause", "", "");
        call_start(root, &first, P, "RunPacked", "auaya{sv}", "2 1 1 2 a b 1 Key s k");
        bus_test_turn(test);
        call_start(killed, &lost, P, "RunMany", "aaya{sv}", "2 1 a 1 b 1 Key s k");
        bus_test_turn(test);
        reply_done(&lost);
        peer_free(killed);
        call_done(root, P, "Resume", "", "");
        expect_reply(root, &first, "1 0 1 0 1 ab");
        peer_free(root);
}

static void a_job_that_failed_is_the_same_error_again(void **state) {
        Peer *root = peer_new(*state, 0);
        Reply reply;
        Text first;

        (void) bus_test_pool(
                *state, "p", "Handler", "module", "ModulePath", "fail.so", "Workers", "1", NULL);
        call_start(root, &reply, P, "Run", "aya{sv}", "1 a 1 Key s k");
        reply_wait(root, &reply);
        first = text_of(reply.message);
        assert_non_null(strstr(first.s, X "JobFailed"));
        reply_done(&reply);
        expect(root, P, "Run", "aya{sv}", "1 a 1 Key s k", first.s);

        /* Another life is one of the same job, which is waited for. */
        call_done(root, P, "Pause", "", "");
        call_done(root, P, "Kick", "u", "10");
        call_start(root, &reply, P, "Run", "aya{sv}", "1 a 1 Key s k");
        bus_test_turn(*state);
        assert_null(reply.message);
        expect(root, P, "Submit", "aya{sv}", "1 a 1 Key s k", "1 /org/sluice1/job/1");
        call_done(root, P, "Resume", "", "");
        expect_reply(root, &reply, first.s);
        call_done(root, JOB_PATH "1", JOB, "Retry", "", "");
        expect(root, P, "Run", "aya{sv}", "1 a 1 Key s k", first.s);
        assert_int_equal(((BusTest *) *state)->engine->next_id, 2);
        peer_free(root);
}

static void who_bound_the_job_takes_it_along(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0), *first = peer_new(test, 0);
        Reply bound, waiting;

        (void) make_pool(test, "p", "100");
        call_done(root, P, "Pause", "", "");
        call_start(first, &bound, P, "Run", "aya{sv}", "1 a 2 Key s k BindToClient b true");
        bus_test_turn(test);
        call_start(root, &waiting, P, "Run", "aya{sv}", "1 a 1 Key s k");
        bus_test_turn(test);
        reply_done(&bound);
        peer_free(first);
        reply_wait(root, &waiting);
        assert_string_equal(sd_bus_message_get_error(waiting.message)->name, X "JobCancelled");
        reply_done(&waiting);
        peer_free(root);
}

static bool has_signal(void *userdata) {
        return ((const Peer *) userdata)->n_signals > 0;
}

static void who_comes_back_is_notified(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0), *first = peer_new(test, ALICE), *second, *third;

        (void) make_pool(test, "p", "100");
        call_done(root, P, "Pause", "", "");
        expect(first, P, "Submit", "aya{sv}", "1 a 2 Key s k Notify b true",
                "1 /org/sluice1/job/1");
        third = peer_new(test, ALICE);
        /* As long as the first one is there, it is the one. */
        expect(third, P, "Submit", "aya{sv}", "1 a 2 Key s k Notify b true",
                "1 /org/sluice1/job/1");
        peer_free(first);
        second = peer_new(test, ALICE);
        expect(second, P, "Submit", "aya{sv}", "1 a 2 Key s k Notify b true",
                "1 /org/sluice1/job/1");
        call_done(root, P, "Resume", "", "");
        bus_test_until(test, has_signal, second);
        assert_int_equal(third->n_signals, 0);
        peer_free(third);
        peer_free(second);
        peer_free(root);
}

/* ---- some of several ---- */

static void what_was_accepted_in_part_is_so_again(void **state) {
        static const char *const again = "3 1 a 1 b 1 c 2 Key s k Partial b true";
        Peer *root = peer_new(*state, 0);

        (void) make_pool(*state, "p", "100");
        call_done(root, P, "Pause", "", "");
        call_done(root, P, "Set", "a{sv}", "1 QueueMax t 2");
        expect(root, P, "SubmitMany", "aaya{sv}", again, "1 2 ");
        expect(root, P, "SubmitMany", "aaya{sv}", again, "1 2 ");
        call_done(root, P, "Set", "a{sv}", "1 QueueMax t 3");
        expect(root, P, "SubmitMany", "aaya{sv}", again, "1 2 ");
        call_fails(root, P, "SubmitMany", "aaya{sv}", "3 1 a 1 b 1 c 1 Key s k", X "KeyConflict",
                "2 of 3");
        call_fails(root, P, "RunMany", "aaya{sv}", "3 1 a 1 b 1 c 1 Key s k", X "KeyConflict",
                "2 of 3");
        peer_free(root);
}

/* However many results are kept of the pool. */
static void who_waits_has_all_results(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        Reply first, second;

        (void) make_pool(test, "p", "1");
        call_done(root, P, "Pause", "", "");
        call_start(root, &first, P, "RunMany", "aaya{sv}", "3 1 a 1 b 1 c 1 Key s k");
        call_start(root, &second, P, "RunPacked", "auaya{sv}", "3 1 1 1 3 a b c 1 Key s k");
        bus_test_turn(test);
        call_done(root, P, "Resume", "", "");
        expect_reply(root, &first, "1 succeeded a;2 succeeded b;3 succeeded c;");
        expect_reply(root, &second, "1 0 1 0 1 0 1 abc");
        assert_non_null(engine_find_job(test->engine, 3));
        assert_int_equal(test->engine->jobs.n_jobs, 1);
        peer_free(root);
}

static void what_is_forgotten_says_so(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);

        (void) make_pool(test, "p", "1");
        expect(root, P, "SubmitMany", "aaya{sv}", "2 1 a 1 b 1 Key s k", "1 2 ");
        wait_state(test, 1, _JOB_STATE_INVALID);
        expect(root, P, "RunMany", "aaya{sv}", "2 1 a 1 b 1 Key s k",
                "1 lost its result is not kept;2 succeeded b;");
        expect(root, P, "RunPacked", "auaya{sv}", "2 1 1 2 a b 1 Key s k",
                "1 7 22 0 1 its result is not keptb");
        peer_free(root);
}

/* Who waits for all is told how each has ended, so none has another life before that. */
static void a_job_of_a_call_that_goes_on_is_not_retried(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        Reply reply;

        (void) bus_test_pool(test, "p", "Handler", "command", "ExecStart",
                "/bin/sh -c 'read -r line; test \"$line\" = a || exec sleep 600'", "Workers", "2",
                NULL);
        call_start(root, &reply, P, "RunMany", "aaya{sv}", "2 1 a 1 b 1 Key s k");
        wait_state(test, 1, JOB_FINISHED);
        call_fails(root, JOB_PATH "1", JOB, "Retry", "", "", X "InvalidState", "1");
        call_done(root, M, "CancelJob", "t", "2");
        reply_wait(root, &reply);
        assert_null(sd_bus_message_get_error(reply.message));
        reply_done(&reply);
        call_done(root, JOB_PATH "2", JOB, "Retry", "", "");
        wait_state(test, 2, JOB_RUNNING);
        call_done(root, M, "CancelJob", "t", "2");
        wait_state(test, 2, JOB_FINISHED);
        peer_free(root);
}

/* ---- files ---- */

static Text submit_fd(Peer *peer, const char *pool, int fd, const char *key) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char path[128];
        Reply reply;
        Text text;

        (void) snprintf(path, sizeof(path), POOL_PATH "%s", pool);
        assert_return_code(sd_bus_message_new_method_call(
                                   peer->bus, &m, SLUICE_BUS_NAME, path, POOL, "SubmitFd"),
                0);
        assert_return_code(sd_bus_message_append(m, "ha{sv}", fd, 1, "Key", "s", key), 0);
        call_message(peer, &reply, m);
        reply_wait(peer, &reply);
        text = text_of(reply.message);
        reply_done(&reply);
        return text;
}

static int make_file(const char *content) {
        int fd = memfd_create("payload", MFD_CLOEXEC);

        assert_return_code(fd, errno);
        assert_int_equal(write(fd, content, strlen(content)), strlen(content));
        return fd;
}

static void a_file_that_is_handed_over_is_that_file(void **state) {
        _cleanup_close_ int file = make_file("a"), other = make_file("a");
        Peer *root = peer_new(*state, 0);
        int pipes[2];

        (void) bus_test_pool(
                *state, "p", "Handler", "command", "ExecStart", "/bin/cat", "Workers", "1", NULL);
        assert_string_equal(submit_fd(root, "p", file, "k").s, "1 /org/sluice1/job/1");
        assert_string_equal(submit_fd(root, "p", file, "k").s, "1 /org/sluice1/job/1");
        assert_non_null(strstr(submit_fd(root, "p", other, "k").s, X "KeyConflict"));
        call_fails(root, P, "Submit", "aya{sv}", "1 a 1 Key s k", X "KeyConflict", "k");
        assert_int_equal(write(file, "b", 1), 1);
        assert_non_null(strstr(submit_fd(root, "p", file, "k").s, X "KeyConflict"));
        assert_return_code(pipe2(pipes, O_CLOEXEC), errno);
        assert_non_null(
                strstr(submit_fd(root, "p", pipes[0], "new").s, "a pipe cannot be compared"));
        (void) close(pipes[0]);
        (void) close(pipes[1]);
        assert_int_equal(n_jobs_made(*state), 1);
        peer_free(root);
}

static void a_file_that_is_read_is_its_content(void **state) {
        _cleanup_close_ int file = make_file("ab"), other = make_file("ab");
        Peer *alice = peer_new(*state, ALICE);

        (void) make_pool(*state, "p", "100");
        assert_string_equal(submit_fd(alice, "p", file, "k").s, "1 /org/sluice1/job/1");
        assert_string_equal(submit_fd(alice, "p", other, "k").s, "1 /org/sluice1/job/1");
        expect(alice, P, "Run", "aya{sv}", "2 a b 1 Key s k", "ab");
        assert_int_equal(write(file, "c", 1), 1);
        assert_non_null(strstr(submit_fd(alice, "p", file, "k").s, X "KeyConflict"));
        peer_free(alice);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bus_test_setup, bus_test_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(each_method_made_again_has_the_same_answer),
                TEST(so_it_is_with_pipelines),
                TEST(one_body_is_the_same_by_another_method),
                TEST(without_a_key_there_are_two_calls),
                TEST(another_body_is_a_conflict),
                TEST(a_group_is_not_the_same_as_its_jobs),
                TEST(arguments_are_of_the_body),
                TEST(others_have_keys_of_their_own),
                TEST(a_key_has_a_form),
                TEST(a_key_is_known_as_long_as_its_job),
                TEST(a_group_that_is_forgotten_takes_its_key_along),
                TEST(a_pool_takes_its_keys_along),
                TEST(the_state_of_the_pool_does_not_matter),
                TEST(who_waits_in_line_is_not_accepted_yet),
                TEST(who_leaves_the_line_leaves_no_key),
                TEST(who_is_gone_leaves_its_jobs_to_the_next),
                TEST(who_waits_along_may_go),
                TEST(a_job_that_failed_is_the_same_error_again),
                TEST(who_bound_the_job_takes_it_along),
                TEST(who_comes_back_is_notified),
                TEST(what_was_accepted_in_part_is_so_again),
                TEST(who_waits_has_all_results),
                TEST(what_is_forgotten_says_so),
                TEST(a_job_of_a_call_that_goes_on_is_not_retried),
                TEST(a_file_that_is_handed_over_is_that_file),
                TEST(a_file_that_is_read_is_its_content),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
