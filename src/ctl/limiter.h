/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A limiter in words, from its properties. The results are the caller's. */

#include <json-c/json.h>

char *limiter_rate(json_object *properties);    /* "50/s", as in the settings */
char *limiter_summary(json_object *properties); /* its tokens, rate, and who asked, in one line */
