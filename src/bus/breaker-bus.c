/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bus/auth.h"
#include "bus/breaker-bus.h"
#include "bus/call.h"
#include "bus/error.h"
#include "bus/object.h"
#include "bus/options.h"
#include "engine/breaker-config.h"

/* Permits that one client may hold at a time. */
#define PERMITS_MAX 1024

/* A permit in the hands of a client. */
typedef struct ClientPermit {
        List links; /* in Client.permits */
        uint64_t id;
        Client *client; /* borrowed */
        BreakerPermit permit;
} ClientPermit;

/* ---- permits ---- */

static void client_permit_free(ClientPermit *permit) {
        list_remove(&permit->links);
        permit->client->n_permits--;
        free(permit);
}

static void on_permit_gone(BreakerPermit *permit) {
        client_permit_free(container_of(permit, ClientPermit, permit));
}

void breaker_bus_forget(Client *client) {
        List *l;

        while ((l = list_first(&client->permits))) {
                ClientPermit *permit = list_entry(l, ClientPermit, links);

                breaker_permit_report(&permit->permit, /* succeeded= */ false);
                client_permit_free(permit);
        }
}

static int method_allow(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Client *client = client_of(found->link, m);
        ClientPermit *permit;
        int r;

        r = auth_may_take(client, error);
        if (r < 0)
                return r;
        if (client->n_permits >= PERMITS_MAX)
                return bus_error(error, BUS_ERROR_QUOTA_EXCEEDED,
                        "%d permits that are not reported, no more are allowed", PERMITS_MAX);
        permit = calloc(1, sizeof(*permit));
        if (!permit)
                return bus_error_oom(error);
        list_init(&permit->links);
        list_init(&permit->permit.links);
        permit->permit.gone = on_permit_gone;
        permit->client = client;
        if (!shared_breaker_allow(found->object, &permit->permit)) {
                free(permit);
                return sd_bus_reply_method_return(m, "bt", false, UINT64_C(0));
        }
        permit->id = ++client->link->server->last_permit;
        list_append(&client->permits, &permit->links);
        client->n_permits++;
        return sd_bus_reply_method_return(m, "bt", true, permit->id);
}

static int method_report(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Client *client = client_of(found->link, m);
        int succeeded, r;
        uint64_t id;

        r = sd_bus_message_read(m, "tb", &id, &succeeded);
        if (r < 0)
                return r;
        list_for_each (l, &client->permits) {
                ClientPermit *permit = list_entry(l, ClientPermit, links);

                if (permit->id != id || permit->permit.breaker != found->object)
                        continue;
                breaker_permit_report(&permit->permit, succeeded);
                client_permit_free(permit);
                return sd_bus_reply_method_return(m, NULL);
        }
        return bus_error(
                error, BUS_ERROR_NOT_FOUND, "No permit %" PRIu64 " of this connection", id);
}

/* ---- control ---- */

static int by_hand(sd_bus_message *m, const Found *found, int (*change)(SharedBreaker *breaker),
        sd_bus_error *error) {
        BreakerView view;
        int r;

        r = auth_may_manage(client_of(found->link, m), error);
        if (r < 0)
                return r;
        r = change(found->object);
        if (r >= 0)
                return sd_bus_reply_method_return(m, NULL);
        shared_breaker_view(found->object, &view);
        return bus_error(error, BUS_ERROR_INVALID_STATE, "Only with Mode=auto, and it is %s",
                breaker_mode_to_string(view.config.mode));
}

static int method_trip(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return by_hand(m, userdata, shared_breaker_trip, error);
}

static int method_reset(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return by_hand(m, userdata, shared_breaker_reset, error);
}

static int assign(void *target, const char *name, const SettingValue *value, bool settable_only,
        char **ret_error) {
        return breaker_config_set(target, name, value, ret_error);
}

static int read_settings(sd_bus_message *m, BreakerConfig *config, sd_bus_error *error) {
        return options_read_assignments(m, assign, config, /* settable_only= */ false, error);
}

static int change_settings(const Found *found, const BreakerConfig *config, sd_bus_error *error) {
        Engine *engine = found->link->server->engine;
        SharedBreaker *breaker = found->object;
        int r;

        r = breaker->of_pool ? object_check_settable(engine, breaker->name, error) : 0;
        if (r < 0)
                return r;
        return engine_set_breaker(engine, breaker, config) < 0 ? bus_error_oom(error) : 0;
}

static int method_set(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        BreakerView view;
        int r;

        r = auth_may_manage(client_of(found->link, m), error);
        if (r < 0)
                return r;
        shared_breaker_view(found->object, &view);
        r = read_settings(m, &view.config, error);
        if (r >= 0)
                r = change_settings(found, &view.config, error);
        return r < 0 ? r : call_return_when_stored(client_of(found->link, m), m, error);
}

/* ---- properties ---- */

#define DEFINE_GETTER(name, type, expression)                                       \
        static int get_##name(sd_bus *bus, const char *path, const char *interface, \
                const char *property, sd_bus_message *reply, void *userdata,        \
                sd_bus_error *error) {                                              \
                SharedBreaker *breaker = ((const Found *) userdata)->object;        \
                BreakerView view;                                                   \
                                                                                    \
                shared_breaker_view(breaker, &view);                                \
                return sd_bus_message_append(reply, type, expression);              \
        }

DEFINE_GETTER(name, "s", breaker->name)
DEFINE_GETTER(mode, "s", breaker_mode_to_string(view.config.mode))
DEFINE_GETTER(max_failures, "u", view.config.max_failures)
DEFINE_GETTER(failure_rate_percent, "u", view.config.failure_rate_percent)
DEFINE_GETTER(window_size, "u", view.config.window_size)
DEFINE_GETTER(minimum_calls, "u", view.config.minimum_calls)
DEFINE_GETTER(reset_timeout, "t", view.config.reset_timeout)
DEFINE_GETTER(reset_timeout_max, "t", view.config.reset_timeout_max)
DEFINE_GETTER(half_open_probes, "u", view.config.half_open_probes)
DEFINE_GETTER(successes_to_close, "u", view.config.successes_to_close)
DEFINE_GETTER(state, "s", breaker_state_to_string(view.state))
DEFINE_GETTER(failures, "u", view.failures)
DEFINE_GETTER(trips, "t", view.trips)
DEFINE_GETTER(retry_after, "t", view.retry_after)
DEFINE_GETTER(in_flight, "u", view.in_flight)

static int set_setting(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *value, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        SettingValue setting;
        BreakerView view;
        char *text = NULL;
        int r;

        r = auth_may_manage(client_of(found->link, value), error);
        if (r < 0)
                return r;
        r = options_read_property(value, &setting);
        if (r < 0)
                return r;
        shared_breaker_view(found->object, &view);
        r = breaker_config_set(&view.config, property, &setting, &text);
        if (r < 0)
                return bus_error_settings(error, r, text);
        return change_settings(found, &view.config, error);
}

#define EMITS SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define SETTABLE(name, type, getter) \
        SD_BUS_WRITABLE_PROPERTY(name, type, getter, set_setting, 0, EMITS | ANYBODY)

static const sd_bus_vtable breaker_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Name", "s", get_name, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SETTABLE("Mode", "s", get_mode),
        SETTABLE("MaxFailures", "u", get_max_failures),
        SETTABLE("FailureRatePercent", "u", get_failure_rate_percent),
        SETTABLE("WindowSize", "u", get_window_size),
        SETTABLE("MinimumCalls", "u", get_minimum_calls),
        SETTABLE("ResetTimeoutUSec", "t", get_reset_timeout),
        SETTABLE("ResetTimeoutMaxUSec", "t", get_reset_timeout_max),
        SETTABLE("HalfOpenProbes", "u", get_half_open_probes),
        SETTABLE("SuccessesToClose", "u", get_successes_to_close),
        SD_BUS_PROPERTY("State", "s", get_state, 0, EMITS),
        SD_BUS_PROPERTY("Failures", "u", get_failures, 0, 0),
        SD_BUS_PROPERTY("Trips", "t", get_trips, 0, 0),
        SD_BUS_PROPERTY("RetryAfterUSec", "t", get_retry_after, 0, 0),
        SD_BUS_PROPERTY("InFlight", "u", get_in_flight, 0, 0),
        SD_BUS_METHOD_WITH_ARGS("Trip", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_trip, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Reset", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reset, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Allow", SD_BUS_NO_ARGS, SD_BUS_RESULT("b", allowed, "t", permit),
                method_allow, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Report", SD_BUS_ARGS("t", permit, "b", succeeded),
                SD_BUS_NO_RESULT, method_report, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS(
                "Set", SD_BUS_ARGS("a{sv}", settings), SD_BUS_NO_RESULT, method_set, ANYBODY),
        SD_BUS_SIGNAL_WITH_NAMES("StateChanged", "ss", SD_BUS_PARAM(old) SD_BUS_PARAM(new), 0),
        SD_BUS_VTABLE_END,
};

/* ---- the kind of object ---- */

DEFINE_OBJECT_LOOKUP(breaker, SharedBreaker, name)

static bool breaker_is_from_file(const void *object) {
        return ((const SharedBreaker *) object)->from_file;
}

static bool breaker_is_used_by(const void *object, const void *user) {
        return ((const Pool *) user)->gates.breaker == object;
}

static int create_breaker(
        sd_bus_message *m, Link *link, const char *name, void **ret, sd_bus_error *error) {
        BreakerConfig config = BREAKER_CONFIG_DEFAULT;
        SharedBreaker *breaker;
        int r;

        r = read_settings(m, &config, error);
        if (r < 0)
                return r;
        r = engine_add_breaker(link->server->engine, name, &config, &breaker);
        if (r == -ENOMEM)
                return bus_error_oom(error);
        if (r < 0)
                return bus_error(error, BUS_ERROR_LIMITS_EXCEEDED, "No timer for the breaker: %s",
                        strerror(-r));
        *ret = breaker;
        return 0;
}

static int remove_breaker(
        sd_bus_message *m, Link *link, void *object, bool cancel, sd_bus_error *error) {
        int r = engine_remove_breaker(link->server->engine, object);

        return r < 0 ? r : call_return_when_stored(client_of(link, m), m, error);
}

const ObjectKind breaker_object = {
        .noun = "breaker",
        .prefix = SLUICE_PATH "/breaker",
        .interface = "org.sluice1.Breaker",
        .vtable = breaker_vtable,
        .find = find_breaker,
        .all = all_breakers,
        .of_list = breaker_of_list,
        .name = breaker_name,
        .row = breaker_row,
        .is_from_file = breaker_is_from_file,
        .users = &pool_object,
        .is_used_by = breaker_is_used_by,
        .create = create_breaker,
        .remove = remove_breaker,
};

int breaker_bus_emit_state_changed(
        sd_bus *bus, const SharedBreaker *breaker, BreakerState old, BreakerState new) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = object_path(&breaker_object, breaker, &path);
        return r < 0 ? r
                     : sd_bus_emit_signal(bus, path, breaker_object.interface, "StateChanged", "ss",
                               breaker_state_to_string(old), breaker_state_to_string(new));
}
