/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/text.h"

#define SYSTEM_SOCKET "/run/sluice/bus"
#define USER_SOCKET "sluice/bus" /* in $XDG_RUNTIME_DIR */

#define BUS_ERROR_PREFIX "org.freedesktop.DBus.Error."

/* A file name as an address. What D-Bus does not take literally is written as %xx. */
static char *address_of_path(const char *path) {
        static const char digits[] = "0123456789abcdef";
        char *address = malloc(strlen("unix:path=") + 3 * strlen(path) + 1), *p;

        if (!address)
                text_out_of_memory();
        p = stpcpy(address, "unix:path=");
        for (; *path; path++)
                if (isascii(*path) && (isalnum(*path) || strchr("-_/.\\*", *path)))
                        *p++ = *path;
                else {
                        *p++ = '%';
                        *p++ = digits[(unsigned char) *path >> 4];
                        *p++ = digits[(unsigned char) *path & 0xf];
                }
        *p = 0;
        return address;
}

/* Speaks as the client of a bus, which the daemon's own socket understands as well. */
static int open_address(const char *address, sd_bus **ret) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, true);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(bus);
        return 0;
}

/* Does the daemon run? To ask does not start it. */
static bool daemon_runs(sd_bus *bus) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int owned = 0;

        return sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                       "org.freedesktop.DBus", "NameHasOwner", NULL, &reply, "s",
                       SLUICE_NAME) >= 0 &&
               sd_bus_message_read(reply, "b", &owned) >= 0 && owned;
}

/* Is the daemon on this bus, or was it started by asking? */
static bool daemon_is_on_bus(sd_bus *bus) {
        return sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                       "org.freedesktop.DBus", "StartServiceByName", NULL, NULL, "su", SLUICE_NAME,
                       (uint32_t) 0) >= 0;
}

static char *direct_socket(bool user) {
        const char *runtime = getenv("XDG_RUNTIME_DIR");

        if (!user)
                return text_copy(SYSTEM_SOCKET);
        return runtime ? text_format("%s/%s", runtime, USER_SOCKET) : NULL;
}

/* Where it may be, for somebody who did not reach it. */
static void advise(const Ctl *ctl) {
        fprintf(stderr,
                "Start it with \"systemctl %sstart sluiced\", or say with %s--address= or "
                "$SLUICE_ADDRESS where it listens.\n",
                ctl->user ? "--user " : "", ctl->user ? "" : "--user, ");
}

static int connection_failure(const Ctl *ctl, int r, const char *where) {
        r = failure(r, "connect to %s", where);
        advise(ctl);
        return r;
}

/* The bus, but the daemon's own socket if it is only to be found there. */
static int open_bus(Ctl *ctl) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_free_ char *path = direct_socket(ctl->user), *address = NULL, *where = NULL;
        int r, k;

        r = ctl->user ? sd_bus_open_user(&bus) : sd_bus_open_system(&bus);
        if (r >= 0 && ctl->no_start && !daemon_runs(bus)) {
                /* Behind the socket there may be systemd, which would start it as well. */
                (void) fflush(stdout);
                fprintf(stderr, "Failed to reach sluiced: it is not running\n");
                return -EHOSTDOWN;
        }
        if (r >= 0 && (!path || access(path, F_OK) < 0 || daemon_is_on_bus(bus))) {
                /* Whoever runs this may be prompted for what is not his to do. */
                (void) sd_bus_set_allow_interactive_authorization(bus, true);
                ctl->bus = TAKE_PTR(bus);
                return 0;
        }
        if (!path)
                return connection_failure(ctl, r, "the session bus");

        /* There is no bus, or only the socket. */
        address = address_of_path(path);
        k = open_address(address, &ctl->bus);
        if (k >= 0)
                return 0;
        if (r >= 0 || k != -ENOENT)
                return connection_failure(ctl, k, path);
        where = text_format("the %s bus, nor to %s", ctl->user ? "session" : "system", path);
        return connection_failure(ctl, r, where);
}

int bus_connect(Ctl *ctl) {
        const char *address = ctl->address;
        int r;

        if (ctl->bus)
                return 0;
        if (!address && !ctl->system && !ctl->user)
                address = getenv("SLUICE_ADDRESS");
        if (address && *address) {
                _cleanup_free_ char *full =
                        address[0] == '/' ? address_of_path(address) : text_copy(address);

                r = open_address(full, &ctl->bus);
                return r < 0 ? connection_failure(ctl, r, address) : 0;
        }
        return open_bus(ctl);
}

int bus_new_call(Ctl *ctl, const char *path, const char *interface, const char *member,
        sd_bus_message **ret) {
        int r;

        r = bus_connect(ctl);
        if (r < 0)
                return r;
        r = sd_bus_message_new_method_call(ctl->bus, ret, SLUICE_NAME, path, interface, member);
        return r < 0 ? failure(r, "make a call of %s", member) : 0;
}

static bool starts_with(const char *s, const char *prefix) {
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_one_of(const char *name, const char *const *names) {
        for (; *names; names++)
                if (strcmp(name, *names) == 0)
                        return true;
        return false;
}

static const char *const no_daemon[] = {
        SD_BUS_ERROR_SERVICE_UNKNOWN,
        SD_BUS_ERROR_NAME_HAS_NO_OWNER,
        "org.freedesktop.DBus.Error.Spawn.ServiceNotFound",
        NULL,
};

static const char *const connection_lost[] = {
        SD_BUS_ERROR_NO_REPLY,
        SD_BUS_ERROR_DISCONNECTED,
        "System.Error.ECONNRESET",
        "System.Error.ENOTCONN",
        "System.Error.EPIPE",
        NULL,
};

/* What the error means to somebody who does not speak D-Bus; NULL: its own text says it. */
static const char *meaning(const char *path, const char *name) {
        if (is_one_of(name, no_daemon))
                return "sluiced is not running";
        if (is_one_of(name, connection_lost))
                return "the connection to sluiced was lost";
        if (strcmp(name, SD_BUS_ERROR_TIMEOUT) == 0)
                return "no answer in time";
        if (strcmp(name, SD_BUS_ERROR_UNKNOWN_OBJECT) != 0)
                return NULL;
        if (starts_with(path, SLUICE_PATH "/pool/"))
                return "no such pool";
        if (starts_with(path, SLUICE_PATH "/pipeline/"))
                return "no such pipeline";
        if (starts_with(path, SLUICE_PATH "/limiter/"))
                return "no such limiter";
        if (starts_with(path, SLUICE_PATH "/breaker/"))
                return "no such breaker";
        if (starts_with(path, SLUICE_PATH "/job/"))
                return "no such job";
        if (starts_with(path, SLUICE_PATH "/group/"))
                return "no such group";
        return NULL;
}

int bus_failure(
        const Ctl *ctl, const char *path, const sd_bus_error *error, const char *format, ...) {
        const char *dot = strrchr(error->name, '.'), *text = meaning(path, error->name);
        const char *name = dot ? dot + 1 : error->name;
        _cleanup_free_ char *clean = NULL;
        size_t length;
        va_list ap;

        if (strcmp(error->name, SD_BUS_ERROR_UNKNOWN_OBJECT) == 0)
                name = "NotFound";
        clean = text_clean(text ?: error->message ?: "no reason given", /* lines= */ true);
        length = strlen(clean);
        while (length > 0 && strchr(".\n", clean[length - 1]))
                clean[--length] = 0;

        (void) fflush(stdout);
        fputs("Failed to ", stderr);
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        /* Several faults stand below each other. */
        fprintf(stderr, strchr(clean, '\n') ? " (%2$s):\n%1$s\n" : ": %s (%s)\n", clean, name);
        if (is_one_of(error->name, no_daemon))
                advise(ctl);

        if (strcmp(error->name, SD_BUS_ERROR_INVALID_ARGS) == 0)
                return -EINVAL;
        return strcmp(error->name, SD_BUS_ERROR_TIMEOUT) == 0 ? -ETIMEDOUT : -EIO;
}

/* Sends the call; an error comes back with a name, also where it arose on our side. */
static int call(Ctl *ctl, sd_bus_message *m, usec_t timeout, sd_bus_error *error,
        sd_bus_message **ret_reply) {
        int r;

        r = sd_bus_call(ctl->bus, m, timeout, error, ret_reply);
        if (r < 0 && !sd_bus_error_is_set(error))
                (void) sd_bus_error_set_errno(error, r);
        return r;
}

int bus_call(Ctl *ctl, sd_bus_message *m, usec_t timeout, sd_bus_message **ret_reply,
        const char *format, ...) {
        _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_free_ char *what = NULL;
        va_list ap;

        if (call(ctl, m, timeout, &error, ret_reply) >= 0)
                return 0;
        va_start(ap, format);
        if (vasprintf(&what, format, ap) < 0)
                text_out_of_memory();
        va_end(ap);
        return bus_failure(ctl, sd_bus_message_get_path(m), &error, "%s", what);
}

int bus_get_all(Ctl *ctl, const char *path, const char *interface, bool optional, json_object **ret,
        const char *format, ...) {
        _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_free_ char *what = NULL;
        va_list ap;
        int r;

        r = bus_new_call(ctl, path, "org.freedesktop.DBus.Properties", "GetAll", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", interface);
        if (r < 0)
                return r;

        va_start(ap, format);
        if (vasprintf(&what, format, ap) < 0)
                text_out_of_memory();
        va_end(ap);
        if (call(ctl, m, CALL_DEFAULT, &error, &reply) < 0) {
                if (optional && sd_bus_error_has_name(&error, SD_BUS_ERROR_UNKNOWN_OBJECT))
                        return -ENOENT;
                return bus_failure(ctl, path, &error, "%s", what);
        }
        r = json_read_message(reply, ret);
        return r < 0 ? failure(r, "%s", what) : 0;
}
