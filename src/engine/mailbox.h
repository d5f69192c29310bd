/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Mailbox: what workers tell the main thread. Posted by any thread, read whole by the main thread.
 * Main is woken by an eventfd, written only from not signalled to signalled. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/job.h"
#include "util/list.h"

typedef struct Mail Mail;
typedef struct Mailbox Mailbox;
typedef struct StartNote StartNote;

/* What a worker has to tell after one turn, and what is waiting in the mailbox. */
struct Mail {
        Job *jobs;                   /* finished jobs in order of their end, linked by next, … */
        Job **jobs_end;              /* … and where the next one goes */
        Job *passing, **passing_end; /* the same of jobs that go to the next stage of a pipeline */
        List submissions; /* bulk calls of which every job has ended, by Submission.mail */
        List notes;       /* jobs that were started, by StartNote.links */
        JobDetails *waits, **waits_end; /* of durable jobs that wait for another attempt, linked by
                                           told_next */
        List sheets; /* MarkSheet.links: what they say is told by now, or comes with this */
        List gone;   /* workers that have left, by Worker.links */
        bool room;   /* a submit that waits for room can be served */
        size_t n;    /* things in it */
};

/* A job was started, and somebody wants to know. */
struct StartNote {
        List links;
        uint64_t id;
        uint32_t owner;
        bool notify;
        Submission *submission; /* borrowed */
        void *pool;             /* borrowed */
};

struct Mailbox {
        pthread_mutex_t lock; /* guards mail and signalled; a leaf: nothing is taken under it */
        Mail mail;
        bool signalled;   /* the eventfd was written since the last time that all was taken */
        _Atomic size_t n; /* mail.n, to see without the lock whether there is something */
        int fd;           /* owned: eventfd; written by any thread, read by main only */
        bool by_main;     /* main only: it has posted something itself since it read last */
};

void mail_init(Mail *mail);
void mail_add_job(Mail *mail, Job *job);
void mail_add_passing(Mail *mail, Job *job);
void mail_add_wait(Mail *mail, JobDetails *details); /* of one that is not in any mail */
void mail_add_sheets(Mail *mail, List *sheets);
void mail_append(Mail *mail, Mail *from); /* moves all of `from` to the end */

static inline bool mail_is_empty(const Mail *mail) {
        return mail->n == 0;
}

int mailbox_init(Mailbox *mailbox); /* 0 or -errno */
void mailbox_done(Mailbox *mailbox);

/* Moves `mail` in. True if main is to be woken for it, by mailbox_wake(): it is `urgent`, or a good
 * many things wait. Jobs of a bulk call are posted under the pool's lock, so that no other worker
 * can post the end of the whole call before. */
bool mailbox_post(Mailbox *mailbox, Mail *mail, bool urgent);
void mailbox_wake(Mailbox *mailbox);

void mailbox_signal(
        Mailbox *mailbox); /* wakes main if there is something that it was not woken for */

/* Takes everything out. Main thread. `seen` says that the eventfd is readable and is to be emptied.
 */
void mailbox_take(Mailbox *mailbox, Mail *ret, bool seen);

static inline bool mailbox_is_empty(const Mailbox *mailbox) {
        return atomic_load_explicit(&mailbox->n, memory_order_acquire) == 0;
}
