/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* sluicectl: the command line of sluiced. */

#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "build-config.h"
#include "ctl/options.h"
#include "ctl/terminal.h"
#include "ctl/text.h"
#include "ctl/verbs.h"
#include "util/strv.h"

#define EXIT_USAGE 2

static Ctl ctl;
static bool arg_help, arg_version;

static const Option globals[] = {
        { "system", 0, NULL, &option_flag, &ctl.system, "Talk to the sluiced of the system" },
        { "user", 0, NULL, &option_flag, &ctl.user, "Talk to the one of this user" },
        { "address", 0, "ADDRESS", &option_text, &ctl.address,
                "Talk to the one at a D-Bus address or socket path" },
        { "no-start", 0, NULL, &option_flag, &ctl.no_start, "Fail where the bus would start it" },
        { "json", 0, "MODE", &option_json, &ctl.json, "Print JSON: short, pretty or off" },
        { "no-pager", 0, NULL, &option_flag, &ctl.no_pager, "Never start a pager" },
        { "no-legend", 0, NULL, &option_flag, &ctl.no_legend, "Print no headers and no totals" },
        { "quiet", 'q', NULL, &option_flag, &ctl.quiet, "Print only results and failures" },
        { "help", 'h', NULL, &option_flag, &arg_help, "Show this, or the help of a verb" },
        { "version", 0, NULL, &option_flag, &arg_version, "Show the version" },
};

static const Verb verb_help;

static const struct {
        const char *title;
        const Verb *verbs[8];
} groups[] = {
        { "Look", { &verb_list, &verb_status, &verb_jobs, &verb_monitor, &verb_help } },
        { "Work", { &verb_submit, &verb_run, &verb_map, &verb_wait, &verb_result, &verb_cancel } },
        { "Pools", { &verb_pause, &verb_resume, &verb_drain, &verb_clear, &verb_kick } },
        { "Limiters and breakers", { &verb_acquire, &verb_trip, &verb_reset } },
        { "Settings",
                { &verb_set, &verb_create, &verb_remove, &verb_cat, &verb_reload, &verb_check } },
};

static size_t collect_verbs(const Verb **verbs) {
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(groups); i++)
                for (size_t j = 0; j < ELEMENTSOF(groups[i].verbs) && groups[i].verbs[j]; j++)
                        verbs[n++] = groups[i].verbs[j];
        return n;
}

/* Room for all of them. */
#define VERBS_MAX (ELEMENTSOF(groups) * ELEMENTSOF(groups[0].verbs))

static int print_help(void) {
        printf("sluicectl [OPTION…] VERB [ARGUMENT…]\n\n"
               "Look at sluiced, give it work, and change its pools.\n");
        for (size_t i = 0; i < ELEMENTSOF(groups); i++) {
                printf("\n%s:\n", groups[i].title);
                for (size_t j = 0; j < ELEMENTSOF(groups[i].verbs) && groups[i].verbs[j]; j++) {
                        const Verb *verb = groups[i].verbs[j];
                        _cleanup_free_ char *usage =
                                text_format("%s %s", verb->name, verb->arguments);

                        printf("  %s%*s", usage, (int) (29 - text_columns(usage)), "");
                        terminal_print_wrapped(verb->summary, 31, 0, terminal_text_columns());
                }
        }
        printf("\nOptions, before or after the verb:\n");
        options_print_help(globals, ELEMENTSOF(globals));
        putchar('\n');
        terminal_print_wrapped(
                "\"sluicectl help VERB\" tells more. Without a verb, the pools are listed. "
                "$SLUICE_ADDRESS stands for --address=. Exit status: 0 done, 1 failed, 2 not "
                "understood.",
                0, 0, terminal_text_columns());
        return 0;
}

static int print_verb_help(const Verb *verb) {
        printf("sluicectl %s [OPTION…]%s%s\n\n%s.\n", verb->name, *verb->arguments ? " " : "",
                verb->arguments, verb->summary);
        if (verb->details)
                terminal_print_wrapped(verb->details, 0, 0, terminal_text_columns());
        if (verb->n_options > 0) {
                printf("\nOptions:\n");
                options_print_help(verb->options, verb->n_options);
        }
        printf("\nOptions of all verbs:\n");
        options_print_help(globals, ELEMENTSOF(globals));
        printf("\nExample:\n  %s\n", verb->example);
        return 0;
}

static int help(Ctl *c, char **arguments) {
        const Verb *verbs[VERBS_MAX], *verb;
        int r;

        if (strv_length(arguments) == 0)
                return print_help();
        r = verb_find(verbs, collect_verbs(verbs), arguments[0], &verb);
        return r < 0 ? r : print_verb_help(verb);
}

static const Verb verb_help = {
        .name = "help",
        .arguments = "[VERB]",
        .summary = "Show this, or the help of a verb",
        .details = "As \"sluicectl VERB --help\" does.",
        .example = "sluicectl help map",
        .max_arguments = 1,
        .run = help,
};

static int check_arguments(const Verb *verb, char *const *arguments) {
        size_t n = strv_length(arguments);

        if (n < verb->min_arguments)
                return usage_error("Too few arguments; expected: sluicectl %s %s", verb->name,
                        verb->arguments);
        if (n > verb->max_arguments)
                return usage_error("Unexpected argument \"%s\"; expected: sluicectl %s %s",
                        arguments[verb->max_arguments], verb->name, verb->arguments);
        if (ctl.system + ctl.user + (ctl.address != NULL) > 1)
                return usage_error("Only one of --system, --user and --address= can be given.");
        return 0;
}

static int run(int argc, char **argv) {
        const Verb *verbs[VERBS_MAX], *verb = NULL;
        _cleanup_strv_ char **arguments = NULL;
        int r;

        r = options_parse(&ctl, argc, argv, globals, ELEMENTSOF(globals), verbs,
                collect_verbs(verbs), &verb, &arguments);
        if (r < 0)
                return r;
        if (arg_help)
                return verb ? print_verb_help(verb) : print_help();
        if (arg_version) {
                printf("sluicectl %s\n", SLUICE_VERSION);
                return 0;
        }
        verb = verb ?: &verb_list;
        r = check_arguments(verb, arguments);
        return r < 0 ? r : verb->run(&ctl, arguments);
}

/* Output that could not be written is a failure, whatever else went well. */
static int close_output(int status) {
        bool failed = ferror(stdout);

        if ((fflush(stdout) == EOF || failed) && status == 0) {
                (void) failure(-errno, "write to standard output");
                return EXIT_FAILURE;
        }
        return status;
}

int main(int argc, char **argv) {
        int r;

        (void) setlocale(LC_CTYPE, "");
        terminal_init();
        r = run(argc, argv);
        if (r == -EINVAL)
                r = EXIT_USAGE;
        else if (r < 0)
                r = EXIT_FAILURE;
        r = close_output(r);
        pager_close();
        sd_bus_flush_close_unref(ctl.bus);
        return r;
}
