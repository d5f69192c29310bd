/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Random numbers that a seed repeats (splitmix64 by Guy Steele, Doug Lea and Christine Flood), for
 * tests that search. */

#include <stdint.h>

static inline uint64_t random_next(uint64_t *state) {
        uint64_t z = *state += 0x9e3779b97f4a7c15;

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
}

/* 0 to n - 1. */
static inline uint64_t random_below(uint64_t *state, uint64_t n) {
        return random_next(state) % n;
}
