/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* By the length of the queue, one worker an Interval. To shrink, one worker less must still not be
 * enough of a reason to grow: else a constant queue between the two would make the number go up and
 * down for ever (with UpAt = DownAt = 3, four jobs are more than one worker's and less than two
 * workers'). `pressure` is the same, but while the host stalls more workers would only stall with
 * it. */

#include "core/scaler.h"

/* The products of two 32-bit numbers cannot overflow. */
static ScaleReason queue_ask(Scaler *scaler, const ScalerStats *stats, int64_t *ret_change) {
        uint64_t workers = stats->workers;

        if (stats->queued > scaler->config.up_at * workers) {
                *ret_change = 1;
                return SCALE_UP_QUEUED;
        }
        if (stats->queued < scaler->config.down_at * workers &&
                stats->queued <= scaler->config.up_at * (workers - 1)) {
                *ret_change = -1;
                return SCALE_DOWN_QUEUED;
        }
        return SCALE_KEEP;
}

static ScaleReason pressure_ask(Scaler *scaler, const ScalerStats *stats, int64_t *ret_change) {
        if (!stats->stalled)
                return queue_ask(scaler, stats, ret_change);
        *ret_change = -1;
        return SCALE_DOWN_STALLED;
}

const ScalerStrategy scaler_queue = { .ask = queue_ask };
const ScalerStrategy scaler_pressure = { .ask = pressure_ask };
