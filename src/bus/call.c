/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdlib.h>

#include "bus/call.h"
#include "bus/error.h"

int call_new(Client *client, sd_bus_message *message, Call **ret, sd_bus_error *error) {
        Call *call;

        if (client->n_calls >= CALLS_MAX)
                return bus_error(error, BUS_ERROR_LIMITS_EXCEEDED,
                        "%d calls of this connection wait for their answers, no more are allowed",
                        CALLS_MAX);
        call = malloc(sizeof(*call));
        if (!call)
                return bus_error_oom(error);
        *call = (Call){
                .client = client,
                .message = sd_bus_message_ref(message),
        };
        list_init(&call->job_watch.links);
        list_init(&call->pool_watch.links);
        list_init(&call->group_watch.links);
        acquire_watch_init(&call->acquire_watch, NULL);
        lease_watch_init(&call->lease_watch);
        list_append(&client->calls, &call->links);
        client->n_calls++;
        *ret = call;
        return 0;
}

Call *call_free(Call *call) {
        if (!call)
                return NULL;
        list_remove(&call->links);
        call->client->n_calls--;
        engine_unwatch(&call->job_watch);
        pool_unwatch(&call->pool_watch);
        group_unwatch(&call->group_watch);
        acquire_leave(&call->acquire_watch);
        lease_unwatch(&call->lease_watch);
        if (call->sweep) {
                call->sweep->done = NULL;
                call->sweep->userdata = NULL;
        }
        if (call->waiting)
                call->waiting_free(call->waiting);
        if (call->submission)
                engine_abandon(call->submission);
        sd_event_source_disable_unref(call->timeout_source);
        sd_bus_message_unref(call->message);
        free(call);
        return NULL;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Call *call = userdata;

        call->on_timeout(call);
        return 0;
}

int call_set_timeout(Call *call, usec_t timeout, void (*callback)(Call *call)) {
        if (timeout == USEC_INFINITY)
                return 0;
        call->on_timeout = callback;
        return sd_event_add_time_relative(call->client->link->server->event, &call->timeout_source,
                CLOCK_MONOTONIC, timeout, USEC_PER_MSEC, on_timeout, call);
}
