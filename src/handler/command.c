/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Handler=command: each job is a run of a program, with the payload as its standard input and its
 * standard output as the job's output. With Batch=netstring a run is that of a batch of jobs, see
 * handler/command-batch.h; its exit status is the verdict on all of them.
 *
 * A job costs one spawn and as few system calls around it as there can be. The pipes' writing ends
 * stay open here as well, so that a pipe never ends: what ends a job is its child's exit alone,
 * which the pidfd tells. That saves two wake-ups per job, and it does not matter who else still
 * holds a pipe: a grandchild in the background, or the child of another worker between its fork and
 * its exec. After the exit, what the pipes hold by then is read, and no more.
 *
 * The payload is written before the program starts, so that feeding a program that does not read
 * and writes instead cannot dead-lock: a small one into a pipe, which surely has room for one page;
 * a bigger one into a memfd, which costs one copy and no further wake-up, where a pipe of 64 KiB
 * would need one for each time that it is full. */

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "handler/command-batch.h"
#include "handler/handler.h"
#include "handler/program.h"
#include "handler/stderr-log.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/strv.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* As much as a pipe holds: what one read() can return. */
#define READ_SIZE ((size_t) 64 * 1024)

/* Up to this size an output is copied into memory of the engine's, and the buffer used again. */
#define OUTPUT_COPY_MAX READ_SIZE

/* "SLUICE_JOB=" or "SLUICE_BATCH=", and a number. */
#define VARIABLE_SIZE ((size_t) 40)

/* How often the stop flag is looked at while the eventfd is readable for no reason of this job. */
#define SPURIOUS_PAUSE (50 * USEC_PER_MSEC)

/* Every kind of handler defines this in its own file. */
struct Handler {
        const HandlerConfig *config; /* borrowed */
        Program program;
        int null_fd; /* owned: standard input of jobs without a payload */
};

struct HandlerWorker {
        ProgramCpus cpus;
        char **envp;        /* owned, but not its strings: the job's, then the pool's */
        char *output;       /* owned: what the child has written so far */
        size_t output_room; /* bytes allocated */
        char *read;         /* owned: the READ_SIZE bytes that are read into */
        ErrorTail tail;
        StderrLog log; /* where its lines get with the job as a field: otherwise nobody's, as the
                          error text of a job that failed has the end of them */
};

/* One run of the program, while it lasts. */
typedef struct Run {
        Handler *handler;
        HandlerWorker *worker;
        Attempt *const *attempts; /* those of the batch, or the one */
        size_t n_attempts;
        const Attempt *attempt; /* the first one, for what they have in common */
        BatchReply reply;       /* where there are batches */
        Child child;
        int input_fd; /* owned */
        Pipe output, error;
        size_t output_size; /* in worker->output */
        bool failed;        /* the attempts have their verdict already, whatever the status is */
        bool stopping;
        usec_t kill_at; /* while stopping: when patience ends */
} Run;

static bool run_has_batches(const Run *run) {
        return run->handler->config->netstring_batches;
}

/* The verdict on all attempts. */
_printf_(3, 4) static void run_fail(Run *run, Outcome outcome, const char *format, ...) {
        char text[ATTEMPT_ERROR_MAX + 1];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        for (size_t i = 0; i < run->n_attempts; i++)
                attempt_fail(run->attempts[i], outcome, "%s", text);
}

static void run_set_exit_status(Run *run, int status) {
        for (size_t i = 0; i < run->n_attempts; i++)
                run->attempts[i]->exit_status = status;
}

/* One member of a batch that is to stop does not stop the others. */
static bool run_is_to_stop(const Run *run) {
        for (size_t i = 0; i < run->n_attempts; i++)
                if (attempt_stop(run->attempts[i]) == JOB_STOP_NONE)
                        return false;
        return true;
}

static void run_done(Run *run) {
        batch_reply_done(&run->reply);
        child_done(&run->child);
        pipe_close(&run->output);
        pipe_close(&run->error);
        run->input_fd = fd_close(run->input_fd);
        if (log_has_fields())
                stderr_log_end(&run->worker->log, usec_now(CLOCK_MONOTONIC));

        /* One that grew for an output which nobody gets is not kept for the next job. */
        if (run->worker->output_room > 2 * OUTPUT_COPY_MAX) {
                free(run->worker->output);
                run->worker->output = NULL;
                run->worker->output_room = 0;
        }
}

/* Puts the input where the child can read it to its end, without anybody having to feed it. */
static int input_write(const Run *run, int fd) {
        if (run_has_batches(run))
                return batch_input_write(
                        run->attempts, run->n_attempts, fd, run->worker->read, READ_SIZE);
        return fd_write_all(fd, run->attempt->payload, run->attempt->payload_size);
}

static int input_from_pipe(const Run *run, int *ret) {
        Pipe pipe = PIPE_NONE;
        int r;

        r = pipe_open(&pipe);
        if (r < 0)
                return r;

        r = input_write(run, pipe.write_fd);
        if (r >= 0)
                *ret = TAKE_FD(pipe.read_fd);
        pipe_close(&pipe);
        return r;
}

static int input_from_memory(const Run *run, int *ret) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = memfd_create("sluice-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
        if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
                fd = memfd_create("sluice-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;

        r = input_write(run, fd);
        if (r < 0)
                return r;
        if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;

        /* The child gets an fd that it could write to as well. */
        if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
                return -errno;

        *ret = TAKE_FD(fd);
        return 0;
}

/* The submitter's fd. A file is opened again where we may, as offsets belong to the open file: an
 * attempt must neither see nor move that of another attempt, or of the submitter. *ret_owned is an
 * fd to be closed, or -EBADF if *ret is the submitter's own. */
static int input_from_fd(int fd, int *ret, int *ret_owned) {
        char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];
        struct stat st;
        int flags, reopened;

        /* We could perhaps read a file that was only lent to us for writing. */
        flags = fcntl(fd, F_GETFL);
        if (flags < 0)
                return -errno;
        if ((flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY)
                return -EBADF;

        *ret = fd;
        *ret_owned = -EBADF;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return 0;

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        reopened = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (reopened >= 0)
                *ret = *ret_owned = reopened;
        else if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        return 0;
}

static int run_open_input(Run *run, int *ret) {
        const Attempt *attempt = run->attempt;
        size_t size;
        int r;

        if (attempt->payload_fd >= 0)
                return input_from_fd(attempt->payload_fd, ret, &run->input_fd);

        size = run_has_batches(run) ? batch_input_size(run->attempts, run->n_attempts)
                                    : attempt->payload_size;
        if (size == 0) {
                *ret = run->handler->null_fd;
                return 0;
        }

        r = size <= PIPE_BUF ? input_from_pipe(run, &run->input_fd)
                             : input_from_memory(run, &run->input_fd);
        if (r >= 0)
                *ret = run->input_fd;
        return r;
}

/* The child's environment, of which the first variables are told what is run. *ret_tag is the
 * caller's to free. NULL without memory. */
static char **run_environment(const Run *run, char first[static VARIABLE_SIZE], char **ret_tag) {
        char **envp = run->worker->envp;

        if (run_has_batches(run)) {
                (void) snprintf(first, VARIABLE_SIZE, "SLUICE_BATCH=%zu", run->n_attempts);
                envp[1] = first;
                return envp + 1;
        }

        (void) snprintf(first, VARIABLE_SIZE, "SLUICE_JOB=%" PRIu64, run->attempt->id);
        if (asprintf(ret_tag, "SLUICE_TAG=%s", run->attempt->tag) < 0)
                return NULL;
        envp[0] = first;
        envp[1] = *ret_tag;
        return envp;
}

static int run_spawn(Run *run, int input_fd) {
        int output_fd = run->output.write_fd >= 0 ? run->output.write_fd : run->attempt->output_fd;
        char variable[VARIABLE_SIZE], **envp;
        _cleanup_free_ char *tag = NULL;

        envp = run_environment(run, variable, &tag);
        if (!envp)
                return -ENOMEM;

        return program_spawn(&run->handler->program, &run->worker->cpus, run->attempt, envp,
                (int[]){ input_fd, output_fd, run->error.write_fd }, &run->child);
}

static void run_fail_spawn(Run *run, int r) {
        char text[ATTEMPT_ERROR_MAX + 1];
        Outcome outcome;
        int status;

        outcome = program_explain(&run->handler->program, r, &status, text);
        run_set_exit_status(run, status);
        run_fail(run, outcome, "%s", text);
}

/* Opens the standard streams and starts the program; on failure the attempts say why. */
static int run_start(Run *run) {
        int input_fd = -EBADF, r;

        r = run_open_input(run, &input_fd);
        if (r < 0) {
                run_fail(run, r == -EBADF ? OUTCOME_FATAL : OUTCOME_RETRY,
                        "the payload cannot be given to the command: %s",
                        r == -EBADF ? "it came as an fd that is not open for reading"
                                    : strerror(-r));
                return r;
        }

        if (run->attempt->output_fd < 0)
                r = pipe_open(&run->output);
        if (r >= 0)
                r = pipe_open(&run->error);
        if (r >= 0)
                r = run_spawn(run, input_fd);
        if (r < 0)
                run_fail_spawn(run, r);
        else
                stderr_log_begin(&run->worker->log, run->child.pid);
        return r;
}

/* Asks the child to end, and begins to count its time. */
static void run_stop(Run *run) {
        if (run->stopping)
                return;
        run->stopping = true;
        run->kill_at = usec_add(usec_now(CLOCK_MONOTONIC), run->handler->config->stop_timeout);
        child_terminate(&run->child);
}

/* The verdict that the attempts will have, however the child ends, which it is asked to do now. */
static void run_give_up(Run *run, Outcome outcome, const char *text) {
        run->failed = true;
        run_fail(run, outcome, "%s", text);
        run_stop(run);
}

/* Takes n bytes that were just read from standard output. When there are too many, what follows is
 * read and forgotten, so that the child does not hang in a write() while it is to end. */
static void run_keep_output(Run *run, size_t n) {
        HandlerWorker *worker = run->worker;
        int r;

        if (run->failed)
                return;
        if (run_has_batches(run)) {
                r = batch_reply_feed(&run->reply, worker->read, n);
                if (r < 0)
                        run_give_up(run, r == -ENOMEM ? OUTCOME_RETRY : OUTCOME_FAILURE,
                                batch_reply_fault(&run->reply));
                return;
        }
        if (n > run->handler->config->output_max - run->output_size) {
                run_give_up(run, OUTCOME_FAILURE, "more output than OutputMax= allows");
                return;
        }

        if (n > worker->output_room - run->output_size) {
                size_t room = MAX(2 * worker->output_room, run->output_size + n);
                char *output = realloc(worker->output, room);

                if (!output) {
                        run_give_up(run, OUTCOME_RETRY, "not enough memory for the output");
                        return;
                }
                worker->output = output;
                worker->output_room = room;
        }

        memcpy(worker->output + run->output_size, worker->read, n);
        run->output_size += n;
}

/* The same for standard error. */
static void run_keep_error(Run *run, size_t n) {
        HandlerWorker *worker = run->worker;

        error_tail_add(&worker->tail, worker->read, n);
        if (log_has_fields())
                stderr_log_add(&worker->log, worker->read, n, usec_now(CLOCK_MONOTONIC));
}

/* Reads once, at most `max` bytes; returns how many. Does not block where poll() or FIONREAD said
 * that there is something, as nobody else reads here. */
static size_t run_read(Run *run, const Pipe *pipe, size_t max) {
        ssize_t n = read(pipe->read_fd, run->worker->read, MIN(max, READ_SIZE));

        if (n <= 0)
                return 0;
        if (pipe == &run->output)
                run_keep_output(run, (size_t) n);
        else
                run_keep_error(run, (size_t) n);
        return (size_t) n;
}

/* Reads what is in the pipe now. Who still writes after the child's exit is not waited for. */
static void run_drain(Run *run, const Pipe *pipe) {
        int left = 0;

        if (pipe->read_fd < 0 || ioctl(pipe->read_fd, FIONREAD, &left) < 0)
                return;
        while (left > 0) {
                size_t n = run_read(run, pipe, (size_t) left);

                if (n == 0)
                        return;
                left -= (int) n;
        }
}

/* Waits for the child's exit; meanwhile reads what it writes, and hears of a stop. Returns 0, or
 * -errno if it cannot wait. */
static int run_wait(Run *run) {
        enum { EXITED, WAKE, OUTPUT, ERROR };
        struct pollfd fds[] = {
                [EXITED] = { .fd = run->child.pidfd, .events = POLLIN },
                [WAKE] = { .fd = run->attempt->wake_fd, .events = POLLIN },
                [OUTPUT] = { .fd = run->output.read_fd, .events = POLLIN },
                [ERROR] = { .fd = run->error.read_fd, .events = POLLIN },
        };
        bool spurious = false;

        for (;;) {
                usec_t timeout = USEC_INFINITY;
                struct timespec ts;

                /* It stays readable, so there is nothing more to learn from it. */
                fds[WAKE].fd = run->stopping || spurious ? -EBADF : run->attempt->wake_fd;
                if (run->stopping)
                        timeout = usec_sub(run->kill_at, usec_now(CLOCK_MONOTONIC));
                else if (spurious)
                        timeout = SPURIOUS_PAUSE;
                ts.tv_sec = (time_t) (timeout / USEC_PER_SEC);
                ts.tv_nsec = (long) (timeout % USEC_PER_SEC) * 1000;

                if (ppoll(fds, ELEMENTSOF(fds), timeout == USEC_INFINITY ? NULL : &ts, NULL) < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }

                /* First, as an exit that came before a stop is the command's own. */
                if (fds[EXITED].revents)
                        return 0;

                if (fds[OUTPUT].revents)
                        (void) run_read(run, &run->output, READ_SIZE);
                if (fds[ERROR].revents)
                        (void) run_read(run, &run->error, READ_SIZE);

                if (!run->stopping && run_is_to_stop(run))
                        run_stop(run);
                else if (run->stopping && run->kill_at <= usec_now(CLOCK_MONOTONIC)) {
                        child_kill(&run->child);
                        run->kill_at = USEC_INFINITY;
                }
                spurious = fds[WAKE].revents;
        }
}

static void run_give_output(Run *run) {
        HandlerWorker *worker = run->worker;
        Attempt *attempt = run->attempts[0];
        char *output;

        if (run_has_batches(run)) {
                if (batch_reply_end(&run->reply) < 0)
                        run_fail(run, OUTCOME_FAILURE, "%s", batch_reply_fault(&run->reply));
                return;
        }

        attempt->outcome = OUTCOME_SUCCESS;
        if (run->output_size == 0)
                return;

        if (run->output_size <= OUTPUT_COPY_MAX) {
                output = attempt_output_alloc(attempt, run->output_size);
                if (!output) {
                        attempt_fail(attempt, OUTCOME_RETRY, "not enough memory for the output");
                        return;
                }
                memcpy(output, worker->output, run->output_size);
                return;
        }

        output = realloc(worker->output, run->output_size) ?: worker->output;
        worker->output = NULL;
        worker->output_room = 0;
        attempt_give_output(attempt, output, run->output_size);
}

/* From the child's status to the verdict. */
static void run_judge(Run *run, const siginfo_t *status) {
        int exit_status = program_exit_status(status);
        char text[ATTEMPT_ERROR_MAX + 1], error[ERROR_TAIL_MAX + 3];

        run_set_exit_status(run, exit_status);
        if (run->failed)
                return;
        if (exit_status != 0) {
                program_tell_end(status, &run->worker->tail, text);
                run_fail(run,
                        exit_status == PROGRAM_EXIT_TEMPFAIL ? OUTCOME_RETRY : OUTCOME_FAILURE,
                        "%s", text);
        } else if (run->stopping)
                /* Programs that end in good order when asked to have seldom done all their work. */
                run_fail(run, OUTCOME_FAILURE, "ended because it was asked to stop%s",
                        error_tail_text(&run->worker->tail, error));
        else
                run_give_output(run);
}

static void command_run_batch(
        Handler *handler, HandlerWorker *worker, Attempt *const *attempts, size_t n) {
        _cleanup_(run_done) Run run = {
                .handler = handler,
                .worker = worker,
                .attempts = attempts,
                .n_attempts = n,
                .attempt = attempts[0],
                .child = CHILD_NONE,
                .input_fd = -EBADF,
                .output = PIPE_NONE,
                .error = PIPE_NONE,
        };
        siginfo_t status;
        int r;

        assert(n == 1 || handler->config->netstring_batches);
        batch_reply_init(&run.reply, attempts, n, handler->config->output_max);
        if (run_is_to_stop(&run)) {
                run_fail(&run, OUTCOME_FAILURE, "stopped before it was started");
                return;
        }
        if (run.attempt->arguments && !handler->config->allow_arguments) {
                run_fail(&run, OUTCOME_FATAL, "arguments, in spite of AllowArguments=no");
                return;
        }

        worker->tail.size = 0;
        worker->log.job = n == 1 ? run.attempt->id : 0;
        if (run_start(&run) < 0)
                return;

        r = run_wait(&run);
        if (r < 0) {
                run_fail(&run, OUTCOME_LOST, "cannot wait for the command: %s", strerror(-r));
                return;
        }

        r = child_reap(&run.child, &status);
        if (r < 0) {
                run_fail(&run, OUTCOME_LOST, "the exit status is lost: %s", strerror(-r));
                return;
        }

        run_drain(&run, &run.output);
        run_drain(&run, &run.error);
        run_judge(&run, &status);
}

static void command_run(Handler *handler, HandlerWorker *worker, Attempt *attempt) {
        command_run_batch(handler, worker, &attempt, 1);
}

/* Tells how many lines of the log were left out. */
static void command_idle(Handler *handler, HandlerWorker *worker, int wake_fd) {
        usec_t until = stderr_log_wake_at(&worker->log), now;
        struct pollfd wake = { .fd = wake_fd, .events = POLLIN };

        if (until == USEC_INFINITY)
                return;
        while ((now = usec_now(CLOCK_MONOTONIC)) < until) {
                usec_t span = usec_sub(until, now);
                struct timespec ts = {
                        .tv_sec = (time_t) (span / USEC_PER_SEC),
                        .tv_nsec = (long) (span % USEC_PER_SEC) * 1000,
                };

                if (ppoll(&wake, 1, &ts, NULL) > 0)
                        return;
        }
        stderr_log_wake(&worker->log, now);
}

static void command_worker_close(Handler *handler, HandlerWorker *worker) {
        stderr_log_done(&worker->log);
        program_cpus_done(&worker->cpus);
        free(worker->envp);
        free(worker->output);
        free(worker->read);
        free(worker);
}

static void worker_closep(HandlerWorker **worker) {
        if (*worker)
                command_worker_close(NULL, *worker);
}

static int command_worker_open(
        Handler *handler, const void *cpus, size_t cpus_size, HandlerWorker **ret) {
        _cleanup_(worker_closep) HandlerWorker *worker = NULL;
        size_t n = strv_length(handler->program.environment);
        int r;

        worker = calloc(1, sizeof(*worker));
        if (!worker)
                return -ENOMEM;
        worker->read = malloc(READ_SIZE);
        worker->envp = calloc(2 + n + 1, sizeof(char *));
        if (!worker->read || !worker->envp)
                return -ENOMEM;

        stderr_log_init(&worker->log, handler->config->pool, command_vtable.name,
                handler->config->exec_start[0]);

        /* The first two are the job's own. */
        memcpy(worker->envp + 2, handler->program.environment, n * sizeof(char *));

        r = program_cpus_init(&worker->cpus, &handler->program, cpus, cpus_size);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(worker);
        return 0;
}

static void command_close(Handler *handler) {
        program_done(&handler->program);
        (void) fd_close(handler->null_fd);
        free(handler);
}

DEFINE_CLEANUP(Handler *, command_close)

/* A batch has many jobs, so there is nothing that could stand for one of them. */
static int check_batches(const HandlerConfig *config, char **ret_error) {
        if (config->allow_arguments)
                return handler_refuse(ret_error, -EINVAL,
                        "AllowArguments=yes cannot be with Batch=netstring: the jobs of a batch "
                        "have one command line");
        STRV_FOREACH (word, config->exec_start)
                for (const char *s = strchr(*word, '%'); s; s = strchr(s + 2, '%'))
                        if (s[1] == 'j' || s[1] == 't')
                                return handler_refuse(ret_error, -EINVAL,
                                        "ExecStart=: %%%c in \"%s\" is that of one job, and with "
                                        "Batch=netstring a command has several",
                                        s[1], *word);
        return 0;
}

static int command_open(const HandlerConfig *config, Handler **ret, char **ret_error) {
        _cleanup_(command_closep) Handler *handler = NULL;
        int r;

        handler = calloc(1, sizeof(*handler));
        if (!handler)
                return -ENOMEM;
        handler->config = config;
        handler->null_fd = -EBADF;

        r = program_init(&handler->program, config, command_vtable.name, ret_error);
        if (r < 0)
                return r;
        if (config->netstring_batches) {
                r = check_batches(config, ret_error);
                if (r < 0)
                        return r;
        }

        handler->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (handler->null_fd < 0)
                return handler_refuse(ret_error, -errno, "/dev/null: %m");

        *ret = TAKE_PTR(handler);
        return 0;
}

const HandlerVTable command_vtable = {
        .name = "command",
        .section = "Command",
        .takes_several = false,
        .takes_fd = true,
        .open = command_open,
        .close = command_close,
        .worker_open = command_worker_open,
        .worker_close = command_worker_close,
        .idle = command_idle,
        .run = command_run,
        .run_batch = command_run_batch,
};
