/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/breaker-config.h"

const char *const breaker_mode_words[] = { "auto", "open", "disabled", NULL };

static int set_mode(const Assignment *a) {
        int i, r;

        r = setting_read_word(a, &i);
        if (r < 0)
                return r;
        *(BreakerMode *) setting_place(a->target, a->setting) =
                breaker_mode_from_string(a->setting->words[i]);
        return 1;
}

static const char *word_of_mode(const void *place) {
        return breaker_mode_to_string(*(const BreakerMode *) place);
}

const SettingType setting_breaker_mode = { "a word", STORED_PLAIN, sizeof(BreakerMode), set_mode,
        .word = word_of_mode };

const Setting breaker_settings[] = { BREAKER_SETTINGS("", 0) };

const size_t n_breaker_settings = ELEMENTSOF(breaker_settings);

int breaker_config_set_in_section(BreakerConfig *config, const char *section, const char *key,
        const char *value, char **ret_error) {
        return setting_assign_in_section(
                config, breaker_settings, n_breaker_settings, section, key, value, ret_error);
}

int breaker_config_set(
        BreakerConfig *config, const char *name, const SettingValue *value, char **ret_error) {
        return setting_assign_by_name(
                config, breaker_settings, n_breaker_settings, name, value, ret_error);
}

bool breaker_config_equal(const BreakerConfig *a, const BreakerConfig *b) {
        for (size_t i = 0; i < n_breaker_settings; i++)
                if (!setting_equal(a, b, &breaker_settings[i]))
                        return false;
        return true;
}
