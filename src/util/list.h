/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Intrusive circular doubly linked list. A head and a member are the same type; an initialised link
 * that is in no list points to itself. Nothing is allocated. Not thread-safe: the caller holds what
 * guards the list. */

#include <stdbool.h>
#include <stddef.h>

#include "util/macro.h"

typedef struct List List;

struct List {
        List *next, *prev;
};

#define LIST_INIT(name) \
        { .next = &(name), .prev = &(name) }

static inline void list_init(List *l) {
        l->next = l->prev = l;
}

static inline bool list_is_empty(const List *head) {
        return head->next == head;
}

static inline bool list_is_linked(const List *l) {
        return l->next && l->next != l;
}

static inline void list_insert(List *prev, List *l, List *next) {
        l->prev = prev;
        l->next = next;
        prev->next = l;
        next->prev = l;
}

static inline void list_append(List *head, List *l) {
        list_insert(head->prev, l, head);
}

static inline void list_prepend(List *head, List *l) {
        list_insert(head, l, head->next);
}

/* Takes l out and leaves it initialised; fine for one that is in no list. */
static inline void list_remove(List *l) {
        l->prev->next = l->next;
        l->next->prev = l->prev;
        list_init(l);
}

static inline List *list_first(const List *head) {
        return list_is_empty(head) ? NULL : head->next;
}

/* Takes the first member out, NULL if there is none. */
static inline List *list_pop(List *head) {
        List *l = list_first(head);

        if (l)
                list_remove(l);
        return l;
}

/* Moves all members of `from` to the end of `to`. */
static inline void list_splice(List *to, List *from) {
        if (list_is_empty(from))
                return;
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        list_init(from);
}

#define list_entry(l, type, member) container_of(l, type, member)

/* Walks the list; the current member may be removed. */
#define list_for_each(i, head)                                         \
        for (List *i = (head)->next, *i##_next = i->next; i != (head); \
                i = i##_next, i##_next = i->next)
