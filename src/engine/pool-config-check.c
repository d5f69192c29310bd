/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What needs several settings at once, or the machine. Each check looks at one matter and goes on
 * after a fault, so that --check can tell all of them. */

#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/limiter-config.h"
#include "engine/pool-config-internal.h"
#include "engine/pressure.h"
#include "util/parse.h"
#include "util/strv.h"

#define LOOKUP_MAX (UINT64_C(1) << 20)

/* Which handlers a setting is for, or all of a section; the others are for all. The arguments and
 * the batch of a command are those of a run; a coprocess has its command line before any job, and
 * no start that a batch could share. The first row that fits counts. */
static const struct {
        const char *section, *key;
        const char *handlers[4];
} handler_settings[] = {
        { "Pool", "CPUAffinity", { "command", "coprocess", "module" } },
        { "Command", "AllowArguments", { "command" } },
        { "Command", "Batch", { "command" } },
        { "Command", "Framing", { "coprocess" } },
        { "Command", NULL, { "command", "coprocess" } },
        { "Module", NULL, { "module" } },
        { "Service", NULL, { "service" } },
        { "Unit", NULL, { "unit" } },
        { "Lease", NULL, { "lease" } },
        { "Batch", NULL, { "command", "module", "service" } },
};

/* Where the checks leave what they find. */
typedef struct Faults {
        pool_config_fault_t report;
        void *userdata;
        bool in_file; /* settings are called by their keys */
        int result;   /* of the first fault */
} Faults;

/* Reports "SETTING: …". Returns 0, so that the checks go on, or what report() says. */
_printf_(4, 5) static int found(
        Faults *faults, int result, const Setting *s, const char *format, ...) {
        _cleanup_free_ char *text = NULL, *line = NULL;
        va_list arguments;
        int r;

        va_start(arguments, format);
        r = vasprintf(&text, format, arguments);
        va_end(arguments);
        if (r < 0 || asprintf(&line, "%s: %s", faults->in_file ? s->key : s->name, text) < 0)
                return -ENOMEM;

        if (faults->result == 0)
                faults->result = result;
        return faults->report(faults->userdata, s->section, s->key, line);
}

/* Writes "0-3, 6", cut with "…" where there is no room. */
static void format_cpus(char *buf, size_t size, const cpu_set_t *cpus) {
        size_t n = 0;

        *buf = '\0';
        for (int first = 0, last; first < CPU_SETSIZE; first = last + 1) {
                last = first;
                if (!CPU_ISSET((size_t) first, cpus))
                        continue;
                while (last + 1 < CPU_SETSIZE && CPU_ISSET((size_t) last + 1, cpus))
                        last++;
                if (n + 32 > size) {
                        (void) snprintf(buf + n, size - n, "…");
                        return;
                }
                n += (size_t) snprintf(buf + n, size - n, "%s%i", n > 0 ? ", " : "", first);
                if (last > first)
                        n += (size_t) snprintf(buf + n, size - n, "-%i", last);
        }
}

static int check_cpus(PoolConfig *config, Faults *faults) {
        const Setting *s = pool_setting_find("CPUAffinity");
        char buf[256], value[SETTING_QUOTE_SIZE];
        cpu_set_t allowed, wanted, usable;

        if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
                return found(faults, -EINVAL, s,
                        "the CPUs that may be used cannot be found out: %s",
                        strerror_r(errno, buf, sizeof(buf)));

        /* The text was checked when it was set. */
        (void) parse_cpu_set(config->cpu_affinity, &wanted);
        if (CPU_COUNT(&wanted) == 0) {
                config->cpus = allowed;
                return 0;
        }

        CPU_AND(&usable, &wanted, &allowed);
        if (!CPU_EQUAL(&usable, &wanted)) {
                format_cpus(buf, sizeof(buf), &allowed);
                config->cpus = allowed;
                return found(faults, -EINVAL, s,
                        "not all of \"%s\" may be used, allowed are the CPUs %s",
                        setting_quote(value, config->cpu_affinity), buf);
        }

        config->cpus = wanted;
        return 0;
}

static bool has_handler(const PoolConfig *config, const char *name) {
        return strcmp(config->handler->name, name) == 0;
}

/* What may be leased at one time takes no CPU here. */
#define LEASES_DEFAULT 1000

/* What was not given follows from the CPUs of the pool, and moves out of the way of what was. */
static int check_workers(PoolConfig *config, Faults *faults) {
        const Setting *min = pool_setting_find("MinWorkers"),
                      *max = pool_setting_find("MaxWorkers");
        bool min_given = pool_setting_is_given(config, min);
        bool lease = has_handler(config, "lease");
        uint32_t most = config->handler->max_slots ?: (uint32_t) max->max;
        uint64_t n = lease ? LEASES_DEFAULT : (uint64_t) CPU_COUNT(&config->cpus);
        uint32_t usual = (uint32_t) MIN(n, (uint64_t) most);

        if (!pool_setting_is_given(config, max))
                config->max_workers = min_given ? MAX(config->min_workers, usual) : usual;
        if (!min_given)
                config->min_workers = lease ? config->max_workers : MIN(config->max_workers, usual);

        if (config->min_workers > config->max_workers)
                return found(faults, -EINVAL, min, "%u is more than MaxWorkers=%u",
                        config->min_workers, config->max_workers);
        if (config->max_workers > most)
                return found(faults, -EINVAL, max,
                        "%u is out of range, Handler=%s has up to %u calls at a time",
                        config->max_workers, config->handler->name, most);
        return 0;
}

/* Those that the setting is for; NULL = all are. */
static const char *const *handlers_of(const Setting *s) {
        for (size_t i = 0; i < ELEMENTSOF(handler_settings); i++)
                if (strcmp(s->section, handler_settings[i].section) == 0 &&
                        (!handler_settings[i].key || strcmp(s->key, handler_settings[i].key) == 0))
                        return handler_settings[i].handlers;
        return NULL;
}

/* A setting that the handler would never look at is a mistake of who wrote it. */
static int check_sections(PoolConfig *config, Faults *faults) {
        int r;

        for (const Setting *s = pool_settings; s < pool_settings + n_pool_settings; s++) {
                const char *const *handlers = handlers_of(s);
                _cleanup_free_ char *names = NULL;

                if (!handlers || !pool_setting_is_given(config, s) ||
                        strv_contains((char *const *) handlers, config->handler->name))
                        continue;
                names = strv_join((char *const *) handlers, ", ");
                if (!names)
                        return -ENOMEM;
                r = found(faults, -EINVAL, s, "is only for Handler=%s, but this is Handler=%s",
                        names, config->handler->name);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int check_directory(PoolConfig *config, Faults *faults) {
        const char *path = config->handler_config.working_directory;
        char value[SETTING_QUOTE_SIZE];
        struct stat st;

        if (stat(path, &st) >= 0 && S_ISDIR(st.st_mode))
                return 0;
        return found(faults, -EINVAL, pool_setting_find("WorkingDirectory"),
                "\"%s\" is not a directory", setting_quote(value, path));
}

static int check_command(PoolConfig *config, Faults *faults) {
        const Setting *s = pool_setting_find("ExecStart");
        const char *path, *wrong = NULL;
        char value[SETTING_QUOTE_SIZE];
        struct stat st;
        int r;

        if (strcmp(config->handler->name, "command") != 0 &&
                strcmp(config->handler->name, "coprocess") != 0)
                return 0;

        r = check_directory(config, faults);
        if (r < 0)
                return r;

        if (!config->handler_config.exec_start)
                return found(faults, -EINVAL, s, "is missing, Handler=%s needs it",
                        config->handler->name);

        path = config->handler_config.exec_start[0];
        if (stat(path, &st) < 0)
                wrong = errno == ENOENT ? "does not exist" : "cannot be looked at";
        else if (!S_ISREG(st.st_mode))
                wrong = "is not a regular file";
        else if (access(path, X_OK) < 0)
                wrong = "is not executable";
        if (wrong)
                return found(faults, -ENOEXEC, s, "\"%s\" %s", setting_quote(value, path), wrong);
        return 0;
}

static int check_module(PoolConfig *config, Faults *faults) {
        if (strcmp(config->handler->name, "module") != 0 || config->handler_config.module_path)
                return 0;
        return found(faults, -EINVAL, pool_setting_find("ModulePath"),
                "is missing, Handler=module needs it");
}

static int check_service(PoolConfig *config, Faults *faults) {
        static const char *const needed[] = { "ServiceBusName", "ServiceObjectPath" };
        int r;

        if (strcmp(config->handler->name, "service") != 0)
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(needed); i++) {
                const Setting *s = pool_setting_find(needed[i]);

                if (pool_setting_is_given(config, s))
                        continue;
                r = found(faults, -EINVAL, s, "is missing, Handler=service needs it");
                if (r < 0)
                        return r;
        }
        return 0;
}

static int check_unit(PoolConfig *config, Faults *faults) {
        if (!has_handler(config, "unit") || config->handler_config.unit_template)
                return 0;
        return found(faults, -EINVAL, pool_setting_find("UnitTemplate"),
                "is missing, Handler=unit needs it");
}

static int check_limiter(PoolConfig *config, Faults *faults) {
        const Setting *rate = pool_setting_find("LimiterRate");

        if (limiter_config_is_given(&config->limiter_config))
                return config->limiter
                               ? found(faults, -EINVAL, pool_setting_find("Limiter"),
                                         "is a shared limiter, but [Limiter] is one as well")
                               : 0;
        if (!pool_section_is_given(config, rate->section))
                return 0;
        return found(faults, -EINVAL, rate, "is missing, a limiter needs it");
}

static int check_breaker(PoolConfig *config, Faults *faults) {
        config->own_breaker |= pool_section_is_given(config, "Breaker");
        return config->own_breaker && config->breaker
                       ? found(faults, -EINVAL, pool_setting_find("Breaker"),
                                 "is a shared breaker, but [Breaker] is one as well")
                       : 0;
}

/* What a section [Batch] leaves out. */
#define BATCH_SIZE_DEFAULT 16

static int check_batch(PoolConfig *config, Faults *faults) {
        const Setting *size = pool_setting_find("BatchSize"),
                      *timeout = pool_setting_find("BatchTimeoutUSec");
        bool is_command = strcmp(config->handler->name, "command") == 0;
        bool netstring = config->handler_config.netstring_batches;
        int r;

        /* Once it is known it stays: a pool that lives is not made one of batches by a time-out. */
        if (config->batch_size == 0)
                config->batch_size =
                        pool_section_is_given(config, size->section)
                                ? (uint32_t) MIN((uint64_t) BATCH_SIZE_DEFAULT, config->queue_max)
                                : 1;

        if (config->batch_size > config->queue_max) {
                r = found(faults, -EINVAL, size, "%u is more than QueueMax=%llu",
                        config->batch_size, (unsigned long long) config->queue_max);
                if (r < 0)
                        return r;
        }
        if (config->handler->max_payload > 0 &&
                config->handler_config.payload_max >
                        config->handler->max_payload / config->batch_size) {
                r = found(faults, -EINVAL, size,
                        "%u jobs of up to PayloadMax=%llu bytes are too much for one call, which "
                        "takes %llu",
                        config->batch_size, (unsigned long long) config->handler_config.payload_max,
                        (unsigned long long) config->handler->max_payload);
                if (r < 0)
                        return r;
        }
        /* Of a section with settings that was told already. */
        if ((has_handler(config, "coprocess") || has_handler(config, "lease") ||
                    has_handler(config, "unit")) &&
                config->batch_size > 1 && !pool_setting_is_given(config, size) &&
                !pool_setting_is_given(config, timeout))
                return found(faults, -EINVAL, size, "batches are not for Handler=%s, %s",
                        config->handler->name,
                        has_handler(config, "lease") ? "where each call says how many jobs it wants"
                                                     : "which takes one job at a time");
        if (is_command && config->batch_size > 1 && !netstring)
                return found(faults, -EINVAL, size,
                        "%u jobs at once are for a command that reads and writes them as "
                        "netstrings, with Batch=netstring in [Command]",
                        config->batch_size);
        if (is_command && netstring && !pool_section_is_given(config, size->section))
                return found(faults, -EINVAL, pool_setting_find("Batch"),
                        "netstring needs a section [Batch] (BatchSize, BatchTimeoutUSec)");
        return 0;
}

/* Whether the kernel lets us know is found out by trying. */
static int check_pressure(const Setting *mode, Faults *faults) {
        for (PressureResource i = 0; i < _PRESSURE_RESOURCE_MAX; i++) {
                _cleanup_free_ char *error = NULL;
                Pressure pressure;

                if (pressure_init(&pressure, i, NULL, &error) < 0)
                        return error ? found(faults, -EINVAL, mode, "%s", error) : -ENOMEM;
                pressure_done(&pressure);
        }
        return 0;
}

static int check_scale(PoolConfig *config, Faults *faults) {
        const Setting *mode = pool_setting_find("ScaleMode");
        ScalerConfig *scale = &config->scale_config;

        if (!pool_setting_is_given(config, mode))
                scale->mode = pool_section_is_given(config, "Scale") ? SCALE_QUEUE : SCALE_OFF;
        if (has_handler(config, "lease") && pool_section_is_given(config, "Scale"))
                return found(faults, -EINVAL, mode,
                        "Handler=lease has no workers to scale: MaxWorkers bounds what is leased");
        if (scale->down_at >= scale->up_at)
                return found(faults, -EINVAL, pool_setting_find("ScaleDownAt"),
                        "%u is not below UpAt=%u, so the number of workers would never rest",
                        scale->down_at, scale->up_at);
        return scale->mode == SCALE_PRESSURE ? check_pressure(mode, faults) : 0;
}

/* Both look up a name in a buffer that grows as the data base asks for it: 0, -ESRCH if there is no
 * such name, or -errno. */
static int find_user(const char *name, char *buf, size_t size, uint32_t *ret) {
        struct passwd entry, *result = NULL;
        int r = getpwnam_r(name, &entry, buf, size, &result);

        if (result)
                *ret = entry.pw_uid;
        return result ? 0 : r == 0 ? -ESRCH : -r;
}

static int find_group(const char *name, char *buf, size_t size, uint32_t *ret) {
        struct group entry, *result = NULL;
        int r = getgrnam_r(name, &entry, buf, size, &result);

        if (result)
                *ret = entry.gr_gid;
        return result ? 0 : r == 0 ? -ESRCH : -r;
}

typedef int (*find_id_t)(const char *name, char *buf, size_t size, uint32_t *ret);

static int resolve(const char *name, find_id_t find, uint32_t *ret) {
        uint64_t number;
        int r;

        /* The largest number stands for "no user" in the kernel's interfaces. */
        if (parse_uint64(name, 0, UINT32_MAX - 1, &number) >= 0) {
                *ret = (uint32_t) number;
                return 0;
        }

        for (size_t size = 4096; size <= LOOKUP_MAX; size *= 4) {
                _cleanup_free_ char *buf = malloc(size);

                if (!buf)
                        return -ENOMEM;
                r = find(name, buf, size, ret);
                if (r != -ERANGE)
                        return r;
        }
        return -ERANGE;
}

static int resolve_names(char *const *names, find_id_t find, const char *kind, const Setting *s,
        Faults *faults, uint32_t **ret, size_t *ret_n) {
        _cleanup_free_ uint32_t *ids = NULL;
        size_t n = 0;
        int r;

        ids = calloc(strv_length(names) + 1, sizeof(*ids));
        if (!ids)
                return -ENOMEM;

        STRV_FOREACH (name, names) {
                char value[SETTING_QUOTE_SIZE], error[64];

                r = resolve(*name, find, &ids[n]);
                if (r == -ENOMEM)
                        return r;
                if (r < 0) {
                        r = r == -ESRCH || r == -ENOENT
                                    ? found(faults, -EINVAL, s, "there is no %s \"%s\"", kind,
                                              setting_quote(value, *name))
                                    : found(faults, -EINVAL, s,
                                              "the %s \"%s\" cannot be looked up: %s", kind,
                                              setting_quote(value, *name),
                                              strerror_r(-r, error, sizeof(error)));
                        if (r < 0)
                                return r;
                        continue;
                }
                n++;
        }

        free(*ret);
        *ret = TAKE_PTR(ids);
        *ret_n = n;
        return 0;
}

static int check_users(PoolConfig *config, Faults *faults) {
        _Static_assert(sizeof(uid_t) == sizeof(uint32_t), "ids are resolved as one type");
        int r;

        r = resolve_names(config->allow_users, find_user, "user", pool_setting_find("AllowUsers"),
                faults, &config->allow_uids, &config->n_allow_uids);
        return r < 0 ? r
                     : resolve_names(config->lease_users, find_user, "user",
                               pool_setting_find("LeaseAllowUsers"), faults, &config->lease_uids,
                               &config->n_lease_uids);
}

static int check_groups(PoolConfig *config, Faults *faults) {
        _Static_assert(sizeof(gid_t) == sizeof(uint32_t), "ids are resolved as one type");
        int r;

        r = resolve_names(config->allow_groups, find_group, "group",
                pool_setting_find("AllowGroups"), faults, &config->allow_gids,
                &config->n_allow_gids);
        return r < 0 ? r
                     : resolve_names(config->lease_groups, find_group, "group",
                               pool_setting_find("LeaseAllowGroups"), faults, &config->lease_gids,
                               &config->n_lease_gids);
}

static int complete(PoolConfig *config, Faults *faults) {
        static int (*const checks[])(PoolConfig * config, Faults * faults) = {
                check_cpus, /* before the workers, whose number follows from it */
                check_workers,
                check_sections,
                check_command,
                check_module,
                check_service,
                check_unit,
                check_limiter,
                check_breaker,
                check_batch,
                check_scale,
                check_users,
                check_groups,
        };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(checks); i++) {
                r = checks[i](config, faults);
                if (r < 0)
                        return r;
        }
        return faults->result;
}

int pool_config_complete_all(PoolConfig *config, pool_config_fault_t report, void *userdata) {
        Faults faults = { .report = report, .userdata = userdata, .in_file = true };

        return complete(config, &faults);
}

static int keep_first(void *userdata, const char *section, const char *key, const char *text) {
        char **first = userdata;

        if (!*first)
                *first = strdup(text);
        return *first ? 0 : -ENOMEM;
}

int pool_config_complete(PoolConfig *config, char **ret_error) {
        _cleanup_free_ char *first = NULL;
        Faults faults = { .report = keep_first, .userdata = &first };
        int r;

        r = complete(config, &faults);
        if (r < 0 && first)
                *ret_error = TAKE_PTR(first);
        return r;
}
