/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The log: one line per event to standard error, with the <N> priority prefix of sd-daemon(3) where
 * that is a stream to the journal. Only `daemon`, `bus` and `ctl` log, everything else returns its
 * error; but `handler` passes on what long-lived children say, and `store` says what has become of
 * its files, to which no answer belongs.
 * Thread-safe. */

#include <stdarg.h>
#include <syslog.h>

#include "util/macro.h"

void log_set_level(int level);            /* LOG_ERR … LOG_DEBUG; the default is LOG_INFO */
int log_level_from_string(const char *s); /* err warning notice info debug, or 0 to 7; -EINVAL */
int log_get_level(void);

void log_internal(int level, const char *format, ...) _printf_(2, 3);

#define log_full(level, ...) \
        ((level) <= log_get_level() ? log_internal((level), __VA_ARGS__) : (void) 0)
#define log_error(...) log_full(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_full(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_full(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_full(LOG_DEBUG, __VA_ARGS__)

/* Logs "…: <text of the error>" and evaluates to the negative errno that it was given. */
int log_errno_internal(int level, int r, const char *format, ...) _printf_(3, 4);
#define log_error_errno(r, ...) log_errno_internal(LOG_ERR, (r), __VA_ARGS__)
#define log_warning_errno(r, ...) log_errno_internal(LOG_WARNING, (r), __VA_ARGS__)
