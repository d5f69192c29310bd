/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The balance of a chunk starts at BIAS. Each output that is let go takes one off. The worker, when
 * the chunk is full, takes off BIAS - (outputs that it put in). So the balance is zero exactly when
 * the chunk is full and all outputs are gone, in whichever order that happens. Both sides use
 * acquire-release, so that whoever frees it has seen all writes of the other. */

#include <stdlib.h>

#include "engine/output.h"
#include "util/macro.h"
#include "util/mutex.h"

#define BIAS (UINT32_C(1) << 30)

struct OutputChunk {
        _Atomic uint32_t balance;
        uint8_t data[] __attribute__((aligned(16)));
};

static OutputChunk *chunk_of(void *output) {
        return (OutputChunk *) ((uintptr_t) output & ~(uintptr_t) (OUTPUT_CHUNK_SIZE - 1));
}

void output_stock_init(OutputStock *stock) {
        *stock = (OutputStock){};
        (void) pthread_mutex_init(&stock->lock, NULL);
}

void output_stock_done(OutputStock *stock) {
        for (size_t i = 0; i < stock->n_chunks; i++)
                free(stock->chunks[i]);
        (void) pthread_mutex_destroy(&stock->lock);
}

static OutputChunk *stock_get(OutputStock *stock) {
        OutputChunk *chunk = NULL;

        mutex_lock(&stock->lock);
        if (stock->n_chunks > 0)
                chunk = stock->chunks[--stock->n_chunks];
        mutex_unlock(&stock->lock);

        if (!chunk)
                chunk = aligned_alloc(OUTPUT_CHUNK_SIZE, OUTPUT_CHUNK_SIZE);
        if (chunk)
                atomic_init(&chunk->balance, BIAS);
        return chunk;
}

static void stock_put(OutputStock *stock, OutputChunk *chunk) {
        mutex_lock(&stock->lock);
        if (stock->n_chunks < OUTPUT_STOCK_MAX)
                stock->chunks[stock->n_chunks++] = TAKE_PTR(chunk);
        mutex_unlock(&stock->lock);
        free(chunk);
}

static void chunk_take_off(OutputStock *stock, OutputChunk *chunk, uint32_t n) {
        if (atomic_fetch_sub_explicit(&chunk->balance, n, memory_order_acq_rel) == n)
                stock_put(stock, chunk);
}

static void writer_retire(OutputWriter *writer) {
        if (!writer->chunk)
                return;
        chunk_take_off(writer->stock, writer->chunk, BIAS - writer->n_outputs);
        writer->chunk = NULL;
        writer->left = 0;
}

bool output_writer_next(OutputWriter *writer) {
        writer_retire(writer);
        writer->chunk = stock_get(writer->stock);
        if (!writer->chunk)
                return false;
        writer->next = writer->chunk->data;
        writer->left = OUTPUT_CHUNK_SIZE - sizeof(OutputChunk);
        writer->n_outputs = 0;
        return true;
}

void output_writer_done(OutputWriter *writer) {
        writer_retire(writer);
}

void output_release(OutputStock *stock, void *output, uint32_t n) {
        chunk_take_off(stock, chunk_of(output), n);
}
