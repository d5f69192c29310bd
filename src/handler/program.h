/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Program: what the section [Command] describes, as commands and coprocesses start it: a command
 * line, a working directory, an environment made from nothing, and the CPUs it may use. */

#include <sched.h>

#include "handler/child.h"
#include "handler/error-tail.h"
#include "handler/handler.h"

/* EX_TEMPFAIL of sysexits.h: "try again later". */
#define PROGRAM_EXIT_TEMPFAIL 75

typedef struct Program Program;
typedef struct ProgramCpus ProgramCpus;

/* Constant once it is made; used by all workers of the pool. */
struct Program {
        const HandlerConfig *config; /* borrowed */
        ChildLimits limits;
        char **environment; /* owned: what all of the pool's children have */
        bool constant;      /* all have the command line of the settings as it is */
};

/* What one worker's children are to be moved to; used by that thread. */
struct ProgramCpus {
        cpu_set_t *own; /* owned: what the thread is pinned to; NULL = children stay there */
        cpu_set_t *all; /* owned: what children may use */
        size_t size;
};

/* Checks the settings for Handler=`kind`, and looks for the program. 0, -ENOMEM, or -errno as
 * open() of a handler returns it, with *ret_error. Can block. */
int program_init(Program *program, const HandlerConfig *config, const char *kind, char **ret_error);
void program_done(Program *program);

/* `cpus` is what worker_open() is given, in that thread. 0 or -errno. */
int program_cpus_init(ProgramCpus *cpus, const Program *program, const void *set, size_t size);
void program_cpus_done(ProgramCpus *cpus);

/* Starts it, with what the command line says of the attempt. `fds` are as in ChildSpec. 0, or
 * -errno that program_explain() knows; then nothing is left of it. */
int program_spawn(const Program *program, const ProgramCpus *cpus, const Attempt *attempt,
        char *const *envp, const int fds[static 3], Child *ret);

/* Why there is no child, in words that name what is to be mended, and what that means for a job:
 * its outcome and its exit status, which is 0 where the program itself is not the reason. */
Outcome program_explain(const Program *program, int r, int *ret_exit_status,
        char text[static ATTEMPT_ERROR_MAX + 1]);

/* How a child has ended: as the exit status of its job, which is 128 + N of one that was killed by
 * signal N, and in words, with the end of its standard error. */
int program_exit_status(const siginfo_t *status);
void program_tell_end(
        const siginfo_t *status, const ErrorTail *tail, char text[static ATTEMPT_ERROR_MAX + 1]);
