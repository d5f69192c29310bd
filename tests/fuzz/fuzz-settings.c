/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads any bytes as a .pool file, and as a .pipeline file. Beyond what the sanitizers see: a
 * setting that is refused changes nothing and says why in one line that is fit to be shown, and a
 * copy of what came out is equal to it. Users and commands are not looked up: that would test the
 * machine. */

/* First: it makes assert() do its work. */
#include "fuzz.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/pipeline.h"
#include "daemon/settings-file.h"
#include "engine/pipeline-config.h"
#include "engine/pool-config.h"
#include "util/parse.h"
#include "util/strv.h"

static int see_fault(void *userdata, unsigned line, const char *text) {
        assert(line > 0);
        assert(*text && text_is_valid(text) && strlen(text) < 1024);
        return 0;
}

static int see_setting(
        void *userdata, unsigned line, const char *section, const char *key, const char *value) {
        _cleanup_(pool_config_freep) PoolConfig *before = NULL;
        _cleanup_free_ char *error = NULL;
        PoolConfig *config = userdata;
        int r;

        r = pool_config_copy(config, &before);
        assert(r >= 0);
        assert(pool_config_equal(config, before));

        r = pool_config_set_in_section(config, section, key, value, &error);
        assert((r < 0) == !!error);
        if (r >= 0)
                return 0;
        assert(r == -EINVAL || r == -ENOENT || r == -ENOEXEC);
        assert(pool_config_equal(config, before));
        return see_fault(userdata, line, error);
}

static int see_section(void *userdata, unsigned line, const char *section) {
        _cleanup_free_ char *error = NULL;
        int r;

        r = pool_config_open_section(userdata, section, &error);
        assert((r < 0) == !!error);
        if (r >= 0)
                return 0;
        assert(r == -ENOENT);
        (void) see_fault(userdata, line, error);
        return 1;
}

static int see_pipeline_setting(
        void *userdata, unsigned line, const char *section, const char *key, const char *value) {
        _cleanup_free_ char *error = NULL;
        PipelineConfig *config = userdata;
        uint64_t max_in_flight = config->max_in_flight;
        size_t n_stages = strv_length(config->stages);
        int r;

        r = pipeline_config_set_in_section(config, section, key, value, &error);
        assert((r < 0) == !!error);
        assert(config->max_in_flight >= 1 && config->max_in_flight <= MAX_IN_FLIGHT_MAX);
        assert(strv_length(config->stages) <= PIPELINE_STAGES_MAX);
        if (r >= 0)
                return 0;
        assert(r == -EINVAL || r == -ENOENT);
        assert(config->max_in_flight == max_in_flight && strv_length(config->stages) == n_stages);
        return see_fault(userdata, line, error);
}

static void read_pipeline(const char *data, size_t size) {
        static const SettingsVisitor visitor = {
                .setting = see_pipeline_setting,
                .fault = see_fault,
        };
        _cleanup_(pipeline_config_freep) PipelineConfig *config = NULL;
        _cleanup_free_ char *error = NULL;
        int r;

        r = pipeline_config_new("fuzz", &config);
        assert(r >= 0);
        r = settings_file_parse(data, size, &visitor, config);
        assert(r >= 0);
        r = pipeline_config_complete(config, &error);
        assert((r < 0) == !!error && (r < 0) == !config->stages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const SettingsVisitor visitor = {
                .setting = see_setting,
                .fault = see_fault,
                .section = see_section,
        };
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;
        int r;

        r = pool_config_new("fuzz", FAIRNESS_NONE, &config);
        assert(r >= 0);
        r = settings_file_parse((const char *) data, size, &visitor, config);
        assert(r >= 0);
        read_pipeline((const char *) data, size);
        return 0;
}
