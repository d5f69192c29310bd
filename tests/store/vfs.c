/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "vfs.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "test.h"
#include "util/macro.h"

#define SECTOR ((size_t) 512)
#define FILES_MAX 8

typedef struct Record {
        enum {
                RECORD_WRITE,
                RECORD_TRUNCATE,
                RECORD_SYNC,
                RECORD_SYNC_DIR,
                RECORD_OPEN,
                RECORD_DELETE,
                RECORD_NOTE
        } kind;
        unsigned file, value;
        size_t offset, size;
        uint8_t *data; /* owned */
} Record;

typedef struct VfsFile {
        sqlite3_file base;
        unsigned number; /* of its name */
        bool is_new;     /* its first sync is one of its directory as well */
        bool sync_failed;
        sqlite3_file *real; /* in the memory behind */
} VfsFile;

static struct {
        pthread_mutex_t lock; /* guards all of it but real */
        sqlite3_vfs *real;

        VfsOp op;
        VfsFault fault;
        unsigned n_left, n_more; /* until the first, and after it */
        unsigned n_failed, n_after_failed_sync;

        char *names[FILES_MAX]; /* owned; base names of all files there have been */
        bool records;
        Record *log; /* owned */
        size_t n_records, room;
} vfs = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- faults ---- */

static bool fails(VfsOp op) {
        bool yes = false;

        (void) pthread_mutex_lock(&vfs.lock);
        if (vfs.op == op && vfs.n_left > 0) {
                vfs.n_left--;
                if (vfs.n_left == 0) {
                        yes = true;
                        vfs.n_failed++;
                        if (vfs.n_more > 0) {
                                vfs.n_more--;
                                vfs.n_left = 1;
                        }
                }
        }
        (void) pthread_mutex_unlock(&vfs.lock);
        return yes;
}

void vfs_fail(VfsOp op, VfsFault fault, unsigned n, unsigned n_more) {
        (void) pthread_mutex_lock(&vfs.lock);
        vfs.op = op;
        vfs.fault = fault;
        vfs.n_left = n;
        vfs.n_more = n_more;
        vfs.n_failed = vfs.n_after_failed_sync = 0;
        (void) pthread_mutex_unlock(&vfs.lock);
}

unsigned vfs_heal(void) {
        unsigned n;

        (void) pthread_mutex_lock(&vfs.lock);
        vfs.n_left = vfs.n_more = 0;
        n = vfs.n_failed;
        (void) pthread_mutex_unlock(&vfs.lock);
        return n;
}

unsigned vfs_n_after_failed_sync(void) {
        return vfs.n_after_failed_sync;
}

/* ---- recording ---- */

static void record(Record r, const void *data) {
        (void) pthread_mutex_lock(&vfs.lock);
        if (vfs.records) {
                if (vfs.n_records == vfs.room) {
                        vfs.room = MAX(vfs.room * 2, (size_t) 64);
                        vfs.log = realloc(vfs.log, vfs.room * sizeof(*vfs.log));
                        assert_non_null(vfs.log);
                }
                if (data) {
                        r.data = malloc(r.size);
                        assert_non_null(r.data);
                        memcpy(r.data, data, r.size);
                }
                vfs.log[vfs.n_records++] = r;
        }
        (void) pthread_mutex_unlock(&vfs.lock);
}

void vfs_record_clear(void) {
        for (size_t i = 0; i < vfs.n_records; i++)
                free(vfs.log[i].data);
        free(vfs.log);
        vfs.log = NULL;
        vfs.n_records = vfs.room = 0;
        vfs.records = false;
        for (size_t i = 0; i < FILES_MAX; i++) {
                free(vfs.names[i]);
                vfs.names[i] = NULL;
        }
}

void vfs_record_begin(void) {
        vfs_record_clear();
        vfs.records = true;
}

void vfs_record_end(void) {
        vfs.records = false;
}

void vfs_record_note(unsigned kind, unsigned value) {
        record((Record){ .kind = RECORD_NOTE, .file = kind, .value = value }, NULL);
}

static unsigned number_of(const char *path) {
        const char *name = strrchr(path, '/');
        unsigned i;

        name = name ? name + 1 : path;
        (void) pthread_mutex_lock(&vfs.lock);
        for (i = 0; i < FILES_MAX && vfs.names[i] && strcmp(vfs.names[i], name) != 0; i++)
                ;
        assert_in_range(i, 0, FILES_MAX - 1);
        if (!vfs.names[i])
                vfs.names[i] = strdup(name);
        (void) pthread_mutex_unlock(&vfs.lock);
        return i;
}

/* ---- the methods of a file ---- */

static VfsFile *vfs_file(sqlite3_file *file) {
        return (VfsFile *) (void *) file;
}

static sqlite3_file *real(sqlite3_file *file) {
        return vfs_file(file)->real;
}

static int file_close(sqlite3_file *file) {
        return real(file)->pMethods->xClose(real(file));
}

static int file_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset) {
        if (fails(VFS_READ))
                return SQLITE_IOERR_READ;
        return real(file)->pMethods->xRead(real(file), data, size, offset);
}

static void note_after_failed_sync(sqlite3_file *file) {
        if (vfs_file(file)->sync_failed)
                vfs.n_after_failed_sync++;
}

static int file_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset) {
        note_after_failed_sync(file);
        if (fails(VFS_WRITE)) {
                /* A part of it comes through. */
                (void) real(file)->pMethods->xWrite(real(file), data, size / 2, offset);
                return vfs.fault == VFS_ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        }
        record((Record){ .kind = RECORD_WRITE,
                       .file = vfs_file(file)->number,
                       .offset = (size_t) offset,
                       .size = (size_t) size },
                data);
        return real(file)->pMethods->xWrite(real(file), data, size, offset);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
        note_after_failed_sync(file);
        if (fails(VFS_TRUNCATE))
                return SQLITE_IOERR_TRUNCATE;
        record((Record){ .kind = RECORD_TRUNCATE,
                       .file = vfs_file(file)->number,
                       .size = (size_t) size },
                NULL);
        return real(file)->pMethods->xTruncate(real(file), size);
}

/* The real one is left out: it is slow, and nothing here loses power. */
static int file_sync(sqlite3_file *file, int flags) {
        note_after_failed_sync(file);
        if (fails(VFS_SYNC)) {
                vfs_file(file)->sync_failed = true;
                return SQLITE_IOERR_FSYNC;
        }
        record((Record){ .kind = RECORD_SYNC, .file = vfs_file(file)->number }, NULL);
        if (vfs_file(file)->is_new)
                record((Record){ .kind = RECORD_SYNC_DIR }, NULL);
        vfs_file(file)->is_new = false;
        return SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret) {
        return real(file)->pMethods->xFileSize(real(file), ret);
}

static int file_lock(sqlite3_file *file, int level) {
        return real(file)->pMethods->xLock(real(file), level);
}

static int file_unlock(sqlite3_file *file, int level) {
        return real(file)->pMethods->xUnlock(real(file), level);
}

static int file_check_lock(sqlite3_file *file, int *ret) {
        return real(file)->pMethods->xCheckReservedLock(real(file), ret);
}

static int file_control(sqlite3_file *file, int op, void *argument) {
        return real(file)->pMethods->xFileControl(real(file), op, argument);
}

static int file_sector_size(sqlite3_file *file) {
        return real(file)->pMethods->xSectorSize(real(file));
}

static int file_characteristics(sqlite3_file *file) {
        return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

/* Version 1: there is no shared memory, so whoever wants it fails. */
static const sqlite3_io_methods file_methods = {
        .iVersion = 1,
        .xClose = file_close,
        .xRead = file_read,
        .xWrite = file_write,
        .xTruncate = file_truncate,
        .xSync = file_sync,
        .xFileSize = file_size,
        .xLock = file_lock,
        .xUnlock = file_unlock,
        .xCheckReservedLock = file_check_lock,
        .xFileControl = file_control,
        .xSectorSize = file_sector_size,
        .xDeviceCharacteristics = file_characteristics,
};

/* ---- the methods of the file system ---- */

static int vfs_open(
        sqlite3_vfs *self, sqlite3_filename path, sqlite3_file *file, int flags, int *ret_flags) {
        VfsFile *f = vfs_file(file);
        int code;

        *f = (VfsFile){ .real = (sqlite3_file *) (void *) (f + 1) };
        if (fails(VFS_OPEN))
                return SQLITE_CANTOPEN;
        assert_non_null(path);
        code = vfs.real->xOpen(vfs.real, path, f->real, flags, ret_flags);
        if (code != SQLITE_OK)
                return code;
        f->number = number_of(path);
        /* As SQLite has it on Unix. */
        f->is_new = (flags & SQLITE_OPEN_CREATE) &&
                    (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL));
        f->base.pMethods = &file_methods;
        record((Record){ .kind = RECORD_OPEN, .file = f->number }, NULL);
        return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *self, const char *path, int sync) {
        if (fails(VFS_DELETE))
                return SQLITE_IOERR_DELETE;
        record((Record){ .kind = RECORD_DELETE, .file = number_of(path) }, NULL);
        if (sync)
                record((Record){ .kind = RECORD_SYNC_DIR }, NULL);
        return vfs.real->xDelete(vfs.real, path, /* sync= */ 0);
}

static int vfs_access(sqlite3_vfs *self, const char *path, int flags, int *ret) {
        return vfs.real->xAccess(vfs.real, path, flags, ret);
}

static int vfs_full_path(sqlite3_vfs *self, const char *path, int size, char *ret) {
        return vfs.real->xFullPathname(vfs.real, path, size, ret);
}

static int vfs_randomness(sqlite3_vfs *self, int size, char *ret) {
        return vfs.real->xRandomness(vfs.real, size, ret);
}

static int vfs_sleep(sqlite3_vfs *self, int usec) {
        return vfs.real->xSleep(vfs.real, usec);
}

static int vfs_time(sqlite3_vfs *self, double *ret) {
        return vfs.real->xCurrentTime(vfs.real, ret);
}

static int vfs_last_error(sqlite3_vfs *self, int size, char *ret) {
        return vfs.real->xGetLastError(vfs.real, size, ret);
}

void vfs_install(void) {
        static sqlite3_vfs methods = {
                .iVersion = 1,
                .zName = "test",
                .xOpen = vfs_open,
                .xDelete = vfs_delete,
                .xAccess = vfs_access,
                .xFullPathname = vfs_full_path,
                .xRandomness = vfs_randomness,
                .xSleep = vfs_sleep,
                .xCurrentTime = vfs_time,
                .xGetLastError = vfs_last_error,
        };

        if (vfs.real)
                return;
        vfs.real = sqlite3_vfs_find(NULL);
        assert_non_null(vfs.real);
        methods.szOsFile = (int) sizeof(VfsFile) + vfs.real->szOsFile;
        methods.mxPathname = vfs.real->mxPathname;
        assert_int_equal(sqlite3_vfs_register(&methods, /* default= */ 1), SQLITE_OK);
}

/* ---- what a loss of power leaves ---- */

typedef struct Content {
        uint8_t *data; /* owned */
        size_t size, room;
} Content;

typedef struct Disk {
        bool is_there, was_there; /* as its directory will say, and as it said on the disk */
        Content content, before;  /* on the disk; and of the file that had the name before */
        size_t *pending;          /* owned; records since the last sync */
        size_t n_pending, room;
} Disk;

struct VfsReplay {
        Disk disks[FILES_MAX];
        size_t i; /* the next record */
        unsigned notes[VFS_NOTES];
        bool ended;
};

static void content_resize(Content *c, size_t size) {
        if (size > c->room) {
                c->room = MAX(size, c->room * 2);
                c->data = realloc(c->data, c->room);
                assert_non_null(c->data);
        }
        if (size > c->size)
                memset(c->data + c->size, 0, size - c->size);
        c->size = size;
}

static void content_write(Content *c, size_t offset, const uint8_t *data, size_t size) {
        if (offset + size > c->size)
                content_resize(c, offset + size);
        memcpy(c->data + offset, data, size);
}

static void content_copy(Content *to, const Content *from) {
        content_resize(to, from->size);
        if (from->size > 0)
                memcpy(to->data, from->data, from->size);
}

static void content_done(Content *c) {
        free(c->data);
        *c = (Content){};
}

static void apply(Content *c, const Record *r) {
        if (r->kind == RECORD_TRUNCATE)
                content_resize(c, r->size);
        else
                content_write(c, r->offset, r->data, r->size);
}

static void disk_sync(Disk *disk) {
        for (size_t i = 0; i < disk->n_pending; i++)
                apply(&disk->content, &vfs.log[disk->pending[i]]);
        disk->n_pending = 0;
}

static void sync_dir(VfsReplay *replay) {
        for (size_t i = 0; i < FILES_MAX; i++) {
                Disk *disk = &replay->disks[i];

                disk->was_there = disk->is_there;
                content_done(&disk->before);
        }
}

static void disk_add(Disk *disk, size_t i) {
        if (disk->n_pending == disk->room) {
                disk->room = MAX(disk->room * 2, (size_t) 64);
                disk->pending = realloc(disk->pending, disk->room * sizeof(*disk->pending));
                assert_non_null(disk->pending);
        }
        disk->pending[disk->n_pending++] = i;
}

static void disk_open(Disk *disk) {
        disk->is_there = true;
}

static void disk_delete(Disk *disk) {
        content_done(&disk->before);
        disk->before = disk->content;
        disk->content = (Content){};
        disk->n_pending = 0;
        disk->is_there = false;
}

VfsReplay *vfs_replay_new(void) {
        VfsReplay *replay = calloc(1, sizeof(*replay));

        assert_non_null(replay);
        return replay;
}

VfsReplay *vfs_replay_free(VfsReplay *replay) {
        if (!replay)
                return NULL;
        for (size_t i = 0; i < FILES_MAX; i++) {
                content_done(&replay->disks[i].content);
                content_done(&replay->disks[i].before);
                free(replay->disks[i].pending);
        }
        free(replay);
        return NULL;
}

static bool replay_one(VfsReplay *replay) {
        const Record *r = &vfs.log[replay->i];

        switch (r->kind) {

        case RECORD_WRITE:
        case RECORD_TRUNCATE:
                disk_add(&replay->disks[r->file], replay->i);
                break;

        case RECORD_SYNC:
                disk_sync(&replay->disks[r->file]);
                break;

        case RECORD_SYNC_DIR:
                sync_dir(replay);
                break;

        case RECORD_OPEN:
                disk_open(&replay->disks[r->file]);
                break;

        case RECORD_DELETE:
                disk_delete(&replay->disks[r->file]);
                break;

        case RECORD_NOTE:
                replay->notes[r->file] = r->value;
                break;
        }
        replay->i++;
        return replay->i < vfs.n_records && vfs.log[replay->i].kind == RECORD_SYNC;
}

bool vfs_replay_next(VfsReplay *replay, unsigned notes[static VFS_NOTES]) {
        if (replay->ended)
                return false;
        while (replay->i < vfs.n_records && !replay_one(replay))
                ;
        replay->ended = replay->i == vfs.n_records;
        memcpy(notes, replay->notes, sizeof(replay->notes));
        return true;
}

typedef enum Loss {
        LOSS_NONE,    /* all was written */
        LOSS_ALL,     /* nothing was */
        LOSS_LATE,    /* what came after some moment is lost */
        LOSS_SECTORS, /* some sectors are */
        LOSS_TEARS,   /* and of some a part */
        _LOSS_MAX,
} Loss;

static void lose_some(Content *c, const Record *r, bool tears, uint64_t *random) {
        size_t end = r->offset + r->size;

        for (size_t at = r->offset, next; at < end; at = next) {
                size_t size;

                next = MIN((at / SECTOR + 1) * SECTOR, end);
                size = next - at;
                if (random_below(random, 2) == 0)
                        continue;
                if (tears && random_below(random, 4) == 0)
                        size = (size_t) random_below(random, size);
                if (size > 0)
                        content_write(c, at, r->data + (at - r->offset), size);
        }
}

static void write_file(const char *dir, const char *name, const Content *c) {
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -EBADF;

        assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        for (size_t at = 0; at < c->size;) {
                ssize_t n = write(fd, c->data + at, c->size - at);

                assert_true(n > 0);
                at += (size_t) n;
        }
}

static void write_disk(const Disk *disk, const char *dir, const char *name, uint64_t *random) {
        Loss loss = (Loss) random_below(random, _LOSS_MAX);
        size_t n = (size_t) random_below(random, disk->n_pending + 1);
        Content c = {};

        /* The directory as it is on the disk may still say what it said before. */
        if (disk->is_there != disk->was_there || disk->before.size > 0) {
                if (random_below(random, 2) == 0) {
                        if (disk->was_there)
                                write_file(dir, name,
                                        disk->before.size > 0 ? &disk->before : &disk->content);
                        return;
                }
        }
        if (!disk->is_there)
                return;
        content_copy(&c, &disk->content);
        for (size_t i = 0; i < disk->n_pending; i++) {
                const Record *r = &vfs.log[disk->pending[i]];

                if (loss == LOSS_ALL || (loss == LOSS_LATE && i >= n))
                        break;
                if (loss == LOSS_NONE || loss == LOSS_LATE)
                        apply(&c, r);
                else if (r->kind == RECORD_WRITE)
                        lose_some(&c, r, loss == LOSS_TEARS, random);
                else if (random_below(random, 2) == 0)
                        apply(&c, r);
        }
        write_file(dir, name, &c);
        content_done(&c);
}

void vfs_replay_write(const VfsReplay *replay, const char *dir, uint64_t *random) {
        for (size_t i = 0; i < FILES_MAX && vfs.names[i]; i++)
                write_disk(&replay->disks[i], dir, vfs.names[i], random);
}
