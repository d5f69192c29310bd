/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Stands in for the handlers where only settings are tested: these need to know which kinds there
 * are, and nothing of what they do. */

#include <errno.h>
#include <string.h>

#include "handler/handler.h"

/* One plug-in is missing. */
static int fake_open(const HandlerConfig *config, Handler **ret, char **ret_error) {
        if (config->module_path && strcmp(config->module_path, "missing.so") == 0) {
                *ret_error = strdup("Path=missing.so: there is no such plug-in");
                return -ENOEXEC;
        }
        *ret = NULL;
        return 0;
}

static void fake_close(Handler *handler) {
}

#define FAKE(kind, of_section) \
        { .name = kind, .section = of_section, .open = fake_open, .close = fake_close }

const HandlerVTable command_vtable = FAKE("command", "Command");
const HandlerVTable coprocess_vtable = FAKE("coprocess", "Command");
const HandlerVTable module_vtable = FAKE("module", "Module");
const HandlerVTable lease_vtable = FAKE("lease", "Lease");
const HandlerVTable service_vtable = {
        .name = "service",
        .section = "Service",
        .in_slots = true,
        .max_slots = 120,
        .max_payload = 29 << 20,
        .open = fake_open,
        .close = fake_close,
};

const HandlerVTable unit_vtable = {
        .name = "unit",
        .section = "Unit",
        .in_slots = true,
        .open = fake_open,
        .close = fake_close,
};

const HandlerVTable *handler_find(const char *name) {
        if (strcmp(name, "command") == 0)
                return &command_vtable;
        if (strcmp(name, "coprocess") == 0)
                return &coprocess_vtable;
        if (strcmp(name, "lease") == 0)
                return &lease_vtable;
        if (strcmp(name, "service") == 0)
                return &service_vtable;
        if (strcmp(name, "unit") == 0)
                return &unit_vtable;
        return strcmp(name, "module") == 0 ? &module_vtable : NULL;
}
