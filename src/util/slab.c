/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A page is 256 KiB, aligned to its size, so that an object finds its page by its address. Objects
 * that were never used are handed out in ascending order: they lie in memory as they lie in a
 * queue, and what was not handed out yet is not resident. A few empty pages are kept.
 *
 * Free objects are known by a stack of numbers in their page, and are not looked at: another CPU
 * may have worked with them last, so that to read a link in one is to wait for that CPU. */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#include "util/slab.h"

/* Under AddressSanitizer a free object may not be touched. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define object_allow(object) __asan_unpoison_memory_region((object), SLAB_OBJECT_SIZE)
#define object_forbid(object) __asan_poison_memory_region((object), SLAB_OBJECT_SIZE)
#define page_allow(page) __asan_unpoison_memory_region((page), PAGE_SIZE)
#else
#define object_allow(object) ((void) (object))
#define object_forbid(object) ((void) (object))
#define page_allow(page) ((void) (page))
#endif

#define PAGE_SIZE ((size_t) 256 * 1024)
#define PAGE_OBJECTS 3971

/* That many objects from now on will be at hand by the time that they are asked for. */
#define LOOK_AHEAD 4

typedef struct SlabPage SlabPage;

struct SlabPage {
        List links;                  /* in Slab.partial while it has room, else in Slab.full */
        uint16_t n_used;             /* objects in use */
        uint16_t n_touched;          /* objects that were ever used: the rest follows them */
        uint16_t n_free;             /* objects that are free again: … */
        uint16_t free[PAGE_OBJECTS]; /* … these, the last one of which is used next */
        uint8_t objects[PAGE_OBJECTS][SLAB_OBJECT_SIZE] __attribute__((aligned(SLAB_OBJECT_SIZE)));
};

_Static_assert(sizeof(SlabPage) == PAGE_SIZE, "as many objects as there is room for");

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

static void page_free(SlabPage *page) {
        /* The next one to be mapped there knows nothing of our objects. */
        page_allow(page);
        (void) munmap(page, PAGE_SIZE);
}

void slab_init(Slab *slab) {
        *slab = (Slab){};
        list_init(&slab->partial);
        list_init(&slab->full);
}

void slab_done(Slab *slab) {
        List *l;

        list_splice(&slab->partial, &slab->full);
        while ((l = list_pop(&slab->partial)))
                page_free(list_entry(l, SlabPage, links));
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
        if (page->n_free > 0) {
                object = page->objects[page->free[--page->n_free]];
                if (page->n_free >= LOOK_AHEAD)
                        __builtin_prefetch(page->objects[page->free[page->n_free - LOOK_AHEAD]], 1);
        } else
                object = page->objects[page->n_touched++];
        object_allow(object);
        if (++page->n_used == PAGE_OBJECTS) {
                list_remove(&page->links);
                list_append(&slab->full, &page->links);
        }
        slab->n_free--;
        slab->n_objects++;
        return object;
}

void slab_free(Slab *slab, void *object) {
        SlabPage *page = page_of(object);
        size_t offset = (size_t) ((uint8_t *) object - page->objects[0]);

        page->free[page->n_free++] = (uint16_t) (offset / SLAB_OBJECT_SIZE);
        object_forbid(object);
        slab->n_free++;
        slab->n_objects--;
        if (page->n_used-- == PAGE_OBJECTS) {
                list_remove(&page->links);
                list_append(&slab->partial, &page->links);
        }
        if (page->n_used == 0 && slab->n_free >= (SLAB_SPARE_PAGES + 1) * PAGE_OBJECTS) {
                list_remove(&page->links);
                page_free(page);
                slab->n_free -= PAGE_OBJECTS;
                slab->n_pages--;
        }
}
