/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* StderrLog: what children write to their standard error, in our log line by line. In the journal a
 * line is told by the name of the program, with the pool and the job as fields; elsewhere it has
 * the pool and the pid before it. At most so many lines in a while: of the others there is told how
 * many they were. How a child has ended, where no job tells it, is said there too. Told the time;
 * used by one thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/log-limit.h"
#include "util/time.h"

typedef struct StderrLog StderrLog;

#define STDERR_LOG_INTERVAL (10 * USEC_PER_SEC)
#define STDERR_LOG_LINES 50 /* in one interval */
#define STDERR_LOG_LINE_MAX 1024

struct StderrLog {
        const char *pool, *program; /* borrowed */
        const char *noun;           /* static: what a child is called */
        pid_t pid;
        uint64_t job; /* what the child works on, set by the owner; 0 = nothing, or several jobs */
        LogLimit limit;
        size_t size; /* of the line that is not complete */
        bool cut;    /* the rest of that line is dropped */
        char line[STDERR_LOG_LINE_MAX + 1];
};

/* `program` is its path. */
void stderr_log_init(StderrLog *log, const char *pool, const char *noun, const char *program);
void stderr_log_done(StderrLog *log); /* tells how many lines were left out */

/* From now on it is what this child writes, also once it has ended. */
void stderr_log_begin(StderrLog *log, pid_t pid);

/* n bytes that the child has written. Empty lines are left away. */
void stderr_log_add(StderrLog *log, const char *data, size_t n, usec_t now);

/* The child is gone: a line that was not completed is one. Children that end again and again do so
 * within the same measure. */
void stderr_log_end(StderrLog *log, usec_t now);

/* How it has ended. */
void stderr_log_tell_end(StderrLog *log, const char *text, usec_t now);

/* When it is to be told how many lines were left out; USEC_INFINITY = none were. */
usec_t stderr_log_wake_at(const StderrLog *log);
void stderr_log_wake(StderrLog *log, usec_t now);
