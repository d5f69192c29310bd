/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A line is put together on the stack and leaves in one write(), so lines of several threads never
 * mix and logging needs neither a lock nor memory. What is longer than the buffer is cut. Control
 * characters become blanks: a text that came from a client cannot forge a second line or move the
 * cursor of a terminal. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "util/log.h"
#include "util/parse.h"

#define LINE_SIZE 4096

/* An atomic, as any thread may log while the main thread changes the level; no other data hangs on
 * it, so relaxed is enough. */
static atomic_int max_level = LOG_INFO;

static pthread_once_t journal_once = PTHREAD_ONCE_INIT;
static bool to_journal;

static const char *const level_names[] = {
        [LOG_EMERG] = "emerg",
        [LOG_ALERT] = "alert",
        [LOG_CRIT] = "crit",
        [LOG_ERR] = "err",
        [LOG_WARNING] = "warning",
        [LOG_NOTICE] = "notice",
        [LOG_INFO] = "info",
        [LOG_DEBUG] = "debug",
};

void log_set_level(int level) {
        atomic_store_explicit(&max_level, level, memory_order_relaxed);
}

int log_get_level(void) {
        return atomic_load_explicit(&max_level, memory_order_relaxed);
}

int log_level_from_string(const char *s) {
        uint64_t number;

        for (size_t i = 0; i < ELEMENTSOF(level_names); i++)
                if (strcmp(s, level_names[i]) == 0)
                        return (int) i;
        if (parse_uint64(s, LOG_EMERG, LOG_DEBUG, &number) < 0)
                return -EINVAL;
        return (int) number;
}

/* $JOURNAL_STREAM names the device and inode of the stream that systemd connected. It is inherited
 * by everything below the service, so it counts only while our standard error still is that one. */
static void find_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;

        to_journal = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
                     fstat(STDERR_FILENO, &st) >= 0 && st.st_dev == device && st.st_ino == inode;
}

_printf_(3, 0) static void log_line(
        int level, const char *suffix, const char *format, va_list arguments) {
        char line[LINE_SIZE];
        size_t start = 0, size;

        (void) pthread_once(&journal_once, find_journal);
        if (to_journal)
                start = (size_t) snprintf(line, sizeof(line), "<%i>", level & LOG_PRIMASK);

        /* One byte is kept for the line feed, which takes the place of the NUL. */
        (void) vsnprintf(line + start, sizeof(line) - start - 1, format, arguments);
        size = strlen(line);
        if (suffix) {
                (void) snprintf(line + size, sizeof(line) - size - 1, ": %s", suffix);
                size += strlen(line + size);
        }

        for (size_t i = start; i < size; i++)
                if ((unsigned char) line[i] < ' ' || line[i] == 127)
                        line[i] = ' ';
        line[size++] = '\n';

        /* There is nobody to tell that the log cannot be written. */
        if (write(STDERR_FILENO, line, size) < 0)
                return;
}

void log_internal(int level, const char *format, ...) {
        int saved_errno = errno;
        va_list arguments;

        va_start(arguments, format);
        log_line(level, NULL, format, arguments);
        va_end(arguments);
        errno = saved_errno;
}

int log_errno_internal(int level, int r, const char *format, ...) {
        int saved_errno = errno;
        const char *text;
        char buffer[64];
        va_list arguments;

        if (level > log_get_level())
                return r;

        text = strerror_r(r < 0 ? -r : r, buffer, sizeof(buffer));
        va_start(arguments, format);
        log_line(level, text, format, arguments);
        va_end(arguments);
        errno = saved_errno;
        return r;
}
