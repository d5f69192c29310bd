/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where the jobs of `map` come from: the lines or the NUL-ended strings of standard input, or whole
 * files. The splitter is pure: bytes are put in, pieces come out. The input reads, and never waits:
 * it says when it would have to. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macro.h"

typedef enum InputVerdict {
        INPUT_PIECE, /* here is one */
        INPUT_FAULT, /* one of them cannot be had; the text says why */
        INPUT_WAIT,  /* not before input_fd() is readable */
        INPUT_END,   /* that was all */
} InputVerdict;

typedef struct Splitter {
        int separator;    /* the byte that ends a piece; SPLITTER_WHOLE = only the end does */
        size_t piece_max; /* what is longer is passed over, and never held whole */
        char *data;
        size_t start, scanned, end, allocated; /* of data: first byte not given out, and so on */
        size_t n_passed; /* bytes already passed over of a piece that is too long; 0 = it is not */
        bool at_end;     /* no more bytes come */
        bool whole_given;
} Splitter;

#define SPLITTER_WHOLE (-1)

void splitter_init(Splitter *splitter, int separator, size_t piece_max);
void splitter_done(Splitter *splitter);

/* Room for more bytes, at least 64 KiB; splitter_put() says how many came. Pieces that were given
 * out are gone then. */
char *splitter_room(Splitter *splitter, size_t *ret_size);
void splitter_put(Splitter *splitter, size_t size);

/* No more bytes come; splitter_reset() begins anew, for the next file. */
void splitter_end(Splitter *splitter);
void splitter_reset(Splitter *splitter);

/* The next piece, without what ended it: INPUT_PIECE; INPUT_FAULT for one that is too long, with
 * its size; INPUT_WAIT if more bytes are needed; INPUT_END. The piece is the splitter's. */
InputVerdict splitter_next(Splitter *splitter, const char **ret, size_t *ret_size);

typedef struct Input {
        char *const *files; /* borrowed; NULL = standard input */
        char *const *next_file;
        int fd; /* what is read now; -EBADF = none is */
        Splitter splitter;
        uint64_t size; /* bytes to come where this is known from the start, else 0 */
        size_t n_files;
        bool counts_strings; /* its pieces are strings, not lines */
} Input;

/* `files`: NULL or empty = standard input, split at `separator`. */
void input_init(Input *input, char *const *files, char separator, size_t piece_max);
void input_done(Input *input);

/* The next piece, which is valid until the next call. With INPUT_FAULT *ret_text is the reason, and
 * the caller's; the piece has its number all the same. */
InputVerdict input_next(Input *input, const char **ret, size_t *ret_size, char **ret_text);

/* What input_next() waits for. */
int input_fd(const Input *input);

/* How people call the piece with this number, counted from 0: "line 7", or the name of the file. */
char *input_name(const Input *input, uint64_t number);
