/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

/* Without this uthash ends the process where memory runs out. */
#define HASH_NONFATAL_OOM 1

#include "engine/quota.h"
#include "util/macro.h"

static const char *const names[_QUOTA_KIND_MAX] = {
        [QUOTA_JOBS] = "JobsMax",
        [QUOTA_BYTES] = "BytesMax",
        [QUOTA_CALLS] = "CallsMax",
        [QUOTA_SUBSCRIPTIONS] = "SubscriptionsMax",
        [QUOTA_GROUPS] = "GroupsMax",
        [QUOTA_CONNECTIONS] = "ConnectionsMax",
};

static const char *const nouns[_QUOTA_KIND_MAX] = {
        [QUOTA_JOBS] = "jobs that have not ended",
        [QUOTA_BYTES] = "bytes of payloads",
        [QUOTA_CALLS] = "waiting calls",
        [QUOTA_SUBSCRIPTIONS] = "subscribed connections",
        [QUOTA_GROUPS] = "groups",
        [QUOTA_CONNECTIONS] = "connections to the direct socket",
};

const char *quota_kind_to_string(QuotaKind kind) {
        return kind >= 0 && kind < _QUOTA_KIND_MAX ? names[kind] : NULL;
}

const char *quota_kind_noun(QuotaKind kind) {
        return kind >= 0 && kind < _QUOTA_KIND_MAX ? nouns[kind] : NULL;
}

/* ---- accounts ---- */

void quota_init(Quota *quota) {
        *quota = (Quota){ .config = QUOTA_CONFIG_DEFAULT };
        log_limit_init(&quota->log_limit, QUOTA_LOG_LINES, QUOTA_LOG_INTERVAL);
}

void quota_done(Quota *quota) {
        /* Whoever holds a reference has gone before. */
        assert(!quota->accounts);
}

Account *quota_account(Quota *quota, uid_t uid) {
        Account *account;

        HASH_FIND(by_uid, quota->accounts, &uid, sizeof(uid), account);
        if (account)
                return account_ref(account);
        account = calloc(1, sizeof(*account));
        if (!account)
                return NULL;
        *account = (Account){
                .quota = quota,
                .uid = uid,
                .is_bound = uid != 0 && uid != geteuid(),
                .n_refs = 1,
        };
        log_limit_init(&account->log_limit, QUOTA_LOG_LINES_USER, QUOTA_LOG_INTERVAL);
        HASH_ADD(by_uid, quota->accounts, uid, sizeof(account->uid), account);
        if (!account->by_uid.tbl) {
                free(account);
                return NULL;
        }
        return account;
}

Account *account_ref(Account *account) {
        account->n_refs++;
        return account;
}

Account *account_unref(Account *account) {
        if (!account || --account->n_refs > 0)
                return NULL;
        for (QuotaKind kind = 0; kind < _QUOTA_KIND_MAX; kind++)
                assert(account->used[kind] == 0);
        HASH_DELETE(by_uid, account->quota->accounts, account);
        free(account);
        return NULL;
}

uint64_t account_max(const Account *account, QuotaKind kind) {
        return account->is_bound ? account->quota->config.max[kind] : UINT64_MAX;
}

uint64_t account_left(const Account *account, QuotaKind kind) {
        uint64_t max;

        if (!account || !account->is_bound)
                return UINT64_MAX;
        max = account_max(account, kind);
        /* No cap leaves no less, however much there is. */
        if (max == UINT64_MAX)
                return UINT64_MAX;
        return max - MIN(max, account->used[kind]);
}

void account_charge(Account *account, QuotaKind kind, uint64_t n) {
        account->used[kind] += n;
}

void account_discharge(Account *account, QuotaKind kind, uint64_t n) {
        assert(account->used[kind] >= n);
        account->used[kind] -= n;
}

/* ---- submissions ---- */

void submission_charge(
        Submission *submission, Account *account, uint32_t n, uint64_t size, bool group) {
        assert(!submission->account);
        submission->account = account_ref(account);
        submission->n_charged = n;
        submission->bytes_charged = size;
        submission->group_charged = group;
        account_charge(account, QUOTA_JOBS, n);
        account_charge(account, QUOTA_BYTES, size);
        account_charge(account, QUOTA_GROUPS, group);
}

static void discharge(Submission *submission, uint32_t n, uint64_t size) {
        account_discharge(submission->account, QUOTA_JOBS, n);
        account_discharge(submission->account, QUOTA_BYTES, size);
        submission->n_charged -= n;
        submission->bytes_charged -= size;
}

void submission_charge_again(Submission *submission, uint64_t size) {
        if (!submission->account)
                return;
        account_charge(submission->account, QUOTA_JOBS, 1);
        account_charge(submission->account, QUOTA_BYTES, size);
        submission->n_charged++;
        submission->bytes_charged += size;
}

void submission_discharge_one(Submission *submission) {
        if (!submission->account)
                return;
        assert(submission->n_charged > 0);
        discharge(submission, 1, submission->bytes_charged / submission->n_charged);
}

void submission_discharge_jobs(Submission *submission) {
        if (submission->account)
                discharge(submission, submission->n_charged, submission->bytes_charged);
}

void submission_discharge(Submission *submission) {
        if (!submission->account)
                return;
        submission_discharge_jobs(submission);
        account_discharge(submission->account, QUOTA_GROUPS, submission->group_charged);
        submission->account = account_unref(submission->account);
}
