/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* StallWatch: the kernel's triggers for CPU and memory on the event loop, one pair for all pools.
 * They are open while a pool has use for them, and polled only while one wants to know: a host that
 * stalls does not wake a daemon that has nothing to decide. Main thread. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/pressure.h"

typedef struct StallWatch StallWatch;

struct StallWatch {
        uint32_t n_users;    /* while above 0 the triggers are open */
        uint32_t n_watching; /* while above 0 they are polled */
        Pressure pressures[_PRESSURE_RESOURCE_MAX];
        sd_event_source *sources[_PRESSURE_RESOURCE_MAX]; /* owned */
};

/* One user more. 0, or -errno and *ret_error as pressure_init(). */
int stall_watch_open(StallWatch *watch, sd_event *event, char **ret_error);
void stall_watch_close(StallWatch *watch); /* one less */

/* One more, or one less, of those who want to know. What was before the first does not count. */
void stall_watch_begin(StallWatch *watch);
void stall_watch_end(StallWatch *watch);

/* Does the host stall, of any of the two? */
bool stall_watch_is_stalled(const StallWatch *watch, usec_t now);
