/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "build-config.h"
#include "bus/auth.h"
#include "bus/call.h"
#include "bus/error.h"
#include "bus/group-bus.h"
#include "bus/job-bus.h"
#include "bus/manager-bus.h"
#include "bus/object.h"
#include "bus/options.h"
#include "bus/quota-bus.h"

#define LIST_JOBS_MAX 1000
#define LIST_LOOKS_MAX 10000

/* ---- finding jobs ---- */

/* Reads an id; a job of somebody else is as one that does not exist. */
static int read_job(sd_bus_message *m, Link *link, Job **ret, sd_bus_error *error) {
        uint64_t id;
        Job *job;
        int r;

        r = sd_bus_message_read(m, "t", &id);
        if (r < 0)
                return r;
        job = engine_find_job(link->server->engine, id);
        if (!job || !auth_may_see(client_of(link, m), job))
                return bus_error(error, BUS_ERROR_NOT_FOUND, "No job %" PRIu64, id);
        *ret = job;
        return 0;
}

static int method_get_job(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        char path[JOB_PATH_MAX];
        Job *job = NULL;
        int r;

        r = read_job(m, userdata, &job, error);
        return r < 0 ? r : sd_bus_reply_method_return(m, "o", job_bus_path(path, job->id));
}

/* The same for groups. */
static int method_get_group(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Link *link = userdata;
        char path[GROUP_PATH_MAX];
        const JobGroup *group;
        uint64_t id;
        int r;

        r = sd_bus_message_read(m, "t", &id);
        if (r < 0)
                return r;
        group = engine_find_group(link->server->engine, id);
        if (!group || !auth_may_see_group(client_of(userdata, m), group))
                return bus_error(error, BUS_ERROR_NOT_FOUND, "No group %" PRIu64, id);
        return sd_bus_reply_method_return(m, "o", group_bus_path(path, id));
}

/* ---- lists ---- */

static int append_pool(sd_bus_message *reply, Pool *pool) {
        _cleanup_free_ char *path = NULL;
        PoolView view;
        int r;

        r = object_path(&pool_object, pool, &path);
        if (r < 0)
                return r;
        pool_view(pool, &view);
        return sd_bus_message_append(reply, "(sostuu)", pool->config->name, path,
                pool_state_to_string(view.state), view.n_queued, (uint32_t) view.n_running,
                view.n_workers);
}

static int method_list_pools(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Link *link = userdata;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sostuu)");
        if (r < 0)
                return r;
        list_for_each (l, &link->server->engine->pools) {
                r = append_pool(reply, list_entry(l, Pool, links));
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_message_send(reply);
}

static int append_jobs(sd_bus_message *reply, Engine *engine, const JobFilter *filter,
        uint32_t limit, uint64_t *after) {
        uint32_t n_looks = 0, n = 0;

        if (*after < filter->first_id)
                *after = filter->first_id - 1;
        while (n < limit && n_looks++ < LIST_LOOKS_MAX) {
                Job *job = engine_next_job(engine, *after);
                JobView view;
                int r;

                if (!job || (filter->last_id > 0 && job->id > filter->last_id)) {
                        *after = 0;
                        return 0;
                }
                *after = job->id;
                pool_job_view_state(job_pool(job), job, &view);
                if (!job_matches(job, filter, &view))
                        continue;
                r = sd_bus_message_append(reply, "(tssis)", (uint64_t) job->id,
                        job_pool(job)->config->name, job_state_to_string(view.state),
                        (int32_t) job->priority,
                        view.result >= 0 ? job_result_to_string(view.result) : "");
                if (r < 0)
                        return r;
                n++;
        }
        return 0;
}

static int method_list_jobs(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Link *link = userdata;
        Engine *engine = link->server->engine;
        JobFilter filter;
        uint64_t after;
        uint32_t limit;
        bool none;
        int r;

        r = options_read_filter(m, engine, client_of(link, m), &filter, &none, error);
        if (r < 0)
                return r;
        r = sd_bus_message_read(m, "ut", &limit, &after);
        if (r < 0)
                return r;
        if (limit < 1 || limit > LIST_JOBS_MAX)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "A limit of %" PRIu32 ", allowed are 1 to %d", limit, LIST_JOBS_MAX);
        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(tssis)");
        if (r < 0)
                return r;
        if (none)
                after = 0;
        else {
                r = append_jobs(reply, engine, &filter, limit, &after);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "t", after);
        return r < 0 ? r : sd_bus_message_send(reply);
}

/* ---- jobs ---- */

static int method_cancel_job(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Job *job = NULL;
        int r;

        r = read_job(m, userdata, &job, error);
        return r < 0 ? r : job_bus_cancel(m, userdata, job, error);
}

static void on_jobs_cancelled(Sweep *sweep) {
        call_end_sweep(sweep->userdata, &sweep->n_cancelled);
}

static int method_cancel_jobs(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Link *link = userdata;
        Engine *engine = link->server->engine;
        Client *client = client_of(link, m);
        JobFilter filter;
        bool none;
        Call *call = NULL;
        int r;

        r = options_read_filter(m, engine, client, &filter, &none, error);
        if (r < 0)
                return r;
        if (none)
                return sd_bus_reply_method_return(m, "u", 0);
        filter.unfinished = true;
        r = call_new(client, m, &call, error);
        if (r < 0)
                return r;
        r = engine_sweep(engine, &filter, NULL, on_jobs_cancelled, call, &call->sweep);
        if (r < 0) {
                call_free(call);
                return bus_error_oom(error);
        }
        return 1;
}

static int method_wait_job(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        uint64_t timeout;
        Job *job = NULL;
        int r;

        r = read_job(m, userdata, &job, error);
        if (r < 0)
                return r;
        r = sd_bus_message_read(m, "t", &timeout);
        return r < 0 ? r : job_bus_wait(m, userdata, job, timeout, error);
}

/* ---- pools, pipelines, limiters, breakers ---- */

#define DEFINE_OBJECT_METHODS(kind)                                                               \
        static int method_get_##kind(sd_bus_message *m, void *userdata, sd_bus_error *error) {    \
                return object_get(m, userdata, &kind##_object, error);                            \
        }                                                                                         \
        static int method_create_##kind(sd_bus_message *m, void *userdata, sd_bus_error *error) { \
                return object_create(m, userdata, &kind##_object, error);                         \
        }                                                                                         \
        static int method_remove_##kind(sd_bus_message *m, void *userdata, sd_bus_error *error) { \
                return object_remove(m, userdata, &kind##_object, error);                         \
        }

DEFINE_OBJECT_METHODS(pool)
DEFINE_OBJECT_METHODS(pipeline)
DEFINE_OBJECT_METHODS(limiter)
DEFINE_OBJECT_METHODS(breaker)

/* ---- settings ---- */

static int method_reload(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *text = NULL;
        Link *link = userdata;
        Server *server = link->server;
        int r;

        r = auth_may_manage(client_of(link, m), error);
        if (r < 0)
                return r;
        if (server->engine->shutting_down)
                return bus_error(error, BUS_ERROR_SHUTTING_DOWN, "sluiced is shutting down");
        r = server->ops->reload(server->ops_userdata, &text);
        if (r == -ENOMEM)
                return bus_error_oom(error);
        if (r < 0)
                return bus_error(error, BUS_ERROR_INVALID_ARGS, "%s", text ?: strerror(-r));
        return call_return_when_stored(client_of(link, m), m, error);
}

/* ---- quotas ---- */

static int method_list_quotas(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return quota_bus_list(m, userdata, error);
}

/* ---- signals ---- */

static int method_subscribe(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Client *client = client_of(userdata, m);
        int r;

        if (!client->subscribed) {
                r = quota_check(client->account, QUOTA_SUBSCRIPTIONS, 1, error);
                if (r < 0)
                        return r;
                client_set_subscribed(client, true);
        }
        return sd_bus_reply_method_return(m, NULL);
}

static int method_unsubscribe(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        client_set_subscribed(client_of(userdata, m), false);
        return sd_bus_reply_method_return(m, NULL);
}

/* ---- properties ---- */

#define DEFINE_GETTER(name, type, expression)                                       \
        static int get_##name(sd_bus *bus, const char *path, const char *interface, \
                const char *property, sd_bus_message *reply, void *userdata,        \
                sd_bus_error *error) {                                              \
                const Link *link = userdata;                                        \
                Engine *engine = link->server->engine;                              \
                EngineTotals totals;                                                \
                                                                                    \
                engine_totals(engine, &totals);                                     \
                return sd_bus_message_append(reply, type, expression);              \
        }

DEFINE_GETTER(version, "s", SLUICE_VERSION)
DEFINE_GETTER(state, "s", engine->shutting_down ? "draining" : "running")
DEFINE_GETTER(n_pools, "u", totals.n_pools)
DEFINE_GETTER(queued, "t", totals.n_queued)
DEFINE_GETTER(running, "u", (uint32_t) totals.n_running)
DEFINE_GETTER(submitted, "t", totals.counters.submitted)
DEFINE_GETTER(succeeded, "t", totals.counters.results[JOB_SUCCEEDED])
DEFINE_GETTER(failed, "t", totals.counters.results[JOB_FAILED])
DEFINE_GETTER(started, "t", engine->started_realtime)

const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("NPools", "u", get_n_pools, 0, 0),
        SD_BUS_PROPERTY("Queued", "t", get_queued, 0, 0),
        SD_BUS_PROPERTY("Running", "u", get_running, 0, 0),
        SD_BUS_PROPERTY("Submitted", "t", get_submitted, 0, 0),
        SD_BUS_PROPERTY("Succeeded", "t", get_succeeded, 0, 0),
        SD_BUS_PROPERTY("Failed", "t", get_failed, 0, 0),
        SD_BUS_PROPERTY("StartedUSec", "t", get_started, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_METHOD_WITH_ARGS("GetPool", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", pool),
                method_get_pool, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS(
                "GetJob", SD_BUS_ARGS("t", id), SD_BUS_RESULT("o", job), method_get_job, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("GetGroup", SD_BUS_ARGS("t", id), SD_BUS_RESULT("o", group),
                method_get_group, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("ListPools", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(sostuu)", pools),
                method_list_pools, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("ListJobs", SD_BUS_ARGS("a{sv}", filter, "u", limit, "t", after),
                SD_BUS_RESULT("a(tssis)", jobs, "t", next), method_list_jobs, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("CreatePool", SD_BUS_ARGS("s", name, "a{sv}", settings),
                SD_BUS_RESULT("o", pool), method_create_pool, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("RemovePool", SD_BUS_ARGS("s", name, "b", cancel), SD_BUS_NO_RESULT,
                method_remove_pool, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("GetPipeline", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", pipeline),
                method_get_pipeline, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("CreatePipeline",
                SD_BUS_ARGS("s", name, "as", stages, "a{sv}", settings),
                SD_BUS_RESULT("o", pipeline), method_create_pipeline, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("RemovePipeline", SD_BUS_ARGS("s", name, "b", cancel),
                SD_BUS_NO_RESULT, method_remove_pipeline, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("GetLimiter", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", limiter),
                method_get_limiter, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("CreateLimiter", SD_BUS_ARGS("s", name, "a{sv}", settings),
                SD_BUS_RESULT("o", limiter), method_create_limiter, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("RemoveLimiter", SD_BUS_ARGS("s", name, "b", cancel),
                SD_BUS_NO_RESULT, method_remove_limiter, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("GetBreaker", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", breaker),
                method_get_breaker, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("CreateBreaker", SD_BUS_ARGS("s", name, "a{sv}", settings),
                SD_BUS_RESULT("o", breaker), method_create_breaker, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("RemoveBreaker", SD_BUS_ARGS("s", name, "b", cancel),
                SD_BUS_NO_RESULT, method_remove_breaker, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS(
                "CancelJob", SD_BUS_ARGS("t", id), SD_BUS_NO_RESULT, method_cancel_job, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("CancelJobs", SD_BUS_ARGS("a{sv}", filter),
                SD_BUS_RESULT("u", count), method_cancel_jobs, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("WaitJob", SD_BUS_ARGS("t", id, "t", timeout),
                SD_BUS_RESULT("s", state, "s", result, "ay", output, "s", error), method_wait_job,
                ANYBODY),
        SD_BUS_METHOD_WITH_ARGS(
                "Subscribe", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_subscribe, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS(
                "Unsubscribe", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_unsubscribe, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("ListQuotas", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(ustt)", quotas),
                method_list_quotas, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reload, ANYBODY),
        SD_BUS_SIGNAL_WITH_NAMES("JobStarted", "ts", SD_BUS_PARAM(id) SD_BUS_PARAM(pool), 0),
        SD_BUS_SIGNAL_WITH_NAMES("JobFinished", "tsst",
                SD_BUS_PARAM(id) SD_BUS_PARAM(pool) SD_BUS_PARAM(result)
                        SD_BUS_PARAM(duration_usec),
                0),
        SD_BUS_VTABLE_END,
};

int manager_bus_add(Link *link) {
        int r;

        r = sd_bus_add_object_vtable(
                link->bus, NULL, SLUICE_PATH, "org.sluice1.Manager", manager_vtable, link);
        return r < 0 ? r : sd_bus_add_object_manager(link->bus, NULL, SLUICE_PATH);
}
