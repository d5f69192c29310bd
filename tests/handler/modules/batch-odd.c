/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Does in a batch what its payload says: a verdict as a digit, a text with it, or none at all.
 * Knows single jobs as well, whose output is a word. */

#include <string.h>

#include <sluice/module.h>

static int process(void *state, struct sluice_job *job) {
        void *output = sluice_output(job, 6);

        if (!output)
                return SLUICE_RETRY;
        memcpy(output, "single", 6);
        return SLUICE_OK;
}

/* From the last one to the first, which is nobody's business. */
static void process_batch(void *state, struct sluice_job *const *jobs, size_t n, int *results) {
        while (n-- > 0) {
                const char *payload = jobs[n]->payload;

                if (payload[0] == '-')
                        continue;
                if (payload[0] == 's')
                        results[n] = sluice_stopped(jobs[n]) ? SLUICE_FATAL : SLUICE_OK;
                else
                        results[n] = payload[0] - '0';
                if (jobs[n]->payload_size > 1)
                        sluice_error(jobs[n], "said why");
        }
}

SLUICE_MODULE(.name = "batch-odd", .process = process, .process_batch = process_batch);
