/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Setting: one row of a table of settings: its names, its type, its range, and where its value
 * lives in a configuration. Reading, checking, copying and comparing of values go by the row. Main
 * thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macro.h"
#include "util/time.h"

typedef struct Assignment Assignment;
typedef struct Setting Setting;
typedef struct SettingType SettingType;
typedef struct SettingValue SettingValue;

/* A value as it comes: text in the syntax of the files, or one of the D-Bus types. */
struct SettingValue {
        char type; /* 's' string, 'u' 't' unsigned in .number, 'b' in .number, 'a' list of strings
                      (as) in .list */
        const char *string;
        uint64_t number;
        char *const *list;
};

struct Setting {
        const char *name; /* outside files; of a time it ends in USec */
        const char *section, *key;
        const SettingType *type;
        uint64_t min, max; /* of a number, of the bytes of a text, of the entries of a list */
        bool unbounded;    /* `infinity` is allowed as well */
        const char *const *words; /* what a word may be, NULL-terminated */
        size_t place;             /* in the configuration */
        bool settable;            /* while the object lives */
        bool by_key; /* outside files it is also called by its key alone, which no other has */
};

/* One value on its way into one setting. */
struct Assignment {
        const Setting *setting;
        const char *label; /* what the caller calls the setting */
        void *target;      /* the configuration */
        const SettingValue *value;
        char **ret_error;
};

typedef enum SettingStorage {
        STORED_PLAIN, /* `size` bytes without pointers to own memory */
        STORED_STRING,
        STORED_STRV,
} SettingStorage;

struct SettingType {
        const char *what; /* "needs …" */
        SettingStorage storage;
        size_t size; /* of what is in the place */

        /* Puts the value in its place. 1, 0 if it took away what had been given, or as
         * setting_assign(). */
        int (*set)(const Assignment *a);

        /* Of types that are numbers: from text and to text. */
        int (*parse)(const char *s, uint64_t *ret);
        char *(*format)(char buf[static FORMAT_USEC_MAX], uint64_t n);

        /* Of types that are words: which one is in the place. NULL = it is a number. */
        const char *(*word)(const void *place);
};

/* setting_count and setting_size can be `infinity`, where their row allows it. */
extern const SettingType setting_uint32, setting_uint64, setting_count, setting_size, setting_time,
        setting_boolean, setting_text, setting_path, setting_module_path, setting_cpus,
        setting_command, setting_environment, setting_names, setting_object_name,
        setting_object_names, setting_bus_name, setting_object_path, setting_unit_template;

/* 1, 0 if the value took away what had been given, -ENOMEM, or -EINVAL with *ret_error (malloc()ed,
 * the caller's): one line that names the setting as `label`, says what was wrong and what is
 * allowed. Nothing is changed then. -ENOEXEC instead of -EINVAL where a command is no absolute
 * path. */
int setting_assign(void *target, const Setting *s, const char *label, const SettingValue *value,
        char **ret_error);

/* Does the table have such a section? 0, -ENOMEM, or -ENOENT with a text that names those there
 * are.
 * "" is what stands before the first one, and never right. */
int setting_check_section(const Setting *table, size_t n, const char *section, char **ret_error);

/* As setting_assign(), by what the setting is called in files and outside of them. -ENOENT with a
 * text where there is no such setting. */
int setting_assign_in_section(void *target, const Setting *table, size_t n, const char *section,
        const char *key, const char *value, char **ret_error);
int setting_assign_by_name(void *target, const Setting *table, size_t n, const char *name,
        const SettingValue *value, char **ret_error);

/* Is it called so outside files? A time has a second name without its unit, for texts have their
 * own. */
bool setting_is_named(const Setting *s, const char *name);

void setting_clear(void *target, const Setting *s); /* frees what is in the place */
int setting_copy(void *target, const void *source, const Setting *s); /* to a place that is empty */
bool setting_equal(const void *a, const void *b, const Setting *s);

/* The value that is in the place: to assign it puts the same into another one. Borrowed from there.
 */
void setting_value(const void *source, const Setting *s, SettingValue *ret);

/* The names of the settings of the table that differ, NULL-terminated. The array is the caller's to
 * free, the names are the table's. NULL without memory. */
char **setting_differences(const void *a, const void *b, const Setting *table, size_t n);

/* For types of one object alone. */
void *setting_place(const void *target, const Setting *s);
int setting_read_word(const Assignment *a, int *ret); /* the index among the row's words */

/* Leaves the text in *ret_error. -EINVAL or -ENOMEM. */
int setting_fault(char **ret_error, const char *format, ...) _printf_(2, 3);

/* The start of a text in a form that is fit for a line of its own. Returns `buf`. */
#define SETTING_QUOTE_MAX 64
#define SETTING_QUOTE_SIZE (SETTING_QUOTE_MAX + 4)
const char *setting_quote(char buf[static SETTING_QUOTE_SIZE], const char *s);
