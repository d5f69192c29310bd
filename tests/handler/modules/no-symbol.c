/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A shared object, but no plug-in. */

extern const int unrelated;

__attribute__((visibility("default"))) const int unrelated = 1;
