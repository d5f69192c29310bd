/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/job.h"

/* Rows: the state; columns: the event. 0 (JOB_NEW) is never a target, so it marks what cannot be.
 */
static const uint8_t transitions[_JOB_STATE_MAX][_JOB_EVENT_MAX] = {
        [JOB_NEW] = {
                [JOB_EVENT_DELAY] = JOB_SCHEDULED,
                [JOB_EVENT_QUEUE] = JOB_QUEUED,
                [JOB_EVENT_FINISH] = JOB_FINISHED,
        },
        [JOB_SCHEDULED] = {
                [JOB_EVENT_QUEUE] = JOB_QUEUED,
                [JOB_EVENT_FINISH] = JOB_FINISHED,
        },
        [JOB_QUEUED] = {
                [JOB_EVENT_START] = JOB_RUNNING,
                [JOB_EVENT_FINISH] = JOB_FINISHED,
        },
        [JOB_RUNNING] = {
                [JOB_EVENT_DELAY] = JOB_SCHEDULED,
                [JOB_EVENT_STOP] = JOB_STOPPING,
                [JOB_EVENT_PASS] = JOB_PASSING,
                [JOB_EVENT_FINISH] = JOB_FINISHED,
        },
        [JOB_STOPPING] = {
                [JOB_EVENT_DELAY] = JOB_SCHEDULED,
                [JOB_EVENT_PASS] = JOB_PASSING,
                [JOB_EVENT_FINISH] = JOB_FINISHED,
        },
        [JOB_PASSING] = {
                [JOB_EVENT_QUEUE] = JOB_QUEUED,
                [JOB_EVENT_FINISH] = JOB_FINISHED,
        },
};

JobState job_next_state(JobState state, JobEvent event) {
        if (state < 0 || state >= _JOB_STATE_MAX || event < 0 || event >= _JOB_EVENT_MAX)
                return _JOB_STATE_INVALID;
        if (transitions[state][event] == JOB_NEW)
                return _JOB_STATE_INVALID;
        return (JobState) transitions[state][event];
}

void job_transition(Job *job, JobEvent event) {
        unsigned next = transitions[job->state][event];

        assert(next != JOB_NEW);
        job->state = next & 0x7;
}

void job_finish(Job *job, JobResult result) {
        job_transition(job, JOB_EVENT_FINISH);
        job->result = (unsigned) result & 0x7;
}

/* What came first is what ends it: a job out of its time may be cancelled as well. */
JobStop job_stop(const Job *job) {
        if (job->flags & JOB_STOP_BY_TIMEOUT)
                return JOB_STOP_TIMEOUT;
        if (job->flags & JOB_STOP_BY_CANCEL)
                return JOB_STOP_CANCEL;
        return JOB_STOP_NONE;
}

JobResult job_result_of(const Job *job, Outcome outcome) {
        if (outcome == OUTCOME_SUCCESS)
                return JOB_SUCCEEDED;
        if (outcome == OUTCOME_LOST || (outcome == OUTCOME_GONE && job_stop(job) == JOB_STOP_NONE))
                return JOB_LOST;

        switch (job_stop(job)) {

        case JOB_STOP_CANCEL:
                return JOB_CANCELLED;

        case JOB_STOP_TIMEOUT:
                return JOB_TIMED_OUT;

        case JOB_STOP_NONE:
                break;
        }

        return JOB_FAILED;
}

static const char *const state_names[_JOB_STATE_MAX] = {
        [JOB_SCHEDULED] = "scheduled",
        [JOB_QUEUED] = "queued",
        [JOB_RUNNING] = "running",
        [JOB_STOPPING] = "stopping",
        [JOB_FINISHED] = "finished",
};

static const char *const result_names[_JOB_RESULT_MAX] = {
        [JOB_SUCCEEDED] = "succeeded",
        [JOB_FAILED] = "failed",
        [JOB_CANCELLED] = "cancelled",
        [JOB_TIMED_OUT] = "timed-out",
        [JOB_EXPIRED] = "expired",
        [JOB_DROPPED] = "dropped",
        [JOB_REFUSED] = "refused",
        [JOB_LOST] = "lost",
};

static int name_index(const char *const *names, int n, const char *s) {
        for (int i = 0; i < n; i++)
                if (names[i] && strcmp(names[i], s) == 0)
                        return i;
        return -EINVAL;
}

const char *job_state_to_string(JobState s) {
        return s >= 0 && s < _JOB_STATE_MAX ? state_names[s] : NULL;
}

JobState job_state_from_string(const char *s) {
        return (JobState) name_index(state_names, _JOB_STATE_MAX, s);
}

const char *job_result_to_string(JobResult r) {
        return r >= 0 && r < _JOB_RESULT_MAX ? result_names[r] : NULL;
}

JobResult job_result_from_string(const char *s) {
        return (JobResult) name_index(result_names, _JOB_RESULT_MAX, s);
}
