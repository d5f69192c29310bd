/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The log: one line per event. Where standard error is a stream to the journal, as systemd says by
 * $JOURNAL_STREAM, it goes to the journal as an entry with fields, by which it can be found. If the
 * journal is not there, to that stream with the <N> priority prefix of sd-daemon(3); and everywhere
 * else as plain text to standard error. $SLUICE_JOURNAL_SOCKET names the journal's socket where it
 * is elsewhere, and is believed whatever standard error is.
 * Only `daemon`, `bus` and `ctl` log, everything else returns its error; but `handler` passes on
 * what children say, and `store` and the recovery of its jobs say what has become of these, to
 * which no answer belongs. Thread-safe, and an entry to the journal is never waited for: one that
 * finds no room there is lost, and counted in the next one. */

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <syslog.h>

#include "util/macro.h"

typedef struct LogFields LogFields;

/* What an event is about: fields of its entry in the journal. All borrowed, only for the call; what
 * is NULL or 0 is left out. */
struct LogFields {
        const char *message_id; /* MESSAGE_ID=, of util/message-ids.h */
        const char *pool;       /* SLUICE_POOL= */
        const char *pipeline;   /* SLUICE_PIPELINE= */
        const char *breaker;    /* SLUICE_BREAKER= */
        uint64_t job;           /* SLUICE_JOB= */
        const char *result;     /* SLUICE_RESULT=, as on D-Bus */
        const uid_t *owner;     /* SLUICE_OWNER= */
        const char *identifier; /* SYSLOG_IDENTIFIER=, of whom the text comes; NULL = of us */
        pid_t pid;              /* SYSLOG_PID=, likewise */
        int error;              /* ERRNO=, may be negative; the text ends in that of the error */
};

#define LOG_FIELDS(...) (&(const LogFields){ __VA_ARGS__ })

void log_set_level(int level);            /* LOG_ERR … LOG_DEBUG; the default is LOG_INFO */
int log_level_from_string(const char *s); /* err warning notice info debug, or 0 to 7; -EINVAL */
int log_get_level(void);

/* Do fields get anywhere? Else the text has to say it all. */
bool log_has_fields(void);

void log_internal(int level, const LogFields *fields, const char *format, ...) _printf_(3, 4);

/* log_event(LOG_WARNING, LOG_FIELDS(.pool = name), "Pool %s: …", name). `fields` may be NULL. */
#define log_event(level, fields, ...) \
        ((level) <= log_get_level() ? log_internal((level), (fields), __VA_ARGS__) : (void) 0)

#define log_error(...) log_event(LOG_ERR, NULL, __VA_ARGS__)
#define log_warning(...) log_event(LOG_WARNING, NULL, __VA_ARGS__)
#define log_notice(...) log_event(LOG_NOTICE, NULL, __VA_ARGS__)
#define log_info(...) log_event(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_event(LOG_DEBUG, NULL, __VA_ARGS__)

/* Logs "…: <text of the error>" and evaluates to the negative errno that it was given. */
#define log_errno(level, r, ...)                                          \
        ({                                                                \
                int _r = (r);                                             \
                log_event((level), LOG_FIELDS(.error = _r), __VA_ARGS__); \
                _r;                                                       \
        })
#define log_error_errno(r, ...) log_errno(LOG_ERR, (r), __VA_ARGS__)
#define log_warning_errno(r, ...) log_errno(LOG_WARNING, (r), __VA_ARGS__)
