/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Handler=unit: each job is an instance of a template unit, named by the id of the job, so who it
 * runs as and what it may do and take is what root wrote into the template. The payload is the
 * command's standard input and its standard output is the job's output. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "handler/unit-call.h"

static int call_new(Handler *handler, Attempt *attempt, HandlerCall **ret) {
        const char *template = handler->config->unit_template;
        HandlerCall *call;

        call = malloc(sizeof(*call));
        if (!call)
                return -ENOMEM;
        *call = (HandlerCall){
                .handler = handler,
                .number = handler->units->next_call++,
                .deadline = USEC_INFINITY,
                .reference_at = USEC_INFINITY,
                .attempt = attempt,
        };
        list_init(&call->links);
        list_init(&call->peers);
        if (asprintf(&call->name, "%.*s%" PRIu64 UNIT_SUFFIX,
                    (int) (strlen(template) - strlen(UNIT_SUFFIX)), template, attempt->id) < 0)
                call->name = NULL;
        if (!call->name ||
                sd_bus_path_encode("/org/freedesktop/systemd1/unit", call->name, &call->path) < 0 ||
                units_ask(handler->units, UNIT_START, call->name, call) < 0) {
                (void) unit_call_free(call);
                return -ENOMEM;
        }
        list_append(&handler->units->calls, &call->links);
        *ret = call;
        return 0;
}

static int unit_begin(Handler *handler, Attempt *const *attempts, size_t n,
        void (*done)(void *userdata), void *userdata, HandlerCall **ret_call) {
        HandlerCall *call;
        int r;

        r = call_new(handler, attempts[0], &call);
        if (r < 0) {
                attempt_fail(attempts[0], OUTCOME_RETRY, "not enough memory to start a unit");
                return r;
        }
        call->done = done;
        call->userdata = userdata;
        units_pump(handler->units);
        units_arm(handler->units);
        *ret_call = call;
        return 0;
}

static void unit_stop(Handler *handler, HandlerCall *call) {
        unit_call_stop(call);
}

static int unit_open(const HandlerConfig *config, Handler **ret, char **ret_error) {
        Handler *handler;

        if (config->bus == HANDLER_BUS_NONE || config->bus == HANDLER_BUS_USER)
                return handler_refuse(ret_error, -EINVAL,
                        "Template=%s: Handler=unit needs the systemd of the system, and this "
                        "daemon is not on the system bus",
                        config->unit_template);
        if (!config->units && (config->event || config->bus == HANDLER_BUS_SYSTEM))
                return handler_refuse(ret_error, -EINVAL,
                        "Template=%s: Handler=unit needs the socket of sluiced-unit.socket, which "
                        "systemd has not handed to this daemon",
                        config->unit_template);
        handler = malloc(sizeof(*handler));
        if (!handler)
                return -ENOMEM;
        *handler = (Handler){ .config = config, .units = config->units };
        /* What was left by an earlier daemon ends now, and not with the first job. */
        if (config->event) {
                handler->units->wanted = !handler->units->swept;
                units_arm(handler->units);
        }
        *ret = handler;
        return 0;
}

static void unit_close(Handler *handler) {
        free(handler);
}

const HandlerVTable unit_vtable = {
        .name = "unit",
        .section = "Unit",
        .in_slots = true,
        .open = unit_open,
        .close = unit_close,
        .begin = unit_begin,
        .stop = unit_stop,
};
