/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Assignments: settings and their values as text, by which an object is made what it was in another
 * life of the daemon. A line is one of them: its name outside files, the type of the value, and the
 * value, which is a number, or strings as in a settings file with quotes around each:
 *
 *     RunTimeoutUSec t 5000000
 *     Durable b 1
 *     ExecStart a "/usr/bin/gzip" "-c"
 *
 * Pure. */

#include <stdio.h>

#include "engine/setting.h"

/* As pool_config_set(). */
typedef int (*assignment_t)(
        void *target, const char *name, const SettingValue *value, char **ret_error);

/* Prints the line for the value of the setting in `source`. */
void assignment_print(FILE *f, const void *source, const Setting *s);

/* The same for all of the table. */
void assignments_print(FILE *f, const void *source, const Setting *table, size_t n);

/* Makes the assignments of a text that may be anything, in order, until one cannot be made. 0,
 * -ENOMEM, or what `assign` said; -EBADMSG with a text where it is no assignment. */
int assignments_make(const char *text, assignment_t assign, void *target, char **ret_error);
