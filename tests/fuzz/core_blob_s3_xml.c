/* Any answer of S3 or STS: keys and sizes that are told are terminated and inside their arrays, and
 * a page that is cut says how to go on. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "muster/core/blob/s3/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int truth)
{
    if (!truth)
        abort();
}

static int look(void *arg, const char *key, const struct mst_blob_info *info)
{
    *(size_t *)arg += strlen(key) + strnlen(info->version, sizeof info->version);
    expect(memchr(info->version, '\0', sizeof info->version) != NULL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct s3_page page;
    static struct s3_session session;
    size_t sum = 0;
    if (s3_xml_list(text, size, look, &sum, &page) == 0)
        expect(!page.truncated || page.token[0]);
    struct s3_error error;
    if (s3_xml_error(text, size, &error) == 0)
        expect(error.code[0]);
    char id[64];
    if (s3_xml_upload_id(text, size, id, sizeof id) == 0)
        expect(id[0] && strlen(id) < sizeof id);
    if (s3_xml_session(text, size, &session) == 0)
        expect(session.token[0]);
    return 0;
}
