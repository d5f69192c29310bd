/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bus/auth.h"
#include "bus/error.h"
#include "bus/object.h"
#include "bus/polkit.h"
#include "engine/job-group.h"
#include "util/log.h"

/* Calls of one sender that are held. */
#define HELD_MAX 64

/* ---- learning who it is ---- */

static int read_gids(sd_bus_message *m, Client *client) {
        gid_t *copy;
        const void *gids;
        size_t size;
        int r;

        r = sd_bus_message_enter_container(m, 'v', "au");
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(m, 'u', &gids, &size);
        if (r < 0)
                return r;
        copy = malloc(size + sizeof(gid_t));
        if (!copy)
                return -ENOMEM;
        free(client->gids);
        client->gids = size > 0 ? memcpy(copy, gids, size) : copy;
        client->n_gids = size / sizeof(gid_t);
        return sd_bus_message_exit_container(m);
}

/* Reads the answer of GetConnectionCredentials. Without a uid the caller stays unknown. */
static int read_credentials(sd_bus_message *m, Client *client) {
        bool have_uid = false;
        uint32_t uid;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                const char *key;

                r = sd_bus_message_read(m, "s", &key);
                if (r < 0)
                        return r;
                if (strcmp(key, "UnixUserID") == 0) {
                        r = sd_bus_message_read(m, "v", "u", &uid);
                        have_uid = r >= 0;
                } else if (strcmp(key, "UnixGroupIDs") == 0)
                        r = read_gids(m, client);
                else
                        r = sd_bus_message_skip(m, "v");
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : have_uid ? client_learn_uid(client, uid) : -ENODATA;
}

int auth_read_peer(Client *client, int fd) {
        struct ucred cred;
        socklen_t size = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
                return -errno;
        size = 0;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) < 0 && errno != ERANGE)
                return -errno;
        /* The main group is not among the others. */
        client->gids = malloc(size + sizeof(gid_t));
        if (!client->gids)
                return -ENOMEM;
        if (size > 0 && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, client->gids, &size) < 0)
                return -errno;
        client->n_gids = size / sizeof(gid_t);
        client->gids[client->n_gids++] = cred.gid;
        return client_learn_uid(client, cred.uid);
}

/* ---- what polkit is asked about ---- */

/* All methods whose handlers ask auth_may_manage(). One that is missing here is root's alone. */
static const struct {
        const char *interface;
        const char *members[16];
} managed[] = {
        { "org.sluice1.Manager",
                { "CreatePool", "CreatePipeline", "CreateLimiter", "CreateBreaker", "RemovePool",
                        "RemovePipeline", "RemoveLimiter", "RemoveBreaker", "Reload" } },
        { "org.sluice1.Pool", { "Pause", "Resume", "Drain", "Clear", "Kick", "Set" } },
        { "org.sluice1.Pipeline", { "Drain", "Resume", "Set" } },
        { "org.sluice1.Limiter", { "TryAcquire", "Acquire", "Drain", "Hold", "Set" } },
        { "org.sluice1.Breaker", { "Trip", "Reset", "Allow", "Set" } },
};

/* A call may leave its interface out: then it is any that has the method. */
static bool is_managed(const char *interface, const char *member) {
        for (size_t i = 0; i < ELEMENTSOF(managed); i++) {
                if (interface && strcmp(managed[i].interface, interface) != 0)
                        continue;
                for (const char *const *m = managed[i].members; *m; m++)
                        if (strcmp(*m, member) == 0)
                                return true;
        }
        return false;
}

static bool sets_setting(sd_bus_message *m) {
        const char *interface, *property;
        bool sets;

        if (!sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "Set"))
                return false;
        sets = sd_bus_message_read(m, "ss", &interface, &property) > 0 &&
               object_is_setting(interface, property);
        return sd_bus_message_rewind(m, true) >= 0 && sets;
}

/* On the session bus all are one user, and there is no polkit. On a direct link there is no name
 * that polkit could know the caller by. */
static bool is_for_polkit(const Client *client, sd_bus_message *m) {
        if (client->link->direct || client->link->server->bus_is_user || auth_is_root(client))
                return false;
        return is_managed(sd_bus_message_get_interface(m), sd_bus_message_get_member(m)) ||
               sets_setting(m);
}

/* ---- holding messages ---- */

static void advance(Client *client);

static void held_drop_first(Client *client) {
        sd_bus_message_unref(client->held[0]);
        memmove(client->held, client->held + 1, --client->n_held * sizeof(*client->held));
}

static int held_add(Client *client, sd_bus_message *message) {
        if (client->n_held >= HELD_MAX)
                return -ENOBUFS;
        if (!client->held) {
                client->held = calloc(HELD_MAX, sizeof(*client->held));
                if (!client->held)
                        return -ENOMEM;
        }
        client->held[client->n_held++] = sd_bus_message_ref(message);
        return 0;
}

static void on_polkit(void *userdata, PolkitVerdict verdict) {
        Client *client = userdata;

        client->query = polkit_query_free(client->query);
        sd_bus_message_unref(client->judged);
        client->judged = sd_bus_message_ref(client->held[0]);
        client->verdict = verdict;
        advance(client);
}

static int on_credentials(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Client *client = userdata;
        int r = -EACCES;

        client->slot = sd_bus_slot_unref(client->slot);
        if (!sd_bus_message_is_method_error(reply, NULL))
                r = read_credentials(reply, client);
        if (r < 0) {
                /* Nobody knows who that is: denied, and asked anew with the next message. It may
                 * well be gone, and then nobody will tell us so again. */
                for (size_t i = 0; i < client->n_held; i++)
                        bus_reply_error(client->held[i], BUS_ERROR_ACCESS_DENIED,
                                "The bus daemon did not say who you are");
                client_free(client);
                return 0;
        }
        advance(client);
        return 0;
}

static int ask_credentials(Client *client) {
        return sd_bus_call_method_async(client->link->bus, &client->slot, "org.freedesktop.DBus",
                "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionCredentials",
                on_credentials, client, "s", client->name);
}

/* What has to be known before the message may be handled is asked for. True if the answer comes
 * later. */
static bool ask_about(Client *client, sd_bus_message *message) {
        bool interactive = sd_bus_message_get_allow_interactive_authorization(message) > 0;

        /* What could not be asked about is as what was denied. */
        return is_for_polkit(client, message) && client->judged != message &&
               polkit_ask(client->link, client->name, interactive, on_polkit, client,
                       &client->query) >= 0;
}

/* Puts the first one back into the connection's queue, if nothing is left to be asked about it. It
 * comes to the filter again from there, and the next one follows then: behind it, whoever else's
 * messages are between them. */
static void advance(Client *client) {
        if (client->n_held == 0 || !client->known || client->first_is_back || client->query ||
                ask_about(client, client->held[0]))
                return;
        client->first_is_back = sd_bus_enqueue_for_read(client->link->bus, client->held[0]) >= 0;
}

static int hold(Client *client, sd_bus_message *message) {
        int r;

        r = held_add(client, message);
        if (r < 0) {
                bus_reply_error(message, BUS_ERROR_LIMITS_EXCEEDED,
                        "More than %d calls wait until it is known who you are, and what you may "
                        "do",
                        HELD_MAX);
                return 1;
        }
        if (client->known)
                advance(client);
        else if (!client->slot && ask_credentials(client) < 0) {
                held_drop_first(client);
                bus_reply_error(
                        message, BUS_ERROR_ACCESS_DENIED, "Cannot ask the bus daemon who you are");
        }
        return 1;
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Link *link = userdata;
        const char *sender;
        Client *client;
        uint8_t type;

        if (sd_bus_message_get_type(message, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL)
                return 0;
        sender = sd_bus_message_get_sender(message);
        if (!sender)
                return 0;
        client = client_of(link, message);
        if (!client && client_new(link, sender, &client) < 0) {
                bus_reply_error(message, BUS_ERROR_NO_MEMORY, "Out of memory");
                return 1;
        }
        /* The one before it has been handled. */
        if (client->judged && client->n_held == 0)
                client->judged = sd_bus_message_unref(client->judged);
        if (client->known && client->n_held == 0 && !is_for_polkit(client, message))
                return 0;
        if (client->first_is_back && message == client->held[0]) {
                held_drop_first(client);
                client->first_is_back = false;
                advance(client);
                return 0;
        }
        /* It came from the socket while it, or one of this sender before it, has to wait. */
        return hold(client, message);
}

int auth_add_filter(Link *link) {
        return sd_bus_add_filter(link->bus, NULL, on_message, link);
}

/* ---- rights ---- */

bool auth_is_root(const Client *client) {
        return client && client->known && (client->uid == 0 || client->uid == geteuid());
}

static bool may_see(const Client *client, const Submission *submission) {
        return auth_is_root(client) ||
               (client && client->known && client->uid == submission->owner);
}

bool auth_may_see(const Client *client, const Job *job) {
        return may_see(client, job->submission);
}

bool auth_may_see_group(const Client *client, const JobGroup *group) {
        return may_see(client, group->submission);
}

static bool is_among(
        const Client *client, const uid_t *uids, size_t n_uids, const gid_t *gids, size_t n_gids) {
        if (!client || !client->known)
                return false;
        for (size_t i = 0; i < n_uids; i++)
                if (uids[i] == client->uid)
                        return true;
        for (size_t i = 0; i < n_gids; i++)
                for (size_t j = 0; j < client->n_gids; j++)
                        if (gids[i] == client->gids[j])
                                return true;
        return false;
}

int auth_may_submit(const Client *client, const Pool *pool, sd_bus_error *error) {
        const PoolConfig *config = pool->config;

        if (auth_is_root(client) || is_among(client, config->allow_uids, config->n_allow_uids,
                                            config->allow_gids, config->n_allow_gids))
                return 0;
        return bus_error(error, BUS_ERROR_ACCESS_DENIED,
                "You may not submit to pool %s: AllowUsers= and AllowGroups= of the pool say who "
                "may",
                pool->config->name);
}

int auth_may_lease(const Client *client, const Pool *pool, sd_bus_error *error) {
        const PoolConfig *config = pool->config;

        if (auth_is_root(client) || is_among(client, config->lease_uids, config->n_lease_uids,
                                            config->lease_gids, config->n_lease_gids))
                return 0;
        return bus_error(error, BUS_ERROR_ACCESS_DENIED,
                "You may not lease jobs of pool %s: AllowUsers= and AllowGroups= in the section "
                "[Lease] of the pool say who may",
                config->name);
}

int auth_may_submit_items(const Client *client, const PoolPipeline *pipeline, sd_bus_error *error) {
        int r = 0;

        for (uint32_t i = 0; r >= 0 && i < pipeline->pipeline.n_stages; i++)
                r = auth_may_submit(client, pipeline->stages[i], error);
        return r;
}

int auth_may_manage(const Client *client, sd_bus_error *error) {
        PolkitVerdict verdict = POLKIT_DENIED;

        if (auth_is_root(client))
                return 0;
        /* What was said of one message is not said of any other. */
        if (client && client->judged &&
                client->judged == sd_bus_get_current_message(client->link->bus))
                verdict = (PolkitVerdict) client->verdict;
        if (verdict == POLKIT_ALLOWED)
                return 0;
        if (verdict == POLKIT_CHALLENGE)
                return bus_error(error, BUS_ERROR_AUTHORIZATION_REQUIRED,
                        "This needs an interactive authorization, which the call does not allow, "
                        "or "
                        "for which there was nobody");
        return bus_error(error, BUS_ERROR_ACCESS_DENIED,
                "Only root, the user of sluiced, and whom polkit allows org.sluice1.manage on the "
                "system bus may do this");
}

int auth_may_take(const Client *client, sd_bus_error *error) {
        return auth_may_manage(client, error);
}
