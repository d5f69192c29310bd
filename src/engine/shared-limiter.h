/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* SharedLimiter: a Limiter with a name, a lock and a timer, for the pools that use it and for those
 * who ask for tokens without any pool. Main thread, unless it says otherwise. */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>
#include <uthash.h>

#include "core/limiter.h"
#include "engine/object-row.h"
#include "engine/timer.h"
#include "util/list.h"

typedef struct AcquireWatch AcquireWatch;
typedef struct Engine Engine;
typedef struct LimiterView LimiterView;
typedef struct SharedLimiter SharedLimiter;

struct SharedLimiter {
        /* Main thread only. */
        char *name;
        LimiterConfig settings; /* see engine/limiter-config.h */
        List links;             /* among the limiters of the engine, by age */
        bool goes;              /* with the last pool that uses it */
        bool of_pool;           /* one pool's own */
        bool from_file;         /* made by the settings file with this digest */
        bool touched;           /* its settings were changed since; whoever reads files clears it */
        uint64_t digest;
        ObjectRow row;
        uint32_t n_users;        /* pools */
        Engine *engine;          /* borrowed */
        sd_event_source *source; /* owned: of the timer */
        UT_hash_handle by_name;  /* in Engine.limiters_by_name */

        /* Guards everything below. Taken with a pool's lock held; under it only the lock of a
         * breaker is taken, by those who ask both (engine/gates.h). */
        pthread_mutex_t lock;
        Limiter limiter;
        Timer timer; /* armed by any thread, for limiter_wake_at() */
};

/* Somebody waits for tokens. Embedded by its owner, who may leave with acquire_leave(). */
struct AcquireWatch {
        LimiterWaiter waiter;
        SharedLimiter *limiter; /* borrowed; NULL = waits for nothing */
        List done_links;
        int result;

        /* 0: it has the tokens. -EMSGSIZE: they are more than the new burst. -ECANCELED: the
         * limiter is being removed. The watch is out of the line. */
        void (*done)(AcquireWatch *watch, int result);
};

/* The figures of one moment, consistent with each other. */
struct LimiterView {
        uint64_t tokens;
        uint32_t n_waiters;
        uint64_t granted, denied;
};

/* Makes a limiter by settings that are complete. 0, -EEXIST, or another -errno. */
int engine_add_limiter(
        Engine *engine, const char *name, const LimiterConfig *settings, SharedLimiter **ret);
SharedLimiter *engine_find_limiter(Engine *engine, const char *name); /* NULL if there is none */

/* Those who wait for tokens are told so. 0, -EBUSY while a pool uses it, or -ENOMEM. */
int engine_remove_limiter(Engine *engine, SharedLimiter *limiter);

/* Removes it now, or with the last pool that uses it. */
void engine_retire_limiter(Engine *engine, SharedLimiter *limiter);

/* Changes the settings, which are complete, while it is used. */
void engine_set_limiter(Engine *engine, SharedLimiter *limiter, const LimiterConfig *settings);

void shared_limiter_drain(SharedLimiter *limiter);
void shared_limiter_hold(SharedLimiter *limiter, usec_t span); /* 0 ends it */
void shared_limiter_view(SharedLimiter *limiter, LimiterView *ret);

/* Takes n >= 1 tokens now. If not, *ret_wait is how long until it could be. */
LimiterVerdict shared_limiter_try(SharedLimiter *limiter, uint64_t n, usec_t *ret_wait);

/* Takes n >= 1 tokens, now: 0, or when it is the turn of the watch: 1. -EMSGSIZE: they are more
 * than the burst. */
int shared_limiter_acquire(SharedLimiter *limiter, uint64_t n, AcquireWatch *watch);
void acquire_watch_init(AcquireWatch *watch, void (*done)(AcquireWatch *watch, int result));
void acquire_leave(AcquireWatch *watch); /* fine for one that waits for nothing */

/* What has become of it may let somebody in: asks again when that is. With the lock held; any
 * thread. */
static inline void shared_limiter_arm(SharedLimiter *limiter) {
        timer_arm(&limiter->timer, limiter_wake_at(&limiter->limiter));
}
