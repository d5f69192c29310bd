/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <string.h>

#include "core/random.h"
#include "engine/job-table.h"
#include "util/macro.h"

#define PAGE_JOBS 512

static size_t n_pages(const JobTable *table) {
        size_t n = 0;

        list_for_each (l, &table->order)
                n++;
        return n;
}

static void put(JobTable *table, Job *job, uint64_t id) {
        *job = (Job){ .id = id };
        assert_int_equal(job_table_reserve(table, id, 1), 0);
        job_table_put(table, job);
}

static void an_empty_table_has_nothing(void **state) {
        JobTable table;

        job_table_init(&table);
        assert_null(job_table_get(&table, 1));
        assert_null(job_table_after(&table, 0));
        assert_null(job_table_after(&table, UINT64_MAX));
        job_table_done(&table);
}

static void jobs_are_found_across_gaps(void **state) {
        static const uint64_t ids[] = { 1, 2, 511, 512, 513, 100000, 100001, UINT64_C(1) << 40,
                (UINT64_C(1) << 40) + 511 };
        Job jobs[ELEMENTSOF(ids)];
        JobTable table;
        size_t n = 0;

        job_table_init(&table);
        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                put(&table, &jobs[i], ids[i]);
        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                assert_ptr_equal(job_table_get(&table, ids[i]), &jobs[i]);
        assert_null(job_table_get(&table, 3));
        assert_null(job_table_get(&table, 99999));
        assert_null(job_table_get(&table, UINT64_C(1) << 41));

        for (Job *job = job_table_after(&table, 0); job; job = job_table_after(&table, job->id))
                assert_int_equal(job->id, ids[n++]);
        assert_int_equal(n, ELEMENTSOF(ids));
        /* From ids that were never in, in pages that are there and in pages that are not. */
        assert_int_equal(job_table_after(&table, 300)->id, 511);
        assert_int_equal(job_table_after(&table, 5000)->id, 100000);
        assert_null(job_table_after(&table, UINT64_C(1) << 41));
        job_table_done(&table);
}

static void one_job_at_a_time_leaves_no_pages_behind(void **state) {
        JobTable table;
        Job job;

        job_table_init(&table);
        for (uint64_t id = 1; id < 20 * PAGE_JOBS; id++) {
                put(&table, &job, id);
                job_table_remove(&table, &job);
                assert_true(n_pages(&table) <= 2);
        }
        assert_int_equal(table.n_jobs, 0);
        job_table_done(&table);
}

static void an_old_job_keeps_only_its_page(void **state) {
        JobTable table;
        Job old, job;

        job_table_init(&table);
        put(&table, &old, 1);
        for (uint64_t id = 2; id < 20 * PAGE_JOBS; id++) {
                put(&table, &job, id);
                job_table_remove(&table, &job);
        }
        assert_true(n_pages(&table) <= 3);
        assert_ptr_equal(job_table_get(&table, 1), &old);
        job_table_done(&table);
}

/* A bulk submit that fails for want of memory has reserved its ids; the next one gets them. */
static void ids_may_be_reserved_again(void **state) {
        JobTable table;
        Job a, b, c;

        job_table_init(&table);
        assert_int_equal(job_table_reserve(&table, 1, 5 * PAGE_JOBS), 0);
        put(&table, &a, 1);
        job_table_remove(&table, &a);
        put(&table, &a, 2);
        put(&table, &b, 3 * PAGE_JOBS);
        put(&table, &c, 9 * PAGE_JOBS);
        assert_ptr_equal(job_table_after(&table, 0), &a);
        assert_ptr_equal(job_table_after(&table, 2), &b);
        assert_ptr_equal(job_table_after(&table, b.id), &c);
        assert_null(job_table_after(&table, c.id));
        job_table_done(&table);
}

/* Against the plainest of maps: is the id in? */
static void random_use_agrees_with_a_map(void **state) {
        enum { IDS = 20000 };
        static Job jobs[IDS];
        static bool in[IDS];
        uint64_t seed = 1, next = 1;
        JobTable table;

        memset(in, 0, sizeof(in));
        job_table_init(&table);
        while (next < IDS) {
                uint64_t n = 1 + random_below(&seed, random_below(&seed, 8) ? 3 : 1500), id;

                n = MIN(n, IDS - next);
                assert_int_equal(job_table_reserve(&table, next, n), 0);
                if (random_below(&seed, 4) == 0)
                        continue; /* the rest of that submit has failed */
                for (; n > 0; n--, next++) {
                        jobs[next] = (Job){ .id = next };
                        job_table_put(&table, &jobs[next]);
                        in[next] = true;
                }
                for (int i = 0; i < 400; i++) {
                        id = 1 + random_below(&seed, next - 1);
                        assert_int_equal(job_table_get(&table, id) != NULL, in[id]);
                        if (in[id] && random_below(&seed, 2)) {
                                job_table_remove(&table, &jobs[id]);
                                in[id] = false;
                        }
                        id = 1 + random_below(&seed, next - 1);
                        if (i < 5) {
                                uint64_t after = id + 1;

                                while (after < next && !in[after])
                                        after++;
                                assert_ptr_equal(job_table_after(&table, id),
                                        after < next ? &jobs[after] : NULL);
                        }
                }
        }
        for (uint64_t id = 1; id < IDS; id++)
                if (in[id])
                        job_table_remove(&table, &jobs[id]);
        assert_int_equal(table.n_jobs, 0);
        assert_null(job_table_after(&table, 0));
        assert_true(n_pages(&table) <= 4);
        job_table_done(&table);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_empty_table_has_nothing),
                cmocka_unit_test(jobs_are_found_across_gaps),
                cmocka_unit_test(one_job_at_a_time_leaves_no_pages_behind),
                cmocka_unit_test(an_old_job_keeps_only_its_page),
                cmocka_unit_test(ids_may_be_reserved_again),
                cmocka_unit_test(random_use_agrees_with_a_map),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
