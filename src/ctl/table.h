/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A table of rows that are JSON objects: printed as JSON, or as columns that fit the terminal. Rows
 * are printed in blocks, so that a list of millions needs no memory; the widths of the first block
 * hold for the later ones. */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "ctl/ctl.h"

typedef struct Column Column;
typedef struct Table Table;

typedef enum ColumnFlag {
        COLUMN_RIGHT = 1 << 0,    /* numbers */
        COLUMN_STATE = 1 << 1,    /* coloured by what it says */
        COLUMN_SHRINKS = 1 << 2,  /* may be cut where the terminal is narrow */
        COLUMN_OPTIONAL = 1 << 3, /* may be left out there; the last one first */
} ColumnFlag;

#define TABLE_COLUMNS_MAX 12

struct Column {
        const char *key;    /* member of the row */
        const char *header; /* in capitals */
        unsigned flags;
};

struct Table {
        const Ctl *ctl;        /* borrowed */
        const Column *columns; /* borrowed */
        size_t n_columns;
        json_object *rows; /* those not printed yet */
        size_t n_printed;
        size_t widths[TABLE_COLUMNS_MAX]; /* 0 = left out; known once a block was printed */
};

void table_init(Table *table, const Ctl *ctl, const Column *columns, size_t n_columns);
void table_add(Table *table, json_object *row); /* takes the row over */

/* Prints what is left. */
void table_end(Table *table);

/* The same, and the legend: "3 pools listed." */
void table_finish(Table *table, const char *singular, const char *plural);
void table_done(Table *table);

#define _cleanup_table_ _cleanup_(table_done)
