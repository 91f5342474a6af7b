/* xml: what S3 and STS say in XML. */
#ifndef MUSTER_CORE_BLOB_S3_XML_H
#define MUSTER_CORE_BLOB_S3_XML_H

#include "muster/core/blob/blob.h"

#include <stdbool.h>
#include <stddef.h>

struct s3_error {
    char code[64]; /* "NoSuchKey" */
    char message[160];
    char region[48]; /* the right one, if that was the error */
};

/* 0; -EBADMSG: the document is no Error; -ENOMEM. */
int s3_xml_error(const char *document, size_t length, struct s3_error *ret_error);

struct s3_page {
    bool truncated;   /* there is more: ask again with `token` */
    char token[2048]; /* opaque */
};

/* Reads one page of ListObjectsV2 and tells its objects. 0; what `each` answered; -EBADMSG: no
 * listing, a number that is none, a page that says it is cut but not how to go on; -ENOMEM. */
int s3_xml_list(const char *document, size_t length, mst_blob_each_fn each, void *arg,
                struct s3_page *ret_page);

/* The UploadId that CreateMultipartUpload answers. 0; -EBADMSG; -ENOSPC; -ENOMEM. */
int s3_xml_upload_id(const char *document, size_t length, char *ret_id, size_t cap);

struct s3_session {
    char access_key[128], secret_key[128], token[4096];
    char expiration[40]; /* ISO 8601 */
};

/* The credentials that AssumeRoleWithWebIdentity answers. 0; -EBADMSG; -ENOSPC one of them is
 * longer than its field; -ENOMEM. */
int s3_xml_session(const char *document, size_t length, struct s3_session *ret_session);

#endif
