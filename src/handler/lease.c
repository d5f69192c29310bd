/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Handler=lease: jobs are done by whoever leases them. That is between the engine and its callers
 * (engine/lease.c), so there is nothing to make and nothing to begin. */

#include "handler/handler.h"

static int lease_open(const HandlerConfig *config, Handler **ret, char **ret_error) {
        *ret = NULL;
        return 0;
}

static void lease_close(Handler *handler) {
}

const HandlerVTable lease_vtable = {
        .name = "lease",
        .section = "Lease",
        .in_slots = true,
        .open = lease_open,
        .close = lease_close,
};
