/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The clock of Intervals runs only while there is something to decide: demand that more workers
 * could serve, or a number of workers that could go back to Min. It starts with the first report of
 * that, so the first decision is a whole Interval later, and stops with the first that says
 * otherwise. With Min = Max there never is. Strategies see the ends of Intervals only, and nothing
 * of the bounds. */

#include <assert.h>
#include <string.h>

#include "core/scaler.h"
#include "util/macro.h"

static const ScalerStrategy *const strategies[_SCALE_MODE_MAX] = {
        [SCALE_QUEUE] = &scaler_queue,
        [SCALE_WAIT] = &scaler_wait,
        [SCALE_PRESSURE] = &scaler_pressure,
};

static void scaler_reset(Scaler *scaler) {
        scaler->next_at = USEC_INFINITY;
        scaler->n_late = 0;
        scaler->idle_since = USEC_INFINITY;
}

bool scaler_config_equal(const ScalerConfig *a, const ScalerConfig *b) {
        return a->mode == b->mode && a->interval == b->interval && a->up_at == b->up_at &&
               a->down_at == b->down_at && a->target_wait == b->target_wait;
}

void scaler_init(Scaler *scaler, const ScalerConfig *config) {
        assert(config->mode >= 0 && config->mode < _SCALE_MODE_MAX);
        assert(config->interval > 0);

        *scaler = (Scaler){ .config = *config, .strategy = strategies[config->mode] };
        scaler_reset(scaler);
}

static bool may_change(const ScalerStats *stats) {
        if (stats->workers != stats->min)
                return true;
        return stats->queued > 0 && stats->min < stats->max;
}

void scaler_report(Scaler *scaler, const ScalerStats *stats) {
        assert(stats->min <= stats->max);

        if (!scaler->strategy)
                return;
        if (!may_change(stats)) {
                scaler_reset(scaler);
                return;
        }
        if (scaler->next_at == USEC_INFINITY)
                scaler->next_at = usec_add(stats->now, scaler->config.interval);
        if (scaler->strategy->report)
                scaler->strategy->report(scaler, stats);
}

ScaleReason scaler_ask(Scaler *scaler, const ScalerStats *stats, uint32_t *ret_workers) {
        uint32_t workers = CLAMP(stats->workers, stats->min, stats->max);
        ScaleReason reason;
        int64_t change = 0;

        scaler_report(scaler, stats);
        *ret_workers = workers;
        if (stats->workers != workers)
                return stats->workers < workers ? SCALE_UP_TO_MIN : SCALE_DOWN_TO_MAX;
        if (scaler->next_at == USEC_INFINITY || stats->now < scaler->next_at)
                return SCALE_KEEP;

        /* Counted from now and not from where the last one ended: Intervals that were missed are
         * not made up for. */
        scaler->next_at = usec_add(stats->now, scaler->config.interval);
        reason = scaler->strategy->ask(scaler, stats, &change);
        /* A change is never more than there are workers, so this cannot overflow. */
        *ret_workers = (uint32_t) CLAMP(
                (int64_t) workers + change, (int64_t) stats->min, (int64_t) stats->max);
        return *ret_workers == workers ? SCALE_KEEP : reason;
}

usec_t scaler_wake_at(const Scaler *scaler) {
        return scaler->next_at;
}

static const char *const mode_names[_SCALE_MODE_MAX] = {
        [SCALE_OFF] = "off",
        [SCALE_QUEUE] = "queue",
        [SCALE_WAIT] = "wait",
        [SCALE_PRESSURE] = "pressure",
};

const char *scale_mode_to_string(ScaleMode m) {
        return m >= 0 && m < _SCALE_MODE_MAX ? mode_names[m] : NULL;
}

ScaleMode scale_mode_from_string(const char *s) {
        for (int m = 0; m < _SCALE_MODE_MAX; m++)
                if (strcmp(s, mode_names[m]) == 0)
                        return (ScaleMode) m;
        return _SCALE_MODE_INVALID;
}

static const char *const reason_texts[_SCALE_REASON_MAX] = {
        [SCALE_KEEP] = "",
        [SCALE_UP_QUEUED] = "more than UpAt jobs queued per worker",
        [SCALE_UP_WAITED] = "the oldest job waited over TargetWait at two intervals running",
        [SCALE_UP_TO_MIN] = "fewer workers than MinWorkers",
        [SCALE_DOWN_QUEUED] = "fewer than DownAt jobs queued per worker",
        [SCALE_DOWN_IDLE] = "a worker was idle for all of the last 30s",
        [SCALE_DOWN_STALLED] = "the host stalls",
        [SCALE_DOWN_TO_MAX] = "more workers than MaxWorkers",
};

const char *scale_reason_to_string(ScaleReason r) {
        return (unsigned) r < _SCALE_REASON_MAX ? reason_texts[r] : NULL;
}
