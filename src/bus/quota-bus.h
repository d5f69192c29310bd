/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the quota of a user means for its calls. Main thread only. */

#include <systemd/sd-bus.h>

#include "bus/server.h"
#include "engine/quota.h"

/* May its user have n more? 0, or QuotaExceeded with a text that names the cap and its value; that
 * is in the log as well. */
int quota_check(Account *account, QuotaKind kind, uint64_t n, sd_bus_error *error);

/* Manager.ListQuotas(): what each user has, of those whom the caller may see. */
int quota_bus_list(sd_bus_message *m, Link *link, sd_bus_error *error);
