/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who may do what. The uid of a caller comes from the bus daemon, asynchronously and once per
 * connection, or from SO_PEERCRED; never from a message. Main thread only. */

#include <stdbool.h>

#include "bus/server.h"
#include "engine/engine.h"

/* Makes the filter of a bus link. A message whose sender is not known yet is held until the bus
 * daemon has told the sender's uid; one that would manage something, and is not root's, until
 * polkit has said whether it may. All later ones of the same sender are held behind it, and put
 * back in order. So handlers, setters and find callbacks always know who asks, and
 * auth_may_manage() what polkit says, of that one message. */
int auth_add_filter(Link *link);

/* Learns uid and gids of the peer of a direct link. */
int auth_read_peer(Client *client, int fd);

bool auth_is_root(const Client *client); /* root, or the user that we run as */

/* Is it a job, or a group, of this client, or may the client see all? */
bool auth_may_see(const Client *client, const Job *job);
bool auth_may_see_group(const Client *client, const JobGroup *group);

/* 0, or the error. */
int auth_may_submit(const Client *client, const Pool *pool, sd_bus_error *error);

/* To a pipeline: whoever may submit to each of its stages. */
int auth_may_submit_items(const Client *client, const PoolPipeline *pipeline, sd_bus_error *error);
/* To lease is to see the payloads of all owners. */
int auth_may_lease(const Client *client, const Pool *pool, sd_bus_error *error);
int auth_may_take(const Client *client, sd_bus_error *error); /* tokens and permits */
int auth_may_manage(const Client *client, sd_bus_error *error);
