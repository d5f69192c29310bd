/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A pool at a glance: what comes in, what is in the way, and what came out. */

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "ctl/breaker.h"
#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/limiter.h"
#include "ctl/status.h"
#include "ctl/text.h"
#include "ctl/view.h"

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
        view_field(label, line.text);
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

/* What is leased, and who waits for more. */
static void print_leases(json_object *p) {
        _cleanup_line_ Line line = { 0 };

        line_add(&line, text_format("%" PRIu64 " of %" PRIu64 " out", json_number(p, "Busy"),
                                json_number(p, "Workers")));
        line_add(&line, view_count(p, "LeaseWaiters", "waiting in line", true));
        view_field("Leases", line.text);
}

static void print_workers(json_object *p) {
        _cleanup_free_ char *cpus = cpu_list(json_member(p, "CPUAffinity"));
        uint64_t min = json_number(p, "MinWorkers"), max = json_number(p, "MaxWorkers");
        _cleanup_line_ Line line = { 0 };

        line_add(&line, text_format("%" PRIu64 " of %" PRIu64 " busy", json_number(p, "Busy"),
                                json_number(p, "Workers")));
        if (min != max)
                line_add(&line, text_format("%" PRIu64 " to %" PRIu64 " allowed", min, max));
        if (cpus)
                line_add(&line, text_format("on CPU%s %s", strpbrk(cpus, "-,") ? "s" : "", cpus));
        view_field("Workers", line.text);
}

static void print_queue(json_object *p) {
        _cleanup_line_ Line line = { 0 };

        line_add(&line, text_format("%" PRIu64 " of %" PRIu64, json_number(p, "Queued"),
                                json_number(p, "QueueMax")));
        line_add(&line, view_count(p, "Scheduled", "scheduled", false));
        line_add(&line, view_count(p, "Running", "running", true));
        if (*json_text(p, "Overflow"))
                line_add(&line, text_format("overflow %s", json_text(p, "Overflow")));
        view_field("Queue", line.text);
}

/* Why nothing of what waits is begun. */
static void print_waiting(json_object *p) {
        const char *reason = json_text(p, "PendingReason");
        _cleanup_free_ char *text = NULL;

        if (!*reason)
                return;
        text = text_format("%s (%s)", view_pending_meaning(reason), reason);
        view_field("Waits", text);
}

/* Full at so many, or after that time. */
static void print_batch(json_object *p) {
        _cleanup_line_ Line line = { 0 };

        if (json_number(p, "BatchSize") <= 1)
                return;
        line_add(&line, text_format("up to %" PRIu64 " jobs", json_number(p, "BatchSize")));
        if (json_member(p, "BatchTimeoutUSec")) {
                _cleanup_free_ char *span = text_span(json_number(p, "BatchTimeoutUSec"));

                line_add(&line, text_format("timeout %s", span));
        }
        line_add(&line, view_count(p, "Batches", "done", true));
        view_field("Batch", line.text);
}

/* How the number of workers follows the demand. */
static void print_scale(json_object *p) {
        _cleanup_free_ char *interval = text_span(json_number(p, "ScaleIntervalUSec")),
                            *target = text_span(json_number(p, "ScaleTargetWaitUSec"));
        const char *mode = json_text(p, "ScaleMode");
        _cleanup_line_ Line line = { 0 };

        if (!*mode || strcmp(mode, "off") == 0)
                return;
        line_add(&line, text_format("by %s", json_text(p, "ScaleMode")));
        if (strcmp(mode, "wait") == 0)
                line_add(&line, text_format("up where one waits over %s", target));
        else
                line_add(
                        &line, text_format("up above %" PRIu64 " per worker, down below %" PRIu64,
                                       json_number(p, "ScaleUpAt"), json_number(p, "ScaleDownAt")));
        line_add(&line, text_format("every %s", interval));
        view_field("Scale", line.text);
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
                line_add(&line, view_count(p, "MaxAttempts", "attempts", false));
        if (json_number(p, "KeyConcurrency") > 1)
                line_add(&line, text_format("%" PRIu64 " at a time of each key",
                                        json_number(p, "KeyConcurrency")));
        view_field("Limits", line.text);
}

/* What the pool's property `key` points to; its name is told only where that is not the pool's own.
 * NULL: there is none, or it has gone this moment. */
static json_object *get_shared(
        Ctl *c, json_object *pool, const char *key, const char *interface, const char **ret_name) {
        const char *path = json_text(pool, key);
        json_object *p = NULL;

        if (!path[0] || !path[1] ||
                bus_get_all(c, path, interface, /* optional= */ true, &p, "look at %s", path) < 0)
                return NULL;
        *ret_name = strcmp(json_text(p, "Name"), json_text(pool, "Name")) == 0
                            ? NULL
                            : json_text(p, "Name");
        return p;
}

static void print_limiter(Ctl *c, json_object *pool) {
        const char *name = NULL;
        _cleanup_json_ json_object *p = get_shared(c, pool, "Limiter", LIMITER_INTERFACE, &name);
        _cleanup_free_ char *text = NULL, *full = NULL;

        if (!p)
                return;
        text = limiter_summary(p);
        full = text_format("%s%s%s", name ?: "", name ? ": " : "", text);
        view_field("Limiter", full);
}

static void print_breaker(Ctl *c, json_object *pool) {
        const char *name = NULL;
        _cleanup_json_ json_object *p = get_shared(c, pool, "Breaker", BREAKER_INTERFACE, &name);
        _cleanup_free_ char *text = NULL;

        if (!p)
                return;
        text = breaker_summary(p);
        view_state("Breaker", name, json_text(p, "State"), text);
}

void status_pool(Ctl *c, json_object *p) {
        view_title(json_text(p, "State"), json_text(p, "Name"), json_text(p, "Description"));
        view_state("State", NULL, json_text(p, "State"), NULL);
        view_field("Handler", json_text(p, "Handler"));
        if (json_object_get_boolean(json_member(p, "Durable")))
                view_field("Durable", "yes: jobs survive a restart");
        if (strcmp(json_text(p, "Handler"), "lease") == 0)
                print_leases(p);
        else
                print_workers(p);
        print_queue(p);
        print_waiting(p);
        print_limiter(c, p);
        print_breaker(c, p);
        print_batch(p);
        print_scale(p);
        view_counters(p);
        print_distribution("Waited", p, "QueueWaitUSec");
        print_distribution("Ran", p, "RunTimeUSec");
        print_times(p);
}
