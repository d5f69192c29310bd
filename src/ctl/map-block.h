/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Blocks of jobs that `map` sends in one call each, and the window of those that are under way or
 * not yet written. In the window they stand in the order in which they are written: that of the
 * input, or as they come back.
 *
 * A block keeps its payloads until it is answered: one that is refused as a whole, since one of its
 * jobs is too large or there are too many for the queue, is sent again in halves. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "util/list.h"

typedef struct Block {
        List links;
        uint64_t first; /* number of its first job in the input, from 0 */
        size_t n;       /* jobs */
        uint32_t *lengths;
        size_t n_allocated;
        char *payloads;
        size_t size, allocated; /* of all payloads */
        sd_bus_slot *slot;      /* of the call that is under way */
        void *userdata;

        /* Once it is answered: the reply, which the arrays are parts of, or a reason why all of its
         * jobs failed. */
        bool answered;
        sd_bus_message *reply;
        char *group; /* path, where it is a group; its results come in parts, and are ours */
        uint8_t *own_results;
        uint32_t *own_lengths;
        char *own_outputs;
        size_t n_taken, taken_size, taken_allocated;
        char *error;
        uint64_t first_id;
        const uint8_t *results;
        const uint32_t *output_lengths;
        const char *outputs;
        size_t outputs_size;

        size_t n_written, offset; /* jobs, and bytes of their outputs */
} Block;

Block *block_new(uint64_t first);
Block *block_free(Block *block); /* returns NULL; gives up its call */
DEFINE_CLEANUP(Block *, block_free)
#define _cleanup_block_ _cleanup_(block_freep)

void block_add(Block *block, const char *payload, size_t size);

/* Takes the second half of the jobs away, into a new block. */
Block *block_split(Block *block);

/* Writes the payloads as the arguments au ay of a call. */
int block_append_to(const Block *block, sd_bus_message *m);

/* Reads the reply tayauay and keeps it. -EBADMSG if it is not about these jobs. */
int block_take_reply(Block *block, sd_bus_message *reply);

/* Writes the payloads as the argument aay of a call. */
int block_append_each_to(const Block *block, sd_bus_message *m);

/* Adds the results in a reply a(tsay) to those that came before; with the last one the block has
 * them all. -EBADMSG if they are not about these jobs. */
int block_take_results(Block *block, sd_bus_message *reply);

/* How many of its jobs did not succeed, and how many of those were cancelled. */
size_t block_count_failed(const Block *block);
size_t block_count_cancelled(const Block *block);

const char *result_to_string(uint8_t result); /* "lost" for what has no name */

typedef struct Window {
        List blocks; /* owned; in the order of the input, until it is their turn */
        List ready;  /* owned; answered and to be written, in this order */
        bool unordered;
        size_t n_calls, n_jobs, size; /* under way, and the payloads of these */
        size_t n_held, held_size; /* jobs that are answered and not written, and their outputs */
} Window;

void window_init(Window *window, bool unordered);
void window_done(Window *window);

/* Adds the block as the last one, under way or answered already; it is the window's. */
void window_add(Window *window, Block *block);
void window_add_answered(Window *window, Block *block);

/* Puts what block_split() took off a block that is under way right behind it. */
void window_add_half(Window *window, Block *block, Block *half);

/* The block has got its answer. */
void window_answered(Window *window, Block *block);

/* The block to be written next; NULL if that has no answer yet. */
Block *window_next(const Window *window);

/* Forgets the block, which was written or never will be. */
void window_drop(Window *window, Block *block);

/* Forgets all blocks that have no answer, and says how many jobs these were. */
size_t window_drop_unanswered(Window *window);

static inline bool window_is_empty(const Window *window) {
        return list_is_empty(&window->blocks) && list_is_empty(&window->ready);
}
