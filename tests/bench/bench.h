/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the programs of the benchmarks have in common: the payloads that all figures are about, the
 * clock, the lines that bench.py reads, and the way to a bus. */

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "util/macro.h"

#define SERVICE "org.sluice1"

/* A service that gives back what it is given (bench-service.c). */
#define ECHO_SERVICE "org.example.SluiceBench1"
#define ECHO_PATH "/org/example/SluiceBench1"
#define WORKER_INTERFACE "org.sluice1.Worker"

typedef struct Payload Payload;

/* The bytes of a job: its number, and the complement of that. */
struct Payload {
        uint64_t number, complement;
};

_Static_assert(sizeof(Payload) == 16, "the payload that all figures are about");

#define _cleanup_message_ _cleanup_(sd_bus_message_unrefp)
#define _cleanup_error_ _cleanup_(sd_bus_error_free)

static inline void sd_bus_closep(sd_bus **bus) {
        sd_bus_flush_close_unref(*bus);
}

static inline uint64_t nsec_now(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * UINT64_C(1000000000) + (uint64_t) ts.tv_nsec;
}

static inline void print_figure(const char *name, double value, const char *unit) {
        printf("%s %.2f %s\n", name, value, unit);
}

static inline Payload payload_of(uint64_t number) {
        return (Payload){ .number = number, .complement = ~number };
}

static inline bool payload_is(const void *data, size_t size, uint64_t number) {
        const Payload expected = payload_of(number);

        return size == sizeof(expected) && memcmp(data, &expected, sizeof(expected)) == 0;
}

static inline int append_payloads(sd_bus_message *m, uint64_t first, uint64_t n) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "ay");
        if (r < 0)
                return r;
        for (uint64_t i = 0; i < n; i++) {
                const Payload payload = payload_of(first + i);

                r = sd_bus_message_append_array(m, 'y', &payload, sizeof(payload));
                if (r < 0)
                        return r;
        }
        return sd_bus_message_close_container(m);
}

/* Turns an error reply into a negative errno, after showing it. */
static inline int reply_result(sd_bus_message *reply) {
        const sd_bus_error *error = sd_bus_message_get_error(reply);

        if (!error)
                return 0;
        fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, error->name, error->message);
        return -EREMOTEIO;
}

static inline int call_and_wait(sd_bus *bus, sd_bus_message *m, sd_bus_message **ret) {
        _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_call(bus, m, UINT64_MAX, &error, ret);
        if (r < 0 && sd_bus_error_is_set(&error))
                fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, error.name,
                        error.message);
        return r;
}

static inline int connect_to(const char *address, sd_bus **ret) {
        _cleanup_(sd_bus_closep) sd_bus *bus = NULL;
        int r;

        r = sd_bus_new(&bus);
        if (r < 0)
                return r;
        r = sd_bus_set_address(bus, address);
        if (r < 0)
                return r;
        r = sd_bus_set_bus_client(bus, true);
        if (r < 0)
                return r;
        r = sd_bus_start(bus);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(bus);
        return 0;
}

static inline int parse_count(const char *s, uint64_t *ret) {
        char *end;
        uint64_t n;

        errno = 0;
        n = strtoull(s, &end, 10);
        if (errno != 0 || end == s || *end != '\0' || n == 0 || n > UINT32_MAX)
                return -EINVAL;
        *ret = n;
        return 0;
}
