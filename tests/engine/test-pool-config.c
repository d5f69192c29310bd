/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <string.h>

#include "engine/pool-config.h"
#include "test.h"
#include "util/strv.h"

static PoolConfig *new_config(void) {
        PoolConfig *config = NULL;

        assert_int_equal(pool_config_new("test", FAIRNESS_NONE, &config), 0);
        return config;
}

static void set(PoolConfig *config, const char *section, const char *key, const char *value) {
        _cleanup_free_ char *error = NULL;

        if (pool_config_set_in_section(config, section, key, value, &error) < 0)
                fail_msg("%s", error);
}

static char *join_list(char *const *l) {
        char *text = strdup("");

        STRV_FOREACH (s, l) {
                char *longer = NULL;

                assert_true(asprintf(&longer, "%s<%s>", text, *s) >= 0);
                free(text);
                text = longer;
        }
        return text;
}

static void an_untouched_pool_has_the_documented_defaults(void **state) {
        _cleanup_(pool_config_freep) PoolConfig *config = NULL;

        assert_int_equal(pool_config_new("man", FAIRNESS_USER, &config), 0);
        assert_string_equal(config->name, "man");
        assert_string_equal(config->description, "");
        assert_ptr_equal(config->handler, &command_vtable);
        assert_int_equal(config->min_workers, 0);
        assert_int_equal(config->max_workers, 0);
        assert_string_equal(config->cpu_affinity, "");
        assert_int_equal(config->queue_max, 1024);
        assert_int_equal(config->aging_interval, 30 * USEC_PER_SEC);
        assert_int_equal(config->fairness, FAIRNESS_USER);
        assert_int_equal(config->run_timeout, 30 * USEC_PER_MINUTE);
        assert_int_equal(config->result_retention, 10 * USEC_PER_MINUTE);
        assert_int_equal(config->result_retention_max, 10000);
        assert_null(config->allow_users);
        assert_null(config->allow_groups);
        assert_string_equal(config->handler_config.pool, "man");
        assert_int_equal(config->handler_config.payload_max, 1 << 20);
        assert_int_equal(config->handler_config.stop_timeout, 10 * USEC_PER_SEC);
        assert_null(config->handler_config.exec_start);
        assert_false(config->handler_config.allow_arguments);
        assert_string_equal(config->handler_config.working_directory, "/");
        assert_null(config->handler_config.environment);
        assert_int_equal(config->handler_config.output_max, 1 << 20);
        assert_false(config->handler_config.pin_commands);
        assert_null(config->handler_config.module_path);
        assert_int_equal(config->scale_config.mode, SCALE_OFF);
        assert_int_equal(config->scale_config.interval, 5 * USEC_PER_SEC);
        assert_int_equal(config->scale_config.up_at, 10);
        assert_int_equal(config->scale_config.down_at, 2);
        assert_int_equal(config->scale_config.target_wait, 200 * USEC_PER_MSEC);
        assert_string_equal(config->handler_config.module_options, "");
}

#define PLACE(member) offsetof(PoolConfig, member), sizeof(((PoolConfig *) NULL)->member)

static void numbers_times_sizes_and_switches_are_read(void **state) {
        static const struct {
                const char *section, *key, *value;
                size_t place, size;
                uint64_t expect;
        } rows[] = {
                { "Pool", "MinWorkers", "1", PLACE(min_workers), 1 },
                { "Pool", "MaxWorkers", "1024", PLACE(max_workers), 1024 },
                { "Pool", "Workers", "7", PLACE(min_workers), 7 },
                { "Pool", "Workers", "7", PLACE(max_workers), 7 },
                { "Pool", "QueueMax", "100000000", PLACE(queue_max), 100000000 },
                { "Pool", "PayloadMax", "0", PLACE(handler_config.payload_max), 0 },
                { "Pool", "PayloadMax", "64K", PLACE(handler_config.payload_max), 65536 },
                { "Pool", "PayloadMax", "16M", PLACE(handler_config.payload_max), 16 << 20 },
                { "Pool", "AgingInterval", "1us", PLACE(aging_interval), 1 },
                { "Pool", "AgingInterval", "1y", PLACE(aging_interval), USEC_PER_YEAR },
                { "Pool", "AgingInterval", "infinity", PLACE(aging_interval), USEC_INFINITY },
                { "Pool", "Fairness", "user", PLACE(fairness), FAIRNESS_USER },
                { "Pool", "Fairness", "none", PLACE(fairness), FAIRNESS_NONE },
                { "Pool", "RunTimeout", "1min 30s", PLACE(run_timeout), 90 * USEC_PER_SEC },
                { "Pool", "RunTimeout", "infinity", PLACE(run_timeout), USEC_INFINITY },
                { "Pool", "StopTimeout", "0", PLACE(handler_config.stop_timeout), 0 },
                { "Pool", "ResultRetention", "0", PLACE(result_retention), 0 },
                { "Pool", "ResultRetentionMax", "0", PLACE(result_retention_max), 0 },
                { "Command", "AllowArguments", "yes", PLACE(handler_config.allow_arguments), true },
                { "Command", "PinCommands", "on", PLACE(handler_config.pin_commands), true },
                { "Command", "OutputMax", "1000", PLACE(handler_config.output_max), 1000 },
                { "Scale", "Mode", "queue", PLACE(scale_config.mode), SCALE_QUEUE },
                { "Scale", "Mode", "wait", PLACE(scale_config.mode), SCALE_WAIT },
                { "Scale", "Mode", "pressure", PLACE(scale_config.mode), SCALE_PRESSURE },
                { "Scale", "Mode", "off", PLACE(scale_config.mode), SCALE_OFF },
                { "Scale", "Interval", "10ms", PLACE(scale_config.interval), 10 * USEC_PER_MSEC },
                { "Scale", "UpAt", "1000000", PLACE(scale_config.up_at), 1000000 },
                { "Scale", "DownAt", "0", PLACE(scale_config.down_at), 0 },
                { "Scale", "TargetWait", "1ms", PLACE(scale_config.target_wait), USEC_PER_MSEC },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config();
                uint64_t value = 0;

                /* Little-endian or not, all of these are as wide as one of three types. */
                set(config, rows[i].section, rows[i].key, rows[i].value);
                switch (rows[i].size) {
                case 1:
                        value = *(bool *) ((char *) config + rows[i].place);
                        break;
                case 4:
                        value = *(uint32_t *) (void *) ((char *) config + rows[i].place);
                        break;
                case 8:
                        value = *(uint64_t *) (void *) ((char *) config + rows[i].place);
                        break;
                default:
                        fail();
                }
                if (value != rows[i].expect)
                        fail_msg("%s=%s: %llu", rows[i].key, rows[i].value,
                                (unsigned long long) value);
        }
}

static void texts_and_lists_are_read(void **state) {
        static const struct {
                const char *section, *key, *values[3], *expect;
                size_t text, list; /* place of the one or the other */
        } rows[] = {
                { "Pool", "Description", { "Compress ; man pages" }, "Compress ; man pages",
                        offsetof(PoolConfig, description) },
                { "Pool", "Description", { "a", "" }, "", offsetof(PoolConfig, description) },
                { "Pool", "CPUAffinity", { "0-1,5" }, "0-1,5", offsetof(PoolConfig, cpu_affinity) },
                { "Command", "WorkingDirectory", { "/tmp" }, "/tmp",
                        offsetof(PoolConfig, handler_config.working_directory) },
                { "Module", "Path", { "gzip.so" }, "gzip.so",
                        offsetof(PoolConfig, handler_config.module_path) },
                { "Module", "Path", { "/lib/gzip.so" }, "/lib/gzip.so",
                        offsetof(PoolConfig, handler_config.module_path) },
                { "Module", "Options", { "level=6 x" }, "level=6 x",
                        offsetof(PoolConfig, handler_config.module_options) },
                { "Service", "BusName", { "org.example.Thumbs1" }, "org.example.Thumbs1",
                        offsetof(PoolConfig, handler_config.bus_name) },
                { "Service", "ObjectPath", { "/org/example/Thumbs1" }, "/org/example/Thumbs1",
                        offsetof(PoolConfig, handler_config.object_path) },
                { "Service", "ObjectPath", { "/" }, "/",
                        offsetof(PoolConfig, handler_config.object_path) },
                { "Command", "ExecStart", { "/bin/echo 'a b' %j-%p-%t-%w 100%%" },
                        "</bin/echo><a b><%j-%p-%t-%w><100%%>", 0,
                        offsetof(PoolConfig, handler_config.exec_start) },
                { "Command", "ExecStart", { "/bin/echo a", "/bin/true" }, "</bin/true>", 0,
                        offsetof(PoolConfig, handler_config.exec_start) },
                { "Command", "ExecStart", { "/bin/true", "" }, "", 0,
                        offsetof(PoolConfig, handler_config.exec_start) },
                { "Command", "Environment", { "A=1 \"B=x y\"", "C=" }, "<A=1><B=x y><C=>", 0,
                        offsetof(PoolConfig, handler_config.environment) },
                { "Command", "Environment", { "A=1 AB=2", "A=3" }, "<A=3><AB=2>", 0,
                        offsetof(PoolConfig, handler_config.environment) },
                { "Command", "Environment", { "A=1", "", "_B2=1" }, "<_B2=1>", 0,
                        offsetof(PoolConfig, handler_config.environment) },
                { "Pool", "AllowUsers", { "root nobody", "root 1000" }, "<root><nobody><1000>", 0,
                        offsetof(PoolConfig, allow_users) },
                { "Pool", "AllowGroups", { "daemon", "", "adm" }, "<adm>", 0,
                        offsetof(PoolConfig, allow_groups) },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config();
                _cleanup_free_ char *joined = NULL;
                const char *text;

                for (size_t k = 0; k < 3 && rows[i].values[k]; k++)
                        set(config, rows[i].section, rows[i].key, rows[i].values[k]);
                if (rows[i].list) {
                        joined = join_list(*(char ***) (void *) ((char *) config + rows[i].list));
                        text = joined;
                } else
                        text = *(char **) (void *) ((char *) config + rows[i].text);
                assert_string_equal(text, rows[i].expect);
        }
}

static void a_bad_value_is_refused_with_what_is_allowed(void **state) {
        static const struct {
                const char *section, *key, *value;
                int r;
                const char *error;
        } rows[] = {
                { "Pool", "QueueMax", "abc", -EINVAL,
                        "QueueMax: \"abc\" is not a number, allowed are 1 to 100000000" },
                { "Pool", "QueueMax", "", -EINVAL,
                        "QueueMax: \"\" is not a number, allowed are 1 to 100000000" },
                { "Pool", "QueueMax", "0", -EINVAL,
                        "QueueMax: \"0\" is out of range, allowed are 1 to 100000000" },
                { "Pool", "QueueMax", "100000001", -EINVAL,
                        "QueueMax: \"100000001\" is out of range, allowed are 1 to 100000000" },
                { "Pool", "QueueMax", "99999999999999999999999", -EINVAL,
                        "QueueMax: \"99999999999999999999999\" is out of range, allowed are 1 to "
                        "100000000" },
                { "Pool", "Workers", "0", -EINVAL,
                        "Workers: \"0\" is out of range, allowed are 1 to 1024" },
                { "Pool", "MinWorkers", "-1", -EINVAL,
                        "MinWorkers: \"-1\" is not a number, allowed are 1 to 1024" },
                { "Pool", "MaxWorkers", "1025", -EINVAL,
                        "MaxWorkers: \"1025\" is out of range, allowed are 1 to 1024" },
                { "Pool", "MaxWorkers", "4294967297", -EINVAL,
                        "MaxWorkers: \"4294967297\" is out of range, allowed are 1 to 1024" },
                { "Pool", "PayloadMax", "17M", -EINVAL,
                        "PayloadMax: \"17M\" is out of range, allowed are 0 to 16M" },
                { "Pool", "PayloadMax", "1MB", -EINVAL,
                        "PayloadMax: \"1MB\" is not a size such as 64K, allowed are 0 to 16M" },
                { "Pool", "PayloadMax", "infinity", -EINVAL,
                        "PayloadMax: \"infinity\" is out of range, allowed are 0 to 16M" },
                { "Pool", "AgingInterval", "0", -EINVAL,
                        "AgingInterval: \"0\" is out of range, allowed are 1us to 1y, or "
                        "infinity" },
                { "Pool", "AgingInterval", "2y", -EINVAL,
                        "AgingInterval: \"2y\" is out of range, allowed are 1us to 1y, or "
                        "infinity" },
                { "Pool", "RunTimeout", "11y", -EINVAL,
                        "RunTimeout: \"11y\" is out of range, allowed are 1ms to 10y, or "
                        "infinity" },
                { "Pool", "RunTimeout", "soon", -EINVAL,
                        "RunTimeout: \"soon\" is not a time such as 30s, allowed are 1ms to 10y, "
                        "or "
                        "infinity" },
                { "Pool", "StopTimeout", "infinity", -EINVAL,
                        "StopTimeout: \"infinity\" is out of range, allowed are 0 to 1h" },
                { "Pool", "Fairness", "User", -EINVAL,
                        "Fairness: \"User\" is not known, allowed are none, user" },
                { "Scale", "Mode", "fast", -EINVAL,
                        "Mode: \"fast\" is not known, allowed are queue, wait, pressure, off" },
                { "Scale", "Interval", "9ms", -EINVAL,
                        "Interval: \"9ms\" is out of range, allowed are 10ms to 1d" },
                { "Scale", "UpAt", "0", -EINVAL,
                        "UpAt: \"0\" is out of range, allowed are 1 to 1000000" },
                { "Pool", "Handler", "magic", -EINVAL,
                        "Handler: \"magic\" is not known, allowed are command, coprocess, module, "
                        "service, lease, unit" },
                { "Unit", "Template", "backup@.service", -EINVAL,
                        "Template: \"backup@.service\" is not a template sluice-NAME@.service, "
                        "with "
                        "a NAME of A-Z a-z 0-9 _" },
                { "Unit", "Template", "sluice-@.service", -EINVAL,
                        "Template: \"sluice-@.service\" is not a template sluice-NAME@.service, "
                        "with a NAME of A-Z a-z 0-9 _" },
                { "Unit", "Template", "sluice-a-b@.service", -EINVAL,
                        "Template: \"sluice-a-b@.service\" is not a template sluice-NAME@.service, "
                        "with a NAME of A-Z a-z 0-9 _" },
                { "Unit", "Template", "sluice-a@1.service", -EINVAL,
                        "Template: \"sluice-a@1.service\" is not a template sluice-NAME@.service, "
                        "with a NAME of A-Z a-z 0-9 _" },
                { "Unit", "Template", "sluice-a@.service ", -EINVAL,
                        "Template: \"sluice-a@.service \" is not a template sluice-NAME@.service, "
                        "with a NAME of A-Z a-z 0-9 _" },
                { "Command", "Framing", "lines", -EINVAL,
                        "Framing: \"lines\" is not known, allowed are netstring, line" },
                { "Pool", "CPUAffinity", "0-", -EINVAL,
                        "CPUAffinity: \"0-\" is not a list of CPUs such as 0-3,6, allowed are CPUs "
                        "0 to 1023" },
                { "Pool", "CPUAffinity", "1024", -EINVAL,
                        "CPUAffinity: \"1024\" is not a list of CPUs such as 0-3,6, allowed are "
                        "CPUs 0 to 1023" },
                { "Pool", "Description", "a\033[2Jb", -EINVAL,
                        "Description: needs UTF-8 without control characters" },
                { "Pool", "Description", "\xFF", -EINVAL,
                        "Description: needs UTF-8 without control characters" },
                { "Pool", "AllowUsers", "root \"\"", -EINVAL,
                        "AllowUsers: an empty name is not allowed" },
                { "Command", "AllowArguments", "maybe", -EINVAL,
                        "AllowArguments: \"maybe\" is neither yes nor no" },
                { "Command", "WorkingDirectory", "tmp", -EINVAL,
                        "WorkingDirectory: \"tmp\" is not an absolute path" },
                { "Command", "ExecStart", "gzip -c", -ENOEXEC,
                        "ExecStart: \"gzip\" is not the absolute path of a command (up to 4095 "
                        "bytes, without %)" },
                { "Command", "ExecStart", "\"\" x", -ENOEXEC,
                        "ExecStart: \"\" is not the absolute path of a command (up to 4095 bytes, "
                        "without %)" },
                { "Command", "ExecStart", "/bin/%p", -ENOEXEC,
                        "ExecStart: \"/bin/%p\" is not the absolute path of a command (up to 4095 "
                        "bytes, without %)" },
                { "Command", "ExecStart", "/bin/echo 'a", -EINVAL,
                        "ExecStart: a quote is not closed, or a backslash is not followed by an "
                        "escape" },
                { "Command", "ExecStart", "/bin/echo 50%", -EINVAL,
                        "ExecStart: \"%\" has an unknown specifier, allowed are %j %p %t %w %%" },
                { "Command", "ExecStart", "/bin/echo %%%x", -EINVAL,
                        "ExecStart: \"%x\" has an unknown specifier, allowed are %j %p %t %w %%" },
                { "Command", "Environment", "A=1 B", -EINVAL,
                        "Environment: \"B\" is not of the form KEY=VALUE" },
                { "Command", "Environment", "1A=1", -EINVAL,
                        "Environment: \"1A=1\" is not of the form KEY=VALUE" },
                { "Command", "Environment", "=1", -EINVAL,
                        "Environment: \"=1\" is not of the form KEY=VALUE" },
                { "Command", "Environment", "A-B=1", -EINVAL,
                        "Environment: \"A-B=1\" is not of the form KEY=VALUE" },
                { "Module", "Path", "../x.so", -EINVAL,
                        "Path: \"../x.so\" is not a file name or an absolute path" },
                { "Module", "Path", "", -EINVAL,
                        "Path: \"\" is not a file name or an absolute path" },
                { "Service", "BusName", "thumbs", -EINVAL,
                        "BusName: \"thumbs\" is not a well-known bus name of another service, such "
                        "as org.example.Thumbs1" },
                { "Service", "BusName", "", -EINVAL,
                        "BusName: \"\" is not a well-known bus name of another service, such "
                        "as org.example.Thumbs1" },
                { "Service", "BusName", ":1.5", -EINVAL,
                        "BusName: \":1.5\" is not a well-known bus name of another service, such "
                        "as org.example.Thumbs1" },
                { "Service", "BusName", "org.sluice1", -EINVAL,
                        "BusName: \"org.sluice1\" is not a well-known bus name of another service, "
                        "such "
                        "as org.example.Thumbs1" },
                { "Service", "BusName", "org.freedesktop.DBus", -EINVAL,
                        "BusName: \"org.freedesktop.DBus\" is not a well-known bus name of another "
                        "service, such "
                        "as org.example.Thumbs1" },
                { "Service", "BusName", "org..x", -EINVAL,
                        "BusName: \"org..x\" is not a well-known bus name of another service, such "
                        "as org.example.Thumbs1" },
                { "Service", "BusName", "org.example.1", -EINVAL,
                        "BusName: \"org.example.1\" is not a well-known bus name of another "
                        "service, such "
                        "as org.example.Thumbs1" },
                { "Service", "ObjectPath", "org/x", -EINVAL,
                        "ObjectPath: \"org/x\" is not an object path such as "
                        "/org/example/Thumbs1" },
                { "Service", "ObjectPath", "", -EINVAL,
                        "ObjectPath: \"\" is not an object path such as "
                        "/org/example/Thumbs1" },
                { "Service", "ObjectPath", "/a/", -EINVAL,
                        "ObjectPath: \"/a/\" is not an object path such as "
                        "/org/example/Thumbs1" },
                { "Service", "ObjectPath", "/a-b", -EINVAL,
                        "ObjectPath: \"/a-b\" is not an object path such as "
                        "/org/example/Thumbs1" },
                { "Service", "OutputMax", "17M", -EINVAL,
                        "OutputMax: \"17M\" is out of range, allowed are 0 to 16M" },
                { "Pool", "Wrokers", "1", -ENOENT, "Wrokers: there is no such setting" },
                { "Pool", "ExecStart", "/bin/true", -ENOENT,
                        "ExecStart: belongs in the section [Command]" },
                { "Pool", "queuemax", "1", -ENOENT, "queuemax: there is no such setting" },
                { "Tube", "Rate", "50/s", -ENOENT,
                        "[Tube]: there is no such section, allowed are Pool, Command, Module, "
                        "Service, Unit, Lease, Limiter, Breaker, Batch, Scale" },

                { "Batch", "Size", "0", -EINVAL,
                        "Size: \"0\" is out of range, allowed are 1 to 65535" },
                { "Batch", "Size", "65536", -EINVAL,
                        "Size: \"65536\" is out of range, allowed are 1 to 65535" },
                { "Batch", "Timeout", "infinity", -EINVAL,
                        "Timeout: \"infinity\" is out of range, allowed are 0 to 10y" },
                { "Command", "Batch", "line", -EINVAL,
                        "Batch: \"line\" is not known, allowed are netstring" },
                { "Limiter", "Rate", "50", -EINVAL,
                        "Rate: \"50\" is not a rate such as 50/s, 10/min, 1/h or 100/30s, allowed "
                        "are 1 to 1000000000000 in 1us to 1y" },
                { "Limiter", "Rate", "0/s", -EINVAL,
                        "Rate: \"0/s\" is not a rate such as 50/s, 10/min, 1/h or 100/30s, allowed "
                        "are 1 to 1000000000000 in 1us to 1y" },
                { "Limiter", "Rate", "1/2y", -EINVAL,
                        "Rate: \"1/2y\" is not a rate such as 50/s, 10/min, 1/h or 100/30s, "
                        "allowed "
                        "are 1 to 1000000000000 in 1us to 1y" },
                { "Limiter", "Burst", "0", -EINVAL,
                        "Burst: \"0\" is out of range, allowed are 1 to 1000000000000" },
                { "Pool", "Limiter", "a/b", -EINVAL,
                        "Limiter: \"a/b\" is not a name of 1 to 64 of A-Z a-z 0-9 _ - . that "
                        "starts "
                        "with neither . nor -" },
                { "", "Workers", "1", -ENOENT,
                        "a setting outside of a section, allowed are Pool, Command, Module, "
                        "Service, Unit, Lease, Limiter, Breaker, Batch, Scale" },

        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config(),
                                                        *before = new_config();
                _cleanup_free_ char *error = NULL;
                int r;

                r = pool_config_set_in_section(
                        config, rows[i].section, rows[i].key, rows[i].value, &error);
                assert_non_null(error);
                assert_string_equal(error, rows[i].error);
                assert_int_equal(r, rows[i].r);
                assert_true(pool_config_equal(config, before));
                assert_int_equal(config->given, 0);
        }
}

static void variables_of_the_loader_and_the_manager_are_refused(void **state) {
        static const char *const refused[] = { "LD_PRELOAD=/x.so", "LD_=1", "NOTIFY_SOCKET=/run/x",
                "LISTEN_FDS=1", "LISTEN_PID=1", "WATCHDOG_USEC=1", "DBUS_SESSION_BUS_ADDRESS=x" };
        static const char *const fine[] = { "LDX=1", "NOTIFY_SOCKETS=1", "LISTENER=1", "WATCHDOG=1",
                "PATH=/bin" };

        for (size_t i = 0; i < ELEMENTSOF(refused); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config();
                _cleanup_free_ char *error = NULL;

                set(config, "Command", "Environment", "A=1");
                assert_int_equal(pool_config_set_in_section(
                                         config, "Command", "Environment", refused[i], &error),
                        -EINVAL);
                assert_non_null(strstr(error, refused[i]));
                assert_int_equal(strv_length(config->handler_config.environment), 1);
        }
        for (size_t i = 0; i < ELEMENTSOF(fine); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config();

                set(config, "Command", "Environment", fine[i]);
        }
}

static void lists_and_texts_have_a_bound(void **state) {
        _cleanup_(pool_config_freep) PoolConfig *config = new_config();
        _cleanup_free_ char *error = NULL, *long_error = NULL, *cut_error = NULL;
        char text[2000];

        for (int i = 0; i < 64; i++) {
                (void) snprintf(text, sizeof(text), "V%i=1", i);
                set(config, "Command", "Environment", text);
        }
        assert_int_equal(
                pool_config_set_in_section(config, "Command", "Environment", "W=1", &error),
                -EINVAL);
        assert_string_equal(error, "Environment: 65 entries are too many, allowed are 64");

        memset(text, 'x', sizeof(text));
        text[1025] = '\0';
        assert_int_equal(
                pool_config_set_in_section(config, "Pool", "Description", text, &long_error),
                -EINVAL);
        assert_string_equal(long_error, "Description: 1025 bytes are too long, allowed are 1024");

        /* A long value is shown in part, and not cut inside of a character. */
        memcpy(text + 63, "é", 2);
        assert_int_equal(
                pool_config_set_in_section(config, "Pool", "QueueMax", text, &cut_error), -EINVAL);
        assert_string_equal(cut_error,
                "QueueMax: \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\" is "
                "not a number, allowed are 1 to 100000000");
}

static void outside_files_settings_have_one_name_and_their_own_types(void **state) {
        static char *const command[] = { (char *) "/bin/echo", (char *) "a b", NULL };
        static char *const bad_command[] = { (char *) "echo", NULL };
        static const struct {
                const char *name;
                SettingValue value;
                int r;
                const char *error;
        } rows[] = {
                { "QueueMax", { 't', .number = 5 }, 0 },
                { "QueueMax", { 'u', .number = 5 }, 0 },
                { "QueueMax", { 's', .string = "5" }, 0 },
                { "RunTimeoutUSec", { 't', .number = 5000 }, 0 },
                { "RunTimeoutUSec", { 't', .number = USEC_INFINITY }, 0 },
                { "RunTimeoutUSec", { 's', .string = "30s" }, 0 },
                { "RunTimeout", { 's', .string = "30s" }, 0 },
                { "PayloadMax", { 't', .number = 4096 }, 0 },
                { "ExecStart", { 'a', .list = command }, 0 },
                { "ExecStart", { 's', .string = "/bin/echo 'a b'" }, 0 },
                { "AllowArguments", { 'b', .number = 1 }, 0 },
                { "ModulePath", { 's', .string = "echo.so" }, 0 },
                { "ModuleOptions", { 's', .string = "a=b" }, 0 },
                { "ServiceBusName", { 's', .string = "org.example.Thumbs1" }, 0 },
                { "BusName", { 's', .string = "org.example.Thumbs1" }, 0 },
                { "ServiceObjectPath", { 's', .string = "/org" }, 0 },
                { "ObjectPath", { 's', .string = "/org" }, 0 },
                { "ServiceOutputMax", { 't', .number = 4096 }, 0 },

                { "RunTimeout", { 't', .number = 5000 }, -EINVAL,
                        "RunTimeout: needs a text such as \"30s\"; as a number of microseconds it "
                        "is "
                        "RunTimeoutUSec" },
                { "RunTimeoutUSec", { 't', .number = 999 }, -EINVAL,
                        "RunTimeoutUSec: 999 is out of range, allowed are 1ms to 10y, or "
                        "infinity" },
                { "QueueMax", { 't', .number = 0 }, -EINVAL,
                        "QueueMax: 0 is out of range, allowed are 1 to 100000000" },
                { "QueueMax", { 'b', .number = 1 }, -EINVAL, "QueueMax: needs a number" },
                { "QueueMax", { 'a', .list = command }, -EINVAL, "QueueMax: needs a number" },
                { "PayloadMax", { 't', .number = UINT64_MAX }, -EINVAL,
                        "PayloadMax: 18446744073709551615 is out of range, allowed are 0 to 16M" },
                { "AllowArguments", { 'u', .number = 1 }, -EINVAL,
                        "AllowArguments: needs yes or no" },
                { "Description", { 'u', .number = 1 }, -EINVAL, "Description: needs a text" },
                { "Fairness", { 'u', .number = 1 }, -EINVAL, "Fairness: needs a word" },
                { "ExecStart", { 'u', .number = 1 }, -EINVAL, "ExecStart: needs a command line" },
                { "ExecStart", { 'a', .list = bad_command }, -ENOEXEC,
                        "ExecStart: \"echo\" is not the absolute path of a command (up to 4095 "
                        "bytes, without %)" },
                { "AllowUsers", { 't', .number = 0 }, -EINVAL,
                        "AllowUsers: needs a list of names" },
                { "Path", { 's', .string = "echo.so" }, -ENOENT, "Path: there is no such setting" },
                { "", { 's', .string = "" }, -ENOENT, ": there is no such setting" },
                { "a\nb", { 's', .string = "" }, -ENOENT, "?: there is no such setting" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config();
                _cleanup_free_ char *error = NULL;

                assert_int_equal(
                        pool_config_set(config, rows[i].name, &rows[i].value, &error), rows[i].r);
                if (rows[i].error)
                        assert_string_equal(error, rows[i].error);
                else
                        assert_null(error);
        }
}

static void what_may_change_at_run_time_is_known(void **state) {
        static const struct {
                const char *name;
                int r;
        } rows[] = {
                { "MinWorkers", true },
                { "MaxWorkers", true },
                { "Workers", true },
                { "QueueMax", true },
                { "AgingIntervalUSec", true },
                { "AgingInterval", true },
                { "RunTimeoutUSec", true },
                { "KeyConcurrency", true },
                { "ScaleMode", true },
                { "ScaleInterval", true },
                { "ScaleUpAt", true },
                { "ScaleDownAt", true },
                { "ScaleTargetWaitUSec", true },
                { "Handler", false },
                { "ExecStart", false },
                { "ModulePath", false },
                { "BusName", false },
                { "ServiceOutputMax", false },
                { "StopTimeoutUSec", false },
                { "Path", -ENOENT },
                { "Nonsense", -ENOENT },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                assert_int_equal(pool_config_is_settable(rows[i].name), rows[i].r);
}

static void a_copy_is_equal_and_shares_nothing(void **state) {
        static const struct {
                const char *section, *key, *value;
        } rows[] = {
                { "Pool", "Description", "x" },
                { "Pool", "Handler", "module" },
                { "Pool", "Workers", "3" },
                { "Pool", "CPUAffinity", "0" },
                { "Pool", "RunTimeout", "7s" },
                { "Pool", "AllowUsers", "root" },
                { "Command", "ExecStart", "/bin/true" },
                { "Command", "Environment", "A=1" },
                { "Command", "PinCommands", "yes" },
                { "Module", "Path", "x.so" },
                { "Module", "Options", "a" },
                { "Service", "BusName", "org.example.Thumbs1" },
                { "Service", "ObjectPath", "/org" },
                { "Service", "OutputMax", "7" },
                { "Scale", "Mode", "wait" },
                { "Scale", "UpAt", "11" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config(), *copy = NULL,
                                                        *again = NULL;

                assert_int_equal(pool_config_copy(config, &copy), 0);
                assert_true(pool_config_equal(config, copy));
                set(copy, rows[i].section, rows[i].key, rows[i].value);
                assert_false(pool_config_equal(config, copy));
                assert_int_equal(pool_config_copy(copy, &again), 0);
                assert_true(pool_config_equal(again, copy));
                assert_int_equal(again->given, copy->given);
                assert_ptr_equal(again->handler_config.pool, again->name);
        }
}

static void a_copy_keeps_what_was_filled_in(void **state) {
        _cleanup_(pool_config_freep) PoolConfig *config = new_config(), *copy = NULL;
        _cleanup_free_ char *error = NULL;

        set(config, "Command", "ExecStart", "/bin/true");
        set(config, "Pool", "AllowUsers", "root 4711");
        set(config, "Pool", "AllowGroups", "root");
        assert_int_equal(pool_config_complete(config, &error), 0);
        assert_int_equal(pool_config_copy(config, &copy), 0);
        assert_int_equal(copy->n_allow_uids, 2);
        assert_int_equal(copy->allow_uids[0], 0);
        assert_int_equal(copy->allow_uids[1], 4711);
        assert_int_equal(copy->n_allow_gids, 1);
        assert_int_equal(copy->allow_gids[0], 0);
        assert_true(CPU_EQUAL(&copy->cpus, &config->cpus));
        assert_int_equal(copy->min_workers, config->min_workers);
}

static void workers_follow_from_the_cpus_unless_given(void **state) {
        static const struct {
                const char *key, *value;
                int min, max; /* negative: as many as CPUs */
        } rows[] = {
                { "QueueMax", "1", -1, -1 },
                { "Workers", "5", 5, 5 },
                { "MinWorkers", "1000", 1000, 1000 },
                { "MinWorkers", "1", 1, -1 },
                { "MaxWorkers", "1000", -1, 1000 },
                { "MaxWorkers", "1", 1, 1 },
        };
        cpu_set_t cpus;

        assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config();
                _cleanup_free_ char *error = NULL;

                set(config, "Command", "ExecStart", "/bin/true");
                set(config, "Pool", rows[i].key, rows[i].value);
                assert_int_equal(pool_config_complete(config, &error), 0);
                assert_int_equal(
                        config->min_workers, rows[i].min < 0 ? CPU_COUNT(&cpus) : rows[i].min);
                assert_int_equal(
                        config->max_workers, rows[i].max < 0 ? CPU_COUNT(&cpus) : rows[i].max);
                assert_true(CPU_EQUAL(&config->cpus, &cpus));
        }
}

static void a_section_is_what_makes_a_pool_elastic(void **state) {
        static const struct {
                const char *key, *value; /* NULL = the section alone */
                ScaleMode mode;
        } rows[] = {
                { NULL, NULL, SCALE_QUEUE },
                { "UpAt", "5", SCALE_QUEUE },
                { "Mode", "wait", SCALE_WAIT },
                { "Mode", "off", SCALE_OFF },
        };
        _cleanup_(pool_config_freep) PoolConfig *without = new_config();
        _cleanup_free_ char *error = NULL;

        set(without, "Command", "ExecStart", "/bin/true");
        assert_int_equal(pool_config_complete(without, &error), 0);
        assert_int_equal(without->scale_config.mode, SCALE_OFF);

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config(), *copy = NULL;

                set(config, "Command", "ExecStart", "/bin/true");
                assert_int_equal(pool_config_open_section(config, "Scale", &error), 0);
                if (rows[i].key)
                        set(config, "Scale", rows[i].key, rows[i].value);
                assert_int_equal(pool_config_complete(config, &error), 0);
                assert_int_equal(config->scale_config.mode, rows[i].mode);
                /* And so it stays, whatever is changed later. */
                assert_int_equal(pool_config_copy(config, &copy), 0);
                assert_int_equal(pool_config_complete(copy, &error), 0);
                assert_int_equal(copy->scale_config.mode, rows[i].mode);
        }
}

static void other_sections_count_when_they_are_empty_as_well(void **state) {
        _cleanup_(pool_config_freep) PoolConfig *config = new_config(), *limited = new_config(),
                                                *plain = NULL;
        _cleanup_free_ char *error = NULL;

        set(config, "Command", "ExecStart", "/bin/true");
        assert_int_equal(pool_config_copy(config, &plain), 0);
        assert_int_equal(pool_config_open_section(config, "Breaker", &error), 0);
        assert_int_equal(pool_config_complete(config, &error), 0);
        assert_true(config->own_breaker);
        assert_int_equal(pool_config_complete(plain, &error), 0);
        assert_false(pool_config_equal(config, plain));

        set(limited, "Command", "ExecStart", "/bin/true");
        assert_int_equal(pool_config_open_section(limited, "Limiter", &error), 0);
        assert_int_equal(pool_config_complete(limited, &error), -EINVAL);
        assert_string_equal(error, "LimiterRate: is missing, a limiter needs it");
}

static void the_thresholds_of_a_scale_are_apart(void **state) {
        static const struct {
                const char *up_at, *down_at, *error;
        } rows[] = {
                { "3", "2", NULL },
                { "1", "0", NULL },
                { "3", "3",
                        "ScaleDownAt: 3 is not below UpAt=3, so the number of workers would never "
                        "rest" },
                { "1", NULL,
                        "ScaleDownAt: 2 is not below UpAt=1, so the number of workers would never "
                        "rest" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config();
                _cleanup_free_ char *error = NULL;

                set(config, "Command", "ExecStart", "/bin/true");
                set(config, "Scale", "UpAt", rows[i].up_at);
                if (rows[i].down_at)
                        set(config, "Scale", "DownAt", rows[i].down_at);
                if (rows[i].error) {
                        assert_int_equal(pool_config_complete(config, &error), -EINVAL);
                        assert_string_equal(error, rows[i].error);
                } else
                        assert_int_equal(pool_config_complete(config, &error), 0);
        }
}

static void a_pool_on_one_cpu_has_one_worker(void **state) {
        _cleanup_(pool_config_freep) PoolConfig *config = new_config();
        _cleanup_free_ char *error = NULL;
        char text[16];
        size_t first = 0;
        cpu_set_t cpus;

        assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
        while (!CPU_ISSET(first, &cpus))
                first++;
        (void) snprintf(text, sizeof(text), "%zu", first);

        set(config, "Command", "ExecStart", "/bin/true");
        set(config, "Pool", "CPUAffinity", text);
        assert_int_equal(pool_config_complete(config, &error), 0);
        assert_int_equal(CPU_COUNT(&config->cpus), 1);
        assert_true(CPU_ISSET(first, &config->cpus));
        assert_int_equal(config->max_workers, 1);
}

static void a_completed_pool_can_be_changed_and_completed_again(void **state) {
        _cleanup_(pool_config_freep) PoolConfig *config = new_config();
        _cleanup_free_ char *error = NULL;

        set(config, "Command", "ExecStart", "/bin/true");
        assert_int_equal(pool_config_complete(config, &error), 0);
        set(config, "Pool", "MaxWorkers", "1");
        assert_int_equal(pool_config_complete(config, &error), 0);
        assert_int_equal(config->min_workers, 1);
        assert_int_equal(config->max_workers, 1);
}

static void what_only_shows_in_the_whole_is_checked(void **state) {
        static const struct {
                const char *settings[4][3]; /* section, key, value */
                int r;
                const char *error;
        } rows[] = {
                { { { "Command", "ExecStart", "/bin/true" } }, 0 },
                { { { "Pool", "Handler", "service" }, { "Service", "BusName", "org.example.A" },
                          { "Service", "ObjectPath", "/a" }, { "Pool", "Workers", "120" } },
                        0 },
                { { { "Pool", "Handler", "service" }, { "Service", "BusName", "org.example.A" },
                          { "Service", "ObjectPath", "/a" }, { "Pool", "MaxWorkers", "121" } },
                        -EINVAL,
                        "MaxWorkers: 121 is out of range, Handler=service has up to 120 calls at a "
                        "time" },
                { { { "Pool", "Handler", "service" }, { "Service", "BusName", "org.example.A" } },
                        -EINVAL, "ServiceObjectPath: is missing, Handler=service needs it" },
                { { { "Pool", "Handler", "service" }, { "Service", "ObjectPath", "/a" } }, -EINVAL,
                        "ServiceBusName: is missing, Handler=service needs it" },
                { { { "Pool", "Handler", "service" }, { "Service", "BusName", "org.example.A" },
                          { "Service", "ObjectPath", "/a" },
                          { "Command", "ExecStart", "/bin/true" } },
                        -EINVAL,
                        "ExecStart: is only for Handler=command, coprocess, but this is "
                        "Handler=service" },
                { { { "Pool", "Handler", "unit" }, { "Unit", "Template", "sluice-a@.service" },
                          { "Unit", "OutputMax", "1M" } },
                        0 },
                { { { "Pool", "Handler", "unit" } }, -EINVAL,
                        "UnitTemplate: is missing, Handler=unit needs it" },
                { { { "Pool", "Handler", "unit" }, { "Unit", "Template", "sluice-a@.service" },
                          { "Batch", "Size", "2" } },
                        -EINVAL,
                        "BatchSize: is only for Handler=command, module, service, but this is "
                        "Handler=unit" },
                { { { "Command", "ExecStart", "/bin/true" }, { "Service", "OutputMax", "1M" } },
                        -EINVAL,
                        "ServiceOutputMax: is only for Handler=service, but this is "
                        "Handler=command" },
                { { { "Pool", "Handler", "service" }, { "Service", "BusName", "org.example.A" },
                          { "Service", "ObjectPath", "/a" }, { "Batch", "Size", "29" } },
                        0 },
                { { { "Pool", "Handler", "service" }, { "Service", "BusName", "org.example.A" },
                          { "Service", "ObjectPath", "/a" }, { "Batch", "Size", "30" } },
                        -EINVAL,
                        "BatchSize: 30 jobs of up to PayloadMax=1048576 bytes are too much for one "
                        "call, which takes 30408704" },
                { { { "Pool", "Handler", "module" }, { "Module", "Path", "x.so" } }, 0 },
                /* What was taken away again is not given. */
                { { { "Pool", "Handler", "module" }, { "Module", "Path", "x.so" },
                          { "Command", "ExecStart", "/bin/true" }, { "Command", "ExecStart", "" } },
                        0 },
                { { { "Pool", "Workers", "1" } }, -EINVAL,
                        "ExecStart: is missing, Handler=command needs it" },
                { { { "Pool", "Handler", "module" } }, -EINVAL,
                        "ModulePath: is missing, Handler=module needs it" },
                { { { "Command", "ExecStart", "/bin/true" }, { "Module", "Path", "x.so" } },
                        -EINVAL,
                        "ModulePath: is only for Handler=module, but this is Handler=command" },
                { { { "Pool", "Handler", "module" }, { "Module", "Path", "x.so" },
                          { "Command", "PinCommands", "no" } },
                        -EINVAL,
                        "PinCommands: is only for Handler=command, coprocess, but this is "
                        "Handler=module" },
                { { { "Pool", "Handler", "coprocess" }, { "Command", "ExecStart", "/bin/true" },
                          { "Command", "Framing", "line" }, { "Command", "PinCommands", "yes" } },
                        0 },
                { { { "Pool", "Handler", "coprocess" } }, -EINVAL,
                        "ExecStart: is missing, Handler=coprocess needs it" },
                { { { "Command", "ExecStart", "/bin/true" }, { "Command", "Framing", "line" } },
                        -EINVAL,
                        "Framing: is only for Handler=coprocess, but this is Handler=command" },
                { { { "Pool", "Handler", "coprocess" }, { "Command", "ExecStart", "/bin/true" },
                          { "Command", "AllowArguments", "yes" } },
                        -EINVAL,
                        "AllowArguments: is only for Handler=command, but this is "
                        "Handler=coprocess" },
                { { { "Pool", "Handler", "coprocess" }, { "Command", "ExecStart", "/bin/true" },
                          { "Batch", "Size", "4" } },
                        -EINVAL,
                        "BatchSize: is only for Handler=command, module, service, but this is "
                        "Handler=coprocess" },
                { { { "Pool", "Handler", "lease" } }, 0 },
                { { { "Pool", "Handler", "lease" }, { "Lease", "AllowUsers", "root" },
                          { "Lease", "AllowGroups", "root" } },
                        0 },
                { { { "Command", "ExecStart", "/bin/true" }, { "Lease", "AllowUsers", "root" } },
                        -EINVAL,
                        "LeaseAllowUsers: is only for Handler=lease, but this is Handler=command" },
                { { { "Pool", "Handler", "lease" },
                          { "Lease", "AllowUsers", "no-such-user-here" } },
                        -EINVAL, "LeaseAllowUsers: there is no user \"no-such-user-here\"" },
                { { { "Pool", "Handler", "lease" },
                          { "Lease", "AllowGroups", "no-such-group-here" } },
                        -EINVAL, "LeaseAllowGroups: there is no group \"no-such-group-here\"" },
                { { { "Pool", "Handler", "lease" }, { "Batch", "Size", "4" } }, -EINVAL,
                        "BatchSize: is only for Handler=command, module, service, but this is "
                        "Handler=lease" },
                { { { "Pool", "Handler", "lease" }, { "Scale", "Mode", "queue" } }, -EINVAL,
                        "ScaleMode: Handler=lease has no workers to scale: MaxWorkers bounds what "
                        "is leased" },
                { { { "Pool", "Handler", "lease" }, { "Pool", "CPUAffinity", "0" } }, -EINVAL,
                        "CPUAffinity: is only for Handler=command, coprocess, module, but this is "
                        "Handler=lease" },
                { { { "Pool", "Handler", "lease" }, { "Command", "PinCommands", "yes" } }, -EINVAL,
                        "PinCommands: is only for Handler=command, coprocess, but this is "
                        "Handler=lease" },
                { { { "Command", "ExecStart", "/bin/true" }, { "Pool", "MinWorkers", "3" },
                          { "Pool", "MaxWorkers", "2" } },
                        -EINVAL, "MinWorkers: 3 is more than MaxWorkers=2" },
                { { { "Command", "ExecStart", "/no/such/command" } }, -ENOEXEC,
                        "ExecStart: \"/no/such/command\" does not exist" },
                { { { "Command", "ExecStart", "/no/\\xFF" } }, -ENOEXEC,
                        "ExecStart: \"?\" does not exist" },
                { { { "Command", "ExecStart", "/usr" } }, -ENOEXEC,
                        "ExecStart: \"/usr\" is not a regular file" },
                { { { "Command", "ExecStart", "/etc/passwd" } }, -ENOEXEC,
                        "ExecStart: \"/etc/passwd\" is not executable" },
                { { { "Command", "ExecStart", "/etc/passwd/x" } }, -ENOEXEC,
                        "ExecStart: \"/etc/passwd/x\" cannot be looked at" },
                { { { "Command", "ExecStart", "/bin/true" },
                          { "Command", "WorkingDirectory", "/no/such" } },
                        -EINVAL, "WorkingDirectory: \"/no/such\" is not a directory" },
                { { { "Command", "ExecStart", "/bin/true" },
                          { "Pool", "AllowUsers", "no-such-user-here" } },
                        -EINVAL, "AllowUsers: there is no user \"no-such-user-here\"" },
                { { { "Command", "ExecStart", "/bin/true" },
                          { "Pool", "AllowUsers", "4294967295" } },
                        -EINVAL, "AllowUsers: there is no user \"4294967295\"" },
                { { { "Command", "ExecStart", "/bin/true" },
                          { "Pool", "AllowGroups", "no-such-group-here" } },
                        -EINVAL, "AllowGroups: there is no group \"no-such-group-here\"" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config();
                _cleanup_free_ char *error = NULL;

                for (size_t k = 0; k < 4 && rows[i].settings[k][0]; k++)
                        set(config, rows[i].settings[k][0], rows[i].settings[k][1],
                                rows[i].settings[k][2]);
                assert_int_equal(pool_config_complete(config, &error), rows[i].r);
                if (rows[i].error)
                        assert_string_equal(error, rows[i].error);
                else
                        assert_null(error);
        }
}

#define NO_SECTION "Batch: netstring needs a section [Batch] (BatchSize, BatchTimeoutUSec)"
#define NO_FORMAT                                                                     \
        "BatchSize: 16 jobs at once are for a command that reads and writes them as " \
        "netstrings, with Batch=netstring in [Command]"

static void a_section_of_batches_has_a_size_and_a_timeout(void **state) {
        static const struct {
                const char *handler, *size, *timeout, *batch, *queue_max; /* NULL: not given */
                uint32_t n;
                usec_t timeout_usec;
                const char *error;
        } rows[] = {
                { "module", NULL, NULL, NULL, NULL, 1, 250000, NULL },
                { "module", "1", NULL, NULL, NULL, 1, 250000, NULL },
                { "module", "100", NULL, NULL, NULL, 100, 250000, NULL },
                { "module", NULL, "1s", NULL, NULL, 16, 1000000, NULL },
                { "module", NULL, "0", NULL, NULL, 16, 0, NULL },
                { "module", "3", "1s", NULL, "3", 3, 1000000, NULL },
                { "module", NULL, "1s", NULL, "3", 3, 1000000, NULL },
                { "module", "4", NULL, NULL, "3", 0, 0, "BatchSize: 4 is more than QueueMax=3" },
                { "command", "16", NULL, "netstring", NULL, 16, 250000, NULL },
                { "command", NULL, "250ms", "netstring", NULL, 16, 250000, NULL },
                { "command", "1", NULL, "netstring", NULL, 1, 250000, NULL },
                { "command", "1", NULL, NULL, NULL, 1, 250000, NULL },
                { "command", "16", NULL, "", NULL, 0, 0, NO_FORMAT },
                { "command", NULL, "1s", NULL, NULL, 0, 0, NO_FORMAT },
                { "command", NULL, NULL, "netstring", NULL, 0, 0, NO_SECTION },
                { "module", NULL, "1s", "netstring", NULL, 0, 0,
                        "Batch: is only for Handler=command, but this is Handler=module" },
                { "coprocess", NULL, NULL, "netstring", NULL, 0, 0,
                        "Batch: is only for Handler=command, but this is Handler=coprocess" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config();
                bool command = strcmp(rows[i].handler, "module") != 0;
                _cleanup_free_ char *error = NULL;

                set(config, "Pool", "Handler", rows[i].handler);
                set(config, command ? "Command" : "Module", command ? "ExecStart" : "Path",
                        command ? "/bin/true" : "x.so");
                if (rows[i].size)
                        set(config, "Batch", "Size", rows[i].size);
                if (rows[i].timeout)
                        set(config, "Batch", "Timeout", rows[i].timeout);
                if (rows[i].batch)
                        set(config, "Command", "Batch", rows[i].batch);
                if (rows[i].queue_max)
                        set(config, "Pool", "QueueMax", rows[i].queue_max);
                if (rows[i].error) {
                        assert_int_equal(pool_config_complete(config, &error), -EINVAL);
                        assert_string_equal(error, rows[i].error);
                        continue;
                }
                assert_int_equal(pool_config_complete(config, &error), 0);
                assert_int_equal(config->batch_size, rows[i].n);
                assert_int_equal(config->batch_timeout, rows[i].timeout_usec);
        }
}

static void a_section_of_batches_that_says_nothing_has_all_defaults(void **state) {
        static const char *const handlers[] = { "module", "command" };

        for (size_t i = 0; i < ELEMENTSOF(handlers); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config();
                _cleanup_free_ char *error = NULL;

                set(config, "Pool", "Handler", handlers[i]);
                if (i == 0)
                        set(config, "Module", "Path", "x.so");
                else {
                        set(config, "Command", "ExecStart", "/bin/true");
                        set(config, "Command", "Batch", "netstring");
                }
                assert_int_equal(pool_config_open_section(config, "Batch", &error), 0);
                assert_int_equal(pool_config_complete(config, &error), 0);
                assert_int_equal(config->batch_size, 16);
                assert_int_equal(config->batch_timeout, 250 * USEC_PER_MSEC);
        }
}

/* Else a pool would have batches because somebody looked at its time-out. */
static void a_timeout_makes_no_batches_of_a_pool_that_has_none(void **state) {
        _cleanup_(pool_config_freep) PoolConfig *config = new_config(), *copy = NULL;
        _cleanup_free_ char *error = NULL;

        set(config, "Pool", "Handler", "module");
        set(config, "Module", "Path", "x.so");
        assert_int_equal(pool_config_complete(config, &error), 0);
        assert_int_equal(pool_config_copy(config, &copy), 0);
        set(copy, "Batch", "Timeout", "1s");
        assert_int_equal(pool_config_complete(copy, &error), 0);
        assert_int_equal(copy->batch_size, 1);
}

static void a_cpu_that_may_not_be_used_is_refused(void **state) {
        _cleanup_(pool_config_freep) PoolConfig *config = new_config();
        _cleanup_free_ char *error = NULL;
        cpu_set_t cpus;

        assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
        if (CPU_ISSET(1023, &cpus))
                skip();

        set(config, "Command", "ExecStart", "/bin/true");
        set(config, "Pool", "CPUAffinity", "0-1023");
        assert_int_equal(pool_config_complete(config, &error), -EINVAL);
        assert_ptr_equal(
                strstr(error, "CPUAffinity: not all of \"0-1023\" may be used, allowed are the "
                              "CPUs "),
                error);
}

static int collect(void *userdata, const char *section, const char *key, const char *text) {
        char line[500];

        (void) snprintf(line, sizeof(line), "[%s] %s| %s", section, key, text);
        return strv_extend(userdata, line);
}

static void all_faults_of_a_file_are_told_with_their_settings(void **state) {
        static char *const expected[] = {
                (char *) "[Pool] MinWorkers| MinWorkers: 3 is more than MaxWorkers=2",
                (char *) "[Module] Path| Path: is only for Handler=module, but this is "
                         "Handler=command",
                (char *) "[Module] Options| Options: is only for Handler=module, but this is "
                         "Handler=command",
                (char *) "[Command] ExecStart| ExecStart: is missing, Handler=command needs it",
                (char *) "[Pool] AllowUsers| AllowUsers: there is no user \"nobody-1\"",
                (char *) "[Pool] AllowUsers| AllowUsers: there is no user \"nobody-2\"",
                NULL,
        };
        _cleanup_(pool_config_freep) PoolConfig *config = new_config();
        _cleanup_strv_ char **found = NULL;

        set(config, "Pool", "MinWorkers", "3");
        set(config, "Pool", "MaxWorkers", "2");
        set(config, "Pool", "AllowUsers", "nobody-1 root nobody-2");
        set(config, "Module", "Path", "x.so");
        set(config, "Module", "Options", "x");
        assert_int_equal(pool_config_complete_all(config, collect, &found), -EINVAL);
        for (size_t i = 0; expected[i]; i++)
                assert_string_equal(found[i] ?: "nothing", expected[i]);
        assert_int_equal(strv_length(found), strv_length(expected));
}

static void leases_have_slots_and_nothing_that_is_for_workers(void **state) {
        static const struct {
                const char *min, *max, *section;
                uint32_t n_min, n_max;
                const char *error;
        } rows[] = {
                { NULL, NULL, NULL, 1000, 1000, NULL },
                { NULL, "20", NULL, 20, 20, NULL },
                { "1024", NULL, NULL, 1024, 1024, NULL },
                { NULL, NULL, "Lease", 1000, 1000, NULL },
                { NULL, NULL, "Batch", 0, 0,
                        "BatchSize: batches are not for Handler=lease, where each call says how "
                        "many jobs it wants" },
                { NULL, NULL, "Scale", 0, 0,
                        "ScaleMode: Handler=lease has no workers to scale: MaxWorkers bounds what "
                        "is leased" },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(pool_config_freep) PoolConfig *config = new_config();
                _cleanup_free_ char *error = NULL;
                int r;

                set(config, "Pool", "Handler", "lease");
                if (rows[i].min)
                        set(config, "Pool", "MinWorkers", rows[i].min);
                if (rows[i].max)
                        set(config, "Pool", "MaxWorkers", rows[i].max);
                if (rows[i].section)
                        assert_int_equal(
                                pool_config_open_section(config, rows[i].section, &error), 0);
                r = pool_config_complete(config, &error);
                assert_int_equal(r, rows[i].error ? -EINVAL : 0);
                if (rows[i].error)
                        assert_string_equal(error, rows[i].error);
                else {
                        assert_int_equal(config->min_workers, rows[i].n_min);
                        assert_int_equal(config->max_workers, rows[i].n_max);
                }
        }
}

static void fairness_has_names(void **state) {
        assert_string_equal(fairness_to_string(FAIRNESS_NONE), "none");
        assert_string_equal(fairness_to_string(FAIRNESS_USER), "user");
        assert_null(fairness_to_string(_FAIRNESS_MAX));
        assert_null(fairness_to_string(_FAIRNESS_INVALID));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_untouched_pool_has_the_documented_defaults),
                cmocka_unit_test(numbers_times_sizes_and_switches_are_read),
                cmocka_unit_test(texts_and_lists_are_read),
                cmocka_unit_test(a_bad_value_is_refused_with_what_is_allowed),
                cmocka_unit_test(variables_of_the_loader_and_the_manager_are_refused),
                cmocka_unit_test(lists_and_texts_have_a_bound),
                cmocka_unit_test(outside_files_settings_have_one_name_and_their_own_types),
                cmocka_unit_test(what_may_change_at_run_time_is_known),
                cmocka_unit_test(a_copy_is_equal_and_shares_nothing),
                cmocka_unit_test(a_copy_keeps_what_was_filled_in),
                cmocka_unit_test(workers_follow_from_the_cpus_unless_given),
                cmocka_unit_test(a_section_is_what_makes_a_pool_elastic),
                cmocka_unit_test(other_sections_count_when_they_are_empty_as_well),
                cmocka_unit_test(the_thresholds_of_a_scale_are_apart),
                cmocka_unit_test(a_pool_on_one_cpu_has_one_worker),
                cmocka_unit_test(a_completed_pool_can_be_changed_and_completed_again),
                cmocka_unit_test(what_only_shows_in_the_whole_is_checked),
                cmocka_unit_test(a_section_of_batches_has_a_size_and_a_timeout),
                cmocka_unit_test(a_section_of_batches_that_says_nothing_has_all_defaults),
                cmocka_unit_test(a_timeout_makes_no_batches_of_a_pool_that_has_none),
                cmocka_unit_test(a_cpu_that_may_not_be_used_is_refused),
                cmocka_unit_test(all_faults_of_a_file_are_told_with_their_settings),
                cmocka_unit_test(leases_have_slots_and_nothing_that_is_for_workers),
                cmocka_unit_test(fairness_has_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
