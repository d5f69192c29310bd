/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* ObjectRow: what the store has of one object that was made or changed at run time. Whoever changes
 * an object says so, and at the end of the loop's turn its row is written as the object is then.
 * Main thread only. */

#include <stdbool.h>
#include <stdio.h>

#include "store/store.h"
#include "util/list.h"

typedef struct Engine Engine;
typedef struct ObjectRow ObjectRow;
typedef struct ObjectRowKind ObjectRowKind;
typedef struct RowChange RowChange;

struct ObjectRow {
        List links; /* in Engine.changed_rows: it is to be written */
        const ObjectRowKind *kind;
        bool exists;        /* the store has one, or is about to */
        RowChange *removal; /* owned: what tells the store that the object has gone */
};

struct ObjectRowKind {
        const char *noun; /* as StoredObject.kind */
        const char *(*name)(const ObjectRow *row);

        /* Is the store to know of its changes? */
        bool (*is_kept)(const ObjectRow *row);

        /* What the store is to know of one that is kept. Its settings are printed, as assignments.
         */
        void (*describe)(const ObjectRow *row, StoredObject *ret, FILE *settings);

        bool has_jobs; /* what was submitted to it is forgotten with its row */
};

static inline void object_row_init(ObjectRow *row, const ObjectRowKind *kind) {
        list_init(&row->links);
        row->kind = kind;
}

/* The object was made, or has changed: its row is to be written. */
void engine_keep(Engine *engine, ObjectRow *row);

/* It is as the store has it. */
void object_row_restored(ObjectRow *row);

/* Is all that was made or set of it to come back at the next start, once the store is idle? */
bool object_row_is_stored(const Engine *engine, const ObjectRow *row);

/* The object is about to go, which the store can then be told whatever memory there is. 0 or
 * -ENOMEM. */
int engine_prepare_removal(Engine *engine, ObjectRow *row);

/* It goes now. Unless the daemon stops, it is not to come back, nor the jobs that it had. */
void engine_forget(Engine *engine, ObjectRow *row);

/* ---- for durable.c ---- */

/* Posts what is to be written. True if that was all; else there was no memory for the rest. */
bool engine_post_rows(Engine *engine);
