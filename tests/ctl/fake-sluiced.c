/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A daemon that only answers: the interfaces that sluicectl calls, with results that depend on
 * nothing but the call, so that what is printed can be compared. It prints each call of interest to
 * standard output. It is on the bus of $DBUS_SESSION_BUS_ADDRESS and, like the real one, on a
 * socket of its own, whose path is the argument.
 *
 * Pools: "gzip" has Handler=command and upper-cases the payload; "echo" has Handler=module; "full"
 * refuses; "nofd" does not take fds; "many" has 2500 jobs that are only listed; "batch" has
 * Handler=command and makes batches. A job with the tag "hang" runs until it is cancelled, one with
 * "again" has run and waits, one with an argument N fails with that exit status.
 *
 * Pool "gzip" has a limiter of its own, shares breaker "api", and is elastic; the others have none
 * of these. Limiter "api" is used by nobody. */

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "util/fd.h"
#include "util/macro.h"
#include "util/parse.h"

#define NAME "org.sluice1"
#define PATH "/org/sluice1"
#define MANY 2500
#define JOBS_MAX 64

typedef struct FakeJob {
        char pool[32], tag[32];
        const char *state, *result;
        char *output;
        size_t size;
        int status;
        sd_bus_message *waiter;
} FakeJob;

static FakeJob jobs[JOBS_MAX];
static size_t n_jobs;
static uint32_t max_workers = 4;
static const char *pool_state = "running";

static int job_error(sd_bus_error *e) {
        return sd_bus_error_set(e, NAME ".Error.NotFound", "No such job.");
}

static FakeJob *find_job(uint64_t id) {
        return id >= 1 && id <= n_jobs ? jobs + id - 1 : NULL;
}

static const char *last_part(const char *path) {
        return strrchr(path, '/') + 1;
}

/* The error text, as a real one would be put together. */
static char *error_of(const FakeJob *job) {
        char *text = NULL;

        if (strcmp(job->result, "failed") == 0 &&
                asprintf(&text, "exit status %d\ngzip: bad \x1b[31minput", job->status) < 0)
                abort();
        return text ?: strdup("");
}

static int reply_end(sd_bus_message *call, const FakeJob *job) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_free_ char *error = error_of(job);
        int r;

        r = sd_bus_message_new_method_return(call, &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", job->state, job->result);
        if (r >= 0)
                r = sd_bus_message_append_array(m, 'y', job->output, job->output ? job->size : 0);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", error);
        return r < 0 ? r : sd_bus_send(NULL, m, NULL);
}

/* ---- submits ---- */

typedef struct Options {
        char tag[32];
        int output, status;
        bool notify;
} Options;

static int read_option(sd_bus_message *m, const char *key, Options *options) {
        const char *contents, *s;
        uint64_t t;
        uint32_t u;
        int32_t i;
        int b, r;

        r = sd_bus_message_peek_type(m, NULL, &contents);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(m, 'v', contents);
        if (r < 0)
                return r;
        switch (contents[0]) {
        case 's':
                r = sd_bus_message_read(m, "s", &s);
                printf(" %s=s:%s", key, s);
                (void) snprintf(options->tag, sizeof(options->tag), "%s", s);
                break;
        case 't':
                r = sd_bus_message_read(m, "t", &t);
                printf(" %s=t:%" PRIu64, key, t);
                break;
        case 'i':
                r = sd_bus_message_read(m, "i", &i);
                printf(" %s=i:%d", key, i);
                break;
        case 'u':
                r = sd_bus_message_read(m, "u", &u);
                printf(" %s=u:%u", key, u);
                break;
        case 'b':
                r = sd_bus_message_read(m, "b", &b);
                printf(" %s=b:%d", key, b);
                options->notify |= strcmp(key, "Notify") == 0;
                break;
        case 'h':
                r = sd_bus_message_read(m, "h", &options->output);
                printf(" %s=h", key);
                break;
        default:
                r = sd_bus_message_enter_container(m, 'a', "s");
                printf(" %s=as", key);
                while (r >= 0 && (r = sd_bus_message_read(m, "s", &s)) > 0) {
                        uint64_t status;

                        printf(":%s", s);
                        if (parse_uint64(s, 0, 255, &status) >= 0)
                                options->status = (int) status;
                }
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_options(sd_bus_message *m, Options *options) {
        const char *key;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read(m, "s", &key);
                if (r >= 0)
                        r = read_option(m, key, options);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        putchar('\n');
        (void) fflush(stdout);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static void work(FakeJob *job, const char *payload, size_t size, const Options *options) {
        char *output = malloc(size + 1);

        for (size_t i = 0; i < size; i++)
                output[i] =
                        (char) (strcmp(job->pool, "gzip") == 0 ? toupper(payload[i]) : payload[i]);
        job->status = options->status;
        job->state = strcmp(job->tag, "hang") == 0    ? "running"
                     : strcmp(job->tag, "again") == 0 ? "queued"
                                                      : "finished";
        job->result = strcmp(job->state, "finished") != 0 ? ""
                      : job->status > 0                   ? "failed"
                                                          : "succeeded";
        if (options->output >= 0) {
                (void) fd_write_all(options->output, output, size);
                free(output);
                output = NULL;
        } else if (job->status > 0) {
                free(output);
                output = error_of(job);
                size = strlen(output);
        }
        job->output = output;
        job->size = size;
}

static int announce(sd_bus_message *call, const FakeJob *job) {
        uint64_t id = (uint64_t) (job - jobs) + 1;
        int r;

        r = sd_bus_emit_signal(sd_bus_message_get_bus(call), PATH, NAME ".Manager", "JobStarted",
                "ts", id, job->pool);
        if (r >= 0 && *job->result)
                r = sd_bus_emit_signal(sd_bus_message_get_bus(call), PATH, NAME ".Manager",
                        "JobFinished", "tsst", id, job->pool, job->result, (uint64_t) 1250);
        return r;
}

static int submit(sd_bus_message *m, const void *payload, size_t size, sd_bus_error *e) {
        const char *pool = last_part(sd_bus_message_get_path(m));
        Options options = { .output = -EBADF };
        char path[64];
        FakeJob *job;
        int r;

        printf("%s %s %zu", sd_bus_message_get_member(m), pool, size);
        r = read_options(m, &options);
        if (r < 0)
                return r;
        if (strcmp(pool, "full") == 0)
                return sd_bus_error_set(
                        e, NAME ".Error.QueueFull", "The queue has 1024 jobs already.");
        if (n_jobs == JOBS_MAX)
                return sd_bus_error_set(e, NAME ".Error.QuotaExceeded", "This fake is full.");
        job = jobs + n_jobs++;
        (void) snprintf(job->pool, sizeof(job->pool), "%s", pool);
        (void) snprintf(job->tag, sizeof(job->tag), "%s", options.tag);
        work(job, payload, size, &options);
        if (options.notify)
                (void) announce(m, job);
        (void) snprintf(path, sizeof(path), PATH "/job/%zu", n_jobs);
        return sd_bus_reply_method_return(m, "to", (uint64_t) n_jobs, path);
}

static int pool_submit(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        const void *payload;
        size_t size;
        int r;

        r = sd_bus_message_read_array(m, 'y', &payload, &size);
        return r < 0 ? r : submit(m, payload, size, e);
}

static int pool_submit_fd(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        _cleanup_free_ void *payload = NULL;
        size_t size;
        int fd, r;

        if (strcmp(last_part(sd_bus_message_get_path(m)), "nofd") == 0)
                return sd_bus_error_set(e, SD_BUS_ERROR_NOT_SUPPORTED, "No fds here.");
        r = sd_bus_message_read(m, "h", &fd);
        if (r >= 0)
                r = fd_pread_all(fd, (size_t) 64 << 20, &payload, &size);
        return r < 0 ? r : submit(m, payload, size, e);
}

/* ---- pools ---- */

static int log_call(sd_bus_message *m) {
        printf("%s %s\n", sd_bus_message_get_member(m), last_part(sd_bus_message_get_path(m)));
        (void) fflush(stdout);
        return 0;
}

static int pool_pause(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        (void) log_call(m);
        pool_state = "paused";
        (void) sd_bus_emit_properties_changed(
                sd_bus_message_get_bus(m), sd_bus_message_get_path(m), NAME ".Pool", "State", NULL);
        return sd_bus_reply_method_return(m, NULL);
}

static int pool_resume(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        (void) log_call(m);
        pool_state = "running";
        return sd_bus_reply_method_return(m, NULL);
}

static int pool_drain(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        const char *pool = last_part(sd_bus_message_get_path(m));
        uint64_t timeout;
        int r;

        r = sd_bus_message_read(m, "t", &timeout);
        if (r < 0)
                return r;
        printf("Drain %s %" PRIu64 "\n", pool, timeout);
        (void) fflush(stdout);
        return sd_bus_reply_method_return(m, "b", strcmp(pool, "echo") != 0);
}

static int pool_clear(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        return sd_bus_reply_method_return(m, "u", 3);
}

static int pool_kick(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        uint32_t max;
        int r;

        r = sd_bus_message_read(m, "u", &max);
        if (r < 0)
                return r;
        printf("Kick %s %u\n", last_part(sd_bus_message_get_path(m)), max);
        (void) fflush(stdout);
        return sd_bus_reply_method_return(m, "u", MIN(max, 3U));
}

static int read_settings(sd_bus_message *m, sd_bus_error *e) {
        const char *key, *value;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_read(m, "{sv}", &key, "s", &value)) > 0) {
                printf(" %s=%s", key, value);
                if (strcmp(key, "MaxWorkers") == 0 && atoi(value) == 0)
                        return sd_bus_error_setf(e, SD_BUS_ERROR_INVALID_ARGS,
                                "MaxWorkers: expected a number from 1, not \"%s\".", value);
                if (strcmp(key, "MaxWorkers") == 0)
                        max_workers = (uint32_t) atoi(value);
        }
        putchar('\n');
        (void) fflush(stdout);
        return r;
}

static int pool_set(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        int r;

        printf("Set %s", last_part(sd_bus_message_get_path(m)));
        r = read_settings(m, e);
        return r < 0 ? r : sd_bus_reply_method_return(m, NULL);
}

static int get_text(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        const char *pool = last_part(path), *value = pool_state;

        if (strcmp(property, "Name") == 0)
                value = pool;
        else if (strcmp(property, "Description") == 0)
                value = "Compress \x1b[2Jman pages";
        else if (strcmp(property, "Handler") == 0)
                value = strcmp(pool, "gzip") == 0 || strcmp(pool, "batch") == 0 ? "command"
                                                                                : "module";
        else if (strcmp(property, "Overflow") == 0)
                value = "reject";
        else if (strcmp(property, "PendingReason") == 0)
                value = strcmp(pool, "gzip") == 0 ? "rate" : "";
        else if (strcmp(property, "ScaleMode") == 0)
                value = strcmp(pool, "gzip") == 0 ? "queue" : "off";
        return sd_bus_message_append(reply, "s", value);
}

static int get_shared(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        const char *shared = strcmp(last_part(path), "gzip") != 0 ? "/"
                             : strcmp(property, "Limiter") == 0   ? PATH "/limiter/gzip"
                                                                  : PATH "/breaker/api";

        return sd_bus_message_append(reply, "o", shared);
}

static int get_batch_size(sd_bus *bus, const char *path, const char *interface,
        const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        return sd_bus_message_append(reply, "u", strcmp(last_part(path), "batch") == 0 ? 16 : 1);
}

static int get_number(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        static const struct {
                const char *name, *type;
                uint64_t value;
        } numbers[] = {
                { "MinWorkers", "u", 2 },
                { "Workers", "u", 4 },
                { "Busy", "u", 3 },
                { "Running", "u", 3 },
                { "QueueMax", "t", 1024 },
                { "Queued", "t", 12 },
                { "Scheduled", "t", 1 },
                { "Submitted", "t", 1016 },
                { "Succeeded", "t", 990 },
                { "Failed", "t", 8 },
                { "TimedOut", "t", 2 },
                { "Dropped", "t", 5 },
                { "Rejected", "t", 6 },
                { "Retried", "t", 7 },
                { "MaxAttempts", "u", 3 },
                { "RunTimeoutUSec", "t", 1800000000 },
                { "BatchTimeoutUSec", "t", 250000 },
                { "ScaleIntervalUSec", "t", 5000000 },
                { "ScaleUpAt", "u", 10 },
                { "ScaleDownAt", "u", 2 },
                { "ScaleTargetWaitUSec", "t", 200000 },
                { "Batches", "t", 62 },
                { "Rate", "t", 50 },
                { "PeriodUSec", "t", 1000000 },
                { "Burst", "t", 60 },
                { "Tokens", "t", 12 },
                { "Waiters", "u", 2 },
                { "Granted", "t", 1000 },
                { "Denied", "t", 9 },
                { "Failures", "u", 5 },
                { "Trips", "t", 1 },
                { "InFlight", "u", 0 },
                { "RetryAfterUSec", "t", 12000000 },
        };

        if (strcmp(property, "MaxWorkers") == 0)
                return sd_bus_message_append(reply, "u", max_workers);
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
                if (strcmp(numbers[i].name, property) == 0)
                        return numbers[i].type[0] == 'u'
                                       ? sd_bus_message_append(
                                                 reply, "u", (uint32_t) numbers[i].value)
                                       : sd_bus_message_append(reply, "t", numbers[i].value);
        return -ENOENT;
}

static int get_distribution(sd_bus *bus, const char *path, const char *interface,
        const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        return sd_bus_message_append(reply, "(tttt)", (uint64_t) 31, (uint64_t) 1250,
                (uint64_t) 20500, (uint64_t) 125000000);
}

static int get_cpus(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        return sd_bus_message_append(reply, "au", 5, 0, 1, 2, 3, 6);
}

static const sd_bus_vtable pool_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Submit", "aya{sv}", "to", pool_submit, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("SubmitFd", "ha{sv}", "to", pool_submit_fd, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Pause", "", "", pool_pause, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Resume", "", "", pool_resume, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Drain", "t", "b", pool_drain, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Clear", "", "u", pool_clear, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Kick", "u", "u", pool_kick, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Set", "a{sv}", "", pool_set, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Name", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Description", "s", get_text, 0, 0),
        SD_BUS_PROPERTY("Handler", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Overflow", "s", get_text, 0, 0),
        SD_BUS_PROPERTY("PendingReason", "s", get_text, 0, 0),
        SD_BUS_PROPERTY("Limiter", "o", get_shared, 0, 0),
        SD_BUS_PROPERTY("Breaker", "o", get_shared, 0, 0),
        SD_BUS_PROPERTY("BatchSize", "u", get_batch_size, 0, 0),
        SD_BUS_PROPERTY("BatchTimeoutUSec", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Batches", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("ScaleMode", "s", get_text, 0, 0),
        SD_BUS_PROPERTY("ScaleIntervalUSec", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("ScaleUpAt", "u", get_number, 0, 0),
        SD_BUS_PROPERTY("ScaleDownAt", "u", get_number, 0, 0),
        SD_BUS_PROPERTY("ScaleTargetWaitUSec", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("MinWorkers", "u", get_number, 0, 0),
        SD_BUS_PROPERTY("MaxWorkers", "u", get_number, 0, 0),
        SD_BUS_PROPERTY("Workers", "u", get_number, 0, 0),
        SD_BUS_PROPERTY("Busy", "u", get_number, 0, 0),
        SD_BUS_PROPERTY("CPUAffinity", "au", get_cpus, 0, 0),
        SD_BUS_PROPERTY("QueueMax", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Queued", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Scheduled", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Running", "u", get_number, 0, 0),
        SD_BUS_PROPERTY("Submitted", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Succeeded", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Failed", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("TimedOut", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Dropped", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Rejected", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Retried", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("MaxAttempts", "u", get_number, 0, 0),
        SD_BUS_PROPERTY("RunTimeoutUSec", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("QueueWaitUSec", "(tttt)", get_distribution, 0, 0),
        SD_BUS_PROPERTY("RunTimeUSec", "(tttt)", get_distribution, 0, 0),
        SD_BUS_VTABLE_END,
};

/* ---- limiters and breakers ---- */

static const sd_bus_vtable limiter_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Set", "a{sv}", "", pool_set, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Name", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Rate", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("PeriodUSec", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Burst", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Tokens", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Waiters", "u", get_number, 0, 0),
        SD_BUS_PROPERTY("Granted", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("Denied", "t", get_number, 0, 0),
        SD_BUS_VTABLE_END,
};

static int get_breaker_text(sd_bus *bus, const char *path, const char *interface,
        const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        return sd_bus_message_append(reply, "s",
                strcmp(property, "Name") == 0   ? last_part(path)
                : strcmp(property, "Mode") == 0 ? "auto"
                                                : "open");
}

static const sd_bus_vtable breaker_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Name", "s", get_breaker_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", get_breaker_text, 0, 0),
        SD_BUS_PROPERTY("Mode", "s", get_breaker_text, 0, 0),
        SD_BUS_PROPERTY("Failures", "u", get_number, 0, 0),
        SD_BUS_PROPERTY("Trips", "t", get_number, 0, 0),
        SD_BUS_PROPERTY("InFlight", "u", get_number, 0, 0),
        SD_BUS_PROPERTY("RetryAfterUSec", "t", get_number, 0, 0),
        SD_BUS_VTABLE_END,
};

/* ---- jobs ---- */

static int find_job_object(sd_bus *bus, const char *path, const char *interface, void *userdata,
        void **found, sd_bus_error *e) {
        uint64_t id;

        if (parse_uint64(last_part(path), 1, UINT64_MAX, &id) < 0 || !find_job(id))
                return 0;
        *found = find_job(id);
        return 1;
}

static int job_text(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        const FakeJob *job = userdata;
        const char *value = strcmp(property, "Pool") == 0     ? job->pool
                            : strcmp(property, "State") == 0  ? job->state
                            : strcmp(property, "Result") == 0 ? job->result
                            : strcmp(property, "Tag") == 0    ? job->tag
                                                              : "";

        return sd_bus_message_append(reply, "s", value);
}

static int job_number(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        const FakeJob *job = userdata;
        uint64_t value = strcmp(property, "Id") == 0              ? (uint64_t) (job - jobs) + 1
                         : strcmp(property, "SubmittedUSec") == 0 ? 1000000000000000
                         : strcmp(property, "StartedUSec") == 0   ? 1000000001000000
                         : strcmp(property, "DurationUSec") == 0  ? 1250
                                                                  : 0;

        return sd_bus_message_append(reply, "t", value);
}

static int job_status(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        return sd_bus_message_append(reply, "i", ((const FakeJob *) userdata)->status);
}

static int job_u32(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        return sd_bus_message_append(reply, "u", strcmp(property, "Owner") == 0 ? 0 : 1);
}

static int job_get_result(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const FakeJob *job = userdata;
        int r;

        if (!*job->result)
                return sd_bus_error_set(e, NAME ".Error.InvalidState", "The job has not finished.");
        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", job->result);
        if (r >= 0)
                r = sd_bus_message_append_array(
                        reply, 'y', job->output, job->output ? job->size : 0);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static const sd_bus_vtable job_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("GetResult", "", "say", job_get_result, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Id", "t", job_number, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Pool", "s", job_text, 0, 0),
        SD_BUS_PROPERTY("State", "s", job_text, 0, 0),
        SD_BUS_PROPERTY("Result", "s", job_text, 0, 0),
        SD_BUS_PROPERTY("Tag", "s", job_text, 0, 0),
        SD_BUS_PROPERTY("Owner", "u", job_u32, 0, 0),
        SD_BUS_PROPERTY("Attempt", "u", job_u32, 0, 0),
        SD_BUS_PROPERTY("SubmittedUSec", "t", job_number, 0, 0),
        SD_BUS_PROPERTY("StartedUSec", "t", job_number, 0, 0),
        SD_BUS_PROPERTY("DurationUSec", "t", job_number, 0, 0),
        SD_BUS_PROPERTY("ExitStatus", "i", job_status, 0, 0),
        SD_BUS_VTABLE_END,
};

/* ---- manager ---- */

static int list_pools(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        return sd_bus_reply_method_return(m, "a(sostuu)", 3, "gzip", PATH "/pool/gzip", pool_state,
                (uint64_t) 12, 3, 4, "echo", PATH "/pool/echo", "running", (uint64_t) 0, 0, 2,
                "a-pool-with-a-long-name-that-does-not-fit-into-a-narrow-terminal",
                PATH "/pool/long", "degraded", (uint64_t) 1000000, 1, 1);
}

static int list_jobs(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Options options = { .output = -EBADF };
        uint64_t after = 0, id;
        uint32_t limit;
        int r;

        printf("ListJobs");
        r = read_options(m, &options);
        if (r >= 0)
                r = sd_bus_message_read(m, "ut", &limit, &after);
        if (r >= 0)
                r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(tssis)");
        for (id = after + 1; r >= 0 && id <= MANY && id - after <= limit; id++)
                r = sd_bus_message_append(reply, "(tssis)", id, "many",
                        id % 2 ? "queued" : "finished", (int32_t) (id % 7),
                        id % 2 ? "" : "succeeded");
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "t", id > MANY ? 0 : id - 1);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int wait_job(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        uint64_t id, timeout;
        FakeJob *job;
        int r;

        r = sd_bus_message_read(m, "tt", &id, &timeout);
        if (r < 0)
                return r;
        job = find_job(id);
        if (!job)
                return job_error(e);
        if (*job->result || timeout == 0)
                return reply_end(m, job);
        job->waiter = sd_bus_message_ref(m);
        printf("WaitJob %" PRIu64 "\n", id);
        (void) fflush(stdout);
        return 1;
}

static int cancel_job(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        FakeJob *job;
        uint64_t id;
        int r;

        r = sd_bus_message_read(m, "t", &id);
        if (r < 0)
                return r;
        job = find_job(id);
        if (!job)
                return job_error(e);
        if (*job->result)
                return sd_bus_error_set(e, NAME ".Error.InvalidState", "The job has finished.");
        job->state = "finished";
        job->result = "cancelled";
        job->size = 0;
        if (job->waiter)
                (void) reply_end(job->waiter, job);
        job->waiter = sd_bus_message_unref(job->waiter);
        return sd_bus_reply_method_return(m, NULL);
}

static int cancel_jobs(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        Options options = { .output = -EBADF };
        int r;

        printf("CancelJobs");
        r = read_options(m, &options);
        return r < 0 ? r : sd_bus_reply_method_return(m, "u", 1);
}

static int create_pool(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        const char *name;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r < 0)
                return r;
        printf("CreatePool %s", name);
        r = read_settings(m, e);
        if (r < 0)
                return r;
        if (strcmp(name, "gzip") == 0)
                return sd_bus_error_set(
                        e, NAME ".Error.AlreadyExists", "There is a pool \"gzip\" already.");
        return sd_bus_reply_method_return(m, "o", PATH "/pool/new");
}

static int remove_pool(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        const char *name;
        int cancel, r;

        r = sd_bus_message_read(m, "sb", &name, &cancel);
        if (r < 0)
                return r;
        printf("RemovePool %s %d\n", name, cancel);
        (void) fflush(stdout);
        return sd_bus_reply_method_return(m, NULL);
}

static int subscribe(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        int r;

        printf("Subscribe\n");
        (void) fflush(stdout);
        r = sd_bus_reply_method_return(m, NULL);
        /* Only the link on which it is asked for can be told on a socket of our own. */
        if (r >= 0 && sd_bus_message_get_sender(m) == NULL)
                r = sd_bus_emit_signal(sd_bus_message_get_bus(m), PATH, NAME ".Manager",
                        "JobStarted", "ts", (uint64_t) 7, "echo");
        return r;
}

static int reload(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        return sd_bus_error_set(e, SD_BUS_ERROR_INVALID_ARGS,
                "/etc/sluice/a.pool:3: Workers=: expected a number\n/etc/sluice/b.pool:1: no "
                "section");
}

static int manager_text(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        return sd_bus_message_append(
                reply, "s", strcmp(property, "State") == 0 ? "running" : "9.9");
}

static int manager_number(sd_bus *bus, const char *path, const char *interface,
        const char *property, sd_bus_message *reply, void *userdata, sd_bus_error *e) {
        if (strcmp(property, "NPools") == 0 || strcmp(property, "Running") == 0)
                return sd_bus_message_append(reply, "u", 3);
        return sd_bus_message_append(
                reply, "t", strcmp(property, "StartedUSec") == 0 ? UINT64_C(1000000000000000) : 12);
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("ListPools", "", "a(sostuu)", list_pools, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ListJobs", "a{sv}ut", "a(tssis)t", list_jobs, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("WaitJob", "tt", "ssays", wait_job, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("CancelJob", "t", "", cancel_job, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("CancelJobs", "a{sv}", "u", cancel_jobs, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("CreatePool", "sa{sv}", "o", create_pool, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("RemovePool", "sb", "", remove_pool, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Subscribe", "", "", subscribe, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Reload", "", "", reload, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Version", "s", manager_text, 0, 0),
        SD_BUS_PROPERTY("State", "s", manager_text, 0, 0),
        SD_BUS_PROPERTY("NPools", "u", manager_number, 0, 0),
        SD_BUS_PROPERTY("Queued", "t", manager_number, 0, 0),
        SD_BUS_PROPERTY("Running", "u", manager_number, 0, 0),
        SD_BUS_PROPERTY("Submitted", "t", manager_number, 0, 0),
        SD_BUS_PROPERTY("Succeeded", "t", manager_number, 0, 0),
        SD_BUS_PROPERTY("Failed", "t", manager_number, 0, 0),
        SD_BUS_PROPERTY("StartedUSec", "t", manager_number, 0, 0),
        SD_BUS_VTABLE_END,
};

/* ---- connections ---- */

static int add_objects(sd_bus *bus) {
        static const struct {
                const char *path, *interface;
                const sd_bus_vtable *vtable;
        } objects[] = {
                { PATH, NAME ".Manager", manager_vtable },
                { PATH "/pool/gzip", NAME ".Pool", pool_vtable },
                { PATH "/pool/echo", NAME ".Pool", pool_vtable },
                { PATH "/pool/full", NAME ".Pool", pool_vtable },
                { PATH "/pool/nofd", NAME ".Pool", pool_vtable },
                { PATH "/pool/batch", NAME ".Pool", pool_vtable },
                { PATH "/limiter/gzip", NAME ".Limiter", limiter_vtable },
                { PATH "/limiter/api", NAME ".Limiter", limiter_vtable },
                { PATH "/breaker/api", NAME ".Breaker", breaker_vtable },
                { PATH "/breaker/db", NAME ".Breaker", breaker_vtable },
        };
        int r;

        r = sd_bus_add_object_manager(bus, NULL, PATH);
        for (size_t i = 0; i < ELEMENTSOF(objects) && r >= 0; i++)
                r = sd_bus_add_object_vtable(
                        bus, NULL, objects[i].path, objects[i].interface, objects[i].vtable, NULL);
        if (r >= 0)
                r = sd_bus_add_fallback_vtable(
                        bus, NULL, PATH "/job", NAME ".Job", job_vtable, find_job_object, NULL);
        return r;
}

static int driver_hello(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        return sd_bus_reply_method_return(m, "s", ":direct.1");
}

static int driver_match(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        return sd_bus_reply_method_return(m, NULL);
}

static int driver_owner(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        return sd_bus_reply_method_return(m, "s", ":direct.0");
}

static const sd_bus_vtable driver_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Hello", "", "s", driver_hello, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("AddMatch", "s", "", driver_match, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("GetNameOwner", "s", "s", driver_owner, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

/* A link that its client has closed stays until this program ends, which is soon. */
static int on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        _cleanup_close_ int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        sd_id128_t id =
                SD_ID128_MAKE(01, 23, 45, 67, 89, ab, cd, ef, 01, 23, 45, 67, 89, ab, cd, ef);
        sd_bus *bus = NULL;
        int r;

        if (connection < 0)
                return 0;
        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_fd(bus, connection, connection);
        if (r < 0)
                return r;
        connection = -EBADF;
        r = sd_bus_set_server(bus, true, id);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, true);
        if (r >= 0)
                r = add_objects(bus);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/DBus",
                        "org.freedesktop.DBus", driver_vtable, NULL);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                r = sd_bus_attach_event(
                        bus, sd_event_source_get_event(source), SD_EVENT_PRIORITY_NORMAL);
        return r;
}

static int listen_at(sd_event *event, const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd;

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 ||
                listen(fd, 16) < 0)
                return -errno;
        return sd_event_add_io(event, NULL, fd, EPOLLIN, on_connection, NULL);
}

int main(int argc, char **argv) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_event_default(&event);
        if (r >= 0)
                r = sd_bus_open_user(&bus);
        if (r >= 0)
                r = add_objects(bus);
        if (r >= 0)
                r = sd_bus_request_name(bus, NAME, 0);
        if (r >= 0)
                r = sd_bus_attach_event(bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0 && argc > 1)
                r = listen_at(event, argv[1]);
        if (r < 0) {
                fprintf(stderr, "Failed to start: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        printf("ready\n");
        (void) fflush(stdout);
        r = sd_event_loop(event);
        return r < 0 ? EXIT_FAILURE : r;
}
