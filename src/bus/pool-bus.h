/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.sluice1.Pool. */

#include <systemd/sd-bus.h>

#include "bus/server.h"

extern const sd_bus_vtable pool_vtable[];

int pool_bus_add(Link *link); /* adds the interface to the connection */

/* The object path of the pool, malloc()ed. */
int pool_bus_path(const Pool *pool, char **ret);

int pool_bus_emit_added(sd_bus *bus, Pool *pool);
int pool_bus_emit_removed(sd_bus *bus, Pool *pool);
int pool_bus_emit_changed(sd_bus *bus, Pool *pool, PoolChange what);
