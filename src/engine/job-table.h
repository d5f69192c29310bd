/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Job table: id to job, for ids that are given out in ascending order. Pages of 512 pointers, found
 * by a hash of their number, so that one old job does not keep what came after it. Main thread
 * only. */

#include <stdint.h>

#include "core/job.h"
#include "util/list.h"

typedef struct JobPage JobPage;
typedef struct JobTable JobTable;

struct JobTable {
        JobPage *pages; /* owned: hash by number */
        List order;     /* all pages, ascending */
        JobPage *last;  /* borrowed: the page used last */
        uint64_t n_jobs;
};

void job_table_init(JobTable *table);
void job_table_done(JobTable *table);

/* Makes room for the ids first … first + n - 1, all above those that were ever in. 0, or -ENOMEM,
 * and then the same ids may be asked for again. */
int job_table_reserve(JobTable *table, uint64_t first, uint64_t n);

void job_table_put(JobTable *table, Job *job); /* its id has been reserved */
void job_table_remove(JobTable *table, Job *job);
Job *job_table_get(JobTable *table, uint64_t id); /* NULL if there is none */
Job *job_table_after(
        JobTable *table, uint64_t id); /* that with the least id above; NULL at the end */
