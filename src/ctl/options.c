/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <string.h>

#include "ctl/options.h"
#include "ctl/terminal.h"
#include "ctl/text.h"
#include "util/parse.h"
#include "util/strv.h"
#include "util/time.h"

static int parse_flag(const char *text, void *target) {
        *(bool *) target = true;
        return 0;
}

static int parse_text(const char *text, void *target) {
        *(const char **) target = text;
        return 0;
}

static int parse_list(const char *text, void *target) {
        if (strv_extend(target, text) < 0)
                text_out_of_memory();
        return 0;
}

static int parse_time(const char *text, void *target) {
        OptionNumber *number = target;

        number->given = true;
        return parse_usec(text, &number->value);
}

static int parse_count(const char *text, void *target) {
        OptionNumber *number = target;

        number->given = true;
        return parse_uint64(text, 1, UINT64_MAX, &number->value);
}

static int parse_attempts(const char *text, void *target) {
        OptionNumber *number = target;

        number->given = true;
        return parse_uint64(text, 1, 1000000, &number->value);
}

static int parse_retries(const char *text, void *target) {
        OptionNumber *number = target;

        number->given = true;
        return parse_uint64(text, 0, 999999, &number->value);
}

static int parse_priority(const char *text, void *target) {
        OptionNumber *number = target;

        number->given = true;
        return parse_int64(text, -1000, 1000, &number->signed_value);
}

static int parse_json(const char *text, void *target) {
        static const char *const modes[] = {
                [JSON_OFF] = "off",
                [JSON_SHORT] = "short",
                [JSON_PRETTY] = "pretty",
        };

        for (size_t i = 0; i < ELEMENTSOF(modes); i++)
                if (strcmp(modes[i], text) == 0) {
                        *(JsonMode *) target = (JsonMode) i;
                        return 0;
                }
        return -EINVAL;
}

const OptionType option_flag = { NULL, parse_flag };
const OptionType option_text = { "text", parse_text };
const OptionType option_list = { "text", parse_list };
const OptionType option_time = { "a time like 30s, 1min 30s or infinity", parse_time };
const OptionType option_count = { "a number from 1", parse_count };
const OptionType option_attempts = { "a number from 1 to 1000000", parse_attempts };
const OptionType option_retries = { "a number from 0 to 999999", parse_retries };
const OptionType option_priority = { "a number from -1000 to 1000", parse_priority };
const OptionType option_json = { "short, pretty or off", parse_json };

/* Where the words of a command line are looked up: the global options and, once it is known, those
 * of the verb. */
typedef struct Tables {
        const Option *globals;
        size_t n_globals;
        const Verb *verb;
} Tables;

static size_t n_options(const Tables *tables) {
        return tables->n_globals + (tables->verb ? tables->verb->n_options : 0);
}

static const Option *option_at(const Tables *tables, size_t i) {
        return i < tables->n_globals ? tables->globals + i
                                     : tables->verb->options + i - tables->n_globals;
}

static const Option *find_by_name(const Tables *tables, const char *name, size_t length) {
        for (size_t i = 0; i < n_options(tables); i++) {
                const Option *o = option_at(tables, i);

                if (strlen(o->name) == length && strncmp(o->name, name, length) == 0)
                        return o;
        }
        return NULL;
}

static const Option *find_by_letter(const Tables *tables, char letter) {
        for (size_t i = 0; i < n_options(tables); i++)
                if (option_at(tables, i)->letter == letter)
                        return option_at(tables, i);
        return NULL;
}

static int unknown_option(const Tables *tables, const char *word) {
        size_t n = n_options(tables);
        _cleanup_free_ const char **names = calloc(n, sizeof(char *));
        _cleanup_free_ char *name = NULL;
        const char *close;

        if (!names)
                text_out_of_memory();
        for (size_t i = 0; i < n; i++)
                names[i] = option_at(tables, i)->name;
        name = strndup(word, strcspn(word, "="));
        if (!name)
                text_out_of_memory();

        close = strncmp(name, "--", 2) == 0 ? did_you_mean(name + 2, names, n) : NULL;
        if (close)
                return usage_error("Unknown option \"%s\"; did you mean --%s?", name, close);
        if (!tables->verb)
                return usage_error(
                        "Unknown option \"%s\"; see --help. Options of a verb stand after it.",
                        name);
        return usage_error("Unknown option \"%s\"; see \"sluicectl %s --help\". What stands after "
                           "\"--\" is never taken for an option.",
                name, tables->verb->name);
}

static int set_option(const Option *option, const char *value) {
        if (option->type->parse(value, option->target) < 0)
                return usage_error("Bad value \"%s\" for --%s; expected %s.", value, option->name,
                        option->type->expects);
        return 0;
}

/* A value that may be left out is never the next word, which may be meant for something else. */
static bool needs_value(const Option *option) {
        return option->metavar && !option->implied;
}

/* Both take the value from the next word where it is needed and not part of this one, and then
 * return 1. */
static int parse_long(const Tables *tables, const char *word, const char *next) {
        size_t length = strcspn(word + 2, "=");
        const char *value = word[2 + length] ? word + 2 + length + 1 : NULL;
        const Option *option = find_by_name(tables, word + 2, length);
        int r;

        if (!option)
                return unknown_option(tables, word);
        if (!option->metavar && value)
                return usage_error("Option --%s takes no value.", option->name);
        if (value || !needs_value(option))
                return set_option(option, value ?: option->implied);
        if (!next)
                return usage_error(
                        "Option --%s needs a value: %s.", option->name, option->type->expects);
        r = set_option(option, next);
        return r < 0 ? r : 1;
}

static int parse_letters(const Tables *tables, const char *word, const char *next) {
        for (const char *p = word + 1; *p; p++) {
                const Option *option = find_by_letter(tables, *p);
                int r;

                if (!option)
                        return unknown_option(tables, word);
                if (option->metavar && p[1])
                        return set_option(option, p + 1);
                if (needs_value(option) && !next)
                        return usage_error(
                                "Option -%c needs a value: %s.", *p, option->type->expects);
                r = set_option(option, needs_value(option) ? next : option->implied);
                if (r < 0 || needs_value(option))
                        return r < 0 ? r : 1;
        }
        return 0;
}

int verb_find(const Verb *const *verbs, size_t n_verbs, const char *word, const Verb **ret) {
        _cleanup_free_ const char **names = calloc(n_verbs, sizeof(char *));
        const char *close;

        if (!names)
                text_out_of_memory();
        for (size_t i = 0; i < n_verbs; i++) {
                if (strcmp(verbs[i]->name, word) == 0) {
                        *ret = verbs[i];
                        return 0;
                }
                names[i] = verbs[i]->name;
        }
        close = did_you_mean(word, names, n_verbs);
        if (close)
                return usage_error("Unknown verb \"%s\"; did you mean \"%s\"?", word, close);
        return usage_error("Unknown verb \"%s\"; \"sluicectl --help\" lists them all.", word);
}

int options_parse(Ctl *ctl, int argc, char **argv, const Option *globals, size_t n_globals,
        const Verb *const *verbs, size_t n_verbs, const Verb **ret_verb, char ***ret_arguments) {
        Tables tables = { .globals = globals, .n_globals = n_globals };
        _cleanup_strv_ char **arguments = NULL;
        bool literal = false;

        ctl->first_literal = SIZE_MAX;
        for (int i = 1; i < argc; i++) {
                const char *word = argv[i];
                int r = 0;

                if (!literal && strcmp(word, "--") == 0) {
                        literal = true;
                        ctl->first_literal = strv_length(arguments);
                } else if (!literal && strncmp(word, "--", 2) == 0)
                        r = parse_long(&tables, word, argv[i + 1]);
                else if (!literal && word[0] == '-' && word[1])
                        r = parse_letters(&tables, word, argv[i + 1]);
                else if (!tables.verb)
                        r = verb_find(verbs, n_verbs, word, &tables.verb);
                else if (strv_extend(&arguments, word) < 0)
                        text_out_of_memory();
                if (r < 0)
                        return r;
                i += r;
        }
        *ret_verb = tables.verb;
        *ret_arguments = TAKE_PTR(arguments);
        return 0;
}

void options_print_help(const Option *options, size_t n) {
        for (size_t i = 0; i < n; i++) {
                const Option *o = options + i;
                _cleanup_free_ char *letter = NULL, *word = NULL;

                letter = o->letter ? text_format("-%c ", o->letter) : text_copy("   ");
                if (o->implied)
                        word = text_format("--%s[=%s]", o->name, o->metavar);
                else if (o->metavar)
                        word = text_format("--%s=%s", o->name, o->metavar);
                else
                        word = text_format("--%s", o->name);
                printf("  %s%-21s ", letter, word);
                terminal_print_wrapped(o->help, 27, 0, terminal_text_columns());
        }
}
