/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Slab allocator for many small objects of one size, 64 bytes each: no header per object, pages
 * that go back to the kernel when they are empty. Not thread-safe: one thread owns it. */

#include <stddef.h>

#include "util/list.h"

typedef struct Slab Slab;

#define SLAB_OBJECT_SIZE 64

/* Pages of 256 KiB that are kept for the next burst: mapping them anew costs a fault per 4 KiB. */
#define SLAB_SPARE_PAGES 16

struct Slab {
        List partial; /* pages with room; the first one is used next */
        List full;    /* pages without */
        size_t n_objects, n_pages;
        size_t n_free; /* objects that need no new page */
};

void slab_init(Slab *slab);
void slab_done(Slab *slab); /* the objects still in use go as well */

/* Makes sure that the next n calls of slab_alloc() succeed. 0 or -ENOMEM. */
int slab_reserve(Slab *slab, size_t n);

void *slab_alloc(Slab *slab); /* 64 bytes, aligned to that, not cleared; needs slab_reserve() */
void slab_free(Slab *slab, void *object);
