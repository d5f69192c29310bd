/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pools come, change and go. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Without this uthash ends the process where memory runs out. */
#define HASH_NONFATAL_OOM 1

#include "engine/breaker-config.h"
#include "engine/engine-private.h"
#include "engine/lease.h"
#include "engine/limiter-config.h"
#include "engine/worker.h"
#include "util/log.h"

Pool *engine_find_pool(Engine *engine, const char *name) {
        Pool *pool;

        HASH_FIND(by_name, engine->by_name, name, strlen(name), pool);
        return pool;
}

/* ---- what the store has of them ---- */

static Pool *pool_of_row(const ObjectRow *row) {
        return container_of(row, Pool, row);
}

static const char *name_of_row(const ObjectRow *row) {
        return pool_of_row(row)->config->name;
}

static bool row_is_kept(const ObjectRow *row) {
        const Pool *pool = pool_of_row(row);

        return !pool->origin || pool->store;
}

static void describe_row(const ObjectRow *row, StoredObject *ret, FILE *settings) {
        const Pool *pool = pool_of_row(row);

        ret->digest = pool->origin ? pool->digest : 0;
        if (!row_is_kept(row))
                return;
        pool_config_print(pool->refit ?: pool->config, pool->origin, settings);
        ret->paused = pool->paused;
        ret->draining = pool->draining;
}

static const ObjectRowKind row_kind = {
        .noun = "pool",
        .name = name_of_row,
        .is_kept = row_is_kept,
        .describe = describe_row,
        .has_jobs = true,
};

void engine_own_gate_changed(Engine *engine, const char *name) {
        Pool *pool = engine_find_pool(engine, name);

        if (pool->gates.limiter && pool->gates.limiter->of_pool)
                pool->config->limiter_config = pool->gates.limiter->settings;
        if (pool->gates.breaker && pool->gates.breaker->of_pool)
                pool->config->breaker_config = pool->gates.breaker->breaker.config;
        engine_keep(engine, &pool->row);
}

/* ---- scaling ---- */

static void tell_scaling(Engine *engine, Pool *pool, const PoolScaling *scaling) {
        if (engine->listener && engine->listener->pool_scaled)
                engine->listener->pool_scaled(engine->listener_userdata, pool, scaling);
}

static void scale_pool(Engine *engine, Pool *pool, usec_t now) {
        bool stalled = pool->uses_stalls && stall_watch_is_stalled(&engine->stall_watch, now);
        PoolScaling scaling;

        if (pool_scale(pool, now, stalled, &scaling))
                tell_scaling(engine, pool, &scaling);
}

/* Watches the host as long as the pool wants to know. */
static void update_stall_watch(Engine *engine, Pool *pool) {
        bool wants = pool->uses_stalls && pool_wants_stalls(pool);

        if (wants == pool->watches_stalls)
                return;
        pool->watches_stalls = wants;
        if (wants)
                stall_watch_begin(&engine->stall_watch);
        else
                stall_watch_end(&engine->stall_watch);
}

/* The pool may want to know of stalls from now on, or never. 0 or -errno. */
static int use_stalls(Engine *engine, Pool *pool, bool use, char **ret_error) {
        _cleanup_free_ char *error = NULL;
        int r;

        if (use && !pool->uses_stalls) {
                r = stall_watch_open(&engine->stall_watch, engine->event, &error);
                if (r < 0 && error)
                        (void) setting_fault(ret_error, "ScaleMode: %s", error);
                if (r < 0)
                        return r;
                pool->uses_stalls = true;
        }
        if (!use && pool->uses_stalls) {
                pool->uses_stalls = false;
                update_stall_watch(engine, pool);
                stall_watch_close(&engine->stall_watch);
        }
        return 0;
}

static int on_pool_timer(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Pool *pool = userdata;
        Engine *engine = pool->engine;
        usec_t now = usec_now(CLOCK_MONOTONIC);

        scale_pool(engine, pool, now);
        pool_timer(pool, now);
        if (pool->desk) {
                /* Who gets something at the last moment does not wait in vain. */
                pool_wake(pool);
                lease_timer(pool, now);
        }
        update_stall_watch(engine, pool);
        engine_refuse_queued(engine, pool);
        pool->is_to_wake = engine->wake_pools = engine->check_pools = true;
        return 0;
}

/* The pool's own limiter, which is made here, or the shared one that it names; NULL if it has none.
 */
static int choose_limiter(
        Engine *engine, const PoolConfig *config, SharedLimiter **ret, char **ret_error) {
        SharedLimiter *limiter = NULL;
        int r;

        if (limiter_config_is_given(&config->limiter_config)) {
                r = engine_add_limiter(engine, config->name, &config->limiter_config, &limiter);
                if (r == -EEXIST)
                        return setting_fault(ret_error,
                                "LimiterRate: there is another limiter \"%s\"", config->name);
                if (r < 0)
                        return r;
                limiter->of_pool = limiter->goes = true;
        } else if (config->limiter) {
                limiter = engine_find_limiter(engine, config->limiter);
                if (!limiter || limiter->of_pool)
                        return setting_fault(ret_error, "Limiter: there is no limiter \"%s\"%s",
                                config->limiter, limiter ? " but that of a pool" : "");
        }
        *ret = limiter;
        return 0;
}

/* The same for breakers. */
static int choose_breaker(
        Engine *engine, const PoolConfig *config, SharedBreaker **ret, char **ret_error) {
        SharedBreaker *breaker = NULL;
        int r;

        if (config->own_breaker) {
                r = engine_add_breaker(engine, config->name, &config->breaker_config, &breaker);
                if (r == -EEXIST)
                        return setting_fault(ret_error, "Breaker: there is another breaker \"%s\"",
                                config->name);
                if (r < 0)
                        return r;
                breaker->of_pool = breaker->goes = true;
        } else if (config->breaker) {
                breaker = engine_find_breaker(engine, config->breaker);
                if (!breaker || breaker->of_pool)
                        return setting_fault(ret_error, "Breaker: there is no breaker \"%s\"%s",
                                config->breaker, breaker ? " but that of a pool" : "");
        }
        *ret = breaker;
        return 0;
}

static void drop_breaker(Engine *engine, SharedBreaker *breaker) {
        if (breaker && breaker->goes)
                (void) engine_remove_breaker(engine, breaker);
}

/* A pool does not use it any more: its own goes with it. */
static void drop_limiter(Engine *engine, SharedLimiter *limiter) {
        if (limiter && limiter->goes)
                (void) engine_remove_limiter(engine, limiter);
}

int engine_add_pool(Engine *engine, PoolConfig *config, Pool **ret, char **ret_error) {
        sd_event_source *source = NULL;
        SharedLimiter *limiter = NULL;
        SharedBreaker *breaker = NULL;
        Pool *pool;
        int r;

        if (engine_find_pool(engine, config->name))
                return -EEXIST;
        if (config->durable && !engine->store)
                return setting_fault(ret_error,
                        "Durable: there is no folder for its state: start sluiced with --state=");
        config->handler_config.event = engine->event;
        config->handler_config.bus = engine->bus;
        config->handler_config.units = engine->units;
        r = choose_limiter(engine, config, &limiter, ret_error);
        if (r < 0)
                return r;
        r = choose_breaker(engine, config, &breaker, ret_error);
        if (r >= 0)
                r = pool_new(config, &engine->mailbox, &engine->stock, limiter, breaker, &pool,
                        ret_error);
        if (r < 0) {
                drop_limiter(engine, limiter);
                drop_breaker(engine, breaker);
                return r;
        }
        object_row_init(&pool->row, &row_kind);
        pool->engine = engine;
        pool->store = config->durable ? engine->store : NULL;
        pool_set_announce(pool, engine->announce);
        r = use_stalls(engine, pool, config->scale_config.mode == SCALE_PRESSURE, ret_error);
        if (r >= 0)
                r = sd_event_add_io(
                        engine->event, &source, pool->timer.fd, EPOLLIN, on_pool_timer, pool);
        if (r >= 0)
                r = sd_event_source_set_priority(source, ENGINE_PRIORITY);
        if (r >= 0) {
                HASH_ADD_KEYPTR(by_name, engine->by_name, config->name, strlen(config->name), pool);
                r = pool->by_name.tbl ? pool_start(pool, ret_error) : -ENOMEM;
        }
        if (r < 0) {
                if (pool->by_name.tbl)
                        HASH_DELETE(by_name, engine->by_name, pool);
                sd_event_source_disable_unref(source);
                (void) use_stalls(engine, pool, false, NULL);
                pool_free(pool);
                drop_limiter(engine, limiter);
                drop_breaker(engine, breaker);
                return r;
        }
        pool->timer_source = source;
        list_append(&engine->pools, &pool->links);
        /* Slots have no thread that looks for work by itself. */
        pool->is_to_wake = engine->wake_pools = true;
        if (engine->listener)
                engine->listener->pool_added(engine->listener_userdata, pool);
        if (ret)
                *ret = pool;
        return 0;
}

int engine_remove_pool(Engine *engine, Pool *pool, bool cancel, PoolWatch *watch) {
        JobFilter filter = {
                .pool = pool,
                .state = cancel ? _JOB_STATE_INVALID : JOB_SCHEDULED,
                .result = _JOB_RESULT_INVALID,
                .unfinished = true,
                /* It goes after the pipelines that it is in, and with them what is inside. */
                .no_items = !cancel,
        };
        Sweep *sweep;
        int r;

        r = engine_prepare_removal(engine, &pool->row);
        if (r < 0)
                return r;
        r = engine_sweep(engine, &filter, "its pool was removed", NULL, NULL, &sweep);
        if (r < 0)
                return r;
        sweep->interrupts = engine->shutting_down;
        pool->removing = true;
        pool->cancelling |= cancel;
        /* First, as to drain begins what gathers for a batch. */
        if (cancel)
                pool_pause(pool, true);
        /* What is queued is to be leased before it goes; but nothing else comes. */
        if (cancel && pool->desk)
                lease_refuse_waiting(pool, -ENOENT);
        pool_drain(pool, true);
        pool->is_to_wake = engine->wake_pools = true;
        if (watch)
                list_append(&pool->remove_watches, &watch->links);
        engine->check_pools = true;
        return 0;
}

/* The last worker has gone and no job is left but finished ones. */
static void pool_gone(Engine *engine, Pool *pool) {
        SharedLimiter *limiter = pool->gates.limiter;
        SharedBreaker *breaker = pool->gates.breaker;
        List watches = LIST_INIT(watches);

        if (engine->listener)
                engine->listener->pool_removed(engine->listener_userdata, pool);
        engine_forget_results(engine, pool);
        engine_forget(engine, &pool->row);
        engine_end_sweeps(engine, pool, NULL);
        engine->gone.submitted += pool->scheduler.counters.submitted;
        engine->gone.rejected += pool->scheduler.counters.rejected;
        for (int i = 0; i < _JOB_RESULT_MAX; i++)
                engine->gone.results[i] += pool->scheduler.counters.results[i];
        list_splice(&watches, &pool->drain_watches);
        list_splice(&watches, &pool->remove_watches);
        (void) use_stalls(engine, pool, false, NULL);
        sd_event_source_disable_unref(pool->timer_source);
        HASH_DELETE(by_name, engine->by_name, pool);
        list_remove(&pool->links);
        pool_free(pool);
        drop_limiter(engine, limiter);
        drop_breaker(engine, breaker);
        watches_done(&watches);
}

int engine_set_pool(Engine *engine, Pool *pool, const PoolConfig *config) {
        _cleanup_free_ char **names = pool_config_differences(pool->config, config);
        PoolScaling scaling = { .from = pool->n_target };
        _cleanup_free_ char *error = NULL;
        int r;

        r = use_stalls(engine, pool, config->scale_config.mode == SCALE_PRESSURE, &error);
        if (r < 0)
                return r;
        pool->touched = true;
        r = pool_apply(pool, config);
        scaling.to = pool->n_target;
        scaling.reason = scaling.to > scaling.from ? SCALE_UP_TO_MIN : SCALE_DOWN_TO_MAX;
        if (config->scale_config.mode != SCALE_OFF && scaling.to != scaling.from)
                tell_scaling(engine, pool, &scaling);
        update_stall_watch(engine, pool);

        if (pool->gates.limiter && pool->gates.limiter->of_pool &&
                !limiter_config_equal(&pool->config->limiter_config, &config->limiter_config))
                engine_set_limiter(engine, pool->gates.limiter, &config->limiter_config);
        if (r >= 0 && pool->gates.breaker && pool->gates.breaker->of_pool &&
                !breaker_config_equal(&pool->config->breaker_config, &config->breaker_config))
                r = engine_set_breaker(engine, pool->gates.breaker, &config->breaker_config);

        engine_keep(engine, &pool->row);
        pool->is_to_wake = engine->wake_pools = engine->check_pools = true;
        if (engine->listener && engine->listener->pool_set)
                engine->listener->pool_set(engine->listener_userdata, pool, names);
        return r;
}

/* ---- a pool that becomes another one ---- */

bool engine_is_refitting(Engine *engine, const char *name) {
        const Pool *pool = engine_find_pool(engine, name);

        return pool && pool->refit;
}

void engine_refit_pool(Engine *engine, Pool *pool, PoolConfig *config) {
        pool_config_free(pool->refit);
        pool->refit = config;
        engine_keep(engine, &pool->row);
        engine_settle_pause(pool);
        if (!pool->dismissed) {
                pool->dismissed = true;
                pool_dismiss(pool);
        }
        pool->is_to_wake = engine->wake_pools = engine->check_pools = true;
}

/* The limiter and the breaker that the pool is to have: its own are changed if it stays with them.
 */
static int choose_gates(Engine *engine, const Pool *pool, const PoolConfig *config,
        SharedLimiter **ret_limiter, SharedBreaker **ret_breaker, char **ret_error) {
        SharedLimiter *limiter = pool->gates.limiter;
        SharedBreaker *breaker = pool->gates.breaker;
        int r = 0;

        if (!limiter || !limiter->of_pool || !limiter_config_is_given(&config->limiter_config))
                r = choose_limiter(engine, config, &limiter, ret_error);
        if (r < 0)
                return r;
        *ret_limiter = limiter;
        if (!breaker || !breaker->of_pool || !config->own_breaker)
                r = choose_breaker(engine, config, &breaker, ret_error);
        if (r >= 0)
                *ret_breaker = breaker;
        return r;
}

/* What the pool had, or was to have, and has not now. */
static void drop_unused_gates(
        Engine *engine, const Pool *pool, SharedLimiter *limiter, SharedBreaker *breaker) {
        if (limiter != pool->gates.limiter)
                drop_limiter(engine, limiter);
        if (breaker != pool->gates.breaker)
                drop_breaker(engine, breaker);
}

/* The name stays where it is: the pool is found by it, and the store may be reading it. */
static void swap_names(PoolConfig *a, PoolConfig *b) {
        char *name = a->name;

        a->name = b->name;
        b->name = name;
        a->handler_config.pool = a->name;
        b->handler_config.pool = b->name;
}

static int exchange(Engine *engine, Pool *pool, PoolConfig *config, char **ret_error) {
        SharedLimiter *limiter = NULL, *old_limiter = pool->gates.limiter;
        SharedBreaker *breaker = NULL, *old_breaker = pool->gates.breaker;
        Handler *handler = NULL;
        int r;

        config->handler_config.event = engine->event;
        config->handler_config.bus = engine->bus;
        config->handler_config.units = engine->units;
        swap_names(config, pool->config);
        r = choose_gates(engine, pool, config, &limiter, &breaker, ret_error);
        if (r >= 0)
                r = use_stalls(
                        engine, pool, config->scale_config.mode == SCALE_PRESSURE, ret_error);
        if (r >= 0)
                r = config->handler->open(&config->handler_config, &handler, ret_error);
        if (r >= 0) {
                r = pool_exchange(pool, config, handler, limiter, breaker);
                if (r < 0)
                        config->handler->close(handler);
        }
        if (r < 0) {
                swap_names(config, pool->config);
                drop_unused_gates(engine, pool, limiter, breaker);
                (void) use_stalls(
                        engine, pool, pool->config->scale_config.mode == SCALE_PRESSURE, NULL);
                return r;
        }
        if (limiter && limiter == old_limiter && limiter->of_pool)
                engine_set_limiter(engine, limiter, &config->limiter_config);
        if (breaker && breaker == old_breaker && breaker->of_pool)
                (void) engine_set_breaker(engine, breaker, &config->breaker_config);
        drop_unused_gates(engine, pool, old_limiter, old_breaker);
        pool->touched = false;
        if (limiter && limiter->of_pool)
                limiter->touched = false;
        if (breaker && breaker->of_pool)
                breaker->touched = false;
        return 0;
}

/* It goes on with what it has until the next start. That counts as if the file had it, as nobody
 * has set it by hand. */
static void keep_as_it_was(Pool *pool, int r, const char *error) {
        PoolConfig *origin;

        log_error("Pool %s goes on as it was: %s", pool->config->name, error ?: strerror(-r));
        if (pool_config_copy(pool->config, &origin) < 0)
                return;
        pool_config_free(pool->origin);
        pool->origin = origin;
}

static void start_again(Pool *pool) {
        _cleanup_free_ char *error = NULL;
        int r;

        r = pool_start(pool, &error);
        if (r < 0)
                log_error("Pool %s has no workers: %s", pool->config->name, error ?: strerror(-r));
}

/* The last worker has gone, and what it has ended was read. */
static void refit(Engine *engine, Pool *pool) {
        _cleanup_(pool_config_freep) PoolConfig *config = TAKE_PTR(pool->refit);
        _cleanup_free_ char *error = NULL;
        int r;

        pool->dismissed = false;
        engine->check_pools = true;
        /* It goes, now that there is nothing else to be waited for. */
        if (engine->shutting_down)
                return;
        r = exchange(engine, pool, config, &error);
        if (r >= 0)
                TAKE_PTR(config); /* the pool's now */
        else
                keep_as_it_was(pool, r, error);
        start_again(pool);
        engine_settle_pause(pool);
        (void) engine_on_retention(NULL, 0, engine);
        engine_forget_surplus(engine, pool);
        engine_keep(engine, &pool->row);
        pool->is_to_wake = engine->wake_pools = true;
        /* It is another one for those who watch it, also in what never changes of one. */
        if (engine->listener) {
                engine->listener->pool_removed(engine->listener_userdata, pool);
                engine->listener->pool_added(engine->listener_userdata, pool);
        }
}

void engine_settle_pause(Pool *pool) {
        const Engine *engine = pool->engine;

        pool_pause(pool, pool->paused || pool->refit || pool->cancelling || engine->shutting_down);
}

void engine_pause_pool(Engine *engine, Pool *pool, bool paused) {
        pool->paused = paused;
        engine_keep(engine, &pool->row);
        engine_settle_pause(pool);
        pool->is_to_wake = engine->wake_pools = engine->check_pools = true;
}

void engine_drain_pool(Engine *engine, Pool *pool, bool draining) {
        pool->draining = draining;
        engine_keep(engine, &pool->row);
        /* What is to go takes nothing more, whatever it is told. */
        pool_drain(pool, draining || pool->removing || engine->shutting_down);
        pool->is_to_wake = engine->wake_pools = engine->check_pools = true;
}

/* Tells listeners and watches what has become of a pool. */
void engine_check_pool(Engine *engine, Pool *pool) {
        PoolChange changes = 0;
        PoolState state;
        uint32_t n_workers;

        pool_shape(pool, &state, &n_workers);
        if (state != pool->shown_state) {
                pool->shown_state = state;
                changes |= POOL_CHANGED_STATE;
        }
        if (n_workers != pool->shown_workers) {
                pool->shown_workers = n_workers;
                changes |= POOL_CHANGED_WORKERS;
        }
        if (changes && engine->listener)
                engine->listener->pool_changed(engine->listener_userdata, pool, changes);

        engine_serve_line(pool);
        if (!list_is_empty(&pool->drain_watches) && pool_is_empty(pool))
                watches_done(&pool->drain_watches);
        if (pool->removing && !pool->dismissed && pool->n_pipelines == 0 &&
                pool_has_no_jobs(pool)) {
                pool->dismissed = true;
                if (pool->desk)
                        lease_refuse_waiting(pool, -ENOENT);
                pool_dismiss(pool);
                pool->is_to_wake = engine->wake_pools = true;
        }
        /* The last ends may have been in the mail, with the word of workers that they go. */
        if (pool->dismissed && pool->n_threads == 0 && pool->n_unsettled == 0) {
                if (pool->refit)
                        refit(engine, pool);
                else
                        pool_gone(engine, pool);
        }
}
