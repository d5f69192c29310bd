/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "bus/body-digest.h"
#include "util/macro.h"
#include "util/strv.h"

_Static_assert(sizeof(XXH128_canonical_t) == SUBMIT_DIGEST_SIZE, "the digest is one of XXH3");

static void free_state(XXH3_state_t **state) {
        (void) XXH3_freeState(*state);
}

/* Neither can fail with a state and bytes. */
static void add(XXH3_state_t *state, const void *data, size_t size) {
        if (size > 0)
                (void) XXH3_128bits_update(state, data, size);
}

static void add_number(XXH3_state_t *state, uint64_t number) {
        add(state, &number, sizeof(number));
}

static int add_file(XXH3_state_t *state, int fd) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        add_number(state, st.st_dev);
        add_number(state, st.st_ino);
        add_number(state, (uint64_t) st.st_size);
        add_number(state, (uint64_t) st.st_mtim.tv_sec);
        add_number(state, (uint64_t) st.st_mtim.tv_nsec);
        return 0;
}

int body_digest(const Body *body, uint8_t ret[static SUBMIT_DIGEST_SIZE]) {
        _cleanup_(free_state) XXH3_state_t *state = XXH3_createState();
        XXH128_canonical_t digest;
        int r;

        if (!state)
                return -ENOMEM;
        (void) XXH3_128bits_reset(state);
        /* Each part says how long it is, so that nothing can stand for two bodies. */
        add_number(state, body->group);
        add_number(state, body->payload_fd >= 0);
        if (body->payload_fd >= 0) {
                r = add_file(state, body->payload_fd);
                if (r < 0)
                        return r;
        }
        add_number(state, body->n_payloads);
        for (size_t i = 0; i < body->n_payloads; i++) {
                add_number(state, body->payloads[i].iov_len);
                add(state, body->payloads[i].iov_base, body->payloads[i].iov_len);
        }
        add_number(state, strv_length(body->arguments));
        STRV_FOREACH (s, body->arguments)
                add(state, *s, strlen(*s) + 1);
        XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(state));
        memcpy(ret, digest.digest, SUBMIT_DIGEST_SIZE);
        return 0;
}
