/* pure */
#include "muster/dataio/uris.h"

#include "muster/core/uri.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Length of "scheme:", 0 for a path. */
static size_t scheme_bytes(const char *uri)
{
    if (!isalpha((unsigned char)*uri))
        return 0;
    size_t length = 0;
    while (isalnum((unsigned char)uri[length]) || (uri[length] && strchr("+-.", uri[length])))
        length++;
    return uri[length] == ':' ? length + 1 : 0;
}

size_t uris_shown_bytes(const char *uri)
{
    return scheme_bytes(uri) ? strcspn(uri, "?") : strlen(uri);
}

/* Length up to the path's first '/', that included, or where there is none, of all before it. */
static size_t root_bytes(const char *uri)
{
    size_t root = scheme_bytes(uri);
    if (root && strncmp(uri + root, "//", 2) == 0)
        root += 2 + strcspn(uri + root + 2, "/?"); /* the authority is no part of the path */
    return root + (uri[root] == '/');
}

/* Length up to the path's last '/', that included. */
static size_t folder_bytes(const char *uri)
{
    size_t length = uris_shown_bytes(uri), root = root_bytes(uri);
    while (length > root && uri[length - 1] != '/')
        length--;
    return length < root ? root : length;
}

bool uris_is_relative(const char *uri)
{
    return scheme_bytes(uri) == 0 && *uri != '/';
}

bool uris_is_local(const char *uri)
{
    return scheme_bytes(uri) == 0 || strncasecmp(uri, "file:", 5) == 0;
}

bool uris_text_ends_with(const char *text, size_t length, const char *suffix)
{
    size_t suffix_length = strlen(suffix);
    return length >= suffix_length &&
           memcmp(text + length - suffix_length, suffix, suffix_length) == 0;
}

bool uris_ends_with(const char *uri, const char *suffix)
{
    return uris_text_ends_with(uri, uris_shown_bytes(uri), suffix);
}

/* The first `keep` bytes, then `middle`, then the query. */
static int compose(const char *uri, size_t keep, const char *middle, char ret_uri[URI_BYTES_MAX])
{
    int length = snprintf(ret_uri, URI_BYTES_MAX, "%.*s%s%s", (int)keep, uri, middle,
                          uri + uris_shown_bytes(uri));
    return length < 0 || length >= URI_BYTES_MAX ? -EINVAL : 0;
}

static int split_at(const char *uri, size_t keep, char folder[URI_BYTES_MAX],
                    char name[URI_BYTES_MAX])
{
    if (strlen(uri) >= URI_BYTES_MAX || compose(uri, keep, "", folder) < 0)
        return -EINVAL;
    struct mst_uri whole, parent;
    int rc = mst_uri_parse(uri, &whole, NULL);
    if (rc == 0 && *folder)
        rc = mst_uri_parse(folder, &parent, NULL);
    if (rc)
        return -EINVAL;
    /* What was decoded byte by byte can be cut in the same place. It fits: decoding shortens. */
    (void)snprintf(name, URI_BYTES_MAX, "%s", whole.path + (*folder ? strlen(parent.path) : 0));
    return 0;
}

int uris_split(const char *uri, char folder[URI_BYTES_MAX], char name[URI_BYTES_MAX])
{
    return split_at(uri, folder_bytes(uri), folder, name);
}

/* Whether no part is empty, "." or "..". */
static bool is_key(const char *name)
{
    bool good = true;
    for (const char *part = name; good && part; part = strchr(part, '/')) {
        part += part != name;
        size_t length = strcspn(part, "/");
        good = length > 2 || (length > 0 && strncmp(part, "..", length) != 0);
    }
    return good;
}

int uris_place(const char *uri, char place[URI_BYTES_MAX], char name[URI_BYTES_MAX])
{
    int rc = split_at(uri, root_bytes(uri), place, name);
    return rc || is_key(name) ? rc : uris_split(uri, place, name);
}

int uris_sibling(const char *uri, const char *other, char ret_uri[URI_BYTES_MAX])
{
    return compose(uri, folder_bytes(uri), other, ret_uri);
}

int uris_replace_end(const char *uri, size_t cut, const char *suffix, char ret_uri[URI_BYTES_MAX])
{
    return compose(uri, uris_shown_bytes(uri) - cut, suffix, ret_uri);
}

static int escape(const char *key, char ret_text[URI_BYTES_MAX])
{
    size_t used = 0;
    for (; *key; key++) {
        bool plain = isalnum((unsigned char)*key) || strchr("-._~/", *key);
        if (used + 4 > URI_BYTES_MAX)
            return -EINVAL;
        used += (size_t)snprintf(ret_text + used, 4, plain ? "%c" : "%%%02X", (unsigned char)*key);
    }
    ret_text[used] = '\0';
    return 0;
}

int uris_child(const char *folder, const char *key, char ret_uri[URI_BYTES_MAX])
{
    if (scheme_bytes(folder) == 0)
        return compose(folder, uris_shown_bytes(folder), key, ret_uri);
    char escaped[URI_BYTES_MAX];
    return escape(key, escaped) < 0 ? -EINVAL
                                    : compose(folder, uris_shown_bytes(folder), escaped, ret_uri);
}
