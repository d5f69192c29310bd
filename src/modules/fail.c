/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* fail: every n-th job of the pool fails, the others give their payload back. For trials of what
 * happens then.
 *
 * Options: every=N (default 1: all), fatal=yes (no further attempt is made), text=WHY. */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/module.h>

typedef struct Fail {
        atomic_ulong n_calls; /* workers share the count */
        unsigned long every;
        int verdict;
        char *text;
} Fail;

static int fail_process(void *state, struct sluice_job *job) {
        Fail *fail = state;
        unsigned long call = atomic_fetch_add_explicit(&fail->n_calls, 1, memory_order_relaxed) + 1;
        void *output;

        if (call % fail->every == 0) {
                sluice_error(job, fail->text);
                return fail->verdict;
        }

        output = sluice_output(job, job->payload_size);
        if (!output)
                return SLUICE_RETRY;
        if (job->payload_size > 0)
                memcpy(output, job->payload, job->payload_size);
        return SLUICE_OK;
}

static void fail_close(void *state) {
        Fail *fail = state;

        free(fail->text);
        free(fail);
}

/* The value if the option is `name`, which ends in `=`; otherwise NULL. */
static const char *value_of(const char *option, const char *name) {
        size_t n = strlen(name);

        return strncmp(option, name, n) == 0 ? option + n : NULL;
}

static int parse_count(const char *s, unsigned long *ret) {
        unsigned long n = 0;

        for (size_t i = 0; s[i]; i++) {
                if (s[i] < '0' || s[i] > '9' || i >= 9)
                        return -1;
                n = n * 10 + (unsigned long) (s[i] - '0');
        }
        if (n == 0)
                return -1;
        *ret = n;
        return 0;
}

/* Returns what is wrong with the option, NULL if nothing is. */
static const char *set_option(Fail *fail, const char *option) {
        const char *value;

        value = value_of(option, "every=");
        if (value)
                return parse_count(value, &fail->every) < 0 ? "every= takes a number from 1 on"
                                                            : NULL;

        value = value_of(option, "fatal=");
        if (value) {
                if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
                        return "fatal= takes yes or no";
                fail->verdict = strcmp(value, "yes") == 0 ? SLUICE_FATAL : SLUICE_FAILED;
                return NULL;
        }

        value = value_of(option, "text=");
        if (value) {
                free(fail->text);
                fail->text = strdup(value);
                return fail->text ? NULL : "not enough memory";
        }

        return "the options are every=, fatal= and text=";
}

static int fail_open(const char *const *options, void **state, char *error, size_t error_size) {
        Fail *fail = calloc(1, sizeof(*fail));
        const char *wrong = NULL;

        if (!fail) {
                (void) snprintf(error, error_size, "not enough memory");
                return -1;
        }
        fail->every = 1;
        fail->verdict = SLUICE_FAILED;
        fail->text = strdup("failed as asked");
        if (!fail->text)
                wrong = "not enough memory";

        for (; *options && !wrong; options++)
                wrong = set_option(fail, *options);

        if (wrong) {
                (void) snprintf(error, error_size, "%s", wrong);
                fail_close(fail);
                return -1;
        }

        *state = fail;
        return 0;
}

SLUICE_MODULE(.name = "fail", .open = fail_open, .close = fail_close, .process = fail_process);
