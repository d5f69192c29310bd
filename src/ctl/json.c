/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>

#include "ctl/json.h"
#include "ctl/text.h"

void json_add(json_object *object, const char *key, json_object *value) {
        if (json_object_object_add(object, key, value) < 0)
                text_out_of_memory();
}

void json_add_bytes(json_object *object, const char *key, const void *data, size_t size) {
        if (text_is_utf8(data, size))
                json_add(object, key, json_object_new_string_len(data, (int) size));
        else {
                _cleanup_free_ char *encoded = text_base64(data, size);
                _cleanup_free_ char *name = text_format("%sBase64", key);

                json_add(object, name, json_object_new_string(encoded));
        }
}

static int read_basic(sd_bus_message *m, char type, json_object **ret) {
        union {
                const char *s;
                uint8_t u8;
                int16_t i16;
                uint16_t u16;
                int32_t i32;
                uint32_t u32;
                int64_t i64;
                uint64_t u64;
                double d;
                int b;
        } value;
        int r;

        r = sd_bus_message_read_basic(m, type, &value);
        if (r < 0)
                return r;
        switch (type) {
        case SD_BUS_TYPE_BOOLEAN:
                *ret = json_object_new_boolean(value.b);
                return 0;
        case SD_BUS_TYPE_BYTE:
                *ret = json_object_new_int(value.u8);
                return 0;
        case SD_BUS_TYPE_INT16:
                *ret = json_object_new_int(value.i16);
                return 0;
        case SD_BUS_TYPE_UINT16:
                *ret = json_object_new_int(value.u16);
                return 0;
        case SD_BUS_TYPE_INT32:
                *ret = json_object_new_int(value.i32);
                return 0;
        case SD_BUS_TYPE_UINT32:
                *ret = json_object_new_int64(value.u32);
                return 0;
        case SD_BUS_TYPE_INT64:
                *ret = json_object_new_int64(value.i64);
                return 0;
        case SD_BUS_TYPE_UINT64:
                *ret = json_object_new_uint64(value.u64);
                return 0;
        case SD_BUS_TYPE_DOUBLE:
                *ret = json_object_new_double(value.d);
                return 0;
        case SD_BUS_TYPE_STRING:
        case SD_BUS_TYPE_OBJECT_PATH:
        case SD_BUS_TYPE_SIGNATURE:
                *ret = json_object_new_string(value.s);
                return 0;
        case SD_BUS_TYPE_UNIX_FD: /* the message closes it: only that there was one can be told */
                *ret = json_object_new_int(value.i32);
                return 0;
        default:
                return -EBADMSG;
        }
}

/* A dictionary's keys are strings, or paths, wherever Sluice has one. */
static int read_dictionary(sd_bus_message *m, const char *contents, json_object **ret) {
        _cleanup_json_ json_object *object = json_object_new_object();
        int r;

        r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, contents);
        while (r >= 0 && (r = sd_bus_message_at_end(m, /* complete= */ 0)) == 0) {
                json_object *value = NULL;
                const char *key;

                r = sd_bus_message_enter_container(m, SD_BUS_TYPE_DICT_ENTRY, NULL);
                if (r >= 0)
                        r = sd_bus_message_read_basic(m, contents[1], &key);
                if (r >= 0)
                        r = json_read_message(m, &value);
                if (r >= 0) {
                        json_add(object, key, value);
                        r = sd_bus_message_exit_container(m);
                }
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(object);
        return 0;
}

static int read_sequence(sd_bus_message *m, char type, const char *contents, json_object **ret) {
        _cleanup_json_ json_object *array = json_object_new_array();
        int r;

        r = sd_bus_message_enter_container(m, type, contents);
        while (r >= 0 && (r = sd_bus_message_at_end(m, /* complete= */ 0)) == 0) {
                json_object *value = NULL;

                r = json_read_message(m, &value);
                if (r >= 0 && json_object_array_add(array, value) < 0)
                        text_out_of_memory();
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(array);
        return 0;
}

int json_read_message(sd_bus_message *m, json_object **ret) {
        const char *contents;
        char type;
        int r;

        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        if (r == 0)
                return -EBADMSG;
        switch (type) {
        case SD_BUS_TYPE_ARRAY:
                if (contents[0] == SD_BUS_TYPE_DICT_ENTRY_BEGIN)
                        return read_dictionary(m, contents, ret);
                return read_sequence(m, type, contents, ret);
        case SD_BUS_TYPE_STRUCT:
                return read_sequence(m, type, contents, ret);
        case SD_BUS_TYPE_VARIANT:
                r = sd_bus_message_enter_container(m, type, contents);
                if (r >= 0)
                        r = json_read_message(m, ret);
                return r < 0 ? r : sd_bus_message_exit_container(m);
        default:
                return read_basic(m, type, ret);
        }
}

json_object *json_member(json_object *object, const char *key) {
        json_object *value = NULL;

        (void) json_object_object_get_ex(object, key, &value);
        return value;
}

uint64_t json_number(json_object *object, const char *key) {
        return json_object_get_uint64(json_member(object, key));
}

const char *json_text(json_object *object, const char *key) {
        json_object *value = json_member(object, key);

        /* It makes the text when it is asked for, and may have no memory for it. */
        return (value ? json_object_get_string(value) : NULL) ?: "";
}

const char *json_format(const Ctl *ctl, json_object *object) {
        int flags = JSON_C_TO_STRING_NOSLASHESCAPE;

        if (ctl->json == JSON_PRETTY)
                flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;
        return json_object_to_json_string_ext(object, flags);
}

void json_print(const Ctl *ctl, json_object *object) {
        puts(json_format(ctl, object));
        (void) fflush(stdout);
}
