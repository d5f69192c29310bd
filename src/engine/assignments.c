/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "engine/assignments.h"
#include "util/parse.h"
#include "util/strv.h"

/* ---- printing ---- */

/* Within quotes nothing else has a meaning to split_words(), or ends the line. */
static void print_string(FILE *f, const char *s) {
        (void) fputs(" \"", f);
        for (; *s; s++) {
                if (*s == '"' || *s == '\\')
                        (void) fputc('\\', f);
                if (*s == '\n')
                        (void) fputs("\\n", f);
                else
                        (void) fputc(*s, f);
        }
        (void) fputc('"', f);
}

void assignment_print(FILE *f, const void *source, const Setting *s) {
        SettingValue value;

        setting_value(source, s, &value);
        (void) fprintf(f, "%s %c", s->name, value.type);
        if (value.type == 's')
                print_string(f, value.string);
        else if (value.type == 'a')
                STRV_FOREACH (word, value.list)
                        print_string(f, *word);
        else
                (void) fprintf(f, " %" PRIu64, value.number);
        (void) fputc('\n', f);
}

void assignments_print(FILE *f, const void *source, const Setting *table, size_t n) {
        for (size_t i = 0; i < n; i++)
                assignment_print(f, source, &table[i]);
}

/* ---- reading ---- */

/* The words of a line are a name, a type, and what is of that type. The value borrows from them. */
static int read_value(char *const *words, SettingValue *ret) {
        size_t n = strv_length(words);
        uint64_t max = UINT64_MAX;

        if (n < 2 || strlen(words[1]) != 1)
                return -EINVAL;
        *ret = (SettingValue){ .type = words[1][0] };
        switch (ret->type) {

        case 'a':
                ret->list = words + 2;
                return 0;

        case 's':
                ret->string = words[2];
                return n == 3 ? 0 : -EINVAL;

        case 'b':
        case 'u':
                max = ret->type == 'b' ? 1 : UINT32_MAX;
                break;

        case 't':
                break;

        default:
                return -EINVAL;
        }
        return n == 3 ? parse_uint64(words[2], 0, max, &ret->number) : -EINVAL;
}

static int fault(char **ret_error, const char *line) {
        char quoted[SETTING_QUOTE_SIZE];
        int r;

        r = setting_fault(
                ret_error, "\"%s\" is no assignment to a setting", setting_quote(quoted, line));
        return r == -EINVAL ? -EBADMSG : r;
}

static int make(const char *line, assignment_t assign, void *target, char **ret_error) {
        _cleanup_strv_ char **words = NULL;
        SettingValue value;
        int r;

        r = split_words(line, &words);
        if (r >= 0)
                r = read_value(words, &value);
        if (r == -EINVAL || r == -ERANGE)
                return fault(ret_error, line);
        return r < 0 ? r : assign(target, words[0], &value, ret_error);
}

int assignments_make(const char *text, assignment_t assign, void *target, char **ret_error) {
        while (*text) {
                size_t n = strcspn(text, "\n");
                _cleanup_free_ char *line = strndup(text, n);
                int r;

                if (!line)
                        return -ENOMEM;
                r = make(line, assign, target, ret_error);
                if (r < 0)
                        return r;
                text += n + (text[n] == '\n');
        }
        return 0;
}
