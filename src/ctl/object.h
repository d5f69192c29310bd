/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How objects are named on the command line ("gzip", "pool/gzip", "gzip.pool", "17", "job/17"), and
 * what each kind of them is called elsewhere. */

#include <json-c/json.h>
#include <stdint.h>

#include "ctl/ctl.h"

typedef struct Candidates Candidates;
typedef struct Kind Kind;
typedef struct Object Object;

#define KIND_MAX 4 /* pool, pipeline, limiter, breaker */

struct Kind {
        const char *name;      /* "pool": here, in paths, and the suffix of its settings files */
        const char *interface; /* of the objects */
        const char *create, *remove; /* methods of the manager */
};

struct Object {
        const Kind *kind;
        char *name; /* as it is shown */
        char *path; /* on the bus */
};

/* What a word may stand for: of a bare name an object of each kind, the likeliest first, else just
 * the one that it says. */
struct Candidates {
        Object objects[KIND_MAX];
        size_t n;
};

void object_done(Object *object);
#define _cleanup_object_ _cleanup_(object_done)

void candidates_done(Candidates *candidates);
#define _cleanup_candidates_ _cleanup_(candidates_done)

/* All of these say what is wrong and return -EINVAL if it is. */
int kind_parse(const char *s, const Kind **ret);
int object_init(Object *object, const Kind *kind, const char *name);

/* `candidates` is to be ended also after a failure. */
int object_parse(const char *s, Candidates *candidates);

/* The first of what the word may stand for that sluiced has, with its properties. */
int object_find(Ctl *ctl, const char *s, Object *ret, json_object **ret_properties);

int object_parse_as(const char *kind, const char *s, Object *ret); /* only of that kind */
int pool_parse(const char *s, Object *ret);                        /* only pools */

/* What jobs can be given to: of a bare name the pool, or the pipeline where there is no such pool.
 */
int target_find(Ctl *ctl, const char *s, Object *ret);

int job_id_parse(const char *s, uint64_t *ret);

char *job_path(uint64_t id);
