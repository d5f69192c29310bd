/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "handler/handler.h"
#include "try.h"
#include "util/fd.h"

#define OUTPUT_MAX 3000000

/* A pool with one worker, and one job for it. */
typedef struct Pool {
        HandlerConfig config;
        Handler *handler;
        HandlerWorker *worker;
        Try try;
        char *program;
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

static void assert_no_child_is_left(void) {
        assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
        assert_int_equal(errno, ECHILD);
}

#define WORDS(...) ((char *[]){ __VA_ARGS__, NULL })

/* The child for tests with these words, or another program by its path. */
static void pool_init_with(Pool *pool, const HandlerConfig *config) {
        _cleanup_free_ char *error = NULL;
        cpu_set_t cpus;

        *pool = (Pool){ .config = *config, .n_fds = count_fds() };
        pool->config.pool = "pool";
        pool->config.working_directory = (char *) "/";
        if (pool->config.output_max == 0)
                pool->config.output_max = OUTPUT_MAX;
        if (pool->config.stop_timeout == 0)
                pool->config.stop_timeout = 20 * USEC_PER_SEC;
        if (strcmp(pool->config.exec_start[0], "child") == 0) {
                assert_true(asprintf(&pool->program, "%s/tests/handler/coprocess-child",
                                    getenv("SLUICE_BUILD_ROOT")) > 0);
                pool->config.exec_start[0] = pool->program;
        }
        assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
        if (coprocess_vtable.open(&pool->config, &pool->handler, &error) < 0)
                fail_msg("%s", error);
        assert_int_equal(
                coprocess_vtable.worker_open(pool->handler, &cpus, sizeof(cpus), &pool->worker), 0);
        try_init(&pool->try, NULL, 0);
}

static void pool_init(Pool *pool, char **exec_start) {
        pool_init_with(pool, &(HandlerConfig){ .exec_start = exec_start });
}

static void pool_run_bytes(Pool *pool, const void *payload, size_t size) {
        try_done(&pool->try);
        try_init(&pool->try, payload, size);
        coprocess_vtable.run(pool->handler, pool->worker, &pool->try.attempt);
}

static void pool_run(Pool *pool, const char *payload) {
        pool_run_bytes(pool, payload, strlen(payload));
}

static void pool_expect(Pool *pool, const char *payload, const char *output) {
        pool_run(pool, payload);
        assert_output(&pool->try, output, strlen(output));
}

static void pool_done(Pool *pool) {
        try_done(&pool->try);
        coprocess_vtable.worker_close(pool->handler, pool->worker);
        coprocess_vtable.close(pool->handler);
        free(pool->program);
        assert_no_child_is_left();
        assert_int_equal(count_fds(), pool->n_fds); /* nothing is left open */
}

static pid_t pool_pid(Pool *pool) {
        char text[32] = "";

        pool_run(pool, "pid");
        assert_int_equal(pool->try.attempt.outcome, OUTCOME_SUCCESS);
        assert_true(pool->try.attempt.output_size < sizeof(text));
        memcpy(text, pool->try.attempt.output, pool->try.attempt.output_size);
        return (pid_t) atoi(text);
}

/* ---- good children ---- */

static void one_child_does_all_jobs(void **state) {
        Pool pool;
        pid_t pid;

        pool_init(&pool, WORDS((char *) "child"));
        pid = pool_pid(&pool);
        pool_expect(&pool, "hello", "HELLO");
        pool_expect(&pool, "", "");
        pool_expect(&pool, "two\nlines,", "TWO\nLINES,");
        for (unsigned i = 0; i < 100; i++)
                pool_expect(&pool, "again", "AGAIN");
        assert_int_equal(pool_pid(&pool), pid);
        pool_done(&pool);
}

static void lines_are_jobs_of_programs_as_they_are(void **state) {
        static const struct {
                char *words[8];
                const char *payload, *output;
        } rows[] = {
                { { (char *) "child", (char *) "line" }, "hello", "HELLO" },
                { { (char *) "/bin/sed", (char *) "-u", (char *) "s/l/L/g" }, "hello", "heLLo" },
                { { (char *) "/bin/cat" }, "hello", "hello" },
                { { (char *) "/usr/bin/python3", (char *) "-uc",
                          (char *) "import sys\nfor s in sys.stdin: print(s.strip()[::-1])" },
                        "hello", "olleh" },
                { { (char *) "/usr/bin/jq", (char *) "--unbuffered", (char *) "-c",
                          (char *) "{n: (.n + 1)}" },
                        "{\"n\": 41}", "{\"n\":42}" },
                { { (char *) "/bin/sh", (char *) "-c",
                          (char *) "while read -r s; do echo \"<$s>\"; done" },
                        "hello", "<hello>" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                char *words[8];
                Pool pool;

                memcpy(words, rows[i].words, sizeof(words));
                if (words[0][0] == '/' && access(words[0], X_OK) < 0) {
                        print_message("there is no %s\n", words[0]);
                        continue;
                }
                pool_init_with(
                        &pool, &(HandlerConfig){ .exec_start = words, .framing = FRAMING_LINE });
                for (unsigned n = 0; n < 5; n++)
                        pool_expect(&pool, rows[i].payload, rows[i].output);
                pool_done(&pool);
        }
}

static void an_empty_payload_is_an_empty_line(void **state) {
        Pool pool;

        pool_init_with(&pool, &(HandlerConfig){ .exec_start = WORDS((char *) "/bin/sed",
                                                        (char *) "-u", (char *) "s/^$/nothing/"),
                                      .framing = FRAMING_LINE });
        for (unsigned i = 0; i < 3; i++) {
                pool_expect(&pool, "", "nothing");
                pool_expect(&pool, "some", "some");
        }
        pool_run(&pool, "two\nlines");
        assert_failed(&pool.try, OUTCOME_FATAL,
                "the payload has a newline in it: with Framing=line a job is one line, which the "
                "newline after it ends");
        pool_expect(&pool, "some", "some");
        pool_done(&pool);
}

static void sizes_of_all_kinds_go_through(void **state) {
        static const size_t sizes[] = { 1, 2, 4095, 4096, 4097, 65535, 65536, 65537, 200000,
                OUTPUT_MAX };
        char *payload = malloc(OUTPUT_MAX), *upper = malloc(OUTPUT_MAX);

        memset(payload, 'x', OUTPUT_MAX);
        memset(upper, 'X', OUTPUT_MAX);
        for (int framing = 0; framing < _FRAMING_MAX; framing++) {
                Pool pool;

                pool_init_with(&pool,
                        &(HandlerConfig){ .exec_start = WORDS((char *) "child",
                                                  (char *) (framing == FRAMING_LINE ? "line" : "")),
                                .framing = (Framing) framing });
                for (size_t i = 0; i < 2 * ELEMENTSOF(sizes); i++) {
                        size_t size = sizes[i % ELEMENTSOF(sizes)];

                        pool_run_bytes(&pool, payload, size);
                        assert_output(&pool.try, upper, size);
                }
                pool_done(&pool);
        }
        free(payload);
        free(upper);
}

/* cat answers while it reads, and either pipe is full most of the time. */
static void a_child_may_answer_while_it_reads(void **state) {
        char *payload = malloc(OUTPUT_MAX);
        Pool pool;

        memset(payload, 'x', OUTPUT_MAX);
        pool_init_with(&pool, &(HandlerConfig){ .exec_start = WORDS((char *) "/bin/cat"),
                                      .framing = FRAMING_LINE });
        for (unsigned i = 0; i < 4; i++) {
                pool_run_bytes(&pool, payload, OUTPUT_MAX);
                assert_output(&pool.try, payload, OUTPUT_MAX);
        }
        pool_done(&pool);
        free(payload);
}

static void a_minus_says_why_a_job_failed(void **state) {
        Pool pool;
        pid_t pid;

        pool_init(&pool, WORDS((char *) "child"));
        pid = pool_pid(&pool);
        pool_run(&pool, "fail not found");
        assert_failed(&pool.try, OUTCOME_FAILURE, "not found");
        pool_run_bytes(&pool, "fail a\0b\377", 9);
        assert_failed(&pool.try, OUTCOME_FAILURE, "a?b?");
        pool_run(&pool, "fail ");
        assert_failed(&pool.try, OUTCOME_FAILURE, "the coprocess gave no reason");
        assert_int_equal(pool.try.attempt.exit_status, 0);
        assert_int_equal(pool_pid(&pool), pid);
        pool_done(&pool);
}

/* ---- bad children ---- */

static void bad_children_fail_one_job_and_are_replaced(void **state) {
        static const struct {
                const char *job;
                const char *error; /* NULL = the answer is "bye" or "last" */
                Outcome outcome;
                int exit_status;
        } rows[] = {
                { "garbage",
                        "the coprocess wrote what is no result: \"+LENGTH:output,\" or "
                        "\"-LENGTH:reason,\"",
                        OUTCOME_FAILURE, 0 },
                { "much by far",
                        "the coprocess wrote what is no result: \"+LENGTH:output,\" or "
                        "\"-LENGTH:reason,\"",
                        OUTCOME_FAILURE, 0 },
                { "much", "the coprocess gave more output than OutputMax= allows", OUTCOME_FAILURE,
                        0 },
                { "two", "the coprocess wrote more than one result for one job", OUTCOME_FAILURE,
                        0 },
                { "half and exit", "ended within its answer: exit status 0", OUTCOME_FAILURE, 0 },
                { "close output", "the coprocess closed its standard output", OUTCOME_FAILURE, 0 },
                { "exit 0", "ended without an answer: exit status 0: on the way\nout",
                        OUTCOME_FAILURE, 0 },
                { "exit 4", "exit status 4: on the way\nout", OUTCOME_FAILURE, 4 },
                { "exit 75", "exit status 75: on the way\nout", OUTCOME_RETRY, 75 },
                { "signal 9", "killed by signal 9 (KILL)", OUTCOME_FAILURE, 137 },
                { "orphan", "exit status 3", OUTCOME_FAILURE, 3 },
                { "answer and exit", NULL, OUTCOME_SUCCESS, 0 },
                { "answer and die", NULL, OUTCOME_SUCCESS, 0 },
                { "close input", NULL, OUTCOME_SUCCESS, 0 },
        };

        /* As its first job, or after others. */
        for (size_t i = 0; i < 2 * ELEMENTSOF(rows); i++) {
                size_t row = i / 2, n_before = i % 2 == 0 ? 0 : 3;
                pid_t pid = 0;
                Pool pool;

                print_message("%s, %zu jobs before\n", rows[row].job, n_before);
                pool_init(&pool, WORDS((char *) "child"));
                for (size_t n = 0; n < n_before; n++)
                        pid = pool_pid(&pool);
                pool_run(&pool, rows[row].job);
                assert_int_equal(pool.try.attempt.exit_status, rows[row].exit_status);
                if (rows[row].error)
                        assert_failed(&pool.try, rows[row].outcome, rows[row].error);
                else
                        assert_int_equal(pool.try.attempt.outcome, OUTCOME_SUCCESS);
                for (size_t n = 0; n < 3; n++)
                        pool_expect(&pool, "hello", "HELLO");
                assert_int_not_equal(pool_pid(&pool), pid);
                pool_done(&pool);
        }
}

static void what_comes_before_the_job_is_no_answer(void **state) {
        static const struct {
                bool line;
                const char *word;
        } rows[] = { { false, "greet" }, { true, "greet" }, { false, "twice" }, { true, "twice" } };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                bool is_twice = strcmp(rows[i].word, "twice") == 0;
                unsigned n_failed = 0;
                Pool pool;

                pool_init_with(&pool,
                        &(HandlerConfig){
                                .exec_start = WORDS((char *) "child", (char *) rows[i].word,
                                        (char *) (rows[i].line ? "line" : "")),
                                .framing = rows[i].line ? FRAMING_LINE : FRAMING_NETSTRING });
                for (unsigned n = 0; n < 4; n++) {
                        char payload[] = "job a", output[] = "JOB A";

                        payload[4] = (char) ('a' + n);
                        output[4] = (char) ('A' + n);
                        pool_run(&pool, payload);
                        if (pool.try.attempt.outcome == OUTCOME_SUCCESS)
                                assert_output(&pool.try, output, 5);
                        else
                                n_failed++;
                }
                /* Of two answers the first may be taken before there is the second. */
                if (!is_twice)
                        assert_int_equal(n_failed, 4);
                pool_done(&pool);
        }
}

static void a_child_that_does_not_read_on_is_found_out(void **state) {
        static const struct {
                const char *script;
                size_t size;
                const char *output, *error;
        } rows[] = {
                { "head -c 100 >/dev/null; echo one; cat >/dev/null", 300000, "one", NULL },
                { "head -c 100 >/dev/null; echo one; sleep 0.1; echo two; cat >/dev/null", 300000,
                        NULL, "the coprocess wrote more than one line for one job" },
                { "head -c 100 >/dev/null; exec <&-; sleep 1000", 200, NULL,
                        "the coprocess closed its standard input" },
                { "head -c 100 >/dev/null; exec <&-; sleep 1000", 300000, NULL,
                        "the coprocess closed its standard input" },
                { "head -c 201 >/dev/null; exec <&-; sleep 0.1; echo one; sleep 1000", 200, "one",
                        NULL },
        };
        _cleanup_free_ char *payload = malloc(300000);

        memset(payload, 'x', 300000);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Pool pool;

                print_message("%s, %zu bytes\n", rows[i].script, rows[i].size);
                pool_init_with(
                        &pool, &(HandlerConfig){ .exec_start = WORDS((char *) "/bin/sh",
                                                         (char *) "-c", (char *) rows[i].script),
                                       .framing = FRAMING_LINE });
                pool_run_bytes(&pool, payload, rows[i].size);
                if (rows[i].output)
                        assert_output(&pool.try, rows[i].output, strlen(rows[i].output));
                else
                        assert_failed(&pool.try, OUTCOME_FAILURE, rows[i].error);
                pool_done(&pool);
        }
}

static void a_program_that_cannot_work_does_not_spin(void **state) {
        Pool pool;
        usec_t begin;

        pool_init(&pool, WORDS((char *) "child", (char *) "exit", (char *) "1"));
        begin = usec_now(CLOCK_MONOTONIC);
        for (unsigned i = 0; i < 3; i++) {
                pool_run(&pool, "hello");
                assert_failed(&pool.try, OUTCOME_FAILURE, "exit status 1: no wish to work");
        }
        /* The second waits for 100 ms, the third for 200. */
        assert_true(usec_now(CLOCK_MONOTONIC) - begin >= 300 * USEC_PER_MSEC);
        pool_done(&pool);
}

static void what_cannot_be_started_says_why(void **state) {
        char path[] = "/tmp/coprocess-XXXXXX";
        int fd = mkstemp(path);
        Pool pool;

        assert_true(fd >= 0);
        assert_int_equal(fchmod(fd, 0755), 0);
        assert_int_equal(fd_write_all(fd, "#!/missing\n", 11), 0);
        close(fd);
        pool_init(&pool, WORDS(path));
        pool_run(&pool, "hello");
        assert_int_equal(pool.try.attempt.outcome, OUTCOME_FAILURE);
        assert_int_equal(pool.try.attempt.exit_status, 127);
        assert_non_null(strstr(pool.try.attempt.error, "names an interpreter that is missing"));
        unlink(path);
        pool_done(&pool);
}

static void a_flood_of_standard_error_neither_blocks_nor_fills_the_log(void **state) {
        int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        int fd = memfd_create("log", MFD_CLOEXEC);
        _cleanup_free_ void *text = NULL;
        unsigned n_lines = 0;
        size_t size;
        Pool pool;

        assert_true(saved >= 0 && fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
        pool_init(&pool, WORDS((char *) "child"));
        pool_expect(&pool, "flood 100000", "done");
        pool_expect(&pool, "hello", "HELLO");
        pool_done(&pool);
        assert_true(dup2(saved, STDERR_FILENO) >= 0);
        assert_int_equal(fd_pread_all(fd, 1 << 24, &text, &size), 0);
        close(fd);
        close(saved);

        for (char *s = text; *s; s++)
                n_lines += *s == '\n';
        assert_in_range(n_lines, 50, 1000); /* of 100,000, for as long as it takes */
        assert_non_null(strstr(text, "Pool pool: coprocess "));
        assert_non_null(strstr(text, ": line 0 of a flood"));
        assert_non_null(strstr(text, " more lines were left out\n"));
}

/* ---- stops ---- */

static void *stop_at_once(void *userdata) {
        try_stop(userdata);
        return NULL;
}

/* The same when a child has told that it hangs. */
static void *stop_when_told(void *userdata) {
        sigset_t signals;
        int number;

        (void) sigemptyset(&signals);
        (void) sigaddset(&signals, SIGUSR1);
        assert_int_equal(sigwait(&signals, &number), 0);
        return stop_at_once(userdata);
}

static void run_and_stop(Pool *pool, const char *job, void *(*stop)(void *userdata)) {
        pthread_t thread;

        try_done(&pool->try);
        try_init(&pool->try, job, strlen(job));
        assert_int_equal(pthread_create(&thread, NULL, stop, &pool->try), 0);
        coprocess_vtable.run(pool->handler, pool->worker, &pool->try.attempt);
        (void) pthread_join(thread, NULL);
}

static void a_stopped_job_takes_its_child_with_it(void **state) {
        static const struct {
                const char *word, *job, *error;
                usec_t stop_timeout;
        } rows[] = {
                { "", "nothing", "stopped: killed by signal 15 (TERM)", 20 * USEC_PER_SEC },
                { "", "half", "stopped: killed by signal 15 (TERM)", 20 * USEC_PER_SEC },
                { "deaf", "nothing", "stopped: killed by signal 9 (KILL)", 50 * USEC_PER_MSEC },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Pool pool;
                pid_t pid;

                pool_init_with(
                        &pool, &(HandlerConfig){ .exec_start = WORDS((char *) "child",
                                                         (char *) "tell", (char *) rows[i].word),
                                       .stop_timeout = rows[i].stop_timeout });
                pid = pool_pid(&pool);
                run_and_stop(&pool, rows[i].job, stop_when_told);
                assert_failed(&pool.try, OUTCOME_FAILURE, rows[i].error);
                assert_int_equal(kill(pid, 0), -1);
                pool_expect(&pool, "hello", "HELLO");
                pool_done(&pool);
        }
}

static void a_pause_after_a_bad_child_can_be_stopped(void **state) {
        Pool pool;

        pool_init(&pool, WORDS((char *) "child", (char *) "exit", (char *) "1"));
        /* The next one would have to wait for 1.6 s. */
        for (unsigned i = 0; i < 5; i++)
                pool_run(&pool, "hello");
        /* The stop may come before the pause or in it. */
        for (unsigned i = 0; i < 20; i++) {
                run_and_stop(&pool, "hello", stop_at_once);
                assert_failed(&pool.try, OUTCOME_FAILURE, "stopped before it was begun");
        }
        pool_done(&pool);
}

/* The eventfd can be readable for another job's sake. */
static void a_wake_up_for_no_reason_is_no_stop(void **state) {
        Pool pool;

        pool_init(&pool, WORDS((char *) "child"));
        for (unsigned i = 0; i < 5; i++) {
                try_done(&pool.try);
                try_init(&pool.try, "hello", 5);
                try_wake(&pool.try);
                coprocess_vtable.run(pool.handler, pool.worker, &pool.try.attempt);
                assert_output(&pool.try, "HELLO", 5);
        }
        pool_done(&pool);
}

static void a_worker_that_closes_leaves_no_child(void **state) {
        static const char *const scripts[] = {
                "while read -r s; do echo $s; done",                  /* ends with its input */
                "while read -r s; do echo $s; done; exec sleep 1000", /* SIGTERM */
                "trap '' TERM; while read -r s; do echo $s; done; while :; do sleep 1; done",
                "sleep 1000 & while read -r s; do echo $s; done", /* and its own child */
        };

        for (size_t i = 0; i < ELEMENTSOF(scripts); i++) {
                usec_t begin;
                Pool pool;

                pool_init_with(
                        &pool, &(HandlerConfig){ .exec_start = WORDS((char *) "/bin/sh",
                                                         (char *) "-c", (char *) scripts[i]),
                                       .framing = FRAMING_LINE,
                                       .stop_timeout = i == 2 ? USEC_PER_SEC : 20 * USEC_PER_SEC });
                pool_expect(&pool, "hello", "hello");
                begin = usec_now(CLOCK_MONOTONIC);
                pool_done(&pool);
                assert_true(usec_now(CLOCK_MONOTONIC) - begin < 15 * USEC_PER_SEC);
        }
}

/* ---- between jobs ---- */

static void a_child_that_ends_between_jobs_is_started_again(void **state) {
        Pool pool;

        pool_init(&pool, WORDS((char *) "child"));
        for (unsigned i = 0; i < 20; i++) {
                pid_t pid = pool_pid(&pool);

                siginfo_t status;

                assert_int_equal(kill(pid, SIGKILL), 0);
                assert_int_equal(waitid(P_PID, (id_t) pid, &status, WEXITED | WNOWAIT), 0);
                pool_expect(&pool, "hello", "HELLO");
        }
        pool_done(&pool);
}

/* Kills the child when there is something for it to read. */
static void *kill_when_written_to(void *userdata) {
        const pid_t *pid = userdata;
        char path[32];
        int fd;

        (void) snprintf(path, sizeof(path), "/proc/%d/fd/0", *pid);
        fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1), 1);
        close(fd);
        assert_int_equal(kill(*pid, SIGKILL), 0);
        return NULL;
}

/* The child sleeps when it gets the job, and never wakes up. */
static void a_job_that_nobody_has_begun_goes_to_the_next_child(void **state) {
        for (unsigned n_before = 1; n_before < 5; n_before++) {
                pthread_t thread;
                siginfo_t status;
                pid_t pid = 0;
                Pool pool;

                pool_init(&pool, WORDS((char *) "child"));
                for (unsigned i = 0; i < n_before; i++)
                        pid = pool_pid(&pool);
                assert_int_equal(kill(pid, SIGSTOP), 0);
                assert_int_equal(waitid(P_PID, (id_t) pid, &status, WSTOPPED | WNOWAIT), 0);
                assert_int_equal(pthread_create(&thread, NULL, kill_when_written_to, &pid), 0);
                pool_expect(&pool, "hello", "HELLO");
                (void) pthread_join(thread, NULL);
                pool_done(&pool);
        }
}

static void *be_idle(void *userdata) {
        Pool *pool = userdata;

        coprocess_vtable.idle(pool->handler, pool->worker, pool->try.wake_fd);
        return NULL;
}

static void what_a_child_says_without_a_job_is_no_answer_to_the_next(void **state) {
        for (unsigned n_before = 1; n_before < 5; n_before++) {
                pid_t pid = 0;
                Pool pool;

                pool_init(&pool, WORDS((char *) "child"));
                for (unsigned i = 0; i < n_before; i++)
                        pid = pool_pid(&pool);
                assert_int_equal(kill(pid, SIGUSR1), 0); /* it talks, and idle() hears that */
                coprocess_vtable.idle(pool.handler, pool.worker, pool.try.wake_fd);
                assert_no_child_is_left();
                pool_expect(&pool, "hello", "HELLO");
                assert_int_not_equal(pool_pid(&pool), pid);
                pool_done(&pool);
        }
}

/* The same without anybody who hears it before the next job comes. */
static void what_is_left_to_read_is_no_answer(void **state) {
        Pool pool;

        pool_init(&pool, WORDS((char *) "child"));
        for (unsigned i = 0; i < 3; i++) {
                pid_t pid = pool_pid(&pool);
                siginfo_t status;

                pool_expect(&pool, "hello", "HELLO");
                pool_expect(&pool, "hello", "HELLO");
                assert_int_equal(kill(pid, SIGUSR2), 0); /* it talks, and stops */
                assert_int_equal(waitid(P_PID, (id_t) pid, &status, WSTOPPED | WNOWAIT), 0);
                pool_expect(&pool, "hello", "HELLO");
                assert_int_not_equal(pool_pid(&pool), pid);
        }
        pool_done(&pool);
}

static void an_idle_worker_reaps_what_ends(void **state) {
        pthread_t thread;
        Pool pool;
        pid_t pid;

        pool_init(&pool, WORDS((char *) "child"));
        pid = pool_pid(&pool);
        assert_int_equal(pthread_create(&thread, NULL, be_idle, &pool), 0);
        assert_int_equal(kill(pid, SIGKILL), 0);
        (void) pthread_join(thread, NULL); /* there is nothing to look after any more */
        assert_no_child_is_left();

        pid = pool_pid(&pool);
        assert_int_equal(pthread_create(&thread, NULL, be_idle, &pool), 0);
        try_wake(&pool.try);
        (void) pthread_join(thread, NULL);
        assert_int_equal(pool_pid(&pool), pid);
        pool_done(&pool);
}

/* ---- settings ---- */

static void wrong_settings_are_named(void **state) {
        static const struct {
                char *words[4];
                const char *error;
        } rows[] = {
                { { NULL }, "ExecStart= is missing: it is the command line of Handler=coprocess" },
                { { (char *) "/missing" }, "ExecStart=: /missing: No such file or directory" },
                { { (char *) "/bin/cat", (char *) "%j" },
                        "ExecStart=: %j in \"%j\" is that of one job, and a coprocess has many" },
                { { (char *) "/bin/cat", (char *) "%%%t" },
                        "ExecStart=: %t in \"%%%t\" is that of one job, and a coprocess has many" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                HandlerConfig config = { .pool = "pool",
                        .exec_start = (char **) rows[i].words,
                        .working_directory = (char *) "/" };
                _cleanup_free_ char *error = NULL;
                Handler *handler;

                assert_true(coprocess_vtable.open(&config, &handler, &error) < 0);
                assert_string_equal(error, rows[i].error);
        }
}

static void children_know_pool_and_worker(void **state) {
        Pool pool;

        pool_init_with(&pool,
                &(HandlerConfig){ .exec_start = WORDS((char *) "/bin/sh", (char *) "-c",
                                          (char *) "while read -r s; do echo $SLUICE_POOL %p %w "
                                                   "$(ls /proc/self/fd | wc -l); done"),
                        .framing = FRAMING_LINE });
        pool_expect(&pool, "x", "pool pool 3 4"); /* 0, 1, 2, and that of ls */
        pool_done(&pool);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_child_does_all_jobs),
                cmocka_unit_test(lines_are_jobs_of_programs_as_they_are),
                cmocka_unit_test(an_empty_payload_is_an_empty_line),
                cmocka_unit_test(sizes_of_all_kinds_go_through),
                cmocka_unit_test(a_child_may_answer_while_it_reads),
                cmocka_unit_test(a_minus_says_why_a_job_failed),
                cmocka_unit_test(bad_children_fail_one_job_and_are_replaced),
                cmocka_unit_test(what_comes_before_the_job_is_no_answer),
                cmocka_unit_test(a_child_that_does_not_read_on_is_found_out),
                cmocka_unit_test(a_program_that_cannot_work_does_not_spin),
                cmocka_unit_test(what_cannot_be_started_says_why),
                cmocka_unit_test(a_flood_of_standard_error_neither_blocks_nor_fills_the_log),
                cmocka_unit_test(a_stopped_job_takes_its_child_with_it),
                cmocka_unit_test(a_pause_after_a_bad_child_can_be_stopped),
                cmocka_unit_test(a_wake_up_for_no_reason_is_no_stop),
                cmocka_unit_test(a_worker_that_closes_leaves_no_child),
                cmocka_unit_test(a_child_that_ends_between_jobs_is_started_again),
                cmocka_unit_test(a_job_that_nobody_has_begun_goes_to_the_next_child),
                cmocka_unit_test(what_a_child_says_without_a_job_is_no_answer_to_the_next),
                cmocka_unit_test(what_is_left_to_read_is_no_answer),
                cmocka_unit_test(an_idle_worker_reaps_what_ends),
                cmocka_unit_test(wrong_settings_are_named),
                cmocka_unit_test(children_know_pool_and_worker),
        };

        sigset_t signals;

        /* It is waited for, in a thread. */
        (void) sigemptyset(&signals);
        (void) sigaddset(&signals, SIGUSR1);
        (void) pthread_sigmask(SIG_BLOCK, &signals, NULL);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
