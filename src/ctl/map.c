/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `map`: each line, string or file a job; what `xargs -P` does, where the limit is the pool's.
 *
 * Pieces of the input (map-input.c) are gathered into blocks, each of which is one call of
 * RunPacked, or one group (map-pace.c says how large, and how many at a time). The answers are
 * written in the order of the input (map-block.c, map-output.c).
 *
 * All jobs are bound to our connection, so they go with it: Ctrl-C closes it, which cancels what
 * runs, what is queued and what still waits for a place in the queue, all at once. */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/map-private.h"
#include "ctl/terminal.h"
#include "ctl/text.h"
#include "ctl/verbs.h"

#define TAG_MAX 255
#define KEY_MAX 255

/* What pools have where they are not asked otherwise, for a daemon that does not tell. */
#define QUEUE_MAX_DEFAULT 1024
#define PAYLOAD_MAX_DEFAULT 1048576

/* A bus takes messages of up to 32 MiB. */
#define PAYLOAD_MAX_BUS ((uint64_t) 31 * 1024 * 1024)

/* The bar comes only if it takes a moment. */
#define BAR_FIRST (500 * USEC_PER_MSEC)
#define BAR_INTERVAL (200 * USEC_PER_MSEC)

static MapOptions arg;

static void map_done(Map *map) {
        sd_event_source_disable_unref(map->input_source);
        sd_event_source_disable_unref(map->bar_source);
        window_done(&map->window);
        output_done(&map->output);
        input_done(&map->input);
        object_done(&map->target);
        sd_event_unref(map->event);
}
#define _cleanup_map_ _cleanup_(map_done)

usec_t map_now(const Map *map) {
        uint64_t now = 0;

        (void) sd_event_now(map->event, CLOCK_MONOTONIC, &now);
        return now;
}

void map_step(Map *map) {
        map_write(map);
        map_read(map);
        /* What cannot be a job may be told of at once. */
        map_write(map);
        if ((map->stopped || map->input_ended) && window_is_empty(&map->window) &&
                output_pending(&map->output) == 0)
                (void) sd_event_exit(map->event, 0);
}

void map_fail(Map *map, const sd_bus_error *error) {
        if (map->stopped)
                return;
        map->stopped = true;
        map->status = EXIT_FAILURE;
        progress_bar_hide();
        (void) bus_failure(map->ctl, map->target.path, error, "run jobs in %s \"%s\"",
                map->target.kind->name, map->target.name);
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error lost = SD_BUS_ERROR_MAKE_CONST(SD_BUS_ERROR_DISCONNECTED, "");
        Map *map = userdata;

        map_fail(map, &lost);
        map_step(map);
        return 0;
}

/* Gives up what is under way; the daemon cancels it. Returns how many jobs that is. */
static size_t give_up(Map *map) {
        map->stopped = true;
        map->fetching = false;
        map->input_source = sd_event_source_disable_unref(map->input_source);
        sd_bus_close(map->ctl->bus);
        progress_bar_hide();
        return window_drop_unanswered(&map->window);
}

static int on_interrupt(
        sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Map *map = userdata;
        size_t n;

        if (map->signal)
                return sd_event_exit(map->event, 0);
        map->signal = (int) si->ssi_signo;
        n = give_up(map);
        notice(map->ctl, "Interrupted: %zu job%s cancelled.", n, n == 1 ? "" : "s");
        map_step(map);
        return 0;
}

static void on_written(int r, void *userdata) {
        Map *map = userdata;

        if (r >= 0) {
                map_step(map);
                return;
        }
        (void) give_up(map);
        /* A reader who has seen enough is no fault, and told as the shell tells of others. */
        map->status = r == -EPIPE ? 128 + SIGPIPE : EXIT_FAILURE;
        if (r != -EPIPE)
                (void) failure(r, "write to standard output");
        (void) sd_event_exit(map->event, 0);
}

/* How much of the input is done. */
static double fraction_done(const Map *map) {
        uint64_t done = map->n_done, total = 0;

        if (map->input.n_files > 0)
                total = map->input.n_files;
        else if (map->input_ended)
                total = map->n_read;
        else if (map->input.size > 0) {
                done = map->size_done;
                total = map->input.size;
        }
        return total > 0 ? MIN((double) done / (double) total, 1.0) : FRACTION_UNKNOWN;
}

static int on_bar(sd_event_source *source, uint64_t usec, void *userdata) {
        Map *map = userdata;
        usec_t now = map_now(map);
        int r;

        progress_sample(&map->progress, map->n_done, map->n_failed, fraction_done(map), now);
        /* It would overwrite what stands in its line. */
        if (!map->stopped && !(terminal_is_there() && map->output.in_line))
                progress_bar_draw(&map->progress, now);
        r = sd_event_source_set_time_relative(source, BAR_INTERVAL);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Not where somebody types the input. */
static bool has_bar(const Map *map) {
        return !map->ctl->quiet && progress_bar_is_possible() &&
               (map->input.files || !isatty(STDIN_FILENO));
}

static int set_up(Map *map) {
        sigset_t mask;
        int r;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGINT);
        (void) sigaddset(&mask, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
                return -errno;
        r = sd_event_new(&map->event);
        if (r >= 0)
                r = sd_event_add_signal(map->event, NULL, SIGINT, on_interrupt, map);
        if (r >= 0)
                r = sd_event_add_signal(map->event, NULL, SIGTERM, on_interrupt, map);
        if (r >= 0)
                r = output_init(&map->output, map->event, on_written, map);
        /* It may go while nothing is under way. */
        if (r >= 0)
                r = sd_bus_match_signal(map->ctl->bus, NULL, NULL, "/org/freedesktop/DBus/Local",
                        "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, map);
        if (r >= 0 && has_bar(map))
                r = sd_event_add_time_relative(map->event, &map->bar_source, CLOCK_MONOTONIC,
                        BAR_FIRST, USEC_PER_MSEC, on_bar, map);
        if (r >= 0)
                r = sd_bus_attach_event(map->ctl->bus, map->event, SD_EVENT_PRIORITY_NORMAL);
        return r;
}

/* Reads what the pool or the pipeline allows. */
static int ask_target(Map *map, char *const *files) {
        _cleanup_json_ json_object *properties = NULL;
        uint64_t payload_max, queue_max;
        int r;

        r = bus_get_all(map->ctl, map->target.path, map->target.kind->interface,
                /* optional= */ false, &properties, "use %s \"%s\"", map->target.kind->name,
                map->target.name);
        if (r < 0)
                return r;
        map->runs_commands = strcmp(json_text(properties, "Handler"), "command") == 0;
        payload_max = json_number(properties, "PayloadMax") ?: PAYLOAD_MAX_DEFAULT;
        queue_max = json_number(properties, "QueueMax") ?: json_number(properties, "MaxInFlight");
        input_init(&map->input, files, arg.null ? 0 : '\n', MIN(payload_max, PAYLOAD_MAX_BUS));
        pace_init(&map->pace, queue_max ?: QUEUE_MAX_DEFAULT, json_number(properties, "MaxWorkers"),
                usec_now(CLOCK_MONOTONIC));
        progress_init(&map->progress, usec_now(CLOCK_MONOTONIC));
        return 0;
}

static int check_options(char *const *files) {
        if (arg.null && files[0])
                return usage_error("Expected either FILEs or -0, which splits standard input.");
        if (arg.tag && (strlen(arg.tag) > TAG_MAX || !text_is_utf8(arg.tag, strlen(arg.tag))))
                return usage_error("Bad value for --tag; expected up to 255 bytes of UTF-8.");
        if (arg.group_policy && strcmp(arg.group_policy, "all") == 0)
                arg.group = MAP_GROUP_ALL;
        else if (arg.group_policy && strcmp(arg.group_policy, "first-error") == 0)
                arg.group = MAP_GROUP_FIRST_ERROR;
        else if (arg.group_policy)
                return usage_error("Bad value \"%s\" for --group; expected all or first-error.",
                        arg.group_policy);
        if (arg.key &&
                (!*arg.key || strlen(arg.key) > KEY_MAX || !text_is_utf8(arg.key, strlen(arg.key))))
                return usage_error(
                        "Bad value for --concurrency-key; expected 1 to 255 bytes of UTF-8.");
        return 0;
}

/* Says how it went, where that is not plain to see. Returns the exit status. */
static int sum_up(const Map *map) {
        progress_bar_hide();
        if (map->n_lost > 0)
                fprintf(stderr, "%" PRIu64 " job%s had no result.\n", map->n_lost,
                        map->n_lost == 1 ? "" : "s");
        if (map->n_failed > 0 && map->status != 128 + SIGPIPE)
                notice(map->ctl, "%" PRIu64 " of %" PRIu64 " job%s failed.",
                        map->n_failed - map->n_cancelled, map->n_done, map->n_done == 1 ? "" : "s");
        if (map->cut_short)
                notice(map->ctl, "%" PRIu64 " job%s cancelled for that%s.", map->n_cancelled,
                        map->n_cancelled == 1 ? " was" : "s were",
                        map->input_ended ? "" : ", and the rest of the input was not read");
        if (map->signal)
                return 128 + map->signal;
        return map->status != 0 ? map->status : map->n_failed > 0 ? EXIT_FAILURE : 0;
}

static int map(Ctl *c, char **arguments) {
        _cleanup_map_ Map map = { .ctl = c, .options = &arg, .input.fd = -EBADF };
        char *const *files = arguments + 1;
        int r;

        window_init(&map.window, arg.unordered);
        r = check_options(files);
        if (r >= 0)
                r = target_find(c, arguments[0], &map.target);
        if (r >= 0)
                r = ask_target(&map, files);
        if (r < 0)
                return r;
        r = set_up(&map);
        if (r < 0)
                return failure(r, "start");
        map_step(&map);
        r = sd_event_loop(map.event);
        return r < 0 ? failure(r, "run jobs") : sum_up(&map);
}

static const Option map_options[] = {
        { "null", '0', NULL, &option_flag, &arg.null, "Strings end with NUL, not with a newline" },
        { "unordered", 'u', NULL, &option_flag, &arg.unordered,
                "Write outputs as they come, not in the order of the input" },
        { "raw", 'r', NULL, &option_flag, &arg.raw, "Never add a newline to an output" },
        { "priority", 'p', "N", &option_priority, &arg.priority,
                "-1000 to 1000, higher is more urgent" },
        { "retries", 0, "N", &option_retries, &arg.retries, "Try again so often what fails" },
        { "concurrency-key", 0, "KEY", &option_text, &arg.key,
                "Run them one after the other, and other jobs with the same key" },
        { "tag", 't', "TEXT", &option_text, &arg.tag, "A label to find the jobs by" },
        { "group", 'g', "POLICY", &option_text, &arg.group_policy,
                "Submit groups: all, which is meant without a POLICY, or first-error, which ends "
                "all at the first failure",
                .implied = "all" },
};

const Verb verb_map = {
        .name = "map",
        .arguments = "POOL [FILE…]",
        .summary = "Make each line of standard input a job",
        .details =
                "POOL may be a pipeline; of two of that name pipeline/NAME means this one. "
                "With FILEs, the content of each is a job; - is standard input. Outputs are "
                "written in the order of the "
                "input, as they are; one that is made of a line and does not end in a newline gets "
                "one, and an empty one stays empty. A job that fails is told of on standard error "
                "(\"POOL: line N: why\"), the others go on, and the exit status is 1. Input is "
                "read "
                "no faster than the pool works. Ctrl-C cancels what was submitted. On a terminal "
                "there is a bar with the rate and, where the end is known, the time left. With "
                "--group what is read at a time is submitted as a group. With "
                "--group=first-error the first job that fails cancels all those that have not "
                "ended, in this group and in the others, and nothing more is read: the outputs of "
                "what was done before are written, and the exit status is 1.",
        .example = "sluicectl map thumbnails --priority=-10 < names",
        .options = map_options,
        .n_options = ELEMENTSOF(map_options),
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .run = map,
};
