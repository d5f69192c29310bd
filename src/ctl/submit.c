/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Giving work to a pool or a pipeline: `submit`, which leaves it there, and `run`, which stays
 * until it is done.
 *
 * `run` is a submit that is bound to our connection, and a wait. So a Ctrl-C, a kill or a lost
 * connection cancels the job, and its exit status can be asked for, which Run() would hide in an
 * error. The standard output of a command comes through a pipe of ours as it is written and is not
 * bounded by OutputMax=; the daemon never gets our own standard output, which may be a terminal.
 *
 * With a --key it is one of several that may ask for the same job, so neither its output nor its
 * end is tied to this one of them. */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "ctl/bus.h"
#include "ctl/follow.h"
#include "ctl/job-end.h"
#include "ctl/json.h"
#include "ctl/object.h"
#include "ctl/options.h"
#include "ctl/payload.h"
#include "ctl/text.h"
#include "ctl/verbs.h"
#include "util/fd.h"
#include "util/strv.h"
#include "util/time.h"

static const char *arg_data, *arg_file, *arg_key, *arg_concurrency_key, *arg_tag, *arg_output;
static OptionNumber arg_priority, arg_delay, arg_run_timeout, arg_queue_timeout, arg_wait,
        arg_max_attempts;
static bool arg_notify, arg_bind, arg_buffered;

#define SUBMIT_OPTIONS                                                                           \
        { "data", 'd', "TEXT", &option_text, &arg_data, "The payload" },                         \
                { "file", 'f', "FILE", &option_text, &arg_file,                                  \
                        "A file with the payload; - is standard input" },                        \
                { "priority", 'p', "N", &option_priority, &arg_priority,                         \
                        "-1000 to 1000, higher is more urgent" },                                \
                { "key", 0, "KEY", &option_text, &arg_key,                                       \
                        "Submitted again with the same key, it is the same job" },               \
                { "concurrency-key", 0, "KEY", &option_text, &arg_concurrency_key,               \
                        "Jobs with the same key run one after the other" },                      \
                { "tag", 't', "TEXT", &option_text, &arg_tag, "A label to find it by" },         \
                { "delay", 0, "TIME", &option_time, &arg_delay, "Start not before so long" },    \
                { "timeout", 0, "TIME", &option_time, &arg_run_timeout, "Run at most so long" }, \
                { "queue-timeout", 0, "TIME", &option_time, &arg_queue_timeout,                  \
                        "Expire if not started within" },                                        \
                { "max-attempts", 0, "N", &option_attempts, &arg_max_attempts,                   \
                        "Try so often until it succeeds" },                                      \
        {                                                                                        \
                "wait", 0, "TIME", &option_time, &arg_wait,                                      \
                        "Wait at most so long for room in the queue"                             \
        }

/* One job to be: what the options do not say. */
typedef struct Request {
        Object target;
        Payload payload;
        char *const *arguments; /* borrowed; for the command of the pool */
        bool bind, notify;
        int output; /* borrowed; -EBADF = the daemon keeps the output */
} Request;

static void request_done(Request *request) {
        object_done(&request->target);
        payload_done(&request->payload);
}
#define _cleanup_request_ _cleanup_(request_done)

/* Where two calls are compared, a file is the same if it is the same file. */
static PayloadFds payload_fds(Ctl *c) {
        if (sd_bus_can_send(c->bus, SD_BUS_TYPE_UNIX_FD) <= 0)
                return PAYLOAD_FDS_NONE;
        return arg_key ? PAYLOAD_FDS_FILES : PAYLOAD_FDS_ALL;
}

static int request_init(Request *request, Ctl *c, char **arguments) {
        /* A "-" right after the pool asks for standard input; one after "--" is an argument. */
        bool dash = arguments[1] && strcmp(arguments[1], "-") == 0 && c->first_literal > 1;
        int r;

        if (arg_data && (arg_file || dash))
                return usage_error(
                        "Expected only one source of the payload: --data=, --file= or -.");
        if (arg_file && dash && strcmp(arg_file, "-") != 0)
                return usage_error("Expected only one source of the payload: --file= or -.");
        r = target_find(c, arguments[0], &request->target);
        if (r < 0)
                return r;
        request->arguments = arguments + 1 + dash;
        return payload_open(arg_data, arg_file, dash, payload_fds(c), &request->payload);
}

static int append_number(sd_bus_message *m, const char *key, const OptionNumber *number) {
        if (!number->given)
                return 0;
        return sd_bus_message_append(m, "{sv}", key, "t", number->value);
}

static int append_arguments(sd_bus_message *m, char *const *arguments) {
        int r;

        if (!arguments[0])
                return 0;
        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "Arguments");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) arguments);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r;
}

static int append_options(sd_bus_message *m, const Request *request) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && arg_priority.given)
                r = sd_bus_message_append(
                        m, "{sv}", "Priority", "i", (int32_t) arg_priority.signed_value);
        if (r >= 0)
                r = append_number(m, "WaitUSec", &arg_wait);
        if (r >= 0)
                r = append_number(m, "DelayUSec", &arg_delay);
        if (r >= 0)
                r = append_number(m, "QueueTimeoutUSec", &arg_queue_timeout);
        if (r >= 0)
                r = append_number(m, "RunTimeoutUSec", &arg_run_timeout);
        if (r >= 0 && arg_max_attempts.given)
                r = sd_bus_message_append(
                        m, "{sv}", "MaxAttempts", "u", (uint32_t) arg_max_attempts.value);
        if (r >= 0 && arg_key)
                r = sd_bus_message_append(m, "{sv}", "Key", "s", arg_key);
        if (r >= 0 && arg_concurrency_key)
                r = sd_bus_message_append(m, "{sv}", "ConcurrencyKey", "s", arg_concurrency_key);
        if (r >= 0 && arg_tag)
                r = sd_bus_message_append(m, "{sv}", "Tag", "s", arg_tag);
        if (r >= 0)
                r = append_arguments(m, request->arguments);
        if (r >= 0 && request->output >= 0)
                r = sd_bus_message_append(m, "{sv}", "OutputFd", "h", request->output);
        if (r >= 0 && request->notify)
                r = sd_bus_message_append(m, "{sv}", "Notify", "b", true);
        if (r >= 0 && request->bind)
                r = sd_bus_message_append(m, "{sv}", "BindToClient", "b", true);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int new_submit(Ctl *c, const Request *request, sd_bus_message **ret) {
        const Payload *payload = &request->payload;
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = bus_new_call(c, request->target.path, request->target.kind->interface,
                payload->fd >= 0 ? "SubmitFd" : "Submit", &m);
        if (r < 0)
                return r;
        if (payload->fd >= 0)
                r = sd_bus_message_append(m, "h", payload->fd);
        else
                r = sd_bus_message_append_array(m, 'y', payload->data, payload->size);
        if (r >= 0)
                r = append_options(m, request);
        if (r < 0)
                return r == -EINVAL ? usage_error("Tags, keys and arguments must be valid UTF-8.")
                                    : failure(r, "make the call");
        *ret = TAKE_PTR(m);
        return 0;
}

/* Submits it and returns the id. Where fds turn out not to be supported, bytes are sent. */
static int submit_request(Ctl *c, Request *request, uint64_t *ret_id) {
        for (;;) {
                _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
                _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
                int r;

                r = new_submit(c, request, &m);
                if (r < 0)
                        return r;
                r = sd_bus_call(c->bus, m, CALL_FOREVER, &error, &reply);
                if (r >= 0) {
                        r = sd_bus_message_read(reply, "to", ret_id, NULL);
                        return r < 0 ? failure(r, "read the id of the job") : 0;
                }
                if (!sd_bus_error_has_name(&error, SD_BUS_ERROR_NOT_SUPPORTED) ||
                        request->payload.fd < 0 || request->output >= 0) {
                        if (!sd_bus_error_is_set(&error))
                                (void) sd_bus_error_set_errno(&error, r);
                        return bus_failure(c, request->target.path, &error, "submit to %s \"%s\"",
                                request->target.kind->name, request->target.name);
                }
                r = payload_read(&request->payload);
                if (r < 0)
                        return r;
        }
}

static void print_id(const Ctl *c, uint64_t id) {
        if (c->json != JSON_OFF) {
                _cleanup_json_ json_object *object = json_object_new_object();
                _cleanup_free_ char *path = job_path(id);

                json_add(object, "Id", json_object_new_uint64(id));
                json_add(object, "Path", json_object_new_string(path));
                json_print(c, object);
        } else
                printf("%" PRIu64 "\n", id);
        (void) fflush(stdout);
}

/* For --notify and --bind: until the job has finished. */
static int stay(Follow *follow) {
        int r;

        r = follow_job(follow);
        if (r != 0)
                return r;
        if (strcmp(follow->end.result, "succeeded") != 0) {
                (void) job_end_report(follow->id, &follow->end);
                return follow->signal ? 128 + follow->signal : EXIT_FAILURE;
        }
        if (arg_notify && !follow->told_end)
                printf("%" PRIu64 " succeeded\n", follow->id);
        return 0;
}

static int submit(Ctl *c, char **arguments) {
        _cleanup_request_ Request request = {
                .payload.fd = -EBADF,
                .output = -EBADF,
                .bind = arg_bind,
                .notify = arg_notify,
        };
        _cleanup_follow_ Follow follow = { .ctl = c, .output = -EBADF };
        _cleanup_close_ int output = -EBADF;
        int r;

        if (arg_output && arg_key)
                return usage_error("Expected --output= or --key=, not both: to submit the same "
                                   "again would empty the file.");
        r = request_init(&request, c, arguments);
        if (r < 0)
                return r;
        if (arg_output) {
                output =
                        open(arg_output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
                if (output < 0)
                        return failure(-errno, "open %s", arg_output);
                request.output = output;
        }
        r = arg_notify ? follow_signals(&follow) : 0;
        if (r >= 0)
                r = submit_request(c, &request, &follow.id);
        if (r < 0)
                return r;
        print_id(c, follow.id);
        return arg_notify || arg_bind ? stay(&follow) : 0;
}

static const Option submit_options[] = {
        SUBMIT_OPTIONS,
        { "output", 'o', "FILE", &option_text, &arg_output,
                "Let the command write to this file; nothing is kept" },
        { "notify", 0, NULL, &option_flag, &arg_notify,
                "Stay, tell of its start and end; exit 1 if it fails" },
        { "bind", 0, NULL, &option_flag, &arg_bind,
                "Stay until it ends; the job is cancelled if we go" },
};

const Verb verb_submit = {
        .name = "submit",
        .arguments = "POOL [ARG…]",
        .summary = "Give a job to a pool and print its id",
        .details = "POOL may be a pipeline; of two of that name pipeline/NAME means this one. The "
                   "payload comes from --data=, --file=, or standard input if that is no "
                   "terminal or - is "
                   "given. ARGs are for the command, where the pool has AllowArguments=yes; those "
                   "that begin "
                   "with - stand after --.",
        .example = "sluicectl submit gzip --file=page.html --priority=10 -- -9",
        .options = submit_options,
        .n_options = ELEMENTSOF(submit_options),
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .run = submit,
};

/* Is each job a command of its own, whose output can be read while it runs? What is durable may run
 * when our pipe is not there any more. */
static bool streams_output(Ctl *c, const Object *target) {
        _cleanup_free_ char *handler = NULL;
        uint32_t batch_size = 1;
        int durable = false;

        if (sd_bus_get_property_string(c->bus, SLUICE_NAME, target->path, target->kind->interface,
                    "Handler", NULL, &handler) < 0 ||
                strcmp(handler, "command") != 0)
                return false;
        (void) sd_bus_get_property_trivial(c->bus, SLUICE_NAME, target->path,
                target->kind->interface, "Durable", NULL, 'b', &durable);
        if (durable)
                return false;
        return sd_bus_get_property_trivial(c->bus, SLUICE_NAME, target->path,
                       target->kind->interface, "BatchSize", NULL, 'u', &batch_size) >= 0 &&
               batch_size == 1;
}

/* What a command that ran and failed left as its exit status; 1 for all other failures. */
static int exit_status_of(Ctl *c, uint64_t id) {
        _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_free_ char *path = job_path(id);
        int32_t status;

        if (sd_bus_get_property_trivial(c->bus, SLUICE_NAME, path, JOB_INTERFACE, "ExitStatus",
                    &error, 'i', &status) < 0)
                return EXIT_FAILURE;
        return status > 0 && status < 256 ? status : EXIT_FAILURE;
}

static int print_run_end(Ctl *c, Follow *follow) {
        bool succeeded = strcmp(follow->end.result, "succeeded") == 0;
        int r;

        if (job_end_is_cut(&follow->end)) {
                job_end_done(&follow->end);
                follow->end = (JobEnd){ 0 };
                r = job_get_result(c, follow->id, &follow->end);
                if (r < 0)
                        return r;
        }
        if (c->json != JSON_OFF) {
                _cleanup_json_ json_object *object = job_end_to_json(follow->id, &follow->end);

                json_print(c, object);
        } else {
                r = job_end_print(follow->id, &follow->end);
                if (r < 0)
                        return r;
        }
        if (succeeded)
                return 0;
        return follow->signal ? 128 + follow->signal : exit_status_of(c, follow->id);
}

static int run(Ctl *c, char **arguments) {
        _cleanup_request_ Request request = {
                .payload.fd = -EBADF,
                .output = -EBADF,
                .bind = !arg_key,
        };
        _cleanup_follow_ Follow follow = { .ctl = c, .output = -EBADF };
        _cleanup_close_ int output = -EBADF;
        int r;

        r = request_init(&request, c, arguments);
        if (r < 0)
                return r;
        if (!arg_buffered && !arg_key && c->json == JSON_OFF &&
                sd_bus_can_send(c->bus, SD_BUS_TYPE_UNIX_FD) > 0 &&
                streams_output(c, &request.target)) {
                int fds[2];

                if (pipe2(fds, O_CLOEXEC) < 0)
                        return failure(-errno, "make a pipe");
                follow.output = fds[0];
                request.output = output = fds[1];
                r = fd_nonblock(follow.output, true);
                if (r < 0)
                        return failure(r, "make a pipe");
        }
        r = submit_request(c, &request, &follow.id);
        if (r < 0)
                return r;
        /* The job alone has the other end now, so its end can be seen. */
        output = fd_close(output);
        r = follow_job(&follow);
        return r != 0 ? r : print_run_end(c, &follow);
}

static const Option run_options[] = {
        SUBMIT_OPTIONS,
        { "buffered", 0, NULL, &option_flag, &arg_buffered,
                "Print the output when it has succeeded, not as it comes" },
};

const Verb verb_run = {
        .name = "run",
        .arguments = "POOL [ARG…]",
        .summary = "Run a job, print its output, exit with its status",
        .details = "Payload and ARGs are as with \"sluicectl submit\". The exit status is that of "
                   "the command, 1 "
                   "if the job did not succeed otherwise. Ctrl-C cancels the job. So does a lost "
                   "connection, but not with --key: then the same command again waits for "
                   "that job, or has its result. With --buffered or --key, and of a durable pool, "
                   "outputs are bounded by OutputMax= of the pool.",
        .example = "sluicectl run gzip < page.html > page.html.gz",
        .options = run_options,
        .n_options = ELEMENTSOF(run_options),
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .run = run,
};
