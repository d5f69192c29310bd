/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From rows of the store to objects. What was made at run time is made again; what has a file is
 * made by load.c, and gets here what was changed since. A row that cannot be done stays in the
 * store, as does what was submitted to its object, and may be done at another start. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon-private.h"
#include "engine/assignments.h"
#include "engine/breaker-config.h"
#include "engine/limiter-config.h"
#include "util/log.h"
#include "util/parse.h"
#include "util/strv.h"

/* A row that has not become an object yet. */
typedef struct SavedRow {
        List links; /* in Daemon.rows */
        char *kind, *name, *settings;
        uint64_t digest;
        bool paused, draining;
} SavedRow;

static SavedRow *row_free(SavedRow *row) {
        if (!row)
                return NULL;
        list_remove(&row->links);
        free(row->kind);
        free(row->name);
        free(row->settings);
        free(row);
        return NULL;
}

DEFINE_CLEANUP(SavedRow *, row_free)

/* Rows that no version of ours has written are nobody's. */
static bool is_known(const StoredObject *object) {
        static const char *const kinds[] = { "limiter", "breaker", "pool", "pipeline", NULL };

        return strv_contains((char *const *) kinds, object->kind) && name_is_valid(object->name);
}

static int on_row(void *userdata, const StoredObject *object) {
        _cleanup_(row_freep) SavedRow *row = NULL;
        Daemon *daemon = userdata;

        if (!is_known(object)) {
                log_error("The durable state has a row of an object that there cannot be: left "
                          "alone");
                return 0;
        }
        row = calloc(1, sizeof(*row));
        if (!row)
                return -ENOMEM;
        *row = (SavedRow){
                .kind = strdup(object->kind),
                .name = strdup(object->name),
                .settings = strdup(object->settings),
                .digest = object->digest,
                .paused = object->paused,
                .draining = object->draining,
        };
        list_init(&row->links);
        if (!row->kind || !row->name || !row->settings)
                return -ENOMEM;
        list_append(&daemon->rows, &TAKE_PTR(row)->links);
        return 0;
}

int daemon_read_rows(Daemon *daemon) {
        static const StoreReader reader = { .object = on_row };
        int r;

        r = store_read_objects(daemon->store, &reader, daemon);
        return r < 0 ? log_error_errno(r, "Cannot read the durable state") : 0;
}

void daemon_forget_rows(Daemon *daemon) {
        list_for_each (l, &daemon->rows)
                row_free(list_entry(l, SavedRow, links));
}

static SavedRow *find_row(Daemon *daemon, const char *kind, const char *name) {
        list_for_each (l, &daemon->rows) {
                SavedRow *row = list_entry(l, SavedRow, links);

                if (strcmp(row->kind, kind) == 0 && strcmp(row->name, name) == 0)
                        return row;
        }
        return NULL;
}

bool daemon_will_restore(Daemon *daemon, const char *kind, const char *name) {
        const SavedRow *row = find_row(daemon, kind, name);

        return row && row->digest == 0 && !daemon->restored;
}

/* ---- what has a file ---- */

/* The file is not the one whose object was changed. True if there is nothing to be done. */
static bool is_outdated(const SavedRow *row, uint64_t digest, const char *path) {
        if (row->digest == 0)
                log_notice("%s: takes the place of the %s %s that was made at run time", path,
                        row->kind, row->name);
        else if (row->digest != digest && *row->settings)
                log_notice("%s: has changed: what was set at run time is so no more", path);
        return row->digest != digest;
}

static int assign_to_pool(
        void *target, const char *name, const SettingValue *value, char **ret_error) {
        return pool_config_set(target, name, value, ret_error);
}

static int assign_to_pipeline(
        void *target, const char *name, const SettingValue *value, char **ret_error) {
        return pipeline_config_set(target, name, value, ret_error);
}

static int assign_to_limiter(
        void *target, const char *name, const SettingValue *value, char **ret_error) {
        return limiter_config_set(target, name, value, ret_error);
}

static int assign_to_breaker(
        void *target, const char *name, const SettingValue *value, char **ret_error) {
        return breaker_config_set(target, name, value, ret_error);
}

static void log_changes_refused(const char *path, int r, const char *error) {
        log_error("%s: what was set at run time cannot be set any more: %s", path,
                error ?: strerror(-r));
}

int daemon_change_pool(Daemon *daemon, const ConfigPool *from, PoolConfig **config) {
        const SavedRow *row = find_row(daemon, "pool", from->config->name);
        _cleanup_(pool_config_freep) PoolConfig *changed = NULL;
        _cleanup_free_ char *error = NULL;
        int r;

        if (!row || is_outdated(row, from->digest, from->path) || !from->config->durable)
                return 0;
        r = pool_config_copy(from->config, &changed);
        if (r >= 0)
                r = assignments_make(row->settings, assign_to_pool, changed, &error);
        if (r >= 0)
                r = pool_config_complete(changed, &error);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                log_changes_refused(from->path, r, error);
                return 0;
        }
        pool_config_free(*config);
        *config = TAKE_PTR(changed);
        return 0;
}

/* What the row says is done. Unless the store is to have it just so, it is written anew. */
static void row_is_done(Daemon *daemon, SavedRow *saved, ObjectRow *row, bool is_same) {
        object_row_restored(row);
        if (!is_same)
                engine_keep(daemon->engine, row);
        row_free(saved);
}

static void restore_state(const SavedRow *row, Pool *pool) {
        pool->paused = row->paused;
        pool->draining = row->draining;
        pool_pause(pool, pool->paused);
        pool_drain(pool, pool->draining);
}

void daemon_restore_pool_state(Daemon *daemon, Pool *pool) {
        SavedRow *row = find_row(daemon, "pool", pool->config->name);

        if (!row)
                return;
        if (pool->store)
                restore_state(row, pool);
        row_is_done(daemon, row, &pool->row, row->digest == pool->digest);
}

/* What was set of a pipeline that has a file. 0 or -errno. */
static int change_pipeline(
        const SavedRow *row, const ConfigPipeline *from, PoolPipeline *pipeline, char **ret_error) {
        _cleanup_(pipeline_config_freep) PipelineConfig *config = NULL;
        int r;

        r = pipeline_config_new(pipeline->name, &config);
        if (r < 0)
                return r;
        config->max_in_flight = from->config->max_in_flight;
        r = assignments_make(row->settings, assign_to_pipeline, config, ret_error);
        if (r >= 0)
                pipeline->pipeline.max_in_flight = config->max_in_flight;
        return r;
}

void daemon_restore_pipeline_state(
        Daemon *daemon, const ConfigPipeline *from, PoolPipeline *pipeline) {
        SavedRow *row = find_row(daemon, "pipeline", pipeline->name);
        _cleanup_free_ char *error = NULL;
        int r;

        if (!row)
                return;
        if (!is_outdated(row, from->digest, from->path) && pipeline->stages[0]->store) {
                r = change_pipeline(row, from, pipeline, &error);
                if (r < 0)
                        log_changes_refused(from->path, r, error);
        }
        if (pipeline->stages[0]->store)
                engine_drain_pipeline(daemon->engine, pipeline, row->draining);
        row_is_done(daemon, row, &pipeline->row, row->digest == pipeline->digest);
}

static void replace_row(Daemon *daemon, const char *kind, const char *name, const char *path,
        uint64_t digest, ObjectRow *of) {
        SavedRow *row = find_row(daemon, kind, name);

        if (!row)
                return;
        (void) is_outdated(row, digest, path);
        row_is_done(daemon, row, of, /* is_same= */ false);
}

void daemon_replace_limiter_row(Daemon *daemon, const ConfigLimiter *from, SharedLimiter *limiter) {
        replace_row(daemon, "limiter", from->name, from->path, from->digest, &limiter->row);
}

void daemon_replace_breaker_row(Daemon *daemon, const ConfigBreaker *from, SharedBreaker *breaker) {
        replace_row(daemon, "breaker", from->name, from->path, from->digest, &breaker->row);
}

/* ---- what was made at run time ---- */

static int make_limiter(Daemon *daemon, const SavedRow *row, ObjectRow **ret, char **ret_error) {
        LimiterConfig config = LIMITER_CONFIG_DEFAULT;
        SharedLimiter *limiter;
        int r;

        r = assignments_make(row->settings, assign_to_limiter, &config, ret_error);
        if (r >= 0)
                r = limiter_config_complete(&config, ret_error);
        if (r >= 0)
                r = engine_add_limiter(daemon->engine, row->name, &config, &limiter);
        if (r >= 0)
                *ret = &limiter->row;
        return r;
}

static int make_breaker(Daemon *daemon, const SavedRow *row, ObjectRow **ret, char **ret_error) {
        BreakerConfig config = BREAKER_CONFIG_DEFAULT;
        SharedBreaker *breaker;
        int r;

        r = assignments_make(row->settings, assign_to_breaker, &config, ret_error);
        if (r >= 0)
                r = engine_add_breaker(daemon->engine, row->name, &config, &breaker);
        if (r >= 0)
                *ret = &breaker->row;
        return r;
}

static int make_pool(Daemon *daemon, const SavedRow *row, ObjectRow **ret, char **ret_error) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;
        Pool *pool;
        int r;

        r = pool_config_new(row->name, daemon_fairness(daemon->options), &config);
        if (r >= 0)
                r = assignments_make(row->settings, assign_to_pool, config, ret_error);
        if (r >= 0)
                r = pool_config_complete(config, ret_error);
        if (r >= 0)
                r = engine_add_pool(daemon->engine, config, &pool, ret_error);
        if (r < 0)
                return r;
        (void) TAKE_PTR(config); /* the pool's now */
        restore_state(row, pool);
        *ret = &pool->row;
        return 0;
}

static int make_pipeline(Daemon *daemon, const SavedRow *row, ObjectRow **ret, char **ret_error) {
        _cleanup_(pipeline_config_freep) PipelineConfig *config = NULL;
        PoolPipeline *pipeline;
        int r;

        r = pipeline_config_new(row->name, &config);
        if (r >= 0)
                r = assignments_make(row->settings, assign_to_pipeline, config, ret_error);
        if (r >= 0)
                r = pipeline_config_complete(config, ret_error);
        if (r >= 0)
                r = engine_add_pipeline(daemon->engine, config, &pipeline, ret_error);
        if (r < 0)
                return r;
        engine_drain_pipeline(daemon->engine, pipeline, row->draining);
        *ret = &pipeline->row;
        return 0;
}

static void restore(Daemon *daemon, const char *kind,
        int (*make)(Daemon *daemon, const SavedRow *row, ObjectRow **ret, char **ret_error)) {
        list_for_each (l, &daemon->rows) {
                SavedRow *row = list_entry(l, SavedRow, links);
                _cleanup_free_ char *error = NULL;
                ObjectRow *of = NULL;
                int r;

                if (row->digest != 0 || strcmp(row->kind, kind) != 0)
                        continue;
                r = make(daemon, row, &of, &error);
                if (r >= 0)
                        row_is_done(daemon, row, of, /* is_same= */ true);
                else
                        log_error("The %s %s, made at run time, cannot be made again, and stays in "
                                  "the durable state: %s",
                                kind, row->name, error ?: strerror(-r));
        }
}

void daemon_restore_limiters(Daemon *daemon) {
        restore(daemon, "limiter", make_limiter);
}

void daemon_restore_breakers(Daemon *daemon) {
        restore(daemon, "breaker", make_breaker);
}

void daemon_restore_pools(Daemon *daemon) {
        restore(daemon, "pool", make_pool);
}

void daemon_restore_pipelines(Daemon *daemon) {
        restore(daemon, "pipeline", make_pipeline);
}

void daemon_end_restoring(Daemon *daemon) {
        daemon->restored = true;
        list_for_each (l, &daemon->rows) {
                const SavedRow *row = list_entry(l, SavedRow, links);

                if (row->digest != 0 && (*row->settings || row->paused || row->draining))
                        log_notice("The %s %s has no settings file without a fault: what was "
                                   "changed at run time stays in the durable state",
                                row->kind, row->name);
        }
}
