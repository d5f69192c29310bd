/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986): intrusive, so queueing allocates nothing
 * and any member can leave. Insert O(1), removal O(log n) amortised. Pure; not thread-safe. */

#include <stdbool.h>
#include <stdint.h>

#include "core/job.h"

typedef struct Heap Heap;

/* Does a come before b? A strict order. */
typedef bool (*HeapBefore)(const HeapLink *a, const HeapLink *b, const void *userdata);

struct Heap {
        HeapLink *root; /* borrowed; its prev is NULL; prev of a first child is its parent */
        HeapBefore before;
        const void *userdata; /* handed to before() */
};

static inline void heap_init(Heap *heap, HeapBefore before, const void *userdata) {
        *heap = (Heap){ .before = before, .userdata = userdata };
}

static inline HeapLink *heap_first(const Heap *heap) {
        return heap->root;
}

void heap_insert(Heap *heap, HeapLink *link);
void heap_remove(Heap *heap, HeapLink *link); /* link is a member */

/* The member after this one in a walk through all of them, in no order; NULL at the end. */
const HeapLink *heap_next(const HeapLink *link);

/* How many members come before a certain place in the order, counted up to `max`. If is_before()
 * does not hold of a member, it holds of none that comes after it. No more than max_looks members
 * are looked at; others are then left out of the count. */
uint64_t heap_count_before(const Heap *heap,
        bool (*is_before)(const HeapLink *link, const void *place), const void *place, uint64_t max,
        uint64_t max_looks);

/* Puts all members in order again after the order itself has changed; O(n). */
void heap_rebuild(Heap *heap);
