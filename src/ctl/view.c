/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "ctl/json.h"
#include "ctl/terminal.h"
#include "ctl/text.h"
#include "ctl/view.h"
#include "util/time.h"

#define LABEL_WIDTH 10

void line_done(Line *line) {
        free(line->text);
}

void line_add(Line *line, char *part) {
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

void view_field(const char *label, const char *text) {
        if (!text || !*text)
                return;
        print_label(label);
        terminal_print_wrapped(text, LABEL_WIDTH + 2, 0, terminal_columns());
}

/* Colour has no width, so it is kept out of what is wrapped. */
void view_state(const char *label, const char *name, const char *state, const char *more) {
        Style style = terminal_style_of_state(state);
        bool any = more && *more;
        size_t used = text_columns(state) + any;

        print_label(label);
        if (name)
                used += (size_t) printf("%s: ", name);
        printf("%s%s%s%s", terminal_style(style), state, terminal_style_end(style), any ? "," : "");
        terminal_print_wrapped(any ? more : "", LABEL_WIDTH + 2, used, terminal_columns());
}

void view_title(const char *state, const char *name, const char *about) {
        Style style = terminal_style_of_state(state);
        _cleanup_free_ char *clean = text_clean(about, /* lines= */ false);

        printf("%s%s%s %s%s%s\n", terminal_style(style), text_locale_is_utf8() ? "●" : "*",
                terminal_style_end(style), name, *clean ? " - " : "", clean);
}

char *view_count(json_object *object, const char *key, const char *what, bool always) {
        uint64_t n = json_number(object, key);

        if (!json_member(object, key) || (n == 0 && !always))
                return NULL;
        return text_format("%" PRIu64 " %s", n, what);
}

void view_counters(json_object *object) {
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
        };
        _cleanup_line_ Line line = { 0 };

        for (size_t i = 0; i < ELEMENTSOF(counters); i++)
                line_add(&line,
                        view_count(object, counters[i].key, counters[i].what, counters[i].always));
        view_field("Jobs", line.text);
}

char *view_owner(json_object *object) {
        uint64_t uid = json_number(object, "Owner");
        const struct passwd *user = getpwuid((uid_t) uid);

        return user ? text_format("%s (%" PRIu64 ")", user->pw_name, uid)
                    : text_format("%" PRIu64, uid);
}

void view_moment(const char *label, json_object *p, const char *key) {
        _cleanup_free_ char *text = NULL;

        if (json_number(p, key) == 0)
                return;
        text = text_moment(json_number(p, key), usec_now(CLOCK_REALTIME));
        view_field(label, text);
}

const char *view_pending_meaning(const char *reason) {
        static const struct {
                const char *reason, *meaning;
        } meanings[] = {
                { "priority", "jobs that are more urgent or older come first" },
                { "paused", "the pool is paused" },
                { "rate", "the limiter has no token" },
                { "breaker", "the breaker lets no job through" },
                { "batch", "the batch is not full yet" },
                { "delay", "not due yet" },
                { "key", "others with the same key come first" },
                { "workers", "no worker is free for it" },
                { "draining", "the pool is draining" },
        };

        for (size_t i = 0; i < ELEMENTSOF(meanings); i++)
                if (strcmp(meanings[i].reason, reason) == 0)
                        return meanings[i].meaning;
        return reason;
}
