/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/program.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "handler/command-line.h"
#include "handler/environment.h"
#include "util/strv.h"

#define EXIT_NOT_EXECUTABLE 126
#define EXIT_MISSING 127

/* Is there a program that we may execute? */
static int check_file(const char *program, char **ret_error) {
        struct stat st;

        if (strlen(program) >= PATH_MAX || stat(program, &st) < 0)
                return handler_refuse(ret_error, -ENOEXEC, "ExecStart=: %s: %s", program,
                        strlen(program) >= PATH_MAX ? "the path is too long" : strerror(errno));
        if (!S_ISREG(st.st_mode))
                return handler_refuse(ret_error, -ENOEXEC, "ExecStart=: %s is not a file", program);
        if (faccessat(AT_FDCWD, program, X_OK, AT_EACCESS) < 0)
                return handler_refuse(
                        ret_error, -ENOEXEC, "ExecStart=: %s is not executable: %m", program);
        return 0;
}

static int check(const HandlerConfig *config, const char *kind, char **ret_error) {
        int r;

        if (strv_length(config->exec_start) == 0)
                return handler_refuse(ret_error, -EINVAL,
                        "ExecStart= is missing: it is the command line of Handler=%s", kind);
        if (config->exec_start[0][0] != '/')
                return handler_refuse(ret_error, -ENOEXEC, "ExecStart=: %s is not an absolute path",
                        config->exec_start[0]);
        if (config->working_directory[0] != '/')
                return handler_refuse(ret_error, -EINVAL,
                        "WorkingDirectory=%s is not an absolute path", config->working_directory);

        r = command_line_check(config->exec_start + 1, ret_error);
        if (r < 0)
                return r;
        return check_file(config->exec_start[0], ret_error);
}

int program_init(
        Program *program, const HandlerConfig *config, const char *kind, char **ret_error) {
        int r;

        r = check(config, kind, ret_error);
        if (r < 0)
                return r;

        *program = (Program){
                .config = config,
                .constant = command_line_is_constant(config->exec_start + 1),
        };
        child_limits_init(&program->limits);
        return environment_new(config->environment, config->pool, &program->environment, ret_error);
}

void program_done(Program *program) {
        program->environment = strv_free(program->environment);
}

int program_cpus_init(ProgramCpus *cpus, const Program *program, const void *set, size_t size) {
        _cleanup_free_ cpu_set_t *own = NULL, *all = NULL;

        *cpus = (ProgramCpus){};
        if (program->config->pin_commands || size == 0)
                return 0;

        own = malloc(size);
        all = malloc(size);
        if (!own || !all)
                return -ENOMEM;
        if (sched_getaffinity(0, size, own) < 0)
                return -errno;
        memcpy(all, set, size);
        if (CPU_EQUAL_S(size, own, all))
                return 0;

        *cpus = (ProgramCpus){ .own = TAKE_PTR(own), .all = TAKE_PTR(all), .size = size };
        return 0;
}

void program_cpus_done(ProgramCpus *cpus) {
        free(cpus->own);
        free(cpus->all);
        *cpus = (ProgramCpus){};
}

/* The child may use all CPUs of its pool, and a new process has the set of the thread that makes
 * it. Widening that of the child afterwards would come too late for what it starts itself. */
static int spawn_on_all_cpus(const ProgramCpus *cpus, const ChildSpec *spec, Child *ret) {
        int r;

        if (!cpus->own)
                return child_spawn(spec, ret);

        (void) sched_setaffinity(0, cpus->size, cpus->all);
        r = child_spawn(spec, ret);
        (void) sched_setaffinity(0, cpus->size, cpus->own);
        return r;
}

int program_spawn(const Program *program, const ProgramCpus *cpus, const Attempt *attempt,
        char *const *envp, const int fds[static 3], Child *ret) {
        const HandlerConfig *config = program->config;
        _cleanup_strv_ char **line = NULL;
        int r;

        if (!program->constant || attempt->arguments) {
                r = command_line_expand(config->exec_start, attempt, &line);
                if (r < 0)
                        return r;
        }

        return spawn_on_all_cpus(cpus,
                &(ChildSpec){
                        .program = config->exec_start[0],
                        .argv = line ?: config->exec_start,
                        .envp = envp,
                        .folder = config->working_directory,
                        .fds = { fds[0], fds[1], fds[2] },
                        .limits = &program->limits,
                },
                ret);
}

Outcome program_explain(const Program *program, int r, int *ret_exit_status,
        char text[static ATTEMPT_ERROR_MAX + 1]) {
        const char *path = program->config->exec_start[0];
        const char *folder = program->config->working_directory;
        struct stat st;

        *ret_exit_status = 0;
        if (stat(folder, &st) < 0) {
                (void) snprintf(text, ATTEMPT_ERROR_MAX + 1, "WorkingDirectory=%s: %m", folder);
                return OUTCOME_FAILURE;
        }
        if (!S_ISDIR(st.st_mode)) {
                (void) snprintf(
                        text, ATTEMPT_ERROR_MAX + 1, "WorkingDirectory=%s: not a folder", folder);
                return OUTCOME_FAILURE;
        }

        switch (-r) {
        case ENOENT:
        case ENOTDIR:
                *ret_exit_status = EXIT_MISSING;
                (void) snprintf(text, ATTEMPT_ERROR_MAX + 1, "%s %s", path,
                        stat(path, &st) < 0 ? "is missing"
                                            : "names an interpreter that is missing");
                return OUTCOME_FAILURE;
        case EACCES:
        case ENOEXEC:
        case EISDIR:
                *ret_exit_status = EXIT_NOT_EXECUTABLE;
                (void) snprintf(text, ATTEMPT_ERROR_MAX + 1, "%s is not executable: %s", path,
                        stat(path, &st) >= 0 && S_ISDIR(st.st_mode) ? "it is a folder"
                                                                    : strerror(-r));
                return OUTCOME_FAILURE;
        case EAGAIN:
        case ENOMEM:
        case EMFILE:
        case ENFILE:
        case ETXTBSY:
                (void) snprintf(text, ATTEMPT_ERROR_MAX + 1, "%s cannot be started now: %s", path,
                        strerror(-r));
                return OUTCOME_RETRY;
        default:
                (void) snprintf(text, ATTEMPT_ERROR_MAX + 1, "%s cannot be started: %s", path,
                        strerror(-r));
                return OUTCOME_FAILURE;
        }
}

int program_exit_status(const siginfo_t *status) {
        return status->si_code == CLD_EXITED ? status->si_status : 128 + status->si_status;
}

void program_tell_end(
        const siginfo_t *status, const ErrorTail *tail, char text[static ATTEMPT_ERROR_MAX + 1]) {
        char error[ERROR_TAIL_MAX + 3];
        const char *name;

        if (status->si_code == CLD_EXITED) {
                (void) snprintf(text, ATTEMPT_ERROR_MAX + 1, "exit status %d%s", status->si_status,
                        error_tail_text(tail, error));
                return;
        }
        name = sigabbrev_np(status->si_status);
        (void) snprintf(text, ATTEMPT_ERROR_MAX + 1, "killed by signal %d%s%s%s%s",
                status->si_status, name ? " (" : "", name ?: "", name ? ")" : "",
                error_tail_text(tail, error));
}
