/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>

#include "bus/auth.h"
#include "bus/call.h"
#include "bus/drain.h"
#include "bus/error.h"
#include "bus/object.h"
#include "bus/options.h"
#include "bus/submit.h"
#include "engine/durable.h"
#include "util/strv.h"

/* ---- submitting ---- */

DEFINE_SUBMIT_METHODS(target_pipeline)

/* ---- control ---- */

static int method_resume(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Engine *engine = found->link->server->engine;
        PoolPipeline *pipeline = found->object;
        int r;

        r = auth_may_manage(client_of(found->link, m), error);
        if (r < 0)
                return r;
        if (engine->shutting_down)
                return bus_error(error, BUS_ERROR_SHUTTING_DOWN, "sluiced is shutting down");
        if (pipeline->removing)
                return bus_error(error, BUS_ERROR_INVALID_STATE, "Pipeline %s is being removed",
                        pipeline->name);
        engine_drain_pipeline(engine, pipeline, false);
        return call_return_when_stored(client_of(found->link, m), m, error);
}

static void drain(void *object, PoolWatch *watch) {
        PoolPipeline *pipeline = object;

        engine_drain_pipeline(pipeline->engine, pipeline, true);
        if (watch)
                engine_watch_pipeline_empty(pipeline, watch);
}

static int method_drain(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Client *client = client_of(found->link, m);
        PoolPipeline *pipeline = found->object;
        usec_t timeout;
        int r;

        r = auth_may_manage(client, error);
        if (r >= 0)
                r = drain_read(m, &timeout, error);
        if (r < 0)
                return r;
        if (timeout > 0)
                return drain_wait(m, client, timeout, drain, pipeline, error);
        drain(pipeline, NULL);
        return drain_reply(m, client, pipeline->pipeline.n_in_flight == 0, error);
}

/* What is given is to be among those that can change. */
static int assign(void *target, const char *name, const SettingValue *value, bool settable_only,
        char **ret_error) {
        if (strcmp(name, "Stages") == 0)
                return setting_fault(
                        ret_error, settable_only ? "Stages: cannot be changed on a living pipeline"
                                                 : "Stages: is an argument of its own");
        return pipeline_config_set(target, name, value, ret_error);
}

/* The settings that can change, as they are. */
static int read_config(const PoolPipeline *pipeline, PipelineConfig **ret) {
        int r;

        r = pipeline_config_new(pipeline->name, ret);
        if (r >= 0)
                (*ret)->max_in_flight = pipeline->pipeline.max_in_flight;
        return r;
}

static int method_set(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(pipeline_config_freep) PipelineConfig *config = NULL;
        const Found *found = userdata;
        int r;

        r = auth_may_manage(client_of(found->link, m), error);
        if (r < 0)
                return r;
        if (read_config(found->object, &config) < 0)
                return bus_error_oom(error);
        r = options_read_assignments(m, assign, config, /* settable_only= */ true, error);
        if (r < 0)
                return r;
        engine_set_pipeline(found->link->server->engine, found->object, config);
        return call_return_when_stored(client_of(found->link, m), m, error);
}

/* ---- properties ---- */

#define DEFINE_GETTER(name, type, expression)                                       \
        static int get_##name(sd_bus *bus, const char *path, const char *interface, \
                const char *property, sd_bus_message *reply, void *userdata,        \
                sd_bus_error *error) {                                              \
                const PoolPipeline *pipeline = ((const Found *) userdata)->object;  \
                                                                                    \
                return sd_bus_message_append(reply, type, expression);              \
        }

DEFINE_GETTER(name, "s", pipeline->name)
DEFINE_GETTER(state, "s", pipeline_state_to_string(pipeline))
DEFINE_GETTER(payload_max, "t", pipeline->stages[0]->config->handler_config.payload_max)
DEFINE_GETTER(in_flight, "t", pipeline->pipeline.n_in_flight)
DEFINE_GETTER(max_in_flight, "t", pipeline->pipeline.max_in_flight)
DEFINE_GETTER(submitted, "t", pipeline->pipeline.submitted)
DEFINE_GETTER(succeeded, "t", pipeline->pipeline.succeeded)
DEFINE_GETTER(failed, "t", pipeline->pipeline.failed)

static int get_stages(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const PoolPipeline *pipeline = ((const Found *) userdata)->object;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "s");
        for (uint32_t i = 0; r >= 0 && i < pipeline->pipeline.n_stages; i++)
                r = sd_bus_message_append_basic(reply, 's', pipeline->stages[i]->config->name);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int set_setting(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *value, void *userdata, sd_bus_error *error) {
        _cleanup_(pipeline_config_freep) PipelineConfig *config = NULL;
        const Found *found = userdata;
        SettingValue setting;
        char *text = NULL;
        int r;

        r = auth_may_manage(client_of(found->link, value), error);
        if (r < 0)
                return r;
        r = options_read_property(value, &setting);
        if (r < 0)
                return r;
        if (read_config(found->object, &config) < 0)
                return bus_error_oom(error);
        r = pipeline_config_set(config, property, &setting, &text);
        if (r < 0)
                return bus_error_settings(error, r, text);
        engine_set_pipeline(found->link->server->engine, found->object, config);
        return 0;
}

#define EMITS SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define CONSTANT SD_BUS_VTABLE_PROPERTY_CONST

static const sd_bus_vtable pipeline_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Name", "s", get_name, 0, CONSTANT),
        SD_BUS_PROPERTY("State", "s", get_state, 0, EMITS),
        SD_BUS_PROPERTY("Stages", "as", get_stages, 0, CONSTANT),
        SD_BUS_PROPERTY("PayloadMax", "t", get_payload_max, 0, 0),
        SD_BUS_PROPERTY("InFlight", "t", get_in_flight, 0, 0),
        SD_BUS_PROPERTY("Submitted", "t", get_submitted, 0, 0),
        SD_BUS_PROPERTY("Succeeded", "t", get_succeeded, 0, 0),
        SD_BUS_PROPERTY("Failed", "t", get_failed, 0, 0),
        SD_BUS_WRITABLE_PROPERTY(
                "MaxInFlight", "t", get_max_in_flight, set_setting, 0, EMITS | ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Submit", SD_BUS_ARGS("ay", payload, "a{sv}", options),
                SD_BUS_RESULT("t", id, "o", job), method_submit, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("SubmitFd", SD_BUS_ARGS("h", payload, "a{sv}", options),
                SD_BUS_RESULT("t", id, "o", job), method_submit_fd, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("SubmitMany", SD_BUS_ARGS("aay", payloads, "a{sv}", options),
                SD_BUS_RESULT("t", first_id, "u", count), method_submit_many, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("SubmitGroup", SD_BUS_ARGS("aay", payloads, "a{sv}", options),
                SD_BUS_RESULT("o", group), method_submit_group, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("SubmitPacked",
                SD_BUS_ARGS("au", lengths, "ay", payloads, "a{sv}", options),
                SD_BUS_RESULT("t", first_id, "u", count), method_submit_packed, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Run", SD_BUS_ARGS("ay", payload, "a{sv}", options),
                SD_BUS_RESULT("ay", output), method_run, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("RunMany", SD_BUS_ARGS("aay", payloads, "a{sv}", options),
                SD_BUS_RESULT("a(tsay)", results), method_run_many, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("RunPacked",
                SD_BUS_ARGS("au", lengths, "ay", payloads, "a{sv}", options),
                SD_BUS_RESULT("t", first_id, "ay", results, "au", lengths, "ay", outputs),
                method_run_packed, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Resume", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_resume, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Drain", SD_BUS_ARGS("t", timeout), SD_BUS_RESULT("b", empty),
                method_drain, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS(
                "Set", SD_BUS_ARGS("a{sv}", settings), SD_BUS_NO_RESULT, method_set, ANYBODY),
        SD_BUS_VTABLE_END,
};

/* ---- the kind of object ---- */

DEFINE_OBJECT_LOOKUP(pipeline, PoolPipeline, name)

static bool pipeline_is_from_file(const void *object) {
        return ((const PoolPipeline *) object)->from_file;
}

static int read_stages(sd_bus_message *m, PipelineConfig *config, sd_bus_error *error) {
        _cleanup_strv_ char **stages = NULL;
        char *text = NULL;
        int r;

        r = bus_read_error(sd_bus_message_read_strv(m, &stages));
        if (r < 0)
                return r;
        r = pipeline_config_set_stages(config, stages, &text);
        if (r >= 0)
                r = pipeline_config_complete(config, &text);
        return r < 0 ? bus_error_settings(error, r, text) : 0;
}

static int create_pipeline(
        sd_bus_message *m, Link *link, const char *name, void **ret, sd_bus_error *error) {
        _cleanup_(pipeline_config_freep) PipelineConfig *config = NULL;
        PoolPipeline *pipeline;
        char *text = NULL;
        int r;

        r = pipeline_config_new(name, &config);
        if (r < 0)
                return bus_error_oom(error);
        r = read_stages(m, config, error);
        if (r >= 0)
                r = options_read_assignments(m, assign, config, /* settable_only= */ false, error);
        if (r < 0)
                return r;
        r = engine_add_pipeline(link->server->engine, config, &pipeline, &text);
        if (r < 0)
                return bus_error_settings(error, r, text);
        engine_recover_pipeline(link->server->engine, pipeline);
        *ret = pipeline;
        return 0;
}

static int begin_removal(void *object, bool cancel, PoolWatch *watch) {
        PoolPipeline *pipeline = object;

        return engine_remove_pipeline(pipeline->engine, pipeline, cancel, watch);
}

static int remove_pipeline(
        sd_bus_message *m, Link *link, void *object, bool cancel, sd_bus_error *error) {
        return drain_remove(m, client_of(link, m), cancel, begin_removal, object, error);
}

const ObjectKind pipeline_object = {
        .noun = "pipeline",
        .prefix = SLUICE_PATH "/pipeline",
        .interface = "org.sluice1.Pipeline",
        .vtable = pipeline_vtable,
        .find = find_pipeline,
        .all = all_pipelines,
        .of_list = pipeline_of_list,
        .name = pipeline_name,
        .row = pipeline_row,
        .is_from_file = pipeline_is_from_file,
        .create = create_pipeline,
        .remove = remove_pipeline,
};
