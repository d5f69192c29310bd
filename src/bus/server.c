/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "bus/auth.h"
#include "bus/breaker-bus.h"
#include "bus/call.h"
#include "bus/group-bus.h"
#include "bus/job-bus.h"
#include "bus/lease-bus.h"
#include "bus/manager-bus.h"
#include "bus/object.h"
#include "bus/polkit.h"
#include "bus/server.h"
#include "bus/signals.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/message-ids.h"

#define RECONNECT_MIN (100 * USEC_PER_MSEC)
#define RECONNECT_MAX (5 * USEC_PER_SEC)

/* Unwritten messages after which a connection gets no more signals. */
#define QUEUED_SIGNALS_MAX 1024

/* ---- clients ---- */

int client_new(Link *link, const char *name, Client **ret) {
        Client *client = calloc(1, sizeof(*client));

        if (!client)
                return -ENOMEM;
        client->link = link;
        client->uid = (uid_t) -1;
        list_init(&client->calls);
        list_init(&client->permits);
        list_init(&client->submissions);
        lease_bus_init(client);
        client->name = strdup(name);
        if (!client->name) {
                free(client);
                return -ENOMEM;
        }
        if (!link->direct)
                HASH_ADD_KEYPTR(hh, link->clients, client->name, strlen(client->name), client);
        *ret = client;
        return 0;
}

Client *client_free(Client *client) {
        Engine *engine;
        List *l;

        if (!client)
                return NULL;
        engine = client->link->server->engine;
        client_set_subscribed(client, false);
        breaker_bus_forget(client);
        while ((l = list_first(&client->calls)))
                call_free(list_entry(l, Call, links));
        lease_holder_gone(&client->leases);
        while ((l = list_pop(&client->submissions))) {
                Submission *submission = list_entry(l, Submission, links);

                submission->client = NULL;
                if (submission->bind &&
                        engine_cancel_submission(engine, submission, "its client has gone") < 0)
                        log_error("No memory to cancel the jobs of a client that has gone");
        }
        for (size_t i = 0; i < client->n_held; i++)
                sd_bus_message_unref(client->held[i]);
        free(client->held);
        sd_bus_message_unref(client->judged);
        polkit_query_free(client->query);
        sd_bus_slot_unref(client->slot);
        if (!client->link->direct)
                HASH_DEL(client->link->clients, client);
        account_unref(client->account);
        free(client->gids);
        free(client->name);
        free(client);
        return NULL;
}

void client_set_subscribed(Client *client, bool subscribed) {
        Server *server = client->link->server;

        if (client->subscribed == subscribed)
                return;
        client->subscribed = subscribed;
        if (subscribed)
                account_charge(client->account, QUOTA_SUBSCRIPTIONS, 1);
        else
                account_discharge(client->account, QUOTA_SUBSCRIPTIONS, 1);
        server->n_subscribed += subscribed ? 1 : -1U;
        engine_set_announce(server->engine, server->n_subscribed > 0);
}

int client_learn_uid(Client *client, uid_t uid) {
        Account *account = quota_account(&client->link->server->engine->quota, uid);

        if (!account)
                return -ENOMEM;
        account_unref(client->account);
        client->account = account;
        client->uid = uid;
        client->known = true;
        return 0;
}

Client *client_of(Link *link, sd_bus_message *message) {
        const char *sender;
        Client *client;

        if (link->direct)
                return link->client;
        sender = sd_bus_message_get_sender(message);
        if (!sender)
                return NULL;
        HASH_FIND_STR(link->clients, sender, client);
        return client;
}

/* ---- links ---- */

int link_new(Server *server, sd_bus *bus, Link **ret) {
        Link *link = calloc(1, sizeof(*link));

        if (!link)
                return -ENOMEM;
        link->server = server;
        link->watch_fd = -EBADF;
        link->bus = sd_bus_ref(bus);
        list_append(&server->links, &link->links);
        *ret = link;
        return 0;
}

void link_close(Link *link) {
        Client *client, *next;

        HASH_ITER (hh, link->clients, client, next)
                client_free(client);
        if (link->direct)
                link->server->n_direct--;
        if (link->counted)
                account_discharge(link->client->account, QUOTA_CONNECTIONS, 1);
        client_free(link->client);
        if (link->server->bus_link == link)
                link->server->bus_link = NULL;
        sd_event_source_disable_unref(link->io_source);
        fd_close(link->watch_fd);
        sd_event_source_disable_unref(link->more_source);
        sd_event_source_disable_unref(link->deadline_source);
        list_remove(&link->links);
        (void) sd_bus_detach_event(link->bus);
        sd_bus_close_unref(link->bus);
        free(link);
}

bool link_takes_signals(Link *link) {
        uint64_t n;

        if (link->closing || sd_bus_get_n_queued_write(link->bus, &n) < 0)
                return false;
        return n < QUEUED_SIGNALS_MAX;
}

int link_add_interfaces(Link *link) {
        int r;

        r = manager_bus_add(link);
        if (r >= 0)
                r = objects_add(link);
        if (r >= 0)
                r = job_bus_add(link);
        if (r >= 0)
                r = group_bus_add(link);
        return r;
}

/* ---- the bus ---- */

static void bus_reconnect_later(Server *server);

static int on_name_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Link *link = userdata;
        const char *name, *old, *new, *sender = sd_bus_message_get_sender(m);
        Client *client;

        /* Anybody can send us a signal of that name. */
        if (!sender || strcmp(sender, "org.freedesktop.DBus") != 0)
                return 0;
        if (sd_bus_message_read(m, "sss", &name, &old, &new) < 0 || new[0] != '\0')
                return 0;
        HASH_FIND_STR(link->clients, name, client);
        client_free(client);
        return 0;
}

static void name_is_ours(Link *link) {
        Server *server = link->server;

        if (link->owns_name)
                return;
        link->owns_name = true;
        server->reconnect_delay = RECONNECT_MIN;
        if (server->bus_was_lost)
                log_event(LOG_NOTICE, LOG_FIELDS(.message_id = MESSAGE_BUS_BACK),
                        "The bus is back, and with it the name " SLUICE_BUS_NAME);
        server->bus_was_lost = false;
        if (server->name_owned)
                server->name_owned(server->ops_userdata);
}

static int on_name_acquired(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        uint32_t answer = 0;

        ((Link *) userdata)->name_answered = true;
        if (sd_bus_message_is_method_error(reply, NULL)) {
                log_error("The bus refused the name %s: %s", SLUICE_BUS_NAME,
                        sd_bus_message_get_error(reply)->message);
                return 0;
        }
        (void) sd_bus_message_read(reply, "u", &answer);
        /* 1: it is ours; 4: it was ours already; otherwise we wait in line for it. */
        if (answer != 1 && answer != 4) {
                log_event(LOG_WARNING, LOG_FIELDS(.message_id = MESSAGE_BUS_NAME_TAKEN),
                        "Somebody else owns the bus name %s; waiting for it", SLUICE_BUS_NAME);
                return 0;
        }
        name_is_ours(userdata);
        return 0;
}

/* The name has come to us after waiting in line for it. */
static int on_name_signal(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const char *name, *sender = sd_bus_message_get_sender(m);

        if (!sender || strcmp(sender, "org.freedesktop.DBus") != 0)
                return 0;
        if (sd_bus_message_read(m, "s", &name) < 0 || strcmp(name, SLUICE_BUS_NAME) != 0)
                return 0;
        name_is_ours(userdata);
        return 0;
}

static int on_name_released(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Server *server = ((Link *) userdata)->server;

        /* Whatever the bus says: it has read the request, and what it had for us before has come.
         */
        if (server->name_released)
                server->name_released(server->ops_userdata);
        return 0;
}

static int on_bus_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Link *link = userdata;

        /* Only sd-bus itself can make a message that has no sender and this interface; what comes
         * from the bus always has a sender. The link is freed from the reconnect timer, since it is
         * in use here. */
        if (sd_bus_message_get_sender(m) &&
                strcmp(sd_bus_message_get_sender(m), "org.freedesktop.DBus.Local") != 0)
                return 0;
        log_event(LOG_WARNING, LOG_FIELDS(.message_id = MESSAGE_BUS_LOST),
                "The connection to the bus was lost");
        link->server->bus_was_lost = true;
        link->closing = true;
        if (link->server->bus_lost)
                link->server->bus_lost(link->server->ops_userdata);
        bus_reconnect_later(link->server);
        return 0;
}

static int bus_connect(Server *server) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        Link *link;
        int r;

        r = server->bus_is_user ? sd_bus_open_user(&bus) : sd_bus_open_system(&bus);
        if (r < 0)
                return r;
        r = link_new(server, bus, &link);
        if (r < 0)
                return r;

        r = auth_add_filter(link);
        if (r >= 0)
                r = link_add_interfaces(link);
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, "org.freedesktop.DBus.Local", NULL,
                        "org.freedesktop.DBus.Local", "Disconnected", on_bus_disconnected, NULL,
                        link);
        /* One match for all callers: a bus allows only so many, and their round trips would cost.
         */
        if (r >= 0)
                r = sd_bus_add_match_async(bus, NULL,
                        "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                        "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''",
                        on_name_owner_changed, NULL, link);
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, "org.freedesktop.DBus",
                        "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameAcquired",
                        on_name_signal, NULL, link);
        if (r >= 0)
                r = sd_bus_request_name_async(
                        bus, NULL, SLUICE_BUS_NAME, SD_BUS_NAME_QUEUE, on_name_acquired, link);
        if (r >= 0)
                r = sd_bus_attach_event(bus, server->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0) {
                link_close(link);
                return r;
        }
        server->bus_link = link;
        return 0;
}

static int on_reconnect(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *server = userdata;
        int r;

        if (server->bus_link)
                link_close(server->bus_link);
        r = bus_connect(server);
        if (r < 0) {
                log_debug("Still no bus: %s", strerror(-r));
                bus_reconnect_later(server);
        }
        return 0;
}

static void bus_reconnect_later(Server *server) {
        usec_t delay = server->reconnect_delay;
        int r;

        server->reconnect_delay = MIN(delay * 2, RECONNECT_MAX);
        server->reconnect_source = sd_event_source_disable_unref(server->reconnect_source);
        r = sd_event_add_time_relative(server->event, &server->reconnect_source, CLOCK_MONOTONIC,
                delay, delay / 10, on_reconnect, server);
        if (r < 0)
                log_error_errno(r, "Cannot wait for the bus to come back");
}

int server_connect_bus(Server *server, bool user) {
        server->bus_is_wanted = true;
        server->bus_is_user = user;
        return bus_connect(server);
}

static Link *living_bus_link(const Server *server) {
        return server->bus_link && !server->bus_link->closing ? server->bus_link : NULL;
}

int server_release_name(Server *server) {
        Link *link = living_bus_link(server);

        if (!link || sd_bus_release_name_async(
                             link->bus, NULL, SLUICE_BUS_NAME, on_name_released, link) < 0)
                return 0;
        link->owns_name = false;
        return 1;
}

void server_request_name(Server *server) {
        Link *link = living_bus_link(server);
        int r;

        if (!link)
                return;
        r = sd_bus_request_name_async(
                link->bus, NULL, SLUICE_BUS_NAME, SD_BUS_NAME_QUEUE, on_name_acquired, link);
        if (r < 0)
                log_error_errno(r, "Cannot ask for the bus name " SLUICE_BUS_NAME);
}

bool server_owns_name(const Server *server) {
        const Link *link = server->bus_link;

        return link && !link->closing && link->owns_name;
}

/* ---- server ---- */

int server_new(Engine *engine, const ServerOps *ops, void *userdata, Server **ret) {
        Server *server = calloc(1, sizeof(*server));
        uint8_t id[16];

        if (!server)
                return -ENOMEM;
        server->event = sd_event_ref(engine->event);
        server->engine = engine;
        server->ops = ops;
        server->ops_userdata = userdata;
        server->reconnect_delay = RECONNECT_MIN;
        list_init(&server->links);
        event_log_init(&server->event_log, engine);
        if (getrandom(id, sizeof(id), 0) == (ssize_t) sizeof(id))
                for (size_t i = 0; i < sizeof(id); i++)
                        (void) snprintf(server->direct_id + 2 * i, 3, "%02x", id[i]);
        engine_set_listener(engine, &signals_listener, server);
        *ret = server;
        return 0;
}

/* ---- idleness ---- */

static bool client_is_idle(const Client *client) {
        return client->n_calls == 0 && client->n_permits == 0 && client->n_held == 0 &&
               !client->slot && list_is_empty(&client->leases.leases);
}

bool server_is_idle(const Server *server) {
        const Link *link = living_bus_link(server);
        const Client *client, *next;

        if (server->n_direct > 0 || server->n_subscribed > 0 || (link && !link->name_answered))
                return false;
        if (link)
                HASH_ITER (hh, link->clients, client, next)
                        if (!client_is_idle(client))
                                return false;
        return true;
}

bool server_asks_who(const Server *server) {
        const Link *link = living_bus_link(server);
        const Client *client, *next;

        if (link)
                HASH_ITER (hh, link->clients, client, next)
                        if (client->first_is_back || client->slot)
                                return true;
        return false;
}

bool server_has_input(const Server *server) {
        const Link *link = living_bus_link(server);
        uint64_t n;

        if (server->listener && listener_has_input(server->listener))
                return true;
        return link && ((sd_bus_get_n_queued_read(link->bus, &n) >= 0 && n > 0) ||
                               fd_is_readable(sd_bus_get_fd(link->bus)));
}

int server_listen(Server *server, int fd) {
        return listener_new(server, fd, &server->listener);
}

void server_stop_listening(Server *server) {
        server->listener = listener_free(server->listener);
}

void server_pause_listening(Server *server, bool pause) {
        if (server->listener)
                listener_pause(server->listener, pause);
}

void server_flush(Server *server, usec_t timeout) {
        usec_t end = usec_add(usec_now(CLOCK_MONOTONIC), timeout);

        /* At the very end nothing else is to be done, so waiting is fine. */
        list_for_each (l, &server->links) {
                Link *link = list_entry(l, Link, links);
                uint64_t n;

                while (!link->closing && sd_bus_is_ready(link->bus) > 0 &&
                        sd_bus_get_n_queued_write(link->bus, &n) >= 0 && n > 0) {
                        usec_t now = usec_now(CLOCK_MONOTONIC);

                        if (now >= end || sd_bus_process(link->bus, NULL) < 0)
                                break;
                        if (sd_bus_get_n_queued_write(link->bus, &n) >= 0 && n > 0)
                                (void) sd_bus_wait(link->bus, MIN(end - now, 10 * USEC_PER_MSEC));
                }
        }
}

Server *server_free(Server *server) {
        if (!server)
                return NULL;
        engine_set_listener(server->engine, NULL, NULL);
        listener_free(server->listener);
        list_for_each (l, &server->links)
                link_close(list_entry(l, Link, links));
        sd_event_source_disable_unref(server->reconnect_source);
        event_log_done(&server->event_log);
        sd_event_unref(server->event);
        free(server);
        return NULL;
}
