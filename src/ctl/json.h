/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* JSON, which is also how values travel inside sluicectl: what the bus says becomes an object whose
 * members have the names that D-Bus knows, and the tables and views for people are made from it. */

#include <json-c/json.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "ctl/ctl.h"

static inline _unused_ void json_object_putp(json_object **object) {
        (void) json_object_put(*object);
}
#define _cleanup_json_ _cleanup_(json_object_putp)

/* Adds a member; takes the value over. */
void json_add(json_object *object, const char *key, json_object *value);

/* Adds bytes: as text under `key` where they are some, else as base64 under the key + "Base64". */
void json_add_bytes(json_object *object, const char *key, const void *data, size_t size);

/* Reads the next value of the message, whatever its type: dictionaries become objects, arrays and
 * structures arrays, variants what is in them. 0 or -errno. */
int json_read_message(sd_bus_message *m, json_object **ret);

/* Members; 0, "" and NULL stand for those that are not there. */
uint64_t json_number(json_object *object, const char *key);
const char *json_text(json_object *object, const char *key);
json_object *json_member(json_object *object, const char *key);

/* One object per line, or laid out; to standard output, or as text that is the object's. */
const char *json_format(const Ctl *ctl, json_object *object);
void json_print(const Ctl *ctl, json_object *object);
