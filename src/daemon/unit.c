/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* For each setting the place that set it last is kept, so that a fault that shows only in the whole
 * still points to a line: that of its setting, else the first line of its section, else the first
 * line of the file. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "daemon/settings-file.h"
#include "daemon/unit.h"
#include "util/fd.h"
#include "util/parse.h"
#include "util/strv.h"

#define FILE_SIZE_MAX ((size_t) 1 << 20)

/* Of one file; what has so many is no settings file. */
#define FAULTS_MAX 100

#define DIGEST_PRIME UINT64_C(0x100000001b3)

/* Which line said something; the header of a section has no key. */
struct Origin {
        char *section, *key;
        char *path;
        unsigned line;
};

void unit_done(Unit *unit) {
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

int faults_add(char ***faults, const char *path, unsigned line, const char *text) {
        char *fault;
        int r;

        if (asprintf(&fault, "%s:%u: %s", path, line, text) < 0)
                return -ENOMEM;
        make_valid(fault);

        /* A folder that cannot be read is met once per kind of file. */
        if (strv_contains(*faults, fault)) {
                free(fault);
                return 0;
        }
        r = strv_push(faults, fault);
        if (r < 0)
                free(fault);
        return r;
}

const char *base_name(const char *path) {
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

int find_settings_files(
        char ***faults, char *const *dirs, const char *sub, const char *suffix, char ***ret) {
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
                        r = faults_add(faults, path, 1, strerror_r(-r, error, sizeof(error)));
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
        r = faults_add(unit->faults, unit->current, line, text);
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
                r = faults_add(
                        unit->faults, path, 1, "too many faults, the rest was not looked at");
        return r < 0 ? r : 1;
}

int unit_load(Unit *unit, char *const *dirs, const char *file_name, const char *path) {
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
        r = find_settings_files(unit->faults, dirs, sub, ".conf", &drop_ins);
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

int unit_fault_of_setting(void *userdata, const char *section, const char *key, const char *text) {
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
        return faults_add(
                unit->faults, best ? best->path : unit->path, best ? best->line : 1, text);
}

int unit_fault_of_name(Unit *unit, const char *section, const char *key, const char *format, ...) {
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
