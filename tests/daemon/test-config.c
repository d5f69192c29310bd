/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>

#include "daemon/config.h"
#include "engine/pressure.h"
#include "test.h"
#include "util/fd.h"
#include "util/strv.h"

/* Folders of one test: TOP/etc before TOP/lib, and TOP/none, which is not there. */
typedef struct Box {
        char top[32];
        char *dirs[4];
} Box;

static int setup(void **state) {
        static const char *const names[] = { "etc", "none", "lib" };
        Box *box = calloc(1, sizeof(*box));

        assert_non_null(box);
        (void) strcpy(box->top, "/tmp/test-config-XXXXXX");
        assert_non_null(mkdtemp(box->top));
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                assert_true(asprintf(&box->dirs[i], "%s/%s", box->top, names[i]) >= 0);
                if (strcmp(names[i], "none") != 0)
                        assert_int_equal(mkdir(box->dirs[i], 0700), 0);
        }
        *state = box;
        return 0;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
        return remove(path);
}

static int teardown(void **state) {
        Box *box = *state;

        assert_int_equal(nftw(box->top, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
        for (size_t i = 0; i < 3; i++)
                free(box->dirs[i]);
        free(box);
        return 0;
}

/* The path of a name below the folders; good until the fourth next call. */
static const char *in(const Box *box, const char *name) {
        static char paths[4][256];
        static unsigned turn;
        char *path = paths[turn++ % 4];

        (void) snprintf(path, sizeof(paths[0]), "%s/%s", box->top, name);
        return path;
}

static void put_bytes(const Box *box, const char *name, const void *data, size_t size) {
        _cleanup_free_ char *folder = strdup(in(box, name));
        _cleanup_close_ int fd = -EBADF;

        *strrchr(folder, '/') = '\0';
        (void) mkdir(folder, 0700);
        fd = open(in(box, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, data, size), 0);
}

static void put(const Box *box, const char *name, const char *text) {
        put_bytes(box, name, text, strlen(text));
}

static Config *load(const Box *box) {
        Config *config = NULL;

        assert_int_equal(
                config_load(box->dirs, FAIRNESS_NONE, HANDLER_BUS_UNKNOWN, NULL, &config), 0);
        return config;
}

static Config *load_well(const Box *box) {
        Config *config = load(box);

        if (config->faults)
                fail_msg("%s", config->faults[0]);
        return config;
}

/* Expects exactly these faults, each without the path of the box. */
static void expect_faults(const Box *box, const char *const *faults) {
        _cleanup_(config_freep) Config *config = load(box);
        size_t i;

        for (i = 0; faults[i]; i++) {
                if (i >= strv_length(config->faults))
                        fail_msg("missing: %s", faults[i]);
                assert_ptr_equal(strstr(config->faults[i], box->top), config->faults[i]);
                assert_string_equal(config->faults[i] + strlen(box->top) + 1, faults[i]);
        }
        if (i < strv_length(config->faults))
                fail_msg("unexpected: %s", config->faults[i]);
        assert_int_equal(config->n_pools, 0);
}

#define EXPECT_FAULTS(box, ...) expect_faults((box), (const char *const[]){ __VA_ARGS__, NULL })

static const PoolConfig *pool(const Config *config, const char *name) {
        const ConfigPool *p = config_find_pool(config, name);

        assert_non_null(p);
        return p->config;
}

static void without_files_there_is_nothing_but_defaults(void **state) {
        _cleanup_(config_freep) Config *config = load_well(*state);

        assert_int_equal(config->n_pools, 0);
        assert_true(config->log_level < 0);
        assert_int_equal(config->drain_timeout, 25 * USEC_PER_SEC);
        assert_null(config_find_pool(config, "a"));
}

static void pools_are_read_in_the_order_of_their_names(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        Box *box = *state;

        put(box, "lib/b.pool", "[Command]\nExecStart=/bin/true\n");
        put(box, "etc/c.pool",
                "# with a comment\n[Pool]\nHandler=module\nWorkers=3\n\n[Module]\nPath=echo.so\n");
        put(box, "etc/a-1.pool", "[Command]\nExecStart=/bin/echo 'a ; b' \\\n  c\n");
        config = load_well(box);

        assert_int_equal(config->n_pools, 3);
        assert_string_equal(config->pools[0].config->name, "a-1");
        assert_string_equal(config->pools[1].config->name, "b");
        assert_string_equal(config->pools[2].config->name, "c");
        assert_string_equal(config->pools[1].path, in(box, "lib/b.pool"));
        assert_int_equal(pool(config, "c")->max_workers, 3);
        assert_string_equal(pool(config, "a-1")->handler_config.exec_start[1], "a ; b");
        assert_string_equal(pool(config, "a-1")->handler_config.exec_start[2], "c");
        assert_true(pool(config, "b")->max_workers > 0);
}

static void what_is_no_settings_file_is_left_alone(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        Box *box = *state;

        put(box, "etc/.a.pool", "nonsense");
        put(box, "etc/.pool", "nonsense");
        put(box, "etc/a.pool~", "nonsense");
        put(box, "etc/a.pool.swp", "nonsense");
        put(box, "etc/README", "nonsense");
        put(box, "etc/a.pool.d/README", "nonsense");
        put(box, "etc/only-drop-in.pool.d/a.conf", "nonsense");
        config = load_well(box);
        assert_int_equal(config->n_pools, 0);
}

static void the_first_file_of_a_name_counts(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        Box *box = *state;

        put(box, "etc/a.pool", "[Pool]\nWorkers=1\n[Command]\nExecStart=/bin/true\n");
        put(box, "lib/a.pool", "nonsense that nobody reads");
        config = load_well(box);
        assert_int_equal(config->n_pools, 1);
        assert_int_equal(pool(config, "a")->max_workers, 1);
}

static void drop_ins_of_all_folders_are_applied_by_name(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        Box *box = *state;

        put(box, "lib/a.pool",
                "[Pool]\nQueueMax=1\nDescription=main\n[Command]\nExecStart=/bin/true\n"
                "Environment=A=1\n");
        put(box, "lib/a.pool.d/10-x.conf", "[Pool]\nQueueMax=10\nWorkers=1\n");
        put(box, "etc/a.pool.d/20-y.conf", "[Pool]\nQueueMax=20\n[Command]\nEnvironment=B=2\n");
        put(box, "lib/a.pool.d/30-z.conf", "[Pool]\nQueueMax=30\n[Command]\nEnvironment=C=3\n");
        put(box, "etc/a.pool.d/30-z.conf", "[Pool]\nMaxWorkers=2\n");
        config = load_well(box);

        assert_int_equal(pool(config, "a")->queue_max, 20);
        assert_int_equal(pool(config, "a")->min_workers, 1);
        assert_int_equal(pool(config, "a")->max_workers, 2);
        assert_string_equal(pool(config, "a")->description, "main");
        assert_int_equal(strv_length(pool(config, "a")->handler_config.environment), 2);
}

static void an_empty_file_or_a_link_to_dev_null_masks(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        Box *box = *state;

        put(box, "lib/a.pool", "[Command]\nExecStart=/bin/true\n");
        put(box, "etc/a.pool", "");
        put(box, "etc/a.pool.d/x.conf", "nonsense that nobody reads");
        put(box, "lib/b.pool", "[Command]\nExecStart=/bin/true\n");
        assert_int_equal(symlink("/dev/null", in(box, "etc/b.pool")), 0);
        put(box, "lib/c.pool", "[Command]\nExecStart=/bin/true\n");
        put(box, "lib/c.pool.d/x.conf", "[Pool]\nQueueMax=7\n");
        put(box, "lib/c.pool.d/y.conf", "[Pool]\nWorkers=7\n");
        put(box, "etc/c.pool.d/x.conf", "");
        config = load_well(box);

        assert_int_equal(config->n_pools, 1);
        assert_int_equal(pool(config, "c")->queue_max, 1024);
        assert_int_equal(pool(config, "c")->max_workers, 7);
}

static void every_fault_of_a_file_is_told_with_its_line(void **state) {
        Box *box = *state;

        put(box, "etc/a.pool",
                "[Pool]\nQueueMax=abc\n\n# fine\nWorkers=\\\n 0\nNonsense=1\nnonsense\n"
                "[Tube]\nRate=5\n[Command]\nExecStart=true\n");
        EXPECT_FAULTS(box,
                "etc/a.pool:2: QueueMax: \"abc\" is not a number, allowed are 1 to 100000000",
                "etc/a.pool:5: Workers: \"0\" is out of range, allowed are 1 to 1024",
                "etc/a.pool:7: Nonsense: there is no such setting",
                "etc/a.pool:8: neither a [Section], nor a # comment, nor KEY=VALUE",
                "etc/a.pool:9: [Tube]: there is no such section, allowed are Pool, Command, "
                "Module, Service, Unit, Lease, Limiter, Breaker, Batch, Scale",
                "etc/a.pool:12: ExecStart: \"true\" is not the absolute path of a command (up to "
                "4095 bytes, without %)");
}

static void faults_of_the_whole_point_to_the_setting_that_is_wrong(void **state) {
        Box *box = *state;

        put(box, "etc/a.pool",
                "[Pool]\nMaxWorkers=1\nAllowUsers=no-such-user-here\n\n[Command]\nPinCommands="
                "no\n");
        put(box, "etc/a.pool.d/x.conf", "\n[Pool]\nMinWorkers=2\n[Module]\nPath=x.so\n");
        put(box, "etc/b.pool", "# nothing\n");
        put(box, "lib/c.pool", "[Command]\n\n\nExecStart=/no/such/file\nExecStart=/no/such\n");
        EXPECT_FAULTS(box, "etc/a.pool.d/x.conf:3: MinWorkers: 2 is more than MaxWorkers=1",
                "etc/a.pool.d/x.conf:5: Path: is only for Handler=module, but this is "
                "Handler=command",
                "etc/a.pool:5: ExecStart: is missing, Handler=command needs it",
                "etc/a.pool:3: AllowUsers: there is no user \"no-such-user-here\"",
                "etc/b.pool:1: ExecStart: is missing, Handler=command needs it",
                "lib/c.pool:5: ExecStart: \"/no/such\" does not exist");
}

static void a_handler_that_cannot_be_had_is_a_fault_of_its_setting(void **state) {
        Box *box = *state;

        put(box, "etc/a.pool", "[Pool]\nHandler=module\n[Module]\nOptions=x\nPath=missing.so\n");
        EXPECT_FAULTS(box, "etc/a.pool:5: Path=missing.so: there is no such plug-in");
}

static void a_faulty_pool_does_not_harm_others(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        Box *box = *state;

        put(box, "etc/a.pool", "[Command]\nExecStart=/bin/true\n");
        put(box, "etc/b.pool", "[Command]\nExecStart=/bin/true\n");
        put(box, "etc/b.pool.d/x.conf", "[Pool]\nWorkers=many\n");
        put(box, "etc/c.pool", "[Command]\nExecStart=/bin/true\n");
        config = load(box);

        assert_int_equal(strv_length(config->faults), 1);
        assert_int_equal(config->n_pools, 2);
        assert_non_null(config_find_pool(config, "a"));
        assert_null(config_find_pool(config, "b"));
        assert_non_null(config_find_pool(config, "c"));
}

static void a_file_that_cannot_be_read_is_a_fault(void **state) {
        static char big[(1 << 20) + 1];
        Box *box = *state;

        assert_int_equal(symlink("nowhere", in(box, "etc/a.pool")), 0);
        assert_int_equal(mkdir(in(box, "etc/b.pool"), 0700), 0);
        assert_int_equal(mkfifo(in(box, "etc/c.pool"), 0600), 0);
        memset(big, '\n', sizeof(big));
        put_bytes(box, "etc/d.pool", big, sizeof(big));
        put(box, "etc/not a name.pool", "[Command]\nExecStart=/bin/true\n");
        put(box, "etc/\xFF.pool", "[Command]\nExecStart=/bin/true\n");
        EXPECT_FAULTS(box, "etc/a.pool:1: No such file or directory",
                "etc/b.pool:1: Is a directory", "etc/c.pool:1: not a regular file",
                "etc/d.pool:1: the file is larger than 1M",
                "etc/not a name.pool:1: a pool's name is 1 to 64 of A-Z a-z 0-9 _ - . and starts "
                "with neither . nor -",
                "etc/?.pool:1: a pool's name is 1 to 64 of A-Z a-z 0-9 _ - . and starts with "
                "neither . nor -");
}

static void a_folder_that_cannot_be_read_is_a_fault(void **state) {
        Box *box = *state;

        put(box, "none", "a file where a folder should be");
        EXPECT_FAULTS(box, "none:1: Not a directory");
}

static void a_file_of_faults_is_not_told_to_the_end(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        static char many[20000];
        Box *box = *state;

        for (size_t i = 0; i < sizeof(many); i += 2)
                memcpy(many + i, "x\n", 2);
        put_bytes(box, "etc/a.pool", many, sizeof(many));
        config = load(box);
        assert_int_equal(strv_length(config->faults), 101);
        assert_non_null(strstr(config->faults[100], "too many faults"));
}

static uint64_t digest_of(const Box *box, const char *name) {
        _cleanup_(config_freep) Config *config = load_well(box);
        const ConfigPool *p = config_find_pool(config, name);

        assert_non_null(p);
        return p->digest;
}

static void the_digest_follows_the_text_and_nothing_else(void **state) {
        Box *box = *state;
        uint64_t first, with_drop_in;

        put(box, "lib/a.pool", "[Command]\nExecStart=/bin/true\n");
        put(box, "lib/b.pool", "[Command]\nExecStart=/bin/true\n# b\n");
        first = digest_of(box, "a");
        assert_int_equal(digest_of(box, "a"), first);
        assert_int_not_equal(digest_of(box, "b"), first);

        put(box, "lib/b.pool", "[Command]\nExecStart=/bin/echo\n");
        assert_int_equal(digest_of(box, "a"), first);

        put(box, "lib/a.pool.d/x.conf", "[Pool]\n");
        with_drop_in = digest_of(box, "a");
        assert_int_not_equal(with_drop_in, first);
        put(box, "lib/a.pool.d/x.conf", "[Pool]\n\n");
        assert_int_not_equal(digest_of(box, "a"), with_drop_in);
        put(box, "etc/a.pool.d/x.conf", "");
        assert_int_equal(digest_of(box, "a"), first);

        put(box, "lib/a.pool", "[Command]\nExecStart=/bin/true\n ");
        assert_int_not_equal(digest_of(box, "a"), first);
}

static void pools_that_do_not_say_get_the_fairness_of_the_bus(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        Box *box = *state;

        put(box, "etc/a.pool", "[Command]\nExecStart=/bin/true\n");
        put(box, "etc/b.pool", "[Pool]\nFairness=none\n[Command]\nExecStart=/bin/true\n");
        assert_int_equal(
                config_load(box->dirs, FAIRNESS_USER, HANDLER_BUS_UNKNOWN, NULL, &config), 0);
        assert_int_equal(pool(config, "a")->fairness, FAIRNESS_USER);
        assert_int_equal(pool(config, "b")->fairness, FAIRNESS_NONE);
}

static void the_daemon_has_settings_of_its_own(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        Box *box = *state;

        put(box, "etc/sluiced.conf", "[Daemon]\nLogLevel=debug\nDrainTimeout=10s\n");
        put(box, "lib/sluiced.conf", "nonsense that nobody reads");
        put(box, "lib/sluiced.conf.d/x.conf", "[Daemon]\nDrainTimeout=5s\n");
        config = load_well(box);
        assert_int_equal(config->log_level, LOG_DEBUG);
        assert_int_equal(config->drain_timeout, 5 * USEC_PER_SEC);
}

static void each_user_may_have_what_the_quota_says(void **state) {
        _cleanup_(config_freep) Config *config = NULL, *other = NULL;
        Box *box = *state;

        config = load_well(box);
        assert_int_equal(config->quota.max[QUOTA_JOBS], 100000);
        put(box, "etc/sluiced.conf",
                "[Quota]\nJobsMax=5\nBytesMax=64K\nCallsMax=infinity\nSubscriptionsMax=0\n"
                "GroupsMax=7\nConnectionsMax=8\n");
        other = load_well(box);
        assert_int_equal(other->quota.max[QUOTA_JOBS], 5);
        assert_int_equal(other->quota.max[QUOTA_BYTES], 65536);
        assert_true(other->quota.max[QUOTA_CALLS] == UINT64_MAX);
        assert_int_equal(other->quota.max[QUOTA_SUBSCRIPTIONS], 0);
        assert_int_equal(other->quota.max[QUOTA_GROUPS], 7);
        assert_int_equal(other->quota.max[QUOTA_CONNECTIONS], 8);
}

static void faults_of_the_quota_are_told(void **state) {
        Box *box = *state;

        put(box, "etc/sluiced.conf",
                "[Quota]\nJobsMax=many\nBytesMax=-1\nCallsMax=2000000000000\n");
        EXPECT_FAULTS(box,
                "etc/sluiced.conf:2: JobsMax: \"many\" is not a number, allowed are 0 to "
                "1099511627776, or infinity",
                "etc/sluiced.conf:3: BytesMax: \"-1\" is not a size such as 64K, allowed are 0 to "
                "1T, or infinity",
                "etc/sluiced.conf:4: CallsMax: \"2000000000000\" is out of range, allowed are 0 to "
                "1099511627776, or infinity");
}

static void a_faulty_sluiced_conf_changes_nothing(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        Box *box = *state;

        put(box, "etc/sluiced.conf",
                "[Daemon]\nLogLevel=debug\nDrainTimeout=26s\nLogLevel=loud\nX=1\n[Pool]\nY=1\n");
        EXPECT_FAULTS(box,
                "etc/sluiced.conf:3: DrainTimeout: \"26s\" is out of range, allowed are 0 to 25s",
                "etc/sluiced.conf:4: LogLevel: \"loud\" is not known, allowed are err, warning, "
                "notice, info, debug",
                "etc/sluiced.conf:5: X: there is no such setting",
                "etc/sluiced.conf:6: [Pool]: there is no such section, allowed are Daemon, Quota");
        config = load(box);
        assert_true(config->log_level < 0);
        assert_int_equal(config->drain_timeout, 25 * USEC_PER_SEC);
}

static void users_have_a_folder_before_those_of_the_system(void **state) {
        static const struct {
                bool user;
                const char *config_home, *home, *first;
        } rows[] = {
                { false, "/x", "/home/a", "/etc/sluice" },
                { true, "/x", "/home/a", "/x/sluice" },
                { true, NULL, "/home/a", "/home/a/.config/sluice" },
                { true, "relative", "/home/a", "/home/a/.config/sluice" },
                { true, "", "/home/a", "/home/a/.config/sluice" },
                { true, NULL, NULL, "/etc/sluice" },
        };
        static const char *const rest[] = { "/etc/sluice", "/run/sluice", "/usr/local/lib/sluice",
                "/usr/lib/sluice" };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_strv_ char **dirs = NULL;
                size_t n;

                (void) (rows[i].config_home ? setenv("XDG_CONFIG_HOME", rows[i].config_home, 1)
                                            : unsetenv("XDG_CONFIG_HOME"));
                (void) (rows[i].home ? setenv("HOME", rows[i].home, 1) : unsetenv("HOME"));
                assert_int_equal(config_search_path(rows[i].user, &dirs), 0);

                assert_string_equal(dirs[0], rows[i].first);
                n = strv_length(dirs);
                for (size_t k = 0; k < ELEMENTSOF(rest); k++)
                        assert_string_equal(dirs[n - ELEMENTSOF(rest) + k], rest[k]);
        }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void limiters_are_read_and_pools_find_them(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        const ConfigLimiter *limiter;
        Box *box = *state;

        put(box, "etc/api.limiter", "[Limiter]\nRate=100/30s\n");
        put(box, "etc/api.limiter.d/more.conf", "[Limiter]\nBurst=7\n");
        put(box, "etc/a.pool", "[Pool]\nLimiter=api\n[Command]\nExecStart=/bin/true\n");
        put(box, "etc/b.pool", "[Command]\nExecStart=/bin/true\n[Limiter]\nRate=10/min\nBurst=\n");
        config = load_well(box);

        assert_int_equal(config->n_limiters, 1);
        limiter = config_find_limiter(config, "api");
        assert_non_null(limiter);
        assert_int_equal(limiter->config.rate, 100);
        assert_int_equal(limiter->config.period, 30 * USEC_PER_SEC);
        assert_int_equal(limiter->config.burst, 7);
        assert_string_equal(limiter->path, in(box, "etc/api.limiter"));
        assert_string_equal(pool(config, "a")->limiter, "api");
        assert_int_equal(pool(config, "b")->limiter_config.rate, 10);
        assert_int_equal(pool(config, "b")->limiter_config.period, USEC_PER_MINUTE);
        assert_int_equal(pool(config, "b")->limiter_config.burst, 0);
}

static void breakers_are_read_and_pools_find_them(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        const ConfigBreaker *breaker;
        Box *box = *state;

        put(box, "etc/api.breaker", "[Breaker]\nMaxFailures=3\nResetTimeout=5s\n");
        put(box, "etc/a.pool",
                "[Pool]\nBreaker=api\nOnOpen=hold\n[Command]\nExecStart=/bin/true\n");
        put(box, "etc/b.pool", "[Command]\nExecStart=/bin/true\n[Breaker]\nWindowSize=50\n");
        config = load_well(box);

        assert_int_equal(config->n_breakers, 1);
        breaker = config_find_breaker(config, "api");
        assert_non_null(breaker);
        assert_int_equal(breaker->config.max_failures, 3);
        assert_int_equal(breaker->config.reset_timeout, 5 * USEC_PER_SEC);
        assert_int_equal(breaker->config.window_size, 20);
        assert_string_equal(pool(config, "a")->breaker, "api");
        assert_true(pool(config, "a")->hold_on_open);
        assert_false(pool(config, "a")->own_breaker);
        assert_true(pool(config, "b")->own_breaker);
        assert_int_equal(pool(config, "b")->breaker_config.window_size, 50);
}

static void a_section_without_settings_counts(void **state) {
        Box *box = *state;

        {
                _cleanup_(config_freep) Config *config = NULL;

                put(box, "etc/a.pool", "[Command]\nExecStart=/bin/true\n[Breaker]\n# defaults\n");
                put(box, "etc/b.pool", "[Command]\nExecStart=/bin/true\n");
                put(box, "etc/b.pool.d/x.conf", "[Breaker]\n");
                put(box, "etc/c.pool", "[Command]\nExecStart=/bin/true\n");
                put(box, "etc/d.breaker", "[Breaker]\n");
                config = load_well(box);
                assert_true(pool(config, "a")->own_breaker);
                assert_int_equal(pool(config, "a")->breaker_config.max_failures, 5);
                assert_true(pool(config, "b")->own_breaker);
                assert_false(pool(config, "c")->own_breaker);
                assert_int_equal(config_find_breaker(config, "d")->config.max_failures, 5);
        }
        put(box, "etc/a.pool", "[Command]\nExecStart=/bin/true\n\n[Limiter]\n");
        put(box, "etc/b.pool.d/x.conf", "[Limiter]\n");
        put(box, "etc/c.pool", "[Pool]\nBreaker=d\n[Command]\nExecStart=/bin/true\n[Breaker]\n");
        put(box, "etc/e.limiter", "# a comment\n[Limiter]\n");
        put(box, "etc/f.pool", "[Command]\nExecStart=/bin/true\n[Brekaer]\n");
        EXPECT_FAULTS(box, "etc/e.limiter:2: Rate: is missing, a limiter needs it",
                "etc/a.pool:4: Rate: is missing, a limiter needs it",
                "etc/b.pool.d/x.conf:1: Rate: is missing, a limiter needs it",
                "etc/c.pool:2: Breaker: is a shared breaker, but [Breaker] is one as well",
                "etc/f.pool:3: [Brekaer]: there is no such section, allowed are Pool, Command, "
                "Module, Service, Unit, Lease, Limiter, Breaker, Batch, Scale");
}

static void a_breaker_that_is_not_there_is_a_fault_of_the_pool(void **state) {
        Box *box = *state;

        put(box, "etc/a.pool", "[Pool]\nBreaker=api\n[Command]\nExecStart=/bin/true\n");
        put(box, "etc/c.breaker", "[Breaker]\nMaxFailures=3\n");
        put(box, "etc/c.pool", "[Command]\nExecStart=/bin/true\n[Breaker]\nMaxFailures=3\n");
        put(box, "etc/e.breaker", "[Breaker]\nHalfOpenProbes=0\n");
        EXPECT_FAULTS(box,
                "etc/e.breaker:2: HalfOpenProbes: \"0\" is out of range, allowed are 1 to 1000000",
                "etc/a.pool:2: Breaker: there is no api.breaker without a fault",
                "etc/c.pool:3: Breaker: there is a c.breaker as well");
}

static void a_limiter_that_is_not_there_is_a_fault_of_the_pool(void **state) {
        Box *box = *state;

        put(box, "etc/a.pool", "[Pool]\nLimiter=api\n[Command]\nExecStart=/bin/true\n");
        put(box, "etc/b.pool", "[Command]\nExecStart=/bin/true\n[Limiter]\nBurst=3\n");
        put(box, "etc/c.limiter", "[Limiter]\nRate=1/s\n");
        put(box, "etc/c.pool", "[Command]\nExecStart=/bin/true\n[Limiter]\nRate=1/s\n");
        put(box, "etc/d.pool",
                "[Pool]\nLimiter=c\n[Command]\nExecStart=/bin/true\n[Limiter]\nRate=1/s\n");
        put(box, "etc/e.limiter", "[Limiter]\nRate=-1/s\n[Pool]\n");
        put(box, "etc/f.limiter", "[Limiter]\nBurst=3\n");
        EXPECT_FAULTS(box,
                "etc/e.limiter:2: Rate: \"-1/s\" is not a rate such as 50/s, 10/min, 1/h or "
                "100/30s, "
                "allowed are 1 to 1000000000000 in 1us to 1y",
                "etc/e.limiter:3: [Pool]: there is no such section, allowed is Limiter",
                "etc/f.limiter:1: Rate: is missing, a limiter needs it",
                "etc/a.pool:2: Limiter: there is no api.limiter without a fault",
                "etc/b.pool:3: Rate: is missing, a limiter needs it",
                "etc/c.pool:4: Rate: there is a c.limiter as well",
                "etc/d.pool:2: Limiter: is a shared limiter, but [Limiter] is one as well");
}

static void a_scale_is_read_also_where_it_says_nothing(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        Box *box = *state;

        put(box, "etc/a.pool", "[Command]\nExecStart=/bin/true\n[Scale]\n");
        put(box, "etc/b.pool",
                "[Command]\nExecStart=/bin/true\n[Scale]\nMode=wait\nTargetWait=1s\n");
        put(box, "etc/c.pool", "[Command]\nExecStart=/bin/true\n");
        put(box, "etc/d.pool", "[Command]\nExecStart=/bin/true\n[Breaker]\n");
        config = load_well(box);

        assert_int_equal(pool(config, "a")->scale_config.mode, SCALE_QUEUE);
        assert_int_equal(pool(config, "b")->scale_config.mode, SCALE_WAIT);
        assert_int_equal(pool(config, "b")->scale_config.target_wait, USEC_PER_SEC);
        assert_int_equal(pool(config, "c")->scale_config.mode, SCALE_OFF);
        assert_true(pool(config, "d")->own_breaker);
}

/* Both kinds of hosts are fine: one that tells of pressure, and one that does not. */
static void pressure_that_cannot_be_told_is_a_fault_of_its_line(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_free_ char *expect = NULL;
        Box *box = *state;
        bool can = true;

        for (PressureResource i = 0; i < _PRESSURE_RESOURCE_MAX && can; i++) {
                _cleanup_free_ char *error = NULL;
                Pressure pressure;

                can = pressure_init(&pressure, i, NULL, &error) >= 0;
                if (can)
                        pressure_done(&pressure);
                else
                        assert_true(asprintf(&expect, "etc/a.pool:4: Mode: %s", error) >= 0);
        }
        put(box, "etc/a.pool", "[Command]\nExecStart=/bin/true\n[Scale]\nMode=pressure\n");
        if (!can) {
                EXPECT_FAULTS(box, expect);
                return;
        }
        config = load_well(box);
        assert_int_equal(pool(config, "a")->scale_config.mode, SCALE_PRESSURE);
}

static void the_thresholds_of_a_scale_are_apart(void **state) {
        Box *box = *state;

        put(box, "etc/a.pool", "[Command]\nExecStart=/bin/true\n[Scale]\nUpAt=5\nDownAt=5\n");
        EXPECT_FAULTS(box,
                "etc/a.pool:5: DownAt: 5 is not below UpAt=5, so the number of workers would never "
                "rest");
}

static void pipelines_are_read_and_find_their_pools(void **state) {
        _cleanup_(config_freep) Config *config = NULL;
        const ConfigPipeline *pipeline;
        Box *box = *state;

        put(box, "etc/a.pool", "[Command]\nExecStart=/bin/true\n");
        put(box, "lib/b.pool", "[Command]\nExecStart=/bin/true\n");
        put(box, "lib/p.pipeline", "[Pipeline]\nStages=a b a\n");
        put(box, "etc/q.pipeline", "[Pipeline]\nStages=b\nMaxInFlight=7\n");
        put(box, "etc/q.pipeline.d/more.conf", "[Pipeline]\nStages=\nStages=a\nStages=a\n");
        config = load_well(box);

        assert_int_equal(config->n_pipelines, 2);
        pipeline = config_find_pipeline(config, "p");
        assert_non_null(pipeline);
        assert_int_equal(strv_length(pipeline->config->stages), 3);
        assert_string_equal(pipeline->config->stages[1], "b");
        assert_string_equal(pipeline->config->stages[2], "a");
        assert_int_equal(pipeline->config->max_in_flight, 1000);
        assert_string_equal(pipeline->path, in(box, "lib/p.pipeline"));
        pipeline = config_find_pipeline(config, "q");
        assert_int_equal(strv_length(pipeline->config->stages), 2);
        assert_string_equal(pipeline->config->stages[0], "a");
        assert_int_equal(pipeline->config->max_in_flight, 7);
}

static void faults_of_pipelines_have_their_place(void **state) {
        char many[700] = "[Pipeline]\nMaxInFlight=1\nStages=";
        Box *box = *state;

        for (unsigned i = 0; i < 65; i++)
                (void) strcat(many, "a ");
        put(box, "etc/a.pool", "[Pool]\nQueueMax=none\n");
        put(box, "etc/-b.pipeline", "[Pipeline]\nStages=a\n");
        put(box, "etc/c.pipeline", "# nothing\n[Pipeline]\n");
        put(box, "etc/d.pipeline", "[Pipeline]\n\nStages=x a\n");
        put(box, "etc/e.pipeline", "[Pipeline]\nMaxInFlight=0\nStages=.x\nMode=fast\n[Pool]\n");
        put(box, "etc/f.pipeline", strcat(many, "\n"));
        put(box, "etc/g.pipeline", "[Pipeline]\nMaxInFlight=100000001\n");
        EXPECT_FAULTS(box,
                "etc/a.pool:2: QueueMax: \"none\" is not a number, allowed are 1 to 100000000",
                "etc/-b.pipeline:1: a pipeline's name is 1 to 64 of A-Z a-z 0-9 _ - . and starts "
                "with neither . nor -",
                "etc/c.pipeline:2: Stages: is missing, a pipeline needs 1 to 64 pools",
                "etc/d.pipeline:3: Stages: there is no x.pool without a fault",
                "etc/d.pipeline:3: Stages: there is no a.pool without a fault",
                "etc/e.pipeline:2: MaxInFlight: \"0\" is out of range, allowed are 1 to 100000000",
                "etc/e.pipeline:3: Stages: \".x\" is not a name of 1 to 64 of A-Z a-z 0-9 _ - . "
                "that starts with neither . nor -",
                "etc/e.pipeline:4: Mode: there is no such setting",
                "etc/e.pipeline:5: [Pool]: there is no such section, allowed is Pipeline",
                "etc/f.pipeline:3: Stages: 65 entries are too many, allowed are 64",
                "etc/g.pipeline:2: MaxInFlight: \"100000001\" is out of range, allowed are 1 to "
                "100000000");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(without_files_there_is_nothing_but_defaults),
                TEST(pools_are_read_in_the_order_of_their_names),
                TEST(what_is_no_settings_file_is_left_alone),
                TEST(the_first_file_of_a_name_counts),
                TEST(drop_ins_of_all_folders_are_applied_by_name),
                TEST(an_empty_file_or_a_link_to_dev_null_masks),
                TEST(every_fault_of_a_file_is_told_with_its_line),
                TEST(faults_of_the_whole_point_to_the_setting_that_is_wrong),
                TEST(a_handler_that_cannot_be_had_is_a_fault_of_its_setting),
                TEST(a_faulty_pool_does_not_harm_others),
                TEST(a_file_that_cannot_be_read_is_a_fault),
                TEST(a_folder_that_cannot_be_read_is_a_fault),
                TEST(a_file_of_faults_is_not_told_to_the_end),
                TEST(the_digest_follows_the_text_and_nothing_else),
                TEST(pools_that_do_not_say_get_the_fairness_of_the_bus),
                TEST(the_daemon_has_settings_of_its_own),
                TEST(each_user_may_have_what_the_quota_says),
                TEST(faults_of_the_quota_are_told),
                TEST(a_faulty_sluiced_conf_changes_nothing),
                TEST(limiters_are_read_and_pools_find_them),
                TEST(a_limiter_that_is_not_there_is_a_fault_of_the_pool),
                TEST(pipelines_are_read_and_find_their_pools),
                TEST(faults_of_pipelines_have_their_place),
                TEST(a_scale_is_read_also_where_it_says_nothing),
                TEST(pressure_that_cannot_be_told_is_a_fault_of_its_line),
                TEST(the_thresholds_of_a_scale_are_apart),
                TEST(breakers_are_read_and_pools_find_them),
                TEST(a_section_without_settings_counts),
                TEST(a_breaker_that_is_not_there_is_a_fault_of_the_pool),
                cmocka_unit_test(users_have_a_folder_before_those_of_the_system),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
