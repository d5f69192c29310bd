/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A coprocess for tests: answers each job with its payload in capitals, or does what the payload
 * says, little of which a coprocess should do.
 *
 *     coprocess-child [line] [greet] [twice] [deaf] [tell] [exit N]
 *
 * "line": by lines and not netstrings. "greet": says something at its start. "twice": answers
 * everything twice. "deaf": ignores SIGTERM. "tell": when it hangs, its parent hears of that by
 * SIGUSR1. "exit": has no wish to work at all. */

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool by_lines, twice, tells;

static void say(const void *data, size_t size) {
        const char *s = data;

        while (size > 0) {
                ssize_t n = write(STDOUT_FILENO, s, size);

                if (n < 0)
                        exit(errno == EPIPE ? 0 : 99);
                s += n;
                size -= (size_t) n;
        }
}

static void say_text(const char *text) {
        say(text, strlen(text));
}

static void answer(char sign, const char *text, size_t size) {
        static char *frame;
        static size_t room;
        size_t n = 0;

        if (room < size + 32) {
                room = size + 32;
                frame = realloc(frame, room);
                if (!frame)
                        exit(98);
        }
        if (!by_lines)
                n = (size_t) sprintf(frame, "%c%zu:", sign, size);
        memcpy(frame + n, text, size);
        n += size;
        frame[n++] = by_lines ? '\n' : ',';
        say(frame, n);
        if (twice)
                say(frame, n);
}

static void hang(void) {
        if (tells)
                (void) kill(getppid(), SIGUSR1);
        for (;;)
                (void) pause();
}

/* Says what nobody has asked for; SIGUSR2 stops it as well. */
static void talk(int number) {
        say_text("+5:HELLO,");
        if (number == SIGUSR2)
                (void) raise(SIGSTOP);
}

static void flood(unsigned n) {
        for (unsigned i = 0; i < n; i++)
                (void) fprintf(
                        stderr, "line %u of a flood of so many that nobody wants to see\n", i);
}

/* The payload, with a NUL byte after it; NULL at the end of the input. */
static char *read_job(size_t *ret_size) {
        static char *job;
        static size_t room;
        ssize_t n;

        if (by_lines) {
                n = getline(&job, &room, stdin);
                if (n <= 0)
                        return NULL;
                job[--n] = '\0';
                *ret_size = (size_t) n;
                return job;
        }
        if (scanf("%zu:", ret_size) != 1)
                return NULL;
        if (room < *ret_size + 1) {
                room = *ret_size + 1;
                job = realloc(job, room);
                if (!job)
                        exit(98);
        }
        if (fread(job, 1, *ret_size, stdin) != *ret_size || getchar() != ',')
                exit(97);
        job[*ret_size] = '\0';
        return job;
}

/* Things that end or spoil the conversation. True if that was one. */
static bool misbehave(const char *job) {
        unsigned n = 0;

        if (strcmp(job, "garbage") == 0)
                say_text("hello\n");
        else if (strcmp(job, "half") == 0)
                say_text("+10:half"), hang();
        else if (strcmp(job, "half and exit") == 0)
                say_text("+10:half"), exit(0);
        else if (strcmp(job, "much") == 0)
                say_text("+99999999:");
        else if (strcmp(job, "much by far") == 0)
                for (;;)
                        say_text("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        else if (strcmp(job, "two") == 0)
                say_text("+1:a,+1:b,");
        else if (strcmp(job, "nothing") == 0)
                hang();
        else if (strcmp(job, "close output") == 0)
                (void) close(STDOUT_FILENO), hang();
        else if (strcmp(job, "close input") == 0)
                answer('+', "last", 4), (void) close(STDIN_FILENO), hang();
        else if (sscanf(job, "exit %u", &n) == 1)
                (void) fprintf(stderr, "on the way\nout\n"), exit((int) n);
        else if (sscanf(job, "signal %u", &n) == 1)
                (void) raise((int) n);
        else if (strcmp(job, "orphan") == 0) {
                if (fork() == 0)
                        hang();
                exit(3);
        } else if (strcmp(job, "answer and exit") == 0)
                answer('+', "bye", 3), exit(0);
        else if (strcmp(job, "answer and die") == 0)
                answer('+', "bye", 3), (void) raise(SIGKILL);
        else
                return false;
        return true;
}

static void work(char *job, size_t size) {
        char pid[32];
        unsigned n;

        if (strcmp(job, "pid") == 0)
                answer('+', pid, (size_t) sprintf(pid, "%d", (int) getpid()));
        else if (strncmp(job, "fail ", 5) == 0)
                answer('-', job + 5, size - 5);
        else if (sscanf(job, "flood %u", &n) == 1)
                flood(n), answer('+', "done", 4);
        else if (!misbehave(job)) {
                for (size_t i = 0; i < size; i++)
                        job[i] = (char) toupper((unsigned char) job[i]);
                answer('+', job, size);
        }
}

int main(int argc, char **argv) {
        size_t size;
        char *job;

        (void) signal(SIGUSR1, talk);
        (void) signal(SIGUSR2, talk);
        for (int i = 1; i < argc; i++) {
                by_lines |= strcmp(argv[i], "line") == 0;
                twice |= strcmp(argv[i], "twice") == 0;
                tells |= strcmp(argv[i], "tell") == 0;
                if (strcmp(argv[i], "deaf") == 0)
                        (void) signal(SIGTERM, SIG_IGN);
                if (strcmp(argv[i], "greet") == 0)
                        say_text("Welcome!\n");
                if (strcmp(argv[i], "exit") == 0) {
                        (void) fprintf(stderr, "no wish to work\n");
                        return argv[i + 1] ? atoi(argv[i + 1]) : 0;
                }
        }
        while ((job = read_job(&size)))
                work(job, size);
        return 0;
}
