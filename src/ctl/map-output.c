/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <poll.h>
#include <string.h>
#include <sys/epoll.h>

#include "ctl/map-output.h"
#include "ctl/progress.h"
#include "ctl/terminal.h"
#include "util/fd.h"

#define CLOGGED ((size_t) 256 * 1024)

/* A pipe that poll() calls writable has room for a page, so this much never blocks. */
#define PIECE ((size_t) 4096)

/* 1 if the reader has room, 0 if not now. */
static int has_room(void) {
        struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };
        int r = poll(&p, 1, 0);

        return r < 0 && errno != EINTR ? -errno : r > 0;
}

static int write_some(Output *output) {
        while (output_pending(output) > 0) {
                size_t size = output_pending(output);
                int r = 1;

                if (output->is_pollable) {
                        size = MIN(size, PIECE);
                        r = has_room();
                }
                if (r > 0)
                        r = fd_write_all(STDOUT_FILENO, output->data + output->start, size);
                else if (r == 0)
                        return 0;
                if (r < 0)
                        return r;
                output->start += size;
                output->in_line = output->data[output->start - 1] != '\n';
        }
        output->start = output->end = 0;
        return 0;
}

/* What cannot be polled, such as a regular file, always has room. */
static int watch(Output *output) {
        bool pending = output_pending(output) > 0;

        if (output->is_pollable)
                return sd_event_source_set_io_events(output->source, pending ? EPOLLOUT : 0);
        return sd_event_source_set_enabled(
                output->source, pending ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int flush(Output *output) {
        int r;

        if (terminal_is_there())
                progress_bar_hide();
        r = write_some(output);
        if (r >= 0)
                r = watch(output);
        if (r < 0)
                (void) sd_event_source_set_enabled(output->source, SD_EVENT_OFF);
        if (r < 0 || !output_is_clogged(output))
                output->wrote(r, output->userdata);
        return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Output *output = userdata;

        /* The last reader went away; there is no need to find out by a write. */
        if (output_pending(output) == 0 && (events & (EPOLLERR | EPOLLHUP))) {
                (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
                output->wrote(-EPIPE, output->userdata);
                return 0;
        }
        return flush(output);
}

static int on_turn(sd_event_source *source, void *userdata) {
        return flush(userdata);
}

int output_init(
        Output *output, sd_event *event, void (*wrote)(int r, void *userdata), void *userdata) {
        int r;

        *output = (Output){ .is_pollable = true, .wrote = wrote, .userdata = userdata };
        r = sd_event_add_io(event, &output->source, STDOUT_FILENO, 0, on_io, output);
        if (r == -EPERM) {
                output->is_pollable = false;
                r = sd_event_add_defer(event, &output->source, on_turn, output);
                if (r >= 0)
                        r = sd_event_source_set_enabled(output->source, SD_EVENT_OFF);
        }
        /* After all that may still bring something: a write for much instead of many for little. */
        if (r >= 0)
                r = sd_event_source_set_priority(output->source, SD_EVENT_PRIORITY_IDLE);
        return r;
}

void output_done(Output *output) {
        sd_event_source_disable_unref(output->source);
        free(output->data);
}

void output_put(Output *output, const void *data, size_t size) {
        bool was_empty = output_pending(output) == 0;

        if (size == 0)
                return;
        if (output->allocated - output->end < size) {
                size_t pending = output_pending(output);

                if (pending > 0)
                        memmove(output->data, output->data + output->start, pending);
                output->start = 0;
                output->end = pending;
        }
        if (output->allocated - output->end < size) {
                size_t allocated = MAX(output->allocated * 2, output->end + size);
                char *grown = realloc(output->data, allocated);

                if (!grown)
                        text_out_of_memory();
                output->data = grown;
                output->allocated = allocated;
        }
        memcpy(output->data + output->end, data, size);
        output->end += size;
        if (was_empty)
                (void) watch(output);
}

bool output_is_clogged(const Output *output) {
        return output_pending(output) >= CLOGGED;
}
