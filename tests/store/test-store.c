/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is posted is there when the state is opened again. */

#include "try.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "util/fd.h"
#include "util/log.h"
#include "util/strv.h"

/* ---- each kind of change ---- */

static void submit_plain(TryStore *t) {
        try_submit(t, 2, 4);
}

static void submit_all_options(TryStore *t, size_t n) {
        TryChange *c = try_submission(t, n, 0);
        const char *arguments[] = { "-v", "", "two words", NULL };

        c->submission.owner = UINT32_MAX - 1;
        c->submission.priority = -1000;
        c->submission.max_attempts = 7;
        c->submission.bind = true;
        c->submission.delay = USEC_PER_HOUR;
        c->submission.queue_timeout = 5;
        c->submission.run_timeout = 6;
        c->submission.tag = strdup("a tag");
        c->submission.concurrency_key = strdup("a key");
        assert_int_equal(strv_copy((char *const *) arguments, &c->submission.arguments), 0);
        c->change.submit.target = "line";
        c->change.submit.to_pipeline = true;
        c->jobs[0].priority = 1000;
        c->jobs[n - 1].priority = n > 1 ? -1000 : 7;
        try_post(t, c);
}

static void submit_single_all_options(TryStore *t) {
        submit_all_options(t, 1);
}

static void submit_two_all_options(TryStore *t) {
        submit_all_options(t, 2);
}

static void submit_no_arguments(TryStore *t) {
        TryChange *c = try_submission(t, 1, 1);

        c->submission.arguments = calloc(1, sizeof(char *));
        try_post(t, c);
}

static void submit_late(TryStore *t) {
        TryChange *c = try_submission(t, 1, 1);

        c->details = calloc(1, sizeof(*c->details));
        c->details->ready_at = t->base + 9 * USEC_PER_SEC;
        c->jobs->details = c->details;
        c->jobs->due_at = t->base + 8 * USEC_PER_SEC;
        try_post(t, c);
}

static void submit_groups(TryStore *t) {
        TryChange *empty, *full;

        /* The second one has the ids that the first one would have had. */
        t->next_id++;
        empty = try_submission(t, 0, 0);
        empty->change.submit.group_id = 1;
        t->next_id++;
        full = try_submission(t, 2, 1);
        full->change.submit.group_id = 2;
        full->change.submit.group_policy = GROUP_FIRST_ERROR;
        try_post(t, empty);
        try_post(t, full);
}

static void forget_empty_group(TryStore *t) {
        submit_groups(t);
        try_forget(t, 0, 0, submission_key(1, 2));
}

static void end_succeeded(TryStore *t) {
        try_submit(t, 1, 4);
        try_end(t, 1, JOB_SUCCEEDED, "output");
}

static void end_failed(TryStore *t) {
        TryChange *c;

        try_submit(t, 1, 4);
        c = try_end_of(t, 1, JOB_TIMED_OUT, "payload");
        c->details = calloc(1, sizeof(*c->details));
        *c->details = (JobDetails){
                .job = c->jobs,
                .attempt = 3,
                .asked = 2,
                .worker = 4,
                .exit_status = -5,
                .kicked = true,
                .started_at = t->base + 2 * USEC_PER_SEC,
                .finished_at = t->base + 3 * USEC_PER_SEC,
                .duration = 999,
                .error = strdup("was too slow"),
        };
        c->jobs->details = c->details;
        c->jobs->priority = 5;
        c->jobs->stage = 63;
        try_post(t, c);
}

static void wait_again(TryStore *t) {
        TryChange *c;

        try_submit(t, 1, 4);
        c = try_wait_of(t, 1, 2);
        c->change.wait.asked = 1;
        c->change.wait.ready_realtime = t->base_realtime + 7 * USEC_PER_SEC;
        try_post(t, c);
}

static void wait_at_next_stage(TryStore *t) {
        TryChange *c;

        try_submit(t, 1, 4);
        c = try_wait_of(t, 1, 0);
        c->change.wait.stage = 1;
        c->change.wait.has_data = true;
        c->change.wait.data = strdup("between");
        c->change.wait.size = 7;
        try_post(t, c);
}

static void wait_without_data(TryStore *t) {
        TryChange *c;

        try_submit(t, 1, 4);
        c = try_wait_of(t, 1, 0);
        c->change.wait.has_data = true;
        try_post(t, c);
}

static void kick(TryStore *t) {
        TryChange *c;

        end_failed(t);
        c = try_wait_of(t, 1, 0);
        c->change.wait.kicked = true;
        try_post(t, c);
}

static void change_priority(TryStore *t) {
        try_submit(t, 2, 1);
        try_priority(t, 2, -7);
}

static void forget(TryStore *t) {
        try_submit(t, 5, 1);
        try_submit(t, 1, 1);
        try_forget(t, 2, 3, 0);
        try_forget(t, 6, 1, 6);
}

static void make_objects(TryStore *t) {
        TryChange *c = try_change(t, STORE_OBJECT, 0);

        c->change.object = (StoredObject){
                .kind = strdup("breaker"),
                .name = strdup("b"),
                .settings = strdup(""),
                .digest = UINT64_MAX,
                .paused = true,
                .draining = true,
        };
        try_post(t, c);
        try_object(t, "pool", "p", "old");
        try_object(t, "pool", "p", "Handler=x\nWorkers=3");
        try_object(t, "limiter", "p", "Rate=1");
        try_object(t, "limiter", "q", "Rate=1");
        try_forget_object(t, "limiter", "q");
}

static void forget_pool(TryStore *t) {
        TryChange *c;

        try_submit(t, 2, 1);
        c = try_submission(t, 1, 1);
        c->change.submit.to_pipeline = true;
        try_post(t, c);
        c = try_submission(t, 1, 1);
        c->change.submit.target = "q";
        try_post(t, c);
        try_submit(t, 1, 1);
        t->next_id++;
        c = try_submission(t, 0, 0);
        c->change.submit.group_id = c->submission.first_id - 1;
        try_post(t, c);
        try_object(t, "pool", "p", "a");
        try_object(t, "pipeline", "p", "a");
        try_forget_object(t, "pool", "p");
        try_forget_object(t, "limiter", "q");
}

#define SUBMISSION(id, n) \
        "submission " id " n=" n " owner=1000 max=0 priority=0 target=p submitted=+0"
#define ENDLESS " queue=infinity run=infinity"

static void each_change_is_there_after_a_restart(void **state) {
        static const struct {
                const char *name;
                void (*make)(TryStore *t);
                const char *expected;
        } rows[] = {
                { "submit", submit_plain,
                        SUBMISSION("1", "2") ENDLESS
                        "\njob 1 waits priority=0 attempt=0 due=+0 data=bcde\n"
                        "job 2 waits priority=0 attempt=0 due=+0 data=cdef\n" },
                { "all options of one", submit_single_all_options,
                        "submission 1 n=1 owner=4294967294 max=7 priority=-1000 target=line "
                        "pipeline"
                        " bind submitted=+0 delay=3600000000 queue=5 run=6 tag=a tag key=a key"
                        " arguments \"-v\" \"\" \"two words\"\n"
                        "job 1 waits priority=7 attempt=0 due=+3600 data=\n" },
                { "all options of two", submit_two_all_options,
                        "submission 1 n=2 owner=4294967294 max=7 priority=-1000 target=line "
                        "pipeline"
                        " bind submitted=+0 delay=3600000000 queue=5 run=6 tag=a tag key=a key"
                        " arguments \"-v\" \"\" \"two words\"\n"
                        "job 1 waits priority=1000 attempt=0 due=+3600 data=\n"
                        "job 2 waits priority=-1000 attempt=0 due=+3600 data=\n" },
                { "no arguments", submit_no_arguments,
                        SUBMISSION("1", "1") ENDLESS
                        " arguments\njob 1 waits priority=0 attempt=0 due=+0 data=b\n" },
                { "not due at once", submit_late,
                        SUBMISSION("1", "1") ENDLESS
                        "\njob 1 waits priority=0 attempt=0 due=+8 ready=+9 data=b\n" },
                { "groups", submit_groups,
                        "submission 2 n=0 owner=1000 max=0 priority=0 target=p group=1 all"
                        " submitted=+0" ENDLESS "\n"
                        "submission 3 n=2 owner=1000 max=0 priority=0 target=p group=2 first-error"
                        " submitted=+0" ENDLESS "\n"
                        "job 3 waits priority=0 attempt=0 due=+0 data=d\n"
                        "job 4 waits priority=0 attempt=0 due=+0 data=e\n" },
                { "an empty group forgotten", forget_empty_group,
                        "submission 3 n=2 owner=1000 max=0 priority=0 target=p group=2 first-error"
                        " submitted=+0" ENDLESS "\n"
                        "job 3 waits priority=0 attempt=0 due=+0 data=d\n"
                        "job 4 waits priority=0 attempt=0 due=+0 data=e\n" },
                { "end", end_succeeded,
                        SUBMISSION("1", "1") ENDLESS
                        "\njob 1 succeeded priority=0 attempt=0 due=+0 finished=+2 data=output\n" },
                { "failure", end_failed,
                        SUBMISSION("1", "1") ENDLESS
                        "\njob 1 timed-out priority=5 attempt=3 stage=63 asked=2 kicked worker=4"
                        " status=-5 due=+0 started=+2 finished=+3 duration=999 error=was too slow"
                        " data=payload\n" },
                { "another attempt", wait_again,
                        SUBMISSION("1", "1") ENDLESS
                        "\njob 1 waits priority=0 attempt=2 asked=1 due=+1 ready=+7 data=bcde\n" },
                { "next stage", wait_at_next_stage,
                        SUBMISSION("1", "1") ENDLESS
                        "\njob 1 waits priority=0 attempt=0 stage=1 due=+1 data=between\n" },
                { "no data", wait_without_data,
                        SUBMISSION("1", "1") ENDLESS
                        "\njob 1 waits priority=0 attempt=0 due=+1 data=\n" },
                { "kick", kick,
                        SUBMISSION("1", "1") ENDLESS
                        "\njob 1 waits priority=5 attempt=0 kicked due=+1 data=payload\n" },
                { "priority", change_priority,
                        SUBMISSION("1", "2") ENDLESS
                        "\njob 1 waits priority=0 attempt=0 due=+0 data=b\n"
                        "job 2 waits priority=-7 attempt=0 due=+0 data=c\n" },
                { "forget", forget,
                        SUBMISSION("1", "5") ENDLESS
                        "\njob 1 waits priority=0 attempt=0 due=+0 data=b\n"
                        "job 5 waits priority=0 attempt=0 due=+0 data=f\n" },
                { "objects", make_objects,
                        "object breaker b settings= digest=18446744073709551615 paused=1"
                        " draining=1\n"
                        "object limiter p settings=Rate=1 digest=0 paused=0 draining=0\n"
                        "object pool p settings=Handler=x\nWorkers=3 digest=0 paused=0"
                        " draining=0\n" },
                { "pool removed", forget_pool,
                        "object pipeline p settings=a digest=0 paused=0 draining=0\n"
                        "submission 3 n=1 owner=1000 max=0 priority=0 target=p pipeline"
                        " submitted=+0" ENDLESS "\n"
                        "job 3 waits priority=0 attempt=0 due=+0 data=d\n"
                        "submission 4 n=1 owner=1000 max=0 priority=0 target=q submitted=+0" ENDLESS
                        "\njob 4 waits priority=0 attempt=0 due=+0 data=e\n" },
        };

        (void) state;
        for (size_t i = 0; i < 2 * ELEMENTSOF(rows); i++) {
                /* Each in one transaction, and in several. */
                bool orderly = i % 2 == 0;
                _cleanup_free_ char *text = NULL;
                TryStore t;

                try_init(&t);
                try_open(&t, true);
                t.each_alone = !orderly;
                rows[i / 2].make(&t);
                assert_int_equal(try_wait(&t), 0);
                try_close(&t, orderly);
                try_open(&t, false);
                text = try_dump(&t);
                if (strcmp(text, rows[i / 2].expected) != 0)
                        fail_msg("%s:\n%s\ninstead of\n%s", rows[i / 2].name, text,
                                rows[i / 2].expected);
                try_done(&t);
        }
}

/* ---- transactions ---- */

static unsigned told[8], n_told;

static void note_first(StoreChange *change, int r) {
        told[n_told++] = 1;
}

static void note_second(StoreChange *change, int r) {
        told[n_told++] = 2;
}

static void changes_are_told_in_the_order_of_their_posts(void **state) {
        TryStore *t = *state;
        StoreChange first = { .kind = STORE_PRIORITY, .done = note_first };
        StoreChange silent = { .kind = STORE_PRIORITY };
        StoreChange second = { .kind = STORE_FORGET, .done = note_second };

        try_open(t, true);
        n_told = 0;
        store_post(t->store, &first);
        store_post(t->store, &silent);
        store_post(t->store, &second);
        assert_false(store_is_idle(t->store));
        assert_int_equal(try_wait(t), 0);
        assert_int_equal(n_told, 2);
        assert_int_equal(told[0], 1);
        assert_int_equal(told[1], 2);
        assert_true(store_is_idle(t->store));
}

static void what_is_posted_in_one_turn_is_one_commit(void **state) {
        enum { N = 1000 };
        TryStore *t = *state;
        uint64_t before;

        try_open(t, true);
        before = t->store->n_commits;
        for (size_t i = 0; i < N; i++)
                try_submit(t, 1, 10);
        assert_int_equal(try_wait(t), 0);
        assert_int_equal(t->n_done, N);
        assert_int_equal(t->store->n_commits, before + 1);
        try_close(t, false);
        try_open(t, false);
        assert_int_equal(try_count_jobs(t), N);
}

static void nothing_is_told_before_the_flush(void **state) {
        TryStore *t = *state;
        struct pollfd p;

        try_open(t, true);
        try_submit(t, 1, 1);
        p = (struct pollfd){ .fd = store_fd(t->store), .events = POLLIN };
        assert_int_equal(poll(&p, 1, 0), 0);
        assert_int_equal(t->n_done, 0);
        assert_int_equal(try_wait(t), 0);
        assert_int_equal(t->n_done, 1);
        assert_int_equal(poll(&p, 1, 0), 0);
}

static void a_close_commits_and_tells(void **state) {
        for (unsigned i = 0; i < 4; i++) {
                TryStore t;

                try_init(&t);
                try_open(&t, /* start= */ i % 2 == 0);
                try_submit(&t, 3, 1);
                if (i / 2 == 0)
                        store_flush(t.store);
                try_submit(&t, 4, 1);
                try_close(&t, true);
                assert_int_equal(t.n_done, 2);
                try_open(&t, false);
                assert_int_equal(try_count_jobs(&t), 7);
                try_done(&t);
        }
        (void) state;
}

typedef struct Chain {
        StoreChange change;
        TryStore *t;
        unsigned n_left;
} Chain;

static void post_next(StoreChange *change, int r) {
        Chain *chain = container_of(change, Chain, change);

        assert_int_equal(r, 0);
        if (chain->n_left-- > 0)
                store_post(chain->t->store, change);
}

static void who_is_told_may_post_the_next_change_also_at_the_close(void **state) {
        TryStore *t = *state;
        Chain chain = { .change = { .kind = STORE_PRIORITY, .done = post_next }, t, 10 };

        try_open(t, true);
        store_post(t->store, &chain.change);
        try_close(t, true);
        assert_int_equal(chain.n_left, UINT32_MAX);
}

/* ---- files ---- */

static void others_cannot_read_the_state(void **state) {
        static const struct {
                const char *name;
                mode_t mode;
        } rows[] = {
                { ".", S_IFDIR | 0700 },
                { "state.db", S_IFREG | 0600 },
                { "state.db-wal", S_IFREG | 0600 },
                { "running", S_IFREG | 0600 },
                { "reserve", S_IFREG | 0600 },
                { "lock", S_IFREG | 0600 },
        };
        TryStore *t = *state;
        mode_t mask = umask(0);

        assert_int_equal(rmdir(t->dir), 0);
        try_open(t, true);
        try_submit(t, 1, 1);
        assert_int_equal(try_wait(t), 0);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *path = try_path(t, rows[i].name);
                struct stat st;

                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode, rows[i].mode);
        }
        (void) umask(mask);
}

static void a_second_store_is_told_who_has_the_first(void **state) {
        TryStore *t = *state;
        _cleanup_free_ char *error = NULL, *expected = NULL;
        Store *second = NULL;

        try_open(t, true);
        assert_int_equal(store_open(t->dir, 0, &second, &error), -EBUSY);
        assert_null(second);
        assert_true(asprintf(&expected, "%s is in use by process %i", t->dir, getpid()) > 0);
        assert_string_equal(error, expected);
        try_submit(t, 1, 1);
        assert_int_equal(try_wait(t), 0);
}

static void *open_patiently(void *userdata) {
        TryStore *t = userdata;
        char *error = NULL;

        assert_int_equal(store_open(t->dir, 60 * USEC_PER_SEC, &t->store, &error), 0);
        return NULL;
}

static void a_second_store_waits_for_the_first(void **state) {
        TryStore *t = *state, second = *t;
        pthread_t thread;

        try_open(t, true);
        try_submit(t, 1, 1);
        assert_int_equal(pthread_create(&thread, NULL, open_patiently, &second), 0);
        assert_int_equal(try_wait(t), 0);
        try_close(t, true);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(try_count_jobs(&second), 1);
        try_close(&second, true);
}

static void a_directory_that_cannot_be_is_refused(void **state) {
        static const char *const dirs[] = { "/proc/none/state", "/dev/null", "/proc/self" };

        for (size_t i = 0; i < ELEMENTSOF(dirs); i++) {
                _cleanup_free_ char *error = NULL;
                Store *store = NULL;

                assert_true(store_open(dirs[i], 0, &store, &error) < 0);
                assert_non_null(error);
                assert_non_null(strstr(error, dirs[i]));
                assert_null(store);
        }
        (void) state;
}

static void a_state_that_is_taken_away_is_noticed(void **state) {
        static const char *const names[] = { "state.db", "state.db-wal" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *path = NULL, *log = NULL;
                TryStore t;

                try_init(&t);
                try_open(&t, true);
                try_submit(&t, 1, 1);
                assert_int_equal(try_wait(&t), 0);
                path = try_path(&t, names[i]);
                assert_int_equal(unlink(path), 0);
                try_mute();
                try_submit(&t, 1, 1);
                assert_int_equal(try_wait(&t), -EIO);
                assert_true(store_has_failed(t.store));
                try_submit(&t, 1, 1);
                assert_int_equal(try_wait(&t), -EIO);
                log = try_unmute();
                assert_non_null(strstr(log, "taken away"));
                try_done(&t);
        }
        (void) state;
}

/* ---- ids ---- */

static void ids_never_repeat(void **state) {
        TryStore *t = *state;
        uint64_t last = 0;

        for (unsigned i = 0; i < 1000; i++) {
                try_open(t, i % 3 == 0);
                assert_true(t->next_id > last);
                assert_true(store_id_limit(t->store) > t->next_id);
                /* All that may be given out without asking. */
                last = store_id_limit(t->store) - 1;
                if (i % 99 == 0) {
                        store_use_ids(t->store, last);
                        assert_int_equal(try_wait(t), 0);
                        assert_true(store_id_limit(t->store) > last + 1);
                        last = store_id_limit(t->store) - 1;
                }
                try_close(t, i % 2 == 0);
        }
}

static void the_limit_of_ids_is_raised_in_time(void **state) {
        TryStore *t = *state;
        uint64_t limit;

        try_open(t, true);
        limit = store_id_limit(t->store);
        assert_int_equal(store_next_id(t->store), 1);
        assert_int_equal(limit, 1 + STORE_ID_STEP);
        store_use_ids(t->store, limit - STORE_ID_STEP / 2 - 1);
        assert_true(store_is_idle(t->store));
        store_use_ids(t->store, limit - STORE_ID_STEP / 2);
        assert_false(store_is_idle(t->store));
        /* Once is enough. */
        store_use_ids(t->store, limit - 1);
        assert_int_equal(try_wait(t), 0);
        assert_int_equal(store_id_limit(t->store), limit + STORE_ID_STEP);
}

static void the_highest_known_id_counts(void **state) {
        TryStore *t = *state;
        uint64_t limit;
        TryChange *c;

        try_open(t, true);
        limit = store_id_limit(t->store);
        /* A job beyond the limit: nobody may do that, but the limit may have been damaged. */
        t->next_id = limit + 1000;
        c = try_submission(t, 1, 1);
        try_post(t, c);
        assert_int_equal(try_wait(t), 0);
        try_close(t, true);
        try_open(t, false);
        assert_int_equal(store_next_id(t->store), limit + 1001);
}

static void ids_end_somewhere(void **state) {
        TryStore *t = *state;

        try_open(t, true);
        t->next_id = JOB_ID_MAX;
        try_submit(t, 1, 1);
        assert_int_equal(try_wait(t), 0);
        try_close(t, true);
        try_open(t, true);
        assert_int_equal(store_next_id(t->store), JOB_ID_MAX + 1);
        assert_int_equal(store_id_limit(t->store), JOB_ID_MAX + 1);
        store_use_ids(t->store, JOB_ID_MAX + 1);
        assert_true(store_is_idle(t->store));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_change_is_there_after_a_restart),
                try_test(changes_are_told_in_the_order_of_their_posts),
                try_test(what_is_posted_in_one_turn_is_one_commit),
                try_test(nothing_is_told_before_the_flush),
                cmocka_unit_test(a_close_commits_and_tells),
                try_test(who_is_told_may_post_the_next_change_also_at_the_close),
                try_test(others_cannot_read_the_state),
                try_test(a_second_store_is_told_who_has_the_first),
                try_test(a_second_store_waits_for_the_first),
                cmocka_unit_test(a_directory_that_cannot_be_is_refused),
                cmocka_unit_test(a_state_that_is_taken_away_is_noticed),
                try_test(ids_never_repeat),
                try_test(the_limit_of_ids_is_raised_in_time),
                try_test(the_highest_known_id_counts),
                try_test(ids_end_somewhere),
        };

        log_set_level(LOG_WARNING);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
