/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Mutex for critical sections of a few microseconds, that are entered often: a thread that finds it
 * locked spins for longer than one lasts, and only then sleeps. A sleep and its wake-up cost up to
 * 50 us where a CPU goes to sleep over it, which is twenty times what is waited for. */

#include <pthread.h>
#include <stdatomic.h>

/* About 20 us: the holder has lost its CPU if it takes that long. */
#define MUTEX_SPINS 400

static inline void mutex_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("isb" ::: "memory");
#else
        atomic_signal_fence(memory_order_seq_cst);
#endif
}

static inline void mutex_lock(pthread_mutex_t *mutex) {
        for (unsigned i = 0; i < MUTEX_SPINS; i++) {
                if (pthread_mutex_trylock(mutex) == 0)
                        return;
                mutex_relax();
        }
        (void) pthread_mutex_lock(mutex);
}

static inline void mutex_unlock(pthread_mutex_t *mutex) {
        (void) pthread_mutex_unlock(mutex);
}
