/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The other end is not trusted, it may announce much and send little: memory grows with what has
 * come, and a length is refused at the digit that makes it too long. Lengths have one form only, so
 * "007:" is no netstring. */

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/netstring.h"

#define ALLOCATE_FIRST ((size_t) 256)

size_t netstring_head(size_t size, char buf[static NETSTRING_HEAD_MAX]) {
        char digits[NETSTRING_HEAD_MAX];
        size_t n = 0;

        do
                digits[n++] = (char) ('0' + size % 10);
        while ((size /= 10) > 0);

        for (size_t i = 0; i < n; i++)
                buf[i] = digits[n - 1 - i];
        buf[n] = ':';
        return n + 1;
}

size_t netstring_size(size_t size) {
        char head[NETSTRING_HEAD_MAX];

        return netstring_head(size, head) + size + 1;
}

uint8_t *netstring_append(uint8_t *to, const void *data, size_t size) {
        char head[NETSTRING_HEAD_MAX];
        size_t n = netstring_head(size, head);

        memcpy(to, head, n);
        to += n;
        if (size > 0)
                memcpy(to, data, size);
        to += size;
        *to++ = ',';
        return to;
}

void netstring_reader_init(NetstringReader *reader, size_t max) {
        *reader = (NetstringReader){ .max = max };
}

void netstring_reader_done(NetstringReader *reader) {
        free(reader->content);
        reader->content = NULL;
}

/* Adds a digit to a length; nothing follows a zero at its beginning. */
static int read_digit(uint8_t c, bool first, size_t max, size_t *length) {
        size_t digit = (size_t) (c - '0');

        if (c < '0' || c > '9' || (!first && *length == 0))
                return -EBADMSG;
        if (digit > max || *length > (max - digit) / 10)
                return -EFBIG;
        *length = *length * 10 + digit;
        return 0;
}

int netstring_read_head(const void *data, size_t size, size_t max, size_t *ret_length) {
        const uint8_t *s = data;
        size_t length = 0;
        int r;

        for (size_t i = 0; i < size; i++) {
                if (s[i] == ':' && i > 0) {
                        *ret_length = length;
                        return (int) i + 1;
                }
                r = read_digit(s[i], i == 0, max, &length);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Makes room for `more` bytes of content, of which no more than announced are asked for, and the
 * NUL byte. */
static int reserve(NetstringReader *reader, size_t more) {
        size_t needed = reader->size + more, room;
        uint8_t *grown;

        if (reader->content && needed <= reader->allocated)
                return 0;
        /* No sum here can overflow: `needed` bytes are in memory already, ours and the caller's. */
        room = MIN(MAX(needed + needed / 2, ALLOCATE_FIRST), reader->length);
        grown = realloc(reader->content, room + 1);
        if (!grown)
                return -ENOMEM;
        reader->content = grown;
        reader->allocated = room;
        return 0;
}

static int read_content(NetstringReader *reader, const uint8_t *data, size_t size, size_t *used) {
        size_t n = MIN(size, reader->length - reader->size);
        int r;

        r = reserve(reader, n);
        if (r < 0)
                return r;
        memcpy(reader->content + reader->size, data, n);
        reader->size += n;
        if (reader->size == reader->length) {
                reader->content[reader->size] = '\0';
                reader->place = NETSTRING_AT_COMMA;
        }
        *used += n;
        return 0;
}

/* One step: a byte outside of the content, as much as there is inside. */
static int read_some(NetstringReader *reader, const uint8_t *data, size_t size, size_t *used) {
        int r;

        switch (reader->place) {
        case NETSTRING_IN_LENGTH:
                if (*data == ':') {
                        ++*used;
                        reader->place = NETSTRING_IN_CONTENT;
                        return reader->length > 0 ? 0 : read_content(reader, data, 0, used);
                }
                /* fall through */
        case NETSTRING_AT_START:
                ++*used;
                r = read_digit(
                        *data, reader->place == NETSTRING_AT_START, reader->max, &reader->length);
                reader->place = NETSTRING_IN_LENGTH;
                return r;
        case NETSTRING_IN_CONTENT:
                return read_content(reader, data, size, used);
        case NETSTRING_AT_COMMA:
                if (*data != ',' && !(reader->marks && *data == '!'))
                        return -EBADMSG;
                ++*used;
                reader->marked = *data == '!';
                reader->place = NETSTRING_COMPLETE;
                return 0;
        case NETSTRING_COMPLETE:
                break;
        }
        return 0;
}

int netstring_reader_feed(
        NetstringReader *reader, const void *data, size_t size, size_t *ret_used) {
        size_t used = 0;
        int r;

        assert(reader->place != NETSTRING_COMPLETE);
        if (reader->error < 0)
                return reader->error;

        while (used < size && reader->place != NETSTRING_COMPLETE) {
                r = read_some(reader, (const uint8_t *) data + used, size - used, &used);
                if (r < 0)
                        return reader->error = r;
        }
        *ret_used = used;
        return reader->place == NETSTRING_COMPLETE;
}

uint8_t *netstring_reader_take(NetstringReader *reader, size_t *ret_size) {
        uint8_t *content = TAKE_PTR(reader->content);

        assert(reader->place == NETSTRING_COMPLETE);
        *ret_size = reader->size;
        *reader = (NetstringReader){ .max = reader->max, .marks = reader->marks };
        return content;
}

int netstring_reader_end(const NetstringReader *reader) {
        if (reader->error < 0)
                return reader->error;
        return reader->place == NETSTRING_AT_START ? 0 : -EPIPE;
}

const char *netstring_error_to_string(int r) {
        switch (r) {
        case -EBADMSG:
                return "not a netstring";
        case -EFBIG:
                return "netstring is too long";
        case -EPIPE:
                return "ends in the middle of a netstring";
        case -ENOMEM:
                return "out of memory";
        default:
                return "unknown error";
        }
}
