/* Any answer of WebHDFS: names that are told are parts of a path, and what is no answer is
 * refused. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "muster/core/blob/hdfs/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int truth)
{
    if (!truth)
        abort();
}

static int look(void *arg, const struct webhdfs_status *status)
{
    (void)arg;
    expect(memchr(status->name, '\0', sizeof status->name) != NULL);
    expect(!strchr(status->name, '/'));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    (void)webhdfs_json_list(text, size, look, NULL); /* here and below: look judges */
    struct webhdfs_error error;
    if (webhdfs_json_error(text, size, &error) == 0)
        expect(!strpbrk(error.message, "\r\n"));
    struct webhdfs_status status;
    if (webhdfs_json_status(text, size, &status) == 0)
        (void)look(NULL, &status);
    char location[64];
    if (webhdfs_json_location(text, size, location, sizeof location) == 0)
        expect(strlen(location) < sizeof location);
    bool truth;
    (void)webhdfs_json_boolean(text, size, &truth);
    return 0;
}
