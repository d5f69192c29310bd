/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the body of a submit call comes down to, so that it can be compared with that of another
 * call with the same Key. No secret goes into it: who finds two bodies of one digest fools nobody
 * else, as nobody meets the keys of others. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "engine/submit-key.h"

typedef struct Body {
        const struct iovec *payloads; /* borrowed */
        size_t n_payloads;
        int payload_fd;         /* borrowed: the regular file that is the payload; -EBADF = none */
        char *const *arguments; /* borrowed; NULL = none */
        bool group;             /* they are to be one */
} Body;

/* The digest of the number of payloads, their lengths and bytes, and the arguments. Of a file it is
 * which one that is, its size and when it was changed last: it may be large. 0, -ENOMEM, or what
 * fstat() says. */
int body_digest(const Body *body, uint8_t ret[static SUBMIT_DIGEST_SIZE]);
