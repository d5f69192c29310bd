/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One-shot timer on a timerfd that knows what it is armed for, so that arming for a later moment
 * costs nothing. Armed by any thread under the owner's lock; read by the main thread. */

#include "util/time.h"

typedef struct Timer Timer;

struct Timer {
        int fd;          /* owned; CLOCK_MONOTONIC */
        usec_t armed_at; /* USEC_INFINITY = not armed */
};

int timer_init(Timer *timer); /* 0 or -errno */
void timer_done(Timer *timer);

/* Makes sure that it fires at `at` or before; USEC_INFINITY asks for nothing. */
void timer_arm(Timer *timer, usec_t at);

/* It has fired: empties the fd. Nothing is armed then. */
void timer_acknowledge(Timer *timer);
