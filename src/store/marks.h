/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Marks: which jobs are at work, in a file that is mapped into the memory of whoever marks. What a
 * killed daemon has left there the next one reads, and trusts in nothing: each mark has a check
 * word. The file also holds the limit of ids, so that this outlives the database. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"
#include "util/list.h"

typedef struct Mark Mark;
typedef struct Marks Marks;

struct Mark {
        uint64_t id;
        uint8_t stage;
        uint32_t attempt;
        bool has_ended; /* see mark_ended() */
};

/* Opens the file `running` of the directory, or makes it. One that is none, or of another version,
 * is begun anew, and that is logged. */
int marks_open(int dir_fd, Marks **ret);
Marks *marks_close(Marks *marks); /* returns NULL */
DEFINE_CLEANUP(Marks *, marks_close)

/* All marks that are whole. malloc()ed, the caller's. 0 or -ENOMEM. */
int marks_read(const Marks *marks, Mark **ret, size_t *ret_n);
void marks_blank(Marks *marks); /* all of them; no sheet is in use */

/* Gives back what the file has grown by. After marks_blank(), as the last thing. */
void marks_shrink(Marks *marks);

uint64_t marks_id_limit(const Marks *marks);          /* 0 = unknown */
int marks_set_id_limit(Marks *marks, uint64_t limit); /* on the disk when it returns; 0 or -errno */

MarkSheet *marks_take(Marks *marks);              /* any thread */
void marks_give_back(Marks *marks, List *sheets); /* any thread; blanks them */
