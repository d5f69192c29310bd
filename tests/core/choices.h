/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where a history takes its choices from: a seed, or the bytes of a fuzzer. What was chosen from a
 * seed can be written down as bytes that repeat it, and be shortened to what matters. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct Choices Choices;

#define CHOICES_MAX 8192

struct Choices {
        uint64_t random;     /* state of the generator; used where data is NULL */
        const uint8_t *data; /* borrowed; what is read of it is cut off at the front */
        size_t size;
        uint8_t *written; /* borrowed: up to CHOICES_MAX are noted here, NULL = none */
        size_t n_written;
        FILE *story; /* borrowed: a history tells here what happens, NULL = nowhere */
};

/* 0 to n - 1, of at most 256; 0 where the bytes are used up. */
unsigned choices_below(Choices *choices, unsigned n);

/* Of up to CHOICES_MAX bytes. Removes some, and makes others 0, as long as what is left is still
 * wanted. Returns the size. */
size_t choices_shorten(uint8_t *data, size_t size,
        bool (*is_wanted)(const uint8_t *data, size_t size, const void *userdata),
        const void *userdata);
