/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The entry of a fuzz target, as libFuzzer and fuzz-main.c call it. A target asserts what it
 * expects, in release builds as well. */

#include <stddef.h>
#include <stdint.h>

#undef NDEBUG

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
