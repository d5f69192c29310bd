/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.sluice1.Job. */

#include <systemd/sd-bus.h>

#include "bus/server.h"

extern const sd_bus_vtable job_vtable[];

int job_bus_add(Link *link); /* adds the interface to the connection */

#define JOB_PATH_MAX 48
char *job_bus_path(char buf[static JOB_PATH_MAX], uint64_t id); /* returns buf */

/* What is common to methods of Job and of Manager that name a job. */
int job_bus_cancel(sd_bus_message *m, Link *link, Job *job, sd_bus_error *error);
int job_bus_wait(sd_bus_message *m, Link *link, Job *job, usec_t timeout, sd_bus_error *error);

/* Cuts an output that does not fit into a reply: outputs of one reply are at most so many bytes. */
#define REPLY_SIZE_MAX ((size_t) 15 * 1024 * 1024)
