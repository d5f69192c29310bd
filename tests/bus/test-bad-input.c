/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every wrong call has its error, names what is wrong, and changes nothing. */

#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bus-test.h"
#include "util/macro.h"

#define STRANGER 1234
#define E "org.freedesktop.DBus.Error."
#define X "org.sluice1.Error."

/* Who calls. */
typedef enum Who { ROOT, OWNER, STRANGE, _WHO_MAX } Who;

typedef struct Row {
        Who who;
        const char *path, *interface, *member, *types, *text, *error, *contains;
} Row;

#define M MANAGER_PATH, MANAGER
#define ECHO POOL_PATH "echo", POOL
#define HELD POOL_PATH "held", POOL
#define DRAINS POOL_PATH "drains", POOL
#define COMMAND POOL_PATH "command", POOL
#define DONE JOB_PATH "1", JOB
#define WAITS JOB_PATH "2", JOB

/* There are: job 1 of OWNER, finished; job 2 of OWNER, which waits in the paused pool "held" with
 * QueueMax=2; "drains", which drains; "command", without AllowArguments. */
static const Row rows[] = {
        /* What sd-bus looks for itself. */
        { ROOT, M, "GetPool", "u", "1", E "InvalidArgs", "Invalid arguments" },
        { ROOT, M, "GetPool", "ss", "echo echo", E "InvalidArgs", "Invalid arguments" },
        { ROOT, M, "GetPool", "", "", E "InvalidArgs", "Invalid arguments" },
        { ROOT, M, "Subscribe", "s", "all", E "InvalidArgs", "Invalid arguments" },
        { ROOT, ECHO, "Run", "a{sv}ay", "0 0", E "InvalidArgs", "Invalid arguments" },
        { ROOT, M, "NoSuch", "", "", E "UnknownMethod", "NoSuch" },
        { ROOT, MANAGER_PATH, POOL, "Pause", "", "", E "UnknownMethod", "Pause" },
        { ROOT, POOL_PATH "none", POOL, "Pause", "", "", E "UnknownObject", "/pool/none" },
        { ROOT, "/org/sluice1/pool", POOL, "Pause", "", "", E "UnknownMethod", "Pause" },
        { ROOT, JOB_PATH "99", JOB, "Cancel", "", "", E "UnknownObject", "/job/99" },
        { ROOT, JOB_PATH "01", JOB, "Cancel", "", "", E "UnknownObject", "/job/01" },
        { ROOT, JOB_PATH "0", JOB, "Cancel", "", "", E "UnknownObject", "/job/0" },
        { ROOT, JOB_PATH "18446744073709551616", JOB, "Cancel", "", "", E "UnknownObject", "" },
        { ROOT, JOB_PATH "1/2", JOB, "Cancel", "", "", E "UnknownObject", "" },
        { ROOT, POOL_PATH "echo", PROPERTIES, "Get", "ss", POOL " Nope", E "UnknownProperty",
                "Nope" },
        { ROOT, POOL_PATH "echo", PROPERTIES, "GetAll", "s", "org.example", E "UnknownInterface",
                "org.example" },
        { ROOT, POOL_PATH "echo", PROPERTIES, "Set", "ssv", POOL " Queued t 1",
                E "PropertyReadOnly", "Queued" },
        { ROOT, POOL_PATH "echo", PROPERTIES, "Set", "ssv", POOL " QueueMax u 1", E "InvalidArgs",
                "QueueMax" },

        /* Names and ids. */
        { ROOT, M, "GetPool", "s", "none", X "NotFound", "none" },
        { ROOT, M, "GetPool", "s", "''", X "NotFound", "" },
        { ROOT, M, "RemovePool", "sb", "none true", X "NotFound", "none" },
        { ROOT, M, "GetJob", "t", "99", X "NotFound", "99" },
        { ROOT, M, "GetJob", "t", "0", X "NotFound", "0" },
        { ROOT, M, "GetJob", "t", "18446744073709551615", X "NotFound", "" },
        { ROOT, M, "CancelJob", "t", "99", X "NotFound", "99" },
        { ROOT, M, "WaitJob", "tt", "99 0", X "NotFound", "99" },
        { STRANGE, M, "GetJob", "t", "1", X "NotFound", "No job 1" },
        { STRANGE, M, "CancelJob", "t", "2", X "NotFound", "No job 2" },
        { STRANGE, M, "WaitJob", "tt", "2 0", X "NotFound", "No job 2" },
        { STRANGE, WAITS, "Cancel", "", "", E "UnknownObject", "/job/2" },
        { STRANGE, WAITS, "Wait", "t", "0", E "UnknownObject", "/job/2" },
        { STRANGE, WAITS, "SetPriority", "i", "3", E "UnknownObject", "/job/2" },
        { STRANGE, DONE, "GetResult", "", "", E "UnknownObject", "/job/1" },
        { STRANGE, JOB_PATH "2", PROPERTIES, "GetAll", "s", JOB, E "UnknownObject", "/job/2" },
        { STRANGE, JOB_PATH "2", PROPERTIES, "Get", "ss", JOB " Tag", E "UnknownObject", "/job/2" },

        /* Rights. */
        { STRANGE, ECHO, "Submit", "aya{sv}", "0 0", E "AccessDenied", "AllowUsers" },
        { STRANGE, ECHO, "Run", "aya{sv}", "0 0", E "AccessDenied", "echo" },
        { STRANGE, ECHO, "RunMany", "aaya{sv}", "0 0", E "AccessDenied", "echo" },
        { STRANGE, ECHO, "SubmitMany", "aaya{sv}", "0 0", E "AccessDenied", "echo" },
        { STRANGE, ECHO, "SubmitPacked", "auaya{sv}", "0 0 0", E "AccessDenied", "echo" },
        { STRANGE, ECHO, "RunPacked", "auaya{sv}", "0 0 0", E "AccessDenied", "echo" },
        { OWNER, ECHO, "Pause", "", "", E "AccessDenied", "root" },
        { OWNER, HELD, "Resume", "", "", E "AccessDenied", "root" },
        { OWNER, ECHO, "Drain", "t", "0", E "AccessDenied", "root" },
        { OWNER, HELD, "Clear", "", "", E "AccessDenied", "root" },
        { OWNER, ECHO, "Set", "a{sv}", "1 QueueMax t 5", E "AccessDenied", "root" },
        { OWNER, POOL_PATH "echo", PROPERTIES, "Set", "ssv", POOL " QueueMax t 5", E "AccessDenied",
                "root" },
        { OWNER, M, "CreatePool", "sa{sv}", "new 2 Handler s module ModulePath s echo.so",
                E "AccessDenied", "root" },
        { OWNER, M, "RemovePool", "sb", "echo true", E "AccessDenied", "root" },
        { OWNER, M, "RemovePool", "sb", "none true", E "AccessDenied", "root" },
        { OWNER, M, "Reload", "", "", E "AccessDenied", "root" },

        /* Options of a submit. */
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 Nope s x", E "InvalidArgs", "\"Nope\"" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 '' s x", E "InvalidArgs", "\"\"" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 Priority u 1", E "InvalidArgs", "Priority" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 Priority s 1", E "InvalidArgs", "Priority" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 Priority i 1001", E "InvalidArgs", "Priority" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 Priority i -1001", E "InvalidArgs", "-1000" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 2 Tag s a Tag s b", E "InvalidArgs", "Tag" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 ConcurrencyKey s ''", E "InvalidArgs",
                "0 bytes, allowed are 1 to 255" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 Key s ''", E "InvalidArgs", "1 to 255" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 Key s 'a\tb'", E "InvalidArgs", "control" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 Key u 1", E "InvalidArgs", "\"Key\"" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 2 Key s a Key s a", E "InvalidArgs", "twice" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 ConcurrencyKey u 1", E "InvalidArgs",
                "ConcurrencyKey" },
        { ROOT, ECHO, "SubmitMany", "aaya{sv}", "0 1 ConcurrencyKey s ''", E "InvalidArgs",
                "1 to 255" },
        { ROOT, ECHO, "RunMany", "aaya{sv}", "0 1 ConcurrencyKey s ''", E "InvalidArgs",
                "1 to 255" },
        { ROOT, ECHO, "RunPacked", "auaya{sv}", "0 0 1 ConcurrencyKey s ''", E "InvalidArgs",
                "1 to 255" },
        { ROOT, ECHO, "Set", "a{sv}", "1 KeyConcurrency u 0", E "InvalidArgs", "KeyConcurrency" },
        { ROOT, ECHO, "Set", "a{sv}", "1 KeyConcurrency s 1000001", E "InvalidArgs", "1000000" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 DelayUSec t 315576000000001", E "InvalidArgs",
                "DelayUSec" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 DelayUSec t 18446744073709551615", E "InvalidArgs",
                "DelayUSec" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 QueueTimeoutUSec t 18446744073709551614",
                E "InvalidArgs", "QueueTimeoutUSec" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 RunTimeoutUSec t 0", E "InvalidArgs",
                "RunTimeoutUSec" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 Arguments as 1 x", E "InvalidArgs", "Arguments" },
        { ROOT, COMMAND, "Submit", "aya{sv}", "0 1 Arguments as 1 x", E "InvalidArgs",
                "AllowArguments" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 Notify u 1", E "InvalidArgs", "Notify" },
        { ROOT, ECHO, "Submit", "aya{sv}", "0 1 BindToClient s yes", E "InvalidArgs",
                "BindToClient" },
        { ROOT, ECHO, "Run", "aya{sv}", "0 1 Partial b true", E "InvalidArgs", "Partial" },
        { ROOT, ECHO, "RunMany", "aaya{sv}", "0 1 Priority i 2000", E "InvalidArgs", "Priority" },

        /* Payloads. PayloadMax of "echo" is 8. */
        { ROOT, ECHO, "Submit", "aya{sv}", "9 1 2 3 4 5 6 7 8 9 0", X "TooLarge", "PayloadMax" },
        { ROOT, ECHO, "Run", "aya{sv}", "9 1 2 3 4 5 6 7 8 9 0", X "TooLarge", "9 bytes" },
        { ROOT, ECHO, "RunMany", "aaya{sv}", "2 1 1 9 1 2 3 4 5 6 7 8 9 0", X "TooLarge", "8" },
        { ROOT, ECHO, "SubmitPacked", "auaya{sv}", "1 9 9 1 2 3 4 5 6 7 8 9 0", X "TooLarge", "8" },
        { ROOT, ECHO, "RunPacked", "auaya{sv}", "1 3 2 1 2 0", E "InvalidArgs", "more than" },
        { ROOT, ECHO, "RunPacked", "auaya{sv}", "1 1 2 1 2 0", E "InvalidArgs", "add up to 1" },
        { ROOT, ECHO, "SubmitPacked", "auaya{sv}", "2 4294967295 2 1 1 0", E "InvalidArgs", "" },

        /* Room: "held" has one of two places. */
        { ROOT, HELD, "SubmitMany", "aaya{sv}", "2 0 0 0", X "QueueFull", "QueueMax is 2" },
        { ROOT, HELD, "RunMany", "aaya{sv}", "2 0 0 0", X "QueueFull", "held" },
        { ROOT, HELD, "SubmitMany", "aaya{sv}", "3 0 0 0 0", E "InvalidArgs", "QueueMax" },
        { ROOT, HELD, "RunPacked", "auaya{sv}", "3 0 0 0 0 0", E "InvalidArgs", "QueueMax" },
        { ROOT, DRAINS, "Submit", "aya{sv}", "0 0", X "Draining", "drains" },
        { ROOT, DRAINS, "Submit", "aya{sv}", "0 1 Key s new", X "Draining", "drains" },
        { ROOT, DRAINS, "RunMany", "aaya{sv}", "1 0 0", X "Draining", "drains" },
        { ROOT, DRAINS, "SubmitMany", "aaya{sv}", "1 0 1 Partial b true", X "Draining", "" },

        /* Job 2 has the key "k". */
        { OWNER, HELD, "Submit", "aya{sv}", "1 1 1 Key s k", X "KeyConflict", "\"k\"" },
        { OWNER, HELD, "Run", "aya{sv}", "1 1 1 Key s k", X "KeyConflict", "\"k\"" },
        { OWNER, HELD, "SubmitMany", "aaya{sv}", "2 0 0 1 Key s k", X "KeyConflict", "\"k\"" },
        { OWNER, HELD, "SubmitMany", "aaya{sv}", "0 1 Key s k", X "KeyConflict", "\"k\"" },
        { OWNER, HELD, "RunPacked", "auaya{sv}", "0 0 1 Key s k", X "KeyConflict", "\"k\"" },
        { OWNER, HELD, "SubmitGroup", "aaya{sv}", "1 0 1 Key s k", X "KeyConflict", "\"k\"" },
        { ROOT, HELD, "SubmitMany", "aaya{sv}", "2 0 0 1 Key s k", X "QueueFull", "held" },

        /* Jobs. */
        { OWNER, DONE, "Cancel", "", "", X "InvalidState", "finished" },
        { OWNER, M, "CancelJob", "t", "1", X "InvalidState", "succeeded" },
        { OWNER, DONE, "SetPriority", "i", "1", X "InvalidState", "finished" },
        { OWNER, WAITS, "SetPriority", "i", "1001", E "InvalidArgs", "1001" },
        { OWNER, WAITS, "SetPriority", "i", "-2147483648", E "InvalidArgs", "-1000" },
        { OWNER, WAITS, "GetResult", "", "", X "InvalidState", "queued" },
        { OWNER, WAITS, "Wait", "t", "315576000000001", E "InvalidArgs", "time-out" },
        { OWNER, M, "WaitJob", "tt", "2 18446744073709551614", E "InvalidArgs", "time-out" },
        { ROOT, ECHO, "Drain", "t", "315576000000001", E "InvalidArgs", "time-out" },

        /* Lists and filters. */
        { ROOT, M, "ListJobs", "a{sv}ut", "0 0 0", E "InvalidArgs", "1 to 1000" },
        { ROOT, M, "ListJobs", "a{sv}ut", "0 1001 0", E "InvalidArgs", "1001" },
        { ROOT, M, "ListJobs", "a{sv}ut", "1 Nope s x 10 0", E "InvalidArgs", "Nope" },
        { ROOT, M, "ListJobs", "a{sv}ut", "1 Owner s root 10 0", E "InvalidArgs", "Owner" },
        { ROOT, M, "ListJobs", "a{sv}ut", "1 State s nope 10 0", E "InvalidArgs", "State" },
        { ROOT, M, "ListJobs", "a{sv}ut", "1 Result s nope 10 0", E "InvalidArgs", "Result" },
        { ROOT, M, "ListJobs", "a{sv}ut", "2 Tag s a Tag s a 10 0", E "InvalidArgs", "Tag" },
        { ROOT, M, "CancelJobs", "a{sv}", "1 State s ''", E "InvalidArgs", "State" },
        { ROOT, M, "CancelJobs", "a{sv}", "1 Pool u 1", E "InvalidArgs", "Pool" },

        /* Making and changing pools. */
        { ROOT, M, "CreatePool", "sa{sv}", "'' 0", E "InvalidArgs", "name" },
        { ROOT, M, "CreatePool", "sa{sv}", ".. 0", E "InvalidArgs", "\"..\"" },
        { ROOT, M, "CreatePool", "sa{sv}", "a/b 0", E "InvalidArgs", "a/b" },
        { ROOT, M, "CreatePool", "sa{sv}", "-a 0", E "InvalidArgs", "-a" },
        { ROOT, M, "CreatePool", "sa{sv}", "'a b' 0", E "InvalidArgs", "a b" },
        { ROOT, M, "CreatePool", "sa{sv}", "\303\244 0", E "InvalidArgs", "name" },
        { ROOT, M, "CreatePool", "sa{sv}",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0",
                E "InvalidArgs", "name" },
        { ROOT, M, "CreatePool", "sa{sv}", "echo 2 Handler s module ModulePath s echo.so",
                X "AlreadyExists", "echo" },
        { ROOT, M, "CreatePool", "sa{sv}", "new 0", E "InvalidArgs", "Handler" },
        { ROOT, M, "CreatePool", "sa{sv}", "new 1 Nope s x", E "InvalidArgs", "Nope" },
        { ROOT, M, "CreatePool", "sa{sv}", "new 1 Handler s nope", E "InvalidArgs", "Handler" },
        { ROOT, M, "CreatePool", "sa{sv}", "new 1 Handler u 1", E "InvalidArgs", "Handler" },
        { ROOT, M, "CreatePool", "sa{sv}", "new 1 QueueMax d 1", E "InvalidArgs", "QueueMax" },
        { ROOT, M, "CreatePool", "sa{sv}", "new 2 QueueMax t 1 QueueMax t 2", E "InvalidArgs",
                "QueueMax" },
        { ROOT, M, "CreatePool", "sa{sv}", "new 2 Handler s module ModulePath s none.so",
                X "InvalidCommand", "none.so" },
        { ROOT, M, "CreatePool", "sa{sv}",
                "new 3 Handler s module ModulePath s echo.so CPUAffinity s 4000", E "InvalidArgs",
                "CPUAffinity" },
        { ROOT, M, "CreatePool", "sa{sv}",
                "new 4 Handler s module ModulePath s echo.so MinWorkers u 3 MaxWorkers u 2",
                E "InvalidArgs", "MinWorkers" },
        { ROOT, M, "CreatePool", "sa{sv}",
                "new 3 Handler s module ModulePath s echo.so AllowUsers s no-such-user",
                E "InvalidArgs", "no-such-user" },
        { ROOT, M, "CreatePool", "sa{sv}", "new 2 Handler s command ExecStart s cat",
                X "InvalidCommand", "ExecStart" },
        { ROOT, M, "CreatePool", "sa{sv}", "new 2 Handler s command ExecStart s /no/such/program",
                X "InvalidCommand", "/no/such/program" },
        { ROOT, M, "CreatePool", "sa{sv}", "new 2 Handler s command ExecStart s /etc/passwd",
                X "InvalidCommand", "/etc/passwd" },
        { ROOT, M, "CreatePool", "sa{sv}", "new 2 Handler s command ExecStart s /tmp",
                X "InvalidCommand", "/tmp" },
        { ROOT, M, "CreatePool", "sa{sv}",
                "new 3 Handler s command ExecStart s /bin/true Environment s LD_PRELOAD=x",
                E "InvalidArgs", "LD_PRELOAD" },
        { ROOT, M, "CreatePool", "sa{sv}",
                "new 3 Handler s command ExecStart s /bin/true Environment s 1A=x", E "InvalidArgs",
                "1A" },
        { ROOT, ECHO, "Set", "a{sv}", "1 Nope t 5", E "InvalidArgs", "Nope" },
        { ROOT, ECHO, "Set", "a{sv}", "1 Handler s command", E "InvalidArgs", "Handler" },
        { ROOT, ECHO, "Set", "a{sv}", "1 PayloadMax s 9", E "InvalidArgs", "cannot be changed" },
        { ROOT, ECHO, "Set", "a{sv}", "1 AllowUsers s 1001", E "InvalidArgs", "cannot be changed" },
        { ROOT, ECHO, "Set", "a{sv}", "1 Queued t 5", E "InvalidArgs", "Queued" },
        { ROOT, ECHO, "Set", "a{sv}", "2 QueueMax t 5 MaxWorkers u 0", E "InvalidArgs",
                "MaxWorkers" },
        { ROOT, ECHO, "Set", "a{sv}", "2 QueueMax t 5 MinWorkers u 9", E "InvalidArgs",
                "MinWorkers" },
        { ROOT, ECHO, "Set", "a{sv}", "1 QueueMax t 0", E "InvalidArgs", "QueueMax" },
        { ROOT, ECHO, "Set", "a{sv}", "1 QueueMax s lots", E "InvalidArgs", "lots" },
        { ROOT, ECHO, "Set", "a{sv}", "1 MaxWorkers t 4294967297", E "InvalidArgs", "MaxWorkers" },
        { ROOT, ECHO, "Set", "a{sv}", "1 RunTimeoutUSec t 18446744073709551614", E "InvalidArgs",
                "RunTimeout" },
        { ROOT, ECHO, "Set", "a{sv}", "1 AgingIntervalUSec t 0", E "InvalidArgs", "AgingInterval" },
        { ROOT, ECHO, "Set", "a{sv}", "2 QueueMax t 5 QueueMax t 6", E "InvalidArgs", "twice" },
        { ROOT, POOL_PATH "echo", PROPERTIES, "Set", "ssv", POOL " QueueMax t 0", E "InvalidArgs",
                "QueueMax" },
        { ROOT, POOL_PATH "echo", PROPERTIES, "Set", "ssv", POOL " MinWorkers u 9", E "InvalidArgs",
                "MinWorkers" },
        { ROOT, M, "Reload", "", "", E "InvalidArgs", "b.pool:2: wrong as well" },
};

/* All that a wrong call could have changed. */
typedef struct Snapshot {
        EngineTotals totals;
        uint64_t next_id;
        unsigned n_pools;
        PoolConfig *configs[8];
        PoolState states[8];
        JobView job;
} Snapshot;

static void snapshot_take(BusTest *test, Snapshot *ret) {
        Job *job = engine_find_job(test->engine, 2);

        *ret = (Snapshot){ .next_id = test->engine->next_id };
        engine_totals(test->engine, &ret->totals);
        /* Refused submits are counted, and nowhere else. */
        ret->totals.counters.rejected = 0;
        list_for_each (l, &test->engine->pools) {
                Pool *pool = list_entry(l, Pool, links);

                ret->states[ret->n_pools] = pool_state(pool);
                assert_return_code(
                        pool_config_copy(pool->config, &ret->configs[ret->n_pools++]), 0);
        }
        pool_job_view(job_pool(job), job, &ret->job);
}

static void snapshot_expect(BusTest *test, Snapshot *before) {
        Snapshot after;

        snapshot_take(test, &after);
        assert_memory_equal(&after.totals, &before->totals, sizeof(after.totals));
        assert_int_equal(after.next_id, before->next_id);
        assert_int_equal(after.n_pools, before->n_pools);
        for (unsigned i = 0; i < after.n_pools; i++) {
                assert_true(pool_config_equal(after.configs[i], before->configs[i]));
                assert_int_equal(after.states[i], before->states[i]);
                pool_config_free(after.configs[i]);
                pool_config_free(before->configs[i]);
        }
        assert_int_equal(after.job.state, before->job.state);
        assert_int_equal(after.job.priority, before->job.priority);
}

static void wrong_calls_have_their_error_and_change_nothing(void **state) {
        BusTest *test = *state;
        Peer *peers[_WHO_MAX] = {
                [ROOT] = peer_new(test, 0),
                [OWNER] = peer_new(test, 1000),
                [STRANGE] = peer_new(test, STRANGER),
        };
        unsigned n_wrong = 0;
        uint64_t id;

        test->reload_result = -EINVAL;
        (void) bus_test_pool(test, "echo", "Handler", "module", "ModulePath", "echo.so",
                "PayloadMax", "8", "Workers", "1", "AllowUsers", "1000", NULL);
        (void) bus_test_pool(test, "held", "Handler", "module", "ModulePath", "echo.so", "QueueMax",
                "2", "Workers", "1", "AllowUsers", "1000", NULL);
        (void) bus_test_pool(
                test, "drains", "Handler", "module", "ModulePath", "echo.so", "Workers", "1", NULL);
        (void) bus_test_pool(test, "command", "Handler", "command", "ExecStart", "/bin/true",
                "Workers", "1", NULL);
        call_done(peers[ROOT], HELD, "Pause", "", "");
        call_done(peers[ROOT], DRAINS, "Drain", "t", "0");
        id = submit(peers[OWNER], "echo", "", "0");
        assert_int_equal(id, 1);
        wait_state(test, id, JOB_FINISHED);
        assert_int_equal(submit(peers[OWNER], "held", "", "1 Key s k"), 2);
        bus_test_turn(test);

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const Row *row = &rows[i];
                Snapshot before;

                snapshot_take(test, &before);
                if (!call_is_refused(peers[row->who], row->path, row->interface, row->member,
                            row->types, row->text, row->error, row->contains))
                        n_wrong++;
                bus_test_turn(test);
                snapshot_expect(test, &before);
        }
        assert_int_equal(n_wrong, 0);
        for (Who who = 0; who < _WHO_MAX; who++)
                peer_free(peers[who]);
}

static void long_texts_are_too_large(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        char text[1024] = "0 1 Tag s ";

        (void) bus_test_pool(test, "echo", "Handler", "module", "ModulePath", "echo.so", NULL);
        (void) bus_test_pool(test, "command", "Handler", "command", "ExecStart", "/bin/true",
                "AllowArguments", "yes", NULL);
        memset(text + strlen(text), 'x', 255);
        call_done(peer, ECHO, "Run", "aya{sv}", text);

        (void) strcpy(text, "0 1 Arguments as 65");
        for (int i = 0; i < 65; i++)
                (void) strcat(text, " x");
        call_fails(peer, COMMAND, "Run", "aya{sv}", text, X "TooLarge", "64");
        peer_free(peer);
}

/* Sends Run with an option of long texts. Is it too large? */
static bool is_too_large(Peer *peer, const char *path, const char *option, const char *type,
        size_t n_texts, size_t size) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_reply_ Reply reply = {};
        _cleanup_free_ char *text = malloc(size + 1);

        assert_non_null(text);
        memset(text, 'x', size);
        text[size] = '\0';
        assert_return_code(
                sd_bus_message_new_method_call(peer->bus, &m, SLUICE_BUS_NAME, path, POOL, "Run"),
                0);
        assert_return_code(sd_bus_message_append(m, "ay", 0), 0);
        assert_return_code(sd_bus_message_open_container(m, 'a', "{sv}"), 0);
        assert_return_code(sd_bus_message_open_container(m, 'e', "sv"), 0);
        assert_return_code(sd_bus_message_append(m, "s", option), 0);
        assert_return_code(sd_bus_message_open_container(m, 'v', type), 0);
        if (type[0] == 'a')
                assert_return_code(sd_bus_message_open_container(m, 'a', "s"), 0);
        for (size_t i = 0; i < n_texts; i++)
                assert_return_code(sd_bus_message_append(m, "s", text), 0);
        if (type[0] == 'a')
                assert_return_code(sd_bus_message_close_container(m), 0);
        for (int i = 0; i < 3; i++)
                assert_return_code(sd_bus_message_close_container(m), 0);
        call_message(peer, &reply, m);
        reply_wait(peer, &reply);
        return sd_bus_message_is_method_error(reply.message, X "TooLarge") > 0;
}

static void texts_of_options_are_bounded_to_the_byte(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);

        (void) bus_test_pool(test, "command", "Handler", "command", "ExecStart", "/bin/true",
                "AllowArguments", "yes", NULL);
        assert_false(is_too_large(peer, POOL_PATH "command", "Tag", "s", 1, 255));
        assert_true(is_too_large(peer, POOL_PATH "command", "Tag", "s", 1, 256));
        /* The NUL at the end of each counts, as it does for the kernel. */
        assert_false(is_too_large(peer, POOL_PATH "command", "Arguments", "as", 64, 1023));
        assert_true(is_too_large(peer, POOL_PATH "command", "Arguments", "as", 64, 1024));
        peer_free(peer);
}

/* Sends a call with file descriptors of our choice. */
static void fd_call_fails(Peer *peer, const char *pool, const char *member, int fd,
        const char *option, const char *error, const char *contains) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_reply_ Reply reply = {};
        const sd_bus_error *e;
        char path[64];

        (void) snprintf(path, sizeof(path), POOL_PATH "%s", pool);
        assert_return_code(
                sd_bus_message_new_method_call(peer->bus, &m, SLUICE_BUS_NAME, path, POOL, member),
                0);
        if (option) {
                assert_return_code(sd_bus_message_append(m, "ay", 0), 0);
                assert_return_code(sd_bus_message_append(m, "a{sv}", 1, option, "h", fd), 0);
        } else {
                assert_return_code(sd_bus_message_append(m, "h", fd), 0);
                append_text(m, "a{sv}", "0");
        }
        call_message(peer, &reply, m);
        reply_wait(peer, &reply);
        e = sd_bus_message_get_error(reply.message);
        assert_non_null(e);
        assert_string_equal(e->name, error);
        assert_non_null(strstr(e->message, contains));
}

static void descriptors_that_cannot_serve_are_refused(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);
        int pipes[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC),
                      path = open("/tmp", O_PATH | O_CLOEXEC);

        assert_return_code(pipe2(pipes, O_CLOEXEC), 0);
        (void) bus_test_pool(test, "echo", "Handler", "module", "ModulePath", "echo.so", NULL);
        (void) bus_test_pool(test, "command", "Handler", "command", "ExecStart", "/bin/true", NULL);
        fd_call_fails(peer, "command", "SubmitFd", null, NULL, E "InvalidArgs", "reading");
        fd_call_fails(peer, "command", "SubmitFd", path, NULL, E "InvalidArgs", "reading");
        fd_call_fails(peer, "echo", "SubmitFd", pipes[0], NULL, E "NotSupported", "regular files");
        fd_call_fails(peer, "echo", "Submit", null, "OutputFd", E "InvalidArgs", "Handler=module");
        fd_call_fails(peer, "command", "Submit", pipes[0], "OutputFd", E "InvalidArgs", "writing");
        (void) close(pipes[0]);
        (void) close(pipes[1]);
        (void) close(null);
        (void) close(path);
        peer_free(peer);
}

static void an_engine_that_stops_takes_nothing(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);

        (void) bus_test_pool(test, "echo", "Handler", "module", "ModulePath", "echo.so", NULL);
        engine_shut_down(test->engine);
        call_fails(peer, ECHO, "Submit", "aya{sv}", "0 0", X "ShuttingDown", "shutting down");
        call_fails(peer, ECHO, "RunMany", "aaya{sv}", "1 0 0", X "ShuttingDown", "");
        call_fails(peer, ECHO, "Resume", "", "", X "ShuttingDown", "");
        call_fails(peer, M, "CreatePool", "sa{sv}", "new 1 Handler s module", X "ShuttingDown", "");
        peer_free(peer);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(wrong_calls_have_their_error_and_change_nothing,
                        bus_test_setup, bus_test_teardown),
                cmocka_unit_test_setup_teardown(
                        long_texts_are_too_large, bus_test_setup, bus_test_teardown),
                cmocka_unit_test_setup_teardown(texts_of_options_are_bounded_to_the_byte,
                        bus_test_setup, bus_test_teardown),
                cmocka_unit_test_setup_teardown(descriptors_that_cannot_serve_are_refused,
                        bus_test_setup, bus_test_teardown),
                cmocka_unit_test_setup_teardown(
                        an_engine_that_stops_takes_nothing, bus_test_setup, bus_test_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
