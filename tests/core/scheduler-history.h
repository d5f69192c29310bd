/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One history of a scheduler with a few workers, told call by call to the scheduler and to its
 * model, which are compared after every call. The choices come from a seed, or from the bytes of a
 * fuzzer. */

#include "core/choices.h"

/* Lives through one history. Returns NULL, or the rule that was broken; *ret_step is the number of
 * the call at which the history ended. */
const char *history_run(Choices *choices, unsigned *ret_step);
