/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* There is a connection as long as there are jobs, and a while after: systemd tells on it of all
 * units that change, not only of ours, and an idle daemon should not hear of them.
 *
 * systemd is called by the unique name that its well-known one had when the connection was made,
 * and what is not from there is not believed. If the name gets another owner, or the connection is
 * lost, there is a new one, and each job goes on from what systemd says of its unit then.
 *
 * Each connection begins with a look at what is loaded: an instance that no job here is about was
 * left by a daemon that was killed, or by a job that was given up. It is stopped, and no job starts
 * under its name before it is gone. */

#include <string.h>

#include "handler/unit-call.h"
#include "util/fd.h"

#define SYSTEMD_NAME "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define SYSTEMD_MANAGER "org.freedesktop.systemd1.Manager"

/* A bus allows 128 calls of a connection to be unanswered, and some are not asked for here. */
#define SENT_MAX 100

#define CONNECT_DELAY_MIN (100 * USEC_PER_MSEC)
#define CONNECT_DELAY_MAX (5 * USEC_PER_SEC)
#define IDLE_AFTER (30 * USEC_PER_SEC)
#define TIMER_ACCURACY USEC_PER_MSEC

typedef struct StaleUnit {
        List links;
        char name[];
} StaleUnit;

/* ---- what an earlier daemon has left ---- */

static StaleUnit *find_stale(Units *units, const char *name) {
        list_for_each (l, &units->stale)
                if (strcmp(list_entry(l, StaleUnit, links)->name, name) == 0)
                        return list_entry(l, StaleUnit, links);
        return NULL;
}

void units_add_stale(Units *units, const char *name) {
        StaleUnit *stale;

        if (find_stale(units, name))
                return;
        stale = malloc(sizeof(*stale) + strlen(name) + 1);
        if (!stale)
                return;
        memcpy(stale->name, name, strlen(name) + 1);
        list_append(&units->stale, &stale->links);
}

static void drop_stale(StaleUnit *stale) {
        if (!stale)
                return;
        list_remove(&stale->links);
        free(stale);
}

/* ---- queries ---- */

static void query_free(UnitQuery *query) {
        if (query->call && query->call->query == query)
                query->call->query = NULL;
        query->units->n_sent -= query->slot ? 1 : 0;
        list_remove(&query->links);
        sd_bus_slot_unref(query->slot);
        free(query);
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        UnitQuery *query = userdata;
        Units *units = query->units;
        HandlerCall *call = query->call;
        UnitVerb verb = query->verb;

        if (!service_link_check(units->link))
                return 0;
        /* It was not running any more. */
        if (verb == UNIT_STOP && sd_bus_message_is_method_error(m, NULL))
                drop_stale(find_stale(units, query->name));
        if (verb == UNIT_REF && !call && !sd_bus_message_is_method_error(m, NULL))
                units_unref(units, query->name);
        query_free(query);
        if (call)
                unit_call_answered(call, verb, m);
        units_pump(units);
        units_arm(units);
        return 0;
}

static int query_send(UnitQuery *query) {
        ServiceLink *link = query->units->link;

        switch (query->verb) {

        case UNIT_START:
                return sd_bus_call_method_async(link->bus, &query->slot, link->owner, SYSTEMD_PATH,
                        SYSTEMD_MANAGER, "StartUnit", on_answer, query, "ss", query->name, "fail");

        case UNIT_STOP:
                return sd_bus_call_method_async(link->bus, &query->slot, link->owner, SYSTEMD_PATH,
                        SYSTEMD_MANAGER, "StopUnit", on_answer, query, "ss", query->name,
                        "replace");

        case UNIT_REF:
                return sd_bus_call_method_async(link->bus, &query->slot, link->owner, SYSTEMD_PATH,
                        SYSTEMD_MANAGER, "RefUnit", on_answer, query, "s", query->name);

        case UNIT_LOOK:
                return sd_bus_call_method_async(link->bus, &query->slot, link->owner,
                        query->call->path, "org.freedesktop.DBus.Properties", "GetAll", on_answer,
                        query, "s", "");

        case UNIT_LIMIT:
                return sd_bus_call_method_async(link->bus, &query->slot, link->owner,
                        query->call->path, "org.freedesktop.DBus.Properties", "Get", on_answer,
                        query, "ss", "org.freedesktop.systemd1.Service", "RuntimeMaxUSec");
        }
        return -EINVAL;
}

void units_unref(Units *units, const char *name) {
        (void) sd_bus_call_method_async(units->link->bus, NULL, units->link->owner, SYSTEMD_PATH,
                SYSTEMD_MANAGER, "UnrefUnit", NULL, NULL, "s", name);
}

void units_pump(Units *units) {
        usec_t now = usec_now(CLOCK_MONOTONIC);

        if (!units->link || units->link->lost || !units->swept)
                return;
        list_for_each (l, &units->line) {
                UnitQuery *query = list_entry(l, UnitQuery, links);

                if (units->n_sent >= SENT_MAX)
                        return;
                if (query->verb == UNIT_START && find_stale(units, query->name))
                        continue;
                /* What cannot be sent now says that the connection is lost, of which we hear. */
                if (query_send(query) < 0)
                        return;
                if (query->verb == UNIT_START)
                        unit_call_started(query->call, now);
                units->n_sent++;
                list_remove(&query->links);
                list_append(&units->sent, &query->links);
        }
}

int units_ask(Units *units, UnitVerb verb, const char *name, HandlerCall *call) {
        size_t size = strlen(name) + 1;
        UnitQuery *query;

        query = malloc(sizeof(*query) + size);
        if (!query)
                return -ENOMEM;
        *query = (UnitQuery){ .units = units, .call = call, .verb = verb };
        memcpy(query->name, name, size);
        if (call)
                call->query = query;
        /* What ends makes room for what begins. */
        if (verb == UNIT_START)
                list_append(&units->line, &query->links);
        else
                list_prepend(&units->line, &query->links);
        return 0;
}

void units_forget(Units *units, HandlerCall *call) {
        if (!call->query)
                return;
        if (call->query->slot)
                call->query->call = NULL;
        else
                query_free(call->query);
        call->query = NULL;
}

static void drop_queries(List *queries) {
        list_for_each (l, queries)
                query_free(list_entry(l, UnitQuery, links));
}

/* ---- signals ---- */

static bool is_from_systemd(const Units *units, sd_bus_message *m) {
        const char *sender = sd_bus_message_get_sender(m);

        return units->link && !units->link->lost && units->link->owner && sender &&
               strcmp(sender, units->link->owner) == 0;
}

static int on_changed(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const char *path = sd_bus_message_get_path(m);
        Units *units = userdata;

        if (!path || !is_from_systemd(units, m))
                return 0;
        list_for_each (l, &units->calls) {
                HandlerCall *call = list_entry(l, HandlerCall, links);

                if (strcmp(call->path, path) == 0) {
                        unit_call_changed(call, m);
                        units_pump(units);
                        return 0;
                }
        }
        return 0;
}

static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const char *job, *name, *result;
        Units *units = userdata;
        uint32_t id;

        if (!is_from_systemd(units, m) ||
                sd_bus_message_read(m, "uoss", &id, &job, &name, &result) < 0)
                return 0;
        drop_stale(find_stale(units, name));
        list_for_each (l, &units->calls) {
                HandlerCall *call = list_entry(l, HandlerCall, links);

                if (strcmp(call->name, name) == 0) {
                        unit_call_removed(call, job, result);
                        break;
                }
        }
        units_pump(units);
        return 0;
}

/* ---- the connection ---- */

static void pause_connecting(Units *units) {
        units->connect_at = usec_add(usec_now(CLOCK_MONOTONIC), units->connect_delay);
        units->connect_delay = MIN(units->connect_delay * 2, CONNECT_DELAY_MAX);
}

/* sd-bus may be using the link now: the timer closes it. */
static void on_link_lost(ServiceLink *link) {
        Units *units = link->userdata;

        link->lost = true;
        units->swept = false;
        units->wanted = true;
        pause_connecting(units);
        units_arm(units);
}

/* What was asked and listened to is of no use any more. */
static void forget_systemd(Units *units) {
        drop_queries(&units->sent);
        drop_queries(&units->line);
        units->changed_slot = sd_bus_slot_unref(units->changed_slot);
        units->removed_slot = sd_bus_slot_unref(units->removed_slot);
        units->swept_slot = sd_bus_slot_unref(units->swept_slot);
        units->swept = false;
        while (!list_is_empty(&units->stale))
                drop_stale(list_entry(list_first(&units->stale), StaleUnit, links));
}

static void close_link(Units *units) {
        forget_systemd(units);
        list_for_each (l, &units->calls)
                list_entry(l, HandlerCall, links)->referenced = false;
        units->link = service_link_free(units->link);
}

static bool is_ours(Units *units, const char *name) {
        list_for_each (l, &units->calls) {
                const HandlerCall *call = list_entry(l, HandlerCall, links);

                if (call->state != CALL_NEW && strcmp(call->name, name) == 0)
                        return true;
        }
        return false;
}

/* Stops all of them that are not ours. */
static int sweep(Units *units, sd_bus_message *m) {
        const char *name, *load, *active;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(ssssssouso)");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(m, "(ssssssouso)", &name, NULL, &load, &active, NULL, NULL,
                        NULL, NULL, NULL, NULL)) > 0)
                if (!is_ours(units, name) && strcmp(active, "inactive") != 0 &&
                        strcmp(active, "failed") != 0 && strcmp(load, "not-found") != 0) {
                        units_add_stale(units, name);
                        r = units_ask(units, UNIT_STOP, name, NULL);
                        if (r < 0)
                                return r;
                }
        return r;
}

static int on_units(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Units *units = userdata;

        if (!service_link_check(units->link))
                return 0;
        if (sd_bus_message_is_method_error(m, NULL) || sweep(units, m) < 0) {
                on_link_lost(units->link);
                return 0;
        }
        units->connect_delay = CONNECT_DELAY_MIN;
        units->swept = true;
        units->wanted = false;
        list_for_each (l, &units->calls)
                unit_call_resume(list_entry(l, HandlerCall, links));
        units_pump(units);
        units_arm(units);
        return 0;
}

/* There is a systemd: goes on with it. */
static void meet_systemd(Units *units) {
        ServiceLink *link = units->link;
        int r;

        r = sd_bus_match_signal_async(link->bus, &units->removed_slot, SYSTEMD_NAME, SYSTEMD_PATH,
                SYSTEMD_MANAGER, "JobRemoved", on_removed, NULL, units);
        if (r >= 0)
                r = sd_bus_add_match_async(link->bus, &units->changed_slot,
                        "type='signal',sender='" SYSTEMD_NAME "',path_namespace='" SYSTEMD_PATH
                        "/unit',"
                        "interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'",
                        on_changed, NULL, units);
        if (r >= 0)
                r = sd_bus_call_method_async(link->bus, NULL, link->owner, SYSTEMD_PATH,
                        SYSTEMD_MANAGER, "Subscribe", NULL, NULL, "");
        if (r >= 0)
                r = sd_bus_call_method_async(link->bus, &units->swept_slot, link->owner,
                        SYSTEMD_PATH, SYSTEMD_MANAGER, "ListUnitsByPatterns", on_units, units,
                        "asas", 0, 1, UNIT_PREFIX "*@*" UNIT_SUFFIX);
        if (r < 0)
                on_link_lost(link);
}

static void on_link_ready(ServiceLink *link) {
        Units *units = link->userdata;

        if (link->owner)
                meet_systemd(units);
}

/* systemd starts itself anew (daemon-reexec), and will have another connection. It remembers who
 * refers to which unit, so that this one must be kept. */
static void on_owner_left(ServiceLink *link) {
        Units *units = link->userdata;

        forget_systemd(units);
        units->wanted = true;
}

static void on_owner_changed(ServiceLink *link) {
        Units *units = link->userdata;

        if (link->owner && !units->swept && !units->swept_slot)
                meet_systemd(units);
}

static const ServiceLinkEvents link_events = {
        .ready = on_link_ready,
        .owner_left = on_owner_left,
        .owner_changed = on_owner_changed,
        .lost = on_link_lost,
};

/* ---- time ---- */

static bool is_idle(const Units *units) {
        return !units->wanted && list_is_empty(&units->calls) && list_is_empty(&units->line) &&
               list_is_empty(&units->sent) && list_is_empty(&units->stale);
}

void units_arm(Units *units) {
        usec_t at = USEC_INFINITY;

        if (units->link && units->link->lost)
                at = 0;
        else if (!units->link && !is_idle(units))
                at = units->connect_at;
        else if (units->link && is_idle(units)) {
                if (units->idle_at == USEC_INFINITY)
                        units->idle_at = usec_add(usec_now(CLOCK_MONOTONIC), IDLE_AFTER);
                at = units->idle_at;
        }
        if (!is_idle(units))
                units->idle_at = USEC_INFINITY;
        list_for_each (l, &units->calls) {
                const HandlerCall *call = list_entry(l, HandlerCall, links);

                at = MIN(at, MIN(call->deadline, call->reference_at));
        }
        if (at != USEC_INFINITY)
                (void) sd_event_source_set_time(units->timer, at);
        (void) sd_event_source_set_enabled(
                units->timer, at != USEC_INFINITY ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* done() brings new calls, which come to the end of the list. */
static void look_after_calls(Units *units, usec_t now) {
        list_for_each (l, &units->calls) {
                HandlerCall *call = list_entry(l, HandlerCall, links);

                if (call->reference_at <= now)
                        unit_call_reference(call);
                if (call->deadline <= now)
                        unit_call_run_out(call);
        }
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Units *units = userdata;
        usec_t now = usec_now(CLOCK_MONOTONIC);

        if (units->link && (units->link->lost || (is_idle(units) && units->idle_at <= now)))
                close_link(units);
        look_after_calls(units, now);
        if (!units->link && !is_idle(units) && units->connect_at <= now &&
                service_link_new(&units->link_config, &link_events, units, &units->link) < 0)
                pause_connecting(units);
        units_arm(units);
        return 0;
}

/* ---- life ---- */

int units_new(sd_event *event, HandlerBus bus, int listen_fd, uid_t peer_uid, Units **ret) {
        _cleanup_(units_freep) Units *units = NULL;
        int r;

        units = malloc(sizeof(*units));
        if (!units) {
                (void) fd_close(listen_fd);
                return -ENOMEM;
        }
        *units = (Units){
                .link_config = { .bus = bus, .bus_name = (char *) SYSTEMD_NAME, .event = event },
                .peer_uid = peer_uid,
                .event = sd_event_ref(event),
                .connect_delay = CONNECT_DELAY_MIN,
                .idle_at = USEC_INFINITY,
                .listen_fd = listen_fd,
        };
        list_init(&units->line);
        list_init(&units->sent);
        list_init(&units->stale);
        list_init(&units->calls);
        list_init(&units->peers);
        r = sd_event_add_time(
                event, &units->timer, CLOCK_MONOTONIC, 0, TIMER_ACCURACY, on_timer, units);
        if (r >= 0)
                r = sd_event_source_set_enabled(units->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = units_listen(units);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(units);
        return 0;
}

Units *units_free(Units *units) {
        if (!units)
                return NULL;
        close_link(units);
        unit_peers_free(&units->peers);
        sd_event_source_disable_unref(units->listen_source);
        sd_event_source_disable_unref(units->timer);
        sd_event_unref(units->event);
        (void) fd_close(units->listen_fd);
        free(units);
        return NULL;
}
