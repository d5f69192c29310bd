/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The errors of the D-Bus interface: one enum, one table of names. */

#include <errno.h>
#include <systemd/sd-bus.h>

#include "core/job.h"
#include "util/macro.h"

typedef enum BusError {
        BUS_ERROR_INVALID_ARGS,
        BUS_ERROR_ACCESS_DENIED,
        BUS_ERROR_AUTHORIZATION_REQUIRED,
        BUS_ERROR_NOT_SUPPORTED,
        BUS_ERROR_NO_MEMORY,
        BUS_ERROR_LIMITS_EXCEEDED,
        BUS_ERROR_NAME_HAS_NO_OWNER,
        BUS_ERROR_UNKNOWN_METHOD,
        BUS_ERROR_NOT_FOUND,
        BUS_ERROR_ALREADY_EXISTS,
        BUS_ERROR_QUEUE_FULL,
        BUS_ERROR_TIMEOUT,
        BUS_ERROR_RATE_LIMITED,
        BUS_ERROR_CIRCUIT_OPEN,
        BUS_ERROR_DRAINING,
        BUS_ERROR_SHUTTING_DOWN,
        BUS_ERROR_JOB_FAILED,
        BUS_ERROR_JOB_CANCELLED,
        BUS_ERROR_JOB_TIMED_OUT,
        BUS_ERROR_JOB_EXPIRED,
        BUS_ERROR_JOB_DROPPED,
        BUS_ERROR_JOB_REFUSED,
        BUS_ERROR_JOB_LOST,
        BUS_ERROR_TOO_LARGE,
        BUS_ERROR_QUOTA_EXCEEDED,
        BUS_ERROR_KEY_CONFLICT,
        BUS_ERROR_STALE_LEASE,
        BUS_ERROR_INVALID_STATE,
        BUS_ERROR_INVALID_COMMAND,
        BUS_ERROR_NO_SPACE,
        BUS_ERROR_STORAGE_FAILED,
        _BUS_ERROR_MAX,
} BusError;

/* Fills in the error and returns a negative value, for `return bus_error(…)` in a method. */
int bus_error(sd_bus_error *error, BusError code, const char *format, ...) _printf_(3, 4);

/* The error of a failed settings change: the text is ours to free. r is what pool_config_… said. */
int bus_error_settings(sd_bus_error *error, int r, char *text);

int bus_error_oom(sd_bus_error *error);

/* What reading a message has returned, in terms of D-Bus: sd-bus calls it busy where a part claims
 * to be longer than what it is in, which is a broken message. */
static inline int bus_read_error(int r) {
        return r == -EBUSY ? -EBADMSG : r;
}

/* Answers a call later with an error. */
void bus_reply_error(sd_bus_message *call, BusError code, const char *format, ...) _printf_(3, 4);

/* The error that a Run of a job with this result is answered with. Not for JOB_SUCCEEDED. */
BusError bus_error_of_result(JobResult result);

const char *bus_error_name(BusError code);
