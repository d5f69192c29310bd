/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Batches: when what is queued is one, and of whom. */

#include "core/scheduler-walk.h"
#include "test.h"

static void walk(bool fair, const Step *steps, size_t n_steps) {
        const SchedulerConfig config = { .fair = fair, .batch_size = 3, .batch_timeout = 100 };

        scheduler_walk(&config, steps, n_steps);
}

#define WALK(steps) walk(false, steps, ELEMENTSOF(steps))
#define WALK_FAIR(steps) walk(true, steps, ELEMENTSOF(steps))

static void a_batch_is_taken_when_enough_are_queued(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 1, SUBMIT, 2 },
                { 2, NOTHING, .until = 100 },
                { 3, SUBMIT, 3 },
                { 3, END_AT, .until = NEVER },
                { 4, SUBMIT, 4 },
                { 5, TAKE, .jobs = "1 2 3 " },
                { 5, NOTHING, .until = 104 },
                { 5, END_AT, .until = 104 },
        };

        WALK(steps);
}

static void the_oldest_waits_for_the_timeout_and_not_a_moment_less(void **state) {
        static const Step steps[] = {
                { 7, SUBMIT, 1 },
                { 50, SUBMIT, 2 },
                { 106, NOTHING, .until = 107 },
                { 107, TAKE, .jobs = "1 2 " },
                { 107, NOTHING, .until = NEVER },
        };

        WALK(steps);
}

/* A timer that runs by itself would end at 100, 200, 300, … whatever comes when. */
static void no_item_is_early_because_others_were_before_it(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 100, TAKE, .jobs = "1 " },
                { 190, SUBMIT, 2 },
                { 200, NOTHING, .until = 290 },
                { 289, NOTHING, .until = 290 },
                { 290, TAKE, .jobs = "2 " },
        };

        WALK(steps);
}

/* The timer was set for job 1, which has gone in a full batch. */
static void a_stale_tick_flushes_nothing(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, END_AT, .until = 100 },
                { 98, SUBMIT, 2 },
                { 99, SUBMIT, 3, .n = 2 },
                { 99, TAKE, .jobs = "1 2 3 " },
                { 100, TICK, .n = 0 },
                { 100, NOTHING, .until = 199 },
                { 198, TICK, .n = 0 },
                { 199, TICK, .n = 1 },
                { 199, TAKE, .jobs = "4 " },
        };

        WALK(steps);
}

static void a_cancelled_item_leaves_no_hole(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 10, SUBMIT, 2 },
                { 20, SUBMIT, 3 },
                { 20, END_AT, .until = NEVER },
                { 21, CANCEL, 1, .n = CANCEL_FINISHED },
                /* What was enough is not any more, and the oldest is another one. */
                { 21, NOTHING, .until = 110 },
                { 22, SUBMIT, 4 },
                { 22, TAKE, .jobs = "2 3 4 " },
        };

        WALK(steps);
}

static void nothing_ends_without_an_item(void **state) {
        static const Step steps[] = {
                { 0, END_AT, .until = NEVER },
                { 0, SUBMIT, 1 },
                { 1, CANCEL, 1, .n = CANCEL_FINISHED },
                { 1, END_AT, .until = NEVER },
                { 200, TICK, .n = 0 },
                { 200, NOTHING, .until = NEVER },
                { 0, DRAIN },
                { 201, NOTHING, .until = NEVER },
        };

        WALK(steps);
}

static void a_worker_that_comes_late_finds_a_batch_and_no_timer(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 150, TICK, .n = 1 },
                { 150, END_AT, .until = NEVER },
                { 170, TAKE, .jobs = "1 " },
        };

        WALK(steps);
}

static void a_full_queue_is_a_batch(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .n = 3 },
                { 0, SUBMIT, 1, .delay = 500 },
                { 1, SUBMIT, 2 },
                { 2, NOTHING, .until = 101 },
                { 3, SUBMIT, 3 },
                { 3, END_AT, .until = NEVER },
                { 3, TAKE, .jobs = "2 3 " },
                { 4, NOTHING, .until = 500 },
        };

        WALK(steps);
}

static void a_batch_makes_room_for_those_who_wait_for_it(void **state) {
        static const Step steps[] = {
                { 0, QUEUE_MAX, .n = 3 },
                { 0, SUBMIT, 1 },
                { 1, NOTHING, .until = 100 },
                { 1, JOIN, .n = 3 },
                { 1, TICK, .n = 1 },
                { 2, LEAVE },
                { 2, TICK, .n = 0 },
                { 3, JOIN, .n = 3 },
                { 3, TAKE, .jobs = "1 " },
        };

        WALK(steps);
}

static void a_drain_flushes_batch_by_batch(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .n = 4 },
                { 1, DRAIN },
                { 1, TICK, .n = 1 },
                { 1, TAKE, .jobs = "1 2 3 " },
                { 1, TAKE, .jobs = "4 " },
                { 1, NOTHING, .until = NEVER },
                { 2, RETRY, 4, .until = 12 },
                { 3, NOTHING, .until = 12 },
                { 12, TAKE, .jobs = "4 " },
        };

        WALK(steps);
}

static void what_is_paused_gathers_and_does_not_wake(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 0, PAUSE },
                { 0, END_AT, .until = NEVER },
                { 150, TICK, .n = 0 },
                { 150, NOTHING, .until = NEVER },
                { 160, SUBMIT, 2 },
                { 170, RESUME },
                { 170, TAKE, .jobs = "1 2 " },
        };

        WALK(steps);
}

static void the_order_is_the_usual_one(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .priority = -1 },
                { 0, SUBMIT, 2 },
                { 0, SUBMIT, 3, .priority = 1 },
                { 0, SUBMIT, 4 },
                { 1, TAKE, .jobs = "3 2 4 " },
                /* The oldest is not the first. */
                { 50, SUBMIT, 5, .priority = 9 },
                { 50, NOTHING, .until = 100 },
                { 100, TAKE, .jobs = "5 1 " },
        };

        WALK(steps);
}

static void owners_take_turns_within_a_batch(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .owner = 7, .n = 3 },
                { 0, SUBMIT, 4, .owner = 8 },
                { 1, TAKE, .jobs = "1 4 2 " },
                { 2, SUBMIT, 5, .owner = 8 },
                { 3, NOTHING, .until = 100 },
                { 100, TAKE, .jobs = "3 5 " },
        };

        WALK_FAIR(steps);
}

static void the_gates_are_passed_once(void **state) {
        static const Step steps[] = {
                { 0, GATE, .until = 60 },
                { 0, SUBMIT, 1, .n = 2 },
                { 1, NOTHING, .until = 100 },
                { 1, PASSED, .n = 0 },
                { 1, SUBMIT, 3, .n = 2 },
                { 1, NOTHING, .until = 60 },
                { 1, PASSED, .n = 1 },
                { 60, GATE, .until = 0 },
                { 60, TAKE, .jobs = "1 2 3 " },
                { 60, PASSED, .n = 2 },
        };

        WALK(steps);
}

static void the_wait_of_a_delayed_item_begins_when_it_is_due(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .delay = 30 },
                { 1, NOTHING, .until = 30 },
                /* Whoever looks is late, which does not count. */
                { 40, NOTHING, .until = 130 },
                { 129, TICK, .n = 0 },
                { 130, TAKE, .jobs = "1 " },
        };

        WALK(steps);
}

static void the_wait_of_a_retry_begins_anew_and_its_place_is_the_old_one(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1 },
                { 100, TAKE, .jobs = "1 " },
                { 150, SUBMIT, 2 },
                { 151, RETRY, 1, .until = 161 },
                { 170, NOTHING, .until = 250 },
                { 200, CANCEL, 2, .n = CANCEL_FINISHED },
                { 201, NOTHING, .until = 261 },
                { 210, SUBMIT, 3 },
                { 261, TAKE, .jobs = "1 3 " },
        };

        WALK(steps);
}

/* It comes to stand behind a job that waits since later. */
static void an_item_that_changes_its_priority_keeps_its_wait(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .priority = 1 },
                { 100, TAKE, .jobs = "1 " },
                { 100, RETRY, 1, .until = 110 },
                { 105, SUBMIT, 2 },
                { 111, TICK, .n = 0 },
                { 112, PRIORITY, 2, .priority = 1 },
                { 113, NOTHING, .until = 205 },
                { 205, TAKE, .jobs = "1 2 " },
        };

        WALK(steps);
}

static void an_item_that_expires_is_not_there(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .queue_timeout = 50 },
                { 20, SUBMIT, 2 },
                { 30, SUBMIT, 3 },
                { 50, NOTHING, .until = 120 },
                { 51, SUBMIT, 4 },
                { 51, TAKE, .jobs = "2 3 4 " },
        };

        WALK(steps);
}

static void other_settings_count_at_once(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .n = 2 },
                { 1, SIZE, .n = 2 },
                { 1, TICK, .n = 1 },
                { 1, SIZE, .n = 4 },
                { 1, TICK, .n = 0 },
                { 2, TIMEOUT, .until = 30 },
                { 2, END_AT, .until = 30 },
                { 2, TIMEOUT, .until = 0 },
                { 2, TICK, .n = 1 },
                { 2, TIMEOUT, .until = 100 },
                { 2, TICK, .n = 0 },
                { 2, SIZE, .n = 1 },
                { 2, TICK, .n = 1 },
                { 2, END_AT, .until = NEVER },
        };

        WALK(steps);
}

static void nothing_is_lost_when_there_are_no_batches_any_more(void **state) {
        static const Step steps[] = {
                { 0, SUBMIT, 1, .n = 4 },
                { 1, TAKE, .jobs = "1 2 3 " },
                { 1, SIZE, .n = 0 },
                { 2, FINISH, 1 },
                { 2, FINISH, 3 },
                { 3, TICK, .n = 1 },
                { 3, CANCEL, 2, .n = CANCEL_ASKED },
                { 4, FINISH, 2 },
        };

        WALK(steps);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_batch_is_taken_when_enough_are_queued),
                cmocka_unit_test(the_oldest_waits_for_the_timeout_and_not_a_moment_less),
                cmocka_unit_test(no_item_is_early_because_others_were_before_it),
                cmocka_unit_test(a_stale_tick_flushes_nothing),
                cmocka_unit_test(a_cancelled_item_leaves_no_hole),
                cmocka_unit_test(nothing_ends_without_an_item),
                cmocka_unit_test(a_worker_that_comes_late_finds_a_batch_and_no_timer),
                cmocka_unit_test(a_full_queue_is_a_batch),
                cmocka_unit_test(a_batch_makes_room_for_those_who_wait_for_it),
                cmocka_unit_test(a_drain_flushes_batch_by_batch),
                cmocka_unit_test(what_is_paused_gathers_and_does_not_wake),
                cmocka_unit_test(the_order_is_the_usual_one),
                cmocka_unit_test(owners_take_turns_within_a_batch),
                cmocka_unit_test(the_gates_are_passed_once),
                cmocka_unit_test(the_wait_of_a_delayed_item_begins_when_it_is_due),
                cmocka_unit_test(the_wait_of_a_retry_begins_anew_and_its_place_is_the_old_one),
                cmocka_unit_test(an_item_that_changes_its_priority_keeps_its_wait),
                cmocka_unit_test(an_item_that_expires_is_not_there),
                cmocka_unit_test(other_settings_count_at_once),
                cmocka_unit_test(nothing_is_lost_when_there_are_no_batches_any_more),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
