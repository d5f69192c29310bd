/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/map-input.h"
#include "ctl/text.h"
#include "test.h"
#include "util/fd.h"

#define PIECE_MAX 8

/* Puts in `size` bytes, as many as there is room for at a time. */
static void put(Splitter *s, const char *bytes, size_t size) {
        while (size > 0) {
                size_t room;
                char *to = splitter_room(s, &room);

                room = MIN(room, size);
                memcpy(to, bytes, room);
                splitter_put(s, room);
                bytes += room;
                size -= room;
        }
}

/* Takes all pieces that there are; each is added to `log` as "<piece>", one too long as "!size". */
static InputVerdict take_all(Splitter *s, char **log) {
        for (;;) {
                char *before = *log;
                const char *piece;
                size_t size;
                InputVerdict verdict = splitter_next(s, &piece, &size);

                if (verdict == INPUT_WAIT || verdict == INPUT_END)
                        return verdict;
                *log = verdict == INPUT_FAULT ? text_format("%s!%zu", before, size)
                                              : text_format("%s<%.*s>", before, (int) size, piece);
                free(before);
        }
}

static void pieces_do_not_depend_on_how_the_bytes_come(void **state) {
        static const struct {
                int separator;
                const char *bytes, *expected;
        } rows[] = {
                { '\n', "", "" },
                { '\n', "one", "<one>" },
                { '\n', "one\n", "<one>" },
                { '\n', "one\ntwo", "<one><two>" },
                { '\n', "\n\none\n\n", "<><><one><>" },
                { '\n', "12345678\n", "<12345678>" },
                { '\n', "123456789\nb\n", "!9<b>" },
                { '\n', "123456789", "!9" },
                { '\n', "1234567890123456789012345\n\n", "!25<>" },
                { 'x', "a\nbxcx", "<a\nb><c>" },
                { SPLITTER_WHOLE, "", "<>" },
                { SPLITTER_WHOLE, "a\nb\n", "<a\nb\n>" },
                { SPLITTER_WHOLE, "123456789\n", "!10" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                for (size_t step = 1; step <= strlen(rows[i].bytes) + 1; step++) {
                        _cleanup_free_ char *log = text_copy("");
                        size_t size = strlen(rows[i].bytes);
                        Splitter s;

                        splitter_init(&s, rows[i].separator, PIECE_MAX);
                        for (size_t done = 0; done < size; done += step) {
                                put(&s, rows[i].bytes + done, MIN(step, size - done));
                                assert_int_equal(take_all(&s, &log), INPUT_WAIT);
                        }
                        splitter_end(&s);
                        assert_int_equal(take_all(&s, &log), INPUT_END);
                        assert_string_equal(log, rows[i].expected);
                        splitter_done(&s);
                }
}

static void endless_piece_takes_no_more_room_than_one_that_fits(void **state) {
        static char zeros[1024 * 1024];
        _cleanup_free_ char *log = text_copy("");
        Splitter s;

        splitter_init(&s, '\n', PIECE_MAX);
        for (size_t i = 0; i < 64; i++) {
                for (size_t done = 0; done < sizeof(zeros); done += 4096) {
                        put(&s, zeros, 4096);
                        assert_int_equal(take_all(&s, &log), INPUT_WAIT);
                }
        }
        assert_true(s.allocated <= 256 * 1024);
        put(&s, "\nok\n", 4);
        assert_int_equal(take_all(&s, &log), INPUT_WAIT);
        assert_string_equal(log, "!67108864<ok>");
        splitter_done(&s);
}

static void nul_is_a_separator_and_a_byte_like_any_other(void **state) {
        _cleanup_free_ char *log = text_copy("");
        const char *piece;
        size_t size;
        Splitter s;

        splitter_init(&s, 0, PIECE_MAX);
        put(&s, "a\nb\0c", 5);
        splitter_end(&s);
        assert_int_equal(take_all(&s, &log), INPUT_END);
        assert_string_equal(log, "<a\nb><c>");
        splitter_done(&s);

        splitter_init(&s, '\n', PIECE_MAX);
        put(&s, "a\0b\n", 4);
        assert_int_equal(splitter_next(&s, &piece, &size), INPUT_PIECE);
        assert_int_equal(size, 3);
        assert_memory_equal(piece, "a\0b", 3);
        splitter_done(&s);
}

static void write_file(const char *path, const char *content) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, content, strlen(content)), 0);
}

static void files_are_pieces_and_those_that_cannot_be_read_are_named(void **state) {
        char folder[] = "/tmp/test-map-input.XXXXXX";
        _cleanup_free_ char *a = NULL, *b = NULL, *missing = NULL, *fifo = NULL, *text = NULL;
        _cleanup_close_ int writer = -EBADF;
        const char *piece;
        Input input;
        size_t size;

        assert_non_null(mkdtemp(folder));
        a = text_format("%s/a", folder);
        b = text_format("%s/b", folder);
        missing = text_format("%s/missing", folder);
        fifo = text_format("%s/fifo", folder);
        write_file(a, "a\na\n");
        write_file(b, "far too long");
        assert_int_equal(mkfifo(fifo, 0600), 0);

        char *files[] = { a, missing, folder, b, fifo, NULL };

        input_init(&input, files, '\n', PIECE_MAX);
        assert_int_equal(input_next(&input, &piece, &size, &text), INPUT_PIECE);
        assert_int_equal(size, 4);
        for (uint64_t i = 1; i <= 3; i++) {
                static const char *const reasons[] = { NULL, "No such file or directory",
                        "Is a directory", "larger than PayloadMax, which is 8 bytes" };
                _cleanup_free_ char *name = input_name(&input, i);

                assert_int_equal(input_next(&input, &piece, &size, &text), INPUT_FAULT);
                assert_string_equal(text, reasons[i]);
                assert_string_equal(name, files[i]);
                free(TAKE_PTR(text));
        }

        /* A fifo is waited for, before there is a writer and after. */
        assert_int_equal(input_next(&input, &piece, &size, &text), INPUT_WAIT);
        writer = open(fifo, O_WRONLY | O_CLOEXEC);
        assert_true(writer >= 0);
        assert_int_equal(input_next(&input, &piece, &size, &text), INPUT_WAIT);
        assert_int_equal(fd_write_all(writer, "late", 4), 0);
        assert_int_equal(input_next(&input, &piece, &size, &text), INPUT_WAIT);
        writer = fd_close(writer);
        assert_int_equal(input_next(&input, &piece, &size, &text), INPUT_PIECE);
        assert_int_equal(size, 4);
        assert_int_equal(input_next(&input, &piece, &size, &text), INPUT_END);
        assert_int_equal(input_next(&input, &piece, &size, &text), INPUT_END);
        input_done(&input);

        (void) unlink(a);
        (void) unlink(b);
        (void) unlink(fifo);
        (void) rmdir(folder);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(pieces_do_not_depend_on_how_the_bytes_come),
                cmocka_unit_test(endless_piece_takes_no_more_room_than_one_that_fits),
                cmocka_unit_test(nul_is_a_separator_and_a_byte_like_any_other),
                cmocka_unit_test(files_are_pieces_and_those_that_cannot_be_read_are_named),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
