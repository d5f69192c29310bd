/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* UnitEnd: what systemd tells of a service unit that was started and has ended, and what that means
 * for the job that it was. Pure. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "handler/handler.h"
#include "util/time.h"

typedef struct UnitEnd UnitEnd;

/* The longest word of systemd's that is of interest, with its NUL byte. */
#define UNIT_WORD_SIZE 32

/* Properties of the unit, and of its service. Times are CLOCK_MONOTONIC, 0 = never. */
struct UnitEnd {
        char active_state[UNIT_WORD_SIZE];
        char result[UNIT_WORD_SIZE];     /* Result= of the service */
        char job_result[UNIT_WORD_SIZE]; /* of the job that was to start it; "" = not heard of */
        bool condition_result, assert_result;
        usec_t condition_at, assert_at; /* when these two were found out */
        uint32_t job;                   /* one that systemd has still to do with it; 0 = none */
        pid_t main_pid, control_pid;
        int main_code, main_status; /* as in siginfo_t; code 0 = it never ran, or has not ended */
        usec_t main_started_at, active_at, inactive_at; /* when it began to be, and ceased to be */
        usec_t runtime_max;
        uint8_t invocation[16];
        bool has_invocation;
};

/* Is it over, with nothing to come? */
bool unit_end_is_reached(const UnitEnd *end);

/* Leaves the verdict in the attempt, for which `unit` was started at that time. */
void unit_end_judge(const UnitEnd *end, const char *unit, usec_t started_at, Attempt *attempt);
