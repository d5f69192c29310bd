/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Reading the a{sv} arguments: options of a submit, settings of a pool, filters of jobs. Whatever
 * comes from the bus is checked here before anything is changed. */

#include <systemd/sd-bus.h>

#include "bus/server.h"
#include "bus/submit.h"
#include "core/group.h"
#include "engine/engine.h"
#include "engine/pool-config.h"

typedef struct SubmitOptions {
        bool partial;
        bool has_group_policy; /* it was given */
        GroupPolicy group_policy;
        usec_t wait; /* how long to wait for room */
} SubmitOptions;

/* Reads the options into a new submission for `target`. -errno with the error set. */
int options_read_submit(sd_bus_message *m, const SubmitTarget *target, const Client *client,
        Submission *submission, SubmitOptions *ret_options, sd_bus_error *error);

/* Reads a file descriptor; *ret is a copy that is the caller's to close. */
int options_take_fd(sd_bus_message *m, int *ret, sd_bus_error *error);

/* Reads an a{sv} of settings and calls `assign` for each; it returns as pool_config_set() does.
 * None is given twice. */
typedef int (*assign_t)(void *target, const char *name, const SettingValue *value,
        bool settable_only, char **ret_error);
int options_read_assignments(
        sd_bus_message *m, assign_t assign, void *target, bool settable_only, sd_bus_error *error);

/* The new value of a settable property. */
int options_read_property(sd_bus_message *m, SettingValue *ret);

/* Applies settings to config, as many as there are or none. With `settable_only` those that cannot
 * be changed on a living pool are refused. */
int options_read_settings(
        sd_bus_message *m, PoolConfig *config, bool settable_only, sd_bus_error *error);

/* The filter of ListJobs and CancelJobs. ret->tag is borrowed from the message. `none` is set if it
 * can match no job at all, as with a pool that does not exist. */
int options_read_filter(sd_bus_message *m, Engine *engine, const Client *client, JobFilter *ret,
        bool *ret_none, sd_bus_error *error);
