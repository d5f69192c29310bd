/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The log keeps the name of its database with -wal behind it, so that tools find both. */

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "store/set-aside.h"
#include "util/log.h"
#include "util/message-ids.h"

#define NAME_MAX_SIZE 96

static const char *const suffixes[] = { "", "-wal", "-journal" };

static bool exists(int dir_fd, const char *name) {
        struct stat st;

        return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) >= 0;
}

/* A name of this moment that no file has. */
static void choose_name(int dir_fd, char name[static NAME_MAX_SIZE]) {
        time_t now = time(NULL);
        size_t size;
        struct tm tm;

        (void) gmtime_r(&now, &tm);
        size = strftime(name, NAME_MAX_SIZE, DATABASE_FILE ".corrupt-%Y%m%d-%H%M%S", &tm);
        for (unsigned n = 2; exists(dir_fd, name); n++)
                (void) snprintf(name + size, NAME_MAX_SIZE - size, "-%u", n);
}

int set_aside(int dir_fd, const char *dir, const char *why) {
        char name[NAME_MAX_SIZE];

        choose_name(dir_fd, name);
        /* The database first: of what is left if we end in between, nothing is taken for sound. */
        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
                char from[NAME_MAX_SIZE], to[NAME_MAX_SIZE + 16];

                (void) snprintf(from, sizeof(from), DATABASE_FILE "%s", suffixes[i]);
                (void) snprintf(to, sizeof(to), "%s%s", name, suffixes[i]);
                if (renameat(dir_fd, from, dir_fd, to) < 0 && errno != ENOENT)
                        return -errno;
        }
        if (fsync(dir_fd) < 0)
                return -errno;
        log_event(LOG_ERR, LOG_FIELDS(.message_id = MESSAGE_STATE_DAMAGED),
                "The state in %s is damaged: %s. Its jobs and objects are LOST to this daemon, "
                "which begins with none; the file was set aside as %s/%s.",
                dir, why, dir, name);
        return 0;
}

int set_stray_log_aside(int dir_fd, const char *dir) {
        struct stat st;

        if (fstatat(dir_fd, DATABASE_FILE, &st, 0) >= 0 && st.st_size > 0)
                return 0;
        if (!exists(dir_fd, DATABASE_FILE "-wal"))
                return 0;
        return set_aside(dir_fd, dir, "there is a log, but no database");
}
