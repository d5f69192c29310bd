/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* gzip: the output is the payload as a gzip file, without a name or a time in it, so that equal
 * payloads give equal outputs. Option: level=0 to 9 (default 6).
 *
 * A deflate stream is a quarter of a megabyte that takes longer to make than a small file to
 * compress. So streams are kept, as many as there ever were jobs at once, and used in turn; a batch
 * of jobs uses one. */

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/module.h>

#define ZLIB_CONST
#include <zlib.h>

/* Between two chunks a job looks whether it is to stop: some milliseconds. */
#define CHUNK ((size_t) 256 * 1024)

/* A bigger buffer is not kept for the next job. */
#define BUFFER_KEEP ((size_t) 4 * 1024 * 1024)

/* 15: the biggest window; 16: a gzip header around it; 8: memory as is usual. */
#define WINDOW_BITS (15 + 16)
#define MEMORY_LEVEL 8

typedef struct Stream {
        struct Stream *next;
        z_stream z;
        unsigned char *buffer;
        size_t buffer_size;
} Stream;

typedef struct Gzip {
        int level;
        pthread_mutex_t lock; /* guards `idle`; nothing else is taken under it */
        Stream *idle;
} Gzip;

static int out_of_memory(struct sluice_job *job) {
        sluice_error(job, "not enough memory");
        return SLUICE_RETRY;
}

static void stream_free(Stream *stream) {
        (void) deflateEnd(&stream->z);
        free(stream->buffer);
        free(stream);
}

static Stream *stream_new(int level) {
        Stream *stream = calloc(1, sizeof(*stream));

        if (stream && deflateInit2(&stream->z, level, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
                              Z_DEFAULT_STRATEGY) != Z_OK) {
                free(stream);
                return NULL;
        }
        return stream;
}

static Stream *stream_take(Gzip *gzip) {
        Stream *stream;

        pthread_mutex_lock(&gzip->lock);
        stream = gzip->idle;
        if (stream)
                gzip->idle = stream->next;
        pthread_mutex_unlock(&gzip->lock);

        return stream ? stream : stream_new(gzip->level);
}

static void stream_put(Gzip *gzip, Stream *stream) {
        if (stream->buffer_size > BUFFER_KEEP) {
                free(stream->buffer);
                stream->buffer = NULL;
                stream->buffer_size = 0;
        }

        pthread_mutex_lock(&gzip->lock);
        stream->next = gzip->idle;
        gzip->idle = stream;
        pthread_mutex_unlock(&gzip->lock);
}

/* Makes the buffer so large that the compressed payload surely fits. */
static bool stream_reserve(Stream *stream, size_t payload_size) {
        size_t size = deflateBound(&stream->z, payload_size);
        unsigned char *buffer;

        if (size <= stream->buffer_size)
                return true;
        buffer = malloc(size);
        if (!buffer)
                return false;

        free(stream->buffer);
        stream->buffer = buffer;
        stream->buffer_size = size;
        return true;
}

/* Gives the output's size, or 0 if the job was stopped. */
static size_t compress_payload(Stream *stream, struct sluice_job *job) {
        z_stream *z = &stream->z;
        const unsigned char *payload = job->payload;
        size_t done = 0, written = 0;
        int r;

        do {
                size_t n = job->payload_size - done < CHUNK ? job->payload_size - done : CHUNK;
                size_t room = stream->buffer_size - written;

                if (sluice_stopped(job))
                        return 0;

                z->next_in = n > 0 ? payload + done : (const unsigned char *) "";
                z->avail_in = (uInt) n;
                z->next_out = stream->buffer + written;
                z->avail_out = room < UINT_MAX ? (uInt) room : UINT_MAX;
                room = z->avail_out;

                r = deflate(z, done + n == job->payload_size ? Z_FINISH : Z_NO_FLUSH);
                done += n - z->avail_in;
                written += room - z->avail_out;
                if (job->payload_size > CHUNK)
                        sluice_progress(job, (double) done / (double) job->payload_size);
        } while (r == Z_OK);

        return r == Z_STREAM_END ? written : 0;
}

static int stream_process(Stream *stream, struct sluice_job *job) {
        size_t size;
        void *output;

        /* First, as a stream that has ended gives another bound. */
        (void) deflateReset(&stream->z); /* fails only for what deflateInit2() has not made */
        if (!stream_reserve(stream, job->payload_size))
                return out_of_memory(job);

        size = compress_payload(stream, job);
        if (size == 0) {
                sluice_error(job, "stopped");
                return SLUICE_FAILED;
        }

        output = sluice_output(job, size);
        if (!output)
                return out_of_memory(job);

        memcpy(output, stream->buffer, size);
        return SLUICE_OK;
}

static int gzip_process(void *state, struct sluice_job *job) {
        Gzip *gzip = state;
        Stream *stream = stream_take(gzip);
        int verdict;

        if (!stream)
                return out_of_memory(job);

        verdict = stream_process(stream, job);
        stream_put(gzip, stream);
        return verdict;
}

static void gzip_process_batch(
        void *state, struct sluice_job *const *jobs, size_t n, int *results) {
        Gzip *gzip = state;
        Stream *stream = stream_take(gzip);

        for (size_t i = 0; i < n; i++)
                results[i] = stream ? stream_process(stream, jobs[i]) : out_of_memory(jobs[i]);
        if (stream)
                stream_put(gzip, stream);
}

static void gzip_close(void *state) {
        Gzip *gzip = state;

        while (gzip->idle) {
                Stream *stream = gzip->idle;

                gzip->idle = stream->next;
                stream_free(stream);
        }
        pthread_mutex_destroy(&gzip->lock);
        free(gzip);
}

static int gzip_open(const char *const *options, void **state, char *error, size_t error_size) {
        int level = 6;
        Gzip *gzip;

        for (; *options; options++) {
                const char *o = *options;

                if (strncmp(o, "level=", 6) != 0 || o[6] < '0' || o[6] > '9' || o[7]) {
                        (void) snprintf(error, error_size, "\"%s\" is not level=0 to level=9", o);
                        return -1;
                }
                level = o[6] - '0';
        }

        gzip = calloc(1, sizeof(*gzip));
        if (!gzip) {
                (void) snprintf(error, error_size, "not enough memory");
                return -1;
        }
        gzip->level = level;
        pthread_mutex_init(&gzip->lock, NULL);

        *state = gzip;
        return 0;
}

SLUICE_MODULE(.name = "gzip", .open = gzip_open, .close = gzip_close, .process = gzip_process,
        .process_batch = gzip_process_batch);
