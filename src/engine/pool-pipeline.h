/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* PoolPipeline: a Pipeline with a name, whose stages are pools. An item is one job, which goes from
 * pool to pool by way of the main thread; so no worker ever waits for another pool, and no two
 * pools are ever locked. Main thread only. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <uthash.h>

#include "core/pipeline.h"
#include "engine/object-row.h"
#include "engine/pipeline-config.h"
#include "util/list.h"

typedef struct Engine Engine;
typedef struct Pool Pool;
typedef struct PoolPipeline PoolPipeline;
typedef struct PoolWatch PoolWatch;
typedef struct RoomWatch RoomWatch;

/* It outlives its removal, until the last submission that was made to it has gone. */
struct PoolPipeline {
        Pipeline pipeline;
        char *name;
        Pool **stages;       /* owned array, borrowed pools; not to be looked at once it is gone */
        Engine *engine;      /* borrowed */
        List links;          /* among the pipelines of the engine, by age */
        List drain_watches;  /* PoolWatch.links: who waits until nothing is in flight */
        List remove_watches; /* PoolWatch.links: who waits until it is gone */
        uint32_t n_submissions;
        bool removing;       /* goes once nothing is in flight */
        bool cancelling;     /* and what is, is cancelled */
        bool gone;           /* nobody finds it any more, and its pools may be gone, too */
        bool shown_draining; /* what listeners were told last */
        bool from_file;      /* made by the settings file with this digest, … */
        bool touched;        /* MaxInFlight was changed since; whoever reads files clears it */
        uint64_t digest;
        uint64_t file_max_in_flight; /* … which says this */
        ObjectRow row;
        bool draining;          /* as Drain() and Resume() have left it */
        UT_hash_handle by_name; /* in Engine.pipelines_by_name */
};

/* Makes a pipeline by settings that are complete. 0, -EEXIST, -ENOMEM, or -EINVAL with *ret_error,
 * which names the stage that is not there. */
int engine_add_pipeline(
        Engine *engine, const PipelineConfig *config, PoolPipeline **ret, char **ret_error);
PoolPipeline *engine_find_pipeline(Engine *engine, const char *name); /* NULL if there is none */

/* Takes nothing more in, and goes once what is inside has ended; with `cancel` that is cancelled.
 * May be called again. The watch, if any, is told when it is gone. 0 or -ENOMEM. */
int engine_remove_pipeline(Engine *engine, PoolPipeline *pipeline, bool cancel, PoolWatch *watch);

/* Changes what of the settings can change: MaxInFlight. */
void engine_set_pipeline(Engine *engine, PoolPipeline *pipeline, const PipelineConfig *config);
void engine_drain_pipeline(Engine *engine, PoolPipeline *pipeline, bool draining);

/* Tells the watch when nothing is in flight; at once, from engine_turn(), if that is so. */
void engine_watch_pipeline_empty(PoolPipeline *pipeline, PoolWatch *watch);

bool pipeline_uses_pool(const PoolPipeline *pipeline, const Pool *pool);

/* As engine_submit(): the jobs begin at the first stage. The bound is MaxInFlight alone; refused
 * is also what the first stage refuses by its state. */
int engine_submit_items(Engine *engine, PoolPipeline *pipeline, Submission *submission,
        const struct iovec *payloads, size_t n, bool borrow, unsigned flags);

void pipeline_watch_room(PoolPipeline *pipeline, RoomWatch *watch, uint64_t n);

PoolPipeline *job_pipeline(const Job *job); /* that it is an item of; NULL if of none */

static inline uint32_t job_stage(const Job *job) {
        return (uint32_t) job->stage;
}

const char *pipeline_state_to_string(const PoolPipeline *pipeline);
