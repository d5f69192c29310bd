/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A consumer of leases: draws pieces of the Mandelbrot set, as tile-consumer does, which is the
 * same in Python. This one leases several at a time, and needs libsystemd alone.
 *
 *     tile-consumer [ADDRESS [POOL]]
 *
 * The payload is "X Y WIDTH SIZE LIMIT": the centre, how wide the piece is, how many pixels it has
 * on each side, and how many steps are tried for each. The output is a picture in PGM.
 *
 * One thread does it all, a line of a picture in each turn of its loop, so that between two lines
 * leases are touched, jobs are found to be cancelled, and SIGTERM gives back what is left. The next
 * jobs are asked for when the daemon is known to have heard of the last ones. */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#define SERVICE "org.sluice1"
#define POOL "org.sluice1.Pool"
#define FOREVER UINT64_MAX

#define LEASES_MAX 8
#define PIXELS_MAX 1000
#define LIMIT_MAX 10000
#define TOUCH_USEC_MAX UINT64_C(10000000)
#define PAUSE_USEC_MIN UINT64_C(100000)
#define PAUSE_USEC_MAX UINT64_C(5000000)

typedef struct Consumer Consumer;
typedef struct Job Job;

struct Job {
        Consumer *consumer;
        uint64_t id, token;
        bool leased;
        double x, y, width;
        unsigned size, limit, row;
        unsigned char *picture; /* NULL: there is nothing to draw */
};

struct Consumer {
        sd_event *event;
        const char *address, *pool;
        sd_bus *bus; /* NULL: not connected */
        char *path;
        sd_event_source *work_source, *touch_source, *connect_source;
        uint64_t touch_usec;
        uint64_t pause_usec; /* before the next try to connect */
        Job jobs[LEASES_MAX];
        unsigned n_unanswered; /* calls about jobs; no job has another's place before */
        bool stopping;
};

/* ---- drawing ---- */

/* 0, or -EINVAL if the payload makes no sense. */
static int job_parse(Job *job, const void *payload, size_t size) {
        char text[128];
        int end = -1;

        if (size >= sizeof(text))
                return -EINVAL;
        memcpy(text, payload, size);
        text[size] = '\0';
        if (sscanf(text, "%lf %lf %lf %u %u%n", &job->x, &job->y, &job->width, &job->size,
                    &job->limit, &end) != 5 ||
                (size_t) end != strcspn(text, "\n") || job->size < 1 || job->size > PIXELS_MAX ||
                job->limit < 1 || job->limit > LIMIT_MAX)
                return -EINVAL;
        return 0;
}

static unsigned char job_pixel(const Job *job, unsigned column) {
        double cx = job->x + ((double) column / job->size - 0.5) * job->width;
        double cy = job->y + ((double) job->row / job->size - 0.5) * job->width;
        double zx = 0, zy = 0;
        unsigned n = 0;

        while (n < job->limit && zx * zx + zy * zy <= 4) {
                double next = zx * zx - zy * zy + cx;

                zy = 2 * zx * zy + cy;
                zx = next;
                n++;
        }
        return n == job->limit ? 0 : (unsigned char) (255 - n * 255 / job->limit);
}

static void job_draw_row(Job *job) {
        for (unsigned column = 0; column < job->size; column++)
                job->picture[job->row * job->size + column] = job_pixel(job, column);
        job->row++;
}

/* ---- jobs ---- */

static void consumer_reconnect(Consumer *consumer, const char *why);
static void consumer_go_on(Consumer *consumer);

static void job_forget(Job *job) {
        free(job->picture);
        *job = (Job){ .consumer = job->consumer };
}

static Job *consumer_next_job(Consumer *consumer) {
        for (size_t i = 0; i < LEASES_MAX; i++)
                if (consumer->jobs[i].leased)
                        return &consumer->jobs[i];
        return NULL;
}

/* Something cannot even be sent: the connection is of no use. */
static void consumer_check(Consumer *consumer, int r) {
        if (r < 0)
                consumer_reconnect(consumer, strerror(-r));
}

/* What became of a job has arrived; or its lease was stale, so it was taken from us, and is done by
 * others. */
static int on_ended(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Job *job = userdata;

        if (sd_bus_message_is_method_error(reply, NULL))
                fprintf(stderr, "%s\n", sd_bus_message_get_error(reply)->message);
        job->consumer->n_unanswered--;
        consumer_go_on(job->consumer);
        return 0;
}

/* It was cancelled, or is not ours any more. */
static int on_touched(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Job *job = userdata;

        if (sd_bus_message_is_method_error(reply, NULL))
                job_forget(job);
        job->consumer->n_unanswered--;
        consumer_go_on(job->consumer);
        return 0;
}

static int job_send(Job *job, sd_bus_message *m, sd_bus_message_handler_t on_answer) {
        int r;

        r = sd_bus_call_async(job->consumer->bus, NULL, m, on_answer, job, UINT64_MAX);
        if (r >= 0)
                job->consumer->n_unanswered++;
        return r;
}

/* A call about the job, as all of them begin: with its id and token. */
static int job_call(Job *job, const char *method, sd_bus_message **ret) {
        int r;

        r = sd_bus_message_new_method_call(
                job->consumer->bus, ret, SERVICE, job->consumer->path, POOL, method);
        return r < 0 ? r : sd_bus_message_append(*ret, "tt", job->id, job->token);
}

static int job_complete(Job *job) {
        size_t n = (size_t) job->size * job->size, n_head;
        sd_bus_message *m = NULL;
        char head[64], *output;
        int r;

        n_head = (size_t) snprintf(head, sizeof(head), "P5\n%u %u\n255\n", job->size, job->size);
        r = job_call(job, "Complete", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "b", 1);
        if (r >= 0)
                r = sd_bus_message_append_array_space(m, 'y', n_head + n, (void **) &output);
        if (r >= 0) {
                memcpy(output, head, n_head);
                memcpy(output + n_head, job->picture, n);
                r = job_send(job, m, on_ended);
        }
        sd_bus_message_unref(m);
        job_forget(job);
        return r;
}

/* Fatal: the same payload would fail again. */
static int job_fail(Job *job, const char *why) {
        sd_bus_message *m = NULL;
        int r;

        r = job_call(job, "Fail", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "bs", 1, why);
        if (r >= 0)
                r = job_send(job, m, on_ended);
        sd_bus_message_unref(m);
        job_forget(job);
        return r;
}

static int job_release(Job *job) {
        sd_bus_message *m = NULL;
        int r;

        r = job_call(job, "Release", &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "t", /* delay= */ UINT64_C(0));
        if (r >= 0)
                r = job_send(job, m, on_ended);
        sd_bus_message_unref(m);
        job_forget(job);
        return r;
}

static int job_touch(Job *job) {
        sd_bus_message *m = NULL;
        int r;

        r = job_call(job, "Touch", &m);
        if (r >= 0)
                r = job_send(job, m, on_touched);
        sd_bus_message_unref(m);
        return r;
}

static int on_work(sd_event_source *source, void *userdata) {
        Consumer *consumer = userdata;
        Job *job = consumer_next_job(consumer);

        if (!job)
                return sd_event_source_set_enabled(source, SD_EVENT_OFF);
        job_draw_row(job);
        if (job->row == job->size)
                consumer_check(consumer, job_complete(job));
        return 0;
}

static int on_touch_time(sd_event_source *source, uint64_t usec, void *userdata) {
        Consumer *consumer = userdata;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < LEASES_MAX; i++)
                if (consumer->jobs[i].leased)
                        r = job_touch(&consumer->jobs[i]);
        if (r < 0) {
                consumer_check(consumer, r);
                return 0;
        }
        r = sd_event_source_set_time_relative(source, consumer->touch_usec);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int job_begin(Job *job, sd_bus_message *m) {
        const void *payload;
        size_t size;
        int r;

        r = sd_bus_message_read(m, "tt", &job->id, &job->token);
        if (r >= 0)
                r = sd_bus_message_read_array(m, 'y', &payload, &size);
        if (r >= 0)
                r = sd_bus_message_read(m, "u", NULL);
        if (r < 0)
                return r;
        if (job_parse(job, payload, size) < 0)
                return job_fail(job, "needs X Y WIDTH SIZE LIMIT, SIZE up to 1000, LIMIT to 10000");
        job->picture = malloc((size_t) job->size * job->size);
        if (!job->picture)
                return job_release(job);
        job->leased = true;
        return 0;
}

static int begin_jobs(Consumer *consumer, sd_bus_message *m) {
        Job *job = consumer->jobs;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(ttayu)");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'r', "ttayu")) > 0) {
                r = job_begin(job++, m);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        if (r >= 0)
                r = sd_event_source_set_enabled(consumer->work_source, SD_EVENT_ON);
        if (r >= 0)
                r = sd_event_source_set_time_relative(consumer->touch_source, consumer->touch_usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(consumer->touch_source, SD_EVENT_ONESHOT);
        return r;
}

static int on_leases(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Consumer *consumer = userdata;

        /* The daemon stops, the pool goes, or we may not: perhaps that changes. */
        if (sd_bus_message_is_method_error(reply, NULL))
                consumer_reconnect(consumer, sd_bus_message_get_error(reply)->message);
        else
                consumer_check(consumer, begin_jobs(consumer, reply));
        return 0;
}

/* Asks for jobs, or ends, if there is nothing left to do. */
static void consumer_go_on(Consumer *consumer) {
        if (consumer->n_unanswered > 0 || consumer_next_job(consumer))
                return;
        (void) sd_event_source_set_enabled(consumer->touch_source, SD_EVENT_OFF);
        if (consumer->stopping)
                (void) sd_event_exit(consumer->event, 0);
        else if (consumer->bus)
                consumer_check(consumer,
                        sd_bus_call_method_async(consumer->bus, NULL, SERVICE, consumer->path, POOL,
                                "Lease", on_leases, consumer, "ut", LEASES_MAX, FOREVER));
}

/* The token says that nobody has made this up. */
static int on_stopping(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Consumer *consumer = userdata;
        uint64_t id, token;

        if (sd_bus_message_read(m, "tts", &id, &token, NULL) < 0)
                return 0;
        for (size_t i = 0; i < LEASES_MAX; i++) {
                Job *job = &consumer->jobs[i];

                if (job->leased && job->id == id && job->token == token)
                        consumer_check(consumer, job_release(job));
        }
        return 0;
}

/* ---- the connection ---- */

/* The jobs that we had are somebody else's by now. */
static void consumer_disconnect(Consumer *consumer) {
        for (size_t i = 0; i < LEASES_MAX; i++)
                job_forget(&consumer->jobs[i]);
        consumer->n_unanswered = 0;
        (void) sd_event_source_set_enabled(consumer->touch_source, SD_EVENT_OFF);
        consumer->bus = sd_bus_close_unref(consumer->bus);
        free(consumer->path);
        consumer->path = NULL;
}

static void consumer_reconnect(Consumer *consumer, const char *why) {
        int r;

        consumer_disconnect(consumer);
        if (consumer->stopping) {
                (void) sd_event_exit(consumer->event, 0);
                return;
        }
        fprintf(stderr, "Trying again in %" PRIu64 " ms: %s\n", consumer->pause_usec / 1000, why);
        r = sd_event_source_set_time_relative(consumer->connect_source, consumer->pause_usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(consumer->connect_source, SD_EVENT_ONESHOT);
        if (r < 0)
                (void) sd_event_exit(consumer->event, r);
        consumer->pause_usec *= 2;
        if (consumer->pause_usec > PAUSE_USEC_MAX)
                consumer->pause_usec = PAUSE_USEC_MAX;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        consumer_reconnect(userdata, "the connection is lost");
        return 0;
}

/* Where the pool is, and how long a lease lasts there. */
static int consumer_find_pool(Consumer *consumer, sd_bus_error *error) {
        sd_bus_message *reply = NULL;
        const char *path;
        uint64_t run_timeout;
        int r;

        r = sd_bus_call_method(consumer->bus, SERVICE, "/org/sluice1", "org.sluice1.Manager",
                "GetPool", error, &reply, "s", consumer->pool);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &path);
        if (r >= 0) {
                consumer->path = strdup(path);
                r = consumer->path ? 0 : -ENOMEM;
        }
        sd_bus_message_unref(reply);
        if (r >= 0)
                r = sd_bus_get_property_trivial(consumer->bus, SERVICE, consumer->path, POOL,
                        "RunTimeoutUSec", error, 't', &run_timeout);
        if (r < 0)
                return r;
        /* Early enough for two more tries. */
        consumer->touch_usec = run_timeout / 3 < TOUCH_USEC_MAX ? run_timeout / 3 : TOUCH_USEC_MAX;
        return 0;
}

static int consumer_open(Consumer *consumer, sd_bus_error *error) {
        int r;

        r = sd_bus_new(&consumer->bus);
        if (r >= 0)
                r = sd_bus_set_address(consumer->bus, consumer->address);
        /* The direct socket answers Hello as a bus does. */
        if (r >= 0)
                r = sd_bus_set_bus_client(consumer->bus, 1);
        if (r >= 0)
                r = sd_bus_start(consumer->bus);
        if (r >= 0)
                r = consumer_find_pool(consumer, error);
        if (r >= 0)
                r = sd_bus_match_signal_async(consumer->bus, NULL, NULL, consumer->path, POOL,
                        "LeaseStopping", on_stopping, NULL, consumer);
        if (r >= 0)
                r = sd_bus_match_signal_async(consumer->bus, NULL, "org.freedesktop.DBus.Local",
                        NULL, "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, NULL,
                        consumer);
        if (r >= 0)
                r = sd_bus_attach_event(consumer->bus, consumer->event, SD_EVENT_PRIORITY_NORMAL);
        return r;
}

static int on_connect_time(sd_event_source *source, uint64_t usec, void *userdata) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        Consumer *consumer = userdata;
        int r;

        r = consumer_open(consumer, &error);
        if (r < 0)
                consumer_reconnect(consumer, error.message ? error.message : strerror(-r));
        else {
                consumer->pause_usec = PAUSE_USEC_MIN;
                consumer_go_on(consumer);
        }
        sd_bus_error_free(&error);
        return 0;
}

/* What is half done is left to others, at once and without counting as an attempt. */
static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Consumer *consumer = userdata;
        int r = 0;

        consumer->stopping = true;
        for (size_t i = 0; r >= 0 && i < LEASES_MAX; i++)
                if (consumer->jobs[i].leased)
                        r = job_release(&consumer->jobs[i]);
        consumer_check(consumer, r);
        consumer_go_on(consumer);
        return 0;
}

/* What the daemon has sent before is read first: a lease that has come is given back, too. */
static int consumer_add_signal(Consumer *consumer, int signal) {
        sd_event_source *source = NULL;
        int r;

        r = sd_event_add_signal(consumer->event, &source, signal, on_signal, consumer);
        if (r >= 0)
                r = sd_event_source_set_priority(source, SD_EVENT_PRIORITY_NORMAL + 1);
        if (r >= 0)
                r = sd_event_source_set_floating(source, true);
        sd_event_source_unref(source);
        return r;
}

static int consumer_prepare(Consumer *consumer) {
        sigset_t signals;
        int r;

        for (size_t i = 0; i < LEASES_MAX; i++)
                consumer->jobs[i].consumer = consumer;
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        r = sd_event_new(&consumer->event);
        if (r >= 0)
                r = consumer_add_signal(consumer, SIGTERM);
        if (r >= 0)
                r = consumer_add_signal(consumer, SIGINT);
        if (r >= 0)
                r = sd_event_add_time(consumer->event, &consumer->touch_source, CLOCK_MONOTONIC,
                        UINT64_MAX, 0, on_touch_time, consumer);
        if (r >= 0)
                r = sd_event_add_time(consumer->event, &consumer->connect_source, CLOCK_MONOTONIC,
                        0, 0, on_connect_time, consumer);
        if (r >= 0)
                r = sd_event_add_defer(consumer->event, &consumer->work_source, on_work, consumer);
        /* All else comes first. */
        if (r >= 0)
                r = sd_event_source_set_priority(consumer->work_source, SD_EVENT_PRIORITY_IDLE);
        return r;
}

int main(int argc, char **argv) {
        Consumer consumer = {
                .address = argc > 1 ? argv[1] : "unix:path=/run/sluice/bus",
                .pool = argc > 2 ? argv[2] : "tile",
                .pause_usec = PAUSE_USEC_MIN,
        };
        int r;

        r = consumer_prepare(&consumer);
        if (r >= 0)
                r = sd_event_loop(consumer.event);
        if (r < 0)
                fprintf(stderr, "tile-consumer: %s\n", strerror(-r));
        consumer_disconnect(&consumer);
        sd_event_source_unref(consumer.work_source);
        sd_event_source_unref(consumer.touch_source);
        sd_event_source_unref(consumer.connect_source);
        sd_event_unref(consumer.event);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
