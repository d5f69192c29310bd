/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Commands that do several jobs in one run, and what they answer when they go wrong. */

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>

#include "handler/handler.h"
#include "try.h"
#include "util/macro.h"

#define BATCH_MAX 20
#define OUTPUT_MAX 100000

#define WORDS(...) ((char *[]){ __VA_ARGS__, NULL })
#define SHELL(script) WORDS((char *) "/bin/sh", (char *) "-c", (char *) (script))

/* A pool with one worker, and a batch for it. */
typedef struct Pool {
        HandlerConfig config;
        Handler *handler;
        HandlerWorker *worker;
        Try tries[BATCH_MAX];
        Attempt *attempts[BATCH_MAX];
        size_t n;
} Pool;

static HandlerConfig config_for(char **exec_start) {
        return (HandlerConfig){
                .pool = "pool",
                .stop_timeout = 50 * USEC_PER_MSEC,
                .exec_start = exec_start,
                .working_directory = (char *) "/",
                .output_max = OUTPUT_MAX,
                .netstring_batches = true,
        };
}

static void pool_init(Pool *pool, char **exec_start) {
        _cleanup_free_ char *error = NULL;
        cpu_set_t cpus;

        *pool = (Pool){ .config = config_for(exec_start) };
        assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
        if (command_vtable.open(&pool->config, &pool->handler, &error) < 0)
                fail_msg("%s", error);
        assert_int_equal(
                command_vtable.worker_open(pool->handler, &cpus, sizeof(cpus), &pool->worker), 0);
}

static void pool_add(Pool *pool, const void *payload, size_t size) {
        Try *try = &pool->tries[pool->n];

        assert_true(pool->n < BATCH_MAX);
        try_init(try, payload, size);
        /* One worker, one eventfd. */
        try->attempt.wake_fd = pool->tries[0].wake_fd;
        pool->attempts[pool->n++] = &try->attempt;
}

static void *pool_run(void *userdata) {
        Pool *pool = userdata;

        command_vtable.run_batch(pool->handler, pool->worker, pool->attempts, pool->n);
        return NULL;
}

static void pool_forget_batch(Pool *pool) {
        for (size_t i = 0; i < pool->n; i++)
                try_done(&pool->tries[i]);
        pool->n = 0;
}

static void pool_done(Pool *pool) {
        pool_forget_batch(pool);
        command_vtable.worker_close(pool->handler, pool->worker);
        command_vtable.close(pool->handler);
}

static void assert_result(const Attempt *attempt, const char *expect) {
        if (*expect == '=') {
                if (attempt->outcome != OUTCOME_SUCCESS)
                        fail_msg("%s", attempt->error);
                assert_int_equal(attempt->output_size, strlen(expect + 1));
                if (attempt->output_size > 0)
                        assert_memory_equal(attempt->output, expect + 1, attempt->output_size);
                return;
        }
        assert_int_equal(attempt->outcome, *expect == '?' ? OUTCOME_RETRY : OUTCOME_FAILURE);
        assert_non_null(attempt->error);
        assert_string_equal(attempt->error, *expect == '?' ? expect + 1 : expect);
}

#define MISSING(n)                                                                  \
        "the command gave no result for this job: of a batch of 3 it answered the " \
        "first " #n
#define ODD "the command's output is not one netstring per job"
#define HALF "the command's output ends in the middle of a netstring"
#define MANY "the command gave more results than its batch has jobs"
#define LONG "the command gave a result that is longer than OutputMax= allows"

/* The batch is "one", "" and "three". */
static void each_job_has_the_result_that_its_command_gives_it(void **state) {
        static const struct {
                const char *script;
                const char *results[3]; /* '=' output, '?' to be tried again, or a failure */
        } rows[] = {
                { "cat", { "=one", "=", "=three" } },
                { "printf '1:a,1:b,1:c,'", { "=a", "=b", "=c" } }, /* reads nothing */
                { "exec <&-; printf '1:a,1:b,1:c,'", { "=a", "=b", "=c" } },
                { "printf 1:; sleep 0.05; printf a,1:; printf b; printf ,1:c,",
                        { "=a", "=b", "=c" } },
                { "wc -c | tr -d '\\n' | sed 's/.*/2:&,2:&,2:&,/'", { "=17", "=17", "=17" } },
                { "printf '9:'; echo noise >&2; printf '1:a,1:b,,,0:,0:,'",
                        { "=1:a,1:b,,", "=", "=" } },
                /* Jobs fail one by one, at any place. */
                { "printf '1:a,3:bad!1:c,'", { "=a", "bad", "=c" } },
                { "printf '3:bad!0:!2:a\\0!'", { "bad", "", "a?" } },
                /* A short reply is one of the first ones, and the others have failed. */
                { "printf '1:a,1:b,'", { "=a", "=b", MISSING(2) } },
                { "printf '1:a,'", { "=a", MISSING(1), MISSING(1) } },
                { ":", { MISSING(0), MISSING(0), MISSING(0) } },
                { "exec >&-", { MISSING(0), MISSING(0), MISSING(0) } },
                /* Nobody knows any more whose is what. */
                { "printf '1:a,1:b,1:c,1:d,'", { MANY, MANY, MANY } },
                { "printf '1:a,1:b,1:c,\\n'", { MANY, MANY, MANY } },
                { "echo hello", { ODD, ODD, ODD } },
                { "printf '1:a,\\n1:b,\\n1:c,\\n'", { ODD, ODD, ODD } },
                { "printf '1:a,1:bc,1:d,'", { ODD, ODD, ODD } },
                { "printf '1:a,1:b,x:c,'", { ODD, ODD, ODD } },
                { "printf '1:a,01:b,1:c,'", { ODD, ODD, ODD } },
                { "printf '1:a,1:b,5:c,'", { HALF, HALF, HALF } },
                { "printf '1:a,1:b,1:c'", { HALF, HALF, HALF } },
                { "printf '1:a,1:b,1'", { HALF, HALF, HALF } },
                { "printf '1:a,100001:'; sleep 1000", { LONG, LONG, LONG } },
                { "yes", { ODD, ODD, ODD } },
                { "yes 1:a, | tr -d '\\n'", { MANY, MANY, MANY } },
                /* The exit status is that of all. */
                { "cat; echo why >&2; exit 3",
                        { "exit status 3: why", "exit status 3: why", "exit status 3: why" } },
                { "printf '1:a,'; kill -KILL $$",
                        { "killed by signal 9 (KILL)", "killed by signal 9 (KILL)",
                                "killed by signal 9 (KILL)" } },
                { "printf '3:bad!'; exit 75",
                        { "?exit status 75", "?exit status 75", "?exit status 75" } },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Pool pool;

                print_message("%s\n", rows[i].script);
                pool_init(&pool, SHELL(rows[i].script));
                for (unsigned n = 0; n < 2; n++) { /* the worker has nothing left of the first */
                        pool_add(&pool, "one", 3);
                        pool_add(&pool, NULL, 0);
                        pool_add(&pool, "three", 5);
                        pool_run(&pool);
                        for (size_t k = 0; k < 3; k++)
                                assert_result(pool.attempts[k], rows[i].results[k]);
                        pool_forget_batch(&pool);
                }
                pool_done(&pool);
        }
}

static void one_job_is_a_batch_as_well(void **state) {
        Pool pool;

        pool_init(&pool, SHELL("cat"));
        pool_add(&pool, "12:hello, world,", 16);
        command_vtable.run(pool.handler, pool.worker, pool.attempts[0]);
        assert_result(pool.attempts[0], "=12:hello, world,");
        pool_done(&pool);
}

/* In a pipe, in memory, and over the ends of the buffer between them. */
static void payloads_of_any_size_come_whole(void **state) {
        static const size_t sizes[] = { 0, 1, 100, 4000, 4070, 4090, 65500, 65530, OUTPUT_MAX };
        static char payload[OUTPUT_MAX];

        for (size_t i = 0; i < sizeof(payload); i++)
                payload[i] = (char) (i * 7919 >> 3);
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                Pool pool;

                pool_init(&pool, WORDS((char *) "/bin/cat"));
                for (size_t k = 0; k < BATCH_MAX; k++)
                        pool_add(&pool, payload, k % 3 == 2 ? k : sizes[i]);
                pool_run(&pool);
                for (size_t k = 0; k < BATCH_MAX; k++)
                        assert_output(&pool.tries[k], payload, k % 3 == 2 ? k : sizes[i]);
                pool_done(&pool);
        }
}

static void a_command_knows_how_many_jobs_it_has(void **state) {
        Pool pool;

        pool_init(&pool, SHELL("test -z \"$SLUICE_JOB$SLUICE_TAG\" || exit 1; "
                               "printf '1:%%s,4:%%s,' $SLUICE_BATCH $SLUICE_POOL"));
        pool_add(&pool, "a", 1);
        pool_add(&pool, "b", 1);
        pool_run(&pool);
        assert_result(pool.attempts[0], "=2");
        assert_result(pool.attempts[1], "=pool");
        pool_done(&pool);
}

/* A batch of three that runs in a thread of its own. The command says in a file when it runs, and
 * waits there for what it is told. */
typedef struct Running {
        Pool pool;
        pthread_t thread;
        char folder[32], begun[48], go[48];
        int begun_fd, go_fd;
} Running;

static void running_init(Running *r, const char *rest) {
        char script[256], c;

        strcpy(r->folder, "/tmp/test-batch-XXXXXX");
        assert_non_null(mkdtemp(r->folder));
        (void) snprintf(r->begun, sizeof(r->begun), "%s/begun", r->folder);
        (void) snprintf(r->go, sizeof(r->go), "%s/go", r->folder);
        assert_int_equal(mkfifo(r->begun, 0600), 0);
        assert_int_equal(mkfifo(r->go, 0600), 0);
        r->begun_fd = open(r->begun, O_RDWR | O_CLOEXEC);
        r->go_fd = open(r->go, O_RDWR | O_CLOEXEC);
        (void) snprintf(
                script, sizeof(script), "echo >%s; read -r _ <%s; %s", r->begun, r->go, rest);

        pool_init(&r->pool, SHELL(script));
        pool_add(&r->pool, "a", 1);
        pool_add(&r->pool, "b", 1);
        pool_add(&r->pool, "c", 1);
        assert_int_equal(pthread_create(&r->thread, NULL, pool_run, &r->pool), 0);
        assert_int_equal(read(r->begun_fd, &c, 1), 1);
}

static void running_join(Running *r) {
        assert_int_equal(pthread_join(r->thread, NULL), 0);
}

static void running_done(Running *r) {
        pool_done(&r->pool);
        (void) close(r->begun_fd);
        (void) close(r->go_fd);
        (void) unlink(r->begun);
        (void) unlink(r->go);
        (void) rmdir(r->folder);
}

/* One that is cancelled is only marked, and a success is a success. */
static void a_batch_goes_on_as_long_as_one_of_its_jobs_is_wanted(void **state) {
        Running r;

        running_init(&r, "cat");
        atomic_store(&r.pool.tries[0].stop, JOB_STOP_CANCEL);
        atomic_store(&r.pool.tries[2].stop, JOB_STOP_CANCEL);
        try_wake(&r.pool.tries[0]);
        assert_int_equal(write(r.go_fd, "\n", 1), 1);
        running_join(&r);
        assert_result(r.pool.attempts[0], "=a");
        assert_result(r.pool.attempts[1], "=b");
        assert_result(r.pool.attempts[2], "=c");
        running_done(&r);
}

static void a_batch_ends_when_all_of_its_jobs_are_to_stop(void **state) {
        Running r;

        running_init(&r, "cat");
        for (size_t i = 0; i < 3; i++)
                atomic_store(&r.pool.tries[i].stop, i == 1 ? JOB_STOP_CANCEL : JOB_STOP_TIMEOUT);
        try_wake(&r.pool.tries[0]);
        running_join(&r);
        for (size_t i = 0; i < 3; i++)
                assert_result(r.pool.attempts[i], "killed by signal 15 (TERM)");
        running_done(&r);
}

static void a_batch_that_nobody_wants_is_not_started(void **state) {
        Pool pool;

        pool_init(&pool, SHELL("cat"));
        pool_add(&pool, "a", 1);
        pool_add(&pool, "b", 1);
        try_stop(&pool.tries[0]);
        try_stop(&pool.tries[1]);
        pool_run(&pool);
        assert_result(pool.attempts[0], "stopped before it was started");
        assert_result(pool.attempts[1], "stopped before it was started");
        pool_done(&pool);
}

static void a_command_that_is_missing_fails_the_whole_batch(void **state) {
        HandlerConfig config = config_for(SHELL("cat"));
        Pool pool;

        pool_init(&pool, SHELL("cat"));
        pool.config.working_directory = (char *) "/nowhere";
        pool_add(&pool, "a", 1);
        pool_add(&pool, "b", 1);
        pool_run(&pool);
        for (size_t i = 0; i < 2; i++)
                assert_result(
                        pool.attempts[i], "WorkingDirectory=/nowhere: No such file or directory");
        pool.config.working_directory = config.working_directory;
        pool_done(&pool);
}

static void what_is_of_one_job_alone_is_refused(void **state) {
        static const struct {
                const char *word;
                bool arguments;
                const char *error; /* NULL: fine */
        } rows[] = {
                { "%p %w %% %%j", false, NULL },
                { "%j", false, "ExecStart=: %j in \"%j\" is that of one job" },
                { "--tag=%%%t", false, "ExecStart=: %t in \"--tag=%%%t\" is that of one job" },
                { "x", true, "AllowArguments=yes cannot be with Batch=netstring" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                HandlerConfig config =
                        config_for(WORDS((char *) "/bin/cat", (char *) rows[i].word));
                _cleanup_free_ char *error = NULL;
                Handler *handler = NULL;
                int r;

                config.allow_arguments = rows[i].arguments;
                r = command_vtable.open(&config, &handler, &error);
                assert_int_equal(r, rows[i].error ? -EINVAL : 0);
                if (!rows[i].error)
                        command_vtable.close(handler);
                else if (!strstr(error, rows[i].error))
                        fail_msg("\"%s\" does not say \"%s\"", error, rows[i].error);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_job_has_the_result_that_its_command_gives_it),
                cmocka_unit_test(one_job_is_a_batch_as_well),
                cmocka_unit_test(payloads_of_any_size_come_whole),
                cmocka_unit_test(a_command_knows_how_many_jobs_it_has),
                cmocka_unit_test(a_batch_goes_on_as_long_as_one_of_its_jobs_is_wanted),
                cmocka_unit_test(a_batch_ends_when_all_of_its_jobs_are_to_stop),
                cmocka_unit_test(a_batch_that_nobody_wants_is_not_started),
                cmocka_unit_test(a_command_that_is_missing_fails_the_whole_batch),
                cmocka_unit_test(what_is_of_one_job_alone_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
