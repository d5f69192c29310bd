/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Time in microseconds: one type, saturating arithmetic, and the text form of spans ("1min 30s").
 */

#include <stdint.h>
#include <time.h>

typedef uint64_t usec_t;

#define USEC_INFINITY UINT64_MAX

#define USEC_PER_MSEC ((usec_t) 1000)
#define USEC_PER_SEC ((usec_t) 1000000)
#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY (24 * USEC_PER_HOUR)
#define USEC_PER_YEAR (31557600 * USEC_PER_SEC) /* 365.25 days, as systemd.time(7) has it */

/* The longest finite span that a setting or an option may have. */
#define USEC_SPAN_MAX (10 * USEC_PER_YEAR)

/* The moment on a clock, of which CLOCK_MONOTONIC is the only one used for decisions. */
static inline usec_t usec_now(clockid_t clock) {
        struct timespec ts;

        (void) clock_gettime(clock, &ts);
        return (usec_t) ts.tv_sec * USEC_PER_SEC + (usec_t) ts.tv_nsec / 1000;
}

/* a + b; stays at USEC_INFINITY where the sum or either part has no end. */
static inline usec_t usec_add(usec_t a, usec_t b) {
        return a > USEC_INFINITY - b ? USEC_INFINITY : a + b;
}

/* a - b, never below 0; an infinite a stays infinite. */
static inline usec_t usec_sub(usec_t a, usec_t b) {
        if (a == USEC_INFINITY)
                return USEC_INFINITY;
        return a > b ? a - b : 0;
}

/* Reads a span: "infinity", or numbers each with an optional unit, as in "30", "1.5s", "1min 30s"
 * (systemd.time(7): us ms s min h d w, and their long forms; M and y as well; without a unit
 * seconds). At most USEC_SPAN_MAX. Returns 0, -EINVAL if it is no span, -ERANGE if it is too long.
 */
int parse_usec(const char *s, usec_t *ret);

/* Writes the shortest exact form, "infinity" included ("1min 30s", "250ms", "0"). Returns `buf`. */
#define FORMAT_USEC_MAX 64
char *format_usec(char buf[static FORMAT_USEC_MAX], usec_t t);
