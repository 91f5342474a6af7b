/* pure */
#include "muster/core/uri.h"

#include "muster/core/err.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* A part of a text that is not terminated where it ends. */
struct part {
    const char *text;
    size_t length;
};

static bool is_scheme_character(char c)
{
    return isalnum((unsigned char)c) || c == '+' || c == '-' || c == '.';
}

/* Length of the "scheme" in "scheme:", 0 for a plain path. */
static size_t scheme_length(const char *text)
{
    if (!isalpha((unsigned char)text[0]))
        return 0;
    size_t length = 1;
    while (is_scheme_character(text[length]))
        length++;
    return text[length] == ':' ? length : 0;
}

static int copy_part(struct part part, char *out, size_t cap)
{
    if (part.length >= cap)
        return -ENOSPC;
    memcpy(out, part.text, part.length);
    out[part.length] = '\0';
    return 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte behind the escape at part.text[at], or -EINVAL: cut short, not hexadecimal, or NUL. */
static int escaped_byte(struct part part, size_t at)
{
    if (part.length - at < 3)
        return -EINVAL;
    int high = hex_value(part.text[at + 1]), low = hex_value(part.text[at + 2]);
    if (high < 0 || low < 0 || high + low == 0)
        return -EINVAL;
    return high * 16 + low;
}

/* 0; -ENOSPC; -EINVAL for a bad escape. */
static int decode_part(struct part part, char *out, size_t cap)
{
    size_t used = 0;
    for (size_t at = 0; at < part.length; at++) {
        int byte = (unsigned char)part.text[at];
        if (byte == '%') {
            byte = escaped_byte(part, at);
            if (byte < 0)
                return byte;
            at += 2;
        }
        if (used + 1 >= cap)
            return -ENOSPC;
        out[used++] = (char)byte;
    }
    out[used] = '\0';
    return 0;
}

static int fail_part(int code, const char *name, size_t cap, struct mst_err *err)
{
    if (code == -ENOSPC)
        return mst_err_set(err, -EINVAL, "the %s is over %zu bytes", name, cap - 1);
    return mst_err_set(err, -EINVAL,
                       "the %s has a bad percent escape; write a '%%' itself as %%25, and no %%00",
                       name);
}

static int parse_scheme(struct part part, struct mst_uri *uri, struct mst_err *err)
{
    int rc = copy_part(part, uri->scheme, sizeof uri->scheme);
    if (rc < 0)
        return fail_part(rc, "scheme", sizeof uri->scheme, err);
    for (char *c = uri->scheme; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return 0;
}

/* The texts do not quote the authority: it may hold the password that they complain about. */
static int parse_authority(struct part part, struct mst_uri *uri, struct mst_err *err)
{
    const char *at = memchr(part.text, '@', part.length);
    if (at && memchr(part.text, ':', (size_t)(at - part.text)))
        return mst_err_set(err, -EINVAL,
                           "the authority holds user:password; give credentials by their own "
                           "variables or files, as URIs are logged");
    for (size_t i = 0; i < part.length; i++)
        if (!isgraph((unsigned char)part.text[i]))
            return mst_err_set(err, -EINVAL, "the authority has byte 0x%02x, which no host has",
                               (unsigned char)part.text[i]);
    int rc = copy_part(part, uri->authority, sizeof uri->authority);
    return rc < 0 ? fail_part(rc, "authority", sizeof uri->authority, err) : 0;
}

static int parse_path(struct part part, struct mst_uri *uri, struct mst_err *err)
{
    int rc = decode_part(part, uri->path, sizeof uri->path);
    if (rc < 0)
        return fail_part(rc, "path", sizeof uri->path, err);
    if (part.length == 0 && uri->authority[0])
        memcpy(uri->path, "/", 2);
    if (uri->path[0] != '/')
        return mst_err_set(
            err, -EINVAL, "the path after \"%s:\" is not absolute; begin it with '/'", uri->scheme);
    return 0;
}

/* Everything after "scheme:". */
static int parse_rest(const char *rest, struct mst_uri *uri, struct mst_err *err)
{
    int rc = 0;
    if (strncmp(rest, "//", 2) == 0) {
        rest += 2;
        size_t length = strcspn(rest, "/?");
        rc = parse_authority((struct part){rest, length}, uri, err);
        rest += length;
    }
    if (rc < 0)
        return rc;
    size_t length = strcspn(rest, "?");
    rc = parse_path((struct part){rest, length}, uri, err);
    if (rc < 0 || !rest[length])
        return rc;
    rest += length + 1;
    rc = copy_part((struct part){rest, strlen(rest)}, uri->query, sizeof uri->query);
    return rc < 0 ? fail_part(rc, "query", sizeof uri->query, err) : 0;
}

static int parse_plain(const char *text, struct mst_uri *uri, struct mst_err *err)
{
    memcpy(uri->scheme, "file", sizeof "file");
    int rc = copy_part((struct part){text, strlen(text)}, uri->path, sizeof uri->path);
    return rc < 0 ? fail_part(rc, "path", sizeof uri->path, err) : 0;
}

int mst_uri_parse(const char *text, struct mst_uri *ret_uri, struct mst_err *err)
{
    if (!text[0])
        return mst_err_set(err, -EINVAL, "the URI is empty");
    size_t length = scheme_length(text);
    struct mst_uri uri = {0};
    int rc = length ? parse_scheme((struct part){text, length}, &uri, err)
                    : parse_plain(text, &uri, err);
    if (rc == 0 && length)
        rc = parse_rest(text + length + 1, &uri, err);
    if (rc < 0)
        return rc;
    *ret_uri = uri;
    return 0;
}

int mst_uri_param(const struct mst_uri *uri, const char *key, char *value, size_t cap)
{
    size_t key_length = strlen(key);
    for (const char *pair = uri->query; *pair;) {
        size_t length = strcspn(pair, "&"), name_length = strcspn(pair, "=&");
        if (name_length == key_length && memcmp(pair, key, key_length) == 0) {
            size_t skip = name_length < length ? name_length + 1 : length;
            return decode_part((struct part){pair + skip, length - skip}, value, cap);
        }
        pair += length + (pair[length] == '&');
    }
    return -ENOENT;
}

int mst_uri_file_path(const char *text, char *path, size_t cap, struct mst_err *err)
{
    struct mst_uri uri;
    int rc = mst_uri_parse(text, &uri, err);
    if (rc < 0)
        return rc;
    if (strcmp(uri.scheme, "file") != 0)
        return mst_err_set(err, -ENOTSUP,
                           "scheme %s is not supported here; give a file: URI or a path",
                           uri.scheme);
    if (uri.authority[0] && strcmp(uri.authority, "localhost") != 0)
        return mst_err_set(
            err, -EINVAL,
            "file://%s names a host; a local file is file:///path, with three slashes",
            uri.authority);
    rc = copy_part((struct part){uri.path, strlen(uri.path)}, path, cap);
    return rc < 0 ? fail_part(rc, "path", cap, err) : 0;
}
