/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is wrong with texts and descriptors that come with a call, to the byte. The table of all
 * wrong calls is tests/system/test-bad-input. */

#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bus-test.h"
#include "util/macro.h"

#define E "org.freedesktop.DBus.Error."
#define X "org.sluice1.Error."

#define M MANAGER_PATH, MANAGER
#define ECHO POOL_PATH "echo", POOL

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
                cmocka_unit_test_setup_teardown(texts_of_options_are_bounded_to_the_byte,
                        bus_test_setup, bus_test_teardown),
                cmocka_unit_test_setup_teardown(descriptors_that_cannot_serve_are_refused,
                        bus_test_setup, bus_test_teardown),
                cmocka_unit_test_setup_teardown(
                        an_engine_that_stops_takes_nothing, bus_test_setup, bus_test_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
