/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "try.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "util/fd.h"
#include "util/strv.h"

#define PATIENCE_MSEC 60000

void try_init(TryStore *t) {
        /* In memory, since what is tested is not the disk, and there are very many syncs. */
        const char *shm = access("/dev/shm", W_OK) >= 0 ? "/dev/shm" : "/tmp";

        *t = (TryStore){
                .next_id = 1,
                .base = usec_now(CLOCK_MONOTONIC),
                .base_realtime = usec_now(CLOCK_REALTIME),
        };
        (void) snprintf(t->dir, sizeof(t->dir), "%s/test-store.XXXXXX",
                getenv("TMPDIR") ? getenv("TMPDIR") : shm);
        assert_non_null(mkdtemp(t->dir));
}

char *try_path(const TryStore *t, const char *name) {
        char *path;

        assert_true(asprintf(&path, "%s/%s", t->dir, name) > 0);
        return path;
}

/* The files with this in their names; removes them if it is asked to. */
static size_t each_file(const TryStore *t, const char *part, bool removes) {
        DIR *dir = opendir(t->dir);
        struct dirent *entry;
        size_t n = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir))) {
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                        !strstr(entry->d_name, part))
                        continue;
                n++;
                if (removes)
                        assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
        }
        (void) closedir(dir);
        return n;
}

void try_remove_files(const TryStore *t) {
        (void) each_file(t, "", /* removes= */ true);
}

size_t try_count_set_aside(const TryStore *t) {
        return each_file(t, ".corrupt-", /* removes= */ false);
}

void try_remove_set_aside(const TryStore *t) {
        (void) each_file(t, ".corrupt-", /* removes= */ true);
}

void try_done(TryStore *t) {
        if (t->store)
                t->store = store_close(t->store, false);
        try_remove_files(t);
        assert_int_equal(rmdir(t->dir), 0);
}

int try_set_up(void **state) {
        TryStore *t = malloc(sizeof(*t));

        assert_non_null(t);
        try_init(t);
        *state = t;
        return 0;
}

int try_tear_down(void **state) {
        try_done(*state);
        free(*state);
        return 0;
}

/* ---- the log ---- */

static int log_fd = -EBADF, saved_stderr = -EBADF;

void try_mute(void) {
        assert_int_equal(log_fd, -EBADF);
        log_fd = memfd_create("log", MFD_CLOEXEC);
        saved_stderr = dup(STDERR_FILENO);
        assert_true(log_fd >= 0 && saved_stderr >= 0);
        assert_int_equal(dup2(log_fd, STDERR_FILENO), STDERR_FILENO);
}

char *try_unmute(void) {
        void *text;
        size_t size;

        assert_int_equal(dup2(saved_stderr, STDERR_FILENO), STDERR_FILENO);
        assert_int_equal(fd_pread_all(log_fd, SIZE_MAX, &text, &size), 0);
        saved_stderr = fd_close(saved_stderr);
        log_fd = fd_close(log_fd);
        return text;
}

/* ---- open and close ---- */

int try_try_open(TryStore *t, bool start) {
        _cleanup_free_ char *error = NULL;
        int r;

        assert_null(t->store);
        r = store_open(t->dir, 0, &t->store, &error);
        if (r < 0) {
                assert_true(error || r == -ENOMEM);
                t->store = NULL;
                return r;
        }
        assert_null(error);
        t->next_id = store_next_id(t->store);
        if (t->is_small) {
                t->store->log_limit = 8;
                t->store->spare_pages = 4;
                t->store->retry_interval = USEC_PER_MSEC;
        }
        return start ? store_start(t->store) : 0;
}

void try_open(TryStore *t, bool start) {
        assert_int_equal(try_try_open(t, start), 0);
}

void try_close(TryStore *t, bool orderly) {
        t->store = store_close(t->store, orderly);
}

/* What the thread would do. */
static void commit(Store *store) {
        List told = LIST_INIT(told);

        store_flush(store);
        list_splice(&store->pending, &store->queue);
        writer_commit(store, &told);
        (void) writer_tidy(store);
        list_splice(&store->done, &told);
        store_dispatch(store);
}

void try_wait_some(TryStore *t) {
        struct pollfd p = { .fd = store_fd(t->store), .events = POLLIN };

        store_flush(t->store);
        assert_int_equal(poll(&p, 1, PATIENCE_MSEC), 1);
        store_dispatch(t->store);
        store_flush(t->store);
}

int try_wait(TryStore *t) {
        int worst;

        store_flush(t->store);
        while (!t->store->has_thread && !store_is_idle(t->store))
                commit(t->store);
        while (!store_is_idle(t->store))
                try_wait_some(t);
        worst = t->worst;
        t->worst = 0;
        return worst;
}

/* ---- changes ---- */

static void on_done(StoreChange *change, int r) {
        TryChange *c = container_of(change, TryChange, change);

        c->t->n_done++;
        if (r < 0)
                c->t->worst = r;
        if (c->ret)
                *c->ret = r;
        for (size_t i = 0; i < c->n; i++) {
                free(c->jobs[i].data);
                if (c->jobs[i].details)
                        free(c->jobs[i].details->error);
        }
        free(c->submission.tag);
        free(c->submission.concurrency_key);
        strv_free(c->submission.arguments);
        free(c->jobs);
        free(c->details);
        if (change->kind == STORE_WAIT)
                free((void *) change->wait.data);
        if (change->kind == STORE_FORGET) {
                free((void *) change->forget.ids);
                free((void *) change->forget.submissions);
        }
        if (change->kind == STORE_OBJECT || change->kind == STORE_FORGET_OBJECT) {
                free((void *) change->object.kind);
                free((void *) change->object.name);
                free((void *) change->object.settings);
        }
        free(c);
}

TryChange *try_change(TryStore *t, StoreKind kind, size_t n_jobs) {
        TryChange *c = calloc(1, sizeof(*c));

        assert_non_null(c);
        c->t = t;
        c->n = n_jobs;
        c->change.kind = kind;
        c->change.done = on_done;
        if (n_jobs > 0) {
                c->jobs = calloc(n_jobs, sizeof(*c->jobs));
                assert_non_null(c->jobs);
        }
        for (size_t i = 0; i < n_jobs; i++) {
                c->jobs[i].submission = &c->submission;
                c->jobs[i].next = i + 1 < n_jobs ? &c->jobs[i + 1] : NULL;
        }
        return c;
}

void try_post(TryStore *t, TryChange *c) {
        if (t->refuses && c->change.kind == STORE_SUBMIT) {
                c->change.done(&c->change, 0);
                return;
        }
        store_post(t->store, &c->change);
        if (t->each_alone)
                t->worst = MIN(t->worst, try_wait(t));
}

/* The payload of a job tells which one it is. */
static void *payload_of(uint64_t id, size_t size) {
        char *p = malloc(MAX(size, (size_t) 1));

        assert_non_null(p);
        for (size_t i = 0; i < size; i++)
                p[i] = (char) ('a' + (id + i) % 26);
        return p;
}

TryChange *try_submission(TryStore *t, size_t n, size_t size) {
        TryChange *c = try_change(t, STORE_SUBMIT, n);

        c->submission = (Submission){
                .n_jobs = (uint32_t) n,
                .n_total = (uint32_t) n,
                .owner = 1000,
                .first_id = t->next_id,
                .submitted_at = t->base,
                .submitted_realtime = t->base_realtime,
                .queue_timeout = USEC_INFINITY,
                .run_timeout = USEC_INFINITY,
        };
        c->change.submit.submission = &c->submission;
        c->change.submit.first = c->jobs;
        c->change.submit.target = "p";
        for (size_t i = 0; i < n; i++) {
                c->jobs[i].id = t->next_id;
                c->jobs[i].data = payload_of(t->next_id++, size);
                c->jobs[i].size = (uint32_t) size;
        }
        return c;
}

uint64_t try_submit(TryStore *t, size_t n, size_t size) {
        TryChange *c = try_submission(t, n, size);
        uint64_t id = c->submission.first_id;

        try_post(t, c);
        return id;
}

TryChange *try_end_of(TryStore *t, uint64_t id, JobResult result, const char *output) {
        TryChange *c = try_change(t, STORE_END, 1);

        c->jobs->id = id;
        c->jobs->result = result & 0xf;
        c->jobs->state = JOB_FINISHED;
        c->jobs->data = strdup(output);
        c->jobs->size = (uint32_t) strlen(output);
        c->jobs->due_at = t->base + 2 * USEC_PER_SEC;
        c->change.ended = c->jobs;
        return c;
}

void try_end(TryStore *t, uint64_t id, JobResult result, const char *output) {
        try_post(t, try_end_of(t, id, result, output));
}

TryChange *try_wait_of(TryStore *t, uint64_t id, uint32_t attempt) {
        TryChange *c = try_change(t, STORE_WAIT, 0);

        c->change.wait.id = id;
        c->change.wait.attempt = attempt;
        c->change.wait.due_realtime = t->base_realtime + USEC_PER_SEC;
        return c;
}

void try_priority(TryStore *t, uint64_t id, int16_t priority) {
        TryChange *c = try_change(t, STORE_PRIORITY, 0);

        c->change.priority.id = id;
        c->change.priority.priority = priority;
        try_post(t, c);
}

void try_forget(TryStore *t, uint64_t first, size_t n, uint64_t submission) {
        TryChange *c = try_change(t, STORE_FORGET, 0);
        uint64_t *ids = calloc(n + 1, sizeof(*ids)), *submissions = calloc(1, sizeof(*ids));

        assert_non_null(ids);
        assert_non_null(submissions);
        for (size_t i = 0; i < n; i++)
                ids[i] = first + i;
        *submissions = submission;
        c->change.forget.ids = ids;
        c->change.forget.n_ids = n;
        c->change.forget.submissions = submissions;
        c->change.forget.n_submissions = submission > 0;
        try_post(t, c);
}

static TryChange *object_change(
        TryStore *t, StoreKind kind, const char *object, const char *name, const char *settings) {
        TryChange *c = try_change(t, kind, 0);

        c->change.object.kind = strdup(object);
        c->change.object.name = strdup(name);
        c->change.object.settings = settings ? strdup(settings) : NULL;
        return c;
}

void try_object(TryStore *t, const char *kind, const char *name, const char *settings) {
        try_post(t, object_change(t, STORE_OBJECT, kind, name, settings));
}

void try_forget_object(TryStore *t, const char *kind, const char *name) {
        try_post(t, object_change(t, STORE_FORGET_OBJECT, kind, name, NULL));
}

/* ---- what is there ---- */

typedef struct Dump {
        FILE *f;
        usec_t base;
} Dump;

static int dump_object(void *userdata, const StoredObject *o) {
        fprintf(((Dump *) userdata)->f,
                "object %s %s settings=%s digest=%" PRIu64 " paused=%i draining=%i\n", o->kind,
                o->name, o->settings, o->digest, o->paused, o->draining);
        return 0;
}

static void dump_span(FILE *f, const char *name, usec_t t) {
        if (t == USEC_INFINITY)
                fprintf(f, " %s=infinity", name);
        else if (t > 0)
                fprintf(f, " %s=%" PRIu64, name, t);
}

/* Rounded, as two clocks are not read at the same moment. */
static void dump_time(const Dump *dump, const char *name, usec_t t) {
        if (t > 0)
                fprintf(dump->f, " %s=%+.0f", name,
                        ((double) t - (double) dump->base) / (double) USEC_PER_SEC);
}

static int dump_submission(void *userdata, const StoredSubmission *s) {
        const Dump *dump = userdata;
        FILE *f = dump->f;

        fprintf(f, "submission %" PRIu64 " n=%u owner=%u max=%u priority=%i target=%s%s%s",
                s->first_id, s->n_total, s->owner, s->max_attempts, s->priority, s->target,
                s->to_pipeline ? " pipeline" : "", s->bind ? " bind" : "");
        if (s->group_id > 0)
                fprintf(f, " group=%" PRIu64 " %s", s->group_id,
                        group_policy_to_string(s->group_policy));
        dump_time(dump, "submitted", s->submitted_realtime);
        dump_span(f, "delay", s->delay);
        dump_span(f, "queue", s->queue_timeout);
        dump_span(f, "run", s->run_timeout);
        if (s->tag)
                fprintf(f, " tag=%s", s->tag);
        if (s->concurrency_key)
                fprintf(f, " key=%s", s->concurrency_key);
        if (s->arguments)
                fputs(" arguments", f);
        STRV_FOREACH (a, s->arguments)
                fprintf(f, " \"%s\"", *a);
        fputs("\n", f);
        return 0;
}

/* FNV-1a: of long data all of it is to be compared as well. */
static uint64_t hash(const void *data, size_t size) {
        const uint8_t *p = data;
        uint64_t h = UINT64_C(0xcbf29ce484222325);

        for (size_t i = 0; i < size; i++)
                h = (h ^ p[i]) * UINT64_C(0x100000001b3);
        return h;
}

static int dump_job(void *userdata, const StoredJob *j) {
        const Dump *dump = userdata;
        FILE *f = dump->f;

        fprintf(f, "job %" PRIu64 " %s priority=%i attempt=%u", j->id,
                j->finished ? job_result_to_string(j->result) : "waits", j->priority, j->attempt);
        if (j->stage > 0)
                fprintf(f, " stage=%u", j->stage);
        if (j->asked > 0)
                fprintf(f, " asked=%u", j->asked);
        if (j->crashes > 0)
                fprintf(f, " crashes=%u", j->crashes);
        if (j->kicked)
                fputs(" kicked", f);
        if (j->was_running)
                fputs(" was-running", f);
        if (j->worker >= 0)
                fprintf(f, " worker=%i", j->worker);
        if (j->exit_status != 0)
                fprintf(f, " status=%i", j->exit_status);
        dump_time(dump, "due", j->due);
        dump_time(dump, "ready", j->ready);
        dump_time(dump, "started", j->started);
        dump_time(dump, "finished", j->finished_at);
        dump_span(f, "duration", j->duration);
        if (j->error)
                fprintf(f, " error=%s", j->error);
        if (j->size > 64)
                fprintf(f, " data=%u:%016" PRIx64 "\n", j->size, hash(j->data, j->size));
        else
                fprintf(f, " data=%.*s\n", (int) j->size,
                        j->size > 0 ? (const char *) j->data : "");
        return 0;
}

static const StoreReader dumper = {
        .object = dump_object,
        .submission = dump_submission,
        .job = dump_job,
};

int try_try_dump(TryStore *t, char **ret) {
        char *text = NULL;
        int r;
        size_t size;
        Dump dump = { .f = open_memstream(&text, &size), .base = t->base_realtime };

        assert_non_null(dump.f);
        r = store_read_objects(t->store, &dumper, &dump);
        if (r >= 0)
                r = store_read_jobs(t->store, &dumper, &dump);
        (void) fclose(dump.f);
        *ret = text;
        return r;
}

char *try_dump(TryStore *t) {
        char *text;

        assert_int_equal(try_try_dump(t, &text), 0);
        return text;
}

static int count_submission(void *userdata, const StoredSubmission *submission) {
        return 0;
}

static int count_job(void *userdata, const StoredJob *job) {
        ++*(size_t *) userdata;
        return 0;
}

size_t try_count_jobs(TryStore *t) {
        static const StoreReader counter = { .submission = count_submission, .job = count_job };
        size_t n = 0;

        assert_int_equal(store_read_jobs(t->store, &counter, &n), 0);
        return n;
}
