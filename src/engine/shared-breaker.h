/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* SharedBreaker: a Breaker with a name, a lock and a timer, for the pools that use it and for those
 * who share it without any pool. Main thread, unless it says otherwise. */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>
#include <uthash.h>

#include "core/breaker.h"
#include "core/log-limit.h"
#include "engine/object-row.h"
#include "engine/timer.h"
#include "util/list.h"

typedef struct BreakerPermit BreakerPermit;
typedef struct BreakerView BreakerView;
typedef struct Engine Engine;
typedef struct SharedBreaker SharedBreaker;

struct SharedBreaker {
        /* Main thread only. */
        char *name;
        List links;   /* among the breakers of the engine, by age */
        bool goes;    /* with the last pool that uses it */
        bool of_pool; /* one pool's own */
        bool from_file;
        bool touched;    /* its settings were changed since; whoever reads files clears it */
        uint64_t digest; /* of that file */
        ObjectRow row;
        uint32_t n_users;        /* pools */
        List permits;            /* BreakerPermit.links: those of others than pools, by age */
        BreakerState told_state; /* what listeners and pools were told last */
        LogLimit log_limit;      /* of lines about its state */
        Engine *engine;          /* borrowed */
        sd_event_source *source; /* owned: of the timer */
        UT_hash_handle by_name;  /* in Engine.breakers_by_name */

        /* Guards everything below. A leaf: taken with a pool's lock held, and a limiter's, and
         * nothing is taken under it. */
        pthread_mutex_t lock;
        Breaker breaker;
        Timer timer; /* armed by any thread: for breaker_wake_at(), and at once when pools are to
                        ask again; by main for the end of a permit */
};

/* A permit that is held by somebody who is no pool. It counts as a failure after
 * BREAKER_PERMIT_USEC. */
struct BreakerPermit {
        List links;             /* in the breaker's permits */
        SharedBreaker *breaker; /* borrowed */
        uint64_t permit;
        void (*gone)(BreakerPermit *permit); /* it was ended for its holder: by time, or with the
                                                breaker; its memory is the holder's */
        usec_t ends_at;
};

#define BREAKER_PERMIT_USEC (60 * USEC_PER_SEC)

/* The figures of one moment, consistent with each other. */
struct BreakerView {
        BreakerConfig config;
        BreakerState state;
        uint32_t failures, in_flight;
        uint64_t trips;
        usec_t retry_after;
};

/* 0, -EEXIST, or another -errno. */
int engine_add_breaker(
        Engine *engine, const char *name, const BreakerConfig *config, SharedBreaker **ret);
SharedBreaker *engine_find_breaker(Engine *engine, const char *name); /* NULL if there is none */
int engine_remove_breaker(
        Engine *engine, SharedBreaker *breaker); /* 0, -EBUSY if used, or -ENOMEM */
void engine_retire_breaker(Engine *engine, SharedBreaker *breaker); /* now, or once unused */
int engine_set_breaker(
        Engine *engine, SharedBreaker *breaker, const BreakerConfig *config); /* 0 or -ENOMEM */

/* By hand; -EPERM unless the mode is auto. */
int shared_breaker_trip(SharedBreaker *breaker);
int shared_breaker_reset(SharedBreaker *breaker);
void shared_breaker_view(SharedBreaker *breaker, BreakerView *ret);

/* Asks for one call: true with the permit in the holder's hands, false if it may not start. */
bool shared_breaker_allow(SharedBreaker *breaker, BreakerPermit *permit);
void breaker_permit_report(BreakerPermit *permit, bool succeeded); /* and it is over */

/* Ends the permits that are over their time at `now`, as the timer does. */
void shared_breaker_end_overdue(SharedBreaker *breaker, usec_t now);

/* What has become of it is answered differently from now on, which pools are to hear of at once; or
 * will be, when it is time for that. With the lock held; any thread. */
static inline void shared_breaker_arm(SharedBreaker *breaker, bool at_once) {
        timer_arm(&breaker->timer, at_once ? 0 : breaker_wake_at(&breaker->breaker));
}

uint64_t shared_breaker_room(SharedBreaker *breaker, usec_t now); /* any thread; breaker_room() */
