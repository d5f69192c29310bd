/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/handler.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/parse.h"

static const HandlerVTable *const handlers[] = { &command_vtable, &coprocess_vtable, &lease_vtable,
        &module_vtable, &service_vtable, &unit_vtable };

const HandlerVTable *handler_find(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(handlers); i++)
                if (strcmp(handlers[i]->name, name) == 0)
                        return handlers[i];
        return NULL;
}

/* An error text goes out as a D-Bus string, which has to be UTF-8, and is written by children and
 * plug-ins, which care about no such thing. */
static void make_utf8(char *text) {
        for (char *s = text; *s;) {
                size_t n = utf8_length(s);

                if (n == 0)
                        *s = '?';
                s += MAX(n, (size_t) 1);
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
