/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What several verbs show of a limiter. */

#include <json-c/json.h>

#include "ctl/ctl.h"

/* "50/s", as in the settings; the caller's. */
char *limiter_rate(json_object *properties);

/* Prints a table of those among the objects (by path, then by interface), or nothing at all. */
void limiter_list(Ctl *ctl, json_object *objects);
