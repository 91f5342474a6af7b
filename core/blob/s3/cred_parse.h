/* cred_parse: the files and answers that credentials are in. */
#ifndef MUSTER_CORE_BLOB_S3_CRED_PARSE_H
#define MUSTER_CORE_BLOB_S3_CRED_PARSE_H

#include "muster/core/blob/s3/cred.h"

#include <stddef.h>
#include <stdint.h>

/* Reads section [profile] or [profile NAME] of an AWS INI file: aws_access_key_id,
 * aws_secret_access_key, aws_session_token, region. Fields that are not there stay as they were.
 * 0; -ENOENT no such section; -EINVAL the section has a part of the keys only; -ENOSPC a key or
 * the token is longer than its field. */
int cred_parse_profile(const char *text, const char *profile, struct cred *cred);

/* Reads the JSON of the container's endpoint and of IMDS: AccessKeyId, SecretAccessKey, Token,
 * Expiration. 0; -EBADMSG; -ENOSPC one of the first three is longer than its field. */
int cred_parse_json(const char *text, size_t length, struct cred *cred);

/* "2026-01-31T12:00:00Z" → Unix seconds, or 0 if it is not that. */
int64_t cred_parse_time(const char *text);

#endif
