/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>

#include "bus/drain.h"
#include "bus/error.h"

static int new_reply(sd_bus_message *m, bool empty, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "b", (int) empty);
        if (r >= 0)
                *ret = TAKE_PTR(reply);
        return r;
}

static void answer(Call *call, bool empty) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;

        (void) new_reply(call->message, empty, &reply);
        call_answer_when_stored(call, reply);
}

int drain_reply(sd_bus_message *m, Client *client, bool empty, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = new_reply(m, empty, &reply);
        return r < 0 ? r : call_reply_when_stored(client, m, reply, error);
}

static void on_drained(PoolWatch *watch) {
        answer(container_of(watch, Call, pool_watch), true);
}

static void on_drain_timeout(Call *call) {
        pool_unwatch(&call->pool_watch);
        answer(call, false);
}

int drain_read(sd_bus_message *m, usec_t *ret_timeout, sd_bus_error *error) {
        uint64_t timeout;
        int r;

        r = sd_bus_message_read(m, "t", &timeout);
        if (r < 0)
                return r;
        if (timeout > USEC_SPAN_MAX && timeout != USEC_INFINITY)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "A time-out of %" PRIu64 " us, allowed are up to %" PRIu64 " or infinity",
                        timeout, USEC_SPAN_MAX);
        *ret_timeout = timeout;
        return 0;
}

int drain_wait(sd_bus_message *m, Client *client, usec_t timeout,
        void (*drain)(void *object, PoolWatch *watch), void *object, sd_bus_error *error) {
        Call *call = NULL;
        int r;

        r = call_new(client, m, &call, error);
        if (r < 0)
                return r;
        r = call_set_timeout(call, timeout, on_drain_timeout);
        if (r < 0) {
                call_free(call);
                return bus_error_oom(error);
        }
        call->pool_watch.done = on_drained;
        drain(object, &call->pool_watch);
        return 1;
}

static void on_gone(PoolWatch *watch) {
        Call *call = container_of(watch, Call, pool_watch);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;

        (void) sd_bus_message_new_method_return(call->message, &reply);
        call_answer_when_stored(call, reply);
}

int drain_remove(sd_bus_message *m, Client *client, bool cancel,
        int (*remove)(void *object, bool cancel, PoolWatch *watch), void *object,
        sd_bus_error *error) {
        Call *call = NULL;
        int r;

        r = call_new(client, m, &call, error);
        if (r < 0)
                return r;
        call->pool_watch.done = on_gone;
        r = remove(object, cancel, &call->pool_watch);
        if (r < 0) {
                call_free(call);
                return bus_error_oom(error);
        }
        return 1;
}
