/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Call: a method call that is answered later. It hangs on what it waits for and on its client; the
 * first of the two to end, or its time-out, ends it. Main thread only. */

#include <systemd/sd-bus.h>

#include "bus/server.h"
#include "engine/durable.h"
#include "engine/engine.h"
#include "engine/job-group.h"
#include "engine/submit-key.h"

typedef struct Call Call;

struct Call {
        List links;              /* in Client.calls */
        Client *client;          /* borrowed */
        sd_bus_message *message; /* owned */
        sd_event_source *timeout_source;
        void (*on_timeout)(Call *call);

        /* What it waits for; each at most once. */
        JobWatch job_watch;
        uint64_t job_id;
        PoolWatch pool_watch;
        GroupWatch group_watch;
        SubmissionWatch submission_watch;
        AcquireWatch acquire_watch;
        LeaseWatch lease_watch;
        Sweep *sweep;           /* borrowed */
        Submission *submission; /* borrowed */
        /* What comes when that, or another one that the call repeats, is on the disk. */
        int (*accepted)(sd_bus_message *m, Call *call, Submission *submission);
        int (*reply)(Call *call, const Submission *submission); /* of a submission: all results */
        bool goes_on;                                           /* it waits for these */
        StoreWatch store_watch;
        sd_bus_message *kept_reply;          /* owned: what is sent when that is told */
        void *waiting;                       /* owned: a submit that waits for room; … */
        void (*waiting_free)(void *waiting); /* … and how it is let go */
};

/* Calls that may wait on behalf of one client. A bus daemon allows no more than 128, but on a
 * direct link nothing else bounds what those who only ask make us keep. */
#define CALLS_MAX 4096

/* Makes a call of `message` for `client`, which owns it from then on. Negative, with the error, if
 * it cannot be. */
int call_new(Client *client, sd_bus_message *message, Call **ret, sd_bus_error *error);

/* Forgets the call and whatever it waits for; the message must have been answered, unless its
 * client has gone. Returns NULL. */
Call *call_free(Call *call);

DEFINE_CLEANUP(Call *, call_free)

/* The sweep that the call has waited for is over: answers how many were cancelled, or nothing
 * without `count`, once that is on the disk. */
void call_end_sweep(Call *call, const uint32_t *count);

/* Sends the reply to `message` once what was changed before is on the disk. As a D-Bus method. */
int call_reply_when_stored(
        Client *client, sd_bus_message *message, sd_bus_message *reply, sd_bus_error *error);

/* The same for a call that has waited for something else before, which ends with that. NULL: there
 * was no memory for a reply. */
void call_answer_when_stored(Call *call, sd_bus_message *reply);

/* The same for a reply of nothing. */
int call_return_when_stored(Client *client, sd_bus_message *message, sd_bus_error *error);

/* The daemon stops: whatever still waits goes on after the next start, for others. */
void call_end_all(Server *server);

/* Calls on_timeout once after `timeout` (USEC_INFINITY = never). */
int call_set_timeout(Call *call, usec_t timeout, void (*on_timeout)(Call *call));
