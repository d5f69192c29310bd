/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/ctl.h"
#include "test.h"

static void near_misses_are_recognised_and_others_not(void **state) {
        static const char *const names[] = { "list", "status", "submit", "run", "pause", "resume",
                "reload", "remove" };
        static const struct {
                const char *word, *expected;
        } rows[] = {
                { "lsit", "list" },      /* swapped */
                { "pasue", "pause" },    /* swapped */
                { "statuss", "status" }, /* one too many */
                { "sumit", "submit" },   /* one left out */
                { "sub", "submit" },     /* a beginning */
                { "reomve", "remove" },
                { "rnu", "run" },
                { "pauze", "pause" },
                { "frobnicate", NULL },
                { "x", NULL },
                { "", NULL },
                { "a-word-that-is-longer-than-any-verb-could-be", NULL },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const char *found = did_you_mean(rows[i].word, names, ELEMENTSOF(names));

                if (rows[i].expected) {
                        assert_non_null(found);
                        assert_string_equal(found, rows[i].expected);
                } else
                        assert_null(found);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(near_misses_are_recognised_and_others_not),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
