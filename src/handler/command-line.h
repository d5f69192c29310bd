/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The command line of a job: the words of the settings, with the job's facts put in for their
 * specifiers. */

#include "handler/handler.h"

/* Is every specifier in the words one that we know? 0, or -EINVAL with *ret_error. */
int command_line_check(char *const *words, char **ret_error);

/* Would all jobs have this command line, so that it can be used as it is? */
bool command_line_is_constant(char *const *words);

/* `words` with the specifiers replaced in all but the first, then the attempt's arguments as they
 * are. *ret is the caller's to strv_free(). 0 or -ENOMEM. */
int command_line_expand(char *const *words, const Attempt *attempt, char ***ret);
