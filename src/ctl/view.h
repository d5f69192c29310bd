/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* View: one object in full, as a title and lines of a label and text, in the manner of "systemctl
 * status". The values come from the object's properties as JSON; a property that an older or newer
 * daemon does not have is not shown. */

#include <json-c/json.h>
#include <stdbool.h>

#include "ctl/ctl.h"

typedef struct Line Line;

/* Text that is put together part by part. */
struct Line {
        char *text; /* NULL = nothing yet */
};

void line_done(Line *line);
#define _cleanup_line_ _cleanup_(line_done)

/* Adds a part after a comma; takes it over. NULL adds nothing. */
void line_add(Line *line, char *part);

/* "● gzip - Compress man pages", the dot in the colour of the state. */
void view_title(const char *state, const char *name, const char *about);

void view_field(const char *label, const char *text); /* nothing where there is no text */

/* A state in its colour, after the name of what is in it and before more; both may be NULL. */
void view_state(const char *label, const char *name, const char *state, const char *more);

char *view_owner(json_object *object); /* "alice (1000)"; the caller's */
void view_moment(const char *label, json_object *object, const char *key);

/* The counters of finished jobs by result, as far as there are any. */
void view_counters(json_object *object);

/* "12 queued", or NULL for a counter that is not there; and with zero only if `always`. */
char *view_count(json_object *object, const char *key, const char *what, bool always);

/* What a PendingReason means, in words. */
const char *view_pending_meaning(const char *reason);
