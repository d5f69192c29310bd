/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where a job fails, thousands may. So there are at most so many lines about the jobs of one pool
 * in an interval, and at its end one that says how many more there were. One timer does that for
 * all pools and breakers, and only while there is something to be told. Of users nothing stays when
 * they have nothing any more, so what was left out of theirs is told with their next line. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bus/event-log.h"
#include "core/log-limit.h"
#include "store/store.h"
#include "util/log.h"
#include "util/message-ids.h"

/* How much of an error text is in a line, and it ends at the first line feed: what is more is in
 * GetResult, and what a command wrote in the log itself. */
#define ERROR_SIZE 256

/* The timer need not be more exact than people. */
#define TIMER_ACCURACY USEC_PER_SEC

void event_log_init(EventLog *log, Engine *engine) {
        *log = (EventLog){ .engine = engine, .timer_at = USEC_INFINITY };
}

void event_log_done(EventLog *log) {
        log->timer = sd_event_source_disable_unref(log->timer);
}

/* ---- what was left out ---- */

static void tell_pool_left_out(const Pool *pool, uint64_t n) {
        const char *name = pool->config->name;

        if (n > 0)
                log_event(LOG_WARNING,
                        LOG_FIELDS(.message_id = MESSAGE_LINES_LEFT_OUT, .pool = name),
                        "Pool %s: %" PRIu64 " more jobs have failed", name, n);
}

static void tell_breaker_left_out(const SharedBreaker *breaker, uint64_t n) {
        if (n > 0)
                log_event(LOG_WARNING,
                        LOG_FIELDS(.message_id = MESSAGE_LINES_LEFT_OUT, .breaker = breaker->name),
                        "Breaker %s: opened or closed %" PRIu64 " more times, and is %s",
                        breaker->name, n, breaker_state_to_string(breaker->told_state));
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);

static void arm(EventLog *log, usec_t at) {
        if (at >= log->timer_at)
                return;
        log->timer_at = at;
        if (log->timer) {
                (void) sd_event_source_set_time(log->timer, at);
                (void) sd_event_source_set_enabled(log->timer, SD_EVENT_ONESHOT);
                return;
        }
        /* Without it they are told with the next line. */
        if (sd_event_add_time(log->engine->event, &log->timer, CLOCK_MONOTONIC, at, TIMER_ACCURACY,
                    on_timer, log) < 0)
                log->timer_at = USEC_INFINITY;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        usec_t now = usec_now(CLOCK_MONOTONIC), next = USEC_INFINITY;
        EventLog *log = userdata;

        log->timer_at = USEC_INFINITY;
        list_for_each (l, &log->engine->pools) {
                Pool *pool = list_entry(l, Pool, links);

                tell_pool_left_out(pool, log_limit_advance(&pool->log_limit, now));
                next = MIN(next, log_limit_wake_at(&pool->log_limit));
        }
        list_for_each (l, &log->engine->breakers) {
                SharedBreaker *breaker = list_entry(l, SharedBreaker, links);

                tell_breaker_left_out(breaker, log_limit_advance(&breaker->log_limit, now));
                next = MIN(next, log_limit_wake_at(&breaker->log_limit));
        }
        arm(log, next);
        return 0;
}

/* ---- jobs ---- */

static const char *describe(JobResult result) {
        return result == JOB_TIMED_OUT ? "has run out of time"
               : result == JOB_LOST    ? "is lost"
                                       : "has failed";
}

/* It has ended the daemon with it again and again, and is not tried any more. */
static bool is_crasher(const Job *job) {
        return job->result == JOB_LOST && job->details &&
               job->details->crashes >= STORE_CRASHES_MAX;
}

static void tell_failed(const Job *job) {
        const Submission *submission = job->submission;
        const char *error = job_error(job), *pool = job_pool(job)->config->name;
        uint32_t attempts = job->details ? job->details->attempt : 0;
        bool crasher = is_crasher(job);
        const uid_t owner = submission->owner;
        char tries[32] = "";

        if (attempts > 1)
                (void) snprintf(tries, sizeof(tries), " after %" PRIu32 " attempts", attempts);
        log_event(crasher ? LOG_ERR : LOG_WARNING,
                LOG_FIELDS(.message_id = crasher ? MESSAGE_JOB_CRASHES : MESSAGE_JOB_FAILED,
                        .pool = pool, .job = job->id,
                        .pipeline = submission->pipeline ? container_of(submission->pipeline,
                                                                   PoolPipeline, pipeline)
                                                                   ->name
                                                         : NULL,
                        .result = job_result_to_string((JobResult) job->result), .owner = &owner),
                "Pool %s: job %" PRIu64 " %s%s: %.*s", pool, (uint64_t) job->id,
                describe((JobResult) job->result), tries,
                (int) MIN(strcspn(error, "\n"), (size_t) ERROR_SIZE), error);
}

void event_log_job_finished(EventLog *log, const Job *job) {
        Pool *pool = job_pool(job);
        usec_t now;

        if (likely(!job_result_is_failure((JobResult) job->result)))
                return;
        now = usec_now(CLOCK_MONOTONIC);
        tell_pool_left_out(pool, log_limit_advance(&pool->log_limit, now));
        if (log_limit_take(&pool->log_limit, now))
                tell_failed(job);
        else
                arm(log, log_limit_wake_at(&pool->log_limit));
}

/* ---- pools ---- */

void event_log_pool_state(EventLog *log, Pool *pool) {
        const char *name = pool->config->name;

        if (pool->shown_state == POOL_DEGRADED && !pool->logged_degraded) {
                pool->logged_degraded = true;
                log_event(LOG_ERR, LOG_FIELDS(.message_id = MESSAGE_POOL_DEGRADED, .pool = name),
                        "Pool %s: a worker does not come back from a job that was to stop", name);
        } else if (pool->shown_state == POOL_RUNNING && pool->logged_degraded) {
                pool->logged_degraded = false;
                log_event(LOG_NOTICE,
                        LOG_FIELDS(.message_id = MESSAGE_POOL_RECOVERED, .pool = name),
                        "Pool %s: all workers are back", name);
        }
}

void event_log_pool_scaled(EventLog *log, const Pool *pool, const PoolScaling *scaling) {
        const char *name = pool->config->name, *reason = scale_reason_to_string(scaling->reason);

        if (scaling->to != scaling->from)
                log_event(LOG_INFO, LOG_FIELDS(.pool = name), "Pool %s: %u → %u workers: %s", name,
                        scaling->from, scaling->to, reason);
        if (scaling->error < 0)
                log_event(LOG_WARNING,
                        LOG_FIELDS(.message_id = MESSAGE_WORKER_REFUSED, .pool = name,
                                .error = scaling->error),
                        "Pool %s: cannot start another worker (%s)", name, reason);
}

void event_log_pool_removed(EventLog *log, Pool *pool) {
        tell_pool_left_out(pool, log_limit_end(&pool->log_limit));
}

/* ---- breakers ---- */

/* Half-open, and open again after that, are steps on the way: what is told is that nothing, and
 * that all may pass. */
void event_log_breaker_state(
        EventLog *log, SharedBreaker *breaker, BreakerState old, BreakerState new) {
        bool closes = new == BREAKER_CLOSED;
        usec_t now;

        if (!closes && old != BREAKER_CLOSED)
                return;
        now = usec_now(CLOCK_MONOTONIC);
        tell_breaker_left_out(breaker, log_limit_advance(&breaker->log_limit, now));
        if (!log_limit_take(&breaker->log_limit, now)) {
                arm(log, log_limit_wake_at(&breaker->log_limit));
                return;
        }
        log_event(closes ? LOG_NOTICE : LOG_WARNING,
                LOG_FIELDS(.message_id = closes ? MESSAGE_BREAKER_CLOSED : MESSAGE_BREAKER_OPENED,
                        .pool = breaker->of_pool ? breaker->name : NULL, .breaker = breaker->name),
                "Breaker %s %s", breaker->name, closes ? "is closed again" : "has opened");
}

/* ---- users ---- */

void event_log_quota(Account *account, QuotaKind kind) {
        usec_t now = usec_now(CLOCK_MONOTONIC);
        char times[64] = "";
        uint64_t n;

        n = log_limit_advance(&account->log_limit, now);
        (void) log_limit_advance(&account->quota->log_limit, now);
        if (!log_limit_take(&account->log_limit, now) ||
                !log_limit_take(&account->quota->log_limit, now))
                return;
        if (n > 0)
                (void) snprintf(times, sizeof(times), "; was refused %" PRIu64 " times before", n);
        log_event(LOG_WARNING,
                LOG_FIELDS(.message_id = MESSAGE_QUOTA_EXCEEDED, .owner = &account->uid),
                "User %u has %" PRIu64 " %s, where %s is %" PRIu64 ", and asks for more%s",
                account->uid, account->used[kind], quota_kind_noun(kind),
                quota_kind_to_string(kind), account_max(account, kind), times);
}
