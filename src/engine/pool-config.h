/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* PoolConfig: all settings of one pool, and the one table that says for each its name, type, range
 * and place. Files, the a{sv} of CreatePool and Set, and --check go through it, so that a setting
 * means the same everywhere. Main thread. */

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "core/breaker.h"
#include "core/limiter.h"
#include "core/scaler.h"
#include "core/scheduler.h"
#include "engine/setting.h"
#include "handler/handler.h"
#include "util/macro.h"
#include "util/time.h"

typedef struct PoolConfig PoolConfig;

typedef enum Fairness {
        FAIRNESS_NONE,
        FAIRNESS_USER,
        _FAIRNESS_MAX,
        _FAIRNESS_INVALID = -EINVAL
} Fairness;

struct PoolConfig {
        char *name;
        char *description; /* "" if none */
        const HandlerVTable *handler;
        HandlerConfig handler_config;
        uint32_t min_workers,
                max_workers; /* 0 until given: pool_config_complete() fills in the number of CPUs */
        char *cpu_affinity;  /* as written, "" = all that the daemon may use */
        cpu_set_t cpus;      /* parsed and checked against those */
        uint64_t queue_max;
        usec_t aging_interval; /* up to a year, or USEC_INFINITY = strict priority */
        Fairness fairness;
        usec_t run_timeout;
        Overflow overflow;
        usec_t overflow_timeout; /* longest wait with OVERFLOW_WAIT where the submit does not say */
        uint32_t max_attempts;
        usec_t backoff, backoff_max;
        uint32_t key_concurrency; /* jobs at work with the same ConcurrencyKey */
        uint32_t
                batch_size; /* 1 = no batches; 0 until given: filled in by pool_config_complete() */
        usec_t batch_timeout;
        usec_t result_retention;
        uint64_t result_retention_max; /* jobs */
        bool durable;  /* what is accepted survives the daemon; not for a daemon without a store */
        char *limiter; /* the name of a shared one; NULL = none */
        LimiterConfig limiter_config; /* of an own one; see engine/limiter-config.h */
        char *breaker;                /* the name of a shared one; NULL = none */
        BreakerConfig breaker_config; /* of an own one, … */
        bool own_breaker;             /* … if it was asked for: pool_config_complete() */
        bool hold_on_open;            /* what is queued waits for an open breaker to close */
        ScalerConfig scale_config;    /* SCALE_QUEUE where only the others of its settings were
                                         given: pool_config_complete() */
        char **allow_users, **allow_groups; /* as written */
        uid_t *allow_uids;                  /* resolved by pool_config_complete() */
        size_t n_allow_uids;
        gid_t *allow_gids;
        size_t n_allow_gids;
        char **lease_users, **lease_groups; /* who may lease: the same four */
        uid_t *lease_uids;
        size_t n_lease_uids;
        gid_t *lease_gids;
        size_t n_lease_gids;
        uint64_t given;  /* which settings were given, a bit per row of the table */
        uint64_t opened; /* and of which the section was there */
};

/* Defaults for everything. `fairness` is what the pool gets where the settings do not say. 0 or
 * -ENOMEM. */
int pool_config_new(const char *name, Fairness fairness, PoolConfig **ret);
PoolConfig *pool_config_free(PoolConfig *config); /* returns NULL */
int pool_config_copy(const PoolConfig *config, PoolConfig **ret);
bool pool_config_equal(const PoolConfig *a, const PoolConfig *b);

/* As setting_differences(). */
char **pool_config_differences(const PoolConfig *a, const PoolConfig *b);

/* Prints as assignments (engine/assignments.h) what makes a new configuration, or a copy of
 * `origin` unless NULL, the same as this one when it is completed. */
void pool_config_print(const PoolConfig *config, const PoolConfig *origin, FILE *f);

DEFINE_CLEANUP(PoolConfig *, pool_config_free)

/* A file has this section, with settings or without: what is off unless it is asked for is on then.
 * -ENOENT with a text where there is no such section. */
int pool_config_open_section(PoolConfig *config, const char *section, char **ret_error);

/* Sets one setting. `section` and `key` are those of a file ("Command", "ExecStart"). -ENOENT with
 * a text where there is no such setting. */
int pool_config_set_in_section(PoolConfig *config, const char *section, const char *key,
        const char *value, char **ret_error);

/* Sets one setting by its name outside files: "ExecStart", "RunTimeout" with text, "RunTimeoutUSec"
 * with text or a number. -ENOENT with a text where there is no such setting. */
int pool_config_set(
        PoolConfig *config, const char *name, const SettingValue *value, char **ret_error);

/* Is this the name (outside files) of a setting that may be changed while the pool lives? -ENOENT:
 * there is no such setting at all. */
int pool_config_is_settable(const char *name);

/* Checks what only shows with all settings known (a handler, its command; MinWorkers up to
 * MaxWorkers; users that exist; CPUs that the daemon may use; pressure that can be told) and fills
 * in what follows from others. May look up users and groups, so it can block. May be called again
 * after further settings. What a failed call filled in is good for nothing. */
int pool_config_complete(PoolConfig *config, char **ret_error);

/* The same for what came from a file: tells each fault and not just the first, with the setting
 * that it is about as it is called in files. fault() returns 0, or -errno to give up. */
typedef int (*pool_config_fault_t)(
        void *userdata, const char *section, const char *key, const char *text);
int pool_config_complete_all(PoolConfig *config, pool_config_fault_t fault, void *userdata);

/* All of the above return 0, -ENOMEM, or -EINVAL with *ret_error (malloc()ed, the caller's): one
 * line that names the setting, says what was wrong and what is allowed. Nothing is changed then.
 * -ENOEXEC instead of -EINVAL, also with a text: the command is no absolute path of something that
 * can be executed (the error InvalidCommand of the bus).
 *
 * A setting that is given again replaces what it was, but lists of names and variables
 * (Environment, AllowUsers, AllowGroups) grow, and an empty value clears them. */

const char *fairness_to_string(Fairness f);
