/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/socket.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/strv.h"

#define SOCKET_GROUP "sluice"
#define BACKLOG 128

/* FileDescriptorName= of sluiced-unit.socket. */
#define UNITS_NAME "unit"

static int default_path(bool user, char **ret) {
        const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
        char *path;

        if (!user)
                path = strdup("/run/sluice/bus");
        else if (!runtime || runtime[0] != '/')
                return -ENOENT;
        else if (asprintf(&path, "%s/sluice/bus", runtime) < 0)
                path = NULL;
        if (!path)
                return -ENOMEM;
        *ret = path;
        return 0;
}

/* The folder of a default socket is ours to make; that of another one is not. */
static int make_parent(const char *path) {
        _cleanup_free_ char *parent = strdup(path);

        if (!parent)
                return -ENOMEM;
        *strrchr(parent, '/') = '\0';
        if (mkdir(parent, 0755) < 0 && errno != EEXIST)
                return -errno;
        return 0;
}

/* Removes a socket that nobody listens on any more, as a killed daemon leaves it. */
static int remove_stale(const char *path, const struct sockaddr_un *address) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        if (lstat(path, &st) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISSOCK(st.st_mode))
                return -EEXIST;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *) address, sizeof(*address)) >= 0 ||
                errno != ECONNREFUSED)
                return -EADDRINUSE;
        return unlink(path) < 0 ? -errno : 0;
}

/* Where there is a group for it, its members may connect. */
static void open_to_group(const char *path) {
        const struct group *group = geteuid() == 0 ? getgrnam(SOCKET_GROUP) : NULL;

        if (group && lchown(path, (uid_t) -1, group->gr_gid) < 0)
                log_warning("Cannot give %s to group " SOCKET_GROUP ": %s", path, strerror(errno));
}

static int listen_at(const char *path, int *ret) {
        _cleanup_close_ int fd = -EBADF;
        struct sockaddr_un address;
        mode_t mask;
        int r;

        r = fd_unix_address(path, &address);
        if (r < 0)
                return r;
        r = remove_stale(path, &address);
        if (r < 0)
                return r;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* Nobody can connect before the mode is right. No thread runs yet that the mask could hurt.
         */
        mask = umask(0117);
        r = bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 ? -errno : 0;
        (void) umask(mask);
        if (r < 0)
                return r;
        open_to_group(path);
        if (listen(fd, BACKLOG) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

/* The first listening stream socket among those that systemd has handed over that is, or is not,
 * the one for units: FileDescriptorName= of its unit says so. */
static int socket_from_systemd(bool for_units) {
        char **names = NULL;
        int found = -ENOENT, n;

        n = sd_listen_fds_with_names(/* unset_environment= */ !for_units, &names);
        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;

                if (found < 0 && (strcmp(names[i], UNITS_NAME) == 0) == for_units &&
                        sd_is_socket_unix(fd, SOCK_STREAM, /* listening= */ 1, NULL, 0) > 0)
                        found = fd;
        }
        strv_free(names);
        return found;
}

int socket_find_units(int *ret) {
        int r = socket_from_systemd(/* for_units= */ true);

        if (r < 0)
                return r;
        *ret = r;
        return 0;
}

int socket_open(const char *path, bool user, int *ret, char **ret_path) {
        _cleanup_free_ char *own = NULL;
        int r;

        r = socket_from_systemd(/* for_units= */ false);
        if (r >= 0) {
                *ret = r;
                *ret_path = NULL;
                return 0;
        }
        if (path) {
                own = strdup(path);
                r = own ? 0 : -ENOMEM;
        } else {
                r = default_path(user, &own);
                if (r >= 0)
                        r = make_parent(own);
        }
        if (r >= 0)
                r = listen_at(own, ret);
        if (r < 0)
                return r;
        *ret_path = TAKE_PTR(own);
        return 0;
}
