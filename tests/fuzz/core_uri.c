/* Any text: what parses keeps its parts inside their arrays, and, written out again with every byte
 * of the path escaped, parses to the same URI. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "muster/core/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int truth)
{
    if (!truth)
        abort();
}

/* `text` has room for every byte of *uri three times. */
static void write_out(const struct mst_uri *uri, char *text, size_t cap)
{
    size_t used = (size_t)snprintf(text, cap, "%s://%s", uri->scheme, uri->authority);
    for (const char *c = uri->path; *c; c++)
        used += (size_t)snprintf(text + used, cap - used, *c == '/' ? "%c" : "%%%02X",
                                 (unsigned char)*c);
    (void)snprintf(text + used, cap - used, "?%s", uri->query);
}

static void round_trip(const struct mst_uri *uri)
{
    char text[sizeof *uri * 3];
    write_out(uri, text, sizeof text);
    struct mst_uri again;
    expect(mst_uri_parse(text, &again, NULL) == 0);
    expect(strcmp(uri->scheme, again.scheme) == 0);
    expect(strcmp(uri->authority, again.authority) == 0);
    expect(strcmp(uri->path, again.path) == 0);
    expect(strcmp(uri->query, again.query) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), value[32];
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    struct mst_uri uri;
    if (mst_uri_parse(text, &uri, NULL) == 0) {
        (void)mst_uri_param(&uri, "key", value, sizeof value);
        (void)mst_uri_file_path(text, value, sizeof value, NULL);
        if (uri.path[0] == '/')
            round_trip(&uri);
    }
    free(text);
    return 0;
}
