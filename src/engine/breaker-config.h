/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The settings of a breaker, of a NAME.breaker or of the section [Breaker] of a pool, which share
 * their types. Main thread. */

#include "core/breaker.h"
#include "engine/setting.h"

extern const Setting breaker_settings[];
extern const size_t n_breaker_settings;

extern const SettingType setting_breaker_mode;
extern const char *const breaker_mode_words[];

#define BREAKER_CONFIG_DEFAULT                             \
        ((BreakerConfig){                                  \
                .mode = BREAKER_AUTO,                      \
                .max_failures = 5,                         \
                .failure_rate_percent = 50,                \
                .window_size = 20,                         \
                .minimum_calls = 10,                       \
                .reset_timeout = 30 * USEC_PER_SEC,        \
                .reset_timeout_max = 10 * USEC_PER_MINUTE, \
                .half_open_probes = 1,                     \
                .successes_to_close = 1,                   \
        })

/* The rows of a table for a BreakerConfig at `base` of a configuration. */
#define BREAKER_SETTINGS(prefix, base)                                                           \
        { prefix "Mode", "Breaker", "Mode", &setting_breaker_mode, .words = breaker_mode_words,  \
                .place = (base) + offsetof(BreakerConfig, mode), .settable = true },             \
                { prefix "MaxFailures", "Breaker", "MaxFailures", &setting_uint32, 0, 1000000,   \
                        .place = (base) + offsetof(BreakerConfig, max_failures),                 \
                        .settable = true },                                                      \
                { prefix "FailureRatePercent", "Breaker", "FailureRatePercent", &setting_uint32, \
                        0, 100, .place = (base) + offsetof(BreakerConfig, failure_rate_percent), \
                        .settable = true },                                                      \
                { prefix "WindowSize", "Breaker", "WindowSize", &setting_uint32, 1,              \
                        BREAKER_WINDOW_MAX,                                                      \
                        .place = (base) + offsetof(BreakerConfig, window_size),                  \
                        .settable = true },                                                      \
                { prefix "MinimumCalls", "Breaker", "MinimumCalls", &setting_uint32, 1,          \
                        BREAKER_WINDOW_MAX,                                                      \
                        .place = (base) + offsetof(BreakerConfig, minimum_calls),                \
                        .settable = true },                                                      \
                { prefix "ResetTimeoutUSec", "Breaker", "ResetTimeout", &setting_time,           \
                        USEC_PER_MSEC, USEC_SPAN_MAX,                                            \
                        .place = (base) + offsetof(BreakerConfig, reset_timeout),                \
                        .settable = true },                                                      \
                { prefix "ResetTimeoutMaxUSec", "Breaker", "ResetTimeoutMax", &setting_time,     \
                        USEC_PER_MSEC, USEC_SPAN_MAX,                                            \
                        .place = (base) + offsetof(BreakerConfig, reset_timeout_max),            \
                        .settable = true },                                                      \
                { prefix "HalfOpenProbes", "Breaker", "HalfOpenProbes", &setting_uint32, 1,      \
                        1000000, .place = (base) + offsetof(BreakerConfig, half_open_probes),    \
                        .settable = true },                                                      \
        {                                                                                        \
                prefix "SuccessesToClose", "Breaker", "SuccessesToClose", &setting_uint32, 1,    \
                        1000000, .place = (base) + offsetof(BreakerConfig, successes_to_close),  \
                                 .settable = true                                                \
        }

/* These return as the functions of PoolConfig do (engine/pool-config.h). */
int breaker_config_set_in_section(BreakerConfig *config, const char *section, const char *key,
        const char *value, char **ret_error);
int breaker_config_set(
        BreakerConfig *config, const char *name, const SettingValue *value, char **ret_error);

bool breaker_config_equal(const BreakerConfig *a, const BreakerConfig *b);
