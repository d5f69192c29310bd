/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <string.h>

#include "core/random.h"
#include "engine/assignments.h"
#include "engine/breaker-config.h"
#include "engine/limiter-config.h"
#include "engine/pipeline-config.h"
#include "engine/pool-config-internal.h"
#include "test.h"
#include "util/strv.h"

typedef struct Pair {
        const char *name, *value; /* as in a settings file */
} Pair;

static int assign_to_pool(
        void *target, const char *name, const SettingValue *value, char **ret_error) {
        return pool_config_set(target, name, value, ret_error);
}

static void set(PoolConfig *config, const Pair *pairs) {
        for (; pairs->name; pairs++) {
                const SettingValue value = { .type = 's', .string = pairs->value };
                _cleanup_free_ char *error = NULL;

                if (pool_config_set(config, pairs->name, &value, &error) < 0)
                        fail_msg("%s", error);
        }
}

static void complete(PoolConfig *config) {
        _cleanup_free_ char *error = NULL;

        if (pool_config_complete(config, &error) < 0)
                fail_msg("%s", error);
}

static PoolConfig *new_pool(const Pair *pairs) {
        PoolConfig *config = NULL;

        assert_int_equal(pool_config_new("test", FAIRNESS_NONE, &config), 0);
        set(config, pairs);
        complete(config);
        return config;
}

static char *print(const PoolConfig *config, const PoolConfig *origin) {
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        pool_config_print(config, origin, f);
        assert_int_equal(fclose(f), 0);
        return text;
}

static void make(const char *text, PoolConfig *config) {
        _cleanup_free_ char *error = NULL;

        if (assignments_make(text, assign_to_pool, config, &error) < 0)
                fail_msg("%s", error);
        complete(config);
}

#define PAIRS(...)             \
        (const Pair[]) {       \
                __VA_ARGS__, { \
                }              \
        }

static const Pair command_settings[] = {
        { "Description", " two  blanks, a \"quote\", a \\ and ü\t" },
        { "Handler", "command" },
        { "MinWorkers", "1" },
        { "MaxWorkers", "3" },
        { "CPUAffinity", "0" },
        { "QueueMax", "5" },
        { "PayloadMax", "64K" },
        { "Overflow", "drop-lowest" },
        { "OverflowTimeout", "infinity" },
        { "AgingInterval", "5s" },
        { "Fairness", "user" },
        { "RunTimeout", "1min 1us" },
        { "MaxAttempts", "3" },
        { "Backoff", "0" },
        { "BackoffMax", "infinity" },
        { "KeyConcurrency", "2" },
        { "StopTimeout", "1s" },
        { "ResultRetention", "1h" },
        { "ResultRetentionMax", "7" },
        { "Durable", "yes" },
        { "Limiter", "lim" },
        { "Breaker", "brk" },
        { "OnOpen", "hold" },
        { "AllowUsers", "root" },
        { "AllowGroups", "root" },
        { "ExecStart", "/bin/sh -c 'a b' \"\" \"\\\"\" \"line\\nline\" \\\\ %j" },
        { "WorkingDirectory", "/tmp" },
        { "Environment", "A=1 'B=x y' C=" },
        { "OutputMax", "1K" },
        { "PinCommands", "yes" },
        { "AllowArguments", "no" },
        { "Batch", "netstring" },
        { "BatchSize", "4" },
        { "BatchTimeout", "1s" },
        { "ScaleMode", "wait" },
        { "ScaleInterval", "2s" },
        { "ScaleUpAt", "20" },
        { "ScaleDownAt", "3" },
        { "ScaleTargetWait", "1ms" },
        {},
};

static const Pair module_settings[] = {
        { "Handler", "module" },
        { "Workers", "2" },
        { "Overflow", "reject" },
        { "OnOpen", "fail" },
        { "ModulePath", "echo.so" },
        { "ModuleOptions", "level=6" },
        { "LimiterRate", "100/30s" },
        { "BreakerMode", "open" },
        { "BreakerMaxFailures", "0" },
        {},
};

static const Pair *const pools[] = {
        command_settings,
        module_settings,
        PAIRS({ "Handler", "coprocess" }, { "ExecStart", "/bin/sh" }, { "Framing", "line" }),
        PAIRS({ "Handler", "module" }, { "ModulePath", "/x.so" }, { "LimiterRate", "1/h" },
                { "LimiterBurst", "9" }, { "Batch", "" }, { "Limiter", "" }),
        PAIRS({ "Handler", "service" }, { "ServiceBusName", "org.example.A" },
                { "ServiceObjectPath", "/a/b" }, { "ServiceOutputMax", "2K" }),
        PAIRS({ "Handler", "lease" }, { "LeaseAllowUsers", "root" },
                { "LeaseAllowGroups", "root" }),
        PAIRS({ "Handler", "module" }, { "ModulePath", "x.so" }, { "ScaleUpAt", "20" }),
        PAIRS({ "Handler", "unit" }, { "UnitTemplate", "sluice-x@.service" },
                { "UnitOutputMax", "2K" }),
};

static void a_pool_is_made_again_with_all_that_it_was_given(void **state) {
        _cleanup_strv_ char **seen = NULL;

        for (size_t i = 0; i < ELEMENTSOF(pools); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_pool(pools[i]), *again = NULL;
                _cleanup_free_ char *text = print(config, NULL), *text_again = NULL;

                assert_int_equal(pool_config_new("test", FAIRNESS_NONE, &again), 0);
                make(text, again);
                assert_true(pool_config_equal(config, again));
                text_again = print(again, NULL);
                assert_string_equal(text, text_again);
                assert_int_equal(strv_extend(&seen, text), 0);
        }
        /* None was left out here; "Workers" is two others. */
        for (const Setting *s = pool_settings; s < pool_settings + n_pool_settings; s++) {
                bool found = strcmp(s->name, "Workers") == 0;

                STRV_FOREACH (text, seen) {
                        _cleanup_free_ char *lines = NULL, *line = NULL;

                        assert_true(asprintf(&lines, "\n%s", *text) >= 0);
                        assert_true(asprintf(&line, "\n%s ", s->name) >= 0);
                        found |= strstr(lines, line) != NULL;
                }
                if (!found)
                        fail_msg("%s is in none of the pools of this test", s->name);
        }
}

static void what_is_a_word_is_printed_as_one(void **state) {
        _cleanup_(pool_config_freep) PoolConfig *config = new_pool(command_settings);

        for (const Setting *s = pool_settings; s < pool_settings + n_pool_settings; s++) {
                SettingValue value;

                setting_value(config, s, &value);
                assert_true(!s->words || (value.type == 's' && s->type->word));
        }
}

/* What was set of a pool that has a file, and what of it is printed. */
static void only_what_differs_from_the_file_is_printed(void **state) {
        const struct {
                const Pair *file, *changes;
                const char *text;
        } rows[] = {
                { module_settings, PAIRS({}), "" },
                { module_settings, PAIRS({ "MaxWorkers", "2" }, { "Overflow", "reject" }), "" },
                { module_settings, PAIRS({ "MaxWorkers", "5" }), "MaxWorkers u 5\n" },
                { module_settings, PAIRS({ "MinWorkers", "1" }), "MinWorkers u 1\n" },
                { module_settings, PAIRS({ "BatchTimeout", "1s" }),
                        "BatchSize u 1\nBatchTimeoutUSec t 1000000\n" },
                { module_settings, PAIRS({ "ScaleUpAt", "20" }), "ScaleUpAt u 20\n" },
                { module_settings, PAIRS({ "LimiterPeriod", "1s" }, { "BreakerWindowSize", "9" }),
                        "LimiterRate t 100\nLimiterPeriodUSec t 1000000\nBreakerWindowSize u 9\n" },
                { module_settings, PAIRS({ "Overflow", "wait" }, { "RunTimeout", "infinity" }),
                        "Overflow s \"wait\"\nRunTimeoutUSec t 18446744073709551615\n" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *file = new_pool(rows[i].file),
                                                        *config = NULL, *again = NULL;
                _cleanup_free_ char *text = NULL;

                assert_int_equal(pool_config_copy(file, &config), 0);
                set(config, rows[i].changes);
                complete(config);
                text = print(config, file);
                assert_string_equal(text, rows[i].text);
                assert_int_equal(pool_config_copy(file, &again), 0);
                make(text, again);
                assert_true(pool_config_equal(config, again));
        }
}

static int assign_to_limiter(
        void *target, const char *name, const SettingValue *value, char **ret_error) {
        return limiter_config_set(target, name, value, ret_error);
}

static int assign_to_breaker(
        void *target, const char *name, const SettingValue *value, char **ret_error) {
        return breaker_config_set(target, name, value, ret_error);
}

static char *print_all(const void *source, const Setting *table, size_t n) {
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        assignments_print(f, source, table, n);
        assert_int_equal(fclose(f), 0);
        return text;
}

static void limiters_and_breakers_are_made_again(void **state) {
        const LimiterConfig limiters[] = { { 5, 7, 0 }, { 1, LIMITER_PERIOD_MAX, 9 } };
        BreakerConfig breaker = BREAKER_CONFIG_DEFAULT, breaker_again = BREAKER_CONFIG_DEFAULT;
        _cleanup_free_ char *error = NULL, *text = NULL;

        for (size_t i = 0; i < ELEMENTSOF(limiters); i++) {
                LimiterConfig again = { .period = 3, .burst = 4 };
                _cleanup_free_ char *line =
                        print_all(&limiters[i], limiter_settings, n_limiter_settings);

                assert_int_equal(assignments_make(line, assign_to_limiter, &again, &error), 0);
                assert_true(limiter_config_equal(&again, &limiters[i]));
        }
        breaker.mode = BREAKER_DISABLED;
        breaker.window_size = 77;
        text = print_all(&breaker, breaker_settings, n_breaker_settings);
        assert_int_equal(assignments_make(text, assign_to_breaker, &breaker_again, &error), 0);
        assert_true(breaker_config_equal(&breaker, &breaker_again));
}

static void what_is_no_assignment_is_told(void **state) {
        static const struct {
                const char *text;
                int r;
        } rows[] = {
                { "", 0 },
                { "QueueMax t 5", 0 },
                { "QueueMax t 5\nQueueMax t 6\n", 0 },
                { "Environment a\n", 0 },
                { "ExecStart a \"/bin/true\" \"\\x41\"\n", 0 },
                { "\n", -EBADMSG },
                { "QueueMax", -EBADMSG },
                { "QueueMax t", -EBADMSG },
                { "QueueMax t 5 6", -EBADMSG },
                { "QueueMax t -5", -EBADMSG },
                { "QueueMax t 18446744073709551616", -EBADMSG },
                { "QueueMax u 4294967296", -EBADMSG },
                { "Durable b 2", -EBADMSG },
                { "QueueMax tt 5", -EBADMSG },
                { "QueueMax \"\" 5", -EBADMSG },
                { "QueueMax x 5", -EBADMSG },
                { "Description s", -EBADMSG },
                { "Description s \"a\" \"b\"", -EBADMSG },
                { "Description s \"a", -EBADMSG },
                { "Description s \"a\\", -EBADMSG },
                { "QueueMax t 5\n\nQueueMax t 6", -EBADMSG },
                { "QueueMax t 0", -EINVAL },
                { "Nope t 5", -ENOENT },
                { "ExecStart a \"true\"", -ENOEXEC },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = NULL;
                _cleanup_free_ char *error = NULL;

                assert_int_equal(pool_config_new("test", FAIRNESS_NONE, &config), 0);
                assert_int_equal(
                        assignments_make(rows[i].text, assign_to_pool, config, &error), rows[i].r);
                assert_int_equal(error != NULL, rows[i].r < 0);
        }
}

/* Whatever it is that was read: it can be done, or there is a text that says why not. */
static void any_text_is_answered(void **state) {
        static const char bytes[] = "\n\n\"\"\\ atsubx019=\x01\xc3\xff";
        _cleanup_(pool_config_freep) PoolConfig *config = new_pool(command_settings);
        _cleanup_free_ char *text = print(config, NULL);
        uint64_t random = 1;

        for (unsigned n = 0; n < 5000; n++) {
                _cleanup_(pool_config_freep) PoolConfig *again = NULL;
                _cleanup_free_ char *broken = strdup(text), *error = NULL;
                size_t size = strlen(text);
                int r;

                assert_non_null(broken);
                for (uint64_t i = random_below(&random, 4) + 1; i > 0; i--)
                        broken[random_below(&random, size)] =
                                bytes[random_below(&random, sizeof(bytes) - 1)];
                if (random_below(&random, 4) == 0)
                        broken[random_below(&random, size)] = '\0';
                assert_int_equal(pool_config_new("test", FAIRNESS_NONE, &again), 0);
                r = assignments_make(broken, assign_to_pool, again, &error);
                if (r >= 0)
                        r = pool_config_complete(again, &error);
                assert_int_equal(error != NULL, r < 0);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_pool_is_made_again_with_all_that_it_was_given),
                cmocka_unit_test(what_is_a_word_is_printed_as_one),
                cmocka_unit_test(only_what_differs_from_the_file_is_printed),
                cmocka_unit_test(limiters_and_breakers_are_made_again),
                cmocka_unit_test(what_is_no_assignment_is_told),
                cmocka_unit_test(any_text_is_answered),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
