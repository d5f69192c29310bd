/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* disk: preloaded into the daemon it makes the disk of its state what a test wants it to be: what
 * the file $SLUICE_TEST_DISK says. "hold": a sync takes until the file says something else; "eio":
 * it fails; nothing, or no such file: it is as it is. A sync that is held is told of by a line in
 * the file beside it, with ".held" behind its name. */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void read_wish(char wish[static 16]) {
        const char *path = getenv("SLUICE_TEST_DISK");
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        ssize_t n = fd >= 0 ? read(fd, wish, 15) : 0;

        wish[n > 0 ? n : 0] = '\0';
        if (fd >= 0)
                (void) close(fd);
}

static void tell_held(void) {
        char path[4096];
        int fd;

        (void) snprintf(path, sizeof(path), "%s.held", getenv("SLUICE_TEST_DISK"));
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0)
                (void) close(fd);
}

static int be_as_wished(void) {
        const struct timespec pause = { .tv_nsec = 1000000 };
        char wish[16];

        read_wish(wish);
        if (strcmp(wish, "hold") == 0)
                tell_held();
        for (; strcmp(wish, "hold") == 0; read_wish(wish))
                (void) nanosleep(&pause, NULL);
        if (strcmp(wish, "eio") != 0)
                return 0;
        errno = EIO;
        return -1;
}

__attribute__((visibility("default"))) int fdatasync(int fd) {
        int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");

        return be_as_wished() < 0 ? -1 : real(fd);
}

__attribute__((visibility("default"))) int fsync(int fd) {
        int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");

        return be_as_wished() < 0 ? -1 : real(fd);
}
