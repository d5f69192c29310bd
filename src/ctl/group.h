/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Groups on the command line: "group/17". */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/ctl.h"
#include "util/time.h"

bool group_is_named(const char *s);
int group_id_parse(const char *s, uint64_t *ret); /* says what is wrong */
char *group_path(uint64_t id);

/* All properties. -ENOENT, and nothing said, if there is none and `optional`. */
int group_get(Ctl *ctl, uint64_t id, bool optional, json_object **ret);

/* Waits, and prints how far it is then. 0 if all its jobs have succeeded, else an exit status; both
 * of these say what went wrong. */
int group_wait(Ctl *ctl, uint64_t id, usec_t timeout);
int group_cancel(Ctl *ctl, uint64_t id);

void status_group(Ctl *ctl, json_object *properties);
