/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdlib.h>

/* Without this uthash ends the process where memory runs out. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "engine/job-table.h"
#include "util/macro.h"

#define PAGE_BITS 9
#define PAGE_JOBS ((size_t) 1 << PAGE_BITS)

struct JobPage {
        uint64_t number; /* id >> PAGE_BITS */
        uint32_t n_jobs;
        List order;
        UT_hash_handle hh;
        Job *jobs[PAGE_JOBS]; /* borrowed from the slab */
};

void job_table_init(JobTable *table) {
        *table = (JobTable){};
        list_init(&table->order);
}

static void page_free(JobTable *table, JobPage *page) {
        if (table->last == page)
                table->last = NULL;
        HASH_DEL(table->pages, page);
        list_remove(&page->order);
        free(page);
}

void job_table_done(JobTable *table) {
        list_for_each (l, &table->order)
                page_free(table, list_entry(l, JobPage, order));
}

static _noinline_ JobPage *page_look_up(JobTable *table, uint64_t number) {
        JobPage *page;

        HASH_FIND(hh, table->pages, &number, sizeof(number), page);
        if (page)
                table->last = page;
        return page;
}

static inline JobPage *page_find(JobTable *table, uint64_t number) {
        JobPage *page = table->last;

        return likely(page && page->number == number) ? page : page_look_up(table, number);
}

static JobPage *page_new(JobTable *table, uint64_t number) {
        JobPage *page = calloc(1, sizeof(*page));
        List *after = table->order.prev;

        if (!page)
                return NULL;
        page->number = number;
        HASH_ADD(hh, table->pages, number, sizeof(page->number), page);
        if (!page->hh.tbl) {
                free(page);
                return NULL;
        }
        /* Nearly always the end. But ids of a submit that failed are given out again, and the pages
         * that were made for it stay. */
        while (after != &table->order && list_entry(after, JobPage, order)->number > number)
                after = after->prev;
        list_insert(after, &page->order, after->next);
        return page;
}

int job_table_reserve(JobTable *table, uint64_t first, uint64_t n) {
        uint64_t id = first, end = first + n;
        List *newest = table->order.prev;

        /* It has stayed for the ids that were to come next; they are elsewhere now. */
        if (newest != &table->order) {
                JobPage *page = list_entry(newest, JobPage, order);

                if (page->n_jobs == 0 && page->number < first >> PAGE_BITS)
                        page_free(table, page);
        }

        while (id < end) {
                uint64_t number = id >> PAGE_BITS, next = (number + 1) << PAGE_BITS;
                JobPage *page = page_find(table, number) ?: page_new(table, number);

                if (!page)
                        return -ENOMEM;
                id = next < end ? next : end;
        }
        return 0;
}

void job_table_put(JobTable *table, Job *job) {
        JobPage *page = page_find(table, job->id >> PAGE_BITS);

        page->jobs[job->id & (PAGE_JOBS - 1)] = job;
        page->n_jobs++;
        table->n_jobs++;
}

void job_table_remove(JobTable *table, Job *job) {
        JobPage *page = page_find(table, job->id >> PAGE_BITS);

        page->jobs[job->id & (PAGE_JOBS - 1)] = NULL;
        table->n_jobs--;
        /* The newest page stays for the ids that come next. */
        if (--page->n_jobs == 0 && page->order.next != &table->order)
                page_free(table, page);
}

Job *job_table_get(JobTable *table, uint64_t id) {
        JobPage *page = page_find(table, id >> PAGE_BITS);

        return page ? page->jobs[id & (PAGE_JOBS - 1)] : NULL;
}

/* The first page whose number is at least `number`. */
static JobPage *page_from(JobTable *table, uint64_t number) {
        JobPage *page = page_find(table, number);

        if (page)
                return page;
        list_for_each (l, &table->order)
                if (list_entry(l, JobPage, order)->number >= number)
                        return list_entry(l, JobPage, order);
        return NULL;
}

Job *job_table_after(JobTable *table, uint64_t id) {
        JobPage *page;
        size_t i;

        if (id == UINT64_MAX)
                return NULL;
        id++;
        page = page_from(table, id >> PAGE_BITS);
        if (!page)
                return NULL;
        i = page->number == id >> PAGE_BITS ? id & (PAGE_JOBS - 1) : 0;
        for (;;) {
                for (; i < PAGE_JOBS; i++)
                        if (page->jobs[i])
                                return page->jobs[i];
                if (page->order.next == &table->order)
                        return NULL;
                page = list_entry(page->order.next, JobPage, order);
                i = 0;
        }
}
