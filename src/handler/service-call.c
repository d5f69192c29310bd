/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/service-call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "handler/service-message.h"

/* ---- the end of a call ---- */

HandlerCall *service_call_free(HandlerCall *call) {
        if (!call)
                return NULL;
        if (call->link) {
                call->link->n_calls--;
                if (call->state != CALL_ABANDONED)
                        call->link->n_live--;
        }
        list_remove(&call->links);
        list_remove(&call->ending_links);
        sd_bus_slot_unref(call->slot);
        free(call);
        return NULL;
}

void service_call_end(HandlerCall *call, bool answer_may_come) {
        void (*done)(void *userdata) = call->done;
        Handler *handler = call->handler;
        ServiceLink *link = call->link;
        void *userdata = call->userdata;

        if (answer_may_come) {
                list_remove(&call->links);
                list_remove(&call->ending_links);
                list_append(&link->calls, &call->links);
                link->n_live--;
                call->state = CALL_ABANDONED;
        } else
                service_call_free(call);
        if (link && link != handler->link)
                service_retire(link);
        service_arm(handler);
        done(userdata);
}

void service_calls_lose(List *calls, const char *format, ...) {
        char text[SERVICE_TEXT_MAX];
        va_list ap;
        List *l;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        while ((l = list_pop(calls))) {
                HandlerCall *call = list_entry(l, HandlerCall, links);

                service_fail(call->attempts, call->n_attempts, OUTCOME_LOST, "%s", text);
                service_call_end(call, /* answer_may_come= */ !call->link->lost);
        }
}

/* ---- calling ---- */

/* The call is one of the link's. */
static void call_join(HandlerCall *call, ServiceLink *link) {
        list_remove(&call->links);
        list_append(&link->calls, &call->links);
        call->link = link;
        link->n_calls++;
        link->n_live++;
}

static void call_leave(HandlerCall *call) {
        call->link->n_calls--;
        call->link->n_live--;
        call->link = NULL;
        list_remove(&call->links);
}

static bool link_is_broken(int r) {
        return r == -ENOTCONN || r == -ECONNRESET || r == -EPIPE;
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error);

int service_call_send(HandlerCall *call, ServiceLink *link) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        Handler *handler = call->handler;
        int r;

        r = service_message_new(link->bus, handler->config, call->attempts, call->n_attempts,
                /* starts= */ !link->owner, &m);
        /* How long it may take is the engine's to say. */
        if (r >= 0)
                r = sd_bus_call_async(link->bus, &call->slot, m, on_answer, call, USEC_INFINITY);
        if (link_is_broken(r)) {
                call->state = CALL_WAITING;
                list_append(&handler->waiting, &call->links);
                return 1;
        }
        if (r < 0) {
                service_fail(call->attempts, call->n_attempts,
                        r == -EMSGSIZE ? OUTCOME_FATAL : OUTCOME_RETRY, "cannot call %s: %s",
                        handler->config->bus_name,
                        r == -EMSGSIZE ? "too much for one message" : strerror(-r));
                return r;
        }
        call->state = link->owner ? CALL_SENT : CALL_STARTING;
        call_join(call, link);
        return 0;
}

void service_call_set_deadline(HandlerCall *call) {
        const HandlerConfig *config = call->handler->config;

        call->deadline = usec_add(usec_now(CLOCK_MONOTONIC), config->stop_timeout);
        list_append(&call->handler->ending, &call->ending_links);
}

/* ---- answers ---- */

/* Who has let go of the name answers for what it had before, until there is somebody else. */
static bool answer_is_of_owner(const ServiceLink *link, sd_bus_message *m) {
        const char *owner = link->owner ?: link->former, *sender = sd_bus_message_get_sender(m);

        return owner && sender && strcmp(sender, owner) == 0;
}

/* The time was over before the service was done, whatever it has made of the job since. */
static void call_judge_late(HandlerCall *call) {
        for (size_t i = 0; i < call->n_attempts; i++)
                if (call->attempts[i]->outcome == OUTCOME_SUCCESS &&
                        attempt_stop(call->attempts[i]) == JOB_STOP_TIMEOUT)
                        attempt_fail(call->attempts[i], OUTCOME_FAILURE,
                                "answered when its time was over");
}

/* The owner had let go of the name before the call came to the bus, which was not to start the
 * service for it. Now it may. */
static void call_send_again(HandlerCall *call) {
        ServiceLink *link = call->link;

        call->slot = sd_bus_slot_unref(call->slot);
        list_remove(&call->ending_links);
        call_leave(call);
        if (service_call_send(call, link) < 0)
                service_call_end(call, /* answer_may_come= */ false);
}

/* The bus itself answers where the service cannot. */
static void call_read_bus_error(HandlerCall *call, sd_bus_message *m) {
        const char *name = call->handler->config->bus_name;
        const sd_bus_error *e = sd_bus_message_get_error(m);
        const char *message = e->message ?: e->name;
        char text[SERVICE_TEXT_MAX];

        if (call->state != CALL_STARTING && !call->stopping &&
                sd_bus_error_has_names(
                        e, SD_BUS_ERROR_NAME_HAS_NO_OWNER, SD_BUS_ERROR_SERVICE_UNKNOWN)) {
                call_send_again(call);
                return;
        }
        /* Whoever is gone has stopped. */
        if (sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY))
                service_fail(call->attempts, call->n_attempts,
                        call->stopping ? OUTCOME_FAILURE : OUTCOME_LOST,
                        "%s has gone without an answer", name);
        else
                service_fail(call->attempts, call->n_attempts, OUTCOME_FAILURE,
                        "cannot call %s: %s", name, service_text(text, message, strlen(message)));
        service_call_end(call, /* answer_may_come= */ false);
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        HandlerCall *call = userdata;
        ServiceLink *link = call->link;

        /* That is the end of all calls on it. */
        if (!service_link_check(link))
                return 0;
        if (call->state == CALL_ABANDONED) {
                service_call_free(call);
                return 0;
        }
        if (service_message_is_from_bus(m) && sd_bus_message_is_method_error(m, NULL)) {
                call_read_bus_error(call, m);
                return 0;
        }
        if (answer_is_of_owner(link, m)) {
                service_message_read(m, call->handler->config, call->attempts, call->n_attempts);
                call_judge_late(call);
        } else
                service_fail(call->attempts, call->n_attempts, OUTCOME_LOST, SERVICE_LOST_NAME,
                        call->handler->config->bus_name);
        service_call_end(call, /* answer_may_come= */ false);
        return 0;
}

/* ---- the way to the end ---- */

void service_call_come_back(HandlerCall *call) {
        call->state = CALL_SENT;
        if (!call->stopping)
                list_remove(&call->ending_links);
}

static int call_send_cancel(HandlerCall *call, const Attempt *attempt) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const HandlerConfig *config = call->handler->config;
        const char *name = config->bus_name;
        int r;

        if (call->state == CALL_LEFT && call->link->former)
                name = call->link->former;
        r = sd_bus_message_new_method_call(
                call->link->bus, &m, name, config->object_path, SERVICE_INTERFACE, "Cancel");
        if (r >= 0)
                r = sd_bus_message_set_expect_reply(m, false);
        /* To a service that is being started it comes behind the job. */
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, call->state == CALL_STARTING);
        if (r >= 0)
                r = sd_bus_message_append(m, "t", attempt->id);
        return r < 0 ? r : sd_bus_send(call->link->bus, m, NULL);
}

void service_call_cancel(HandlerCall *call) {
        call->stopping = true;
        /* Where it cannot be sent, patience ends all the same. */
        for (size_t i = 0; i < call->n_attempts; i++)
                (void) call_send_cancel(call, call->attempts[i]);
        if (!list_is_linked(&call->ending_links))
                service_call_set_deadline(call);
}

void service_call_run_out(HandlerCall *call) {
        const HandlerConfig *config = call->handler->config;
        char patience[FORMAT_USEC_MAX];

        (void) format_usec(patience, config->stop_timeout);
        for (size_t i = 0; i < call->n_attempts; i++) {
                Attempt *attempt = call->attempts[i];

                if (!call->stopping)
                        attempt_fail(attempt, OUTCOME_LOST,
                                "%s has let go of its name and did not answer within %s",
                                config->bus_name, patience);
                else if (attempt_stop(attempt) == JOB_STOP_TIMEOUT)
                        attempt_fail(attempt, OUTCOME_FAILURE,
                                "%s did not answer in time, nor a cancel within %s",
                                config->bus_name, patience);
                else
                        attempt_fail(attempt, OUTCOME_LOST, "%s did not answer a cancel within %s",
                                config->bus_name, patience);
        }
        service_call_end(call, /* answer_may_come= */ true);
}
