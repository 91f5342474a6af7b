/* What the back ends share whose objects are resources of HTTP, web servers and S3: reads of a
 * range and a version, and stats by HEAD or, where that tells too little, by a GET of one byte. */
#ifndef MUSTER_CORE_BLOB_HTTP_OBJECT_H
#define MUSTER_CORE_BLOB_HTTP_OBJECT_H

#include "muster/core/blob/http/remote.h"

/* As blob_judge, in the back end's own words. */
typedef int (*blob_judge_fn)(struct blob_remote *remote, struct blob_call *call,
                             const struct http_answer *answer);

/* Makes the request one for the bytes that the call reads. 0; -ENOMEM with the text in
 * call->err. */
int blob_object_ask_read(struct blob_remote *remote, struct blob_call *call);

/* The verdict on a read, which gets its result if it went well: the bytes, which must be of the
 * wanted version and of an object of the wanted length, or it is -ESTALE; 0 behind the end. */
int blob_object_judge_read(struct blob_remote *remote, struct blob_call *call,
                           const struct http_answer *answer, blob_judge_fn judge);

/* The steps of a stat's call. */
enum { BLOB_STAT_HEAD, BLOB_STAT_GET };

/* Makes the request one for the call's step, and says by which method it is to be asked. */
enum http_method blob_object_ask_stat(struct blob_call *call);

/* Takes what an answer that went well tells. 0; -ENOTSUP no size, with the text in call->err. */
int blob_object_take_stat(struct blob_remote *remote, struct blob_call *call,
                          const struct http_answer *answer);

/* A back end's slot `stat`, by its verb. */
int blob_object_stat(struct mst_blob *blob, const struct blob_verb *verb, const char *key,
                     struct mst_blob_info *ret_info, uint64_t deadline_ns, struct mst_err *err);

#endif
