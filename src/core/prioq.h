/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Priority queue with aging: a FIFO per priority under a small heap of levels, and a side heap for
 * jobs that come out of order. Pure; not thread-safe: the caller holds its lock. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/heap.h"
#include "core/job.h"
#include "util/time.h"

typedef struct Prioq Prioq;
typedef struct PrioqLevel PrioqLevel;

/* Jobs of one priority, linked by Job.next and Job.prev. Both due_at and id only grow from head to
 * tail, so they are in order under any aging interval. All of them wait since their due_at, so the
 * head is also the one that waits longest. */
struct PrioqLevel {
        Job *head, *tail;   /* borrowed */
        int64_t key;        /* of the head; valid while there is one */
        uint64_t id;        /* of the head */
        usec_t last_due_at; /* of the last job that was appended, whether it is still in or not */
        uint64_t last_id;
        int16_t priority;
        uint16_t heap_index; /* valid while there is a head */
};

/* Does not move while it has jobs. */
struct Prioq {
        usec_t aging_interval;
        PrioqLevel *levels; /* owned, n_levels of them, never fewer; those in use are in `heap` */
        uint16_t *heap;     /* owned: indices of levels with jobs, least (key, id) first */
        uint16_t *index;    /* owned: priority - PRIORITY_MIN to index of its level + 1; 0 = none */
        uint16_t n_levels, n_allocated, n_heap;
        Heap side;
        Heap ages;               /* the same jobs, by job_waits_since() */
        uint64_t n_jobs, n_side; /* all, and those in `side` */
};

int prioq_init(Prioq *q, usec_t aging_interval); /* 0 or -ENOMEM */
void prioq_done(Prioq *q);                       /* the jobs still inside are forgotten */

/* Makes sure that a push at this priority finds room. 0, or -ENOMEM with nothing changed. */
int prioq_reserve(Prioq *q, int16_t priority);

/* Adds a job whose priority has been reserved. It needs details if its due_at or its id is below
 * that of a job that was pushed at this priority before. */
void prioq_push(Prioq *q, Job *job);

/* The same for n > 0 jobs of one priority and due_at, by ascending id. */
void prioq_push_all(Prioq *q, Job *const *jobs, size_t n);

/* Is that before a job that was pushed at this priority, which has been reserved? */
bool prioq_is_late(const Prioq *q, int16_t priority, usec_t due_at, uint64_t id);

/* The same for one whose due_at does not tell since when it waits: always beside the levels. */
void prioq_push_aside(Prioq *q, Job *job);

/* Puts back a job as it came out by prioq_pop(). O(1) if the last one out is the first one back,
 * otherwise it passes those that are back before it. */
void prioq_unpop(Prioq *q, Job *job);

Job *prioq_first(const Prioq *q); /* NULL if empty; the job stays in */
Job *prioq_pop(Prioq *q);         /* NULL if empty */

/* Takes the first ones out, up to `max`, in their order. Returns how many. */
size_t prioq_pop_some(Prioq *q, size_t max, Job **ret);
void prioq_remove(Prioq *q, Job *job);

/* Since when the job waits that waits longest; USEC_INFINITY if empty. O(levels). */
usec_t prioq_oldest(const Prioq *q);

/* Does a come before b? (due_at - priority x aging_interval, id), or with an infinite interval
 * (-priority, id). A strict total order that waiting does not change. */
bool prioq_before(const Prioq *q, const Job *a, const Job *b);

/* Re-keys what is inside: O(levels + side heap). */
void prioq_set_aging_interval(Prioq *q, usec_t aging_interval);

/* No more jobs of the side heap than this are looked at to count those before a job. */
#define PRIOQ_LOOKS_MAX 50000

/* How many jobs would be taken before this one, counted up to `max`: O(levels + max), and at worst
 * PRIOQ_LOOKS_MAX of the side heap, whose others are then left out of the count. */
uint64_t prioq_count_before(const Prioq *q, const Job *job, uint64_t max);

/* Which end of the queue is looked at. */
typedef enum PrioqEnd {
        PRIOQ_OLDEST, /* by the moment of becoming due */
        PRIOQ_LAST,   /* by the order of taking */
} PrioqEnd;

/* Room for what prioq_collect() may find. */
size_t prioq_collect_max(const Prioq *q, size_t n);

/* Finds candidates among which the n jobs nearest to that end are, in no order: O(levels x n + side
 * heap). Items of pipelines are passed over. They stay in. Returns their number. */
size_t prioq_collect(const Prioq *q, PrioqEnd end, size_t n, Job **ret);
