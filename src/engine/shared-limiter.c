/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Workers take tokens by themselves as long as nobody waits in line. Whoever is in line is served
 * by the main thread, when the timer says that there is something to serve: first under the
 * limiter's lock, then, without it, pool by pool and watch by watch. In between a pool can leave
 * the line and give its credit back, but it cannot go away, since only the main thread frees it. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Without this uthash ends the process where memory runs out. */
#define HASH_NONFATAL_OOM 1

#include "engine/assignments.h"
#include "engine/engine-private.h"
#include "engine/limiter-config.h"
#include "engine/shared-limiter.h"
#include "util/mutex.h"

/* As that of the mailbox: what lets work go on comes before new work. */
#define SERVE_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 10)

static void shared_limiter_serve(SharedLimiter *limiter) {
        List pools = LIST_INIT(pools), watches = LIST_INIT(watches);
        Engine *engine = limiter->engine;
        LimiterWaiter *waiter;
        List *l;

        mutex_lock(&limiter->lock);
        while ((waiter = limiter_serve(&limiter->limiter, usec_now(CLOCK_MONOTONIC)))) {
                if (waiter->is_pool) {
                        PoolGates *gates = container_of(waiter, PoolGates, waiter);

                        if (!list_is_linked(&gates->served))
                                list_append(&pools, &gates->served);
                } else {
                        AcquireWatch *watch = container_of(waiter, AcquireWatch, waiter);

                        watch->result = waiter->failed ? -EMSGSIZE : 0;
                        list_append(&watches, &watch->done_links);
                }
        }
        shared_limiter_arm(limiter);
        mutex_unlock(&limiter->lock);

        while ((l = list_pop(&pools))) {
                Pool *pool = container_of(list_entry(l, PoolGates, served), Pool, gates);

                pool_gates_served(pool);
                pool->is_to_wake = engine->wake_pools = true;
        }
        while ((l = list_pop(&watches))) {
                AcquireWatch *watch = list_entry(l, AcquireWatch, done_links);

                watch->limiter = NULL;
                watch->done(watch, watch->result);
        }
}

static int on_timer(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        SharedLimiter *limiter = userdata;

        mutex_lock(&limiter->lock);
        timer_acknowledge(&limiter->timer);
        mutex_unlock(&limiter->lock);
        shared_limiter_serve(limiter);
        return 0;
}

/* ---- what the store has of them ---- */

static SharedLimiter *limiter_of_row(const ObjectRow *row) {
        return container_of(row, SharedLimiter, row);
}

static const char *name_of_row(const ObjectRow *row) {
        return limiter_of_row(row)->name;
}

/* That of a pool is in the pool's row. */
static bool row_is_kept(const ObjectRow *row) {
        return !limiter_of_row(row)->from_file && !limiter_of_row(row)->of_pool;
}

static void describe_row(const ObjectRow *row, StoredObject *ret, FILE *settings) {
        assignments_print(
                settings, &limiter_of_row(row)->settings, limiter_settings, n_limiter_settings);
}

static const ObjectRowKind row_kind = {
        .noun = "limiter",
        .name = name_of_row,
        .is_kept = row_is_kept,
        .describe = describe_row,
};

/* ---- life ---- */

static SharedLimiter *shared_limiter_free(SharedLimiter *limiter) {
        if (!limiter)
                return NULL;
        sd_event_source_disable_unref(limiter->source);
        timer_done(&limiter->timer);
        (void) pthread_mutex_destroy(&limiter->lock);
        free(limiter->name);
        free(limiter);
        return NULL;
}

DEFINE_CLEANUP(SharedLimiter *, shared_limiter_free)

SharedLimiter *engine_find_limiter(Engine *engine, const char *name) {
        SharedLimiter *limiter;

        HASH_FIND(by_name, engine->limiters_by_name, name, strlen(name), limiter);
        return limiter;
}

int engine_add_limiter(
        Engine *engine, const char *name, const LimiterConfig *settings, SharedLimiter **ret) {
        _cleanup_(shared_limiter_freep) SharedLimiter *limiter = NULL;
        const LimiterConfig resolved = limiter_config_resolve(settings);
        int r;

        if (engine_find_limiter(engine, name))
                return -EEXIST;
        limiter = calloc(1, sizeof(*limiter));
        if (!limiter)
                return -ENOMEM;
        *limiter = (SharedLimiter){
                .name = strdup(name),
                .settings = *settings,
                .engine = engine,
                .timer.fd = -EBADF,
        };
        object_row_init(&limiter->row, &row_kind);
        (void) pthread_mutex_init(&limiter->lock, NULL);
        if (!limiter->name)
                return -ENOMEM;
        limiter_init(&limiter->limiter, &resolved, usec_now(CLOCK_MONOTONIC));

        r = timer_init(&limiter->timer);
        if (r >= 0)
                r = sd_event_add_io(engine->event, &limiter->source, limiter->timer.fd, EPOLLIN,
                        on_timer, limiter);
        if (r >= 0)
                r = sd_event_source_set_priority(limiter->source, SERVE_PRIORITY);
        if (r < 0)
                return r;
        HASH_ADD_KEYPTR(
                by_name, engine->limiters_by_name, limiter->name, strlen(limiter->name), limiter);
        if (!limiter->by_name.tbl)
                return -ENOMEM;
        list_append(&engine->limiters, &limiter->links);
        if (engine->listener && engine->listener->limiter_added)
                engine->listener->limiter_added(engine->listener_userdata, limiter);
        if (ret)
                *ret = limiter;
        limiter = NULL; /* the engine's now */
        return 0;
}

/* Takes the first Acquire out of the line. */
static AcquireWatch *next_in_line(SharedLimiter *limiter) {
        AcquireWatch *watch = NULL;
        List *l;

        mutex_lock(&limiter->lock);
        l = list_first(&limiter->limiter.waiters);
        if (l) {
                watch = container_of(list_entry(l, LimiterWaiter, links), AcquireWatch, waiter);
                limiter_leave(&limiter->limiter, &watch->waiter);
        }
        mutex_unlock(&limiter->lock);
        return watch;
}

int engine_remove_limiter(Engine *engine, SharedLimiter *limiter) {
        AcquireWatch *watch;

        if (limiter->n_users > 0)
                return -EBUSY;
        if (engine_prepare_removal(engine, &limiter->row) < 0)
                return -ENOMEM;
        engine_forget(engine, &limiter->row);
        /* Nobody finds it any more, so nobody joins the line. */
        HASH_DELETE(by_name, engine->limiters_by_name, limiter);
        list_remove(&limiter->links);
        while ((watch = next_in_line(limiter))) {
                watch->limiter = NULL;
                watch->done(watch, -ECANCELED);
        }
        if (engine->listener && engine->listener->limiter_removed)
                engine->listener->limiter_removed(engine->listener_userdata, limiter);
        shared_limiter_free(limiter);
        return 0;
}

void engine_retire_limiter(Engine *engine, SharedLimiter *limiter) {
        limiter->goes = true;
        (void) engine_remove_limiter(engine, limiter);
}

/* ---- changes ---- */

void engine_set_limiter(Engine *engine, SharedLimiter *limiter, const LimiterConfig *settings) {
        const LimiterConfig resolved = limiter_config_resolve(settings);
        _cleanup_free_ char **names = setting_differences(
                &limiter->limiter.config, &resolved, limiter_settings, n_limiter_settings);

        limiter->settings = *settings;
        limiter->touched = true;
        mutex_lock(&limiter->lock);
        limiter_set(&limiter->limiter, &resolved, usec_now(CLOCK_MONOTONIC));
        mutex_unlock(&limiter->lock);
        if (engine->listener && engine->listener->limiter_changed)
                engine->listener->limiter_changed(engine->listener_userdata, limiter, names);
        if (limiter->of_pool)
                engine_own_gate_changed(engine, limiter->name);
        else
                engine_keep(engine, &limiter->row);
        shared_limiter_serve(limiter);
}

void shared_limiter_drain(SharedLimiter *limiter) {
        mutex_lock(&limiter->lock);
        limiter_drain(&limiter->limiter, usec_now(CLOCK_MONOTONIC));
        shared_limiter_arm(limiter);
        mutex_unlock(&limiter->lock);
}

void shared_limiter_hold(SharedLimiter *limiter, usec_t span) {
        usec_t until = span == 0 ? 0 : usec_add(usec_now(CLOCK_MONOTONIC), span);

        mutex_lock(&limiter->lock);
        limiter_hold(&limiter->limiter, until);
        shared_limiter_arm(limiter);
        mutex_unlock(&limiter->lock);
}

/* ---- tokens ---- */

void shared_limiter_view(SharedLimiter *limiter, LimiterView *ret) {
        mutex_lock(&limiter->lock);
        *ret = (LimiterView){
                .tokens = limiter_tokens(&limiter->limiter, usec_now(CLOCK_MONOTONIC)),
                .n_waiters = limiter->limiter.n_waiters,
                .granted = limiter->limiter.granted,
                .denied = limiter->limiter.denied,
        };
        mutex_unlock(&limiter->lock);
}

LimiterVerdict shared_limiter_try(SharedLimiter *limiter, uint64_t n, usec_t *ret_wait) {
        LimiterVerdict verdict;
        usec_t now, at;

        mutex_lock(&limiter->lock);
        now = usec_now(CLOCK_MONOTONIC);
        verdict = limiter_try(&limiter->limiter, now, n, &at);
        mutex_unlock(&limiter->lock);
        *ret_wait = verdict == LIMITER_TAKEN ? 0 : usec_sub(at, now);
        return verdict;
}

void acquire_watch_init(AcquireWatch *watch, void (*done)(AcquireWatch *watch, int result)) {
        *watch = (AcquireWatch){ .done = done };
        list_init(&watch->waiter.links);
        list_init(&watch->done_links);
}

int shared_limiter_acquire(SharedLimiter *limiter, uint64_t n, AcquireWatch *watch) {
        LimiterVerdict verdict;
        usec_t at;

        mutex_lock(&limiter->lock);
        verdict = limiter_take(&limiter->limiter, usec_now(CLOCK_MONOTONIC), n, &at);
        if (verdict == LIMITER_WAIT) {
                limiter_wait(&limiter->limiter, &watch->waiter, n);
                shared_limiter_arm(limiter);
                watch->limiter = limiter;
        }
        mutex_unlock(&limiter->lock);
        return verdict == LIMITER_TAKEN ? 0 : verdict == LIMITER_WAIT ? 1 : -EMSGSIZE;
}

void acquire_leave(AcquireWatch *watch) {
        SharedLimiter *limiter = TAKE_PTR(watch->limiter);

        list_remove(&watch->done_links);
        if (!limiter)
                return;
        mutex_lock(&limiter->lock);
        limiter_leave(&limiter->limiter, &watch->waiter);
        shared_limiter_arm(limiter);
        mutex_unlock(&limiter->lock);
}
