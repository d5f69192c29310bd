/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Closed, it judges the results of what it let pass: too many failures in a row, or too large a
 * part of the last calls. Open, it rejects everything for a time that is fixed at the trip: late
 * failures do not prolong it. Half-open, a few probes decide: one failure opens it again, for twice
 * as long, and enough successes close it.
 *
 * What keeps this sound is the generation in each permit. A call that began while the breaker was
 * closed and succeeds in half-open says nothing about now, so it neither closes the breaker nor
 * frees a probe's place. A probe of an earlier half-open time, however, is still out there: it does
 * not judge, but it keeps its place until it ends, so that there are never more probes at work than
 * the settings allow. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/breaker.h"
#include "util/macro.h"

#define BITS_PER_WORD 64

static const char *const mode_names[_BREAKER_MODE_MAX] = {
        [BREAKER_AUTO] = "auto",
        [BREAKER_FORCED_OPEN] = "open",
        [BREAKER_DISABLED] = "disabled",
};

static const char *const state_names[_BREAKER_STATE_MAX] = {
        [BREAKER_CLOSED] = "closed",
        [BREAKER_OPEN] = "open",
        [BREAKER_HALF_OPEN] = "half-open",
};

const char *breaker_mode_to_string(BreakerMode mode) {
        return mode >= 0 && mode < _BREAKER_MODE_MAX ? mode_names[mode] : NULL;
}

BreakerMode breaker_mode_from_string(const char *s) {
        for (int i = 0; i < _BREAKER_MODE_MAX; i++)
                if (strcmp(s, mode_names[i]) == 0)
                        return (BreakerMode) i;
        return _BREAKER_MODE_INVALID;
}

const char *breaker_state_to_string(BreakerState state) {
        return state >= 0 && state < _BREAKER_STATE_MAX ? state_names[state] : NULL;
}

BreakerState breaker_state_from_string(const char *s) {
        for (int i = 0; i < _BREAKER_STATE_MAX; i++)
                if (strcmp(s, state_names[i]) == 0)
                        return (BreakerState) i;
        return _BREAKER_STATE_INVALID;
}

bool breaker_config_is_valid(const BreakerConfig *config) {
        return breaker_mode_to_string(config->mode) && config->failure_rate_percent <= 100 &&
               config->window_size >= 1 && config->window_size <= BREAKER_WINDOW_MAX &&
               config->half_open_probes >= 1 && config->successes_to_close >= 1;
}

/* A permit is its generation and whether it is a probe. */
static uint64_t permit_make(uint64_t generation, bool probe) {
        return generation << 1 | probe;
}

static bool permit_is_probe(uint64_t permit) {
        return permit & 1;
}

static uint64_t *window_new(uint32_t size) {
        return calloc((size + BITS_PER_WORD - 1) / BITS_PER_WORD, sizeof(uint64_t));
}

static bool window_get(const uint64_t *window, uint32_t i) {
        return window[i / BITS_PER_WORD] >> (i % BITS_PER_WORD) & 1;
}

static void window_put(uint64_t *window, uint32_t i, bool failed) {
        uint64_t bit = UINT64_C(1) << (i % BITS_PER_WORD);

        if (failed)
                window[i / BITS_PER_WORD] |= bit;
        else
                window[i / BITS_PER_WORD] &= ~bit;
}

static void breaker_record(Breaker *b, bool failed) {
        if (b->n_window < b->config.window_size)
                b->n_window++;
        else
                b->n_window_failures -= window_get(b->window, b->window_next);
        window_put(b->window, b->window_next, failed);
        b->n_window_failures += failed;
        if (++b->window_next == b->config.window_size)
                b->window_next = 0;
}

static void breaker_enter(Breaker *b, BreakerState state) {
        b->state = state;
        b->generation++;
        b->in_flight = 0;
        b->successes = 0;
        b->n_window = b->n_window_failures = b->window_next = 0;
}

/* Closed, or forced open, and nothing is known of before. */
static void breaker_start(Breaker *b) {
        breaker_enter(b, b->config.mode == BREAKER_FORCED_OPEN ? BREAKER_OPEN : BREAKER_CLOSED);
        b->retry_at = USEC_INFINITY;
        b->doublings = 0;
        b->failures = 0;
}

int breaker_init(Breaker *b, const BreakerConfig *config) {
        uint64_t *window;

        assert(breaker_config_is_valid(config));

        window = window_new(config->window_size);
        if (!window)
                return -ENOMEM;
        *b = (Breaker){ .config = *config, .window = window };
        breaker_start(b);
        return 0;
}

void breaker_done(Breaker *b) {
        free(b->window);
        *b = (Breaker){};
}

static int breaker_resize_window(Breaker *b, uint32_t size) {
        uint32_t old_size = b->config.window_size, n = MIN(b->n_window, size), failures = 0;
        uint64_t *window = window_new(size);

        if (!window)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
                bool failed = window_get(b->window, (b->window_next + old_size - n + i) % old_size);

                window_put(window, i, failed);
                failures += failed;
        }
        free(b->window);
        b->window = window;
        b->n_window = n;
        b->n_window_failures = failures;
        b->window_next = n % size;
        return 0;
}

int breaker_set(Breaker *b, const BreakerConfig *config) {
        BreakerMode old_mode = b->config.mode;

        assert(breaker_config_is_valid(config));

        if (config->window_size != b->config.window_size) {
                int r = breaker_resize_window(b, config->window_size);

                if (r < 0)
                        return r;
        }
        b->config = *config;
        if (config->mode != old_mode)
                breaker_start(b);
        return 0;
}

/* reset_timeout x 2^doublings, up to its maximum. */
static usec_t breaker_reset_timeout(const Breaker *b) {
        usec_t start = b->config.reset_timeout, max = MAX(start, b->config.reset_timeout_max);

        if (b->doublings >= 64 || start > max >> b->doublings)
                return max;
        return start << b->doublings;
}

static void breaker_open(Breaker *b, usec_t now) {
        if (b->state == BREAKER_HALF_OPEN && breaker_reset_timeout(b) < b->config.reset_timeout_max)
                b->doublings++;
        breaker_enter(b, BREAKER_OPEN);
        b->retry_at = usec_add(now, breaker_reset_timeout(b));
        b->trips++;
}

BreakerState breaker_state(const Breaker *b, usec_t now) {
        if (b->state == BREAKER_OPEN && b->retry_at != USEC_INFINITY && now >= b->retry_at)
                return BREAKER_HALF_OPEN;
        return b->state;
}

bool breaker_advance(Breaker *b, usec_t now) {
        BreakerState state = breaker_state(b, now);

        if (state == b->state)
                return false;
        breaker_enter(b, state);
        return true;
}

BreakerVerdict breaker_peek(const Breaker *b, usec_t now) {
        switch (breaker_state(b, now)) {

        case BREAKER_CLOSED:
                return BREAKER_PASS;

        case BREAKER_HALF_OPEN:
                return b->probes < b->config.half_open_probes ? BREAKER_PROBE : BREAKER_REJECT;

        case BREAKER_OPEN:
        case _BREAKER_STATE_MAX:
        case _BREAKER_STATE_INVALID:
                return BREAKER_REJECT;
        }
        return BREAKER_REJECT;
}

bool breaker_is_fresh(const Breaker *b) {
        return b->state == BREAKER_CLOSED && b->n_window == 0 && b->failures == 0 &&
               b->doublings == 0 && b->in_flight == 0 && b->probes == 0;
}

uint64_t breaker_room(const Breaker *b, usec_t now) {
        switch (breaker_peek(b, now)) {

        case BREAKER_PASS:
                return UINT64_MAX;

        case BREAKER_PROBE:
                return b->config.half_open_probes - b->probes;

        case BREAKER_REJECT:
                break;
        }
        return 0;
}

BreakerVerdict breaker_ask(Breaker *b, usec_t now, uint64_t *ret_permit) {
        BreakerVerdict verdict;

        breaker_advance(b, now);
        verdict = breaker_peek(b, now);
        if (verdict == BREAKER_REJECT) {
                *ret_permit = 0;
                return verdict;
        }
        b->in_flight++;
        b->probes += verdict == BREAKER_PROBE;
        *ret_permit = permit_make(b->generation, verdict == BREAKER_PROBE);
        return verdict;
}

/* Is it of this generation, so that its result counts? */
static bool breaker_end_permit(Breaker *b, uint64_t permit) {
        if (permit_is_probe(permit)) {
                assert(b->probes > 0);
                b->probes--;
        }
        if (permit >> 1 != b->generation)
                return false;
        assert(b->in_flight > 0);
        b->in_flight--;
        return true;
}

static bool breaker_has_failed(const Breaker *b) {
        const BreakerConfig *c = &b->config;

        if (c->max_failures > 0 && b->failures >= c->max_failures)
                return true;
        /* At most 10000 x 100 each side. */
        return c->failure_rate_percent > 0 && b->n_window > 0 &&
               b->n_window >= MIN(c->minimum_calls, c->window_size) &&
               b->n_window_failures * 100 >= c->failure_rate_percent * b->n_window;
}

static void breaker_judge_closed(Breaker *b, bool succeeded, usec_t now) {
        if (b->config.mode == BREAKER_DISABLED)
                return;
        breaker_record(b, !succeeded);
        /* The window began with the closing: so many calls without a trip. */
        if (b->n_window == b->config.window_size)
                b->doublings = 0;
        if (breaker_has_failed(b))
                breaker_open(b, now);
}

static void breaker_judge_half_open(Breaker *b, bool succeeded, usec_t now) {
        if (!succeeded)
                breaker_open(b, now);
        else if (++b->successes >= b->config.successes_to_close)
                breaker_enter(b, BREAKER_CLOSED);
}

bool breaker_report(Breaker *b, uint64_t permit, bool succeeded, usec_t now) {
        uint64_t generation = b->generation;

        if (succeeded)
                b->n_succeeded++;
        else
                b->n_failed++;
        if (!breaker_end_permit(b, permit))
                return permit_is_probe(permit) && b->state == BREAKER_HALF_OPEN;

        if (succeeded)
                b->failures = 0;
        else if (b->failures < UINT32_MAX)
                b->failures++;

        switch (b->state) {

        case BREAKER_CLOSED:
                breaker_judge_closed(b, succeeded, now);
                break;

        case BREAKER_HALF_OPEN:
                breaker_judge_half_open(b, succeeded, now);
                break;

        case BREAKER_OPEN: /* hands out no permit */
        case _BREAKER_STATE_MAX:
        case _BREAKER_STATE_INVALID:
                assert(false);
        }
        return b->generation != generation || b->state == BREAKER_HALF_OPEN;
}

bool breaker_cancel(Breaker *b, uint64_t permit) {
        (void) breaker_end_permit(b, permit);
        return permit_is_probe(permit) && b->state == BREAKER_HALF_OPEN;
}

bool breaker_trip(Breaker *b, usec_t now) {
        if (b->config.mode != BREAKER_AUTO)
                return false;
        /* Its time may be over without anybody having asked. */
        breaker_advance(b, now);
        if (b->state == BREAKER_OPEN)
                b->retry_at = usec_add(now, breaker_reset_timeout(b));
        else
                breaker_open(b, now);
        return true;
}

bool breaker_reset(Breaker *b) {
        if (b->config.mode != BREAKER_AUTO)
                return false;
        breaker_start(b);
        return true;
}

usec_t breaker_retry_after(const Breaker *b, usec_t now) {
        return b->state == BREAKER_OPEN ? usec_sub(b->retry_at, now) : 0;
}

uint32_t breaker_in_flight(const Breaker *b) {
        return b->state == BREAKER_CLOSED ? b->in_flight : b->probes;
}

usec_t breaker_wake_at(const Breaker *b) {
        return b->state == BREAKER_OPEN ? b->retry_at : USEC_INFINITY;
}
