/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986): intrusive, so queueing allocates nothing
 * and any member can leave. Insert O(1), removal O(log n) amortised. Pure; not thread-safe. */

#include <stdbool.h>

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

/* Puts all members in order again after the order itself has changed; O(n). */
void heap_rebuild(Heap *heap);
