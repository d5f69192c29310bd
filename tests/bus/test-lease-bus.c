/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The methods of org.sluice1.Pool by which jobs are leased. */

#include "test.h"

#include <inttypes.h>
#include <string.h>

#include "bus-test.h"
#include "util/macro.h"

#define E "org.freedesktop.DBus.Error."
#define X "org.sluice1.Error."
#define P POOL_PATH "p", POOL
#define STALE "This connection has no such lease (any more)"
#define FOREVER "18446744073709551615"

/* Nobody's uid but that of this test, and no group of it. */
#define STRANGER 54321

typedef struct Leased {
        uint64_t id, token;
        uint32_t attempt;
        char payload[32];
} Leased;

static size_t read_leases(sd_bus_message *m, Leased *ret, size_t max) {
        const void *payload;
        size_t n = 0, size;

        assert_true(sd_bus_message_enter_container(m, 'a', "(ttayu)") > 0);
        while (sd_bus_message_enter_container(m, 'r', "ttayu") > 0) {
                assert_true(n < max);
                assert_true(sd_bus_message_read(m, "tt", &ret[n].id, &ret[n].token) > 0);
                assert_true(sd_bus_message_read_array(m, 'y', &payload, &size) >= 0);
                assert_true(size < sizeof(ret[n].payload));
                memcpy(ret[n].payload, payload, size);
                ret[n].payload[size] = '\0';
                assert_true(sd_bus_message_read(m, "u", &ret[n].attempt) > 0);
                assert_true(sd_bus_message_exit_container(m) > 0);
                n++;
        }
        return n;
}

static size_t lease(Peer *peer, const char *text, Leased *ret, size_t max) {
        sd_bus_message *m = call_ok(peer, P, "Lease", "ut", text);
        size_t n = read_leases(m, ret, max);

        sd_bus_message_unref(m);
        return n;
}

static Leased lease_one(Peer *peer) {
        Leased leased;

        assert_int_equal(lease(peer, "1 0", &leased, 1), 1);
        return leased;
}

/* "ID TOKEN" and what follows, as arguments of a call. */
static const char *with(const Leased *leased, const char *rest) {
        static char text[256];

        (void) snprintf(
                text, sizeof(text), "%" PRIu64 " %" PRIu64 " %s", leased->id, leased->token, rest);
        return text;
}

static Pool *make_pool(BusTest *test) {
        return bus_test_pool(test, "p", "Handler", "lease", NULL);
}

static void expect_job(Peer *peer, uint64_t id, const char *result, const char *output) {
        char text[64];
        const char *state, *is, *error;
        const void *data;
        sd_bus_message *m;
        size_t size;

        (void) snprintf(text, sizeof(text), "%" PRIu64 " 0", id);
        m = call_ok(peer, MANAGER_PATH, MANAGER, "WaitJob", "tt", text);
        assert_true(sd_bus_message_read(m, "ss", &state, &is) > 0);
        assert_true(sd_bus_message_read_array(m, 'y', &data, &size) >= 0);
        assert_true(sd_bus_message_read(m, "s", &error) > 0);
        assert_string_equal(is, result);
        if (strcmp(result, "succeeded") == 0) {
                assert_int_equal(size, strlen(output));
                assert_memory_equal(data, output, size);
        } else
                assert_string_equal(error, output);
        sd_bus_message_unref(m);
}

static uint32_t n_waiting(Peer *peer) {
        sd_bus_message *m =
                call_ok(peer, POOL_PATH "p", PROPERTIES, "Get", "ss", POOL " LeaseWaiters");
        uint32_t n;

        assert_true(sd_bus_message_read(m, "v", "u", &n) > 0);
        sd_bus_message_unref(m);
        return n;
}

static bool has_answer(void *reply) {
        return ((Reply *) reply)->message;
}

/* ---- the way of a job ---- */

static void a_lease_has_id_token_payload_and_attempt(void **state) {
        Peer *root = peer_new(*state, 0);
        Leased l[3];
        uint64_t id;

        (void) make_pool(*state);
        id = submit(root, "p", "ab", "0");
        (void) submit(root, "p", "", "0");
        assert_int_equal(lease(root, "3 0", l, 3), 2);
        assert_int_equal(l[0].id, id);
        assert_string_equal(l[0].payload, "ab");
        assert_int_equal(l[0].attempt, 1);
        assert_int_equal(l[1].id, id + 1);
        assert_string_equal(l[1].payload, "");
        assert_int_not_equal(l[0].token, 0);
        assert_int_equal(lease(root, "3 0", l, 3), 0);
        peer_free(root);
}

static void each_verdict_has_its_result(void **state) {
        static const struct {
                const char *method, *types, *arguments, *result, *output;
        } rows[] = {
                { "Complete", "ttbay", "true 2 104 105", "succeeded", "hi" },
                { "Complete", "ttbay", "true 0", "succeeded", "" },
                { "Complete", "ttbay", "false 2 110 111", "failed", "no" },
                { "Complete", "ttbay", "false 3 255 110 111", "failed", "?no" },
                { "Complete", "ttbay", "false 0", "failed", "failed without saying why" },
                { "Fail", "ttbs", "false why", "failed", "why" },
                { "Fail", "ttbs", "true why", "failed", "why" },
                { "Fail", "ttbs", "true ''", "failed", "failed without saying why" },
        };
        Peer *root = peer_new(*state, 0);

        (void) make_pool(*state);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                uint64_t id = submit(root, "p", "x", "0");
                Leased leased = lease_one(root);

                call_done(root, P, rows[i].method, rows[i].types, with(&leased, rows[i].arguments));
                expect_job(root, id, rows[i].result, rows[i].output);
        }
        peer_free(root);
}

static void a_caller_of_run_gets_what_the_holder_says(void **state) {
        Peer *root = peer_new(*state, 0);
        _cleanup_reply_ Reply reply = {};
        const void *output;
        Leased leased;
        size_t size;

        (void) make_pool(*state);
        call_start(root, &reply, P, "Run", "aya{sv}", "2 97 98 0");
        leased = lease_one(root);
        call_done(root, P, "Complete", "ttbay", with(&leased, "true 1 98"));
        reply_wait(root, &reply);
        assert_true(sd_bus_message_read_array(reply.message, 'y', &output, &size) > 0);
        assert_int_equal(size, 1);
        peer_free(root);
}

static void a_released_job_comes_back(void **state) {
        Peer *root = peer_new(*state, 0);
        Leased first, second;

        (void) make_pool(*state);
        (void) submit(root, "p", "x", "0");
        first = lease_one(root);
        call_done(root, P, "Release", "ttt", with(&first, "0"));
        second = lease_one(root);
        assert_int_equal(second.id, first.id);
        assert_int_equal(second.attempt, 1);
        assert_int_not_equal(second.token, first.token);
        call_done(root, P, "Touch", "tt", with(&second, ""));
        call_fails(root, P, "Touch", "tt", with(&first, ""), X "StaleLease", STALE);
        peer_free(root);
}

static void a_call_waits_for_a_job(void **state) {
        Peer *root = peer_new(*state, 0);
        _cleanup_reply_ Reply first = {}, second = {};
        Leased l[2];

        (void) make_pool(*state);
        call_start(root, &first, P, "Lease", "ut", "2 " FOREVER);
        call_start(root, &second, P, "Lease", "ut", "2 " FOREVER);
        assert_int_equal(n_waiting(root), 2);
        (void) submit(root, "p", "x", "0");
        reply_wait(root, &first);
        assert_int_equal(read_leases(first.message, l, 2), 1);
        assert_int_equal(n_waiting(root), 1);
        assert_false(has_answer(&second));
        (void) submit(root, "p", "x", "0");
        reply_wait(root, &second);
        assert_int_equal(read_leases(second.message, l, 2), 1);
        assert_int_equal(n_waiting(root), 0);
        peer_free(root);
}

static void a_call_that_waits_in_vain_gets_an_empty_list(void **state) {
        Peer *root = peer_new(*state, 0);
        Leased l[1];

        (void) make_pool(*state);
        assert_int_equal(lease(root, "1 1000", l, 1), 0);
        assert_int_equal(n_waiting(root), 0);
        peer_free(root);
}

static void complete_many(Peer *peer, const char *text, const uint64_t *stale, size_t n_stale) {
        sd_bus_message *m = call_ok(peer, P, "CompleteMany", "a(ttbay)", text);
        const void *ids;
        size_t size;

        assert_true(sd_bus_message_read_array(m, 't', &ids, &size) >= 0);
        assert_int_equal(size, n_stale * sizeof(*stale));
        if (size > 0)
                assert_memory_equal(ids, stale, size);
        sd_bus_message_unref(m);
}

static void many_are_completed_at_once_and_the_stale_ones_told(void **state) {
        Peer *root = peer_new(*state, 0);
        char text[512];
        Leased l[4];

        (void) make_pool(*state);
        for (unsigned i = 0; i < 4; i++)
                (void) submit(root, "p", "x", "0");
        assert_int_equal(lease(root, "4 0", l, 4), 4);
        complete_many(root, "0", NULL, 0);
        (void) snprintf(text, sizeof(text),
                "4 %" PRIu64 " %" PRIu64 " true 1 97 %" PRIu64 " %" PRIu64 " false 2 110 111 "
                "%" PRIu64 " 1 true 0 %" PRIu64 " %" PRIu64 " true 0",
                l[0].id, l[0].token, l[1].id, l[1].token, l[2].id, l[0].id, l[0].token);
        complete_many(root, text, (uint64_t[]){ l[2].id, l[0].id }, 2);
        expect_job(root, l[0].id, "succeeded", "a");
        expect_job(root, l[1].id, "failed", "no");
        call_done(root, P, "Touch", "tt", with(&l[2], ""));
        peer_free(root);
}

static void too_many_verdicts_change_nothing(void **state) {
        Peer *root = peer_new(*state, 0);
        _cleanup_reply_ Reply reply = {};
        sd_bus_message *m;
        Leased leased;

        (void) make_pool(*state);
        (void) submit(root, "p", "x", "0");
        leased = lease_one(root);
        assert_true(sd_bus_message_new_method_call(root->bus, &m, NULL, P, "CompleteMany") >= 0);
        assert_true(sd_bus_message_open_container(m, 'a', "(ttbay)") >= 0);
        for (unsigned i = 0; i < 1001; i++)
                assert_true(
                        sd_bus_message_append(m, "(ttbay)", leased.id, leased.token, true, 0) >= 0);
        assert_true(sd_bus_message_close_container(m) >= 0);
        call_message(root, &reply, m);
        sd_bus_message_unref(m);
        reply_wait(root, &reply);
        assert_string_equal(sd_bus_message_get_error(reply.message)->name, E "InvalidArgs");
        call_done(root, P, "Touch", "tt", with(&leased, ""));
        peer_free(root);
}

/* ---- connections ---- */

static void a_caller_that_goes_leaves_the_line(void **state) {
        Peer *root = peer_new(*state, 0), *other = peer_new(*state, 0);
        Reply reply = {};

        (void) make_pool(*state);
        call_start(other, &reply, P, "Lease", "ut", "1 " FOREVER);
        call_done(other, POOL_PATH "p", PROPERTIES, "Get", "ss", POOL " State");
        assert_int_equal(n_waiting(root), 1);
        reply_done(&reply);
        peer_free(other);
        assert_int_equal(n_waiting(root), 0);
        (void) submit(root, "p", "x", "0");
        (void) lease_one(root);
        peer_free(root);
}

static void the_jobs_of_a_connection_that_goes_are_for_others(void **state) {
        Peer *root = peer_new(*state, 0), *other = peer_new(*state, 0);
        Leased mine, again;

        (void) make_pool(*state);
        (void) submit(root, "p", "x", "0");
        mine = lease_one(other);
        peer_free(other);
        again = lease_one(root);
        assert_int_equal(again.id, mine.id);
        assert_int_equal(again.attempt, 2);
        call_fails(root, P, "Complete", "ttbay", with(&mine, "true 0"), X "StaleLease", STALE);
        call_done(root, P, "Complete", "ttbay", with(&again, "true 0"));
        peer_free(root);
}

/* One and the same answer, whatever is wrong. */
static void a_lease_is_of_its_connection_alone(void **state) {
        static const struct {
                const char *method, *types, *rest;
        } rows[] = {
                { "Complete", "ttbay", "true 0" },
                { "Complete", "ttbay", "false 0" },
                { "Fail", "ttbs", "true x" },
                { "Release", "ttt", "0" },
                { "Touch", "tt", "" },
        };
        Peer *root = peer_new(*state, 0), *other = peer_new(*state, 0);
        Leased mine;

        (void) make_pool(*state);
        (void) submit(root, "p", "x", "0");
        mine = lease_one(root);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const Leased wrong_token = { .id = mine.id, .token = mine.token ^ 1 };
                const Leased wrong_id = { .id = mine.id + 1, .token = mine.token };
                const Leased none = {};

                call_fails(other, P, rows[i].method, rows[i].types, with(&mine, rows[i].rest),
                        X "StaleLease", STALE);
                call_fails(root, P, rows[i].method, rows[i].types, with(&wrong_token, rows[i].rest),
                        X "StaleLease", STALE);
                call_fails(root, P, rows[i].method, rows[i].types, with(&wrong_id, rows[i].rest),
                        X "StaleLease", STALE);
                call_fails(root, P, rows[i].method, rows[i].types, with(&none, rows[i].rest),
                        X "StaleLease", STALE);
        }
        call_done(root, P, "Complete", "ttbay", with(&mine, "true 0"));
        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                call_fails(root, P, rows[i].method, rows[i].types, with(&mine, rows[i].rest),
                        X "StaleLease", STALE);
        expect_job(root, mine.id, "succeeded", "");
        peer_free(other);
        peer_free(root);
}

/* ---- cancel ---- */

static bool has_signal(void *peer) {
        return ((Peer *) peer)->n_signals > 0;
}

static void the_holder_is_told_of_a_cancel_and_nobody_else(void **state) {
        Peer *root = peer_new(*state, 0), *other = peer_new(*state, 0);
        uint64_t id, token;
        const char *reason;
        Leased mine;
        char text[32];

        (void) make_pool(*state);
        (void) submit(root, "p", "x", "0");
        mine = lease_one(root);
        (void) snprintf(text, sizeof(text), "%" PRIu64, mine.id);
        call_done(other, MANAGER_PATH, MANAGER, "CancelJob", "t", text);
        bus_test_until(*state, has_signal, root);
        assert_string_equal(sd_bus_message_get_member(root->signals[0]), "LeaseStopping");
        assert_string_equal(sd_bus_message_get_path(root->signals[0]), POOL_PATH "p");
        assert_true(sd_bus_message_read(root->signals[0], "tts", &id, &token, &reason) > 0);
        assert_int_equal(id, mine.id);
        assert_int_equal(token, mine.token);
        assert_string_equal(reason, "cancelled");
        bus_test_turn(*state);
        assert_int_equal(other->n_signals, 0);

        call_fails(root, P, "Touch", "tt", with(&mine, ""), X "JobCancelled", "was cancelled");
        call_fails(root, P, "Touch", "tt", with(&mine, ""), X "StaleLease", STALE);
        expect_job(root, mine.id, "cancelled", "cancelled");
        peer_free(other);
        peer_free(root);
}

/* ---- rights ---- */

static void only_who_is_named_may_lease(void **state) {
        Peer *root = peer_new(*state, 0), *stranger = peer_new(*state, STRANGER);
        Leased leased;

        (void) bus_test_pool(*state, "p", "Handler", "lease", "AllowUsers", "54321", NULL);
        (void) submit(stranger, "p", "x", "0");
        call_fails(stranger, P, "Lease", "ut", "1 0", E "AccessDenied", "may not lease");
        /* Who cannot have one finds out nothing. */
        leased = lease_one(root);
        call_fails(
                stranger, P, "Complete", "ttbay", with(&leased, "true 0"), X "StaleLease", STALE);
        peer_free(stranger);
        peer_free(root);
}

static void who_is_named_may_lease(void **state) {
        Peer *root = peer_new(*state, 0), *stranger = peer_new(*state, STRANGER);
        Leased leased;

        (void) bus_test_pool(*state, "p", "Handler", "lease", "LeaseAllowUsers", "54321", NULL);
        (void) submit(root, "p", "x", "0");
        leased = lease_one(stranger);
        call_done(stranger, P, "Complete", "ttbay", with(&leased, "true 0"));
        expect_job(root, leased.id, "succeeded", "");
        call_fails(stranger, P, "Submit", "aya{sv}", "0 0", E "AccessDenied", "may not submit");
        peer_free(stranger);
        peer_free(root);
}

/* ---- wrong input ---- */

static void who_wants_no_answer_leases_nothing(void **state) {
        static const char *const timeouts[] = { "1 0", "1 " FOREVER };
        Peer *root = peer_new(*state, 0);
        Leased leased;

        (void) make_pool(*state);
        for (size_t i = 0; i < ELEMENTSOF(timeouts); i++) {
                sd_bus_message *m;

                (void) submit(root, "p", "x", "0");
                assert_true(sd_bus_message_new_method_call(root->bus, &m, NULL, P, "Lease") >= 0);
                append_text(m, "ut", timeouts[i]);
                assert_true(sd_bus_message_set_expect_reply(m, false) >= 0);
                assert_true(sd_bus_send(root->bus, m, NULL) >= 0);
                sd_bus_message_unref(m);
                leased = lease_one(root);
                assert_int_equal(leased.attempt, 1);
        }
        assert_int_equal(n_waiting(root), 0);
        peer_free(root);
}

static void an_output_that_is_too_large_leaves_the_lease_as_it_is(void **state) {
        Peer *root = peer_new(*state, 0);
        _cleanup_reply_ Reply reply = {};
        sd_bus_message *m;
        Leased leased;
        void *space;

        (void) make_pool(*state);
        (void) submit(root, "p", "x", "0");
        leased = lease_one(root);
        assert_true(sd_bus_message_new_method_call(root->bus, &m, NULL, P, "Complete") >= 0);
        assert_true(sd_bus_message_append(m, "ttb", leased.id, leased.token, true) >= 0);
        assert_true(sd_bus_message_append_array_space(m, 'y', (16 << 20) + 1, &space) >= 0);
        memset(space, 0, (16 << 20) + 1);
        call_message(root, &reply, m);
        sd_bus_message_unref(m);
        reply_wait(root, &reply);
        assert_string_equal(sd_bus_message_get_error(reply.message)->name, X "TooLarge");
        call_done(root, P, "Complete", "ttbay", with(&leased, "true 0"));
        peer_free(root);
}

static void who_waits_at_a_pool_that_goes_is_told(void **state) {
        Peer *root = peer_new(*state, 0);
        _cleanup_reply_ Reply reply = {};

        (void) make_pool(*state);
        call_start(root, &reply, P, "Lease", "ut", "1 " FOREVER);
        call_done(root, MANAGER_PATH, MANAGER, "RemovePool", "sb", "p false");
        reply_wait(root, &reply);
        assert_string_equal(sd_bus_message_get_error(reply.message)->name, X "NotFound");
        peer_free(root);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, bus_test_setup, bus_test_teardown)
        const struct CMUnitTest tests[] = {
                TEST(a_lease_has_id_token_payload_and_attempt),
                TEST(each_verdict_has_its_result),
                TEST(a_caller_of_run_gets_what_the_holder_says),
                TEST(a_released_job_comes_back),
                TEST(a_call_waits_for_a_job),
                TEST(a_call_that_waits_in_vain_gets_an_empty_list),
                TEST(many_are_completed_at_once_and_the_stale_ones_told),
                TEST(too_many_verdicts_change_nothing),
                TEST(a_caller_that_goes_leaves_the_line),
                TEST(the_jobs_of_a_connection_that_goes_are_for_others),
                TEST(a_lease_is_of_its_connection_alone),
                TEST(the_holder_is_told_of_a_cancel_and_nobody_else),
                TEST(only_who_is_named_may_lease),
                TEST(who_is_named_may_lease),
                TEST(who_wants_no_answer_leases_nothing),
                TEST(an_output_that_is_too_large_leaves_the_lease_as_it_is),
                TEST(who_waits_at_a_pool_that_goes_is_told),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
