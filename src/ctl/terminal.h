/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The terminal on standard output, as it was when the program started: its size, whether colour is
 * welcome, and the pager for what is longer than it. */

#include <stdbool.h>
#include <stddef.h>

#include "ctl/ctl.h"

typedef enum Style {
        STYLE_PLAIN,
        STYLE_GOOD,
        STYLE_WARNING,
        STYLE_BAD,
        STYLE_FAINT,
        STYLE_HEADER,
        _STYLE_MAX,
} Style;

void terminal_init(void); /* looks at standard output, $COLUMNS, $TERM and $NO_COLOR */

bool terminal_is_there(void);
size_t terminal_columns(void); /* SIZE_MAX where there is no terminal, so nothing is cut */
size_t terminal_lines(void);   /* likewise */

/* What to print before and after text of that style: "" without colour. */
const char *terminal_style(Style style);
const char *terminal_style_end(Style style);

/* The style in which the state or the result of anything is shown. */
Style terminal_style_of_state(const char *state);

/* Prints text and a newline, broken at blanks before `columns` are full. The first line begins
 * where the cursor is, which is `used` columns after `indent`, with a blank unless that is 0; the
 * others are indented to there. */
void terminal_print_wrapped(const char *text, size_t indent, size_t used, size_t columns);

/* How wide running text like that of --help is set. */
size_t terminal_text_columns(void);

/* From here on standard output goes through $SLUICE_PAGER, $PAGER or less, if it is a terminal and
 * no option or empty variable forbids. Where no pager can be started the output is just long. */
void pager_open(const Ctl *ctl);

/* Ends the output and waits until the reader has left the pager. */
void pager_close(void);
