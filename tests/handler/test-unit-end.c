/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/unit-end.h"

#include <signal.h>

#include "test.h"
#include "try.h"

#define STARTED 1000

/* One that has done its work. */
#define RAN                                                                                       \
        .active_state = "inactive", .result = "success", .job_result = "done",                    \
        .condition_result = true, .assert_result = true, .condition_at = 1001, .assert_at = 1001, \
        .main_pid = 42, .main_code = CLD_EXITED, .main_started_at = 1002, .active_at = 1002,      \
        .inactive_at = 1500, .runtime_max = USEC_INFINITY

/* One whose command never was begun. */
#define NEVER_RAN                                                                                 \
        .active_state = "failed", .result = "success", .job_result = "failed",                    \
        .condition_result = true, .assert_result = true, .condition_at = 1001, .assert_at = 1001, \
        .main_pid = 0, .main_code = 0, .runtime_max = USEC_INFINITY

typedef struct Row {
        UnitEnd end;
        Outcome outcome;
        int exit_status;
        const char *error; /* NULL = none */
} Row;

_Pragma("GCC diagnostic push") _Pragma(
        "GCC diagnostic ignored \"-Woverride-init\"") static const Row rows[] = {
        { { RAN }, OUTCOME_SUCCESS, 0, NULL },
        { { RAN, .main_status = 3 }, OUTCOME_SUCCESS, 3, NULL }, /* SuccessExitStatus=3 */
        { { RAN, .result = "exit-code", .main_status = 3 }, OUTCOME_FAILURE, 3,
                "u exited with status 3" },
        { { RAN, .result = "exit-code", .main_status = 75 }, OUTCOME_RETRY, 75,
                "u exited with status 75" },
        { { RAN, .result = "exit-code", .main_status = 203 }, OUTCOME_FAILURE, 203,
                "u exited with status 203, which systemd has where it cannot start the command: "
                "EXEC, see the unit's journal" },
        { { RAN, .result = "exit-code", .main_status = 201 }, OUTCOME_FAILURE, 201,
                "u exited with status 201" },
        { { RAN, .result = "exit-code" }, OUTCOME_FAILURE, 0,
                "u failed after its command (exit-code)" },
        { { RAN, .result = "signal", .main_code = CLD_KILLED, .main_status = SIGKILL },
                OUTCOME_FAILURE, 137, "u was killed by signal 9 (SIGKILL)" },
        { { RAN, .main_code = CLD_KILLED, .main_status = SIGTERM }, OUTCOME_FAILURE, 143,
                "u was killed by signal 15 (SIGTERM)" },
        { { RAN, .result = "core-dump", .main_code = CLD_DUMPED, .main_status = SIGSEGV },
                OUTCOME_FAILURE, 139, "u was killed by signal 11 (SIGSEGV) and dumped core" },
        { { RAN, .result = "oom-kill", .main_code = CLD_KILLED, .main_status = SIGKILL },
                OUTCOME_FAILURE, 137,
                "u was killed for want of memory (MemoryMax=, or that of the host)" },
        { { RAN, .result = "watchdog", .main_code = CLD_DUMPED, .main_status = SIGABRT },
                OUTCOME_FAILURE, 134, "u gave no sign of life within WatchdogSec= and was ended" },
        { { RAN, .result = "protocol" }, OUTCOME_FAILURE, 0,
                "u ended before it was ready, as its Type= asks for" },
        { { RAN, .result = "timeout", .main_code = CLD_KILLED, .main_status = SIGTERM,
                  .active_at = 0 },
                OUTCOME_FAILURE, 143, "u was not ready within TimeoutStartSec= and was ended" },
        { { RAN, .result = "timeout", .main_code = CLD_KILLED, .main_status = SIGTERM,
                  .active_at = 900 },
                OUTCOME_FAILURE, 143, "u was not ready within TimeoutStartSec= and was ended" },
        { { RAN, .result = "timeout", .main_code = CLD_KILLED, .main_status = SIGTERM,
                  .runtime_max = 498 },
                OUTCOME_FAILURE, 143, "u ran for longer than RuntimeMaxSec= and was ended" },
        { { RAN, .result = "timeout", .main_code = CLD_KILLED, .main_status = SIGKILL,
                  .runtime_max = 499 },
                OUTCOME_FAILURE, 137, "u was stopped and did not end within TimeoutStopSec=" },
        { { RAN, .result = "resources", .main_code = 0 }, OUTCOME_LOST, 0,
                "systemd does not say how u ended (resources)" },

        { { NEVER_RAN }, OUTCOME_FAILURE, 0, "u did not run: systemd does not say why" },
        /* What is told of the command is of an earlier attempt. */
        { { RAN, .main_started_at = 999, .main_status = 3, .condition_result = false },
                OUTCOME_FAILURE, 0, "u did not run: a condition of the unit is not met" },
        { { NEVER_RAN, .assert_result = false }, OUTCOME_FAILURE, 0,
                "u did not run: an assertion of the unit is not met" },
        /* Conditions that were not looked at are not met either. */
        { { NEVER_RAN, .job_result = "dependency", .condition_result = false, .condition_at = 0 },
                OUTCOME_FAILURE, 0, "u did not run: a unit that it needs could not be started" },
        { { NEVER_RAN, .job_result = "canceled" }, OUTCOME_FAILURE, 0,
                "u did not run: its start was cancelled by another request to systemd" },
        { { NEVER_RAN, .job_result = "timeout" }, OUTCOME_FAILURE, 0,
                "u did not run: its job of systemd ran out of time" },
        { { NEVER_RAN, .job_result = "skipped" }, OUTCOME_FAILURE, 0,
                "u did not run: systemd skipped it" },
        { { NEVER_RAN, .result = "exit-code" }, OUTCOME_FAILURE, 0,
                "u did not run: a command before that of the job failed (ExecStartPre=)" },
        { { NEVER_RAN, .result = "timeout" }, OUTCOME_FAILURE, 0,
                "u did not run: what comes before its command was not done within "
                "TimeoutStartSec=" },
        { { NEVER_RAN, .result = "start-limit-hit" }, OUTCOME_FAILURE, 0,
                "u did not run: it was started too often (StartLimitBurst=)" },
        { { NEVER_RAN, .result = "resources" }, OUTCOME_FAILURE, 0,
                "u did not run: systemd lacks what it needs for it; see its journal" },
};
_Pragma("GCC diagnostic pop")

        static void each_end_has_its_verdict(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Try try;

                try_init(&try, NULL, 0);
                unit_end_judge(&rows[i].end, "u", STARTED, &try.attempt);
                if (rows[i].error)
                        assert_failed(&try, rows[i].outcome, rows[i].error);
                else
                        assert_null(try.attempt.error);
                assert_int_equal(try.attempt.outcome, rows[i].outcome);
                assert_int_equal(try.attempt.exit_status, rows[i].exit_status);
                try_done(&try);
        }
}

static void only_what_is_inactive_and_has_nothing_to_come_has_ended(void **state) {
        static const struct {
                UnitEnd end;
                bool reached;
        } ends[] = {
                { { .active_state = "inactive" }, true },
                { { .active_state = "failed" }, true },
                { { .active_state = "inactive", .job = 7 }, false },
                { { .active_state = "active" }, false },
                { { .active_state = "activating" }, false },
                { { .active_state = "deactivating" }, false },
                { { .active_state = "" }, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(ends); i++)
                assert_int_equal(unit_end_is_reached(&ends[i].end), ends[i].reached);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_end_has_its_verdict),
                cmocka_unit_test(only_what_is_inactive_and_has_nothing_to_come_has_ended),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
