/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/error-tail.h"

#include <string.h>

#include "util/macro.h"

void error_tail_add(ErrorTail *tail, const char *data, size_t n) {
        size_t keep;

        if (n > ERROR_TAIL_MAX) {
                data += n - ERROR_TAIL_MAX;
                n = ERROR_TAIL_MAX;
        }
        keep = MIN(tail->size, ERROR_TAIL_MAX - n);

        memmove(tail->data, tail->data + tail->size - keep, keep);
        memcpy(tail->data + keep, data, n);
        tail->size = keep + n;
}

const char *error_tail_text(const ErrorTail *tail, char text[static ERROR_TAIL_MAX + 3]) {
        const char *error = tail->data;
        size_t start = 0, size = tail->size;

        while (size > 0 && strchr(" \t\r\n", error[size - 1])) /* also '\0' */
                size--;
        /* Where the beginning is cut off, it may be in the middle of a character. */
        if (tail->size == ERROR_TAIL_MAX)
                while (start < size && ((unsigned char) error[start] & 0xc0) == 0x80)
                        start++;
        if (start == size)
                return "";

        memcpy(text, ": ", 2);
        for (size_t i = start; i < size; i++)
                text[2 + i - start] = error[i] ?: '?';
        text[2 + size - start] = '\0';
        return text;
}
