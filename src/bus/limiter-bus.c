/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bus/auth.h"
#include "bus/call.h"
#include "bus/error.h"
#include "bus/object.h"
#include "bus/options.h"
#include "engine/limiter-config.h"

/* ---- tokens ---- */

static int too_many(sd_bus_error *error, uint64_t n, const SharedLimiter *limiter) {
        return bus_error(error, BUS_ERROR_INVALID_ARGS,
                "%" PRIu64 " tokens, allowed are 1 to %" PRIu64 ", the burst of limiter %s", n,
                limiter->limiter.config.burst, limiter->name);
}

static int read_tokens(sd_bus_message *m, const Found *found, uint64_t *ret, sd_bus_error *error) {
        const SharedLimiter *limiter = found->object;
        int r;

        r = auth_may_take(client_of(found->link, m), error);
        if (r < 0)
                return r;
        r = sd_bus_message_read(m, "t", ret);
        if (r < 0)
                return r;
        if (*ret < 1 || *ret > limiter->limiter.config.burst)
                return too_many(error, *ret, limiter);
        return 0;
}

static int method_try_acquire(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        LimiterVerdict verdict;
        uint64_t n;
        usec_t wait;
        int r;

        r = read_tokens(m, found, &n, error);
        if (r < 0)
                return r;
        verdict = shared_limiter_try(found->object, n, &wait);
        return sd_bus_reply_method_return(m, "bt", verdict == LIMITER_TAKEN, wait);
}

static void on_acquired(AcquireWatch *watch, int result) {
        Call *call = container_of(watch, Call, acquire_watch);

        if (result == 0)
                (void) sd_bus_reply_method_return(call->message, NULL);
        else if (result == -EMSGSIZE)
                bus_reply_error(call->message, BUS_ERROR_RATE_LIMITED,
                        "The burst of the limiter was made smaller than these tokens: retry after "
                        "%" PRIu64 " us",
                        USEC_INFINITY);
        else
                bus_reply_error(call->message, BUS_ERROR_NOT_FOUND, "The limiter was removed");
        call_free(call);
}

static void on_acquire_timeout(Call *call) {
        bus_reply_error(call->message, BUS_ERROR_TIMEOUT, "No tokens within the time-out");
        call_free(call);
}

static int method_acquire(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        uint64_t n, timeout;
        Call *call = NULL;
        int r;

        r = read_tokens(m, found, &n, error);
        if (r < 0)
                return r;
        r = sd_bus_message_read(m, "t", &timeout);
        if (r < 0)
                return r;
        if (timeout > USEC_SPAN_MAX && timeout != USEC_INFINITY)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "A time-out of %" PRIu64 " us, allowed are up to %" PRIu64 " or infinity",
                        timeout, USEC_SPAN_MAX);
        r = call_new(client_of(found->link, m), m, &call, error);
        if (r < 0)
                return r;
        acquire_watch_init(&call->acquire_watch, on_acquired);
        r = shared_limiter_acquire(found->object, n, &call->acquire_watch);
        if (r > 0 && timeout > 0) {
                r = call_set_timeout(call, timeout, on_acquire_timeout);
                if (r >= 0)
                        return 1;
                r = bus_error_oom(error);
        } else if (r > 0)
                r = bus_error(error, BUS_ERROR_TIMEOUT, "No tokens at the moment");
        else if (r == 0)
                r = sd_bus_reply_method_return(m, NULL);
        else
                r = too_many(error, n, found->object);
        call_free(call);
        return r;
}

/* ---- control ---- */

static int method_drain(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        int r;

        r = auth_may_manage(client_of(found->link, m), error);
        if (r < 0)
                return r;
        shared_limiter_drain(found->object);
        return sd_bus_reply_method_return(m, NULL);
}

static int method_hold(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        uint64_t span;
        int r;

        r = auth_may_manage(client_of(found->link, m), error);
        if (r < 0)
                return r;
        r = sd_bus_message_read(m, "t", &span);
        if (r < 0)
                return r;
        if (span > USEC_SPAN_MAX && span != USEC_INFINITY)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "A hold of %" PRIu64 " us, allowed are up to %" PRIu64 " or infinity", span,
                        USEC_SPAN_MAX);
        shared_limiter_hold(found->object, span);
        return sd_bus_reply_method_return(m, NULL);
}

static int assign(void *target, const char *name, const SettingValue *value, bool settable_only,
        char **ret_error) {
        return limiter_config_set(target, name, value, ret_error);
}

static int read_settings(sd_bus_message *m, LimiterConfig *config, sd_bus_error *error) {
        char *text = NULL;
        int r;

        r = options_read_assignments(m, assign, config, /* settable_only= */ false, error);
        if (r < 0)
                return r;
        r = limiter_config_complete(config, &text);
        return r < 0 ? bus_error_settings(error, r, text) : 0;
}

static int change_settings(const Found *found, const LimiterConfig *config, sd_bus_error *error) {
        Engine *engine = found->link->server->engine;
        SharedLimiter *limiter = found->object;
        int r;

        r = limiter->of_pool ? object_check_settable(engine, limiter->name, error) : 0;
        if (r >= 0)
                engine_set_limiter(engine, limiter, config);
        return r;
}

static int method_set(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        SharedLimiter *limiter = found->object;
        LimiterConfig config = limiter->settings;
        int r;

        r = auth_may_manage(client_of(found->link, m), error);
        if (r < 0)
                return r;
        r = read_settings(m, &config, error);
        if (r < 0)
                return r;
        r = change_settings(found, &config, error);
        return r < 0 ? r : call_return_when_stored(client_of(found->link, m), m, error);
}

/* ---- properties ---- */

#define DEFINE_GETTER(name, type, expression)                                       \
        static int get_##name(sd_bus *bus, const char *path, const char *interface, \
                const char *property, sd_bus_message *reply, void *userdata,        \
                sd_bus_error *error) {                                              \
                SharedLimiter *limiter = ((const Found *) userdata)->object;        \
                                                                                    \
                return sd_bus_message_append(reply, type, expression);              \
        }

#define DEFINE_VIEW_GETTER(name, type, expression)                                  \
        static int get_##name(sd_bus *bus, const char *path, const char *interface, \
                const char *property, sd_bus_message *reply, void *userdata,        \
                sd_bus_error *error) {                                              \
                LimiterView view;                                                   \
                                                                                    \
                shared_limiter_view(((const Found *) userdata)->object, &view);     \
                return sd_bus_message_append(reply, type, expression);              \
        }

DEFINE_GETTER(name, "s", limiter->name)
DEFINE_GETTER(rate, "t", limiter->settings.rate)
DEFINE_GETTER(period, "t", limiter->settings.period)
DEFINE_GETTER(burst, "t", limiter_config_resolve(&limiter->settings).burst)
DEFINE_VIEW_GETTER(tokens, "t", view.tokens)
DEFINE_VIEW_GETTER(waiters, "u", view.n_waiters)
DEFINE_VIEW_GETTER(granted, "t", view.granted)
DEFINE_VIEW_GETTER(denied, "t", view.denied)

static int set_setting(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *value, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        SharedLimiter *limiter = found->object;
        LimiterConfig config = limiter->settings;
        SettingValue setting;
        char *text = NULL;
        int r;

        r = auth_may_manage(client_of(found->link, value), error);
        if (r < 0)
                return r;
        r = options_read_property(value, &setting);
        if (r < 0)
                return r;
        r = limiter_config_set(&config, property, &setting, &text);
        if (r < 0)
                return bus_error_settings(error, r, text);
        return change_settings(found, &config, error);
}

#define SETTABLE(name, type, getter) \
        SD_BUS_WRITABLE_PROPERTY(    \
                name, type, getter, set_setting, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE | ANYBODY)

static const sd_bus_vtable limiter_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Name", "s", get_name, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SETTABLE("Rate", "t", get_rate),
        SETTABLE("PeriodUSec", "t", get_period),
        SETTABLE("Burst", "t", get_burst),
        SD_BUS_PROPERTY("Tokens", "t", get_tokens, 0, 0),
        SD_BUS_PROPERTY("Waiters", "u", get_waiters, 0, 0),
        SD_BUS_PROPERTY("Granted", "t", get_granted, 0, 0),
        SD_BUS_PROPERTY("Denied", "t", get_denied, 0, 0),
        SD_BUS_METHOD_WITH_ARGS("TryAcquire", SD_BUS_ARGS("t", tokens),
                SD_BUS_RESULT("b", granted, "t", wait), method_try_acquire, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Acquire", SD_BUS_ARGS("t", tokens, "t", timeout), SD_BUS_NO_RESULT,
                method_acquire, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS("Drain", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_drain, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS(
                "Hold", SD_BUS_ARGS("t", usec), SD_BUS_NO_RESULT, method_hold, ANYBODY),
        SD_BUS_METHOD_WITH_ARGS(
                "Set", SD_BUS_ARGS("a{sv}", settings), SD_BUS_NO_RESULT, method_set, ANYBODY),
        SD_BUS_VTABLE_END,
};

/* ---- the kind of object ---- */

DEFINE_OBJECT_LOOKUP(limiter, SharedLimiter, name)

static bool limiter_is_from_file(const void *object) {
        return ((const SharedLimiter *) object)->from_file;
}

static bool limiter_is_used_by(const void *object, const void *user) {
        return ((const Pool *) user)->gates.limiter == object;
}

static int create_limiter(
        sd_bus_message *m, Link *link, const char *name, void **ret, sd_bus_error *error) {
        LimiterConfig config = LIMITER_CONFIG_DEFAULT;
        SharedLimiter *limiter;
        int r;

        r = read_settings(m, &config, error);
        if (r < 0)
                return r;
        r = engine_add_limiter(link->server->engine, name, &config, &limiter);
        if (r == -ENOMEM)
                return bus_error_oom(error);
        if (r < 0)
                return bus_error(error, BUS_ERROR_LIMITS_EXCEEDED, "No timer for the limiter: %s",
                        strerror(-r));
        *ret = limiter;
        return 0;
}

static int remove_limiter(
        sd_bus_message *m, Link *link, void *object, bool cancel, sd_bus_error *error) {
        int r = engine_remove_limiter(link->server->engine, object);

        return r < 0 ? r : call_return_when_stored(client_of(link, m), m, error);
}

const ObjectKind limiter_object = {
        .noun = "limiter",
        .prefix = SLUICE_PATH "/limiter",
        .interface = "org.sluice1.Limiter",
        .vtable = limiter_vtable,
        .find = find_limiter,
        .all = all_limiters,
        .of_list = limiter_of_list,
        .name = limiter_name,
        .row = limiter_row,
        .is_from_file = limiter_is_from_file,
        .users = &pool_object,
        .is_used_by = limiter_is_used_by,
        .create = create_limiter,
        .remove = remove_limiter,
};
