/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One object in full: the daemon, a pool or a job, with the numbers in human terms. Every view
 * reads the object's properties as JSON; a property that an older or newer daemon does not have is
 * not shown. */

#include <inttypes.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/job-end.h"
#include "ctl/json.h"
#include "ctl/limiter.h"
#include "ctl/object.h"
#include "ctl/terminal.h"
#include "ctl/text.h"
#include "ctl/verbs.h"
#include "util/parse.h"
#include "util/strv.h"

#define LABEL_WIDTH 10

/* Text that is put together bit by bit. */
typedef struct Line {
        char *text;
} Line;

static void line_done(Line *line) {
        free(line->text);
}
#define _cleanup_line_ _cleanup_(line_done)

/* Adds a part after a comma; takes it over. NULL adds nothing. */
static void line_add(Line *line, char *part) {
        char *longer;

        if (!part)
                return;
        if (!line->text) {
                line->text = part;
                return;
        }
        longer = text_format("%s, %s", line->text, part);
        free(line->text);
        free(part);
        line->text = longer;
}

static void print_label(const char *label) {
        printf("%*s: ", LABEL_WIDTH, label);
}

static void print_field(const char *label, const char *text) {
        if (!text || !*text)
                return;
        print_label(label);
        terminal_print_wrapped(text, LABEL_WIDTH + 2, terminal_columns());
}

/* Labels of its own, because colour has no width. */
static void print_state(const char *label, const char *state, const char *more) {
        Style style = terminal_style_of_state(state);

        print_label(label);
        printf("%s%s%s%s%s\n", terminal_style(style), state, terminal_style_end(style),
                more && *more ? ", " : "", more ?: "");
}

static void print_title(const char *state, const char *name, const char *about) {
        Style style = terminal_style_of_state(state);
        _cleanup_free_ char *clean = text_clean(about, /* lines= */ false);

        printf("%s%s%s %s%s%s\n", terminal_style(style), text_locale_is_utf8() ? "●" : "*",
                terminal_style_end(style), name, *clean ? " - " : "", clean);
}

/* "12 queued", NULL for a counter that is not there; and with zero only if `always`. */
static char *count(json_object *object, const char *key, const char *what, bool always) {
        uint64_t n = json_number(object, key);

        if (!json_member(object, key) || (n == 0 && !always))
                return NULL;
        return text_format("%" PRIu64 " %s", n, what);
}

static void print_counters(json_object *object) {
        static const struct {
                const char *key, *what;
                bool always;
        } counters[] = {
                { "Submitted", "submitted", true },
                { "Succeeded", "succeeded", true },
                { "Failed", "failed", true },
                { "Cancelled", "cancelled", false },
                { "TimedOut", "timed out", false },
                { "Expired", "expired", false },
                { "Dropped", "dropped", false },
                { "Rejected", "rejected", false },
                { "Refused", "refused", false },
                { "Lost", "lost", false },
                { "Retried", "retried", false },
                { "Batches", "batches", false },
        };
        _cleanup_line_ Line line = { 0 };

        for (size_t i = 0; i < ELEMENTSOF(counters); i++)
                line_add(&line,
                        count(object, counters[i].key, counters[i].what, counters[i].always));
        print_field("Jobs", line.text);
}

/* p50, p95, p99 and the maximum of a distribution, if anything was measured yet. */
static void print_distribution(const char *label, json_object *object, const char *key) {
        static const char *const names[] = { "p50", "p95", "p99", "max" };
        json_object *values = json_member(object, key);
        _cleanup_line_ Line line = { 0 };

        if (!json_object_is_type(values, json_type_array) ||
                json_object_array_length(values) != ELEMENTSOF(names) ||
                json_object_get_uint64(json_object_array_get_idx(values, 3)) == 0)
                return;
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *span =
                        text_span(json_object_get_uint64(json_object_array_get_idx(values, i)));

                line_add(&line, text_format("%s %s", names[i], span));
        }
        print_field(label, line.text);
}

static void print_moment(const char *label, json_object *p, const char *key) {
        _cleanup_free_ char *text = NULL;

        if (json_number(p, key) == 0)
                return;
        text = text_moment(json_number(p, key), usec_now(CLOCK_REALTIME));
        print_field(label, text);
}

static int show_manager(Ctl *c, json_object **ret) {
        _cleanup_free_ char *title = NULL;
        _cleanup_line_ Line work = { 0 };
        json_object *p = NULL;
        int r;

        r = bus_get_all(c, SLUICE_PATH, MANAGER_INTERFACE, false, ret, "get the state of sluiced");
        if (r < 0 || c->json != JSON_OFF)
                return r;
        p = *ret;
        title = text_format("sluiced %s", json_text(p, "Version"));
        print_title(json_text(p, "State"), title, "");
        print_state("State", json_text(p, "State"), NULL);
        print_moment("Since", p, "StartedUSec");
        line_add(&work, count(p, "NPools", json_number(p, "NPools") == 1 ? "pool" : "pools", true));
        line_add(&work, count(p, "Queued", "jobs queued", true));
        line_add(&work, count(p, "Running", "running", true));
        print_field("Now", work.text);
        print_counters(p);
        return 0;
}

/* "0-3,6" for 0 1 2 3 6. */
static char *cpu_list(json_object *cpus) {
        size_t n = json_object_is_type(cpus, json_type_array) ? json_object_array_length(cpus) : 0;
        char *text = NULL;

        for (size_t i = 0; i < n;) {
                int64_t first = json_object_get_int64(json_object_array_get_idx(cpus, i)),
                        last = first;
                char *more;

                while (++i < n &&
                        json_object_get_int64(json_object_array_get_idx(cpus, i)) == last + 1)
                        last++;
                more = text_format(last > first ? "%s%s%" PRIi64 "-%" PRIi64 : "%s%s%" PRIi64,
                        text ?: "", text ? "," : "", first, last);
                free(text);
                text = more;
        }
        return text;
}

static void print_workers(json_object *p) {
        _cleanup_free_ char *cpus = cpu_list(json_member(p, "CPUAffinity"));
        uint64_t min = json_number(p, "MinWorkers"), max = json_number(p, "MaxWorkers");
        _cleanup_line_ Line line = { 0 };

        line_add(&line, text_format("%" PRIu64 " of %" PRIu64 " busy", json_number(p, "Busy"),
                                json_number(p, "Workers")));
        if (min != max)
                line_add(&line, text_format("%" PRIu64 " to %" PRIu64, min, max));
        if (cpus)
                line_add(&line, text_format("on CPU%s %s", strpbrk(cpus, "-,") ? "s" : "", cpus));
        print_field("Workers", line.text);
}

static void print_queue(json_object *p) {
        _cleanup_line_ Line line = { 0 };

        line_add(&line, text_format("%" PRIu64 " of %" PRIu64, json_number(p, "Queued"),
                                json_number(p, "QueueMax")));
        line_add(&line, count(p, "Scheduled", "scheduled", false));
        line_add(&line, count(p, "Running", "running", true));
        if (*json_text(p, "Overflow"))
                line_add(&line, text_format("overflow %s", json_text(p, "Overflow")));
        print_field("Queue", line.text);
}

/* Limits in time: what a job may take, and what waiting is worth. */
static void print_times(json_object *p) {
        _cleanup_line_ Line line = { 0 };

        if (json_member(p, "RunTimeoutUSec")) {
                _cleanup_free_ char *span = text_span(json_number(p, "RunTimeoutUSec"));

                line_add(&line, text_format("run timeout %s", span));
        }
        if (json_member(p, "AgingIntervalUSec")) {
                _cleanup_free_ char *span = text_span(json_number(p, "AgingIntervalUSec"));

                line_add(&line, text_format("aging interval %s", span));
        }
        if (json_number(p, "MaxAttempts") > 1)
                line_add(&line, count(p, "MaxAttempts", "attempts", false));
        print_field("Limits", line.text);
}

/* The limiter or breaker that the pool uses; "/" is none. */
static void print_object(const char *label, json_object *p, const char *key) {
        const char *path = json_text(p, key);
        const char *slash = strrchr(path, '/');
        _cleanup_free_ char *prefix = NULL, *name = NULL;

        if (!slash || !slash[1])
                return;
        prefix = text_format("%.*s", (int) (slash - path), path);
        if (sd_bus_path_decode(path, prefix, &name) > 0)
                print_field(label, name);
}

static int show_pool(Ctl *c, const Object *pool, json_object **ret) {
        json_object *p = NULL;
        int r;

        r = bus_get_all(c, pool->path, pool->kind->interface, /* optional= */ false, ret,
                "get the state of pool \"%s\"", pool->name);
        if (r < 0 || c->json != JSON_OFF)
                return r;
        p = *ret;
        print_title(json_text(p, "State"), json_text(p, "Name"), json_text(p, "Description"));
        print_state("State", json_text(p, "State"), NULL);
        print_field("Handler", json_text(p, "Handler"));
        print_workers(p);
        print_queue(p);
        print_counters(p);
        print_distribution("Waited", p, "QueueWaitUSec");
        print_distribution("Ran", p, "RunTimeUSec");
        print_times(p);
        print_object("Limiter", p, "Limiter");
        print_object("Breaker", p, "Breaker");
        return 0;
}

static int show_limiter(Ctl *c, const Object *limiter, json_object **ret) {
        _cleanup_free_ char *rate = NULL, *title = NULL;
        _cleanup_line_ Line tokens = { 0 }, asked = { 0 };
        json_object *p = NULL;
        int r;

        r = bus_get_all(c, limiter->path, limiter->kind->interface, /* optional= */ false, ret,
                "get the state of limiter \"%s\"", limiter->name);
        if (r < 0 || c->json != JSON_OFF)
                return r;
        p = *ret;
        rate = limiter_rate(p);
        title = text_format("limiter %s", json_text(p, "Name"));
        print_title("", title, "");
        print_field("Rate", rate);
        line_add(&tokens, text_format("%" PRIu64 " of %" PRIu64, json_number(p, "Tokens"),
                                  json_number(p, "Burst")));
        line_add(&tokens, count(p, "Waiters", "in line", true));
        print_field("Tokens", tokens.text);
        line_add(&asked, count(p, "Granted", "granted", true));
        line_add(&asked, count(p, "Denied", "denied", false));
        print_field("Asked", asked.text);
        return 0;
}

static int show_breaker(Ctl *c, const Object *breaker, json_object **ret) {
        _cleanup_line_ Line more = { 0 }, calls = { 0 };
        _cleanup_free_ char *title = NULL;
        json_object *p = NULL;
        int r;

        r = bus_get_all(c, breaker->path, breaker->kind->interface, /* optional= */ false, ret,
                "get the state of breaker \"%s\"", breaker->name);
        if (r < 0 || c->json != JSON_OFF)
                return r;
        p = *ret;
        title = text_format("breaker %s", json_text(p, "Name"));
        if (json_number(p, "RetryAfterUSec") > 0) {
                _cleanup_free_ char *span = text_span(json_number(p, "RetryAfterUSec"));

                line_add(&more, text_format("for %s", span));
        }
        print_title(json_text(p, "State"), title, "");
        print_state("State", json_text(p, "State"), more.text);
        print_field("Mode", json_text(p, "Mode"));
        line_add(&calls, count(p, "InFlight", "in flight", true));
        line_add(&calls, count(p, "Failures", "failed in a row", true));
        line_add(&calls, count(p, "Trips", "trips", true));
        print_field("Calls", calls.text);
        return 0;
}

static char *owner_name(json_object *p) {
        uint64_t uid = json_number(p, "Owner");
        const struct passwd *user = getpwuid((uid_t) uid);

        return user ? text_format("%s (%" PRIu64 ")", user->pw_name, uid)
                    : text_format("%" PRIu64, uid);
}

static const char *pending_meaning(const char *reason) {
        static const struct {
                const char *reason, *meaning;
        } meanings[] = {
                { "priority", "jobs that are more urgent or older come first" },
                { "paused", "the pool is paused" },
                { "rate", "its limiter has no token" },
                { "breaker", "its breaker is open" },
                { "batch", "its batch is not full yet" },
                { "delay", "it is not due yet" },
                { "key", "a job with the same key runs" },
                { "workers", "all workers are busy" },
                { "draining", "the pool is draining" },
        };

        for (size_t i = 0; i < ELEMENTSOF(meanings); i++)
                if (strcmp(meanings[i].reason, reason) == 0)
                        return meanings[i].meaning;
        return reason;
}

static void print_waiting(json_object *p) {
        uint64_t position = json_number(p, "QueuePosition");
        _cleanup_line_ Line line = { 0 };

        if (*json_text(p, "PendingReason"))
                line_add(&line,
                        text_format("%s (%s)", pending_meaning(json_text(p, "PendingReason")),
                                json_text(p, "PendingReason")));
        if (position > 0)
                line_add(&line, text_format("position %" PRIu64 "%s", position,
                                        position >= 10000 ? " or later" : ""));
        print_field("Waits", line.text);
}

static void print_attempt(json_object *p) {
        int64_t worker = json_object_get_int64(json_member(p, "Worker"));
        _cleanup_line_ Line line = { 0 };

        if (json_number(p, "Attempt") == 0)
                return;
        line_add(&line, text_format("%" PRIu64, json_number(p, "Attempt")));
        if (json_member(p, "Worker") && worker >= 0)
                line_add(&line, text_format("worker %" PRIi64, worker));
        if (json_number(p, "DurationUSec") > 0) {
                _cleanup_free_ char *span = text_span(json_number(p, "DurationUSec"));

                line_add(&line, text_format("took %s", span));
        }
        print_field("Attempt", line.text);
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
        print_field("Error", clean);
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
        print_state("State", *result ? result : json_text(p, "State"), more.text);
}

static int show_job(Ctl *c, uint64_t id, json_object **ret) {
        _cleanup_free_ char *path = job_path(id), *title = NULL, *about = NULL, *owner = NULL,
                            *tag = NULL;
        json_object *p = NULL;
        const char *result;
        int r;

        r = bus_get_all(c, path, JOB_INTERFACE, /* optional= */ false, ret,
                "get the state of job %" PRIu64, id);
        if (r < 0 || c->json != JSON_OFF)
                return r;
        p = *ret;
        result = json_text(p, "Result");
        title = text_format("job %" PRIu64, id);
        about = *json_text(p, "Pipeline") ? text_format("%s, pipeline %s", json_text(p, "Pool"),
                                                    json_text(p, "Pipeline"))
                                          : text_copy(json_text(p, "Pool"));
        owner = owner_name(p);
        tag = text_clean(json_text(p, "Tag"), /* lines= */ false);
        print_title(*result ? result : json_text(p, "State"), title, about);
        print_job_state(p);
        print_waiting(p);
        if (json_object_get_int64(json_member(p, "Priority")) != 0)
                print_field("Priority", json_text(p, "Priority"));
        print_field("Owner", owner);
        print_field("Tag", tag);
        print_moment("Submitted", p, "SubmittedUSec");
        print_moment("Started", p, "StartedUSec");
        print_moment("Finished", p, "FinishedUSec");
        print_attempt(p);
        if (*result && strcmp(result, "succeeded") != 0)
                print_error(c, id);
        return 0;
}

/* A word of digits is a job, which pool/17 overrules. */
static int show(Ctl *c, const char *word, json_object **ret) {
        _cleanup_object_ Object object = { 0 };
        uint64_t id;
        int r;

        if (strncmp(word, "job/", 4) == 0 || parse_uint64(word, 0, UINT64_MAX, &id) >= 0) {
                r = job_id_parse(word, &id);
                return r < 0 ? r : show_job(c, id, ret);
        }
        r = object_parse(word, &object);
        if (r < 0)
                return r;
        if (strcmp(object.kind->name, "limiter") == 0)
                return show_limiter(c, &object, ret);
        if (strcmp(object.kind->name, "breaker") == 0)
                return show_breaker(c, &object, ret);
        return show_pool(c, &object, ret);
}

static int status(Ctl *c, char **arguments) {
        _cleanup_json_ json_object *all = NULL;
        int result = 0;

        if (strv_length(arguments) > 1 && c->json != JSON_OFF)
                all = json_object_new_array();
        for (size_t i = 0; i == 0 || i < strv_length(arguments); i++) {
                _cleanup_json_ json_object *object = NULL;
                int r;

                if (i > 0 && !all)
                        putchar('\n');
                r = arguments ? show(c, arguments[i], &object) : show_manager(c, &object);
                if (r < 0)
                        result = r;
                else if (all)
                        (void) json_object_array_add(all, TAKE_PTR(object));
                else if (c->json != JSON_OFF)
                        json_print(c, object);
        }
        if (all)
                json_print(c, all);
        return result;
}

const Verb verb_status = {
        .name = "status",
        .arguments = "[POOL|LIMITER|BREAKER|JOB…]",
        .summary = "Show sluiced or objects in full",
        .details = "A number is a job id, limiters are limiter/NAME and breakers breaker/NAME. For "
                   "a job that waits, the "
                   "reason is shown. Owners of "
                   "jobs and root also "
                   "see why one failed. With --json=, the properties as they are on D-Bus.",
        .example = "sluicectl status gzip 17",
        .max_arguments = SIZE_MAX,
        .run = status,
};
