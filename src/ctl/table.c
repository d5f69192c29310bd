/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>

#include "ctl/json.h"
#include "ctl/table.h"
#include "ctl/terminal.h"
#include "ctl/text.h"

#define TABLE_BLOCK 1000 /* rows that are measured and printed together */
#define SHRUNK_MIN 8     /* columns that are left of one that shrinks */
#define GAP 2

void table_init(Table *table, const Ctl *ctl, const Column *columns, size_t n_columns) {
        *table = (Table){
                .ctl = ctl,
                .columns = columns,
                .n_columns = n_columns,
                .rows = json_object_new_array(),
        };
}

void table_done(Table *table) {
        json_object_put(table->rows);
}

/* "-" stands where there is nothing to tell, so that columns can be counted by eye and by awk. */
static char *cell_text(json_object *row, const Column *column) {
        const char *s = json_text(row, column->key);

        return text_clean(s && *s ? s : "-", /* lines= */ false);
}

static size_t total_width(const Table *table) {
        size_t width = 0;

        for (size_t i = 0; i < table->n_columns; i++)
                if (table->widths[i] > 0)
                        width += table->widths[i] + (width > 0 ? GAP : 0);
        return width;
}

/* The index of the widest column that can still give a place; n_columns if there is none. */
static size_t widest_to_shrink(const Table *table) {
        size_t widest = table->n_columns;

        for (size_t i = 0; i < table->n_columns; i++)
                if ((table->columns[i].flags & COLUMN_SHRINKS) && table->widths[i] > SHRUNK_MIN &&
                        (widest == table->n_columns || table->widths[i] > table->widths[widest]))
                        widest = i;
        return widest;
}

/* Cutting comes first, for half a name is better than a missing column. */
static void fit(Table *table, size_t columns) {
        while (total_width(table) > columns) {
                size_t i = widest_to_shrink(table);

                if (i == table->n_columns)
                        break;
                table->widths[i]--;
        }
        for (size_t i = table->n_columns; i-- > 0 && total_width(table) > columns;)
                if (table->columns[i].flags & COLUMN_OPTIONAL)
                        table->widths[i] = 0;
}

static void measure(Table *table) {
        size_t n = json_object_array_length(table->rows);

        for (size_t i = 0; i < table->n_columns; i++) {
                size_t width = table->ctl->no_legend ? 1 : text_columns(table->columns[i].header);

                for (size_t j = 0; j < n; j++) {
                        _cleanup_free_ char *text = cell_text(
                                json_object_array_get_idx(table->rows, j), table->columns + i);

                        width = MAX(width, text_columns(text));
                }
                table->widths[i] = width;
        }
        fit(table, terminal_columns());
}

static bool is_last_shown(const Table *table, size_t column) {
        for (size_t i = column + 1; i < table->n_columns; i++)
                if (table->widths[i] > 0)
                        return false;
        return true;
}

/* Prints a cell, with blanks after it only where another follows. */
static void print_cell(const Table *table, size_t column, const char *text, Style style) {
        const Column *c = table->columns + column;
        size_t width = table->widths[column];
        _cleanup_free_ char *cut = text_ellipsize(
                text, (c->flags & COLUMN_SHRINKS) ? width : MAX(width, text_columns(text)));
        size_t used = text_columns(cut), blanks = width > used ? width - used : 0;
        bool last = is_last_shown(table, column);

        if (c->flags & COLUMN_RIGHT)
                printf("%*s", (int) blanks, "");
        printf("%s%s%s", terminal_style(style), cut, terminal_style_end(style));
        if (!(c->flags & COLUMN_RIGHT) && !last)
                printf("%*s", (int) blanks, "");
        if (!last)
                printf("%*s", GAP, "");
}

static void print_header(const Table *table) {
        for (size_t i = 0; i < table->n_columns; i++)
                if (table->widths[i] > 0)
                        print_cell(table, i, table->columns[i].header, STYLE_HEADER);
        putchar('\n');
}

static void print_row(const Table *table, json_object *row) {
        for (size_t i = 0; i < table->n_columns; i++) {
                _cleanup_free_ char *text = NULL;

                if (table->widths[i] == 0)
                        continue;
                text = cell_text(row, table->columns + i);
                print_cell(table, i, text,
                        table->columns[i].flags & COLUMN_STATE ? terminal_style_of_state(text)
                                                               : STYLE_PLAIN);
        }
        putchar('\n');
}

/* Rows as one array over all blocks, each on its own line. */
static void print_json_rows(const Table *table, size_t n) {
        int flags = JSON_C_TO_STRING_NOSLASHESCAPE;

        if (table->ctl->json == JSON_PRETTY)
                flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;
        for (size_t i = 0; i < n; i++)
                printf("%s%s", table->n_printed + i > 0 ? ",\n" : "[",
                        json_object_to_json_string_ext(
                                json_object_array_get_idx(table->rows, i), flags));
}

static void flush(Table *table) {
        size_t n = json_object_array_length(table->rows);

        if (table->ctl->json != JSON_OFF)
                print_json_rows(table, n);
        else if (n > 0) {
                if (table->n_printed == 0) {
                        measure(table);
                        if (n + 3 > terminal_lines())
                                pager_open(table->ctl);
                        if (!table->ctl->no_legend)
                                print_header(table);
                }
                for (size_t i = 0; i < n; i++)
                        print_row(table, json_object_array_get_idx(table->rows, i));
        }
        table->n_printed += n;
        json_object_put(table->rows);
        table->rows = json_object_new_array();
}

void table_add(Table *table, json_object *row) {
        if (json_object_array_add(table->rows, row) < 0)
                text_out_of_memory();
        if (json_object_array_length(table->rows) >= TABLE_BLOCK)
                flush(table);
}

void table_end(Table *table) {
        flush(table);
        if (table->ctl->json != JSON_OFF)
                printf("%s]\n", table->n_printed == 0 ? "[" : "");
}

void table_finish(Table *table, const char *singular, const char *plural) {
        table_end(table);
        if (table->ctl->json != JSON_OFF)
                return;
        if (!table->ctl->no_legend && table->n_printed == 0)
                printf("No %s.\n", plural);
        else if (!table->ctl->no_legend)
                printf("\n%zu %s listed.\n", table->n_printed,
                        table->n_printed == 1 ? singular : plural);
}
