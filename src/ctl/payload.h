/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The payload of a job, from an option, a file or standard input: small ones as bytes, large ones
 * and files as an fd where the connection passes fds. */

#include <stddef.h>

#include "ctl/ctl.h"

typedef struct Payload Payload;

struct Payload {
        int fd; /* -EBADF = it is in data */
        void *data;
        size_t size;
};

void payload_done(Payload *payload);
#define _cleanup_payload_ _cleanup_(payload_done)

/* What may go as an fd. */
typedef enum PayloadFds {
        PAYLOAD_FDS_NONE,
        PAYLOAD_FDS_FILES, /* but not what comes from a pipe, by way of a file of our own that is
                              another one each time */
        PAYLOAD_FDS_ALL,
} PayloadFds;

/* From `text`, or the file `path` ("-" is standard input), or, if both are NULL, standard input
 * where that is no terminal or `stdin_asked`. Says what went wrong. */
int payload_open(
        const char *text, const char *path, bool stdin_asked, PayloadFds fds, Payload *ret);

/* Turns an fd into bytes, for where it turned out that it cannot be passed. Says what went wrong.
 */
int payload_read(Payload *payload);
