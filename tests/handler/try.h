/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Try: an Attempt with what the engine gives it (a stop flag, an eventfd, output memory), and the
 * stop that the engine would give from another thread. */

#include <string.h>
#include <sys/eventfd.h>

#include "handler/handler.h"
#include "test.h"

typedef struct Try {
        Attempt attempt;
        atomic_int stop;
        _Atomic double progress;
        int wake_fd;
        void *memory; /* what output_alloc() gave last */
} Try;

static inline void *try_output_alloc(Attempt *attempt, size_t size) {
        Try *try = container_of(attempt, Try, attempt);

        free(try->memory);
        try->memory = malloc(size);
        return try->memory;
}

static inline void try_init(Try *try, const void *payload, size_t size) {
        memset(try, 0, sizeof(*try));
        try->progress = -1;
        try->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        assert_true(try->wake_fd >= 0);
        try->attempt = (Attempt){
                .id = 7,
                .payload = payload,
                .payload_size = size,
                .payload_fd = -EBADF,
                .output_fd = -EBADF,
                .pool = "pool",
                .tag = "tag",
                .attempt = 1,
                .worker = 3,
                .stop = &try->stop,
                .wake_fd = try->wake_fd,
                .progress = &try->progress,
                .output_alloc = try_output_alloc,
                .outcome = OUTCOME_FAILURE,
        };
}

static inline void try_wake(Try *try) {
        assert_int_equal(eventfd_write(try->wake_fd, 1), 0);
}

static inline void try_stop(Try *try) {
        atomic_store(&try->stop, JOB_STOP_CANCEL);
        try_wake(try);
}

static inline void try_done(Try *try) {
        if (try->attempt.output_owned)
                free(try->attempt.output);
        free(try->memory);
        free(try->attempt.error);
        (void) close(try->wake_fd);
}

static inline void assert_output(const Try *try, const void *expected, size_t size) {
        if (try->attempt.outcome != OUTCOME_SUCCESS)
                print_message("%s\n", try->attempt.error);
        assert_int_equal(try->attempt.outcome, OUTCOME_SUCCESS);
        assert_null(try->attempt.error);
        assert_int_equal(try->attempt.output_size, size);
        if (size > 0)
                assert_memory_equal(try->attempt.output, expected, size);
}

/* Did it fail with this outcome and exactly this text? */
static inline void assert_failed(const Try *try, Outcome outcome, const char *error) {
        assert_int_equal(try->attempt.outcome, outcome);
        assert_non_null(try->attempt.error);
        assert_string_equal(try->attempt.error, error);
}
