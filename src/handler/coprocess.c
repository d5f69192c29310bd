/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Handler=coprocess: each worker has one long-lived child that reads a job and writes a result, see
 * core/reply.h for how. A job costs one write(), one read(), and two looks at the fds.
 *
 * The child is started for a worker's first job, and anew for the next job after it is gone. It is
 * gone once it has ended, or once it did anything that leaves a doubt about what it writes next:
 * then it is killed, since only a new child is surely in step with us. A child that ends without
 * having done a job, or that writes what nobody has asked for, is followed by a pause that doubles
 * each time, in which its worker holds its next job: a program that cannot work neither spins nor
 * runs through the whole queue.
 *
 * Nothing in an answer says which job it is to. So before each job nothing may be left to read from
 * the child; and of its first two jobs the child is given one byte, and the rest when it has read
 * that (its pipe has room for one write then, and is writable again when it is empty). What it has
 * written before it read a job is no answer to it: so a program that greets its user, or that
 * always writes two lines where one is due, is found out before any answer of it goes to the wrong
 * job. What is left is a child that has worked well, writes too much once, and does so at the very
 * moment between our look and its read: of that we hear one job later.
 *
 * It may have ended between two jobs, and the next one is already in its pipe. If it has read
 * nothing of that, nobody has begun that job, and it goes to a new child.
 *
 * All fds of ours are non-blocking, and each end of a pipe has its own flags: the child's block. */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "core/netstring.h"
#include "core/reply.h"
#include "handler/handler.h"
#include "handler/program.h"
#include "handler/stderr-log.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/message-ids.h"
#include "util/strv.h"

/* After the first child without a success, and at most. */
#define PAUSE_FIRST (100 * USEC_PER_MSEC)
#define PAUSE_MAX (10 * USEC_PER_SEC)

/* After so many children without a success it is told, once until there is one. */
#define N_FRUITLESS_TOLD 5

/* Files are closed a moment before a process has ended: so long an end is waited for before a
 * closed pipe counts as such. */
#define EXIT_GRACE USEC_PER_SEC

/* A child that is no longer needed may end by itself when its input does. */
#define EOF_GRACE (500 * USEC_PER_MSEC)

/* How often the stop flag is looked at while the eventfd is readable for no reason of this job. */
#define SPURIOUS_PAUSE (50 * USEC_PER_MSEC)

#define PIPE_SIZE_USUAL (64 * 1024)
#define PIPE_SIZE_ONE 4096 /* rounded up to a page: room for one write */

/* How many jobs a child begins with one byte. */
#define N_PROBES 2

/* Up to this size an output is copied into memory of the engine's, and the buffer used again. */
#define OUTPUT_COPY_MAX ((size_t) 64 * 1024)

struct Handler {
        const HandlerConfig *config; /* borrowed */
        Program program;
};

struct HandlerWorker {
        const HandlerConfig *config; /* borrowed */
        ProgramCpus cpus;
        Child child;
        int input_fd, output_fd, error_fd; /* owned: the child's standard streams, our ends */
        uint64_t n_done;                   /* jobs that the child has answered */
        unsigned n_probes_left;
        unsigned n_fruitless; /* children in a row that were of no use */
        usec_t start_at;      /* not before is there a new one */
        ReplyReader reply;
        ErrorTail tail; /* of what was written since the job began */
        StderrLog log;
};

/* The fds of a worker that can become readable or writable, in one order everywhere. */
enum { EXITED, WAKE, INPUT, OUTPUT, ERROR, _N_FDS };

/* ---- the child ---- */

static bool worker_has_child(const HandlerWorker *worker) {
        return worker->child.pid > 0;
}

/* Waits until one of the fds is ready, or until the moment. 0, or -errno. */
static int wait_until(struct pollfd *fds, size_t n, usec_t until) {
        usec_t span = until == USEC_INFINITY ? 0 : usec_sub(until, usec_now(CLOCK_MONOTONIC));
        struct timespec ts = {
                .tv_sec = (time_t) (span / USEC_PER_SEC),
                .tv_nsec = (long) (span % USEC_PER_SEC) * 1000,
        };

        if (ppoll(fds, n, until == USEC_INFINITY ? NULL : &ts, NULL) >= 0)
                return 0;
        for (size_t i = 0; i < n; i++)
                fds[i].revents = 0;
        return errno == EINTR ? 0 : -errno;
}

/* Passes on what the child has written to its standard error, one read of it. False if there is
 * nothing. */
static bool worker_read_error(HandlerWorker *worker) {
        char buffer[4096];
        ssize_t n;

        n = read(worker->error_fd, buffer, sizeof(buffer));
        if (n == 0)
                worker->error_fd = fd_close(worker->error_fd);
        if (n <= 0)
                return false;
        error_tail_add(&worker->tail, buffer, (size_t) n);
        stderr_log_add(&worker->log, buffer, (size_t) n, usec_now(CLOCK_MONOTONIC));
        return true;
}

/* The same for all that is there when the child has ended: no more than a pipe holds, as others may
 * still write into it. */
static void worker_drain_error(HandlerWorker *worker) {
        for (size_t n = 0; n < PIPE_SIZE_USUAL && worker_read_error(worker); n += 4096)
                ;
}

/* Kills the child unless it has ended, and lets go of all of it. *ret_status says how it ended. */
static void worker_end_child(HandlerWorker *worker, siginfo_t *ret_status) {
        struct pollfd exited = { .fd = worker->child.pidfd, .events = POLLIN };

        if (poll(&exited, 1, 0) == 0)
                child_kill(&worker->child);
        *ret_status = (siginfo_t){};
        (void) child_reap(&worker->child, ret_status);
        worker_drain_error(worker);
        stderr_log_end(&worker->log, usec_now(CLOCK_MONOTONIC));
        worker->input_fd = fd_close(worker->input_fd);
        worker->output_fd = fd_close(worker->output_fd);
        worker->error_fd = fd_close(worker->error_fd);
}

/* The child was of use, or it was not, and the next one waits the longer for it. */
static void worker_judge_child(HandlerWorker *worker, bool useful) {
        usec_t pause = PAUSE_FIRST;

        if (useful) {
                worker->n_fruitless = 0;
                return;
        }
        for (unsigned i = 0; i < worker->n_fruitless && pause < PAUSE_MAX; i++)
                pause *= 2;
        if (++worker->n_fruitless == N_FRUITLESS_TOLD)
                log_event(LOG_WARNING,
                        LOG_FIELDS(.message_id = MESSAGE_COPROCESS_FAILING,
                                .pool = worker->config->pool),
                        "Pool %s: %d coprocesses in a row were of no use: the pauses before the "
                        "next ones grow",
                        worker->config->pool, N_FRUITLESS_TOLD);
        worker->start_at = usec_add(usec_now(CLOCK_MONOTONIC), MIN(pause, PAUSE_MAX));
}

/* Reads what nobody wants. True if that was the end. */
static bool worker_discard_output(HandlerWorker *worker) {
        char buffer[4096];

        return read(worker->output_fd, buffer, sizeof(buffer)) == 0;
}

/* Does the child end within this time? What it writes to its standard error is read meanwhile; that
 * to its standard output is of no interest, if so said. */
static bool worker_await_exit(HandlerWorker *worker, usec_t until, bool discard_output) {
        struct pollfd fds[] = {
                [EXITED] = { .fd = worker->child.pidfd, .events = POLLIN },
                [WAKE] = { .fd = -EBADF },
                [INPUT] = { .fd = -EBADF },
                [OUTPUT] = { .fd = discard_output ? worker->output_fd : -EBADF, .events = POLLIN },
                [ERROR] = { .events = POLLIN },
        };

        do {
                fds[ERROR].fd = worker->error_fd;
                if (wait_until(fds, _N_FDS, until) < 0)
                        return false;
                if (fds[ERROR].revents)
                        (void) worker_read_error(worker);
                if (fds[OUTPUT].revents && worker_discard_output(worker))
                        fds[OUTPUT].fd = -EBADF;
                if (fds[EXITED].revents)
                        return true;
        } while (usec_now(CLOCK_MONOTONIC) < until);
        return false;
}

/* Ends a child that is no longer needed: its input ends, then it is asked to, then it is killed. */
static void worker_dismiss_child(HandlerWorker *worker) {
        usec_t now = usec_now(CLOCK_MONOTONIC), patience = worker->config->stop_timeout;
        siginfo_t status;

        if (!worker_has_child(worker))
                return;
        worker->input_fd = fd_close(worker->input_fd);
        if (!worker_await_exit(worker, usec_add(now, MIN(patience, EOF_GRACE)), true)) {
                child_terminate(&worker->child);
                (void) worker_await_exit(worker, usec_add(now, patience), true);
        }
        worker_end_child(worker, &status);
}

/* Tells what no job tells, in the log of what the children say: a program that cannot do better has
 * no more lines than they. */
static void worker_note(HandlerWorker *worker, const char *text) {
        stderr_log_tell_end(&worker->log, text, usec_now(CLOCK_MONOTONIC));
}

/* Why it has ended it has said before. */
static void worker_note_end(HandlerWorker *worker, const siginfo_t *status) {
        char text[ATTEMPT_ERROR_MAX + 1];

        if (program_exit_status(status) == 0)
                return;
        worker->tail.size = 0;
        program_tell_end(status, &worker->tail, text);
        worker_note(worker, text);
}

/* Something came from a child that has no job, or it has ended. */
static void worker_lose_child(HandlerWorker *worker) {
        bool useful = worker->n_done > 0;
        const char *wrong = NULL;
        siginfo_t status;
        char byte;
        ssize_t n;

        n = read(worker->output_fd, &byte, 1);
        if (n > 0) {
                wrong = "it wrote what nobody has asked for, and was killed";
                useful = false;
        } else if (!worker_await_exit(
                           worker, usec_add(usec_now(CLOCK_MONOTONIC), EXIT_GRACE), false))
                wrong = n == 0 ? "it closed its standard output, and was killed"
                               : "it closed its standard input, and was killed";

        worker_end_child(worker, &status);
        worker_judge_child(worker, useful);
        if (wrong)
                worker_note(worker, wrong);
        else
                worker_note_end(worker, &status);
}

/* Looks after a child that has no job, until `wake_fd` is readable, or once without it. */
static void worker_look_after_child(HandlerWorker *worker, int wake_fd) {
        struct pollfd fds[] = {
                [EXITED] = { .fd = worker->child.pidfd, .events = POLLIN },
                [WAKE] = { .fd = wake_fd, .events = POLLIN },
                [INPUT] = { .fd = worker->input_fd }, /* POLLERR: nobody reads it any more */
                [OUTPUT] = { .fd = worker->output_fd, .events = POLLIN },
                [ERROR] = { .fd = worker->error_fd, .events = POLLIN },
        };

        do {
                usec_t until = wake_fd < 0 ? 0 : stderr_log_wake_at(&worker->log);

                fds[ERROR].fd = worker->error_fd;
                if (wait_until(fds, _N_FDS, until) < 0)
                        return;
                if (wake_fd >= 0 && until != USEC_INFINITY)
                        stderr_log_wake(&worker->log, usec_now(CLOCK_MONOTONIC));
                if (fds[ERROR].revents)
                        (void) worker_read_error(worker);
                if (fds[EXITED].revents || fds[INPUT].revents || fds[OUTPUT].revents)
                        worker_lose_child(worker);
        } while (worker_has_child(worker) && wake_fd >= 0 && !fds[WAKE].revents);
}

/* ---- one job ---- */

/* A job on its way through the child. */
typedef struct Exchange {
        Handler *handler;
        HandlerWorker *worker;
        Attempt *attempt;
        char head[NETSTRING_HEAD_MAX];
        struct iovec frame[3]; /* what is still to be written, … */
        size_t n_frame;        /* … in so many of the last ones */
        size_t n_written;
        bool probing;      /* one byte was written, and is to be read before there is more */
        bool answered;     /* the reply is complete */
        bool input_ended;  /* the child does not read any more, but may still answer */
        bool stopping;     /* the child was asked to end, so no answer counts any more, … */
        bool output_ended; /* … and it does not write any more */
        usec_t kill_at;    /* while stopping: when patience ends */
} Exchange;

/* What became of a job, or of one step. */
typedef enum Verdict {
        GOES_ON,
        DONE,     /* the attempt has its verdict */
        UNTOUCHED /* the child has ended before it had read any of the job */
} Verdict;

/* n bytes of the frame are written. */
static void frame_advance(Exchange *x, size_t n) {
        x->n_written += n;
        while (x->n_frame > 0) {
                struct iovec *next = x->frame + ELEMENTSOF(x->frame) - x->n_frame;

                if (n < next->iov_len) {
                        next->iov_base = (char *) next->iov_base + n;
                        next->iov_len -= n;
                        return;
                }
                n -= next->iov_len;
                x->n_frame--;
        }
}

static void frame_init(Exchange *x) {
        Attempt *attempt = x->attempt;
        bool line = x->handler->config->framing == FRAMING_LINE;
        size_t head = line ? 0 : netstring_head(attempt->payload_size, x->head);

        x->frame[0] = (struct iovec){ .iov_base = x->head, .iov_len = head };
        x->frame[1] = (struct iovec){
                .iov_base = (void *) attempt->payload,
                .iov_len = attempt->payload_size,
        };
        x->frame[2] = (struct iovec){ .iov_base = (char *) (line ? "\n" : ","), .iov_len = 1 };
        x->n_frame = ELEMENTSOF(x->frame);
        frame_advance(x, 0); /* past what is empty */
}

/* The job has failed, and with it the child, which is killed unless it has ended. */
static Verdict exchange_fail(Exchange *x, Outcome outcome, const char *wrong) {
        HandlerWorker *worker = x->worker;
        char error[ERROR_TAIL_MAX + 3];
        siginfo_t status;

        worker_end_child(worker, &status);
        worker_judge_child(worker, worker->n_done > 0);
        attempt_fail(x->attempt, outcome, "%s%s", wrong, error_tail_text(&worker->tail, error));
        return DONE;
}

/* The child has answered. */
static void exchange_succeed(Exchange *x) {
        ReplyReader *reply = &x->worker->reply;
        Attempt *attempt = x->attempt;
        void *output;

        x->worker->n_done++;
        if (reply->failed && reply->content == 0) {
                attempt_fail(attempt, OUTCOME_FAILURE, "the coprocess gave no reason");
                return;
        }
        if (reply->failed) {
                for (size_t i = 0; i < reply->content; i++)
                        if (reply->data[reply->start + i] == '\0')
                                reply->data[reply->start + i] = '?';
                attempt_fail(attempt, OUTCOME_FAILURE, "%.*s",
                        (int) MIN(reply->content, (size_t) ATTEMPT_ERROR_MAX),
                        reply_reader_content(reply));
                return;
        }

        attempt->outcome = OUTCOME_SUCCESS;
        if (reply->content == 0)
                return;
        if (reply->content > OUTPUT_COPY_MAX) {
                size_t size = reply->content;

                attempt_give_output(attempt, reply_reader_take(reply), size);
                return;
        }
        output = attempt_output_alloc(attempt, reply->content);
        if (output)
                memcpy(output, reply_reader_content(reply), reply->content);
        else
                attempt_fail(attempt, OUTCOME_RETRY, "not enough memory for the output");
}

/* What is wrong with what the child has written. */
static const char *reply_fault(int r, Framing framing) {
        switch (r) {
        case -EFBIG:
                return "the coprocess gave more output than OutputMax= allows";
        case -E2BIG:
                return framing == FRAMING_LINE
                               ? "the coprocess wrote more than one line for one job"
                               : "the coprocess wrote more than one result for one job";
        default:
                return "the coprocess wrote what is no result: \"+LENGTH:output,\" or "
                       "\"-LENGTH:reason,\"";
        }
}

/* Reads what is there of the answer. A stream that has ended says nothing by itself: the child may
 * be about to end. */
static Verdict exchange_read(Exchange *x, bool *ret_ended) {
        ReplyReader *reply = &x->worker->reply;

        for (;;) {
                size_t room;
                ssize_t n;
                void *to;
                int r;

                to = reply_reader_room(reply, &room);
                if (!to)
                        return exchange_fail(x, OUTCOME_RETRY, "not enough memory for the output");
                n = read(x->worker->output_fd, to, room);
                if (n <= 0) {
                        *ret_ended = n == 0;
                        return GOES_ON;
                }
                /* Another one may wait until all of the job is written. */
                r = x->answered ? -E2BIG : reply_reader_add(reply, (size_t) n);
                if (r < 0)
                        return exchange_fail(
                                x, OUTCOME_FAILURE, reply_fault(r, x->handler->config->framing));
                x->answered = r > 0;
                /* A pipe that gave less than there was room for is empty. */
                if ((size_t) n < room)
                        return GOES_ON;
        }
}

/* How much of the job the child has not read. */
static size_t exchange_unread(const Exchange *x) {
        int unread = 0;

        if (ioctl(x->worker->input_fd, FIONREAD, &unread) < 0)
                return 0;
        return (size_t) unread;
}

/* Nobody has begun the job, so it may go to another child: but only after one that has worked, as
 * another one would be started in vain as well. */
static bool exchange_is_untouched(const Exchange *x) {
        return x->worker->n_done > 0 && !x->stopping && x->worker->reply.size == 0 &&
               exchange_unread(x) == x->n_written;
}

/* The child has ended. What it has written before counts. */
static Verdict exchange_end(Exchange *x) {
        HandlerWorker *worker = x->worker;
        char text[ATTEMPT_ERROR_MAX + 1];
        const char *how = "";
        bool ended, untouched;
        siginfo_t status;

        if (!x->stopping && exchange_read(x, &ended) == DONE)
                return DONE;
        untouched = exchange_is_untouched(x);
        worker_end_child(worker, &status);

        if (x->answered && !x->stopping)
                exchange_succeed(x);
        worker_judge_child(worker, worker->n_done > 0 || x->stopping);
        if (untouched || (x->answered && !x->stopping)) {
                worker_note_end(worker, &status);
                return untouched ? UNTOUCHED : DONE;
        }

        x->attempt->exit_status = program_exit_status(&status);
        if (x->stopping && worker->n_done == 0 && worker->reply.size == 0)
                how = "stopped before its first answer (does it buffer its output?): ";
        else if (x->stopping)
                how = "stopped: ";
        else if (worker->reply.size > 0)
                how = "ended within its answer: ";
        else if (x->attempt->exit_status == 0)
                how = "ended without an answer: ";
        program_tell_end(&status, &worker->tail, text);
        attempt_fail(x->attempt,
                x->attempt->exit_status == PROGRAM_EXIT_TEMPFAIL ? OUTCOME_RETRY : OUTCOME_FAILURE,
                "%s%s", how, text);
        return DONE;
}

/* One of the pipes is closed at the child's end, so that the job cannot go on. It may be just about
 * to end. */
static Verdict exchange_closed(Exchange *x, const char *wrong) {
        HandlerWorker *worker = x->worker;
        siginfo_t status;
        bool ended;

        if (worker_await_exit(worker, usec_add(usec_now(CLOCK_MONOTONIC), EXIT_GRACE), false))
                return exchange_end(x);
        if (exchange_read(x, &ended) == DONE)
                return DONE;
        if (!x->answered && !exchange_is_untouched(x))
                return exchange_fail(x, OUTCOME_FAILURE, wrong);

        worker_end_child(worker, &status);
        if (x->answered)
                exchange_succeed(x);
        worker_judge_child(worker, /* useful= */ true);
        return x->answered ? DONE : UNTOUCHED;
}

/* The child does not read any more. That is all right if it has read all of the job, and may still
 * answer. */
static Verdict exchange_input_closed(Exchange *x) {
        if (x->n_frame > 0 || exchange_unread(x) > 0)
                return exchange_closed(x, "the coprocess closed its standard input");
        x->input_ended = true;
        return GOES_ON;
}

/* Writes what the pipe takes. */
static Verdict exchange_write(Exchange *x) {
        while (x->n_frame > 0) {
                const struct iovec *frame = x->frame + ELEMENTSOF(x->frame) - x->n_frame;
                ssize_t n;

                n = x->probing ? write(x->worker->input_fd, frame->iov_base, 1)
                               : writev(x->worker->input_fd, frame, (int) x->n_frame);
                if (n < 0 && errno == EAGAIN)
                        return GOES_ON;
                if (n < 0 && errno != EINTR)
                        return exchange_input_closed(x);
                if (n > 0)
                        frame_advance(x, (size_t) n);
                if (n > 0 && x->probing)
                        return GOES_ON;
        }
        return GOES_ON;
}

/* The one byte was read. Whatever the child had to say before it had a job, it has said by now; an
 * answer cannot be complete yet, but a line may have begun. */
static Verdict exchange_end_probe(Exchange *x) {
        HandlerWorker *worker = x->worker;
        bool ended = false;

        if (exchange_read(x, &ended) == DONE)
                return DONE;
        if (x->answered ||
                (worker->reply.size > 0 && x->handler->config->framing == FRAMING_NETSTRING)) {
                worker->n_done = 0;
                return exchange_fail(x, OUTCOME_FAILURE,
                        "the coprocess wrote an answer before it had read the job");
        }
        x->probing = false;
        /* A user who has very many pipes may not have big ones: then it stays as it is. */
        if (--worker->n_probes_left == 0)
                (void) fcntl(worker->input_fd, F_SETPIPE_SZ, PIPE_SIZE_USUAL);
        return exchange_write(x);
}

/* Asks the child to end, and begins to count its time. */
static void exchange_stop(Exchange *x) {
        x->stopping = true;
        x->kill_at = usec_add(usec_now(CLOCK_MONOTONIC), x->handler->config->stop_timeout);
        child_terminate(&x->worker->child);
}

/* One fd of the child's or more are ready. */
static Verdict exchange_step(Exchange *x, const struct pollfd fds[static _N_FDS]) {
        HandlerWorker *worker = x->worker;
        bool ended = false;
        Verdict verdict;

        if (fds[ERROR].revents)
                (void) worker_read_error(worker);
        if (fds[EXITED].revents)
                return exchange_end(x);
        if (x->stopping) {
                /* Nothing counts any more, but the child is not to hang because of it. */
                if (fds[OUTPUT].revents)
                        x->output_ended = worker_discard_output(worker);
                return GOES_ON;
        }
        if (fds[OUTPUT].revents) {
                verdict = exchange_read(x, &ended);
                if (verdict != GOES_ON)
                        return verdict;
        }
        if (fds[INPUT].revents) {
                verdict = fds[INPUT].revents & POLLERR ? exchange_input_closed(x)
                          : x->probing                 ? exchange_end_probe(x)
                                                       : exchange_write(x);
                if (verdict != GOES_ON)
                        return verdict;
        }
        if (x->answered && x->n_frame == 0) {
                exchange_succeed(x);
                return DONE;
        }
        return ended ? exchange_closed(x, "the coprocess closed its standard output") : GOES_ON;
}

/* The child has the job, or a part of it: goes on until there is a verdict. */
static Verdict exchange_run(Exchange *x) {
        HandlerWorker *worker = x->worker;
        struct pollfd fds[] = {
                [EXITED] = { .fd = worker->child.pidfd, .events = POLLIN },
                [WAKE] = { .fd = x->attempt->wake_fd, .events = POLLIN },
                [INPUT] = { .events = POLLOUT },
                [OUTPUT] = { .fd = worker->output_fd, .events = POLLIN },
                [ERROR] = { .fd = worker->error_fd, .events = POLLIN },
        };
        bool spurious = false;
        Verdict verdict;

        verdict = exchange_write(x);
        while (verdict == GOES_ON) {
                usec_t until = stderr_log_wake_at(&worker->log);

                /* It stays readable, so there is nothing more to learn from it. */
                fds[WAKE].fd = x->stopping || spurious ? -EBADF : x->attempt->wake_fd;
                fds[INPUT].fd = x->input_ended || x->stopping ? -EBADF : worker->input_fd;
                fds[INPUT].events = x->n_frame > 0 ? POLLOUT : 0;
                fds[OUTPUT].fd = x->output_ended ? -EBADF : worker->output_fd;
                fds[ERROR].fd = worker->error_fd;
                if (x->stopping)
                        until = MIN(until, x->kill_at);
                else if (spurious)
                        until = MIN(until, usec_now(CLOCK_MONOTONIC) + SPURIOUS_PAUSE);
                if (wait_until(fds, _N_FDS, until) < 0)
                        return exchange_fail(x, OUTCOME_LOST, "cannot wait for the coprocess");
                if (until != USEC_INFINITY)
                        stderr_log_wake(&worker->log, usec_now(CLOCK_MONOTONIC));

                /* First, as an answer that came before a stop is one. */
                verdict = exchange_step(x, fds);
                if (verdict != GOES_ON)
                        break;
                if (!x->stopping && attempt_stop(x->attempt) != JOB_STOP_NONE)
                        exchange_stop(x);
                else if (x->stopping && x->kill_at <= usec_now(CLOCK_MONOTONIC)) {
                        child_kill(&worker->child);
                        x->kill_at = USEC_INFINITY;
                }
                spurious = fds[WAKE].revents;
        }
        return verdict;
}

/* Starts the child. 0, or -errno that program_explain() knows. */
static int worker_start_child(Handler *handler, HandlerWorker *worker, const Attempt *attempt) {
        _cleanup_(pipe_close) Pipe input = PIPE_NONE, output = PIPE_NONE, error = PIPE_NONE;
        bool one_write;
        int r;

        r = pipe_open(&input);
        if (r >= 0)
                r = pipe_open(&output);
        if (r >= 0)
                r = pipe_open(&error);
        if (r >= 0)
                r = fd_nonblock(input.write_fd, true);
        if (r >= 0)
                r = fd_nonblock(output.read_fd, true);
        if (r >= 0)
                r = fd_nonblock(error.read_fd, true);
        if (r < 0)
                return r;
        one_write = fcntl(input.write_fd, F_SETPIPE_SZ, PIPE_SIZE_ONE) >= 0;

        r = program_spawn(&handler->program, &worker->cpus, attempt, handler->program.environment,
                (int[]){ input.read_fd, output.write_fd, error.write_fd }, &worker->child);
        if (r < 0)
                return r;
        stderr_log_begin(&worker->log, worker->child.pid);
        worker->input_fd = TAKE_FD(input.write_fd);
        worker->output_fd = TAKE_FD(output.read_fd);
        worker->error_fd = TAKE_FD(error.read_fd);
        worker->n_done = 0;
        worker->n_probes_left = one_write ? N_PROBES : 0;
        return 0;
}

/* Waits for the end of the pause after a child that was of no use. False if the job was stopped
 * meanwhile. */
static bool worker_pause(HandlerWorker *worker, const Attempt *attempt) {
        struct pollfd wake = { .fd = attempt->wake_fd, .events = POLLIN };

        while (attempt_stop(attempt) == JOB_STOP_NONE) {
                usec_t now = usec_now(CLOCK_MONOTONIC);

                if (now >= worker->start_at)
                        return true;
                /* Readable for no reason of this job, it stays so. */
                wake.fd = wake.revents ? -EBADF : attempt->wake_fd;
                (void) wait_until(&wake, 1,
                        wake.fd < 0 ? MIN(worker->start_at, now + SPURIOUS_PAUSE)
                                    : worker->start_at);
        }
        return false;
}

/* Makes sure that there is a child in good order; where there is none the attempt says why. */
static bool worker_ready(Handler *handler, HandlerWorker *worker, Attempt *attempt) {
        char text[ATTEMPT_ERROR_MAX + 1];
        Outcome outcome;
        int r;

        if (worker_has_child(worker))
                worker_look_after_child(worker, -EBADF);
        worker->tail.size = 0;
        if (worker_has_child(worker))
                return true;

        if (!worker_pause(worker, attempt)) {
                attempt_fail(attempt, OUTCOME_FAILURE, "stopped before it was begun");
                return false;
        }
        r = worker_start_child(handler, worker, attempt);
        if (r >= 0)
                return true;
        worker_judge_child(worker, /* useful= */ false);
        outcome = program_explain(&handler->program, r, &attempt->exit_status, text);
        attempt_fail(attempt, outcome, "%s", text);
        return false;
}

/* ---- the vtable ---- */

static void coprocess_run(Handler *handler, HandlerWorker *worker, Attempt *attempt) {
        Exchange x;

        if (handler->config->framing == FRAMING_LINE && attempt->payload_size > 0 &&
                memchr(attempt->payload, '\n', attempt->payload_size)) {
                attempt_fail(attempt, OUTCOME_FATAL,
                        "the payload has a newline in it: with Framing=line a job is one line, "
                        "which the newline after it ends");
                return;
        }

        do {
                worker->log.job = 0;
                if (!worker_ready(handler, worker, attempt))
                        return;
                worker->log.job = attempt->id;
                x = (Exchange){ .handler = handler, .worker = worker, .attempt = attempt };
                frame_init(&x);
                x.probing = worker->n_probes_left > 0 && attempt->payload_size > 0;
                reply_reader_reset(&worker->reply);
        } while (exchange_run(&x) == UNTOUCHED);
        worker->log.job = 0;
}

static void coprocess_idle(Handler *handler, HandlerWorker *worker, int wake_fd) {
        if (worker_has_child(worker))
                worker_look_after_child(worker, wake_fd);
}

static void coprocess_worker_close(Handler *handler, HandlerWorker *worker) {
        worker_dismiss_child(worker);
        stderr_log_done(&worker->log);
        reply_reader_done(&worker->reply);
        program_cpus_done(&worker->cpus);
        free(worker);
}

static int coprocess_worker_open(
        Handler *handler, const void *cpus, size_t cpus_size, HandlerWorker **ret) {
        _cleanup_free_ HandlerWorker *worker = NULL;
        sigset_t mask;
        int r;

        worker = malloc(sizeof(*worker));
        if (!worker)
                return -ENOMEM;
        *worker = (HandlerWorker){
                .config = handler->config,
                .child = CHILD_NONE,
                .input_fd = -EBADF,
                .output_fd = -EBADF,
                .error_fd = -EBADF,
        };
        reply_reader_init(
                &worker->reply, handler->config->framing, (size_t) handler->config->output_max);
        stderr_log_init(&worker->log, handler->config->pool, coprocess_vtable.name,
                handler->config->exec_start[0]);
        r = program_cpus_init(&worker->cpus, &handler->program, cpus, cpus_size);
        if (r < 0)
                return r;

        /* A child that has ended is an error of write() then. */
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGPIPE);
        (void) pthread_sigmask(SIG_BLOCK, &mask, NULL);

        *ret = TAKE_PTR(worker);
        return 0;
}

static void coprocess_close(Handler *handler) {
        program_done(&handler->program);
        free(handler);
}

DEFINE_CLEANUP(Handler *, coprocess_close)

/* The command line is there before any job is. */
static int check_command_line(const HandlerConfig *config, char **ret_error) {
        STRV_FOREACH (word, config->exec_start)
                for (const char *s = strchr(*word, '%'); s; s = strchr(s + 2, '%'))
                        if (s[1] == 'j' || s[1] == 't')
                                return handler_refuse(ret_error, -EINVAL,
                                        "ExecStart=: %%%c in \"%s\" is that of one job, and a "
                                        "coprocess has many",
                                        s[1], *word);
        return 0;
}

static int coprocess_open(const HandlerConfig *config, Handler **ret, char **ret_error) {
        _cleanup_(coprocess_closep) Handler *handler = NULL;
        int r;

        handler = calloc(1, sizeof(*handler));
        if (!handler)
                return -ENOMEM;
        handler->config = config;
        r = program_init(&handler->program, config, coprocess_vtable.name, ret_error);
        if (r < 0)
                return r;
        r = check_command_line(config, ret_error);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(handler);
        return 0;
}

const HandlerVTable coprocess_vtable = {
        .name = "coprocess",
        .section = "Command",
        .takes_several = false, /* measured: a look at two processes costs more than a lock */
        .takes_fd = false,
        .open = coprocess_open,
        .close = coprocess_close,
        .worker_open = coprocess_worker_open,
        .worker_close = coprocess_worker_close,
        .idle = coprocess_idle,
        .run = coprocess_run,
};
