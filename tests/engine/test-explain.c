/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is said of jobs that wait: why, and at which place. */

#include "try.h"

#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "engine/breaker-config.h"
#include "engine/worker.h"

#define LONG USEC_PER_HOUR
#define JOBS_MAX 12

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

/* ---- one pool with all gates ---- */

typedef struct Fixture {
        Try *t;
        Pool *pool;
        SharedLimiter *limiter;
        SharedBreaker *breaker;
        LimiterConfig tokens; /* one comes per hour; to give some is to make the burst larger */
        uint64_t first_id;
        unsigned n_jobs;
} Fixture;

static void fixture_init(
        Fixture *f, Try *t, const HandlerVTable *handler, uint32_t n_workers, uint64_t n_tokens) {
        BreakerConfig breaker = BREAKER_CONFIG_DEFAULT;
        PoolConfig *config = try_config("p", handler, n_workers);
        _cleanup_free_ char *error = NULL;

        *f = (Fixture){
                .t = t,
                .tokens = { .rate = 1, .period = LONG, .burst = n_tokens },
                .first_id = t->engine->next_id,
        };
        breaker.max_failures = UINT32_MAX;
        breaker.failure_rate_percent = 0;
        assert_int_equal(engine_add_limiter(t->engine, "l", &f->tokens, &f->limiter), 0);
        assert_int_equal(engine_add_breaker(t->engine, "b", &breaker, &f->breaker), 0);
        config->limiter = strdup("l");
        config->breaker = strdup("b");
        config->hold_on_open = true;
        assert_int_equal(engine_add_pool(t->engine, config, &f->pool, &error), 0);
}

static void give_tokens(Fixture *f, uint64_t n) {
        f->tokens.burst += n;
        engine_set_limiter(f->t->engine, f->limiter, &f->tokens);
}

/* Open for so long. */
static void trip(Fixture *f, usec_t reset_timeout) {
        BreakerConfig config = f->breaker->breaker.config;

        config.reset_timeout = config.reset_timeout_max = reset_timeout;
        assert_int_equal(engine_set_breaker(f->t->engine, f->breaker, &config), 0);
        assert_int_equal(shared_breaker_trip(f->breaker), 0);
}

static uint64_t submit(Fixture *f, const char *payload, int priority, usec_t delay) {
        Submission *submission = try_submission();

        submission->priority = (int16_t) priority;
        submission->delay = delay;
        f->n_jobs++;
        return try_submit_with(f->t, f->pool, submission, payload, 1);
}

static JobView look(Fixture *f, uint64_t id) {
        Job *job = engine_find_job(f->t->engine, id);
        JobView view;

        assert_non_null(job);
        pool_job_view(f->pool, job, &view);
        return view;
}

/* ---- reasons ---- */

typedef struct Row {
        enum {
                SUBMIT,  /* a job that is done at once */
                GATE,    /* one that waits for gate 0 */
                URGENT,  /* a job of priority 5 */
                DELAYED, /* by an hour */
                OPEN,    /* the gate */
                PRIORITISE,
                CANCEL,
                PAUSE,
                RESUME,
                DRAIN,
                TOKENS,    /* `n` more */
                NO_TOKENS, /* takes all there are */
                HOLD,
                GO,         /* no tokens for anybody, and the end of that */
                WISH,       /* somebody else waits for a token */
                TRIP,       /* for an hour */
                TRIP_SHORT, /* for a millisecond, then it is half-open */
                RESET,
                SHUT_DOWN,
                REMOVE,
                REMOVE_NOW,
        } what;
        const char *expect; /* a letter per job, in the order of submission: see letters */
        unsigned n;         /* which job, how many tokens */
} Row;

/* '.' does not wait. */
static const char *const letters[] = {
        ['.'] = "",
        ['P'] = "paused",
        ['d'] = "delay",
        ['D'] = "draining",
        ['b'] = "breaker",
        ['p'] = "priority",
        ['r'] = "rate",
        ['w'] = "workers",
};

static void on_wish(AcquireWatch *watch, int result) {
}

static void act(Fixture *f, const Row *row, AcquireWatch *wish) {
        Engine *engine = f->t->engine;
        Job *job;

        switch (row->what) {

        case SUBMIT:
                (void) submit(f, TRY_ECHO, 0, 0);
                break;

        case GATE:
                (void) submit(f, TRY_GATE(0), 0, 0);
                break;

        case URGENT:
                (void) submit(f, TRY_ECHO, 5, 0);
                break;

        case DELAYED:
                (void) submit(f, TRY_ECHO, 0, LONG);
                break;

        case OPEN:
                gate_open(0);
                break;

        case PRIORITISE:
                job = engine_find_job(engine, f->first_id + row->n);
                assert_int_equal(pool_set_priority(f->pool, job, 9), 0);
                break;

        case CANCEL:
                job = engine_find_job(engine, f->first_id + row->n);
                assert_int_equal(pool_cancel(f->pool, job), CANCEL_FINISHED);
                break;

        case PAUSE:
        case RESUME:
                engine_pause_pool(engine, f->pool, row->what == PAUSE);
                break;

        case DRAIN:
                engine_drain_pool(engine, f->pool, true);
                break;

        case TOKENS:
                give_tokens(f, row->n);
                break;

        case NO_TOKENS:
                shared_limiter_drain(f->limiter);
                break;

        case HOLD:
        case GO:
                shared_limiter_hold(f->limiter, row->what == HOLD ? USEC_INFINITY : 0);
                break;

        case WISH:
                acquire_watch_init(wish, on_wish);
                assert_int_equal(shared_limiter_acquire(f->limiter, 1, wish), 1);
                break;

        case TRIP:
                trip(f, LONG);
                break;

        case TRIP_SHORT:
                trip(f, USEC_PER_MSEC);
                break;

        case RESET:
                assert_int_equal(shared_breaker_reset(f->breaker), 0);
                break;

        case SHUT_DOWN:
                engine_shut_down(engine);
                break;

        case REMOVE:
        case REMOVE_NOW:
                assert_int_equal(
                        engine_remove_pool(engine, f->pool, row->what == REMOVE_NOW, NULL), 0);
                break;
        }
}

/* What is said of all jobs, in letters. Returns `ret`. */
static char *explain(Fixture *f, char ret[static JOBS_MAX + 1]) {
        for (unsigned i = 0; i < f->n_jobs; i++) {
                const char *reason = look(f, f->first_id + i).pending_reason;

                ret[i] = '?';
                for (size_t c = 0; c < ELEMENTSOF(letters); c++)
                        if (letters[c] && strcmp(letters[c], reason) == 0)
                                ret[i] = (char) c;
        }
        ret[f->n_jobs] = '\0';
        return ret;
}

/* Workers act by themselves, so each row waits for what is to come of it. */
static void walk(Fixture *f, const Row *rows, size_t n) {
        char said[JOBS_MAX + 1];
        AcquireWatch wish;

        for (size_t i = 0; i < n; i++) {
                usec_t end = usec_now(CLOCK_MONOTONIC) + USEC_PER_MINUTE / 2;

                act(f, &rows[i], &wish);
                assert_true(strlen(rows[i].expect) == f->n_jobs && f->n_jobs <= JOBS_MAX);
                while (strcmp(explain(f, said), rows[i].expect) != 0) {
                        if (usec_now(CLOCK_MONOTONIC) > end)
                                fail_msg("row %zu: \"%s\", expected \"%s\"", i, said,
                                        rows[i].expect);
                        engine_turn(f->t->engine);
                        assert_true(sd_event_run(f->t->event, USEC_PER_MSEC) >= 0);
                        engine_turn(f->t->engine);
                }
        }
}

#define WALK(f, rows) walk((f), (rows), ELEMENTSOF(rows))

static void a_job_waits_for_those_before_it_and_the_first_for_a_worker(void **state) {
        static const Row rows[] = {
                { GATE, "." },
                { SUBMIT, ".w" },
                { SUBMIT, ".wp" },
                { URGENT, ".ppw" },
                { DELAYED, ".ppwd" },
                { PRIORITISE, ".wppd", 1 },
                { CANCEL, "..pwd", 1 },
                { OPEN, "....d" },
        };
        Fixture f;

        fixture_init(&f, *state, &try_singly, 1, 100);
        WALK(&f, rows);
}

/* A delay is over before anything else is asked; then a pause comes before all. */
static void a_pause_holds_all_that_is_due(void **state) {
        static const Row rows[] = {
                { PAUSE, "" },
                { SUBMIT, "P" },
                { SUBMIT, "PP" },
                { DELAYED, "PPd" },
                { TRIP, "PPd" },
                { NO_TOKENS, "PPd" },
                { RESUME, "bbd" },
                { PAUSE, "PPd" },
                { RESET, "PPd" },
                { RESUME, "rpd" },
                { TOKENS, "..d", 2 },
        };
        Fixture f;

        fixture_init(&f, *state, &try_singly, 1, 2);
        WALK(&f, rows);
}

static void the_first_waits_for_its_token_also_where_no_worker_asks(void **state) {
        static const Row rows[] = {
                { GATE, "." },
                { SUBMIT, ".r" },
                { SUBMIT, ".rp" },
                { TOKENS, ".wp", 1 },
                { NO_TOKENS, ".rp" },
                { TOKENS, ".wp", 5 },
                { HOLD, ".rp" },
                { GO, ".wp" },
                { NO_TOKENS, ".rp" },
                /* Another in line has the next one, whether somebody asks or not. */
                { WISH, ".rp" },
                { OPEN, ".rp" },
                { TOKENS, ".rp", 1 },
                { TOKENS, "..r", 1 },
                { HOLD, "..r" },
                { TOKENS, "..r", 1 },
                { GO, "..." },
        };
        Fixture f;

        fixture_init(&f, *state, &try_singly, 1, 1);
        WALK(&f, rows);
}

static void an_open_breaker_holds_all_also_where_no_worker_asks(void **state) {
        static const Row rows[] = {
                { GATE, "." },
                { SUBMIT, ".w" },
                { SUBMIT, ".wp" },
                { TRIP, ".bb" },
                { NO_TOKENS, ".bb" },
                { DELAYED, ".bbd" },
                { RESET, ".rpd" },
                { TOKENS, ".wpd", 1 },
                { TRIP, ".bbd" },
                { RESET, ".wpd" },
                /* Half-open by the time alone, with room for a probe. */
                { TRIP_SHORT, ".wpd" },
                { OPEN, "..rd" },
                { TOKENS, "...d", 1 },
        };
        Fixture f;

        fixture_init(&f, *state, &try_singly, 1, 3);
        WALK(&f, rows);
}

static void half_open_holds_what_is_beyond_the_probes(void **state) {
        static const Row rows[] = {
                { TRIP, "" },
                { GATE, "b" },
                { SUBMIT, "bb" },
                { SUBMIT, "bbb" },
                { TRIP_SHORT, ".bb" },
                { PAUSE, ".PP" },
                { RESUME, ".bb" },
                { NO_TOKENS, ".bb" },
                { TOKENS, ".bb", 2 },
                { OPEN, "..." },
        };
        Fixture f;

        fixture_init(&f, *state, &try_singly, 2, 3);
        WALK(&f, rows);
}

static void what_a_worker_has_set_aside_waits_for_it(void **state) {
        static const Row rows[] = {
                { PAUSE, "" },
                { GATE, "P" },
                { SUBMIT, "PP" },
                { SUBMIT, "PPP" },
                { SUBMIT, "PPPP" },
                { RESUME, ".www" },
                /* It has passed the gates. */
                { TRIP, ".www" },
                { PAUSE, ".PPP" },
                { RESUME, ".bbb" },
                { RESET, ".wpp" },
                { OPEN, "...." },
        };
        Fixture f;

        fixture_init(&f, *state, &try_several, 1, 100);
        WALK(&f, (Row[]){ rows[0] });
        try_pretend_short(f.pool);
        walk(&f, rows + 1, ELEMENTSOF(rows) - 1);
}

/* Draining itself holds nothing that was accepted before; to be shut down or removed does. */
static void what_is_not_started_any_more_is_draining(void **state) {
        static const Row rows[] = {
                { GATE, "." },
                { SUBMIT, ".w" },
                { DELAYED, ".wd" },
                { DRAIN, ".wd" },
                { PAUSE, ".Pd" },
                { RESUME, ".wd" },
                { SHUT_DOWN, ".DD" },
        };
        Fixture f;

        fixture_init(&f, *state, &try_singly, 1, 100);
        WALK(&f, rows);
}

static void what_a_removal_cancels_is_draining(void **state) {
        static const Row rows[] = {
                { GATE, "." },
                { SUBMIT, ".w" },
                { DELAYED, ".wd" },
                { REMOVE, ".wD" },
                { REMOVE_NOW, ".DD" },
        };
        Fixture f;

        fixture_init(&f, *state, &try_singly, 1, 100);
        WALK(&f, rows);
}

/* ---- places ---- */

static void the_place_of_what_is_set_aside_is_that_in_the_workers_turn(void **state) {
        Fixture f;

        fixture_init(&f, *state, &try_several, 1, 100);
        engine_pause_pool(f.t->engine, f.pool, true);
        (void) submit(&f, TRY_ECHO, 0, 0);
        (void) submit(&f, TRY_GATE(0), 0, 0);
        for (unsigned i = 0; i < 6; i++)
                (void) submit(&f, TRY_ECHO, 0, 0);
        try_pretend_short(f.pool);
        engine_pause_pool(f.t->engine, f.pool, false);
        engine_turn(f.t->engine);
        gate_wait_begun(0, 1);

        /* The second one runs, with all others set aside behind it. */
        assert_int_equal(look(&f, f.first_id + 1).state, JOB_RUNNING);
        assert_int_equal(look(&f, f.first_id + 1).position, 0);
        for (unsigned i = 2; i < 8; i++)
                assert_int_equal(look(&f, f.first_id + i).position, i - 1);
        /* Behind these comes what is not: of the two that have begun nobody has to wait. */
        (void) submit(&f, TRY_ECHO, -5, 0);
        assert_int_equal(look(&f, f.first_id + 8).position, 7);
        (void) submit(&f, TRY_ECHO, 0, LONG);
        assert_int_equal(look(&f, f.first_id + 9).position, 8);
}

static void a_place_is_counted_up_to_10000(void **state) {
        Fixture f;
        uint64_t id;

        fixture_init(&f, *state, &try_singly, 1, 100);
        engine_pause_pool(f.t->engine, f.pool, true);
        id = try_submit(f.t, f.pool, TRY_ECHO, 10002);
        assert_int_equal(look(&f, id).position, 1);
        assert_int_equal(look(&f, id + 9998).position, 9999);
        assert_int_equal(look(&f, id + 9999).position, 10000);
        assert_int_equal(look(&f, id + 10001).position, 10000);
}

/* ---- at any moment ---- */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STEPS 6000
#else
#define STEPS 30000
#endif

/* Why the job waits, found out by looking at all jobs and at what the leaves are made of; NULL if
 * it does not wait. */
static const char *explain_by_force(Fixture *f, const Job *job) {
        const Job *first = NULL;
        Pool *pool = f->pool;
        const char *reason = NULL;
        const Limiter *l = &f->limiter->limiter;
        const Breaker *b = &f->breaker->breaker;
        bool breaker_shut, token;
        usec_t now;

        pool_lock(pool);
        now = usec_now(CLOCK_MONOTONIC);
        (void) pthread_mutex_lock(&f->breaker->lock);
        breaker_shut = (b->state == BREAKER_OPEN && now < b->retry_at) ||
                       (b->state != BREAKER_CLOSED && b->probes >= b->config.half_open_probes);
        (void) pthread_mutex_unlock(&f->breaker->lock);
        (void) pthread_mutex_lock(&f->limiter->lock);
        token = pool->gates.waiter.credit > 0;
        if (l->n_waiters == 0 || (l->n_waiters == 1 && list_is_linked(&pool->gates.waiter.links)))
                token |= limiter_tokens(l, now) > 0;
        (void) pthread_mutex_unlock(&f->limiter->lock);

        for (uint64_t id = f->first_id; id < f->t->engine->next_id; id++) {
                const Job *other = engine_find_job(f->t->engine, id);

                if (!other || other->state != JOB_QUEUED || (other->flags & JOB_CLAIMED))
                        continue;
                if (!first ||
                        (int64_t) other->due_at - other->priority * 30 * (int64_t) USEC_PER_SEC <
                                (int64_t) first->due_at -
                                        first->priority * 30 * (int64_t) USEC_PER_SEC)
                        first = other;
        }
        if (job->state == JOB_SCHEDULED)
                reason = "delay";
        else if (job->state == JOB_QUEUED)
                reason = pool->scheduler.paused       ? "paused"
                         : (job->flags & JOB_CLAIMED) ? "workers"
                         : breaker_shut               ? "breaker"
                         : job != first               ? "priority"
                         : !token                     ? "rate"
                                                      : "workers";
        pool_unlock(pool);
        return reason;
}

static bool agree(const char *a, const char *b) {
        return a && b && strcmp(a, b) == 0;
}

/* Workers can change it all at any moment: then what is said may be of before or after. */
static void check_reason(Fixture *f, uint64_t id) {
        const char *before = NULL, *after = NULL;
        JobView view = {};

        for (unsigned i = 0; i < 5; i++) {
                Job *job = engine_find_job(f->t->engine, id);

                if (!job)
                        return;
                before = explain_by_force(f, job);
                pool_job_view(f->pool, job, &view);
                after = explain_by_force(f, job);
                if (view.state != JOB_QUEUED && view.state != JOB_SCHEDULED) {
                        assert_string_equal(view.pending_reason, "");
                        assert_int_equal(view.position, 0);
                        return;
                }
                if (agree(view.pending_reason, before) || agree(view.pending_reason, after)) {
                        assert_true(view.position >= 1);
                        return;
                }
        }
        fail_msg("job %llu: \"%s\" is said, it is \"%s\" and \"%s\"", (unsigned long long) id,
                view.pending_reason, before ?: "", after ?: "");
}

static void step(Fixture *f, uint64_t *random) {
        static const char *const kinds[] = { TRY_ECHO, TRY_ECHO, TRY_ECHO, TRY_FAIL, TRY_GATE(0) };
        Engine *engine = f->t->engine;
        uint64_t oldest = engine->next_id - MIN(engine->next_id - f->first_id, (uint64_t) 40);
        Job *job = engine->next_id > oldest
                           ? engine_find_job(engine,
                                     oldest + random_below(random, engine->next_id - oldest))
                           : NULL;

        switch (random_below(random, 18)) {

        case 0 ... 5:
                if (pool_room(f->pool) > TRY_JOBS_MAX - 30)
                        (void) submit(f, kinds[random_below(random, ELEMENTSOF(kinds))],
                                (int) random_below(random, 3),
                                random_below(random, 5) ? 0 : random_below(random, 3000));
                break;

        case 6 ... 8:
                if (job)
                        (void) pool_cancel(f->pool, job);
                break;

        case 9:
                if (job)
                        assert_true(pool_set_priority(
                                            f->pool, job, (int16_t) random_below(random, 5)) >= 0);
                break;

        case 10:
                engine_pause_pool(engine, f->pool, random_below(random, 3) == 0);
                break;

        case 11:
        case 12:
                give_tokens(f, 1 + random_below(random, 8));
                break;

        case 13:
                shared_limiter_drain(f->limiter);
                break;

        case 14:
                trip(f, random_below(random, 2) ? LONG : random_below(random, 500) + 1);
                break;

        case 15:
                assert_int_equal(shared_breaker_reset(f->breaker), 0);
                break;

        case 16:
                try_pretend_short(f->pool);
                break;

        case 17:
                engine_turn(engine);
                assert_true(sd_event_run(f->t->event, random_below(random, 2) * 300) >= 0);
                engine_turn(engine);
                break;
        }
}

static void what_is_said_is_true_at_any_moment(void **state) {
        const char *seed = getenv("SLUICE_SEED");
        uint64_t random = seed ? strtoull(seed, NULL, 0) : usec_now(CLOCK_MONOTONIC);
        Fixture f;

        print_message("SLUICE_SEED=%llu\n", (unsigned long long) random);
        fixture_init(&f, *state, &try_several, 3, 5);
        for (unsigned i = 0; i < STEPS; i++) {
                uint64_t next_id;

                step(&f, &random);
                next_id = f.t->engine->next_id;
                for (uint64_t id = next_id - MIN(next_id - f.first_id, (uint64_t) 3); id < next_id;
                        id++)
                        check_reason(&f, id);
                if (next_id - f.first_id > 10)
                        check_reason(&f, next_id - 1 - random_below(&random, 10));
                /* The search by force is to be short. */
                if (i % 500 == 499) {
                        engine_pause_pool(f.t->engine, f.pool, false);
                        give_tokens(&f, 1000);
                        assert_int_equal(shared_breaker_reset(f.breaker), 0);
                        for (uint64_t id = f.first_id; id < next_id; id++)
                                if (engine_find_job(f.t->engine, id))
                                        (void) pool_cancel(
                                                f.pool, engine_find_job(f.t->engine, id));
                        try_until(f.t, f.t->n_finished == f.n_jobs);
                        f.first_id = next_id;
                        shared_limiter_drain(f.limiter);
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(a_job_waits_for_those_before_it_and_the_first_for_a_worker),
                TEST(a_pause_holds_all_that_is_due),
                TEST(the_first_waits_for_its_token_also_where_no_worker_asks),
                TEST(an_open_breaker_holds_all_also_where_no_worker_asks),
                TEST(half_open_holds_what_is_beyond_the_probes),
                TEST(what_a_worker_has_set_aside_waits_for_it),
                TEST(what_is_not_started_any_more_is_draining),
                TEST(what_a_removal_cancels_is_draining),
                TEST(the_place_of_what_is_set_aside_is_that_in_the_workers_turn),
                TEST(a_place_is_counted_up_to_10000),
                TEST(what_is_said_is_true_at_any_moment),
#undef TEST
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
