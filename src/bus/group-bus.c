/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bus/auth.h"
#include "bus/call.h"
#include "bus/error.h"
#include "bus/group-bus.h"
#include "bus/job-bus.h"
#include "bus/submit.h"
#include "util/parse.h"

#define GROUP_PREFIX SLUICE_PATH "/group"
#define GROUP_INTERFACE "org.sluice1.Group"

/* Results in one reply, and what each may take besides its output: they are to stay below what a
 * bus carries. */
#define RESULTS_MAX UINT64_C(100000)
#define RESULT_SIZE_MAX 64

char *group_bus_path(char buf[static GROUP_PATH_MAX], uint64_t id) {
        (void) snprintf(buf, GROUP_PATH_MAX, GROUP_PREFIX "/%" PRIu64, id);
        return buf;
}

/* Groups are found on demand. One of somebody else is as one that does not exist. */
static int find_group(sd_bus *bus, const char *path, const char *interface, void *userdata,
        void **ret_found, sd_bus_error *error) {
        Link *link = userdata;
        const char *digits = path + strlen(GROUP_PREFIX "/");
        sd_bus_message *m = sd_bus_get_current_message(bus);
        JobGroup *group;
        uint64_t id;

        if (strlen(path) <= strlen(GROUP_PREFIX "/") || digits[0] == '0' ||
                parse_uint64(digits, 1, UINT64_MAX, &id) < 0)
                return 0;
        group = engine_find_group(link->server->engine, id);
        if (!group || !m || !auth_may_see_group(client_of(link, m), group))
                return 0;
        link->found = (Found){ .link = link, .object = group };
        *ret_found = &link->found;
        return 1;
}

/* ---- methods ---- */

static void on_group_finished(GroupWatch *watch) {
        Call *call = container_of(watch, Call, group_watch);

        (void) sd_bus_reply_method_return(call->message, "b", true);
        call_free(call);
}

static void on_wait_timeout(Call *call) {
        (void) sd_bus_reply_method_return(call->message, "b", false);
        call_free(call);
}

static int method_wait(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        JobGroup *group = found->object;
        Call *call = NULL;
        uint64_t timeout;
        int r;

        r = sd_bus_message_read(m, "t", &timeout);
        if (r < 0)
                return r;
        if (timeout > USEC_SPAN_MAX && timeout != USEC_INFINITY)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "A time-out of %" PRIu64 " us, allowed are up to %" PRIu64 " or infinity",
                        timeout, USEC_SPAN_MAX);
        if (timeout == 0 || group_is_finished(&group->core))
                return sd_bus_reply_method_return(m, "b", (int) group_is_finished(&group->core));
        r = call_new(client_of(found->link, m), m, &call, error);
        if (r < 0)
                return r;
        call->group_watch.finished = on_group_finished;
        (void) engine_watch_group(group, &call->group_watch);
        r = call_set_timeout(call, timeout, on_wait_timeout);
        if (r < 0) {
                call_free(call);
                return bus_error_oom(error);
        }
        return 1;
}

static int append_member(sd_bus_message *reply, Job *job, size_t *room) {
        JobView view;

        pool_job_view_state(job_pool(job), job, &view);
        return view.state == JOB_FINISHED
                       ? submit_append_result(reply, job, room)
                       : sd_bus_message_append(reply, "(tsay)", (uint64_t) job->id, "", (size_t) 0);
}

static int method_get_results(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const Found *found = userdata;
        const JobGroup *group = found->object;
        uint64_t first, n_left;
        uint32_t count;
        size_t room;
        int r;

        r = sd_bus_message_read(m, "tu", &first, &count);
        if (r < 0)
                return r;
        n_left = group->core.n_total - MIN(first, group->core.n_total);
        count = (uint32_t) MIN(MIN(n_left, (uint64_t) count), RESULTS_MAX);
        room = REPLY_SIZE_MAX - (size_t) count * RESULT_SIZE_MAX;
        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(tsay)");
        for (uint64_t i = first; r >= 0 && i < first + count; i++)
                r = append_member(
                        reply, engine_group_job(found->link->server->engine, group, i), &room);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_message_send(reply);
}

static void on_cancelled(Sweep *sweep) {
        call_end_sweep(sweep->userdata, NULL);
}

static int method_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        JobGroup *group = found->object;
        Call *call = NULL;
        int r;

        if (group_is_finished(&group->core))
                return bus_error(error, BUS_ERROR_INVALID_STATE, "Group %" PRIu64 " has finished",
                        group->id);
        r = call_new(client_of(found->link, m), m, &call, error);
        if (r < 0)
                return r;
        r = engine_cancel_group(
                found->link->server->engine, group, on_cancelled, call, &call->sweep);
        if (r < 0) {
                call_free(call);
                return bus_error_oom(error);
        }
        return 1;
}

static int method_forget(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        JobGroup *group = found->object;

        if (!group_is_finished(&group->core))
                return bus_error(error, BUS_ERROR_INVALID_STATE,
                        "Group %" PRIu64 " has not finished", group->id);
        engine_forget_group(found->link->server->engine, group);
        return call_return_when_stored(client_of(found->link, m), m, error);
}

/* ---- properties ---- */

static const char *state_to_string(const JobGroup *group) {
        return group_is_finished(&group->core) ? "finished" : "running";
}

/* Defines a getter. */
#define DEFINE_GETTER(name, type, expression)                                       \
        static int get_##name(sd_bus *bus, const char *path, const char *interface, \
                const char *property, sd_bus_message *reply, void *userdata,        \
                sd_bus_error *error) {                                              \
                const JobGroup *group = ((const Found *) userdata)->object;         \
                                                                                    \
                return sd_bus_message_append(reply, type, expression);              \
        }

DEFINE_GETTER(id, "t", group->id)
/* "" for one of a pipeline. */
DEFINE_GETTER(pool, "s", group_pipeline(group) ? "" : group->pool->config->name)
DEFINE_GETTER(pipeline, "s", group_pipeline(group) ? group_pipeline(group)->name : "")
DEFINE_GETTER(first_job, "t", group->submission->first_id)
DEFINE_GETTER(total, "t", group->core.n_total)
DEFINE_GETTER(done, "t", group_n_done(&group->core))
DEFINE_GETTER(succeeded, "t", group->core.n_succeeded)
DEFINE_GETTER(failed, "t", group->core.n_failed)
DEFINE_GETTER(progress, "d", group_progress(&group->core))
DEFINE_GETTER(state, "s", state_to_string(group))
DEFINE_GETTER(policy, "s", group_policy_to_string(group->core.policy))
DEFINE_GETTER(owner, "u", group->submission->owner)
DEFINE_GETTER(tag, "s", group->submission->tag ?: "")

#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

static const sd_bus_vtable group_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Id", "t", get_id, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Pool", "s", get_pool, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Pipeline", "s", get_pipeline, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("FirstJob", "t", get_first_job, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Total", "t", get_total, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Done", "t", get_done, 0, CHANGES),
        SD_BUS_PROPERTY("Succeeded", "t", get_succeeded, 0, CHANGES),
        SD_BUS_PROPERTY("Failed", "t", get_failed, 0, CHANGES),
        SD_BUS_PROPERTY("Progress", "d", get_progress, 0, CHANGES),
        SD_BUS_PROPERTY("State", "s", get_state, 0, CHANGES),
        SD_BUS_PROPERTY("GroupPolicy", "s", get_policy, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Owner", "u", get_owner, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Tag", "s", get_tag, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_METHOD_WITH_ARGS("Wait", SD_BUS_ARGS("t", timeout), SD_BUS_RESULT("b", finished),
                method_wait, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("GetResults", SD_BUS_ARGS("t", first, "u", count),
                SD_BUS_RESULT("a(tsay)", results), method_get_results, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Cancel", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_cancel, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Forget", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_forget, ANYBODY),
        SD_BUS_VTABLE_END,
};

int group_bus_add(Link *link) {
        return sd_bus_add_fallback_vtable(
                link->bus, NULL, GROUP_PREFIX, GROUP_INTERFACE, group_vtable, find_group, link);
}

/* ---- signals ---- */

/* Not by sd_bus_emit_properties_changed(), which tells everybody on the bus. */
int group_bus_emit_changed(Client *client, const JobGroup *group) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char path[GROUP_PATH_MAX];
        int r;

        r = sd_bus_message_new_signal(client->link->bus, &m, group_bus_path(path, group->id),
                "org.freedesktop.DBus.Properties", "PropertiesChanged");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", GROUP_INTERFACE);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}", "Done", "t",
                        group_n_done(&group->core), "Succeeded", "t", group->core.n_succeeded,
                        "Failed", "t", group->core.n_failed, "Progress", "d",
                        group_progress(&group->core));
        if (r >= 0 && group_is_finished(&group->core))
                r = sd_bus_message_append(m, "{sv}", "State", "s", state_to_string(group));
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_append(m, "as", 0);
        if (r >= 0)
                r = sd_bus_message_set_destination(m, client->name);
        return r < 0 ? r : sd_bus_send(client->link->bus, m, NULL);
}
