/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Workers ask and report by themselves, under the breaker's lock. Where that changes what others
 * would be answered, the timer is made to fire at once, and the main thread tells all pools that
 * use the breaker, one after the other and without its lock. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Without this uthash ends the process where memory runs out. */
#define HASH_NONFATAL_OOM 1

#include "engine/assignments.h"
#include "engine/breaker-config.h"
#include "engine/engine-private.h"
#include "engine/shared-breaker.h"
#include "util/mutex.h"

/* As that of the mailbox: what lets work go on comes before new work. */
#define TELL_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 10)

/* The permits of others, which end in the order in which they were given out, are known to the main
 * thread alone. It arms for the first one when that is given out, and again whenever the timer has
 * fired. With the lock held. */
static void arm_for_permits(SharedBreaker *breaker) {
        const List *l = list_first(&breaker->permits);

        if (l)
                timer_arm(&breaker->timer, list_entry(l, BreakerPermit, links)->ends_at);
}

static void tell(SharedBreaker *breaker) {
        Engine *engine = breaker->engine;
        BreakerState old = breaker->told_state, state;

        mutex_lock(&breaker->lock);
        (void) breaker_advance(&breaker->breaker, usec_now(CLOCK_MONOTONIC));
        state = breaker->breaker.state;
        shared_breaker_arm(breaker, /* at_once= */ false);
        arm_for_permits(breaker);
        mutex_unlock(&breaker->lock);

        breaker->told_state = state;
        list_for_each (l, &engine->pools) {
                Pool *pool = list_entry(l, Pool, links);

                if (pool->gates.breaker != breaker)
                        continue;
                pool_gates_opened(pool);
                pool->is_to_wake = engine->wake_pools = true;
                engine_refuse_queued(engine, pool);
        }
        if (state != old && engine->listener && engine->listener->breaker_state_changed)
                engine->listener->breaker_state_changed(
                        engine->listener_userdata, breaker, old, state);
}

static int on_timer(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        SharedBreaker *breaker = userdata;

        mutex_lock(&breaker->lock);
        timer_acknowledge(&breaker->timer);
        mutex_unlock(&breaker->lock);
        shared_breaker_end_overdue(breaker, usec_now(CLOCK_MONOTONIC));
        tell(breaker);
        return 0;
}

/* ---- what the store has of them ---- */

static SharedBreaker *breaker_of_row(const ObjectRow *row) {
        return container_of(row, SharedBreaker, row);
}

static const char *name_of_row(const ObjectRow *row) {
        return breaker_of_row(row)->name;
}

/* That of a pool is in the pool's row. */
static bool row_is_kept(const ObjectRow *row) {
        return !breaker_of_row(row)->from_file && !breaker_of_row(row)->of_pool;
}

static void describe_row(const ObjectRow *row, StoredObject *ret, FILE *settings) {
        assignments_print(settings, &breaker_of_row(row)->breaker.config, breaker_settings,
                n_breaker_settings);
}

static const ObjectRowKind row_kind = {
        .noun = "breaker",
        .name = name_of_row,
        .is_kept = row_is_kept,
        .describe = describe_row,
};

/* ---- life ---- */

static SharedBreaker *shared_breaker_free(SharedBreaker *breaker) {
        if (!breaker)
                return NULL;
        sd_event_source_disable_unref(breaker->source);
        timer_done(&breaker->timer);
        breaker_done(&breaker->breaker);
        (void) pthread_mutex_destroy(&breaker->lock);
        free(breaker->name);
        free(breaker);
        return NULL;
}

DEFINE_CLEANUP(SharedBreaker *, shared_breaker_free)

SharedBreaker *engine_find_breaker(Engine *engine, const char *name) {
        SharedBreaker *breaker;

        HASH_FIND(by_name, engine->breakers_by_name, name, strlen(name), breaker);
        return breaker;
}

int engine_add_breaker(
        Engine *engine, const char *name, const BreakerConfig *config, SharedBreaker **ret) {
        _cleanup_(shared_breaker_freep) SharedBreaker *breaker = NULL;
        int r;

        if (engine_find_breaker(engine, name))
                return -EEXIST;
        breaker = calloc(1, sizeof(*breaker));
        if (!breaker)
                return -ENOMEM;
        *breaker = (SharedBreaker){
                .name = strdup(name),
                .engine = engine,
                .timer.fd = -EBADF,
        };
        list_init(&breaker->permits);
        object_row_init(&breaker->row, &row_kind);
        (void) pthread_mutex_init(&breaker->lock, NULL);
        if (!breaker->name)
                return -ENOMEM;
        r = breaker_init(&breaker->breaker, config);
        if (r >= 0)
                r = timer_init(&breaker->timer);
        if (r >= 0)
                r = sd_event_add_io(engine->event, &breaker->source, breaker->timer.fd, EPOLLIN,
                        on_timer, breaker);
        if (r >= 0)
                r = sd_event_source_set_priority(breaker->source, TELL_PRIORITY);
        if (r < 0)
                return r;
        breaker->told_state = breaker->breaker.state;
        log_limit_init(&breaker->log_limit, OBJECT_LOG_LINES, OBJECT_LOG_INTERVAL);
        HASH_ADD_KEYPTR(
                by_name, engine->breakers_by_name, breaker->name, strlen(breaker->name), breaker);
        if (!breaker->by_name.tbl)
                return -ENOMEM;
        list_append(&engine->breakers, &breaker->links);
        if (engine->listener && engine->listener->breaker_added)
                engine->listener->breaker_added(engine->listener_userdata, breaker);
        if (ret)
                *ret = breaker;
        breaker = NULL; /* the engine's now */
        return 0;
}

/* Takes the permit out of the holder's hands. */
static void end_permit(BreakerPermit *permit) {
        list_remove(&permit->links);
        permit->breaker = NULL;
}

int engine_remove_breaker(Engine *engine, SharedBreaker *breaker) {
        List *l;

        if (breaker->n_users > 0)
                return -EBUSY;
        if (engine_prepare_removal(engine, &breaker->row) < 0)
                return -ENOMEM;
        engine_forget(engine, &breaker->row);
        HASH_DELETE(by_name, engine->breakers_by_name, breaker);
        list_remove(&breaker->links);
        while ((l = list_first(&breaker->permits))) {
                BreakerPermit *permit = list_entry(l, BreakerPermit, links);

                end_permit(permit);
                permit->gone(permit);
        }
        if (engine->listener && engine->listener->breaker_removed)
                engine->listener->breaker_removed(engine->listener_userdata, breaker);
        shared_breaker_free(breaker);
        return 0;
}

void engine_retire_breaker(Engine *engine, SharedBreaker *breaker) {
        breaker->goes = true;
        (void) engine_remove_breaker(engine, breaker);
}

/* ---- changes ---- */

int engine_set_breaker(Engine *engine, SharedBreaker *breaker, const BreakerConfig *config) {
        _cleanup_free_ char **names = setting_differences(
                &breaker->breaker.config, config, breaker_settings, n_breaker_settings);
        int r;

        mutex_lock(&breaker->lock);
        r = breaker_set(&breaker->breaker, config);
        mutex_unlock(&breaker->lock);
        if (r < 0)
                return r;
        breaker->touched = true;
        if (engine->listener && engine->listener->breaker_changed)
                engine->listener->breaker_changed(engine->listener_userdata, breaker, names);
        if (breaker->of_pool)
                engine_own_gate_changed(engine, breaker->name);
        else
                engine_keep(engine, &breaker->row);
        tell(breaker);
        return 0;
}

int shared_breaker_trip(SharedBreaker *breaker) {
        bool done;

        mutex_lock(&breaker->lock);
        done = breaker_trip(&breaker->breaker, usec_now(CLOCK_MONOTONIC));
        mutex_unlock(&breaker->lock);
        if (!done)
                return -EPERM;
        tell(breaker);
        return 0;
}

int shared_breaker_reset(SharedBreaker *breaker) {
        bool done;

        mutex_lock(&breaker->lock);
        done = breaker_reset(&breaker->breaker);
        mutex_unlock(&breaker->lock);
        if (!done)
                return -EPERM;
        tell(breaker);
        return 0;
}

void shared_breaker_view(SharedBreaker *breaker, BreakerView *ret) {
        usec_t now = usec_now(CLOCK_MONOTONIC);

        mutex_lock(&breaker->lock);
        *ret = (BreakerView){
                .config = breaker->breaker.config,
                .state = breaker_state(&breaker->breaker, now),
                .failures = breaker->breaker.failures,
                .in_flight = breaker_in_flight(&breaker->breaker),
                .trips = breaker->breaker.trips,
                .retry_after = breaker_retry_after(&breaker->breaker, now),
        };
        mutex_unlock(&breaker->lock);
}

uint64_t shared_breaker_room(SharedBreaker *breaker, usec_t now) {
        uint64_t room;

        mutex_lock(&breaker->lock);
        room = breaker_room(&breaker->breaker, now);
        mutex_unlock(&breaker->lock);
        return room;
}

/* ---- permits of others ---- */

static uint64_t ask(SharedBreaker *breaker, usec_t now) {
        BreakerState old;
        uint64_t permit;

        mutex_lock(&breaker->lock);
        old = breaker->breaker.state;
        (void) breaker_ask(&breaker->breaker, now, &permit);
        if (breaker->breaker.state != old)
                shared_breaker_arm(breaker, /* at_once= */ true);
        mutex_unlock(&breaker->lock);
        return permit;
}

static void report(SharedBreaker *breaker, uint64_t permit, bool succeeded, usec_t now) {
        mutex_lock(&breaker->lock);
        if (breaker_report(&breaker->breaker, permit, succeeded, now))
                shared_breaker_arm(breaker, /* at_once= */ true);
        mutex_unlock(&breaker->lock);
}

void breaker_permit_report(BreakerPermit *permit, bool succeeded) {
        SharedBreaker *breaker = permit->breaker;

        end_permit(permit);
        report(breaker, permit->permit, succeeded, usec_now(CLOCK_MONOTONIC));
}

void shared_breaker_end_overdue(SharedBreaker *breaker, usec_t now) {
        List *l;

        while ((l = list_first(&breaker->permits))) {
                BreakerPermit *permit = list_entry(l, BreakerPermit, links);

                if (permit->ends_at > now)
                        return;
                end_permit(permit);
                report(breaker, permit->permit, /* succeeded= */ false, now);
                permit->gone(permit);
        }
}

bool shared_breaker_allow(SharedBreaker *breaker, BreakerPermit *permit) {
        usec_t now = usec_now(CLOCK_MONOTONIC);

        permit->permit = ask(breaker, now);
        if (permit->permit == 0)
                return false;
        permit->breaker = breaker;
        permit->ends_at = usec_add(now, BREAKER_PERMIT_USEC);
        list_append(&breaker->permits, &permit->links);
        mutex_lock(&breaker->lock);
        arm_for_permits(breaker);
        mutex_unlock(&breaker->lock);
        return true;
}
