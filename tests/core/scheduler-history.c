/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The workers behave as the engine's do: an idle one takes up to a few jobs, begins the first, then
 * begins or gives back the others from its claim; or it runs them all as one batch. Everything else
 * (submits, cancels, settings, the passing of time) happens in between. A history ends with all
 * jobs finished. */

#include <assert.h>
#include <stdbool.h>

#include "core/scheduler-history.h"
#include "core/scheduler-model.h"
#include "core/scheduler.h"
#include "util/macro.h"

#define N_WORKERS 3
#define CLAIMS_MAX 4
#define STEPS_MAX 90

typedef struct Worker {
        Run run;
        size_t running[CLAIMS_MAX + 1]; /* indices of jobs: several are a batch */
        size_t n_running;
        size_t claims[CLAIMS_MAX]; /* indices of jobs, in the order in which they were taken */
        size_t n_claims;
        bool busy;
} Worker;

typedef struct HistoryJob {
        Job job;
        JobDetails details;
        Submission submission;
        unsigned n_ends; /* how often its end was told, since it was submitted or kicked */
} HistoryJob;

typedef struct HistoryWaiter {
        AdmitWaiter waiter;
        usec_t delay, timeout;
} HistoryWaiter;

typedef struct History {
        Choices *choices;
        const char *fault;
        usec_t now;
        Scheduler scheduler;
        Model model;
        HistoryJob jobs[MODEL_JOBS_MAX]; /* by the same index as in the model */
        Worker workers[N_WORKERS];
        HistoryWaiter waiters[MODEL_LINE_MAX];  /* in any order; those in line are linked */
        unsigned n_at_work[MODEL_KEYS_MAX + 1]; /* claimed ones among them, before this call */
        /* The gate: refuses jobs below a priority, until a moment. */
        int16_t gate_priority;
        usec_t gate_until;
} History;

#define CHECK(h, condition)                      \
        do {                                     \
                if (!(condition) && !(h)->fault) \
                        (h)->fault = #condition; \
        } while (0)

static unsigned choose(History *h, unsigned n) {
        return choices_below(h->choices, n);
}

static bool is_over(const History *h) {
        return h->choices->data && h->choices->size == 0;
}

static size_t index_of(const History *h, const Job *job) {
        return (size_t) (container_of(job, const HistoryJob, job) - h->jobs);
}

static void job_ended(History *h, size_t i, JobResult result) {
        HistoryJob *job = &h->jobs[i];

        job->n_ends++;
        CHECK(h, job->n_ends == 1);
        CHECK(h, job->job.state == JOB_FINISHED);
        CHECK(h, job->job.result == (unsigned) result);
        CHECK(h, h->model.jobs[i].place == MODEL_FINISHED);
        CHECK(h, h->model.jobs[i].result == result);
}

/* What ended by the time alone, or was dropped; the model has done the same. */
static void collect_ended(History *h) {
        for (Job *job = scheduler_ended(&h->scheduler), *next; job; job = next) {
                next = job->next;
                CHECK(h, job->result == JOB_EXPIRED || job->result == JOB_DROPPED);
                job_ended(h, index_of(h, job), (JobResult) job->result);
        }
}

/* The clock as a thread may have read it a little before it got the lock. */
static usec_t stale_now(History *h) {
        return choose(h, 4) == 0 ? usec_sub(h->now, choose(h, 4)) : h->now;
}

static usec_t gate_pass(void *userdata, const Job *job, usec_t now) {
        const History *h = userdata;

        return job->priority < h->gate_priority ? h->gate_until : 0;
}

/* ---- calls ---- */

static Submission submission_of(const ModelJob *wanted) {
        static char keys[MODEL_KEYS_MAX][2] = { "a", "b", "c" };

        return (Submission){
                .owner = wanted->owner,
                .queue_timeout = USEC_INFINITY,
                .max_attempts = wanted->max_attempts,
                .once = wanted->once,
                .concurrency_key = wanted->key > 0 ? keys[wanted->key - 1] : NULL,
        };
}

/* Takes in what was admitted: as many calls, or as one. */
static void submit(History *h, ModelJob wanted, uint64_t n, usec_t delay, usec_t timeout) {
        bool as_one = choose(h, 2);
        usec_t now = stale_now(h);
        Job *jobs[MODEL_JOBS_MAX];
        size_t n_jobs = 0;

        while (n-- > 0) {
                HistoryJob *job = &h->jobs[h->model.n_jobs];

                wanted.id = h->model.n_jobs + 1;
                job->submission = submission_of(&wanted);
                job->submission.submitted_at = now;
                job->submission.delay = delay;
                job->submission.queue_timeout = timeout;
                job->details = (JobDetails){ .job = &job->job };
                job->job = (Job){
                        .id = wanted.id,
                        .priority = wanted.priority,
                        .submission = &job->submission,
                };
                if (delay > 0 || timeout != USEC_INFINITY || wanted.key > 0)
                        job->job.details = &job->details;
                model_submit(&h->model, &wanted, now, delay, timeout);
                jobs[n_jobs++] = &job->job;
                if (as_one)
                        job->job.submission = jobs[0]->submission;
                else
                        scheduler_submit(&h->scheduler, &job->job, now);
        }
        if (as_one)
                scheduler_submit_all(&h->scheduler, jobs, n_jobs, now);
}

static AdmitVerdict admit(History *h, const ModelJob *wanted, uint64_t n, unsigned flags) {
        AdmitVerdict verdict = model_admit(&h->model, n, wanted->priority, flags);
        const Submission submission = submission_of(wanted);

        CHECK(h, scheduler_admit(&h->scheduler, n, &submission, wanted->priority, flags) ==
                         (int) verdict);
        collect_ended(h);
        return verdict;
}

static void get_in_line(
        History *h, const ModelJob *wanted, uint64_t n, usec_t delay, usec_t timeout) {
        HistoryWaiter *waiter = h->waiters;

        while (list_is_linked(&waiter->waiter.links))
                waiter++;
        *waiter = (HistoryWaiter){ .waiter.n = n, .delay = delay, .timeout = timeout };
        scheduler_line_join(&h->scheduler, &waiter->waiter);
        model_line_join(&h->model, wanted, n);
}

static void call_submit(History *h) {
        static const usec_t spans[] = { 0, 1, 3, 10, 40 };
        ModelJob wanted = {
                .priority = (int16_t) ((int) choose(h, 5) - 2),
                .owner = choose(h, MODEL_OWNERS_MAX),
                .max_attempts = choose(h, 4),
                .once = choose(h, 8) == 0,
                .key = choose(h, 2) ? choose(h, MODEL_KEYS_MAX + 1) : 0,
        };
        usec_t delay = choose(h, 4) == 0 ? spans[choose(h, ELEMENTSOF(spans))] : 0;
        usec_t timeout = choose(h, 3) == 0 ? spans[choose(h, ELEMENTSOF(spans))] : USEC_INFINITY;
        uint64_t n = 1 + choose(h, 4);
        bool waits = choose(h, 3) == 0 && h->model.n_line < MODEL_LINE_MAX;
        unsigned flags = (waits ? ADMIT_MAY_WAIT : 0) | (choose(h, 8) == 0 ? ADMIT_NO_DROP : 0);
        AdmitVerdict verdict;

        if (h->model.n_jobs + n > MODEL_JOBS_MAX)
                return;
        verdict = admit(h, &wanted, n, flags);
        if (h->fault)
                return;
        if (verdict == ADMIT_YES)
                submit(h, wanted, n, delay, timeout);
        else if (verdict == ADMIT_FULL && waits)
                get_in_line(h, &wanted, n, delay, timeout);
}

/* Whoever is at the head of the line comes in, if it can. */
static void call_serve(History *h) {
        bool is_due = model_line_is_due(&h->model);
        const HistoryWaiter *served;
        AdmitWaiter *waiter;
        ModelWaiter model;

        if (is_due && h->model.n_jobs + h->model.line[0].n > MODEL_JOBS_MAX)
                return;
        waiter = scheduler_line_serve(&h->scheduler);
        CHECK(h, !waiter == !is_due);
        if (!waiter || h->fault)
                return;
        served = container_of(waiter, HistoryWaiter, waiter);
        model = model_line_serve(&h->model);
        CHECK(h, served->waiter.n == model.n);
        if (admit(h, &model.wanted, model.n, ADMIT_SERVED) == ADMIT_YES && !h->fault)
                submit(h, model.wanted, model.n, served->delay, served->timeout);
}

/* Somebody does not want to wait any longer. */
static void call_leave(History *h) {
        size_t place = h->model.n_line > 0 ? choose(h, (unsigned) h->model.n_line) : 0;
        List *l = list_first(&h->scheduler.line);

        if (!l)
                return;
        for (size_t i = 0; i < place; i++)
                l = l->next;
        scheduler_line_leave(&h->scheduler, list_entry(l, AdmitWaiter, links));
        model_line_leave(&h->model, place);
}

static void call_kick(History *h) {
        usec_t now = stale_now(h);
        HistoryJob *job;
        ModelJob *model;
        size_t i;

        if (h->model.n_jobs == 0)
                return;
        i = choose(h, (unsigned) h->model.n_jobs);
        model = &h->model.jobs[i];
        job = &h->jobs[i];
        if (model->place != MODEL_FINISHED || model->result == JOB_SUCCEEDED)
                return;
        if (admit(h, model, 1, ADMIT_MAY_WAIT | ADMIT_NO_DROP) != ADMIT_YES || h->fault)
                return;
        job->job.details = &job->details;
        job->n_ends = 0;
        model_kick(&h->model, model, now);
        scheduler_kick(&h->scheduler, &job->job, now);
}

/* Of a key nobody begins before one that was submitted earlier, unless that one gave its turn up or
 * is not due. */
static void check_key_order(History *h, const ModelJob *taken) {
        for (size_t i = 0; i < h->model.n_jobs && taken->key > 0 && !taken->keeps_key; i++) {
                const ModelJob *job = &h->model.jobs[i];

                CHECK(h, job->key != taken->key || job->id >= taken->id ||
                                 job->place != MODEL_QUEUED || job->keeps_key);
        }
}

static void begin(History *h, Worker *worker) {
        static const usec_t timeouts[] = { 5, 20, USEC_INFINITY };

        for (size_t k = 0; k < worker->n_running; k++)
                h->model.jobs[worker->running[k]].place = MODEL_RUNNING;
        worker->busy = true;
        scheduler_add_run(
                &h->scheduler, &worker->run, h->now, timeouts[choose(h, ELEMENTSOF(timeouts))]);
}

/* What the model takes is what the scheduler is to take, job by job. */
static void call_take(History *h, Worker *worker) {
        Gates gates = { .pass = gate_pass, .userdata = h };
        size_t max = 1 + choose(h, CLAIMS_MAX + 1), n = 0, n_model = 0, n_max = max;
        bool is_open = choose(h, 2);
        Job *jobs[CLAIMS_MAX + 1] = {};
        usec_t now = stale_now(h), until = 0, model_until = USEC_INFINITY;
        bool batch = h->model.batch_size > 1;
        TakeVerdict verdict;

        verdict =
                scheduler_take(&h->scheduler, now, is_open ? NULL : &gates, max, jobs, &n, &until);
        model_advance(&h->model, now);
        collect_ended(h);

        if (batch)
                n_max = MIN(max, h->model.batch_size);
        if (!h->model.paused)
                model_until = model_batch_at(&h->model);
        if (model_until != USEC_INFINITY)
                n_max = 0;
        worker->n_running = 0;
        for (ModelJob *job; n_model < n_max && (job = model_next(&h->model)); n_model++) {
                size_t i = (size_t) (job - h->model.jobs);

                /* A batch passes the gates as one. */
                if (!is_open && (n_model == 0 || !batch) && job->priority < h->gate_priority &&
                        h->gate_until > 0) {
                        model_until = h->gate_until;
                        break;
                }
                CHECK(h, n_model < n && jobs[n_model] == &h->jobs[i].job);
                check_key_order(h, job);
                if (h->fault)
                        return;
                model_claim(&h->model, job);
                if (n_model > 0 && !batch)
                        worker->claims[worker->n_claims++] = i;
                else
                        worker->running[worker->n_running++] = i;
        }
        CHECK(h, n == n_model);

        if (n_model > 0) {
                CHECK(h, verdict == TAKE_JOBS);
                begin(h, worker);
                return;
        }
        model_until = MIN(model_until, scheduler_wake_at(&h->scheduler));
        CHECK(h, verdict == (model_until == USEC_INFINITY ? TAKE_NEVER : TAKE_UNTIL));
        CHECK(h, model_until == USEC_INFINITY || until == model_until);
}

/* The attempt of job i ends. The engine finds memory for details mostly, but not always. */
static void finish(History *h, size_t i, Outcome outcome) {
        HistoryJob *job = &h->jobs[i];
        ModelJob *model = &h->model.jobs[i];
        usec_t now = stale_now(h), latest = 0;
        uint64_t random = (uint64_t) choose(h, 256) * UINT64_C(0x0101010101010101);

        if (outcome != OUTCOME_SUCCESS && choose(h, 8) > 0)
                job->job.details = &job->details;
        if (model_finish(&h->model, model, outcome, job->job.details, now, &latest)) {
                CHECK(h, scheduler_finish(&h->scheduler, &job->job, outcome, now, random));
                job_ended(h, i, model->result);
                return;
        }
        CHECK(h, !scheduler_finish(&h->scheduler, &job->job, outcome, now, random));
        CHECK(h, job->details.ready_at >= model->ready_at && job->details.ready_at <= latest);
        CHECK(h, job->job.due_at == model->due_at);
        model->ready_at = job->details.ready_at;
}

static void finish_running(History *h, Worker *worker) {
        scheduler_remove_run(&h->scheduler, &worker->run);
        worker->busy = false;
        for (size_t k = 0; k < worker->n_running; k++)
                finish(h, worker->running[k], (Outcome) choose(h, OUTCOME_LOST + 1));
}

static void unclaim_last(History *h, Worker *worker) {
        size_t i = worker->claims[--worker->n_claims];

        scheduler_unclaim(&h->scheduler, &h->jobs[i].job);
        model_unclaim(&h->model, &h->model.jobs[i]);
}

static size_t claim_first(Worker *worker) {
        size_t i = worker->claims[0];

        worker->n_claims--;
        for (size_t k = 0; k < worker->n_claims; k++)
                worker->claims[k] = worker->claims[k + 1];
        return i;
}

/* A turn of a worker. */
static void call_work(History *h) {
        Worker *worker = &h->workers[choose(h, N_WORKERS)];
        size_t i;

        if (worker->n_claims > 0 && choose(h, 3) == 0) {
                unclaim_last(h, worker);
                return;
        }
        if (worker->busy) {
                finish_running(h, worker);
                return;
        }
        if (worker->n_claims == 0) {
                call_take(h, worker);
                return;
        }

        i = claim_first(worker);
        if (choose(h, 2)) {
                /* A short one: begun and ended in one go. */
                finish(h, i, choose(h, 4) == 0 ? OUTCOME_FAILURE : OUTCOME_SUCCESS);
        } else {
                scheduler_start(&h->scheduler, &h->jobs[i].job);
                worker->running[0] = i;
                worker->n_running = 1;
                begin(h, worker);
        }
}

/* Takes job i back from the worker that has claimed it, and what was taken after it. */
static void take_back(History *h, size_t i) {
        for (size_t w = 0; w < N_WORKERS; w++) {
                Worker *worker = &h->workers[w];
                bool mine = false;

                for (size_t k = 0; k < worker->n_claims; k++)
                        mine |= worker->claims[k] == i;
                while (mine && h->model.jobs[i].place == MODEL_CLAIMED)
                        unclaim_last(h, worker);
        }
}

static void call_cancel(History *h) {
        size_t i;
        CancelVerdict verdict, wanted;
        ModelPlace before;

        if (h->model.n_jobs == 0)
                return;
        i = choose(h, (unsigned) h->model.n_jobs);
        take_back(h, i);
        before = h->model.jobs[i].place;
        wanted = model_cancel(&h->model, &h->model.jobs[i]) ? CANCEL_FINISHED
                 : before == MODEL_RUNNING                  ? CANCEL_ASKED
                                                            : CANCEL_NOTHING;
        verdict = scheduler_cancel(&h->scheduler, &h->jobs[i].job);
        CHECK(h, verdict == wanted);
        if (verdict == CANCEL_FINISHED)
                job_ended(h, i, JOB_CANCELLED);
}

static void call_set_priority(History *h) {
        int16_t priority;
        size_t i;

        if (h->model.n_jobs == 0)
                return;
        i = choose(h, (unsigned) h->model.n_jobs);
        priority = (int16_t) ((int) choose(h, 7) - 3);
        take_back(h, i);
        if (h->model.jobs[i].place == MODEL_FINISHED)
                return;
        h->jobs[i].job.details = &h->jobs[i].details;
        CHECK(h, scheduler_set_priority(&h->scheduler, &h->jobs[i].job, priority) == 0);
        /* In place: the owner does not leave the round. */
        h->model.jobs[i].priority = priority;
}

static SchedulerConfig config_of(const Model *m, bool fair) {
        return (SchedulerConfig){
                .queue_max = m->queue_max,
                .aging_interval = m->aging_interval,
                .fair = fair,
                .overflow = m->overflow,
                .retry = m->retry,
                .batch_size = m->batch_size,
                .batch_timeout = m->batch_timeout,
                .key_concurrency = m->key_concurrency,
        };
}

static void choose_config(History *h) {
        static const usec_t intervals[] = { 0, 2, 10, USEC_PER_YEAR, USEC_INFINITY };
        static const usec_t backoffs[] = { 0, 1, 5, 20 };

        h->model.queue_max = 1 + choose(h, 30);
        h->model.aging_interval = intervals[choose(h, ELEMENTSOF(intervals))];
        h->model.overflow = (Overflow) choose(h, _OVERFLOW_MAX);
        h->model.retry = (RetryConfig){
                .max_attempts = 1 + choose(h, 4),
                .backoff = backoffs[choose(h, ELEMENTSOF(backoffs))],
                .backoff_max = 1 + choose(h, 60),
        };
        h->model.batch_size = choose(h, 2) ? 2 + choose(h, CLAIMS_MAX) : 1;
        h->model.batch_timeout = choose(h, 30);
        model_set_key_concurrency(&h->model, choose(h, 2) ? 1 : 1 + choose(h, 4));
}

/* Several jobs that waited for their keys may have come into the queue. */
static void agree_on_turns(History *h) {
        uint32_t turns[MODEL_OWNERS_MAX];
        size_t n = 0;

        list_for_each (l, &h->scheduler.turns) {
                CHECK(h, n < MODEL_OWNERS_MAX);
                if (h->fault)
                        return;
                turns[n++] = list_entry(l, SchedulerOwner, turn)->uid;
        }
        CHECK(h, model_agree_on_turns(&h->model, turns, n));
}

static void call_configure(History *h) {
        SchedulerConfig config;

        choose_config(h);
        config = config_of(&h->model, !h->model.fair); /* which is not listened to */
        scheduler_set_config(&h->scheduler, &config);
        agree_on_turns(h);
}

static void call_switch(History *h) {
        switch (choose(h, 4)) {

        case 0:
                h->scheduler.paused = h->model.paused = true;
                break;

        case 1:
                h->scheduler.draining = h->model.draining = true;
                break;

        default:
                h->scheduler.paused = h->model.paused = false;
                h->scheduler.draining = h->model.draining = false;
                break;
        }
}

static void call_gate(History *h) {
        h->gate_priority = (int16_t) ((int) choose(h, 5) - 3);
        h->gate_until = choose(h, 3) == 0 ? USEC_INFINITY : h->now + 1 + choose(h, 20);
}

/* Stops what has run for too long, as the pool's timer does. */
static void stop_overdue(History *h) {
        for (;;) {
                Worker *worker = NULL;
                Run *first = scheduler_first_run(&h->scheduler);
                usec_t least = USEC_INFINITY;

                for (size_t w = 0; w < N_WORKERS; w++)
                        if (list_is_linked(&h->workers[w].run.links))
                                least = MIN(least, h->workers[w].run.deadline);
                CHECK(h, !first ? least == USEC_INFINITY : first->deadline == least);
                if (!first || first->deadline > h->now || h->fault)
                        return;

                worker = container_of(first, Worker, run);
                for (size_t k = 0; k < worker->n_running; k++) {
                        size_t i = worker->running[k];

                        CHECK(h, scheduler_stop_timed_out(&h->scheduler, &h->jobs[i].job) ==
                                         model_stop_timed_out(&h->model.jobs[i]));
                }
                scheduler_remove_run(&h->scheduler, first);
        }
}

static void advance(History *h) {
        scheduler_advance(&h->scheduler, h->now);
        model_advance(&h->model, h->now);
        collect_ended(h);
        stop_overdue(h);
}

/* When time alone changes something for a worker that has nothing to do. */
static usec_t wake_at(const History *h) {
        return MIN(scheduler_wake_at(&h->scheduler), scheduler_batch_at(&h->scheduler));
}

/* Time passes, or jumps to the moment at which something is to happen, and not a moment less. */
static void call_wait(History *h) {
        usec_t t = wake_at(h);

        if (choose(h, 2) && t != USEC_INFINITY)
                h->now = MAX(h->now, t);
        else
                h->now += choose(h, 12);
        if (choose(h, 2))
                advance(h);
}

/* ---- after every call ---- */

static uint8_t state_of(ModelPlace place) {
        static const uint8_t states[] = {
                [MODEL_SCHEDULED] = JOB_SCHEDULED,
                [MODEL_QUEUED] = JOB_QUEUED,
                [MODEL_CLAIMED] = JOB_QUEUED,
                [MODEL_RUNNING] = JOB_RUNNING,
                [MODEL_STOPPING] = JOB_STOPPING,
                [MODEL_FINISHED] = JOB_FINISHED,
        };

        return states[place];
}

static usec_t next_deadline(const History *h) {
        usec_t t = USEC_INFINITY;

        for (size_t w = 0; w < N_WORKERS; w++)
                if (list_is_linked(&h->workers[w].run.links))
                        t = MIN(t, h->workers[w].run.deadline);
        return t;
}

static void check_one_job(History *h, size_t i) {
        const ModelJob *model = &h->model.jobs[i];
        const Job *job = &h->jobs[i].job;
        uint64_t position;

        if (model->place > MODEL_CLAIMED)
                return;
        position = model_position(&h->model, model);
        CHECK(h, scheduler_position(&h->scheduler, job, MODEL_JOBS_MAX + 1) == position);
        CHECK(h, scheduler_position(&h->scheduler, job, 3) == MIN(position, (uint64_t) 3));
        if (model->place == MODEL_QUEUED && !h->model.paused)
                CHECK(h, scheduler_is_next(&h->scheduler, job) == (model_next(&h->model) == model));
}

/* Of a key no more are at work than may be, or than were already when that was changed. */
static void check_keys(History *h) {
        unsigned n_at_work[MODEL_KEYS_MAX + 1] = {};

        for (size_t i = 0; i < h->model.n_jobs; i++) {
                const Job *job = &h->jobs[i].job;

                n_at_work[h->model.jobs[i].key] += job->state == JOB_RUNNING ||
                                                   job->state == JOB_STOPPING ||
                                                   (job->flags & JOB_CLAIMED);
        }
        for (unsigned key = 1; key <= MODEL_KEYS_MAX; key++) {
                CHECK(h, n_at_work[key] <= MAX(h->n_at_work[key], h->model.key_concurrency));
                h->n_at_work[key] = n_at_work[key];
        }
}

static void check(History *h) {
        const Scheduler *s = &h->scheduler;
        uint64_t places[MODEL_FINISHED + 1] = {}, n_backoff = 0, n_eligible;
        usec_t batch_at;

        for (size_t i = 0; i < h->model.n_jobs; i++) {
                const ModelJob *model = &h->model.jobs[i];

                places[model->place]++;
                n_backoff += model->place == MODEL_SCHEDULED && model->n_attempts > 0;
                CHECK(h, h->jobs[i].job.state == state_of(model->place));
                CHECK(h, h->jobs[i].n_ends == (model->place == MODEL_FINISHED));
                CHECK(h, !(h->jobs[i].job.flags & JOB_CLAIMED) == (model->place != MODEL_CLAIMED));
        }

        CHECK(h, scheduler_counters_add_up(s));
        CHECK(h, s->counters.submitted == h->model.n_submitted);
        CHECK(h, s->counters.rejected == h->model.n_rejected);
        CHECK(h, s->counters.retried == h->model.n_retried);
        CHECK(h, s->n_scheduled == places[MODEL_SCHEDULED]);
        CHECK(h, s->n_backoff == n_backoff);
        CHECK(h, s->n_queued == places[MODEL_QUEUED] + places[MODEL_CLAIMED]);
        CHECK(h, s->n_running == places[MODEL_RUNNING] + places[MODEL_STOPPING]);
        for (int i = 0; i < _JOB_RESULT_MAX; i++)
                CHECK(h, s->counters.results[i] == h->model.n_results[i]);

        CHECK(h, scheduler_is_empty(s) == (s->n_queued + s->n_running + n_backoff == 0));
        batch_at = model_batch_at(&h->model);
        CHECK(h, scheduler_gathers(s) == (batch_at != USEC_INFINITY));
        CHECK(h, scheduler_batch_at(s) == (h->model.paused ? USEC_INFINITY : batch_at));
        n_eligible = model_n_eligible(&h->model);
        CHECK(h, scheduler_has_work(s) ==
                         (n_eligible > 0 && !h->model.paused && batch_at == USEC_INFINITY));
        CHECK(h, scheduler_n_eligible(s) == (h->model.paused ? 0 : n_eligible));
        CHECK(h, scheduler_n_ready(s) == n_eligible + places[MODEL_CLAIMED]);
        check_keys(h);
        CHECK(h, scheduler_oldest_wait(s, h->now) ==
                         (h->model.paused ? 0 : usec_sub(h->now, model_waits_since(&h->model))));
        CHECK(h, scheduler_wake_at(s) == MIN(model_next_event(&h->model), next_deadline(h)));
        CHECK(h, scheduler_line_is_due(s) == model_line_is_due(&h->model));

        if (h->model.n_jobs > 0)
                check_one_job(h, choose(h, (unsigned) h->model.n_jobs));
}

/* ---- a whole history ---- */

static void call_anything(History *h) {
        unsigned call = choose(h, 64);

        if (call < 14)
                call_submit(h);
        else if (call < 36)
                call_work(h);
        else if (call < 40)
                call_serve(h);
        else if (call < 42)
                call_kick(h);
        else if (call < 47)
                call_cancel(h);
        else if (call < 50)
                call_set_priority(h);
        else if (call < 52)
                call_configure(h);
        else if (call < 54)
                call_switch(h);
        else if (call < 55)
                call_gate(h);
        else if (call < 56)
                call_leave(h);
        else
                call_wait(h);
}

/* Opens everything and works until nothing is left. */
static void wind_up(History *h) {
        h->scheduler.paused = h->model.paused = false;
        h->scheduler.ending = h->model.ending = choose(h, 2);
        h->gate_until = 0;
        while (h->model.n_line > 0)
                call_leave(h);

        for (unsigned turn = 0; !h->fault; turn++) {
                usec_t t = wake_at(h);
                bool idle = true;

                h->now = t > h->now ? MIN(t, h->now + 50) : h->now;
                advance(h);
                for (size_t w = 0; w < N_WORKERS && !h->fault; w++) {
                        Worker *worker = &h->workers[w];

                        while (worker->n_claims > 0)
                                unclaim_last(h, worker);
                        if (worker->busy)
                                finish_running(h, worker);
                        call_take(h, worker);
                        idle &= !worker->busy;
                }
                check(h);
                if (idle && scheduler_is_empty(&h->scheduler) && h->scheduler.n_scheduled == 0)
                        break;
                CHECK(h, turn < 20 * MODEL_JOBS_MAX);
        }

        for (size_t i = 0; i < h->model.n_jobs; i++)
                CHECK(h, h->jobs[i].n_ends == 1);
        for (size_t i = 0; i < h->scheduler.n_owners; i++)
                CHECK(h, h->scheduler.owners[i]->n_live == 0);
        /* At most the key that was reserved last is still known. */
        for (const Key *key = h->scheduler.keys.by_text; key; key = key->hh.next)
                CHECK(h, key == h->scheduler.keys.reserved && key->n_jobs == 0);
}

const char *history_run(Choices *choices, unsigned *ret_step) {
        History h = {
                .choices = choices,
                .now = 1000,
        };
        SchedulerConfig config;
        unsigned step = 0;

        h.model.fair = choose(&h, 2);
        choose_config(&h);
        config = config_of(&h.model, h.model.fair);
        for (size_t w = 0; w < N_WORKERS; w++)
                list_init(&h.workers[w].run.links);
        if (scheduler_init(&h.scheduler, &config) < 0)
                return "scheduler_init() found memory";

        for (unsigned n_steps = choices->data ? UINT32_MAX : 1 + choose(&h, STEPS_MAX);
                step < n_steps && !is_over(&h) && !h.fault; step++) {
                call_anything(&h);
                check(&h);
        }
        wind_up(&h);
        scheduler_done(&h.scheduler);
        *ret_step = step;
        return h.fault;
}
