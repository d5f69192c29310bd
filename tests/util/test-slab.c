/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/macro.h"
#include "util/slab.h"

/* More than fit into the pages that are kept. */
#define MANY ((size_t) (SLAB_SPARE_PAGES + 3) * 256 * 1024 / SLAB_OBJECT_SIZE)

static void take(Slab *slab, void **objects, size_t n) {
        assert_int_equal(slab_reserve(slab, n), 0);
        for (size_t i = 0; i < n; i++) {
                objects[i] = slab_alloc(slab);
                assert_non_null(objects[i]);
                assert_int_equal((uintptr_t) objects[i] % SLAB_OBJECT_SIZE, 0);
                memset(objects[i], (int) (i % 251), SLAB_OBJECT_SIZE);
        }
}

static void assert_holds(const void *object, size_t i) {
        const uint8_t *bytes = object;

        for (size_t k = 0; k < SLAB_OBJECT_SIZE; k++)
                assert_int_equal(bytes[k], i % 251);
}

static void objects_do_not_overlap(void **state) {
        static void *objects[MANY];
        Slab slab;

        slab_init(&slab);
        take(&slab, objects, MANY);
        assert_int_equal(slab.n_objects, MANY);
        for (size_t i = 0; i < MANY; i++)
                assert_holds(objects[i], i);
        for (size_t i = 0; i < MANY; i++)
                slab_free(&slab, objects[i]);
        assert_int_equal(slab.n_objects, 0);
        slab_done(&slab);
}

static void new_objects_come_in_ascending_order(void **state) {
        void *objects[1000];
        Slab slab;

        slab_init(&slab);
        take(&slab, objects, ELEMENTSOF(objects));
        for (size_t i = 1; i < ELEMENTSOF(objects); i++)
                assert_ptr_equal(objects[i], (uint8_t *) objects[i - 1] + SLAB_OBJECT_SIZE);
        slab_done(&slab);
}

static void empty_pages_go_back_but_for_a_few(void **state) {
        static void *objects[MANY];
        size_t n_pages;
        Slab slab;

        slab_init(&slab);
        take(&slab, objects, MANY);
        n_pages = slab.n_pages;
        assert_true(n_pages > SLAB_SPARE_PAGES + 1);
        for (size_t i = 0; i < MANY; i++)
                slab_free(&slab, objects[i]);
        assert_int_equal(slab.n_pages, SLAB_SPARE_PAGES);

        /* One object to and fro costs no mapping. */
        for (int i = 0; i < 10; i++) {
                take(&slab, objects, 1);
                assert_int_equal(slab.n_pages, SLAB_SPARE_PAGES);
                slab_free(&slab, objects[0]);
        }
        slab_done(&slab);
}

static void a_hole_in_a_full_page_is_filled(void **state) {
        static void *objects[MANY];
        size_t n_pages;
        Slab slab;

        slab_init(&slab);
        take(&slab, objects, MANY);
        assert_int_equal(slab_reserve(&slab, slab.n_free), 0);
        n_pages = slab.n_pages;
        while (slab.n_free > 0)
                memset(slab_alloc(&slab), 0, SLAB_OBJECT_SIZE);
        for (size_t i = 0; i < MANY; i += 7)
                slab_free(&slab, objects[i]);
        for (size_t i = 0; i < MANY; i += 7) {
                objects[i] = slab_alloc(&slab);
                memset(objects[i], (int) (i % 251), SLAB_OBJECT_SIZE);
        }
        assert_int_equal(slab.n_pages, n_pages);
        for (size_t i = 0; i < MANY; i++)
                assert_holds(objects[i], i);
        slab_done(&slab);
}

/* Resident or not, what is mapped shows in the size of the process. */
static unsigned long mapped_kib(void) {
        unsigned long pages;
        FILE *f = fopen("/proc/self/statm", "re");

        assert_non_null(f);
        assert_int_equal(fscanf(f, "%lu", &pages), 1);
        (void) fclose(f);
        return pages * (unsigned long) sysconf(_SC_PAGESIZE) / 1024;
}

static void done_gives_back_full_pages_as_well(void **state) {
        static void *objects[MANY];
        unsigned long before = 0;
        Slab slab;

        for (int i = 0; i < 50; i++) {
                slab_init(&slab);
                take(&slab, objects, MANY);
                slab_done(&slab);
                if (i == 0)
                        before = mapped_kib();
        }
        /* 50 times two full pages would be 25 MiB. */
        assert_true(mapped_kib() < before + 8 * 1024);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(objects_do_not_overlap),
                cmocka_unit_test(new_objects_come_in_ascending_order),
                cmocka_unit_test(empty_pages_go_back_but_for_a_few),
                cmocka_unit_test(a_hole_in_a_full_page_is_filled),
                cmocka_unit_test(done_gives_back_full_pages_as_well),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
