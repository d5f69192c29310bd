/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/unit-end.h"

#include <signal.h>
#include <string.h>

#include "handler/program.h"

/* With these systemd's own child ends before the command is there. */
static const struct {
        int status;
        const char *what;
} steps[] = {
        { 200, "CHDIR" },
        { 203, "EXEC" },
        { 208, "STDIN" },
        { 209, "STDOUT" },
        { 214, "SETSCHEDULER" },
        { 216, "GROUP" },
        { 217, "USER" },
        { 218, "CAPABILITIES" },
        { 219, "CGROUP" },
        { 225, "NETWORK" },
        { 226, "NAMESPACE" },
        { 227, "NO_NEW_PRIVILEGES" },
        { 228, "SECCOMP" },
        { 233, "RUNTIME_DIRECTORY" },
        { 238, "STATE_DIRECTORY" },
        { 243, "CREDENTIALS" },
};

static bool is_word(const char *word, const char *other) {
        return strcmp(word, other) == 0;
}

bool unit_end_is_reached(const UnitEnd *end) {
        return end->job == 0 &&
               (is_word(end->active_state, "inactive") || is_word(end->active_state, "failed"));
}

static const char *step_of(int status) {
        for (size_t i = 0; i < ELEMENTSOF(steps); i++)
                if (steps[i].status == status)
                        return steps[i].what;
        return NULL;
}

/* The command never ran: why. */
static void judge_start(const UnitEnd *end, const char *unit, usec_t started_at, Attempt *attempt) {
        static const struct {
                const char *word, *text;
        } job_results[] = {
                { "canceled", "its start was cancelled by another request to systemd" },
                { "dependency", "a unit that it needs could not be started" },
                { "timeout", "its job of systemd ran out of time" },
                { "skipped", "systemd skipped it" },
                { "assert", "an assertion of the unit is not met" },
                { "once", "it runs once per boot, and has run already" },
                { "collected", "systemd unloaded it before it began" },
                { "unsupported", "it is of a type that is not supported here" },
        },
          results[] = {
                  { "timeout", "what comes before its command was not done within TimeoutStartSec=" },
                  { "start-limit-hit", "it was started too often (StartLimitBurst=)" },
                  { "exec-condition", "ExecCondition= says no" },
                  { "exit-code", "a command before that of the job failed (ExecStartPre=)" },
                  { "signal", "a command before that of the job was killed (ExecStartPre=)" },
                  { "core-dump", "a command before that of the job dumped core (ExecStartPre=)" },
                  { "resources", "systemd lacks what it needs for it; see its journal" },
                  { "oom-kill", "a command before that of the job was killed for want of memory" },
          };
        const char *why = NULL;

        if (end->condition_at >= started_at && !end->condition_result)
                why = "a condition of the unit is not met";
        else if (end->assert_at >= started_at && !end->assert_result)
                why = "an assertion of the unit is not met";
        for (size_t i = 0; !why && i < ELEMENTSOF(results); i++)
                if (is_word(end->result, results[i].word))
                        why = results[i].text;
        for (size_t i = 0; !why && i < ELEMENTSOF(job_results); i++)
                if (is_word(end->job_result, job_results[i].word))
                        why = job_results[i].text;
        attempt_fail(attempt, OUTCOME_FAILURE, "%s did not run: %s", unit,
                why ?: "systemd does not say why");
}

/* Was it active for as long as it may be? A service that is stopped and does not end in time has
 * the same result, as has one that is not ready in time, which never was active. */
static bool was_active_too_long(const UnitEnd *end) {
        return end->runtime_max > 0 && end->runtime_max != USEC_INFINITY && end->inactive_at != 0 &&
               usec_sub(end->inactive_at, end->active_at) >= end->runtime_max;
}

static void judge_timeout(
        const UnitEnd *end, const char *unit, usec_t started_at, Attempt *attempt) {
        if (end->active_at < started_at)
                attempt_fail(attempt, OUTCOME_FAILURE,
                        "%s was not ready within TimeoutStartSec= and was ended", unit);
        else if (was_active_too_long(end))
                attempt_fail(attempt, OUTCOME_FAILURE,
                        "%s ran for longer than RuntimeMaxSec= and was ended", unit);
        else
                attempt_fail(attempt, OUTCOME_FAILURE,
                        "%s was stopped and did not end within TimeoutStopSec=", unit);
}

static void judge_exit(const UnitEnd *end, const char *unit, Attempt *attempt) {
        const char *step = end->main_status >= 200 ? step_of(end->main_status) : NULL;

        if (end->main_status == 0) {
                attempt_fail(attempt, OUTCOME_FAILURE, "%s failed after its command (%s)", unit,
                        end->result);
                return;
        }
        attempt_fail(attempt,
                end->main_status == PROGRAM_EXIT_TEMPFAIL ? OUTCOME_RETRY : OUTCOME_FAILURE,
                "%s exited with status %d%s%s%s", unit, end->main_status,
                step ? ", which systemd has where it cannot start the command: " : "", step ?: "",
                step ? ", see the unit's journal" : "");
}

static void judge_signal(const UnitEnd *end, const char *unit, Attempt *attempt) {
        const char *name = sigabbrev_np(end->main_status);

        attempt_fail(attempt, OUTCOME_FAILURE, "%s was killed by signal %d%s%s%s%s", unit,
                end->main_status, name ? " (SIG" : "", name ?: "", name ? ")" : "",
                end->main_code == CLD_DUMPED ? " and dumped core" : "");
}

void unit_end_judge(const UnitEnd *end, const char *unit, usec_t started_at, Attempt *attempt) {
        bool exited = end->main_code == CLD_EXITED;
        bool killed = end->main_code == CLD_KILLED || end->main_code == CLD_DUMPED;

        /* What is told of the command may be of an earlier attempt. */
        if (end->main_started_at == 0 || end->main_started_at < started_at) {
                judge_start(end, unit, started_at, attempt);
                return;
        }
        attempt->exit_status = exited ? end->main_status : killed ? 128 + end->main_status : 0;

        if (is_word(end->result, "timeout"))
                judge_timeout(end, unit, started_at, attempt);
        else if (is_word(end->result, "oom-kill"))
                attempt_fail(attempt, OUTCOME_FAILURE,
                        "%s was killed for want of memory (MemoryMax=, or that of the host)", unit);
        else if (is_word(end->result, "watchdog"))
                attempt_fail(attempt, OUTCOME_FAILURE,
                        "%s gave no sign of life within WatchdogSec= and was ended", unit);
        else if (is_word(end->result, "protocol"))
                attempt_fail(attempt, OUTCOME_FAILURE,
                        "%s ended before it was ready, as its Type= asks for", unit);
        /* To systemd a service that is ended by SIGTERM has ended well, but a job has not. */
        else if (killed)
                judge_signal(end, unit, attempt);
        else if (is_word(end->result, "success") && exited)
                attempt->outcome = OUTCOME_SUCCESS;
        else if (exited)
                judge_exit(end, unit, attempt);
        else
                attempt_fail(attempt, OUTCOME_LOST, "systemd does not say how %s ended (%s)", unit,
                        end->result);
}
