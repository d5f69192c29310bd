/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What durability costs without any D-Bus, in a directory of its own below $TMPDIR or /var/tmp:
 *
 *     store-submit-1 N jobs/s     one submission of one job, and the next when that is on the disk
 *     store-submit-64 N jobs/s    64 in flight, each a submission of its own
 *     store-many-64 N jobs/s      one submission of 64, …
 *     store-many-1000 N jobs/s
 *     store-life-64 N jobs/s      from the submit to the end and to being forgotten, 64 in flight
 *     store-sync N syncs/s        a write of 200 bytes and fdatasync(), for comparison
 *     store-open-K N s            to open a state with so many waiting jobs, submitted by K, …
 *     store-read-K N s            … and to read them
 *     store-size-K N bytes/job    what they take on the disk
 *
 * The first argument is the number of waiting jobs (1,000,000), the second the time for each of the
 * other figures, in milliseconds (1,000). Payloads have 200 bytes. */

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/store.h"
#include "util/log.h"
#include "util/macro.h"

#define PAYLOAD 200
#define FLIGHT_MAX 64

static usec_t duration = USEC_PER_SEC;
static char payload[PAYLOAD];

typedef enum Stage { SUBMITTED, ENDED, FORGOTTEN } Stage;

/* A submission in flight. */
typedef struct Call {
        StoreChange change;
        Submission submission;
        Job *jobs;
        size_t n;
        Stage stage, last; /* at which it is, and after which the next one begins */
        uint64_t id;
        uint64_t *ids;
} Call;

static Store *store;
static uint64_t next_id;
static usec_t until;
static uint64_t n_jobs;

static void submit(Call *call);

static void call_init(Call *call, size_t n, Stage last) {
        *call = (Call){
                .n = n,
                .last = last,
                .jobs = calloc(n, sizeof(Job)),
                .ids = calloc(n, sizeof(uint64_t)),
        };
        if (!call->jobs || !call->ids)
                abort();
}

static void call_done(Call *call) {
        free(call->jobs);
        free(call->ids);
}

static void on_done(StoreChange *change, int r) {
        Call *call = container_of(change, Call, change);

        if (r < 0)
                abort();
        if (call->stage == call->last) {
                n_jobs += call->n;
                if (usec_now(CLOCK_MONOTONIC) < until)
                        submit(call);
                return;
        }
        call->stage++;
        if (call->stage == ENDED) {
                call->change = (StoreChange){ .kind = STORE_END, .done = on_done };
                call->change.ended = call->jobs;
        } else {
                call->change = (StoreChange){ .kind = STORE_FORGET, .done = on_done };
                call->change.forget.ids = call->ids;
                call->change.forget.n_ids = call->n;
                call->change.forget.submissions = call->ids;
                call->change.forget.n_submissions = 1;
        }
        store_post(store, &call->change);
}

static void submit(Call *call) {
        usec_t now = usec_now(CLOCK_MONOTONIC);

        call->stage = SUBMITTED;
        call->submission = (Submission){
                .n_total = (uint32_t) call->n,
                .first_id = next_id,
                .submitted_at = now,
                .submitted_realtime = usec_now(CLOCK_REALTIME),
                .queue_timeout = USEC_INFINITY,
                .run_timeout = USEC_INFINITY,
        };
        for (size_t i = 0; i < call->n; i++) {
                call->ids[i] = next_id;
                call->jobs[i] = (Job){
                        .next = i + 1 < call->n ? &call->jobs[i + 1] : NULL,
                        .id = next_id++,
                        .submission = &call->submission,
                        .due_at = now,
                        .data = payload,
                        .size = sizeof(payload),
                };
        }
        call->change = (StoreChange){ .kind = STORE_SUBMIT, .done = on_done };
        call->change.submit.submission = &call->submission;
        call->change.submit.first = call->jobs;
        call->change.submit.target = "bench";
        store_post(store, &call->change);
}

static void run(void) {
        store_flush(store);
        while (!store_is_idle(store)) {
                struct pollfd p = { .fd = store_fd(store), .events = POLLIN };

                if (poll(&p, 1, -1) < 0)
                        abort();
                store_dispatch(store);
                store_use_ids(store, next_id);
                store_flush(store);
        }
}

static void open_store(const char *dir) {
        _cleanup_free_ char *error = NULL;

        if (store_open(dir, 0, &store, &error) < 0) {
                fprintf(stderr, "bench-store: %s\n", error ? error : "no memory");
                exit(EXIT_FAILURE);
        }
        next_id = store_next_id(store);
}

static void remove_files(const char *dir) {
        struct dirent *entry;
        DIR *d = opendir(dir);

        if (!d)
                abort();
        while ((entry = readdir(d)))
                if (entry->d_name[0] != '.')
                        (void) unlinkat(dirfd(d), entry->d_name, 0);
        (void) closedir(d);
}

static void measure(const char *dir, const char *name, size_t flight, size_t n, Stage last) {
        static Call calls[FLIGHT_MAX];
        usec_t began;

        open_store(dir);
        if (store_start(store) < 0)
                abort();
        for (size_t i = 0; i < flight; i++)
                call_init(&calls[i], n, last);
        n_jobs = 0;
        began = usec_now(CLOCK_MONOTONIC);
        until = began + duration;
        for (size_t i = 0; i < flight; i++)
                submit(&calls[i]);
        run();
        printf("%s %.0f jobs/s\n", name,
                (double) n_jobs * 1e6 / (double) (usec_now(CLOCK_MONOTONIC) - began));
        for (size_t i = 0; i < flight; i++)
                call_done(&calls[i]);
        store_close(store, true);
        remove_files(dir);
}

/* Into a file that is as long as it will be, as that is what is compared with. */
static void measure_sync(const char *dir) {
        uint64_t n = 0;
        usec_t began;
        int fd;

        fd = open(dir, O_TMPFILE | O_RDWR, 0600);
        if (fd < 0 || posix_fallocate(fd, 0, 1 << 22) != 0)
                abort();
        began = usec_now(CLOCK_MONOTONIC);
        do {
                if (pwrite(fd, payload, sizeof(payload), (off_t) (n++ * PAYLOAD % (1 << 22))) < 0 ||
                        fdatasync(fd) < 0)
                        abort();
        } while (usec_now(CLOCK_MONOTONIC) < began + duration);
        printf("store-sync %.0f syncs/s\n",
                (double) n * 1e6 / (double) (usec_now(CLOCK_MONOTONIC) - began));
        (void) close(fd);
}

static int read_submission(void *userdata, const StoredSubmission *submission) {
        return 0;
}

static int read_job(void *userdata, const StoredJob *job) {
        ++*(uint64_t *) userdata;
        return 0;
}

static void measure_reading(const char *dir, size_t n, size_t n_each) {
        static const StoreReader reader = { .submission = read_submission, .job = read_job };
        size_t n_calls = MAX(n / n_each, (size_t) 1);
        usec_t began, opened, read;
        struct stat st;
        uint64_t n_read = 0;
        char *path;

        if (asprintf(&path, "%s/state.db", dir) < 0)
                abort();
        until = 0;
        open_store(dir);
        if (store_start(store) < 0)
                abort();
        for (size_t i = 0, k; i < n_calls; i += k) {
                Call *calls;

                k = MIN(n_calls - i, (size_t) 1000);
                calls = calloc(k, sizeof(*calls));
                if (!calls)
                        abort();
                for (size_t c = 0; c < k; c++)
                        call_init(&calls[c], n_each, SUBMITTED);
                for (size_t c = 0; c < k; c++)
                        submit(&calls[c]);
                run();
                for (size_t c = 0; c < k; c++)
                        call_done(&calls[c]);
                free(calls);
        }
        store_close(store, false);

        began = usec_now(CLOCK_MONOTONIC);
        open_store(dir);
        opened = usec_now(CLOCK_MONOTONIC);
        if (store_read_jobs(store, &reader, &n_read) < 0 || n_read < n)
                abort();
        read = usec_now(CLOCK_MONOTONIC);
        store_close(store, true);
        if (stat(path, &st) < 0)
                abort();
        printf("store-open-%zu %.3f s\n", n_each, (double) (opened - began) / 1e6);
        printf("store-read-%zu %.3f s\n", n_each, (double) (read - opened) / 1e6);
        printf("store-size-%zu %.0f bytes/job\n", n_each, (double) st.st_size / (double) n_read);
        free(path);
        remove_files(dir);
}

int main(int argc, char *argv[]) {
        size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
        char dir[128];

        if (argc > 2)
                duration = strtoul(argv[2], NULL, 10) * USEC_PER_MSEC;
        (void) snprintf(dir, sizeof(dir), "%s/bench-store.XXXXXX",
                getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp");
        if (!mkdtemp(dir))
                abort();
        memset(payload, 'x', sizeof(payload));
        log_set_level(LOG_WARNING);

        measure_sync(dir);
        measure(dir, "store-submit-1", 1, 1, SUBMITTED);
        measure(dir, "store-submit-64", 64, 1, SUBMITTED);
        measure(dir, "store-many-64", 1, 64, SUBMITTED);
        measure(dir, "store-many-1000", 1, 1000, SUBMITTED);
        measure(dir, "store-life-64", 64, 1, FORGOTTEN);
        measure_reading(dir, n, 1);
        measure_reading(dir, n, 1000);
        (void) rmdir(dir);
        return EXIT_SUCCESS;
}
