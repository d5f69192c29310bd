/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Has no process(): each job is a batch of one, whose output is the size of that. */

#include <sluice/module.h>

static void process_batch(void *state, struct sluice_job *const *jobs, size_t n, int *results) {
        for (size_t i = 0; i < n; i++) {
                char *output = sluice_output(jobs[i], 1);

                if (!output)
                        continue;
                *output = (char) ('0' + n);
                results[i] = SLUICE_OK;
        }
}

SLUICE_MODULE(.name = "batch-only", .process_batch = process_batch);
