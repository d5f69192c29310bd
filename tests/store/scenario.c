/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "scenario.h"

#include "core/random.h"
#include "util/strv.h"

static uint64_t below(Scenario *s, uint64_t n) {
        return random_below(&s->random, n);
}

static uint64_t some_job(Scenario *s) {
        return s->n_jobs > 0 ? s->jobs[below(s, s->n_jobs)] : 1;
}

static void submit(Scenario *s) {
        static const size_t counts[] = { 1, 1, 3, 20 }, sizes[] = { 0, 10, 200, 3000, 9000 };
        size_t n = counts[below(s, ELEMENTSOF(counts))];
        TryChange *c = try_submission(s->t, n, sizes[below(s, ELEMENTSOF(sizes))]);

        c->submission.priority = (int16_t) below(s, 100);
        c->change.submit.target = below(s, 8) == 0 ? "q" : "p";
        if (below(s, 4) == 0) {
                c->submission.tag = strdup("tag");
                assert_int_equal(strv_extend(&c->submission.arguments, "argument"), 0);
        }
        for (size_t i = 0; i < n && s->n_jobs < SCENARIO_JOBS_MAX; i++)
                s->jobs[s->n_jobs++] = c->jobs[i].id;
        try_post(s->t, c);
}

static void end(Scenario *s) {
        char output[4000];
        size_t size = below(s, sizeof(output));

        memset(output, 'o', size);
        output[size] = '\0';
        try_end(s->t, some_job(s), (JobResult) below(s, _JOB_RESULT_MAX), output);
}

static void wait_again(Scenario *s) {
        TryChange *c = try_wait_of(s->t, some_job(s), (uint32_t) below(s, 5));

        if (below(s, 2) == 0) {
                c->change.wait.stage = 1;
                c->change.wait.has_data = true;
                c->change.wait.data = strdup("of stage 1");
                c->change.wait.size = 10;
        }
        try_post(s->t, c);
}

static void priority(Scenario *s) {
        try_priority(s->t, some_job(s), (int16_t) below(s, 1000));
}

static void forget(Scenario *s) {
        uint64_t id = some_job(s);

        try_forget(s->t, id, 1 + (size_t) below(s, 10), below(s, 4) == 0 ? id : 0);
}

static void object(Scenario *s) {
        static const char *const names[] = { "p", "q", "r" };
        const char *name = names[below(s, ELEMENTSOF(names))];

        if (below(s, 3) > 0)
                try_object(s->t, "pool", name, below(s, 2) == 0 ? "a=1" : "b=2\nc=3");
        else if (strcmp(name, "p") != 0)
                try_forget_object(s->t, "pool", name);
}

void scenario_begin(Scenario *scenario, TryStore *t, uint64_t seed) {
        *scenario = (Scenario){ .t = t, .random = seed };
}

bool scenario_step(Scenario *s, bool *ret_orderly) {
        static void (*const kinds[])(Scenario * s) = {
                submit,
                submit,
                submit,
                end,
                end,
                wait_again,
                priority,
                forget,
                object,
        };
        static const size_t counts[] = { 1, 1, 2, 8 };

        if (below(s, 20) == 0) {
                *ret_orderly = below(s, 2) == 0;
                return false;
        }
        for (size_t n = counts[below(s, ELEMENTSOF(counts))]; n > 0; n--)
                kinds[below(s, ELEMENTSOF(kinds))](s);
        return true;
}

/* Without the thread, as what is there can be read only then. */
void scenario_expect(uint64_t seed, unsigned n_steps, char *texts[], const bool *left_out) {
        Scenario scenario;
        TryStore t;

        try_init(&t);
        try_open(&t, /* start= */ false);
        texts[0] = try_dump(&t);
        scenario_begin(&scenario, &t, seed);
        for (unsigned i = 1; i <= n_steps; i++) {
                bool orderly;

                t.refuses = left_out && left_out[i];
                if (!scenario_step(&scenario, &orderly)) {
                        try_close(&t, orderly);
                        try_open(&t, /* start= */ false);
                } else if (t.store->n_untold > 0)
                        assert_int_equal(try_wait(&t), 0);
                texts[i] = try_dump(&t);
        }
        try_close(&t, true);
        try_done(&t);
}
