/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* trial: a job does what its payload says, for tests of what becomes of it then.
 *
 *   abort           ends the daemon
 *   fail N          fails in its first N attempts
 *   fatal           fails for good
 *   wait            runs until it is told to stop
 *   luck P          fails in P of 100 cases, depending on its id and attempt alone
 *
 * What does not fail gives back its payload and, with a space before it, its attempt. */

#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/module.h>

static bool says(const char *payload, const char *verb, unsigned *ret_number) {
        size_t n = strlen(verb);

        if (strncmp(payload, verb, n) != 0 || (payload[n] != ' ' && payload[n] != '\0'))
                return false;
        *ret_number = (unsigned) strtoul(payload + n, NULL, 10);
        return true;
}

static unsigned luck_of(const struct sluice_job *job) {
        uint64_t x = job->id * UINT64_C(0x9e3779b97f4a7c15) + job->attempt;

        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return (unsigned) ((x ^ (x >> 31)) % 100);
}

static void wait_for_stop(struct sluice_job *job) {
        struct pollfd stop = { .fd = sluice_stop_fd(job), .events = POLLIN };

        /* The fd may be readable for a stop that was meant for another job. */
        while (!sluice_stopped(job))
                (void) poll(&stop, 1, 10);
}

static int trial_process(void *state, struct sluice_job *job) {
        char payload[256] = "", output[sizeof(payload) + 16];
        unsigned number = 0;
        bool fails = false;
        void *room;

        if (job->payload_size >= sizeof(payload))
                return SLUICE_FATAL;
        if (job->payload_size > 0)
                memcpy(payload, job->payload, job->payload_size);

        if (says(payload, "abort", &number))
                abort();
        if (says(payload, "fatal", &number))
                return SLUICE_FATAL;
        if (says(payload, "wait", &number)) {
                wait_for_stop(job);
                return SLUICE_FAILED;
        }
        if (says(payload, "fail", &number))
                fails = job->attempt <= number;
        else if (says(payload, "luck", &number))
                fails = luck_of(job) < number;
        if (fails) {
                (void) snprintf(output, sizeof(output), "failed at attempt %u", job->attempt);
                sluice_error(job, output);
                return SLUICE_FAILED;
        }

        (void) snprintf(output, sizeof(output), "%s %u", payload, job->attempt);
        room = sluice_output(job, strlen(output));
        if (!room)
                return SLUICE_RETRY;
        memcpy(room, output, strlen(output));
        return SLUICE_OK;
}

SLUICE_MODULE(.name = "trial", .process = trial_process);
