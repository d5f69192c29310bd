/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Pipeline: a chain of stages, and how many items may be inside. An item takes a credit when it
 * comes in and gives it back when it has ended, so what is inside needs no other bound: a slow last
 * stage uses the credits up, and the intake waits. Which pools the stages are, and where each item
 * is, others know. Pure; not thread-safe, but n_stages is constant and so may be read by anyone. */

#include <stdbool.h>
#include <stdint.h>

#include "core/job.h"
#include "core/scheduler.h"
#include "util/list.h"

#define PIPELINE_STAGES_MAX 64

/* At every moment: submitted = succeeded + failed + n_in_flight. */
struct Pipeline {
        uint32_t n_stages;      /* constant, 1 … PIPELINE_STAGES_MAX */
        uint64_t max_in_flight; /* credits; lowered below n_in_flight it only stops the intake */
        uint64_t n_in_flight;   /* those that are taken */
        bool draining;
        List line; /* AdmitWaiter.links: submits that wait for room, first come, first served */
        uint64_t submitted, succeeded, failed; /* failed: ended with any other result */
};

void pipeline_init(Pipeline *p, uint32_t n_stages, uint64_t max_in_flight);

/* May n items come in now? Not while others wait for room, unless it is their turn (`flags` are
 * AdmitFlag, of which only ADMIT_SERVED matters). Changes nothing. */
AdmitVerdict pipeline_ask(const Pipeline *p, uint64_t n, unsigned flags);

/* As many items as would be let in now. */
uint64_t pipeline_room(const Pipeline *p);

void pipeline_enter(Pipeline *p, uint64_t n);       /* n items that were let in take credits */
void pipeline_leave(Pipeline *p, JobResult result); /* one has ended, and gives its back */
void pipeline_withdraw(Pipeline *p, uint64_t n);    /* n that have just come in were not accepted */

/* Is there another stage after this one? Any thread. */
static inline bool pipeline_goes_on(const Pipeline *p, uint32_t stage) {
        return stage + 1 < p->n_stages;
}

/* The line of those who wait for room; as that of a Scheduler. */
void pipeline_line_join(Pipeline *p, AdmitWaiter *waiter);
void pipeline_line_leave(Pipeline *p, AdmitWaiter *waiter);

/* Takes the first one out if there is room for it, or if there never will be: then it is to ask
 * with ADMIT_SERVED. With `shut` there never is. NULL: nobody, or not yet. */
AdmitWaiter *pipeline_line_serve(Pipeline *p, bool shut);
