/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "ctl/progress.h"
#include "ctl/text.h"

/* Over about how long rates are averaged. */
#define SMOOTHING (3 * USEC_PER_SEC)

#define BAR_MIN 10
#define BAR_MAX 40

/* A terminal that does not tell its width. */
#define COLUMNS_DEFAULT 80

static bool bar_is_drawn;

void progress_init(Progress *p, usec_t now) {
        *p = (Progress){ .fraction = FRACTION_UNKNOWN, .started_at = now, .sampled_at = now };
}

void progress_sample(Progress *p, uint64_t done, uint64_t failed, double fraction, usec_t now) {
        double span = (double) usec_sub(now, p->sampled_at);
        double total = (double) usec_sub(now, p->started_at);
        /* At first all that there was counts alike; later the older the less. */
        double weight = MAX(span / (span + SMOOTHING), span / total);

        if (span > 0) {
                double rate = (double) (done - p->done) * USEC_PER_SEC / span;
                double known = p->fraction >= 0 ? p->fraction : 0;
                double fraction_rate = (fraction - known) * USEC_PER_SEC / span;

                p->rate += weight * (rate - p->rate);
                if (fraction >= 0)
                        p->fraction_rate += weight * (fraction_rate - p->fraction_rate);
                p->sampled_at = now;
        }
        p->done = done;
        p->failed = failed;
        p->fraction = fraction;
}

usec_t progress_time_left(const Progress *p) {
        double left;

        if (p->fraction < 0 || p->fraction_rate <= 0)
                return USEC_INFINITY;
        left = (1 - p->fraction) / p->fraction_rate * USEC_PER_SEC;
        return left < (double) USEC_PER_YEAR ? (usec_t) left : USEC_INFINITY;
}

/* "0.25", "7.3", "120", "1.9k", "2.1M". */
static char *format_rate(double rate) {
        const char *unit = rate >= 999500 ? "M" : rate >= 999.5 ? "k" : "";
        double value = rate >= 999500 ? rate / 1e6 : rate >= 999.5 ? rate / 1e3 : rate;

        return text_format("%.*f%s", value < 0.995 ? 2 : value < 99.5 ? 1 : 0, value, unit);
}

/* Whole seconds; what somebody waits for is not known better. */
static char *format_seconds(usec_t t, const char *suffix) {
        _cleanup_free_ char *span = text_span(t - t % USEC_PER_SEC);

        return text_format("%s%s", span, suffix);
}

static char *figures(const Progress *p, usec_t now) {
        usec_t left = progress_time_left(p);
        _cleanup_free_ char *rate = format_rate(p->rate), *failed = NULL, *time = NULL;

        failed = p->failed > 0 ? text_format(", %" PRIu64 " failed", p->failed) : text_copy("");
        if (left != USEC_INFINITY)
                time = format_seconds(left + USEC_PER_SEC - 1, " left");
        else
                time = format_seconds(usec_sub(now, p->started_at), " so far");
        return text_format("%" PRIu64 " done%s, %s/s, %s", p->done, failed, rate, time);
}

/* "45% [####------]" with a bar of so many columns. */
static char *bar(double fraction, size_t columns) {
        size_t filled = (size_t) (fraction * (double) columns);
        char cells[BAR_MAX + 1];

        memset(cells, '-', columns);
        memset(cells, '#', MIN(filled, columns));
        cells[columns] = 0;
        return text_format("%3d%% [%s] ", (int) (fraction * 100), cells);
}

char *progress_line(const Progress *p, usec_t now, size_t columns) {
        _cleanup_free_ char *text = figures(p, now);
        size_t used = text_columns(text) + strlen("100% [] ");

        if (p->fraction >= 0 && used + BAR_MIN <= columns) {
                _cleanup_free_ char *cells =
                        bar(p->fraction, MIN(columns - used, (size_t) BAR_MAX));

                return text_format("%s%s", cells, text);
        }
        return text_ellipsize(text, columns);
}

/* ---- on the terminal ---- */

bool progress_bar_is_possible(void) {
        const char *term = getenv("TERM");

        return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

void progress_bar_draw(const Progress *progress, usec_t now) {
        pid_t foreground = tcgetpgrp(STDERR_FILENO);
        _cleanup_free_ char *line = NULL;
        struct winsize size = { 0 };
        size_t columns;

        /* While we are in the background, the terminal is somebody else's. */
        if (foreground >= 0 && foreground != getpgrp())
                return;
        /* Each time anew, for who changes the size of the window. */
        (void) ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
        columns = size.ws_col > 0 ? size.ws_col : COLUMNS_DEFAULT;
        /* The last column stays free, as some terminals wrap when it is written. */
        line = progress_line(progress, now, columns - 1);
        fprintf(stderr, "\r%s\x1B[K", line);
        bar_is_drawn = true;
}

void progress_bar_hide(void) {
        if (!bar_is_drawn)
                return;
        fputs("\r\x1B[K", stderr);
        bar_is_drawn = false;
}
