/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Those methods of org.sluice1.Pool by which jobs are leased, and what holders are told. Main
 * thread only. */

#include <systemd/sd-bus.h>

#include "bus/server.h"

void lease_bus_init(Client *client); /* it can have leases */

/* Methods; their userdata is the Found of the pool. */
int lease_bus_lease(sd_bus_message *m, void *userdata, sd_bus_error *error);
int lease_bus_complete(sd_bus_message *m, void *userdata, sd_bus_error *error);
int lease_bus_complete_many(sd_bus_message *m, void *userdata, sd_bus_error *error);
int lease_bus_fail(sd_bus_message *m, void *userdata, sd_bus_error *error);
int lease_bus_release(sd_bus_message *m, void *userdata, sd_bus_error *error);
int lease_bus_touch(sd_bus_message *m, void *userdata, sd_bus_error *error);
