/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.sluice1.Breaker. */

#include <systemd/sd-bus.h>

#include "bus/server.h"

extern const sd_bus_vtable breaker_vtable[];

int breaker_bus_add(Link *link); /* adds the interface to the connection */

/* The object path of the breaker, malloc()ed; and that of an optional one: "/" if it is NULL. */
int breaker_bus_path(const SharedBreaker *breaker, char **ret);
int breaker_bus_path_or_none(const SharedBreaker *breaker, char **ret);

/* Reads an a{sv} of settings into `config`, as many as there are or none. */
int breaker_bus_read_settings(sd_bus_message *m, BreakerConfig *config, sd_bus_error *error);

/* The client has gone: what it was allowed counts as failed. */
void breaker_bus_forget(Client *client);

int breaker_bus_emit_added(sd_bus *bus, SharedBreaker *breaker);
int breaker_bus_emit_removed(sd_bus *bus, SharedBreaker *breaker);
int breaker_bus_emit_changed(sd_bus *bus, SharedBreaker *breaker);
int breaker_bus_emit_state_changed(
        sd_bus *bus, SharedBreaker *breaker, BreakerState old, BreakerState new);
