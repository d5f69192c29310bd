/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/stderr-log.h"

#include <inttypes.h>
#include <string.h>

#include "util/log.h"
#include "util/macro.h"

void stderr_log_init(StderrLog *log, const char *pool) {
        *log = (StderrLog){ .pool = pool };
}

static void tell_left_out(StderrLog *log) {
        if (log->n_left_out > 0)
                log_info("Pool %s: coprocess %d and those before it: %" PRIu64
                         " more lines were left out",
                        log->pool, (int) log->pid, log->n_left_out);
        log->n_left_out = 0;
}

static void end_line(StderrLog *log, usec_t now) {
        if (log->size > 0) {
                stderr_log_wake(log, now);
                if (log->interval_ends == 0)
                        log->interval_ends = usec_add(now, STDERR_LOG_INTERVAL);
                if (log->n_logged < STDERR_LOG_LINES) {
                        log->line[log->size] = '\0';
                        log->n_logged++;
                        log_info("Pool %s: coprocess %d: %s%s", log->pool, (int) log->pid,
                                log->line, log->cut ? "…" : "");
                } else
                        log->n_left_out++;
        }
        log->size = 0;
        log->cut = false;
}

static void add_to_line(StderrLog *log, const char *data, size_t n) {
        size_t added = MIN(n, STDERR_LOG_LINE_MAX - log->size);

        memcpy(log->line + log->size, data, added);
        /* A NUL byte would end the text. */
        for (size_t i = log->size; i < log->size + added; i++)
                if (log->line[i] == '\0')
                        log->line[i] = '?';
        log->size += added;
        log->cut |= added < n;
}

void stderr_log_add(StderrLog *log, pid_t pid, const char *data, size_t n, usec_t now) {
        log->pid = pid;
        while (n > 0) {
                const char *end = memchr(data, '\n', n);
                size_t size = end ? (size_t) (end - data) : n;

                add_to_line(log, data, size);
                if (!end)
                        return;
                end_line(log, now);
                data = end + 1;
                n -= size + 1;
        }
}

void stderr_log_end(StderrLog *log, usec_t now) {
        end_line(log, now);
}

void stderr_log_done(StderrLog *log) {
        tell_left_out(log);
}

usec_t stderr_log_wake_at(const StderrLog *log) {
        return log->n_left_out > 0 ? log->interval_ends : USEC_INFINITY;
}

void stderr_log_wake(StderrLog *log, usec_t now) {
        if (log->interval_ends == 0 || now < log->interval_ends)
                return;
        tell_left_out(log);
        log->interval_ends = 0;
        log->n_logged = 0;
}
