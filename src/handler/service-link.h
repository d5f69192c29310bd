/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* ServiceLink: a connection to the bus on which one service is called, and what the bus says of the
 * owner of its name. It is opened in the background, and never used again once it is lost. Main
 * thread. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "handler/handler.h"
#include "util/list.h"
#include "util/macro.h"

typedef struct ServiceLink ServiceLink;
typedef struct ServiceLinkEvents ServiceLinkEvents;

/* What its holder hears. None of them may free the link: sd-bus is still using it then. */
struct ServiceLinkEvents {
        /* It is connected, and it is known whether the name has an owner. Once. */
        void (*ready)(ServiceLink *link);

        /* The owner that there was is none any more: it becomes link->former. What was called
         * before this may be with it or not. */
        void (*owner_left)(ServiceLink *link);

        /* There is another owner, or something new is known of the former one. */
        void (*owner_changed)(ServiceLink *link);

        /* It could not be connected, or is connected no more. Once, and nothing follows. */
        void (*lost)(ServiceLink *link);
};

struct ServiceLink {
        List links; /* the holder's */
        const ServiceLinkEvents *events;
        void *userdata;                                             /* the holder */
        sd_bus *bus;                                                /* owned */
        sd_bus_slot *disconnected_slot, *changed_slot, *owner_slot; /* owned */
        sd_bus_slot *former_slot; /* owned: of the question whether it is still there */
        char *owner, *former;     /* owned: unique names; NULL = none, or gone from the bus */
        bool former_lives;        /* it was still there after it had lost the name */
        bool ready, lost;

        /* The holder's. */
        List calls; /* those that the bus owes an answer */
        unsigned n_calls;
        unsigned n_live; /* of which somebody waits for the answer */
};

/* Begins to connect. 0 or -errno. */
int service_link_new(const HandlerConfig *config, const ServiceLinkEvents *events, void *userdata,
        ServiceLink **ret);
ServiceLink *service_link_free(ServiceLink *link); /* closes it; returns NULL */

DEFINE_CLEANUP(ServiceLink *, service_link_free)

/* For callbacks of the holder's own: was the answer made here, because the connection is lost?
 * Tells so. */
bool service_link_check(ServiceLink *link);

/* Did the bus itself send the message? Only its sender says so, which nobody else can have. */
bool service_message_is_from_bus(sd_bus_message *m);
