/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Child: a process in a session of its own, from its spawn to its reaping. Used by one thread. */

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "util/macro.h"

typedef struct Child {
        pid_t pid;  /* also its session and its process group; 0 = none */
        int pidfd;  /* owned; readable once the child has exited */
        bool swept; /* was asked to stop: nothing of its session is to remain */
} Child;

#define CHILD_NONE ((Child){ .pidfd = -EBADF })

/* What of the daemon's is not for its children. Found out once, at the start. */
typedef struct ChildLimits {
        bool lower_nofile;    /* our soft limit of open files is above what select() can take */
        struct rlimit nofile; /* theirs */
        bool raise_oom_score; /* we are protected from the OOM killer */
} ChildLimits;

typedef struct ChildSpec {
        const char *program; /* absolute path */
        char *const *argv;
        char *const *envp;
        const char *folder;        /* its working directory */
        int fds[3];                /* borrowed: its standard input, output and error; each >= 3 */
        const ChildLimits *limits; /* borrowed */
} ChildSpec;

void child_limits_init(ChildLimits *limits);

/* Starts the program: own session, no signal blocked or ignored, open fds 0, 1 and 2 only. Returns
 * 0, or -errno if it could not be started; then nothing is left of it. */
int child_spawn(const ChildSpec *spec, Child *ret);

/* Asks the child and all of its process group to end (SIGTERM), also what is stopped. Does nothing
 * once the child is reaped. */
void child_terminate(Child *child);

/* Ends them by force, or does nothing likewise. child->pidfd becomes readable soon, unless the
 * kernel itself hangs. */
void child_kill(Child *child);

/* Collects the status of a child whose pidfd is readable. What it left behind in its process group
 * ends now; of one that was asked to stop, whatever remains of its session. Returns 0, or -errno if
 * somebody else has taken the status. */
int child_reap(Child *child, siginfo_t *ret_status);

/* Ends and reaps a child that is still there. */
void child_done(Child *child);
