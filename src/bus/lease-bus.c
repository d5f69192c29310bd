/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A reply to Lease is made straight from the payloads of the jobs, which are leased by then. Where
 * it cannot be made or sent they are given back. What cannot be told of afterwards does not matter:
 * the holder's connection is lost, and its leases with it. */

#include "bus/lease-bus.h"

#include <errno.h>
#include <inttypes.h>

#include "bus/auth.h"
#include "bus/call.h"
#include "bus/error.h"
#include "bus/object.h"

/* The largest output that a job can be completed with. */
#define OUTPUT_MAX ((size_t) 16 * 1024 * 1024)

/* ---- leases ---- */

/* a(ttayu): id, token, payload, attempt. */
static int append_lease(sd_bus_message *reply, const Lease *lease) {
        const Job *job = lease_job(lease);
        uint32_t attempt = lease_attempt(lease);
        int r;

        r = sd_bus_message_open_container(reply, 'r', "ttayu");
        if (r < 0)
                return r;
        r = sd_bus_message_append_basic(reply, 't', &lease->id);
        if (r < 0)
                return r;
        r = sd_bus_message_append_basic(reply, 't', &lease->token);
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(reply, 'y', job->data, job->size);
        if (r < 0)
                return r;
        r = sd_bus_message_append_basic(reply, 'u', &attempt);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(reply);
}

static int reply_leases(sd_bus_message *m, Lease *const *leases, size_t n) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(ttayu)");
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = append_lease(reply, leases[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_message_send(reply);
        if (r >= 0)
                return 1;
        for (size_t i = 0; i < n; i++)
                lease_give_back(leases[i]);
        return r;
}

static int refuse(int result, sd_bus_error *error) {
        return result == -ESHUTDOWN
                       ? bus_error(error, BUS_ERROR_SHUTTING_DOWN, "sluiced is shutting down")
                       : bus_error(error, BUS_ERROR_NOT_FOUND, "The pool is being removed");
}

static void on_done(LeaseWatch *watch, int result, Lease *const *leases, size_t n) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Call *call = container_of(watch, Call, lease_watch);

        if (result < 0)
                (void) refuse(result, &error);
        else if (reply_leases(call->message, leases, n) < 0)
                (void) bus_error_oom(&error);
        if (sd_bus_error_is_set(&error))
                (void) sd_bus_reply_method_error(call->message, &error);
        call_free(call);
}

static int check_kind(const Pool *pool, sd_bus_error *error) {
        if (pool->desk)
                return 0;
        return bus_error(error, BUS_ERROR_INVALID_STATE,
                "Jobs of pool %s cannot be leased: it has Handler=%s, and not Handler=lease",
                pool->config->name, pool->config->handler->name);
}

static int check_span(const char *what, usec_t span, bool unbounded, sd_bus_error *error) {
        if (span <= USEC_SPAN_MAX || (unbounded && span == USEC_INFINITY))
                return 0;
        return bus_error(error, BUS_ERROR_INVALID_ARGS,
                "A %s of %" PRIu64 " us, allowed are up to %" PRIu64 "%s", what, span,
                USEC_SPAN_MAX, unbounded ? " or infinity" : "");
}

int lease_bus_lease(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Client *client = client_of(found->link, m);
        Pool *pool = found->object;
        Lease *const *leases;
        Call *call = NULL;
        usec_t timeout;
        uint32_t max;
        size_t n;
        int r;

        r = check_kind(pool, error);
        if (r >= 0)
                r = auth_may_lease(client, pool, error);
        if (r >= 0)
                r = sd_bus_message_read(m, "ut", &max, &timeout);
        if (r < 0)
                return r;
        if (max < 1 || max > LEASES_MAX)
                return bus_error(error, BUS_ERROR_INVALID_ARGS,
                        "%" PRIu32 " jobs at once, allowed are 1 to %d", max, LEASES_MAX);
        r = check_span("time-out", timeout, /* unbounded= */ true, error);
        if (r < 0)
                return r;
        /* It would never hear of the tokens of its leases. Nor does it of this. */
        if (!sd_bus_message_get_expect_reply(m))
                return bus_error(error, BUS_ERROR_INVALID_ARGS, "A call that wants no reply");
        r = lease_refusal(pool);
        if (r < 0)
                return refuse(r, error);

        n = lease_take(pool, &client->leases, max, &leases);
        if (n > 0 || timeout == 0) {
                r = reply_leases(m, leases, n);
                return r < 0 ? bus_error_oom(error) : r;
        }
        r = call_new(client, m, &call, error);
        if (r < 0)
                return r;
        /* From here on the call may be over at any time. */
        lease_wait(pool, &client->leases, max, timeout, &call->lease_watch, on_done);
        return 1;
}

/* ---- verdicts ---- */

/* What a holder has reported is heard once it is on the disk, where the pool is durable.
 *
 * The error is one and the same for all causes: nobody can find out which tokens there are. */
static int reply_answer(const Found *found, sd_bus_message *m, int answer, sd_bus_error *error) {
        const Pool *pool = found->object;

        switch (answer) {

        case LEASE_DONE:
                return pool->store ? call_return_when_stored(client_of(found->link, m), m, error)
                                   : sd_bus_reply_method_return(m, NULL);

        case LEASE_CANCELLED:
                return bus_error(error, BUS_ERROR_JOB_CANCELLED,
                        "The job was cancelled, and its lease has ended");

        case LEASE_STALE:
                return bus_error(error, BUS_ERROR_STALE_LEASE,
                        "This connection has no such lease (any more)");

        default:
                return bus_error_oom(error);
        }
}

/* One verdict; the output is borrowed from the message. */
typedef struct Verdict {
        uint64_t id, token;
        int ok;
        const void *output;
        size_t size;
} Verdict;

static int read_verdict(sd_bus_message *m, Verdict *ret, sd_bus_error *error) {
        int r;

        r = sd_bus_message_read(m, "ttb", &ret->id, &ret->token, &ret->ok);
        if (r >= 0)
                r = sd_bus_message_read_array(m, 'y', &ret->output, &ret->size);
        if (r < 0)
                return r;
        if (ret->ok && ret->size > OUTPUT_MAX)
                return bus_error(error, BUS_ERROR_TOO_LARGE,
                        "An output of %zu bytes, allowed are up to %zu", ret->size, OUTPUT_MAX);
        return 0;
}

static int complete(Pool *pool, Client *client, const Verdict *v) {
        return lease_complete(pool, &client->leases, v->id, v->token, v->ok, v->output, v->size);
}

int lease_bus_complete(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Pool *pool = found->object;
        Verdict verdict;
        int r;

        r = check_kind(pool, error);
        if (r >= 0)
                r = read_verdict(m, &verdict, error);
        if (r < 0)
                return r;
        return reply_answer(found, m, complete(pool, client_of(found->link, m), &verdict), error);
}

/* All is read before anything is changed. */
static int read_verdicts(sd_bus_message *m, Verdict verdicts[static LEASES_MAX], size_t *ret_n,
        sd_bus_error *error) {
        size_t n = 0;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(ttbay)");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'r', "ttbay")) > 0) {
                if (n == LEASES_MAX)
                        return bus_error(error, BUS_ERROR_INVALID_ARGS,
                                "More than %d verdicts at once", LEASES_MAX);
                r = read_verdict(m, &verdicts[n++], error);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return bus_read_error(r);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        *ret_n = n;
        return bus_read_error(r);
}

int lease_bus_complete_many(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Client *client = client_of(found->link, m);
        Pool *pool = found->object;
        Verdict verdicts[LEASES_MAX];
        uint64_t stale[LEASES_MAX];
        size_t n = 0, n_stale = 0;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = check_kind(pool, error);
        if (r >= 0)
                r = read_verdicts(m, verdicts, &n, error);
        if (r >= 0)
                r = sd_bus_message_new_method_return(m, &reply);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++)
                if (complete(pool, client, &verdicts[i]) != LEASE_DONE)
                        stale[n_stale++] = verdicts[i].id;
        r = sd_bus_message_append_array(reply, 't', stale, n_stale * sizeof(*stale));
        if (r < 0)
                return r;
        return pool->store ? call_reply_when_stored(client, m, reply, error)
                           : sd_bus_message_send(reply);
}

int lease_bus_fail(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Pool *pool = found->object;
        uint64_t id, token;
        const char *text;
        int fatal, r;

        r = check_kind(pool, error);
        if (r >= 0)
                r = sd_bus_message_read(m, "ttbs", &id, &token, &fatal, &text);
        if (r < 0)
                return r;
        return reply_answer(found, m,
                lease_fail(pool, &client_of(found->link, m)->leases, id, token, fatal, text),
                error);
}

int lease_bus_release(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Pool *pool = found->object;
        uint64_t id, token;
        usec_t delay;
        int r;

        r = check_kind(pool, error);
        if (r >= 0)
                r = sd_bus_message_read(m, "ttt", &id, &token, &delay);
        if (r >= 0)
                r = check_span("delay", delay, /* unbounded= */ false, error);
        if (r < 0)
                return r;
        return reply_answer(found, m,
                lease_release(pool, &client_of(found->link, m)->leases, id, token, delay), error);
}

int lease_bus_touch(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Found *found = userdata;
        Pool *pool = found->object;
        uint64_t id, token;
        int r;

        r = check_kind(pool, error);
        if (r >= 0)
                r = sd_bus_message_read(m, "tt", &id, &token);
        if (r < 0)
                return r;
        return reply_answer(
                found, m, lease_touch(pool, &client_of(found->link, m)->leases, id, token), error);
}

/* ---- what holders are told ---- */

static int send_stopping(
        const Client *client, const Pool *pool, const Lease *lease, const char *reason) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_free_ char *path = NULL;
        int r;

        r = object_path(&pool_object, pool, &path);
        if (r >= 0)
                r = sd_bus_message_new_signal(
                        client->link->bus, &m, path, pool_object.interface, "LeaseStopping");
        if (r >= 0)
                r = sd_bus_message_append(m, "tts", lease->id, lease->token, reason);
        if (r >= 0)
                r = sd_bus_message_set_destination(m, client->name);
        return r < 0 ? r : sd_bus_send(client->link->bus, m, NULL);
}

/* A signal that cannot be sent is lost: Touch says the same. */
static void on_stopping(LeaseHolder *holder, Pool *pool, const Lease *lease, const char *reason) {
        const Client *client = container_of(holder, Client, leases);

        if (link_takes_signals(client->link))
                (void) send_stopping(client, pool, lease, reason);
}

void lease_bus_init(Client *client) {
        list_init(&client->leases.leases);
        client->leases.stopping = on_stopping;
}
