/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* By how long the oldest job has waited. Growing is quick, in steps of a quarter, but takes two
 * Intervals, so that one slow job does not count. Shrinking is slow, and one by one: a worker must
 * have been idle at every moment of the last 30 s, which begin anew with each change. */

#include "core/scaler.h"
#include "util/macro.h"

#define LATE_INTERVALS 2U
#define IDLE_FOR (30 * USEC_PER_SEC)

static void wait_report(Scaler *scaler, const ScalerStats *stats) {
        if (stats->idle == 0)
                scaler->idle_since = USEC_INFINITY;
        else if (scaler->idle_since == USEC_INFINITY)
                scaler->idle_since = stats->now;
}

/* Forgets how long workers were idle: there are others now. */
static void wait_restart(Scaler *scaler, const ScalerStats *stats) {
        scaler->idle_since = USEC_INFINITY;
        wait_report(scaler, stats);
}

static ScaleReason wait_ask(Scaler *scaler, const ScalerStats *stats, int64_t *ret_change) {
        if (stats->queued > 0 && stats->oldest_wait > scaler->config.target_wait) {
                scaler->n_late = MIN(scaler->n_late + 1, LATE_INTERVALS);
                if (scaler->n_late < LATE_INTERVALS)
                        return SCALE_KEEP;
                wait_restart(scaler, stats);
                *ret_change = MAX(stats->workers / 4, 1U);
                return SCALE_UP_WAITED;
        }
        scaler->n_late = 0;

        if (scaler->idle_since == USEC_INFINITY ||
                stats->now < usec_add(scaler->idle_since, IDLE_FOR))
                return SCALE_KEEP;
        wait_restart(scaler, stats);
        *ret_change = -1;
        return SCALE_DOWN_IDLE;
}

const ScalerStrategy scaler_wait = { .report = wait_report, .ask = wait_ask };
