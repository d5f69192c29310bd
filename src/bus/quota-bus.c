/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>

#include "bus/auth.h"
#include "bus/error.h"
#include "bus/event-log.h"
#include "bus/quota-bus.h"

int quota_check(Account *account, QuotaKind kind, uint64_t n, sd_bus_error *error) {
        if (n <= account_left(account, kind))
                return 0;
        event_log_quota(account, kind);
        return bus_error(error, BUS_ERROR_QUOTA_EXCEEDED,
                "%s is %" PRIu64 ": uid %u has %" PRIu64 " %s, and %" PRIu64
                " more would be too many",
                quota_kind_to_string(kind), account_max(account, kind), account->uid,
                account->used[kind], quota_kind_noun(kind), n);
}

static int append_account(sd_bus_message *reply, const Account *account) {
        int r = 0;

        for (QuotaKind kind = 0; r >= 0 && kind < _QUOTA_KIND_MAX; kind++)
                r = sd_bus_message_append(reply, "(ustt)", (uint32_t) account->uid,
                        quota_kind_to_string(kind), account->used[kind],
                        account_max(account, kind));
        return r;
}

int quota_bus_list(sd_bus_message *m, Link *link, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const Client *client = client_of(link, m);
        const Account *account, *next;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(ustt)");
        if (r < 0)
                return r;
        HASH_ITER (by_uid, link->server->engine->quota.accounts, account, next) {
                if (account != client->account && !auth_is_root(client))
                        continue;
                r = append_account(reply, account);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_message_send(reply);
}
