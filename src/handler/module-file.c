/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A plug-in has all rights of the daemon, and its constructors run as soon as it is loaded. So
 * before that, in the spirit of OpenSSH's StrictModes, the file and every folder from it up to the
 * root must belong to root or to the user that the daemon runs as, and nobody else may write them.
 *
 * One exception is made above the folder that holds the plug-in: a folder that all may write but
 * which is sticky, such as /tmp, is fine there. What it holds on the way to the plug-in belongs to
 * root or to us, as everything on the way does, and so only root or we can rename or replace it.
 * For the plug-in's own folder there is no exception: there others could put a hard link to a file
 * of ours that was never meant to be loaded.
 *
 * The check and the loading use the path without symbolic links: where only trusted users can
 * change any part of it, it cannot change between the two. Loading through /proc/self/fd would not
 * depend on that, but the dynamic linker knows objects by their names, and would take the second
 * plug-in that comes with the same fd number for the first. */

#include "handler/module-file.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <sluice/module.h>

#include "build-config.h"
#include "handler/handler.h"
#include "util/macro.h"

/* What every plug-in of this ABI has, however old its copy of the header is. */
#define MODULE_SIZE_MIN                                  \
        (offsetof(struct sluice_module, process_batch) + \
                sizeof(((struct sluice_module *) NULL)->process_batch))

/* May we, or anybody that we need not fear, alone change what is at `path`? */
static int check_owner(const char *path, bool sticky_allowed, struct stat *ret, char **ret_error) {
        struct stat st;
        bool sticky;

        if (lstat(path, &st) < 0)
                return handler_refuse(ret_error, -ENOEXEC, "%s: %m", path);

        if (st.st_uid != 0 && st.st_uid != geteuid())
                return handler_refuse(ret_error, -ENOEXEC,
                        "%s belongs to user %u, and not to root or to the user of the daemon", path,
                        (unsigned) st.st_uid);

        sticky = S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX);
        if ((st.st_mode & (S_IWGRP | S_IWOTH)) && !(sticky && sticky_allowed))
                return handler_refuse(ret_error, -ENOEXEC,
                        "%s can be written by others (mode %04o)", path,
                        (unsigned) (st.st_mode & 07777));

        *ret = st;
        return 0;
}

/* `path` is absolute and without symbolic links. */
static int check_trust(const char *path, char **ret_error) {
        _cleanup_free_ char *folder = NULL;
        struct stat st;
        int r;

        r = check_owner(path, /* sticky_allowed= */ false, &st, ret_error);
        if (r < 0)
                return r;
        if (!S_ISREG(st.st_mode))
                return handler_refuse(ret_error, -ENOEXEC, "%s is not a regular file", path);

        folder = strdup(path);
        if (!folder)
                return -ENOMEM;

        for (bool own_folder = true;; own_folder = false) {
                char *slash = strrchr(folder, '/');
                bool root = slash == folder;

                slash[root] = '\0';
                r = check_owner(folder, /* sticky_allowed= */ !own_folder, &st, ret_error);
                if (r < 0)
                        return r;
                if (root)
                        return 0;
        }
}

/* The first of the colon separated `folders` that has a file `name`. -ENOENT if none has. */
static int find_in_folders(const char *folders, const char *name, char **ret) {
        while (*folders) {
                size_t n = strcspn(folders, ":");
                char *path;

                if (folders[0] == '/') {
                        if (asprintf(&path, "%.*s/%s", (int) n, folders, name) < 0)
                                return -ENOMEM;
                        if (access(path, F_OK) >= 0) {
                                *ret = path;
                                return 0;
                        }
                        free(path);
                }
                folders += n + (folders[n] == ':');
        }
        return -ENOENT;
}

/* From the setting to a path. SLUICE_MODULE_PATH lets a daemon run from a build folder. */
static int find_file(const char *path, char **ret, char **ret_error) {
        const char *folders;
        int r;

        if (path[0] == '/') {
                *ret = strdup(path);
                return *ret ? 0 : -ENOMEM;
        }
        if (!path[0] || strchr(path, '/'))
                return handler_refuse(ret_error, -EINVAL,
                        "\"%s\" is neither an absolute path nor the name of a file in %s", path,
                        SLUICE_MODULE_DIR);

        folders = secure_getenv("SLUICE_MODULE_PATH");
        if (folders) {
                r = find_in_folders(folders, path, ret);
                if (r != -ENOENT)
                        return r;
        }

        r = find_in_folders(SLUICE_MODULE_DIR, path, ret);
        if (r == -ENOENT)
                return handler_refuse(
                        ret_error, -ENOEXEC, "there is no %s in %s", path, SLUICE_MODULE_DIR);
        return r;
}

/* Is this a plug-in that we can talk to? */
static int check_interface(const char *path, const struct sluice_module *module, char **ret_error) {
        if (module->abi != SLUICE_MODULE_ABI)
                return handler_refuse(ret_error, -ENOEXEC,
                        "%s is made for version %u of the plug-in interface, this daemon has %u",
                        path, (unsigned) module->abi, SLUICE_MODULE_ABI);
        if (module->size < MODULE_SIZE_MIN)
                return handler_refuse(ret_error, -ENOEXEC,
                        "%s has a sluice_module of only %u bytes", path, (unsigned) module->size);
        if (!module->process && !module->process_batch)
                return handler_refuse(
                        ret_error, -ENOEXEC, "%s has neither process() nor process_batch()", path);
        return 0;
}

int module_file_load(const char *path, const struct sluice_module **ret, char **ret_error) {
        _cleanup_free_ char *found = NULL, *resolved = NULL;
        const struct sluice_module *module;
        void *object;
        int r;

        r = find_file(path, &found, ret_error);
        if (r < 0)
                return r;

        resolved = realpath(found, NULL);
        if (!resolved)
                return handler_refuse(ret_error, -ENOEXEC, "%s: %m", found);

        r = check_trust(resolved, ret_error);
        if (r < 0)
                return r;

        /* RTLD_NOW: what is missing shows here, and not in the middle of a job. */
        object = dlopen(resolved, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (!object)
                return handler_refuse(ret_error, -ENOEXEC, "%s", dlerror());

        module = dlsym(object, "sluice_module");
        if (!module)
                return handler_refuse(ret_error, -ENOEXEC,
                        "%s is not a plug-in: it exports no sluice_module", resolved);

        r = check_interface(resolved, module, ret_error);
        if (r < 0)
                return r;

        *ret = module;
        return 0;
}
