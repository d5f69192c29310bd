/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One history of a random graph: a few pools, pipelines over them (with the same pool twice, and
 * pools of several pipelines), plain jobs beside the items, and workers that do them in any order
 * and with any outcome. The parts of main and of the workers are played as the engine has them; the
 * choices come from a seed, or from the bytes of a fuzzer. */

#include "core/choices.h"

/* Lives through one history. Returns NULL, or the rule that was broken; *ret_step is the number of
 * the call at which the history ended. */
const char *pipeline_history_run(Choices *choices, unsigned *ret_step);
