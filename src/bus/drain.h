/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The method Drain(), as far as it is the same for pools and pipelines. */

#include "bus/call.h"

/* Reads its time-out. */
int drain_read(sd_bus_message *m, usec_t *ret_timeout, sd_bus_error *error);

/* Calls `drain` with the object, which begins to drain and tells the watch when it is empty;
 * answers true then, or false when the time is over. Returns as a D-Bus method; on an error nothing
 * has begun. */
int drain_wait(sd_bus_message *m, Client *client, usec_t timeout,
        void (*drain)(void *object, PoolWatch *watch), void *object, sd_bus_error *error);
