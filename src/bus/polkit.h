/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* PolkitQuery: polkit is asked whether a caller on the system bus may manage. Main thread only. */

#include "bus/server.h"

typedef struct PolkitQuery PolkitQuery;

typedef enum PolkitVerdict {
        POLKIT_DENIED,    /* also if there is nobody to ask, or no sense in the answer */
        POLKIT_CHALLENGE, /* only after a prompt, which the caller does not want */
        POLKIT_ALLOWED,
} PolkitVerdict;

/* Asks for the owner of the unique name `sender`, who may be prompted if `interactive`. done() is
 * told once, later, unless the query is freed before; the query is the caller's in any case. 0 or
 * -errno. */
int polkit_ask(Link *link, const char *sender, bool interactive,
        void (*done)(void *userdata, PolkitVerdict verdict), void *userdata, PolkitQuery **ret);

/* One that was not answered is called off, and so is its prompt. NULL is fine; returns NULL. */
PolkitQuery *polkit_query_free(PolkitQuery *query);
