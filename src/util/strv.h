/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* NULL-terminated lists of strings. NULL is the empty list. Each list owns its strings. */

#include <stdbool.h>
#include <stddef.h>

#include "util/macro.h"

char **strv_free(char **l); /* returns NULL */
size_t strv_length(char *const *l);
int strv_copy(char *const *l, char ***ret);             /* 0 or -ENOMEM */
int strv_push(char ***l, char *s);                      /* takes s over on success; 0 or -ENOMEM */
int strv_extend(char ***l, const char *s);              /* appends a copy; 0 or -ENOMEM */
char *strv_join(char *const *l, const char *separator); /* malloc()ed; NULL if there is no memory */
bool strv_contains(char *const *l, const char *s);
bool strv_equal(char *const *a, char *const *b);

DEFINE_CLEANUP(char **, strv_free)
#define _cleanup_strv_ _cleanup_(strv_freep)

#define STRV_FOREACH(s, l) for (char *const *s = (l); s && *s; s++)
