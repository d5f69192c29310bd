/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Everything that happens to jobs passes here: the mail of the workers is read, and those who wait
 * are told. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "engine/durable.h"
#include "engine/engine-private.h"
#include "engine/lease.h"
#include "engine/worker.h"

/* ---- room ---- */

void engine_watch_room(Pool *pool, RoomWatch *watch, uint64_t n) {
        Engine *engine = pool->engine;

        watch->pool = pool;
        watch->waiter = (AdmitWaiter){ .n = n };
        pool_line_join(pool, &watch->waiter);
        pool->is_to_wake = engine->wake_pools = true;
}

void engine_unwatch_room(RoomWatch *watch) {
        /* Those behind it may fit where it did not. */
        if (watch->pool) {
                pool_line_leave(watch->pool, &watch->waiter);
                ((Engine *) watch->pool->engine)->check_pools = true;
        } else if (watch->pipeline) {
                pipeline_line_leave(&watch->pipeline->pipeline, &watch->waiter);
                watch->pipeline->engine->check_pools = true;
        }
        watch->pool = NULL;
        watch->pipeline = NULL;
}

void engine_serve_line(Pool *pool) {
        AdmitWaiter *waiter;

        while ((waiter = pool_line_serve(pool))) {
                RoomWatch *watch = container_of(waiter, RoomWatch, waiter);

                watch->pool = NULL;
                watch->served(watch);
        }
}

void engine_watch_empty(Engine *engine, Pool *pool, PoolWatch *watch) {
        list_append(&pool->drain_watches, &watch->links);
        engine->check_pools = true;
}

void pool_unwatch(PoolWatch *watch) {
        if (list_is_linked(&watch->links))
                list_remove(&watch->links);
}

void watches_done(List *watches) {
        List *l;

        while ((l = list_pop(watches))) {
                PoolWatch *watch = list_entry(l, PoolWatch, links);

                watch->done(watch);
        }
}

/* ---- the loop's turn ---- */

void engine_read_mail(Engine *engine, bool seen) {
        usec_t now = usec_now(CLOCK_MONOTONIC);
        Mail mail;
        Job *job;
        List *l;

        mailbox_take(&engine->mailbox, &mail, seen);
        if (mail_is_empty(&mail))
                return;

        while ((l = list_pop(&mail.notes))) {
                StartNote *note = list_entry(l, StartNote, links);

                if (engine->listener)
                        engine->listener->job_started(engine->listener_userdata, note);
                free(note);
        }
        durable_tell_waits(engine, mail.waits);
        for (job = mail.jobs; job;) {
                Job *next = job->next;

                engine_job_ended(engine, job, now);
                job = next;
        }
        engine_pass_jobs(engine, mail.passing, now);
        while ((l = list_pop(&mail.submissions)))
                engine_submission_ended(engine, list_entry(l, Submission, mail), now);
        while ((l = list_pop(&mail.gone))) {
                Worker *worker = list_entry(l, Worker, links);

                pool_join(worker->pool, worker);
        }
        if (!list_is_empty(&mail.sheets))
                durable_take_sheets(engine, &mail.sheets);
        engine->check_pools = true;
}

static int on_mailbox(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        engine_read_mail(userdata, /* seen= */ true);
        return 0;
}

static void wake_workers(Engine *engine) {
        engine->wake_pools = false;
        list_for_each (l, &engine->pools) {
                Pool *pool = list_entry(l, Pool, links);

                if (pool->is_to_wake) {
                        pool->is_to_wake = false;
                        pool_wake(pool);
                }
        }
}

void engine_turn(Engine *engine) {
        if (engine->wake_pools)
                wake_workers(engine);
        /* Once: busy workers could fill it for ever, and whatever is urgent wakes us again. */
        if (!mailbox_is_empty(&engine->mailbox))
                engine_read_mail(engine, /* seen= */ false);
        /* What is told to listeners and watches can lead to more of the same. */
        while (engine->wake_pools || engine->check_pools) {
                if (engine->wake_pools)
                        wake_workers(engine);
                if (engine->check_pools) {
                        engine->check_pools = false;
                        engine_check_pipelines(engine);
                        list_for_each (l, &engine->pools)
                                engine_check_pool(engine, list_entry(l, Pool, links));
                }
        }
        if (engine->durability)
                durable_flush(engine);
        /* What slots have posted since it was read is for the next turn, which may be far off. */
        if (engine->mailbox.by_main)
                mailbox_signal(&engine->mailbox);
}

void engine_set_listener(Engine *engine, const EngineListener *listener, void *userdata) {
        engine->listener = listener;
        engine->listener_userdata = userdata;
}

void engine_set_announce(Engine *engine, bool announce) {
        engine->announce = announce;
        list_for_each (l, &engine->pools)
                pool_set_announce(list_entry(l, Pool, links), announce);
}

/* ---- all ---- */

void engine_totals(Engine *engine, EngineTotals *ret) {
        *ret = (EngineTotals){ .counters = engine->gone };
        list_for_each (l, &engine->pools) {
                PoolView view;

                pool_view(list_entry(l, Pool, links), &view);
                ret->n_pools++;
                ret->n_queued += view.n_queued;
                ret->n_scheduled += view.n_scheduled;
                ret->n_running += view.n_running;
                ret->counters.submitted += view.counters.submitted;
                ret->counters.rejected += view.counters.rejected;
                for (int i = 0; i < _JOB_RESULT_MAX; i++)
                        ret->counters.results[i] += view.counters.results[i];
        }
}

void engine_shut_down(Engine *engine) {
        static const JobFilter filter = {
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .waiting = true,
                .only_volatile = true,
        };

        if (engine->shutting_down)
                return;
        engine->shutting_down = true;
        list_for_each (l, &engine->pipelines)
                engine_shut_pipeline(list_entry(l, PoolPipeline, links));
        list_for_each (l, &engine->pools) {
                Pool *pool = list_entry(l, Pool, links);

                pool_shut_down(pool);
                if (pool->desk)
                        lease_refuse_waiting(pool, -ESHUTDOWN);
        }
        engine->check_pools = true;
        (void) engine_sweep(engine, &filter, "sluiced is shutting down", NULL, NULL, NULL);
}

void engine_cancel_running(Engine *engine) {
        static const JobFilter filter = {
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .unfinished = true,
        };
        Sweep *sweep;

        if (engine_sweep(engine, &filter, "sluiced is shutting down", NULL, NULL, &sweep) >= 0)
                sweep->interrupts = true;
}

/* What ends in a pool is in the mail by the time that nothing runs there, so that comes last. */
bool engine_is_quiet(Engine *engine) {
        list_for_each (l, &engine->pools)
                if (!pool_is_quiet(list_entry(l, Pool, links)))
                        return false;
        return list_is_empty(&engine->sweeps) && mailbox_is_empty(&engine->mailbox) &&
               engine_is_stored(engine);
}

bool engine_workers_are_in_time(Engine *engine) {
        bool in_time = true;

        list_for_each (l, &engine->pools)
                in_time &= pool_workers_are_in_time(list_entry(l, Pool, links));
        return in_time;
}

void engine_dismiss(Engine *engine) {
        list_for_each (l, &engine->pipelines)
                (void) engine_remove_pipeline(
                        engine, list_entry(l, PoolPipeline, links), /* cancel= */ true, NULL);
        list_for_each (l, &engine->pools)
                (void) engine_remove_pool(
                        engine, list_entry(l, Pool, links), /* cancel= */ true, NULL);
}

int engine_new(sd_event *event, Engine **ret) {
        Engine *engine;
        int r;

        engine = calloc(1, sizeof(*engine));
        if (!engine)
                return -ENOMEM;
        *engine = (Engine){
                .event = sd_event_ref(event),
                .mailbox.fd = -EBADF,
                .next_id = 1,
                .started_realtime = usec_now(CLOCK_REALTIME),
                .retention_at = USEC_INFINITY,
                .tell_groups_at = USEC_INFINITY,
        };
        list_init(&engine->changed_rows);
        list_init(&engine->strangers);
        list_init(&engine->pools);
        list_init(&engine->pipelines);
        list_init(&engine->limiters);
        list_init(&engine->breakers);
        list_init(&engine->sweeps);
        list_init(&engine->untold_groups);
        job_table_init(&engine->jobs);
        slab_init(&engine->slab);
        output_stock_init(&engine->stock);
        quota_init(&engine->quota);

        r = mailbox_init(&engine->mailbox);
        if (r >= 0)
                r = sd_event_add_io(event, &engine->mailbox_source, engine->mailbox.fd, EPOLLIN,
                        on_mailbox, engine);
        if (r >= 0)
                r = sd_event_source_set_priority(engine->mailbox_source, ENGINE_PRIORITY);
        if (r >= 0)
                r = sd_event_add_time(event, &engine->retention_source, CLOCK_MONOTONIC,
                        USEC_INFINITY, USEC_PER_SEC, engine_on_retention, engine);
        if (r >= 0)
                r = sd_event_source_set_enabled(engine->retention_source, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(event, &engine->group_source, CLOCK_MONOTONIC, USEC_INFINITY,
                        10 * USEC_PER_MSEC, engine_on_untold_groups, engine);
        if (r >= 0)
                r = sd_event_source_set_enabled(engine->group_source, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time(event, &engine->sweep_source, CLOCK_MONOTONIC, 0, 1,
                        engine_on_sweep, engine);
        if (r >= 0)
                r = sd_event_source_set_enabled(engine->sweep_source, SD_EVENT_OFF);
        if (r < 0)
                return engine_free(engine), r;
        *ret = engine;
        return 0;
}

Engine *engine_free(Engine *engine) {
        if (!engine)
                return NULL;
        assert(list_is_empty(&engine->pools) && list_is_empty(&engine->pipelines));
        list_for_each (l, &engine->limiters)
                (void) engine_remove_limiter(engine, list_entry(l, SharedLimiter, links));
        list_for_each (l, &engine->breakers)
                (void) engine_remove_breaker(engine, list_entry(l, SharedBreaker, links));
        list_for_each (l, &engine->sweeps)
                sweep_free(list_entry(l, Sweep, links));
        sd_event_source_disable_unref(engine->group_source);
        sd_event_source_disable_unref(engine->sweep_source);
        sd_event_source_disable_unref(engine->retention_source);
        sd_event_source_disable_unref(engine->mailbox_source);
        mailbox_done(&engine->mailbox);
        output_stock_done(&engine->stock);
        job_table_done(&engine->jobs);
        slab_done(&engine->slab);
        quota_done(&engine->quota);
        sd_event_unref(engine->event);
        free(engine);
        return NULL;
}
