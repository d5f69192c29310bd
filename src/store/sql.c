/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A job belongs to the submission whose ids its own is among, so there is no index, and to read all
 * is to merge two walks in the order of ids. A submission is known by its group if it is one, else
 * by its first job. A submission of one job has no row of its own: what it says is in the job's, so
 * that a commit writes one page less, which is half of them. What most jobs do not have is NULL,
 * which takes no room but a byte.
 *
 * Tables are STRICT, so a damaged value of another type is found by quick_check and not by us.
 * Times are CLOCK_REALTIME in microseconds, NULL = never or not yet. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/sql.h"
#include "util/macro.h"

/* Number n makes version n + 1 of version n; none is ever changed once it was released. */
static const char *const migrations[SQL_VERSION] = {
        "CREATE TABLE meta ("
        " key TEXT PRIMARY KEY,"
        " value INTEGER NOT NULL"
        ") STRICT, WITHOUT ROWID;"
        "CREATE TABLE object ("
        " kind TEXT NOT NULL,"
        " name TEXT NOT NULL,"
        " settings TEXT NOT NULL,"
        " digest INTEGER NOT NULL,"
        " paused INTEGER NOT NULL,"
        " draining INTEGER NOT NULL,"
        " PRIMARY KEY (kind, name)"
        ") STRICT, WITHOUT ROWID;"
        "CREATE TABLE submission ("
        " id INTEGER PRIMARY KEY,"
        " is_group INTEGER NOT NULL,"
        " group_policy INTEGER NOT NULL,"
        " n_total INTEGER NOT NULL,"
        " owner INTEGER NOT NULL,"
        " max_attempts INTEGER NOT NULL,"
        " priority INTEGER NOT NULL,"
        " to_pipeline INTEGER NOT NULL,"
        " bind INTEGER NOT NULL,"
        " submitted INTEGER NOT NULL,"
        " delay INTEGER,"
        " queue_timeout INTEGER,"
        " run_timeout INTEGER,"
        " target TEXT NOT NULL,"
        " tag TEXT,"
        " concurrency_key TEXT,"
        " arguments BLOB,"
        " key TEXT,"
        " key_digest BLOB,"
        " as_one INTEGER"
        ") STRICT;"
        "CREATE TABLE job ("
        " id INTEGER PRIMARY KEY,"
        " stage INTEGER NOT NULL,"
        " priority INTEGER,"
        " attempt INTEGER NOT NULL,"
        " asked INTEGER NOT NULL,"
        " crashes INTEGER NOT NULL,"
        " crashed INTEGER NOT NULL,"
        " kicked INTEGER NOT NULL,"
        " due INTEGER,"
        " ready INTEGER,"
        " result INTEGER,"
        " worker INTEGER,"
        " exit_status INTEGER,"
        " started INTEGER,"
        " finished INTEGER,"
        " duration INTEGER,"
        " error TEXT,"
        /* Of a job that is a submission of its own. */
        " owner INTEGER,"
        " max_attempts INTEGER,"
        " own_priority INTEGER,"
        " to_pipeline INTEGER,"
        " bind INTEGER,"
        " submitted INTEGER,"
        " delay INTEGER,"
        " queue_timeout INTEGER,"
        " run_timeout INTEGER,"
        " target TEXT,"
        " tag TEXT,"
        " concurrency_key TEXT,"
        " arguments BLOB,"
        " key TEXT,"
        " key_digest BLOB,"
        " as_one INTEGER,"
        " data BLOB NOT NULL"
        ") STRICT;",
};

/* Of a database, and of a WAL: see the format of SQLite's files. */
#define WRITE_VERSION_OFFSET 18
#define WRITE_VERSION_MAX 2
#define LOG_HEADER 32
#define LOG_FRAME_HEADER 24

static const char *const statements[_SQL_MAX] = {
        [SQL_BEGIN] = "BEGIN IMMEDIATE",
        [SQL_COMMIT] = "COMMIT",
        [SQL_ROLLBACK] = "ROLLBACK",

        [SQL_PUT_META] = "INSERT OR REPLACE INTO meta VALUES (?, ?)",
        [SQL_GET_META] = "SELECT value FROM meta WHERE key = ?",

        [SQL_SUBMISSION] = "INSERT INTO submission VALUES "
                           "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [SQL_JOB] =
                "INSERT INTO job (id, stage, priority, attempt, asked, crashes, crashed, kicked,"
                " due, ready, data) VALUES (?, ?, ?, 0, 0, 0, 0, 0, ?, ?, ?)",
        [SQL_SINGLE] = "INSERT INTO job (id, stage, priority, attempt, asked, crashes, crashed,"
                       " kicked, due, ready, data, owner, max_attempts, own_priority, to_pipeline,"
                       " bind, submitted, delay, queue_timeout, run_timeout, target, tag,"
                       " concurrency_key, arguments, key, key_digest, as_one)"
                       " VALUES (?, ?, ?, 0, 0, 0, 0, 0, ?, ?, ?,"
                       " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [SQL_END] =
                "UPDATE job SET stage = ?2, priority = ?3, attempt = ?4, asked = ?5, crashed = 0,"
                " kicked = ?6, result = ?7, worker = ?8, exit_status = ?9, started = ?10,"
                " finished = ?11, duration = ?12, error = ?13, data = ?14 WHERE id = ?1",
/* Crashes are counted for one life at one stage. */
#define WAIT                                                                                  \
        "UPDATE job SET crashes = CASE WHEN result IS NULL AND stage = ?2 THEN crashes ELSE " \
        "0 END, stage = ?2, kicked = ?3, attempt = ?4, asked = ?5, due = ?6, ready = ?7,"     \
        " crashed = 0, result = NULL, worker = NULL, exit_status = NULL, started = NULL,"     \
        " finished = NULL, duration = NULL, error = NULL"
        [SQL_WAIT] = WAIT " WHERE id = ?1",
        [SQL_WAIT_DATA] = WAIT ", data = ?8 WHERE id = ?1",
#undef WAIT
        [SQL_PRIORITY] = "UPDATE job SET priority = ?2 WHERE id = ?1",
        [SQL_FORGET_JOBS] = "DELETE FROM job WHERE id BETWEEN ? AND ?",
        [SQL_FORGET_SUBMISSION] = "DELETE FROM submission WHERE id = ?",

        [SQL_OBJECT] = "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?)",
        [SQL_FORGET_OBJECT] = "DELETE FROM object WHERE kind = ? AND name = ?",
        [SQL_SUBMISSIONS_TO] = "SELECT id + is_group, n_total FROM submission"
                               " WHERE target = ? AND to_pipeline = ?",
        [SQL_FORGET_SUBMISSIONS_TO] = "DELETE FROM submission WHERE target = ? AND to_pipeline = ?",

        [SQL_FORGET_SINGLES_TO] = "DELETE FROM job WHERE target = ? AND to_pipeline = ?",
        [SQL_FORGET_EMPTY] = "DELETE FROM submission WHERE NOT is_group AND NOT EXISTS (SELECT 1"
                             " FROM job WHERE job.id >= submission.id"
                             " AND job.id < submission.id + n_total)",

        [SQL_CRASHED] = "UPDATE job SET attempt = ?3, crashes = crashes + ?4, crashed = 1"
                        " WHERE id = ?1 AND stage = ?2 AND attempt < ?3 AND result IS NULL",
        [SQL_FORGET_CRASHED] = "UPDATE job SET crashed = 0 WHERE crashed",

        [SQL_READ_OBJECTS] = "SELECT kind, name, settings, digest, paused, draining FROM object",
        [SQL_READ_SUBMISSIONS] =
                "SELECT id, is_group, group_policy, n_total, owner, max_attempts, priority,"
                " to_pipeline, bind, submitted, delay, queue_timeout, run_timeout, target, tag,"
                " concurrency_key, arguments, key, key_digest, as_one FROM submission ORDER BY id",
        [SQL_READ_JOBS] =
                "SELECT id, stage, priority, attempt, asked, crashes, crashed, kicked, due, ready,"
                " result, worker, exit_status, started, finished, duration, error, owner,"
                " max_attempts, own_priority, to_pipeline, bind, submitted, delay, queue_timeout,"
                " run_timeout, target, tag, concurrency_key, arguments, key, key_digest, as_one,"
                " data FROM job ORDER BY id",
        [SQL_LAST_ID] = "SELECT max(coalesce((SELECT max(id) FROM job), 0),"
                        " coalesce((SELECT max(id) FROM submission), 0))",

        [SQL_FREE_PAGES] = "PRAGMA freelist_count",
        [SQL_PAGES] = "PRAGMA page_count",
        [SQL_VACUUM] = "PRAGMA incremental_vacuum(256)",
};

int sql_errno(const Sql *sql, int code) {
        switch (code & 0xff) {

        case SQLITE_OK:
        case SQLITE_ROW:
        case SQLITE_DONE:
                return 0;

        case SQLITE_FULL:
                return -ENOSPC;

        case SQLITE_NOMEM:
                return -ENOMEM;

        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return -EBUSY;

        case SQLITE_TOOBIG:
                return -E2BIG;

        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return -EBADMSG;

        case SQLITE_IOERR:
                if (code == SQLITE_IOERR_NOMEM)
                        return -ENOMEM;
                /* SQLite knows ENOSPC alone. */
                if (code == SQLITE_IOERR_WRITE && sqlite3_system_errno(sql->db) == EDQUOT)
                        return -ENOSPC;
                return -EIO;

        default:
                return -EIO;
        }
}

/* ---- statements ---- */

Row sql_row(Sql *sql, SqlId id) {
        return (Row){ .sql = sql, .statement = sql->statements[id] };
}

static void row_took(Row *row, int code) {
        if (row->code == SQLITE_OK)
                row->code = code;
}

void row_integer(Row *row, int64_t value) {
        row_took(row, sqlite3_bind_int64(row->statement, ++row->n, value));
}

void row_null(Row *row) {
        row_took(row, sqlite3_bind_null(row->statement, ++row->n));
}

void row_time(Row *row, usec_t t) {
        if (t == USEC_INFINITY)
                row_null(row);
        else
                row_integer(row, (int64_t) MIN(t, (usec_t) INT64_MAX));
}

void row_text(Row *row, const char *text) {
        row_took(row, sqlite3_bind_text(row->statement, ++row->n, text, -1, SQLITE_STATIC));
}

void row_blob(Row *row, const void *data, uint32_t size) {
        /* A blob of no bytes from nowhere would be NULL. */
        row_took(row, sqlite3_bind_blob64(
                              row->statement, ++row->n, size > 0 ? data : "", size, SQLITE_STATIC));
}

int row_step(Row *row) {
        if (row->code == SQLITE_OK || row->code == SQLITE_ROW)
                row->code = sqlite3_step(row->statement);
        if (row->code == SQLITE_ROW)
                return 1;
        row_end(row);
        return sql_errno(row->sql, row->code);
}

void row_end(Row *row) {
        (void) sqlite3_reset(row->statement);
}

int row_run(Row *row) {
        int r;

        do
                r = row_step(row);
        while (r > 0);
        return r;
}

int row_integer_of(Row *row, int64_t *ret) {
        int64_t value;
        int r;

        r = row_step(row);
        if (r <= 0)
                return r;
        value = sqlite3_column_int64(row->statement, 0);
        row_end(row);
        *ret = value;
        return 1;
}

/* ---- opening ---- */

/* What we ask for any sound database of ours has, so a general error is one of the file: that it
 * has other tables, say. */
static int describe(const Sql *sql, int code, const char *what, char **ret_error) {
        bool is_last = sql->db && sqlite3_extended_errcode(sql->db) == code;
        int r = code == SQLITE_ERROR ? -EBADMSG : sql_errno(sql, code);

        if (asprintf(ret_error, "%s: %s", what,
                    is_last ? sqlite3_errmsg(sql->db) : sqlite3_errstr(code)) < 0)
                *ret_error = NULL;
        return r;
}

/* The first column of the first row that `question` finds, which is not NULL, as a number or as a
 * text or both. 0, or an SQLite code. */
static int ask(const Sql *sql, const char *question, int *ret, char **ret_text) {
        sqlite3_stmt *statement = NULL;
        int code;

        code = sqlite3_prepare_v2(sql->db, question, -1, &statement, NULL);
        if (code == SQLITE_OK)
                code = sqlite3_step(statement);
        if (code == SQLITE_ROW) {
                code = SQLITE_OK;
                if (ret)
                        *ret = sqlite3_column_int(statement, 0);
                if (ret_text) {
                        const char *text = (const char *) sqlite3_column_text(statement, 0);

                        *ret_text = text ? strdup(text) : NULL;
                        code = *ret_text ? SQLITE_OK : SQLITE_NOMEM;
                }
        } else if (code == SQLITE_OK || code == SQLITE_DONE)
                code = SQLITE_CORRUPT;
        (void) sqlite3_finalize(statement);
        return code;
}

/* It cannot be written: as it says of itself that programs of our time may not, which those do not
 * say that we have made, or for a reason outside of it. */
static int describe_read_only(const Sql *sql, char **ret_error) {
        sqlite3_file *file = NULL;
        uint8_t version = 0;

        if (sqlite3_file_control(sql->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK)
                (void) file->pMethods->xRead(file, &version, 1, WRITE_VERSION_OFFSET);
        if (version > WRITE_VERSION_MAX)
                return describe(sql, SQLITE_NOTADB, "it is of no format that is known", ret_error);
        (void) describe(sql, SQLITE_READONLY, "cannot write it", ret_error);
        return -EROFS;
}

/* Before anything is read. Exclusive, since then the index of the WAL is in our memory and no file
 * that others could map. */
static int set_up(const Sql *sql, char **ret_error) {
        static const char pragmas[] = "PRAGMA locking_mode = EXCLUSIVE;"
                                      "PRAGMA trusted_schema = OFF;"
                                      "PRAGMA cell_size_check = ON;"
                                      "PRAGMA foreign_keys = OFF;"
                                      "PRAGMA temp_store = MEMORY;"
                                      /* Who may read the file may read what is in it. */
                                      "PRAGMA secure_delete = OFF;"
                                      "PRAGMA page_size = 4096;"
                                      "PRAGMA auto_vacuum = INCREMENTAL;"
                                      "PRAGMA synchronous = FULL;"
                                      "PRAGMA cache_size = -8192;"
                                      /* Checkpoints are the writer's, after it has told. */
                                      "PRAGMA wal_autocheckpoint = 0;"
                                      "PRAGMA journal_size_limit = 8388608;";
        int code;

        (void) sqlite3_db_config(sql->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        code = sqlite3_exec(sql->db, pragmas, NULL, NULL, NULL);
        if (code == SQLITE_OK)
                return 0;
        if ((code & 0xff) == SQLITE_READONLY)
                return describe_read_only(sql, ret_error);
        return describe(sql, code, "cannot set it up", ret_error);
}

static int set_journal_mode(const Sql *sql, char **ret_error) {
        _cleanup_free_ char *mode = NULL;
        int code;

        code = ask(sql, "PRAGMA journal_mode = WAL", NULL, &mode);
        if (code != SQLITE_OK)
                return describe(sql, code, "cannot set it up", ret_error);
        if (strcmp(mode, "wal") != 0)
                return describe(sql, SQLITE_CANTOPEN, "cannot have a log", ret_error);
        return 0;
}

/* Whose it is and of which version: 0 = new. */
static int identify(const Sql *sql, int *ret_version, char **ret_error) {
        int application = 0, version = 0, n_tables = 0, code;

        code = ask(sql, "PRAGMA application_id", &application, NULL);
        if (code == SQLITE_OK)
                code = ask(sql, "PRAGMA user_version", &version, NULL);
        if (code == SQLITE_OK)
                code = ask(sql, "SELECT count(*) FROM sqlite_schema", &n_tables, NULL);
        if (code != SQLITE_OK)
                return describe(sql, code, "cannot read it", ret_error);

        if (application == 0 && version == 0 && n_tables == 0) {
                *ret_version = 0;
                return 0;
        }
        if (application != SQL_APPLICATION) {
                if (asprintf(ret_error, "it is a database of another program") < 0)
                        *ret_error = NULL;
                return -ENOTSUP;
        }
        if (version > SQL_VERSION) {
                if (asprintf(ret_error,
                            "a newer version of this program has written it "
                            "(schema %i, known are those up to %i)",
                            version, SQL_VERSION) < 0)
                        *ret_error = NULL;
                return -ENOTSUP;
        }
        if (version < 1)
                return describe(sql, SQLITE_CORRUPT, "it has no version", ret_error);
        *ret_version = version;
        return 0;
}

/* Reads all of a file. 0, or an SQLite code. */
static int read_whole(sqlite3_file *file) {
        char buffer[4096];
        sqlite3_int64 size;
        int code;

        if (!file || !file->pMethods)
                return SQLITE_OK;
        code = file->pMethods->xFileSize(file, &size);
        for (sqlite3_int64 at = 0; code == SQLITE_OK && at < size; at += (int) sizeof(buffer)) {
                int n = (int) MIN(size - at, (sqlite3_int64) sizeof(buffer));

                code = file->pMethods->xRead(file, buffer, n, at);
        }
        return code;
}

static int read_files(const Sql *sql) {
        static const int pointers[] = { SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER };
        int code = SQLITE_OK;

        for (size_t i = 0; i < ELEMENTSOF(pointers) && code == SQLITE_OK; i++) {
                sqlite3_file *file = NULL;

                code = sqlite3_file_control(sql->db, "main", pointers[i], &file);
                if (code == SQLITE_OK)
                        code = read_whole(file);
        }
        return code;
}

/* To this check a page that cannot be read is like one that is damaged. Only of files that can be
 * read from end to end is its word taken, and only the second time. */
static int check(const Sql *sql, char **ret_error) {
        for (unsigned n = 0;; n++) {
                _cleanup_free_ char *finding = NULL;
                int code;

                code = ask(sql, "PRAGMA quick_check(1)", NULL, &finding);
                if (code != SQLITE_OK)
                        return describe(sql, code, "cannot check it", ret_error);
                if (strcmp(finding, "ok") == 0)
                        return 0;
                if (n > 0) {
                        *ret_error = TAKE_PTR(finding);
                        return -EBADMSG;
                }
                code = read_files(sql);
                if (code != SQLITE_OK)
                        return describe(sql, code, "cannot read it", ret_error);
        }
}

static int migrate(const Sql *sql, int version, char **ret_error) {
        char end[128];
        int code, r;

        if (version == SQL_VERSION)
                return 0;
        (void) snprintf(end, sizeof(end),
                "PRAGMA application_id = %i; PRAGMA user_version = %i; COMMIT", SQL_APPLICATION,
                SQL_VERSION);
        code = sqlite3_exec(sql->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        for (; code == SQLITE_OK && version < SQL_VERSION; version++)
                code = sqlite3_exec(sql->db, migrations[version], NULL, NULL, NULL);
        if (code == SQLITE_OK)
                code = sqlite3_exec(sql->db, end, NULL, NULL, NULL);
        if (code == SQLITE_OK)
                return 0;
        r = describe(sql, code, "cannot bring it up to date", ret_error);
        /* Then it is more likely that our steps are wrong than the file. */
        if (code == SQLITE_ERROR)
                r = -EIO;
        (void) sqlite3_exec(sql->db, "ROLLBACK", NULL, NULL, NULL);
        return r;
}

static int prepare(Sql *sql, char **ret_error) {
        for (SqlId id = 0; id < _SQL_MAX; id++) {
                int code = sqlite3_prepare_v3(sql->db, statements[id], -1,
                        SQLITE_PREPARE_PERSISTENT, &sql->statements[id], NULL);

                if (code != SQLITE_OK)
                        return describe(sql, code, "it has other tables", ret_error);
        }
        return 0;
}

int sql_open(Sql *sql, const char *path, usec_t patience, char **ret_error) {
        int code, version = 0, r;

        *sql = (Sql){};
        code = sqlite3_open_v2(path, &sql->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
        if (code != SQLITE_OK)
                return describe(sql, code, "cannot open it", ret_error);
        (void) sqlite3_extended_result_codes(sql->db, 1);
        (void) sqlite3_busy_timeout(
                sql->db, (int) MIN(patience / USEC_PER_MSEC, (usec_t) INT32_MAX));

        r = set_up(sql, ret_error);
        if (r < 0)
                return r;
        r = identify(sql, &version, ret_error);
        if (r < 0)
                return r;
        r = set_journal_mode(sql, ret_error);
        if (r < 0)
                return r;
        r = check(sql, ret_error);
        if (r < 0)
                return r;
        r = migrate(sql, version, ret_error);
        if (r < 0)
                return r;
        return prepare(sql, ret_error);
}

int sql_lengthen_log(const Sql *sql, int n_pages) {
        sqlite3_int64 end =
                LOG_HEADER + (sqlite3_int64) n_pages * (LOG_FRAME_HEADER + SQL_PAGE_SIZE);
        static const char zeros[1 << 16];
        sqlite3_int64 size;
        sqlite3_file *log;
        int code;

        code = sqlite3_file_control(sql->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
        if (code == SQLITE_OK)
                code = log->pMethods->xFileSize(log, &size);
        while (code == SQLITE_OK && size < end) {
                int n = (int) MIN(end - size, (sqlite3_int64) sizeof(zeros));

                code = log->pMethods->xWrite(log, zeros, n, size);
                size += n;
        }
        if (code == SQLITE_OK)
                code = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
        return code == SQLITE_FULL ? 0 : sql_errno(sql, code);
}

void sql_close(Sql *sql, bool checkpoint) {
        for (SqlId id = 0; id < _SQL_MAX; id++) {
                (void) sqlite3_finalize(sql->statements[id]);
                sql->statements[id] = NULL;
        }
        if (!checkpoint && sql->db)
                (void) sqlite3_db_config(sql->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        (void) sqlite3_close(sql->db);
        sql->db = NULL;
}
