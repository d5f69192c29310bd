/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "handler/service-message.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ERROR_RETRY "org.sluice1.Error.Retry"
#define ERROR_FATAL "org.sluice1.Error.Fatal"

/* ---- texts ---- */

#define CUT "…"

/* What stands for a byte, at most. */
#define ESCAPE_SIZE sizeof("\\x00")

/* One control character, or a byte that is none: what stands for it, and of how many bytes of `s`
 * it is made. The last byte of a text has no follower. */
static size_t escape(char to[static ESCAPE_SIZE], const unsigned char *s, bool is_last) {
        /* U+0080 to U+009F are control characters as well, and terminals obey them. */
        bool wide = s[0] == 0xc2 && !is_last && s[1] >= 0x80 && s[1] <= 0x9f;

        if (s[0] == '\n' || s[0] == '\t')
                (void) snprintf(to, ESCAPE_SIZE, "\\%c", s[0] == '\n' ? 'n' : 't');
        else if (s[0] < ' ' || s[0] == 0x7f || wide)
                (void) snprintf(to, ESCAPE_SIZE, "\\x%02x", wide ? s[1] : s[0]);
        else
                (void) snprintf(to, ESCAPE_SIZE, "%c", s[0]);
        return wide ? 2 : 1;
}

char *service_text(char buf[static SERVICE_TEXT_MAX], const void *text, size_t n) {
        const unsigned char *s = text;
        size_t at = 0;

        for (size_t i = 0; i < n; at += strlen(buf + at)) {
                if (at + ESCAPE_SIZE - 1 + sizeof(CUT) > SERVICE_TEXT_MAX) {
                        /* Not within a character. */
                        while (at > 0 && ((unsigned char) buf[at - 1] & 0xc0) == 0x80)
                                at--;
                        if (at > 0 && (unsigned char) buf[at - 1] >= 0xc0)
                                at--;
                        (void) snprintf(buf + at, SERVICE_TEXT_MAX - at, "%s", CUT);
                        return buf;
                }
                i += escape(buf + at, s + i, i + 1 == n);
        }
        buf[at] = '\0';
        return buf;
}

void service_fail(Attempt *const *attempts, size_t n, Outcome outcome, const char *format, ...) {
        char text[ATTEMPT_ERROR_MAX + 1];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        for (size_t i = 0; i < n; i++)
                attempt_fail(attempts[i], outcome, "%s", text);
}

/* ---- the call ---- */

static bool fits_one_message(Attempt *const *attempts, size_t n) {
        uint64_t left = SERVICE_PAYLOAD_MAX;

        for (size_t i = 0; i < n; i++) {
                if (attempts[i]->payload_size > left)
                        return false;
                left -= attempts[i]->payload_size;
        }
        return true;
}

static int append_one(sd_bus_message *m, const Attempt *a) {
        int r;

        r = sd_bus_message_append(m, "t", a->id);
        if (r >= 0)
                r = sd_bus_message_append_array(m, 'y', a->payload, a->payload_size);
        if (r >= 0)
                r = sd_bus_message_append(m, "a{sv}", 6, "Pool", "s", a->pool, "Attempt", "u",
                        (uint32_t) a->attempt, "Tag", "s", a->tag, "Owner", "u", a->owner,
                        "Priority", "i", (int32_t) a->priority, "RunTimeoutUSec", "t",
                        a->run_timeout);
        return r;
}

/* The context is what all of them have in common. */
static int append_batch(sd_bus_message *m, Attempt *const *attempts, size_t n) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "(tay)");
        for (size_t i = 0; r >= 0 && i < n; i++) {
                r = sd_bus_message_open_container(m, 'r', "tay");
                if (r >= 0)
                        r = sd_bus_message_append(m, "t", attempts[i]->id);
                if (r >= 0)
                        r = sd_bus_message_append_array(
                                m, 'y', attempts[i]->payload, attempts[i]->payload_size);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_append(m, "a{sv}", 2, "Pool", "s", attempts[0]->pool,
                        "RunTimeoutUSec", "t", attempts[0]->run_timeout);
        return r;
}

int service_message_new(sd_bus *bus, const HandlerConfig *config, Attempt *const *attempts,
        size_t n, bool starts, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        bool batch = attempts[0]->in_batch;
        int r;

        if (!fits_one_message(attempts, n))
                return -EMSGSIZE;
        r = sd_bus_message_new_method_call(bus, &m, config->bus_name, config->object_path,
                SERVICE_INTERFACE, batch ? "ProcessBatch" : "Process");
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, starts);
        if (r >= 0)
                r = sd_bus_message_set_allow_interactive_authorization(m, false);
        if (r >= 0)
                r = batch ? append_batch(m, attempts, n) : append_one(m, attempts[0]);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

/* ---- what comes back ---- */

static void give_output(
        Attempt *attempt, const HandlerConfig *config, const void *data, size_t size) {
        void *output;

        if (size > config->output_max) {
                attempt_fail(attempt, OUTCOME_FAILURE,
                        "the service gave more output than OutputMax= allows");
                return;
        }
        if (size > 0) {
                output = attempt_output_alloc(attempt, size);
                if (!output) {
                        attempt_fail(attempt, OUTCOME_RETRY, "not enough memory for the output");
                        return;
                }
                memcpy(output, data, size);
        }
        attempt->outcome = OUTCOME_SUCCESS;
}

/* What a batch was answered about one of its jobs; the data lie in the message. */
typedef struct Item {
        Attempt *attempt;
        bool answered, ok;
        const void *data;
        size_t size;
} Item;

static int compare_items(const void *a, const void *b) {
        uint64_t x = ((const Item *) a)->attempt->id, y = ((const Item *) b)->attempt->id;

        return x < y ? -1 : x > y;
}

static Item *find_item(Item *items, size_t n, uint64_t id) {
        const Attempt wanted = { .id = id };
        const Item key = { .attempt = (Attempt *) &wanted };

        return bsearch(&key, items, n, sizeof(*items), compare_items);
}

/* 0; 1 with *ret_id if the answer names this job wrongly; or -errno. */
static int read_items(sd_bus_message *m, Item *items, size_t n, uint64_t *ret_id) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(tbay)");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'r', "tbay")) > 0) {
                Item *item;
                int ok;

                r = sd_bus_message_read(m, "tb", ret_id, &ok);
                if (r < 0)
                        return r;
                item = find_item(items, n, *ret_id);
                if (!item || item->answered)
                        return 1;
                item->answered = true;
                item->ok = ok;
                r = sd_bus_message_read_array(m, 'y', &item->data, &item->size);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        return r < 0 ? r : 0;
}

static void give_item(Item *item, const HandlerConfig *config) {
        char text[SERVICE_TEXT_MAX];

        if (!item->answered)
                attempt_fail(item->attempt, OUTCOME_FAILURE,
                        "the service has answered for others of the batch and not for this job");
        else if (item->ok)
                give_output(item->attempt, config, item->data, item->size);
        else
                attempt_fail(item->attempt, OUTCOME_FAILURE, "%s",
                        service_text(text, item->data, item->size));
}

static void read_batch(
        sd_bus_message *m, const HandlerConfig *config, Attempt *const *attempts, size_t n) {
        _cleanup_free_ Item *items = calloc(n, sizeof(*items));
        uint64_t id = 0;
        int r;

        if (!items) {
                service_fail(attempts, n, OUTCOME_RETRY, "not enough memory for the answer");
                return;
        }
        for (size_t i = 0; i < n; i++)
                items[i].attempt = attempts[i];
        qsort(items, n, sizeof(*items), compare_items);

        r = read_items(m, items, n, &id);
        if (r < 0)
                service_fail(attempts, n, OUTCOME_FAILURE, "the service's answer cannot be read");
        else if (r > 0)
                service_fail(attempts, n, OUTCOME_FAILURE,
                        "the service has answered for job %" PRIu64 ", which %s", id,
                        find_item(items, n, id) ? "it had answered before"
                                                : "is not one of the batch");
        for (size_t i = 0; r == 0 && i < n; i++)
                give_item(&items[i], config);
}

static void read_one(sd_bus_message *m, const HandlerConfig *config, Attempt *attempt) {
        const void *data;
        size_t size;

        if (sd_bus_message_read_array(m, 'y', &data, &size) < 0)
                attempt_fail(attempt, OUTCOME_FAILURE, "the service's answer cannot be read");
        else
                give_output(attempt, config, data, size);
}

static void read_error(sd_bus_message *m, Attempt *const *attempts, size_t n) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        const char *message = e->message ?: "";
        char text[SERVICE_TEXT_MAX];
        Outcome outcome = strcmp(e->name, ERROR_RETRY) == 0   ? OUTCOME_RETRY
                          : strcmp(e->name, ERROR_FATAL) == 0 ? OUTCOME_FATAL
                                                              : OUTCOME_FAILURE;

        /* What these two say is in the outcome. */
        (void) service_text(text, message, strlen(message));
        if (outcome != OUTCOME_FAILURE && *text)
                service_fail(attempts, n, outcome, "%s", text);
        else
                service_fail(attempts, n, outcome, "%s%s%s", e->name, *text ? ": " : "", text);
}

void service_message_read(
        sd_bus_message *m, const HandlerConfig *config, Attempt *const *attempts, size_t n) {
        const char *expected = attempts[0]->in_batch ? "a(tbay)" : "ay", *signature;
        char text[SERVICE_TEXT_MAX];

        if (sd_bus_message_is_method_error(m, NULL)) {
                read_error(m, attempts, n);
                return;
        }
        if (sd_bus_message_has_signature(m, expected) <= 0) {
                signature = sd_bus_message_get_signature(m, /* complete= */ true) ?: "";
                service_fail(attempts, n, OUTCOME_FAILURE,
                        "the service answered with the type \"%s\" and not with \"%s\"",
                        service_text(text, signature, strlen(signature)), expected);
                return;
        }
        if (attempts[0]->in_batch)
                read_batch(m, config, attempts, n);
        else
                read_one(m, config, attempts[0]);
}
