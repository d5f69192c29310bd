/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What one user may have: each cap is met, named, and given back. */

#include "test.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../core/random.h"
#include "bus-test.h"
#include "bus/call.h"
#include "util/macro.h"

#define ALICE 1000
#define BOB 1001
#define X "org.sluice1.Error."

#define FOREVER "18446744073709551615"

#define M MANAGER_PATH, MANAGER
#define P POOL_PATH "p", POOL
#define G(id) "/org/sluice1/group/" #id, "org.sluice1.Group"

static Pool *make_pool(BusTest *test, const char *module) {
        return bus_test_pool(test, "p", "Handler", "module", "ModulePath", module, "Workers", "1",
                "QueueMax", "20000", "Fairness", "user", "AllowUsers", "1000 1001", NULL);
}

static void set_cap(BusTest *test, QuotaKind kind, uint64_t max) {
        test->engine->quota.config.max[kind] = max;
}

static uint64_t used(const Peer *peer, QuotaKind kind) {
        return peer->client->account->used[kind];
}

static void submit_many(Peer *peer, unsigned n) {
        _cleanup_free_ char *text = NULL;
        char *end;

        assert_true(asprintf(&text, "%u%*s 0", n, (int) (2 * n), "") > 0);
        end = text + strcspn(text, " ");
        for (unsigned i = 0; i < n; i++, end += 2)
                memcpy(end, " 0", 2);
        call_done(peer, P, "SubmitMany", "aaya{sv}", text);
}

static bool nothing_is_live(void *userdata) {
        const Peer *peer = userdata;

        return used(peer, QUOTA_JOBS) == 0;
}

/* ---- caps ---- */

static void live_jobs_are_bounded(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE), *bob = peer_new(test, BOB), *root = peer_new(test, 0);
        Pool *pool = make_pool(test, "echo.so");
        PoolView view;

        set_cap(test, QUOTA_JOBS, 5);
        call_done(root, P, "Pause", "", "");
        submit_many(alice, 3);
        call_fails(alice, P, "SubmitMany", "aaya{sv}", "3 0 0 0 0", X "QuotaExceeded",
                "JobsMax is 5: uid 1000 has 3 jobs that have not ended, and 3 more");
        submit_many(alice, 2);
        call_fails(alice, P, "Submit", "aya{sv}", "0 0", X "QuotaExceeded", "JobsMax is 5");
        call_fails(alice, P, "Run", "aya{sv}", "0 0", X "QuotaExceeded", "JobsMax is 5");
        call_fails(alice, P, "SubmitGroup", "aaya{sv}", "1 0 0", X "QuotaExceeded", "JobsMax is 5");
        assert_int_equal(used(alice, QUOTA_JOBS), 5);
        /* Refused submits are counted as such. */
        pool_view(pool, &view);
        assert_int_equal(view.counters.rejected, 6);

        /* Others are not concerned, and root is not bound. */
        submit_many(bob, 5);
        submit_many(root, 50);

        /* Whatever ends one makes room for another. */
        call_done(alice, M, "CancelJob", "t", "1");
        (void) submit(alice, "p", "", "1 QueueTimeoutUSec t 1000");
        call_done(root, P, "Resume", "", "");
        bus_test_until(test, nothing_is_live, alice);
        submit_many(alice, 5);
        bus_test_until(test, nothing_is_live, alice);
        bus_test_until(test, nothing_is_live, bob);
        peer_free(alice);
        peer_free(bob);
        peer_free(root);
}

static void bytes_of_payloads_are_bounded(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE), *root = peer_new(test, 0);

        (void) make_pool(test, "echo.so");
        set_cap(test, QUOTA_BYTES, 10);
        call_done(root, P, "Pause", "", "");
        call_fails(alice, P, "Submit", "aya{sv}", "11 1 2 3 4 5 6 7 8 9 0 1 0", X "QuotaExceeded",
                "BytesMax is 10: uid 1000 has 0 bytes of payloads, and 11 more");
        call_done(alice, P, "SubmitMany", "aaya{sv}", "3 1 1 3 1 2 3 4 1 2 3 4 0");
        call_fails(alice, P, "Submit", "aya{sv}", "3 1 2 3 0", X "QuotaExceeded", "has 8 bytes");
        (void) submit(alice, "p", "xx", "0");
        (void) submit(alice, "p", "", "0");
        assert_int_equal(used(alice, QUOTA_BYTES), 10);
        /* Each of a call has an equal share, and the last one what is left. */
        call_done(alice, M, "CancelJob", "t", "2");
        wait_state(test, 2, JOB_FINISHED);
        assert_int_equal(used(alice, QUOTA_BYTES), 8);
        call_done(root, P, "Resume", "", "");
        bus_test_until(test, nothing_is_live, alice);
        assert_int_equal(used(alice, QUOTA_BYTES), 0);
        peer_free(alice);
        peer_free(root);
}

static void waiting_calls_are_bounded(void **state) {
        BusTest *test = *state;
        Peer *one = peer_new(test, ALICE), *two = peer_new(test, ALICE), *root = peer_new(test, 0);
        Reply replies[3];

        (void) make_pool(test, "echo.so");
        set_cap(test, QUOTA_CALLS, 3);
        call_done(root, P, "Pause", "", "");
        (void) submit(one, "p", "", "0");
        call_start(one, &replies[0], M, "WaitJob", "tt", "1 " FOREVER);
        call_start(two, &replies[1], M, "WaitJob", "tt", "1 " FOREVER);
        call_start(two, &replies[2], P, "Run", "aya{sv}", "0 0");
        bus_test_turn(test);
        assert_int_equal(used(one, QUOTA_CALLS), 3);
        /* They count together, whichever connection they come by. */
        call_fails(one, M, "WaitJob", "tt", "1 " FOREVER, X "QuotaExceeded",
                "CallsMax is 3: uid 1000 has 3 waiting calls");
        call_fails(two, P, "Run", "aya{sv}", "0 0", X "QuotaExceeded", "CallsMax");
        assert_int_equal(used(one, QUOTA_JOBS), 2);
        /* What does not wait does not count. */
        call_done(one, M, "WaitJob", "tt", "1 0");
        call_done(root, P, "Resume", "", "");
        for (size_t i = 0; i < ELEMENTSOF(replies); i++) {
                reply_wait(i == 0 ? one : two, &replies[i]);
                assert_null(sd_bus_message_get_error(replies[i].message));
                reply_done(&replies[i]);
        }
        assert_int_equal(used(one, QUOTA_CALLS), 0);
        peer_free(one);
        peer_free(two);
        peer_free(root);
}

static void subscriptions_are_bounded(void **state) {
        BusTest *test = *state;
        Peer *one = peer_new(test, ALICE), *two = peer_new(test, ALICE), *bob = peer_new(test, BOB);

        set_cap(test, QUOTA_SUBSCRIPTIONS, 1);
        call_done(one, M, "Subscribe", "", "");
        /* It has it already. */
        call_done(one, M, "Subscribe", "", "");
        call_fails(two, M, "Subscribe", "", "", X "QuotaExceeded", "SubscriptionsMax is 1");
        call_done(bob, M, "Subscribe", "", "");
        call_done(one, M, "Unsubscribe", "", "");
        call_done(one, M, "Unsubscribe", "", "");
        call_done(two, M, "Subscribe", "", "");
        peer_free(two);
        assert_int_equal(used(one, QUOTA_SUBSCRIPTIONS), 0);
        peer_free(one);
        peer_free(bob);
}

static void groups_are_bounded_until_they_are_forgotten(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE);

        (void) make_pool(test, "echo.so");
        set_cap(test, QUOTA_GROUPS, 2);
        call_done(alice, P, "SubmitGroup", "aaya{sv}", "2 0 0 0");
        call_done(alice, P, "SubmitGroup", "aaya{sv}", "0 0");
        call_fails(alice, P, "SubmitGroup", "aaya{sv}", "0 0", X "QuotaExceeded",
                "GroupsMax is 2: uid 1000 has 2 groups");
        bus_test_until(test, nothing_is_live, alice);
        assert_int_equal(used(alice, QUOTA_GROUPS), 2);
        call_done(alice, G(1), "Forget", "", "");
        call_done(alice, G(4), "Forget", "", "");
        assert_int_equal(used(alice, QUOTA_GROUPS), 0);
        call_done(alice, P, "SubmitGroup", "aaya{sv}", "1 0 0");
        peer_free(alice);
}

static bool is_refused(void *userdata) {
        const BusTest *test = userdata;

        list_for_each (l, &test->server->links)
                if (list_entry(l, Link, links)->refused)
                        return true;
        return false;
}

static bool nobody_is_refused(void *userdata) {
        return !is_refused(userdata);
}

static void direct_connections_are_bounded_and_told_so(void **state) {
        BusTest *test = *state;
        Account *account = quota_account(&test->engine->quota, getuid());
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        sd_bus_message *m = NULL;
        Peer peer = { .test = test };
        Reply reply;
        int fds[2], more[2];

        /* What comes by a socket pair is of our own user. */
        assert_non_null(account);
        account->is_bound = true;
        set_cap(test, QUOTA_CONNECTIONS, 2);
        for (int i = 0; i < 2; i++) {
                assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
                assert_return_code(direct_link_new(test->server, fds[0]), 0);
                (void) close(fds[1]);
        }
        assert_int_equal(account->used[QUOTA_CONNECTIONS], 2);

        assert_return_code(
                socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
        assert_return_code(direct_link_new(test->server, fds[0]), 0);
        assert_true(is_refused(test));
        /* Of those who are told there is one at a time. */
        assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, more), 0);
        assert_int_equal(direct_link_new(test->server, more[0]), -EMFILE);
        (void) close(more[1]);

        assert_return_code(sd_bus_new(&bus), 0);
        assert_return_code(sd_bus_set_fd(bus, fds[1], fds[1]), 0);
        assert_return_code(sd_bus_start(bus), 0);
        assert_return_code(sd_bus_attach_event(bus, test->event, 0), 0);
        peer.bus = bus;
        assert_return_code(sd_bus_message_new_method_call(
                                   bus, &m, SLUICE_BUS_NAME, MANAGER_PATH, MANAGER, "ListPools"),
                0);
        call_message(&peer, &reply, m);
        sd_bus_message_unref(m);
        reply_wait(&peer, &reply);
        assert_string_equal(sd_bus_message_get_error(reply.message)->name, X "QuotaExceeded");
        assert_non_null(strstr(
                sd_bus_message_get_error(reply.message)->message, "ConnectionsMax is 2: uid"));
        reply_done(&reply);
        bus_test_until(test, nobody_is_refused, test);
        (void) sd_bus_detach_event(bus);
        /* The two that were closed at once have been noticed meanwhile, or are next. */
        bus_test_turn(test);
        assert_int_equal(account->used[QUOTA_CONNECTIONS], 0);
        account_unref(account);
}

static void a_lower_cap_takes_nothing_away(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE), *root = peer_new(test, 0);

        (void) make_pool(test, "echo.so");
        call_done(root, P, "Pause", "", "");
        submit_many(alice, 4);
        set_cap(test, QUOTA_JOBS, 2);
        call_fails(alice, P, "Submit", "aya{sv}", "0 0", X "QuotaExceeded", "JobsMax is 2");
        assert_int_equal(used(alice, QUOTA_JOBS), 4);
        set_cap(test, QUOTA_JOBS, UINT64_MAX);
        submit_many(alice, 4);
        call_done(root, P, "Clear", "", "");
        bus_test_until(test, nothing_is_live, alice);
        peer_free(alice);
        peer_free(root);
}

/* ---- what the caps mean for submits ---- */

static void partial_takes_what_the_quota_has_room_for(void **state) {
        static const struct {
                uint64_t jobs, bytes, room;
                uint32_t taken;
        } rows[] = {
                { 3, 100, 100, 3 },
                { 100, 7, 100, 3 },
                { 100, 8, 100, 4 },
                { 3, 100, 2, 2 },
                { 2, 100, 3, 2 },
                { 5, 10, 5, 5 },
        };
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE), *root = peer_new(test, 0);
        Pool *pool = make_pool(test, "echo.so");
        uint64_t rejected = 0;
        PoolView view;

        call_done(root, P, "Pause", "", "");
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                sd_bus_message *m;
                uint64_t first;
                uint32_t n;
                char text[64];

                set_cap(test, QUOTA_JOBS, rows[i].jobs);
                set_cap(test, QUOTA_BYTES, rows[i].bytes);
                (void) snprintf(text, sizeof(text), "1 QueueMax t %u", (unsigned) rows[i].room);
                call_done(root, P, "Set", "a{sv}", text);
                m = call_ok(alice, P, "SubmitMany", "aaya{sv}",
                        "5 2 0 0 2 0 0 2 0 0 2 0 0 2 0 0 1 Partial b true");
                assert_true(sd_bus_message_read(m, "tu", &first, &n) > 0);
                assert_int_equal(n, rows[i].taken);
                sd_bus_message_unref(m);
                rejected += 5 - n;
                pool_view(pool, &view);
                assert_int_equal(view.counters.rejected, rejected);
                call_done(root, P, "Clear", "", "");
                bus_test_until(test, nothing_is_live, alice);
                assert_int_equal(used(alice, QUOTA_BYTES), 0);
        }

        /* Where nothing fits it is said why. */
        set_cap(test, QUOTA_JOBS, 0);
        call_fails(alice, P, "SubmitMany", "aaya{sv}", "5 0 0 0 0 0 1 Partial b true",
                X "QuotaExceeded", "JobsMax is 0");
        pool_view(pool, &view);
        assert_int_equal(view.counters.rejected, rejected + 5);
        set_cap(test, QUOTA_JOBS, 5);
        set_cap(test, QUOTA_BYTES, 1);
        call_fails(alice, P, "SubmitMany", "aaya{sv}", "2 2 0 0 0 1 Partial b true",
                X "QuotaExceeded", "BytesMax is 1");
        peer_free(alice);
        peer_free(root);
}

static void who_waits_for_room_counts(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE), *root = peer_new(test, 0);
        Reply waiting, group;

        (void) make_pool(test, "echo.so");
        set_cap(test, QUOTA_JOBS, 3);
        call_done(root, P, "Pause", "", "");
        call_done(root, P, "Set", "a{sv}", "1 QueueMax t 1");
        (void) submit(alice, "p", "", "0");
        call_start(alice, &waiting, P, "Submit", "aya{sv}", "1 x 1 WaitUSec t " FOREVER);
        call_start(alice, &group, P, "SubmitGroup", "aaya{sv}", "1 0 1 WaitUSec t " FOREVER);
        bus_test_turn(test);
        assert_int_equal(used(alice, QUOTA_JOBS), 3);
        assert_int_equal(used(alice, QUOTA_BYTES), 1);
        assert_int_equal(used(alice, QUOTA_GROUPS), 1);
        call_fails(alice, P, "Submit", "aya{sv}", "0 1 WaitUSec t " FOREVER, X "QuotaExceeded",
                "JobsMax is 3");
        call_done(root, P, "Drain", "t", "0");
        reply_wait(alice, &waiting);
        reply_wait(alice, &group);
        assert_non_null(sd_bus_message_get_error(waiting.message));
        assert_non_null(sd_bus_message_get_error(group.message));
        reply_done(&waiting);
        reply_done(&group);
        assert_int_equal(used(alice, QUOTA_JOBS), 1);
        assert_int_equal(used(alice, QUOTA_BYTES), 0);
        assert_int_equal(used(alice, QUOTA_GROUPS), 0);
        peer_free(alice);
        peer_free(root);
}

static void who_lives_again_counts_again(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE), *root = peer_new(test, 0);
        sd_bus_message *m;

        (void) make_pool(test, "fail.so");
        call_done(alice, P, "SubmitMany", "aaya{sv}", "2 1 0 3 0 0 0 0");
        bus_test_until(test, nothing_is_live, alice);
        set_cap(test, QUOTA_JOBS, 1);
        call_done(root, P, "Pause", "", "");
        call_done(alice, JOB_PATH "2", JOB, "Retry", "", "");
        assert_int_equal(used(alice, QUOTA_JOBS), 1);
        assert_int_equal(used(alice, QUOTA_BYTES), 3);
        call_fails(alice, JOB_PATH "1", JOB, "Retry", "", "", X "QuotaExceeded", "JobsMax is 1");
        set_cap(test, QUOTA_JOBS, 2);
        set_cap(test, QUOTA_BYTES, 3);
        call_fails(alice, JOB_PATH "1", JOB, "Retry", "", "", X "QuotaExceeded", "BytesMax is 3");
        /* Who may change the pool may also do this to it. */
        m = call_ok(root, P, "Kick", "u", "10");
        sd_bus_message_unref(m);
        assert_int_equal(used(alice, QUOTA_JOBS), 2);
        assert_int_equal(used(alice, QUOTA_BYTES), 4);
        call_done(root, P, "Resume", "", "");
        bus_test_until(test, nothing_is_live, alice);
        assert_int_equal(used(alice, QUOTA_BYTES), 0);
        peer_free(alice);
        peer_free(root);
}

static void rights_are_asked_before_the_quota_and_room_after_it(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE), *eve = peer_new(test, 1002), *root = peer_new(test, 0);

        (void) make_pool(test, "echo.so");
        set_cap(test, QUOTA_JOBS, 0);
        call_fails(eve, P, "Submit", "aya{sv}", "0 0", "org.freedesktop.DBus.Error.AccessDenied",
                "AllowUsers");
        call_done(root, P, "Drain", "t", "0");
        call_fails(alice, P, "Submit", "aya{sv}", "0 0", X "QuotaExceeded", "JobsMax");
        call_fails(root, P, "Submit", "aya{sv}", "0 0", X "Draining", "");
        peer_free(alice);
        peer_free(eve);
        peer_free(root);
}

/* ---- others ---- */

static bool has_been_told_enough(void *userdata) {
        const Peer *peer = userdata;

        return peer->n_signals >= ELEMENTSOF(peer->signals);
}

/* Of the jobs of which the client was told first. */
static bool is_among_the_first(const Peer *peer, uint64_t id) {
        for (size_t i = 0; i < ELEMENTSOF(peer->signals); i++) {
                sd_bus_message *m = peer->signals[i];
                const char *pool;
                uint64_t told;

                if (strcmp(sd_bus_message_get_interface(m), MANAGER) == 0 &&
                        sd_bus_message_read(m, "ts", &told, &pool) > 0 && told == id)
                        return true;
        }
        return false;
}

static void who_has_all_there_is_keeps_nobody_waiting(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE), *bob = peer_new(test, BOB), *root = peer_new(test, 0);
        Reply waiting[10];
        uint64_t id;

        (void) make_pool(test, "echo.so");
        set_cap(test, QUOTA_JOBS, 10000);
        set_cap(test, QUOTA_CALLS, ELEMENTSOF(waiting));
        set_cap(test, QUOTA_SUBSCRIPTIONS, 1);
        call_done(root, P, "Pause", "", "");
        for (unsigned i = 0; i < 100; i++)
                submit_many(alice, 100);
        call_done(alice, M, "Subscribe", "", "");
        for (size_t i = 0; i < ELEMENTSOF(waiting); i++)
                call_start(alice, &waiting[i], M, "WaitJob", "tt", "10000 " FOREVER);
        call_fails(alice, P, "Submit", "aya{sv}", "0 0", X "QuotaExceeded", "JobsMax");
        call_fails(alice, M, "WaitJob", "tt", "1 " FOREVER, X "QuotaExceeded", "CallsMax");

        /* Bob comes after ten thousand of hers, and is next. */
        call_done(root, M, "Subscribe", "", "");
        id = submit(bob, "p", "", "0");
        assert_int_equal(id, 10001);
        call_done(root, P, "Resume", "", "");
        bus_test_until(test, nothing_is_live, alice);
        bus_test_until(test, has_been_told_enough, root);
        assert_true(is_among_the_first(root, id));
        for (size_t i = 0; i < ELEMENTSOF(waiting); i++) {
                reply_wait(alice, &waiting[i]);
                reply_done(&waiting[i]);
        }
        peer_free(alice);
        peer_free(bob);
        peer_free(root);
}

static unsigned n_rows(
        Peer *peer, uint32_t uid, const char *name, uint64_t used_now, uint64_t max) {
        sd_bus_message *m = call_ok(peer, M, "ListQuotas", "", "");
        uint64_t row_used, row_max;
        bool found = false;
        const char *row;
        uint32_t row_uid;
        unsigned n = 0;

        assert_true(sd_bus_message_enter_container(m, 'a', "(ustt)") > 0);
        while (sd_bus_message_read(m, "(ustt)", &row_uid, &row, &row_used, &row_max) > 0) {
                n++;
                if (row_uid != uid || strcmp(row, name) != 0)
                        continue;
                found = true;
                assert_int_equal(row_used, used_now);
                assert_int_equal(row_max, max);
        }
        assert_true(found);
        sd_bus_message_unref(m);
        return n;
}

static void everybody_sees_own_figures_and_root_all(void **state) {
        BusTest *test = *state;
        Peer *alice = peer_new(test, ALICE), *bob = peer_new(test, BOB), *root = peer_new(test, 0);

        (void) make_pool(test, "echo.so");
        call_done(root, P, "Pause", "", "");
        (void) submit(alice, "p", "abc", "0");
        assert_int_equal(n_rows(alice, ALICE, "BytesMax", 3, UINT64_C(256) << 20), 6);
        assert_int_equal(n_rows(bob, BOB, "JobsMax", 0, 100000), 6);
        assert_int_equal(n_rows(root, ALICE, "JobsMax", 1, 100000), 18);
        assert_int_equal(n_rows(root, 0, "ConnectionsMax", 1, UINT64_MAX), 18);
        peer_free(alice);
        peer_free(bob);
        peer_free(root);
}

/* ---- nothing leaks ---- */

/* Somebody does something, and does not look at what comes of it. */
static void act(Peer *peer, uint64_t *seed) {
        static const struct {
                const char *member, *types, *text;
                bool of_pool;
        } acts[] = {
                { "Submit", "aya{sv}", "3 1 2 3 0", true },
                { "Submit", "aya{sv}", "1 1 1 BindToClient b true", true },
                { "Submit", "aya{sv}", "2 1 2 1 DelayUSec t 1000", true },
                { "Submit", "aya{sv}", "2 1 2 2 DelayUSec t 60000000 BindToClient b true", true },
                { "Submit", "aya{sv}", "1 1 1 WaitUSec t 60000000", true },
                { "SubmitMany", "aaya{sv}", "3 1 0 2 0 0 0 0", true },
                { "SubmitMany", "aaya{sv}", "4 1 0 2 0 0 0 5 1 2 3 4 5 1 Partial b true", true },
                { "SubmitMany", "aaya{sv}", "2 0 0 1 WaitUSec t 1000", true },
                { "SubmitGroup", "aaya{sv}", "2 1 0 0 0", true },
                { "SubmitGroup", "aaya{sv}", "0 0", true },
                { "SubmitGroup", "aaya{sv}", "3 0 0 0 1 WaitUSec t 60000000", true },
                { "Run", "aya{sv}", "2 1 2 0", true },
                { "RunMany", "aaya{sv}", "3 0 1 1 0 0", true },
                { "RunMany", "aaya{sv}", "3 0 1 1 0 1 BindToClient b true", true },
                { "Run", "aya{sv}", "2 1 2 1 WaitUSec t 60000000", true },
                { "Kick", "u", "3", true },
                { "Pause", "", "", true },
                { "Resume", "", "", true },
                { "Resume", "", "", true },
                { "Clear", "", "", true },
                { "WaitJob", "tt", "1 " FOREVER, false },
                { "WaitJob", "tt", "5 60000000", false },
                { "CancelJobs", "a{sv}", "1 State s queued", false },
                { "CancelJob", "t", "7", false },
                { "Subscribe", "", "", false },
                { "Unsubscribe", "", "", false },
        };
        size_t i = random_below(seed, ELEMENTSOF(acts));
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

        assert_return_code(sd_bus_message_new_method_call(peer->bus, &m, SLUICE_BUS_NAME,
                                   acts[i].of_pool ? POOL_PATH "p" : MANAGER_PATH,
                                   acts[i].of_pool ? POOL : MANAGER, acts[i].member),
                0);
        append_text(m, acts[i].types, acts[i].text);
        assert_return_code(sd_bus_message_set_expect_reply(m, 0), 0);
        assert_return_code(sd_bus_send(peer->bus, m, NULL), 0);
}

static bool all_is_given_back(void *userdata) {
        const BusTest *test = userdata;
        Account *account, *next;

        HASH_ITER (by_uid, test->engine->quota.accounts, account, next)
                for (QuotaKind kind = 0; kind < _QUOTA_KIND_MAX; kind++)
                        if (account->used[kind] > 0 && kind != QUOTA_GROUPS)
                                return false;
        return true;
}

static void after_any_history_all_counters_are_back_at_zero(void **state) {
        static const uid_t uids[] = { ALICE, ALICE, BOB, 0 };
        BusTest *test = *state;
        Peer *peers[ELEMENTSOF(uids)] = {}, *root;
        uint64_t seed = 1;

        (void) bus_test_pool(test, "p", "Handler", "module", "ModulePath", "fail.so", "Workers",
                "2", "QueueMax", "40", "AllowUsers", "1000 1001", "ResultRetentionMax", "30", NULL);
        set_cap(test, QUOTA_JOBS, 25);
        set_cap(test, QUOTA_BYTES, 40);
        set_cap(test, QUOTA_CALLS, 10);
        set_cap(test, QUOTA_GROUPS, 20);
        set_cap(test, QUOTA_SUBSCRIPTIONS, 1);
        for (unsigned i = 0; i < 6000; i++) {
                size_t who = random_below(&seed, ELEMENTSOF(uids));

                if (!peers[who])
                        peers[who] = peer_new(test, uids[who]);
                act(peers[who], &seed);
                if (random_below(&seed, 4) == 0)
                        bus_test_turn(test);
                if (random_below(&seed, 50) == 0)
                        peers[who] = peer_free(peers[who]);
        }
        for (size_t i = 0; i < ELEMENTSOF(uids); i++)
                if (peers[i])
                        peers[i] = peer_free(peers[i]);
        root = peer_new(test, 0);
        call_done(root, P, "Resume", "", "");
        call_done(root, M, "CancelJobs", "a{sv}", "0");
        peer_free(root);
        bus_test_until(test, all_is_given_back, test);
        /* With the pool go the groups that it keeps. */
        engine_dismiss(test->engine);
        bus_test_until(test, no_pool_is_left, test);
        assert_null(test->engine->quota.accounts);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, bus_test_setup, bus_test_teardown)
        const struct CMUnitTest tests[] = {
                TEST(live_jobs_are_bounded),
                TEST(bytes_of_payloads_are_bounded),
                TEST(waiting_calls_are_bounded),
                TEST(subscriptions_are_bounded),
                TEST(groups_are_bounded_until_they_are_forgotten),
                TEST(direct_connections_are_bounded_and_told_so),
                TEST(a_lower_cap_takes_nothing_away),
                TEST(partial_takes_what_the_quota_has_room_for),
                TEST(who_waits_for_room_counts),
                TEST(who_lives_again_counts_again),
                TEST(rights_are_asked_before_the_quota_and_room_after_it),
                TEST(who_has_all_there_is_keeps_nobody_waiting),
                TEST(everybody_sees_own_figures_and_root_all),
                TEST(after_any_history_all_counters_are_back_at_zero),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
