/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The verbs. Each is defined at the end of the file of its noun, next to its options; main.c lists
 * them in the order in which --help shows them. */

#include "ctl/ctl.h"

/* list.c */
extern const Verb verb_list;
/* pool.c */
extern const Verb verb_pause, verb_resume, verb_drain, verb_clear, verb_kick;
/* status.c */
extern const Verb verb_status;
/* submit.c */
extern const Verb verb_submit, verb_run;
/* map.c */
extern const Verb verb_map;
/* job.c */
extern const Verb verb_jobs, verb_wait, verb_result, verb_cancel;
/* setting.c */
extern const Verb verb_set, verb_create, verb_remove;
/* breaker.c */
extern const Verb verb_trip, verb_reset;
/* limiter.c */
extern const Verb verb_acquire;
/* file.c */
extern const Verb verb_cat;
/* manager.c */
extern const Verb verb_reload, verb_check;
/* monitor.c */
extern const Verb verb_monitor;
