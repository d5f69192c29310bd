/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* PipelineConfig: the settings of a pipeline, of a NAME.pipeline or given at run time. Main thread.
 */

#include <stdint.h>

#include "engine/setting.h"

typedef struct PipelineConfig PipelineConfig;

#define MAX_IN_FLIGHT_MAX UINT64_C(100000000)

struct PipelineConfig {
        char *name;    /* owned */
        char **stages; /* owned: names of pools, in order; NULL = none were given */
        uint64_t max_in_flight;
};

extern const Setting pipeline_settings[];
extern const size_t n_pipeline_settings;

int pipeline_config_new(const char *name, PipelineConfig **ret); /* with defaults; 0 or -ENOMEM */
PipelineConfig *pipeline_config_free(PipelineConfig *config);    /* returns NULL */

/* These return as the functions of PoolConfig do (engine/pool-config.h). */
int pipeline_config_set_in_section(PipelineConfig *config, const char *section, const char *key,
        const char *value, char **ret_error);
int pipeline_config_set(
        PipelineConfig *config, const char *name, const SettingValue *value, char **ret_error);
int pipeline_config_set_stages(PipelineConfig *config, char *const *stages, char **ret_error);
int pipeline_config_complete(const PipelineConfig *config, char **ret_error);

DEFINE_CLEANUP(PipelineConfig *, pipeline_config_free)
