/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a bus daemon would answer. Ordinary D-Bus clients say Hello, add matches and ask for the
 * owner of our name before they call it; on a direct link they are answered by ourselves. There are
 * two names: ours, which is its own owner as that of a bus daemon is, and that of the bus daemon.
 */

#include <errno.h>
#include <string.h>

#include "bus/error.h"
#include "bus/server.h"

#define DRIVER "org.freedesktop.DBus"
#define DRIVER_PATH "/org/freedesktop/DBus"
#define MONITORING DRIVER ".Monitoring"

typedef struct DriverMethod {
        const char *interface, *name, *signature;
        int (*handle)(Link *link, sd_bus_message *call, sd_bus_message *reply, sd_bus_error *error);
} DriverMethod;

static bool name_is_ours(const char *name) {
        return strcmp(name, SLUICE_BUS_NAME) == 0 || strcmp(name, DRIVER) == 0;
}

static int hello(Link *link, sd_bus_message *call, sd_bus_message *reply, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", link->client->name);
}

static int add_match(Link *link, sd_bus_message *call, sd_bus_message *reply, sd_bus_error *error) {
        link->wants_signals = true;
        return 0;
}

static int remove_match(
        Link *link, sd_bus_message *call, sd_bus_message *reply, sd_bus_error *error) {
        return 0;
}

static int name_error(sd_bus_error *error, const char *name) {
        return bus_error(error, BUS_ERROR_NAME_HAS_NO_OWNER,
                "No name %s here: this is the direct socket of " SLUICE_BUS_NAME, name);
}

static int get_name_owner(
        Link *link, sd_bus_message *call, sd_bus_message *reply, sd_bus_error *error) {
        const char *name;
        int r;

        r = sd_bus_message_read(call, "s", &name);
        if (r < 0)
                return r;
        if (!name_is_ours(name) && strcmp(name, link->client->name) != 0)
                return name_error(error, name);
        return sd_bus_message_append(reply, "s", name);
}

static int name_has_owner(
        Link *link, sd_bus_message *call, sd_bus_message *reply, sd_bus_error *error) {
        const char *name;
        int r;

        r = sd_bus_message_read(call, "s", &name);
        if (r < 0)
                return r;
        return sd_bus_message_append(
                reply, "b", (int) (name_is_ours(name) || strcmp(name, link->client->name) == 0));
}

static int get_id(Link *link, sd_bus_message *call, sd_bus_message *reply, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", link->server->direct_id);
}

static int list_names(
        Link *link, sd_bus_message *call, sd_bus_message *reply, sd_bus_error *error) {
        return sd_bus_message_append(reply, "as", 3, DRIVER, SLUICE_BUS_NAME, link->client->name);
}

static int start_service_by_name(
        Link *link, sd_bus_message *call, sd_bus_message *reply, sd_bus_error *error) {
        const char *name;
        uint32_t flags;
        int r;

        r = sd_bus_message_read(call, "su", &name, &flags);
        if (r < 0)
                return r;
        if (!name_is_ours(name))
                return name_error(error, name);
        return sd_bus_message_append(reply, "u", 2); /* is running already */
}

/* Says that a message is from the bus daemon to this client, and sends it. */
static int send_from_driver(Link *link, sd_bus_message *m) {
        int r;

        r = sd_bus_message_set_sender(m, DRIVER);
        if (r >= 0)
                r = sd_bus_message_set_destination(m, link->client->name);
        return r < 0 ? r : sd_bus_message_send(m);
}

/* A monitor gets all our signals. There is nothing else to monitor: what others say on their own
 * sockets does not pass here. On a bus it loses its names with this call, and what comes before it
 * is told so is not shown. */
static int become_monitor(
        Link *link, sd_bus_message *call, sd_bus_message *reply, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *lost = NULL;
        int r;

        r = sd_bus_message_new_signal(
                sd_bus_message_get_bus(call), &lost, DRIVER_PATH, DRIVER, "NameLost");
        if (r >= 0)
                r = sd_bus_message_append(lost, "s", link->client->name);
        if (r >= 0)
                r = send_from_driver(link, lost);
        if (r < 0)
                return r;
        link->wants_signals = true;
        return 0;
}

static const DriverMethod methods[] = {
        { DRIVER, "Hello", "", hello },
        { DRIVER, "AddMatch", "s", add_match },
        { DRIVER, "RemoveMatch", "s", remove_match },
        { DRIVER, "GetNameOwner", "s", get_name_owner },
        { DRIVER, "NameHasOwner", "s", name_has_owner },
        { DRIVER, "GetId", "", get_id },
        { DRIVER, "ListNames", "", list_names },
        { DRIVER, "StartServiceByName", "su", start_service_by_name },
        { MONITORING, "BecomeMonitor", "asu", become_monitor },
};

static int answer(
        const DriverMethod *method, Link *link, sd_bus_message *call, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        if (strcmp(sd_bus_message_get_signature(call, true), method->signature) != 0)
                return bus_error(error, BUS_ERROR_INVALID_ARGS, "%s takes (%s)", method->name,
                        method->signature);
        r = sd_bus_message_new_method_return(call, &reply);
        if (r < 0)
                return r;
        r = method->handle(link, call, reply, error);
        if (r >= 0)
                r = send_from_driver(link, reply);
        return r < 0 ? r : 1;
}

int driver_filter(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const char *destination;
        uint8_t type;

        if (sd_bus_message_get_type(message, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL)
                return 0;
        destination = sd_bus_message_get_destination(message);
        if (!destination || strcmp(destination, DRIVER) != 0)
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (sd_bus_message_is_method_call(message, methods[i].interface, methods[i].name))
                        return answer(&methods[i], userdata, message, error);
        /* Peer, Properties and Introspectable are sd-bus's to answer. */
        if (!sd_bus_message_is_method_call(message, DRIVER, NULL))
                return 0;
        return bus_error(error, BUS_ERROR_UNKNOWN_METHOD, "No method %s on the direct socket",
                sd_bus_message_get_member(message));
}
