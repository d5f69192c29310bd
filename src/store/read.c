/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What was running when the daemon was killed is written down first: the mark of a job becomes an
 * attempt and, unless it had ended, a crash of its row. That is done once however often it is
 * tried, as then the row has that attempt. Only then are the marks blank.
 *
 * What is read was checked for its form by SQLite and is not trusted further than that: a row that
 * says what cannot be is left where it is, and out of what is told, and that is logged. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store/store-private.h"
#include "util/log.h"
#include "util/parse.h"
#include "util/strv.h"

/* ---- columns ---- */

static bool is_null(const Row *row, int column) {
        return sqlite3_column_type(row->statement, column) == SQLITE_NULL;
}

/* A number of the range. `*r` is 0 as long as all was well, or -EINVAL. */
static int64_t get_integer(const Row *row, int column, int64_t min, int64_t max, int *r) {
        int64_t value = sqlite3_column_int64(row->statement, column);

        if (value < min || value > max)
                *r = -EINVAL;
        return value;
}

/* `none` if there is none. */
static usec_t get_time(const Row *row, int column, usec_t none, int *r) {
        return is_null(row, column) ? none : (usec_t) get_integer(row, column, 0, INT64_MAX, r);
}

/* NULL if there is none. Text with a NUL in it is none of ours. SQLite may need memory to put the
 * one behind it. */
static const char *get_text(const Row *row, int column, int *r) {
        bool has = !is_null(row, column);
        const char *text = (const char *) sqlite3_column_text(row->statement, column);

        if (has && !text)
                *r = -ENOMEM;
        else if (text && strlen(text) != (size_t) sqlite3_column_bytes(row->statement, column))
                *r = -EINVAL;
        return text;
}

static void note_bad_rows(const Store *store, size_t n, const char *what) {
        if (n > 0)
                log_error("The state in %s has %zu %s that cannot be: left out.", store->dir, n,
                        what);
}

/* A row that could not be had. */
static int reading_failed(Store *store, int r) {
        writer_note(store, r);
        if (r != -ENOMEM)
                writer_fail(store, "cannot read");
        return r;
}

/* ---- objects ---- */

static int get_object(const Row *row, StoredObject *ret) {
        int r = 0;

        *ret = (StoredObject){
                .kind = get_text(row, 0, &r),
                .name = get_text(row, 1, &r),
                .settings = get_text(row, 2, &r),
                .digest = (uint64_t) sqlite3_column_int64(row->statement, 3),
                .paused = get_integer(row, 4, 0, 1, &r),
                .draining = get_integer(row, 5, 0, 1, &r),
        };
        return r;
}

int store_read_objects(Store *store, const StoreReader *reader, void *userdata) {
        Row row = sql_row(&store->sql, SQL_READ_OBJECTS);
        size_t n_bad = 0;
        int r;

        assert(!store->has_thread);
        while ((r = row_step(&row)) > 0) {
                StoredObject object;

                r = get_object(&row, &object);
                if (r >= 0)
                        r = reader->object(userdata, &object);
                else if (r == -EINVAL) {
                        n_bad++;
                        r = 0;
                }
                if (r < 0) {
                        row_end(&row);
                        return r;
                }
        }
        note_bad_rows(store, n_bad, "objects");
        return r < 0 ? reading_failed(store, r) : 0;
}

/* ---- jobs ---- */

/* A list of the strings in the blob, each with a NUL behind it; they stay where they are. 0,
 * -EINVAL or -ENOMEM. */
static int unpack_arguments(const Row *row, int column, char ***ret) {
        const char *p = sqlite3_column_blob(row->statement, column);
        size_t size = (size_t) sqlite3_column_bytes(row->statement, column), n = 0;
        char **arguments;

        if (size > 0 && (!p || p[size - 1] != '\0'))
                return -EINVAL;
        for (size_t i = 0; i < size; i++)
                n += p[i] == '\0';
        arguments = calloc(n + 1, sizeof(*arguments));
        if (!arguments)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++, p += strlen(p) + 1)
                arguments[i] = (char *) p;
        *ret = arguments;
        return 0;
}

/* Where a row has what all jobs of a submission have in common. */
#define SUBMISSION_OPTIONS 4
#define JOB_OPTIONS 17
#define JOB_TARGET (JOB_OPTIONS + 9)
#define JOB_DATA (JOB_OPTIONS + 16)

/* 0, -EINVAL if it cannot be, or -ENOMEM. The list of arguments is the caller's to free(). */
static int get_options(const Row *row, int first, StoredSubmission *ret) {
        int r = 0;

        ret->owner = (uint32_t) get_integer(row, first, 0, UINT32_MAX, &r);
        ret->max_attempts = (uint32_t) get_integer(row, first + 1, 0, UINT32_MAX, &r);
        ret->priority = (int16_t) get_integer(row, first + 2, PRIORITY_MIN, PRIORITY_MAX, &r);
        ret->to_pipeline = get_integer(row, first + 3, 0, 1, &r);
        ret->bind = get_integer(row, first + 4, 0, 1, &r);
        ret->submitted_realtime = (usec_t) get_integer(row, first + 5, 0, INT64_MAX, &r);
        ret->delay = get_time(row, first + 6, USEC_INFINITY, &r);
        ret->queue_timeout = get_time(row, first + 7, USEC_INFINITY, &r);
        ret->run_timeout = get_time(row, first + 8, USEC_INFINITY, &r);
        ret->target = get_text(row, first + 9, &r);
        ret->tag = get_text(row, first + 10, &r);
        ret->concurrency_key = get_text(row, first + 11, &r);
        ret->key = get_text(row, first + 13, &r);
        if (ret->key) {
                ret->key_digest = sqlite3_column_blob(row->statement, first + 14);
                if (sqlite3_column_bytes(row->statement, first + 14) != STORE_DIGEST_SIZE)
                        r = -EINVAL;
                ret->as_one = get_integer(row, first + 15, 0, 1, &r);
        }
        if (r < 0 || is_null(row, first + 12))
                return r;
        return unpack_arguments(row, first + 12, &ret->arguments);
}

/* The same of a row of its own. */
static int get_submission(const Row *row, StoredSubmission *ret) {
        int r = 0;
        bool is_group = get_integer(row, 1, 0, 1, &r);
        int64_t id = get_integer(row, 0, 1, (int64_t) JOB_ID_MAX, &r);

        *ret = (StoredSubmission){
                .first_id = (uint64_t) id + is_group,
                .group_id = is_group ? (uint64_t) id : 0,
                .group_policy = (GroupPolicy) get_integer(row, 2, 0, _GROUP_POLICY_MAX - 1, &r),
                .n_total = (uint32_t) get_integer(row, 3, 0, UINT32_MAX, &r),
        };
        if (r < 0 || ret->n_total > JOB_ID_MAX + 1 - ret->first_id)
                return -EINVAL;
        return get_options(row, SUBMISSION_OPTIONS, ret);
}

/* And of a job that is a submission of its own. */
static int get_single(const Row *row, StoredSubmission *ret) {
        int r = 0;

        *ret = (StoredSubmission){
                .first_id = (uint64_t) get_integer(row, 0, 1, (int64_t) JOB_ID_MAX, &r),
                .n_total = 1,
        };
        return r < 0 ? r : get_options(row, JOB_OPTIONS, ret);
}

/* 0, -EINVAL if it cannot be, or -ENOMEM. */
static int get_job(const Row *row, const StoredSubmission *submission, StoredJob *ret) {
        int r = 0;

        *ret = (StoredJob){
                .id = (uint64_t) sqlite3_column_int64(row->statement, 0),
                .stage = (uint8_t) get_integer(row, 1, 0, 63, &r),
                .priority = is_null(row, 2)
                                    ? submission->priority
                                    : (int16_t) get_integer(row, 2, PRIORITY_MIN, PRIORITY_MAX, &r),
                .attempt = (uint32_t) get_integer(row, 3, 0, UINT32_MAX, &r),
                .asked = (uint32_t) get_integer(row, 4, 0, UINT32_MAX, &r),
                .crashes = (uint32_t) get_integer(row, 5, 0, UINT32_MAX, &r),
                .was_running = get_integer(row, 6, 0, 1, &r),
                .kicked = get_integer(row, 7, 0, 1, &r),
                .due = get_time(
                        row, 8, usec_add(submission->submitted_realtime, submission->delay), &r),
                .ready = get_time(row, 9, 0, &r),
                .finished = !is_null(row, 10),
                .result = (JobResult) get_integer(row, 10, 0, _JOB_RESULT_MAX - 1, &r),
                .worker = is_null(row, 11)
                                  ? -1
                                  : (int32_t) get_integer(row, 11, INT32_MIN, INT32_MAX, &r),
                .exit_status = (int32_t) get_integer(row, 12, INT32_MIN, INT32_MAX, &r),
                .started = get_time(row, 13, 0, &r),
                .finished_at = get_time(row, 14, 0, &r),
                .duration = get_time(row, 15, 0, &r),
                .error = get_text(row, 16, &r),
                .data = sqlite3_column_blob(row->statement, JOB_DATA),
                .size = (uint32_t) sqlite3_column_bytes(row->statement, JOB_DATA),
        };
        if (ret->size > 0 && !ret->data)
                r = -ENOMEM;
        return r;
}

typedef struct Reading {
        Store *store;
        const StoreReader *reader;
        void *userdata;
        Row submissions, jobs;
        bool has_job; /* `jobs` is at one that nobody has been told of */
        size_t n_bad_submissions, n_bad_jobs, n_empty;
} Reading;

static bool is_read(const Reading *reading, const StoredSubmission *submission) {
        const StoreReader *reader = reading->reader;

        return !reader->target || (submission->to_pipeline == reader->to_pipeline &&
                                          strcmp(submission->target, reader->target) == 0);
}

static int next_job(Reading *reading) {
        int r = row_step(&reading->jobs);

        reading->has_job = r > 0;
        return r < 0 ? reading_failed(reading->store, r) : 0;
}

/* Signed, as SQLite orders them: one that is damaged may be below 0. */
static int64_t job_id(const Reading *reading) {
        return sqlite3_column_int64(reading->jobs.statement, 0);
}

static bool is_single(const Reading *reading) {
        return !is_null(&reading->jobs, JOB_TARGET);
}

/* The job that `jobs` is at, of the submission that was told of last. */
static int read_job(Reading *reading, const StoredSubmission *submission) {
        StoredJob job;
        int r;

        r = get_job(&reading->jobs, submission, &job);
        if (r == -EINVAL) {
                reading->n_bad_jobs++;
                return next_job(reading);
        }
        if (r < 0)
                return r;
        reading->store->must_forget_crashed |= job.was_running;
        r = reading->reader->job(reading->userdata, &job);
        return r < 0 ? r : next_job(reading);
}

static int read_single(Reading *reading) {
        _cleanup_free_ char **arguments = NULL;
        StoredSubmission submission;
        int r;

        r = get_single(&reading->jobs, &submission);
        if (r == -EINVAL) {
                reading->n_bad_jobs++;
                return next_job(reading);
        }
        if (r < 0)
                return r;
        arguments = submission.arguments;
        if (!is_read(reading, &submission))
                return next_job(reading);
        r = reading->reader->submission(reading->userdata, &submission);
        return r < 0 ? r : read_job(reading, &submission);
}

/* Those before `id` are submissions of their own, or else belong to none. */
static int pass_jobs(Reading *reading, int64_t id) {
        int r = 0;

        while (reading->has_job && job_id(reading) < id && r >= 0) {
                if (is_single(reading))
                        r = read_single(reading);
                else {
                        reading->n_bad_jobs++;
                        r = next_job(reading);
                }
        }
        return r;
}

/* Is `jobs` at one of the submission? */
static bool is_at_job_of(const Reading *reading, const StoredSubmission *submission) {
        int64_t end = (int64_t) (submission->first_id + submission->n_total);

        return reading->has_job && job_id(reading) < end && !is_single(reading);
}

static int read_jobs_of(Reading *reading, const StoredSubmission *submission) {
        int r = 0;

        while (is_at_job_of(reading, submission) && r >= 0)
                r = read_job(reading, submission);
        return r;
}

static int skip_jobs_of(Reading *reading, const StoredSubmission *submission) {
        int r = 0;

        while (is_at_job_of(reading, submission) && r >= 0)
                r = next_job(reading);
        return r;
}

/* One submission and its jobs. These may all be gone already: then it is as well. But a group stays
 * until it is forgotten. */
static int read_submission(Reading *reading) {
        _cleanup_free_ char **arguments = NULL;
        StoredSubmission submission;
        int r;

        r = get_submission(&reading->submissions, &submission);
        if (r == -EINVAL) {
                reading->n_bad_submissions++;
                return 0;
        }
        if (r < 0)
                return r;
        arguments = submission.arguments;
        r = pass_jobs(reading, (int64_t) submission.first_id);
        if (r < 0)
                return r;
        if (!is_read(reading, &submission))
                return skip_jobs_of(reading, &submission);
        if (submission.group_id == 0 &&
                (!reading->has_job ||
                        job_id(reading) >= (int64_t) (submission.first_id + submission.n_total))) {
                reading->n_empty++;
                return 0;
        }
        r = reading->reader->submission(reading->userdata, &submission);
        return r < 0 ? r : read_jobs_of(reading, &submission);
}

static int read_all(Reading *reading) {
        int r;

        r = next_job(reading);
        if (r < 0)
                return r;
        while ((r = row_step(&reading->submissions)) > 0) {
                r = read_submission(reading);
                if (r < 0)
                        return r;
        }
        return r < 0 ? reading_failed(reading->store, r) : pass_jobs(reading, INT64_MAX);
}

static int forget_empty(Store *store, void *userdata) {
        return sql_run(&store->sql, SQL_FORGET_EMPTY);
}

static int read_jobs(Store *store, const StoreReader *reader, void *userdata) {
        Reading reading = {
                .store = store,
                .reader = reader,
                .userdata = userdata,
                .submissions = sql_row(&store->sql, SQL_READ_SUBMISSIONS),
                .jobs = sql_row(&store->sql, SQL_READ_JOBS),
        };
        int r;

        r = read_all(&reading);
        row_end(&reading.submissions);
        row_end(&reading.jobs);
        if (r < 0)
                return r;
        note_bad_rows(store, reading.n_bad_submissions, "submissions");
        note_bad_rows(store, reading.n_bad_jobs, "jobs");
        return reading.n_empty > 0 ? writer_run(store, forget_empty, NULL) : 0;
}

/* ---- what was running ---- */

typedef struct Crashed {
        Mark *marks; /* owned */
        size_t n;
} Crashed;

static int put_crashed(Store *store, void *userdata) {
        const Crashed *crashed = userdata;
        int r = 0;

        for (size_t i = 0; i < crashed->n && r >= 0; i++) {
                Row row = sql_row(&store->sql, SQL_CRASHED);

                row_integer(&row, (int64_t) crashed->marks[i].id);
                row_integer(&row, crashed->marks[i].stage);
                row_integer(&row, crashed->marks[i].attempt);
                row_integer(&row, !crashed->marks[i].has_ended);
                r = row_run(&row);
        }
        return r;
}

static int count_crashed(Store *store) {
        _cleanup_free_ Mark *marks = NULL;
        Crashed crashed;
        int r;

        if (store->has_counted)
                return 0;
        r = marks_read(store->marks, &marks, &crashed.n);
        if (r < 0)
                return r;
        crashed.marks = marks;
        if (crashed.n > 0) {
                r = writer_run(store, put_crashed, &crashed);
                if (r < 0)
                        return r;
        }
        marks_blank(store->marks);
        store->has_counted = true;
        return 0;
}

int store_read_jobs(Store *store, const StoreReader *reader, void *userdata) {
        int r;

        assert(!store->has_thread);
        r = count_crashed(store);
        return r < 0 ? r : read_jobs(store, reader, userdata);
}
