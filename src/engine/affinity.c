/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <pthread.h>

#include "engine/affinity.h"

int affinity_available(cpu_set_t *ret) {
        cpu_set_t cpus;

        if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
                return -errno;
        *ret = cpus;
        return 0;
}

int affinity_nth(const cpu_set_t *cpus, unsigned i) {
        unsigned n = i % (unsigned) CPU_COUNT(cpus);

        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
                if (CPU_ISSET(cpu, cpus) && n-- == 0)
                        return cpu;
        return 0;
}

int affinity_pin(int cpu) {
        cpu_set_t cpus;

        CPU_ZERO(&cpus);
        CPU_SET(cpu, &cpus);
        return -pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
}
