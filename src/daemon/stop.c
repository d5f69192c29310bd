/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A stop, in phases. */

#include <systemd/sd-daemon.h>

#include "bus/call.h"
#include "bus/signals.h"
#include "daemon/daemon-private.h"
#include "util/log.h"

/* How long workers may take to come back once all jobs were told to stop, beyond their StopTimeout.
 */
#define STOP_GRACE (5 * USEC_PER_SEC)

static int on_stop_deadline(sd_event_source *source, uint64_t usec, void *userdata);

static void arm_stop_deadline(Daemon *daemon, usec_t timeout) {
        daemon->stop_source = sd_event_source_disable_unref(daemon->stop_source);
        if (sd_event_add_time_relative(daemon->event, &daemon->stop_source, CLOCK_MONOTONIC,
                    timeout, 10 * USEC_PER_MSEC, on_stop_deadline, daemon) < 0)
                daemon->phase = STOP_DONE;
}

static usec_t longest_stop_timeout(Daemon *daemon) {
        usec_t longest = 0;

        list_for_each (l, &daemon->engine->pools)
                longest = MAX(longest, list_entry(l, Pool, links)->stop_timeout);
        return MIN(longest, 30 * USEC_PER_SEC);
}

static void cancel_running(Daemon *daemon) {
        daemon->phase = STOP_CANCELLING;
        engine_cancel_running(daemon->engine);
        arm_stop_deadline(daemon, usec_add(longest_stop_timeout(daemon), STOP_GRACE));
}

static int on_stop_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        Daemon *daemon = userdata;

        if (daemon->phase == STOP_DRAINING) {
                log_notice("Jobs still run: they are cancelled");
                cancel_running(daemon);
        } else {
                log_error("Some workers do not come back: stopping without them");
                daemon->phase = STOP_DONE;
        }
        return 0;
}

void daemon_begin_stop(Daemon *daemon) {
        char span[FORMAT_USEC_MAX];

        if (daemon->phase != STOP_NOT)
                return;
        daemon->phase = STOP_DRAINING;
        (void) sd_notify(false, "STOPPING=1");
        daemon_notify_status(daemon);
        log_info("Stopping: what runs has %s to end", format_usec(span, daemon->drain_timeout));
        engine_shut_down(daemon->engine);
        signals_tell_state(daemon->server);
        arm_stop_deadline(daemon, daemon->drain_timeout);
}

void daemon_stop_idle(Daemon *daemon) {
        daemon->phase = STOP_DRAINING;
        engine_shut_down(daemon->engine);
        arm_stop_deadline(daemon, daemon->drain_timeout);
}

/* A second request to stop is impatience. */
int daemon_on_stop_signal(
        sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Daemon *daemon = userdata;

        if (daemon->phase == STOP_NOT)
                daemon_begin_stop(daemon);
        else if (daemon->phase == STOP_DRAINING) {
                log_notice("Stopping at once");
                cancel_running(daemon);
        }
        return 0;
}

void daemon_proceed_to_stop(Daemon *daemon) {
        if ((daemon->phase == STOP_DRAINING || daemon->phase == STOP_CANCELLING) &&
                engine_is_quiet(daemon->engine)) {
                daemon->phase = STOP_DISMISSING;
                call_end_all(daemon->server);
                engine_dismiss(daemon->engine);
                arm_stop_deadline(daemon, STOP_GRACE);
                engine_turn(daemon->engine);
        }
        if (daemon->phase == STOP_DISMISSING && list_is_empty(&daemon->engine->pools))
                daemon->phase = STOP_DONE;
}
