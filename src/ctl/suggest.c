/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdint.h>
#include <string.h>

#include "ctl/ctl.h"

#define WORD_MAX 32

/* How many letters must be changed, added, left out, or swapped with their neighbour to make one
 * word of the other (the restricted Damerau-Levenshtein distance). */
static size_t distance(const char *a, const char *b) {
        size_t rows[3][WORD_MAX + 1], n = strlen(a), m = strlen(b);
        size_t *before = rows[0], *above = rows[1], *row = rows[2];

        if (n > WORD_MAX || m > WORD_MAX)
                return SIZE_MAX;
        for (size_t j = 0; j <= m; j++)
                row[j] = j;
        for (size_t i = 1; i <= n; i++) {
                size_t *spare = before;

                before = above;
                above = row;
                row = spare;
                row[0] = i;
                for (size_t j = 1; j <= m; j++) {
                        size_t change = above[j - 1] + (a[i - 1] != b[j - 1]);
                        size_t add = MIN(above[j], row[j - 1]) + 1;

                        row[j] = MIN(change, add);
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                row[j] = MIN(row[j], before[j - 2] + 1);
                }
        }
        return row[m];
}

const char *did_you_mean(const char *word, const char *const *names, size_t n_names) {
        size_t length = strlen(word), best = length > 4 ? 2 : 1;
        const char *found = NULL;

        for (size_t i = 0; i < n_names; i++)
                if (length >= 3 && strncmp(names[i], word, length) == 0)
                        return names[i];
        for (size_t i = n_names; i-- > 0;) {
                size_t d = distance(word, names[i]);

                if (d <= best) {
                        best = d;
                        found = names[i];
                }
        }
        return found;
}
