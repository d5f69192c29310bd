/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Consumers of one queue, of leases or of beanstalkd, each a thread with a connection of its own.
 * The queue is filled first. Then the consumers take what is there and report each job as done,
 * until there is nothing left, and the time of that is the figure.
 *
 * Each consumer has some rounds under way at a time. A round gets a block of jobs and then reports
 * each of them, all at once, in calls of their own; it begins anew when all are confirmed. On the
 * side of leases a block is one call, on that of beanstalkd as many commands, which are written
 * together. With CompleteMany() all reports of a round are one call as well. Each job has to
 * come to exactly one consumer, with the payload that it was given. */

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "bench.h"

#define CONSUMERS_MAX 64
#define BLOCK_MAX 1000
#define FILL_BLOCK UINT64_C(1000)

typedef struct Beanstalk Beanstalk;
typedef struct Bench Bench;
typedef struct Consumer Consumer;
typedef struct Kind Kind;
typedef struct Leased Leased;
typedef struct Round Round;

struct Bench {
        const char *address, *queue;
        char *pool_path;
        const Kind *kind;
        uint64_t n_jobs, n_consumers, block, n_rounds;
        atomic_uchar *seen; /* per job: whether somebody has had it */
        pthread_barrier_t begin;
};

/* One of the sides. */
struct Kind {
        const char *name;
        int (*fill)(const Bench *bench);
        int (*consume)(Consumer *consumer);

        /* What comes of a reply to Lease(): the reports of its jobs are sent. */
        int (*take_jobs)(Round *round, sd_bus_message *reply);
};

struct Consumer {
        Bench *bench;
        pthread_t thread;
        uint64_t n_done, begun_at, ended_at; /* ns */
        int result;
        bool dry; /* there was nothing left */

        /* Leases. */
        sd_bus *bus;
        uint64_t n_rounds;
};

struct Round {
        Consumer *consumer;
        uint64_t n_unconfirmed;
};

struct Leased {
        uint64_t id, token;
};

/* The job was had, by us. */
static int take_note(Bench *bench, const void *data, size_t size) {
        Payload payload;

        if (size != sizeof(payload))
                return -EBADMSG;
        memcpy(&payload, data, sizeof(payload));
        if (payload.number >= bench->n_jobs || !payload_is(data, size, payload.number))
                return -EBADMSG;
        if (atomic_exchange_explicit(bench->seen + payload.number, 1, memory_order_relaxed) != 0)
                return -EEXIST;
        return 0;
}

/* ---- leases ---- */

static int new_pool_call(
        const Bench *bench, sd_bus *bus, const char *member, sd_bus_message **ret) {
        return sd_bus_message_new_method_call(
                bus, ret, SERVICE, bench->pool_path, SERVICE ".Pool", member);
}

static int lease_fill(const Bench *bench) {
        _cleanup_(sd_bus_closep) sd_bus *bus = NULL;
        int r;

        r = connect_to(bench->address, &bus);
        for (uint64_t i = 0; r >= 0 && i < bench->n_jobs; i += FILL_BLOCK) {
                _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;

                r = new_pool_call(bench, bus, "SubmitMany", &m);
                if (r >= 0)
                        r = append_payloads(m, i, MIN(bench->n_jobs - i, FILL_BLOCK));
                if (r >= 0)
                        r = sd_bus_message_append(m, "a{sv}", 0);
                if (r >= 0)
                        r = call_and_wait(bus, m, &reply);
        }
        return r;
}

static int lease_on_jobs(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Round *round = userdata;

        round->consumer->result = round->consumer->bench->kind->take_jobs(round, reply);
        return 0;
}

static int lease_begin_round(Round *round) {
        const Bench *bench = round->consumer->bench;
        _cleanup_message_ sd_bus_message *m = NULL;
        sd_bus *bus = round->consumer->bus;
        int r;

        r = new_pool_call(bench, bus, "Lease", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ut", (uint32_t) bench->block, /* timeout= */ UINT64_C(0));
        if (r < 0)
                return r;
        return sd_bus_call_async(bus, NULL, m, lease_on_jobs, round, UINT64_MAX);
}

static int lease_end_job(Round *round, sd_bus_message *reply) {
        Consumer *consumer = round->consumer;
        int r;

        r = reply_result(reply);
        if (r < 0)
                return r;
        consumer->n_done++;
        if (--round->n_unconfirmed > 0)
                return 0;
        if (!consumer->dry)
                return lease_begin_round(round);
        consumer->n_rounds--;
        return 0;
}

static int lease_on_done(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Round *round = userdata;

        round->consumer->result = lease_end_job(round, reply);
        return 0;
}

static int lease_complete(Round *round, uint64_t id, uint64_t token) {
        _cleanup_message_ sd_bus_message *m = NULL;
        sd_bus *bus = round->consumer->bus;
        int r;

        r = new_pool_call(round->consumer->bench, bus, "Complete", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ttb", id, token, true);
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(m, 'y', NULL, 0);
        if (r < 0)
                return r;
        return sd_bus_call_async(bus, NULL, m, lease_on_done, round, UINT64_MAX);
}

/* Reads a job and checks it: 1, or 0 after the last. */
static int lease_read(Consumer *consumer, sd_bus_message *reply, Leased *ret) {
        const void *data;
        uint32_t attempt;
        size_t size;
        int r;

        r = sd_bus_message_enter_container(reply, 'r', "ttayu");
        if (r <= 0)
                return r;
        r = sd_bus_message_read(reply, "tt", &ret->id, &ret->token);
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(reply, 'y', &data, &size);
        if (r < 0)
                return r;
        r = take_note(consumer->bench, data, size);
        if (r < 0)
                return r;
        r = sd_bus_message_read_basic(reply, 'u', &attempt);
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(reply);
        return r < 0 ? r : 1;
}

static int lease_take_jobs(Round *round, sd_bus_message *reply) {
        Consumer *consumer = round->consumer;
        Leased leased;
        int r;

        r = reply_result(reply);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "(ttayu)");
        if (r < 0)
                return r;
        while ((r = lease_read(consumer, reply, &leased)) > 0) {
                r = lease_complete(round, leased.id, leased.token);
                if (r < 0)
                        return r;
                round->n_unconfirmed++;
        }
        if (r >= 0 && round->n_unconfirmed == 0) {
                consumer->dry = true;
                consumer->n_rounds--;
        }
        return r;
}

/* All rounds of a consumer, from the moment at which all consumers are ready. */
static int lease_consume(Consumer *consumer) {
        const Bench *bench = consumer->bench;
        _cleanup_(sd_bus_closep) sd_bus *bus = NULL;
        _cleanup_free_ Round *rounds = NULL;
        int r;

        rounds = calloc(bench->n_rounds, sizeof(*rounds));
        r = rounds ? connect_to(bench->address, &bus) : -ENOMEM;
        (void) pthread_barrier_wait(&consumer->bench->begin);
        consumer->begun_at = nsec_now();
        consumer->bus = bus;
        for (; r >= 0 && consumer->n_rounds < bench->n_rounds; consumer->n_rounds++) {
                rounds[consumer->n_rounds].consumer = consumer;
                r = lease_begin_round(&rounds[consumer->n_rounds]);
        }
        while (r >= 0 && consumer->n_rounds > 0) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
                if (consumer->result < 0)
                        r = consumer->result;
        }
        return r;
}

/* ---- the same, with one call for all reports of a round ---- */

static int many_append(sd_bus_message *m, const Leased *leased) {
        int r;

        r = sd_bus_message_open_container(m, 'r', "ttbay");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ttb", leased->id, leased->token, true);
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(m, 'y', NULL, 0);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(m);
}

static int many_end_round(Round *round, sd_bus_message *reply) {
        const void *stale;
        size_t size;
        int r;

        r = reply_result(reply);
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(reply, 't', &stale, &size);
        if (r < 0)
                return r;
        if (size > 0)
                return -ESTALE;
        round->consumer->n_done += round->n_unconfirmed;
        round->n_unconfirmed = 0;
        return lease_begin_round(round);
}

static int many_on_done(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Round *round = userdata;

        round->consumer->result = many_end_round(round, reply);
        return 0;
}

static int many_take_jobs(Round *round, sd_bus_message *reply) {
        Consumer *consumer = round->consumer;
        _cleanup_message_ sd_bus_message *m = NULL;
        Leased leased;
        int r;

        r = reply_result(reply);
        if (r < 0)
                return r;
        r = new_pool_call(consumer->bench, consumer->bus, "CompleteMany", &m);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(m, 'a', "(ttbay)");
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(reply, 'a', "(ttayu)");
        if (r < 0)
                return r;
        while ((r = lease_read(consumer, reply, &leased)) > 0) {
                r = many_append(m, &leased);
                if (r < 0)
                        return r;
                round->n_unconfirmed++;
        }
        if (r < 0)
                return r;
        if (round->n_unconfirmed == 0) {
                consumer->n_rounds--;
                return 0;
        }
        r = sd_bus_message_close_container(m);
        if (r < 0)
                return r;
        return sd_bus_call_async(consumer->bus, NULL, m, many_on_done, round, UINT64_MAX);
}

/* ---- beanstalkd ---- */

#define RESERVE "reserve-with-timeout 0\r\n"
#define PUT "put 0 0 120 16\r\n" /* priority, delay, time to run, size */

/* The longest of the commands that are written. */
#define COMMAND_MAX 64

typedef enum AnswerKind {
        ANSWER_INSERTED,
        ANSWER_RESERVED,
        ANSWER_TIMED_OUT,
        ANSWER_DELETED,
        _ANSWER_KIND_MAX,
        _ANSWER_KIND_INVALID = -EINVAL,
} AnswerKind;

typedef struct Answer {
        AnswerKind kind;
        uint64_t id;
        const char *data;
        size_t size;
} Answer;

/* Jobs to put come in blocks of FILL_BLOCK, and a consumer has no more than BLOCK_MAX commands
 * under way: so there is room for all that is written at a time. */
struct Beanstalk {
        int fd;
        size_t n_out, in_at, in_end; /* what is in [in_at, in_end) was not looked at */
        char out[FILL_BLOCK * COMMAND_MAX];
        char in[65536];
};

_Static_assert(FILL_BLOCK >= BLOCK_MAX, "room for all commands of a consumer");

static Beanstalk *beanstalk_free(Beanstalk *b) {
        if (b && b->fd >= 0)
                close(b->fd);
        free(b);
        return NULL;
}

static void beanstalk_freep(Beanstalk **b) {
        *b = beanstalk_free(*b);
}

static int beanstalk_connect(const char *path, Beanstalk **ret) {
        _cleanup_(beanstalk_freep) Beanstalk *b = calloc(1, sizeof(*b));
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        if (!b)
                return -ENOMEM;
        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        strcpy(address.sun_path, path);
        b->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (b->fd < 0 || connect(b->fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        *ret = TAKE_PTR(b);
        return 0;
}

static void beanstalk_add(Beanstalk *b, const void *data, size_t size) {
        memcpy(b->out + b->n_out, data, size);
        b->n_out += size;
}

static void beanstalk_add_reserves(Beanstalk *b, uint64_t n) {
        for (; n > 0; n--)
                beanstalk_add(b, RESERVE, strlen(RESERVE));
}

static int beanstalk_flush(Beanstalk *b) {
        for (size_t at = 0; at < b->n_out;) {
                ssize_t n = write(b->fd, b->out + at, b->n_out - at);

                if (n < 0)
                        return -errno;
                at += (size_t) n;
        }
        b->n_out = 0;
        return 0;
}

/* More of what the server has to say. */
static int beanstalk_read(Beanstalk *b) {
        ssize_t n;

        memmove(b->in, b->in + b->in_at, b->in_end - b->in_at);
        b->in_end -= b->in_at;
        b->in_at = 0;
        n = read(b->fd, b->in + b->in_end, sizeof(b->in) - b->in_end);
        if (n <= 0)
                return n < 0 ? -errno : -ECONNRESET;
        b->in_end += (size_t) n;
        return 0;
}

static AnswerKind answer_kind(const char *line, size_t *ret_length) {
        static const char *const words[_ANSWER_KIND_MAX] = {
                [ANSWER_INSERTED] = "INSERTED ",
                [ANSWER_RESERVED] = "RESERVED ",
                [ANSWER_TIMED_OUT] = "TIMED_OUT\r",
                [ANSWER_DELETED] = "DELETED\r",
        };

        for (AnswerKind kind = 0; kind < _ANSWER_KIND_MAX; kind++) {
                *ret_length = strlen(words[kind]);
                if (strncmp(line, words[kind], *ret_length) == 0)
                        return kind;
        }
        return _ANSWER_KIND_INVALID;
}

/* The next answer: 1, or 0 if it has not come whole. */
static int beanstalk_next(Beanstalk *b, Answer *ret) {
        char *line = b->in + b->in_at, *end = memchr(line, '\n', b->in_end - b->in_at), *p;
        Answer answer = {};
        size_t length;

        if (!end)
                return 0;
        answer.kind = answer_kind(line, &length);
        if (answer.kind < 0) {
                fprintf(stderr, "beanstalkd: %.*s\n", (int) (end - line), line);
                return -EREMOTEIO;
        }
        if (answer.kind == ANSWER_RESERVED) {
                answer.id = strtoull(line + length, &p, 10);
                answer.size = strtoull(p, NULL, 10);
                answer.data = end + 1;
                if ((size_t) (b->in + b->in_end - answer.data) < answer.size + strlen("\r\n"))
                        return 0;
                end += answer.size + strlen("\r\n");
        }
        b->in_at = (size_t) (end + 1 - b->in);
        *ret = answer;
        return 1;
}

/* The next answer, however long it takes. */
static int beanstalk_wait(Beanstalk *b, Answer *ret) {
        int r;

        while ((r = beanstalk_next(b, ret)) == 0) {
                r = beanstalk_flush(b);
                if (r >= 0)
                        r = beanstalk_read(b);
                if (r < 0)
                        return r;
        }
        return r;
}

static int beanstalk_fill(const Bench *bench) {
        _cleanup_(beanstalk_freep) Beanstalk *b = NULL;
        int r;

        r = beanstalk_connect(bench->address, &b);
        for (uint64_t i = 0; r >= 0 && i < bench->n_jobs; i += FILL_BLOCK) {
                const uint64_t end = MIN(i + FILL_BLOCK, bench->n_jobs);

                for (uint64_t number = i; number < end; number++) {
                        const Payload payload = payload_of(number);

                        beanstalk_add(b, PUT, strlen(PUT));
                        beanstalk_add(b, &payload, sizeof(payload));
                        beanstalk_add(b, "\r\n", strlen("\r\n"));
                }
                for (uint64_t number = i; r >= 0 && number < end; number++) {
                        Answer answer;

                        r = beanstalk_wait(b, &answer);
                        if (r >= 0 && answer.kind != ANSWER_INSERTED)
                                r = -EBADMSG;
                }
        }
        return r;
}

/* Answers come in the order of the commands, so rounds need not be told apart: a block of jobs is
 * complete when so many reserves were answered, and confirmed when so many deletes were. */
static int beanstalk_rounds(Consumer *consumer, Beanstalk *b) {
        const uint64_t block = consumer->bench->block;
        uint64_t n_reserves = block * consumer->bench->n_rounds, n_deletes = 0;
        uint64_t ids[BLOCK_MAX], n_ids = 0, n_answered = 0, n_confirmed = 0;
        int r;

        beanstalk_add_reserves(b, n_reserves);
        while (n_reserves + n_deletes > 0) {
                Answer answer;

                r = beanstalk_wait(b, &answer);
                if (r < 0)
                        return r;
                if (answer.kind == ANSWER_DELETED) {
                        n_deletes--;
                        consumer->n_done++;
                        if (++n_confirmed % block == 0 && !consumer->dry) {
                                beanstalk_add_reserves(b, block);
                                n_reserves += block;
                        }
                        continue;
                }
                n_reserves--;
                if (answer.kind == ANSWER_RESERVED) {
                        r = take_note(consumer->bench, answer.data, answer.size);
                        if (r < 0)
                                return r;
                        ids[n_ids++] = answer.id;
                } else
                        consumer->dry = true;
                if (++n_answered % block != 0)
                        continue;
                for (uint64_t i = 0; i < n_ids; i++)
                        b->n_out += (size_t) sprintf(
                                b->out + b->n_out, "delete %" PRIu64 "\r\n", ids[i]);
                n_deletes += n_ids;
                n_ids = 0;
        }
        return 0;
}

static int beanstalk_consume(Consumer *consumer) {
        _cleanup_(beanstalk_freep) Beanstalk *b = NULL;
        int r;

        r = beanstalk_connect(consumer->bench->address, &b);
        (void) pthread_barrier_wait(&consumer->bench->begin);
        consumer->begun_at = nsec_now();
        return r < 0 ? r : beanstalk_rounds(consumer, b);
}

/* ---- all ---- */

static void *consumer_main(void *userdata) {
        Consumer *consumer = userdata;

        consumer->result = consumer->bench->kind->consume(consumer);
        consumer->ended_at = nsec_now();
        return NULL;
}

static int join_all(Consumer *consumers, uint64_t n, uint64_t *ret_n_done, uint64_t *ret_nsec) {
        uint64_t begun_at = UINT64_MAX, ended_at = 0, n_done = 0;
        int r = 0;

        for (Consumer *c = consumers; c < consumers + n; c++) {
                (void) pthread_join(c->thread, NULL);
                if (c->result < 0)
                        r = c->result;
                n_done += c->n_done;
                begun_at = MIN(begun_at, c->begun_at);
                ended_at = MAX(ended_at, c->ended_at);
        }
        if (r < 0)
                return r;
        *ret_n_done = n_done;
        *ret_nsec = ended_at - begun_at;
        return 0;
}

/* Fills the queue and has it emptied. */
static int bench_run(Bench *bench, uint64_t n_jobs, uint64_t *ret_nsec) {
        Consumer consumers[CONSUMERS_MAX] = {};
        uint64_t n_done;
        int r;

        bench->n_jobs = n_jobs;
        memset(bench->seen, 0, n_jobs);
        r = bench->kind->fill(bench);
        if (r < 0)
                return r;
        r = -pthread_barrier_init(&bench->begin, NULL, (unsigned) bench->n_consumers);
        if (r < 0)
                return r;
        for (uint64_t i = 0; i < bench->n_consumers; i++) {
                consumers[i].bench = bench;
                /* Those that were started wait for all: there is no way back. */
                r = pthread_create(&consumers[i].thread, NULL, consumer_main, &consumers[i]);
                if (r != 0) {
                        fprintf(stderr, "bench-lease: no thread: %s\n", strerror(r));
                        exit(EXIT_FAILURE);
                }
        }
        r = join_all(consumers, bench->n_consumers, &n_done, ret_nsec);
        (void) pthread_barrier_destroy(&bench->begin);
        if (r < 0)
                return r;
        return n_done == n_jobs ? 0 : -EBADMSG;
}

static int bench_measure(Bench *bench, uint64_t n_jobs) {
        uint64_t nsec;
        int r;

        bench->seen = calloc(n_jobs, sizeof(*bench->seen));
        r = bench->seen ? sd_bus_path_encode("/org/sluice1/pool", bench->queue, &bench->pool_path)
                        : -ENOMEM;
        if (r >= 0)
                r = bench_run(bench, MAX(n_jobs / 10, UINT64_C(1)), &nsec);
        if (r >= 0)
                r = bench_run(bench, n_jobs, &nsec);
        if (r >= 0)
                print_figure(bench->kind->name, (double) n_jobs * 1e9 / (double) nsec, "jobs/s");
        free(bench->pool_path);
        free(bench->seen);
        return r;
}

static const Kind kinds[] = {
        { "leases", lease_fill, lease_consume, lease_take_jobs },
        { "complete-many", lease_fill, lease_consume, many_take_jobs },
        { "beanstalkd", beanstalk_fill, beanstalk_consume, NULL },
};

static int usage(void) {
        fputs("usage: bench-lease leases|complete-many ADDRESS POOL N CONSUMERS BLOCK ROUNDS\n"
              "       bench-lease beanstalkd SOCKET - N CONSUMERS BLOCK ROUNDS\n",
                stderr);
        return 2;
}

int main(int argc, char *argv[]) {
        uint64_t n_jobs;
        Bench bench = {};
        int r;

        if (argc != 8)
                return usage();
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (strcmp(kinds[i].name, argv[1]) == 0)
                        bench.kind = &kinds[i];
        bench.address = argv[2];
        bench.queue = argv[3];
        if (!bench.kind || parse_count(argv[4], &n_jobs) < 0 ||
                parse_count(argv[5], &bench.n_consumers) < 0 ||
                parse_count(argv[6], &bench.block) < 0 ||
                parse_count(argv[7], &bench.n_rounds) < 0 || bench.n_consumers > CONSUMERS_MAX ||
                bench.block > BLOCK_MAX || bench.n_rounds > BLOCK_MAX / bench.block)
                return usage();
        r = bench_measure(&bench, n_jobs);
        if (r < 0) {
                fprintf(stderr, "bench-lease: %s: %s\n", bench.kind->name, strerror(-r));
                return EXIT_FAILURE;
        }
        return EXIT_SUCCESS;
}
