/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The messages of org.sluice1.Worker: from attempts to a method call, and from what a service has
 * answered to verdicts. An answer is checked in full before anything of it is taken. */

#include <systemd/sd-bus.h>

#include "handler/handler.h"

#define SERVICE_INTERFACE "org.sluice1.Worker"

/* Bytes of payload that a call may have. A bus disconnects who sends it a message of 32 MiB; what
 * surrounds the jobs in it, of which a batch has up to 65535, takes 3 of them at most. */
#define SERVICE_PAYLOAD_MAX (UINT64_C(29) << 20)

/* The call for these attempts: ProcessBatch for a batch, also one of one. `starts`: the bus is to
 * start the service if the name has no owner. 0, -EMSGSIZE if they are too large for one message,
 * or -errno. */
int service_message_new(sd_bus *bus, const HandlerConfig *config, Attempt *const *attempts,
        size_t n, bool starts, sd_bus_message **ret);

/* Leaves a verdict on each attempt by a message of the service: its reply, or its error. */
void service_message_read(
        sd_bus_message *m, const HandlerConfig *config, Attempt *const *attempts, size_t n);

/* attempt_fail() of all of them. */
void service_fail(Attempt *const *attempts, size_t n, Outcome outcome, const char *format, ...)
        _printf_(4, 5);

/* Writes a text that came from elsewhere, of `n` bytes, so that it can be shown: UTF-8 without
 * control characters, which become escapes as in C; cut with "…" where there is no room. Returns
 * `buf`. */
#define SERVICE_TEXT_MAX 2048
char *service_text(char buf[static SERVICE_TEXT_MAX], const void *text, size_t n);
