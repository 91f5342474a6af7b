/* json: what WebHDFS answers. */
#ifndef MUSTER_CORE_BLOB_HDFS_JSON_H
#define MUSTER_CORE_BLOB_HDFS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct webhdfs_error {
    char exception[64]; /* "FileNotFoundException" */
    char message[160];  /* its first line */
};

/* 0; -EBADMSG: the text is no RemoteException. */
int webhdfs_json_error(const char *text, size_t length, struct webhdfs_error *ret_error);

struct webhdfs_status {
    char name[256]; /* within its folder; "" for the object that was asked for */
    bool folder;
    uint64_t size_bytes;
    uint64_t modified_ms;
};

/* A GETFILESTATUS. 0; -EBADMSG. */
int webhdfs_json_status(const char *text, size_t length, struct webhdfs_status *ret_status);

/* Tells the entries of a LISTSTATUS until `each` answers other than 0. 0; what it answered;
 * -EBADMSG. */
typedef int (*webhdfs_each_fn)(void *arg, const struct webhdfs_status *status);
int webhdfs_json_list(const char *text, size_t length, webhdfs_each_fn each, void *arg);

/* {"boolean":…}, the answer of RENAME, MKDIRS and DELETE. 0; -EBADMSG. */
int webhdfs_json_boolean(const char *text, size_t length, bool *ret_truth);

/* {"Location":"…"}, where a redirect was not wanted. 0; -EBADMSG; -ENOSPC. */
int webhdfs_json_location(const char *text, size_t length, char *ret_location, size_t cap);

#endif
