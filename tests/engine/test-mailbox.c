/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "test.h"

#include <poll.h>
#include <pthread.h>

#include "engine/mailbox.h"
#include "util/macro.h"

#define POSTERS 3
#define POSTS 20000

static bool is_readable(const Mailbox *mailbox) {
        struct pollfd fd = { .fd = mailbox->fd, .events = POLLIN };

        return poll(&fd, 1, 0) == 1;
}

static bool post(Mailbox *mailbox, Job *job, bool urgent) {
        Mail mail;
        bool wake;

        mail_init(&mail);
        mail_add_job(&mail, job);
        wake = mailbox_post(mailbox, &mail, urgent);
        assert_true(mail_is_empty(&mail));
        return wake;
}

static void main_is_woken_for_what_is_urgent_and_only_once(void **state) {
        Job jobs[4] = {};
        Mailbox mailbox;
        Mail mail;

        assert_int_equal(mailbox_init(&mailbox), 0);
        assert_true(mailbox_is_empty(&mailbox));
        assert_false(post(&mailbox, &jobs[0], false));
        assert_false(mailbox_is_empty(&mailbox));
        assert_true(post(&mailbox, &jobs[1], true));
        mailbox_wake(&mailbox);
        assert_false(post(&mailbox, &jobs[2], true));
        mailbox_signal(&mailbox);
        assert_true(is_readable(&mailbox));

        /* Looked at in passing: the wake-up is still to come, so another one is not needed. */
        mailbox_take(&mailbox, &mail, /* seen= */ false);
        assert_int_equal(mail.n, 3);
        assert_ptr_equal(mail.jobs, &jobs[0]);
        assert_ptr_equal(jobs[0].next, &jobs[1]);
        assert_ptr_equal(jobs[1].next, &jobs[2]);
        assert_null(jobs[2].next);
        assert_true(mailbox_is_empty(&mailbox));
        assert_false(post(&mailbox, &jobs[3], true));

        assert_true(is_readable(&mailbox));
        mailbox_take(&mailbox, &mail, /* seen= */ true);
        assert_int_equal(mail.n, 1);
        assert_ptr_equal(mail.jobs, &jobs[3]);
        assert_false(is_readable(&mailbox));
        assert_true(post(&mailbox, &jobs[0], true));
        mailbox_done(&mailbox);
}

static void a_worker_that_goes_idle_signals_what_is_left(void **state) {
        Mailbox mailbox;
        Job job = {};
        Mail mail;

        assert_int_equal(mailbox_init(&mailbox), 0);
        mailbox_signal(&mailbox);
        assert_false(is_readable(&mailbox));
        assert_false(post(&mailbox, &job, false));
        assert_false(is_readable(&mailbox));
        mailbox_signal(&mailbox);
        assert_true(is_readable(&mailbox));
        mailbox_take(&mailbox, &mail, /* seen= */ true);
        assert_int_equal(mail.n, 1);
        mailbox_done(&mailbox);
}

static void many_things_are_worth_a_wake_up(void **state) {
        static Job jobs[1000];
        unsigned n_wakes = 0, first = 0;
        Mailbox mailbox;

        assert_int_equal(mailbox_init(&mailbox), 0);
        for (unsigned i = 0; i < ELEMENTSOF(jobs); i++)
                if (post(&mailbox, &jobs[i], false)) {
                        n_wakes++;
                        first = i;
                }
        assert_int_equal(n_wakes, 1);
        assert_in_range(first, 100, 999);
        mailbox_done(&mailbox);
}

static void an_empty_mail_is_not_posted(void **state) {
        Mailbox mailbox;
        Mail mail;

        assert_int_equal(mailbox_init(&mailbox), 0);
        mail_init(&mail);
        assert_false(mailbox_post(&mailbox, &mail, /* urgent= */ true));
        assert_true(mailbox_is_empty(&mailbox));
        mailbox_done(&mailbox);
}

static void lists_of_all_kinds_arrive_in_order(void **state) {
        Submission submissions[2] = {};
        StartNote notes[2] = {};
        List gone[2];
        Mailbox mailbox;
        Mail mail;

        assert_int_equal(mailbox_init(&mailbox), 0);
        for (int i = 0; i < 2; i++) {
                mail_init(&mail);
                list_append(&mail.submissions, &submissions[i].mail);
                list_append(&mail.notes, &notes[i].links);
                list_append(&mail.gone, &gone[i]);
                mail.n = 3;
                (void) mailbox_post(&mailbox, &mail, false);
        }
        mailbox_take(&mailbox, &mail, false);
        assert_int_equal(mail.n, 6);
        for (int i = 0; i < 2; i++) {
                assert_ptr_equal(list_pop(&mail.submissions), &submissions[i].mail);
                assert_ptr_equal(list_pop(&mail.notes), &notes[i].links);
                assert_ptr_equal(list_pop(&mail.gone), &gone[i]);
        }
        assert_true(list_is_empty(&mail.submissions) && list_is_empty(&mail.notes) &&
                    list_is_empty(&mail.gone));
        mailbox_done(&mailbox);
}

typedef struct Poster {
        Mailbox *mailbox;
        pthread_t thread;
        Job *jobs; /* ids ascend; priority names the poster */
} Poster;

static void *poster_main(void *userdata) {
        Poster *poster = userdata;

        for (unsigned i = 0; i < POSTS; i++) {
                Mail mail;

                mail_init(&mail);
                mail_add_job(&mail, &poster->jobs[i]);
                if (mailbox_post(poster->mailbox, &mail, i % 5 == 0))
                        mailbox_wake(poster->mailbox);
                else if (i % 7 == 0)
                        mailbox_signal(poster->mailbox);
        }
        mailbox_signal(poster->mailbox);
        return NULL;
}

/* The reader sleeps whenever there is no signal: it would for ever, were one lost. */
static void nothing_is_lost_among_threads(void **state) {
        Poster posters[POSTERS] = {};
        uint64_t last[POSTERS] = {};
        unsigned n = 0, n_looks = 0;
        Mailbox mailbox;

        assert_int_equal(mailbox_init(&mailbox), 0);
        for (unsigned p = 0; p < POSTERS; p++) {
                posters[p].mailbox = &mailbox;
                posters[p].jobs = calloc(POSTS, sizeof(Job));
                assert_non_null(posters[p].jobs);
                for (unsigned i = 0; i < POSTS; i++)
                        posters[p].jobs[i] = (Job){ .id = i + 1, .priority = (int16_t) p };
                assert_int_equal(
                        pthread_create(&posters[p].thread, NULL, poster_main, &posters[p]), 0);
        }
        while (n < POSTERS * POSTS) {
                struct pollfd fd = { .fd = mailbox.fd, .events = POLLIN };
                bool seen = n_looks++ % 3 != 0;
                Mail mail;

                if (seen)
                        assert_int_equal(poll(&fd, 1, 60000), 1);
                mailbox_take(&mailbox, &mail, seen);
                for (Job *job = mail.jobs; job; job = job->next) {
                        assert_true(job->id > last[job->priority]);
                        last[job->priority] = job->id;
                        n++;
                }
        }
        for (unsigned p = 0; p < POSTERS; p++) {
                assert_int_equal(pthread_join(posters[p].thread, NULL), 0);
                assert_int_equal(last[p], POSTS);
                free(posters[p].jobs);
        }
        mailbox_done(&mailbox);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(main_is_woken_for_what_is_urgent_and_only_once),
                cmocka_unit_test(a_worker_that_goes_idle_signals_what_is_left),
                cmocka_unit_test(many_things_are_worth_a_wake_up),
                cmocka_unit_test(an_empty_mail_is_not_posted),
                cmocka_unit_test(lists_of_all_kinds_arrive_in_order),
                cmocka_unit_test(nothing_is_lost_among_threads),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
