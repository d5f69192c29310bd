/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The files of the database, and what becomes of those that are damaged. */

#define DATABASE_FILE "state.db"

/* Renames the database and what belongs to it to names with the date, so that another one can be
 * begun, and logs that. Nothing is ever deleted. 0 or -errno. */
int set_aside(int dir_fd, const char *dir, const char *why);

/* Does the same to the log of a database that is not there: it belongs to no other. */
int set_stray_log_aside(int dir_fd, const char *dir);
