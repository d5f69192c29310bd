/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The service manager's watchdog, where it has set one. A ping says two things: this loop runs, and
 * so does each worker that is neither asleep nor in a handler, which may take its time. Where one
 * does not there is no ping; if it stays so the service manager ends the daemon and starts it
 * again. It is not told at once, as a host that has no time for a thread looks the same for a
 * while. */

#include <systemd/sd-daemon.h>

#include "daemon/daemon-private.h"
#include "util/log.h"
#include "util/message-ids.h"

static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata) {
        Daemon *daemon = userdata;
        int r;

        if (engine_workers_are_in_time(daemon->engine))
                (void) sd_notify(false, "WATCHDOG=1");
        else
                log_event(LOG_ERR, LOG_FIELDS(.message_id = MESSAGE_WORKER_HANGS),
                        "A worker makes no progress outside of its handler: the watchdog is not "
                        "pinged");
        r = sd_event_source_set_time_relative(source, daemon->watchdog_usec / 2);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int daemon_add_watchdog(Daemon *daemon) {
        int r;

        r = sd_watchdog_enabled(/* unset_environment= */ true, &daemon->watchdog_usec);
        if (r <= 0)
                return r;
        /* At a half, and never later than three quarters. */
        r = sd_event_add_time_relative(daemon->event, &daemon->watchdog_source, CLOCK_MONOTONIC, 0,
                MAX(daemon->watchdog_usec / 4, (usec_t) 1), on_watchdog, daemon);
        /* Before a flood of anything. */
        return r < 0 ? r
                     : sd_event_source_set_priority(
                               daemon->watchdog_source, SD_EVENT_PRIORITY_IMPORTANT);
}
