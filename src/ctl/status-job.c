/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/object.h"
#include "ctl/status.h"
#include "ctl/text.h"
#include "ctl/view.h"

static void print_waiting(json_object *p) {
        uint64_t position = json_number(p, "QueuePosition");
        _cleanup_line_ Line line = { 0 };

        if (*json_text(p, "PendingReason"))
                line_add(&line,
                        text_format("%s (%s)", view_pending_meaning(json_text(p, "PendingReason")),
                                json_text(p, "PendingReason")));
        if (position > 0)
                line_add(&line, text_format("position %" PRIu64 "%s", position,
                                        position >= 10000 ? " or later" : ""));
        view_field("Waits", line.text);
}

/* The one that runs, or else the last one: a job that is tried again waits with what that took. */
static void print_attempt(json_object *p) {
        const char *state = json_text(p, "State");
        bool runs = strcmp(state, "running") == 0 || strcmp(state, "stopping") == 0;
        int64_t worker = json_object_get_int64(json_member(p, "Worker"));
        _cleanup_line_ Line line = { 0 };

        if (json_number(p, "Attempt") == 0)
                return;
        line_add(&line, text_format("%" PRIu64, json_number(p, "Attempt")));
        if (json_member(p, "Worker") && worker >= 0)
                line_add(&line, text_format("worker %" PRIi64, worker));
        if (json_number(p, "DurationUSec") > 0) {
                _cleanup_free_ char *span = text_span(json_number(p, "DurationUSec"));

                line_add(&line, text_format(runs ? "for %s so far" : "took %s", span));
        }
        view_field("Attempt", line.text);
}

/* The error text is no property. It is only for the owner, so not getting it is no failure. */
static void print_error(Ctl *c, uint64_t id) {
        _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_message_ sd_bus_message *reply = NULL;
        _cleanup_free_ char *path = job_path(id), *text = NULL, *clean = NULL;
        const char *result;
        const void *data;
        size_t size;

        if (sd_bus_call_method(c->bus, SLUICE_NAME, path, JOB_INTERFACE, "GetResult", &error,
                    &reply, NULL) < 0 ||
                sd_bus_message_read(reply, "s", &result) < 0 ||
                sd_bus_message_read_array(reply, 'y', &data, &size) < 0)
                return;
        text = text_format("%.*s", (int) size, (const char *) data);
        clean = text_clean(text, /* lines= */ true);
        view_field("Error", clean);
}

static void print_job_state(json_object *p) {
        const char *result = json_text(p, "Result");
        int64_t status = json_object_get_int64(json_member(p, "ExitStatus"));
        double progress = json_object_get_double(json_member(p, "Progress"));
        _cleanup_line_ Line more = { 0 };

        if (status > 0)
                line_add(&more, text_format("exit status %" PRIi64, status));
        if (!*result && progress > 0)
                line_add(&more, text_format("%.0f %% done", progress * 100));
        view_state("State", NULL, *result ? result : json_text(p, "State"), more.text);
}

/* The pool; of an item also which stage of its pipeline that is, as people count. */
static char *place_of(json_object *p) {
        json_object *stage = json_member(p, "Stage");
        uint64_t i = 0;

        if (!*json_text(p, "Pipeline"))
                return text_copy(json_text(p, "Pool"));
        if (json_object_is_type(stage, json_type_array))
                i = json_object_get_uint64(json_object_array_get_idx(stage, 0));
        return text_format("%s, stage %" PRIu64 " of pipeline %s", json_text(p, "Pool"), i + 1,
                json_text(p, "Pipeline"));
}

void status_job(Ctl *c, json_object *p) {
        const char *result = json_text(p, "Result");
        uint64_t id = json_number(p, "Id");
        _cleanup_free_ char *title = text_format("job %" PRIu64, id), *owner = view_owner(p),
                            *tag = text_clean(json_text(p, "Tag"), /* lines= */ false),
                            *key = text_clean(json_text(p, "ConcurrencyKey"), /* lines= */ false);
        _cleanup_free_ char *about = place_of(p);

        view_title(*result ? result : json_text(p, "State"), title, about);
        print_job_state(p);
        print_waiting(p);
        if (json_object_get_int64(json_member(p, "Priority")) != 0)
                view_field("Priority", json_text(p, "Priority"));
        view_field("Owner", owner);
        view_field("Tag", tag);
        view_field("Key", key);
        view_moment("Submitted", p, "SubmittedUSec");
        view_moment("Started", p, "StartedUSec");
        view_moment("Finished", p, "FinishedUSec");
        print_attempt(p);
        if (*result && strcmp(result, "succeeded") != 0)
                print_error(c, id);
}
