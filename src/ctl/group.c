/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/group.h"
#include "ctl/json.h"
#include "ctl/text.h"
#include "ctl/view.h"
#include "util/parse.h"

#define PREFIX "group/"

bool group_is_named(const char *s) {
        return strncmp(s, PREFIX, strlen(PREFIX)) == 0;
}

int group_id_parse(const char *s, uint64_t *ret) {
        const char *digits = group_is_named(s) ? s + strlen(PREFIX) : s;

        if (parse_uint64(digits, 1, UINT64_MAX, ret) < 0)
                return usage_error("\"%s\" is no group id; expected a number like group/17.", s);
        return 0;
}

char *group_path(uint64_t id) {
        return text_format("%s/group/%" PRIu64, SLUICE_PATH, id);
}

int group_get(Ctl *ctl, uint64_t id, bool optional, json_object **ret) {
        _cleanup_free_ char *path = group_path(id);

        return bus_get_all(
                ctl, path, GROUP_INTERFACE, optional, ret, "get the state of group %" PRIu64, id);
}

/* Its own call: how long it waits is no property. */
static int wait_for_end(Ctl *ctl, uint64_t id, usec_t timeout) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_free_ char *path = group_path(id);
        int r;

        r = bus_new_call(ctl, path, GROUP_INTERFACE, "Wait", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "t", timeout);
        return r < 0 ? r : bus_call(ctl, m, CALL_FOREVER, NULL, "wait for group %" PRIu64, id);
}

int group_wait(Ctl *ctl, uint64_t id, usec_t timeout) {
        _cleanup_json_ json_object *p = NULL;
        bool finished;
        int r;

        r = wait_for_end(ctl, id, timeout);
        if (r >= 0)
                r = group_get(ctl, id, /* optional= */ false, &p);
        if (r < 0)
                return r;
        finished = strcmp(json_text(p, "State"), "finished") == 0;
        if (ctl->json != JSON_OFF)
                json_print(ctl, p);
        else if (!ctl->quiet)
                printf(PREFIX "%" PRIu64 " %s: %" PRIu64 " of %" PRIu64 " done, %" PRIu64
                              " failed\n",
                        id, json_text(p, "State"), json_number(p, "Done"), json_number(p, "Total"),
                        json_number(p, "Failed"));
        return finished && json_number(p, "Failed") == 0 ? 0 : EXIT_FAILURE;
}

int group_cancel(Ctl *ctl, uint64_t id) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_free_ char *path = group_path(id);
        int r;

        r = bus_new_call(ctl, path, GROUP_INTERFACE, "Cancel", &m);
        return r < 0 ? r : bus_call(ctl, m, CALL_FOREVER, NULL, "cancel group %" PRIu64, id);
}

void status_group(Ctl *ctl, json_object *p) {
        uint64_t total = json_number(p, "Total"), first = json_number(p, "FirstJob");
        _cleanup_free_ char *title = text_format("group %" PRIu64, json_number(p, "Id")),
                            *owner = view_owner(p),
                            *tag = text_clean(json_text(p, "Tag"), /* lines= */ false),
                            *share = text_format("%.0f %%",
                                    json_object_get_double(json_member(p, "Progress")) * 100),
                            *jobs = NULL;
        const char *pool = *json_text(p, "Pool") ? json_text(p, "Pool") : json_text(p, "Pipeline");
        _cleanup_line_ Line done = { 0 };

        if (total > 0)
                jobs = text_format(
                        "%" PRIu64 ", %" PRIu64 " to %" PRIu64, total, first, first + total - 1);
        line_add(&done, text_format("%" PRIu64 " of %" PRIu64, json_number(p, "Done"), total));
        line_add(&done, view_count(p, "Succeeded", "succeeded", false));
        line_add(&done, view_count(p, "Failed", "failed", false));
        view_title(json_text(p, "State"), title, pool);
        view_state("State", NULL, json_text(p, "State"), share);
        view_field("Done", done.text);
        view_field("Jobs", jobs);
        view_field("Policy", json_text(p, "GroupPolicy"));
        view_field("Owner", owner);
        view_field("Tag", tag);
}
