/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Language helpers: scoped cleanup, handing over ownership, and small arithmetic. */

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _noinline_ __attribute__((noinline))
#define _unused_ __attribute__((unused))
#define _public_ __attribute__((visibility("default")))
#define _pure_ __attribute__((pure))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* What one CPU takes from another as a whole. */
#define CACHE_LINE 64

#define ELEMENTSOF(array) (sizeof(array) / sizeof((array)[0]))

/* Each use has variables of its own, so that uses can be nested. */
#define MAX(a, b) _max(__COUNTER__, (a), (b))
#define _max(n, a, b) _max_as(n, a, b)
#define _max_as(n, a, b)                                       \
        ({                                                     \
                const __typeof__(a) _max_a##n = (a);           \
                const __typeof__(b) _max_b##n = (b);           \
                _max_a##n > _max_b##n ? _max_a##n : _max_b##n; \
        })
#define MIN(a, b) _min(__COUNTER__, (a), (b))
#define _min(n, a, b) _min_as(n, a, b)
#define _min_as(n, a, b)                                       \
        ({                                                     \
                const __typeof__(a) _min_a##n = (a);           \
                const __typeof__(b) _min_b##n = (b);           \
                _min_a##n < _min_b##n ? _min_a##n : _min_b##n; \
        })

#define CLAMP(x, low, high) MIN(MAX((x), (low)), (high))

#define container_of(pointer, type, member) \
        ((type *) (void *) ((char *) (pointer) -offsetof(type, member)))

/* Hands the pointer over: evaluates to it and leaves NULL behind. */
#define TAKE_PTR(p)                     \
        ({                              \
                __typeof__(p) _p = (p); \
                (p) = NULL;             \
                _p;                     \
        })

/* The same for a file descriptor; -EBADF is left behind. */
#define TAKE_FD(fd)             \
        ({                      \
                int _fd = (fd); \
                (fd) = -EBADF;  \
                _fd;            \
        })

/* Makes f##p(T *) out of a destructor f(T), for _cleanup_(). */
#define DEFINE_CLEANUP(type, f)                     \
        static inline _unused_ void f##p(type *p) { \
                if (*p)                             \
                        f(*p);                      \
        }

static inline void freep(void *p) {
        free(*(void **) p);
}

static inline void closep(int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
