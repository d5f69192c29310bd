/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From settings files to objects. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon-private.h"
#include "engine/durable.h"
#include "util/log.h"
#include "util/message-ids.h"
#include "util/strv.h"

Fairness daemon_fairness(const DaemonOptions *options) {
        return options->user || options->no_bus ? FAIRNESS_NONE : FAIRNESS_USER;
}

void daemon_apply_settings(Daemon *daemon, const Config *config) {
        daemon->drain_timeout = config->drain_timeout;
        daemon->engine->quota.config = config->quota;
        if (daemon->options->log_level < 0 && config->log_level >= 0)
                log_set_level(config->log_level);
}

int daemon_add_fault(char ***faults, const char *path, const char *text) {
        char *fault;
        int r;

        if (asprintf(&fault, "%s: %s", path, text) < 0)
                return -ENOMEM;
        r = strv_push(faults, fault);
        if (r < 0)
                free(fault);
        return r;
}

/* ---- what pools share ---- */

/* Makes the limiter of a settings file what the file says. */
static int load_limiter(Daemon *daemon, const ConfigLimiter *from, char ***faults) {
        SharedLimiter *limiter = engine_find_limiter(daemon->engine, from->name);
        int r;

        if (!limiter) {
                r = engine_add_limiter(daemon->engine, from->name, &from->config, &limiter);
                if (r < 0)
                        return daemon_add_fault(faults, from->path, strerror(-r)) < 0 ? -ENOMEM : r;
        } else if (!limiter->from_file || limiter->digest != from->digest)
                engine_set_limiter(daemon->engine, limiter, &from->config);
        if (!limiter->from_file || limiter->digest != from->digest)
                limiter->touched = false;
        limiter->goes = false;
        limiter->from_file = true;
        limiter->digest = from->digest;
        daemon_replace_limiter_row(daemon, from, limiter);
        return 0;
}

static int load_breaker(Daemon *daemon, const ConfigBreaker *from, char ***faults) {
        SharedBreaker *breaker = engine_find_breaker(daemon->engine, from->name);
        int r = 0;

        if (!breaker)
                r = engine_add_breaker(daemon->engine, from->name, &from->config, &breaker);
        else if (!breaker->from_file || breaker->digest != from->digest)
                r = engine_set_breaker(daemon->engine, breaker, &from->config);
        if (r < 0)
                return daemon_add_fault(faults, from->path, strerror(-r)) < 0 ? -ENOMEM : r;
        if (!breaker->from_file || breaker->digest != from->digest)
                breaker->touched = false;
        breaker->goes = false;
        breaker->from_file = true;
        breaker->digest = from->digest;
        daemon_replace_breaker_row(daemon, from, breaker);
        return 0;
}

/* What pools share, before the pools. */
int daemon_load_limiters(Daemon *daemon, const Config *config, char ***faults) {
        for (size_t i = 0; i < config->n_limiters; i++)
                if (load_limiter(daemon, &config->limiters[i], faults) == -ENOMEM)
                        return -ENOMEM;
        return 0;
}

int daemon_load_breakers(Daemon *daemon, const Config *config, char ***faults) {
        for (size_t i = 0; i < config->n_breakers; i++)
                if (load_breaker(daemon, &config->breakers[i], faults) == -ENOMEM)
                        return -ENOMEM;
        return 0;
}

/* ---- pools and pipelines ---- */

/* Makes the pool of a settings file. The text of a failure is added to `faults`. */
int daemon_add_pool(Daemon *daemon, ConfigPool *from, char ***faults) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL, *origin = NULL;
        _cleanup_free_ char *error = NULL;
        Pool *pool;
        int r;

        r = pool_config_copy(from->config, &config);
        if (r >= 0)
                r = pool_config_copy(from->config, &origin);
        if (r >= 0)
                r = daemon_change_pool(daemon, from, &config);
        if (r >= 0)
                r = engine_add_pool(daemon->engine, config, &pool, &error);
        if (r >= 0) {
                TAKE_PTR(config);
                pool->origin = TAKE_PTR(origin);
                pool->digest = from->digest;
                daemon_restore_pool_state(daemon, pool);
                engine_recover_pool(daemon->engine, pool);
                return 0;
        }
        return daemon_add_fault(faults, from->path, error ?: strerror(-r)) < 0 ? -ENOMEM : r;
}

/* Makes the pipeline of a settings file. */
int daemon_add_pipeline(Daemon *daemon, const ConfigPipeline *from, char ***faults) {
        _cleanup_free_ char *error = NULL;
        PoolPipeline *pipeline;
        int r;

        r = engine_add_pipeline(daemon->engine, from->config, &pipeline, &error);
        if (r < 0)
                return daemon_add_fault(faults, from->path, error ?: strerror(-r)) < 0 ? -ENOMEM
                                                                                       : r;
        pipeline->from_file = true;
        pipeline->digest = from->digest;
        pipeline->file_max_in_flight = from->config->max_in_flight;
        daemon_restore_pipeline_state(daemon, from, pipeline);
        engine_recover_pipeline(daemon->engine, pipeline);
        return 0;
}

/* ---- all ---- */

/* Those of a pool, or of a file that may be there no more, go sooner or later. */
static bool limiter_was_made(void *userdata, const char *name) {
        Daemon *daemon = userdata;
        const SharedLimiter *limiter = engine_find_limiter(daemon->engine, name);

        return limiter ? !limiter->of_pool && !limiter->from_file
                       : daemon_will_restore(daemon, "limiter", name);
}

static bool breaker_was_made(void *userdata, const char *name) {
        Daemon *daemon = userdata;
        const SharedBreaker *breaker = engine_find_breaker(daemon->engine, name);

        return breaker ? !breaker->of_pool && !breaker->from_file
                       : daemon_will_restore(daemon, "breaker", name);
}

static bool pool_was_made(void *userdata, const char *name) {
        Daemon *daemon = userdata;
        const Pool *pool = engine_find_pool(daemon->engine, name);

        return pool ? !pool->origin && !pool->removing : daemon_will_restore(daemon, "pool", name);
}

int daemon_read_config(Daemon *daemon, Config **ret) {
        const ConfigMade made = {
                .pool = pool_was_made,
                .limiter = limiter_was_made,
                .breaker = breaker_was_made,
                .userdata = daemon,
        };

        /* What a pool needs of the bus is found out with what else it needs of this daemon. */
        return config_load(daemon->options->dirs, daemon_fairness(daemon->options),
                HANDLER_BUS_UNKNOWN, &made, ret);
}

void daemon_log_faults(char **faults) {
        STRV_FOREACH (fault, faults)
                log_event(LOG_ERR, LOG_FIELDS(.message_id = MESSAGE_SETTINGS_FAULT), "%s", *fault);
}

int daemon_load(Daemon *daemon) {
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_strv_ char **faults = NULL;
        int r;

        r = daemon_read_config(daemon, &config);
        if (r < 0)
                return log_error_errno(r, "Cannot read the settings");
        daemon_log_faults(config->faults);
        daemon_apply_settings(daemon, config);
        /* What was made at run time comes after what has a file, and before what may name it. */
        (void) daemon_load_limiters(daemon, config, &faults);
        daemon_restore_limiters(daemon);
        (void) daemon_load_breakers(daemon, config, &faults);
        daemon_restore_breakers(daemon);
        for (size_t i = 0; i < config->n_pools; i++)
                (void) daemon_add_pool(daemon, &config->pools[i], &faults);
        daemon_restore_pools(daemon);
        for (size_t i = 0; i < config->n_pipelines; i++)
                (void) daemon_add_pipeline(daemon, &config->pipelines[i], &faults);
        daemon_restore_pipelines(daemon);
        daemon_end_restoring(daemon);
        daemon_log_faults(faults);
        return 0;
}
