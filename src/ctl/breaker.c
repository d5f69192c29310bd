/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Breakers: what they look like, and changing them by hand. */

#include <inttypes.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "ctl/breaker.h"
#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/object.h"
#include "ctl/text.h"
#include "ctl/verbs.h"
#include "ctl/view.h"
#include "util/strv.h"

/* One that is held open by its mode will not be tried again by itself. */
char *breaker_retry(json_object *p) {
        usec_t after = json_number(p, "RetryAfterUSec");
        _cleanup_free_ char *span = NULL;

        if (after == 0 || after == USEC_INFINITY)
                return NULL;
        span = text_span(after);
        return text_format("retry in %s", span);
}

char *breaker_failures(json_object *p) {
        _cleanup_line_ Line line = { 0 };

        line_add(&line, view_count(p, "Failures", "failed in a row", true));
        line_add(&line,
                view_count(p, "Trips", json_number(p, "Trips") == 1 ? "trip" : "trips", false));
        return TAKE_PTR(line.text);
}

char *breaker_summary(json_object *p) {
        _cleanup_line_ Line line = { 0 };

        line_add(&line, breaker_retry(p));
        line_add(&line, text_format("mode %s", json_text(p, "Mode")));
        line_add(&line, breaker_failures(p));
        return TAKE_PTR(line.text);
}

/* Calls a method without arguments and without an answer on each breaker in turn. */
static int for_each_breaker(Ctl *c, char **names, const char *member, const char *what) {
        int result = 0;

        STRV_FOREACH (name, names) {
                _cleanup_message_ sd_bus_message *m = NULL;
                _cleanup_object_ Object breaker = { 0 };
                int r;

                r = object_parse_as("breaker", *name, &breaker);
                if (r >= 0)
                        r = bus_new_call(c, breaker.path, BREAKER_INTERFACE, member, &m);
                if (r >= 0)
                        r = bus_call(
                                c, m, CALL_DEFAULT, NULL, "%s breaker \"%s\"", what, breaker.name);
                if (r < 0)
                        result = r;
        }
        return result;
}

static int trip(Ctl *c, char **arguments) {
        return for_each_breaker(c, arguments, "Trip", "trip");
}

const Verb verb_trip = {
        .name = "trip",
        .arguments = "BREAKER…",
        .summary = "Open a breaker for its reset time-out",
        .details =
                "What is behind it gets no calls until then. A pool's own breaker has the name of "
                "the pool.",
        .example = "sluicectl trip api",
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .run = trip,
};

static int reset(Ctl *c, char **arguments) {
        return for_each_breaker(c, arguments, "Reset", "reset");
}

const Verb verb_reset = {
        .name = "reset",
        .arguments = "BREAKER…",
        .summary = "Close a breaker, and forget its failures",
        .example = "sluicectl reset api",
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .run = reset,
};
