/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A walk through a table of steps, each of which is one call of a Scheduler, or what is expected of
 * it at that moment. */

#include <stddef.h>
#include <stdint.h>

#include "core/scheduler.h"
#include "util/macro.h"

#define NEVER USEC_INFINITY

typedef enum Call {
        SUBMIT,    /* job `id`, or `n` of them from it on, with the options */
        TAKE,      /* expect these jobs, in this order: all that can be taken, or `n` */
        NOTHING,   /* nothing can be taken: expect the moment to come again */
        START,     /* the claimed job `id` */
        UNCLAIM,   /* it goes back */
        FINISH,    /* the job succeeds */
        FAIL,      /* it fails for good */
        RETRY,     /* it fails, and is to wait up to `until` for another attempt */
        KICK,      /* it is put back */
        CANCEL,    /* expect the CancelVerdict `n` */
        REFUSE,    /* expect whether it could be */
        PRIORITY,  /* is changed */
        PAUSE,     /* nothing is taken from now on */
        RESUME,    /* ends pause and drain */
        DRAIN,     /* nothing is let in from now on */
        PLACES,    /* `n` of each key from now on */
        SIZE,      /* of a batch is `n` from now on */
        TIMEOUT,   /* of a batch is `until` from now on */
        QUEUE_MAX, /* is `n` from now on */
        OVERFLOW,  /* is `n` from now on */
        GATE,      /* refuses until `until` from now on; 0 = lets pass */
        PASSED,    /* so many times the gate was asked in all: `n` */
        JOIN,      /* somebody waits for room for `n` */
        LEAVE,     /* and does so no more */
        ADVANCE,   /* time passes, and these jobs end by it */
        TICK,      /* time passes: expect whether there is work */
        DROPS,     /* a submit of one job without a key drops these ones */
        FULL,      /* there is no room for one more */
        STATE,     /* expect the JobState `n` */
        PARKED,    /* so many jobs wait for their keys: `n` */
        ELIGIBLE,  /* so many could be taken: `n` */
        POSITION,  /* expect `n` */
        GATHERS,   /* expect whether it gathers for a batch */
        END_AT,    /* expect the end of the time-out at `until`; NEVER = nothing waits for it */
        WAITED,    /* expect the oldest to have waited until `until` */
        KNOWN,     /* so many keys are known: `n` */
} Call;

typedef struct Step {
        usec_t at;
        Call call;
        uint64_t id;
        const char *key;  /* of a submit; NULL = none */
        const char *jobs; /* ids, each followed by a blank */
        usec_t until;
        unsigned n;
        int16_t priority;
        uint32_t owner;
        usec_t delay, queue_timeout; /* 0 = none */
} Step;

/* With room for 10 jobs and an aging interval of 10, whatever the config says; a failed attempt
 * waits 10 for the next one. */
void scheduler_walk(const SchedulerConfig *config, const Step *steps, size_t n_steps);
