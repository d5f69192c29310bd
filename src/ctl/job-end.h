/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How a job ended: what WaitJob and GetResult tell of it. */

#include <json-c/json.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "ctl/ctl.h"
#include "util/time.h"

typedef struct JobEnd JobEnd;

/* The texts and the output are parts of the reply. */
struct JobEnd {
        sd_bus_message *reply;
        const char *state, *result; /* the result is empty until the job has finished */
        const void *output;
        size_t size;
        const char *error;
};

void job_end_done(JobEnd *end);
#define _cleanup_job_end_ _cleanup_(job_end_done)

/* Reads the reply to a WaitJob; says nothing. */
int job_end_read(sd_bus_message *reply, JobEnd *ret);

/* Both say what went wrong. */
int job_wait(Ctl *ctl, uint64_t id, usec_t timeout, JobEnd *ret);
int job_get_result(Ctl *ctl, uint64_t id, JobEnd *ret);

/* Did the output not fit in this reply? */
bool job_end_is_cut(const JobEnd *end);

/* Says on standard error how it ended, for one that did not succeed. The exit status, always 1. */
int job_end_report(uint64_t id, const JobEnd *end);

/* The output to standard output if it succeeded, else as job_end_report(). The exit status. */
int job_end_print(uint64_t id, const JobEnd *end);

/* "failed", "was cancelled": what follows "Job 17". The caller's. */
char *job_result_phrase(const char *result);

json_object *job_end_to_json(uint64_t id, const JobEnd *end);
