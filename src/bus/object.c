/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/auth.h"
#include "bus/call.h"
#include "bus/error.h"
#include "bus/object.h"
#include "engine/setting.h"
#include "util/parse.h"
#include "util/strv.h"

/* No more users than these are named in a text. */
#define USERS_NAMED_MAX 5

static const ObjectKind *const kinds[OBJECT_KIND_MAX] = {
        &pool_object,
        &pipeline_object,
        &limiter_object,
        &breaker_object,
};

/* ---- paths ---- */

int object_path(const ObjectKind *kind, const void *object, char **ret) {
        return sd_bus_path_encode(kind->prefix, kind->name(object), ret);
}

int object_path_or_none(const ObjectKind *kind, const void *object, char **ret) {
        if (object)
                return object_path(kind, object, ret);
        *ret = strdup("/");
        return *ret ? 0 : -ENOMEM;
}

/* The name in the path, or 0 if there is none. Most labels are the name itself, as only '_' begins
 * an escape: these need no memory, and a call is quicker for it. *ret_memory is the caller's. */
static int read_name(
        const char *path, const char *prefix, const char **ret_name, char **ret_memory) {
        size_t n = strlen(prefix);
        int r;

        if (strncmp(path, prefix, n) == 0 && path[n] == '/' && !strchr(path + n, '_')) {
                *ret_name = path + n + 1;
                return 1;
        }
        r = sd_bus_path_decode(path, prefix, ret_memory);
        *ret_name = *ret_memory;
        return r;
}

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata,
        void **ret_found, sd_bus_error *error) {
        _cleanup_free_ char *memory = NULL;
        const ObjectNode *node = userdata;
        Link *link = node->link;
        const char *name;
        void *object;
        int r;

        r = read_name(path, node->kind->prefix, &name, &memory);
        if (r <= 0)
                return r;
        object = node->kind->find(link->server->engine, name);
        if (!object)
                return 0;
        link->found = (Found){ .link = link, .object = object };
        *ret_found = &link->found;
        return 1;
}

static int enumerate(
        sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error) {
        const ObjectNode *node = userdata;
        const List *all = node->kind->all(node->link->server->engine);
        size_t n = 0;
        char **nodes;

        list_for_each (l, all)
                n++;
        nodes = calloc(n + 1, sizeof(*nodes));
        if (!nodes)
                return -ENOMEM;
        n = 0;
        list_for_each (l, all)
                if (object_path(node->kind, node->kind->of_list(l), &nodes[n]) >= 0)
                        n++;
        *ret_nodes = nodes;
        return 0;
}

int objects_add(Link *link) {
        int r = 0;

        for (size_t i = 0; i < OBJECT_KIND_MAX && r >= 0; i++) {
                const ObjectKind *kind = kinds[i];
                ObjectNode *node = &link->nodes[i];

                *node = (ObjectNode){ .link = link, .kind = kind };
                r = sd_bus_add_fallback_vtable(
                        link->bus, NULL, kind->prefix, kind->interface, kind->vtable, find, node);
                if (r >= 0)
                        r = sd_bus_add_node_enumerator(
                                link->bus, NULL, kind->prefix, enumerate, node);
        }
        return r;
}

/* ---- methods of the manager ---- */

static int read_object(
        sd_bus_message *m, Link *link, const ObjectKind *kind, void **ret, sd_bus_error *error) {
        char quoted[SETTING_QUOTE_SIZE];
        const char *name;
        void *object;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r < 0)
                return r;
        object = kind->find(link->server->engine, name);
        if (!object)
                return bus_error(error, BUS_ERROR_NOT_FOUND, "No %s \"%s\"", kind->noun,
                        setting_quote(quoted, name));
        *ret = object;
        return 0;
}

static int new_reply_of_path(
        sd_bus_message *m, const ObjectKind *kind, const void *object, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ char *path = NULL;
        int r;

        r = object_path(kind, object, &path);
        if (r >= 0)
                r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "o", path);
        if (r >= 0)
                *ret = TAKE_PTR(reply);
        return r;
}

int object_get(sd_bus_message *m, Link *link, const ObjectKind *kind, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        void *object = NULL;
        int r;

        r = read_object(m, link, kind, &object, error);
        if (r >= 0)
                r = new_reply_of_path(m, kind, object, &reply);
        return r < 0 ? r : sd_bus_message_send(reply);
}

int object_create(sd_bus_message *m, Link *link, const ObjectKind *kind, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Engine *engine = link->server->engine;
        char quoted[SETTING_QUOTE_SIZE];
        const char *name;
        void *object;
        int r;

        r = auth_may_manage(client_of(link, m), error);
        if (r < 0)
                return r;
        if (engine->shutting_down)
                return bus_error(error, BUS_ERROR_SHUTTING_DOWN, "sluiced is shutting down");
        r = sd_bus_message_read(m, "s", &name);
        if (r < 0)
                return r;
        if (!name_is_valid(name))
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "\"%s\" is no name: 1 to 64 of A-Z a-z 0-9 _ - . are allowed, not "
                        "beginning with . or -",
                        setting_quote(quoted, name));
        if (kind->find(engine, name))
                return bus_error(
                        error, BUS_ERROR_ALREADY_EXISTS, "There is a %s %s", kind->noun, name);
        if (engine->store && !store_has_room(engine->store))
                return bus_error(error, BUS_ERROR_NO_SPACE,
                        "The disk that the %s is to be kept on is full", kind->noun);
        r = kind->create(m, link, name, &object, error);
        if (r < 0)
                return r;
        engine_keep(engine, kind->row(object));
        r = new_reply_of_path(m, kind, object, &reply);
        return r < 0 ? r : call_reply_when_stored(client_of(link, m), m, reply, error);
}

/* Names those who use it: they are what has to be changed first. 0 if nobody does. */
static int check_unused(
        const ObjectKind *kind, Engine *engine, const void *object, sd_bus_error *error) {
        _cleanup_strv_ char **names = NULL;
        _cleanup_free_ char *text = NULL;
        size_t n = 0;

        if (!kind->users)
                return 0;
        list_for_each (l, kind->users->all(engine)) {
                const void *user = kind->users->of_list(l);

                if (kind->is_used_by(object, user) && n++ < USERS_NAMED_MAX &&
                        strv_extend(&names, kind->users->name(user)) < 0)
                        return bus_error_oom(error);
        }
        if (n == 0)
                return 0;
        text = strv_join(names, ", ");
        if (!text)
                return bus_error_oom(error);
        return bus_error(error, BUS_ERROR_INVALID_STATE, "The %s %s is used by the %s%s %s%s",
                kind->noun, kind->name(object), kind->users->noun, n == 1 ? "" : "s", text,
                n > USERS_NAMED_MAX ? ", …" : "");
}

int object_remove(sd_bus_message *m, Link *link, const ObjectKind *kind, sd_bus_error *error) {
        void *object = NULL;
        bool is_from_file;
        int cancel, r;

        r = auth_may_manage(client_of(link, m), error);
        if (r < 0)
                return r;
        r = read_object(m, link, kind, &object, error);
        if (r < 0)
                return r;
        r = sd_bus_message_read(m, "b", &cancel);
        if (r < 0)
                return r;
        r = check_unused(kind, link->server->engine, object, error);
        if (r < 0)
                return r;
        is_from_file = kind->is_from_file(object);
        r = kind->remove(m, link, object, cancel, error);
        if (r >= 0 && is_from_file)
                link->server->engine->misses_file = true;
        return r;
}

/* ---- what is told to all ---- */

bool object_shows_setting(const ObjectKind *kind, const char *name) {
        for (const sd_bus_vtable *v = kind->vtable; v->type != _SD_BUS_VTABLE_END; v++)
                if (v->type == _SD_BUS_VTABLE_WRITABLE_PROPERTY &&
                        strcmp(v->x.property.member, name) == 0)
                        return true;
        return false;
}

bool object_is_setting(const char *interface, const char *property) {
        for (size_t i = 0; i < OBJECT_KIND_MAX; i++)
                if (strcmp(kinds[i]->interface, interface) == 0)
                        return object_shows_setting(kinds[i], property);
        return false;
}

int object_check_settable(Engine *engine, const char *pool, sd_bus_error *error) {
        if (!engine_is_refitting(engine, pool))
                return 0;
        return bus_error(error, BUS_ERROR_INVALID_STATE,
                "Pool %s becomes what its settings file says once its workers have gone: until "
                "then nothing can be set",
                pool);
}

int object_emit_added(sd_bus *bus, const ObjectKind *kind, const void *object) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = object_path(kind, object, &path);
        return r < 0 ? r : sd_bus_emit_object_added(bus, path);
}

int object_emit_removed(sd_bus *bus, const ObjectKind *kind, const void *object) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = object_path(kind, object, &path);
        return r < 0 ? r : sd_bus_emit_object_removed(bus, path);
}

int object_emit_changed(sd_bus *bus, const ObjectKind *kind, const void *object, char **names) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = object_path(kind, object, &path);
        return r < 0 ? r : sd_bus_emit_properties_changed_strv(bus, path, kind->interface, names);
}
