/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* sleep: a job takes the seconds that its payload says ("0.25"), or those of the option seconds=
 * where the payload is empty. It holds its worker meanwhile and hears a cancel at once. */

#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sluice/module.h>

#define NSEC_PER_SEC UINT64_C(1000000000)
#define NSEC_PER_MSEC UINT64_C(1000000)

/* Somebody who looks at the progress sees it move, and an idle machine is not kept awake for it. */
#define STEP (100 * NSEC_PER_MSEC)

typedef struct Sleep {
        uint64_t nsec; /* for an empty payload */
} Sleep;

/* Reads decimal seconds, up to nine digits before the point and any number after it. */
static bool parse_seconds(const char *s, size_t size, uint64_t *ret) {
        uint64_t seconds = 0, nsec = 0, unit = NSEC_PER_SEC / 10;
        size_t i = 0, n_digits = 0;

        for (; i < size && s[i] >= '0' && s[i] <= '9'; i++) {
                if (++n_digits > 9)
                        return false;
                seconds = seconds * 10 + (uint64_t) (s[i] - '0');
        }
        if (i < size && s[i] == '.')
                for (i++; i < size && s[i] >= '0' && s[i] <= '9'; i++, n_digits++) {
                        nsec += (uint64_t) (s[i] - '0') * unit;
                        unit /= 10;
                }
        if (i < size && s[i] == '\n') /* as `echo 0.25` writes it */
                i++;
        if (i < size || n_digits == 0)
                return false;

        *ret = seconds * NSEC_PER_SEC + nsec;
        return true;
}

static uint64_t now(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * NSEC_PER_SEC + (uint64_t) ts.tv_nsec;
}

/* Waits for the stop, at most `nsec`. */
static void wait_for_stop(struct sluice_job *job, uint64_t nsec) {
        struct pollfd stop = { .fd = sluice_stop_fd(job), .events = POLLIN };
        struct timespec ts = {
                .tv_sec = (time_t) (nsec / NSEC_PER_SEC),
                .tv_nsec = (long) (nsec % NSEC_PER_SEC),
        };

        if (ppoll(&stop, 1, &ts, NULL) > 0 && !sluice_stopped(job)) {
                /* "May have changed": the fd is readable for a stop that was meant for another job,
                 * and stays so. Looking at the clock now and then is all that is left. */
                if (nsec > 10 * NSEC_PER_MSEC)
                        ts = (struct timespec){ .tv_nsec = 10 * NSEC_PER_MSEC };
                (void) nanosleep(&ts, NULL);
        }
}

static int sleep_process(void *state, struct sluice_job *job) {
        const Sleep *sleep = state;
        uint64_t total = sleep->nsec, start, elapsed;

        if (job->payload_size > 0 && !parse_seconds(job->payload, job->payload_size, &total)) {
                sluice_error(job, "the payload is not a number of seconds like 0.25");
                return SLUICE_FATAL;
        }

        start = now();
        for (;;) {
                elapsed = now() - start;
                if (elapsed >= total)
                        return SLUICE_OK;
                if (sluice_stopped(job)) {
                        sluice_error(job, "woken up");
                        return SLUICE_FAILED;
                }

                sluice_progress(job, (double) elapsed / (double) total);
                wait_for_stop(job, total - elapsed < STEP ? total - elapsed : STEP);
        }
}

static int sleep_open(const char *const *options, void **state, char *error, size_t error_size) {
        Sleep *sleep = calloc(1, sizeof(*sleep));

        if (!sleep) {
                (void) snprintf(error, error_size, "not enough memory");
                return -1;
        }

        for (; *options; options++) {
                const char *value = *options + strlen("seconds=");

                if (strncmp(*options, "seconds=", strlen("seconds=")) != 0 ||
                        !parse_seconds(value, strlen(value), &sleep->nsec)) {
                        (void) snprintf(error, error_size,
                                "\"%s\" is not seconds= with a number like 0.25", *options);
                        free(sleep);
                        return -1;
                }
        }

        *state = sleep;
        return 0;
}

SLUICE_MODULE(.name = "sleep", .open = sleep_open, .close = free, .process = sleep_process);
