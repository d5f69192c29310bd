/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The reserve: room on the disk that is set aside in good times, for what must be written when
 * there is no other. */

#include <stdbool.h>

int reserve_make(int dir_fd); /* 0, also if it is there; -ENOSPC or another -errno */
void reserve_use(int dir_fd); /* gives the room free */
