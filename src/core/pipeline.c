/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "core/pipeline.h"

void pipeline_init(Pipeline *p, uint32_t n_stages, uint64_t max_in_flight) {
        assert(n_stages >= 1 && n_stages <= PIPELINE_STAGES_MAX);
        *p = (Pipeline){ .n_stages = n_stages, .max_in_flight = max_in_flight };
        list_init(&p->line);
}

static bool has_room(const Pipeline *p, uint64_t n) {
        return n <= p->max_in_flight && p->n_in_flight <= p->max_in_flight - n;
}

AdmitVerdict pipeline_ask(const Pipeline *p, uint64_t n, unsigned flags) {
        if (p->draining)
                return ADMIT_DRAINING;
        if (!list_is_empty(&p->line) && !(flags & ADMIT_SERVED))
                return ADMIT_FULL;
        return has_room(p, n) ? ADMIT_YES : ADMIT_FULL;
}

uint64_t pipeline_room(const Pipeline *p) {
        if (p->draining || !list_is_empty(&p->line) || p->n_in_flight >= p->max_in_flight)
                return 0;
        return p->max_in_flight - p->n_in_flight;
}

void pipeline_enter(Pipeline *p, uint64_t n) {
        p->submitted += n;
        p->n_in_flight += n;
}

void pipeline_withdraw(Pipeline *p, uint64_t n) {
        assert(n <= p->n_in_flight && n <= p->submitted);
        p->n_in_flight -= n;
        p->submitted -= n;
}

void pipeline_leave(Pipeline *p, JobResult result) {
        assert(p->n_in_flight > 0);
        p->n_in_flight--;
        if (result == JOB_SUCCEEDED)
                p->succeeded++;
        else
                p->failed++;
}

void pipeline_line_join(Pipeline *p, AdmitWaiter *waiter) {
        list_append(&p->line, &waiter->links);
}

void pipeline_line_leave(Pipeline *p, AdmitWaiter *waiter) {
        list_remove(&waiter->links);
}

AdmitWaiter *pipeline_line_serve(Pipeline *p, bool shut) {
        List *l = list_first(&p->line);
        AdmitWaiter *waiter;

        if (!l)
                return NULL;
        waiter = list_entry(l, AdmitWaiter, links);
        if (!shut && !p->draining && waiter->n <= p->max_in_flight && !has_room(p, waiter->n))
                return NULL;
        list_remove(l);
        return waiter;
}
