/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Jobs that are there already: listing, waiting for, fetching and cancelling them. */

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "ctl/bus.h"
#include "ctl/group.h"
#include "ctl/job-end.h"
#include "ctl/json.h"
#include "ctl/object.h"
#include "ctl/options.h"
#include "ctl/table.h"
#include "ctl/text.h"
#include "ctl/verbs.h"
#include "util/parse.h"
#include "util/strv.h"

#define PAGE_SIZE 1000 /* the most that one call returns */

static const char *arg_pool, *arg_pipeline, *arg_state, *arg_result, *arg_owner, *arg_tag,
        *arg_group;
static OptionNumber arg_lines = { .value = UINT64_MAX };
static OptionNumber arg_timeout = { .value = USEC_INFINITY };

#define FILTER_OPTIONS                                                                       \
        { "pool", 0, "POOL", &option_text, &arg_pool, "Only those of this pool" },           \
                { "pipeline", 0, "PIPELINE", &option_text, &arg_pipeline,                    \
                        "Only those of this pipeline" },                                     \
                { "state", 0, "STATE", &option_text, &arg_state,                             \
                        "Only those that are scheduled, queued, running, …" },               \
                { "result", 0, "RESULT", &option_text, &arg_result,                          \
                        "Only those that succeeded, failed, cancelled, …" },                 \
                { "owner", 0, "USER", &option_text, &arg_owner, "Only those of this user" }, \
                { "tag", 0, "TAG", &option_text, &arg_tag, "Only those with this tag" }, {   \
                "group", 0, "ID", &option_text, &arg_group, "Only those of this group"       \
        }

static bool filter_is_given(void) {
        return arg_pool || arg_pipeline || arg_state || arg_result || arg_owner || arg_tag ||
               arg_group;
}

static int check_word(const char *option, const char *word, const char *const *words, size_t n) {
        const char *close;

        for (size_t i = 0; i < n; i++)
                if (strcmp(words[i], word) == 0)
                        return 0;
        close = did_you_mean(word, words, n);
        fprintf(stderr, "Bad value \"%s\" for --%s; ", word, option);
        if (close)
                return usage_error("did you mean %s?", close);
        fputs("expected ", stderr);
        for (size_t i = 0; i + 1 < n; i++)
                fprintf(stderr, "%s%s ", words[i], i + 2 < n ? "," : "");
        return usage_error("or %s.", words[n - 1]);
}

static int filter_check(void) {
        static const char *const states[] = { "scheduled", "queued", "running", "stopping",
                "finished" };
        static const char *const results[] = { "succeeded", "failed", "cancelled", "timed-out",
                "expired", "dropped", "refused", "lost" };
        int r = 0;

        if (arg_state)
                r = check_word("state", arg_state, states, ELEMENTSOF(states));
        if (r >= 0 && arg_result)
                r = check_word("result", arg_result, results, ELEMENTSOF(results));
        return r;
}

static int find_owner(uint32_t *ret) {
        const struct passwd *user;
        uint64_t uid;

        if (parse_uint64(arg_owner, 0, UINT32_MAX - 1, &uid) < 0) {
                user = getpwnam(arg_owner);
                if (!user)
                        return usage_error(
                                "Bad value \"%s\" for --owner; there is no such user.", arg_owner);
                uid = user->pw_uid;
        }
        *ret = (uint32_t) uid;
        return 0;
}

/* Appends the options as an a{sv}. Says what is wrong with them. */
static int append_filter(sd_bus_message *m) {
        _cleanup_object_ Object pool = { 0 }, pipeline = { 0 };
        uint64_t group = 0;
        uint32_t owner = 0;
        int r;

        r = filter_check();
        if (r >= 0 && arg_pool)
                r = pool_parse(arg_pool, &pool);
        if (r >= 0 && arg_pipeline)
                r = object_parse_as("pipeline", arg_pipeline, &pipeline);
        if (r >= 0 && arg_owner)
                r = find_owner(&owner);
        if (r >= 0 && arg_group)
                r = group_id_parse(arg_group, &group);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && arg_pool)
                r = sd_bus_message_append(m, "{sv}", "Pool", "s", pool.name);
        if (r >= 0 && arg_pipeline)
                r = sd_bus_message_append(m, "{sv}", "Pipeline", "s", pipeline.name);
        if (r >= 0 && arg_state)
                r = sd_bus_message_append(m, "{sv}", "State", "s", arg_state);
        if (r >= 0 && arg_result)
                r = sd_bus_message_append(m, "{sv}", "Result", "s", arg_result);
        if (r >= 0 && arg_owner)
                r = sd_bus_message_append(m, "{sv}", "Owner", "u", owner);
        if (r >= 0 && arg_tag)
                r = sd_bus_message_append(m, "{sv}", "Tag", "s", arg_tag);
        if (r >= 0 && arg_group)
                r = sd_bus_message_append(m, "{sv}", "Group", "t", group);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? failure(r, "make the filter") : 0;
}

/* One page of ListJobs into the table. *after moves on, 0 at the end. Returns the number of rows.
 */
static int list_page(Ctl *c, Table *table, uint32_t limit, uint64_t *after) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        const char *pool, *state, *result;
        int32_t priority;
        uint64_t id;
        int r, n = 0;

        r = bus_new_call(c, SLUICE_PATH, MANAGER_INTERFACE, "ListJobs", &m);
        if (r >= 0)
                r = append_filter(m);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ut", limit, *after);
        if (r < 0)
                return failure(r, "list the jobs");
        r = bus_call(c, m, CALL_DEFAULT, &reply, "list the jobs");
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "(tssis)");
        while (r >= 0 && (r = sd_bus_message_read(
                                  reply, "(tssis)", &id, &pool, &state, &priority, &result)) > 0) {
                json_object *row = json_object_new_object();

                json_add(row, "Id", json_object_new_uint64(id));
                json_add(row, "Pool", json_object_new_string(pool));
                json_add(row, "State", json_object_new_string(state));
                json_add(row, "Priority", json_object_new_int(priority));
                json_add(row, "Result", json_object_new_string(result));
                table_add(table, row);
                n++;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "t", after);
        return r < 0 ? failure(r, "read the list of jobs") : n;
}

static int jobs(Ctl *c, char **arguments) {
        static const Column columns[] = {
                { "Id", "ID", COLUMN_RIGHT },
                { "Pool", "POOL", COLUMN_SHRINKS },
                { "State", "STATE", COLUMN_STATE },
                { "Priority", "PRIORITY", COLUMN_RIGHT | COLUMN_OPTIONAL },
                { "Result", "RESULT", COLUMN_STATE },
        };
        uint64_t after = 0, left = arg_lines.value;
        _cleanup_table_ Table table;

        table_init(&table, c, columns, ELEMENTSOF(columns));
        do {
                int r;

                r = list_page(c, &table, (uint32_t) MIN(left, (uint64_t) PAGE_SIZE), &after);
                if (r < 0)
                        return r;
                left -= (uint64_t) r;
        } while (after != 0 && left > 0);
        table_finish(&table, "job", "jobs");
        if (after != 0)
                notice(c, "There may be more; -n says how many are listed.");
        return 0;
}

static const Option jobs_options[] = {
        FILTER_OPTIONS,
        { "lines", 'n', "N", &option_count, &arg_lines, "List at most so many" },
};

const Verb verb_jobs = {
        .name = "jobs",
        .arguments = "",
        .summary = "List jobs: all of yours, root all",
        .details = "In the order in which they were submitted. Finished ones are listed as long as "
                   "their "
                   "results are kept.",
        .example = "sluicectl jobs --pool=gzip --state=queued -n 20",
        .options = jobs_options,
        .n_options = ELEMENTSOF(jobs_options),
        .max_arguments = 0,
        .run = jobs,
};

/* Prints how a job ended, or that it did not. */
static void print_end(const Ctl *c, uint64_t id, const JobEnd *end) {
        _cleanup_free_ char *error = text_clean(end->error, /* lines= */ false);

        if (c->json != JSON_OFF) {
                _cleanup_json_ json_object *object = job_end_to_json(id, end);

                json_print(c, object);
        } else if (!c->quiet)
                printf("%" PRIu64 " %s%s%s\n", id, *end->result ? end->result : end->state,
                        *error ? ": " : "", error);
}

/* Both are given what has been checked, and return the exit status or what went wrong. */
static int wait_for_job(Ctl *c, const char *word, usec_t timeout) {
        _cleanup_job_end_ JobEnd end = { 0 };
        uint64_t id = 0;
        int r;

        (void) job_id_parse(word, &id);
        r = job_wait(c, id, timeout, &end);
        if (r < 0)
                return r;
        print_end(c, id, &end);
        return strcmp(end.result, "succeeded") == 0 ? 0 : EXIT_FAILURE;
}

static int wait_for_group(Ctl *c, const char *word, usec_t timeout) {
        uint64_t id = 0;

        (void) group_id_parse(word, &id);
        return group_wait(c, id, timeout);
}

static int wait_for_jobs(Ctl *c, char **arguments) {
        usec_t deadline = usec_add(usec_now(CLOCK_MONOTONIC), arg_timeout.value);
        int result = 0;

        /* First all, so that a slip of the fingers does not show hours later. */
        STRV_FOREACH (word, arguments) {
                uint64_t id;
                int r;

                r = group_is_named(*word) ? group_id_parse(*word, &id) : job_id_parse(*word, &id);
                if (r < 0)
                        return r;
        }
        STRV_FOREACH (word, arguments) {
                usec_t timeout = usec_sub(deadline, usec_now(CLOCK_MONOTONIC));
                int r;

                r = group_is_named(*word) ? wait_for_group(c, *word, timeout)
                                          : wait_for_job(c, *word, timeout);
                (void) fflush(stdout);
                if (r < 0 || result == 0)
                        result = r;
        }
        return result;
}

static const Option wait_options[] = {
        { "timeout", 0, "TIME", &option_time, &arg_timeout,
                "Wait at most so long; 0 only looks how they are" },
};

const Verb verb_wait = {
        .name = "wait",
        .arguments = "ID…",
        .summary = "Wait until jobs or groups have finished",
        .details = "A number is a job id, group/ID is a group. Prints the result of each, and "
                   "exits 0 if all succeeded. What has not finished in time is shown with its "
                   "state.",
        .example = "sluicectl wait 17 18 --timeout=5min",
        .options = wait_options,
        .n_options = ELEMENTSOF(wait_options),
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .run = wait_for_jobs,
};

static int result(Ctl *c, char **arguments) {
        _cleanup_job_end_ JobEnd end = { 0 };
        uint64_t id;
        int r;

        r = job_id_parse(arguments[0], &id);
        if (r >= 0)
                r = job_get_result(c, id, &end);
        if (r < 0)
                return r;
        if (c->json != JSON_OFF) {
                _cleanup_json_ json_object *object = job_end_to_json(id, &end);

                json_print(c, object);
                return strcmp(end.result, "succeeded") == 0 ? 0 : EXIT_FAILURE;
        }
        return job_end_print(id, &end);
}

const Verb verb_result = {
        .name = "result",
        .arguments = "ID",
        .summary = "Print the output of a finished job",
        .details = "As it is, to standard output. Why a job did not succeed goes to standard "
                   "error, and the "
                   "exit status is 1 then.",
        .example = "sluicectl result 17 > page.gz",
        .min_arguments = 1,
        .max_arguments = 1,
        .run = result,
};

static int cancel_by_filter(Ctl *c) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        uint32_t n;
        int r;

        r = bus_new_call(c, SLUICE_PATH, MANAGER_INTERFACE, "CancelJobs", &m);
        if (r >= 0)
                r = append_filter(m);
        if (r >= 0)
                r = bus_call(c, m, CALL_FOREVER, &reply, "cancel jobs");
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "u", &n);
        if (r < 0)
                return failure(r, "cancel jobs");
        notice(c, "Cancelled %u job%s.", n, n == 1 ? "" : "s");
        return 0;
}

static int cancel_job(Ctl *c, const char *word) {
        _cleanup_message_ sd_bus_message *m = NULL;
        uint64_t id;
        int r;

        r = job_id_parse(word, &id);
        if (r >= 0)
                r = bus_new_call(c, SLUICE_PATH, MANAGER_INTERFACE, "CancelJob", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "t", id);
        return r < 0 ? r : bus_call(c, m, CALL_DEFAULT, NULL, "cancel job %" PRIu64, id);
}

static int cancel(Ctl *c, char **arguments) {
        int status = 0;

        if (filter_is_given() && arguments)
                return usage_error(
                        "Expected either job ids or options that choose jobs, not both.");
        if (filter_is_given())
                return cancel_by_filter(c);
        if (!arguments)
                return usage_error(
                        "Expected job ids, or options that choose jobs such as --pool=.");
        STRV_FOREACH (word, arguments) {
                uint64_t id;
                int r;

                if (group_is_named(*word)) {
                        r = group_id_parse(*word, &id);
                        if (r >= 0)
                                r = group_cancel(c, id);
                } else
                        r = cancel_job(c, *word);
                if (r < 0)
                        status = r;
        }
        return status;
}

static const Option cancel_options[] = {
        FILTER_OPTIONS,
};

const Verb verb_cancel = {
        .name = "cancel",
        .arguments = "ID…",
        .summary = "Cancel jobs by id, or by options",
        .details = "A number is a job id, group/ID is all of a group. Returns when they are asked "
                   "to stop; \"sluicectl wait\" waits for their end.",
        .example = "sluicectl cancel --pool=gzip --tag=nightly",
        .options = cancel_options,
        .n_options = ELEMENTSOF(cancel_options),
        .max_arguments = SIZE_MAX,
        .run = cancel,
};
