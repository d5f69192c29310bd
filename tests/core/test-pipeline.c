/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <stdio.h>

#include "core/pipeline.h"

typedef enum Call {
        ASK,    /* n items, and they enter with ADMIT_YES: expect the verdict */
        SERVED, /* the same with ADMIT_SERVED */
        LEAVE,  /* n items end with the result */
        ROOM,   /* expect n */
        MAX,    /* n credits from now on */
        DRAIN,
        RESUME,
        JOIN,    /* waiter `who` gets in line with n items */
        GIVE_UP, /* waiter `who` gets out of it */
        SERVE,   /* expect `who`; 0 = nobody */
        SHUT,    /* the same, for a pipeline that lets nobody in */
        COUNTS,  /* expect n in flight */
} Call;

typedef struct Step {
        Call call;
        uint64_t n;
        int expect; /* AdmitVerdict or JobResult */
        unsigned who;
} Step;

#define N_WAITERS 3

static void walk(uint64_t max_in_flight, const Step *steps, size_t n_steps) {
        AdmitWaiter waiters[N_WAITERS + 1];
        Pipeline p;

        pipeline_init(&p, 3, max_in_flight);
        for (const Step *step = steps; step < steps + n_steps; step++) {
                unsigned flags = step->call == SERVED ? ADMIT_SERVED : 0;
                AdmitWaiter *waiter;
                AdmitVerdict verdict;

                switch (step->call) {

                case ASK:
                case SERVED:
                        verdict = pipeline_ask(&p, step->n, flags);
                        if (verdict != (AdmitVerdict) step->expect)
                                fail_msg("step %zu: verdict %d", (size_t) (step - steps), verdict);
                        if (verdict == ADMIT_YES)
                                pipeline_enter(&p, step->n);
                        break;

                case LEAVE:
                        for (uint64_t i = 0; i < step->n; i++)
                                pipeline_leave(&p, (JobResult) step->expect);
                        break;

                case ROOM:
                        assert_int_equal(pipeline_room(&p), step->n);
                        break;

                case MAX:
                        p.max_in_flight = step->n;
                        break;

                case DRAIN:
                case RESUME:
                        p.draining = step->call == DRAIN;
                        break;

                case JOIN:
                        waiters[step->who] = (AdmitWaiter){ .n = step->n };
                        pipeline_line_join(&p, &waiters[step->who]);
                        break;

                case GIVE_UP:
                        pipeline_line_leave(&p, &waiters[step->who]);
                        break;

                case SERVE:
                case SHUT:
                        waiter = pipeline_line_serve(&p, step->call == SHUT);
                        if (waiter != (step->who > 0 ? &waiters[step->who] : NULL))
                                fail_msg("step %zu: another one was served",
                                        (size_t) (step - steps));
                        break;

                case COUNTS:
                        assert_int_equal(p.n_in_flight, step->n);
                        break;
                }
                assert_int_equal(p.submitted, p.succeeded + p.failed + p.n_in_flight);
        }
}

#define WALK(max, ...) \
        walk(max, (const Step[]){ __VA_ARGS__ }, ELEMENTSOF(((const Step[]){ __VA_ARGS__ })))

static void credits_bound_what_is_inside(void **state) {
        WALK(3, { ROOM, 3 }, { ASK, 2, ADMIT_YES }, { ROOM, 1 }, { ASK, 2, ADMIT_FULL },
                { COUNTS, 2 }, { ASK, 1, ADMIT_YES }, { ROOM, 0 }, { ASK, 1, ADMIT_FULL },
                { LEAVE, 1, JOB_SUCCEEDED }, { ASK, 1, ADMIT_YES }, { COUNTS, 3 });
}

static void every_end_gives_the_credit_back(void **state) {
        Pipeline p;

        pipeline_init(&p, 1, _JOB_RESULT_MAX);
        pipeline_enter(&p, _JOB_RESULT_MAX);
        for (int result = 0; result < _JOB_RESULT_MAX; result++)
                pipeline_leave(&p, (JobResult) result);
        assert_int_equal(p.n_in_flight, 0);
        assert_int_equal(p.succeeded, 1);
        assert_int_equal(p.failed, _JOB_RESULT_MAX - 1);
}

static void fewer_credits_only_stop_the_intake(void **state) {
        WALK(4, { ASK, 4, ADMIT_YES }, { MAX, 2 }, { COUNTS, 4 }, { ROOM, 0 },
                { LEAVE, 2, JOB_FAILED }, { ASK, 1, ADMIT_FULL }, { LEAVE, 1, JOB_FAILED },
                { ASK, 1, ADMIT_YES }, { MAX, UINT64_MAX }, { ASK, 5, ADMIT_YES });
}

static void more_than_there_are_credits_never_fit(void **state) {
        WALK(2, { ASK, 3, ADMIT_FULL }, { ASK, UINT64_MAX, ADMIT_FULL }, { ROOM, 2 });
}

static void a_draining_one_lets_nobody_in(void **state) {
        WALK(2, { ASK, 1, ADMIT_YES }, { DRAIN }, { ROOM, 0 }, { ASK, 1, ADMIT_DRAINING },
                { SERVED, 1, ADMIT_DRAINING }, { LEAVE, 1, JOB_SUCCEEDED }, { RESUME },
                { ASK, 1, ADMIT_YES });
}

static void nobody_passes_one_who_waits(void **state) {
        WALK(3, { ASK, 2, ADMIT_YES }, { JOIN, 3, 0, 1 }, { JOIN, 1, 0, 2 }, { ROOM, 0 },
                { ASK, 1, ADMIT_FULL }, { SERVE, 0, 0, 0 }, { LEAVE, 1, JOB_SUCCEEDED },
                { SERVE, 0, 0, 0 }, { LEAVE, 1, JOB_FAILED }, { SERVE, 0, 0, 1 },
                { SERVED, 3, ADMIT_YES }, { SERVE, 0, 0, 0 }, { LEAVE, 1, JOB_SUCCEEDED },
                { ASK, 1, ADMIT_FULL }, { SERVE, 0, 0, 2 }, { SERVED, 1, ADMIT_YES },
                { SERVE, 0, 0, 0 });
}

static void who_gives_up_lets_the_next_one_in(void **state) {
        WALK(2, { ASK, 1, ADMIT_YES }, { JOIN, 2, 0, 1 }, { JOIN, 1, 0, 2 }, { GIVE_UP, 0, 0, 1 },
                { SERVE, 0, 0, 2 }, { SERVED, 1, ADMIT_YES }, { SERVE, 0, 0, 0 });
}

static void who_can_never_come_in_is_told_so(void **state) {
        WALK(2, { ASK, 2, ADMIT_YES }, { JOIN, 2, 0, 1 }, { JOIN, 1, 0, 2 }, { JOIN, 1, 0, 3 },
                { MAX, 1 }, { SERVE, 0, 0, 1 }, { SERVED, 2, ADMIT_FULL }, { SERVE, 0, 0, 0 },
                { SHUT, 0, 0, 2 }, { DRAIN }, { SERVE, 0, 0, 3 }, { SERVED, 1, ADMIT_DRAINING });
}

static void an_item_goes_on_until_the_last_stage(void **state) {
        Pipeline p;

        pipeline_init(&p, 3, 1);
        assert_true(pipeline_goes_on(&p, 0));
        assert_true(pipeline_goes_on(&p, 1));
        assert_false(pipeline_goes_on(&p, 2));
        pipeline_init(&p, 1, 1);
        assert_false(pipeline_goes_on(&p, 0));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(credits_bound_what_is_inside),
                cmocka_unit_test(every_end_gives_the_credit_back),
                cmocka_unit_test(fewer_credits_only_stop_the_intake),
                cmocka_unit_test(more_than_there_are_credits_never_fit),
                cmocka_unit_test(a_draining_one_lets_nobody_in),
                cmocka_unit_test(nobody_passes_one_who_waits),
                cmocka_unit_test(who_gives_up_lets_the_next_one_in),
                cmocka_unit_test(who_can_never_come_in_is_told_so),
                cmocka_unit_test(an_item_goes_on_until_the_last_stage),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
