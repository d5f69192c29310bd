/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/reply.h"

#define MAX_CONTENT 10

/* Reads the text in pieces of this size; the verdict is that of the last piece, or of the first one
 * that ends it. */
static int read_in_pieces(ReplyReader *reader, const char *text, size_t size, size_t piece) {
        int r = 0;

        for (size_t i = 0; i < size; i += piece) {
                size_t n = MIN(piece, size - i), room;
                char *to = reply_reader_room(reader, &room);

                assert_non_null(to);
                assert_true(room >= n);
                memcpy(to, text + i, n);
                r = reply_reader_add(reader, n);
                if (r < 0)
                        return r;
                assert_true(r == 0 || i + n == size);
        }
        return r;
}

static const struct Row {
        Framing framing;
        const char *text;
        int whole;  /* the verdict on all of it at once */
        int pieces; /* the one on single bytes, where that is another one */
        const char *content;
        bool failed;
} rows[] = {
        { FRAMING_NETSTRING, "+5:hello,", 1, 1, "hello" },
        { FRAMING_NETSTRING, "-9:not found,", 1, 1, "not found", true },
        { FRAMING_NETSTRING, "+0:,", 1, 1, "" },
        { FRAMING_NETSTRING, "-0:,", 1, 1, "", true },
        { FRAMING_NETSTRING, "+10:0123456789,", 1, 1, "0123456789" },
        { FRAMING_NETSTRING, "+3:,:,,", 1, 1, ",:," },
        { FRAMING_NETSTRING, "", 0, 0 },
        { FRAMING_NETSTRING, "+", 0, 0 },
        { FRAMING_NETSTRING, "+1", 0, 0 },
        { FRAMING_NETSTRING, "+5:hell", 0, 0 },
        { FRAMING_NETSTRING, "+5:hello", 0, 0 },
        { FRAMING_NETSTRING, "+11", -EFBIG, -EFBIG },
        { FRAMING_NETSTRING, "+18446744073709551617:", -EFBIG, -EFBIG },
        { FRAMING_NETSTRING, "5:hello,", -EBADMSG, -EBADMSG },
        { FRAMING_NETSTRING, "hello", -EBADMSG, -EBADMSG },
        { FRAMING_NETSTRING, "+:", -EBADMSG, -EBADMSG },
        { FRAMING_NETSTRING, "+05:hello,", -EBADMSG, -EBADMSG },
        { FRAMING_NETSTRING, "+ 5:hello,", -EBADMSG, -EBADMSG },
        { FRAMING_NETSTRING, "+5:hello!", -EBADMSG, -EBADMSG },
        { FRAMING_NETSTRING, "+5:hello\n", -EBADMSG, -EBADMSG },
        { FRAMING_NETSTRING, "+4:hello,", -EBADMSG, -EBADMSG },
        { FRAMING_NETSTRING, "+5:hello,\n", -E2BIG, -E2BIG },
        { FRAMING_NETSTRING, "+1:a,+1:b,", -E2BIG, -E2BIG },
        { FRAMING_LINE, "hello\n", 1, 1, "hello" },
        { FRAMING_LINE, "\n", 1, 1, "" },
        { FRAMING_LINE, "0123456789\n", 1, 1, "0123456789" },
        { FRAMING_LINE, "+5:hello,\n", 1, 1, "+5:hello," },
        { FRAMING_LINE, "a\r\n", 1, 1, "a\r" },
        { FRAMING_LINE, "", 0, 0 },
        { FRAMING_LINE, "hello", 0, 0 },
        { FRAMING_LINE, "0123456789", 0, 0 },
        { FRAMING_LINE, "01234567890", -EFBIG, -EFBIG },
        { FRAMING_LINE, "01234567890\n", -EFBIG, -EFBIG },
        { FRAMING_LINE, "a\nb", -E2BIG, -E2BIG },
        { FRAMING_LINE, "\n\n", -E2BIG, -E2BIG },
};

static void a_reply_is_complete_cut_short_or_at_fault(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const struct Row *row = &rows[i];
                size_t size = strlen(row->text);
                ReplyReader reader;

                print_message("%s\n", row->text);
                reply_reader_init(&reader, row->framing, MAX_CONTENT);
                for (size_t piece = 1; piece <= MAX(size, (size_t) 1); piece++) {
                        int r;

                        reply_reader_reset(&reader);
                        /* A surplus that comes later is not the reader's to find. */
                        if (row->whole == -E2BIG && piece < size)
                                continue;
                        r = read_in_pieces(&reader, row->text, size, piece);
                        assert_int_equal(r, piece == 1 ? row->pieces : row->whole);
                        if (r != 1)
                                continue;
                        assert_int_equal(reader.failed, row->failed);
                        assert_int_equal(reader.content, strlen(row->content));
                        assert_memory_equal(
                                reply_reader_content(&reader), row->content, reader.content);
                }
                reply_reader_done(&reader);
        }
}

static void a_surplus_of_any_size_is_found_with_the_reply(void **state) {
        static const char *const texts[] = { "+3:one,+3:two,", "one\ntwo\n" };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                size_t end = i == 0 ? 7 : 4;

                for (size_t n = 0; n <= strlen(texts[i]); n++) {
                        ReplyReader reader;

                        reply_reader_init(&reader, (Framing) i, MAX_CONTENT);
                        assert_int_equal(read_in_pieces(&reader, texts[i], n, MAX(n, (size_t) 1)),
                                n < end    ? 0
                                : n == end ? 1
                                           : -E2BIG);
                        reply_reader_done(&reader);
                }
        }
}

/* Nothing is believed of what is announced: memory grows with what has come. */
static void memory_grows_with_what_has_come(void **state) {
        ReplyReader reader;
        size_t room = 0, n = 0;
        char *to;

        reply_reader_init(&reader, FRAMING_NETSTRING, (size_t) 1 << 30);
        assert_int_equal(read_in_pieces(&reader, "+1000000000:", 12, 12), 0);
        assert_true(reader.room <= 64 * 1024);
        for (n = 12; n < 1000000; n += room) {
                to = reply_reader_room(&reader, &room);
                memset(to, 'x', room);
                assert_int_equal(reply_reader_add(&reader, room), 0);
                assert_true(reader.room <= MAX(2 * n, (size_t) 64 * 1024));
        }
        reply_reader_reset(&reader);
        assert_int_equal(reader.room, 0);
        reply_reader_done(&reader);
}

static void a_big_content_is_handed_over(void **state) {
        static char text[300000];
        ReplyReader reader;
        char *content;

        memset(text, 'x', sizeof(text));
        text[sizeof(text) - 1] = '\n';
        reply_reader_init(&reader, FRAMING_LINE, sizeof(text));
        assert_int_equal(read_in_pieces(&reader, text, sizeof(text), 4096), 1);
        assert_int_equal(reader.content, sizeof(text) - 1);
        content = reply_reader_take(&reader);
        assert_memory_equal(content, text, sizeof(text) - 1);
        free(content);

        /* And the next one follows. */
        reply_reader_reset(&reader);
        assert_int_equal(read_in_pieces(&reader, "next\n", 5, 5), 1);
        assert_memory_equal(reply_reader_content(&reader), "next", 4);
        reply_reader_done(&reader);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_reply_is_complete_cut_short_or_at_fault),
                cmocka_unit_test(a_surplus_of_any_size_is_found_with_the_reply),
                cmocka_unit_test(memory_grows_with_what_has_come),
                cmocka_unit_test(a_big_content_is_handed_over),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
