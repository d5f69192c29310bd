/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/histogram.h"
#include "core/random.h"
#include "util/macro.h"

static int compare_spans(const void *a, const void *b) {
        const usec_t *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

static void an_empty_histogram_answers_zero(void **state) {
        Histogram h = {};

        assert_int_equal(histogram_quantile(&h, 500), 0);
        assert_int_equal(histogram_quantile(&h, 1000), 0);
}

static void small_spans_are_exact(void **state) {
        Histogram h = {};

        for (usec_t span = 1; span <= 10; span++)
                histogram_add(&h, span, 1);
        assert_int_equal(histogram_quantile(&h, 0), 1);
        assert_int_equal(histogram_quantile(&h, 100), 1);
        assert_int_equal(histogram_quantile(&h, 101), 2);
        assert_int_equal(histogram_quantile(&h, 500), 5);
        assert_int_equal(histogram_quantile(&h, 990), 10);
        assert_int_equal(histogram_quantile(&h, 1000), 10);
        assert_int_equal(h.max, 10);
        assert_int_equal(h.n, 10);
}

static void buckets_follow_each_other_without_a_gap(void **state) {
        unsigned last = 0;

        for (usec_t span = 1; span < 1 << 20; span++) {
                unsigned bucket = histogram_bucket(span);

                assert_true(bucket == last || bucket == last + 1);
                last = bucket;
        }
        for (unsigned bits = 20; bits < HISTOGRAM_MAX_BITS; bits++) {
                assert_int_equal(histogram_bucket((usec_t) 1 << bits),
                        histogram_bucket(((usec_t) 1 << bits) - 1) + 1);
                assert_true(histogram_bucket((usec_t) 1 << bits) < HISTOGRAM_BUCKETS);
        }
        assert_int_equal(
                histogram_bucket(((usec_t) 1 << HISTOGRAM_MAX_BITS) - 1), HISTOGRAM_BUCKETS - 1);
        assert_int_equal(histogram_bucket((usec_t) 1 << HISTOGRAM_MAX_BITS), HISTOGRAM_BUCKETS - 1);
        assert_int_equal(histogram_bucket(USEC_INFINITY), HISTOGRAM_BUCKETS - 1);
}

static void percentiles_are_at_most_a_sixteenth_above_the_true_ones(void **state) {
        static usec_t spans[2000];

        for (uint64_t seed = 1; seed <= 50; seed++) {
                uint64_t random = seed;
                Histogram h = {};

                for (size_t i = 0; i < ELEMENTSOF(spans); i++) {
                        spans[i] = random_next(&random) >> (26 + random_below(&random, 38));
                        histogram_add(&h, spans[i], 1);
                }
                qsort(spans, ELEMENTSOF(spans), sizeof(spans[0]), compare_spans);

                for (unsigned permille = 1; permille <= 1000; permille++) {
                        usec_t exact = spans[(ELEMENTSOF(spans) * permille + 999) / 1000 - 1];
                        usec_t shown = histogram_quantile(&h, permille);

                        assert_in_range(shown, exact, exact + exact / 16);
                        assert_true(shown <= h.max);
                }
        }
}

static void spans_beyond_the_last_bucket_show_as_the_maximum(void **state) {
        Histogram h = {};

        histogram_add(&h, 5, 1);
        histogram_add(&h, 100 * USEC_PER_DAY, 1);
        histogram_add(&h, 200 * USEC_PER_DAY, 1);
        assert_int_equal(histogram_quantile(&h, 333), 5);
        assert_int_equal(histogram_quantile(&h, 500), 200 * USEC_PER_DAY);
        assert_int_equal(h.max, 200 * USEC_PER_DAY);
}

static void a_full_bucket_stays_full(void **state) {
        Histogram h = {};

        histogram_add(&h, 3, UINT32_MAX);
        histogram_add(&h, 3, 7);
        histogram_add(&h, 9, 1);
        assert_int_equal(h.buckets[3], UINT32_MAX);
        assert_int_equal(h.n, (uint64_t) UINT32_MAX + 8);
        assert_int_equal(histogram_quantile(&h, 999), 3);
        assert_int_equal(histogram_quantile(&h, 1000), 9);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_empty_histogram_answers_zero),
                cmocka_unit_test(small_spans_are_exact),
                cmocka_unit_test(buckets_follow_each_other_without_a_gap),
                cmocka_unit_test(percentiles_are_at_most_a_sixteenth_above_the_true_ones),
                cmocka_unit_test(spans_beyond_the_last_bucket_show_as_the_maximum),
                cmocka_unit_test(a_full_bucket_stays_full),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
