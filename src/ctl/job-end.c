/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/job-end.h"
#include "ctl/json.h"
#include "ctl/object.h"
#include "ctl/text.h"
#include "util/fd.h"

void job_end_done(JobEnd *end) {
        sd_bus_message_unref(end->reply);
}

/* The reply is taken over on success. `whole`: with state and error, as WaitJob has it. */
static int read_end(sd_bus_message **reply, bool whole, JobEnd *ret) {
        JobEnd end = { .state = "finished", .error = "" };
        int r = 0;

        if (whole)
                r = sd_bus_message_read(*reply, "s", &end.state);
        if (r >= 0)
                r = sd_bus_message_read(*reply, "s", &end.result);
        if (r >= 0)
                r = sd_bus_message_read_array(*reply, 'y', &end.output, &end.size);
        if (r >= 0 && whole)
                r = sd_bus_message_read(*reply, "s", &end.error);
        if (r < 0)
                return r;
        end.reply = TAKE_PTR(*reply);
        *ret = end;
        return 0;
}

int job_end_read(sd_bus_message *m, JobEnd *ret) {
        _cleanup_message_ sd_bus_message *reply = sd_bus_message_ref(m);

        return read_end(&reply, /* whole= */ true, ret);
}

bool job_end_is_cut(const JobEnd *end) {
        return strcmp(end->result, "succeeded") == 0 && end->size == 0 &&
               strncmp(end->error, "too large", strlen("too large")) == 0;
}

int job_get_result(Ctl *ctl, uint64_t id, JobEnd *ret) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_free_ char *path = job_path(id);
        int r;

        r = bus_new_call(ctl, path, JOB_INTERFACE, "GetResult", &m);
        if (r >= 0)
                r = bus_call(ctl, m, CALL_DEFAULT, &reply, "get the result of job %" PRIu64, id);
        if (r < 0)
                return r;
        r = read_end(&reply, /* whole= */ false, ret);
        return r < 0 ? failure(r, "read the result of job %" PRIu64, id) : 0;
}

int job_wait(Ctl *ctl, uint64_t id, usec_t timeout, JobEnd *ret) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        int r;

        r = bus_new_call(ctl, SLUICE_PATH, MANAGER_INTERFACE, "WaitJob", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "tt", id, timeout);
        if (r < 0)
                return failure(r, "wait for job %" PRIu64, id);
        r = bus_call(ctl, m, CALL_FOREVER, &reply, "wait for job %" PRIu64, id);
        if (r < 0)
                return r;
        r = read_end(&reply, /* whole= */ true, ret);
        if (r < 0)
                return failure(r, "wait for job %" PRIu64, id);
        return 0;
}

/* The error text: WaitJob has it as a string, GetResult in place of the output. */
static char *reason(const JobEnd *end) {
        _cleanup_free_ char *text = NULL;
        size_t length;
        char *clean;

        text = *end->error ? text_copy(end->error)
                           : text_format("%.*s", (int) end->size, (const char *) end->output);
        clean = text_clean(text, /* lines= */ true);
        length = strlen(clean);
        while (length > 0 && clean[length - 1] == '\n')
                clean[--length] = 0;
        return clean;
}

char *job_result_phrase(const char *result) {
        static const char *const passive[] = { "cancelled", "dropped", "refused", "lost" };

        for (size_t i = 0; i < ELEMENTSOF(passive); i++)
                if (strcmp(passive[i], result) == 0)
                        return text_format("was %s", result);
        return text_copy(strcmp(result, "timed-out") == 0 ? "timed out" : result);
}

int job_end_report(uint64_t id, const JobEnd *end) {
        _cleanup_free_ char *why = reason(end), *what = job_result_phrase(end->result);

        (void) fflush(stdout);
        fprintf(stderr, "Job %" PRIu64 " %s%s%s\n", id, what, *why ? ": " : ".", why);
        return EXIT_FAILURE;
}

int job_end_print(uint64_t id, const JobEnd *end) {
        int r;

        if (strcmp(end->result, "succeeded") != 0)
                return job_end_report(id, end);
        (void) fflush(stdout);
        r = fd_write_all(STDOUT_FILENO, end->output, end->size);
        return r < 0 ? failure(r, "write to standard output") : 0;
}

json_object *job_end_to_json(uint64_t id, const JobEnd *end) {
        json_object *object = json_object_new_object();
        bool succeeded = strcmp(end->result, "succeeded") == 0;

        json_add(object, "Id", json_object_new_uint64(id));
        json_add(object, "State", json_object_new_string(end->state));
        json_add(object, "Result", json_object_new_string(end->result));
        if (succeeded)
                json_add_bytes(object, "Output", end->output, end->size);
        else if (*end->result) {
                _cleanup_free_ char *why = reason(end);

                json_add(object, "Error", json_object_new_string(why));
        }
        return object;
}
