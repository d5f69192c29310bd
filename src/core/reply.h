/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* ReplyReader: what a coprocess answers to one job, read as it comes. Either a netstring after a
 * sign ("+5:hello," is an output, "-9:not found," says why the job has failed) or a line, without
 * the line feed at its end. One job has one answer: what comes after it is a fault, as is anything
 * else that cannot be its beginning. Pure; the owner reads into its room. */

#include <stdbool.h>
#include <stddef.h>

#include "util/macro.h"

typedef enum Framing {
        FRAMING_NETSTRING,
        FRAMING_LINE,
        _FRAMING_MAX,
        _FRAMING_INVALID = -EINVAL
} Framing;

typedef struct ReplyReader ReplyReader;

struct ReplyReader {
        Framing framing;
        size_t max;            /* content may be so long */
        char *data;            /* owned: all that has come */
        size_t size, room;     /* at most twice what has come, or the first room */
        size_t searched;       /* there is no line feed before */
        size_t start, content; /* of a complete reply: where its content is, and its length */
        bool failed;           /* a complete reply tells of a failure */
};

void reply_reader_init(ReplyReader *reader, Framing framing, size_t max);
void reply_reader_done(ReplyReader *reader);
void reply_reader_reset(ReplyReader *reader); /* for the next reply; keeps a room of usual size */

/* Where the next bytes are to be written, of which there is room for *ret_size > 0. NULL without
 * memory. */
void *reply_reader_room(ReplyReader *reader, size_t *ret_size);

/* n bytes were written there. Returns 1: the reply is complete, and nothing follows it. 0: more is
 * to come. -EBADMSG: that is no reply. -EFBIG: it is longer than `max`, told as early as can be.
 * -E2BIG: something follows it. */
int reply_reader_add(ReplyReader *reader, size_t n);

/* The content of the complete reply: borrowed, or handed over as malloc()ed memory. */
static inline const char *reply_reader_content(const ReplyReader *reader) {
        return reader->data + reader->start;
}
char *reply_reader_take(ReplyReader *reader);
