/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* File descriptors: pipes, closing, whole reads and writes, and the flags that every one of ours
 * has. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

#include "util/macro.h"

typedef struct Pipe {
        int read_fd, write_fd; /* owned; -EBADF = closed */
} Pipe;

#define PIPE_NONE ((Pipe){ .read_fd = -EBADF, .write_fd = -EBADF })

int pipe_open(Pipe *ret); /* 0 or -errno */
void pipe_close(Pipe *pipe);

int fd_unix_address(const char *path, struct sockaddr_un *ret); /* 0 or -ENAMETOOLONG */

int fd_close(int fd);                  /* closes if >= 0, keeps errno; returns -EBADF */
bool fd_is_readable(int fd);           /* something can be read, or accepted, now */
int fd_nonblock(int fd, int nonblock); /* 0 or -errno */
int fd_write_all(
        int fd, const void *data, size_t size); /* 0 or -errno; waits where the fd would block */

/* Reads to the end, at most max bytes. *ret is malloc()ed, the caller's, with a NUL byte after the
 * content that *ret_size does not count. 0, -EFBIG if there is more than max, or -errno. */
int fd_read_all(int fd, size_t max, void **ret, size_t *ret_size);

/* The same for a regular file by pread() from offset 0, which leaves the fd's own offset alone. */
int fd_pread_all(int fd, size_t max, void **ret, size_t *ret_size);
