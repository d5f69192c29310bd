/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/environment.h"

#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "handler/handler.h"
#include "util/strv.h"

#define PATH_FIXED "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Names that a program, its loader or a library takes for something that it was given by whoever
 * starts services: an inheritance that jobs do not have. A name that ends in `_` stands for all
 * that start so. */
static const char *const forbidden[] = {
        "DBUS_",
        "LD_",
        "LISTEN_",
        "NOTIFY_SOCKET",
        "SLUICE_",
        "WATCHDOG_",
};

static bool variable_is_valid(const char *setting) {
        size_t n =
                strspn(setting, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

        return n > 0 && setting[n] == '=' && !(setting[0] >= '0' && setting[0] <= '9');
}

static bool variable_is_forbidden(const char *setting) {
        for (size_t i = 0; i < ELEMENTSOF(forbidden); i++) {
                size_t n = strlen(forbidden[i]);

                if (strncmp(setting, forbidden[i], n) == 0 &&
                        (forbidden[i][n - 1] == '_' || setting[n] == '='))
                        return true;
        }
        return false;
}

/* Puts the variable in, in place of one of the same name. 0 or -ENOMEM. */
static int set_variable(char ***environment, const char *variable) {
        size_t n = strcspn(variable, "=") + 1;

        for (char **v = *environment; v && *v; v++)
                if (strncmp(*v, variable, n) == 0) {
                        char *copy = strdup(variable);

                        if (!copy)
                                return -ENOMEM;
                        free(*v);
                        *v = copy;
                        return 0;
                }

        return strv_extend(environment, variable);
}

static int set_value(char ***environment, const char *name, const char *value) {
        _cleanup_free_ char *variable = NULL;

        if (asprintf(&variable, "%s=%s", name, value) < 0)
                return -ENOMEM;
        return set_variable(environment, variable);
}

/* A user without an entry is known by number, and at home nowhere. */
static int set_user(char ***environment) {
        char buffer[4096], number[16];
        struct passwd entry, *found = NULL;
        const char *name = number;
        int r;

        (void) snprintf(number, sizeof(number), "%u", (unsigned) geteuid());
        if (getpwuid_r(geteuid(), &entry, buffer, sizeof(buffer), &found) == 0 && found)
                name = entry.pw_name;

        r = set_value(environment, "HOME", found ? entry.pw_dir : "/");
        if (r >= 0)
                r = set_value(environment, "LOGNAME", name);
        if (r >= 0)
                r = set_value(environment, "USER", name);
        if (r >= 0)
                r = set_value(environment, "SHELL",
                        found && *entry.pw_shell ? entry.pw_shell : "/bin/sh");
        return r;
}

int environment_new(char *const *settings, const char *pool, char ***ret, char **ret_error) {
        _cleanup_strv_ char **environment = NULL;
        int r;

        r = strv_extend(&environment, "PATH=" PATH_FIXED);
        if (r >= 0)
                r = strv_extend(&environment, "LANG=C.UTF-8");
        if (r >= 0)
                r = set_user(&environment);
        if (r >= 0)
                r = set_value(&environment, "SLUICE_POOL", pool);
        if (r < 0)
                return r;

        STRV_FOREACH (setting, settings) {
                if (!variable_is_valid(*setting))
                        return handler_refuse(ret_error, -EINVAL,
                                "Environment=: \"%s\" is not of the form KEY=VALUE", *setting);
                if (variable_is_forbidden(*setting))
                        return handler_refuse(ret_error, -EINVAL,
                                "Environment=: %.*s cannot be set for jobs",
                                (int) strcspn(*setting, "="), *setting);
                r = set_variable(&environment, *setting);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(environment);
        return 0;
}
