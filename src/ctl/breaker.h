/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A breaker in words, from its properties. The results are the caller's. */

#include <json-c/json.h>

char *breaker_retry(json_object *properties);    /* "retry in 12s"; NULL if there is no need to */
char *breaker_failures(json_object *properties); /* "2 failed in a row, 1 trip" */
char *breaker_summary(json_object *properties);  /* all but its state, in one line */
