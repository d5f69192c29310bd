/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/heap.h"
#include "core/random.h"
#include "util/macro.h"

typedef struct Node {
        HeapLink link;
        int value;
        bool member;
} Node;

static int value_of(const HeapLink *link) {
        return container_of(link, Node, link)->value;
}

/* The order can be turned round, for heap_rebuild(). */
static bool value_before(const HeapLink *a, const HeapLink *b, const void *userdata) {
        const bool *descending = userdata;

        return *descending ? value_of(a) > value_of(b) : value_of(a) < value_of(b);
}

/* Of all members, the one that an array that is kept in order would have first. */
static Node *array_first(Node *nodes, size_t n, bool descending) {
        Node *first = NULL;

        for (size_t i = 0; i < n; i++)
                if (nodes[i].member && (!first || (descending ? nodes[i].value > first->value
                                                              : nodes[i].value < first->value)))
                        first = &nodes[i];
        return first;
}

static void an_empty_heap_has_no_first(void **state) {
        bool descending = false;
        Heap heap;

        heap_init(&heap, value_before, &descending);
        assert_null(heap_first(&heap));
        heap_rebuild(&heap);
        assert_null(heap_first(&heap));
}

static void any_history_gives_what_a_sorted_array_gives(void **state) {
        for (uint64_t seed = 0; seed < 200; seed++) {
                uint64_t random = seed;
                bool descending = false;
                Node nodes[100] = {};
                Heap heap;

                heap_init(&heap, value_before, &descending);
                /* Values are distinct: a heap is a strict order. */
                for (size_t i = 0; i < ELEMENTSOF(nodes); i++)
                        nodes[i].value = (int) (i * 37 % ELEMENTSOF(nodes));

                for (int step = 0; step < 1000; step++) {
                        Node *node = &nodes[random_below(&random, ELEMENTSOF(nodes))], *first;
                        uint64_t call = random_below(&random, 100);

                        if (call < 2) {
                                descending = !descending;
                                heap_rebuild(&heap);
                        } else if (call < 30 && heap_first(&heap)) {
                                node = container_of(heap_first(&heap), Node, link);
                                heap_remove(&heap, &node->link);
                                node->member = false;
                        } else if (node->member) {
                                heap_remove(&heap, &node->link);
                                node->member = false;
                        } else {
                                heap_insert(&heap, &node->link);
                                node->member = true;
                        }

                        first = array_first(nodes, ELEMENTSOF(nodes), descending);
                        assert_ptr_equal(heap_first(&heap), first ? &first->link : NULL);
                }

                for (Node *first;
                        (first = array_first(nodes, ELEMENTSOF(nodes), descending)) != NULL;) {
                        assert_ptr_equal(heap_first(&heap), &first->link);
                        heap_remove(&heap, &first->link);
                        first->member = false;
                }
                assert_null(heap_first(&heap));
        }
}

static void a_rebuilt_heap_holds_every_member_in_the_new_order(void **state) {
        static Node nodes[1000];
        bool descending = false;
        Heap heap;

        heap_init(&heap, value_before, &descending);
        for (size_t i = 0; i < ELEMENTSOF(nodes); i++) {
                nodes[i].value = (int) i;
                heap_insert(&heap, &nodes[i].link);
        }
        /* A removal makes the tree deep, so that the rebuild meets children of children. */
        heap_remove(&heap, &nodes[0].link);

        descending = true;
        heap_rebuild(&heap);
        for (size_t i = ELEMENTSOF(nodes) - 1; i > 0; i--) {
                assert_ptr_equal(heap_first(&heap), &nodes[i].link);
                heap_remove(&heap, &nodes[i].link);
        }
        assert_null(heap_first(&heap));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_empty_heap_has_no_first),
                cmocka_unit_test(any_history_gives_what_a_sorted_array_gives),
                cmocka_unit_test(a_rebuilt_heap_holds_every_member_in_the_new_order),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
