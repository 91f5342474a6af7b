/* Any header value: what parses is a range that an object can have, and, written out again, parses
 * to the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "muster/core/blob/http/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(int truth)
{
    if (!truth)
        abort();
}

static void write_out(const struct http_range *range, char *text, size_t cap)
{
    char total[24] = "*";
    if (range->total != HTTP_TOTAL_UNKNOWN)
        snprintf(total, sizeof total, "%llu", (unsigned long long)range->total);
    if (range->first > range->last)
        snprintf(text, cap, "bytes */%s", total);
    else
        snprintf(text, cap, "bytes %llu-%llu/%s", (unsigned long long)range->first,
                 (unsigned long long)range->last, total);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[256];
    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    struct http_range range, again;
    if (http_range_parse(text, &range) == 0) {
        expect(range.first > range.last || range.last < range.total);
        write_out(&range, text, sizeof text);
        expect(http_range_parse(text, &again) == 0);
        expect(memcmp(&range, &again, sizeof range) == 0);
    }
    return 0;
}
