/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "test.h"

#include "core/netstring.h"
#include "core/random.h"
#include "util/macro.h"

#define CONTENTS_MAX 8

/* What a reader made of a stream, until it ended or went wrong. */
typedef struct Reading {
        uint8_t *contents[CONTENTS_MAX];
        size_t sizes[CONTENTS_MAX];
        size_t n_contents;
        int end;
} Reading;

static void reading_done(Reading *reading) {
        for (size_t i = 0; i < reading->n_contents; i++)
                free(reading->contents[i]);
}

/* The next piece is `first` bytes, then random ones follow; 0 = all pieces are random. Each is in
 * memory of its own, so that a sanitizer sees a read beyond it. */
static Reading read_pieces(
        const void *stream, size_t size, size_t max, size_t first, uint64_t random) {
        NetstringReader reader;
        Reading reading = {};
        int r = 0;

        netstring_reader_init(&reader, max);
        for (size_t done = 0; done < size && r >= 0;) {
                size_t n = MIN(first > 0 ? first : random_below(&random, 9), size - done);
                _cleanup_free_ uint8_t *piece = malloc(n + 1);

                memcpy(piece, (const uint8_t *) stream + done, n);
                done += n;
                first = 0;
                for (size_t used = 0, step = 0; r >= 0; used += step) {
                        r = netstring_reader_feed(&reader, piece + used, n - used, &step);
                        if (r <= 0)
                                break;
                        assert_true(reading.n_contents < CONTENTS_MAX);
                        reading.contents[reading.n_contents] =
                                netstring_reader_take(&reader, &reading.sizes[reading.n_contents]);
                        reading.n_contents++;
                }
        }
        reading.end = netstring_reader_end(&reader);
        if (r < 0) {
                /* A fault stays, whatever comes after it. */
                size_t used;

                assert_int_equal(reading.end, r);
                assert_int_equal(netstring_reader_feed(&reader, "0:,", 3, &used), r);
        }
        netstring_reader_done(&reader);
        return reading;
}

static void each_stream_reads_as_the_table_says_however_it_is_split(void **state) {
        static const struct {
                const char *stream;
                size_t max;
                const char *contents; /* each with a | after it */
                int end;
        } rows[] = {
                { "", 10, "", 0 },
                { "0:,", 10, "|", 0 },
                { "5:hello,", 10, "hello|", 0 },
                { "5:hello,", 5, "hello|", 0 },
                { "3:a,b,3:1:c,0:,1:,,", 3, "a,b|1:c||,|", 0 },
                { "12:hello, world,", 12, "hello, world|", 0 },
                { "0:,0:,0:,", 0, "|||", 0 },
                { "1:a,", SIZE_MAX, "a|", 0 },
                /* Half of one. */
                { "5", 10, "", -EPIPE },
                { "5:", 10, "", -EPIPE },
                { "0:", 10, "", -EPIPE },
                { "5:hell", 10, "", -EPIPE },
                { "5:hello", 10, "", -EPIPE },
                { "2:ab,5:hello", 10, "ab|", -EPIPE },
                { "18446744073709551615:", SIZE_MAX, "", -EPIPE },
                /* Something else. */
                { "hello", 10, "", -EBADMSG },
                { ":,", 10, "", -EBADMSG },
                { ",", 10, "", -EBADMSG },
                { " 1:a,", 10, "", -EBADMSG },
                { "1 :a,", 10, "", -EBADMSG },
                { "-1:a,", 10, "", -EBADMSG },
                { "+1:a,", 10, "", -EBADMSG },
                { "01:a,", 10, "", -EBADMSG },
                { "00:,", 10, "", -EBADMSG },
                { "0x1:a,", 10, "", -EBADMSG },
                { "1;a,", 10, "", -EBADMSG },
                { "1:a;", 10, "", -EBADMSG },
                { "1:ab,", 10, "", -EBADMSG },
                { "1:a,\n1:b,", 10, "a|", -EBADMSG },
                { "0:x", 10, "", -EBADMSG },
                /* Too long, and known to be at its last digit at the latest. */
                { "11:", 10, "", -EFBIG },
                { "11", 10, "", -EFBIG },
                { "100", 99, "", -EFBIG },
                { "9", 8, "", -EFBIG },
                { "1:a,", 0, "", -EFBIG },
                { "1:a,6:sixsix,", 5, "a|", -EFBIG },
                { "99999999999999999999999999999999999999:", 10, "", -EFBIG },
                { "18446744073709551616:", SIZE_MAX, "", -EFBIG },
                { "99999999999999999999:", SIZE_MAX, "", -EFBIG },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                for (uint64_t split = 0; split < 60; split++) {
                        size_t size = strlen(rows[i].stream);
                        Reading reading = read_pieces(rows[i].stream, size, rows[i].max,
                                split <= size ? split : 0, split);
                        char contents[64] = "";

                        for (size_t j = 0; j < reading.n_contents; j++) {
                                const char *content = (const char *) reading.contents[j];

                                assert_int_equal(strlen(content), reading.sizes[j]);
                                strcat(contents, content);
                                strcat(contents, "|");
                        }
                        assert_string_equal(contents, rows[i].contents);
                        assert_int_equal(reading.end, rows[i].end);
                        reading_done(&reading);
                }
}

static void sizes_are_those_that_are_written(void **state) {
        static const struct {
                size_t size;
                const char *head;
        } rows[] = {
                { 0, "0:" },
                { 9, "9:" },
                { 10, "10:" },
                { 1048576, "1048576:" },
                { SIZE_MAX, "18446744073709551615:" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                char head[NETSTRING_HEAD_MAX];
                size_t n = netstring_head(rows[i].size, head);

                assert_int_equal(n, strlen(rows[i].head));
                assert_memory_equal(head, rows[i].head, n);
                if (rows[i].size < SIZE_MAX)
                        assert_int_equal(netstring_size(rows[i].size), n + rows[i].size + 1);
        }
}

static void what_was_appended_is_read_back(void **state) {
        for (uint64_t seed = 0; seed < 2000; seed++) {
                uint64_t random = seed;
                size_t n = random_below(&random, CONTENTS_MAX + 1), sizes[CONTENTS_MAX], size = 0;
                _cleanup_free_ uint8_t *bytes = malloc(3000), *stream = NULL;
                uint8_t *end;
                Reading reading;

                for (size_t i = 0; i < 3000; i++)
                        bytes[i] = (uint8_t) random_next(&random);
                for (size_t i = 0; i < n; i++) {
                        sizes[i] = random_below(&random, random_below(&random, 4) ? 20 : 3000);
                        size += netstring_size(sizes[i]);
                }
                stream = malloc(size + 1);
                end = stream;
                for (size_t i = 0; i < n; i++)
                        end = netstring_append(end, sizes[i] > 0 ? bytes : NULL, sizes[i]);
                assert_ptr_equal(end, stream + size);

                reading = read_pieces(stream, size, 3000, seed % 2 ? size : 0, random);
                assert_int_equal(reading.end, 0);
                assert_int_equal(reading.n_contents, n);
                for (size_t i = 0; i < n; i++) {
                        assert_int_equal(reading.sizes[i], sizes[i]);
                        assert_memory_equal(reading.contents[i], bytes, sizes[i]);
                        assert_int_equal(reading.contents[i][sizes[i]], 0);
                }
                reading_done(&reading);
        }
}

static void memory_is_taken_for_what_has_come_not_for_what_is_announced(void **state) {
        static const char start[] = "1000000000000:hello";
        NetstringReader reader;
        uint8_t byte = 'x';
        size_t used;

        /* Nor for more than is announced. */
        netstring_reader_init(&reader, SIZE_MAX);
        assert_int_equal(netstring_reader_feed(&reader, "5:hell", 6, &used), 0);
        assert_int_equal(reader.allocated, 5);
        netstring_reader_done(&reader);

        netstring_reader_init(&reader, SIZE_MAX);
        assert_int_equal(netstring_reader_feed(&reader, start, strlen(start), &used), 0);
        assert_int_equal(used, strlen(start));
        for (size_t i = 5; i < 100000; i++) {
                assert_int_equal(netstring_reader_feed(&reader, &byte, 1, &used), 0);
                assert_true(reader.allocated <= MAX(2 * reader.size, (size_t) 256));
        }
        assert_int_equal(netstring_reader_end(&reader), -EPIPE);
        netstring_reader_done(&reader);
}

static void a_complete_one_that_nobody_took_is_half_a_stream(void **state) {
        NetstringReader reader;
        size_t used;

        netstring_reader_init(&reader, 10);
        assert_int_equal(netstring_reader_feed(&reader, "2:ab,rest", 9, &used), 1);
        assert_int_equal(used, 5);
        assert_int_equal(netstring_reader_end(&reader), -EPIPE);
        netstring_reader_done(&reader);
}

static void garbage_never_gets_past_the_bound(void **state) {
        static const char alphabet[] = "0123:,,a";

        for (uint64_t seed = 0; seed < 20000; seed++) {
                uint64_t random = seed;
                char stream[24];
                Reading reading;

                for (size_t i = 0; i < sizeof(stream); i++)
                        stream[i] = alphabet[random_below(&random, strlen(alphabet))];
                reading = read_pieces(stream, sizeof(stream), 12, 0, random);
                for (size_t i = 0; i < reading.n_contents; i++)
                        assert_in_range(reading.sizes[i], 0, 12);
                assert_true(reading.end == 0 || reading.end == -EPIPE || reading.end == -EBADMSG ||
                            reading.end == -EFBIG);
                reading_done(&reading);
        }
}

static void errors_have_names_of_their_own(void **state) {
        static const int errors[] = { -EBADMSG, -EFBIG, -EPIPE, -ENOMEM, -EIO };

        for (size_t i = 0; i < ELEMENTSOF(errors); i++)
                for (size_t j = 0; j < i; j++)
                        assert_string_not_equal(netstring_error_to_string(errors[i]),
                                netstring_error_to_string(errors[j]));
}

static void a_mark_ends_one_only_where_it_may(void **state) {
        NetstringReader reader;
        size_t used, size;

        for (int marks = 0; marks < 2; marks++) {
                netstring_reader_init(&reader, 10);
                reader.marks = marks;
                assert_int_equal(
                        netstring_reader_feed(&reader, "1:a!1:b,", 8, &used), marks ? 1 : -EBADMSG);
                if (marks) {
                        assert_int_equal(used, 4);
                        assert_true(reader.marked);
                        free(netstring_reader_take(&reader, &size));
                        assert_int_equal(netstring_reader_feed(&reader, "1:b,", 4, &used), 1);
                        assert_false(reader.marked);
                }
                netstring_reader_done(&reader);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_mark_ends_one_only_where_it_may),
                cmocka_unit_test(each_stream_reads_as_the_table_says_however_it_is_split),
                cmocka_unit_test(sizes_are_those_that_are_written),
                cmocka_unit_test(what_was_appended_is_read_back),
                cmocka_unit_test(memory_is_taken_for_what_has_come_not_for_what_is_announced),
                cmocka_unit_test(a_complete_one_that_nobody_took_is_half_a_stream),
                cmocka_unit_test(garbage_never_gets_past_the_bound),
                cmocka_unit_test(errors_have_names_of_their_own),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
