/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pools whose jobs run in slots, with a handler that begins whatever it is told to and ends it when
 * the test says so. */

#include "try.h"

#include <string.h>

#include "engine/breaker-config.h"
#include "engine/limiter-config.h"
#include "engine/worker.h"

#define LONG USEC_PER_HOUR

/* ---- the handler ---- */

struct HandlerCall {
        Attempt **attempts; /* owned */
        size_t n;
        void (*done)(void *userdata);
        void *userdata;
        unsigned n_stops;
        struct HandlerCall *next; /* by age */
};

/* Calls in flight, and what becomes of the next ones. */
static struct {
        HandlerCall *first;
        unsigned n_calls; /* in flight */
        unsigned n_begun; /* ever */
        bool refuses;     /* nothing can be begun */
        bool obeys;       /* a stop ends the call at once */
        unsigned n_refused;
} far;

static int far_open(const HandlerConfig *config, Handler **ret, char **ret_error) {
        assert_non_null(config->event);
        *ret = malloc(1);
        return *ret ? 0 : -ENOMEM;
}

static void far_close(Handler *handler) {
        assert_null(far.first);
        free(handler);
}

static int far_begin(Handler *handler, Attempt *const *attempts, size_t n,
        void (*done)(void *userdata), void *userdata, HandlerCall **ret_call) {
        HandlerCall *call, **end = &far.first;

        if (far.refuses) {
                far.n_refused++;
                for (size_t i = 0; i < n; i++)
                        attempt_fail(attempts[i], OUTCOME_FAILURE, "nobody is there");
                return -ECONNREFUSED;
        }
        call = calloc(1, sizeof(*call));
        assert_non_null(call);
        *call = (HandlerCall){
                .attempts = calloc(n, sizeof(Attempt *)),
                .n = n,
                .done = done,
                .userdata = userdata,
        };
        assert_non_null(call->attempts);
        for (size_t i = 0; i < n; i++) {
                assert_int_equal(attempts[i]->wake_fd, -EBADF);
                assert_int_equal(attempt_stop(attempts[i]), JOB_STOP_NONE);
                call->attempts[i] = attempts[i];
        }
        while (*end)
                end = &(*end)->next;
        *end = call;
        far.n_calls++;
        far.n_begun++;
        *ret_call = call;
        return 0;
}

static void end_call(HandlerCall *call) {
        HandlerCall **link = &far.first;
        void (*done)(void *userdata) = call->done;
        void *userdata = call->userdata;

        while (*link != call)
                link = &(*link)->next;
        *link = call->next;
        far.n_calls--;
        free(call->attempts);
        free(call);
        done(userdata);
}

static void far_stop(Handler *handler, HandlerCall *call) {
        call->n_stops++;
        assert_int_equal(call->n_stops, 1);
        for (size_t i = 0; i < call->n; i++)
                assert_int_not_equal(attempt_stop(call->attempts[i]), JOB_STOP_NONE);
        if (far.obeys)
                end_call(call);
}

static const HandlerVTable far_vtable = {
        .name = "far",
        .in_slots = true,
        .open = far_open,
        .close = far_close,
        .begin = far_begin,
        .stop = far_stop,
};

static HandlerCall *call_of(uint64_t id) {
        for (HandlerCall *call = far.first; call; call = call->next)
                for (size_t i = 0; i < call->n; i++)
                        if (call->attempts[i]->id == id)
                                return call;
        fail_msg("no call has that job");
        return NULL;
}

static void succeed(uint64_t id) {
        HandlerCall *call = call_of(id);

        for (size_t i = 0; i < call->n; i++) {
                Attempt *a = call->attempts[i];

                memcpy(attempt_output_alloc(a, a->payload_size), a->payload, a->payload_size);
                a->outcome = OUTCOME_SUCCESS;
        }
        end_call(call);
}

static void fail_call(uint64_t id, Outcome outcome) {
        HandlerCall *call = call_of(id);

        for (size_t i = 0; i < call->n; i++)
                attempt_fail(call->attempts[i], outcome, "could not");
        end_call(call);
}

/* ---- helpers ---- */

static int set_up(void **state) {
        Try *t = malloc(sizeof(*t));

        assert_non_null(t);
        far.n_begun = far.n_refused = 0;
        far.refuses = far.obeys = false;
        try_init(t);
        *state = t;
        return 0;
}

static int tear_down(void **state) {
        Try *t = *state;

        far.refuses = false;
        /* What was told to stop before does not hear of it again. */
        for (HandlerCall *call = far.first, *next; call; call = next) {
                next = call->next;
                if (call->n_stops > 0)
                        end_call(call);
        }
        far.obeys = true;
        try_done(t);
        free(t);
        return 0;
}

static Pool *add(Try *t, PoolConfig *config) {
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        engine_turn(t->engine);
        return pool;
}

static Pool *pool_of(Try *t, uint32_t n_slots) {
        return add(t, try_config("p", &far_vtable, n_slots));
}

static PoolView view_of(Pool *pool) {
        PoolView view;

        pool_view(pool, &view);
        return view;
}

static uint64_t submit(Try *t, Pool *pool, size_t n) {
        uint64_t id = try_submit(t, pool, TRY_ECHO, n);

        engine_turn(t->engine);
        return id;
}

static void cancel(Try *t, uint64_t id) {
        Job *job = engine_find_job(t->engine, id);

        assert_non_null(job);
        assert_int_equal(pool_cancel(job_pool(job), job), CANCEL_ASKED);
}

static void resize(Try *t, Pool *pool, uint32_t n_slots) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;

        assert_int_equal(pool_config_copy(pool->config, &config), 0);
        config->min_workers = config->max_workers = n_slots;
        assert_int_equal(engine_set_pool(t->engine, pool, config), 0);
        engine_turn(t->engine);
}

static const char *error_of(Try *t, uint64_t id) {
        return job_error(engine_find_job(t->engine, id));
}

static BreakerView breaker_of(Pool *pool) {
        BreakerView view;

        shared_breaker_view(pool->gates.breaker, &view);
        return view;
}

/* ---- work ---- */

static void as_many_calls_are_in_flight_as_there_are_slots(void **state) {
        Try *t = *state;
        Pool *pool = pool_of(t, 3);
        uint64_t id = submit(t, pool, 5);

        assert_int_equal(far.n_calls, 3);
        assert_int_equal(view_of(pool).n_workers, 3);
        assert_int_equal(view_of(pool).n_busy, 3);
        assert_int_equal(view_of(pool).n_running, 3);
        assert_int_equal(view_of(pool).n_queued, 2);
        try_assert_adds_up(pool);
        succeed(id + 1);
        assert_int_equal(far.n_calls, 3);
        assert_non_null(call_of(id + 3));
        succeed(id);
        succeed(id + 2);
        assert_int_equal(view_of(pool).n_busy, 2);
        succeed(id + 3);
        succeed(id + 4);
        try_until(t, t->n_finished == 5);
        assert_int_equal(view_of(pool).n_busy, 0);
        assert_int_equal(view_of(pool).counters.results[JOB_SUCCEEDED], 5);
        for (unsigned i = 0; i < 5; i++) {
                assert_int_equal(t->jobs[id + i].n_started, 1);
                assert_int_equal(engine_find_job(t->engine, id + i)->size, strlen(TRY_ECHO));
        }
}

static void no_thread_is_made(void **state) {
        Try *t = *state;
        Pool *pool = pool_of(t, 1000);

        list_for_each (l, &pool->workers) {
                const Worker *slot = list_entry(l, Worker, links);

                assert_true(worker_is_slot(slot));
                assert_int_equal(slot->cpu, -1);
                assert_int_equal(slot->room, 1);
        }
        assert_int_equal(view_of(pool).n_workers, 1000);
        (void) submit(t, pool, 1000);
        assert_int_equal(far.n_calls, 1000);
        while (far.first)
                succeed(far.first->attempts[0]->id);
        try_until(t, t->n_finished == 1000);
}

static void a_call_that_waits_for_all_gets_all(void **state) {
        Try *t = *state;
        Pool *pool = pool_of(t, 4);

        (void) try_submit_bulk(t, pool, TRY_ECHO, 200);
        engine_turn(t->engine);
        while (far.first)
                succeed(far.first->attempts[0]->id);
        try_until(t, t->n_done == 1);
}

static void a_failure_has_another_attempt_where_the_pool_says_so(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &far_vtable, 1);
        Pool *pool;
        uint64_t id;

        config->max_attempts = 2;
        config->backoff = 1;
        t->several_lives = true;
        pool = add(t, config);
        id = submit(t, pool, 1);
        assert_int_equal(call_of(id)->attempts[0]->attempt, 1);
        fail_call(id, OUTCOME_FAILURE);
        try_until(t, far.n_calls == 1);
        assert_int_equal(call_of(id)->attempts[0]->attempt, 2);
        fail_call(id, OUTCOME_FAILURE);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_FAILED);
        assert_string_equal(error_of(t, id), "could not");
        assert_int_equal(view_of(pool).counters.retried, 1);
}

static void a_call_that_asks_for_another_attempt_gets_it(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &far_vtable, 1);
        uint64_t id;

        config->backoff = 1;
        t->several_lives = true;
        id = submit(t, add(t, config), 1);
        fail_call(id, OUTCOME_RETRY);
        try_until(t, far.n_calls == 1);
        fail_call(id, OUTCOME_FATAL);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_FAILED);
}

static void what_cannot_be_begun_fails_without_holding_up_others(void **state) {
        Try *t = *state;
        Pool *pool = pool_of(t, 1);
        unsigned most = 0;
        uint64_t id;

        far.refuses = true;
        id = try_submit(t, pool, TRY_ECHO, 1000);
        for (unsigned n = 0; t->n_finished < 1000; n++) {
                unsigned before = far.n_refused;

                try_turn(t, n, "all have failed");
                most = MAX(most, far.n_refused - before);
        }
        /* It looks for work at both ends of a turn of the loop. */
        assert_in_range(most, 1, 200);
        assert_int_equal(try_result(t, id + 999), JOB_FAILED);
        assert_string_equal(error_of(t, id), "nobody is there");
        far.refuses = false;
        id = submit(t, pool, 1);
        succeed(id);
        try_until(t, t->n_finished == 1001);
}

/* ---- stops ---- */

static void a_cancelled_call_is_told_to_stop_once(void **state) {
        Try *t = *state;
        uint64_t id = submit(t, pool_of(t, 1), 1);

        cancel(t, id);
        assert_int_equal(call_of(id)->n_stops, 1);
        assert_int_equal(attempt_stop(call_of(id)->attempts[0]), JOB_STOP_CANCEL);
        assert_int_equal(try_state(t, id), JOB_STOPPING);
        assert_int_equal(pool_cancel(job_pool(engine_find_job(t->engine, id)),
                                 engine_find_job(t->engine, id)),
                CANCEL_NOTHING);
        fail_call(id, OUTCOME_FAILURE);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_CANCELLED);
}

static void a_success_that_beat_the_cancel_stays_one(void **state) {
        Try *t = *state;
        uint64_t id = submit(t, pool_of(t, 1), 1);

        cancel(t, id);
        succeed(id);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_SUCCEEDED);
}

static void a_call_may_end_while_it_is_told_to_stop(void **state) {
        Try *t = *state;
        Pool *pool = pool_of(t, 1);
        uint64_t id = submit(t, pool, 2);

        far.obeys = true;
        cancel(t, id);
        assert_int_equal(try_state(t, id), JOB_FINISHED);
        /* And the next one has begun. */
        assert_int_equal(try_state(t, id + 1), JOB_RUNNING);
        succeed(id + 1);
        try_until(t, t->n_finished == 2);
        assert_int_equal(try_result(t, id), JOB_CANCELLED);
        assert_int_equal(try_result(t, id + 1), JOB_SUCCEEDED);
}

static void a_call_out_of_its_time_is_told_to_stop(void **state) {
        Submission *hasty = try_submission();
        Try *t = *state;
        uint64_t id;

        hasty->run_timeout = USEC_PER_MSEC;
        id = try_submit_with(t, pool_of(t, 1), hasty, TRY_ECHO, 1);
        try_until(t, far.first && far.first->n_stops == 1);
        assert_int_equal(attempt_stop(call_of(id)->attempts[0]), JOB_STOP_TIMEOUT);
        fail_call(id, OUTCOME_FAILURE);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_TIMED_OUT);
}

static void a_call_that_ignores_its_stop_degrades_the_pool(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &far_vtable, 1);
        Pool *pool;
        uint64_t id;

        config->handler_config.stop_timeout = 1;
        pool = add(t, config);
        id = submit(t, pool, 1);
        cancel(t, id);
        try_until(t, pool_state(pool) == POOL_DEGRADED);
        fail_call(id, OUTCOME_LOST);
        try_until(t, t->n_finished == 1 && pool_state(pool) == POOL_RUNNING);
        assert_int_equal(try_result(t, id), JOB_LOST);
}

static void a_pause_begins_nothing(void **state) {
        Try *t = *state;
        Pool *pool = pool_of(t, 2);
        uint64_t id;

        engine_pause_pool(t->engine, pool, true);
        id = submit(t, pool, 2);
        assert_int_equal(far.n_calls, 0);
        engine_pause_pool(t->engine, pool, false);
        engine_turn(t->engine);
        assert_int_equal(far.n_calls, 2);
        succeed(id);
        succeed(id + 1);
        try_until(t, t->n_finished == 2);
}

/* ---- batches ---- */

static Pool *batch_pool(Try *t, uint32_t n_slots, uint32_t size) {
        PoolConfig *config = try_config("p", &far_vtable, n_slots);

        config->batch_size = size;
        config->batch_timeout = LONG;
        return add(t, config);
}

static void a_batch_is_one_call(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 2, 100);
        uint64_t id = submit(t, pool, 250);

        assert_int_equal(far.n_calls, 2);
        assert_int_equal(call_of(id)->n, 100);
        assert_int_equal(call_of(id + 100)->n, 100);
        assert_int_equal(view_of(pool).n_busy, 2);
        assert_int_equal(view_of(pool).n_running, 200);
        succeed(id);
        succeed(id + 100);
        assert_int_equal(far.n_calls, 0);
        engine_drain_pool(t->engine, pool, true);
        engine_turn(t->engine);
        assert_int_equal(call_of(id + 200)->n, 50);
        succeed(id + 200);
        try_until(t, t->n_finished == 250);
        assert_int_equal(view_of(pool).n_batches, 3);
}

static void a_batch_is_told_to_stop_when_its_last_member_is(void **state) {
        Try *t = *state;
        Pool *pool = batch_pool(t, 1, 3);
        uint64_t id = submit(t, pool, 3);

        cancel(t, id);
        cancel(t, id + 2);
        assert_int_equal(call_of(id)->n_stops, 0);
        assert_int_equal(attempt_stop(call_of(id)->attempts[2]), JOB_STOP_CANCEL);
        cancel(t, id + 1);
        assert_int_equal(call_of(id)->n_stops, 1);
        fail_call(id, OUTCOME_FAILURE);
        try_until(t, t->n_finished == 3);
        assert_int_equal(try_result(t, id + 1), JOB_CANCELLED);
}

/* ---- limiter and breaker ---- */

static void a_call_costs_one_token(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &far_vtable, 8);
        Pool *pool;
        uint64_t id;

        config->limiter_config =
                (LimiterConfig){ .rate = 2, .period = 50 * USEC_PER_MSEC, .burst = 2 };
        pool = add(t, config);
        id = submit(t, pool, 6);
        assert_in_range(far.n_calls, 2, 6);
        /* The others come by the limiter's timer. */
        try_until(t, far.n_begun == 6);
        for (unsigned i = 0; i < 6; i++)
                succeed(id + i);
        try_until(t, t->n_finished == 6);
}

static void a_limiter_is_shared_with_threads(void **state) {
        static const LimiterConfig limit = { .rate = 1, .period = 2 * USEC_PER_MSEC, .burst = 1 };
        Try *t = *state;
        PoolConfig *config = try_config("p", &far_vtable, 4);
        PoolConfig *other = try_config("threads", &try_singly, 2);
        Pool *pool, *threads;
        LimiterView view;

        assert_int_equal(engine_add_limiter(t->engine, "l", &limit, NULL), 0);
        config->limiter = strdup("l");
        other->limiter = strdup("l");
        pool = add(t, config);
        threads = add(t, other);
        (void) try_submit(t, pool, TRY_ECHO, 100);
        (void) try_submit(t, threads, TRY_ECHO, 100);
        for (unsigned n = 0; t->n_finished < 200; n++) {
                try_turn(t, n, "all have ended");
                while (far.first)
                        succeed(far.first->attempts[0]->id);
        }
        shared_limiter_view(pool->gates.limiter, &view);
        assert_int_equal(view.granted, 200);
        try_assert_adds_up(pool);
}

static void an_open_breaker_lets_nothing_begin_until_a_probe_succeeds(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &far_vtable, 3);
        Pool *pool;
        uint64_t id;

        config->breaker_config = (BreakerConfig) BREAKER_CONFIG_DEFAULT;
        config->breaker_config.max_failures = 2;
        config->breaker_config.reset_timeout = config->breaker_config.reset_timeout_max =
                USEC_PER_MSEC;
        config->own_breaker = config->hold_on_open = true;
        pool = add(t, config);
        id = submit(t, pool, 8);
        fail_call(id, OUTCOME_FAILURE);
        fail_call(id + 1, OUTCOME_FAILURE);
        fail_call(id + 2, OUTCOME_FAILURE);
        assert_int_equal(breaker_of(pool).trips, 1);
        try_until(t, far.n_calls > 0 && breaker_of(pool).state == BREAKER_HALF_OPEN &&
                             breaker_of(pool).in_flight == 1);
        while (t->n_finished < 8) {
                while (far.first)
                        succeed(far.first->attempts[0]->id);
                if (t->n_finished < 8)
                        try_turn(t, 1, "all have ended");
        }
        assert_int_equal(breaker_of(pool).state, BREAKER_CLOSED);
        assert_int_equal(breaker_of(pool).in_flight, 0);
}

static void a_time_out_counts_for_the_breaker_when_it_comes(void **state) {
        Submission *hasty = try_submission();
        Try *t = *state;
        PoolConfig *config = try_config("p", &far_vtable, 1);
        Pool *pool;
        uint64_t id;

        config->breaker_config = (BreakerConfig) BREAKER_CONFIG_DEFAULT;
        config->own_breaker = config->hold_on_open = true;
        hasty->run_timeout = USEC_PER_MSEC;
        pool = add(t, config);
        id = try_submit_with(t, pool, hasty, TRY_ECHO, 1);
        try_until(t, far.first && far.first->n_stops == 1);
        assert_int_equal(breaker_of(pool).failures, 1);
        assert_int_equal(breaker_of(pool).in_flight, 0);
        fail_call(id, OUTCOME_FAILURE);
        assert_int_equal(breaker_of(pool).failures, 1);
}

static void the_jobs_of_a_key_run_one_after_the_other(void **state) {
        Try *t = *state;
        Pool *pool = pool_of(t, 4);
        Submission *submission = try_submission();
        uint64_t id;

        submission->concurrency_key = strdup("k");
        id = try_submit_with(t, pool, submission, TRY_ECHO, 3);
        engine_turn(t->engine);
        for (unsigned i = 0; i < 3; i++) {
                try_until(t, far.n_calls == 1);
                succeed(id + i);
        }
        try_until(t, t->n_finished == 3);
}

/* ---- resizing and removal ---- */

static void slots_come_and_go_while_they_are_busy(void **state) {
        Try *t = *state;
        Pool *pool = pool_of(t, 2);
        uint64_t id = submit(t, pool, 8);

        resize(t, pool, 5);
        assert_int_equal(view_of(pool).n_workers, 5);
        assert_int_equal(far.n_calls, 5);
        resize(t, pool, 1);
        assert_int_equal(view_of(pool).n_workers, 5);
        for (unsigned i = 0; i < 4; i++)
                succeed(id + i);
        try_until(t, pool->n_threads == 1);
        assert_int_equal(view_of(pool).n_workers, 1);
        assert_int_equal(far.n_calls, 1);
        succeed(id + 4);
        assert_non_null(call_of(id + 5));
        resize(t, pool, 3);
        assert_int_equal(far.n_calls, 3);
        for (unsigned i = 5; i < 8; i++)
                succeed(id + i);
        try_until(t, t->n_finished == 8);
}

static void idle_slots_go_at_once(void **state) {
        Try *t = *state;
        Pool *pool = pool_of(t, 100);

        resize(t, pool, 1);
        try_until(t, pool->n_threads == 1);
        assert_int_equal(view_of(pool).n_workers, 1);
        assert_int_equal(t->n_worker_changes, 1);
}

static void a_removed_pool_goes_when_its_calls_have_ended(void **state) {
        Try *t = *state;
        Pool *pool = pool_of(t, 3);
        uint64_t id = submit(t, pool, 4);

        assert_int_equal(engine_remove_pool(t->engine, pool, /* cancel= */ false, NULL), 0);
        engine_turn(t->engine);
        succeed(id);
        succeed(id + 1);
        succeed(id + 2);
        engine_turn(t->engine);
        assert_int_equal(t->n_pools_removed, 0);
        succeed(id + 3);
        try_until(t, t->n_pools_removed == 1);
        assert_int_equal(t->n_finished, 4);
}

static void a_pool_removed_by_force_stops_its_calls(void **state) {
        Try *t = *state;
        Pool *pool = pool_of(t, 2);
        uint64_t id = submit(t, pool, 4);

        assert_int_equal(engine_remove_pool(t->engine, pool, /* cancel= */ true, NULL), 0);
        try_until(t, call_of(id)->n_stops == 1 && call_of(id + 1)->n_stops == 1);
        fail_call(id, OUTCOME_FAILURE);
        succeed(id + 1);
        try_until(t, t->n_pools_removed == 1);
        assert_int_equal(t->n_finished, 4);
        assert_int_equal(t->jobs[id + 3].result, JOB_CANCELLED);
        assert_int_equal(t->jobs[id + 1].result, JOB_SUCCEEDED);
}

static void an_elastic_pool_of_slots_grows_and_shrinks(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &far_vtable, 3);
        Pool *pool;

        config->scale_config = (ScalerConfig){
                .mode = SCALE_QUEUE,
                .interval = 10 * USEC_PER_MSEC,
                .up_at = 2,
                .down_at = 1,
                .target_wait = USEC_PER_SEC,
        };
        pool = add(t, config);
        assert_int_equal(view_of(pool).n_workers, 1);
        (void) submit(t, pool, 20);
        assert_int_equal(far.n_calls, 1);
        try_until(t, far.n_calls == 3);
        while (far.first)
                succeed(far.first->attempts[0]->id);
        try_until(t, t->n_finished == 20 && view_of(pool).n_workers == 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
                TEST(as_many_calls_are_in_flight_as_there_are_slots),
                TEST(no_thread_is_made),
                TEST(a_call_that_waits_for_all_gets_all),
                TEST(a_failure_has_another_attempt_where_the_pool_says_so),
                TEST(a_call_that_asks_for_another_attempt_gets_it),
                TEST(what_cannot_be_begun_fails_without_holding_up_others),
                TEST(a_cancelled_call_is_told_to_stop_once),
                TEST(a_success_that_beat_the_cancel_stays_one),
                TEST(a_call_may_end_while_it_is_told_to_stop),
                TEST(a_call_out_of_its_time_is_told_to_stop),
                TEST(a_call_that_ignores_its_stop_degrades_the_pool),
                TEST(a_pause_begins_nothing),
                TEST(a_batch_is_one_call),
                TEST(a_batch_is_told_to_stop_when_its_last_member_is),
                TEST(a_call_costs_one_token),
                TEST(a_limiter_is_shared_with_threads),
                TEST(an_open_breaker_lets_nothing_begin_until_a_probe_succeeds),
                TEST(a_time_out_counts_for_the_breaker_when_it_comes),
                TEST(the_jobs_of_a_key_run_one_after_the_other),
                TEST(slots_come_and_go_while_they_are_busy),
                TEST(idle_slots_go_at_once),
                TEST(a_removed_pool_goes_when_its_calls_have_ended),
                TEST(a_pool_removed_by_force_stops_its_calls),
                TEST(an_elastic_pool_of_slots_grows_and_shrinks),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
