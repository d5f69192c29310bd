/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The environment that all jobs of a pool have. It is built from nothing: none of what the daemon
 * was started with gets into it. */

/* What is in the environment of all jobs of a pool: a fixed PATH and LANG, the facts of the user
 * that the daemon runs as, SLUICE_POOL, and `settings` (KEY=VALUE), which win. Nothing of our own
 * environment. *ret is the caller's to strv_free(). 0, -ENOMEM, or -EINVAL with *ret_error. Looks
 * the user up, so it can block. */
int environment_new(char *const *settings, const char *pool, char ***ret, char **ret_error);
