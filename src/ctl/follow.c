/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

#include "ctl/bus.h"
#include "ctl/follow.h"
#include "ctl/text.h"
#include "util/fd.h"

#define CHUNK_SIZE ((size_t) 64 * 1024)

void follow_done(Follow *follow) {
        (void) fd_close(follow->output);
        sd_bus_slot_unref(follow->signals);
        job_end_done(&follow->end);
}

static int on_signal_of_job(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Follow *follow = userdata;
        const char *pool, *result;
        uint64_t id, duration;

        if (sd_bus_message_is_signal(m, MANAGER_INTERFACE, "JobStarted") > 0) {
                if (sd_bus_message_read(m, "ts", &id, &pool) >= 0 && id == follow->id)
                        printf("%" PRIu64 " started\n", id);
        } else if (sd_bus_message_is_signal(m, MANAGER_INTERFACE, "JobFinished") > 0) {
                _cleanup_free_ char *span = NULL;

                if (sd_bus_message_read(m, "tsst", &id, &pool, &result, &duration) < 0 ||
                        id != follow->id)
                        return 0;
                span = text_span(duration);
                printf("%" PRIu64 " %s after %s\n", id, result, span);
                follow->told_end = true;
        }
        (void) fflush(stdout);
        return 0;
}

int follow_signals(Follow *follow) {
        int r;

        r = bus_connect(follow->ctl);
        if (r < 0)
                return r;
        r = sd_bus_match_signal(follow->ctl->bus, &follow->signals, NULL, SLUICE_PATH,
                MANAGER_INTERFACE, NULL, on_signal_of_job, follow);
        return r < 0 ? failure(r, "listen for the signals of the job") : 0;
}

/* Copies what is there. Returns 0 at the end, 1 if there may be more, -EAGAIN if not now. */
static int copy_output(Follow *follow) {
        char chunk[CHUNK_SIZE];
        ssize_t n;
        int r;

        n = read(follow->output, chunk, sizeof(chunk));
        if (n < 0)
                return errno == EINTR ? 1 : -errno;
        if (n == 0)
                return 0;
        r = fd_write_all(STDOUT_FILENO, chunk, (size_t) n);
        return r < 0 ? r : 1;
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Follow *follow = userdata;
        int r;

        r = copy_output(follow);
        if (r == 0)
                (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        if (r < 0 && r != -EAGAIN) {
                follow->result = failure(r, "copy the output");
                return sd_event_exit(sd_event_source_get_event(source), 0);
        }
        return 0;
}

/* That a job finished before it could be cancelled is told by how it finished. */
static int on_cancelled(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        return 0;
}

static int on_interrupt(
        sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Follow *follow = userdata;

        if (follow->signal) {
                follow->result = 128 + (int) si->ssi_signo;
                return sd_event_exit(sd_event_source_get_event(source), 0);
        }
        follow->signal = (int) si->ssi_signo;
        (void) fflush(stdout);
        notice(follow->ctl, "Cancelling job %" PRIu64 " …", follow->id);
        (void) sd_bus_call_method_async(follow->ctl->bus, NULL, SLUICE_NAME, SLUICE_PATH,
                MANAGER_INTERFACE, "CancelJob", on_cancelled, NULL, "t", follow->id);
        return 0;
}

static int on_end(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Follow *follow = userdata;
        int r;

        if (sd_bus_message_is_method_error(m, NULL))
                follow->result = bus_failure(follow->ctl, SLUICE_PATH, sd_bus_message_get_error(m),
                        "wait for job %" PRIu64, follow->id);
        else {
                r = job_end_read(m, &follow->end);
                if (r < 0)
                        follow->result = failure(r, "wait for job %" PRIu64, follow->id);
        }
        return sd_event_exit(sd_bus_get_event(sd_bus_message_get_bus(m)), 0);
}

static int set_up(Follow *follow, sd_event *event) {
        Ctl *ctl = follow->ctl;
        sigset_t mask;
        int r;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGINT);
        (void) sigaddset(&mask, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;
        r = sd_event_add_signal(event, NULL, SIGINT, on_interrupt, follow);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTERM, on_interrupt, follow);
        if (r >= 0 && follow->output >= 0)
                r = sd_event_add_io(event, NULL, follow->output, EPOLLIN, on_output, follow);
        /* What comes after the loop still needs the connection. */
        if (r >= 0)
                r = sd_bus_set_close_on_exit(ctl->bus, false);
        if (r >= 0)
                r = sd_bus_attach_event(ctl->bus, event, SD_EVENT_PRIORITY_NORMAL);
        return r;
}

int follow_job(Follow *follow) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = bus_new_call(follow->ctl, SLUICE_PATH, MANAGER_INTERFACE, "WaitJob", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "tt", follow->id, UINT64_MAX);
        if (r >= 0)
                r = sd_event_new(&event);
        if (r >= 0)
                r = set_up(follow, event);
        if (r >= 0)
                r = sd_bus_call_async(follow->ctl->bus, NULL, m, on_end, follow, CALL_FOREVER);
        if (r >= 0)
                r = sd_event_loop(event);
        (void) sd_bus_detach_event(follow->ctl->bus);
        if (r < 0)
                return failure(r, "wait for job %" PRIu64, follow->id);

        /* All that the job itself wrote is in the pipe by now. What it left behind may hold the
         * other end for ever, so this does not wait for the end of the pipe. */
        if (follow->result == 0 && follow->output >= 0) {
                while ((r = copy_output(follow)) > 0)
                        ;
                if (r < 0 && r != -EAGAIN)
                        return failure(r, "copy the output");
        }
        return follow->result;
}
