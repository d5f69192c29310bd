/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>

#include "test.h"
#include "util/macro.h"
#include "util/parse.h"
#include "util/strv.h"

static void booleans_are_the_usual_words(void **state) {
        static const struct {
                const char *text;
                int r;
                bool value;
        } rows[] = {
                { "yes", 0, true },
                { "YES", 0, true },
                { "true", 0, true },
                { "on", 0, true },
                { "1", 0, true },
                { "no", 0, false },
                { "False", 0, false },
                { "off", 0, false },
                { "0", 0, false },
                { "", -EINVAL },
                { "2", -EINVAL },
                { "y", -EINVAL },
                { " yes", -EINVAL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                bool value = !rows[i].value;

                assert_int_equal(parse_boolean(rows[i].text, &value), rows[i].r);
                assert_int_equal(value, rows[i].r < 0 ? !rows[i].value : rows[i].value);
        }
}

static void numbers_have_a_range_and_nothing_around_them(void **state) {
        static const struct {
                const char *text;
                uint64_t min, max;
                int r;
                uint64_t value;
        } rows[] = {
                { "0", 0, 10, 0, 0 },
                { "10", 0, 10, 0, 10 },
                { "007", 0, 10, 0, 7 },
                { "18446744073709551615", 0, UINT64_MAX, 0, UINT64_MAX },
                { "11", 0, 10, -ERANGE },
                { "0", 1, 10, -ERANGE },
                { "18446744073709551616", 0, UINT64_MAX, -ERANGE },
                { "184467440737095516150", 0, UINT64_MAX, -ERANGE },
                { "99999999999999999999x", 0, UINT64_MAX, -EINVAL },
                { "", 0, 10, -EINVAL },
                { "-1", 0, 10, -EINVAL },
                { "+1", 0, 10, -EINVAL },
                { " 1", 0, 10, -EINVAL },
                { "1 ", 0, 10, -EINVAL },
                { "1.0", 0, 10, -EINVAL },
                { "0x1", 0, 10, -EINVAL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                uint64_t value = 4711;

                assert_int_equal(
                        parse_uint64(rows[i].text, rows[i].min, rows[i].max, &value), rows[i].r);
                assert_int_equal(value, rows[i].r < 0 ? 4711 : rows[i].value);
        }
}

static void signed_numbers_reach_both_ends(void **state) {
        static const struct {
                const char *text;
                int64_t min, max;
                int r;
                int64_t value;
        } rows[] = {
                { "-1000", -1000, 1000, 0, -1000 },
                { "+1000", -1000, 1000, 0, 1000 },
                { "-0", -1000, 1000, 0, 0 },
                { "-9223372036854775808", INT64_MIN, INT64_MAX, 0, INT64_MIN },
                { "9223372036854775807", INT64_MIN, INT64_MAX, 0, INT64_MAX },
                { "-1001", -1000, 1000, -ERANGE },
                { "1001", -1000, 1000, -ERANGE },
                { "-9223372036854775809", INT64_MIN, INT64_MAX, -ERANGE },
                { "9223372036854775808", INT64_MIN, INT64_MAX, -ERANGE },
                { "", -1000, 1000, -EINVAL },
                { "-", -1000, 1000, -EINVAL },
                { "--1", -1000, 1000, -EINVAL },
                { "- 1", -1000, 1000, -EINVAL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                int64_t value = 4711;

                assert_int_equal(
                        parse_int64(rows[i].text, rows[i].min, rows[i].max, &value), rows[i].r);
                assert_int_equal(value, rows[i].r < 0 ? 4711 : rows[i].value);
        }
}

static void sizes_have_binary_suffixes(void **state) {
        static const struct {
                const char *text;
                int r;
                uint64_t value;
        } rows[] = {
                { "0", 0, 0 },
                { "1000", 0, 1000 },
                { "1K", 0, UINT64_C(1) << 10 },
                { "1M", 0, UINT64_C(1) << 20 },
                { "3G", 0, UINT64_C(3) << 30 },
                { "2T", 0, UINT64_C(2) << 40 },
                { "16777215T", 0, UINT64_C(16777215) << 40 },
                { "infinity", 0, UINT64_MAX },
                { "16777216T", -ERANGE },
                { "99999999999999999999", -ERANGE },
                { "99999999999999999999K", -ERANGE },
                { "", -EINVAL },
                { "K", -EINVAL },
                { "1k", -EINVAL },
                { "1KB", -EINVAL },
                { "1 K", -EINVAL },
                { "-1K", -EINVAL },
                { "1.5M", -EINVAL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                uint64_t value = 4711;

                assert_int_equal(parse_size(rows[i].text, &value), rows[i].r);
                assert_int_equal(value, rows[i].r < 0 ? 4711 : rows[i].value);
        }
}

static void cpu_lists_name_every_cpu_once(void **state) {
        static const struct {
                const char *text;
                int r;
                int cpus[8];
                int n;
        } rows[] = {
                { "", 0, { 0 }, 0 },
                { "0", 0, { 0 }, 1 },
                { "0-3", 0, { 0, 1, 2, 3 }, 4 },
                { "0-3,6 8", 0, { 0, 1, 2, 3, 6, 8 }, 6 },
                { " 2, 1,2 ", 0, { 1, 2 }, 2 },
                { "1023", 0, { 1023 }, 1 },
                { "1024", -ERANGE },
                { "0-99999999999999999999", -ERANGE },
                { "3-0", -EINVAL },
                { "0-", -EINVAL },
                { "-1", -EINVAL },
                { "0-1-2", -EINVAL },
                { "a", -EINVAL },
                { "1;2", -EINVAL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                cpu_set_t set;

                assert_int_equal(parse_cpu_set(rows[i].text, &set), rows[i].r);
                if (rows[i].r < 0)
                        continue;
                assert_int_equal(CPU_COUNT(&set), rows[i].n);
                for (int k = 0; k < rows[i].n; k++)
                        assert_true(CPU_ISSET(rows[i].cpus[k], &set));
        }
}

static void words_are_split_as_a_command_line(void **state) {
        static const struct {
                const char *text;
                int r;
                const char *words[4];
        } rows[] = {
                { "", 0, { NULL } },
                { " \t\n ", 0, { NULL } },
                { "a", 0, { "a" } },
                { "  a  b\tc\n", 0, { "a", "b", "c" } },
                { "\"a b\" 'c d'", 0, { "a b", "c d" } },
                { "a\"b c\"d", 0, { "ab cd" } },
                { "\"\" ''", 0, { "", "" } },
                { "\"it's\" 'say \"hi\"'", 0, { "it's", "say \"hi\"" } },
                { "a\\ b", 0, { "a b" } },
                { "\\\"a\\\" \\'b\\'", 0, { "\"a\"", "'b'" } },
                { "\\n\\t\\\\\\s|", 0, { "\n\t\\ |" } },
                { "'\\n'", 0, { "\n" } },
                { "\\x41\\102", 0, { "AB" } },
                { "\\q", 0, { "q" } },
                { "a;b|c $HOME", 0, { "a;b|c", "$HOME" } },
                { "\"a", -EINVAL },
                { "a '", -EINVAL },
                { "'a\"", -EINVAL },
                { "a\\", -EINVAL },
                { "\"a\\", -EINVAL },
                { "\\x00", -EINVAL },
                { "\\x4", -EINVAL },
                { "\\xg1", -EINVAL },
                { "\\x-1", -EINVAL },
                { "\\000", -EINVAL },
                { "\\777", -EINVAL },
                { "\\1", -EINVAL },
                { "\\18 x", -EINVAL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_strv_ char **words = NULL;
                int r = split_words(rows[i].text, &words);

                if (r != rows[i].r)
                        fail_msg("\"%s\": %i", rows[i].text, r);
                if (r < 0)
                        assert_null(words);
                else if (!strv_equal(words, (char *const *) rows[i].words))
                        fail_msg("\"%s\": \"%s\" and so on", rows[i].text, words[0]);
        }
}

static void text_is_utf8_without_control_characters(void **state) {
        static const char *const good[] = { "", "a\tb", "ä €", "\xC2\xA0", "\xF0\x9F\x98\x80",
                "\xEF\xBF\xBF", "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF" };
        static const char *const bad[] = {
                "a\nb",
                "\x7F",
                "\033[2J",
                "\xC2\x80", /* U+0080 */
                "\xC2\x85", /* next line */
                "\xC2\x9B", /* what begins a command */
                "\xC2\x9F",
                "\x80",
                "\xC3",
                "\xC3(",
                "\xC0\x80",             /* NUL in two bytes */
                "\xE0\x80\x80",         /* NUL in three bytes */
                "\xF0\x80\x80\x80",     /* NUL in four bytes */
                "\xED\xA0\x80",         /* surrogate */
                "\xF4\x90\x80\x80",     /* beyond U+10FFFF */
                "\xF5\x80\x80\x80",     /* the same */
                "\xE2\x82",             /* cut off */
                "\xF0\x9F\x98",         /* cut off */
                "\xF8\x88\x80\x80\x80", /* five bytes */
                "\xFF",
        };

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                if (!text_is_valid(good[i]))
                        fail_msg("good text %zu is refused", i);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (text_is_valid(bad[i]))
                        fail_msg("bad text %zu is accepted", i);
}

static void names_are_plain_and_short(void **state) {
        static const char sixty_four[] =
                "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789ABCDEF";

        assert_true(name_is_valid("a"));
        assert_true(name_is_valid("_"));
        assert_true(name_is_valid("Man-pages_2.x"));
        assert_true(name_is_valid(sixty_four));

        assert_false(name_is_valid(""));
        assert_false(name_is_valid("."));
        assert_false(name_is_valid(".."));
        assert_false(name_is_valid(".a"));
        assert_false(name_is_valid("-a"));
        assert_false(name_is_valid("a/b"));
        assert_false(name_is_valid("a b"));
        assert_false(name_is_valid("a\n"));
        assert_false(name_is_valid("é"));
        assert_false(
                name_is_valid("0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789ABCDEFx"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(booleans_are_the_usual_words),
                cmocka_unit_test(numbers_have_a_range_and_nothing_around_them),
                cmocka_unit_test(signed_numbers_reach_both_ends),
                cmocka_unit_test(sizes_have_binary_suffixes),
                cmocka_unit_test(cpu_lists_name_every_cpu_once),
                cmocka_unit_test(words_are_split_as_a_command_line),
                cmocka_unit_test(text_is_utf8_without_control_characters),
                cmocka_unit_test(names_are_plain_and_short),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
