/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Settings: changing them while sluiced runs, and making and removing objects. */

#include <stdint.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "ctl/bus.h"
#include "ctl/json.h"
#include "ctl/object.h"
#include "ctl/options.h"
#include "ctl/verbs.h"
#include "util/parse.h"
#include "util/strv.h"

static bool is_stages(const char *word) {
        return strncmp(word, "Stages=", strlen("Stages=")) == 0;
}

/* Appends the words of the last Stages=, which is an argument of its own. */
static int append_stages(sd_bus_message *m, char *const *words) {
        _cleanup_strv_ char **stages = NULL;
        int r;

        STRV_FOREACH (word, words) {
                if (!is_stages(*word))
                        continue;
                stages = strv_free(stages);
                r = split_words(*word + strlen("Stages="), &stages);
                if (r < 0)
                        return usage_error("\"%s\" is no list of pools; expected "
                                           "Stages=\"POOL POOL…\".",
                                *word);
        }
        r = sd_bus_message_append_strv(m, stages);
        return r < 0 ? failure(r, "make the list of stages") : 0;
}

/* Appends KEY=VALUE words as an a{sv} of strings in the syntax of the files. With `without_stages`
 * these are not among them. */
static int append_settings(sd_bus_message *m, char *const *words, bool without_stages) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        STRV_FOREACH (word, words) {
                const char *equals = strchr(*word, '=');
                char key[64];

                if (r < 0)
                        break;
                if (without_stages && is_stages(*word))
                        continue;
                if (!equals || equals == *word || (size_t) (equals - *word) >= sizeof(key))
                        return usage_error(
                                "\"%s\" is no setting; expected KEY=VALUE like RunTimeout=30s.",
                                *word);
                memcpy(key, *word, (size_t) (equals - *word));
                key[equals - *word] = 0;
                r = sd_bus_message_append(m, "{sv}", key, "s", equals + 1);
                if (r == -EINVAL)
                        return usage_error("\"%s\" must be valid UTF-8.", *word);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? failure(r, "make the settings") : 0;
}

static int set(Ctl *c, char **arguments) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_json_ json_object *properties = NULL;
        _cleanup_object_ Object object = { 0 };
        int r;

        r = object_find(c, arguments[0], &object, &properties);
        if (r >= 0)
                r = bus_new_call(c, object.path, object.kind->interface, "Set", &m);
        if (r >= 0)
                r = append_settings(m, arguments + 1, /* without_stages= */ false);
        if (r < 0)
                return r;
        return bus_call(c, m, CALL_DEFAULT, NULL, "set %s of %s \"%s\"", arguments[1],
                object.kind->name, object.name);
}

const Verb verb_set = {
        .name = "set",
        .arguments = "OBJECT KEY=VALUE…",
        .summary = "Change settings of a living object",
        .details = "All are changed or none. OBJECT is the name of a pool, pipeline, limiter or "
                   "breaker, "
                   "or KIND/NAME where several have it. A \"sluicectl reload\" leaves the change "
                   "alone, unless the file of the object has changed; so does a restart, if the "
                   "object is a durable pool, is made of some, or was made at run time.",
        .example = "sluicectl set gzip MaxWorkers=8 RunTimeout=5min",
        .min_arguments = 2,
        .max_arguments = SIZE_MAX,
        .run = set,
};

static int create(Ctl *c, char **arguments) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_object_ Object object = { 0 };
        const Kind *kind;
        bool has_stages;
        int r;

        r = kind_parse(arguments[0], &kind);
        if (r >= 0)
                r = object_init(&object, kind, arguments[1]);
        if (r >= 0)
                r = bus_new_call(c, SLUICE_PATH, MANAGER_INTERFACE, kind->create, &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "s", object.name);
        if (r < 0)
                return failure(r, "create %s \"%s\"", kind->name, object.name);
        has_stages = strcmp(kind->name, "pipeline") == 0;
        if (has_stages)
                r = append_stages(m, arguments + 2);
        if (r >= 0)
                r = append_settings(m, arguments + 2, has_stages);
        if (r < 0)
                return r;
        return bus_call(c, m, CALL_DEFAULT, NULL, "create %s \"%s\"", kind->name, object.name);
}

const Verb verb_create = {
        .name = "create",
        .arguments = "KIND NAME KEY=VALUE…",
        .summary = "Make an object, until it is removed",
        .details = "KIND is pool, pipeline, limiter or breaker. A list is blank-separated, as in "
                   "a file: Stages=\"parse format\". Where sluiced has no folder "
                   "for its state, it ends with sluiced. For one that others are to read and "
                   "change, write a file; \"sluicectl cat\" shows where they are.",
        .example = "sluicectl create pool gzip Handler=command \"ExecStart=/usr/bin/gzip -c\" "
                   "Workers=4",
        .min_arguments = 2,
        .max_arguments = SIZE_MAX,
        .run = create,
};

static bool arg_cancel;

static int remove_object(Ctl *c, char **arguments) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_object_ Object object = { 0 };
        const Kind *kind;
        int r;

        r = kind_parse(arguments[0], &kind);
        if (r >= 0)
                r = object_init(&object, kind, arguments[1]);
        if (r >= 0)
                r = bus_new_call(c, SLUICE_PATH, MANAGER_INTERFACE, kind->remove, &m);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "sb", object.name, arg_cancel);
        if (r < 0)
                return failure(r, "remove %s \"%s\"", kind->name, object.name);
        return bus_call(c, m, CALL_FOREVER, NULL, "remove %s \"%s\"", kind->name, object.name);
}

static const Option remove_options[] = {
        { "cancel", 0, NULL, &option_flag, &arg_cancel, "Cancel its jobs instead of draining it" },
};

const Verb verb_remove = {
        .name = "remove",
        .arguments = "KIND NAME",
        .summary = "Remove an object",
        .details = "Returns when it is gone. A second call with --cancel does not wait for the "
                   "jobs. One that "
                   "has a settings file is there again after the next start.",
        .example = "sluicectl remove pool gzip --cancel",
        .options = remove_options,
        .n_options = ELEMENTSOF(remove_options),
        .min_arguments = 2,
        .max_arguments = 2,
        .run = remove_object,
};
