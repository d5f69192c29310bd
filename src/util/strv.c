/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdlib.h>
#include <string.h>

#include "util/strv.h"

char **strv_free(char **l) {
        for (char **s = l; s && *s; s++)
                free(*s);
        free(l);
        return NULL;
}

size_t strv_length(char *const *l) {
        size_t n = 0;

        STRV_FOREACH (s, l)
                n++;
        return n;
}

int strv_copy(char *const *l, char ***ret) {
        _cleanup_strv_ char **copy = NULL;

        if (!l) {
                *ret = NULL;
                return 0;
        }

        copy = calloc(strv_length(l) + 1, sizeof(*copy));
        if (!copy)
                return -ENOMEM;

        for (size_t i = 0; l[i]; i++) {
                copy[i] = strdup(l[i]);
                if (!copy[i])
                        return -ENOMEM;
        }

        *ret = TAKE_PTR(copy);
        return 0;
}

int strv_push(char ***l, char *s) {
        size_t n = strv_length(*l);
        char **bigger;

        bigger = reallocarray(*l, n + 2, sizeof(*bigger));
        if (!bigger)
                return -ENOMEM;

        bigger[n] = s;
        bigger[n + 1] = NULL;
        *l = bigger;
        return 0;
}

int strv_extend(char ***l, const char *s) {
        _cleanup_free_ char *copy = NULL;
        int r;

        copy = strdup(s);
        if (!copy)
                return -ENOMEM;

        r = strv_push(l, copy);
        if (r < 0)
                return r;

        (void) TAKE_PTR(copy); /* the list owns it now */
        return 0;
}

char *strv_join(char *const *l, const char *separator) {
        size_t separator_length = strlen(separator), size = 1;
        char *joined, *p;

        STRV_FOREACH (s, l)
                size += strlen(*s) + separator_length;
        joined = p = malloc(size);
        if (!joined)
                return NULL;

        *p = '\0';
        STRV_FOREACH (s, l) {
                if (s != l)
                        p = stpcpy(p, separator);
                p = stpcpy(p, *s);
        }
        return joined;
}

bool strv_contains(char *const *l, const char *s) {
        STRV_FOREACH (i, l)
                if (strcmp(*i, s) == 0)
                        return true;
        return false;
}

bool strv_equal(char *const *a, char *const *b) {
        size_t n = strv_length(a);

        if (n != strv_length(b))
                return false;
        for (size_t i = 0; i < n; i++)
                if (strcmp(a[i], b[i]) != 0)
                        return false;
        return true;
}
