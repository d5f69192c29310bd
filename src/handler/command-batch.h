/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a command with Batch=netstring reads and writes.
 *
 * Its standard input is one netstring per job of the batch, the payload. Its standard output is one
 * per job in the same order: "5:hello," is the output of a job that has succeeded, "9:not found!"
 * says why one has failed. Who has nothing to say of the last ones leaves them out, and these have
 * failed then. What is no netstring, or one more than there are jobs, is a fault of the whole: then
 * nobody knows any more which result is whose. */

#include "core/netstring.h"
#include "handler/handler.h"

typedef struct BatchReply BatchReply;

/* The results of one batch, read as they come. */
struct BatchReply {
        NetstringReader reader;
        Attempt *const *attempts; /* borrowed */
        size_t n_attempts;
        size_t n_results; /* attempts that have their verdict */
        int error;        /* what is wrong with the reply, 0 = nothing yet */
};

/* How many bytes the batch is as standard input. */
size_t batch_input_size(Attempt *const *attempts, size_t n);

/* Writes it to an fd, by way of the buffer. 0 or -errno. */
int batch_input_write(Attempt *const *attempts, size_t n, int fd, char *buffer, size_t buffer_size);

void batch_reply_init(BatchReply *reply, Attempt *const *attempts, size_t n, uint64_t output_max);
void batch_reply_done(BatchReply *reply);

/* Takes what the command has written next. 0, or -errno that batch_reply_fault() explains; such a
 * fault is final. */
int batch_reply_feed(BatchReply *reply, const void *data, size_t size);

/* The command has ended well: the jobs that it has said nothing of have failed. 0 or as before. */
int batch_reply_end(BatchReply *reply);

const char *batch_reply_fault(const BatchReply *reply);
