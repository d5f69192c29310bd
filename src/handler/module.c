/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Handler=module: jobs are calls of a plug-in, in the worker's thread.
 *
 * This is the bridge between Attempt, which the engine knows, and struct sluice_job, which the
 * plug-in knows. It is crossed millions of times per second, so a call is one struct on the stack;
 * memory is only what the plug-in asks for. */

#include <limits.h>
#include <sluice/module.h>

#include "handler/handler.h"
#include "handler/module-file.h"
#include "util/parse.h"
#include "util/strv.h"

/* Every kind of handler defines this in its own file. */
struct Handler {
        const struct sluice_module *module; /* for ever: plug-ins are not unloaded */
        void *state;
};

typedef struct Call {
        struct sluice_job job; /* what the plug-in is given */
        Attempt *attempt;
} Call;

static Attempt *attempt_of(struct sluice_job *job) {
        return container_of(job, Call, job)->attempt;
}

static void *host_output(struct sluice_job *job, size_t size) {
        static char nothing[1];
        Attempt *attempt = attempt_of(job);

        if (size > 0)
                return attempt_output_alloc(attempt, size);

        /* An empty output needs no memory, and NULL would mean that there is none. */
        attempt->output = NULL;
        attempt->output_size = 0;
        return nothing;
}

static void host_error(struct sluice_job *job, const char *text) {
        attempt_fail(attempt_of(job), OUTCOME_FAILURE, "%s", text);
}

static int host_stopped(struct sluice_job *job) {
        return attempt_stop(attempt_of(job)) != JOB_STOP_NONE;
}

static int host_stop_fd(struct sluice_job *job) {
        return attempt_of(job)->wake_fd;
}

static void host_progress(struct sluice_job *job, double done) {
        Attempt *attempt = attempt_of(job);

        /* Written so that what is not a number is 0. */
        if (attempt->progress)
                atomic_store_explicit(
                        attempt->progress, done > 0 ? MIN(done, 1.0) : 0.0, memory_order_relaxed);
}

static const struct sluice_host host = {
        .size = sizeof(host),
        .output = host_output,
        .error = host_error,
        .stopped = host_stopped,
        .stop_fd = host_stop_fd,
        .progress = host_progress,
};

static Outcome outcome_of(int verdict) {
        switch (verdict) {
        case SLUICE_OK:
                return OUTCOME_SUCCESS;
        case SLUICE_FATAL:
                return OUTCOME_FATAL;
        case SLUICE_RETRY:
                return OUTCOME_RETRY;
        default:
                return OUTCOME_FAILURE;
        }
}

/* What a result is before the plug-in writes one; no verdict is like it. */
#define NO_VERDICT INT_MIN

static inline void call_init(Call *call, Attempt *attempt) {
        *call = (Call){
                .job = {
                        .host = &host,
                        .size = sizeof(struct sluice_job),
                        .id = attempt->id,
                        .payload = attempt->payload_size > 0 ? attempt->payload : NULL,
                        .payload_size = attempt->payload_size,
                        .pool = attempt->pool,
                        .tag = attempt->tag,
                        .attempt = attempt->attempt,
                        .worker = attempt->worker,
                },
                .attempt = attempt,
        };
}

/* From what the plug-in says of the job to what the engine is told. */
static inline void judge(const Handler *handler, Attempt *attempt, int verdict) {
        attempt->outcome = outcome_of(verdict);

        if (unlikely(attempt->error) && attempt->outcome == OUTCOME_SUCCESS) {
                free(attempt->error);
                attempt->error = NULL;
        } else if (unlikely(attempt->outcome != OUTCOME_SUCCESS) && !attempt->error)
                attempt_fail(attempt, attempt->outcome, "the module %s gave no %s",
                        handler->module->name ?: "without a name",
                        verdict == NO_VERDICT ? "verdict on this job" : "reason");
}

static void module_run(Handler *handler, HandlerWorker *worker, Attempt *attempt) {
        int verdict = NO_VERDICT;
        Call call;

        call_init(&call, attempt);
        if (likely(handler->module->process))
                verdict = handler->module->process(handler->state, &call.job);
        else
                handler->module->process_batch(
                        handler->state, &(struct sluice_job *){ &call.job }, 1, &verdict);

        judge(handler, attempt, verdict);
}

/* A plug-in that knows no batches does one after the other. */
static void run_one_by_one(Handler *handler, Attempt *const *attempts, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (attempt_stop(attempts[i]) == JOB_STOP_NONE)
                        module_run(handler, NULL, attempts[i]);
                else
                        attempt_fail(attempts[i], OUTCOME_FAILURE, "stopped before it was begun");
}

static void module_run_batch(
        Handler *handler, HandlerWorker *worker, Attempt *const *attempts, size_t n) {
        _cleanup_free_ Call *calls = NULL;
        struct sluice_job **jobs;
        int *verdicts;

        if (!handler->module->process_batch) {
                run_one_by_one(handler, attempts, n);
                return;
        }

        /* The three lie behind each other, as each is aligned more than the next. */
        calls = reallocarray(NULL, n, sizeof(*calls) + sizeof(*jobs) + sizeof(*verdicts));
        if (!calls) {
                for (size_t i = 0; i < n; i++)
                        attempt_fail(attempts[i], OUTCOME_RETRY, "not enough memory for a batch");
                return;
        }

        jobs = (struct sluice_job **) (calls + n);
        verdicts = (int *) (jobs + n);

        for (size_t i = 0; i < n; i++) {
                call_init(&calls[i], attempts[i]);
                jobs[i] = &calls[i].job;
                verdicts[i] = NO_VERDICT;
        }
        handler->module->process_batch(handler->state, jobs, n, verdicts);
        for (size_t i = 0; i < n; i++)
                judge(handler, attempts[i], verdicts[i]);
}

static int module_open(const HandlerConfig *config, Handler **ret, char **ret_error) {
        _cleanup_free_ Handler *handler = NULL;
        _cleanup_free_ char *error = NULL;
        _cleanup_strv_ char **options = NULL;
        char text[4096] = "";
        int r;

        if (!config->module_path)
                return handler_refuse(ret_error, -EINVAL,
                        "Path= is missing: it names the plug-in of Handler=module");

        r = split_words(config->module_options ?: "", &options);
        if (r < 0)
                return handler_refuse(
                        ret_error, r, "Options=%s: unbalanced quotes", config->module_options);

        handler = calloc(1, sizeof(*handler));
        if (!handler)
                return -ENOMEM;

        r = module_file_load(config->module_path, &handler->module, &error);
        if (r < 0)
                return handler_refuse(ret_error, r, "Path=%s: %s", config->module_path,
                        error ?: "not enough memory");

        if (handler->module->open) {
                static const char *const no_options[] = { NULL };

                if (handler->module->open(options ? (const char *const *) options : no_options,
                            &handler->state, text, sizeof(text)) != 0) {
                        text[sizeof(text) - 1] = '\0';
                        return handler_refuse(ret_error, -EINVAL, "Options=%s: %s",
                                config->module_options ?: "",
                                text[0] ? text : "the plug-in refuses them");
                }
        }

        *ret = TAKE_PTR(handler);
        return 0;
}

static void module_close(Handler *handler) {
        if (handler->module->close)
                handler->module->close(handler->state);
        free(handler);
}

const HandlerVTable module_vtable = {
        .name = "module",
        .section = "Module",
        .takes_several = true,
        .takes_fd = false,
        .open = module_open,
        .close = module_close,
        .run = module_run,
        .run_batch = module_run_batch,
};
