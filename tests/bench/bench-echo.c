/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The same little work in each way that a program can be given it: without an argument its standard
 * input is the job, as of a command; with "coprocess" each netstring there is one; any other
 * argument is the job itself, as xargs gives it. What comes in goes out. */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[1 << 20];

static bool say(const char *data, size_t size) {
        while (size > 0) {
                ssize_t n = write(STDOUT_FILENO, data, size);

                if (n < 0)
                        return false;
                data += n;
                size -= (size_t) n;
        }
        return true;
}

/* The frame of a job with a sign before it is the answer. It is whole once its comma is there. */
static int coprocess(void) {
        size_t size = 1;

        buffer[0] = '+';
        for (;;) {
                ssize_t n = read(STDIN_FILENO, buffer + size, sizeof(buffer) - size);
                size_t whole;
                char *end;

                if (n <= 0)
                        return n < 0 || size > 1;
                size += (size_t) n;
                whole = strtoul(buffer + 1, &end, 10);
                if (*end != ':')
                        continue;
                whole += (size_t) (end - buffer) + 2;
                if (size < whole)
                        continue;
                if (!say(buffer, whole))
                        return 1;
                memset(buffer + 1, 0, size - 1);
                size = 1;
        }
}

int main(int argc, char **argv) {
        ssize_t n;

        if (argc > 1 && strcmp(argv[1], "coprocess") == 0)
                return coprocess();
        if (argc > 1)
                return !say(argv[1], strlen(argv[1]));
        while ((n = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0)
                if (!say(buffer, (size_t) n))
                        return 1;
        return n < 0;
}
