/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The answers become output: what succeeded goes to standard output, the rest is told of on
 * standard error, all in the order in which the window gives it out. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "ctl/bus.h"
#include "ctl/job-end.h"
#include "ctl/json.h"
#include "ctl/map-private.h"
#include "ctl/text.h"

/* How a job ended, with the output or the reason. */
typedef struct End {
        uint64_t number, id; /* id 0: it never was a job */
        const char *result;
        const char *text;
        size_t size;
} End;

static bool succeeded(const End *end) {
        return strcmp(end->result, "succeeded") == 0;
}

static void write_json(Map *map, const End *end) {
        JobEnd job = {
                .state = "finished",
                .result = end->result,
                .output = end->text,
                .size = end->size,
                .error = "",
        };
        _cleanup_json_ json_object *object = job_end_to_json(end->id, &job);
        const char *text, *file = map->input.files ? map->input.files[end->number] : NULL;

        if (end->id == 0)
                json_object_object_del(object, "Id");
        if (file)
                json_add_bytes(object, "File", file, strlen(file));
        else
                json_add(object, map->options->null ? "String" : "Line",
                        json_object_new_uint64(end->number + 1));
        text = json_format(map->ctl, object);
        output_put(&map->output, text, strlen(text));
        output_put(&map->output, "\n", 1);
}

static void write_output(Map *map, const End *end) {
        output_put(&map->output, end->text, end->size);
        /* The jobs of lines make lines, also where they know nothing of lines. */
        if (!map->input.files && !map->options->raw && end->size > 0 &&
                end->text[end->size - 1] != '\n')
                output_put(&map->output, "\n", 1);
}

/* "echo: line 7: exit status 1" */
static void report_failure(Map *map, const End *end) {
        _cleanup_free_ char *name = input_name(&map->input, end->number);
        _cleanup_free_ char *phrase = job_result_phrase(end->result), *text = NULL, *why = NULL;
        bool plain = strcmp(end->result, "failed") == 0 && end->size > 0;
        size_t size = end->size;

        while (size > 0 && strchr("\n ", end->text[size - 1]))
                size--;
        text = text_format("%s: %s: %s%s%.*s", map->target.name, name, plain ? "" : phrase,
                plain || size == 0 ? "" : ": ", (int) size, end->text);
        why = text_clean(text, /* lines= */ false);
        progress_bar_hide();
        fprintf(stderr, "%s\n", why);
}

/* Returns whether it was written: a failure is told only after all outputs before it. */
static bool write_end(Map *map, const End *end) {
        if (map->ctl->json != JSON_OFF) {
                write_json(map, end);
                return true;
        }
        if (succeeded(end)) {
                write_output(map, end);
                return true;
        }
        /* The sum says how many these are. */
        if (map->cut_short && strcmp(end->result, "cancelled") == 0)
                return true;
        if (output_pending(&map->output) > 0)
                return false;
        report_failure(map, end);
        return true;
}

static End block_end(const Block *block) {
        size_t i = block->n_written;

        if (block->error)
                return (End){
                        .number = block->first + i,
                        .result = "failed",
                        .text = block->error,
                        .size = strlen(block->error),
                };
        return (End){
                .number = block->first + i,
                .id = block->first_id + i,
                .result = result_to_string(block->results[i]),
                .text = block->outputs + block->offset,
                .size = block->output_lengths[i],
        };
}

static void pass(Block *block, size_t size) {
        block->n_written++;
        block->offset += size;
}

/* What it has done is not to be had; why it failed may be not either, but that it did is known. */
static void lose(Map *map, End *end) {
        if (!succeeded(end))
                return;
        end->result = "lost";
        map->n_failed++;
}

/* In its turn, and for good. */
static void write_fetched(Map *map, Block *block, const End *end) {
        if (!write_end(map, end))
                report_failure(map, end);
        pass(block, block->output_lengths[block->n_written]);
}

/* The whole output, or error text, of a job for which a reply had no room. Where there is none to
 * be had, what was in the reply may have been the output, which just looked like the notice; but
 * what a command prints ends in a newline, so there it is rather that the pool retains no results.
 */
static int on_fetched(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(m);
        Map *map = userdata;
        Block *block = window_next(&map->window);
        End end = block_end(block);
        const void *data;

        map->fetching = false;
        if (!error && sd_bus_message_read(m, "s", &end.result) >= 0 &&
                sd_bus_message_read_array(m, 'y', &data, &end.size) >= 0)
                end.text = data;
        else if (map->runs_commands || !sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_OBJECT))
                lose(map, &end);
        write_fetched(map, block, &end);
        map_step(map);
        return 0;
}

static bool is_cut(const End *end) {
        static const char notice_text[] = "too large: use GetResult";

        return end->id > 0 && end->size == strlen(notice_text) &&
               memcmp(end->text, notice_text, end->size) == 0;
}

static bool fetch(Map *map, const End *end) {
        _cleanup_free_ char *path = job_path(end->id);

        map->fetching = sd_bus_call_method_async(map->ctl->bus, NULL, SLUICE_NAME, path,
                                JOB_INTERFACE, "GetResult", on_fetched, map, NULL) >= 0;
        return map->fetching;
}

void map_write(Map *map) {
        Block *block;

        while ((block = window_next(&map->window))) {
                while (block->n_written < block->n) {
                        End end = block_end(block);

                        if (map->fetching || output_is_clogged(&map->output))
                                return;
                        if (unlikely(is_cut(&end))) {
                                if (fetch(map, &end))
                                        return;
                                lose(map, &end);
                                write_fetched(map, block, &end);
                                continue;
                        }
                        if (!write_end(map, &end))
                                return;
                        pass(block, block->error ? 0 : end.size);
                }
                map_group_forget(map, block);
                window_drop(&map->window, block);
        }
}
