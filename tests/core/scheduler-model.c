/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "core/scheduler-model.h"

static uint32_t owner_of(const Model *m, const ModelJob *job) {
        return m->fair ? job->owner : 0;
}

static bool comes_before(const Model *m, const ModelJob *a, const ModelJob *b) {
        __int128 ka = -a->priority, kb = -b->priority;

        if (m->aging_interval != USEC_INFINITY) {
                ka = ka * m->aging_interval + a->due_at;
                kb = kb * m->aging_interval + b->due_at;
        }
        return ka != kb ? ka < kb : a->id < b->id;
}

static bool has_queued(const Model *m, uint32_t owner) {
        for (size_t i = 0; i < m->n_jobs; i++)
                if (m->jobs[i].place == MODEL_QUEUED && owner_of(m, &m->jobs[i]) == owner)
                        return true;
        return false;
}

static void leave_turns(Model *m, uint32_t owner) {
        size_t kept = 0;

        for (size_t i = 0; i < m->n_turns; i++)
                if (m->turns[i] != owner)
                        m->turns[kept++] = m->turns[i];
        m->n_turns = kept;
}

/* Who has nothing queued leaves the round; who has, and is not in it, joins at its end. */
static void update_turns(Model *m, uint32_t owner) {
        if (!has_queued(m, owner)) {
                leave_turns(m, owner);
                return;
        }
        for (size_t i = 0; i < m->n_turns; i++)
                if (m->turns[i] == owner)
                        return;
        assert(m->n_turns < MODEL_OWNERS_MAX);
        m->turns[m->n_turns++] = owner;
}

static void move(Model *m, ModelJob *job, ModelPlace place) {
        job->place = place;
        update_turns(m, owner_of(m, job));
}

static void end(Model *m, ModelJob *job, JobResult result) {
        job->result = result;
        move(m, job, MODEL_FINISHED);
}

size_t model_count(const Model *m, ModelPlace place) {
        size_t n = 0;

        for (size_t i = 0; i < m->n_jobs; i++)
                n += m->jobs[i].place == place;
        return n;
}

bool model_admits(Model *m, uint64_t n) {
        size_t n_waiting = model_count(m, MODEL_SCHEDULED) + model_count(m, MODEL_QUEUED) +
                           model_count(m, MODEL_CLAIMED);

        if (!m->draining && n_waiting + n <= m->queue_max)
                return true;
        m->n_rejected += n;
        return false;
}

ModelJob *model_submit(
        Model *m, const ModelJob *job, usec_t now, usec_t delay, usec_t queue_timeout) {
        ModelJob *new = &m->jobs[m->n_jobs++];

        if (now > m->latest)
                m->latest = now;
        *new = *job;
        new->due_at = m->latest + delay;
        new->expires_at = queue_timeout == USEC_INFINITY ? USEC_INFINITY : now + queue_timeout;
        move(m, new, delay > 0 ? MODEL_SCHEDULED : MODEL_QUEUED);
        return new;
}

void model_advance(Model *m, usec_t now) {
        if (now > m->latest)
                m->latest = now;

        for (size_t i = 0; i < m->n_jobs; i++) {
                ModelJob *job = &m->jobs[i];

                if (job->place <= MODEL_QUEUED && job->expires_at <= now)
                        end(m, job, JOB_EXPIRED);
        }
        for (;;) {
                ModelJob *first = NULL;

                for (size_t i = 0; i < m->n_jobs; i++) {
                        ModelJob *job = &m->jobs[i];

                        if (job->place == MODEL_SCHEDULED && job->due_at <= now &&
                                (!first || job->due_at < first->due_at))
                                first = job;
                }
                if (!first)
                        return;
                move(m, first, MODEL_QUEUED);
        }
}

ModelJob *model_next(Model *m) {
        ModelJob *first = NULL;

        if (m->paused || m->n_turns == 0)
                return NULL;
        for (size_t i = 0; i < m->n_jobs; i++) {
                ModelJob *job = &m->jobs[i];

                if (job->place == MODEL_QUEUED && owner_of(m, job) == m->turns[0] &&
                        (!first || comes_before(m, job, first)))
                        first = job;
        }
        return first;
}

void model_claim(Model *m, ModelJob *job) {
        leave_turns(m, owner_of(m, job));
        move(m, job, MODEL_CLAIMED);
}

void model_unclaim(Model *m, ModelJob *job) {
        uint32_t owner = owner_of(m, job);

        move(m, job, MODEL_QUEUED);
        leave_turns(m, owner);
        for (size_t i = m->n_turns++; i > 0; i--)
                m->turns[i] = m->turns[i - 1];
        m->turns[0] = owner;
}

JobResult model_finish(ModelJob *job, Outcome outcome) {
        job->place = MODEL_FINISHED;
        if (outcome == OUTCOME_SUCCESS)
                job->result = JOB_SUCCEEDED;
        else if (outcome == OUTCOME_LOST)
                job->result = JOB_LOST;
        else if (job->stop == JOB_STOP_CANCEL)
                job->result = JOB_CANCELLED;
        else if (job->stop == JOB_STOP_TIMEOUT)
                job->result = JOB_TIMED_OUT;
        else
                job->result = JOB_FAILED;
        return job->result;
}

bool model_cancel(Model *m, ModelJob *job) {
        if (job->place <= MODEL_QUEUED) {
                end(m, job, JOB_CANCELLED);
                return true;
        }
        if (job->place == MODEL_RUNNING) {
                job->place = MODEL_STOPPING;
                job->stop = JOB_STOP_CANCEL;
        }
        return false;
}

bool model_stop_timed_out(ModelJob *job) {
        if (job->place != MODEL_RUNNING)
                return false;
        job->place = MODEL_STOPPING;
        job->stop = JOB_STOP_TIMEOUT;
        return true;
}

uint64_t model_position(const Model *m, const ModelJob *job) {
        uint64_t n = 1;

        if (job->place == MODEL_CLAIMED)
                return 1;
        for (size_t i = 0; i < m->n_jobs; i++) {
                const ModelJob *other = &m->jobs[i];

                if (other->place == MODEL_CLAIMED)
                        n++;
                else if (other->place == MODEL_QUEUED && owner_of(m, other) == owner_of(m, job))
                        n += job->place == MODEL_SCHEDULED || comes_before(m, other, job);
        }
        return n;
}

usec_t model_next_event(const Model *m) {
        usec_t t = USEC_INFINITY;

        for (size_t i = 0; i < m->n_jobs; i++) {
                const ModelJob *job = &m->jobs[i];

                if (job->place <= MODEL_QUEUED && job->expires_at < t)
                        t = job->expires_at;
                if (job->place == MODEL_SCHEDULED && job->due_at < t)
                        t = job->due_at;
        }
        return t;
}
