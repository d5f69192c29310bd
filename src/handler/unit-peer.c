/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The socket by which payloads go to units and their outputs come back. systemd connects a
 * command's standard input and output to it, as root and in the process that becomes the command.
 * So its pid says whose peer it is, once systemd has told which processes a unit has. That may be
 * before the connection is accepted or long after: a peer waits until it is known, or until every
 * job is done that had begun when it came. */

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "handler/unit-call.h"
#include "util/fd.h"

#define READ_SIZE ((size_t) 64 * 1024)

struct UnitPeer {
        List links; /* in Units.peers, or in those of its call */
        Units *units;
        HandlerCall *call; /* NULL = not known yet */
        uint64_t before;   /* it belongs to a call that began before that one */
        pid_t pid;
        int fd;                  /* owned */
        sd_event_source *source; /* owned; NULL = not listened to */
};

static void peer_free(UnitPeer *peer) {
        if (peer->call && peer->call->main == peer)
                peer->call->main = NULL;
        list_remove(&peer->links);
        sd_event_source_disable_unref(peer->source);
        (void) fd_close(peer->fd);
        free(peer);
}

void unit_peers_free(List *peers) {
        list_for_each (l, peers)
                peer_free(list_entry(l, UnitPeer, links));
}

/* ---- what is written and read ---- */

/* Writes as much of the payload as there is room for; its end is the end of the input. */
static void write_payload(UnitPeer *peer) {
        HandlerCall *call = peer->call;
        const Attempt *attempt = call->attempt;

        while (call->written < attempt->payload_size) {
                ssize_t n = send(peer->fd, (const char *) attempt->payload + call->written,
                        attempt->payload_size - call->written, MSG_DONTWAIT | MSG_NOSIGNAL);

                if (n < 0 && errno == EAGAIN)
                        return;
                /* A command need not read what it is given. */
                if (n < 0)
                        break;
                call->written += (size_t) n;
        }
        (void) shutdown(peer->fd, SHUT_WR);
        (void) sd_event_source_set_io_events(peer->source, EPOLLIN);
}

static bool make_room(HandlerCall *call) {
        uint64_t max = call->handler->config->output_max;
        size_t room = MAX(call->output_room * 2, READ_SIZE);
        char *output;

        if (call->output_size < call->output_room)
                return true;
        /* One more than may be, to see that there is more. */
        if (room > max)
                room = (size_t) max + 1;
        output = realloc(call->output, room);
        if (!output) {
                call->out_of_memory = true;
                return false;
        }
        call->output = output;
        call->output_room = room;
        return true;
}

/* Reads once. False: there is nothing (more) now, or never. */
static bool read_output(UnitPeer *peer) {
        HandlerCall *call = peer->call;
        ssize_t n;

        if (call->overflown || call->out_of_memory)
                return false;
        if (!make_room(call)) {
                unit_call_overflow(call);
                return false;
        }
        n = recv(peer->fd, call->output + call->output_size,
                MIN(READ_SIZE, call->output_room - call->output_size), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
                return true;
        if (n <= 0) {
                if (n == 0 || errno != EAGAIN)
                        peer->source = sd_event_source_disable_unref(peer->source);
                return false;
        }
        call->output_size += (size_t) n;
        if (call->output_size > call->handler->config->output_max) {
                call->output_size = (size_t) call->handler->config->output_max;
                call->overflown = true;
                unit_call_overflow(call);
                return false;
        }
        return true;
}

/* What is not the job's output, as that of ExecStartPre=, goes nowhere. */
static bool discard_output(UnitPeer *peer) {
        char buffer[4096];
        ssize_t n = recv(peer->fd, buffer, sizeof(buffer), MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
                peer->source = sd_event_source_disable_unref(peer->source);
                return false;
        }
        return n > 0;
}

static int on_peer(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        UnitPeer *peer = userdata;
        bool is_main = peer->call->main == peer;

        if (events & EPOLLOUT)
                write_payload(peer);
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                if (!is_main || peer->call->overflown || peer->call->out_of_memory)
                        (void) discard_output(peer);
                else
                        (void) read_output(peer);
        }
        return 0;
}

void unit_call_read_rest(HandlerCall *call) {
        while (call->main && call->main->source && read_output(call->main))
                ;
}

/* ---- whose it is ---- */

static bool peer_join(UnitPeer *peer, HandlerCall *call) {
        bool is_main = !call->main && call->end.main_pid == peer->pid;

        if (!is_main && call->end.control_pid != peer->pid)
                return false;
        if (sd_event_add_io(peer->units->event, &peer->source, peer->fd,
                    is_main ? EPOLLIN | EPOLLOUT : EPOLLIN, on_peer, peer) < 0)
                return false;
        peer->call = call;
        list_remove(&peer->links);
        list_append(&call->peers, &peer->links);
        if (is_main)
                call->main = peer;
        else
                (void) shutdown(peer->fd, SHUT_WR);
        return true;
}

void unit_call_find_peers(HandlerCall *call) {
        list_for_each (l, &call->handler->units->peers)
                (void) peer_join(list_entry(l, UnitPeer, links), call);
}

void units_drop_peers(Units *units) {
        List *first = list_first(&units->calls);

        (void) sd_event_source_set_enabled(units->listen_source, SD_EVENT_ON);
        list_for_each (l, &units->peers) {
                UnitPeer *peer = list_entry(l, UnitPeer, links);

                if (!first || list_entry(first, HandlerCall, links)->number >= peer->before)
                        peer_free(peer);
        }
}

/* Takes over the fd. */
static void peer_new(Units *units, int owned_fd) {
        _cleanup_close_ int fd = owned_fd;
        struct ucred credentials;
        socklen_t size = sizeof(credentials);
        UnitPeer *peer;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0 ||
                credentials.uid != units->peer_uid || list_is_empty(&units->calls))
                return;
        peer = malloc(sizeof(*peer));
        if (!peer)
                return;
        *peer = (UnitPeer){
                .units = units,
                .before = units->next_call,
                .pid = credentials.pid,
                .fd = TAKE_FD(fd),
        };
        list_append(&units->peers, &peer->links);
        list_for_each (l, &units->calls)
                if (peer_join(peer, list_entry(l, HandlerCall, links)))
                        return;
}

void units_accept(Units *units) {
        for (;;) {
                int fd = accept4(units->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd >= 0)
                        peer_new(units, fd);
                else if (errno == EAGAIN)
                        return;
                else if (errno != EINTR && errno != ECONNABORTED) {
                        /* There are too many fds: there may be fewer once a call has ended. */
                        (void) sd_event_source_set_enabled(units->listen_source, SD_EVENT_OFF);
                        return;
                }
        }
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        units_accept(userdata);
        return 0;
}

int units_listen(Units *units) {
        int r;

        r = fd_nonblock(units->listen_fd, true);
        if (r < 0)
                return r;
        return sd_event_add_io(units->event, &units->listen_source, units->listen_fd, EPOLLIN,
                on_connection, units);
}
