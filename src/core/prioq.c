/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* All keys age alike, so the order of two jobs never changes while they wait, and within one
 * priority it is the order in which they became due (by id where priority is strict). Nearly every
 * job is pushed in that order: it is appended to the list of its priority in O(1), and only the
 * heads of the lists compete, in a binary heap with as many entries as there are priorities in use.
 * What comes out of order (a retry, a delay that ends, a changed priority) goes to a pairing heap,
 * and a pop compares the two tops. One binary heap of all jobs was two to five times slower at 10^3
 * to 10^7 jobs: each of its steps is a cache miss.
 *
 * A job is appended only if neither its due_at nor its id is below that of any that was appended to
 * its level before. So a level is in order for a finite and for an infinite interval alike, and a
 * job that was popped still fits into it when it comes back, whatever was pushed in between.
 *
 * The heap of levels caches the key of each head, so that sifting does not touch jobs. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/prioq.h"
#include "util/macro.h"

#define N_PRIORITIES (PRIORITY_MAX - PRIORITY_MIN + 1)

/* |priority| <= 1000 and aging_interval <= 1 year < 2^45 us: the product stays below 2^55. */
static int64_t prioq_key(const Prioq *q, int16_t priority, usec_t due_at) {
        if (q->aging_interval == USEC_INFINITY)
                return -(int64_t) priority;
        return (int64_t) due_at - (int64_t) priority * (int64_t) q->aging_interval;
}

bool prioq_before(const Prioq *q, const Job *a, const Job *b) {
        int64_t ka = prioq_key(q, a->priority, a->due_at),
                kb = prioq_key(q, b->priority, b->due_at);

        return ka != kb ? ka < kb : a->id < b->id;
}

static Job *job_of_order(const HeapLink *link) {
        return container_of(link, JobDetails, order)->job;
}

static bool side_before(const HeapLink *a, const HeapLink *b, const void *userdata) {
        return prioq_before(userdata, job_of_order(a), job_of_order(b));
}

static Job *job_of_age(const HeapLink *link) {
        return container_of(link, JobDetails, age)->job;
}

static bool older(const HeapLink *a, const HeapLink *b, const void *userdata) {
        const Job *ja = job_of_age(a), *jb = job_of_age(b);
        usec_t ta = job_waits_since(ja), tb = job_waits_since(jb);

        return ta != tb ? ta < tb : ja->id < jb->id;
}

int prioq_init(Prioq *q, usec_t aging_interval) {
        uint16_t *index = calloc(N_PRIORITIES, sizeof(*index));

        if (!index)
                return -ENOMEM;
        *q = (Prioq){ .aging_interval = aging_interval, .index = index };
        heap_init(&q->side, side_before, q);
        heap_init(&q->ages, older, NULL);
        return 0;
}

void prioq_done(Prioq *q) {
        free(q->levels);
        free(q->heap);
        free(q->index);
        *q = (Prioq){};
}

int prioq_reserve(Prioq *q, int16_t priority) {
        uint16_t *slot = &q->index[priority - PRIORITY_MIN];

        if (likely(*slot))
                return 0;
        if (q->n_levels == q->n_allocated) {
                uint16_t n = q->n_allocated ? q->n_allocated * 2 : 4;
                PrioqLevel *levels;
                uint16_t *heap;

                heap = realloc(q->heap, n * sizeof(*heap));
                if (!heap)
                        return -ENOMEM;
                q->heap = heap;
                levels = realloc(q->levels, n * sizeof(*levels));
                if (!levels)
                        return -ENOMEM;
                q->levels = levels;
                q->n_allocated = n;
        }
        q->levels[q->n_levels] = (PrioqLevel){ .priority = priority };
        *slot = ++q->n_levels;
        return 0;
}

/* ---- the heap of levels ---- */

static bool level_before(const Prioq *q, uint16_t a, uint16_t b) {
        const PrioqLevel *la = &q->levels[a], *lb = &q->levels[b];

        return la->key != lb->key ? la->key < lb->key : la->id < lb->id;
}

/* The job is of a level too, which need not have it as its head. */
static bool job_is_before_level(const Prioq *q, const Job *job, const PrioqLevel *level) {
        int64_t key = prioq_key(q, job->priority, job->due_at);

        return key != level->key ? key < level->key : job->id < level->id;
}

static void heap_place(Prioq *q, uint16_t at, uint16_t level) {
        q->heap[at] = level;
        q->levels[level].heap_index = at;
}

static void heap_sift_up(Prioq *q, uint16_t at) {
        uint16_t level = q->heap[at];

        while (at > 0) {
                uint16_t parent = (at - 1) / 2;

                if (!level_before(q, level, q->heap[parent]))
                        break;
                heap_place(q, at, q->heap[parent]);
                at = parent;
        }
        heap_place(q, at, level);
}

static void heap_sift_down(Prioq *q, uint16_t at) {
        uint16_t level = q->heap[at];

        for (;;) {
                uint32_t child = 2 * (uint32_t) at + 1;

                if (child >= q->n_heap)
                        break;
                if (child + 1 < q->n_heap && level_before(q, q->heap[child + 1], q->heap[child]))
                        child++;
                if (!level_before(q, q->heap[child], level))
                        break;
                heap_place(q, at, q->heap[child]);
                at = (uint16_t) child;
        }
        heap_place(q, at, level);
}

static void level_read_head(const Prioq *q, PrioqLevel *level) {
        level->key = prioq_key(q, level->priority, level->head->due_at);
        level->id = level->head->id;
        /* The next head is read when this one leaves. With many jobs that is the one cache miss of
         * a pop, so it is fetched while there are other things to do. */
        __builtin_prefetch(level->head->next);
}

static PrioqLevel *level_of(const Prioq *q, int16_t priority) {
        assert(q->index[priority - PRIORITY_MIN]);
        return &q->levels[q->index[priority - PRIORITY_MIN] - 1];
}

static void level_remove_head(Prioq *q, PrioqLevel *level) {
        uint16_t at = level->heap_index;

        level->head = level->head->next;
        if (level->head) {
                level->head->prev = NULL;
                level_read_head(q, level);
                /* Keys only grow along a level. */
                if (q->n_heap > 1)
                        heap_sift_down(q, at);
                return;
        }
        level->tail = NULL;
        q->n_heap--;
        if (at < q->n_heap) {
                heap_place(q, at, q->heap[q->n_heap]);
                heap_sift_down(q, at);
                heap_sift_up(q, at);
        }
}

static void level_add_head(Prioq *q, PrioqLevel *level, Job *job) {
        bool is_new = !level->head;

        job->prev = NULL;
        job->next = level->head;
        if (level->head)
                level->head->prev = job;
        else
                level->tail = job;
        level->head = job;
        level_read_head(q, level);
        if (is_new)
                heap_place(q, q->n_heap++, (uint16_t) (level - q->levels));
        heap_sift_up(q, level->heap_index);
}

static void level_insert_after(PrioqLevel *level, Job *after, Job *job) {
        job->prev = after;
        job->next = after->next;
        if (after->next)
                after->next->prev = job;
        else
                level->tail = job;
        after->next = job;
}

/* ---- the side heap ---- */

static void side_add(Prioq *q, Job *job) {
        assert(job->details);
        heap_insert(&q->side, &job->details->order);
        heap_insert(&q->ages, &job->details->age);
        q->n_side++;
}

static void side_remove(Prioq *q, Job *job) {
        heap_remove(&q->side, &job->details->order);
        heap_remove(&q->ages, &job->details->age);
        q->n_side--;
}

/* ---- jobs ---- */

void prioq_push(Prioq *q, Job *job) {
        PrioqLevel *level = level_of(q, job->priority);

        q->n_jobs++;
        job->flags &= (uint8_t) ~JOB_OUT_OF_ORDER;
        if (likely(job->due_at >= level->last_due_at && job->id >= level->last_id)) {
                level->last_due_at = job->due_at;
                level->last_id = job->id;
                if (level->head)
                        level_insert_after(level, level->tail, job);
                else
                        level_add_head(q, level, job);
        } else {
                job->flags |= JOB_OUT_OF_ORDER;
                side_add(q, job);
        }
}

void prioq_push_all(Prioq *q, Job *const *jobs, size_t n) {
        PrioqLevel *level = level_of(q, jobs[0]->priority);
        Job *last;

        /* The first one finds its place as any other, and the rest follows it, unless it had to go
         * aside. */
        prioq_push(q, jobs[0]);
        last = jobs[0];
        if (unlikely(last->flags & JOB_OUT_OF_ORDER)) {
                for (size_t i = 1; i < n; i++)
                        prioq_push(q, jobs[i]);
                return;
        }
        for (size_t i = 1; i < n; i++) {
                Job *job = jobs[i];

                job->flags &= (uint8_t) ~JOB_OUT_OF_ORDER;
                job->prev = last;
                last->next = job;
                last = job;
        }
        last->next = NULL;
        level->tail = last;
        level->last_id = last->id;
        q->n_jobs += n - 1;
}

bool prioq_is_late(const Prioq *q, int16_t priority, usec_t due_at, uint64_t id) {
        const PrioqLevel *level = level_of(q, priority);

        return due_at < level->last_due_at || id < level->last_id;
}

void prioq_push_aside(Prioq *q, Job *job) {
        q->n_jobs++;
        job->flags |= JOB_OUT_OF_ORDER;
        side_add(q, job);
}

void prioq_unpop(Prioq *q, Job *job) {
        PrioqLevel *level;
        Job *after;

        q->n_jobs++;
        if (unlikely(job->flags & JOB_OUT_OF_ORDER)) {
                side_add(q, job);
                return;
        }

        level = level_of(q, job->priority);
        if (!level->head || job->id < level->head->id) {
                level_add_head(q, level, job);
                return;
        }
        /* Several takers give back what they had, in any order: only such jobs can be in front. */
        for (after = level->head; after->next && after->next->id < job->id;)
                after = after->next;
        level_insert_after(level, after, job);
}

Job *prioq_first(const Prioq *q) {
        HeapLink *side = heap_first(&q->side);
        Job *job = q->n_heap > 0 ? q->levels[q->heap[0]].head : NULL;

        if (unlikely(side) && (!job || prioq_before(q, job_of_order(side), job)))
                return job_of_order(side);
        return job;
}

usec_t prioq_oldest(const Prioq *q) {
        const HeapLink *side = heap_first(&q->ages);
        usec_t t = side ? job_waits_since(job_of_age(side)) : USEC_INFINITY;

        for (uint16_t i = 0; i < q->n_heap; i++)
                t = MIN(t, q->levels[q->heap[i]].head->due_at);
        return t;
}

void prioq_remove(Prioq *q, Job *job) {
        PrioqLevel *level;

        q->n_jobs--;
        if (unlikely(job->flags & JOB_OUT_OF_ORDER)) {
                job->flags &= (uint8_t) ~JOB_OUT_OF_ORDER;
                side_remove(q, job);
                return;
        }

        level = level_of(q, job->priority);
        if (level->head == job)
                level_remove_head(q, level);
        else {
                job->prev->next = job->next;
                if (job->next)
                        job->next->prev = job->prev;
                else
                        level->tail = job->prev;
        }
        job->next = job->prev = NULL;
}

Job *prioq_pop(Prioq *q) {
        Job *job = prioq_first(q);

        if (!job)
                return NULL;
        q->n_jobs--;
        /* That flag stays, so that prioq_unpop() knows where the job came from. */
        if (unlikely(job->flags & JOB_OUT_OF_ORDER))
                side_remove(q, job);
        else {
                level_remove_head(q, &q->levels[q->heap[0]]);
                job->next = job->prev = NULL;
        }
        return job;
}

/* The level that is next after the first one; NULL = there is none. */
static const PrioqLevel *second_level(const Prioq *q) {
        uint16_t at = 1;

        if (q->n_heap < 2)
                return NULL;
        if (q->n_heap > 2 && level_before(q, q->heap[2], q->heap[1]))
                at = 2;
        return &q->levels[q->heap[at]];
}

/* Jobs that came together mostly lie in a row in their slab. Another CPU has written them, so it is
 * worth to fetch one before the pointer to it is known; to guess wrong costs nothing. */
static void fetch_later(const Job *job) {
        uintptr_t here = (uintptr_t) job, next = (uintptr_t) job->next;

        __builtin_prefetch((const void *) (next + 3 * (next - here)), 1);
}

/* Takes jobs from the first level while it is the first one, but not its last job. */
static size_t pop_from_first_level(Prioq *q, size_t max, Job **ret) {
        PrioqLevel *level = &q->levels[q->heap[0]];
        const PrioqLevel *second = second_level(q);
        Job *job = level->head;
        size_t n = 0;

        while (n < max && job->next && (!second || job_is_before_level(q, job, second))) {
                ret[n] = job;
                fetch_later(job);
                job = job->next;
                ret[n]->next = ret[n]->prev = NULL;
                n++;
        }
        if (n == 0)
                return 0;
        job->prev = NULL;
        level->head = job;
        level_read_head(q, level);
        if (second)
                heap_sift_down(q, 0);
        q->n_jobs -= n;
        return n;
}

size_t prioq_pop_some(Prioq *q, size_t max, Job **ret) {
        size_t n = 0, k;

        while (n < max && q->n_jobs > 0) {
                k = q->n_side == 0 ? pop_from_first_level(q, max - n, ret + n) : 0;
                n += k;
                if (k == 0)
                        ret[n++] = prioq_pop(q);
        }
        return n;
}

void prioq_set_aging_interval(Prioq *q, usec_t aging_interval) {
        q->aging_interval = aging_interval;
        for (uint16_t i = 0; i < q->n_levels; i++)
                if (q->levels[i].head)
                        level_read_head(q, &q->levels[i]);
        for (uint16_t i = q->n_heap; i-- > 0;)
                heap_sift_down(q, i);
        heap_rebuild(&q->side);
}

typedef struct Place {
        const Prioq *queue;
        const Job *job;
} Place;

static bool is_before_place(const HeapLink *link, const void *place) {
        const Place *p = place;

        return prioq_before(p->queue, job_of_order(link), p->job);
}

uint64_t prioq_count_before(const Prioq *q, const Job *job, uint64_t max) {
        const Place place = { .queue = q, .job = job };
        uint64_t n = heap_count_before(&q->side, is_before_place, &place, max, PRIOQ_LOOKS_MAX);

        for (uint16_t i = 0; i < q->n_heap && n < max; i++)
                for (const Job *j = q->levels[q->heap[i]].head; j && n < max; j = j->next) {
                        if (!prioq_before(q, j, job))
                                break;
                        n++;
                }
        return MIN(n, max);
}

/* ---- the ends ---- */

size_t prioq_collect_max(const Prioq *q, size_t n) {
        uint64_t in_levels = MIN((uint64_t) n * q->n_heap, q->n_jobs - q->n_side);

        return (size_t) (in_levels + q->n_side);
}

/* Both due_at and order grow along a level, so its ends are those of its jobs. */
static size_t level_collect(const PrioqLevel *level, PrioqEnd end, size_t n, Job **ret) {
        Job *job = end == PRIOQ_OLDEST ? level->head : level->tail;
        size_t k = 0;

        for (; job && k < n; job = end == PRIOQ_OLDEST ? job->next : job->prev)
                if (!job->submission->pipeline)
                        ret[k++] = job;
        return k;
}

size_t prioq_collect(const Prioq *q, PrioqEnd end, size_t n, Job **ret) {
        size_t k = 0;

        for (uint16_t i = 0; i < q->n_heap; i++)
                k += level_collect(&q->levels[q->heap[i]], end, n, ret + k);
        for (const HeapLink *link = q->side.root; link; link = heap_next(link))
                if (!job_of_order(link)->submission->pipeline)
                        ret[k++] = job_of_order(link);
        return k;
}
