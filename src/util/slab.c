/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A page is 256 KiB, aligned to its size, so that an object finds its page by its address. Objects
 * that were never used are handed out in ascending order: they lie in memory as they lie in a
 * queue, and what was not handed out yet is not resident. A few empty pages are kept. */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#include "util/slab.h"

/* Under AddressSanitizer a free object may not be touched but for the link that we keep in it. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define object_allow(object) __asan_unpoison_memory_region((object), SLAB_OBJECT_SIZE)
#define object_forbid(object) \
        __asan_poison_memory_region((SlabFree *) (object) + 1, SLAB_OBJECT_SIZE - sizeof(SlabFree))
#define page_allow(page) __asan_unpoison_memory_region((page), PAGE_SIZE)
#else
#define object_allow(object) ((void) (object))
#define object_forbid(object) ((void) (object))
#define page_allow(page) ((void) (page))
#endif

#define PAGE_SIZE ((size_t) 256 * 1024)
#define PAGE_OBJECTS ((PAGE_SIZE - sizeof(SlabPage)) / SLAB_OBJECT_SIZE)

typedef struct SlabFree SlabFree;
typedef struct SlabPage SlabPage;

struct SlabFree {
        SlabFree *next;
};

struct SlabPage {
        List links; /* in Slab.partial while it has room, else in Slab.full */
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
        if (page->free) {
                object = page->free;
                page->free = page->free->next;
        } else
                object = (uint8_t *) (page + 1) + (size_t) page->n_touched++ * SLAB_OBJECT_SIZE;
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
        SlabFree *free_object = object;

        free_object->next = page->free;
        page->free = free_object;
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
