/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of `map` share: map.c is the verb and its loop, map-read.c makes calls of the
 * input, map-write.c makes output of the answers. One thread; all of it runs in the loop. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "ctl/ctl.h"
#include "ctl/map-block.h"
#include "ctl/map-input.h"
#include "ctl/map-output.h"
#include "ctl/map-pace.h"
#include "ctl/object.h"
#include "ctl/options.h"
#include "ctl/progress.h"

typedef enum MapGroup {
        MAP_GROUP_NONE,
        MAP_GROUP_ALL,
        MAP_GROUP_FIRST_ERROR,
} MapGroup;

typedef struct MapOptions {
        OptionNumber priority, retries;
        const char *key, *tag;
        const char *group_policy; /* as it was given */
        MapGroup group;
        bool null, raw, unordered;
} MapOptions;

typedef struct Map {
        Ctl *ctl;                  /* borrowed */
        const MapOptions *options; /* borrowed */
        Object target;
        bool runs_commands;
        Input input;
        Pace pace;
        Window window;
        Output output;
        Progress progress;
        sd_event *event;
        sd_event_source *input_source, *bar_source;

        uint64_t n_read, n_done, n_failed; /* jobs; those done have a result */
        uint64_t n_cancelled;              /* of those that failed, by the first failure */
        uint64_t n_lost;                   /* jobs of which nobody will know */
        uint64_t size_done;                /* of the input of those done */
        bool input_ended;
        bool stopped;   /* nothing more is submitted */
        bool cut_short; /* by the first failure */
        bool fetching;  /* the output of the next job to be written */
        int signal;     /* that has come */
        int status;     /* exit status, if more than failed jobs decide it */
} Map;

/* map.c: does all that can be done now, and ends the loop when nothing is left. */
void map_step(Map *map);
usec_t map_now(const Map *map);

/* map.c: says why no more jobs can be run, once; those under way may still end. */
void map_fail(Map *map, const sd_bus_error *error);

/* map-read.c: reads and sends as much as may be under way. */
void map_read(Map *map);

/* map-read.c: all results of the block are there, or none will come. */
void map_answered(Map *map, Block *block);
void map_refused(Map *map, Block *block, const sd_bus_error *error);
int map_append_options(sd_bus_message *m, const MapOptions *options);

/* map-group.c: sends the block as a group; lets go of what sluiced keeps of it. */
int map_group_send(Map *map, Block *block);
void map_group_forget(Map *map, const Block *block);

/* map-write.c: hands the output what may be written now. */
void map_write(Map *map);
