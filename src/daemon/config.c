/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is shared is read before those who name it: limiters and breakers, pools, pipelines. Whoever
 * names something with a fault has one as well. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/config.h"
#include "daemon/unit.h"
#include "engine/breaker-config.h"
#include "engine/limiter-config.h"
#include "util/log.h"
#include "util/parse.h"
#include "util/strv.h"

/* The name of the object that the file is for. 0 with NULL, and a fault, if it can be none. */
static int name_of_file(Config *config, const char *path, const char *kind, char **ret) {
        const char *file_name = base_name(path), *dot = strrchr(file_name, '.');
        _cleanup_free_ char *name = strndup(file_name, (size_t) (dot - file_name)), *text = NULL;

        if (!name)
                return -ENOMEM;
        *ret = NULL;
        if (name_is_valid(name)) {
                *ret = TAKE_PTR(name);
                return 0;
        }
        if (asprintf(&text,
                    "a %s's name is 1 to 64 of A-Z a-z 0-9 _ - . and starts with neither . nor -",
                    kind) < 0)
                return -ENOMEM;
        return faults_add(&config->faults, path, 1, text);
}

/* Where files are looked for, and what decides about what is in them. */
typedef struct Loading {
        Config *config;
        char *const *dirs;
        Fairness fairness; /* of pools that do not say */
        HandlerBus bus;
        const ConfigMade *made; /* NULL = nothing */
} Loading;

/* Loads all files of a kind, in the order of their names. */
static int load_all(const Loading *loading, const char *suffix,
        int (*load)(const Loading *loading, const char *path)) {
        _cleanup_strv_ char **paths = NULL;
        int r;

        r = find_settings_files(&loading->config->faults, loading->dirs, NULL, suffix, &paths);
        if (r < 0)
                return r;
        STRV_FOREACH (path, paths) {
                r = load(loading, *path);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Makes room for one more in an array of n. */
static int reserve_one(void *array, size_t n, size_t size) {
        void *bigger = reallocarray(*(void **) array, n + 1, size);

        if (!bigger)
                return -ENOMEM;
        *(void **) array = bigger;
        return 0;
}

/* ---- limiters ---- */

static int open_in_limiter(void *target, const char *section, char **ret_error) {
        return setting_check_section(limiter_settings, n_limiter_settings, section, ret_error);
}

static int set_in_limiter(
        void *target, const char *section, const char *key, const char *value, char **ret_error) {
        return limiter_config_set_in_section(target, section, key, value, ret_error);
}

static int config_add_limiter(Config *config, const LimiterConfig *limiter, const char *name,
        const char *path, uint64_t d) {
        _cleanup_free_ char *own_name = strdup(name), *own_path = strdup(path);

        if (!own_name || !own_path ||
                reserve_one(&config->limiters, config->n_limiters, sizeof(*config->limiters)) < 0)
                return -ENOMEM;
        config->limiters[config->n_limiters++] = (ConfigLimiter){
                .config = *limiter,
                .name = TAKE_PTR(own_name),
                .path = TAKE_PTR(own_path),
                .digest = d,
        };
        return 0;
}

static int load_limiter(const Loading *loading, const char *path) {
        Config *config = loading->config;
        _cleanup_free_ char *name = NULL, *error = NULL;
        LimiterConfig limiter = LIMITER_CONFIG_DEFAULT;
        _cleanup_(unit_done) Unit unit = {
                .faults = &config->faults,
                .open = open_in_limiter,
                .set = set_in_limiter,
                .target = &limiter,
                .digest = DIGEST_INIT,
        };
        int r;

        r = name_of_file(config, path, "limiter", &name);
        if (r < 0 || !name)
                return r;
        r = unit_load(&unit, loading->dirs, base_name(path), path);
        if (r < 0 || !unit.found || unit.faulty)
                return r;
        r = limiter_config_complete(&limiter, &error);
        if (r < 0)
                return error ? unit_fault_of_setting(&unit, "Limiter", "Rate", error) : r;
        return config_add_limiter(config, &limiter, name, path, unit.digest);
}

/* ---- breakers ---- */

static int open_in_breaker(void *target, const char *section, char **ret_error) {
        return setting_check_section(breaker_settings, n_breaker_settings, section, ret_error);
}

static int set_in_breaker(
        void *target, const char *section, const char *key, const char *value, char **ret_error) {
        return breaker_config_set_in_section(target, section, key, value, ret_error);
}

static int config_add_breaker(Config *config, const BreakerConfig *breaker, const char *name,
        const char *path, uint64_t d) {
        _cleanup_free_ char *own_name = strdup(name), *own_path = strdup(path);

        if (!own_name || !own_path ||
                reserve_one(&config->breakers, config->n_breakers, sizeof(*config->breakers)) < 0)
                return -ENOMEM;
        config->breakers[config->n_breakers++] = (ConfigBreaker){
                .config = *breaker,
                .name = TAKE_PTR(own_name),
                .path = TAKE_PTR(own_path),
                .digest = d,
        };
        return 0;
}

static int load_breaker(const Loading *loading, const char *path) {
        Config *config = loading->config;
        BreakerConfig breaker = BREAKER_CONFIG_DEFAULT;
        _cleanup_(unit_done) Unit unit = {
                .faults = &config->faults,
                .open = open_in_breaker,
                .set = set_in_breaker,
                .target = &breaker,
                .digest = DIGEST_INIT,
        };
        _cleanup_free_ char *name = NULL;
        int r;

        r = name_of_file(config, path, "breaker", &name);
        if (r < 0 || !name)
                return r;
        r = unit_load(&unit, loading->dirs, base_name(path), path);
        if (r < 0 || !unit.found || unit.faulty)
                return r;
        return config_add_breaker(config, &breaker, name, path, unit.digest);
}

/* ---- pools ---- */

static int open_in_pool(void *target, const char *section, char **ret_error) {
        return pool_config_open_section(target, section, ret_error);
}

static int set_in_pool(
        void *target, const char *section, const char *key, const char *value, char **ret_error) {
        return pool_config_set_in_section(target, section, key, value, ret_error);
}

/* Makes the pool's handler for a moment. Only that shows whether it can be had: whether there is
 * such a plug-in, which may be trusted, and likes its options. Found out only when the pool is
 * made, it would be too late for a reload to change nothing. The text starts with KEY=. */
static int unit_try_handler(Unit *unit, const PoolConfig *pool) {
        _cleanup_free_ char *text = NULL, *key = NULL;
        Handler *handler;
        int r;

        r = pool->handler->open(&pool->handler_config, &handler, &text);
        if (r >= 0) {
                pool->handler->close(handler);
                return 0;
        }
        if (!text)
                return r;
        key = strndup(text, strcspn(text, "="));
        if (!key)
                return -ENOMEM;
        return unit_fault_of_setting(unit, pool->handler->section, key, text);
}

/* Takes the pool over. */
static int config_add_pool(Config *config, PoolConfig *pool, const char *path, uint64_t d) {
        _cleanup_free_ char *copy = strdup(path);

        if (!copy || reserve_one(&config->pools, config->n_pools, sizeof(*config->pools)) < 0)
                return -ENOMEM;
        config->pools[config->n_pools++] =
                (ConfigPool){ .config = pool, .path = TAKE_PTR(copy), .digest = d };
        return 0;
}

static bool limiter_was_made(const ConfigMade *made, const char *name) {
        return made && made->limiter(made->userdata, name);
}

static bool breaker_was_made(const ConfigMade *made, const char *name) {
        return made && made->breaker(made->userdata, name);
}

/* What the pool shares with others has to be there, and what is its own has the name for itself. */
static int check_shared(
        Config *config, const ConfigMade *made, const PoolConfig *pool, Unit *unit) {
        const char *name = pool->name;
        int r = 0;

        if (pool->limiter && !config_find_limiter(config, pool->limiter) &&
                !limiter_was_made(made, pool->limiter))
                r = unit_fault_of_name(unit, "Pool", "Limiter",
                        "there is no %s.limiter without a fault", pool->limiter);
        if (r >= 0 && limiter_config_is_given(&pool->limiter_config)) {
                if (config_find_limiter(config, name))
                        r = unit_fault_of_name(
                                unit, "Limiter", "Rate", "there is a %s.limiter as well", name);
                else if (limiter_was_made(made, name))
                        r = unit_fault_of_name(unit, "Limiter", "Rate",
                                "a limiter %s was made at run time as well", name);
        }
        if (r >= 0 && pool->breaker && !config_find_breaker(config, pool->breaker) &&
                !breaker_was_made(made, pool->breaker))
                r = unit_fault_of_name(unit, "Pool", "Breaker",
                        "there is no %s.breaker without a fault", pool->breaker);
        if (r >= 0 && pool->own_breaker) {
                if (config_find_breaker(config, name))
                        r = unit_fault_of_name(
                                unit, "Breaker", "Breaker", "there is a %s.breaker as well", name);
                else if (breaker_was_made(made, name))
                        r = unit_fault_of_name(unit, "Breaker", "Breaker",
                                "a breaker %s was made at run time as well", name);
        }
        return r;
}

static int load_pool(const Loading *loading, const char *path) {
        Config *config = loading->config;
        _cleanup_(pool_config_freep) PoolConfig *pool = NULL;
        _cleanup_(unit_done) Unit unit = {
                .faults = &config->faults,
                .open = open_in_pool,
                .set = set_in_pool,
                .digest = DIGEST_INIT,
        };
        _cleanup_free_ char *name = NULL;
        int r;

        r = name_of_file(config, path, "pool", &name);
        if (r < 0 || !name)
                return r;

        r = pool_config_new(name, loading->fairness, &pool);
        if (r < 0)
                return r;
        unit.target = pool;

        r = unit_load(&unit, loading->dirs, base_name(path), path);
        if (r < 0)
                return r;
        if (!unit.found)
                return 0;

        /* With lines missing, what shows in the whole would mostly be what these lines said. */
        if (!unit.faulty) {
                r = pool_config_complete_all(pool, unit_fault_of_setting, &unit);
                if (r < 0 && !unit.faulty)
                        return r;
                r = check_shared(config, loading->made, pool, &unit);
                if (r < 0)
                        return r;
        }
        if (!unit.faulty) {
                pool->handler_config.bus = loading->bus;
                r = unit_try_handler(&unit, pool);
                if (r < 0)
                        return r;
        }
        if (unit.faulty)
                return 0;

        r = config_add_pool(config, pool, path, unit.digest);
        if (r < 0)
                return r;
        (void) TAKE_PTR(pool); /* the config owns it now */
        return 0;
}

/* ---- pipelines ---- */

static int open_in_pipeline(void *target, const char *section, char **ret_error) {
        return setting_check_section(pipeline_settings, n_pipeline_settings, section, ret_error);
}

static int set_in_pipeline(
        void *target, const char *section, const char *key, const char *value, char **ret_error) {
        return pipeline_config_set_in_section(target, section, key, value, ret_error);
}

static bool pool_was_made(const ConfigMade *made, const char *name) {
        return made && made->pool(made->userdata, name);
}

/* The stages have to be there. */
static int check_stages(
        Config *config, const ConfigMade *made, const PipelineConfig *pipeline, Unit *unit) {
        _cleanup_free_ char *error = NULL;
        int r;

        r = pipeline_config_complete(pipeline, &error);
        if (r < 0)
                return error ? unit_fault_of_setting(unit, "Pipeline", "Stages", error) : r;
        STRV_FOREACH (name, pipeline->stages) {
                if (config_find_pool(config, *name) || pool_was_made(made, *name))
                        continue;
                r = unit_fault_of_name(
                        unit, "Pipeline", "Stages", "there is no %s.pool without a fault", *name);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Takes the pipeline over. */
static int config_add_pipeline(
        Config *config, PipelineConfig *pipeline, const char *path, uint64_t d) {
        _cleanup_free_ char *copy = strdup(path);

        if (!copy || reserve_one(&config->pipelines, config->n_pipelines,
                             sizeof(*config->pipelines)) < 0)
                return -ENOMEM;
        config->pipelines[config->n_pipelines++] =
                (ConfigPipeline){ .config = pipeline, .path = TAKE_PTR(copy), .digest = d };
        return 0;
}

static int load_pipeline(const Loading *loading, const char *path) {
        Config *config = loading->config;
        _cleanup_(pipeline_config_freep) PipelineConfig *pipeline = NULL;
        _cleanup_(unit_done) Unit unit = {
                .faults = &config->faults,
                .open = open_in_pipeline,
                .set = set_in_pipeline,
                .digest = DIGEST_INIT,
        };
        _cleanup_free_ char *name = NULL;
        int r;

        r = name_of_file(config, path, "pipeline", &name);
        if (r < 0 || !name)
                return r;
        r = pipeline_config_new(name, &pipeline);
        if (r < 0)
                return r;
        unit.target = pipeline;
        r = unit_load(&unit, loading->dirs, base_name(path), path);
        if (r < 0 || !unit.found || unit.faulty)
                return r;
        r = check_stages(config, loading->made, pipeline, &unit);
        if (r < 0 || unit.faulty)
                return r;
        r = config_add_pipeline(config, pipeline, path, unit.digest);
        if (r >= 0)
                (void) TAKE_PTR(pipeline); /* the config owns it now */
        return r;
}

/* ---- sluiced.conf ---- */

static int set_log_level(const Assignment *a) {
        char value[SETTING_QUOTE_SIZE];
        int level = log_level_from_string(a->value->string);

        if (level < 0)
                return setting_fault(a->ret_error,
                        "%s: \"%s\" is not known, allowed are err, warning, notice, info, debug",
                        a->label, setting_quote(value, a->value->string));

        *(int *) setting_place(a->target, a->setting) = level;
        return 1;
}

static const SettingType type_log_level = { "a level", STORED_PLAIN, sizeof(int), set_log_level };

#define PLACE(member) .place = offsetof(DaemonSettings, member)
#define CAP(name, kind, type) \
        { name, "Quota", name, type, 0, QUOTA_MAX, .unbounded = true, PLACE(quota.max[kind]) }

const Setting daemon_settings[] = {
        { "LogLevel", "Daemon", "LogLevel", &type_log_level, PLACE(log_level) },
        { "DrainTimeoutUSec", "Daemon", "DrainTimeout", &setting_time, 0, DRAIN_TIMEOUT_MAX,
                PLACE(drain_timeout) },
        CAP("JobsMax", QUOTA_JOBS, &setting_count),
        CAP("BytesMax", QUOTA_BYTES, &setting_size),
        CAP("CallsMax", QUOTA_CALLS, &setting_count),
        CAP("SubscriptionsMax", QUOTA_SUBSCRIPTIONS, &setting_count),
        CAP("GroupsMax", QUOTA_GROUPS, &setting_count),
        CAP("ConnectionsMax", QUOTA_CONNECTIONS, &setting_count),
};

const size_t n_daemon_settings = ELEMENTSOF(daemon_settings);

static int open_in_daemon(void *target, const char *section, char **ret_error) {
        return setting_check_section(daemon_settings, n_daemon_settings, section, ret_error);
}

static int set_in_daemon(
        void *target, const char *section, const char *key, const char *value, char **ret_error) {
        return setting_assign_in_section(
                target, daemon_settings, n_daemon_settings, section, key, value, ret_error);
}

static int load_daemon(Config *config, char *const *dirs) {
        DaemonSettings settings = {
                .log_level = config->log_level,
                .drain_timeout = config->drain_timeout,
                .quota = config->quota,
        };
        _cleanup_(unit_done) Unit unit = {
                .faults = &config->faults,
                .open = open_in_daemon,
                .set = set_in_daemon,
                .target = &settings,
        };
        _cleanup_free_ char *path = NULL;
        struct stat st;
        int r;

        STRV_FOREACH (dir, dirs) {
                if (asprintf(&path, "%s/sluiced.conf", *dir) < 0)
                        return -ENOMEM;
                if (lstat(path, &st) >= 0)
                        break;
                free(TAKE_PTR(path));
        }

        r = unit_load(&unit, dirs, "sluiced.conf", path);
        if (r < 0 || unit.faulty)
                return r;

        config->log_level = settings.log_level;
        config->drain_timeout = settings.drain_timeout;
        config->quota = settings.quota;
        return 0;
}

int config_search_path(bool user, char ***ret) {
        static const char *const system_dirs[] = { "/etc/sluice", "/run/sluice",
                "/usr/local/lib/sluice", "/usr/lib/sluice" };
        const char *config_home = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
        _cleanup_strv_ char **dirs = NULL;
        int r;

        /* A relative path is to be ignored, says the XDG Base Directory specification. */
        if (config_home && *config_home != '/')
                config_home = NULL;

        if (user && (config_home || home)) {
                char *dir;

                if (asprintf(&dir, "%s%s/sluice", config_home ?: home,
                            config_home ? "" : "/.config") < 0)
                        return -ENOMEM;
                r = strv_push(&dirs, dir);
                if (r < 0) {
                        free(dir);
                        return r;
                }
        }

        for (size_t i = 0; i < ELEMENTSOF(system_dirs); i++) {
                r = strv_extend(&dirs, system_dirs[i]);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(dirs);
        return 0;
}

int config_load(char *const *dirs, Fairness fairness, HandlerBus bus, const ConfigMade *made,
        Config **ret) {
        const DaemonSettings defaults = DAEMON_SETTINGS_DEFAULT;
        _cleanup_(config_freep) Config *config = NULL;
        Loading loading;
        int r;

        config = malloc(sizeof(*config));
        if (!config)
                return -ENOMEM;
        *config = (Config){
                .log_level = defaults.log_level,
                .drain_timeout = defaults.drain_timeout,
                .quota = defaults.quota,
        };

        r = load_daemon(config, dirs);
        if (r < 0)
                return r;
        loading = (Loading){
                .config = config,
                .dirs = dirs,
                .fairness = fairness,
                .bus = bus,
                .made = made,
        };
        r = load_all(&loading, ".limiter", load_limiter);
        if (r >= 0)
                r = load_all(&loading, ".breaker", load_breaker);
        if (r >= 0)
                r = load_all(&loading, ".pool", load_pool);
        if (r >= 0)
                r = load_all(&loading, ".pipeline", load_pipeline);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(config);
        return 0;
}

Config *config_free(Config *config) {
        if (!config)
                return NULL;

        for (size_t i = 0; i < config->n_pools; i++) {
                pool_config_free(config->pools[i].config);
                free(config->pools[i].path);
        }
        free(config->pools);
        for (size_t i = 0; i < config->n_pipelines; i++) {
                pipeline_config_free(config->pipelines[i].config);
                free(config->pipelines[i].path);
        }
        free(config->pipelines);
        for (size_t i = 0; i < config->n_limiters; i++) {
                free(config->limiters[i].name);
                free(config->limiters[i].path);
        }
        free(config->limiters);
        for (size_t i = 0; i < config->n_breakers; i++) {
                free(config->breakers[i].name);
                free(config->breakers[i].path);
        }
        free(config->breakers);
        strv_free(config->faults);
        free(config);
        return NULL;
}

ConfigPool *config_find_pool(const Config *config, const char *name) {
        for (size_t i = 0; i < config->n_pools; i++)
                if (config->pools[i].config && strcmp(config->pools[i].config->name, name) == 0)
                        return &config->pools[i];
        return NULL;
}

ConfigPipeline *config_find_pipeline(const Config *config, const char *name) {
        for (size_t i = 0; i < config->n_pipelines; i++)
                if (config->pipelines[i].config &&
                        strcmp(config->pipelines[i].config->name, name) == 0)
                        return &config->pipelines[i];
        return NULL;
}

ConfigLimiter *config_find_limiter(const Config *config, const char *name) {
        for (size_t i = 0; i < config->n_limiters; i++)
                if (strcmp(config->limiters[i].name, name) == 0)
                        return &config->limiters[i];
        return NULL;
}

ConfigBreaker *config_find_breaker(const Config *config, const char *name) {
        for (size_t i = 0; i < config->n_breakers; i++)
                if (strcmp(config->breakers[i].name, name) == 0)
                        return &config->breakers[i];
        return NULL;
}
