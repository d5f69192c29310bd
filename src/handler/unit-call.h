/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of Handler=unit share: units.c is about the connection to systemd, and what is
 * asked there; unit-call.c about one job, from begin() to done(); unit-peer.c about the socket.
 * Main thread. */

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "handler/service-link.h"
#include "handler/unit-end.h"
#include "handler/units.h"
#include "util/list.h"

typedef struct UnitPeer UnitPeer;
typedef struct UnitQuery UnitQuery;

#define UNIT_PREFIX "sluice-"
#define UNIT_SUFFIX ".service"

struct Units {
        HandlerBus bus;
        HandlerConfig link_config; /* of the link: where, and to whom */
        uid_t peer_uid;
        sd_event *event;        /* owned */
        sd_event_source *timer; /* owned */
        ServiceLink *link;      /* owned; NULL = there is none */
        bool wanted;            /* there is to be a link, even without calls */
        bool swept;             /* it is known what an earlier daemon has left */
        usec_t connect_at, connect_delay, idle_at;
        sd_bus_slot *changed_slot, *removed_slot, *swept_slot; /* owned */
        List line; /* UnitQuery.links: not sent yet, in order */
        List sent; /* and those without an answer */
        unsigned n_sent;
        List stale; /* StaleUnit.links: not ours, and on their way out */
        List calls; /* HandlerCall.links, in the order of their beginnings */
        uint64_t next_call;

        int listen_fd; /* owned */
        sd_event_source *listen_source;
        List peers; /* UnitPeer.links: of whom it is not known yet whose they are */
};

/* Every kind of handler defines this in its own files. */
struct Handler {
        const HandlerConfig *config; /* borrowed */
        Units *units;                /* borrowed */
};

typedef enum CallState {
        CALL_NEW,     /* waits to be started */
        CALL_STARTED, /* systemd was told to start it */
        CALL_RUNNING, /* and has said that it will */
        CALL_ENDED,   /* and that it is over; only the limit of its time is asked for */
} CallState;

struct HandlerCall {
        List links; /* in Units.calls */
        Handler *handler;
        uint64_t number; /* greater than that of those that began before */
        CallState state;
        bool referenced;    /* the link has a reference to the unit, so that it stays loaded */
        bool start_removed; /* the job that starts it is done */
        bool stopping;
        bool in_doubt; /* signals may have been missed, as the connection was lost */
        usec_t started_at;
        usec_t deadline;        /* while stopping; USEC_INFINITY = none */
        usec_t reference_at;    /* it has run for long enough by then; USEC_INFINITY = never */
        UnitQuery *query;       /* borrowed: the one that is under way; NULL = none */
        char *name, *path;      /* of the unit, and of its object */
        char *job;              /* owned: object of the job that starts it; NULL = not known */
        UnitEnd end;            /* what is known of it now */
        uint8_t invocation[16]; /* which of the unit's is ours */
        bool has_invocation;

        List peers;     /* UnitPeer.links: owned */
        UnitPeer *main; /* borrowed: that of the command itself; NULL = none yet */
        size_t written; /* of the payload */
        char *output;   /* owned */
        size_t output_size, output_room;
        bool overflown, out_of_memory;

        void (*done)(void *userdata);
        void *userdata;
        Attempt *attempt; /* borrowed; gone once done() was called */
};

typedef enum UnitVerb {
        UNIT_START,
        UNIT_STOP,
        UNIT_REF,
        UNIT_LOOK,  /* how is it now? */
        UNIT_LIMIT, /* how long may it run? */
} UnitVerb;

/* A method call of systemd, about one unit. */
struct UnitQuery {
        List links; /* in Units.line or .sent */
        Units *units;
        HandlerCall *call; /* borrowed; NULL = nobody waits for the answer (any more) */
        UnitVerb verb;
        sd_bus_slot *slot; /* owned; NULL = not sent yet */
        char name[];       /* of the unit */
};

/* ---- units.c ---- */

/* Waits for what is next. */
void units_arm(Units *units);

/* Puts a method call for the unit into the line; the answer goes to `call`, if there is one. 0 or
 * -ENOMEM. */
int units_ask(Units *units, UnitVerb verb, const char *name, HandlerCall *call);

/* Sends what can be sent. Callbacks come later. */
void units_pump(Units *units);

/* Gives back the reference to a unit. */
void units_unref(Units *units, const char *name);

/* Nobody waits for what the call has asked. */
void units_forget(Units *units, HandlerCall *call);

/* No job is started under this name until the unit has ended, which was asked for. */
void units_add_stale(Units *units, const char *name);

/* ---- unit-call.c ---- */

/* systemd is told at that time to start it. */
void unit_call_started(HandlerCall *call, usec_t now);

void unit_call_answered(HandlerCall *call, UnitVerb verb, sd_bus_message *m);
void unit_call_removed(HandlerCall *call, const char *job, const char *result);
void unit_call_changed(HandlerCall *call, sd_bus_message *m);

/* There is another connection to systemd; what the former one was asked is not known. */
void unit_call_resume(HandlerCall *call);

void unit_call_run_out(HandlerCall *call);   /* it was to have ended by now */
void unit_call_reference(HandlerCall *call); /* it has run for long enough */
void unit_call_stop(HandlerCall *call);

/* More was written than the settings allow, or there is memory for. */
void unit_call_overflow(HandlerCall *call);

/* Ends all about it, and calls done(). */
void unit_call_end(HandlerCall *call);
HandlerCall *unit_call_free(HandlerCall *call); /* returns NULL */

/* ---- unit-peer.c ---- */

int units_listen(Units *units); /* 0 or -errno */

/* Takes in all who have connected by now. */
void units_accept(Units *units);

/* The pids of the call are known, or are others: finds its peers. */
void unit_call_find_peers(HandlerCall *call);

/* Reads what the command has written by now. */
void unit_call_read_rest(HandlerCall *call);

/* Those whose call has surely ended. */
void units_drop_peers(Units *units);

void unit_peers_free(List *peers);
