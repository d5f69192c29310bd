/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A setting is one row of the table, so a new setting is a new row and nothing more: files, the
 * bus, copies and comparisons go by the table. */

#include <limits.h>
#include <string.h>

#include "engine/assignments.h"
#include "engine/breaker-config.h"
#include "engine/limiter-config.h"
#include "engine/pool-config-internal.h"
#include "util/strv.h"

#define WORKERS_MAX 1024
#define BYTES_MAX (UINT64_C(16) << 20) /* replies stay under 16 MiB */
#define ATTEMPTS_MAX 1000000
#define WORDS_MAX 64
#define BUS_NAME_MAX 255
/* Of a template that has room for the id of a job. */
#define UNIT_TEMPLATE_MAX 235
#define NAMES_MAX 1024
#define BATCH_MAX 65535 /* what a turn can count, see engine/worker.h */
#define SCALE_AT_MAX 1000000
#define KEY_CONCURRENCY_MAX 1000000

static const char *const fairness_words[] = { "none", "user", NULL };
static const char *const overflow_words[] = { "reject", "wait", "drop-oldest", "drop-lowest",
        NULL };
static const char *const handler_words[] = { "command", "coprocess", "module", "service", "lease",
        "unit", NULL };

static int set_fairness(const Assignment *a) {
        int i, r;

        r = setting_read_word(a, &i);
        if (r < 0)
                return r;

        *(Fairness *) setting_place(a->target, a->setting) = (Fairness) i;
        return 1;
}

static const char *word_of_fairness(const void *place) {
        return fairness_words[*(const Fairness *) place];
}

static int set_overflow(const Assignment *a) {
        int i, r;

        r = setting_read_word(a, &i);
        if (r < 0)
                return r;

        *(Overflow *) setting_place(a->target, a->setting) = (Overflow) i;
        return 1;
}

static const char *word_of_overflow(const void *place) {
        return overflow_words[*(const Overflow *) place];
}

static int set_handler(const Assignment *a) {
        int i, r;

        r = setting_read_word(a, &i);
        if (r < 0)
                return r;

        *(const HandlerVTable **) setting_place(a->target, a->setting) =
                handler_find(a->setting->words[i]);
        return 1;
}

static const char *word_of_handler(const void *place) {
        return (*(const HandlerVTable *const *) place)->name;
}

static const SettingType type_fairness = { "a word", STORED_PLAIN, sizeof(Fairness), set_fairness,
        .word = word_of_fairness };
static const SettingType type_overflow = { "a word", STORED_PLAIN, sizeof(Overflow), set_overflow,
        .word = word_of_overflow };
static const SettingType type_handler = { "a word", STORED_PLAIN, sizeof(HandlerVTable *),
        set_handler, .word = word_of_handler };

static const char *const on_open_words[] = { "fail", "hold", NULL };

static int set_on_open(const Assignment *a) {
        int i, r;

        r = setting_read_word(a, &i);
        if (r < 0)
                return r;
        *(bool *) setting_place(a->target, a->setting) = i == 1;
        return 1;
}

static const char *word_of_on_open(const void *place) {
        return on_open_words[*(const bool *) place];
}

static const char *const scale_mode_words[] = { "queue", "wait", "pressure", "off", NULL };

static int set_scale_mode(const Assignment *a) {
        int i, r;

        r = setting_read_word(a, &i);
        if (r < 0)
                return r;
        *(ScaleMode *) setting_place(a->target, a->setting) =
                scale_mode_from_string(a->setting->words[i]);
        return 1;
}

static const char *word_of_scale_mode(const void *place) {
        return scale_mode_to_string(*(const ScaleMode *) place);
}

static const SettingType type_scale_mode = { "a word", STORED_PLAIN, sizeof(ScaleMode),
        set_scale_mode, .word = word_of_scale_mode };

static const SettingType type_on_open = { "a word", STORED_PLAIN, sizeof(bool), set_on_open,
        .word = word_of_on_open };

static const char *const batch_words[] = { "netstring", NULL };

static int set_batch(const Assignment *a) {
        bool *place = setting_place(a->target, a->setting);
        int i, r;

        if (a->value->type == 's' && !*a->value->string) {
                *place = false;
                return 0;
        }
        r = setting_read_word(a, &i);
        if (r < 0)
                return r;
        *place = true;
        return 1;
}

static const char *word_of_batch(const void *place) {
        return *(const bool *) place ? batch_words[0] : "";
}

static const SettingType type_batch = { "a word", STORED_PLAIN, sizeof(bool), set_batch,
        .word = word_of_batch };

static const char *const framing_words[] = { "netstring", "line", NULL };

static int set_framing(const Assignment *a) {
        int i, r;

        r = setting_read_word(a, &i);
        if (r < 0)
                return r;
        *(Framing *) setting_place(a->target, a->setting) = (Framing) i;
        return 1;
}

static const char *word_of_framing(const void *place) {
        return framing_words[*(const Framing *) place];
}

static const SettingType type_framing = { "a word", STORED_PLAIN, sizeof(Framing), set_framing,
        .word = word_of_framing };

#define PLACE(member) .place = offsetof(PoolConfig, member)

/* In the order of the sections, as texts name these in the order of the table. */
const Setting pool_settings[] = {
        { "Description", "Pool", "Description", &setting_text, 0, 1024, PLACE(description) },
        { "Handler", "Pool", "Handler", &type_handler, .words = handler_words, PLACE(handler) },
        { "Workers", "Pool", "Workers", &setting_uint32, 1, WORKERS_MAX, PLACE(min_workers),
                .settable = true },
        { "MinWorkers", "Pool", "MinWorkers", &setting_uint32, 1, WORKERS_MAX, PLACE(min_workers),
                .settable = true },
        { "MaxWorkers", "Pool", "MaxWorkers", &setting_uint32, 1, WORKERS_MAX, PLACE(max_workers),
                .settable = true },
        { "CPUAffinity", "Pool", "CPUAffinity", &setting_cpus, 0, 4096, PLACE(cpu_affinity) },
        { "QueueMax", "Pool", "QueueMax", &setting_uint64, 1, 100000000, PLACE(queue_max),
                .settable = true },
        { "PayloadMax", "Pool", "PayloadMax", &setting_size, 0, BYTES_MAX,
                PLACE(handler_config.payload_max) },
        { "Overflow", "Pool", "Overflow", &type_overflow, .words = overflow_words, PLACE(overflow),
                .settable = true },
        { "OverflowTimeoutUSec", "Pool", "OverflowTimeout", &setting_time, 0, USEC_SPAN_MAX,
                .unbounded = true, PLACE(overflow_timeout), .settable = true },
        { "AgingIntervalUSec", "Pool", "AgingInterval", &setting_time, 1, USEC_PER_YEAR,
                .unbounded = true, PLACE(aging_interval), .settable = true },
        { "Fairness", "Pool", "Fairness", &type_fairness, .words = fairness_words,
                PLACE(fairness) },
        { "RunTimeoutUSec", "Pool", "RunTimeout", &setting_time, USEC_PER_MSEC, USEC_SPAN_MAX,
                .unbounded = true, PLACE(run_timeout), .settable = true },
        { "MaxAttempts", "Pool", "MaxAttempts", &setting_uint32, 1, ATTEMPTS_MAX,
                PLACE(max_attempts), .settable = true },
        { "BackoffUSec", "Pool", "Backoff", &setting_time, 0, USEC_SPAN_MAX, PLACE(backoff),
                .settable = true },
        { "BackoffMaxUSec", "Pool", "BackoffMax", &setting_time, 0, USEC_SPAN_MAX,
                .unbounded = true, PLACE(backoff_max), .settable = true },
        { "KeyConcurrency", "Pool", "KeyConcurrency", &setting_uint32, 1, KEY_CONCURRENCY_MAX,
                PLACE(key_concurrency), .settable = true },
        { "StopTimeoutUSec", "Pool", "StopTimeout", &setting_time, 0, USEC_PER_HOUR,
                PLACE(handler_config.stop_timeout) },
        { "ResultRetentionUSec", "Pool", "ResultRetention", &setting_time, 0, USEC_SPAN_MAX,
                .unbounded = true, PLACE(result_retention) },
        { "ResultRetentionMax", "Pool", "ResultRetentionMax", &setting_uint64, 0, 10000000,
                PLACE(result_retention_max) },
        { "Durable", "Pool", "Durable", &setting_boolean, PLACE(durable) },
        { "Limiter", "Pool", "Limiter", &setting_object_name, PLACE(limiter) },
        { "Breaker", "Pool", "Breaker", &setting_object_name, PLACE(breaker) },
        { "OnOpen", "Pool", "OnOpen", &type_on_open, .words = on_open_words, PLACE(hold_on_open) },
        { "AllowUsers", "Pool", "AllowUsers", &setting_names, 0, NAMES_MAX, PLACE(allow_users) },
        { "AllowGroups", "Pool", "AllowGroups", &setting_names, 0, NAMES_MAX, PLACE(allow_groups) },

        { "ExecStart", "Command", "ExecStart", &setting_command, 1, WORDS_MAX,
                PLACE(handler_config.exec_start) },
        { "AllowArguments", "Command", "AllowArguments", &setting_boolean,
                PLACE(handler_config.allow_arguments) },
        { "WorkingDirectory", "Command", "WorkingDirectory", &setting_path, 1, PATH_MAX - 1,
                PLACE(handler_config.working_directory) },
        { "Environment", "Command", "Environment", &setting_environment, 0, WORDS_MAX,
                PLACE(handler_config.environment) },
        { "OutputMax", "Command", "OutputMax", &setting_size, 0, BYTES_MAX,
                PLACE(handler_config.output_max) },
        { "PinCommands", "Command", "PinCommands", &setting_boolean,
                PLACE(handler_config.pin_commands) },
        { "Framing", "Command", "Framing", &type_framing, .words = framing_words,
                PLACE(handler_config.framing) },
        { "Batch", "Command", "Batch", &type_batch, .words = batch_words,
                PLACE(handler_config.netstring_batches) },

        { "ModulePath", "Module", "Path", &setting_module_path, 1, PATH_MAX - 1,
                PLACE(handler_config.module_path) },
        { "ModuleOptions", "Module", "Options", &setting_text, 0, 65536,
                PLACE(handler_config.module_options) },

        { "ServiceBusName", "Service", "BusName", &setting_bus_name, 1, BUS_NAME_MAX,
                PLACE(handler_config.bus_name), .by_key = true },
        { "ServiceObjectPath", "Service", "ObjectPath", &setting_object_path, 1, PATH_MAX - 1,
                PLACE(handler_config.object_path), .by_key = true },
        /* No pool has both this and that of a command. */
        { "ServiceOutputMax", "Service", "OutputMax", &setting_size, 0, BYTES_MAX,
                PLACE(handler_config.output_max) },

        { "UnitTemplate", "Unit", "Template", &setting_unit_template, 1, UNIT_TEMPLATE_MAX,
                PLACE(handler_config.unit_template), .by_key = true },
        { "UnitOutputMax", "Unit", "OutputMax", &setting_size, 0, BYTES_MAX,
                PLACE(handler_config.output_max) },

        { "LeaseAllowUsers", "Lease", "AllowUsers", &setting_names, 0, NAMES_MAX,
                PLACE(lease_users) },
        { "LeaseAllowGroups", "Lease", "AllowGroups", &setting_names, 0, NAMES_MAX,
                PLACE(lease_groups) },

        { "LimiterRate", "Limiter", "Rate", &setting_rate, 1, LIMITER_RATE_MAX,
                PLACE(limiter_config.rate) },
        { "LimiterPeriodUSec", "Limiter", "Period", &setting_time, 1, LIMITER_PERIOD_MAX,
                PLACE(limiter_config.period) },
        { "LimiterBurst", "Limiter", "Burst", &setting_burst, 1, LIMITER_BURST_MAX,
                PLACE(limiter_config.burst) },

        BREAKER_SETTINGS("Breaker", offsetof(PoolConfig, breaker_config)),

        { "BatchSize", "Batch", "Size", &setting_uint32, 1, BATCH_MAX, PLACE(batch_size),
                .settable = true },
        { "BatchTimeoutUSec", "Batch", "Timeout", &setting_time, 0, USEC_SPAN_MAX,
                PLACE(batch_timeout), .settable = true },
        { "ScaleMode", "Scale", "Mode", &type_scale_mode, .words = scale_mode_words,
                PLACE(scale_config.mode), .settable = true },
        { "ScaleIntervalUSec", "Scale", "Interval", &setting_time, 10 * USEC_PER_MSEC, USEC_PER_DAY,
                PLACE(scale_config.interval), .settable = true },
        { "ScaleUpAt", "Scale", "UpAt", &setting_uint32, 1, SCALE_AT_MAX, PLACE(scale_config.up_at),
                .settable = true },
        { "ScaleDownAt", "Scale", "DownAt", &setting_uint32, 0, SCALE_AT_MAX,
                PLACE(scale_config.down_at), .settable = true },
        { "ScaleTargetWaitUSec", "Scale", "TargetWait", &setting_time, USEC_PER_MSEC, USEC_SPAN_MAX,
                PLACE(scale_config.target_wait), .settable = true },
};

const size_t n_pool_settings = ELEMENTSOF(pool_settings);

_Static_assert(ELEMENTSOF(pool_settings) <= 64, "PoolConfig.given has a bit for each");

static uint64_t bit_of(const Setting *s) {
        return UINT64_C(1) << (s - pool_settings);
}

const Setting *pool_setting_find(const char *name) {
        for (const Setting *s = pool_settings; s < pool_settings + n_pool_settings; s++)
                if (setting_is_named(s, name))
                        return s;
        return NULL;
}

static const Setting *find_in_section(const char *section, const char *key) {
        for (const Setting *s = pool_settings; s < pool_settings + n_pool_settings; s++)
                if ((!section || strcmp(s->section, section) == 0) && strcmp(s->key, key) == 0)
                        return s;
        return NULL;
}

bool pool_setting_is_given(const PoolConfig *config, const Setting *s) {
        return config->given & bit_of(s);
}

bool pool_section_is_given(const PoolConfig *config, const char *section) {
        for (const Setting *s = pool_settings; s < pool_settings + n_pool_settings; s++)
                if (((config->given | config->opened) & bit_of(s)) &&
                        strcmp(s->section, section) == 0)
                        return true;
        return false;
}

int pool_config_new(const char *name, Fairness fairness, PoolConfig **ret) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;

        config = malloc(sizeof(*config));
        if (!config)
                return -ENOMEM;

        *config = (PoolConfig){
                .name = strdup(name),
                .description = strdup(""),
                .handler = handler_find("command"),
                .handler_config = {
                        .payload_max = UINT64_C(1) << 20,
                        .stop_timeout = 10 * USEC_PER_SEC,
                        .working_directory = strdup("/"),
                        .output_max = UINT64_C(1) << 20,
                        .module_options = strdup(""),
                },
                .cpu_affinity = strdup(""),
                .queue_max = 1024,
                .aging_interval = 30 * USEC_PER_SEC,
                .fairness = fairness,
                .run_timeout = 30 * USEC_PER_MINUTE,
                .overflow_timeout = 10 * USEC_PER_SEC,
                .max_attempts = 1,
                .backoff = USEC_PER_SEC,
                .backoff_max = 5 * USEC_PER_MINUTE,
                .key_concurrency = 1,
                .batch_timeout = 250 * USEC_PER_MSEC,
                .result_retention = 10 * USEC_PER_MINUTE,
                .result_retention_max = 10000,
                .limiter_config = LIMITER_CONFIG_DEFAULT,
                .breaker_config = BREAKER_CONFIG_DEFAULT,
                .scale_config = {
                        .mode = SCALE_OFF,
                        .interval = 5 * USEC_PER_SEC,
                        .up_at = 10,
                        .down_at = 2,
                        .target_wait = 200 * USEC_PER_MSEC,
                },
        };
        config->handler_config.pool = config->name;

        if (!config->name || !config->description || !config->handler_config.working_directory ||
                !config->handler_config.module_options || !config->cpu_affinity)
                return -ENOMEM;

        *ret = TAKE_PTR(config);
        return 0;
}

PoolConfig *pool_config_free(PoolConfig *config) {
        if (!config)
                return NULL;

        for (const Setting *s = pool_settings; s < pool_settings + n_pool_settings; s++)
                setting_clear(config, s);
        free(config->allow_uids);
        free(config->allow_gids);
        free(config->lease_uids);
        free(config->lease_gids);
        free(config->name);
        free(config);
        return NULL;
}

static int copy_array(const void *from, size_t n, size_t size, void *ret) {
        void *copy = NULL;

        if (n > 0) {
                copy = reallocarray(NULL, n, size);
                if (!copy)
                        return -ENOMEM;
                memcpy(copy, from, n * size);
        }
        *(void **) ret = copy;
        return 0;
}

int pool_config_copy(const PoolConfig *config, PoolConfig **ret) {
        _cleanup_(pool_config_freep) PoolConfig *copy = NULL;
        int r;

        copy = calloc(1, sizeof(*copy));
        if (!copy)
                return -ENOMEM;

        copy->name = strdup(config->name);
        if (!copy->name)
                return -ENOMEM;
        for (const Setting *s = pool_settings; s < pool_settings + n_pool_settings; s++) {
                r = setting_copy(copy, config, s);
                if (r < 0)
                        return r;
        }

        r = copy_array(config->allow_uids, config->n_allow_uids, sizeof(uid_t), &copy->allow_uids);
        if (r < 0)
                return r;
        r = copy_array(config->allow_gids, config->n_allow_gids, sizeof(gid_t), &copy->allow_gids);
        if (r < 0)
                return r;
        r = copy_array(config->lease_uids, config->n_lease_uids, sizeof(uid_t), &copy->lease_uids);
        if (r < 0)
                return r;
        r = copy_array(config->lease_gids, config->n_lease_gids, sizeof(gid_t), &copy->lease_gids);
        if (r < 0)
                return r;

        copy->handler_config.pool = copy->name;
        copy->cpus = config->cpus;
        copy->n_allow_uids = config->n_allow_uids;
        copy->n_allow_gids = config->n_allow_gids;
        copy->n_lease_uids = config->n_lease_uids;
        copy->n_lease_gids = config->n_lease_gids;
        copy->given = config->given;
        copy->opened = config->opened;
        copy->own_breaker = config->own_breaker;
        *ret = TAKE_PTR(copy);
        return 0;
}

bool pool_config_equal(const PoolConfig *a, const PoolConfig *b) {
        if (strcmp(a->name, b->name) != 0 || a->own_breaker != b->own_breaker)
                return false;
        for (const Setting *s = pool_settings; s < pool_settings + n_pool_settings; s++)
                if (!setting_equal(a, b, s))
                        return false;
        return true;
}

char **pool_config_differences(const PoolConfig *a, const PoolConfig *b) {
        return setting_differences(a, b, pool_settings, n_pool_settings);
}

/* Limiters and breakers of a pool have all of their settings once they have one. */
static bool is_in_force(const PoolConfig *config, const Setting *s) {
        if (strcmp(s->section, "Limiter") == 0)
                return limiter_config_is_given(&config->limiter_config);
        if (strcmp(s->section, "Breaker") == 0)
                return config->own_breaker;
        /* Whoever gives no size has the default, but a pool that lives stays as it is. */
        if (strcmp(s->name, "BatchSize") == 0)
                return pool_section_is_given(config, s->section);
        /* It stands for two others. */
        return strcmp(s->name, "Workers") != 0 && pool_setting_is_given(config, s);
}

void pool_config_print(const PoolConfig *config, const PoolConfig *origin, FILE *f) {
        for (const Setting *s = pool_settings; s < pool_settings + n_pool_settings; s++)
                if (is_in_force(config, s) &&
                        (!origin || !is_in_force(origin, s) || !setting_equal(config, origin, s)))
                        assignment_print(f, config, s);
}

static int assign(PoolConfig *config, const Setting *s, const char *label,
        const SettingValue *value, char **ret_error) {
        int r;

        r = setting_assign(config, s, label, value, ret_error);
        if (r < 0)
                return r;

        if (r > 0)
                config->given |= bit_of(s);
        else
                config->given &= ~bit_of(s);

        /* Stands for MinWorkers, whose place it has, and MaxWorkers. */
        if (strcmp(s->key, "Workers") == 0) {
                config->max_workers = config->min_workers;
                config->given |= bit_of(pool_setting_find("MinWorkers")) |
                                 bit_of(pool_setting_find("MaxWorkers"));
        }
        return 0;
}

static int fault_unknown(char **ret_error, const char *key) {
        char value[SETTING_QUOTE_SIZE];
        int r;

        r = setting_fault(ret_error, "%s: there is no such setting", setting_quote(value, key));
        return r == -EINVAL ? -ENOENT : r;
}

int pool_config_open_section(PoolConfig *config, const char *section, char **ret_error) {
        int r;

        r = setting_check_section(pool_settings, n_pool_settings, section, ret_error);
        if (r < 0)
                return r;
        for (const Setting *s = pool_settings; s < pool_settings + n_pool_settings; s++)
                if (strcmp(s->section, section) == 0)
                        config->opened |= bit_of(s);
        return 0;
}

int pool_config_set_in_section(PoolConfig *config, const char *section, const char *key,
        const char *value, char **ret_error) {
        const SettingValue v = { .type = 's', .string = value };
        const Setting *s, *elsewhere;
        int r;

        r = setting_check_section(pool_settings, n_pool_settings, section, ret_error);
        if (r < 0)
                return r;
        s = find_in_section(section, key);
        if (s)
                return assign(config, s, s->key, &v, ret_error);
        elsewhere = find_in_section(NULL, key);
        if (!elsewhere)
                return fault_unknown(ret_error, key);
        r = setting_fault(
                ret_error, "%s: belongs in the section [%s]", elsewhere->key, elsewhere->section);
        return r == -EINVAL ? -ENOENT : r;
}

int pool_config_set(
        PoolConfig *config, const char *name, const SettingValue *value, char **ret_error) {
        const Setting *s = pool_setting_find(name);

        if (!s)
                return fault_unknown(ret_error, name);
        return assign(config, s, name, value, ret_error);
}

int pool_config_is_settable(const char *name) {
        const Setting *s = pool_setting_find(name);

        return s ? s->settable : -ENOENT;
}

const char *fairness_to_string(Fairness f) {
        return f >= 0 && f < _FAIRNESS_MAX ? fairness_words[f] : NULL;
}
