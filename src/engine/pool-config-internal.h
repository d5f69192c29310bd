/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the two halves of PoolConfig share: the table, for the checks of the whole. */

#include "engine/pool-config.h"

extern const Setting pool_settings[];
extern const size_t n_pool_settings;

/* The row of that name outside files; NULL if there is none. */
const Setting *pool_setting_find(const char *name);

bool pool_setting_is_given(const PoolConfig *config, const Setting *s);
bool pool_section_is_given(const PoolConfig *config, const char *section); /* also an empty one */
