/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two allowances, either of which is enough: the pool grants a retry of any failure while fewer
 * than MaxAttempts were made, and an attempt that asks for another one is granted it
 * RETRY_ASKED_MAX times. So no job has more than MaxAttempts + RETRY_ASKED_MAX attempts.
 *
 * The spread around the delay keeps jobs that failed together from coming back together. To cut it
 * at BackoffMax would bring half of them back at that very moment, so the range is narrowed
 * instead. */

#include <assert.h>
#include <stdbool.h>

#include "core/retry.h"
#include "util/macro.h"

static bool is_granted(const RetryConfig *config, const RetryStats *stats, Outcome outcome) {
        bool by_pool = stats->attempts < config->max_attempts;

        switch (outcome) {
        case OUTCOME_SUCCESS:
        case OUTCOME_FATAL:
        case OUTCOME_RELEASED:
                return false;
        case OUTCOME_FAILURE:
        case OUTCOME_LOST:
                return by_pool;
        case OUTCOME_RETRY:
        case OUTCOME_GONE:
                return by_pool || stats->asked <= RETRY_ASKED_MAX;
        }
        return false;
}

/* A number from low to high, by where `random` is among all 64-bit numbers. */
static usec_t spread(usec_t low, usec_t high, uint64_t random) {
        return low + (usec_t) (((unsigned __int128) random * (high - low + 1)) >> 64);
}

static usec_t delay_of(const RetryConfig *config, uint32_t attempts, uint64_t random) {
        /* Far below 2^62, so that one and a half times that is a usec_t as well, and that nothing
         * but a Backoff of 0 can be doubled 63 times. */
        usec_t max = MIN(config->backoff_max, USEC_SPAN_MAX);
        unsigned doublings = MIN(attempts - 1, 63U);
        usec_t base = config->backoff > max >> doublings ? max : config->backoff << doublings;

        return spread(base / 2, MIN(base + base / 2, max), random);
}

RetryVerdict retry_ask(const RetryConfig *config, const RetryStats *stats, Outcome outcome,
        JobStop stop, uint64_t random, usec_t *ret_delay) {
        assert(stats->attempts > 0);
        assert(stats->asked <= stats->attempts);

        if (stop == JOB_STOP_CANCEL || !is_granted(config, stats, outcome))
                return RETRY_NOT;
        /* That somebody has gone says nothing of the job. */
        *ret_delay = outcome == OUTCOME_GONE ? 0 : delay_of(config, stats->attempts, random);
        return RETRY_AFTER;
}
