/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Pipelines at a reload. With other stages one goes, and comes again when they are there. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon-private.h"
#include "util/log.h"
#include "util/strv.h"

/* What is to be made when the pipeline of that name has gone, and its pools are there: what it is
 * made of has changed, or its file came back while it was on its way out. At most one of a name. */
typedef struct WantedPipeline {
        List links; /* in Daemon.wanted */
        PoolWatch watch;
        Daemon *daemon;          /* borrowed */
        ConfigPipeline pipeline; /* owned contents */
} WantedPipeline;

static WantedPipeline *wanted_free(WantedPipeline *wanted) {
        if (!wanted)
                return NULL;
        list_remove(&wanted->links);
        pool_unwatch(&wanted->watch);
        pipeline_config_free(wanted->pipeline.config);
        free(wanted->pipeline.path);
        free(wanted);
        return NULL;
}

static WantedPipeline *find_wanted(Daemon *daemon, const char *name) {
        list_for_each (l, &daemon->wanted) {
                WantedPipeline *wanted = list_entry(l, WantedPipeline, links);

                if (strcmp(wanted->pipeline.config->name, name) == 0)
                        return wanted;
        }
        return NULL;
}

/* Is a pool still on its way out, so that it may be made anew? */
static bool waits_for_pools(Daemon *daemon, const PipelineConfig *config) {
        STRV_FOREACH (name, config->stages) {
                const Pool *pool = engine_find_pool(daemon->engine, *name);

                if (pool && pool->removing)
                        return true;
        }
        return false;
}

void daemon_make_wanted(Daemon *daemon) {
        _cleanup_strv_ char **faults = NULL;

        list_for_each (l, &daemon->wanted) {
                WantedPipeline *wanted = list_entry(l, WantedPipeline, links);
                const PipelineConfig *config = wanted->pipeline.config;

                if (engine_find_pipeline(daemon->engine, config->name) ||
                        waits_for_pools(daemon, config))
                        continue;
                if (daemon->phase == STOP_NOT)
                        (void) daemon_add_pipeline(daemon, &wanted->pipeline, &faults);
                wanted_free(wanted);
        }
        daemon_log_faults(faults);
}

static void on_wanted_can_come(PoolWatch *watch) {
        daemon_make_wanted(container_of(watch, WantedPipeline, watch)->daemon);
}

/* The pipeline that there is drains and goes, and this one is made then. */
static int replace_pipeline(Daemon *daemon, PoolPipeline *pipeline, ConfigPipeline *from) {
        WantedPipeline *wanted = find_wanted(daemon, from->config->name);

        if (!wanted) {
                wanted = calloc(1, sizeof(*wanted));
                if (!wanted)
                        return -ENOMEM;
                *wanted = (WantedPipeline){ .daemon = daemon, .watch.done = on_wanted_can_come };
                list_init(&wanted->watch.links);
                list_append(&daemon->wanted, &wanted->links);
        }
        pipeline_config_free(wanted->pipeline.config);
        free(wanted->pipeline.path);
        wanted->pipeline = (ConfigPipeline){
                .config = TAKE_PTR(from->config),
                .path = TAKE_PTR(from->path),
                .digest = from->digest,
        };
        if (!pipeline || list_is_linked(&wanted->watch.links))
                return 0;
        return engine_remove_pipeline(
                daemon->engine, pipeline, /* cancel= */ false, &wanted->watch);
}

/* Has it these stages, and do they stay? */
static bool has_stages(const PoolPipeline *pipeline, const PipelineConfig *config) {
        if (pipeline->pipeline.n_stages != strv_length(config->stages))
                return false;
        for (uint32_t i = 0; i < pipeline->pipeline.n_stages; i++)
                if (pipeline->stages[i]->removing ||
                        strcmp(pipeline->stages[i]->config->name, config->stages[i]) != 0)
                        return false;
        return true;
}

int daemon_reload_pipeline(Daemon *daemon, ConfigPipeline *from, char ***faults) {
        PoolPipeline *pipeline = engine_find_pipeline(daemon->engine, from->config->name);

        if (!pipeline && waits_for_pools(daemon, from->config))
                return replace_pipeline(daemon, NULL, from);
        if (!pipeline)
                return daemon_add_pipeline(daemon, from, faults);
        if (pipeline->removing || !has_stages(pipeline, from->config))
                return replace_pipeline(daemon, pipeline, from);
        if (!pipeline->from_file || pipeline->digest != from->digest) {
                engine_set_pipeline(daemon->engine, pipeline, from->config);
                pipeline->touched = false;
        }
        pipeline->from_file = true;
        pipeline->digest = from->digest;
        pipeline->file_max_in_flight = from->config->max_in_flight;
        return 0;
}

void daemon_drop_pipelines(Daemon *daemon, const Config *config) {
        list_for_each (l, &daemon->wanted) {
                WantedPipeline *wanted = list_entry(l, WantedPipeline, links);

                if (!config_find_pipeline(config, wanted->pipeline.config->name))
                        wanted_free(wanted);
        }
        list_for_each (l, &daemon->engine->pipelines) {
                PoolPipeline *pipeline = list_entry(l, PoolPipeline, links);

                if (pipeline->from_file && !pipeline->removing &&
                        !config_find_pipeline(config, pipeline->name))
                        (void) engine_remove_pipeline(
                                daemon->engine, pipeline, /* cancel= */ false, NULL);
        }
}

/* Whoever made a pipeline by hand keeps the pools that it has. */
void daemon_tell_kept_pools(Daemon *daemon) {
        list_for_each (l, &daemon->engine->pipelines) {
                const PoolPipeline *pipeline = list_entry(l, PoolPipeline, links);

                for (uint32_t i = 0; !pipeline->removing && i < pipeline->pipeline.n_stages; i++)
                        if (pipeline->stages[i]->removing)
                                log_warning("Pool %s takes no jobs any more, and goes once the "
                                            "pipeline %s is removed",
                                        pipeline->stages[i]->config->name, pipeline->name);
        }
}

void daemon_forget_wanted(Daemon *daemon) {
        list_for_each (l, &daemon->wanted)
                wanted_free(list_entry(l, WantedPipeline, links));
}
