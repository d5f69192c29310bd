/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The direct socket: D-Bus without a bus daemon. We drive its connections ourselves instead of by
 * sd_bus_attach_event(), which handles one message per turn of the loop: here a turn handles what
 * has come, up to a bound, and workers are woken once for all of it. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bus/auth.h"
#include "bus/error.h"
#include "bus/server.h"
#include "util/fd.h"
#include "util/log.h"

/* Messages of one link in one turn of the loop. */
#define MESSAGES_PER_TURN 128

/* Unwritten messages after which no more calls are read from a client, until it has read some. */
#define QUEUED_PAUSE 1024

/* Those after which one that does not read is cut off: all that it can still get are answers to
 * what it has asked before. */
#define QUEUED_MAX 4096

/* How long a connection may take to authenticate. */
#define AUTH_TIMEOUT (5 * USEC_PER_SEC)

/* Connections at a time. */
#define LINKS_MAX 1024

/* How long nobody is accepted after file descriptors have run out. */
#define ACCEPT_PAUSE (500 * USEC_PER_MSEC)

struct Listener {
        Server *server; /* borrowed */
        int fd;         /* owned */
        bool paused;
        sd_event_source *source, *pause_source;
};

/* ---- links ---- */

static bool link_is_clogged(const Link *link) {
        uint64_t n;

        return sd_bus_get_n_queued_write(link->bus, &n) >= 0 && n > QUEUED_PAUSE;
}

static int link_watch(Link *link) {
        int events = sd_bus_get_events(link->bus);

        if (events < 0)
                return events;
        if (link_is_clogged(link))
                events &= ~EPOLLIN;
        return sd_event_source_set_io_events(link->io_source, (uint32_t) events);
}

static void direct_link_process(Link *link) {
        uint64_t n_queued = 0, timeout;
        int r = 1;

        /* Processing first writes what it can, and reads only if that was nothing. */
        for (unsigned i = 0; r > 0 && i < MESSAGES_PER_TURN && (i == 0 || !link_is_clogged(link));
                i++)
                r = sd_bus_process(link->bus, NULL);
        if (r >= 0)
                r = sd_bus_get_n_queued_write(link->bus, &n_queued);
        if (r >= 0 && n_queued > QUEUED_MAX) {
                log_event(LOG_WARNING, LOG_FIELDS(.owner = &link->client->uid),
                        "A client of uid %u does not read what it asks for: cut off",
                        link->client->uid);
                r = -ENOBUFS;
        }
        if (r >= 0 && sd_bus_is_open(link->bus) <= 0)
                r = -ECONNRESET;
        if (r >= 0 && link->closing && n_queued == 0)
                r = -ESHUTDOWN;
        if (r >= 0)
                r = link_watch(link);
        if (r < 0) {
                link_close(link);
                return;
        }

        if (link->deadline_source && !link->refused && sd_bus_is_ready(link->bus) > 0)
                link->deadline_source = sd_event_source_disable_unref(link->deadline_source);
        /* What was read from the socket and not handled yet does not show on the fd. */
        if (!link_is_clogged(link) && sd_bus_get_timeout(link->bus, &timeout) >= 0 && timeout == 0)
                (void) sd_event_source_set_enabled(link->more_source, SD_EVENT_ONESHOT);
}

static int on_link_io(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        direct_link_process(userdata);
        return 0;
}

static int on_link_more(sd_event_source *source, void *userdata) {
        direct_link_process(userdata);
        return 0;
}

static int on_link_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        log_debug("A connection did not authenticate in time");
        link_close(userdata);
        return 0;
}

/* A reply that did not fit into the socket's buffer waits for the socket to be writable. */
static int on_link_prepare(sd_event_source *source, void *userdata) {
        (void) link_watch(userdata);
        return 0;
}

static bool one_is_being_refused(Server *server, const Account *account) {
        list_for_each (l, &server->links) {
                const Link *link = list_entry(l, Link, links);

                if (link->refused && link->client->account == account)
                        return true;
        }
        return false;
}

/* Counts the link for its user. One that is too many for that is told so, in answer to its first
 * call, but only one of a user at a time: what refuses must be bounded itself. */
static int link_count(Link *link) {
        Server *server = link->server;
        Account *account = link->client->account;

        if (server->n_direct <= LINKS_MAX && account_left(account, QUOTA_CONNECTIONS) > 0) {
                link->counted = true;
                account_charge(account, QUOTA_CONNECTIONS, 1);
                return 0;
        }
        if (server->n_direct > LINKS_MAX)
                log_event(LOG_WARNING, LOG_FIELDS(.owner = &account->uid),
                        "Too many direct connections: one of uid %u is refused", account->uid);
        else
                event_log_quota(account, QUOTA_CONNECTIONS);
        if (server->n_direct > LINKS_MAX || one_is_being_refused(server, account))
                return -EMFILE;
        link->refused = true;
        return 0;
}

/* The filter of a link that is one too many: its first call is its last one. */
static int refuse_call(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Link *link = userdata;
        uint8_t type;

        if (sd_bus_message_get_type(message, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL)
                return 1;
        link->closing = true;
        return bus_error(error, BUS_ERROR_QUOTA_EXCEEDED,
                "%s is %" PRIu64 ": uid %u has so many %s", quota_kind_to_string(QUOTA_CONNECTIONS),
                account_max(link->client->account, QUOTA_CONNECTIONS), link->client->uid,
                quota_kind_noun(QUOTA_CONNECTIONS));
}

static int link_start(Link *link, int fd) {
        Server *server = link->server;
        sd_id128_t id;
        char name[40];
        int r;

        (void) snprintf(name, sizeof(name), ":direct.%" PRIu64, ++server->next_direct_id);
        r = client_new(link, name, &link->client);
        if (r < 0)
                return r;
        r = auth_read_peer(link->client, fd);
        if (r < 0)
                return r;
        r = link_count(link);
        if (r < 0)
                return r;

        r = sd_id128_randomize(&id);
        if (r >= 0)
                r = sd_bus_set_server(link->bus, true, id);
        if (r >= 0)
                r = sd_bus_set_anonymous(link->bus, false);
        /* The socket's mode and group decide who can connect; those may also pass fds. */
        if (r >= 0)
                r = sd_bus_negotiate_fds(link->bus, true);
        if (r >= 0)
                r = sd_bus_set_sender(link->bus, SLUICE_BUS_NAME);
        if (r >= 0)
                r = sd_bus_set_exit_on_disconnect(link->bus, false);
        if (r >= 0)
                r = sd_bus_add_filter(
                        link->bus, NULL, link->refused ? refuse_call : driver_filter, link);
        if (r >= 0)
                r = link_add_interfaces(link);
        if (r >= 0)
                r = sd_bus_start(link->bus);
        if (r < 0)
                return r;
        link->watch_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (link->watch_fd < 0)
                return -errno;
        r = sd_event_add_io(
                server->event, &link->io_source, link->watch_fd, EPOLLIN, on_link_io, link);
        if (r >= 0)
                r = sd_event_source_set_prepare(link->io_source, on_link_prepare);
        if (r >= 0)
                r = sd_event_add_defer(server->event, &link->more_source, on_link_more, link);
        if (r >= 0)
                r = sd_event_source_set_enabled(link->more_source, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time_relative(server->event, &link->deadline_source,
                        CLOCK_MONOTONIC, AUTH_TIMEOUT, USEC_PER_SEC, on_link_deadline, link);
        return r;
}

int direct_link_new(Server *server, int fd) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        Link *link;
        int r;

        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_fd(bus, fd, fd);
        if (r < 0) {
                fd_close(fd);
                return r;
        }
        r = link_new(server, bus, &link);
        if (r < 0)
                return r;
        link->direct = true;
        server->n_direct++;
        r = link_start(link, fd);
        if (r < 0) {
                link_close(link);
                return r;
        }
        return 0;
}

/* ---- the listening socket ---- */

static int on_accept_pause_over(sd_event_source *source, uint64_t usec, void *userdata) {
        Listener *listener = userdata;

        return listener->paused ? 0 : sd_event_source_set_enabled(listener->source, SD_EVENT_ON);
}

/* Nobody can be accepted for lack of file descriptors or memory: the connection stays in the
 * backlog, and the loop does not spin. */
static void listener_rest(Listener *listener) {
        int r;

        r = sd_event_source_set_enabled(listener->source, SD_EVENT_OFF);
        if (r < 0)
                return;
        listener->pause_source = sd_event_source_disable_unref(listener->pause_source);
        r = sd_event_add_time_relative(listener->server->event, &listener->pause_source,
                CLOCK_MONOTONIC, ACCEPT_PAUSE, ACCEPT_PAUSE / 4, on_accept_pause_over, listener);
        if (r < 0)
                (void) sd_event_source_set_enabled(listener->source, SD_EVENT_ON);
}

static int on_accept(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Listener *listener = userdata;
        int client, r;

        client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (client < 0) {
                if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                        log_warning("Cannot accept a connection: %s", strerror(errno));
                        listener_rest(listener);
                }
                return 0;
        }
        r = direct_link_new(listener->server, client);
        if (r < 0)
                log_debug("A connection was not taken: %s", strerror(-r));
        return 0;
}

void listener_pause(Listener *listener, bool pause) {
        listener->paused = pause;
        (void) sd_event_source_set_enabled(listener->source, pause ? SD_EVENT_OFF : SD_EVENT_ON);
}

bool listener_has_input(const Listener *listener) {
        return !listener->paused && fd_is_readable(listener->fd);
}

int listener_new(Server *server, int fd, Listener **ret) {
        Listener *listener = calloc(1, sizeof(*listener));
        int r;

        if (!listener) {
                fd_close(fd);
                return -ENOMEM;
        }
        listener->server = server;
        listener->fd = fd;
        r = fd_nonblock(fd, true);
        if (r >= 0)
                r = sd_event_add_io(
                        server->event, &listener->source, fd, EPOLLIN, on_accept, listener);
        if (r < 0) {
                listener_free(listener);
                return r;
        }
        *ret = listener;
        return 0;
}

Listener *listener_free(Listener *listener) {
        if (!listener)
                return NULL;
        sd_event_source_disable_unref(listener->source);
        sd_event_source_disable_unref(listener->pause_source);
        fd_close(listener->fd);
        free(listener);
        return NULL;
}
