/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Prints what the program knows of each setting, a line each, so that the documents can be compared
 * with it: the kind of file, section, key, name outside files, default, what is allowed, and
 * "settable" where it can be changed while its object lives; with tabs between. */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "engine/breaker-config.h"
#include "engine/limiter-config.h"
#include "engine/pool-config-internal.h"
#include "util/strv.h"

/* An object of this kind with nothing but defaults. */
typedef struct Kind {
        const char *name;
        const Setting *settings;
        size_t n_settings;
        void *defaults;
} Kind;

/* Types of words have no text form: the word is the one that makes no difference. NULL if all of
 * them do. */
static const char *default_word(const Kind *kind, const Setting *s) {
        _cleanup_free_ void *before = malloc(s->type->size);
        void *place = setting_place(kind->defaults, s);
        const char *found = NULL;

        assert(before);
        memcpy(before, place, s->type->size);
        for (size_t i = 0; s->words[i] && !found; i++) {
                const SettingValue value = { .type = 's', .string = s->words[i] };
                _cleanup_free_ char *error = NULL;

                assert(setting_assign(kind->defaults, s, s->key, &value, &error) >= 0);
                if (memcmp(before, place, s->type->size) == 0)
                        found = s->words[i];
                memcpy(place, before, s->type->size);
        }
        return found;
}

static uint64_t number_of(const Kind *kind, const Setting *s) {
        const void *place = setting_place(kind->defaults, s);

        return s->type->size == sizeof(uint32_t) ? *(const uint32_t *) place
                                                 : *(const uint64_t *) place;
}

static void print_default(const Kind *kind, const Setting *s) {
        const void *place = setting_place(kind->defaults, s);
        char text[FORMAT_USEC_MAX];

        if (s->words)
                printf("%s", default_word(kind, s) ?: "");
        else if (s->type->format) {
                /* One that could not be given stands for none. */
                if (number_of(kind, s) >= s->min)
                        printf("%s", s->type->format(text, number_of(kind, s)));
        } else if (s->type == &setting_boolean)
                printf("%s", *(const bool *) place ? "yes" : "no");
        else if (s->type->storage == STORED_STRING)
                printf("%s", *(char *const *) place ?: "");
}

static void print_allowed(const Setting *s) {
        char min[FORMAT_USEC_MAX], max[FORMAT_USEC_MAX];

        if (s->words) {
                _cleanup_free_ char *words = strv_join((char *const *) s->words, ", ");

                assert(words);
                printf("%s", words);
        } else if (s->type->format)
                printf("%s to %s%s", s->type->format(min, s->min), s->type->format(max, s->max),
                        s->unbounded ? ", infinity" : "");
        else if (s->type->storage == STORED_STRING && s->max > 0)
                printf("up to %llu bytes", (unsigned long long) s->max);
        else if (s->type->storage == STORED_STRV)
                printf("up to %llu entries", (unsigned long long) s->max);
}

static void print_kind(const Kind *kind) {
        for (const Setting *s = kind->settings; s < kind->settings + kind->n_settings; s++) {
                printf("%s\t%s\t%s\t%s\t", kind->name, s->section, s->key, s->name);
                print_default(kind, s);
                putchar('\t');
                print_allowed(s);
                printf("\t%s\n", s->settable ? "settable" : "");
        }
}

int main(void) {
        _cleanup_(pipeline_config_freep) PipelineConfig *pipeline = NULL;
        _cleanup_(pool_config_freep) PoolConfig *pool = NULL;
        DaemonSettings settings = DAEMON_SETTINGS_DEFAULT;
        LimiterConfig limiter = LIMITER_CONFIG_DEFAULT;
        BreakerConfig breaker = BREAKER_CONFIG_DEFAULT;

        if (pool_config_new("x", FAIRNESS_NONE, &pool) < 0 ||
                pipeline_config_new("x", &pipeline) < 0)
                return EXIT_FAILURE;
        print_kind(&(Kind){ "pool", pool_settings, n_pool_settings, pool });
        print_kind(&(Kind){ "pipeline", pipeline_settings, n_pipeline_settings, pipeline });
        print_kind(&(Kind){ "limiter", limiter_settings, n_limiter_settings, &limiter });
        print_kind(&(Kind){ "breaker", breaker_settings, n_breaker_settings, &breaker });
        print_kind(&(Kind){ "sluiced.conf", daemon_settings, n_daemon_settings, &settings });
        return EXIT_SUCCESS;
}
