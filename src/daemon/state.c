/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where the durable state is. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/daemon-private.h"
#include "engine/durable.h"
#include "util/log.h"
#include "util/message-ids.h"

/* The daemon before us may still be writing what its stop left to be written. */
#define STORE_PATIENCE (30 * USEC_PER_SEC)

#define SYSTEM_STATE "/var/lib/sluice"

static int user_state(char **ret) {
        const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
        int r;

        if (state && state[0] == '/')
                r = asprintf(ret, "%s/sluice", state);
        else if (home && home[0] == '/')
                r = asprintf(ret, "%s/.local/state/sluice", home);
        else
                return 0;
        return r < 0 ? -ENOMEM : 1;
}

/* 1, or 0 if there is no folder to be used without having been asked for it: a daemon without a bus
 * leaves nothing behind. */
static int find_state(const DaemonOptions *options, char **ret) {
        const char *given = options->state ?: secure_getenv("STATE_DIRECTORY");
        char *path;

        if (!given && options->no_bus)
                return 0;
        if (!given && options->user)
                return user_state(ret);
        /* systemd names several folders with colons between them. */
        path = given ? strndup(given, options->state ? strlen(given) : strcspn(given, ":"))
                     : strdup(SYSTEM_STATE);
        if (!path)
                return -ENOMEM;
        *ret = path;
        return 1;
}

/* The folders above that of a user may be missing in a new home. What goes wrong with them goes
 * wrong with it. */
static void make_parents(char *path) {
        for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                (void) mkdir(path, 0700);
                *slash = '/';
        }
}

/* Could the folder just not be made or used? */
static bool is_out_of_reach(int r) {
        return r == -EACCES || r == -EPERM || r == -EROFS || r == -ENOENT || r == -ENOTDIR;
}

int daemon_open_store(Daemon *daemon) {
        const DaemonOptions *options = daemon->options;
        bool is_asked_for = options->state || secure_getenv("STATE_DIRECTORY");
        _cleanup_free_ char *path = NULL, *error = NULL;
        int r;

        r = find_state(options, &path);
        if (r == 0)
                return 0;
        if (r > 0 && !is_asked_for && options->user)
                make_parents(path);
        if (r > 0)
                r = store_open(path, STORE_PATIENCE, &daemon->store, &error);
        /* Without it pools that are durable are refused. */
        if (is_out_of_reach(r) && !is_asked_for) {
                log_event(LOG_WARNING, LOG_FIELDS(.message_id = MESSAGE_STATE_NONE),
                        "No durable state: %s", error ?: strerror(-r));
                return 0;
        }
        if (r < 0) {
                log_error("Cannot open the durable state%s%s: %s", path ? " in " : "", path ?: "",
                        error ?: strerror(-r));
                return r;
        }
        r = engine_open_store(daemon->engine, daemon->store);
        return r < 0 ? log_error_errno(r, "Cannot open the durable state") : 0;
}

void daemon_check_store(Daemon *daemon) {
        if (!daemon->store || daemon->storage_failed || !store_has_failed(daemon->store))
                return;
        daemon->storage_failed = true;
        log_error("The durable state cannot be written any more: stopping");
        daemon_begin_stop(daemon);
}

void daemon_close_store(Daemon *daemon, bool orderly) {
        if (!daemon->store)
                return;
        engine_close_store(daemon->engine);
        daemon->store = store_close(daemon->store, orderly);
}
