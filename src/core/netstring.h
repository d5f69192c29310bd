/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Netstrings (D. J. Bernstein): "5:hello,". What a coprocess and a command with a batch read and
 * write. Where it is said so one may end in "!" as well, which then says something about it. Pure;
 * the reader takes bytes as they come, in pieces of any size. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macro.h"

typedef struct NetstringReader NetstringReader;

/* The longest "LENGTH:" that there is. */
#define NETSTRING_HEAD_MAX 21

struct NetstringReader {
        size_t max; /* content may be so long */
        bool marks; /* set by the owner: an exclamation mark may stand for the comma */
        enum {
                NETSTRING_AT_START,
                NETSTRING_IN_LENGTH,
                NETSTRING_IN_CONTENT,
                NETSTRING_AT_COMMA,
                NETSTRING_COMPLETE,
        } place;
        size_t length;    /* as announced, as far as it was read */
        size_t size;      /* content that is here */
        size_t allocated; /* at most twice what has come, whatever was announced */
        uint8_t *content; /* owned */
        bool marked;      /* the complete one ends in an exclamation mark */
        int error;        /* the fault that ended the stream, 0 = none */
};

/* Writes "LENGTH:" and returns its size. For contents that are not to be copied; a comma follows
 * them. */
size_t netstring_head(size_t size, char buf[static NETSTRING_HEAD_MAX]);

/* Reads the "LENGTH:" that the data begins with. Returns how many bytes that is, 0 if there is more
 * to come, -EBADMSG if it is none, -EFBIG if the length is above max, whatever follows. */
int netstring_read_head(const void *data, size_t size, size_t max, size_t *ret_length);

/* How many bytes a content of this size takes as a netstring. It is of something in memory, so this
 * cannot overflow. */
size_t netstring_size(size_t size);

/* Writes a whole netstring, netstring_size() bytes, and returns what follows it. `data` may be NULL
 * if there is none. */
uint8_t *netstring_append(uint8_t *to, const void *data, size_t size);

void netstring_reader_init(NetstringReader *reader, size_t max);
void netstring_reader_done(NetstringReader *reader);

/* Reads on, up to the end of one netstring; *ret_used is how much of the data that took. Returns 1
 * if a netstring is complete: take it, then come back with the rest. 0: needs more data, all of
 * this is used. -EBADMSG: that is no netstring. -EFBIG: it is longer than allowed; told by its
 * length alone. -ENOMEM. A fault is final, since nobody knows where the next netstring begins. */
int netstring_reader_feed(NetstringReader *reader, const void *data, size_t size, size_t *ret_used);

/* Hands over the content of the complete netstring: malloc()ed, the caller's, with a NUL byte after
 * it that *ret_size does not count. */
uint8_t *netstring_reader_take(NetstringReader *reader, size_t *ret_size);

/* The stream has ended. 0 if that was between two netstrings and all are taken, -EPIPE in the
 * middle of one, or the fault that there was before. */
int netstring_reader_end(const NetstringReader *reader);

/* What such an error is called, for people. */
const char *netstring_error_to_string(int r);
