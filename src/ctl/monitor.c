/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What happens, as it happens: a line per signal of the daemon. */

#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/object.h"
#include "ctl/options.h"
#include "ctl/terminal.h"
#include "ctl/text.h"
#include "ctl/verbs.h"

#define PROPERTIES_INTERFACE "org.freedesktop.DBus.Properties"
#define OBJECT_MANAGER_INTERFACE "org.freedesktop.DBus.ObjectManager"

typedef struct Monitor {
        Ctl *ctl;    /* borrowed */
        char *owner; /* unique name of the daemon: anybody may send us a signal */
} Monitor;

/* Begins the line for people, or the object for programs. */
static void print_time(void) {
        usec_t now = usec_now(CLOCK_REALTIME);
        time_t seconds = (time_t) (now / USEC_PER_SEC);
        char text[16] = "";
        struct tm tm;

        if (localtime_r(&seconds, &tm))
                (void) strftime(text, sizeof(text), "%H:%M:%S", &tm);
        printf("%s%s.%03" PRIu64 "%s ", terminal_style(STYLE_FAINT), text,
                now / USEC_PER_MSEC % 1000, terminal_style_end(STYLE_FAINT));
}

static void print_event(const Ctl *c, const char *event, json_object *fields) {
        json_object *object = json_object_new_object();

        json_add(object, "Event", json_object_new_string(event));
        json_add(object, "TimeUSec", json_object_new_uint64(usec_now(CLOCK_REALTIME)));
        json_object_object_foreach(fields, key, value) {
                json_add(object, key, json_object_get(value));
        }
        json_print(c, object);
        json_object_put(object);
}

static int on_job_started(Monitor *monitor, sd_bus_message *m) {
        const char *pool;
        uint64_t id;
        int r;

        r = sd_bus_message_read(m, "ts", &id, &pool);
        if (r < 0)
                return r;
        if (monitor->ctl->json != JSON_OFF) {
                _cleanup_json_ json_object *fields = json_object_new_object();

                json_add(fields, "Id", json_object_new_uint64(id));
                json_add(fields, "Pool", json_object_new_string(pool));
                print_event(monitor->ctl, "JobStarted", fields);
                return 0;
        }
        print_time();
        printf("job %" PRIu64 " started in %s\n", id, pool);
        return 0;
}

static int on_job_finished(Monitor *monitor, sd_bus_message *m) {
        _cleanup_free_ char *span = NULL;
        const char *pool, *result;
        uint64_t id, duration;
        Style style;
        int r;

        r = sd_bus_message_read(m, "tsst", &id, &pool, &result, &duration);
        if (r < 0)
                return r;
        if (monitor->ctl->json != JSON_OFF) {
                _cleanup_json_ json_object *fields = json_object_new_object();

                json_add(fields, "Id", json_object_new_uint64(id));
                json_add(fields, "Pool", json_object_new_string(pool));
                json_add(fields, "Result", json_object_new_string(result));
                json_add(fields, "DurationUSec", json_object_new_uint64(duration));
                print_event(monitor->ctl, "JobFinished", fields);
                return 0;
        }
        style = terminal_style_of_state(result);
        span = text_span(duration);
        print_time();
        printf("job %" PRIu64 " in %s %s%s%s after %s\n", id, pool, terminal_style(style), result,
                terminal_style_end(style), span);
        return 0;
}

/* "pool gzip" for /org/sluice1/pool/gzip. */
static char *object_of_path(const char *path) {
        const char *rest = strncmp(path, SLUICE_PATH "/", strlen(SLUICE_PATH "/")) == 0
                                   ? path + strlen(SLUICE_PATH "/")
                                   : NULL;
        const char *slash = rest ? strchr(rest, '/') : NULL;
        _cleanup_free_ char *prefix = NULL, *name = NULL;

        if (!slash)
                return text_copy(strcmp(path, SLUICE_PATH) == 0 ? "sluiced" : path);
        prefix = text_format("%.*s", (int) (slash - path), path);
        if (sd_bus_path_decode(path, prefix, &name) <= 0)
                return text_copy(path);
        return text_format("%.*s %s", (int) (slash - rest), rest, name);
}

static void print_property(const char *key, json_object *value) {
        const char *s = json_object_get_string(value);
        _cleanup_free_ char *text = NULL;
        size_t length = strlen(key);
        Style style = STYLE_PLAIN;

        if (length > 4 && strcmp(key + length - 4, "USec") == 0 &&
                json_object_is_type(value, json_type_int)) {
                text = text_span(json_object_get_uint64(value));
                length -= 4;
        } else {
                text = text_clean(s ?: "", /* lines= */ false);
                if (strcmp(key, "State") == 0)
                        style = terminal_style_of_state(text);
        }
        printf(" %.*s=%s%s%s", (int) length, key, terminal_style(style), text,
                terminal_style_end(style));
}

static int on_properties_changed(Monitor *monitor, sd_bus_message *m) {
        _cleanup_free_ char *object = object_of_path(sd_bus_message_get_path(m));
        _cleanup_json_ json_object *changed = NULL;
        const char *interface;
        int r;

        r = sd_bus_message_read(m, "s", &interface);
        if (r >= 0)
                r = json_read_message(m, &changed);
        if (r < 0 || json_object_object_length(changed) == 0)
                return r;
        if (monitor->ctl->json != JSON_OFF) {
                _cleanup_json_ json_object *fields = json_object_new_object();

                json_add(fields, "Path", json_object_new_string(sd_bus_message_get_path(m)));
                json_add(fields, "Interface", json_object_new_string(interface));
                json_add(fields, "Properties", json_object_get(changed));
                print_event(monitor->ctl, "PropertiesChanged", fields);
                return 0;
        }
        print_time();
        printf("%s:", object);
        json_object_object_foreach(changed, key, value) {
                print_property(key, value);
        }
        putchar('\n');
        return 0;
}

static int on_object(Monitor *monitor, sd_bus_message *m, const char *member, const char *what) {
        _cleanup_free_ char *object = NULL;
        const char *path;
        int r;

        r = sd_bus_message_read(m, "o", &path);
        if (r < 0)
                return r;
        if (monitor->ctl->json != JSON_OFF) {
                _cleanup_json_ json_object *fields = json_object_new_object();

                json_add(fields, "Path", json_object_new_string(path));
                print_event(monitor->ctl, member, fields);
                return 0;
        }
        object = object_of_path(path);
        print_time();
        printf("%s %s\n", object, what);
        return 0;
}

/* A bus writes the unique name of the sender into each message, so nobody else has the daemon's. On
 * the daemon's own socket there is nobody else, and it need not write any. */
static bool is_from_daemon(const Monitor *monitor, const char *sender) {
        return !sender || strcmp(sender, monitor->owner) == 0 || strcmp(sender, SLUICE_NAME) == 0;
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Monitor *monitor = userdata;
        int r = 0;

        if (!is_from_daemon(monitor, sd_bus_message_get_sender(m)))
                return 0;
        if (sd_bus_message_is_signal(m, MANAGER_INTERFACE, "JobStarted") > 0)
                r = on_job_started(monitor, m);
        else if (sd_bus_message_is_signal(m, MANAGER_INTERFACE, "JobFinished") > 0)
                r = on_job_finished(monitor, m);
        else if (sd_bus_message_is_signal(m, PROPERTIES_INTERFACE, "PropertiesChanged") > 0)
                r = on_properties_changed(monitor, m);
        else if (sd_bus_message_is_signal(m, OBJECT_MANAGER_INTERFACE, "InterfacesAdded") > 0)
                r = on_object(monitor, m, "InterfacesAdded", "was made");
        else if (sd_bus_message_is_signal(m, OBJECT_MANAGER_INTERFACE, "InterfacesRemoved") > 0)
                r = on_object(monitor, m, "InterfacesRemoved", "was removed");
        if (r < 0)
                (void) failure(r, "read a signal");
        (void) fflush(stdout);
        return 0;
}

/* sluiced went away, or another one took its place. */
static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Monitor *monitor = userdata;
        const char *name, *old_owner, *new_owner;
        int r;

        r = sd_bus_message_read(m, "sss", &name, &old_owner, &new_owner);
        if (r < 0 || strcmp(name, SLUICE_NAME) != 0)
                return 0;
        free(monitor->owner);
        monitor->owner = text_copy(new_owner);
        if (!*new_owner) {
                notice(monitor->ctl, "sluiced has gone; waiting for it to come back.");
                return 0;
        }
        notice(monitor->ctl, "sluiced is back.");
        r = sd_bus_call_method_async(monitor->ctl->bus, NULL, SLUICE_NAME, SLUICE_PATH,
                MANAGER_INTERFACE, "Subscribe", NULL, NULL, NULL);
        if (r < 0)
                (void) failure(r, "subscribe again");
        return 0;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        fputs("The connection to sluiced was lost.\n", stderr);
        return sd_event_exit(sd_bus_get_event(sd_bus_message_get_bus(m)), EXIT_FAILURE);
}

static int listen_for_signals(Monitor *monitor) {
        static const char *const interfaces[] = { MANAGER_INTERFACE, PROPERTIES_INTERFACE,
                OBJECT_MANAGER_INTERFACE };
        sd_bus *bus = monitor->ctl->bus;
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(interfaces) && r >= 0; i++) {
                _cleanup_free_ char *match =
                        text_format("type='signal',path_namespace='%s',interface='%s'", SLUICE_PATH,
                                interfaces[i]);

                r = sd_bus_add_match(bus, NULL, match, on_signal, monitor);
        }
        if (r >= 0)
                r = sd_bus_match_signal(bus, NULL, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                        "org.freedesktop.DBus", "NameOwnerChanged", on_owner, monitor);
        if (r >= 0)
                r = sd_bus_match_signal(bus, NULL, NULL, "/org/freedesktop/DBus/Local",
                        "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, monitor);
        return r < 0 ? failure(r, "listen for signals") : 0;
}

static int subscribe(Monitor *monitor) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *owner;
        int r;

        r = bus_new_call(monitor->ctl, SLUICE_PATH, MANAGER_INTERFACE, "Subscribe", &m);
        if (r >= 0)
                r = bus_call(monitor->ctl, m, CALL_DEFAULT, NULL, "subscribe to sluiced");
        if (r < 0)
                return r;
        r = sd_bus_call_method(monitor->ctl->bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                "org.freedesktop.DBus", "GetNameOwner", &error, &reply, "s", SLUICE_NAME);
        if (r >= 0)
                r = sd_bus_message_read(reply, "s", &owner);
        if (r < 0)
                return failure(r, "find out who sluiced is");
        monitor->owner = text_copy(owner);
        return 0;
}

static int watch(Monitor *monitor) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        sigset_t mask;
        int r;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGINT);
        (void) sigaddset(&mask, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return failure(-errno, "block signals");
        r = sd_event_new(&event);
        /* Without a handler, these end the loop. */
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_bus_attach_event(monitor->ctl->bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_event_loop(event);
        (void) sd_bus_detach_event(monitor->ctl->bus);
        return r < 0 ? failure(r, "watch") : r;
}

static int monitor(Ctl *c, char **arguments) {
        Monitor self = { .ctl = c };
        int r;

        r = bus_connect(c);
        if (r >= 0)
                r = listen_for_signals(&self);
        if (r >= 0)
                r = subscribe(&self);
        if (r >= 0) {
                notice(c, "Watching; press Ctrl-C to end.");
                r = watch(&self);
        }
        free(self.owner);
        return r;
}

const Verb verb_monitor = {
        .name = "monitor",
        .arguments = "",
        .summary = "Show what happens, until Ctrl-C",
        .details = "Jobs that start and finish and groups that make progress (your own, root sees "
                   "all), and changes of state and settings. "
                   "With --json=, one object per event.",
        .example = "sluicectl monitor --json=short | jq -r 'select(.Result == \"failed\").Id'",
        .max_arguments = 0,
        .run = monitor,
};
