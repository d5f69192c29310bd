/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The direct socket: handed over by systemd, or made here. */

#include <stdbool.h>

/* The socket of sluiced-unit.socket, which is the caller's. -ENOENT: systemd handed none over.
 * Before socket_open(), which forgets what was handed over. */
int socket_find_units(int *ret);

/* Opens the listening socket at `path`, or where it is by default (NULL). A socket that was handed
 * over by systemd wins. The socket is the caller's, and so is *ret_path, to be removed in the end;
 * it is NULL for one that was handed over. -ENOENT: there is no place for a default one;
 * -EADDRINUSE: somebody listens there. */
int socket_open(const char *path, bool user, int *ret, char **ret_path);
