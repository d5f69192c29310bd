/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One history of a scheduler with a few workers, told call by call to the scheduler and to its
 * model, which are compared after every call. The choices come from a seed, or from the bytes of a
 * fuzzer. */

#include <stddef.h>
#include <stdint.h>

typedef struct Choices Choices;

struct Choices {
        uint64_t random;     /* state of the generator; used where data is NULL */
        const uint8_t *data; /* borrowed; what is read of it is cut off at the front */
        size_t size;
};

/* Lives through one history. Returns NULL, or the rule that was broken; *ret_step is the number of
 * the call at which the history ended. */
const char *history_run(Choices *choices, unsigned *ret_step);
