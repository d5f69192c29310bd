/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A plug-in that can do no job. */

#include <sluice/module.h>

SLUICE_MODULE(.name = "nothing-to-do");
