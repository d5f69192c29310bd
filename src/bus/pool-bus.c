/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "bus/auth.h"
#include "bus/call.h"
#include "bus/drain.h"
#include "bus/error.h"
#include "bus/lease-bus.h"
#include "bus/object.h"
#include "bus/options.h"
#include "bus/submit.h"
#include "engine/affinity.h"
#include "engine/durable.h"

/* ---- submitting ---- */

DEFINE_SUBMIT_METHODS(target_pool)

/* ---- control ---- */

static int pause_or_resume(sd_bus_message *m, const Found *found, bool pause, sd_bus_error *error) {
        Engine *engine = found->link->server->engine;
        Pool *pool = found->object;
        int r;

        r = auth_may_manage(client_of(found->link, m), error);
        if (r < 0)
                return r;
        if (engine->shutting_down)
                return bus_error(error, BUS_ERROR_SHUTTING_DOWN, "sluiced is shutting down");
        if (!pause) {
                /* A pause of one that is to go can be ended, but not that it goes. */
                if (pool->removing && !pool->paused)
                        return bus_error(error, BUS_ERROR_INVALID_STATE, "Pool %s is being removed",
                                pool->config->name);
                engine_drain_pool(engine, pool, false);
        }
        engine_pause_pool(engine, pool, pause);
        return call_return_when_stored(client_of(found->link, m), m, error);
}

static int method_pause(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return pause_or_resume(m, userdata, true, error);
}

static int method_resume(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return pause_or_resume(m, userdata, false, error);
}

static void drain(void *object, PoolWatch *watch) {
        Pool *pool = object;

        engine_drain_pool(pool->engine, pool, true);
        if (watch)
                engine_watch_empty(pool->engine, pool, watch);
}

static int method_drain(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Client *client = client_of(found->link, m);
        Pool *pool = found->object;
        usec_t timeout;
        int r;

        r = auth_may_manage(client, error);
        if (r >= 0)
                r = drain_read(m, &timeout, error);
        if (r < 0)
                return r;
        if (timeout > 0)
                return drain_wait(m, client, timeout, drain, pool, error);
        drain(pool, NULL);
        return drain_reply(m, client, pool_is_empty(pool), error);
}

static void on_cleared(Sweep *sweep) {
        call_end_sweep(sweep->userdata, &sweep->n_cancelled);
}

static int method_clear(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Client *client = client_of(found->link, m);
        JobFilter filter = {
                .pool = found->object,
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .waiting = true,
        };
        Call *call = NULL;
        int r;

        r = auth_may_manage(client, error);
        if (r < 0)
                return r;
        r = call_new(client, m, &call, error);
        if (r < 0)
                return r;
        r = engine_sweep(found->link->server->engine, &filter, "its pool was cleared", on_cleared,
                call, &call->sweep);
        if (r < 0) {
                call_free(call);
                return bus_error_oom(error);
        }
        return 1;
}

static int method_kick(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Pool *pool = found->object;
        uint32_t max;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = auth_may_manage(client_of(found->link, m), error);
        if (r < 0)
                return r;
        r = sd_bus_message_read(m, "u", &max);
        if (r < 0)
                return r;
        if (pool->removing)
                return bus_error(error, BUS_ERROR_INVALID_STATE, "Pool %s is being removed",
                        pool->config->name);
        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_append(
                        reply, "u", engine_kick(found->link->server->engine, pool, max));
        return r < 0 ? r : call_reply_when_stored(client_of(found->link, m), m, reply, error);
}

/* Makes the settings of `config` those of the pool. */
static int change_settings(const Found *found, const PoolConfig *config, sd_bus_error *error) {
        Engine *engine = found->link->server->engine;
        int r;

        r = object_check_settable(engine, config->name, error);
        if (r < 0)
                return r;
        r = engine_set_pool(engine, found->object, config);
        if (r < 0)
                return bus_error(error, BUS_ERROR_LIMITS_EXCEEDED,
                        "MaxWorkers: not as many threads could be started: %s", strerror(-r));
        return 0;
}

static int method_set(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;
        const Found *found = userdata;
        Pool *pool = found->object;
        int r;

        r = auth_may_manage(client_of(found->link, m), error);
        if (r < 0)
                return r;
        r = pool_config_copy(pool->config, &config);
        if (r < 0)
                return bus_error_oom(error);
        r = options_read_settings(m, config, /* settable_only= */ true, error);
        if (r < 0)
                return r;
        r = change_settings(found, config, error);
        return r < 0 ? r : call_return_when_stored(client_of(found->link, m), m, error);
}

/* ---- properties ---- */

#define DEFINE_GETTER(name, type, ...)                                              \
        static int get_##name(sd_bus *bus, const char *path, const char *interface, \
                const char *property, sd_bus_message *reply, void *userdata,        \
                sd_bus_error *error) {                                              \
                Pool *pool = ((const Found *) userdata)->object;                    \
                                                                                    \
                return sd_bus_message_append(reply, type, __VA_ARGS__);             \
        }

#define DEFINE_VIEW_GETTER(name, type, ...)                                         \
        static int get_##name(sd_bus *bus, const char *path, const char *interface, \
                const char *property, sd_bus_message *reply, void *userdata,        \
                sd_bus_error *error) {                                              \
                PoolView view;                                                      \
                                                                                    \
                pool_view(((const Found *) userdata)->object, &view);               \
                return sd_bus_message_append(reply, type, __VA_ARGS__);             \
        }

DEFINE_GETTER(name, "s", pool->config->name)
DEFINE_GETTER(description, "s", pool->config->description ?: "")
DEFINE_GETTER(handler, "s", pool->config->handler->name)
DEFINE_GETTER(durable, "b", (int) pool->config->durable)
DEFINE_GETTER(lease_waiters, "u", lease_n_waiting(pool))
DEFINE_GETTER(min_workers, "u", pool->config->min_workers)
DEFINE_GETTER(max_workers, "u", pool->config->max_workers)
DEFINE_GETTER(queue_max, "t", pool->config->queue_max)
DEFINE_GETTER(payload_max, "t", pool->config->handler_config.payload_max)
DEFINE_GETTER(overflow, "s", overflow_to_string(pool->config->overflow))
DEFINE_GETTER(max_attempts, "u", pool->config->max_attempts)
DEFINE_GETTER(aging_interval, "t", pool->config->aging_interval)
DEFINE_GETTER(run_timeout, "t", pool->config->run_timeout)
DEFINE_GETTER(key_concurrency, "u", pool->config->key_concurrency)
DEFINE_GETTER(batch_size, "u", pool->config->batch_size)
DEFINE_GETTER(batch_timeout, "t", pool->config->batch_timeout)
DEFINE_GETTER(scale_mode, "s", scale_mode_to_string(pool->config->scale_config.mode))
DEFINE_GETTER(scale_interval, "t", pool->config->scale_config.interval)
DEFINE_GETTER(scale_up_at, "u", pool->config->scale_config.up_at)
DEFINE_GETTER(scale_down_at, "u", pool->config->scale_config.down_at)
DEFINE_GETTER(scale_target_wait, "t", pool->config->scale_config.target_wait)
DEFINE_VIEW_GETTER(state, "s", pool_state_to_string(view.state))
DEFINE_VIEW_GETTER(workers, "u", view.n_workers)
DEFINE_VIEW_GETTER(busy, "u", view.n_busy)
DEFINE_VIEW_GETTER(queued, "t", view.n_queued)
DEFINE_VIEW_GETTER(scheduled, "t", view.n_scheduled)
DEFINE_VIEW_GETTER(running, "u", (uint32_t) view.n_running)
DEFINE_VIEW_GETTER(pending_reason, "s", view.pending_reason)
DEFINE_VIEW_GETTER(submitted, "t", view.counters.submitted)
DEFINE_VIEW_GETTER(succeeded, "t", view.counters.results[JOB_SUCCEEDED])
DEFINE_VIEW_GETTER(failed, "t", view.counters.results[JOB_FAILED])
DEFINE_VIEW_GETTER(cancelled, "t", view.counters.results[JOB_CANCELLED])
DEFINE_VIEW_GETTER(timed_out, "t", view.counters.results[JOB_TIMED_OUT])
DEFINE_VIEW_GETTER(expired, "t", view.counters.results[JOB_EXPIRED])
DEFINE_VIEW_GETTER(dropped, "t", view.counters.results[JOB_DROPPED])
DEFINE_VIEW_GETTER(rejected, "t", view.counters.rejected)
DEFINE_VIEW_GETTER(refused, "t", view.counters.results[JOB_REFUSED])
DEFINE_VIEW_GETTER(retried, "t", view.counters.retried)
DEFINE_VIEW_GETTER(lost, "t", view.counters.results[JOB_LOST])
DEFINE_VIEW_GETTER(batches, "t", view.n_batches)
DEFINE_VIEW_GETTER(queue_wait, "(tttt)", view.queue_wait[0], view.queue_wait[1], view.queue_wait[2],
        view.queue_wait[3])
DEFINE_VIEW_GETTER(
        run_time, "(tttt)", view.run_time[0], view.run_time[1], view.run_time[2], view.run_time[3])

static int get_cpu_affinity(sd_bus *bus, const char *path, const char *interface,
        const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Pool *pool = ((const Found *) userdata)->object;
        const cpu_set_t *cpus = &pool->config->cpus;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "u");
        for (uint32_t cpu = 0; r >= 0 && cpu < CPU_SETSIZE; cpu++)
                if (CPU_ISSET(cpu, cpus))
                        r = sd_bus_message_append_basic(reply, 'u', &cpu);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int get_limiter(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Pool *pool = ((const Found *) userdata)->object;
        _cleanup_free_ char *limiter = NULL;
        int r;

        r = object_path_or_none(&limiter_object, pool->gates.limiter, &limiter);
        return r < 0 ? r : sd_bus_message_append(reply, "o", limiter);
}

static int get_breaker(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Pool *pool = ((const Found *) userdata)->object;
        _cleanup_free_ char *breaker = NULL;
        int r;

        r = object_path_or_none(&breaker_object, pool->gates.breaker, &breaker);
        return r < 0 ? r : sd_bus_message_append(reply, "o", breaker);
}

/* Every settable property is set in the same way as by Set(). */
static int set_setting(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *value, void *userdata, sd_bus_error *error) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;
        const Found *found = userdata;
        Pool *pool = found->object;
        SettingValue setting = {};
        char *text = NULL, type;
        uint32_t u;
        int r;

        r = auth_may_manage(client_of(found->link, value), error);
        if (r < 0)
                return r;
        r = sd_bus_message_peek_type(value, &type, NULL);
        if (r < 0)
                return r;
        setting.type = type;
        if (type == 'u') {
                r = sd_bus_message_read_basic(value, 'u', &u);
                setting.number = r < 0 ? 0 : u;
        } else
                r = sd_bus_message_read_basic(value, type,
                        type == 's' ? (void *) &setting.string : (void *) &setting.number);
        if (r < 0)
                return r;
        r = pool_config_copy(pool->config, &config);
        if (r < 0)
                return bus_error_oom(error);
        r = pool_config_set(config, property, &setting, &text);
        if (r >= 0)
                r = pool_config_complete(config, &text);
        if (r < 0)
                return bus_error_settings(error, r, text);
        return change_settings(found, config, error);
}

#define EMITS SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define CONSTANT SD_BUS_VTABLE_PROPERTY_CONST
#define SETTABLE(name, type, getter) \
        SD_BUS_WRITABLE_PROPERTY(name, type, getter, set_setting, 0, EMITS | ANYBODY)

static const sd_bus_vtable pool_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Name", "s", get_name, 0, CONSTANT),
        SD_BUS_PROPERTY("Description", "s", get_description, 0, 0),
        SD_BUS_PROPERTY("Handler", "s", get_handler, 0, CONSTANT),
        SD_BUS_PROPERTY("Durable", "b", get_durable, 0, CONSTANT),
        SD_BUS_PROPERTY("State", "s", get_state, 0, EMITS),
        SD_BUS_PROPERTY("PayloadMax", "t", get_payload_max, 0, 0),
        SD_BUS_PROPERTY("Workers", "u", get_workers, 0, EMITS),
        SD_BUS_PROPERTY("Busy", "u", get_busy, 0, 0),
        SD_BUS_PROPERTY("CPUAffinity", "au", get_cpu_affinity, 0, 0),
        SD_BUS_PROPERTY("Queued", "t", get_queued, 0, 0),
        SD_BUS_PROPERTY("Scheduled", "t", get_scheduled, 0, 0),
        SD_BUS_PROPERTY("Running", "u", get_running, 0, 0),
        SD_BUS_PROPERTY("PendingReason", "s", get_pending_reason, 0, 0),
        SD_BUS_PROPERTY("Limiter", "o", get_limiter, 0, 0),
        SD_BUS_PROPERTY("Breaker", "o", get_breaker, 0, 0),
        SD_BUS_PROPERTY("LeaseWaiters", "u", get_lease_waiters, 0, 0),
        SD_BUS_PROPERTY("Submitted", "t", get_submitted, 0, 0),
        SD_BUS_PROPERTY("Succeeded", "t", get_succeeded, 0, 0),
        SD_BUS_PROPERTY("Failed", "t", get_failed, 0, 0),
        SD_BUS_PROPERTY("Cancelled", "t", get_cancelled, 0, 0),
        SD_BUS_PROPERTY("TimedOut", "t", get_timed_out, 0, 0),
        SD_BUS_PROPERTY("Expired", "t", get_expired, 0, 0),
        SD_BUS_PROPERTY("Dropped", "t", get_dropped, 0, 0),
        SD_BUS_PROPERTY("Rejected", "t", get_rejected, 0, 0),
        SD_BUS_PROPERTY("Refused", "t", get_refused, 0, 0),
        SD_BUS_PROPERTY("Lost", "t", get_lost, 0, 0),
        SD_BUS_PROPERTY("Retried", "t", get_retried, 0, 0),
        SD_BUS_PROPERTY("Batches", "t", get_batches, 0, 0),
        SD_BUS_PROPERTY("QueueWaitUSec", "(tttt)", get_queue_wait, 0, 0),
        SD_BUS_PROPERTY("RunTimeUSec", "(tttt)", get_run_time, 0, 0),
        SETTABLE("MinWorkers", "u", get_min_workers),
        SETTABLE("MaxWorkers", "u", get_max_workers),
        SETTABLE("QueueMax", "t", get_queue_max),
        SETTABLE("Overflow", "s", get_overflow),
        SETTABLE("MaxAttempts", "u", get_max_attempts),
        SETTABLE("AgingIntervalUSec", "t", get_aging_interval),
        SETTABLE("RunTimeoutUSec", "t", get_run_timeout),
        SETTABLE("KeyConcurrency", "u", get_key_concurrency),
        SETTABLE("BatchSize", "u", get_batch_size),
        SETTABLE("BatchTimeoutUSec", "t", get_batch_timeout),
        SETTABLE("ScaleMode", "s", get_scale_mode),
        SETTABLE("ScaleIntervalUSec", "t", get_scale_interval),
        SETTABLE("ScaleUpAt", "u", get_scale_up_at),
        SETTABLE("ScaleDownAt", "u", get_scale_down_at),
        SETTABLE("ScaleTargetWaitUSec", "t", get_scale_target_wait),
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
        SD_BUS_METHOD_WITH_ARGS("Lease", SD_BUS_ARGS("u", max, "t", timeout),
                SD_BUS_RESULT("a(ttayu)", leases), lease_bus_lease, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Complete", SD_BUS_ARGS("t", id, "t", token, "b", ok, "ay", output),
                SD_BUS_NO_RESULT, lease_bus_complete, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("CompleteMany", SD_BUS_ARGS("a(ttbay)", verdicts),
                SD_BUS_RESULT("at", stale), lease_bus_complete_many, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Fail", SD_BUS_ARGS("t", id, "t", token, "b", fatal, "s", text),
                SD_BUS_NO_RESULT, lease_bus_fail, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_ARGS("t", id, "t", token, "t", delay),
                SD_BUS_NO_RESULT, lease_bus_release, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Touch", SD_BUS_ARGS("t", id, "t", token), SD_BUS_NO_RESULT,
                lease_bus_touch, ANYBODY),
        SD_BUS_SIGNAL_WITH_ARGS("LeaseStopping", SD_BUS_ARGS("t", id, "t", token, "s", reason), 0),
        SD_BUS_METHOD_WITH_ARGS("Pause", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_pause, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Resume", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_resume, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Drain", SD_BUS_ARGS("t", timeout), SD_BUS_RESULT("b", empty),
                method_drain, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS(
                "Kick", SD_BUS_ARGS("u", max), SD_BUS_RESULT("u", count), method_kick, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS(
                "Clear", SD_BUS_NO_ARGS, SD_BUS_RESULT("u", count), method_clear, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS(
                "Set", SD_BUS_ARGS("a{sv}", settings), SD_BUS_NO_RESULT, method_set, ANYBODY),
        SD_BUS_VTABLE_END,
};

/* ---- the kind of object ---- */

DEFINE_OBJECT_LOOKUP(pool, Pool, config->name)

static bool pool_is_from_file(const void *object) {
        return ((const Pool *) object)->origin;
}

static bool pool_is_used_by(const void *object, const void *user) {
        return pipeline_uses_pool(user, object);
}

static int create_pool(
        sd_bus_message *m, Link *link, const char *name, void **ret, sd_bus_error *error) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;
        char *text = NULL;
        Pool *pool;
        int r;

        r = pool_config_new(name, link->server->fairness, &config);
        if (r < 0)
                return bus_error_oom(error);
        r = options_read_settings(m, config, /* settable_only= */ false, error);
        if (r < 0)
                return r;
        r = engine_add_pool(link->server->engine, config, &pool, &text);
        if (r < 0)
                return bus_error_settings(error, r, text);
        config = NULL; /* the pool's now */
        engine_recover_pool(link->server->engine, pool);
        *ret = pool;
        return 0;
}

static int begin_removal(void *object, bool cancel, PoolWatch *watch) {
        Pool *pool = object;

        return engine_remove_pool(pool->engine, pool, cancel, watch);
}

static int remove_pool(
        sd_bus_message *m, Link *link, void *object, bool cancel, sd_bus_error *error) {
        Pool *pool = object;

        /* It would never be empty, and to begin what somebody holds back is not ours to decide. */
        if (!cancel && pool->paused && !pool_is_empty(pool))
                return bus_error(error, BUS_ERROR_INVALID_STATE,
                        "Pool %s is paused and has jobs: resume it, or cancel them",
                        pool->config->name);
        return drain_remove(m, client_of(link, m), cancel, begin_removal, object, error);
}

const ObjectKind pool_object = {
        .noun = "pool",
        .prefix = SLUICE_PATH "/pool",
        .interface = "org.sluice1.Pool",
        .vtable = pool_vtable,
        .find = find_pool,
        .all = all_pools,
        .of_list = pool_of_list,
        .name = pool_name,
        .row = pool_row,
        .is_from_file = pool_is_from_file,
        .users = &pipeline_object,
        .is_used_by = pool_is_used_by,
        .create = create_pool,
        .remove = remove_pool,
};
