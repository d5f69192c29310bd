/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <sys/eventfd.h>

#include "engine/mailbox.h"
#include "util/fd.h"
#include "util/mutex.h"

/* Unread things after which main is woken though nothing is urgent: enough to make the wake-up
 * cheap per job, few enough to be handled without a hiccup. */
#define MANY 256

void mail_init(Mail *mail) {
        *mail = (Mail){};
        mail->jobs_end = &mail->jobs;
        mail->passing_end = &mail->passing;
        mail->waits_end = &mail->waits;
        list_init(&mail->sheets);
        list_init(&mail->submissions);
        list_init(&mail->notes);
        list_init(&mail->gone);
}

void mail_add_job(Mail *mail, Job *job) {
        job->next = NULL;
        *mail->jobs_end = job;
        mail->jobs_end = &job->next;
        mail->n++;
}

void mail_add_passing(Mail *mail, Job *job) {
        job->next = NULL;
        *mail->passing_end = job;
        mail->passing_end = &job->next;
        mail->n++;
}

void mail_add_wait(Mail *mail, JobDetails *details) {
        details->told_next = NULL;
        *mail->waits_end = details;
        mail->waits_end = &details->told_next;
        mail->n++;
}

void mail_add_sheets(Mail *mail, List *sheets) {
        if (list_is_empty(sheets))
                return;
        list_splice(&mail->sheets, sheets);
        mail->n++;
}

void mail_append(Mail *mail, Mail *from) {
        if (from->jobs) {
                *mail->jobs_end = from->jobs;
                mail->jobs_end = from->jobs_end;
        }
        if (from->passing) {
                *mail->passing_end = from->passing;
                mail->passing_end = from->passing_end;
        }
        if (from->waits) {
                *mail->waits_end = from->waits;
                mail->waits_end = from->waits_end;
        }
        list_splice(&mail->sheets, &from->sheets);
        list_splice(&mail->submissions, &from->submissions);
        list_splice(&mail->notes, &from->notes);
        list_splice(&mail->gone, &from->gone);
        mail->room |= from->room;
        mail->n += from->n;
        mail_init(from);
}

int mailbox_init(Mailbox *mailbox) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        if (fd < 0)
                return -errno;
        *mailbox = (Mailbox){ .fd = fd };
        mail_init(&mailbox->mail);
        (void) pthread_mutex_init(&mailbox->lock, NULL);
        return 0;
}

void mailbox_done(Mailbox *mailbox) {
        mailbox->fd = fd_close(mailbox->fd);
        (void) pthread_mutex_destroy(&mailbox->lock);
}

void mailbox_wake(Mailbox *mailbox) {
        uint64_t one = 1;

        /* Main reads the counter to zero each time, so it cannot overflow. */
        if (write(mailbox->fd, &one, sizeof(one)) < 0)
                assert(errno == EAGAIN);
}

bool mailbox_post(Mailbox *mailbox, Mail *mail, bool urgent) {
        bool wake;

        if (mail_is_empty(mail))
                return false;
        mutex_lock(&mailbox->lock);
        mail_append(&mailbox->mail, mail);
        atomic_store_explicit(&mailbox->n, mailbox->mail.n, memory_order_release);
        wake = (urgent || mailbox->mail.n >= MANY) && !mailbox->signalled;
        if (wake)
                mailbox->signalled = true;
        mutex_unlock(&mailbox->lock);
        return wake;
}

void mailbox_signal(Mailbox *mailbox) {
        bool wake;

        if (mailbox_is_empty(mailbox))
                return;
        mutex_lock(&mailbox->lock);
        wake = mailbox->mail.n > 0 && !mailbox->signalled;
        if (wake)
                mailbox->signalled = true;
        mutex_unlock(&mailbox->lock);
        if (wake)
                mailbox_wake(mailbox);
}

void mailbox_take(Mailbox *mailbox, Mail *ret, bool seen) {
        uint64_t n;

        mail_init(ret);
        mutex_lock(&mailbox->lock);
        /* Emptied under the lock: a signal that comes later is for mail that comes later. */
        if (seen && read(mailbox->fd, &n, sizeof(n)) < 0)
                assert(errno == EAGAIN);
        if (seen)
                mailbox->signalled = false;
        mailbox->by_main = false;
        mail_append(ret, &mailbox->mail);
        atomic_store_explicit(&mailbox->n, 0, memory_order_release);
        mutex_unlock(&mailbox->lock);
}
