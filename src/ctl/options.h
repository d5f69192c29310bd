/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The command line: typed options in tables, which may stand before or after the verb, and the help
 * texts that are made from the same tables. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/ctl.h"

typedef struct OptionNumber OptionNumber;
typedef struct OptionType OptionType;

/* A number that may be absent; spans are in microseconds. */
struct OptionNumber {
        bool given;
        union {
                uint64_t value;
                int64_t signed_value;
        };
};

struct OptionType {
        const char *expects; /* "a time like 30s", for the message about a bad value */

        /* 0, or a negative errno if the text is not what is expected. */
        int (*parse)(const char *text, void *target);
};

extern const OptionType option_flag;     /* bool; takes no value */
extern const OptionType option_text;     /* char *, borrowed from argv */
extern const OptionType option_list;     /* char **, one more with each use */
extern const OptionType option_time;     /* OptionNumber, infinity is USEC_INFINITY */
extern const OptionType option_count;    /* OptionNumber, from 1 */
extern const OptionType option_attempts; /* OptionNumber, from 1 to 1000000 */
extern const OptionType option_retries;  /* OptionNumber, from 0 to 999999 */
extern const OptionType option_priority; /* OptionNumber, signed */
extern const OptionType option_json;     /* JsonMode */

struct Option {
        const char *name;
        char letter;         /* 0 = has none */
        const char *metavar; /* NULL = takes no value */
        const OptionType *type;
        void *target; /* what type->parse() fills */
        const char *help;
        const char *implied; /* the value where only the name stands; NULL = it must be given */
};

/* Reads all words of argv but the first. Verbs are found in `verbs`; *ret_verb is NULL if none was
 * given. *ret_arguments is the caller's to strv_free(). 0, or -EINVAL after the fault was said. */
int options_parse(Ctl *ctl, int argc, char **argv, const Option *globals, size_t n_globals,
        const Verb *const *verbs, size_t n_verbs, const Verb **ret_verb, char ***ret_arguments);

/* The verb of that name. 0, or -EINVAL after it was said that there is none. */
int verb_find(const Verb *const *verbs, size_t n_verbs, const char *word, const Verb **ret);

void options_print_help(const Option *options, size_t n_options);
