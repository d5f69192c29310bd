/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* With --group a block is a group: one call makes it, one waits for its end, and others fetch its
 * results, in parts. Then it is a block like any other. Its results are let go of when they have
 * been written, so that sluiced keeps no more of them than we do.
 *
 * The first failure cancels the rest of its block, which is sluiced's work, and that of all others,
 * which is ours: that block ends at once, and tells of it. */

#include <string.h>
#include <systemd/sd-bus.h>

#include "ctl/bus.h"
#include "ctl/map-private.h"
#include "ctl/text.h"

/* As many as a reply is sure to carry. */
#define RESULTS_MAX UINT32_C(100000)

static int call(Map *map, Block *block, sd_bus_message_handler_t handler, const char *member,
        const char *types, ...) {
        _cleanup_message_ sd_bus_message *m = NULL;
        va_list arguments;
        int r;

        r = sd_bus_message_new_method_call(
                map->ctl->bus, &m, SLUICE_NAME, block->group, GROUP_INTERFACE, member);
        if (r < 0)
                return r;
        va_start(arguments, types);
        r = sd_bus_message_appendv(m, types, arguments);
        va_end(arguments);
        /* A group takes as long as it takes. */
        return r < 0 ? r
                     : sd_bus_call_async(
                               map->ctl->bus, &block->slot, m, handler, block, CALL_FOREVER);
}

/* Who is not told of the answer. */
static void call_and_forget(Map *map, const Block *block, const char *member) {
        _cleanup_message_ sd_bus_message *m = NULL;

        if (sd_bus_message_new_method_call(
                    map->ctl->bus, &m, SLUICE_NAME, block->group, GROUP_INTERFACE, member) < 0 ||
                sd_bus_message_set_expect_reply(m, false) < 0)
                return;
        (void) sd_bus_send(map->ctl->bus, m, NULL);
}

void map_group_forget(Map *map, const Block *block) {
        if (block->group)
                call_and_forget(map, block, "Forget");
}

static void cancel_all(Map *map) {
        list_for_each (l, &map->window.blocks) {
                const Block *block = list_entry(l, Block, links);

                if (block->group && !block->answered)
                        call_and_forget(map, block, "Cancel");
        }
}

/* Says what is wrong with the answer, if something is. */
static bool is_refused(Map *map, Block *block, sd_bus_message *m, int r) {
        static const sd_bus_error forgotten = SD_BUS_ERROR_MAKE_CONST("org.sluice1.Error.NotFound",
                "the results were forgotten before they could be read; "
                "ResultRetentionMax= of the pool is too small");
        _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;

        if (block->group && sd_bus_message_is_method_error(m, SD_BUS_ERROR_UNKNOWN_OBJECT)) {
                map_refused(map, block, &forgotten);
                return true;
        }
        if (sd_bus_message_is_method_error(m, NULL)) {
                map_refused(map, block, sd_bus_message_get_error(m));
                return true;
        }
        if (r >= 0)
                return false;
        (void) sd_bus_error_set_errno(&error, r);
        map_refused(map, block, &error);
        return true;
}

static int fetch(Map *map, Block *block);

static int on_results(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Block *block = userdata;
        Map *map = block->userdata;
        int r = 0;

        block->slot = sd_bus_slot_unref(block->slot);
        if (!sd_bus_message_is_method_error(m, NULL))
                r = block_take_results(block, m);
        if (r >= 0 && !block->results && !sd_bus_message_is_method_error(m, NULL))
                r = fetch(map, block);
        if (!is_refused(map, block, m, r) && block->results) {
                map_answered(map, block);
                if (map->options->group == MAP_GROUP_FIRST_ERROR && !map->stopped &&
                        block_count_failed(block) > block_count_cancelled(block)) {
                        map->stopped = map->cut_short = true;
                        cancel_all(map);
                }
        }
        map_step(map);
        return 0;
}

static int fetch(Map *map, Block *block) {
        return call(
                map, block, on_results, "GetResults", "tu", (uint64_t) block->n_taken, RESULTS_MAX);
}

static int on_finished(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Block *block = userdata;
        Map *map = block->userdata;
        int r = 0;

        block->slot = sd_bus_slot_unref(block->slot);
        if (!sd_bus_message_is_method_error(m, NULL))
                r = fetch(map, block);
        if (is_refused(map, block, m, r))
                map_step(map);
        return 0;
}

static int on_submitted(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Block *block = userdata;
        Map *map = block->userdata;
        const char *path;
        int r = 0;

        block->slot = sd_bus_slot_unref(block->slot);
        if (!sd_bus_message_is_method_error(m, NULL)) {
                r = sd_bus_message_read(m, "o", &path);
                if (r >= 0) {
                        block->group = text_copy(path);
                        /* It has waited for room while another one failed. */
                        if (map->cut_short)
                                call_and_forget(map, block, "Cancel");
                        r = call(map, block, on_finished, "Wait", "t", USEC_INFINITY);
                }
        }
        if (is_refused(map, block, m, r))
                map_step(map);
        return 0;
}

int map_group_send(Map *map, Block *block) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(map->ctl->bus, &m, SLUICE_NAME, map->target.path,
                map->target.kind->interface, "SubmitGroup");
        if (r >= 0)
                r = block_append_each_to(block, m);
        if (r >= 0)
                r = map_append_options(m, map->options);
        return r < 0 ? r
                     : sd_bus_call_async(
                               map->ctl->bus, &block->slot, m, on_submitted, block, CALL_FOREVER);
}
