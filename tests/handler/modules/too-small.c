/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Claims to end in the middle of what every plug-in has. */

#include <sluice/module.h>

static int process(void *state, struct sluice_job *job) {
        return SLUICE_OK;
}

__attribute__((visibility("default"))) const struct sluice_module sluice_module = {
        .abi = SLUICE_MODULE_ABI,
        .size = offsetof(struct sluice_module, process),
        .name = "too-small",
        .process = process,
};
