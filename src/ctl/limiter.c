/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Limiters: what they look like, and taking tokens. */

#include <inttypes.h>
#include <stdint.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/limiter.h"
#include "ctl/object.h"
#include "ctl/options.h"
#include "ctl/text.h"
#include "ctl/verbs.h"
#include "ctl/view.h"
#include "util/parse.h"

char *limiter_rate(json_object *p) {
        static const struct {
                usec_t period;
                const char *unit;
        } units[] = {
                { USEC_PER_SEC, "s" },
                { USEC_PER_MINUTE, "min" },
                { USEC_PER_HOUR, "h" },
        };
        usec_t period = json_number(p, "PeriodUSec");
        char span[FORMAT_USEC_MAX];

        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                if (units[i].period == period)
                        return text_format("%" PRIu64 "/%s", json_number(p, "Rate"), units[i].unit);
        return text_format("%" PRIu64 "/%s", json_number(p, "Rate"), format_usec(span, period));
}

char *limiter_summary(json_object *p) {
        _cleanup_line_ Line line = { 0 };

        line_add(&line, text_format("%" PRIu64 " of %" PRIu64 " token%s", json_number(p, "Tokens"),
                                json_number(p, "Burst"), json_number(p, "Burst") == 1 ? "" : "s"));
        line_add(&line, limiter_rate(p));
        line_add(&line, view_count(p, "Waiters", "in line", false));
        line_add(&line, view_count(p, "Granted", "granted", true));
        line_add(&line, view_count(p, "Denied", "denied", false));
        return TAKE_PTR(line.text);
}

static OptionNumber arg_timeout = { .value = USEC_INFINITY };

static const Option acquire_options[] = {
        { "timeout", 0, "TIME", &option_time, &arg_timeout,
                "Wait at most so long; 0 does not wait" },
};

static int acquire(Ctl *c, char **arguments) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_object_ Object limiter = { 0 };
        uint64_t n = 1;
        int r;

        if (arguments[1] && parse_uint64(arguments[1], 1, UINT64_MAX, &n) < 0)
                return usage_error(
                        "\"%s\" is no number of tokens; expected one from 1.", arguments[1]);
        r = object_parse_as("limiter", arguments[0], &limiter);
        if (r >= 0)
                r = bus_new_call(c, limiter.path, LIMITER_INTERFACE, "Acquire", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "tt", n, arg_timeout.value);
        if (r < 0)
                return failure(r, "ask for tokens");
        return bus_call(c, m, CALL_FOREVER, NULL, "acquire from limiter \"%s\"", limiter.name);
}

const Verb verb_acquire = {
        .name = "acquire",
        .arguments = "LIMITER [N]",
        .summary = "Take tokens, and wait until there are",
        .details = "Returns once one token, or N, were taken. Who waits is served in the order of "
                   "asking, and pools stand in the same line.",
        .example = "sluicectl acquire api && curl https://example.org/api",
        .options = acquire_options,
        .n_options = ELEMENTSOF(acquire_options),
        .min_arguments = 1,
        .max_arguments = 2,
        .run = acquire,
};
