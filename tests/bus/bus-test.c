/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bus-test.h"
#include "util/macro.h"

/* Nothing here takes so long, not even under a sanitizer. */
#define PATIENCE (60 * USEC_PER_SEC)

static int on_reload(void *userdata, char **ret_error) {
        BusTest *test = userdata;

        test->n_reloads++;
        if (test->reload_result < 0)
                *ret_error = strdup("a.pool:1: wrong\nb.pool:2: wrong as well");
        return test->reload_result;
}

static const ServerOps ops = { .reload = on_reload };

int bus_test_setup(void **state) {
        BusTest *test = calloc(1, sizeof(*test));
        char path[4096];

        assert_non_null(test);
        (void) snprintf(path, sizeof(path), "%s/src/modules", getenv("SLUICE_BUILD_ROOT"));
        (void) setenv("SLUICE_MODULE_PATH", path, 1);
        assert_return_code(sd_event_new(&test->event), 0);
        assert_return_code(engine_new(test->event, &test->engine), 0);
        assert_return_code(server_new(test->engine, &ops, test, &test->server), 0);
        *state = test;
        return 0;
}

bool no_pool_is_left(void *userdata) {
        BusTest *test = userdata;

        return list_is_empty(&test->engine->pools);
}

int bus_test_teardown(void **state) {
        BusTest *test = *state;

        engine_dismiss(test->engine);
        bus_test_until(test, no_pool_is_left, test);
        server_free(test->server);
        engine_free(test->engine);
        sd_event_unref(test->event);
        free(test);
        return 0;
}

Pool *bus_test_pool(BusTest *test, const char *name, ...) {
        PoolConfig *config;
        const char *key;
        char *error = NULL;
        va_list args;
        Pool *pool = NULL;

        assert_return_code(pool_config_new(name, FAIRNESS_NONE, &config), 0);
        va_start(args, name);
        while ((key = va_arg(args, const char *))) {
                SettingValue value = { .type = 's', .string = va_arg(args, const char *) };

                if (pool_config_set(config, key, &value, &error) < 0)
                        fail_msg("%s", error);
        }
        va_end(args);
        if (pool_config_complete(config, &error) < 0 ||
                engine_add_pool(test->engine, config, &pool, &error) < 0)
                fail_msg("%s", error);
        return pool;
}

/* ---- the loop ---- */

void bus_test_until(BusTest *test, bool (*holds)(void *userdata), void *userdata) {
        usec_t end = usec_add(usec_now(CLOCK_MONOTONIC), PATIENCE);

        for (;;) {
                engine_turn(test->engine);
                if (holds(userdata))
                        return;
                assert_true(usec_now(CLOCK_MONOTONIC) < end);
                /* Not all that a condition asks for wakes the loop: nobody tells it that a job was
                 * started if nobody wants to know. */
                assert_return_code(sd_event_run(test->event, 5 * USEC_PER_MSEC), 0);
        }
}

void bus_test_turn(BusTest *test) {
        do
                engine_turn(test->engine);
        while (sd_event_run(test->event, 0) > 0);
        engine_turn(test->engine);
}

/* ---- clients ---- */

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Peer *peer = userdata;
        uint8_t type;

        if (sd_bus_message_get_type(m, &type) < 0 || type != SD_BUS_MESSAGE_SIGNAL ||
                !sd_bus_message_get_destination(m))
                return 0;
        if (peer->n_signals < ELEMENTSOF(peer->signals))
                peer->signals[peer->n_signals] = sd_bus_message_ref(m);
        peer->n_signals++;
        return 0;
}

static bool peer_is_ready(void *userdata) {
        Peer *peer = userdata;
        const char *name;

        return sd_bus_is_ready(peer->bus) > 0 && sd_bus_get_unique_name(peer->bus, &name) >= 0;
}

/* As if the link's other end were of this user. */
static void take_for(Client *client, uid_t uid) {
        assert_true(client->link->counted);
        account_discharge(client->account, QUOTA_CONNECTIONS, 1);
        assert_return_code(client_learn_uid(client, uid), 0);
        account_charge(client->account, QUOTA_CONNECTIONS, 1);
        client->n_gids = 0;
}

Peer *peer_new(BusTest *test, uid_t uid) {
        Peer *peer = calloc(1, sizeof(*peer));
        int fds[2];

        assert_non_null(peer);
        assert_return_code(
                socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), errno);
        assert_return_code(direct_link_new(test->server, fds[0]), 0);
        peer->test = test;
        peer->client = list_entry(test->server->links.prev, Link, links)->client;
        take_for(peer->client, uid);

        assert_return_code(sd_bus_new(&peer->bus), 0);
        assert_return_code(sd_bus_set_fd(peer->bus, fds[1], fds[1]), 0);
        assert_return_code(sd_bus_set_bus_client(peer->bus, true), 0);
        assert_return_code(sd_bus_negotiate_fds(peer->bus, true), 0);
        assert_return_code(sd_bus_start(peer->bus), 0);
        assert_return_code(sd_bus_add_filter(peer->bus, NULL, on_signal, peer), 0);
        assert_return_code(sd_bus_attach_event(peer->bus, test->event, 0), 0);
        bus_test_until(test, peer_is_ready, peer);
        return peer;
}

static bool peer_is_gone(void *userdata) {
        const Peer *peer = userdata;

        list_for_each (l, &peer->test->server->links)
                if (list_entry(l, Link, links)->client == peer->client)
                        return false;
        return true;
}

Peer *peer_free(Peer *peer) {
        sd_bus_detach_event(peer->bus);
        sd_bus_close_unref(peer->bus);
        bus_test_until(peer->test, peer_is_gone, peer);
        for (unsigned i = 0; i < MIN(peer->n_signals, (unsigned) ELEMENTSOF(peer->signals)); i++)
                sd_bus_message_unref(peer->signals[i]);
        free(peer);
        return NULL;
}

/* ---- arguments ---- */

/* Takes the next word off the text. */
static void next_word(const char **text, char word[static 512]) {
        const char *s = *text + strspn(*text, " ");
        size_t n;

        if (*s == '\'') {
                n = strcspn(++s, "'");
                *text = s + n + 1;
        } else {
                n = strcspn(s, " ");
                assert_true(n > 0);
                *text = s + n;
        }
        assert_true(n < 512);
        memcpy(word, s, n);
        word[n] = '\0';
}

/* The length of the first complete type. */
static size_t type_length(const char *types) {
        int depth = 0;
        size_t n = 0;

        while (types[n] == 'a')
                n++;
        do {
                depth += types[n] == '(' || types[n] == '{';
                depth -= types[n] == ')' || types[n] == '}';
                n++;
        } while (depth > 0);
        return n;
}

static void append_types(sd_bus_message *m, const char *types, const char **text);

static void append_container(
        sd_bus_message *m, char type, const char *contents, unsigned n, const char **text) {
        assert_return_code(sd_bus_message_open_container(m, type, contents), 0);
        for (unsigned i = 0; i < n; i++)
                append_types(m, contents, text);
        assert_return_code(sd_bus_message_close_container(m), 0);
}

static void append_basic(sd_bus_message *m, char type, const char *word) {
        union {
                uint8_t y;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
                double d;
        } value;
        const void *p = &value;

        if (type == 's' || type == 'o' || type == 'g')
                p = word;
        else if (type == 'b')
                value.i = strcmp(word, "true") == 0;
        else if (type == 'd')
                value.d = strtod(word, NULL);
        else if (type == 'y')
                /* A letter stands for itself. */
                value.y = isdigit((unsigned char) word[0]) ? (uint8_t) strtoul(word, NULL, 10)
                                                           : (uint8_t) word[0];
        else if (type == 'n' || type == 'q')
                value.n = (int16_t) strtol(word, NULL, 10);
        else if (type == 'i' || type == 'u' || type == 'h')
                value.i = (int32_t) strtoll(word, NULL, 10);
        else if (word[0] == '-')
                value.x = strtoll(word, NULL, 10);
        else
                value.t = strtoull(word, NULL, 10);
        assert_return_code(sd_bus_message_append_basic(m, type, p), 0);
}

static void append_types(sd_bus_message *m, const char *types, const char **text) {
        for (size_t n; *types; types += n) {
                char word[512], contents[256] = "";

                n = type_length(types);
                assert_true(n < sizeof(contents));
                if (types[0] == 'a') {
                        memcpy(contents, types + 1, n - 1);
                        next_word(text, word);
                        append_container(
                                m, 'a', contents, (unsigned) strtoul(word, NULL, 10), text);
                } else if (types[0] == '(' || types[0] == '{') {
                        memcpy(contents, types + 1, n - 2);
                        append_container(m, types[0] == '(' ? 'r' : 'e', contents, 1, text);
                } else if (types[0] == 'v') {
                        next_word(text, word);
                        append_container(m, 'v', word, 1, text);
                } else {
                        next_word(text, word);
                        append_basic(m, types[0], word);
                }
        }
}

void append_text(sd_bus_message *m, const char *types, const char *text) {
        append_types(m, types, &text);
        assert_string_equal(text + strspn(text, " "), "");
}

/* ---- calls ---- */

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Reply *reply = userdata;

        reply->message = sd_bus_message_ref(m);
        return 0;
}

void call_message(Peer *peer, Reply *ret, sd_bus_message *m) {
        *ret = (Reply){};
        assert_return_code(
                sd_bus_call_async(peer->bus, &ret->slot, m, on_reply, ret, USEC_INFINITY), 0);
}

void call_start(Peer *peer, Reply *ret, const char *path, const char *interface, const char *member,
        const char *types, const char *text) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

        assert_return_code(sd_bus_message_new_method_call(
                                   peer->bus, &m, SLUICE_BUS_NAME, path, interface, member),
                0);
        append_text(m, types, text);
        call_message(peer, ret, m);
}

static bool reply_has_come(void *userdata) {
        const Reply *reply = userdata;

        return reply->message;
}

void reply_wait(Peer *peer, Reply *reply) {
        bus_test_until(peer->test, reply_has_come, reply);
}

void reply_done(Reply *reply) {
        reply->slot = sd_bus_slot_unref(reply->slot);
        reply->message = sd_bus_message_unref(reply->message);
}

sd_bus_message *call_ok(Peer *peer, const char *path, const char *interface, const char *member,
        const char *types, const char *text) {
        _cleanup_reply_ Reply reply = {};
        const sd_bus_error *error;

        call_start(peer, &reply, path, interface, member, types, text);
        reply_wait(peer, &reply);
        error = sd_bus_message_get_error(reply.message);
        if (error)
                fail_msg("%s(%s): %s: %s", member, text, error->name, error->message);
        return TAKE_PTR(reply.message);
}

void call_done(Peer *peer, const char *path, const char *interface, const char *member,
        const char *types, const char *text) {
        sd_bus_message_unref(call_ok(peer, path, interface, member, types, text));
}

void call_fails(Peer *peer, const char *path, const char *interface, const char *member,
        const char *types, const char *text, const char *error, const char *contains) {
        _cleanup_reply_ Reply reply = {};
        const sd_bus_error *e;

        call_start(peer, &reply, path, interface, member, types, text);
        reply_wait(peer, &reply);
        e = sd_bus_message_get_error(reply.message);
        if (!e || strcmp(e->name, error) != 0 || !strstr(e->message ?: "", contains))
                fail_msg("%s %s(%s) is %s: \"%s\", not %s with \"%s\"", path, member, text,
                        e ? e->name : "no error", e ? e->message : "", error, contains);
}

uint64_t submit(Peer *peer, const char *pool, const char *payload, const char *options) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_reply_ Reply reply = {};
        char path[128];
        uint64_t id;

        (void) snprintf(path, sizeof(path), POOL_PATH "%s", pool);
        assert_return_code(sd_bus_message_new_method_call(
                                   peer->bus, &m, SLUICE_BUS_NAME, path, POOL, "Submit"),
                0);
        assert_return_code(sd_bus_message_append_array(m, 'y', payload, strlen(payload)), 0);
        append_text(m, "a{sv}", options);
        call_message(peer, &reply, m);
        reply_wait(peer, &reply);
        if (sd_bus_message_get_error(reply.message))
                fail_msg("Submit: %s", sd_bus_message_get_error(reply.message)->message);
        assert_return_code(sd_bus_message_read(reply.message, "to", &id, NULL), 0);
        return id;
}

typedef struct Wanted {
        BusTest *test;
        uint64_t id;
        JobState state;
} Wanted;

static bool job_is_there(void *userdata) {
        const Wanted *wanted = userdata;
        Job *job = engine_find_job(wanted->test->engine, wanted->id);
        JobView view;

        if (!job)
                return wanted->state == _JOB_STATE_INVALID;
        pool_job_view(job_pool(job), job, &view);
        return view.state == wanted->state;
}

void wait_state(BusTest *test, uint64_t id, JobState state) {
        Wanted wanted = { .test = test, .id = id, .state = state };

        bus_test_until(test, job_is_there, &wanted);
}
