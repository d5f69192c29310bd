/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/log-limit.h"
#include "test.h"
#include "util/macro.h"

enum { TAKE, ADVANCE, END };

/* One call of a history, and what it answers. */
typedef struct Row {
        usec_t at;
        int call;
        uint64_t expect;
        usec_t wake_at; /* afterwards */
} Row;

/* Three lines in ten units of time. */
static void walk(const Row *rows, size_t n) {
        LogLimit limit;

        log_limit_init(&limit, 3, 10);
        assert_true(log_limit_wake_at(&limit) == USEC_INFINITY);
        for (size_t i = 0; i < n; i++) {
                const Row *row = &rows[i];
                uint64_t answer = row->call == TAKE      ? log_limit_take(&limit, row->at)
                                  : row->call == ADVANCE ? log_limit_advance(&limit, row->at)
                                                         : log_limit_end(&limit);

                if (answer != row->expect || log_limit_wake_at(&limit) != row->wake_at)
                        fail_msg("row %zu", i);
        }
}

static void few_lines_pass_and_leave_nothing_to_tell(void **state) {
        static const Row rows[] = {
                { 100, TAKE, true, USEC_INFINITY },
                { 105, TAKE, true, USEC_INFINITY },
                { 109, ADVANCE, 0, USEC_INFINITY },
                { 109, TAKE, true, USEC_INFINITY },
                { 110, ADVANCE, 0, USEC_INFINITY },
                { 110, TAKE, true, USEC_INFINITY },
                { 500, END, 0, USEC_INFINITY },
        };

        walk(rows, ELEMENTSOF(rows));
}

static void the_others_are_counted_and_told_when_the_interval_is_over(void **state) {
        static const Row rows[] = {
                { 100, TAKE, true, USEC_INFINITY },
                { 104, TAKE, true, USEC_INFINITY },
                { 104, TAKE, true, USEC_INFINITY },
                { 104, TAKE, false, 110 },
                { 109, TAKE, false, 110 },
                { 109, ADVANCE, 0, 110 },
                { 110, ADVANCE, 2, USEC_INFINITY },
                { 110, ADVANCE, 0, USEC_INFINITY },
                /* The next one begins with a line, and not with the last one's end. */
                { 117, TAKE, true, USEC_INFINITY },
                { 118, TAKE, true, USEC_INFINITY },
                { 119, TAKE, true, USEC_INFINITY },
                { 120, TAKE, false, 127 },
                { 121, END, 1, USEC_INFINITY },
                { 121, TAKE, true, USEC_INFINITY },
        };

        walk(rows, ELEMENTSOF(rows));
}

static void a_moment_that_never_comes_is_fine(void **state) {
        static const Row rows[] = {
                { USEC_INFINITY - 1, TAKE, true, USEC_INFINITY },
                { USEC_INFINITY - 1, TAKE, true, USEC_INFINITY },
                { USEC_INFINITY - 1, TAKE, true, USEC_INFINITY },
                { USEC_INFINITY - 1, TAKE, false, USEC_INFINITY },
                { USEC_INFINITY - 1, ADVANCE, 0, USEC_INFINITY },
        };

        walk(rows, ELEMENTSOF(rows));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(few_lines_pass_and_leave_nothing_to_tell),
                cmocka_unit_test(the_others_are_counted_and_told_when_the_interval_is_over),
                cmocka_unit_test(a_moment_that_never_comes_is_fine),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
