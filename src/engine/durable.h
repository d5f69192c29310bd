/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Durability: what the engine tells its store, and what it does when that is on the disk. A durable
 * job is accepted, has ended and is at its next stage only from then on. Main thread only.
 *
 * A store that has failed takes the daemon with it: what it was told last comes back at the next
 * start, or was never accepted. */

#include "engine/engine.h"
#include "store/store.h"

typedef struct StoreWatch StoreWatch;

/* Somebody waits until all that was told to the store before is on the disk. Embedded by its owner,
 * who may leave with engine_unwatch_store(). */
struct StoreWatch {
        List links;

        /* 0; or -errno, the store ends without having written all of it. The watch is out of the
         * list. */
        void (*stored)(StoreWatch *watch, int r);
};

/* From now on pools can be durable. The store, which was not started, stays the caller's, and is to
 * be there until engine_close_store(). 0 or -errno. */
int engine_open_store(Engine *engine, Store *store);

/* Reads all jobs of the pools and pipelines that are there, before the loop runs; those of others
 * stay in the store. Then starts it. 0 or -errno. */
int engine_recover(Engine *engine);

/* What was submitted to a pool or pipeline of this name, and found none at the start, is back. To
 * be called when one was made, and has its state; blocks for as long as the reading takes, if there
 * is anything to be read. */
void engine_recover_pool(Engine *engine, const Pool *pool);
void engine_recover_pipeline(Engine *engine, const PoolPipeline *pipeline);

/* Has the store nothing more to tell? */
bool engine_is_stored(const Engine *engine);

/* Whatever the store tells from now on is heard by nobody. */
void engine_close_store(Engine *engine);

/* 0, 1 if there is nothing to wait for (then nobody will be told), or -ENOMEM. */
int engine_watch_store(Engine *engine, StoreWatch *watch);
void engine_unwatch_store(StoreWatch *watch); /* fine for one that is in no list */

/* As pool_set_priority(). */
int engine_set_priority(Engine *engine, Job *job, int16_t priority);
