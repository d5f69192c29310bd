/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/map-pace.h"
#include "util/macro.h"

/* What a call should take, and over how long is counted at least. */
#define BLOCK_USEC (2 * USEC_PER_MSEC)
#define COUNT_USEC (10 * USEC_PER_MSEC)

/* From here on a larger block gains nothing. */
#define BLOCK_MAX ((size_t) 256)

/* Outputs that are under way, and those of one call. */
#define OUTPUTS_MAX 8388608.0
#define OUTPUT_BLOCK_MAX 524288.0

void pace_init(Pace *pace, uint64_t queue_max, uint64_t max_workers, usec_t now) {
        uint64_t jobs_max = MAX(queue_max / 2, (uint64_t) 1);

        jobs_max = MIN(jobs_max, (uint64_t) 4 * BLOCK_MAX) + MIN(max_workers, (uint64_t) 10000);
        *pace = (Pace){
                .jobs_max = (size_t) jobs_max,
                .block_min = (size_t) MIN(max_workers, (uint64_t) 10000) / PACE_CALLS_MAX + 1,
                .counting_since = now,
        };
        pace->block_max = CLAMP(pace->jobs_max / 4, pace->block_min, BLOCK_MAX);
}

void pace_report(Pace *pace, size_t n, size_t output_size, usec_t now) {
        usec_t span = usec_sub(now, pace->counting_since);
        double mean = (double) output_size / (double) n;

        /* Grows at once, and forgets slowly. */
        pace->output_mean = MAX(mean, (pace->output_mean * 15 + mean) / 16);
        pace->n_counted += n;
        if (span >= COUNT_USEC) {
                double rate = (double) pace->n_counted / (double) span;

                /* Slower is believed at once. */
                pace->rate = MIN(rate, (pace->rate + rate) / 2);
                pace->n_counted = 0;
                pace->counting_since = now;
        }
}

size_t pace_block(const Pace *pace, usec_t now) {
        usec_t span = usec_sub(now, pace->counting_since);
        double rate = pace->rate, block;

        /* While nothing comes back, the rate is no more than if the next job came now. */
        if (span >= COUNT_USEC)
                rate = MIN(rate, (double) (pace->n_counted + 1) / (double) span);
        block = rate * BLOCK_USEC;
        if (pace->output_mean > 0)
                block = MIN(block, OUTPUT_BLOCK_MAX / pace->output_mean);
        return block >= (double) pace->block_max ? pace->block_max
                                                 : MAX((size_t) block, pace->block_min);
}

bool pace_may_send(const Pace *pace, size_t block, size_t n_calls, size_t n_jobs) {
        if (n_calls == 0)
                return true;
        return n_calls < PACE_CALLS_MAX && n_jobs + block <= pace->jobs_max &&
               (double) n_jobs * pace->output_mean < OUTPUTS_MAX;
}
