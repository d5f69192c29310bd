/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* BusTest: an engine and a server in this process, and clients that talk to it with sd-bus over
 * socketpairs. One event loop serves both ends; nothing waits but for events. */

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "bus/server.h"
#include "engine/engine.h"

typedef struct BusTest BusTest;
typedef struct Peer Peer;
typedef struct Reply Reply;

#define MANAGER_PATH "/org/sluice1"
#define POOL_PATH "/org/sluice1/pool/"
#define JOB_PATH "/org/sluice1/job/"
#define MANAGER "org.sluice1.Manager"
#define POOL "org.sluice1.Pool"
#define JOB "org.sluice1.Job"
#define PROPERTIES "org.freedesktop.DBus.Properties"

struct BusTest {
        sd_event *event;
        Engine *engine;
        Server *server;
        int reload_result;
        unsigned n_reloads;
};

/* One client. */
struct Peer {
        BusTest *test;
        sd_bus *bus;
        Client *client; /* borrowed: how the server knows it */
        unsigned n_signals;
        sd_bus_message *signals[64]; /* the first ones that came */
};

/* An answer that may not have come yet. */
struct Reply {
        sd_bus_message *message;
        sd_bus_slot *slot;
};

int bus_test_setup(void **state);
int bus_test_teardown(void **state);

/* Makes a pool; settings are pairs of key and text, up to NULL. */
Pool *bus_test_pool(BusTest *test, const char *name, ...) __attribute__((sentinel));

/* Runs the loop until the condition holds; fails the test if that takes absurdly long. */
void bus_test_until(BusTest *test, bool (*holds)(void *userdata), void *userdata);
bool no_pool_is_left(void *test);  /* a condition */
void bus_test_turn(BusTest *test); /* runs what is ready, without waiting */

/* A client whose uid the server takes for this one. */
Peer *peer_new(BusTest *test, uid_t uid);
Peer *peer_free(Peer *peer); /* closes, and waits until the server has seen it; returns NULL */

/* Appends arguments written as busctl takes them: "ab" and "2 true false", "a{sv}" and
 * "1 Priority i 5". A word in single quotes may be empty or hold spaces. */
void append_text(sd_bus_message *m, const char *types, const char *text);

/* Sends a call. The answer comes while the loop runs. */
void call_start(Peer *peer, Reply *ret, const char *path, const char *interface, const char *member,
        const char *types, const char *text);
void call_message(Peer *peer, Reply *ret, sd_bus_message *m); /* one that was made elsewhere */
void reply_wait(Peer *peer, Reply *reply);
void reply_done(Reply *reply);

#define _cleanup_reply_ _cleanup_(reply_done)

/* Sends a call and waits for the answer, which must not be an error. */
sd_bus_message *call_ok(Peer *peer, const char *path, const char *interface, const char *member,
        const char *types, const char *text);

/* The same, for an answer that does not matter. */
void call_done(Peer *peer, const char *path, const char *interface, const char *member,
        const char *types, const char *text);

/* Sends a call and waits for the answer, which must be this error, with this in its text. */
void call_fails(Peer *peer, const char *path, const char *interface, const char *member,
        const char *types, const char *text, const char *error, const char *contains);

/* Submits one payload and returns the id. */
uint64_t submit(Peer *peer, const char *pool, const char *payload, const char *options);

/* Runs the loop until the job is in this state, or gone with _JOB_STATE_INVALID. */
void wait_state(BusTest *test, uint64_t id, JobState state);
