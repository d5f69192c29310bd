/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/object.h"
#include "ctl/pipeline.h"
#include "ctl/text.h"
#include "ctl/view.h"

static size_t n_stages(json_object *p) {
        json_object *stages = json_member(p, "Stages");

        return json_object_is_type(stages, json_type_array) ? json_object_array_length(stages) : 0;
}

static const char *stage(json_object *p, size_t i) {
        return json_object_get_string(json_object_array_get_idx(json_member(p, "Stages"), i));
}

char *pipeline_stages(json_object *p) {
        char *text = text_copy("");

        for (size_t i = 0; i < n_stages(p); i++) {
                char *more = text_format("%s%s%s", text, i > 0 ? " → " : "", stage(p, i));

                free(text);
                text = more;
        }
        return text;
}

/* What waits at a stage and why, which is where a slow one shows. */
static void print_stage(Ctl *c, size_t i, const char *name) {
        _cleanup_free_ char *label = text_format("Stage %zu", i + 1);
        _cleanup_json_ json_object *p = NULL;
        _cleanup_object_ Object pool = { 0 };
        _cleanup_line_ Line line = { 0 };

        if (object_parse_as("pool", name, &pool) < 0 ||
                bus_get_all(c, pool.path, pool.kind->interface, /* optional= */ true, &p,
                        "look at pool \"%s\"", name) < 0) {
                view_field(label, name);
                return;
        }
        line_add(&line, view_count(p, "Queued", "queued", true));
        line_add(&line, view_count(p, "Scheduled", "scheduled", false));
        line_add(&line, text_format("%" PRIu64 " of %" PRIu64 " workers busy",
                                json_number(p, "Busy"), json_number(p, "Workers")));
        if (*json_text(p, "PendingReason"))
                line_add(&line, text_format("waits for: %s", json_text(p, "PendingReason")));
        view_state(label, name, json_text(p, "State"), line.text);
}

void status_pipeline(Ctl *c, json_object *p) {
        _cleanup_free_ char *title = text_format("pipeline %s", json_text(p, "Name"));
        _cleanup_free_ char *stages = pipeline_stages(p);
        _cleanup_line_ Line inside = { 0 };

        view_title(json_text(p, "State"), title, stages);
        view_state("State", NULL, json_text(p, "State"), NULL);
        line_add(&inside, text_format("%" PRIu64 " of %" PRIu64 " in flight",
                                  json_number(p, "InFlight"), json_number(p, "MaxInFlight")));
        view_field("Items", inside.text);
        for (size_t i = 0; i < n_stages(p); i++)
                print_stage(c, i, stage(p, i));
        view_counters(p);
}
