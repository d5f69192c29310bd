/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/timerfd.h>

#include "engine/timer.h"

static bool fires(const Timer *timer, int patience_msec) {
        struct pollfd fd = { .fd = timer->fd, .events = POLLIN };

        return poll(&fd, 1, patience_msec) == 1;
}

static bool is_armed(const Timer *timer) {
        struct itimerspec spec;

        assert_int_equal(timerfd_gettime(timer->fd, &spec), 0);
        return spec.it_value.tv_sec != 0 || spec.it_value.tv_nsec != 0;
}

static void it_fires_once_not_before_its_moment(void **state) {
        usec_t at = usec_now(CLOCK_MONOTONIC) + 2 * USEC_PER_MSEC;
        Timer timer;

        assert_int_equal(timer_init(&timer), 0);
        assert_false(is_armed(&timer));
        timer_arm(&timer, at);
        assert_true(fires(&timer, 60000));
        assert_true(usec_now(CLOCK_MONOTONIC) >= at);
        timer_acknowledge(&timer);
        assert_int_equal(timer.armed_at, USEC_INFINITY);
        assert_false(is_armed(&timer));
        assert_false(fires(&timer, 0));
        timer_done(&timer);
}

static void the_earliest_moment_counts(void **state) {
        usec_t now = usec_now(CLOCK_MONOTONIC);
        Timer timer;

        assert_int_equal(timer_init(&timer), 0);
        timer_arm(&timer, USEC_INFINITY);
        assert_false(is_armed(&timer));
        timer_arm(&timer, now + USEC_PER_HOUR);
        timer_arm(&timer, now + 2 * USEC_PER_HOUR);
        assert_int_equal(timer.armed_at, now + USEC_PER_HOUR);
        timer_arm(&timer, now + USEC_PER_MSEC);
        assert_int_equal(timer.armed_at, now + USEC_PER_MSEC);
        assert_true(fires(&timer, 60000));
        timer_done(&timer);
}

static void a_moment_in_the_past_is_now(void **state) {
        static const usec_t moments[] = { 0, 1, 1000 };
        Timer timer;

        assert_int_equal(timer_init(&timer), 0);
        for (size_t i = 0; i < sizeof(moments) / sizeof(*moments); i++) {
                timer_arm(&timer, moments[i]);
                assert_true(fires(&timer, 60000));
                timer_acknowledge(&timer);
        }
        timer_done(&timer);
}

/* Main sees it readable, and before it reads a worker arms it anew: that is not lost. */
static void armed_between_the_event_and_its_acknowledgement(void **state) {
        usec_t now = usec_now(CLOCK_MONOTONIC);
        Timer timer;

        assert_int_equal(timer_init(&timer), 0);
        timer_arm(&timer, now);
        assert_true(fires(&timer, 60000));
        /* Later than what it is armed for: main will see to it when it comes to look. */
        timer_arm(&timer, now + USEC_PER_HOUR);
        assert_true(fires(&timer, 0));
        /* Earlier: it fires again. */
        timer_arm(&timer, now - 1);
        assert_true(fires(&timer, 60000));
        timer_acknowledge(&timer);
        /* It may also come to look without need. */
        timer_acknowledge(&timer);
        timer_done(&timer);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(it_fires_once_not_before_its_moment),
                cmocka_unit_test(the_earliest_moment_counts),
                cmocka_unit_test(a_moment_in_the_past_is_now),
                cmocka_unit_test(armed_between_the_event_and_its_acknowledgement),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
