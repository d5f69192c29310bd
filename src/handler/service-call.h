/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A call of a service, from begin() to done(): the half of Handler=service that is about one of
 * them, in service-call.c. The other half, in service.c, is about all of them, their connections,
 * and time. Main thread. */

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "handler/handler.h"
#include "handler/service-link.h"
#include "util/list.h"
#include "util/macro.h"
#include "util/time.h"

/* Why a call is lost whose service is not the owner of the name any more. */
#define SERVICE_LOST_NAME "%s belongs to somebody else now, and had not answered before"

struct Handler {
        const HandlerConfig *config; /* borrowed */
        sd_event_source *timer;      /* owned; off while nothing is to be waited for */
        List links;                  /* ServiceLink.links; owned */
        ServiceLink *link;           /* the one to call on; NULL = there is none, or it is lost */
        bool has_spent;              /* links of no use any more are to be closed */
        List waiting;                /* HandlerCall.links: not sent yet, first come, first served */
        List ending;                 /* HandlerCall.ending_links, least deadline first */
        usec_t connect_at, connect_delay;
};

typedef enum CallState {
        CALL_WAITING,   /* for a connection */
        CALL_STARTING,  /* sent, while the name had no owner */
        CALL_SENT,      /* to the owner of the name */
        CALL_LEFT,      /* sent to the owner, who had lost the name by then, or lost it since */
        CALL_ABANDONED, /* nobody waits for its answer any more */
} CallState;

struct HandlerCall {
        List links;        /* in the handler's line, or among its link's calls */
        List ending_links; /* linked while there is a deadline */
        Handler *handler;
        ServiceLink *link; /* NULL = it waits for one */
        sd_bus_slot *slot; /* owned: of the answer */
        CallState state;
        bool stopping;
        usec_t deadline;
        void (*done)(void *userdata);
        void *userdata;
        size_t n_attempts;
        Attempt *attempts[]; /* borrowed; gone once done() was called */
};

/* ---- service-call.c ---- */

HandlerCall *service_call_free(HandlerCall *call); /* returns NULL */

/* Sends the call, which belongs to nobody. 0; 1 if it waits, as the link is broken, of which we
 * hear in a moment; or -errno with the verdict in its attempts. */
int service_call_send(HandlerCall *call, ServiceLink *link);

/* The attempts have their verdicts: done() is called. An answer that may still come has to be
 * waited for, as the bus counts it. */
void service_call_end(HandlerCall *call, bool answer_may_come);

/* Ends all calls of the list, which is the caller's alone: done() brings new calls. */
void service_calls_lose(List *calls, const char *format, ...) _printf_(2, 3);

/* The former owner of the name is gone, and so the call is not with it. */
void service_call_come_back(HandlerCall *call);

/* From now on the service has the stop time-out to answer; that is over. */
void service_call_set_deadline(HandlerCall *call);
void service_call_run_out(HandlerCall *call);

/* Asks the service to stop all of it: it owes no answer to that, but still one to the call. Sets
 * the deadline if there is none. */
void service_call_cancel(HandlerCall *call);

/* ---- service.c ---- */

/* Waits for what is next: a connection that is to be closed or opened, or a deadline. */
void service_arm(Handler *handler);

/* No new call is to be sent on it. It is closed once nobody waits for an answer on it: by the
 * timer, as sd-bus may be using it now. */
void service_retire(ServiceLink *link);
