/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "ctl/terminal.h"
#include "ctl/text.h"
#include "util/parse.h"
#include "util/strv.h"

static struct {
        bool is_there, colour;
        size_t columns, lines;
        pid_t pager; /* 0 = none */
} terminal;

static size_t size_from_environment(const char *variable, size_t otherwise) {
        const char *s = getenv(variable);
        uint64_t n;

        return s && parse_uint64(s, 1, 10000, &n) >= 0 ? (size_t) n : otherwise;
}

void terminal_init(void) {
        const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
        struct winsize size = { 0 };

        terminal.columns = terminal.lines = SIZE_MAX;
        terminal.is_there = isatty(STDOUT_FILENO);
        if (!terminal.is_there)
                return;
        terminal.colour = !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
        (void) ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
        terminal.columns = size_from_environment("COLUMNS", size.ws_col > 0 ? size.ws_col : 80);
        terminal.lines = size_from_environment("LINES", size.ws_row > 0 ? size.ws_row : 24);
}

bool terminal_is_there(void) {
        return terminal.is_there;
}

size_t terminal_columns(void) {
        return terminal.columns;
}

size_t terminal_lines(void) {
        return terminal.lines;
}

const char *terminal_style(Style style) {
        static const char *const sequences[_STYLE_MAX] = {
                [STYLE_PLAIN] = "",
                [STYLE_GOOD] = "\x1B[0;1;32m",
                [STYLE_WARNING] = "\x1B[0;1;33m",
                [STYLE_BAD] = "\x1B[0;1;31m",
                [STYLE_FAINT] = "\x1B[0;90m",
                [STYLE_HEADER] = "\x1B[0;4m",
        };

        return terminal.colour ? sequences[style] : "";
}

const char *terminal_style_end(Style style) {
        return terminal.colour && style != STYLE_PLAIN ? "\x1B[0m" : "";
}

Style terminal_style_of_state(const char *state) {
        static const struct {
                const char *state;
                Style style;
        } styles[] = {
                { "running", STYLE_GOOD },
                { "succeeded", STYLE_GOOD },
                { "closed", STYLE_GOOD },
                { "paused", STYLE_WARNING },
                { "draining", STYLE_WARNING },
                { "stopping", STYLE_WARNING },
                { "half-open", STYLE_WARNING },
                { "cancelled", STYLE_WARNING },
                { "expired", STYLE_WARNING },
                { "dropped", STYLE_WARNING },
                { "refused", STYLE_WARNING },
                { "degraded", STYLE_BAD },
                { "failed", STYLE_BAD },
                { "timed-out", STYLE_BAD },
                { "lost", STYLE_BAD },
                { "open", STYLE_BAD },
                { "scheduled", STYLE_FAINT },
        };

        for (size_t i = 0; i < ELEMENTSOF(styles); i++)
                if (strcmp(styles[i].state, state) == 0)
                        return styles[i].style;
        return STYLE_PLAIN;
}

void terminal_print_wrapped(const char *text, size_t indent, size_t used, size_t columns) {
        /* Where nothing is left beside the indent, wrapping would make it worse. */
        size_t room = columns == SIZE_MAX || columns < indent + 20 ? SIZE_MAX : columns - indent;

        while (*text) {
                size_t length = strcspn(text, " \n"), width;
                _cleanup_free_ char *word = text_format("%.*s", (int) length, text);

                width = text_columns(word);
                if (used > 0 && used + 1 + width > room) {
                        printf("\n%*s", (int) indent, "");
                        used = 0;
                }
                used += (size_t) printf("%s", used > 0 ? " " : "") + width;
                fputs(word, stdout);
                text += length;
                if (*text == '\n' && text[1]) {
                        printf("\n%*s", (int) indent, "");
                        used = 0;
                }
                text += *text != 0;
        }
        putchar('\n');
}

size_t terminal_text_columns(void) {
        return MIN(terminal.columns, (size_t) 80);
}

/* Starts the words of the command with the read end of a pipe as its standard input. */
static int pager_spawn(char *const *command, int input, pid_t *ret) {
        posix_spawn_file_actions_t actions;
        int r;

        r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;
        r = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
        if (r == 0)
                r = posix_spawnp(ret, command[0], &actions, NULL, command, environ);
        (void) posix_spawn_file_actions_destroy(&actions);
        return -r;
}

void pager_open(const Ctl *ctl) {
        const char *const candidates[] = { getenv("SLUICE_PAGER"), getenv("PAGER"), "less" };
        const char *command = NULL;
        _cleanup_strv_ char **words = NULL;
        _cleanup_close_ int input = -EBADF, output = -EBADF;
        int fds[2];

        if (terminal.pager || !terminal.is_there || ctl->no_pager)
                return;
        for (size_t i = 0; i < ELEMENTSOF(candidates) && !command; i++)
                command = candidates[i];
        if (split_words(command, &words) < 0 || !words || !words[0])
                return;

        /* Leaves at once when it all fits, keeps colours, does not clear the screen, does not wrap.
         */
        (void) setenv("LESS", "FRSX", /* overwrite= */ 0);
        if (pipe2(fds, O_CLOEXEC) < 0)
                return;
        input = fds[0];
        output = fds[1];
        if (pager_spawn(words, input, &terminal.pager) < 0) {
                terminal.pager = 0;
                return;
        }
        (void) fflush(stdout);
        (void) dup2(output, STDOUT_FILENO);
        /* Ctrl-C is the pager's now, and one that was left early is no failure of ours. */
        (void) signal(SIGINT, SIG_IGN);
}

void pager_close(void) {
        if (!terminal.pager)
                return;
        (void) fclose(stdout);
        while (waitpid(terminal.pager, NULL, 0) < 0 && errno == EINTR)
                ;
        terminal.pager = 0;
}
