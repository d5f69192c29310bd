/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/histogram.h"
#include "util/macro.h"

/* The largest span that falls into the bucket. */
static usec_t bucket_bound(unsigned bucket) {
        unsigned shift;

        if (bucket < (1U << HISTOGRAM_SUB_BITS))
                return bucket;
        shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
        return (((usec_t) (bucket - (shift << HISTOGRAM_SUB_BITS)) + 1) << shift) - 1;
}

usec_t histogram_quantile(const Histogram *h, unsigned permille) {
        uint64_t total = 0, seen = 0, wanted;

        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
                total += h->buckets[i];
        if (total == 0)
                return 0;
        /* At most 2^42 are counted, so the product fits. */
        wanted = (total * permille + 999) / 1000;
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
                seen += h->buckets[i];
                if (seen >= wanted && seen > 0)
                        return MIN(bucket_bound(i), h->max);
        }
        return h->max;
}
