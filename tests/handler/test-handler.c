/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/handler.h"

#include "try.h"

static void handlers_are_found_by_the_name_of_the_setting(void **state) {
        assert_ptr_equal(handler_find("command"), &command_vtable);
        assert_ptr_equal(handler_find("coprocess"), &coprocess_vtable);
        assert_ptr_equal(handler_find("module"), &module_vtable);
        assert_ptr_equal(handler_find("service"), &service_vtable);
        assert_null(handler_find("Command"));
        assert_null(handler_find(""));
}

static void error_texts_are_utf8_whatever_was_written(void **state) {
        static const struct {
                const char *written, *expect;
        } rows[] = {
                { "", "" },
                { "plain", "plain" },
                { "Gr\xc3\xb6\xc3\x9f"
                  "e \xe2\x82\xac \xf0\x9f\x98\x80", /* 2, 3 and 4 bytes */
                        "Gr\xc3\xb6\xc3\x9f"
                        "e \xe2\x82\xac \xf0\x9f\x98\x80" },
                { "\xff\x80 x", "?? x" },
                { "cut \xe2\x82", "cut ??" },
                { "overlong \xc0\xaf \xe0\x80\xaf \xf0\x80\x80\xaf", "overlong ?? ??? ????" },
                { "surrogate \xed\xa0\x80", "surrogate ???" },
                { "too high \xf4\x90\x80\x80 \xf5\x80\x80\x80", "too high ???? ????" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Try try;

                try_init(&try, NULL, 0);
                attempt_fail(&try.attempt, OUTCOME_RETRY, "%s", rows[i].written);
                assert_failed(&try, OUTCOME_RETRY, rows[i].expect);
                try_done(&try);
        }
}

static void error_texts_are_cut(void **state) {
        static char text[3 * ATTEMPT_ERROR_MAX];
        Try try;

        memset(text, 'x', sizeof(text) - 1);
        try_init(&try, NULL, 0);
        attempt_fail(&try.attempt, OUTCOME_FATAL, "%s", text);
        assert_int_equal(strlen(try.attempt.error), ATTEMPT_ERROR_MAX);
        try_done(&try);
}

static void the_last_output_and_the_last_error_count(void **state) {
        Try try;

        try_init(&try, NULL, 0);
        assert_non_null(attempt_output_alloc(&try.attempt, 10));
        attempt_give_output(&try.attempt, strdup("first"), 5);
        attempt_give_output(&try.attempt, strdup("second"), 6);
        assert_true(try.attempt.output_owned);
        assert_int_equal(try.attempt.output_size, 6);
        assert_string_equal(try.attempt.output, "second");

        attempt_fail(&try.attempt, OUTCOME_FAILURE, "first");
        attempt_fail(&try.attempt, OUTCOME_FATAL, "second");
        assert_failed(&try, OUTCOME_FATAL, "second");
        try_done(&try);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(handlers_are_found_by_the_name_of_the_setting),
                cmocka_unit_test(error_texts_are_utf8_whatever_was_written),
                cmocka_unit_test(error_texts_are_cut),
                cmocka_unit_test(the_last_output_and_the_last_error_count),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
