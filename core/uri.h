/* URIs: the fourth noun, how data and checkpoints are named. `scheme://authority/path?query`, or a
 * plain path, which means file:. */
/* pure */
#ifndef MUSTER_CORE_URI_H
#define MUSTER_CORE_URI_H

#include <stddef.h>

struct mst_err;

struct mst_uri {
    char scheme[16];     /* lower case; "file" for a plain path */
    char authority[256]; /* host[:port] or bucket; may be empty */
    char path[1024];     /* percent-decoded; absolute or, for a plain path, as given */
    char query[512];     /* undecoded, without '?'; may be empty */
};

/* Splits `text`. A text without "scheme:" is a path of scheme file and is taken literally ('%' and
 * '?' included). 0; -EINVAL with the text's fault: empty, a part too long, a bad percent escape, a
 * decoded NUL, user:password in the authority (secrets do not belong into URIs). *ret_uri is
 * untouched on failure. */
int mst_uri_parse(const char *text, struct mst_uri *ret_uri, struct mst_err *err);

/* Finds `key` in the query and writes its percent-decoded value. 0; -ENOENT; -ENOSPC if it does not
 * fit `cap`; -EINVAL for a bad escape. */
int mst_uri_param(const struct mst_uri *uri, const char *key, char *value, size_t cap);

/* As mst_uri_parse, for callers that read local files only: writes the path of a file: URI.
 * 0; -EINVAL as above; -ENOTSUP for another scheme, naming it. */
int mst_uri_file_path(const char *text, char *path, size_t cap, struct mst_err *err);

#endif
