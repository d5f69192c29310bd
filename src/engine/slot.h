/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Slot: a Worker without a thread, of a pool whose handler does the work elsewhere (begin() in
 * handler/handler.h). Its turns are pool_turn(), as those of any worker, but it is main that does
 * them. Main thread, without the pool's lock. */

#include "engine/worker.h"

/* The slot was woken: takes turns until a call of it is in flight or there is nothing to do. */
void slot_work(Worker *slot);

void slot_stop(Worker *slot); /* tells its handler that the call is to stop, if there is one */
