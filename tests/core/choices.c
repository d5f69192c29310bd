/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>

#include "core/choices.h"
#include "core/random.h"

unsigned choices_below(Choices *c, unsigned n) {
        unsigned choice;

        assert(n >= 1 && n <= 256);
        if (!c->data)
                choice = (unsigned) random_below(&c->random, n);
        else if (c->size == 0)
                choice = 0;
        else {
                c->size--;
                choice = *c->data++ % n;
        }
        if (c->written && c->n_written < CHOICES_MAX)
                c->written[c->n_written++] = (uint8_t) choice;
        return choice;
}

size_t choices_shorten(uint8_t *data, size_t size,
        bool (*is_wanted)(const uint8_t *data, size_t size, const void *userdata),
        const void *userdata) {
        uint8_t removed[CHOICES_MAX];

        assert(size <= CHOICES_MAX);
        /* Large parts first. What follows from one choice is mostly a few bytes, so parts of any
         * size are tried at any place. */
        for (size_t part = size / 2; part > 0; part = part > 8 ? part / 2 : part - 1)
                for (size_t i = 0; i + part <= size;) {
                        memcpy(removed, data + i, part);
                        memmove(data + i, data + i + part, size - i - part);
                        if (is_wanted(data, size - part, userdata)) {
                                size -= part;
                                continue;
                        }
                        memmove(data + i + part, data + i, size - i - part);
                        memcpy(data + i, removed, part);
                        i++;
                }
        for (size_t i = 0; i < size; i++) {
                uint8_t was = data[i];

                data[i] = 0;
                if (was != 0 && !is_wanted(data, size, userdata))
                        data[i] = was;
        }
        return size;
}
