/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A row is of the last state alone, so that many changes in one turn of the loop are one.
 *
 * To forget the row of a pool is to forget its jobs. So where a file takes the place of a pool that
 * was made at run time, or undoes what was changed, the row stays and says nothing any more. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/object-row.h"

/* A change of the store, with what it points to. */
struct RowChange {
        StoreChange store;
        char *name, *settings;
};

static RowChange *row_change_free(RowChange *change) {
        if (!change)
                return NULL;
        free(change->name);
        free(change->settings);
        free(change);
        return NULL;
}

DEFINE_CLEANUP(RowChange *, row_change_free)

static void on_written(StoreChange *store, int r) {
        row_change_free(container_of(store, RowChange, store));
}

static int row_change_new(StoreKind kind, const ObjectRow *row, RowChange **ret) {
        _cleanup_(row_change_freep) RowChange *change = calloc(1, sizeof(*change));

        if (!change)
                return -ENOMEM;
        *change = (RowChange){
                .store.kind = kind,
                .store.done = on_written,
                .name = strdup(row->kind->name(row)),
        };
        if (!change->name)
                return -ENOMEM;
        list_init(&change->store.links);
        change->store.object.kind = row->kind->noun;
        change->store.object.name = change->name;
        *ret = TAKE_PTR(change);
        return 0;
}

/* ---- what has changed ---- */

void engine_keep(Engine *engine, ObjectRow *row) {
        if (!engine->store || (!row->exists && !row->kind->is_kept(row)))
                return;
        if (!list_is_linked(&row->links))
                list_append(&engine->changed_rows, &row->links);
        engine->rows_are_due = true;
}

void object_row_restored(ObjectRow *row) {
        list_remove(&row->links);
        row->exists = true;
}

bool object_row_is_stored(const Engine *engine, const ObjectRow *row) {
        return engine->store && row->kind->is_kept(row) && !list_is_linked(&row->links);
}

/* Fills in the row; one of no settings if it is not kept any more. 0 or -ENOMEM. */
static int describe(const ObjectRow *row, RowChange *change) {
        StoredObject *object = &change->store.object;
        size_t size;
        FILE *f;

        f = open_memstream(&change->settings, &size);
        if (!f)
                return -ENOMEM;
        row->kind->describe(row, object, f);
        if (fclose(f) != 0)
                return -ENOMEM;
        object->settings = change->settings;
        return 0;
}

static bool says_nothing(const StoredObject *object) {
        return object->digest != 0 && !object->settings[0] && !object->paused && !object->draining;
}

static int post_row(Engine *engine, ObjectRow *row) {
        _cleanup_(row_change_freep) RowChange *change = NULL;
        bool is_over = !row->kind->has_jobs && !row->kind->is_kept(row);
        int r;

        r = row_change_new(is_over ? STORE_FORGET_OBJECT : STORE_OBJECT, row, &change);
        if (r >= 0 && !is_over)
                r = describe(row, change);
        if (r < 0)
                return r;
        if (!row->exists && (is_over || says_nothing(&change->store.object)))
                return 0;
        row->exists = !is_over;
        store_post(engine->store, &change->store);
        (void) TAKE_PTR(change); /* the store's now */
        return 0;
}

bool engine_post_rows(Engine *engine) {
        if (!engine->rows_are_due)
                return true;
        list_for_each (l, &engine->changed_rows) {
                if (post_row(engine, list_entry(l, ObjectRow, links)) < 0)
                        return false;
                list_remove(l);
        }
        engine->rows_are_due = false;
        return true;
}

/* ---- what has gone ---- */

int engine_prepare_removal(Engine *engine, ObjectRow *row) {
        /* One that is not kept has no jobs in the store: those there wait for one that is. */
        bool is_known = row->kind->is_kept(row) || (row->exists && !row->kind->has_jobs);

        if (!engine->store || row->removal || !is_known)
                return 0;
        return row_change_new(STORE_FORGET_OBJECT, row, &row->removal);
}

void engine_forget(Engine *engine, ObjectRow *row) {
        RowChange *removal = TAKE_PTR(row->removal);

        list_remove(&row->links);
        if (removal && engine->store && !engine->shutting_down)
                store_post(engine->store, &removal->store);
        else
                row_change_free(removal);
}
