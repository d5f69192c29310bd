/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The subject is the caller's unique name on the bus, which is never given to anybody else: what is
 * said of a process, by its number and the time of its start, may be said of another one by then.
 *
 * Nobody else can answer in polkit's place: the bus hands on a reply only from whom the call went
 * to, and sd-bus finds it by the number of that call. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "bus/polkit.h"
#include "util/log.h"

#define POLKIT "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define ACTION "org.sluice1.manage"

/* Of CheckAuthorization. */
#define ALLOW_USER_INTERACTION 1

/* Somebody has to type a password, or just a program to look it up. */
#define INTERACTIVE_TIMEOUT (5 * USEC_PER_MINUTE)
#define TIMEOUT (25 * USEC_PER_SEC)

struct PolkitQuery {
        Link *link;         /* borrowed */
        sd_bus_slot *slot;  /* owned; NULL = it was answered */
        char cancel_id[24]; /* by which it can be called off */
        void (*done)(void *userdata, PolkitVerdict verdict);
        void *userdata;
};

static int read_verdict(sd_bus_message *reply, PolkitVerdict *ret) {
        int is_authorized, is_challenge, r;

        r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "bb", &is_authorized, &is_challenge);
        if (r < 0)
                return r;
        *ret = is_authorized ? POLKIT_ALLOWED : is_challenge ? POLKIT_CHALLENGE : POLKIT_DENIED;
        return 0;
}

static void call_off(PolkitQuery *query) {
        (void) sd_bus_call_method_async(query->link->bus, NULL, POLKIT, POLKIT_PATH,
                POLKIT_INTERFACE, "CancelCheckAuthorization", NULL, NULL, "s", query->cancel_id);
}

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        PolkitVerdict verdict = POLKIT_DENIED;
        PolkitQuery *query = userdata;

        if (sd_bus_message_is_method_error(reply, NULL)) {
                const sd_bus_error *error = sd_bus_message_get_error(reply);

                log_debug("polkit does not answer: %s: %s", error->name, error->message);
                /* It may just be late, and still prompt. */
                if (sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) ||
                        sd_bus_error_has_name(error, SD_BUS_ERROR_TIMEOUT))
                        call_off(query);
        } else if (read_verdict(reply, &verdict) < 0)
                log_warning("What polkit answers makes no sense");
        query->slot = sd_bus_slot_unref(query->slot);
        query->done(query->userdata, verdict);
        return 0;
}

static int send_question(PolkitQuery *query, const char *sender, bool interactive) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(
                query->link->bus, &m, POLKIT, POLKIT_PATH, POLKIT_INTERFACE, "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s",
                        sender, ACTION, 0, interactive ? ALLOW_USER_INTERACTION : 0,
                        query->cancel_id);
        return r < 0 ? r
                     : sd_bus_call_async(query->link->bus, &query->slot, m, on_answer, query,
                               interactive ? INTERACTIVE_TIMEOUT : TIMEOUT);
}

int polkit_ask(Link *link, const char *sender, bool interactive,
        void (*done)(void *userdata, PolkitVerdict verdict), void *userdata, PolkitQuery **ret) {
        PolkitQuery *query = calloc(1, sizeof(*query));
        int r;

        if (!query)
                return -ENOMEM;
        *query = (PolkitQuery){ .link = link, .done = done, .userdata = userdata };
        (void) snprintf(query->cancel_id, sizeof(query->cancel_id), "%" PRIu64,
                ++link->server->last_polkit_query);
        r = send_question(query, sender, interactive);
        if (r < 0) {
                free(query);
                return r;
        }
        *ret = query;
        return 0;
}

PolkitQuery *polkit_query_free(PolkitQuery *query) {
        if (!query)
                return NULL;
        if (query->slot) {
                sd_bus_slot_unref(query->slot);
                call_off(query);
        }
        free(query);
        return NULL;
}
