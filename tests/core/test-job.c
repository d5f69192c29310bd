/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/job.h"
#include "util/macro.h"

#define NONE _JOB_STATE_INVALID

/* Every state with every event, written out once more: the contract, not the implementation. */
static const struct {
        JobState state;
        JobState after[_JOB_EVENT_MAX]; /* delay, queue, start, stop, pass, finish */
} rows[] = {
        { JOB_NEW, { JOB_SCHEDULED, JOB_QUEUED, NONE, NONE, NONE, JOB_FINISHED } },
        { JOB_SCHEDULED, { NONE, JOB_QUEUED, NONE, NONE, NONE, JOB_FINISHED } },
        { JOB_QUEUED, { NONE, NONE, JOB_RUNNING, NONE, NONE, JOB_FINISHED } },
        { JOB_RUNNING, { JOB_SCHEDULED, NONE, NONE, JOB_STOPPING, JOB_PASSING, JOB_FINISHED } },
        { JOB_STOPPING, { JOB_SCHEDULED, NONE, NONE, NONE, JOB_PASSING, JOB_FINISHED } },
        { JOB_PASSING, { NONE, JOB_QUEUED, NONE, NONE, NONE, JOB_FINISHED } },
        { JOB_FINISHED, { NONE, NONE, NONE, NONE, NONE, NONE } },
};

static void each_event_moves_a_job_where_the_table_says(void **state) {
        assert_int_equal(ELEMENTSOF(rows), _JOB_STATE_MAX);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                for (int event = 0; event < _JOB_EVENT_MAX; event++) {
                        Job job = { .state = (unsigned) rows[i].state & 0xf };
                        JobState after = rows[i].after[event];

                        assert_int_equal(job_next_state(rows[i].state, (JobEvent) event), after);
                        if (after == NONE)
                                continue;
                        job_transition(&job, (JobEvent) event);
                        assert_int_equal(job.state, after);
                }
}

static void what_is_no_state_or_event_leads_nowhere(void **state) {
        assert_int_equal(job_next_state(_JOB_STATE_INVALID, JOB_EVENT_QUEUE), NONE);
        assert_int_equal(job_next_state(_JOB_STATE_MAX, JOB_EVENT_QUEUE), NONE);
        assert_int_equal(job_next_state(JOB_NEW, _JOB_EVENT_MAX), NONE);
}

static void a_finished_job_keeps_its_result(void **state) {
        for (int result = 0; result < _JOB_RESULT_MAX; result++) {
                Job job = { .state = JOB_RUNNING };

                job_finish(&job, (JobResult) result);
                assert_int_equal(job.state, JOB_FINISHED);
                assert_int_equal(job.result, result);
                for (int event = 0; event < _JOB_EVENT_MAX; event++)
                        assert_int_equal(job_next_state(JOB_FINISHED, (JobEvent) event), NONE);
        }
}

static void a_success_beats_a_stop_and_a_failure_is_its_doing(void **state) {
        static const struct {
                uint8_t flags;
                Outcome outcome;
                JobResult result;
        } table[] = {
                { 0, OUTCOME_SUCCESS, JOB_SUCCEEDED },
                { 0, OUTCOME_FAILURE, JOB_FAILED },
                { 0, OUTCOME_FATAL, JOB_FAILED },
                { 0, OUTCOME_RETRY, JOB_FAILED },
                { 0, OUTCOME_LOST, JOB_LOST },
                { 0, OUTCOME_GONE, JOB_LOST },
                { JOB_STOP_BY_CANCEL, OUTCOME_GONE, JOB_CANCELLED },
                { JOB_STOP_BY_TIMEOUT, OUTCOME_GONE, JOB_TIMED_OUT },
                { JOB_STOP_BY_CANCEL, OUTCOME_SUCCESS, JOB_SUCCEEDED },
                { JOB_STOP_BY_CANCEL, OUTCOME_FAILURE, JOB_CANCELLED },
                { JOB_STOP_BY_CANCEL, OUTCOME_FATAL, JOB_CANCELLED },
                { JOB_STOP_BY_CANCEL, OUTCOME_RETRY, JOB_CANCELLED },
                /* A service that did not answer to Cancel: nobody knows how it ended. */
                { JOB_STOP_BY_CANCEL, OUTCOME_LOST, JOB_LOST },
                { JOB_STOP_BY_TIMEOUT, OUTCOME_SUCCESS, JOB_SUCCEEDED },
                { JOB_STOP_BY_TIMEOUT, OUTCOME_FAILURE, JOB_TIMED_OUT },
                { JOB_STOP_BY_TIMEOUT, OUTCOME_FATAL, JOB_TIMED_OUT },
                { JOB_STOP_BY_TIMEOUT, OUTCOME_RETRY, JOB_TIMED_OUT },
                { JOB_STOP_BY_TIMEOUT, OUTCOME_LOST, JOB_LOST },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                Job job = { .state = JOB_RUNNING, .flags = table[i].flags | JOB_KEEP };

                assert_int_equal(job_result_of(&job, table[i].outcome), table[i].result);
        }
}

static void names_lead_back_to_what_they_name(void **state) {
        for (int i = JOB_SCHEDULED; i < _JOB_STATE_MAX; i++) {
                if (i == JOB_PASSING)
                        continue;
                assert_non_null(job_state_to_string((JobState) i));
                assert_int_equal(job_state_from_string(job_state_to_string((JobState) i)), i);
        }
        for (int i = 0; i < _JOB_RESULT_MAX; i++) {
                assert_non_null(job_result_to_string((JobResult) i));
                assert_int_equal(job_result_from_string(job_result_to_string((JobResult) i)), i);
        }
        assert_string_equal(job_result_to_string(JOB_TIMED_OUT), "timed-out");
}

static void what_has_no_name_is_refused(void **state) {
        assert_null(job_state_to_string(JOB_NEW));
        assert_null(job_state_to_string(JOB_PASSING));
        assert_null(job_state_to_string(_JOB_STATE_MAX));
        assert_null(job_state_to_string(_JOB_STATE_INVALID));
        assert_null(job_result_to_string(_JOB_RESULT_MAX));
        assert_null(job_result_to_string(_JOB_RESULT_INVALID));
        assert_int_equal(job_state_from_string("new"), _JOB_STATE_INVALID);
        assert_int_equal(job_state_from_string(""), _JOB_STATE_INVALID);
        assert_int_equal(job_result_from_string("timed_out"), _JOB_RESULT_INVALID);
}

static void only_scheduled_and_queued_jobs_wait(void **state) {
        for (unsigned i = 0; i < _JOB_STATE_MAX; i++) {
                Job job = { .state = i & 0xf };

                assert_int_equal(job_is_waiting(&job), i == JOB_SCHEDULED || i == JOB_QUEUED);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_event_moves_a_job_where_the_table_says),
                cmocka_unit_test(what_is_no_state_or_event_leads_nowhere),
                cmocka_unit_test(a_finished_job_keeps_its_result),
                cmocka_unit_test(a_success_beats_a_stop_and_a_failure_is_its_doing),
                cmocka_unit_test(names_lead_back_to_what_they_name),
                cmocka_unit_test(what_has_no_name_is_refused),
                cmocka_unit_test(only_scheduled_and_queued_jobs_wait),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
