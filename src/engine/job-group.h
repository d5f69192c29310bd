/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* JobGroup: the jobs of one submission as one thing, with an id from the same counter as theirs,
 * which are the ones that follow it. Its members are jobs like all others, but their results are
 * kept until the last one has ended, and from then on as one. Main thread only. */

#include <uthash.h>

#include "core/group.h"
#include "engine/engine.h"

typedef struct GroupWatch GroupWatch;

struct JobGroup {
        uint64_t id;
        Group core;
        Submission *submission; /* that of its members, which go with it; its own without members */
        Pool *pool; /* borrowed: whose results it is among; of a pipeline's the last stage */
        usec_t finished_at;   /* monotonic */
        List retained;        /* in Pool.groups, from its end on */
        List untold;          /* in Engine.untold_groups, while a change waits to be told */
        List watches;         /* GroupWatch.links */
        UT_hash_handle by_id; /* in Engine.groups */
};

/* Somebody waits for the end of a group. Embedded by its owner, who may leave with group_unwatch().
 */
struct GroupWatch {
        List links;
        void (*finished)(GroupWatch *watch); /* the watch is out of the list */
};

/* Accepts n >= 0 jobs as a group, which is submission->group from then on; otherwise as
 * engine_submit(), or with a pipeline, whose first stage `pool` is, as engine_submit_items(). */
int engine_submit_group(Engine *engine, Pool *pool, PoolPipeline *pipeline, Submission *submission,
        GroupPolicy policy, const struct iovec *payloads, size_t n, bool borrow, unsigned flags);

JobGroup *engine_find_group(Engine *engine, uint64_t id); /* NULL if there is none (any more) */

/* Member number i, from 0. */
Job *engine_group_job(Engine *engine, const JobGroup *group, uint64_t i);

/* Cancels all members that have not ended; as engine_sweep(), or 1 if there is none. */
int engine_cancel_group(
        Engine *engine, JobGroup *group, void (*done)(Sweep *sweep), void *userdata, Sweep **ret);

/* Forgets the groups with items that may have ended in the pool, which goes. */
void engine_forget_groups_through(Engine *engine, const Pool *pool);

/* Forgets a finished group, with its members and all that is kept of them. */
void engine_forget_group(Engine *engine, JobGroup *group);

/* 0, or 1 if it has finished already (then nobody will be told). */
int engine_watch_group(JobGroup *group, GroupWatch *watch);
void group_unwatch(GroupWatch *watch); /* fine for one that is in no list */

/* The pipeline that its members are items of; NULL if they are in a pool. */
PoolPipeline *group_pipeline(const JobGroup *group);

/* Makes the filter one for the members of the group. */
void job_filter_group(JobFilter *filter, const JobGroup *group);

/* The group that the job is of; 0 if it is of none. */
static inline uint64_t job_group_id(const Job *job) {
        return job->submission->group ? ((const JobGroup *) job->submission->group)->id : 0;
}
