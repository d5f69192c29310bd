/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Stays with a job until it has finished: copies what it writes, tells of its start, and turns
 * Ctrl-C into a cancel. */

#include <stdint.h>
#include <systemd/sd-bus.h>

#include "ctl/ctl.h"
#include "ctl/job-end.h"

typedef struct Follow Follow;

struct Follow {
        Ctl *ctl; /* borrowed */
        uint64_t id;
        int output; /* a pipe that the job writes to, copied to standard output; -EBADF = none */
        sd_bus_slot *signals;
        bool told_end; /* a JobFinished was printed */
        int signal;    /* the one that made us cancel the job; 0 = none */
        JobEnd end;    /* valid once follow_job() returned 0 */
        int result;
};

void follow_done(Follow *follow);
#define _cleanup_follow_ _cleanup_(follow_done)

/* From now on JobStarted and JobFinished are printed. Before the submit, so that none is missed. */
int follow_signals(Follow *follow);

/* Returns 0 once the job has finished, 128 + the number of a signal that came twice, or a negative
 * errno. */
int follow_job(Follow *follow);
