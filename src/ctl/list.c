/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `list`: the pools, and below them what they share. */

#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/limiter.h"
#include "ctl/pipeline.h"
#include "ctl/table.h"
#include "ctl/text.h"
#include "ctl/verbs.h"
#include "ctl/view.h"

static int list_pools(Ctl *c, Table *table) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        const char *name, *path, *state;
        uint32_t running, workers;
        uint64_t queued;
        int r;

        r = bus_new_call(c, SLUICE_PATH, MANAGER_INTERFACE, "ListPools", &m);
        if (r >= 0)
                r = bus_call(c, m, CALL_DEFAULT, &reply, "list the pools");
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "(sostuu)");
        while (r >= 0 && (r = sd_bus_message_read(reply, "(sostuu)", &name, &path, &state, &queued,
                                  &running, &workers)) > 0) {
                json_object *row = json_object_new_object();

                json_add(row, "Kind", json_object_new_string("pool"));
                json_add(row, "Name", json_object_new_string(name));
                json_add(row, "Path", json_object_new_string(path));
                json_add(row, "State", json_object_new_string(state));
                json_add(row, "Queued", json_object_new_uint64(queued));
                json_add(row, "Running", json_object_new_int64(running));
                json_add(row, "Workers", json_object_new_int64(workers));
                table_add(table, row);
        }
        return r < 0 ? failure(r, "read the list of pools") : 0;
}

/* All objects, as properties by interface by path. A daemon that does not tell is fine. */
static json_object *get_objects(Ctl *c) {
        _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_message_ sd_bus_message *reply = NULL;
        json_object *objects = NULL;

        if (sd_bus_call_method(c->bus, SLUICE_NAME, SLUICE_PATH,
                    "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", &error, &reply,
                    NULL) < 0 ||
                json_read_message(reply, &objects) < 0)
                return NULL;
        return objects;
}

static json_object *pipeline_row(json_object *p) {
        _cleanup_free_ char *stages = pipeline_stages(p);
        json_object *row = json_object_get(p); /* its properties are the columns */

        json_object_object_del(row, "Stages");
        json_add(row, "Stages", json_object_new_string(stages));
        return row;
}

static json_object *limiter_row(json_object *p) {
        static const char *const numbers[] = { "Tokens", "Burst", "Waiters" };
        _cleanup_free_ char *rate = limiter_rate(p);
        json_object *row = json_object_new_object();

        json_add(row, "Name", json_object_new_string(json_text(p, "Name")));
        json_add(row, "Rate", json_object_new_string(rate));
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
                json_add(row, numbers[i], json_object_new_uint64(json_number(p, numbers[i])));
        return row;
}

static json_object *breaker_row(json_object *p) {
        return json_object_get(p); /* its properties are the columns */
}

/* A kind of object that has a table below that of the pools. */
static const struct Section {
        const char *interface;
        json_object *(*row)(json_object *properties);
        const char *singular, *plural;
        Column columns[5];
} sections[] = {
        {
                PIPELINE_INTERFACE,
                pipeline_row,
                "pipeline",
                "pipelines",
                {
                        { "Name", "PIPELINE", COLUMN_SHRINKS },
                        { "State", "STATE", COLUMN_STATE },
                        { "InFlight", "IN FLIGHT", COLUMN_RIGHT },
                        { "MaxInFlight", "MAX", COLUMN_RIGHT },
                        { "Stages", "STAGES", COLUMN_SHRINKS },
                },
        },
        {
                LIMITER_INTERFACE,
                limiter_row,
                "limiter",
                "limiters",
                {
                        { "Name", "LIMITER", COLUMN_SHRINKS },
                        { "Rate", "RATE", COLUMN_RIGHT },
                        { "Tokens", "TOKENS", COLUMN_RIGHT },
                        { "Burst", "BURST", COLUMN_RIGHT },
                        { "Waiters", "WAITERS", COLUMN_RIGHT },
                },
        },
        {
                BREAKER_INTERFACE,
                breaker_row,
                "breaker",
                "breakers",
                {
                        { "Name", "BREAKER", COLUMN_SHRINKS },
                        { "State", "STATE", COLUMN_STATE },
                        { "Mode", "MODE", 0 },
                        { "Failures", "FAILURES", COLUMN_RIGHT },
                        { "Trips", "TRIPS", COLUMN_RIGHT },
                },
        },
};

static void add_to_legend(Line *legend, size_t n, const char *singular, const char *plural) {
        line_add(legend, text_format("%zu %s", n, n == 1 ? singular : plural));
}

static int compare_names(const void *a, const void *b) {
        return strcmp(json_text(*(json_object *const *) a, "Name"),
                json_text(*(json_object *const *) b, "Name"));
}

/* The properties of those of the kind among the objects, by name, with Kind and Path. */
static json_object *find_all(const struct Section *section, json_object *objects) {
        json_object *found = json_object_new_array();

        json_object_object_foreach(objects, path, interfaces) {
                json_object *p = json_member(interfaces, section->interface);

                if (!p)
                        continue;
                json_add(p, "Kind", json_object_new_string(section->singular));
                json_add(p, "Path", json_object_new_string(path));
                if (json_object_array_add(found, json_object_get(p)) < 0)
                        text_out_of_memory();
        }
        json_object_array_sort(found, compare_names);
        return found;
}

/* What is read by programs has all of them in one list, with all their properties. */
static void add_section(Table *table, const struct Section *section, json_object *objects) {
        _cleanup_json_ json_object *found = find_all(section, objects);

        for (size_t i = 0; i < json_object_array_length(found); i++)
                table_add(table, json_object_get(json_object_array_get_idx(found, i)));
}

/* Prints those among the objects, under a header of their own. */
static void list_section(
        Ctl *c, const struct Section *section, json_object *objects, Line *legend) {
        _cleanup_json_ json_object *found = find_all(section, objects);
        size_t n = json_object_array_length(found);
        _cleanup_table_ Table table;

        table_init(&table, c, section->columns, ELEMENTSOF(section->columns));
        if (n == 0)
                return;
        putchar('\n');
        for (size_t i = 0; i < n; i++)
                table_add(&table, section->row(json_object_array_get_idx(found, i)));
        table_end(&table);
        add_to_legend(legend, n, section->singular, section->plural);
}

static int list(Ctl *c, char **arguments) {
        static const Column columns[] = {
                { "Name", "NAME", COLUMN_SHRINKS },
                { "State", "STATE", COLUMN_STATE },
                { "Queued", "QUEUED", COLUMN_RIGHT },
                { "Running", "RUNNING", COLUMN_RIGHT },
                { "Workers", "WORKERS", COLUMN_RIGHT },
        };
        _cleanup_json_ json_object *objects = NULL;
        _cleanup_line_ Line legend = { 0 };
        _cleanup_table_ Table table;
        int r;

        table_init(&table, c, columns, ELEMENTSOF(columns));
        r = list_pools(c, &table);
        if (r < 0)
                return r;
        /* Without headers nobody could tell other rows from these. */
        if (c->json == JSON_OFF && c->no_legend) {
                table_finish(&table, "pool", "pools");
                return 0;
        }
        objects = get_objects(c);
        if (c->json != JSON_OFF) {
                for (size_t i = 0; objects && i < ELEMENTSOF(sections); i++)
                        add_section(&table, &sections[i], objects);
                table_end(&table);
                return 0;
        }
        table_end(&table);
        add_to_legend(&legend, table.n_printed, "pool", "pools");
        for (size_t i = 0; objects && i < ELEMENTSOF(sections); i++)
                list_section(c, &sections[i], objects, &legend);
        printf("\n%s listed.\n", legend.text);
        return 0;
}

const Verb verb_list = {
        .name = "list",
        .arguments = "",
        .summary = "List the pools, pipelines, limiters and breakers",
        .details = "With their state, the jobs that wait and run, and their workers; below them, "
                   "if there are any, pipelines, limiters and breakers. In JSON \"Kind\" says what "
                   "each is. What has no legend has the pools alone.",
        .example = "sluicectl list --json=short",
        .max_arguments = 0,
        .run = list,
};
