/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A file system for SQLite, over the real one, that fails when it is told to, and that remembers
 * what was written so that afterwards it can be made what a loss of power could have left at any
 * moment.
 *
 * A disk takes sectors of 512 bytes, whole or a part of it and the old rest. What was written since
 * the last sync of a file can be there or not, sector by sector and in any order; a file that was
 * deleted or created since may be there or not. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct VfsReplay VfsReplay;

typedef enum VfsOp {
        VFS_READ,
        VFS_WRITE,
        VFS_SYNC,
        VFS_TRUNCATE,
        VFS_OPEN,
        VFS_DELETE,
        _VFS_OP_MAX,
} VfsOp;

typedef enum VfsFault {
        VFS_EIO,
        VFS_ENOSPC, /* of writes alone */
} VfsFault;

/* Makes it the one that SQLite uses from now on. */
void vfs_install(void);

/* The n-th operation from now on (from 1) fails, and the n_more after it. With 0 none does. */
void vfs_fail(VfsOp op, VfsFault fault, unsigned n, unsigned n_more);

/* Nothing fails any more. Returns how often something has. */
unsigned vfs_heal(void);

/* Of syncs and writes of a file after a sync of it has failed, since vfs_fail(). */
unsigned vfs_n_after_failed_sync(void);

/* ---- what was written ---- */

void vfs_record_begin(void);
void vfs_record_note(unsigned kind, unsigned value); /* into what is recorded */
void vfs_record_end(void);
void vfs_record_clear(void);

/* Goes through what was recorded, from one sync to the next. */
VfsReplay *vfs_replay_new(void);
VfsReplay *vfs_replay_free(VfsReplay *replay);

#define VFS_NOTES 4

/* The next moment: just before a sync, or after all. False: there is no more. notes[kind] is the
 * last value that was noted before it. */
bool vfs_replay_next(VfsReplay *replay, unsigned notes[static VFS_NOTES]);

/* Into the directory, of which only the names of files matter, what a loss of power might leave. */
void vfs_replay_write(const VfsReplay *replay, const char *dir, uint64_t *random);
