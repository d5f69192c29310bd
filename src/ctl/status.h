/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What "sluicectl status" prints of one object, from its properties. */

#include <json-c/json.h>

#include "ctl/ctl.h"

void status_pool(Ctl *ctl, json_object *properties);
void status_job(Ctl *ctl, json_object *properties);
