/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A unit is a file and its drop-ins (`man.pool`, `man.pool.d/50-more.conf`), which are read in this
 * order into one target. For each setting the place that set it last is kept, so that a fault that
 * shows only in the whole still points to a line: that of its setting, else the first line of its
 * section, else the first line of the file. One fault refuses the unit with everything in it: half
 * of what somebody wrote is not what they wanted. */

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "daemon/config.h"
#include "daemon/settings-file.h"
#include "engine/breaker-config.h"
#include "engine/limiter-config.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"
#include "util/strv.h"

#define FILE_SIZE_MAX ((size_t) 1 << 20)

/* Of one file; what has so many is no settings file. */
#define FAULTS_MAX 100

/* 64-bit FNV-1a: enough to notice an edit, no defence against who can write to /etc. */
#define DIGEST_INIT UINT64_C(0xcbf29ce484222325)
#define DIGEST_PRIME UINT64_C(0x100000001b3)

typedef int (*set_t)(
        void *target, const char *section, const char *key, const char *value, char **ret_error);

typedef int (*open_t)(void *target, const char *section, char **ret_error);

/* Which line said something; the header of a section has no key. */
typedef struct Origin {
        char *section, *key;
        char *path;
        unsigned line;
} Origin;

typedef struct Unit {
        Config *config; /* borrowed: gets the faults */
        open_t open;    /* where sections go, … */
        set_t set;      /* … and settings, with the target */
        void *target;   /* borrowed */
        char *path;     /* of the main file; NULL = there is none */
        uint64_t digest;
        bool found; /* there is something that is not masked */
        bool faulty;
        Origin *origins;
        size_t n_origins;

        /* While one file is read: */
        const char *current; /* borrowed: its path */
        unsigned n_faults;
} Unit;

static void unit_done(Unit *unit) {
        for (size_t i = 0; i < unit->n_origins; i++) {
                free(unit->origins[i].section);
                free(unit->origins[i].key);
                free(unit->origins[i].path);
        }
        free(unit->origins);
        free(unit->path);
}

/* Names of files may be any bytes, but faults go to logs, terminals and D-Bus. */
static void make_valid(char *s) {
        if (text_is_valid(s))
                return;
        for (; *s; s++)
                if ((unsigned char) *s < ' ' || (unsigned char) *s >= 0x7F)
                        *s = '?';
}

static int add_fault(Config *config, const char *path, unsigned line, const char *text) {
        char *fault;
        int r;

        if (asprintf(&fault, "%s:%u: %s", path, line, text) < 0)
                return -ENOMEM;
        make_valid(fault);

        /* A folder that cannot be read is met once per kind of file. */
        if (strv_contains(config->faults, fault)) {
                free(fault);
                return 0;
        }
        r = strv_push(&config->faults, fault);
        if (r < 0)
                free(fault);
        return r;
}

static const char *base_name(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static int compare_base_names(const void *a, const void *b) {
        return strcmp(base_name(*(char *const *) a), base_name(*(char *const *) b));
}

static bool has_base_name(char *const *paths, const char *name) {
        STRV_FOREACH (path, paths)
                if (strcmp(base_name(*path), name) == 0)
                        return true;
        return false;
}

static bool is_settings_file(const char *name, const char *suffix) {
        size_t length = strlen(name), suffix_length = strlen(suffix);

        /* Editors keep their own beside the files they edit, under hidden names. */
        return *name != '.' && length > suffix_length &&
               strcmp(name + length - suffix_length, suffix) == 0;
}

/* Adds the files of one folder to `paths`, but those whose name is there already. */
static int find_files_in(const char *dir, const char *suffix, char ***paths) {
        struct dirent *entry;
        DIR *d;
        int r = 0;

        d = opendir(dir);
        if (!d)
                return -errno;

        for (errno = 0; (entry = readdir(d)); errno = 0) {
                char *path;

                if (!is_settings_file(entry->d_name, suffix) ||
                        has_base_name(*paths, entry->d_name))
                        continue;
                if (asprintf(&path, "%s/%s", dir, entry->d_name) < 0) {
                        r = -ENOMEM;
                        break;
                }
                r = strv_push(paths, path);
                if (r < 0) {
                        free(path);
                        break;
                }
        }
        if (!entry && errno != 0)
                r = -errno;

        (void) closedir(d);
        return r;
}

/* Lists the files of all folders (of `sub` in each, unless NULL) by name, the first of each name. A
 * folder that cannot be read is a fault, one that is not there is none. */
static int find_files(
        Config *config, char *const *dirs, const char *sub, const char *suffix, char ***ret) {
        _cleanup_strv_ char **paths = NULL;
        int r;

        STRV_FOREACH (dir, dirs) {
                _cleanup_free_ char *path = NULL;
                char error[64];

                if (asprintf(&path, "%s%s%s", *dir, sub ? "/" : "", sub ?: "") < 0)
                        return -ENOMEM;

                r = find_files_in(path, suffix, &paths);
                if (r == -ENOMEM)
                        return r;
                /* That a folder itself is none is told once, and not for all below it. */
                if (r < 0 && r != -ENOENT && !(sub && r == -ENOTDIR)) {
                        r = add_fault(config, path, 1, strerror_r(-r, error, sizeof(error)));
                        if (r < 0)
                                return r;
                }
        }

        if (paths)
                qsort(paths, strv_length(paths), sizeof(*paths), compare_base_names);
        *ret = TAKE_PTR(paths);
        return 0;
}

static void digest(uint64_t *state, const void *data, size_t size) {
        for (const uint8_t *p = data, *end = p + size; p < end; p++)
                *state = (*state ^ *p) * DIGEST_PRIME;
}

/* Reads a file: 1, 0 if it is masked, -errno. */
static int read_file(const char *path, char **ret, size_t *ret_size) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        void *text;
        int r;

        /* Without O_NONBLOCK a FIFO would hold the daemon up. */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
                return 0;
        if (!S_ISREG(st.st_mode))
                return S_ISDIR(st.st_mode) ? -EISDIR : -EBADFD;

        r = fd_read_all(fd, FILE_SIZE_MAX, &text, ret_size);
        if (r < 0)
                return r;
        if (*ret_size == 0) {
                free(text);
                return 0;
        }

        *ret = text;
        return 1;
}

/* Notes that the current file says this in that line. */
static int unit_add_origin(Unit *unit, unsigned line, const char *section, const char *key) {
        Origin *bigger, *o;

        for (o = unit->origins; o < unit->origins + unit->n_origins; o++)
                if (strcmp(o->section, section) == 0 && strcmp(o->key, key) == 0) {
                        char *path;

                        /* A section begins where it does so first. */
                        if (!*key)
                                return 0;
                        path = strdup(unit->current);
                        if (!path)
                                return -ENOMEM;
                        free(o->path);
                        o->path = path;
                        o->line = line;
                        return 0;
                }

        bigger = reallocarray(unit->origins, unit->n_origins + 1, sizeof(*bigger));
        if (!bigger)
                return -ENOMEM;
        unit->origins = bigger;
        o = &bigger[unit->n_origins++];
        *o = (Origin){
                .section = strdup(section),
                .key = strdup(key),
                .path = strdup(unit->current),
                .line = line,
        };
        return o->section && o->key && o->path ? 0 : -ENOMEM;
}

static int unit_fault(void *userdata, unsigned line, const char *text) {
        Unit *unit = userdata;
        int r;

        unit->faulty = true;
        r = add_fault(unit->config, unit->current, line, text);
        if (r < 0)
                return r;
        return ++unit->n_faults < FAULTS_MAX ? 0 : -E2BIG;
}

static int unit_section(void *userdata, unsigned line, const char *section) {
        _cleanup_free_ char *error = NULL;
        Unit *unit = userdata;
        int r;

        r = unit->open(unit->target, section, &error);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                r = unit_fault(unit, line, error);
                return r < 0 ? r : 1;
        }
        return unit_add_origin(unit, line, section, "");
}

static int unit_setting(
        void *userdata, unsigned line, const char *section, const char *key, const char *value) {
        _cleanup_free_ char *error = NULL;
        Unit *unit = userdata;
        int r;

        r = unit->set(unit->target, section, key, value, &error);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return unit_fault(unit, line, error);
        return unit_add_origin(unit, line, section, key);
}

/* Reads one file of the unit: 1, 0 if it is masked. What is wrong with it becomes faults. */
static int unit_read(Unit *unit, const char *path) {
        static const SettingsVisitor visitor = {
                .setting = unit_setting,
                .fault = unit_fault,
                .section = unit_section,
        };
        _cleanup_free_ char *text = NULL;
        char error[64];
        size_t size;
        int r;

        unit->current = path;
        unit->n_faults = 0;

        r = read_file(path, &text, &size);
        if (r == -ENOMEM || r == 0)
                return r;
        if (r < 0) {
                r = unit_fault(unit, 1,
                        r == -EFBIG    ? "the file is larger than 1M"
                        : r == -EBADFD ? "not a regular file"
                                       : strerror_r(-r, error, sizeof(error)));
                return r < 0 ? r : 1;
        }

        digest(&unit->digest, &size, sizeof(size));
        digest(&unit->digest, text, size);
        r = settings_file_parse(text, size, &visitor, unit);
        if (r == -E2BIG)
                r = add_fault(unit->config, path, 1, "too many faults, the rest was not looked at");
        return r < 0 ? r : 1;
}

/* Reads the file at `path` (NULL = there is none) and its drop-ins. */
static int unit_load(Unit *unit, char *const *dirs, const char *file_name, const char *path) {
        _cleanup_strv_ char **drop_ins = NULL;
        _cleanup_free_ char *sub = NULL;
        int r;

        if (path) {
                unit->path = strdup(path);
                if (!unit->path)
                        return -ENOMEM;
                r = unit_read(unit, path);
                if (r <= 0)
                        return r;
                unit->found = true;
        }

        if (asprintf(&sub, "%s.d", file_name) < 0)
                return -ENOMEM;
        r = find_files(unit->config, dirs, sub, ".conf", &drop_ins);
        if (r < 0)
                return r;
        STRV_FOREACH (drop_in, drop_ins) {
                r = unit_read(unit, *drop_in);
                if (r < 0)
                        return r;
                unit->found |= r > 0;
        }
        return 0;
}

/* A fault of the whole, about one setting; see the top. */
static int unit_fault_of_setting(
        void *userdata, const char *section, const char *key, const char *text) {
        Unit *unit = userdata;
        const Origin *best = NULL;

        for (const Origin *o = unit->origins; o < unit->origins + unit->n_origins; o++) {
                if (strcmp(o->section, section) != 0)
                        continue;
                if (strcmp(o->key, key) == 0) {
                        best = o;
                        break;
                }
                if (!best)
                        best = o;
        }

        unit->faulty = true;
        return add_fault(unit->config, best ? best->path : unit->path, best ? best->line : 1, text);
}

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
        return add_fault(config, path, 1, text);
}

/* ---- limiters ---- */

static int open_in_limiter(void *target, const char *section, char **ret_error) {
        return setting_check_section(limiter_settings, n_limiter_settings, section, ret_error);
}

static int set_in_limiter(
        void *target, const char *section, const char *key, const char *value, char **ret_error) {
        return limiter_config_set_in_section(target, section, key, value, ret_error);
}

static int config_add_limiter(Config *config, const ConfigLimiter *limiter) {
        ConfigLimiter *bigger, copy = *limiter;

        copy.name = strdup(limiter->name);
        copy.path = strdup(limiter->path);
        bigger = reallocarray(config->limiters, config->n_limiters + 1, sizeof(*bigger));
        if (bigger)
                config->limiters = bigger;
        if (!copy.name || !copy.path || !bigger) {
                free(copy.name);
                free(copy.path);
                return -ENOMEM;
        }
        bigger[config->n_limiters++] = copy;
        return 0;
}

static int load_limiter(Config *config, char *const *dirs, char *path) {
        _cleanup_free_ char *name = NULL, *error = NULL;
        ConfigLimiter limiter = { .config = LIMITER_CONFIG_DEFAULT, .path = path };
        _cleanup_(unit_done) Unit unit = {
                .config = config,
                .open = open_in_limiter,
                .set = set_in_limiter,
                .target = &limiter.config,
                .digest = DIGEST_INIT,
        };
        int r;

        r = name_of_file(config, path, "limiter", &name);
        if (r < 0 || !name)
                return r;
        r = unit_load(&unit, dirs, base_name(path), path);
        if (r < 0 || !unit.found || unit.faulty)
                return r;
        r = limiter_config_complete(&limiter.config, &error);
        if (r < 0)
                return error ? unit_fault_of_setting(&unit, "Limiter", "Rate", error) : r;
        limiter.name = name;
        limiter.digest = unit.digest;
        return config_add_limiter(config, &limiter);
}

static int load_limiters(Config *config, char *const *dirs) {
        _cleanup_strv_ char **paths = NULL;
        int r;

        r = find_files(config, dirs, NULL, ".limiter", &paths);
        if (r < 0)
                return r;
        STRV_FOREACH (path, paths) {
                r = load_limiter(config, dirs, *path);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- breakers ---- */

static int open_in_breaker(void *target, const char *section, char **ret_error) {
        return setting_check_section(breaker_settings, n_breaker_settings, section, ret_error);
}

static int set_in_breaker(
        void *target, const char *section, const char *key, const char *value, char **ret_error) {
        return breaker_config_set_in_section(target, section, key, value, ret_error);
}

static int config_add_breaker(Config *config, const ConfigBreaker *breaker) {
        ConfigBreaker *bigger, copy = *breaker;

        copy.name = strdup(breaker->name);
        copy.path = strdup(breaker->path);
        bigger = reallocarray(config->breakers, config->n_breakers + 1, sizeof(*bigger));
        if (bigger)
                config->breakers = bigger;
        if (!copy.name || !copy.path || !bigger) {
                free(copy.name);
                free(copy.path);
                return -ENOMEM;
        }
        bigger[config->n_breakers++] = copy;
        return 0;
}

static int load_breaker(Config *config, char *const *dirs, char *path) {
        ConfigBreaker breaker = { .config = BREAKER_CONFIG_DEFAULT, .path = path };
        _cleanup_(unit_done) Unit unit = {
                .config = config,
                .open = open_in_breaker,
                .set = set_in_breaker,
                .target = &breaker.config,
                .digest = DIGEST_INIT,
        };
        _cleanup_free_ char *name = NULL;
        int r;

        r = name_of_file(config, path, "breaker", &name);
        if (r < 0 || !name)
                return r;
        r = unit_load(&unit, dirs, base_name(path), path);
        if (r < 0 || !unit.found || unit.faulty)
                return r;
        breaker.name = name;
        breaker.digest = unit.digest;
        return config_add_breaker(config, &breaker);
}

static int load_breakers(Config *config, char *const *dirs) {
        _cleanup_strv_ char **paths = NULL;
        int r;

        r = find_files(config, dirs, NULL, ".breaker", &paths);
        if (r < 0)
                return r;
        STRV_FOREACH (path, paths) {
                r = load_breaker(config, dirs, *path);
                if (r < 0)
                        return r;
        }
        return 0;
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
 * made, it would be too late for a reload to change nothing. The text starts with KEY=, and the
 * section of a kind is called as the kind is. */
static int unit_try_handler(Unit *unit, const PoolConfig *pool) {
        _cleanup_free_ char *text = NULL, *section = NULL, *key = NULL;
        Handler *handler;
        int r;

        r = pool->handler->open(&pool->handler_config, &handler, &text);
        if (r >= 0) {
                pool->handler->close(handler);
                return 0;
        }
        if (!text)
                return r;
        section = strdup(pool->handler->name);
        key = strndup(text, strcspn(text, "="));
        if (!section || !key)
                return -ENOMEM;
        section[0] = (char) toupper((unsigned char) section[0]);
        return unit_fault_of_setting(unit, section, key, text);
}

static int config_add_pool(Config *config, PoolConfig *pool, const char *path, uint64_t d) {
        ConfigPool *bigger;
        char *copy;

        copy = strdup(path);
        bigger = reallocarray(config->pools, config->n_pools + 1, sizeof(*bigger));
        if (bigger)
                config->pools = bigger;
        if (!copy || !bigger) {
                free(copy);
                return -ENOMEM;
        }

        bigger[config->n_pools++] = (ConfigPool){ .config = pool, .path = copy, .digest = d };
        return 0;
}

_printf_(4, 5) static int fault_of_name(
        Unit *unit, const char *section, const char *key, const char *format, ...) {
        _cleanup_free_ char *what = NULL, *text = NULL;
        va_list arguments;
        int r;

        va_start(arguments, format);
        r = vasprintf(&what, format, arguments);
        va_end(arguments);
        if (r < 0 || asprintf(&text, "%s: %s", key, what) < 0)
                return -ENOMEM;
        return unit_fault_of_setting(unit, section, key, text);
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
                r = fault_of_name(unit, "Pool", "Limiter", "there is no %s.limiter without a fault",
                        pool->limiter);
        if (r >= 0 && limiter_config_is_given(&pool->limiter_config)) {
                if (config_find_limiter(config, name))
                        r = fault_of_name(
                                unit, "Limiter", "Rate", "there is a %s.limiter as well", name);
                else if (limiter_was_made(made, name))
                        r = fault_of_name(unit, "Limiter", "Rate",
                                "a limiter %s was made at run time as well", name);
        }
        if (r >= 0 && pool->breaker && !config_find_breaker(config, pool->breaker) &&
                !breaker_was_made(made, pool->breaker))
                r = fault_of_name(unit, "Pool", "Breaker", "there is no %s.breaker without a fault",
                        pool->breaker);
        if (r >= 0 && pool->own_breaker) {
                if (config_find_breaker(config, name))
                        r = fault_of_name(
                                unit, "Breaker", "Breaker", "there is a %s.breaker as well", name);
                else if (breaker_was_made(made, name))
                        r = fault_of_name(unit, "Breaker", "Breaker",
                                "a breaker %s was made at run time as well", name);
        }
        return r;
}

static int load_pool(Config *config, char *const *dirs, const char *path, Fairness fairness,
        const ConfigMade *made) {
        _cleanup_(pool_config_freep) PoolConfig *pool = NULL;
        _cleanup_(unit_done) Unit unit = {
                .config = config,
                .open = open_in_pool,
                .set = set_in_pool,
                .digest = DIGEST_INIT,
        };
        _cleanup_free_ char *name = NULL;
        int r;

        r = name_of_file(config, path, "pool", &name);
        if (r < 0 || !name)
                return r;

        r = pool_config_new(name, fairness, &pool);
        if (r < 0)
                return r;
        unit.target = pool;

        r = unit_load(&unit, dirs, base_name(path), path);
        if (r < 0)
                return r;
        if (!unit.found)
                return 0;

        /* With lines missing, what shows in the whole would mostly be what these lines said. */
        if (!unit.faulty) {
                r = pool_config_complete_all(pool, unit_fault_of_setting, &unit);
                if (r < 0 && !unit.faulty)
                        return r;
                r = check_shared(config, made, pool, &unit);
                if (r < 0)
                        return r;
        }
        if (!unit.faulty) {
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

static int load_pools(
        Config *config, char *const *dirs, Fairness fairness, const ConfigMade *made) {
        _cleanup_strv_ char **paths = NULL;
        int r;

        r = find_files(config, dirs, NULL, ".pool", &paths);
        if (r < 0)
                return r;
        STRV_FOREACH (path, paths) {
                r = load_pool(config, dirs, *path, fairness, made);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* [Daemon] of sluiced.conf. */
typedef struct DaemonSettings {
        int log_level;
        usec_t drain_timeout;
} DaemonSettings;

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

static const Setting daemon_settings[] = {
        { "LogLevel", "Daemon", "LogLevel", &type_log_level, PLACE(log_level) },
        { "DrainTimeoutUSec", "Daemon", "DrainTimeout", &setting_time, 0, DRAIN_TIMEOUT_MAX,
                PLACE(drain_timeout) },
};

static int open_in_daemon(void *target, const char *section, char **ret_error) {
        return setting_check_section(
                daemon_settings, ELEMENTSOF(daemon_settings), section, ret_error);
}

static int set_in_daemon(
        void *target, const char *section, const char *key, const char *value, char **ret_error) {
        return setting_assign_in_section(target, daemon_settings, ELEMENTSOF(daemon_settings),
                section, key, value, ret_error);
}

static int load_daemon(Config *config, char *const *dirs) {
        DaemonSettings settings = {
                .log_level = config->log_level,
                .drain_timeout = config->drain_timeout,
        };
        _cleanup_(unit_done) Unit unit = {
                .config = config,
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

int config_load(char *const *dirs, Fairness fairness, const ConfigMade *made, Config **ret) {
        _cleanup_(config_freep) Config *config = NULL;
        int r;

        config = malloc(sizeof(*config));
        if (!config)
                return -ENOMEM;
        *config = (Config){ .log_level = -EINVAL, .drain_timeout = DRAIN_TIMEOUT_MAX };

        r = load_daemon(config, dirs);
        if (r < 0)
                return r;
        r = load_limiters(config, dirs);
        if (r < 0)
                return r;
        r = load_breakers(config, dirs);
        if (r < 0)
                return r;
        r = load_pools(config, dirs, fairness, made);
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
