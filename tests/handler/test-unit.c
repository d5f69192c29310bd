/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The handler and a systemd of ours share one event loop and one thread, so nothing here depends on
 * who is faster. What it does with a unit is in the unit's name. Commands are this process too: it
 * connects to the socket, and is the ExecMainPID=. */

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "handler/units.h"
#include "private-bus.h"
#include "test.h"
#include "try.h"
#include "util/fd.h"

#define SYSTEMD "org.freedesktop.systemd1"
#define PATH "/org/freedesktop/systemd1"
#define MANAGER SYSTEMD ".Manager"
#define JOB PATH "/job/1"

/* ---- a systemd ---- */

typedef struct Systemd {
        sd_event *event;
        sd_bus *bus;
        char address[100]; /* of the socket for units */
        char name[128];    /* of the unit that was started last, … */
        const char *active, *result;
        bool condition;
        int code, status, fd;
        uint64_t started_at;
        uint32_t job;   /* one that it has to do with the unit; 0 = none */
        char data[256]; /* the payload that it was given so far */
        size_t size;
        unsigned n_refs, n_unrefs, n_starts, n_stops, n_looks, n_limits;
        bool wants_exit;
        bool has_left; /* it lists a unit that nobody here has started */
} Systemd;

static bool is(const char *name, const char *what) {
        return strncmp(name + strlen("sluice-"), what, strlen(what)) == 0 &&
               name[strlen("sluice-") + strlen(what)] == '@';
}

static void append(sd_bus_message *m, const char *name, const char *type, const void *value) {
        assert_return_code(sd_bus_message_open_container(m, 'e', "sv"), 0);
        assert_return_code(sd_bus_message_append(m, "s", name), 0);
        assert_return_code(sd_bus_message_open_container(m, 'v', type), 0);
        assert_return_code(sd_bus_message_append_basic(m, type[0], value), 0);
        assert_return_code(sd_bus_message_close_container(m), 0);
        assert_return_code(sd_bus_message_close_container(m), 0);
}

static void append_unit(const Systemd *systemd, sd_bus_message *m) {
        int condition = systemd->condition;

        append(m, "ActiveState", "s", systemd->active);
        append(m, "ConditionResult", "b", &condition);
        append(m, "ConditionTimestampMonotonic", "t", &(uint64_t){ usec_now(CLOCK_MONOTONIC) });
        append(m, "ActiveEnterTimestampMonotonic", "t", &systemd->started_at);
        append(m, "ActiveExitTimestampMonotonic", "t",
                &(uint64_t){ systemd->started_at + 2 * USEC_PER_SEC });
        assert_return_code(sd_bus_message_append(m, "{sv}", "Job", "(uo)", systemd->job, "/"), 0);
}

static void append_service(const Systemd *systemd, sd_bus_message *m) {
        uint32_t pid = (uint32_t) getpid();

        append(m, "Result", "s", systemd->result);
        append(m, "Unknown", "s", "value");
        append(m, "ExecMainPID", "u", &pid);
        append(m, "ExecMainCode", "i", &systemd->code);
        append(m, "ExecMainStatus", "i", &systemd->status);
        append(m, "ExecMainStartTimestampMonotonic", "t", &systemd->started_at);
}

static void tell_change_of(Systemd *systemd, sd_bus *bus, const char *to, const char *interface,
        void (*append_some)(const Systemd *systemd, sd_bus_message *m)) {
        sd_bus_message *m;
        char *path;

        assert_return_code(sd_bus_path_encode(PATH "/unit", systemd->name, &path), 0);
        assert_return_code(sd_bus_message_new_signal(bus, &m, path,
                                   "org.freedesktop.DBus.Properties", "PropertiesChanged"),
                0);
        assert_return_code(sd_bus_message_append(m, "s", interface), 0);
        assert_return_code(sd_bus_message_open_container(m, 'a', "{sv}"), 0);
        append_some(systemd, m);
        assert_return_code(sd_bus_message_close_container(m), 0);
        assert_return_code(sd_bus_message_append(m, "as", 0), 0);
        assert_return_code(sd_bus_send_to(bus, m, to, NULL), 0);
        sd_bus_message_unref(m);
        free(path);
}

/* In the order in which systemd does. */
static void tell_change(Systemd *systemd, sd_bus *bus, const char *to) {
        tell_change_of(systemd, bus, to, SYSTEMD ".Service", append_service);
        tell_change_of(systemd, bus, to, SYSTEMD ".Unit", append_unit);
}

static void tell_removed(
        Systemd *systemd, sd_bus *bus, const char *to, const char *job, const char *result) {
        sd_bus_message *m;

        assert_return_code(sd_bus_message_new_signal(bus, &m, PATH, MANAGER, "JobRemoved"), 0);
        assert_return_code(sd_bus_message_append(m, "uoss", 1, job, systemd->name, result), 0);
        assert_return_code(sd_bus_send_to(bus, m, to, NULL), 0);
        sd_bus_message_unref(m);
}

/* It runs, or was skipped: systemd tells of its job, that it is done, and of what is left. */
static void finish_start(Systemd *systemd, const char *result) {
        systemd->job = 1;
        tell_change(systemd, systemd->bus, NULL);
        tell_removed(systemd, systemd->bus, NULL, JOB, result);
        systemd->job = 0;
        tell_change(systemd, systemd->bus, NULL);
}

static void end_unit(
        Systemd *systemd, const char *active, const char *result, int code, int status) {
        systemd->active = active;
        systemd->result = result;
        systemd->code = code;
        systemd->status = status;
        tell_change(systemd, systemd->bus, NULL);
}

/* The command: gives back what it was given. */
static int on_payload(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Systemd *systemd = userdata;
        ssize_t n =
                recv(fd, systemd->data + systemd->size, sizeof(systemd->data) - systemd->size, 0);

        assert_true(n >= 0);
        systemd->size += (size_t) n;
        if (n > 0)
                return 0;
        assert_int_equal(send(fd, systemd->data, systemd->size, 0), systemd->size);
        sd_event_source_disable_unref(source);
        systemd->fd = fd_close(fd);
        end_unit(systemd, "inactive", "success", CLD_EXITED, 0);
        return 0;
}

static void connect_unit(Systemd *systemd) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", systemd->address);
        systemd->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_return_code(
                connect(systemd->fd, (const struct sockaddr *) &address, sizeof(address)), 0);
}

static void start_unit(Systemd *systemd, sd_bus_message *m, const char *name) {
        sd_event_source *source;

        systemd->n_starts++;
        (void) snprintf(systemd->name, sizeof(systemd->name), "%s", name);
        if (is(name, "silent"))
                return;
        if (is(name, "missing")) {
                (void) sd_bus_reply_method_errorf(m, SYSTEMD ".NoSuchUnit", "Unit is not there.");
                return;
        }
        if (is(name, "crash") || is(name, "quiet")) {
                systemd->wants_exit = true;
                return;
        }
        if (is(name, "odd"))
                (void) sd_bus_reply_method_return(m, "u", 7);
        else
                (void) sd_bus_reply_method_return(m, "o", JOB);
        /* What it had still to tell of an attempt before. */
        if (is(name, "again")) {
                tell_removed(systemd, systemd->bus, NULL, PATH "/job/2", "done");
                end_unit(systemd, "inactive", "success", CLD_EXITED, 0);
        }
        systemd->condition = !is(name, "skipped");
        systemd->active = systemd->condition ? "active" : "inactive";
        systemd->result = "success";
        systemd->code = systemd->status = 0;
        systemd->started_at = systemd->condition ? usec_now(CLOCK_MONOTONIC) : 0;
        finish_start(systemd, "done");
        if (is(name, "echo")) {
                connect_unit(systemd);
                assert_return_code(sd_event_add_io(systemd->event, &source, systemd->fd, EPOLLIN,
                                           on_payload, systemd),
                        0);
        } else if (is(name, "fails") || is(name, "odd") || is(name, "again"))
                end_unit(systemd, "failed", "exit-code", CLD_EXITED, 3);
        else if (is(name, "slow") || is(name, "mute"))
                end_unit(systemd, "failed", "timeout", CLD_KILLED, 15);
}

static void list_units(Systemd *systemd, sd_bus_message *m) {
        sd_bus_message *reply;

        assert_return_code(sd_bus_message_new_method_return(m, &reply), 0);
        assert_return_code(sd_bus_message_open_container(reply, 'a', "(ssssssouso)"), 0);
        if (systemd->has_left)
                assert_return_code(
                        sd_bus_message_append(reply, "(ssssssouso)", "sluice-echo@7.service", "",
                                "loaded", "active", "running", "", PATH "/unit/x", 0, "", "/"),
                        0);
        assert_return_code(sd_bus_message_close_container(reply), 0);
        assert_return_code(sd_bus_send(NULL, reply, NULL), 0);
        sd_bus_message_unref(reply);
}

static void tell_all(Systemd *systemd, sd_bus_message *m) {
        sd_bus_message *reply;

        systemd->n_looks++;
        if (is(systemd->name, "quiet")) {
                (void) sd_bus_reply_method_return(m, "s", "nothing");
                return;
        }
        assert_return_code(sd_bus_message_new_method_return(m, &reply), 0);
        assert_return_code(sd_bus_message_open_container(reply, 'a', "{sv}"), 0);
        append_unit(systemd, reply);
        append_service(systemd, reply);
        assert_return_code(sd_bus_message_close_container(reply), 0);
        assert_return_code(sd_bus_send(NULL, reply, NULL), 0);
        sd_bus_message_unref(reply);
}

static void tell_limit(Systemd *systemd, sd_bus_message *m) {
        systemd->n_limits++;
        if (is(systemd->name, "mute"))
                (void) sd_bus_reply_method_errorf(m, SYSTEMD ".NoSuchUnit", "Not loaded.");
        else
                (void) sd_bus_reply_method_return(m, "v", "t", USEC_PER_SEC);
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Systemd *systemd = userdata;
        const char *name = "";

        if (sd_bus_message_has_signature(m, "s") || sd_bus_message_has_signature(m, "ss"))
                assert_return_code(sd_bus_message_read(m, "s", &name), 0);
        if (sd_bus_message_is_method_call(m, MANAGER, "Subscribe"))
                (void) sd_bus_reply_method_return(m, "");
        else if (sd_bus_message_is_method_call(m, MANAGER, "ListUnitsByPatterns"))
                list_units(systemd, m);
        else if (sd_bus_message_is_method_call(m, MANAGER, "RefUnit")) {
                systemd->n_refs++;
                (void) sd_bus_reply_method_return(m, "");
        } else if (sd_bus_message_is_method_call(m, MANAGER, "UnrefUnit"))
                systemd->n_unrefs++;
        else if (sd_bus_message_is_method_call(m, MANAGER, "StartUnit"))
                start_unit(systemd, m, name);
        else if (sd_bus_message_is_method_call(m, MANAGER, "StopUnit")) {
                systemd->n_stops++;
                (void) sd_bus_reply_method_return(m, "o", PATH "/job/2");
                (void) snprintf(systemd->name, sizeof(systemd->name), "%s", name);
                systemd->has_left = false;
                if (is(name, "waits"))
                        end_unit(systemd, "inactive", "success", CLD_KILLED, 15);
                else if (!is(name, "stays"))
                        tell_removed(systemd, systemd->bus, NULL, PATH "/job/2", "done");
        } else if (sd_bus_message_is_method_call(m, NULL, "GetAll"))
                tell_all(systemd, m);
        else if (sd_bus_message_is_method_call(m, NULL, "Get"))
                tell_limit(systemd, m);
        else
                return 0;
        return 1;
}

static void systemd_restart(Systemd *systemd) {
        assert_return_code(sd_bus_open_user(&systemd->bus), 0);
        assert_return_code(sd_bus_attach_event(systemd->bus, systemd->event, 0), 0);
        assert_return_code(sd_bus_add_filter(systemd->bus, NULL, on_message, systemd), 0);
        assert_return_code(sd_bus_request_name(systemd->bus, SYSTEMD, 0), 0);
}

static void systemd_start(Systemd *systemd) {
        systemd->active = "inactive";
        systemd->result = "success";
        systemd->condition = true;
        systemd_restart(systemd);
}

static void systemd_end(Systemd *systemd) {
        (void) sd_bus_flush(systemd->bus);
        (void) sd_bus_detach_event(systemd->bus);
        systemd->bus = sd_bus_close_unref(systemd->bus);
}

/* ---- jobs ---- */

typedef struct Fixture {
        PrivateBus private_bus;
        sd_event *event;
        Systemd systemd;
        Units *units;
        HandlerConfig config;
        Handler *handler;
        char template[64];
        Try try;
        bool done;
        HandlerCall *call;
} Fixture;

static int set_up(void **state) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        Fixture *f = calloc(1, sizeof(*f));
        int fd;

        assert_non_null(f);
        *state = f;
        private_bus_init(&f->private_bus);
        private_bus_start(&f->private_bus);
        assert_return_code(sd_event_new(&f->event), 0);
        f->systemd.event = f->event;
        f->systemd.fd = -EBADF;
        (void) snprintf(
                f->systemd.address, sizeof(f->systemd.address), "%s/unit", f->private_bus.folder);
        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->systemd.address);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_return_code(bind(fd, (const struct sockaddr *) &address, sizeof(address)), 0);
        assert_return_code(listen(fd, 128), 0);
        systemd_start(&f->systemd);
        assert_return_code(units_new(f->event, HANDLER_BUS_USER, fd, geteuid(), &f->units), 0);
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        unit_vtable.close(f->handler);
        units_free(f->units);
        (void) fd_close(f->systemd.fd);
        if (f->systemd.bus)
                systemd_end(&f->systemd);
        sd_event_unref(f->event);
        private_bus_done(&f->private_bus);
        free(f);
        return 0;
}

static void on_done(void *userdata) {
        ((Fixture *) userdata)->done = true;
}

static void begin(Fixture *f, const char *what, const char *payload) {
        Attempt *attempts[1] = { &f->try.attempt };
        _cleanup_free_ char *error = NULL;

        (void) snprintf(f->template, sizeof(f->template), "sluice-%s@.service", what);
        if (!f->handler) {
                f->config = (HandlerConfig){
                        .pool = "pool",
                        .stop_timeout = 100 * USEC_PER_MSEC,
                        .output_max = 100,
                        .unit_template = f->template,
                        .event = f->event,
                        .bus = HANDLER_BUS_SYSTEM,
                        .units = f->units,
                };
                assert_return_code(unit_vtable.open(&f->config, &f->handler, &error), 0);
        }
        f->done = false;
        try_init(&f->try, payload, strlen(payload));
        assert_return_code(unit_vtable.begin(f->handler, attempts, 1, on_done, f, &f->call), 0);
}

static void step(Fixture *f) {
        assert_true(sd_event_run(f->event, 60 * USEC_PER_SEC) > 0);
        if (f->systemd.wants_exit) {
                f->systemd.wants_exit = false;
                systemd_end(&f->systemd);
                systemd_start(&f->systemd);
        }
}

static void run(Fixture *f) {
        while (!f->done)
                step(f);
}

static void stop(Fixture *f) {
        atomic_store(&f->try.stop, JOB_STOP_CANCEL);
        unit_vtable.stop(f->handler, f->call);
}

/* ---- tests ---- */

static void each_end_of_a_unit_has_its_verdict(void **state) {
        static const struct {
                const char *name;
                Outcome outcome;
                const char *error;
        } rows[] = {
                { "fails", OUTCOME_FAILURE, "sluice-fails@7.service exited with status 3" },
                { "odd", OUTCOME_FAILURE, "sluice-odd@7.service exited with status 3" },
                { "missing", OUTCOME_FAILURE,
                        "systemd refuses to start sluice-missing@7.service: Unit is not there." },
                { "skipped", OUTCOME_FAILURE,
                        "sluice-skipped@7.service did not run: a condition of the unit is not "
                        "met" },
                { "again", OUTCOME_FAILURE, "sluice-again@7.service exited with status 3" },
                { "slow", OUTCOME_FAILURE,
                        "sluice-slow@7.service ran for longer than RuntimeMaxSec= and was ended" },
                { "mute", OUTCOME_FAILURE,
                        "sluice-mute@7.service was stopped and did not end within "
                        "TimeoutStopSec=" },
                { "quiet", OUTCOME_LOST,
                        "systemd does not say how sluice-quiet@7.service is: its answer is of "
                        "another kind" },
                { "crash", OUTCOME_LOST,
                        "the connection to systemd was lost, so that nobody knows how "
                        "sluice-crash@7.service ended" },
        };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                begin(f, rows[i].name, "");
                run(f);
                assert_failed(&f->try, rows[i].outcome, rows[i].error);
                try_done(&f->try);
        }
}

static void the_payload_comes_back_as_the_output(void **state) {
        Fixture *f = *state;

        begin(f, "echo", "hello");
        run(f);
        assert_output(&f->try, "hello", 5);
        try_done(&f->try);
        /* More was not asked. */
        assert_int_equal(f->systemd.n_starts, 1);
        assert_int_equal(f->systemd.n_refs + f->systemd.n_looks + f->systemd.n_limits, 0);
}

static void what_runs_for_long_stays_loaded(void **state) {
        Fixture *f = *state;

        begin(f, "waits", "");
        while (f->systemd.n_refs == 0)
                step(f);
        stop(f);
        run(f);
        try_done(&f->try);
        while (f->systemd.n_unrefs < 1)
                step(f);
        assert_int_equal(f->systemd.n_refs, 1);
        assert_int_equal(f->systemd.n_looks, 0);
}

static void step_until(Fixture *f, usec_t until) {
        while (usec_now(CLOCK_MONOTONIC) < until)
                assert_return_code(sd_event_run(f->event, 50 * USEC_PER_MSEC), 0);
}

/* It was to be referenced while there was no systemd. */
static void what_runs_while_systemd_is_away_is_looked_at_once(void **state) {
        Fixture *f = *state;

        begin(f, "waits", "");
        while (f->systemd.n_starts == 0)
                step(f);
        step_until(f, usec_now(CLOCK_MONOTONIC) + 100 * USEC_PER_MSEC);
        systemd_end(&f->systemd);
        step_until(f, usec_now(CLOCK_MONOTONIC) + 1200 * USEC_PER_MSEC);
        f->systemd.active = "inactive";
        f->systemd.code = CLD_EXITED;
        systemd_restart(&f->systemd);
        run(f);
        assert_output(&f->try, "", 0);
        try_done(&f->try);
        while (f->systemd.n_unrefs < 1)
                step(f);
        assert_int_equal(f->systemd.n_refs, 1);
        assert_int_equal(f->systemd.n_looks, 1);
}

static void what_ends_after_systemd_is_back_is_not_lost(void **state) {
        Fixture *f = *state;

        begin(f, "waits", "");
        while (f->systemd.n_refs == 0)
                step(f);
        /* As with ExecStartPre=: the command itself has not begun. */
        f->systemd.active = "activating";
        f->systemd.started_at = 0;
        systemd_end(&f->systemd);
        systemd_restart(&f->systemd);
        while (f->systemd.n_looks == 0)
                step(f);
        step_until(f, usec_now(CLOCK_MONOTONIC) + 100 * USEC_PER_MSEC);
        end_unit(&f->systemd, "failed", "exit-code", 0, 0);
        run(f);
        assert_failed(&f->try, OUTCOME_FAILURE,
                "sluice-waits@7.service did not run: a command before that of the job failed "
                "(ExecStartPre=)");
        try_done(&f->try);
}

static void what_is_told_to_stop_ends_as_it_does(void **state) {
        Fixture *f = *state;

        begin(f, "waits", "");
        while (f->systemd.n_starts == 0)
                step(f);
        stop(f);
        run(f);
        assert_failed(&f->try, OUTCOME_FAILURE,
                "sluice-waits@7.service was killed by signal 15 (SIGTERM)");
        try_done(&f->try);
}

static void what_does_not_stop_is_lost(void **state) {
        Fixture *f = *state;

        begin(f, "stays", "");
        while (f->systemd.n_starts == 0)
                step(f);
        stop(f);
        run(f);
        assert_failed(&f->try, OUTCOME_LOST,
                "sluice-stays@7.service was told to stop and had not ended 100ms later");
        try_done(&f->try);
}

static void a_systemd_that_never_answers_is_not_waited_for_once_stopped(void **state) {
        Fixture *f = *state;

        begin(f, "silent", "");
        while (f->systemd.n_starts == 0)
                step(f);
        stop(f);
        run(f);
        assert_failed(&f->try, OUTCOME_LOST,
                "sluice-silent@7.service was told to stop and had not ended 100ms later");
        try_done(&f->try);
}

static void what_was_left_is_stopped_before_its_name_is_used(void **state) {
        Fixture *f = *state;

        f->systemd.has_left = true;
        begin(f, "echo", "x");
        while (f->systemd.n_starts == 0)
                step(f);
        assert_int_equal(f->systemd.n_stops, 1);
        run(f);
        assert_output(&f->try, "x", 1);
        try_done(&f->try);
}

static void signals_of_others_are_not_believed(void **state) {
        Fixture *f = *state;
        const char *to, *active;
        sd_bus *other;

        begin(f, "waits", "");
        while (f->systemd.n_starts == 0)
                step(f);
        assert_return_code(sd_bus_open_user(&other), 0);
        /* The first connection to the bus is our systemd's, the second one the handler's. */
        to = ":1.1";
        active = f->systemd.active;
        f->systemd.active = "inactive";
        tell_change(&f->systemd, other, to);
        tell_removed(&f->systemd, other, to, JOB, "failed");
        f->systemd.active = active;
        assert_return_code(sd_bus_flush(other), 0);
        sd_bus_close_unref(other);

        stop(f);
        run(f);
        assert_failed(&f->try, OUTCOME_FAILURE,
                "sluice-waits@7.service was killed by signal 15 (SIGTERM)");
        try_done(&f->try);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(
                        each_end_of_a_unit_has_its_verdict, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        the_payload_comes_back_as_the_output, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        what_is_told_to_stop_ends_as_it_does, set_up, tear_down),
                cmocka_unit_test_setup_teardown(what_runs_for_long_stays_loaded, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        what_runs_while_systemd_is_away_is_looked_at_once, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        what_ends_after_systemd_is_back_is_not_lost, set_up, tear_down),
                cmocka_unit_test_setup_teardown(what_does_not_stop_is_lost, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        a_systemd_that_never_answers_is_not_waited_for_once_stopped, set_up,
                        tear_down),
                cmocka_unit_test_setup_teardown(
                        what_was_left_is_stopped_before_its_name_is_used, set_up, tear_down),
                cmocka_unit_test_setup_teardown(
                        signals_of_others_are_not_believed, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
