/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Made for a later version of the plug-in interface. */

#include <sluice/module.h>

static int process(void *state, struct sluice_job *job) {
        return SLUICE_OK;
}

__attribute__((visibility("default"))) const struct sluice_module sluice_module = {
        .abi = SLUICE_MODULE_ABI + 1,
        .size = sizeof(struct sluice_module),
        .name = "wrong-abi",
        .process = process,
};
