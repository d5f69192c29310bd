/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the daemon share. Main thread only. */

#include <sys/signalfd.h>

#include "daemon/config.h"
#include "daemon/daemon.h"
#include "handler/units.h"
#include "util/list.h"

typedef enum StopPhase {
        STOP_NOT,
        STOP_DRAINING,   /* what runs may end by itself */
        STOP_CANCELLING, /* what runs was told to stop */
        STOP_DISMISSING, /* no job is left; workers leave */
        STOP_DONE,
} StopPhase;

/* How far an exit for lack of work has come. */
typedef enum LeavePhase {
        LEAVE_NOT,
        LEAVE_RELEASING, /* the bus was asked to take the name back */
        LEAVE_RELEASED,  /* nothing comes to it any more */
} LeavePhase;

struct Daemon {
        const DaemonOptions *options; /* borrowed */
        sd_event *event;
        Engine *engine;
        Server *server;
        Units *units;      /* NULL = systemd has not given us its socket */
        Store *store;      /* NULL = nothing is durable */
        char *socket_path; /* of the direct socket, where it is of our making */
        List replacements; /* Replacement.links; owned by reload-pools.c */
        List wanted;       /* WantedPipeline.links; owned by reload-pipelines.c */
        List rows;         /* SavedRow.links; owned by restore.c */
        bool restored;     /* what was made at run time is there again, as far as it can be */
        usec_t drain_timeout;
        bool ready; /* READY=1 was sent */
        bool storage_failed;
        StopPhase phase;
        sd_event_source *stop_source; /* the deadline of the phase */
        LeavePhase leaving;           /* while phase is STOP_NOT */
        bool socket_was_closed;       /* for that, and can be made anew */
        sd_event_source *idle_source; /* NULL = never exits for lack of work */
        usec_t idle_from;             /* since when there is nothing to do, or will be */
        bool idle_armed, idle_timer_fired;
        sd_event_source *watchdog_source;
        uint64_t watchdog_usec; /* WatchdogSec= of the unit */
};

/* ---- daemon.c ---- */

void daemon_notify_status(Daemon *daemon);

int daemon_open_socket(Daemon *daemon); /* 0 or -errno, and then it was said */
void daemon_close_socket(Daemon *daemon);

/* ---- load.c ---- */

/* At the start: whatever has a settings file without a fault is made; the faults are logged. */
int daemon_load(Daemon *daemon);

Fairness daemon_fairness(const DaemonOptions *options); /* of pools that do not say */

/* 0 or -errno, and then nothing is said about it. */
int daemon_read_config(Daemon *daemon, Config **ret);
void daemon_apply_settings(Daemon *daemon, const Config *config); /* those of sluiced.conf */

/* What the files say of these, made. What goes wrong is added to `faults`. 0 or -errno; -ENOMEM
 * also where there was no memory to say so. */
int daemon_load_limiters(Daemon *daemon, const Config *config, char ***faults);
int daemon_load_breakers(Daemon *daemon, const Config *config, char ***faults);
int daemon_add_pool(Daemon *daemon, ConfigPool *from, char ***faults);
int daemon_add_pipeline(Daemon *daemon, const ConfigPipeline *from, char ***faults);

int daemon_add_fault(char ***faults, const char *path, const char *text); /* 0 or -ENOMEM */
void daemon_log_faults(char **faults);

/* ---- state.c ---- */

/* Opens the store, where there is a folder for it. */
int daemon_open_store(Daemon *daemon);

/* A disk that has failed ends the daemon, which can try it anew when it is started again. */
void daemon_check_store(Daemon *daemon);

/* Writes what is left. With `orderly` no job is at work. */
void daemon_close_store(Daemon *daemon, bool orderly);

/* ---- restore.c ---- */

/* Before the store runs: what it has of objects. 0 or -errno. */
int daemon_read_rows(Daemon *daemon);
void daemon_forget_rows(Daemon *daemon);

/* Was it made at run time, and is yet to be made again? */
bool daemon_will_restore(Daemon *daemon, const char *kind, const char *name);

/* Puts a copy of what the file says, with what was set since, in the place of *config, if anything
 * was. 0 or -ENOMEM. */
int daemon_change_pool(Daemon *daemon, const ConfigPool *from, PoolConfig **config);

/* The object that was made by its file gets what else was changed of it. */
void daemon_restore_pool_state(Daemon *daemon, Pool *pool);
void daemon_restore_pipeline_state(
        Daemon *daemon, const ConfigPipeline *from, PoolPipeline *pipeline);

/* There is a file now for what was made at run time. */
void daemon_replace_limiter_row(Daemon *daemon, const ConfigLimiter *from, SharedLimiter *limiter);
void daemon_replace_breaker_row(Daemon *daemon, const ConfigBreaker *from, SharedBreaker *breaker);

/* Makes what was made at run time and has no file. What goes wrong is logged. */
void daemon_restore_limiters(Daemon *daemon);
void daemon_restore_breakers(Daemon *daemon);
void daemon_restore_pools(Daemon *daemon);
void daemon_restore_pipelines(Daemon *daemon);
void daemon_end_restoring(Daemon *daemon); /* tells of what is left */

/* ---- reload.c ---- */

/* Makes everything what the settings files say now, all or nothing, and tells systemd of it. As
 * ServerOps.reload(). */
int daemon_reload(void *userdata, char **ret_error);

/* ---- reload-pools.c ---- */

/* Some faults show only when a handler is opened, as that of a plug-in that is not there. They must
 * show before anything is changed. 0, also with faults, or -ENOMEM. */
int daemon_try_handlers(Daemon *daemon, const Config *config, char ***faults);

/* Makes the pool what its file says; takes what it needs out of `from`. Returns as above. */
int daemon_reload_pool(Daemon *daemon, ConfigPool *from, char ***faults);

/* Removes the pools whose file has gone, and forgets those that were still to be made. */
void daemon_drop_pools(Daemon *daemon, const Config *config);

void daemon_forget_replacements(Daemon *daemon);

/* ---- reload-pipelines.c ---- */

/* The same for pipelines. */
int daemon_reload_pipeline(Daemon *daemon, ConfigPipeline *from, char ***faults);
void daemon_drop_pipelines(Daemon *daemon, const Config *config);
void daemon_forget_wanted(Daemon *daemon);

void daemon_make_wanted(Daemon *daemon);     /* those that can be made now */
void daemon_tell_kept_pools(Daemon *daemon); /* logs which pools a pipeline keeps from going */

/* ---- idle.c ---- */

int daemon_add_idle_exit(Daemon *daemon); /* as --idle-timeout= says; 0 or -errno */

/* The end of a turn of the loop: has what came in it begun or ended idleness? */
void daemon_look_for_idle(Daemon *daemon);
void daemon_name_released(Daemon *daemon);

/* ---- watchdog.c ---- */

int daemon_add_watchdog(Daemon *daemon); /* where the service manager wants it; 0 or -errno */

/* ---- stop.c ---- */

void daemon_begin_stop(Daemon *daemon); /* unless it stops already */

int daemon_on_stop_signal(
        sd_event_source *source, const struct signalfd_siginfo *info, void *userdata);

void daemon_stop_idle(Daemon *daemon); /* there is nothing to be waited for */

/* Moves on to the next phase once there is nothing left of this one. */
void daemon_proceed_to_stop(Daemon *daemon);
