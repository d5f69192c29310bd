/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Handler=service: jobs are calls of org.sluice1.Worker at another service. Every call ends in
 * done(), by whichever comes first:
 *
 * - an answer of the service, or the bus's word that there cannot be one;
 * - the loss of the connection;
 * - somebody else owning the name: what the former owner, who is still there, makes of its calls
 *   does not count any more;
 * - the end of the patience with a service that was asked to stop it, or has let go of the name.
 *
 * When the owner changes, calls may be on their way to the bus, and no message says which owner
 * they came to. If the former one is gone from the bus, they are told apart all the same: the bus
 * has said that those that it had will not be answered (service-link.c). So a service may crash and
 * be started again at any time, and no call of the next instance suffers. A service that exits when
 * it has nothing to do lets go of its name first and then answers what came before that, as it has
 * to; it loses nothing either, since a call to an owner that is known does not start the service:
 * the bus says that it was not delivered, and it goes out once more, to the next instance. A call
 * that finds no owner does start it.
 *
 * No call is sent before the bus has said who owns the name, see service-link.c; those that come
 * while there is no connection wait for one, with their run time-out counting. Failed at once, they
 * would run through a whole queue while a bus starts again.
 *
 * A bus counts the answers that it is owed for each connection, up to 128, and one of a service
 * that never answers counts for ever. So calls that were given up stay on their connection until it
 * is full; then there is a new one for what comes, and the old one is closed with the last call of
 * it that somebody waits for.
 *
 * While nothing is to be called, no timer is armed, and a lost connection stays so. */

#include <string.h>

#include "handler/service-call.h"
#include "handler/service-message.h"

/* A bus allows 128 calls of a connection to be unanswered. */
#define LINK_CALLS_MAX 120

#define CONNECT_DELAY_MIN (100 * USEC_PER_MSEC)
#define CONNECT_DELAY_MAX (5 * USEC_PER_SEC)
#define TIMER_ACCURACY USEC_PER_MSEC

void service_arm(Handler *handler) {
        List *ending = list_first(&handler->ending);
        usec_t at = USEC_INFINITY;

        if (handler->has_spent)
                at = 0;
        if (!handler->link && !list_is_empty(&handler->waiting))
                at = MIN(at, handler->connect_at);
        if (ending)
                at = MIN(at, list_entry(ending, HandlerCall, ending_links)->deadline);
        if (at != USEC_INFINITY)
                (void) sd_event_source_set_time(handler->timer, at);
        (void) sd_event_source_set_enabled(
                handler->timer, at != USEC_INFINITY ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

void service_retire(ServiceLink *link) {
        Handler *handler = link->userdata;

        if (handler->link == link)
                handler->link = NULL;
        handler->has_spent |= link->lost || link->n_live == 0;
}

/* Is there a connection that takes one more call? One that is full is replaced. */
static bool handler_can_send(Handler *handler) {
        ServiceLink *link = handler->link;

        if (!link || !link->ready)
                return false;
        if (link->n_calls < LINK_CALLS_MAX)
                return true;
        service_retire(link);
        return false;
}

/* ---- connections ---- */

/* Sends what waits. */
static void on_link_ready(ServiceLink *link) {
        Handler *handler = link->userdata;

        handler->connect_delay = CONNECT_DELAY_MIN;
        handler->connect_at = 0;
        while (!list_is_empty(&handler->waiting) && handler_can_send(handler)) {
                HandlerCall *call = list_entry(list_pop(&handler->waiting), HandlerCall, links);
                int r;

                r = service_call_send(call, handler->link);
                if (r < 0)
                        service_call_end(call, /* answer_may_come= */ false);
                if (r > 0)
                        break;
        }
        service_arm(handler);
}

/* Takes the calls that are in this state out of the link's. */
static void link_take(ServiceLink *link, CallState state, List *calls) {
        list_for_each (l, &link->calls)
                if (list_entry(l, HandlerCall, links)->state == state) {
                        list_remove(l);
                        list_append(calls, l);
                }
}

static void link_lose_left(ServiceLink *link) {
        List lost = LIST_INIT(lost);

        link_take(link, CALL_LEFT, &lost);
        service_calls_lose(
                &lost, SERVICE_LOST_NAME, ((Handler *) link->userdata)->config->bus_name);
}

static void on_owner_left(ServiceLink *link) {
        /* What is still in doubt from the change before would not be told apart. */
        link_lose_left(link);
        list_for_each (l, &link->calls) {
                HandlerCall *call = list_entry(l, HandlerCall, links);

                if (call->state == CALL_SENT)
                        call->state = CALL_LEFT;
        }
}

static void on_owner_changed(ServiceLink *link) {
        list_for_each (l, &link->calls) {
                HandlerCall *call = list_entry(l, HandlerCall, links);

                if (call->state == CALL_STARTING && link->owner)
                        call->state = CALL_SENT;
                else if (call->state == CALL_LEFT && !link->former)
                        service_call_come_back(call);
                else if (call->state == CALL_LEFT && link->former_lives &&
                         !list_is_linked(&call->ending_links))
                        service_call_set_deadline(call);
        }
        service_arm(link->userdata);
        if (link->owner && link->former_lives)
                link_lose_left(link);
}

/* The next attempt is not before so long. */
static void handler_pause(Handler *handler) {
        handler->connect_at = usec_add(usec_now(CLOCK_MONOTONIC), handler->connect_delay);
        handler->connect_delay = MIN(handler->connect_delay * 2, CONNECT_DELAY_MAX);
}

static void on_link_lost(ServiceLink *link) {
        Handler *handler = link->userdata;
        List lost = LIST_INIT(lost);

        if (handler->link == link)
                handler_pause(handler);
        service_retire(link);
        link_take(link, CALL_STARTING, &lost);
        link_take(link, CALL_SENT, &lost);
        link_take(link, CALL_LEFT, &lost);
        service_arm(handler);
        service_calls_lose(&lost, "the connection to the bus was lost before %s answered",
                handler->config->bus_name);
}

static const ServiceLinkEvents link_events = {
        .ready = on_link_ready,
        .owner_left = on_owner_left,
        .owner_changed = on_owner_changed,
        .lost = on_link_lost,
};

static void handler_connect(Handler *handler) {
        if (service_link_new(handler->config, &link_events, handler, &handler->link) < 0)
                handler_pause(handler);
        else
                list_append(&handler->links, &handler->link->links);
}

static void handler_close_link(ServiceLink *link) {
        list_for_each (l, &link->calls)
                service_call_free(list_entry(l, HandlerCall, links));
        service_link_free(link);
}

/* ---- time ---- */

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Handler *handler = userdata;
        usec_t now = usec_now(CLOCK_MONOTONIC);
        List *l;

        handler->has_spent = false;
        list_for_each (i, &handler->links) {
                ServiceLink *link = list_entry(i, ServiceLink, links);

                if (link->lost || (link != handler->link && link->n_live == 0))
                        handler_close_link(link);
        }
        while ((l = list_first(&handler->ending)) &&
                list_entry(l, HandlerCall, ending_links)->deadline <= now)
                service_call_run_out(list_entry(l, HandlerCall, ending_links));
        if (!handler->link && !list_is_empty(&handler->waiting) && handler->connect_at <= now)
                handler_connect(handler);
        service_arm(handler);
        return 0;
}

/* ---- the vtable ---- */

static int handler_begin_call(Handler *handler, HandlerCall *call) {
        int r;

        if (!handler->timer) {
                r = sd_event_add_time(handler->config->event, &handler->timer, CLOCK_MONOTONIC, 0,
                        TIMER_ACCURACY, on_timer, handler);
                if (r < 0) {
                        service_fail(call->attempts, call->n_attempts, OUTCOME_RETRY,
                                "not enough memory for a call");
                        return r;
                }
        }
        if (list_is_empty(&handler->waiting) && handler_can_send(handler))
                return service_call_send(call, handler->link);
        list_append(&handler->waiting, &call->links);
        service_arm(handler);
        return 0;
}

static int service_begin(Handler *handler, Attempt *const *attempts, size_t n,
        void (*done)(void *userdata), void *userdata, HandlerCall **ret_call) {
        HandlerCall *call;
        int r;

        call = malloc(sizeof(*call) + n * sizeof(Attempt *));
        if (!call) {
                service_fail(attempts, n, OUTCOME_RETRY, "not enough memory for a call");
                return -ENOMEM;
        }
        *call = (HandlerCall){
                .handler = handler,
                .done = done,
                .userdata = userdata,
                .n_attempts = n,
        };
        memcpy(call->attempts, attempts, n * sizeof(Attempt *));
        list_init(&call->links);
        list_init(&call->ending_links);

        r = handler_begin_call(handler, call);
        if (r < 0) {
                service_call_free(call);
                return r;
        }
        *ret_call = call;
        return 0;
}

static void service_stop(Handler *handler, HandlerCall *call) {
        if (call->state == CALL_WAITING) {
                service_fail(call->attempts, call->n_attempts, OUTCOME_FAILURE,
                        "stopped before %s was called", handler->config->bus_name);
                service_call_end(call, /* answer_may_come= */ false);
                return;
        }
        service_call_cancel(call);
        service_arm(handler);
}

static void service_close(Handler *handler) {
        list_for_each (i, &handler->links)
                handler_close_link(list_entry(i, ServiceLink, links));
        sd_event_source_disable_unref(handler->timer);
        free(handler);
}

static int service_open(const HandlerConfig *config, Handler **ret, char **ret_error) {
        Handler *handler;

        if (config->bus == HANDLER_BUS_NONE)
                return handler_refuse(ret_error, -EINVAL,
                        "BusName=%s: Handler=service needs a bus, and this daemon serves none "
                        "(--no-bus)",
                        config->bus_name);
        handler = calloc(1, sizeof(*handler));
        if (!handler)
                return -ENOMEM;
        handler->config = config;
        handler->connect_delay = CONNECT_DELAY_MIN;
        list_init(&handler->links);
        list_init(&handler->waiting);
        list_init(&handler->ending);
        *ret = handler;
        return 0;
}

const HandlerVTable service_vtable = {
        .name = "service",
        .section = "Service",
        .in_slots = true,
        .max_slots = LINK_CALLS_MAX,
        .max_payload = SERVICE_PAYLOAD_MAX,
        .open = service_open,
        .close = service_close,
        .begin = service_begin,
        .stop = service_stop,
};
