/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Main posts changes into a list of its own; a flush moves them to the queue, and wakes the thread
 * if it sleeps. The thread takes the whole queue as one transaction, and what comes meanwhile is
 * the next: so the more there is to do, the more is done by one sync of the disk. What was decided
 * goes to the done list, and the eventfd is written when that was empty. */

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "store/store-private.h"
#include "util/fd.h"

/* ---- the thread ---- */

static bool has_work(const Store *store) {
        return !list_is_empty(&store->queue) || !list_is_empty(&store->queue_sheets) ||
               store->stops;
}

static void wait_for_work(Store *store) {
        usec_t at = usec_now(CLOCK_MONOTONIC) + store->retry_interval;
        struct timespec until = {
                .tv_sec = (time_t) (at / USEC_PER_SEC),
                .tv_nsec = (long) (at % USEC_PER_SEC) * 1000,
        };
        int r = 0;

        while (r == 0 && !has_work(store)) {
                store->sleeps = true;
                if (store->waits || atomic_load(&store->is_tight))
                        r = pthread_cond_timedwait(&store->wake, &store->lock, &until);
                else
                        r = pthread_cond_wait(&store->wake, &store->lock);
        }
        store->sleeps = false;
}

/* Moves what was decided to main, and wakes it. */
static void give_back(Store *store, List *told, bool wake) {
        uint64_t one = 1;

        (void) pthread_mutex_lock(&store->lock);
        wake |= list_is_empty(&store->done) && !list_is_empty(told);
        list_splice(&store->done, told);
        (void) pthread_mutex_unlock(&store->lock);
        /* Main reads the counter to zero each time, so it cannot overflow. */
        if (wake && write(store->fd, &one, sizeof(one)) < 0)
                assert(errno == EAGAIN);
}

/* Returns whether there is to be another round without waiting. */
static bool run_round(Store *store, bool *busy) {
        bool failed = atomic_load(&store->has_failed), stops;
        List told = LIST_INIT(told);

        (void) pthread_mutex_lock(&store->lock);
        if (!*busy)
                wait_for_work(store);
        list_splice(&store->pending, &store->queue);
        list_splice(&store->pending_sheets, &store->queue_sheets);
        stops = store->stops;
        (void) pthread_mutex_unlock(&store->lock);

        writer_commit(store, &told);
        give_back(store, &told, /* wake= */ false);
        *busy = writer_tidy(store);
        if (!failed && atomic_load(&store->has_failed))
                give_back(store, &told, /* wake= */ true);
        return !stops;
}

/* That it has failed is told also if nothing waits to be. */
static void begin(Store *store) {
        List none = LIST_INIT(none);

        writer_begin(store);
        if (atomic_load(&store->has_failed))
                give_back(store, &none, /* wake= */ true);
}

static void *store_main(void *userdata) {
        Store *store = userdata;
        bool busy = false;

        (void) pthread_setname_np(pthread_self(), "store");
        begin(store);
        while (run_round(store, &busy))
                ;
        return NULL;
}

/* ---- main ---- */

void store_post(Store *store, StoreChange *change) {
        store->n_untold++;
        list_append(&store->posted, &change->links);
}

void store_flush(Store *store) {
        bool wake;

        if (list_is_empty(&store->posted) && list_is_empty(&store->posted_sheets))
                return;
        (void) pthread_mutex_lock(&store->lock);
        list_splice(&store->queue, &store->posted);
        list_splice(&store->queue_sheets, &store->posted_sheets);
        wake = store->sleeps;
        if (wake)
                store->sleeps = false;
        (void) pthread_mutex_unlock(&store->lock);
        if (wake)
                (void) pthread_cond_signal(&store->wake);
}

void store_fail(Store *store, int r, const char *what) {
        assert(!store->has_thread);
        writer_note(store, r);
        writer_fail(store, what);
}

int store_start(Store *store) {
        int r;

        assert(!store->has_thread);
        store->stops = false;
        r = -pthread_create(&store->thread, NULL, store_main, store);
        if (r < 0) {
                List none = LIST_INIT(none);

                writer_note(store, r);
                writer_fail(store, "cannot make its thread");
                give_back(store, &none, /* wake= */ true);
                return r;
        }
        store->has_thread = true;
        return 0;
}

void store_stop(Store *store) {
        store_flush(store);
        if (!store->has_thread)
                return;
        (void) pthread_mutex_lock(&store->lock);
        store->stops = true;
        (void) pthread_mutex_unlock(&store->lock);
        (void) pthread_cond_signal(&store->wake);
        (void) pthread_join(store->thread, NULL);
        store->has_thread = false;
}

int store_fd(const Store *store) {
        return store->fd;
}

static void tell(Store *store, List *done) {
        List *l;

        while ((l = list_pop(done))) {
                StoreChange *change = list_entry(l, StoreChange, links);

                store->n_untold--;
                if (change->done)
                        change->done(change, change->r);
        }
}

void store_dispatch(Store *store) {
        List done = LIST_INIT(done);
        uint64_t n;

        (void) pthread_mutex_lock(&store->lock);
        /* Emptied under the lock: a signal that comes later is for what comes later. */
        if (read(store->fd, &n, sizeof(n)) < 0)
                assert(errno == EAGAIN);
        list_splice(&done, &store->done);
        (void) pthread_mutex_unlock(&store->lock);
        tell(store, &done);
}

bool store_is_idle(const Store *store) {
        return store->n_untold == 0;
}

bool store_has_failed(const Store *store) {
        return atomic_load(&store->has_failed);
}

bool store_has_room(const Store *store) {
        return !atomic_load(&store->is_tight);
}

/* ---- ids ---- */

uint64_t store_next_id(const Store *store) {
        return store->next_id;
}

uint64_t store_id_limit(const Store *store) {
        return store->id_limit;
}

static void on_limit_raised(StoreChange *change, int r) {
        Store *store = container_of(change, Store, id_change);

        store->raises = false;
        if (r >= 0)
                store->id_limit = store->raised_limit;
}

void store_use_ids(Store *store, uint64_t next_id) {
        if (store->raises || next_id + STORE_ID_STEP / 2 < store->id_limit ||
                store->id_limit > JOB_ID_MAX || store_has_failed(store))
                return;
        store->raises = true;
        store->raised_limit = MIN(store->id_limit + STORE_ID_STEP, (uint64_t) JOB_ID_MAX + 1);
        store->id_change = (StoreChange){ .kind = STORE_ID_LIMIT, .done = on_limit_raised };
        store_post(store, &store->id_change);
}

/* ---- marks ---- */

MarkSheet *store_take_sheet(Store *store) {
        return marks_take(store->marks);
}

void store_release_sheets(Store *store, List *sheets) {
        if (store_is_idle(store))
                marks_give_back(store->marks, sheets);
        else
                list_splice(&store->posted_sheets, sheets);
}

/* ---- the end ---- */

/* Without the thread: all that is left, also what was posted by who was told. What has no room even
 * now is told so. Returns whether all was written. */
static bool write_rest(Store *store) {
        bool all = true;

        while (!store_is_idle(store)) {
                List told = LIST_INIT(told);

                store_flush(store);
                list_splice(&store->pending, &store->queue);
                list_splice(&store->pending_sheets, &store->queue_sheets);
                writer_commit(store, &told);
                all &= list_is_empty(&store->pending);
                list_for_each (l, &store->pending)
                        list_entry(l, StoreChange, links)->r = -ENOSPC;
                list_splice(&told, &store->pending);
                list_splice(&store->done, &told);
                store_dispatch(store);
        }
        return all && !store_has_failed(store);
}

static int put_end(Store *store, void *userdata) {
        int r = 0;

        if (store->must_forget_crashed)
                r = sql_run(&store->sql, SQL_FORGET_CRASHED);
        return r < 0 ? r : writer_put_meta(store, META_CLEAN, 1);
}

/* In order: nothing is at work, and all is written. */
static void end_in_order(Store *store) {
        int r;

        r = writer_run(store, put_end, NULL);
        /* Else the close would copy the log once more, though its sync may have failed. */
        if (r < 0 && r != -ENOSPC && r != -ENOMEM)
                writer_fail(store, "cannot write that it ends");
        if (r < 0)
                return;
        marks_blank(store->marks);
        marks_shrink(store->marks);
}

Store *store_close(Store *store, bool orderly) {
        if (!store)
                return NULL;
        if (store->is_open) {
                store_stop(store);
                if (write_rest(store) && orderly)
                        end_in_order(store);
        }
        sql_close(&store->sql, store->is_open && !store_has_failed(store));
        marks_close(store->marks);
        fd_close(store->fd);
        fd_close(store->lock_fd);
        fd_close(store->dir_fd);
        (void) pthread_cond_destroy(&store->wake);
        (void) pthread_mutex_destroy(&store->lock);
        free(store->dir);
        free(store);
        return NULL;
}
