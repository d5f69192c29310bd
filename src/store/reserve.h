/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The reserve: room on the disk that is set aside in good times, for what must be written when
 * there is no other. */

#include <stdbool.h>
#include <stdint.h>

int reserve_make(int dir_fd); /* 0, also if it is there; -ENOSPC or another -errno */
bool reserve_could_be_made(int dir_fd, int64_t more); /* with so many bytes more than are free */
void reserve_use(int dir_fd);                         /* gives the room free */
