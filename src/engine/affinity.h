/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* CPUs: the set that the daemon may use, and pinning of worker threads. */

#include <sched.h>

/* The CPUs that this process could use when it was started. 0 or -errno. */
int affinity_available(cpu_set_t *ret);

/* The CPU of worker number i: the i-th of the set, round robin. The set is not empty. */
int affinity_nth(const cpu_set_t *cpus, unsigned i);

int affinity_pin(int cpu); /* pins the calling thread; 0 or -errno */
