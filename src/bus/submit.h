/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The submit methods of pools and pipelines: from the arguments of a call to jobs, and from
 * finished jobs to the reply. Each is the whole of one D-Bus method. */

#include <systemd/sd-bus.h>

#include "bus/server.h"
#include "engine/pool.h"

/* Where jobs go. */
typedef struct SubmitTarget {
        Pool *pool;             /* borrowed: of a pipeline the first stage */
        PoolPipeline *pipeline; /* borrowed; NULL = it is the pool alone */
} SubmitTarget;

static inline SubmitTarget target_pool(Pool *pool) {
        return (SubmitTarget){ .pool = pool };
}

static inline SubmitTarget target_pipeline(PoolPipeline *pipeline) {
        return (SubmitTarget){ .pool = pipeline->stages[0], .pipeline = pipeline };
}

int submit_one(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error);
int submit_fd(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error);
int submit_many(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error);
int submit_group(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error);
int submit_packed(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error);
int run_one(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error);
int run_many(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error);
int run_packed(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error);

#define DEFINE_SUBMIT_METHOD(name, function, target_of)                                    \
        static int method_##name(sd_bus_message *m, void *userdata, sd_bus_error *error) { \
                const Found *found = userdata;                                             \
                                                                                           \
                return function(m, found->link, target_of(found->object), error);          \
        }

/* The handlers of all of them, for an interface whose objects are targets by `target_of`. */
#define DEFINE_SUBMIT_METHODS(target_of)                              \
        DEFINE_SUBMIT_METHOD(submit, submit_one, target_of)           \
        DEFINE_SUBMIT_METHOD(submit_fd, submit_fd, target_of)         \
        DEFINE_SUBMIT_METHOD(submit_many, submit_many, target_of)     \
        DEFINE_SUBMIT_METHOD(submit_group, submit_group, target_of)   \
        DEFINE_SUBMIT_METHOD(submit_packed, submit_packed, target_of) \
        DEFINE_SUBMIT_METHOD(run, run_one, target_of)                 \
        DEFINE_SUBMIT_METHOD(run_many, run_many, target_of)           \
        DEFINE_SUBMIT_METHOD(run_packed, run_packed, target_of)

/* Appends id, result, and output or error text of a finished job, (tsay). Of *room, which is what
 * the reply has left for these, it takes what it needs; what does not fit is left out, and a text
 * says so. */
int submit_append_result(sd_bus_message *reply, Job *job, size_t *room);
