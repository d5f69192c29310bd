/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "test.h"

#include "engine/pressure.h"
#include "util/fd.h"

#define S USEC_PER_SEC

/* A file that reads as the kernel's does, and takes any trigger. It can be opened by `path`. */
typedef struct FakeKernel {
        int fd;
        char path[64];
} FakeKernel;

static void fake_kernel_tell(FakeKernel *kernel, const char *text) {
        assert_int_equal(ftruncate(kernel->fd, 0), 0);
        assert_int_equal(pwrite(kernel->fd, text, strlen(text), 0), strlen(text));
}

static void fake_kernel_tell_total(FakeKernel *kernel, usec_t total) {
        char text[256];

        (void) snprintf(text, sizeof(text),
                "some avg10=1.37 avg60=0.72 avg300=0.28 total=%llu\n"
                "full avg10=0.65 avg60=0.36 avg300=0.14 total=%llu\n",
                (unsigned long long) total, (unsigned long long) total / 2);
        fake_kernel_tell(kernel, text);
}

static FakeKernel fake_kernel(void) {
        FakeKernel kernel = { .fd = memfd_create("pressure", MFD_CLOEXEC | MFD_ALLOW_SEALING) };

        assert_true(kernel.fd >= 0);
        (void) snprintf(kernel.path, sizeof(kernel.path), "/proc/self/fd/%d", kernel.fd);
        return kernel;
}

static void the_kernel_takes_the_trigger_and_it_can_be_polled(void **state) {
        for (PressureResource i = 0; i < _PRESSURE_RESOURCE_MAX; i++) {
                _cleanup_close_ int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
                struct epoll_event event = { .events = EPOLLPRI };
                _cleanup_free_ char *error = NULL;
                Pressure pressure;

                if (pressure_init(&pressure, i, NULL, &error) < 0) {
                        assert_non_null(strstr(error, pressure_resource_path(i)));
                        print_message("The kernel refuses: %s\n", error);
                        skip();
                }
                assert_true(fcntl(pressure.fd, F_GETFD) & FD_CLOEXEC);
                assert_false(pressure_is_stalled(&pressure, 0));
                assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pressure.fd, &event), 0);
                /* The event itself depends on the host; but it must not be an error. */
                if (epoll_wait(epoll_fd, &event, 1, 0) == 1)
                        assert_int_equal(event.events, EPOLLPRI);
                pressure_report(&pressure, S);
                pressure_done(&pressure);
                assert_int_equal(pressure.fd, -EBADF);
        }
}

static void the_trigger_is_for_the_window_that_everybody_may_use(void **state) {
        static const char *const triggers[_PRESSURE_RESOURCE_MAX] = {
                [PRESSURE_CPU] = "some 1000000 2000000",
                [PRESSURE_MEMORY] = "some 200000 2000000",
        };

        for (PressureResource i = 0; i < _PRESSURE_RESOURCE_MAX; i++) {
                FakeKernel kernel = fake_kernel();
                _cleanup_free_ char *error = NULL;
                Pressure pressure;
                char text[32] = "";

                fake_kernel_tell_total(&kernel, 4711);
                assert_int_equal(pressure_init(&pressure, i, kernel.path, &error), 0);
                assert_null(error);
                assert_int_equal(pread(kernel.fd, text, sizeof(text) - 1, 0), sizeof(text) - 1);
                /* With its NUL byte. */
                assert_string_equal(text, triggers[i]);
                pressure_done(&pressure);
                fd_close(kernel.fd);
        }
}

static void a_stall_is_over_when_no_further_event_comes(void **state) {
        /* Events with what the file says then; a total of 0 = it cannot be read. */
        static const struct {
                usec_t at, total, stalled_until;
        } rows[] = {
                /* The kernel's false first event, that of little growth. */
                { 1 * S, 900 * S, 0 },
                { 2 * S, 901 * S - 1, 0 },
                { 3 * S, 902 * S - 1, 8 * S },
                { 5 * S, 904 * S, 10 * S },
                /* It has begun anew. */
                { 30 * S, 910 * S, 35 * S },
                { 40 * S, 0, 45 * S },
                { 50 * S, 911 * S, 55 * S },
        };
        FakeKernel kernel = fake_kernel();
        _cleanup_free_ char *error = NULL;
        Pressure pressure;

        fake_kernel_tell_total(&kernel, 900 * S);
        assert_int_equal(pressure_init(&pressure, PRESSURE_CPU, kernel.path, &error), 0);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                assert_int_equal(pressure_is_stalled(&pressure, rows[i].at),
                        i > 0 && rows[i - 1].stalled_until > rows[i].at);
                if (rows[i].total > 0)
                        fake_kernel_tell_total(&kernel, rows[i].total);
                else
                        fake_kernel_tell(&kernel, "");
                pressure_report(&pressure, rows[i].at);
                if (rows[i].stalled_until == 0) {
                        assert_false(pressure_is_stalled(&pressure, rows[i].at));
                        continue;
                }
                assert_true(pressure_is_stalled(&pressure, rows[i].stalled_until - 1));
                assert_false(pressure_is_stalled(&pressure, rows[i].stalled_until));
        }
        pressure_done(&pressure);
        fd_close(kernel.fd);
}

static void what_cannot_be_opened_is_named_with_the_reason_and_a_remedy(void **state) {
        static const struct {
                const char *path;
                int r;
                const char *words[4];
        } rows[] = {
                { "/proc/pressure/nothing", -ENOENT,
                        { "cannot open", "No such file", "CONFIG_PSI", "ProcSubset=all" } },
                { "/dev/null/cpu", -ENOTDIR, { "cannot open", "Not a directory", "CONFIG_PSI" } },
                { "/proc", -EISDIR, { "cannot open", "Is a directory", "counts pressure" } },
                { "/dev/null", -EBADMSG, { "cannot read", "counts pressure" } },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_free_ char *error = NULL;
                Pressure pressure = { .fd = -4711 };

                assert_int_equal(
                        pressure_init(&pressure, PRESSURE_CPU, rows[i].path, &error), rows[i].r);
                assert_int_equal(pressure.fd, -4711);
                assert_non_null(strstr(error, rows[i].path));
                assert_non_null(strstr(error, "or use Mode=queue"));
                for (size_t j = 0; j < ELEMENTSOF(rows[i].words) && rows[i].words[j]; j++)
                        assert_non_null(strstr(error, rows[i].words[j]));
        }
}

static void what_is_no_account_of_pressure_is_refused(void **state) {
        static const char *const texts[] = {
                "",
                "some",
                "some avg10=0.00",
                "full avg10=0.00 total=1\n",
                "some avg10=0.00 total=\n",
                "some avg10=0.00 total=-1\n",
                "some avg10=0.00 total=18446744073709551616\n",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                FakeKernel kernel = fake_kernel();
                _cleanup_free_ char *error = NULL;
                Pressure pressure;

                fake_kernel_tell(&kernel, texts[i]);
                assert_int_equal(
                        pressure_init(&pressure, PRESSURE_MEMORY, kernel.path, &error), -EBADMSG);
                assert_non_null(strstr(error, kernel.path));
                fd_close(kernel.fd);
        }
}

static void a_trigger_that_is_refused_says_what_it_takes(void **state) {
        FakeKernel kernel = fake_kernel();
        _cleanup_free_ char *error = NULL;
        Pressure pressure;

        /* A sealed file is what comes closest to a kernel that does not let us: EPERM. */
        fake_kernel_tell_total(&kernel, 1);
        assert_int_equal(fcntl(kernel.fd, F_ADD_SEALS, F_SEAL_WRITE), 0);

        assert_int_equal(pressure_init(&pressure, PRESSURE_CPU, kernel.path, &error), -EPERM);
        assert_non_null(strstr(error, "cannot set a trigger on"));
        assert_non_null(strstr(error, "CAP_SYS_RESOURCE"));
        fd_close(kernel.fd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_kernel_takes_the_trigger_and_it_can_be_polled),
                cmocka_unit_test(the_trigger_is_for_the_window_that_everybody_may_use),
                cmocka_unit_test(a_stall_is_over_when_no_further_event_comes),
                cmocka_unit_test(what_cannot_be_opened_is_named_with_the_reason_and_a_remedy),
                cmocka_unit_test(what_is_no_account_of_pressure_is_refused),
                cmocka_unit_test(a_trigger_that_is_refused_says_what_it_takes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
