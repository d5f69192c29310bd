/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "bus/signals.h"
#include "daemon/daemon.h"
#include "daemon/socket.h"
#include "engine/limiter-config.h"
#include "util/log.h"
#include "util/strv.h"

/* How long workers may take to come back once all jobs were told to stop, beyond their StopTimeout.
 */
#define STOP_GRACE (5 * USEC_PER_SEC)

/* How long the last answers may take to be written. */
#define FLUSH_TIMEOUT USEC_PER_SEC

typedef enum StopPhase {
        STOP_NOT,
        STOP_DRAINING,   /* what runs may end by itself */
        STOP_CANCELLING, /* what runs was told to stop */
        STOP_DISMISSING, /* no job is left; workers leave */
        STOP_DONE,
} StopPhase;

struct Daemon {
        const DaemonOptions *options; /* borrowed */
        sd_event *event;
        Engine *engine;
        Server *server;
        char *socket_path; /* of the direct socket, where it is of our making */
        List replacements; /* Replacement.links; owned */
        List wanted;       /* WantedPipeline.links; owned */
        usec_t drain_timeout;
        bool ready; /* READY=1 was sent */
        StopPhase phase;
        sd_event_source *stop_source; /* the deadline of the phase */
};

/* ---- notifications ---- */

static void notify_status(Daemon *daemon) {
        EngineTotals totals;

        engine_totals(daemon->engine, &totals);
        (void) sd_notifyf(false, "STATUS=%" PRIu32 " pools%s", totals.n_pools,
                daemon->phase != STOP_NOT ? ", draining"
                : daemon->server->bus_is_wanted && !server_owns_name(daemon->server)
                        ? ", waiting for the bus"
                        : "");
}

static void notify_ready(Daemon *daemon) {
        if (!daemon->ready) {
                daemon->ready = true;
                (void) sd_notify(false, "READY=1");
                log_info("Ready");
        }
        notify_status(daemon);
}

static void on_name_owned(void *userdata) {
        notify_ready(userdata);
}

static void on_bus_lost(void *userdata) {
        notify_status(userdata);
}

/* ---- settings ---- */

static Fairness default_fairness(const DaemonOptions *options) {
        return options->user || options->no_bus ? FAIRNESS_NONE : FAIRNESS_USER;
}

static void log_faults(const Config *config) {
        STRV_FOREACH (fault, config->faults)
                log_error("%s", *fault);
}

static void apply_daemon_settings(Daemon *daemon, const Config *config) {
        daemon->drain_timeout = config->drain_timeout;
        if (daemon->options->log_level < 0 && config->log_level >= 0)
                log_set_level(config->log_level);
}

static int add_fault(char ***faults, const char *path, const char *text) {
        char *fault;
        int r;

        if (asprintf(&fault, "%s: %s", path, text) < 0)
                return -ENOMEM;
        r = strv_push(faults, fault);
        if (r < 0)
                free(fault);
        return r;
}

/* Makes the limiter of a settings file what the file says. */
static int load_limiter(Daemon *daemon, const ConfigLimiter *from, char ***faults) {
        SharedLimiter *limiter = engine_find_limiter(daemon->engine, from->name);
        int r;

        if (!limiter) {
                r = engine_add_limiter(daemon->engine, from->name, &from->config, &limiter);
                if (r < 0)
                        return add_fault(faults, from->path, strerror(-r)) < 0 ? -ENOMEM : r;
        } else if (!limiter->from_file || limiter->digest != from->digest)
                engine_set_limiter(daemon->engine, limiter, &from->config);
        limiter->goes = false;
        limiter->from_file = true;
        limiter->digest = from->digest;
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
                return add_fault(faults, from->path, strerror(-r)) < 0 ? -ENOMEM : r;
        breaker->goes = false;
        breaker->from_file = true;
        breaker->digest = from->digest;
        return 0;
}

/* What pools share, before the pools. */
static int load_shared(Daemon *daemon, const Config *config, char ***faults) {
        for (size_t i = 0; i < config->n_limiters; i++)
                if (load_limiter(daemon, &config->limiters[i], faults) == -ENOMEM)
                        return -ENOMEM;
        for (size_t i = 0; i < config->n_breakers; i++)
                if (load_breaker(daemon, &config->breakers[i], faults) == -ENOMEM)
                        return -ENOMEM;
        return 0;
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

/* Makes the pool of a settings file. The text of a failure is added to `faults`. */
static int add_configured_pool(Daemon *daemon, ConfigPool *from, char ***faults) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL, *origin = NULL;
        _cleanup_free_ char *error = NULL;
        Pool *pool;
        int r;

        r = pool_config_copy(from->config, &config);
        if (r >= 0)
                r = pool_config_copy(from->config, &origin);
        if (r >= 0)
                r = engine_add_pool(daemon->engine, config, &pool, &error);
        if (r >= 0) {
                TAKE_PTR(config);
                pool->origin = TAKE_PTR(origin);
                pool->digest = from->digest;
                return 0;
        }
        return add_fault(faults, from->path, error ?: strerror(-r)) < 0 ? -ENOMEM : r;
}

/* Those of a pool, or of a file that may be there no more, go sooner or later. */
static bool limiter_was_made(void *userdata, const char *name) {
        const SharedLimiter *limiter = engine_find_limiter(userdata, name);

        return limiter && !limiter->of_pool && !limiter->from_file;
}

static bool breaker_was_made(void *userdata, const char *name) {
        const SharedBreaker *breaker = engine_find_breaker(userdata, name);

        return breaker && !breaker->of_pool && !breaker->from_file;
}

static bool pool_was_made(void *userdata, const char *name) {
        const Pool *pool = engine_find_pool(userdata, name);

        return pool && !pool->origin && !pool->removing;
}

static int load_config(Daemon *daemon, Config **ret) {
        const ConfigMade made = {
                .pool = pool_was_made,
                .limiter = limiter_was_made,
                .breaker = breaker_was_made,
                .userdata = daemon->engine,
        };

        return config_load(daemon->options->dirs, default_fairness(daemon->options), &made, ret);
}

/* Makes the pipeline of a settings file. */
static int add_configured_pipeline(Daemon *daemon, const ConfigPipeline *from, char ***faults) {
        _cleanup_free_ char *error = NULL;
        PoolPipeline *pipeline;
        int r;

        r = engine_add_pipeline(daemon->engine, from->config, &pipeline, &error);
        if (r < 0)
                return add_fault(faults, from->path, error ?: strerror(-r)) < 0 ? -ENOMEM : r;
        pipeline->from_file = true;
        pipeline->digest = from->digest;
        return 0;
}

static int load_pools(Daemon *daemon) {
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_strv_ char **faults = NULL;
        int r;

        r = load_config(daemon, &config);
        if (r < 0)
                return log_error_errno(r, "Cannot read the settings");
        log_faults(config);
        apply_daemon_settings(daemon, config);
        (void) load_shared(daemon, config, &faults);
        for (size_t i = 0; i < config->n_pools; i++)
                (void) add_configured_pool(daemon, &config->pools[i], &faults);
        for (size_t i = 0; i < config->n_pipelines; i++)
                (void) add_configured_pipeline(daemon, &config->pipelines[i], &faults);
        STRV_FOREACH (fault, faults)
                log_error("%s", *fault);
        return 0;
}

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

/* What is to be made when the pipeline of that name has gone, and its pools are there: what it is
 * made of has changed, or its file came back while it was on its way out. At most one of a name. */
typedef struct WantedPipeline {
        List links; /* in Daemon.wanted */
        PoolWatch watch;
        Daemon *daemon;          /* borrowed */
        ConfigPipeline pipeline; /* owned contents */
} WantedPipeline;

static WantedPipeline *wanted_free(WantedPipeline *wanted) {
        if (!wanted)
                return NULL;
        list_remove(&wanted->links);
        pool_unwatch(&wanted->watch);
        pipeline_config_free(wanted->pipeline.config);
        free(wanted->pipeline.path);
        free(wanted);
        return NULL;
}

static WantedPipeline *find_wanted(Daemon *daemon, const char *name) {
        list_for_each (l, &daemon->wanted) {
                WantedPipeline *wanted = list_entry(l, WantedPipeline, links);

                if (strcmp(wanted->pipeline.config->name, name) == 0)
                        return wanted;
        }
        return NULL;
}

/* Is a pool still on its way out, so that it may be made anew? */
static bool waits_for_pools(Daemon *daemon, const PipelineConfig *config) {
        STRV_FOREACH (name, config->stages) {
                const Pool *pool = engine_find_pool(daemon->engine, *name);

                if (pool && pool->removing)
                        return true;
        }
        return false;
}

/* Makes those that can be. */
static void make_wanted(Daemon *daemon) {
        _cleanup_strv_ char **faults = NULL;

        list_for_each (l, &daemon->wanted) {
                WantedPipeline *wanted = list_entry(l, WantedPipeline, links);
                const PipelineConfig *config = wanted->pipeline.config;

                if (engine_find_pipeline(daemon->engine, config->name) ||
                        waits_for_pools(daemon, config))
                        continue;
                if (daemon->phase == STOP_NOT)
                        (void) add_configured_pipeline(daemon, &wanted->pipeline, &faults);
                wanted_free(wanted);
        }
        STRV_FOREACH (fault, faults)
                log_error("%s", *fault);
}

static void on_wanted_can_come(PoolWatch *watch) {
        make_wanted(container_of(watch, WantedPipeline, watch)->daemon);
}

/* The pipeline that there is drains and goes, and this one is made then. */
static int replace_pipeline(Daemon *daemon, PoolPipeline *pipeline, ConfigPipeline *from) {
        WantedPipeline *wanted = find_wanted(daemon, from->config->name);

        if (!wanted) {
                wanted = calloc(1, sizeof(*wanted));
                if (!wanted)
                        return -ENOMEM;
                *wanted = (WantedPipeline){ .daemon = daemon, .watch.done = on_wanted_can_come };
                list_init(&wanted->watch.links);
                list_append(&daemon->wanted, &wanted->links);
        }
        pipeline_config_free(wanted->pipeline.config);
        free(wanted->pipeline.path);
        wanted->pipeline = (ConfigPipeline){
                .config = TAKE_PTR(from->config),
                .path = TAKE_PTR(from->path),
                .digest = from->digest,
        };
        if (!pipeline || list_is_linked(&wanted->watch.links))
                return 0;
        return engine_remove_pipeline(
                daemon->engine, pipeline, /* cancel= */ false, &wanted->watch);
}

/* Has it these stages, and do they stay? */
static bool has_stages(const PoolPipeline *pipeline, const PipelineConfig *config) {
        if (pipeline->pipeline.n_stages != strv_length(config->stages))
                return false;
        for (uint32_t i = 0; i < pipeline->pipeline.n_stages; i++)
                if (pipeline->stages[i]->removing ||
                        strcmp(pipeline->stages[i]->config->name, config->stages[i]) != 0)
                        return false;
        return true;
}

static int reload_pipeline(Daemon *daemon, ConfigPipeline *from, char ***faults) {
        PoolPipeline *pipeline = engine_find_pipeline(daemon->engine, from->config->name);

        if (!pipeline && waits_for_pools(daemon, from->config))
                return replace_pipeline(daemon, NULL, from);
        if (!pipeline)
                return add_configured_pipeline(daemon, from, faults);
        if (pipeline->removing || !has_stages(pipeline, from->config))
                return replace_pipeline(daemon, pipeline, from);
        if (!pipeline->from_file || pipeline->digest != from->digest)
                engine_set_pipeline(daemon->engine, pipeline, from->config);
        pipeline->from_file = true;
        pipeline->digest = from->digest;
        return 0;
}

/* Removes the pipelines whose file has gone, and forgets those that were still to be made. */
static void drop_pipelines(Daemon *daemon, const Config *config) {
        list_for_each (l, &daemon->wanted) {
                WantedPipeline *wanted = list_entry(l, WantedPipeline, links);

                if (!config_find_pipeline(config, wanted->pipeline.config->name))
                        wanted_free(wanted);
        }
        list_for_each (l, &daemon->engine->pipelines) {
                PoolPipeline *pipeline = list_entry(l, PoolPipeline, links);

                if (pipeline->from_file && !pipeline->removing &&
                        !config_find_pipeline(config, pipeline->name))
                        (void) engine_remove_pipeline(
                                daemon->engine, pipeline, /* cancel= */ false, NULL);
        }
}

/* Whoever made a pipeline by hand keeps the pools that it has. */
static void tell_kept_pools(Daemon *daemon) {
        list_for_each (l, &daemon->engine->pipelines) {
                const PoolPipeline *pipeline = list_entry(l, PoolPipeline, links);

                for (uint32_t i = 0; !pipeline->removing && i < pipeline->pipeline.n_stages; i++)
                        if (pipeline->stages[i]->removing)
                                log_warning("Pool %s takes no jobs any more, and goes once the "
                                            "pipeline %s is removed",
                                        pipeline->stages[i]->config->name, pipeline->name);
        }
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
                (void) add_configured_pool(replacement->daemon, &replacement->pool, &faults);
        STRV_FOREACH (fault, faults)
                log_error("%s", *fault);
        make_wanted(replacement->daemon);
        replacement_free(replacement);
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
        r = engine_remove_pool(daemon->engine, pool, /* cancel= */ false, &replacement->watch);
        if (r < 0)
                replacement_free(replacement);
        return r;
}

static int reload_pool(Daemon *daemon, ConfigPool *from, char ***faults) {
        Pool *pool = engine_find_pool(daemon->engine, from->config->name);
        int r;

        if (!pool)
                return add_configured_pool(daemon, from, faults);
        if (pool->removing)
                return replace_pool(daemon, pool, from);
        if (pool->origin && pool->digest == from->digest)
                return 0;
        if (!is_settable_change(pool, from->config))
                return replace_pool(daemon, pool, from);
        r = engine_set_pool(daemon->engine, pool, from->config);
        pool->digest = from->digest;
        if (!pool->origin)
                (void) pool_config_copy(from->config, &pool->origin);
        return r;
}

/* Removes the pools whose file has gone, and forgets those that were still to be made. */
static void drop_pools(Daemon *daemon, const Config *config) {
        list_for_each (l, &daemon->replacements) {
                Replacement *replacement = list_entry(l, Replacement, links);

                if (!config_find_pool(config, replacement->pool.config->name))
                        replacement_free(replacement);
        }
        list_for_each (l, &daemon->engine->pools) {
                Pool *pool = list_entry(l, Pool, links);

                if (pool->origin && !pool->removing &&
                        !config_find_pool(config, pool->config->name))
                        (void) engine_remove_pool(daemon->engine, pool, /* cancel= */ false, NULL);
        }
}

/* Some faults show only when a handler is opened, as that of a plug-in that is not there. They must
 * show before anything is changed. 0, also with faults, or -ENOMEM. */
static int try_handlers(Daemon *daemon, const Config *config, char ***faults) {
        for (size_t i = 0; i < config->n_pools; i++) {
                const PoolConfig *pool_config = config->pools[i].config;
                Pool *pool = engine_find_pool(daemon->engine, pool_config->name);
                _cleanup_free_ char *error = NULL;
                Handler *handler;
                char *fault;
                int r;

                if (pool && (pool->digest == config->pools[i].digest ||
                                    is_settable_change(pool, pool_config)))
                        continue;
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
                        r = add_fault(faults, config->limiters[i].path,
                                "a pool has a limiter of this name");
        }
        for (size_t i = 0; i < config->n_breakers && r >= 0; i++) {
                const SharedBreaker *breaker =
                        engine_find_breaker(engine, config->breakers[i].name);

                if (breaker && breaker->of_pool)
                        r = add_fault(faults, config->breakers[i].path,
                                "a pool has a breaker of this name");
        }
        for (size_t i = 0; i < config->n_pools && r >= 0; i++) {
                const PoolConfig *pool = config->pools[i].config;

                if (limiter_config_is_given(&pool->limiter_config) &&
                        limiter_is_taken(engine, pool->name))
                        r = add_fault(faults, config->pools[i].path,
                                "pools still use another limiter of this name");
                if (r >= 0 && pool->own_breaker && breaker_is_taken(engine, pool->name))
                        r = add_fault(faults, config->pools[i].path,
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

static int reload(Daemon *daemon, char **ret_error) {
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_strv_ char **faults = NULL;
        int r;

        r = load_config(daemon, &config);
        if (r < 0)
                return r;
        if (strv_length(config->faults) > 0)
                return join_faults(config->faults, ret_error);
        r = try_handlers(daemon, config, &faults);
        if (r >= 0)
                r = check_names(daemon, config, &faults);
        if (r < 0)
                return r;
        if (strv_length(faults) > 0)
                return join_faults(faults, ret_error);

        apply_daemon_settings(daemon, config);
        r = load_shared(daemon, config, &faults);
        if (r < 0)
                return r;
        drop_pipelines(daemon, config);
        drop_pools(daemon, config);
        /* Before the pools, which may have the names that become free. */
        retire_shared(daemon, config);
        for (size_t i = 0; i < config->n_pools; i++) {
                r = reload_pool(daemon, &config->pools[i], &faults);
                if (r == -ENOMEM)
                        return r;
        }
        for (size_t i = 0; i < config->n_pipelines; i++) {
                r = reload_pipeline(daemon, &config->pipelines[i], &faults);
                if (r == -ENOMEM)
                        return r;
        }
        tell_kept_pools(daemon);
        return strv_length(faults) > 0 ? join_faults(faults, ret_error) : 0;
}

static int notify_and_reload(void *userdata, char **ret_error) {
        Daemon *daemon = userdata;
        int r;

        (void) sd_notifyf(false, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, usec_now(CLOCK_MONOTONIC));
        r = reload(daemon, ret_error);
        (void) sd_notify(false, "READY=1");
        notify_status(daemon);
        if (r < 0)
                log_error(
                        "Reload refused: %s", ret_error && *ret_error ? *ret_error : strerror(-r));
        else
                log_info("Reloaded");
        return r;
}

static const ServerOps server_ops = {
        .reload = notify_and_reload,
};

/* ---- stopping ---- */

static int on_stop_deadline(sd_event_source *source, uint64_t usec, void *userdata);

static void arm_stop_deadline(Daemon *daemon, usec_t timeout) {
        daemon->stop_source = sd_event_source_disable_unref(daemon->stop_source);
        if (sd_event_add_time_relative(daemon->event, &daemon->stop_source, CLOCK_MONOTONIC,
                    timeout, 10 * USEC_PER_MSEC, on_stop_deadline, daemon) < 0)
                daemon->phase = STOP_DONE;
}

static usec_t longest_stop_timeout(Daemon *daemon) {
        usec_t longest = 0;

        list_for_each (l, &daemon->engine->pools)
                longest = MAX(longest, list_entry(l, Pool, links)->stop_timeout);
        return MIN(longest, 30 * USEC_PER_SEC);
}

static void cancel_running(Daemon *daemon) {
        daemon->phase = STOP_CANCELLING;
        engine_cancel_running(daemon->engine);
        arm_stop_deadline(daemon, usec_add(longest_stop_timeout(daemon), STOP_GRACE));
}

static int on_stop_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        Daemon *daemon = userdata;

        if (daemon->phase == STOP_DRAINING) {
                log_notice("Jobs still run: they are cancelled");
                cancel_running(daemon);
        } else {
                log_error("Some workers do not come back: stopping without them");
                daemon->phase = STOP_DONE;
        }
        return 0;
}

static void begin_stop(Daemon *daemon) {
        char span[FORMAT_USEC_MAX];

        daemon->phase = STOP_DRAINING;
        (void) sd_notify(false, "STOPPING=1");
        notify_status(daemon);
        log_info("Stopping: what runs has %s to end", format_usec(span, daemon->drain_timeout));
        engine_shut_down(daemon->engine);
        signals_tell_state(daemon->server);
        arm_stop_deadline(daemon, daemon->drain_timeout);
}

/* A second request to stop is impatience. */
static int on_stop_signal(
        sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Daemon *daemon = userdata;

        if (daemon->phase == STOP_NOT)
                begin_stop(daemon);
        else if (daemon->phase == STOP_DRAINING) {
                log_notice("Stopping at once");
                cancel_running(daemon);
        }
        return 0;
}

/* Moves on to the next phase once there is nothing left of this one. */
static void proceed_to_stop(Daemon *daemon) {
        if ((daemon->phase == STOP_DRAINING || daemon->phase == STOP_CANCELLING) &&
                engine_is_quiet(daemon->engine)) {
                daemon->phase = STOP_DISMISSING;
                engine_dismiss(daemon->engine);
                arm_stop_deadline(daemon, STOP_GRACE);
                engine_turn(daemon->engine);
        }
        if (daemon->phase == STOP_DISMISSING && list_is_empty(&daemon->engine->pools))
                daemon->phase = STOP_DONE;
}

/* ---- life ---- */

static int on_reload_signal(
        sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        _cleanup_free_ char *error = NULL;
        Daemon *daemon = userdata;

        /* A pool that is made now would take jobs, and nobody would dismiss it. */
        if (daemon->phase != STOP_NOT)
                log_notice("Reload refused: sluiced is shutting down");
        else
                (void) notify_and_reload(daemon, &error);
        return 0;
}

static int add_signals(Daemon *daemon) {
        sigset_t mask;
        int r;

        /* Before the first thread: workers inherit the mask. */
        (void) sigfillset(&mask);
        (void) sigdelset(&mask, SIGSEGV);
        (void) sigdelset(&mask, SIGBUS);
        (void) sigdelset(&mask, SIGILL);
        (void) sigdelset(&mask, SIGFPE);
        (void) sigdelset(&mask, SIGABRT);
        (void) sigdelset(&mask, SIGSYS);
        (void) sigdelset(&mask, SIGTRAP);
        (void) sigprocmask(SIG_SETMASK, &mask, NULL);

        r = sd_event_add_signal(daemon->event, NULL, SIGTERM, on_stop_signal, daemon);
        if (r >= 0)
                r = sd_event_add_signal(daemon->event, NULL, SIGINT, on_stop_signal, daemon);
        if (r >= 0)
                r = sd_event_add_signal(daemon->event, NULL, SIGHUP, on_reload_signal, daemon);
        if (r < 0)
                return log_error_errno(r, "Cannot watch for signals");
        /* By WatchdogSec= of the unit; nothing without it. */
        r = sd_event_set_watchdog(daemon->event, true);
        return r < 0 ? log_error_errno(r, "Cannot serve the watchdog") : 0;
}

static int open_socket(Daemon *daemon) {
        const DaemonOptions *options = daemon->options;
        int fd, r;

        r = socket_open(options->listen, options->user, &fd, &daemon->socket_path);
        if (r == -ENOENT && !options->listen)
                return 0;
        if (r < 0 && !options->listen && !options->no_bus) {
                (void) log_warning_errno(r, "No direct socket");
                return 0;
        }
        if (r < 0)
                return log_error_errno(
                        r, "Cannot listen on %s", options->listen ?: "the direct socket");
        r = server_listen(daemon->server, fd);
        return r < 0 ? log_error_errno(r, "Cannot serve the direct socket") : 0;
}

int daemon_new(const DaemonOptions *options, Daemon **ret) {
        _cleanup_(daemon_freep) Daemon *daemon = NULL;
        int r;

        daemon = calloc(1, sizeof(*daemon));
        if (!daemon)
                return log_error_errno(-ENOMEM, "Cannot start");
        daemon->options = options;
        daemon->drain_timeout = DRAIN_TIMEOUT_MAX;
        list_init(&daemon->replacements);
        list_init(&daemon->wanted);

        r = sd_event_default(&daemon->event);
        if (r >= 0)
                r = add_signals(daemon);
        if (r >= 0)
                r = engine_new(daemon->event, &daemon->engine);
        if (r >= 0)
                r = server_new(daemon->engine, &server_ops, daemon, &daemon->server);
        if (r < 0)
                return log_error_errno(r, "Cannot start");
        daemon->server->fairness = default_fairness(options);
        daemon->server->name_owned = on_name_owned;
        daemon->server->bus_lost = on_bus_lost;

        r = load_pools(daemon);
        if (r < 0)
                return r;
        r = open_socket(daemon);
        if (r < 0)
                return r;
        if (options->no_bus)
                notify_ready(daemon);
        else {
                r = server_connect_bus(daemon->server, options->user);
                if (r < 0)
                        return log_error_errno(r,
                                "Cannot connect to the %s bus; --no-bus would do without it",
                                options->user ? "session" : "system");
        }
        *ret = TAKE_PTR(daemon);
        return 0;
}

int daemon_run(Daemon *daemon) {
        for (;;) {
                int r;

                engine_turn(daemon->engine);
                if (daemon->phase != STOP_NOT) {
                        proceed_to_stop(daemon);
                        if (daemon->phase == STOP_DONE)
                                break;
                }
                r = sd_event_run(daemon->event, UINT64_MAX);
                if (r < 0)
                        return log_error_errno(r, "The event loop failed");
        }

        /* While we listen on it nobody else can have put another one there. */
        if (daemon->socket_path)
                (void) unlink(daemon->socket_path);
        server_stop_listening(daemon->server);
        server_flush(daemon->server, FLUSH_TIMEOUT);
        if (!list_is_empty(&daemon->engine->pools)) {
                /* A plug-in that does not come back holds a thread that nobody can end. */
                log_error("Exiting with workers that do not come back");
                _exit(EXIT_FAILURE);
        }
        return 0;
}

Daemon *daemon_free(Daemon *daemon) {
        if (!daemon)
                return NULL;
        /* Pools that were made before a start failed. */
        if (daemon->engine && !list_is_empty(&daemon->engine->pools)) {
                engine_dismiss(daemon->engine);
                while (!list_is_empty(&daemon->engine->pools)) {
                        engine_turn(daemon->engine);
                        if (!list_is_empty(&daemon->engine->pools))
                                (void) sd_event_run(daemon->event, UINT64_MAX);
                }
        }
        list_for_each (l, &daemon->replacements)
                replacement_free(list_entry(l, Replacement, links));
        list_for_each (l, &daemon->wanted)
                wanted_free(list_entry(l, WantedPipeline, links));
        sd_event_source_disable_unref(daemon->stop_source);
        server_free(daemon->server);
        engine_free(daemon->engine);
        sd_event_unref(daemon->event);
        free(daemon->socket_path);
        free(daemon);
        return NULL;
}
