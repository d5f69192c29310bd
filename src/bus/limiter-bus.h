/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.sluice1.Limiter. */

#include <systemd/sd-bus.h>

#include "bus/server.h"

extern const sd_bus_vtable limiter_vtable[];

int limiter_bus_add(Link *link); /* adds the interface to the connection */

/* The object path of the limiter, malloc()ed. */
int limiter_bus_path(const SharedLimiter *limiter, char **ret);

/* The path of an optional one: "/" if it is NULL. */
int limiter_bus_path_or_none(const SharedLimiter *limiter, char **ret);

/* Reads an a{sv} of settings into `config`, as many as there are or none, and checks the whole. */
int limiter_bus_read_settings(sd_bus_message *m, LimiterConfig *config, sd_bus_error *error);

int limiter_bus_emit_added(sd_bus *bus, SharedLimiter *limiter);
int limiter_bus_emit_removed(sd_bus *bus, SharedLimiter *limiter);
int limiter_bus_emit_changed(sd_bus *bus, SharedLimiter *limiter);
