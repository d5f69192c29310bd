/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Units: what all pools with Handler=unit have in common, which is one connection to systemd and
 * the one socket that the units' commands are connected to. Main thread. */

#include <systemd/sd-event.h>

#include "handler/handler.h"
#include "util/macro.h"

typedef struct Units Units;

/* Takes over the listening socket, also where it fails. `bus` is where systemd is called:
 * HANDLER_BUS_SYSTEM, but in tests. 0 or -errno. Peers of another uid than `peer_uid` are turned
 * away; systemd is root. */
int units_new(sd_event *event, HandlerBus bus, int listen_fd, uid_t peer_uid, Units **ret);

/* After the last handler that uses it. Returns NULL. */
Units *units_free(Units *units);

DEFINE_CLEANUP(Units *, units_free)
