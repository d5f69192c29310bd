/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Retry: may a job whose attempt has ended have another one, and when? Pure: the caller counts the
 * attempts and brings the random number. */

#include <stdint.h>

#include "core/job.h"
#include "util/time.h"

typedef struct RetryConfig RetryConfig;
typedef struct RetryStats RetryStats;

/* How often an attempt that asks for another one (exit 75, Error.Retry) gets it whatever
 * MaxAttempts says. */
#define RETRY_ASKED_MAX 3

typedef enum RetryVerdict {
        RETRY_NOT,   /* what has come out is final */
        RETRY_AFTER, /* another attempt, after the delay */
} RetryVerdict;

struct RetryConfig {
        uint32_t max_attempts; /* 1 = no retry but those that are asked for */
        usec_t backoff;        /* the delay after the first attempt */
        usec_t backoff_max;    /* no delay is longer; infinity = USEC_SPAN_MAX */
};

/* The attempts of one job since it was accepted or kicked, that which has just ended included.
 * Those that a shutdown cut short do not count. */
struct RetryStats {
        uint32_t attempts; /* at least 1 */
        uint32_t asked;    /* how many of them ended with OUTCOME_RETRY or OUTCOME_GONE */
};

/* The last attempt ended with `outcome`; `stop` says whether it had been told to stop before. A
 * cancelled job has no further attempt; running out of time is a failure as any other. `random` is
 * any 64 bits. *ret_delay is set for RETRY_AFTER alone: with b = min(Backoff × 2^(attempts - 1),
 * BackoffMax) it is evenly spread over b / 2 … min(b × 3 / 2, BackoffMax); after OUTCOME_GONE it is
 * 0. */
RetryVerdict retry_ask(const RetryConfig *config, const RetryStats *stats, Outcome outcome,
        JobStop stop, uint64_t random, usec_t *ret_delay);
