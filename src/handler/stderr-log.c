/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/stderr-log.h"

#include <inttypes.h>
#include <string.h>

#include "util/log.h"
#include "util/macro.h"
#include "util/message-ids.h"

void stderr_log_init(StderrLog *log, const char *pool, const char *noun, const char *program) {
        const char *slash = strrchr(program, '/');

        *log = (StderrLog){
                .pool = pool,
                .noun = noun,
                .program = slash ? slash + 1 : program,
        };
        log_limit_init(&log->limit, STDERR_LOG_LINES, STDERR_LOG_INTERVAL);
}

static void tell_left_out(const StderrLog *log, uint64_t n) {
        if (n > 0)
                log_event(LOG_INFO,
                        LOG_FIELDS(.message_id = MESSAGE_LINES_LEFT_OUT, .pool = log->pool),
                        "Pool %s: %s %d and those before it: %" PRIu64 " more lines were left out",
                        log->pool, log->noun, (int) log->pid, n);
}

/* May one more be told? */
static bool take_line(StderrLog *log, usec_t now) {
        stderr_log_wake(log, now);
        return log_limit_take(&log->limit, now);
}

static void tell_line(const StderrLog *log) {
        const char *ellipsis = log->cut ? "…" : "";

        if (log_has_fields())
                log_event(LOG_INFO,
                        LOG_FIELDS(.pool = log->pool, .job = log->job, .identifier = log->program,
                                .pid = log->pid),
                        "%s%s", log->line, ellipsis);
        else
                log_info("Pool %s: %s %d: %s%s", log->pool, log->noun, (int) log->pid, log->line,
                        ellipsis);
}

static void end_line(StderrLog *log, usec_t now) {
        if (log->size > 0 && take_line(log, now)) {
                log->line[log->size] = '\0';
                tell_line(log);
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

void stderr_log_begin(StderrLog *log, pid_t pid) {
        log->pid = pid;
}

void stderr_log_add(StderrLog *log, const char *data, size_t n, usec_t now) {
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

void stderr_log_tell_end(StderrLog *log, const char *text, usec_t now) {
        if (take_line(log, now))
                log_event(LOG_WARNING,
                        LOG_FIELDS(.message_id = MESSAGE_COPROCESS_ENDED, .pool = log->pool),
                        "Pool %s: %s %d: %s", log->pool, log->noun, (int) log->pid, text);
}

void stderr_log_done(StderrLog *log) {
        tell_left_out(log, log_limit_end(&log->limit));
}

usec_t stderr_log_wake_at(const StderrLog *log) {
        return log_limit_wake_at(&log->limit);
}

void stderr_log_wake(StderrLog *log, usec_t now) {
        tell_left_out(log, log_limit_advance(&log->limit, now));
}
