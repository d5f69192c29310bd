/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a token costs, without any D-Bus:
 *
 *     limiter-granted NS ns    core/limiter alone: a take that is granted
 *     limiter-refused NS ns    … and one that is not
 *     try-granted NS ns        what TryAcquire calls: a look at the clock, the lock, and that
 *     try-refused NS ns
 *
 * Medians of several rounds. With `windows RATE BURST MSEC` it asks the core for tokens as fast as
 * it can, by the real clock and for so long, and looks at every window of time that begins and ends
 * with a grant:
 *
 *     windows-rate R tokens/s  what was granted beyond the burst, by the time from first to last
 *     windows-over N tokens    the most that any window had over burst + rate x window; exact, and
 *                              0 or less if the limiter keeps its word */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limiter.h"
#include "engine/engine.h"
#include "engine/shared-limiter.h"
#include "util/macro.h"

#define N_ROUNDS 5
#define N_CALLS 1000000

static const LimiterConfig ample = {
        .rate = 10000000,
        .period = USEC_PER_SEC,
        .burst = LIMITER_BURST_MAX,
};
static const LimiterConfig scarce = { .rate = 1, .period = USEC_PER_HOUR, .burst = 1 };

static uint64_t nsec_now(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

static int compare_doubles(const void *a, const void *b) {
        const double *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

static double median(double *values, size_t n) {
        qsort(values, n, sizeof(*values), compare_doubles);
        return values[n / 2];
}

static LimiterConfig config_for(LimiterVerdict verdict) {
        return verdict == LIMITER_TAKEN ? ample : scarce;
}

/* With a clock that is only counted on, ten calls to the microsecond: to read one is not part of
 * it. */
static double measure_core(LimiterVerdict expected) {
        const LimiterConfig config = config_for(expected);
        double rounds[N_ROUNDS];
        Limiter limiter;
        usec_t at, now = USEC_PER_SEC;

        limiter_init(&limiter, &config, now);
        (void) limiter_take(&limiter, now, 1, &at);
        for (unsigned round = 0; round < N_ROUNDS; round++) {
                uint64_t began = nsec_now();

                for (unsigned i = 0; i < N_CALLS; i++) {
                        now += i % 10 == 0;
                        if (limiter_take(&limiter, now, 1, &at) != expected)
                                abort();
                }
                rounds[round] = (double) (nsec_now() - began) / N_CALLS;
        }
        return median(rounds, N_ROUNDS);
}

static double measure_shared(Engine *engine, const char *name, LimiterVerdict expected) {
        const LimiterConfig config = config_for(expected);
        double rounds[N_ROUNDS];
        SharedLimiter *limiter;
        usec_t wait;

        if (engine_add_limiter(engine, name, &config, &limiter) < 0)
                abort();
        (void) shared_limiter_try(limiter, 1, &wait);
        for (unsigned round = 0; round < N_ROUNDS; round++) {
                uint64_t began = nsec_now();

                for (unsigned i = 0; i < N_CALLS; i++)
                        if (shared_limiter_try(limiter, 1, &wait) != expected)
                                abort();
                rounds[round] = (double) (nsec_now() - began) / N_CALLS;
        }
        if (engine_remove_limiter(engine, limiter) < 0)
                abort();
        return median(rounds, N_ROUNDS);
}

static void measure_costs(void) {
        sd_event *event = NULL;
        Engine *engine;

        if (sd_event_new(&event) < 0 || engine_new(event, &engine) < 0)
                abort();
        printf("limiter-granted %.1f ns\n", measure_core(LIMITER_TAKEN));
        printf("limiter-refused %.1f ns\n", measure_core(LIMITER_WAIT));
        printf("try-granted %.1f ns\n", measure_shared(engine, "ample", LIMITER_TAKEN));
        printf("try-refused %.1f ns\n", measure_shared(engine, "scarce", LIMITER_WAIT));
        engine_free(engine);
        sd_event_unref(event);
}

/* Grant number i (from 0) at moment t_i: the window from grant i to grant j has j - i + 1 of them,
 * and burst + rate x (t_j - t_i) are allowed. So what is over is the greatest rise of n - rate x t,
 * from before one grant to after a later one, less the burst; in units of a token x USEC_PER_SEC,
 * to have no fractions. */
static void measure_windows(uint64_t rate, uint64_t burst, usec_t span) {
        const LimiterConfig config = { .rate = rate, .period = USEC_PER_SEC, .burst = burst };
        usec_t first = 0, last = 0, begin = usec_now(CLOCK_MONOTONIC), now, at;
        int64_t least = INT64_MAX, most = INT64_MIN;
        uint64_t n = 0;
        Limiter limiter;

        limiter_init(&limiter, &config, begin);
        while ((now = usec_now(CLOCK_MONOTONIC)) < begin + span) {
                int64_t level;

                if (limiter_take(&limiter, now, 1, &at) != LIMITER_TAKEN)
                        continue;
                if (n == 0)
                        first = now;
                last = now;
                /* At most 10 minutes at 10^7 per second: below 2^53. */
                level = (int64_t) (n * USEC_PER_SEC) - (int64_t) (rate * (now - begin));
                least = MIN(least, level);
                most = MAX(most, level + (int64_t) USEC_PER_SEC - least);
                n++;
        }
        if (n <= burst || last == first)
                abort();
        printf("windows-rate %.3f tokens/s\n",
                (double) (n - burst) * (double) USEC_PER_SEC / (double) (last - first));
        printf("windows-over %.6f tokens\n",
                (double) (most - (int64_t) (burst * USEC_PER_SEC)) / (double) USEC_PER_SEC);
}

/* 1 to max. */
static uint64_t parse(const char *text, uint64_t max) {
        char *end;
        uint64_t n = strtoull(text, &end, 10);

        if (end == text || *end != '\0' || n < 1 || n > max) {
                fprintf(stderr, "bench-limiter: not a number from 1 to %" PRIu64 ": %s\n", max,
                        text);
                exit(2);
        }
        return n;
}

int main(int argc, char *argv[]) {
        if (argc == 1)
                measure_costs();
        else if (argc == 5 && strcmp(argv[1], "windows") == 0)
                measure_windows(parse(argv[2], 10000000), parse(argv[3], 10000000),
                        parse(argv[4], 600000) * USEC_PER_MSEC);
        else {
                fputs("usage: bench-limiter [windows RATE BURST MSEC]\n", stderr);
                return 2;
        }
        return EXIT_SUCCESS;
}
