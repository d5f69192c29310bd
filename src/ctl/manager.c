/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The daemon as a whole: reading its settings again, and checking them without it. */

#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "ctl/bus.h"
#include "ctl/options.h"
#include "ctl/text.h"
#include "ctl/verbs.h"
#include "util/strv.h"

static int reload(Ctl *c, char **arguments) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = bus_new_call(c, SLUICE_PATH, MANAGER_INTERFACE, "Reload", &m);
        if (r >= 0)
                r = bus_call(c, m, CALL_FOREVER, NULL, "reload the settings; nothing was changed");
        /* The faults are in files, not on our command line. */
        return r == -EINVAL ? -EBADMSG : r;
}

const Verb verb_reload = {
        .name = "reload",
        .arguments = "",
        .summary = "Read all settings again, all or nothing",
        .details = "Any fault in any file is listed, and nothing is changed then. A changed file "
                   "replaces what "
                   "was set at run time, a vanished one drains and removes its pool.",
        .example = "sluicectl check && sluicectl reload",
        .max_arguments = 0,
        .run = reload,
};

static char **arg_config;

/* Beside us, as when it is not installed yet, then where it is installed, then in $PATH. */
static char *find_daemon(void) {
        char self[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

        if (n > 0) {
                static const char *const places[] = { "", "../daemon/", "../libexec/",
                        "../lib/sluice/", "../sbin/" };

                self[n] = 0;
                *(strrchr(self, '/') + 1) = 0;
                for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                        char *path = text_format("%s%ssluiced", self, places[i]);

                        if (access(path, X_OK) >= 0)
                                return path;
                        free(path);
                }
        }
        return text_copy("sluiced");
}

static int check(Ctl *c, char **arguments) {
        _cleanup_strv_ char **command = NULL;
        _cleanup_free_ char *daemon = find_daemon();
        int r;

        r = strv_extend(&command, daemon);
        if (r >= 0)
                r = strv_extend(&command, "--check");
        if (r >= 0 && (c->system || c->user))
                r = strv_extend(&command, c->user ? "--user" : "--system");
        STRV_FOREACH (directory, arg_config) {
                char *option = text_format("--config=%s", *directory);

                if (r >= 0)
                        r = strv_push(&command, option);
        }
        if (r < 0)
                return failure(r, "check the settings");
        (void) execvp(daemon, command);
        return failure(-errno, "run %s", daemon);
}

static const Option check_options[] = {
        { "config", 0, "DIR", &option_list, &arg_config,
                "Search here and nowhere else; repeatable" },
};

const Verb verb_check = {
        .name = "check",
        .arguments = "",
        .summary = "Check the settings files without loading them",
        .details = "Every fault is printed as FILE:LINE: message, and the exit status is 1 if "
                   "there is any. "
                   "sluiced need not run.",
        .example = "sluicectl check --config=./settings",
        .options = check_options,
        .n_options = ELEMENTSOF(check_options),
        .max_arguments = 0,
        .run = check,
};
