/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/command-line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/strv.h"

int command_line_check(char *const *words, char **ret_error) {
        STRV_FOREACH (word, words)
                for (const char *s = strchr(*word, '%'); s; s = strchr(s + 2, '%'))
                        if (!s[1] || !strchr("jptw%", s[1]))
                                return handler_refuse(ret_error, -EINVAL,
                                        "ExecStart=: unknown specifier in \"%s\"; there are %%j "
                                        "(job id), %%p (pool), %%t (tag), %%w (worker) and %%%%",
                                        *word);
        return 0;
}

bool command_line_is_constant(char *const *words) {
        STRV_FOREACH (word, words)
                if (strchr(*word, '%'))
                        return false;
        return true;
}

static void print_specifier(FILE *f, char specifier, const Attempt *attempt) {
        switch (specifier) {
        case 'j':
                (void) fprintf(f, "%" PRIu64, attempt->id);
                break;
        case 'p':
                (void) fputs(attempt->pool, f);
                break;
        case 't':
                (void) fputs(attempt->tag, f);
                break;
        case 'w':
                (void) fprintf(f, "%" PRIu32, attempt->worker);
                break;
        default:
                (void) fputc(specifier, f);
        }
}

static char *expand_word(const char *word, const Attempt *attempt) {
        char *expanded = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&expanded, &size);
        if (!f)
                return NULL;

        for (const char *s = word; *s; s++)
                if (*s == '%' && s[1])
                        print_specifier(f, *++s, attempt);
                else
                        (void) fputc(*s, f);

        if (fclose(f) != 0) {
                free(expanded);
                return NULL;
        }
        return expanded;
}

int command_line_expand(char *const *words, const Attempt *attempt, char ***ret) {
        _cleanup_strv_ char **line = NULL;
        size_t n = 0;

        line = calloc(strv_length(words) + strv_length(attempt->arguments) + 1, sizeof(char *));
        if (!line)
                return -ENOMEM;

        STRV_FOREACH (word, words) {
                line[n] = n == 0 ? strdup(*word) : expand_word(*word, attempt);
                if (!line[n++])
                        return -ENOMEM;
        }
        STRV_FOREACH (argument, attempt->arguments) {
                line[n] = strdup(*argument);
                if (!line[n++])
                        return -ENOMEM;
        }

        *ret = TAKE_PTR(line);
        return 0;
}
