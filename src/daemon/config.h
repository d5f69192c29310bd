/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Config: all that the settings files say at one moment: the daemon's own settings, each pool,
 * pipeline, limiter and breaker, and each fault. Used at start, by --check and by Reload(). Only
 * reads. Main thread; touches the disk and may look up users, so it can block. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/breaker.h"
#include "core/limiter.h"
#include "engine/pipeline-config.h"
#include "engine/pool-config.h"
#include "engine/quota.h"
#include "handler/handler.h"
#include "util/macro.h"
#include "util/time.h"

typedef struct Config Config;
typedef struct ConfigBreaker ConfigBreaker;
typedef struct ConfigLimiter ConfigLimiter;
typedef struct ConfigMade ConfigMade;
typedef struct ConfigPipeline ConfigPipeline;
typedef struct ConfigPool ConfigPool;
typedef struct DaemonSettings DaemonSettings;

#define DRAIN_TIMEOUT_MAX (25 * USEC_PER_SEC)

/* What sluiced.conf says. */
struct DaemonSettings {
        int log_level; /* negative where it does not say */
        usec_t drain_timeout;
        QuotaConfig quota;
};

#define DAEMON_SETTINGS_DEFAULT \
        ((DaemonSettings){ -EINVAL, DRAIN_TIMEOUT_MAX, QUOTA_CONFIG_DEFAULT })

extern const Setting daemon_settings[];
extern const size_t n_daemon_settings;

/* A pool without a fault in its file and drop-ins, complete; its handler has been tried. */
struct ConfigPool {
        PoolConfig *config;
        char *path;      /* of NAME.pool */
        uint64_t digest; /* of the text of the file and its drop-ins */
};

/* A pipeline without a fault in its file and drop-ins, whose pools are there. */
struct ConfigPipeline {
        PipelineConfig *config;
        char *path; /* of NAME.pipeline */
        uint64_t digest;
};

/* A limiter without a fault in its file and drop-ins, complete. */
struct ConfigLimiter {
        LimiterConfig config; /* see engine/limiter-config.h */
        char *name;
        char *path;      /* of NAME.limiter */
        uint64_t digest; /* as above */
};

/* The same for a breaker. */
struct ConfigBreaker {
        BreakerConfig config;
        char *name;
        char *path; /* of NAME.breaker */
        uint64_t digest;
};

/* What was made at run time, and no file accounts for: is there one of that name? */
struct ConfigMade {
        bool (*pool)(void *userdata, const char *name);
        bool (*limiter)(void *userdata, const char *name);
        bool (*breaker)(void *userdata, const char *name);
        void *userdata;
};

struct Config {
        ConfigPool *pools; /* by name; what they share is among what follows */
        size_t n_pools;
        ConfigPipeline *pipelines; /* by name */
        size_t n_pipelines;
        ConfigLimiter *limiters; /* by name */
        size_t n_limiters;
        ConfigBreaker *breakers; /* by name */
        size_t n_breakers;
        int log_level;        /* LOG_ERR … LOG_DEBUG, negative where the settings do not say */
        usec_t drain_timeout; /* how long SIGTERM lets jobs run */
        QuotaConfig quota;    /* the caps of each user */
        char **faults;        /* "FILE:LINE: message", in the order of files and lines */
};

/* The folders that are searched where the command line names none, the most important one first. 0
 * or -ENOMEM. */
int config_search_path(bool user, char ***ret);

/* Reads all settings in `dirs`. Of files of the same name the one in the first folder counts, and
 * one that is empty or a link to /dev/null makes it as if there were none. `fairness` is what pools
 * get that do not say. What they need of the `bus` is looked at as well, where that is known. They
 * may also name what was `made` at run time (NULL = nothing was). 0, also where there were faults:
 * a pool with any is left out, and so is what a faulty sluiced.conf says. Otherwise -ENOMEM. */
int config_load(
        char *const *dirs, Fairness fairness, HandlerBus bus, const ConfigMade *made, Config **ret);
Config *config_free(Config *config); /* returns NULL */

/* NULL if there is none of that name. Borrowed; its `config` may be taken with TAKE_PTR(). */
ConfigPool *config_find_pool(const Config *config, const char *name);

ConfigPipeline *config_find_pipeline(const Config *config, const char *name);
ConfigLimiter *config_find_limiter(const Config *config, const char *name);
ConfigBreaker *config_find_breaker(const Config *config, const char *name);

DEFINE_CLEANUP(Config *, config_free)
