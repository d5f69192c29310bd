/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>

#include "bus/drain.h"
#include "bus/error.h"

static void on_drained(PoolWatch *watch) {
        Call *call = container_of(watch, Call, pool_watch);

        (void) sd_bus_reply_method_return(call->message, "b", true);
        call_free(call);
}

static void on_drain_timeout(Call *call) {
        (void) sd_bus_reply_method_return(call->message, "b", false);
        call_free(call);
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

        (void) sd_bus_reply_method_return(call->message, NULL);
        call_free(call);
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
