/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <locale.h>
#include <string.h>

#include "ctl/progress.h"
#include "ctl/text.h"
#include "test.h"

#define AT(sec) ((sec) *USEC_PER_SEC)

static void line_says_what_is_known_in_the_columns_there_are(void **state) {
        static const struct {
                Progress progress;
                size_t columns;
                const char *expected;
        } rows[] = {
                { { .done = 8, .fraction = 0.25, .rate = 2, .fraction_rate = 0.01 }, 60,
                        " 25% [######------------------] 8 done, 2.0/s, 1min 15s left" },
                { { .done = 8, .fraction = 0.25, .rate = 2, .fraction_rate = 0.01 }, 200,
                        " 25% [##########------------------------------] 8 done, 2.0/s, 1min 15s "
                        "left" },
                { { .done = 8, .fraction = 0.25, .rate = 2, .fraction_rate = 0.01 }, 40,
                        "8 done, 2.0/s, 1min 15s left" },
                { { .done = 8, .fraction = 0.25, .rate = 2, .fraction_rate = 0.01 }, 20,
                        "8 done, 2.0/s, 1m..." },
                { { .done = 8, .fraction = 0.25, .rate = 2, .fraction_rate = 0.01 }, 0, "" },
                { { .done = 10, .failed = 3, .fraction = 1, .rate = 250, .fraction_rate = 0.1 }, 60,
                        "100% [####################] 10 done, 3 failed, 250/s, 0 left" },
                { { .done = 1234567, .fraction = FRACTION_UNKNOWN, .rate = 1234567 }, 80,
                        "1234567 done, 1.2M/s, 1min 30s so far" },
                { { .done = 0, .fraction = 0, .rate = 0 }, 70,
                        "  0% [-------------------------------] 0 done, 0.00/s, 1min 30s so far" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *line =
                        progress_line(&rows[i].progress, AT(90), rows[i].columns);

                assert_string_equal(line, rows[i].expected);
                assert_true(text_columns(line) <= rows[i].columns);
        }
}

static void rates_have_two_digits(void **state) {
        static const struct {
                double rate;
                const char *expected;
        } rows[] = {
                { 0, "0.00/s" },
                { 0.251, "0.25/s" },
                { 7.34, "7.3/s" },
                { 99.4, "99.4/s" },
                { 120.4, "120/s" },
                { 999.4, "999/s" },
                { 1900, "1.9k/s" },
                { 999400, "999k/s" },
                { 2100000, "2.1M/s" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Progress progress = { .fraction = FRACTION_UNKNOWN, .rate = rows[i].rate };
                _cleanup_free_ char *line = progress_line(&progress, 0, 80);

                assert_non_null(strstr(line, rows[i].expected));
        }
}

static void rate_follows_the_last_seconds(void **state) {
        Progress p;

        progress_init(&p, AT(0));
        progress_sample(&p, 100, 0, FRACTION_UNKNOWN, AT(1));
        assert_in_range((uint64_t) p.rate, 99, 101);
        for (uint64_t t = 2; t <= 30; t++)
                progress_sample(&p, 100 * t, 0, FRACTION_UNKNOWN, AT(t));
        assert_in_range((uint64_t) p.rate, 99, 101);

        /* It changes to 10 per second; after some seconds that is what it says. */
        progress_sample(&p, 3010, 0, FRACTION_UNKNOWN, AT(31));
        assert_in_range((uint64_t) p.rate, 50, 90);
        for (uint64_t t = 32; t <= 60; t++)
                progress_sample(&p, 3000 + 10 * (t - 30), 0, FRACTION_UNKNOWN, AT(t));
        assert_in_range((uint64_t) p.rate, 9, 11);
}

static void time_left_is_what_the_rest_takes(void **state) {
        Progress p;

        progress_init(&p, AT(0));
        assert_int_equal(progress_time_left(&p), USEC_INFINITY);
        progress_sample(&p, 10, 0, FRACTION_UNKNOWN, AT(1));
        assert_int_equal(progress_time_left(&p), USEC_INFINITY);

        progress_init(&p, AT(0));
        for (uint64_t t = 1; t <= 25; t++)
                progress_sample(&p, t, 0, (double) t / 100, AT(t));
        assert_in_range(progress_time_left(&p), AT(74), AT(76));

        /* A sample at the same moment, or an end that moves away, does no harm. */
        progress_sample(&p, 25, 0, 0.25, AT(25));
        assert_in_range(progress_time_left(&p), AT(74), AT(76));
        progress_sample(&p, 26, 0, 0.01, AT(26));
        assert_true(progress_time_left(&p) > AT(76));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(line_says_what_is_known_in_the_columns_there_are),
                cmocka_unit_test(rates_have_two_digits),
                cmocka_unit_test(rate_follows_the_last_seconds),
                cmocka_unit_test(time_left_is_what_the_rest_takes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
