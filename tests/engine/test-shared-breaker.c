/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pools and other callers behind a breaker, with real timers. */

#include "try.h"

#include <string.h>

#include "engine/breaker-config.h"

#define LONG USEC_PER_HOUR
#define SHORT (20 * USEC_PER_MSEC)

static int setup(void **state) {
        Try *t = malloc(sizeof(*t));

        assert_non_null(t);
        try_init(t);
        *state = t;
        return 0;
}

static int teardown(void **state) {
        Try *t = *state;

        try_done(t);
        free(t);
        return 0;
}

/* ---- helpers ---- */

/* Opens after two failures in a row. */
static SharedBreaker *add(Try *t, usec_t reset_timeout) {
        BreakerConfig config = BREAKER_CONFIG_DEFAULT;
        SharedBreaker *breaker;

        config.max_failures = 2;
        config.reset_timeout = reset_timeout;
        config.reset_timeout_max = reset_timeout;
        assert_int_equal(engine_add_breaker(t->engine, "b", &config, &breaker), 0);
        return breaker;
}

static Pool *guarded_pool(
        Try *t, const char *name, const HandlerVTable *handler, uint32_t n_workers, bool hold) {
        PoolConfig *config = try_config(name, handler, n_workers);
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        config->breaker = strdup("b");
        config->hold_on_open = hold;
        assert_non_null(config->breaker);
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        return pool;
}

static BreakerView look(SharedBreaker *breaker) {
        BreakerView view;

        shared_breaker_view(breaker, &view);
        return view;
}

static const char *pending_reason(Try *t, uint64_t id) {
        Job *job = engine_find_job(t->engine, id);
        JobView view;

        assert_non_null(job);
        pool_job_view(job_pool(job), job, &view);
        return view.pending_reason;
}

static uint32_t n_idle(Pool *pool) {
        uint32_t n;

        pool_lock(pool);
        n = pool->n_idle;
        pool_unlock(pool);
        return n;
}

/* For what a worker does without telling main: looks again and again. */
#define await(t, condition)                                                        \
        do {                                                                       \
                usec_t patience = usec_now(CLOCK_MONOTONIC) + USEC_PER_MINUTE;     \
                while (!(condition)) {                                             \
                        assert_true(usec_now(CLOCK_MONOTONIC) < patience);         \
                        engine_turn((t)->engine);                                  \
                        assert_true(sd_event_run((t)->event, USEC_PER_MSEC) >= 0); \
                        engine_turn((t)->engine);                                  \
                }                                                                  \
        } while (0)

/* ---- pools ---- */

static void an_open_breaker_holds_what_is_queued(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, LONG);
        Pool *pool = guarded_pool(t, "p", &try_singly, 2, /* hold= */ true);
        uint64_t id;

        (void) try_submit(t, pool, TRY_FAIL, 2);
        try_until(t, t->n_finished == 2);
        assert_int_equal(look(breaker).state, BREAKER_OPEN);
        id = try_submit(t, pool, TRY_ECHO, 3);
        await(t, strcmp(pending_reason(t, id), "breaker") == 0);
        assert_string_equal(pending_reason(t, id + 1), "breaker");
        assert_int_equal(shared_breaker_reset(breaker), 0);
        try_until(t, t->n_finished == 5);
        assert_int_equal(try_result(t, id + 2), JOB_SUCCEEDED);
        assert_int_equal(look(breaker).in_flight, 0);
}

static void an_open_breaker_refuses_what_is_queued(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, LONG);
        Pool *pool = guarded_pool(t, "p", &try_singly, 1, /* hold= */ false);
        Submission *later = try_submission();
        uint64_t gate, queued, scheduled;
        usec_t retry_after;

        gate = try_submit(t, pool, TRY_GATE(0), 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        queued = try_submit(t, pool, TRY_ECHO, 2500);
        later->delay = 50 * USEC_PER_MSEC;
        scheduled = try_submit_with(t, pool, later, TRY_ECHO, 1);
        assert_int_equal(shared_breaker_trip(breaker), 0);
        assert_true(pool_is_refusing(pool, &retry_after));
        assert_true(retry_after > 0 && retry_after <= LONG);

        /* Those that are not due meet the breaker when they are. */
        try_until(t, t->n_finished == 2501);
        assert_int_equal(try_result(t, queued), JOB_REFUSED);
        assert_int_equal(try_result(t, queued + 2499), JOB_REFUSED);
        assert_int_equal(try_result(t, scheduled), JOB_REFUSED);
        gate_open(0);
        try_until(t, t->n_finished == 2502);
        assert_int_equal(try_result(t, gate), JOB_SUCCEEDED);
        /* A result of the time before the trip counts for nothing. */
        assert_int_equal(look(breaker).state, BREAKER_OPEN);
}

static void what_is_queued_behind_a_sweep_is_refused_by_it_all_the_same(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, LONG);
        Pool *pool = guarded_pool(t, "p", &try_singly, 1, /* hold= */ false);
        uint64_t first = try_submit(t, pool, TRY_FAIL, 1);

        t->several_lives = true;
        try_until(t, t->n_finished == 1);
        (void) try_submit(t, pool, TRY_GATE(0), 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        (void) try_submit(t, pool, TRY_ECHO, 2500);
        assert_int_equal(shared_breaker_trip(breaker), 0);
        try_until(t, list_entry(list_first(&t->engine->sweeps), Sweep, links)->cursor > first);

        assert_int_equal(engine_retry(t->engine, first), RETRY_DONE);
        engine_refuse_queued(t->engine, pool);
        try_until(t, t->n_finished == 2502);
        assert_int_equal(try_result(t, first), JOB_REFUSED);
        gate_open(0);
        try_until(t, t->n_finished == 2503);
}

static void what_is_to_be_refused_may_be_gone_with_its_pool(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, LONG);
        Pool *other = try_pool(t, "other", &try_singly, 1);

        /* So much that a sweep takes several turns to look at it. */
        engine_pause_pool(t->engine, other, true);
        (void) try_submit(t, other, TRY_ECHO, 50000);
        for (unsigned i = 1; i <= 10; i++) {
                Pool *pool = guarded_pool(t, "p", &try_singly, 1, /* hold= */ false);

                assert_int_equal(engine_remove_pool(t->engine, pool, false, NULL), 0);
                /* Each time its sweep begins anew, so it is under way when the pool goes. */
                try_until(t, shared_breaker_trip(breaker) == 0 && t->n_pools_removed == i);
                try_until(t, list_is_empty(&t->engine->sweeps));
        }
}

static void the_timer_half_opens_it_and_one_probe_closes_it(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, SHORT);
        Pool *pool = guarded_pool(t, "p", &try_several, 3, /* hold= */ true);

        assert_int_equal(shared_breaker_trip(breaker), 0);
        (void) try_submit(t, pool, TRY_GATE(0), 4);
        try_pretend_short(pool);
        /* Without anybody who asks. */
        try_until(t, breaker->told_state == BREAKER_HALF_OPEN);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(look(breaker).in_flight, 1);
        await(t, n_idle(pool) == 2);
        assert_int_equal(gate_n_begun(0), 1);
        gate_open(0);
        try_until(t, t->n_finished == 4);
        assert_int_equal(look(breaker).state, BREAKER_CLOSED);
        assert_int_equal(look(breaker).in_flight, 0);
}

static void a_turn_takes_one_probe_and_no_more(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, SHORT);
        Pool *pool = guarded_pool(t, "p", &try_several, 1, /* hold= */ true);
        BreakerConfig config = look(breaker).config;

        config.half_open_probes = 3;
        assert_int_equal(engine_set_breaker(t->engine, breaker, &config), 0);
        assert_int_equal(shared_breaker_trip(breaker), 0);
        (void) try_submit(t, pool, TRY_GATE(0), 4);
        try_pretend_short(pool);
        try_until(t, breaker->told_state == BREAKER_HALF_OPEN);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(look(breaker).in_flight, 1);
        gate_open(0);
        try_until(t, t->n_finished == 4);
}

static void a_failed_probe_opens_it_again(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, SHORT);
        Pool *pool = guarded_pool(t, "p", &try_singly, 1, /* hold= */ true);

        assert_int_equal(shared_breaker_trip(breaker), 0);
        (void) try_submit(t, pool, TRY_FAIL, 3);
        try_until(t, t->n_finished == 3);
        assert_int_equal(look(breaker).trips, 4);
}

static void a_time_out_is_a_failure_at_once(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, LONG);
        Pool *pool = guarded_pool(t, "p", &try_singly, 2, /* hold= */ true);
        Submission *submission = try_submission();

        submission->run_timeout = SHORT;
        (void) try_submit_with(t, pool, submission, TRY_STUBBORN(0), 2);
        /* While both still run. */
        try_until(t, breaker->told_state == BREAKER_OPEN);
        assert_int_equal(t->n_finished, 0);
        gate_open(0);
        try_until(t, t->n_finished == 2);
        assert_int_equal(look(breaker).trips, 1);
}

static void what_is_cancelled_says_nothing(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, LONG);
        Pool *pool = guarded_pool(t, "p", &try_singly, 2, /* hold= */ true);
        uint64_t id = try_submit(t, pool, TRY_GATE(0), 2);

        engine_turn(t->engine);
        gate_wait_begun(0, 2);
        assert_int_equal(look(breaker).in_flight, 2);
        (void) pool_cancel(pool, engine_find_job(t->engine, id));
        (void) pool_cancel(pool, engine_find_job(t->engine, id + 1));
        try_until(t, t->n_finished == 2);
        assert_int_equal(look(breaker).state, BREAKER_CLOSED);
        assert_int_equal(look(breaker).failures, 0);
        assert_int_equal(look(breaker).in_flight, 0);
}

static void what_is_taken_back_gives_its_permit_back(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, LONG);
        Pool *pool = guarded_pool(t, "p", &try_several, 1, /* hold= */ true);

        engine_pause_pool(t->engine, pool, true);
        (void) try_submit(t, pool, TRY_GATE(0), 1);
        (void) try_submit(t, pool, TRY_ECHO, 10);
        try_pretend_short(pool);
        engine_pause_pool(t->engine, pool, false);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        assert_int_equal(look(breaker).in_flight, 11);
        engine_pause_pool(t->engine, pool, true);
        assert_int_equal(look(breaker).in_flight, 1);
        gate_open(0);
        engine_pause_pool(t->engine, pool, false);
        try_until(t, t->n_finished == 11);
        assert_int_equal(look(breaker).in_flight, 0);
}

static void pools_share_a_breaker(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, LONG);
        Pool *a = guarded_pool(t, "a", &try_singly, 1, /* hold= */ true);
        Pool *b = guarded_pool(t, "b", &try_singly, 1, /* hold= */ true);
        uint64_t id;

        (void) try_submit(t, a, TRY_FAIL, 2);
        try_until(t, t->n_finished == 2 && breaker->told_state == BREAKER_OPEN);
        id = try_submit(t, b, TRY_ECHO, 1);
        await(t, strcmp(pending_reason(t, id), "breaker") == 0);
        assert_int_equal(engine_remove_breaker(t->engine, breaker), -EBUSY);
        assert_int_equal(engine_remove_pool(t->engine, a, false, NULL), 0);
        assert_int_equal(engine_remove_pool(t->engine, b, true, NULL), 0);
        try_until(t, t->n_pools_removed == 2);
        assert_int_equal(engine_remove_breaker(t->engine, breaker), 0);
}

/* ---- time ---- */

typedef struct Watched {
        BreakerState states[4];
        usec_t at[4];
        unsigned n;
} Watched;

static void on_state_changed(
        void *userdata, SharedBreaker *breaker, BreakerState old, BreakerState new) {
        Watched *watched = userdata;

        assert_true(watched->n < ELEMENTSOF(watched->states));
        assert_int_equal(old, watched->n > 0 ? watched->states[watched->n - 1] : BREAKER_CLOSED);
        watched->at[watched->n] = usec_now(CLOCK_MONOTONIC);
        watched->states[watched->n++] = new;
}

/* Not a moment too early, and told without anybody who asks; there is no pool at all. */
static void time_alone_moves_it_and_says_so(void **state) {
        static const EngineListener listener = { .breaker_state_changed = on_state_changed };
        Try *t = *state;
        SharedBreaker *breaker = add(t, SHORT);
        usec_t start = usec_now(CLOCK_MONOTONIC);
        BreakerPermit permit = { .gone = NULL };
        Watched watched = {};

        engine_set_listener(t->engine, &listener, &watched);
        list_init(&permit.links);
        assert_int_equal(shared_breaker_trip(breaker), 0);
        try_until(t, watched.n == 2);
        assert_int_equal(watched.states[0], BREAKER_OPEN);
        assert_int_equal(watched.states[1], BREAKER_HALF_OPEN);
        assert_true(watched.at[1] - start >= SHORT);
        assert_int_equal(look(breaker).retry_after, 0);

        /* A probe fails, and it is the same again. */
        start = usec_now(CLOCK_MONOTONIC);
        assert_int_equal(shared_breaker_allow(breaker, &permit), 1);
        breaker_permit_report(&permit, false);
        try_until(t, watched.n == 4);
        assert_int_equal(watched.states[2], BREAKER_OPEN);
        assert_int_equal(watched.states[3], BREAKER_HALF_OPEN);
        assert_true(watched.at[3] - start >= SHORT);
        engine_set_listener(t->engine, NULL, NULL);
}

/* ---- others ---- */

typedef struct Holder {
        BreakerPermit permit;
        unsigned n_gone;
} Holder;

static void on_gone(BreakerPermit *permit) {
        container_of(permit, Holder, permit)->n_gone++;
}

static void permits_of_others_count(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, LONG);
        Holder holders[3] = {};

        for (unsigned i = 0; i < 3; i++) {
                holders[i].permit.gone = on_gone;
                list_init(&holders[i].permit.links);
                assert_true(shared_breaker_allow(breaker, &holders[i].permit));
        }
        assert_int_equal(look(breaker).in_flight, 3);
        breaker_permit_report(&holders[0].permit, false);
        breaker_permit_report(&holders[1].permit, false);
        assert_int_equal(look(breaker).state, BREAKER_OPEN);
        assert_false(shared_breaker_allow(breaker, &holders[0].permit));
        assert_int_equal(engine_remove_breaker(t->engine, breaker), 0);
        assert_int_equal(holders[2].n_gone, 1);
        assert_int_equal(holders[0].n_gone, 0);
}

static void permits_of_others_end_as_failures_in_time(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, LONG);
        usec_t before = usec_now(CLOCK_MONOTONIC), end;
        Holder holders[3] = {};

        for (unsigned i = 0; i < 3; i++) {
                holders[i].permit.gone = on_gone;
                list_init(&holders[i].permit.links);
                assert_true(shared_breaker_allow(breaker, &holders[i].permit));
        }
        end = holders[0].permit.ends_at;
        assert_true(end >= before + BREAKER_PERMIT_USEC);
        assert_true(end <= usec_now(CLOCK_MONOTONIC) + BREAKER_PERMIT_USEC);
        assert_int_equal(breaker->timer.armed_at, end);
        /* Each has its own time, also where the clock has not moved in between. */
        holders[1].permit.ends_at = end + 1;
        holders[2].permit.ends_at = end + 2;

        shared_breaker_end_overdue(breaker, end - 1);
        assert_int_equal(look(breaker).in_flight, 3);
        shared_breaker_end_overdue(breaker, end);
        assert_int_equal(holders[0].n_gone, 1);
        assert_int_equal(holders[1].n_gone, 0);
        assert_int_equal(look(breaker).failures, 1);
        assert_int_equal(look(breaker).in_flight, 2);

        /* What was reported in time does not end once more. */
        breaker_permit_report(&holders[1].permit, true);
        assert_int_equal(look(breaker).failures, 0);
        shared_breaker_end_overdue(breaker, end + 2);
        assert_int_equal(holders[1].n_gone, 0);
        assert_int_equal(holders[2].n_gone, 1);
        assert_int_equal(look(breaker).failures, 1);
        assert_int_equal(look(breaker).in_flight, 0);
        assert_true(list_is_empty(&breaker->permits));
}

/* The timer that fires for another reason is armed for the permits again. */
static void the_timer_keeps_the_permits_of_others_in_mind(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, SHORT);
        Holder holder = { .permit.gone = on_gone };

        list_init(&holder.permit.links);
        assert_true(shared_breaker_allow(breaker, &holder.permit));
        assert_int_equal(shared_breaker_trip(breaker), 0);
        assert_true(breaker->timer.armed_at < holder.permit.ends_at);
        try_until(t, look(breaker).state == BREAKER_HALF_OPEN &&
                             breaker->told_state == BREAKER_HALF_OPEN);
        assert_int_equal(breaker->timer.armed_at, holder.permit.ends_at);

        /* And the time of a permit that is over when it fires has ended. */
        holder.permit.ends_at = usec_now(CLOCK_MONOTONIC);
        assert_int_equal(shared_breaker_trip(breaker), 0);
        try_until(t, holder.n_gone == 1);
        assert_true(list_is_empty(&breaker->permits));
}

static void a_mode_is_not_changed_by_hand(void **state) {
        Try *t = *state;
        SharedBreaker *breaker = add(t, LONG);
        BreakerConfig config = look(breaker).config;

        config.mode = BREAKER_FORCED_OPEN;
        assert_int_equal(engine_set_breaker(t->engine, breaker, &config), 0);
        assert_int_equal(look(breaker).state, BREAKER_OPEN);
        assert_int_equal(look(breaker).retry_after, USEC_INFINITY);
        assert_int_equal(shared_breaker_reset(breaker), -EPERM);
        assert_int_equal(shared_breaker_trip(breaker), -EPERM);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(an_open_breaker_holds_what_is_queued),
                TEST(an_open_breaker_refuses_what_is_queued),
                TEST(what_is_queued_behind_a_sweep_is_refused_by_it_all_the_same),
                TEST(what_is_to_be_refused_may_be_gone_with_its_pool),
                TEST(the_timer_half_opens_it_and_one_probe_closes_it),
                TEST(a_turn_takes_one_probe_and_no_more),
                TEST(a_failed_probe_opens_it_again),
                TEST(a_time_out_is_a_failure_at_once),
                TEST(what_is_cancelled_says_nothing),
                TEST(what_is_taken_back_gives_its_permit_back),
                TEST(pools_share_a_breaker),
                TEST(time_alone_moves_it_and_says_so),
                TEST(permits_of_others_count),
                TEST(permits_of_others_end_as_failures_in_time),
                TEST(the_timer_keeps_the_permits_of_others_in_mind),
                TEST(a_mode_is_not_changed_by_hand),
#undef TEST
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
