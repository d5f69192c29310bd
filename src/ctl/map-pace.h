/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How many jobs `map` sends in one call, and how many it has under way. Pure: told what came back
 * and when.
 *
 * Calls of many short jobs are much cheaper than calls of one, but a call is answered only when all
 * its jobs have ended. So a call gets what the pool does in two milliseconds: one job at first and
 * wherever jobs take longer, more while they come back fast. Jobs that turn slow from one moment to
 * the next hold up the outputs of at most the block that they are in. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/time.h"

/* A system bus lets a connection have 128 calls under way. */
#define PACE_CALLS_MAX 100

typedef struct Pace {
        size_t jobs_max;             /* under way */
        size_t block_min, block_max; /* in one call */
        double rate;                 /* jobs per microsecond */
        double output_mean;          /* bytes per job */
        usec_t counting_since;
        uint64_t n_counted; /* jobs that ended since then */
} Pace;

/* Half of the queue is left to others; what runs is not in it. */
void pace_init(Pace *pace, uint64_t queue_max, uint64_t max_workers, usec_t now);

/* So many jobs came back, with so many bytes. */
void pace_report(Pace *pace, size_t n, size_t output_size, usec_t now);

/* How many jobs the next call should have. */
size_t pace_block(const Pace *pace, usec_t now);

/* May a call of that many be sent, with so much under way? One may always be. */
bool pace_may_send(const Pace *pace, size_t block, size_t n_calls, size_t n_jobs);
