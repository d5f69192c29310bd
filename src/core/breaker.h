/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Circuit breaker: stops work while too much of it fails. Pure; the caller brings the time and
 * acts on the verdict. Not thread-safe: the caller holds its lock. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/time.h"

typedef struct Breaker Breaker;
typedef struct BreakerConfig BreakerConfig;

#define BREAKER_WINDOW_MAX 10000

typedef enum BreakerMode {
        BREAKER_AUTO,
        BREAKER_FORCED_OPEN, /* rejects everything */
        BREAKER_DISABLED,    /* is closed and lets everything pass, whatever fails */
        _BREAKER_MODE_MAX,
        _BREAKER_MODE_INVALID = -EINVAL,
} BreakerMode;

typedef enum BreakerState {
        BREAKER_CLOSED,
        BREAKER_OPEN,
        BREAKER_HALF_OPEN,
        _BREAKER_STATE_MAX,
        _BREAKER_STATE_INVALID = -EINVAL,
} BreakerState;

typedef enum BreakerVerdict {
        BREAKER_PASS,
        BREAKER_PROBE, /* one of the few that half-open lets through */
        BREAKER_REJECT,
} BreakerVerdict;

struct BreakerConfig {
        BreakerMode mode;
        uint32_t max_failures;         /* in a row; 0 = that rule is off */
        uint32_t failure_rate_percent; /* up to 100; 0 = that rule is off */
        uint32_t window_size;          /* calls, 1 to BREAKER_WINDOW_MAX */
        uint32_t minimum_calls;        /* for the percentage; at most the window counts */
        usec_t reset_timeout;
        usec_t reset_timeout_max;    /* one below reset_timeout: it does not grow */
        uint32_t half_open_probes;   /* at least 1 */
        uint32_t successes_to_close; /* at least 1 */
};

/* A generation is the time between two changes of the state; results of an older one change
 * nothing but the lifetime figures. So within one generation the state and all permits are of one
 * kind. */
struct Breaker {
        BreakerConfig config;
        BreakerState state;
        uint64_t generation;
        usec_t retry_at;    /* while open: when it becomes half-open; fixed at the trip */
        uint32_t doublings; /* of the next reset time-out */
        uint32_t failures;  /* in a row */
        uint32_t successes; /* of this half-open generation */
        uint32_t in_flight; /* permits of this generation */
        uint32_t probes;    /* permits of all half-open generations */
        uint64_t *window;   /* owned: a bit per call of this closed generation, 1 = failed */
        uint32_t n_window, n_window_failures;
        uint32_t window_next;                  /* index of the oldest one once the window is full */
        uint64_t trips, n_succeeded, n_failed; /* lifetime */
};

bool breaker_config_is_valid(const BreakerConfig *config);

/* Copies `config`, which is valid. Closed, or open if forced. 0 or -ENOMEM. */
int breaker_init(Breaker *breaker, const BreakerConfig *config);
void breaker_done(Breaker *breaker);

/* Takes new settings; the window keeps its latest calls. They judge from the next result on; an
 * open breaker stays so until the moment that was fixed. A new mode starts afresh, as
 * breaker_reset() does. 0, or -ENOMEM with nothing changed. */
int breaker_set(Breaker *breaker, const BreakerConfig *config);

/* May one call start at `now`? PASS and PROBE hand out a permit of this generation, which is due to
 * be reported or cancelled, once, however late; with REJECT it is 0, which no permit is. */
BreakerVerdict breaker_ask(Breaker *breaker, usec_t now, uint64_t *ret_permit);

/* What breaker_ask() would answer, without a permit. */
BreakerVerdict breaker_peek(const Breaker *breaker, usec_t now);

/* Is it as a new one but for its lifetime figures: closed, with an empty window, and no permit out?
 */
bool breaker_is_fresh(const Breaker *breaker);

/* How many calls in a row it would let pass; UINT64_MAX while it counts none. */
uint64_t breaker_room(const Breaker *breaker, usec_t now);

/* The call has ended; one that took too long is reported as a failure. True if breaker_peek() may
 * answer differently from now on. */
bool breaker_report(Breaker *breaker, uint64_t permit, bool succeeded, usec_t now);

/* The permit was not used: neither a success nor a failure. Returns as breaker_report(). */
bool breaker_cancel(Breaker *breaker, uint64_t permit);

/* The same by hand, in mode auto only; else they return false and change nothing. A trip opens it
 * for the reset time-out from now on, also if it is open. A reset closes it and forgets the window
 * and how the time-out has grown. */
bool breaker_trip(Breaker *breaker, usec_t now);
bool breaker_reset(Breaker *breaker);

/* Open to half-open, if it is time for it; true if so. */
bool breaker_advance(Breaker *breaker, usec_t now);

/* The state as breaker_advance() would leave it. */
BreakerState breaker_state(const Breaker *breaker, usec_t now);

/* How long until it lets something through again: 0 unless open, USEC_INFINITY if forced. */
usec_t breaker_retry_after(const Breaker *breaker, usec_t now);

/* Closed: the calls of this generation; otherwise the probes, those of older generations too. */
uint32_t breaker_in_flight(const Breaker *breaker);

/* When breaker_advance() next changes something by the time alone. */
usec_t breaker_wake_at(const Breaker *breaker);

const char *breaker_mode_to_string(BreakerMode mode); /* NULL for what has no name */
BreakerMode breaker_mode_from_string(const char *s);
const char *breaker_state_to_string(BreakerState state);
BreakerState breaker_state_from_string(const char *s);
