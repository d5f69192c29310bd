/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "try.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#include "engine/affinity.h"
#include "util/fd.h"
#include "util/strv.h"

#define PATIENCE USEC_PER_MINUTE
#define TRY_BATCHES_MAX 10000

/* ---- the handler ---- */

typedef struct Gate {
        int fd; /* readable once it is open */
        unsigned n_begun;
} Gate;

static struct {
        pthread_mutex_t lock; /* guards all but the fds */
        pthread_cond_t begun;
        Gate gates[TRY_GATES];
        uint64_t order[TRY_JOBS_MAX];
        size_t n_order;
        size_t batches[TRY_BATCHES_MAX];
        size_t n_batches;
} hall = { .lock = PTHREAD_MUTEX_INITIALIZER, .begun = PTHREAD_COND_INITIALIZER };

static void hall_open(void) {
        for (unsigned i = 0; i < TRY_GATES; i++) {
                hall.gates[i] = (Gate){ .fd = eventfd(0, EFD_CLOEXEC) };
                assert_true(hall.gates[i].fd >= 0);
        }
        hall.n_order = hall.n_batches = 0;
}

static void hall_close(void) {
        for (unsigned i = 0; i < TRY_GATES; i++)
                hall.gates[i].fd = fd_close(hall.gates[i].fd);
}

void gate_open(unsigned n) {
        assert_int_equal(eventfd_write(hall.gates[n].fd, 1), 0);
}

unsigned gate_n_begun(unsigned n) {
        unsigned n_begun;

        (void) pthread_mutex_lock(&hall.lock);
        n_begun = hall.gates[n].n_begun;
        (void) pthread_mutex_unlock(&hall.lock);
        return n_begun;
}

void gate_wait_begun(unsigned n, unsigned n_jobs) {
        struct timespec until;
        int r = 0;

        (void) clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += (time_t) (PATIENCE / USEC_PER_SEC);
        (void) pthread_mutex_lock(&hall.lock);
        while (hall.gates[n].n_begun < n_jobs && r == 0)
                r = pthread_cond_timedwait(&hall.begun, &hall.lock, &until);
        (void) pthread_mutex_unlock(&hall.lock);
        assert_int_equal(r, 0);
}

size_t try_order(uint64_t *ret, size_t max) {
        size_t n;

        (void) pthread_mutex_lock(&hall.lock);
        n = MIN(hall.n_order, max);
        memcpy(ret, hall.order, n * sizeof(*ret));
        hall.n_order = 0;
        (void) pthread_mutex_unlock(&hall.lock);
        return n;
}

size_t try_batches(size_t *ret, size_t max) {
        size_t n;

        (void) pthread_mutex_lock(&hall.lock);
        n = MIN(hall.n_batches, max);
        memcpy(ret, hall.batches, n * sizeof(*ret));
        hall.n_batches = 0;
        (void) pthread_mutex_unlock(&hall.lock);
        return n;
}

/* Runs in a worker. Returns when the gate is open, or with `heed` when the job is to stop. */
static void gate_pass(unsigned n, Attempt *attempt, bool heed) {
        struct pollfd fds[] = {
                { .fd = hall.gates[n].fd, .events = POLLIN },
                { .fd = attempt->wake_fd, .events = POLLIN },
        };

        (void) pthread_mutex_lock(&hall.lock);
        hall.gates[n].n_begun++;
        (void) pthread_cond_broadcast(&hall.begun);
        (void) pthread_mutex_unlock(&hall.lock);

        for (;;) {
                (void) poll(fds, heed ? 2 : 1, -1);
                if (fds[0].revents || (heed && attempt_stop(attempt) != JOB_STOP_NONE))
                        return;
        }
}

static void *text_of(size_t size) {
        void *text = malloc(size);

        return text ? memset(text, 'x', size) : NULL;
}

/* All that a handler may do to its output, and some that it had better not. */
static void leave_odd_output(Attempt *attempt, unsigned way) {
        switch (way) {

        case 0: /* replaced */
                (void) attempt_output_alloc(attempt, 10);
                attempt_give_output(attempt, text_of(20), 20);
                break;

        case 1: /* replaced by nothing */
                (void) attempt_output_alloc(attempt, 10);
                attempt_give_output(attempt, text_of(1), 0);
                break;

        case 2: /* the other way round */
                attempt_give_output(attempt, text_of(20), 20);
                memset(attempt_output_alloc(attempt, 10), 'x', 10);
                break;

        case 3: /* large, then small, then large again */
                (void) attempt_output_alloc(attempt, 100000);
                (void) attempt_output_alloc(attempt, 10);
                memset(attempt_output_alloc(attempt, 100000), 'x', 100000);
                break;

        case 4: /* none */
                (void) attempt_output_alloc(attempt, 0);
                break;

        case 5: /* of a failure */
                memset(attempt_output_alloc(attempt, 10), 'x', 10);
                attempt_fail(attempt, OUTCOME_FAILURE, "too late");
                return;

        case 6: /* cut to nothing */
                (void) attempt_output_alloc(attempt, 10);
                attempt->output_size = 0;
                break;

        default: /* too large, or so it says */
                attempt_give_output(attempt, text_of(1), (size_t) UINT32_MAX + 1);
                break;
        }
        attempt->outcome = OUTCOME_SUCCESS;
}

static void handler_run(Handler *handler, HandlerWorker *worker, Attempt *attempt) {
        const char *payload = attempt->payload;
        char what = attempt->payload_size > 0 ? payload[0] : 'e';
        unsigned gate = attempt->payload_size > 1 ? (unsigned) (payload[1] - '0') % TRY_GATES : 0;
        void *output;

        (void) pthread_mutex_lock(&hall.lock);
        if (hall.n_order < ELEMENTSOF(hall.order))
                hall.order[hall.n_order++] = attempt->id;
        (void) pthread_mutex_unlock(&hall.lock);

        switch (what) {

        case 'f':
                attempt_fail(attempt, OUTCOME_FAILURE, "job %" PRIu64 " was to fail", attempt->id);
                return;

        case 'q':
                return;

        case 'n':
                if (attempt->attempt > gate) {
                        attempt->outcome = OUTCOME_SUCCESS;
                        return;
                }
                attempt_fail(attempt, OUTCOME_FAILURE, "attempt %u", attempt->attempt);
                return;

        case 'r':
                attempt_fail(attempt, OUTCOME_RETRY, "attempt %u", attempt->attempt);
                return;

        case 'd':
                attempt_fail(attempt, OUTCOME_FATAL, "attempt %u", attempt->attempt);
                return;

        case 'h':
                gate_pass(gate, attempt, true);
                attempt_fail(attempt, OUTCOME_FAILURE, "attempt %u", attempt->attempt);
                return;

        case 'b':
                output = attempt_output_alloc(attempt, 100000);
                if (output)
                        memset(output, 'b', 100000);
                break;

        case 'g':
        case 'i':
                gate_pass(gate, attempt, what == 'g');
                if (attempt_stop(attempt) != JOB_STOP_NONE) {
                        attempt_fail(attempt, OUTCOME_FAILURE, "was stopped");
                        return;
                }
                break;

        case 't':
                output = attempt_output_alloc(attempt, attempt->payload_size - 1);
                if (output)
                        memcpy(output, payload + 1, attempt->payload_size - 1);
                break;

        case 'x':
                leave_odd_output(attempt, gate);
                return;

        case 'l':
                gate_pass(gate, attempt, false);
                break;

        default:
                output = attempt_output_alloc(attempt, attempt->payload_size);
                if (output)
                        memcpy(output, attempt->payload, attempt->payload_size);
                break;
        }
        attempt->outcome = OUTCOME_SUCCESS;
}

/* One after the other, whatever becomes of those before. */
static void handler_run_batch(
        Handler *handler, HandlerWorker *worker, Attempt *const *attempts, size_t n) {
        (void) pthread_mutex_lock(&hall.lock);
        if (hall.n_batches < ELEMENTSOF(hall.batches))
                hall.batches[hall.n_batches++] = n;
        (void) pthread_mutex_unlock(&hall.lock);
        for (size_t i = 0; i < n; i++)
                handler_run(handler, worker, attempts[i]);
}

/* Opened and closed in pairs: a leak of either shows under AddressSanitizer. */
static int handler_open(const HandlerConfig *config, Handler **ret, char **ret_error) {
        *ret = malloc(1);
        return *ret ? 0 : -ENOMEM;
}

static void handler_close(Handler *handler) {
        free(handler);
}

static int handler_worker_open(
        Handler *handler, const void *cpus, size_t cpus_size, HandlerWorker **ret) {
        *ret = malloc(1);
        return *ret ? 0 : -ENOMEM;
}

static void handler_worker_close(Handler *handler, HandlerWorker *worker) {
        free(worker);
}

const HandlerVTable try_singly = {
        .name = "singly",
        .open = handler_open,
        .close = handler_close,
        .worker_open = handler_worker_open,
        .worker_close = handler_worker_close,
        .run = handler_run,
        .run_batch = handler_run_batch,
};

const HandlerVTable try_several = {
        .name = "several",
        .takes_several = true,
        .open = handler_open,
        .close = handler_close,
        .worker_open = handler_worker_open,
        .worker_close = handler_worker_close,
        .run = handler_run,
        .run_batch = handler_run_batch,
};

/* ---- the listener ---- */

static void on_pool_added(void *userdata, Pool *pool) {
        ((Try *) userdata)->n_pools_added++;
}

static void on_pool_removed(void *userdata, Pool *pool) {
        ((Try *) userdata)->n_pools_removed++;
}

static void on_pool_changed(void *userdata, Pool *pool, PoolChange what) {
        Try *t = userdata;

        t->n_state_changes += !!(what & POOL_CHANGED_STATE);
        t->n_worker_changes += !!(what & POOL_CHANGED_WORKERS);
        if ((what & POOL_CHANGED_WORKERS) && t->workers_changed)
                t->workers_changed(t, pool);
}

static void on_pool_scaled(void *userdata, Pool *pool, const PoolScaling *scaling) {
        Try *t = userdata;

        if (t->pool_scaled)
                t->pool_scaled(t, pool, scaling);
}

static void on_job_started(void *userdata, const StartNote *note) {
        Try *t = userdata;

        assert_true(note->id < TRY_JOBS_MAX);
        /* Once, and before its end. */
        if (!t->several_lives) {
                assert_int_equal(t->jobs[note->id].n_started, 0);
                assert_int_equal(t->jobs[note->id].n_finished, 0);
        }
        t->jobs[note->id].n_started++;
        t->n_started++;
}

static void on_job_finished(void *userdata, Job *job) {
        Try *t = userdata;

        assert_true(job->id < TRY_JOBS_MAX);
        assert_int_equal(job->state, JOB_FINISHED);
        if (!t->several_lives)
                assert_int_equal(t->jobs[job->id].n_finished, 0);
        t->jobs[job->id].n_finished++;
        t->jobs[job->id].result = (JobResult) job->result;
        t->n_finished++;
}

static void on_group_changed(void *userdata, JobGroup *group) {
        Try *t = userdata;

        if (t->group_changed)
                t->group_changed(t, group);
}

static const EngineListener listener = {
        .pool_added = on_pool_added,
        .pool_removed = on_pool_removed,
        .pool_changed = on_pool_changed,
        .pool_scaled = on_pool_scaled,
        .job_started = on_job_started,
        .job_finished = on_job_finished,
        .group_changed = on_group_changed,
};

/* ---- the engine ---- */

void try_init(Try *t) {
        *t = (Try){ .jobs = calloc(TRY_JOBS_MAX, sizeof(TryJob)) };
        assert_non_null(t->jobs);
        hall_open();
        assert_int_equal(sd_event_new(&t->event), 0);
        assert_int_equal(engine_new(t->event, &t->engine), 0);
        engine_set_listener(t->engine, &listener, t);
        engine_set_announce(t->engine, true);
}

void try_done(Try *t) {
        for (unsigned i = 0; i < TRY_GATES; i++)
                gate_open(i);
        engine_shut_down(t->engine);
        engine_cancel_running(t->engine);
        try_until(t, engine_is_quiet(t->engine));
        list_for_each (l, &t->engine->pools)
                try_assert_adds_up(list_entry(l, Pool, links));
        engine_dismiss(t->engine);
        try_until(t, list_is_empty(&t->engine->pools));
        assert_int_equal(t->n_pools_added, t->n_pools_removed);
        assert_int_equal(t->engine->jobs.n_jobs, 0);
        assert_int_equal(t->engine->slab.n_objects, 0);
        engine_free(t->engine);
        sd_event_unref(t->event);
        hall_close();
        free(t->jobs);
}

void try_turn(Try *t, unsigned n, const char *what) {
        int r;

        /* The first time the condition may hold already after what came in. From then on it was
         * looked at after all that was done: no mail is to be read before the wait, as that may be
         * the last that ever comes. */
        if (n == 0) {
                engine_turn(t->engine);
                return;
        }
        r = sd_event_run(t->event, PATIENCE);
        /* After an assertion that failed inside a callback it can never run again. */
        if (r < 0)
                fail_msg("the event loop is no more: %s", strerror(-r));
        if (r == 0)
                fail_msg("nothing happens for a minute, and not yet: %s", what);
        engine_turn(t->engine);
}

PoolConfig *try_config(const char *name, const HandlerVTable *handler, uint32_t n_workers) {
        PoolConfig *config;

        assert_int_equal(pool_config_new(name, FAIRNESS_NONE, &config), 0);
        config->handler = handler;
        config->min_workers = 1;
        config->max_workers = n_workers;
        config->queue_max = TRY_JOBS_MAX;
        assert_int_equal(affinity_available(&config->cpus), 0);
        return config;
}

Pool *try_pool(Try *t, const char *name, const HandlerVTable *handler, uint32_t n_workers) {
        PoolConfig *config = try_config(name, handler, n_workers);
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        return pool;
}

Submission *try_submission(void) {
        Submission *submission = submission_new();

        assert_non_null(submission);
        return submission;
}

uint64_t try_submit_with(
        Try *t, Pool *pool, Submission *submission, const char *payload, size_t n) {
        struct iovec *payloads = calloc(n, sizeof(*payloads));
        bool bulk = submission->bulk;
        uint64_t first;

        assert_non_null(payloads);
        for (size_t i = 0; i < n; i++)
                payloads[i] = (struct iovec){ (void *) (uintptr_t) payload, strlen(payload) };
        /* Literals live for ever, so they can be borrowed as well. */
        assert_int_equal(
                engine_submit(t->engine, pool, submission, payloads, n, /* borrow= */ bulk, 0),
                ADMIT_YES);
        free(payloads);
        /* The ids that come next are ours to tell, as the submission may be gone by now. */
        first = t->engine->next_id - n;
        return first;
}

uint64_t try_submit(Try *t, Pool *pool, const char *payload, size_t n) {
        return try_submit_with(t, pool, try_submission(), payload, n);
}

static JobGroup *submit_group(Try *t, Pool *pool, PoolPipeline *pipeline, GroupPolicy policy,
        const char *const *payloads, size_t n) {
        Submission *submission = try_submission();
        struct iovec *parts = calloc(n + 1, sizeof(*parts));

        assert_non_null(parts);
        /* Of an item the time-out is that of the pool of each stage. */
        submission->run_timeout = pipeline ? 0 : USEC_INFINITY;
        for (size_t i = 0; i < n; i++)
                parts[i] = (struct iovec){ (void *) (uintptr_t) payloads[i], strlen(payloads[i]) };
        assert_int_equal(engine_submit_group(t->engine, pool, pipeline, submission, policy, parts,
                                 n, /* borrow= */ n % 2, 0),
                ADMIT_YES);
        free(parts);
        return submission->group;
}

JobGroup *try_submit_group(
        Try *t, Pool *pool, GroupPolicy policy, const char *const *payloads, size_t n) {
        return submit_group(t, pool, NULL, policy, payloads, n);
}

JobGroup *try_submit_group_of_items(
        Try *t, PoolPipeline *pipeline, GroupPolicy policy, const char *const *payloads, size_t n) {
        return submit_group(t, pipeline->stages[0], pipeline, policy, payloads, n);
}

static void on_bulk_finished(Submission *submission) {
        Try *t = submission->userdata;

        for (size_t i = 0; i < submission->n_total; i++) {
                const Job *job = engine_submission_job(t->engine, submission, i);

                assert_non_null(job);
                assert_int_equal(job->state, JOB_FINISHED);
        }
        t->n_done++;
}

void try_expect_member(
        Try *t, const JobGroup *group, uint64_t i, JobResult result, const char *text) {
        Job *job = engine_group_job(t->engine, group, i);

        assert_non_null(job);
        assert_int_equal(job_group_id(job), group->id);
        assert_int_equal(job->state, JOB_FINISHED);
        assert_int_equal(job->result, result);
        if (result == JOB_SUCCEEDED) {
                assert_int_equal(job->size, strlen(text));
                assert_memory_equal(job->data, text, job->size);
        } else
                assert_string_equal(job_error(job), text);
}

Submission *try_submit_bulk(Try *t, Pool *pool, const char *payload, size_t n) {
        Submission *submission = try_submission();

        submission->bulk = true;
        submission->finished = on_bulk_finished;
        submission->userdata = t;
        (void) try_submit_with(t, pool, submission, payload, n);
        return submission;
}

PoolPipeline *try_pipeline(
        Try *t, const char *name, Pool *const *stages, size_t n_stages, uint64_t max_in_flight) {
        _cleanup_(pipeline_config_freep) PipelineConfig *config = NULL;
        _cleanup_free_ char *error = NULL;
        PoolPipeline *pipeline;

        assert_int_equal(pipeline_config_new(name, &config), 0);
        for (size_t i = 0; i < n_stages; i++)
                assert_int_equal(strv_extend(&config->stages, stages[i]->config->name), 0);
        config->max_in_flight = max_in_flight;
        assert_int_equal(engine_add_pipeline(t->engine, config, &pipeline, &error), 0);
        return pipeline;
}

uint64_t try_submit_item(Try *t, PoolPipeline *pipeline, const char *payload) {
        const struct iovec v = { (void *) (uintptr_t) payload, strlen(payload) };

        assert_int_equal(
                engine_submit_items(t->engine, pipeline, try_submission(), &v, 1, false, 0),
                ADMIT_YES);
        return t->engine->next_id - 1;
}

Submission *try_submit_items(
        Try *t, PoolPipeline *pipeline, const char *const *payloads, size_t n) {
        struct iovec *v = calloc(n, sizeof(*v));
        Submission *submission = try_submission();

        assert_non_null(v);
        submission->bulk = true;
        submission->finished = on_bulk_finished;
        submission->userdata = t;
        for (size_t i = 0; i < n; i++)
                v[i] = (struct iovec){ (void *) (uintptr_t) payloads[i], strlen(payloads[i]) };
        assert_int_equal(
                engine_submit_items(t->engine, pipeline, submission, v, n, true, 0), ADMIT_YES);
        free(v);
        return submission;
}

void try_pretend_short(Pool *pool) {
        pool_lock(pool);
        pool->mean_run_nsec = 1;
        pool_unlock(pool);
}

void try_assert_adds_up(Pool *pool) {
        bool adds_up;

        pool_lock(pool);
        adds_up = scheduler_counters_add_up(&pool->scheduler);
        pool_unlock(pool);
        assert_true(adds_up);
}

JobState try_state(Try *t, uint64_t id) {
        Job *job = engine_find_job(t->engine, id);
        JobView view;

        assert_non_null(job);
        pool_job_view(job_pool(job), job, &view);
        return view.state;
}

JobState try_real_state(Job *job) {
        JobState state;

        pool_lock(job_pool(job));
        state = (JobState) job->state;
        pool_unlock(job_pool(job));
        return state;
}

/* As if main had been woken and had looked away: for mail that comes next it is woken again. */
static void ignore_signal(Mailbox *mailbox) {
        eventfd_t n;

        (void) pthread_mutex_lock(&mailbox->lock);
        assert_int_equal(eventfd_read(mailbox->fd, &n), 0);
        mailbox->signalled = false;
        (void) pthread_mutex_unlock(&mailbox->lock);
}

void try_wait_unread(Try *t, Job *job, JobState state) {
        Mailbox *mailbox = &t->engine->mailbox;
        struct pollfd fd = { .fd = mailbox->fd, .events = POLLIN };

        pool_wake(job_pool(job));
        while (try_real_state(job) != state) {
                if (poll(&fd, 1, (int) (PATIENCE / USEC_PER_MSEC)) == 0)
                        fail_msg("no mail for a minute");
                ignore_signal(mailbox);
        }
        mailbox_signal(mailbox);
}

JobResult try_result(Try *t, uint64_t id) {
        Job *job = engine_find_job(t->engine, id);
        JobView view;

        assert_non_null(job);
        pool_job_view(job_pool(job), job, &view);
        return view.result;
}
