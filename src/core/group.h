/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Group: how far jobs that were submitted together have come, what the end of one of them means for
 * the others, and when that may be told. Pure; the caller brings the time and acts on the verdict.
 * Not thread-safe. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/job.h"
#include "util/time.h"

typedef struct Group Group;

/* Changes are told with at least this between them: three in a second, so that the last one, which
 * waits for nothing, is at most the fourth. */
#define GROUP_TELL_INTERVAL (334 * USEC_PER_MSEC)

typedef enum GroupPolicy {
        GROUP_ALL,         /* what becomes of one member is nothing to the others */
        GROUP_FIRST_ERROR, /* the first that fails cancels the rest */
        _GROUP_POLICY_MAX,
        _GROUP_POLICY_INVALID = -EINVAL,
} GroupPolicy;

typedef enum GroupVerdict {
        GROUP_GOES_ON,
        GROUP_CANCEL_REST, /* it goes on, and those that are left are to be cancelled */
        GROUP_ENDS,        /* that was the last one */
} GroupVerdict;

/* n_succeeded + n_failed <= n_total always; the group is finished when they are equal. */
struct Group {
        uint64_t n_total, n_succeeded, n_failed;
        GroupPolicy policy;
        bool cancelled; /* the rest has been cancelled, by the policy or by somebody */
        bool untold;    /* something has changed since told_at */
        usec_t told_at;
};

/* A group of n jobs; one of none is finished from the start. Nothing is told in the first interval
 * but its end. */
void group_init(Group *group, GroupPolicy policy, uint64_t n, usec_t now);

/* A member has ended for good. Not more often than there are members. */
GroupVerdict group_report(Group *group, JobResult result);

/* The rest has been cancelled: no verdict will ask for it again. */
void group_cancelled(Group *group);

/* When what has changed may be told: 0 for the end, USEC_INFINITY if nothing has. */
usec_t group_tell_at(const Group *group);
void group_told(Group *group, usec_t now);

/* Does the policy cancel the others for this? Not for what somebody has cancelled. */
bool group_policy_minds(GroupPolicy policy, JobResult result);

/* From 0 to 1; 1 for a group of none. */
double group_progress(const Group *group);

static inline uint64_t group_n_done(const Group *group) {
        return group->n_succeeded + group->n_failed;
}

static inline bool group_is_finished(const Group *group) {
        return group_n_done(group) == group->n_total;
}

const char *group_policy_to_string(GroupPolicy p); /* NULL for what has no name */
GroupPolicy group_policy_from_string(const char *s);
