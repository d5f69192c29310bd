/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/call.h"
#include "bus/error.h"
#include "bus/quota-bus.h"

static int make_call(Client *client, sd_bus_message *message, Call **ret, sd_bus_error *error) {
        Call *call = malloc(sizeof(*call));

        if (!call)
                return bus_error_oom(error);
        *call = (Call){
                .client = client,
                .message = sd_bus_message_ref(message),
        };
        list_init(&call->job_watch.links);
        list_init(&call->pool_watch.links);
        list_init(&call->group_watch.links);
        list_init(&call->submission_watch.links);
        acquire_watch_init(&call->acquire_watch, NULL);
        lease_watch_init(&call->lease_watch);
        list_init(&call->store_watch.links);
        list_append(&client->calls, &call->links);
        client->n_calls++;
        account_charge(client->account, QUOTA_CALLS, 1);
        *ret = call;
        return 0;
}

int call_new(Client *client, sd_bus_message *message, Call **ret, sd_bus_error *error) {
        int r;

        r = quota_check(client->account, QUOTA_CALLS, 1, error);
        if (r < 0)
                return r;
        if (client->n_calls >= CALLS_MAX)
                return bus_error(error, BUS_ERROR_LIMITS_EXCEEDED,
                        "%d calls of this connection wait for their answers, no more are allowed",
                        CALLS_MAX);
        return make_call(client, message, ret, error);
}

Call *call_free(Call *call) {
        if (!call)
                return NULL;
        list_remove(&call->links);
        call->client->n_calls--;
        account_discharge(call->client->account, QUOTA_CALLS, 1);
        engine_unwatch(&call->job_watch);
        pool_unwatch(&call->pool_watch);
        group_unwatch(&call->group_watch);
        submission_unwatch(&call->submission_watch);
        acquire_leave(&call->acquire_watch);
        lease_unwatch(&call->lease_watch);
        engine_unwatch_store(&call->store_watch);
        if (call->sweep) {
                call->sweep->done = NULL;
                call->sweep->userdata = NULL;
        }
        if (call->waiting)
                call->waiting_free(call->waiting);
        if (call->submission)
                engine_abandon(call->submission);
        sd_event_source_disable_unref(call->timeout_source);
        sd_bus_message_unref(call->kept_reply);
        sd_bus_message_unref(call->message);
        free(call);
        return NULL;
}

/* ---- what is to be on the disk first ---- */

static void on_stored(StoreWatch *watch, int r) {
        Call *call = container_of(watch, Call, store_watch);

        if (r < 0)
                bus_reply_error(call->message, BUS_ERROR_STORAGE_FAILED, "Not kept: %s",
                        r == -EIO ? "the disk has failed" : strerror(-r));
        else
                (void) sd_bus_message_send(call->kept_reply);
        call_free(call);
}

void call_answer_when_stored(Call *call, sd_bus_message *reply) {
        Engine *engine = call->client->link->server->engine;
        int r;

        call->timeout_source = sd_event_source_disable_unref(call->timeout_source);
        call->store_watch.stored = on_stored;
        r = reply ? engine_watch_store(engine, &call->store_watch) : -ENOMEM;
        if (r == 0) {
                call->kept_reply = sd_bus_message_ref(reply);
                return;
        }
        if (r > 0)
                (void) sd_bus_message_send(reply);
        else
                bus_reply_error(call->message, BUS_ERROR_NO_MEMORY, "Out of memory");
        call_free(call);
}

/* The change was made, so it is too late to say that too many calls wait. */
int call_reply_when_stored(
        Client *client, sd_bus_message *message, sd_bus_message *reply, sd_bus_error *error) {
        Call *call = NULL;
        int r;

        if (!client->link->server->engine->store)
                return sd_bus_message_send(reply);
        r = make_call(client, message, &call, error);
        if (r < 0)
                return r;
        call_answer_when_stored(call, reply);
        return 1;
}

int call_return_when_stored(Client *client, sd_bus_message *message, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        return r < 0 ? r : call_reply_when_stored(client, message, reply, error);
}

void call_end_sweep(Call *call, const uint32_t *count) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        call->sweep = NULL;
        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0 && count)
                r = sd_bus_message_append_basic(reply, 'u', count);
        if (r >= 0) {
                call_answer_when_stored(call, reply);
                return;
        }
        bus_reply_error(call->message, BUS_ERROR_NO_MEMORY, "Out of memory");
        call_free(call);
}

/* ---- the end ---- */

static void end_calls(Client *client) {
        List *l;

        while ((l = list_first(&client->calls))) {
                Call *call = list_entry(l, Call, links);

                bus_reply_error(call->message, BUS_ERROR_SHUTTING_DOWN,
                        "sluiced is shutting down; what is durable goes on when it is back");
                call_free(call);
        }
}

void call_end_all(Server *server) {
        list_for_each (l, &server->links) {
                Link *link = list_entry(l, Link, links);
                Client *client, *next;

                if (link->client)
                        end_calls(link->client);
                HASH_ITER (hh, link->clients, client, next)
                        end_calls(client);
        }
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
