/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The settings of a limiter, of a NAME.limiter or of the section [Limiter] of a pool, which share
 * their types. They are a LimiterConfig in which a rate of 0 is none, and a burst of 0 is one
 * second's worth. Main thread. */

#include <stdbool.h>

#include "core/limiter.h"
#include "engine/setting.h"

extern const Setting limiter_settings[];
extern const size_t n_limiter_settings;

/* "50/s", "10/min", "1/h", "100/30s"; as a number the tokens per period, which stays. In the place
 * of LimiterConfig.rate, with the period after it. */
extern const SettingType setting_rate;

/* A number, or nothing for one second's worth. */
extern const SettingType setting_burst;

#define LIMITER_CONFIG_DEFAULT ((LimiterConfig){ .period = USEC_PER_SEC })

static inline bool limiter_config_is_given(const LimiterConfig *config) {
        return config->rate > 0;
}

bool limiter_config_equal(const LimiterConfig *a, const LimiterConfig *b);

/* What it means: with the burst that follows from the rate where none was given. */
LimiterConfig limiter_config_resolve(const LimiterConfig *config);

/* These return as the functions of PoolConfig do (engine/pool-config.h). */
int limiter_config_set_in_section(LimiterConfig *config, const char *section, const char *key,
        const char *value, char **ret_error);
int limiter_config_set(
        LimiterConfig *config, const char *name, const SettingValue *value, char **ret_error);
int limiter_config_complete(const LimiterConfig *config, char **ret_error);
