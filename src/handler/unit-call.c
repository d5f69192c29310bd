/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One job as a unit. It has ended when systemd's job that starts it is done, no other one is left
 * for it, and it is not active. systemd tells of each change by a signal for the service and then
 * one for the unit, which are of one moment; and after the last job of a unit is gone it always
 * sends them once more, even if it unloads the unit with that. So the verdict is made of what these
 * signals have said, and a short job costs systemd, the bus and polkit no more than its start.
 *
 * Who runs for longer may see the connection lost, or systemd start itself anew. It is referenced,
 * so that it stays loaded and what became of it can be read then. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "handler/unit-call.h"

#define REFERENCE_AFTER USEC_PER_SEC

/* ---- the end ---- */

HandlerCall *unit_call_free(HandlerCall *call) {
        if (!call)
                return NULL;
        unit_peers_free(&call->peers);
        list_remove(&call->links);
        units_forget(call->handler->units, call);
        free(call->name);
        free(call->path);
        free(call->job);
        free(call->output);
        free(call);
        return NULL;
}

void unit_call_end(HandlerCall *call) {
        Units *units = call->handler->units;
        void (*done)(void *userdata) = call->done;
        void *userdata = call->userdata;

        if (call->output_size > 0)
                attempt_give_output(call->attempt, TAKE_PTR(call->output), call->output_size);
        if (call->referenced && units->swept)
                units_unref(units, call->name);
        (void) unit_call_free(call);
        units_drop_peers(units);
        units_pump(units);
        units_arm(units);
        done(userdata);
}

static void call_fail(HandlerCall *call, Outcome outcome, const char *what) {
        attempt_fail(call->attempt, outcome, "%s: %s", call->name, what);
        unit_call_end(call);
}

static void call_ask(HandlerCall *call, UnitVerb verb) {
        if (units_ask(call->handler->units, verb, call->name, call) < 0)
                call_fail(call, OUTCOME_LOST, "not enough memory to ask systemd");
}

static void call_judge(HandlerCall *call) {
        Attempt *attempt = call->attempt;

        units_accept(call->handler->units);
        unit_call_find_peers(call);
        unit_call_read_rest(call);

        if (call->has_invocation && call->end.has_invocation &&
                memcmp(call->invocation, call->end.invocation, sizeof(call->invocation)) != 0)
                attempt_fail(attempt, OUTCOME_LOST,
                        "%s was started again by somebody else, so that nobody knows how it ended",
                        call->name);
        else if (call->in_doubt && call->end.main_started_at < call->started_at &&
                 !(call->has_invocation && call->end.has_invocation))
                attempt_fail(attempt, OUTCOME_LOST,
                        "the connection to systemd was lost, so that nobody knows how %s ended",
                        call->name);
        else
                unit_end_judge(&call->end, call->name, call->started_at, attempt);

        if (call->overflown)
                attempt_fail(attempt, OUTCOME_FAILURE,
                        "%s wrote more than OutputMax=%" PRIu64 " bytes and was ended", call->name,
                        call->handler->config->output_max);
        else if (call->out_of_memory)
                attempt_fail(attempt, OUTCOME_RETRY,
                        "not enough memory for the output of %s, which was ended", call->name);
        /* What ends in good order when asked to has seldom done all its work. */
        else if (call->stopping && attempt->outcome == OUTCOME_SUCCESS)
                attempt_fail(attempt, OUTCOME_FAILURE, "%s ended because it was asked to stop",
                        call->name);
        unit_call_end(call);
}

/* If there is no memory to ask, its end is waited for in vain, and it is lost. */
static void call_ask_to_stop(HandlerCall *call) {
        if (units_ask(call->handler->units, UNIT_STOP, call->name, NULL) >= 0)
                units_pump(call->handler->units);
}

/* systemd does not say how it is: it may run, or be about to. */
static void call_lose(HandlerCall *call, const char *why) {
        units_add_stale(call->handler->units, call->name);
        call_ask_to_stop(call);
        attempt_fail(
                call->attempt, OUTCOME_LOST, "systemd does not say how %s is: %s", call->name, why);
        unit_call_end(call);
}

/* What a service's "timeout" was about is told by how long it was allowed to run, which no signal
 * says, as it does not change. */
static void call_ended(HandlerCall *call) {
        Units *units = call->handler->units;

        call->state = CALL_ENDED;
        call->reference_at = USEC_INFINITY;
        units_forget(units, call);
        /* Without memory to ask the verdict is less exact. */
        if (strcmp(call->end.result, "timeout") != 0 || call->end.runtime_max > 0 ||
                units_ask(units, UNIT_LIMIT, call->name, call) < 0)
                call_judge(call);
}

/* ---- what systemd says ---- */

typedef struct Property {
        const char *name, *type;
        size_t offset;
} Property;

#define PLACE(member) offsetof(UnitEnd, member)

/* Types that are more than one value of their size are read by a function of their own. */
static const Property properties[] = {
        { "ActiveState", "s", PLACE(active_state) },
        { "Result", "s", PLACE(result) },
        { "ConditionResult", "b", PLACE(condition_result) },
        { "AssertResult", "b", PLACE(assert_result) },
        { "ExecMainPID", "u", PLACE(main_pid) },
        { "ControlPID", "u", PLACE(control_pid) },
        { "ExecMainCode", "i", PLACE(main_code) },
        { "ExecMainStatus", "i", PLACE(main_status) },
        { "ExecMainStartTimestampMonotonic", "t", PLACE(main_started_at) },
        { "ActiveEnterTimestampMonotonic", "t", PLACE(active_at) },
        { "ActiveExitTimestampMonotonic", "t", PLACE(inactive_at) },
        { "ConditionTimestampMonotonic", "t", PLACE(condition_at) },
        { "AssertTimestampMonotonic", "t", PLACE(assert_at) },
        { "RuntimeMaxUSec", "t", PLACE(runtime_max) },
        { "Job", "(uo)", PLACE(job) },
        { "InvocationID", "ay", 0 },
};

static const Property *property_find(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(properties); i++)
                if (strcmp(properties[i].name, name) == 0)
                        return &properties[i];
        return NULL;
}

static int read_invocation(sd_bus_message *m, UnitEnd *end) {
        const void *bytes;
        size_t size;
        int r;

        r = sd_bus_message_read_array(m, 'y', &bytes, &size);
        if (r < 0)
                return r;
        end->has_invocation = size == sizeof(end->invocation);
        if (end->has_invocation)
                memcpy(end->invocation, bytes, size);
        return 0;
}

/* The content of a variant that has the right type. */
static int read_value(sd_bus_message *m, const Property *property, UnitEnd *end) {
        void *place = (char *) end + property->offset;
        const char *s;
        int b, r;

        switch (property->type[0]) {

        case 's':
                r = sd_bus_message_read(m, "s", &s);
                if (r >= 0)
                        (void) snprintf(place, UNIT_WORD_SIZE, "%s", s);
                return r;

        case 'b':
                r = sd_bus_message_read(m, "b", &b);
                if (r >= 0)
                        *(bool *) place = b;
                return r;

        case '(':
                return sd_bus_message_read(m, "(uo)", place, &s);

        case 'a':
                return read_invocation(m, end);

        default:
                return sd_bus_message_read_basic(m, property->type[0], place);
        }
}

static int read_property(sd_bus_message *m, UnitEnd *end) {
        const Property *property;
        const char *name;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r < 0)
                return r;
        property = property_find(name);
        if (!property || sd_bus_message_verify_type(m, 'v', property->type) <= 0)
                return sd_bus_message_skip(m, "v");
        r = sd_bus_message_enter_container(m, 'v', property->type);
        if (r >= 0)
                r = read_value(m, property, end);
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(m);
}

static int read_properties(sd_bus_message *m, UnitEnd *end) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_property(m, end);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r;
}

/* Of several that the unit may come to have, the first that is at work is ours. */
static void call_note_invocation(HandlerCall *call) {
        if (call->has_invocation || !call->end.has_invocation || call->state != CALL_RUNNING ||
                strcmp(call->end.active_state, "inactive") == 0 ||
                strcmp(call->end.active_state, "failed") == 0)
                return;
        memcpy(call->invocation, call->end.invocation, sizeof(call->invocation));
        call->has_invocation = true;
}

void unit_call_changed(HandlerCall *call, sd_bus_message *m) {
        const char *interface;

        if (call->state == CALL_ENDED || sd_bus_message_read(m, "s", &interface) < 0 ||
                read_properties(m, &call->end) < 0)
                return;
        call_note_invocation(call);
        unit_call_find_peers(call);
        if (call->start_removed && strcmp(interface, "org.freedesktop.systemd1.Unit") == 0 &&
                unit_end_is_reached(&call->end))
                call_ended(call);
}

/* Of the job that starts it is told after the answer that names it. */
void unit_call_removed(HandlerCall *call, const char *job, const char *result) {
        if (call->state != CALL_RUNNING || (call->job && strcmp(call->job, job) != 0))
                return;
        (void) snprintf(call->end.job_result, sizeof(call->end.job_result), "%s", result);
        call->start_removed = true;
}

void unit_call_started(HandlerCall *call, usec_t now) {
        call->started_at = now;
        call->state = CALL_STARTED;
}

static void answered_start(HandlerCall *call, sd_bus_message *m) {
        const char *job;

        call->state = CALL_RUNNING;
        call->reference_at = usec_add(usec_now(CLOCK_MONOTONIC), REFERENCE_AFTER);
        if (sd_bus_message_read(m, "o", &job) >= 0)
                call->job = strdup(job); /* Without it the verdict is less exact. */
        if (call->stopping)
                call_ask_to_stop(call);
}

void unit_call_reference(HandlerCall *call) {
        Units *units = call->handler->units;

        call->reference_at = USEC_INFINITY;
        /* On another connection it will be what is asked for first. Without memory it runs on as a
         * short one would. */
        if (call->state == CALL_RUNNING && units->swept && !call->query &&
                units_ask(units, UNIT_REF, call->name, call) >= 0)
                units_pump(units);
}

static void answered_look(HandlerCall *call, sd_bus_message *m) {
        if (read_properties(m, &call->end) < 0) {
                call_lose(call, "its answer is of another kind");
                return;
        }
        call_note_invocation(call);
        unit_call_find_peers(call);
        if (unit_end_is_reached(&call->end)) {
                call_judge(call);
                return;
        }
        /* From here on signals tell of it again. */
        call->in_doubt = false;
}

/* Of a service without such a limit it is USEC_INFINITY. */
static void answered_limit(HandlerCall *call, sd_bus_message *m) {
        if (sd_bus_message_verify_type(m, 'v', "t") > 0)
                (void) sd_bus_message_read(m, "v", "t", &call->end.runtime_max);
        call_judge(call);
}

void unit_call_answered(HandlerCall *call, UnitVerb verb, sd_bus_message *m) {
        const sd_bus_error *error = sd_bus_message_get_error(m);
        bool in_time = !sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY);

        if (error && (verb == UNIT_LOOK || (verb == UNIT_START && !in_time))) {
                call_lose(call, error->message ?: error->name);
                return;
        }
        if (error && verb == UNIT_START) {
                attempt_fail(call->attempt, OUTCOME_FAILURE, "systemd refuses to start %s: %s",
                        call->name, error->message ?: error->name);
                unit_call_end(call);
                return;
        }
        switch (verb) {

        case UNIT_START:
                answered_start(call, m);
                break;

        case UNIT_REF:
                call->referenced = !error || !in_time;
                if (call->in_doubt)
                        call_ask(call, UNIT_LOOK);
                break;

        case UNIT_LOOK:
                answered_look(call, m);
                break;

        case UNIT_LIMIT:
                answered_limit(call, m);
                break;

        case UNIT_STOP:
                break;
        }
}

void unit_call_resume(HandlerCall *call) {
        switch (call->state) {

        case CALL_NEW:
                if (!call->query &&
                        units_ask(call->handler->units, UNIT_START, call->name, call) < 0)
                        call_fail(call, OUTCOME_RETRY, "not enough memory to start it");
                break;

        case CALL_STARTED:
        case CALL_RUNNING:
                call->state = CALL_RUNNING;
                call->in_doubt = call->start_removed = true;
                call->reference_at = USEC_INFINITY;
                units_forget(call->handler->units, call);
                if (call->stopping || call->overflown || call->out_of_memory)
                        call_ask_to_stop(call);
                call_ask(call, call->referenced ? UNIT_LOOK : UNIT_REF);
                break;

        case CALL_ENDED:
                call_judge(call);
                break;
        }
}

/* ---- what we want ---- */

void unit_call_stop(HandlerCall *call) {
        call->stopping = true;
        if (call->state == CALL_NEW) {
                call_fail(call, OUTCOME_FAILURE, "stopped before it was started");
                return;
        }
        call->deadline = usec_add(usec_now(CLOCK_MONOTONIC), call->handler->config->stop_timeout);
        if (call->state == CALL_RUNNING)
                call_ask_to_stop(call);
        units_arm(call->handler->units);
}

void unit_call_overflow(HandlerCall *call) {
        if (call->state == CALL_RUNNING)
                call_ask_to_stop(call);
}

void unit_call_run_out(HandlerCall *call) {
        char patience[FORMAT_USEC_MAX];

        if (call->state == CALL_ENDED) {
                call_judge(call);
                return;
        }
        if (call->state == CALL_STARTED)
                call_ask_to_stop(call);
        (void) format_usec(patience, call->handler->config->stop_timeout);
        attempt_fail(call->attempt, OUTCOME_LOST, "%s was told to stop and had not ended %s later",
                call->name, patience);
        units_add_stale(call->handler->units, call->name);
        unit_call_end(call);
}
