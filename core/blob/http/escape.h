/* escape: text within a URL. */
/* pure */
#ifndef MUSTER_CORE_BLOB_HTTP_ESCAPE_H
#define MUSTER_CORE_BLOB_HTTP_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

/* Percent-escapes all but RFC 3986's unreserved characters, and '/' unless `keep_slash`. 0;
 * -ENOSPC. */
int http_escape(const char *text, bool keep_slash, char *ret_text, size_t cap);

#endif
