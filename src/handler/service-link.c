/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The bus tells of all owners of the name, in the order in which it delivers messages. So that no
 * change is missed the signal is asked for first, then who the owner is, and no call is sent before
 * that answer: from then on what is known of the owner is as old as the last message. */

#include "handler/service-link.h"

#include <stdio.h>
#include <string.h>

#define BUS_NAME "org.freedesktop.DBus"
#define BUS_PATH "/org/freedesktop/DBus"

#define MATCH_SIZE (SD_BUS_MAXIMUM_NAME_LENGTH + 256)

bool service_message_is_from_bus(sd_bus_message *m) {
        const char *sender = sd_bus_message_get_sender(m);

        return sender && strcmp(sender, BUS_NAME) == 0;
}

static void link_lose(ServiceLink *link) {
        if (link->lost)
                return;
        link->lost = true;
        link->events->lost(link);
}

bool service_link_check(ServiceLink *link) {
        if (sd_bus_is_open(link->bus) > 0)
                return !link->lost;
        link_lose(link);
        return false;
}

/* Only sd-bus itself makes this signal; what comes from a bus has the sender that the bus says. */
static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        (void) service_link_check(userdata);
        return 0;
}

/* Whether the former owner is gone decides what became of the calls that were on their way when it
 * lost the name. All of them came to the bus before this question. If it is gone by now, then the
 * bus has told us before which of them it had, and the others have come to whoever was next. */
static int on_former(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        ServiceLink *link = userdata;
        int lives = true;

        if (!service_link_check(link))
                return 0;
        if (service_message_is_from_bus(m))
                (void) sd_bus_message_read(m, "b", &lives);
        link->former_lives = lives;
        if (!lives) {
                free(link->former);
                link->former = NULL;
        }
        link->events->owner_changed(link);
        return 0;
}

static int link_ask_for_former(ServiceLink *link) {
        link->former_slot = sd_bus_slot_unref(link->former_slot);
        link->former_lives = false;
        return sd_bus_call_method_async(link->bus, &link->former_slot, BUS_NAME, BUS_PATH, BUS_NAME,
                "NameHasOwner", on_former, link, "s", link->former);
}

static int link_set_owner(ServiceLink *link, const char *owner) {
        free(link->owner);
        link->owner = *owner ? strdup(owner) : NULL;
        return *owner && !link->owner ? -ENOMEM : 0;
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        ServiceLink *link = userdata;
        const char *name, *old, *new;
        int r = 0;

        /* Anybody can send us a signal of that name. */
        if (link->lost || !service_message_is_from_bus(m) ||
                sd_bus_message_read(m, "sss", &name, &old, &new) < 0)
                return 0;
        /* Of one that comes before the answer to our question, the answer tells as well. */
        if (!link->ready)
                return 0;

        if (link->owner) {
                link->events->owner_left(link);
                free(link->former);
                link->former = TAKE_PTR(link->owner);
                r = link_ask_for_former(link);
        }
        if (r >= 0)
                r = link_set_owner(link, new);
        if (r < 0)
                link_lose(link);
        else
                link->events->owner_changed(link);
        return 0;
}

static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        ServiceLink *link = userdata;
        const char *owner = "";

        if (!service_link_check(link))
                return 0;
        if (!service_message_is_from_bus(m) ||
                (sd_bus_message_is_method_error(m, NULL) &&
                        !sd_bus_message_is_method_error(m, SD_BUS_ERROR_NAME_HAS_NO_OWNER)) ||
                (!sd_bus_message_is_method_error(m, NULL) &&
                        sd_bus_message_read(m, "s", &owner) < 0) ||
                link_set_owner(link, owner) < 0) {
                link_lose(link);
                return 0;
        }
        link->ready = true;
        link->events->ready(link);
        return 0;
}

int service_link_new(const HandlerConfig *config, const ServiceLinkEvents *events, void *userdata,
        ServiceLink **ret) {
        _cleanup_(service_link_freep) ServiceLink *link = NULL;
        char match[MATCH_SIZE];
        int r;

        link = malloc(sizeof(*link));
        if (!link)
                return -ENOMEM;
        *link = (ServiceLink){ .events = events, .userdata = userdata };
        list_init(&link->links);
        list_init(&link->calls);

        r = config->bus == HANDLER_BUS_USER ? sd_bus_open_user(&link->bus)
                                            : sd_bus_open_system(&link->bus);
        if (r >= 0)
                r = sd_bus_match_signal_async(link->bus, &link->disconnected_slot,
                        BUS_NAME ".Local", NULL, BUS_NAME ".Local", "Disconnected", on_disconnected,
                        NULL, link);
        (void) snprintf(match, sizeof(match),
                "type='signal',sender='" BUS_NAME "',path='" BUS_PATH "',interface='" BUS_NAME
                "',member='NameOwnerChanged',arg0='%s'",
                config->bus_name);
        if (r >= 0)
                r = sd_bus_add_match_async(
                        link->bus, &link->changed_slot, match, on_owner_changed, NULL, link);
        if (r >= 0)
                r = sd_bus_call_method_async(link->bus, &link->owner_slot, BUS_NAME, BUS_PATH,
                        BUS_NAME, "GetNameOwner", on_owner, link, "s", config->bus_name);
        if (r >= 0)
                r = sd_bus_attach_event(link->bus, config->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(link);
        return 0;
}

ServiceLink *service_link_free(ServiceLink *link) {
        if (!link)
                return NULL;
        list_remove(&link->links);
        sd_bus_slot_unref(link->disconnected_slot);
        sd_bus_slot_unref(link->changed_slot);
        sd_bus_slot_unref(link->owner_slot);
        sd_bus_slot_unref(link->former_slot);
        if (link->bus)
                (void) sd_bus_detach_event(link->bus);
        sd_bus_close_unref(link->bus);
        free(link->owner);
        free(link->former);
        free(link);
        return NULL;
}
