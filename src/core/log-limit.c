/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/log-limit.h"

void log_limit_init(LogLimit *limit, uint32_t max, usec_t interval) {
        *limit = (LogLimit){ .max = max, .interval = interval };
}

uint64_t log_limit_end(LogLimit *limit) {
        uint64_t n = limit->n_left_out;

        log_limit_init(limit, limit->max, limit->interval);
        return n;
}

uint64_t log_limit_advance(LogLimit *limit, usec_t now) {
        return limit->ends_at > 0 && now >= limit->ends_at ? log_limit_end(limit) : 0;
}

bool log_limit_take(LogLimit *limit, usec_t now) {
        if (limit->ends_at == 0)
                limit->ends_at = usec_add(now, limit->interval);
        if (limit->n_taken < limit->max) {
                limit->n_taken++;
                return true;
        }
        limit->n_left_out++;
        return false;
}

usec_t log_limit_wake_at(const LogLimit *limit) {
        return limit->n_left_out > 0 ? limit->ends_at : USEC_INFINITY;
}
