/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Output chunks: where workers put the small outputs of bulk calls, so that there is no malloc()
 * and no free() per job. A worker fills a chunk from the front; the main thread counts the outputs
 * of it that it has let go; whoever makes the balance zero frees it. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macro.h"

typedef struct OutputChunk OutputChunk;
typedef struct OutputStock OutputStock;
typedef struct OutputWriter OutputWriter;

#define OUTPUT_CHUNK_SIZE ((size_t) 64 * 1024)
#define OUTPUT_SHARED_MAX ((size_t) 2048) /* larger outputs have memory of their own */
#define OUTPUT_STOCK_MAX 8

/* Free chunks kept for reuse: mapping new ones costs a page fault per 4 KiB. */
struct OutputStock {
        pthread_mutex_t lock; /* guards all; a leaf: nothing is taken under it */
        OutputChunk *chunks[OUTPUT_STOCK_MAX];
        size_t n_chunks;
};

/* Of one worker thread. */
struct OutputWriter {
        OutputStock *stock; /* borrowed */
        OutputChunk *chunk; /* being filled; NULL = none */
        uint8_t *next;      /* where the next output goes, … */
        size_t left;        /* … and how much there is room for; 0 without a chunk */
        uint32_t n_outputs; /* in this chunk */
};

void output_stock_init(OutputStock *stock);
void output_stock_done(OutputStock *stock);

/* Begins another chunk. False if there is no memory for one. */
bool output_writer_next(OutputWriter *writer);

/* Memory for one output of at most OUTPUT_SHARED_MAX bytes, aligned to 8; NULL if there is none. */
static inline void *output_writer_alloc(OutputWriter *writer, size_t size) {
        void *output;

        size = (size + 7) & ~(size_t) 7;
        if (unlikely(size > writer->left) && !output_writer_next(writer))
                return NULL;
        output = writer->next;
        writer->next += size;
        writer->left -= size;
        writer->n_outputs++;
        return output;
}

void output_writer_done(OutputWriter *writer);

/* Lets go of n outputs that lie in the same chunk as `output`. */
void output_release(OutputStock *stock, void *output, uint32_t n);

/* Do the two lie in the same chunk? */
static inline int output_same_chunk(const void *a, const void *b) {
        return ((uintptr_t) a & ~(OUTPUT_CHUNK_SIZE - 1)) ==
               ((uintptr_t) b & ~(OUTPUT_CHUNK_SIZE - 1));
}
