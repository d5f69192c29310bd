/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Text for people: strings that cannot drive the terminal, widths in columns, and rounded times.
 * Results are malloc()ed and the caller's; memory never runs out here, the program ends instead. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "util/macro.h"
#include "util/time.h"

/* Out of memory: says so and exits. A command has nothing to save. */
noreturn void text_out_of_memory(void);

char *text_copy(const char *s);
char *text_format(const char *format, ...) _printf_(1, 2);

/* A copy in which bytes that are no printable text are a `?`, so that what others wrote (tags,
 * error texts) cannot send control sequences to a terminal. Newlines stay if `lines`. */
char *text_clean(const char *s, bool lines);

/* Is this UTF-8 without NUL, as D-Bus strings and JSON need it? */
bool text_is_utf8(const char *s, size_t size);

/* Columns that it takes on a terminal. */
size_t text_columns(const char *s);

/* Cut to at most `columns`, with an ellipsis where something is missing. */
char *text_ellipsize(const char *s, size_t columns);

/* Does the terminal's character set have more than ASCII? */
bool text_locale_is_utf8(void);

/* A span with three digits or two units: "0", "31us", "1.25ms", "2min 5s", "infinity". */
char *text_span(usec_t t);

/* A moment of CLOCK_REALTIME in local time, with the distance from now: "Mon … CET; 5s ago". */
char *text_moment(usec_t realtime, usec_t now);

char *text_base64(const void *data, size_t size);
