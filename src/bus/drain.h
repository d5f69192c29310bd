/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is the same for pools and pipelines where they run empty: the method Drain(), and a removal,
 * which is answered when it is done. */

#include "bus/call.h"

/* Reads its time-out. */
int drain_read(sd_bus_message *m, usec_t *ret_timeout, sd_bus_error *error);

/* Calls `drain` with the object, which begins to drain and tells the watch when it is empty;
 * answers true then, or false when the time is over. Returns as a D-Bus method; on an error nothing
 * has begun. */
int drain_wait(sd_bus_message *m, Client *client, usec_t timeout,
        void (*drain)(void *object, PoolWatch *watch), void *object, sd_bus_error *error);

/* Answers one that does not wait, once that it drains is on the disk. Returns as a D-Bus method. */
int drain_reply(sd_bus_message *m, Client *client, bool empty, sd_bus_error *error);

/* Calls `remove` with the object, which begins to go and tells the watch when it is gone: that
 * answers the call. Returns as ObjectKind.remove(); `remove` returns 0 or -ENOMEM. */
int drain_remove(sd_bus_message *m, Client *client, bool cancel,
        int (*remove)(void *object, bool cancel, PoolWatch *watch), void *object,
        sd_bus_error *error);
