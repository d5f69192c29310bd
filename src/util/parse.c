/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/macro.h"
#include "util/parse.h"
#include "util/strv.h"

#define BLANKS " \t\n\r"
#define NAME_MAX_LENGTH 64

int parse_boolean(const char *s, bool *ret) {
        static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (strcasecmp(s, words[i]) == 0) {
                        *ret = i % 2;
                        return 0;
                }
        return -EINVAL;
}

/* Reads the digits at *p and moves it behind them. */
static int parse_digits(const char **p, uint64_t *ret) {
        bool overflow = false;
        const char *s = *p;
        uint64_t n = 0;

        if (!isdigit((unsigned char) *s))
                return -EINVAL;
        for (; isdigit((unsigned char) *s); s++)
                overflow |= __builtin_mul_overflow(n, 10, &n) ||
                            __builtin_add_overflow(n, (uint64_t) (*s - '0'), &n);

        *p = s;
        *ret = n;
        return overflow ? -ERANGE : 0;
}

int parse_uint64(const char *s, uint64_t min, uint64_t max, uint64_t *ret) {
        uint64_t n;
        int r;

        /* What follows the digits decides first: "99999999999999999999x" is no number at all. */
        r = parse_digits(&s, &n);
        if (r == -EINVAL || *s)
                return -EINVAL;
        if (r < 0)
                return r;
        if (n < min || n > max)
                return -ERANGE;

        *ret = n;
        return 0;
}

int parse_int64(const char *s, int64_t min, int64_t max, int64_t *ret) {
        bool negative = *s == '-';
        uint64_t n;
        int64_t value;
        int r;

        if (*s == '-' || *s == '+')
                s++;
        r = parse_uint64(s, 0, (uint64_t) INT64_MAX + negative, &n);
        if (r < 0)
                return r;

        /* Negated as unsigned, so that INT64_MIN works as well. */
        value = (int64_t) (negative ? -n : n);
        if (value < min || value > max)
                return -ERANGE;

        *ret = value;
        return 0;
}

int parse_size(const char *s, uint64_t *ret) {
        static const char suffixes[] = "KMGT";
        const char *suffix;
        uint64_t n;
        int r, parsed;

        if (strcmp(s, "infinity") == 0) {
                *ret = UINT64_MAX;
                return 0;
        }

        parsed = parse_digits(&s, &n);
        if (parsed == -EINVAL)
                return -EINVAL;

        r = parsed;
        if (*s) {
                suffix = strchr(suffixes, *s);
                if (!suffix || s[1])
                        return -EINVAL;
                if (__builtin_mul_overflow(n, UINT64_C(1) << (10 * (suffix - suffixes + 1)), &n))
                        r = -ERANGE;
        }
        if (r < 0)
                return r;

        *ret = n;
        return 0;
}

int parse_cpu_set(const char *s, cpu_set_t *ret) {
        static const char separators[] = BLANKS ",";
        cpu_set_t set;
        int r;

        CPU_ZERO(&set);
        for (s += strspn(s, separators); *s; s += strspn(s, separators)) {
                uint64_t first, last;

                r = parse_digits(&s, &first);
                if (r < 0)
                        return r;

                last = first;
                if (*s == '-') {
                        s++;
                        r = parse_digits(&s, &last);
                        if (r < 0)
                                return r;
                }

                if (last < first || (*s && !strchr(separators, *s)))
                        return -EINVAL;
                if (last >= CPU_SETSIZE)
                        return -ERANGE;
                for (uint64_t i = first; i <= last; i++)
                        CPU_SET(i, &set);
        }

        *ret = set;
        return 0;
}

static int parse_byte(const char *digits, size_t n_digits, int base, char *ret) {
        char copy[4] = "", *end;
        long value;

        memcpy(copy, digits, strnlen(digits, n_digits));
        value = strtol(copy, &end, base);
        /* A NUL byte would silently end the word. strtol() also takes signs and blanks. */
        if (end != copy + n_digits || !isxdigit((unsigned char) copy[0]) || value < 1 ||
                value > 255)
                return -EINVAL;

        *ret = (char) value;
        return 0;
}

/* Reads the escape behind a backslash at *p and moves it behind that. */
static int parse_escape(const char **p, char *ret) {
        static const char from[] = "abfnrtvs", to[] = "\a\b\f\n\r\t\v ";
        const char *s = *p, *simple;
        int r;

        if (!*s)
                return -EINVAL;

        if (*s == 'x' || isdigit((unsigned char) *s)) {
                bool hex = *s == 'x';

                r = hex ? parse_byte(s + 1, 2, 16, ret) : parse_byte(s, 3, 8, ret);
                if (r < 0)
                        return r;
                *p = s + 3;
                return 0;
        }

        simple = strchr(from, *s);
        *ret = simple ? to[simple - from] : *s;
        *p = s + 1;
        return 0;
}

/* Copies the word at *p to `word`, which has room for all of the text, without its quotes and
 * escapes. */
static int take_word(const char **p, char *word) {
        const char *s = *p;
        char quote = 0;
        int r;

        while (*s && (quote || !strchr(BLANKS, *s))) {
                char c = *s++;

                if (c == '\\') {
                        r = parse_escape(&s, word);
                        if (r < 0)
                                return r;
                        word++;
                } else if (quote && c == quote)
                        quote = 0;
                else if (!quote && (c == '"' || c == '\''))
                        quote = c;
                else
                        *word++ = c;
        }

        if (quote)
                return -EINVAL;
        *word = '\0';
        *p = s;
        return 0;
}

int split_words(const char *s, char ***ret) {
        _cleanup_strv_ char **words = NULL;
        _cleanup_free_ char *word = NULL;
        int r;

        word = malloc(strlen(s) + 1);
        words = calloc(1, sizeof(*words));
        if (!word || !words)
                return -ENOMEM;

        for (s += strspn(s, BLANKS); *s; s += strspn(s, BLANKS)) {
                r = take_word(&s, word);
                if (r < 0)
                        return r;
                r = strv_extend(&words, word);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(words);
        return 0;
}

/* The bounds of the second byte keep out what is too long for its value, the surrogates, and what
 * is beyond U+10FFFF. */
size_t utf8_length(const char *text) {
        const unsigned char *s = (const unsigned char *) text;
        unsigned char low = 0x80, high = 0xBF;
        size_t length;

        if (s[0] < 0x80)
                return 1;
        if (s[0] >= 0xC2 && s[0] <= 0xDF)
                length = 2;
        else if (s[0] >= 0xE0 && s[0] <= 0xEF) {
                length = 3;
                low = s[0] == 0xE0 ? 0xA0 : low;
                high = s[0] == 0xED ? 0x9F : high;
        } else if (s[0] >= 0xF0 && s[0] <= 0xF4) {
                length = 4;
                low = s[0] == 0xF0 ? 0x90 : low;
                high = s[0] == 0xF4 ? 0x8F : high;
        } else
                return 0;

        /* The NUL at the end of the text is no continuation, so nothing beyond it is looked at. */
        if (s[1] < low || s[1] > high)
                return 0;
        for (size_t i = 2; i < length; i++)
                if ((s[i] & 0xC0) != 0x80)
                        return 0;
        return length;
}

bool utf8_is_control(const char *s) {
        const unsigned char *u = (const unsigned char *) s;

        return *u < ' ' || *u == 0x7F || (u[0] == 0xC2 && u[1] < 0xA0);
}

bool text_is_valid(const char *s) {
        while (*s) {
                size_t length = utf8_length(s);

                if (length == 0 || (utf8_is_control(s) && *s != '\t'))
                        return false;
                s += length;
        }
        return true;
}

bool name_is_valid(const char *s) {
        size_t length = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz"
                                  "0123456789_-.");

        return length > 0 && length <= NAME_MAX_LENGTH && !s[length] && *s != '.' && *s != '-';
}
