/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One transaction for all that is pending. What becomes of one that cannot be written:
 *
 * - No room. Nothing of it is there. What may be refused is; the rest is tried again with the
 *   reserve. If that does not do, it waits. As long as the reserve has not been made again, what
 *   may be refused is refused unasked: else it would use up the reserve. What becomes free inside
 *   the database goes back to the file system as soon as that is enough to make it.
 * - No memory. Each change is tried alone, so that one of many MiB does not stop the others.
 * - All else, above all a failed fsync: nothing is tried again. After that one the kernel has
 *   forgotten what was not written, so the next would succeed without it. Only who opens the files
 *   again sees what there is.
 *
 * The log is copied into the database after the owners of changes were told, who need not wait for
 * that; and by us, as SQLite would keep an error of it for itself. */

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store/reserve.h"
#include "store/set-aside.h"
#include "store/store-private.h"
#include "util/log.h"
#include "util/message-ids.h"
#include "util/strv.h"

/* A log that has become so many times longer by one transaction is cut. */
#define LOG_EXCESS 4

static usec_t realtime_of(const Store *store, usec_t monotonic) {
        if (monotonic == USEC_INFINITY)
                return USEC_INFINITY;
        return (usec_t) MAX((int64_t) monotonic + store->realtime_offset, INT64_C(0));
}

/* 0 is never, or not yet. */
static usec_t stored_time(usec_t t) {
        return t == 0 ? USEC_INFINITY : t;
}

static usec_t stored_monotonic(const Store *store, usec_t monotonic) {
        return stored_time(monotonic == 0 ? 0 : realtime_of(store, monotonic));
}

/* ---- the kinds of changes ---- */

/* The arguments, each with the NUL behind it. *ret is malloc()ed. 0 or -ENOMEM. */
static int pack_arguments(char *const *arguments, void **ret, uint32_t *ret_size) {
        size_t size = 0;
        char *p, *end;

        STRV_FOREACH (s, arguments)
                size += strlen(*s) + 1;
        p = end = malloc(MAX(size, (size_t) 1));
        if (!p)
                return -ENOMEM;
        STRV_FOREACH (s, arguments)
                end = stpcpy(end, *s) + 1;
        *ret = p;
        *ret_size = (uint32_t) size;
        return 0;
}

/* What all jobs of a submission have in common; borrows `arguments` until the row has run. 0 or
 * -ENOMEM. */
static int row_options(Row *row, const StoreChange *change, void **arguments) {
        const Submission *submission = change->submit.submission;
        uint32_t size = 0;
        int r;

        row_integer(row, submission->owner);
        row_integer(row, submission->max_attempts);
        row_integer(row, submission->priority);
        row_integer(row, change->submit.to_pipeline);
        row_integer(row, submission->bind);
        row_integer(row, (int64_t) submission->submitted_realtime);
        row_time(row, submission->delay);
        row_time(row, submission->queue_timeout);
        row_time(row, submission->run_timeout);
        row_text(row, change->submit.target);
        row_text(row, submission->tag);
        row_text(row, submission->concurrency_key);
        if (submission->arguments) {
                r = pack_arguments(submission->arguments, arguments, &size);
                if (r < 0)
                        return r;
                row_blob(row, *arguments, size);
        } else
                row_null(row);
        row_text(row, change->submit.key);
        if (change->submit.key) {
                row_blob(row, change->submit.key_digest, STORE_DIGEST_SIZE);
                row_integer(row, change->submit.as_one);
        } else {
                row_null(row);
                row_null(row);
        }
        return 0;
}

static int put_submission(Store *store, const StoreChange *change) {
        const Submission *submission = change->submit.submission;
        Row row = sql_row(&store->sql, SQL_SUBMISSION);
        _cleanup_free_ void *arguments = NULL;
        bool is_group = change->submit.group_id > 0;
        int r;

        row_integer(&row, (int64_t) submission_key(change->submit.group_id, submission->first_id));
        row_integer(&row, is_group);
        row_integer(&row, is_group ? (int) change->submit.group_policy : 0);
        row_integer(&row, submission->n_total);
        r = row_options(&row, change, &arguments);
        return r < 0 ? r : row_run(&row);
}

static void row_job(Row *row, const Store *store, const Job *job) {
        const Submission *submission = job->submission;
        usec_t as_submitted = usec_add(submission->submitted_at, submission->delay);

        row_integer(row, (int64_t) job->id);
        row_integer(row, job->stage);
        if (job->priority == submission->priority)
                row_null(row);
        else
                row_integer(row, job->priority);
        row_time(row,
                job->due_at == as_submitted ? USEC_INFINITY : stored_monotonic(store, job->due_at));
        row_time(row,
                job->details ? stored_monotonic(store, job->details->ready_at) : USEC_INFINITY);
        row_blob(row, job->data, job->size);
}

static int put_job(Store *store, const Job *job) {
        Row row = sql_row(&store->sql, SQL_JOB);

        row_job(&row, store, job);
        return row_run(&row);
}

static int put_single(Store *store, const StoreChange *change) {
        Row row = sql_row(&store->sql, SQL_SINGLE);
        _cleanup_free_ void *arguments = NULL;
        int r;

        row_job(&row, store, change->submit.first);
        r = row_options(&row, change, &arguments);
        return r < 0 ? r : row_run(&row);
}

static int do_submit(Store *store, const StoreChange *change) {
        int r;

        if (change->submit.submission->n_total == 1 && change->submit.group_id == 0)
                return put_single(store, change);
        r = put_submission(store, change);
        for (const Job *job = change->submit.first; job && r >= 0; job = job->next)
                r = put_job(store, job);
        return r;
}

static int forget_jobs(Store *store, uint64_t first, uint64_t last) {
        Row row = sql_row(&store->sql, SQL_FORGET_JOBS);

        row_integer(&row, (int64_t) first);
        row_integer(&row, (int64_t) last);
        return row_run(&row);
}

static int put_end(Store *store, const Job *job) {
        static const JobDetails none = { .worker = -1 };
        const JobDetails *details = job->details ? job->details : &none;
        Row row = sql_row(&store->sql, SQL_END);

        row_integer(&row, (int64_t) job->id);
        row_integer(&row, job->stage);
        if (job->priority == job->submission->priority)
                row_null(&row);
        else
                row_integer(&row, job->priority);
        row_integer(&row, details->attempt);
        row_integer(&row, details->asked);
        row_integer(&row, details->kicked);
        row_integer(&row, job->result);
        row_integer(&row, details->worker);
        row_integer(&row, details->exit_status);
        row_time(&row, stored_monotonic(store, details->started_at));
        row_time(&row,
                stored_monotonic(store, details != &none ? details->finished_at : job->due_at));
        row_time(&row, stored_time(details->duration));
        row_text(&row, details->error);
        row_blob(&row, job->data, job->size);
        return row_run(&row);
}

static int do_end(Store *store, const StoreChange *change) {
        int r = 0;

        for (const Job *job = change->ended; job && r >= 0; job = job->next)
                r = put_end(store, job);
        return r;
}

static int do_wait(Store *store, const StoreChange *change) {
        Row row = sql_row(&store->sql, change->wait.has_data ? SQL_WAIT_DATA : SQL_WAIT);

        row_integer(&row, (int64_t) change->wait.id);
        row_integer(&row, change->wait.stage);
        row_integer(&row, change->wait.kicked);
        row_integer(&row, change->wait.attempt);
        row_integer(&row, change->wait.asked);
        row_time(&row, stored_time(change->wait.due_realtime));
        row_time(&row, stored_time(change->wait.ready_realtime));
        if (change->wait.has_data)
                row_blob(&row, change->wait.data, change->wait.size);
        return row_run(&row);
}

static int do_priority(Store *store, const StoreChange *change) {
        Row row = sql_row(&store->sql, SQL_PRIORITY);

        row_integer(&row, (int64_t) change->priority.id);
        row_integer(&row, change->priority.priority);
        return row_run(&row);
}

static int do_forget(Store *store, const StoreChange *change) {
        const uint64_t *ids = change->forget.ids;
        int r = 0;

        /* Mostly there are rows of neighbours. */
        for (size_t i = 0, n; i < change->forget.n_ids && r >= 0; i += n) {
                for (n = 1; i + n < change->forget.n_ids && ids[i + n] == ids[i] + n; n++)
                        ;
                r = forget_jobs(store, ids[i], ids[i] + n - 1);
        }
        for (size_t i = 0; i < change->forget.n_submissions && r >= 0; i++) {
                Row row = sql_row(&store->sql, SQL_FORGET_SUBMISSION);

                row_integer(&row, (int64_t) change->forget.submissions[i]);
                r = row_run(&row);
        }
        return r;
}

static int do_object(Store *store, const StoreChange *change) {
        Row row = sql_row(&store->sql, SQL_OBJECT);

        row_text(&row, change->object.kind);
        row_text(&row, change->object.name);
        row_text(&row, change->object.settings);
        row_integer(&row, (int64_t) change->object.digest);
        row_integer(&row, change->object.paused);
        row_integer(&row, change->object.draining);
        return row_run(&row);
}

static int forget_to(Store *store, SqlId id, const char *target, bool to_pipeline) {
        Row row = sql_row(&store->sql, id);

        row_text(&row, target);
        row_integer(&row, to_pipeline);
        return row_run(&row);
}

static int forget_submissions_to(Store *store, const char *target, bool to_pipeline) {
        Row all = sql_row(&store->sql, SQL_SUBMISSIONS_TO);
        int r;

        row_text(&all, target);
        row_integer(&all, to_pipeline);
        while ((r = row_step(&all)) > 0) {
                uint64_t first = (uint64_t) sqlite3_column_int64(all.statement, 0);
                uint64_t n = (uint64_t) sqlite3_column_int64(all.statement, 1);

                r = n > 0 ? forget_jobs(store, first, first + n - 1) : 0;
                if (r < 0) {
                        row_end(&all);
                        return r;
                }
        }
        if (r >= 0)
                r = forget_to(store, SQL_FORGET_SUBMISSIONS_TO, target, to_pipeline);
        return r < 0 ? r : forget_to(store, SQL_FORGET_SINGLES_TO, target, to_pipeline);
}

static int do_forget_object(Store *store, const StoreChange *change) {
        bool is_pipeline = strcmp(change->object.kind, "pipeline") == 0;
        Row row = sql_row(&store->sql, SQL_FORGET_OBJECT);
        int r;

        row_text(&row, change->object.kind);
        row_text(&row, change->object.name);
        r = row_run(&row);
        if (r < 0 || (!is_pipeline && strcmp(change->object.kind, "pool") != 0))
                return r;
        return forget_submissions_to(store, change->object.name, is_pipeline);
}

int writer_put_meta(Store *store, const char *key, int64_t value) {
        Row row = sql_row(&store->sql, SQL_PUT_META);

        row_text(&row, key);
        row_integer(&row, value);
        return row_run(&row);
}

static int do_id_limit(Store *store, const StoreChange *change) {
        int r;

        r = writer_put_meta(store, META_ID_LIMIT, (int64_t) store->raised_limit);
        /* That this is known there if the commit fails only means that some ids are never used. */
        return r < 0 ? r : marks_set_id_limit(store->marks, store->raised_limit);
}

static int (*const doers[])(Store *store, const StoreChange *change) = {
        [STORE_SUBMIT] = do_submit,
        [STORE_END] = do_end,
        [STORE_WAIT] = do_wait,
        [STORE_PRIORITY] = do_priority,
        [STORE_FORGET] = do_forget,
        [STORE_OBJECT] = do_object,
        [STORE_FORGET_OBJECT] = do_forget_object,
        [STORE_ID_LIMIT] = do_id_limit,
};

/* All else has happened, so it is written with the reserve, or waits. */
static bool may_be_refused(const StoreChange *change) {
        return change->kind == STORE_SUBMIT;
}

/* ---- transactions ---- */

void writer_fail(Store *store, const char *what) {
        if (atomic_exchange(&store->has_failed, true))
                return;
        log_event(LOG_ERR, LOG_FIELDS(.message_id = MESSAGE_STATE_FAILED),
                "The state in %s FAILED: %s: %s. Nothing is written any more; a restart goes on "
                "with what is there.",
                store->dir, what, store->why);
}

/* The times are not asked for: a kernel with fine-grained ones gives a file that was asked a new
 * one with the next write, and a sync may have to write that to the disk, too. */
static uint64_t inode_of(const Store *store, const char *name) {
        struct statx st;

        return statx(store->dir_fd, name, AT_SYMLINK_NOFOLLOW, STATX_INO, &st) >= 0 ? st.stx_ino
                                                                                    : 0;
}

int writer_find_files(Store *store) {
        store->database = inode_of(store, DATABASE_FILE);
        store->log = inode_of(store, DATABASE_FILE "-wal");
        return store->database > 0 && store->log > 0 ? 0 : -EIO;
}

/* What is written into files that were deleted is lost, though SQLite does not notice. */
static bool files_are_there(const Store *store) {
        return inode_of(store, DATABASE_FILE) == store->database &&
               inode_of(store, DATABASE_FILE "-wal") == store->log;
}

void writer_note(Store *store, int r) {
        bool is_sqlite = sqlite3_errcode(store->sql.db) != SQLITE_OK;

        (void) snprintf(store->why, sizeof(store->why), "%s",
                is_sqlite ? sqlite3_errmsg(store->sql.db) : strerror(-r));
}

static void roll_back(Store *store) {
        /* SQLite has done it already if it had to. */
        if (!sqlite3_get_autocommit(store->sql.db))
                (void) sql_run(&store->sql, SQL_ROLLBACK);
}

static int begin(Store *store) {
        store->realtime_offset =
                (int64_t) usec_now(CLOCK_REALTIME) - (int64_t) usec_now(CLOCK_MONOTONIC);
        return sql_run(&store->sql, SQL_BEGIN);
}

/* Commits if all went well, which `r` says, and takes it back else. */
static int finish(Store *store, int r) {
        if (r >= 0)
                r = sql_run(&store->sql, SQL_COMMIT);
        if (r < 0) {
                writer_note(store, r);
                roll_back(store);
                return r;
        }
        store->n_commits++;
        return 0;
}

/* The changes from `first` on, to the end of those pending or just that one. */
static int commit(Store *store, List *first, bool alone) {
        int r;

        r = begin(store);
        for (List *l = first; l != &store->pending && r >= 0; l = l->next) {
                const StoreChange *change = list_entry(l, StoreChange, links);

                r = doers[change->kind](store, change);
                if (alone)
                        break;
        }
        r = finish(store, r);
        if (r >= 0 && !files_are_there(store)) {
                (void) snprintf(store->why, sizeof(store->why), "its files were taken away");
                return -ENOENT;
        }
        return r;
}

static int commit_all(Store *store) {
        List *first = list_first(&store->pending);

        return first ? commit(store, first, /* alone= */ false) : 0;
}

static void tell(StoreChange *change, int r, List *told) {
        change->r = r;
        list_remove(&change->links);
        list_append(told, &change->links);
}

static void tell_all(Store *store, int r, List *told) {
        list_for_each (l, &store->pending)
                tell(list_entry(l, StoreChange, links), r, told);
}

static void refuse(Store *store, List *told) {
        list_for_each (l, &store->pending) {
                StoreChange *change = list_entry(l, StoreChange, links);

                if (may_be_refused(change))
                        tell(change, -ENOSPC, told);
        }
}

static bool some_may_be_refused(Store *store) {
        list_for_each (l, &store->pending)
                if (may_be_refused(list_entry(l, StoreChange, links)))
                        return true;
        return false;
}

static int copy_once(Store *store, bool cut) {
        int mode = cut ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, r;

        r = sql_errno(
                &store->sql, sqlite3_wal_checkpoint_v2(store->sql.db, NULL, mode, NULL, NULL));
        if (r < 0)
                writer_note(store, r);
        return r;
}

int writer_copy_log(Store *store, bool cut) {
        int r;

        cut |= store->log_pages > LOG_EXCESS * store->log_limit;
        r = copy_once(store, cut);
        if (r == -ENOSPC) {
                writer_use_reserve(store);
                r = copy_once(store, cut);
        }
        store->log_pages = 0;
        return r == -ENOSPC || r == -ENOMEM ? 0 : r;
}

void writer_use_reserve(Store *store) {
        if (!atomic_exchange(&store->is_tight, true))
                log_event(LOG_WARNING, LOG_FIELDS(.message_id = MESSAGE_STATE_FULL),
                        "There is no room left for the state in %s: nothing new is taken.",
                        store->dir);
        reserve_use(store->dir_fd);
}

static bool remake_reserve(Store *store) {
        if (store->is_tight && reserve_make(store->dir_fd) >= 0) {
                log_event(LOG_NOTICE, LOG_FIELDS(.message_id = MESSAGE_STATE_ROOM),
                        "There is room again for the state in %s.", store->dir);
                atomic_store(&store->is_tight, false);
        }
        return !store->is_tight;
}

/* There was no room for all. */
static int commit_without_room(Store *store, List *told) {
        int r;

        refuse(store, told);
        if (list_is_empty(&store->pending))
                return 0;
        writer_use_reserve(store);
        r = writer_copy_log(store, /* cut= */ false);
        return r < 0 ? r : commit_all(store);
}

/* There was no memory for all. In order, until one has to wait. */
static int commit_singly(Store *store, List *told) {
        list_for_each (l, &store->pending) {
                StoreChange *change = list_entry(l, StoreChange, links);
                int r;

                r = commit(store, l, /* alone= */ true);
                if (r < 0 && !((r == -ENOMEM || r == -ENOSPC) && may_be_refused(change)))
                        return r;
                tell(change, r, told);
        }
        return 0;
}

void writer_commit(Store *store, List *told) {
        int r;

        if (atomic_load(&store->has_failed)) {
                tell_all(store, -EIO, told);
                return;
        }
        if (list_is_empty(&store->pending)) {
                marks_give_back(store->marks, &store->pending_sheets);
                return;
        }
        if (store->is_tight && some_may_be_refused(store) && !remake_reserve(store))
                refuse(store, told);

        r = commit_all(store);
        if (r == -ENOSPC)
                r = commit_without_room(store, told);
        if (r == -ENOMEM)
                r = commit_singly(store, told);

        store->waits = r == -ENOSPC || r == -ENOMEM;
        if (store->waits)
                return;
        if (r < 0)
                writer_fail(store, "cannot write");
        tell_all(store, r < 0 ? -EIO : 0, told);
        if (r >= 0)
                marks_give_back(store->marks, &store->pending_sheets);
}

int writer_run(Store *store, int (*change)(Store *store, void *userdata), void *userdata) {
        for (unsigned n = 0;; n++) {
                int r;

                r = begin(store);
                if (r >= 0)
                        r = change(store, userdata);
                r = finish(store, r);
                if (r != -ENOSPC || n > 0)
                        return r;
                writer_use_reserve(store);
                r = writer_copy_log(store, /* cut= */ false);
                if (r < 0)
                        return r;
        }
}

/* ---- when there is time ---- */

void writer_begin(Store *store) {
        int r;

        /* And some more, for the commit with which the limit is reached. */
        r = sql_lengthen_log(&store->sql, LOG_PAGES + LOG_PAGES / 16);
        if (r < 0) {
                writer_note(store, r);
                writer_fail(store, "cannot make the log");
        }
}

static int ask(Store *store, SqlId id, int64_t *ret) {
        Row row = sql_row(&store->sql, id);

        return row_integer_of(&row, ret);
}

/* Is so much free inside the database that some of it is to go back to the file system? Where there
 * is no reserve, all of that which it takes to have one again; but only if it does: else those who
 * write on without it need the room here. */
static int is_room_to_go_back(Store *store, bool *ret) {
        int64_t n_free = 0, n_pages = 0;
        int r;

        r = ask(store, SQL_FREE_PAGES, &n_free);
        if (r >= 0)
                r = ask(store, SQL_PAGES, &n_pages);
        if (r < 0)
                return r;
        if (store->is_tight)
                *ret = n_free > 0 && reserve_could_be_made(store->dir_fd, n_free * SQL_PAGE_SIZE);
        else
                *ret = n_free > store->spare_pages && n_free > n_pages / 4;
        return 0;
}

static int give_portion_back(Store *store) {
        int r;

        r = begin(store);
        if (r >= 0)
                r = sql_run(&store->sql, SQL_VACUUM);
        return finish(store, r);
}

/* Gives it back in portions: 1 if there may be more. */
static int give_room_back(Store *store) {
        bool is_to_go = false;
        int r;

        r = is_room_to_go_back(store, &is_to_go);
        if (r < 0 || !is_to_go)
                return r;
        /* On a full disk only an empty log has room for what is moved, and the file is cut when
         * that is copied into it. */
        if (store->is_tight)
                r = writer_copy_log(store, /* cut= */ false);
        if (r >= 0)
                r = give_portion_back(store);
        if (r >= 0 && store->is_tight)
                r = writer_copy_log(store, /* cut= */ false);
        return r < 0 ? r : 1;
}

bool writer_tidy(Store *store) {
        int r = 0;

        if (atomic_load(&store->has_failed))
                return false;
        if (store->log_pages >= store->log_limit)
                r = writer_copy_log(store, /* cut= */ false);
        if (r >= 0 && !store->waits) {
                (void) remake_reserve(store);
                r = give_room_back(store);
        }
        if (r < 0 && r != -ENOSPC && r != -ENOMEM)
                writer_fail(store, "cannot copy the log");
        return r > 0;
}
