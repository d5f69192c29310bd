/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One history of pools that share a limiter and a breaker, with all policies at once and without
 * threads: the functions of src/core are called as the engine calls them, in any order that the
 * engine could. After every call the rules are looked at that no history may break. */

#include "core/choices.h"

/* Lives through one history. Returns NULL, or the rule that was broken. */
const char *policy_history_run(Choices *choices);
