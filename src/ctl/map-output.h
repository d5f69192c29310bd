/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Standard output of `map`, which must not hold up the loop: a reader that takes its time would
 * also hold up Ctrl-C. Bytes are gathered, and written when the reader has room for them. On a
 * terminal the progress bar makes way. */

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "ctl/text.h"

typedef struct Output Output;

struct Output {
        sd_event_source *source;
        bool is_pollable;
        bool in_line; /* what was written last did not end a line */
        char *data;
        size_t start, end, allocated;

        /* Some of what was put in has been written (0), or it cannot be: -EPIPE if the reader has
         * gone, or another negative errno. */
        void (*wrote)(int r, void *userdata);
        void *userdata;
};

/* 0 or a negative errno. */
int output_init(
        Output *output, sd_event *event, void (*wrote)(int r, void *userdata), void *userdata);
void output_done(Output *output);

void output_put(Output *output, const void *data, size_t size);

/* How much waits to be written. */
static inline size_t output_pending(const Output *output) {
        return output->end - output->start;
}

/* Is there so much that it is time to make no more? */
bool output_is_clogged(const Output *output);
