/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The lock on a state: one process has it at a time. */

#include "util/time.h"

/* Waits up to `patience` for who has it. *ret_fd holds it, until it is closed. 0, or -EBUSY, for
 * which *ret_owner is the process that has it, 0 = unknown; or -errno. */
int lock_take(int dir_fd, usec_t patience, int *ret_fd, int *ret_owner);
