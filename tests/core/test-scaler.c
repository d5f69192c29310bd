/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "test.h"

#include "core/random.h"
#include "core/scaler.h"
#include "util/macro.h"

#define S USEC_PER_SEC
#define NEVER USEC_INFINITY

/* What happens to a pool of 1 to 10 workers, and what the scaler makes of it. */
typedef struct Row {
        usec_t at;
        enum { REPORT, ASK } call;
        uint32_t workers, idle;
        uint64_t queued;
        usec_t oldest_wait;
        bool stalled;
        /* Expected. The number of workers and the reason count for ASK only. */
        uint32_t wanted;
        ScaleReason reason;
        usec_t wake_at;
} Row;

static ScalerConfig config_of(ScaleMode mode) {
        return (ScalerConfig){
                .mode = mode,
                .interval = 5 * S,
                .up_at = 10,
                .down_at = 2,
                .target_wait = S / 5,
        };
}

static void walk(ScaleMode mode, const Row *rows, size_t n) {
        ScalerConfig config = config_of(mode);
        Scaler scaler;

        scaler_init(&scaler, &config);
        assert_int_equal(scaler_wake_at(&scaler), NEVER);
        for (size_t i = 0; i < n; i++) {
                const Row *row = &rows[i];
                ScalerStats stats = {
                        .now = row->at,
                        .workers = row->workers,
                        .idle = row->idle,
                        .queued = row->queued,
                        .oldest_wait = row->oldest_wait,
                        .min = 1,
                        .max = 10,
                        .stalled = row->stalled,
                };

                if (row->call == REPORT)
                        scaler_report(&scaler, &stats);
                else {
                        uint32_t wanted;
                        ScaleReason reason = scaler_ask(&scaler, &stats, &wanted);

                        if (reason != row->reason || wanted != row->wanted)
                                fail_msg("row %zu: %u workers wanted (%s), expected %u (%s)", i,
                                        wanted, scale_reason_to_string(reason), row->wanted,
                                        scale_reason_to_string(row->reason));
                }
                if (scaler_wake_at(&scaler) != row->wake_at)
                        fail_msg("row %zu: wakes at %llu", i,
                                (unsigned long long) scaler_wake_at(&scaler));
        }
}

static void queue_grows_above_one_threshold_and_shrinks_below_the_other(void **state) {
        static const Row rows[] = {
                /* The first decision is an Interval after the first demand. */
                { 0, REPORT, 1, 1, 0, .wake_at = NEVER },
                { 1 * S, REPORT, 1, 0, 50, .wake_at = 6 * S },
                { 3 * S, ASK, 1, 0, 50, .wanted = 1, .wake_at = 6 * S },
                { 6 * S - 1, ASK, 1, 0, 50, .wanted = 1, .wake_at = 6 * S },
                { 6 * S, ASK, 1, 0, 50, 0, false, 2, SCALE_UP_QUEUED, 11 * S },
                { 6 * S, ASK, 2, 0, 50, .wanted = 2, .wake_at = 11 * S },
                /* A late timer moves those that follow. */
                { 12 * S, ASK, 2, 0, 21, 0, false, 3, SCALE_UP_QUEUED, 17 * S },
                /* Neither threshold itself counts. */
                { 17 * S, ASK, 3, 0, 30, .wanted = 3, .wake_at = 22 * S },
                { 22 * S, ASK, 3, 0, 6, .wanted = 3, .wake_at = 27 * S },
                { 27 * S, ASK, 3, 0, 5, 0, false, 2, SCALE_DOWN_QUEUED, 32 * S },
                /* Above Min the clock runs on without demand, at Min it stops. */
                { 28 * S, REPORT, 2, 2, 0, .wake_at = 32 * S },
                { 32 * S, ASK, 2, 2, 0, 0, false, 1, SCALE_DOWN_QUEUED, 37 * S },
                { 32 * S, REPORT, 1, 1, 0, .wake_at = NEVER },
                { 90 * S, ASK, 1, 1, 0, .wanted = 1, .wake_at = NEVER },
                /* Nothing beyond the bounds, however many wait. */
                { 100 * S, REPORT, 10, 0, UINT64_MAX, .wake_at = 105 * S },
                { 105 * S, ASK, 10, 0, UINT64_MAX, .wanted = 10, .wake_at = 110 * S },
                /* The host does not matter here. */
                { 110 * S, ASK, 9, 0, 1000, 0, true, 10, SCALE_UP_QUEUED, 115 * S },
        };

        walk(SCALE_QUEUE, rows, ELEMENTSOF(rows));
}

static void what_is_out_of_bounds_is_brought_back_at_once(void **state) {
        static const Row rows[] = {
                { 0, ASK, 0, 0, 0, 0, false, 1, SCALE_UP_TO_MIN, 5 * S },
                { 1 * S, ASK, 13, 0, 1000, 0, false, 10, SCALE_DOWN_TO_MAX, 5 * S },
                /* That was not the decision of the Interval. */
                { 5 * S, ASK, 9, 0, 1000, 0, false, 10, SCALE_UP_QUEUED, 10 * S },
        };
        static const Row off[] = {
                { 0, REPORT, 3, 3, 0, .wake_at = NEVER },
                { 9 * S, ASK, 3, 0, 1000, 9 * S, false, 3, SCALE_KEEP, NEVER },
                { 9 * S, ASK, 0, 0, 1000, 9 * S, false, 1, SCALE_UP_TO_MIN, NEVER },
                { 9 * S, ASK, 11, 0, 1000, 9 * S, false, 10, SCALE_DOWN_TO_MAX, NEVER },
        };

        for (ScaleMode mode = SCALE_QUEUE; mode <= SCALE_PRESSURE; mode++)
                if (mode != SCALE_WAIT)
                        walk(mode, rows, ELEMENTSOF(rows));
        walk(SCALE_WAIT, rows, ELEMENTSOF(rows) - 1);
        walk(SCALE_OFF, off, ELEMENTSOF(off));
}

static void wait_grows_by_a_quarter_when_it_is_late_twice(void **state) {
        static const Row rows[] = {
                { 0, REPORT, 1, 0, 9, 0, .wake_at = 5 * S },
                /* Once is not enough, and exactly the target is in time. */
                { 5 * S, ASK, 1, 0, 9, S, .wanted = 1, .wake_at = 10 * S },
                { 10 * S, ASK, 1, 0, 9, S / 5, .wanted = 1, .wake_at = 15 * S },
                { 15 * S, ASK, 1, 0, 9, S / 5 + 1, .wanted = 1, .wake_at = 20 * S },
                { 20 * S, ASK, 1, 0, 9, S / 5 + 1, false, 2, SCALE_UP_WAITED, 25 * S },
                /* Still late is late at two Intervals running. */
                { 25 * S, ASK, 2, 0, 9, S, false, 3, SCALE_UP_WAITED, 30 * S },
                { 30 * S, ASK, 8, 0, 9, S, false, 10, SCALE_UP_WAITED, 35 * S },
                { 35 * S, ASK, 9, 0, 9, S, false, 10, SCALE_UP_WAITED, 40 * S },
                { 40 * S, ASK, 10, 0, 9, S, .wanted = 10, .wake_at = 45 * S },
                /* Nobody waits, so nobody waits too long. */
                { 45 * S, ASK, 5, 0, 0, S, .wanted = 5, .wake_at = 50 * S },
                { 50 * S, ASK, 5, 0, 9, S, .wanted = 5, .wake_at = 55 * S },
                { 55 * S, ASK, 5, 0, 9, S, false, 6, SCALE_UP_WAITED, 60 * S },
                /* What was late before the clock stopped does not count any more. */
                { 60 * S, ASK, 1, 0, 0, 0, .wanted = 1, .wake_at = NEVER },
                { 61 * S, REPORT, 1, 0, 9, 0, .wake_at = 66 * S },
                { 66 * S, ASK, 1, 0, 9, S, .wanted = 1, .wake_at = 71 * S },
        };

        walk(SCALE_WAIT, rows, ELEMENTSOF(rows));
}

static void wait_shrinks_after_30s_in_which_a_worker_was_always_idle(void **state) {
        static const Row rows[] = {
                { 0, REPORT, 5, 0, 0, .wake_at = 5 * S },
                { 2 * S, REPORT, 5, 1, 0, .wake_at = 5 * S },
                { 31 * S, ASK, 5, 2, 0, .wanted = 5, .wake_at = 36 * S },
                { 36 * S, ASK, 5, 1, 0, 0, false, 4, SCALE_DOWN_IDLE, 41 * S },
                /* One per 30 s, also where more are idle. */
                { 65 * S, ASK, 4, 4, 0, .wanted = 4, .wake_at = 70 * S },
                { 70 * S, ASK, 4, 4, 0, 0, false, 3, SCALE_DOWN_IDLE, 75 * S },
                /* Busy for a moment, between two Intervals. */
                { 90 * S, REPORT, 3, 0, 0, .wake_at = 75 * S },
                { 91 * S, REPORT, 3, 1, 0, .wake_at = 75 * S },
                { 120 * S, ASK, 3, 3, 0, .wanted = 3, .wake_at = 125 * S },
                { 125 * S, ASK, 3, 3, 0, 0, false, 2, SCALE_DOWN_IDLE, 130 * S },
                /* While the oldest is late nobody leaves, and who was just hired stays. */
                { 130 * S, ASK, 2, 1, 1, S, .wanted = 2, .wake_at = 135 * S },
                { 160 * S, ASK, 2, 1, 1, S, false, 3, SCALE_UP_WAITED, 165 * S },
                { 185 * S, ASK, 3, 1, 0, 0, .wanted = 3, .wake_at = 190 * S },
                { 190 * S, ASK, 3, 1, 0, 0, false, 2, SCALE_DOWN_IDLE, 195 * S },
        };

        walk(SCALE_WAIT, rows, ELEMENTSOF(rows));
}

static void pressure_shrinks_and_does_not_grow_while_the_host_stalls(void **state) {
        static const Row rows[] = {
                { 0, REPORT, 1, 0, 1000, .wake_at = 5 * S },
                { 5 * S, ASK, 3, 0, 1000, 0, false, 4, SCALE_UP_QUEUED, 10 * S },
                { 10 * S, ASK, 4, 0, 1000, 0, true, 3, SCALE_DOWN_STALLED, 15 * S },
                { 12 * S, ASK, 3, 0, 1000, 0, true, 3, SCALE_KEEP, 15 * S },
                { 15 * S, ASK, 3, 0, 0, 0, true, 2, SCALE_DOWN_STALLED, 20 * S },
                { 20 * S, ASK, 2, 0, 0, 0, false, 1, SCALE_DOWN_QUEUED, 25 * S },
                /* Min is Min. */
                { 25 * S, ASK, 1, 0, 1000, 0, true, 1, SCALE_KEEP, 30 * S },
                { 30 * S, ASK, 1, 0, 1000, 0, false, 2, SCALE_UP_QUEUED, 35 * S },
        };

        walk(SCALE_PRESSURE, rows, ELEMENTSOF(rows));
}

static void a_pool_of_fixed_size_never_wakes(void **state) {
        for (ScaleMode mode = 0; mode < _SCALE_MODE_MAX; mode++) {
                ScalerConfig config = config_of(mode);
                ScalerStats stats = { .workers = 4, .min = 4, .max = 4, .queued = 1000 };
                uint32_t wanted;
                Scaler scaler;

                scaler_init(&scaler, &config);
                scaler_report(&scaler, &stats);
                assert_int_equal(scaler_wake_at(&scaler), NEVER);
                stats.now = USEC_PER_DAY;
                assert_int_equal(scaler_ask(&scaler, &stats, &wanted), SCALE_KEEP);
                assert_int_equal(wanted, 4);
                assert_int_equal(scaler_wake_at(&scaler), NEVER);
        }
}

static void no_number_is_too_big(void **state) {
        static const struct {
                ScaleMode mode;
                uint32_t workers, up_at;
                uint64_t queued;
                uint32_t wanted;
        } rows[] = {
                { SCALE_QUEUE, UINT32_MAX - 1, UINT32_MAX, UINT64_MAX, UINT32_MAX },
                { SCALE_QUEUE, UINT32_MAX, UINT32_MAX, UINT64_MAX, UINT32_MAX },
                { SCALE_QUEUE, UINT32_MAX, UINT32_MAX, 7, UINT32_MAX - 1 },
                { SCALE_WAIT, UINT32_MAX - 9, 1, 1, UINT32_MAX },
                { SCALE_QUEUE, 0, UINT32_MAX, 1, 1 },
                { SCALE_WAIT, 0, 1, 1, 1 },
                { SCALE_QUEUE, 1, UINT32_MAX, 0, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                ScalerConfig config = {
                        .mode = rows[i].mode,
                        .interval = 1,
                        .up_at = rows[i].up_at,
                        .down_at = UINT32_MAX,
                };
                ScalerStats stats = {
                        .workers = rows[i].workers,
                        .queued = rows[i].queued,
                        .oldest_wait = USEC_INFINITY,
                        .max = UINT32_MAX,
                };
                uint32_t wanted;
                Scaler scaler;

                scaler_init(&scaler, &config);
                for (stats.now = 0; stats.now < 3; stats.now++)
                        (void) scaler_ask(&scaler, &stats, &wanted);
                assert_int_equal(wanted, rows[i].wanted);
        }
}

/* With any thresholds, also such as overlap, and a queue that stays as it is, the number of workers
 * goes one way only, and comes to rest. */
static void a_constant_queue_never_makes_it_flap(void **state) {
        for (uint32_t up_at = 0; up_at < 8; up_at++)
                for (uint32_t down_at = 0; down_at < 8; down_at++)
                        for (uint64_t queued = 0; queued < 60; queued++)
                                for (uint32_t first = 1; first <= 10; first++) {
                                        ScalerConfig config = {
                                                .mode = SCALE_QUEUE,
                                                .interval = 1,
                                                .up_at = up_at,
                                                .down_at = down_at,
                                        };
                                        ScalerStats stats = {
                                                .workers = first,
                                                .queued = queued,
                                                .min = 1,
                                                .max = 10,
                                        };
                                        int direction = 0, last = 0;
                                        Scaler scaler;

                                        scaler_init(&scaler, &config);
                                        for (; stats.now < 15; stats.now++) {
                                                uint32_t wanted;

                                                (void) scaler_ask(&scaler, &stats, &wanted);
                                                last = (int) wanted - (int) stats.workers;
                                                assert_true(last * direction >= 0);
                                                direction += last;
                                                stats.workers = wanted;
                                        }
                                        assert_int_equal(last, 0);
                                }
}

typedef struct History {
        uint64_t random;
        ScalerConfig config;
        ScalerStats stats;
        Scaler scaler;
        usec_t decided_at; /* when the number was last changed within its bounds */
} History;

/* Any change of the pool that the scaler has no say in. */
static void history_move(History *h) {
        ScalerStats *s = &h->stats;

        s->now += random_below(&h->random, 3) * random_below(&h->random, 20 * S);
        switch (random_below(&h->random, 6)) {
        case 0:
                s->min = (uint32_t) random_below(&h->random, 6);
                s->max = s->min + (uint32_t) random_below(&h->random, 6);
                break;
        case 1:
                s->workers = (uint32_t) random_below(&h->random, 14);
                break;
        case 2:
                s->queued = 0;
                break;
        case 3:
                s->stalled = !s->stalled;
                break;
        default:
                s->queued = random_below(&h->random, 60);
                s->oldest_wait = random_below(&h->random, S / 2);
                break;
        }
        s->idle = (uint32_t) random_below(&h->random, s->workers + 1);
}

static void history_ask(History *h) {
        const ScalerStats *s = &h->stats;
        usec_t due_at = scaler_wake_at(&h->scaler);
        bool in_bounds = s->workers >= s->min && s->workers <= s->max;
        uint32_t wanted = UINT32_MAX;
        ScaleReason reason = scaler_ask(&h->scaler, s, &wanted);

        assert_in_range(wanted, s->min, s->max);
        assert_true((reason == SCALE_KEEP) == (wanted == s->workers));
        assert_true((reason == SCALE_UP_TO_MIN) == (s->workers < s->min));
        assert_true((reason == SCALE_DOWN_TO_MAX) == (s->workers > s->max));
        if (in_bounds && reason != SCALE_KEEP) {
                uint32_t step = h->config.mode == SCALE_WAIT ? MAX(s->workers / 4, 1U) : 1;

                assert_true(h->config.mode != SCALE_OFF);
                assert_true(due_at <= s->now);
                assert_true(h->decided_at == USEC_INFINITY ||
                            s->now >= h->decided_at + h->config.interval);
                assert_true(wanted + 1 >= s->workers && wanted <= s->workers + step);
                assert_false(h->config.mode == SCALE_PRESSURE && s->stalled && wanted > s->workers);
                assert_false(h->config.mode == SCALE_WAIT && s->idle == 0 && wanted < s->workers);
                h->decided_at = s->now;
        }
        h->stats.workers = wanted;
        h->stats.idle = MIN(h->stats.idle, wanted);
}

static void whatever_happens_the_number_is_within_its_bounds(void **state) {
        for (uint64_t seed = 0; seed < 120000; seed++) {
                History h = { .random = seed, .stats.max = 4, .decided_at = USEC_INFINITY };

                h.config = (ScalerConfig){
                        .mode = (ScaleMode) random_below(&h.random, _SCALE_MODE_MAX),
                        .interval = 1 + random_below(&h.random, 10 * S),
                        .up_at = (uint32_t) random_below(&h.random, 12),
                        .down_at = (uint32_t) random_below(&h.random, 6),
                        .target_wait = random_below(&h.random, S / 2),
                };
                scaler_init(&h.scaler, &h.config);

                for (int step = 0; step < 60; step++) {
                        bool may_change;

                        history_move(&h);
                        if (random_below(&h.random, 3) > 0)
                                history_ask(&h);
                        scaler_report(&h.scaler, &h.stats);

                        /* It wakes only where it could do something, and then soon enough. */
                        may_change = h.config.mode != SCALE_OFF &&
                                     (h.stats.workers != h.stats.min ||
                                             (h.stats.queued > 0 && h.stats.min < h.stats.max));
                        if (may_change)
                                assert_true(scaler_wake_at(&h.scaler) <=
                                            h.stats.now + h.config.interval);
                        else
                                assert_int_equal(scaler_wake_at(&h.scaler), NEVER);
                }
        }
}

static void modes_and_reasons_have_names(void **state) {
        static const char *const names[] = { "off", "queue", "wait", "pressure" };

        assert_int_equal(ELEMENTSOF(names), _SCALE_MODE_MAX);
        for (int m = 0; m < _SCALE_MODE_MAX; m++) {
                assert_string_equal(scale_mode_to_string((ScaleMode) m), names[m]);
                assert_int_equal(scale_mode_from_string(names[m]), m);
        }
        assert_int_equal(scale_mode_from_string("Queue"), _SCALE_MODE_INVALID);
        assert_int_equal(scale_mode_from_string(""), _SCALE_MODE_INVALID);
        assert_null(scale_mode_to_string(_SCALE_MODE_MAX));
        assert_null(scale_mode_to_string(_SCALE_MODE_INVALID));

        assert_string_equal(scale_reason_to_string(SCALE_KEEP), "");
        for (int r = SCALE_KEEP + 1; r < _SCALE_REASON_MAX; r++)
                assert_true(strlen(scale_reason_to_string((ScaleReason) r)) > 0);
        assert_null(scale_reason_to_string(_SCALE_REASON_MAX));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(queue_grows_above_one_threshold_and_shrinks_below_the_other),
                cmocka_unit_test(what_is_out_of_bounds_is_brought_back_at_once),
                cmocka_unit_test(wait_grows_by_a_quarter_when_it_is_late_twice),
                cmocka_unit_test(wait_shrinks_after_30s_in_which_a_worker_was_always_idle),
                cmocka_unit_test(pressure_shrinks_and_does_not_grow_while_the_host_stalls),
                cmocka_unit_test(a_pool_of_fixed_size_never_wakes),
                cmocka_unit_test(no_number_is_too_big),
                cmocka_unit_test(a_constant_queue_never_makes_it_flap),
                cmocka_unit_test(whatever_happens_the_number_is_within_its_bounds),
                cmocka_unit_test(modes_and_reasons_have_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
