/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The files are read with inih, whose abilities were fixed when it was built, and differ between
 * distributions. The one of Debian cuts lines after 198 bytes and goes on with the rest as if it
 * were another line, ends values at " ;", takes "key: value", counts no lines, and names one bad
 * line per file at most. None of this suits files that are to read like those of systemd, where a
 * command line may be long and contain any of these. So it gets the file through a reader of ours,
 * which deals in logical lines:
 *
 *   - it counts lines, drops comments and joins lines that end in a backslash;
 *   - it says what is wrong with a line that is neither a section nor a setting, and keeps it back;
 *   - it tells of each section as it begins, which inih does only where it was built so;
 *   - it keeps the value of a setting aside: inih sees "Key=" and calls back with section and key,
 *     and the value comes from where it was put.
 *
 * What inih sees is therefore always short and well-formed, and every build of it does the same. */

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <ini.h>

#include "daemon/settings-file.h"
#include "util/macro.h"

#define BLANKS " \t\r"
#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* Of a section or key: below 50 bytes, beyond which inih would cut it. */
#define WORD_SIZE 48

typedef struct Parse {
        const SettingsVisitor *visitor;
        void *userdata;
        const char *rest, *end; /* what has not been read; borrowed from the caller */
        unsigned line;          /* number of the line at `rest` */
        char *logical;          /* the line being looked at, with room for the whole text */
        unsigned logical_line;  /* where it began */
        const char *value;      /* borrowed from it: what belongs to the key that inih was given */
        bool skip;              /* a header was bad: nobody wants what follows */
        int error;              /* why it was given up */
} Parse;

static void fault(Parse *parse, const char *text) {
        int r;

        r = parse->visitor->fault(parse->userdata, parse->logical_line, text);
        if (r < 0)
                parse->error = r;
}

/* Does the line end in a backslash that is not itself taken by one before it? */
static bool goes_on(const char *line, size_t size) {
        size_t n = 0;

        while (n < size && line[size - 1 - n] == '\\')
                n++;
        return n % 2 == 1;
}

/* The next line of the text, without blanks around it. False at the end. */
static bool next_line(Parse *parse, const char **ret, size_t *ret_size) {
        const char *line = parse->rest, *end;

        if (line == parse->end)
                return false;

        end = memchr(line, '\n', (size_t) (parse->end - line)) ?: parse->end;
        parse->rest = end < parse->end ? end + 1 : end;
        parse->line++;

        while (line < end && strchr(BLANKS, *line))
                line++;
        /* Only what ends a line in other worlds: "\ " at the end is a backslash for a blank. */
        if (end > line && end[-1] == '\r')
                end--;

        *ret = line;
        *ret_size = (size_t) (end - line);
        return true;
}

/* Puts the next logical line together; "" where nothing but blanks was joined. Comments in between
 * do not end it. False at the end. */
static bool next_logical_line(Parse *parse) {
        const char *line;
        size_t size, blanks, n = 0;
        bool begun = false, more = false;

        while (next_line(parse, &line, &size)) {
                if (size > 0 && (*line == '#' || *line == ';'))
                        continue;
                if (!begun) {
                        if (size == 0)
                                continue;
                        parse->logical_line = parse->line;
                        begun = true;
                }

                more = goes_on(line, size);
                memcpy(parse->logical + n, line, size);
                n += size;
                if (!more)
                        break;
                parse->logical[n - 1] = ' ';
        }

        while (n > 0 && strchr(BLANKS, parse->logical[n - 1]))
                n--;
        parse->logical[n] = '\0';

        /* Blanks at the start come from lines that were nothing but a backslash. */
        blanks = strspn(parse->logical, BLANKS);
        memmove(parse->logical, parse->logical + blanks, n - blanks + 1);
        return begun;
}

static bool is_word(const char *s, size_t size) {
        return size > 0 && size < WORD_SIZE && strspn(s, ALNUM) >= size;
}

/* inih says of a section only what is in it, and that nothing is in it may matter as well. */
static void tell_section(Parse *parse, size_t length) {
        char name[WORD_SIZE];
        int r;

        if (!parse->visitor->section)
                return;
        memcpy(name, parse->logical + 1, length - 2);
        name[length - 2] = '\0';
        r = parse->visitor->section(parse->userdata, parse->logical_line, name);
        if (r < 0)
                parse->error = r;
        parse->skip = r != 0;
}

/* Writes what inih is to see of a section's header. False if it is to see none. */
static bool hand_over_section(Parse *parse, char *buffer, size_t size) {
        size_t length = strlen(parse->logical);

        parse->skip = parse->logical[length - 1] != ']' || !is_word(parse->logical + 1, length - 2);
        if (parse->skip)
                fault(parse, "a section is a name in brackets, such as [Pool], and nothing else");
        else
                tell_section(parse, length);
        if (parse->skip)
                return false;

        (void) snprintf(buffer, size, "%s\n", parse->logical);
        return true;
}

/* The same for a setting. */
static bool hand_over_setting(Parse *parse, char *buffer, size_t size) {
        char *equals = strchr(parse->logical, '=');
        size_t length;

        if (parse->skip)
                return false;
        if (!equals) {
                fault(parse, "neither a [Section], nor a # comment, nor KEY=VALUE");
                return false;
        }

        length = (size_t) (equals - parse->logical);
        while (length > 0 && strchr(BLANKS, parse->logical[length - 1]))
                length--;
        if (!is_word(parse->logical, length)) {
                fault(parse, "what is before the = is not the name of a setting");
                return false;
        }

        parse->value = equals + 1 + strspn(equals + 1, BLANKS);
        (void) snprintf(buffer, size, "%.*s=\n", (int) length, parse->logical);
        return true;
}

/* Called by inih as fgets() would be. */
static char *read_for_inih(char *buffer, int size, void *userdata) {
        Parse *parse = userdata;

        /* A word, brackets, line feed, NUL; and inih calls back for each setting it was given. */
        assert(size >= WORD_SIZE + 4);
        assert(!parse->value);

        while (parse->error == 0 && next_logical_line(parse)) {
                if (!*parse->logical)
                        continue;
                if (strlen(parse->logical) > SETTINGS_LINE_MAX)
                        fault(parse, "the line is longer than 64K");
                else if (*parse->logical == '[' ? hand_over_section(parse, buffer, (size_t) size)
                                                : hand_over_setting(parse, buffer, (size_t) size))
                        return buffer;
        }
        return NULL;
}

static int setting_from_inih(
        void *userdata, const char *section, const char *key, const char *nothing) {
        Parse *parse = userdata;
        int r;

        r = parse->visitor->setting(
                parse->userdata, parse->logical_line, section, key, TAKE_PTR(parse->value));
        if (r < 0)
                parse->error = r;
        return 1;
}

int settings_file_parse(
        const char *text, size_t size, const SettingsVisitor *visitor, void *userdata) {
        static const char mark[] = "\xEF\xBB\xBF"; /* of byte order, as some editors leave it */
        _cleanup_free_ char *logical = NULL;
        Parse parse = {
                .visitor = visitor,
                .userdata = userdata,
                .rest = text,
                .end = text + size,
        };
        const char *nul;

        logical = malloc(size + 1);
        if (!logical)
                return -ENOMEM;
        parse.logical = logical;

        nul = size > 0 ? memchr(text, '\0', size) : NULL;
        if (nul) {
                unsigned line = 1;

                for (const char *p = text; p < nul; p++)
                        line += *p == '\n';
                return visitor->fault(userdata, line, "a NUL byte: this is no text file");
        }

        if (size >= strlen(mark) && memcmp(text, mark, strlen(mark)) == 0)
                parse.rest += strlen(mark);

        /* Its result only says that a line was bad, and we keep those back. */
        (void) ini_parse_stream(read_for_inih, &parse, setting_from_inih, &parse);
        return parse.error;
}
