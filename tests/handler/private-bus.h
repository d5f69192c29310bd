/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* PrivateBus: a dbus-daemon of the test's own, at an address that outlives it, which is that of the
 * session bus for this process and its children. */

#include <sys/types.h>

typedef struct PrivateBus {
        char folder[64];
        pid_t pid;
} PrivateBus;

/* A folder for the bus, with its settings and services. */
void private_bus_init(PrivateBus *bus);
void private_bus_done(PrivateBus *bus); /* ends it first */

/* Something that the bus starts, by a command line. Before private_bus_start(). */
void private_bus_add_service(PrivateBus *bus, const char *name, const char *command);

void private_bus_start(PrivateBus *bus); /* returns when it can be connected to */
void private_bus_kill(PrivateBus *bus);
