/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bus/auth.h"
#include "bus/call.h"
#include "bus/error.h"
#include "bus/job-bus.h"
#include "bus/quota-bus.h"
#include "engine/job-group.h"
#include "util/parse.h"

#define JOB_PREFIX SLUICE_PATH "/job"

char *job_bus_path(char buf[static JOB_PATH_MAX], uint64_t id) {
        (void) snprintf(buf, JOB_PATH_MAX, JOB_PREFIX "/%" PRIu64, id);
        return buf;
}

/* Jobs are found on demand. One of somebody else is as one that does not exist. */
static int find_job(sd_bus *bus, const char *path, const char *interface, void *userdata,
        void **ret_found, sd_bus_error *error) {
        Link *link = userdata;
        const char *digits = path + strlen(JOB_PREFIX "/");
        sd_bus_message *m = sd_bus_get_current_message(bus);
        uint64_t id;
        Job *job;

        if (strlen(path) <= strlen(JOB_PREFIX "/") || digits[0] == '0' ||
                parse_uint64(digits, 1, UINT64_MAX, &id) < 0)
                return 0;
        job = engine_find_job(link->server->engine, id);
        if (!job || !m || !auth_may_see(client_of(link, m), job))
                return 0;
        link->found = (Found){ .link = link, .object = job };
        *ret_found = &link->found;
        return 1;
}

/* ---- methods ---- */

int job_bus_cancel(sd_bus_message *m, Link *link, Job *job, sd_bus_error *error) {
        JobView view;

        switch (pool_cancel(job_pool(job), job)) {

        case CANCEL_FINISHED:
                if (job->submission->durable)
                        return call_return_when_stored(client_of(link, m), m, error);
                return sd_bus_reply_method_return(m, NULL);

        case CANCEL_ASKED:
        case CANCEL_NOTED:
                return sd_bus_reply_method_return(m, NULL);

        case CANCEL_NOTHING:
                break;
        }
        pool_job_view_state(job_pool(job), job, &view);
        if (view.state == JOB_FINISHED)
                return bus_error(error, BUS_ERROR_INVALID_STATE, "Job %" PRIu64 " has finished: %s",
                        (uint64_t) job->id, job_result_to_string(view.result));
        return sd_bus_reply_method_return(m, NULL);
}

/* ssays: state, result, output, error text. */
static int reply_state(sd_bus_message *m, Job *job) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *error = "";
        size_t size = 0;
        JobView view;
        int r;

        pool_job_view_state(job_pool(job), job, &view);
        if (view.state == JOB_FINISHED) {
                error = job_error(job);
                /* What did not succeed still has its payload there. */
                size = view.result == JOB_SUCCEEDED ? job->size : 0;
                if (size > REPLY_SIZE_MAX) {
                        size = 0;
                        error = "too large: use GetResult";
                }
        }
        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "ss", job_state_to_string(view.state),
                        view.state == JOB_FINISHED ? job_result_to_string(view.result) : "");
        if (r >= 0)
                r = sd_bus_message_append_array(reply, 'y', job->data, size);
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", error);
        return r < 0 ? r : sd_bus_message_send(reply);
}

static void on_job_finished(JobWatch *watch, Job *job) {
        Call *call = container_of(watch, Call, job_watch);

        (void) reply_state(call->message, job);
        call_free(call);
}

static void on_wait_timeout(Call *call) {
        Job *job = engine_find_job(call->client->link->server->engine, call->job_id);

        if (job)
                (void) reply_state(call->message, job);
        call_free(call);
}

int job_bus_wait(sd_bus_message *m, Link *link, Job *job, usec_t timeout, sd_bus_error *error) {
        Call *call = NULL;
        int r;

        if (timeout == 0)
                return reply_state(m, job);
        if (timeout > USEC_SPAN_MAX && timeout != USEC_INFINITY)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "A time-out of %" PRIu64 " us, allowed are up to %" PRIu64 " or infinity",
                        timeout, USEC_SPAN_MAX);
        r = call_new(client_of(link, m), m, &call, error);
        if (r < 0)
                return r;
        call->job_id = job->id;
        call->job_watch.finished = on_job_finished;
        r = engine_watch_job(job, &call->job_watch);
        if (r == 0)
                r = call_set_timeout(call, timeout, on_wait_timeout);
        if (r == 0)
                return 1;
        call_free(call);
        return r > 0 ? reply_state(m, job) : bus_error_oom(error);
}

static int method_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;

        return job_bus_cancel(m, found->link, found->object, error);
}

static int method_wait(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        uint64_t timeout;
        int r;

        r = sd_bus_message_read(m, "t", &timeout);
        return r < 0 ? r : job_bus_wait(m, found->link, found->object, timeout, error);
}

/* say: result, and output or error text. */
static int method_get_result(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Job *job = ((const Found *) userdata)->object;
        const char *text;
        JobView view;
        int r;

        pool_job_view_state(job_pool(job), job, &view);
        if (view.state != JOB_FINISHED)
                return bus_error(error, BUS_ERROR_INVALID_STATE,
                        "Job %" PRIu64 " has not finished: it is %s", (uint64_t) job->id,
                        job_state_to_string(view.state));
        text = job_error(job);
        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", job_result_to_string(view.result));
        if (r >= 0)
                r = view.result == JOB_SUCCEEDED
                            ? sd_bus_message_append_array(reply, 'y', job->data, job->size)
                            : sd_bus_message_append_array(reply, 'y', text, strlen(text));
        return r < 0 ? r : sd_bus_message_send(reply);
}

static int refuse_quota(const Job *job, sd_bus_error *error) {
        Account *account = job->submission->account;
        int r;

        r = quota_check(account, QUOTA_JOBS, 1, error);
        return r < 0 ? r : quota_check(account, QUOTA_BYTES, job->size, error);
}

static int method_retry(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        const Job *job = found->object;
        const char *place = job_pipeline(job) ? "pipeline" : "pool";
        uint64_t id = job->id;
        int r;

        r = engine_retry(found->link->server->engine, id);
        if (r < 0)
                return bus_error_oom(error);
        switch ((RetryAnswer) r) {

        case RETRY_DONE:
                break;

        case RETRY_SUCCEEDED:
                return bus_error(
                        error, BUS_ERROR_INVALID_STATE, "Job %" PRIu64 " has succeeded", id);

        case RETRY_UNFINISHED:
                return bus_error(
                        error, BUS_ERROR_INVALID_STATE, "Job %" PRIu64 " has not finished", id);

        case RETRY_GONE:
                return bus_error(error, BUS_ERROR_INVALID_STATE,
                        "What job %" PRIu64 " works on was there for one attempt alone", id);

        case RETRY_NO_ROOM:
                return bus_error(error, BUS_ERROR_QUEUE_FULL,
                        "The %s of job %" PRIu64 " has no room", place, id);

        case RETRY_NO_QUOTA:
                return refuse_quota(job, error);

        case RETRY_IN_GROUP:
                return bus_error(error, BUS_ERROR_INVALID_STATE,
                        "Job %" PRIu64 " is one of a group, whose results stay as they are", id);

        case RETRY_DRAINING:
                return bus_error(error, BUS_ERROR_DRAINING,
                        "The %s of job %" PRIu64 " is draining and takes no jobs", place, id);

        case RETRY_REMOVED:
                return bus_error(error, BUS_ERROR_INVALID_STATE,
                        "The pipeline in which job %" PRIu64 " was to go on was removed", id);
        }
        return call_return_when_stored(client_of(found->link, m), m, error);
}

static int method_set_priority(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Job *job = found->object;
        int32_t priority;
        JobView view;
        int r;

        r = sd_bus_message_read(m, "i", &priority);
        if (r < 0)
                return r;
        if (priority < PRIORITY_MIN || priority > PRIORITY_MAX)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "A priority of %d, allowed are %d to %d", priority, PRIORITY_MIN,
                        PRIORITY_MAX);
        pool_job_view_state(job_pool(job), job, &view);
        r = view.state == JOB_FINISHED
                    ? 1
                    : engine_set_priority(found->link->server->engine, job, (int16_t) priority);
        if (r < 0)
                return bus_error_oom(error);
        /* Also one whose end nobody was told yet. */
        if (r > 0)
                return bus_error(error, BUS_ERROR_INVALID_STATE, "Job %" PRIu64 " has finished",
                        (uint64_t) job->id);
        return call_return_when_stored(client_of(found->link, m), m, error);
}

/* ---- properties ---- */

/* Defines a getter of one member of the view. */
#define DEFINE_GETTER(name, type, ...)                                              \
        static int get_##name(sd_bus *bus, const char *path, const char *interface, \
                const char *property, sd_bus_message *reply, void *userdata,        \
                sd_bus_error *error) {                                              \
                Job *job = ((const Found *) userdata)->object;                      \
                JobView view;                                                       \
                                                                                    \
                pool_job_view(job_pool(job), job, &view);                           \
                return sd_bus_message_append(reply, type, __VA_ARGS__);             \
        }

DEFINE_GETTER(id, "t", view.id)
DEFINE_GETTER(pool, "s", job_pool(job)->config->name)
DEFINE_GETTER(group, "t", job_group_id(job))
DEFINE_GETTER(pipeline, "s", job_pipeline(job) ? job_pipeline(job)->name : "")
DEFINE_GETTER(stage, "(us)", job_stage(job), job_pipeline(job) ? job_pool(job)->config->name : "")
DEFINE_GETTER(state, "s", job_state_to_string(view.state))
DEFINE_GETTER(result, "s", view.result >= 0 ? job_result_to_string(view.result) : "")
DEFINE_GETTER(priority, "i", (int32_t) view.priority)
DEFINE_GETTER(owner, "u", view.owner)
DEFINE_GETTER(tag, "s", view.tag)
DEFINE_GETTER(concurrency_key, "s", view.concurrency_key)
DEFINE_GETTER(attempt, "u", view.attempt)
DEFINE_GETTER(worker, "i", view.worker)
DEFINE_GETTER(submitted, "t", view.submitted_realtime)
DEFINE_GETTER(started, "t", view.started_realtime)
DEFINE_GETTER(finished, "t", view.finished_realtime)
DEFINE_GETTER(duration, "t", view.duration)
DEFINE_GETTER(exit_status, "i", view.exit_status)
DEFINE_GETTER(progress, "d", view.progress)
DEFINE_GETTER(pending_reason, "s", view.pending_reason)
DEFINE_GETTER(queue_position, "t", view.position)

const sd_bus_vtable job_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Id", "t", get_id, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Pool", "s", get_pool, 0, 0),
        SD_BUS_PROPERTY("Group", "t", get_group, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Pipeline", "s", get_pipeline, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Stage", "(us)", get_stage, 0, 0),
        SD_BUS_PROPERTY("State", "s", get_state, 0, 0),
        SD_BUS_PROPERTY("Result", "s", get_result, 0, 0),
        SD_BUS_PROPERTY("Priority", "i", get_priority, 0, 0),
        SD_BUS_PROPERTY("Owner", "u", get_owner, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Tag", "s", get_tag, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY(
                "ConcurrencyKey", "s", get_concurrency_key, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Attempt", "u", get_attempt, 0, 0),
        SD_BUS_PROPERTY("Worker", "i", get_worker, 0, 0),
        SD_BUS_PROPERTY("SubmittedUSec", "t", get_submitted, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("StartedUSec", "t", get_started, 0, 0),
        SD_BUS_PROPERTY("FinishedUSec", "t", get_finished, 0, 0),
        SD_BUS_PROPERTY("DurationUSec", "t", get_duration, 0, 0),
        SD_BUS_PROPERTY("ExitStatus", "i", get_exit_status, 0, 0),
        SD_BUS_PROPERTY("Progress", "d", get_progress, 0, 0),
        SD_BUS_PROPERTY("PendingReason", "s", get_pending_reason, 0, 0),
        SD_BUS_PROPERTY("QueuePosition", "t", get_queue_position, 0, 0),
        SD_BUS_METHOD_WITH_ARGS("Cancel", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_cancel, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Wait", SD_BUS_ARGS("t", timeout),
                SD_BUS_RESULT("s", state, "s", result, "ay", output, "s", error), method_wait,
                ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("GetResult", SD_BUS_NO_ARGS,
                SD_BUS_RESULT("s", result, "ay", output), method_get_result, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Retry", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_retry, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("SetPriority", SD_BUS_ARGS("i", priority), SD_BUS_NO_RESULT,
                method_set_priority, ANYBODY),
        SD_BUS_VTABLE_END,
};

int job_bus_add(Link *link) {
        return sd_bus_add_fallback_vtable(
                link->bus, NULL, JOB_PREFIX, "org.sluice1.Job", job_vtable, find_job, link);
}
