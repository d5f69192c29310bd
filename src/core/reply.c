/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* All of a reply is in one buffer, into which the owner reads directly: a small one comes in one
 * piece and is looked at once, and a big one is not copied until it is complete. */

#include "core/reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/netstring.h"

/* As much as a pipe holds. */
#define ROOM_USUAL ((size_t) 64 * 1024)

void reply_reader_init(ReplyReader *reader, Framing framing, size_t max) {
        *reader = (ReplyReader){ .framing = framing, .max = max };
}

void reply_reader_done(ReplyReader *reader) {
        free(reader->data);
        reader->data = NULL;
        reader->room = 0;
}

void reply_reader_reset(ReplyReader *reader) {
        if (reader->room > ROOM_USUAL)
                reply_reader_done(reader);
        reader->size = reader->searched = 0;
}

void *reply_reader_room(ReplyReader *reader, size_t *ret_size) {
        if (reader->size == reader->room) {
                size_t room = reader->room > 0 ? 2 * reader->room : ROOM_USUAL;
                char *data = realloc(reader->data, room);

                if (!data)
                        return NULL;
                reader->data = data;
                reader->room = room;
        }
        *ret_size = reader->room - reader->size;
        return reader->data + reader->size;
}

static int look_for_line(ReplyReader *reader) {
        const char *end;

        end = memchr(reader->data + reader->searched, '\n', reader->size - reader->searched);
        reader->searched = reader->size;
        reader->content = end ? (size_t) (end - reader->data) : reader->size;
        if (reader->content > reader->max)
                return -EFBIG;
        if (!end)
                return 0;
        reader->start = 0;
        reader->failed = false;
        return reader->content + 1 < reader->size ? -E2BIG : 1;
}

static int look_for_netstring(ReplyReader *reader) {
        size_t length, end;
        int r;

        if (reader->data[0] != '+' && reader->data[0] != '-')
                return -EBADMSG;
        r = netstring_read_head(reader->data + 1, reader->size - 1, reader->max, &length);
        if (r <= 0)
                return r;

        /* There may be more in our memory than is announced, but not less than nothing. */
        reader->start = 1 + (size_t) r;
        if (reader->size - reader->start <= length)
                return 0;
        end = reader->start + length;
        if (reader->data[end] != ',')
                return -EBADMSG;
        reader->content = length;
        reader->failed = reader->data[0] == '-';
        return end + 1 < reader->size ? -E2BIG : 1;
}

int reply_reader_add(ReplyReader *reader, size_t n) {
        reader->size += n;
        if (reader->size == 0)
                return 0;
        return reader->framing == FRAMING_LINE ? look_for_line(reader) : look_for_netstring(reader);
}

char *reply_reader_take(ReplyReader *reader) {
        char *data = TAKE_PTR(reader->data);

        reader->room = 0;
        memmove(data, data + reader->start, reader->content);
        return realloc(data, MAX(reader->content, (size_t) 1)) ?: data;
}
