/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "test.h"
#include "util/macro.h"
#include "util/time.h"

static void sums_and_differences_saturate(void **state) {
        assert_int_equal(usec_add(1, 2), 3);
        assert_int_equal(usec_add(USEC_INFINITY - 1, 1), USEC_INFINITY);
        assert_int_equal(usec_add(USEC_INFINITY - 1, 2), USEC_INFINITY);
        assert_int_equal(usec_add(1, USEC_INFINITY), USEC_INFINITY);
        assert_int_equal(usec_add(USEC_INFINITY, USEC_INFINITY), USEC_INFINITY);
        assert_int_equal(usec_sub(3, 2), 1);
        assert_int_equal(usec_sub(2, 3), 0);
        assert_int_equal(usec_sub(2, USEC_INFINITY), 0);
        assert_int_equal(usec_sub(USEC_INFINITY, 2), USEC_INFINITY);
}

static void spans_are_read(void **state) {
        static const struct {
                const char *text;
                int r;
                usec_t usec;
        } rows[] = {
                { "0", 0, 0 },
                { "30", 0, 30 * USEC_PER_SEC },
                { "30s", 0, 30 * USEC_PER_SEC },
                { " 30 s ", 0, 30 * USEC_PER_SEC },
                { "1.5s", 0, 1500 * USEC_PER_MSEC },
                { ".5s", 0, 500 * USEC_PER_MSEC },
                { "1.", 0, USEC_PER_SEC },
                { "1.9us", 0, 1 },
                { "0.000001", 0, 1 },
                { "0.1234567899999", 0, 123456 },
                { "1min 30s", 0, 90 * USEC_PER_SEC },
                { "1min30s", 0, 90 * USEC_PER_SEC },
                { "1min 30", 0, 90 * USEC_PER_SEC },
                { "5m", 0, 5 * USEC_PER_MINUTE },
                { "2 hours 3 minutes 4 seconds", 0, 7384 * USEC_PER_SEC },
                { "250ms", 0, 250 * USEC_PER_MSEC },
                { "7us", 0, 7 },
                { "7µs", 0, 7 },
                { "7usec", 0, 7 },
                { "1d 1w", 0, 8 * USEC_PER_DAY },
                { "1y", 0, USEC_PER_YEAR },
                { "12M", 0, USEC_PER_YEAR },
                { "10y", 0, USEC_SPAN_MAX },
                { "infinity", 0, USEC_INFINITY },
                { " infinity ", 0, USEC_INFINITY },
                { "10y 1us", -ERANGE },
                { "18446744073709551615us", -ERANGE },
                { "18446744073709551616us", -ERANGE },
                { "99999999999999999999999999y", -ERANGE },
                { "9223372036854775807s 9223372036854775807s", -ERANGE },
                { "", -EINVAL },
                { " ", -EINVAL },
                { "s", -EINVAL },
                { ".", -EINVAL },
                { "-1s", -EINVAL },
                { "+1s", -EINVAL },
                { "1.2.3", -EINVAL },
                { "1..2", -EINVAL },
                { "1 parsec", -EINVAL },
                { "1S", -EINVAL },
                { "1e3", -EINVAL },
                { "0x10", -EINVAL },
                { "infinity 1s", -EINVAL },
                { "1s infinity", -EINVAL },
                { "infinit", -EINVAL },
                { "nan", -EINVAL },
                { "99999999999999999999999999 parsec", -EINVAL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                usec_t usec = 4711;
                int r = parse_usec(rows[i].text, &usec);

                if (r != rows[i].r || usec != (r < 0 ? 4711 : rows[i].usec))
                        fail_msg("\"%s\": %i, %llu", rows[i].text, r, (unsigned long long) usec);
        }
}

static void spans_are_written_in_the_shortest_exact_form(void **state) {
        static const struct {
                usec_t usec;
                const char *text;
        } rows[] = {
                { 0, "0" },
                { 1, "1us" },
                { 999, "999us" },
                { 1500, "1.5ms" },
                { 250 * USEC_PER_MSEC, "250ms" },
                { 1500 * USEC_PER_MSEC, "1.5s" },
                { USEC_PER_SEC + 1, "1.000001s" },
                { 30 * USEC_PER_SEC, "30s" },
                { 60 * USEC_PER_SEC, "1min" },
                { 90 * USEC_PER_SEC, "1min 30s" },
                { USEC_PER_MINUTE + 5 * USEC_PER_MSEC, "1min 5ms" },
                { USEC_PER_HOUR, "1h" },
                { USEC_PER_HOUR + USEC_PER_SEC, "1h 1s" },
                { 30 * USEC_PER_DAY, "30d" },
                { USEC_PER_YEAR, "1y" },
                { 400 * USEC_PER_DAY, "400d" },
                { USEC_SPAN_MAX, "10y" },
                { USEC_INFINITY - 1, "213503982d 8h 1min 49.551614s" },
                { USEC_INFINITY, "infinity" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                char buf[FORMAT_USEC_MAX];

                assert_string_equal(format_usec(buf, rows[i].usec), rows[i].text);
        }
}

static void what_was_written_is_read_back_exactly(void **state) {
        uint64_t x = 88172645463325252;

        for (size_t i = 0; i < 20000; i++) {
                char buf[FORMAT_USEC_MAX];
                usec_t usec, again;

                /* xorshift, cut to a random number of bits so that all sizes come up. */
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                usec = (x >> (x % 64)) % (USEC_SPAN_MAX + 1);

                assert_int_equal(parse_usec(format_usec(buf, usec), &again), 0);
                assert_int_equal(again, usec);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(sums_and_differences_saturate),
                cmocka_unit_test(spans_are_read),
                cmocka_unit_test(spans_are_written_in_the_shortest_exact_form),
                cmocka_unit_test(what_was_written_is_read_back_exactly),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
