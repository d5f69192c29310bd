/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/prioq.h"
#include "core/random.h"
#include "util/macro.h"

#define N_JOBS 64

typedef struct TestJob {
        Job job;
        JobDetails details;
} TestJob;

typedef enum Call {
        PUSH, /* job `id`, due at the time of the row */
        POP,  /* gives job `id`, 0 = none */
        FIRST,
        UNPOP,
        REMOVE,
        AGING, /* interval `value` from now on */
        COUNT, /* before job `id`, up to 100, are `value` */
} Call;

typedef struct Step {
        usec_t at;
        Call call;
        uint64_t id;
        int16_t priority;
        uint64_t value;
} Step;

static void walk(usec_t aging_interval, const Step *steps, size_t n_steps) {
        TestJob jobs[N_JOBS] = {};
        uint64_t n_inside = 0;
        Prioq q;

        assert_int_equal(prioq_init(&q, aging_interval), 0);
        for (const Step *step = steps; step < steps + n_steps; step++) {
                Job *job = &jobs[step->id].job;

                switch (step->call) {

                case PUSH:
                        job->id = step->id;
                        job->due_at = step->at;
                        job->priority = step->priority;
                        job->details = &jobs[step->id].details;
                        job->details->job = job;
                        assert_int_equal(prioq_reserve(&q, step->priority), 0);
                        prioq_push(&q, job);
                        n_inside++;
                        break;

                case POP:
                        assert_ptr_equal(prioq_pop(&q), step->id ? job : NULL);
                        n_inside -= step->id > 0;
                        break;

                case FIRST:
                        assert_ptr_equal(prioq_first(&q), step->id ? job : NULL);
                        break;

                case UNPOP:
                        prioq_unpop(&q, job);
                        n_inside++;
                        break;

                case REMOVE:
                        prioq_remove(&q, job);
                        n_inside--;
                        break;

                case AGING:
                        prioq_set_aging_interval(&q, step->value);
                        break;

                case COUNT:
                        assert_int_equal(prioq_count_before(&q, job, 100), step->value);
                        break;
                }
                assert_int_equal(q.n_jobs, n_inside);
        }
        prioq_done(&q);
}

#define WALK(interval, steps) walk((interval), (steps), ELEMENTSOF(steps))

static void an_empty_queue_gives_nothing(void **state) {
        static const Step steps[] = { { 0, POP, 0 }, { 0, FIRST, 0 } };

        WALK(10, steps);
        WALK(USEC_INFINITY, steps);
}

static void within_a_priority_the_first_to_come_is_served_first(void **state) {
        static const Step steps[] = {
                { 1, PUSH, 1, 5 },
                { 1, PUSH, 2, 5 },
                { 3, PUSH, 3, 5 },
                { 4, COUNT, 3, .value = 2 },
                { 4, FIRST, 1 },
                { 4, POP, 1 },
                { 5, PUSH, 4, 5 },
                { 5, POP, 2 },
                { 5, POP, 3 },
                { 5, POP, 4 },
                { 5, POP, 0 },
        };

        WALK(10, steps);
        WALK(0, steps);
        WALK(USEC_INFINITY, steps);
}

static void one_level_is_worth_one_interval_of_waiting(void **state) {
        static const Step steps[] = {
                { 100, PUSH, 1, 0 },
                { 109, PUSH, 2, 1 }, /* 99: one level up beats 9 of waiting */
                { 110, PUSH, 3, 1 }, /* 100: a tie, the lower id comes first */
                { 111, PUSH, 4, 1 }, /* 101: too late */
                { 119, PUSH, 5, 2 }, /* 99, a tie with job 2 */
                { 200, POP, 2 },
                { 200, POP, 5 },
                { 200, POP, 1 },
                { 200, POP, 3 },
                { 200, POP, 4 },
        };

        WALK(10, steps);
}

static void negative_priorities_wait_longer(void **state) {
        static const Step steps[] = {
                { 0, PUSH, 1, -3 },
                { 29, PUSH, 2, 0 },
                { 30, PUSH, 3, 0 },
                { 31, PUSH, 4, 0 },
                { 40, POP, 2 },
                { 40, POP, 1 },
                { 40, POP, 3 },
                { 40, POP, 4 },
        };

        WALK(10, steps);
}

static void an_infinite_interval_is_strict_priority_then_order_of_ids(void **state) {
        static const Step steps[] = {
                { 0, PUSH, 2, 0 },
                { 1 * USEC_PER_YEAR, PUSH, 3, 1 },
                { 2 * USEC_PER_YEAR, PUSH, 1, 0 }, /* due later, but an older id */
                { 2 * USEC_PER_YEAR, PUSH, 4, PRIORITY_MAX },
                { 2 * USEC_PER_YEAR, PUSH, 5, PRIORITY_MIN },
                { 2 * USEC_PER_YEAR, POP, 4 },
                { 2 * USEC_PER_YEAR, POP, 3 },
                { 2 * USEC_PER_YEAR, POP, 1 },
                { 2 * USEC_PER_YEAR, POP, 2 },
                { 2 * USEC_PER_YEAR, POP, 5 },
        };

        WALK(USEC_INFINITY, steps);
}

static void a_zero_interval_makes_priorities_equal(void **state) {
        static const Step steps[] = {
                { 1, PUSH, 1, PRIORITY_MIN },
                { 2, PUSH, 2, PRIORITY_MAX },
                { 3, PUSH, 3, 0 },
                { 3, POP, 1 },
                { 3, POP, 2 },
                { 3, POP, 3 },
        };

        WALK(0, steps);
}

static void the_widest_keys_do_not_overflow(void **state) {
        static const Step steps[] = {
                { 0, PUSH, 1, PRIORITY_MIN },
                { (usec_t) 1 << 60, PUSH, 2, PRIORITY_MIN },
                { 0, PUSH, 3, PRIORITY_MAX },
                { (usec_t) 1 << 60, PUSH, 4, PRIORITY_MAX },
                { 0, POP, 3 },
                { 0, POP, 1 },
                { 0, POP, 4 },
                { 0, POP, 2 },
        };

        WALK(USEC_PER_YEAR, steps);
}

static void a_new_interval_reorders_what_waits(void **state) {
        static const Step steps[] = {
                { 0, PUSH, 1, 0 },
                { 50, PUSH, 2, 1 },
                { 100, PUSH, 3, 2 },
                { 20, PUSH, 4, 1 }, /* out of order: in the side heap */
                { 0, FIRST, 1 },
                { 0, AGING, .value = 60 },
                { 0, FIRST, 4 }, /* -40; then 3: -20, 2: -10, 1: 0 */
                { 0, COUNT, 2, .value = 2 },
                { 0, AGING, .value = USEC_INFINITY },
                { 0, POP, 3 },
                { 0, POP, 2 },
                { 0, AGING, .value = 1 },
                { 0, POP, 1 },
                { 0, POP, 4 },
        };

        WALK(1, steps);
}

static void what_comes_out_of_order_takes_its_place_by_key(void **state) {
        static const Step steps[] = {
                { 10, PUSH, 5, 0 },
                { 20, PUSH, 6, 0 },
                { 30, PUSH, 7, 0 },
                { 15, PUSH, 2, 0 },
                { 30, PUSH, 3, 0 },
                { 5, PUSH, 4, 0 },
                { 30, COUNT, 7, .value = 5 },
                { 30, COUNT, 3, .value = 4 },
                { 30, POP, 4 },
                { 30, POP, 5 },
                { 30, POP, 2 },
                { 30, POP, 6 },
                { 30, POP, 3 },
                { 30, POP, 7 },
        };

        WALK(10, steps);
}

static void any_job_can_leave(void **state) {
        static const Step steps[] = {
                { 1, PUSH, 1, 0 },
                { 2, PUSH, 2, 0 },
                { 3, PUSH, 3, 0 },
                { 4, PUSH, 4, 0 },
                { 4, PUSH, 5, 1 },
                { 1, PUSH, 6, 0 }, /* in the side heap */
                { 4, REMOVE, 2 },  /* from the middle */
                { 4, REMOVE, 4 },  /* the last */
                { 5, PUSH, 7, 0 },
                { 5, REMOVE, 1 }, /* the first */
                { 5, REMOVE, 6 },
                { 5, REMOVE, 5 }, /* the only one of its level */
                { 5, POP, 3 },
                { 5, POP, 7 },
                { 5, POP, 0 },
        };

        WALK(10, steps);
}

static void a_job_that_comes_back_stands_where_it_stood(void **state) {
        static const Step steps[] = {
                { 1, PUSH, 1, 0 },
                { 2, PUSH, 2, 0 },
                { 3, PUSH, 3, 0 },
                { 0, PUSH, 4, 0 }, /* in the side heap */
                { 5, POP, 4 },
                { 5, POP, 1 },
                { 5, POP, 2 },
                { 5, UNPOP, 2 },
                { 5, UNPOP, 1 },
                { 5, UNPOP, 4 },
                { 5, POP, 4 },
                { 5, POP, 1 },
                { 5, POP, 2 },
                { 5, POP, 3 },
        };

        WALK(10, steps);
}

static void jobs_may_come_back_in_any_order(void **state) {
        /* Two workers had 1, 2 and 3, 4; each gives back its last one first. */
        static const Step steps[] = {
                { 1, PUSH, 1, 0 },
                { 2, PUSH, 2, 0 },
                { 3, PUSH, 3, 0 },
                { 4, PUSH, 4, 0 },
                { 5, PUSH, 5, 0 },
                { 5, POP, 1 },
                { 5, POP, 2 },
                { 5, POP, 3 },
                { 5, POP, 4 },
                { 5, UNPOP, 2 },
                { 5, UNPOP, 1 },
                { 5, UNPOP, 4 },
                { 5, UNPOP, 3 },
                { 5, COUNT, 5, .value = 4 },
                { 5, POP, 1 },
                { 5, POP, 2 },
                { 5, POP, 3 },
                { 5, POP, 4 },
                { 5, POP, 5 },
        };

        WALK(10, steps);
        WALK(USEC_INFINITY, steps);
}

static void a_job_that_comes_back_finds_its_place_among_new_ones(void **state) {
        /* While 4 was out its level was empty, and older jobs came to it. */
        static const Step finite[] = {
                { 10, PUSH, 4, 0 },
                { 10, POP, 4 },
                { 12, PUSH, 3, 0 },
                { 8, PUSH, 5, 0 },
                { 20, PUSH, 6, 0 },
                { 20, UNPOP, 4 },
                { 20, POP, 5 },
                { 20, POP, 4 },
                { 20, POP, 3 },
                { 20, POP, 6 },
        };
        static const Step strict[] = {
                { 10, PUSH, 4, 0 },
                { 10, POP, 4 },
                { 12, PUSH, 3, 0 },
                { 8, PUSH, 5, 0 },
                { 20, PUSH, 6, 0 },
                { 20, UNPOP, 4 },
                { 20, POP, 3 },
                { 20, POP, 4 },
                { 20, POP, 5 },
                { 20, POP, 6 },
        };

        WALK(10, finite);
        WALK(USEC_INFINITY, strict);
}

static void counting_stops_at_the_bound(void **state) {
        TestJob jobs[10] = {};
        Prioq q;

        assert_int_equal(prioq_init(&q, 10), 0);
        assert_int_equal(prioq_reserve(&q, 0), 0);
        for (uint64_t i = 0; i < ELEMENTSOF(jobs); i++) {
                jobs[i].job = (Job){ .id = i + 1, .due_at = i };
                prioq_push(&q, &jobs[i].job);
        }
        assert_int_equal(prioq_count_before(&q, &jobs[9].job, 100), 9);
        assert_int_equal(prioq_count_before(&q, &jobs[9].job, 9), 9);
        assert_int_equal(prioq_count_before(&q, &jobs[9].job, 4), 4);
        assert_int_equal(prioq_count_before(&q, &jobs[9].job, 0), 0);
        assert_int_equal(prioq_count_before(&q, &jobs[0].job, 100), 0);
        prioq_done(&q);
}

static void push_id(Prioq *q, TestJob *jobs, uint64_t id) {
        TestJob *job = &jobs[id - 1];

        *job = (TestJob){ .job = { .id = id, .details = &job->details } };
        job->details.job = &job->job;
        prioq_push(q, &job->job);
}

static void a_wide_side_heap_is_searched_only_so_far(void **state) {
        enum { N = PRIOQ_LOOKS_MAX + 1000 };
        TestJob *jobs = calloc(N, sizeof(*jobs));
        Prioq q;

        assert_non_null(jobs);
        assert_int_equal(prioq_init(&q, USEC_INFINITY), 0);
        assert_int_equal(prioq_reserve(&q, 0), 0);
        /* The highest id comes first, so all others are out of order. */
        push_id(&q, jobs, N);
        for (uint64_t id = 1; id < N; id++)
                push_id(&q, jobs, id);
        assert_int_equal(q.n_jobs, N);
        assert_int_equal(prioq_count_before(&q, &jobs[0].job, N), 0);
        assert_int_equal(prioq_count_before(&q, &jobs[1].job, N), 1);
        assert_int_equal(prioq_count_before(&q, &jobs[N - 1].job, N), PRIOQ_LOOKS_MAX);
        prioq_done(&q);
        free(jobs);
}

static void a_low_priority_waits_at_most_its_levels_times_the_interval(void **state) {
        const usec_t interval = 100;

        /* One job far down, and a flood of urgent ones, one per tick and one served per tick. */
        for (int16_t levels = 1; levels <= 5; levels++) {
                static TestJob jobs[1000];
                uint64_t n_ahead = 0;
                Prioq q;

                assert_int_equal(prioq_init(&q, interval), 0);
                assert_int_equal(prioq_reserve(&q, 0), 0);
                assert_int_equal(prioq_reserve(&q, levels), 0);
                jobs[0].job = (Job){ .id = 1 };
                prioq_push(&q, &jobs[0].job);
                for (uint64_t i = 1; i < ELEMENTSOF(jobs); i++) {
                        jobs[i].job = (Job){ .id = i + 1, .due_at = i, .priority = levels };
                        prioq_push(&q, &jobs[i].job);
                }
                while (prioq_pop(&q) != &jobs[0].job)
                        n_ahead++;
                assert_int_equal(n_ahead, (uint64_t) levels * interval - 1);
                prioq_done(&q);
        }
}

static void every_priority_can_be_in_use_at_once(void **state) {
        static TestJob jobs[PRIORITY_MAX - PRIORITY_MIN + 1];
        Prioq q;

        assert_int_equal(prioq_init(&q, USEC_PER_YEAR), 0);
        for (size_t i = 0; i < ELEMENTSOF(jobs); i++) {
                /* 1000 and 2001 have no common divisor: each priority comes once. */
                int16_t priority = (int16_t) (PRIORITY_MIN + (int) (i * 1000 % ELEMENTSOF(jobs)));

                jobs[i].job = (Job){ .id = i + 1, .due_at = i, .priority = priority };
                assert_int_equal(prioq_reserve(&q, priority), 0);
                prioq_push(&q, &jobs[i].job);
        }
        for (int priority = PRIORITY_MAX; priority >= PRIORITY_MIN; priority--)
                assert_int_equal(prioq_pop(&q)->priority, priority);
        assert_null(prioq_pop(&q));
        prioq_done(&q);
}

/* ---- random histories against an array that is searched from end to end ---- */

typedef enum Place { OUTSIDE, INSIDE, POPPED } Place;

typedef struct Model {
        usec_t interval;
        TestJob jobs[N_JOBS];
        Place places[N_JOBS];
} Model;

/* Written with the widest integer, so that it shares no trick with what it checks. */
static bool model_before(const Model *m, const Job *a, const Job *b) {
        __int128 ka = -a->priority, kb = -b->priority;

        if (m->interval != USEC_INFINITY) {
                ka = ka * m->interval + a->due_at;
                kb = kb * m->interval + b->due_at;
        }
        return ka != kb ? ka < kb : a->id < b->id;
}

static uint64_t model_count_before(const Model *m, const Job *job) {
        uint64_t n = 0;

        for (size_t i = 0; i < N_JOBS; i++)
                n += m->places[i] == INSIDE && model_before(m, &m->jobs[i].job, job);
        return n;
}

static usec_t model_oldest(const Model *m) {
        usec_t t = USEC_INFINITY;

        for (size_t i = 0; i < N_JOBS; i++)
                if (m->places[i] == INSIDE)
                        t = MIN(t, m->jobs[i].job.due_at);
        return t;
}

static Job *model_first(Model *m) {
        for (size_t i = 0; i < N_JOBS; i++)
                if (m->places[i] == INSIDE && model_count_before(m, &m->jobs[i].job) == 0)
                        return &m->jobs[i].job;
        return NULL;
}

/* Pops up to `max` at once, which are what as many single pops would give. */
static void model_check_pop_some(Model *m, Prioq *q, size_t max) {
        Job *jobs[N_JOBS], *job;
        size_t n = prioq_pop_some(q, max, jobs);

        for (size_t i = 0; i < n; i++) {
                assert_ptr_equal(jobs[i], model_first(m));
                assert_null(jobs[i]->next);
                assert_null(jobs[i]->prev);
                m->places[container_of(jobs[i], TestJob, job) - m->jobs] = POPPED;
        }
        job = model_first(m);
        assert_true(n == max || !job);
}

/* Pushes up to `max` new jobs, of one priority, which may be late. */
static void model_push_all(
        Model *m, Prioq *q, size_t max, int16_t priority, usec_t due_at, uint64_t *next_id) {
        Job *jobs[N_JOBS];
        size_t n = 0;

        for (size_t i = 0; i < N_JOBS && n < max; i++) {
                Job *job = &m->jobs[i].job;

                if (m->places[i] != OUTSIDE)
                        continue;
                *job = (Job){
                        .id = (*next_id)++,
                        .due_at = due_at,
                        .priority = priority,
                        .details = &m->jobs[i].details,
                };
                job->details->job = job;
                m->places[i] = INSIDE;
                jobs[n++] = job;
        }
        if (n == 0)
                return;
        assert_int_equal(prioq_reserve(q, priority), 0);
        prioq_push_all(q, jobs, n);
}

static void any_history_gives_what_a_searched_array_gives(void **state) {
        static const usec_t intervals[] = { 0, 1, 7, 50, USEC_PER_YEAR, USEC_INFINITY };

        for (uint64_t seed = 0; seed < 500; seed++) {
                uint64_t random = seed, next_id = 1;
                usec_t now = 0;
                Model m = { .interval = intervals[random_below(&random, ELEMENTSOF(intervals))] };
                Prioq q;

                assert_int_equal(prioq_init(&q, m.interval), 0);
                for (int step = 0; step < 400; step++) {
                        size_t i = random_below(&random, N_JOBS);
                        Job *job = &m.jobs[i].job;

                        now += random_below(&random, 4);
                        if (random_below(&random, 40) == 0) {
                                m.interval =
                                        intervals[random_below(&random, ELEMENTSOF(intervals))];
                                prioq_set_aging_interval(&q, m.interval);
                        } else if (random_below(&random, 16) == 0)
                                model_push_all(&m, &q, 1 + random_below(&random, 6),
                                        (int16_t) ((int) random_below(&random, 7) - 3),
                                        usec_sub(now, random_below(&random, 4)), &next_id);
                        else if (random_below(&random, 8) == 0)
                                model_check_pop_some(&m, &q, 1 + random_below(&random, N_JOBS - 1));
                        else if (random_below(&random, 4) == 0) {
                                job = prioq_pop(&q);
                                assert_ptr_equal(job, model_first(&m));
                                if (job)
                                        m.places[container_of(job, TestJob, job) - m.jobs] = POPPED;
                        } else if (m.places[i] == INSIDE && random_below(&random, 3) == 0) {
                                prioq_remove(&q, job);
                                m.places[i] = OUTSIDE;
                        } else if (m.places[i] == POPPED) {
                                if (random_below(&random, 2)) {
                                        prioq_unpop(&q, job);
                                        m.places[i] = INSIDE;
                                } else
                                        m.places[i] = OUTSIDE;
                        } else if (m.places[i] == OUTSIDE) {
                                bool late = random_below(&random, 4) == 0 && job->id > 0;

                                /* Anew, or once more with the key that it had. */
                                if (!late)
                                        *job = (Job){ .id = next_id++, .due_at = now };
                                job->priority = (int16_t) ((int) random_below(&random, 7) - 3);
                                job->details = &m.jobs[i].details;
                                job->details->job = job;
                                assert_int_equal(prioq_reserve(&q, job->priority), 0);
                                if (random_below(&random, 8) == 0)
                                        prioq_push_aside(&q, job);
                                else
                                        prioq_push(&q, job);
                                m.places[i] = INSIDE;
                        }

                        assert_ptr_equal(prioq_first(&q), model_first(&m));
                        assert_int_equal(prioq_oldest(&q), model_oldest(&m));
                        i = random_below(&random, N_JOBS);
                        if (m.places[i] == INSIDE)
                                assert_int_equal(prioq_count_before(&q, &m.jobs[i].job, N_JOBS),
                                        model_count_before(&m, &m.jobs[i].job));
                }
                prioq_done(&q);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_empty_queue_gives_nothing),
                cmocka_unit_test(within_a_priority_the_first_to_come_is_served_first),
                cmocka_unit_test(one_level_is_worth_one_interval_of_waiting),
                cmocka_unit_test(negative_priorities_wait_longer),
                cmocka_unit_test(an_infinite_interval_is_strict_priority_then_order_of_ids),
                cmocka_unit_test(a_zero_interval_makes_priorities_equal),
                cmocka_unit_test(the_widest_keys_do_not_overflow),
                cmocka_unit_test(a_new_interval_reorders_what_waits),
                cmocka_unit_test(what_comes_out_of_order_takes_its_place_by_key),
                cmocka_unit_test(any_job_can_leave),
                cmocka_unit_test(a_job_that_comes_back_stands_where_it_stood),
                cmocka_unit_test(jobs_may_come_back_in_any_order),
                cmocka_unit_test(a_job_that_comes_back_finds_its_place_among_new_ones),
                cmocka_unit_test(counting_stops_at_the_bound),
                cmocka_unit_test(a_wide_side_heap_is_searched_only_so_far),
                cmocka_unit_test(a_low_priority_waits_at_most_its_levels_times_the_interval),
                cmocka_unit_test(every_priority_can_be_in_use_at_once),
                cmocka_unit_test(any_history_gives_what_a_searched_array_gives),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
