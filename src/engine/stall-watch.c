/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "engine/stall-watch.h"

static int on_pressure(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Pressure *pressure = userdata;

        /* No trigger any more: it would be ready for ever, and there is nothing to be told. */
        if (events & (EPOLLERR | EPOLLHUP))
                return sd_event_source_set_enabled(source, SD_EVENT_OFF);
        pressure_report(pressure, usec_now(CLOCK_MONOTONIC));
        return 0;
}

static void close_some(StallWatch *watch, unsigned n) {
        while (n-- > 0) {
                watch->sources[n] = sd_event_source_disable_unref(watch->sources[n]);
                pressure_done(&watch->pressures[n]);
        }
}

static int open_one(StallWatch *watch, PressureResource i, sd_event *event, char **ret_error) {
        Pressure *pressure = &watch->pressures[i];
        sd_event_source *source;
        int r;

        r = pressure_init(pressure, i, NULL, ret_error);
        if (r < 0)
                return r;
        r = sd_event_add_io(event, &source, pressure->fd, EPOLLPRI, on_pressure, pressure);
        if (r < 0) {
                pressure_done(pressure);
                return r;
        }
        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        watch->sources[i] = source;
        return 0;
}

int stall_watch_open(StallWatch *watch, sd_event *event, char **ret_error) {
        if (watch->n_users == 0)
                for (PressureResource i = 0; i < _PRESSURE_RESOURCE_MAX; i++) {
                        int r = open_one(watch, i, event, ret_error);

                        if (r < 0) {
                                close_some(watch, i);
                                return r;
                        }
                }
        watch->n_users++;
        return 0;
}

void stall_watch_close(StallWatch *watch) {
        assert(watch->n_users > 0);
        if (--watch->n_users > 0)
                return;
        assert(watch->n_watching == 0);
        close_some(watch, _PRESSURE_RESOURCE_MAX);
}

void stall_watch_begin(StallWatch *watch) {
        assert(watch->n_users > 0);
        if (watch->n_watching++ > 0)
                return;
        for (PressureResource i = 0; i < _PRESSURE_RESOURCE_MAX; i++) {
                pressure_restart(&watch->pressures[i]);
                (void) sd_event_source_set_enabled(watch->sources[i], SD_EVENT_ON);
        }
}

void stall_watch_end(StallWatch *watch) {
        assert(watch->n_watching > 0);
        if (--watch->n_watching > 0)
                return;
        for (PressureResource i = 0; i < _PRESSURE_RESOURCE_MAX; i++)
                (void) sd_event_source_set_enabled(watch->sources[i], SD_EVENT_OFF);
}

bool stall_watch_is_stalled(const StallWatch *watch, usec_t now) {
        for (PressureResource i = 0; i < _PRESSURE_RESOURCE_MAX; i++)
                if (watch->n_watching > 0 && pressure_is_stalled(&watch->pressures[i], now))
                        return true;
        return false;
}
