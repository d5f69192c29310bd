/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "build-config.h"
#include "daemon/daemon.h"
#include "util/log.h"
#include "util/strv.h"

#define EXIT_USAGE 2

typedef struct Arguments {
        DaemonOptions options;
        bool system;
        bool check;
} Arguments;

static void arguments_done(Arguments *arguments) {
        free(arguments->options.listen);
        free(arguments->options.state);
        strv_free(arguments->options.dirs);
}

static void print_help(void) {
        (void) printf(
                "sluiced [OPTION…]\n"
                "\n"
                "Runs work for other services: named pools of workers, on D-Bus.\n"
                "\n"
                "  --system           serve the system bus (the default)\n"
                "  --user             serve the session bus, with settings and socket of the user\n"
                "  --no-bus           serve no bus, only the direct socket\n"
                "  --listen=PATH      where the direct socket is\n"
                "                     (/run/sluice/bus; with --user $XDG_RUNTIME_DIR/sluice/bus)\n"
                "  --state=DIR        where durable jobs are kept ($STATE_DIRECTORY, or "
                "/var/lib/sluice;\n"
                "                     with --user $XDG_STATE_HOME/sluice; with --no-bus nowhere)\n"
                "  --config=DIR       read settings from here and nowhere else; may be repeated,\n"
                "                     the first one is the most important\n"
                "  --idle-timeout=TIME  exit when there was nothing to do or to keep for so long, "
                "such "
                "as\n"
                "                     5min; without it never\n"
                "  --log-level=LEVEL  err, warning, notice, info or debug\n"
                "  --check            report the faults of all settings and exit: 1 if there are "
                "any\n"
                "  --version          print the version and exit\n"
                "  --help             print this and exit\n"
                "\n"
                "Signals: TERM and INT drain and stop, a second one stops at once; HUP re-reads "
                "the\n"
                "settings.\n");
}

static int usage_error(const char *text, const char *value) {
        (void) fprintf(stderr, "sluiced: %s%s\nTry: sluiced --help\n", text, value);
        return -EINVAL;
}

/* 0 = go on, 1 = nothing is left to do, negative = wrong. */
static int parse_arguments(int argc, char **argv, Arguments *arguments) {
        enum {
                ARG_SYSTEM = 256,
                ARG_USER,
                ARG_NO_BUS,
                ARG_LISTEN,
                ARG_STATE,
                ARG_CONFIG,
                ARG_IDLE_TIMEOUT,
                ARG_LOG_LEVEL,
                ARG_CHECK,
                ARG_VERSION,
                ARG_HELP
        };
        static const struct option table[] = {
                { "system", no_argument, NULL, ARG_SYSTEM },
                { "user", no_argument, NULL, ARG_USER },
                { "no-bus", no_argument, NULL, ARG_NO_BUS },
                { "listen", required_argument, NULL, ARG_LISTEN },
                { "state", required_argument, NULL, ARG_STATE },
                { "config", required_argument, NULL, ARG_CONFIG },
                { "idle-timeout", required_argument, NULL, ARG_IDLE_TIMEOUT },
                { "log-level", required_argument, NULL, ARG_LOG_LEVEL },
                { "check", no_argument, NULL, ARG_CHECK },
                { "version", no_argument, NULL, ARG_VERSION },
                { "help", no_argument, NULL, ARG_HELP },
                {},
        };
        DaemonOptions *options = &arguments->options;
        int c;

        while ((c = getopt_long(argc, argv, "", table, NULL)) >= 0)
                switch (c) {

                case ARG_SYSTEM:
                        arguments->system = true;
                        break;

                case ARG_USER:
                        options->user = true;
                        break;

                case ARG_NO_BUS:
                        options->no_bus = true;
                        break;

                case ARG_LISTEN:
                        free(options->listen);
                        options->listen = strdup(optarg);
                        if (!options->listen)
                                return -ENOMEM;
                        break;

                case ARG_STATE:
                        free(options->state);
                        options->state = strdup(optarg);
                        if (!options->state)
                                return -ENOMEM;
                        break;

                case ARG_CONFIG:
                        if (strv_extend(&options->dirs, optarg) < 0)
                                return -ENOMEM;
                        break;

                case ARG_IDLE_TIMEOUT:
                        if (parse_usec(optarg, &options->idle_timeout) < 0)
                                return usage_error("--idle-timeout takes a time such as 5min, or "
                                                   "infinity, not ",
                                        optarg);
                        break;

                case ARG_LOG_LEVEL:
                        options->log_level = log_level_from_string(optarg);
                        if (options->log_level < 0)
                                return usage_error("--log-level takes err, warning, notice, info "
                                                   "or debug, not ",
                                        optarg);
                        break;

                case ARG_CHECK:
                        arguments->check = true;
                        break;

                case ARG_VERSION:
                        (void) printf("sluiced %s\n", SLUICE_VERSION);
                        return 1;

                case ARG_HELP:
                        print_help();
                        return 1;

                default:
                        /* getopt_long() has said what is wrong. */
                        (void) fprintf(stderr, "Try: sluiced --help\n");
                        return -EINVAL;
                }

        if (optind < argc)
                return usage_error("no argument is expected, but there is ", argv[optind]);
        if (arguments->system && options->user)
                return usage_error("--system and --user exclude each other", "");
        if (options->listen && options->listen[0] == '\0')
                return usage_error("--listen takes a path", "");
        if (options->state && options->state[0] == '\0')
                return usage_error("--state takes a path", "");
        if (!options->dirs)
                return config_search_path(options->user, &options->dirs);
        return 0;
}

/* Children get their own 0, 1 and 2; a pipe of ours must never be one of them. */
static int fill_standard_fds(void) {
        int fd;

        do
                fd = open("/dev/null", O_RDWR);
        while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd < 0)
                return -errno;
        (void) close(fd);
        return 0;
}

/* Connections, spawns and the files of SubmitFd need many. We do not use select(), and children
 * start with the usual soft limit, so there is no reason to be content with that. */
static void raise_fd_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                log_warning("Cannot raise the limit of open files: %s", strerror(errno));
}

/* The bus that pools are checked for. With that of the system it is not known here whether they can
 * be had: only its service gets the socket that units need. */
static HandlerBus checked_bus(const DaemonOptions *options) {
        return options->no_bus ? HANDLER_BUS_NONE
               : options->user ? HANDLER_BUS_USER
                               : HANDLER_BUS_UNKNOWN;
}

static int check(const Arguments *arguments) {
        const DaemonOptions *options = &arguments->options;
        _cleanup_(config_freep) Config *config = NULL;
        int r;

        r = config_load(
                options->dirs, FAIRNESS_NONE, checked_bus(options), /* made= */ NULL, &config);
        if (r < 0) {
                (void) fprintf(stderr, "sluiced: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        STRV_FOREACH (fault, config->faults)
                (void) printf("%s\n", *fault);
        return strv_length(config->faults) > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        _cleanup_(arguments_done) Arguments arguments = {
                .options.log_level = -1,
                .options.idle_timeout = USEC_INFINITY,
        };
        _cleanup_(daemon_freep) Daemon *daemon = NULL;
        int r;

        r = parse_arguments(argc, argv, &arguments);
        if (r == -ENOMEM)
                return EXIT_FAILURE;
        if (r != 0)
                return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
        if (arguments.check)
                return check(&arguments);

        if (arguments.options.log_level >= 0)
                log_set_level(arguments.options.log_level);
        raise_fd_limit();
        r = fill_standard_fds();
        if (r < 0)
                return EXIT_FAILURE;
        r = daemon_new(&arguments.options, &daemon);
        if (r < 0)
                return EXIT_FAILURE;
        return daemon_run(daemon) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
