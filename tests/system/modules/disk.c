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
#include <sys/inotify.h>
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

/* Waits for another wish, which is renamed to its place, or for its end. The folder is watched
 * before it is looked at, so none is missed. */
static void wait_while_held(char wish[static 16]) {
        char folder[4096], events[4096], *slash;
        int fd;

        (void) snprintf(folder, sizeof(folder), "%s", getenv("SLUICE_TEST_DISK"));
        slash = strrchr(folder, '/');
        if (!slash)
                abort();
        *slash = '\0';
        fd = inotify_init1(IN_CLOEXEC);
        if (fd < 0 || inotify_add_watch(fd, folder, IN_MOVED_TO | IN_DELETE) < 0)
                abort();
        for (read_wish(wish); strcmp(wish, "hold") == 0; read_wish(wish))
                if (read(fd, events, sizeof(events)) < 0 && errno != EINTR)
                        abort();
        (void) close(fd);
}

static int be_as_wished(void) {
        char wish[16];

        read_wish(wish);
        if (strcmp(wish, "hold") == 0) {
                tell_held();
                wait_while_held(wish);
        }
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
