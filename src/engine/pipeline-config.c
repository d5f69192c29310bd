/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/pipeline.h"
#include "engine/pipeline-config.h"
#include "util/strv.h"

#define PLACE(member) .place = offsetof(PipelineConfig, member)

const Setting pipeline_settings[] = {
        { "Stages", "Pipeline", "Stages", &setting_object_names, 1, PIPELINE_STAGES_MAX,
                PLACE(stages) },
        { "MaxInFlight", "Pipeline", "MaxInFlight", &setting_uint64, 1, MAX_IN_FLIGHT_MAX,
                PLACE(max_in_flight), .settable = true },
};

const size_t n_pipeline_settings = ELEMENTSOF(pipeline_settings);

int pipeline_config_new(const char *name, PipelineConfig **ret) {
        _cleanup_(pipeline_config_freep) PipelineConfig *config = calloc(1, sizeof(*config));

        if (!config)
                return -ENOMEM;
        *config = (PipelineConfig){ .name = strdup(name), .max_in_flight = 1000 };
        if (!config->name)
                return -ENOMEM;
        *ret = TAKE_PTR(config);
        return 0;
}

PipelineConfig *pipeline_config_free(PipelineConfig *config) {
        if (!config)
                return NULL;
        free(config->name);
        strv_free(config->stages);
        free(config);
        return NULL;
}

int pipeline_config_set_in_section(PipelineConfig *config, const char *section, const char *key,
        const char *value, char **ret_error) {
        return setting_assign_in_section(
                config, pipeline_settings, n_pipeline_settings, section, key, value, ret_error);
}

int pipeline_config_set(
        PipelineConfig *config, const char *name, const SettingValue *value, char **ret_error) {
        return setting_assign_by_name(
                config, pipeline_settings, n_pipeline_settings, name, value, ret_error);
}

int pipeline_config_set_stages(PipelineConfig *config, char *const *stages, char **ret_error) {
        const SettingValue value = { .type = 'a', .list = stages };

        return pipeline_config_set(config, "Stages", &value, ret_error);
}

int pipeline_config_complete(const PipelineConfig *config, char **ret_error) {
        return config->stages ? 0
                              : setting_fault(ret_error,
                                        "Stages: is missing, a pipeline needs 1 to %d pools",
                                        PIPELINE_STAGES_MAX);
}
