/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "ctl/bus.h"
#include "ctl/object.h"
#include "ctl/text.h"
#include "util/parse.h"

/* A bare name is looked for in this order: what a pool has of its own has the name of the pool. */
static const Kind kinds[KIND_MAX] = {
        { "pool", POOL_INTERFACE, "CreatePool", "RemovePool" },
        { "pipeline", PIPELINE_INTERFACE, "CreatePipeline", "RemovePipeline" },
        { "limiter", LIMITER_INTERFACE, "CreateLimiter", "RemoveLimiter" },
        { "breaker", BREAKER_INTERFACE, "CreateBreaker", "RemoveBreaker" },
};

static const char kind_names[] = "pool, pipeline, limiter or breaker";

void object_done(Object *object) {
        free(object->name);
        free(object->path);
}

static const Kind *find_kind(const char *s, size_t length) {
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (strlen(kinds[i].name) == length && strncmp(kinds[i].name, s, length) == 0)
                        return kinds + i;
        return NULL;
}

int kind_parse(const char *s, const Kind **ret) {
        const Kind *kind = find_kind(s, strlen(s));

        if (!kind)
                return usage_error("Unknown kind \"%s\"; expected %s.", s, kind_names);
        *ret = kind;
        return 0;
}

int object_init(Object *object, const Kind *kind, const char *name) {
        _cleanup_free_ char *prefix = text_format("%s/%s", SLUICE_PATH, kind->name);
        char *path;

        if (!name_is_valid(name))
                return usage_error(
                        "\"%s\" cannot be the name of a %s; expected 1 to 64 of A-Z a-z 0-9 _ "
                        "- . and neither . nor - first.",
                        name, kind->name);
        if (sd_bus_path_encode(prefix, name, &path) < 0)
                text_out_of_memory();
        *object = (Object){ .kind = kind, .name = text_copy(name), .path = path };
        return 0;
}

/* Takes "limiter/api" or "api.limiter" apart; of a bare name *ret_kind is NULL. */
static int split(const char *s, const Kind **ret_kind, char **ret_name) {
        const char *slash = strchr(s, '/'), *dot = strrchr(s, '.');
        const Kind *kind = NULL;

        if (slash) {
                _cleanup_free_ char *word = text_format("%.*s", (int) (slash - s), s);
                int r;

                r = kind_parse(word, ret_kind);
                if (r < 0)
                        return r;
                *ret_name = text_copy(slash + 1);
                return 0;
        }
        if (dot && dot > s)
                kind = find_kind(dot + 1, strlen(dot + 1));
        *ret_kind = kind;
        *ret_name = kind ? text_format("%.*s", (int) (dot - s), s) : text_copy(s);
        return 0;
}

int object_parse(const char *s, Candidates *candidates) {
        _cleanup_free_ char *name = NULL;
        const Kind *kind = NULL;
        int r;

        r = split(s, &kind, &name);
        for (size_t i = 0; r >= 0 && i < KIND_MAX; i++) {
                if (kind && kind != &kinds[i])
                        continue;
                r = object_init(&candidates->objects[candidates->n], &kinds[i], name);
                if (r >= 0)
                        candidates->n++;
        }
        return r;
}

void candidates_done(Candidates *candidates) {
        for (size_t i = 0; i < candidates->n; i++)
                object_done(&candidates->objects[i]);
}

int object_find(Ctl *c, const char *s, Object *ret, json_object **ret_properties) {
        _cleanup_candidates_ Candidates candidates = { 0 };
        int r;

        r = object_parse(s, &candidates);
        if (r < 0)
                return r;
        /* Once, and not in the name of each that could be meant. */
        r = bus_connect(c);
        if (r < 0)
                return r;
        for (size_t i = 0; i < candidates.n; i++) {
                Object *object = &candidates.objects[i];

                r = bus_get_all(c, object->path, object->kind->interface,
                        /* optional= */ candidates.n > 1, ret_properties,
                        "get the state of %s \"%s\"", object->kind->name, object->name);
                if (r == -ENOENT)
                        continue;
                if (r >= 0) {
                        *ret = *object;
                        *object = (Object){ 0 };
                }
                return r;
        }
        (void) fflush(stdout);
        fprintf(stderr, "Failed to find \"%s\": there is no %s of that name (NotFound)\n", s,
                kind_names);
        return -ENOENT;
}

int object_parse_as(const char *name, const char *s, Object *ret) {
        _cleanup_free_ char *bare = NULL;
        const Kind *kind = NULL;
        int r;

        r = split(s, &kind, &bare);
        if (r < 0)
                return r;
        /* What looks like the file of another kind may well be a name. */
        if (kind && strcmp(kind->name, name) != 0) {
                if (strchr(s, '/'))
                        return usage_error("\"%s\" is no %s.", s, name);
                return object_init(ret, find_kind(name, strlen(name)), s);
        }
        return object_init(ret, find_kind(name, strlen(name)), bare);
}

int pool_parse(const char *s, Object *ret) {
        return object_parse_as("pool", s, ret);
}

/* Does it say that it is there? */
static bool object_is_there(Ctl *c, const Object *object) {
        _cleanup_free_ char *name = NULL;

        return sd_bus_get_property_string(c->bus, SLUICE_NAME, object->path,
                       object->kind->interface, "Name", NULL, &name) >= 0;
}

int target_find(Ctl *c, const char *s, Object *ret) {
        _cleanup_object_ Object pipeline = { 0 };
        _cleanup_free_ char *name = NULL;
        const Kind *kind = NULL;
        int r;

        r = split(s, &kind, &name);
        if (r < 0)
                return r;
        if (kind && strcmp(kind->name, "pipeline") == 0) {
                r = object_init(ret, kind, name);
                return r < 0 ? r : bus_connect(c);
        }
        r = pool_parse(s, ret);
        if (r >= 0)
                r = bus_connect(c);
        if (r < 0 || kind)
                return r;
        /* A name that nobody has is said to be that of no pool, which most are. */
        r = object_init(&pipeline, find_kind("pipeline", strlen("pipeline")), name);
        if (r >= 0 && !object_is_there(c, ret) && object_is_there(c, &pipeline)) {
                object_done(ret);
                *ret = pipeline;
                pipeline = (Object){ 0 };
        }
        return r;
}

int job_id_parse(const char *s, uint64_t *ret) {
        const char *digits = strncmp(s, "job/", 4) == 0 ? s + 4 : s;

        if (parse_uint64(digits, 1, UINT64_MAX, ret) < 0)
                return usage_error("\"%s\" is no job id; expected a number like 17.", s);
        return 0;
}

char *job_path(uint64_t id) {
        return text_format("%s/job/%" PRIu64, SLUICE_PATH, id);
}
