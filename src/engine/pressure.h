/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Pressure: the kernel tells when the host stalls, that is, when tasks wait too much for a CPU or
 * for memory (PSI). A trigger that is polled, so nothing is read at intervals. Main thread. */

#include <stdbool.h>

#include "util/time.h"

typedef struct Pressure Pressure;

typedef enum PressureResource {
        PRESSURE_CPU,
        PRESSURE_MEMORY,
        _PRESSURE_RESOURCE_MAX,
} PressureResource;

struct Pressure {
        int fd; /* owned; to be polled for EPOLLPRI while anybody wants to know */
        PressureResource resource;
        usec_t total; /* waited since the host started, as at the last event */
        usec_t stalled_until;
};

/* Opens the kernel's file of that resource, or `path` in its place, and sets the trigger. On
 * failure -errno, and *ret_error says which file, why, and what would help (malloc()ed, the
 * caller's; left alone if there is no memory for it). */
int pressure_init(
        Pressure *pressure, PressureResource resource, const char *path, char **ret_error);
void pressure_done(Pressure *pressure);

/* It was not polled for a while and is to be from now on: what has happened meanwhile does not
 * count, and the host does not stall as far as is known. */
void pressure_restart(Pressure *pressure);

/* The fd has reported EPOLLPRI, which clears it. The kernel repeats that once per window while the
 * stall lasts, so the host counts as stalled for a little longer than two of them. */
void pressure_report(Pressure *pressure, usec_t now);

static inline bool pressure_is_stalled(const Pressure *pressure, usec_t now) {
        return now < pressure->stalled_until;
}

const char *pressure_resource_path(PressureResource resource);
