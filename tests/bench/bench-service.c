/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The other end of a pool of a service: an org.sluice1.Worker on the bus at ADDRESS that gives back
 * what it is given. Whoever started it knows by a line on its standard output that it has its name.
 */

#include "bench.h"

static int on_process(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        const void *payload;
        uint64_t id;
        size_t size;
        int r;

        r = sd_bus_message_read(m, "t", &id);
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(m, 'y', &payload, &size);
        if (r < 0)
                return r;
        r = sd_bus_message_new_method_return(m, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_append_array(reply, 'y', payload, size);
        return r < 0 ? r : sd_bus_message_send(reply);
}

static const sd_bus_vtable worker_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Process", "taya{sv}", "ay", on_process, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static int serve(const char *address) {
        _cleanup_(sd_bus_closep) sd_bus *bus = NULL;
        int r;

        r = connect_to(address, &bus);
        if (r < 0)
                return r;
        r = sd_bus_add_object_vtable(bus, NULL, ECHO_PATH, WORKER_INTERFACE, worker_vtable, NULL);
        if (r < 0)
                return r;
        r = sd_bus_request_name(bus, ECHO_SERVICE, 0);
        if (r < 0)
                return r;
        puts("ready");
        if (fflush(stdout) != 0)
                return -errno;
        for (;;) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
                if (r < 0)
                        return r;
        }
}

int main(int argc, char *argv[]) {
        int r;

        if (argc != 2) {
                fputs("usage: bench-service ADDRESS\n", stderr);
                return 2;
        }
        r = serve(argv[1]);
        fprintf(stderr, "bench-service: %s\n", strerror(-r));
        return EXIT_FAILURE;
}
