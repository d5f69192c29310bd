/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The input becomes calls of RunPacked, or groups (map-group.c). What is under way, waits for its
 * turn or waits to be written is bounded; at the bound nothing more is read, so whoever writes our
 * input has to wait.
 */

#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-bus.h>

#include "ctl/bus.h"
#include "ctl/map-private.h"
#include "ctl/text.h"

/* How many bytes a block has at most before its last payload, and all that are under way. */
#define BLOCK_SIZE_MAX ((size_t) 256 * 1024)
#define WINDOW_SIZE_MAX ((size_t) 8 * 1024 * 1024)

/* How many jobs that have ended may wait for an earlier one, and with how many bytes of output. */
#define HELD_MAX ((size_t) 65536)
#define HELD_SIZE_MAX ((size_t) 8 * 1024 * 1024)

static void count_done(Map *map, const Block *block) {
        map->n_done += block->n;
        map->n_failed += block_count_failed(block);
        if (map->options->group == MAP_GROUP_FIRST_ERROR)
                map->n_cancelled += block_count_cancelled(block);
        map->size_done += block->size + block->n;
}

static const char *const halving[] = { "org.sluice1.Error.TooLarge", SD_BUS_ERROR_INVALID_ARGS,
        NULL };

/* What is no reason to give up: the jobs failed, and those to come may do better. */
static const char *const passing[] = { "org.sluice1.Error.TooLarge", SD_BUS_ERROR_INVALID_ARGS,
        "org.sluice1.Error.CircuitOpen", "org.sluice1.Error.QueueFull",
        "org.sluice1.Error.QuotaExceeded", NULL };

static bool is_one_of(const sd_bus_error *error, const char *const *names) {
        for (; *names; names++)
                if (sd_bus_error_has_name(error, *names))
                        return true;
        return false;
}

static void send_block(Map *map, Block *block);

/* The call made no jobs, or nobody knows what became of them. */
void map_refused(Map *map, Block *block, const sd_bus_error *error) {
        if (block->n > 1 && is_one_of(error, halving)) {
                Block *half = block_split(block);

                window_add_half(&map->window, block, half);
                send_block(map, block);
                send_block(map, half);
        } else if (is_one_of(error, passing)) {
                block->error = text_copy(error->message ?: error->name);
                window_answered(&map->window, block);
                count_done(map, block);
        } else {
                map_fail(map, error);
                map->n_lost += block->n;
                window_drop(&map->window, block);
        }
}

void map_answered(Map *map, Block *block) {
        pace_report(&map->pace, block->n, block->outputs_size, map_now(map));
        window_answered(&map->window, block);
        count_done(map, block);
}

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Block *block = userdata;
        Map *map = block->userdata;
        int r;

        block->slot = sd_bus_slot_unref(block->slot);
        if (sd_bus_message_is_method_error(m, NULL))
                map_refused(map, block, sd_bus_message_get_error(m));
        else if ((r = block_take_reply(block, m)) < 0) {
                _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;

                (void) sd_bus_error_set_errno(&error, r);
                map_refused(map, block, &error);
        } else
                map_answered(map, block);
        map_step(map);
        return 0;
}

int map_append_options(sd_bus_message *m, const MapOptions *options) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        /* A pool that is full makes us wait, in line with others. */
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}", "WaitUSec", "t", USEC_INFINITY);
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}", "BindToClient", "b", true);
        if (r >= 0 && options->priority.given)
                r = sd_bus_message_append(
                        m, "{sv}", "Priority", "i", (int32_t) options->priority.signed_value);
        if (r >= 0 && options->retries.given)
                r = sd_bus_message_append(
                        m, "{sv}", "MaxAttempts", "u", (uint32_t) options->retries.value + 1);
        if (r >= 0 && options->key)
                r = sd_bus_message_append(m, "{sv}", "ConcurrencyKey", "s", options->key);
        if (r >= 0 && options->tag)
                r = sd_bus_message_append(m, "{sv}", "Tag", "s", options->tag);
        if (r >= 0 && options->group != MAP_GROUP_NONE)
                r = sd_bus_message_append(m, "{sv}", "GroupPolicy", "s", options->group_policy);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int send_packed(Map *map, Block *block) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(map->ctl->bus, &m, SLUICE_NAME, map->target.path,
                map->target.kind->interface, "RunPacked");
        if (r >= 0)
                r = block_append_to(block, m);
        if (r >= 0)
                r = map_append_options(m, map->options);
        return r < 0 ? r
                     : sd_bus_call_async(
                               map->ctl->bus, &block->slot, m, on_reply, block, CALL_FOREVER);
}

static void send_block(Map *map, Block *block) {
        int r;

        block->userdata = map;
        r = map->options->group != MAP_GROUP_NONE ? map_group_send(map, block)
                                                  : send_packed(map, block);
        if (r < 0) {
                _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;

                (void) sd_bus_error_set_errno(&error, r);
                map_refused(map, block, &error);
        }
}

/* ---- reading ---- */

/* Gathers up to n pieces. Says why it ended: INPUT_PIECE means that the block is full. */
static InputVerdict fill(Map *map, Block *block, size_t n, size_t *ret_size, char **ret_text) {
        while (block->n < n && block->size < BLOCK_SIZE_MAX) {
                const char *piece;
                InputVerdict verdict = input_next(&map->input, &piece, ret_size, ret_text);

                if (verdict != INPUT_PIECE)
                        return verdict;
                block_add(block, piece, *ret_size);
        }
        return INPUT_PIECE;
}

/* A piece that cannot become a job has failed. */
static void add_fault(Map *map, char *text, size_t size) {
        Block *block = block_new(map->n_read++);

        block->n = 1;
        block->size = size;
        block->error = text;
        window_add_answered(&map->window, block);
        count_done(map, block);
}

static bool may_send(const Map *map, size_t n) {
        const Window *window = &map->window;

        return !map->stopped && !map->input_ended && !output_is_clogged(&map->output) &&
               window->n_held < HELD_MAX && window->held_size < HELD_SIZE_MAX &&
               window->size < WINDOW_SIZE_MAX &&
               pace_may_send(&map->pace, n, window->n_calls, window->n_jobs);
}

static int on_input(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        map_step(userdata);
        return 0;
}

static int on_turn(sd_event_source *source, void *userdata) {
        map_step(userdata);
        return 0;
}

/* What is read may change with each file, so the source is made when there is need to wait. What
 * cannot be polled, such as a regular file, always has something. */
static void wait_for_input(Map *map) {
        int r;

        map->input_source = sd_event_source_disable_unref(map->input_source);
        r = sd_event_add_io(
                map->event, &map->input_source, input_fd(&map->input), EPOLLIN, on_input, map);
        if (r == -EPERM)
                r = sd_event_add_defer(map->event, &map->input_source, on_turn, map);
        if (r >= 0)
                r = sd_event_source_set_enabled(map->input_source, SD_EVENT_ONESHOT);
        if (r >= 0)
                return;
        (void) failure(r, "wait for input");
        map->stopped = true;
        map->status = EXIT_FAILURE;
}

void map_read(Map *map) {
        InputVerdict verdict = INPUT_PIECE;
        size_t n;

        while (verdict != INPUT_WAIT && may_send(map, n = pace_block(&map->pace, map_now(map)))) {
                _cleanup_block_ Block *block = block_new(map->n_read);
                char *text = NULL;
                size_t size = 0;

                verdict = fill(map, block, n, &size, &text);
                map->n_read += block->n;
                if (block->n > 0) {
                        window_add(&map->window, block);
                        send_block(map, TAKE_PTR(block));
                }
                if (verdict == INPUT_FAULT)
                        add_fault(map, text, size);
                else if (verdict == INPUT_WAIT)
                        wait_for_input(map);
                else if (verdict == INPUT_END)
                        map->input_ended = true;
        }
}
