/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The exit of a daemon that nobody needs, so that whoever calls next starts it again. Nothing that
 * was said to it may be lost by that:
 *
 *   - It goes only where there is nothing to lose, see daemon_idle_at().
 *   - The service manager is told first: then whoever asks for the service from now on waits for
 * the next one, instead of being told that it is there.
 *   - Then the name is given back, and what comes is served until the bus has answered that: what
 *     was sent to the name before has come by then, and what is sent later starts the next one.
 *   - What waits on a socket of the service manager's stays there for the next one.
 *
 * If what came meanwhile left something to lose, the daemon stays, and asks for the name again. To
 * the service manager it is on its way out all the same, until it goes at last.
 *
 * Nothing ticks: one timer is armed when the daemon becomes idle. What happens while it is armed
 * only moves the moment that is looked at when it fires. */

#include <errno.h>
#include <systemd/sd-daemon.h>

#include "daemon/daemon-private.h"
#include "util/log.h"

/* How long the service manager is to wait for a daemon that has said it was going, and stays. */
#define STAY_TIMEOUT (10 * USEC_PER_YEAR)

/* From which moment on nothing is lost by an exit; USEC_INFINITY: something would be. */
static usec_t daemon_idle_at(Daemon *daemon) {
        if (daemon->phase != STOP_NOT || !list_is_empty(&daemon->replacements) ||
                !list_is_empty(&daemon->wanted) || !server_is_idle(daemon->server))
                return USEC_INFINITY;
        return engine_idle_at(daemon->engine);
}

static void arm(Daemon *daemon) {
        usec_t at = usec_add(daemon->idle_from, daemon->options->idle_timeout);

        daemon->idle_armed =
                sd_event_source_set_time(daemon->idle_source, at) >= 0 &&
                sd_event_source_set_enabled(daemon->idle_source, SD_EVENT_ONESHOT) >= 0;
}

static void disarm(Daemon *daemon) {
        if (!daemon->idle_armed)
                return;
        daemon->idle_armed = false;
        (void) sd_event_source_set_enabled(daemon->idle_source, SD_EVENT_OFF);
}

/* ---- going ---- */

static void begin_to_leave(Daemon *daemon) {
        char span[FORMAT_USEC_MAX];

        log_info("Nothing to do for %s: leaving", format_usec(span, daemon->options->idle_timeout));
        (void) sd_notify(false, "STOPPING=1");
        /* One of our own would be in the way of the next one's. */
        daemon->socket_was_closed = daemon->socket_path;
        if (daemon->socket_was_closed)
                daemon_close_socket(daemon);
        else
                server_pause_listening(daemon->server, true);
        daemon->leaving =
                server_release_name(daemon->server) > 0 ? LEAVE_RELEASING : LEAVE_RELEASED;
}

/* What has come before the name was released leaves something to lose. */
static void stay(Daemon *daemon) {
        log_notice("Staying: there is work after all");
        (void) sd_notifyf(false, "EXTEND_TIMEOUT_USEC=%llu", (unsigned long long) STAY_TIMEOUT);
        daemon->leaving = LEAVE_NOT;
        if (daemon->socket_was_closed)
                (void) daemon_open_socket(daemon);
        else
                server_pause_listening(daemon->server, false);
        server_request_name(daemon->server);
}

static void leave_if_nothing_came(Daemon *daemon) {
        usec_t at;

        /* What has come and was not looked at yet comes first, and wakes the loop by itself. */
        if (server_has_input(daemon->server) || server_asks_who(daemon->server))
                return;
        at = daemon_idle_at(daemon);
        if (at > usec_now(CLOCK_MONOTONIC))
                stay(daemon);
        else
                daemon_stop_idle(daemon);
}

void daemon_name_released(Daemon *daemon) {
        if (daemon->leaving == LEAVE_RELEASING)
                daemon->leaving = LEAVE_RELEASED;
}

/* ---- watching ---- */

static int on_idle(sd_event_source *source, uint64_t usec, void *userdata) {
        Daemon *daemon = userdata;
        usec_t now = usec_now(CLOCK_MONOTONIC);

        daemon->idle_armed = false;
        daemon->idle_timer_fired = true;
        if (daemon->phase != STOP_NOT || daemon->leaving != LEAVE_NOT)
                return 0;
        if (usec_add(daemon->idle_from, daemon->options->idle_timeout) > now)
                arm(daemon);
        else if (server_has_input(daemon->server))
                daemon->idle_timer_fired = false;
        else
                begin_to_leave(daemon);
        return 0;
}

int daemon_add_idle_exit(Daemon *daemon) {
        int r;

        if (daemon->options->idle_timeout == USEC_INFINITY)
                return 0;
        r = sd_event_add_time(daemon->event, &daemon->idle_source, CLOCK_MONOTONIC, USEC_INFINITY,
                CLAMP(daemon->options->idle_timeout / 16, USEC_PER_MSEC, USEC_PER_SEC), on_idle,
                daemon);
        if (r >= 0)
                r = sd_event_source_set_enabled(daemon->idle_source, SD_EVENT_OFF);
        /* After all that has come. */
        if (r >= 0)
                r = sd_event_source_set_priority(daemon->idle_source, SD_EVENT_PRIORITY_IDLE);
        return r;
}

void daemon_look_for_idle(Daemon *daemon) {
        bool by_timer = daemon->idle_timer_fired;
        usec_t at;

        if (!daemon->idle_source || daemon->phase != STOP_NOT)
                return;
        daemon->idle_timer_fired = false;
        if (daemon->leaving == LEAVE_RELEASING)
                return;
        if (daemon->leaving == LEAVE_RELEASED) {
                leave_if_nothing_came(daemon);
                return;
        }
        at = daemon_idle_at(daemon);
        if (at == USEC_INFINITY) {
                disarm(daemon);
                return;
        }
        /* Each turn of the loop is somebody's doing but that of the timer itself. */
        if (!by_timer)
                daemon->idle_from = MAX(at, usec_now(CLOCK_MONOTONIC));
        if (!daemon->idle_armed)
                arm(daemon);
}
