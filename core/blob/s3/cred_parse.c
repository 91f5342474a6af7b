#include "muster/core/blob/s3/cred_parse.h"

#include "muster/core/least.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LINE_BYTES 4608

/* Cuts white space off both ends, in place. */
static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return text;
}

/* The next line, without its end; false at the end of the text. Long lines, which no key has, are
 * cut. */
static bool next_line(const char **at, char line[LINE_BYTES])
{
    if (!**at)
        return false;
    size_t length = strcspn(*at, "\n");
    (void)snprintf(line, LINE_BYTES, "%.*s", (int)mst_least(length, LINE_BYTES - 1), *at); /* cut */
    *at += length + ((*at)[length] == '\n');
    return true;
}

static bool is_section(char *line, const char *profile)
{
    char *end = strchr(line, ']');
    if (!end)
        return false;
    *end = '\0';
    char *name = trim(line + 1);
    if (strncmp(name, "profile", 7) == 0 && isspace((unsigned char)name[7]))
        name = trim(name + 7); /* as ~/.aws/config has it */
    return strcmp(name, profile) == 0;
}

static int keep(char *field, size_t cap, const char *value)
{
    return (size_t)snprintf(field, cap, "%s", value) < cap ? 0 : -ENOSPC;
}

/* 0; -ENOSPC a key or the token is too long. */
static int take_setting(char *line, struct cred *cred)
{
    char *equals = strchr(line, '=');
    if (!equals)
        return 0;
    *equals = '\0';
    const char *name = trim(line), *value = trim(equals + 1);
    if (strcmp(name, "aws_access_key_id") == 0)
        return keep(cred->access_key, sizeof cred->access_key, value);
    if (strcmp(name, "aws_secret_access_key") == 0)
        return keep(cred->secret_key, sizeof cred->secret_key, value);
    if (strcmp(name, "aws_session_token") == 0)
        return keep(cred->token, sizeof cred->token, value);
    if (strcmp(name, "region") == 0) /* cut, it is part of no host's name */
        (void)snprintf(cred->region, sizeof cred->region, "%s", value);
    return 0;
}

int cred_parse_profile(const char *text, const char *profile, struct cred *cred)
{
    bool found = false, inside = false;
    char line[LINE_BYTES];
    int rc = 0;
    while (rc == 0 && next_line(&text, line)) {
        if (line[0] == '[') {
            inside = is_section(line, profile);
            found |= inside;
        } else if (inside && line[0] != '#' && line[0] != ';' && !isspace((unsigned char)line[0])) {
            rc = take_setting(line, cred);
        }
    }
    if (rc < 0 || !found)
        return rc < 0 ? rc : -ENOENT;
    return !cred->access_key[0] == !cred->secret_key[0] ? 0 : -EINVAL;
}

static int take_string(const json_t *object, const char *name, char *value, size_t cap)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? keep(value, cap, text) : -EBADMSG;
}

int cred_parse_json(const char *text, size_t length, struct cred *cred)
{
    json_t *root = json_loadb(text, length, 0, NULL);
    char expiration[40] = "";
    int rc = take_string(root, "AccessKeyId", cred->access_key, sizeof cred->access_key);
    if (rc == 0)
        rc = take_string(root, "SecretAccessKey", cred->secret_key, sizeof cred->secret_key);
    if (rc == 0)
        rc = take_string(root, "Token", cred->token, sizeof cred->token);
    (void)take_string(root, "Expiration", expiration, sizeof expiration); /* some never expire */
    cred->expires_s = cred_parse_time(expiration);
    json_decref(root);
    if (rc == 0 && (!cred->access_key[0] || !cred->secret_key[0]))
        rc = -EBADMSG;
    return rc;
}

int64_t cred_parse_time(const char *text)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    return end && (*end == 'Z' || *end == '.') ? timegm(&tm) : 0;
}
