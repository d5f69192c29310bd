/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Unit: a settings file and its drop-ins (`man.pool`, `man.pool.d/50-more.conf`), which are read in
 * this order into one target. One fault refuses the unit with everything in it: half of what
 * somebody wrote is not what they wanted. Only reads. Main thread; touches the disk. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macro.h"

typedef struct Origin Origin;
typedef struct Unit Unit;

/* 64-bit FNV-1a: enough to notice an edit, no defence against who can write to /etc. */
#define DIGEST_INIT UINT64_C(0xcbf29ce484222325)

struct Unit {
        char ***faults; /* borrowed: "FILE:LINE: message", gets those of the unit */
        int (*open)(void *target, const char *section, char **ret_error); /* where sections go, … */
        int (*set)(void *target, const char *section, const char *key, const char *value,
                char **ret_error); /* … and settings, with the target */
        void *target;              /* borrowed */
        char *path;                /* of the main file; NULL = there is none */
        uint64_t digest;           /* DIGEST_INIT before, then that of all that was read */
        bool found;                /* there is something that is not masked */
        bool faulty;
        Origin *origins;
        size_t n_origins;

        /* While one file is read: */
        const char *current; /* borrowed: its path */
        unsigned n_faults;
};

/* Reads the file at `path` (NULL = there is none) and its drop-ins. 0, also with faults, or
 * -ENOMEM. */
int unit_load(Unit *unit, char *const *dirs, const char *file_name, const char *path);
void unit_done(Unit *unit);

/* A fault of the whole, about one setting: told with the line that it is of. `userdata` is a Unit.
 * 0 or -ENOMEM. */
int unit_fault_of_setting(void *userdata, const char *section, const char *key, const char *text);

/* The same with a text that begins with the key. */
int unit_fault_of_name(Unit *unit, const char *section, const char *key, const char *format, ...)
        _printf_(4, 5);

/* Adds a fault, once. 0 or -ENOMEM. */
int faults_add(char ***faults, const char *path, unsigned line, const char *text);

/* Lists the files of all folders (of `sub` in each, unless NULL) by name, the first of each name. A
 * folder that cannot be read is a fault, one that is not there is none. */
int find_settings_files(
        char ***faults, char *const *dirs, const char *sub, const char *suffix, char ***ret);

const char *base_name(const char *path);
