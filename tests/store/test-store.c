/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is posted is there after the store was closed and opened again. */

#include "try.h"

static int set_up(void **state) {
        TryStore *t = malloc(sizeof(*t));

        assert_non_null(t);
        try_init(t);
        *state = t;
        return 0;
}

static int tear_down(void **state) {
        try_done(*state);
        free(*state);
        return 0;
}

static void a_submission_comes_back(void **state) {
        TryStore *t = *state;
        _cleanup_free_ char *text = NULL;

        try_open(t, true);
        try_submit(t, 3, 10);
        try_object(t, "pool", "p", "a=b");
        assert_int_equal(try_wait(t), 0);
        try_end(t, 2, JOB_SUCCEEDED, "done");
        assert_int_equal(try_wait(t), 0);
        try_close(t, true);
        try_open(t, false);
        text = try_dump(t);
        print_message("%s", text);
        assert_int_equal(try_count_jobs(t), 3);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_submission_comes_back, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
