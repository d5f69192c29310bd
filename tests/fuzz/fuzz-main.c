/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs a fuzz target once for each file named on the command line, without a fuzzer: so every file
 * of the corpus is a test with any compiler. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "fuzz.h"
#include "util/fd.h"

int main(int argc, char **argv) {
        for (int i = 1; i < argc; i++) {
                _cleanup_close_ int fd = open(argv[i], O_RDONLY | O_CLOEXEC);
                _cleanup_free_ void *data = NULL;
                size_t size;
                int r;

                r = fd < 0 ? -errno : fd_read_all(fd, SIZE_MAX, &data, &size);
                if (r < 0) {
                        (void) fprintf(stderr, "%s: %s\n", argv[i], strerror(-r));
                        return 1;
                }
                (void) LLVMFuzzerTestOneInput(data, size);
        }
        return 0;
}
