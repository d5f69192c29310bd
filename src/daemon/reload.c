/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A reload: all is read and checked before anything is changed. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "daemon/daemon-private.h"
#include "engine/limiter-config.h"
#include "util/log.h"
#include "util/message-ids.h"
#include "util/strv.h"

/* One that is shared stays as long as the pools that use it. */
static bool limiter_is_taken(Engine *engine, const char *name) {
        const SharedLimiter *limiter = engine_find_limiter(engine, name);

        return limiter && !limiter->of_pool && limiter->n_users > 0;
}

static bool breaker_is_taken(Engine *engine, const char *name) {
        const SharedBreaker *breaker = engine_find_breaker(engine, name);

        return breaker && !breaker->of_pool && breaker->n_users > 0;
}

/* What a living pool has for itself, or still uses, is in the way of others of that name, which is
 * to be known before anything is changed as well. 0, also with faults, or -ENOMEM. */
static int check_names(Daemon *daemon, const Config *config, char ***faults) {
        Engine *engine = daemon->engine;
        int r = 0;

        for (size_t i = 0; i < config->n_limiters && r >= 0; i++) {
                const SharedLimiter *limiter =
                        engine_find_limiter(engine, config->limiters[i].name);

                if (limiter && limiter->of_pool)
                        r = daemon_add_fault(faults, config->limiters[i].path,
                                "a pool has a limiter of this name");
        }
        for (size_t i = 0; i < config->n_breakers && r >= 0; i++) {
                const SharedBreaker *breaker =
                        engine_find_breaker(engine, config->breakers[i].name);

                if (breaker && breaker->of_pool)
                        r = daemon_add_fault(faults, config->breakers[i].path,
                                "a pool has a breaker of this name");
        }
        for (size_t i = 0; i < config->n_pools && r >= 0; i++) {
                const PoolConfig *pool = config->pools[i].config;

                if (limiter_config_is_given(&pool->limiter_config) &&
                        limiter_is_taken(engine, pool->name))
                        r = daemon_add_fault(faults, config->pools[i].path,
                                "pools still use another limiter of this name");
                if (r >= 0 && pool->own_breaker && breaker_is_taken(engine, pool->name))
                        r = daemon_add_fault(faults, config->pools[i].path,
                                "pools still use another breaker of this name");
        }
        return r;
}

static int join_faults(char *const *faults, char **ret_error) {
        char *text = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        STRV_FOREACH (fault, faults)
                (void) fprintf(f, "%s%s", fault == faults ? "" : "\n", *fault);
        if (fclose(f) != 0) {
                free(text);
                return -ENOMEM;
        }
        *ret_error = text;
        return -EINVAL;
}

/* What has no file any more goes, once no pool uses it. */
static void retire_shared(Daemon *daemon, const Config *config) {
        list_for_each (l, &daemon->engine->limiters) {
                SharedLimiter *limiter = list_entry(l, SharedLimiter, links);

                if (limiter->from_file && !config_find_limiter(config, limiter->name))
                        engine_retire_limiter(daemon->engine, limiter);
        }
        list_for_each (l, &daemon->engine->breakers) {
                SharedBreaker *breaker = list_entry(l, SharedBreaker, links);

                if (breaker->from_file && !config_find_breaker(config, breaker->name))
                        engine_retire_breaker(daemon->engine, breaker);
        }
}

static int reload(Daemon *daemon, char **ret_error) {
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_strv_ char **faults = NULL;
        int r;

        r = daemon_read_config(daemon, &config);
        if (r < 0)
                return r;
        if (strv_length(config->faults) > 0)
                return join_faults(config->faults, ret_error);
        r = daemon_try_handlers(daemon, config, &faults);
        if (r >= 0)
                r = check_names(daemon, config, &faults);
        if (r < 0)
                return r;
        if (strv_length(faults) > 0)
                return join_faults(faults, ret_error);

        daemon_apply_settings(daemon, config);
        r = daemon_load_limiters(daemon, config, &faults);
        if (r >= 0)
                r = daemon_load_breakers(daemon, config, &faults);
        if (r < 0)
                return r;
        daemon_drop_pipelines(daemon, config);
        daemon_drop_pools(daemon, config);
        /* Before the pools, which may have the names that become free. */
        retire_shared(daemon, config);
        for (size_t i = 0; i < config->n_pools; i++) {
                r = daemon_reload_pool(daemon, &config->pools[i], &faults);
                if (r == -ENOMEM)
                        return r;
        }
        for (size_t i = 0; i < config->n_pipelines; i++) {
                r = daemon_reload_pipeline(daemon, &config->pipelines[i], &faults);
                if (r == -ENOMEM)
                        return r;
        }
        daemon->engine->misses_file = false;
        daemon_tell_kept_pools(daemon);
        return strv_length(faults) > 0 ? join_faults(faults, ret_error) : 0;
}

int daemon_reload(void *userdata, char **ret_error) {
        Daemon *daemon = userdata;
        int r;

        (void) sd_notifyf(false, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, usec_now(CLOCK_MONOTONIC));
        r = reload(daemon, ret_error);
        (void) sd_notify(false, "READY=1");
        daemon_notify_status(daemon);
        if (r < 0)
                log_event(LOG_ERR, LOG_FIELDS(.message_id = MESSAGE_RELOAD_REFUSED),
                        "Reload refused: %s", ret_error && *ret_error ? *ret_error : strerror(-r));
        else
                log_event(LOG_INFO, LOG_FIELDS(.message_id = MESSAGE_RELOADED), "Reloaded");
        return r;
}
