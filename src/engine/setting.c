/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A type is a function that reads a value, checks it and puts it in its place, and the kind of
 * memory that the place is. The words of a fault come from the row as well, so they cannot say
 * another range than the one that is applied. */

#include <assert.h>
#include <ctype.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "engine/setting.h"
#include "util/parse.h"
#include "util/strv.h"

void *setting_place(const void *target, const Setting *s) {
        return (char *) target + s->place;
}

int setting_fault(char **ret_error, const char *format, ...) {
        char *text;
        va_list arguments;
        int r;

        va_start(arguments, format);
        r = vasprintf(&text, format, arguments);
        va_end(arguments);
        if (r < 0)
                return -ENOMEM;

        *ret_error = text;
        return -EINVAL;
}

const char *setting_quote(char buf[static SETTING_QUOTE_SIZE], const char *s) {
        size_t n = strnlen(s, SETTING_QUOTE_MAX + 1);
        bool cut = n > SETTING_QUOTE_MAX;

        if (cut)
                for (n = SETTING_QUOTE_MAX; n > 0 && ((unsigned char) s[n] & 0xC0) == 0x80;)
                        n--;
        memcpy(buf, s, n);
        (void) snprintf(buf + n, SETTING_QUOTE_SIZE - n, "%s", cut ? "…" : "");
        if (!text_is_valid(buf))
                (void) snprintf(buf, SETTING_QUOTE_SIZE, "?");
        return buf;
}

static int fault_type(const Assignment *a) {
        return setting_fault(a->ret_error, "%s: needs %s", a->label, a->setting->type->what);
}

/* Takes `copy` over and puts it where a text lives. */
static int store_string(const Assignment *a, char *copy) {
        char **place = setting_place(a->target, a->setting);

        free(*place);
        *place = copy;
        return 1;
}

/* The same for a list; one without entries is stored as none at all. */
static int store_list(const Assignment *a, char **list) {
        char ***place = setting_place(a->target, a->setting);

        strv_free(*place);
        *place = strv_length(list) > 0 ? list : strv_free(list);
        return *place ? 1 : 0;
}

static int parse_number(const char *s, uint64_t *ret) {
        return parse_uint64(s, 0, UINT64_MAX, ret);
}

/* A number of which `infinity` may be one. */
static int parse_count(const char *s, uint64_t *ret) {
        if (strcmp(s, "infinity") != 0)
                return parse_number(s, ret);
        *ret = UINT64_MAX;
        return 0;
}

static char *format_number(char buf[static FORMAT_USEC_MAX], uint64_t n) {
        (void) snprintf(buf, FORMAT_USEC_MAX, "%llu", (unsigned long long) n);
        return buf;
}

static char *format_size(char buf[static FORMAT_USEC_MAX], uint64_t n) {
        static const char suffixes[] = "KMGT";
        size_t i = 0;

        for (; n > 0 && n % 1024 == 0 && i < strlen(suffixes); i++)
                n /= 1024;
        (void) snprintf(buf, FORMAT_USEC_MAX, "%llu%.1s", (unsigned long long) n,
                i > 0 ? suffixes + i - 1 : "");
        return buf;
}

static int fault_number(const Assignment *a, const char *what) {
        const Setting *s = a->setting;
        char value[SETTING_QUOTE_SIZE], min[FORMAT_USEC_MAX], max[FORMAT_USEC_MAX];
        bool text = a->value->type == 's';

        return setting_fault(a->ret_error, "%s: %s%s%s is %s%s, allowed are %s to %s%s", a->label,
                text ? "\"" : "",
                text ? setting_quote(value, a->value->string)
                     : format_number(value, a->value->number),
                text ? "\"" : "", what ? "not " : "", what ?: "out of range",
                s->type->format(min, s->min), s->type->format(max, s->max),
                s->unbounded ? ", or infinity" : "");
}

static int read_number(const Assignment *a, uint64_t *ret) {
        const Setting *s = a->setting;
        uint64_t n = 0;
        int r = 0;

        if (a->value->type == 's')
                r = s->type->parse(a->value->string, &n);
        else if (a->value->type != 'u' && a->value->type != 't')
                return fault_type(a);
        else if (s->type->parse == parse_usec && strcmp(a->label, s->name) != 0)
                return setting_fault(a->ret_error,
                        "%s: needs a text such as \"30s\"; as a number of microseconds it is %s",
                        a->label, s->name);
        else
                n = a->value->number;

        if (r == -EINVAL)
                return fault_number(a, s->type->what);
        if (r < 0 || ((n < s->min || n > s->max) && !(s->unbounded && n == USEC_INFINITY)))
                return fault_number(a, NULL);

        *ret = n;
        return 0;
}

static int set_uint64(const Assignment *a) {
        int r = read_number(a, setting_place(a->target, a->setting));

        return r < 0 ? r : 1;
}

static int set_uint32(const Assignment *a) {
        uint64_t n = 0;
        int r;

        r = read_number(a, &n);
        if (r < 0)
                return r;

        *(uint32_t *) setting_place(a->target, a->setting) = (uint32_t) n;
        return 1;
}

static int set_boolean(const Assignment *a) {
        char value[SETTING_QUOTE_SIZE];
        bool b = a->value->number;

        if (a->value->type == 's' && parse_boolean(a->value->string, &b) < 0)
                return setting_fault(a->ret_error, "%s: \"%s\" is neither yes nor no", a->label,
                        setting_quote(value, a->value->string));
        if (a->value->type != 's' && a->value->type != 'b')
                return fault_type(a);

        *(bool *) setting_place(a->target, a->setting) = b;
        return 1;
}

/* Finds the text among the words of the row; the index is *ret. */
int setting_read_word(const Assignment *a, int *ret) {
        const char *const *words = a->setting->words;
        _cleanup_free_ char *allowed = NULL;
        char value[SETTING_QUOTE_SIZE];

        if (a->value->type != 's')
                return fault_type(a);

        for (int i = 0; words[i]; i++)
                if (strcmp(words[i], a->value->string) == 0) {
                        *ret = i;
                        return 0;
                }

        allowed = strv_join((char *const *) words, ", ");
        if (!allowed)
                return -ENOMEM;
        return setting_fault(a->ret_error, "%s: \"%s\" is not known, allowed are %s", a->label,
                setting_quote(value, a->value->string), allowed);
}

/* Checks what is common to all texts and hands out a copy. */
static int read_text(const Assignment *a, char **ret) {
        size_t length;
        char *copy;

        if (a->value->type != 's')
                return fault_type(a);

        length = strlen(a->value->string);
        if (length > a->setting->max)
                return setting_fault(a->ret_error, "%s: %zu bytes are too long, allowed are %llu",
                        a->label, length, (unsigned long long) a->setting->max);

        copy = strdup(a->value->string);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

static int set_text(const Assignment *a) {
        char *copy = NULL;
        int r;

        r = read_text(a, &copy);
        if (r < 0)
                return r;
        return store_string(a, copy);
}

/* A text that has to have a form of its own. */
static int set_checked(const Assignment *a, bool (*is_valid)(const char *s)) {
        _cleanup_free_ char *copy = NULL;
        char value[SETTING_QUOTE_SIZE];
        int r;

        r = read_text(a, &copy);
        if (r < 0)
                return r;
        assert(copy);
        if (!is_valid(copy))
                return setting_fault(a->ret_error, "%s: \"%s\" is not %s", a->label,
                        setting_quote(value, copy), a->setting->type->what);
        return store_string(a, TAKE_PTR(copy));
}

static bool path_is_absolute(const char *s) {
        return *s == '/';
}

static bool module_path_is_valid(const char *s) {
        return *s == '/' || (*s && !strchr(s, '/'));
}

/* Calls to ourselves would go in circles, and the bus does no work for others. */
static bool bus_name_is_of_others(const char *s) {
        return *s != ':' && sd_bus_service_name_is_valid(s) > 0 && strcmp(s, "org.sluice1") != 0 &&
               strcmp(s, "org.freedesktop.DBus") != 0;
}

static bool object_path_is_valid(const char *s) {
        return sd_bus_object_path_is_valid(s) > 0;
}

static int set_path(const Assignment *a) {
        return set_checked(a, path_is_absolute);
}

static int set_module_path(const Assignment *a) {
        return set_checked(a, module_path_is_valid);
}

static int set_bus_name(const Assignment *a) {
        return set_checked(a, bus_name_is_of_others);
}

static int set_object_path(const Assignment *a) {
        return set_checked(a, object_path_is_valid);
}

/* What the rule of polkit lets the daemon start: its prefix, and a name without a dash. */
static bool unit_template_is_valid(const char *s) {
        static const char prefix[] = "sluice-", suffix[] = "@.service";
        size_t n;

        if (strncmp(s, prefix, strlen(prefix)) != 0)
                return false;
        s += strlen(prefix);
        n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
        return n > 0 && strcmp(s + n, suffix) == 0;
}

static int set_unit_template(const Assignment *a) {
        return set_checked(a, unit_template_is_valid);
}

static int set_cpus(const Assignment *a) {
        _cleanup_free_ char *copy = NULL;
        char value[SETTING_QUOTE_SIZE];
        cpu_set_t cpus;
        int r;

        r = read_text(a, &copy);
        if (r < 0)
                return r;

        r = parse_cpu_set(copy, &cpus);
        if (r < 0)
                return setting_fault(a->ret_error, "%s: \"%s\" is not %s, allowed are CPUs 0 to %i",
                        a->label, setting_quote(value, copy), a->setting->type->what,
                        CPU_SETSIZE - 1);
        return store_string(a, TAKE_PTR(copy));
}

/* The words of a text, or a copy of a list. */
static int read_words(const Assignment *a, char ***ret) {
        int r;

        if (a->value->type == 'a')
                return strv_copy(a->value->list, ret);
        if (a->value->type != 's')
                return fault_type(a);

        r = split_words(a->value->string, ret);
        if (r == -EINVAL)
                return setting_fault(a->ret_error,
                        "%s: a quote is not closed, or a backslash is not followed by an escape",
                        a->label);
        return r;
}

static int fault_too_many(const Assignment *a, size_t n) {
        return setting_fault(a->ret_error, "%s: %zu entries are too many, allowed are %llu",
                a->label, n, (unsigned long long) a->setting->max);
}

/* A wrong path is told apart from other faults: the bus has an error of its own for it. */
static int fault_command(const Assignment *a, const char *path) {
        char value[SETTING_QUOTE_SIZE];
        int r;

        r = setting_fault(a->ret_error,
                "%s: \"%s\" is not the absolute path of a command (up to %i bytes, without %%)",
                a->label, setting_quote(value, path), PATH_MAX - 1);
        return r == -EINVAL ? -ENOEXEC : r;
}

static int check_specifiers(const Assignment *a, const char *word) {
        for (const char *p = strchr(word, '%'); p; p = strchr(p + 2, '%'))
                if (!p[1] || !strchr("jptw%", p[1])) {
                        char value[SETTING_QUOTE_SIZE];

                        return setting_fault(a->ret_error,
                                "%s: \"%s\" has an unknown specifier, allowed are %%j %%p %%t %%w "
                                "%%%%",
                                a->label, setting_quote(value, p));
                }
        return 0;
}

static int set_command(const Assignment *a) {
        _cleanup_strv_ char **words = NULL;
        int r;

        r = read_words(a, &words);
        if (r < 0)
                return r;

        if (strv_length(words) > a->setting->max)
                return fault_too_many(a, strv_length(words));
        if (strv_length(words) > 0 &&
                (words[0][0] != '/' || strlen(words[0]) >= PATH_MAX || strchr(words[0], '%')))
                return fault_command(a, words[0]);
        STRV_FOREACH (w, words) {
                r = check_specifiers(a, *w);
                if (r < 0)
                        return r;
        }
        return store_list(a, TAKE_PTR(words));
}

/* What would change how a command is loaded, or what the daemon itself was given to talk to its
 * manager. */
static bool variable_is_refused(const char *assignment) {
        static const char *const prefixes[] = { "LD_", "LISTEN_", "WATCHDOG_", "DBUS_",
                "NOTIFY_SOCKET=" };

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
                if (strncmp(assignment, prefixes[i], strlen(prefixes[i])) == 0)
                        return true;
        return false;
}

/* The bytes up to and with the '=' of KEY=VALUE, 0 if it is none. */
static size_t variable_key_length(const char *s) {
        size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

        return n > 0 && s[n] == '=' && !isdigit((unsigned char) *s) ? n + 1 : 0;
}

/* Adds a copy, in the place of an older value of the same variable if there is one. */
static int variable_put(char ***list, const char *assignment) {
        size_t length = variable_key_length(assignment);

        for (char **v = *list; v && *v; v++)
                if (strncmp(*v, assignment, length) == 0) {
                        char *copy = strdup(assignment);

                        if (!copy)
                                return -ENOMEM;
                        free(*v);
                        *v = copy;
                        return 0;
                }
        return strv_extend(list, assignment);
}

static int name_put(char ***list, const char *name) {
        return strv_contains(*list, name) ? 0 : strv_extend(list, name);
}

/* Adds the words of the value to the list; a value without words empties it. */
static int grow_list(const Assignment *a, int (*check)(const Assignment *a, const char *word),
        int (*put)(char ***list, const char *word)) {
        _cleanup_strv_ char **words = NULL, **list = NULL;
        int r;

        r = read_words(a, &words);
        if (r < 0)
                return r;

        if (strv_length(words) > 0) {
                r = strv_copy(*(char ***) setting_place(a->target, a->setting), &list);
                if (r < 0)
                        return r;
        }
        if (strv_length(words) > a->setting->max)
                return fault_too_many(a, strv_length(words));

        STRV_FOREACH (w, words) {
                r = check(a, *w);
                if (r < 0)
                        return r;
                r = put(&list, *w);
                if (r < 0)
                        return r;
        }

        if (strv_length(list) > a->setting->max)
                return fault_too_many(a, strv_length(list));
        return store_list(a, TAKE_PTR(list));
}

static int check_variable(const Assignment *a, const char *word) {
        char value[SETTING_QUOTE_SIZE];

        if (variable_key_length(word) == 0)
                return setting_fault(a->ret_error, "%s: \"%s\" is not of the form KEY=VALUE",
                        a->label, setting_quote(value, word));
        if (variable_is_refused(word))
                return setting_fault(a->ret_error,
                        "%s: \"%s\" may not be set (nor are LD_*, LISTEN_*, WATCHDOG_*, DBUS_* and "
                        "NOTIFY_SOCKET)",
                        a->label, setting_quote(value, word));
        return 0;
}

static int set_environment(const Assignment *a) {
        return grow_list(a, check_variable, variable_put);
}

static int check_name(const Assignment *a, const char *word) {
        if (!*word)
                return setting_fault(a->ret_error, "%s: an empty name is not allowed", a->label);
        return 0;
}

static int set_names(const Assignment *a) {
        return grow_list(a, check_name, name_put);
}

/* Nothing takes away the name that was given. */
static int set_object_name(const Assignment *a) {
        char value[SETTING_QUOTE_SIZE];
        char *copy;

        if (a->value->type != 's')
                return fault_type(a);
        if (!*a->value->string) {
                setting_clear(a->target, a->setting);
                return 0;
        }
        if (!name_is_valid(a->value->string))
                return setting_fault(a->ret_error, "%s: \"%s\" is not %s", a->label,
                        setting_quote(value, a->value->string), a->setting->type->what);
        copy = strdup(a->value->string);
        return copy ? store_string(a, copy) : -ENOMEM;
}

static int check_object_name(const Assignment *a, const char *word) {
        char value[SETTING_QUOTE_SIZE];

        if (name_is_valid(word))
                return 0;
        return setting_fault(a->ret_error, "%s: \"%s\" is not %s", a->label,
                setting_quote(value, word), setting_object_name.what);
}

static int set_object_names(const Assignment *a) {
        return grow_list(a, check_object_name, strv_extend);
}

#define NUMBER_TYPE(w, t, f)                                                       \
        {                                                                          \
                .what = (w), .size = sizeof(t), .set = (f), .parse = parse_number, \
                .format = format_number                                            \
        }

const SettingType setting_uint32 = NUMBER_TYPE("a number", uint32_t, set_uint32);
const SettingType setting_uint64 = NUMBER_TYPE("a number", uint64_t, set_uint64);

const SettingType setting_count = {
        .what = "a number",
        .size = sizeof(uint64_t),
        .set = set_uint64,
        .parse = parse_count,
        .format = format_number,
};

const SettingType setting_size = {
        .what = "a size such as 64K",
        .size = sizeof(uint64_t),
        .set = set_uint64,
        .parse = parse_size,
        .format = format_size,
};

const SettingType setting_time = {
        .what = "a time such as 30s",
        .size = sizeof(usec_t),
        .set = set_uint64,
        .parse = parse_usec,
        .format = format_usec,
};

const SettingType setting_boolean = { "yes or no", STORED_PLAIN, sizeof(bool), set_boolean };
const SettingType setting_text = { "a text", STORED_STRING, sizeof(char *), set_text };
const SettingType setting_path = { "an absolute path", STORED_STRING, sizeof(char *), set_path };
const SettingType setting_module_path = { "a file name or an absolute path", STORED_STRING,
        sizeof(char *), set_module_path };
const SettingType setting_bus_name = {
        "a well-known bus name of another service, such as org.example.Thumbs1", STORED_STRING,
        sizeof(char *), set_bus_name
};
const SettingType setting_object_path = { "an object path such as /org/example/Thumbs1",
        STORED_STRING, sizeof(char *), set_object_path };
const SettingType setting_unit_template = {
        "a template sluice-NAME@.service, with a NAME of A-Z a-z 0-9 _", STORED_STRING,
        sizeof(char *), set_unit_template
};
const SettingType setting_cpus = { "a list of CPUs such as 0-3,6", STORED_STRING, sizeof(char *),
        set_cpus };
const SettingType setting_command = { "a command line", STORED_STRV, sizeof(char **), set_command };
const SettingType setting_environment = { "a list of KEY=VALUE", STORED_STRV, sizeof(char **),
        set_environment };
const SettingType setting_object_name = {
        "a name of 1 to 64 of A-Z a-z 0-9 _ - . that starts with neither . nor -", STORED_STRING,
        sizeof(char *), set_object_name
};
/* In the order in which they are given; the same may stand there twice. */
const SettingType setting_object_names = { "a list of names", STORED_STRV, sizeof(char **),
        set_object_names };
const SettingType setting_names = { "a list of names", STORED_STRV, sizeof(char **), set_names };

int setting_assign(void *target, const Setting *s, const char *label, const SettingValue *value,
        char **ret_error) {
        const Assignment a = {
                .setting = s,
                .label = label,
                .target = target,
                .value = value,
                .ret_error = ret_error,
        };

        if (value->type == 's' && !text_is_valid(value->string))
                return setting_fault(
                        ret_error, "%s: needs UTF-8 without control characters", label);
        return s->type->set(&a);
}

bool setting_is_named(const Setting *s, const char *name) {
        size_t length = strlen(s->name);

        if (strcmp(s->name, name) == 0 || (s->by_key && strcmp(s->key, name) == 0))
                return true;
        if (s->type != &setting_time)
                return false;
        length -= strlen("USec");
        return strlen(name) == length && strncmp(s->name, name, length) == 0;
}

static int fault_unknown(char **ret_error, const char *name) {
        char value[SETTING_QUOTE_SIZE];
        int r;

        r = setting_fault(ret_error, "%s: there is no such setting", setting_quote(value, name));
        return r == -EINVAL ? -ENOENT : r;
}

int setting_check_section(const Setting *table, size_t n, const char *section, char **ret_error) {
        _cleanup_strv_ char **sections = NULL;
        _cleanup_free_ char *allowed = NULL;
        char quoted[SETTING_QUOTE_SIZE];
        const char *verb;
        int r;

        for (const Setting *s = table; s < table + n; s++) {
                if (strcmp(s->section, section) == 0)
                        return 0;
                if (!strv_contains(sections, s->section)) {
                        r = strv_extend(&sections, s->section);
                        if (r < 0)
                                return r;
                }
        }

        allowed = strv_join(sections, ", ");
        if (!allowed)
                return -ENOMEM;
        verb = strv_length(sections) == 1 ? "is" : "are";
        r = *section ? setting_fault(ret_error, "[%s]: there is no such section, allowed %s %s",
                               setting_quote(quoted, section), verb, allowed)
                     : setting_fault(ret_error, "a setting outside of a section, allowed %s %s",
                               verb, allowed);
        return r == -EINVAL ? -ENOENT : r;
}

int setting_assign_in_section(void *target, const Setting *table, size_t n, const char *section,
        const char *key, const char *value, char **ret_error) {
        const SettingValue v = { .type = 's', .string = value };
        int r;

        r = setting_check_section(table, n, section, ret_error);
        if (r < 0)
                return r;
        for (const Setting *s = table; s < table + n; s++)
                if (strcmp(s->section, section) == 0 && strcmp(s->key, key) == 0)
                        return setting_assign(target, s, key, &v, ret_error);
        return fault_unknown(ret_error, key);
}

int setting_assign_by_name(void *target, const Setting *table, size_t n, const char *name,
        const SettingValue *value, char **ret_error) {
        for (const Setting *s = table; s < table + n; s++)
                if (setting_is_named(s, name))
                        return setting_assign(target, s, name, value, ret_error);
        return fault_unknown(ret_error, name);
}

void setting_clear(void *target, const Setting *s) {
        void *place = setting_place(target, s);

        switch (s->type->storage) {
        case STORED_PLAIN:
                break;
        case STORED_STRING:
                free(*(char **) place);
                *(char **) place = NULL;
                break;
        case STORED_STRV:
                *(char ***) place = strv_free(*(char ***) place);
                break;
        }
}

int setting_copy(void *target, const void *source, const Setting *s) {
        void *from = setting_place(source, s), *to = setting_place(target, s);

        switch (s->type->storage) {
        case STORED_PLAIN:
                memcpy(to, from, s->type->size);
                return 0;
        case STORED_STRING:
                if (!*(char **) from)
                        return 0;
                *(char **) to = strdup(*(char **) from);
                return *(char **) to ? 0 : -ENOMEM;
        case STORED_STRV:
                return strv_copy(*(char ***) from, to);
        }
        return 0;
}

bool setting_equal(const void *a, const void *b, const Setting *s) {
        const void *x = setting_place(a, s), *y = setting_place(b, s);
        const char *text_x, *text_y;

        switch (s->type->storage) {
        case STORED_PLAIN:
                return memcmp(x, y, s->type->size) == 0;
        case STORED_STRING:
                text_x = *(char *const *) x;
                text_y = *(char *const *) y;
                return text_x && text_y ? strcmp(text_x, text_y) == 0 : text_x == text_y;
        case STORED_STRV:
                return strv_equal(*(char **const *) x, *(char **const *) y);
        }
        return false;
}

void setting_value(const void *source, const Setting *s, SettingValue *ret) {
        const SettingType *type = s->type;
        const void *place = setting_place(source, s);
        const char *word = type->word ? type->word(place) : NULL;

        *ret = (SettingValue){ .type = 's' };
        if (word)
                ret->string = word;
        else if (type->storage == STORED_STRING)
                ret->string = *(char *const *) place ?: "";
        else if (type->storage == STORED_STRV) {
                ret->type = 'a';
                ret->list = *(char **const *) place;
        } else if (!type->parse) {
                ret->type = 'b';
                ret->number = *(const bool *) place;
        } else if (type->size == sizeof(uint32_t)) {
                ret->type = 'u';
                ret->number = *(const uint32_t *) place;
        } else {
                ret->type = 't';
                ret->number = *(const uint64_t *) place;
        }
}

char **setting_differences(const void *a, const void *b, const Setting *table, size_t n) {
        char **names = calloc(n + 1, sizeof(*names)), **end = names;

        for (size_t i = 0; names && i < n; i++)
                if (!setting_equal(a, b, &table[i]))
                        *end++ = (char *) table[i].name;
        return names;
}
