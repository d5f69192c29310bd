/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lock is of the open file, so unlike one of the process it does not go when some library opens
 * and closes the same file; and the kernel takes it back however the process ends. Who has it the
 * kernel does not tell then, so that is written into the file. */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/lock.h"
#include "util/macro.h"

#define RETRY_INTERVAL (100 * USEC_PER_MSEC)

static int read_owner(int fd) {
        char text[16] = "";

        if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
                return 0;
        return MAX(atoi(text), 0);
}

static int write_owner(int fd) {
        char text[16];
        int size = snprintf(text, sizeof(text), "%i\n", getpid());

        if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t) size, 0) < 0)
                return -errno;
        return 0;
}

static void pause_for(usec_t t) {
        struct timespec ts = {
                .tv_sec = (time_t) (t / USEC_PER_SEC),
                .tv_nsec = (long) (t % USEC_PER_SEC) * 1000,
        };

        (void) clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

int lock_take(int dir_fd, usec_t patience, int *ret_fd, int *ret_owner) {
        usec_t until = usec_add(usec_now(CLOCK_MONOTONIC), patience);
        _cleanup_close_ int fd = -EBADF;

        fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        for (;;) {
                struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
                usec_t now;

                if (fcntl(fd, F_OFD_SETLK, &lock) >= 0)
                        break;
                if (errno != EAGAIN && errno != EACCES)
                        return -errno;
                now = usec_now(CLOCK_MONOTONIC);
                if (now >= until) {
                        *ret_owner = read_owner(fd);
                        return -EBUSY;
                }
                pause_for(MIN(RETRY_INTERVAL, until - now));
        }

        /* On a full disk nobody can be told who has it; it is locked nevertheless. */
        (void) write_owner(fd);
        *ret_fd = TAKE_FD(fd);
        return 0;
}
