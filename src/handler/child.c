/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* posix_spawn() runs the child in our memory until it executes the program (vfork), so that it
 * costs the same however big the daemon is, and never runs code of ours with locks that other
 * threads hold.
 *
 * What posix_spawn() cannot set is set from here right afterwards: we wake up when the kernel
 * begins to load the program, long before that has come to its main(). A program that wins this
 * race has a higher limit of open files, or is for some microseconds as safe from the OOM killer as
 * we are: both do no harm. The sure way, a helper that sets them and executes the program, would
 * double the cost of each job.
 *
 * A pid stays the child's until the child is reaped, which nobody but child_reap() does. So up to
 * then its number is a safe name for the process group and the session as well. */

#include "handler/child.h"

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "util/fd.h"

/* What select() can take. More is for programs that ask for it, up to the hard limit. */
#define NOFILE_SOFT 1024

/* Each pass ends what the one before it left behind by forking meanwhile. */
#define SWEEP_PASSES 8

void child_limits_init(ChildLimits *limits) {
        _cleanup_close_ int fd = -EBADF;
        char score[16] = "";

        *limits = (ChildLimits){};

        if (getrlimit(RLIMIT_NOFILE, &limits->nofile) >= 0 &&
                limits->nofile.rlim_cur > NOFILE_SOFT) {
                limits->nofile.rlim_cur = NOFILE_SOFT;
                limits->lower_nofile = true;
        }

        fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && read(fd, score, sizeof(score) - 1) > 0)
                limits->raise_oom_score = score[0] == '-';
}

static void raise_oom_score(pid_t pid) {
        _cleanup_close_ int fd = -EBADF;
        char path[sizeof("/proc//oom_score_adj") + 3 * sizeof(pid_t)];

        (void) snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int) pid);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0)
                (void) fd_write_all(fd, "0", 1);
}

/* 0 or -errno; an error of any step, the exec among them, comes back from posix_spawn(). */
static int spawn(const ChildSpec *spec, const posix_spawnattr_t *attributes,
        posix_spawn_file_actions_t *actions, pid_t *ret) {
        int r;

        r = posix_spawn_file_actions_addchdir_np(actions, spec->folder);
        for (int fd = 0; fd < 3 && r == 0; fd++)
                r = posix_spawn_file_actions_adddup2(actions, spec->fds[fd], fd);
        if (r == 0)
                r = posix_spawn_file_actions_addclosefrom_np(actions, 3);
        if (r == 0)
                r = posix_spawn(ret, spec->program, actions, attributes, spec->argv, spec->envp);
        return -r;
}

int child_spawn(const ChildSpec *spec, Child *ret) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        Child child = CHILD_NONE;
        sigset_t all, none;
        int r;

        /* A lower one would be overwritten by the child's own standard streams before its turn. */
        for (size_t i = 0; i < ELEMENTSOF(spec->fds); i++)
                if (spec->fds[i] < 3)
                        return -EBADF;

        r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;

        (void) sigfillset(&all);
        (void) sigemptyset(&none);
        (void) posix_spawnattr_init(&attributes);
        (void) posix_spawnattr_setsigdefault(&attributes, &all);
        (void) posix_spawnattr_setsigmask(&attributes, &none);
        (void) posix_spawnattr_setflags(
                &attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);

        r = spawn(spec, &attributes, &actions, &child.pid);
        (void) posix_spawnattr_destroy(&attributes);
        (void) posix_spawn_file_actions_destroy(&actions);
        if (r < 0)
                return r;

        if (spec->limits->lower_nofile)
                (void) prlimit(child.pid, RLIMIT_NOFILE, &spec->limits->nofile, NULL);
        if (spec->limits->raise_oom_score)
                raise_oom_score(child.pid);

        child.pidfd = pidfd_open(child.pid, 0);
        if (child.pidfd < 0) {
                r = -errno;
                (void) kill(-child.pid, SIGKILL);
                (void) waitpid(child.pid, NULL, 0);
                return r;
        }

        *ret = child;
        return 0;
}

/* Without a child this would be the daemon's own process group. */
static void signal_group(const Child *child, int signal) {
        if (child->pid > 0)
                (void) kill(-child->pid, signal);
}

void child_terminate(Child *child) {
        child->swept = true;
        signal_group(child, SIGTERM);
        signal_group(child, SIGCONT);
}

void child_kill(Child *child) {
        child->swept = true;
        signal_group(child, SIGKILL);
}

/* Kills one process if it is (still) of the session; the pidfd makes sure that the process that is
 * asked is the one that is killed. */
static bool kill_member(pid_t session, pid_t pid) {
        _cleanup_close_ int pidfd = -EBADF;

        if (getsid(pid) != session)
                return false;
        pidfd = pidfd_open(pid, 0);
        return pidfd >= 0 && getsid(pid) == session &&
               pidfd_send_signal(pidfd, SIGKILL, NULL, 0) >= 0;
}

/* Kills what has left the child's process group, but not its session: shells with job control make
 * such groups, and timeout(1). There is no call for it, so the processes are gone through. Several
 * times, as one that forks can be faster than a single pass. */
static void kill_session(const Child *child) {
        bool found = true;

        for (unsigned pass = 0; pass < SWEEP_PASSES && found; pass++) {
                DIR *proc = opendir("/proc");
                struct dirent *d;

                found = false;
                while (proc && (d = readdir(proc))) {
                        pid_t pid = (pid_t) strtol(d->d_name, NULL, 10);

                        if (pid > 0 && pid != child->pid && kill_member(child->pid, pid))
                                found = true;
                }
                if (proc)
                        (void) closedir(proc);
        }
}

int child_reap(Child *child, siginfo_t *ret_status) {
        siginfo_t status = {};
        int r = 0;

        signal_group(child, SIGKILL);
        if (child->swept)
                kill_session(child);

        while (waitid(P_PIDFD, (id_t) child->pidfd, &status, WEXITED) < 0)
                if (errno != EINTR) {
                        r = -errno;
                        break;
                }

        child->pidfd = fd_close(child->pidfd);
        child->pid = 0;
        if (r >= 0)
                *ret_status = status;
        return r;
}

void child_done(Child *child) {
        siginfo_t status;

        if (child->pid == 0)
                return;
        child_kill(child);
        (void) child_reap(child, &status);
}
