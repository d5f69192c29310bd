/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What all of sluicectl shares: the global options, the shape of a verb, and how failures are said.
 * One thread, one call at a time; running out of memory ends the program. */

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-bus.h>

#include "util/macro.h"

#define SLUICE_NAME "org.sluice1"
#define SLUICE_PATH "/org/sluice1"
#define MANAGER_INTERFACE "org.sluice1.Manager"
#define POOL_INTERFACE "org.sluice1.Pool"
#define PIPELINE_INTERFACE "org.sluice1.Pipeline"
#define JOB_INTERFACE "org.sluice1.Job"
#define GROUP_INTERFACE "org.sluice1.Group"
#define BREAKER_INTERFACE "org.sluice1.Breaker"
#define LIMITER_INTERFACE "org.sluice1.Limiter"

typedef struct Ctl Ctl;
typedef struct Option Option;
typedef struct Verb Verb;

typedef enum JsonMode { JSON_OFF, JSON_SHORT, JSON_PRETTY } JsonMode;

struct Ctl {
        bool system, user;
        char *address; /* borrowed from argv */
        bool no_start; /* a daemon that does not run stays so */
        JsonMode json;
        bool no_pager, no_legend, quiet;
        size_t first_literal; /* index of the first argument that stood after "--" */
        sd_bus *bus;          /* once bus_connect() was called */
};

struct Verb {
        const char *name;
        const char *arguments; /* as shown in the usage line */
        const char *summary;   /* one line, no full stop */
        const char *details;   /* more for --help; NULL = nothing to add */
        const char *example;   /* one command line with its meaning after two blanks and a # */
        const Option *options;
        size_t n_options;
        size_t min_arguments, max_arguments;

        /* `arguments` is a NULL-terminated list. Returns the exit status, or a negative errno after
         * the failure was said: -EINVAL is a fault in how it was called (exit status 2), all other
         * are failures (1). */
        int (*run)(Ctl *ctl, char **arguments);
};

/* Says what is wrong with the command line. Always -EINVAL. */
int usage_error(const char *format, ...) _printf_(1, 2);

/* Says "Failed to …: <text of the error>" and returns r, a negative errno. */
int failure(int r, const char *format, ...) _printf_(2, 3);

/* One line for people, which --quiet silences; to standard error. */
void notice(const Ctl *ctl, const char *format, ...) _printf_(2, 3);

/* The first of `names` that is close enough to `word` to be what was meant; NULL if none is. */
const char *did_you_mean(const char *word, const char *const *names, size_t n_names);
