/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The workers of a pool as a staff: who is idle, who is woken, and how many there are.
 *
 * Only the holder of the lock takes a worker off the idle list, and whoever does writes its eventfd
 * once, now or at the end of the loop's turn. So a sleeping worker is either on the idle list or
 * has a wake-up coming, and no wake-up is ever left over. The eventfd says no more than "look".
 *
 * All who take slots off the list are the main thread: a pool of slots has no other thread, and
 * those of pools that share its limiter or its breaker only arm timers. */

#include <sched.h>

#include "engine/affinity.h"
#include "engine/pool-private.h"
#include "engine/slot.h"

static void set_aside_to_wake(Pool *pool, Worker *worker) {
        list_remove(&worker->idle_links);
        list_append(&pool->to_wake, &worker->idle_links);
        worker->idle = false;
        pool->n_idle--;
        if (!worker->leaving) {
                worker->coming = true;
                pool->n_coming++;
        }
}

/* Takes up to n workers off the idle list. A single job goes to the CPU that it was submitted on,
 * where its payload is in the cache and no other CPU has to be woken. */
void pool_wake_idle(Pool *pool, uint64_t n) {
        if (n == 1 && pool->n_idle > 1 && !pool->config->handler->in_slots) {
                int cpu = sched_getcpu();

                list_for_each (l, &pool->idle)
                        if (list_entry(l, Worker, idle_links)->cpu == cpu) {
                                set_aside_to_wake(pool, list_entry(l, Worker, idle_links));
                                return;
                        }
        }
        for (; n > 0 && pool->n_idle > 0; n--)
                set_aside_to_wake(pool, list_entry(list_first(&pool->idle), Worker, idle_links));
}

void pool_wake(Pool *pool) {
        List woken = LIST_INIT(woken), *l;

        if (pool->config->handler->in_slots) {
                while ((l = list_pop(&pool->to_stop))) {
                        Worker *slot = list_entry(l, Worker, poke_links);

                        slot->poked = false;
                        slot_stop(slot);
                }
                /* What they put there themselves is for the next turn of the loop. */
                list_splice(&woken, &pool->to_wake);
                while ((l = list_pop(&woken)))
                        slot_work(list_entry(l, Worker, idle_links));
                return;
        }
        /* Only main puts workers on this list, and a worker on it sleeps until it is written to. */
        while ((l = list_pop(&pool->to_wake)))
                worker_wake(list_entry(l, Worker, idle_links));
}

/* The CPU of the set with the fewest workers; of equal ones the first. */
static int quietest_cpu(const Pool *pool) {
        const cpu_set_t *cpus = &pool->config->cpus;
        unsigned n_cpus = (unsigned) CPU_COUNT(cpus), least = UINT32_MAX;
        int best = -1;

        for (unsigned i = 0; i < n_cpus; i++) {
                int cpu = affinity_nth(cpus, i);
                unsigned n = 0;

                list_for_each (l, &pool->workers)
                        if (list_entry(l, Worker, links)->cpu == cpu)
                                n++;
                if (n < least) {
                        least = n;
                        best = cpu;
                }
        }
        return best;
}

/* Makes one worker. A thread takes long to make, so that is done without the lock; the worker is
 * one of us before, so that it finds itself counted. A slot comes for work when it is woken. */
static int hire(Pool *pool) {
        Worker *worker;
        int r;

        r = worker_new(pool, pool->next_worker_id, &worker);
        if (r < 0)
                return r;
        pool_lock(pool);
        if (worker_is_slot(worker))
                list_append(&pool->to_wake, &worker->idle_links);
        else
                worker->cpu = quietest_cpu(pool);
        list_append(&pool->workers, &worker->links);
        pool->n_workers++;
        pool_unlock(pool);

        r = worker_is_slot(worker) ? 0 : worker_start(worker);
        if (r < 0) {
                pool_lock(pool);
                list_remove(&worker->links);
                pool->n_workers--;
                pool_unlock(pool);
                worker_free(worker);
                return r;
        }
        pool->next_worker_id++;
        pool->n_threads++;
        return 0;
}

/* Idle workers leave at once, the others after their turn. */
static void let_go(Pool *pool) {
        List *l;

        while (pool->n_workers > pool->n_target && (l = list_pop(&pool->resting))) {
                list_entry(l, Worker, idle_links)->leaving = true;
                pool->n_workers--;
                list_append(&pool->to_wake, l);
        }
        while (pool->n_workers > pool->n_target && pool->n_idle > 0) {
                Worker *worker = list_entry(pool->idle.prev, Worker, idle_links);

                worker->leaving = true;
                pool->n_workers--;
                set_aside_to_wake(pool, worker);
        }
}

/* Those that were told to leave and have not come by since stay before others are made. */
static void keep(Pool *pool) {
        list_for_each (l, &pool->workers) {
                Worker *worker = list_entry(l, Worker, links);

                if (pool->n_workers >= pool->n_target)
                        return;
                if (!worker->leaving)
                        continue;
                worker->leaving = false;
                worker->coming = true;
                pool->n_coming++;
                pool->n_workers++;
        }
}

int pool_resize(Pool *pool, uint32_t n_target) {
        uint32_t n_missing;
        int r = 0;

        pool_lock(pool);
        pool->n_target = n_target;
        let_go(pool);
        keep(pool);
        /* Nobody leaves by himself while there are no more than that, so this stays true. */
        n_missing = n_target - MIN(n_target, pool->n_workers);
        pool_after_change(pool);
        pool_unlock(pool);

        for (; n_missing > 0 && r >= 0; n_missing--)
                r = hire(pool);
        if (r < 0) {
                pool_lock(pool);
                pool->n_target = pool->n_workers;
                pool_after_change(pool);
                pool_unlock(pool);
        }
        return r;
}

void pool_dismiss(Pool *pool) {
        pool_lock(pool);
        pool_set_scale(pool, &(ScalerConfig){ .mode = SCALE_OFF, .interval = 1 }, 0, 0);
        pool_unlock(pool);
        (void) pool_resize(pool, 0);
}

void pool_join(Pool *pool, Worker *worker) {
        if (!worker_is_slot(worker))
                (void) pthread_join(worker->thread, NULL);
        worker_free(worker);
        pool->n_threads--;
}

/* ---- watching ---- */

bool pool_workers_are_in_time(Pool *pool) {
        bool in_time = true;

        pool_lock(pool);
        list_for_each (l, &pool->workers) {
                Worker *worker = list_entry(l, Worker, links);
                uint64_t pulse = atomic_load_explicit(&worker->pulse, memory_order_relaxed);

                if (pulse % 2 == 1 && pulse == worker->seen_pulse)
                        in_time = false;
                worker->seen_pulse = pulse;
        }
        pool_unlock(pool);
        return in_time;
}
