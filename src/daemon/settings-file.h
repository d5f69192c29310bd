/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* SettingsFile: the syntax of settings files: sections, KEY=VALUE, comments, lines that go on. It
 * does not know which settings there are. Pure: the text is given. */

#include <stddef.h>

#define SETTINGS_LINE_MAX ((size_t) 64 * 1024)

/* Who wants to know what is in a file. All are called in the order of the file, with the number of
 * the line (the first one of several that are joined); strings are only valid during the call. They
 * return 0, or -errno to give up. */
typedef struct SettingsVisitor {
        /* `section` is "" before the first one. */
        int (*setting)(void *userdata, unsigned line, const char *section, const char *key,
                const char *value);
        int (*fault)(void *userdata, unsigned line, const char *text);

        /* A section begins, whatever it has; NULL = nobody wants to know. 1: what it has is not
         * wanted. */
        int (*section)(void *userdata, unsigned line, const char *section);
} SettingsVisitor;

/* 0, also where there were faults; -ENOMEM, or what the visitor returned. */
int settings_file_parse(
        const char *text, size_t size, const SettingsVisitor *visitor, void *userdata);
