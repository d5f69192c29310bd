/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* StderrLog: what long-lived children write to their standard error, in our log line by line, with
 * the pool and the pid before it. At most so many lines in a while: of the others there is told how
 * many they were. How a child has ended, where no job tells it, is said there too. Told the time;
 * used by one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/time.h"

typedef struct StderrLog StderrLog;

#define STDERR_LOG_INTERVAL (10 * USEC_PER_SEC)
#define STDERR_LOG_LINES 50 /* in one interval */
#define STDERR_LOG_LINE_MAX 1024

struct StderrLog {
        const char *pool; /* borrowed */
        pid_t pid;
        usec_t interval_ends; /* 0 = none has begun */
        unsigned n_logged;
        uint64_t n_left_out;
        size_t size; /* of the line that is not complete */
        bool cut;    /* the rest of that line is dropped */
        char line[STDERR_LOG_LINE_MAX + 1];
};

void stderr_log_init(StderrLog *log, const char *pool);
void stderr_log_done(StderrLog *log); /* tells how many lines were left out */

/* n bytes that child `pid` has written. Empty lines are left away. */
void stderr_log_add(StderrLog *log, pid_t pid, const char *data, size_t n, usec_t now);

/* The child is gone: a line that was not completed is one. Children that end again and again do so
 * within the same measure. */
void stderr_log_end(StderrLog *log, usec_t now);

/* When it is to be told how many lines were left out; USEC_INFINITY = none were. */
usec_t stderr_log_wake_at(const StderrLog *log);
void stderr_log_wake(StderrLog *log, usec_t now);
