/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Ids never repeat, whatever happens to the files. Those below the limit count as given out, and
 * the limit is in two places: in the database, and in the file of the marks. The higher one counts,
 * and never less than what is there. If the database is damaged, what it says itself is heard only
 * if the other file is lost as well. If nothing is known, ids begin at the clock, in microseconds:
 * of all that was ever given out from 1 on, or from an earlier clock on, at less than one per
 * microsecond, that is beyond. The limit is in the file of the marks before a damaged database is
 * set aside, so that to be killed in between changes nothing. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "store/lock.h"
#include "store/reserve.h"
#include "store/set-aside.h"
#include "store/store-private.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/message-ids.h"

_printf_(3, 4) static int refuse(char **ret_error, int r, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        if (vasprintf(ret_error, format, arguments) < 0)
                *ret_error = NULL;
        va_end(arguments);
        return r;
}

static int open_dir(Store *store, char **ret_error) {
        if (mkdir(store->dir, 0700) < 0 && errno != EEXIST)
                return refuse(ret_error, -errno, "cannot make %s: %m", store->dir);
        store->dir_fd = open(store->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (store->dir_fd < 0)
                return refuse(ret_error, -errno, "cannot open %s: %m", store->dir);
        return 0;
}

static int take_lock(Store *store, usec_t patience, char **ret_error) {
        int owner = 0, r;

        r = lock_take(store->dir_fd, 0, &store->lock_fd, &owner);
        if (r == -EBUSY && patience > 0) {
                log_notice("%s is in use by process %i: waiting", store->dir, owner);
                r = lock_take(store->dir_fd, patience, &store->lock_fd, &owner);
        }
        if (r == -EBUSY && owner > 0)
                return refuse(ret_error, r, "%s is in use by process %i", store->dir, owner);
        if (r == -EBUSY)
                return refuse(ret_error, r, "%s is in use by another process", store->dir);
        if (r < 0)
                return refuse(ret_error, r, "cannot lock %s: %s", store->dir, strerror(-r));
        return 0;
}

static int open_marks(Store *store, char **ret_error) {
        int r;

        r = marks_open(store->dir_fd, &store->marks);
        if (r < 0)
                return refuse(ret_error, r, "cannot open %s/running: %s", store->dir, strerror(-r));
        return 0;
}

/* ---- the database ---- */

static int on_commit(void *userdata, sqlite3 *db, const char *name, int n_pages) {
        Store *store = userdata;

        store->log_pages = n_pages;
        return SQLITE_OK;
}

/* The file is made here, as SQLite would let everybody read it. */
static int make_database(Store *store, char **ret_error) {
        _cleanup_close_ int fd = -EBADF;

        fd = openat(store->dir_fd, DATABASE_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return refuse(
                        ret_error, -errno, "cannot open %s/" DATABASE_FILE ": %m", store->dir);
        return 0;
}

static int open_database(Store *store, usec_t patience, char **ret_error) {
        _cleanup_free_ char *path = NULL, *error = NULL;
        int r;

        r = set_stray_log_aside(store->dir_fd, store->dir);
        if (r < 0)
                return refuse(ret_error, r, "cannot rename in %s: %s", store->dir, strerror(-r));
        r = make_database(store, ret_error);
        if (r < 0)
                return r;
        if (asprintf(&path, "%s/" DATABASE_FILE, store->dir) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = sql_open(&store->sql, path, patience, &error);
        if (r < 0)
                return refuse(ret_error, r, "%s: %s", path, error ? error : strerror(-r));
        (void) sqlite3_wal_hook(store->sql.db, on_commit, store);
        return 0;
}

/* An id that a damaged database has, or 0. */
static int64_t salvage(Store *store, const char *question) {
        sqlite3_stmt *statement = NULL;
        int64_t id = 0;

        if (sqlite3_prepare_v2(store->sql.db, question, -1, &statement, NULL) == SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_ROW)
                id = sqlite3_column_int64(statement, 0);
        (void) sqlite3_finalize(statement);
        return id >= 0 && id <= (int64_t) JOB_ID_MAX + 1 ? id : 0;
}

static uint64_t salvage_id_limit(Store *store) {
        int64_t limit = 0;

        if (store->sql.db)
                limit = salvage(store, "SELECT value FROM meta WHERE key = '" META_ID_LIMIT "'");
        if (limit > 0)
                limit = MAX(limit, salvage(store, "SELECT max(id) + 1 FROM job"));
        return limit > 0 ? (uint64_t) limit : MIN(usec_now(CLOCK_REALTIME), (usec_t) JOB_ID_MAX);
}

static int open_another(Store *store, const char *why, char **ret_error) {
        int r = 0;

        if (marks_id_limit(store->marks) == 0)
                r = marks_set_id_limit(store->marks, salvage_id_limit(store));
        sql_close(&store->sql, /* checkpoint= */ false);
        if (r >= 0)
                r = set_aside(store->dir_fd, store->dir, why);
        if (r < 0)
                return refuse(ret_error, r, "cannot set the damaged state in %s aside: %s",
                        store->dir, strerror(-r));
        store->is_another = true;
        return open_database(store, 0, ret_error);
}

/* ---- the new life ---- */

static int get_meta(Store *store, const char *key, int64_t *ret) {
        Row row = sql_row(&store->sql, SQL_GET_META);

        row_text(&row, key);
        return row_integer_of(&row, ret);
}

static int get_last_id(Store *store, int64_t *ret) {
        Row row = sql_row(&store->sql, SQL_LAST_ID);

        return row_integer_of(&row, ret);
}

static int find_ids(Store *store) {
        int64_t limit = 0, last = 0, clean = 0;
        uint64_t next_id;
        int r;

        r = get_meta(store, META_ID_LIMIT, &limit);
        if (r >= 0)
                r = get_meta(store, META_CLEAN, &clean);
        if (r >= 0)
                r = get_last_id(store, &last);
        if (r < 0)
                return r;
        if (limit < 0 || limit > (int64_t) JOB_ID_MAX + 1 || last < 0 ||
                last > (int64_t) JOB_ID_MAX)
                return -EBADMSG;
        store->is_new = limit == 0;
        next_id = MAX((uint64_t) limit, (uint64_t) last + 1);
        store->next_id = MAX(next_id, marks_id_limit(store->marks));
        store->id_limit = MIN(store->next_id + STORE_ID_STEP, (uint64_t) JOB_ID_MAX + 1);
        store->was_clean = clean;
        return 0;
}

static int put_beginning(Store *store, void *userdata) {
        int r;

        r = writer_put_meta(store, META_CLEAN, 0);
        return r < 0 ? r : writer_put_meta(store, META_ID_LIMIT, (int64_t) store->id_limit);
}

/* From here on the state counts as not closed in order, and the ids up to the limit as given out.
 */
static int begin_life(Store *store) {
        int r;

        if (reserve_make(store->dir_fd) < 0)
                writer_use_reserve(store);
        if (store->was_clean)
                marks_blank(store->marks);
        else if (store->is_new && !store->is_another && marks_id_limit(store->marks) > 0)
                log_event(LOG_ERR, LOG_FIELDS(.message_id = MESSAGE_STATE_GONE),
                        "The state in %s is GONE: its jobs and objects are lost.", store->dir);
        else if (!store->is_new)
                log_event(LOG_NOTICE, LOG_FIELDS(.message_id = MESSAGE_STATE_CHECKED),
                        "The state in %s was not closed in order: it was checked, and is sound.",
                        store->dir);
        /* If a sync of the log had failed, what we read of it might not be on the disk. */
        r = writer_copy_log(store, /* cut= */ true);
        if (r < 0)
                return r;
        r = writer_run(store, put_beginning, NULL);
        if (r < 0)
                return r;
        r = writer_find_files(store);
        if (r < 0)
                return r;
        return marks_set_id_limit(store->marks, store->id_limit);
}

static int open_all(Store *store, usec_t patience, char **ret_error) {
        _cleanup_free_ char *why = NULL;
        int r;

        r = open_dir(store, ret_error);
        if (r < 0)
                return r;
        r = take_lock(store, patience, ret_error);
        if (r < 0)
                return r;
        r = open_marks(store, ret_error);
        if (r < 0)
                return r;
        r = open_database(store, patience, &why);
        if (r >= 0)
                r = find_ids(store);
        if (r == -EBADMSG) {
                r = open_another(store, why ? why : "it is not what was written", ret_error);
                if (r >= 0)
                        r = find_ids(store);
        } else if (r < 0)
                *ret_error = TAKE_PTR(why);
        if (r < 0 && !*ret_error)
                return refuse(
                        ret_error, r, "cannot read the state in %s: %s", store->dir, strerror(-r));
        if (r < 0)
                return r;

        r = begin_life(store);
        if (r < 0)
                return refuse(ret_error, r, "%s: cannot write: %s", store->dir,
                        r == -ENOSPC ? strerror(ENOSPC) : sqlite3_errmsg(store->sql.db));
        store->is_open = true;
        return 0;
}

static void init_lock(Store *store) {
        pthread_condattr_t attributes;

        (void) pthread_mutex_init(&store->lock, NULL);
        (void) pthread_condattr_init(&attributes);
        (void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        (void) pthread_cond_init(&store->wake, &attributes);
        (void) pthread_condattr_destroy(&attributes);
}

int store_open(const char *dir, usec_t patience, Store **ret, char **ret_error) {
        Store *store;
        int r;

        *ret_error = NULL;
        store = malloc(sizeof(*store));
        if (!store)
                return -ENOMEM;
        *store = (Store){
                .dir = strdup(dir),
                .dir_fd = -EBADF,
                .lock_fd = -EBADF,
                .log_limit = LOG_PAGES,
                .spare_pages = SPARE_PAGES,
                .retry_interval = RETRY_INTERVAL,
                .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        };
        init_lock(store);
        list_init(&store->posted);
        list_init(&store->posted_sheets);
        list_init(&store->queue);
        list_init(&store->queue_sheets);
        list_init(&store->done);
        list_init(&store->pending);
        list_init(&store->pending_sheets);

        r = !store->dir ? -ENOMEM : store->fd < 0 ? -errno : open_all(store, patience, ret_error);
        if (r < 0) {
                store_close(store, /* orderly= */ false);
                return r;
        }
        *ret = store;
        return 0;
}
