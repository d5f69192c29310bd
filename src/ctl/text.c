/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "ctl/text.h"

noreturn void text_out_of_memory(void) {
        static const char message[] = "Out of memory.\n";

        (void) !write(STDERR_FILENO, message, sizeof(message) - 1);
        exit(EXIT_FAILURE);
}

char *text_copy(const char *s) {
        char *copy = strdup(s);

        if (!copy)
                text_out_of_memory();
        return copy;
}

char *text_format(const char *format, ...) {
        va_list ap;
        char *s;
        int r;

        va_start(ap, format);
        r = vasprintf(&s, format, ap);
        va_end(ap);
        if (r < 0)
                text_out_of_memory();
        return s;
}

bool text_locale_is_utf8(void) {
        return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* Bytes of the character at s, which has `size` bytes left; 0 if it is no valid UTF-8. The ranges
 * leave out overlong forms, surrogates, and all above U+10FFFF. */
static size_t utf8_length(const unsigned char *s, size_t size) {
        size_t n = s[0] < 0x80   ? 1
                   : s[0] < 0xC2 ? 0
                   : s[0] < 0xE0 ? 2
                   : s[0] < 0xF0 ? 3
                   : s[0] < 0xF5 ? 4
                                 : 0;

        if (n == 0 || n > size)
                return 0;
        for (size_t i = 1; i < n; i++)
                if ((s[i] & 0xC0) != 0x80)
                        return 0;
        if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
                (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
                return 0;
        return n;
}

bool text_is_utf8(const char *s, size_t size) {
        for (size_t i = 0; i < size;) {
                size_t n = s[i] ? utf8_length((const unsigned char *) s + i, size - i) : 0;

                if (n == 0)
                        return false;
                i += n;
        }
        return true;
}

/* The next character of s in the locale's character set and how many bytes it has; what is no
 * character counts as one byte that is not printable. Sets a width of -1 for what must not be
 * sent to a terminal. */
static size_t next_character(const char *s, mbstate_t *state, int *ret_width) {
        wchar_t c;
        size_t n = mbrtowc(&c, s, MB_CUR_MAX, state);

        if (n == (size_t) -1 || n == (size_t) -2) {
                *state = (mbstate_t){ 0 };
                *ret_width = -1;
                return 1;
        }
        *ret_width = wcwidth(c);
        return n;
}

char *text_clean(const char *s, bool lines) {
        char *copy = malloc(strlen(s) + 1), *p = copy;
        mbstate_t state = { 0 };

        if (!copy)
                text_out_of_memory();
        while (*s) {
                int width;
                size_t n = next_character(s, &state, &width);

                if (width >= 0 || (lines && *s == '\n')) {
                        memcpy(p, s, n);
                        p += n;
                } else
                        *p++ = *s == '\n' || *s == '\t' ? ' ' : '?';
                s += n;
        }
        *p = 0;
        return copy;
}

size_t text_columns(const char *s) {
        mbstate_t state = { 0 };
        size_t columns = 0;

        while (*s) {
                int width;

                s += next_character(s, &state, &width);
                columns += width < 0 ? 1 : (size_t) width;
        }
        return columns;
}

char *text_ellipsize(const char *s, size_t columns) {
        const char *ellipsis = text_locale_is_utf8() ? "…" : "...";
        size_t room, used = 0, bytes = 0;
        mbstate_t state = { 0 };

        if (text_columns(s) <= columns)
                return text_copy(s);
        if (text_columns(ellipsis) > columns)
                return text_format("%.*s", (int) columns, s);
        room = columns - text_columns(ellipsis);
        for (;;) {
                int width;
                size_t n = next_character(s + bytes, &state, &width);
                size_t w = width < 0 ? 1 : (size_t) width;

                if (used + w > room)
                        break;
                used += w;
                bytes += n;
        }
        return text_format("%.*s%s", (int) bytes, s, ellipsis);
}

/* Above a minute, what is less than the second unit is left out. */
static usec_t round_span(usec_t t) {
        usec_t step = t >= USEC_PER_DAY    ? USEC_PER_HOUR
                      : t >= USEC_PER_HOUR ? USEC_PER_MINUTE
                                           : USEC_PER_SEC;

        return t < USEC_PER_MINUTE ? t : t - t % step;
}

char *text_span(usec_t t) {
        char buf[FORMAT_USEC_MAX];
        usec_t unit = t < USEC_PER_SEC ? USEC_PER_MSEC : USEC_PER_SEC;
        const char *name = t < USEC_PER_SEC ? "ms" : "s";
        double value = (double) t / (double) unit;
        int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
        char number[32];

        if (t >= USEC_PER_YEAR && t != USEC_INFINITY)
                return text_format("%" PRIu64 "y %" PRIu64 "d", t / USEC_PER_YEAR,
                        t % USEC_PER_YEAR / USEC_PER_DAY);
        if (t < USEC_PER_MSEC || t >= USEC_PER_MINUTE)
                return text_copy(format_usec(buf, t == USEC_INFINITY ? t : round_span(t)));

        (void) snprintf(number, sizeof(number), "%.*f", digits, value);
        if (strchr(number, '.')) {
                size_t n = strlen(number);

                while (number[n - 1] == '0')
                        n--;
                if (number[n - 1] == '.')
                        n--;
                number[n] = 0;
        }
        return text_format("%s%s", number, name);
}

char *text_moment(usec_t realtime, usec_t now) {
        time_t seconds = (time_t) (realtime / USEC_PER_SEC);
        _cleanup_free_ char *distance = NULL;
        char date[64] = "?";
        struct tm tm;

        if (localtime_r(&seconds, &tm))
                (void) strftime(date, sizeof(date), "%a %Y-%m-%d %H:%M:%S %Z", &tm);
        distance = text_span(realtime <= now ? now - realtime : realtime - now);
        return text_format("%s; %s %s", date, distance, realtime <= now ? "ago" : "from now");
}

char *text_base64(const void *data, size_t size) {
        static const char digits[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const unsigned char *p = data;
        char *s, *q;

        if (size > SIZE_MAX / 2 || !(s = q = malloc((size + 2) / 3 * 4 + 1)))
                text_out_of_memory();
        for (size_t i = 0; i < size; i += 3) {
                size_t n = MIN(size - i, (size_t) 3);
                uint32_t bits = (uint32_t) p[i] << 16 | (n > 1 ? (uint32_t) p[i + 1] << 8 : 0) |
                                (n > 2 ? p[i + 2] : 0);

                *q++ = digits[bits >> 18];
                *q++ = digits[bits >> 12 & 63];
                *q++ = n > 1 ? digits[bits >> 6 & 63] : '=';
                *q++ = n > 2 ? digits[bits & 63] : '=';
        }
        *q = 0;
        return s;
}
