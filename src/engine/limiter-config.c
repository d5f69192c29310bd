/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "engine/limiter-config.h"
#include "util/parse.h"

/* A rate lives in two members, which are compared and copied as one. */
_Static_assert(offsetof(LimiterConfig, period) == offsetof(LimiterConfig, rate) + sizeof(uint64_t),
        "the period comes after the rate");

/* "s", "min" and "h" stand for one of them. */
static int parse_period(const char *s, usec_t *ret) {
        static const struct {
                const char *unit;
                usec_t period;
        } units[] = {
                { "s", USEC_PER_SEC },
                { "min", USEC_PER_MINUTE },
                { "h", USEC_PER_HOUR },
        };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                if (strcmp(units[i].unit, s) == 0) {
                        *ret = units[i].period;
                        return 0;
                }
        r = parse_usec(s, ret);
        if (r < 0)
                return r;
        return *ret >= 1 && *ret <= LIMITER_PERIOD_MAX ? 0 : -ERANGE;
}

static int fault_rate(const Assignment *a) {
        char value[SETTING_QUOTE_SIZE];

        return setting_fault(a->ret_error,
                "%s: \"%s\" is not %s, allowed are 1 to %llu in 1us to 1y", a->label,
                setting_quote(value, a->value->string), a->setting->type->what,
                (unsigned long long) a->setting->max);
}

static int set_rate(const Assignment *a) {
        uint64_t *place = setting_place(a->target, a->setting), rate;
        _cleanup_free_ char *number = NULL;
        const char *slash;
        usec_t period;

        if (a->value->type != 's')
                return setting_uint64.set(a);

        slash = strchr(a->value->string, '/');
        if (!slash)
                return fault_rate(a);
        number = strndup(a->value->string, (size_t) (slash - a->value->string));
        if (!number)
                return -ENOMEM;
        if (parse_uint64(number, a->setting->min, a->setting->max, &rate) < 0 ||
                parse_period(slash + 1, &period) < 0)
                return fault_rate(a);
        place[0] = rate;
        place[1] = period;
        return 1;
}

static int set_burst(const Assignment *a) {
        if (a->value->type == 's' && !*a->value->string) {
                *(uint64_t *) setting_place(a->target, a->setting) = 0;
                return 0;
        }
        return setting_uint64.set(a);
}

static const char *word_of_burst(const void *place) {
        return *(const uint64_t *) place == 0 ? "" : NULL;
}

static int parse_number(const char *s, uint64_t *ret) {
        return parse_uint64(s, 0, UINT64_MAX, ret);
}

static char *format_number(char buf[static FORMAT_USEC_MAX], uint64_t n) {
        return setting_uint64.format(buf, n);
}

const SettingType setting_rate = {
        .what = "a rate such as 50/s, 10/min, 1/h or 100/30s",
        .size = 2 * sizeof(uint64_t),
        .set = set_rate,
        .parse = parse_number,
        .format = format_number,
};

const SettingType setting_burst = {
        .what = "a number",
        .size = sizeof(uint64_t),
        .set = set_burst,
        .parse = parse_number,
        .format = format_number,
        .word = word_of_burst,
};

#define PLACE(member) .place = offsetof(LimiterConfig, member)

const Setting limiter_settings[] = {
        { "Rate", "Limiter", "Rate", &setting_rate, 1, LIMITER_RATE_MAX, PLACE(rate),
                .settable = true },
        { "PeriodUSec", "Limiter", "Period", &setting_time, 1, LIMITER_PERIOD_MAX, PLACE(period),
                .settable = true },
        { "Burst", "Limiter", "Burst", &setting_burst, 1, LIMITER_BURST_MAX, PLACE(burst),
                .settable = true },
};

const size_t n_limiter_settings = ELEMENTSOF(limiter_settings);

bool limiter_config_equal(const LimiterConfig *a, const LimiterConfig *b) {
        return a->rate == b->rate && a->period == b->period && a->burst == b->burst;
}

LimiterConfig limiter_config_resolve(const LimiterConfig *config) {
        LimiterConfig resolved = *config;

        if (resolved.burst == 0)
                resolved.burst = limiter_default_burst(config->rate, config->period);
        return resolved;
}

int limiter_config_set_in_section(LimiterConfig *config, const char *section, const char *key,
        const char *value, char **ret_error) {
        return setting_assign_in_section(
                config, limiter_settings, n_limiter_settings, section, key, value, ret_error);
}

int limiter_config_set(
        LimiterConfig *config, const char *name, const SettingValue *value, char **ret_error) {
        return setting_assign_by_name(
                config, limiter_settings, n_limiter_settings, name, value, ret_error);
}

int limiter_config_complete(const LimiterConfig *config, char **ret_error) {
        return limiter_config_is_given(config)
                       ? 0
                       : setting_fault(ret_error, "Rate: is missing, a limiter needs it");
}
