/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <sys/timerfd.h>

#include "engine/timer.h"
#include "util/fd.h"

int timer_init(Timer *timer) {
        int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

        if (fd < 0)
                return -errno;
        *timer = (Timer){ .fd = fd, .armed_at = USEC_INFINITY };
        return 0;
}

void timer_done(Timer *timer) {
        timer->fd = fd_close(timer->fd);
}

void timer_arm(Timer *timer, usec_t at) {
        struct itimerspec spec = {};

        if (at >= timer->armed_at)
                return;
        /* A value of zero would disarm it. */
        if (at == 0)
                at = 1;
        spec.it_value.tv_sec = (time_t) (at / USEC_PER_SEC);
        spec.it_value.tv_nsec = (long) (at % USEC_PER_SEC) * 1000;
        if (timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
                assert(!"timerfd_settime() of a valid timer and moment");
        timer->armed_at = at;
}

void timer_acknowledge(Timer *timer) {
        uint64_t n;

        /* Nothing to read is fine: it was armed anew since it was seen to be readable. */
        if (read(timer->fd, &n, sizeof(n)) < 0)
                assert(errno == EAGAIN);
        timer->armed_at = USEC_INFINITY;
}
