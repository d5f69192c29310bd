/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A page is 256 KiB, aligned to its size, so that an object finds its page by its address. Objects
 * that were never used are handed out in ascending order: they lie in memory as they lie in a
 * queue, and what was not handed out yet is not resident. A few empty pages are kept. */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#include "util/slab.h"

#define PAGE_SIZE ((size_t) 256 * 1024)

/* Room that is kept for the next burst: mapping pages anew costs a fault per 4 KiB. */
#define SPARE_PAGES 16
#define PAGE_OBJECTS ((PAGE_SIZE - sizeof(SlabPage)) / SLAB_OBJECT_SIZE)

typedef struct SlabFree SlabFree;
typedef struct SlabPage SlabPage;

struct SlabFree {
        SlabFree *next;
};

struct SlabPage {
        List links; /* in Slab.partial while it has room */
        SlabFree *free;
        uint32_t n_used;    /* objects in use */
        uint32_t n_touched; /* objects that were ever used: the rest follows them */
} __attribute__((aligned(SLAB_OBJECT_SIZE)));

static SlabPage *page_of(void *object) {
        return (SlabPage *) ((uintptr_t) object & ~(uintptr_t) (PAGE_SIZE - 1));
}

/* mmap() aligns to 4 KiB only, so twice as much is mapped and the ends are given back. */
static SlabPage *page_new(void) {
        uintptr_t start, aligned;
        void *p;

        p = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
                return NULL;
        start = (uintptr_t) p;
        aligned = (start + PAGE_SIZE - 1) & ~(uintptr_t) (PAGE_SIZE - 1);
        if (aligned > start)
                (void) munmap(p, aligned - start);
        if (start + PAGE_SIZE > aligned)
                (void) munmap((void *) (aligned + PAGE_SIZE), start + PAGE_SIZE - aligned);
        return (SlabPage *) aligned;
}

void slab_init(Slab *slab) {
        *slab = (Slab){};
        list_init(&slab->partial);
}

void slab_done(Slab *slab) {
        List *l;

        while ((l = list_pop(&slab->partial)))
                (void) munmap(list_entry(l, SlabPage, links), PAGE_SIZE);
}

int slab_reserve(Slab *slab, size_t n) {
        while (slab->n_free < n) {
                SlabPage *page = page_new();

                if (!page)
                        return -ENOMEM;
                list_append(&slab->partial, &page->links);
                slab->n_free += PAGE_OBJECTS;
                slab->n_pages++;
        }
        return 0;
}

void *slab_alloc(Slab *slab) {
        List *l = list_first(&slab->partial);
        SlabPage *page;
        void *object;

        assert(l);
        page = list_entry(l, SlabPage, links);
        if (page->free) {
                object = page->free;
                page->free = page->free->next;
        } else
                object = (uint8_t *) (page + 1) + (size_t) page->n_touched++ * SLAB_OBJECT_SIZE;
        if (++page->n_used == PAGE_OBJECTS)
                list_remove(&page->links);
        slab->n_free--;
        slab->n_objects++;
        return object;
}

void slab_free(Slab *slab, void *object) {
        SlabPage *page = page_of(object);
        SlabFree *free_object = object;

        free_object->next = page->free;
        page->free = free_object;
        slab->n_free++;
        slab->n_objects--;
        if (page->n_used-- == PAGE_OBJECTS)
                list_append(&slab->partial, &page->links);
        if (page->n_used == 0 && slab->n_free >= (SPARE_PAGES + 1) * PAGE_OBJECTS) {
                list_remove(&page->links);
                (void) munmap(page, PAGE_SIZE);
                slab->n_free -= PAGE_OBJECTS;
                slab->n_pages--;
        }
}
