/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "core/group.h"

void group_init(Group *group, GroupPolicy policy, uint64_t n, usec_t now) {
        *group = (Group){
                .n_total = n,
                .policy = policy,
                .untold = n == 0,
                .told_at = now,
        };
}

bool group_policy_minds(GroupPolicy policy, JobResult result) {
        if (policy != GROUP_FIRST_ERROR)
                return false;

        switch (result) {

        case JOB_SUCCEEDED:
        case JOB_CANCELLED:
                break;

        case JOB_FAILED:
        case JOB_TIMED_OUT:
        case JOB_EXPIRED:
        case JOB_DROPPED:
        case JOB_REFUSED:
        case JOB_LOST:
                return true;

        case _JOB_RESULT_MAX:
        case _JOB_RESULT_INVALID:
                break;
        }
        return false;
}

GroupVerdict group_report(Group *group, JobResult result) {
        assert(!group_is_finished(group));
        if (result == JOB_SUCCEEDED)
                group->n_succeeded++;
        else
                group->n_failed++;
        group->untold = true;
        if (group_is_finished(group))
                return GROUP_ENDS;
        if (!group->cancelled && group_policy_minds(group->policy, result))
                return GROUP_CANCEL_REST;
        return GROUP_GOES_ON;
}

void group_cancelled(Group *group) {
        group->cancelled = true;
}

usec_t group_tell_at(const Group *group) {
        if (!group->untold)
                return USEC_INFINITY;
        if (group_is_finished(group))
                return 0;
        return usec_add(group->told_at, GROUP_TELL_INTERVAL);
}

void group_told(Group *group, usec_t now) {
        group->untold = false;
        group->told_at = now;
}

double group_progress(const Group *group) {
        if (group->n_total == 0)
                return 1;
        return (double) group_n_done(group) / (double) group->n_total;
}

static const char *const policy_names[_GROUP_POLICY_MAX] = {
        [GROUP_ALL] = "all",
        [GROUP_FIRST_ERROR] = "first-error",
};

const char *group_policy_to_string(GroupPolicy p) {
        return p >= 0 && p < _GROUP_POLICY_MAX ? policy_names[p] : NULL;
}

GroupPolicy group_policy_from_string(const char *s) {
        for (int i = 0; i < _GROUP_POLICY_MAX; i++)
                if (strcmp(policy_names[i], s) == 0)
                        return (GroupPolicy) i;
        return _GROUP_POLICY_INVALID;
}
