/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* ObjectKind: what pools, pipelines, limiters and breakers have in common on the bus: a path that
 * is made of the name, the manager's Get…, Create… and Remove…, and that all are told when one
 * comes, changes or goes. Main thread only. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "bus/server.h"

typedef struct ObjectKind ObjectKind;

struct ObjectKind {
        const char *noun;   /* "limiter", for texts */
        const char *prefix; /* of the paths, "/org/sluice1/limiter" */
        const char *interface;
        const sd_bus_vtable *vtable; /* its methods and getters are given a Found */

        /* Where they are. */
        void *(*find)(Engine *engine, const char *name); /* NULL if there is none */
        List *(*all)(Engine *engine);
        void *(*of_list)(List *l); /* the object that is there in that list */
        const char *(*name)(const void *object);
        ObjectRow *(*row)(void *object);
        bool (*is_from_file)(const void *object); /* made by a settings file */
        const ObjectKind *users;                  /* what may use them; NULL: nothing */
        bool (*is_used_by)(const void *object, const void *user);

        /* Makes the one of that name, which is valid and not taken, with the settings that are next
         * in the message. */
        int (*create)(
                sd_bus_message *m, Link *link, const char *name, void **ret, sd_bus_error *error);

        /* Removes the object, which nothing uses, and answers the call, now or later. */
        int (*remove)(
                sd_bus_message *m, Link *link, void *object, bool cancel, sd_bus_error *error);
};

/* Where the objects of a kind are, as functions of these names: the engine has find and list of the
 * same noun. `name_of` is the name as a member of the object. */
#define DEFINE_OBJECT_LOOKUP(noun, Type, name_of)                    \
        static void *find_##noun(Engine *engine, const char *name) { \
                return engine_find_##noun(engine, name);             \
        }                                                            \
                                                                     \
        static List *all_##noun##s(Engine *engine) {                 \
                return &engine->noun##s;                             \
        }                                                            \
                                                                     \
        static void *noun##_of_list(List *l) {                       \
                return list_entry(l, Type, links);                   \
        }                                                            \
                                                                     \
        static const char *noun##_name(const void *object) {         \
                return ((const Type *) object)->name_of;             \
        }                                                            \
                                                                     \
        static ObjectRow *noun##_row(void *object) {                 \
                return &((Type *) object)->row;                      \
        }

/* Each is at the end of the file of its interface. */
extern const ObjectKind pool_object, pipeline_object, limiter_object, breaker_object;

/* Adds the interfaces of all kinds to the connection. */
int objects_add(Link *link);

/* The path of an object, malloc()ed; and that of an optional one: "/" if it is NULL. */
int object_path(const ObjectKind *kind, const void *object, char **ret);
int object_path_or_none(const ObjectKind *kind, const void *object, char **ret);

/* Methods of the manager. */
int object_get(sd_bus_message *m, Link *link, const ObjectKind *kind, sd_bus_error *error);
int object_create(sd_bus_message *m, Link *link, const ObjectKind *kind, sd_bus_error *error);
int object_remove(sd_bus_message *m, Link *link, const ObjectKind *kind, sd_bus_error *error);

/* Is the setting of this name a property that can be set? */
bool object_is_setting(const char *interface, const char *property); /* of any kind */
bool object_shows_setting(const ObjectKind *kind, const char *name);

/* Can settings of the pool of that name, or of its own limiter or breaker, be changed now? 0, or
 * the error that says why not. */
int object_check_settable(Engine *engine, const char *pool, sd_bus_error *error);

/* What is told on one connection. */
int object_emit_added(sd_bus *bus, const ObjectKind *kind, const void *object);
int object_emit_removed(sd_bus *bus, const ObjectKind *kind, const void *object);

/* The properties of these names have changed; NULL: any of those that are told of. */
int object_emit_changed(sd_bus *bus, const ObjectKind *kind, const void *object, char **names);
