/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* EventLog: what of all that happens is worth the time of who reads the log: jobs that have failed
 * for good, breakers that open, workers that do not come back, users at their quota. What could
 * come in a flood has a measure: of a pool's jobs, of a breaker, of a user. Main thread only. */

#include <systemd/sd-event.h>

#include "engine/engine.h"

typedef struct EventLog EventLog;

struct EventLog {
        Engine *engine;         /* borrowed */
        sd_event_source *timer; /* owned: on while lines were left out, which is to be told; NULL =
                                   none were up to now */
        usec_t timer_at;        /* USEC_INFINITY = it is off */
};

void event_log_init(EventLog *log, Engine *engine);
void event_log_done(EventLog *log);

/* As the functions of EngineListener. */
void event_log_job_finished(EventLog *log, const Job *job);
void event_log_pool_state(EventLog *log, Pool *pool);
void event_log_pool_scaled(EventLog *log, const Pool *pool, const PoolScaling *scaling);
void event_log_pool_removed(EventLog *log, Pool *pool);
void event_log_breaker_state(
        EventLog *log, SharedBreaker *breaker, BreakerState old, BreakerState new);

/* The user was refused more of it. */
void event_log_quota(Account *account, QuotaKind kind);
