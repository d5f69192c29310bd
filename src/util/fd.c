/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "util/fd.h"

#define READ_FIRST ((size_t) 4096)

int pipe_open(Pipe *ret) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        *ret = (Pipe){ .read_fd = fds[0], .write_fd = fds[1] };
        return 0;
}

void pipe_close(Pipe *pipe) {
        pipe->read_fd = fd_close(pipe->read_fd);
        pipe->write_fd = fd_close(pipe->write_fd);
}

int fd_unix_address(const char *path, struct sockaddr_un *ret) {
        *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
        if (strlen(path) >= sizeof(ret->sun_path))
                return -ENAMETOOLONG;
        memcpy(ret->sun_path, path, strlen(path) + 1);
        return 0;
}

int fd_close(int fd) {
        int saved_errno = errno;

        /* Not repeated on EINTR: Linux has freed the number by then, and another thread may already
         * have it again. */
        if (fd >= 0)
                (void) close(fd);

        errno = saved_errno;
        return -EBADF;
}

bool fd_is_readable(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        return poll(&p, 1, 0) > 0;
}

int fd_nonblock(int fd, int nonblock) {
        int flags;

        flags = fcntl(fd, F_GETFL);
        if (flags < 0)
                return -errno;
        if (fcntl(fd, F_SETFL, nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0)
                return -errno;
        return 0;
}

static int wait_for(int fd, short events) {
        struct pollfd p = { .fd = fd, .events = events };

        /* What is wrong with the fd, the next read() or write() says better than poll(). */
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
                return -errno;
        return 0;
}

int fd_write_all(int fd, const void *data, size_t size) {
        const char *p = data;
        int r;

        while (size > 0) {
                ssize_t n = write(fd, p, size);

                if (n >= 0) {
                        p += n;
                        size -= (size_t) n;
                } else if (errno == EAGAIN) {
                        r = wait_for(fd, POLLOUT);
                        if (r < 0)
                                return r;
                } else if (errno != EINTR)
                        return -errno;
        }
        return 0;
}

/* Reads to the end, by pread() where `positioned`. Room for one byte beyond `max` is offered to
 * read(), so that a content that is too big shows without a further call. */
static int read_all(int fd, bool positioned, size_t max, void **ret, size_t *ret_size) {
        _cleanup_free_ char *buffer = NULL;
        size_t size = 0, room;
        struct stat st;
        int r;

        if (max > SSIZE_MAX - 2)
                max = SSIZE_MAX - 2;

        /* The size of a regular file is a guess that mostly saves all growing; only what is read
         * counts. */
        room = READ_FIRST;
        if (fstat(fd, &st) >= 0 && S_ISREG(st.st_mode) && st.st_size > 0)
                room = (size_t) MIN((uint64_t) st.st_size, (uint64_t) max) + 1;
        room = MIN(room, max + 1);

        buffer = malloc(room + 1);
        if (!buffer)
                return -ENOMEM;

        for (;;) {
                ssize_t n;

                if (size > max)
                        return -EFBIG;
                if (size == room) {
                        size_t bigger = room > max / 2 ? max + 1 : room * 2;
                        char *grown = realloc(buffer, bigger + 1);

                        if (!grown)
                                return -ENOMEM;
                        buffer = grown;
                        room = bigger;
                }

                n = positioned ? pread(fd, buffer + size, room - size, (off_t) size)
                               : read(fd, buffer + size, room - size);
                if (n == 0)
                        break;
                if (n > 0)
                        size += (size_t) n;
                else if (errno == EAGAIN) {
                        r = wait_for(fd, POLLIN);
                        if (r < 0)
                                return r;
                } else if (errno != EINTR)
                        return -errno;
        }

        buffer[size] = '\0';
        *ret = TAKE_PTR(buffer);
        *ret_size = size;
        return 0;
}

int fd_read_all(int fd, size_t max, void **ret, size_t *ret_size) {
        return read_all(fd, /* positioned= */ false, max, ret, ret_size);
}

int fd_pread_all(int fd, size_t max, void **ret, size_t *ret_size) {
        return read_all(fd, /* positioned= */ true, max, ret, ret_size);
}
