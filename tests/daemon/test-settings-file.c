/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <string.h>

#include "daemon/settings-file.h"
#include "test.h"
#include "util/macro.h"
#include "util/strv.h"

/* Writes down what the parser tells: "LINE [SECTION] KEY=VALUE" and "LINE! TEXT". */
static int note_setting(
        void *userdata, unsigned line, const char *section, const char *key, const char *value) {
        char *text;

        assert_true(asprintf(&text, "%u [%s] %s=%s", line, section, key, value) >= 0);
        return strv_push(userdata, text);
}

static int note_fault(void *userdata, unsigned line, const char *text) {
        char *note;

        assert_true(asprintf(&note, "%u! %s", line, text) >= 0);
        return strv_push(userdata, note);
}

static const SettingsVisitor notes_visitor = { note_setting, note_fault };

#define SECTION_FAULT "a section is a name in brackets, such as [Pool], and nothing else"
#define LINE_FAULT "neither a [Section], nor a # comment, nor KEY=VALUE"
#define KEY_FAULT "what is before the = is not the name of a setting"

static void lines_are_read_as_in_files_of_systemd(void **state) {
        static const struct {
                const char *text;
                const char *notes[6];
        } rows[] = {
                { "", { NULL } },
                { "\n\n  \n\t", { NULL } },
                { "[Pool]\nWorkers=4\n", { "2 [Pool] Workers=4" } },
                { "[Pool]\nWorkers=4", { "2 [Pool] Workers=4" } },
                { "[Pool]\r\nWorkers=4\r\n", { "2 [Pool] Workers=4" } },
                { "\xEF\xBB\xBF[Pool]\nWorkers=4\n", { "2 [Pool] Workers=4" } },
                { "  [Pool]  \n\t Workers \t = 4  \n", { "2 [Pool] Workers=4" } },
                { "[A]\nX=1\n[B]\nX=2\n[A]\nX=3\n", { "2 [A] X=1", "4 [B] X=2", "6 [A] X=3" } },
                { "# one\n; two\n[A]\n  # three\nX=1\n", { "5 [A] X=1" } },
                { "[A]\nX=\n", { "2 [A] X=" } },
                { "[A]\nX=a=b\n", { "2 [A] X=a=b" } },
                { "X=1\n", { "1 [] X=1" } },

                /* What is behind the = is the value, whatever it looks like. */
                { "[A]\nX=a ; b\n", { "2 [A] X=a ; b" } },
                { "[A]\nX=a # b\n", { "2 [A] X=a # b" } },
                { "[A]\nX=; b\n", { "2 [A] X=; b" } },
                { "[A]\nX=[B]\n", { "2 [A] X=[B]" } },
                { "[A]\nX=a: b\n", { "2 [A] X=a: b" } },
                { "[A]\nX=\"a\"\n", { "2 [A] X=\"a\"" } },

                /* Lines that go on. */
                { "[A]\nX=a \\\n  b\\\nc\nY=1\n", { "2 [A] X=a  b c", "5 [A] Y=1" } },
                { "[A]\nX=a \\\n# not this\n  b\nY=1\n", { "2 [A] X=a  b", "5 [A] Y=1" } },
                { "[A]\nX=a\\\\\nY=1\n", { "2 [A] X=a\\\\", "3 [A] Y=1" } },
                { "[A]\nX=a\\\\\\\nY=1\n", { "2 [A] X=a\\\\ Y=1" } },
                { "[A]\nX=a\\\n\nY=1\n", { "2 [A] X=a", "4 [A] Y=1" } },
                { "[A]\nX=a\\", { "2 [A] X=a" } },
                { "# a\\\n[A]\nX=1\n", { "3 [A] X=1" } },
                { "\\\n", { NULL } },
                { "\\\n\n[A]\nX=1\n", { "4 [A] X=1" } },
                { "\\\n\\\n[A]\nX=1\n", { "4 [A] X=1" } },
                { "[A]\n\\\nX=1\n", { "2 [A] X=1" } },

                /* Faults. */
                { "[A]\nWorkers\n", { "2! " LINE_FAULT } },
                { "[A]\nWorkers: 4\nX=1\n", { "2! " LINE_FAULT, "3 [A] X=1" } },
                { "[A]\n=4\n", { "2! " KEY_FAULT } },
                { "[A]\nMin Workers=4\n", { "2! " KEY_FAULT } },
                { "[A]\nWorkers:x=4\n", { "2! " KEY_FAULT } },
                { "[A]\nW\303\266rkers=4\n", { "2! " KEY_FAULT } },
                { "[A]\nAbcdefghijklmnopqrstuvwxyzAbcdefghijklmnopqrstuv=4\n",
                        { "2! " KEY_FAULT } },
                { "[A]\nAbcdefghijklmnopqrstuvwxyzAbcdefghijklmnopqrstu=4\n",
                        { "2 [A] AbcdefghijklmnopqrstuvwxyzAbcdefghijklmnopqrstu=4" } },
                { "[AbcdefghijklmnopqrstuvwxyzAbcdefghijklmnopqrstu]\nX=1\n",
                        { "2 [AbcdefghijklmnopqrstuvwxyzAbcdefghijklmnopqrstu] X=1" } },
                { "[\n", { "1! " SECTION_FAULT } },
                { "[]\n", { "1! " SECTION_FAULT } },
                { "]\n", { "1! " LINE_FAULT } },

                /* Whose settings follow on a bad header is not known, so nothing is said of them.
                 */
                { "[A\nX=1\nbad\n[B]\nX=2\n", { "1! " SECTION_FAULT, "5 [B] X=2" } },
                { "[A] # no\nX=1\n", { "1! " SECTION_FAULT } },
                { "[A][B]\n", { "1! " SECTION_FAULT } },
                { "[A B]\n", { "1! " SECTION_FAULT } },
                { "[Abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuv]\n", { "1! " SECTION_FAULT } },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_strv_ char **notes = NULL;

                assert_int_equal(settings_file_parse(rows[i].text, strlen(rows[i].text),
                                         &notes_visitor, &notes),
                        0);
                for (size_t k = 0; k < ELEMENTSOF(rows[i].notes) && rows[i].notes[k]; k++)
                        if (k >= strv_length(notes) || strcmp(notes[k], rows[i].notes[k]) != 0)
                                fail_msg("row %zu: \"%s\" instead of \"%s\"", i,
                                        k < strv_length(notes) ? notes[k] : "nothing",
                                        rows[i].notes[k]);
                if (!strv_equal(notes, (char *const *) rows[i].notes))
                        fail_msg("row %zu: too much is told", i);
        }
}

static int note_section(void *userdata, unsigned line, const char *section) {
        char *text;

        assert_true(asprintf(&text, "%u [%s]", line, section) >= 0);
        assert_int_equal(strv_push(userdata, text), 0);
        return strcmp(section, "Skip") == 0;
}

static void every_section_is_told_of_also_one_without_settings(void **state) {
        static const SettingsVisitor visitor = { note_setting, note_fault, note_section };
        static const char text[] =
                "X=0\n[A]\n# [no]\n[B]\nX=1\n[Skip]\nX=2\nbad\n[A]\nX=3\n[C]\n[bad]]\n[D]";
        static const char *const notes[] = { "1 [] X=0", "2 [A]", "4 [B]", "5 [B] X=1", "6 [Skip]",
                "9 [A]", "10 [A] X=3", "11 [C]", "12! " SECTION_FAULT, "13 [D]", NULL };
        _cleanup_strv_ char **found = NULL;

        assert_int_equal(settings_file_parse(text, sizeof(text) - 1, &visitor, &found), 0);
        for (size_t i = 0; notes[i] && found[i]; i++)
                assert_string_equal(found[i], notes[i]);
        assert_int_equal(strv_length(found), ELEMENTSOF(notes) - 1);
}

static void lines_up_to_64k_are_whole_and_longer_ones_a_fault(void **state) {
        static const size_t lengths[] = { 190, 200, 1000, SETTINGS_LINE_MAX,
                SETTINGS_LINE_MAX + 1 };

        for (size_t i = 0; i < ELEMENTSOF(lengths); i++) {
                _cleanup_free_ char *text = NULL, *line = malloc(lengths[i] + 1);
                _cleanup_strv_ char **notes = NULL;
                int size;

                memset(line, 'x', lengths[i]);
                memcpy(line, "X=", 2);
                line[lengths[i]] = '\0';
                size = asprintf(&text, "[A]\n%s\nY=1\n", line);

                assert_int_equal(
                        settings_file_parse(text, (size_t) size, &notes_visitor, &notes), 0);
                assert_int_equal(strv_length(notes), 2);
                if (lengths[i] <= SETTINGS_LINE_MAX)
                        assert_int_equal(strlen(notes[0]), strlen("2 [A] ") + lengths[i]);
                else
                        assert_string_equal(notes[0], "2! the line is longer than 64K");
                assert_string_equal(notes[1], "3 [A] Y=1");
        }
}

static void a_file_with_a_nul_byte_is_no_text(void **state) {
        static const char text[] = "[A]\nX=1\nY=\0z\nZ=1\n";
        _cleanup_strv_ char **notes = NULL;

        assert_int_equal(settings_file_parse(text, sizeof(text) - 1, &notes_visitor, &notes), 0);
        assert_int_equal(strv_length(notes), 1);
        assert_string_equal(notes[0], "3! a NUL byte: this is no text file");
}

static int refuse_setting(
        void *userdata, unsigned line, const char *section, const char *key, const char *value) {
        ++*(int *) userdata;
        return -ENOMEM;
}

static int refuse_fault(void *userdata, unsigned line, const char *text) {
        ++*(int *) userdata;
        return -E2BIG;
}

static int refuse_section(void *userdata, unsigned line, const char *section) {
        ++*(int *) userdata;
        return -ENOMEM;
}

static void a_visitor_can_give_up(void **state) {
        static const SettingsVisitor visitor = { refuse_setting, refuse_fault },
                                     of_sections = { refuse_setting, refuse_fault, refuse_section };
        static const char settings[] = "[A]\nX=1\nY=2\n", faults[] = "[A]\nX\nY\n";
        int calls = 0;

        assert_int_equal(
                settings_file_parse(settings, strlen(settings), &visitor, &calls), -ENOMEM);
        assert_int_equal(calls, 1);
        assert_int_equal(settings_file_parse(faults, strlen(faults), &visitor, &calls), -E2BIG);
        assert_int_equal(calls, 2);
        assert_int_equal(
                settings_file_parse(settings, strlen(settings), &of_sections, &calls), -ENOMEM);
        assert_int_equal(calls, 3);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lines_are_read_as_in_files_of_systemd),
                cmocka_unit_test(every_section_is_told_of_also_one_without_settings),
                cmocka_unit_test(lines_up_to_64k_are_whole_and_longer_ones_a_fault),
                cmocka_unit_test(a_file_with_a_nul_byte_is_no_text),
                cmocka_unit_test(a_visitor_can_give_up),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
