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

/* Has it one of the places of its key? */
static bool holds_key(const ModelJob *job) {
        return job->keeps_key || (job->place >= MODEL_CLAIMED && job->place <= MODEL_STOPPING);
}

static unsigned n_places_taken(const Model *m, unsigned key) {
        unsigned n = 0;

        for (size_t i = 0; i < m->n_jobs; i++)
                n += m->jobs[i].key == key && holds_key(&m->jobs[i]);
        return n;
}

static bool waits_for_key(const ModelJob *job, unsigned key) {
        return job->key == key && job->place == MODEL_QUEUED && !job->keeps_key;
}

bool model_could_take(const Model *m, const ModelJob *job) {
        if (job->place != MODEL_QUEUED)
                return false;
        if (job->key == 0 || job->keeps_key)
                return true;
        if (n_places_taken(m, job->key) >= m->key_concurrency)
                return false;
        for (size_t i = 0; i < m->n_jobs; i++)
                if (waits_for_key(&m->jobs[i], job->key) && m->jobs[i].id < job->id)
                        return false;
        return true;
}

uint64_t model_n_eligible(const Model *m) {
        uint64_t n = 0;

        for (size_t i = 0; i < m->n_jobs; i++)
                n += m->jobs[i].place == MODEL_QUEUED &&
                     (m->jobs[i].key == 0 || m->jobs[i].keeps_key);
        for (unsigned key = 1; key <= MODEL_KEYS_MAX; key++) {
                unsigned n_free = m->key_concurrency, n_taken = n_places_taken(m, key);

                n_free -= n_taken < n_free ? n_taken : n_free;
                for (size_t i = 0; i < m->n_jobs && n_free > 0; i++)
                        if (waits_for_key(&m->jobs[i], key)) {
                                n_free--;
                                n++;
                        }
        }
        return n;
}

static bool has_eligible(const Model *m, uint32_t owner) {
        for (size_t i = 0; i < m->n_jobs; i++)
                if (owner_of(m, &m->jobs[i]) == owner && model_could_take(m, &m->jobs[i]))
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

static bool has_turn(const Model *m, uint32_t owner) {
        for (size_t i = 0; i < m->n_turns; i++)
                if (m->turns[i] == owner)
                        return true;
        return false;
}

/* Who has nothing that could be taken leaves the round; who has, and is not in it, joins at its
 * end. */
static void update_turns(Model *m, uint32_t owner) {
        if (!has_eligible(m, owner))
                leave_turns(m, owner);
        else if (!has_turn(m, owner)) {
                assert(m->n_turns < MODEL_OWNERS_MAX);
                m->turns[m->n_turns++] = owner;
        }
}

/* What becomes of one job may let one of another owner pass, with the same key. */
static void update_all_turns(Model *m, const ModelJob *first) {
        update_turns(m, owner_of(m, first));
        for (uint32_t owner = 0; owner < MODEL_OWNERS_MAX; owner++)
                update_turns(m, owner);
}

static void move(Model *m, ModelJob *job, ModelPlace place) {
        job->place = place;
        update_all_turns(m, job);
}

void model_set_key_concurrency(Model *m, uint32_t key_concurrency) {
        m->key_concurrency = key_concurrency;
        for (size_t i = 0; i < m->n_jobs && key_concurrency > 1; i++)
                m->jobs[i].keeps_key = false;
}

bool model_agree_on_turns(Model *m, const uint32_t *turns, size_t n) {
        size_t n_before;

        for (uint32_t owner = 0; owner < MODEL_OWNERS_MAX; owner++)
                if (!has_eligible(m, owner))
                        leave_turns(m, owner);
        n_before = m->n_turns;
        for (size_t i = 0; i < n; i++) {
                if (i < n_before ? turns[i] != m->turns[i] : has_turn(m, turns[i]))
                        return false;
                if (!has_eligible(m, turns[i]))
                        return false;
                m->turns[i] = turns[i];
                m->n_turns = i < n_before ? n_before : i + 1;
        }
        for (uint32_t owner = 0; owner < MODEL_OWNERS_MAX; owner++)
                if (has_eligible(m, owner) && !has_turn(m, owner))
                        return false;
        return n >= n_before;
}

static void end(Model *m, ModelJob *job, JobResult result) {
        job->result = result;
        job->keeps_key = false;
        m->n_results[result]++;
        move(m, job, MODEL_FINISHED);
}

size_t model_count(const Model *m, ModelPlace place) {
        size_t n = 0;

        for (size_t i = 0; i < m->n_jobs; i++)
                n += m->jobs[i].place == place;
        return n;
}

static bool has_room(const Model *m, uint64_t n) {
        return model_count(m, MODEL_SCHEDULED) + model_count(m, MODEL_QUEUED) +
                       model_count(m, MODEL_CLAIMED) + n <=
               m->queue_max;
}

/* The job that is dropped next for one of this priority; NULL = there is none. */
static ModelJob *next_victim(Model *m, int16_t priority) {
        const ModelJob new = { .id = UINT64_MAX, .priority = priority, .due_at = m->latest };
        ModelJob *victim = NULL;

        if (m->overflow != OVERFLOW_DROP_OLDEST && m->overflow != OVERFLOW_DROP_LOWEST)
                return NULL;
        for (size_t i = 0; i < m->n_jobs; i++) {
                ModelJob *job = &m->jobs[i];

                if (job->place != MODEL_QUEUED)
                        continue;
                if (m->overflow == OVERFLOW_DROP_LOWEST) {
                        if (comes_before(m, &new, job) && (!victim || comes_before(m, victim, job)))
                                victim = job;
                } else if (!victim || job->due_at < victim->due_at)
                        victim = job;
        }
        return victim;
}

AdmitVerdict model_admit(Model *m, uint64_t n, int16_t priority, unsigned flags) {
        Model after = *m;

        if (m->draining) {
                m->n_rejected += n;
                return ADMIT_DRAINING;
        }
        if (m->n_line == 0 || (flags & ADMIT_SERVED)) {
                bool may_drop = !(flags & ADMIT_NO_DROP) && n <= m->queue_max;
                ModelJob *victim;

                while (!has_room(&after, n) && may_drop && (victim = next_victim(&after, priority)))
                        end(&after, victim, JOB_DROPPED);
                if (has_room(&after, n)) {
                        *m = after;
                        return ADMIT_YES;
                }
        }
        if (!(flags & ADMIT_MAY_WAIT))
                m->n_rejected += n;
        return ADMIT_FULL;
}

void model_line_join(Model *m, const ModelJob *wanted, uint64_t n) {
        assert(m->n_line < MODEL_LINE_MAX);
        m->line[m->n_line++] = (ModelWaiter){ .wanted = *wanted, .n = n };
}

static ModelWaiter line_remove(Model *m, size_t i) {
        ModelWaiter waiter = m->line[i];

        m->n_line--;
        for (; i < m->n_line; i++)
                m->line[i] = m->line[i + 1];
        return waiter;
}

void model_line_leave(Model *m, size_t i) {
        m->n_rejected += line_remove(m, i).n;
}

bool model_line_is_due(const Model *m) {
        return m->n_line > 0 &&
               (m->draining || m->line[0].n > m->queue_max || has_room(m, m->line[0].n));
}

ModelWaiter model_line_serve(Model *m) {
        return line_remove(m, 0);
}

ModelJob *model_submit(
        Model *m, const ModelJob *job, usec_t now, usec_t delay, usec_t queue_timeout) {
        ModelJob *new = &m->jobs[m->n_jobs++];

        if (now > m->latest)
                m->latest = now;
        *new = *job;
        m->n_submitted++;
        new->due_at = new->ready_at = m->latest + delay;
        new->expires_at = queue_timeout == USEC_INFINITY ? USEC_INFINITY : now + queue_timeout;
        move(m, new, delay > 0 ? MODEL_SCHEDULED : MODEL_QUEUED);
        return new;
}

void model_advance(Model *m, usec_t now) {
        if (now > m->latest)
                m->latest = now;

        for (;;) {
                ModelJob *first = NULL;

                for (size_t i = 0; i < m->n_jobs; i++) {
                        ModelJob *job = &m->jobs[i];

                        if (job->place <= MODEL_QUEUED && job->expires_at <= now &&
                                (!first || job->expires_at < first->expires_at))
                                first = job;
                }
                if (!first)
                        break;
                end(m, first, JOB_EXPIRED);
        }
        for (;;) {
                ModelJob *first = NULL;

                for (size_t i = 0; i < m->n_jobs; i++) {
                        ModelJob *job = &m->jobs[i];

                        if (job->place == MODEL_SCHEDULED && job->ready_at <= now &&
                                (!first || job->ready_at < first->ready_at))
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

                if (model_could_take(m, job) && owner_of(m, job) == m->turns[0] &&
                        (!first || comes_before(m, job, first)))
                        first = job;
        }
        return first;
}

usec_t model_batch_at(const Model *m) {
        uint64_t n_eligible = model_n_eligible(m);
        size_t n_waiting = model_count(m, MODEL_QUEUED) + model_count(m, MODEL_SCHEDULED) +
                           model_count(m, MODEL_CLAIMED);
        usec_t oldest;

        if (m->batch_size == 1 || n_eligible == 0 || n_eligible >= m->batch_size)
                return USEC_INFINITY;
        if (m->draining || n_waiting >= m->queue_max || m->n_line > 0)
                return USEC_INFINITY;
        oldest = model_waits_since(m);
        return oldest + m->batch_timeout > m->latest ? oldest + m->batch_timeout : USEC_INFINITY;
}

void model_claim(Model *m, ModelJob *job) {
        leave_turns(m, owner_of(m, job));
        move(m, job, MODEL_CLAIMED);
}

void model_unclaim(Model *m, ModelJob *job) {
        uint32_t owner = owner_of(m, job);

        move(m, job, MODEL_QUEUED);
        leave_turns(m, owner);
        if (!has_eligible(m, owner))
                return;
        for (size_t i = m->n_turns++; i > 0; i--)
                m->turns[i] = m->turns[i - 1];
        m->turns[0] = owner;
}

static JobResult result_of(const ModelJob *job, Outcome outcome) {
        if (outcome == OUTCOME_SUCCESS)
                return JOB_SUCCEEDED;
        if (outcome == OUTCOME_LOST)
                return JOB_LOST;
        if (job->timed_out)
                return JOB_TIMED_OUT;
        return job->cancelled ? JOB_CANCELLED : JOB_FAILED;
}

static bool has_another_attempt(const Model *m, const ModelJob *job, Outcome outcome) {
        unsigned max_attempts = job->max_attempts > 0 ? job->max_attempts : m->retry.max_attempts;

        if (outcome == OUTCOME_SUCCESS || outcome == OUTCOME_FATAL)
                return false;
        if (job->cancelled || job->once || m->ending)
                return false;
        if (job->n_attempts < max_attempts)
                return true;
        return outcome == OUTCOME_RETRY && job->n_asked <= 3;
}

bool model_finish(Model *m, ModelJob *job, Outcome outcome, bool has_details, usec_t now,
        usec_t *ret_latest) {
        usec_t delay = m->retry.backoff;

        job->n_attempts++;
        job->n_asked += outcome == OUTCOME_RETRY;
        if (!has_details || !has_another_attempt(m, job, outcome)) {
                end(m, job, result_of(job, outcome));
                return true;
        }

        for (unsigned i = 1; i < job->n_attempts; i++)
                delay *= 2;
        if (delay > m->retry.backoff_max)
                delay = m->retry.backoff_max;
        job->timed_out = job->cancelled = false;
        job->expires_at = USEC_INFINITY;
        job->ready_at = now + delay / 2;
        *ret_latest = now + (delay + delay / 2 < m->retry.backoff_max ? delay + delay / 2
                                                                      : m->retry.backoff_max);
        m->n_retried++;
        job->keeps_key =
                job->key > 0 && m->key_concurrency == 1 && n_places_taken(m, job->key) == 1;
        move(m, job, MODEL_SCHEDULED);
        return false;
}

void model_kick(Model *m, ModelJob *job, usec_t now) {
        if (now > m->latest)
                m->latest = now;
        job->due_at = job->ready_at = m->latest;
        job->expires_at = USEC_INFINITY;
        job->n_attempts = job->n_asked = 0;
        job->timed_out = job->cancelled = false;
        m->n_submitted++;
        move(m, job, MODEL_QUEUED);
}

bool model_cancel(Model *m, ModelJob *job) {
        if (job->place <= MODEL_QUEUED) {
                end(m, job, JOB_CANCELLED);
                return true;
        }
        if (job->place == MODEL_RUNNING)
                job->place = MODEL_STOPPING;
        job->cancelled |= job->place == MODEL_STOPPING;
        return false;
}

bool model_stop_timed_out(ModelJob *job) {
        if (job->place != MODEL_RUNNING)
                return false;
        job->place = MODEL_STOPPING;
        job->timed_out = true;
        return true;
}

uint64_t model_position(const Model *m, const ModelJob *job) {
        uint64_t n = model_count(m, MODEL_CLAIMED) + 1;
        Model rest = *m;
        ModelJob *next;

        if (job->place == MODEL_CLAIMED)
                return 1;
        if (job->place == MODEL_SCHEDULED)
                return n + model_count(m, MODEL_QUEUED);
        if (!model_could_take(m, job)) {
                n = n_places_taken(m, job->key) + 1;
                for (size_t i = 0; i < m->n_jobs; i++)
                        n += waits_for_key(&m->jobs[i], job->key) && m->jobs[i].id < job->id;
                return n;
        }
        /* What waits for its key is ahead of nobody else. */
        for (size_t i = 0; i < m->n_jobs; i++)
                if (rest.jobs[i].place == MODEL_QUEUED && !model_could_take(m, &m->jobs[i]))
                        rest.jobs[i].place = MODEL_FINISHED;
        rest.paused = false;
        while ((next = model_next(&rest)) && next->id != job->id) {
                model_claim(&rest, next);
                n++;
        }
        return n;
}

usec_t model_waits_since(const Model *m) {
        usec_t t = USEC_INFINITY;

        for (size_t i = 0; i < m->n_jobs; i++) {
                const ModelJob *job = &m->jobs[i];
                usec_t since = job->n_attempts > 0 && job->ready_at > job->due_at ? job->ready_at
                                                                                  : job->due_at;

                if (model_could_take(m, job) && since < t)
                        t = since;
        }
        return t;
}

usec_t model_next_event(const Model *m) {
        usec_t t = USEC_INFINITY;

        for (size_t i = 0; i < m->n_jobs; i++) {
                const ModelJob *job = &m->jobs[i];

                if (job->place <= MODEL_QUEUED && job->expires_at < t)
                        t = job->expires_at;
                if (job->place == MODEL_SCHEDULED && job->ready_at < t)
                        t = job->ready_at;
        }
        return t;
}
