/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Leases: jobs that are handed to whoever asks for them, one slot for each. Whoever has one is its
 * LeaseHolder, by id and token, until the job is completed or given back, the holder goes, or time
 * runs out. Those who ask when there is nothing wait in one line. Main thread only, without any
 * lock. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/heap.h"
#include "util/list.h"
#include "util/time.h"

typedef struct Lease Lease;
typedef struct LeaseDesk LeaseDesk;
typedef struct LeaseHolder LeaseHolder;
typedef struct LeaseWatch LeaseWatch;
typedef struct Pool Pool;
typedef struct Worker Worker;

/* One call can have so many. */
#define LEASES_MAX 1000

/* What one call gets are up to so many bytes, each job counted with LEASE_OVERHEAD of its own; or
 * one job of any size. */
#define LEASE_BYTES_MAX ((size_t) 15 * 1024 * 1024)
#define LEASE_OVERHEAD 64

/* Of a job that is leased; part of its slot. */
struct Lease {
        uint64_t id, token;
        LeaseHolder *holder; /* borrowed; NULL = not leased */
        List links;          /* in LeaseHolder.leases */
        Lease *next;         /* in the desk, of those with the same hash */
};

/* Whoever has leases. Embedded by its owner, who calls lease_holder_gone() before it goes. */
struct LeaseHolder {
        List leases; /* Lease.links */

        /* The lease is to end soon: somebody has cancelled its job, for that reason. */
        void (*stopping)(LeaseHolder *holder, Pool *pool, const Lease *lease, const char *reason);
};

/* Somebody waits for jobs. Embedded by its owner, who may leave with lease_unwatch(). */
struct LeaseWatch {
        List links;
        HeapLink by_deadline;
        Pool *pool;          /* borrowed; NULL = waits for nothing */
        LeaseHolder *holder; /* borrowed: whose they are to be */
        size_t max;
        usec_t deadline; /* USEC_INFINITY = none */

        /* The watch is out of the line. 0: here are n leases, n = 0 if the time was over; the array
         * is good until this returns. -ESHUTDOWN: the daemon stops. -ENOENT: the pool goes. */
        void (*done)(LeaseWatch *watch, int result, Lease *const *leases, size_t n);
};

/* What has become of a call that names a lease. */
typedef enum LeaseAnswer {
        LEASE_DONE,
        LEASE_STALE,     /* there is no such lease of this holder; nothing was changed */
        LEASE_CANCELLED, /* its job was cancelled, so it is over now */
} LeaseAnswer;

int lease_desk_new(Pool *pool, LeaseDesk **ret); /* 0 or -ENOMEM */
LeaseDesk *lease_desk_free(LeaseDesk *desk);     /* nobody waits any more; returns NULL */

/* Its leases end: the jobs go back to the queue, and what was tried counts. It waits for nothing
 * any more. */
void lease_holder_gone(LeaseHolder *holder);

/* May anybody lease there? 0, or the result that those who wait are told. */
int lease_refusal(const Pool *pool);

/* Leases up to `max` (1 to LEASES_MAX) jobs that can be had now, in the usual order, to the holder.
 * None while others wait. Returns how many; the array is good until the next call of anything here.
 */
size_t lease_take(Pool *pool, LeaseHolder *holder, size_t max, Lease *const **ret);

/* Waits until there is one, and then for as many as there are. `timeout` > 0, USEC_INFINITY = for
 * ever. */
void lease_watch_init(LeaseWatch *watch);
void lease_wait(Pool *pool, LeaseHolder *holder, size_t max, usec_t timeout, LeaseWatch *watch,
        void (*done)(LeaseWatch *watch, int result, Lease *const *leases, size_t n));
void lease_unwatch(LeaseWatch *watch); /* fine for one that waits for nothing */
uint32_t lease_n_waiting(const Pool *pool);

/* The job of the lease, and which attempt at it this is. */
const Job *lease_job(const Lease *lease);
uint32_t lease_attempt(const Lease *lease);

/* The caller could not be told of it after all: as lease_release() without a delay. */
void lease_give_back(Lease *lease);

/* The attempt has succeeded, with this output, or failed, with this text. The bytes are copied. A
 * success counts also for a job that was cancelled meanwhile. LeaseAnswer or -ENOMEM. */
int lease_complete(Pool *pool, LeaseHolder *holder, uint64_t id, uint64_t token, bool ok,
        const void *output, size_t size);

/* It has failed; `fatal`: another attempt would be no use. */
LeaseAnswer lease_fail(
        Pool *pool, LeaseHolder *holder, uint64_t id, uint64_t token, bool fatal, const char *text);

/* The job goes back to the queue, where it can be had after `delay`. That was no attempt. */
LeaseAnswer lease_release(
        Pool *pool, LeaseHolder *holder, uint64_t id, uint64_t token, usec_t delay);

/* The job has all of its run time-out left again. */
LeaseAnswer lease_touch(Pool *pool, LeaseHolder *holder, uint64_t id, uint64_t token);

/* Those who wait are told that nothing comes any more: -ESHUTDOWN or -ENOENT, as in LeaseWatch. */
void lease_refuse_waiting(Pool *pool, int result);

/* ---- for the engine ---- */

void lease_timer(Pool *pool, usec_t now); /* some may have waited for long enough */
void lease_slot_woken(Worker *slot);
void lease_slot_stop(Worker *slot); /* what it has was cancelled, or is over its time */
