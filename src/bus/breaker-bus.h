/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.sluice1.Breaker, beyond what all kinds of objects have (bus/object.h). */

#include <systemd/sd-bus.h>

#include "bus/server.h"

/* The client has gone: what it was allowed counts as failed. */
void breaker_bus_forget(Client *client);

int breaker_bus_emit_state_changed(
        sd_bus *bus, const SharedBreaker *breaker, BreakerState old, BreakerState new);
