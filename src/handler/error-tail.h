/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* ErrorTail: the end of what a child has written to its standard error, for the error text of a job
 * that has failed. */

#include <stddef.h>

typedef struct ErrorTail ErrorTail;

#define ERROR_TAIL_MAX ((size_t) 4096)

struct ErrorTail {
        size_t size;
        char data[ERROR_TAIL_MAX];
};

void error_tail_add(ErrorTail *tail, const char *data, size_t n); /* the next n bytes */

/* As a text after a colon, written into `text` where there is any; "" if there is none. */
const char *error_tail_text(const ErrorTail *tail, char text[static ERROR_TAIL_MAX + 3]);
