/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/map-input.h"
#include "ctl/text.h"
#include "util/fd.h"
#include "util/strv.h"

#define READ_SIZE ((size_t) 64 * 1024)

/* How often is read in one go for a piece that has no end, before the loop gets its turn. */
#define READS_MAX 64

/* ---- the splitter ---- */

void splitter_init(Splitter *s, int separator, size_t piece_max) {
        *s = (Splitter){ .separator = separator, .piece_max = piece_max };
}

void splitter_done(Splitter *s) {
        free(s->data);
}

char *splitter_room(Splitter *s, size_t *ret_size) {
        if (s->start > 0) {
                if (s->end > s->start)
                        memmove(s->data, s->data + s->start, s->end - s->start);
                s->scanned -= s->start;
                s->end -= s->start;
                s->start = 0;
        }
        if (s->allocated - s->end < READ_SIZE) {
                size_t allocated = MAX(s->allocated * 2, s->end + READ_SIZE);
                char *data = realloc(s->data, allocated);

                if (!data)
                        text_out_of_memory();
                s->data = data;
                s->allocated = allocated;
        }
        *ret_size = s->allocated - s->end;
        return s->data + s->end;
}

void splitter_put(Splitter *s, size_t size) {
        s->end += size;
}

void splitter_end(Splitter *s) {
        s->at_end = true;
}

void splitter_reset(Splitter *s) {
        s->start = s->scanned = s->end = s->n_passed = 0;
        s->at_end = s->whole_given = false;
}

/* Gives out what lies before `stop`; the piece ends there and the next begins at `next`. */
static InputVerdict give(
        Splitter *s, size_t stop, size_t next, const char **ret, size_t *ret_size) {
        size_t size = stop - s->start, n_passed = s->n_passed;

        *ret = s->data + s->start;
        *ret_size = n_passed + size;
        s->start = s->scanned = next;
        s->n_passed = 0;
        return n_passed > 0 || size > s->piece_max ? INPUT_FAULT : INPUT_PIECE;
}

InputVerdict splitter_next(Splitter *s, const char **ret, size_t *ret_size) {
        const char *found = NULL;

        if (s->separator != SPLITTER_WHOLE && s->scanned < s->end)
                found = memchr(s->data + s->scanned, s->separator, s->end - s->scanned);
        if (found) {
                size_t stop = (size_t) (found - s->data);

                return give(s, stop, stop + 1, ret, ret_size);
        }
        s->scanned = s->end;
        if (s->at_end) {
                bool whole = s->separator == SPLITTER_WHOLE && !s->whole_given;

                if (!whole && s->start == s->end && s->n_passed == 0)
                        return INPUT_END;
                s->whole_given = true;
                return give(s, s->end, s->end, ret, ret_size);
        }
        if (s->end - s->start > s->piece_max || s->n_passed > 0) {
                s->n_passed += s->end - s->start;
                s->start = s->scanned = s->end = 0;
        }
        return INPUT_WAIT;
}

/* ---- the input ---- */

void input_init(Input *input, char *const *files, char separator, size_t piece_max) {
        struct stat st;
        off_t offset;

        *input = (Input){
                .files = strv_length(files) > 0 ? files : NULL,
                .fd = -EBADF,
                .n_files = strv_length(files),
                .counts_strings = separator == 0,
        };
        input->next_file = input->files;
        splitter_init(&input->splitter, input->files ? SPLITTER_WHOLE : separator, piece_max);
        if (input->files)
                return;
        input->fd = STDIN_FILENO;
        if (fstat(input->fd, &st) >= 0 && S_ISREG(st.st_mode)) {
                offset = lseek(input->fd, 0, SEEK_CUR);
                if (offset >= 0 && offset < st.st_size)
                        input->size = (uint64_t) (st.st_size - offset);
        }
}

static void close_file(Input *input) {
        if (input->files)
                (void) fd_close(input->fd);
        input->fd = -EBADF;
}

void input_done(Input *input) {
        close_file(input);
        splitter_done(&input->splitter);
}

/* Opened so that a fifo without a writer holds nobody up. */
static int open_next_file(Input *input) {
        const char *name = *input->next_file++;

        splitter_reset(&input->splitter);
        if (strcmp(name, "-") == 0)
                input->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
        else
                input->fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        return input->fd < 0 ? -errno : 0;
}

/* Reads what is there. 0, -EAGAIN if there is nothing yet, or another negative errno. Asks first,
 * as standard input is shared with others, so that it is not ours to make it non-blocking. */
static int read_more(Input *input) {
        struct pollfd p = { .fd = input->fd, .events = POLLIN };
        size_t size;
        char *room;
        ssize_t n;

        n = poll(&p, 1, 0);
        if (n == 0)
                return -EAGAIN;
        room = splitter_room(&input->splitter, &size);
        n = n < 0 ? -1 : read(input->fd, room, size);
        if (n < 0)
                return errno == EINTR ? -EAGAIN : -errno;
        if (n == 0) {
                splitter_end(&input->splitter);
                close_file(input);
        }
        splitter_put(&input->splitter, (size_t) n);
        return 0;
}

/* The fault ends this file, or all of standard input. */
static InputVerdict fault(Input *input, char *text, char **ret_text) {
        *ret_text = text;
        splitter_reset(&input->splitter);
        splitter_end(&input->splitter);
        input->splitter.whole_given = true;
        close_file(input);
        return INPUT_FAULT;
}

InputVerdict input_next(Input *input, const char **ret, size_t *ret_size, char **ret_text) {
        Splitter *splitter = &input->splitter;

        *ret_size = 0;
        for (unsigned n_reads = 0; n_reads < READS_MAX; n_reads++) {
                InputVerdict verdict = INPUT_END;
                int r;

                if (input->fd >= 0 || splitter->at_end)
                        verdict = splitter_next(splitter, ret, ret_size);
                if (verdict == INPUT_PIECE)
                        return verdict;
                if (verdict == INPUT_FAULT) {
                        *ret_text = text_format("%zu bytes are too large; PayloadMax is %zu",
                                *ret_size, splitter->piece_max);
                        return verdict;
                }
                /* Of a file there is no need to see the rest. */
                if (input->files && splitter->n_passed > 0)
                        return fault(input,
                                text_format("larger than PayloadMax, which is %zu bytes",
                                        splitter->piece_max),
                                ret_text);
                if (verdict == INPUT_END && !(input->next_file && *input->next_file))
                        return INPUT_END;
                r = verdict == INPUT_WAIT ? read_more(input) : open_next_file(input);
                if (r == -EAGAIN)
                        return INPUT_WAIT;
                if (r < 0)
                        return fault(input, text_copy(strerror(-r)), ret_text);
        }
        return INPUT_WAIT;
}

int input_fd(const Input *input) {
        return input->fd;
}

char *input_name(const Input *input, uint64_t number) {
        if (input->files)
                return text_copy(input->files[number]);
        return text_format("%s %" PRIu64, input->counts_strings ? "string" : "line", number + 1);
}
