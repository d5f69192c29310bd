/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.sluice1.Manager. */

#include <systemd/sd-bus.h>

#include "bus/server.h"

extern const sd_bus_vtable manager_vtable[];

int manager_bus_add(Link *link); /* adds the interface to the connection */
