/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The file of a plug-in: where it is looked for, whether it can be trusted, and its loading. A
 * plug-in is never unloaded. Main thread. */

struct sluice_module;

/* Finds the plug-in that `path` names (an absolute path, or a bare file name in the module folder),
 * checks that it is trustworthy and of our interface, and loads it. Returns 0, or -errno with
 * *ret_error (malloc()ed, the caller's) saying what is wrong: -ENOEXEC if it is not there, somebody
 * else could write it, or it is no plug-in for this version; -EINVAL if `path` is neither; -ENOMEM.
 */
int module_file_load(const char *path, const struct sluice_module **ret, char **ret_error);
