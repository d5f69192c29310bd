/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the engine does under a pool's lock is one call here, and so is a turn of the main loop;
 * between them anything may happen, and the clock may pass any timer before the main loop looks.
 * Workers come only if they were woken, timers go off only if they were armed, and a history ends
 * with all jobs done. So whoever is forgotten makes it hang, which is a broken rule as well. */

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>

#include "core/breaker.h"
#include "core/limiter.h"
#include "core/policy-history.h"
#include "core/scaler.h"
#include "core/scheduler.h"
#include "util/macro.h"

#define N_POOLS 3
#define N_WORKERS 4 /* of a pool at a time, those that are leaving included */
#define N_JOBS 72
#define N_WAITERS 4 /* submits that wait for room, of a pool */
#define N_WISHES 4
#define N_PERMITS 3
#define N_USES 1536
#define CLAIMS_MAX 3

typedef enum GateReason {
        GATE_OPEN,
        GATE_RATE,
        GATE_BREAKER,
} GateReason;

typedef enum WorkerState {
        WORKER_NONE,
        WORKER_IDLE,
        WORKER_COMING, /* was woken */
        WORKER_BUSY,
} WorkerState;

typedef struct Permit {
        uint64_t permit; /* 0 = none */
        bool probe;
} Permit;

/* A job that a worker has, and what it has passed the gates with. */
typedef struct Taken {
        size_t job;
        Permit permit;
        size_t use; /* of its token */
} Taken;

typedef struct Worker {
        WorkerState state;
        bool leaving;
        Run run; /* in the scheduler's list until it is over its time */
        Taken running, claims[CLAIMS_MAX];
        size_t n_claims;
        usec_t taken_at;
} Worker;

/* What a submit asks for. */
typedef struct Wanted {
        uint64_t n;
        int16_t priority;
        uint32_t owner;
        char *key; /* static; NULL = none */
} Wanted;

typedef struct RoomWaiter {
        AdmitWaiter waiter;
        Wanted wanted;
        usec_t deadline;
} RoomWaiter;

typedef struct Pool {
        bool exists, removing;
        bool limited, guarded, refuses;
        size_t turn_size;
        Scheduler scheduler;
        uint64_t n_accepted, n_rejected, n_ended;
        RoomWaiter waiters[N_WAITERS];

        /* As in engine/gates.c. */
        LimiterWaiter waiter;
        bool engaged;
        GateReason shut_by;

        Worker workers[N_WORKERS];
        uint32_t n_workers, n_idle, n_coming, n_target, min, max;
        Scaler scaler;
        usec_t timer;
        bool is_to_refuse;
} Pool;

typedef struct HistoryJob {
        Job job;
        JobDetails details;
        Submission submission;
        Pool *pool;
        unsigned n_ends;
} HistoryJob;

/* An Acquire call. */
typedef struct Wish {
        LimiterWaiter waiter;
        uint64_t n;
        usec_t deadline;
} Wish;

/* Tokens that were used, or a change of the limiter. */
typedef struct Use {
        usec_t at;
        uint64_t n; /* 0 = a change, or they were given back */
        bool is_change;
        LimiterConfig config;
        uint64_t credit;
} Use;

typedef struct History {
        Choices *choices;
        const char *fault;
        usec_t now;
        Limiter limiter;
        usec_t limiter_timer;
        Breaker breaker;
        usec_t breaker_timer;
        unsigned n_probes; /* at work, of whatever half-open time */
        unsigned percent_good;
        Pool pools[N_POOLS];
        HistoryJob jobs[N_JOBS];
        size_t n_jobs;
        Wish wishes[N_WISHES];
        Permit permits[N_PERMITS]; /* of services without a pool */
        usec_t permit_deadlines[N_PERMITS];
        uint64_t n_used;
        Use uses[N_USES];
        size_t n_uses;
        LimiterTime owed; /* what was used and has not come in again, at `owed_at` */
        usec_t owed_at;
} History;

#define CHECK(h, condition)                      \
        do {                                     \
                if (!(condition) && !(h)->fault) \
                        (h)->fault = #condition; \
        } while (0)

#define TELL(h, ...)                                                                     \
        do {                                                                             \
                if ((h)->choices->story) {                                               \
                        (void) fprintf((h)->choices->story, "%8" PRIu64 "  ", (h)->now); \
                        (void) fprintf((h)->choices->story, __VA_ARGS__);                \
                        (void) fputc('\n', (h)->choices->story);                         \
                }                                                                        \
        } while (0)

static unsigned choose(History *h, unsigned n) {
        return choices_below(h->choices, n);
}

#define CHOOSE(h, array) ((array)[choose((h), ELEMENTSOF(array))])

static size_t pool_number(const History *h, const Pool *pool) {
        return (size_t) (pool - h->pools);
}

/* The clock as a thread may have read it a little before it got the lock. */
static usec_t stale_now(History *h) {
        return choose(h, 4) == 0 ? usec_sub(h->now, choose(h, 4)) : h->now;
}

static void arm(usec_t *timer, usec_t at) {
        *timer = MIN(*timer, at);
}

/* ---- the limiter ---- */

static void arm_limiter(History *h) {
        arm(&h->limiter_timer, limiter_wake_at(&h->limiter));
}

/* What is due of tokens that were used. Those that are set aside are not, before they are. */
static LimiterTime limiter_owes(const Limiter *l) {
        return l->tat - (LimiterTime) l->latest * l->speed - (LimiterTime) l->credit * l->cost;
}

static void pass_time(History *h) {
        LimiterTime came_in = (LimiterTime) (h->limiter.latest - h->owed_at) * h->limiter.speed;

        h->owed -= MIN(h->owed, came_in);
        h->owed_at = h->limiter.latest;
}

/* After a change by which more or less is owed than what was used. */
static void agree(History *h) {
        h->owed = limiter_owes(&h->limiter);
        h->owed_at = h->limiter.latest;
}

static size_t note_use(History *h, uint64_t n) {
        CHECK(h, h->n_uses < N_USES);
        if (h->fault)
                return 0;
        h->uses[h->n_uses] = (Use){ .at = h->limiter.latest, .n = n };
        h->n_used += n;
        pass_time(h);
        h->owed += (LimiterTime) n * h->limiter.cost;
        return h->n_uses++;
}

static void note_change(History *h) {
        size_t i = note_use(h, 0);

        h->uses[i].is_change = true;
        h->uses[i].config = h->limiter.config;
        h->uses[i].credit = h->limiter.credit;
        agree(h);
}

/* Grants in any window <= burst + rate x window: a bucket into which each token pours its period
 * and out of which the rate runs never overflows. What was in it goes on at the new rate after a
 * change; a burst that is made smaller than it forgives the rest, and credit that was given before
 * stays good. */
static void check_windows(History *h) {
        LimiterTime level = 0, capacity = 0;
        const LimiterConfig *config = NULL;
        usec_t at = 0;

        for (size_t i = 0; i < h->n_uses; i++) {
                const Use *use = &h->uses[i];

                CHECK(h, use->at >= at);
                if (config)
                        level -= MIN(level, (LimiterTime) (use->at - at) * config->rate);
                at = use->at;
                if (use->is_change) {
                        uint64_t bound = MAX(use->config.burst, use->credit);

                        if (config)
                                level = level * use->config.period / config->period;
                        config = &use->config;
                        level = MIN(level, (LimiterTime) (bound - use->credit) * config->period);
                        capacity = (LimiterTime) bound * config->period;
                } else
                        level += (LimiterTime) use->n * config->period;
                CHECK(h, level <= capacity);
        }
}

/* ---- the breaker ---- */

static void arm_breaker(History *h, bool at_once) {
        arm(&h->breaker_timer, at_once ? 0 : breaker_wake_at(&h->breaker));
}

static Permit ask_breaker(History *h, usec_t now) {
        BreakerState old = h->breaker.state;
        BreakerVerdict verdict;
        Permit permit;

        verdict = breaker_ask(&h->breaker, now, &permit.permit);
        permit.probe = verdict == BREAKER_PROBE;
        CHECK(h, (permit.permit == 0) == (verdict == BREAKER_REJECT));
        CHECK(h, verdict != BREAKER_PASS || h->breaker.state == BREAKER_CLOSED);
        CHECK(h, verdict != BREAKER_PROBE || h->breaker.state == BREAKER_HALF_OPEN);
        h->n_probes += permit.probe;
        CHECK(h, !permit.probe || h->n_probes <= h->breaker.config.half_open_probes);
        if (h->breaker.state != old)
                arm_breaker(h, /* at_once= */ true);
        return permit;
}

static void end_permit(History *h, Permit *permit, bool cancelled, bool succeeded, usec_t now) {
        bool changed;

        if (permit->permit == 0)
                return;
        changed = cancelled ? breaker_cancel(&h->breaker, permit->permit)
                            : breaker_report(&h->breaker, permit->permit, succeeded, now);
        h->n_probes -= permit->probe;
        *permit = (Permit){};
        if (changed)
                arm_breaker(h, /* at_once= */ true);
}

/* ---- a pool's gates ---- */

typedef struct GateTurn {
        History *history;
        Pool *pool;
        Taken taken[CLAIMS_MAX + 1];
        size_t n_passed;
        usec_t taken_at;
        GateReason refused_by;
} GateTurn;

static bool take_directly(History *h, usec_t now, uint64_t n, usec_t *ret_at) {
        bool nobody_waits = list_is_empty(&h->limiter.waiters);
        LimiterVerdict verdict = limiter_take(&h->limiter, now, n, ret_at);

        CHECK(h, (verdict == LIMITER_NEVER) == (n > h->limiter.config.burst));
        CHECK(h, verdict != LIMITER_TAKEN || nobody_waits);
        CHECK(h, verdict != LIMITER_TAKEN || h->limiter.latest >= h->limiter.held_until);
        return verdict == LIMITER_TAKEN;
}

static bool take_token(GateTurn *turn, usec_t now) {
        History *h = turn->history;
        Pool *pool = turn->pool;
        usec_t at;

        if (pool->engaged && limiter_take_credit(&h->limiter, &pool->waiter, now)) {
                at = h->limiter.latest;
                arm_limiter(h);
        } else if (!take_directly(h, now, 1, &at))
                return false;
        if (turn->n_passed == 0)
                turn->taken_at = at;
        turn->taken[turn->n_passed].use = note_use(h, 1);
        return true;
}

static void give_token_back(History *h, const Pool *pool, size_t use, usec_t taken_at) {
        Limiter *l = &h->limiter;
        LimiterTime came_in = (LimiterTime) (l->latest - taken_at) * l->speed, least;
        bool exact;

        if (!pool->limited)
                return;
        pass_time(h);
        exact = l->forgiven == 0 && taken_at >= l->changed_at;
        least = h->owed - MIN(h->owed, came_in < l->cost ? l->cost - came_in : 0);
        limiter_give_back(l, 1, taken_at);
        /* Never more than that, and without a change of the limiter no less. */
        CHECK(h, limiter_owes(l) >= least);
        CHECK(h, limiter_owes(l) == least || !exact);
        agree(h);
        h->uses[use].n = 0;
        h->n_used--;
        arm_limiter(h);
}

static usec_t refuse(GateTurn *turn, GateReason reason) {
        turn->refused_by = reason;
        return USEC_INFINITY;
}

/* Nobody may wait longer than his due for one that is taken: one level is worth one interval. */
static void check_order(History *h, const Pool *pool, const Job *taken) {
        const SchedulerConfig *config = &pool->scheduler.config;

        for (size_t i = 0; i < h->n_jobs; i++) {
                const Job *job = &h->jobs[i].job;
                __int128 levels = taken->priority - job->priority, ahead;

                if (h->jobs[i].pool != pool || job == taken || job->state != JOB_QUEUED ||
                        (job->flags & JOB_CLAIMED))
                        continue;
                if (config->fair && job->submission->owner != taken->submission->owner)
                        continue;
                if (job_is_parked(job))
                        continue;
                if (config->aging_interval == USEC_INFINITY) {
                        CHECK(h, levels > 0 || (levels == 0 && taken->id < job->id));
                        continue;
                }
                ahead = (__int128) taken->due_at - job->due_at - levels * config->aging_interval;
                CHECK(h, ahead < 0 || (ahead == 0 && taken->id < job->id));
        }
}

static usec_t pass(void *userdata, const Job *job, usec_t now) {
        GateTurn *turn = userdata;
        History *h = turn->history;
        Pool *pool = turn->pool;
        Taken *taken = &turn->taken[turn->n_passed];

        *taken = (Taken){ .job = (size_t) (container_of(job, HistoryJob, job) - h->jobs) };
        if (pool->guarded) {
                BreakerVerdict verdict = breaker_peek(&h->breaker, now);

                if (verdict == BREAKER_REJECT)
                        return refuse(turn, GATE_BREAKER);
                if (verdict == BREAKER_PROBE && turn->n_passed > 0)
                        return refuse(turn, GATE_OPEN);
        }
        if (pool->limited && !take_token(turn, now))
                return refuse(turn, GATE_RATE);
        if (pool->guarded) {
                taken->permit = ask_breaker(h, now);
                CHECK(h, taken->permit.permit != 0);
        }
        check_order(h, pool, job);
        turn->n_passed++;
        return 0;
}

static void gates_wait(History *h, Pool *pool, uint64_t wants) {
        pool->engaged = true;
        pool->shut_by = GATE_RATE;
        if (pool->waiter.credit > 0)
                limiter_leave(&h->limiter, &pool->waiter);
        if (!list_is_linked(&pool->waiter.links))
                limiter_wait(&h->limiter, &pool->waiter, wants);
        arm_limiter(h);
}

static void gates_leave(History *h, Pool *pool) {
        if (pool->shut_by == GATE_RATE)
                pool->shut_by = GATE_OPEN;
        if (!pool->engaged)
                return;
        pool->engaged = false;
        limiter_leave(&h->limiter, &pool->waiter);
        arm_limiter(h);
}

/* ---- what a pool does under its lock ---- */

static void settle_gates(History *h, Pool *pool) {
        if (!scheduler_has_work(&pool->scheduler) || pool->n_idle + pool->n_coming == 0 ||
                pool->shut_by == GATE_BREAKER)
                gates_leave(h, pool);
        else if (pool->limited && pool->n_coming == 0 && pool->shut_by == GATE_OPEN)
                gates_wait(h, pool,
                        MIN(scheduler_n_ready(&pool->scheduler),
                                (uint64_t) pool->n_idle * pool->turn_size));
}

static void wake(Pool *pool, Worker *worker) {
        worker->state = WORKER_COMING;
        pool->n_idle--;
        pool->n_coming += !worker->leaving;
}

static void wake_idle(Pool *pool, uint64_t n) {
        for (size_t i = 0; i < N_WORKERS && n > 0; i++)
                if (pool->workers[i].state == WORKER_IDLE) {
                        wake(pool, &pool->workers[i]);
                        n--;
                }
}

static bool is_worth_asking(const Pool *pool) {
        return scheduler_has_work(&pool->scheduler) && pool->shut_by == GATE_OPEN;
}

/* What is held back is no demand. */
static ScalerStats scaler_stats(const History *h, const Pool *pool) {
        bool held = pool->scheduler.paused || pool->shut_by != GATE_OPEN;
        ScalerStats stats = {
                .now = h->now,
                .workers = pool->n_workers,
                .idle = pool->n_idle,
                .queued = held ? 0 : scheduler_n_ready(&pool->scheduler),
                .min = pool->min,
                .max = pool->max,
        };

        for (size_t i = 0; i < h->n_jobs && stats.queued > 0; i++)
                if (h->jobs[i].pool == pool && h->jobs[i].job.state == JOB_QUEUED &&
                        !job_is_parked(&h->jobs[i].job))
                        stats.oldest_wait =
                                MAX(stats.oldest_wait, usec_sub(h->now, h->jobs[i].job.due_at));
        return stats;
}

static void report_scale(History *h, Pool *pool) {
        ScalerStats stats = scaler_stats(h, pool);

        if (!pool->removing)
                scaler_report(&pool->scaler, &stats);
}

static void job_ended(History *h, HistoryJob *job) {
        job->n_ends++;
        job->pool->n_ended++;
        CHECK(h, job->n_ends == 1);
        CHECK(h, job->job.state == JOB_FINISHED);
        TELL(h, "   job %" PRIu64 " has ended: %s", (uint64_t) job->job.id,
                job_result_to_string((JobResult) job->job.result));
}

/* What the scheduler has ended by itself. */
static void collect_ended(History *h, Pool *pool) {
        for (Job *job = scheduler_ended(&pool->scheduler), *next; job; job = next) {
                next = job->next;
                CHECK(h, job->result == JOB_EXPIRED || job->result == JOB_DROPPED);
                job_ended(h, container_of(job, HistoryJob, job));
        }
}

/* A worker may have freed more keys than it takes jobs: then the main loop wakes others. */
static void arm_pool(Pool *pool) {
        arm(&pool->timer, scheduler_wake_at(&pool->scheduler));
        if (keys_are_in_use(&pool->scheduler.keys) && pool->n_idle > 0 && pool->n_coming == 0 &&
                is_worth_asking(pool))
                arm(&pool->timer, 0);
}

static void after_change(History *h, Pool *pool) {
        collect_ended(h, pool);
        if (is_worth_asking(pool))
                wake_idle(pool, scheduler_n_ready(&pool->scheduler));
        settle_gates(h, pool);
        arm_pool(pool);
        report_scale(h, pool);
}

/* What a worker has not begun goes back, with tokens and permits. */
static bool reclaim(History *h, Pool *pool, Worker *worker) {
        bool any = worker->n_claims > 0;

        while (worker->n_claims > 0) {
                Taken *taken = &worker->claims[--worker->n_claims];

                scheduler_unclaim(&pool->scheduler, &h->jobs[taken->job].job);
                give_token_back(h, pool, taken->use, worker->taken_at);
                end_permit(h, &taken->permit, /* cancelled= */ true, false, h->now);
        }
        return any;
}

static bool reclaim_all(History *h, Pool *pool) {
        bool any = false;

        for (size_t i = 0; i < N_WORKERS; i++)
                any |= reclaim(h, pool, &pool->workers[i]);
        return any;
}

static void shut_by_breaker(History *h, Pool *pool) {
        gates_leave(h, pool);
        pool->shut_by = GATE_BREAKER;
        if (pool->refuses) {
                pool->is_to_refuse = true;
                arm(&pool->timer, 0);
        }
}

/* ---- workers ---- */

static void begin(History *h, Pool *pool, Worker *worker, usec_t now) {
        static const usec_t timeouts[] = { USEC_INFINITY, 20, 5 };

        worker->state = WORKER_BUSY;
        scheduler_add_run(&pool->scheduler, &worker->run, now, CHOOSE(h, timeouts));
}

/* The attempt has come to its end. */
static void finish(History *h, Pool *pool, Taken *taken, usec_t now) {
        static const Outcome bad[] = { OUTCOME_FAILURE, OUTCOME_FAILURE, OUTCOME_RETRY,
                OUTCOME_FATAL, OUTCOME_LOST };
        HistoryJob *job = &h->jobs[taken->job];
        bool good = choose(h, 100) < h->percent_good;
        Outcome outcome = good ? OUTCOME_SUCCESS : CHOOSE(h, bad);
        uint64_t random = (uint64_t) choose(h, 256) * UINT64_C(0x0101010101010101);
        uint32_t max_attempts =
                job->submission.max_attempts ?: pool->scheduler.config.retry.max_attempts;
        bool cancelled = job->job.flags & JOB_STOP_BY_CANCEL;
        usec_t due_at = job->job.due_at;

        TELL(h, "pool %zu: job %" PRIu64 " %s", pool_number(h, pool), (uint64_t) job->job.id,
                good ? "succeeds" : "fails");
        end_permit(h, &taken->permit, !good && job_stop(&job->job) == JOB_STOP_CANCEL, good, now);
        if (!good)
                job->job.details = &job->details;
        if (scheduler_finish(&pool->scheduler, &job->job, outcome, now, random)) {
                job_ended(h, job);
                return;
        }
        CHECK(h, job->details.attempt < max_attempts ||
                         (outcome == OUTCOME_RETRY && job->details.asked <= RETRY_ASKED_MAX));
        CHECK(h, !cancelled);
        CHECK(h, job->job.due_at == due_at);
        CHECK(h, job->details.ready_at >= now);
}

/* Asks for jobs, or leaves. */
static void turn(History *h, Pool *pool, Worker *worker) {
        GateTurn gates = { .history = h, .pool = pool };
        Gates table = { .pass = pass, .userdata = &gates };
        Job *jobs[CLAIMS_MAX + 1];
        usec_t now = stale_now(h), until;
        TakeVerdict verdict;
        bool again = true;
        size_t n = 0;

        if (worker->leaving || pool->n_workers > pool->n_target) {
                if (!worker->leaving)
                        pool->n_workers--;
                *worker = (Worker){};
                TELL(h, "pool %zu: a worker leaves", pool_number(h, pool));
                settle_gates(h, pool);
                arm_pool(pool);
                return;
        }

        do {
                gates.n_passed = 0;
                gates.refused_by = GATE_OPEN;
                verdict = scheduler_take(
                        &pool->scheduler, now, &table, pool->turn_size, jobs, &n, &until);
                again = verdict != TAKE_JOBS && !pool->scheduler.paused &&
                        gates.refused_by == GATE_OPEN && reclaim_all(h, pool);
        } while (again);
        collect_ended(h, pool);

        if (verdict == TAKE_JOBS) {
                CHECK(h, n == gates.n_passed);
                worker->running = gates.taken[0];
                worker->taken_at = gates.taken_at;
                for (size_t i = 1; i < n; i++)
                        worker->claims[worker->n_claims++] = gates.taken[i];
                TELL(h, "pool %zu: a worker takes job %" PRIu64 " and %zu more",
                        pool_number(h, pool), (uint64_t) jobs[0]->id, n - 1);
                begin(h, pool, worker, now);
        } else {
                TELL(h, "pool %zu: a worker goes idle (%d)", pool_number(h, pool),
                        (int) gates.refused_by);
                worker->state = WORKER_IDLE;
                pool->n_idle++;
                if (gates.refused_by == GATE_BREAKER)
                        shut_by_breaker(h, pool);
        }
        settle_gates(h, pool);
        arm_pool(pool);
}

static void work(History *h, Pool *pool, Worker *worker) {
        switch (worker->state) {
        case WORKER_NONE:
        case WORKER_IDLE:
                return;

        case WORKER_COMING:
                pool->n_coming -= !worker->leaving;
                turn(h, pool, worker);
                break;

        case WORKER_BUSY:
                if (list_is_linked(&worker->run.links))
                        scheduler_remove_run(&pool->scheduler, &worker->run);
                finish(h, pool, &worker->running, stale_now(h));
                if (worker->n_claims > 0) {
                        worker->running = worker->claims[0];
                        worker->n_claims--;
                        for (size_t i = 0; i < worker->n_claims; i++)
                                worker->claims[i] = worker->claims[i + 1];
                        scheduler_start(&pool->scheduler, &h->jobs[worker->running.job].job);
                        begin(h, pool, worker, h->now);
                        arm_pool(pool);
                } else
                        turn(h, pool, worker);
                break;
        }
        report_scale(h, pool);
}

static void hire(History *h, Pool *pool) {
        for (size_t i = 0; i < N_WORKERS && pool->n_workers < pool->n_target; i++) {
                Worker *worker = &pool->workers[i];

                /* Here the number of workers has an end, and those that leave are in the way. */
                if (worker->state == WORKER_COMING && worker->leaving)
                        work(h, pool, worker);
                if (worker->state != WORKER_NONE)
                        continue;
                *worker = (Worker){ .state = WORKER_COMING };
                list_init(&worker->run.links);
                pool->n_workers++;
                pool->n_coming++;
        }
}

static void resize(History *h, Pool *pool, uint32_t n_target) {
        TELL(h, "pool %zu: %" PRIu32 " workers wanted of %" PRIu32, pool_number(h, pool), n_target,
                pool->n_workers);
        pool->n_target = n_target;
        for (size_t i = 0; i < N_WORKERS && pool->n_workers > n_target; i++)
                if (pool->workers[i].state == WORKER_IDLE) {
                        pool->workers[i].leaving = true;
                        pool->n_workers--;
                        wake(pool, &pool->workers[i]);
                }
        hire(h, pool);
        settle_gates(h, pool);
        report_scale(h, pool);
        CHECK(h, pool->n_workers >= n_target);
        CHECK(h, pool->n_workers == n_target || pool->n_idle == 0);
}

/* ---- pools come and go ---- */

static SchedulerConfig choose_config(History *h) {
        static const usec_t intervals[] = { 10, 0, 2, USEC_PER_YEAR, USEC_INFINITY };

        return (SchedulerConfig){
                .queue_max = 1 + choose(h, 20),
                .aging_interval = CHOOSE(h, intervals),
                .fair = choose(h, 2),
                .overflow = (Overflow) choose(h, _OVERFLOW_MAX),
                .retry = {
                        .max_attempts = 1 + choose(h, 4),
                        .backoff = choose(h, 6),
                        .backoff_max = 1 + choose(h, 30),
                },
                .key_concurrency = 1 + choose(h, 2) * choose(h, 3),
        };
}

static void add_pool(History *h, Pool *pool) {
        SchedulerConfig config = choose_config(h);
        ScalerConfig scale = {
                .mode = (ScaleMode) choose(h, SCALE_PRESSURE),
                .interval = 1 + choose(h, 20),
                .up_at = choose(h, 5),
                .down_at = choose(h, 5),
                .target_wait = choose(h, 20),
        };
        uint32_t min = 1 + choose(h, 2);

        *pool = (Pool){
                .exists = true,
                .limited = choose(h, 4) > 0,
                .guarded = choose(h, 4) > 0,
                .refuses = choose(h, 2),
                .turn_size = 1 + choose(h, CLAIMS_MAX + 1),
                .waiter.is_pool = true,
                .timer = USEC_INFINITY,
                .min = min,
                .max = min + choose(h, N_WORKERS - min + 1),
        };
        list_init(&pool->waiter.links);
        scaler_init(&pool->scaler, &scale);
        CHECK(h, scheduler_init(&pool->scheduler, &config) == 0);
        TELL(h, "pool %zu: added%s%s%s", pool_number(h, pool), pool->limited ? ", limited" : "",
                pool->guarded ? ", guarded" : "", pool->refuses ? ", refuses" : "");
        resize(h, pool, pool->max);
}

static void cancel_job(History *h, HistoryJob *job) {
        Pool *pool = job->pool;

        /* One that is claimed would first be given back, or begun. */
        if (job->job.flags & JOB_CLAIMED)
                (void) reclaim_all(h, pool);
        if (scheduler_cancel(&pool->scheduler, &job->job) == CANCEL_FINISHED)
                job_ended(h, job);
}

/* As a sweep does it, before anything else happens. */
static void cancel_all(History *h, Pool *pool, bool only_scheduled) {
        for (size_t i = 0; i < h->n_jobs; i++)
                if (h->jobs[i].pool == pool && h->jobs[i].job.state != JOB_FINISHED &&
                        (!only_scheduled || h->jobs[i].job.state == JOB_SCHEDULED))
                        cancel_job(h, &h->jobs[i]);
}

static void remove_pool(History *h, Pool *pool, bool cancel) {
        TELL(h, "pool %zu: removed%s", pool_number(h, pool), cancel ? " at once" : "");
        pool->removing = true;
        pool->scheduler.draining = true;
        cancel_all(h, pool, /* only_scheduled= */ !cancel);
        if (cancel) {
                (void) reclaim_all(h, pool);
                pool->scheduler.paused = true;
        }
        after_change(h, pool);
}

static void pool_gone(History *h, Pool *pool) {
        TELL(h, "pool %zu: is gone", pool_number(h, pool));
        gates_leave(h, pool);
        CHECK(h, pool->n_ended == pool->n_accepted);
        CHECK(h, pool->waiter.credit == 0 && !list_is_linked(&pool->waiter.links));
        for (size_t i = 0; i < h->n_jobs; i++)
                if (h->jobs[i].pool == pool)
                        h->jobs[i].pool = NULL;
        scheduler_done(&pool->scheduler);
        *pool = (Pool){};
}

static void go_on_removing(History *h, Pool *pool) {
        if (!scheduler_is_empty(&pool->scheduler) || pool->scheduler.n_scheduled > 0 ||
                list_first(&pool->scheduler.line))
                return;
        if (pool->n_target > 0)
                resize(h, pool, 0);
        for (size_t i = 0; i < N_WORKERS; i++)
                if (pool->workers[i].state != WORKER_NONE)
                        return;
        pool_gone(h, pool);
}

/* ---- submits ---- */

static bool is_refusing(const History *h, const Pool *pool) {
        return pool->refuses && pool->guarded && breaker_state(&h->breaker, h->now) == BREAKER_OPEN;
}

/* Takes in what was admitted. */
static void submit(History *h, Pool *pool, Wanted wanted) {
        static const usec_t delays[] = { 0, 0, 0, 3, 15 };
        static const usec_t timeouts[] = { USEC_INFINITY, USEC_INFINITY, 40, 8, 0 };
        usec_t delay = CHOOSE(h, delays), timeout = CHOOSE(h, timeouts), now = stale_now(h);
        uint32_t max_attempts = choose(h, 3);

        for (uint64_t i = 0; i < wanted.n; i++) {
                HistoryJob *job = &h->jobs[h->n_jobs];

                job->pool = pool;
                job->submission = (Submission){
                        .owner = wanted.owner,
                        .submitted_at = now,
                        .delay = delay,
                        .queue_timeout = timeout,
                        .max_attempts = max_attempts,
                        .concurrency_key = wanted.key,
                };
                job->details = (JobDetails){ .job = &job->job };
                job->job = (Job){
                        .id = ++h->n_jobs,
                        .priority = wanted.priority,
                        .submission = &job->submission,
                        .details = delay > 0 || timeout != USEC_INFINITY || wanted.key
                                           ? &job->details
                                           : NULL,
                };
                job->n_ends = 0;
                scheduler_submit(&pool->scheduler, &job->job, now);
        }
        TELL(h, "pool %zu: %" PRIu64 " jobs up to %zu, priority %d, delay %" PRIu64,
                pool_number(h, pool), wanted.n, h->n_jobs, wanted.priority, delay);
        pool->n_accepted += wanted.n;
        /* As where it is more urgent than what workers have set aside. */
        if (choose(h, 4) == 0)
                (void) reclaim_all(h, pool);
        if (is_worth_asking(pool))
                wake_idle(pool, MIN(wanted.n, scheduler_n_ready(&pool->scheduler)));
        arm_pool(pool);
        report_scale(h, pool);
}

static AdmitVerdict admit(History *h, Pool *pool, Wanted wanted, unsigned flags) {
        const Submission submission = { .owner = wanted.owner, .concurrency_key = wanted.key };
        int verdict;

        if (is_refusing(h, pool) && !(flags & ADMIT_NO_DROP)) {
                scheduler_reject(&pool->scheduler, wanted.n);
                pool->n_rejected += wanted.n;
                return ADMIT_SHUT;
        }
        scheduler_advance(&pool->scheduler, h->now);
        /* As where something may have to be dropped. */
        if (choose(h, 2))
                (void) reclaim_all(h, pool);
        verdict = scheduler_admit(&pool->scheduler, wanted.n, &submission, wanted.priority, flags);
        CHECK(h, verdict >= 0);
        CHECK(h, verdict != ADMIT_YES ||
                         pool->scheduler.n_queued + pool->scheduler.n_scheduled + wanted.n <=
                                 pool->scheduler.config.queue_max);
        if (verdict == ADMIT_DRAINING || (verdict == ADMIT_FULL && !(flags & ADMIT_MAY_WAIT)))
                pool->n_rejected += wanted.n;
        after_change(h, pool);
        return (AdmitVerdict) verdict;
}

static void join_line(History *h, Pool *pool, Wanted wanted) {
        for (size_t i = 0; i < N_WAITERS; i++) {
                RoomWaiter *waiter = &pool->waiters[i];

                if (list_is_linked(&waiter->waiter.links))
                        continue;
                *waiter = (RoomWaiter){
                        .waiter.n = wanted.n,
                        .wanted = wanted,
                        .deadline = usec_add(h->now, choose(h, 60)),
                };
                scheduler_line_join(&pool->scheduler, &waiter->waiter);
                return;
        }
        /* There is no end to the line in life: this one has no patience. */
        scheduler_reject(&pool->scheduler, wanted.n);
        pool->n_rejected += wanted.n;
}

static void leave_line(Pool *pool, RoomWaiter *waiter) {
        scheduler_line_leave(&pool->scheduler, &waiter->waiter);
        pool->n_rejected += waiter->wanted.n;
}

/* Who waits for room comes in, or has no time left. */
static void serve_line(History *h, Pool *pool) {
        AdmitWaiter *next;

        while (!h->fault && (next = scheduler_line_serve(&pool->scheduler))) {
                Wanted wanted = container_of(next, RoomWaiter, waiter)->wanted;

                if (h->n_jobs + wanted.n > N_JOBS) {
                        scheduler_reject(&pool->scheduler, wanted.n);
                        pool->n_rejected += wanted.n;
                } else if (admit(h, pool, wanted, ADMIT_SERVED) == ADMIT_YES && !h->fault)
                        submit(h, pool, wanted);
        }
        for (size_t i = 0; i < N_WAITERS; i++)
                if (list_is_linked(&pool->waiters[i].waiter.links) &&
                        pool->waiters[i].deadline <= h->now)
                        leave_line(pool, &pool->waiters[i]);
}

/* ---- the main loop ---- */

/* Who is first in line is served at that moment, and could not be a microsecond before. */
static void check_wake_at(History *h) {
        Limiter *l = &h->limiter;
        usec_t at = limiter_wake_at(l);
        const LimiterWaiter *first;
        uint64_t n;

        if (list_is_empty(&l->waiters) || l->credit > 0) {
                CHECK(h, at == USEC_INFINITY || l->credit > 0);
                return;
        }
        first = list_entry(list_first(&l->waiters), LimiterWaiter, links);
        n = first->is_pool ? 1 : first->wants;
        CHECK(h, limiter_tokens(l, at) >= n);
        CHECK(h, at > l->latest && limiter_tokens(l, at - 1) < n);
}

static void serve_limiter(History *h) {
        bool served[N_POOLS] = {};
        LimiterWaiter *waiter;

        while ((waiter = limiter_serve(&h->limiter, h->now))) {
                /* Who wants more is behind all others now. */
                CHECK(h, !list_is_linked(&waiter->links) ||
                                 h->limiter.waiters.prev == &waiter->links);
                if (waiter->is_pool)
                        served[container_of(waiter, Pool, waiter) - h->pools] = true;
                else if (!waiter->failed) {
                        TELL(h, "an acquire is served");
                        (void) note_use(h, container_of(waiter, Wish, waiter)->n);
                }
        }
        check_wake_at(h);
        arm_limiter(h);
        for (size_t i = 0; i < N_POOLS; i++) {
                Pool *pool = &h->pools[i];

                if (!served[i])
                        continue;
                TELL(h, "pool %zu: %" PRIu64 " tokens set aside", i, pool->waiter.credit);
                if (pool->shut_by == GATE_RATE)
                        pool->shut_by = GATE_OPEN;
                if (is_worth_asking(pool))
                        wake_idle(pool, pool->waiter.credit);
                settle_gates(h, pool);
                report_scale(h, pool);
        }
}

static void refuse_queued(History *h, Pool *pool) {
        for (size_t i = 0; i < h->n_jobs; i++)
                if (h->jobs[i].pool == pool && scheduler_refuse(&pool->scheduler, &h->jobs[i].job))
                        job_ended(h, &h->jobs[i]);
        settle_gates(h, pool);
        report_scale(h, pool);
}

static void tell_breaker(History *h) {
        (void) breaker_advance(&h->breaker, h->now);
        arm_breaker(h, /* at_once= */ false);
        TELL(h, "the breaker is %s", breaker_state_to_string(h->breaker.state));
        for (size_t i = 0; i < N_POOLS; i++) {
                Pool *pool = &h->pools[i];

                if (!pool->exists || !pool->guarded)
                        continue;
                if (pool->shut_by == GATE_BREAKER)
                        pool->shut_by = GATE_OPEN;
                after_change(h, pool);
                if (is_refusing(h, pool))
                        refuse_queued(h, pool);
        }
}

static void stop_overdue(History *h, Pool *pool) {
        Run *run;

        while ((run = scheduler_first_run(&pool->scheduler)) && run->deadline <= h->now) {
                Worker *worker = container_of(run, Worker, run);
                Job *job = &h->jobs[worker->running.job].job;

                scheduler_remove_run(&pool->scheduler, run);
                if (scheduler_stop_timed_out(&pool->scheduler, job)) {
                        TELL(h, "pool %zu: job %" PRIu64 " is over its time", pool_number(h, pool),
                                (uint64_t) job->id);
                        end_permit(
                                h, &worker->running.permit, false, /* succeeded= */ false, h->now);
                }
        }
}

static void pool_timer(History *h, Pool *pool) {
        uint64_t n_scheduled = pool->scheduler.n_scheduled;

        pool->timer = USEC_INFINITY;
        stop_overdue(h, pool);
        scheduler_advance(&pool->scheduler, h->now);
        if (pool->scheduler.n_scheduled < n_scheduled)
                (void) reclaim_all(h, pool);
        after_change(h, pool);
        if (pool->is_to_refuse && is_refusing(h, pool))
                refuse_queued(h, pool);
        pool->is_to_refuse = false;
}

static void scale(History *h, Pool *pool) {
        ScalerStats stats = scaler_stats(h, pool);
        uint32_t wanted;

        (void) scaler_ask(&pool->scaler, &stats, &wanted);
        CHECK(h, wanted >= pool->min && wanted <= pool->max);
        CHECK(h, wanted <= MAX(stats.workers + MAX(stats.workers / 4, 1U), pool->min));
        CHECK(h, wanted + 1 >= MIN(stats.workers, pool->max));
        if (wanted != pool->n_target)
                resize(h, pool, wanted);
}

/* When the main loop has to do something, if nothing else happens. */
static usec_t wake_at(const History *h) {
        usec_t t = MIN(h->limiter_timer, h->breaker_timer);

        for (size_t i = 0; i < N_WISHES; i++)
                if (list_is_linked(&h->wishes[i].waiter.links))
                        t = MIN(t, h->wishes[i].deadline);
        for (size_t i = 0; i < N_PERMITS; i++)
                if (h->permits[i].permit != 0)
                        t = MIN(t, h->permit_deadlines[i]);
        for (size_t i = 0; i < N_POOLS; i++) {
                const Pool *pool = &h->pools[i];

                if (!pool->exists)
                        continue;
                t = MIN(t, pool->timer);
                if (!pool->removing)
                        t = MIN(t, scaler_wake_at(&pool->scaler));
                for (size_t k = 0; k < N_WAITERS; k++)
                        if (list_is_linked(&pool->waiters[k].waiter.links))
                                t = MIN(t, pool->waiters[k].deadline);
        }
        return t;
}

static void turn_main(History *h) {
        if (h->limiter_timer <= h->now) {
                h->limiter_timer = USEC_INFINITY;
                serve_limiter(h);
        }
        if (h->breaker_timer <= h->now) {
                h->breaker_timer = USEC_INFINITY;
                tell_breaker(h);
        }
        for (size_t i = 0; i < N_WISHES; i++)
                if (list_is_linked(&h->wishes[i].waiter.links) && h->wishes[i].deadline <= h->now) {
                        limiter_leave(&h->limiter, &h->wishes[i].waiter);
                        arm_limiter(h);
                }
        for (size_t i = 0; i < N_PERMITS; i++)
                if (h->permits[i].permit != 0 && h->permit_deadlines[i] <= h->now)
                        end_permit(h, &h->permits[i], false, /* succeeded= */ false, h->now);
        for (size_t i = 0; i < N_POOLS && !h->fault; i++) {
                Pool *pool = &h->pools[i];

                if (!pool->exists)
                        continue;
                if (pool->timer <= h->now)
                        pool_timer(h, pool);
                serve_line(h, pool);
                if (pool->removing)
                        go_on_removing(h, pool);
                else if (scaler_wake_at(&pool->scaler) <= h->now)
                        scale(h, pool);
        }
}

/* ---- calls ---- */

static void call_submit(History *h, Pool *pool) {
        static char a[] = "a", b[] = "b";
        static char *const keys[] = { NULL, NULL, NULL, a, b };
        Wanted wanted = {
                .n = 1 + choose(h, 4),
                .priority = (int16_t) ((int) choose(h, 5) - 2),
                .owner = choose(h, 3),
                .key = CHOOSE(h, keys),
        };
        bool waits = choose(h, 3) == 0;

        if (h->n_jobs + wanted.n > N_JOBS)
                return;
        switch (admit(h, pool, wanted, waits ? ADMIT_MAY_WAIT : 0)) {
        case ADMIT_YES:
                submit(h, pool, wanted);
                break;

        case ADMIT_FULL:
                if (waits)
                        join_line(h, pool, wanted);
                break;

        case ADMIT_DRAINING:
        case ADMIT_SHUT:
                break;
        }
}

static HistoryJob *choose_job(History *h) {
        HistoryJob *job = h->n_jobs > 0 ? &h->jobs[choose(h, (unsigned) h->n_jobs)] : NULL;

        return job && job->pool ? job : NULL;
}

static void call_cancel(History *h) {
        HistoryJob *job = choose_job(h);

        if (!job)
                return;
        TELL(h, "job %" PRIu64 " is to be cancelled", (uint64_t) job->job.id);
        cancel_job(h, job);
        after_change(h, job->pool);
}

static void call_set_priority(History *h) {
        HistoryJob *job = choose_job(h);
        int16_t priority = (int16_t) ((int) choose(h, 7) - 3);

        if (!job)
                return;
        (void) reclaim_all(h, job->pool);
        if (job->job.state == JOB_FINISHED)
                return;
        job->job.details = &job->details;
        CHECK(h, scheduler_set_priority(&job->pool->scheduler, &job->job, priority) == 0);
        after_change(h, job->pool);
}

static void call_kick(History *h) {
        HistoryJob *job = choose_job(h);
        Wanted wanted;

        if (!job || job->job.state != JOB_FINISHED || job->job.result == JOB_SUCCEEDED)
                return;
        wanted = (Wanted){ 1, job->job.priority, job->submission.owner,
                job->submission.concurrency_key };
        if (admit(h, job->pool, wanted, ADMIT_MAY_WAIT | ADMIT_NO_DROP) != ADMIT_YES || h->fault)
                return;
        TELL(h, "job %" PRIu64 " is kicked", (uint64_t) job->job.id);
        job->job.details = &job->details;
        job->n_ends = 0;
        job->pool->n_accepted++;
        scheduler_kick(&job->pool->scheduler, &job->job, stale_now(h));
        after_change(h, job->pool);
}

static void call_switch(History *h, Pool *pool) {
        Scheduler *s = &pool->scheduler;

        if (pool->removing)
                return;
        switch (choose(h, 4)) {
        case 0:
                TELL(h, "pool %zu: paused", pool_number(h, pool));
                (void) reclaim_all(h, pool);
                s->paused = true;
                break;

        case 1:
                TELL(h, "pool %zu: drains", pool_number(h, pool));
                s->draining = true;
                break;

        default:
                TELL(h, "pool %zu: resumed", pool_number(h, pool));
                s->paused = s->draining = false;
                break;
        }
        after_change(h, pool);
}

static void call_configure(History *h, Pool *pool) {
        SchedulerConfig config = choose_config(h);

        TELL(h, "pool %zu: other settings", pool_number(h, pool));
        (void) reclaim_all(h, pool);
        scheduler_set_config(&pool->scheduler, &config);
        after_change(h, pool);
        if (pool->removing)
                return;
        pool->min = 1 + choose(h, 2);
        pool->max = pool->min + choose(h, N_WORKERS - pool->min + 1);
        resize(h, pool, CLAMP(pool->n_target, pool->min, pool->max));
}

static LimiterConfig choose_limiter(History *h) {
        return (LimiterConfig){
                .rate = 1 + choose(h, 4),
                .period = 1 + choose(h, 12),
                .burst = 1 + choose(h, 6),
        };
}

static void call_limiter(History *h) {
        Wish *wish = &h->wishes[choose(h, N_WISHES)];
        uint64_t n = 1 + choose(h, 6);
        LimiterConfig config;
        usec_t at;

        switch (choose(h, 8)) {
        case 0:
                config = choose_limiter(h);
                limiter_set(&h->limiter, &config, h->now);
                TELL(h, "the limiter gives %" PRIu64 " per %" PRIu64 ", burst %" PRIu64,
                        config.rate, config.period, config.burst);
                note_change(h);
                serve_limiter(h);
                break;

        case 1:
                limiter_drain(&h->limiter, h->now);
                agree(h);
                arm_limiter(h);
                break;

        case 2:
                limiter_hold(&h->limiter, choose(h, 2) ? h->now + choose(h, 40) : 0);
                arm_limiter(h);
                break;

        case 3:
                if (!list_is_linked(&wish->waiter.links))
                        break;
                limiter_leave(&h->limiter, &wish->waiter);
                arm_limiter(h);
                break;

        case 4:
                if (take_directly(h, h->now, n, &at))
                        (void) note_use(h, n);
                break;

        default:
                if (list_is_linked(&wish->waiter.links))
                        break;
                if (take_directly(h, h->now, n, &at))
                        (void) note_use(h, n);
                else if (n <= h->limiter.config.burst) {
                        TELL(h, "an acquire of %" PRIu64 " waits", n);
                        *wish = (Wish){ .n = n, .deadline = h->now + choose(h, 100) };
                        limiter_wait(&h->limiter, &wish->waiter, n);
                        arm_limiter(h);
                }
                break;
        }
}

static BreakerConfig choose_breaker(History *h) {
        static const BreakerMode modes[] = { BREAKER_AUTO, BREAKER_AUTO, BREAKER_AUTO, BREAKER_AUTO,
                BREAKER_FORCED_OPEN, BREAKER_DISABLED };

        return (BreakerConfig){
                .mode = CHOOSE(h, modes),
                .max_failures = choose(h, 5),
                .failure_rate_percent = choose(h, 101),
                .window_size = 1 + choose(h, 10),
                .minimum_calls = choose(h, 8),
                .reset_timeout = choose(h, 30),
                .reset_timeout_max = choose(h, 100),
                .half_open_probes = 1 + choose(h, 3),
                .successes_to_close = 1 + choose(h, 3),
        };
}

static void call_breaker(History *h) {
        size_t i = choose(h, N_PERMITS);
        BreakerConfig config;

        switch (choose(h, 8)) {
        case 0:
                (void) breaker_trip(&h->breaker, h->now);
                tell_breaker(h);
                break;

        case 1:
                (void) breaker_reset(&h->breaker);
                tell_breaker(h);
                break;

        case 2:
                config = choose_breaker(h);
                CHECK(h, breaker_set(&h->breaker, &config) == 0);
                tell_breaker(h);
                break;

        default:
                if (h->permits[i].permit != 0) {
                        end_permit(h, &h->permits[i], choose(h, 4) == 0,
                                choose(h, 100) < h->percent_good, h->now);
                        break;
                }
                h->permits[i] = ask_breaker(h, h->now);
                h->permit_deadlines[i] = h->now + 60;
                break;
        }
}

static void call_come_or_go(History *h, Pool *pool) {
        if (pool->exists)
                remove_pool(h, pool, choose(h, 2));
        else
                add_pool(h, pool);
}

static void call_work(History *h, Pool *pool) {
        Worker *worker = &pool->workers[choose(h, N_WORKERS)];

        if (choose(h, 8) == 0)
                (void) reclaim(h, pool, worker);
        else
                work(h, pool, worker);
}

/* Time passes, or jumps to the moment at which something is to happen, and not a moment less. */
static void call_wait(History *h) {
        usec_t at = wake_at(h);

        if (choose(h, 2) && at != USEC_INFINITY)
                h->now = MAX(h->now, at);
        else
                h->now += choose(h, 12);
}

/* False: the history is at its end. */
static bool call_anything(History *h) {
        unsigned call = choose(h, 72);
        Pool *pool = &h->pools[choose(h, N_POOLS)];

        if (call == 0)
                return false;
        if (call < 6)
                call_wait(h);
        else if (call < 20)
                turn_main(h);
        else if (call < 26)
                call_limiter(h);
        else if (call < 30)
                call_breaker(h);
        else if (call < 33)
                call_cancel(h);
        else if (call < 35)
                call_set_priority(h);
        else if (call < 36)
                call_kick(h);
        else if (call < 37)
                call_come_or_go(h, pool);
        else if (!pool->exists)
                return true;
        else if (call < 39)
                call_switch(h, pool);
        else if (call < 40)
                call_configure(h, pool);
        else if (call < 50)
                call_submit(h, pool);
        else
                call_work(h, pool);
        return true;
}

/* ---- after every call ---- */

static void check_pool(History *h, const Pool *pool) {
        const Scheduler *s = &pool->scheduler;
        uint32_t n_workers = 0, n_idle = 0, n_coming = 0;
        uint64_t n_ended = 0;

        CHECK(h, scheduler_counters_add_up(s));
        for (int i = 0; i < _JOB_RESULT_MAX; i++)
                n_ended += s->counters.results[i];
        CHECK(h, s->counters.submitted == pool->n_accepted);
        CHECK(h, s->counters.rejected == pool->n_rejected);
        CHECK(h, n_ended == pool->n_ended);
        CHECK(h, s->n_running <= N_WORKERS);

        for (size_t i = 0; i < N_WORKERS; i++) {
                const Worker *worker = &pool->workers[i];

                n_workers += worker->state != WORKER_NONE && !worker->leaving;
                n_idle += worker->state == WORKER_IDLE;
                n_coming += worker->state == WORKER_COMING && !worker->leaving;
        }
        CHECK(h, pool->n_workers == n_workers);
        CHECK(h, pool->n_idle == n_idle && pool->n_coming == n_coming);
        CHECK(h, pool->removing || (pool->n_target >= pool->min && pool->n_target <= pool->max));
        CHECK(h, pool->n_workers >= pool->n_target);

        /* Nobody waits behind a pool that has no use for tokens. */
        if (!scheduler_has_work(s) || pool->n_idle + pool->n_coming == 0 ||
                pool->shut_by == GATE_BREAKER)
                CHECK(h, !pool->engaged && pool->waiter.credit == 0 &&
                                 !list_is_linked(&pool->waiter.links));
}

static void check(History *h) {
        uint64_t credit = 0;

        for (size_t i = 0; i < N_POOLS; i++) {
                if (!h->pools[i].exists)
                        continue;
                check_pool(h, &h->pools[i]);
                credit += h->pools[i].waiter.credit;
        }
        CHECK(h, h->limiter.credit == credit);
        CHECK(h, h->limiter.granted == h->n_used);
        pass_time(h);
        CHECK(h, limiter_owes(&h->limiter) == h->owed);
        CHECK(h, h->breaker.probes == h->n_probes);
}

/* ---- a whole history ---- */

static bool is_at_rest(const History *h) {
        for (size_t i = 0; i < N_POOLS; i++)
                for (size_t k = 0; k < N_WORKERS && h->pools[i].exists; k++)
                        if (h->pools[i].workers[k].state >= WORKER_COMING)
                                return false;
        return true;
}

static bool is_done(const History *h) {
        for (size_t i = 0; i < N_POOLS; i++)
                if (h->pools[i].exists && h->pools[i].n_ended < h->pools[i].n_accepted)
                        return false;
        return h->limiter.n_waiters == 0;
}

/* Nothing is in the way any more, and time passes from one timer to the next. */
static void wind_up(History *h) {
        BreakerConfig config = h->breaker.config;

        TELL(h, "that was all");
        limiter_hold(&h->limiter, 0);
        arm_limiter(h);
        config.mode = BREAKER_AUTO;
        CHECK(h, breaker_set(&h->breaker, &config) == 0);
        tell_breaker(h);
        for (size_t i = 0; i < N_PERMITS; i++)
                end_permit(h, &h->permits[i], /* cancelled= */ true, false, h->now);
        for (size_t i = 0; i < N_POOLS; i++) {
                Pool *pool = &h->pools[i];

                if (!pool->exists)
                        continue;
                pool->scheduler.paused = false;
                after_change(h, pool);
        }

        for (unsigned n = 0; !h->fault && !(is_done(h) && is_at_rest(h)); n++) {
                turn_main(h);
                for (size_t i = 0; i < N_POOLS && !h->fault; i++)
                        for (size_t k = 0; k < N_WORKERS && h->pools[i].exists; k++)
                                work(h, &h->pools[i], &h->pools[i].workers[k]);
                check(h);
                if (is_at_rest(h) && !is_done(h)) {
                        usec_t at = wake_at(h);

                        CHECK(h, at != USEC_INFINITY);
                        h->now = MAX(h->now, at);
                }
                CHECK(h, n < 100 * N_JOBS);
        }
}

static void check_end(History *h) {
        for (size_t i = 0; i < h->n_jobs; i++)
                CHECK(h, h->jobs[i].n_ends == 1);
        CHECK(h, h->limiter.credit == 0);
        CHECK(h, h->n_probes == 0);
        /* All that was taken comes in again. */
        CHECK(h, limiter_tokens(&h->limiter, h->now + 1000) == h->limiter.config.burst);
        check_windows(h);
}

static void start(History *h) {
        LimiterConfig limiter = choose_limiter(h);
        BreakerConfig breaker = choose_breaker(h);

        h->percent_good = 100 - choose(h, 11) * 10;
        limiter_init(&h->limiter, &limiter, h->now);
        note_change(h);
        CHECK(h, breaker_init(&h->breaker, &breaker) == 0);
        for (size_t i = 0; i < N_WISHES; i++)
                list_init(&h->wishes[i].waiter.links);
        for (size_t i = 0; i < N_POOLS; i++)
                add_pool(h, &h->pools[i]);
}

const char *policy_history_run(Choices *choices) {
        History h = {
                .choices = choices,
                .now = 1000,
                .limiter_timer = USEC_INFINITY,
                .breaker_timer = USEC_INFINITY,
        };

        start(&h);
        /* What is used up ends a history as well. */
        while (!h.fault && h.n_uses < N_USES / 2 && call_anything(&h))
                check(&h);
        if (!h.fault)
                wind_up(&h);
        if (!h.fault)
                check_end(&h);
        for (size_t i = 0; i < N_POOLS; i++)
                if (h.pools[i].exists)
                        scheduler_done(&h.pools[i].scheduler);
        breaker_done(&h.breaker);
        return h.fault;
}
