/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pools at a reload. What a living one cannot take makes it go, and another one come then; but a
 * durable one keeps all that it has, and is refitted. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon-private.h"
#include "engine/breaker-config.h"
#include "engine/limiter-config.h"
#include "util/log.h"
#include "util/strv.h"

/* Can the pool take over the new settings as it is, or must it be made anew? */
static bool is_settable_change(const Pool *pool, const PoolConfig *config) {
        _cleanup_(pool_config_freep) PoolConfig *copy = NULL;

        if (pool_config_copy(pool->config, &copy) < 0)
                return false;
        copy->min_workers = config->min_workers;
        copy->max_workers = config->max_workers;
        copy->queue_max = config->queue_max;
        copy->aging_interval = config->aging_interval;
        copy->run_timeout = config->run_timeout;
        copy->overflow = config->overflow;
        copy->overflow_timeout = config->overflow_timeout;
        copy->max_attempts = config->max_attempts;
        copy->backoff = config->backoff;
        copy->backoff_max = config->backoff_max;
        copy->key_concurrency = config->key_concurrency;
        copy->batch_size = config->batch_size;
        copy->batch_timeout = config->batch_timeout;
        copy->scale_config = config->scale_config;
        /* Own limiters and breakers can change, but neither come nor go. */
        if (copy->own_breaker && config->own_breaker)
                copy->breaker_config = config->breaker_config;
        if (limiter_config_is_given(&copy->limiter_config) &&
                limiter_config_is_given(&config->limiter_config))
                copy->limiter_config = config->limiter_config;
        return pool_config_equal(copy, config);
}

int daemon_try_handlers(Daemon *daemon, const Config *config, char ***faults) {
        for (size_t i = 0; i < config->n_pools; i++) {
                PoolConfig *pool_config = config->pools[i].config;
                Pool *pool = engine_find_pool(daemon->engine, pool_config->name);
                _cleanup_free_ char *error = NULL;
                Handler *handler;
                char *fault;
                int r;

                if (pool && (pool->digest == config->pools[i].digest ||
                                    is_settable_change(pool, pool_config)))
                        continue;
                pool_config->handler_config.bus = daemon->engine->bus;
                pool_config->handler_config.units = daemon->engine->units;
                r = pool_config->handler->open(&pool_config->handler_config, &handler, &error);
                if (r >= 0) {
                        pool_config->handler->close(handler);
                        continue;
                }
                if (asprintf(&fault, "%s: %s", config->pools[i].path, error ?: strerror(-r)) < 0 ||
                        strv_push(faults, fault) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* What is to be made when the pool of that name has gone: its file has changed beyond what a living
 * pool can take, or came back while the pool was on its way out. At most one of a name: a later
 * reload changes what it will be. */
typedef struct Replacement {
        List links; /* in Daemon.replacements */
        PoolWatch watch;
        Daemon *daemon;  /* borrowed */
        ConfigPool pool; /* owned contents */
} Replacement;

/* Takes what it needs out of `from`. */
static void replacement_set(Replacement *replacement, ConfigPool *from) {
        pool_config_free(replacement->pool.config);
        free(replacement->pool.path);
        replacement->pool = (ConfigPool){
                .config = TAKE_PTR(from->config),
                .path = TAKE_PTR(from->path),
                .digest = from->digest,
        };
}

static Replacement *replacement_free(Replacement *replacement) {
        if (!replacement)
                return NULL;
        list_remove(&replacement->links);
        pool_unwatch(&replacement->watch);
        pool_config_free(replacement->pool.config);
        free(replacement->pool.path);
        free(replacement);
        return NULL;
}

static Replacement *find_replacement(Daemon *daemon, const char *name) {
        list_for_each (l, &daemon->replacements) {
                Replacement *replacement = list_entry(l, Replacement, links);

                if (strcmp(replacement->pool.config->name, name) == 0)
                        return replacement;
        }
        return NULL;
}

static void on_replaced_pool_gone(PoolWatch *watch) {
        Replacement *replacement = container_of(watch, Replacement, watch);
        _cleanup_strv_ char **faults = NULL;

        if (replacement->daemon->phase == STOP_NOT)
                (void) daemon_add_pool(replacement->daemon, &replacement->pool, &faults);
        daemon_log_faults(faults);
        daemon_make_wanted(replacement->daemon);
        replacement_free(replacement);
}

/* A pool that goes finishes its jobs first. */
static void warn_if_paused(Pool *pool, const char *why) {
        if (pool->paused && !pool_is_empty(pool))
                log_warning("Pool %s %s, but is paused and has jobs: it goes once it is resumed, "
                            "or removed with them",
                        pool->config->name, why);
}

/* The pool drains and goes, and a new one is made then. */
static int replace_pool(Daemon *daemon, Pool *pool, ConfigPool *from) {
        Replacement *replacement = find_replacement(daemon, pool->config->name);
        int r;

        if (replacement) {
                replacement_set(replacement, from);
                return 0;
        }
        replacement = calloc(1, sizeof(*replacement));
        if (!replacement)
                return -ENOMEM;
        list_append(&daemon->replacements, &replacement->links);
        list_init(&replacement->watch.links);
        replacement->watch.done = on_replaced_pool_gone;
        replacement->daemon = daemon;
        replacement_set(replacement, from);
        warn_if_paused(pool, "is to be made anew, as its settings file says");
        r = engine_remove_pool(daemon->engine, pool, /* cancel= */ false, &replacement->watch);
        if (r < 0)
                replacement_free(replacement);
        return r;
}

/* The pool is what its file says, and so are its own limiter and breaker. */
static void set_untouched(Pool *pool) {
        SharedLimiter *limiter = pool->gates.limiter;
        SharedBreaker *breaker = pool->gates.breaker;

        pool->touched = false;
        if (limiter && limiter->of_pool)
                limiter->touched = false;
        if (breaker && breaker->of_pool)
                breaker->touched = false;
}

int daemon_reload_pool(Daemon *daemon, ConfigPool *from, char ***faults) {
        Pool *pool = engine_find_pool(daemon->engine, from->config->name);
        _cleanup_(pool_config_freep) PoolConfig *origin = NULL;
        bool is_settable;
        int r;

        if (!pool)
                return daemon_add_pool(daemon, from, faults);
        if (pool->removing)
                return replace_pool(daemon, pool, from);
        if (pool->origin && pool->digest == from->digest)
                return 0;
        is_settable = !pool->refit && is_settable_change(pool, from->config);
        if (!is_settable && !(pool->store && from->config->durable))
                return replace_pool(daemon, pool, from);
        r = pool_config_copy(from->config, &origin);
        if (r < 0)
                return r;
        pool_config_free(pool->origin);
        pool->origin = TAKE_PTR(origin);
        pool->digest = from->digest;
        if (!is_settable) {
                if (from->config->fairness != pool->config->fairness)
                        log_notice("%s: Fairness is as it was until the next start", from->path);
                engine_refit_pool(daemon->engine, pool, TAKE_PTR(from->config));
                return 0;
        }
        r = engine_set_pool(daemon->engine, pool, from->config);
        set_untouched(pool);
        return r;
}

void daemon_drop_pools(Daemon *daemon, const Config *config) {
        list_for_each (l, &daemon->replacements) {
                Replacement *replacement = list_entry(l, Replacement, links);

                if (!config_find_pool(config, replacement->pool.config->name))
                        replacement_free(replacement);
        }
        list_for_each (l, &daemon->engine->pools) {
                Pool *pool = list_entry(l, Pool, links);

                if (!pool->origin || pool->removing || config_find_pool(config, pool->config->name))
                        continue;
                warn_if_paused(pool, "has no settings file any more");
                (void) engine_remove_pool(daemon->engine, pool, /* cancel= */ false, NULL);
        }
}

void daemon_forget_replacements(Daemon *daemon) {
        list_for_each (l, &daemon->replacements)
                replacement_free(list_entry(l, Replacement, links));
}
