/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `cat`: the settings files of an object, as sluiced would read them. The first directory of the
 * search path that has the file wins; drop-ins of all directories add to it in the order of their
 * file names, where again the first directory wins. */

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/object.h"
#include "ctl/options.h"
#include "ctl/text.h"
#include "ctl/verbs.h"
#include "util/fd.h"
#include "util/strv.h"

#define FILE_SIZE_MAX ((size_t) 16 << 20)
#define DAEMON_FILE "sluiced.conf"

static char **arg_config;

static void add(char ***list, char *s) {
        if (strv_push(list, s) < 0)
                text_out_of_memory();
}

static char **search_path(const Ctl *c) {
        static const char *const directories[] = { "/etc/sluice", "/run/sluice",
                "/usr/local/lib/sluice", "/usr/lib/sluice" };
        const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
        char **path = NULL;

        if (arg_config) {
                if (strv_copy(arg_config, &path) < 0)
                        text_out_of_memory();
                return path;
        }
        /* A relative path is to be ignored, says the XDG Base Directory specification. */
        if (c->user && config && *config == '/')
                add(&path, text_format("%s/sluice", config));
        else if (c->user && home)
                add(&path, text_format("%s/.config/sluice", home));
        for (size_t i = 0; i < ELEMENTSOF(directories); i++)
                add(&path, text_copy(directories[i]));
        return path;
}

static char *find_file(char *const *directories, const char *name) {
        STRV_FOREACH (directory, directories) {
                char *path = text_format("%s/%s", *directory, name);

                if (access(path, F_OK) >= 0)
                        return path;
                free(path);
        }
        return NULL;
}

static bool is_drop_in(const char *name) {
        size_t length = strlen(name);

        return name[0] != '.' && length > 5 && strcmp(name + length - 5, ".conf") == 0;
}

/* Adds the names of the drop-ins in one directory that are not in the list yet. */
static void collect_names(const char *directory, char ***names) {
        const struct dirent *entry;
        DIR *d = opendir(directory);

        if (!d)
                return;
        while ((entry = readdir(d)))
                if (is_drop_in(entry->d_name) && !strv_contains(*names, entry->d_name))
                        add(names, text_copy(entry->d_name));
        (void) closedir(d);
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static char **find_drop_ins(char *const *directories, const char *file) {
        _cleanup_strv_ char **folders = NULL, **names = NULL;
        char **paths = NULL;

        STRV_FOREACH (directory, directories) {
                char *folder = text_format("%s/%s.d", *directory, file);

                add(&folders, folder);
                collect_names(folder, &names);
        }
        if (names)
                qsort(names, strv_length(names), sizeof(char *), compare_names);
        STRV_FOREACH (name, names)
                add(&paths, find_file(folders, *name));
        return paths;
}

static int print_file(const char *path, bool first) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        _cleanup_free_ void *content = NULL;
        size_t size;
        int r;

        if (fd < 0)
                return failure(-errno, "open %s", path);
        r = fd_read_all(fd, FILE_SIZE_MAX, &content, &size);
        if (r < 0)
                return failure(r, "read %s", path);
        printf("%s# %s\n", first ? "" : "\n", path);
        (void) fwrite(content, 1, size, stdout);
        if (size > 0 && ((const char *) content)[size - 1] != '\n')
                putchar('\n');
        return 0;
}

/* "/etc/sluice, /run/sluice" */
static char *places_text(char *const *directories) {
        char *places = text_copy("");

        STRV_FOREACH (directory, directories) {
                char *more = text_format("%s%s%s", places, *places ? ", " : "", *directory);

                free(places);
                places = more;
        }
        return places;
}

/* Without a file here it may still be there; whether it is only sluiced knows. It may have been
 * started with other folders than these. */
static int explain_absence(Ctl *c, const char *word, char *const *directories) {
        _cleanup_free_ char *places = places_text(directories);
        _cleanup_json_ json_object *properties = NULL;
        _cleanup_object_ Object object = { 0 };
        int r;

        if (strcmp(word, DAEMON_FILE) == 0) {
                fprintf(stderr,
                        "There is no %s in %s. All its settings are the defaults, unless sluiced "
                        "was told to read other folders (--config=).\n",
                        word, places);
                return -ENOENT;
        }
        r = object_find(c, word, &object, &properties);
        if (r >= 0)
                printf("# %s \"%s\" has no file in %s.\n# It was made at run time, or sluiced was "
                       "told to read other folders (--config=).\n",
                        object.kind->name, object.name, places);
        else if (r == -ENOENT)
                fprintf(stderr, "Nor has it a file in %s.\n", places);
        return r;
}

/* The path of the settings file that the word names, and the file's name. Without a file *ret_path
 * is NULL. */
static int find_settings(
        const char *word, char *const *directories, char **ret_path, char **ret_name) {
        _cleanup_candidates_ Candidates candidates = { 0 };
        int r;

        *ret_path = NULL;
        if (strcmp(word, DAEMON_FILE) == 0) {
                *ret_name = text_copy(word);
                *ret_path = find_file(directories, word);
                return 0;
        }
        r = object_parse(word, &candidates);
        if (r < 0)
                return r;
        for (size_t i = 0; i < candidates.n && !*ret_path; i++) {
                const Object *object = &candidates.objects[i];

                free(*ret_name);
                *ret_name = text_format("%s.%s", object->name, object->kind->name);
                *ret_path = find_file(directories, *ret_name);
        }
        return 0;
}

static int cat_one(Ctl *c, const char *word, char *const *directories, bool first) {
        _cleanup_free_ char *name = NULL, *path = NULL;
        _cleanup_strv_ char **drop_ins = NULL;
        int r;

        r = find_settings(word, directories, &path, &name);
        if (r < 0)
                return r;
        if (!path)
                return explain_absence(c, word, directories);
        r = print_file(path, first);
        drop_ins = find_drop_ins(directories, name);
        STRV_FOREACH (drop_in, drop_ins) {
                int k = print_file(*drop_in, /* first= */ false);

                r = k < 0 ? k : r;
        }
        return r;
}

static int cat(Ctl *c, char **arguments) {
        _cleanup_strv_ char **directories = search_path(c);
        int result = 0;

        STRV_FOREACH (word, arguments) {
                int r = cat_one(c, *word, directories, word == arguments);

                if (r < 0)
                        result = r;
        }
        return result;
}

static const Option cat_options[] = {
        { "config", 0, "DIR", &option_list, &arg_config,
                "Search here and nowhere else; repeatable" },
};

const Verb verb_cat = {
        .name = "cat",
        .arguments = "NAME…",
        .summary = "Print the settings files of an object",
        .details = "First the file (of NAME.pool, NAME.pipeline, NAME.limiter and NAME.breaker the "
                   "first that is there), then its drop-ins, each after a comment with its path. "
                   "NAME may also be sluiced.conf. They are looked for where sluiced does so "
                   "without --config=: in /etc/sluice, /run/sluice, /usr/local/lib/sluice and "
                   "/usr/lib/sluice, with --user first in ~/.config/sluice. What \"sluicectl set\" "
                   "has changed is shown by \"sluicectl "
                   "status\".",
        .example = "sluicectl cat gzip",
        .options = cat_options,
        .n_options = ELEMENTSOF(cat_options),
        .min_arguments = 1,
        .max_arguments = SIZE_MAX,
        .run = cat,
};
