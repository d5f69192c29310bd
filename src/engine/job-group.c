/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A group hears of its members where they end for good, on the main thread: see
 * engine_job_ended(). Workers know no more of it than that it makes some ends urgent. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Without this uthash ends the process where memory runs out. */
#define HASH_NONFATAL_OOM 1

#include "engine/engine-private.h"
#include "engine/job-group.h"
#include "engine/submit-key.h"
#include "util/fd.h"

/* Changes of many groups are told together, this far apart. */
#define TELL_PAUSE (50 * USEC_PER_MSEC)

/* As its jobs, a group is none while it is on its way to the disk. */
JobGroup *engine_find_group(Engine *engine, uint64_t id) {
        JobGroup *group;

        HASH_FIND(by_id, engine->groups, &id, sizeof(id), group);
        return group && !group->submission->storing ? group : NULL;
}

Job *engine_group_job(Engine *engine, const JobGroup *group, uint64_t i) {
        return engine_find_job(engine, group->submission->first_id + i);
}

PoolPipeline *group_pipeline(const JobGroup *group) {
        Pipeline *pipeline = group->submission->pipeline;

        return pipeline ? container_of(pipeline, PoolPipeline, pipeline) : NULL;
}

void job_filter_group(JobFilter *filter, const JobGroup *group) {
        filter->first_id = group->id + 1;
        filter->last_id = group->id + group->core.n_total;
}

/* ---- telling ---- */

static void tell(Engine *engine, JobGroup *group, usec_t now) {
        list_remove(&group->untold);
        group_told(&group->core, now);
        if (engine->listener && engine->listener->group_changed)
                engine->listener->group_changed(engine->listener_userdata, group);
}

static void tell_later(Engine *engine, JobGroup *group, usec_t at) {
        if (!list_is_linked(&group->untold))
                list_append(&engine->untold_groups, &group->untold);
        if (at >= engine->tell_groups_at)
                return;
        engine->tell_groups_at = at;
        (void) sd_event_source_set_time(engine->group_source, at);
        (void) sd_event_source_set_enabled(engine->group_source, SD_EVENT_ONESHOT);
}

int engine_on_untold_groups(sd_event_source *source, uint64_t usec, void *userdata) {
        Engine *engine = userdata;
        usec_t now = usec_now(CLOCK_MONOTONIC);
        List untold = LIST_INIT(untold), *l;

        engine->tell_groups_at = USEC_INFINITY;
        list_splice(&untold, &engine->untold_groups);
        /* One by one, as to keep one may be to forget any other. */
        while ((l = list_pop(&untold))) {
                JobGroup *group = list_entry(l, JobGroup, untold);
                usec_t at = group_tell_at(&group->core);

                if (at > now) {
                        tell_later(engine, group, MAX(at, usec_add(now, TELL_PAUSE)));
                        continue;
                }
                tell(engine, group, now);
                if (group_is_finished(&group->core))
                        engine_forget_surplus(engine, group->pool);
        }
        return 0;
}

/* ---- members ---- */

/* The first failure cancels the rest. Without memory for that the next one does. */
static void cancel_rest(Engine *engine, JobGroup *group) {
        JobFilter filter = {
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .unfinished = true,
        };

        job_filter_group(&filter, group);
        if (engine_sweep(engine, &filter, "another job of its group failed", NULL, NULL, NULL) >= 0)
                group_cancelled(&group->core);
}

/* No member can have another life, so what they were to work on is not needed any more. */
static void drop_payloads(Submission *submission) {
        if (submission->backing)
                submission->release_backing(TAKE_PTR(submission->backing));
}

static void end(Engine *engine, JobGroup *group, usec_t now) {
        List *l;

        group->finished_at = now;
        drop_payloads(group->submission);
        while ((l = list_pop(&group->watches))) {
                GroupWatch *watch = list_entry(l, GroupWatch, links);

                watch->finished(watch);
        }
}

void engine_member_ended(Engine *engine, Job *job, usec_t now) {
        JobGroup *group = job->submission->group;
        GroupVerdict verdict = group_report(&group->core, (JobResult) job->result);
        usec_t tell_at = group_tell_at(&group->core);

        if (job->result != JOB_SUCCEEDED)
                engine_drop_data(engine, job);
        if (verdict == GROUP_CANCEL_REST)
                cancel_rest(engine, group);
        if (tell_at <= now)
                tell(engine, group, now);
        else
                tell_later(engine, group, tell_at);
        if (verdict == GROUP_ENDS) {
                end(engine, group, now);
                engine_retain_group(engine, group, now);
                engine_forget_surplus(engine, group->pool);
        }
}

int engine_cancel_group(
        Engine *engine, JobGroup *group, void (*done)(Sweep *sweep), void *userdata, Sweep **ret) {
        JobFilter filter = {
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .unfinished = true,
        };
        int r;

        if (group_is_finished(&group->core))
                return 1;
        job_filter_group(&filter, group);
        r = engine_sweep(engine, &filter, "its group was cancelled", done, userdata, ret);
        if (r >= 0)
                group_cancelled(&group->core);
        return r;
}

int engine_watch_group(JobGroup *group, GroupWatch *watch) {
        if (group_is_finished(&group->core))
                return 1;
        list_append(&group->watches, &watch->links);
        return 0;
}

void group_unwatch(GroupWatch *watch) {
        if (list_is_linked(&watch->links))
                list_remove(&watch->links);
}

/* ---- groups come and go ---- */

static int group_new(Engine *engine, uint64_t id, Pool *pool, Submission *submission,
        GroupPolicy policy, size_t n, JobGroup **ret) {
        JobGroup *group = malloc(sizeof(*group));

        if (!group)
                return -ENOMEM;
        *group = (JobGroup){
                .id = id,
                .submission = submission,
                .pool = pool,
        };
        group_init(&group->core, policy, n, usec_now(CLOCK_MONOTONIC));
        list_init(&group->retained);
        list_init(&group->untold);
        list_init(&group->watches);
        HASH_ADD(by_id, engine->groups, id, sizeof(group->id), group);
        if (!group->by_id.tbl) {
                free(group);
                return -ENOMEM;
        }
        submission->group = group;
        submission->first_error = policy == GROUP_FIRST_ERROR;
        *ret = group;
        return 0;
}

int engine_restore_group(Engine *engine, Submission *submission, GroupPolicy policy, uint64_t id) {
        const Pipeline *pipeline = submission->pipeline;
        Pool *keeper = submission->pool;
        JobGroup *group;

        if (pipeline)
                keeper = container_of(pipeline, PoolPipeline, pipeline)
                                 ->stages[pipeline->n_stages - 1];
        return group_new(engine, id, keeper, submission, policy, submission->n_total, &group);
}

static void group_free(Engine *engine, JobGroup *group) {
        HASH_DELETE(by_id, engine->groups, group);
        list_remove(&group->untold);
        list_remove(&group->retained);
        free(group);
}

/* The group is on its way to the disk, and its pools stay until it is there. */
static void hold_pools(JobGroup *group, bool hold) {
        PoolPipeline *pipeline = group_pipeline(group);
        Pool *pools[] = { group->pool, pipeline ? pipeline->stages[0] : group->pool };

        for (size_t i = 0; i < ELEMENTSOF(pools); i++)
                pools[i]->n_unsettled += hold ? 1 : -1;
}

/* It has nothing to wait for, but the disk if it is durable. As engine_submit(). */
static int accept_empty(Engine *engine, JobGroup *group, PoolPipeline *pipeline, usec_t now) {
        Submission *submission = group->submission;
        const Pool *pool = pipeline ? pipeline->stages[0] : group->pool;
        int r;

        r = engine_reserve_ids(engine, 0);
        if (r < 0)
                return r;
        if (pipeline)
                submission->pipeline = &pipeline->pipeline;
        else
                submission->pool = group->pool;
        r = submission->key ? submit_key_enter(submission->key, engine, 0) : 0;
        if (r < 0) {
                submission->pipeline = NULL;
                return r;
        }
        submission->first_id = engine->next_id;
        submission->submitted_at = now;
        submission->submitted_realtime = usec_now(CLOCK_REALTIME);
        submission->durable = pool->store;
        if (submission->durable) {
                r = durable_submit(engine, submission, NULL);
                if (r < 0) {
                        submission->pipeline = NULL;
                        return r;
                }
                hold_pools(group, true);
        }
        if (pipeline)
                pipeline->n_submissions++;
        /* Whoever reads from its other end waits for it to be closed. */
        submission->output_fd = fd_close(submission->output_fd);
        if (!submission->durable)
                engine_end_empty_group(engine, group, now);
        return ADMIT_YES;
}

void engine_empty_group_stored(JobGroup *group) {
        hold_pools(group, false);
}

void engine_end_empty_group(Engine *engine, JobGroup *group, usec_t now) {
        end(engine, group, now);
        tell_later(engine, group, now);
        engine_retain_group(engine, group, now);
}

int engine_submit_group(Engine *engine, Pool *pool, PoolPipeline *pipeline, Submission *submission,
        GroupPolicy policy, const struct iovec *payloads, size_t n, bool borrow, unsigned flags) {
        JobGroup *group = NULL;
        Pool *keeper = pipeline ? pipeline->stages[pipeline->pipeline.n_stages - 1] : pool;
        int r;

        r = group_new(engine, engine->next_id, keeper, submission, policy, n, &group);
        if (r < 0)
                return r;
        engine->next_id++;
        if (n == 0)
                r = accept_empty(engine, group, pipeline, usec_now(CLOCK_MONOTONIC));
        else if (pipeline)
                r = engine_submit_items(engine, pipeline, submission, payloads, n, borrow, flags);
        else
                r = engine_submit(engine, pool, submission, payloads, n, borrow, flags);
        if (r == ADMIT_YES)
                return r;
        engine->next_id--;
        engine_drop_group(engine, group);
        return r;
}

void engine_drop_group(Engine *engine, JobGroup *group) {
        group->submission->group = NULL;
        group_free(engine, group);
}

/* Of members that go on after the next start. */
static void forget_unfinished(Engine *engine, JobGroup *group) {
        uint64_t first = group->submission->first_id, n = group->core.n_total;

        engine_drop_group(engine, group);
        for (uint64_t i = 0; i < n; i++)
                engine_release_job(engine, engine_find_job(engine, first + i));
}

void engine_forget_unfinished_groups(Engine *engine, const Pool *pool) {
        JobGroup *group, *next;

        HASH_ITER (by_id, engine->groups, group, next)
                if (group->pool == pool && !group_is_finished(&group->core))
                        forget_unfinished(engine, group);
}

void engine_forget_groups_through(Engine *engine, const Pool *pool) {
        JobGroup *group, *next;

        HASH_ITER (by_id, engine->groups, group, next) {
                const PoolPipeline *pipeline = group_pipeline(group);

                /* Nothing of it is live: the pool goes after the pipelines that it is in. But one
                 * of nothing may be on its way to the disk, which other stages stay for. */
                if (!pipeline || !pipeline_uses_pool(pipeline, pool) || group->submission->storing)
                        continue;
                if (group_is_finished(&group->core))
                        engine_forget_group(engine, group);
                else
                        forget_unfinished(engine, group);
        }
}

void engine_forget_group(Engine *engine, JobGroup *group) {
        Submission *submission = group->submission;
        uint64_t first = submission->first_id, n = group->core.n_total;

        assert(group_is_finished(&group->core));
        if (group->core.untold)
                tell(engine, group, group->finished_at);
        if (list_is_linked(&group->retained))
                group->pool->n_groups--;
        group_free(engine, group);
        if (n == 0) {
                durable_forget_submission(engine, submission);
                submission_free(submission);
                return;
        }
        /* With the last one goes the submission. */
        for (uint64_t i = 0; i < n; i++)
                engine_release_job(engine, engine_find_job(engine, first + i));
}
