/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "ctl/map-block.h"
#include "ctl/text.h"
#include "test.h"

/* A block of n jobs of 10 bytes each. */
static Block *block_of(uint64_t first, size_t n) {
        Block *block = block_new(first);

        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *payload = text_format("%010zu", (size_t) first + i);

                block_add(block, payload, 10);
        }
        return block;
}

/* Takes what is to be written, and says which blocks these were by their first numbers. */
static char *written(Window *window) {
        char *log = text_copy("");
        Block *block;

        while ((block = window_next(window))) {
                char *before = log;

                log = text_format("%s %d", before, (int) block->first);
                free(before);
                window_drop(window, block);
        }
        return log;
}

static void blocks_are_written_in_the_order_asked_for(void **state) {
        static const struct {
                bool unordered;
                int answers[4];
                const char *expected[4]; /* after each answer */
        } rows[] = {
                { false, { 0, 1, 2, 3 }, { " 0", " 1", " 2", " 3" } },
                { false, { 3, 2, 1, 0 }, { "", "", "", " 0 1 2 3" } },
                { false, { 1, 0, 3, 2 }, { "", " 0 1", "", " 2 3" } },
                { true, { 0, 1, 2, 3 }, { " 0", " 1", " 2", " 3" } },
                { true, { 3, 2, 1, 0 }, { " 3", " 2", " 1", " 0" } },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Block *blocks[4];
                Window window;

                window_init(&window, rows[i].unordered);
                for (size_t j = 0; j < 4; j++) {
                        blocks[j] = block_of(j, 1);
                        window_add(&window, blocks[j]);
                }
                for (size_t j = 0; j < 4; j++) {
                        _cleanup_free_ char *log = NULL;

                        assert_int_equal(window.n_calls, 4 - j);
                        window_answered(&window, blocks[rows[i].answers[j]]);
                        log = written(&window);
                        assert_string_equal(log, rows[i].expected[j]);
                }
                assert_true(window_is_empty(&window));
                assert_int_equal(window.n_jobs + window.n_held + window.size, 0);
                window_done(&window);
        }
}

static void what_waits_for_its_turn_is_counted(void **state) {
        Block *first = block_of(0, 5), *second = block_of(5, 3);
        Window window;

        window_init(&window, /* unordered= */ false);
        window_add(&window, first);
        window_add(&window, second);
        assert_int_equal(window.n_jobs, 8);
        assert_int_equal(window.size, 80);
        second->outputs_size = 1000;
        window_answered(&window, second);
        assert_null(window_next(&window));
        assert_int_equal(window.n_calls, 1);
        assert_int_equal(window.n_jobs, 5);
        assert_int_equal(window.size, 50);
        assert_int_equal(window.n_held, 3);
        assert_int_equal(window.held_size, 1000);
        window_done(&window);
}

static void faults_have_their_place_in_the_order(void **state) {
        Block *sent = block_of(0, 2), *fault = block_of(2, 1);
        _cleanup_free_ char *before = NULL, *after = NULL;
        Window window;

        window_init(&window, /* unordered= */ false);
        window_add(&window, sent);
        window_add_answered(&window, fault);
        before = written(&window);
        assert_string_equal(before, "");
        window_answered(&window, sent);
        after = written(&window);
        assert_string_equal(after, " 0 2");
        window_done(&window);
}

static void refused_block_is_halved_and_stays_in_its_place(void **state) {
        Block *block = block_of(0, 5), *next = block_of(5, 1), *half;
        _cleanup_free_ char *log = NULL;
        Window window;

        window_init(&window, /* unordered= */ false);
        window_add(&window, block);
        window_add(&window, next);
        half = block_split(block);
        window_add_half(&window, block, half);
        assert_int_equal(window.n_calls, 3);
        assert_int_equal(window.n_jobs, 6);
        assert_int_equal(window.size, 60);
        assert_int_equal(block->n, 2);
        assert_int_equal(block->size, 20);
        assert_int_equal(half->n, 3);
        assert_int_equal(half->size, 30);
        assert_int_equal(half->first, 2);
        assert_memory_equal(half->payloads, "000000000200000000030000000004", 30);

        window_answered(&window, next);
        window_answered(&window, half);
        assert_null(window_next(&window));
        window_answered(&window, block);
        log = written(&window);
        assert_string_equal(log, " 0 2 5");
        window_done(&window);
}

static void what_has_an_answer_is_written_when_the_rest_is_given_up(void **state) {
        Block *blocks[4];
        _cleanup_free_ char *log = NULL;
        Window window;

        window_init(&window, /* unordered= */ false);
        for (size_t i = 0; i < 4; i++) {
                blocks[i] = block_of(i * 10, 10);
                window_add(&window, blocks[i]);
        }
        window_answered(&window, blocks[1]);
        window_answered(&window, blocks[3]);
        assert_int_equal(window_drop_unanswered(&window), 20);
        log = written(&window);
        assert_string_equal(log, " 10 30");
        assert_true(window_is_empty(&window));
        assert_int_equal(window.n_calls + window.n_jobs + window.n_held, 0);
        window_done(&window);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(blocks_are_written_in_the_order_asked_for),
                cmocka_unit_test(what_waits_for_its_turn_is_counted),
                cmocka_unit_test(faults_have_their_place_in_the_order),
                cmocka_unit_test(refused_block_is_halved_and_stays_in_its_place),
                cmocka_unit_test(what_has_an_answer_is_written_when_the_rest_is_given_up),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
