/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Histogram of spans: log-linear buckets (16 per power of two, as in HdrHistogram by Gil Tene), so
 * any percentile is at most 1/16 above the true one. Pure; not thread-safe. */

#include <stdint.h>

#include "util/time.h"

typedef struct Histogram Histogram;

#define HISTOGRAM_SUB_BITS 4
#define HISTOGRAM_MAX_BITS 40 /* 2^40 us are 12 days; percentiles beyond show as the maximum */
#define HISTOGRAM_BUCKETS (((HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS) + 1) << HISTOGRAM_SUB_BITS)

struct Histogram {
        uint64_t n;
        usec_t max; /* exact */
        uint32_t buckets[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket(usec_t span) {
        unsigned shift;

        if (span < (1U << HISTOGRAM_SUB_BITS))
                return (unsigned) span;
        if (span >> HISTOGRAM_MAX_BITS)
                return HISTOGRAM_BUCKETS - 1;
        shift = 63 - HISTOGRAM_SUB_BITS - (unsigned) __builtin_clzll(span);
        return (shift << HISTOGRAM_SUB_BITS) + (unsigned) (span >> shift);
}

/* Counts n spans of this length. Buckets saturate. */
static inline void histogram_add(Histogram *h, usec_t span, uint32_t n) {
        uint32_t *bucket = &h->buckets[histogram_bucket(span)];

        if (__builtin_add_overflow(*bucket, n, bucket))
                *bucket = UINT32_MAX;
        h->n += n;
        if (span > h->max)
                h->max = span;
}

/* The least bound (µs) that at least `permille` of the spans do not exceed; never above the
 * maximum. 0 if there are none. */
usec_t histogram_quantile(const Histogram *h, unsigned permille);
