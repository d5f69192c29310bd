/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Many random histories, or the one that went wrong. */

#include <stdint.h>

/* Calls `live_through` with the seeds from 0 on, which fails the test where a rule is broken.
 * SLUICE_HISTORIES=N: with so many instead of 100,000; SLUICE_SEED=N: with this one alone. */
void histories_live_through(void (*live_through)(uint64_t seed));
