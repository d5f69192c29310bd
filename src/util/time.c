/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "util/time.h"

#define BLANKS " \t\n\r"

static const struct {
        const char *name;
        usec_t usec;
} units[] = {
        { "us", 1 },
        { "usec", 1 },
        { "µs", 1 },
        { "ms", USEC_PER_MSEC },
        { "msec", USEC_PER_MSEC },
        { "s", USEC_PER_SEC },
        { "sec", USEC_PER_SEC },
        { "second", USEC_PER_SEC },
        { "seconds", USEC_PER_SEC },
        { "m", USEC_PER_MINUTE },
        { "min", USEC_PER_MINUTE },
        { "minute", USEC_PER_MINUTE },
        { "minutes", USEC_PER_MINUTE },
        { "h", USEC_PER_HOUR },
        { "hr", USEC_PER_HOUR },
        { "hour", USEC_PER_HOUR },
        { "hours", USEC_PER_HOUR },
        { "d", USEC_PER_DAY },
        { "day", USEC_PER_DAY },
        { "days", USEC_PER_DAY },
        { "w", 7 * USEC_PER_DAY },
        { "week", 7 * USEC_PER_DAY },
        { "weeks", 7 * USEC_PER_DAY },
        { "M", USEC_PER_YEAR / 12 },
        { "month", USEC_PER_YEAR / 12 },
        { "months", USEC_PER_YEAR / 12 },
        { "y", USEC_PER_YEAR },
        { "year", USEC_PER_YEAR },
        { "years", USEC_PER_YEAR },
};

/* A decimal number as whole + fraction / scale. */
typedef struct Decimal {
        uint64_t whole, fraction, scale;
} Decimal;

/* A whole part that does not fit saturates, which is over every bound. Digits after the ninth
 * behind the point are below a microsecond for every unit up to the hour, and dropped. */
static int parse_decimal(const char **p, Decimal *ret) {
        Decimal d = { .scale = 1 };
        const char *s = *p;
        bool any = false;

        for (; isdigit((unsigned char) *s); s++, any = true) {
                if (__builtin_mul_overflow(d.whole, 10, &d.whole) ||
                        __builtin_add_overflow(d.whole, (uint64_t) (*s - '0'), &d.whole))
                        d.whole = UINT64_MAX / 10;
        }

        if (*s == '.') {
                for (s++; isdigit((unsigned char) *s); s++, any = true) {
                        if (d.scale == 1000000000)
                                continue;
                        d.fraction = d.fraction * 10 + (uint64_t) (*s - '0');
                        d.scale *= 10;
                }
        }

        if (!any || *s == '.')
                return -EINVAL;
        *p = s;
        *ret = d;
        return 0;
}

static int parse_unit(const char **p, usec_t *ret) {
        size_t length = strcspn(*p, BLANKS "0123456789.");

        if (length == 0) {
                *ret = USEC_PER_SEC;
                return 0;
        }

        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
                if (strlen(units[i].name) == length && memcmp(units[i].name, *p, length) == 0) {
                        *p += length;
                        *ret = units[i].usec;
                        return 0;
                }
        return -EINVAL;
}

int parse_usec(const char *s, usec_t *ret) {
        usec_t sum = 0;
        int r;

        s += strspn(s, BLANKS);
        if (strncmp(s, "infinity", 8) == 0 && s[8 + strspn(s + 8, BLANKS)] == '\0') {
                *ret = USEC_INFINITY;
                return 0;
        }

        do {
                Decimal number;
                usec_t unit, part;

                r = parse_decimal(&s, &number);
                if (r < 0)
                        return r;
                s += strspn(s, BLANKS);
                r = parse_unit(&s, &unit);
                if (r < 0)
                        return r;
                s += strspn(s, BLANKS);

                if (__builtin_mul_overflow(number.whole, unit, &part))
                        part = USEC_INFINITY;
                part = usec_add(
                        part, (usec_t) ((unsigned __int128) number.fraction * unit / number.scale));
                sum = usec_add(sum, part);
        } while (*s);

        /* Only now, so that a text that is no span at all is called that. */
        if (sum > USEC_SPAN_MAX)
                return -ERANGE;
        *ret = sum;
        return 0;
}

/* Writes value / 10^decimals without zeros at the end of the fraction, and the unit. */
static int print_decimal(char *p, size_t size, uint64_t value, int decimals, const char *unit) {
        uint64_t scale = 1;

        for (; decimals > 0 && value % 10 == 0; decimals--)
                value /= 10;
        for (int i = 0; i < decimals; i++)
                scale *= 10;

        if (decimals == 0)
                return snprintf(p, size, "%" PRIu64 "%s", value, unit);
        return snprintf(p, size, "%" PRIu64 ".%0*" PRIu64 "%s", value / scale, decimals,
                value % scale, unit);
}

/* Days, hours and minutes, and what is left as one number. Years only where nothing else is needed:
 * with 365.25 days each, "1y 34d 18h" would say less than "400d". */
char *format_usec(char buf[static FORMAT_USEC_MAX], usec_t t) {
        static const struct {
                const char *name;
                usec_t usec;
        } whole[] = { { "d", USEC_PER_DAY }, { "h", USEC_PER_HOUR }, { "min", USEC_PER_MINUTE } };
        const size_t size = FORMAT_USEC_MAX;
        size_t n = 0;

        if (t == 0 || t == USEC_INFINITY) {
                (void) snprintf(buf, size, "%s", t == 0 ? "0" : "infinity");
                return buf;
        }
        if (t % USEC_PER_YEAR == 0) {
                (void) snprintf(buf, size, "%" PRIu64 "y", t / USEC_PER_YEAR);
                return buf;
        }

        /* The longest is "213503982d 23h 59min 59.999999s": all of these fit. */
        for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
                if (t < whole[i].usec)
                        continue;
                n += (size_t) snprintf(buf + n, size - n, "%s%" PRIu64 "%s", n > 0 ? " " : "",
                        t / whole[i].usec, whole[i].name);
                t %= whole[i].usec;
        }

        if (t > 0 && n > 0)
                buf[n++] = ' ';
        if (t >= USEC_PER_SEC)
                (void) print_decimal(buf + n, size - n, t, 6, "s");
        else if (t >= USEC_PER_MSEC)
                (void) print_decimal(buf + n, size - n, t, 3, "ms");
        else if (t > 0)
                (void) print_decimal(buf + n, size - n, t, 0, "us");
        return buf;
}
