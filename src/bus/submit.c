/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The payloads of small jobs are not copied: they stay in the message of the call, which the
 * submission keeps until its last job is gone. Large ones are, so that one job that waits long does
 * not keep the payloads of those that were submitted with it. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "bus/auth.h"
#include "bus/body-digest.h"
#include "bus/call.h"
#include "bus/error.h"
#include "bus/group-bus.h"
#include "bus/job-bus.h"
#include "bus/options.h"
#include "bus/quota-bus.h"
#include "bus/submit.h"
#include "engine/submit-key.h"
#include "util/fd.h"

/* SubmitMany keeps the whole message if its payloads are no larger than this on average. */
#define BORROW_MEAN_MAX 256

static const char too_large[] = "too large: use GetResult", forgotten[] = "its result is not kept";

/* What is read from a call before anything is changed. */
typedef struct Request {
        Link *link; /* borrowed */
        SubmitTarget target;
        Client *client;         /* borrowed */
        Submission *submission; /* owned */
        SubmitOptions options;
        struct iovec *payloads; /* owned; contents borrowed from the message */
        size_t n;
        size_t size; /* of all payloads */
        void *data;  /* owned: a payload that was read from a file */
        bool group;  /* they are to be a group */
} Request;

static void request_done(Request *request) {
        submission_free(request->submission);
        free(request->payloads);
        free(request->data);
}

#define _cleanup_request_ _cleanup_(request_done)

static void release_message(void *message) {
        sd_bus_message_unref(message);
}

/* ---- reading ---- */

static int request_init(
        Request *request, sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error) {
        int r;

        *request = (Request){ .link = link, .target = target, .client = client_of(link, m) };
        r = target.pipeline ? auth_may_submit_items(request->client, target.pipeline, error)
                            : auth_may_submit(request->client, target.pool, error);
        if (r < 0)
                return r;
        request->submission = submission_new();
        return request->submission ? 0 : bus_error_oom(error);
}

static int payload_error(const Pool *pool, size_t size, sd_bus_error *error) {
        return bus_error(error, BUS_ERROR_TOO_LARGE,
                "A payload of %zu bytes; pool %s takes up to %" PRIu64 " (PayloadMax)", size,
                pool->config->name, pool->config->handler_config.payload_max);
}

static int add_payload(
        Request *request, size_t *n_allocated, const void *data, size_t size, sd_bus_error *error) {
        if (size > request->target.pool->config->handler_config.payload_max)
                return payload_error(request->target.pool, size, error);
        if (request->n == *n_allocated) {
                size_t n = MAX(*n_allocated * 2, (size_t) 64);
                struct iovec *payloads = reallocarray(request->payloads, n, sizeof(*payloads));

                if (!payloads)
                        return bus_error_oom(error);
                request->payloads = payloads;
                *n_allocated = n;
        }
        request->payloads[request->n++] =
                (struct iovec){ .iov_base = (void *) data, .iov_len = size };
        request->size += size;
        return 0;
}

/* Arrays are read where they lie, so their elements must be in the byte order of this machine. */
static int read_array(sd_bus_message *m, char type, const void **ret_data, size_t *ret_size,
        sd_bus_error *error) {
        int r = sd_bus_message_read_array(m, type, ret_data, ret_size);

        if (r == -EOPNOTSUPP)
                return bus_error(error, BUS_ERROR_NOT_SUPPORTED,
                        "Jobs are taken only in messages of this machine's byte order");
        return r;
}

static int read_payload(Request *request, sd_bus_message *m, sd_bus_error *error) {
        size_t n_allocated = 0, size;
        const void *data;
        int r;

        r = read_array(m, 'y', &data, &size, error);
        return r < 0 ? r : add_payload(request, &n_allocated, data, size, error);
}

static int read_payloads(Request *request, sd_bus_message *m, sd_bus_error *error) {
        size_t n_allocated = 0, size;
        const void *data;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "ay");
        if (r < 0)
                return r;
        while ((r = read_array(m, 'y', &data, &size, error)) > 0) {
                r = add_payload(request, &n_allocated, data, size, error);
                if (r < 0)
                        return r;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return bus_read_error(r);
}

static int read_packed(Request *request, sd_bus_message *m, sd_bus_error *error) {
        uint64_t payload_max = request->target.pool->config->handler_config.payload_max;
        const uint32_t *lengths;
        size_t size, rest;
        const char *data;
        int r;

        r = read_array(m, 'u', (const void **) &lengths, &size, error);
        if (r < 0)
                return r;
        request->n = size / sizeof(uint32_t);
        r = read_array(m, 'y', (const void **) &data, &size, error);
        if (r < 0)
                return r;
        request->size = rest = size;
        request->payloads =
                reallocarray(NULL, MAX(request->n, (size_t) 1), sizeof(*request->payloads));
        if (!request->payloads)
                return bus_error_oom(error);
        for (size_t i = 0; i < request->n; i++) {
                if (lengths[i] > rest)
                        return bus_error(error, BUS_ERROR_INVALID_ARGS,
                                "The lengths add up to more than the %zu bytes of payloads", size);
                if (lengths[i] > payload_max)
                        return payload_error(request->target.pool, lengths[i], error);
                request->payloads[i] =
                        (struct iovec){ .iov_base = (void *) data, .iov_len = lengths[i] };
                data += lengths[i];
                rest -= lengths[i];
        }
        if (rest > 0)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "The lengths add up to %zu bytes, but there are %zu bytes of payloads",
                        size - rest, size);
        return 0;
}

static int read_options(Request *request, sd_bus_message *m, sd_bus_error *error) {
        int r;

        r = options_read_submit(m, &request->target, request->client, request->submission,
                &request->options, error);
        if (r < 0)
                return r;
        if (request->submission->output_fd >= 0 && request->n > 1)
                return bus_error(
                        error, BUS_ERROR_INVALID_ARGS, "Option \"OutputFd\" is for a single job");
        if (request->submission->output_fd >= 0 && request->target.pool->store)
                return bus_error(error, BUS_ERROR_NOT_SUPPORTED,
                        "Pool %s is durable, and a file descriptor (option \"OutputFd\") does not "
                        "survive a restart",
                        request->target.pool->config->name);
        if (request->options.has_group_policy && !request->group)
                return bus_error(
                        error, BUS_ERROR_INVALID_ARGS, "Option \"GroupPolicy\" is for SubmitGroup");
        return 0;
}

/* ---- handing over ---- */

/* What a submit can bring at most. */
static uint64_t target_max(const SubmitTarget *target) {
        return target->pipeline ? target->pipeline->pipeline.max_in_flight
                                : target->pool->config->queue_max;
}

static uint64_t target_room(const SubmitTarget *target) {
        return target->pipeline ? pipeline_room(&target->pipeline->pipeline)
                                : pool_room(target->pool);
}

/* So many jobs were not even tried. Pipelines do not count these. */
static void target_reject(const SubmitTarget *target, uint64_t n) {
        if (!target->pipeline)
                pool_reject(target->pool, n);
}

static int refuse_full(const SubmitTarget *target, size_t n, sd_bus_error *error) {
        if (target->pipeline)
                return bus_error(error, BUS_ERROR_QUEUE_FULL,
                        "Pipeline %s has no room for %zu more: MaxInFlight is %" PRIu64,
                        target->pipeline->name, n, target_max(target));
        return bus_error(error, BUS_ERROR_QUEUE_FULL,
                "Pool %s has no room for %zu more: QueueMax is %" PRIu64,
                target->pool->config->name, n, target_max(target));
}

static int refuse(const Request *request, AdmitVerdict verdict, sd_bus_error *error) {
        const PoolPipeline *pipeline = request->target.pipeline;
        const char *name = request->target.pool->config->name;
        usec_t retry_after = 0;

        if (verdict == ADMIT_SHUT) {
                (void) pool_is_refusing(request->target.pool, &retry_after);
                return bus_error(error, BUS_ERROR_CIRCUIT_OPEN,
                        "The circuit breaker of pool %s is open%s: retry after %" PRIu64 " us",
                        name, retry_after == USEC_INFINITY ? " until its Mode is another one" : "",
                        retry_after);
        }
        if (verdict == ADMIT_FULL)
                return refuse_full(&request->target, request->n, error);
        if (request->link->server->engine->shutting_down)
                return bus_error(error, BUS_ERROR_SHUTTING_DOWN, "sluiced is shutting down");
        if (pipeline && pipeline->pipeline.draining)
                return bus_error(error, BUS_ERROR_DRAINING,
                        "Pipeline %s is draining and takes no jobs", pipeline->name);
        if (pipeline)
                return bus_error(error, BUS_ERROR_DRAINING,
                        "Pool %s, the first stage of pipeline %s, is draining and takes no jobs",
                        name, pipeline->name);
        return bus_error(error, BUS_ERROR_DRAINING, "Pool %s is draining and takes no jobs", name);
}

/* Ties the jobs to the client where it matters that it stays. */
static void tie_to_client(const Request *request, Submission *submission) {
        if (!submission->bind && !submission->notify && !submission->group)
                return;
        submission->client = request->client;
        list_append(&request->client->submissions, &submission->links);
}

/* What is done when jobs were accepted, now or when the same call was made before. `call` is the
 * one that goes on, if any. Returns as a D-Bus method. */
typedef int (*Accepted)(sd_bus_message *m, Call *call, Submission *submission);

/* ---- calls with a Key ---- */

/* Looks for the call that this one repeats: *ret is what was accepted then, NULL if there is none.
 * What has to be said of two calls with one key that are not the same is an error. */
static int find_repeated(const Request *request, Submission **ret, sd_bus_error *error) {
        Submission *submission = request->submission, *known = NULL;
        KeyVerdict verdict = engine_ask_key(request->link->server->engine, request->target.pool,
                request->target.pipeline, submission, &known);

        if (verdict == KEY_IS_TAKEN)
                return bus_error(error, BUS_ERROR_KEY_CONFLICT,
                        "Key \"%s\" was given with another body before", submission->key->text);
        if (known && known->n_total < request->n && !request->options.partial)
                return bus_error(error, BUS_ERROR_KEY_CONFLICT,
                        "Of the call with the key \"%s\" only %" PRIu32
                        " of %zu jobs were accepted (Partial)",
                        submission->key->text, known->n_total, request->n);
        *ret = known;
        return 0;
}

/* The same for a call that has just been read. */
static int ask_key(Request *request, Submission **ret, sd_bus_error *error) {
        const Submission *submission = request->submission;
        Body body;
        int r;

        *ret = NULL;
        if (likely(!submission->key))
                return 0;
        if (submission->payload_fd >= 0 && submission->once)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"Key\": what comes out of a pipe cannot be compared with that of "
                        "another call; regular files and memfds can");
        body = (Body){
                .payloads = request->payloads,
                .n_payloads = request->n,
                .payload_fd = submission->payload_fd,
                .arguments = submission->arguments,
                .group = request->group,
        };
        r = body_digest(&body, submission->key->digest);
        if (r == -ENOMEM)
                return bus_error_oom(error);
        if (r < 0)
                return bus_error(error, BUS_ERROR_INVALID_ARGS, "Cannot look at the payload: %s",
                        strerror(-r));
        return find_repeated(request, ret, error);
}

/* Whoever comes back after its connection was lost hears again of its jobs. */
static void welcome_back(const Request *request, Submission *known) {
        if (!known->client)
                tie_to_client(request, known);
}

/* ---- waiting for room ---- */

/* A request that waits for room. Belongs to its call. */
typedef struct Waiting {
        RoomWatch watch;
        Request request;
        Call *call; /* borrowed */
        Accepted accepted;
} Waiting;

static void waiting_free(void *p) {
        Waiting *waiting = p;

        engine_unwatch_room(&waiting->watch);
        request_done(&waiting->request);
        free(waiting);
}

static int submit_error(int r, sd_bus_error *error) {
        if (r == -ENOSPC)
                return bus_error(error, BUS_ERROR_NO_SPACE,
                        "The disk that durable jobs are kept on is full");
        if (r == -EIO)
                return bus_error(error, BUS_ERROR_STORAGE_FAILED,
                        "The disk that durable jobs are kept on has failed");
        return bus_error_oom(error);
}

/* ---- waiting for the disk ---- */

/* The jobs that the call is about are on the disk, or never will be. */
static void go_on(Call *call, Submission *submission, int r) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        bool goes_on = call->goes_on;

        if (r >= 0) {
                (void) call->accepted(call->message, call, submission);
                if (goes_on)
                        return;
        } else {
                (void) submit_error(r, &error);
                (void) sd_bus_reply_method_error(call->message, &error);
        }
        call_free(call);
}

static void on_stored(Submission *submission, int r) {
        Call *call = submission->userdata;

        call->submission = NULL;
        /* One that waits for the results is found by it when these are there. */
        if (!submission->bulk)
                submission->userdata = NULL;
        go_on(call, submission, r);
}

static void on_known_stored(SubmissionWatch *watch, Submission *submission, int r) {
        go_on(container_of(watch, Call, submission_watch), submission, r);
}

/* The call goes on when its jobs are on the disk, or those of the one that it repeats. */
static void await_stored(Call *call, Submission *submission, bool is_own, Accepted accepted) {
        call->accepted = accepted;
        if (is_own) {
                call->submission = submission;
                submission->userdata = call;
                submission->stored = on_stored;
        } else {
                call->submission_watch.stored = on_known_stored;
                engine_watch_storing(submission, &call->submission_watch);
        }
}

/* Turns the request into jobs, which own its submission then. As engine_submit(). */
static int submit_request(Request *request, unsigned flags) {
        Engine *engine = request->link->server->engine;
        Submission *submission = request->submission;
        bool borrow = submission->backing;
        int r;

        r = request->group
                    ? engine_submit_group(engine, request->target.pool, request->target.pipeline,
                              submission, request->options.group_policy, request->payloads,
                              request->n, borrow, flags)
            : request->target.pipeline
                    ? engine_submit_items(engine, request->target.pipeline, submission,
                              request->payloads, request->n, borrow, flags)
                    : engine_submit(engine, request->target.pool, submission, request->payloads,
                              request->n, borrow, flags);
        if (r != ADMIT_YES)
                return r;
        request->submission = NULL;
        tie_to_client(request, submission);
        return r;
}

/* The call has its jobs, of its own or of the one that it repeats. */
static void end_waiting(Waiting *waiting, Submission *own, Submission *known) {
        Submission *submission = known ?: own;
        Accepted accepted = waiting->accepted;
        Call *call = waiting->call;
        bool goes_on = call->goes_on;

        /* First, as a call that goes on may end at once. */
        call->timeout_source = sd_event_source_disable_unref(call->timeout_source);
        call->waiting = NULL;
        waiting_free(waiting);
        if (submission->storing) {
                await_stored(call, submission, /* is_own= */ !known, accepted);
                return;
        }
        (void) accepted(call->message, call, submission);
        if (!goes_on)
                call_free(call);
}

static void on_served(RoomWatch *watch) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Waiting *waiting = container_of(watch, Waiting, watch);
        Request *request = &waiting->request;
        Submission *submission = request->submission, *known = NULL;
        int r;

        /* The same call may have been accepted meanwhile. */
        r = find_repeated(request, &known, &error);
        if (r >= 0 && known)
                welcome_back(request, known);
        else if (r >= 0) {
                r = submit_request(request, ADMIT_SERVED);
                if (r != ADMIT_YES)
                        r = r < 0 ? submit_error(r, &error)
                                  : refuse(request, (AdmitVerdict) r, &error);
        }
        if (r >= 0) {
                end_waiting(waiting, submission, known);
                return;
        }
        (void) sd_bus_reply_method_error(waiting->call->message, &error);
        call_free(waiting->call);
}

static void on_no_room(Call *call) {
        Waiting *waiting = call->waiting;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        (void) refuse(&waiting->request, ADMIT_FULL, &error);
        (void) sd_bus_reply_method_error(call->message, &error);
        call_free(call);
}

/* Gets in line. `call` is that of `m`, if there is one already: then it is still the caller's if
 * this fails. */
static int wait_for_room(
        Request *request, sd_bus_message *m, Call *call, Accepted accepted, sd_bus_error *error) {
        _cleanup_free_ Waiting *memory = calloc(1, sizeof(*memory));
        bool is_callers = call;
        Waiting *waiting;
        int r;

        r = !memory ? bus_error_oom(error) : call ? 0 : call_new(request->client, m, &call, error);
        if (r < 0) {
                /* There was no room, and the pool was told that the submit would wait. */
                target_reject(&request->target, request->n);
                return r;
        }
        waiting = TAKE_PTR(memory); /* the call's from here on */
        *waiting = (Waiting){
                .watch.served = on_served,
                .request = *request,
                .call = call,
                .accepted = accepted,
        };
        /* They are the waiting one's now. */
        request->submission = NULL;
        request->payloads = NULL;
        request->data = NULL;
        call->waiting = waiting;
        call->waiting_free = waiting_free;
        if (request->target.pipeline)
                pipeline_watch_room(request->target.pipeline, &waiting->watch, request->n);
        else
                engine_watch_room(request->target.pool, &waiting->watch, request->n);
        if (call_set_timeout(call, waiting->request.options.wait, on_no_room) < 0) {
                if (is_callers) {
                        call->waiting = NULL;
                        waiting_free(waiting);
                } else
                        call_free(call);
                return bus_error_oom(error);
        }
        return 1;
}

static uint64_t sum_sizes(const struct iovec *payloads, size_t n) {
        uint64_t sum = 0;

        for (size_t i = 0; i < n; i++)
                sum += payloads[i].iov_len;
        return sum;
}

/* So many payloads, from the first on, the quota has room for. */
static size_t quota_room(const Request *request) {
        const Account *account = request->client->account;
        uint64_t bytes = account_left(account, QUOTA_BYTES);
        size_t n = MIN(request->n, account_left(account, QUOTA_JOBS)), i = 0;

        if (request->size <= bytes)
                return n;
        for (; i < n && request->payloads[i].iov_len <= bytes; i++)
                bytes -= request->payloads[i].iov_len;
        return i;
}

/* Leaves as many as there is room for: in the quota, and in the queue without dropping others.
 * Where one of them has none at all its refusal is to say why. Returns how many were left out. */
static size_t leave_out_what_does_not_fit(Request *request) {
        size_t quota = quota_room(request), n = request->n;
        uint64_t room = target_room(&request->target);

        request->n = MIN(n, MAX(quota, (size_t) 1));
        if (room > 0)
                request->n = MIN(request->n, room);
        if (request->n < n)
                request->size = sum_sizes(request->payloads, request->n);
        return n - request->n;
}

/* The jobs count for their owner from here on, also while they wait for room. */
static int charge(Request *request, sd_bus_error *error) {
        Account *account = request->client->account;
        int r;

        r = quota_check(account, QUOTA_JOBS, request->n, error);
        if (r >= 0)
                r = quota_check(account, QUOTA_BYTES, request->size, error);
        if (r >= 0 && request->group)
                r = quota_check(account, QUOTA_GROUPS, 1, error);
        if (r < 0)
                return r;
        submission_charge(
                request->submission, account, (uint32_t) request->n, request->size, request->group);
        return 0;
}

/* Turns the request into jobs, now or when there is room. */
static int hand_over(Request *request, sd_bus_message *m, bool borrow, Call *call,
        Accepted accepted, sd_bus_error *error) {
        Submission *submission = request->submission;
        const SubmitTarget *target = &request->target;
        bool may_wait = request->options.wait > 0 && !request->options.partial;
        unsigned flags = may_wait ? ADMIT_MAY_WAIT : 0;
        _cleanup_(call_freep) Call *own = NULL;
        Submission *known;
        uint64_t n_left = 0;
        int r;

        /* First of all, so that it does not matter what has become of the pool. */
        r = ask_key(request, &known, error);
        if (r < 0)
                return r;
        if (known && !known->storing) {
                welcome_back(request, known);
                return accepted(m, call, known);
        }
        /* To be accepted takes until it is on the disk. */
        if (target->pool->store && !call) {
                r = call_new(request->client, m, &own, error);
                if (r < 0)
                        return r;
                call = own;
        }
        if (known) {
                welcome_back(request, known);
                TAKE_PTR(own);
                await_stored(call, known, /* is_own= */ false, accepted);
                return 1;
        }
        if (request->n > target_max(target) && !request->options.partial)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "%zu jobs at once can never fit: %s %s is %" PRIu64, request->n,
                        target->pipeline ? "MaxInFlight of pipeline" : "QueueMax of pool",
                        target->pipeline ? target->pipeline->name : target->pool->config->name,
                        target_max(target));
        if (request->options.partial) {
                flags |= ADMIT_NO_DROP;
                n_left = leave_out_what_does_not_fit(request);
        }
        r = charge(request, error);
        if (r < 0) {
                target_reject(target, request->n + n_left);
                return r;
        }
        if (borrow) {
                submission->backing = sd_bus_message_ref(m);
                submission->release_backing = release_message;
        }
        r = submit_request(request, flags);
        if (r < 0)
                return submit_error(r, error);
        if (n_left > 0)
                target_reject(target, n_left);
        if (r == ADMIT_YES && submission->storing) {
                TAKE_PTR(own);
                await_stored(call, submission, /* is_own= */ true, accepted);
                return 1;
        }
        if (r == ADMIT_YES)
                return accepted(m, call, submission);
        if (r == ADMIT_FULL && may_wait) {
                r = wait_for_room(request, m, call, accepted, error);
                if (r >= 0)
                        TAKE_PTR(own);
                return r;
        }
        return refuse(request, (AdmitVerdict) r, error);
}

/* ---- Submit ---- */

static int reply_id(sd_bus_message *m, uint64_t id) {
        char path[JOB_PATH_MAX];

        return sd_bus_reply_method_return(m, "to", id, job_bus_path(path, id));
}

static int accepted_one(sd_bus_message *m, Call *call, Submission *submission) {
        return reply_id(m, submission->first_id);
}

int submit_one(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error) {
        _cleanup_request_ Request request = {};
        int r;

        r = request_init(&request, m, link, target, error);
        if (r >= 0)
                r = read_payload(&request, m, error);
        if (r >= 0)
                r = read_options(&request, m, error);
        if (r >= 0)
                r = hand_over(&request, m, /* borrow= */ false, NULL, accepted_one, error);
        return r;
}

/* Takes the fd of SubmitFd, which must be one to read from. */
static int take_payload_fd(Request *request, sd_bus_message *m, sd_bus_error *error) {
        struct stat st;
        int flags, r;

        r = options_take_fd(m, &request->submission->payload_fd, error);
        if (r < 0)
                return r;
        flags = fcntl(request->submission->payload_fd, F_GETFL);
        if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "The file descriptor is not open for reading");
        /* What comes out of a pipe comes once. */
        request->submission->once =
                fstat(request->submission->payload_fd, &st) < 0 || !S_ISREG(st.st_mode);
        return 0;
}

/* Handlers that want the payload in memory get it there now. Only regular files: main does not wait
 * for what a pipe may bring. */
static int read_payload_fd(Request *request, sd_bus_error *error) {
        int fd = request->submission->payload_fd, r;
        struct stat st;
        size_t size;

        if (request->submission->once && request->target.pool->store)
                return bus_error(error, BUS_ERROR_NOT_SUPPORTED,
                        "Pool %s is durable, so it takes regular files and memfds only",
                        request->target.pool->config->name);
        if (request->submission->once || fstat(fd, &st) < 0)
                return bus_error(error, BUS_ERROR_NOT_SUPPORTED,
                        "Pool %s has Handler=%s%s, which takes regular files and memfds only",
                        request->target.pool->config->name,
                        request->target.pool->config->handler->name,
                        request->target.pool->config->handler_config.netstring_batches
                                ? " with Batch=netstring"
                                : "");
        r = fd_pread_all(fd, request->target.pool->config->handler_config.payload_max,
                &request->data, &size);
        if (r == -EFBIG)
                return payload_error(request->target.pool, (size_t) st.st_size, error);
        if (r < 0)
                return bus_error(
                        error, BUS_ERROR_INVALID_ARGS, "Cannot read the payload: %s", strerror(-r));
        request->submission->payload_fd = fd_close(fd);
        request->payloads[0] = (struct iovec){ .iov_base = request->data, .iov_len = size };
        request->size = size;
        return 0;
}

int submit_fd(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error) {
        _cleanup_request_ Request request = {};
        size_t n_allocated = 0;
        int r;

        r = request_init(&request, m, link, target, error);
        if (r >= 0)
                r = take_payload_fd(&request, m, error);
        if (r >= 0)
                r = add_payload(&request, &n_allocated, NULL, 0, error);
        if (r >= 0)
                r = read_options(&request, m, error);
        /* What is to be durable is to be read. */
        if (r >= 0 && (target.pool->store || !handler_takes_fd(target.pool->config->handler,
                                                     &target.pool->config->handler_config)))
                r = read_payload_fd(&request, error);
        if (r >= 0)
                r = hand_over(&request, m, /* borrow= */ false, NULL, accepted_one, error);
        return r;
}

/* Is the message to be kept, for what its jobs may take to end and be forgotten? */
static bool is_to_borrow(const Request *request) {
        return request->n > 0 && request->size / request->n <= BORROW_MEAN_MAX;
}

static int accepted_many(sd_bus_message *m, Call *call, Submission *submission) {
        return sd_bus_reply_method_return(m, "tu", submission->first_id, submission->n_total);
}

static int submit_bulk(sd_bus_message *m, Link *link, SubmitTarget target,
        int (*read)(Request *request, sd_bus_message *m, sd_bus_error *error),
        sd_bus_error *error) {
        _cleanup_request_ Request request = {};
        Submission *known;
        int r;

        r = request_init(&request, m, link, target, error);
        if (r >= 0)
                r = read(&request, m, error);
        if (r >= 0)
                r = read_options(&request, m, error);
        if (r < 0)
                return r;
        if (request.n == 0) {
                r = ask_key(&request, &known, error);
                return r < 0 ? r : sd_bus_reply_method_return(m, "tu", UINT64_C(0), 0);
        }
        return hand_over(&request, m, is_to_borrow(&request), NULL, accepted_many, error);
}

int submit_many(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error) {
        return submit_bulk(m, link, target, read_payloads, error);
}

/* ---- SubmitGroup ---- */

static int accepted_group(sd_bus_message *m, Call *call, Submission *submission) {
        const JobGroup *group = submission->group;
        char path[GROUP_PATH_MAX];

        return sd_bus_reply_method_return(m, "o", group_bus_path(path, group->id));
}

int submit_group(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error) {
        _cleanup_request_ Request request = {};
        int r;

        r = request_init(&request, m, link, target, error);
        request.group = true;
        if (r >= 0)
                r = read_payloads(&request, m, error);
        if (r >= 0)
                r = read_options(&request, m, error);
        if (r < 0)
                return r;
        if (request.options.partial)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"Partial\" is for SubmitMany and SubmitPacked");
        return hand_over(&request, m, is_to_borrow(&request), NULL, accepted_group, error);
}

int submit_packed(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error) {
        return submit_bulk(m, link, target, read_packed, error);
}

/* ---- Run ---- */

/* All jobs have ended: the call is over. */
static void answer(Call *call, const Submission *submission) {
        if (call->reply(call, submission) < 0)
                bus_reply_error(call->message, BUS_ERROR_NO_MEMORY, "Out of memory");
        call->submission = NULL;
        call_free(call);
}

static void on_finished(Submission *submission) {
        answer(submission->userdata, submission);
}

static void on_keyed_ended(SubmissionWatch *watch, Submission *submission) {
        answer(container_of(watch, Call, submission_watch), submission);
}

/* From now on the call goes with its jobs. */
static int accepted_run(sd_bus_message *m, Call *call, Submission *submission) {
        call->submission = submission;
        return 1;
}

/* One of several calls that may wait for these jobs, which are not its own. */
static int accepted_keyed_run(sd_bus_message *m, Call *call, Submission *submission) {
        call->submission_watch.ended = on_keyed_ended;
        if (engine_watch_submission(submission, &call->submission_watch) > 0)
                answer(call, submission);
        return 1;
}

/* How a call that is answered when all its jobs have finished is read, and its reply made. */
typedef struct RunKind {
        int (*read)(Request *request, sd_bus_message *m, sd_bus_error *error);
        int (*reply_nothing)(sd_bus_message *m);
        int (*reply)(Call *call, const Submission *submission);
} RunKind;

static int run_bulk(sd_bus_message *m, Link *link, SubmitTarget target, const RunKind *kind,
        sd_bus_error *error) {
        _cleanup_request_ Request request = {};
        Submission *submission, *known;
        bool keyed;
        Call *call = NULL;
        int r;

        r = request_init(&request, m, link, target, error);
        if (r >= 0)
                r = kind->read(&request, m, error);
        if (r >= 0)
                r = read_options(&request, m, error);
        if (r < 0)
                return r;
        if (request.options.partial)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "Option \"Partial\" is for SubmitMany and SubmitPacked");
        if (request.n == 0) {
                r = ask_key(&request, &known, error);
                return r < 0 ? r : kind->reply_nothing(m);
        }

        r = call_new(request.client, m, &call, error);
        if (r < 0)
                return r;
        call->goes_on = true;
        call->reply = kind->reply;
        submission = request.submission;
        keyed = submission->key;
        if (keyed)
                submission->key->as_one = true;
        else {
                submission->bulk = true;
                submission->finished = on_finished;
                submission->userdata = call;
        }
        r = hand_over(&request, m, !keyed || is_to_borrow(&request), call,
                keyed ? accepted_keyed_run : accepted_run, error);
        if (r < 0)
                call_free(call);
        return r;
}

static Engine *engine_of(const Call *call) {
        return call->client->link->server->engine;
}

static int reply_output(Call *call, const Submission *submission) {
        Job *job = engine_submission_job(engine_of(call), submission, 0);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        if (job->result != JOB_SUCCEEDED) {
                bus_reply_error(call->message, bus_error_of_result((JobResult) job->result), "%s",
                        job_error(job));
                return 0;
        }
        if (job->size > REPLY_SIZE_MAX) {
                job->flags |= JOB_KEEP;
                bus_reply_error(call->message, BUS_ERROR_TOO_LARGE,
                        "The output of job %" PRIu64 " has %" PRIu32 " bytes: use GetResult",
                        (uint64_t) job->id, job->size);
                return 0;
        }
        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_append_array(reply, 'y', job->data, job->size);
        return r < 0 ? r : sd_bus_message_send(reply);
}

static int reply_no_results(sd_bus_message *m) {
        return sd_bus_reply_method_return(m, "a(tsay)", 0);
}

static int reply_no_packed_results(sd_bus_message *m) {
        return sd_bus_reply_method_return(m, "tayauay", UINT64_C(0), 0, 0, 0);
}

/* What a reply says of a job: its output or its error text, or where there is no *room left for
 * these that they are elsewhere. */
static void read_output(Job *job, size_t *room, const void **ret_data, size_t *ret_size) {
        const void *data = job->data;
        size_t size = job->size;

        if (unlikely(job->result != JOB_SUCCEEDED)) {
                data = job_error(job);
                size = strlen(data);
        }
        if (unlikely(size > *room && size > strlen(too_large))) {
                job->flags |= JOB_KEEP;
                data = too_large;
                size = strlen(too_large);
        }
        *ret_data = data;
        *ret_size = size;
        *room -= MIN(*room, size);
}

static int append_result(
        sd_bus_message *reply, uint64_t id, JobResult result, const void *data, size_t size) {
        int r;

        r = sd_bus_message_open_container(reply, 'r', "tsay");
        if (r < 0)
                return r;
        r = sd_bus_message_append(reply, "t", id);
        if (r < 0)
                return r;
        r = sd_bus_message_append_basic(reply, 's', job_result_to_string(result));
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(reply, 'y', data, size);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(reply);
}

int submit_append_result(sd_bus_message *reply, Job *job, size_t *room) {
        const void *data;
        size_t size;

        read_output(job, room, &data, &size);
        return append_result(reply, job->id, (JobResult) job->result, data, size);
}

static int reply_results(Call *call, const Submission *submission) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Engine *engine = engine_of(call);
        size_t room = REPLY_SIZE_MAX;
        int r;

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(tsay)");
        for (size_t i = 0; r >= 0 && i < submission->n_total; i++) {
                Job *job = engine_submission_job(engine, submission, i);

                /* Of a call with a Key, some may have been forgotten before it was repeated. */
                r = likely(job) ? submit_append_result(reply, job, &room)
                                : append_result(reply, submission->first_id + i, JOB_LOST,
                                          forgotten, strlen(forgotten));
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_message_send(reply);
}

/* That many jobs from now on will be at hand by the time that they are read. */
#define LOOK_AHEAD 8

/* Puts them one after another. Those of small jobs mostly lie so already, in the chunk that their
 * worker has filled. */
static void append_outputs(
        char *end, const void *const *outputs, const uint32_t *lengths, size_t n) {
        const char *run = NULL;
        size_t size = 0;

        for (size_t i = 0; i < n; i++) {
                if (run && outputs[i] == run + size) {
                        size += lengths[i];
                        continue;
                }
                if (run)
                        end = mempcpy(end, run, size);
                run = outputs[i];
                size = lengths[i];
        }
        if (run)
                (void) mempcpy(end, run, size);
}

/* tayauay: the first id, a byte per job, and the outputs one after another. */
static int reply_packed(Call *call, const Submission *submission) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ const void **outputs = NULL;
        _cleanup_free_ uint32_t *lengths = NULL;
        _cleanup_free_ uint8_t *results = NULL;
        Engine *engine = engine_of(call);
        size_t n = submission->n_total, room = REPLY_SIZE_MAX, total = 0;
        void *space;
        int r;

        outputs = malloc(n * sizeof(*outputs));
        lengths = malloc(n * sizeof(*lengths));
        results = malloc(n);
        if (!outputs || !lengths || !results)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                Job *job = engine_submission_job(engine, submission, i);
                size_t size = strlen(forgotten);

                /* The worker has written it last, and it takes a while to come from there. */
                if (i + LOOK_AHEAD < n)
                        __builtin_prefetch(
                                engine_submission_job(engine, submission, i + LOOK_AHEAD), 1);
                outputs[i] = forgotten;
                results[i] = JOB_LOST;
                if (likely(job)) {
                        read_output(job, &room, &outputs[i], &size);
                        results[i] = job->result;
                }
                lengths[i] = (uint32_t) size;
                total += size;
        }

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_append_basic(reply, 't', &submission->first_id);
        if (r >= 0)
                r = sd_bus_message_append_array(reply, 'y', results, n);
        if (r >= 0)
                r = sd_bus_message_append_array(reply, 'u', lengths, n * sizeof(*lengths));
        if (r >= 0)
                r = sd_bus_message_append_array_space(reply, 'y', total, &space);
        if (r < 0)
                return r;
        append_outputs(space, outputs, lengths, n);
        return sd_bus_message_send(reply);
}

int run_one(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error) {
        static const RunKind kind = { read_payload, NULL, reply_output };

        return run_bulk(m, link, target, &kind, error);
}

int run_many(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error) {
        static const RunKind kind = { read_payloads, reply_no_results, reply_results };

        return run_bulk(m, link, target, &kind, error);
}

int run_packed(sd_bus_message *m, Link *link, SubmitTarget target, sd_bus_error *error) {
        static const RunKind kind = { read_packed, reply_no_packed_results, reply_packed };

        return run_bulk(m, link, target, &kind, error);
}
