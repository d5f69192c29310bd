/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdlib.h>
#include <string.h>

#include "handler/command-batch.h"
#include "util/fd.h"

size_t batch_input_size(Attempt *const *attempts, size_t n) {
        size_t size = 0;

        for (size_t i = 0; i < n; i++)
                size += netstring_size(attempts[i]->payload_size);
        return size;
}

/* Gathers small pieces, so that a batch of small payloads is one write. */
typedef struct Gatherer {
        int fd;
        char *buffer;
        size_t room, size;
} Gatherer;

static int gatherer_flush(Gatherer *g) {
        size_t size = g->size;

        g->size = 0;
        return fd_write_all(g->fd, g->buffer, size);
}

static int gatherer_write(Gatherer *g, const void *data, size_t size) {
        int r;

        if (size > g->room - g->size) {
                r = gatherer_flush(g);
                if (r < 0)
                        return r;
        }
        if (size > g->room)
                return fd_write_all(g->fd, data, size);
        if (size > 0)
                memcpy(g->buffer + g->size, data, size);
        g->size += size;
        return 0;
}

int batch_input_write(
        Attempt *const *attempts, size_t n, int fd, char *buffer, size_t buffer_size) {
        Gatherer g = { .fd = fd, .buffer = buffer, .room = buffer_size };
        char head[NETSTRING_HEAD_MAX];
        int r;

        for (size_t i = 0; i < n; i++) {
                r = gatherer_write(&g, head, netstring_head(attempts[i]->payload_size, head));
                if (r >= 0)
                        r = gatherer_write(&g, attempts[i]->payload, attempts[i]->payload_size);
                if (r >= 0)
                        r = gatherer_write(&g, ",", 1);
                if (r < 0)
                        return r;
        }
        return gatherer_flush(&g);
}

void batch_reply_init(BatchReply *reply, Attempt *const *attempts, size_t n, uint64_t output_max) {
        *reply = (BatchReply){ .attempts = attempts, .n_attempts = n };
        netstring_reader_init(&reply->reader, (size_t) output_max);
        reply->reader.marks = true;
}

void batch_reply_done(BatchReply *reply) {
        netstring_reader_done(&reply->reader);
}

/* The next job has its result. */
static void take_result(BatchReply *reply) {
        Attempt *attempt = reply->attempts[reply->n_results++];
        bool failed = reply->reader.marked;
        _cleanup_free_ uint8_t *content = NULL;
        size_t size;

        content = netstring_reader_take(&reply->reader, &size);
        if (failed) {
                for (size_t i = 0; i < size; i++)
                        if (content[i] == '\0')
                                content[i] = '?';
                attempt_fail(attempt, OUTCOME_FAILURE, "%s", (const char *) content);
                return;
        }
        attempt->outcome = OUTCOME_SUCCESS;
        if (size > 0)
                attempt_give_output(attempt, TAKE_PTR(content), size);
}

int batch_reply_feed(BatchReply *reply, const void *data, size_t size) {
        const uint8_t *rest = data;

        while (size > 0 && reply->error == 0) {
                size_t used = 0;
                int r;

                if (reply->n_results == reply->n_attempts)
                        return reply->error = -E2BIG;
                r = netstring_reader_feed(&reply->reader, rest, size, &used);
                if (r < 0)
                        return reply->error = r;
                if (r > 0)
                        take_result(reply);
                rest += used;
                size -= used;
        }
        return reply->error;
}

int batch_reply_end(BatchReply *reply) {
        if (reply->error == 0)
                reply->error = netstring_reader_end(&reply->reader);
        if (reply->error < 0)
                return reply->error;

        for (size_t i = reply->n_results; i < reply->n_attempts; i++)
                attempt_fail(reply->attempts[i], OUTCOME_FAILURE,
                        "the command gave no result for this job: of a batch of %zu it answered "
                        "the first %zu",
                        reply->n_attempts, reply->n_results);
        return 0;
}

const char *batch_reply_fault(const BatchReply *reply) {
        switch (reply->error) {
        case -E2BIG:
                return "the command gave more results than its batch has jobs";
        case -EFBIG:
                return "the command gave a result that is longer than OutputMax= allows";
        case -EPIPE:
                return "the command's output ends in the middle of a netstring";
        case -ENOMEM:
                return "not enough memory for the output";
        default:
                return "the command's output is not one netstring per job";
        }
}
