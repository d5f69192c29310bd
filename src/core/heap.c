/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stddef.h>

#include "core/heap.h"

/* Joins two heaps of which neither has siblings. */
static HeapLink *heap_meld(const Heap *heap, HeapLink *a, HeapLink *b) {
        if (!a)
                return b;
        if (!b)
                return a;
        if (heap->before(b, a, heap->userdata)) {
                HeapLink *t = a;
                a = b;
                b = t;
        }
        b->next = a->child;
        b->prev = a;
        if (a->child)
                a->child->prev = b;
        a->child = b;
        return a;
}

/* Melds a chain of siblings into one heap: pairs from the left, then all from the right. */
static HeapLink *heap_meld_siblings(const Heap *heap, HeapLink *first) {
        HeapLink *pairs = NULL, *all = NULL;

        while (first) {
                HeapLink *a = first, *b = a->next;

                first = b ? b->next : NULL;
                a->next = a->prev = NULL;
                if (b)
                        b->next = b->prev = NULL;
                a = heap_meld(heap, a, b);
                a->next = pairs;
                pairs = a;
        }
        while (pairs) {
                HeapLink *a = pairs;

                pairs = a->next;
                a->next = NULL;
                all = heap_meld(heap, all, a);
        }
        return all;
}

void heap_insert(Heap *heap, HeapLink *link) {
        *link = (HeapLink){};
        heap->root = heap_meld(heap, heap->root, link);
        heap->root->prev = heap->root->next = NULL;
}

void heap_remove(Heap *heap, HeapLink *link) {
        HeapLink *orphans;

        assert(heap->root);

        orphans = heap_meld_siblings(heap, link->child);
        if (link == heap->root)
                heap->root = orphans;
        else {
                if (link->prev->child == link)
                        link->prev->child = link->next;
                else
                        link->prev->next = link->next;
                if (link->next)
                        link->next->prev = link->prev;
                heap->root = heap_meld(heap, heap->root, orphans);
        }
        if (heap->root)
                heap->root->prev = heap->root->next = NULL;
        *link = (HeapLink){};
}

void heap_rebuild(Heap *heap) {
        HeapLink *todo = heap->root;

        heap->root = NULL;

        /* The chain of what is still to be inserted runs along `next`; children go to its front. */
        while (todo) {
                HeapLink *link = todo;

                todo = link->next;
                if (link->child) {
                        HeapLink *last = link->child;

                        while (last->next)
                                last = last->next;
                        last->next = todo;
                        todo = link->child;
                }
                heap_insert(heap, link);
        }
}

/* The link after this one in a walk that passes by its children; NULL at the end. */
static const HeapLink *heap_next_aside(const HeapLink *link) {
        /* The next sibling, or that of the nearest parent that has one. */
        while (!link->next) {
                while (link->prev && link->prev->child != link)
                        link = link->prev;
                link = link->prev;
                if (!link)
                        return NULL;
        }
        return link->next;
}

const HeapLink *heap_next(const HeapLink *link) {
        return link->child ?: heap_next_aside(link);
}

/* A subtree whose root is not before the place has none that is. But roots of such subtrees can be
 * siblings in any number, so the search ends after some looks. */
uint64_t heap_count_before(const Heap *heap,
        bool (*is_before)(const HeapLink *link, const void *place), const void *place, uint64_t max,
        uint64_t max_looks) {
        const HeapLink *link = heap->root;
        uint64_t n = 0;

        for (uint64_t n_looks = 0; link && n < max && n_looks < max_looks; n_looks++) {
                bool before = is_before(link, place);

                n += before;
                link = before && link->child ? link->child : heap_next_aside(link);
        }
        return n;
}
