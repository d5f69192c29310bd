/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "test.h"
#include "util/fd.h"

#define BIG ((size_t) 300000)

static int memory_file(const char *content) {
        int fd = memfd_create("test", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, content, strlen(content)), 0);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        return fd;
}

static void closing_keeps_errno(void **state) {
        int fd = memory_file("");

        errno = EXDEV;
        assert_int_equal(fd_close(fd), -EBADF);
        assert_int_equal(errno, EXDEV);
        assert_int_equal(fcntl(fd, F_GETFD), -1);

        errno = EXDEV;
        assert_int_equal(fd_close(-EBADF), -EBADF);
        assert_int_equal(errno, EXDEV);
}

static void nonblock_is_switched_on_and_off(void **state) {
        _cleanup_close_ int fd = memory_file("");

        assert_int_equal(fd_nonblock(fd, 1), 0);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_int_equal(fd_nonblock(fd, 0), 0);
        assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_int_equal(fd_nonblock(-EBADF, 1), -EBADF);
}

static void a_file_is_read_whole_up_to_its_bound(void **state) {
        static const struct {
                size_t max;
                int r;
        } rows[] = { { 6, 0 }, { 7, 0 }, { SIZE_MAX, 0 }, { 5, -EFBIG }, { 0, -EFBIG } };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_close_ int fd = memory_file("sluice");
                _cleanup_free_ void *data = NULL;
                size_t size = 4711;

                assert_int_equal(fd_read_all(fd, rows[i].max, &data, &size), rows[i].r);
                if (rows[i].r < 0) {
                        assert_null(data);
                        assert_int_equal(size, 4711);
                        continue;
                }
                assert_int_equal(size, 6);
                assert_memory_equal(data, "sluice", 7);
        }
}

static void an_empty_file_has_an_empty_content(void **state) {
        _cleanup_close_ int fd = memory_file("");
        _cleanup_free_ void *data = NULL;
        size_t size;

        assert_int_equal(fd_read_all(fd, 0, &data, &size), 0);
        assert_int_equal(size, 0);
        assert_string_equal(data, "");
}

static void reading_from_the_start_leaves_the_offset_alone(void **state) {
        _cleanup_close_ int fd = memory_file("sluice");

        assert_int_equal(lseek(fd, 3, SEEK_SET), 3);
        for (int i = 0; i < 2; i++) {
                _cleanup_free_ void *data = NULL;
                size_t size;

                assert_int_equal(fd_pread_all(fd, 100, &data, &size), 0);
                assert_int_equal(size, 6);
                assert_string_equal(data, "sluice");
        }
        assert_int_equal(lseek(fd, 0, SEEK_CUR), 3);
}

static void a_pipe_has_no_start(void **state) {
        _cleanup_close_ int reader = -EBADF, writer = -EBADF;
        _cleanup_free_ void *data = NULL;
        size_t size;
        int fds[2];

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        reader = fds[0];
        writer = fds[1];
        assert_int_equal(fd_pread_all(reader, 100, &data, &size), -ESPIPE);
}

static void *write_big(void *userdata) {
        _cleanup_close_ int fd = *(int *) userdata;
        _cleanup_free_ char *data = malloc(BIG);

        memset(data, 'x', BIG);
        return (void *) (intptr_t) fd_write_all(fd, data, BIG);
}

static void what_does_not_fit_a_pipe_at_once_gets_through(void **state) {
        for (int nonblock = 0; nonblock < 2; nonblock++) {
                _cleanup_close_ int reader = -EBADF;
                _cleanup_free_ char *data = NULL;
                pthread_t thread;
                void *result;
                size_t size;
                int fds[2];

                assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
                reader = fds[0];
                assert_int_equal(fd_nonblock(fds[0], nonblock), 0);
                assert_int_equal(fd_nonblock(fds[1], nonblock), 0);

                assert_int_equal(pthread_create(&thread, NULL, write_big, &fds[1]), 0);
                assert_int_equal(fd_read_all(reader, BIG, (void **) &data, &size), 0);
                assert_int_equal(pthread_join(thread, &result), 0);

                assert_int_equal((intptr_t) result, 0);
                assert_int_equal(size, BIG);
                for (size_t i = 0; i < BIG; i++)
                        assert_int_equal(data[i], 'x');
        }
}

static void errors_of_the_kernel_are_returned(void **state) {
        _cleanup_free_ void *data = NULL;
        size_t size;

        assert_int_equal(fd_write_all(-EBADF, "x", 1), -EBADF);
        assert_int_equal(fd_read_all(-EBADF, 1, &data, &size), -EBADF);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(closing_keeps_errno),
                cmocka_unit_test(nonblock_is_switched_on_and_off),
                cmocka_unit_test(a_file_is_read_whole_up_to_its_bound),
                cmocka_unit_test(an_empty_file_has_an_empty_content),
                cmocka_unit_test(reading_from_the_start_leaves_the_offset_alone),
                cmocka_unit_test(a_pipe_has_no_start),
                cmocka_unit_test(what_does_not_fit_a_pipe_at_once_gets_through),
                cmocka_unit_test(errors_of_the_kernel_are_returned),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
