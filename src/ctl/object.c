/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "ctl/object.h"
#include "ctl/text.h"
#include "util/parse.h"

static const Kind kinds[] = {
        { "pool", POOL_INTERFACE, "CreatePool", "RemovePool" },
        { "breaker", BREAKER_INTERFACE, "CreateBreaker", "RemoveBreaker" },
        { "limiter", LIMITER_INTERFACE, "CreateLimiter", "RemoveLimiter" },
};

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
                return usage_error("Unknown kind \"%s\"; expected pool, limiter or breaker.", s);
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

int object_parse(const char *s, Object *ret) {
        const char *slash = strchr(s, '/'), *dot = strrchr(s, '.');
        _cleanup_free_ char *name = NULL;
        const Kind *kind = NULL;

        if (slash) {
                _cleanup_free_ char *word = text_format("%.*s", (int) (slash - s), s);
                int r;

                r = kind_parse(word, &kind);
                return r < 0 ? r : object_init(ret, kind, slash + 1);
        }
        kind = dot && dot > s ? find_kind(dot + 1, strlen(dot + 1)) : NULL;
        if (!kind)
                return object_init(ret, kinds, s);
        name = text_format("%.*s", (int) (dot - s), s);
        return object_init(ret, kind, name);
}

int object_parse_as(const char *name, const char *s, Object *ret) {
        const char *slash = strchr(s, '/'), *dot = strrchr(s, '.');
        _cleanup_free_ char *copy = NULL;

        if (slash && (strncmp(s, name, strlen(name)) != 0 || s + strlen(name) != slash))
                return usage_error("\"%s\" is no %s.", s, name);
        if (slash)
                copy = text_copy(slash + 1);
        else if (dot && dot > s && strcmp(dot + 1, name) == 0)
                copy = text_format("%.*s", (int) (dot - s), s);
        return object_init(ret, find_kind(name, strlen(name)), copy ?: s);
}

int pool_parse(const char *s, Object *ret) {
        return object_parse_as("pool", s, ret);
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
