/* range: which bytes of an object an answer says it carries. */
/* pure */
#ifndef MUSTER_CORE_BLOB_HTTP_RANGE_H
#define MUSTER_CORE_BLOB_HTTP_RANGE_H

#include <stdint.h>

#define HTTP_TOTAL_UNKNOWN UINT64_MAX

struct http_range {
    uint64_t first, last; /* inclusive; first > last: none, as 416 says */
    uint64_t total;       /* of the whole object, or HTTP_TOTAL_UNKNOWN */
};

/* Reads the value of a Content-Range header: "bytes 0-9/100", "bytes 0-9/" with a star for a total
 * that is not known, or a star in place of the range. 0; -EBADMSG: another unit, not a number,
 * first after last, last not before total, bytes behind it. Source: RFC 9110, 14.4. */
int http_range_parse(const char *value, struct http_range *ret_range);

#endif
