/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <locale.h>
#include <string.h>

#include "ctl/text.h"
#include "test.h"

static void spans_are_rounded_to_what_people_read(void **state) {
        static const struct {
                usec_t span;
                const char *expected;
        } rows[] = {
                { 0, "0" },
                { 1, "1us" },
                { 999, "999us" },
                { 1000, "1ms" },
                { 1254, "1.25ms" },
                { 1500, "1.5ms" },
                { 20549, "20.5ms" },
                { 99960, "100ms" },
                { 123456, "123ms" },
                { 1 * USEC_PER_SEC, "1s" },
                { 59 * USEC_PER_SEC + 400000, "59.4s" },
                { 125 * USEC_PER_SEC + 1, "2min 5s" },
                { USEC_PER_HOUR + 59 * USEC_PER_SEC, "1h" },
                { 3 * USEC_PER_DAY + 5 * USEC_PER_HOUR + USEC_PER_MINUTE, "3d 5h" },
                { 2 * USEC_PER_YEAR + 3 * USEC_PER_DAY, "2y 3d" },
                { USEC_INFINITY, "infinity" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *text = text_span(rows[i].span);

                assert_string_equal(text, rows[i].expected);
        }
}

static void moments_say_how_far_they_are(void **state) {
        _cleanup_free_ char *past = text_moment(100 * USEC_PER_SEC, 105 * USEC_PER_SEC);
        _cleanup_free_ char *future = text_moment(100 * USEC_PER_SEC, 40 * USEC_PER_SEC);

        assert_non_null(strstr(past, "1970-01-01"));
        assert_non_null(strstr(past, "; 5s ago"));
        assert_non_null(strstr(future, "; 1min from now"));
}

static void control_characters_and_broken_text_become_question_marks(void **state) {
        static const struct {
                const char *text, *expected;
                bool lines;
        } rows[] = {
                { "plain", "plain", false },
                { "\x1B[31mred", "?[31mred", false },
                { "a\nb\tc", "a b c", false },
                { "a\nb", "a\nb", true },
                { "gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F", false },
                { "bad \xFF\xC3", "bad ??", false },
                { "one \xC2\x9B", "one ?", false },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *text = text_clean(rows[i].text, rows[i].lines);

                assert_string_equal(text, rows[i].expected);
        }
}

static void text_is_cut_by_columns_and_not_by_bytes(void **state) {
        static const struct {
                const char *text;
                size_t columns;
                const char *expected;
        } rows[] = {
                { "short", 5, "short" },
                { "longer", 5, "long…" },
                { "äöüäöü", 6, "äöüäöü" },
                { "äöüäöü", 4, "äöü…" },
                { "日本語", 6, "日本語" },
                { "日本語", 5, "日本…" },
                { "日本語", 4, "日…" },
                { "ab", 1, "…" },
                { "ab", 0, "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *text = text_ellipsize(rows[i].text, rows[i].columns);

                assert_string_equal(text, rows[i].expected);
                assert_true(text_columns(text) <= rows[i].columns);
        }
}

static void only_utf8_without_nul_is_text(void **state) {
        static const struct {
                const char *bytes;
                size_t size;
                bool expected;
        } rows[] = {
                { "", 0, true },
                { "a\nb", 3, true },
                { "a\0b", 3, false },
                { "\xC3\xBC", 2, true },
                { "\xC3", 1, false },
                { "\xC0\x80", 2, false },
                { "\xE0\x80\x80", 3, false },
                { "\xED\xA0\x80", 3, false },
                { "\xF0\x9F\x98\x80", 4, true },
                { "\xF4\x90\x80\x80", 4, false },
                { "\xFF", 1, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                assert_int_equal(text_is_utf8(rows[i].bytes, rows[i].size), rows[i].expected);
}

static void base64_pads_what_is_left(void **state) {
        static const char *const rows[][2] = {
                { "", "" },
                { "f", "Zg==" },
                { "fo", "Zm8=" },
                { "foo", "Zm9v" },
                { "foob", "Zm9vYg==" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *text = text_base64(rows[i][0], strlen(rows[i][0]));

                assert_string_equal(text, rows[i][1]);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(spans_are_rounded_to_what_people_read),
                cmocka_unit_test(moments_say_how_far_they_are),
                cmocka_unit_test(control_characters_and_broken_text_become_question_marks),
                cmocka_unit_test(text_is_cut_by_columns_and_not_by_bytes),
                cmocka_unit_test(only_utf8_without_nul_is_text),
                cmocka_unit_test(base64_pads_what_is_left),
        };

        (void) setlocale(LC_CTYPE, "C.UTF-8");
        return cmocka_run_group_tests(tests, NULL, NULL);
}
