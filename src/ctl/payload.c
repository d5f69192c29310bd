/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "ctl/payload.h"
#include "ctl/text.h"
#include "util/fd.h"

#define BYTES_MAX ((size_t) 64 * 1024)  /* what goes as bytes though it could go as an fd */
#define MESSAGE_MAX ((size_t) 31 << 20) /* a bus drops who sends 32 MiB */
#define CHUNK_SIZE ((size_t) 128 * 1024)

void payload_done(Payload *payload) {
        (void) fd_close(payload->fd);
        free(payload->data);
}

/* read() that goes on after a signal and waits where the fd would block is what fd_read_all() does;
 * this is the same for at most one chunk. */
static int read_chunk(int fd, void *chunk, size_t size) {
        size_t n = 0;

        while (n < size) {
                ssize_t k = read(fd, (char *) chunk + n, size - n);

                if (k == 0)
                        break;
                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                n += (size_t) k;
        }
        return (int) n;
}

/* Reads to the end into a memfd, so that the size of what comes from a pipe does not matter. */
static int spool(int fd, const void *start, size_t size, int *ret) {
        _cleanup_free_ char *chunk = malloc(CHUNK_SIZE);
        _cleanup_close_ int memory = -EBADF;
        int r;

        if (!chunk)
                return -ENOMEM;
        memory = memfd_create("sluice-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (memory < 0)
                return -errno;
        r = fd_write_all(memory, start, size);
        while (r >= 0 && (r = read_chunk(fd, chunk, CHUNK_SIZE)) > 0)
                r = fd_write_all(memory, chunk, (size_t) r);
        if (r < 0)
                return r;
        if (fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) <
                0)
                return -errno;
        *ret = TAKE_FD(memory);
        return 0;
}

static int read_stream(int fd, PayloadFds fds, Payload *ret) {
        _cleanup_free_ void *data = NULL;
        size_t size;
        int r;

        if (fds != PAYLOAD_FDS_ALL) {
                r = fd_read_all(fd, MESSAGE_MAX, &data, &size);
                if (r < 0)
                        return r;
                *ret = (Payload){ .fd = -EBADF, .data = TAKE_PTR(data), .size = size };
                return 0;
        }
        data = malloc(BYTES_MAX + 1);
        if (!data)
                return -ENOMEM;
        r = read_chunk(fd, data, BYTES_MAX + 1);
        if (r < 0)
                return r;
        if ((size_t) r <= BYTES_MAX) {
                *ret = (Payload){ .fd = -EBADF, .data = TAKE_PTR(data), .size = (size_t) r };
                return 0;
        }
        *ret = (Payload){ .fd = -EBADF };
        return spool(fd, data, (size_t) r, &ret->fd);
}

/* A regular file is passed as it is, which is how the daemon reads it: from its start. A standard
 * input that was read in part is no such file any more. */
static int from_fd(int fd, PayloadFds fds, Payload *ret) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return -EISDIR;
        if (S_ISREG(st.st_mode) && fds != PAYLOAD_FDS_NONE && lseek(fd, 0, SEEK_CUR) == 0) {
                int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

                if (copy < 0)
                        return -errno;
                *ret = (Payload){ .fd = copy };
                return 0;
        }
        return read_stream(fd, fds, ret);
}

static int report(int r, const char *what) {
        return r == -EFBIG ? failure(r,
                                     "read %s: it has to go in a message, which takes no more "
                                     "than %zu MiB",
                                     what, MESSAGE_MAX >> 20)
                           : failure(r, "read %s", what);
}

int payload_open(
        const char *text, const char *path, bool stdin_asked, PayloadFds fds, Payload *ret) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (text) {
                *ret = (Payload){ .fd = -EBADF, .data = text_copy(text), .size = strlen(text) };
                return 0;
        }
        if (path && strcmp(path, "-") != 0) {
                fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
                if (fd < 0)
                        return failure(-errno, "open %s", path);
                r = from_fd(fd, fds, ret);
                return r < 0 ? report(r, path) : 0;
        }
        /* A standard input that is closed is an empty one. */
        if (path || stdin_asked || (!isatty(STDIN_FILENO) && errno != EBADF)) {
                r = from_fd(STDIN_FILENO, fds, ret);
                return r < 0 ? report(r, "standard input") : 0;
        }
        *ret = (Payload){ .fd = -EBADF };
        return 0;
}

int payload_read(Payload *payload) {
        _cleanup_free_ void *data = NULL;
        size_t size;
        int r;

        r = fd_pread_all(payload->fd, MESSAGE_MAX, &data, &size);
        if (r < 0)
                return report(r, "the payload");
        payload->fd = fd_close(payload->fd);
        payload->data = TAKE_PTR(data);
        payload->size = size;
        return 0;
}
