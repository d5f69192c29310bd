/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stdio.h>

#include "bus/error.h"

static const char *const names[_BUS_ERROR_MAX] = {
        [BUS_ERROR_INVALID_ARGS] = SD_BUS_ERROR_INVALID_ARGS,
        [BUS_ERROR_ACCESS_DENIED] = SD_BUS_ERROR_ACCESS_DENIED,
        [BUS_ERROR_AUTHORIZATION_REQUIRED] = SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
        [BUS_ERROR_NOT_SUPPORTED] = SD_BUS_ERROR_NOT_SUPPORTED,
        [BUS_ERROR_NO_MEMORY] = SD_BUS_ERROR_NO_MEMORY,
        [BUS_ERROR_LIMITS_EXCEEDED] = SD_BUS_ERROR_LIMITS_EXCEEDED,
        [BUS_ERROR_NAME_HAS_NO_OWNER] = SD_BUS_ERROR_NAME_HAS_NO_OWNER,
        [BUS_ERROR_UNKNOWN_METHOD] = SD_BUS_ERROR_UNKNOWN_METHOD,
        [BUS_ERROR_NOT_FOUND] = "org.sluice1.Error.NotFound",
        [BUS_ERROR_ALREADY_EXISTS] = "org.sluice1.Error.AlreadyExists",
        [BUS_ERROR_QUEUE_FULL] = "org.sluice1.Error.QueueFull",
        [BUS_ERROR_TIMEOUT] = "org.sluice1.Error.Timeout",
        [BUS_ERROR_RATE_LIMITED] = "org.sluice1.Error.RateLimited",
        [BUS_ERROR_CIRCUIT_OPEN] = "org.sluice1.Error.CircuitOpen",
        [BUS_ERROR_DRAINING] = "org.sluice1.Error.Draining",
        [BUS_ERROR_SHUTTING_DOWN] = "org.sluice1.Error.ShuttingDown",
        [BUS_ERROR_JOB_FAILED] = "org.sluice1.Error.JobFailed",
        [BUS_ERROR_JOB_CANCELLED] = "org.sluice1.Error.JobCancelled",
        [BUS_ERROR_JOB_TIMED_OUT] = "org.sluice1.Error.JobTimedOut",
        [BUS_ERROR_JOB_EXPIRED] = "org.sluice1.Error.JobExpired",
        [BUS_ERROR_JOB_DROPPED] = "org.sluice1.Error.JobDropped",
        [BUS_ERROR_JOB_REFUSED] = "org.sluice1.Error.JobRefused",
        [BUS_ERROR_JOB_LOST] = "org.sluice1.Error.JobLost",
        [BUS_ERROR_TOO_LARGE] = "org.sluice1.Error.TooLarge",
        [BUS_ERROR_QUOTA_EXCEEDED] = "org.sluice1.Error.QuotaExceeded",
        [BUS_ERROR_KEY_CONFLICT] = "org.sluice1.Error.KeyConflict",
        [BUS_ERROR_STALE_LEASE] = "org.sluice1.Error.StaleLease",
        [BUS_ERROR_INVALID_STATE] = "org.sluice1.Error.InvalidState",
        [BUS_ERROR_INVALID_COMMAND] = "org.sluice1.Error.InvalidCommand",
        [BUS_ERROR_NO_SPACE] = "org.sluice1.Error.NoSpace",
        [BUS_ERROR_STORAGE_FAILED] = "org.sluice1.Error.StorageFailed",
};

const char *bus_error_name(BusError code) {
        return names[code];
}

int bus_error(sd_bus_error *error, BusError code, const char *format, ...) {
        va_list args;
        int r;

        va_start(args, format);
        r = sd_bus_error_setfv(error, names[code], format, args);
        va_end(args);
        return r;
}

int bus_error_oom(sd_bus_error *error) {
        return bus_error(error, BUS_ERROR_NO_MEMORY, "Out of memory");
}

int bus_error_settings(sd_bus_error *error, int r, char *text) {
        _cleanup_free_ char *owned = text;

        if (r == -ENOMEM)
                return bus_error_oom(error);
        return bus_error(error, r == -ENOEXEC ? BUS_ERROR_INVALID_COMMAND : BUS_ERROR_INVALID_ARGS,
                "%s", text ?: "The settings were refused");
}

void bus_reply_error(sd_bus_message *call, BusError code, const char *format, ...) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        va_list args;

        va_start(args, format);
        (void) sd_bus_error_setfv(&error, names[code], format, args);
        va_end(args);
        /* A caller that cannot be answered has gone, and its link tells us so. */
        (void) sd_bus_reply_method_error(call, &error);
}

BusError bus_error_of_result(JobResult result) {
        static const BusError errors[_JOB_RESULT_MAX] = {
                [JOB_FAILED] = BUS_ERROR_JOB_FAILED,
                [JOB_CANCELLED] = BUS_ERROR_JOB_CANCELLED,
                [JOB_TIMED_OUT] = BUS_ERROR_JOB_TIMED_OUT,
                [JOB_EXPIRED] = BUS_ERROR_JOB_EXPIRED,
                [JOB_DROPPED] = BUS_ERROR_JOB_DROPPED,
                [JOB_REFUSED] = BUS_ERROR_JOB_REFUSED,
                [JOB_LOST] = BUS_ERROR_JOB_LOST,
        };

        return errors[result];
}
