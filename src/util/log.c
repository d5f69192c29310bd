/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A line is put together on the stack and leaves in one system call, so lines of several threads
 * never mix and logging needs neither a lock nor memory. What is longer than the buffer is cut.
 * Control characters become blanks, and what is not UTF-8 question marks: a text that came from a
 * client can neither forge a second line or field nor move the cursor of a terminal, and journalctl
 * takes it for text.
 *
 * sd_journal_sendv() would wait for room in the journal's socket, and with it the main loop for a
 * journal that hangs; and what does not fit it passes on as a file. So the datagrams of the
 * journal's native protocol are written here: without line feeds in any value they are lines of
 * NAME=value, they are small, and MSG_DONTWAIT is one flag. The socket is not connected, so whoever
 * has the name at the time gets them. */

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util/fd.h"
#include "util/log.h"
#include "util/message-ids.h"
#include "util/parse.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

#define LINE_SIZE 4096
#define PREFIX_SIZE 3 /* "<N>" */
#define FIELDS_SIZE 1024

/* An entry of the journal, as it is sent. */
typedef struct Entry {
        size_t size;
        char data[LINE_SIZE + FIELDS_SIZE];
} Entry;

typedef enum Sent {
        SENT,
        SENT_NOT,  /* there is no journal */
        SENT_LATE, /* it had no room */
} Sent;

/* An atomic, as any thread may log while the main thread changes the level; no other data hangs on
 * it, so relaxed is enough. */
static atomic_int max_level = LOG_INFO;

/* Entries that found no room and were not told of. Relaxed, for the same reason. */
static _Atomic uint64_t n_lost;

/* Found out once, and constant from then on. */
static pthread_once_t journal_once = PTHREAD_ONCE_INIT;
static bool stderr_is_journal;
static int journal_fd = -EBADF; /* never closed: who logs last is not known */
static struct sockaddr_un journal_address;

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
static bool is_journal_stream(int fd) {
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;

        return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &st) >= 0 &&
               st.st_dev == device && st.st_ino == inode;
}

static void find_journal(void) {
        const char *path = secure_getenv("SLUICE_JOURNAL_SOCKET");

        stderr_is_journal = is_journal_stream(STDERR_FILENO);
        if (!path && stderr_is_journal)
                path = JOURNAL_SOCKET;
        if (!path || fd_unix_address(path, &journal_address) < 0)
                return;
        journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

bool log_has_fields(void) {
        (void) pthread_once(&journal_once, find_journal);
        return journal_fd >= 0;
}

/* One line that can be shown to people. */
static void make_plain(char *text) {
        for (char *s = text; *s;) {
                size_t n = utf8_length(s);

                if (n == 0)
                        *s = '?';
                else if (utf8_is_control(s))
                        memset(s, ' ', n);
                s += MAX(n, (size_t) 1);
        }
}

/* ---- the journal ---- */

/* What does not fit is left out, as half a value would be another one. */
static void entry_add(Entry *entry, const char *name, const char *value) {
        char *end = entry->data + entry->size;
        size_t left = sizeof(entry->data) - entry->size, size = strlen(name) + strlen(value) + 2;

        if (size >= left)
                return;
        (void) snprintf(end, left, "%s=%s", name, value);
        make_plain(end);
        end[size - 1] = '\n';
        entry->size += size;
}

static void entry_add_text(Entry *entry, const char *name, const char *value) {
        if (value)
                entry_add(entry, name, value);
}

static void entry_add_number(Entry *entry, const char *name, uint64_t value) {
        char text[24];

        (void) snprintf(text, sizeof(text), "%" PRIu64, value);
        entry_add(entry, name, text);
}

static void entry_init(Entry *entry, int level, const LogFields *fields, const char *text) {
        entry->size = 0;
        entry_add(entry, "MESSAGE", text);
        entry_add_number(entry, "PRIORITY", (uint64_t) (level & LOG_PRIMASK));
        entry_add_number(entry, "SYSLOG_FACILITY", LOG_FAC(LOG_DAEMON));
        entry_add(entry, "SYSLOG_IDENTIFIER",
                fields && fields->identifier ? fields->identifier : program_invocation_short_name);
        if (!fields)
                return;
        if (fields->pid > 0)
                entry_add_number(entry, "SYSLOG_PID", (uint64_t) fields->pid);
        if (fields->error != 0)
                entry_add_number(entry, "ERRNO", (uint64_t) abs(fields->error));
        entry_add_text(entry, "MESSAGE_ID", fields->message_id);
        entry_add_text(entry, "SLUICE_POOL", fields->pool);
        entry_add_text(entry, "SLUICE_PIPELINE", fields->pipeline);
        entry_add_text(entry, "SLUICE_BREAKER", fields->breaker);
        if (fields->job > 0)
                entry_add_number(entry, "SLUICE_JOB", fields->job);
        entry_add_text(entry, "SLUICE_RESULT", fields->result);
        if (fields->owner)
                entry_add_number(entry, "SLUICE_OWNER", *fields->owner);
}

static Sent entry_send(const Entry *entry) {
        if (sendto(journal_fd, entry->data, entry->size, MSG_DONTWAIT | MSG_NOSIGNAL,
                    (const struct sockaddr *) &journal_address, sizeof(journal_address)) >= 0)
                return SENT;
        return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? SENT_LATE : SENT_NOT;
}

/* Before the next one, where they would have been. */
static void tell_lost(Entry *entry) {
        uint64_t n = atomic_exchange_explicit(&n_lost, 0, memory_order_relaxed);
        char text[80];

        if (likely(n == 0))
                return;
        (void) snprintf(text, sizeof(text),
                "The journal had no room: %" PRIu64 " lines from here are lost", n);
        entry_init(entry, LOG_WARNING, LOG_FIELDS(.message_id = MESSAGE_LINES_LOST), text);
        if (entry_send(entry) != SENT)
                (void) atomic_fetch_add_explicit(&n_lost, n, memory_order_relaxed);
}

/* False: it is to be told elsewhere. */
static bool tell_journal(int level, const LogFields *fields, const char *text) {
        Entry entry;
        Sent sent;

        tell_lost(&entry);
        entry_init(&entry, level, fields, text);
        sent = entry_send(&entry);
        if (sent == SENT_LATE)
                (void) atomic_fetch_add_explicit(&n_lost, 1, memory_order_relaxed);
        return sent != SENT_NOT;
}

/* ---- all ---- */

void log_internal(int level, const LogFields *fields, const char *format, ...) {
        char buffer[PREFIX_SIZE + LINE_SIZE], *text = buffer + PREFIX_SIZE, *line = text;
        int saved_errno = errno;
        va_list arguments;
        size_t size;

        /* One byte is kept for the line feed, which takes the place of the NUL. */
        va_start(arguments, format);
        (void) vsnprintf(text, LINE_SIZE - 1, format, arguments);
        va_end(arguments);
        size = strlen(text);
        if (fields && fields->error != 0) {
                char error[64];

                (void) snprintf(text + size, LINE_SIZE - size - 1, ": %s",
                        strerror_r(abs(fields->error), error, sizeof(error)));
                size += strlen(text + size);
        }
        make_plain(text);

        if (!log_has_fields() || !tell_journal(level, fields, text)) {
                if (stderr_is_journal) {
                        line = buffer;
                        line[0] = '<';
                        line[1] = (char) ('0' + (level & LOG_PRIMASK));
                        line[2] = '>';
                }
                text[size++] = '\n';
                /* There is nobody to tell that the log cannot be written. */
                if (write(STDERR_FILENO, line, (size_t) (text + size - line)) < 0)
                        errno = saved_errno;
        }
        errno = saved_errno;
}
