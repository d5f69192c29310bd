/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.sluice1.Group. */

#include <systemd/sd-bus.h>

#include "bus/server.h"
#include "engine/job-group.h"

int group_bus_add(Link *link); /* adds the interface to the connection */

#define GROUP_PATH_MAX 48
char *group_bus_path(char buf[static GROUP_PATH_MAX], uint64_t id); /* returns buf */

/* Sends PropertiesChanged to this client alone. */
int group_bus_emit_changed(Client *client, const JobGroup *group);
