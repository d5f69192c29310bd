/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A setting is one row of the table at the end of the first half: its names, its type, its range,
 * where its value lives, and whether it may change while the pool lives. All else (reading values
 * from files and from the bus, texts of faults, copying, comparing, freeing) goes by that row, so a
 * new setting is a new row and nothing more.
 *
 * A type is a function that reads a value, checks it and puts it in its place, and the kind of
 * memory that the place is. The words of a fault come from the row as well, so they cannot say
 * another range than the one that is applied.
 *
 * What needs several settings at once is a check in the second half. Each looks at one matter, so
 * that --check can tell all faults of a file and not just the first. */

#include <ctype.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/pool-config.h"
#include "util/parse.h"
#include "util/strv.h"

#define WORKERS_MAX 1024
#define BYTES_MAX (UINT64_C(16) << 20) /* replies stay under 16 MiB */
#define WORDS_MAX 64
#define NAMES_MAX 1024
#define QUOTED_MAX 64 /* bytes of a value that a text shows */
#define LOOKUP_MAX (UINT64_C(1) << 20)

typedef struct Setting Setting;

/* One value on its way into one setting. */
typedef struct Assignment {
        const Setting *setting;
        const char *label; /* what the caller calls the setting */
        PoolConfig *config;
        const SettingValue *value;
        char **ret_error;
} Assignment;

typedef enum Storage {
        STORED_PLAIN, /* `size` bytes without pointers to own memory */
        STORED_STRING,
        STORED_STRV,
} Storage;

typedef struct SettingType {
        const char *what; /* "needs …" */
        Storage storage;
        size_t size; /* of what is in the place */

        /* Puts the value in its place. 1, 0 if it took away what had been given, -errno. */
        int (*set)(const Assignment *a);

        /* Of types that are numbers: from text and to text. */
        int (*parse)(const char *s, uint64_t *ret);
        char *(*format)(char buf[static FORMAT_USEC_MAX], uint64_t n);
} SettingType;

struct Setting {
        const char *name; /* outside files */
        const char *section, *key;
        const SettingType *type;
        uint64_t min, max; /* of a number, of the bytes of a text, of the entries of a list */
        bool unbounded;    /* `infinity` is allowed as well */
        const char *const *words; /* what a word may be */
        size_t place;             /* in PoolConfig */
        bool settable;            /* while the pool lives */
};

static const char *const fairness_words[] = { "none", "user", NULL };
static const char *const handler_words[] = { "command", "module", NULL };

/* Which handlers a section is for; the others are for all. */
static const struct {
        const char *section;
        const char *handlers[2];
} handler_sections[] = {
        { "Command", { "command" } },
        { "Module", { "module" } },
};

static void *place_of(const PoolConfig *config, const Setting *s) {
        return (char *) config + s->place;
}

_printf_(2, 3) static int fault(char **ret_error, const char *format, ...) {
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

/* The start of a text in a form that is fit for a line of its own. */
static const char *quoted(char buf[static QUOTED_MAX + 4], const char *s) {
        size_t n = strnlen(s, QUOTED_MAX + 1);
        bool cut = n > QUOTED_MAX;

        if (cut)
                for (n = QUOTED_MAX; n > 0 && ((unsigned char) s[n] & 0xC0) == 0x80;)
                        n--;
        memcpy(buf, s, n);
        (void) strcpy(buf + n, cut ? "…" : "");
        if (!text_is_valid(buf))
                (void) strcpy(buf, "?");
        return buf;
}

/* Joins words with ", "; the caller frees. */
static char *join(const char *const *words, size_t max) {
        _cleanup_free_ char *text = strdup("");

        for (size_t i = 0; text && i < max && words[i]; i++) {
                char *longer = NULL;

                if (asprintf(&longer, "%s%s%s", text, i > 0 ? ", " : "", words[i]) < 0)
                        return NULL;
                free(text);
                text = longer;
        }
        return TAKE_PTR(text);
}

static int fault_type(const Assignment *a) {
        return fault(a->ret_error, "%s: needs %s", a->label, a->setting->type->what);
}

/* Takes `copy` over and puts it where a text lives. */
static int store_string(const Assignment *a, char *copy) {
        char **place = place_of(a->config, a->setting);

        free(*place);
        *place = copy;
        return 1;
}

/* The same for a list; one without entries is stored as none at all. */
static int store_list(const Assignment *a, char **list) {
        char ***place = place_of(a->config, a->setting);

        strv_free(*place);
        *place = strv_length(list) > 0 ? list : strv_free(list);
        return *place ? 1 : 0;
}

static int parse_number(const char *s, uint64_t *ret) {
        return parse_uint64(s, 0, UINT64_MAX, ret);
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
        char value[QUOTED_MAX + 4], min[FORMAT_USEC_MAX], max[FORMAT_USEC_MAX];
        bool text = a->value->type == 's';

        return fault(a->ret_error, "%s: %s%s%s is %s%s, allowed are %s to %s%s", a->label,
                text ? "\"" : "",
                text ? quoted(value, a->value->string) : format_number(value, a->value->number),
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
                return fault(a->ret_error,
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
        int r = read_number(a, place_of(a->config, a->setting));

        return r < 0 ? r : 1;
}

static int set_uint32(const Assignment *a) {
        uint64_t n;
        int r;

        r = read_number(a, &n);
        if (r < 0)
                return r;

        *(uint32_t *) place_of(a->config, a->setting) = (uint32_t) n;
        return 1;
}

static int set_boolean(const Assignment *a) {
        char value[QUOTED_MAX + 4];
        bool b = a->value->number;

        if (a->value->type == 's' && parse_boolean(a->value->string, &b) < 0)
                return fault(a->ret_error, "%s: \"%s\" is neither yes nor no", a->label,
                        quoted(value, a->value->string));
        if (a->value->type != 's' && a->value->type != 'b')
                return fault_type(a);

        *(bool *) place_of(a->config, a->setting) = b;
        return 1;
}

/* Finds the text among the words of the row; the index is *ret. */
static int read_word(const Assignment *a, int *ret) {
        const char *const *words = a->setting->words;
        _cleanup_free_ char *allowed = NULL;
        char value[QUOTED_MAX + 4];

        if (a->value->type != 's')
                return fault_type(a);

        for (int i = 0; words[i]; i++)
                if (strcmp(words[i], a->value->string) == 0) {
                        *ret = i;
                        return 0;
                }

        allowed = join(words, SIZE_MAX);
        if (!allowed)
                return -ENOMEM;
        return fault(a->ret_error, "%s: \"%s\" is not known, allowed are %s", a->label,
                quoted(value, a->value->string), allowed);
}

static int set_fairness(const Assignment *a) {
        int i, r;

        r = read_word(a, &i);
        if (r < 0)
                return r;

        *(Fairness *) place_of(a->config, a->setting) = (Fairness) i;
        return 1;
}

static int set_handler(const Assignment *a) {
        int i, r;

        r = read_word(a, &i);
        if (r < 0)
                return r;

        *(const HandlerVTable **) place_of(a->config, a->setting) =
                handler_find(a->setting->words[i]);
        return 1;
}

/* Checks what is common to all texts and hands out a copy. */
static int read_text(const Assignment *a, char **ret) {
        size_t length;
        char *copy;

        if (a->value->type != 's')
                return fault_type(a);

        length = strlen(a->value->string);
        if (length > a->setting->max)
                return fault(a->ret_error, "%s: %zu bytes are too long, allowed are %llu", a->label,
                        length, (unsigned long long) a->setting->max);

        copy = strdup(a->value->string);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

static int set_text(const Assignment *a) {
        char *copy;
        int r;

        r = read_text(a, &copy);
        if (r < 0)
                return r;
        return store_string(a, copy);
}

static int set_path(const Assignment *a) {
        _cleanup_free_ char *copy = NULL;
        char value[QUOTED_MAX + 4];
        int r;

        r = read_text(a, &copy);
        if (r < 0)
                return r;
        if (*copy != '/')
                return fault(a->ret_error, "%s: \"%s\" is not %s", a->label, quoted(value, copy),
                        a->setting->type->what);
        return store_string(a, TAKE_PTR(copy));
}

static int set_module_path(const Assignment *a) {
        _cleanup_free_ char *copy = NULL;
        char value[QUOTED_MAX + 4];
        int r;

        r = read_text(a, &copy);
        if (r < 0)
                return r;
        if (!*copy || (*copy != '/' && strchr(copy, '/')))
                return fault(a->ret_error, "%s: \"%s\" is not %s", a->label, quoted(value, copy),
                        a->setting->type->what);
        return store_string(a, TAKE_PTR(copy));
}

static int set_cpus(const Assignment *a) {
        _cleanup_free_ char *copy = NULL;
        char value[QUOTED_MAX + 4];
        cpu_set_t cpus;
        int r;

        r = read_text(a, &copy);
        if (r < 0)
                return r;

        r = parse_cpu_set(copy, &cpus);
        if (r < 0)
                return fault(a->ret_error, "%s: \"%s\" is not %s, allowed are CPUs 0 to %i",
                        a->label, quoted(value, copy), a->setting->type->what, CPU_SETSIZE - 1);
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
                return fault(a->ret_error,
                        "%s: a quote is not closed, or a backslash is not followed by an escape",
                        a->label);
        return r;
}

static int fault_too_many(const Assignment *a, size_t n) {
        return fault(a->ret_error, "%s: %zu entries are too many, allowed are %llu", a->label, n,
                (unsigned long long) a->setting->max);
}

/* A wrong path is told apart from other faults: the bus has an error of its own for it. */
static int fault_command(const Assignment *a, const char *path) {
        char value[QUOTED_MAX + 4];
        int r;

        r = fault(a->ret_error,
                "%s: \"%s\" is not the absolute path of a command (up to %i bytes, without %%)",
                a->label, quoted(value, path), PATH_MAX - 1);
        return r == -EINVAL ? -ENOEXEC : r;
}

static int check_specifiers(const Assignment *a, const char *word) {
        for (const char *p = strchr(word, '%'); p; p = strchr(p + 2, '%'))
                if (!p[1] || !strchr("jptw%", p[1])) {
                        char value[QUOTED_MAX + 4];

                        return fault(a->ret_error,
                                "%s: \"%s\" has an unknown specifier, allowed are %%j %%p %%t %%w "
                                "%%%%",
                                a->label, quoted(value, p));
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
                r = strv_copy(*(char ***) place_of(a->config, a->setting), &list);
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
        char value[QUOTED_MAX + 4];

        if (variable_key_length(word) == 0)
                return fault(a->ret_error, "%s: \"%s\" is not of the form KEY=VALUE", a->label,
                        quoted(value, word));
        if (variable_is_refused(word))
                return fault(a->ret_error,
                        "%s: \"%s\" may not be set (nor are LD_*, LISTEN_*, WATCHDOG_*, DBUS_* and "
                        "NOTIFY_SOCKET)",
                        a->label, quoted(value, word));
        return 0;
}

static int set_environment(const Assignment *a) {
        return grow_list(a, check_variable, variable_put);
}

static int check_name(const Assignment *a, const char *word) {
        if (!*word)
                return fault(a->ret_error, "%s: an empty name is not allowed", a->label);
        return 0;
}

static int set_names(const Assignment *a) {
        return grow_list(a, check_name, name_put);
}

static int set_workers(const Assignment *a);

#define NUMBER_TYPE(w, t, f)                                                       \
        {                                                                          \
                .what = (w), .size = sizeof(t), .set = (f), .parse = parse_number, \
                .format = format_number                                            \
        }

static const SettingType type_uint32 = NUMBER_TYPE("a number", uint32_t, set_uint32),
                         type_workers = NUMBER_TYPE("a number", uint32_t, set_workers),
                         type_uint64 = NUMBER_TYPE("a number", uint64_t, set_uint64);

static const SettingType type_size = {
        .what = "a size such as 64K",
        .size = sizeof(uint64_t),
        .set = set_uint64,
        .parse = parse_size,
        .format = format_size,
};

static const SettingType type_time = {
        .what = "a time such as 30s",
        .size = sizeof(usec_t),
        .set = set_uint64,
        .parse = parse_usec,
        .format = format_usec,
};

static const SettingType type_boolean = { "yes or no", STORED_PLAIN, sizeof(bool), set_boolean };
static const SettingType type_fairness = { "a word", STORED_PLAIN, sizeof(Fairness), set_fairness };
static const SettingType type_handler = { "a word", STORED_PLAIN, sizeof(HandlerVTable *),
        set_handler };
static const SettingType type_text = { "a text", STORED_STRING, sizeof(char *), set_text };
static const SettingType type_path = { "an absolute path", STORED_STRING, sizeof(char *),
        set_path };
static const SettingType type_module_path = { "a file name or an absolute path", STORED_STRING,
        sizeof(char *), set_module_path };
static const SettingType type_cpus = { "a list of CPUs such as 0-3,6", STORED_STRING,
        sizeof(char *), set_cpus };
static const SettingType type_command = { "a command line", STORED_STRV, sizeof(char **),
        set_command };
static const SettingType type_environment = { "a list of KEY=VALUE", STORED_STRV, sizeof(char **),
        set_environment };
static const SettingType type_names = { "a list of names", STORED_STRV, sizeof(char **),
        set_names };

#define PLACE(member) .place = offsetof(PoolConfig, member)

/* In the order of the sections, as texts name these in the order of the table. */
static const Setting settings[] = {
        { "Description", "Pool", "Description", &type_text, 0, 1024, PLACE(description) },
        { "Handler", "Pool", "Handler", &type_handler, .words = handler_words, PLACE(handler) },
        { "Workers", "Pool", "Workers", &type_workers, 1, WORKERS_MAX, PLACE(min_workers),
                .settable = true },
        { "MinWorkers", "Pool", "MinWorkers", &type_uint32, 1, WORKERS_MAX, PLACE(min_workers),
                .settable = true },
        { "MaxWorkers", "Pool", "MaxWorkers", &type_uint32, 1, WORKERS_MAX, PLACE(max_workers),
                .settable = true },
        { "CPUAffinity", "Pool", "CPUAffinity", &type_cpus, 0, 4096, PLACE(cpu_affinity) },
        { "QueueMax", "Pool", "QueueMax", &type_uint64, 1, 100000000, PLACE(queue_max),
                .settable = true },
        { "PayloadMax", "Pool", "PayloadMax", &type_size, 0, BYTES_MAX,
                PLACE(handler_config.payload_max) },
        { "AgingIntervalUSec", "Pool", "AgingInterval", &type_time, 1, USEC_PER_YEAR,
                .unbounded = true, PLACE(aging_interval), .settable = true },
        { "Fairness", "Pool", "Fairness", &type_fairness, .words = fairness_words,
                PLACE(fairness) },
        { "RunTimeoutUSec", "Pool", "RunTimeout", &type_time, USEC_PER_MSEC, USEC_SPAN_MAX,
                .unbounded = true, PLACE(run_timeout), .settable = true },
        { "StopTimeoutUSec", "Pool", "StopTimeout", &type_time, 0, USEC_PER_HOUR,
                PLACE(handler_config.stop_timeout) },
        { "ResultRetentionUSec", "Pool", "ResultRetention", &type_time, 0, USEC_SPAN_MAX,
                .unbounded = true, PLACE(result_retention) },
        { "ResultRetentionMax", "Pool", "ResultRetentionMax", &type_uint64, 0, 10000000,
                PLACE(result_retention_max) },
        { "AllowUsers", "Pool", "AllowUsers", &type_names, 0, NAMES_MAX, PLACE(allow_users) },
        { "AllowGroups", "Pool", "AllowGroups", &type_names, 0, NAMES_MAX, PLACE(allow_groups) },

        { "ExecStart", "Command", "ExecStart", &type_command, 1, WORDS_MAX,
                PLACE(handler_config.exec_start) },
        { "AllowArguments", "Command", "AllowArguments", &type_boolean,
                PLACE(handler_config.allow_arguments) },
        { "WorkingDirectory", "Command", "WorkingDirectory", &type_path, 1, PATH_MAX - 1,
                PLACE(handler_config.working_directory) },
        { "Environment", "Command", "Environment", &type_environment, 0, WORDS_MAX,
                PLACE(handler_config.environment) },
        { "OutputMax", "Command", "OutputMax", &type_size, 0, BYTES_MAX,
                PLACE(handler_config.output_max) },
        { "PinCommands", "Command", "PinCommands", &type_boolean,
                PLACE(handler_config.pin_commands) },

        { "ModulePath", "Module", "Path", &type_module_path, 1, PATH_MAX - 1,
                PLACE(handler_config.module_path) },
        { "ModuleOptions", "Module", "Options", &type_text, 0, 65536,
                PLACE(handler_config.module_options) },
};

_Static_assert(ELEMENTSOF(settings) <= 64, "PoolConfig.given has a bit for each");

static uint64_t bit_of(const Setting *s) {
        return UINT64_C(1) << (s - settings);
}

/* Is it this setting's name, or that of a time without its unit, as texts have their own? */
static bool is_named(const Setting *s, const char *name) {
        size_t length = strlen(s->name);

        if (strcmp(s->name, name) == 0)
                return true;
        if (s->type != &type_time)
                return false;
        length -= strlen("USec");
        return strlen(name) == length && strncmp(s->name, name, length) == 0;
}

static const Setting *find_by_name(const char *name) {
        for (const Setting *s = settings; s < settings + ELEMENTSOF(settings); s++)
                if (is_named(s, name))
                        return s;
        return NULL;
}

static const Setting *find_in_section(const char *section, const char *key) {
        for (const Setting *s = settings; s < settings + ELEMENTSOF(settings); s++)
                if ((!section || strcmp(s->section, section) == 0) && strcmp(s->key, key) == 0)
                        return s;
        return NULL;
}

static bool is_given(const PoolConfig *config, const char *name) {
        return config->given & bit_of(find_by_name(name));
}

/* Stands for both MinWorkers and MaxWorkers. */
static int set_workers(const Assignment *a) {
        int r;

        r = set_uint32(a);
        if (r < 0)
                return r;

        a->config->max_workers = a->config->min_workers;
        a->config->given |= bit_of(find_by_name("MinWorkers")) | bit_of(find_by_name("MaxWorkers"));
        return 1;
}

int pool_config_new(const char *name, Fairness fairness, PoolConfig **ret) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;

        config = malloc(sizeof(*config));
        if (!config)
                return -ENOMEM;

        *config = (PoolConfig){
                .name = strdup(name),
                .description = strdup(""),
                .handler = handler_find("command"),
                .handler_config = {
                        .payload_max = UINT64_C(1) << 20,
                        .stop_timeout = 10 * USEC_PER_SEC,
                        .working_directory = strdup("/"),
                        .output_max = UINT64_C(1) << 20,
                        .module_options = strdup(""),
                },
                .cpu_affinity = strdup(""),
                .queue_max = 1024,
                .aging_interval = 30 * USEC_PER_SEC,
                .fairness = fairness,
                .run_timeout = 30 * USEC_PER_MINUTE,
                .result_retention = 10 * USEC_PER_MINUTE,
                .result_retention_max = 10000,
        };
        config->handler_config.pool = config->name;

        if (!config->name || !config->description || !config->handler_config.working_directory ||
                !config->handler_config.module_options || !config->cpu_affinity)
                return -ENOMEM;

        *ret = TAKE_PTR(config);
        return 0;
}

PoolConfig *pool_config_free(PoolConfig *config) {
        if (!config)
                return NULL;

        for (const Setting *s = settings; s < settings + ELEMENTSOF(settings); s++) {
                void *place = place_of(config, s);

                switch (s->type->storage) {
                case STORED_PLAIN:
                        break;
                case STORED_STRING:
                        free(*(char **) place);
                        break;
                case STORED_STRV:
                        strv_free(*(char ***) place);
                        break;
                }
        }
        free(config->allow_uids);
        free(config->allow_gids);
        free(config->name);
        free(config);
        return NULL;
}

static int copy_string(const char *from, char **ret) {
        *ret = from ? strdup(from) : NULL;
        return from && !*ret ? -ENOMEM : 0;
}

static int copy_array(const void *from, size_t n, size_t size, void *ret) {
        void *copy = NULL;

        if (n > 0) {
                copy = reallocarray(NULL, n, size);
                if (!copy)
                        return -ENOMEM;
                memcpy(copy, from, n * size);
        }
        *(void **) ret = copy;
        return 0;
}

int pool_config_copy(const PoolConfig *config, PoolConfig **ret) {
        _cleanup_(pool_config_freep) PoolConfig *copy = NULL;
        int r;

        copy = calloc(1, sizeof(*copy));
        if (!copy)
                return -ENOMEM;

        for (const Setting *s = settings; s < settings + ELEMENTSOF(settings); s++) {
                void *from = place_of(config, s), *to = place_of(copy, s);

                r = 0;
                switch (s->type->storage) {
                case STORED_PLAIN:
                        memcpy(to, from, s->type->size);
                        break;
                case STORED_STRING:
                        r = copy_string(*(char **) from, to);
                        break;
                case STORED_STRV:
                        r = strv_copy(*(char ***) from, to);
                        break;
                }
                if (r < 0)
                        return r;
        }

        r = copy_string(config->name, &copy->name);
        if (r < 0)
                return r;
        r = copy_array(config->allow_uids, config->n_allow_uids, sizeof(uid_t), &copy->allow_uids);
        if (r < 0)
                return r;
        r = copy_array(config->allow_gids, config->n_allow_gids, sizeof(gid_t), &copy->allow_gids);
        if (r < 0)
                return r;

        copy->handler_config.pool = copy->name;
        copy->cpus = config->cpus;
        copy->n_allow_uids = config->n_allow_uids;
        copy->n_allow_gids = config->n_allow_gids;
        copy->given = config->given;
        *ret = TAKE_PTR(copy);
        return 0;
}

bool pool_config_equal(const PoolConfig *a, const PoolConfig *b) {
        if (strcmp(a->name, b->name) != 0)
                return false;

        for (const Setting *s = settings; s < settings + ELEMENTSOF(settings); s++) {
                const void *x = place_of(a, s), *y = place_of(b, s);
                const char *text_x, *text_y;

                switch (s->type->storage) {
                case STORED_PLAIN:
                        if (memcmp(x, y, s->type->size) != 0)
                                return false;
                        break;
                case STORED_STRING:
                        text_x = *(char *const *) x;
                        text_y = *(char *const *) y;
                        if (!text_x != !text_y || (text_x && strcmp(text_x, text_y) != 0))
                                return false;
                        break;
                case STORED_STRV:
                        if (!strv_equal(*(char **const *) x, *(char **const *) y))
                                return false;
                        break;
                }
        }
        return true;
}

static int assign(PoolConfig *config, const Setting *s, const char *label,
        const SettingValue *value, char **ret_error) {
        const Assignment a = {
                .setting = s,
                .label = label,
                .config = config,
                .value = value,
                .ret_error = ret_error,
        };
        int r;

        if (value->type == 's' && !text_is_valid(value->string))
                return fault(ret_error, "%s: needs UTF-8 without control characters", label);

        r = s->type->set(&a);
        if (r < 0)
                return r;

        if (r > 0)
                config->given |= bit_of(s);
        else
                config->given &= ~bit_of(s);
        return 0;
}

static int fault_unknown(char **ret_error, const char *key) {
        char value[QUOTED_MAX + 4];
        int r;

        r = fault(ret_error, "%s: there is no such setting", quoted(value, key));
        return r == -EINVAL ? -ENOENT : r;
}

static int fault_section(char **ret_error, const char *section) {
        _cleanup_free_ char *allowed = NULL;
        const char *sections[ELEMENTSOF(settings)];
        char value[QUOTED_MAX + 4];
        size_t n = 0;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(settings); i++)
                if (n == 0 || strcmp(sections[n - 1], settings[i].section) != 0)
                        sections[n++] = settings[i].section;

        allowed = join(sections, n);
        if (!allowed)
                return -ENOMEM;
        r = *section ? fault(ret_error, "[%s]: there is no such section, allowed are %s",
                               quoted(value, section), allowed)
                     : fault(ret_error, "a setting outside of a section, allowed are %s", allowed);
        return r == -EINVAL ? -ENOENT : r;
}

int pool_config_set_in_section(PoolConfig *config, const char *section, const char *key,
        const char *value, char **ret_error) {
        const SettingValue v = { .type = 's', .string = value };
        const Setting *s, *elsewhere;
        int r;

        s = find_in_section(section, key);
        if (s)
                return assign(config, s, s->key, &v, ret_error);

        for (size_t i = 0; i < ELEMENTSOF(settings); i++)
                if (strcmp(settings[i].section, section) == 0) {
                        elsewhere = find_in_section(NULL, key);
                        if (!elsewhere)
                                return fault_unknown(ret_error, key);
                        r = fault(ret_error, "%s: belongs in the section [%s]", elsewhere->key,
                                elsewhere->section);
                        return r == -EINVAL ? -ENOENT : r;
                }
        return fault_section(ret_error, section);
}

int pool_config_set(
        PoolConfig *config, const char *name, const SettingValue *value, char **ret_error) {
        const Setting *s = find_by_name(name);

        if (!s)
                return fault_unknown(ret_error, name);
        return assign(config, s, name, value, ret_error);
}

int pool_config_is_settable(const char *name) {
        const Setting *s = find_by_name(name);

        return s ? s->settable : -ENOENT;
}

/* Where the checks leave what they find. */
typedef struct Faults {
        pool_config_fault_t report;
        void *userdata;
        bool in_file; /* settings are called by their keys */
        int result;   /* of the first fault */
} Faults;

/* Reports "SETTING: …". Returns 0, so that the checks go on, or what report() says. */
_printf_(4, 5) static int found(
        Faults *faults, int result, const Setting *s, const char *format, ...) {
        _cleanup_free_ char *text = NULL, *line = NULL;
        va_list arguments;
        int r;

        va_start(arguments, format);
        r = vasprintf(&text, format, arguments);
        va_end(arguments);
        if (r < 0 || asprintf(&line, "%s: %s", faults->in_file ? s->key : s->name, text) < 0)
                return -ENOMEM;

        if (faults->result == 0)
                faults->result = result;
        return faults->report(faults->userdata, s->section, s->key, line);
}

/* Writes "0-3, 6", cut with "…" where there is no room. */
static void format_cpus(char *buf, size_t size, const cpu_set_t *cpus) {
        size_t n = 0;

        *buf = '\0';
        for (int first = 0, last; first < CPU_SETSIZE; first = last + 1) {
                last = first;
                if (!CPU_ISSET((size_t) first, cpus))
                        continue;
                while (last + 1 < CPU_SETSIZE && CPU_ISSET((size_t) last + 1, cpus))
                        last++;
                if (n + 32 > size) {
                        (void) strcpy(buf + n, "…");
                        return;
                }
                n += (size_t) snprintf(buf + n, size - n, "%s%i", n > 0 ? ", " : "", first);
                if (last > first)
                        n += (size_t) snprintf(buf + n, size - n, "-%i", last);
        }
}

static int check_cpus(PoolConfig *config, Faults *faults) {
        const Setting *s = find_by_name("CPUAffinity");
        cpu_set_t allowed, wanted, usable;
        char buf[256];

        if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
                return found(faults, -EINVAL, s,
                        "the CPUs that may be used cannot be found out: %s",
                        strerror_r(errno, buf, sizeof(buf)));

        /* The text was checked when it was set. */
        (void) parse_cpu_set(config->cpu_affinity, &wanted);
        if (CPU_COUNT(&wanted) == 0) {
                config->cpus = allowed;
                return 0;
        }

        CPU_AND(&usable, &wanted, &allowed);
        if (!CPU_EQUAL(&usable, &wanted)) {
                format_cpus(buf, sizeof(buf), &allowed);
                config->cpus = allowed;
                return found(faults, -EINVAL, s,
                        "not all of \"%s\" may be used, allowed are the CPUs %s",
                        config->cpu_affinity, buf);
        }

        config->cpus = wanted;
        return 0;
}

/* What was not given follows from the CPUs of the pool, and moves out of the way of what was. */
static int check_workers(PoolConfig *config, Faults *faults) {
        bool min_given = is_given(config, "MinWorkers"), max_given = is_given(config, "MaxWorkers");
        uint32_t cpus = (uint32_t) MIN(CPU_COUNT(&config->cpus), WORKERS_MAX);

        if (!max_given)
                config->max_workers = min_given ? MAX(config->min_workers, cpus) : cpus;
        if (!min_given)
                config->min_workers = MIN(config->max_workers, cpus);

        if (config->min_workers > config->max_workers)
                return found(faults, -EINVAL, find_by_name("MinWorkers"),
                        "%u is more than MaxWorkers=%u", config->min_workers, config->max_workers);
        return 0;
}

/* A setting that the handler would never look at is a mistake of who wrote it. */
static int check_sections(PoolConfig *config, Faults *faults) {
        int r;

        for (size_t i = 0; i < ELEMENTSOF(handler_sections); i++) {
                _cleanup_free_ char *handlers = NULL;
                bool fits = false;

                for (size_t k = 0; k < ELEMENTSOF(handler_sections[i].handlers); k++)
                        fits |= handler_sections[i].handlers[k] &&
                                strcmp(handler_sections[i].handlers[k], config->handler->name) == 0;
                if (fits)
                        continue;

                handlers = join(
                        handler_sections[i].handlers, ELEMENTSOF(handler_sections[i].handlers));
                if (!handlers)
                        return -ENOMEM;
                for (const Setting *s = settings; s < settings + ELEMENTSOF(settings); s++) {
                        if (!(config->given & bit_of(s)) ||
                                strcmp(s->section, handler_sections[i].section) != 0)
                                continue;
                        r = found(faults, -EINVAL, s,
                                "is only for Handler=%s, but this is Handler=%s", handlers,
                                config->handler->name);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int check_directory(PoolConfig *config, Faults *faults) {
        const char *path = config->handler_config.working_directory;
        struct stat st;

        if (stat(path, &st) >= 0 && S_ISDIR(st.st_mode))
                return 0;
        return found(faults, -EINVAL, find_by_name("WorkingDirectory"), "\"%s\" is not a directory",
                path);
}

static int check_command(PoolConfig *config, Faults *faults) {
        const Setting *s = find_by_name("ExecStart");
        const char *path, *wrong = NULL;
        struct stat st;
        int r;

        if (strcmp(config->handler->name, "command") != 0)
                return 0;

        r = check_directory(config, faults);
        if (r < 0)
                return r;

        if (!config->handler_config.exec_start)
                return found(faults, -EINVAL, s, "is missing, Handler=command needs it");

        path = config->handler_config.exec_start[0];
        if (stat(path, &st) < 0)
                wrong = errno == ENOENT ? "does not exist" : "cannot be looked at";
        else if (!S_ISREG(st.st_mode))
                wrong = "is not a regular file";
        else if (access(path, X_OK) < 0)
                wrong = "is not executable";
        if (wrong)
                return found(faults, -ENOEXEC, s, "\"%s\" %s", path, wrong);
        return 0;
}

static int check_module(PoolConfig *config, Faults *faults) {
        if (strcmp(config->handler->name, "module") != 0 || config->handler_config.module_path)
                return 0;
        return found(
                faults, -EINVAL, find_by_name("ModulePath"), "is missing, Handler=module needs it");
}

/* Both look up a name in a buffer that grows as the data base asks for it: 0, -ESRCH if there is no
 * such name, or -errno. */
static int find_user(const char *name, char *buf, size_t size, uint32_t *ret) {
        struct passwd entry, *result = NULL;
        int r = getpwnam_r(name, &entry, buf, size, &result);

        if (result)
                *ret = entry.pw_uid;
        return result ? 0 : r == 0 ? -ESRCH : -r;
}

static int find_group(const char *name, char *buf, size_t size, uint32_t *ret) {
        struct group entry, *result = NULL;
        int r = getgrnam_r(name, &entry, buf, size, &result);

        if (result)
                *ret = entry.gr_gid;
        return result ? 0 : r == 0 ? -ESRCH : -r;
}

typedef int (*find_id_t)(const char *name, char *buf, size_t size, uint32_t *ret);

static int resolve(const char *name, find_id_t find, uint32_t *ret) {
        uint64_t number;
        int r;

        /* The largest number stands for "no user" in the kernel's interfaces. */
        if (parse_uint64(name, 0, UINT32_MAX - 1, &number) >= 0) {
                *ret = (uint32_t) number;
                return 0;
        }

        for (size_t size = 4096; size <= LOOKUP_MAX; size *= 4) {
                _cleanup_free_ char *buf = malloc(size);

                if (!buf)
                        return -ENOMEM;
                r = find(name, buf, size, ret);
                if (r != -ERANGE)
                        return r;
        }
        return -ERANGE;
}

static int resolve_names(char *const *names, find_id_t find, const char *kind, const Setting *s,
        Faults *faults, uint32_t **ret, size_t *ret_n) {
        _cleanup_free_ uint32_t *ids = NULL;
        size_t n = 0;
        int r;

        ids = calloc(strv_length(names) + 1, sizeof(*ids));
        if (!ids)
                return -ENOMEM;

        STRV_FOREACH (name, names) {
                char value[QUOTED_MAX + 4], error[64];

                r = resolve(*name, find, &ids[n]);
                if (r == -ENOMEM)
                        return r;
                if (r < 0) {
                        r = r == -ESRCH || r == -ENOENT
                                    ? found(faults, -EINVAL, s, "there is no %s \"%s\"", kind,
                                              quoted(value, *name))
                                    : found(faults, -EINVAL, s,
                                              "the %s \"%s\" cannot be looked up: %s", kind,
                                              quoted(value, *name),
                                              strerror_r(-r, error, sizeof(error)));
                        if (r < 0)
                                return r;
                        continue;
                }
                n++;
        }

        free(*ret);
        *ret = TAKE_PTR(ids);
        *ret_n = n;
        return 0;
}

static int check_users(PoolConfig *config, Faults *faults) {
        _Static_assert(sizeof(uid_t) == sizeof(uint32_t), "ids are resolved as one type");

        return resolve_names(config->allow_users, find_user, "user", find_by_name("AllowUsers"),
                faults, &config->allow_uids, &config->n_allow_uids);
}

static int check_groups(PoolConfig *config, Faults *faults) {
        _Static_assert(sizeof(gid_t) == sizeof(uint32_t), "ids are resolved as one type");

        return resolve_names(config->allow_groups, find_group, "group", find_by_name("AllowGroups"),
                faults, &config->allow_gids, &config->n_allow_gids);
}

static int complete(PoolConfig *config, Faults *faults) {
        static int (*const checks[])(PoolConfig * config, Faults * faults) = {
                check_cpus, /* before the workers, whose number follows from it */
                check_workers,
                check_sections,
                check_command,
                check_module,
                check_users,
                check_groups,
        };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(checks); i++) {
                r = checks[i](config, faults);
                if (r < 0)
                        return r;
        }
        return faults->result;
}

int pool_config_complete_all(PoolConfig *config, pool_config_fault_t report, void *userdata) {
        Faults faults = { .report = report, .userdata = userdata, .in_file = true };

        return complete(config, &faults);
}

static int keep_first(void *userdata, const char *section, const char *key, const char *text) {
        char **first = userdata;

        return *first ? 0 : copy_string(text, first);
}

int pool_config_complete(PoolConfig *config, char **ret_error) {
        _cleanup_free_ char *first = NULL;
        Faults faults = { .report = keep_first, .userdata = &first };
        int r;

        r = complete(config, &faults);
        if (r < 0 && first)
                *ret_error = TAKE_PTR(first);
        return r;
}

const char *fairness_to_string(Fairness f) {
        return f >= 0 && f < _FAIRNESS_MAX ? fairness_words[f] : NULL;
}
