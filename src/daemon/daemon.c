/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The daemon's life, but for its settings and its stop. */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/daemon-private.h"
#include "daemon/socket.h"
#include "engine/durable.h"
#include "util/log.h"

/* How long the last answers may take to be written. */
#define FLUSH_TIMEOUT USEC_PER_SEC

/* How long a start waits for the disk to take what it has decided. */
#define START_PATIENCE (5 * USEC_PER_SEC)

/* ---- notifications ---- */

void daemon_notify_status(Daemon *daemon) {
        EngineTotals totals;

        engine_totals(daemon->engine, &totals);
        (void) sd_notifyf(false, "STATUS=%" PRIu32 " pools%s", totals.n_pools,
                daemon->phase != STOP_NOT ? ", draining"
                : daemon->server->bus_is_wanted && !server_owns_name(daemon->server)
                        ? ", waiting for the bus"
                        : "");
}

static void notify_ready(Daemon *daemon) {
        if (!daemon->ready) {
                daemon->ready = true;
                (void) sd_notify(false, "READY=1");
                log_info("Ready");
        }
        daemon_notify_status(daemon);
}

static void on_name_owned(void *userdata) {
        notify_ready(userdata);
}

static void on_name_released(void *userdata) {
        daemon_name_released(userdata);
}

static void on_bus_lost(void *userdata) {
        /* A name goes with its connection. */
        daemon_name_released(userdata);
        daemon_notify_status(userdata);
}

/* ---- life ---- */

static const ServerOps server_ops = {
        .reload = daemon_reload,
};

static int on_reload_signal(
        sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        _cleanup_free_ char *error = NULL;
        Daemon *daemon = userdata;

        /* A pool that is made now would take jobs, and nobody would dismiss it. */
        if (daemon->phase != STOP_NOT)
                log_notice("Reload refused: sluiced is shutting down");
        else
                (void) daemon_reload(daemon, &error);
        return 0;
}

static int add_signals(Daemon *daemon) {
        sigset_t mask;
        int r;

        /* Before the first thread: workers inherit the mask. */
        (void) sigfillset(&mask);
        (void) sigdelset(&mask, SIGSEGV);
        (void) sigdelset(&mask, SIGBUS);
        (void) sigdelset(&mask, SIGILL);
        (void) sigdelset(&mask, SIGFPE);
        (void) sigdelset(&mask, SIGABRT);
        (void) sigdelset(&mask, SIGSYS);
        (void) sigdelset(&mask, SIGTRAP);
        (void) sigprocmask(SIG_SETMASK, &mask, NULL);

        r = sd_event_add_signal(daemon->event, NULL, SIGTERM, daemon_on_stop_signal, daemon);
        if (r >= 0)
                r = sd_event_add_signal(daemon->event, NULL, SIGINT, daemon_on_stop_signal, daemon);
        if (r >= 0)
                r = sd_event_add_signal(daemon->event, NULL, SIGHUP, on_reload_signal, daemon);
        return r < 0 ? log_error_errno(r, "Cannot watch for signals") : 0;
}

int daemon_open_socket(Daemon *daemon) {
        const DaemonOptions *options = daemon->options;
        int fd, r;

        r = socket_open(options->listen, options->user, &fd, &daemon->socket_path);
        if (r == -ENOENT && !options->listen)
                return 0;
        if (r < 0 && !options->listen && !options->no_bus) {
                (void) log_warning_errno(r, "No direct socket");
                return 0;
        }
        if (r < 0)
                return log_error_errno(
                        r, "Cannot listen on %s", options->listen ?: "the direct socket");
        r = server_listen(daemon->server, fd);
        return r < 0 ? log_error_errno(r, "Cannot serve the direct socket") : 0;
}

void daemon_close_socket(Daemon *daemon) {
        /* While we listen on it nobody else can have put another one there. */
        if (daemon->socket_path) {
                (void) unlink(daemon->socket_path);
                free(TAKE_PTR(daemon->socket_path));
        }
        server_stop_listening(daemon->server);
}

static HandlerBus bus_of(const DaemonOptions *options) {
        return options->no_bus ? HANDLER_BUS_NONE
               : options->user ? HANDLER_BUS_USER
                               : HANDLER_BUS_SYSTEM;
}

/* Units are those of the system, started by its systemd. */
static int find_units(Daemon *daemon) {
        int fd, r;

        if (daemon->engine->bus != HANDLER_BUS_SYSTEM || socket_find_units(&fd) < 0)
                return 0;
        r = units_new(daemon->event, HANDLER_BUS_SYSTEM, fd, /* peer_uid= */ 0, &daemon->units);
        if (r < 0)
                return log_error_errno(r, "Cannot serve the socket for units");
        daemon->engine->units = daemon->units;
        return 0;
}

/* What the start has decided (a file takes the place of what was made, a job was lost) is on the
 * disk before anybody is served. But one that is full does not hold it up. */
static int await_store(Daemon *daemon) {
        usec_t until = usec_add(usec_now(CLOCK_MONOTONIC), START_PATIENCE), now;
        int r;

        while (daemon->phase == STOP_NOT && !engine_is_stored(daemon->engine) &&
                !store_has_failed(daemon->store) && (now = usec_now(CLOCK_MONOTONIC)) < until) {
                r = sd_event_run(daemon->event, until - now);
                if (r < 0)
                        return r;
                engine_turn(daemon->engine);
        }
        return 0;
}

int daemon_new(const DaemonOptions *options, Daemon **ret) {
        _cleanup_(daemon_freep) Daemon *daemon = NULL;
        int r;

        daemon = calloc(1, sizeof(*daemon));
        if (!daemon)
                return log_error_errno(-ENOMEM, "Cannot start");
        daemon->options = options;
        daemon->drain_timeout = DRAIN_TIMEOUT_MAX;
        list_init(&daemon->replacements);
        list_init(&daemon->wanted);
        list_init(&daemon->rows);

        r = sd_event_default(&daemon->event);
        if (r >= 0)
                r = add_signals(daemon);
        if (r >= 0)
                r = daemon_add_idle_exit(daemon);
        if (r >= 0)
                r = engine_new(daemon->event, &daemon->engine);
        if (r >= 0)
                r = daemon_add_watchdog(daemon);
        if (r >= 0)
                r = server_new(daemon->engine, &server_ops, daemon, &daemon->server);
        if (r < 0)
                return log_error_errno(r, "Cannot start");
        daemon->engine->bus = bus_of(options);
        daemon->server->fairness = daemon_fairness(options);
        daemon->server->name_owned = on_name_owned;
        daemon->server->name_released = on_name_released;
        daemon->server->bus_lost = on_bus_lost;

        r = find_units(daemon);
        if (r >= 0)
                r = daemon_open_store(daemon);
        if (r >= 0 && daemon->store)
                r = daemon_read_rows(daemon);
        if (r >= 0)
                r = daemon_load(daemon);
        if (r < 0)
                return r;
        if (daemon->store) {
                r = engine_recover(daemon->engine);
                if (r >= 0)
                        r = await_store(daemon);
                if (r < 0)
                        return log_error_errno(r, "Cannot read the durable state");
        }
        r = daemon_open_socket(daemon);
        if (r < 0)
                return r;
        if (options->no_bus)
                notify_ready(daemon);
        else {
                r = server_connect_bus(daemon->server, options->user);
                if (r < 0)
                        return log_error_errno(r,
                                "Cannot connect to the %s bus; --no-bus would do without it",
                                options->user ? "session" : "system");
        }
        *ret = TAKE_PTR(daemon);
        return 0;
}

int daemon_run(Daemon *daemon) {
        for (;;) {
                int r;

                engine_turn(daemon->engine);
                daemon_check_store(daemon);
                daemon_look_for_idle(daemon);
                if (daemon->phase != STOP_NOT) {
                        daemon_proceed_to_stop(daemon);
                        if (daemon->phase == STOP_DONE)
                                break;
                }
                r = sd_event_run(daemon->event, UINT64_MAX);
                if (r < 0)
                        return log_error_errno(r, "The event loop failed");
        }

        daemon_close_socket(daemon);
        server_flush(daemon->server, FLUSH_TIMEOUT);
        daemon_close_store(daemon, list_is_empty(&daemon->engine->pools));
        if (!list_is_empty(&daemon->engine->pools)) {
                /* A plug-in that does not come back holds a thread that nobody can end. */
                log_error("Exiting with workers that do not come back");
                _exit(EXIT_FAILURE);
        }
        /* systemd starts us anew, and what is on the disk comes back. */
        return daemon->storage_failed ? -EIO : 0;
}

Daemon *daemon_free(Daemon *daemon) {
        if (!daemon)
                return NULL;
        /* Pools that were made before a start failed. What is durable there goes on another time.
         */
        if (daemon->engine && !list_is_empty(&daemon->engine->pools)) {
                engine_shut_down(daemon->engine);
                engine_dismiss(daemon->engine);
                while (!list_is_empty(&daemon->engine->pools)) {
                        engine_turn(daemon->engine);
                        if (!list_is_empty(&daemon->engine->pools))
                                (void) sd_event_run(daemon->event, UINT64_MAX);
                }
        }
        daemon_close_store(daemon, /* orderly= */ false);
        daemon_forget_replacements(daemon);
        daemon_forget_wanted(daemon);
        daemon_forget_rows(daemon);
        sd_event_source_disable_unref(daemon->stop_source);
        sd_event_source_disable_unref(daemon->idle_source);
        sd_event_source_disable_unref(daemon->watchdog_source);
        server_free(daemon->server);
        engine_free(daemon->engine);
        units_free(daemon->units);
        sd_event_unref(daemon->event);
        free(daemon->socket_path);
        free(daemon);
        return NULL;
}
