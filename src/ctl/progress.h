/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How far a long piece of work is: the figures, which are told and computed without a clock of
 * their own, and the bar on the terminal at standard error. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/time.h"

#define FRACTION_UNKNOWN (-1.0)

typedef struct Progress {
        uint64_t done, failed; /* jobs; the failed ones are among those done */
        double fraction;       /* of all the work, 0 to 1, or FRACTION_UNKNOWN */
        usec_t started_at, sampled_at;
        double rate;          /* jobs per second, of the last seconds */
        double fraction_rate; /* the same of the fraction */
} Progress;

void progress_init(Progress *progress, usec_t now);
void progress_sample(
        Progress *progress, uint64_t done, uint64_t failed, double fraction, usec_t now);

/* USEC_INFINITY while nobody can know. */
usec_t progress_time_left(const Progress *progress);

/* One line of at most so many columns, such as " 45% [####------] 1234 done, 1.9k/s, 2s left". */
char *progress_line(const Progress *progress, usec_t now, size_t columns);

/* Can a bar be drawn: is standard error a terminal that does what it is told? */
bool progress_bar_is_possible(void);

/* Draws the line, or takes it away so that something else can be printed. */
void progress_bar_draw(const Progress *progress, usec_t now);
void progress_bar_hide(void);
