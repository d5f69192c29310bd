/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The handler and the services that it calls share one event loop and one thread, so nothing here
 * depends on who is faster. What the bus is to start by itself is this program with --serve. */

#include <stdio.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "handler/handler.h"
#include "private-bus.h"
#include "test.h"
#include "try.h"

#define NAME "org.example.Worker"
#define PATH "/org/example/Worker"
#define WORKER "org.sluice1.Worker"
#define DRIVER "org.freedesktop.DBus"

#define LIMIT (60 * USEC_PER_SEC)
#define CALLS_MAX 200

/* ---- a service that does as it is told by the payload ---- */

typedef struct Service {
        sd_bus *bus, *other;
        sd_bus_message *held[CALLS_MAX]; /* calls that were not answered */
        unsigned n_held;
        uint64_t cancelled; /* the id of the last Cancel */
        unsigned n_cancels;
        bool wants_exit;
} Service;

typedef struct Order {
        const char *payload;
        void (*obey)(Service *service, sd_bus_message *m);
} Order;

static void send(sd_bus_message *m) {
        assert_return_code(sd_bus_send(sd_bus_message_get_bus(m), m, NULL), 0);
        sd_bus_message_unref(m);
}

static sd_bus_message *reply_to(sd_bus_message *m) {
        sd_bus_message *reply;

        assert_return_code(sd_bus_message_new_method_return(m, &reply), 0);
        return reply;
}

static void answer(Service *service, sd_bus_message *m) {
        sd_bus_message *reply = reply_to(m);

        assert_return_code(sd_bus_message_append_array(reply, 'y', "done", 4), 0);
        send(reply);
}

static void answer_empty(Service *service, sd_bus_message *m) {
        sd_bus_message *reply = reply_to(m);

        assert_return_code(sd_bus_message_append_array(reply, 'y', NULL, 0), 0);
        send(reply);
}

static void answer_nothing(Service *service, sd_bus_message *m) {
        send(reply_to(m));
}

static void answer_text(Service *service, sd_bus_message *m) {
        assert_return_code(sd_bus_reply_method_return(m, "s", "done"), 0);
}

static void answer_size(sd_bus_message *m, size_t size) {
        sd_bus_message *reply = reply_to(m);
        void *space;

        assert_return_code(sd_bus_message_append_array_space(reply, 'y', size, &space), 0);
        memset(space, 'x', size);
        send(reply);
}

static void answer_much(Service *service, sd_bus_message *m) {
        answer_size(m, 1001);
}

static void answer_31_mib(Service *service, sd_bus_message *m) {
        answer_size(m, (size_t) 31 << 20);
}

static void fail_with(sd_bus_message *m, const char *name, const char *text) {
        assert_return_code(sd_bus_reply_method_error(m, &SD_BUS_ERROR_MAKE_CONST(name, text)), 0);
}

static void answer_error(Service *service, sd_bus_message *m) {
        fail_with(m, "org.example.Error.NotFound", "no such picture");
}

static void answer_error_without_text(Service *service, sd_bus_message *m) {
        sd_bus_message *reply;

        assert_return_code(sd_bus_message_new_method_error(
                                   m, &reply, &SD_BUS_ERROR_MAKE_CONST("org.example.Bad", NULL)),
                0);
        send(reply);
}

static void answer_error_odd(Service *service, sd_bus_message *m) {
        fail_with(m, "org.example.Bad",
                "one\ntwo\t\x1b[31m Gr\xc3\xb6\xc3\x9f"
                "e \xc2\x9b"
                "31m\x7f");
}

static void answer_error_long(Service *service, sd_bus_message *m) {
        static char text[100001];

        for (size_t i = 0; i + 2 < sizeof(text); i += 2)
                memcpy(text + i, "\xc3\xb6", 2);
        fail_with(m, "org.example.Bad", text);
}

static void answer_retry(Service *service, sd_bus_message *m) {
        fail_with(m, "org.sluice1.Error.Retry", "come back later");
}

static void answer_fatal(Service *service, sd_bus_message *m) {
        fail_with(m, "org.sluice1.Error.Fatal", "this is no picture");
}

/* As the bus says it of one who has gone; but it is the service who says so. */
static void answer_no_reply(Service *service, sd_bus_message *m) {
        fail_with(m, DRIVER ".Error.NoReply", "I will not");
}

static void answer_no_owner(Service *service, sd_bus_message *m) {
        fail_with(m, DRIVER ".Error.NameHasNoOwner", "nobody here");
}

static void answer_twice(Service *service, sd_bus_message *m) {
        answer(service, m);
        answer(service, m);
}

static void hold(Service *service, sd_bus_message *m) {
        assert_true(service->n_held < CALLS_MAX);
        service->held[service->n_held++] = sd_bus_message_ref(m);
}

static void exit_now(Service *service, sd_bus_message *m) {
        service->wants_exit = true;
}

static void release_name(Service *service, sd_bus_message *m) {
        assert_return_code(sd_bus_release_name_async(service->bus, NULL, NAME, NULL, NULL), 0);
        hold(service, m);
}

/* In this order it comes to the bus as well. */
static void release_name_and_answer(Service *service, sd_bus_message *m) {
        assert_return_code(sd_bus_release_name_async(service->bus, NULL, NAME, NULL, NULL), 0);
        answer(service, m);
}

static void hand_over_name(Service *service, sd_bus_message *m) {
        assert_return_code(sd_bus_open_user(&service->other), 0);
        assert_return_code(sd_bus_request_name(service->other, NAME,
                                   SD_BUS_NAME_REPLACE_EXISTING | SD_BUS_NAME_ALLOW_REPLACEMENT),
                0);
        answer(service, m);
}

/* Signals to the caller alone, which wants none of them; the last ones are lies. */
static void flood(Service *service, sd_bus_message *m) {
        const char *caller = sd_bus_message_get_sender(m);

        for (unsigned i = 0; i < 1000; i++) {
                sd_bus_message *s;

                if (i < 990)
                        assert_return_code(sd_bus_message_new_signal(
                                                   service->bus, &s, PATH, WORKER, "Something"),
                                0);
                else
                        assert_return_code(
                                sd_bus_message_new_signal(service->bus, &s, "/org/freedesktop/DBus",
                                        DRIVER, "NameOwnerChanged"),
                                0);
                assert_return_code(sd_bus_message_append(s, "sss", NAME,
                                           sd_bus_message_get_destination(m), i % 2 ? "" : ":1.9"),
                        0);
                assert_return_code(sd_bus_message_set_destination(s, caller), 0);
                send(s);
        }
        answer(service, m);
}

/* Calls that the caller has to answer with an error. */
static void call_back(Service *service, sd_bus_message *m) {
        for (unsigned i = 0; i < 100; i++)
                assert_return_code(
                        sd_bus_call_method_async(service->bus, NULL, sd_bus_message_get_sender(m),
                                PATH, WORKER, "Process", NULL, NULL, NULL),
                        0);
        answer(service, m);
}

static const Order orders[] = {
        { "answer", answer },
        { "empty", answer_empty },
        { "nothing", answer_nothing },
        { "text", answer_text },
        { "much", answer_much },
        { "31 MiB", answer_31_mib },
        { "error", answer_error },
        { "error without text", answer_error_without_text },
        { "odd error", answer_error_odd },
        { "long error", answer_error_long },
        { "retry", answer_retry },
        { "fatal", answer_fatal },
        { "no reply", answer_no_reply },
        { "no owner", answer_no_owner },
        { "twice", answer_twice },
        { "hold", hold },
        { "exit", exit_now },
        { "release", release_name },
        { "release and answer", release_name_and_answer },
        { "hand over", hand_over_name },
        { "flood", flood },
        { "call back", call_back },
};

static void append_item(sd_bus_message *m, uint64_t id, bool ok, const char *text) {
        assert_return_code(sd_bus_message_open_container(m, 'r', "tbay"), 0);
        assert_return_code(sd_bus_message_append(m, "tb", id, ok), 0);
        assert_return_code(sd_bus_message_append_array(m, 'y', text, strlen(text)), 0);
        assert_return_code(sd_bus_message_close_container(m), 0);
}

/* What it says of batches is in the payload of the first job. The ids of the others follow. */
static void answer_batch(sd_bus_message *m, const char *payload, const uint64_t *ids, size_t n) {
        sd_bus_message *reply = reply_to(m);

        assert_return_code(sd_bus_message_open_container(reply, 'a', "(tbay)"), 0);
        if (strcmp(payload, "backwards") == 0)
                for (size_t i = n; i-- > 0;)
                        append_item(reply, ids[i], true, i == 0 ? "first" : "other");
        else
                for (size_t i = 0; i < n; i++) {
                        bool last = i + 1 == n;

                        if (last && strcmp(payload, "missing") == 0)
                                continue;
                        if (last && strcmp(payload, "unknown") == 0)
                                append_item(reply, 99, true, "x");
                        if (last && strcmp(payload, "double") == 0)
                                append_item(reply, ids[0], true, "x");
                        if (last && strcmp(payload, "one fails") == 0)
                                append_item(reply, ids[i], false, "not\xff this\n");
                        else if (last && strcmp(payload, "one is much") == 0) {
                                char text[1002];

                                memset(text, 'x', 1001);
                                text[1001] = '\0';
                                append_item(reply, ids[i], true, text);
                        } else
                                append_item(reply, ids[i], true, i == 0 ? "first" : "other");
                }
        assert_return_code(sd_bus_message_close_container(reply), 0);
        send(reply);
}

static void do_batch(Service *service, sd_bus_message *m) {
        char payload[64] = "";
        uint64_t ids[16];
        const void *data;
        size_t n = 0, size;

        assert_return_code(sd_bus_message_enter_container(m, 'a', "(tay)"), 0);
        while (sd_bus_message_enter_container(m, 'r', "tay") > 0) {
                assert_true(n < ELEMENTSOF(ids));
                assert_return_code(sd_bus_message_read(m, "t", &ids[n]), 0);
                assert_return_code(sd_bus_message_read_array(m, 'y', &data, &size), 0);
                if (n == 0)
                        memcpy(payload, data, size);
                assert_return_code(sd_bus_message_exit_container(m), 0);
                n++;
        }
        for (size_t i = 0; i < ELEMENTSOF(orders); i++)
                if (strcmp(orders[i].payload, payload) == 0) {
                        orders[i].obey(service, m);
                        return;
                }
        answer_batch(m, payload, ids, n);
}

/* Are the facts in the context as try_init() has made them? */
static void check_context(sd_bus_message *m) {
        const char *keys[6], *pool, *tag;
        uint32_t attempt, owner;
        uint64_t timeout;
        int32_t priority;

        assert_return_code(sd_bus_message_read(m, "a{sv}", 6, &keys[0], "s", &pool, &keys[1], "u",
                                   &attempt, &keys[2], "s", &tag, &keys[3], "u", &owner, &keys[4],
                                   "i", &priority, &keys[5], "t", &timeout),
                0);
        assert_string_equal(keys[0], "Pool");
        assert_string_equal(pool, "pool");
        assert_string_equal(keys[1], "Attempt");
        assert_int_equal(attempt, 1);
        assert_string_equal(keys[2], "Tag");
        assert_string_equal(tag, "tag");
        assert_string_equal(keys[3], "Owner");
        assert_int_equal(owner, 1234);
        assert_string_equal(keys[4], "Priority");
        assert_int_equal(priority, -7);
        assert_string_equal(keys[5], "RunTimeoutUSec");
        assert_true(timeout == USEC_PER_MINUTE);
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Service *service = userdata;
        const void *payload;
        uint64_t id;
        size_t size;

        if (sd_bus_message_is_method_call(m, WORKER, "Cancel")) {
                assert_return_code(sd_bus_message_read(m, "t", &service->cancelled), 0);
                assert_int_equal(sd_bus_message_get_expect_reply(m), 0);
                service->n_cancels++;
                return 1;
        }
        if (sd_bus_message_is_method_call(m, WORKER, "ProcessBatch")) {
                do_batch(service, m);
                return 1;
        }
        if (!sd_bus_message_is_method_call(m, WORKER, "Process"))
                return 0;
        assert_string_equal(sd_bus_message_get_path(m), PATH);
        assert_int_equal(sd_bus_message_get_allow_interactive_authorization(m), 0);
        assert_true(sd_bus_message_has_signature(m, "taya{sv}"));
        assert_return_code(sd_bus_message_read(m, "t", &id), 0);
        assert_return_code(sd_bus_message_read_array(m, 'y', &payload, &size), 0);
        check_context(m);
        for (size_t i = 0; i < ELEMENTSOF(orders); i++)
                if (strlen(orders[i].payload) == size &&
                        memcmp(orders[i].payload, payload, size) == 0) {
                        orders[i].obey(service, m);
                        return 1;
                }
        answer(service, m);
        return 1;
}

static void service_start(Service *service, sd_event *event) {
        assert_return_code(sd_bus_open_user(&service->bus), 0);
        assert_return_code(sd_bus_add_filter(service->bus, NULL, on_message, service), 0);
        assert_return_code(
                sd_bus_request_name(service->bus, NAME, SD_BUS_NAME_ALLOW_REPLACEMENT), 0);
        assert_return_code(sd_bus_attach_event(service->bus, event, 0), 0);
}

static void service_end(Service *service) {
        while (service->n_held > 0)
                sd_bus_message_unref(service->held[--service->n_held]);
        if (service->bus)
                (void) sd_bus_detach_event(service->bus);
        service->bus = sd_bus_close_unref(service->bus);
        service->other = sd_bus_close_unref(service->other);
        *service = (Service){};
}

/* ---- a service that the bus starts ---- */

typedef struct Started {
        bool once; /* it ends after its first job */
        bool released;
        bool over;
} Started;

static int on_released(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Started *started = userdata;

        started->over = true;
        return 0;
}

/* Answers, and if it is to end after that, lets go of the name; what has come by the time that the
 * bus has confirmed that is answered as well. */
static int on_started_message(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Started *started = userdata;

        if (!sd_bus_message_is_method_call(m, WORKER, "Process"))
                return 0;
        answer(NULL, m);
        if (started->once && !started->released) {
                started->released = true;
                (void) sd_bus_release_name_async(
                        sd_bus_message_get_bus(m), NULL, NAME, on_released, started);
        }
        return 1;
}

static int serve(const char *how) {
        Started started = { .once = strcmp(how, "once") == 0 };
        sd_bus *bus = NULL;
        int r;

        r = sd_bus_open_user(&bus);
        if (r >= 0)
                r = sd_bus_add_filter(bus, NULL, on_started_message, &started);
        if (r >= 0)
                r = sd_bus_request_name(bus, NAME, 0);
        while (r >= 0 && !started.over) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
        }
        sd_bus_flush_close_unref(bus);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- the pool's side ---- */

typedef struct Call {
        Try tries[8];
        Attempt *attempts[8];
        size_t n;
        HandlerCall *call;
        bool is_done;
} Call;

typedef struct Fixture {
        PrivateBus bus;
        sd_event *event;
        HandlerConfig config;
        Handler *handler;
        Service service;
        Call calls[CALLS_MAX];
} Fixture;

static void open_handler(Fixture *f) {
        char *error = NULL;

        f->config = (HandlerConfig){
                .pool = "pool",
                .payload_max = 1 << 20,
                .stop_timeout = 50 * USEC_PER_MSEC,
                .output_max = 1000,
                .bus_name = (char *) NAME,
                .object_path = (char *) PATH,
                .event = f->event,
                .bus = HANDLER_BUS_USER,
        };
        assert_return_code(service_vtable.open(&f->config, &f->handler, &error), 0);
}

static int set_up(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        private_bus_init(&f->bus);
        assert_return_code(sd_event_new(&f->event), 0);
        open_handler(f);
        *state = f;
        return 0;
}

static int set_up_with_service(void **state) {
        Fixture *f;

        (void) set_up(state);
        f = *state;
        private_bus_start(&f->bus);
        service_start(&f->service, f->event);
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        service_vtable.close(f->handler);
        service_end(&f->service);
        sd_event_unref(f->event);
        private_bus_done(&f->bus);
        free(f);
        return 0;
}

static void on_done(void *userdata) {
        Call *call = userdata;

        assert_false(call->is_done);
        call->is_done = true;
        call->call = NULL;
}

static void begin_all(Fixture *f, Call *call, const char *const *payloads, size_t n, bool batch) {
        *call = (Call){ .n = n };
        for (size_t i = 0; i < n; i++) {
                Try *try = &call->tries[i];

                try_init(try, payloads[i], strlen(payloads[i]));
                try->attempt.id = 30 - i;
                try->attempt.in_batch = batch;
                try->attempt.owner = 1234;
                try->attempt.priority = -7;
                try->attempt.run_timeout = USEC_PER_MINUTE;
                call->attempts[i] = &try->attempt;
        }
        assert_return_code(
                service_vtable.begin(f->handler, call->attempts, n, on_done, call, &call->call), 0);
        assert_false(call->is_done);
}

static void begin(Fixture *f, Call *call, const char *payload) {
        begin_all(f, call, &payload, 1, false);
}

static void end(Call *call) {
        for (size_t i = 0; i < call->n; i++)
                try_done(&call->tries[i]);
}

static void step(Fixture *f) {
        assert_true(sd_event_run(f->event, LIMIT) > 0);
        if (f->service.wants_exit)
                service_end(&f->service);
}

static void run(Fixture *f, const Call *call) {
        while (!call->is_done)
                step(f);
}

/* The call goes on and the service has it. */
static void run_until_held(Fixture *f, unsigned n) {
        while (f->service.n_held < n)
                step(f);
}

static void stop(Fixture *f, Call *call, JobStop why) {
        for (size_t i = 0; i < call->n; i++)
                atomic_store(&call->tries[i].stop, why);
        service_vtable.stop(f->handler, call->call);
}

static void assert_works(Fixture *f) {
        Call *call = &f->calls[CALLS_MAX - 1];

        begin(f, call, "answer");
        run(f, call);
        assert_output(&call->tries[0], "done", 4);
        end(call);
}

/* ---- tests ---- */

typedef struct Row {
        const char *payload;
        Outcome outcome;
        const char *text; /* of a failure, or the output */
        bool has_ended;   /* the service is no more as it was */
} Row;

static const Row rows[] = {
        { "answer", OUTCOME_SUCCESS, "done" },
        { "empty", OUTCOME_SUCCESS, "" },
        { "nothing", OUTCOME_FAILURE,
                "the service answered with the type \"\" and not with \"ay\"" },
        { "text", OUTCOME_FAILURE, "the service answered with the type \"s\" and not with \"ay\"" },
        { "much", OUTCOME_FAILURE, "the service gave more output than OutputMax= allows" },
        { "31 MiB", OUTCOME_FAILURE, "the service gave more output than OutputMax= allows" },
        { "error", OUTCOME_FAILURE, "org.example.Error.NotFound: no such picture" },
        { "error without text", OUTCOME_FAILURE, "org.example.Bad" },
        { "odd error", OUTCOME_FAILURE,
                "org.example.Bad: one\\ntwo\\t\\x1b[31m Gr\xc3\xb6\xc3\x9f"
                "e \\x9b31m\\x7f" },
        { "retry", OUTCOME_RETRY, "come back later" },
        { "fatal", OUTCOME_FATAL, "this is no picture" },
        { "no reply", OUTCOME_FAILURE, "org.freedesktop.DBus.Error.NoReply: I will not" },
        { "no owner", OUTCOME_FAILURE, "org.freedesktop.DBus.Error.NameHasNoOwner: nobody here" },
        { "twice", OUTCOME_SUCCESS, "done" },
        { "flood", OUTCOME_SUCCESS, "done" },
        { "call back", OUTCOME_SUCCESS, "done" },
        { "release and answer", OUTCOME_SUCCESS, "done", true },
        { "exit", OUTCOME_LOST, NAME " has gone without an answer", true },
        { "release", OUTCOME_LOST, NAME " has let go of its name and did not answer within 50ms",
                true },
        { "hand over", OUTCOME_LOST,
                NAME " belongs to somebody else now, and had not answered before", true },
};

static void every_answer_has_its_verdict(void **state) {
        Fixture *f = *state;
        Call *call = &f->calls[0];

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const Row *row = &rows[i];

                begin(f, call, row->payload);
                run(f, call);
                if (row->outcome == OUTCOME_SUCCESS)
                        assert_output(&call->tries[0], row->text, strlen(row->text));
                else
                        assert_failed(&call->tries[0], row->outcome, row->text);
                end(call);

                if (row->has_ended) {
                        service_end(&f->service);
                        service_start(&f->service, f->event);
                }
                assert_works(f);
        }
}

static void the_same_verdicts_are_those_of_all_of_a_batch(void **state) {
        Fixture *f = *state;
        Call *call = &f->calls[0];

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const char *payloads[] = { rows[i].payload, "b", "c" };

                if (rows[i].outcome == OUTCOME_SUCCESS || strcmp(rows[i].payload, "nothing") == 0 ||
                        strcmp(rows[i].payload, "text") == 0)
                        continue;
                begin_all(f, call, payloads, 3, true);
                run(f, call);
                for (size_t k = 0; k < 3; k++) {
                        /* Here an array of bytes is the wrong type. */
                        if (strcmp(rows[i].payload, "much") == 0 ||
                                strcmp(rows[i].payload, "31 MiB") == 0)
                                assert_failed(&call->tries[k], OUTCOME_FAILURE,
                                        "the service answered with the type \"ay\" and not with "
                                        "\"a(tbay)\"");
                        else
                                assert_failed(&call->tries[k], rows[i].outcome, rows[i].text);
                }
                end(call);
                if (rows[i].has_ended) {
                        service_end(&f->service);
                        service_start(&f->service, f->event);
                }
        }
}

static void long_error_texts_are_cut_between_characters(void **state) {
        Fixture *f = *state;
        const char *text;

        begin(f, &f->calls[0], "long error");
        run(f, &f->calls[0]);
        text = f->calls[0].attempts[0]->error;
        assert_in_range(strlen(text), 1000, 2200);
        assert_string_equal(text + strlen(text) - 5, "\xc3\xb6\xe2\x80\xa6");
        end(&f->calls[0]);
}

static void each_job_of_a_batch_has_a_verdict_of_its_own(void **state) {
        static const struct {
                const char *payload;
                Outcome outcomes[3];
                const char *texts[3];
        } batches[] = {
                { "in order", {}, { "first", "other", "other" } },
                { "backwards", {}, { "first", "other", "other" } },
                { "missing", { [2] = OUTCOME_FAILURE },
                        { "first", "other",
                                "the service has answered for others of the batch and not for "
                                "this job" } },
                { "one fails", { [2] = OUTCOME_FAILURE }, { "first", "other", "not? this\\n" } },
                { "one is much", { [2] = OUTCOME_FAILURE },
                        { "first", "other",
                                "the service gave more output than OutputMax= allows" } },
                { "unknown", { OUTCOME_FAILURE, OUTCOME_FAILURE, OUTCOME_FAILURE },
                        { "the service has answered for job 99, which is not one of the batch",
                                "the service has answered for job 99, which is not one of the "
                                "batch",
                                "the service has answered for job 99, which is not one of the "
                                "batch" } },
                { "double", { OUTCOME_FAILURE, OUTCOME_FAILURE, OUTCOME_FAILURE },
                        { "the service has answered for job 30, which it had answered before",
                                "the service has answered for job 30, which it had answered "
                                "before",
                                "the service has answered for job 30, which it had answered "
                                "before" } },
        };
        Fixture *f = *state;
        Call *call = &f->calls[0];

        for (size_t i = 0; i < ELEMENTSOF(batches); i++) {
                const char *payloads[] = { batches[i].payload, "b", "c" };

                begin_all(f, call, payloads, 3, true);
                run(f, call);
                for (size_t k = 0; k < 3; k++)
                        if (batches[i].outcomes[k] == OUTCOME_SUCCESS)
                                assert_output(&call->tries[k], batches[i].texts[k],
                                        strlen(batches[i].texts[k]));
                        else
                                assert_failed(&call->tries[k], batches[i].outcomes[k],
                                        batches[i].texts[k]);
                end(call);
        }
}

static void a_batch_of_one_is_a_batch(void **state) {
        static const char *const payload = "in order";
        Fixture *f = *state;

        begin_all(f, &f->calls[0], &payload, 1, true);
        run(f, &f->calls[0]);
        assert_output(&f->calls[0].tries[0], "first", 5);
        end(&f->calls[0]);
}

static void a_batch_that_is_too_large_fails_for_good(void **state) {
        Fixture *f = *state;
        Call *call = &f->calls[0];
        HandlerCall *none = NULL;

        *call = (Call){ .n = 2 };
        for (size_t i = 0; i < 2; i++) {
                try_init(&call->tries[i], "x", (size_t) 16 << 20);
                call->tries[i].attempt.in_batch = true;
                call->attempts[i] = &call->tries[i].attempt;
        }
        assert_works(f); /* It is connected now. */
        assert_int_equal(service_vtable.begin(f->handler, call->attempts, 2, on_done, call, &none),
                -EMSGSIZE);
        for (size_t i = 0; i < 2; i++)
                assert_failed(&call->tries[i], OUTCOME_FATAL,
                        "cannot call " NAME ": too much for one message");
        end(call);
        assert_works(f);
}

static void a_cancel_is_sent_and_its_answer_is_the_verdict(void **state) {
        Fixture *f = *state;
        Call *call = &f->calls[0];

        f->config.stop_timeout = LIMIT;
        begin(f, call, "hold");
        run_until_held(f, 1);
        stop(f, call, JOB_STOP_CANCEL);
        while (f->service.n_cancels == 0)
                step(f);
        assert_int_equal(f->service.cancelled, 30);
        fail_with(f->service.held[0], "org.example.Stopped", "as you wish");
        run(f, call);
        assert_failed(&call->tries[0], OUTCOME_FAILURE, "org.example.Stopped: as you wish");
        end(call);
        assert_works(f);
}

static void what_is_done_in_spite_of_a_cancel_is_done(void **state) {
        Fixture *f = *state;

        f->config.stop_timeout = LIMIT;
        begin(f, &f->calls[0], "hold");
        run_until_held(f, 1);
        stop(f, &f->calls[0], JOB_STOP_CANCEL);
        answer(&f->service, f->service.held[0]);
        run(f, &f->calls[0]);
        assert_output(&f->calls[0].tries[0], "done", 4);
        end(&f->calls[0]);
}

static void what_is_done_after_its_time_is_not(void **state) {
        Fixture *f = *state;

        f->config.stop_timeout = LIMIT;
        begin(f, &f->calls[0], "hold");
        run_until_held(f, 1);
        stop(f, &f->calls[0], JOB_STOP_TIMEOUT);
        answer(&f->service, f->service.held[0]);
        run(f, &f->calls[0]);
        assert_failed(&f->calls[0].tries[0], OUTCOME_FAILURE, "answered when its time was over");
        end(&f->calls[0]);
}

static void who_does_not_answer_a_cancel_is_given_up(void **state) {
        static const struct {
                JobStop why;
                Outcome outcome;
                const char *text;
        } stops[] = {
                { JOB_STOP_CANCEL, OUTCOME_LOST, NAME " did not answer a cancel within 50ms" },
                { JOB_STOP_TIMEOUT, OUTCOME_FAILURE,
                        NAME " did not answer in time, nor a cancel within 50ms" },
        };
        Fixture *f = *state;
        Call *call = &f->calls[0];

        for (size_t i = 0; i < ELEMENTSOF(stops); i++) {
                begin(f, call, "hold");
                run_until_held(f, 1);
                stop(f, call, stops[i].why);
                run(f, call);
                assert_failed(&call->tries[0], stops[i].outcome, stops[i].text);
                end(call);

                /* A late answer is nobody's. */
                answer(&f->service, f->service.held[0]);
                assert_works(f);
                service_end(&f->service);
                service_start(&f->service, f->event);
        }
}

static void all_jobs_of_a_batch_are_cancelled_by_their_ids(void **state) {
        static const char *const payloads[] = { "hold", "b", "c" };
        Fixture *f = *state;
        Call *call = &f->calls[0];

        begin_all(f, call, payloads, 3, true);
        run_until_held(f, 1);
        atomic_store(&call->tries[0].stop, JOB_STOP_CANCEL);
        atomic_store(&call->tries[1].stop, JOB_STOP_TIMEOUT);
        atomic_store(&call->tries[2].stop, JOB_STOP_TIMEOUT);
        service_vtable.stop(f->handler, call->call);
        run(f, call);
        assert_int_equal(f->service.n_cancels, 3);
        assert_int_equal(f->service.cancelled, 28);
        assert_int_equal(call->attempts[0]->outcome, OUTCOME_LOST);
        assert_int_equal(call->attempts[1]->outcome, OUTCOME_FAILURE);
        end(call);
}

static void a_service_that_goes_while_it_is_to_stop_has_stopped(void **state) {
        Fixture *f = *state;

        f->config.stop_timeout = LIMIT;
        begin(f, &f->calls[0], "hold");
        run_until_held(f, 1);
        stop(f, &f->calls[0], JOB_STOP_CANCEL);
        service_end(&f->service);
        run(f, &f->calls[0]);
        assert_failed(&f->calls[0].tries[0], OUTCOME_FAILURE, NAME " has gone without an answer");
        end(&f->calls[0]);
}

/* A bus allows 128 unanswered calls of a connection, and forgets none of them. */
static void calls_that_are_never_answered_are_not_in_the_way_of_others(void **state) {
        Fixture *f = *state;

        for (unsigned round = 0; round < 3; round++) {
                for (unsigned i = 0; i < 100; i++)
                        begin(f, &f->calls[i], "hold");
                run_until_held(f, 100);
                for (unsigned i = 0; i < 99; i++)
                        stop(f, &f->calls[i], JOB_STOP_CANCEL);
                for (unsigned i = 0; i < 99; i++)
                        run(f, &f->calls[i]);
                for (unsigned i = 0; i < 99; i++)
                        assert_failed(&f->calls[i].tries[0], OUTCOME_LOST,
                                NAME " did not answer a cancel within 50ms");
                assert_works(f);

                /* One that is in flight on a connection that is full goes on. */
                assert_false(f->calls[99].is_done);
                answer(&f->service, f->service.held[99]);
                run(f, &f->calls[99]);
                assert_output(&f->calls[99].tries[0], "done", 4);
                for (unsigned i = 0; i < 100; i++)
                        end(&f->calls[i]);
                while (f->service.n_held > 0)
                        sd_bus_message_unref(f->service.held[--f->service.n_held]);
        }
}

static void as_many_calls_as_slots_are_in_flight(void **state) {
        Fixture *f = *state;

        for (unsigned i = 0; i < 120; i++)
                begin(f, &f->calls[i], "hold");
        run_until_held(f, 120);
        for (unsigned i = 120; i-- > 0;)
                answer(&f->service, f->service.held[i]);
        for (unsigned i = 0; i < 120; i++) {
                run(f, &f->calls[i]);
                assert_output(&f->calls[i].tries[0], "done", 4);
                end(&f->calls[i]);
        }
}

static void what_cannot_be_called_fails_and_says_why(void **state) {
        static const struct {
                const char *name, *command, *text;
        } absent[] = {
                { "org.example.Absent", NULL,
                        "cannot call org.example.Absent: The name org.example.Absent was not "
                        "provided by any .service files" },
                { "org.example.Missing", "/nonexistent/worker",
                        "cannot call org.example.Missing: " },
                { "org.example.Crash", "/bin/false",
                        "cannot call org.example.Crash: Process org.example.Crash exited with "
                        "status 1" },
        };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(absent); i++)
                if (absent[i].command)
                        private_bus_add_service(&f->bus, absent[i].name, absent[i].command);
        private_bus_start(&f->bus);
        for (size_t i = 0; i < ELEMENTSOF(absent); i++) {
                service_vtable.close(f->handler);
                open_handler(f);
                f->config.bus_name = (char *) absent[i].name;
                begin(f, &f->calls[0], "answer");
                run(f, &f->calls[0]);
                assert_int_equal(f->calls[0].attempts[0]->outcome, OUTCOME_FAILURE);
                assert_memory_equal(
                        f->calls[0].attempts[0]->error, absent[i].text, strlen(absent[i].text));
                end(&f->calls[0]);
        }
}

/* Adds this program as what the bus starts. */
static void start_with_service(Fixture *f, const char *how) {
        char program[256], command[300];
        ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);

        assert_true(n > 0);
        program[n] = '\0';
        (void) snprintf(command, sizeof(command), "%s --serve %s", program, how);
        private_bus_add_service(&f->bus, NAME, command);
        private_bus_start(&f->bus);
}

static void the_bus_starts_the_service(void **state) {
        Fixture *f = *state;

        start_with_service(f, "always");
        for (unsigned i = 0; i < 100; i++)
                begin(f, &f->calls[i], "answer");
        for (unsigned i = 0; i < 100; i++) {
                run(f, &f->calls[i]);
                assert_output(&f->calls[i].tries[0], "done", 4);
                end(&f->calls[i]);
        }
}

/* Every instance does one job, and all calls that came to it meanwhile; there are always some on
 * their way. */
static void a_service_that_exits_when_it_is_idle_loses_nothing(void **state) {
        Fixture *f = *state;
        unsigned n_begun = 0, n_ended = 0;

        f->config.stop_timeout = LIMIT;
        start_with_service(f, "once");
        for (; n_begun < 3; n_begun++)
                begin(f, &f->calls[n_begun], "answer");
        while (n_ended < 150) {
                step(f);
                for (unsigned i = 0; i < 3; i++)
                        if (f->calls[i].n > 0 && f->calls[i].is_done) {
                                assert_output(&f->calls[i].tries[0], "done", 4);
                                end(&f->calls[i]);
                                f->calls[i].n = 0;
                                n_ended++;
                                if (n_begun < 150) {
                                        begin(f, &f->calls[i], "answer");
                                        n_begun++;
                                }
                        }
        }
}

static void calls_in_flight_are_lost_with_the_bus_and_others_wait_for_it(void **state) {
        Fixture *f = *state;

        for (unsigned round = 0; round < 3; round++) {
                begin(f, &f->calls[0], "hold");
                begin(f, &f->calls[1], "hold");
                run_until_held(f, 2);
                private_bus_kill(&f->bus);
                run(f, &f->calls[0]);
                run(f, &f->calls[1]);
                for (unsigned i = 0; i < 2; i++) {
                        assert_failed(&f->calls[i].tries[0], OUTCOME_LOST,
                                "the connection to the bus was lost before " NAME " answered");
                        end(&f->calls[i]);
                }
                service_end(&f->service);

                begin(f, &f->calls[0], "answer");
                begin(f, &f->calls[1], "answer");
                private_bus_start(&f->bus);
                service_start(&f->service, f->event);
                for (unsigned i = 0; i < 2; i++) {
                        run(f, &f->calls[i]);
                        assert_output(&f->calls[i].tries[0], "done", 4);
                        end(&f->calls[i]);
                }
        }
}

static void what_waits_for_the_bus_can_be_stopped(void **state) {
        Fixture *f = *state;

        begin(f, &f->calls[0], "answer");
        begin(f, &f->calls[1], "answer");
        stop(f, &f->calls[0], JOB_STOP_CANCEL);
        assert_true(f->calls[0].is_done);
        assert_failed(&f->calls[0].tries[0], OUTCOME_FAILURE, "stopped before " NAME " was called");
        assert_false(f->calls[1].is_done);
        /* The first attempts to connect fail. */
        step(f);
        step(f);
        stop(f, &f->calls[1], JOB_STOP_TIMEOUT);
        assert_true(f->calls[1].is_done);
        end(&f->calls[0]);
        end(&f->calls[1]);
}

static void without_calls_nothing_happens(void **state) {
        Fixture *f = *state;

        assert_works(f);
        service_end(&f->service);
        private_bus_kill(&f->bus);
        /* It would try to connect three times in that time. */
        while (sd_event_run(f->event, USEC_PER_SEC) > 0)
                ;
        private_bus_start(&f->bus);
        service_start(&f->service, f->event);
        assert_works(f);
}

static void a_daemon_without_a_bus_refuses_it(void **state) {
        const HandlerConfig config = {
                .bus_name = (char *) NAME,
                .object_path = (char *) PATH,
                .bus = HANDLER_BUS_NONE,
        };
        _cleanup_free_ char *error = NULL;
        Handler *handler = NULL;

        assert_int_equal(service_vtable.open(&config, &handler, &error), -EINVAL);
        assert_null(handler);
        assert_string_equal(error,
                "BusName=" NAME ": Handler=service needs a bus, and this daemon serves none "
                "(--no-bus)");
}

#define WITH_SERVICE(test) cmocka_unit_test_setup_teardown(test, set_up_with_service, tear_down)
#define WITHOUT_SERVICE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv) {
        static const struct CMUnitTest tests[] = {
                WITH_SERVICE(every_answer_has_its_verdict),
                WITH_SERVICE(the_same_verdicts_are_those_of_all_of_a_batch),
                WITH_SERVICE(long_error_texts_are_cut_between_characters),
                WITH_SERVICE(each_job_of_a_batch_has_a_verdict_of_its_own),
                WITH_SERVICE(a_batch_of_one_is_a_batch),
                WITH_SERVICE(a_batch_that_is_too_large_fails_for_good),
                WITH_SERVICE(a_cancel_is_sent_and_its_answer_is_the_verdict),
                WITH_SERVICE(what_is_done_in_spite_of_a_cancel_is_done),
                WITH_SERVICE(what_is_done_after_its_time_is_not),
                WITH_SERVICE(who_does_not_answer_a_cancel_is_given_up),
                WITH_SERVICE(all_jobs_of_a_batch_are_cancelled_by_their_ids),
                WITH_SERVICE(a_service_that_goes_while_it_is_to_stop_has_stopped),
                WITH_SERVICE(calls_that_are_never_answered_are_not_in_the_way_of_others),
                WITH_SERVICE(as_many_calls_as_slots_are_in_flight),
                WITHOUT_SERVICE(what_cannot_be_called_fails_and_says_why),
                WITHOUT_SERVICE(the_bus_starts_the_service),
                WITHOUT_SERVICE(a_service_that_exits_when_it_is_idle_loses_nothing),
                WITH_SERVICE(calls_in_flight_are_lost_with_the_bus_and_others_wait_for_it),
                WITHOUT_SERVICE(what_waits_for_the_bus_can_be_stopped),
                WITH_SERVICE(without_calls_nothing_happens),
                cmocka_unit_test(a_daemon_without_a_bus_refuses_it),
        };

        if (argc == 3 && strcmp(argv[1], "--serve") == 0)
                return serve(argv[2]);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
