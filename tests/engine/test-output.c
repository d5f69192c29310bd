/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "engine/output.h"
#include "util/macro.h"

#define WRITERS 3
#define OUTPUTS 20000

static void outputs_of_a_chunk_lie_side_by_side(void **state) {
        OutputWriter writer;
        OutputStock stock;
        uint8_t *a, *b, *c;

        output_stock_init(&stock);
        writer = (OutputWriter){ .stock = &stock };
        a = output_writer_alloc(&writer, 1);
        b = output_writer_alloc(&writer, 13);
        c = output_writer_alloc(&writer, OUTPUT_SHARED_MAX);
        assert_ptr_equal(b, a + 8);
        assert_ptr_equal(c, b + 16);
        assert_true(output_same_chunk(a, c));
        memset(c, 1, OUTPUT_SHARED_MAX);
        output_writer_done(&writer);
        output_release(&stock, a, 1);
        assert_int_equal(stock.n_chunks, 0);
        output_release(&stock, c, 2);
        assert_int_equal(stock.n_chunks, 1);
        output_stock_done(&stock);
}

/* Whoever makes the balance zero gives the chunk back: here it is the writer. */
static void a_chunk_that_is_read_before_it_is_full_stays_the_writers(void **state) {
        OutputWriter writer;
        OutputStock stock;

        output_stock_init(&stock);
        writer = (OutputWriter){ .stock = &stock };
        for (int i = 0; i < 10; i++)
                output_release(&stock, output_writer_alloc(&writer, 100), 1);
        assert_int_equal(stock.n_chunks, 0);
        output_writer_done(&writer);
        assert_int_equal(stock.n_chunks, 1);
        output_writer_done(&writer);
        assert_int_equal(stock.n_chunks, 1);
        output_stock_done(&stock);
}

static void chunks_are_used_again_and_only_so_many_are_kept(void **state) {
        enum { N = 2 * OUTPUT_STOCK_MAX };
        void *outputs[N];
        OutputWriter writer;
        OutputStock stock;

        output_stock_init(&stock);
        writer = (OutputWriter){ .stock = &stock };
        for (int i = 0; i < N; i++) {
                outputs[i] = output_writer_alloc(&writer, 8);
                output_writer_done(&writer);
        }
        for (int i = 0; i < N; i++)
                output_release(&stock, outputs[i], 1);
        assert_int_equal(stock.n_chunks, OUTPUT_STOCK_MAX);
        output_release(&stock, output_writer_alloc(&writer, 8), 1);
        assert_int_equal(stock.n_chunks, OUTPUT_STOCK_MAX - 1);
        output_writer_done(&writer);
        assert_int_equal(stock.n_chunks, OUTPUT_STOCK_MAX);
        output_stock_done(&stock);
}

typedef struct Writer {
        pthread_t thread;
        OutputWriter writer;
        void *_Atomic outputs[OUTPUTS]; /* NULL = not written yet */
} Writer;

static void *writer_main(void *userdata) {
        Writer *w = userdata;

        for (unsigned i = 0; i < OUTPUTS; i++) {
                size_t size = 8 + i % 600;
                void *output = output_writer_alloc(&w->writer, size);

                memset(output, (int) (i % 256), size);
                atomic_store_explicit(&w->outputs[i], output, memory_order_release);
        }
        output_writer_done(&w->writer);
        return NULL;
}

/* One thread lets go of what several write, singly and by chunk, as main does. */
static void chunks_are_freed_once_among_threads(void **state) {
        static Writer writers[WRITERS];
        OutputStock stock;

        output_stock_init(&stock);
        memset(writers, 0, sizeof(writers));
        for (unsigned k = 0; k < WRITERS; k++) {
                writers[k].writer.stock = &stock;
                assert_int_equal(
                        pthread_create(&writers[k].thread, NULL, writer_main, &writers[k]), 0);
        }
        for (unsigned k = 0; k < WRITERS; k++) {
                void *chunk = NULL;
                uint32_t n = 0;

                for (unsigned i = 0; i < OUTPUTS; i++) {
                        uint8_t *output;

                        while (!(output = atomic_load_explicit(
                                         &writers[k].outputs[i], memory_order_acquire)))
                                (void) sched_yield();
                        assert_int_equal(output[0], i % 256);
                        assert_int_equal(output[7 + i % 600], i % 256);
                        if (chunk && (!output_same_chunk(chunk, output) || n == 3)) {
                                output_release(&stock, chunk, n);
                                n = 0;
                        }
                        chunk = output;
                        n++;
                }
                output_release(&stock, chunk, n);
        }
        for (unsigned k = 0; k < WRITERS; k++)
                assert_int_equal(pthread_join(writers[k].thread, NULL), 0);
        assert_in_range(stock.n_chunks, 1, OUTPUT_STOCK_MAX);
        output_stock_done(&stock);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(outputs_of_a_chunk_lie_side_by_side),
                cmocka_unit_test(a_chunk_that_is_read_before_it_is_full_stays_the_writers),
                cmocka_unit_test(chunks_are_used_again_and_only_so_many_are_kept),
                cmocka_unit_test(chunks_are_freed_once_among_threads),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
