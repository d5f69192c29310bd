/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is done to a pool, or a pipeline, as a whole. */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/object.h"
#include "ctl/options.h"
#include "ctl/pipeline.h"
#include "ctl/verbs.h"
#include "util/parse.h"
#include "util/strv.h"

/* A pool that something is to be done to for which pipelines have no method. A name that only a
 * pipeline has is likely to mean that, so what there is for it is told. */
static int pool_find(Ctl *c, const char *s, const char *what, Object *ret) {
        _cleanup_json_ json_object *properties = NULL;
        _cleanup_free_ char *stages = NULL;
        int r;

        r = target_find(c, s, ret);
        if (r < 0 || strcmp(ret->kind->name, "pool") == 0)
                return r;
        r = bus_get_all(c, ret->path, ret->kind->interface, /* optional= */ false, &properties,
                "%s pipeline \"%s\"", what, ret->name);
        if (r < 0)
                return r;
        stages = pipeline_stages(properties);
        (void) fflush(stdout);
        fprintf(stderr,
                "Failed to %s \"%s\": it is a pipeline, and not a pool. For pipelines there are "
                "drain, resume, set and cancel --pipeline=%s; its pools are %s.\n",
                what, ret->name, ret->name, stages);
        return -EOPNOTSUPP;
}

/* Calls a method without arguments and without an answer on each in turn. */
static int for_each(Ctl *c, char **names, bool pools_only, const char *member, const char *what) {
        int result = 0;

        STRV_FOREACH (name, names) {
                _cleanup_message_ sd_bus_message *m = NULL;
                _cleanup_object_ Object object = { 0 };
                int r;

                r = pools_only ? pool_find(c, *name, what, &object)
                               : target_find(c, *name, &object);
                if (r >= 0)
                        r = bus_new_call(c, object.path, object.kind->interface, member, &m);
                if (r >= 0)
                        r = bus_call(c, m, CALL_DEFAULT, NULL, "%s %s \"%s\"", what,
                                object.kind->name, object.name);
                if (r < 0)
                        result = r;
        }
        return result;
}

static int pause_pools(Ctl *c, char **arguments) {
        return for_each(c, arguments, /* pools_only= */ true, "Pause", "pause");
}

const Verb verb_pause = {
        .name = "pause",
        .arguments = "POOL…",
        .summary = "Start no more jobs; new ones wait",
        .details = "Jobs that run go on. \"sluicectl resume\" ends it.",
        .example = "sluicectl pause gzip",
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .run = pause_pools,
};

static int resume_pools(Ctl *c, char **arguments) {
        return for_each(c, arguments, /* pools_only= */ false, "Resume", "resume");
}

const Verb verb_resume = {
        .name = "resume",
        .arguments = "POOL…",
        .summary = "End a pause or a drain",
        .details = "Also of a PIPELINE, which can be named as pipeline/NAME.",
        .example = "sluicectl resume gzip",
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .run = resume_pools,
};

static OptionNumber arg_timeout = { .value = USEC_INFINITY };

static const Option drain_options[] = {
        { "timeout", 0, "TIME", &option_time, &arg_timeout,
                "Wait at most so long; 0 only begins to drain" },
};

/* A pool or a pipeline that is asked to drain; all are at the same time. */
typedef struct Drain {
        Ctl *ctl; /* borrowed */
        Object object;
        sd_bus_slot *slot; /* NULL once answered */
        int result;        /* 0 = empty, 1 = not in time, -errno */
} Drain;

static int on_drained(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Drain *drain = userdata;
        int empty = 0, r;

        drain->slot = sd_bus_slot_unref(drain->slot);
        if (sd_bus_message_is_method_error(m, NULL)) {
                drain->result =
                        bus_failure(drain->ctl, drain->object.path, sd_bus_message_get_error(m),
                                "drain %s \"%s\"", drain->object.kind->name, drain->object.name);
                return 1;
        }
        r = sd_bus_message_read(m, "b", &empty);
        if (r < 0)
                drain->result =
                        failure(r, "drain %s \"%s\"", drain->object.kind->name, drain->object.name);
        else if (!empty && arg_timeout.value > 0)
                fprintf(stderr, "%c%s \"%s\" is not empty yet; it goes on draining.\n",
                        toupper((unsigned char) drain->object.kind->name[0]),
                        drain->object.kind->name + 1, drain->object.name);
        if (r >= 0)
                drain->result = empty || arg_timeout.value == 0 ? 0 : 1;
        return 1;
}

static int drain_begin(Drain *drain, Ctl *c, const char *name) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        drain->ctl = c;
        r = target_find(c, name, &drain->object);
        if (r >= 0)
                r = bus_new_call(c, drain->object.path, drain->object.kind->interface, "Drain", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "t", arg_timeout.value);
        if (r >= 0)
                r = sd_bus_call_async(c->bus, &drain->slot, m, on_drained, drain, CALL_FOREVER);
        return r < 0 ? failure(r, "drain \"%s\"", name) : 0;
}

static int drain_wait(Drain *drain) {
        while (drain->slot) {
                int r;

                r = sd_bus_process(drain->ctl->bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(drain->ctl->bus, UINT64_MAX);
                if (r < 0 && r != -EINTR)
                        return failure(
                                r, "drain %s \"%s\"", drain->object.kind->name, drain->object.name);
        }
        return drain->result;
}

static int drain_pools(Ctl *c, char **arguments) {
        size_t n = strv_length(arguments);
        _cleanup_free_ Drain *drains = calloc(n, sizeof(Drain));
        int result = 0;

        if (!drains)
                return failure(-ENOMEM, "drain");
        for (size_t i = 0; i < n && result >= 0; i++)
                result = drain_begin(drains + i, c, arguments[i]);
        for (size_t i = 0; i < n; i++) {
                int r = result >= 0 ? drain_wait(drains + i) : 0;

                if (r != 0)
                        result = r;
        }
        for (size_t i = 0; i < n; i++) {
                sd_bus_slot_unref(drains[i].slot);
                object_done(&drains[i].object);
        }
        return result;
}

const Verb verb_drain = {
        .name = "drain",
        .arguments = "POOL…",
        .summary = "Accept no more jobs, wait until all are done",
        .details = "Also of a PIPELINE, which can be named as pipeline/NAME. Exits 1 if a pool is "
                   "not empty in time; it goes on draining then. Jobs that are not due yet stay. "
                   "\"sluicectl resume\" ends it.",
        .example = "sluicectl drain gzip --timeout=1min && systemctl restart gzip-server",
        .options = drain_options,
        .n_options = ELEMENTSOF(drain_options),
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .run = drain_pools,
};

static int clear_pools(Ctl *c, char **arguments) {
        int result = 0;

        STRV_FOREACH (name, arguments) {
                _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
                _cleanup_object_ Object pool = { 0 };
                uint32_t n;
                int r;

                r = pool_find(c, *name, "clear", &pool);
                if (r >= 0)
                        r = bus_new_call(c, pool.path, POOL_INTERFACE, "Clear", &m);
                if (r >= 0)
                        r = bus_call(c, m, CALL_FOREVER, &reply, "clear pool \"%s\"", pool.name);
                if (r >= 0) {
                        r = sd_bus_message_read(reply, "u", &n);
                        if (r < 0)
                                (void) failure(r, "clear pool \"%s\"", pool.name);
                        else
                                notice(c, "Cancelled %u job%s that waited in \"%s\".", n,
                                        n == 1 ? "" : "s", pool.name);
                }
                if (r < 0)
                        result = r;
        }
        return result;
}

const Verb verb_clear = {
        .name = "clear",
        .arguments = "POOL…",
        .summary = "Cancel all jobs that wait",
        .details = "Jobs that run go on.",
        .example = "sluicectl clear gzip",
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .run = clear_pools,
};

static int kick_pool(Ctl *c, char **arguments) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_object_ Object pool = { 0 };
        uint64_t max = UINT32_MAX;
        uint32_t n;
        int r;

        if (arguments[1] && parse_uint64(arguments[1], 1, UINT32_MAX, &max) < 0)
                return usage_error(
                        "\"%s\" is no number of jobs; expected a number from 1.", arguments[1]);
        r = pool_find(c, arguments[0], "kick", &pool);
        if (r >= 0)
                r = bus_new_call(c, pool.path, POOL_INTERFACE, "Kick", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "u", (uint32_t) max);
        if (r < 0)
                return failure(r, "make the call");
        r = bus_call(c, m, CALL_DEFAULT, &reply, "kick pool \"%s\"", pool.name);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "u", &n);
        if (r < 0)
                return failure(r, "kick pool \"%s\"", pool.name);
        notice(c, "Put %u failed job%s back into the queue of \"%s\".", n, n == 1 ? "" : "s",
                pool.name);
        return 0;
}

const Verb verb_kick = {
        .name = "kick",
        .arguments = "POOL [N]",
        .summary = "Try failed jobs again",
        .details = "Puts jobs that failed for good, and whose results are still kept, back into "
                   "the queue: the oldest first, at most N, as long as there is room.",
        .example = "sluicectl kick gzip 10",
        .min_arguments = 1,
        .max_arguments = 2,
        .run = kick_pool,
};
