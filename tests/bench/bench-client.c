/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The client side of the benchmarks: an ordinary sd-bus client of one pool, which sends calls of
 * one kind, reads and checks every answer, and prints what it took as lines `NAME VALUE UNIT`.
 *
 * A verb that floods keeps a fixed number of calls under way: each answer makes room for the next
 * call. Every payload holds the number of its job, so an output that is missing, doubled, cut or
 * swapped ends the run with an error instead of a good figure. Each verb warms up before it
 * measures, with a tenth of the work. */

#include "bench.h"

#define N_PRIORITIES 10

/* How many single calls of one kind follow each other before the other kind has its turn: long
 * enough for the state of caches and CPUs to be that of the kind, short enough that what else goes
 * on in the machine meets both alike. */
#define SINGLE_TURN 50

typedef struct Bench Bench;
typedef struct Call Call;
typedef struct CallKind CallKind;
typedef struct Flood Flood;

struct Bench {
        sd_bus *bus;
        char *pool_path;       /* or that of a pipeline, … */
        const char *interface; /* … which has the same methods */
        char *limiter_path;    /* of the pool's own limiter */
        unsigned n_priorities;
        uint64_t *starts; /* when each job began, for the verb that wants to know */
};

/* One kind of call. A call is about the jobs `first` to `first + n - 1`. */
struct CallKind {
        const char *name;
        const char *unit;
        int (*build)(const Bench *bench, uint64_t first, uint64_t n, sd_bus_message **ret);
        int (*check)(const Bench *bench, sd_bus_message *reply, uint64_t first, uint64_t n);
};

struct Flood {
        const Bench *bench;
        const CallKind *kind;
        uint64_t n_jobs, block;  /* the last call has what is left over */
        uint64_t n_sent, n_done; /* jobs */
        uint64_t *latencies;     /* ns from the sending of each call to its checked answer */
        uint64_t n_latencies;
        int error;
};

/* A call under way. Its memory serves the next call when the answer is there. */
struct Call {
        Flood *flood;
        uint64_t first, n;
        uint64_t sent_at; /* ns */
};

/* The calls. */

static int new_pool_call(const Bench *bench, const char *member, sd_bus_message **ret) {
        return sd_bus_message_new_method_call(
                bench->bus, ret, SERVICE, bench->pool_path, bench->interface, member);
}

/* The priorities are spread over the blocks. */
static int append_options(const Bench *bench, sd_bus_message *m, uint64_t first, uint64_t n) {
        if (bench->n_priorities == 1)
                return sd_bus_message_append(m, "a{sv}", 0);
        return sd_bus_message_append(
                m, "a{sv}", 1, "Priority", "i", (int) (first / n % bench->n_priorities));
}

static int build_many(
        const Bench *bench, const char *member, uint64_t first, uint64_t n, sd_bus_message **ret) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = new_pool_call(bench, member, &m);
        if (r < 0)
                return r;
        r = append_payloads(m, first, n);
        if (r < 0)
                return r;
        r = append_options(bench, m, first, n);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

static int build_run_many(const Bench *bench, uint64_t first, uint64_t n, sd_bus_message **ret) {
        return build_many(bench, "RunMany", first, n, ret);
}

static int check_run_many(const Bench *bench, sd_bus_message *reply, uint64_t first, uint64_t n) {
        int r;

        r = sd_bus_message_enter_container(reply, 'a', "(tsay)");
        if (r < 0)
                return r;
        for (uint64_t i = 0; i < n; i++) {
                const void *output;
                const char *result;
                uint64_t id;
                size_t size;

                r = sd_bus_message_enter_container(reply, 'r', "tsay");
                if (r <= 0)
                        return r < 0 ? r : -EBADMSG;
                /* Field by field spares sd-bus the walk through a format for every result. */
                r = sd_bus_message_read_basic(reply, 't', &id);
                if (r < 0)
                        return r;
                r = sd_bus_message_read_basic(reply, 's', &result);
                if (r < 0)
                        return r;
                r = sd_bus_message_read_array(reply, 'y', &output, &size);
                if (r < 0)
                        return r;
                if (strcmp(result, "succeeded") != 0 || !payload_is(output, size, first + i))
                        return -EBADMSG;
                r = sd_bus_message_exit_container(reply);
                if (r < 0)
                        return r;
        }
        /* Leaving a container that has more in it is -EBUSY: more results than jobs. */
        return sd_bus_message_exit_container(reply);
}

static int build_run_packed(const Bench *bench, uint64_t first, uint64_t n, sd_bus_message **ret) {
        _cleanup_message_ sd_bus_message *m = NULL;
        Payload *payloads;
        uint32_t *lengths;
        void *space;
        int r;

        r = new_pool_call(bench, "RunPacked", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append_array_space(m, 'u', n * sizeof(uint32_t), &space);
        if (r < 0)
                return r;
        lengths = space;
        for (uint64_t i = 0; i < n; i++)
                lengths[i] = sizeof(Payload);
        r = sd_bus_message_append_array_space(m, 'y', n * sizeof(Payload), &space);
        if (r < 0)
                return r;
        payloads = space;
        for (uint64_t i = 0; i < n; i++) {
                const Payload payload = payload_of(first + i);

                /* An array of bytes is not aligned for anything larger. */
                memcpy(payloads + i, &payload, sizeof(payload));
        }
        r = append_options(bench, m, first, n);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

static int check_run_packed(const Bench *bench, sd_bus_message *reply, uint64_t first, uint64_t n) {
        size_t results_size, lengths_size, outputs_size;
        const void *results, *lengths, *outputs;
        uint64_t first_id;
        int r;

        r = sd_bus_message_read(reply, "t", &first_id);
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(reply, 'y', &results, &results_size);
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(reply, 'u', &lengths, &lengths_size);
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(reply, 'y', &outputs, &outputs_size);
        if (r < 0)
                return r;
        if (results_size != n || lengths_size != n * sizeof(uint32_t) ||
                outputs_size != n * sizeof(Payload))
                return -EBADMSG;
        for (uint64_t i = 0; i < n; i++) {
                const char *output = (const char *) outputs + i * sizeof(Payload);

                if (((const uint8_t *) results)[i] != 0 ||
                        !payload_is(output, ((const uint32_t *) lengths)[i], first + i))
                        return -EBADMSG;
        }
        return 0;
}

/* The jobs are those of bench-clock.c. */
static int check_run_clock(const Bench *bench, sd_bus_message *reply, uint64_t first, uint64_t n) {
        size_t results_size, lengths_size, outputs_size;
        const void *results, *lengths, *outputs;
        uint64_t first_id;
        int r;

        r = sd_bus_message_read(reply, "t", &first_id);
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(reply, 'y', &results, &results_size);
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(reply, 'u', &lengths, &lengths_size);
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(reply, 'y', &outputs, &outputs_size);
        if (r < 0)
                return r;
        if (results_size != n || lengths_size != n * sizeof(uint32_t) ||
                outputs_size != n * sizeof(uint64_t))
                return -EBADMSG;
        for (uint64_t i = 0; i < n; i++)
                if (((const uint8_t *) results)[i] != 0 ||
                        ((const uint32_t *) lengths)[i] != sizeof(uint64_t))
                        return -EBADMSG;
        memcpy(bench->starts + first, outputs, outputs_size);
        return 0;
}

static int build_one(const Bench *bench, const char *member, uint64_t first, sd_bus_message **ret) {
        const Payload payload = payload_of(first);
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = new_pool_call(bench, member, &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(m, 'y', &payload, sizeof(payload));
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "a{sv}", 0);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

static int build_run(const Bench *bench, uint64_t first, uint64_t n, sd_bus_message **ret) {
        return build_one(bench, "Run", first, ret);
}

static int check_run(const Bench *bench, sd_bus_message *reply, uint64_t first, uint64_t n) {
        const void *output;
        size_t size;
        int r;

        r = sd_bus_message_read_array(reply, 'y', &output, &size);
        if (r < 0)
                return r;
        return payload_is(output, size, first) ? 0 : -EBADMSG;
}

/* As a pool calls its service. */
static int build_process(const Bench *bench, uint64_t first, uint64_t n, sd_bus_message **ret) {
        const Payload payload = payload_of(first);
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(
                bench->bus, &m, ECHO_SERVICE, ECHO_PATH, WORKER_INTERFACE, "Process");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "t", first);
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(m, 'y', &payload, sizeof(payload));
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "a{sv}", 6, "Pool", "s", "jobs", "Attempt", "u", 1, "Tag", "s",
                "", "Owner", "u", 0, "Priority", "i", 0, "RunTimeoutUSec", "t",
                UINT64_C(1800000000));
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

static int build_empty(const Bench *bench, uint64_t first, uint64_t n, sd_bus_message **ret) {
        return sd_bus_message_new_method_call(
                bench->bus, ret, SERVICE, "/org/sluice1", "org.freedesktop.DBus.Peer", "Ping");
}

static int check_empty(const Bench *bench, sd_bus_message *reply, uint64_t first, uint64_t n) {
        return sd_bus_message_is_empty(reply) > 0 ? 0 : -EBADMSG;
}

static int build_try_acquire(const Bench *bench, uint64_t first, uint64_t n, sd_bus_message **ret) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(
                bench->bus, &m, SERVICE, bench->limiter_path, SERVICE ".Limiter", "TryAcquire");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "t", n);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

static int check_try_acquire(
        const Bench *bench, sd_bus_message *reply, uint64_t first, uint64_t n) {
        uint64_t wait;
        int granted, r;

        r = sd_bus_message_read(reply, "bt", &granted, &wait);
        if (r < 0)
                return r;
        return granted ? 0 : -EBADMSG;
}

static int build_submit_many(const Bench *bench, uint64_t first, uint64_t n, sd_bus_message **ret) {
        return build_many(bench, "SubmitMany", first, n, ret);
}

static int check_submit_many(
        const Bench *bench, sd_bus_message *reply, uint64_t first, uint64_t n) {
        uint32_t n_accepted;
        uint64_t first_id;
        int r;

        r = sd_bus_message_read(reply, "tu", &first_id, &n_accepted);
        if (r < 0)
                return r;
        return n_accepted == n ? 0 : -EBADMSG;
}

static int build_submit(const Bench *bench, uint64_t first, uint64_t n, sd_bus_message **ret) {
        return build_one(bench, "Submit", first, ret);
}

static int check_submit(const Bench *bench, sd_bus_message *reply, uint64_t first, uint64_t n) {
        const char *path;
        uint64_t id;
        int r;

        r = sd_bus_message_read(reply, "to", &id, &path);
        return r < 0 ? r : 0;
}

static const CallKind kind_run_many = {
        .name = "runmany",
        .unit = "jobs/s",
        .build = build_run_many,
        .check = check_run_many,
};

static const CallKind kind_run_packed = {
        .name = "runpacked",
        .unit = "jobs/s",
        .build = build_run_packed,
        .check = check_run_packed,
};

static const CallKind kind_run_clock = {
        .name = "paced",
        .unit = "jobs/s",
        .build = build_run_packed,
        .check = check_run_clock,
};

static const CallKind kind_try_acquire = {
        .name = "try-acquire-pipelined",
        .unit = "calls/s",
        .build = build_try_acquire,
        .check = check_try_acquire,
};

static const CallKind kind_run = {
        .name = "run-pipelined",
        .unit = "calls/s",
        .build = build_run,
        .check = check_run,
};

static const CallKind kind_process = {
        .name = "process",
        .unit = "calls/s",
        .build = build_process,
        .check = check_run,
};

static const CallKind kind_empty = {
        .name = "empty-pipelined",
        .unit = "calls/s",
        .build = build_empty,
        .check = check_empty,
};

static const CallKind kind_submit = {
        .name = "submit",
        .unit = "jobs/s",
        .build = build_submit,
        .check = check_submit,
};

static const CallKind kind_submit_many = {
        .name = "submit-many",
        .unit = "jobs/s",
        .build = build_submit_many,
        .check = check_submit_many,
};

/* Many calls at once. */

static int flood_on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error);

static int flood_send(Flood *flood, Call *call) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        call->first = flood->n_sent;
        call->n = MIN(flood->block, flood->n_jobs - flood->n_sent);
        call->sent_at = nsec_now();
        flood->n_sent += call->n;
        r = flood->kind->build(flood->bench, call->first, call->n, &m);
        if (r < 0)
                return r;
        return sd_bus_call_async(flood->bench->bus, NULL, m, flood_on_reply, call, UINT64_MAX);
}

static int flood_advance(Flood *flood, Call *call, sd_bus_message *reply) {
        int r;

        r = reply_result(reply);
        if (r < 0)
                return r;
        r = flood->kind->check(flood->bench, reply, call->first, call->n);
        if (r < 0)
                return r;
        flood->latencies[flood->n_latencies++] = nsec_now() - call->sent_at;
        flood->n_done += call->n;
        return flood->n_sent < flood->n_jobs ? flood_send(flood, call) : 0;
}

static int flood_on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Call *call = userdata;
        Flood *flood = call->flood;
        int r;

        r = flood_advance(flood, call, reply);
        if (r < 0)
                flood->error = r;
        return 0;
}

static int compare_uint64(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

static uint64_t percentile(const uint64_t *sorted, uint64_t n, uint64_t percent) {
        return sorted[(n - 1) * percent / 100];
}

/* Sends calls of `block` jobs each until `n_jobs` are answered, `n_in_flight` at a time. Returns 0,
 * the time that it took and the 99th percentile of the calls' times, or a negative errno; the
 * connection is of no use after that. */
static int flood_run(const Bench *bench, const CallKind *kind, uint64_t n_jobs, uint64_t block,
        uint64_t n_in_flight, uint64_t *ret_nsec, uint64_t *ret_p99) {
        Flood flood = { .bench = bench, .kind = kind, .n_jobs = n_jobs, .block = block };
        _cleanup_free_ uint64_t *latencies = NULL;
        _cleanup_free_ Call *calls = NULL;
        uint64_t begin;
        int r;

        calls = calloc(n_in_flight, sizeof(*calls));
        latencies = calloc((n_jobs + block - 1) / block, sizeof(*latencies));
        if (!calls || !latencies)
                return -ENOMEM;
        flood.latencies = latencies;
        begin = nsec_now();
        for (uint64_t i = 0; i < n_in_flight && flood.n_sent < n_jobs; i++) {
                calls[i].flood = &flood;
                r = flood_send(&flood, &calls[i]);
                if (r < 0)
                        return r;
        }
        while (flood.n_done < n_jobs) {
                r = sd_bus_process(bench->bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bench->bus, UINT64_MAX);
                if (r < 0)
                        return r;
                if (flood.error < 0)
                        return flood.error;
        }
        *ret_nsec = nsec_now() - begin;
        qsort(latencies, flood.n_latencies, sizeof(*latencies), compare_uint64);
        *ret_p99 = percentile(latencies, flood.n_latencies, 99);
        return 0;
}

static int flood_measure(const Bench *bench, const CallKind *kind, uint64_t n_jobs, uint64_t block,
        uint64_t n_in_flight) {
        uint64_t n_warm = MAX(n_jobs / 10, UINT64_C(1)), nsec, p99;
        char name[64];
        int r;

        r = flood_run(bench, kind, n_warm, block, n_in_flight, &nsec, &p99);
        if (r < 0)
                return r;
        r = flood_run(bench, kind, n_jobs, block, n_in_flight, &nsec, &p99);
        if (r < 0)
                return r;
        print_figure(kind->name, (double) n_jobs * 1e9 / (double) nsec, kind->unit);
        (void) snprintf(name, sizeof(name), "%s-p99", kind->name);
        print_figure(name, (double) p99 / 1e3, "us");
        return 0;
}

/* One call at a time. */

static int single_round_trip(
        const Bench *bench, const CallKind *kind, uint64_t number, uint64_t *ret_nsec) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        uint64_t begin = nsec_now();
        int r;

        r = kind->build(bench, number, 1, &m);
        if (r < 0)
                return r;
        r = call_and_wait(bench->bus, m, &reply);
        if (r < 0)
                return r;
        r = kind->check(bench, reply, number, 1);
        if (r < 0)
                return r;
        *ret_nsec = nsec_now() - begin;
        return 0;
}

static int single_turns(const Bench *bench, const CallKind *kind, uint64_t n, uint64_t *kind_nsec,
        uint64_t *empty_nsec) {
        int r;

        for (uint64_t turn = 0; turn < n; turn += SINGLE_TURN) {
                const uint64_t end = MIN(turn + SINGLE_TURN, n);

                for (uint64_t i = turn; i < end; i++) {
                        r = single_round_trip(bench, kind, i, kind_nsec + i);
                        if (r < 0)
                                return r;
                }
                for (uint64_t i = turn; i < end; i++) {
                        r = single_round_trip(bench, &kind_empty, i, empty_nsec + i);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static void print_percentiles(const char *name, uint64_t *nsec, uint64_t n) {
        char line[64];

        qsort(nsec, n, sizeof(*nsec), compare_uint64);
        for (size_t i = 0; i < 2; i++) {
                const uint64_t percent = i == 0 ? 50 : 99;

                (void) snprintf(line, sizeof(line), "%s-p%" PRIu64, name, percent);
                print_figure(line, (double) percentile(nsec, n, percent) / 1e3, "us");
        }
}

static int single_measure(const Bench *bench, const CallKind *kind, const char *name, uint64_t n) {
        _cleanup_free_ uint64_t *kind_nsec = NULL, *empty_nsec = NULL;
        int r;

        kind_nsec = calloc(n, sizeof(*kind_nsec));
        empty_nsec = calloc(n, sizeof(*empty_nsec));
        if (!kind_nsec || !empty_nsec)
                return -ENOMEM;
        r = single_turns(bench, kind, MAX(n / 10, UINT64_C(1)), kind_nsec, empty_nsec);
        if (r < 0)
                return r;
        r = single_turns(bench, kind, n, kind_nsec, empty_nsec);
        if (r < 0)
                return r;
        print_percentiles(name, kind_nsec, n);
        print_percentiles("empty-single", empty_nsec, n);
        return 0;
}

/* The verbs. */

static int verb_run_many(const Bench *bench, const uint64_t *args) {
        return flood_measure(bench, &kind_run_many, args[0], args[1], args[2]);
}

static int verb_run_packed(const Bench *bench, const uint64_t *args) {
        return flood_measure(bench, &kind_run_packed, args[0], args[1], args[2]);
}

static int verb_run_many_flat(const Bench *bench, const uint64_t *args) {
        Bench flat = *bench;

        flat.n_priorities = 1;
        return verb_run_many(&flat, args);
}

static int verb_run_packed_flat(const Bench *bench, const uint64_t *args) {
        Bench flat = *bench;

        flat.n_priorities = 1;
        return verb_run_packed(&flat, args);
}

/* Both kinds on the one connection, one after the other. */
static int pipelined_measure(
        const Bench *bench, const CallKind *kind, uint64_t n, uint64_t n_in_flight) {
        int r;

        r = flood_measure(bench, kind, n, 1, n_in_flight);
        if (r < 0)
                return r;
        return flood_measure(bench, &kind_empty, n, 1, n_in_flight);
}

static int verb_empty(const Bench *bench, const uint64_t *args) {
        return flood_measure(bench, &kind_empty, args[0], 1, args[1]);
}

static int verb_pipelined(const Bench *bench, const uint64_t *args) {
        return pipelined_measure(bench, &kind_run, args[0], args[1]);
}

/* The bus is that of the service, and no pool is asked. */
static int verb_process(const Bench *bench, const uint64_t *args) {
        return flood_measure(bench, &kind_process, args[0], 1, args[1]);
}

static int verb_single(const Bench *bench, const uint64_t *args) {
        return single_measure(bench, &kind_run, "run-single", args[0]);
}

static int verb_try_acquire(const Bench *bench, const uint64_t *args) {
        return pipelined_measure(bench, &kind_try_acquire, args[0], args[1]);
}

static int verb_try_acquire_single(const Bench *bench, const uint64_t *args) {
        return single_measure(bench, &kind_try_acquire, "try-acquire-single", args[0]);
}

/* What the times at which jobs began tell of the limiter that let them in. The bucket was full when
 * the first call was sent, and no token was taken before: by the time of each start, no more jobs
 * than burst + rate x time since the call may have begun. That holds however late a job begins
 * after it got its token.
 *
 * For a window that begins later it does not: jobs that got their tokens before it, and were late,
 * begin in it together with those that are in time. So for the fullest window it is only told how
 * late they must have been for the limiter to be right. (That it is, to the token, is what
 * bench-limiter shows.)
 *
 * All sums are in units of a token x ns per s, which makes them integers, below 2^62 for an hour at
 * 10^6 per second. */
static void print_pace(
        const uint64_t *starts, uint64_t n, uint64_t called_at, uint64_t rate, uint64_t burst) {
        const int64_t second = INT64_C(1000000000);
        int64_t least = INT64_MAX, most = INT64_MIN, over = INT64_MIN;

        for (uint64_t i = 0; i < n; i++) {
                int64_t level = (int64_t) i * second - (int64_t) (rate * (starts[i] - called_at));

                over = MAX(over, level + second);
                least = MIN(least, level);
                most = MAX(most, level + second - least);
        }
        over -= (int64_t) burst * second;
        most -= (int64_t) burst * second;
        print_figure("paced-rate",
                (double) (n - burst) * 1e9 / (double) (starts[n - 1] - starts[0]), "jobs/s");
        print_figure("paced-over", (double) over / 1e9, "jobs");
        print_figure("paced-late", most > 0 ? (double) most / (double) rate / 1e3 : 0, "us");
}

/* Runs jobs of bench-clock.c in a pool that is new, and whose limiter has this rate per second and
 * this burst. No warm-up, which would take tokens. */
static int verb_paced(const Bench *bench, const uint64_t *args) {
        const uint64_t n = args[0], rate = args[3], burst = args[4];
        _cleanup_free_ uint64_t *starts = NULL;
        uint64_t called_at, nsec, p99;
        Bench paced = *bench;
        int r;

        if (n <= burst)
                return -EINVAL;
        starts = calloc(n, sizeof(*starts));
        if (!starts)
                return -ENOMEM;
        paced.n_priorities = 1;
        paced.starts = starts;
        /* The daemon's clock has microseconds. */
        called_at = nsec_now() / 1000 * 1000;
        r = flood_run(&paced, &kind_run_clock, n, args[1], args[2], &nsec, &p99);
        if (r < 0)
                return r;
        qsort(starts, n, sizeof(*starts), compare_uint64);
        print_pace(starts, n, called_at, rate, burst);
        return 0;
}

/* Fills the pool, paused, so that all of it waits. No warm-up: what the first job costs belongs to
 * the memory that is measured from outside. */
static int submit_measure(
        const Bench *bench, const CallKind *kind, uint64_t n, uint64_t block, uint64_t in_flight) {
        _cleanup_message_ sd_bus_message *pause = NULL, *reply = NULL;
        uint64_t nsec, p99;
        int r;

        r = new_pool_call(bench, "Pause", &pause);
        if (r < 0)
                return r;
        r = call_and_wait(bench->bus, pause, &reply);
        if (r < 0)
                return r;
        r = flood_run(bench, kind, n, block, in_flight, &nsec, &p99);
        if (r < 0)
                return r;
        print_figure(kind->name, (double) n * 1e9 / (double) nsec, kind->unit);
        return 0;
}

static int verb_submit_many(const Bench *bench, const uint64_t *args) {
        return submit_measure(bench, &kind_submit_many, args[0], args[1], 2);
}

static int verb_submit(const Bench *bench, const uint64_t *args) {
        return submit_measure(bench, &kind_submit, args[0], 1, args[1]);
}

static int get_counter(const Bench *bench, const char *name, uint64_t *ret) {
        _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;

        return sd_bus_get_property_trivial(
                bench->bus, SERVICE, bench->pool_path, SERVICE ".Pool", name, &error, 't', ret);
}

static int submit_empty_payloads(const Bench *bench, uint64_t n, uint64_t *ret_last_id) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        uint32_t n_accepted;
        uint64_t first_id;
        int r;

        r = new_pool_call(bench, "SubmitMany", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(m, 'a', "ay");
        if (r < 0)
                return r;
        for (uint64_t i = 0; i < n; i++) {
                r = sd_bus_message_append_array(m, 'y', NULL, 0);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(m);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "a{sv}", 0);
        if (r < 0)
                return r;
        r = call_and_wait(bench->bus, m, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "tu", &first_id, &n_accepted);
        if (r < 0)
                return r;
        if (n_accepted != n)
                return -EBADMSG;
        *ret_last_id = first_id + n - 1;
        return 0;
}

static int wait_job(const Bench *bench, uint64_t id) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        int r;

        r = sd_bus_message_new_method_call(
                bench->bus, &m, SERVICE, "/org/sluice1", SERVICE ".Manager", "WaitJob");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "tt", id, UINT64_MAX);
        if (r < 0)
                return r;
        return call_and_wait(bench->bus, m, &reply);
}

/* Runs `n` jobs without payloads in a pool of commands. Jobs start in the order of their ids, so
 * when the last one has finished no more than one per worker is still running; the counter tells
 * when those are done as well. */
static int run_empty_payloads(const Bench *bench, uint64_t n, uint64_t *ret_nsec) {
        uint64_t begin, before, succeeded, failed_before, failed, last_id;
        int r;

        r = get_counter(bench, "Succeeded", &before);
        if (r < 0)
                return r;
        r = get_counter(bench, "Failed", &failed_before);
        if (r < 0)
                return r;
        begin = nsec_now();
        r = submit_empty_payloads(bench, n, &last_id);
        if (r < 0)
                return r;
        r = wait_job(bench, last_id);
        if (r < 0)
                return r;
        do {
                r = get_counter(bench, "Succeeded", &succeeded);
                if (r < 0)
                        return r;
                r = get_counter(bench, "Failed", &failed);
                if (r < 0)
                        return r;
                if (failed != failed_before)
                        return -EREMOTEIO;
        } while (succeeded - before < n);
        *ret_nsec = nsec_now() - begin;
        return 0;
}

static int verb_true(const Bench *bench, const uint64_t *args) {
        uint64_t nsec;
        int r;

        r = run_empty_payloads(bench, MAX(args[0] / 10, UINT64_C(1)), &nsec);
        if (r < 0)
                return r;
        r = run_empty_payloads(bench, args[0], &nsec);
        if (r < 0)
                return r;
        print_figure("true", (double) args[0] * 1e9 / (double) nsec, "jobs/s");
        return 0;
}

/* The command line. */

#define ARGS_MAX 5

/* Writes one reply of RunMany as the daemon would, on this side of the connection. */
static int build_results(const Bench *bench, uint64_t n, sd_bus_message **ret) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = new_pool_call(bench, "RunMany", &m);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(tsay)");
        for (uint64_t i = 0; r >= 0 && i < n; i++) {
                Payload payload = {};

                r = sd_bus_message_open_container(m, 'r', "tsay");
                if (r >= 0)
                        r = sd_bus_message_append(m, "ts", i, "succeeded");
                if (r >= 0)
                        r = sd_bus_message_append_array(m, 'y', &payload, sizeof(payload));
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_seal(m, 1, 0);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

static int read_results(sd_bus_message *m) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(tsay)");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'r', "tsay")) > 0) {
                const char *result;
                const void *output;
                uint64_t id;
                size_t size;

                r = sd_bus_message_read_basic(m, 't', &id);
                if (r >= 0)
                        r = sd_bus_message_read_basic(m, 's', &result);
                if (r >= 0)
                        r = sd_bus_message_read_array(m, 'y', &output, &size);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r;
}

static int read_payloads(sd_bus_message *m) {
        const void *payload;
        size_t size;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "ay");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read_array(m, 'y', &payload, &size)) > 0)
                ;
        return r;
}

/* What the messages of RunMany cost without any transport or work: the client writes payloads and
 * reads results, the daemon the other way round. */
static int verb_wire(const Bench *bench, const uint64_t *args) {
        _cleanup_message_ sd_bus_message *call = NULL, *reply = NULL;
        uint64_t n = args[0], t[5];
        int r;

        t[0] = nsec_now();
        r = new_pool_call(bench, "RunMany", &call);
        if (r >= 0)
                r = append_payloads(call, 0, n);
        if (r >= 0)
                r = sd_bus_message_seal(call, 1, 0);
        t[1] = nsec_now();
        if (r >= 0)
                r = read_payloads(call);
        t[2] = nsec_now();
        if (r >= 0)
                r = build_results(bench, n, &reply);
        t[3] = nsec_now();
        if (r >= 0)
                r = read_results(reply);
        t[4] = nsec_now();
        if (r < 0)
                return r;
        print_figure("wire-client", (double) (t[1] - t[0] + t[4] - t[3]) / (double) n, "ns/job");
        print_figure("wire-daemon", (double) (t[3] - t[1]) / (double) n, "ns/job");
        return 0;
}

static const struct Verb {
        const char *name;
        const char *usage;
        int n_args;
        int (*run)(const Bench *bench, const uint64_t *args);
} verbs[] = {
        { "runmany", "N BLOCK INFLIGHT", 3, verb_run_many },
        { "runpacked", "N BLOCK INFLIGHT", 3, verb_run_packed },
        { "runmany-flat", "N BLOCK INFLIGHT", 3, verb_run_many_flat },
        { "runpacked-flat", "N BLOCK INFLIGHT", 3, verb_run_packed_flat },
        { "paced", "N BLOCK INFLIGHT RATE BURST", 5, verb_paced },
        { "try-acquire", "N INFLIGHT", 2, verb_try_acquire },
        { "try-acquire-single", "N", 1, verb_try_acquire_single },
        { "empty", "N INFLIGHT", 2, verb_empty },
        { "pipelined", "N INFLIGHT", 2, verb_pipelined },
        { "process", "N INFLIGHT", 2, verb_process },
        { "single", "N", 1, verb_single },
        { "submit", "N INFLIGHT", 2, verb_submit },
        { "submit-many", "N BLOCK", 2, verb_submit_many },
        { "true", "N", 1, verb_true },
        { "wire", "N", 1, verb_wire },
};

static int usage(void) {
        fputs("usage: bench-client ADDRESS POOL VERB ARGUMENT…\n", stderr);
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                fprintf(stderr, "  %-18s %s\n", verbs[i].name, verbs[i].usage);
        return 2;
}

static const struct Verb *find_verb(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (strcmp(verbs[i].name, name) == 0)
                        return &verbs[i];
        return NULL;
}

static int run(
        const char *address, const char *name, const struct Verb *verb, const uint64_t *args) {
        _cleanup_free_ char *pool_path = NULL, *limiter_path = NULL;
        _cleanup_(sd_bus_closep) sd_bus *bus = NULL;
        static const char pipeline_prefix[] = "pipeline/";
        bool is_pipeline = strncmp(name, pipeline_prefix, strlen(pipeline_prefix)) == 0;
        int r;

        r = connect_to(address, &bus);
        if (r < 0)
                return r;
        if (is_pipeline)
                name += strlen(pipeline_prefix);
        r = sd_bus_path_encode(
                is_pipeline ? "/org/sluice1/pipeline" : "/org/sluice1/pool", name, &pool_path);
        if (r < 0)
                return r;
        r = sd_bus_path_encode("/org/sluice1/limiter", name, &limiter_path);
        if (r < 0)
                return r;
        return verb->run(
                &(Bench){
                        .bus = bus,
                        .pool_path = pool_path,
                        .interface = is_pipeline ? SERVICE ".Pipeline" : SERVICE ".Pool",
                        .limiter_path = limiter_path,
                        .n_priorities = N_PRIORITIES,
                },
                args);
}

int main(int argc, char *argv[]) {
        const struct Verb *verb;
        uint64_t args[ARGS_MAX];
        int r;

        verb = argc >= 4 ? find_verb(argv[3]) : NULL;
        if (!verb || argc != 4 + verb->n_args)
                return usage();
        for (int i = 0; i < verb->n_args; i++) {
                r = parse_count(argv[4 + i], args + i);
                if (r < 0)
                        return usage();
        }
        r = run(argv[1], argv[2], verb, args);
        if (r < 0) {
                fprintf(stderr, "bench-client: %s: %s\n", verb->name, strerror(-r));
                return EXIT_FAILURE;
        }
        return EXIT_SUCCESS;
}
