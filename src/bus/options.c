/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "bus/auth.h"
#include "bus/error.h"
#include "bus/options.h"
#include "engine/job-group.h"
#include "engine/submit-key.h"
#include "util/parse.h"
#include "util/strv.h"

#define TAG_MAX 255
#define CONCURRENCY_KEY_MAX 255
#define MAX_ATTEMPTS_MAX 1000000
#define ARGUMENTS_MAX 64
#define ARGUMENTS_SIZE_MAX ((size_t) 64 * 1024)

typedef struct Reader Reader;

/* One known key: its D-Bus type, and what to do with a value of it. */
typedef struct Option {
        const char *name, *type;
        int (*read)(sd_bus_message *m, Reader *reader, sd_bus_error *error);
} Option;

struct Reader {
        SubmitTarget target;
        Engine *engine;
        Submission *submission;
        SubmitOptions *options;
        JobFilter *filter;
        bool none;
};

static int key_error(sd_bus_error *error, const Option *table, size_t n, const char *key) {
        char names[512] = "", quoted[SETTING_QUOTE_SIZE];
        size_t used = 0;

        for (size_t i = 0; i < n && used < sizeof(names); i++) {
                int k = snprintf(names + used, sizeof(names) - used, "%s%s", i > 0 ? " " : "",
                        table[i].name);

                used += k > 0 ? (size_t) k : 0;
        }
        return bus_error(error, BUS_ERROR_INVALID_ARGS, "Unknown option \"%s\", allowed are: %s",
                setting_quote(quoted, key), names);
}

/* Enters the value, which must be of the option's type. */
static int enter_value(sd_bus_message *m, const Option *option, sd_bus_error *error) {
        const char *contents = NULL;
        char type;
        int r;

        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        if (!contents || strcmp(contents, option->type) != 0)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"%s\" is of type %s, not %s", option->name, option->type,
                        contents ?: "?");
        return sd_bus_message_enter_container(m, 'v', option->type);
}

/* Walks an a{sv} with the options of the table, each at most once. */
static int walk_options(
        sd_bus_message *m, const Option *table, size_t n, Reader *reader, sd_bus_error *error) {
        uint64_t seen = 0;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                const Option *option = NULL;
                const char *key;

                r = sd_bus_message_read_basic(m, 's', &key);
                if (r < 0)
                        return r;
                for (size_t i = 0; i < n && !option; i++)
                        if (strcmp(table[i].name, key) == 0)
                                option = &table[i];
                if (!option)
                        return key_error(error, table, n, key);
                if (seen & UINT64_C(1) << (option - table))
                        return bus_error(
                                error, BUS_ERROR_INVALID_ARGS, "Option \"%s\" is given twice", key);
                seen |= UINT64_C(1) << (option - table);
                r = enter_value(m, option, error);
                if (r < 0)
                        return r;
                r = option->read(m, reader, error);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_options(
        sd_bus_message *m, const Option *table, size_t n, Reader *reader, sd_bus_error *error) {
        return bus_read_error(walk_options(m, table, n, reader, error));
}

/* ---- submit ---- */

static int read_priority(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        int32_t priority;
        int r;

        r = sd_bus_message_read_basic(m, 'i', &priority);
        if (r < 0)
                return r;
        if (priority < PRIORITY_MIN || priority > PRIORITY_MAX)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"Priority\" is %d, allowed are %d to %d", priority, PRIORITY_MIN,
                        PRIORITY_MAX);
        reader->submission->priority = (int16_t) priority;
        return 0;
}

static int read_span(
        sd_bus_message *m, const char *name, bool infinite, usec_t *ret, sd_bus_error *error) {
        uint64_t t;
        int r;

        r = sd_bus_message_read_basic(m, 't', &t);
        if (r < 0)
                return r;
        if (t > USEC_SPAN_MAX && !(infinite && t == USEC_INFINITY))
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"%s\" is %" PRIu64 " us, allowed are up to %" PRIu64
                        " (10 years)%s",
                        name, t, USEC_SPAN_MAX,
                        infinite ? " or 18446744073709551615 (infinity)" : "");
        *ret = t;
        return 0;
}

static int read_delay(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        return read_span(m, "DelayUSec", false, &reader->submission->delay, error);
}

static int read_wait(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        return read_span(m, "WaitUSec", true, &reader->options->wait, error);
}

static int read_max_attempts(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        uint32_t n;
        int r;

        r = sd_bus_message_read_basic(m, 'u', &n);
        if (r < 0)
                return r;
        if (n < 1 || n > MAX_ATTEMPTS_MAX)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"MaxAttempts\" is %" PRIu32 ", allowed are 1 to %d", n,
                        MAX_ATTEMPTS_MAX);
        reader->submission->max_attempts = n;
        return 0;
}

static int read_queue_timeout(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        return read_span(m, "QueueTimeoutUSec", true, &reader->submission->queue_timeout, error);
}

static int read_run_timeout(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        int r = read_span(m, "RunTimeoutUSec", true, &reader->submission->run_timeout, error);

        if (r >= 0 && reader->submission->run_timeout == 0)
                return bus_error(
                        error, BUS_ERROR_INVALID_ARGS, "Option \"RunTimeoutUSec\" must not be 0");
        return r;
}

static int read_text(sd_bus_message *m, const char *name, const char **ret, sd_bus_error *error) {
        const char *s;
        int r;

        r = sd_bus_message_read_basic(m, 's', &s);
        if (r < 0)
                return r;
        if (strlen(s) > TAG_MAX)
                return bus_error(error, BUS_ERROR_TOO_LARGE,
                        "Option \"%s\" is longer than %d bytes", name, TAG_MAX);
        *ret = s;
        return 0;
}

static int read_tag(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        const char *tag = "";
        int r;

        r = read_text(m, "Tag", &tag, error);
        if (r < 0)
                return r;
        reader->submission->tag = strdup(tag);
        return reader->submission->tag ? 0 : bus_error_oom(error);
}

/* Keys are for programs to make up and for people to read. */
static bool key_is_valid(const char *key) {
        return *key && strlen(key) <= SUBMIT_KEY_MAX && text_is_valid(key) && !strchr(key, '\t');
}

static int read_key(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        const char *key;
        int r;

        r = sd_bus_message_read_basic(m, 's', &key);
        if (r < 0)
                return r;
        if (!key_is_valid(key))
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"Key\" is not 1 to %d bytes of valid UTF-8 without control "
                        "characters",
                        SUBMIT_KEY_MAX);
        return submission_set_key(reader->submission, key) < 0 ? bus_error_oom(error) : 0;
}

static int read_concurrency_key(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        const char *key;
        size_t size;
        int r;

        r = sd_bus_message_read_basic(m, 's', &key);
        if (r < 0)
                return r;
        size = strlen(key);
        if (size < 1 || size > CONCURRENCY_KEY_MAX)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"ConcurrencyKey\" has %zu bytes, allowed are 1 to %d", size,
                        CONCURRENCY_KEY_MAX);
        reader->submission->concurrency_key = strdup(key);
        return reader->submission->concurrency_key ? 0 : bus_error_oom(error);
}

/* What belongs to one run of a command cannot be that of one job of its batch. Nor that of an item:
 * which stage is meant nobody has said, and with its output elsewhere there would be nothing to go
 * on with. */
static int refuse_without_own_run(const Reader *reader, const char *name, sd_bus_error *error) {
        const Pool *pool = reader->target.pool;

        if (reader->target.pipeline)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"%s\": it is for one command, and the jobs of pipeline %s go "
                        "through its stages",
                        name, reader->target.pipeline->name);
        if (!pool->config->handler_config.netstring_batches)
                return 0;
        return bus_error(error, BUS_ERROR_INVALID_ARGS,
                "Option \"%s\": the jobs of pool %s run in batches, which are one command each "
                "(Batch=netstring)",
                name, pool->config->name);
}

static int read_arguments(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        char ***arguments = &reader->submission->arguments;
        size_t size = 0;
        int r;

        r = refuse_without_own_run(reader, "Arguments", error);
        if (r < 0)
                return r;
        if (!reader->target.pool->config->handler_config.allow_arguments)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"Arguments\": pool %s takes none; its setting AllowArguments=yes "
                        "would allow them",
                        reader->target.pool->config->name);
        r = bus_read_error(sd_bus_message_read_strv(m, arguments));
        if (r < 0)
                return r;
        STRV_FOREACH (s, *arguments)
                size += strlen(*s) + 1;
        if (strv_length(*arguments) > ARGUMENTS_MAX || size > ARGUMENTS_SIZE_MAX)
                return bus_error(error, BUS_ERROR_TOO_LARGE,
                        "Option \"Arguments\": allowed are %d of them with %zu bytes in all",
                        ARGUMENTS_MAX, ARGUMENTS_SIZE_MAX);
        return 0;
}

int options_take_fd(sd_bus_message *m, int *ret, sd_bus_error *error) {
        int fd, copy, r;

        r = sd_bus_message_read_basic(m, 'h', &fd);
        if (r == -EBADMSG)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "The message has no file descriptor where it says so");
        if (r < 0)
                return r;
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
                return bus_error(error, BUS_ERROR_LIMITS_EXCEEDED, "No file descriptor left: %s",
                        strerror(errno));
        *ret = copy;
        return 0;
}

static int read_output_fd(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        const PoolConfig *config = reader->target.pool->config;
        int flags, r;

        r = refuse_without_own_run(reader, "OutputFd", error);
        if (r < 0)
                return r;
        if (strcmp(config->handler->name, "command") != 0)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"OutputFd\" is for commands, and pool %s has Handler=%s",
                        config->name, config->handler->name);
        r = options_take_fd(m, &reader->submission->output_fd, error);
        if (r < 0)
                return r;
        flags = fcntl(reader->submission->output_fd, F_GETFL);
        if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_RDONLY)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"OutputFd\" is not open for writing");
        return 0;
}

static int read_flag(sd_bus_message *m, bool *ret) {
        int b, r;

        r = sd_bus_message_read_basic(m, 'b', &b);
        if (r < 0)
                return r;
        *ret = b;
        return 0;
}

static int read_notify(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        return read_flag(m, &reader->submission->notify);
}

static int read_bind(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        return read_flag(m, &reader->submission->bind);
}

static int read_partial(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        return read_flag(m, &reader->options->partial);
}

static int read_group_policy(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        char quoted[SETTING_QUOTE_SIZE];
        const char *s = "";
        int r;

        r = read_text(m, "GroupPolicy", &s, error);
        if (r < 0)
                return r;
        reader->options->has_group_policy = true;
        reader->options->group_policy = group_policy_from_string(s);
        if (reader->options->group_policy < 0)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"GroupPolicy\" is \"%s\", allowed are all first-error",
                        setting_quote(quoted, s));
        return 0;
}

static const Option submit_options[] = {
        { "Priority", "i", read_priority },
        { "WaitUSec", "t", read_wait },
        { "DelayUSec", "t", read_delay },
        { "QueueTimeoutUSec", "t", read_queue_timeout },
        { "RunTimeoutUSec", "t", read_run_timeout },
        { "MaxAttempts", "u", read_max_attempts },
        { "Key", "s", read_key },
        { "ConcurrencyKey", "s", read_concurrency_key },
        { "Tag", "s", read_tag },
        { "Arguments", "as", read_arguments },
        { "OutputFd", "h", read_output_fd },
        { "Notify", "b", read_notify },
        { "BindToClient", "b", read_bind },
        { "Partial", "b", read_partial },
        { "GroupPolicy", "s", read_group_policy },
};

int options_read_submit(sd_bus_message *m, const SubmitTarget *target, const Client *client,
        Submission *submission, SubmitOptions *ret_options, sd_bus_error *error) {
        const PoolConfig *config = target->pool->config;
        bool waits = !target->pipeline && config->overflow == OVERFLOW_WAIT;
        Reader reader = { .target = *target, .submission = submission, .options = ret_options };

        *ret_options = (SubmitOptions){
                .wait = waits ? config->overflow_timeout : 0,
        };
        submission->owner = client->uid;
        submission->run_timeout = target->pipeline ? 0 : config->run_timeout;
        return read_options(m, submit_options, ELEMENTSOF(submit_options), &reader, error);
}

/* ---- settings ---- */

/* Reads a variant into a value; *ret_list is the caller's to free. */
static int read_setting(sd_bus_message *m, const char *key, SettingValue *ret, char ***ret_list,
        sd_bus_error *error) {
        char quoted[SETTING_QUOTE_SIZE], type;
        const char *contents = NULL;
        uint32_t u;
        uint64_t t;
        int b, r;

        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(m, 'v', contents);
        if (r < 0)
                return r;
        if (strcmp(contents, "s") == 0) {
                ret->type = 's';
                r = sd_bus_message_read_basic(m, 's', &ret->string);
        } else if (strcmp(contents, "u") == 0) {
                ret->type = 'u';
                r = sd_bus_message_read_basic(m, 'u', &u);
                ret->number = r < 0 ? 0 : u;
        } else if (strcmp(contents, "t") == 0) {
                ret->type = 't';
                r = sd_bus_message_read_basic(m, 't', &t);
                ret->number = r < 0 ? 0 : t;
        } else if (strcmp(contents, "b") == 0) {
                ret->type = 'b';
                r = sd_bus_message_read_basic(m, 'b', &b);
                ret->number = r < 0 ? 0 : (uint64_t) b;
        } else if (strcmp(contents, "as") == 0) {
                ret->type = 'a';
                r = bus_read_error(sd_bus_message_read_strv(m, ret_list));
                ret->list = *ret_list;
        } else
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Setting \"%s\" is of type %s, allowed are s (as in a settings file) "
                        "and the type of the property",
                        setting_quote(quoted, key), contents);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int walk_assignments(
        sd_bus_message *m, assign_t assign, void *target, bool settable_only, sd_bus_error *error) {
        _cleanup_strv_ char **seen = NULL;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                _cleanup_strv_ char **list = NULL;
                char quoted[SETTING_QUOTE_SIZE];
                SettingValue value = {};
                char *text = NULL;
                const char *key;

                r = sd_bus_message_read_basic(m, 's', &key);
                if (r < 0)
                        return r;
                if (strv_contains(seen, key))
                        return bus_error(error, BUS_ERROR_INVALID_ARGS,
                                "Setting \"%s\" is given twice", setting_quote(quoted, key));
                r = strv_extend(&seen, key);
                if (r < 0)
                        return bus_error_oom(error);
                r = read_setting(m, key, &value, &list, error);
                if (r < 0)
                        return r;
                r = assign(target, key, &value, settable_only, &text);
                if (r < 0)
                        return bus_error_settings(error, r, text);
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(m);
}

int options_read_assignments(
        sd_bus_message *m, assign_t assign, void *target, bool settable_only, sd_bus_error *error) {
        return bus_read_error(walk_assignments(m, assign, target, settable_only, error));
}

int options_read_property(sd_bus_message *m, SettingValue *ret) {
        const char *contents;
        uint32_t u;
        char type;
        int r;

        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        *ret = (SettingValue){ .type = type };
        if (type == 's')
                return sd_bus_message_read_basic(m, 's', &ret->string);
        if (type == 't')
                return sd_bus_message_read_basic(m, 't', &ret->number);
        /* All others are of this type. */
        r = sd_bus_message_read_basic(m, 'u', &u);
        if (r < 0)
                return r;
        ret->number = u;
        return 0;
}

static int assign_to_pool(void *target, const char *key, const SettingValue *value,
        bool settable_only, char **ret_error) {
        if (settable_only && pool_config_is_settable(key) == 0)
                return setting_fault(
                        ret_error, "Setting \"%s\" cannot be changed on a living pool", key);
        return pool_config_set(target, key, value, ret_error);
}

int options_read_settings(
        sd_bus_message *m, PoolConfig *config, bool settable_only, sd_bus_error *error) {
        char *text = NULL;
        int r;

        r = options_read_assignments(m, assign_to_pool, config, settable_only, error);
        if (r < 0)
                return r;
        r = pool_config_complete(config, &text);
        return r < 0 ? bus_error_settings(error, r, text) : 0;
}

/* ---- filters ---- */

static int read_filter_pool(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        const char *name = NULL;
        int r;

        r = read_text(m, "Pool", &name, error);
        if (r < 0)
                return r;
        reader->filter->pool = engine_find_pool(reader->engine, name);
        reader->none |= !reader->filter->pool;
        return 0;
}

static int read_filter_pipeline(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        const char *name = NULL;
        int r;

        r = read_text(m, "Pipeline", &name, error);
        if (r < 0)
                return r;
        reader->filter->pipeline = engine_find_pipeline(reader->engine, name);
        reader->none |= !reader->filter->pipeline;
        return 0;
}

static int read_filter_state(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        char quoted[SETTING_QUOTE_SIZE];
        const char *s = NULL;
        int r;

        r = read_text(m, "State", &s, error);
        if (r < 0)
                return r;
        reader->filter->state = job_state_from_string(s);
        if (reader->filter->state < 0)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"State\" is \"%s\", allowed are scheduled queued running stopping "
                        "finished",
                        setting_quote(quoted, s));
        return 0;
}

static int read_filter_result(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        char quoted[SETTING_QUOTE_SIZE];
        const char *s = NULL;
        int r;

        r = read_text(m, "Result", &s, error);
        if (r < 0)
                return r;
        reader->filter->result = job_result_from_string(s);
        if (reader->filter->result < 0)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"Result\" is \"%s\", allowed are succeeded failed cancelled "
                        "timed-out expired dropped refused lost",
                        setting_quote(quoted, s));
        return 0;
}

static int read_filter_owner(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        uint32_t uid;
        int r;

        r = sd_bus_message_read_basic(m, 'u', &uid);
        if (r < 0)
                return r;
        /* Together with the limit to one's own jobs, somebody else's leave nothing. */
        if (reader->filter->by_owner && reader->filter->owner != uid)
                reader->none = true;
        reader->filter->by_owner = true;
        reader->filter->owner = uid;
        return 0;
}

static int read_filter_tag(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        return read_text(m, "Tag", &reader->filter->tag, error);
}

static int read_filter_group(sd_bus_message *m, Reader *reader, sd_bus_error *error) {
        const JobGroup *group;
        uint64_t id;
        int r;

        r = sd_bus_message_read_basic(m, 't', &id);
        if (r < 0)
                return r;
        group = engine_find_group(reader->engine, id);
        if (group)
                job_filter_group(reader->filter, group);
        reader->none |= !group;
        return 0;
}

static const Option filter_options[] = {
        { "Pool", "s", read_filter_pool },
        { "Pipeline", "s", read_filter_pipeline },
        { "State", "s", read_filter_state },
        { "Result", "s", read_filter_result },
        { "Owner", "u", read_filter_owner },
        { "Tag", "s", read_filter_tag },
        { "Group", "t", read_filter_group },
};

int options_read_filter(sd_bus_message *m, Engine *engine, const Client *client, JobFilter *ret,
        bool *ret_none, sd_bus_error *error) {
        Reader reader = { .engine = engine, .filter = ret };
        int r;

        *ret = (JobFilter){
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .by_owner = !auth_is_root(client),
                .owner = client->uid,
        };
        r = read_options(m, filter_options, ELEMENTSOF(filter_options), &reader, error);
        if (r < 0)
                return r;
        *ret_none = reader.none;
        return 0;
}
