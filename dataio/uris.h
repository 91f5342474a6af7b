/* URIs as texts: taking them apart and making others like them, queries kept.
 *
 * As in core/uri.h a text without "scheme:" is a path and has no query. */
/* pure */
#ifndef MUSTER_DATAIO_URIS_H
#define MUSTER_DATAIO_URIS_H

#include <stdbool.h>
#include <stddef.h>

#define URI_BYTES_MAX 2048 /* of one as a text, terminator included */

/* Whether it names neither a scheme nor a place from the root on. */
bool uris_is_relative(const char *uri);

/* Whether it is read from this machine's file systems. */
bool uris_is_local(const char *uri);

/* Length of all before the query, which may hold a secret and is not shown. */
size_t uris_shown_bytes(const char *uri);

/* Whether the first `length` bytes of any text end so. */
bool uris_text_ends_with(const char *text, size_t length, const char *suffix);

/* Whether its path, without the query, ends so. */
bool uris_ends_with(const char *uri, const char *suffix);

/* Splits "s3://b/dir/name?q" into the folder "s3://b/dir/?q" and the decoded "name". 0; -EINVAL a
 * part is too long or badly escaped. */
int uris_split(const char *uri, char folder[URI_BYTES_MAX], char name[URI_BYTES_MAX]);

/* Splits "s3://b/dir/name?q" into the whole place "s3://b/?q" and the decoded "dir/name", so that
 * all of a server's objects are of one place; as uris_split where "dir/name" has parts that no key
 * may have. 0; -EINVAL. */
int uris_place(const char *uri, char place[URI_BYTES_MAX], char name[URI_BYTES_MAX]);

/* "s3://b/dir/name?q" and "other" make "s3://b/dir/other?q"; `other` is used as it is. 0; -EINVAL
 * too long. */
int uris_sibling(const char *uri, const char *other, char ret_uri[URI_BYTES_MAX]);

/* "s3://b/dir/?q" and the key "x/y z" make "s3://b/dir/x/y%20z?q". 0; -EINVAL too long. */
int uris_child(const char *folder, const char *key, char ret_uri[URI_BYTES_MAX]);

/* Puts `suffix` in place of the last `cut` bytes of the path. 0; -EINVAL too long. */
int uris_replace_end(const char *uri, size_t cut, const char *suffix, char ret_uri[URI_BYTES_MAX]);

#endif
