/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* compress: an example of a client. It sends files through pools that compress, and checks that
 * what comes back unpacks to what was sent, byte by byte. It needs nothing of Sluice but D-Bus:
 * libsystemd is the library that it speaks it with, zlib unpacks.
 *
 * The way of one file:
 *
 *     SubmitFd(fd, options) → id         the pool has accepted a job; its payload is the file
 *     WaitJob(id, timeout) → output …    answered when the job has finished
 *
 * Both calls are asynchronous, and a bounded number of files is on the way at a time: so the pool's
 * workers never wait for us, and neither side needs memory for more than those files. A pool that
 * has no more room answers QueueFull. That is no failure: the file is sent again when a result has
 * made room, and from then on fewer files are on the way.
 *
 *     compress [--address=ADDRESS] [--times=N] POOL[,POOL…] PATH…
 */

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define SERVICE "org.sluice1"
#define MANAGER_PATH "/org/sluice1"
#define MANAGER "org.sluice1.Manager"
#define POOL "org.sluice1.Pool"
#define QUEUE_FULL "org.sluice1.Error.QueueFull"

#define ON_THE_WAY_MAX 128
#define TRY_AGAIN_USEC 10000
#define PROGRESS_USEC 100000
#define FAILURES_SHOWN 10

typedef struct Files Files;
typedef struct Item Item;
typedef struct Pass Pass;

struct Files {
        char **paths; /* owned */
        size_t n, n_allocated;
};

/* One file on its way. */
struct Item {
        Pass *pass; /* borrowed */
        Item *next; /* among those that the pool had no room for */
        const char *path;
        int fd; /* kept open: what comes back is compared with it */
};

/* All files through one pool. */
struct Pass {
        sd_bus *bus;
        sd_event *event;
        const char *pool;
        char *pool_path;
        const Files *files;
        size_t n_total, n_sent; /* sent at least once, or given up */
        size_t n_on_the_way, max_on_the_way;
        Item *refused;
        size_t n_succeeded, n_failed, n_unreadable;
        uint64_t bytes_in, bytes_out;
        uint64_t started_at, finished_at; /* µs */
        bool ended;
        int error; /* why it ended early */
        sd_event_source *progress_source, *again_source;
        /* What the pool tells in the end. */
        uint64_t n_rejected;
        uint64_t queue_wait[4], run_time[4]; /* µs: p50, p95, p99, max */
};

static uint64_t now_usec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static int out_of_memory(void) {
        fprintf(stderr, "compress: out of memory\n");
        return -ENOMEM;
}

/* ---- files ---- */

static int files_add(Files *files, const char *path) {
        if (files->n == files->n_allocated) {
                size_t n = files->n_allocated ? 2 * files->n_allocated : 1024;
                char **paths = reallocarray(files->paths, n, sizeof(*paths));

                if (!paths)
                        return out_of_memory();
                files->paths = paths;
                files->n_allocated = n;
        }
        files->paths[files->n] = strdup(path);
        if (!files->paths[files->n])
                return out_of_memory();
        files->n++;
        return 0;
}

static int compare_names(const FTSENT **a, const FTSENT **b) {
        return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* All regular files below the paths; symbolic links are not followed. */
static int files_find(Files *files, char **paths) {
        FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, compare_names);
        FTSENT *entry;
        int r = 0;

        if (!tree)
                return out_of_memory();
        while (r >= 0 && (entry = fts_read(tree))) {
                if (entry->fts_info == FTS_F)
                        r = files_add(files, entry->fts_path);
                else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS)
                        fprintf(stderr, "compress: %s: %s\n", entry->fts_path,
                                strerror(entry->fts_errno));
        }
        fts_close(tree);
        return r;
}

static void files_done(Files *files) {
        for (size_t i = 0; i < files->n; i++)
                free(files->paths[i]);
        free(files->paths);
}

/* Does `packed` unpack to the content of the file, and to nothing else? In pieces, so the size of
 * the file does not matter. We read by pread(), as the compressor shares the fd's offset with us.
 */
static bool unpacks_to(const void *packed, size_t size, int fd, uint64_t *ret_size) {
        static unsigned char unpacked[65536], content[sizeof(unpacked)];
        z_stream z = { .next_in = (void *) packed, .avail_in = (uInt) size };
        uint64_t offset = 0;
        bool same = true;
        int r;

        if (inflateInit2(&z, 15 + 16) != Z_OK)
                return false;
        do {
                size_t n;

                z.next_out = unpacked;
                z.avail_out = sizeof(unpacked);
                r = inflate(&z, Z_NO_FLUSH);
                n = sizeof(unpacked) - z.avail_out;
                if (n > 0)
                        same = pread(fd, content, n, (off_t) offset) == (ssize_t) n &&
                               memcmp(content, unpacked, n) == 0;
                offset += n;
        } while (r == Z_OK && same);

        /* Nothing is left on either side. */
        same = same && r == Z_STREAM_END && z.avail_in == 0 &&
               pread(fd, content, 1, (off_t) offset) == 0;
        inflateEnd(&z);
        *ret_size = offset;
        return same;
}

/* ---- progress ---- */

static bool on_terminal(void) {
        return isatty(STDOUT_FILENO) == 1;
}

/* 1234567 as "1,234,567". */
static const char *grouped(uint64_t n, char buf[static 32]) {
        char digits[32];
        int length = snprintf(digits, sizeof(digits), "%" PRIu64, n);
        char *out = buf;

        for (int i = 0; i < length; i++) {
                if (i > 0 && (length - i) % 3 == 0)
                        *out++ = ',';
                *out++ = digits[i];
        }
        *out = '\0';
        return buf;
}

static double pass_seconds(const Pass *pass) {
        uint64_t end = pass->finished_at ? pass->finished_at : now_usec();

        return (double) (end - pass->started_at + 1) / 1e6;
}

static size_t pass_done(const Pass *pass) {
        return pass->n_succeeded + pass->n_failed + pass->n_unreadable;
}

static void print_progress(const Pass *pass) {
        static const size_t width = 30;
        size_t done = pass_done(pass), filled = done * width / (pass->n_total ? pass->n_total : 1);
        double rate = (double) done / pass_seconds(pass);
        char a[32], b[32], c[32];

        if (!on_terminal() && !pass->finished_at)
                return;
        printf("%s  %-6s ", on_terminal() ? "\r" : "", pass->pool);
        if (on_terminal())
                for (size_t i = 0; i < width; i++)
                        fputs(i < filled ? "█" : "░", stdout);
        printf("  %s of %s  %s/s", grouped(done, a), grouped(pass->n_total, b),
                grouped((uint64_t) rate, c));
        if (pass->finished_at)
                printf(" in %.1fs", pass_seconds(pass));
        if (on_terminal())
                fputs("\033[K", stdout); /* what a longer line has left behind */
        if (pass->finished_at)
                putchar('\n');
        fflush(stdout);
}

static int on_progress(sd_event_source *source, uint64_t usec, void *userdata) {
        Pass *pass = userdata;

        print_progress(pass);
        sd_event_source_set_time(source, usec + PROGRESS_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* ---- jobs ---- */

static int pass_go_on(Pass *pass);

/* Errors that a callback returns go nowhere, so callbacks end the pass with them. Returns 0. */
static int pass_end(Pass *pass, int error) {
        pass->ended = true;
        if (pass->error >= 0)
                pass->error = error;
        return 0;
}

/* The file's way has ended, well if `why` is NULL. */
static void item_end(Item *item, const char *why) {
        Pass *pass = item->pass;

        if (why) {
                if (pass->n_failed++ < FAILURES_SHOWN)
                        fprintf(stderr, "%s%s through pool %s: %s\n",
                                on_terminal() ? "\r\033[K" : "", item->path, pass->pool, why);
        } else
                pass->n_succeeded++;
        close(item->fd);
        free(item);
}

/* The answer of WaitJob: state, result, output, error text. */
static int on_result(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Item *item = userdata;
        Pass *pass = item->pass;
        const char *state, *result, *text;
        const void *output;
        uint64_t size_in;
        size_t size;
        int r;

        pass->n_on_the_way--;
        if (sd_bus_message_is_method_error(reply, NULL)) {
                item_end(item, sd_bus_message_get_error(reply)->message);
                return pass_go_on(pass);
        }
        r = sd_bus_message_read(reply, "ss", &state, &result);
        if (r >= 0)
                r = sd_bus_message_read_array(reply, 'y', &output, &size);
        if (r >= 0)
                r = sd_bus_message_read(reply, "s", &text);
        if (r < 0)
                return pass_end(pass, r);

        if (strcmp(result, "succeeded") != 0)
                item_end(item, *text ? text : result);
        else if (!unpacks_to(output, size, item->fd, &size_in))
                item_end(item, "the output does not unpack to the file");
        else {
                pass->bytes_in += size_in;
                pass->bytes_out += size;
                item_end(item, NULL);
        }
        return pass_go_on(pass);
}

/* The answer of SubmitFd: the job's id, and its path, which we do not need. */
static int on_accepted(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Item *item = userdata;
        Pass *pass = item->pass;
        uint64_t id;
        int r;

        if (sd_bus_message_is_method_error(reply, QUEUE_FULL)) {
                pass->n_on_the_way--;
                pass->max_on_the_way = pass->n_on_the_way > 0 ? pass->n_on_the_way : 1;
                item->next = pass->refused;
                pass->refused = item;
                return pass_go_on(pass);
        }
        if (sd_bus_message_is_method_error(reply, NULL)) {
                pass->n_on_the_way--;
                item_end(item, sd_bus_message_get_error(reply)->message);
                return pass_go_on(pass);
        }
        r = sd_bus_message_read(reply, "to", &id, NULL);
        if (r >= 0)
                r = sd_bus_call_method_async(pass->bus, NULL, SERVICE, MANAGER_PATH, MANAGER,
                        "WaitJob", on_result, item, "tt", id, /* timeout: none */ UINT64_MAX);
        return r < 0 ? pass_end(pass, r) : 0;
}

static int item_submit(Item *item) {
        Pass *pass = item->pass;
        int r;

        /* BindToClient: should we be killed, nobody wants these jobs any more. */
        r = sd_bus_call_method_async(pass->bus, NULL, SERVICE, pass->pool_path, POOL, "SubmitFd",
                on_accepted, item, "ha{sv}", item->fd, 2, "BindToClient", "b", 1, "Tag", "s",
                "compress");
        if (r >= 0)
                pass->n_on_the_way++;
        return r;
}

/* The next file that can be opened, or one that was refused; NULL if there is none left. */
static Item *pass_next(Pass *pass) {
        Item *item = pass->refused;

        if (item) {
                pass->refused = item->next;
                return item;
        }
        while (pass->n_sent < pass->n_total) {
                const char *path = pass->files->paths[pass->n_sent++ % pass->files->n];
                int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

                if (fd < 0) {
                        pass->n_unreadable++;
                        continue;
                }
                item = malloc(sizeof(*item));
                if (!item) {
                        close(fd);
                        return NULL;
                }
                *item = (Item){ .pass = pass, .path = path, .fd = fd };
                return item;
        }
        return NULL;
}

/* Sends as many files as may be on the way. */
static int pass_send(Pass *pass) {
        int r = 0;

        while (r >= 0 && pass->n_on_the_way < pass->max_on_the_way) {
                Item *item = pass_next(pass);

                if (!item)
                        break;
                r = item_submit(item);
        }
        if (r < 0)
                return pass_end(pass, r);
        return pass->n_on_the_way == 0 ? pass_end(pass, 0) : 0;
}

static int on_try_again(sd_event_source *source, uint64_t usec, void *userdata) {
        return pass_send(userdata);
}

/* Goes on after an answer; the last one ends the pass. */
static int pass_go_on(Pass *pass) {
        int r;

        if (!pass->refused || pass->n_on_the_way > 0)
                return pass_send(pass);

        /* Others have filled the queue, so no result of ours will make room. */
        pass->again_source = sd_event_source_unref(pass->again_source);
        r = sd_event_add_time_relative(pass->event, &pass->again_source, CLOCK_MONOTONIC,
                TRY_AGAIN_USEC, 0, on_try_again, pass);
        return r < 0 ? pass_end(pass, r) : 0;
}

/* ---- one pool ---- */

static int get_quantiles(Pass *pass, const char *property, uint64_t ret[static 4]) {
        sd_bus_message *reply = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_get_property(
                pass->bus, SERVICE, pass->pool_path, POOL, property, &error, &reply, "(tttt)");
        if (r >= 0)
                r = sd_bus_message_read(reply, "(tttt)", &ret[0], &ret[1], &ret[2], &ret[3]);
        if (r < 0)
                fprintf(stderr, "compress: %s of pool %s: %s\n", property, pass->pool,
                        error.message ? error.message : strerror(-r));
        sd_bus_error_free(&error);
        sd_bus_message_unref(reply);
        return r;
}

static int pass_ask_pool(Pass *pass) {
        int r;

        r = get_quantiles(pass, "QueueWaitUSec", pass->queue_wait);
        if (r >= 0)
                r = get_quantiles(pass, "RunTimeUSec", pass->run_time);
        if (r >= 0)
                r = sd_bus_get_property_trivial(pass->bus, SERVICE, pass->pool_path, POOL,
                        "Rejected", NULL, 't', &pass->n_rejected);
        return r;
}

/* A lost connection ends the wait for answers that will not come. */
static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return pass_end(userdata, -ECONNRESET);
}

static int pass_run(Pass *pass) {
        int r;

        r = sd_bus_path_encode("/org/sluice1/pool", pass->pool, &pass->pool_path);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(pass->event, &pass->progress_source, CLOCK_MONOTONIC,
                PROGRESS_USEC, 0, on_progress, pass);
        if (r < 0)
                return r;
        pass->started_at = now_usec();
        (void) pass_go_on(pass);
        /* Not sd_event_loop(): its end closes the connection, and there are more questions. */
        while (r >= 0 && !pass->ended)
                r = sd_event_run(pass->event, UINT64_MAX);
        pass->progress_source = sd_event_source_disable_unref(pass->progress_source);
        pass->again_source = sd_event_source_disable_unref(pass->again_source);
        if (r < 0 || pass->error < 0)
                return r < 0 ? r : pass->error;
        pass->finished_at = now_usec();
        print_progress(pass);
        return pass_ask_pool(pass);
}

/* One connection per pass: what is measured of one pool has nothing of another's in it. */
static int connect_and_run(Pass *pass, const char *address) {
        int r;

        r = sd_event_new(&pass->event);
        if (r < 0)
                return r;
        r = sd_bus_new(&pass->bus);
        if (r >= 0)
                r = sd_bus_set_address(pass->bus, address);
        /* The direct socket answers Hello as a bus does. */
        if (r >= 0)
                r = sd_bus_set_bus_client(pass->bus, 1);
        if (r >= 0)
                r = sd_bus_negotiate_fds(pass->bus, 1);
        if (r >= 0)
                r = sd_bus_start(pass->bus);
        if (r >= 0)
                r = sd_bus_attach_event(pass->bus, pass->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_match_signal_async(pass->bus, NULL, "org.freedesktop.DBus.Local", NULL,
                        "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, NULL, pass);
        if (r < 0) {
                fprintf(stderr, "compress: %s: %s\n", address, strerror(-r));
                return r;
        }
        r = pass_run(pass);
        if (r < 0)
                fprintf(stderr, "compress: pool %s: %s\n", pass->pool, strerror(-r));
        return r;
}

static void pass_done_with(Pass *pass) {
        sd_bus_flush_close_unref(pass->bus);
        sd_event_unref(pass->event);
        free(pass->pool_path);
}

/* ---- the end ---- */

/* Three figures that count, and no wider than six columns. */
static void print_milliseconds(uint64_t usec) {
        double t = (double) usec / 1000;

        printf(" %5.*f", t < 10 ? 2 : t < 1000 ? 1 : 0, t);
}

static void print_table(const Pass *passes, size_t n) {
        const char *bold = on_terminal() ? "\033[1m" : "", *end = on_terminal() ? "\033[0m" : "";
        char jobs[32], rate[32];

        printf("\n  %s%44s%-19s%s%s\n", bold, "", "in the queue, ms", "at work, ms", end);
        printf("  %s%-6s %6s %8s %7s %7s %6s%6s%6s %6s%6s%6s%s\n", bold, "pool", "jobs", "MB in",
                "MB out", "jobs/s", "p50", "p95", "p99", "p50", "p95", "p99", end);
        for (const Pass *p = passes; p < passes + n; p++) {
                printf("  %-6s %6s %8.1f %7.1f %7s ", p->pool, grouped(p->n_succeeded, jobs),
                        (double) p->bytes_in / 1e6, (double) p->bytes_out / 1e6,
                        grouped((uint64_t) ((double) p->n_succeeded / pass_seconds(p)), rate));
                for (size_t i = 0; i < 3; i++)
                        print_milliseconds(p->queue_wait[i]);
                putchar(' ');
                for (size_t i = 0; i < 3; i++)
                        print_milliseconds(p->run_time[i]);
                putchar('\n');
        }
        putchar('\n');
}

/* Says how it went in words. True if all is well. */
static bool print_verdict(const Pass *passes, size_t n) {
        uint64_t succeeded = 0, failed = 0, unreadable = 0, rejected = 0, missing = 0;
        char a[32];

        for (const Pass *p = passes; p < passes + n; p++) {
                succeeded += p->n_succeeded;
                failed += p->n_failed;
                unreadable += p->n_unreadable;
                rejected += p->n_rejected;
                missing += p->n_total - pass_done(p);
        }
        printf("  %s outputs were unpacked and are equal to their files, byte by byte.\n",
                grouped(succeeded, a));
        if (rejected > 0)
                printf("  %s times the queue was full; those files were sent again.\n",
                        grouped(rejected, a));
        if (unreadable > 0)
                printf("  %s times a file could not be opened by us, and was left out.\n",
                        grouped(unreadable, a));
        if (failed > 0)
                printf("  %s files FAILED.\n", grouped(failed, a));
        if (missing > 0)
                printf("  %s files were NOT SENT.\n", grouped(missing, a));
        return failed == 0 && missing == 0 && succeeded > 0;
}

static int run(const char *address, char *pools, const Files *files, size_t times) {
        Pass passes[8];
        size_t n = 0;
        int r = 0;

        for (char *pool = strtok(pools, ","); pool && r >= 0; pool = strtok(NULL, ",")) {
                Pass *pass = &passes[n++];

                if (n > sizeof(passes) / sizeof(passes[0]))
                        return -E2BIG;
                *pass = (Pass){
                        .pool = pool,
                        .files = files,
                        .n_total = files->n * times,
                        .max_on_the_way = ON_THE_WAY_MAX,
                };
                r = connect_and_run(pass, address);
                pass_done_with(pass);
        }
        if (r < 0)
                return r;
        print_table(passes, n);
        return print_verdict(passes, n) ? 0 : -EIO;
}

static int usage(void) {
        fprintf(stderr, "compress [--address=ADDRESS] [--times=N] POOL[,POOL…] PATH…\n"
                        "Sends all files below the paths through each pool, N times.\n");
        return 2;
}

int main(int argc, char **argv) {
        static const struct option options[] = {
                { "address", required_argument, NULL, 'a' },
                { "times", required_argument, NULL, 't' },
                {},
        };
        const char *address = "unix:path=/run/sluice/bus";
        unsigned long times = 1;
        Files files = {};
        int c, r;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                if (c == 'a')
                        address = optarg;
                else if (c == 't')
                        times = strtoul(optarg, NULL, 10);
                else
                        return usage();
        }
        if (argc - optind < 2 || times == 0)
                return usage();

        r = files_find(&files, argv + optind + 1);
        if (r >= 0 && files.n == 0) {
                fprintf(stderr, "compress: no files there\n");
                r = -ENOENT;
        }
        if (r >= 0)
                r = run(address, argv[optind], &files, times);
        files_done(&files);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
