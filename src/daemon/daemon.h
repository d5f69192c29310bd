/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Daemon: wires engine, server and settings together, and sees them through start, reload and stop.
 * Main thread only. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "bus/server.h"
#include "daemon/config.h"
#include "engine/engine.h"

typedef struct Daemon Daemon;
typedef struct DaemonOptions DaemonOptions;

/* The command line. */
struct DaemonOptions {
        bool user; /* session bus and the user's own folders */
        bool no_bus;
        char *listen;  /* owned: path of the direct socket; NULL = the default of the scope */
        char *state;   /* owned: folder of the durable state; NULL = the default of the scope */
        char **dirs;   /* owned: search path of settings */
        int log_level; /* negative = as sluiced.conf says */
        usec_t idle_timeout; /* exits when there was nothing to do for so long; USEC_INFINITY =
                                never */
};

/* Starts everything: settings, pools, direct socket, bus. Logs what goes wrong. */
int daemon_new(const DaemonOptions *options, Daemon **ret);

/* Runs until it was told to stop. 0 or -errno. */
int daemon_run(Daemon *daemon);
Daemon *daemon_free(Daemon *daemon); /* returns NULL */

DEFINE_CLEANUP(Daemon *, daemon_free)
