/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Text to values, for settings files, D-Bus settings given as strings, and the command line. All
 * return 0, -EINVAL if the text is not of the form, -ERANGE if the value does not fit, -ENOMEM;
 * outputs are untouched on failure. */

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

int parse_boolean(const char *s, bool *ret); /* yes no true false on off 1 0, any case */
int parse_uint64(
        const char *s, uint64_t min, uint64_t max, uint64_t *ret); /* decimal, no sign, no blanks */
int parse_int64(const char *s, int64_t min, int64_t max, int64_t *ret); /* decimal, optional sign */
int parse_size(const char *s,
        uint64_t *ret); /* bytes, with an optional K M G T (powers of 1024) or `infinity` */

/* A list of CPUs like "0-3,6 8"; empty text is the empty set. */
int parse_cpu_set(const char *s, cpu_set_t *ret);

/* Splits at blanks. Quotes "…" and '…' group, a backslash takes the next character, or is a C
 * escape (\n \t \\ \" …). An unbalanced quote or a trailing backslash is -EINVAL. The list is
 * NULL-terminated and the caller's to strv_free(). */
int split_words(const char *s, char ***ret);

/* How many bytes the character at s has; 0 if there is none in valid UTF-8. */
size_t utf8_length(const char *s);

/* Is the character at s, which is well-formed, one of the two sets of controls? Those of the
 * second, U+0080 to U+009F, have two bytes; a terminal takes U+009B for the beginning of a command.
 */
bool utf8_is_control(const char *s);

/* Valid UTF-8 without control characters other than the tab: what may be shown to people and sent
 * over D-Bus. */
bool text_is_valid(const char *s);

/* 1 to 64 of A-Z a-z 0-9 _ - . and neither `.` nor `-` first: what a pool or another object may be
 * called. */
bool name_is_valid(const char *s);
