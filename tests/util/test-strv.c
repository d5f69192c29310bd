/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "test.h"
#include "util/strv.h"

static void no_list_is_the_empty_list(void **state) {
        _cleanup_strv_ char **copy = NULL;
        char *empty[] = { NULL };

        assert_int_equal(strv_length(NULL), 0);
        assert_null(strv_free(NULL));
        assert_false(strv_contains(NULL, "a"));
        assert_true(strv_equal(NULL, empty));
        assert_int_equal(strv_copy(NULL, &copy), 0);
        assert_null(copy);
        STRV_FOREACH (s, copy)
                fail();
}

static void lists_grow_at_the_end(void **state) {
        static char *const expected[] = { (char *) "a", (char *) "b", (char *) "c", NULL };
        _cleanup_strv_ char **l = NULL;

        assert_int_equal(strv_extend(&l, "a"), 0);
        assert_int_equal(strv_push(&l, strdup("b")), 0);
        assert_int_equal(strv_extend(&l, "c"), 0);
        assert_int_equal(strv_length(l), 3);
        assert_true(strv_equal(l, expected));
        assert_true(strv_contains(l, "b"));
        assert_false(strv_contains(l, "B"));
}

static void a_copy_shares_nothing(void **state) {
        _cleanup_strv_ char **l = NULL, **copy = NULL;

        assert_int_equal(strv_extend(&l, "a"), 0);
        assert_int_equal(strv_extend(&l, ""), 0);
        assert_int_equal(strv_copy(l, &copy), 0);
        assert_true(strv_equal(l, copy));

        copy[0][0] = 'b';
        assert_string_equal(l[0], "a");
        assert_false(strv_equal(l, copy));
}

static void words_are_joined_with_something_between(void **state) {
        static char *const words[] = { (char *) "a", (char *) "", (char *) "bc", NULL };
        _cleanup_free_ char *joined = strv_join(words, ", "), *nothing = strv_join(NULL, ", ");

        assert_string_equal(joined, "a, , bc");
        assert_string_equal(nothing, "");
}

static void lists_differ_in_length_order_and_text(void **state) {
        static char *const ab[] = { (char *) "a", (char *) "b", NULL };
        static char *const ba[] = { (char *) "b", (char *) "a", NULL };
        static char *const a[] = { (char *) "a", NULL };

        assert_true(strv_equal(ab, ab));
        assert_false(strv_equal(ab, ba));
        assert_false(strv_equal(ab, a));
        assert_false(strv_equal(a, ab));
        assert_false(strv_equal(a, NULL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(no_list_is_the_empty_list),
                cmocka_unit_test(lists_grow_at_the_end),
                cmocka_unit_test(a_copy_shares_nothing),
                cmocka_unit_test(words_are_joined_with_something_between),
                cmocka_unit_test(lists_differ_in_length_order_and_text),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
