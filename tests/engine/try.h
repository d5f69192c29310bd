/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* An engine with pools of a handler made for tests, driven as the daemon drives it. Jobs say by
 * their payload what they are to do; main waits for events only, and gives up after a minute. */

#include "test.h"

#include <stdatomic.h>
#include <sys/uio.h>
#include <systemd/sd-event.h>

#include "engine/engine.h"
#include "engine/job-group.h"
#include "util/macro.h"

typedef struct Try Try;

#define TRY_GATES 8
#define TRY_JOBS_MAX (1 << 19)

/* What a job does, by the first byte of its payload; a digit after it names a gate. */
#define TRY_ECHO "e"           /* its output is its payload */
#define TRY_PASS "t"           /* its output is the rest of its payload, for the next stage */
#define TRY_FAIL "f"           /* fails with a text */
#define TRY_SILENT "q"         /* fails without a text */
#define TRY_BIG "b"            /* an output of 100,000 bytes */
#define TRY_GATE(n) "g" #n     /* begins, and waits for the gate or a stop */
#define TRY_STUBBORN(n) "i" #n /* begins, and waits for the gate only */
#define TRY_LATE(n) "l" #n     /* the same, but a success whatever happened */

#define TRY_ODD(n) "x" #n /* leaves its output in an odd way; there are TRY_ODD_WAYS */
#define TRY_ODD_WAYS 8
#define TRY_FAIL_TIMES(n) "n" #n /* fails in its first n attempts */
#define TRY_ASK "r"              /* fails, and asks for another attempt */
#define TRY_FATAL "d"            /* fails for good */
#define TRY_GATE_FAIL(n) "h" #n  /* waits for the gate, and fails */

/* What the listener was told of a job. */
typedef struct TryJob {
        unsigned n_started, n_finished;
        JobResult result;
} TryJob;

struct Try {
        sd_event *event;
        Engine *engine;
        TryJob *jobs; /* by id, of those that are announced */
        unsigned n_finished, n_started;
        unsigned n_pools_added, n_pools_removed;
        unsigned n_state_changes, n_worker_changes;
        bool several_lives; /* jobs may be tried again, so they start and end more than once */
        unsigned n_done;    /* of whatever watches and bulk calls the test has made */

        /* Called with what the listener is told; NULL = of no interest. */
        void (*workers_changed)(Try *t, Pool *pool);
        void (*pool_scaled)(Try *t, Pool *pool, const PoolScaling *scaling);
        void (*group_changed)(Try *t, JobGroup *group);
        void *userdata;
};

/* One plain handler, and one of which several jobs are taken at a time. Both know batches. */
extern const HandlerVTable try_singly, try_several;

void try_init(Try *t);
void try_done(Try *t); /* shuts down, removes all pools, and looks for leftovers */

PoolConfig *try_config(const char *name, const HandlerVTable *handler, uint32_t n_workers);
Pool *try_pool(Try *t, const char *name, const HandlerVTable *handler, uint32_t n_workers);

/* One submit call of n jobs of this payload. Returns the first id; the call has to be accepted. */
uint64_t try_submit(Try *t, Pool *pool, const char *payload, size_t n);
uint64_t try_submit_with(Try *t, Pool *pool, Submission *submission, const char *payload, size_t n);

/* The same as a group, which is kept as long as ResultRetention says. */
JobGroup *try_submit_group(
        Try *t, Pool *pool, GroupPolicy policy, const char *const *payloads, size_t n);

/* The same with a pipeline of these pools. */
PoolPipeline *try_pipeline(
        Try *t, const char *name, Pool *const *stages, size_t n_stages, uint64_t max_in_flight);
uint64_t try_submit_item(Try *t, PoolPipeline *pipeline, const char *payload);
Submission *try_submit_items(Try *t, PoolPipeline *pipeline, const char *const *payloads, size_t n);
JobGroup *try_submit_group_of_items(
        Try *t, PoolPipeline *pipeline, GroupPolicy policy, const char *const *payloads, size_t n);

/* Member i of a group has ended so, with this output or error text. */
void try_expect_member(
        Try *t, const JobGroup *group, uint64_t i, JobResult result, const char *text);

/* The same as a call that waits for all results: counted in t->n_done. */
Submission *try_submit_bulk(Try *t, Pool *pool, const char *payload, size_t n);

Submission *try_submission(void);

/* Runs the loop until the condition holds; it is looked at after each turn. */
#define try_until(t, condition)                                 \
        do {                                                    \
                for (unsigned try_n = 0; !(condition); try_n++) \
                        try_turn((t), try_n, #condition);       \
        } while (0)
void try_turn(Try *t, unsigned n, const char *what);

/* The same for what a worker does without telling main: looks again and again. */
#define try_await(t, condition)                                                    \
        do {                                                                       \
                usec_t try_end = usec_now(CLOCK_MONOTONIC) + USEC_PER_MINUTE;      \
                while (!(condition)) {                                             \
                        if (usec_now(CLOCK_MONOTONIC) > try_end)                   \
                                fail_msg("not for a minute: %s", #condition);      \
                        engine_turn((t)->engine);                                  \
                        assert_true(sd_event_run((t)->event, USEC_PER_MSEC) >= 0); \
                        engine_turn((t)->engine);                                  \
                }                                                                  \
        } while (0)

/* Several jobs are taken in the next turns, whatever those before have taken. */
void try_pretend_short(Pool *pool);

void try_assert_adds_up(Pool *pool);
JobResult try_result(Try *t, uint64_t id);
JobState try_state(Try *t, uint64_t id);
JobState try_real_state(Job *job); /* what it is besides, as nobody outside gets to see */

/* Waits until a worker has made that of the job, JOB_PASSING or JOB_FINISHED, of which main is told
 * by mail. The mail stays unread, and the job so where it is. */
void try_wait_unread(Try *t, Job *job, JobState state);

/* Gates. All are closed by try_init(). */
void gate_open(unsigned n);
void gate_wait_begun(unsigned n, unsigned n_jobs); /* so many jobs have come to it */
unsigned gate_n_begun(unsigned n);

/* The sizes of the batches that were begun since the last call, in that order. */
size_t try_batches(size_t *ret, size_t max);

/* The ids in the order in which they were begun since the last call. */
size_t try_order(uint64_t *ret, size_t max);
