/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Scaler: how many workers a pool should have. Looks at the pool once per Interval, and not at all
 * while nothing could change. Pure; not thread-safe: the pool's lock guards it. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/time.h"

typedef struct Scaler Scaler;
typedef struct ScalerConfig ScalerConfig;
typedef struct ScalerStats ScalerStats;
typedef struct ScalerStrategy ScalerStrategy;

typedef enum ScaleMode {
        SCALE_OFF,
        SCALE_QUEUE,
        SCALE_WAIT,
        SCALE_PRESSURE,
        _SCALE_MODE_MAX,
        _SCALE_MODE_INVALID = -EINVAL,
} ScaleMode;

/* Why the number of workers is to change. */
typedef enum ScaleReason {
        SCALE_KEEP, /* it is not */
        SCALE_UP_QUEUED,
        SCALE_UP_WAITED,
        SCALE_UP_TO_MIN,
        SCALE_DOWN_QUEUED,
        SCALE_DOWN_IDLE,
        SCALE_DOWN_STALLED,
        SCALE_DOWN_TO_MAX,
        _SCALE_REASON_MAX,
} ScaleReason;

struct ScalerConfig {
        ScaleMode mode;
        usec_t interval;  /* above 0 */
        uint32_t up_at;   /* queue, pressure: more jobs queued per worker ask for one worker more */
        uint32_t down_at; /* fewer ask for one less */
        usec_t target_wait; /* wait */
};

/* The pool as it is. Jobs that a rate, a breaker, a key or a pause holds back are no demand: more
 * workers would not run them any earlier. */
struct ScalerStats {
        usec_t now;
        uint32_t workers; /* without those that were told to leave */
        uint32_t idle;
        uint64_t queued;    /* the demand */
        usec_t oldest_wait; /* how long the oldest of them has waited since it was due */
        uint32_t min, max;  /* workers, min ≤ max */
        bool stalled;       /* pressure: the host stalls */
};

/* While next_at is finite the pool has demand, or other than Min workers; otherwise the rest of the
 * state is as after scaler_init(). */
struct Scaler {
        ScalerConfig config;
        const ScalerStrategy *strategy;
        usec_t next_at;    /* the end of this Interval */
        uint32_t n_late;   /* wait: Intervals in a row at which the oldest had waited too long */
        usec_t idle_since; /* wait: since then a worker was always idle; USEC_INFINITY = none is */
};

bool scaler_config_equal(const ScalerConfig *a, const ScalerConfig *b);

/* Copies the configuration. To change it, initialise anew. */
void scaler_init(Scaler *scaler, const ScalerConfig *config);

/* The pool has changed. To be called at least when the first job queues, when the first worker goes
 * idle or the last idle one gets work, and when the number of workers or its bounds change; a few
 * nanoseconds. */
void scaler_report(Scaler *scaler, const ScalerStats *stats);

/* How many workers are wanted from now on: *ret_workers, always min to max, and why. Before the end
 * of the Interval that is what there is, as far as it is in bounds. Where fewer are wanted, an idle
 * one is to leave, or the next that becomes idle; where more are, those that were told to leave and
 * have not yet stay first. */
ScaleReason scaler_ask(Scaler *scaler, const ScalerStats *stats, uint32_t *ret_workers);

/* When to ask: the end of the Interval, USEC_INFINITY while nothing can change without a report. */
usec_t scaler_wake_at(const Scaler *scaler);

const char *scale_mode_to_string(ScaleMode m); /* NULL for what has no name */
ScaleMode scale_mode_from_string(const char *s);

/* The rule that asked for the change, in terms of the settings; "" for SCALE_KEEP. */
const char *scale_reason_to_string(ScaleReason r);

/* One way to decide. */
struct ScalerStrategy {
        /* Learns from a report; NULL if it needs none. */
        void (*report)(Scaler *scaler, const ScalerStats *stats);

        /* At the end of an Interval: by how many workers the number should change, regardless of
         * bounds, and why. */
        ScaleReason (*ask)(Scaler *scaler, const ScalerStats *stats, int64_t *ret_change);
};

extern const ScalerStrategy scaler_queue;
extern const ScalerStrategy scaler_wait;
extern const ScalerStrategy scaler_pressure;
