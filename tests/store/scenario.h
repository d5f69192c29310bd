/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A random life of a state, in steps: each is one transaction, or the end of the daemon and its
 * next start. A seed repeats it. */

#include "try.h"

typedef struct Scenario Scenario;

#define SCENARIO_JOBS_MAX 512

struct Scenario {
        uint64_t random;
        TryStore *t;
        uint64_t jobs[SCENARIO_JOBS_MAX]; /* ids of what there may be */
        size_t n_jobs;
};

void scenario_begin(Scenario *scenario, TryStore *t, uint64_t seed);

/* Posts the next step. False: it is an end and a start, which the caller does; *ret_orderly says
 * how.
 */
bool scenario_step(Scenario *scenario, bool *ret_orderly);

/* After a new start: ids go on from there. What the state is after each step, as it would be found
 * if the daemon ended then, into texts[0 … n_steps]; each is malloc()ed. In a directory of its own.
 */
void scenario_expect(uint64_t seed, unsigned n_steps, char *texts[], const bool *left_out);
