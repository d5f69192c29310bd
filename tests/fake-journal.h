/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A journal for tests: a socket in a folder of its own, to which the log of this process goes. */

/* Before the first line is logged, as the log finds out once where it goes. 0 or -errno. */
int fake_journal_begin(void);
void fake_journal_end(void);

/* While it is not open nobody listens. 0 or -errno. */
int fake_journal_open(void);
int fake_journal_close(void);

const char *fake_journal_next(void); /* the next entry, or "" if there is none */
