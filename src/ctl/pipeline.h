/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A pipeline in words, from its properties. */

#include <json-c/json.h>

#include "ctl/ctl.h"

char *pipeline_stages(json_object *properties); /* "parse → format"; the caller's */

void status_pipeline(Ctl *ctl, json_object *properties);
