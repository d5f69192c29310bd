/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "private-bus.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

extern char **environ;

static const char settings[] =
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n"
        " \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
        "<busconfig>\n"
        "  <type>session</type>\n"
        "  <listen>unix:path=%s/socket</listen>\n"
        "  <servicedir>%s</servicedir>\n"
        "  <auth>EXTERNAL</auth>\n"
        "  <policy context=\"default\">\n"
        "    <allow user=\"*\"/>\n"
        "    <allow own=\"*\"/>\n"
        "    <allow send_destination=\"*\"/>\n"
        "    <allow receive_sender=\"*\"/>\n"
        "  </policy>\n"
        "  <limit name=\"max_replies_per_connection\">128</limit>\n"
        "</busconfig>\n";

static FILE *create(const PrivateBus *bus, const char *name) {
        char path[512];
        FILE *f;

        (void) snprintf(path, sizeof(path), "%s/%s", bus->folder, name);
        f = fopen(path, "we");
        assert_non_null(f);
        return f;
}

void private_bus_init(PrivateBus *bus) {
        char address[128];
        FILE *f;

        *bus = (PrivateBus){ .folder = "/tmp/sluice-bus.XXXXXX" };
        assert_non_null(mkdtemp(bus->folder));
        f = create(bus, "bus.conf");
        assert_true(fprintf(f, settings, bus->folder, bus->folder) > 0);
        assert_int_equal(fclose(f), 0);
        (void) snprintf(address, sizeof(address), "unix:path=%s/socket", bus->folder);
        assert_int_equal(setenv("DBUS_SESSION_BUS_ADDRESS", address, 1), 0);
}

void private_bus_add_service(PrivateBus *bus, const char *name, const char *command) {
        char file[300];
        FILE *f;

        (void) snprintf(file, sizeof(file), "%s.service", name);
        f = create(bus, file);
        assert_true(fprintf(f, "[D-BUS Service]\nName=%s\nExec=%s\n", name, command) > 0);
        assert_int_equal(fclose(f), 0);
}

void private_bus_start(PrivateBus *bus) {
        char option[128], fd_option[64], c = 0;
        char *words[] = { (char *) "dbus-daemon", (char *) "--nofork", (char *) "--nopidfile",
                option, fd_option, NULL };
        posix_spawn_file_actions_t actions;
        int fds[2];

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        (void) snprintf(option, sizeof(option), "--config-file=%s/bus.conf", bus->folder);
        (void) snprintf(fd_option, sizeof(fd_option), "--print-address=%i", 3);
        assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
        assert_int_equal(posix_spawn_file_actions_adddup2(&actions, fds[1], 3), 0);
        /* It complains of every service that does not start. */
        assert_int_equal(
                posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0),
                0);
        assert_int_equal(posix_spawnp(&bus->pid, words[0], &actions, NULL, words, environ), 0);
        (void) posix_spawn_file_actions_destroy(&actions);
        (void) close(fds[1]);

        /* The address is written when it listens. */
        while (c != '\n')
                assert_int_equal(read(fds[0], &c, 1), 1);
        (void) close(fds[0]);
}

void private_bus_kill(PrivateBus *bus) {
        char path[128];

        if (bus->pid <= 0)
                return;
        (void) kill(bus->pid, SIGKILL);
        assert_int_equal(waitpid(bus->pid, NULL, 0), bus->pid);
        bus->pid = 0;
        (void) snprintf(path, sizeof(path), "%s/socket", bus->folder);
        (void) unlink(path);
}

void private_bus_done(PrivateBus *bus) {
        struct dirent *entry;
        char path[512];
        DIR *dir;

        private_bus_kill(bus);
        dir = opendir(bus->folder);
        assert_non_null(dir);
        while ((entry = readdir(dir))) {
                (void) snprintf(path, sizeof(path), "%s/%s", bus->folder, entry->d_name);
                (void) unlink(path);
        }
        (void) closedir(dir);
        assert_int_equal(rmdir(bus->folder), 0);
        (void) unsetenv("DBUS_SESSION_BUS_ADDRESS");
}
