/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `status`: one object in full, with the numbers in human terms. */

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "ctl/breaker.h"
#include "ctl/bus.h"
#include "ctl/group.h"
#include "ctl/json.h"
#include "ctl/limiter.h"
#include "ctl/object.h"
#include "ctl/pipeline.h"
#include "ctl/status.h"
#include "ctl/text.h"
#include "ctl/verbs.h"
#include "ctl/view.h"
#include "util/parse.h"
#include "util/strv.h"

static void status_manager(Ctl *c, json_object *p) {
        _cleanup_free_ char *title = text_format("sluiced %s", json_text(p, "Version"));
        _cleanup_line_ Line work = { 0 };

        view_title(json_text(p, "State"), title, "");
        view_state("State", NULL, json_text(p, "State"), NULL);
        view_moment("Since", p, "StartedUSec");
        line_add(&work,
                view_count(p, "NPools", json_number(p, "NPools") == 1 ? "pool" : "pools", true));
        line_add(&work, view_count(p, "Queued", "jobs queued", true));
        line_add(&work, view_count(p, "Running", "running", true));
        view_field("Now", work.text);
        view_counters(p);
}

static void status_limiter(Ctl *c, json_object *p) {
        _cleanup_free_ char *title = text_format("limiter %s", json_text(p, "Name"));
        _cleanup_free_ char *rate = limiter_rate(p);
        _cleanup_line_ Line tokens = { 0 }, asked = { 0 };

        view_title("", title, "");
        view_field("Rate", rate);
        line_add(&tokens, text_format("%" PRIu64 " of %" PRIu64, json_number(p, "Tokens"),
                                  json_number(p, "Burst")));
        line_add(&tokens, view_count(p, "Waiters", "in line", true));
        view_field("Tokens", tokens.text);
        line_add(&asked, view_count(p, "Granted", "granted", true));
        line_add(&asked, view_count(p, "Denied", "denied", true));
        view_field("Asked", asked.text);
}

static void status_breaker(Ctl *c, json_object *p) {
        _cleanup_free_ char *title = text_format("breaker %s", json_text(p, "Name"));
        _cleanup_free_ char *retry = breaker_retry(p);
        _cleanup_line_ Line calls = { 0 };

        view_title(json_text(p, "State"), title, "");
        view_state("State", NULL, json_text(p, "State"), retry);
        view_field("Mode", json_text(p, "Mode"));
        line_add(&calls, view_count(p, "InFlight", "in flight", true));
        line_add(&calls, breaker_failures(p));
        view_field("Calls", calls.text);
}

/* By kind, as "pool", or "job", "group", or "" for sluiced itself. */
static void print_status(Ctl *c, const char *kind, json_object *p) {
        static const struct {
                const char *kind;
                void (*print)(Ctl *ctl, json_object *properties);
        } views[] = {
                { "", status_manager },
                { "pool", status_pool },
                { "pipeline", status_pipeline },
                { "limiter", status_limiter },
                { "breaker", status_breaker },
                { "job", status_job },
                { "group", status_group },
        };

        for (size_t i = 0; i < ELEMENTSOF(views); i++)
                if (strcmp(views[i].kind, kind) == 0)
                        views[i].print(c, p);
}

/* Groups have their ids from the same counter as jobs, so a number is of one of the two. */
static int look_up_number(
        Ctl *c, const char *word, uint64_t id, const char **ret_kind, json_object **ret) {
        _cleanup_free_ char *path = job_path(id);
        bool is_job = strncmp(word, "job/", 4) == 0;
        int r;

        if (!is_job) {
                *ret_kind = "group";
                r = group_get(c, id, /* optional= */ true, ret);
                if (r != -ENOENT)
                        return r;
        }
        *ret_kind = "job";
        return bus_get_all(c, path, JOB_INTERFACE, /* optional= */ false, ret,
                "get the state of job %" PRIu64, id);
}

/* What the word names, with its kind; a word of digits is a job or a group, which pool/17
 * overrules. */
static int look_up(Ctl *c, const char *word, const char **ret_kind, json_object **ret) {
        _cleanup_object_ Object object = { 0 };
        uint64_t id;
        int r;

        if (!word) {
                *ret_kind = "";
                return bus_get_all(c, SLUICE_PATH, MANAGER_INTERFACE, /* optional= */ false, ret,
                        "get the state of sluiced");
        }
        if (strncmp(word, "job/", 4) == 0 || parse_uint64(word, 0, UINT64_MAX, &id) >= 0) {
                r = job_id_parse(word, &id);
                return r < 0 ? r : look_up_number(c, word, id, ret_kind, ret);
        }
        if (group_is_named(word)) {
                *ret_kind = "group";
                r = group_id_parse(word, &id);
                return r < 0 ? r : group_get(c, id, /* optional= */ false, ret);
        }
        r = object_find(c, word, &object, ret);
        if (r >= 0)
                *ret_kind = object.kind->name;
        return r;
}

static int status(Ctl *c, char **arguments) {
        _cleanup_json_ json_object *all = NULL;
        int result = 0;

        if (strv_length(arguments) > 1 && c->json != JSON_OFF)
                all = json_object_new_array();
        for (size_t i = 0; i == 0 || i < strv_length(arguments); i++) {
                _cleanup_json_ json_object *object = NULL;
                const char *kind;
                int r;

                if (i > 0 && !all)
                        putchar('\n');
                r = look_up(c, arguments ? arguments[i] : NULL, &kind, &object);
                if (r < 0)
                        result = r;
                else if (all)
                        (void) json_object_array_add(all, TAKE_PTR(object));
                else if (c->json != JSON_OFF)
                        json_print(c, object);
                else
                        print_status(c, kind, object);
        }
        if (all)
                json_print(c, all);
        return result;
}

const Verb verb_status = {
        .name = "status",
        .arguments = "[NAME|JOB|GROUP…]",
        .summary = "Show sluiced or objects in full",
        .details = "A number is the id of a job or a group. A name is that of a pool, with its "
                   "limiter and its breaker; where there is no such pool, of a pipeline, a limiter "
                   "or a breaker. pool/NAME, pipeline/NAME, limiter/NAME, breaker/NAME, job/ID and "
                   "group/ID say which is meant. Of a pipeline each stage is shown. Of a job that "
                   "waits, and of a pool in which some do, the reason is shown. Owners of jobs "
                   "and root also see why one failed. With --json=, the properties as they are on "
                   "D-Bus.",
        .example = "sluicectl status gzip 17",
        .max_arguments = SIZE_MAX,
        .run = status,
};
