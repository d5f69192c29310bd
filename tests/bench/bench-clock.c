/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A plug-in whose output is the moment at which the job began, in nanoseconds of CLOCK_MONOTONIC,
 * so that a client learns when each of its jobs was let in. */

#include <stdint.h>
#include <string.h>
#include <time.h>

#include <sluice/module.h>

static int tell_time(void *state, struct sluice_job *job) {
        struct timespec ts;
        uint64_t began;
        void *output;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        began = (uint64_t) ts.tv_sec * UINT64_C(1000000000) + (uint64_t) ts.tv_nsec;
        output = sluice_output(job, sizeof(began));
        if (!output)
                return SLUICE_RETRY;
        memcpy(output, &began, sizeof(began));
        return SLUICE_OK;
}

SLUICE_MODULE(.name = "bench-clock", .process = tell_time);
