/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "test.h"

#include "core/breaker.h"
#include "core/random.h"
#include "util/macro.h"

#define S USEC_PER_SEC
#define NEVER USEC_INFINITY
#define N_PERMITS 16

typedef enum Call {
        ASK,    /* permit `id`: expect a BreakerVerdict */
        OK,     /* permit `id` has succeeded */
        FAIL,   /* or failed */
        CANCEL, /* or was not used */
        OKS,    /* so many calls in a row that succeed, or fail */
        FAILS,
        STATE, /* expect a BreakerState, by the time alone */
        WAKE_AT,
        RETRY_AFTER, /* expect the span */
        ADVANCE,     /* expect whether anything changes */
        TRIP,
        RESET, /* expect whether it may be done by hand */
        MODE,  /* expect is the new mode */
        FRESH, /* expect whether it is as a new one */
        IN_FLIGHT,
        TRIPS,
} Call;

typedef struct Row {
        usec_t at;
        Call call;
        int64_t expect;
        unsigned id;
} Row;

/* Trips after 3 failures in a row, or half of the last 8 once there are 6; open for 10 s, then 20
 * s, 40 s at most; two probes at a time, and two successes close it. */
static const BreakerConfig usual = {
        .max_failures = 3,
        .failure_rate_percent = 50,
        .window_size = 8,
        .minimum_calls = 6,
        .reset_timeout = 10 * S,
        .reset_timeout_max = 40 * S,
        .half_open_probes = 2,
        .successes_to_close = 2,
};

static void call_many(Breaker *b, usec_t at, int64_t n, bool succeeded) {
        for (int64_t i = 0; i < n; i++) {
                uint64_t permit;

                assert_int_not_equal(breaker_ask(b, at, &permit), BREAKER_REJECT);
                (void) breaker_report(b, permit, succeeded, at);
        }
}

static void walk_row(Breaker *b, uint64_t *permits, const Row *row) {
        BreakerConfig config;

        switch (row->call) {
        case ASK:
                assert_int_equal(breaker_peek(b, row->at), row->expect);
                assert_int_equal(breaker_ask(b, row->at, &permits[row->id]), row->expect);
                assert_int_equal(permits[row->id] == 0, row->expect == BREAKER_REJECT);
                break;
        case OK:
        case FAIL:
                (void) breaker_report(b, permits[row->id], row->call == OK, row->at);
                break;
        case CANCEL:
                (void) breaker_cancel(b, permits[row->id]);
                break;
        case OKS:
        case FAILS:
                call_many(b, row->at, row->expect, row->call == OKS);
                break;
        case STATE:
                assert_int_equal(breaker_state(b, row->at), row->expect);
                break;
        case WAKE_AT:
                assert_int_equal(breaker_wake_at(b), row->expect);
                break;
        case RETRY_AFTER:
                assert_int_equal(breaker_retry_after(b, row->at), row->expect);
                break;
        case ADVANCE:
                assert_int_equal(breaker_advance(b, row->at), row->expect);
                break;
        case TRIP:
                assert_int_equal(breaker_trip(b, row->at), row->expect);
                break;
        case RESET:
                assert_int_equal(breaker_reset(b), row->expect);
                break;
        case MODE:
                config = b->config;
                config.mode = (BreakerMode) row->expect;
                assert_int_equal(breaker_set(b, &config), 0);
                break;
        case FRESH:
                assert_int_equal(breaker_is_fresh(b), row->expect);
                break;
        case IN_FLIGHT:
                assert_int_equal(breaker_in_flight(b), row->expect);
                break;
        case TRIPS:
                assert_int_equal(b->trips, row->expect);
                break;
        }
}

static void walk(const BreakerConfig *config, const Row *rows, size_t n) {
        uint64_t permits[N_PERMITS] = {};
        Breaker b;

        assert_int_equal(breaker_init(&b, config), 0);
        for (size_t i = 0; i < n; i++)
                walk_row(&b, permits, &rows[i]);
        breaker_done(&b);
}

static void it_is_fresh_until_it_has_learned_something(void **state) {
        static const Row rows[] = {
                { 0, FRESH, true },
                { 0, ASK, BREAKER_PASS, 0 },
                { 0, FRESH, false },
                { 0, CANCEL, .id = 0 },
                { 0, FRESH, true },
                { 0, OKS, 1 },
                { 0, FRESH, false },
                { 0, RESET, true },
                { 0, FRESH, true },
                { 0, FAILS, 3 },
                { 0, FRESH, false },
                /* The next trip would be longer, or a probe is still out. */
                { 10 * S, ASK, BREAKER_PROBE, 1 },
                { 10 * S, RESET, true },
                { 10 * S, FRESH, false },
                { 10 * S, OK, .id = 1 },
                { 10 * S, FRESH, true },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

/* ---- closed ---- */

static void so_many_failures_in_a_row_open_it(void **state) {
        static const Row rows[] = {
                { 0, FAILS, 2 },
                { 0, OKS, 1 },
                { 0, FAILS, 2 },
                { 0, STATE, BREAKER_CLOSED },
                { 5, FAILS, 1 },
                { 5, STATE, BREAKER_OPEN },
                { 5, ASK, BREAKER_REJECT, 0 },
                { 5, RETRY_AFTER, 10 * S },
                { 5, WAKE_AT, 10 * S + 5 },
                { 5, TRIPS, 1 },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

/* Never more than one failure in a row. */
static void half_of_the_calls_failing_open_it(void **state) {
        static const Row rows[] = {
                { 0, OKS, 1 },
                { 0, FAILS, 1 },
                { 0, OKS, 1 },
                { 0, FAILS, 1 },
                { 0, OKS, 1 },
                { 0, STATE, BREAKER_CLOSED },
                { 0, FAILS, 1 },
                { 0, STATE, BREAKER_OPEN },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

static void a_few_calls_say_nothing_about_the_rate(void **state) {
        static const Row rows[] = {
                { 0, FAILS, 2 },
                { 0, OKS, 1 },
                { 0, FAILS, 2 },
                { 0, STATE, BREAKER_CLOSED },
                { 0, OKS, 1 },
                /* Six now, of which four have failed. */
                { 0, STATE, BREAKER_OPEN },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

static void what_has_left_the_window_counts_no_more(void **state) {
        static const Row rows[] = {
                { 0, FAILS, 2 },
                { 0, OKS, 6 },   /* 2 of 8 */
                { 0, FAILS, 2 }, /* the old ones go, 2 of 8 */
                { 0, OKS, 2 },
                { 0, FAILS, 1 }, /* 3 of 8 */
                { 0, STATE, BREAKER_CLOSED },
                { 0, OKS, 1 },
                { 0, FAILS, 1 }, /* 4 of 8 */
                { 0, STATE, BREAKER_OPEN },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

static void a_rule_that_is_off_does_not_open_it(void **state) {
        static const Row all_fail[] = {
                { 0, FAILS, 100 },
                { 0, STATE, BREAKER_CLOSED },
        };
        static const Row most_fail[] = {
                { 0, FAILS, 2 },
                { 0, OKS, 1 },
                { 0, FAILS, 2 },
                { 0, OKS, 1 },
                { 0, FAILS, 2 },
                { 0, STATE, BREAKER_CLOSED },
                { 0, FAILS, 1 },
                { 0, STATE, BREAKER_OPEN },
        };
        BreakerConfig config = usual;

        config.failure_rate_percent = 0;
        walk(&config, most_fail, ELEMENTSOF(most_fail));
        config.max_failures = 0;
        walk(&config, all_fail, ELEMENTSOF(all_fail));
}

static void what_is_cancelled_is_neither_success_nor_failure(void **state) {
        static const Row rows[] = {
                { 0, FAILS, 2 },
                { 0, ASK, BREAKER_PASS, 0 },
                { 0, IN_FLIGHT, 1 },
                { 0, CANCEL, .id = 0 },
                { 0, IN_FLIGHT, 0 },
                { 0, STATE, BREAKER_CLOSED },
                { 0, FAILS, 1 },
                { 0, STATE, BREAKER_OPEN },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

/* ---- open ---- */

static void late_failures_do_not_prolong_the_time(void **state) {
        static const Row rows[] = {
                { 0, ASK, BREAKER_PASS, 0 },
                { 0, ASK, BREAKER_PASS, 1 },
                { 0, FAILS, 3 },
                { 9 * S, FAIL, .id = 0 },
                { 9 * S, FAIL, .id = 1 },
                { 9 * S, WAKE_AT, 10 * S },
                { 9 * S, RETRY_AFTER, S },
                { 10 * S - 1, STATE, BREAKER_OPEN },
                { 10 * S, STATE, BREAKER_HALF_OPEN },
                { 10 * S, TRIPS, 1 },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

static void time_alone_half_opens_it(void **state) {
        static const Row rows[] = {
                { 0, FAILS, 3 },
                { 10 * S - 1, ADVANCE, false },
                { 10 * S - 1, ASK, BREAKER_REJECT, 0 },
                { 10 * S, ADVANCE, true },
                { 10 * S, WAKE_AT, (int64_t) NEVER },
                { 10 * S, RETRY_AFTER, 0 },
                { 10 * S, ADVANCE, false },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

/* ---- half-open ---- */

static void only_so_many_probes_are_let_through(void **state) {
        static const Row rows[] = {
                { 0, FAILS, 3 },
                { 10 * S, ASK, BREAKER_PROBE, 0 },
                { 10 * S, ASK, BREAKER_PROBE, 1 },
                { 10 * S, ASK, BREAKER_REJECT, 2 },
                { 3600 * S, ASK, BREAKER_REJECT, 2 },
                { 3600 * S, IN_FLIGHT, 2 },
                { 3600 * S, OK, .id = 0 },
                { 3600 * S, ASK, BREAKER_PROBE, 2 },
                { 3600 * S, ASK, BREAKER_REJECT, 3 },
                { 3600 * S, CANCEL, .id = 2 },
                { 3600 * S, ASK, BREAKER_PROBE, 3 },
                { 3600 * S, OK, .id = 1 },
                { 3600 * S, STATE, BREAKER_CLOSED },
                { 3600 * S, ASK, BREAKER_PASS, 4 },
                { 3600 * S, ASK, BREAKER_PASS, 5 },
                { 3600 * S, ASK, BREAKER_PASS, 6 },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

static void one_failed_probe_opens_it_for_longer(void **state) {
        static const Row rows[] = {
                { 0, FAILS, 3 },
                { 10 * S, OKS, 1 },
                { 11 * S, FAILS, 1 },
                { 11 * S, STATE, BREAKER_OPEN },
                { 11 * S, RETRY_AFTER, 20 * S },
                { 31 * S, FAILS, 1 },
                { 31 * S, RETRY_AFTER, 40 * S },
                { 71 * S, FAILS, 1 },
                { 71 * S, RETRY_AFTER, 40 * S },
                { 71 * S, TRIPS, 4 },
                /* One good spell is not enough to forget that; a window of calls is. */
                { 111 * S, OKS, 2 },
                { 111 * S, STATE, BREAKER_CLOSED },
                { 111 * S, FAILS, 3 },
                { 111 * S, RETRY_AFTER, 40 * S },
                { 151 * S, OKS, 2 + 8 },
                { 151 * S, FAILS, 3 },
                { 151 * S, RETRY_AFTER, 10 * S },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

static void a_success_of_an_older_era_does_not_close_it(void **state) {
        static const Row rows[] = {
                { 0, ASK, BREAKER_PASS, 0 },
                { 0, ASK, BREAKER_PASS, 1 },
                { 0, FAILS, 3 },
                { S, OK, .id = 0 },
                { S, STATE, BREAKER_OPEN },
                { 10 * S, ASK, BREAKER_PROBE, 2 },
                { 11 * S, OK, .id = 1 },
                { 11 * S, STATE, BREAKER_HALF_OPEN },
                { 11 * S, IN_FLIGHT, 1 },
                { 11 * S, OK, .id = 2 },
                { 11 * S, STATE, BREAKER_CLOSED },
        };
        BreakerConfig config = usual;

        config.successes_to_close = 1;
        walk(&config, rows, ELEMENTSOF(rows));
}

static void a_failure_of_an_older_era_does_not_open_it(void **state) {
        static const Row rows[] = {
                { 0, ASK, BREAKER_PASS, 0 },
                { 0, ASK, BREAKER_PASS, 1 },
                { 0, ASK, BREAKER_PASS, 2 },
                { 0, FAILS, 3 },
                { 10 * S, ADVANCE, true },
                { 10 * S, FAIL, .id = 0 },
                { 10 * S, STATE, BREAKER_HALF_OPEN },
                { 10 * S, OKS, 2 },
                { 10 * S, FAILS, 2 },
                { 10 * S, FAIL, .id = 1 },
                { 10 * S, FAIL, .id = 2 },
                { 10 * S, STATE, BREAKER_CLOSED },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

/* Those of the last half-open time are still out there. */
static void probes_of_an_older_era_keep_their_places(void **state) {
        static const Row rows[] = {
                { 0, FAILS, 3 },
                { 10 * S, ASK, BREAKER_PROBE, 0 },
                { 10 * S, ASK, BREAKER_PROBE, 1 },
                { 10 * S, FAIL, .id = 0 },
                { 30 * S, ASK, BREAKER_PROBE, 2 },
                { 30 * S, ASK, BREAKER_REJECT, 3 },
                { 30 * S, IN_FLIGHT, 2 },
                { 31 * S, FAIL, .id = 1 }, /* which is no judgement */
                { 31 * S, STATE, BREAKER_HALF_OPEN },
                { 31 * S, ASK, BREAKER_PROBE, 3 },
                { 31 * S, ASK, BREAKER_REJECT, 4 },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

/* One failure is enough again, though it is not MaxFailures of them. */
static void half_open_forgets_no_failure(void **state) {
        static const Row rows[] = {
                { 0, FAILS, 3 },
                { 10 * S, FAILS, 1 },
                { 10 * S, STATE, BREAKER_OPEN },
                { 10 * S, TRIPS, 2 },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

/* ---- by hand ---- */

static void it_is_tripped_and_reset_by_hand(void **state) {
        static const Row rows[] = {
                { 0, TRIP, true },
                { 0, RETRY_AFTER, 10 * S },
                /* Once more is from now on, and not for longer. */
                { 5 * S, TRIP, true },
                { 5 * S, RETRY_AFTER, 10 * S },
                { 5 * S, TRIPS, 1 },
                { 5 * S, RESET, true },
                { 5 * S, STATE, BREAKER_CLOSED },
                { 5 * S, WAKE_AT, (int64_t) NEVER },
                { 5 * S, FAILS, 2 },
                { 5 * S, STATE, BREAKER_CLOSED },
                { 5 * S, FAILS, 1 },
                { 5 * S, RETRY_AFTER, 10 * S },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

static void a_forced_mode_obeys_neither_results_nor_hands(void **state) {
        static const Row rows[] = {
                { 0, ASK, BREAKER_PASS, 0 },
                { 0, MODE, BREAKER_FORCED_OPEN },
                { 0, ASK, BREAKER_REJECT, 1 },
                { 1000 * S, STATE, BREAKER_OPEN },
                { 1000 * S, RETRY_AFTER, (int64_t) NEVER },
                { 1000 * S, WAKE_AT, (int64_t) NEVER },
                { 1000 * S, RESET, false },
                { 1000 * S, OK, .id = 0 },
                { 1000 * S, STATE, BREAKER_OPEN },
                { 1000 * S, MODE, BREAKER_DISABLED },
                { 1000 * S, FAILS, 100 },
                { 1000 * S, TRIP, false },
                { 1000 * S, STATE, BREAKER_CLOSED },
                { 1000 * S, MODE, BREAKER_AUTO },
                { 1000 * S, FAILS, 2 },
                { 1000 * S, STATE, BREAKER_CLOSED },
        };

        walk(&usual, rows, ELEMENTSOF(rows));
}

static void a_new_window_keeps_the_latest_calls(void **state) {
        BreakerConfig config = usual;
        Breaker b;

        config.max_failures = 0;
        config.window_size = 64;
        config.minimum_calls = 64;
        config.failure_rate_percent = 50;
        assert_int_equal(breaker_init(&b, &config), 0);
        call_many(&b, 0, 50, true);
        call_many(&b, 0, 5, false);
        assert_int_equal(b.state, BREAKER_CLOSED);

        /* Of the last ten five have failed; that counts with the next result. */
        config.window_size = config.minimum_calls = 10;
        assert_int_equal(breaker_set(&b, &config), 0);
        assert_int_equal(b.n_window_failures, 5);
        assert_int_equal(b.state, BREAKER_CLOSED);
        config.window_size = 100;
        assert_int_equal(breaker_set(&b, &config), 0);
        assert_int_equal(b.n_window, 10);
        call_many(&b, 0, 1, false);
        assert_int_equal(b.state, BREAKER_OPEN);
        breaker_done(&b);
}

/* ---- any history ---- */

typedef struct Model {
        BreakerConfig config;
        BreakerState state;
        bool window[64]; /* of this closed time, the latest last; true = failed */
        size_t n_window;
        unsigned era, in_a_row, n_good, doublings;
        usec_t retry_at;
} Model;

typedef struct ModelPermit {
        uint64_t permit;
        bool probe;
        unsigned era;
} ModelPermit;

static void model_enter(Model *m, BreakerState state) {
        m->state = state;
        m->era++;
        m->n_good = 0;
        m->n_window = 0;
}

static void model_open(Model *m, usec_t now) {
        usec_t span = m->config.reset_timeout;

        if (m->state == BREAKER_HALF_OPEN)
                m->doublings++;
        for (unsigned i = 0; i < m->doublings; i++)
                span = MIN(2 * span, m->config.reset_timeout_max);
        model_enter(m, BREAKER_OPEN);
        m->retry_at = now + span;
}

static void model_advance(Model *m, usec_t now) {
        if (m->state == BREAKER_OPEN && now >= m->retry_at)
                model_enter(m, BREAKER_HALF_OPEN);
}

static void model_report(Model *m, const ModelPermit *permit, bool succeeded, usec_t now) {
        size_t n_bad = 0;

        if (permit->era != m->era)
                return;
        m->in_a_row = succeeded ? 0 : m->in_a_row + 1;
        if (m->state == BREAKER_HALF_OPEN) {
                if (!succeeded)
                        model_open(m, now);
                else if (++m->n_good == m->config.successes_to_close)
                        model_enter(m, BREAKER_CLOSED);
                return;
        }
        if (m->n_window == m->config.window_size)
                memmove(m->window, m->window + 1, --m->n_window * sizeof(m->window[0]));
        m->window[m->n_window++] = !succeeded;
        for (size_t i = 0; i < m->n_window; i++)
                n_bad += m->window[i];
        if (m->n_window == m->config.window_size)
                m->doublings = 0;
        if (m->in_a_row >= m->config.max_failures ||
                (m->n_window >= m->config.minimum_calls &&
                        100 * n_bad >= m->config.failure_rate_percent * m->n_window))
                model_open(m, now);
}

/* What it answers is what the model does, and never are more probes at work than may be. */
static void any_history_is_that_of_the_model(void **state) {
        uint64_t random = 5;

        for (unsigned history = 0; history < 5000; history++) {
                Model m = {
                        .config = {
                                .max_failures = 1 + (uint32_t) random_below(&random, 6),
                                .failure_rate_percent = 1 + (uint32_t) random_below(&random, 100),
                                .window_size = 1 + (uint32_t) random_below(&random, 40),
                                .minimum_calls = 1,
                                .reset_timeout = 1 + random_below(&random, 20),
                                .reset_timeout_max = 20 + random_below(&random, 80),
                                .half_open_probes = 1 + (uint32_t) random_below(&random, 3),
                                .successes_to_close = 1 + (uint32_t) random_below(&random, 3),
                        },
                };
                ModelPermit permits[N_PERMITS] = {};
                unsigned n_probes = 0, percent_good = (unsigned) random_below(&random, 101);
                usec_t now = 0;
                Breaker b;

                m.config.minimum_calls += (uint32_t) random_below(&random, m.config.window_size);
                assert_int_equal(breaker_init(&b, &m.config), 0);
                for (unsigned step = 0; step < 150; step++) {
                        ModelPermit *p = &permits[random_below(&random, N_PERMITS)];
                        bool good = random_below(&random, 100) < percent_good;
                        BreakerVerdict verdict, wanted;

                        now += random_below(&random, 4) == 0 ? random_below(&random, 15) : 0;
                        assert_int_equal(
                                breaker_wake_at(&b), m.state == BREAKER_OPEN ? m.retry_at : NEVER);
                        if (random_below(&random, 200) == 0) {
                                assert_true(breaker_reset(&b));
                                model_enter(&m, BREAKER_CLOSED);
                                m.doublings = m.in_a_row = 0;
                        } else if (p->permit == 0) {
                                model_advance(&m, now);
                                wanted = m.state == BREAKER_CLOSED ? BREAKER_PASS
                                         : m.state == BREAKER_HALF_OPEN &&
                                                         n_probes < m.config.half_open_probes
                                                 ? BREAKER_PROBE
                                                 : BREAKER_REJECT;
                                verdict = breaker_ask(&b, now, &p->permit);
                                assert_int_equal(verdict, wanted);
                                p->probe = verdict == BREAKER_PROBE;
                                p->era = m.era;
                                n_probes += p->probe;
                                assert_true(n_probes <= m.config.half_open_probes);
                        } else {
                                if (random_below(&random, 8) == 0)
                                        (void) breaker_cancel(&b, p->permit);
                                else {
                                        model_report(&m, p, good, now);
                                        (void) breaker_report(&b, p->permit, good, now);
                                }
                                n_probes -= p->probe;
                                p->permit = 0;
                        }
                        assert_int_equal(b.state, m.state);
                        assert_int_equal(b.probes, n_probes);
                }
                breaker_done(&b);
        }
}

static void names_lead_back_to_what_they_name(void **state) {
        for (int i = 0; i < _BREAKER_MODE_MAX; i++)
                assert_int_equal(breaker_mode_from_string(breaker_mode_to_string(i)), i);
        for (int i = 0; i < _BREAKER_STATE_MAX; i++)
                assert_int_equal(breaker_state_from_string(breaker_state_to_string(i)), i);
        assert_int_equal(breaker_mode_from_string("closed"), _BREAKER_MODE_INVALID);
        assert_int_equal(breaker_state_from_string("auto"), _BREAKER_STATE_INVALID);
        assert_null(breaker_mode_to_string(_BREAKER_MODE_MAX));
        assert_null(breaker_state_to_string(_BREAKER_STATE_INVALID));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(it_is_fresh_until_it_has_learned_something),
                cmocka_unit_test(so_many_failures_in_a_row_open_it),
                cmocka_unit_test(half_of_the_calls_failing_open_it),
                cmocka_unit_test(a_few_calls_say_nothing_about_the_rate),
                cmocka_unit_test(what_has_left_the_window_counts_no_more),
                cmocka_unit_test(a_rule_that_is_off_does_not_open_it),
                cmocka_unit_test(what_is_cancelled_is_neither_success_nor_failure),
                cmocka_unit_test(late_failures_do_not_prolong_the_time),
                cmocka_unit_test(time_alone_half_opens_it),
                cmocka_unit_test(only_so_many_probes_are_let_through),
                cmocka_unit_test(one_failed_probe_opens_it_for_longer),
                cmocka_unit_test(a_success_of_an_older_era_does_not_close_it),
                cmocka_unit_test(a_failure_of_an_older_era_does_not_open_it),
                cmocka_unit_test(probes_of_an_older_era_keep_their_places),
                cmocka_unit_test(half_open_forgets_no_failure),
                cmocka_unit_test(it_is_tripped_and_reset_by_hand),
                cmocka_unit_test(a_forced_mode_obeys_neither_results_nor_hands),
                cmocka_unit_test(a_new_window_keeps_the_latest_calls),
                cmocka_unit_test(any_history_is_that_of_the_model),
                cmocka_unit_test(names_lead_back_to_what_they_name),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
