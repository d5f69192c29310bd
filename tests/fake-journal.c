/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake-journal.h"
#include "util/fd.h"

static char folder[] = "/tmp/sluice-journal.XXXXXX";
static struct sockaddr_un address;
static int journal_fd = -EBADF;

int fake_journal_begin(void) {
        char path[sizeof(folder) + sizeof("/socket")];

        if (!mkdtemp(folder))
                return -errno;
        (void) snprintf(path, sizeof(path), "%s/socket", folder);
        return setenv("SLUICE_JOURNAL_SOCKET", path, /* overwrite= */ 1) < 0
                       ? -errno
                       : fd_unix_address(path, &address);
}

void fake_journal_end(void) {
        (void) rmdir(folder);
}

int fake_journal_open(void) {
        journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (journal_fd < 0 || bind(journal_fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return 0;
}

int fake_journal_close(void) {
        journal_fd = fd_close(journal_fd);
        return unlink(address.sun_path) < 0 ? -errno : 0;
}

const char *fake_journal_next(void) {
        static char text[8192];
        ssize_t n = recv(journal_fd, text, sizeof(text) - 1, 0);

        assert_true(n >= 0 || errno == EAGAIN);
        text[MAX(n, (ssize_t) 0)] = '\0';
        return text;
}
