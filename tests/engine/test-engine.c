/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* All pools: calls that wait, watches, drains, removals, sweeps, retention, shutting down. */

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "engine/worker.h"
#include "try.h"
#include "util/fd.h"

static int set_up(void **state) {
        Try *t = malloc(sizeof(*t));

        assert_non_null(t);
        try_init(t);
        *state = t;
        return 0;
}

static int tear_down(void **state) {
        try_done(*state);
        free(*state);
        return 0;
}

typedef struct Watch {
        union {
                JobWatch job;
                PoolWatch pool;
        };
        unsigned n_told;
        JobResult result;
} Watch;

static void on_job_finished(JobWatch *watch, Job *job) {
        Watch *w = container_of(watch, Watch, job);

        assert_int_equal(job->state, JOB_FINISHED);
        w->n_told++;
        w->result = (JobResult) job->result;
}

static void on_pool_done(PoolWatch *watch) {
        container_of(watch, Watch, pool)->n_told++;
}

#define JOB_WATCH \
        { .job.finished = on_job_finished }
#define POOL_WATCH \
        { .pool.done = on_pool_done }

static PoolConfig *config_of(Pool *pool) {
        PoolConfig *config;

        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        return config;
}

static Pool *add_pool(Try *t, PoolConfig *config) {
        char *error = NULL;
        Pool *pool;

        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        return pool;
}

/* ---- calls that wait ---- */

typedef struct Bulk {
        Try *t;
        unsigned n_finished;
        size_t n_equal; /* outputs that are what was sent */
        size_t n_failed;
} Bulk;

static void on_bulk_finished(Submission *submission) {
        Bulk *bulk = submission->userdata;

        bulk->n_finished++;
        for (size_t i = 0; i < submission->n_total; i++) {
                Job *job = engine_submission_job(bulk->t->engine, submission, i);
                char expected[64];
                int n = snprintf(expected, sizeof(expected), "echo of number %zu", i);

                if (job->result != JOB_SUCCEEDED)
                        bulk->n_failed++;
                else if ((int) job->size == n && memcmp(job->data, expected, job->size) == 0)
                        bulk->n_equal++;
        }
}

static void a_bulk_call_is_told_once_with_all_outputs(void **state) {
        enum { N = 20000 };
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_several, 3);
        static char texts[N][40];
        static struct iovec payloads[N];
        Bulk bulk = { .t = t };

        engine_set_announce(t->engine, false);
        for (size_t i = 0; i < N; i++) {
                int n = snprintf(texts[i], sizeof(texts[i]), "echo of number %zu", i);

                payloads[i] = (struct iovec){ texts[i], (size_t) n };
        }
        /* Failures among them have texts of their own. */
        for (size_t i = 0; i < N; i += 100)
                texts[i][0] = 'f';
        for (unsigned round = 1; round <= 3; round++) {
                Submission *submission = try_submission();

                submission->bulk = true;
                submission->finished = on_bulk_finished;
                submission->userdata = &bulk;
                assert_int_equal(engine_submit(t->engine, pool, submission, payloads, N,
                                         /* borrow= */ true, 0),
                        ADMIT_YES);
                try_until(t, bulk.n_finished == round);
                assert_int_equal(t->engine->jobs.n_jobs, 0);
        }
        assert_int_equal(bulk.n_failed, 3 * N / 100);
        assert_int_equal(bulk.n_equal, 3 * (N - N / 100));
        /* Who keeps a log hears of failures alone. */
        assert_int_equal(t->n_finished, bulk.n_failed);
}

static void an_abandoned_call_keeps_its_results(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_several, 1);
        Submission *submission = try_submit_bulk(t, pool, TRY_GATE(0), 3);
        uint64_t first = submission->first_id;

        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        engine_abandon(submission);
        gate_open(0);
        try_until(t, pool->n_retained == 3);
        assert_int_equal(t->n_done, 0);
        for (uint64_t id = first; id < first + 3; id++)
                assert_int_equal(try_result(t, id), JOB_SUCCEEDED);
}

static void a_job_of_an_abandoned_call_can_be_tried_again(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        Submission *submission;
        uint64_t id;

        engine_set_announce(t->engine, false);
        engine_pause_pool(t->engine, pool, true);
        submission = try_submit_bulk(t, pool, TRY_ECHO, 1);
        id = submission->first_id;
        engine_abandon(submission);
        (void) pool_cancel(pool, engine_find_job(t->engine, id));
        try_until(t, pool->n_retained == 1);
        assert_int_equal(try_result(t, id), JOB_CANCELLED);
        assert_int_equal(t->jobs[id].n_finished, 0);

        /* From now on it is a job like others, of whose end is told. */
        engine_pause_pool(t->engine, pool, false);
        assert_int_equal(engine_retry(t->engine, id), RETRY_DONE);
        try_until(t, pool->n_retained == 1);
        assert_int_equal(try_result(t, id), JOB_SUCCEEDED);
        assert_int_equal(t->jobs[id].n_finished, 1);
}

static void on_keep_one(Submission *submission) {
        Try *t = submission->userdata;

        engine_submission_job(t->engine, submission, 1)->flags |= JOB_KEEP;
        t->n_done++;
}

static void an_output_that_did_not_fit_is_kept(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_several, 1);
        Submission *submission = try_submission();
        uint64_t first;

        submission->bulk = true;
        submission->finished = on_keep_one;
        submission->userdata = t;
        first = try_submit_with(t, pool, submission, "echo", 3);
        try_until(t, t->n_done == 1 && t->engine->jobs.n_jobs == 1);
        assert_null(engine_find_job(t->engine, first));
        assert_memory_equal(engine_find_job(t->engine, first + 1)->data, "echo", 4);
        assert_null(engine_find_job(t->engine, first + 2));
}

static void a_refused_submit_leaves_nothing(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 1);
        char echo[] = TRY_ECHO;
        struct iovec payloads[] = { { echo, 1 }, { echo, 1 }, { echo, 1 }, { echo, 1 } };
        Submission *submission = try_submission();
        PoolView view;
        Pool *pool;

        config->queue_max = 3;
        pool = add_pool(t, config);
        assert_int_equal(pool_room(pool), 3);
        assert_int_equal(
                engine_submit(t->engine, pool, submission, payloads, 4, false, 0), ADMIT_FULL);
        engine_drain_pool(t->engine, pool, true);
        assert_int_equal(pool_room(pool), 0);
        assert_int_equal(
                engine_submit(t->engine, pool, submission, payloads, 1, false, 0), ADMIT_DRAINING);
        pool_view(pool, &view);
        assert_int_equal(view.counters.rejected, 5);
        assert_int_equal(view.counters.submitted, 0);
        assert_int_equal(t->engine->jobs.n_jobs, 0);
        submission_free(submission);
}

/* ---- watches ---- */

static void a_watch_is_told_once(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        uint64_t id = try_submit(t, pool, TRY_GATE(0), 1);
        Job *job = engine_find_job(t->engine, id);
        Watch a = JOB_WATCH, b = JOB_WATCH, c = JOB_WATCH, d = JOB_WATCH;

        engine_set_announce(t->engine, false);
        assert_int_equal(engine_watch_job(job, &a.job), 0);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(engine_watch_job(job, &b.job), 0);
        assert_int_equal(engine_watch_job(job, &c.job), 0);
        engine_unwatch(&b.job);
        engine_unwatch(&b.job);
        gate_open(0);
        try_until(t, a.n_told == 1);
        assert_int_equal(b.n_told, 0);
        assert_int_equal(c.n_told, 1);
        assert_int_equal(c.result, JOB_SUCCEEDED);
        assert_int_equal(engine_watch_job(job, &d.job), 1);
}

static void a_job_of_a_bulk_call_can_be_watched(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_several, 1);
        Submission *submission;
        Watch watch = JOB_WATCH;

        engine_set_announce(t->engine, false);
        submission = try_submit_bulk(t, pool, TRY_GATE(0), 2);
        assert_int_equal(
                engine_watch_job(engine_submission_job(t->engine, submission, 0), &watch.job), 0);
        gate_open(0);
        try_until(t, t->n_done == 1);
        assert_int_equal(watch.n_told, 1);
}

static void a_drain_is_told_when_the_pool_is_empty(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        Submission *delayed = try_submission();
        Watch watch = POOL_WATCH, left = POOL_WATCH, at_once = POOL_WATCH;
        uint64_t id;

        delayed->delay = USEC_PER_HOUR;
        id = try_submit_with(t, pool, delayed, TRY_ECHO, 1);
        (void) try_submit(t, pool, TRY_GATE(0), 1);
        (void) try_submit(t, pool, TRY_ECHO, 3);
        engine_drain_pool(t->engine, pool, true);
        engine_watch_empty(t->engine, pool, &watch.pool);
        engine_watch_empty(t->engine, pool, &left.pool);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        engine_turn(t->engine);
        assert_int_equal(watch.n_told, 0);
        assert_int_equal(pool->shown_state, POOL_DRAINING);
        pool_unwatch(&left.pool);
        gate_open(0);
        try_until(t, watch.n_told == 1);
        assert_int_equal(left.n_told, 0);
        /* What is not due yet stays. */
        assert_int_equal(try_state(t, id), JOB_SCHEDULED);
        engine_watch_empty(t->engine, pool, &at_once.pool);
        engine_turn(t->engine);
        assert_int_equal(at_once.n_told, 1);
}

/* ---- removal ---- */

static void a_removed_pool_finishes_what_it_has(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 2);
        Submission *delayed = try_submission();
        Watch watch = POOL_WATCH;
        uint64_t first, id;
        EngineTotals totals;

        delayed->delay = USEC_PER_HOUR;
        id = try_submit_with(t, pool, delayed, TRY_ECHO, 1);
        first = try_submit(t, pool, TRY_GATE(0), 2);
        (void) try_submit(t, pool, TRY_ECHO, 10);
        engine_turn(t->engine);
        gate_wait_begun(0, 2);
        assert_int_equal(engine_remove_pool(t->engine, pool, false, &watch.pool), 0);
        try_until(t, t->n_finished == 1);
        assert_int_equal(t->jobs[id].result, JOB_CANCELLED);
        assert_string_equal(job_error(engine_find_job(t->engine, id)), "its pool was removed");
        /* Nothing brings it back. */
        engine_drain_pool(t->engine, pool, false);
        assert_int_equal(pool_room(pool), 0);
        gate_open(0);
        try_until(t, watch.n_told == 1);
        assert_null(engine_find_pool(t->engine, "p"));
        assert_int_equal(t->n_finished, 13);
        assert_int_equal(t->jobs[first + 11].result, JOB_SUCCEEDED);
        engine_totals(t->engine, &totals);
        assert_int_equal(totals.n_pools, 0);
        assert_int_equal(totals.counters.submitted, 13);
        assert_int_equal(totals.counters.results[JOB_SUCCEEDED], 12);
        assert_int_equal(t->engine->jobs.n_jobs, 0);
}

static void a_second_removal_cancels(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        Watch a = POOL_WATCH, b = POOL_WATCH;

        (void) try_submit(t, pool, TRY_GATE(0), 1);
        (void) try_submit(t, pool, TRY_ECHO, 10);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(engine_remove_pool(t->engine, pool, false, &a.pool), 0);
        engine_turn(t->engine);
        assert_int_equal(engine_remove_pool(t->engine, pool, true, &b.pool), 0);
        try_until(t, a.n_told == 1);
        assert_int_equal(b.n_told, 1);
        assert_int_equal(t->n_finished, 11);
        for (uint64_t id = 1; id <= 11; id++)
                assert_int_equal(t->jobs[id].result, JOB_CANCELLED);
}

static void settings_do_not_revive_a_removed_pool(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 2);
        PoolConfig *config = config_of(pool);

        assert_int_equal(engine_remove_pool(t->engine, pool, false, NULL), 0);
        engine_turn(t->engine);
        assert_true(pool->dismissed);
        assert_int_equal(engine_set_pool(t->engine, pool, config), 0);
        pool_config_free(config);
        try_until(t, t->n_pools_removed == 1);
}

static void names_are_unique_and_free_again(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        PoolConfig *config = try_config("p", &try_singly, 1);
        char *error = NULL;
        Pool *other;

        assert_int_equal(engine_add_pool(t->engine, config, &other, &error), -EEXIST);
        assert_int_equal(engine_remove_pool(t->engine, pool, false, NULL), 0);
        try_until(t, t->n_pools_removed == 1);
        assert_int_equal(engine_add_pool(t->engine, config, &other, &error), 0);
        (void) try_submit(t, other, TRY_ECHO, 1);
        try_until(t, t->n_finished == 1);
}

static int refuse_open(const HandlerConfig *config, Handler **ret, char **ret_error) {
        return handler_refuse(ret_error, -ENOEXEC, "Path: no such thing");
}

static void a_pool_that_cannot_be_made_says_why(void **state) {
        static const HandlerVTable refusing = { .name = "refusing", .open = refuse_open };
        Try *t = *state;
        PoolConfig *config = try_config("p", &refusing, 1);
        char *error = NULL;
        Pool *pool;

        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), -ENOEXEC);
        assert_string_equal(error, "Path: no such thing");
        free(error);
        pool_config_free(config);
        assert_null(engine_find_pool(t->engine, "p"));
        assert_int_equal(t->n_pools_added, 0);
}

/* ---- sweeps ---- */

typedef struct Swept {
        unsigned n_done;
        uint32_t n_cancelled;
} Swept;

static void on_swept(Sweep *sweep) {
        Swept *swept = sweep->userdata;

        swept->n_done++;
        swept->n_cancelled = sweep->n_cancelled;
}

static void a_sweep_cancels_a_thousand_per_turn(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1), *other = try_pool(t, "q", &try_singly, 1);
        JobFilter filter = {
                .pool = pool,
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .waiting = true,
        };
        Swept swept = {};
        unsigned before = 0;
        uint64_t later;

        engine_pause_pool(t->engine, pool, true);
        engine_pause_pool(t->engine, other, true);
        (void) try_submit(t, pool, TRY_ECHO, 2500);
        (void) try_submit(t, other, TRY_ECHO, 10);
        (void) try_submit(t, pool, TRY_ECHO, 2500);
        assert_int_equal(engine_sweep(t->engine, &filter, "swept", on_swept, &swept, NULL), 0);
        later = try_submit(t, pool, TRY_ECHO, 5);
        for (unsigned n = 0; swept.n_done == 0; n++) {
                try_turn(t, n, "the sweep is through");
                assert_true(t->n_finished - before <= 1000);
                before = t->n_finished;
                try_assert_adds_up(pool);
        }
        assert_int_equal(swept.n_cancelled, 5000);
        try_until(t, t->n_finished == 5000);
        assert_string_equal(job_error(engine_find_job(t->engine, later - 1)), "swept");
        /* Neither what came later nor what is elsewhere. */
        assert_int_equal(try_state(t, later), JOB_QUEUED);
        assert_int_equal(try_state(t, 2501), JOB_QUEUED);
        engine_turn(t->engine);
        assert_int_equal(swept.n_done, 1);
}

static void a_sweep_outlives_its_pool(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        JobFilter filter = {
                .pool = pool,
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .tag = "nobody has this",
        };
        Swept swept = {};

        (void) try_submit(t, pool, TRY_ECHO, 3);
        try_until(t, t->n_finished == 3);
        assert_int_equal(engine_remove_pool(t->engine, pool, true, NULL), 0);
        assert_int_equal(engine_sweep(t->engine, &filter, NULL, on_swept, &swept, NULL), 0);
        try_until(t, t->n_pools_removed == 1 && swept.n_done == 1);
        assert_int_equal(swept.n_cancelled, 0);
}

static void a_sweep_counts_only_what_it_has_stopped(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        JobFilter filter = {
                .state = _JOB_STATE_INVALID,
                .result = _JOB_RESULT_INVALID,
                .unfinished = true,
        };
        Swept a = {}, b = {};
        uint64_t id = try_submit(t, pool, TRY_STUBBORN(0), 1);

        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(engine_sweep(t->engine, &filter, NULL, on_swept, &a, NULL), 0);
        assert_int_equal(engine_sweep(t->engine, &filter, NULL, on_swept, &b, NULL), 0);
        try_until(t, a.n_done == 1 && b.n_done == 1);
        assert_int_equal(a.n_cancelled, 1);
        assert_int_equal(b.n_cancelled, 0);
        gate_open(0);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_CANCELLED);
}

/* ---- retention ---- */

static void only_so_many_results_are_kept(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 1);
        Pool *pool;

        config->result_retention_max = 3;
        pool = add_pool(t, config);
        (void) try_submit(t, pool, TRY_ECHO, 10);
        try_until(t, t->n_finished == 10);
        assert_int_equal(pool->n_retained, 3);
        assert_int_equal(t->engine->jobs.n_jobs, 3);
        assert_null(engine_find_job(t->engine, 7));
        assert_int_equal(try_result(t, 8), JOB_SUCCEEDED);
}

static void no_result_is_kept_where_none_may_be(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_several, 1);
        Submission *submission;
        Pool *pool;

        config->result_retention_max = 0;
        pool = add_pool(t, config);
        (void) try_submit(t, pool, TRY_ECHO, 100);
        submission = try_submit_bulk(t, pool, TRY_ECHO, 100);
        engine_abandon(submission);
        try_until(t, t->n_finished == 200 && t->engine->jobs.n_jobs == 0);
        assert_int_equal(pool->n_retained, 0);
}

static void results_are_forgotten_with_age(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_singly, 1);
        Pool *pool;

        config->result_retention = USEC_PER_MSEC;
        pool = add_pool(t, config);
        (void) try_submit(t, pool, TRY_ECHO, 10);
        try_until(t, t->n_finished == 10);
        assert_int_equal(pool->n_retained, 10);
        try_until(t, pool->n_retained == 0);
        assert_int_equal(t->engine->jobs.n_jobs, 0);
        assert_int_equal(t->engine->retention_at, USEC_INFINITY);
}

/* ---- the end ---- */

static void shutting_down_cancels_what_waits_and_lets_the_rest_end(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        uint64_t gate = try_submit(t, pool, TRY_GATE(0), 1);
        uint64_t echo = try_submit(t, pool, TRY_ECHO, 10);

        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        engine_shut_down(t->engine);
        try_until(t, t->n_finished == 10);
        assert_int_equal(try_result(t, echo), JOB_CANCELLED);
        assert_string_equal(
                job_error(engine_find_job(t->engine, echo)), "sluiced is shutting down");
        assert_false(engine_is_quiet(t->engine));
        gate_open(0);
        try_until(t, engine_is_quiet(t->engine));
        assert_int_equal(try_result(t, gate), JOB_SUCCEEDED);
}

static void what_runs_can_be_cancelled_at_last(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 2);
        uint64_t gate = try_submit(t, pool, TRY_GATE(0), 2);

        engine_turn(t->engine);
        gate_wait_begun(0, 2);
        engine_shut_down(t->engine);
        engine_cancel_running(t->engine);
        try_until(t, engine_is_quiet(t->engine));
        assert_int_equal(try_result(t, gate), JOB_CANCELLED);
        assert_int_equal(try_result(t, gate + 1), JOB_CANCELLED);
}

/* ---- the driver of these tests ---- */

static int on_nothing(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        return 0;
}

static int signal_at_last(sd_event_source *source, void *userdata) {
        mailbox_signal(userdata);
        return 0;
}

/* True once the note was read that it posts when it is asked for the second time. */
static bool has_read_a_note(Try *t, unsigned *n_asked) {
        StartNote *note;
        Mail mail;

        if (++*n_asked != 2)
                return t->n_started > 0;
        note = calloc(1, sizeof(*note));
        assert_non_null(note);
        mail_init(&mail);
        list_append(&mail.notes, &note->links);
        mail.n++;
        assert_false(mailbox_post(&t->engine->mailbox, &mail, /* urgent= */ false));
        return false;
}

/* A worker posts first and signals then what nobody was woken for. When main has read it in
 * between there is no signal, and no other event: what has changed is to be seen before the wait.
 */
static void no_wait_begins_after_mail_that_was_not_signalled_yet(void **state) {
        Try *t = *state;
        _cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC);
        sd_event_source *worker;
        unsigned n_asked = 0;

        /* It comes to that between the last look at the mail and the wait. */
        assert_true(fd >= 0);
        assert_return_code(
                sd_event_add_io(t->event, &worker, fd, EPOLLIN, on_nothing, &t->engine->mailbox),
                0);
        assert_return_code(sd_event_source_set_prepare(worker, signal_at_last), 0);
        try_until(t, has_read_a_note(t, &n_asked));
        sd_event_source_disable_unref(worker);
}

static void who_makes_no_progress_outside_of_its_handler_is_noticed(void **state) {
        Try *t = *state;
        Pool *pool = try_pool(t, "p", &try_singly, 1);
        Worker *worker;

        (void) try_submit(t, pool, TRY_GATE(0), 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        /* It is in its handler, for as long as that likes. */
        for (unsigned i = 0; i < 3; i++)
                assert_true(engine_workers_are_in_time(t->engine));

        pool_lock(pool);
        worker = list_entry(list_first(&pool->workers), Worker, links);
        pool_unlock(pool);
        /* As if it had come out of it and got stuck. */
        (void) atomic_fetch_add(&worker->pulse, 1);
        assert_true(engine_workers_are_in_time(t->engine));
        assert_false(engine_workers_are_in_time(t->engine));
        assert_false(engine_workers_are_in_time(t->engine));
        (void) atomic_fetch_add(&worker->pulse, 2);
        assert_true(engine_workers_are_in_time(t->engine));
        (void) atomic_fetch_sub(&worker->pulse, 3);
        assert_true(engine_workers_are_in_time(t->engine));
        gate_open(0);
        try_until(t, t->n_finished == 1);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(who_makes_no_progress_outside_of_its_handler_is_noticed),
                TEST(a_bulk_call_is_told_once_with_all_outputs),
                TEST(an_abandoned_call_keeps_its_results),
                TEST(a_job_of_an_abandoned_call_can_be_tried_again),
                TEST(an_output_that_did_not_fit_is_kept),
                TEST(a_refused_submit_leaves_nothing),
                TEST(a_watch_is_told_once),
                TEST(a_job_of_a_bulk_call_can_be_watched),
                TEST(a_drain_is_told_when_the_pool_is_empty),
                TEST(a_removed_pool_finishes_what_it_has),
                TEST(a_second_removal_cancels),
                TEST(settings_do_not_revive_a_removed_pool),
                TEST(names_are_unique_and_free_again),
                TEST(a_pool_that_cannot_be_made_says_why),
                TEST(a_sweep_cancels_a_thousand_per_turn),
                TEST(a_sweep_outlives_its_pool),
                TEST(a_sweep_counts_only_what_it_has_stopped),
                TEST(only_so_many_results_are_kept),
                TEST(no_result_is_kept_where_none_may_be),
                TEST(results_are_forgotten_with_age),
                TEST(shutting_down_cancels_what_waits_and_lets_the_rest_end),
                TEST(what_runs_can_be_cancelled_at_last),
                TEST(no_wait_begins_after_mail_that_was_not_signalled_yet),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
