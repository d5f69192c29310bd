/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Stands in for the handlers where only settings are tested: these need to know which kinds there
 * are, and nothing of what they do. */

#include <string.h>

#include "handler/handler.h"

const HandlerVTable command_vtable = { .name = "command" };
const HandlerVTable module_vtable = { .name = "module" };

const HandlerVTable *handler_find(const char *name) {
        if (strcmp(name, "command") == 0)
                return &command_vtable;
        return strcmp(name, "module") == 0 ? &module_vtable : NULL;
}
