/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>

#include "bus/auth.h"
#include "bus/breaker-bus.h"
#include "bus/group-bus.h"
#include "bus/object.h"
#include "bus/server.h"
#include "bus/signals.h"

/* ---- jobs and groups: unicast ---- */

static int send_started(Client *client, const StartNote *note) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const Pool *pool = note->pool;
        int r;

        r = sd_bus_message_new_signal(
                client->link->bus, &m, SLUICE_PATH, "org.sluice1.Manager", "JobStarted");
        if (r >= 0)
                r = sd_bus_message_append(m, "ts", note->id, pool->config->name);
        if (r >= 0)
                r = sd_bus_message_set_destination(m, client->name);
        return r < 0 ? r : sd_bus_send(client->link->bus, m, NULL);
}

static int send_finished(Client *client, const Job *job) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_signal(
                client->link->bus, &m, SLUICE_PATH, "org.sluice1.Manager", "JobFinished");
        if (r >= 0)
                r = sd_bus_message_append(m, "tsst", (uint64_t) job->id,
                        job_pool(job)->config->name, job_result_to_string((JobResult) job->result),
                        job->details ? job->details->duration : 0);
        if (r >= 0)
                r = sd_bus_message_set_destination(m, client->name);
        return r < 0 ? r : sd_bus_send(client->link->bus, m, NULL);
}

/* Calls `send` for the submitter who is to be told, and for all who have subscribed and may see
 * the owner's jobs. A signal that cannot be sent is lost: the state can be read. */
static void tell_clients(Server *server, uint32_t owner, Client *submitter,
        int (*send)(Client *client, const void *what), const void *what) {
        if (submitter && !submitter->subscribed && link_takes_signals(submitter->link))
                (void) send(submitter, what);
        if (server->n_subscribed == 0)
                return;
        list_for_each (l, &server->links) {
                Link *link = list_entry(l, Link, links);
                Client *client, *next;

                if (!link_takes_signals(link))
                        continue;
                if (link->direct) {
                        if (link->client->subscribed &&
                                (auth_is_root(link->client) || link->client->uid == owner))
                                (void) send(link->client, what);
                        continue;
                }
                HASH_ITER (hh, link->clients, client, next)
                        if (client->subscribed && (auth_is_root(client) || client->uid == owner))
                                (void) send(client, what);
        }
}

static int send_started_to(Client *client, const void *what) {
        return send_started(client, what);
}

static int send_finished_to(Client *client, const void *what) {
        return send_finished(client, what);
}

static void on_job_started(void *userdata, const StartNote *note) {
        tell_clients(userdata, note->owner, note->notify ? note->submission->client : NULL,
                send_started_to, note);
}

static void on_job_finished(void *userdata, Job *job) {
        const Submission *submission = job->submission;

        event_log_job_finished(&((Server *) userdata)->event_log, job);
        tell_clients(userdata, submission->owner, submission->notify ? submission->client : NULL,
                send_finished_to, job);
}

static int send_group_to(Client *client, const void *what) {
        return group_bus_emit_changed(client, what);
}

static void on_group_changed(void *userdata, JobGroup *group) {
        const Submission *submission = group->submission;

        tell_clients(userdata, submission->owner, submission->client, send_group_to, group);
}

/* ---- objects: to all ---- */

/* Direct links hear of objects once they have asked for any signal. */
static bool wants_broadcasts(Link *link) {
        if (!link_takes_signals(link))
                return false;
        return link->direct ? link->wants_signals || link->client->subscribed : link->owns_name;
}

static void tell_added(Server *server, const ObjectKind *kind, const void *object) {
        list_for_each (l, &server->links)
                if (wants_broadcasts(list_entry(l, Link, links)))
                        (void) object_emit_added(list_entry(l, Link, links)->bus, kind, object);
}

static void tell_removed(Server *server, const ObjectKind *kind, const void *object) {
        list_for_each (l, &server->links)
                if (wants_broadcasts(list_entry(l, Link, links)))
                        (void) object_emit_removed(list_entry(l, Link, links)->bus, kind, object);
}

static void tell_changed(Server *server, const ObjectKind *kind, const void *object, char **names) {
        list_for_each (l, &server->links)
                if (wants_broadcasts(list_entry(l, Link, links)))
                        (void) object_emit_changed(
                                list_entry(l, Link, links)->bus, kind, object, names);
}

/* Of the settings of these names, which may be changed here, those that are properties; NULL: of
 * any. */
static void tell_set(Server *server, const ObjectKind *kind, const void *object, char **names) {
        char **end = names;

        for (char **name = names; names && *name; name++)
                if (object_shows_setting(kind, *name))
                        *end++ = *name;
        if (names)
                *end = NULL;
        tell_changed(server, kind, object, names);
}

static void on_pool_added(void *userdata, Pool *pool) {
        tell_added(userdata, &pool_object, pool);
}

static void on_pool_removed(void *userdata, Pool *pool) {
        event_log_pool_removed(&((Server *) userdata)->event_log, pool);
        tell_removed(userdata, &pool_object, pool);
}

static void on_pool_set(void *userdata, Pool *pool, char **names) {
        tell_set(userdata, &pool_object, pool, names);
}

static void on_pool_changed(void *userdata, Pool *pool, PoolChange what) {
        char *names[3], **end = names;

        if (what & POOL_CHANGED_STATE) {
                event_log_pool_state(&((Server *) userdata)->event_log, pool);
                *end++ = (char *) "State";
        }
        if (what & POOL_CHANGED_WORKERS)
                *end++ = (char *) "Workers";
        *end = NULL;
        tell_changed(userdata, &pool_object, pool, names);
}

static void on_pool_scaled(void *userdata, Pool *pool, const PoolScaling *scaling) {
        event_log_pool_scaled(&((Server *) userdata)->event_log, pool, scaling);
}

static void on_pipeline_added(void *userdata, PoolPipeline *pipeline) {
        tell_added(userdata, &pipeline_object, pipeline);
}

static void on_pipeline_removed(void *userdata, PoolPipeline *pipeline) {
        tell_removed(userdata, &pipeline_object, pipeline);
}

static void on_pipeline_changed(void *userdata, PoolPipeline *pipeline, const char *property) {
        char *names[] = { (char *) property, NULL };

        tell_changed(userdata, &pipeline_object, pipeline, names);
}

static void on_limiter_added(void *userdata, SharedLimiter *limiter) {
        tell_added(userdata, &limiter_object, limiter);
}

static void on_limiter_removed(void *userdata, SharedLimiter *limiter) {
        tell_removed(userdata, &limiter_object, limiter);
}

static void on_limiter_changed(void *userdata, SharedLimiter *limiter, char **names) {
        tell_set(userdata, &limiter_object, limiter, names);
}

static void on_breaker_added(void *userdata, SharedBreaker *breaker) {
        tell_added(userdata, &breaker_object, breaker);
}

static void on_breaker_removed(void *userdata, SharedBreaker *breaker) {
        tell_removed(userdata, &breaker_object, breaker);
}

static void on_breaker_changed(void *userdata, SharedBreaker *breaker, char **names) {
        tell_set(userdata, &breaker_object, breaker, names);
}

static void on_breaker_state_changed(
        void *userdata, SharedBreaker *breaker, BreakerState old, BreakerState new) {
        char *names[] = { (char *) "State", NULL };
        Server *server = userdata;

        event_log_breaker_state(&server->event_log, breaker, old, new);
        tell_changed(server, &breaker_object, breaker, names);
        list_for_each (l, &server->links)
                if (wants_broadcasts(list_entry(l, Link, links)))
                        (void) breaker_bus_emit_state_changed(
                                list_entry(l, Link, links)->bus, breaker, old, new);
}

void signals_tell_state(Server *server) {
        list_for_each (l, &server->links)
                if (wants_broadcasts(list_entry(l, Link, links)))
                        (void) sd_bus_emit_properties_changed(list_entry(l, Link, links)->bus,
                                SLUICE_PATH, "org.sluice1.Manager", "State", NULL);
}

const EngineListener signals_listener = {
        .pool_added = on_pool_added,
        .pool_removed = on_pool_removed,
        .pool_changed = on_pool_changed,
        .pool_set = on_pool_set,
        .pool_scaled = on_pool_scaled,
        .job_started = on_job_started,
        .job_finished = on_job_finished,
        .group_changed = on_group_changed,
        .pipeline_added = on_pipeline_added,
        .pipeline_removed = on_pipeline_removed,
        .pipeline_changed = on_pipeline_changed,
        .limiter_added = on_limiter_added,
        .limiter_removed = on_limiter_removed,
        .limiter_changed = on_limiter_changed,
        .breaker_added = on_breaker_added,
        .breaker_removed = on_breaker_removed,
        .breaker_changed = on_breaker_changed,
        .breaker_state_changed = on_breaker_state_changed,
};
