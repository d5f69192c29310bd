/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/handler.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const HandlerVTable *const handlers[] = { &command_vtable, &coprocess_vtable, &lease_vtable,
        &module_vtable, &service_vtable, &unit_vtable };

const HandlerVTable *handler_find(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(handlers); i++)
                if (strcmp(handlers[i]->name, name) == 0)
                        return handlers[i];
        return NULL;
}

/* The length of the UTF-8 sequence that `s` starts with, 0 if it starts with none: overlong forms,
 * surrogates and what is above U+10FFFF are none. Never reads past the NUL byte. */
static size_t utf8_sequence(const unsigned char *s) {
        unsigned char low = 0x80, high = 0xbf;
        size_t n;

        if (s[0] < 0x80)
                return 1;
        if (s[0] >= 0xc2 && s[0] <= 0xdf)
                n = 2;
        else if ((s[0] & 0xf0) == 0xe0)
                n = 3;
        else if (s[0] >= 0xf0 && s[0] <= 0xf4)
                n = 4;
        else
                return 0;

        if (s[0] == 0xe0)
                low = 0xa0;
        else if (s[0] == 0xed)
                high = 0x9f;
        else if (s[0] == 0xf0)
                low = 0x90;
        else if (s[0] == 0xf4)
                high = 0x8f;

        if (s[1] < low || s[1] > high)
                return 0;
        for (size_t i = 2; i < n; i++)
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
        return n;
}

/* An error text goes out as a D-Bus string, which has to be UTF-8, and is written by children and
 * plug-ins, which care about no such thing. */
static void make_utf8(char *text) {
        for (unsigned char *s = (unsigned char *) text; *s;) {
                size_t n = utf8_sequence(s);

                if (n == 0) {
                        *s = '?';
                        n = 1;
                }
                s += n;
        }
}

void attempt_give_output(Attempt *attempt, void *output, size_t size) {
        if (attempt->output_owned)
                free(attempt->output);
        attempt->output = output;
        attempt->output_size = size;
        attempt->output_owned = true;
}

void attempt_fail(Attempt *attempt, Outcome outcome, const char *format, ...) {
        char text[ATTEMPT_ERROR_MAX + 1];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        make_utf8(text);

        attempt->outcome = outcome;
        free(attempt->error);
        attempt->error = strdup(text); /* Without memory it fails without a text. */
}

int handler_refuse(char **ret_error, int r, const char *format, ...) {
        char *text;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&text, format, ap);
        va_end(ap);
        if (n < 0)
                return -ENOMEM;

        *ret_error = text;
        return r;
}
