#include "muster/core/blob/hdfs/json.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static bool take_string(const json_t *object, const char *name, char *value, size_t cap)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (text)
        (void)snprintf(value, cap, "%s", text); /* a long one is cut: they are words for people */
    return text != NULL;
}

int webhdfs_json_error(const char *text, size_t length, struct webhdfs_error *ret_error)
{
    json_t *root = json_loadb(text, length, 0, NULL);
    const json_t *exception = json_object_get(root, "RemoteException");
    struct webhdfs_error error = {0};
    bool named = take_string(exception, "exception", error.exception, sizeof error.exception);
    /* Not all have a message. */
    (void)take_string(exception, "message", error.message, sizeof error.message);
    error.message[strcspn(error.message, "\r\n")] = '\0'; /* a stack trace may follow */
    json_decref(root);
    if (named)
        *ret_error = error;
    return named ? 0 : -EBADMSG;
}

static bool take_number(const json_t *object, const char *name, uint64_t *ret_number)
{
    const json_t *value = json_object_get(object, name);
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0)
        return false;
    *ret_number = (uint64_t)number;
    return true;
}

static int read_status(const json_t *object, struct webhdfs_status *status)
{
    const char *name = json_string_value(json_object_get(object, "pathSuffix"));
    *status = (struct webhdfs_status){0};
    char type[16];
    if (!name || strlen(name) >= sizeof status->name || strchr(name, '/') ||
        !take_string(object, "type", type, sizeof type) ||
        !take_number(object, "length", &status->size_bytes) ||
        !take_number(object, "modificationTime", &status->modified_ms))
        return -EBADMSG;
    memcpy(status->name, name, strlen(name) + 1);
    status->folder = strcmp(type, "DIRECTORY") == 0;
    return 0;
}

int webhdfs_json_status(const char *text, size_t length, struct webhdfs_status *ret_status)
{
    json_t *root = json_loadb(text, length, 0, NULL);
    struct webhdfs_status status;
    int rc = read_status(json_object_get(root, "FileStatus"), &status);
    json_decref(root);
    if (rc == 0)
        *ret_status = status;
    return rc;
}

int webhdfs_json_list(const char *text, size_t length, webhdfs_each_fn each, void *arg)
{
    json_t *root = json_loadb(text, length, 0, NULL);
    const json_t *list = json_object_get(json_object_get(root, "FileStatuses"), "FileStatus");
    int rc = json_is_array(list) ? 0 : -EBADMSG;
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        struct webhdfs_status status;
        rc = read_status(json_array_get(list, i), &status);
        if (rc == 0)
            rc = each(arg, &status);
    }
    json_decref(root);
    return rc;
}

int webhdfs_json_boolean(const char *text, size_t length, bool *ret_truth)
{
    json_t *root = json_loadb(text, length, 0, NULL);
    const json_t *value = json_object_get(root, "boolean");
    bool known = json_is_boolean(value), truth = json_is_true(value);
    json_decref(root);
    if (known)
        *ret_truth = truth;
    return known ? 0 : -EBADMSG;
}

int webhdfs_json_location(const char *text, size_t length, char *ret_location, size_t cap)
{
    json_t *root = json_loadb(text, length, 0, NULL);
    const char *location = json_string_value(json_object_get(root, "Location"));
    int rc = !location ? -EBADMSG : strlen(location) >= cap ? -ENOSPC : 0;
    if (rc == 0)
        memcpy(ret_location, location, strlen(location) + 1);
    json_decref(root);
    return rc;
}
