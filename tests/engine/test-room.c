/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A full queue: who waits for room is served in order, and who is dropped is told. */

#include "try.h"

typedef struct Waiter {
        RoomWatch watch;
        Try *t;
        uint64_t n;
        unsigned n_served;
        AdmitVerdict verdict;
        unsigned place; /* which one it was to be served */
} Waiter;

static unsigned n_served;

static int set_up(void **state) {
        Try *t = malloc(sizeof(*t));

        assert_non_null(t);
        try_init(t);
        n_served = 0;
        *state = t;
        return 0;
}

static int tear_down(void **state) {
        try_done(*state);
        free(*state);
        return 0;
}

static Pool *make_pool(Try *t, uint64_t queue_max, Overflow overflow) {
        PoolConfig *config = try_config("p", &try_singly, 1);
        _cleanup_free_ char *error = NULL;
        Pool *pool;

        config->queue_max = queue_max;
        config->overflow = overflow;
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        return pool;
}

/* The same with a job at its only worker, and a queue that is full. */
static Pool *make_full_pool(Try *t, uint64_t queue_max) {
        Pool *pool = make_pool(t, queue_max, OVERFLOW_WAIT);

        (void) try_submit(t, pool, TRY_GATE(0), 1);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        (void) try_submit(t, pool, TRY_ECHO, queue_max);
        return pool;
}

static JobCounters counters_of(Pool *pool) {
        PoolView view;

        pool_view(pool, &view);
        return view.counters;
}

static void set_queue_max(Try *t, Pool *pool, uint64_t queue_max) {
        PoolConfig config = *pool->config;

        config.queue_max = queue_max;
        assert_int_equal(engine_set_pool(t->engine, pool, &config), 0);
}

static int try_admit(Try *t, Pool *pool, Submission *submission, const char *payload, uint64_t n,
        unsigned flags) {
        const struct iovec one = { (void *) (uintptr_t) payload, 1 };
        struct iovec payloads[8] = { one, one, one, one, one, one, one, one };
        int r;

        assert_true(n <= ELEMENTSOF(payloads));
        r = engine_submit(t->engine, pool, submission, payloads, n, /* borrow= */ false, flags);
        if (r != ADMIT_YES)
                submission_free(submission);
        return r;
}

static void on_served(RoomWatch *watch) {
        Waiter *waiter = container_of(watch, Waiter, watch);
        Pool *pool = engine_find_pool(waiter->t->engine, "p");

        waiter->n_served++;
        waiter->place = ++n_served;
        waiter->verdict = (AdmitVerdict) try_admit(
                waiter->t, pool, try_submission(), TRY_ECHO, waiter->n, ADMIT_SERVED);
}

/* Is refused, and waits. */
static void get_in_line(Waiter *waiter, Try *t, Pool *pool, uint64_t n) {
        *waiter = (Waiter){ .watch.served = on_served, .t = t, .n = n };
        assert_int_equal(
                try_admit(t, pool, try_submission(), TRY_ECHO, n, ADMIT_MAY_WAIT), ADMIT_FULL);
        engine_watch_room(pool, &waiter->watch, n);
}

/* ---- the line ---- */

static void the_line_is_served_in_order_as_workers_take_jobs(void **state) {
        Try *t = *state;
        Pool *pool = make_full_pool(t, 3);
        Waiter waiters[4];

        get_in_line(&waiters[0], t, pool, 1);
        get_in_line(&waiters[1], t, pool, 3);
        get_in_line(&waiters[2], t, pool, 2);
        get_in_line(&waiters[3], t, pool, 1);
        engine_turn(t->engine);
        assert_int_equal(n_served, 0);
        gate_open(0);
        try_until(t, t->n_finished == 4 + 7);
        for (unsigned i = 0; i < 4; i++) {
                assert_int_equal(waiters[i].n_served, 1);
                assert_int_equal(waiters[i].place, i + 1);
                assert_int_equal(waiters[i].verdict, ADMIT_YES);
        }
        assert_int_equal(counters_of(pool).submitted, 11);
        assert_int_equal(counters_of(pool).rejected, 0);
}

static void nobody_passes_those_who_wait(void **state) {
        Try *t = *state;
        Pool *pool = make_full_pool(t, 3);
        Waiter waiter;

        get_in_line(&waiter, t, pool, 3);
        set_queue_max(t, pool, 5);
        engine_turn(t->engine);
        assert_int_equal(n_served, 0);
        assert_int_equal(try_admit(t, pool, try_submission(), TRY_ECHO, 1, 0), ADMIT_FULL);
        assert_int_equal(counters_of(pool).rejected, 1);
        set_queue_max(t, pool, 6);
        try_until(t, n_served == 1);
        assert_int_equal(waiter.verdict, ADMIT_YES);
        gate_open(0);
        try_until(t, t->n_finished == 7);
}

static void who_leaves_lets_those_behind_come_in(void **state) {
        Try *t = *state;
        Pool *pool = make_full_pool(t, 3);
        Waiter large, small;

        get_in_line(&large, t, pool, 3);
        get_in_line(&small, t, pool, 1);
        set_queue_max(t, pool, 4);
        engine_turn(t->engine);
        assert_int_equal(n_served, 0);
        engine_unwatch_room(&large.watch);
        engine_unwatch_room(&large.watch);
        try_until(t, n_served == 1);
        assert_int_equal(large.n_served, 0);
        assert_int_equal(small.verdict, ADMIT_YES);
        assert_int_equal(counters_of(pool).rejected, 3);
}

static void a_cancelled_job_makes_room(void **state) {
        Try *t = *state;
        Pool *pool = make_full_pool(t, 3);
        Waiter waiter;

        get_in_line(&waiter, t, pool, 1);
        (void) pool_cancel(pool, engine_find_job(t->engine, 2));
        try_until(t, n_served == 1);
        assert_int_equal(waiter.verdict, ADMIT_YES);
}

static void an_expired_job_makes_room(void **state) {
        Try *t = *state;
        Pool *pool = make_full_pool(t, 3);
        Submission *submission = try_submission();
        Waiter waiter;

        set_queue_max(t, pool, 4);
        submission->queue_timeout = 20 * USEC_PER_MSEC;
        (void) try_submit_with(t, pool, submission, TRY_ECHO, 1);
        waiter = (Waiter){ .watch.served = on_served, .t = t, .n = 1 };
        engine_watch_room(pool, &waiter.watch, 1);
        try_until(t, n_served == 1);
        assert_int_equal(waiter.verdict, ADMIT_YES);
        assert_int_equal(counters_of(pool).results[JOB_EXPIRED], 1);
}

static void who_waits_is_refused_when_the_pool_drains(void **state) {
        Try *t = *state;
        Pool *pool = make_full_pool(t, 3);
        Waiter waiters[3];

        for (unsigned i = 0; i < 3; i++)
                get_in_line(&waiters[i], t, pool, 1);
        engine_drain_pool(t->engine, pool, true);
        try_until(t, n_served == 3);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(waiters[i].verdict, ADMIT_DRAINING);
        assert_int_equal(counters_of(pool).rejected, 3);
        assert_int_equal(counters_of(pool).submitted, 4);
}

static void who_can_never_fit_any_more_is_refused(void **state) {
        Try *t = *state;
        Pool *pool = make_full_pool(t, 3);
        Waiter waiters[2];

        get_in_line(&waiters[0], t, pool, 3);
        get_in_line(&waiters[1], t, pool, 2);
        set_queue_max(t, pool, 2);
        try_until(t, n_served == 1);
        assert_int_equal(waiters[0].verdict, ADMIT_FULL);
        assert_int_equal(waiters[1].n_served, 0);
        assert_int_equal(counters_of(pool).rejected, 3);
        gate_open(0);
        try_until(t, t->n_finished == 6);
        assert_int_equal(waiters[1].verdict, ADMIT_YES);
}

static void who_waits_is_refused_when_the_pool_goes(void **state) {
        Try *t = *state;
        Pool *pool = make_full_pool(t, 3);
        Waiter waiter;

        get_in_line(&waiter, t, pool, 1);
        assert_int_equal(engine_remove_pool(t->engine, pool, /* cancel= */ true, NULL), 0);
        try_until(t, t->n_pools_removed == 1);
        assert_int_equal(waiter.n_served, 1);
        assert_int_equal(waiter.verdict, ADMIT_DRAINING);
}

/* ---- drops ---- */

static uint64_t submit_with_priority(Try *t, Pool *pool, int16_t priority) {
        Submission *submission = try_submission();

        submission->priority = priority;
        return try_submit_with(t, pool, submission, TRY_ECHO, 1);
}

static int admit_with_priority(Try *t, Pool *pool, int16_t priority, uint64_t n) {
        Submission *submission = try_submission();

        submission->priority = priority;
        return try_admit(t, pool, submission, TRY_ECHO, n, 0);
}

static void the_oldest_are_dropped_and_told(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, 3, OVERFLOW_DROP_OLDEST);
        uint64_t a, b, c;

        engine_pause_pool(t->engine, pool, true);
        a = submit_with_priority(t, pool, 5);
        b = submit_with_priority(t, pool, 0);
        c = submit_with_priority(t, pool, 5);
        assert_int_equal(admit_with_priority(t, pool, -5, 2), ADMIT_YES);
        try_until(t, t->n_finished == 2);
        assert_int_equal(try_result(t, a), JOB_DROPPED);
        assert_int_equal(try_result(t, b), JOB_DROPPED);
        assert_string_equal(job_error(engine_find_job(t->engine, b)), "dropped from a full queue");
        assert_int_equal(try_state(t, c), JOB_QUEUED);
        assert_int_equal(counters_of(pool).results[JOB_DROPPED], 2);
        assert_int_equal(counters_of(pool).submitted, 5);
}

static void the_lowest_are_dropped_only_for_a_more_urgent_one(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, 3, OVERFLOW_DROP_LOWEST);
        uint64_t high, low, lower;

        engine_pause_pool(t->engine, pool, true);
        high = submit_with_priority(t, pool, 5);
        low = submit_with_priority(t, pool, -1);
        lower = submit_with_priority(t, pool, -2);
        assert_int_equal(admit_with_priority(t, pool, -2, 1), ADMIT_FULL);
        assert_int_equal(admit_with_priority(t, pool, 0, 3), ADMIT_FULL);
        assert_int_equal(t->n_finished, 0);
        assert_int_equal(counters_of(pool).rejected, 4);
        assert_int_equal(admit_with_priority(t, pool, 0, 1), ADMIT_YES);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, lower), JOB_DROPPED);
        assert_int_equal(admit_with_priority(t, pool, 5, 2), ADMIT_YES);
        try_until(t, t->n_finished == 3);
        assert_int_equal(try_result(t, low), JOB_DROPPED);
        assert_int_equal(try_state(t, high), JOB_QUEUED);
        assert_int_equal(admit_with_priority(t, pool, 5, 1), ADMIT_FULL);
}

/* Nothing has told the scheduler how late it is since that one came. */
static void what_has_waited_long_is_no_less_urgent_than_what_comes(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, 1, OVERFLOW_DROP_LOWEST);
        PoolConfig config = *pool->config;
        usec_t since;

        config.aging_interval = 1;
        assert_int_equal(engine_set_pool(t->engine, pool, &config), 0);
        engine_pause_pool(t->engine, pool, true);
        (void) submit_with_priority(t, pool, 0);
        since = usec_now(CLOCK_MONOTONIC);
        while (usec_now(CLOCK_MONOTONIC) <= since + 2)
                ;
        assert_int_equal(admit_with_priority(t, pool, 1, 1), ADMIT_FULL);
}

static void what_is_not_due_yet_is_never_dropped(void **state) {
        static const Overflow modes[] = { OVERFLOW_DROP_OLDEST, OVERFLOW_DROP_LOWEST };
        Try *t = *state;
        Pool *pool = make_pool(t, 2, OVERFLOW_REJECT);
        Submission *submission = try_submission();
        PoolConfig config = *pool->config;

        submission->delay = USEC_PER_HOUR;
        (void) try_submit_with(t, pool, submission, TRY_ECHO, 2);
        for (size_t i = 0; i < ELEMENTSOF(modes); i++) {
                config.overflow = modes[i];
                assert_int_equal(engine_set_pool(t->engine, pool, &config), 0);
                assert_int_equal(admit_with_priority(t, pool, 1000, 1), ADMIT_FULL);
        }
        assert_int_equal(counters_of(pool).results[JOB_DROPPED], 0);
}

static void what_a_worker_has_only_set_aside_can_be_dropped(void **state) {
        Try *t = *state;
        PoolConfig *config = try_config("p", &try_several, 1), changed;
        _cleanup_free_ char *error = NULL;
        uint64_t id;
        Pool *pool;

        config->overflow = OVERFLOW_DROP_OLDEST;
        assert_int_equal(engine_add_pool(t->engine, config, &pool, &error), 0);
        engine_pause_pool(t->engine, pool, true);
        (void) try_submit(t, pool, TRY_GATE(0), 1);
        id = try_submit(t, pool, TRY_ECHO, 2);
        try_pretend_short(pool);
        engine_pause_pool(t->engine, pool, false);
        engine_turn(t->engine);
        gate_wait_begun(0, 1);
        changed = *pool->config;
        changed.queue_max = 2;
        assert_int_equal(engine_set_pool(t->engine, pool, &changed), 0);

        assert_int_equal(admit_with_priority(t, pool, 0, 1), ADMIT_YES);
        try_until(t, t->n_finished == 1);
        assert_int_equal(try_result(t, id), JOB_DROPPED);
        gate_open(0);
        try_until(t, t->n_finished == 4);
        assert_int_equal(try_result(t, id + 1), JOB_SUCCEEDED);
}

static void a_call_for_many_hears_of_jobs_that_were_dropped(void **state) {
        Try *t = *state;
        Pool *pool = make_pool(t, 3, OVERFLOW_DROP_OLDEST);

        engine_pause_pool(t->engine, pool, true);
        (void) try_submit_bulk(t, pool, TRY_ECHO, 3);
        (void) try_submit(t, pool, TRY_ECHO, 3);
        try_until(t, t->n_done == 1);
        assert_int_equal(counters_of(pool).results[JOB_DROPPED], 3);
}

int main(void) {
#define TRY_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TRY_TEST(the_line_is_served_in_order_as_workers_take_jobs),
                TRY_TEST(nobody_passes_those_who_wait),
                TRY_TEST(who_leaves_lets_those_behind_come_in),
                TRY_TEST(a_cancelled_job_makes_room),
                TRY_TEST(an_expired_job_makes_room),
                TRY_TEST(who_waits_is_refused_when_the_pool_drains),
                TRY_TEST(who_can_never_fit_any_more_is_refused),
                TRY_TEST(who_waits_is_refused_when_the_pool_goes),
                TRY_TEST(the_oldest_are_dropped_and_told),
                TRY_TEST(the_lowest_are_dropped_only_for_a_more_urgent_one),
                TRY_TEST(what_has_waited_long_is_no_less_urgent_than_what_comes),
                TRY_TEST(what_is_not_due_yet_is_never_dropped),
                TRY_TEST(what_a_worker_has_only_set_aside_can_be_dropped),
                TRY_TEST(a_call_for_many_hears_of_jobs_that_were_dropped),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
