/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Calls to the daemon. The connection is made by the first one: to the address that was given, or
 * to the bus, or to the daemon's own socket where no bus is or the daemon is not on it. */

#include <json-c/json.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "ctl/ctl.h"
#include "util/time.h"

/* Some calls answer when the work is done; this is for them. */
#define CALL_FOREVER UINT64_MAX
#define CALL_DEFAULT 0

static inline _unused_ void sd_bus_error_freep_(sd_bus_error *e) {
        sd_bus_error_free(e);
}
#define _cleanup_error_ _cleanup_(sd_bus_error_freep_)
#define _cleanup_message_ _cleanup_(sd_bus_message_unrefp)
#define _cleanup_slot_ _cleanup_(sd_bus_slot_unrefp)

/* Says what failed and returns the negative errno for it, as all of these do. */
int bus_connect(Ctl *ctl);

/* A call to be filled with sd_bus_message_append() and the like. */
int bus_new_call(Ctl *ctl, const char *path, const char *interface, const char *member,
        sd_bus_message **ret);

/* Sends it and waits. The text completes "Failed to …". */
int bus_call(Ctl *ctl, sd_bus_message *call, usec_t timeout, sd_bus_message **ret_reply,
        const char *format, ...) _printf_(5, 6);

/* All properties of an object as a JSON object. -ENOENT, and nothing said, if there is no such
 * object and `optional`. The text completes "Failed to …". */
int bus_get_all(Ctl *ctl, const char *path, const char *interface, bool optional, json_object **ret,
        const char *format, ...) _printf_(6, 7);

/* Says why a call failed, in one line: "Failed to …: no such pool (NotFound)". `path` is the object
 * that was called. Returns -EINVAL if what the user gave was wrong, otherwise another errno. */
int bus_failure(const Ctl *ctl, const char *path, const sd_bus_error *error, const char *format,
        ...) _printf_(4, 5);
