/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "store/reserve.h"
#include "util/macro.h"

#define RESERVE_FILE "reserve"

/* The log is full when it turns out that the database cannot grow by what is in it: so there is to
 * be as much room as the log has, and some more. */
#define RESERVE_SIZE (8 << 20)

int reserve_make(int dir_fd) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int r;

        fd = openat(dir_fd, RESERVE_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        /* One that was begun and not finished has holes. */
        if (st.st_size == RESERVE_SIZE && st.st_blocks * 512 >= RESERVE_SIZE)
                return 0;
        r = -posix_fallocate(fd, 0, RESERVE_SIZE);
        if (r < 0)
                reserve_use(dir_fd);
        return r;
}

bool reserve_could_be_made(int dir_fd, int64_t more) {
        struct statvfs st;

        if (fstatvfs(dir_fd, &st) < 0)
                return false;
        return more >= RESERVE_SIZE || (RESERVE_SIZE - more) / st.f_frsize < st.f_bavail;
}

void reserve_use(int dir_fd) {
        (void) unlinkat(dir_fd, RESERVE_FILE, 0);
}
