/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Quota: what each user has of the things that others want as well, and the most that one may have.
 * Root and the user that we run as are counted like others, and not bound. Whoever has something
 * charged to an Account, or only looks at one often, holds a reference; without one it is gone.
 * Main thread only. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uthash.h>

#include "core/job.h"
#include "core/log-limit.h"

typedef struct Account Account;
typedef struct Quota Quota;
typedef struct QuotaConfig QuotaConfig;

typedef enum QuotaKind {
        QUOTA_JOBS,          /* that have not ended */
        QUOTA_BYTES,         /* of their payloads */
        QUOTA_CALLS,         /* that wait for their answers */
        QUOTA_SUBSCRIPTIONS, /* connections that get the signals of jobs */
        QUOTA_GROUPS,        /* that were not forgotten */
        QUOTA_CONNECTIONS,   /* to the direct socket */
        _QUOTA_KIND_MAX,
        _QUOTA_KIND_INVALID = -EINVAL,
} QuotaKind;

/* The greatest cap; UINT64_MAX is none at all. */
#define QUOTA_MAX (UINT64_C(1) << 40)

/* How many lines of the log tell of refusals in this time, of one user and of all. */
#define QUOTA_LOG_INTERVAL USEC_PER_MINUTE
#define QUOTA_LOG_LINES_USER 1
#define QUOTA_LOG_LINES 30

/* For each user. */
struct QuotaConfig {
        uint64_t max[_QUOTA_KIND_MAX];
};

#define QUOTA_CONFIG_DEFAULT                                         \
        ((QuotaConfig){ .max = {                                     \
                                [QUOTA_JOBS] = 100000,               \
                                [QUOTA_BYTES] = UINT64_C(256) << 20, \
                                [QUOTA_CALLS] = 4096,                \
                                [QUOTA_SUBSCRIPTIONS] = 64,          \
                                [QUOTA_GROUPS] = 1000,               \
                                [QUOTA_CONNECTIONS] = 256,           \
                        } })

/* One user. */
struct Account {
        Quota *quota; /* borrowed */
        uid_t uid;
        bool is_bound; /* by the caps */
        uint32_t n_refs;
        uint64_t used[_QUOTA_KIND_MAX];
        LogLimit log_limit;    /* of lines about refusals */
        UT_hash_handle by_uid; /* in Quota.accounts */
};

struct Quota {
        QuotaConfig config; /* whoever has more than a new cap just gets nothing more */
        Account *accounts;  /* owned: hash by uid */
        LogLimit log_limit; /* of all users together, as an account may come and go */
};

void quota_init(Quota *quota);
void quota_done(Quota *quota);

const char *quota_kind_to_string(QuotaKind kind); /* as the setting is called */
const char *quota_kind_noun(QuotaKind kind);      /* what is counted, for texts */

/* The account of the user, with a reference for the caller; NULL without memory. */
Account *quota_account(Quota *quota, uid_t uid);
Account *account_ref(Account *account);
Account *account_unref(Account *account); /* NULL is fine; returns NULL */

uint64_t account_max(const Account *account, QuotaKind kind); /* UINT64_MAX = as many as it likes */

/* How many more it may have. NULL is nobody's, and not bound. */
uint64_t account_left(const Account *account, QuotaKind kind);

/* Counts n more, or n less. Does not ask. */
void account_charge(Account *account, QuotaKind kind, uint64_t n);
void account_discharge(Account *account, QuotaKind kind, uint64_t n);

/* ---- submissions ---- */

/* Counts the submission for the account: n jobs with `size` bytes in all, and one group if it is to
 * be one. Jobs count until they have ended, those that one caller waits for together until all of
 * them have; a group until it is forgotten; and all of that no longer than the submission lives. */
void submission_charge(
        Submission *submission, Account *account, uint32_t n, uint64_t size, bool group);

/* One of its jobs is live once more. */
void submission_charge_again(Submission *submission, uint64_t size);

/* One of its jobs has ended. Of the bytes it had an equal share: that adds up, and needs no room in
 * the job. */
void submission_discharge_one(Submission *submission);

void submission_discharge_jobs(Submission *submission); /* all of them have ended */
void submission_discharge(Submission *submission);      /* it goes */
