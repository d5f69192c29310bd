/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What an exit would lose, and that nothing else keeps the daemon from it. */

#include "test.h"

#include <stdio.h>
#include <string.h>

#include "bus-test.h"
#include "engine/breaker-config.h"
#include "engine/limiter-config.h"
#include "util/macro.h"

#define FOREVER "18446744073709551615"

#define M MANAGER_PATH, MANAGER
#define P POOL_PATH "p", POOL
#define L "/org/sluice1/limiter/l", "org.sluice1.Limiter"
#define B "/org/sluice1/breaker/b", "org.sluice1.Breaker"
#define PIPE "/org/sluice1/pipeline/w", "org.sluice1.Pipeline"

/* Objects as settings files make them. */
static void load(BusTest *test) {
        static const LimiterConfig limiter_config = {
                .rate = 1000000, .period = USEC_PER_SEC, .burst = 10
        };
        BreakerConfig breaker_config = BREAKER_CONFIG_DEFAULT;
        _cleanup_(pipeline_config_freep) PipelineConfig *config = NULL;
        char *stages[] = { (char *) "p", NULL };
        _cleanup_free_ char *error = NULL;
        PoolPipeline *pipeline;
        SharedLimiter *limiter;
        SharedBreaker *breaker;
        Pool *pool;

        pool = bus_test_pool(test, "p", "Handler", "module", "ModulePath", "echo.so", "Workers",
                "1", "ResultRetention", "infinity", NULL);
        assert_return_code(pool_config_copy(pool->config, &pool->origin), 0);
        assert_return_code(engine_add_limiter(test->engine, "l", &limiter_config, &limiter), 0);
        limiter->from_file = true;
        assert_return_code(engine_add_breaker(test->engine, "b", &breaker_config, &breaker), 0);
        breaker->from_file = true;
        assert_return_code(pipeline_config_new("w", &config), 0);
        assert_true(pipeline_config_set_stages(config, stages, &error) >= 0);
        assert_return_code(engine_add_pipeline(test->engine, config, &pipeline, &error), 0);
        pipeline->from_file = true;
}

static bool loses_nothing(void *userdata) {
        BusTest *test = userdata;

        return engine_idle_at(test->engine) <= usec_now(CLOCK_MONOTONIC);
}

static void what_has_just_been_loaded_may_go(void **state) {
        BusTest *test = *state;

        assert_true(server_is_idle(test->server));
        assert_true(loses_nothing(test));
        load(test);
        assert_true(loses_nothing(test));
        assert_true(server_is_idle(test->server));
}

static void what_would_be_lost_keeps_it(void **state) {
        static const struct {
                const char *path, *interface, *member, *types, *text;
                const char *back_path, *back_interface, *back, *back_types,
                        *back_text; /* NULL: for good */
        } rows[] = {
                { P, "Pause", "", "", P, "Resume", "", "" },
                { P, "Drain", "t", "0", P, "Resume", "", "" },
                { P, "Set", "a{sv}", "1 QueueMax t 7", NULL },
                { POOL_PATH "p", PROPERTIES, "Set", "ssv", POOL " QueueMax t 7", NULL },
                { PIPE, "Drain", "t", "0", PIPE, "Resume", "", "" },
                { PIPE, "Set", "a{sv}", "1 MaxInFlight t 7", NULL },
                { L, "Set", "a{sv}", "1 Burst t 7", NULL },
                { L, "Hold", "t", "60000000", L, "Hold", "t", "0" },
                { L, "Hold", "t", FOREVER, L, "Hold", "t", "0" },
                { B, "Set", "a{sv}", "1 MaxFailures u 7", NULL },
                { B, "Trip", "", "", B, "Reset", "", "" },
                { B, "Allow", "", "", B, "Reset", "", "" },
                { M, "CreateLimiter", "sa{sv}", "x 1 Rate s 1/s", M, "RemoveLimiter", "sb",
                        "x false" },
                { M, "CreateBreaker", "sa{sv}", "x 0", M, "RemoveBreaker", "sb", "x false" },
                { M, "CreatePipeline", "sasa{sv}", "x 1 p 0", M, "RemovePipeline", "sb",
                        "x false" },
                { M, "CreatePool", "sa{sv}", "x 2 Handler s module ModulePath s echo.so", M,
                        "RemovePool", "sb", "x false" },
                { M, "RemoveLimiter", "sb", "l false", NULL },
                { M, "RemoveBreaker", "sb", "b false", NULL },
                { M, "RemovePipeline", "sb", "w false", NULL },
                { P, "Submit", "aya{sv}", "0 1 DelayUSec t 60000000", NULL },
                { P, "Submit", "aya{sv}", "0 0", NULL },
                { P, "SubmitGroup", "aaya{sv}", "0 0", "/org/sluice1/group/1", "org.sluice1.Group",
                        "Forget", "", "" },
        };
        BusTest *test;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                Peer *root;

                assert_return_code(bus_test_setup((void **) &test), 0);
                load(test);
                root = peer_new(test, 0);
                assert_true(loses_nothing(test));
                call_done(root, rows[i].path, rows[i].interface, rows[i].member, rows[i].types,
                        rows[i].text);
                bus_test_turn(test);
                if (loses_nothing(test))
                        fail_msg("%s %s", rows[i].path, rows[i].member);
                if (rows[i].back_path) {
                        call_done(root, rows[i].back_path, rows[i].back_interface, rows[i].back,
                                rows[i].back_types, rows[i].back_text);
                        bus_test_until(test, loses_nothing, test);
                }
                peer_free(root);
                void *p = test;
                assert_return_code(bus_test_teardown(&p), 0);
        }
}

static void a_result_keeps_it_until_it_is_forgotten(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        Pool *pool;

        load(test);
        pool = engine_find_pool(test->engine, "p");
        wait_state(test, submit(root, "p", "", "0"), JOB_FINISHED);
        bus_test_turn(test);
        assert_false(loses_nothing(test));
        pool->config->result_retention_max = 0;
        wait_state(test, submit(root, "p", "", "0"), _JOB_STATE_INVALID);
        assert_true(loses_nothing(test));
        /* The caller of this has the result, so it is kept nowhere else. */
        call_done(root, P, "Run", "aya{sv}", "0 0");
        bus_test_until(test, loses_nothing, test);
        peer_free(root);
}

static void a_limiter_keeps_it_until_it_is_full(void **state) {
        BusTest *test = *state;
        Peer *root = peer_new(test, 0);
        usec_t before, at;

        load(test);
        before = usec_now(CLOCK_MONOTONIC);
        call_done(root, L, "TryAcquire", "t", "10");
        at = engine_idle_at(test->engine);
        /* Ten tokens take ten microseconds to come back. */
        assert_in_range(at, before + 10, usec_now(CLOCK_MONOTONIC) + 10);
        bus_test_until(test, loses_nothing, test);
        peer_free(root);
}

static bool server_may_go(void *userdata) {
        const BusTest *test = userdata;

        return server_is_idle(test->server);
}

static void a_direct_link_keeps_it(void **state) {
        BusTest *test = *state;
        Peer *peer = peer_new(test, 0);

        assert_false(server_is_idle(test->server));
        peer_free(peer);
        bus_test_until(test, server_may_go, test);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, bus_test_setup, bus_test_teardown)
        const struct CMUnitTest tests[] = {
                TEST(what_has_just_been_loaded_may_go),
                cmocka_unit_test(what_would_be_lost_keeps_it),
                TEST(a_result_keeps_it_until_it_is_forgotten),
                TEST(a_limiter_keeps_it_until_it_is_full),
                TEST(a_direct_link_keeps_it),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
