/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The file is a page of header, then chunks of sheets. A chunk is mapped once and stays where it
 * is, so whoever has a sheet needs no lock. Its blocks are allocated before, as a write to a hole
 * of a mapped file on a full disk is a signal.
 *
 * An entry is two words. The second one, attempt and check, is written first; the first one says
 * whether there is a mark. Sheets are blank when they are taken and each entry is written once
 * before they are blanked again, so at every moment an entry is blank or whole. That the job has
 * ended is said by another check, so by one word again. */

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "store/marks.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/mutex.h"

#define MARKS_FILE "running"
#define MARKS_MAGIC "SLUIMARK"
#define MARKS_VERSION 1

#define HEADER_SIZE 4096
#define CHUNK_SHEETS 256
#define CHUNKS_MAX 256 /* 65,536 sheets */

typedef struct Entry {
        _Atomic uint64_t job; /* id and stage, as in Job; 0 = blank */
        _Atomic uint64_t attempt_and_check;
} Entry;

typedef struct Header {
        char magic[8];
        uint32_t version, sheet_entries;
        uint64_t id_limit, id_check;
} Header;

typedef Entry Sheet[MARK_SHEET_MAX];

_Static_assert(sizeof(Entry) == 16, "the format of the file");
_Static_assert(sizeof(Header) <= HEADER_SIZE, "the header is one page");

#define SHEET_SIZE sizeof(Sheet)
#define CHUNK_SIZE (CHUNK_SHEETS * SHEET_SIZE)

struct Marks {
        int fd;         /* owned */
        Header *header; /* mapped; main thread */

        pthread_mutex_t lock; /* guards the rest; a leaf: nothing is taken under it */
        List free;            /* blank sheets, by their links */
        size_t n_chunks;
        Sheet *chunks[CHUNKS_MAX];     /* mapped */
        MarkSheet *sheets[CHUNKS_MAX]; /* owned */
};

/* SplitMix64's mixer: what is not a mark of ours has one chance in 2^32 to look like one. */
static uint64_t mix(uint64_t x) {
        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

static uint64_t word_of(uint64_t id, uint8_t stage) {
        return id | (uint64_t) stage << 58;
}

static uint64_t check_of(uint64_t job, uint32_t attempt) {
        uint64_t check = mix(mix(job + UINT64_C(0x9e3779b97f4a7c15)) ^ attempt);

        return attempt | check << 32;
}

static uint64_t check_of_ended(uint64_t job, uint32_t attempt) {
        uint64_t check = check_of(job, attempt);

        return attempt | ~check >> 32 << 32;
}

void mark_begun(MarkSheet *sheet, unsigned i, uint64_t id, uint8_t stage, uint32_t attempt) {
        uint64_t job = word_of(id, stage);
        Entry *entry = (Entry *) sheet->entries + i;

        assert(i < MARK_SHEET_MAX);
        atomic_store_explicit(
                &entry->attempt_and_check, check_of(job, attempt), memory_order_relaxed);
        atomic_store_explicit(&entry->job, job, memory_order_release);
}

void mark_ended(MarkSheet *sheet, unsigned i) {
        Entry *entry = (Entry *) sheet->entries + i;
        uint64_t job = atomic_load_explicit(&entry->job, memory_order_relaxed);
        uint64_t rest = atomic_load_explicit(&entry->attempt_and_check, memory_order_relaxed);

        assert(i < MARK_SHEET_MAX);
        atomic_store_explicit(&entry->attempt_and_check, check_of_ended(job, (uint32_t) rest),
                memory_order_relaxed);
}

/* ---- the file ---- */

/* One more chunk, of which the file has a part already or not. 0 or -errno. */
static int add_chunk(Marks *marks) {
        off_t offset = (off_t) (HEADER_SIZE + marks->n_chunks * CHUNK_SIZE);
        MarkSheet *sheets;
        Sheet *chunk;
        int r;

        if (marks->n_chunks == CHUNKS_MAX)
                return -ENOBUFS;
        r = -posix_fallocate(marks->fd, offset, (off_t) CHUNK_SIZE);
        if (r < 0)
                return r;
        sheets = calloc(CHUNK_SHEETS, sizeof(*sheets));
        if (!sheets)
                return -ENOMEM;
        chunk = mmap(NULL, CHUNK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, marks->fd, offset);
        if (chunk == MAP_FAILED) {
                r = -errno;
                free(sheets);
                return r;
        }

        for (size_t i = 0; i < CHUNK_SHEETS; i++) {
                sheets[i].entries = chunk[i];
                list_append(&marks->free, &sheets[i].links);
        }
        marks->sheets[marks->n_chunks] = sheets;
        marks->chunks[marks->n_chunks++] = chunk;
        return 0;
}

static bool header_is_valid(const Header *header) {
        return memcmp(header->magic, MARKS_MAGIC, sizeof(header->magic)) == 0 &&
               header->version == MARKS_VERSION && header->sheet_entries == MARK_SHEET_MAX;
}

static int open_header(Marks *marks, off_t *size) {
        static const Header empty = {
                .magic = MARKS_MAGIC,
                .version = MARKS_VERSION,
                .sheet_entries = MARK_SHEET_MAX,
        };
        int r;

        r = -posix_fallocate(marks->fd, 0, HEADER_SIZE);
        if (r < 0)
                return r;
        marks->header = mmap(NULL, HEADER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, marks->fd, 0);
        if (marks->header == MAP_FAILED) {
                marks->header = NULL;
                return -errno;
        }
        if (header_is_valid(marks->header))
                return 0;
        if (*size > 0)
                log_warning("The marks of running jobs are none that this program has written: "
                            "begun anew.");
        /* The header stays allocated, as it is mapped; what is behind it goes. */
        if (ftruncate(marks->fd, HEADER_SIZE) < 0)
                return -errno;
        *marks->header = empty;
        *size = HEADER_SIZE;
        return 0;
}

int marks_open(int dir_fd, Marks **ret) {
        _cleanup_(marks_closep) Marks *marks = NULL;
        struct stat st;
        size_t n_chunks;
        int r;

        marks = malloc(sizeof(*marks));
        if (!marks)
                return -ENOMEM;
        *marks = (Marks){ .fd = -EBADF };
        list_init(&marks->free);
        (void) pthread_mutex_init(&marks->lock, NULL);

        marks->fd = openat(dir_fd, MARKS_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (marks->fd < 0)
                return -errno;
        if (fstat(marks->fd, &st) < 0)
                return -errno;
        r = open_header(marks, &st.st_size);
        if (r < 0)
                return r;

        /* A part of a chunk counts as one: what is missing of it is blank. */
        n_chunks = MAX(st.st_size - HEADER_SIZE, (off_t) 1);
        n_chunks = MIN((n_chunks + CHUNK_SIZE - 1) / CHUNK_SIZE, (size_t) CHUNKS_MAX);
        while (marks->n_chunks < n_chunks) {
                r = add_chunk(marks);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(marks);
        return 0;
}

Marks *marks_close(Marks *marks) {
        if (!marks)
                return NULL;
        for (size_t i = 0; i < marks->n_chunks; i++) {
                (void) munmap(marks->chunks[i], CHUNK_SIZE);
                free(marks->sheets[i]);
        }
        if (marks->header)
                (void) munmap(marks->header, HEADER_SIZE);
        fd_close(marks->fd);
        (void) pthread_mutex_destroy(&marks->lock);
        free(marks);
        return NULL;
}

/* ---- what is in it ---- */

static bool entry_is_blank(Entry *entry) {
        return atomic_load_explicit(&entry->job, memory_order_acquire) == 0;
}

static bool entry_read(Entry *entry, Mark *ret) {
        uint64_t job = atomic_load_explicit(&entry->job, memory_order_acquire);
        uint64_t rest = atomic_load_explicit(&entry->attempt_and_check, memory_order_relaxed);

        *ret = (Mark){
                .id = job & JOB_ID_MAX,
                .stage = (uint8_t) (job >> 58),
                .attempt = (uint32_t) rest,
                .has_ended = rest == check_of_ended(job, (uint32_t) rest),
        };
        return ret->id > 0 && (ret->has_ended || rest == check_of(job, ret->attempt));
}

static Entry *entry_at(const Marks *marks, size_t i) {
        size_t sheet = i / MARK_SHEET_MAX;

        return &marks->chunks[sheet / CHUNK_SHEETS][sheet % CHUNK_SHEETS][i % MARK_SHEET_MAX];
}

static size_t n_entries(const Marks *marks) {
        return marks->n_chunks * CHUNK_SHEETS * MARK_SHEET_MAX;
}

int marks_read(const Marks *marks, Mark **ret, size_t *ret_n) {
        _cleanup_free_ Mark *found = NULL;
        size_t n_used = 0, n = 0, n_garbage;
        Mark mark;

        for (size_t i = 0; i < n_entries(marks); i++)
                n_used += !entry_is_blank(entry_at(marks, i));
        found = calloc(MAX(n_used, (size_t) 1), sizeof(*found));
        if (!found)
                return -ENOMEM;
        for (size_t i = 0; i < n_entries(marks); i++)
                if (entry_read(entry_at(marks, i), &mark))
                        found[n++] = mark;
        n_garbage = n_used - n;
        if (n_garbage > 0)
                log_warning("%zu marks of running jobs are damaged: ignored.", n_garbage);
        *ret = TAKE_PTR(found);
        *ret_n = n;
        return 0;
}

static void blank(Entry *sheet) {
        for (size_t i = 0; i < MARK_SHEET_MAX; i++)
                if (!entry_is_blank(&sheet[i]))
                        atomic_store_explicit(&sheet[i].job, 0, memory_order_release);
}

void marks_blank(Marks *marks) {
        for (size_t i = 0; i < n_entries(marks); i++) {
                Entry *entry = entry_at(marks, i);

                if (!entry_is_blank(entry))
                        atomic_store_explicit(&entry->job, 0, memory_order_release);
        }
}

void marks_shrink(Marks *marks) {
        /* What is mapped beyond is not used any more. That it fails costs nothing but the room. */
        if (ftruncate(marks->fd, (off_t) (HEADER_SIZE + CHUNK_SIZE)) < 0)
                return;
}

uint64_t marks_id_limit(const Marks *marks) {
        const Header *header = marks->header;

        if (header->id_check != mix(header->id_limit) || header->id_limit > JOB_ID_MAX + 1)
                return 0;
        return header->id_limit;
}

int marks_set_id_limit(Marks *marks, uint64_t limit) {
        marks->header->id_limit = limit;
        marks->header->id_check = mix(limit);
        return msync(marks->header, HEADER_SIZE, MS_SYNC) < 0 ? -errno : 0;
}

/* ---- sheets ---- */

MarkSheet *marks_take(Marks *marks) {
        List *l;

        mutex_lock(&marks->lock);
        if (list_is_empty(&marks->free))
                (void) add_chunk(marks);
        l = list_pop(&marks->free);
        mutex_unlock(&marks->lock);
        return l ? list_entry(l, MarkSheet, links) : NULL;
}

void marks_give_back(Marks *marks, List *sheets) {
        if (list_is_empty(sheets))
                return;
        list_for_each (l, sheets)
                blank(list_entry(l, MarkSheet, links)->entries);
        mutex_lock(&marks->lock);
        list_splice(&marks->free, sheets);
        mutex_unlock(&marks->lock);
}
