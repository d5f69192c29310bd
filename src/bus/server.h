/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Server: org.sluice1 on all its connections. A Link is one connection, to a bus daemon or from a
 * client of the direct socket; a Client is one caller on a link, with its uid. Main thread only. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <uthash.h>

#include "bus/event-log.h"
#include "engine/engine.h"
#include "engine/lease.h"
#include "util/list.h"

typedef struct Client Client;
typedef struct Link Link;
typedef struct Listener Listener;
typedef struct Server Server;
typedef struct ServerOps ServerOps;

#define SLUICE_BUS_NAME "org.sluice1"
#define SLUICE_PATH "/org/sluice1"

/* The flag of every method: who may do what is ours to decide. sd-bus looks for it at each member,
 * and without it lets nobody but root call. */
#define ANYBODY SD_BUS_VTABLE_UNPRIVILEGED

/* What the server asks of the daemon. */
struct ServerOps {
        /* Re-reads all settings, all or nothing. 0, or -errno with a text that lists all faults. */
        int (*reload)(void *userdata, char **ret_error);
};

struct Server {
        sd_event *event; /* shared */
        Engine *engine;  /* borrowed */
        const ServerOps *ops;
        void *ops_userdata;
        Fairness fairness; /* of pools that are made without saying it */
        List links;        /* Link.links; owned */
        uint32_t n_direct; /* direct links */
        uint64_t next_direct_id;
        uint64_t last_permit;       /* the id that was given out last */
        uint64_t last_polkit_query; /* the same */
        uint32_t n_subscribed;      /* clients */
        char direct_id[33];         /* what GetId answers on the direct socket */
        EventLog event_log;
        Listener *listener; /* owned; NULL = no direct socket */
        bool bus_is_wanted; /* a lost bus connection is made anew */
        bool bus_is_user;   /* the session bus instead of the system bus */
        bool bus_was_lost;  /* and was not told to be back */
        Link *bus_link;     /* borrowed from links; NULL = none at the moment */
        sd_event_source *reconnect_source;
        usec_t reconnect_delay;
        void (*name_owned)(void *userdata);    /* told each time that the name has become ours */
        void (*name_released)(void *userdata); /* by server_release_name() */
        void (*bus_lost)(void *userdata);
};

/* What a find callback has found, for the methods and getters that sd-bus calls next. */
typedef struct Found {
        Link *link;   /* borrowed */
        void *object; /* borrowed */
} Found;

#define OBJECT_KIND_MAX 4

/* What the callbacks for one kind of object are given; see bus/object.h. */
typedef struct ObjectNode {
        Link *link;                    /* borrowed */
        const struct ObjectKind *kind; /* static */
} ObjectNode;

struct Link {
        List links;
        Server *server; /* borrowed */
        sd_bus *bus;    /* owned */
        bool direct;
        ObjectNode nodes[OBJECT_KIND_MAX];
        Found found;

        /* Direct links. */
        Client *client; /* owned: the only one */
        int watch_fd;   /* owned: a second fd of the socket, see direct.c */
        sd_event_source *io_source, *more_source, *deadline_source;
        bool wants_signals; /* it has asked for matches */
        bool counted;       /* against the quota of its user */
        bool refused;       /* it is one too many, and is told so before it is closed */
        bool closing;

        /* Bus links. */
        Client *clients; /* owned: by unique name */
        bool owns_name;
        bool name_answered; /* the bus has said whether the name is ours, or whose */
};

struct Client {
        Link *link; /* borrowed */
        char *name; /* owned: unique name on the link */
        bool known; /* uid and gids have been learned */
        uid_t uid;
        Account *account; /* shared: of this uid; not NULL once it is known */
        gid_t *gids;      /* owned */
        size_t n_gids;
        bool subscribed;
        List calls; /* Call.links: calls that wait for an answer; owned */
        uint32_t n_calls;
        List permits; /* of breakers, see breaker-bus.c; owned */
        uint32_t n_permits;
        List submissions;   /* Submission.links: those that end or change with the client */
        LeaseHolder leases; /* of jobs, see lease-bus.c */
        /* Messages that wait, in order, see auth.c: the first one until it is known who that is,
         * and whether that may be done; the others for the first one. */
        sd_bus_message **held; /* owned */
        size_t n_held;
        bool first_is_back;        /* in the connection's queue */
        sd_bus_slot *slot;         /* owned: the question for the uid */
        struct PolkitQuery *query; /* owned: the question about the first one */
        sd_bus_message *judged; /* owned: the first one, or the one that is handled right now, … */
        int verdict;            /* … and the PolkitVerdict on it */
        UT_hash_handle hh;
};

int server_new(Engine *engine, const ServerOps *ops, void *userdata, Server **ret);
Server *server_free(Server *server); /* closes everything; returns NULL */

/* Connects to the bus and asks for the name; name_owned() is told when it is ours. A connection
 * that is lost is made anew, with growing pauses. */
int server_connect_bus(Server *server, bool user);

bool server_owns_name(const Server *server); /* on a bus that is connected */

/* Gives the name back. 1: name_released() is told when all that was sent to it before has come. 0:
 * there is nothing to give back. */
int server_release_name(Server *server);
void server_request_name(Server *server); /* again */

/* Does nobody wait for anything, and does nothing end with a client? */
bool server_is_idle(const Server *server);

/* Calls are held until it is known whose they are, or are on their way back from that. */
bool server_asks_who(const Server *server);

/* Has something come that was not looked at yet? */
bool server_has_input(const Server *server);

/* Serves the listening socket `fd`, which it takes over in any case. */
int server_listen(Server *server, int fd);
void server_stop_listening(Server *server);
void server_pause_listening(Server *server, bool pause); /* those who connect have to wait */

/* Flushes what is still to be written, for at most `timeout`, at the very end. */
void server_flush(Server *server, usec_t timeout);

/* ---- links ---- */

int link_new(Server *server, sd_bus *bus, Link **ret); /* takes a ref of bus; adds all interfaces */
void link_close(Link *link);                           /* forgets its clients and frees it */

/* May signals be sent to it? Not to one that does not read: then they are lost to it. */
bool link_takes_signals(Link *link);

/* Adds the vtables of all interfaces (manager-bus.c, object.c, job-bus.c, group-bus.c). */
int link_add_interfaces(Link *link);

/* A direct link from an accepted socket, which it takes over in any case. */
int direct_link_new(Server *server, int fd);

/* Answers org.freedesktop.DBus on a direct link. 0 = not a message for it. */
int driver_filter(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* ---- clients ---- */

int client_new(Link *link, const char *name, Client **ret);
Client *client_free(
        Client *client); /* forgets its calls, cancels what is bound to it; returns NULL */
void client_set_subscribed(Client *client, bool subscribed);

/* From now on it is known, as one of this user. 0 or -ENOMEM. */
int client_learn_uid(Client *client, uid_t uid);

/* Who sent the message. Not NULL for a message that has passed the filter. */
Client *client_of(Link *link, sd_bus_message *message);

/* ---- listening socket ---- */

/* Takes the fd over in any case. */
int listener_new(Server *server, int fd, Listener **ret);
Listener *listener_free(Listener *listener); /* returns NULL */
void listener_pause(Listener *listener, bool pause);
bool listener_has_input(const Listener *listener);
