/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "handler/handler.h"
#include "try.h"
#include "util/fd.h"

#define OUTPUT_MAX 200000

/* Long enough that a test which has to wait for it would be noticed. */
#define FOREVER "1000"

/* A pool with one worker, and one job for it. */
typedef struct Pool {
        HandlerConfig config;
        Handler *handler;
        HandlerWorker *worker;
        Try try;
        unsigned n_fds; /* open before */
} Pool;

/* How many fds this process has open, but for the one that counts. */
static unsigned count_fds(void) {
        DIR *folder = opendir("/proc/self/fd");
        unsigned n = 0;

        assert_non_null(folder);
        while (readdir(folder))
                n++;
        (void) closedir(folder);
        return n - 3;
}

#define WORDS(...) ((char *[]){ __VA_ARGS__, NULL })
#define SHELL(script) WORDS((char *) "/bin/sh", (char *) "-c", (char *) (script))

static HandlerConfig config_for(char **exec_start) {
        return (HandlerConfig){
                .pool = "pool",
                .stop_timeout = 50 * USEC_PER_MSEC,
                .exec_start = exec_start,
                .working_directory = (char *) "/",
                .output_max = OUTPUT_MAX,
        };
}

static void pool_init_with(Pool *pool, const HandlerConfig *config) {
        _cleanup_free_ char *error = NULL;
        cpu_set_t cpus;

        pool->n_fds = count_fds();
        pool->config = *config;
        assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
        if (command_vtable.open(&pool->config, &pool->handler, &error) < 0)
                fail_msg("%s", error);
        assert_int_equal(
                command_vtable.worker_open(pool->handler, &cpus, sizeof(cpus), &pool->worker), 0);
        try_init(&pool->try, NULL, 0);
}

static void pool_init(Pool *pool, char **exec_start) {
        HandlerConfig config = config_for(exec_start);

        pool_init_with(pool, &config);
}

static void pool_run(Pool *pool) {
        command_vtable.run(pool->handler, pool->worker, &pool->try.attempt);
}

/* The next job of the same worker. */
static void pool_next(Pool *pool) {
        try_done(&pool->try);
        try_init(&pool->try, NULL, 0);
}

static void pool_done(Pool *pool) {
        try_done(&pool->try);
        command_vtable.worker_close(pool->handler, pool->worker);
        command_vtable.close(pool->handler);
        assert_int_equal(count_fds(), pool->n_fds); /* nothing is left open */
}

/* What a script prints, without the newline at its end. */
static char *output_of(char **exec_start) {
        char *output;
        Pool pool;

        pool_init(&pool, exec_start);
        pool_run(&pool);
        if (pool.try.attempt.outcome != OUTCOME_SUCCESS)
                fail_msg("%s", pool.try.attempt.error);
        output = strndup(pool.try.attempt.output ?: "", pool.try.attempt.output_size);
        output[strcspn(output, "\n")] = '\0';
        pool_done(&pool);
        return output;
}

static void status_output_and_error_make_the_verdict(void **state) {
        static const struct {
                const char *script;
                Outcome outcome;
                int exit_status;
                const char *text; /* the output, or the error */
        } rows[] = {
                { "echo hello", OUTCOME_SUCCESS, 0, "hello\n" },
                { ":", OUTCOME_SUCCESS, 0, "" },
                { "echo out; echo err >&2", OUTCOME_SUCCESS, 0, "out\n" },
                { "exec >&- 2>&-", OUTCOME_SUCCESS, 0, "" },
                { "echo early; exec >&-; exit 1", OUTCOME_FAILURE, 1, "exit status 1" },
                { "exit 4", OUTCOME_FAILURE, 4, "exit status 4" },
                { "exit 255", OUTCOME_FAILURE, 255, "exit status 255" },
                { "echo out; echo why >&2; echo >&2; exit 3", OUTCOME_FAILURE, 3,
                        "exit status 3: why" },
                { "printf 'two\\nlines' >&2; exit 3", OUTCOME_FAILURE, 3,
                        "exit status 3: two\nlines" },
                { "printf 'a\\0b\\377' >&2; exit 3", OUTCOME_FAILURE, 3, "exit status 3: a?b?" },
                { "echo busy >&2; exit 75", OUTCOME_RETRY, 75, "exit status 75: busy" },
                { "kill -KILL $$", OUTCOME_FAILURE, 137, "killed by signal 9 (KILL)" },
                { "echo on the way >&2; kill -TERM $$", OUTCOME_FAILURE, 143,
                        "killed by signal 15 (TERM): on the way" },
                { "kill -s 40 $$", OUTCOME_FAILURE, 168, "killed by signal 40" },
                { "head -c 200000 /dev/zero | tr '\\0' x | wc -c", OUTCOME_SUCCESS, 0, "200000\n" },
                { "head -c 10000000 /dev/zero >&2", OUTCOME_SUCCESS, 0, "" },
                { "yes", OUTCOME_FAILURE, -1, "more output than OutputMax= allows" },
                { "trap '' TERM; yes; yes; yes", OUTCOME_FAILURE, -1,
                        "more output than OutputMax= allows" },
                { "trap 'exit 0' TERM; yes & wait", OUTCOME_FAILURE, 0,
                        "more output than OutputMax= allows" },
                { "head -c 200001 /dev/zero", OUTCOME_FAILURE, -1,
                        "more output than OutputMax= allows" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Pool pool;

                print_message("%s\n", rows[i].script);
                pool_init(&pool, SHELL(rows[i].script));
                pool_run(&pool);
                if (rows[i].outcome == OUTCOME_SUCCESS)
                        assert_output(&pool.try, rows[i].text, strlen(rows[i].text));
                else
                        assert_failed(&pool.try, rows[i].outcome, rows[i].text);
                /* Of a flood only the end is sure: it can be over before it is stopped. */
                if (rows[i].exit_status >= 0)
                        assert_int_equal(pool.try.attempt.exit_status, rows[i].exit_status);
                pool_done(&pool);
        }
}

static void outputs_up_to_the_cap_are_kept(void **state) {
        static const unsigned sizes[] = { 1, 65536, 65537, OUTPUT_MAX };
        static char zeros[OUTPUT_MAX];

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                char script[64];
                Pool pool;

                (void) snprintf(script, sizeof(script), "head -c %u /dev/zero", sizes[i]);
                pool_init(&pool, SHELL(script));
                for (unsigned n = 0; n < 2; n++) { /* the worker's buffer is used again */
                        pool_run(&pool);
                        assert_output(&pool.try, zeros, sizes[i]);
                        pool_next(&pool);
                }
                pool_done(&pool);
        }
}

/* Whether the flood or the exit is seen first is up to the machine, so both come to pass. Nobody is
 * left to be stopped then, and least of all our own process group. */
static void flood_of_a_command_that_is_over_already_is_a_flood(void **state) {
        HandlerConfig config = config_for(WORDS((char *) "/bin/echo", (char *) "four"));
        Pool pool;

        config.output_max = 4;
        pool_init_with(&pool, &config);
        for (unsigned i = 0; i < 100; i++) {
                pool_run(&pool);
                assert_failed(&pool.try, OUTCOME_FAILURE, "more output than OutputMax= allows");
                pool_next(&pool);
        }
        pool_done(&pool);
}

static void the_end_of_standard_error_is_kept(void **state) {
        char expect[4096 + 32] = "exit status 1: ";
        Pool pool;

        /* 8,005 bytes, of which the last 4,096 begin in the middle of a letter. */
        pool_init(&pool,
                SHELL("yes \303\266 | tr -d '\\n' | head -c 8000 >&2; echo end! >&2; exit 1"));
        for (unsigned i = 0; i < (4096 - 5) / 2; i++)
                strcat(expect, "\303\266");
        strcat(expect, "end!");
        pool_run(&pool);
        assert_failed(&pool.try, OUTCOME_FAILURE, expect);
        pool_done(&pool);
}

/* Waits until the process has gone; fails if that takes longer than anything here should. */
static void assert_gone(pid_t pid) {
        _cleanup_close_ int pidfd = pidfd_open(pid, 0);
        struct pollfd p = { .fd = pidfd, .events = POLLIN };

        assert_true(pid > 1);
        if (pidfd >= 0)
                assert_int_equal(poll(&p, 1, 20000), 1);
}

static void process_in_the_background_does_not_hold_the_job(void **state) {
        Pool pool;

        pool_init(&pool, SHELL("sleep " FOREVER " & echo $!"));
        pool_run(&pool);
        assert_int_equal(pool.try.attempt.outcome, OUTCOME_SUCCESS);
        /* It ends with the command, as it is of its process group. */
        assert_gone((pid_t) atoi(pool.try.attempt.output));
        pool_done(&pool);
}

static void process_that_left_the_session_outlives_the_job(void **state) {
        pid_t pid;
        Pool pool;

        pool_init(&pool,
                SHELL("setsid sleep " FOREVER " >&2 & echo $!; "
                      "until read -r _ _ _ _ pgrp _ < /proc/$!/stat; [ $pgrp = $! ]; do :; done"));
        pool_run(&pool);
        assert_int_equal(pool.try.attempt.outcome, OUTCOME_SUCCESS);
        pid = (pid_t) atoi(pool.try.attempt.output);
        assert_int_equal(getsid(pid), pid);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_gone(pid);
        pool_done(&pool);
}

static void *run_pool(void *userdata) {
        pool_run(userdata);
        return NULL;
}

static void stopped_commands_end_in_time(void **state) {
        static const struct {
                const char *script; /* prints a pid that is to be gone as well */
                int exit_status;
                const char *error;
        } rows[] = {
                { "echo $$; exec sleep " FOREVER, 143, "killed by signal 15 (TERM)" },
                { "echo last words >&2; echo $$; sleep " FOREVER, 143,
                        "killed by signal 15 (TERM): last words" },
                { "sleep " FOREVER " & echo $!; wait", 143, "killed by signal 15 (TERM)" },
                { "trap '' TERM; echo $$; while :; do sleep " FOREVER "; done", 137,
                        "killed by signal 9 (KILL)" },
                { "trap '' TERM; (trap '' TERM; sleep " FOREVER ") & echo $!; wait", 137,
                        "killed by signal 9 (KILL)" },
                { "echo $$; kill -STOP $$; sleep " FOREVER, 143, "killed by signal 15 (TERM)" },
                { "trap 'exit 0' TERM; echo $$; sleep " FOREVER " & wait", 0,
                        "ended because it was asked to stop" },
                { "trap 'exit 9' TERM; echo $$; sleep " FOREVER " & wait", 9, "exit status 9" },
                /* timeout(1) makes a group of its own, which stays in the session. */
                { "timeout " FOREVER " sh -c 'trap \"\" TERM; echo $$; exec sleep " FOREVER
                  "' & wait",
                        143, "killed by signal 15 (TERM)" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                pthread_t thread;
                int output[2];
                char line[32];
                Pool pool;
                ssize_t n;

                print_message("%s\n", rows[i].script);
                assert_int_equal(pipe2(output, O_CLOEXEC), 0);
                pool_init(&pool, SHELL(rows[i].script));
                pool.try.attempt.output_fd = output[1];

                assert_int_equal(pthread_create(&thread, NULL, run_pool, &pool), 0);
                n = read(output[0], line, sizeof(line) - 1); /* now it runs */
                assert_true(n > 0);
                line[n] = '\0';
                try_stop(&pool.try);
                assert_int_equal(pthread_join(thread, NULL), 0);

                assert_failed(&pool.try, OUTCOME_FAILURE, rows[i].error);
                assert_int_equal(pool.try.attempt.exit_status, rows[i].exit_status);
                assert_gone((pid_t) atoi(line));
                pool_done(&pool);
                (void) close(output[0]);
                (void) close(output[1]);
        }
}

static void command_is_not_started_once_it_is_stopped(void **state) {
        Pool pool;

        pool_init(&pool, SHELL("echo hello"));
        try_stop(&pool.try);
        pool_run(&pool);
        assert_failed(&pool.try, OUTCOME_FAILURE, "stopped before it was started");
        pool_done(&pool);
}

static void wake_without_a_stop_changes_nothing(void **state) {
        Pool pool;

        pool_init(&pool, SHELL("echo hello"));
        try_wake(&pool.try);
        pool_run(&pool);
        assert_output(&pool.try, "hello\n", 6);
        pool_done(&pool);
}

static void stop_after_a_wake_for_nothing_is_heard(void **state) {
        pthread_t thread;
        int output[2];
        char c;
        Pool pool;

        assert_int_equal(pipe2(output, O_CLOEXEC), 0);
        pool_init(&pool, SHELL("echo; exec sleep " FOREVER));
        pool.try.attempt.output_fd = output[1];
        try_wake(&pool.try);
        assert_int_equal(pthread_create(&thread, NULL, run_pool, &pool), 0);
        assert_int_equal(read(output[0], &c, 1), 1);
        try_stop(&pool.try);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_failed(&pool.try, OUTCOME_FAILURE, "killed by signal 15 (TERM)");
        pool_done(&pool);
        (void) close(output[0]);
        (void) close(output[1]);
}

static void payload_is_standard_input_whether_it_is_read_or_not(void **state) {
        static const size_t sizes[] = { 0, 10, PIPE_BUF, PIPE_BUF + 1, 65537, 1024 * 1024 };
        static const struct {
                const char *script;
                bool reads;
        } rows[] = {
                { "exec cat", true },
                { ":", false },
                { "exec <&-", false },
                { "echo 2>&- >&0; :", false },
        };
        static char payload[1024 * 1024];

        for (size_t i = 0; i < sizeof(payload); i++)
                payload[i] = (char) (i * 7 + i / 256);

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                HandlerConfig config = config_for(SHELL(rows[i].script));
                Pool pool;

                config.output_max = sizeof(payload);
                pool_init_with(&pool, &config);
                for (size_t j = 0; j < ELEMENTSOF(sizes); j++) {
                        pool.try.attempt.payload = payload;
                        pool.try.attempt.payload_size = sizes[j];
                        pool_run(&pool);
                        assert_output(&pool.try, payload, rows[i].reads ? sizes[j] : 0);
                        pool_next(&pool);
                }
                pool_done(&pool);
        }
}

static int file_with(const char *text, int flags) {
        int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), again;
        char path[64];

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
        if (flags == O_RDWR)
                return fd;

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        again = open(path, flags | O_CLOEXEC);
        assert_true(again >= 0);
        (void) close(fd);
        return again;
}

static void payload_fd_is_read_from_its_start_by_every_attempt(void **state) {
        Pool pool;

        pool_init(&pool, SHELL("exec cat"));
        for (unsigned i = 0; i < 2; i++) {
                _cleanup_close_ int fd =
                        i == 0 ? file_with("content", O_RDWR) : memfd_create("test", MFD_CLOEXEC);

                if (i == 1)
                        assert_int_equal(fd_write_all(fd, "content", 7), 0);
                assert_int_equal(lseek(fd, 3, SEEK_SET), 3);
                for (unsigned attempt = 1; attempt < 3; attempt++) {
                        pool.try.attempt.payload_fd = fd;
                        pool_run(&pool);
                        assert_output(&pool.try, "content", 7);
                        assert_int_equal(lseek(fd, 0, SEEK_CUR), 3); /* not ours to move */
                        pool_next(&pool);
                }
        }
        pool_done(&pool);
}

static void payload_fd_may_be_a_pipe(void **state) {
        int fds[2];
        Pool pool;

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        assert_int_equal(fd_write_all(fds[1], "through a pipe", 14), 0);
        (void) close(fds[1]);

        pool_init(&pool, SHELL("exec cat"));
        pool.try.attempt.payload_fd = fds[0];
        pool_run(&pool);
        assert_output(&pool.try, "through a pipe", 14);
        pool_done(&pool);
        (void) close(fds[0]);
}

static void payload_fd_that_is_not_for_reading_is_refused(void **state) {
        static const int flags[] = { O_WRONLY, O_PATH };
        Pool pool;

        pool_init(&pool, SHELL("exec cat"));
        for (size_t i = 0; i < ELEMENTSOF(flags); i++) {
                _cleanup_close_ int fd = file_with("secret", flags[i]);

                pool.try.attempt.payload_fd = fd;
                pool_run(&pool);
                assert_failed(&pool.try, OUTCOME_FATAL,
                        "the payload cannot be given to the command: it came as an fd that is not "
                        "open for reading");
                pool_next(&pool);
        }
        pool_done(&pool);
}

static void output_fd_takes_the_output_without_a_cap(void **state) {
        _cleanup_close_ int fd = file_with("", O_RDWR);
        struct stat st;
        Pool pool;

        pool_init(&pool, SHELL("head -c 1000000 /dev/zero"));
        pool.try.attempt.output_fd = fd;
        pool_run(&pool);
        assert_output(&pool.try, NULL, 0);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_size, 1000000);
        pool_done(&pool);
}

static void specifiers_and_arguments_make_the_command_line(void **state) {
        HandlerConfig config = config_for(WORDS((char *) "/bin/echo", (char *) "%j-%p",
                (char *) "%t%w", (char *) "100%%", (char *) ""));
        Pool pool;

        pool_init_with(&pool, &config);
        pool_run(&pool);
        assert_output(&pool.try, "7-pool tag3 100% \n", 18);
        pool_next(&pool);
        pool.try.attempt.arguments = WORDS((char *) "a b", (char *) "%j");
        pool_run(&pool);
        assert_failed(&pool.try, OUTCOME_FATAL, "arguments, in spite of AllowArguments=no");
        pool_done(&pool);

        config.allow_arguments = true;
        pool_init_with(&pool, &config);
        pool.try.attempt.arguments = WORDS((char *) "a b", (char *) "%j");
        pool_run(&pool);
        assert_output(&pool.try, "7-pool tag3 100%  a b %j\n", 25);
        pool_done(&pool);

        config.exec_start = WORDS((char *) "/bin/echo", (char *) "constant");
        pool_init_with(&pool, &config);
        pool.try.attempt.arguments = WORDS((char *) "more");
        pool_run(&pool);
        assert_output(&pool.try, "constant more\n", 14);
        pool_done(&pool);
}

static void child_has_three_fds_even_if_the_parent_has_many(void **state) {
        int fds[200];
        Pool pool;

        for (size_t i = 0; i < ELEMENTSOF(fds); i++) /* not O_CLOEXEC, as a bad library would */
                fds[i] = open("/dev/null", O_RDONLY);
        pool_init(&pool, SHELL("ls /proc/$$/fd; :"));
        pool_run(&pool);
        assert_output(&pool.try, "0\n1\n2\n", 6);
        pool_next(&pool);
        pool.try.attempt.payload = fds;
        pool.try.attempt.payload_size = sizeof(fds);
        pool_run(&pool);
        assert_output(&pool.try, "0\n1\n2\n", 6);
        pool_done(&pool);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                (void) close(fds[i]);
}

static void environment_is_built_from_nothing(void **state) {
        HandlerConfig config = config_for(WORDS((char *) "/usr/bin/env"));
        const struct passwd *user = getpwuid(geteuid());
        char expect[1024];
        Pool pool;
        int n;

        assert_non_null(user);
        assert_int_equal(setenv("SECRET", "of the parent", 1), 0);
        assert_int_equal(setenv("NOTIFY_SOCKET", "/run/notify", 1), 0);
        config.environment = WORDS((char *) "COLOUR=blue", (char *) "LANG=de_DE.UTF-8",
                (char *) "EMPTY=", (char *) "COLOUR=red");
        n = snprintf(expect, sizeof(expect),
                "SLUICE_JOB=7\nSLUICE_TAG=tag\n"
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
                "LANG=de_DE.UTF-8\nHOME=%s\nLOGNAME=%s\nUSER=%s\nSHELL=%s\nSLUICE_POOL=pool\n"
                "COLOUR=red\nEMPTY=\n",
                user->pw_dir, user->pw_name, user->pw_name, user->pw_shell);

        pool_init_with(&pool, &config);
        pool_run(&pool);
        assert_output(&pool.try, expect, (size_t) n);
        pool_done(&pool);
        assert_int_equal(unsetenv("SECRET"), 0);
        assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
}

static void child_starts_with_clean_signals_in_its_own_session(void **state) {
        static const struct {
                const char *script, *expect;
        } rows[] = {
                { "grep SigBlk /proc/self/status", "SigBlk:\t0000000000000000" },
                { "while read -r k v; do [ $k = SigIgn: ] && echo $((0x$v & 0x7fffffff)); "
                  "done < /proc/self/status; :",
                        "0" },
                { "read -r pid _ _ _ pgrp session _ < /proc/$$/stat; "
                  "echo $((pid == pgrp && pid == session))",
                        "1" },
                { "pwd", "/" },
        };
        sigset_t all, before;

        assert_int_equal(sigfillset(&all), 0);
        assert_int_equal(pthread_sigmask(SIG_BLOCK, &all, &before), 0);
        assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *output = output_of(SHELL(rows[i].script));

                assert_string_equal(output, rows[i].expect);
        }
        assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
        assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
}

static void child_gets_the_usual_limit_of_open_files(void **state) {
        struct rlimit limit;

        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        if (limit.rlim_cur <= 1024)
                skip();

        /* It is lowered once the program is there, so that one may be a moment ahead. */
        free(output_of(SHELL("until [ $(ulimit -Sn) = 1024 ]; do :; done")));
}

static void child_is_no_safer_from_the_oom_killer_than_others(void **state) {
        _cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, "-1", 2) < 0)
                skip(); /* only root can protect itself */
        free(output_of(SHELL("until read -r n < /proc/$$/oom_score_adj; [ $n = 0 ]; do :; done")));
        assert_int_equal(pwrite(fd, "0", 1, 0), 1);
}

static void children_use_the_cpus_of_the_pool(void **state) {
        HandlerConfig config =
                config_for(SHELL("grep Cpus_allowed_list /proc/self/status | cut -f2"));
        cpu_set_t all, one;
        char first[16];

        assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
        CPU_ZERO(&one);
        for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
                if (CPU_ISSET(cpu, &all)) {
                        CPU_SET(cpu, &one);
                        (void) snprintf(first, sizeof(first), "%d\n", cpu);
                }

        for (int pin = 0; pin <= 1; pin++) {
                _cleanup_free_ char *error = NULL;
                cpu_set_t now;
                Pool pool;

                config.pin_commands = pin;
                pool.config = config;
                assert_int_equal(command_vtable.open(&pool.config, &pool.handler, &error), 0);
                assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
                assert_int_equal(
                        command_vtable.worker_open(pool.handler, &all, sizeof(all), &pool.worker),
                        0);
                try_init(&pool.try, NULL, 0);
                pool_run(&pool);
                assert_int_equal(pool.try.attempt.outcome, OUTCOME_SUCCESS);
                if (pin || CPU_COUNT(&all) == 1)
                        assert_output(&pool.try, first, strlen(first));
                else
                        assert_true(pool.try.attempt.output_size > strlen(first));

                /* The worker itself is back where it was. */
                assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
                assert_true(CPU_EQUAL(&now, &one));
                assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
                try_done(&pool.try);
                command_vtable.worker_close(pool.handler, pool.worker);
                command_vtable.close(pool.handler);
        }
}

/* A program in a folder of its own. */
typedef struct Program {
        char folder[64], path[80];
} Program;

static void program_init(Program *program, const char *text) {
        _cleanup_close_ int fd = -EBADF;

        strcpy(program->folder, "/tmp/test-command-XXXXXX");
        assert_non_null(mkdtemp(program->folder));
        (void) snprintf(program->path, sizeof(program->path), "%s/program", program->folder);
        fd = open(program->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static void program_done(Program *program) {
        (void) unlink(program->path);
        (void) rmdir(program->path);
        (void) rmdir(program->folder);
}

static void programs_that_went_bad_are_explained(void **state) {
        enum { NOTHING, REMOVE, NOT_EXECUTABLE, FOLDER };
        static const struct {
                const char *text;
                int change;
                int exit_status;
                const char *error; /* after the path */
        } rows[] = {
                { "#!/bin/sh\n", REMOVE, 127, " is missing" },
                { "#!/nowhere/sh\n", NOTHING, 127, " names an interpreter that is missing" },
                { "#!/bin/sh\n", NOT_EXECUTABLE, 126, " is not executable: Permission denied" },
                { "#!/bin/sh\n", FOLDER, 126, " is not executable: it is a folder" },
                { "no program", NOTHING, 126, " is not executable: Exec format error" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Program program;
                char expect[256];
                Pool pool;

                program_init(&program, rows[i].text);
                pool_init(&pool, WORDS(program.path));
                if (rows[i].change == REMOVE || rows[i].change == FOLDER)
                        assert_int_equal(unlink(program.path), 0);
                if (rows[i].change == FOLDER)
                        assert_int_equal(mkdir(program.path, 0755), 0);
                if (rows[i].change == NOT_EXECUTABLE)
                        assert_int_equal(chmod(program.path, 0644), 0);

                pool_run(&pool);
                (void) snprintf(expect, sizeof(expect), "%s%s", program.path, rows[i].error);
                assert_failed(&pool.try, OUTCOME_FAILURE, expect);
                assert_int_equal(pool.try.attempt.exit_status, rows[i].exit_status);
                pool_done(&pool);
                program_done(&program);
        }
}

static void missing_working_directory_is_explained(void **state) {
        static const struct {
                const char *folder, *error;
        } rows[] = {
                { "/nowhere", "WorkingDirectory=/nowhere: No such file or directory" },
                { "/dev/null", "WorkingDirectory=/dev/null: not a folder" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                HandlerConfig config = config_for(SHELL(":"));
                Pool pool;

                config.working_directory = (char *) rows[i].folder;
                pool_init_with(&pool, &config);
                pool_run(&pool);
                assert_failed(&pool.try, OUTCOME_FAILURE, rows[i].error);
                pool_done(&pool);
        }
}

static void settings_that_cannot_work_are_refused(void **state) {
        static char long_path[PATH_MAX + 1];
        static const struct {
                const char *program, *argument, *variable, *folder;
                int r;
                const char *error;
        } rows[] = {
                { NULL, NULL, NULL, NULL, -EINVAL, "ExecStart= is missing" },
                { "echo", NULL, NULL, NULL, -ENOEXEC, "echo is not an absolute path" },
                { "/nowhere/echo", NULL, NULL, NULL, -ENOEXEC, "No such file or directory" },
                { "/bin", NULL, NULL, NULL, -ENOEXEC, "/bin is not a file" },
                { "/etc/passwd", NULL, NULL, NULL, -ENOEXEC, "/etc/passwd is not executable" },
                { long_path, NULL, NULL, NULL, -ENOEXEC, "the path is too long" },
                { "/bin/echo", "%x", NULL, NULL, -EINVAL, "unknown specifier in \"%x\"" },
                { "/bin/echo", "100%", NULL, NULL, -EINVAL, "unknown specifier in \"100%\"" },
                { "/bin/echo", "%%%", NULL, NULL, -EINVAL, "unknown specifier in \"%%%\"" },
                { "/bin/echo", "x", "NOVALUE", NULL, -EINVAL, "not of the form KEY=VALUE" },
                { "/bin/echo", "x", "1A=x", NULL, -EINVAL, "not of the form KEY=VALUE" },
                { "/bin/echo", "x", "A-B=x", NULL, -EINVAL, "not of the form KEY=VALUE" },
                { "/bin/echo", "x", "=x", NULL, -EINVAL, "not of the form KEY=VALUE" },
                { "/bin/echo", "x", "LD_PRELOAD=x", NULL, -EINVAL, "LD_PRELOAD cannot be set" },
                { "/bin/echo", "x", "LISTEN_FDS=1", NULL, -EINVAL, "LISTEN_FDS cannot be set" },
                { "/bin/echo", "x", "NOTIFY_SOCKET=x", NULL, -EINVAL, "NOTIFY_SOCKET cannot" },
                { "/bin/echo", "x", "SLUICE_JOB=1", NULL, -EINVAL, "SLUICE_JOB cannot be set" },
                { "/bin/echo", "x", NULL, "tmp", -EINVAL, "WorkingDirectory=tmp is not an" },
        };

        memset(long_path, '/', sizeof(long_path) - 1);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                HandlerConfig config =
                        config_for(WORDS((char *) rows[i].program, (char *) rows[i].argument));
                _cleanup_free_ char *error = NULL;
                Handler *handler = NULL;

                config.environment = WORDS((char *) rows[i].variable);
                if (rows[i].folder)
                        config.working_directory = (char *) rows[i].folder;
                assert_int_equal(command_vtable.open(&config, &handler, &error), rows[i].r);
                assert_null(handler);
                assert_non_null(error);
                if (!strstr(error, rows[i].error))
                        fail_msg("\"%s\" does not say \"%s\"", error, rows[i].error);
        }
}

static void shortage_of_fds_asks_for_another_attempt(void **state) {
        static char payload[PIPE_BUF];
        struct rlimit before, limit;
        unsigned n_failed = 0;
        Pool pool;

        pool_init(&pool, WORDS((char *) "/bin/cat"));
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        for (unsigned more = 0; more < 10; more++) {
                pool.try.attempt.payload = payload;
                pool.try.attempt.payload_size = sizeof(payload);
                limit = before;
                limit.rlim_cur = (rlim_t) pool.try.wake_fd + 1 + more;
                assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
                pool_run(&pool);
                assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);

                if (pool.try.attempt.outcome != OUTCOME_SUCCESS) {
                        assert_int_equal(pool.try.attempt.outcome, OUTCOME_RETRY);
                        assert_non_null(strstr(pool.try.attempt.error, "Too many open files"));
                        n_failed++;
                }
                pool_next(&pool);
        }
        assert_in_range(n_failed, 4, 8);
        pool_done(&pool);
}

typedef struct Load {
        Handler *handler;
        unsigned n_succeeded;
} Load;

static void *work(void *userdata) {
        Load *load = userdata;
        HandlerWorker *worker = NULL;
        cpu_set_t cpus;

        if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0 ||
                command_vtable.worker_open(load->handler, &cpus, sizeof(cpus), &worker) < 0)
                return NULL;
        for (unsigned i = 0; i < 30; i++) {
                Try try;

                try_init(&try, "payload", 7);
                command_vtable.run(load->handler, worker, &try.attempt);
                load->n_succeeded += try.attempt.outcome == OUTCOME_SUCCESS &&
                                     try.attempt.output_size == 13 &&
                                     memcmp(try.attempt.output, "payload0\n1\n2\n", 13) == 0;
                try_done(&try);
        }
        command_vtable.worker_close(load->handler, worker);
        return NULL;
}

static void workers_do_not_share_fds_or_outputs(void **state) {
        pthread_t threads[3];
        Load loads[3];
        Pool pool;

        pool_init(&pool, SHELL("cat; ls /proc/$$/fd; :"));
        for (size_t i = 0; i < ELEMENTSOF(threads); i++) {
                loads[i] = (Load){ .handler = pool.handler };
                assert_int_equal(pthread_create(threads + i, NULL, work, loads + i), 0);
        }
        for (size_t i = 0; i < ELEMENTSOF(threads); i++) {
                assert_int_equal(pthread_join(threads[i], NULL), 0);
                assert_int_equal(loads[i].n_succeeded, 30);
        }
        pool_done(&pool);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(status_output_and_error_make_the_verdict),
                cmocka_unit_test(outputs_up_to_the_cap_are_kept),
                cmocka_unit_test(flood_of_a_command_that_is_over_already_is_a_flood),
                cmocka_unit_test(the_end_of_standard_error_is_kept),
                cmocka_unit_test(process_in_the_background_does_not_hold_the_job),
                cmocka_unit_test(process_that_left_the_session_outlives_the_job),
                cmocka_unit_test(stopped_commands_end_in_time),
                cmocka_unit_test(command_is_not_started_once_it_is_stopped),
                cmocka_unit_test(wake_without_a_stop_changes_nothing),
                cmocka_unit_test(stop_after_a_wake_for_nothing_is_heard),
                cmocka_unit_test(payload_is_standard_input_whether_it_is_read_or_not),
                cmocka_unit_test(payload_fd_is_read_from_its_start_by_every_attempt),
                cmocka_unit_test(payload_fd_may_be_a_pipe),
                cmocka_unit_test(payload_fd_that_is_not_for_reading_is_refused),
                cmocka_unit_test(output_fd_takes_the_output_without_a_cap),
                cmocka_unit_test(specifiers_and_arguments_make_the_command_line),
                cmocka_unit_test(child_has_three_fds_even_if_the_parent_has_many),
                cmocka_unit_test(environment_is_built_from_nothing),
                cmocka_unit_test(child_starts_with_clean_signals_in_its_own_session),
                cmocka_unit_test(child_gets_the_usual_limit_of_open_files),
                cmocka_unit_test(child_is_no_safer_from_the_oom_killer_than_others),
                cmocka_unit_test(children_use_the_cpus_of_the_pool),
                cmocka_unit_test(programs_that_went_bad_are_explained),
                cmocka_unit_test(missing_working_directory_is_explained),
                cmocka_unit_test(settings_that_cannot_work_are_refused),
                cmocka_unit_test(shortage_of_fds_asks_for_another_attempt),
                cmocka_unit_test(workers_do_not_share_fds_or_outputs),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
