/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The thresholds are for a window of 2 s, which the kernel offers to everybody; shorter ones are
 * for the privileged. "some" counts the time in which at least one task waited.
 *
 * CPU: half of the time. A host that is just busy, as a pool is to make it, always has tasks that
 * wait for some milliseconds; only where one waits at every other moment is there more work than
 * CPUs. ("full" is always zero for the CPUs of a whole host.)
 *
 * Memory: a tenth of the time. Waiting for pages to be reclaimed or read again has no good side,
 * and the share grows fast once it begins.
 *
 * The kernel clears the event when it is polled, so a stall that goes on wakes the loop once in
 * 2 s. The first event of a trigger that an unprivileged process has set is a false one: the kernel
 * takes all that was waited since the host started for growth. So each event is compared with what
 * the file says has been waited since the last. */

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "engine/pressure.h"
#include "util/fd.h"
#include "util/parse.h"

#define WINDOW (2 * USEC_PER_SEC)
#define STALLED_FOR (WINDOW * 5 / 2)

static const struct {
        const char *path;
        usec_t threshold;
} resources[_PRESSURE_RESOURCE_MAX] = {
        [PRESSURE_CPU] = { "/proc/pressure/cpu", WINDOW / 2 },
        [PRESSURE_MEMORY] = { "/proc/pressure/memory", WINDOW / 10 },
};

const char *pressure_resource_path(PressureResource resource) {
        return resources[resource].path;
}

static const char *remedy(int r) {
        switch (r) {
        case -ENOENT:
        case -ENOTDIR:
                return "this needs a kernel with CONFIG_PSI, and ProcSubset=all in the unit";
        case -EOPNOTSUPP:
                return "the kernel counts no pressure, boot it with psi=1";
        case -EPERM:
        case -EACCES:
        case -EINVAL:
                return "older kernels let nobody set a trigger without CAP_SYS_RESOURCE";
        case -EROFS:
                return "/proc/pressure must be writable in the unit";
        default:
                return "this is not the file of a kernel that counts pressure";
        }
}

/* Returns r. */
static int refuse(char **ret_error, int r, const char *verb, const char *path) {
        char *text;

        if (asprintf(&text, "cannot %s %s: %s; %s, or use Mode=queue", verb, path,
                    strerrordesc_np(-r), remedy(r)) >= 0)
                *ret_error = text;
        return r;
}

/* The file begins with "some avg10=0.00 avg60=0.00 avg300=0.00 total=4711". */
static int read_total(int fd, usec_t *ret) {
        char buffer[256], *total;
        ssize_t n;

        n = pread(fd, buffer, sizeof(buffer) - 1, 0);
        if (n < 0)
                return -errno;
        buffer[n] = '\0';

        total = strstr(buffer, " total=");
        if (strncmp(buffer, "some ", strlen("some ")) != 0 || !total)
                return -EBADMSG;
        total += strlen(" total=");
        total[strspn(total, "0123456789")] = '\0';
        return parse_uint64(total, 0, UINT64_MAX, ret) < 0 ? -EBADMSG : 0;
}

static int set_trigger(int fd, usec_t threshold) {
        char trigger[64];
        int n;

        n = snprintf(trigger, sizeof(trigger), "some %llu %llu", (unsigned long long) threshold,
                (unsigned long long) WINDOW);
        /* With its NUL byte: the kernel puts one over the last byte that it is given. */
        return write(fd, trigger, (size_t) n + 1) < 0 ? -errno : 0;
}

int pressure_init(
        Pressure *pressure, PressureResource resource, const char *path, char **ret_error) {
        _cleanup_close_ int fd = -EBADF;
        usec_t total;
        int r;

        if (!path)
                path = resources[resource].path;
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return refuse(ret_error, -errno, "open", path);
        r = read_total(fd, &total);
        if (r < 0)
                return refuse(ret_error, r, "read", path);
        r = set_trigger(fd, resources[resource].threshold);
        if (r < 0)
                return refuse(ret_error, r, "set a trigger on", path);

        *pressure = (Pressure){ .fd = TAKE_FD(fd), .resource = resource, .total = total };
        return 0;
}

void pressure_done(Pressure *pressure) {
        pressure->fd = fd_close(pressure->fd);
}

void pressure_restart(Pressure *pressure) {
        struct pollfd event = { .fd = pressure->fd, .events = POLLPRI };

        /* An event of any age may be left over; to poll it takes it away. */
        (void) poll(&event, 1, 0);
        (void) read_total(pressure->fd, &pressure->total);
        pressure->stalled_until = 0;
}

void pressure_report(Pressure *pressure, usec_t now) {
        usec_t total, last = pressure->total;

        /* If the file cannot be read any more, the event is all that there is to go by. */
        if (read_total(pressure->fd, &total) >= 0) {
                pressure->total = total;
                if (usec_sub(total, last) < resources[pressure->resource].threshold)
                        return;
        }
        pressure->stalled_until = usec_add(now, STALLED_FOR);
}
