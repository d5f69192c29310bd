/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>

#include "ctl/map-block.h"
#include "ctl/text.h"

/* ---- blocks ---- */

Block *block_new(uint64_t first) {
        Block *block = calloc(1, sizeof(*block));

        if (!block)
                text_out_of_memory();
        list_init(&block->links);
        block->first = first;
        return block;
}

static void drop_payloads(Block *block) {
        free(block->lengths);
        free(block->payloads);
        block->lengths = NULL;
        block->payloads = NULL;
        block->n_allocated = block->allocated = 0;
}

Block *block_free(Block *block) {
        if (!block)
                return NULL;
        list_remove(&block->links);
        sd_bus_slot_unref(block->slot);
        sd_bus_message_unref(block->reply);
        free(block->group);
        free(block->own_results);
        free(block->own_lengths);
        free(block->own_outputs);
        drop_payloads(block);
        free(block->error);
        free(block);
        return NULL;
}

/* An array with room for `n` elements, which grows by doubling. */
static void *grow(void *array, size_t *n_allocated, size_t n, size_t element) {
        size_t wanted = MAX(*n_allocated * 2, n);

        if (n <= *n_allocated)
                return array;
        array = reallocarray(array, wanted, element);
        if (!array)
                text_out_of_memory();
        *n_allocated = wanted;
        return array;
}

void block_add(Block *block, const char *payload, size_t size) {
        block->lengths =
                grow(block->lengths, &block->n_allocated, block->n + 1, sizeof(*block->lengths));
        block->payloads = grow(block->payloads, &block->allocated, block->size + size, 1);
        if (size > 0)
                memcpy(block->payloads + block->size, payload, size);
        block->lengths[block->n++] = (uint32_t) size;
        block->size += size;
}

Block *block_split(Block *block) {
        size_t n = block->n / 2, size = 0, end;
        Block *half = block_new(block->first + n);

        for (size_t i = 0; i < n; i++)
                size += block->lengths[i];
        end = size;
        for (size_t i = n; i < block->n; i++) {
                block_add(half, block->payloads + end, block->lengths[i]);
                end += block->lengths[i];
        }
        block->n = n;
        block->size = size;
        half->userdata = block->userdata;
        return half;
}

int block_append_to(const Block *block, sd_bus_message *m) {
        int r;

        r = sd_bus_message_append_array(m, 'u', block->lengths, block->n * sizeof(*block->lengths));
        return r < 0 ? r : sd_bus_message_append_array(m, 'y', block->payloads, block->size);
}

int block_take_reply(Block *block, sd_bus_message *reply) {
        size_t n_results, lengths_size, outputs_size, sum = 0;
        const uint32_t *lengths;
        const uint8_t *results;
        const char *outputs;
        uint64_t first_id;
        int r;

        r = sd_bus_message_read(reply, "t", &first_id);
        if (r >= 0)
                r = sd_bus_message_read_array(reply, 'y', (const void **) &results, &n_results);
        if (r >= 0)
                r = sd_bus_message_read_array(reply, 'u', (const void **) &lengths, &lengths_size);
        if (r >= 0)
                r = sd_bus_message_read_array(reply, 'y', (const void **) &outputs, &outputs_size);
        if (r < 0)
                return r;
        if (n_results != block->n || lengths_size != block->n * sizeof(uint32_t))
                return -EBADMSG;
        for (size_t i = 0; i < block->n; i++)
                sum += lengths[i];
        if (sum != outputs_size)
                return -EBADMSG;

        block->reply = sd_bus_message_ref(reply);
        block->first_id = first_id;
        block->results = results;
        block->output_lengths = lengths;
        block->outputs = outputs;
        block->outputs_size = outputs_size;
        drop_payloads(block);
        return 0;
}

int block_append_each_to(const Block *block, sd_bus_message *m) {
        const char *payload = block->payloads;
        int r;

        r = sd_bus_message_open_container(m, 'a', "ay");
        for (size_t i = 0; i < block->n && r >= 0; i++) {
                r = sd_bus_message_append_array(m, 'y', payload, block->lengths[i]);
                payload += block->lengths[i];
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static const char *const result_names[] = { "succeeded", "failed", "cancelled", "timed-out",
        "expired", "dropped", "refused", "lost" };

#define RESULT_FAILED 1
#define RESULT_CANCELLED 2

const char *result_to_string(uint8_t result) {
        return result < ELEMENTSOF(result_names) ? result_names[result] : "lost";
}

static uint8_t result_from_string(const char *s) {
        for (size_t i = 0; i < ELEMENTSOF(result_names); i++)
                if (strcmp(result_names[i], s) == 0)
                        return (uint8_t) i;
        return RESULT_FAILED;
}

static int take_result(Block *block, sd_bus_message *m) {
        const void *output;
        const char *result;
        uint64_t id;
        size_t size;
        int r;

        r = sd_bus_message_read(m, "ts", &id, &result);
        if (r >= 0)
                r = sd_bus_message_read_array(m, 'y', &output, &size);
        if (r < 0)
                return r;
        if (block->n_taken == 0)
                block->first_id = id;
        if (block->n_taken == block->n || id != block->first_id + block->n_taken)
                return -EBADMSG;
        block->own_outputs =
                grow(block->own_outputs, &block->taken_allocated, block->taken_size + size, 1);
        if (size > 0)
                memcpy(block->own_outputs + block->taken_size, output, size);
        block->taken_size += size;
        block->own_results[block->n_taken] = result_from_string(result);
        block->own_lengths[block->n_taken++] = (uint32_t) size;
        return sd_bus_message_exit_container(m);
}

int block_take_results(Block *block, sd_bus_message *reply) {
        size_t n_before = block->n_taken;
        int r;

        if (!block->own_results) {
                block->own_results = calloc(block->n, sizeof(*block->own_results));
                block->own_lengths = calloc(block->n, sizeof(*block->own_lengths));
                if (!block->own_results || !block->own_lengths)
                        text_out_of_memory();
        }
        r = sd_bus_message_enter_container(reply, 'a', "(tsay)");
        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'r', "tsay")) > 0)
                r = take_result(block, reply);
        if (r < 0)
                return r;
        if (block->n_taken == n_before)
                return -EBADMSG;
        if (block->n_taken < block->n)
                return 0;
        block->results = block->own_results;
        block->output_lengths = block->own_lengths;
        block->outputs = block->own_outputs;
        block->outputs_size = block->taken_size;
        drop_payloads(block);
        return 0;
}

size_t block_count_cancelled(const Block *block) {
        size_t n = 0;

        for (size_t i = 0; block->results && i < block->n; i++)
                n += block->results[i] == RESULT_CANCELLED;
        return n;
}

size_t block_count_failed(const Block *block) {
        size_t n = 0;

        if (!block->results)
                return block->n;
        for (size_t i = 0; i < block->n; i++)
                n += block->results[i] != 0;
        return n;
}

/* ---- the window ---- */

void window_init(Window *window, bool unordered) {
        *window = (Window){ .unordered = unordered };
        list_init(&window->blocks);
        list_init(&window->ready);
}

static void free_blocks(List *blocks) {
        list_for_each (l, blocks)
                (void) block_free(list_entry(l, Block, links));
}

void window_done(Window *window) {
        free_blocks(&window->blocks);
        free_blocks(&window->ready);
}

/* Moves those whose turn it is to the end of what is to be written. */
static void promote(Window *window) {
        list_for_each (l, &window->blocks) {
                if (list_entry(l, Block, links)->answered) {
                        list_remove(l);
                        list_append(&window->ready, l);
                } else if (!window->unordered)
                        return;
        }
}

static void hold(Window *window, Block *block) {
        block->answered = true;
        window->n_held += block->n;
        window->held_size += block->outputs_size;
}

void window_add(Window *window, Block *block) {
        list_append(&window->blocks, &block->links);
        window->n_calls++;
        window->n_jobs += block->n;
        window->size += block->size;
}

void window_add_half(Window *window, Block *block, Block *half) {
        list_insert(&block->links, &half->links, block->links.next);
        window->n_calls++;
}

void window_add_answered(Window *window, Block *block) {
        list_append(&window->blocks, &block->links);
        hold(window, block);
        promote(window);
}

/* It is no longer under way. */
static void arrive(Window *window, const Block *block) {
        window->n_calls--;
        window->n_jobs -= block->n;
        window->size -= block->size;
}

void window_answered(Window *window, Block *block) {
        arrive(window, block);
        hold(window, block);
        if (window->unordered) {
                list_remove(&block->links);
                list_append(&window->ready, &block->links);
        } else
                promote(window);
}

Block *window_next(const Window *window) {
        List *l = list_first(&window->ready);

        return l ? list_entry(l, Block, links) : NULL;
}

void window_drop(Window *window, Block *block) {
        if (block->answered) {
                window->n_held -= block->n;
                window->held_size -= block->outputs_size;
        } else
                arrive(window, block);
        (void) block_free(block);
        promote(window);
}

size_t window_drop_unanswered(Window *window) {
        size_t n = window->n_jobs;
        List *l;

        /* Those behind it that are answered make room, as its turn is over. */
        while ((l = list_first(&window->blocks)))
                window_drop(window, list_entry(l, Block, links));
        return n;
}
