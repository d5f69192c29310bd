/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* All SQL there is: the schema and how older ones become it, and the statements, each prepared once
 * and bound from then on. By whoever uses the connection at the moment. */

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/time.h"

typedef struct Row Row;
typedef struct Sql Sql;

/* The version of the schema that this program writes, in the file's user_version. */
#define SQL_VERSION 1

/* "SLUI" in the file's application_id: whose database it is. */
#define SQL_APPLICATION 0x534c5549

#define SQL_PAGE_SIZE 4096

typedef enum SqlId {
        SQL_BEGIN,
        SQL_COMMIT,
        SQL_ROLLBACK,
        SQL_PUT_META,
        SQL_GET_META,
        SQL_SUBMISSION,
        SQL_JOB,
        SQL_SINGLE,
        SQL_END,
        SQL_WAIT,
        SQL_WAIT_DATA,
        SQL_PRIORITY,
        SQL_FORGET_JOBS,
        SQL_FORGET_SUBMISSION,
        SQL_OBJECT,
        SQL_FORGET_OBJECT,
        SQL_SUBMISSIONS_TO,
        SQL_FORGET_SUBMISSIONS_TO,
        SQL_FORGET_SINGLES_TO,
        SQL_FORGET_EMPTY,
        SQL_CRASHED,
        SQL_FORGET_CRASHED,
        SQL_READ_OBJECTS,
        SQL_READ_SUBMISSIONS,
        SQL_READ_JOBS,
        SQL_LAST_ID,
        SQL_FREE_PAGES,
        SQL_PAGES,
        SQL_VACUUM,
        _SQL_MAX,
} SqlId;

struct Sql {
        sqlite3 *db;                        /* owned */
        sqlite3_stmt *statements[_SQL_MAX]; /* owned */
};

/* Values for one run of a statement, in the order of its parameters. */
struct Row {
        Sql *sql;
        sqlite3_stmt *statement;
        int n;    /* values so far */
        int code; /* of SQLite: the first that was not taken */
};

/* Opens the file at `path`, which exists, for this process alone, waiting up to `patience` for who
 * has it; sets the connection up; makes the schema, or brings it up to date; prepares everything.
 * 0, -EBUSY, -EBADMSG (it is damaged), -ENOTSUP (it is not ours, or of a newer version), or -errno;
 * then *ret_error, if there is memory for it, says what is wrong, and some of it may be open. */
int sql_open(Sql *sql, const char *path, usec_t patience, char **ret_error);
void sql_close(Sql *sql, bool checkpoint); /* without checkpoint nothing more is written */

/* What an SQLite result code of this connection is: -ENOSPC, -ENOMEM, -EBUSY, -E2BIG, -EBADMSG
 * (damaged), -EIO for all else. */
int sql_errno(const Sql *sql, int code);

/* Makes the log as long as it will be with so many pages: to write where the file ends costs a sync
 * of what the file system knows about it as well. 0, also if there is no room; or sql_errno(). */
int sql_lengthen_log(const Sql *sql, int n_pages);

Row sql_row(Sql *sql, SqlId id);
void row_integer(Row *row, int64_t value);
void row_time(Row *row, usec_t t); /* NULL for USEC_INFINITY */
void row_null(Row *row);
void row_text(Row *row, const char *text);                /* borrowed; NULL for NULL */
void row_blob(Row *row, const void *data, uint32_t size); /* borrowed */

int row_run(Row *row);                      /* to its end; 0 or sql_errno() */
int row_integer_of(Row *row, int64_t *ret); /* the one it finds: 1, 0 if none, or sql_errno() */

/* 1 = there is a row, to be read by sqlite3_column_…(); 0 = no more, or sql_errno(); both of which
 * end it. row_end() ends it before. */
int row_step(Row *row);
void row_end(Row *row);

static inline int sql_run(Sql *sql, SqlId id) {
        Row row = sql_row(sql, id);

        return row_run(&row);
}
