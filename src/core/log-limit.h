/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* LogLimit: at most `max` lines about one thing in an interval, which begins with the first of
 * them; of the others there is told how many they were. Pure; the caller brings the time. Not
 * thread-safe: the caller holds its lock. */

#include <stdbool.h>
#include <stdint.h>

#include "util/time.h"

typedef struct LogLimit LogLimit;

/* About one object: so many lines in this time. */
#define OBJECT_LOG_INTERVAL USEC_PER_MINUTE
#define OBJECT_LOG_LINES 10

struct LogLimit {
        usec_t interval; /* constant */
        uint32_t max;    /* constant */
        uint32_t n_taken;
        usec_t ends_at; /* of the interval; 0 = none has begun */
        uint64_t n_left_out;
};

void log_limit_init(LogLimit *limit, uint32_t max, usec_t interval);

/* Ends an interval that is over. How many lines were left out in it, which is to be told now; 0 if
 * there is nothing to tell. To be asked before log_limit_take(). */
uint64_t log_limit_advance(LogLimit *limit, usec_t now);

/* May this line be told? Else it is counted. */
bool log_limit_take(LogLimit *limit, usec_t now);

/* Ends the interval, over or not. As log_limit_advance(). */
uint64_t log_limit_end(LogLimit *limit);

/* When there is something to be told of lines that were left out; USEC_INFINITY = none were. */
usec_t log_limit_wake_at(const LogLimit *limit);
