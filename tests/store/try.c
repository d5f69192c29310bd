/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "try.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#include "util/strv.h"

#define PATIENCE_MSEC 60000

void try_init(TryStore *t) {
        *t = (TryStore){ .next_id = 1 };
        (void) snprintf(t->dir, sizeof(t->dir), "%s/test-store.XXXXXX",
                getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        assert_non_null(mkdtemp(t->dir));
}

char *try_path(const TryStore *t, const char *name) {
        char *path;

        assert_true(asprintf(&path, "%s/%s", t->dir, name) > 0);
        return path;
}

void try_done(TryStore *t) {
        struct dirent *entry;
        DIR *dir;

        if (t->store)
                t->store = store_close(t->store, false);
        dir = opendir(t->dir);
        assert_non_null(dir);
        while ((entry = readdir(dir)))
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
        (void) closedir(dir);
        assert_int_equal(rmdir(t->dir), 0);
}

int try_try_open(TryStore *t, bool start) {
        _cleanup_free_ char *error = NULL;
        int r;

        assert_null(t->store);
        r = store_open(t->dir, 0, &t->store, &error);
        if (r < 0) {
                assert_true(error || r == -ENOMEM);
                return r;
        }
        assert_null(error);
        t->next_id = store_next_id(t->store);
        return start ? store_start(t->store) : 0;
}

void try_open(TryStore *t, bool start) {
        assert_int_equal(try_try_open(t, start), 0);
}

void try_close(TryStore *t, bool orderly) {
        t->store = store_close(t->store, orderly);
}

int try_wait(TryStore *t) {
        int worst;

        store_flush(t->store);
        while (!store_is_idle(t->store)) {
                struct pollfd p = { .fd = store_fd(t->store), .events = POLLIN };

                assert_int_equal(poll(&p, 1, PATIENCE_MSEC), 1);
                store_dispatch(t->store);
                store_flush(t->store);
        }
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

static TryChange *new_change(TryStore *t, StoreKind kind, size_t n_jobs) {
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
        store_post(t->store, &c->change);
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
        TryChange *c = new_change(t, STORE_SUBMIT, n);

        c->submission = (Submission){
                .n_jobs = (uint32_t) n,
                .n_total = (uint32_t) n,
                .owner = 1000,
                .first_id = t->next_id,
                .submitted_at = usec_now(CLOCK_MONOTONIC),
                .submitted_realtime = usec_now(CLOCK_REALTIME),
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
        TryChange *c = new_change(t, STORE_END, 1);

        c->jobs->id = id;
        c->jobs->result = result & 0xf;
        c->jobs->state = JOB_FINISHED;
        c->jobs->data = strdup(output);
        c->jobs->size = (uint32_t) strlen(output);
        c->jobs->due_at = usec_now(CLOCK_MONOTONIC);
        c->change.ended = c->jobs;
        return c;
}

void try_end(TryStore *t, uint64_t id, JobResult result, const char *output) {
        try_post(t, try_end_of(t, id, result, output));
}

TryChange *try_wait_of(TryStore *t, uint64_t id, uint32_t attempt) {
        TryChange *c = new_change(t, STORE_WAIT, 0);

        c->change.wait.id = id;
        c->change.wait.attempt = attempt;
        c->change.wait.due_realtime = usec_now(CLOCK_REALTIME);
        return c;
}

void try_priority(TryStore *t, uint64_t id, int16_t priority) {
        TryChange *c = new_change(t, STORE_PRIORITY, 0);

        c->change.priority.id = id;
        c->change.priority.priority = priority;
        try_post(t, c);
}

void try_forget(TryStore *t, uint64_t first, size_t n, uint64_t submission) {
        TryChange *c = new_change(t, STORE_FORGET, 0);
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
        TryChange *c = new_change(t, kind, 0);

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

static int dump_object(void *userdata, const StoredObject *o) {
        fprintf(userdata, "object %s %s settings=%s digest=%" PRIu64 " paused=%i draining=%i\n",
                o->kind, o->name, o->settings, o->digest, o->paused, o->draining);
        return 0;
}

static void dump_time(FILE *f, const char *name, usec_t t) {
        if (t == USEC_INFINITY)
                fprintf(f, " %s=infinity", name);
        else
                fprintf(f, " %s=%" PRIu64, name, t);
}

static int dump_submission(void *userdata, const StoredSubmission *s) {
        FILE *f = userdata;

        fprintf(f,
                "submission %" PRIu64
                " n=%u owner=%u max=%u priority=%i target=%s%s%s group=%" PRIu64 " policy=%i",
                s->first_id, s->n_total, s->owner, s->max_attempts, s->priority, s->target,
                s->to_pipeline ? " pipeline" : "", s->bind ? " bind" : "", s->group_id,
                s->group_policy);
        dump_time(f, "submitted", s->submitted_realtime);
        dump_time(f, "delay", s->delay);
        dump_time(f, "queue", s->queue_timeout);
        dump_time(f, "run", s->run_timeout);
        fprintf(f, " tag=%s key=%s", s->tag ? s->tag : "-",
                s->concurrency_key ? s->concurrency_key : "-");
        STRV_FOREACH (a, s->arguments)
                fprintf(f, " \"%s\"", *a);
        fputs(s->arguments ? " .\n" : "\n", f);
        return 0;
}

static int dump_job(void *userdata, const StoredJob *j) {
        FILE *f = userdata;

        fprintf(f,
                "job %" PRIu64 " stage=%u%s%s%s priority=%i attempt=%u asked=%u crashes=%u"
                " result=%s worker=%i status=%i",
                j->id, j->stage, j->finished ? " finished" : "", j->kicked ? " kicked" : "",
                j->was_running ? " was-running" : "", j->priority, j->attempt, j->asked, j->crashes,
                j->finished ? job_result_to_string(j->result) : "-", j->worker, j->exit_status);
        dump_time(f, "due", j->due);
        dump_time(f, "ready", j->ready);
        dump_time(f, "started", j->started);
        dump_time(f, "finished", j->finished_at);
        dump_time(f, "duration", j->duration);
        fprintf(f, " error=%s data=%.*s\n", j->error ? j->error : "-",
                (int) MIN(j->size, UINT32_C(64)), j->size > 0 ? (const char *) j->data : "");
        return 0;
}

static const StoreReader dumper = {
        .object = dump_object,
        .submission = dump_submission,
        .job = dump_job,
};

char *try_dump(TryStore *t) {
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        assert_int_equal(store_read_objects(t->store, &dumper, f), 0);
        assert_int_equal(store_read_jobs(t->store, &dumper, f), 0);
        (void) fclose(f);
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
