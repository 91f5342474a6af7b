#include "muster/core/blob/s3/xml.h"

#include "muster/core/blob/xml.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where an element's text goes. */
struct field {
    const char *parent, *name;
    char *value;
    size_t cap;
};

struct fields {
    const struct field *list; /* ended by a NULL name */
    bool whole;               /* what does not fit is -ENOSPC; else it is cut */
};

static int keep_field(void *arg, const char *parent, const char *name, const char *text)
{
    const struct fields *fields = arg;
    for (const struct field *field = fields->list; field->name; field++)
        if (strcmp(field->name, name) == 0 && strcmp(field->parent, parent) == 0 &&
            (size_t)snprintf(field->value, field->cap, "%s", text) >= field->cap && fields->whole)
            return -ENOSPC;
    return 0;
}

static int read_fields(const char *document, size_t length, const struct field *list)
{
    struct fields fields = {.list = list};
    return xml_read(document, length, keep_field, &fields);
}

int s3_xml_error(const char *document, size_t length, struct s3_error *ret_error)
{
    struct s3_error error = {0};
    const struct field list[] = {
        {"Error", "Code", error.code, sizeof error.code},
        {"Error", "Message", error.message, sizeof error.message},
        {"Error", "Region", error.region, sizeof error.region},
        {0},
    };
    int rc = read_fields(document, length, list);
    if (rc == 0 && !error.code[0])
        rc = -EBADMSG;
    if (rc == 0)
        *ret_error = error;
    return rc;
}

struct list_reader {
    mst_blob_each_fn each;
    void *arg;
    bool is_list, url_encoded;
    char key[XML_TEXT_MAX];
    struct mst_blob_info info;
    struct s3_page page;
};

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef",
               *at = c ? strchr(digits, tolower((unsigned char)c)) : 0;
    return at ? (int)(at - digits) : -1;
}

/* In place: with encoding-type=url keys come escaped, as XML cannot carry every byte. */
static int unescape(char *key)
{
    char *to = key;
    for (const char *from = key; *from; from++) {
        char c = *from == '+' ? ' ' : *from;
        if (*from == '%') {
            int high = hex_digit(from[1]), low = high < 0 ? -1 : hex_digit(from[2]);
            if (low < 0 || high + low == 0)
                return -EBADMSG;
            c = (char)(high * 16 + low);
            from += 2;
        }
        *to++ = c;
    }
    *to = '\0';
    return 0;
}

static int read_size(const char *text, uint64_t *ret_size)
{
    errno = 0;
    char *end;
    unsigned long long size = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno)
        return -EBADMSG;
    *ret_size = size;
    return 0;
}

static int end_object(struct list_reader *reader)
{
    int rc = reader->url_encoded ? unescape(reader->key) : 0;
    if (rc == 0)
        rc = reader->each(reader->arg, reader->key, &reader->info);
    reader->key[0] = '\0';
    reader->info = (struct mst_blob_info){0};
    return rc;
}

static int on_object(struct list_reader *reader, const char *name, const char *text)
{
    if (strcmp(name, "Key") == 0)
        (void)snprintf(reader->key, sizeof reader->key, "%s", text); /* fits, as do the others */
    else if (strcmp(name, "ETag") == 0 && strlen(text) < sizeof reader->info.version)
        (void)snprintf(reader->info.version, sizeof reader->info.version, "%s", text);
    else if (strcmp(name, "Size") == 0)
        return read_size(text, &reader->info.size_bytes);
    return 0;
}

static int on_list(void *arg, const char *parent, const char *name, const char *text)
{
    struct list_reader *reader = arg;
    if (strcmp(parent, "Contents") == 0)
        return on_object(reader, name, text);
    if (strcmp(parent, "") == 0)
        reader->is_list = strcmp(name, "ListBucketResult") == 0;
    if (strcmp(parent, "ListBucketResult") != 0)
        return 0;
    if (strcmp(name, "Contents") == 0)
        return end_object(reader);
    if (strcmp(name, "IsTruncated") == 0)
        reader->page.truncated = strcmp(text, "true") == 0;
    else if (strcmp(name, "NextContinuationToken") == 0 && strlen(text) < sizeof reader->page.token)
        (void)snprintf(reader->page.token, sizeof reader->page.token, "%s", text); /* fits */
    return 0;
}

int s3_xml_list(const char *document, size_t length, mst_blob_each_fn each, void *arg,
                struct s3_page *ret_page)
{
    struct list_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return -ENOMEM;
    reader->each = each;
    reader->arg = arg;
    /* Read twice: the encoding may be told behind the keys that it is about. */
    char encoding[16] = "";
    const struct field list[] = {
        {"ListBucketResult", "EncodingType", encoding, sizeof encoding},
        {0},
    };
    int rc = read_fields(document, length, list);
    reader->url_encoded = strcmp(encoding, "url") == 0;
    if (rc == 0)
        rc = xml_read(document, length, on_list, reader);
    bool whole = reader->is_list && (!reader->page.truncated || reader->page.token[0]);
    if (rc == 0 && !whole)
        rc = -EBADMSG;
    if (rc == 0)
        *ret_page = reader->page;
    free(reader);
    return rc;
}

int s3_xml_upload_id(const char *document, size_t length, char *ret_id, size_t cap)
{
    char id[XML_TEXT_MAX] = "";
    const struct field list[] = {
        {"InitiateMultipartUploadResult", "UploadId", id, sizeof id},
        {0},
    };
    int rc = read_fields(document, length, list);
    if (rc == 0 && !id[0])
        rc = -EBADMSG;
    if (rc == 0 && strlen(id) >= cap)
        rc = -ENOSPC;
    if (rc == 0)
        memcpy(ret_id, id, strlen(id) + 1);
    return rc;
}

int s3_xml_session(const char *document, size_t length, struct s3_session *ret_session)
{
    struct s3_session session = {0};
    const struct field list[] = {
        {"Credentials", "AccessKeyId", session.access_key, sizeof session.access_key},
        {"Credentials", "SecretAccessKey", session.secret_key, sizeof session.secret_key},
        {"Credentials", "SessionToken", session.token, sizeof session.token},
        {"Credentials", "Expiration", session.expiration, sizeof session.expiration},
        {0},
    };
    struct fields fields = {.list = list, .whole = true};
    int rc = xml_read(document, length, keep_field, &fields);
    if (rc == 0 && (!session.access_key[0] || !session.secret_key[0] || !session.token[0]))
        rc = -EBADMSG;
    if (rc == 0)
        *ret_session = session;
    return rc;
}
