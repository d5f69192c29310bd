/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* echo: the output is the payload. For trials, and to measure what everything around it costs. */

#include <string.h>

#include <sluice/module.h>

static int echo(void *state, struct sluice_job *job) {
        void *output = sluice_output(job, job->payload_size);

        if (!output)
                return SLUICE_RETRY;
        if (job->payload_size > 0)
                memcpy(output, job->payload, job->payload_size);
        return SLUICE_OK;
}

static void echo_batch(void *state, struct sluice_job *const *jobs, size_t n, int *results) {
        for (size_t i = 0; i < n; i++)
                results[i] = echo(state, jobs[i]);
}

SLUICE_MODULE(.name = "echo", .process = echo, .process_batch = echo_batch);
